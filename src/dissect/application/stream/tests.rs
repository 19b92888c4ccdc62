use super::{ApplicationState, Applications, Phase, Settings};
use crate::dissect::application::detect::Application;
use crate::dissect::application::http;
use crate::dissect::{Protocol, headers};
use crate::limits::{HTTP_HEAD_BYTES_MAX, MESSAGES_PER_PACKET_MAX};
use crate::packet::{Direction, Facts, Frame, LinkType, Timestamp};

use Direction::{Originator as Client, Responder as Server};

const SMALL: Settings = Settings {
    flows_max: 4,
    waiting_blocks: 64,
    partial_blocks: 64,
};

/// A TCP connection that is spoken segment by segment.
struct Connection {
    stage: Applications,
    state: ApplicationState,
    next: [u32; 2],
    ports: (u16, u16),
    /// Protocol, kind and bytes of every message so far.
    messages: Vec<(Protocol, u8, Vec<u8>)>,
    layers: usize,
}

impl Connection {
    fn new(port: u16) -> Self {
        let mut connection = Self {
            stage: Applications::new(&SMALL),
            state: ApplicationState::default(),
            next: [1_000, u32::MAX - 2],
            ports: (40_000, port),
            messages: Vec::new(),
            layers: 0,
        };
        connection.segment(Client, 999, SYN, b"");
        connection.segment(Server, u32::MAX - 3, SYN, b"");
        connection
    }

    /// The next bytes of one side.
    fn say(&mut self, from: Direction, payload: &[u8]) {
        let sequence = self.next[from.index()];
        self.segment(from, sequence, ACK, payload);
        let length = u32::try_from(payload.len()).unwrap();
        self.next[from.index()] = sequence.wrapping_add(length);
    }

    fn segment(&mut self, from: Direction, sequence: u32, flags: u8, payload: &[u8]) {
        let total = u16::try_from(40 + payload.len()).unwrap().to_be_bytes();
        let (source, destination) = match from {
            Client => self.ports,
            Server => (self.ports.1, self.ports.0),
        };
        let mut data = vec![0x45, 0, total[0], total[1], 0, 0, 0, 0, 64, 6, 0, 0];
        data.extend([10, 0, 0, 1, 10, 0, 0, 2]);
        data.extend(source.to_be_bytes());
        data.extend(destination.to_be_bytes());
        data.extend(sequence.to_be_bytes());
        let other = self.next[from.reverse().index()];
        data.extend(other.to_be_bytes());
        data.extend([0x50, flags, 0xff, 0xff, 0, 0, 0, 0]);
        data.extend(payload);
        self.packet(from, &data);
    }

    fn packet(&mut self, from: Direction, data: &[u8]) {
        let frame = Frame {
            data,
            wire_length: u32::try_from(data.len()).unwrap(),
            timestamp: Timestamp::default(),
            link: LinkType::IPV4,
            port: 0,
            queue: 0,
            ..Frame::EMPTY
        };
        let mut facts = Facts::new();
        headers(&frame, &mut facts);
        facts.flow.id = 1;
        facts.flow.direction = from;
        self.stage.parse(3, &frame, &mut facts, &mut self.state);
        for reference in self.stage.messages_of(3) {
            let message = self.stage.message(reference, &frame);
            let bytes = message.bytes.to_vec();
            self.messages.push((message.protocol, message.kind, bytes));
        }
        let application = [Protocol::Http, Protocol::Ftp];
        self.layers += usize::from(application.iter().any(|p| facts.offset_of(*p).is_some()));
        self.stage.end_burst();
        assert!(self.stage.messages_of(3).is_empty());
    }

    /// First lines of the messages so far.
    fn lines(&self) -> Vec<String> {
        let line = |bytes: &Vec<u8>| {
            let end = bytes.iter().position(|byte| *byte == b'\r');
            String::from_utf8_lossy(&bytes[..end.unwrap_or(bytes.len())]).into_owned()
        };
        self.messages
            .iter()
            .map(|(_, _, bytes)| line(bytes))
            .collect()
    }

    fn end(&mut self) {
        self.stage.release_flow(self.state.slot);
        assert_eq!(self.stage.used(), (0, 0, 0));
    }
}

const FIN: u8 = 0x11;
const SYN: u8 = 0x02;
const RST: u8 = 0x04;
const ACK: u8 = 0x10;

const REQUEST: &[u8] = b"POST /a?b HTTP/1.1\r\nHost: x.org\r\nUser-Agent: y\r\n\
    Content-Length: 5\r\n\r\n12345";
const HEAD_LENGTH: usize = REQUEST.len() - 5;

#[test]
fn a_request_in_one_segment_is_not_copied() {
    let mut connection = Connection::new(8_888);
    connection.say(Client, REQUEST);
    let expected = (
        Protocol::Http,
        http::REQUEST,
        REQUEST[..HEAD_LENGTH].to_vec(),
    );
    assert_eq!(connection.messages, [expected]);
    assert_eq!(connection.layers, 1);
    assert_eq!(connection.state.application, Application::Http);
    assert_eq!(connection.stage.used(), (1, 0, 0));
    connection.end();
}

#[test]
fn every_split_of_a_request_gives_the_same_message() {
    let expected = (
        Protocol::Http,
        http::REQUEST,
        REQUEST[..HEAD_LENGTH].to_vec(),
    );
    for first in 1..REQUEST.len() {
        for second in first..REQUEST.len() {
            let mut connection = Connection::new(8_888);
            connection.say(Client, &REQUEST[..first]);
            connection.say(Client, &REQUEST[first..second]);
            connection.say(Client, &REQUEST[second..]);
            assert_eq!(
                connection.messages,
                std::slice::from_ref(&expected),
                "{first} {second}"
            );
            connection.say(Client, b"GET /next HTTP/1.1\r\n\r\n");
            assert_eq!(connection.lines()[1], "GET /next HTTP/1.1");
            connection.end();
        }
    }
}

#[test]
fn segments_in_any_order_give_the_same_message() {
    let ranges = [(0, 20), (20, 45), (45, REQUEST.len())];
    for order in [[0, 2, 1], [1, 0, 2], [1, 2, 0], [2, 0, 1], [2, 1, 0]] {
        let mut connection = Connection::new(8_888);
        for piece in order {
            let (from, to) = ranges[piece];
            let sequence = 1_000 + u32::try_from(from).unwrap();
            connection.segment(Client, sequence, ACK, &REQUEST[from..to]);
        }
        assert_eq!(connection.lines(), ["POST /a?b HTTP/1.1"], "{order:?}");
        assert_eq!(connection.messages[0].2, REQUEST[..HEAD_LENGTH]);
        connection.end();
    }
}

#[test]
fn pipelined_requests_are_messages_of_one_packet() {
    let mut connection = Connection::new(8_888);
    let one = b"GET /1 HTTP/1.1\r\n\r\n";
    connection.say(Client, &one.repeat(MESSAGES_PER_PACKET_MAX + 2));
    assert_eq!(connection.messages.len(), MESSAGES_PER_PACKET_MAX);
    assert_eq!(connection.stage.counters().messages_over, 2);
    let answer = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nOKHTTP/1.1 404 No\r\n\r\n";
    connection.say(Server, answer);
    assert_eq!(
        connection.lines()[8..],
        ["HTTP/1.1 200 OK", "HTTP/1.1 404 No"]
    );
    connection.end();
}

#[test]
fn bodies_end_where_their_framing_says() {
    let cases: &[(&[u8], &[u8])] = &[
        (
            b"GET / HTTP/1.1\r\n\r\n",
            b"HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip, chunked\r\n\r\n\
            4;x=y\r\nGET \r\n00A\r\n0123456789\r\n0\r\nTrailer: t\r\n\r\n",
        ),
        (
            b"HEAD / HTTP/1.1\r\n\r\n",
            b"HTTP/1.1 200 OK\r\nContent-Length: 99\r\n\r\n",
        ),
        (
            b"GET / HTTP/1.1\r\n\r\n",
            b"HTTP/1.1 304 Same\r\nContent-Length: 99\r\n\r\n",
        ),
        (
            b"GET / HTTP/1.1\r\n\r\n",
            b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 204 No\r\n\r\n",
        ),
        (
            b"GET / HTTP/1.1\n\n",
            b"HTTP/1.1 200 OK\nContent-length:3\n\nabc",
        ),
    ];
    for (request, answer) in cases {
        for at in 1..answer.len() {
            let mut connection = Connection::new(8_888);
            connection.say(Client, request);
            connection.say(Client, b"GET /second HTTP/1.1\r\n\r\n");
            connection.say(Server, &answer[..at]);
            connection.say(Server, &answer[at..]);
            connection.say(Server, b"HTTP/1.1 202 Next\r\n\r\n");
            let lines = connection.lines();
            assert_eq!(
                lines.last().unwrap(),
                "HTTP/1.1 202 Next",
                "{lines:?} at {at}"
            );
            assert_eq!(connection.stage.counters().lost, 0);
            connection.end();
        }
    }
}

#[test]
fn a_body_without_length_ends_with_the_connection() {
    let mut connection = Connection::new(8_888);
    connection.say(Client, b"GET / HTTP/1.0\r\n\r\n");
    connection.say(Server, b"HTTP/1.0 200 OK\r\n\r\n");
    connection.say(Server, b"HTTP/1.0 200 quoted\r\n\r\n");
    connection.segment(Server, connection.next[1], FIN, b"");
    assert_eq!(connection.messages.len(), 2);
    connection.end();
}

#[test]
fn connect_and_upgrade_end_the_reading() {
    for (request, answer) in [
        (
            &b"CONNECT a:443 HTTP/1.1\r\n\r\n"[..],
            &b"HTTP/1.1 200 OK\r\n\r\n"[..],
        ),
        (
            b"GET / HTTP/1.1\r\nUpgrade: x\r\n\r\n",
            b"HTTP/1.1 101 Switch\r\n\r\n",
        ),
    ] {
        let mut connection = Connection::new(8_888);
        connection.say(Client, request);
        connection.say(Server, answer);
        assert_eq!(connection.stage.used(), (0, 0, 0));
        connection.say(Client, b"GET / HTTP/1.1\r\n\r\n");
        assert_eq!(connection.messages.len(), 2);
        assert_eq!(connection.layers, 3, "the flow is still one of http");
    }
}

#[test]
fn after_a_gap_reading_goes_on_at_a_start_line() {
    let mut connection = Connection::new(8_888);
    connection.say(Client, b"GET /1 HTTP/1.1\r\nHost: a\r\nCoo");
    connection.next[0] += 100;
    connection.say(Client, b"kie: lost\r\n\r\n");
    connection.say(Client, b"GET /2 HTTP/1.1\r\n\r\n");
    assert_eq!(connection.messages.len(), 0);
    connection.say(Server, b"HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\n");
    let lines = connection.lines();
    assert_eq!(
        lines,
        ["GET /1 HTTP/1.1", "GET /2 HTTP/1.1", "HTTP/1.1 200 OK"]
    );
    assert!(
        connection.messages[0].2.ends_with(b"Host: a\r\n"),
        "whole lines only"
    );
    assert_eq!(connection.stage.counters().messages_cut, 1);
    // A gap inside a body of known length costs nothing.
    connection.say(Server, &[b'x'; 300]);
    connection.next[1] = connection.next[1].wrapping_add(400);
    connection.say(Server, &[b'x'; 300]);
    connection.say(Client, b"GET /3 HTTP/1.1\r\n\r\n");
    connection.say(Server, b"HTTP/1.1 201 After\r\n\r\n");
    assert_eq!(
        connection.lines()[3..],
        ["GET /3 HTTP/1.1", "HTTP/1.1 201 After"]
    );
    connection.end();
}

#[test]
fn a_header_block_beyond_its_bounds_is_given_in_part() {
    let mut connection = Connection::new(8_888);
    connection.say(Client, b"GET /1 HTTP/1.1\r\nHost: a\r\nX: ");
    for _ in 0..HTTP_HEAD_BYTES_MAX / 1_000 + 1 {
        connection.say(Client, &[b'x'; 1_000]);
    }
    assert_eq!(connection.messages[0].2, b"GET /1 HTTP/1.1\r\nHost: a\r\n");
    connection.say(Client, b"\r\n\r\n");
    connection.say(Client, b"GET /2 HTTP/1.1\r\n\r\n");
    assert_eq!(connection.lines(), ["GET /1 HTTP/1.1", "GET /2 HTTP/1.1"]);
    let lines = b"X: y\r\n".repeat(300);
    connection.say(Client, &[b"GET /3 HTTP/1.1\r\n", &lines[..]].concat());
    assert_eq!(connection.lines().len(), 3);
    assert_eq!(connection.messages[2].2.len(), 17 + 200 * 6);
    connection.end();
}

#[test]
fn ftp_is_read_from_its_banner_on() {
    let mut connection = Connection::new(2_121);
    connection.say(Server, b"220-FTP here\r\n220 ");
    connection.say(Server, b"ready\r\n");
    connection.say(Client, b"USER joe\r\nPASS x\r\n");
    connection.say(Server, b"230 in\r\n");
    let kinds: Vec<_> = connection
        .messages
        .iter()
        .map(|(_, kind, _)| *kind)
        .collect();
    assert_eq!(kinds, [3, 2, 2, 3]);
    assert_eq!(
        connection.lines(),
        ["220-FTP here", "USER joe", "PASS x", "230 in"]
    );
    connection.say(Client, b"AUTH TLS\r\n");
    connection.say(Server, b"234 go\r\n");
    assert_eq!(connection.stage.used(), (0, 0, 0));
}

#[test]
fn a_login_tells_what_a_silent_banner_did_not() {
    let mut connection = Connection::new(2_121);
    connection.say(Server, b"220 welcome\r\n");
    assert_eq!(connection.state.application, Application::Unknown);
    connection.say(Client, b"USER joe\r\n");
    assert_eq!(connection.lines(), ["USER joe"]);
    let mut connection = Connection::new(2_121);
    connection.say(Server, b"220 welcome\r\n");
    connection.say(Client, b"EHLO joe\r\n");
    assert_eq!(connection.state.application, Application::Smtp);
    connection.end();
}

#[test]
fn a_flow_that_names_nothing_is_given_up() {
    let mut connection = Connection::new(1);
    for _ in 0..super::TRIES_MAX {
        assert_eq!(connection.state.phase, Phase::Undecided);
        connection.say(Client, b"\xde\xad\xbe\xef");
    }
    assert_eq!(connection.state.phase, Phase::Done);
    assert_eq!(connection.stage.counters().unnamed, 1);
    connection.say(Client, b"GET / HTTP/1.1\r\n\r\n");
    assert_eq!((connection.messages.len(), connection.layers), (0, 0));
}

#[test]
fn without_a_slot_a_flow_is_named_and_not_followed() {
    let mut connection = Connection::new(80);
    connection.stage.free.clear();
    connection.say(Client, b"GET / HTTP/1.1\r\n\r\n");
    assert_eq!(connection.stage.counters().flows_full, 1);
    assert_eq!((connection.messages.len(), connection.layers), (0, 1));
}

#[test]
fn a_stream_picked_up_in_a_body_finds_the_next_request() {
    let mut connection = Connection::new(80);
    connection.state = ApplicationState::default();
    for _ in 0..super::TRIES_MAX + 2 {
        connection.say(Client, b"\xde\xad\xbe\xef");
    }
    connection.say(Client, b"GET / HTTP/1.1\r\n\r\n");
    assert_eq!(connection.messages.len(), 1);
    connection.end();
}

#[test]
fn every_truncation_and_random_speech_end_clean() {
    for length in 0..REQUEST.len() {
        let mut connection = Connection::new(80);
        connection.say(Client, &REQUEST[..length]);
        assert_eq!(
            connection.messages.len(),
            usize::from(length >= HEAD_LENGTH)
        );
        connection.segment(Client, connection.next[0], FIN, b"");
        let whole_line = length >= 20;
        assert_eq!(
            connection.messages.len(),
            usize::from(whole_line),
            "{length}"
        );
        connection.end();
    }
    let seed = 0x5eed_0004_u64;
    println!("seed {seed:#x}");
    let mut state = seed;
    let mut next = move |below: usize| {
        state = state
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1);
        usize::try_from(state >> 33).unwrap() % below
    };
    let speech = [
        REQUEST,
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nabcde\r\n0\r\n\r\n",
        b"220 FTP\r\nUSER a\r\n200-x\r\n",
        b"\r\n\r\n\n",
        b"ffffffffffffffffffffff\r\n",
        b"HEAD / HTTP/1.0\n\n",
    ];
    for _ in 0..2_000 {
        let mut connection = Connection::new(80);
        for _ in 0..next(40) {
            let words = speech[next(speech.len())];
            let (from, to) = (next(words.len()), next(words.len()) + 1);
            let mut bytes = words[from.min(to - 1)..to].to_vec();
            if next(4) == 0 {
                let at = next(bytes.len());
                bytes[at] = u8::try_from(next(256)).unwrap();
            }
            let side = if next(2) == 0 { Client } else { Server };
            match next(8) {
                0 => connection.next[side.index()] = connection.next[side.index()].wrapping_add(7),
                1 => connection.next[side.index()] = connection.next[side.index()].wrapping_sub(9),
                2 => connection.segment(side, connection.next[side.index()], RST, &bytes),
                3 => connection.segment(side, connection.next[side.index()], FIN, &bytes),
                _ => connection.say(side, &bytes),
            }
        }
        for (protocol, kind, bytes) in &connection.messages {
            assert!(!bytes.is_empty());
            assert!(*protocol != Protocol::Http || http::kind(bytes) == Some(*kind));
        }
        connection.end();
    }
}
