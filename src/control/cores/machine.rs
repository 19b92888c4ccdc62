//! The CPUs of this machine, as Linux describes them under `/sys/devices/system`
//! (Documentation/ABI/stable/sysfs-devices-system-cpu and -node).

use nix::sched::{CpuSet, sched_getaffinity};
use nix::unistd::Pid;
use std::collections::BTreeMap;
use std::fmt;
use std::path::Path;

/// Where Linux describes CPUs and NUMA nodes.
const FOLDER: &str = "/sys/devices/system";

/// The CPUs that there are, and those that this process may use.
#[derive(Debug, Default, Clone, PartialEq, Eq)]
pub struct Machine {
    /// By number: all that are online.
    cpus: BTreeMap<usize, Cpu>,
    /// In ascending order.
    allowed: Vec<usize>,
}

/// One CPU, which is a thread of a physical core.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
struct Cpu {
    /// NUMA node; none where the machine has no nodes.
    node: Option<u16>,
    /// The lowest CPU of the same physical core.
    core: usize,
}

impl Machine {
    /// This one. The CPUs that this process may use are those of its affinity, which its cpuset
    /// limits.
    pub fn here() -> Self {
        Self::read(Path::new(FOLDER), allowed())
    }

    /// From a folder like `/sys/devices/system`. What it does not say is unknown: a CPU without a
    /// node, a core of its own.
    pub fn read(folder: &Path, allowed: Vec<usize>) -> Self {
        let text = |path: &str| std::fs::read_to_string(folder.join(path)).unwrap_or_default();
        let mut online = numbers(&text("cpu/online"));
        if online.is_empty() {
            online.clone_from(&allowed);
        }
        let mut nodes = BTreeMap::new();
        for node in numbers(&text("node/online")) {
            for cpu in numbers(&text(&format!("node/node{node}/cpulist"))) {
                nodes.insert(cpu, node);
            }
        }
        let describe = |cpu: usize| {
            let siblings = text(&format!("cpu/cpu{cpu}/topology/thread_siblings_list"));
            let node = nodes.get(&cpu).and_then(|&node| u16::try_from(node).ok());
            let core = numbers(&siblings).first().copied().unwrap_or(cpu);
            (cpu, Cpu { node, core })
        };
        Self {
            cpus: online.into_iter().map(describe).collect(),
            allowed,
        }
    }

    /// CPUs that this process may use, in ascending order.
    pub fn allowed(&self) -> &[usize] {
        &self.allowed
    }

    /// CPUs that are online, in ascending order.
    pub fn online(&self) -> Vec<usize> {
        self.cpus.keys().copied().collect()
    }

    /// NUMA node of a CPU; none where that is unknown.
    pub fn node(&self, cpu: usize) -> Option<u16> {
        self.cpus.get(&cpu).and_then(|cpu| cpu.node)
    }

    /// How many threads of the same core that this process may use come before `cpu`: 0 for the
    /// first one.
    pub fn sibling(&self, cpu: usize) -> usize {
        let core = |cpu: &usize| self.cpus.get(cpu).map_or(*cpu, |cpu| cpu.core);
        let before = self.allowed.iter().take_while(|&&other| other < cpu);
        before.filter(|other| core(other) == core(&cpu)).count()
    }
}

/// CPUs that the calling thread may use; empty where the kernel does not say.
pub(super) fn allowed() -> Vec<usize> {
    let Ok(set) = sched_getaffinity(Pid::from_raw(0)) else {
        return Vec::new();
    };
    let is_set = |cpu: &usize| set.is_set(*cpu).unwrap_or(false);
    (0..CpuSet::count()).filter(is_set).collect()
}

/// The numbers of a list like `0-3,8,10-11`, in ascending order. What is no number, or more than
/// an affinity can name, is left out.
pub(super) fn numbers(list: &str) -> Vec<usize> {
    let mut numbers = Vec::new();
    for part in list.trim().split(',') {
        let (first, last) = part.split_once('-').unwrap_or((part, part));
        if let (Ok(first), Ok(last)) = (first.parse::<usize>(), last.parse::<usize>()) {
            numbers.extend(first..=last.min(CpuSet::count()));
        }
    }
    numbers.retain(|&number| number < CpuSet::count());
    numbers.sort_unstable();
    numbers.dedup();
    numbers
}

/// CPUs as Linux lists them: `0-3,8`.
pub(super) struct List<'a>(pub(super) &'a [usize]);

impl fmt::Display for List<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut rest = self.0;
        while let Some((&first, after)) = rest.split_first() {
            let run = (first..)
                .zip(rest)
                .take_while(|(wanted, cpu)| wanted == *cpu);
            let run = run.count();
            if rest.len() != self.0.len() {
                f.write_str(",")?;
            }
            match run {
                1 => write!(f, "{first}")?,
                _ => write!(f, "{first}-{}", first + run - 1)?,
            }
            rest = after.get(run - 1..).unwrap_or_default();
        }
        if self.0.is_empty() {
            f.write_str("none")?;
        }
        Ok(())
    }
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;

    /// A folder that describes `cores` physical cores with two threads each on each of `nodes`
    /// nodes, numbered as on common servers: first threads first.
    pub(in crate::control::cores) fn tree(nodes: usize, cores: usize) -> tempfile::TempDir {
        let folder = tempfile::tempdir().unwrap();
        let write = |path: &str, text: String| {
            let path = folder.path().join(path);
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            std::fs::write(path, text + "\n").unwrap();
        };
        let all = nodes * cores;
        write("cpu/online", format!("0-{}", 2 * all - 1));
        write("node/online", format!("0-{}", nodes - 1));
        for cpu in 0..2 * all {
            let path = format!("cpu/cpu{cpu}/topology/thread_siblings_list");
            write(&path, format!("{},{}", cpu % all, cpu % all + all));
        }
        for node in 0..nodes {
            let first = node * cores;
            let last = first + cores - 1;
            let cpus = format!("{first}-{last},{}-{}", first + all, last + all);
            write(&format!("node/node{node}/cpulist"), cpus);
        }
        folder
    }

    #[test]
    fn a_machine_with_two_nodes() {
        let tree = tree(2, 4);
        let machine = Machine::read(tree.path(), (0..16).collect());
        assert_eq!(machine.online(), (0..16).collect::<Vec<_>>());
        assert_eq!((machine.node(3), machine.node(4)), (Some(0), Some(1)));
        assert_eq!((machine.node(11), machine.node(12)), (Some(0), Some(1)));
        assert_eq!(machine.node(16), None);
        assert_eq!((machine.sibling(3), machine.sibling(11)), (0, 1));
        // A core whose first thread others have is as good as a whole one.
        let machine = Machine::read(tree.path(), vec![2, 11]);
        assert_eq!(machine.sibling(11), 0);
        assert_eq!(machine.allowed(), [2, 11]);
    }

    #[test]
    fn a_folder_that_says_nothing() {
        let folder = tempfile::tempdir().unwrap();
        let machine = Machine::read(folder.path(), vec![1, 5]);
        assert_eq!(machine.online(), [1, 5]);
        assert_eq!((machine.node(1), machine.sibling(5)), (None, 0));
    }

    #[test]
    fn this_machine() {
        let machine = Machine::here();
        assert!(!machine.allowed().is_empty());
        let online = machine.online();
        assert!(machine.allowed().iter().all(|cpu| online.contains(cpu)));
    }

    #[test]
    fn lists() {
        assert_eq!(numbers("0-3,8,10-11\n"), [0, 1, 2, 3, 8, 10, 11]);
        assert_eq!(numbers("4,2-1,x,,3-3,0-"), [3, 4]);
        assert_eq!(numbers("\n"), [0; 0]);
        assert_eq!(numbers("0-99999999999").len(), CpuSet::count());
        let text = |cpus: &[usize]| List(cpus).to_string();
        assert_eq!(text(&[0, 1, 2, 3, 8, 10, 11]), "0-3,8,10-11");
        assert_eq!(text(&[7]), "7");
        assert_eq!(text(&[]), "none");
    }
}
