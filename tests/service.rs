//! The program under a service manager: what it says on the notification socket, and that it runs
//! as the user and with the capabilities that the unit file gives it.
#![cfg(feature = "dpdk")]
#![allow(
    clippy::unwrap_used,
    clippy::print_stdout,
    reason = "this file is a test throughout, and may stop at the first surprise"
)]

#[path = "common/program.rs"]
#[allow(dead_code, reason = "these tests end no program by its account")]
mod program;
#[path = "common/veth.rs"]
#[allow(dead_code, reason = "these tests unplug no interface")]
mod veth;

use nix::sys::ptrace;
use nix::sys::wait::{WaitPidFlag, waitpid};
use nix::unistd::Pid;
use program::{PATIENCE, Running, generate, turn, with_settings};
use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::os::unix::net::UnixDatagram;
use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant};
use veth::Veth;

/// An unprivileged user and group that every Linux system has: nobody.
const NOBODY: &str = "65534";

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// The manager's end of the notification socket.
struct Manager(UnixDatagram);

impl Manager {
    fn new(folder: &Path) -> Self {
        let path = folder.join("notify");
        let socket = UnixDatagram::bind(&path).unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(0o666)).unwrap();
        Self(socket)
    }

    /// The lines of the next message, if one comes in time.
    fn next(&self, patience: Duration) -> Option<Vec<String>> {
        self.0.set_read_timeout(Some(patience)).unwrap();
        let mut message = [0; 4_096];
        let length = self.0.recv(&mut message).ok()?;
        let text = std::str::from_utf8(&message[..length]).unwrap();
        assert!(text.ends_with('\n'), "{text:?}");
        Some(text.lines().map(str::to_owned).collect())
    }

    /// Wait for a message with this line; those that come before it may only begin with `others`.
    fn expect(&self, line: &str, others: &[&str]) -> Vec<String> {
        let start = Instant::now();
        loop {
            let message = self.next(PATIENCE);
            let message = message.unwrap_or_else(|| panic!("nothing was said before {line}"));
            if message.iter().any(|said| said == line) {
                return message;
            }
            let known = |said: &String| others.iter().any(|other| said.starts_with(other));
            assert!(message.iter().all(known), "{message:?} before {line}");
            assert!(start.elapsed() < PATIENCE, "no {line}");
        }
    }

    /// Count the messages that are this line alone, for so long.
    fn count(&self, line: &str, time: Duration) -> usize {
        let start = Instant::now();
        let mut count = 0;
        while let Some(left) = time.checked_sub(start.elapsed()) {
            let message = self.next(left.max(Duration::from_millis(1)));
            count += usize::from(message.is_some_and(|message| message == [line]));
        }
        count
    }
}

/// `wirelynx run` with its notification socket in `folder` and a watchdog.
fn run(program: Command, folder: &Path, settings: &[&str], watchdog: Duration) -> Running {
    let rules = root().join("rules");
    let mut all = vec![format!("rules.paths=[{:?}]", rules.display().to_string())];
    all.extend(settings.iter().map(|setting| (*setting).to_owned()));
    let mut command = with_settings(program, &all);
    command
        .env("NOTIFY_SOCKET", folder.join("notify"))
        .env("WATCHDOG_USEC", watchdog.as_micros().to_string());
    Running::start(command, folder)
}

fn wirelynx() -> Command {
    Command::new(env!("CARGO_BIN_EXE_wirelynx"))
}

const MINUTE: Duration = Duration::from_secs(60);

#[test]
fn a_run_tells_its_start_reloads_and_end() {
    let _turn = turn();
    let folder = tempfile::tempdir().unwrap();
    let manager = Manager::new(folder.path());
    let settings = [
        "capture.ports=[\"net_null0,size=64\"]",
        "control.socket=socket",
        "workers.count=1",
        "security.workers=1",
    ];
    let mut running = run(wirelynx(), folder.path(), &settings, MINUTE);
    assert_eq!(
        manager.next(PATIENCE).unwrap(),
        ["STATUS=reading the rules"]
    );
    assert_eq!(
        manager.next(PATIENCE).unwrap(),
        ["STATUS=starting the ports"]
    );
    let ready = manager.expect("READY=1", &[]);
    assert!(running.err().contains("rules loaded"));
    let [_, status] = ready.as_slice() else {
        panic!("{ready:?}");
    };
    let status = status.strip_prefix("STATUS=packets received ").unwrap();
    let (received, rest) = status.split_once(',').unwrap();
    assert!(received.parse::<u64>().unwrap() > 0, "{status}");
    assert!(rest.starts_with(" dropped 0, missed by ports 0; alerts 0; rules "));
    assert!(rest.ends_with(" of generation 1"), "{status}");

    running.signal("HUP");
    let told = manager.expect("RELOADING=1", &["STATUS=packets"]);
    let time = told[1].strip_prefix("MONOTONIC_USEC=").unwrap();
    let uptime = fs::read_to_string("/proc/uptime").unwrap();
    let uptime: f64 = uptime.split(' ').next().unwrap().parse().unwrap();
    let told = time.parse::<u64>().unwrap() as f64 / 1e6;
    assert!((uptime - told).abs() < 60.0, "told {told}, up {uptime}");
    let ready = manager.expect("READY=1", &["STATUS=packets"]);
    assert!(ready[1].ends_with(" rules reloaded"), "{ready:?}");

    let mut reload = wirelynx();
    reload.args(["reload", "--socket", "socket"]);
    let status = reload.current_dir(folder.path()).output().unwrap().status;
    assert!(status.success());
    manager.expect("RELOADING=1", &["STATUS=packets"]);
    manager.expect("READY=1", &["STATUS=packets"]);
    running.says("rules reloaded generation=3");

    running.signal("TERM");
    manager.expect("STOPPING=1", &["STATUS=packets"]);
    running.wait().status(0);
    assert_eq!(
        manager.next(Duration::from_millis(1)),
        None,
        "after the end"
    );
}

#[test]
fn a_reload_that_is_refused_and_a_start_that_fails_say_why() {
    let _turn = turn();
    let folder = tempfile::tempdir().unwrap();
    let manager = Manager::new(folder.path());
    let rules = folder.path().join("rules");
    fs::create_dir(&rules).unwrap();
    let paths = format!("rules.paths=[{:?}]", rules.display().to_string());
    let settings = ["capture.ports=[\"net_null0\"]", paths.as_str()];
    let running = run(wirelynx(), folder.path(), &settings, MINUTE);
    manager.expect("READY=1", &["STATUS="]);
    fs::write(rules.join("bad.xml"), "<beginning><property").unwrap();
    running.signal("HUP");
    manager.expect("RELOADING=1", &["STATUS="]);
    let ready = manager.expect("READY=1", &["STATUS="]);
    let expected = "STATUS=rules not reloaded, the old ones run on: errors in the rules: ";
    assert!(ready[1].starts_with(expected), "{ready:?}");
    running.signal("TERM");
    manager.expect("STOPPING=1", &["STATUS="]);
    running.wait().status(0);

    let settings = ["capture.ports=[]"];
    run(wirelynx(), folder.path(), &settings, MINUTE)
        .wait()
        .status(2);
    let expected = "STATUS=capture.ports: name at least one port";
    let message = manager.next(PATIENCE).unwrap();
    assert_eq!(message, [expected], "and never READY");
    assert_eq!(manager.next(Duration::from_millis(1)), None);
}

/// The thread of this program that has this name.
fn thread(running: &Running, name: &str) -> Pid {
    let tasks = format!("/proc/{}/task", running.child.id());
    let is_it = |task: &fs::DirEntry| {
        let comm = fs::read_to_string(task.path().join("comm"));
        comm.is_ok_and(|comm| comm.trim_end() == name)
    };
    let mut tasks = fs::read_dir(tasks).unwrap().map(Result::unwrap);
    let task = tasks.find(is_it).unwrap().file_name();
    Pid::from_raw(task.to_str().unwrap().parse().unwrap())
}

/// A debugger stops one thread: all others go on, the process answers, and yet it is not alive.
#[test]
fn a_stuck_thread_of_the_data_path_stops_the_keep_alive() {
    let _turn = turn();
    let folder = tempfile::tempdir().unwrap();
    let manager = Manager::new(folder.path());
    let settings = [
        "capture.ports=[\"net_null0,size=64\"]",
        "workers.count=1",
        "security.workers=1",
    ];
    let watchdog = Duration::from_secs(2);
    let mut running = run(wirelynx(), folder.path(), &settings, watchdog);
    manager.expect("READY=1", &["STATUS=", "WATCHDOG=1"]);
    let alive = manager.count("WATCHDOG=1", 2 * watchdog);
    assert!((4..=10).contains(&alive), "{alive} keep-alives in 4 s");

    for name in ["worker-0", "security-0"] {
        let stuck = thread(&running, name);
        ptrace::seize(stuck, ptrace::Options::empty()).unwrap();
        ptrace::interrupt(stuck).unwrap();
        waitpid(stuck, Some(WaitPidFlag::__WALL)).unwrap();
        // One may be on its way, of the time before.
        let late = manager.count("WATCHDOG=1", Duration::from_secs(1));
        assert!(late <= 2, "{name}: {late}");
        let alive = manager.count("WATCHDOG=1", 2 * watchdog);
        assert_eq!(alive, 0, "keep-alives while {name} is stuck");
        running.says("make no progress");
        ptrace::detach(stuck, None).unwrap();
        let alive = manager.count("WATCHDOG=1", 2 * watchdog);
        assert!(alive >= 3, "{name} goes on: {alive}");
    }
    running.signal("TERM");
    running.wait().status(0);
}

/// The link of a memory interface is down as long as it has no peer.
#[test]
fn a_run_is_not_ready_while_a_link_is_down() {
    let _turn = turn();
    let folder = tempfile::tempdir().unwrap();
    let manager = Manager::new(folder.path());
    let port = format!(
        "net_memif0,role=server,socket={},socket-abstract=no",
        folder.path().join("memif").display()
    );
    let port = format!("capture.ports=[{port:?}]");
    let settings = [port.as_str(), "capture.link_wait_seconds=1"];
    let running = run(wirelynx(), folder.path(), &settings, MINUTE);
    let expected = "STATUS=waiting for the link of net_memif0; packets received 0, ";
    let mut waits = 0;
    while waits < 3 {
        let message = manager.next(PATIENCE).unwrap();
        if message[0] == "EXTEND_TIMEOUT_USEC=30000000" {
            assert!(message[1].starts_with(expected), "{message:?}");
            waits += 1;
            // Its end must not be taken for the end of the start.
            running.signal("HUP");
        } else {
            assert!(message[0].starts_with("STATUS="), "{message:?}");
        }
    }
    assert!(running.err().contains("rules reloaded"));
    running.signal("TERM");
    manager.expect("STOPPING=1", &["EXTEND", "STATUS"]);
    running.wait().status(0);
}

#[test]
fn a_link_that_goes_down_later_is_told() {
    let _turn = turn();
    let folder = tempfile::tempdir().unwrap();
    let Some(veth) = Veth::new("a link that goes down") else {
        return;
    };
    let manager = Manager::new(folder.path());
    let program = veth.receiver(env!("CARGO_BIN_EXE_wirelynx"));
    let settings = ["capture.ports=[\"net_tap0\"]"];
    let running = run(program, folder.path(), &settings, MINUTE);
    manager.expect("READY=1", &["STATUS="]);
    let down = "STATUS=the link of net_tap0 is down; packets received ";
    for (state, status) in [("down", down), ("up", "STATUS=packets received ")] {
        veth.set("dtap0", state);
        let start = Instant::now();
        while !manager.next(PATIENCE).unwrap()[0].starts_with(status) {
            assert!(start.elapsed() < PATIENCE, "{state}");
        }
    }
    running.signal("TERM");
    running.wait().status(0);
}

/// What the unit file says after this word.
fn unit(key: &str) -> String {
    let text = fs::read_to_string(root().join("packaging/wirelynx.service")).unwrap();
    let found = text.lines().find_map(|line| line.strip_prefix(key));
    found.unwrap().to_owned()
}

/// The folders are there before the first start, as systemd would make them.
#[test]
fn the_folders_of_the_unit_are_made_at_installation() {
    let text = fs::read_to_string(root().join("packaging/wirelynx.tmpfiles")).unwrap();
    let lines = text.lines().filter(|line| !line.starts_with('#'));
    let mut made: Vec<&str> = lines.collect();
    made.sort_unstable();
    let (user, group) = (unit("User="), unit("Group="));
    let places = [
        ("Runtime", "/run"),
        ("State", "/var/lib"),
        ("Logs", "/var/log"),
    ];
    let expected = places.map(|(kind, place)| {
        let name = unit(&format!("{kind}Directory="));
        let mode = unit(&format!("{kind}DirectoryMode="));
        format!("d {place}/{name} {mode} {user} {group} -")
    });
    assert_eq!(made, expected);
    assert_eq!(unit("RuntimeDirectoryPreserve="), "yes");
}

/// A program beside `rx0`, as an unprivileged user that has these capabilities alone.
fn unprivileged(veth: &Veth, capabilities: &[&str], program: &Path) -> Command {
    let list: String = capabilities
        .iter()
        .map(|name| format!(",+{}", name.to_lowercase().trim_start_matches("cap_")))
        .collect();
    let mut command = veth.receiver("setpriv");
    command.args(["--reuid", NOBODY, "--regid", NOBODY, "--clear-groups"]);
    command.arg("--no-new-privs");
    command.arg(format!("--inh-caps=-all{list}"));
    command.arg(format!("--ambient-caps=-all{list}"));
    command.arg(format!("--bounding-set=-all{list}"));
    command.arg(program);
    command
}

/// The user, and the capabilities in effect, of the program.
fn identity(running: &Running) -> (String, u64) {
    let status = fs::read_to_string(format!("/proc/{}/status", running.child.id())).unwrap();
    let field = |name: &str| status.lines().find_map(|line| line.strip_prefix(name));
    let user = field("Uid:").unwrap().split_whitespace().next().unwrap();
    let effective = u64::from_str_radix(field("CapEff:").unwrap().trim(), 16);
    (user.to_owned(), effective.unwrap())
}

#[test]
fn an_unprivileged_user_with_the_capabilities_of_the_unit_receives() {
    let _turn = turn();
    let folder = tempfile::tempdir().unwrap();
    let Some(veth) = Veth::new("an unprivileged user") else {
        return;
    };
    fs::set_permissions(folder.path(), fs::Permissions::from_mode(0o777)).unwrap();
    let granted = unit("AmbientCapabilities=");
    assert_eq!(granted, unit("CapabilityBoundingSet="));
    let granted: Vec<&str> = granted.split(' ').collect();
    // The user may not read the folder that it was built in, nor the rules.
    let program = folder.path().join("wirelynx");
    fs::copy(env!("CARGO_BIN_EXE_wirelynx"), &program).unwrap();
    let rules = folder.path().join("rules.xml");
    fs::copy(root().join("rules/scans/syn-scan/rule.xml"), &rules).unwrap();
    let rules = format!("rules.paths=[{:?}]", rules.display().to_string());
    let manager = Manager::new(folder.path());
    let settings = [
        rules.as_str(),
        // A larger ring is more memory than a user may lock without LimitMEMLOCK.
        "capture.ports=[\"net_af_packet0,iface=rx0\"]",
        "output.alerts=alerts",
        "control.socket=socket",
    ];
    let running = run(
        unprivileged(&veth, &granted, &program),
        folder.path(),
        &settings,
        MINUTE,
    );
    manager.expect("READY=1", &["STATUS="]);
    // CAP_NET_ADMIN and CAP_NET_RAW of linux/capability.h.
    let expected = (NOBODY.to_owned(), 1 << 12 | 1 << 13);
    assert_eq!(identity(&running), expected);
    let trace = generate("scans", folder.path());
    veth.replay(&trace, 2_000);
    std::thread::sleep(Duration::from_millis(500));
    running.signal("TERM");
    let ended = running.wait().status(0);
    let account = ended.account();
    assert!(account.ends_with("(balances)"), "{account}");
    assert!(!account.contains("received 0 "), "{account}");
    let alerts = fs::read_to_string(folder.path().join("alerts")).unwrap();
    assert!(alerts.lines().count() > 5, "{alerts}");
    println!("{account}, {} alerts", alerts.lines().count());

    // Neither is superfluous.
    for missing in &granted {
        let rest: Vec<&str> = granted.iter().copied().filter(|c| c != missing).collect();
        let program = unprivileged(&veth, &rest, &program);
        let ended = run(program, folder.path(), &settings, MINUTE).wait();
        assert_eq!(ended.status.code(), Some(1), "without {missing}");
    }
}

/// The unit file is accepted, and the page on it says how exposed it leaves the machine.
#[test]
fn the_unit_is_as_closed_as_its_page_says() {
    let text = fs::read_to_string(root().join("packaging/wirelynx.service")).unwrap();
    let folder = tempfile::tempdir().unwrap();
    let unit = folder.path().join("wirelynx.service");
    // The program and the pages are not installed here.
    let lines = text
        .lines()
        .filter(|line| !line.starts_with("Documentation="));
    let lines: Vec<&str> = lines.collect();
    let text = lines.join("\n").replace("/usr/bin/wirelynx", "/bin/true");
    fs::write(&unit, text).unwrap();
    let analyze = |arguments: &[&str]| {
        let mut command = Command::new("systemd-analyze");
        let output = command.args(arguments).arg(&unit).output().unwrap();
        let said = [output.stdout, output.stderr].concat();
        (output.status.success(), String::from_utf8(said).unwrap())
    };
    assert_eq!(analyze(&["verify"]), (true, String::new()));
    let (is_known, said) = analyze(&["security", "--offline=true"]);
    assert!(is_known, "{said}");
    let score = said.lines().find(|line| line.contains("Overall exposure"));
    let page = fs::read_to_string(root().join("docs/service.md")).unwrap();
    assert!(page.contains(score.unwrap()), "{score:?}");
}
