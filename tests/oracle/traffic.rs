//! Random packets of few hosts, ports and flags, so that rules meet them; and real ones.

use crate::alert::shown;
use crate::expression::extract;
use crate::random::Random;
use std::fmt::Write as _;
use std::path::Path;
use wirelynx::capture::{Burst, Capture as _, Progress, file};
use wirelynx::dissect::attribute::{AttributeId, View};
use wirelynx::dissect::headers;
use wirelynx::packet::{Facts, Frame, LinkType, Timestamp};

/// A packet that a test owns.
#[derive(Debug, Clone)]
pub(crate) struct Owned {
    pub(crate) time_us: u64,
    pub(crate) link: LinkType,
    pub(crate) data: Vec<u8>,
}

impl Owned {
    /// A TCP segment with these flags.
    pub(crate) fn tcp(time_us: u64, flags: u8) -> Self {
        let mut data = vec![2, 0, 0, 0, 0, 2, 2, 0, 0, 0, 0, 1, 8, 0];
        data.extend([
            0x45, 0, 0, 40, 0, 1, 0x40, 0, 64, 6, 0, 0, 10, 0, 0, 1, 10, 0, 0, 2,
        ]);
        data.extend([
            0x9c, 0x40, 0, 80, 0, 0, 0, 1, 0, 0, 0, 0, 0x50, flags, 0x20, 0, 0, 0, 0, 0,
        ]);
        let link = LinkType::ETHERNET;
        Self {
            time_us,
            link,
            data,
        }
    }

    pub(crate) fn frame(&self) -> Frame<'_> {
        Frame {
            data: &self.data,
            wire_length: u32::try_from(self.data.len()).unwrap(),
            timestamp: Timestamp::from_micros(self.time_us),
            link: self.link,
            port: 0,
            queue: 0,
            ..Frame::EMPTY
        }
    }

    /// The value that it has of an attribute, as alerts print it.
    pub(crate) fn shown(&self, id: AttributeId) -> Option<String> {
        let frame = self.frame();
        let mut facts = Facts::new();
        headers(&frame, &mut facts);
        let view = View {
            frame: &frame,
            facts: &facts,
            message: None,
            totals: &[],
        };
        Some(shown(id, &extract(&view, id)?))
    }

    /// Its bytes as one line of text.
    pub(crate) fn hex(&self) -> String {
        self.data.iter().fold(String::new(), |mut text, byte| {
            let _ = write!(text, "{byte:02x}");
            text
        })
    }
}

/// Time between packets in microseconds: ties, a step, parts of seconds, seconds.
const GAPS: [&[u64]; 4] = [
    &[0, 0, 1, 1, 2, 999, 1_000, 1_001],
    &[0, 1, 1_000, 250_000, 500_000, 500_000, 1_000_000],
    &[
        0, 1, 499_999, 500_000, 1_000_000, 1_000_000, 1_000_001, 2_000_000,
    ],
    &[
        0, 500_000, 1_000_000, 1_500_000, 3_000_000, 10_000_000, 61_000_000,
    ],
];

/// So many packets.
pub(crate) fn packets(random: &mut Random, count: usize) -> Vec<Owned> {
    let gaps = random.of(&GAPS);
    let mut time_us = 1_000_000_000 + u64::try_from(random.below(5_000)).unwrap();
    (0..count)
        .map(|_| {
            time_us += random.of(gaps);
            Owned {
                time_us,
                link: LinkType::ETHERNET,
                data: packet(random),
            }
        })
        .collect()
}

fn packet(random: &mut Random) -> Vec<u8> {
    let [from, to] = [random.of(&[1, 2, 3]), random.of(&[1, 2, 3])];
    let mut data = vec![2, 0, 0, 0, 0, to, 2, 0, 0, 0, 0, from];
    if random.percent(12) {
        data.extend([8, 6]);
        arp(random, from, to, &mut data);
        return data;
    }
    data.extend([8, 0]);
    let mut inner = Vec::new();
    let protocol = random.of(&[6, 6, 6, 6, 17, 17, 1]);
    match protocol {
        6 => tcp(random, &mut inner),
        17 => udp(random, &mut inner),
        _ => inner.extend([random.of(&[0, 8, 5]), 0, 0, 0, 0, 1, 0, 1]),
    }
    let [high, low] = u16::try_from(20 + inner.len()).unwrap().to_be_bytes();
    let [identification, ttl] = [random.of(&[0, 1, 2]), random.of(&[1, 64])];
    let header = [
        0x45,
        0,
        high,
        low,
        0,
        identification,
        0x40,
        0,
        ttl,
        protocol,
        0,
        0,
    ];
    data.extend(header);
    data.extend([10, 0, 0, from, 10, 0, 0, to]);
    data.extend(inner);
    data
}

fn arp(random: &mut Random, from: u8, to: u8, data: &mut Vec<u8>) {
    data.extend([0, 1, 8, 0, 6, 4, 0, random.of(&[1, 2])]);
    data.extend([2, 0, 0, 0, 0, random.of(&[from, from, 3])]);
    data.extend([10, 0, 0, from, 0, 0, 0, 0, 0, 0, 10, 0, 0, to]);
}

fn tcp(random: &mut Random, data: &mut Vec<u8>) {
    let (source, target) = (
        random.of(&[40_000_u16, 40_001, 80]),
        random.of(&[80_u16, 22, 443]),
    );
    data.extend(source.to_be_bytes());
    data.extend(target.to_be_bytes());
    let flags = random.of(&[0, 2, 2, 2, 4, 4, 16, 18]);
    data.extend([
        0,
        0,
        0,
        random.of(&[1, 2, 3]),
        0,
        0,
        0,
        0,
        0x50,
        flags,
        0x20,
        0,
        0,
        0,
        0,
        0,
    ]);
    data.extend(random.of(&PAYLOADS));
}

fn udp(random: &mut Random, data: &mut Vec<u8>) {
    let (source, target) = (random.of(&[53_u16, 5_353]), random.of(&[53_u16, 5_353, 80]));
    let payload = random.of(&PAYLOADS);
    data.extend(source.to_be_bytes());
    data.extend(target.to_be_bytes());
    data.extend(u16::try_from(8 + payload.len()).unwrap().to_be_bytes());
    data.extend([0, 0]);
    data.extend(payload);
}

const PAYLOADS: [&[u8]; 4] = [b"", b"", b"abc", b"xabcx"];

/// Time is kept off its end, in the year 2554, where deadlines saturate.
const TIME_MAX_US: u64 = 1 << 53;

/// The first packets of a capture file, so many at most. Time does not run backwards here: what
/// that does to deadlines is not defined.
pub(crate) fn read(path: &Path, most: usize) -> Vec<Owned> {
    let mut packets: Vec<Owned> = Vec::new();
    let Ok(mut source) = file::open(path.to_str().unwrap()) else {
        return packets;
    };
    let mut latest_us = 0;
    while packets.len() < most {
        let mut burst = Burst::new();
        if !matches!(source.receive(&mut burst), Ok(Progress::Frames)) {
            break;
        }
        for frame in &burst {
            latest_us = frame.timestamp.micros().min(TIME_MAX_US).max(latest_us);
            packets.push(Owned {
                time_us: latest_us,
                link: frame.link,
                data: frame.data.to_vec(),
            });
        }
    }
    packets.truncate(most);
    packets
}
