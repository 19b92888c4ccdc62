//! The program from outside: what it prints where, and with which exit status it ends.
#![allow(
    clippy::unwrap_used,
    reason = "this file is a test throughout, and may stop at the first surprise"
)]

use flate2::Compression;
use flate2::write::GzEncoder;
use std::io::{BufRead, BufReader, Write};
use std::os::unix::net::UnixListener;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use tempfile::TempDir;
use wirelynx::capture::writer::PcapWriter;
use wirelynx::packet::{Frame, LinkType, Timestamp};

const HEAD: &str = "GET /index.html?a=1,2 HTTP/1.1\r\nHost: www.example.org\r\n\
                    User-Agent: a \"quoted\" agent\r\n\r\n";

/// A folder with a capture and rules, removed in the end.
struct Place(TempDir);

impl Place {
    fn new() -> Self {
        let place = Self(tempfile::tempdir().unwrap());
        place.write("web.pcap", &capture());
        place.write("own/1.get.xml", &rule(1, "(http.method == 'GET')"));
        place
    }

    fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    fn write(&self, name: &str, contents: &(impl AsRef<[u8]> + ?Sized)) -> PathBuf {
        let path = self.path(name);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(&path, contents).unwrap();
        path
    }

    fn read(&self, name: &str) -> String {
        std::fs::read_to_string(self.path(name)).unwrap()
    }

    /// Run the program in this folder.
    fn run(&self, arguments: &[&str]) -> Ended {
        self.run_with(arguments, &[])
    }

    /// The same, with something on standard input.
    fn run_with(&self, arguments: &[&str], input: &[u8]) -> Ended {
        let mut child = program(self.0.path(), arguments)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let mut stdin = child.stdin.take().unwrap();
        // Who does not read its input may close it.
        let _ = stdin.write_all(input);
        drop(stdin);
        Ended::new(arguments, &child.wait_with_output().unwrap())
    }
}

fn program(folder: &Path, arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_wirelynx"));
    command
        .current_dir(folder)
        .args(arguments)
        .env_remove("WIRELYNX_LOG");
    command
}

/// How a run ended.
#[derive(Debug)]
#[expect(dead_code, reason = "read where a test fails and prints it")]
struct Ended {
    arguments: String,
    status: Option<i32>,
    out: String,
    err: String,
}

impl Ended {
    fn new(arguments: &[&str], output: &Output) -> Self {
        let text = |bytes: &[u8]| String::from_utf8(bytes.to_vec()).unwrap();
        let ended = Self {
            arguments: arguments.join(" "),
            status: output.status.code(),
            out: text(&output.stdout),
            err: text(&output.stderr),
        };
        let plain = |text: &str| !text.contains('\u{1b}');
        assert!(
            plain(&ended.out) && plain(&ended.err),
            "colours in a pipe: {ended:#?}"
        );
        assert!(!ended.err.contains("panicked"), "{ended:#?}");
        ended
    }

    /// It ended well.
    fn done(self) -> Self {
        self.status(0)
    }

    fn status(self, status: i32) -> Self {
        assert_eq!(self.status, Some(status), "{self:#?}");
        self
    }

    /// It says this on standard error.
    fn says(self, text: &str) -> Self {
        assert!(self.err.contains(text), "{text:?} is not in {self:#?}");
        self
    }

    fn says_nothing(self) -> Self {
        assert_eq!(self.err, "", "{self:#?}");
        self
    }

    /// It prints this on standard output.
    fn prints(self, text: &str) -> Self {
        assert!(self.out.contains(text), "{text:?} is not in {self:#?}");
        self
    }

    fn prints_nothing(self) -> Self {
        assert_eq!(self.out, "", "{self:#?}");
        self
    }
}

/// An Ethernet frame with a TCP segment of client or server.
fn segment(from_client: bool, flags: u8, numbers: (u32, u32), payload: &[u8]) -> Vec<u8> {
    let mut frame = vec![2, 0, 0, 0, 0, 1, 2, 0, 0, 0, 0, 2, 8, 0];
    let length = u16::try_from(40 + payload.len()).unwrap().to_be_bytes();
    frame.extend([0x45, 0, length[0], length[1], 0, 1, 0x40, 0, 64, 6, 0, 0]);
    let (client, server) = ([10, 0, 0, 1], [10, 0, 0, 2]);
    let (ports, ends) = match from_client {
        true => ([0x9c, 0x40, 0, 80], [client, server]),
        false => ([0, 80, 0x9c, 0x40], [server, client]),
    };
    frame.extend(ends.concat());
    frame.extend(ports);
    frame.extend(numbers.0.to_be_bytes());
    frame.extend(numbers.1.to_be_bytes());
    frame.extend([0x50, flags, 0xff, 0xff, 0, 0, 0, 0]);
    frame.extend(payload);
    frame
}

/// A connection with one request, a millisecond between its packets.
fn frames() -> Vec<Vec<u8>> {
    let (fin, syn, ack, data) = (0x11, 0x02, 0x10, 0x18);
    let reply = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok";
    let sent = 101 + u32::try_from(HEAD.len()).unwrap();
    let answered = 501 + u32::try_from(reply.len()).unwrap();
    vec![
        segment(true, syn, (100, 0), b""),
        segment(false, syn | ack, (500, 101), b""),
        segment(true, ack, (101, 501), b""),
        segment(true, data, (101, 501), HEAD.as_bytes()),
        segment(false, data, (501, sent), reply),
        segment(true, fin, (sent, answered), b""),
        segment(false, fin, (answered, sent + 1), b""),
        segment(true, ack, (sent + 1, answered + 1), b""),
    ]
}

/// Which of them the client sent.
const SENDERS: [bool; 8] = [true, false, true, true, false, true, false, true];

fn capture() -> Vec<u8> {
    capture_of(&frames())
}

fn capture_of(frames: &[Vec<u8>]) -> Vec<u8> {
    let mut writer = PcapWriter::new(Vec::new(), LinkType::ETHERNET).unwrap();
    for (number, data) in (0_u64..).zip(frames) {
        let frame = Frame {
            data,
            wire_length: u32::try_from(data.len()).unwrap(),
            timestamp: Timestamp::from_micros(1_700_000_000_000_000 + number * 1_000),
            link: LinkType::ETHERNET,
            port: 0,
            queue: 0,
            ..Frame::EMPTY
        };
        writer.write(&frame).unwrap();
    }
    writer.into_inner()
}

/// A rule that one packet decides: this holds, and there is a source address.
fn rule(id: u32, condition: &str) -> String {
    format!(
        "<beginning><property value=\"THEN\" delay_units=\"s\" delay_min=\"0\" delay_max=\"0\" \
         property_id=\"{id}\" type_property=\"ATTACK\" description=\"rule {id}\">\n\
         <event value=\"COMPUTE\" event_id=\"1\" description=\"context\" \
         boolean_expression=\"{condition}\"/>\n\
         <event value=\"COMPUTE\" event_id=\"2\" description=\"trigger\" \
         boolean_expression=\"(ip.src != ip.dst)\"/>\n</property></beginning>\n"
    )
}

#[test]
fn every_command_has_help() {
    let place = Place::new();
    let commands = [
        "",
        "run",
        "read",
        "rules",
        "rules check",
        "rules explain",
        "rules list",
        "rules profile",
        "rules show",
        "protocols",
        "extract",
        "reload",
    ];
    for command in commands {
        let words: Vec<&str> = command.split_whitespace().chain(["--help"]).collect();
        let help = place
            .run(&words)
            .done()
            .says_nothing()
            .prints("Usage: wirelynx");
        // Every command, argument and flag has its line, and the last column is not cut.
        assert!(help.out.lines().count() > 6, "{help:#?}");
        let widest = help.out.lines().map(|line| line.chars().count()).max();
        assert!(widest < Some(120), "{help:#?}");
    }
    let rules = ["rules check", "rules explain", "rules profile"];
    for command in ["run", "read", "reload", "extract"]
        .into_iter()
        .chain(rules)
    {
        let words: Vec<&str> = command.split(' ').chain(["--help"]).collect();
        place.run(&words).done().prints("Examples:");
    }
    let dpdk = match cfg!(feature = "dpdk") {
        true => ", DPDK 22.11",
        false => ", DPDK none",
    };
    place
        .run(&["--version"])
        .done()
        .prints("wirelynx 0.")
        .prints(dpdk);
    place.run(&["generate", "man", "man"]).done();
    let page = place.read("man/wirelynx.1");
    assert!(page.contains("wirelynx 0."), "{page}");
    assert!(!page.contains(dpdk), "{page}");
}

/// A program of one answer in place of the appliance, and what the client makes of it.
fn reload_answered(place: &Place, answer: &str) -> Ended {
    let path = place.path("socket");
    let listener = UnixListener::bind(&path).unwrap();
    let ended = std::thread::scope(|scope| {
        scope.spawn(|| {
            let (client, _) = listener.accept().unwrap();
            let mut request = String::new();
            BufReader::new(&client).read_line(&mut request).unwrap();
            assert_eq!(request, "reload\n");
            (&client).write_all(answer.as_bytes()).unwrap();
        });
        place.run(&["reload", "-c", "c.toml"])
    });
    std::fs::remove_file(path).unwrap();
    ended
}

#[test]
fn a_reload_ends_as_the_appliance_says() {
    let place = Place::new();
    place.write("c.toml", "[control]\nsocket = 'socket'\n");
    let success = "{\"result\":\"success\",\"generation\":2}\n";
    reload_answered(&place, success)
        .done()
        .prints(success)
        .says_nothing();
    let failure = "{\"result\":\"failure\",\"error\":\"one\",\"findings\":[\"two\"]}\n";
    let ended = reload_answered(&place, failure).status(1).prints(failure);
    ended.says("two\nwirelynx: rules not reloaded: one\n");
    for odd in ["", "{\"result\":", "nonsense\n", "[]\n", "{}\n"] {
        reload_answered(&place, odd).status(1).says("wirelynx: ");
    }
    let silent = place.run(&["reload", "--socket", "socket"]).status(1);
    silent
        .prints_nothing()
        .says("socket: No such file")
        .says("control.socket");
    place
        .run(&["reload"])
        .status(2)
        .says("--socket PATH, or -c FILE");
    place.write("none.toml", "");
    let none = place.run(&["reload", "-c", "none.toml"]).status(2);
    none.says("none.toml: control.socket is not set");
}

#[test]
fn wrong_usage_is_status_2() {
    let place = Place::new();
    place.run(&[]).status(2).prints_nothing().says("Usage:");
    place.run(&["reed"]).status(2).says("read");
    place.run(&["read"]).status(2).says("<TRACE>");
    place
        .run(&["read", "web.pcap", "--nonsense"])
        .status(2)
        .says("--nonsense");
    place
        .run(&["read", "web.pcap", "--alert-format", "xml"])
        .status(2)
        .says("json or mmt-csv");
    place
        .run(&["read", "web.pcap", "--workers", "65"])
        .status(2)
        .says("1..=64");
    place
        .run(&["read", "web.pcap", "--rules-mask", "(0:1)"])
        .status(2)
        .says("a thread that is no number from 1");
    place
        .run(&["read", "web.pcap", "--rules", "rulez"])
        .status(2)
        .says("rules: rulez: No such");
    place
        .run(&["read", "web.pcap", "--alert-limit", "0/60s"])
        .status(2)
        .says("expected alerts/period such as 10/60s");
    place
        .run(&["extract", "web.pcap"])
        .status(2)
        .says("--fields");
    place
        .run(&["run", "-X", "capture.portz=1"])
        .status(2)
        .says("'capture.ports'?");
    place
        .run(&["run", "-c", "nowhere.toml"])
        .status(2)
        .says("nowhere.toml");
    place
        .run(&["rules", "show", "99", "--rules", "own"])
        .status(2)
        .says("99")
        .says("1");
}

#[test]
fn failure_while_running_is_status_1() {
    let place = Place::new();
    place.write("empty.pcap", "");
    place
        .run(&["read", "nowhere.pcap"])
        .status(1)
        .says("wirelynx: nowhere.pcap: No such file");
    place
        .run(&["read", "empty.pcap"])
        .status(1)
        .says("empty.pcap: not a capture file: nothing");
    let text = place.run(&["read", "own/1.get.xml"]).status(1);
    text.says("begins with 3c 62 65")
        .says("expected pcap or pcapng, or gzip of either");
    place
        .run(&["read", "web.pcap", "--alerts", "no/where"])
        .status(1)
        .says("no/where");
    place
        .run(&["extract", "nowhere.pcap", "--fields", "ip.src"])
        .status(1)
        .says("nowhere.pcap");
    // Whole inputs before the one that fails are read all the same.
    let some = ["read", "web.pcap", "nowhere.pcap", "--rules", "own"];
    place
        .run(&some)
        .status(1)
        .says("nowhere.pcap")
        .prints("\"rule_id\":1");
    if Path::new("/dev/full").exists() {
        let full = [
            "read",
            "web.pcap",
            "--rules",
            "own",
            "--alerts",
            "/dev/full",
        ];
        place.run(&full).status(1).says("output: No space left");
    }
}

#[test]
fn a_capture_becomes_alerts_flows_and_an_account() {
    let place = Place::new();
    let all = [
        "read", "web.pcap", "--rules", "own", "--flows", "flows", "--stats",
    ];
    let ended = place.run(&all).done();
    assert_eq!(ended.out.lines().count(), 1);
    let alert: serde_json::Value = serde_json::from_str(&ended.out).unwrap();
    assert_eq!(alert["alert"]["rule_id"], 1);
    assert_eq!(alert["timestamp"], "2023-11-14T22:13:20.003000Z");
    let flow: serde_json::Value = serde_json::from_str(&place.read("flows")).unwrap();
    assert_eq!(
        (&flow["app_proto"], &flow["flow"]["state"]),
        (&"http".into(), &"SF".into())
    );
    ended
        .says("account: received 8 = passed 8 (balances)")
        .says("alerts by rule: 1 1");
    place
        .run(&[
            "read",
            "web.pcap",
            "--rules",
            "own",
            "--alert-format",
            "mmt-csv",
        ])
        .done()
        .prints("10,0,\"\",1700000000.003000,1,\"detected\",\"attack\",\"rule 1\",")
        .says_nothing();
}

#[test]
fn alerts_and_flows_share_standard_output_by_whole_lines() {
    let place = Place::new();
    let mut all = Vec::new();
    for port in 1_000_u16..2_000 {
        for (mut frame, client) in frames().into_iter().zip(SENDERS) {
            let at = if client { 34 } else { 36 };
            frame[at..at + 2].copy_from_slice(&port.to_be_bytes());
            all.push(frame);
        }
    }
    place.write("many.pcap", &capture_of(&all));
    place.write("own/2.any.xml", &rule(2, "(ip.src != '1.2.3.4')"));
    let all = ["read", "many.pcap", "--rules", "own", "--flows", "-"];
    let ended = place.run(&all).done();
    let parse = |line| serde_json::from_str::<serde_json::Value>(line).is_ok();
    assert!(ended.out.lines().count() > 9_000, "{}", ended.err);
    assert_eq!(ended.out.lines().find(|line| !parse(line)), None);
    let same = ["read", "web.pcap", "--alerts", "x", "--flows", "x"];
    place
        .run(&same)
        .status(2)
        .says("x: alerts and flow records need a file each");
}

#[test]
fn an_input_is_not_written_over() {
    let place = Place::new();
    let before = place.run(&["read", "web.pcap", "--rules", "own"]).done();
    for option in ["--alerts", "--flows"] {
        place
            .run(&["read", "web.pcap", "--rules", "own", option, "./web.pcap"])
            .status(2)
            .says("./web.pcap: would write over the input web.pcap");
    }
    let after = place.run(&["read", "web.pcap", "--rules", "own"]).done();
    assert_eq!(before.out, after.out);
}

#[test]
fn reading_ends_when_nobody_takes_the_alerts() {
    let place = Place::new();
    place.write("own/2.any.xml", &rule(2, "(ip.src != '1.2.3.4')"));
    let mut child = program(place.0.path(), &["read", "-", "--rules", "own"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    drop(child.stdout.take());
    let mut stdin = child.stdin.take().unwrap();
    let capture = capture();
    stdin.write_all(&capture).unwrap();
    // More than any buffer on the way holds; only a program that has ended refuses it.
    let packets = capture[24..].repeat(1_000);
    let refused = (0..1_000).any(|_| stdin.write_all(&packets).is_err());
    assert!(refused, "everything was read");
    drop(stdin);
    let ended = Ended::new(&["read", "-"], &child.wait_with_output().unwrap());
    ended.status(1).says_nothing();
}

#[test]
fn standard_input_and_gzip_are_read_alike() {
    let place = Place::new();
    let mut gzip = GzEncoder::new(Vec::new(), Compression::default());
    gzip.write_all(&capture()).unwrap();
    let gzip = gzip.finish().unwrap();
    place.write("web.gz", &gzip);
    let expected = place
        .run(&["read", "web.pcap", "--rules", "own", "--flows", "-"])
        .done()
        .out;
    assert_eq!(expected.lines().count(), 2, "{expected}");
    for (trace, input) in [("web.gz", &[][..]), ("-", &capture()), ("-", &gzip)] {
        let same = place.run_with(&["read", trace, "--rules", "own", "--flows", "-"], input);
        assert_eq!(same.done().out, expected);
    }
    let twice = place
        .run(&["read", "web.pcap", "web.gz", "--rules", "own"])
        .done();
    assert_eq!(twice.out.lines().count(), 2, "{}", twice.out);
    place
        .run_with(&["read", "-"], b"")
        .status(1)
        .says("standard input: not a capture file");
}

#[test]
fn damage_is_a_warning_after_whole_packets() {
    let place = Place::new();
    let whole = capture();
    place.write("cut.pcap", &whole[..whole.len() - 10]);
    let last = whole.len() - 16 - frames().last().unwrap().len();
    place
        .run(&["read", "cut.pcap", "--rules", "own", "--stats"])
        .done()
        .says(&format!(
            "WARN cut.pcap: damaged at byte {last}: the file ends inside a record"
        ))
        .says("account: received 7 = passed 7 (balances)")
        .prints("\"rule_id\":1");
    place
        .run(&["extract", "cut.pcap", "--fields", "ip.src"])
        .done()
        .says("damaged at byte");
}

#[test]
fn a_filter_drops_and_counts_packets() {
    let place = Place::new();
    let filtered = |filter| place.run(&["read", "web.pcap", "--stats", "--filter", filter]);
    filtered("(tcp.dest_port == 80)")
        .done()
        .says("account: received 8 = passed 5 + dropped 3 (filtered) (balances)");
    filtered("(tcp.dest_prt == 80)")
        .status(2)
        .says("^^^^")
        .says("did you mean `tcp.dest_port`?");
    filtered("(tcp.dest_port ==")
        .status(2)
        .says("--filter:")
        .prints_nothing();
    let extract = [
        "extract",
        "web.pcap",
        "--fields",
        "ip.src",
        "--filter",
        "(tcp.src_port == 80)",
    ];
    assert_eq!(
        place.run(&extract).done().out,
        "ip.src\n10.0.0.2\n10.0.0.2\n10.0.0.2\n"
    );
}

#[test]
fn a_broken_rule_file_is_skipped_named_and_counted() {
    let place = Place::new();
    place.write("own/2.broken.xml", &rule(2, "(ip.scr == 1)"));
    place.write("own/3.cut.xml", "<beginning><property");
    place
        .run(&["read", "web.pcap", "--rules", "own", "--stats"])
        .done()
        .prints("\"rule_id\":1")
        .says("WARN rule file skipped: own/2.broken.xml:2:")
        .says("unknown attribute `ip.scr`")
        .says("WARN rule file skipped: own/3.cut.xml:")
        .says("rule files skipped because of an error: 2");
    place
        .run(&["read", "web.pcap", "--rules", "own", "--strict"])
        .status(2)
        .prints_nothing()
        .says("own/2.broken.xml");
    let check = place.run(&["rules", "check", "own"]).status(2);
    check
        .says("see the errors above")
        .prints("did you mean `ip.src`?")
        .prints("3 files, 1 property, 3 errors");
    let json = ["rules", "check", "own", "--format", "json"];
    let json = place.run(&json).status(2).says("see the errors above");
    let json: serde_json::Value = serde_json::from_str(&json.out).unwrap();
    assert_eq!((&json["files"], &json["errors"]), (&3.into(), &3.into()));
    assert_eq!(json["findings"][0]["file"], "own/2.broken.xml");
    assert_eq!(json["findings"][0]["help"], "did you mean `ip.src`?");
    place.run(&["rules", "check", "own/1.get.xml"]).done();
    std::fs::create_dir(place.path("empty")).unwrap();
    let none = ["rules", "check", "empty", "--format", "json"];
    place
        .run(&none)
        .status(2)
        .says("no rule file found in empty");
    place
        .run(&["rules", "list", "own/1.get.xml"])
        .done()
        .prints("rule 1");
    place
        .run(&["rules", "show", "1", "--rules", "own/1.get.xml"])
        .done()
        .prints("http.method");
}

#[test]
fn attributes_are_extracted_as_csv_and_json() {
    let place = Place::new();
    let fields = "meta.packet_index,http.uri,http.user_agent";
    let csv = place
        .run(&["extract", "web.pcap", "--fields", fields])
        .done()
        .says_nothing();
    let lines: Vec<&str> = csv.out.lines().collect();
    assert_eq!(lines.len(), 9, "{csv:#?}");
    assert_eq!(lines[0], fields);
    assert_eq!(lines[1], "1,,");
    assert_eq!(
        lines[4],
        "4,\"/index.html?a=1,2\",\"a \"\"quoted\"\" agent\""
    );
    let json = [
        "extract",
        "web.pcap",
        "--fields",
        "http.uri,ip.src",
        "--format",
        "json",
    ];
    let json = place.run(&json).done();
    let objects: Vec<serde_json::Value> = json
        .out
        .lines()
        .map(|line| serde_json::from_str(line).unwrap())
        .collect();
    assert_eq!(objects.len(), 8);
    assert_eq!(objects[3]["http.uri"], "/index.html?a=1,2");
    assert_eq!(objects[3]["ip.src"], "10.0.0.1");
    assert_eq!(objects[4].get("http.uri"), None);
    let wrong = ["extract", "web.pcap", "--fields", "ip.src,tcp.dst_port"];
    place
        .run(&wrong)
        .status(2)
        .says("unknown attribute 'tcp.dst_port'; did you mean `tcp.dest_port`");
}

#[test]
fn protocols_are_listed_as_table_and_json() {
    let place = Place::new();
    place
        .run(&["protocols"])
        .done()
        .prints(" 354  tcp ")
        .says_nothing();
    place
        .run(&["protocols", "tcp"])
        .done()
        .prints("tcp.dest_port")
        .prints("U16");
    let all = place.run(&["protocols", "--format", "json"]).done().out;
    let all: serde_json::Value = serde_json::from_str(&all).unwrap();
    let tcp = all
        .as_array()
        .unwrap()
        .iter()
        .find(|protocol| protocol["name"] == "tcp")
        .unwrap();
    let one = place
        .run(&["protocols", "tcp", "--format", "json"])
        .done()
        .out;
    assert_eq!(
        *tcp,
        serde_json::from_str::<serde_json::Value>(&one).unwrap()
    );
    assert!(tcp["attributes"].as_array().unwrap().len() > 10);
    place
        .run(&["protocols", "tpc"])
        .status(2)
        .says("unknown protocol 'tpc'; did you mean `tcp`");
    let nothing = place.run(&["protocols", "quantum-entanglement"]).status(2);
    assert_eq!(
        nothing.err,
        "wirelynx: unknown protocol 'quantum-entanglement'\n"
    );
}

#[test]
fn a_reader_that_goes_away_ends_the_program_quietly() {
    let place = Place::new();
    let one = capture();
    // Enough for the pipe to be full long before the end.
    let mut many = one[..24].to_vec();
    (0..20_000).for_each(|_| many.extend(&one[24..]));
    place.write("many.pcap", &many);
    let long = ["extract", "many.pcap", "--fields", "ip.src,ip.dst"];
    let mut child = program(place.0.path(), &long)
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    drop(child.stdout.take());
    let output = child.wait_with_output().unwrap();
    assert_eq!(String::from_utf8(output.stderr).unwrap(), "");
    assert_eq!(output.status.code(), Some(1));
}

#[test]
#[cfg(not(feature = "dpdk"))]
fn a_program_without_live_capture_says_so() {
    let run = ["run", "-X", "capture.ports=[\"net_null0\"]"];
    Place::new().run(&run).status(2).says("feature 'dpdk'");
}
