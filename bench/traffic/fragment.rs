//! The modifier `fragment`: IP packets in pieces, orderly or as an evader would cut them.

use super::packet::{ETHER_IPV4, ETHER_IPV6, ETHERNET_LENGTH, fold, put, short, short_at, sum};
use super::text::{Error, Segment};
use super::world::{Frame, World};

/// Options of `fragment`.
pub(crate) const OPTIONS: &[&str] = &[
    "size",
    "order",
    "overlap",
    "conflict",
    "duplicate",
    "omit",
    "offset-zero",
    "ttl-step",
    "gap",
];

const FRAGMENT_HEADER: u8 = 44;

/// How to cut.
struct Cut {
    size: usize,
    overlap: usize,
    conflict: bool,
    duplicate: bool,
    omit: Option<usize>,
    offset_zero: bool,
    ttl_step: u8,
    gap: u64,
}

/// `fragment size=N`: cut the payload of each IP packet into pieces of N bytes.
pub(crate) fn fragment(
    world: &mut World,
    segment: &Segment,
    frames: Vec<Frame>,
) -> Result<Vec<Frame>, Error> {
    let multiple = |key: &str, default: usize| {
        let length: usize = segment.number(key, 65_528, default)?;
        match segment.option(key) {
            Some(word) if !length.is_multiple_of(8) => {
                Err(word.error("fragments start at multiples of 8 bytes (RFC 791, 3.2)"))
            }
            _ => Ok(length),
        }
    };
    let cut = Cut {
        size: multiple("size", 512)?,
        overlap: multiple("overlap", 0)?,
        conflict: segment.flag("conflict", false)?,
        duplicate: segment.flag("duplicate", false)?,
        omit: match segment.option("omit") {
            Some(word) => Some(word.integer(65_535)?),
            None => None,
        },
        offset_zero: segment.flag("offset-zero", false)?,
        ttl_step: segment.number("ttl-step", 255, 0)?,
        gap: segment.time("gap", 1_000)?,
    };
    if cut.size <= cut.overlap {
        let word = &segment.keyword;
        return Err(word.error("`size` must be above 0 and above `overlap`"));
    }
    let mut result = Vec::new();
    for frame in frames {
        let identification = world.random.word();
        let mut pieces = cut.frame(frame, identification);
        match segment.text("order", "forward") {
            "forward" => {}
            "reverse" => pieces.reverse(),
            "shuffle" => world.random.shuffle(&mut pieces),
            "swap" => pieces.chunks_exact_mut(2).for_each(<[_]>::reverse),
            _ => {
                let word = segment.option("order").unwrap_or(&segment.keyword);
                return Err(word.error("order is forward, reverse, shuffle or swap"));
            }
        }
        for (index, piece) in pieces.iter_mut().enumerate() {
            let later = cut.gap.saturating_mul(u64::try_from(index).unwrap_or(0));
            piece.time = piece.time.saturating_add(later);
        }
        result.append(&mut pieces);
    }
    Ok(result)
}

/// One piece: where it starts in the payload, its bytes, and whether more follow.
struct Piece {
    offset: usize,
    bytes: Vec<u8>,
    more: bool,
}

impl Cut {
    /// The pieces of one frame; the frame itself where it is no IP packet. IPv6 packets have no
    /// identification of their own and take the one given.
    fn frame(&self, frame: Frame, identification: u32) -> Vec<Frame> {
        let header_length = match short_at(&frame.data, 12) {
            ETHER_IPV4 => {
                let words = frame.data.get(ETHERNET_LENGTH).copied().unwrap_or(0) & 15;
                usize::from(words) * 4
            }
            ETHER_IPV6 => 40,
            _ => return vec![frame],
        };
        let split = frame.data.split_at_checked(ETHERNET_LENGTH + header_length);
        let Some((header, payload)) = split else {
            return vec![frame];
        };
        let mut frames = Vec::new();
        for (index, piece) in self.pieces(payload).iter().enumerate() {
            if self.omit == Some(index) {
                continue;
            }
            let data = match short_at(header, 12) {
                ETHER_IPV4 => self.v4(header, index, piece),
                _ => self.v6(header, index, piece, identification),
            };
            frames.push(frame.with(data));
            if self.duplicate {
                frames.extend(frames.last().cloned());
            }
        }
        frames
    }

    fn pieces(&self, payload: &[u8]) -> Vec<Piece> {
        let mut pieces = Vec::new();
        let mut offset = 0;
        loop {
            let end = payload.len().min(offset + self.size);
            let mut bytes = payload.get(offset..end).unwrap_or(&[]).to_vec();
            if self.conflict && offset > 0 {
                // What overlaps says something else than before: which one does a target believe?
                bytes.iter_mut().take(self.overlap).for_each(|b| *b = b'X');
            }
            let more = end < payload.len();
            pieces.push(Piece {
                offset,
                bytes,
                more,
            });
            if !more {
                return pieces;
            }
            offset = end - self.overlap;
        }
    }

    /// Where it starts in units of 8 bytes, as both IP versions write it.
    fn offset(&self, piece: &Piece) -> u16 {
        if self.offset_zero {
            return 0;
        }
        short(piece.offset / 8)
    }

    fn ttl(&self, header: &[u8], place: usize, index: usize) -> u8 {
        let ttl = header.get(place).copied().unwrap_or(0);
        let steps = u8::try_from(index).unwrap_or(u8::MAX);
        ttl.saturating_sub(self.ttl_step.saturating_mul(steps))
    }

    fn v4(&self, header: &[u8], index: usize, piece: &Piece) -> Vec<u8> {
        let mut data = header.to_vec();
        let length = short(header.len() - ETHERNET_LENGTH + piece.bytes.len());
        let flags = (u16::from(piece.more) << 13) | (self.offset(piece) & 0x1fff);
        // The reserved flag stays as the statement set it; "don't fragment" cannot.
        let reserved = short_at(header, ETHERNET_LENGTH + 6) & 0x8000;
        put(&mut data, ETHERNET_LENGTH + 2, &length.to_be_bytes());
        put(
            &mut data,
            ETHERNET_LENGTH + 6,
            &(flags | reserved).to_be_bytes(),
        );
        let ttl = self.ttl(header, ETHERNET_LENGTH + 8, index);
        put(&mut data, ETHERNET_LENGTH + 8, &[ttl]);
        put(&mut data, ETHERNET_LENGTH + 10, &[0, 0]);
        let checksum = fold(sum(data.get(ETHERNET_LENGTH..).unwrap_or(&[])));
        put(&mut data, ETHERNET_LENGTH + 10, &checksum.to_be_bytes());
        data.extend(&piece.bytes);
        data
    }

    fn v6(&self, header: &[u8], index: usize, piece: &Piece, identification: u32) -> Vec<u8> {
        let mut data = header.to_vec();
        let next = header.get(ETHERNET_LENGTH + 6).copied().unwrap_or(0);
        let ttl = self.ttl(header, ETHERNET_LENGTH + 7, index);
        put(
            &mut data,
            ETHERNET_LENGTH + 4,
            &short(8 + piece.bytes.len()).to_be_bytes(),
        );
        put(&mut data, ETHERNET_LENGTH + 6, &[FRAGMENT_HEADER, ttl]);
        data.extend([next, 0]);
        data.extend(((self.offset(piece) << 3) | u16::from(piece.more)).to_be_bytes());
        data.extend(identification.to_be_bytes());
        data.extend(&piece.bytes);
        data
    }
}
