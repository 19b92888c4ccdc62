//! Configuration: a TOML file and `-X key=value` to one checked [`Config`].
//!
//! It rejects and never repairs: an unknown key is an error that names the nearest known one, a
//! value out of range is an error that gives the range. The sample file `docs/wirelynx.toml`
//! documents every key, and a test keeps it complete.

use crate::flow;
use crate::output::limit::{KEYS_MAX, Limit};
use crate::rules::joins::WORK_MAX;
use crate::rules::mask::Mask;
use crate::worker::idle;
use serde::{Deserialize, Serialize};
use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;
use toml::{Table, Value};

/// Everything that can be set.
#[derive(Debug, Default, Clone, Serialize, Deserialize)]
#[serde(default)]
pub struct Config {
    /// File that it was read from; none where there was none.
    #[serde(skip)]
    pub file: Option<PathBuf>,
    /// Where packets come from.
    pub capture: Capture,
    /// What is looked for.
    pub rules: Rules,
    /// Where events go.
    pub output: Output,
    /// How many alerts go out.
    pub alerts: Alerts,
    /// Where numbers go.
    pub metrics: Metrics,
    /// How a run is told what to do.
    pub control: Control,
    /// Flow table.
    pub flows: flow::Settings,
    /// Other bounds.
    pub limits: Limits,
    /// How many workers there are, and where.
    pub workers: Workers,
    /// Where rules run whose events are on several workers.
    pub security: Security,
    /// What a worker does while nothing arrives.
    pub idle: idle::Settings,
}

/// `[capture]`: live ports.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(default)]
pub struct Capture {
    /// Arguments for DPDK's EAL; empty chooses them from the ports and the machine.
    pub eal: Vec<String>,
    /// Ports: PCI addresses or virtual devices.
    pub ports: Vec<String>,
    /// Receive queues of each port; 0 for as many as there are workers.
    pub queues: u16,
    /// Two ports each that carry one direction of the same link.
    pub tap_pairs: Vec<[String; 2]>,
    /// Receive descriptors of each queue.
    pub descriptors: u16,
    /// Receive frames for other addresses too.
    pub promiscuous: bool,
    /// Seconds to wait for the link of a port.
    pub link_wait_seconds: u64,
    /// Seconds without a packet after which the run ends; 0 for never.
    pub idle_exit_seconds: u64,
    /// Packets after which the run ends; 0 for never.
    pub packets_max: u64,
}

impl Default for Capture {
    fn default() -> Self {
        Self {
            eal: Vec::new(),
            ports: Vec::new(),
            queues: 0,
            tap_pairs: Vec::new(),
            descriptors: 4096,
            promiscuous: true,
            link_wait_seconds: 10,
            idle_exit_seconds: 0,
            packets_max: 0,
        }
    }
}

impl Capture {
    /// The tap pairs by index in `ports`. A port may be named without its arguments.
    ///
    /// # Errors
    /// A port is not configured, in two pairs, or paired with itself.
    pub fn pairs(&self) -> Result<Vec<[usize; 2]>, Error> {
        let refused = |name: &str, expected| Error::Value {
            key: "capture.tap_pairs",
            value: format!("'{name}'"),
            expected,
        };
        let mut used = Vec::new();
        let mut find = |name: &String| {
            let is_it = |port: &String| port == name || port.split(',').next() == Some(name);
            let found = self.ports.iter().position(is_it);
            let index = found.ok_or_else(|| refused(name, "a port of capture.ports"))?;
            if used.contains(&index) {
                return Err(refused(name, "another port: this one is in a pair already"));
            }
            used.push(index);
            Ok(index)
        };
        let pairs = self.tap_pairs.iter();
        pairs.map(|[a, b]| Ok([find(a)?, find(b)?])).collect()
    }
}

/// `[workers]`
#[derive(Debug, Default, Clone, Serialize, Deserialize)]
#[serde(default)]
pub struct Workers {
    /// Workers; 0 for one to each physical core that is left for them.
    pub count: usize,
    /// CPUs of workers and security workers, in this order; empty to have them chosen.
    pub cpus: Vec<usize>,
}

/// `[rules]`
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(default)]
pub struct Rules {
    /// Rule files, and folders of them.
    pub paths: Vec<String>,
    /// `standard`, or `mmt` for the published engine to the byte.
    pub compat: String,
    /// Folder of lists that rules look addresses and names up in; empty: `lists` beside the rules.
    pub lists: String,
    /// Do not start when any rule file has an error.
    pub strict: bool,
}

impl Default for Rules {
    fn default() -> Self {
        Self {
            paths: Vec::new(),
            compat: "standard".to_owned(),
            lists: String::new(),
            strict: false,
        }
    }
}

/// `[output]`
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(default)]
pub struct Output {
    /// File for alerts; `-` for standard output, empty for none.
    pub alerts: String,
    /// `json` or `mmt-csv`.
    pub alert_format: String,
    /// File for flow records; `-` for standard output, empty for none.
    pub flows: String,
}

impl Default for Output {
    fn default() -> Self {
        Self {
            alerts: "-".to_owned(),
            alert_format: "json".to_owned(),
            flows: String::new(),
        }
    }
}

/// `[alerts]`: limits on those of one rule and key.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(default)]
pub struct Alerts {
    /// Alerts that go out in a period; 0 for all.
    pub limit: u64,
    /// The period, in seconds of packet time.
    pub period_seconds: u64,
    /// Keys at one time.
    pub keys: usize,
}

impl Default for Alerts {
    fn default() -> Self {
        Self {
            limit: 10,
            period_seconds: 60,
            keys: KEYS_MAX,
        }
    }
}

impl Alerts {
    /// The limit, if there is one.
    pub fn limit(&self) -> Option<Limit> {
        let limit = Limit {
            alerts: self.limit,
            period: Duration::from_secs(self.period_seconds),
            keys_max: self.keys,
        };
        Some(limit).filter(|limit| limit.alerts > 0)
    }
}

/// `[metrics]`
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(default)]
pub struct Metrics {
    /// Serve them at all.
    pub enabled: bool,
    /// Address and port of the HTTP listener.
    pub address: SocketAddr,
}

impl Default for Metrics {
    fn default() -> Self {
        Self {
            enabled: true,
            address: SocketAddr::from(([127, 0, 0, 1], 9_477)),
        }
    }
}

/// `[control]`
#[derive(Debug, Default, Clone, Serialize, Deserialize)]
#[serde(default)]
pub struct Control {
    /// Unix socket that takes commands; empty for none.
    pub socket: String,
}

/// `[limits]`
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(default)]
pub struct Limits {
    /// Instances of one rule.
    pub instances_per_rule: usize,
    /// Instances of all rules together.
    pub instances_total: usize,
    /// Datagrams in reassembly at one time.
    pub datagrams: u16,
    /// Streams with reassembly at one time.
    pub streams: u32,
    /// Work of rules on one packet.
    pub work_per_packet: u64,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            instances_per_rule: 100_000,
            instances_total: 1_000_000,
            datagrams: 1_024,
            streams: 65_536,
            work_per_packet: WORK_MAX,
        }
    }
}

/// Why a configuration is refused.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The file cannot be read.
    #[error("{}: {source}", path.display())]
    Read {
        /// Which file.
        path: PathBuf,
        /// What the system said.
        source: std::io::Error,
    },
    /// Not TOML, or a value of another type.
    #[error("{origin}: {message}")]
    Syntax {
        /// File or flag.
        origin: String,
        /// What the parser said, with the place.
        message: String,
    },
    /// No such key.
    #[error("{origin}: unknown key '{key}'{}", nearest.as_deref().map_or_else(String::new, |near| format!("; did you mean '{near}'?")))]
    UnknownKey {
        /// File or flag.
        origin: String,
        /// The key, with its table.
        key: String,
        /// The known key most like it.
        nearest: Option<String>,
    },
    /// A value that makes no sense.
    #[error("{key}: {value} is not possible; expected {expected}")]
    Value {
        /// The key, with its table.
        key: &'static str,
        /// What was given.
        value: String,
        /// What is possible.
        expected: &'static str,
    },
}

/// `[security]`
#[derive(Debug, Default, Clone, Serialize, Deserialize)]
#[serde(default)]
pub struct Security {
    /// Security workers; 0 for as many as suit the cores, and none beside a single worker.
    pub workers: usize,
    /// Rules given to security workers by hand, such as `(1:1-4,6)(2:5)`; empty for none.
    pub rules_mask: String,
}

impl Security {
    /// The mask, if there is one.
    ///
    /// # Errors
    /// It is none; the text says what is expected.
    pub fn mask(&self) -> Result<Option<Mask>, String> {
        let mask = (!self.rules_mask.trim().is_empty()).then(|| self.rules_mask.parse());
        mask.transpose()
            .map_err(|error: String| format!("security.rules_mask: {error}"))
    }
}

impl Config {
    /// From a file, if one is given, with `key=value` settings over it.
    ///
    /// # Errors
    /// See [`Error`].
    pub fn load(path: Option<&std::path::Path>, settings: &[String]) -> Result<Self, Error> {
        let mut table = Table::new();
        let mut origin = "configuration".to_owned();
        if let Some(path) = path {
            let text = std::fs::read_to_string(path).map_err(|source| Error::Read {
                path: path.to_owned(),
                source,
            })?;
            origin = path.display().to_string();
            table = text
                .parse()
                .map_err(|error: toml::de::Error| Error::Syntax {
                    origin: origin.clone(),
                    message: error.to_string(),
                })?;
            check_keys(&table, &origin)?;
        }
        for setting in settings {
            apply(&mut table, setting)?;
        }
        let mut config: Self =
            Value::Table(table)
                .try_into()
                .map_err(|error: toml::de::Error| Error::Syntax {
                    origin,
                    message: error.to_string(),
                })?;
        config.check()?;
        config.file = path.map(PathBuf::from);
        Ok(config)
    }

    /// What receives and how.
    fn check_capture(&self) -> Result<(), Error> {
        let capture = &self.capture;
        require(
            capture.queues <= 64,
            "capture.queues",
            capture.queues.to_string(),
            "0 (as many as there are workers) to 64",
        )?;
        capture.pairs()?;
        let descriptors =
            (64..=8192).contains(&capture.descriptors) && capture.descriptors.is_multiple_of(32);
        require(
            descriptors,
            "capture.descriptors",
            capture.descriptors.to_string(),
            "a multiple of 32 from 64 to 8192",
        )?;
        let workers = self.workers.count;
        require(
            workers <= 64,
            "workers.count",
            workers.to_string(),
            "0 (as many as there are cores) to 64",
        )?;
        let security = self.security.workers;
        require(
            security <= 64,
            "security.workers",
            security.to_string(),
            "0 (as many as suit the cores) to 64",
        )?;
        let mask = &self.security.rules_mask;
        require(
            self.security.mask().is_ok(),
            "security.rules_mask",
            format!("'{mask}'"),
            "groups such as (1:1-4,6)(2:5,7-10): a thread from 1, and ids or ranges of ids",
        )?;
        for (key, micros) in [
            ("idle.poll_us", self.idle.poll_us),
            ("idle.pause_us", self.idle.pause_us),
            ("idle.sleep_us", self.idle.sleep_us),
        ] {
            let expected = "0 to 1,000,000 microseconds";
            require(micros <= 1_000_000, key, micros.to_string(), expected)?;
        }
        Ok(())
    }

    fn check(&self) -> Result<(), Error> {
        self.check_capture()?;
        let compat = self.rules.compat.as_str();
        require(
            matches!(compat, "standard" | "mmt"),
            "rules.compat",
            format!("'{compat}'"),
            "'standard' or 'mmt'",
        )?;
        let format = &self.output.alert_format;
        require(
            format.parse::<crate::output::alert::Format>().is_ok(),
            "output.alert_format",
            format!("'{format}'"),
            "'json' or 'mmt-csv'",
        )?;
        let period = self.alerts.period_seconds;
        require(
            (1..=86_400).contains(&period),
            "alerts.period_seconds",
            period.to_string(),
            "1 to 86,400",
        )?;
        let keys = self.alerts.keys;
        require(
            (1..=16_777_216).contains(&keys),
            "alerts.keys",
            keys.to_string(),
            "1 to 16,777,216",
        )?;
        let shunt_bytes = self.flows.shunt_bytes;
        require(
            shunt_bytes <= flow::SHUNT_BYTES_MAX,
            "flows.shunt_bytes",
            shunt_bytes.to_string(),
            "0 to 2,147,483,648",
        )?;
        let work = self.limits.work_per_packet;
        require(
            work >= 64,
            "limits.work_per_packet",
            work.to_string(),
            "64 or more",
        )?;
        let instances = self.limits.instances_per_rule;
        require(
            (1..=100_000_000).contains(&instances),
            "limits.instances_per_rule",
            instances.to_string(),
            "1 to 100,000,000",
        )
    }
}

/// Refuse a value unless the condition holds.
fn require(
    holds: bool,
    key: &'static str,
    value: String,
    expected: &'static str,
) -> Result<(), Error> {
    if holds {
        return Ok(());
    }
    Err(Error::Value {
        key,
        value,
        expected,
    })
}

/// `table.key=value` over what is there. A value that is no TOML is taken as text.
fn apply(table: &mut Table, setting: &str) -> Result<(), Error> {
    let origin = format!("-X {setting}");
    let Some((key, value)) = setting.split_once('=') else {
        let message = "expected key=value".to_owned();
        return Err(Error::Syntax { origin, message });
    };
    let parsed: Option<Value> = format!("v = {value}")
        .parse::<Table>()
        .ok()
        .and_then(|mut table| table.remove("v"));
    let mut nested = parsed.unwrap_or_else(|| Value::String(value.to_owned()));
    for part in key.trim().rsplit('.') {
        nested = Value::Table(Table::from_iter([(part.to_owned(), nested)]));
    }
    if let Value::Table(nested) = nested {
        check_keys(&nested, &origin)?;
        merge(table, nested);
    }
    Ok(())
}

fn merge(table: &mut Table, over: Table) {
    for (key, value) in over {
        match (table.get_mut(&key), value) {
            (Some(Value::Table(inner)), Value::Table(over)) => merge(inner, over),
            (_, value) => {
                table.insert(key, value);
            }
        }
    }
}

/// Refuse keys that [`Config`] does not have.
fn check_keys(table: &Table, origin: &str) -> Result<(), Error> {
    let known = keys();
    for key in flatten(table, "") {
        if !known.contains(&key) {
            let nearest = crate::expr::names::nearest(&key, known.iter().map(String::as_str));
            let nearest = nearest.first().map(|near| (*near).to_owned());
            return Err(Error::UnknownKey {
                origin: origin.to_owned(),
                key,
                nearest,
            });
        }
    }
    Ok(())
}

/// Every key, as `table.key`.
pub fn keys() -> Vec<String> {
    let all = Table::try_from(Config::default()).unwrap_or_default();
    flatten(&all, "")
}

fn flatten(table: &Table, prefix: &str) -> Vec<String> {
    let mut keys = Vec::new();
    for (key, value) in table {
        let path = format!("{prefix}{key}");
        match value {
            Value::Table(inner) => keys.extend(flatten(inner, &format!("{path}."))),
            _ => keys.push(path),
        }
    }
    keys
}

#[cfg(test)]
mod tests {
    use super::*;

    fn set(setting: &str) -> Result<Config, Error> {
        Config::load(None, &[setting.to_owned()])
    }

    #[test]
    fn the_sample_file_has_every_key_and_only_those() {
        let path = concat!(env!("CARGO_MANIFEST_DIR"), "/docs/wirelynx.toml");
        let text = std::fs::read_to_string(path).unwrap();
        let mut found = flatten(&text.parse().unwrap(), "");
        let mut known = keys();
        found.sort();
        known.sort();
        assert_eq!(found, known);
        let defaults = Table::try_from(Config::default()).unwrap();
        assert_eq!(
            text.parse::<Table>().unwrap(),
            defaults,
            "the sample shows the defaults"
        );
    }

    #[test]
    fn an_unknown_key_names_the_nearest_known_one() {
        let error = set("capture.queue=3").unwrap_err().to_string();
        assert_eq!(
            error,
            "-X capture.queue=3: unknown key 'capture.queue'; did you mean 'capture.queues'?"
        );
        assert!(
            set("nonsense")
                .unwrap_err()
                .to_string()
                .contains("expected key=value")
        );
    }

    #[test]
    fn tap_pairs_name_ports_once() {
        let pairs = |text: &str| {
            let ports = r#"capture.ports=["a:00.0", "net_pcap0,rx_pcap=x", "c"]"#;
            let pairs = format!("capture.tap_pairs={text}");
            let config = Config::load(None, &[ports.to_owned(), pairs])?;
            config.capture.pairs()
        };
        assert_eq!(pairs(r#"[["c", "net_pcap0"]]"#).unwrap(), [[2, 1]]);
        assert_eq!(
            pairs(r#"[["net_pcap0,rx_pcap=x", "a:00.0"]]"#).unwrap(),
            [[1, 0]]
        );
        let refusal = |text| pairs(text).unwrap_err().to_string();
        assert_eq!(
            refusal(r#"[["c", "d"]]"#),
            "capture.tap_pairs: 'd' is not possible; expected a port of capture.ports"
        );
        let twice = "capture.tap_pairs: 'c' is not possible; expected another port: this one is \
                     in a pair already";
        assert_eq!(refusal(r#"[["c", "c"]]"#), twice);
        assert_eq!(refusal(r#"[["c", "a:00.0"], ["net_pcap0", "c"]]"#), twice);
        assert!(
            refusal(r#"[["a:00.0"]]"#).contains("array"),
            "two ports each"
        );
    }

    #[test]
    fn values_are_checked() {
        assert_eq!(set("capture.queues=4").unwrap().capture.queues, 4);
        assert_eq!(set("output.alerts=/tmp/a").unwrap().output.alerts, "/tmp/a");
        let error = set("capture.queues=65").unwrap_err().to_string();
        assert_eq!(
            error,
            "capture.queues: 65 is not possible; expected 0 (as many as there are workers) to 64"
        );
        assert!(set("capture.queues=many").is_err());
        assert_eq!(set("workers.cpus=[2,3]").unwrap().workers.cpus, [2, 3]);
        assert_eq!(set("idle.sleep_us=0").unwrap().idle.sleep_us, 0);
        let error = set("idle.sleep_us=2000000").unwrap_err().to_string();
        assert!(error.starts_with("idle.sleep_us: 2000000 "), "{error}");
        let error = set("workers.count=65").unwrap_err().to_string();
        assert!(error.contains("expected 0 (as many as"), "{error}");
        assert!(set("metrics.address=nowhere").is_err());
    }
}
