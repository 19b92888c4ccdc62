//! File Transfer Protocol, control connection (RFC 959, RFC 2228).
//!
//! ```text
//! COMMAND [SP argument] CRLF  |  code SP text CRLF  |  code "-" text CRLF *( text CRLF ) code SP
//! text CRLF
//! ```
//!
//! A message is a command line, or a reply with all its lines.

use super::stream::Step;
use crate::dissect::attribute::{Attribute, Call, Message, Scope, Type, Value, View, absent};
use crate::dissect::{Definition, Protocol};
use memchr::memchr;

/// Protocol `ftp` (id 117).
pub(in crate::dissect) const DEFINITION: Definition = Definition {
    id: 117,
    name: "ftp",
    title: "File Transfer Protocol, control connection (RFC 959)",
    dissect: None,
    bindings: &[],
    attributes: &[
        session(1, "session_connection_type", Type::U8, |_, _| {
            Some(Value::Number(1))
        }),
        session(2, "server_control_addr", Type::IpAddr, absent),
        session(3, "server_control_port", Type::U16, absent),
        session(4, "client_control_addr", Type::IpAddr, absent),
        session(5, "client_control_port", Type::U16, absent),
        session(6, "control_ip_session_id", Type::U64, absent),
        changing(7, "user_name", Type::StringPointer, |v, _| {
            argument_of(v, b"USER")
        }),
        changing(8, "password", Type::StringPointer, |v, _| {
            argument_of(v, b"PASS")
        }),
        changing(9, "session_features", Type::StringPointer, absent),
        session(10, "ftp_server_system", Type::StringPointer, absent),
        changing(11, "ftp_status", Type::U16, absent),
        changing(12, "last_command", Type::Pointer, |v, _| command(v)),
        changing(13, "last_response_code", Type::Pointer, |v, _| {
            reply(v)?.get(..3).map(Value::Bytes)
        }),
        changing(14, "current_directory", Type::StringPointer, absent),
        session(15, "server_data_addr", Type::IpAddr, absent),
        session(16, "server_data_port", Type::U16, absent),
        session(17, "client_data_addr", Type::IpAddr, absent),
        session(18, "client_data_port", Type::U16, absent),
        session(19, "data_ip_session_id", Type::U64, absent),
        session(20, "data_type", Type::U8, absent),
        session(21, "transfer_type", Type::StringPointer, absent),
        session(22, "ftp_session_mode", Type::U8, absent),
        session(23, "data_direction", Type::U8, absent),
        session(24, "file_name", Type::StringPointer, absent),
        session(25, "file_size", Type::U32, absent),
        session(26, "file_last_modified", Type::StringPointer, absent),
        Attribute::packet(27, "packet_type", Type::U8, packet_type),
        Attribute::packet(28, "packet_request", Type::StringPointer, |v, _| command(v)),
        Attribute::packet(
            29,
            "packet_request_parameter",
            Type::StringPointer,
            |v, _| parameter(v),
        ),
        Attribute::packet(30, "packet_response_code", Type::U16, response_code),
        // The spelling is MMT's.
        Attribute::packet(31, "packet_reponse_value", Type::StringPointer, |v, _| {
            reply(v)?.get(4..).map(Value::Bytes)
        }),
        Attribute::packet(32, "packet_payload_len", Type::U32, payload_length),
    ],
};

/// [`Message::kind`] of a command: MMT's `packet_type`.
pub const COMMAND: u8 = 2;
/// [`Message::kind`] of a reply.
pub const RESPONSE: u8 = 3;
/// `packet_type` of a packet without a message.
const UNKNOWN: u8 = 99;

const fn session(id: u16, name: &'static str, kind: Type, call: Call) -> Attribute {
    Attribute::packet(id, name, kind, call).scope(Scope::Session)
}

const fn changing(id: u16, name: &'static str, kind: Type, call: Call) -> Attribute {
    Attribute::packet(id, name, kind, call).scope(Scope::SessionChanging)
}

fn line_of<'a>(view: &View<'a>, kind: u8) -> Option<&'a [u8]> {
    let message = view.message?;
    (message.protocol == Protocol::Ftp && message.kind == kind).then(|| first_line(message))
}

fn first_line(message: Message<'_>) -> &[u8] {
    let end = memchr(b'\n', message.bytes).unwrap_or(message.bytes.len());
    let line = message.bytes.get(..end).unwrap_or(message.bytes);
    line.trim_ascii_end()
}

fn reply<'a>(view: &View<'a>) -> Option<&'a [u8]> {
    line_of(view, RESPONSE)
}

fn word(line: &[u8]) -> &[u8] {
    line.get(..memchr(b' ', line).unwrap_or(line.len()))
        .unwrap_or(line)
}

fn command<'a>(view: &View<'a>) -> Option<Value<'a>> {
    Some(Value::Bytes(word(line_of(view, COMMAND)?)))
}

fn parameter<'a>(view: &View<'a>) -> Option<Value<'a>> {
    let line = line_of(view, COMMAND)?;
    let rest = line.get(memchr(b' ', line)?..)?.trim_ascii_start();
    (!rest.is_empty()).then_some(Value::Bytes(rest))
}

fn argument_of<'a>(view: &View<'a>, name: &[u8]) -> Option<Value<'a>> {
    let line = line_of(view, COMMAND)?;
    let found = word(line).eq_ignore_ascii_case(name);
    found.then(|| parameter(view)).flatten()
}

fn response_code<'a>(view: &View<'a>, _: usize) -> Option<Value<'a>> {
    code(reply(view)?).map(|code| Value::Number(u64::from(code)))
}

fn packet_type<'a>(view: &View<'a>, _: usize) -> Option<Value<'a>> {
    let message = view
        .message
        .filter(|message| message.protocol == Protocol::Ftp);
    let kind = message.map_or(UNKNOWN, |message| message.kind);
    Some(Value::Number(u64::from(kind)))
}

fn payload_length<'a>(view: &View<'a>, header: usize) -> Option<Value<'a>> {
    let end = u64::from(view.facts.end);
    let start = u64::try_from(header).ok()?;
    Some(Value::Number(end.saturating_sub(start)))
}

/// The number that a reply starts with.
fn code(line: &[u8]) -> Option<u16> {
    let digits = line.get(..3)?;
    let text = std::str::from_utf8(digits).ok()?;
    text.parse()
        .ok()
        .filter(|_| digits.iter().all(u8::is_ascii_digit))
}

/// The kind of a complete message; `None` when it is neither command nor reply.
pub(super) fn kind(message: &[u8]) -> Option<u8> {
    match message {
        [
            b'1'..=b'6',
            b'0'..=b'9',
            b'0'..=b'9',
            b' ' | b'-' | b'\r' | b'\n',
            ..,
        ] => Some(RESPONSE),
        _ => {
            let name = message.split(|byte| matches!(byte, b' ' | b'\r' | b'\n'));
            let name = name.into_iter().next().unwrap_or(&[]);
            let known = matches!(name.len(), 3..=4) && name.iter().all(u8::is_ascii_alphabetic);
            known.then_some(COMMAND)
        }
    }
}

/// After this reply the connection is encrypted (RFC 4217, 4).
pub(super) fn starts_tls(message: &[u8]) -> bool {
    message.starts_with(b"234")
}

/// The place in one direction of a control connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Parser {
    /// First bytes of the current line, and how many there are.
    start: [u8; 4],
    length: u8,
    /// Code of the reply of several lines that is going on.
    code: Option<[u8; 3]>,
}

impl Parser {
    /// At the start of a line.
    pub(super) const fn new() -> Self {
        Self {
            start: [0; 4],
            length: 0,
            code: None,
        }
    }

    /// How much of `input` (not empty) belongs to the message, and whether it ends there.
    pub(super) fn step(&mut self, input: &[u8]) -> Step {
        let mut done = 0_usize;
        while let Some(rest) = input.get(done..).filter(|rest| !rest.is_empty()) {
            let end = memchr(b'\n', rest);
            for byte in rest.iter().take(end.unwrap_or(rest.len())) {
                let Some(place) = self.start.get_mut(usize::from(self.length)) else {
                    break;
                };
                *place = *byte;
                self.length = self.length.saturating_add(1);
            }
            let Some(end) = end else {
                break;
            };
            done = done.saturating_add(end).saturating_add(1);
            if self.line_done() {
                return Step::Keep {
                    length: done,
                    complete: true,
                };
            }
        }
        Step::Keep {
            length: input.len(),
            complete: false,
        }
    }

    /// A line ended: did its message, too?
    fn line_done(&mut self) -> bool {
        let [a, b, c, mark] = std::mem::take(&mut self.start);
        let length = std::mem::take(&mut self.length);
        let code = [a, b, c];
        match self.code {
            None if length == 4 && mark == b'-' && code.iter().all(u8::is_ascii_digit) => {
                self.code = Some(code);
                false
            }
            None => true,
            Some(open) => {
                let last = open == code && mark != b'-';
                if last {
                    self.code = None;
                }
                last
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn messages(pieces: &[&[u8]]) -> Vec<Vec<u8>> {
        let mut parser = Parser::new();
        let (mut all, mut kept) = (Vec::new(), Vec::new());
        for piece in pieces {
            let mut rest = *piece;
            while !rest.is_empty() {
                let Step::Keep { length, complete } = parser.step(rest) else {
                    panic!("only Keep");
                };
                kept.extend(&rest[..length]);
                rest = &rest[length..];
                if complete {
                    all.push(std::mem::take(&mut kept));
                }
            }
        }
        all
    }

    #[test]
    fn every_split_gives_the_same_messages() {
        let text = b"220-Hello\r\n  there\r\n220-x\r\n220 done\r\n331 Password?\r\n230\r\n";
        let whole = messages(&[text]);
        assert_eq!(whole.len(), 3);
        assert!(whole[0].ends_with(b"220 done\r\n"));
        for at in 0..text.len() {
            let (a, b) = text.split_at(at);
            assert_eq!(messages(&[a, b]), whole, "split at {at}");
        }
    }

    #[test]
    fn kinds() {
        assert_eq!(kind(b"USER joe\r\n"), Some(COMMAND));
        assert_eq!(kind(b"PWD\r\n"), Some(COMMAND));
        assert_eq!(kind(b"220 hi\r\n"), Some(RESPONSE));
        assert_eq!(kind(b"220hi\r\n"), None);
        assert_eq!(kind(b"\x16\x03\x01\n"), None);
        assert_eq!(code(b"+12 "), None);
    }

    #[test]
    fn attributes_of_commands_and_replies() {
        let text = |kind, bytes: &'static [u8], name: &str| {
            let frame = crate::packet::Frame {
                data: bytes,
                wire_length: 0,
                timestamp: crate::packet::Timestamp::default(),
                link: crate::packet::LinkType::ETHERNET,
                port: 0,
                queue: 0,
                ..crate::packet::Frame::EMPTY
            };
            let mut facts = crate::packet::Facts::new();
            assert!(facts.push(Protocol::Ftp, 0));
            let view = View {
                frame: &frame,
                facts: &facts,
                message: Some(Message {
                    protocol: Protocol::Ftp,
                    kind,
                    bytes,
                }),
                totals: &[],
            };
            let id = crate::dissect::attribute::AttributeId::from_names("ftp", name).unwrap();
            view.extract(id).map(|value| match value {
                Value::Number(number) => number.to_string(),
                Value::Bytes(bytes) => String::from_utf8(bytes.to_vec()).unwrap(),
                other => panic!("{other:?}"),
            })
        };
        let port = b"PORT 10,0,0,1,4,5\r\n";
        assert_eq!(text(COMMAND, port, "packet_request").unwrap(), "PORT");
        let argument = text(COMMAND, port, "packet_request_parameter");
        assert_eq!(argument.unwrap(), "10,0,0,1,4,5");
        assert_eq!(text(COMMAND, port, "last_command").unwrap(), "PORT");
        assert_eq!(text(COMMAND, port, "packet_response_code"), None);
        assert_eq!(text(COMMAND, port, "user_name"), None);
        assert_eq!(text(COMMAND, b"user joe\r\n", "user_name").unwrap(), "joe");
        assert_eq!(text(COMMAND, b"PWD\r\n", "packet_request_parameter"), None);
        let ready = b"227 Entering Passive Mode\r\n";
        assert_eq!(
            text(RESPONSE, ready, "packet_response_code").unwrap(),
            "227"
        );
        let value = text(RESPONSE, ready, "packet_reponse_value");
        assert_eq!(value.unwrap(), "Entering Passive Mode");
        assert_eq!(text(RESPONSE, ready, "packet_type").unwrap(), "3");
    }
}
