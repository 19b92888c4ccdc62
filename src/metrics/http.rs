//! The HTTP listener: some clients at a time, one request each, limits on size and time.
//!
//! A client that sends or reads slowly keeps one of few places, and no longer than its time. When
//! none is free, the client that has not come to the end of its request for longest gives its place
//! to the next one: who asks at once is served, whatever others do.
//!
//! It is small code of our own, and not a library: `tiny_http` takes any number of clients, each
//! for any time, and servers with such limits bring an asynchronous runtime that nothing else here
//! needs.

use super::pages::{Answer, Pages, answer, plain};
use std::io::{self, Read, Write};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

/// Bytes of a request that are read.
const REQUEST_MAX: usize = 8_192;
/// Time that one client may take, to send its request and again to read the answer.
const CLIENT_TIME: Duration = Duration::from_secs(2);
/// Clients at a time: scrapers, a terminal view, a person.
const CLIENTS_MAX: usize = 8;
/// Threads at a time. Those of clients that lost their place end at once; this bounds how many have
/// not done so yet.
const THREADS_MAX: usize = 2 * CLIENTS_MAX;
/// How often the listener looks whether it should stop.
const POLL: Duration = Duration::from_millis(50);

/// The running listener.
#[derive(Debug)]
pub struct Server {
    address: SocketAddr,
    shared: Arc<Shared>,
    thread: JoinHandle<()>,
}

/// What the listener and its clients' threads share.
#[derive(Debug, Default)]
struct Shared {
    stop: AtomicBool,
    threads: AtomicUsize,
    places: Mutex<Vec<Place>>,
}

/// A client that has a place, those that came first in front.
#[derive(Debug)]
struct Place {
    number: u64,
    socket: TcpStream,
    /// Its request has not come to its end.
    asks: bool,
}

impl Server {
    /// Listen on `address` and answer with `pages`.
    ///
    /// # Errors
    /// The address cannot be bound, or the system gives no thread.
    pub fn start(address: SocketAddr, pages: Arc<dyn Pages>) -> io::Result<Self> {
        let listener = TcpListener::bind(address)?;
        listener.set_nonblocking(true)?;
        let address = listener.local_addr()?;
        let shared = Arc::new(Shared::default());
        let of_thread = Arc::clone(&shared);
        let thread = std::thread::Builder::new()
            .name("metrics".to_owned())
            .spawn(move || listen(&listener, &of_thread, &pages))?;
        Ok(Self {
            address,
            shared,
            thread,
        })
    }

    /// Where it listens; the port is the real one if 0 was asked for.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Stop listening, and leave clients.
    pub fn stop(self) {
        self.shared.stop.store(true, Ordering::Relaxed);
        let _ = self.thread.join();
        for place in self.shared.places().drain(..) {
            let _ = place.socket.shutdown(Shutdown::Both);
        }
    }
}

fn listen(listener: &TcpListener, shared: &Arc<Shared>, pages: &Arc<dyn Pages>) {
    let mut number = 0;
    while !shared.stop.load(Ordering::Relaxed) {
        match listener.accept() {
            Ok((client, _)) => {
                number += 1;
                // A client that cannot be served is its own business.
                let _ = admit(client, number, shared, pages);
            }
            Err(_) => std::thread::sleep(POLL),
        }
    }
}

/// Give a client a place, and a thread that serves it.
fn admit(
    client: TcpStream,
    number: u64,
    shared: &Arc<Shared>,
    pages: &Arc<dyn Pages>,
) -> io::Result<()> {
    shared.wait_for_thread();
    client.set_nonblocking(false)?;
    shared.enter(Place {
        number,
        socket: client.try_clone()?,
        asks: true,
    });
    shared.threads.fetch_add(1, Ordering::Relaxed);
    let (of_thread, pages) = (Arc::clone(shared), Arc::clone(pages));
    let thread = std::thread::Builder::new().name("metrics-client".to_owned());
    let spawned = thread.spawn(move || {
        let _ = serve(client, number, &of_thread, &*pages);
        of_thread.leave(number);
        of_thread.threads.fetch_sub(1, Ordering::Relaxed);
    });
    if spawned.is_err() {
        shared.leave(number);
        shared.threads.fetch_sub(1, Ordering::Relaxed);
    }
    spawned.map(|_| ())
}

impl Shared {
    fn places(&self) -> MutexGuard<'_, Vec<Place>> {
        self.places.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Wait until there may be one more thread. Those that are too many are about to end, and none
    /// lives longer than its client's time.
    fn wait_for_thread(&self) {
        let is_full = || self.threads.load(Ordering::Relaxed) >= THREADS_MAX;
        while is_full() && !self.stop.load(Ordering::Relaxed) {
            std::thread::sleep(Duration::from_millis(1));
        }
    }

    /// Take a place, if need be that of the client that has been asking for longest, or else that
    /// of the one that has been reading for longest.
    fn enter(&self, place: Place) {
        let mut places = self.places();
        if places.len() >= CLIENTS_MAX {
            let slowest = places.iter().position(|place| place.asks).unwrap_or(0);
            let slowest = places.remove(slowest);
            let _ = slowest.socket.shutdown(Shutdown::Both);
        }
        places.push(place);
    }

    fn has_asked(&self, number: u64) {
        let mut places = self.places();
        if let Some(place) = places.iter_mut().find(|place| place.number == number) {
            place.asks = false;
        }
    }

    fn leave(&self, number: u64) {
        self.places().retain(|place| place.number != number);
    }
}

fn serve(mut client: TcpStream, number: u64, shared: &Shared, pages: &dyn Pages) -> io::Result<()> {
    let answer = match read_request(&mut client)? {
        Request::Whole(request) => {
            shared.has_asked(number);
            answer(&request, pages)
        }
        Request::TooLarge => plain(
            "431 Request Header Fields Too Large",
            "a request has at most 8192 bytes",
        ),
        Request::TooLate => plain(
            "408 Request Timeout",
            "a request takes at most 2 seconds to arrive",
        ),
    };
    write_answer(&mut client, &answer)
}

/// What came of a client.
#[derive(Debug, PartialEq, Eq)]
enum Request {
    /// All up to the blank line; the rest of it means nothing here.
    Whole(Vec<u8>),
    TooLarge,
    TooLate,
}

fn read_request(client: &mut TcpStream) -> io::Result<Request> {
    let end = Instant::now() + CLIENT_TIME;
    let mut request = Vec::new();
    let mut part = [0; 1024];
    while request.len() < REQUEST_MAX {
        let left = end.saturating_duration_since(Instant::now());
        if left.is_zero() {
            return Ok(Request::TooLate);
        }
        client.set_read_timeout(Some(left))?;
        let count = match client.read(&mut part) {
            Ok(0) => return Err(io::ErrorKind::UnexpectedEof.into()),
            Ok(count) => count,
            Err(error) if is_late(&error) => return Ok(Request::TooLate),
            Err(error) => return Err(error),
        };
        // The blank line may have begun with the part before.
        let from = request.len().saturating_sub(3);
        request.extend(part.iter().take(count));
        let new = request.get(from..).unwrap_or_default();
        if new.windows(4).any(|four| four == b"\r\n\r\n") {
            return Ok(Request::Whole(request));
        }
    }
    Ok(Request::TooLarge)
}

fn is_late(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut
    )
}

fn write_answer(client: &mut TcpStream, answer: &Answer) -> io::Result<()> {
    let Answer { status, kind, body } = answer;
    let length = body.len();
    let text = format!(
        "HTTP/1.1 {status}\r\nContent-Type: {kind}\r\nContent-Length: {length}\r\n\
         Cache-Control: no-store\r\nConnection: close\r\n\r\n{body}"
    );
    let end = Instant::now() + CLIENT_TIME;
    let mut left = text.as_bytes();
    while !left.is_empty() {
        let time = end.saturating_duration_since(Instant::now());
        if time.is_zero() {
            return Err(io::ErrorKind::TimedOut.into());
        }
        client.set_write_timeout(Some(time))?;
        let count = client.write(left)?;
        left = left.get(count..).unwrap_or_default();
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::super::pages::tests::Fixed;
    use super::*;

    fn start() -> Server {
        let any = SocketAddr::from(([127, 0, 0, 1], 0));
        Server::start(
            any,
            Arc::new(Fixed {
                ready: Ok(()),
                token: None,
            }),
        )
        .unwrap()
    }

    fn ask(address: SocketAddr, request: &str) -> String {
        let mut client = TcpStream::connect(address).unwrap();
        client.write_all(request.as_bytes()).unwrap();
        let mut answer = String::new();
        client.read_to_string(&mut answer).unwrap();
        answer
    }

    #[test]
    fn serves_metrics_health_and_refusals() {
        let server = start();
        let address = server.address();
        let metrics = ask(address, "GET /metrics HTTP/1.1\r\nHost: x\r\n\r\n");
        assert!(metrics.starts_with("HTTP/1.1 200 OK\r\n") && metrics.ends_with("\r\n\r\nup 1\n"));
        assert!(ask(address, "GET /-/healthy HTTP/1.0\r\n\r\n").ends_with("ok\n"));
        assert!(ask(address, "GET /nowhere HTTP/1.0\r\n\r\n").starts_with("HTTP/1.1 404"));
        assert!(ask(address, "POST /metrics HTTP/1.0\r\n\r\n").starts_with("HTTP/1.1 405"));
        let large = format!("GET / HTTP/1.1\r\nX: {}", "x".repeat(REQUEST_MAX));
        let mut client = TcpStream::connect(address).unwrap();
        // It may be refused before all of it is sent.
        let _ = client.write_all(large.as_bytes());
        let mut answer = [0; 12];
        client.read_exact(&mut answer).unwrap();
        assert_eq!(&answer, b"HTTP/1.1 431");
        server.stop();
        assert!(TcpStream::connect(address).is_err());
    }

    /// Clients that send a byte now and then have all places, and more wait for one: who asks at
    /// once is served at once all the same.
    #[test]
    fn slow_clients_keep_nobody_waiting() {
        let server = start();
        let address = server.address();
        let mut slow: Vec<TcpStream> = (0..3 * CLIENTS_MAX)
            .map(|_| TcpStream::connect(address).unwrap())
            .collect();
        for _ in 0..3 {
            for client in &mut slow {
                let _ = client.write_all(b"G");
            }
            let start = Instant::now();
            let answer = ask(address, "GET /metrics HTTP/1.1\r\n\r\n");
            assert!(answer.ends_with("up 1\n"), "{answer}");
            assert!(start.elapsed() < CLIENT_TIME / 2, "{:?}", start.elapsed());
        }
        assert!(server.shared.places().len() <= CLIENTS_MAX);
        assert!(server.shared.threads.load(Ordering::Relaxed) <= THREADS_MAX);
        server.stop();
    }

    /// However often it sends something, a client has its time and no more.
    #[test]
    fn a_slow_client_loses_its_place_in_time() {
        let server = start();
        let mut slow = TcpStream::connect(server.address()).unwrap();
        let start = Instant::now();
        let mut answer = [0; 12];
        slow.set_read_timeout(Some(Duration::from_millis(100)))
            .unwrap();
        while slow.read_exact(&mut answer).is_err() {
            assert!(start.elapsed() < 3 * CLIENT_TIME, "it is still listened to");
            let _ = slow.write_all(b"x");
        }
        assert_eq!(&answer, b"HTTP/1.1 408");
        assert!(start.elapsed() >= CLIENT_TIME);
        server.stop();
    }
}
