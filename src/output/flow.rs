//! Flow records as JSON, one object a line. `docs/flow.schema.json` describes it.

use super::time::Iso8601;
use crate::dissect::application::detect::Application;
use crate::flow::{Counters, FlowRecord, TcpCounters, TcpRecord, community_id};
use crate::packet::{Direction, Facts, Timestamp};
use std::io::{self, Write};

/// Append `record` and a line feed to `out`. `seed` is that of the Community ID, the same in all
/// programs whose records are to be joined; by default 0.
///
/// # Errors
/// Those of `out`.
pub fn write_json(out: &mut impl Write, record: &FlowRecord, seed: u16) -> io::Result<()> {
    let (source, destination) = (record.source, record.destination);
    out.write_all(b"{\"timestamp\":")?;
    time(out, record.end)?;
    write!(
        out,
        ",\"event_type\":\"flow\",\"flow_id\":{},\"community_id\":\"{}\"",
        record.id,
        community_id(source, destination, record.protocol, seed),
    )?;
    write!(
        out,
        ",\"src_ip\":\"{}\",\"src_port\":{},\"dest_ip\":\"{}\",\"dest_port\":{}",
        source.0, source.1, destination.0, destination.1,
    )?;
    match protocol_name(record.protocol) {
        Some(name) => write!(out, ",\"proto\":\"{name}\"")?,
        None => write!(out, ",\"proto\":\"{}\"", record.protocol)?,
    }
    write!(out, ",\"ip_proto\":{}", record.protocol)?;
    if record.vlan != Facts::NO_VLAN {
        write!(out, ",\"vlan\":{}", record.vlan)?;
    }
    if record.application != Application::Unknown {
        write!(out, ",\"app_proto\":\"{}\"", record.application.name())?;
    }
    flow(out, record)?;
    if let Some(tcp) = &record.tcp {
        self::tcp(out, record, tcp)?;
    }
    out.write_all(b"}\n")
}

fn flow(out: &mut impl Write, record: &FlowRecord) -> io::Result<()> {
    out.write_all(b",\"flow\":{\"start\":")?;
    time(out, record.start)?;
    out.write_all(b",\"end\":")?;
    time(out, record.end)?;
    let micros = record.duration_nanos() / 1_000;
    write!(
        out,
        ",\"duration\":{}.{:06},\"state\":\"{}\",\"reason\":\"{}\"",
        micros / 1_000_000,
        micros % 1_000_000,
        record.state,
        record.reason.name(),
    )?;
    // Bounded, and nothing but letters and a circumflex.
    write!(out, ",\"history\":\"{}\"", record.history)?;
    if record.shunted {
        out.write_all(b",\"shunted\":true")?;
    }
    for side in [Direction::Originator, Direction::Responder] {
        direction(out, name(side), &record.counters[side.index()])?;
    }
    out.write_all(b"}")
}

fn direction(out: &mut impl Write, name: &str, counters: &Counters) -> io::Result<()> {
    write!(
        out,
        ",\"{name}\":{{\"packets\":{},\"bytes\":{},\"ip_bytes\":{},\"payload_bytes\":{}",
        counters.packets, counters.frame_bytes, counters.ip_bytes, counters.payload_bytes,
    )?;
    if counters.packets != 0 {
        out.write_all(b",\"first\":")?;
        time(out, counters.first)?;
        out.write_all(b",\"last\":")?;
        time(out, counters.last)?;
        write!(
            out,
            ",\"ttl_min\":{},\"ttl_max\":{}",
            counters.ttl_min, counters.ttl_max
        )?;
    }
    out.write_all(b"}")
}

fn tcp(out: &mut impl Write, record: &FlowRecord, tcp: &TcpRecord) -> io::Result<()> {
    out.write_all(b",\"tcp\":{")?;
    let mut separator = "";
    for (name, micros) in [
        ("server_rtt_us", tcp.server_rtt_us),
        ("client_rtt_us", tcp.client_rtt_us),
    ] {
        if micros != 0 {
            write!(out, "{separator}\"{name}\":{micros}")?;
            separator = ",";
        }
    }
    for side in [Direction::Originator, Direction::Responder] {
        let index = side.index();
        write!(out, "{separator}\"{}\":{{", name(side))?;
        tcp_direction(out, record.counters[index].tcp_flags, &tcp.counters[index])?;
        separator = ",";
    }
    out.write_all(b"}")
}

fn tcp_direction(out: &mut impl Write, flags: u8, counters: &TcpCounters) -> io::Result<()> {
    write!(
        out,
        "\"flags\":\"{flags:02x}\",\"retransmissions\":{},\"out_of_order\":{},\
         \"missed_bytes\":{},\"zero_windows\":{}",
        counters.retransmissions,
        counters.out_of_order,
        counters.missed_bytes,
        counters.zero_windows,
    )?;
    if let Some(mean) = counters.round_trips.mean_us() {
        let min = counters.round_trips.min_us;
        write!(out, ",\"rtt_min_us\":{min},\"rtt_mean_us\":{mean}")?;
    }
    out.write_all(b"}")
}

fn time(out: &mut impl Write, time: Timestamp) -> io::Result<()> {
    write!(out, "\"{}\"", Iso8601(time))
}

const fn name(side: Direction) -> &'static str {
    match side {
        Direction::Originator => "originator",
        Direction::Responder => "responder",
    }
}

/// Name of an IP protocol as IANA writes it; `None` for those that are not common.
pub(crate) const fn protocol_name(number: u8) -> Option<&'static str> {
    Some(match number {
        1 => "ICMP",
        2 => "IGMP",
        4 => "IPv4",
        6 => "TCP",
        17 => "UDP",
        41 => "IPv6",
        47 => "GRE",
        50 => "ESP",
        51 => "AH",
        58 => "IPv6-ICMP",
        89 => "OSPFIGP",
        103 => "PIM",
        112 => "VRRP",
        132 => "SCTP",
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::super::testing::check;
    use super::*;
    use crate::dissect::application::stream::ApplicationState;
    use crate::flow::EndReason;
    use serde_json::Value;

    const SCHEMA: &str = include_str!("../../docs/flow.schema.json");

    fn record(protocol: u8) -> FlowRecord {
        let counters = Counters {
            packets: 3,
            frame_bytes: 222,
            ip_bytes: 180,
            payload_bytes: 60,
            first: Timestamp::from_micros(1_000_000),
            last: Timestamp::from_micros(3_500_001),
            ttl_min: 63,
            ttl_max: 64,
            tcp_flags: 0x1b,
        };
        FlowRecord {
            ended: crate::ring::Position::default(),
            id: 7,
            source: ("10.0.0.1".parse().unwrap(), 1_000),
            destination: ("10.0.0.2".parse().unwrap(), 80),
            protocol,
            vlan: 12,
            start: counters.first,
            end: counters.last,
            reason: EndReason::Closed,
            state: "SF",
            history: "ShADadFf".parse().unwrap(),
            shunted: false,
            counters: [counters, Counters::default()],
            tcp: (protocol == 6).then(|| TcpRecord {
                server_rtt_us: 10,
                client_rtt_us: 0,
                counters: [TcpCounters::default(); 2],
            }),
            application: Application::Http,
            application_slot: ApplicationState::NO_SLOT,
        }
    }

    fn json(record: &FlowRecord) -> Value {
        let mut out = Vec::new();
        write_json(&mut out, record, 0).unwrap();
        assert_eq!(out.last(), Some(&b'\n'));
        serde_json::from_slice(&out).unwrap()
    }

    #[test]
    fn records_fit_the_schema() {
        let schema: Value = serde_json::from_str(SCHEMA).unwrap();
        for protocol in [1, 6, 17, 253] {
            check(&json(&record(protocol)), &schema, &schema, "record");
        }
        let mut bare = record(6);
        bare.vlan = Facts::NO_VLAN;
        bare.shunted = true;
        bare.source.0 = "2001:db8::1".parse().unwrap();
        bare.tcp.as_mut().unwrap().counters[0].round_trips.samples = 1;
        check(&json(&bare), &schema, &schema, "record");
    }

    #[test]
    fn the_schema_names_every_reason_to_end() {
        let schema: Value = serde_json::from_str(SCHEMA).unwrap();
        let described = &schema["properties"]["flow"]["properties"]["reason"]["enum"];
        let names: Vec<Value> = EndReason::ALL
            .iter()
            .map(|reason| Value::from(reason.name()))
            .collect();
        assert_eq!(described.as_array(), Some(&names));
    }

    #[test]
    fn times_and_numbers() {
        let json = json(&record(6));
        assert_eq!(json["timestamp"], "1970-01-01T00:00:03.500001Z");
        assert_eq!(json["flow"]["duration"], 2.500_001);
        assert_eq!(json["flow"]["originator"]["bytes"], 222);
        assert_eq!(json["tcp"]["originator"]["flags"], "1b");
        assert_eq!(json["tcp"]["server_rtt_us"], 10);
        assert!(json["tcp"].get("client_rtt_us").is_none());
        assert!(json["flow"].get("shunted").is_none());
        let mut shunted = record(6);
        shunted.shunted = true;
        assert_eq!(self::json(&shunted)["flow"]["shunted"], true);
        assert_eq!(self::json(&record(253))["proto"], "253");
    }
}
