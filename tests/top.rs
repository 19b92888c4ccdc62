//! `wirelynx top` in a real terminal: tmux is one, takes keys, and tells what is on its screen.
//!
//! The appliance is a small HTTP server of this test, whose numbers the test decides.
#![allow(
    clippy::unwrap_used,
    reason = "this file is a test throughout, and may stop at the first surprise"
)]

use std::fmt::Write as _;
use std::io::{Read, Write as _};
use std::net::{SocketAddr, TcpListener};
use std::process::Command;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

/// How long a screen may take to show something.
const PATIENCE: Duration = Duration::from_secs(30);

/// A server of metrics that count since its start.
struct Appliance {
    address: SocketAddr,
    stop: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl Appliance {
    /// On this address; port 0 for any.
    fn start(address: &str) -> Self {
        let listener = TcpListener::bind(address).unwrap();
        listener.set_nonblocking(true).unwrap();
        let address = listener.local_addr().unwrap();
        let stop = Arc::new(AtomicBool::new(false));
        let stopped = Arc::clone(&stop);
        let start = Instant::now();
        let thread = std::thread::spawn(move || {
            while !stopped.load(Ordering::Relaxed) {
                let Ok((mut client, _)) = listener.accept() else {
                    std::thread::sleep(Duration::from_millis(5));
                    continue;
                };
                client.set_nonblocking(false).unwrap();
                let mut request = [0; 1024];
                let _ = client.read(&mut request);
                let body = metrics(start.elapsed());
                let _ = write!(client, "HTTP/1.0 200 OK\r\n\r\n{body}");
            }
        });
        Self {
            address,
            stop,
            thread: Some(thread),
        }
    }

    /// Go away; where it was.
    fn stop(&mut self) -> String {
        self.stop.store(true, Ordering::Relaxed);
        if let Some(thread) = self.thread.take() {
            thread.join().unwrap();
        }
        self.address.to_string()
    }
}

impl Drop for Appliance {
    fn drop(&mut self) {
        self.stop();
    }
}

/// Numbers of an appliance that has run for so long: worker 0 takes 2000 packets a second and is
/// half busy, worker 1 takes 500.
fn metrics(age: Duration) -> String {
    let seconds = age.as_secs_f64();
    let mut text = String::from("wirelynx_build_info{version=\"9.8.7\",revision=\"abc\"} 1\n");
    let mut put = |name: &str, value: f64| writeln!(text, "wirelynx_{name} {value}").unwrap();
    for (worker, packets, busy) in [(0, 2_000.0, 0.5), (1, 500.0, 0.25)] {
        let label = format!("{{worker=\"{worker}\"}}");
        put(&format!("worker_packets_total{label}"), packets * seconds);
        put(&format!("worker_busy_seconds_total{label}"), busy * seconds);
        put(&format!("worker_seconds_total{label}"), seconds);
    }
    put("packets_received_total", 2_500.0 * seconds);
    put(
        "packets_dropped_total{reason=\"oversize\"}",
        100.0 * seconds,
    );
    put("packets_dropped_total{reason=\"empty\"}", 0.0);
    put(
        "port_received_packets_total{port=\"0000:3b:00.0\"}",
        2_500.0 * seconds,
    );
    put("port_missed_packets_total{port=\"0000:3b:00.0\"}", 0.0);
    put("events_written_total{output=\"alerts\"}", 20.0 * seconds);
    put("rules", 60.0);
    for rule in 1..=60 {
        let label = format!("{{rule=\"{rule}\"}}");
        put(
            &format!("rule_matches_total{label}"),
            f64::from(rule) * seconds,
        );
        let alerts = if rule == 7 { 20.0 * seconds } else { 0.0 };
        put(&format!("alerts_total{label}"), alerts);
    }
    text
}

/// A terminal of 80 by 24 with a shell in it.
struct Terminal {
    server: String,
}

impl Terminal {
    fn start() -> Self {
        static NUMBER: AtomicU64 = AtomicU64::new(0);
        let number = NUMBER.fetch_add(1, Ordering::Relaxed);
        let server = format!("wirelynx-top-{}-{number}", std::process::id());
        let terminal = Self { server };
        let shell = "env -u ENV PS1='ready> ' sh";
        let size = ["-x", "80", "-y", "24"];
        let new = ["-f", "/dev/null", "new-session", "-d"];
        terminal.tmux(&[&new[..], &size, &[shell]].concat());
        terminal.shows("ready>");
        terminal
    }

    fn tmux(&self, arguments: &[&str]) -> String {
        let output = Command::new("tmux")
            .args(["-L", &self.server])
            .args(arguments)
            .env_remove("TMUX")
            .output()
            .unwrap_or_else(|error| panic!("package tmux: {error}"));
        let errors = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "tmux {arguments:?}: {errors}");
        String::from_utf8(output.stdout).unwrap()
    }

    /// Press keys, each named as tmux does.
    fn press(&self, keys: &[&str]) {
        self.tmux(&[&["send-keys"][..], keys].concat());
    }

    /// Type a line.
    fn enter(&self, line: &str) {
        self.press(&[line, "Enter"]);
    }

    fn screen(&self) -> String {
        self.tmux(&["capture-pane", "-p"])
    }

    /// Wait until the screen is as it should be; what it then is.
    fn until(&self, what: &str, holds: impl Fn(&str) -> bool) -> String {
        let start = Instant::now();
        loop {
            let screen = self.screen();
            if holds(&screen) {
                return screen;
            }
            assert!(
                start.elapsed() < PATIENCE,
                "no {what} on the screen:\n{screen}"
            );
            std::thread::sleep(Duration::from_millis(50));
        }
    }

    fn shows(&self, text: &str) -> String {
        self.until(text, |screen| screen.contains(text))
    }

    /// The shell is back, its old screen too, and keys are read by the line and shown again.
    fn is_as_before(&self, mark: &str) {
        let back = |screen: &str| {
            let last = screen.trim_end().lines().last().unwrap_or_default();
            screen.contains(mark) && last == "ready>" && !screen.contains("1 overview")
        };
        self.until("shell", back);
        self.enter("clear; stty -a; echo its-end=$?");
        let modes = self.shows("its-end=0");
        for mode in [" icanon", " echo ", " isig"] {
            assert!(
                modes.replace(['\n', ';'], " ").contains(mode),
                "{mode}:\n{modes}"
            );
        }
    }

    /// An empty screen but for a mark.
    fn mark(&self, mark: &str) {
        self.enter(&format!("clear; echo {mark}"));
        let start = format!("{mark}\nready>");
        self.until(mark, |screen| screen.starts_with(&start));
    }

    /// Start the view from the shell, below a mark.
    fn top(&self, mark: &str, address: SocketAddr) {
        let program = env!("CARGO_BIN_EXE_wirelynx");
        self.mark(mark);
        self.enter(&format!("{program} top --address {address} --interval 0.3"));
        self.shows("[1 overview]");
    }
}

impl Drop for Terminal {
    fn drop(&mut self) {
        let _ = Command::new("tmux")
            .args(["-L", &self.server, "kill-server"])
            .output();
    }
}

/// Words of the line that starts with this; none when there is no such line.
fn words<'s>(screen: &'s str, start: &str) -> Vec<&'s str> {
    let line = screen.lines().find(|line| line.starts_with(start));
    line.unwrap_or_default().split_whitespace().collect()
}

/// Is the number at this place of that line about as expected? It may be in thousands.
fn is_near(screen: &str, start: &str, at: usize, expected: f64) -> bool {
    let words = words(screen, start);
    let number = words.get(at).and_then(|word| word.parse::<f64>().ok());
    let factor = match words.get(at + 1) {
        Some(&"k") => 1_000.0,
        _ => 1.0,
    };
    number.is_some_and(|number| (number * factor - expected).abs() < expected * 0.2)
}

#[test]
fn numbers_and_pages_are_shown_and_keys_work() {
    let appliance = Appliance::start("127.0.0.1:0");
    let terminal = Terminal::start();
    terminal.top("first-mark", appliance.address);
    let screen = terminal.shows("50 %");
    assert!(
        screen.starts_with(" wirelynx 9.8.7 (abc)  127.0.0.1:"),
        "{screen}"
    );
    assert!(!screen.contains("first-mark"));
    assert_eq!(screen.lines().count(), 24);
    let worker = words(&screen, "  0 ");
    assert_eq!(worker[1..4], ["[#####.....]", "50", "%"]);
    let rates = |screen: &str| {
        is_near(screen, "  packets/s ", 1, 2_500.0) && is_near(screen, "  0 ", 4, 2_000.0)
    };
    terminal.until("rates", rates);

    terminal.press(&["2"]);
    terminal.shows("[2 ports]");
    let port = |screen: &str| is_near(screen, "  0000:3b:00.0", 1, 2_500.0);
    terminal.until("rate of a port", port);
    terminal.press(&["4"]);
    let screen = terminal.shows("[4 losses]");
    let dropped = words(&screen, "  packets dropped");
    assert_eq!(dropped[2], "oversize");
    let rate = |screen: &str| is_near(screen, "  packets dropped", 3, 100.0);
    terminal.until("rate of a loss", rate);
    assert!(
        !screen.contains("empty"),
        "what was never lost is not shown"
    );

    terminal.press(&["Tab"]);
    rules_are_sorted(&terminal);

    terminal.press(&["?"]);
    terminal.shows("Ctrl-C         quit");
    terminal.press(&["1", "p"]);
    terminal.shows("PAUSED");
    // What was being drawn is drawn by then.
    std::thread::sleep(Duration::from_millis(300));
    let paused = terminal.screen();
    std::thread::sleep(Duration::from_secs(1));
    assert_eq!(
        terminal.screen(),
        paused,
        "nothing moves while it is paused"
    );
    terminal.press(&["p"]);
    terminal.until("end of the pause", |screen| !screen.contains("PAUSED"));
    terminal.press(&["q"]);
    terminal.is_as_before("first-mark");
}

fn rules_are_sorted(terminal: &Terminal) {
    let screen = terminal.shows("[5 rules]");
    assert_eq!(words(&screen, "  1 ")[0], "1");
    terminal.press(&["s"]);
    let screen = terminal.shows("Rules, by matches/s");
    let first = screen
        .lines()
        .position(|line| line.starts_with("  rule"))
        .unwrap()
        + 1;
    assert!(
        screen.lines().nth(first).unwrap().starts_with("  60 "),
        "{screen}"
    );
    terminal.press(&["s"]);
    let screen = terminal.shows("Rules, by alerts/s");
    assert!(
        screen.lines().nth(first).unwrap().starts_with("  7 "),
        "{screen}"
    );
    terminal.press(&["NPage", "NPage", "NPage", "NPage"]);
    terminal.shows("  60 ");
}

#[test]
fn an_appliance_that_starts_again_gives_no_negative_rates() {
    let mut appliance = Appliance::start("127.0.0.1:0");
    let terminal = Terminal::start();
    terminal.top("second-mark", appliance.address);
    terminal.shows("50 %");
    let address = appliance.stop();
    terminal.shows("no answer since 2 s: Connection refused");
    let screen = terminal.screen();
    assert!(screen.contains("50 %"), "the last numbers stay:\n{screen}");
    let seen = Arc::new(Mutex::new(Vec::new()));
    let _again = Appliance::start(&address);
    terminal.until("answer", |screen| {
        seen.lock().unwrap().push(screen.to_owned());
        !screen.contains("no answer")
    });
    for _ in 0..20 {
        seen.lock().unwrap().push(terminal.screen());
        std::thread::sleep(Duration::from_millis(50));
    }
    for screen in seen.lock().unwrap().iter() {
        let is_negative = |word: &str| {
            let digits = word.strip_prefix('-');
            digits.is_some_and(|digits| digits.starts_with(|c: char| c.is_ascii_digit()))
        };
        assert!(!screen.split_whitespace().any(is_negative), "{screen}");
    }
    terminal.shows("50 %");
    let rate = |screen: &str| is_near(screen, "  packets/s ", 1, 2_500.0);
    terminal.until("rate as before", rate);
    terminal.press(&["C-c"]);
    terminal.is_as_before("second-mark");
}

#[test]
fn the_screen_follows_the_size_of_the_terminal() {
    let appliance = Appliance::start("127.0.0.1:0");
    let terminal = Terminal::start();
    terminal.top("third-mark", appliance.address);
    for (width, height) in [(120, 40), (80, 24), (60, 12), (80, 24)] {
        let (columns, rows) = (width.to_string(), height.to_string());
        terminal.tmux(&["resize-window", "-x", &columns, "-y", &rows]);
        let fits = |screen: &str| {
            let lines: Vec<&str> = screen.lines().collect();
            lines.len() == height
                && lines[0].starts_with(" wirelynx 9.8.7")
                && lines[height - 1].starts_with(" q quit")
                && lines.iter().all(|line| line.chars().count() <= width)
                && lines
                    .iter()
                    .filter(|line| line.starts_with(" q quit"))
                    .count()
                    == 1
        };
        terminal.until(&format!("frame of {width} by {height}"), fits);
    }
    terminal.press(&["q"]);
    terminal.is_as_before("third-mark");
}

#[test]
fn signals_put_the_terminal_back() {
    let appliance = Appliance::start("127.0.0.1:0");
    let terminal = Terminal::start();
    for signal in ["TERM", "INT", "HUP"] {
        let mark = format!("mark-{signal}");
        terminal.top(&mark, appliance.address);
        let shell = terminal.tmux(&["display-message", "-p", "#{pane_pid}"]);
        let status = Command::new("pkill")
            .args(["-P", shell.trim(), "--signal", signal, "wirelynx"])
            .status();
        assert!(status.unwrap().success());
        terminal.is_as_before(&mark);
    }
}

/// Set where the test of a panic is to panic.
const PANICS: &str = "WIRELYNX_TEST_PANICS";

#[test]
fn a_panic_puts_the_terminal_back() {
    // This test runs itself in the terminal, where it draws and panics.
    if std::env::var_os(PANICS).is_some() {
        let result = wirelynx::top::screen::on_terminal(|terminal| {
            terminal.draw(|frame| frame.render_widget("in the view", frame.area()))?;
            panic!("on purpose");
        });
        return result.unwrap();
    }
    let terminal = Terminal::start();
    terminal.mark("fourth-mark");
    let this = std::env::current_exe().unwrap().display().to_string();
    let one = "--exact a_panic_puts_the_terminal_back --nocapture 2>/dev/null";
    terminal.enter(&format!("{PANICS}=1 {this} {one}; echo status=$?"));
    let screen = terminal.shows("status=101");
    assert!(screen.contains("fourth-mark"), "{screen}");
    assert!(!screen.contains("in the view"), "{screen}");
    terminal.is_as_before("fourth-mark");
}

fn once(arguments: &[&str]) -> (i32, String, String) {
    let output = Command::new(env!("CARGO_BIN_EXE_wirelynx"))
        .arg("top")
        .args(arguments)
        .output()
        .unwrap();
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    let status = output.status.code().unwrap();
    (status, text(&output.stdout), text(&output.stderr))
}

#[test]
fn one_frame_needs_no_terminal() {
    let mut appliance = Appliance::start("127.0.0.1:0");
    let address = appliance.address.to_string();
    let frame = ["--address", &address, "--once", "--interval", "1"];
    let (status, screen, errors) = once(&frame);
    assert_eq!((status, errors.as_str()), (0, ""));
    assert!(is_near(&screen, "  packets/s ", 1, 2_500.0), "{screen}");
    assert!(
        !screen.contains('\x1b') && !screen.contains("q quit"),
        "{screen}"
    );
    let (_, screen, _) = once(&[&frame[..], &["--page", "5"]].concat());
    assert_eq!(
        words(&screen, "  60 ")[0],
        "60",
        "a frame is as long as it needs"
    );

    let (status, _, errors) = once(&["--address", &address]);
    assert_eq!(status, 2);
    assert!(errors.contains("--once"), "{errors}");
    appliance.stop();
    let (status, screen, errors) = once(&frame);
    assert_eq!((status, screen.as_str()), (1, ""));
    assert!(errors.contains("refused"), "{errors}");
    let (status, _, errors) = once(&["--address", "nowhere", "--once"]);
    assert!(
        status == 2 && errors.contains("expected HOST:PORT"),
        "{errors}"
    );
}
