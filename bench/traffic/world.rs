//! What a scenario talks about while it runs: hosts, the clock, and the frames made so far.

use super::packet::{self, IpFields, Path};
use super::random::{Random, mix};
use super::text::{Error, SCENARIO_LENGTH_MAX, Segment, Word, segments};
use super::{MODIFIERS, STATEMENTS};
use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use wirelynx::packet::{LinkType, Timestamp};

/// Frames of one scenario; more come from the replicator, which needs no memory for them.
pub(crate) const FRAMES_MAX: usize = 1_000_000;

/// Bytes of one scenario's frames, for the same reason.
pub(crate) const BYTES_MAX: usize = 1 << 30;

/// Repetitions of one line.
const REPEAT_MAX: u64 = 1_000_000;

/// Hosts of one scenario.
const HOSTS_MAX: usize = 1_000;

/// Longest time that may be asked for: a year, so that no sum of times overflows.
const TIME_MAX: u64 = 365 * 86_400 * 1_000_000_000;

/// Options of every statement that sends IP packets.
pub(crate) const IP_OPTIONS: &[&str] = &[
    "ip",
    "ttl",
    "tos",
    "id",
    "df",
    "rf",
    "mf",
    "offset",
    "ip-options",
    "gap",
];

/// One generated frame.
#[derive(Debug, Clone)]
pub(crate) struct Frame {
    /// Nanoseconds since the epoch.
    pub(crate) time: u64,
    /// Captured bytes.
    pub(crate) data: Vec<u8>,
    /// Length on the wire; more than `data` when cut by `snap`.
    pub(crate) wire_length: u32,
    /// Sent by the second host of its statement, so tunnels run the other way.
    pub(crate) reply: bool,
}

impl Frame {
    /// As the data path and the capture writer take it.
    pub(crate) fn view(&self) -> wirelynx::packet::Frame<'_> {
        wirelynx::packet::Frame {
            data: &self.data,
            wire_length: self.wire_length,
            timestamp: Timestamp::from_nanos(self.time),
            link: LinkType::ETHERNET,
            port: 0,
            queue: 0,
            ..wirelynx::packet::Frame::EMPTY
        }
    }

    /// The same frame with other bytes.
    pub(crate) fn with(&self, data: Vec<u8>) -> Self {
        Self {
            time: self.time,
            wire_length: u32::try_from(data.len()).unwrap_or(u32::MAX),
            data,
            reply: self.reply,
        }
    }
}

/// A machine of the scenario.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Host {
    pub(crate) mac: [u8; 6],
    pub(crate) v4: Option<Ipv4Addr>,
    pub(crate) v6: Option<Ipv6Addr>,
}

/// What a repetition varies.
#[derive(Debug, Clone, Copy, Default)]
struct Iteration {
    number: u32,
    source: bool,
    destination: bool,
    destination_port: bool,
}

/// The state of a running scenario.
#[derive(Debug)]
pub(crate) struct World {
    hosts: BTreeMap<String, Host>,
    start: u64,
    clock: u64,
    gap: u64,
    iteration: Iteration,
    identification: u16,
    port: u16,
    frames: Vec<Frame>,
    bytes: usize,
    /// Where sequence numbers, identifiers and payloads come from.
    pub(crate) random: Random,
}

/// A statement of the language. All of them are listed in [`STATEMENTS`].
pub(crate) struct Statement {
    pub(crate) name: &'static str,
    pub(crate) arguments: usize,
    /// Option lists, usually [`IP_OPTIONS`] and its own.
    pub(crate) options: &'static [&'static [&'static str]],
    /// Sends its frames.
    pub(crate) run: fn(&mut Sender<'_>, &Segment) -> Result<(), Error>,
}

/// Changes frames: those of the statement in, those to send out.
pub(crate) type Apply = fn(&mut World, &Segment, Vec<Frame>) -> Result<Vec<Frame>, Error>;

/// A modifier of the language: it changes the frames that the statement on its right sends.
pub(crate) struct Modifier {
    pub(crate) name: &'static str,
    pub(crate) arguments: usize,
    pub(crate) options: &'static [&'static [&'static str]],
    pub(crate) apply: Apply,
}

/// Where a statement puts its frames: it moves the clock on with each.
pub(crate) struct Sender<'a> {
    pub(crate) world: &'a mut World,
    frames: Vec<Frame>,
    gap: u64,
    keyword: &'a Word,
    bytes: usize,
}

impl Sender<'_> {
    /// Send a frame now; the next one leaves a gap later.
    pub(crate) fn send(&mut self, reply: bool, data: Vec<u8>) -> Result<(), Error> {
        let world = &self.world;
        let frames = world.frames.len() + self.frames.len();
        self.bytes += data.len();
        if data.len() > usize::from(u16::MAX) {
            return Err(self
                .keyword
                .error("it makes a frame of more than 65,535 bytes"));
        }
        if frames >= FRAMES_MAX || world.bytes + self.bytes > BYTES_MAX {
            let limit = format!("a scenario has at most {FRAMES_MAX} frames and {BYTES_MAX} bytes");
            return Err(self.keyword.error(limit));
        }
        self.frames.push(Frame {
            time: world.start + world.clock,
            wire_length: u32::try_from(data.len()).unwrap_or(u32::MAX),
            data,
            reply,
        });
        self.pause(self.gap);
        Ok(())
    }

    /// Let time pass.
    pub(crate) fn pause(&mut self, nanos: u64) {
        self.world.clock = self.world.clock.saturating_add(nanos).min(TIME_MAX);
    }

    /// Exchange the two frames sent last, their times staying in order.
    pub(crate) fn swap_last(&mut self) {
        if let [.., a, b] = self.frames.as_mut_slice() {
            std::mem::swap(&mut a.time, &mut b.time);
            std::mem::swap(a, b);
        }
    }

    /// Send the last frame once more.
    pub(crate) fn repeat_last(&mut self) -> Result<(), Error> {
        match self.frames.last().cloned() {
            Some(last) => self.send(last.reply, last.data),
            None => Ok(()),
        }
    }
}

impl World {
    fn new(seed: u64) -> Self {
        Self {
            hosts: BTreeMap::new(),
            start: 1_700_000_000_000_000_000,
            clock: 0,
            gap: 1_000_000,
            iteration: Iteration::default(),
            identification: 0,
            port: 40_000,
            frames: Vec::new(),
            bytes: 0,
            random: Random::new(seed),
        }
    }

    /// The host of that name, or one made up for an address; varied by the repetition where asked.
    fn host(&self, word: &Word, vary: bool) -> Result<Host, Error> {
        let mut host = match self.hosts.get(&word.text) {
            Some(host) => *host,
            None => match word.address() {
                Ok(address) => Host::at(address),
                Err(_) => {
                    let text = &word.text;
                    return Err(word.error(format!("`{text}` is neither a host nor an address")));
                }
            },
        };
        if vary {
            host.move_on(self.iteration.number);
        }
        Ok(host)
    }

    /// The MAC address of a host.
    pub(crate) fn mac_of(&self, word: &Word) -> Result<[u8; 6], Error> {
        self.host(word, false).map(|host| host.mac)
    }

    /// The way from the first to the second host that a segment names.
    pub(crate) fn path(&self, segment: &Segment) -> Result<Path, Error> {
        self.path_between(segment, 0, 1)
    }

    /// The way between two of the hosts that a segment names.
    pub(crate) fn path_between(
        &self,
        segment: &Segment,
        a: usize,
        b: usize,
    ) -> Result<Path, Error> {
        let (from, to) = (segment.argument(a)?, segment.argument(b)?);
        let source = self.host(from, self.iteration.source)?;
        let destination = self.host(to, self.iteration.destination)?;
        let version = match segment.option("ip") {
            Some(word) => word.number(6)?,
            None if source.v4.is_some() && destination.v4.is_some() => 4,
            None => 6,
        };
        let address = |host: Host, word: &Word| {
            let found = match version {
                6 => host.v6.map(IpAddr::V6),
                _ => host.v4.map(IpAddr::V4),
            };
            found.ok_or_else(|| word.error(format!("`{}` has no IPv{version} address", word.text)))
        };
        Ok(Path {
            source_mac: source.mac,
            destination_mac: destination.mac,
            source: address(source, from)?,
            destination: address(destination, to)?,
        })
    }

    /// IP header fields as a segment's options say; each call takes a new identification.
    pub(crate) fn ip_fields(&mut self, segment: &Segment) -> Result<IpFields, Error> {
        self.identification = self.identification.wrapping_add(1);
        let mut options = match segment.option("ip-options") {
            Some(word) => {
                let options = word.hex()?;
                if options.len() > 40 {
                    return Err(word.error("IPv4 has room for 40 bytes of options"));
                }
                options
            }
            None => Vec::new(),
        };
        options.resize(options.len().next_multiple_of(4), 0);
        Ok(IpFields {
            ttl: segment.number("ttl", 255, 64)?,
            tos: segment.number("tos", 255, 0)?,
            identification: segment.number("id", 0xffff, self.identification)?,
            dont_fragment: segment.flag("df", false)?,
            reserved: segment.flag("rf", false)?,
            more: segment.flag("mf", false)?,
            offset: segment.number("offset", 0x1fff, 0)?,
            options,
        })
    }

    /// Source and destination port: options `from` and `port`, else the next ephemeral port and
    /// `default`.
    pub(crate) fn ports(&mut self, segment: &Segment, default: u16) -> Result<[u16; 2], Error> {
        let destination = segment.number("port", 0xffff, default)?;
        let varied = match self.iteration.destination_port {
            true => u16::try_from(self.iteration.number & 0xffff).unwrap_or(0),
            false => 0,
        };
        let from = match segment.option("from") {
            Some(word) => word.integer(0xffff)?,
            None => self.ephemeral_port(),
        };
        Ok([from, destination.wrapping_add(varied)])
    }

    /// A source port that the last 20,000 calls did not give.
    pub(crate) fn ephemeral_port(&mut self) -> u16 {
        self.port = if self.port >= 60_000 {
            40_000
        } else {
            self.port + 1
        };
        self.port
    }

    /// Run one line.
    fn line(&mut self, segments: &[Segment]) -> Result<(), Error> {
        let Some((statement, modifiers)) = segments.split_last() else {
            return Ok(());
        };
        if modifiers.is_empty() && self.setting(statement)? {
            return Ok(());
        }
        let split = modifiers.iter().take_while(|m| is_timing(m)).count();
        let (timing, modifiers) = modifiers.split_at(split);
        if let Some(late) = modifiers.iter().find(|m| is_timing(m)) {
            return Err(late
                .keyword
                .error("`at` and `repeat` come before other modifiers"));
        }
        let mut repeat = (1, 0);
        for segment in timing {
            if segment.keyword.text == "at" {
                segment.check(1, &[&[]])?;
                self.clock = limited(segment.argument(0)?)?;
            } else {
                repeat = self.repetition(segment)?;
            }
        }
        for number in 0..repeat.0 {
            let began = self.clock;
            self.iteration.number = number;
            self.statement(modifiers, statement)?;
            if repeat.1 != 0 {
                self.clock = began.saturating_add(repeat.1).min(TIME_MAX);
            }
        }
        self.iteration = Iteration::default();
        Ok(())
    }

    /// Read `repeat N every=TIME vary=WHAT`: how often, and from start to start.
    fn repetition(&mut self, segment: &Segment) -> Result<(u32, u64), Error> {
        segment.check(1, &[&["every", "vary"]])?;
        for what in segment.options("vary") {
            match what.text.as_str() {
                "source" => self.iteration.source = true,
                "destination" => self.iteration.destination = true,
                "port" => self.iteration.destination_port = true,
                _ => return Err(what.error("vary is source, destination or port")),
            }
        }
        let every = segment.option("every").map_or(Ok(0), limited)?;
        Ok((segment.argument(0)?.integer(REPEAT_MAX)?, every))
    }

    /// `host`, `start`, `gap` and `wait`, which send nothing; false when it is none of them.
    fn setting(&mut self, segment: &Segment) -> Result<bool, Error> {
        match segment.keyword.text.as_str() {
            "host" => {
                segment.check(1, &[&["mac", "ip", "ip6"]])?;
                self.define(segment)?;
            }
            "start" => {
                segment.check(1, &[])?;
                self.start = segment.argument(0)?.seconds()?.min(u64::MAX / 2);
            }
            "gap" => {
                segment.check(1, &[])?;
                self.gap = limited(segment.argument(0)?)?;
            }
            "wait" => {
                segment.check(1, &[])?;
                let wait = limited(segment.argument(0)?)?;
                self.clock = self.clock.saturating_add(wait).min(TIME_MAX);
            }
            _ => return Ok(false),
        }
        Ok(true)
    }

    fn define(&mut self, segment: &Segment) -> Result<(), Error> {
        let name = segment.argument(0)?;
        if self.hosts.len() >= HOSTS_MAX {
            return Err(name.error(format!("a scenario has at most {HOSTS_MAX} hosts")));
        }
        let v4 = match segment.option("ip").map(|word| (word, word.address())) {
            None => None,
            Some((_, Ok(IpAddr::V4(v4)))) => Some(v4),
            Some((word, _)) => return Err(word.error("expected an IPv4 address")),
        };
        let v6 = match segment.option("ip6").map(|word| (word, word.address())) {
            None => None,
            Some((_, Ok(IpAddr::V6(v6)))) => Some(v6),
            Some((word, _)) => return Err(word.error("expected an IPv6 address")),
        };
        let first = v4.map(IpAddr::V4).or_else(|| v6.map(IpAddr::V6));
        let mac = match (segment.option("mac"), first) {
            (Some(word), _) => word.mac()?,
            (None, Some(address)) => Host::at(address).mac,
            (None, None) => return Err(name.error("a host needs a mac, an ip or an ip6")),
        };
        if self
            .hosts
            .insert(name.text.clone(), Host { mac, v4, v6 })
            .is_some()
        {
            return Err(name.error(format!("host `{}` is already defined", name.text)));
        }
        Ok(())
    }

    /// Run a statement and pass its frames through its modifiers, the rightmost first.
    fn statement(&mut self, modifiers: &[Segment], segment: &Segment) -> Result<(), Error> {
        let keyword = &segment.keyword;
        let Some(statement) = STATEMENTS.iter().find(|s| s.name == keyword.text) else {
            let names: Vec<_> = STATEMENTS.iter().map(|s| s.name).collect();
            return Err(unknown(keyword, "statement", &names));
        };
        segment.check(statement.arguments, statement.options)?;
        let gap = self.gap;
        let mut sender = Sender {
            gap: segment.option("gap").map_or(Ok(gap), limited)?,
            world: self,
            frames: Vec::new(),
            keyword,
            bytes: 0,
        };
        (statement.run)(&mut sender, segment)?;
        let mut frames = sender.frames;
        for segment in modifiers.iter().rev() {
            let keyword = &segment.keyword;
            let Some(modifier) = MODIFIERS.iter().find(|m| m.name == keyword.text) else {
                let names: Vec<_> = MODIFIERS.iter().map(|m| m.name).collect();
                return Err(unknown(keyword, "modifier", &names));
            };
            segment.check(modifier.arguments, modifier.options)?;
            frames = (modifier.apply)(self, segment, frames)?;
            let too_long = |f: &Frame| f.data.len() > usize::from(u16::MAX);
            if frames.len() > FRAMES_MAX || frames.iter().any(too_long) {
                return Err(keyword.error("it makes too many frames, or one of over 65,535 bytes"));
            }
        }
        self.bytes += frames.iter().map(|frame| frame.data.len()).sum::<usize>();
        self.frames.append(&mut frames);
        if self.frames.len() > FRAMES_MAX || self.bytes > BYTES_MAX {
            return Err(keyword.error(format!("a scenario has at most {FRAMES_MAX} frames")));
        }
        Ok(())
    }
}

fn is_timing(segment: &Segment) -> bool {
    matches!(segment.keyword.text.as_str(), "at" | "repeat")
}

fn limited(word: &Word) -> Result<u64, Error> {
    let time = word.time()?;
    if time > TIME_MAX {
        return Err(word.error("longer than a year"));
    }
    Ok(time)
}

fn unknown(keyword: &Word, what: &str, names: &[&str]) -> Error {
    let names = names.join(", ");
    keyword.error(format!(
        "`{}` is no {what}; there are: {names}",
        keyword.text
    ))
}

impl Host {
    /// A host at `address`, with a locally administered MAC address made from it.
    fn at(address: IpAddr) -> Self {
        let (v4, v6, seed) = match address {
            IpAddr::V4(v4) => (Some(v4), None, u128::from(u32::from(v4))),
            IpAddr::V6(v6) => (None, Some(v6), u128::from(v6)),
        };
        let low = u64::try_from(seed & u128::from(u64::MAX)).unwrap_or(0);
        let [a, b, c, d, e, ..] = mix(low).to_be_bytes();
        Self {
            mac: [0x02, a, b, c, d, e],
            v4,
            v6,
        }
    }

    /// Another host beside this one: all its addresses plus `number`.
    fn move_on(&mut self, number: u32) {
        self.v4 = self
            .v4
            .map(|v4| Ipv4Addr::from(u32::from(v4).wrapping_add(number)));
        let plus = |v6| Ipv6Addr::from(u128::from(v6).wrapping_add(u128::from(number)));
        self.v6 = self.v6.map(plus);
        let low = packet::word_at(&self.mac, 2).wrapping_add(number);
        packet::put(&mut self.mac, 2, &low.to_be_bytes());
    }
}

/// Run a scenario: its frames in the order of time.
///
/// # Errors
/// What is wrong with the text, and where.
pub(crate) fn generate(text: &str, seed: u64) -> Result<Vec<Frame>, Error> {
    let whole = |message: &str| Error {
        line: 1,
        column: 1,
        message: message.into(),
    };
    if text.len() > SCENARIO_LENGTH_MAX {
        return Err(whole("a scenario has at most 1 MiB of text"));
    }
    let mut world = World::new(seed);
    for (index, line) in text.lines().enumerate() {
        world.line(&segments(index + 1, line)?)?;
    }
    // Stable: frames of the same time keep the order of their statements.
    world.frames.sort_by_key(|frame| frame.time);
    Ok(world.frames)
}
