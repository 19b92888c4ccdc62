//! Statements over TCP: `tcp`, `http`, `ssh-attempt`.

use super::packet::{
    ACK, FIN, IpFields, PROTOCOL_TCP, PSH, Path, RST, SYN, TcpFields, ip_frame, tcp,
};
use super::text::{Error, Segment, Word};
use super::world::Sender;

/// Bytes of one body or message; larger transfers are several of them.
const CONTENT_MAX: usize = 16 << 20;

/// Requests of one `http` statement.
const REQUESTS_MAX: u64 = 10_000;

/// Options of every TCP connection.
pub(crate) const CONNECTION_OPTIONS: &[&str] = &[
    "port",
    "from",
    "open",
    "close",
    "syn-data",
    "segment",
    "reorder",
    "retransmit",
    "window",
    "urgent",
];

/// Options of `tcp`.
pub(crate) const TCP_OPTIONS: &[&str] = &["send", "reply"];

/// Options of `http`.
pub(crate) const HTTP_OPTIONS: &[&str] = &[
    "method",
    "uri",
    "host",
    "agent",
    "version",
    "header",
    "body",
    "status",
    "response",
    "response-header",
    "requests",
    "pipelined",
    "chunked",
];

/// One side of a connection.
#[derive(Debug, Clone, Copy)]
struct Side {
    port: u16,
    sequence: u32,
}

/// A TCP connection in the making.
pub(crate) struct Connection<'a, 'b> {
    sender: &'a mut Sender<'b>,
    path: Path,
    fields: IpFields,
    /// The client, then the server.
    sides: [Side; 2],
    window: u16,
    segment_max: usize,
    reorder: bool,
    retransmit: bool,
    urgent: bool,
}

impl<'a, 'b> Connection<'a, 'b> {
    fn new(
        sender: &'a mut Sender<'b>,
        segment: &Segment,
        default_port: u16,
    ) -> Result<Self, Error> {
        let path = sender.world.path(segment)?;
        let fields = sender.world.ip_fields(segment)?;
        let [client, server] = sender.world.ports(segment, default_port)?;
        let sides = [client, server].map(|port| Side {
            port,
            sequence: sender.world.random.word(),
        });
        let segment_max = match segment.option("segment") {
            Some(word) => word.integer(65_000)?,
            // What fits an Ethernet frame of 1,514 bytes behind IPv6.
            None => 1_440,
        };
        Ok(Self {
            sender,
            path,
            fields,
            sides,
            window: segment.number("window", 0xffff, 64_240)?,
            segment_max: std::cmp::max(segment_max, 1),
            reorder: segment.flag("reorder", false)?,
            retransmit: segment.flag("retransmit", false)?,
            urgent: segment.flag("urgent", false)?,
        })
    }

    /// Send one segment; sequence numbers move on by what it takes.
    fn segment(&mut self, reply: bool, flags: u8, payload: &[u8]) -> Result<(), Error> {
        let [client, server] = self.sides;
        let (path, from, to) = if reply {
            (self.path.reverse(), server, client)
        } else {
            (self.path, client, server)
        };
        let fields = TcpFields {
            source_port: from.port,
            destination_port: to.port,
            sequence: from.sequence,
            acknowledgment: if flags & ACK == 0 { 0 } else { to.sequence },
            flags,
            window: self.window,
            segment_max: if flags & SYN == 0 { 0 } else { 1_460 },
            urgent_pointer: None,
        };
        let packet = tcp(&path, &fields, payload);
        let frame = ip_frame(&path, &self.fields, PROTOCOL_TCP, &packet);
        self.fields.identification = self.fields.identification.wrapping_add(1);
        let taken = u32::try_from(payload.len()).unwrap_or(0)
            + u32::from(flags & SYN != 0)
            + u32::from(flags & FIN != 0);
        if let Some(side) = self.sides.get_mut(usize::from(reply)) {
            side.sequence = side.sequence.wrapping_add(taken);
        }
        self.sender.send(reply, frame)
    }

    /// The three-way handshake.
    fn open(&mut self, syn_data: &[u8]) -> Result<(), Error> {
        self.segment(false, SYN, syn_data)?;
        self.segment(true, SYN | ACK, b"")?;
        self.segment(false, ACK, b"")
    }

    /// Send `bytes` in segments; the other side acknowledges every second one and the last.
    fn transfer(&mut self, reply: bool, bytes: &[u8]) -> Result<(), Error> {
        let urgent = if self.urgent { super::packet::URG } else { 0 };
        let count = bytes.len().div_ceil(self.segment_max);
        for (index, part) in bytes.chunks(self.segment_max).enumerate() {
            let last = index + 1 == count;
            let push = if last { PSH } else { 0 };
            self.segment(reply, ACK | push | urgent, part)?;
            let odd = index % 2 == 1;
            if self.reorder && odd {
                self.sender.swap_last();
            }
            if self.retransmit && index % 4 == 3 {
                self.sender.repeat_last()?;
            }
            if odd || last {
                self.segment(!reply, ACK, b"")?;
            }
        }
        Ok(())
    }

    /// End it as option `close` says.
    fn close(&mut self, how: Option<&Word>) -> Result<(), Error> {
        let end: &[(bool, u8)] = match how.map(|word| (word.text.as_str(), word)) {
            None | Some(("fin", _)) => &[(false, FIN | ACK), (true, FIN | ACK), (false, ACK)],
            Some(("server-fin", _)) => &[(true, FIN | ACK), (false, FIN | ACK), (true, ACK)],
            Some(("reset", _)) => &[(false, RST | ACK)],
            Some(("server-reset", _)) => &[(true, RST | ACK)],
            Some(("none", _)) => &[],
            Some((_, word)) => {
                let known = "close is fin, server-fin, reset, server-reset or none";
                return Err(word.error(known));
            }
        };
        for (reply, flags) in end {
            self.segment(*reply, *flags, b"")?;
        }
        Ok(())
    }
}

/// The bytes a value stands for: a quoted text itself, a number as that many bytes of filler.
pub(crate) fn content(sender: &mut Sender<'_>, word: &Word) -> Result<Vec<u8>, Error> {
    Ok(match word.content(CONTENT_MAX)? {
        Ok(bytes) => bytes,
        Err(length) => sender.world.random.text(length),
    })
}

/// `tcp A B`: handshake, what is sent and replied in the order given, and the end.
pub(crate) fn tcp_statement(sender: &mut Sender<'_>, segment: &Segment) -> Result<(), Error> {
    let syn_data = match segment.option("syn-data") {
        Some(word) => content(sender, word)?,
        None => Vec::new(),
    };
    let mut messages = Vec::new();
    for (key, value) in &segment.options {
        if TCP_OPTIONS.contains(&key.text.as_str()) {
            messages.push((key.text == "reply", content(sender, value)?));
        }
    }
    let mut connection = Connection::new(sender, segment, 80)?;
    if segment.flag("open", true)? {
        connection.open(&syn_data)?;
    }
    for (reply, message) in messages {
        connection.transfer(reply, &message)?;
    }
    connection.close(segment.option("close"))
}

/// `http A B`: requests and responses over one connection, one after the other or pipelined.
pub(crate) fn http(sender: &mut Sender<'_>, segment: &Segment) -> Result<(), Error> {
    let uris: Vec<&str> = segment.options("uri").map(|w| w.text.as_str()).collect();
    let count = std::cmp::max(uris.len(), 1);
    let requests: usize = segment.number("requests", REQUESTS_MAX, count)?;
    let mut exchanges = Vec::new();
    for index in 0..requests {
        let uri = uris.get(index % count).copied().unwrap_or("/");
        let request = request(sender, segment, uri)?;
        exchanges.push((request, response(sender, segment)?));
    }
    let mut connection = Connection::new(sender, segment, 80)?;
    if segment.flag("open", true)? {
        connection.open(b"")?;
    }
    if segment.flag("pipelined", false)? {
        let (requests, responses): (Vec<_>, Vec<_>) = exchanges.into_iter().unzip();
        connection.transfer(false, &requests.concat())?;
        connection.transfer(true, &responses.concat())?;
    } else {
        for (request, response) in exchanges {
            connection.transfer(false, &request)?;
            connection.transfer(true, &response)?;
        }
    }
    connection.close(segment.option("close"))
}

fn request(sender: &mut Sender<'_>, segment: &Segment, uri: &str) -> Result<Vec<u8>, Error> {
    let body = match segment.option("body") {
        Some(word) => content(sender, word)?,
        None => Vec::new(),
    };
    let method = segment.text("method", "GET");
    let version = segment.text("version", "HTTP/1.1");
    let mut text = format!("{method} {uri} {version}\r\n");
    for (name, key, default) in [
        ("Host", "host", "www.example.org"),
        ("User-Agent", "agent", "Mozilla/5.0 (X11; Linux x86_64)"),
    ] {
        let value = segment.text(key, default);
        if !value.is_empty() {
            text.push_str(&format!("{name}: {value}\r\n"));
        }
    }
    if segment.option("body").is_some() {
        text.push_str(&format!("Content-Length: {}\r\n", body.len()));
    }
    let headers = segment.options("header").map(Word::bytes).collect();
    Ok(message(text, headers, &body))
}

fn response(sender: &mut Sender<'_>, segment: &Segment) -> Result<Vec<u8>, Error> {
    let body = match segment.option("response") {
        Some(word) => content(sender, word)?,
        None => sender.world.random.text(200),
    };
    let status = segment.text("status", "200 OK");
    let mut text = format!("HTTP/1.1 {status}\r\nContent-Type: text/plain\r\n");
    let headers = segment.options("response-header").map(Word::bytes);
    let headers = headers.collect();
    if !segment.flag("chunked", false)? {
        text.push_str(&format!("Content-Length: {}\r\n", body.len()));
        return Ok(message(text, headers, &body));
    }
    text.push_str("Transfer-Encoding: chunked\r\n");
    let mut chunks = Vec::new();
    for chunk in body.chunks(1_000) {
        chunks.extend(format!("{:x}\r\n", chunk.len()).bytes());
        chunks.extend(chunk);
        chunks.extend(b"\r\n");
    }
    chunks.extend(b"0\r\n\r\n");
    Ok(message(text, headers, &chunks))
}

fn message(text: String, headers: Vec<Vec<u8>>, body: &[u8]) -> Vec<u8> {
    let mut bytes = text.into_bytes();
    for header in headers {
        bytes.extend(header);
        bytes.extend(b"\r\n");
    }
    bytes.extend(b"\r\n");
    bytes.extend(body);
    bytes
}

/// `ssh-attempt A B`: a connection to an SSH server that is refused at the password, as a guessing
/// tool makes one after the other.
pub(crate) fn ssh_attempt(sender: &mut Sender<'_>, segment: &Segment) -> Result<(), Error> {
    let mut connection = Connection::new(sender, segment, 22)?;
    connection.open(b"")?;
    connection.transfer(true, b"SSH-2.0-OpenSSH_9.6\r\n")?;
    connection.transfer(false, b"SSH-2.0-libssh_0.10.6\r\n")?;
    for reply in [false, true] {
        let packet = key_exchange_init(connection.sender);
        connection.transfer(reply, &packet)?;
    }
    let random = &mut connection.sender.world.random;
    let [client_key, server_key, host_key] = [(); 3].map(|()| random.text(32));
    let signature = random.text(64);
    // Keys of Curve25519, the server's with its host key and a signature (RFC 8731, RFC 8709).
    let init = strings(30, &[&client_key]);
    let named = |bytes: &[u8]| strings(0, &[b"ssh-ed25519", bytes]).split_off(1);
    let parts = [named(&host_key), server_key, named(&signature)];
    let reply = strings(31, &parts.each_ref().map(Vec::as_slice));
    connection.transfer(false, &ssh_packet(&init))?;
    connection.transfer(true, &ssh_packet(&reply))?;
    for reply in [true, false] {
        connection.transfer(reply, &ssh_packet(&[21]))?;
    }
    // Encrypted from here on: noise of the right size.
    let password = 148 + connection.sender.world.random.index(16);
    for (reply, length) in [(false, 44), (true, 44), (false, password), (true, 52)] {
        let noise = connection.sender.world.random.text(length);
        connection.transfer(reply, &noise)?;
    }
    connection.close(segment.option("close"))
}

/// SSH_MSG_KEXINIT (RFC 4253, 7.1).
fn key_exchange_init(sender: &mut Sender<'_>) -> Vec<u8> {
    let cookie = sender.world.random.text(16);
    let ciphers: &[u8] = b"chacha20-poly1305@openssh.com,aes256-gcm@openssh.com";
    let lists: [&[u8]; 10] = [
        b"curve25519-sha256,ecdh-sha2-nistp256",
        b"ssh-ed25519,rsa-sha2-512",
        ciphers,
        ciphers,
        b"hmac-sha2-256",
        b"hmac-sha2-256",
        b"none",
        b"none",
        b"",
        b"",
    ];
    let mut message = strings(20, &lists);
    message.splice(1..1, cookie);
    message.extend([0; 5]);
    ssh_packet(&message)
}

/// Strings with their lengths before them (RFC 4251, 5) behind a message number.
fn strings(code: u8, texts: &[&[u8]]) -> Vec<u8> {
    let mut message = vec![code];
    for text in texts {
        let length = u32::try_from(text.len()).unwrap_or(0);
        message.extend(length.to_be_bytes());
        message.extend(*text);
    }
    message
}

/// A binary packet (RFC 4253, 6), padded to a multiple of eight with at least four bytes.
fn ssh_packet(message: &[u8]) -> Vec<u8> {
    let padding = 4 + (8 - (message.len() + 9) % 8) % 8;
    let mut packet = Vec::with_capacity(message.len() + 16);
    let length = u32::try_from(1 + message.len() + padding).unwrap_or(0);
    packet.extend(length.to_be_bytes());
    packet.push(u8::try_from(padding).unwrap_or(4));
    packet.extend(message);
    packet.resize(packet.len() + padding, 0);
    packet
}
