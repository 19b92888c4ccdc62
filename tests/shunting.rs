//! Flows with many bytes, of which applications and rules no longer see the rest.

#![allow(
    clippy::unwrap_used,
    reason = "this file is a test throughout, and may stop at the first surprise"
)]

mod common;
#[path = "../bench/traffic/mod.rs"]
#[allow(dead_code, reason = "scenarios are all that this test generates")]
mod traffic;

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;
use wirelynx::capture::Burst;
use wirelynx::expr::Mode;
use wirelynx::flow::FlowRecord;
use wirelynx::metrics::{Counters, Snapshot};
use wirelynx::output::Event;
use wirelynx::packet::{Frame, LinkType, Timestamp};
use wirelynx::rules::RuleSet;
use wirelynx::rules::load::Loader;
use wirelynx::worker::{Scope, Worker};

/// A large request to one server, a small one to another, and something beside them.
const ELEPHANT: &str = "
host alice ip=10.0.0.10
host bob ip=10.0.0.11
host carol ip=10.0.0.12
http alice bob uri=/large body=200000
http alice carol uri=/small body=300
repeat 3 every=10ms | udp alice carol send=400
";

/// Fires on each packet with payload to port 80.
const RULE: &str = r#"<beginning>
<property value="THEN" delay_units="s" delay_min="0" delay_max="0" property_id="1"
 type_property="EVASION" description="request">
<event value="COMPUTE" event_id="1" description="context"
 boolean_expression="((tcp.dest_port == 80) &amp;&amp; (tcp.payload_len > 0))"/>
<event value="COMPUTE" event_id="2" description="trigger" boolean_expression="(ip.src != ip.dst)"/>
</property></beginning>"#;

fn rules() -> Arc<RuleSet> {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("rule.xml");
    std::fs::write(&path, RULE).unwrap();
    let mut loader = Loader::new(Mode::Standard, &[Path::new("lists").to_owned()]);
    let read = loader.read(&[path.display().to_string()]);
    assert!(read.diagnostics.is_empty(), "{:?}", read.diagnostics);
    let (rules, failed) = RuleSet::new(read.properties, Mode::Standard);
    assert!(failed.is_empty(), "{failed:?}");
    Arc::new(rules)
}

/// A frame of the scenario.
struct Owned {
    data: Vec<u8>,
    timestamp: Timestamp,
}

impl Owned {
    fn view(&self) -> Frame<'_> {
        Frame {
            data: &self.data,
            wire_length: u32::try_from(self.data.len()).unwrap(),
            timestamp: self.timestamp,
            link: LinkType::ETHERNET,
            ..Frame::EMPTY
        }
    }
}

fn elephant() -> Vec<Owned> {
    let frames = traffic::generate(ELEPHANT, 1).unwrap();
    let owned = |frame: Frame<'_>| Owned {
        data: frame.data.to_vec(),
        timestamp: frame.timestamp,
    };
    frames.iter().map(|frame| owned(frame.view())).collect()
}

/// What came out of one worker.
struct Out {
    /// Times of the alerts.
    alerts: Vec<Timestamp>,
    flows: Vec<FlowRecord>,
    counters: Counters,
}

fn run<'a>(frames: impl IntoIterator<Item = &'a Owned>, shunt_bytes: u32, burst: usize) -> Out {
    let mut settings = common::small();
    settings.flows.shunt_bytes = shunt_bytes;
    let mut worker = Worker::new(rules(), &settings, Scope::Rules);
    let (mut alerts, mut flows) = (Vec::new(), Vec::new());
    let mut take = |event: Event| match event {
        Event::Alert(alert) => alerts.push(alert.timestamp),
        Event::Flow(flow) => flows.push(*flow),
    };
    let frames: Vec<&Owned> = frames.into_iter().collect();
    for frames in frames.chunks(burst) {
        let burst: Burst<'_> = frames.iter().map(|frame| frame.view()).collect();
        worker.burst(burst, &mut take);
    }
    worker.finish(&mut take);
    assert_eq!(worker.in_use(), [0; 4]);
    Out {
        alerts,
        flows,
        counters: worker.counters(),
    }
}

/// Records by their ends: bytes and packets of both sides.
fn sizes(flows: &[FlowRecord]) -> BTreeMap<String, [(u64, u64); 2]> {
    let of = |flow: &FlowRecord| {
        let ends = format!("{:?} {:?}", flow.source, flow.destination);
        let sizes = flow.counters.map(|side| (side.packets, side.frame_bytes));
        (ends, sizes)
    };
    flows.iter().map(of).collect()
}

#[test]
fn the_rest_of_an_elephant_passes_and_counts() {
    let frames = elephant();
    let whole = run(&frames, 0, 32);
    let shunted = run(&frames, 20_000, 32);
    assert_eq!(whole.counters.flows.shunted_named().map(|(_, n)| n), [0; 3]);
    assert!(whole.flows.iter().all(|flow| !flow.shunted));
    // 20,000 bytes are 14 packets of the large request; the small one keeps its alert.
    let matches = |out: &Out| out.counters.rules.matches.iter().sum::<u64>();
    assert!(matches(&whole) > matches(&shunted) + 100);
    assert!(shunted.alerts.len() > 1, "{:?}", shunted.alerts);
    assert_eq!(whole.alerts.last(), shunted.alerts.last());

    assert_eq!(sizes(&shunted.flows), sizes(&whole.flows), "full counts");
    let marked: Vec<&FlowRecord> = shunted.flows.iter().filter(|flow| flow.shunted).collect();
    assert_eq!(marked.len(), 1);
    assert_eq!(marked[0].destination.0.to_string(), "10.0.0.11");
    assert_eq!(
        (marked[0].state, marked[0].application.name()),
        ("SF", "http")
    );

    let (counters, all) = (&shunted.counters.flows, marked[0].counters);
    let packets = all.iter().map(|side| side.packets).sum::<u64>();
    let bytes = all.iter().map(|side| side.frame_bytes).sum::<u64>();
    assert_eq!(counters.shunted_flows, 1);
    assert!((packets - 30..packets).contains(&counters.shunted_packets));
    assert!((bytes - 25_000..bytes - 20_000).contains(&counters.shunted_bytes));
    let received = u64::try_from(frames.len()).unwrap();
    assert_eq!(shunted.counters.received, received);
    assert_eq!(shunted.counters.passed, received, "shunted packets pass");
}

#[test]
fn a_limit_that_no_flow_reaches_changes_nothing() {
    let frames = elephant();
    let (off, on) = (run(&frames, 0, 32), run(&frames, 1 << 30, 32));
    assert_eq!(off.alerts, on.alerts);
    assert_eq!(format!("{:?}", off.flows), format!("{:?}", on.flows));
}

/// What is shunted depends on the flow alone: not on bursts, and not on the flows beside it.
#[test]
fn bursts_and_workers_shunt_the_same_packets() {
    let frames = elephant();
    let whole = run(&frames, 20_000, 32);
    for burst in [1, 7] {
        assert_eq!(run(&frames, 20_000, burst).alerts, whole.alerts);
    }
    // As steering would: what has carol's address at either end is the other worker's.
    let carol = [10, 0, 0, 12];
    let is_carols = |frame: &&Owned| frame.view().data.windows(4).any(|bytes| bytes == carol);
    let (first, second): (Vec<&Owned>, Vec<&Owned>) = frames.iter().partition(is_carols);
    let parts = [first, second].map(|frames| run(frames, 20_000, 32));
    let mut alerts = parts
        .iter()
        .flat_map(|part| part.alerts.clone())
        .collect::<Vec<_>>();
    alerts.sort_unstable();
    assert_eq!(alerts, whole.alerts);
    let sum = |of: fn(&Counters) -> u64| parts.iter().map(|part| of(&part.counters)).sum::<u64>();
    let expected = &whole.counters.flows;
    assert_eq!(
        sum(|all| all.flows.shunted_packets),
        expected.shunted_packets
    );
    assert_eq!(sum(|all| all.flows.shunted_bytes), expected.shunted_bytes);
}

#[test]
fn the_elephant_is_the_largest_flow() {
    let frames = elephant();
    let out = run(&frames, 20_000, 32);
    let [large] = out.counters.largest[..] else {
        panic!("{:?}", out.counters.largest);
    };
    assert!(large.shunted && large.ended);
    assert!(large.bytes() > 200_000);
    let snapshot = Snapshot {
        workers: vec![out.counters.clone()],
        ..Snapshot::default()
    };
    let text = wirelynx::metrics::largest_flows(&snapshot);
    assert!(
        text.starts_with("large flow: 10.0.0.10 40001 to 10.0.0.11 80, protocol 6: IP bytes 2")
    );
    assert!(text.ends_with(", shunted\n"), "{text}");
}
