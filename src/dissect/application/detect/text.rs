//! Signatures of protocols made of lines.

use super::super::http::{StartLine, judge_start};
use super::{Fit, Sample, begins, contains};
use memchr::memchr;
use memchr::memmem::find;

/// First line with its blanks at the end taken off, and whether it is complete.
fn line(payload: &[u8]) -> (&[u8], bool) {
    let end = memchr(b'\n', payload);
    let line = payload.get(..end.unwrap_or(payload.len()));
    (line.unwrap_or(payload).trim_ascii_end(), end.is_some())
}

fn starts_with_any(line: &[u8], words: &[&[u8]]) -> bool {
    let fits = |word: &&[u8]| {
        line.get(..word.len())
            .is_some_and(|start| start.eq_ignore_ascii_case(word))
    };
    words.iter().any(fits)
}

/// RFC 9113, 3.4.
pub(super) fn http2(sample: &Sample<'_>) -> Fit {
    begins(sample.payload, b"PRI * HTTP/2.0\r\n")
}

/// A start line; also one without its end whose method and target leave no doubt.
pub(super) fn http(sample: &Sample<'_>) -> Fit {
    const SURE: &[&[u8]] = &[b"GET /", b"POST /", b"HEAD /", b"PUT /", b"GET http"];
    match judge_start(sample.payload) {
        StartLine::Yes | StartLine::Simple => Fit::Yes,
        StartLine::Partial if SURE.iter().any(|start| sample.payload.starts_with(start)) => {
            Fit::Yes
        }
        StartLine::Partial => Fit::More,
        StartLine::No => Fit::No,
    }
}

/// RFC 2326: as HTTP, with its own version.
pub(super) fn rtsp(sample: &Sample<'_>) -> Fit {
    let (line, whole) = line(sample.payload);
    (line.starts_with(b"RTSP/1.0 ") || whole && line.ends_with(b" RTSP/1.0")).into()
}

/// RFC 3261, 7.
pub(super) fn sip(sample: &Sample<'_>) -> Fit {
    let (line, whole) = line(sample.payload);
    (line.starts_with(b"SIP/2.0 ") || whole && line.ends_with(b" SIP/2.0")).into()
}

/// Announcements and searches of UPnP, HTTP over UDP.
pub(super) fn ssdp(sample: &Sample<'_>) -> Fit {
    let (line, _) = line(sample.payload);
    let target = find(line, b" * HTTP/1.1").is_some();
    (target || sample.has_port(1900) && line.starts_with(b"HTTP/1.1 200")).into()
}

/// RFC 4253, 4.2.
pub(super) fn ssh(sample: &Sample<'_>) -> Fit {
    begins(sample.payload, b"SSH-")
}

/// A banner that says so, a mail port, or the client's greeting.
pub(super) fn smtp(sample: &Sample<'_>) -> Fit {
    let (line, whole) = line(sample.payload);
    if starts_with_any(line, &[b"EHLO ", b"HELO ", b"MAIL FROM:", b"LHLO "]) {
        return Fit::Yes;
    }
    if !is_reply(line, &[b"220", b"554", b"421"]) {
        return Fit::No;
    }
    let port = [25, 465, 587, 2525]
        .iter()
        .any(|port| sample.has_port(*port));
    if contains(line, b"SMTP") || port {
        return Fit::Yes;
    }
    if whole { Fit::No } else { Fit::More }
}

/// A banner that says so, the control port, or a login.
pub(super) fn ftp(sample: &Sample<'_>) -> Fit {
    const COMMANDS: &[&[u8]] = &[
        b"AUTH TLS",
        b"AUTH SSL",
        b"SYST",
        b"FEAT",
        b"PASV",
        b"EPSV",
        b"PORT ",
    ];
    let (line, whole) = line(sample.payload);
    let port = sample.has_port(21);
    if is_reply(line, &[b"220", b"230", b"331", b"421", b"530"]) {
        return if port || line.starts_with(b"331 ") || contains(line, b"FTP") {
            Fit::Yes
        } else if whole {
            Fit::No
        } else {
            Fit::More
        };
    }
    let login = starts_with_any(line, &[b"USER ", b"PASS "]);
    // POP3 and IRC have these words, too: the server or the number of arguments tells them apart.
    let pop3 = sample.has_port(110);
    let words = line.split(|byte| *byte == b' ').count();
    if login && words == 2 && !pop3 && whole {
        return Fit::Yes;
    }
    (port && whole && (login || starts_with_any(line, COMMANDS))).into()
}

fn is_reply(line: &[u8], codes: &[&[u8]]) -> bool {
    let code = line.get(..3).unwrap_or(&[]);
    codes.contains(&code) && matches!(line.get(3), None | Some(b' ' | b'-'))
}

/// RFC 1939: the server greets first.
pub(super) fn pop3(sample: &Sample<'_>) -> Fit {
    let (line, whole) = line(sample.payload);
    let port = sample.has_port(110);
    if starts_with_any(line, &[b"+OK"]) {
        return Fit::Yes;
    }
    (port && whole && starts_with_any(line, &[b"USER ", b"APOP ", b"CAPA", b"-ERR", b"STLS"]))
        .into()
}

/// RFC 9051, 7.1: an untagged greeting, or a tagged first command.
pub(super) fn imap(sample: &Sample<'_>) -> Fit {
    const COMMANDS: &[&[u8]] = &[
        b"CAPABILITY",
        b"LOGIN ",
        b"STARTTLS",
        b"AUTHENTICATE ",
        b"ID ",
    ];
    let (line, whole) = line(sample.payload);
    if starts_with_any(line, &[b"* OK", b"* PREAUTH", b"* BYE"]) {
        return Fit::Yes;
    }
    let tag = memchr(b' ', line).filter(|length| (1..=12).contains(length));
    let command = tag.and_then(|at| line.get(at.saturating_add(1)..));
    (whole && command.is_some_and(|command| starts_with_any(command, COMMANDS))).into()
}

/// RFC 2812: registration of a client, or the first notices of a server.
pub(super) fn irc(sample: &Sample<'_>) -> Fit {
    let (line, whole) = line(sample.payload);
    let user = starts_with_any(line, &[b"USER "]) && line.split(|byte| *byte == b' ').count() >= 5;
    let client = starts_with_any(line, &[b"NICK ", b"CAP LS", b"CAP REQ"]) || user;
    let notice = line.first() == Some(&b':') && find(line, b" NOTICE ").is_some();
    let server = starts_with_any(line, &[b"NOTICE AUTH"]) || notice;
    let pass = starts_with_any(line, &[b"PASS "])
        && (find(sample.payload, b"\nNICK ").is_some()
            || find(sample.payload, b"\nUSER ").is_some());
    (whole && (client || server || pass)).into()
}

/// RFC 6120, 4.2.
pub(super) fn xmpp(sample: &Sample<'_>) -> Fit {
    let stream = find(sample.payload, b"<stream:stream").is_some();
    (sample.payload.starts_with(b"<") && stream).into()
}

/// An array of bulk strings.
pub(super) fn redis(sample: &Sample<'_>) -> Fit {
    let (line, whole) = line(sample.payload);
    let count = line.strip_prefix(b"*").filter(|rest| !rest.is_empty());
    let digits = count.is_some_and(|rest| rest.iter().all(u8::is_ascii_digit));
    let first = sample.payload.get(line.len().saturating_add(2)..);
    let bulk = first.is_some_and(|rest| rest.starts_with(b"$"));
    (whole && digits && bulk || sample.has_port(6379) && line.eq_ignore_ascii_case(b"PING")).into()
}

/// RFC 6143, 7.1.1.
pub(super) fn rfb(sample: &Sample<'_>) -> Fit {
    begins(sample.payload, b"RFB 00")
}

/// Handshake of the peer protocol.
pub(super) fn bittorrent(sample: &Sample<'_>) -> Fit {
    begins(sample.payload, b"\x13BitTorrent protocol")
}

/// RFC 5424, 6: `<priority>`.
pub(super) fn syslog(sample: &Sample<'_>) -> Fit {
    let digits = sample.payload.get(1..4).unwrap_or(&[]);
    let close = memchr(b'>', sample.payload).is_some_and(|at| (2..=4).contains(&at));
    let number = digits.first().is_some_and(u8::is_ascii_digit);
    (sample.has_port(514) && sample.payload.first() == Some(&b'<') && close && number).into()
}
