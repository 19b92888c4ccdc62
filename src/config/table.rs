//! The table of all keys: what each means, what it can be, and what a change of it takes.
//!
//! Everything that speaks of keys comes from here: the checks of a configuration, the sample file
//! `docs/wirelynx.toml`, and the schema `docs/config.schema.json`. Defaults come from [`Config`].

use super::Config;
use crate::flow::SHUNT_BYTES_MAX;
use crate::rules::mask::Mask;
use std::net::SocketAddr;
use toml::{Table, Value};

/// The largest number that TOML has.
const ANY: u64 = 9_223_372_036_854_775_807;

/// A year, in seconds: longer than any wait that can be meant.
const YEAR: u64 = 31_536_000;

/// One key.
#[derive(Debug)]
pub struct Key {
    /// With its table: `capture.queues`.
    pub name: &'static str,
    /// What values it has.
    pub kind: Kind,
    /// What it takes until a change counts.
    pub change: Change,
    /// What it is for, in sentences.
    pub help: &'static str,
}

/// What values a key has.
#[derive(Debug, Clone, Copy)]
pub enum Kind {
    /// `true` or `false`.
    Switch,
    /// A whole number.
    Number {
        /// What is counted, in the plural: `seconds`, `bytes`, `queues`.
        unit: &'static str,
        /// Smallest value.
        least: u64,
        /// Largest value.
        most: u64,
        /// Of which the value is a multiple.
        step: u64,
    },
    /// One of these texts.
    Choice(&'static [&'static str]),
    /// Any text; what it names.
    Text(&'static str),
    /// A rules mask, see [`Mask`].
    Mask,
    /// IP address and port.
    Address,
    /// A list of texts; what each names.
    Texts(&'static str),
    /// A list of CPU numbers.
    Cpus,
    /// A list of pairs of ports.
    Pairs,
}

/// What it takes until a change counts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Change {
    /// The next start.
    Restart,
    /// A reload reads the files that the value names again; another value takes a restart.
    Reload,
    /// The file that the value names is read for each request; another value takes a restart.
    Request,
}

impl Change {
    /// As the sample file says it.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Restart => "restart",
            Self::Reload => "restart; reload reads the files again",
            Self::Request => "restart; each request reads the file again",
        }
    }
}

/// Largest number of a CPU, as in the kernel's `CPU_SETSIZE`.
const CPU_MAX: u64 = 1_023;

impl Kind {
    /// What is possible, as an error says it after "expected".
    pub fn expected(self) -> String {
        match self {
            Self::Switch => "true or false".to_owned(),
            Self::Number {
                unit,
                least,
                most,
                step,
            } => {
                let range = match most {
                    ANY => format!("{least} or more {unit}"),
                    _ => format!("{least} to {most} {unit}"),
                };
                match step {
                    1 => range,
                    _ => format!("a multiple of {step}, {range}"),
                }
            }
            Self::Choice(texts) => {
                let quoted: Vec<String> = texts.iter().map(|text| format!("'{text}'")).collect();
                quoted.join(" or ")
            }
            Self::Text(what) => format!("text: {what}"),
            Self::Mask => "text: groups such as (1:1-4,6)(2:5,7-10), each a thread from 1 and ids \
                           or ranges of ids"
                .to_owned(),
            Self::Address => "text: IP address and port, such as '127.0.0.1:9477'".to_owned(),
            Self::Texts(what) => format!("a list of texts: {what}"),
            Self::Cpus => format!("a list of CPUs, each 0 to {CPU_MAX}"),
            Self::Pairs => "a list of pairs of ports, such as [['a', 'b']]".to_owned(),
        }
    }

    /// Is this value possible?
    pub fn allows(self, value: &Value) -> bool {
        let number = |value: &Value| value.as_integer().and_then(|n| u64::try_from(n).ok());
        let all = |value: &Value, of: &dyn Fn(&Value) -> bool| {
            value.as_array().is_some_and(|values| values.iter().all(of))
        };
        match self {
            Self::Switch => value.is_bool(),
            Self::Number {
                least, most, step, ..
            } => {
                number(value).is_some_and(|n| (least..=most).contains(&n) && n.is_multiple_of(step))
            }
            Self::Choice(texts) => value.as_str().is_some_and(|text| texts.contains(&text)),
            Self::Text(_) => value.is_str(),
            Self::Mask => value
                .as_str()
                .is_some_and(|text| text.trim().is_empty() || text.parse::<Mask>().is_ok()),
            Self::Address => value
                .as_str()
                .is_some_and(|text| text.parse::<SocketAddr>().is_ok()),
            Self::Texts(_) => all(value, &Value::is_str),
            Self::Cpus => all(value, &|value| number(value).is_some_and(|n| n <= CPU_MAX)),
            Self::Pairs => all(value, &|pair| {
                all(pair, &Value::is_str) && pair.as_array().is_some_and(|pair| pair.len() == 2)
            }),
        }
    }

    /// Is a value written as text, so that one without quotes can be taken as it is?
    pub fn is_text(self) -> bool {
        matches!(
            self,
            Self::Choice(_) | Self::Text(_) | Self::Mask | Self::Address
        )
    }

    /// As a part of a JSON Schema.
    pub fn schema(self) -> serde_json::Value {
        use serde_json::json;
        match self {
            Self::Switch => json!({"type": "boolean"}),
            Self::Number {
                unit,
                least,
                most,
                step,
            } => {
                let mut schema = json!({"type": "integer", "minimum": least, "maximum": most,
                                        "x-unit": unit});
                if step > 1 {
                    schema["multipleOf"] = json!(step);
                }
                schema
            }
            Self::Choice(texts) => json!({"type": "string", "enum": texts}),
            Self::Text(_) => json!({"type": "string"}),
            Self::Mask => json!({"type": "string", "pattern": r"^\s*(\([0-9]+:[0-9,\- ]+\)\s*)*$"}),
            Self::Address => {
                json!({"type": "string", "pattern": r"^(\[[0-9a-fA-F:.%]+\]|[0-9.]+):[0-9]+$"})
            }
            Self::Texts(_) => json!({"type": "array", "items": {"type": "string"}}),
            Self::Cpus => json!({"type": "array", "items":
                {"type": "integer", "minimum": 0, "maximum": CPU_MAX}}),
            Self::Pairs => json!({"type": "array", "items":
                {"type": "array", "items": {"type": "string"}, "minItems": 2, "maxItems": 2}}),
        }
    }
}

/// The key of this name.
pub fn find(name: &str) -> Option<&'static Key> {
    KEYS.iter().find(|key| key.name == name)
}

/// The default of a key.
pub fn default_of(name: &str) -> Option<Value> {
    let (section, key) = name.split_once('.')?;
    let defaults = Table::try_from(Config::default()).ok()?;
    defaults.get(section)?.get(key).cloned()
}

/// The tables, in the order of the sample file, with what is said above each.
pub const SECTIONS: [(&str, &str); 11] = [
    ("capture", "Where packets come from: live ports."),
    ("workers", "How many threads inspect packets, and where."),
    (
        "security",
        "Where rules run whose events are on several workers.",
    ),
    ("idle", "What a worker does while no packet arrives."),
    ("rules", "What is looked for."),
    ("output", "Where events go."),
    ("alerts", "How many alerts of one rule and key go out."),
    ("metrics", "Where numbers go."),
    ("control", "How a run is told what to do."),
    (
        "flows",
        "The flow table of each worker, and when a flow ends: seconds without a packet, by protocol \
         and state.",
    ),
    ("limits", "Other bounds. What does not fit is counted."),
];

const fn count(unit: &'static str, least: u64, most: u64) -> Kind {
    Kind::Number {
        unit,
        least,
        most,
        step: 1,
    }
}

const fn key(name: &'static str, kind: Kind, help: &'static str) -> Key {
    Key {
        name,
        kind,
        change: Change::Restart,
        help,
    }
}

const fn time_out(name: &'static str, help: &'static str) -> Key {
    key(name, count("seconds", 1, YEAR), help)
}

/// Every key, in the order of the sample file.
pub const KEYS: &[Key] = &[
    key(
        "capture.eal",
        Kind::Texts("arguments for EAL"),
        "Arguments for DPDK's EAL. Empty: chosen from the ports and the machine (allow-list, memory, \
         core).",
    ),
    key(
        "capture.ports",
        Kind::Texts("PCI addresses or virtual devices"),
        "Ports: PCI addresses (\"0000:3b:00.0\") or virtual devices (\"net_af_packet0,iface=eth1\"). \
         `wirelynx run` needs at least one.",
    ),
    key(
        "capture.queues",
        count("queues", 0, 64),
        "Receive queues of each port; more than a port has is an error. 0: as many as there are \
         workers, at most what the port has.",
    ),
    key(
        "capture.tap_pairs",
        Kind::Pairs,
        "Ports that carry one direction of the same link each, as a tap gives it: \
         [[\"0000:3b:00.0\", \"0000:3b:00.1\"]]. Their packets are put in order of time. A port is \
         in one pair only.",
    ),
    key(
        "capture.descriptors",
        Kind::Number {
            unit: "descriptors",
            least: 64,
            most: 8_192,
            step: 32,
        },
        "Receive descriptors of each queue; a port that has fewer gives what it has.",
    ),
    key(
        "capture.promiscuous",
        Kind::Switch,
        "Receive frames for other stations too: yes for a mirror port or a tap.",
    ),
    key(
        "capture.link_wait_seconds",
        count("seconds", 0, 3_600),
        "How long to wait for the links of all ports at start (an X710 can take 9). Then it starts \
         anyway.",
    ),
    key(
        "capture.idle_exit_seconds",
        count("seconds", 0, YEAR),
        "Time without a packet after which the run ends; 0: never.",
    ),
    key(
        "capture.packets_max",
        count("packets", 0, ANY),
        "Packets after which the run ends; 0: never.",
    ),
    key(
        "workers.count",
        count("workers", 0, 64),
        "Workers; each receives and inspects on a CPU of its own. 0: one for each physical core on \
         the node of the ports, after those for the security workers and one for everything else; \
         one worker when there are fewer than four CPUs. Never more than a port has queues.",
    ),
    key(
        "workers.cpus",
        Kind::Cpus,
        "CPUs of the workers and then of the security workers, as in [2, 3, 4]. Empty: chosen, on \
         the node of the ports, physical cores first.",
    ),
    key(
        "security.workers",
        count("workers", 0, 64),
        "Security workers: they verify the rules whose events arrive at several workers. 0: as many \
         as suit the cores, and none beside a single worker, which verifies all rules itself.",
    ),
    key(
        "security.rules_mask",
        Kind::Mask,
        "Rules to give to security workers by hand, as MMT's rules-mask: \"(1:1-4,6)(2:5,7-10)\". \
         Only a hint: rules that it does not name run all the same, and no alert depends on it.",
    ),
    key(
        "idle.poll_us",
        count("microseconds", 0, 1_000_000),
        "For so long it looks at its queues again at once: a packet waits less than a microsecond, \
         the CPU is fully used.",
    ),
    key(
        "idle.pause_us",
        count("microseconds", 0, 1_000_000),
        "Then, for so long, it gives the CPU to others between two looks: a packet waits a \
         microsecond more, or as long as another program on this CPU runs.",
    ),
    key(
        "idle.sleep_us",
        count("microseconds", 0, 1_000_000),
        "Then it sleeps for so long between two looks: a packet waits at most that long and some 60 \
         microseconds that the kernel adds; the CPU rests. 0: never sleep. The queue must hold \
         what arrives meanwhile.",
    ),
    Key {
        name: "rules.paths",
        kind: Kind::Texts("files and folders"),
        change: Change::Reload,
        help: "Rule files (XML), and folders of them.",
    },
    key(
        "rules.compat",
        Kind::Choice(&["standard", "mmt"]),
        "\"mmt\" evaluates rules as the published MMT engine does, to the byte.",
    ),
    Key {
        name: "rules.lists",
        kind: Kind::Text("a folder"),
        change: Change::Reload,
        help: "Folder of lists that rules look addresses and names up in; empty: `lists` beside the \
               rule file or above it.",
    },
    key(
        "rules.strict",
        Kind::Switch,
        "Do not start when a rule file has an error. Otherwise the file is skipped, named and \
         counted.",
    ),
    key(
        "output.alerts",
        Kind::Text("a file"),
        "File for alerts; \"-\": standard output; empty: none.",
    ),
    key(
        "output.alert_format",
        Kind::Choice(&["json", "mmt-csv"]),
        "How alerts are written; \"json\" is described by docs/alert.schema.json.",
    ),
    key(
        "output.flows",
        Kind::Text("a file"),
        "File for flow records (JSON, docs/flow.schema.json); \"-\": standard output; empty: none.",
    ),
    key(
        "alerts.limit",
        count("alerts", 0, ANY),
        "Alerts of one rule and key that are written in a period; 0: all. Further ones are counted, \
         and told in one summary at the end of the period. The key is what the rule's events have \
         in common, or addresses.",
    ),
    key(
        "alerts.period_seconds",
        count("seconds", 1, 86_400),
        "The period, in packet time; it begins with the first alert of a key.",
    ),
    key(
        "alerts.keys",
        count("keys", 1, 16_777_216),
        "Keys that are kept apart; with more, the period that ends first is cut.",
    ),
    key(
        "metrics.enabled",
        Kind::Switch,
        "Serve Prometheus metrics over HTTP.",
    ),
    key(
        "metrics.address",
        Kind::Address,
        "Where. Anybody who reaches this address can read them, unless there is a token: keep it on \
         loopback or a management network.",
    ),
    Key {
        name: "metrics.token_file",
        kind: Kind::Text("a file"),
        change: Change::Request,
        help: "File with a token that whoever asks for /metrics has to show, as in \"Authorization: \
               Bearer TOKEN\"; empty: nobody has to. Blanks around it do not count. Only the user \
               that runs the program should be able to read the file.",
    },
    key(
        "control.socket",
        Kind::Text("a path"),
        "Unix socket on which `wirelynx reload` asks for the rules to be read again, as in \
         \"/run/wirelynx.sock\"; empty: none. Its mode is 0600. SIGHUP does the same without it.",
    ),
    key(
        "flows.flows_max",
        count("flows", 1, 2_147_483_646),
        "Flows in the table of one worker. Its memory, some 600 bytes each, is taken at start. \
         Packets of further flows pass untracked and are counted.",
    ),
    key(
        "flows.vlan_in_key",
        Kind::Switch,
        "Are equal five-tuples in different VLANs different flows?",
    ),
    time_out(
        "flows.tcp_half_open_s",
        "TCP, before the handshake is complete.",
    ),
    time_out(
        "flows.tcp_established_s",
        "TCP, once both ends talk, or when the handshake was not seen.",
    ),
    time_out("flows.tcp_closing_s", "TCP, after the first FIN."),
    time_out("flows.tcp_reset_s", "TCP, after a RST."),
    time_out(
        "flows.tcp_closed_s",
        "TCP, after an orderly close of both directions.",
    ),
    time_out("flows.udp_single_s", "UDP, while only one side has sent."),
    time_out("flows.udp_stream_s", "UDP, when both sides have sent."),
    time_out("flows.icmp_s", "ICMP and ICMPv6."),
    time_out("flows.other_s", "Any other IP protocol."),
    key(
        "flows.active_s",
        count("seconds", 0, YEAR),
        "Time after which a flow that still talks ends and goes on as a new one; 0: never.",
    ),
    key(
        "flows.shunt_bytes",
        count("bytes", 0, SHUNT_BYTES_MAX as u64),
        "Bytes of IP packets, both directions, after which applications and rules no longer look at \
         further packets of a flow, which pass and count; 0: never.",
    ),
    key(
        "limits.instances_per_rule",
        count("attempts", 1, 100_000_000),
        "Open attempts to match one rule. When full, the oldest is given up and counted.",
    ),
    key(
        "limits.instances_total",
        count("attempts", 1, 1_000_000_000),
        "Open attempts to match any rule, all together. When full, the oldest is given up and \
         counted.",
    ),
    key(
        "limits.datagrams",
        count("datagrams", 1, 32_768),
        "IP datagrams in reassembly at one time; each takes up to 130 KiB once touched.",
    ),
    key(
        "limits.streams",
        count("flows", 1, 16_777_216),
        "Flows whose bytes are put in order at one time.",
    ),
    key(
        "limits.work_per_packet",
        count("steps", 64, ANY),
        "Work of rules on one packet: events of rules that it is looked at for, and kinds of \
         attempts under way that it is tried against. The rest of the rules do not see a packet \
         that takes more, which is counted (wirelynx_rule_work_exceeded_total). Ordinary packets \
         take some dozen.",
    ),
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_table_has_every_key_of_the_configuration_and_only_those() {
        let defaults = Table::try_from(Config::default()).unwrap();
        let mut fields = Vec::new();
        for (section, keys) in &defaults {
            for key in keys.as_table().unwrap().keys() {
                fields.push(format!("{section}.{key}"));
            }
        }
        let mut known: Vec<String> = KEYS.iter().map(|key| key.name.to_owned()).collect();
        fields.sort();
        known.sort();
        assert_eq!(fields, known);
        let sections: Vec<&str> = SECTIONS.iter().map(|(name, _)| *name).collect();
        let mut order = Vec::new();
        for key in KEYS {
            let (section, _) = key.name.split_once('.').unwrap();
            if order.last() != Some(&section) {
                order.push(section);
            }
        }
        assert_eq!(order, sections, "keys of one table stand together");
    }

    #[test]
    fn every_default_is_possible() {
        for key in KEYS {
            let default = default_of(key.name).unwrap();
            assert!(key.kind.allows(&default), "{}: {default}", key.name);
        }
    }

    #[test]
    fn what_is_possible_ends_where_it_says() {
        for key in KEYS {
            let Kind::Number {
                least, most, step, ..
            } = key.kind
            else {
                continue;
            };
            let allows = |n: i128| {
                let n = i64::try_from(n).ok();
                n.is_some_and(|n| key.kind.allows(&Value::Integer(n)))
            };
            let (least, most, step) = (i128::from(least), i128::from(most), i128::from(step));
            assert!(allows(least) && allows(most), "{}", key.name);
            let near = [least - step, most + step, -1];
            assert!(!near.into_iter().any(allows), "{}", key.name);
            assert_eq!(step > 1, !allows(least + 1), "{}", key.name);
        }
    }

    #[test]
    fn a_value_of_another_kind_is_not_possible() {
        for key in KEYS {
            assert!(!key.kind.allows(&Value::Float(1.5)), "{}", key.name);
            let odd = Value::Array(vec![Value::Float(1.5)]);
            assert!(!key.kind.allows(&odd), "{}", key.name);
        }
        assert!(!Kind::Mask.allows(&Value::String("(1:".to_owned())));
        assert!(!Kind::Address.allows(&Value::String("nowhere".to_owned())));
        let one = Value::Array(vec!["a".into()]);
        assert!(!Kind::Pairs.allows(&Value::Array(vec![one])));
    }
}
