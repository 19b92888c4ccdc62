//! The processor: what it can do, which clock it has, and whether workers have their cores alone.

use super::case::Case;
use super::finding::{Check, Finding};
use super::system::{System, kernel_arguments};
use std::collections::BTreeMap;

/// Instructions.
pub(super) const FLAGS: Check = Check {
    id: "cpu.flags",
    looks_at: "instructions of the processor: SSE4.2, which DPDK is built for, and AVX2",
    why: "without SSE4.2 DPDK does not start; without AVX2 drivers receive by a slower path",
};

/// Time stamp counter.
pub(super) const CLOCK: Check = Check {
    id: "cpu.clock",
    looks_at: "clock source of the kernel, and the time stamp counter",
    why: "packets are stamped by the time stamp counter, which must run evenly",
};

/// The plan of threads.
pub(super) const PLAN: Check = Check {
    id: "cpu.plan",
    looks_at: "which CPU each worker gets",
    why: "a worker that shares its CPU leaves its queues alone meanwhile, and they run over",
};

/// Isolation.
pub(super) const ISOLATION: Check = Check {
    id: "cpu.isolation",
    looks_at: "isolcpus, nohz_full and rcu_nocbs, for the CPUs of workers",
    why: "what the kernel does on the CPU of a worker makes its queues wait, up to milliseconds",
};

/// Frequency.
pub(super) const GOVERNOR: Check = Check {
    id: "cpu.governor",
    looks_at: "frequency governor of the CPUs of workers",
    why: "a CPU that has slowed down while it was quiet is late for the next burst",
};

/// Threads of one core.
pub(super) const SIBLINGS: Check = Check {
    id: "cpu.siblings",
    looks_at: "workers on two threads of one core",
    why: "two threads that poll on one core have half of it each",
};

/// Flags that DPDK 22.11 as Debian builds it (`-march=corei7`) cannot do without.
const NEEDED: [&str; 6] = ["sse2", "pni", "ssse3", "sse4_1", "sse4_2", "popcnt"];

/// All of the group.
pub(super) fn check(case: &Case<'_>) -> Vec<Finding> {
    let workers = case.cpus();
    let mut findings = vec![flags(case.system), clock(case.system)];
    findings.extend(plan(case));
    findings.push(isolation(case.system, &workers));
    findings.extend(governor(case.system, &workers));
    findings.extend(siblings(case.system, &workers));
    findings
}

fn flags(system: &System) -> Finding {
    let Some(flags) = system.processor("flags") else {
        let text = "the kernel lists no flags";
        return FLAGS.unknown("processor", text, "lscpu");
    };
    let has = |flag: &str| flags.split_whitespace().any(|found| found == flag);
    let missing: Vec<&str> = NEEDED.into_iter().filter(|flag| !has(flag)).collect();
    if !missing.is_empty() {
        let text = format!("it lacks {}", missing.join(", "));
        let command = "lscpu # another machine, or a virtual one with -cpu host";
        return FLAGS.failure("processor", text, command);
    }
    match has("avx2") {
        true => FLAGS.ok("processor", "SSE4.2 and AVX2"),
        false => FLAGS.warning(
            "processor",
            "SSE4.2, but no AVX2",
            "lscpu # another machine, or a virtual one with -cpu host",
        ),
    }
}

fn clock(system: &System) -> Finding {
    const SOURCE: &str = "sys/devices/system/clocksource/clocksource0";
    let Some(current) = system.text(&format!("{SOURCE}/current_clocksource")) else {
        let command = format!("cat /{SOURCE}/current_clocksource");
        return CLOCK.unknown("clock source", "the kernel does not tell", command);
    };
    let flags = system.processor("flags").unwrap_or_default();
    let has = |flag: &str| flags.split_whitespace().any(|found| found == flag);
    let [constant, nonstop] = ["constant_tsc", "nonstop_tsc"].map(has);
    if !constant || !nonstop {
        let lacks = if constant {
            "it stops while the CPU sleeps (no nonstop_tsc)"
        } else {
            "its rate follows that of the CPU (no constant_tsc)"
        };
        let command = kernel_arguments("processor.max_cstate=1 idle=poll");
        return CLOCK.warning("time stamp counter", lacks, command);
    }
    if current == "tsc" {
        return CLOCK.ok("clock source", "tsc, constant and nonstop");
    }
    let available = system.text(&format!("{SOURCE}/available_clocksource"));
    let offered = available.is_some_and(|all| all.split_whitespace().any(|one| one == "tsc"));
    let command = match offered {
        true => format!("echo tsc > /{SOURCE}/current_clocksource"),
        false => kernel_arguments("tsc=reliable"),
    };
    let found = format!("{current}: the kernel does not trust the time stamp counter");
    CLOCK.warning("clock source", found, command)
}

fn plan(case: &Case<'_>) -> Vec<Finding> {
    let plan = match &case.plan {
        Ok(plan) => plan,
        Err(error) => return vec![PLAN.failure("workers", error, case.set("workers.cpus=[]"))],
    };
    let warning = |text: &String| {
        let command = match text.starts_with("no thread is pinned") {
            true => pinned(case, plan.workers.len() + plan.security.len()),
            false if text.starts_with("workers.count") => {
                case.set(&format!("workers.count={}", plan.workers.len()))
            }
            false => "lscpu --extended".to_owned(),
        };
        PLAN.warning("workers", text, command)
    };
    // A port on another node has a check of its own.
    let own = plan
        .warnings
        .iter()
        .filter(|text| !text.contains(" of node "));
    let warnings: Vec<Finding> = own.map(warning).collect();
    if !warnings.is_empty() {
        return warnings;
    }
    let (workers, security) = (plan.workers.len(), plan.security.len());
    let cpus = list(&case.cpus());
    let text = format!("workers: {workers}, security workers: {security}, on CPUs {cpus}");
    vec![PLAN.ok("workers", text)]
}

/// The command that pins so many threads: to the last CPUs, or, where there are too few, fewer.
fn pinned(case: &Case<'_>, threads: usize) -> String {
    let allowed = &case.system.allowed;
    let first = allowed.len().saturating_sub(threads);
    match allowed.get(first..) {
        Some(last) if first > 0 => {
            let cpus: Vec<String> = last.iter().map(ToString::to_string).collect();
            case.set(&format!("workers.cpus=[{}]", cpus.join(",")))
        }
        _ => case.set("workers.count=1"),
    }
}

fn list(cpus: &[usize]) -> String {
    crate::control::cores::list(cpus)
}

fn isolation(system: &System, workers: &[usize]) -> Finding {
    if workers.is_empty() {
        return ISOLATION.ok(
            "workers",
            "no worker has a CPU of its own to keep others from",
        );
    }
    let cpus = |text: Option<String>| crate::control::cores::numbers(&text.unwrap_or_default());
    let kept = [
        (
            "isolcpus",
            cpus(system.text("sys/devices/system/cpu/isolated")),
        ),
        (
            "nohz_full",
            cpus(system.text("sys/devices/system/cpu/nohz_full")),
        ),
        ("rcu_nocbs", cpus(system.kernel_parameter("rcu_nocbs"))),
    ];
    let mut missing = Vec::new();
    for (name, cpus) in &kept {
        // The kernel takes the CPUs of nohz_full off callbacks by itself.
        let by_itself = |cpu: &usize| {
            *name == "rcu_nocbs"
                && kept
                    .iter()
                    .any(|(k, all)| *k == "nohz_full" && all.contains(cpu))
        };
        let open = workers.iter().copied();
        let open: Vec<usize> = open
            .filter(|cpu| !cpus.contains(cpu) && !by_itself(cpu))
            .collect();
        if !open.is_empty() {
            missing.push(format!("{name} lacks {}", list(&open)));
        }
    }
    if missing.is_empty() {
        return ISOLATION.ok("workers", format!("CPUs {} are isolated", list(workers)));
    }
    let cpus = list(workers);
    let arguments = format!("isolcpus={cpus} nohz_full={cpus} rcu_nocbs={cpus}");
    ISOLATION.warning("workers", missing.join("; "), kernel_arguments(&arguments))
}

fn governor(system: &System, workers: &[usize]) -> Vec<Finding> {
    const COMMAND: &str =
        "echo performance | tee /sys/devices/system/cpu/cpu*/cpufreq/scaling_governor";
    let all = match workers.is_empty() {
        true => &system.allowed,
        false => workers,
    };
    let mut by_name: BTreeMap<String, Vec<usize>> = BTreeMap::new();
    for cpu in all {
        let file = format!("sys/devices/system/cpu/cpu{cpu}/cpufreq/scaling_governor");
        if let Some(name) = system.text(&file) {
            by_name.entry(name).or_default().push(*cpu);
        }
    }
    if by_name.is_empty() {
        let text = "the kernel does not change frequencies here";
        return vec![GOVERNOR.ok(format!("CPUs {}", list(all)), text)];
    }
    let finding = |(name, cpus): (String, Vec<usize>)| {
        let subject = format!("CPUs {}", list(&cpus));
        match name.as_str() {
            "performance" => GOVERNOR.ok(subject, name),
            _ => GOVERNOR.warning(subject, name, COMMAND),
        }
    };
    by_name.into_iter().map(finding).collect()
}

fn siblings(system: &System, workers: &[usize]) -> Option<Finding> {
    if workers.len() < 2 {
        return None;
    }
    let mut by_core: BTreeMap<String, Vec<usize>> = BTreeMap::new();
    for cpu in workers {
        let file = format!("sys/devices/system/cpu/cpu{cpu}/topology/thread_siblings_list");
        let core = system.text(&file).unwrap_or_else(|| cpu.to_string());
        by_core.entry(core).or_default().push(*cpu);
    }
    let shared = by_core.values().filter(|cpus| cpus.len() > 1);
    let shared: Vec<String> = shared.map(|cpus| list(cpus)).collect();
    Some(match shared.is_empty() {
        true => SIBLINGS.ok("workers", "each has a physical core"),
        false => {
            let text = format!("on one core: {}", shared.join(" and "));
            let command = "echo off > /sys/devices/system/cpu/smt/control";
            SIBLINGS.warning("workers", text, command)
        }
    })
}
