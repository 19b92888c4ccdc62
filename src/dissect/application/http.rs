//! HTTP/1 (RFC 9110, RFC 9112; also 0.9 and 1.0).
//!
//! ```text
//! method SP target SP HTTP/1.x CRLF  |  HTTP/1.x SP status SP reason CRLF
//! *( name ":" value CRLF ) CRLF body
//! ```
//!
//! A message is the header block: start line and header lines. Attributes are looked up in it when
//! somebody asks. The parser finds where the block ends and how long the body is, which it skips.

use crate::dissect::attribute::{Attribute, Message, Scope, Type, Value, View, absent};
use crate::dissect::{Definition, Protocol};
use crate::limits::HTTP_HEAD_LINES_MAX;
use memchr::memchr;

mod parser;
#[cfg(test)]
mod tests;

pub(super) use parser::{Methods, Parser};

/// Protocol `http` (id 153).
pub(in crate::dissect) const DEFINITION: Definition = Definition {
    id: 153,
    name: "http",
    title: "Hypertext Transfer Protocol, version 1 (RFC 9112)",
    dissect: None,
    bindings: &[],
    attributes: &[
        Attribute::message(1, "method", Type::HeaderLine, |v, _| method(message(v)?)),
        Attribute::message(2, "response", Type::HeaderLine, |v, _| {
            response(message(v)?)
        }),
        Attribute::message(3, "host", Type::HeaderLine, |v, _| field(v, &HOST)),
        Attribute::message(4, "uri", Type::HeaderLine, |v, _| uri(message(v)?)),
        Attribute::message(5, "referer", Type::HeaderLine, |v, _| field(v, &REFERER)),
        Attribute::message(6, "content_type", Type::HeaderLine, |v, _| {
            field(v, &CONTENT_TYPE)
        }),
        Attribute::message(7, "user_agent", Type::HeaderLine, |v, _| {
            field(v, &USER_AGENT)
        }),
        Attribute::message(8, "upgrade", Type::HeaderLine, |v, _| field(v, &UPGRADE)),
        Attribute::message(9, "connection", Type::HeaderLine, |v, _| {
            field(v, &CONNECTION)
        }),
        Attribute::message(10, "accept", Type::HeaderLine, |v, _| field(v, &ACCEPT)),
        Attribute::message(11, "transfer_encoding", Type::HeaderLine, |v, _| {
            field(v, &TRANSFER)
        }),
        Attribute::message(12, "content_encoding", Type::HeaderLine, |v, _| {
            field(v, &ENCODING)
        }),
        Attribute::message(13, "cookie", Type::HeaderLine, |v, _| field(v, &COOKIE)),
        Attribute::message(14, "x_session_type", Type::HeaderLine, |v, _| {
            field(v, &X_SESSION)
        }),
        Attribute::message(15, "content_len", Type::HeaderLine, |v, _| {
            field(v, &CONTENT_LENGTH)
        }),
        Attribute::message(16, "server", Type::HeaderLine, |v, _| field(v, &SERVER)),
        Attribute::message(17, "xcdn_seen", Type::U8, |v, _| xcdn_seen(message(v)?)),
        // Values that exist only while an event of MMT's parser is handled.
        Attribute::packet(18, "msg_start", Type::U32, absent).scope(Scope::Event),
        Attribute::packet(19, "header", Type::GenericHeaderLine, absent).scope(Scope::Event),
        Attribute::packet(20, "headers_end", Type::U32, absent).scope(Scope::Event),
        Attribute::packet(21, "data", Type::HeaderLine, absent).scope(Scope::Event),
        Attribute::packet(22, "msg_end", Type::U32, absent).scope(Scope::Event),
    ],
};

/// [`Message::kind`] of a request.
pub const REQUEST: u8 = 1;
/// [`Message::kind`] of a response.
pub const RESPONSE: u8 = 2;
/// Added to the kind: one segment alone, read with MMT's fixed spellings.
pub const COMPAT: u8 = 0x80;

/// How a header line is recognised.
struct Field {
    /// Name in lower case; any case matches.
    name: &'static [u8],
    /// MMT's spellings, to the byte.
    compat: &'static [&'static [u8]],
}

const HOST: Field = Field {
    name: b"host",
    compat: &[b"Host:"],
};
const REFERER: Field = Field {
    name: b"referer",
    compat: &[b"Referer: "],
};
const CONTENT_TYPE: Field = Field {
    name: b"content-type",
    compat: &[
        b"Content-Type: ",
        b"Content-type: ",
        b"content-Type: ",
        b"content-type: ",
    ],
};
const USER_AGENT: Field = Field {
    name: b"user-agent",
    compat: &[b"User-Agent: ", b"User-agent: "],
};
const UPGRADE: Field = Field {
    name: b"upgrade",
    compat: &[b"Upgrade: "],
};
const CONNECTION: Field = Field {
    name: b"connection",
    compat: &[b"Connection: "],
};
const ACCEPT: Field = Field {
    name: b"accept",
    compat: &[b"Accept: "],
};
const TRANSFER: Field = Field {
    name: b"transfer-encoding",
    compat: &[b"Transfer-Encoding: "],
};
const ENCODING: Field = Field {
    name: b"content-encoding",
    compat: &[b"Content-Encoding: "],
};
const COOKIE: Field = Field {
    name: b"cookie",
    compat: &[b"Cookie: ", b"cookie: "],
};
const X_SESSION: Field = Field {
    name: b"x-session-type",
    compat: &[b"X-Session-Type: "],
};
const CONTENT_LENGTH: Field = Field {
    name: b"content-length",
    compat: &[b"Content-Length: "],
};
const SERVER: Field = Field {
    name: b"server",
    compat: &[b"Server:"],
};

fn message<'a>(view: &View<'a>) -> Option<Message<'a>> {
    view.message
        .filter(|message| message.protocol == Protocol::Http)
}

fn method(message: Message<'_>) -> Option<Value<'_>> {
    let line = request_line(message)?;
    let end = memchr(b' ', line).unwrap_or(line.len());
    line.get(..end).map(Value::Bytes)
}

fn uri(message: Message<'_>) -> Option<Value<'_>> {
    let line = request_line(message)?;
    let target = line.get(memchr(b' ', line)?.checked_add(1)?..)?;
    let end = version_at(target).unwrap_or(target.len());
    target.get(..end).map(Value::Bytes)
}

fn response(message: Message<'_>) -> Option<Value<'_>> {
    if message.kind & !COMPAT != RESPONSE {
        return None;
    }
    let line = start_line(message.bytes);
    line.get(memchr(b' ', line)?.checked_add(1)?..)
        .map(Value::Bytes)
}

fn request_line(message: Message<'_>) -> Option<&[u8]> {
    (message.kind & !COMPAT == REQUEST).then(|| start_line(message.bytes))
}

/// The value of a header line: the first of its name; in compat mode the last, which overwrites.
fn field<'a>(view: &View<'a>, field: &Field) -> Option<Value<'a>> {
    let message = message(view)?;
    if message.kind & COMPAT != 0 {
        return header_compat(message.bytes, field.compat).map(Value::Bytes);
    }
    header(message.bytes, field.name).map(Value::Bytes)
}

fn xcdn_seen(message: Message<'_>) -> Option<Value<'_>> {
    let found = if message.kind & COMPAT != 0 {
        compat_lines(message.bytes).any(|line| line.starts_with(b"x-cdn"))
    } else {
        let prefixed = |name: &[u8]| {
            name.get(..5)
                .is_some_and(|n| n.eq_ignore_ascii_case(b"x-cdn"))
        };
        fields(message.bytes).any(|(name, _)| prefixed(name))
    };
    found.then_some(Value::Number(1))
}

/// Value of the first header line of this name (in any case) in a header block.
pub fn header<'a>(head: &'a [u8], name: &[u8]) -> Option<&'a [u8]> {
    fields(head)
        .find(|(found, _)| found.eq_ignore_ascii_case(name))
        .map(|(_, value)| value)
}

/// Names and values of the header lines of a header block, blanks around them taken off. A folded
/// value (RFC 9112, 5.2) keeps its line ends inside. The last line counts only when it is complete.
pub fn fields(head: &[u8]) -> impl Iterator<Item = (&[u8], &[u8])> {
    let mut rest = after_line(head);
    std::iter::from_fn(move || {
        loop {
            let mut end = memchr(b'\n', rest)?;
            if rest.get(..end)?.trim_ascii().is_empty() {
                return None;
            }
            while let Some(b' ' | b'\t') = rest.get(end.checked_add(1)?) {
                let folded = end.checked_add(1)?;
                end = folded.checked_add(memchr(b'\n', rest.get(folded..)?)?)?;
            }
            let line = rest.get(..end)?;
            rest = rest.get(end.checked_add(1)?..)?;
            if let Some(colon) = memchr(b':', line) {
                let (name, value) = line.split_at(colon);
                return Some((name.trim_ascii(), value.get(1..)?.trim_ascii()));
            }
        }
    })
}

/// First line, without its end.
fn start_line(head: &[u8]) -> &[u8] {
    let line = head.get(..memchr(b'\n', head).unwrap_or(head.len()));
    let line = line.unwrap_or(head);
    line.strip_suffix(b"\r").unwrap_or(line)
}

fn after_line(head: &[u8]) -> &[u8] {
    memchr(b'\n', head)
        .and_then(|end| head.get(end.checked_add(1)?..))
        .unwrap_or(&[])
}

/// Where the ` HTTP/1.1` at the end of a request line starts. Servers take a broken minor version
/// (` HTTP/1.`), so it counts, too.
fn version_at(line: &[u8]) -> Option<usize> {
    const LENGTH_MAX: usize = 10;
    let line = line.trim_ascii_end();
    let at = memchr::memrchr(b' ', line)?;
    let version = line.get(at..)?;
    let [b' ', b'H', b'T', b'T', b'P', b'/', b'0'..=b'9', ..] = version else {
        return None;
    };
    (version.len() <= LENGTH_MAX).then_some(at)
}

/// Methods by which MMT knows a request: its published alerts pass over TRACE, TRACK and DEBUG.
const COMPAT_METHODS: [&[u8]; 9] = [
    b"GET ",
    b"POST ",
    b"OPTIONS ",
    b"HEAD ",
    b"PUT ",
    b"DELETE ",
    b"CONNECT ",
    b"PROPFIND ",
    b"REPORT ",
];

/// Reads one TCP segment alone, as MMT does: the request line ends in ` HTTP/1.` and a digit, or
/// the response starts with `HTTP/1.`; lines end in CR LF; a block cut by the end of the segment
/// still gives its whole lines. Requests of other methods than `COMPAT_METHODS` are no HTTP
/// there. A segment sent `again` is read only if it names no host: MMT looks on for one until then.
pub fn compat_message(payload: &[u8], again: bool) -> Option<Message<'_>> {
    let mut length = 0_usize;
    for _ in 0..HTTP_HEAD_LINES_MAX {
        let Some(end) = payload.get(length..).and_then(line_end_compat) else {
            break;
        };
        length = length.checked_add(end)?.checked_add(2)?;
        if end == 0 {
            break;
        }
    }
    let bytes = payload.get(..length)?;
    let first = bytes.get(..line_end_compat(bytes)?)?;
    let kind = if first.starts_with(b"HTTP/1.") {
        RESPONSE
    } else {
        let version = first.get(version_at(first)?..)?;
        let known = COMPAT_METHODS
            .iter()
            .any(|method| first.starts_with(method));
        let [b' ', b'H', b'T', b'T', b'P', b'/', b'1', b'.', b'0'..=b'9'] = version else {
            return None;
        };
        if !known {
            return None;
        }
        REQUEST
    };
    if again && compat_lines(bytes).any(|line| line.starts_with(b"Host:")) {
        return None;
    }
    Some(Message {
        protocol: Protocol::Http,
        kind: kind | COMPAT,
        bytes,
    })
}

/// Value of the last line that starts with one of these spellings; absent when empty. One space is
/// optional behind those that end in a colon.
pub fn header_compat<'a>(head: &'a [u8], spellings: &[&[u8]]) -> Option<&'a [u8]> {
    let value = |line: &'a [u8]| {
        let rest = spellings.iter().find_map(|name| line.strip_prefix(*name))?;
        Some(rest.strip_prefix(b" ").unwrap_or(rest)).filter(|value| !value.is_empty())
    };
    compat_lines(head).filter_map(value).last()
}

/// Header lines that end in CR LF, up to the empty one.
fn compat_lines(head: &[u8]) -> impl Iterator<Item = &[u8]> {
    let mut rest = head;
    let lines = std::iter::from_fn(move || {
        let end = line_end_compat(rest)?;
        let line = rest.get(..end)?;
        rest = rest.get(end.checked_add(2)?..)?;
        (!line.is_empty()).then_some(line)
    });
    lines.skip(1)
}

fn line_end_compat(bytes: &[u8]) -> Option<usize> {
    memchr::memchr_iter(b'\r', bytes).find(|at| bytes.get(at.wrapping_add(1)) == Some(&b'\n'))
}

/// Methods that servers answer whatever their line ends in.
const METHODS: [&[u8]; 10] = [
    b"GET",
    b"HEAD",
    b"POST",
    b"PUT",
    b"DELETE",
    b"CONNECT",
    b"OPTIONS",
    b"TRACE",
    b"PATCH",
    b"PROPFIND",
];

/// How a first line looks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum StartLine {
    /// Not HTTP.
    No,
    /// It may become one: its end is not there yet.
    Partial,
    /// A request or status line.
    Yes,
    /// The whole request of HTTP/0.9: `GET target`, no header follows.
    Simple,
}

/// Judge the first line of `bytes`. Any method token is accepted (RFC 9110, 9.1) where the version
/// follows on the same line.
pub(super) fn judge_start(bytes: &[u8]) -> StartLine {
    const METHOD_MAX: usize = 32;
    let whole = memchr(b'\n', bytes).is_some();
    let line = start_line(bytes);
    if let Some(rest) = line.strip_prefix(b"HTTP/") {
        return match (rest, whole) {
            ([b'0'..=b'9', b'.', b'0'..=b'9', b' ', b'1'..=b'9', ..], _) => StartLine::Yes,
            (rest, false) if rest.len() < 5 => StartLine::Partial,
            _ => StartLine::No,
        };
    }
    let token = line.iter().take_while(|byte| is_token(**byte)).count();
    let Some(after) = line.get(token..).filter(|_| token <= METHOD_MAX) else {
        return StartLine::No;
    };
    if after.is_empty() && !whole {
        return if token > 0 || line.is_empty() || b"HTTP/".starts_with(line) {
            StartLine::Partial
        } else {
            StartLine::No
        };
    }
    if token == 0 || after.first() != Some(&b' ') {
        return StartLine::No;
    }
    let printable = after.iter().all(|byte| *byte >= b' ' && *byte != 0x7f);
    match (whole, version_at(after)) {
        (true, Some(_)) => StartLine::Yes,
        // With more behind it, it is a request whose version is broken: servers answer it.
        (true, None) if METHODS.contains(&line.get(..token).unwrap_or(&[])) => {
            match after_line(bytes) {
                [] if line.starts_with(b"GET /") => StartLine::Simple,
                [] => StartLine::No,
                _ => StartLine::Yes,
            }
        }
        (false, _) if printable => StartLine::Partial,
        _ => StartLine::No,
    }
}

/// [`REQUEST`] or [`RESPONSE`]; `None` when the bytes do not start with either.
pub(super) fn kind(head: &[u8]) -> Option<u8> {
    match judge_start(head) {
        StartLine::Yes if head.starts_with(b"HTTP/") => Some(RESPONSE),
        StartLine::Yes | StartLine::Simple => Some(REQUEST),
        StartLine::No | StartLine::Partial => None,
    }
}

/// RFC 9110, 5.6.2.
const fn is_token(byte: u8) -> bool {
    byte.is_ascii_alphanumeric()
        || matches!(
            byte,
            b'!' | b'#'
                | b'$'
                | b'%'
                | b'&'
                | b'\''
                | b'*'
                | b'+'
                | b'-'
                | b'.'
                | b'^'
                | b'_'
                | b'`'
                | b'|'
                | b'~'
        )
}
