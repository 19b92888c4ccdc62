//! What is wrong with values that are possible each for itself: with one another, or with the files
//! that they name.

use super::Config;
use super::finding::{Finding, Place};
use crate::metrics::token::Token;
use std::path::Path;

/// Looks at a configuration; the finding stands where the value was set.
pub(super) struct Check<'a> {
    pub(super) config: &'a Config,
    pub(super) place: &'a dyn Fn(&str) -> Place,
    pub(super) findings: Vec<Finding>,
}

impl Check<'_> {
    /// Look at everything.
    pub(super) fn all(&mut self) {
        self.ports();
        self.crew();
        self.rules();
        self.output();
        self.metrics();
        let limits = &self.config.limits;
        if limits.instances_per_rule > limits.instances_total {
            self.warn(
                "limits.instances_per_rule",
                format!(
                    "{} is more than limits.instances_total ({}), which one rule reaches first",
                    limits.instances_per_rule, limits.instances_total
                ),
            );
        }
    }

    fn error(&mut self, key: &str, message: &str) {
        let message = format!("{key}: {message}");
        let finding = Finding::error((self.place)(key), key, message);
        self.findings.push(finding);
    }

    fn warn(&mut self, key: &str, message: impl AsRef<str>) {
        let message = format!("{key}: {}", message.as_ref());
        let finding = Finding::warning((self.place)(key), key, message);
        self.findings.push(finding);
    }

    fn ports(&mut self) {
        let capture = &self.config.capture;
        if capture.ports.is_empty() {
            let text = "there is no port, and `wirelynx run` needs one: name its PCI address, \
                        which `dpdk-devbind.py --status-dev net` lists";
            self.warn("capture.ports", text);
        }
        let mut named = Vec::new();
        for port in &capture.ports {
            let name = port.split(',').next().unwrap_or(port);
            if named.contains(&name) {
                self.error("capture.ports", &format!("'{name}' is named twice"));
            }
            named.push(name);
        }
        if let Err(message) = capture.pairs() {
            self.error("capture.tap_pairs", &message);
        }
    }

    /// Workers, their queues and their CPUs.
    fn crew(&mut self) {
        let workers = self.config.workers.count;
        let security = self.config.security.workers;
        let queues = usize::from(self.config.capture.queues);
        if queues > 0 && workers > queues {
            self.warn(
                "workers.count",
                format!(
                    "{workers} workers for {queues} queues of each port (capture.queues): only \
                     {queues} of them run"
                ),
            );
        }
        let cpus = &self.config.workers.cpus;
        let mut seen = Vec::new();
        for cpu in cpus {
            if seen.contains(cpu) {
                self.error("workers.cpus", &format!("CPU {cpu} is named twice"));
            }
            seen.push(*cpu);
        }
        if !cpus.is_empty() && workers > 0 && cpus.len() < workers + security {
            self.warn(
                "workers.cpus",
                format!(
                    "{} CPUs for {workers} workers and {security} security workers \
                     (workers.count, security.workers): `wirelynx run` refuses more threads than \
                     CPUs that are named",
                    cpus.len()
                ),
            );
        }
        if !self.config.security.rules_mask.trim().is_empty() && workers == 1 && security == 0 {
            let text = "a single worker verifies all rules itself: the mask means nothing until \
                        security.workers is set";
            self.warn("security.rules_mask", text);
        }
    }

    fn rules(&mut self) {
        let rules = &self.config.rules;
        if rules.paths.is_empty() {
            self.warn("rules.paths", "no rules: there will be no alerts");
        }
        for path in &rules.paths {
            if let Err(error) = std::fs::metadata(path) {
                self.warn("rules.paths", format!("{path}: {error}"));
            }
        }
        let lists = &rules.lists;
        if !lists.is_empty() && !Path::new(lists).is_dir() {
            self.warn("rules.lists", format!("{lists}: there is no such folder"));
        }
    }

    fn output(&mut self) {
        let output = &self.config.output;
        let devices =
            ["", "-"].contains(&output.alerts.as_str()) || output.alerts.starts_with("/dev/");
        if output.alerts == output.flows && !devices {
            let text = format!(
                "{}: alerts and flow records need a file each (output.alerts)",
                output.flows
            );
            self.error("output.flows", &text);
        }
        let both = [
            ("output.alerts", output.alerts.clone()),
            ("output.flows", output.flows.clone()),
        ];
        for (key, file) in both {
            let folder = Path::new(&file).parent().unwrap_or_else(|| Path::new(""));
            if !file.is_empty() && !folder.as_os_str().is_empty() && !folder.is_dir() {
                let folder = folder.display();
                self.warn(
                    key,
                    format!("there is no folder {folder}: mkdir -p {folder}"),
                );
            }
        }
        if output.alerts.is_empty() && output.alert_format != "json" {
            let text = "no alerts are written (output.alerts is empty), in whatever format";
            self.warn("output.alert_format", text);
        }
    }

    fn metrics(&mut self) {
        let metrics = &self.config.metrics;
        let file = &metrics.token_file;
        if !metrics.enabled {
            if !file.is_empty() {
                let text = "metrics are not served (metrics.enabled): the token means nothing";
                self.warn("metrics.token_file", text);
            }
            return;
        }
        if file.is_empty() {
            if !metrics.address.ip().is_loopback() {
                let text = format!(
                    "anybody who reaches {} can read the metrics: set metrics.token_file, or listen \
                     on 127.0.0.1",
                    metrics.address
                );
                self.warn("metrics.address", text);
            }
            return;
        }
        match Token::open(Path::new(file)) {
            Ok(token) if token.is_readable_by_all() => {
                let text = format!("{file} can be read by every user: chmod o-rwx {file}");
                self.warn("metrics.token_file", text);
            }
            Ok(_) => {}
            Err(message) => self.error("metrics.token_file", &message),
        }
    }
}
