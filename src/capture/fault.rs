//! A source that breaks the frames of another one, for tests: what comes out is decided by a seed.

use super::{Burst, Capture, Counters, Error, Progress};
use crate::limits::FRAME_LENGTH_MAX;

/// Bytes of the frames of one burst that may be changed. Those that find no room stay intact.
const COPIES_LENGTH: usize = 2 * FRAME_LENGTH_MAX;

/// Bits that are flipped in one frame, at most.
const FLIPS_MAX: u64 = 8;

/// How many frames in a thousand suffer what.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
pub struct Rates {
    /// Up to eight bits are flipped.
    pub flip: u16,
    /// Bytes are missing at the end, as many as leave one.
    pub cut: u16,
    /// It comes twice. When the burst has no room for that, its last frames are lost.
    pub duplicate: u16,
    /// It changes places with another one of its burst; either keeps its timestamp.
    pub reorder: u16,
}

/// How many frames suffered what.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
pub struct Faults {
    /// Had bits flipped.
    pub flipped: u64,
    /// Were cut short.
    pub cut: u64,
    /// Came twice.
    pub duplicated: u64,
    /// Changed places.
    pub reordered: u64,
    /// Were lost to duplicates that took their room.
    pub displaced: u64,
}

/// The frames of `C`, some of them broken.
#[derive(Debug)]
pub struct Faulty<C> {
    inner: C,
    rates: Rates,
    random: Random,
    copies: Box<[u8]>,
    faults: Faults,
    received: u64,
    bytes: u64,
}

impl<C: Capture> Faulty<C> {
    /// Break frames of `inner`; the same `seed` breaks the same ones in the same way.
    pub fn new(inner: C, rates: Rates, seed: u64) -> Self {
        Self {
            inner,
            rates,
            random: Random::new(seed),
            copies: vec![0; COPIES_LENGTH].into_boxed_slice(),
            faults: Faults::default(),
            received: 0,
            bytes: 0,
        }
    }

    /// What was done so far.
    pub const fn faults(&self) -> Faults {
        self.faults
    }
}

impl<C: Capture> Capture for Faulty<C> {
    fn receive<'a>(&'a mut self, burst: &mut Burst<'a>) -> Result<Progress, Error> {
        let Self {
            inner,
            rates,
            random,
            faults,
            ..
        } = self;
        let mut free = &mut *self.copies;
        let mut intact = Burst::new();
        let progress = inner.receive(&mut intact)?;
        for mut frame in intact {
            let length = frame.data.len();
            if random.happens(rates.cut) && length > 1 {
                let kept = 1 + random.index(length - 1);
                frame.data = frame.data.get(..kept).unwrap_or(frame.data);
                faults.cut += 1;
            }
            if random.happens(rates.flip) && frame.data.len() <= free.len() {
                let (copy, rest) = std::mem::take(&mut free).split_at_mut(frame.data.len());
                free = rest;
                copy.copy_from_slice(frame.data);
                flip(copy, random);
                frame.data = copy;
                faults.flipped += 1;
            }
            faults.displaced += u64::from(burst.try_push(frame).is_err());
            if random.happens(rates.duplicate) {
                faults.duplicated += 1;
                faults.displaced += u64::from(burst.try_push(frame).is_err());
            }
        }
        for place in 0..burst.len() {
            if random.happens(rates.reorder) {
                let other = random.index(burst.len());
                burst.swap(place, other);
                faults.reordered += u64::from(place != other);
            }
        }
        let bytes: usize = burst.iter().map(|frame| frame.data.len()).sum();
        self.bytes += u64::try_from(bytes).unwrap_or(0);
        self.received += u64::try_from(burst.len()).unwrap_or(0);
        Ok(progress)
    }

    fn counters(&self) -> Counters {
        Counters {
            received: self.received,
            bytes: self.bytes,
            ..self.inner.counters()
        }
    }
}

/// Flip one to [`FLIPS_MAX`] bits of `bytes`.
fn flip(bytes: &mut [u8], random: &mut Random) {
    for _ in 0..=random.below(FLIPS_MAX) {
        let place = random.index(bytes.len());
        let bit = random.below(8);
        if let Some(byte) = bytes.get_mut(place) {
            *byte ^= 1 << bit;
        }
    }
}

/// Numbers that look random and follow from a seed: SplitMix64 (Steele, Lea and Flood, 2014), which
/// is short, has no bad seeds, and is good enough to choose what to break.
#[derive(Debug, Clone)]
pub struct Random(u64);

impl Random {
    /// From any seed.
    pub const fn new(seed: u64) -> Self {
        Self(seed)
    }

    /// The next number.
    pub const fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mixed = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    /// A number below `bound`; 0 when that is 0. The bias of the remainder does not matter here.
    pub const fn below(&mut self, bound: u64) -> u64 {
        match self.next().checked_rem(bound) {
            Some(number) => number,
            None => 0,
        }
    }

    /// An index into something of `length`; 0 when that is empty.
    pub fn index(&mut self, length: usize) -> usize {
        let bound = u64::try_from(length).unwrap_or(u64::MAX);
        usize::try_from(self.below(bound)).unwrap_or(0)
    }

    /// True so many times in a thousand.
    pub fn happens(&mut self, in_thousand: u16) -> bool {
        self.below(1_000) < u64::from(in_thousand)
    }
}

#[cfg(test)]
mod tests {
    use super::super::memory::tests::{drain, numbered};
    use super::*;

    const ALL: Rates = Rates {
        flip: 300,
        cut: 300,
        duplicate: 100,
        reorder: 200,
    };

    #[test]
    fn without_rates_nothing_changes() {
        let mut faulty = Faulty::new(numbered(100), Rates::default(), 1);
        assert_eq!(drain(&mut faulty), drain(&mut numbered(100)));
        assert_eq!(faulty.faults(), Faults::default());
        assert_eq!(faulty.counters(), {
            let mut source = numbered(100);
            drain(&mut source);
            source.counters()
        });
    }

    #[test]
    fn the_same_seed_breaks_the_same() {
        let broken = |seed| drain(&mut Faulty::new(numbered(100), ALL, seed));
        assert_eq!(broken(1), broken(1));
        assert_ne!(broken(1), broken(2));
    }

    #[test]
    fn every_fault_happens_and_is_counted() {
        let mut faulty = Faulty::new(numbered(200).repeat(5), ALL, 3);
        let frames = drain(&mut faulty);
        let faults = faulty.faults();
        assert!(faults.flipped > 0 && faults.cut > 0 && faults.reordered > 0);
        assert!(faults.duplicated > 0 && faults.displaced > 0);
        let expected = 1_000 + faults.duplicated - faults.displaced;
        assert_eq!(frames.len(), usize::try_from(expected).unwrap());
        assert_eq!(faulty.counters().received, expected);
        assert!(frames.iter().all(|(_, data)| !data.is_empty()));
    }

    #[test]
    fn numbers_are_the_published_ones() {
        let mut random = Random::new(1_234_567);
        assert_eq!(random.next(), 6_457_827_717_110_365_317);
        assert_eq!(random.next(), 3_203_168_211_198_807_973);
        assert_eq!(Random::new(0).below(0), 0);
    }
}
