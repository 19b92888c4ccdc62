//! The instances that wait at one edge of a rule's machine, by the values of earlier events that
//! the edge's event is compared with.
//!
//! Instances for which all those values agree make one class: a packet that may be the event either
//! continues all of a class or none, but for their windows. So a packet is tried against classes,
//! and what ten thousand packets of one flow have opened is tried once. Classes are found by the
//! values that the event must find equal (its key), those that an instance joined last first.

use super::store::{Links, NONE, Prefetch};

/// Classes of a key that are found by looking at one after the other.
const NEAR: usize = 4;

/// Slots of an index at first, a cache line: most edges of many rules have nothing that waits.
const SLOTS: usize = 8;

/// What tells classes apart: hashes under a secret, so that no packet can be made to fall into the
/// class of another. The last two are of the same values, 128 bits, and are taken for the values
/// themselves: to compare these would fetch the record of another instance.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Identity {
    /// Of the values that must be equal.
    pub key: u64,
    /// Of all values that the event is compared with.
    pub values: u64,
    /// Of the same values, independent of the other.
    pub check: u64,
}

/// Instances that one packet need not tell apart.
#[derive(Debug, Clone, Copy)]
pub struct Class {
    identity: Identity,
    /// Its member that has waited least.
    pub newest: u32,
    /// It is in the index of values.
    is_indexed: bool,
    /// Neighbours among the classes of its key, joined later and earlier.
    neighbours: Links,
    /// Sequence of the member that joined last, here still or not: no member has a higher one.
    pub last: u64,
}

/// Bytes of a class, with its place in an index that is half full.
pub(super) const CLASS_BYTES: usize = size_of::<Class>() + 2 * size_of::<Slot>();

/// What waits at one edge.
#[derive(Debug)]
pub struct Waiting {
    /// By key: the class joined last.
    keys: Index,
    /// By key and values: the one class, for those that lie behind [`NEAR`] others of their key.
    /// Most keys have a class or two, which this spares a second place in memory.
    values: Index,
    classes: Vec<Class>,
    free: Vec<u32>,
}

/// Where the class of an identity is.
enum Found {
    /// It is this one, which is the first of its key.
    First(u32),
    /// It is this one.
    Later(u32),
    /// There is none; the first of the key, if there is one.
    Missing(Option<u32>),
}

impl Default for Waiting {
    fn default() -> Self {
        Self {
            keys: Index::new(),
            values: Index::new(),
            classes: Vec::new(),
            free: Vec::new(),
        }
    }
}

impl Waiting {
    /// Make an instance member of the class of its values. Gives the class and its newest member
    /// before, or [`NONE`].
    pub fn join(&mut self, identity: Identity, member: u32, sequence: u64) -> (u32, u32) {
        self.keys.make_room();
        let key = identity.key;
        let classes = &self.classes;
        let has_key = |id| class_at(classes, id).is_some_and(|class| class.identity.key == key);
        let place = self.keys.seek(key, has_key);
        let first = place.ok().map(|place| self.keys.at(place).class);
        let id = match self.find(identity, first) {
            Found::First(id) => id,
            Found::Later(id) => {
                self.unlink(id);
                self.link(id);
                id
            }
            Found::Missing(first) => {
                let id = self.open(identity, member, sequence);
                match (place, first) {
                    (Ok(place), Some(first)) => self.link_before(place, id, first),
                    (Ok(place) | Err(place), _) => self.keys.put(place, key, id),
                }
                return (id, NONE);
            }
        };
        let Some(class) = self.class_mut(id) else {
            return (NONE, NONE);
        };
        class.last = sequence;
        (id, std::mem::replace(&mut class.newest, member))
    }

    /// Look among the near classes of the key, then, if there are more, in the index of values.
    fn find(&self, identity: Identity, first: Option<u32>) -> Found {
        let mut next = first;
        for place in 0..NEAR {
            let Some(id) = next else {
                return Found::Missing(first);
            };
            match self.class(id) {
                Some(class) if class.identity == identity => match place {
                    0 => return Found::First(id),
                    _ => return Found::Later(id),
                },
                _ => next = self.after(id),
            }
        }
        let is_it = |id| {
            self.class(id)
                .is_some_and(|class| class.identity == identity)
        };
        let far = next.and_then(|_| self.values.find(identity.values, is_it));
        far.map_or(Found::Missing(first), Found::Later)
    }

    /// A class of its own, in no list yet.
    fn open(&mut self, identity: Identity, member: u32, sequence: u64) -> u32 {
        let class = Class {
            identity,
            newest: member,
            is_indexed: false,
            neighbours: super::store::UNLINKED,
            last: sequence,
        };
        let id = match self.free.pop() {
            Some(id) => id,
            None => u32::try_from(self.classes.len()).unwrap_or(NONE),
        };
        match self.class_mut(id) {
            Some(place) => *place = class,
            None => self.classes.push(class),
        }
        id
    }

    /// The newest member left a class; `older` is the next one, or [`NONE`], which ends the class.
    ///
    /// The links of a class that ended lead on to those after it until a class is opened.
    pub fn leave(&mut self, id: u32, older: u32) {
        let Some(class) = self.class_mut(id) else {
            return;
        };
        class.newest = older;
        if older == NONE {
            if class.is_indexed {
                let values = class.identity.values;
                self.values.remove(values, id);
            }
            self.unlink(id);
            self.free.push(id);
        }
    }

    /// Ask for the memory of a class, or, once that is there, of where it is found.
    pub fn prefetch(&self, id: u32, what: Prefetch) {
        let Some(class) = self.class(id) else {
            return;
        };
        if what == Prefetch::Class {
            memory::prefetch(class);
        } else {
            self.keys.prefetch(class.identity.key);
            if class.is_indexed {
                self.values.prefetch(class.identity.values);
            }
        }
    }

    /// A class by number.
    pub fn class(&self, id: u32) -> Option<&Class> {
        class_at(&self.classes, id)
    }

    /// The class of a key that was joined last.
    pub fn first(&self, key: u64) -> Option<u32> {
        self.keys.find(key, |id| self.has_key(id, key))
    }

    /// The class of the same key that was joined last before `id` was.
    pub fn after(&self, id: u32) -> Option<u32> {
        let older = self.class(id)?.neighbours.older;
        (older != NONE).then_some(older)
    }

    fn has_key(&self, id: u32, key: u64) -> bool {
        self.class(id)
            .is_some_and(|class| class.identity.key == key)
    }

    fn class_mut(&mut self, id: u32) -> Option<&mut Class> {
        self.classes.get_mut(usize::try_from(id).ok()?)
    }

    /// Put a class, which is in no list, first among those of its key.
    fn link(&mut self, id: u32) {
        let Some(key) = self.class(id).map(|class| class.identity.key) else {
            return;
        };
        self.keys.make_room();
        match self.keys.seek(key, |id| self.has_key(id, key)) {
            Ok(place) => self.link_before(place, id, self.keys.at(place).class),
            Err(place) => {
                self.keys.put(place, key, id);
                if let Some(class) = self.class_mut(id) {
                    class.neighbours = super::store::UNLINKED;
                }
            }
        }
    }

    /// Put a class before the one that is the first of its key, found at `place` of the index.
    fn link_before(&mut self, place: usize, id: u32, first: u32) {
        self.keys.replace(place, id);
        if let Some(class) = self.class_mut(id) {
            class.neighbours = Links {
                newer: NONE,
                older: first,
            };
        }
        if let Some(next) = self.class_mut(first) {
            next.neighbours.newer = id;
        }
        // The last one that was near is not any more.
        let far = (0..NEAR).try_fold(id, |id, _| self.after(id));
        if let Some(far) = far {
            self.index(far);
        }
    }

    /// Have a class in the index of values.
    fn index(&mut self, id: u32) {
        self.values.make_room();
        let Some(class) = self.class_mut(id) else {
            return;
        };
        let values = class.identity.values;
        if !std::mem::replace(&mut class.is_indexed, true) {
            let (Ok(place) | Err(place)) = self.values.seek(values, |_| false);
            self.values.put(place, values, id);
        }
    }

    fn unlink(&mut self, id: u32) {
        let Some(class) = self.class(id) else {
            return;
        };
        let (key, Links { newer, older }) = (class.identity.key, class.neighbours);
        match self.class_mut(newer) {
            Some(before) => before.neighbours.older = older,
            None if older == NONE => self.keys.remove(key, id),
            None => {
                if let Ok(place) = self.keys.seek(key, |first| first == id) {
                    self.keys.replace(place, older);
                }
            }
        }
        if let Some(next) = self.class_mut(older) {
            next.neighbours.newer = newer;
        }
    }
}

fn class_at(classes: &[Class], id: u32) -> Option<&Class> {
    classes.get(usize::try_from(id).ok()?)
}

/// Classes by hash: open addressing with linear probing, at most half full. A slot tells by 32 bits
/// of the hash whether its class is worth looking at, as classes seldom lie in the cache.
#[derive(Debug)]
struct Index {
    slots: Vec<Slot>,
    used: usize,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Slot {
    tag: u32,
    class: u32,
}

const EMPTY: Slot = Slot {
    tag: 0,
    class: NONE,
};

impl Index {
    fn new() -> Self {
        Self {
            slots: vec![EMPTY; SLOTS],
            used: 0,
        }
    }

    /// The class of this hash for which `is_it` holds.
    #[inline]
    fn find(&self, hash: u64, is_it: impl Fn(u32) -> bool) -> Option<u32> {
        let place = self.seek(hash, is_it).ok()?;
        Some(self.at(place).class)
    }

    /// Put `class` in the place of another, which is returned.
    fn replace(&mut self, place: usize, class: u32) -> u32 {
        match self.slots.get_mut(place) {
            Some(slot) => std::mem::replace(&mut slot.class, class),
            None => NONE,
        }
    }

    /// Room for one class more.
    #[inline]
    fn make_room(&mut self) {
        if 2 * self.used >= self.slots.len() {
            self.grow();
        }
    }

    /// Put a class in the place that [`Index::seek`] gave, with room made before.
    #[inline]
    fn put(&mut self, place: usize, hash: u64, class: u32) {
        let tag = tag_of(hash);
        self.set(place, Slot { tag, class });
        self.used += 1;
    }

    #[cold]
    fn grow(&mut self) {
        let slots = vec![EMPTY; 2 * self.slots.len()];
        for slot in std::mem::replace(&mut self.slots, slots) {
            if slot != EMPTY {
                let mut place = self.home(slot.tag);
                while self.at(place) != EMPTY {
                    place = self.after(place);
                }
                self.set(place, slot);
            }
        }
    }

    /// Take a class out; those after it move up, so that no probe ends before its class.
    fn remove(&mut self, hash: u64, class: u32) {
        let Ok(mut hole) = self.seek(hash, |other| other == class) else {
            return;
        };
        self.used -= 1;
        let mask = self.slots.len() - 1;
        let mut next = self.after(hole);
        loop {
            let slot = self.at(next);
            if slot == EMPTY {
                break;
            }
            let distance = |place: usize| place.wrapping_sub(self.home(slot.tag)) & mask;
            if distance(hole) < distance(next) {
                self.set(hole, slot);
                hole = next;
            }
            next = self.after(next);
        }
        self.set(hole, EMPTY);
    }

    fn set(&mut self, place: usize, slot: Slot) {
        if let Some(here) = self.slots.get_mut(place) {
            *here = slot;
        }
    }

    /// The place of the class of this hash for which `is_it` holds, or where it would be put.
    #[inline]
    fn seek(&self, hash: u64, is_it: impl Fn(u32) -> bool) -> Result<usize, usize> {
        let tag = tag_of(hash);
        let mut place = self.home(tag);
        loop {
            let slot = self.at(place);
            if slot.class == NONE {
                return Err(place);
            }
            if slot.tag == tag && is_it(slot.class) {
                return Ok(place);
            }
            place = self.after(place);
        }
    }

    fn prefetch(&self, hash: u64) {
        memory::prefetch_element(&self.slots, self.home(tag_of(hash)));
    }

    fn at(&self, place: usize) -> Slot {
        self.slots.get(place).copied().unwrap_or(EMPTY)
    }

    fn after(&self, place: usize) -> usize {
        (place + 1) & (self.slots.len() - 1)
    }

    fn home(&self, tag: u32) -> usize {
        usize::try_from(tag).unwrap_or(0) & (self.slots.len() - 1)
    }
}

fn tag_of(hash: u64) -> u32 {
    u32::try_from(hash >> 32).unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeSet;

    fn classes_of(waiting: &Waiting, key: u64) -> Vec<u32> {
        std::iter::successors(waiting.first(key), |id| waiting.after(*id)).collect()
    }

    fn of(key: u64, values: u64) -> Identity {
        let check = values;
        Identity { key, values, check }
    }

    #[test]
    fn members_of_equal_values_share_a_class_and_the_last_joined_comes_first() {
        let mut waiting = Waiting::default();
        let (first, alone) = waiting.join(of(1, 10), 0, 1);
        let (second, _) = waiting.join(of(1, 11), 1, 2);
        let (other, _) = waiting.join(of(2, 12), 2, 3);
        assert_eq!(alone, NONE);
        assert_eq!(classes_of(&waiting, 1), [second, first]);
        let (again, older) = waiting.join(of(1, 10), 3, 4);
        assert_eq!((again, older), (first, 0));
        assert_eq!(classes_of(&waiting, 1), [first, second]);
        assert_eq!(classes_of(&waiting, 2), [other]);
        assert_eq!(
            waiting.class(first).map(|c| (c.newest, c.last)),
            Some((3, 4))
        );
    }

    #[test]
    fn one_hash_alone_makes_no_class() {
        let mut waiting = Waiting::default();
        let (first, _) = waiting.join(of(1, 10), 0, 1);
        let other = Identity {
            check: 11,
            ..of(1, 10)
        };
        let (second, _) = waiting.join(other, 1, 2);
        assert_ne!(first, second);
        assert_eq!(classes_of(&waiting, 1), [second, first]);
    }

    #[test]
    fn a_class_that_ended_leads_on_to_those_after_it() {
        let mut waiting = Waiting::default();
        let ids: Vec<u32> = (0..3).map(|n| waiting.join(of(0, n), 0, n).0).collect();
        waiting.leave(ids[1], NONE);
        assert_eq!(classes_of(&waiting, 0), [ids[2], ids[0]]);
        assert_eq!(waiting.after(ids[1]), Some(ids[0]));
        waiting.leave(ids[2], NONE);
        waiting.leave(ids[0], NONE);
        assert_eq!(classes_of(&waiting, 0), [0; 0]);
    }

    /// Against a list for each key, with more classes than are near.
    #[test]
    fn classes_are_found_again_however_many_a_key_has() {
        let mut waiting = Waiting::default();
        let mut model: Vec<Vec<(u64, u32)>> = vec![Vec::new(); 3];
        let mut seed = 0x9e37_79b9_7f4a_7c15_u64;
        for sequence in 1..20_000 {
            seed ^= seed << 13;
            seed ^= seed >> 7;
            seed ^= seed << 17;
            let (key, values) = (seed % 3, (seed >> 8) % 24);
            let member = u32::try_from(values).unwrap();
            let list = &mut model[usize::try_from(key).unwrap()];
            let known = list.iter().position(|(v, _)| *v == values);
            let known = known.map(|place| list.remove(place));
            if let (Some((_, id)), true) = (known, (seed >> 40).is_multiple_of(3)) {
                waiting.leave(id, NONE);
            } else {
                let identity = of(key << 32, values << 32 | key);
                let (id, older) = waiting.join(identity, member, sequence);
                assert_eq!(known.is_some(), older != NONE);
                assert!(known.is_none_or(|(_, before)| before == id));
                list.insert(0, (values, id));
            }
            let ids: Vec<u32> = list.iter().map(|(_, id)| *id).collect();
            assert_eq!(classes_of(&waiting, key << 32), ids);
        }
    }

    /// Against a set, with hashes that crowd together and an index that grows.
    #[test]
    fn what_is_in_an_index_is_found_and_nothing_else() {
        let mut index = Index::new();
        let mut model = BTreeSet::new();
        let mut seed = 88_172_645_463_325_252_u64;
        let hash_of = |class: u32| (u64::from(class) / 7 * 3) << 32;
        for _ in 0..20_000 {
            seed ^= seed << 13;
            seed ^= seed >> 7;
            seed ^= seed << 17;
            let class = u32::try_from(seed % 2000).unwrap();
            if model.remove(&class) {
                index.remove(hash_of(class), class);
            } else {
                index.make_room();
                let place = index.seek(hash_of(class), |_| false).unwrap_err();
                index.put(place, hash_of(class), class);
                model.insert(class);
            }
            let class = u32::try_from((seed >> 20) % 2000).unwrap();
            let found = index.find(hash_of(class), |other| other == class);
            assert_eq!(found.is_some(), model.contains(&class));
        }
        assert_eq!(index.used, model.len());
        assert!(index.slots.len() > SLOTS);
    }
}
