//! Lists: files of addresses, networks, texts and numbers, one a line, that expressions look into.

use crate::limits::{LIST_FILE_MAX, LISTS_MAX};
use std::collections::{HashMap, HashSet};
use std::io::Read as _;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

/// The entries of one list file.
#[derive(Debug)]
pub struct List {
    name: String,
    /// Where it was read from; empty for one that was not.
    file: PathBuf,
    ipv4: Ranges<u32>,
    /// One bit for each /16 that has an IPv4 entry: most addresses are ruled out by one load.
    ipv4_coarse: Vec<u64>,
    ipv6: Ranges<u128>,
    texts: HashSet<Box<[u8]>>,
    numbers: HashSet<u64>,
    entries: usize,
}

impl PartialEq for List {
    /// The same file, whatever its entries.
    fn eq(&self, other: &Self) -> bool {
        let is_file = !self.file.as_os_str().is_empty();
        std::ptr::eq(self, other) || (is_file && self.file == other.file)
    }
}

/// Ascending, without overlap; both ends belong to a range.
type Ranges<T> = Vec<(T, T)>;

const COARSE_WORDS: usize = 65_536 / 64;

impl List {
    /// Read entries, one a line. Empty lines and those that start with `#` do not count. What is
    /// neither an address nor a network (`10.0.0.0/8`) nor a number is a text.
    pub fn parse(name: &str, bytes: &[u8]) -> Self {
        let mut list = Self {
            name: name.to_owned(),
            file: PathBuf::new(),
            ipv4: Vec::new(),
            ipv4_coarse: Vec::new(),
            ipv6: Vec::new(),
            texts: HashSet::new(),
            numbers: HashSet::new(),
            entries: 0,
        };
        for line in bytes.split(|byte| *byte == b'\n') {
            let line = line.strip_suffix(b"\r").unwrap_or(line);
            if !line.trim_ascii().is_empty() && !line.starts_with(b"#") {
                list.add(line);
                list.entries += 1;
            }
        }
        list.ipv4 = merge(list.ipv4, |end| end.checked_add(1));
        list.ipv6 = merge(list.ipv6, |end| end.checked_add(1));
        list.ipv4_coarse = coarse(&list.ipv4);
        list
    }

    fn add(&mut self, line: &[u8]) {
        // Blanks around a text belong to it.
        let text = std::str::from_utf8(line).unwrap_or_default().trim();
        match network(text) {
            Some(Network::V4(first, last)) => self.ipv4.push((first, last)),
            Some(Network::V6(first, last)) => self.ipv6.push((first, last)),
            None => {
                if let Ok(number) = text.parse() {
                    self.numbers.insert(number);
                }
                self.texts.insert(line.into());
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
        u64::try_from(number).is_ok_and(|number| self.numbers.contains(&number))
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

/// Sort, and join ranges that touch or overlap.
fn merge<T: Ord + Copy>(mut ranges: Ranges<T>, next: impl Fn(T) -> Option<T>) -> Ranges<T> {
    ranges.sort_unstable();
    let mut merged: Ranges<T> = Vec::new();
    for (first, last) in ranges {
        match merged.last_mut() {
            Some((_, end)) if next(*end).is_none_or(|next| first <= next) => *end = last.max(*end),
            _ => merged.push((first, last)),
        }
    }
    merged.shrink_to_fit();
    merged
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

/// Lists by name: each is read once, from the first folder that has it.
#[derive(Debug, Default)]
pub struct Lists {
    folders: Vec<PathBuf>,
    loaded: Mutex<HashMap<String, Arc<List>>>,
}

impl Lists {
    /// Lists of these folders; earlier ones go first.
    pub fn new(folders: Vec<PathBuf>) -> Self {
        Self {
            folders,
            loaded: Mutex::default(),
        }
    }

    /// The list `name`: the file `name.txt`, or `name`, of one of the folders.
    ///
    /// # Errors
    /// What is wrong, and where the list was looked for.
    pub fn find(&self, name: &str) -> Result<Arc<List>, String> {
        let is_part = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_' | b'.');
        // A name must not lead out of its folder.
        if name.is_empty()
            || name.len() > 100
            || name.starts_with('.')
            || !name.bytes().all(is_part)
        {
            return Err("a list is named with letters, digits, `-`, `_` and points".to_owned());
        }
        let mut loaded = self.loaded.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(list) = loaded.get(name) {
            return Ok(Arc::clone(list));
        }
        if loaded.len() >= LISTS_MAX {
            return Err(format!("more than {LISTS_MAX} lists are in use"));
        }
        for folder in &self.folders {
            for file in [folder.join(format!("{name}.txt")), folder.join(name)] {
                if file.is_file() {
                    let mut list = List::parse(name, &read(&file)?);
                    list.file = file;
                    let list = Arc::new(list);
                    loaded.insert(name.to_owned(), Arc::clone(&list));
                    return Ok(list);
                }
            }
        }
        let folders: Vec<String> = self
            .folders
            .iter()
            .map(|f| f.display().to_string())
            .collect();
        Err(match folders.is_empty() {
            true => "no folder for lists is known".to_owned(),
            false => format!("looked for {name}.txt and {name} in {}", folders.join(", ")),
        })
    }
}

fn read(path: &Path) -> Result<Vec<u8>, String> {
    let failed = |error: std::io::Error| format!("{}: {error}", path.display());
    let file = std::fs::File::open(path).map_err(failed)?;
    let mut bytes = Vec::new();
    let mut reader = file.take(LIST_FILE_MAX.saturating_add(1));
    reader.read_to_end(&mut bytes).map_err(failed)?;
    match u64::try_from(bytes.len()) {
        Ok(length) if length <= LIST_FILE_MAX => Ok(bytes),
        _ => Err(format!(
            "{}: larger than {LIST_FILE_MAX} bytes",
            path.display()
        )),
    }
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
    fn lists_are_looked_up_by_name() {
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join("ports.txt"), "22\n").unwrap();
        let missing = folder.path().join("missing");
        let lists = Lists::new(vec![missing, folder.path().to_owned()]);
        let first = lists.find("ports").unwrap();
        assert!(Arc::ptr_eq(&first, &lists.find("ports").unwrap()));
        let error = lists.find("tor").unwrap_err();
        assert!(
            error.contains("tor.txt") && error.contains("missing"),
            "{error}"
        );
        for bad in ["../ports", "", ".x", "a/b", "a\0b"] {
            assert!(lists.find(bad).unwrap_err().contains("letters"), "{bad}");
        }
        assert!(
            Lists::default()
                .find("x")
                .unwrap_err()
                .contains("no folder")
        );
    }
}
