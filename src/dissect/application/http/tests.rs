use super::{COMPAT, REQUEST, RESPONSE, StartLine, compat_message, fields, header, judge_start};
use crate::dissect::Protocol;
use crate::dissect::attribute::{AttributeId, Message, Value, View};
use crate::packet::{Facts, Frame, LinkType, Timestamp};

/// Text of an attribute of a message.
fn text(message: Message<'_>, name: &str) -> Option<String> {
    let frame = Frame {
        data: &[],
        wire_length: 0,
        timestamp: Timestamp::default(),
        link: LinkType::ETHERNET,
        port: 0,
        queue: 0,
        ..Frame::EMPTY
    };
    let mut facts = Facts::new();
    assert!(facts.push(Protocol::Http, 0));
    let view = View {
        frame: &frame,
        facts: &facts,
        message: Some(message),
        totals: &[],
    };
    let id = AttributeId::from_names("http", name).unwrap();
    view.extract(id).map(|value| match value {
        Value::Bytes(bytes) => String::from_utf8_lossy(bytes).into_owned(),
        Value::Number(number) => number.to_string(),
        other => panic!("{other:?}"),
    })
}

const fn message(kind: u8, bytes: &[u8]) -> Message<'_> {
    Message {
        protocol: Protocol::Http,
        kind,
        bytes,
    }
}

#[test]
fn attributes_of_a_request() {
    let head = b"GET /a b?c HTTP/1.1\r\nhost:x.org\r\nUSER-AGENT :  Nikto \r\nCookie: a=1\r\n\
        Cookie: b=2\r\nFolded: one\r\n  two\r\nEmpty:\nX-CDN: y\n\r\nHost: not me\r\n";
    let request = message(REQUEST, head);
    let cases = [
        ("method", Some("GET")),
        ("uri", Some("/a b?c")),
        ("host", Some("x.org")),
        ("user_agent", Some("Nikto")),
        ("cookie", Some("a=1")),
        ("xcdn_seen", Some("1")),
        ("response", None),
        ("server", None),
    ];
    for (name, expected) in cases {
        assert_eq!(text(request, name).as_deref(), expected, "{name}");
    }
    assert_eq!(header(head, b"folded"), Some(&b"one\r\n  two"[..]));
    assert_eq!(header(head, b"empty"), Some(&b""[..]));
    assert_eq!(fields(head).count(), 7);
}

#[test]
fn attributes_of_a_response() {
    let head = b"HTTP/1.0 404 Not Found\r\nServer: s\r\nContent-Length: 12\r\n\r\n";
    let response = message(RESPONSE, head);
    assert_eq!(text(response, "response").unwrap(), "404 Not Found");
    assert_eq!(text(response, "server").unwrap(), "s");
    assert_eq!(text(response, "content_len").unwrap(), "12");
    assert_eq!(text(response, "method"), None);
    assert_eq!(text(response, "xcdn_seen"), None);
}

#[test]
fn start_lines() {
    let cases: &[(&[u8], StartLine)] = &[
        (b"GET / HTTP/1.1\r\n", StartLine::Yes),
        (b"M-SEARCH * HTTP/1.1\n", StartLine::Yes),
        (b"GET /\r\n", StartLine::Simple),
        (b"GET /HTTP/1.1\r\nHost: a\r\n", StartLine::Yes),
        (b"POST / HTTP/1.\r\n", StartLine::Yes),
        (b"POST /\r\n", StartLine::No),
        (b"GET /", StartLine::Partial),
        (b"", StartLine::Partial),
        (b"HTT", StartLine::Partial),
        (b"HTTP/1", StartLine::Partial),
        (b"HTTP/1.1 200", StartLine::Yes),
        (b"HTTP/x", StartLine::Partial),
        (b"HTTP/1.1\r\n", StartLine::No),
        (b"\x16\x03\x01", StartLine::No),
        (b"hello\r\n", StartLine::No),
        (b"RCPT TO:<a>\r\n", StartLine::No),
    ];
    for (bytes, expected) in cases {
        assert_eq!(judge_start(bytes), *expected, "{}", bytes.escape_ascii());
    }
}

#[test]
fn compat_reads_one_segment_with_fixed_spellings() {
    let payload = b"GET /x HTTP/1.1\r\nHost:a\r\nhost: b\r\nUser-agent: c\r\nAccept:d\r\nRefe";
    let request = compat_message(payload, false).unwrap();
    assert_eq!(request.kind, REQUEST | COMPAT);
    assert!(request.bytes.ends_with(b"Accept:d\r\n"));
    assert_eq!(text(request, "method").unwrap(), "GET");
    assert_eq!(text(request, "uri").unwrap(), "/x");
    assert_eq!(text(request, "host").unwrap(), "a");
    assert_eq!(text(request, "user_agent").unwrap(), "c");
    assert_eq!(text(request, "accept"), None);
    let response =
        compat_message(b"HTTP/1.1 200 OK\r\nServer: x\r\n\r\nServer: y\r\n", false).unwrap();
    assert_eq!(text(response, "response").unwrap(), "200 OK");
    assert_eq!(text(response, "server").unwrap(), "x");
    for no in [
        &b"GET / HTTP/2.0\r\n"[..],
        b"GET /\r\n",
        b"GET / HTTP/1.1",
        b"",
        b"GET / HTTP/1.1 \r\n",
        b"GET / HTTP/1.\r\n",
    ] {
        assert!(compat_message(no, false).is_none(), "{}", no.escape_ascii());
    }
}

#[test]
fn every_truncation_is_read() {
    let head = b"GET /a HTTP/1.1\r\nHost: x\r\nA: b\r\n c\r\n\r\n";
    for length in 0..head.len() {
        let cut = &head[..length];
        let found: Vec<_> = fields(cut).collect();
        assert!(found.len() <= 2, "{length}");
        for name in ["method", "uri", "host", "response"] {
            let _ = text(message(REQUEST, cut), name);
            let _ = text(message(RESPONSE, cut), name);
        }
        let _ = compat_message(cut, false);
    }
}
