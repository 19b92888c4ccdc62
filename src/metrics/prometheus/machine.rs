//! The process, by the names that all Prometheus clients have for it, and what the machine has.

use super::Families;
use crate::metrics::Snapshot;
use crate::metrics::machine::{HugePages, Process};
use prometheus::{Counter, Gauge, IntGaugeVec, Opts};

pub(super) fn add(families: &Families, snapshot: &Snapshot) -> Result<(), prometheus::Error> {
    if let Some(process) = &snapshot.process {
        of_process(families, process)?;
    }
    let machine = &snapshot.machine;
    families.level(
        "wirelynx_memory_limit_bytes",
        "Memory that the process may use, huge pages not among it",
        machine.memory_limit,
    )?;
    for (name, help, of) in [
        (
            "wirelynx_hugepages_reserved_bytes",
            "Huge pages that the machine has reserved",
            (|pages| pages.reserved) as fn(&HugePages) -> u64,
        ),
        (
            "wirelynx_hugepages_free_bytes",
            "Huge pages that nobody uses",
            |pages| pages.free,
        ),
    ] {
        let family = IntGaugeVec::new(Opts::new(name, help), &["node", "size"])?;
        for pages in &machine.huge_pages {
            let labels = [pages.node.as_str(), pages.size.as_str()];
            let bytes = i64::try_from(of(pages)).unwrap_or(i64::MAX);
            family.get_metric_with_label_values(&labels)?.set(bytes);
        }
        families.registry.register(Box::new(family))?;
    }
    Ok(())
}

fn of_process(families: &Families, process: &Process) -> Result<(), prometheus::Error> {
    let cpu = Counter::new(
        "process_cpu_seconds_total",
        "CPU time that the process has used",
    )?;
    cpu.inc_by(process.cpu_seconds.max(0.0));
    families.registry.register(Box::new(cpu))?;
    let start = Gauge::new(
        "process_start_time_seconds",
        "When the process was started, in seconds since 1970",
    )?;
    start.set(process.start_time_seconds);
    families.registry.register(Box::new(start))?;
    for (name, help, number) in [
        (
            "process_resident_memory_bytes",
            "Memory of the process that is in RAM, huge pages not among it",
            Some(process.resident_bytes),
        ),
        (
            "process_virtual_memory_bytes",
            "Address space of the process",
            Some(process.virtual_bytes),
        ),
        (
            "process_open_fds",
            "File descriptors that the process has open",
            Some(process.open_fds),
        ),
        (
            "process_max_fds",
            "File descriptors that the process may open",
            process.max_fds,
        ),
        (
            "process_threads",
            "Threads of the process",
            Some(process.threads),
        ),
    ] {
        if let Some(number) = number {
            families.level(name, help, number)?;
        }
    }
    Ok(())
}
