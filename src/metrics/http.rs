//! The HTTP listener for scrapes: `/metrics`, `/-/healthy`, and a page that says so.
//!
//! One request a connection, one connection at a time, a limit on size and time: enough for a
//! scraper, and nothing that somebody else could keep busy for long.

use super::token::Token;
use std::io::{self, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

/// Bytes of a request that are read.
const REQUEST_MAX: usize = 8_192;
/// Time that one client may take.
const CLIENT_TIME: Duration = Duration::from_secs(2);
/// How often the listener looks whether it should stop.
const POLL: Duration = Duration::from_millis(50);

/// The running listener.
#[derive(Debug)]
pub struct Server {
    address: SocketAddr,
    stop: Arc<AtomicBool>,
    thread: JoinHandle<()>,
}

impl Server {
    /// Listen on `address`; `metrics` makes the text of a scrape, for those who show the token if
    /// there is one.
    ///
    /// # Errors
    /// The address cannot be bound, or the system gives no thread.
    pub fn start(
        address: SocketAddr,
        token: Option<Token>,
        metrics: impl Fn() -> Result<String, String> + Send + 'static,
    ) -> io::Result<Self> {
        let listener = TcpListener::bind(address)?;
        listener.set_nonblocking(true)?;
        let address = listener.local_addr()?;
        let stop = Arc::new(AtomicBool::new(false));
        let stopped = Arc::clone(&stop);
        let thread = std::thread::Builder::new()
            .name("metrics".to_owned())
            .spawn(move || {
                while !stopped.load(Ordering::Relaxed) {
                    match listener.accept() {
                        Ok((client, _)) => {
                            // A client that goes away in the middle is its own business.
                            let _ = serve(client, token.as_ref(), &metrics);
                        }
                        Err(_) => std::thread::sleep(POLL),
                    }
                }
            })?;
        Ok(Self {
            address,
            stop,
            thread,
        })
    }

    /// Where it listens; the port is the real one if 0 was asked for.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Stop listening.
    pub fn stop(self) {
        self.stop.store(true, Ordering::Relaxed);
        let _ = self.thread.join();
    }
}

fn serve(
    mut client: TcpStream,
    token: Option<&Token>,
    metrics: &impl Fn() -> Result<String, String>,
) -> io::Result<()> {
    client.set_nonblocking(false)?;
    client.set_read_timeout(Some(CLIENT_TIME))?;
    client.set_write_timeout(Some(CLIENT_TIME))?;
    let request = read_request(&mut client)?;
    let mut words = request.split(|byte| byte.is_ascii_whitespace());
    let (method, target) = (
        words.next().unwrap_or_default(),
        words.next().unwrap_or_default(),
    );
    let path = target
        .split(|byte| *byte == b'?')
        .next()
        .unwrap_or_default();
    let is_refused = || token.is_some_and(|token| !token.permits(&request));
    let (status, kind, body) = match (method, path) {
        (b"GET" | b"HEAD", b"/metrics") if is_refused() => (
            "401 Unauthorized\r\nWWW-Authenticate: Bearer",
            "text/plain",
            "show the token of metrics.token_file: Authorization: Bearer TOKEN\n".to_owned(),
        ),
        (b"GET" | b"HEAD", b"/metrics") => match metrics() {
            Ok(text) => ("200 OK", "text/plain; version=0.0.4; charset=utf-8", text),
            Err(error) => ("500 Internal Server Error", "text/plain", error + "\n"),
        },
        (b"GET" | b"HEAD", b"/-/healthy" | b"/-/ready") => {
            ("200 OK", "text/plain", "ok\n".to_owned())
        }
        (b"GET" | b"HEAD", b"/") => {
            let page =
                "<html><body><h1>Wirelynx</h1><a href=\"/metrics\">metrics</a></body></html>\n";
            ("200 OK", "text/html; charset=utf-8", page.to_owned())
        }
        (b"GET" | b"HEAD", _) => ("404 Not Found", "text/plain", "try /metrics\n".to_owned()),
        _ => (
            "405 Method Not Allowed",
            "text/plain",
            "only GET and HEAD\n".to_owned(),
        ),
    };
    let length = body.len();
    let body = if method == b"HEAD" { "" } else { &body };
    write!(
        client,
        "HTTP/1.1 {status}\r\nContent-Type: {kind}\r\nContent-Length: {length}\r\n\
         Connection: close\r\n\r\n{body}"
    )
}

/// The request up to the blank line; the rest of it means nothing here.
fn read_request(client: &mut TcpStream) -> io::Result<Vec<u8>> {
    let start = Instant::now();
    let mut request = Vec::new();
    let mut part = [0; 1024];
    while request.len() < REQUEST_MAX && start.elapsed() < CLIENT_TIME {
        let count = client.read(&mut part)?;
        request.extend(part.iter().take(count));
        if count == 0 || request.windows(4).any(|four| four == b"\r\n\r\n") {
            break;
        }
    }
    Ok(request)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ask(address: SocketAddr, request: &str) -> String {
        let mut client = TcpStream::connect(address).unwrap();
        client.write_all(request.as_bytes()).unwrap();
        let mut answer = String::new();
        client.read_to_string(&mut answer).unwrap();
        answer
    }

    #[test]
    fn serves_metrics_health_and_refusals() {
        let any = SocketAddr::from(([127, 0, 0, 1], 0));
        let server = Server::start(any, None, || Ok("up 1\n".to_owned())).unwrap();
        let address = server.address();
        let metrics = ask(address, "GET /metrics HTTP/1.1\r\nHost: x\r\n\r\n");
        assert!(metrics.starts_with("HTTP/1.1 200 OK\r\n") && metrics.ends_with("\r\n\r\nup 1\n"));
        assert!(ask(address, "GET /-/healthy HTTP/1.0\r\n\r\n").ends_with("ok\n"));
        assert!(ask(address, "GET /nowhere HTTP/1.0\r\n\r\n").starts_with("HTTP/1.1 404"));
        assert!(ask(address, "POST /metrics HTTP/1.0\r\n\r\n").starts_with("HTTP/1.1 405"));
        server.stop();
        assert!(TcpStream::connect(address).is_err());
    }

    #[test]
    fn metrics_need_the_token_and_health_does_not() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("token");
        std::fs::write(&path, "s3cret\n").unwrap();
        let token = Some(Token::open(&path).unwrap());
        let any = SocketAddr::from(([127, 0, 0, 1], 0));
        let server = Server::start(any, token, || Ok("up 1\n".to_owned())).unwrap();
        let address = server.address();
        let refused = ask(address, "GET /metrics HTTP/1.1\r\n\r\n");
        assert!(refused.starts_with("HTTP/1.1 401 Unauthorized\r\nWWW-Authenticate: Bearer\r\n"));
        assert!(!refused.contains("up 1"));
        let shown = "GET /metrics HTTP/1.1\r\nAuthorization: Bearer s3cret\r\n\r\n";
        assert!(ask(address, shown).ends_with("\r\n\r\nup 1\n"));
        assert!(ask(address, "GET /-/healthy HTTP/1.0\r\n\r\n").ends_with("ok\n"));
        server.stop();
    }
}
