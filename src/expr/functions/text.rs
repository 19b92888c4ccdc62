//! Text, and the header lines of HTTP.

use super::{Argument, Function, Parameter, argument, extension, pure};
use crate::expr::Mode;
use memchr::memmem::{self, Finder};
use std::sync::LazyLock;

pub(super) static STRLEN: Function = pure(
    "strlen",
    "length in bytes (compat: up to the first NUL)",
    &[Parameter::Bytes],
    strlen,
);

pub(super) static STRSTR: Function = pure(
    "strstr",
    "1 when the first text contains the second",
    &[Parameter::Bytes, Parameter::Bytes],
    strstr,
);

pub(super) static STRCASESTR: Function = extension(
    "strcasestr",
    "1 when the text contains the part, whatever the case of ASCII letters",
    &[Parameter::Bytes, Parameter::Constant],
    strcasestr,
);

pub(super) static EQUALS_NOCASE: Function = extension(
    "equals_nocase",
    "1 when both texts are the same, whatever the case of ASCII letters",
    &[Parameter::Bytes, Parameter::Bytes],
    equals_nocase,
);

pub(super) static DOUBLE_COMPRESSION: Function = pure(
    "em_check_double_compression_http",
    "1 when an HTTP header names two content encodings (compat: one)",
    &[Parameter::Bytes],
    double_compression,
);

pub(super) static DOUBLE_ENCODING: Function = pure(
    "em_check_double_encoding_http",
    "1 when an HTTP header gives its body two lengths (compat: one transfer encoding)",
    &[Parameter::Bytes],
    double_encoding,
);

pub(super) static VERSION: Function = pure(
    "em_check_version_http",
    "1 when bytes contain the HTTP version 1.01",
    &[Parameter::Bytes],
    version,
);

pub(super) static HEADER: Function = pure(
    "em_check_header_http",
    "1 when bytes contain a chunked transfer encoding behind two colons",
    &[Parameter::Bytes],
    header,
);

fn strlen(arguments: &[Argument<'_>], mode: Mode) -> i64 {
    let length = argument(arguments, 0).text(mode).len();
    i64::try_from(length).unwrap_or(i64::MAX)
}

/// The needle is mostly a short constant, for which preparing the search costs less than looking up
/// a prepared one.
fn strstr(arguments: &[Argument<'_>], mode: Mode) -> i64 {
    let text = argument(arguments, 0);
    let needle = argument(arguments, 1);
    if matches!(text, Argument::Absent) || matches!(needle, Argument::Absent) {
        return 0;
    }
    i64::from(memmem::find(text.text(mode), needle.text(mode)).is_some())
}

/// The part is a constant, so that no packet can choose what makes the search longest.
fn strcasestr(arguments: &[Argument<'_>], _: Mode) -> i64 {
    match (argument(arguments, 0), argument(arguments, 1)) {
        (Argument::Bytes(text), Argument::Bytes(part)) => i64::from(contains_nocase(text, part)),
        _ => 0,
    }
}

fn contains_nocase(text: &[u8], part: &[u8]) -> bool {
    let Some(first) = part.first() else {
        return true;
    };
    let (lower, upper) = (first.to_ascii_lowercase(), first.to_ascii_uppercase());
    memchr::memchr2_iter(lower, upper, text).any(|start| {
        let rest = text.get(start..).unwrap_or_default();
        let candidate = rest.get(..part.len());
        candidate.is_some_and(|candidate| candidate.eq_ignore_ascii_case(part))
    })
}

fn equals_nocase(arguments: &[Argument<'_>], _: Mode) -> i64 {
    match (argument(arguments, 0), argument(arguments, 1)) {
        (Argument::Bytes(one), Argument::Bytes(other)) => {
            i64::from(one.eq_ignore_ascii_case(other))
        }
        _ => 0,
    }
}

type Needle = LazyLock<Finder<'static>>;

static CONTENT_ENCODING: Needle = LazyLock::new(|| Finder::new("Content-Encoding"));
static TRANSFER_ENCODING: Needle = LazyLock::new(|| Finder::new("Transfer-Encoding"));
static START: Needle = LazyLock::new(|| Finder::new("HTTP/1."));
static ODD_VERSION: Needle = LazyLock::new(|| Finder::new("HTTP/1.01 "));
static ODD_HEADER: Needle = LazyLock::new(|| Finder::new("Transfer-Encoding::chunked"));

/// MMT's code starts at the first `Conte`, which any `Content-Encoding` is at or behind; so that
/// one search is the same.
fn double_compression(arguments: &[Argument<'_>], mode: Mode) -> i64 {
    let bytes = argument(arguments, 0).text(mode);
    i64::from(match mode {
        Mode::Compat => CONTENT_ENCODING.find(bytes).is_some(),
        Mode::Standard => any_header(bytes, |count| count.content_encoding > 1),
    })
}

/// As [`double_compression`], from the first `Trans` on. Two transfer encodings, or one beside a
/// length, let two servers disagree about where a message ends (RFC 9112, 6.3).
fn double_encoding(arguments: &[Argument<'_>], mode: Mode) -> i64 {
    let bytes = argument(arguments, 0).text(mode);
    i64::from(match mode {
        Mode::Compat => TRANSFER_ENCODING.find(bytes).is_some(),
        Mode::Standard => any_header(bytes, |count| {
            count.transfer_encoding.saturating_add(count.content_length) > 1
                && count.transfer_encoding > 0
        }),
    })
}

fn version(arguments: &[Argument<'_>], mode: Mode) -> i64 {
    let bytes = argument(arguments, 0).text(mode);
    i64::from(ODD_VERSION.find(bytes).is_some())
}

fn header(arguments: &[Argument<'_>], mode: Mode) -> i64 {
    let bytes = argument(arguments, 0).text(mode);
    i64::from(ODD_HEADER.find(bytes).is_some())
}

/// Lines of one HTTP header that say how its body is packed.
#[derive(Default)]
struct Lines {
    content_encoding: usize,
    transfer_encoding: usize,
    content_length: usize,
}

/// Is there an HTTP header in `bytes` whose lines are as asked? A header runs from its start line
/// to an empty line, or to the end of what there is.
fn any_header(bytes: &[u8], is_wanted: impl Fn(&Lines) -> bool) -> bool {
    // Most payloads are no header, and one vectorised search tells.
    if START.find(bytes).is_none() {
        return false;
    }
    let mut header: Option<Lines> = None;
    for line in bytes.split(|byte| *byte == b'\n') {
        let line = line.strip_suffix(b"\r").unwrap_or(line);
        if is_start_line(line) {
            header = Some(Lines::default());
        } else if line.is_empty() {
            header = None;
        } else if let Some(lines) = &mut header {
            lines.count(line);
            if is_wanted(lines) {
                return true;
            }
        }
    }
    false
}

/// `HTTP/1.1 200 OK` or `GET / HTTP/1.1`.
fn is_start_line(line: &[u8]) -> bool {
    let version = line.len().checked_sub(9).and_then(|at| line.get(at..));
    line.starts_with(b"HTTP/1.") || version.is_some_and(|text| text.starts_with(b" HTTP/1."))
}

impl Lines {
    fn count(&mut self, line: &[u8]) {
        let Some(length) = memchr::memchr(b':', line) else {
            return;
        };
        let name = line.get(..length).unwrap_or_default().trim_ascii();
        let counter = if name.eq_ignore_ascii_case(b"content-encoding") {
            &mut self.content_encoding
        } else if name.eq_ignore_ascii_case(b"transfer-encoding") {
            &mut self.transfer_encoding
        } else if name.eq_ignore_ascii_case(b"content-length") {
            &mut self.content_length
        } else {
            return;
        };
        *counter = counter.saturating_add(1);
    }
}

#[cfg(test)]
mod tests {
    use super::super::call;
    use super::*;

    /// Results in standard and in compat mode.
    fn both(function: &Function, text: &[u8]) -> (i64, i64) {
        let arguments = [Argument::Bytes(text)];
        (
            call(function, &arguments, Mode::Standard),
            call(function, &arguments, Mode::Compat),
        )
    }

    #[test]
    fn c_text_ends_with_its_first_nul() {
        assert_eq!(both(&STRLEN, b"abc\0def"), (7, 3));
        assert_eq!(both(&STRLEN, b""), (0, 0));
        let find = |text: &[u8], needle: &[u8], mode| {
            call(
                &STRSTR,
                &[Argument::Bytes(text), Argument::Bytes(needle)],
                mode,
            )
        };
        assert_eq!(find(b"my Nikto 2", b"Nikto", Mode::Compat), 1);
        assert_eq!(find(b"my\0Nikto 2", b"Nikto", Mode::Compat), 0);
        assert_eq!(find(b"my\0Nikto 2", b"Nikto", Mode::Standard), 1);
        assert_eq!(find(b"nikto", b"Nikto", Mode::Standard), 0);
        assert_eq!(find(b"x", b"", Mode::Standard), 1);
        let absent = [Argument::Absent, Argument::Bytes(b"")];
        assert_eq!(call(&STRSTR, &absent, Mode::Standard), 0);
    }

    #[test]
    fn letters_of_either_case_are_the_same() {
        let check = |function, one: &[u8], other: &[u8]| {
            let arguments = [Argument::Bytes(one), Argument::Bytes(other)];
            call(function, &arguments, Mode::Standard)
        };
        for (text, part, contained, equal) in [
            (&b"Mozilla NIKTO/2"[..], &b"nikto"[..], 1, 0),
            (b"nikto", b"NiKtO", 1, 1),
            (b"nikt", b"nikto", 0, 0),
            (b"nniKto", b"Nikto", 1, 0),
            (b"", b"", 1, 1),
            (b"x", b"", 1, 0),
            (b"[", b"{", 0, 0),
            ("É".as_bytes(), "é".as_bytes(), 0, 0),
        ] {
            assert_eq!(check(&STRCASESTR, text, part), contained, "{text:?}");
            assert_eq!(check(&EQUALS_NOCASE, text, part), equal, "{text:?}");
        }
        for function in [&STRCASESTR, &EQUALS_NOCASE] {
            let absent = [Argument::Absent, Argument::Bytes(b"")];
            assert_eq!(call(function, &absent, Mode::Standard), 0);
        }
    }

    #[test]
    fn one_encoding_is_enough_in_compat_mode() {
        let once = b"HTTP/1.1 200 OK\r\nContent-Encoding: gzip\r\n\r\nbody";
        assert_eq!(both(&DOUBLE_COMPRESSION, once), (0, 1));
        let twice = b"HTTP/1.1 200 OK\r\ncontent-encoding: gzip\r\nContent-Encoding: br\r\n\r\n";
        assert_eq!(both(&DOUBLE_COMPRESSION, twice), (1, 1));
        let apart = b"HTTP/1.1 200 OK\r\nContent-Encoding: gzip\r\n\r\n\
                      HTTP/1.1 200 OK\r\nContent-Encoding: gzip\r\n\r\n";
        assert_eq!(both(&DOUBLE_COMPRESSION, apart), (0, 1));
        let body = b"HTTP/1.1 200 OK\r\n\r\nContent-Encoding: a\nContent-Encoding: b\n";
        assert_eq!(both(&DOUBLE_COMPRESSION, body), (0, 1));
        assert_eq!(both(&DOUBLE_COMPRESSION, b"Content-Type: x"), (0, 0));
        assert_eq!(both(&DOUBLE_COMPRESSION, b"\0Content-Encoding: x"), (0, 0));
    }

    #[test]
    fn two_lengths_of_one_body_are_told() {
        let request = |lines: &str| format!("POST / HTTP/1.1\r\n{lines}\r\n\r\n").into_bytes();
        for (lines, expected) in [
            ("Transfer-Encoding: chunked", (0, 1)),
            ("Transfer-Encoding: chunked\r\nTransfer-Encoding: x", (1, 1)),
            ("Content-Length: 5\r\nTransfer-Encoding : chunked", (1, 1)),
            ("Content-Length: 5\r\nContent-Length: 5", (0, 0)),
        ] {
            assert_eq!(both(&DOUBLE_ENCODING, &request(lines)), expected, "{lines}");
        }
    }

    #[test]
    fn odd_start_lines_and_headers_are_told() {
        assert_eq!(both(&VERSION, b"GET / HTTP/1.01 \r\n"), (1, 1));
        assert_eq!(both(&VERSION, b"GET / HTTP/1.1\r\n"), (0, 0));
        assert_eq!(both(&VERSION, b"\0HTTP/1.01 "), (1, 0));
        assert_eq!(both(&HEADER, b"Transfer-Encoding::chunked"), (1, 1));
        assert_eq!(both(&HEADER, b"Transfer-Encoding: chunked"), (0, 0));
    }
}
