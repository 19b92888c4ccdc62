//! From a packet to the steps whose access predicate it meets.
//!
//! For each attribute that access predicates are about there is a probe, which leads from its value
//! to steps: by equality, by range, by text, by the texts it contains, by network, by list, and
//! those that only want it to be there. So a packet costs what it has in attributes and what it
//! meets in predicates, and nothing for the others.

use super::access::{Access, Listed, Wanted};
use super::by_bytes::ByBytes;
use super::guards::{Message, Short};
use super::program::Slot;
use crate::dissect::attribute::Value;
use std::collections::BTreeMap;

/// Up to here numbers are looked up by binary search, beyond it in a table by value if they are
/// small.
const SEARCHED: usize = 16;
/// Numbers below this can have a table.
const TABLE: u64 = 1 << 16;
/// Ranges of so many bounds at most are all listed at each of the parts they are cut into.
const LISTED: usize = 64;
/// Values of an octet. Where no bound is larger, all of a larger number is alike.
const OCTET: usize = 256;

/// A set of steps, as words of a [`Set`] that are not 0.
#[derive(Debug, Default, Clone, PartialEq, Eq)]
pub struct Members(Vec<(u32, u64)>);

impl Members {
    /// No step.
    pub const EMPTY: Self = Self(Vec::new());

    /// Add a step.
    pub fn insert(&mut self, number: usize) {
        let word = u32::try_from(number / 64).unwrap_or(u32::MAX);
        let bit = 1 << (number % 64);
        match self.0.last_mut() {
            Some((last, bits)) if *last == word => *bits |= bit,
            _ => match self.0.iter_mut().find(|(known, _)| *known == word) {
                Some((_, bits)) => *bits |= bit,
                None => self.0.push((word, bit)),
            },
        }
    }

    /// Add all of another set. A word may stand twice: a [`Set`] takes both.
    pub fn unite(&mut self, other: &Self) {
        self.0.extend_from_slice(&other.0);
    }

    /// Take all out, and keep the room.
    pub fn clear(&mut self) {
        self.0.clear();
    }
}

/// Steps chosen for one packet. Words that hold any are marked in a summary, so that what a packet
/// does not concern is not looked at.
#[derive(Debug, Default, Clone)]
pub struct Set {
    words: Vec<u64>,
    /// Bit N of word M: word M * 64 + N may hold members.
    summary: Vec<u64>,
    /// Words of the summary before this one are 0.
    start: usize,
}

impl Set {
    /// Empty, with room for so many.
    pub fn new(count: usize) -> Self {
        let words = count.div_ceil(64);
        Self {
            words: vec![0; words],
            summary: vec![0; words.div_ceil(64)],
            start: 0,
        }
    }

    /// Add all of these; false when there is none.
    #[inline]
    pub fn add(&mut self, members: &Members) -> bool {
        for (place, bits) in &members.0 {
            let place = usize::try_from(*place).unwrap_or(usize::MAX);
            if let Some(word) = self.words.get_mut(place) {
                *word |= bits;
            }
            if let Some(word) = self.summary.get_mut(place / 64) {
                *word |= 1 << (place % 64);
            }
        }
        !members.0.is_empty()
    }

    /// Keep only members that are in these words too.
    pub fn keep(&mut self, others: &[u64]) {
        self.start = 0;
        for (block, summary) in self.summary.iter_mut().enumerate() {
            let mut left = *summary;
            while left != 0 {
                let place = block * 64 + trailing_zeros(left);
                let bit = left & left.wrapping_neg();
                left ^= bit;
                if let (Some(word), Some(other)) = (self.words.get_mut(place), others.get(place)) {
                    *word &= other;
                    if *word == 0 {
                        *summary ^= bit;
                    }
                }
            }
        }
    }

    /// Take out the lowest member.
    #[inline]
    pub fn pop(&mut self) -> Option<usize> {
        loop {
            let summary = self.summary.get_mut(self.start)?;
            if *summary == 0 {
                self.start += 1;
                continue;
            }
            let place = self.start * 64 + trailing_zeros(*summary);
            let word = self.words.get_mut(place)?;
            if *word == 0 {
                *summary &= *summary - 1;
                continue;
            }
            let member = place * 64 + trailing_zeros(*word);
            *word &= *word - 1;
            return Some(member);
        }
    }
}

#[inline]
fn trailing_zeros(word: u64) -> usize {
    usize::try_from(word.trailing_zeros()).unwrap_or(0)
}

/// The steps that a value of one attribute leads to.
#[derive(Debug)]
pub(super) struct Probe {
    /// The attribute.
    pub slot: Slot,
    short: Short,
    present: Members,
    by_number: ByNumber,
    by_bytes: Option<Box<ByBytes>>,
    /// One look into each list, however many steps want it.
    by_list: Vec<(Listed, Members)>,
}

/// Steps by the number that an attribute has.
#[derive(Debug)]
enum ByNumber {
    /// Every number that matters is in an octet: for each, the place of its steps; one larger
    /// stands for all larger ones.
    Octet(Box<[u8; OCTET]>, Vec<Members>),
    Any(Numbers, Ranges<u64>),
}

impl Probe {
    /// For these predicates on one attribute, each with its step.
    pub(super) fn new((slot, short): (Slot, Short), accesses: &[(&Access, usize)]) -> Self {
        let mut numbers = BTreeMap::<u64, Members>::new();
        let mut ranges = Vec::new();
        let mut bytes = Vec::new();
        let mut by_list: Vec<(Listed, Members)> = Vec::new();
        let mut present = Members::default();
        for (access, step) in accesses {
            match &access.wanted {
                Wanted::Range(low, high) if low == high => {
                    numbers.entry(*low).or_default().insert(*step);
                }
                Wanted::Range(low, high) => ranges.push((*low, *high, *step)),
                Wanted::Listed(listed) => {
                    let known = by_list.iter_mut().find(|(known, _)| known == listed);
                    match known {
                        Some((_, members)) => members.insert(*step),
                        None => {
                            let mut members = Members::default();
                            members.insert(*step);
                            by_list.push((listed.clone(), members));
                        }
                    }
                }
                Wanted::Present => present.insert(*step),
                wanted => bytes.push((wanted, *step)),
            }
        }
        let (by_bytes, left) = ByBytes::new(&bytes);
        present.unite(&left);
        Self {
            slot,
            short,
            present,
            by_number: ByNumber::new(numbers, &ranges),
            by_bytes: (!bytes.is_empty()).then(|| Box::new(by_bytes)),
            by_list,
        }
    }

    /// Add the steps whose predicate a packet meets.
    #[inline]
    pub(super) fn look(&self, message: &mut Message<'_, '_>, chosen: &mut Set) {
        let Some(value) = message.fresh_value(self.slot, self.short) else {
            return;
        };
        chosen.add(&self.present);
        for (listed, members) in &self.by_list {
            if listed.has(&value) {
                chosen.add(members);
            }
        }
        let is_used = match value {
            Value::Number(number) => self.by_number.look(number, chosen),
            Value::Bytes(bytes) => match &self.by_bytes {
                Some(by_bytes) => by_bytes.look(bytes, chosen),
                None => false,
            },
            Value::Float(_) | Value::Path(_) => false,
        };
        if is_used {
            message.keep(self.slot, value);
        }
    }
}

impl ByNumber {
    fn new(numbers: BTreeMap<u64, Members>, ranges: &[(u64, u64, usize)]) -> Self {
        let is_small = |bound: u64| bound < 255 || bound == u64::MAX;
        let octets = numbers.keys().all(|number| *number < 255)
            && ranges
                .iter()
                .all(|(low, high, _)| is_small(*low) && is_small(*high));
        if !octets {
            return Self::Any(
                Numbers::new(numbers),
                Ranges::new(ranges, |n| n.checked_add(1)),
            );
        }
        let mut places = Box::new([0; OCTET]);
        let mut lists: Vec<Members> = Vec::new();
        for (number, place) in (0..).zip(places.iter_mut()) {
            let mut members = numbers.get(&number).cloned().unwrap_or_default();
            for (low, high, step) in ranges {
                if (*low..=*high).contains(&number) {
                    members.insert(*step);
                }
            }
            let known = lists.iter().position(|list| *list == members);
            let known = known.unwrap_or_else(|| {
                lists.push(members);
                lists.len() - 1
            });
            *place = u8::try_from(known).unwrap_or(0);
        }
        Self::Octet(places, lists)
    }

    /// Add the steps that a number leads to; false when there is none.
    #[inline]
    fn look(&self, number: u64, chosen: &mut Set) -> bool {
        match self {
            Self::Octet(places, lists) => {
                let place = places.get(at(number.min(255))).copied();
                let members = place.and_then(|place| lists.get(usize::from(place)));
                members.is_some_and(|members| chosen.add(members))
            }
            Self::Any(numbers, ranges) => {
                let members = numbers.get(number);
                let is_one = members.is_some_and(|members| chosen.add(members));
                ranges.look(number, chosen) || is_one
            }
        }
    }
}

/// Steps by one number.
#[derive(Debug)]
struct Numbers {
    /// Ascending.
    keys: Vec<u64>,
    members: Vec<Members>,
    /// Place of each number among the keys, plus 1, where there are many and they are small.
    table: Vec<u32>,
}

impl Numbers {
    fn new(numbers: BTreeMap<u64, Members>) -> Self {
        let (keys, members): (Vec<u64>, Vec<Members>) = numbers.into_iter().unzip();
        let largest = keys.last().copied().filter(|key| *key < TABLE);
        let largest = largest.filter(|_| keys.len() > SEARCHED);
        let mut table = Vec::new();
        if let Some(largest) = largest {
            table = vec![0; at(largest) + 1];
            for (key, place) in keys.iter().zip(1..) {
                if let Some(slot) = table.get_mut(at(*key)) {
                    *slot = place;
                }
            }
        }
        Self {
            keys,
            members,
            table,
        }
    }

    #[inline]
    fn get(&self, number: u64) -> Option<&Members> {
        let place = match self.table.is_empty() {
            true => self.keys.binary_search(&number).ok()?,
            false => usize::try_from(*self.table.get(at(number))?)
                .ok()?
                .checked_sub(1)?,
        };
        self.members.get(place)
    }
}

/// Steps by ranges of numbers: a segment tree over the parts into which their bounds cut all
/// numbers (Bentley, 1977). A range stands at a few nodes, and a number meets those on its way up.
#[derive(Debug)]
pub(super) struct Ranges<T> {
    /// Where each part starts, ascending from 0; none when there is no range.
    starts: Vec<T>,
    /// The children of node N are 2N and 2N + 1; the parts are the last ones.
    nodes: Vec<Members>,
    /// Every range is listed at its parts, and nodes above them are empty.
    is_flat: bool,
}

impl<T: Copy + Ord + Default> Ranges<T> {
    /// Of these, both ends included, each with its step. `next` gives the number behind another.
    pub(super) fn new(ranges: &[(T, T, usize)], next: impl Fn(T) -> Option<T>) -> Self {
        let mut starts: Vec<T> = Vec::new();
        if !ranges.is_empty() {
            starts.push(T::default());
        }
        for (low, high, _) in ranges {
            starts.push(*low);
            starts.extend(next(*high));
        }
        starts.sort_unstable();
        starts.dedup();
        let is_flat = starts.len() <= LISTED;
        let mut tree = Self {
            nodes: vec![Members::default(); 2 * starts.len()],
            starts,
            is_flat,
        };
        for (low, high, step) in ranges {
            let (mut left, mut right) = (tree.part(*low), tree.part(*high) + 1);
            while left < right {
                if is_flat {
                    tree.insert(left, *step);
                    left += 1;
                    continue;
                }
                if left % 2 == 1 {
                    tree.insert(left, *step);
                    left += 1;
                }
                if right % 2 == 1 {
                    right -= 1;
                    tree.insert(right, *step);
                }
                left /= 2;
                right /= 2;
            }
        }
        tree
    }

    fn insert(&mut self, node: usize, step: usize) {
        if let Some(members) = self.nodes.get_mut(node) {
            members.insert(step);
        }
    }

    /// The node of the part in which a number lies.
    #[inline]
    fn part(&self, number: T) -> usize {
        let before = self.starts.partition_point(|start| *start <= number);
        self.starts.len() + before.saturating_sub(1)
    }

    /// Add the steps of the ranges that this number lies in; false when there is none.
    #[inline]
    pub(super) fn look(&self, number: T, chosen: &mut Set) -> bool {
        if self.starts.is_empty() {
            return false;
        }
        let mut is_any = false;
        let mut node = self.part(number);
        while let Some(members) = self.nodes.get(node).filter(|_| node > 0) {
            is_any |= chosen.add(members);
            if self.is_flat {
                break;
            }
            node /= 2;
        }
        is_any
    }
}

fn at(number: u64) -> usize {
    usize::try_from(number).unwrap_or(usize::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn members(set: &mut Set) -> Vec<usize> {
        std::iter::from_fn(|| set.pop()).collect()
    }

    #[test]
    fn members_come_out_in_order_and_leave_nothing_behind() {
        let mut set = Set::new(10_000);
        let mut some = Members::default();
        for number in [9_999, 3, 64, 4_100, 3] {
            some.insert(number);
        }
        set.add(&some);
        let mut kept = vec![u64::MAX; 157];
        kept[1] = 0;
        set.keep(&kept);
        assert_eq!(members(&mut set), [3, 4_100, 9_999]);
        set.keep(&kept);
        assert_eq!(members(&mut set), [0; 0]);
    }

    /// Against looking at every range, for few (listed) and many (a tree).
    #[test]
    fn a_number_meets_the_ranges_it_lies_in() {
        let mut seed = 0x2545_f491_4f6c_dd1d_u64;
        let mut next = |bound: u64| {
            seed ^= seed << 13;
            seed ^= seed >> 7;
            seed ^= seed << 17;
            seed % bound
        };
        for count in [1, 5, 40, 500] {
            let ranges: Vec<(u64, u64, usize)> = (0..count)
                .map(|step| {
                    let low = next(1000);
                    let high = [low, low + next(300), u64::MAX]
                        [usize::from(step % 3 == 0) * 2 + usize::from(step % 3 == 1)];
                    (low, high, step)
                })
                .collect();
            let tree = Ranges::new(&ranges, |n| n.checked_add(1));
            assert_eq!(tree.is_flat, count <= 5 || tree.starts.len() <= LISTED);
            for number in (0..1400).chain([u64::MAX]) {
                let mut set = Set::new(count);
                tree.look(number, &mut set);
                set.keep(&vec![u64::MAX; count.div_ceil(64)]);
                let inside = |r: &&(u64, u64, usize)| r.0 <= number && number <= r.1;
                let expected: Vec<usize> = ranges.iter().filter(inside).map(|r| r.2).collect();
                assert_eq!(members(&mut set), expected, "{number} of {count}");
            }
        }
    }

    #[test]
    fn numbers_are_found_by_search_and_by_table() {
        for (count, factor) in [(3, 1), (100, 7), (100, 1 << 20)] {
            let step = |n: u64| usize::try_from(n).unwrap();
            let all: BTreeMap<u64, Members> = (0..count)
                .map(|n| {
                    let mut members = Members::default();
                    members.insert(step(n));
                    (n * factor, members)
                })
                .collect();
            let numbers = Numbers::new(all);
            for n in 0..count {
                let mut set = Set::new(200);
                set.add(numbers.get(n * factor).unwrap());
                assert_eq!(set.pop(), Some(step(n)));
                assert!(factor == 1 || numbers.get(n * factor + 1).is_none());
            }
            assert!(numbers.get(u64::MAX).is_none() && numbers.get(count * factor).is_none());
        }
    }
}
