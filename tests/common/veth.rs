//! Two network namespaces joined by a pair of virtual Ethernet interfaces.

use std::io::{BufRead, BufReader, Write};
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};

/// What is sent on `tx0` arrives on `rx0`, in another namespace. Both are removed when dropped.
pub(crate) struct Veth {
    here: String,
    there: String,
}

impl Veth {
    /// For `test`; none, and a word about it, when this user may not make namespaces.
    pub(crate) fn new(test: &str) -> Option<Self> {
        static NUMBER: AtomicU32 = AtomicU32::new(0);
        let number = NUMBER.fetch_add(1, Ordering::Relaxed);
        let base = format!("wlx{}x{number}", std::process::id());
        // From here on both are removed, also when the second cannot be made.
        let veth = Self {
            here: format!("{base}a"),
            there: format!("{base}b"),
        };
        let (here, there) = (&veth.here, &veth.there);
        if !ip(&format!("netns add {here}")) || !ip(&format!("netns add {there}")) {
            let ci = std::env::var_os("CI").is_some();
            assert!(!ci, "network namespaces cannot be made");
            println!("NOT RUN: {test}: network namespaces cannot be made (run as root)");
            return None;
        }
        let pair = format!("-n {here} link add rx0 type veth peer name tx0 netns {there}");
        assert!(ip(&pair));
        assert!(ip(&format!("-n {here} link set lo up")));
        for (namespace, interface) in [(here, "rx0"), (there, "tx0")] {
            // Without IPv6 the kernel sends nothing of its own over the pair.
            let quiet = format!("net.ipv6.conf.{interface}.disable_ipv6=1");
            let set = ["netns", "exec", namespace, "sysctl", "-qw", &quiet];
            let _ = Command::new("ip").args(set).status();
            let up = format!("-n {namespace} link set {interface} mtu 9000 up");
            assert!(ip(&up));
        }
        Some(veth)
    }

    /// A command that will run in the namespace of `rx0`, as the very process that is started.
    pub(crate) fn receiver(&self, program: impl AsRef<std::ffi::OsStr>) -> Command {
        let mut command = Command::new("ip");
        command.args(["netns", "exec", &self.here]).arg(program);
        command
    }

    /// A command that looks at what runs there. `ip netns exec` makes a mount first, for which it
    /// may wait as long as the CPUs are busy with packets.
    #[allow(dead_code, reason = "not every test looks at what runs")]
    pub(crate) fn looking(&self, program: &str) -> Command {
        let mut command = Command::new("nsenter");
        command.arg(format!("--net=/run/netns/{}", self.here));
        command.arg(program);
        command
    }

    /// Send a capture file on `tx0`, so many packets a second.
    pub(crate) fn replay(&self, file: &Path, rate: u32) {
        let status = Command::new("ip")
            .args(["netns", "exec", &self.there])
            .args(["tcpreplay", "-q", "-i", "tx0"])
            .args(["--pps", &rate.to_string()])
            .arg(file)
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .status();
        assert!(status.unwrap().success());
    }

    /// Send a capture file on `tx0`, each packet but the first when `wait` has returned, which is
    /// given the number of those that were sent.
    #[allow(dead_code, reason = "not every test sends packets one by one")]
    pub(crate) fn replay_each(&self, file: &Path, mut wait: impl FnMut(u64)) {
        let mut child = Command::new("ip")
            .args(["netns", "exec", &self.there])
            .args(["tcpreplay", "-q", "-i", "tx0", "--oneatatime"])
            .arg(file)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let mut go = child.stdin.take().unwrap();
        let mut said = BufReader::new(child.stdout.take().unwrap());
        let mut sent = 0;
        // It asks before each packet how many to send; an empty line is one.
        let mut text = Vec::new();
        while said.read_until(b'?', &mut text).unwrap() > 0 {
            if text.ends_with(b"wish to send?") {
                sent += 1;
                wait(sent);
                go.write_all(b"\n").unwrap();
            }
            text.clear();
        }
        assert!(child.wait().unwrap().success());
        assert!(sent > 0, "tcpreplay does not ask");
    }

    /// Have an interface beside `rx0` be `up` or `down`.
    #[allow(dead_code, reason = "not every test has a link go down")]
    pub(crate) fn set(&self, interface: &str, state: &str) {
        assert!(ip(&format!(
            "-n {} link set {interface} {state}",
            self.here
        )));
    }

    /// Take `rx0` away, and with it `tx0`.
    pub(crate) fn unplug(&self) {
        assert!(ip(&format!("-n {} link del rx0", self.here)));
    }
}

impl Drop for Veth {
    fn drop(&mut self) {
        for namespace in [&self.here, &self.there] {
            let _ = Command::new("ip")
                .args(["netns", "del", namespace])
                .stderr(Stdio::null())
                .status();
        }
    }
}

fn ip(arguments: &str) -> bool {
    let status = Command::new("ip").args(arguments.split(' ')).status();
    status.is_ok_and(|status| status.success())
}
