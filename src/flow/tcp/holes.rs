//! Bytes of one direction of a TCP flow that were not seen, or not yet.

use arrayvec::ArrayVec;

/// Holes in the sequence space of one direction that are watched. The next one displaces the
/// oldest, whose bytes then count as missed.
const HOLES_MAX: usize = 4;

/// Bytes that were not seen: from a sequence number, so many.
#[derive(Debug, Default, Clone, Copy)]
struct Hole {
    start: u32,
    length: u32,
}

/// The holes of one direction, oldest first.
#[derive(Debug, Default, Clone)]
pub(super) struct Holes(ArrayVec<Hole, HOLES_MAX>);

impl Holes {
    /// A new hole. Returns the bytes of one that it displaced.
    pub(super) fn open(&mut self, start: u32, length: u32) -> u32 {
        let displaced = if self.0.is_full() {
            self.0.remove(0).length
        } else {
            0
        };
        self.0.push(Hole { start, length });
        displaced
    }

    /// Where the oldest begins.
    pub(super) fn start(&self) -> Option<u32> {
        self.0.first().map(|hole| hole.start)
    }

    /// Forget all.
    pub(super) fn clear(&mut self) {
        self.0.clear();
    }

    /// Take `length` bytes from `start` out of all holes. Returns how many were in one, and how
    /// many are in a piece of a hole for which there is no place.
    pub(super) fn fill(&mut self, start: u32, length: u32) -> (u32, u32) {
        let (mut filled, mut lost) = (0_u32, 0_u32);
        for hole in std::mem::take(&mut self.0) {
            let (front, covered, back) = hole.split(start, length);
            filled = filled.saturating_add(covered);
            for piece in [front, back] {
                if piece.length != 0
                    && let Err(piece) = self.0.try_push(piece)
                {
                    lost = lost.saturating_add(piece.element().length);
                }
            }
        }
        (filled, lost)
    }
}

impl Hole {
    /// What `length` bytes from `start` leave of it in front and behind, and how many they cover.
    fn split(self, start: u32, length: u32) -> (Self, u32, Self) {
        // Places relative to the hole's start do not wrap.
        let from = i64::from(start.wrapping_sub(self.start).cast_signed());
        let end = i64::from(self.length);
        let covered_from = from.clamp(0, end);
        let covered_to = from.saturating_add(i64::from(length)).clamp(0, end);
        let bytes = |from: i64, to: i64| u32::try_from(to.saturating_sub(from)).unwrap_or(0);
        let front = Self {
            start: self.start,
            length: bytes(0, covered_from),
        };
        let back = Self {
            start: self.start.wrapping_add(bytes(0, covered_to)),
            length: bytes(covered_to, end),
        };
        (front, bytes(covered_from, covered_to), back)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Start, length, how many bytes that fills, and what is left.
    type Case = (u32, u32, u32, &'static [(u32, u32)]);

    fn left(holes: &Holes) -> Vec<(u32, u32)> {
        let pieces = holes.0.iter();
        pieces.map(|hole| (hole.start, hole.length)).collect()
    }

    #[test]
    fn a_hole_is_filled_from_any_side() {
        let cases: [Case; 7] = [
            (100, 100, 100, &[]),
            (50, 500, 100, &[]),
            (50, 60, 10, &[(110, 90)]),
            (190, 60, 10, &[(100, 90)]),
            (140, 20, 20, &[(100, 40), (160, 40)]),
            (0, 100, 0, &[(100, 100)]),
            (200, 100, 0, &[(100, 100)]),
        ];
        for (start, length, filled, pieces) in cases {
            let mut holes = Holes::default();
            holes.open(100, 100);
            assert_eq!(holes.fill(start, length), (filled, 0));
            assert_eq!(left(&holes), pieces);
        }
    }

    #[test]
    fn a_hole_may_lie_where_the_numbers_wrap() {
        let mut holes = Holes::default();
        holes.open(u32::MAX - 9, 20);
        assert_eq!(holes.fill(u32::MAX - 4, 10), (10, 0));
        assert_eq!(left(&holes), [(u32::MAX - 9, 5), (5, 5)]);
    }

    #[test]
    fn what_has_no_place_is_told() {
        let mut holes = Holes::default();
        for start in 0..4 {
            assert_eq!(holes.open(start * 1_000, 100), 0);
        }
        assert_eq!(
            holes.fill(10, 10),
            (10, 100),
            "two pieces of the first, the last is lost"
        );
        assert_eq!(holes.open(9_000, 1), 10);
    }
}
