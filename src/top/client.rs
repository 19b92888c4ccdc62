//! Asks an appliance for its metrics, over plain HTTP.

use super::text::Scrape;
use std::io::{ErrorKind, Read as _, Write as _};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, TcpStream};
use std::path::PathBuf;
use std::time::{Duration, Instant};

/// Time for one answer, from the connection to its last byte.
const ANSWER_TIME: Duration = Duration::from_secs(2);

/// Bytes of an answer that are read: some hundred thousand samples.
const ANSWER_MAX: usize = 32 << 20;

/// Whom to ask, and what to show him.
#[derive(Debug, Clone)]
pub struct Client {
    address: SocketAddr,
    token_file: Option<PathBuf>,
}

impl Client {
    /// For the appliance that listens on `address`; of one that listens on every address, the
    /// loopback is asked.
    pub fn new(address: SocketAddr, token_file: Option<PathBuf>) -> Self {
        let ip = match address.ip() {
            IpAddr::V4(ip) if ip.is_unspecified() => Ipv4Addr::LOCALHOST.into(),
            IpAddr::V6(ip) if ip.is_unspecified() => Ipv6Addr::LOCALHOST.into(),
            ip => ip,
        };
        Self {
            address: SocketAddr::new(ip, address.port()),
            token_file,
        }
    }

    /// Who is asked.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Ask once; waits for two seconds at most.
    ///
    /// # Errors
    /// There is no answer, it is a refusal, or it is not understood.
    pub fn ask(&self) -> Result<Scrape, String> {
        let start = Instant::now();
        let credentials = match &self.token_file {
            Some(file) => {
                let token = std::fs::read_to_string(file)
                    .map_err(|error| format!("{}: {error}", file.display()))?;
                format!("Authorization: Bearer {}\r\n", token.trim())
            }
            None => String::new(),
        };
        let answer = self
            .answer(&credentials, start)
            .map_err(|error| match error.kind() {
                // What the system calls a time that has run out.
                ErrorKind::WouldBlock | ErrorKind::TimedOut => "it takes too long".to_owned(),
                _ => error.to_string(),
            })?;
        Scrape::parse(body(&answer)?)
    }

    fn answer(&self, credentials: &str, start: Instant) -> std::io::Result<String> {
        let mut server = TcpStream::connect_timeout(&self.address, ANSWER_TIME)?;
        server.set_write_timeout(Some(ANSWER_TIME))?;
        // With version 1.0 of the protocol, the answer comes in one piece and ends the connection.
        let address = self.address;
        write!(
            server,
            "GET /metrics HTTP/1.0\r\nHost: {address}\r\nAccept: text/plain;version=0.0.4\r\n\
             {credentials}\r\n"
        )?;
        let mut bytes = Vec::new();
        let mut part = vec![0; 64 << 10];
        loop {
            let left = ANSWER_TIME.saturating_sub(start.elapsed());
            if left.is_zero() || bytes.len() > ANSWER_MAX {
                return Err(std::io::Error::other("the answer does not end"));
            }
            server.set_read_timeout(Some(left))?;
            let count = server.read(&mut part)?;
            if count == 0 {
                return Ok(String::from_utf8_lossy(&bytes).into_owned());
            }
            bytes.extend(part.iter().take(count));
        }
    }
}

/// The body of a good answer.
fn body(answer: &str) -> Result<&str, String> {
    let (head, body) = answer
        .split_once("\r\n\r\n")
        .ok_or("no answer of an HTTP server")?;
    let status = head.lines().next().unwrap_or_default();
    match status.split(' ').nth(1) {
        Some("200") => Ok(body),
        Some("401") => Err("it wants a token: --token-file FILE, or -c with \
                            metrics.token_file"
            .to_owned()),
        _ => Err(format!("it answers '{status}'")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::metrics::http::Server;
    use crate::metrics::token::Token;

    #[test]
    fn asks_with_and_without_a_token() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("token");
        std::fs::write(&path, "s3cret\n").unwrap();
        let any = SocketAddr::from(([127, 0, 0, 1], 0));
        let token = Some(Token::open(&path).unwrap());
        let server = Server::start(any, token, || Ok("up 1\n".to_owned())).unwrap();
        let address = server.address();
        let scrape = Client::new(address, Some(path)).ask().unwrap();
        assert_eq!(scrape.sum("up"), Some(1.0));
        let refused = Client::new(address, None).ask().unwrap_err();
        assert!(refused.contains("--token-file"), "{refused}");
        server.stop();
        let gone = Client::new(address, None).ask().unwrap_err();
        assert!(gone.contains("refused"), "{gone}");
    }

    #[test]
    fn an_answer_has_to_be_one() {
        assert_eq!(body("HTTP/1.0 200 OK\r\nA: b\r\n\r\nx 1\n"), Ok("x 1\n"));
        assert!(
            body("HTTP/1.1 404 Not Found\r\n\r\n")
                .unwrap_err()
                .contains("404 Not")
        );
        assert!(body("SSH-2.0-x\r\n").is_err());
    }

    #[test]
    fn of_every_address_the_loopback_is_asked() {
        let client = Client::new("0.0.0.0:9477".parse().unwrap(), None);
        assert_eq!(client.address().to_string(), "127.0.0.1:9477");
        let client = Client::new("[::]:9477".parse().unwrap(), None);
        assert_eq!(client.address().to_string(), "[::1]:9477");
    }
}
