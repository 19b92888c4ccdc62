//! Memory: what the configuration can take, and what there is.

use super::case::Case;
use super::finding::{Check, Finding};
use super::hugepages::{self, has_physical_port};
use super::iommu::is_noiommu;
use super::system::{System, size};
use crate::capture::room::EAL_BYTES;
use crate::dissect::application::stream::{self, Applications};
use crate::flow::Flows;
use crate::flow::fragments::{self, Fragments};
use crate::rules::explain::instance_bytes;

/// Memory.
pub(super) const MEMORY: Check = Check {
    id: "memory.total",
    looks_at: "free memory, limits of the control group, and what the configuration can take",
    why: "a process that takes more than there is is killed, and inspects nothing",
};

/// Locked memory.
pub(super) const LOCK: Check = Check {
    id: "memory.lock",
    looks_at: "RLIMIT_MEMLOCK and CAP_IPC_LOCK, for physical ports",
    why: "vfio locks the memory that a port writes to, and counts it against the limit",
};

/// Bytes of an attempt to match, where the rules are not known: with a record of four addresses.
const INSTANCE_BYTES: usize = 256;

/// Control groups in version 2 nest no deeper in practice; the walk up ends for sure.
const GROUPS_MAX: usize = 32;

/// What the configuration can take at most, in bytes.
struct Demand {
    /// At start.
    tables: u64,
    /// As packets come.
    later: u64,
}

/// All of the group.
pub(super) fn check(case: &Case<'_>) -> Vec<Finding> {
    let mut findings = vec![total(case)];
    findings.extend(lock(case));
    findings
}

fn demand(case: &Case<'_>) -> Demand {
    let plan = case.plan.as_ref().ok();
    let (workers, security) = plan.map_or((1, 0), |p| (p.workers.len(), p.security.len()));
    let limits = &case.config.limits;
    let settings = crate::worker::Settings {
        flows: case.config.flows.clone(),
        fragments: fragments::Settings {
            datagrams_max: limits.datagrams,
            ..fragments::Settings::default()
        },
        applications: stream::Settings {
            flows_max: limits.streams,
            ..stream::Settings::default()
        },
        ..crate::worker::Settings::default()
    };
    let workers = workers.max(1);
    let share = crate::control::pipeline::share_of(&settings, workers);
    let bytes =
        |count: usize, each: usize| u64::try_from(count.saturating_mul(each)).unwrap_or(u64::MAX);
    let (rules, each) = match case.rules {
        Some(rules) => {
            let each = rules.programs.iter().map(instance_bytes).max();
            let kept = rules
                .programs
                .iter()
                .filter(|rule| instance_bytes(rule) > 0);
            (kept.count(), each.unwrap_or(0))
        }
        None => (usize::MAX, INSTANCE_BYTES),
    };
    let instances = limits.instances_per_rule.saturating_mul(rules);
    let instances = instances.min(limits.instances_total);
    let buffers = match without_hugepages(case) {
        true => hugepages::needs(case)
            .values()
            .map(|terms| hugepages::sum(terms))
            .sum(),
        false => 0,
    };
    Demand {
        tables: bytes(workers, Flows::bytes(&share.flows)).saturating_add(buffers),
        later: bytes(workers, Fragments::bytes(&share.fragments))
            .saturating_add(bytes(workers, Applications::bytes(&share.applications)))
            .saturating_add(bytes(workers + security, instances.saturating_mul(each))),
    }
}

/// Do the receive buffers have to live in ordinary memory?
fn without_hugepages(case: &Case<'_>) -> bool {
    let pages = hugepages::there(case.system);
    let free = pages
        .values()
        .flatten()
        .map(|p| p.free.saturating_mul(p.bytes));
    free.fold(0, u64::saturating_add) == 0
}

fn total(case: &Case<'_>) -> Finding {
    let Some(available) = case.system.memory("MemAvailable:") else {
        let text = "the kernel does not tell how much there is";
        return MEMORY.unknown("machine", text, "free -m");
    };
    let swap = case.system.memory("SwapFree:").unwrap_or(0);
    let available = available.saturating_add(swap);
    let group = group_room(case.system);
    let room = group.map_or(available, |group| group.min(available));
    let Demand { tables, later } = demand(case);
    let of_group = match group {
        Some(group) if group < available => " left by the control group",
        _ => " available",
    };
    let found = format!(
        "{}{of_group}; at start {}, at most {} more",
        size(room),
        size(tables),
        size(later)
    );
    let fewer = case.set(&format!(
        "flows.flows_max={}",
        case.config.flows.flows_max / 4
    ));
    if tables > room {
        return MEMORY.failure("machine", found, fewer);
    }
    match tables.saturating_add(later) > room {
        true => {
            let instances = case.config.limits.instances_total / 4;
            let command = case.set(&format!("limits.instances_total={instances}"));
            MEMORY.warning("machine", found, command)
        }
        false => MEMORY.ok("machine", found),
    }
}

/// Bytes that the control groups of this process leave; none where nothing limits it.
fn group_room(system: &System) -> Option<u64> {
    let groups = system.text("proc/self/cgroup")?;
    let mut least: Option<u64> = None;
    for line in groups.lines() {
        let mut parts = line.splitn(3, ':');
        let (_, names, path) = (parts.next()?, parts.next()?, parts.next()?);
        let (folder, limit, used) = if names.is_empty() {
            ("sys/fs/cgroup", "memory.max", "memory.current")
        } else if names.split(',').any(|name| name == "memory") {
            let (limit, used) = ("memory.limit_in_bytes", "memory.usage_in_bytes");
            ("sys/fs/cgroup/memory", limit, used)
        } else {
            continue;
        };
        let mut path = path.trim_matches('/');
        for _ in 0..GROUPS_MAX {
            let number = |name: &str| system.number(&format!("{folder}/{path}/{name}"));
            // Where nothing limits it, the file says `max` or some number beyond all memory.
            if let Some(limit) = number(limit) {
                let room = limit.saturating_sub(number(used).unwrap_or(0));
                least = Some(least.map_or(room, |least| least.min(room)));
            }
            if path.is_empty() {
                break;
            }
            path = path.rsplit_once('/').map_or("", |(above, _)| above);
        }
    }
    least
}

fn lock(case: &Case<'_>) -> Option<Finding> {
    let keeps =
        |port: &super::case::Port| port.model().is_some_and(|model| model.keeps_kernel_driver);
    let physical = has_physical_port(case) && !case.ports.iter().all(keeps);
    if !physical || is_noiommu(case.system) {
        return None;
    }
    if case.system.may_lock() {
        return Some(LOCK.ok("process", "CAP_IPC_LOCK: without limit"));
    }
    let limits = case.system.text("proc/self/limits")?;
    let line = limits
        .lines()
        .find_map(|line| line.strip_prefix("Max locked memory"))?;
    let soft = line.split_whitespace().next()?;
    let Ok(limit) = soft.parse::<u64>() else {
        return Some(LOCK.ok("process", soft));
    };
    let needed: u64 = hugepages::needs(case)
        .values()
        .map(|terms| hugepages::sum(terms))
        .sum();
    let text = format!("at most {}, needed {}", size(limit), size(needed));
    let command = "systemctl edit wirelynx # [Service] LimitMEMLOCK=infinity";
    // What DPDK itself takes is an estimate; the buffers are not.
    let buffers = needed.saturating_sub(EAL_BYTES);
    Some(match limit {
        _ if limit >= needed => LOCK.ok("process", text),
        _ if limit >= buffers => LOCK.warning("process", text, command),
        _ => LOCK.failure("process", text, command),
    })
}
