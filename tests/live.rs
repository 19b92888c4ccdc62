//! The program on live ports, from outside: virtual devices that play capture files, and a kernel
//! interface in a network namespace.
#![cfg(feature = "dpdk")]
#![allow(
    clippy::unwrap_used,
    clippy::print_stdout,
    reason = "this file is a test throughout, and may stop at the first surprise"
)]

mod common;
#[path = "common/program.rs"]
mod program;
#[path = "common/rules.rs"]
#[allow(dead_code, reason = "the program loads the rules")]
mod rules;
#[path = "common/veth.rs"]
mod veth;

use program::{PATIENCE, Running, generate, turn, with_settings};
use std::collections::BTreeMap;
use std::fs::File;
use std::io::BufWriter;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};
use tempfile::TempDir;
use veth::Veth;
use wirelynx::capture::writer::{PcapWriter, Resolution};
use wirelynx::capture::{Burst, Capture, Progress, file};
use wirelynx::packet::{Frame, LinkType, Timestamp};

fn live(settings: &[&str]) -> Command {
    let settings: Vec<String> = settings.iter().map(|one| (*one).to_owned()).collect();
    let program = Command::new(env!("CARGO_BIN_EXE_wirelynx"));
    with_settings(program, &settings)
}

/// Folders of rules, as far as they are there.
fn rule_folders() -> Vec<PathBuf> {
    let Some(captures) = common::captures() else {
        println!("the published rules DID NOT RUN");
        return vec![Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/conformance/rules")];
    };
    rules::folders(&captures).to_vec()
}

/// Make a capture of many copies of generated flows.
fn replicate(packets: u64, folder: &Path) -> PathBuf {
    let made = folder.join("replicated");
    let status = Command::new(env!("CARGO_BIN_EXE_wirelynx-traffic"))
        .args(["replicate", "--flows", "500", "--packets"])
        .arg(packets.to_string())
        .arg("--output")
        .arg(&made)
        .args(["http", "tcp", "dns"].map(|scenario| generate(scenario, folder)))
        .stdout(Stdio::null())
        .status();
    assert!(status.unwrap().success());
    made
}

/// The same packets as a virtual device would give them: it knows whole microseconds, and takes
/// what was captured of a frame for all of it. Returns how many there are.
fn normalize(from: &Path, to: &Path) -> u64 {
    let mut source = file::open(from.to_str().unwrap()).unwrap();
    let output = BufWriter::new(File::create(to).unwrap());
    let mut writer =
        PcapWriter::with_resolution(output, LinkType::ETHERNET, Resolution::Microseconds).unwrap();
    loop {
        let mut burst = Burst::new();
        if source.receive(&mut burst).unwrap() == Progress::End {
            writer.flush().unwrap();
            return writer.frames();
        }
        for frame in burst {
            let wire_length = u32::try_from(frame.data.len()).unwrap();
            let frame = Frame {
                wire_length,
                ..frame
            };
            writer.write(&frame).unwrap();
        }
    }
}

/// UDP datagrams in frames of up to 9,014 bytes, and one larger than any receive buffer.
fn jumbo(to: &Path) {
    let output = BufWriter::new(File::create(to).unwrap());
    let mut writer = PcapWriter::new(output, LinkType::ETHERNET).unwrap();
    for (number, length) in (0_u64..).zip([60, 1_514, 2_048, 2_049, 9_014, 4_000, 65_000]) {
        let mut data = vec![0; length];
        let announced = u16::try_from(length - 14).unwrap();
        data[12..16].copy_from_slice(&[8, 0, 0x45, 0]);
        data[16..18].copy_from_slice(&announced.to_be_bytes());
        data[22..24].copy_from_slice(&[64, 17]);
        data[26..34].copy_from_slice(&[10, 0, 0, 1, 10, 0, 0, 2]);
        data[34..38].copy_from_slice(&[0x13, 0x88, 0x17, 0x70]);
        data[38..40].copy_from_slice(&(announced - 20).to_be_bytes());
        let frame = Frame {
            data: &data,
            wire_length: u32::try_from(length).unwrap(),
            timestamp: Timestamp::from_micros(1_700_000_000_000_000 + number),
            link: LinkType::ETHERNET,
            port: 0,
            queue: 0,
            ..Frame::EMPTY
        };
        writer.write(&frame).unwrap();
    }
    writer.flush().unwrap();
}

/// Generated, published and hand-made captures, all of Ethernet frames.
fn captures(folder: &Path) -> Vec<PathBuf> {
    const GENERATED: [&str; 8] = [
        "http",
        "fragments",
        "tcp",
        "dns",
        "scans",
        "tunnels",
        "malformed",
        "evasion",
    ];
    const PUBLISHED: [&str; 6] = [
        "mmt-dpi/src/examples/google-fr.pcap",
        "ndpi/pcap/WebattackSQLinj.pcap",
        "ndpi/pcap/dns_fragmented.pcap",
        "5greplay/pcap/oai.pcap",
        "pcapplusplus/ExamplesTest/pcap_examples/ip-frag.pcap",
        "zeek/Traces/ftp/cwd-navigation.pcap",
    ];
    let mut all = GENERATED
        .map(|scenario| generate(scenario, folder))
        .to_vec();
    let frames = folder.join("jumbo.made");
    jumbo(&frames);
    all.push(frames);
    if let Some(captures) = common::captures() {
        all.extend(PUBLISHED.map(|name| captures.join(name)));
    }
    all
}

fn sorted(text: &str) -> Vec<&str> {
    let mut lines: Vec<&str> = text.lines().collect();
    lines.sort_unstable();
    lines
}

#[test]
fn a_port_gives_what_a_file_gives() {
    let _turn = turn();
    let place = tempfile::tempdir().unwrap();
    let rules = rule_folders();
    let paths: Vec<String> = rules.iter().map(|rule| format!("{rule:?}")).collect();
    let all = captures(place.path());
    let (mut packets, mut alerts, mut flows) = (0, 0, 0);
    for original in &all {
        let name = original.file_stem().unwrap().to_str().unwrap();
        let folder = place.path().join(name);
        std::fs::create_dir(&folder).unwrap();
        let trace = folder.join("trace.pcap");
        let count = normalize(original, &trace);

        let mut read = Command::new(env!("CARGO_BIN_EXE_wirelynx"));
        read.args([
            "read",
            "trace.pcap",
            "--alerts",
            "a",
            "--flows",
            "f",
            "--stats",
        ]);
        read.args(
            rules
                .iter()
                .flat_map(|rule| ["--rules".as_ref(), rule.as_os_str()]),
        );
        read.arg("--lists").arg(rules::lists());
        let from_file = Running::start(read, &folder).wait().status(0);

        let port = format!("net_pcap0,rx_pcap={}", trace.display());
        let run = live(&[
            &format!("capture.ports=[{port:?}]"),
            "capture.idle_exit_seconds=1",
            &format!("rules.paths=[{}]", paths.join(",")),
            &format!("rules.lists={:?}", rules::lists()),
            "output.alerts=live.a",
            "output.flows=live.f",
            "alerts.limit=0",
        ]);
        let from_port = Running::start(run, &folder).wait().status(0);

        let account = format!("account: received {count} = passed {count} (balances)");
        assert_eq!(from_file.account(), account, "{name}");
        assert_eq!(from_port.account(), account, "{name}");
        let text = |name: &str| std::fs::read_to_string(folder.join(name)).unwrap();
        assert_eq!(text("a"), text("live.a"), "alerts of {name}");
        let (here, there) = (text("f"), text("live.f"));
        assert_eq!(sorted(&here), sorted(&there), "flows of {name}");
        packets += count;
        alerts += text("a").lines().count();
        flows += text("f").lines().count();
    }
    println!(
        "{} captures, {packets} packets: the same {alerts} alerts and {flows} flows",
        all.len()
    );
}

/// What a scrape tells: the number of every metric and label set.
fn samples(text: &str) -> BTreeMap<String, f64> {
    let samples = text.lines().filter(|line| !line.starts_with('#'));
    let parse = |line: &str| {
        let (name, number) = line.rsplit_once(' ').unwrap();
        (name.to_owned(), number.parse::<f64>().unwrap())
    };
    let all: Vec<(String, f64)> = samples.map(parse).collect();
    let unique: BTreeMap<String, f64> = all.iter().cloned().collect();
    assert_eq!(all.len(), unique.len(), "a sample twice in:\n{text}");
    unique
}

/// The rules of promtool's lint, and ours: a prefix, and a help text that says something.
fn lint(text: &str) {
    let mut types: BTreeMap<&str, &str> = BTreeMap::new();
    let mut helps: BTreeMap<&str, &str> = BTreeMap::new();
    for line in text.lines() {
        if let Some((name, kind)) = line
            .strip_prefix("# TYPE ")
            .and_then(|rest| rest.split_once(' '))
        {
            assert_eq!(types.insert(name, kind), None, "{line}");
        } else if let Some((name, help)) = line
            .strip_prefix("# HELP ")
            .and_then(|rest| rest.split_once(' '))
        {
            assert_eq!(helps.insert(name, help), None, "{line}");
            assert!(help.len() > 5, "{line}");
        } else {
            let end = line.find(['{', ' ']).unwrap();
            let parts = ["_bucket", "_sum", "_count"];
            let bare = parts.iter().find_map(|part| line[..end].strip_suffix(part));
            let is_histogram = |name: &&str| types.get(name) == Some(&"histogram");
            let name = bare.filter(is_histogram).unwrap_or(&line[..end]);
            assert!(
                types.contains_key(name) && helps.contains_key(name),
                "{line}"
            );
        }
    }
    assert!(types.len() > 20, "{text}");
    for (name, kind) in types {
        let is_ours = name.starts_with("wirelynx_") || name.starts_with("process_");
        assert!(is_ours, "{name}");
        assert!(
            name.bytes().all(|b| b.is_ascii_lowercase() || b == b'_'),
            "{name}"
        );
        assert_eq!(kind == "counter", name.ends_with("_total"), "{name} {kind}");
        assert!(
            matches!(kind, "counter" | "gauge" | "histogram"),
            "{name} {kind}"
        );
    }
}

/// Community ID and packets by direction of every flow: all that does not depend on time.
fn conversations(flows: &Path) -> Vec<String> {
    let text = std::fs::read_to_string(flows).unwrap();
    let of = |line: &str| {
        let flow: serde_json::Value = serde_json::from_str(line).unwrap();
        let packets = |side: &str| flow["flow"][side]["packets"].as_u64().unwrap();
        let (one, other) = (packets("originator"), packets("responder"));
        format!("{} {one} {other}", flow["community_id"])
    };
    let mut all: Vec<String> = text.lines().map(of).collect();
    all.sort();
    all
}

/// `wirelynx run` on `rx0` of `veth`, with alerts and flows in `folder`, and more settings.
fn on_interface(veth: &Veth, folder: &TempDir, more: &[&str]) -> Running {
    let settings = [
        // The ring takes whatever comes while the machine is busy with something else.
        "capture.ports=[\"net_af_packet0,iface=rx0,framecnt=16384\"]",
        "output.alerts=live.a",
        "output.flows=live.f",
    ];
    let program = veth.receiver(env!("CARGO_BIN_EXE_wirelynx"));
    let settings: Vec<String> = settings
        .iter()
        .chain(more)
        .map(|s| (*s).to_owned())
        .collect();
    Running::start(with_settings(program, &settings), folder.path())
}

/// What is shown at an address in the namespace of `rx0`.
fn scrape(veth: &Veth, address: &str) -> String {
    let mut curl = veth.looking("curl");
    curl.args(["--silent", "--fail", &format!("http://{address}")]);
    let output = curl.output().unwrap();
    assert!(output.status.success(), "{address}");
    String::from_utf8(output.stdout).unwrap()
}

#[test]
fn packets_of_an_interface_are_accounted_for_and_shown() {
    const PACKETS: u64 = 10_000;
    const RATE: u32 = 5_000;
    let _turn = turn();
    let folder = tempfile::tempdir().unwrap();
    let Some(veth) = Veth::new("packets of an interface") else {
        return;
    };
    let trace = folder.path().join("trace.pcap");
    let sent = normalize(&replicate(PACKETS, folder.path()), &trace);
    assert_eq!(sent, PACKETS);
    let mut running = on_interface(&veth, &folder, &[]);
    let address = running.says("metrics on http://");
    veth.replay(&trace, RATE);

    let start = Instant::now();
    let (text, shown) = loop {
        let text = scrape(&veth, &address);
        let shown = samples(&text);
        let received = shown["wirelynx_packets_received_total"];
        if received >= sent as f64 || start.elapsed() > Duration::from_secs(10) {
            break (text, shown);
        }
    };
    lint(&text);
    let sum = |name: &str| -> f64 {
        let is_it = |full: &str| full.split('{').next() == Some(name);
        let named = shown.iter().filter(|(full, _)| is_it(full));
        named.map(|(_, number)| number).sum()
    };
    for name in [
        "wirelynx_packets_received_total",
        "wirelynx_packets_passed_total",
        "wirelynx_port_received_packets_total",
    ] {
        assert_eq!(sum(name), sent as f64, "{name}\n{text}");
    }
    assert_eq!(sum("wirelynx_packets_dropped_total"), 0.0);
    assert_eq!(sum("wirelynx_events_dropped_total"), 0.0);
    let created = sum("wirelynx_flows_created_total");
    let gone = sum("wirelynx_flows_ended_total");
    assert_eq!(sum("wirelynx_flows"), created - gone);

    running.signal("TERM");
    let ended = running.wait().status(0);
    let account = format!("account: received {sent} = passed {sent} (balances)");
    assert_eq!(ended.account(), account);

    let mut read = Command::new(env!("CARGO_BIN_EXE_wirelynx"));
    read.args(["read", "trace.pcap", "--flows", "f"]);
    Running::start(read, folder.path()).wait().status(0);
    let live = conversations(&folder.path().join("live.f"));
    assert_eq!(live, conversations(&folder.path().join("f")));
    assert_eq!(created, live.len() as f64);
    println!("{sent} packets, {} flows", live.len());
}

/// A rule that a SYN and a FIN of one flow meet, however late.
fn handshake(id: u32, seconds: &str) -> String {
    format!(
        r#"<beginning><property value="THEN" delay_units="s" delay_min="0+" delay_max="{seconds}"
         property_id="{id}" type_property="ATTACK" description="begins and ends">
         <event event_id="1" description="SYN" boolean_expression="(tcp.flags == 2)"/>
         <event event_id="2" description="FIN" boolean_expression="((tcp.fin == 1) &amp;&amp;
         ((ip.src == ip.src.1) &amp;&amp; (tcp.src_port == tcp.src_port.1)))"/>
         </property></beginning>"#
    )
}

/// The numbers of rule 1 in lines like `alerts by rule: 1 20, 2 7`.
fn of_rule_1(err: &str) -> Vec<&str> {
    let lines = err.lines().filter(|line| line.contains(" by rule: "));
    let of = |line: &'_ str| line.find(" 1 ").map(|place| place + 3);
    let numbers = lines.filter_map(|line| line[of(line)?..].split(',').next());
    numbers.collect()
}

/// The program's client: how it ended, and what it said.
fn reload(folder: &Path) -> (i32, String, String) {
    let mut command = Command::new(env!("CARGO_BIN_EXE_wirelynx"));
    command.args(["reload", "--socket", "socket"]);
    let output = command.current_dir(folder).output().unwrap();
    let text = |bytes: Vec<u8>| String::from_utf8(bytes).unwrap();
    let code = output.status.code().unwrap();
    (code, text(output.stdout), text(output.stderr))
}

/// An appliance on an interface, of which rules are changed.
struct Appliance<'a> {
    veth: &'a Veth,
    folder: &'a Path,
    running: &'a Running,
    address: String,
}

impl Appliance<'_> {
    fn write(&self, name: &str, rule: &str) {
        std::fs::write(self.folder.join("rules").join(name), rule).unwrap();
    }

    /// What is shown as soon as this metric has this value.
    fn shown(&self, metric: &str, value: f64) -> BTreeMap<String, f64> {
        let start = Instant::now();
        loop {
            let shown = samples(&scrape(self.veth, &self.address));
            if shown[metric] == value {
                return shown;
            }
            assert!(start.elapsed() < PATIENCE, "{metric} is not {value}");
        }
    }

    /// Change the rules beside rule 1 by command and by signal, to good ones and to bad ones.
    fn change_rules(&self) {
        const GENERATION: &str = "wirelynx_rules_generation";
        const MATCHES: &str = "wirelynx_rule_matches_total{rule=\"1\"}";
        self.shown(GENERATION, 1.0);
        self.write("0.xml", &handshake(2, "3600"));
        let (code, out, err) = reload(self.folder);
        assert_eq!(code, 0, "{err}");
        let begin =
            r#"{"result":"success","generation":2,"rules":2,"unchanged":1,"changed":0,"added":1,"#;
        assert!(out.starts_with(begin), "{out}");
        let matches = self.shown(GENERATION, 2.0)[MATCHES];

        self.write("0.xml", &handshake(2, "soon"));
        let (code, out, err) = reload(self.folder);
        assert_eq!((code, err.contains("0.xml:1:")), (1, true), "{out}{err}");
        let why = "rules not reloaded: errors in the rules: 1";
        assert!(err.contains(why), "{err}");
        self.running.signal("HUP");
        let shown = self.shown("wirelynx_rules_reloads_total{result=\"failure\"}", 2.0);
        assert_eq!((shown[GENERATION], shown["wirelynx_rules"]), (2.0, 2.0));

        self.write("0.xml", &handshake(2, "60"));
        self.running.signal("HUP");
        let shown = self.shown(GENERATION, 3.0);
        assert!(shown[MATCHES] >= matches);
        assert!(shown["wirelynx_rules_reload_timestamp_seconds"] > 1_700_000_000.0);
    }
}

#[test]
fn rules_are_reloaded_under_traffic() {
    const PACKETS: u64 = 20_000;
    const RATE: u32 = 3_000;
    let _turn = turn();
    let folder = tempfile::tempdir().unwrap();
    let Some(veth) = Veth::new("reloads under traffic") else {
        return;
    };
    let trace = folder.path().join("trace.pcap");
    let sent = normalize(&replicate(PACKETS, folder.path()), &trace);
    std::fs::create_dir(folder.path().join("rules")).unwrap();
    std::fs::write(folder.path().join("rules/1.xml"), handshake(1, "3600")).unwrap();
    let settings = ["rules.paths=[\"rules\"]", "control.socket=socket"];
    let mut running = on_interface(&veth, &folder, &settings);
    let address = running.says("metrics on http://");
    std::thread::scope(|scope| {
        let appliance = Appliance {
            veth: &veth,
            folder: folder.path(),
            running: &running,
            address,
        };
        // Ports take their time to start, and the traffic must outlast the reloads.
        appliance.shown("wirelynx_rules_generation", 1.0);
        let traffic = scope.spawn(|| veth.replay(&trace, RATE));
        std::thread::sleep(Duration::from_millis(500));
        appliance.change_rules();
        assert!(!traffic.is_finished(), "the traffic was to go on meanwhile");
        traffic.join().unwrap();
    });
    std::thread::sleep(Duration::from_millis(500));
    running.signal("TERM");
    let live = running
        .wait()
        .status(0)
        .says("rules reloaded")
        .says("0.xml:1:");
    assert!(!folder.path().join("socket").exists());
    let account = format!("account: received {sent} = passed {sent} (balances)");
    assert_eq!(live.account(), account);

    let mut read = Command::new(env!("CARGO_BIN_EXE_wirelynx"));
    let outputs = ["--alerts", "a", "--stats"];
    read.args(["read", "trace.pcap", "--rules", "rules/1.xml"])
        .args(outputs);
    let file = Running::start(read, folder.path()).wait().status(0);
    let numbers = of_rule_1(&file.err);
    assert_eq!(numbers.len(), 2, "{}", file.err);
    assert_eq!(of_rule_1(&live.err), numbers);
}

/// A period that has ended is told although no packet comes any more.
#[test]
fn suppressed_alerts_are_told_in_silence() {
    let _turn = turn();
    let folder = tempfile::tempdir().unwrap();
    let Some(veth) = Veth::new("suppressed alerts") else {
        return;
    };
    let trace = folder.path().join("trace.pcap");
    normalize(&generate("scans", folder.path()), &trace);
    let rules = Path::new(env!("CARGO_MANIFEST_DIR")).join("rules/scans");
    let rules = format!("rules.paths=[{:?}]", rules.display().to_string());
    let settings = [rules.as_str(), "alerts.limit=1", "alerts.period_seconds=2"];
    let mut running = on_interface(&veth, &folder, &settings);
    let address = running.says("metrics on http://");
    veth.replay(&trace, 5_000);
    let start = Instant::now();
    let lines = loop {
        let text = std::fs::read_to_string(folder.path().join("live.a")).unwrap();
        if text.contains("\"suppressed\":") {
            break text;
        }
        assert!(start.elapsed() < PATIENCE, "{text}");
        std::thread::sleep(Duration::from_millis(100));
    };
    let shown = samples(&scrape(&veth, &address));
    assert!(shown["wirelynx_alert_summaries_total"] > 0.0);
    let suppressed = |name: &&String| name.starts_with("wirelynx_alerts_suppressed_total");
    let suppressed: f64 = shown
        .keys()
        .filter(suppressed)
        .map(|name| shown[name])
        .sum();
    assert!(suppressed > 0.0, "{lines}");
    running.signal("TERM");
    running.wait().status(0).says("alerts suppressed by rule: ");
}

#[test]
fn either_signal_ends_a_run_with_its_account() {
    let _turn = turn();
    for signal in ["INT", "TERM"] {
        let folder = tempfile::tempdir().unwrap();
        let endless = live(&["capture.ports=[\"net_null0,size=64\"]"]);
        let mut running = Running::start(endless, folder.path());
        running.says("metrics on http://");
        std::thread::sleep(Duration::from_millis(200));
        running.signal(signal);
        let ended = running.wait().status(0);
        let account = ended.account();
        assert!(account.ends_with("(balances)"), "{account}");
        assert!(!account.contains("received 0 "), "{account}");
    }
}

#[test]
fn an_interface_that_goes_away_ends_the_run_with_an_error() {
    let _turn = turn();
    let folder = tempfile::tempdir().unwrap();
    let Some(veth) = Veth::new("an interface that goes away") else {
        return;
    };
    let trace = folder.path().join("trace.pcap");
    let sent = normalize(&generate("dns", folder.path()), &trace);
    let mut running = on_interface(&veth, &folder, &[]);
    running.says("metrics on http://");
    veth.replay(&trace, 2_000);
    std::thread::sleep(Duration::from_millis(500));
    veth.unplug();
    let ended = running.wait().status(1).says("net_af_packet0").says("gone");
    let account = format!("account: received {sent} = passed {sent} (balances)");
    assert_eq!(ended.account(), account);
}

#[test]
fn what_cannot_start_says_why_and_ends() {
    let _turn = turn();
    let folder = tempfile::tempdir().unwrap();
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let taken = format!("metrics.address={}", taken.local_addr().unwrap());
    let null = "capture.ports=[\"net_null0\"]";
    let cases: [(&[&str], &[i32], &str); 10] = [
        (&[], &[2], "capture.ports"),
        (
            &["capture.ports=[\"net_nothing0\"]"],
            &[1, 2],
            "net_nothing0",
        ),
        (
            &["capture.ports=[\"0000:7f:1f.6\"]"],
            &[1, 2],
            "dpdk-devbind.py",
        ),
        (&["capture.ports=[\"eth0\"]"], &[1, 2], "net_af_packet0"),
        (
            &["capture.ports=[\"net_pcap0,rx_pcap=nowhere.pcap\"]"],
            &[1, 2],
            "net_pcap0",
        ),
        (
            &["capture.ports=[\"net_af_packet0,iface=nowhere0\"]"],
            &[1, 2],
            "net_af_packet0",
        ),
        (&[null, &taken], &[2], "metrics.address"),
        (
            &[null, "control.socket=stdout"],
            &[2],
            "control.socket: stdout: there is a file that is no socket",
        ),
        (
            &[null, "output.alerts=no/where"],
            &[1],
            "output.alerts no/where: there is no folder no",
        ),
        (
            &[null, "rules.paths=[\"nowhere\"]"],
            &[2],
            "rules: nowhere: No such file",
        ),
    ];
    for (settings, statuses, text) in cases {
        let ended = Running::start(live(settings), folder.path()).wait();
        let code = ended.status.code().unwrap_or(-1);
        assert!(
            statuses.contains(&code),
            "{settings:?}: {code}: {}",
            ended.err
        );
        let last = ended
            .err
            .lines()
            .rfind(|line| line.starts_with("wirelynx: "));
        let last = last.unwrap_or_else(|| panic!("{settings:?}: no message: {}", ended.err));
        assert!(last.contains(text), "{settings:?}: {last}");
    }
}
