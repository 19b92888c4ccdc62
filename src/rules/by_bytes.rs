//! Steps by the bytes that an attribute has: texts, parts of texts, networks.

use super::access::Wanted;
use super::index::{Members, Ranges, Set};
use super::short_texts::ShortTexts;
use crate::expr::address::Network;
use aho_corasick::AhoCorasick;
use std::collections::{BTreeMap, HashMap};

/// The steps that bytes lead to.
#[derive(Debug, Default)]
pub(super) struct ByBytes {
    short: ShortTexts,
    /// Whole texts, where they are longer.
    whole: HashMap<Box<[u8]>, Members>,
    /// Whole texts in lower case, ascending.
    folded: Vec<(Box<[u8]>, Members)>,
    parts: Option<Parts>,
    folded_parts: Option<Parts>,
    ipv4: Option<Ranges<u32>>,
    ipv6: Option<Ranges<u128>>,
}

/// Texts to be found within others.
#[derive(Debug)]
struct Parts {
    automaton: AhoCorasick,
    members: Vec<Members>,
}

/// Steps by the part of a text that they want.
type Needles = BTreeMap<Box<[u8]>, Members>;

impl ByBytes {
    /// For these, each with its step; and the steps that no automaton can be built for.
    pub(super) fn new(all: &[(&Wanted, usize)]) -> (Self, Members) {
        let mut made = Self::default();
        let mut whole = Needles::default();
        let (mut folded, mut parts, mut folded_parts) = <(Needles, Needles, Needles)>::default();
        let (mut ipv4, mut ipv6) = (Vec::new(), Vec::new());
        for (wanted, step) in all {
            let members = match wanted {
                Wanted::Text(text) => whole.entry(text.clone()).or_default(),
                Wanted::TextNoCase(text) => folded.entry(text.clone()).or_default(),
                Wanted::Contains(part) => parts.entry(part.clone()).or_default(),
                Wanted::ContainsNoCase(part) => folded_parts.entry(part.clone()).or_default(),
                Wanted::Within(network) => {
                    let (first, last) = network.range();
                    match (network, u32::try_from(first), u32::try_from(last)) {
                        (Network::V4(..), Ok(first), Ok(last)) => ipv4.push((first, last, *step)),
                        _ => ipv6.push((first, last, *step)),
                    }
                    continue;
                }
                Wanted::Range(..) | Wanted::Listed(_) | Wanted::Present => continue,
            };
            members.insert(*step);
        }
        let mut left = Members::default();
        let mut whole = whole.into_iter().collect();
        made.short = ShortTexts::new(&mut whole);
        made.whole = whole.into_iter().collect();
        made.folded = folded.into_iter().collect();
        made.parts = Parts::new(parts, false, &mut left);
        made.folded_parts = Parts::new(folded_parts, true, &mut left);
        made.ipv4 = (!ipv4.is_empty()).then(|| Ranges::new(&ipv4, |n| n.checked_add(1)));
        made.ipv6 = (!ipv6.is_empty()).then(|| Ranges::new(&ipv6, |n| n.checked_add(1)));
        (made, left)
    }

    /// Add the steps that these bytes lead to; false when there is none.
    pub(super) fn look(&self, bytes: &[u8], chosen: &mut Set) -> bool {
        let mut found = |members: Option<&Members>| members.is_some_and(|m| chosen.add(m));
        let mut is_any = found(self.short.get(bytes));
        if !self.whole.is_empty() {
            is_any |= found(self.whole.get(bytes));
        }
        if !self.folded.is_empty() {
            is_any |= found(self.folded_as(bytes));
        }
        for parts in self.parts.iter().chain(&self.folded_parts) {
            is_any |= parts.look(bytes, chosen);
        }
        if let Some(networks) = &self.ipv4
            && let Ok(address) = <[u8; 4]>::try_from(bytes)
        {
            is_any |= networks.look(u32::from_be_bytes(address), chosen);
        }
        if let Some(networks) = &self.ipv6
            && let Ok(address) = <[u8; 16]>::try_from(bytes)
        {
            is_any |= networks.look(u128::from_be_bytes(address), chosen);
        }
        is_any
    }

    /// The steps that want this text in whatever case.
    fn folded_as(&self, bytes: &[u8]) -> Option<&Members> {
        let order = |(text, _): &(Box<[u8]>, Members)| {
            let bytes = bytes.iter().map(u8::to_ascii_lowercase);
            text.iter().copied().cmp(bytes)
        };
        let place = self.folded.binary_search_by(order).ok()?;
        self.folded.get(place).map(|(_, members)| members)
    }
}

impl Parts {
    /// Of these. Too many for one automaton are `left` to their own conditions, which look for
    /// them one by one.
    fn new(needles: Needles, any_case: bool, left: &mut Members) -> Option<Self> {
        if needles.is_empty() {
            return None;
        }
        let automaton = AhoCorasick::builder()
            .ascii_case_insensitive(any_case)
            .build(needles.keys());
        match automaton {
            Ok(automaton) => Some(Self {
                automaton,
                members: needles.into_values().collect(),
            }),
            Err(_) => {
                needles.values().for_each(|members| left.unite(members));
                None
            }
        }
    }

    fn look(&self, bytes: &[u8], chosen: &mut Set) -> bool {
        let mut is_any = false;
        for found in self.automaton.find_overlapping_iter(bytes) {
            if let Some(members) = self.members.get(found.pattern().as_usize()) {
                is_any |= chosen.add(members);
            }
        }
        is_any
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::expr::{Context, Mode, Node, read};

    fn within(prefix: &str) -> Wanted {
        let family = if prefix.contains(':') { "ipv6" } else { "ip" };
        let text = format!("({family}.src == {prefix})");
        let found = read(&text, Mode::Standard, Context::default(), &mut Vec::new());
        let Some(Node::Chain(_, operands)) = found.map(|found| found.node) else {
            panic!("{prefix}");
        };
        match operands[1].node {
            Node::Network(network) => Wanted::Within(network),
            _ => panic!("{prefix}"),
        }
    }

    fn looked(wanted: &[Wanted], bytes: &[u8]) -> Vec<usize> {
        let all: Vec<(&Wanted, usize)> = wanted.iter().zip(0..).collect();
        let (by_bytes, left) = ByBytes::new(&all);
        assert_eq!(left, Members::default());
        let mut set = Set::new(wanted.len());
        by_bytes.look(bytes, &mut set);
        set.keep(&vec![u64::MAX; wanted.len().div_ceil(64)]);
        std::iter::from_fn(|| set.pop()).collect()
    }

    #[test]
    fn addresses_lead_to_their_networks() {
        let wanted = [
            within("10.0.0.0/8"),
            within("10.1.0.0/16"),
            within("10.1.2.3/32"),
            within("255.255.255.255/32"),
            within("2001:db8::/32"),
            within("ffff::/16"),
            within("::/128"),
        ];
        let v6 = |text: &str| text.parse::<std::net::Ipv6Addr>().unwrap().octets();
        for (address, expected) in [
            (&[10, 1, 2, 3][..], &[0, 1, 2][..]),
            (&[10, 255, 255, 255], &[0]),
            (&[11, 0, 0, 0], &[]),
            (&[255, 255, 255, 255], &[3]),
            (&[10, 1, 2], &[]),
            (&v6("2001:db8::1"), &[4]),
            (&v6("ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff"), &[5]),
            (&v6("::"), &[6]),
            (&v6("::1"), &[]),
        ] {
            assert_eq!(looked(&wanted, address), expected, "{address:?}");
        }
    }

    #[test]
    fn texts_of_any_case_lead_to_their_steps() {
        let wanted = [
            Wanted::Text(Box::from(*b"Nikto")),
            Wanted::TextNoCase(Box::from(*b"nikto")),
            Wanted::TextNoCase(Box::from(*b"nmap")),
            Wanted::Contains(Box::from(*b"ikt")),
            Wanted::ContainsNoCase(Box::from(*b"ikt")),
            Wanted::ContainsNoCase(Box::from(*b"{")),
        ];
        for (text, expected) in [
            (&b"Nikto"[..], &[0, 1, 3, 4][..]),
            (b"NIKTO", &[1, 4]),
            (b"xnIKTox", &[4]),
            (b"NMap", &[2]),
            (b"[", &[]),
            (b"", &[]),
        ] {
            assert_eq!(looked(&wanted, text), expected, "{text:?}");
        }
    }
}
