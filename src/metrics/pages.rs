//! What the listener answers: numbers, health, and a page that leads to them.

use std::fmt::Write;
use std::time::Duration;

/// Where answers come from. Called by several threads.
pub trait Pages: Send + Sync {
    /// Prometheus text.
    ///
    /// # Errors
    /// There is none yet, or it cannot be made: why.
    fn metrics(&self) -> Result<String, String>;

    /// The largest flows as JSON, see [`super::largest_flows_json`].
    ///
    /// # Errors
    /// As [`Pages::metrics`].
    fn largest_flows(&self) -> Result<String, String>;

    /// Is every thread of the data path alive?
    ///
    /// # Errors
    /// Those that are not.
    fn healthy(&self) -> Result<(), String>;

    /// Do packets go through all stages: are links up and rules loaded, and is it not about to
    /// stop?
    ///
    /// # Errors
    /// What is missing.
    fn ready(&self) -> Result<(), String>;

    /// Time since the start.
    fn uptime(&self) -> Duration;

    /// May whoever sends this request see numbers and flows?
    fn permits(&self, request: &[u8]) -> bool;
}

/// An answer: its status line, its media type, and its body.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Answer {
    pub(super) status: &'static str,
    pub(super) kind: &'static str,
    pub(super) body: String,
}

const TEXT: &str = "text/plain; charset=utf-8";

/// Answer to a request, of which this is all up to its blank line (RFC 9112, section 2.1).
pub(super) fn answer(request: &[u8], pages: &dyn Pages) -> Answer {
    let mut words = request.split(|byte| byte.is_ascii_whitespace());
    let method = words.next().unwrap_or_default();
    let target = words.next().unwrap_or_default();
    let path = target.split(|byte| *byte == b'?').next();
    if method != b"GET" && method != b"HEAD" {
        return plain("405 Method Not Allowed", "only GET and HEAD");
    }
    let path = path.unwrap_or_default();
    if matches!(path, b"/metrics" | b"/flows/largest") && !pages.permits(request) {
        return plain(
            "401 Unauthorized\r\nWWW-Authenticate: Bearer",
            "show the token of metrics.token_file: Authorization: Bearer TOKEN",
        );
    }
    let mut answer = match path {
        b"/metrics" => found("text/plain; version=0.0.4; charset=utf-8", pages.metrics()),
        b"/flows/largest" => found("application/json", pages.largest_flows()),
        b"/-/healthy" => state(pages.healthy()),
        b"/-/ready" => state(pages.ready()),
        b"/" => found("text/html; charset=utf-8", Ok(landing(pages))),
        _ => plain("404 Not Found", "no such page; / lists them"),
    };
    if method == b"HEAD" {
        answer.body.clear();
    }
    answer
}

pub(super) fn plain(status: &'static str, text: &str) -> Answer {
    Answer {
        status,
        kind: TEXT,
        body: format!("{text}\n"),
    }
}

fn found(kind: &'static str, body: Result<String, String>) -> Answer {
    match body {
        Ok(body) => Answer {
            status: "200 OK",
            kind,
            body,
        },
        Err(reason) => plain("503 Service Unavailable", &reason),
    }
}

fn state(state: Result<(), String>) -> Answer {
    match state {
        Ok(()) => plain("200 OK", "ok"),
        Err(reason) => plain("503 Service Unavailable", &reason),
    }
}

/// The page at `/`.
fn landing(pages: &dyn Pages) -> String {
    let seconds = pages.uptime().as_secs();
    let state = match (pages.healthy(), pages.ready()) {
        (Ok(()), Ok(())) => "ready".to_owned(),
        (Err(reason), _) => format!("not healthy: {reason}"),
        (_, Err(reason)) => format!("not ready: {reason}"),
    };
    let mut page = String::from("<!DOCTYPE html>\n<html lang=\"en\"><head><title>Wirelynx</title>");
    let _ = write!(
        page,
        "</head><body>\n<h1>Wirelynx</h1>\n<p>Version {} ({}), up {} d {:02}:{:02}:{:02}, {}.</p>\n<ul>\n",
        env!("CARGO_PKG_VERSION"),
        env!("WIRELYNX_REVISION"),
        seconds / 86_400,
        seconds / 3_600 % 24,
        seconds / 60 % 60,
        seconds % 60,
        escaped(&state),
    );
    for (path, what) in [
        ("/metrics", "numbers for Prometheus"),
        ("/flows/largest", "the largest flows, as JSON"),
        ("/-/healthy", "is every thread of the data path alive?"),
        ("/-/ready", "are links up and rules loaded?"),
    ] {
        let _ = writeln!(page, "<li><a href=\"{path}\">{path}</a>: {what}</li>");
    }
    page.push_str("</ul>\n</body></html>\n");
    page
}

/// Text in a page: names of devices come from the configuration.
fn escaped(text: &str) -> String {
    text.replace('&', "&amp;")
        .replace('<', "&lt;")
        .replace('>', "&gt;")
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;
    use crate::metrics::token::Token;

    /// Pages of a program in a given state.
    pub(crate) struct Fixed {
        pub(crate) ready: Result<(), String>,
        pub(crate) token: Option<Token>,
    }

    impl Pages for Fixed {
        fn metrics(&self) -> Result<String, String> {
            self.ready.clone().map(|()| "up 1\n".to_owned())
        }

        fn largest_flows(&self) -> Result<String, String> {
            Ok("[]".to_owned())
        }

        fn healthy(&self) -> Result<(), String> {
            Ok(())
        }

        fn ready(&self) -> Result<(), String> {
            self.ready.clone()
        }

        fn uptime(&self) -> Duration {
            Duration::from_secs(86_400 + 3_661)
        }

        fn permits(&self, request: &[u8]) -> bool {
            self.token
                .as_ref()
                .is_none_or(|token| token.permits(request))
        }
    }

    fn of(request: &str, ready: Result<(), String>) -> Answer {
        let token = None;
        answer(request.as_bytes(), &Fixed { ready, token })
    }

    #[test]
    fn every_page_answers() {
        let get = |path: &str| of(&format!("GET {path} HTTP/1.1\r\nHost: x\r\n\r\n"), Ok(()));
        assert_eq!(get("/metrics?x=1").body, "up 1\n");
        assert_eq!(get("/-/healthy").body, "ok\n");
        assert_eq!(get("/-/ready").status, "200 OK");
        assert_eq!(get("/flows/largest").kind, "application/json");
        assert_eq!(get("/nowhere").status, "404 Not Found");
        let landing = get("/").body;
        assert!(landing.contains(", up 1 d 01:01:01, ready."), "{landing}");
        for path in ["/metrics", "/flows/largest", "/-/healthy", "/-/ready"] {
            assert!(landing.contains(&format!("<a href=\"{path}\">")), "{path}");
        }
    }

    #[test]
    fn what_is_missing_is_said() {
        let down = || Err("port <a>: link down".to_owned());
        let ready = of("GET /-/ready HTTP/1.1\r\n\r\n", down());
        assert_eq!(ready.status, "503 Service Unavailable");
        assert_eq!(ready.body, "port <a>: link down\n");
        assert_eq!(
            of("GET /-/healthy HTTP/1.1\r\n\r\n", down()).status,
            "200 OK"
        );
        let landing = of("GET / HTTP/1.1\r\n\r\n", down()).body;
        assert!(
            landing.contains("not ready: port &lt;a&gt;: link down"),
            "{landing}"
        );
    }

    #[test]
    fn numbers_and_flows_need_the_token_and_health_does_not() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("token");
        std::fs::write(&path, "s3cret\n").unwrap();
        let pages = Fixed {
            ready: Ok(()),
            token: Some(Token::open(&path).unwrap()),
        };
        let ask = |path: &str, header: &str| {
            let request = format!("GET {path} HTTP/1.1\r\n{header}\r\n");
            answer(request.as_bytes(), &pages)
        };
        for path in ["/metrics", "/metrics?x=1", "/flows/largest"] {
            let refused = ask(path, "");
            assert!(refused.status.starts_with("401 "), "{path}");
            assert!(!refused.body.contains("up 1"), "{path}");
            let shown = ask(path, "Authorization: Bearer s3cret\r\n");
            assert_eq!(shown.status, "200 OK", "{path}");
        }
        for path in ["/", "/-/healthy", "/-/ready"] {
            assert_eq!(ask(path, "").status, "200 OK", "{path}");
        }
    }

    #[test]
    fn methods_that_change_things_are_refused() {
        let status = |request: &str| of(request, Ok(())).status;
        assert_eq!(
            status("POST /metrics HTTP/1.1\r\n\r\n"),
            "405 Method Not Allowed"
        );
        assert_eq!(status("\r\n\r\n"), "405 Method Not Allowed");
        let head = of("HEAD /metrics HTTP/1.1\r\n\r\n", Ok(()));
        assert_eq!((head.status, head.body.as_str()), ("200 OK", ""));
    }
}
