//! `wirelynx-traffic send`: frames of captures as datagrams, to a socket of the test.

#![allow(clippy::unwrap_used, reason = "a test may stop at the first surprise")]
#![forbid(unsafe_code)]

use std::fs;
use std::io::Write;
use std::os::unix::net::UnixDatagram;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::time::{Duration, Instant};
use wirelynx::capture::{Burst, Capture, Progress, file};

const HOSTS: &str = "start 1700000000\nhost a ip=10.0.0.1\nhost b ip=10.0.0.2\n";

fn traffic() -> Command {
    Command::new(env!("CARGO_BIN_EXE_wirelynx-traffic"))
}

fn generate(folder: &Path, name: &str, scenario: &str) -> PathBuf {
    let path = folder.join(name);
    let mut child = traffic()
        .args(["generate", "-", "-o"])
        .arg(&path)
        .stdin(Stdio::piped())
        .stdout(Stdio::null())
        .spawn()
        .unwrap();
    let mut input = child.stdin.take().unwrap();
    input
        .write_all(format!("{HOSTS}{scenario}\n").as_bytes())
        .unwrap();
    drop(input);
    assert!(child.wait().unwrap().success(), "{scenario}");
    path
}

/// Frames of a capture, with the nanoseconds of their times.
fn frames(path: &Path) -> Vec<(u64, Vec<u8>)> {
    let mut source = file::open(path.to_str().unwrap()).unwrap();
    let mut all = Vec::new();
    loop {
        let mut burst = Burst::new();
        let progress = source.receive(&mut burst).unwrap();
        all.extend(
            burst
                .iter()
                .map(|frame| (frame.timestamp.nanos(), frame.data.to_vec())),
        );
        if progress == Progress::End {
            return all;
        }
    }
}

fn send(captures: &[&Path], folder: &Path) -> Output {
    traffic()
        .arg("send")
        .args(captures)
        .arg("--to")
        .arg(folder.join("wire"))
        .arg("--record")
        .arg(folder.join("sent"))
        .output()
        .unwrap()
}

#[test]
fn captures_begin_at_once_and_keep_their_pace() {
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path();
    let slow = generate(folder, "slow", "repeat 3 every=200ms | udp a b send=100");
    // Of another year, and in the middle of the first one.
    let other = "start 1600000000\nwait 60m\nudp a b send=200\nwait 300ms\narp a b reply=no";
    let other = generate(folder, "other", other);
    let socket = UnixDatagram::bind(folder.join("wire")).unwrap();
    socket
        .set_read_timeout(Some(Duration::from_secs(10)))
        .unwrap();
    let start = Instant::now();
    let output = send(&[&slow, &other], folder);
    let text = String::from_utf8(output.stdout).unwrap();
    assert!(output.status.success(), "{text}");
    assert!(start.elapsed() >= Duration::from_millis(400));
    assert!(text.contains(": 5 packets, 728 bytes in 0.4 s"), "{text}");

    let lengths = [142, 242, 142, 60, 142];
    let recorded = frames(&folder.join("sent"));
    let mut buffer = [0; 2_000];
    for (number, (length, (_, data))) in lengths.iter().zip(&recorded).enumerate() {
        let got = socket.recv(&mut buffer).unwrap();
        assert_eq!((got, data.len()), (*length, *length), "frame {number}");
        assert_eq!(&buffer[..got], data, "frame {number}");
    }
    assert_eq!(recorded.len(), lengths.len());
    let since_first = recorded.last().unwrap().0 - recorded[0].0;
    assert!(since_first >= 400_000_000, "{since_first}");
    let age = std::time::UNIX_EPOCH.elapsed().unwrap() - Duration::from_nanos(recorded[0].0);
    assert!(age < Duration::from_secs(60), "times are those of sending");
}

#[test]
fn no_two_frames_have_the_same_microsecond() {
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path();
    let sends = "send=100 ".repeat(100);
    let dense = generate(folder, "dense", &format!("gap 1ns\nudp a b {sends}"));
    let due = frames(&dense);
    assert!(due[99].0 - due[0].0 < 1_000, "{}", due[99].0 - due[0].0);
    let socket = UnixDatagram::bind(folder.join("wire")).unwrap();
    let receiver = std::thread::spawn(move || {
        for _ in 0..100 {
            socket.recv(&mut [0; 2_000]).unwrap();
        }
    });
    assert!(send(&[&dense], folder).status.success());
    receiver.join().unwrap();
    let recorded = frames(&folder.join("sent"));
    assert_eq!(recorded.len(), 100);
    let steps = recorded.windows(2).map(|pair| pair[1].0 - pair[0].0);
    assert!(steps.min().unwrap() >= 1_000);
}

#[test]
fn what_cannot_be_sent_is_told() {
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path();
    let whole = generate(folder, "whole", "udp a b send=100");
    let cut = generate(
        folder,
        "cut",
        "udp a b send=10\nsnap length=50 | udp a b send=100",
    );
    let told = |captures: &[&Path], expected: &str| {
        let output = send(captures, folder);
        let text = String::from_utf8(output.stderr).unwrap();
        assert_eq!(output.status.code(), Some(1), "{text}");
        assert!(text.contains(expected), "{text}");
    };
    told(&[&whole], "wire: No such file or directory");
    let socket = UnixDatagram::bind(folder.join("wire")).unwrap();
    told(&[&whole, &cut], "cut: frame 2 has 50 of its 142 bytes");
    told(
        &[&folder.join("nothing")],
        "nothing: No such file or directory",
    );
    fs::write(folder.join("text"), "no capture, but long enough to be one").unwrap();
    told(&[&folder.join("text")], "text: not a capture file");
    socket.set_nonblocking(true).unwrap();
    assert!(socket.recv(&mut [0; 100]).is_err(), "nothing was sent");
}
