//! Steps by a short text, such as an address: one word a text, in one piece of memory.

use super::index::Members;

/// Longest text, in bytes.
const LENGTH_MAX: usize = 7;

/// No text: its length would be 255.
const EMPTY: u64 = u64::MAX;

/// The steps that short texts lead to: open addressing with linear probing, at most half full.
/// Who sends packets can choose what is looked up, but not what is in it.
#[derive(Debug, Default)]
pub(super) struct ShortTexts {
    /// Packed texts; as many as a power of two, or none.
    slots: Vec<u64>,
    /// Place of the steps of each slot among `members`.
    places: Vec<u32>,
    members: Vec<Members>,
}

impl ShortTexts {
    /// Of these, as many as are short; the others are left in `texts`.
    pub(super) fn new<T: AsRef<[u8]>>(texts: &mut Vec<(T, Members)>) -> Self {
        let mut short = Vec::new();
        let mut long = Vec::new();
        for (text, members) in texts.drain(..) {
            match packed(text.as_ref()) {
                Some(key) => short.push((key, members)),
                None => long.push((text, members)),
            }
        }
        *texts = long;
        let size = match short.len() {
            0 => 0,
            count => (2 * count).next_power_of_two(),
        };
        let mut made = Self {
            slots: vec![EMPTY; size],
            places: vec![0; size],
            members: Vec::with_capacity(short.len()),
        };
        for (key, members) in short {
            let place = u32::try_from(made.members.len()).unwrap_or(u32::MAX);
            let free = made
                .walk(key)
                .find(|slot| made.slots.get(*slot) == Some(&EMPTY));
            if let Some(slot) = free
                && let (Some(held), Some(of)) =
                    (made.slots.get_mut(slot), made.places.get_mut(slot))
            {
                (*held, *of) = (key, place);
                made.members.push(members);
            }
        }
        made
    }

    /// The steps of a text.
    #[inline]
    pub(super) fn get(&self, text: &[u8]) -> Option<&Members> {
        if self.slots.is_empty() {
            return None;
        }
        let key = packed(text)?;
        for slot in self.walk(key) {
            match self.slots.get(slot) {
                Some(held) if *held == key => {
                    let place = usize::try_from(*self.places.get(slot)?).ok()?;
                    return self.members.get(place);
                }
                Some(held) if *held != EMPTY => {}
                _ => return None,
            }
        }
        None
    }

    /// Slots in the order in which a text is looked for.
    #[inline]
    fn walk(&self, key: u64) -> impl Iterator<Item = usize> + use<> {
        const SPREAD: u64 = 0x9e37_79b9_7f4a_7c15;
        let mask = self.slots.len().saturating_sub(1);
        let hash = key.wrapping_mul(SPREAD) >> 32;
        let start = usize::try_from(hash).unwrap_or(0);
        (0..=mask).map(move |step| (start + step) & mask)
    }
}

/// A short text as a word: its bytes, and its length on top.
#[inline]
fn packed(text: &[u8]) -> Option<u64> {
    if let Ok(address) = <[u8; 4]>::try_from(text) {
        return Some(u64::from(u32::from_le_bytes(address)) | 4 << 56);
    }
    if text.len() > LENGTH_MAX {
        return None;
    }
    let length = u64::try_from(text.len()).unwrap_or(0);
    let bytes = text.iter().rev();
    Some(bytes.fold(0, |word, byte| word << 8 | u64::from(*byte)) | length << 56)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn members(step: usize) -> Members {
        let mut members = Members::default();
        members.insert(step);
        members
    }

    #[test]
    fn every_short_text_is_found_and_no_other() {
        let address = |n: u32| n.to_be_bytes().to_vec();
        let mut texts: Vec<(Vec<u8>, Members)> = (0..2_000)
            .map(|n| (address(n * 65_537), members(usize::try_from(n).unwrap())))
            .collect();
        let others: [&[u8]; 6] = [b"", b"\0", b"\0\0\0\0\0\0", b"GET", b"OPTIONS", b"PROPFIND"];
        texts.extend(
            others
                .iter()
                .zip(2_000..)
                .map(|(text, step)| (text.to_vec(), members(step))),
        );
        let made = ShortTexts::new(&mut texts);
        assert_eq!(texts, [(b"PROPFIND".to_vec(), members(2_005))]);
        for n in 0..2_000 {
            let step = usize::try_from(n).unwrap();
            assert_eq!(made.get(&address(n * 65_537)), Some(&members(step)));
            assert_eq!(made.get(&address(n * 65_537 + 1)), None);
        }
        for (text, step) in others.iter().take(5).zip(2_000..) {
            assert_eq!(made.get(text), Some(&members(step)), "{text:?}");
        }
        assert_eq!(made.get(b"PROPFIND"), None);
        assert_eq!(made.get(b"\0\0"), None);
        assert_eq!(ShortTexts::default().get(b"GET"), None);
    }
}
