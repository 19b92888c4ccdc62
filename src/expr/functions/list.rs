//! The entries of a list: addresses, networks, texts and numbers, one a line.

use crate::limits::{LIST_ENTRIES_MAX, LIST_FILE_MAX};
use std::hash::{Hash, Hasher};
use std::io::{BufRead, Read as _};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::path::PathBuf;

/// The entries of one list file. Each kind is sorted, so that a list takes no more memory than its
/// entries, and a look into it some steps of a binary search.
#[derive(Debug, Default)]
pub struct List {
    name: String,
    /// Where it was read from; empty for one that was not.
    file: PathBuf,
    ipv4: Ranges<u32>,
    /// One bit for each /16 that has an IPv4 entry: most addresses are ruled out by one load.
    ipv4_coarse: Vec<u64>,
    ipv6: Ranges<u128>,
    texts: Texts,
    /// Ascending.
    numbers: Vec<u64>,
    entries: usize,
}

impl PartialEq for List {
    /// The same file, whatever its entries.
    fn eq(&self, other: &Self) -> bool {
        let is_file = !self.file.as_os_str().is_empty();
        std::ptr::eq(self, other) || (is_file && self.file == other.file)
    }
}

impl Eq for List {}

impl Hash for List {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.file.hash(state);
    }
}

/// Ascending, without overlap; both ends belong to a range.
type Ranges<T> = Vec<(T, T)>;

/// Longest line in bytes: no value of a packet is longer.
const LINE_MAX: u64 = 64 << 10;

const COARSE_WORDS: usize = 65_536 / 64;

impl List {
    /// Read entries, one a line. Empty lines and those that start with `#` do not count. What is
    /// neither an address nor a network (`10.0.0.0/8`) nor a number is a text.
    ///
    /// # Errors
    /// It cannot be read, is larger than [`LIST_FILE_MAX`], has more entries than
    /// [`LIST_ENTRIES_MAX`] or a line of more than 64 KiB.
    pub fn read(name: &str, from: impl BufRead) -> Result<Self, String> {
        Self::read_within(name, from, LIST_ENTRIES_MAX, LIST_FILE_MAX)
    }

    fn read_within(
        name: &str,
        mut from: impl BufRead,
        entries_max: usize,
        size_max: u64,
    ) -> Result<Self, String> {
        let mut list = Self {
            name: name.to_owned(),
            ..Self::default()
        };
        let mut line = Vec::new();
        let mut size = 0_u64;
        for number in 1_u64.. {
            line.clear();
            let mut start = (&mut from).take(LINE_MAX.saturating_add(1));
            let length = start.read_until(b'\n', &mut line);
            let length = length.map_err(|error| error.to_string())?;
            let length = u64::try_from(length).unwrap_or(u64::MAX);
            size = size.saturating_add(length);
            if size > size_max {
                return Err(format!("larger than {size_max} bytes"));
            }
            if length > LINE_MAX {
                return Err(format!("line {number} is longer than {LINE_MAX} bytes"));
            }
            if length == 0 {
                break;
            }
            let text = line.strip_suffix(b"\n").unwrap_or(&line);
            let text = text.strip_suffix(b"\r").unwrap_or(text);
            if text.trim_ascii().is_empty() || text.starts_with(b"#") {
                continue;
            }
            if list.entries >= entries_max {
                return Err(format!("more than {entries_max} entries"));
            }
            list.add(text);
            list.entries += 1;
        }
        list.sort();
        Ok(list)
    }

    /// Entries at hand, as [`List::read`] reads them.
    #[cfg(test)]
    pub(crate) fn parse(name: &str, bytes: &[u8]) -> Self {
        Self::read(name, bytes).unwrap()
    }

    fn sort(&mut self) {
        merge(&mut self.ipv4, |end| end.checked_add(1));
        merge(&mut self.ipv6, |end| end.checked_add(1));
        self.ipv4_coarse = coarse(&self.ipv4);
        self.numbers.sort_unstable();
        self.numbers.dedup();
        self.numbers.shrink_to_fit();
        self.texts.sort();
    }

    /// Memory that its entries take, in bytes.
    pub(super) fn memory(&self) -> usize {
        size_of_val(self.ipv4.as_slice())
            .saturating_add(size_of_val(self.ipv6.as_slice()))
            .saturating_add(size_of_val(self.numbers.as_slice()))
            .saturating_add(self.texts.memory())
    }

    /// Say that it is that of a file.
    pub(super) fn set_file(&mut self, file: PathBuf) {
        self.file = file;
    }

    fn add(&mut self, line: &[u8]) {
        // Blanks around a text belong to it.
        let text = std::str::from_utf8(line).unwrap_or_default().trim();
        match network(text) {
            Some(Network::V4(first, last)) => self.ipv4.push((first, last)),
            Some(Network::V6(first, last)) => self.ipv6.push((first, last)),
            None => {
                if let Ok(number) = text.parse() {
                    self.numbers.push(number);
                }
                self.texts.push(line);
            }
        }
    }

    /// Its name, as expressions give it.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Has it the same entries as another one, wherever both were read from?
    pub fn has_entries_of(&self, other: &Self) -> bool {
        self.ipv4 == other.ipv4
            && self.ipv6 == other.ipv6
            && self.texts == other.texts
            && self.numbers == other.numbers
    }

    /// Number of entries.
    pub fn len(&self) -> usize {
        self.entries
    }

    /// Is there none?
    pub fn is_empty(&self) -> bool {
        self.entries == 0
    }

    /// Is this address (4 or 16 bytes) listed, or in a listed network?
    pub fn has_address(&self, address: &[u8]) -> bool {
        if let Ok(bytes) = <[u8; 4]>::try_from(address) {
            return self.has_ipv4(u32::from_be_bytes(bytes));
        }
        match <[u8; 16]>::try_from(address) {
            Ok(bytes) => contains(&self.ipv6, u128::from_be_bytes(bytes)),
            Err(_) => false,
        }
    }

    fn has_ipv4(&self, address: u32) -> bool {
        let (word, bit) = coarse_place(address);
        let word = self.ipv4_coarse.get(word).copied().unwrap_or(0);
        word & bit != 0 && contains(&self.ipv4, address)
    }

    /// Is this text listed? An address written out is looked up as an address, too.
    pub fn has_text(&self, text: &[u8]) -> bool {
        if self.texts.contains(text) {
            return true;
        }
        if self.ipv4.is_empty() && self.ipv6.is_empty() {
            return false;
        }
        let text = std::str::from_utf8(text).ok();
        match text.and_then(|text| text.parse().ok()) {
            Some(IpAddr::V4(address)) => self.has_ipv4(address.to_bits()),
            Some(IpAddr::V6(address)) => contains(&self.ipv6, address.to_bits()),
            None => false,
        }
    }

    /// Is this number listed?
    pub fn has_number(&self, number: i128) -> bool {
        u64::try_from(number).is_ok_and(|number| self.numbers.binary_search(&number).is_ok())
    }
}

enum Network {
    V4(u32, u32),
    V6(u128, u128),
}

/// `ADDRESS` or `ADDRESS/BITS`, as its first and last address.
fn network(text: &str) -> Option<Network> {
    let (address, bits) = match text.split_once('/') {
        Some((address, bits)) => (address, Some(bits.parse::<u32>().ok()?)),
        None => (text, None),
    };
    if let Ok(address) = address.parse::<Ipv4Addr>() {
        let host = 32_u32.checked_sub(bits.unwrap_or(32))?;
        let mask = u32::MAX.checked_shl(host).unwrap_or(0);
        let first = address.to_bits() & mask;
        return Some(Network::V4(first, first | !mask));
    }
    let address = address.parse::<Ipv6Addr>().ok()?;
    let host = 128_u32.checked_sub(bits.unwrap_or(128))?;
    let mask = u128::MAX.checked_shl(host).unwrap_or(0);
    let first = address.to_bits() & mask;
    Some(Network::V6(first, first | !mask))
}

/// Sort, and join ranges that touch or overlap, in their place.
fn merge<T: Ord + Copy>(ranges: &mut Ranges<T>, next: impl Fn(T) -> Option<T>) {
    ranges.sort_unstable();
    // `dedup_by` hands out a range and the one kept before it.
    ranges.dedup_by(|(first, last), (_, end)| {
        let joins = next(*end).is_none_or(|next| *first <= next);
        if joins {
            *end = (*last).max(*end);
        }
        joins
    });
    ranges.shrink_to_fit();
}

fn contains<T: Ord + Copy>(ranges: &[(T, T)], value: T) -> bool {
    let behind = ranges.partition_point(|(first, _)| *first <= value);
    let candidate = behind.checked_sub(1).and_then(|at| ranges.get(at));
    candidate.is_some_and(|(_, last)| value <= *last)
}

/// Word and bit of the /16 of an address.
fn coarse_place(address: u32) -> (usize, u64) {
    let [high, low, ..] = address.to_be_bytes();
    let net = u16::from_be_bytes([high, low]);
    (usize::from(net / 64), 1 << (net % 64))
}

fn coarse(ranges: &Ranges<u32>) -> Vec<u64> {
    if ranges.is_empty() {
        return Vec::new();
    }
    let mut words = vec![0; COARSE_WORDS];
    for (first, last) in ranges {
        for net in (first >> 16)..=(last >> 16) {
            let (word, bit) = coarse_place(net << 16);
            if let Some(word) = words.get_mut(word) {
                *word |= bit;
            }
        }
    }
    words
}

/// Texts, one behind the other, and where each is.
#[derive(Debug, Default, PartialEq, Eq)]
struct Texts {
    bytes: Vec<u8>,
    /// Start and length of each, in the order of the texts.
    places: Vec<(u32, u32)>,
}

const _: () = assert!(
    LIST_FILE_MAX <= u32::MAX as u64,
    "a place in a list is 32 bits"
);

impl Texts {
    fn push(&mut self, text: &[u8]) {
        let place = (u32::try_from(self.bytes.len()), u32::try_from(text.len()));
        if let (Ok(start), Ok(length)) = place {
            self.bytes.extend_from_slice(text);
            self.places.push((start, length));
        }
    }

    fn sort(&mut self) {
        let bytes = std::mem::take(&mut self.bytes);
        self.places
            .sort_unstable_by(|one, other| at(&bytes, *one).cmp(at(&bytes, *other)));
        self.places
            .dedup_by(|one, other| at(&bytes, *one) == at(&bytes, *other));
        self.bytes = bytes;
        self.bytes.shrink_to_fit();
        self.places.shrink_to_fit();
    }

    fn contains(&self, text: &[u8]) -> bool {
        let order = |place: &(u32, u32)| at(&self.bytes, *place).cmp(text);
        self.places.binary_search_by(order).is_ok()
    }

    fn memory(&self) -> usize {
        let places = size_of_val(self.places.as_slice());
        self.bytes.len().saturating_add(places)
    }
}

fn at(bytes: &[u8], (start, length): (u32, u32)) -> &[u8] {
    let start = usize::try_from(start).unwrap_or(usize::MAX);
    let length = usize::try_from(length).unwrap_or(usize::MAX);
    let place = start..start.saturating_add(length);
    bytes.get(place).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn v4(text: &str) -> [u8; 4] {
        text.parse::<Ipv4Addr>().unwrap().octets()
    }

    #[test]
    fn networks_and_addresses_are_found() {
        let list = List::parse(
            "t",
            b"10.0.0.0/8\n10.1.0.0/16\n192.168.1.5\n192.168.1.6\r\n255.255.255.255\n2001:db8::/32\n",
        );
        assert_eq!(list.ipv4.len(), 3);
        for (address, expected) in [
            ("9.255.255.255", false),
            ("10.0.0.0", true),
            ("10.255.255.255", true),
            ("11.0.0.0", false),
            ("192.168.1.4", false),
            ("192.168.1.6", true),
            ("192.168.1.7", false),
            ("255.255.255.255", true),
        ] {
            assert_eq!(list.has_address(&v4(address)), expected, "{address}");
            assert_eq!(list.has_text(address.as_bytes()), expected, "{address}");
        }
        let inside: Ipv6Addr = "2001:db8:1::5".parse().unwrap();
        assert!(list.has_address(&inside.octets()));
        assert!(list.has_text(b"2001:db8::"));
        assert!(!list.has_text(b"2001:db9::"));
        let all = List::parse("t", b"0.0.0.0/0\n::/0\n");
        assert!(all.has_address(&v4("1.2.3.4")) && all.has_address(&[0; 16]));
        assert!(!all.has_address(&[0; 6]));
    }

    #[test]
    fn the_rest_is_text_and_numbers() {
        let list = List::parse(
            "t",
            b"# note\n\nevil.example\n x \n443 \n10.0.0.0/33\n\xff\xfe\n",
        );
        assert_eq!(list.len(), 5);
        assert!(list.has_text(b"evil.example") && list.has_text(b"10.0.0.0/33"));
        assert!(list.has_text(b"\xff\xfe") && list.has_number(443));
        assert!(list.has_text(b" x ") && !list.has_text(b"x"));
        assert!(!list.has_text(b"# note") && !list.has_text(b""));
    }

    #[test]
    fn sizes_are_bounded() {
        let read = |text: &[u8]| List::read_within("t", text, 3, 20);
        assert_eq!(read(b"1\n#\n\n2\n3\n").unwrap().len(), 3);
        assert_eq!(read(b"1\n2\n3\n4").unwrap_err(), "more than 3 entries");
        assert_eq!(read(&[b'\n'; 21]).unwrap_err(), "larger than 20 bytes");
        let endless = std::io::BufReader::new(std::io::repeat(b'x'));
        let error = List::read("t", endless).unwrap_err();
        assert_eq!(error, "line 1 is longer than 65536 bytes");
    }

    /// Lines of addresses, made while they are read: every second one of a million.
    struct Lines(u32, Vec<u8>);

    impl std::io::Read for Lines {
        fn read(&mut self, into: &mut [u8]) -> std::io::Result<usize> {
            while self.1.len() < into.len() && self.0 < 2_000_000 {
                let address = Ipv4Addr::from_bits(self.0);
                self.1.extend_from_slice(format!("{address}\n").as_bytes());
                self.0 += 2;
            }
            let length = into.len().min(self.1.len());
            into[..length].copy_from_slice(&self.1[..length]);
            self.1.drain(..length);
            Ok(length)
        }
    }

    /// Eight bytes an address, whatever their number.
    #[test]
    fn a_million_addresses_take_little_memory() {
        let lines = std::io::BufReader::new(Lines(0, Vec::new()));
        let list = List::read("t", lines).unwrap();
        assert_eq!((list.len(), list.memory()), (1_000_000, 8_000_000));
        assert!(list.has_address(&v4("0.0.0.2")) && !list.has_address(&v4("0.0.0.3")));
        assert!(list.has_address(&1_999_998_u32.to_be_bytes()));
    }

    #[test]
    fn texts_are_found_whole() {
        let mut words: Vec<String> = (0..1_000).map(|n| format!("w{}", n * 7 % 1_000)).collect();
        words.push("w5".to_owned());
        let list = List::parse("t", words.join("\n").as_bytes());
        assert_eq!(list.texts.places.len(), 1_000);
        for word in &words {
            assert!(list.has_text(word.as_bytes()), "{word}");
        }
        assert!(!list.has_text(b"w") && !list.has_text(b"w1000") && !list.has_text(b""));
    }
}
