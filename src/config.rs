//! Configuration: files, the environment and `-X key=value` to one checked [`Config`].
//!
//! It rejects and never repairs: an unknown key is an error that names the nearest known one, a
//! value out of range is an error that gives the range, and all errors are said at once. What keys
//! there are, and what values they have, is in one table ([`table::KEYS`]), from which the sample
//! file `docs/wirelynx.toml` and the schema `docs/config.schema.json` are made.

pub mod finding;
mod layers;
pub mod print;
pub mod table;
mod together;

use crate::flow;
use crate::output::limit::{KEYS_MAX, Limit};
use crate::rules::joins::WORK_MAX;
use crate::rules::mask::Mask;
use crate::worker::idle;
use finding::{Finding, Place};
use layers::Layers;
use serde::{Deserialize, Serialize};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;
use toml::Value;

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
    pub fn pairs(&self) -> Result<Vec<[usize; 2]>, String> {
        let refused =
            |name: &str, expected| format!("'{name}' is not possible; expected {expected}");
        let mut used = Vec::new();
        let mut find = |name: &String| {
            let is_it = |port: &String| port == name || port.split(',').next() == Some(name);
            let found = self.ports.iter().position(is_it);
            let index = found.ok_or_else(|| refused(name, "a port of capture.ports"))?;
            if used.contains(&index) {
                let expected = "another port: this one is in a pair already";
                return Err(refused(name, expected));
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
    /// Folder of lists that rules look things up in; empty: `lists` beside the rules or above.
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
    /// File with a token that requests for metrics have to show; empty: they need none.
    pub token_file: String,
}

impl Default for Metrics {
    fn default() -> Self {
        Self {
            enabled: true,
            address: SocketAddr::from(([127, 0, 0, 1], 9_477)),
            token_file: String::new(),
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

/// Why a configuration is refused: its errors, one a line.
#[derive(Debug)]
pub struct Error(Vec<Finding>);

impl std::error::Error for Error {}

impl std::fmt::Display for Error {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let lines: Vec<String> = self.0.iter().map(ToString::to_string).collect();
        f.write_str(&lines.join("\n"))
    }
}

/// A configuration as it was found, right or wrong.
#[derive(Debug)]
pub struct Found {
    /// What is set; of keys with an error, the default.
    pub config: Config,
    /// Errors and warnings, by layer and line; then those of values that do not go together.
    pub findings: Vec<Finding>,
    layers: Layers,
}

impl Found {
    /// Read a file if one is given, the files `conf.d/*.toml` beside it in the order of their
    /// names, the environment (`WIRELYNX_TABLE__KEY`), and `key=value` settings. Later ones win.
    pub fn new(path: Option<&Path>, settings: &[String]) -> Self {
        let utf8 = |(name, value): (std::ffi::OsString, std::ffi::OsString)| {
            // A key and a value that are no text are none of ours.
            Some((name.into_string().ok()?, value.into_string().ok()?))
        };
        Self::with(path, std::env::vars_os().filter_map(utf8), settings)
    }

    fn with(
        path: Option<&Path>,
        variables: impl IntoIterator<Item = (String, String)>,
        settings: &[String],
    ) -> Self {
        let mut layers = Layers::default();
        layers.files(path);
        layers.environment(variables);
        for setting in settings {
            layers.setting(setting);
        }
        let mut findings = std::mem::take(&mut layers.findings);
        let mut config = match Value::Table(layers.merged()).try_into() {
            Ok(config) => config,
            Err(error) => {
                let message = error.to_string();
                findings.push(Finding::error(Place::Default, "", message));
                Config::default()
            }
        };
        config.file = path.map(PathBuf::from);
        let mut check = together::Check {
            config: &config,
            place: &|key| layers.place(key),
            findings,
        };
        check.all();
        Self {
            findings: check.findings,
            config,
            layers,
        }
    }

    /// Where the value of a key comes from.
    pub fn place(&self, key: &str) -> Place {
        self.layers.place(key)
    }

    /// How many errors there are.
    pub fn errors(&self) -> usize {
        self.findings.iter().filter(|f| f.is_error()).count()
    }

    /// What does not keep it from being used.
    pub fn warnings(&self) -> impl Iterator<Item = &Finding> {
        self.findings.iter().filter(|finding| !finding.is_error())
    }

    /// The configuration, if it can be used.
    ///
    /// # Errors
    /// All that is wrong with it.
    pub fn into_config(self) -> Result<Config, Error> {
        if self.errors() == 0 {
            return Ok(self.config);
        }
        let errors = self.findings.into_iter().filter(Finding::is_error);
        Err(Error(errors.collect()))
    }
}

impl Config {
    /// From files, the environment and settings, as [`Found::new`] reads them.
    ///
    /// # Errors
    /// All that is wrong with them.
    pub fn load(path: Option<&Path>, settings: &[String]) -> Result<Self, Error> {
        Found::new(path, settings).into_config()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::diagnostic::Severity;

    fn load(settings: &[&str]) -> Found {
        let settings: Vec<String> = settings.iter().map(|s| (*s).to_owned()).collect();
        Found::with(None, [], &settings)
    }

    fn set(setting: &str) -> Result<Config, Error> {
        load(&[setting]).into_config()
    }

    /// Keys of the warnings, once each.
    fn warned(settings: &[&str]) -> Vec<String> {
        let found = load(settings);
        assert_eq!(found.errors(), 0, "{:?}", found.findings);
        let mut keys: Vec<String> = found.warnings().map(|f| f.key.clone()).collect();
        keys.dedup();
        keys
    }

    #[test]
    fn tap_pairs_name_ports_once() {
        let pairs = |text: &str| {
            let ports = r#"capture.ports=["a:00.0", "net_pcap0,rx_pcap=x", "c"]"#;
            let pairs = format!("capture.tap_pairs={text}");
            let config = load(&[ports, &pairs]).into_config()?;
            Ok::<_, Error>(config.capture.pairs().unwrap())
        };
        assert_eq!(pairs(r#"[["c", "net_pcap0"]]"#).unwrap(), [[2, 1]]);
        assert_eq!(
            pairs(r#"[["net_pcap0,rx_pcap=x", "a:00.0"]]"#).unwrap(),
            [[1, 0]]
        );
        let refusal = |text| pairs(text).unwrap_err().to_string();
        assert_eq!(
            refusal(r#"[["c", "d"]]"#),
            "-X capture.tap_pairs=[[\"c\", \"d\"]]: error: capture.tap_pairs: 'd' is not possible; \
             expected a port of capture.ports"
        );
        let twice = "'c' is not possible; expected another port: this one is in a pair already";
        assert!(refusal(r#"[["c", "c"]]"#).ends_with(twice));
        assert!(refusal(r#"[["c", "a:00.0"], ["net_pcap0", "c"]]"#).ends_with(twice));
        assert!(
            refusal(r#"[["a:00.0"]]"#).contains("a list of pairs"),
            "two ports each"
        );
    }

    #[test]
    fn values_are_checked() {
        assert_eq!(set("capture.queues=4").unwrap().capture.queues, 4);
        assert_eq!(set("output.alerts=/tmp/a").unwrap().output.alerts, "/tmp/a");
        assert_eq!(set("workers.cpus=[2,3]").unwrap().workers.cpus, [2, 3]);
        assert_eq!(set("idle.sleep_us=0").unwrap().idle.sleep_us, 0);
        let error = set("idle.sleep_us=2000000").unwrap_err().to_string();
        assert!(error.contains(": idle.sleep_us: 2000000 "), "{error}");
        assert!(set("metrics.address=nowhere").is_err());
    }

    #[test]
    fn every_value_of_the_table_fits_its_field() {
        for key in table::KEYS {
            let table::Kind::Number { least, most, .. } = key.kind else {
                continue;
            };
            for value in [least, most] {
                let setting = format!("{}={value}", key.name);
                let found = load(&[&setting]);
                assert_eq!(found.errors(), 0, "{setting}: {:?}", found.findings);
            }
        }
    }

    #[test]
    fn all_errors_are_said_at_once() {
        let error = load(&["capture.queue=3", "workers.count=65", "idle.poll_us=x"]);
        let error = error.into_config().unwrap_err().to_string();
        assert_eq!(error.lines().count(), 3, "{error}");
    }

    #[test]
    fn what_cannot_work_together_is_warned_of() {
        let usual = ["capture.ports", "rules.paths"];
        assert_eq!(warned(&[]), usual);
        let sets: [(&[&str], &str); 9] = [
            (&["workers.count=4", "capture.queues=2"], "workers.count"),
            (
                &[
                    "workers.count=2",
                    "security.workers=1",
                    "workers.cpus=[1,2]",
                ],
                "workers.cpus",
            ),
            (
                &["security.rules_mask=(1:1)", "workers.count=1"],
                "security.rules_mask",
            ),
            (&["rules.paths=['/nowhere']"], "rules.paths"),
            (&["rules.lists=/nowhere"], "rules.lists"),
            (&["output.flows=/nowhere/x"], "output.flows"),
            (
                &["output.alerts=", "output.alert_format=mmt-csv"],
                "output.alert_format",
            ),
            (&["metrics.address=0.0.0.0:1"], "metrics.address"),
            (&["limits.instances_total=5"], "limits.instances_per_rule"),
        ];
        for (settings, key) in sets {
            assert!(warned(settings).contains(&key.to_owned()), "{settings:?}");
            // Half of it alone is no reason to warn.
            if let [one, _] = settings {
                let alone = warned(&[one]);
                assert!(!alone.contains(&key.to_owned()), "{one}");
            }
        }
        let off = ["metrics.enabled=false", "metrics.token_file=/nowhere"];
        assert!(warned(&off).contains(&"metrics.token_file".to_owned()));
        assert!(set("metrics.token_file=/nowhere").is_err());
        assert!(set("output.flows=x").is_ok());
        let one_file = load(&["output.flows=x", "output.alerts=x"]);
        let finding = one_file.findings.iter().find(|f| f.key == "output.flows");
        assert_eq!(finding.unwrap().severity, Severity::Error);
        assert!(set("workers.cpus=[1,1]").is_err());
        assert!(set("capture.ports=['net_pcap0,a','net_pcap0']").is_err());
    }
}
