//! The largest flows as JSON, for `/flows/largest`: addresses do not belong into labels of metrics.

use super::Snapshot;
use crate::flow::community_id;
use crate::flow::largest::{Large, merged};
use crate::output::flow::protocol_name;
use crate::output::time::Iso8601;
use serde::Serialize;

/// One flow; keys are those of flow records, see `docs/outputs.md`.
#[derive(Debug, Serialize)]
struct Flow {
    flow_id: u64,
    community_id: String,
    src_ip: String,
    src_port: u16,
    dest_ip: String,
    dest_port: u16,
    proto: String,
    ip_proto: u8,
    ip_bytes: u64,
    originator: Side,
    responder: Side,
    /// Time of its last packet.
    last: String,
    ended: bool,
    shunted: bool,
}

#[derive(Debug, Serialize)]
struct Side {
    packets: u64,
    ip_bytes: u64,
}

impl Flow {
    fn new(large: &Large) -> Self {
        let number = large.protocol;
        let proto = protocol_name(number).map_or_else(|| number.to_string(), str::to_owned);
        let [packets, answers] = large.packets;
        let [bytes, answered] = large.ip_bytes;
        let side = |packets, ip_bytes| Side { packets, ip_bytes };
        Self {
            flow_id: large.id,
            community_id: community_id(large.source, large.destination, number, 0).to_string(),
            src_ip: large.source.0.to_string(),
            src_port: large.source.1,
            dest_ip: large.destination.0.to_string(),
            dest_port: large.destination.1,
            proto,
            ip_proto: number,
            ip_bytes: large.bytes(),
            originator: side(packets, bytes),
            responder: side(answers, answered),
            last: Iso8601(large.last).to_string(),
            ended: large.ended,
            shunted: large.shunted,
        }
    }
}

/// The flows with most bytes of all workers, the largest first: those that go on, and those that
/// ended in the last minute. As of the last second.
///
/// # Errors
/// None that is known of: the values are numbers and short texts.
pub fn largest_flows_json(snapshot: &Snapshot) -> Result<String, serde_json::Error> {
    let all = snapshot.workers.iter().flat_map(|worker| &worker.largest);
    let flows: Vec<Flow> = merged(all.copied()).iter().map(Flow::new).collect();
    serde_json::to_string(&flows).map(|text| text + "\n")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::metrics::Counters;
    use crate::packet::Timestamp;

    fn large(id: u64, bytes: u64) -> Large {
        Large {
            id,
            source: ([10, 0, 0, 1].into(), 1_234),
            destination: ([10, 0, 0, 2].into(), 80),
            protocol: 6,
            ip_bytes: [bytes, 1],
            packets: [2, 1],
            last: Timestamp::from_micros(1_000_000),
            ended: false,
            shunted: false,
        }
    }

    #[test]
    fn flows_of_all_workers_are_shown_by_size() {
        let worker = |flows: &[Large]| Counters {
            largest: flows.iter().copied().collect(),
            ..Counters::default()
        };
        let snapshot = Snapshot {
            workers: vec![worker(&[large(1, 70_000)]), worker(&[large(2, 90_000)])],
            ..Snapshot::default()
        };
        let text = largest_flows_json(&snapshot).unwrap();
        let flows: serde_json::Value = serde_json::from_str(&text).unwrap();
        assert_eq!(flows[0]["flow_id"], 2);
        assert_eq!(flows[1]["ip_bytes"], 70_001);
        assert_eq!(flows[1]["src_ip"], "10.0.0.1");
        assert_eq!(flows[1]["proto"], "TCP");
        assert_eq!(flows[1]["originator"]["packets"], 2);
        assert_eq!(largest_flows_json(&Snapshot::default()).unwrap(), "[]\n");
    }
}
