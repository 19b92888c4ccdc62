//! Metrics as operators use them: a running appliance, scraped by a real Prometheus, with the alert
//! rules and the dashboard that come with the program, and beside `dpdk-telemetry.py`.
#![cfg(feature = "dpdk")]
#![allow(
    clippy::unwrap_used,
    clippy::print_stdout,
    reason = "this file is a test throughout, and may stop at the first surprise"
)]

#[path = "common/program.rs"]
#[allow(dead_code, reason = "numbers tell here what others read in the log")]
mod program;

use program::{PATIENCE, Running, generate, turn, with_settings};
use serde_json::Value;
use std::collections::BTreeSet;
use std::fs;
use std::io::Write;
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

/// What is looked at in range expressions, where the files say minutes or leave it to Grafana.
const RANGE: &str = "20s";

/// Scrapes before expressions are asked: some for each range.
const SCRAPES: f64 = 8.0;

/// Metrics that this appliance has no sample of: what the driver of its device does not tell.
const NOT_HERE: [&str; 1] = ["wirelynx_port_losses_total"];

/// Metrics that are not 0 under this traffic, one of each kind.
const COUNTED: [&str; 11] = [
    "process_cpu_seconds_total",
    "process_resident_memory_bytes",
    "wirelynx_alert_latency_seconds_count",
    "wirelynx_flows",
    "wirelynx_matches_processed_total",
    "wirelynx_memory_limit_bytes",
    "wirelynx_port_buffers",
    "wirelynx_queue_received_packets_total",
    "wirelynx_receive_wait_seconds_count",
    "wirelynx_ring_batches_max",
    "wirelynx_security_worker_busy_seconds_total",
];

fn monitoring() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("monitoring")
}

/// Run a tool that has to be there; what it prints.
fn tool(name: &str, arguments: &[&str], input: &str) -> String {
    let mut child = Command::new(name)
        .args(arguments)
        .current_dir(monitoring())
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap_or_else(|error| panic!("{name}: {error}; scripts/check installs it"));
    let mut pipe = child.stdin.take().unwrap();
    pipe.write_all(input.as_bytes()).unwrap();
    drop(pipe);
    let output = child.wait_with_output().unwrap();
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(
        output.status.success(),
        "{name} {arguments:?}: {text}{errors}"
    );
    text + &errors
}

/// Body of a page, and its status.
fn page(url: &str, query: &[(&str, &str)]) -> (String, u16) {
    let parts: Vec<String> = query
        .iter()
        .map(|(key, value)| format!("{key}={value}"))
        .collect();
    let mut arguments = vec!["--silent", "--show-error", "--max-time", "20", "--get"];
    for part in &parts {
        arguments.extend(["--data-urlencode", part]);
    }
    arguments.extend(["--write-out", "\n%{http_code}", url]);
    let text = tool("curl", &arguments, "");
    let (body, status) = text.rsplit_once('\n').unwrap();
    (body.to_owned(), status.parse().unwrap())
}

/// An appliance with traffic that never ends: two queues that play a capture again and again.
fn appliance(folder: &Path) -> (Running, String) {
    let trace = generate("scans", folder);
    let trace = trace.display();
    let rules = Path::new(env!("CARGO_MANIFEST_DIR")).join("rules");
    let settings = [
        format!("capture.ports=[\"net_pcap0,rx_pcap={trace},rx_pcap={trace},infinite_rx=1\"]"),
        "workers.count=2".to_owned(),
        "output.alerts=alerts".to_owned(),
        // There are hundreds of thousands a second.
        "output.flows=/dev/null".to_owned(),
        format!("rules.paths=[{:?}]", rules.join("scans")),
        format!("rules.lists={:?}", rules.join("lists")),
    ];
    let program = Command::new(env!("CARGO_BIN_EXE_wirelynx"));
    let mut running = Running::start(with_settings(program, &settings), folder);
    let address = running.says("metrics on http://");
    let address = address.strip_suffix("/metrics").unwrap().to_owned();
    (running, address)
}

/// A Prometheus that scrapes it each second and evaluates the alert rules.
fn prometheus(folder: &Path, appliance: &str) -> (Running, String) {
    // It needs to be told a port: one that was free a moment ago.
    let free = TcpListener::bind("127.0.0.1:0")
        .unwrap()
        .local_addr()
        .unwrap();
    let rules = monitoring().join("wirelynx.rules.yml");
    let config = format!(
        "global: {{scrape_interval: 1s, evaluation_interval: 1s}}\n\
         rule_files: [{rules:?}]\n\
         scrape_configs:\n\
         - job_name: wirelynx\n  \
           static_configs: [{{targets: ['{appliance}']}}]\n"
    );
    let file = folder.join("prometheus.yml");
    fs::write(&file, config).unwrap();
    tool("promtool", &["check", "config", file.to_str().unwrap()], "");
    let mut server = Command::new("prometheus");
    server.args(["--config.file=prometheus.yml", "--storage.tsdb.path=data"]);
    server.arg(format!("--web.listen-address={free}"));
    let place = folder.join("prometheus");
    fs::create_dir(&place).unwrap();
    fs::rename(file, place.join("prometheus.yml")).unwrap();
    let mut running = Running::start(server, &place);
    running.says("Server is ready");
    (running, format!("http://{free}"))
}

/// The series that an expression gives.
fn query(server: &str, expression: &str) -> Vec<Value> {
    let (body, status) = page(&format!("{server}/api/v1/query"), &[("query", expression)]);
    let answer: Value = serde_json::from_str(&body).unwrap();
    assert_eq!(status, 200, "{expression}: {}", answer["error"]);
    answer["data"]["result"].as_array().unwrap().clone()
}

/// All expressions of the dashboard, as Grafana would ask them.
fn of_dashboard() -> Vec<String> {
    let text = fs::read_to_string(monitoring().join("wirelynx.dashboard.json")).unwrap();
    let dashboard: Value = serde_json::from_str(&text).unwrap();
    let panels = dashboard["panels"].as_array().unwrap();
    let targets = panels
        .iter()
        .filter_map(|panel| panel["targets"].as_array());
    let all: Vec<String> = targets
        .flatten()
        .map(|target| {
            assert_eq!(target["datasource"]["uid"], "${DS_PROMETHEUS}");
            let expression = target["expr"].as_str().unwrap();
            expression
                .replace("$job", "wirelynx")
                .replace("$instance", ".*")
                .replace("$__rate_interval", RANGE)
                .replace("[1h]", &format!("[{RANGE}]"))
        })
        .collect();
    assert!(all.len() > 50, "{}", all.len());
    assert!(
        all.iter().all(|one| !one.contains('$')),
        "an unknown variable"
    );
    let variables = dashboard["templating"]["list"].as_array().unwrap();
    let names: Vec<&str> = variables
        .iter()
        .map(|v| v["name"].as_str().unwrap())
        .collect();
    assert_eq!(names, ["job", "instance"]);
    all
}

/// Names of metrics in an expression.
fn names(expression: &str) -> impl Iterator<Item = &str> {
    let words = expression.split(|c: char| !c.is_ascii_alphanumeric() && c != '_');
    words.filter(|word| word.starts_with("wirelynx_") || word.starts_with("process_"))
}

/// Wait until this holds.
fn until(what: &str, mut holds: impl FnMut() -> bool) {
    let start = Instant::now();
    while !holds() {
        assert!(start.elapsed() < PATIENCE, "{what}");
        std::thread::sleep(Duration::from_millis(200));
    }
}

/// What the appliance itself shows, without Prometheus.
fn look_at(address: &str) {
    let get = |path: &str| page(&format!("http://{address}{path}"), &[]);
    until("ready", || get("/-/ready") == ("ok\n".to_owned(), 200));
    assert_eq!(get("/-/healthy"), ("ok\n".to_owned(), 200));
    assert!(get("/").0.contains("ready."));
    until("large flows", || {
        let (body, status) = get("/flows/largest");
        let flows: Vec<Value> = serde_json::from_str(&body).unwrap();
        assert!(status == 200 && flows.len() <= 16);
        flows
            .first()
            .is_some_and(|flow| flow["ip_bytes"].as_u64() > Some(65_535))
    });
    let (text, _) = get("/metrics");
    let complaints = tool("promtool", &["check", "metrics"], &text);
    assert_eq!(complaints, "", "promtool check metrics");
    let ports = tool("dpdk-telemetry.py", &[], "/ethdev/list\n");
    assert!(ports.contains("{\"/ethdev/list\": [0]}"), "{ports}");
}

#[test]
fn dashboard_and_alerts_work_with_a_real_prometheus() {
    let _turn = turn();
    let folder = tempfile::tempdir().unwrap();
    let (running, address) = appliance(folder.path());
    look_at(&address);
    let (server, url) = prometheus(folder.path(), &address);
    let url = url.as_str();
    until("scrapes", || {
        let scrapes = query(url, "count_over_time(up{job=\"wirelynx\"}[5m])");
        let count = scrapes
            .first()
            .map(|one| one["value"][1].as_str().unwrap().to_owned());
        count.is_some_and(|count| count.parse::<f64>().unwrap() >= SCRAPES)
    });

    let (body, _) = page(&format!("{url}/api/v1/rules"), &[]);
    let answer: Value = serde_json::from_str(&body).unwrap();
    let groups = answer["data"]["groups"].as_array().unwrap();
    let rules = groups
        .iter()
        .flat_map(|group| group["rules"].as_array().unwrap());
    let mut asked: BTreeSet<String> = BTreeSet::new();
    let mut alerts = 0;
    for rule in rules {
        let expression = rule["query"].as_str().unwrap();
        query(url, expression);
        assert_eq!(
            rule["health"], "ok",
            "{}: {}",
            rule["name"], rule["lastError"]
        );
        asked.extend(names(expression).map(str::to_owned));
        alerts += 1;
    }
    assert!(alerts > 20, "{alerts}");
    let dashboard = of_dashboard();
    for expression in &dashboard {
        let series = query(url, expression);
        let is_here = !names(expression).any(|name| NOT_HERE.contains(&name));
        assert_eq!(is_here, !series.is_empty(), "{expression}");
        asked.extend(names(expression).map(str::to_owned));
    }
    // An alert has no data as long as all is well: what it asks about must have some.
    for name in &asked {
        let series = query(url, name);
        let is_here = !NOT_HERE.contains(&name.as_str());
        assert_eq!(is_here, !series.is_empty(), "{name}");
    }
    for name in COUNTED {
        let series = query(url, &format!("max({name}) > 0"));
        assert!(!series.is_empty(), "{name} is 0");
    }
    println!(
        "{alerts} alerts, {} expressions, {} metrics",
        dashboard.len(),
        asked.len()
    );
    running.signal("TERM");
    let ended = running.wait().status(0);
    assert!(
        ended.account().ends_with("(balances)"),
        "{}",
        ended.account()
    );
    drop(server);
}

#[test]
fn alerts_fire_when_they_should_and_only_then() {
    let said = tool("promtool", &["check", "rules", "wirelynx.rules.yml"], "");
    assert!(said.contains("SUCCESS"), "{said}");
    let said = tool(
        "promtool",
        &["test", "rules", "wirelynx.rules.test.yml"],
        "",
    );
    assert!(said.contains("SUCCESS"), "{said}");
    let read = |name: &str| fs::read_to_string(monitoring().join(name)).unwrap();
    let (rules, tests) = (read("wirelynx.rules.yml"), read("wirelynx.rules.test.yml"));
    for line in rules.lines() {
        if let Some(alert) = line.trim().strip_prefix("- alert: ") {
            assert!(
                tests.contains(&format!("alertname=\"{alert}\"")),
                "{alert} has no test"
            );
        }
    }
}
