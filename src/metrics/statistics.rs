//! The counters as text for people.

use super::{Counters, Snapshot};
use crate::flow::largest::merged;
use crate::packet::Stop;
use std::fmt::Write;

/// The account first, then what is not zero.
pub fn statistics(snapshot: &Snapshot) -> String {
    let mut text = Text(format!("account: {}\n", snapshot.account()));
    snapshot
        .workers
        .iter()
        .for_each(|worker| text.worker(worker));
    text.rules(snapshot);
    text.outputs(snapshot);
    text.0
}

struct Text(String);

impl Text {
    /// A line of what is not zero; none if all is.
    fn group<N: std::fmt::Display>(&mut self, title: &str, counts: &[(N, u64)]) {
        let some = counts.iter().filter(|(_, count)| *count > 0);
        let some: Vec<String> = some
            .map(|(name, count)| format!("{name} {count}"))
            .collect();
        if !some.is_empty() {
            let _ = writeln!(self.0, "{title}: {}", some.join(", "));
        }
    }

    fn worker(&mut self, worker: &Counters) {
        let names = Stop::ALL.iter().map(|stop| stop.name());
        let stops: Vec<(&str, u64)> = names.zip(worker.stops).skip(1).collect();
        self.group("dissection stopped", &stops);
        self.group("fragments", &worker.fragments.named());
        self.group("packets handed over", &worker.handed_over.named());
        self.group("flows", &[("created", worker.flows.created)]);
        self.group("packets without a flow", &worker.flows.untracked_named());
        self.group("flows ended", &worker.flows.ended_named());
        self.group("only counted", &worker.flows.shunted_named());
        self.group("applications", &worker.applications.named());
        self.group("streams", &worker.reassembly.named());
    }

    fn rules(&mut self, snapshot: &Snapshot) {
        self.group(
            "matches by rule",
            &snapshot.of_places(|rules| &rules.matches),
        );
        self.group("alerts by rule", &snapshot.of_places(|rules| &rules.alerts));
        let exceeded = snapshot.of_places(|rules| &rules.exceeded);
        self.group("packets with too much work by rule", &exceeded);
        let evicted = snapshot.of_places(|rules| &rules.evicted);
        self.group("instances evicted by rule", &evicted);
        let sent = snapshot.of_outboxes(|handed| &handed.sent);
        self.group("matches handed over by rule", &sent);
        let dropped = snapshot.of_outboxes(|handed| &handed.dropped);
        self.group("matches dropped by rule", &dropped);
        self.group("rule files", &[("skipped", snapshot.files_skipped)]);
    }

    fn outputs(&mut self, snapshot: &Snapshot) {
        let dropped = snapshot.events_dropped;
        let dropped = [("alerts", dropped.alerts), ("flows", dropped.flows)];
        self.group("events dropped", &dropped);
        let suppression = &snapshot.suppression;
        let by_rule: Vec<_> = suppression
            .suppressed
            .iter()
            .map(|(id, n)| (*id, *n))
            .collect();
        self.group("alerts suppressed by rule", &by_rule);
        let periods = [
            ("summaries", suppression.summaries),
            ("cut", suppression.cut),
        ];
        self.group("periods of suppressed alerts", &periods);
    }
}

/// The flows with most bytes over all workers, a line each: those that lasted to the end, and those
/// that ended shortly before.
pub fn largest_flows(snapshot: &Snapshot) -> String {
    use std::fmt::Write;
    let mut text = String::new();
    let all = snapshot.workers.iter().flat_map(|worker| &worker.largest);
    for large in merged(all.copied()) {
        let packets = large.packets.iter().sum::<u64>();
        let _ = write!(
            text,
            "large flow: {} {} to {} {}, protocol {}: IP bytes {}, packets {packets}",
            large.source.0,
            large.source.1,
            large.destination.0,
            large.destination.1,
            large.protocol,
            large.bytes(),
        );
        text.push_str(if large.shunted { ", shunted\n" } else { "\n" });
    }
    text
}
