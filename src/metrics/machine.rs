//! What the process uses, and what the machine has for it: from `/proc` and `/sys`, on request.
//!
//! Names and meanings of the process's numbers are those that all Prometheus clients have.

use procfs::process::{LimitValue, Process as OfKernel};
use procfs::{Current, CurrentSI, KernelStats, Meminfo};
use std::fs;
use std::path::{Path, PathBuf};

/// The process, see proc(5).
#[derive(Debug, Default, Clone, Copy, PartialEq)]
pub struct Process {
    /// CPU time used by all threads, in user and in kernel mode, in seconds.
    pub cpu_seconds: f64,
    /// Start, in seconds since the epoch.
    pub start_time_seconds: f64,
    /// Memory that is in RAM, huge pages not among it, in bytes.
    pub resident_bytes: u64,
    /// Address space in bytes.
    pub virtual_bytes: u64,
    /// Open file descriptors.
    pub open_fds: u64,
    /// File descriptors that it may open; none without a limit.
    pub max_fds: Option<u64>,
    /// Threads.
    pub threads: u64,
}

impl Process {
    /// This one; none where the kernel does not say.
    pub fn here() -> Option<Self> {
        let process = OfKernel::myself().ok()?;
        let stat = process.stat().ok()?;
        let ticks = seconds(procfs::ticks_per_second());
        let booted = seconds(KernelStats::current().ok()?.btime);
        let files = process.limits().ok()?.max_open_files.soft_limit;
        Some(Self {
            cpu_seconds: seconds(stat.utime.saturating_add(stat.stime)) / ticks,
            start_time_seconds: booted + seconds(stat.starttime) / ticks,
            resident_bytes: stat.rss.saturating_mul(procfs::page_size()),
            virtual_bytes: stat.vsize,
            open_fds: u64::try_from(process.fd_count().ok()?).ok()?,
            max_fds: match files {
                LimitValue::Value(count) => Some(count),
                LimitValue::Unlimited => None,
            },
            threads: u64::try_from(stat.num_threads).ok()?,
        })
    }
}

#[allow(
    clippy::cast_precision_loss,
    reason = "ticks and seconds of this century are far below 2^53"
)]
fn seconds(count: u64) -> f64 {
    count as f64
}

/// Huge pages of one size on one NUMA node.
#[derive(Debug, Default, Clone, PartialEq, Eq)]
pub struct HugePages {
    /// Number of the node.
    pub node: String,
    /// Size of a page as the kernel writes it, such as `2048kB`.
    pub size: String,
    /// Reserved memory in bytes.
    pub reserved: u64,
    /// What of it nobody uses, in bytes.
    pub free: u64,
}

/// What the machine has for the process.
#[derive(Debug, Default, Clone, PartialEq, Eq)]
pub struct Machine {
    /// Memory that the process may use in bytes, huge pages not among it: the least of what the
    /// machine has and what its control groups allow.
    pub memory_limit: u64,
    /// By node and size.
    pub huge_pages: Vec<HugePages>,
}

impl Machine {
    /// This one, as far as it says.
    pub fn here() -> Self {
        let memory = Meminfo::current().map_or(0, |memory| {
            let huge = memory.hugepages_total.zip(memory.hugepagesize);
            let huge = huge.map_or(0, |(count, size)| count.saturating_mul(size));
            memory.mem_total.saturating_sub(huge)
        });
        let group = fs::read_to_string("/proc/self/cgroup").unwrap_or_default();
        let limit = group_limit(Path::new("/sys/fs/cgroup"), &group);
        Self {
            memory_limit: limit.map_or(memory, |limit| limit.min(memory)),
            huge_pages: huge_pages(Path::new("/sys/devices/system/node")),
        }
    }
}

/// The lowest `memory.max` of the control group of version 2 that `groups` names (the text of
/// `/proc/self/cgroup`, see cgroups(7)) and of those that it is in; none without a limit.
fn group_limit(root: &Path, groups: &str) -> Option<u64> {
    let group = groups.lines().find_map(|line| line.strip_prefix("0::/"))?;
    let mut folder = Some(root.join(group));
    let mut lowest: Option<u64> = None;
    while let Some(at) = folder.filter(|folder| folder.starts_with(root)) {
        let limit = fs::read_to_string(at.join("memory.max")).ok();
        let limit = limit.and_then(|text| text.trim().parse().ok());
        lowest = lowest.into_iter().chain(limit).min();
        folder = at.parent().map(Path::to_owned);
    }
    lowest
}

/// Huge pages by node and size, in order, under `/sys/devices/system/node`.
fn huge_pages(nodes: &Path) -> Vec<HugePages> {
    let mut all = Vec::new();
    for (node, folder) in named(nodes, "node") {
        if node.parse::<u16>().is_err() {
            continue;
        }
        for (size, folder) in named(&folder.join("hugepages"), "hugepages-") {
            let kilobytes = size.strip_suffix("kB").and_then(|size| size.parse().ok());
            let count = |name: &str| -> Option<u64> {
                let text = fs::read_to_string(folder.join(name)).ok()?;
                let count: u64 = text.trim().parse().ok()?;
                Some(count.saturating_mul(kilobytes?).saturating_mul(1_024))
            };
            if let (Some(reserved), Some(free)) = (count("nr_hugepages"), count("free_hugepages")) {
                all.push(HugePages {
                    node: node.clone(),
                    size,
                    reserved,
                    free,
                });
            }
        }
    }
    all
}

/// Folders whose name begins so: what comes behind that, and where they are; in order.
fn named(folder: &Path, prefix: &str) -> Vec<(String, PathBuf)> {
    let entries = fs::read_dir(folder).into_iter().flatten().flatten();
    let mut all: Vec<(String, PathBuf)> = entries
        .filter_map(|entry| {
            let name = entry.file_name().into_string().ok()?;
            Some((name.strip_prefix(prefix)?.to_owned(), entry.path()))
        })
        .collect();
    all.sort();
    all
}

#[cfg(test)]
mod tests {
    use super::*;

    fn write(root: &Path, name: &str, text: &str) {
        let path = root.join(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, text).unwrap();
    }

    #[test]
    fn this_process_has_what_every_process_has() {
        let process = Process::here().unwrap();
        assert!(process.resident_bytes > 100_000 && process.virtual_bytes > process.resident_bytes);
        assert!(process.threads >= 1 && process.open_fds >= 3);
        let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH);
        let age = now.unwrap().as_secs_f64() - process.start_time_seconds;
        assert!((-2.0..3_600.0).contains(&age), "started {age} s ago");
        let machine = Machine::here();
        assert!(machine.memory_limit > process.resident_bytes);
    }

    #[test]
    fn the_lowest_limit_of_all_groups_counts() {
        let folder = tempfile::tempdir().unwrap();
        let root = folder.path();
        write(root, "a/memory.max", "2000\n");
        write(root, "a/b/memory.max", "3000\n");
        write(root, "a/b/c/memory.max", "max\n");
        assert_eq!(group_limit(root, "0::/a/b/c\n"), Some(2_000));
        assert_eq!(group_limit(root, "0::/\n"), None);
        assert_eq!(group_limit(root, "4:memory:/a\n"), None, "version 1");
    }

    #[test]
    fn huge_pages_are_listed_by_node_and_size() {
        let folder = tempfile::tempdir().unwrap();
        let root = folder.path();
        for (size, reserved, free) in [("2048kB", "8", "3"), ("1048576kB", "1", "0")] {
            let folder = format!("node0/hugepages/hugepages-{size}");
            write(root, &format!("{folder}/nr_hugepages"), reserved);
            write(root, &format!("{folder}/free_hugepages"), free);
        }
        write(root, "node1/hugepages/hugepages-2048kB/nr_hugepages", "x");
        write(root, "has_cpu/hugepages", "");
        let pages = huge_pages(root);
        let told = pages.iter().map(|p| (p.size.as_str(), p.reserved, p.free));
        let told: Vec<(&str, u64, u64)> = told.collect();
        assert_eq!(
            told,
            [("1048576kB", 1 << 30, 0), ("2048kB", 16 << 20, 6 << 20)]
        );
    }
}
