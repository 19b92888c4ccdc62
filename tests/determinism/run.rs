//! The same frames and rules through one worker, and through many threads.

use std::io::Write;
use std::sync::{Arc, Mutex};
use wirelynx::capture::Burst;
use wirelynx::control::pipeline::{Inline, Outcome, Pipeline, Shape};
use wirelynx::limits::BURST_MAX;
use wirelynx::metrics::Counters;
use wirelynx::output::alert::Format;
use wirelynx::output::limit::{Limit, Limiter};
use wirelynx::output::writer::{Sinks, Target};
use wirelynx::packet::{Frame, LinkType, Timestamp};
use wirelynx::rules::RuleSet;
use wirelynx::worker::Settings;

/// Numbers of workers, and of security workers.
pub(crate) const WORKERS: [usize; 5] = [1, 2, 3, 4, 8];
pub(crate) const SECURITY_WORKERS: [usize; 5] = [0, 1, 2, 3, 5];

/// All combinations but one inline worker, which all are compared with.
pub(crate) fn combinations() -> Vec<(usize, usize)> {
    let pairs = WORKERS.iter().flat_map(|workers| {
        let all = SECURITY_WORKERS.iter();
        all.map(move |security| (*workers, *security))
    });
    pairs.filter(|pair| *pair != (1, 0)).collect()
}

/// Frames in memory.
#[derive(Default, Clone)]
pub(crate) struct Trace {
    bytes: Vec<u8>,
    entries: Vec<(usize, Frame<'static>)>,
}

impl Trace {
    pub(crate) fn push(&mut self, frame: &Frame<'_>) {
        self.bytes.extend_from_slice(frame.data);
        let bare = Frame {
            data: &[],
            ..*frame
        };
        self.entries.push((self.bytes.len(), bare));
    }

    /// An Ethernet frame at a time in nanoseconds.
    pub(crate) fn add(&mut self, time: u64, data: &[u8]) {
        self.push(&Frame {
            data,
            wire_length: u32::try_from(data.len()).unwrap(),
            timestamp: Timestamp::from_nanos(time),
            link: LinkType::ETHERNET,
            port: 0,
            queue: 0,
            ..Frame::EMPTY
        });
    }

    pub(crate) fn len(&self) -> usize {
        self.entries.len()
    }

    /// All frames but one.
    pub(crate) fn without(&self, place: usize) -> Self {
        let mut fewer = Self::default();
        let kept = self
            .frames()
            .enumerate()
            .filter(|(number, _)| *number != place);
        kept.for_each(|(_, frame)| fewer.push(&frame));
        fewer
    }

    /// Change the times, in nanoseconds, frame by frame.
    pub(crate) fn retime(&mut self, mut time: impl FnMut(usize, u64) -> u64) {
        for (number, (_, frame)) in self.entries.iter_mut().enumerate() {
            let new = time(number, frame.timestamp.nanos());
            frame.timestamp = Timestamp::from_nanos(new);
        }
    }

    pub(crate) fn frames(&self) -> impl Iterator<Item = Frame<'_>> {
        let mut start = 0;
        self.entries.iter().map(move |(end, frame)| {
            let data = &self.bytes[start..*end];
            start = *end;
            Frame { data, ..*frame }
        })
    }

    /// All frames, in bursts.
    fn each_burst(&self, take: &mut dyn FnMut(Burst<'_>) -> bool) {
        let mut frames = self.frames();
        loop {
            let burst: Burst<'_> = frames.by_ref().take(BURST_MAX).collect();
            if burst.is_empty() {
                return;
            }
            assert!(take(burst), "a writer has gone");
        }
    }
}

/// What runs: how rules are made, which are made anew for each run as some remember their calls.
pub(crate) struct Case<'a> {
    pub(crate) rules: &'a dyn Fn() -> Arc<RuleSet>,
    pub(crate) settings: Settings,
    pub(crate) limit: Option<Limit>,
    /// Alerts and flow records go to one place.
    pub(crate) shared: bool,
}

/// What came out.
pub(crate) struct Output {
    pub(crate) alerts: String,
    pub(crate) flows: String,
    pub(crate) outcome: Outcome,
}

impl Output {
    /// What was given up since a bound was reached: what comes out then is not defined.
    pub(crate) fn given_up(&self) -> u64 {
        let of_worker = |worker: &Counters| {
            let streams = worker.applications;
            worker.flows.table_full + streams.no_block + streams.flows_full
        };
        let of_workers: u64 = self.outcome.workers.iter().map(of_worker).sum();
        of_workers + self.evicted().iter().sum::<u64>()
    }

    /// Instances given up by rule.
    pub(crate) fn evicted(&self) -> Vec<u64> {
        let of_workers = self.outcome.workers.iter().map(|worker| &worker.rules);
        let of_security = self.outcome.security.iter().map(|worker| &worker.rules);
        let mut sums = Vec::new();
        for counters in of_workers.chain(of_security) {
            sums.resize(sums.len().max(counters.evicted.len()), 0);
            let counts = sums.iter_mut().zip(&counters.evicted);
            counts.for_each(|(sum, count)| *sum += count);
        }
        sums
    }
}

/// A file in memory.
#[derive(Default, Clone)]
struct Memory(Arc<Mutex<Vec<u8>>>);

impl Write for Memory {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.0.lock().unwrap().extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

impl Memory {
    fn target(&self) -> Target {
        Target::new(Box::new(self.clone()))
    }

    fn text(&self) -> String {
        String::from_utf8(std::mem::take(&mut *self.0.lock().unwrap())).unwrap()
    }
}

impl Case<'_> {
    fn sinks(&self, rules: &Arc<RuleSet>, alerts: &Memory, flows: &Memory) -> Sinks {
        Sinks {
            alerts: Some(alerts.target()),
            format: Format::Json,
            limiter: self.limit.map(|limit| Limiter::new(limit, 7)),
            flows: Some(if self.shared { alerts } else { flows }.target()),
            shared: self.shared,
            rules: Arc::clone(rules),
        }
    }

    /// All on one worker.
    pub(crate) fn inline(&self, trace: &Trace) -> Output {
        let rules = (self.rules)();
        let [alerts, flows] = [Memory::default(), Memory::default()];
        let sinks = self.sinks(&rules, &alerts, &flows);
        let mut inline = Inline::start(&rules, &self.settings, sinks).unwrap();
        trace.each_burst(&mut |burst| inline.burst(burst));
        let outcome = inline.finish().unwrap();
        Output {
            alerts: alerts.text(),
            flows: flows.text(),
            outcome,
        }
    }

    /// On threads. Secrets are others than those of one worker: nothing may come of them.
    pub(crate) fn spread(&self, trace: &Trace, shape: &Shape) -> Output {
        let rules = (self.rules)();
        let settings = Settings {
            seed: u128::from(shape.delays.unwrap_or(1)).wrapping_mul(0x9e37_79b9_7f4a_7c15),
            ..self.settings.clone()
        };
        let [alerts, flows] = [Memory::default(), Memory::default()];
        let sinks = self.sinks(&rules, &alerts, &flows);
        let mut pipeline = Pipeline::start(&rules, &settings, shape, sinks).unwrap();
        trace.each_burst(&mut |burst| pipeline.burst(&burst));
        let outcome = pipeline.finish().unwrap();
        Output {
            alerts: alerts.text(),
            flows: flows.text(),
            outcome,
        }
    }

    /// Run on these threads, in that order of time; says where it differs from `expected`.
    pub(crate) fn compare(
        &self,
        trace: &Trace,
        shape: &Shape,
        expected: &Output,
    ) -> Result<(), String> {
        let found = self.spread(trace, shape);
        let alerts = difference("alerts", &expected.alerts, &found.alerts);
        let flows = difference("flows", &expected.flows, &found.flows);
        match alerts.or(flows) {
            None => Ok(()),
            Some(text) => Err(format!("{shape:?}\n{text}")),
        }
    }
}

/// A shape with lost time by a seed.
pub(crate) fn shape((workers, security_workers): (usize, usize), seed: u64) -> Shape {
    Shape {
        workers,
        security_workers,
        mask: None,
        delays: Some(seed),
    }
}

/// The first lines that differ.
fn difference(what: &str, expected: &str, found: &str) -> Option<String> {
    if expected == found {
        return None;
    }
    let [mut left, mut right] = [expected.lines(), found.lines()];
    let counts = (expected.lines().count(), found.lines().count());
    let mut number = 1;
    loop {
        let (one, other) = (left.next(), right.next());
        if one != other {
            let (one, other) = (one.unwrap_or("no line"), other.unwrap_or("no line"));
            return Some(format!(
                "{what}, lines {counts:?}, line {number}:\n  one worker: {one}\n  several: {other}"
            ));
        }
        number += 1;
    }
}
