//! Which CPU each thread runs on.
//!
//! A worker has a CPU for itself: it looks at its receive queues all the time, and what takes its
//! CPU away makes the queues run over. So workers get physical cores on the NUMA node of the ports,
//! security workers come next, and the other threads (writer, control, metrics) share what is left.

mod machine;

pub use machine::Machine;

use machine::List;
use nix::sched::{CpuSet, sched_setaffinity};
use nix::unistd::Pid;
use std::fmt::{self, Write as _};

/// With fewer CPUs than this, none is kept free for the other threads, one worker is enough, and
/// nothing is pinned unless CPUs are named: other programs would have to share a CPU with it.
const CPUS_FEW: usize = 4;

/// Workers for one security worker: joins see only the matches of rules, and few packets match.
const WORKERS_PER_SECURITY_WORKER: usize = 3;

/// What is asked for.
#[derive(Debug, Default, Clone, PartialEq, Eq)]
pub struct Wishes {
    /// Workers; 0 for as many as there are physical cores for them.
    pub workers: usize,
    /// Security workers; 0 for one to every three workers, and none beside a single worker, which
    /// keeps all rules.
    pub security: usize,
    /// CPUs of workers and security workers, in this order; empty to have them chosen.
    pub cpus: Vec<usize>,
    /// Ports that are received from.
    pub ports: Vec<Port>,
}

/// What matters of a port.
#[derive(Debug, Default, Clone, PartialEq, Eq)]
pub struct Port {
    /// Its name, for messages.
    pub name: String,
    /// NUMA node; none where that is unknown.
    pub node: Option<u16>,
    /// Receive queues that it has or may have, at least 1.
    pub queues: u16,
    /// It has that many however many workers there are; otherwise no more than workers.
    pub fixed: bool,
}

#[cfg(feature = "dpdk")]
impl From<crate::capture::dpdk::Offer> for Port {
    fn from(offer: crate::capture::dpdk::Offer) -> Self {
        Self {
            name: offer.name,
            node: offer.node,
            queues: offer.queues,
            fixed: offer.fixed,
        }
    }
}

/// CPUs of all threads.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Plan {
    /// CPU of each worker; none when it is not pinned.
    pub workers: Vec<Option<usize>>,
    /// CPU of each security worker; none when it is not pinned.
    pub security: Vec<Option<usize>>,
    /// CPUs of the other threads, for [`confine`]; never empty where the kernel names any.
    pub others: Vec<usize>,
    /// What the operator should know.
    pub warnings: Vec<String>,
    /// Lines of the table.
    rows: Vec<[String; 4]>,
}

/// Why there is no plan, or why a thread cannot follow it.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// No such CPU.
    #[error("workers.cpus: there is no CPU {cpu}; this machine has {online}")]
    Absent {
        /// The one that was named.
        cpu: usize,
        /// Those that there are, as a list.
        online: String,
    },
    /// Affinity or cpuset keep the process from it.
    #[error("workers.cpus: this process may not use CPU {cpu}; it may use {allowed}")]
    NotAllowed {
        /// The one that was named.
        cpu: usize,
        /// Those that it may use, as a list.
        allowed: String,
    },
    /// Two threads would share it.
    #[error("workers.cpus: CPU {cpu} is named twice")]
    Twice {
        /// The one that was named.
        cpu: usize,
    },
    /// More threads than CPUs.
    #[error(
        "workers.cpus names {named} CPUs, but workers ({workers}) and security workers \
         ({security}) need one each"
    )]
    TooFew {
        /// CPUs named.
        named: usize,
        /// Workers asked for.
        workers: usize,
        /// Security workers asked for.
        security: usize,
    },
    /// The kernel refuses.
    #[error("this thread cannot run on CPU {cpus}: {reason}")]
    Pin {
        /// Where it should run, as a list.
        cpus: String,
        /// What the kernel said.
        reason: String,
    },
}

impl Plan {
    /// Find a CPU for each thread.
    ///
    /// Where CPUs are to be chosen and there are not enough of them, no thread is pinned and a
    /// warning says so: then the kernel shares the CPUs out.
    ///
    /// # Errors
    /// A CPU that was named cannot be used, or there are fewer than threads.
    pub fn new(wishes: &Wishes, machine: &Machine) -> Result<Self, Error> {
        check(&wishes.cpus, machine)?;
        let usable = usable(wishes, machine);
        let mut plan = Self {
            workers: Vec::new(),
            security: Vec::new(),
            others: machine.allowed().to_vec(),
            warnings: Vec::new(),
            rows: Vec::new(),
        };
        let (workers, security) = plan.counts(wishes, machine, &usable)?;
        let named = !wishes.cpus.is_empty();
        let cpus = machine.allowed().len();
        // One more for the others, which need some time too.
        let fits = cpus >= CPUS_FEW && workers + security < cpus;
        if named || fits {
            plan.pin(wishes, machine, usable, (workers, security));
        } else {
            plan.warnings.push(format!(
                "no thread is pinned: workers ({workers}), security workers ({security}) and the \
                 others have {cpus} CPUs; pinning takes at least {CPUS_FEW} and one for each \
                 thread, or workers.cpus"
            ));
            plan.workers = vec![None; workers];
            plan.security = vec![None; security];
        }
        plan.warn_of_other_nodes(wishes, machine);
        plan.tabulate(wishes, machine);
        Ok(plan)
    }

    /// How many workers and security workers.
    fn counts(
        &mut self,
        wishes: &Wishes,
        machine: &Machine,
        usable: &[usize],
    ) -> Result<(usize, usize), Error> {
        let named = wishes.cpus.len();
        let widest = wishes.ports.iter().map(|port| port.queues).max();
        let widest = usize::from(widest.unwrap_or(1).max(1));
        let few = named == 0 && machine.allowed().len() < CPUS_FEW;
        let cores = match named {
            0 => first_choice(wishes, machine, usable),
            _ => named,
        };
        let ratio = WORKERS_PER_SECURITY_WORKER + 1;
        let mut security = match wishes.security {
            0 => (cores / ratio).max(1),
            wished => wished,
        };
        let mut workers = match wishes.workers {
            0 if few => 1,
            0 => cores.saturating_sub(security).max(1),
            wished => wished,
        };
        if wishes.workers > widest {
            self.warnings.push(format!(
                "workers.count is {}, but no port has more receive queues than {widest}: so many \
                 workers there are",
                wishes.workers
            ));
        }
        workers = workers.min(widest);
        if wishes.security == 0 && workers == 1 {
            security = 0;
        } else if wishes.security == 0 {
            let left = cores.saturating_sub(workers).max(1);
            security = security.min(workers).min(left);
        }
        if named > 0 && workers + wishes.security > named {
            return Err(Error::TooFew {
                named,
                workers,
                security: wishes.security,
            });
        }
        Ok((workers, security))
    }

    /// Give CPUs to threads.
    fn pin(
        &mut self,
        wishes: &Wishes,
        machine: &Machine,
        mut usable: Vec<usize>,
        (workers, security): (usize, usize),
    ) {
        let mut rest = usable.split_off(workers.min(usable.len()));
        if wishes.cpus.is_empty() {
            // A thread of a core whose other one polls all the time would slow both.
            let far = |cpu| !is_near(wishes, machine, cpu);
            rest.sort_by_key(|&cpu| (machine.sibling(cpu), far(cpu)));
        }
        self.workers = usable.iter().copied().map(Some).collect();
        // Only one that nobody asked for finds none left, where all named CPUs are of workers.
        let cpus = rest.into_iter().map(Some).chain(std::iter::repeat(None));
        self.security = cpus.take(security).collect();
        let taken = |cpu: &usize| {
            let mut all = self.workers.iter().chain(&self.security);
            all.any(|place| *place == Some(*cpu))
        };
        let free: Vec<usize> = self.others.iter().copied().filter(|c| !taken(c)).collect();
        if !free.is_empty() {
            self.others = free;
        }
    }

    fn warn_of_other_nodes(&mut self, wishes: &Wishes, machine: &Machine) {
        for (number, cpu) in self.workers.iter().enumerate() {
            let Some(cpu) = *cpu else { continue };
            let Some(own) = machine.node(cpu) else {
                continue;
            };
            let served = |port: &&Port| number < usize::from(port.queues);
            for port in wishes.ports.iter().filter(served) {
                if let Some(node) = port.node.filter(|&node| node != own) {
                    self.warnings.push(format!(
                        "worker {number} runs on CPU {cpu} of node {own}, but port {} is on node \
                         {node}: each packet crosses between the nodes",
                        port.name
                    ));
                }
            }
        }
    }

    fn tabulate(&mut self, wishes: &Wishes, machine: &Machine) {
        let place = |cpu: Option<usize>| match cpu {
            Some(cpu) => {
                let node = machine.node(cpu).map(|node| node.to_string());
                [cpu.to_string(), node.unwrap_or_else(|| "-".to_owned())]
            }
            None => ["any".to_owned(), "-".to_owned()],
        };
        let heads = ["thread", "cpu", "node", "port queues"].map(str::to_owned);
        self.rows.push(heads);
        for (number, &cpu) in self.workers.iter().enumerate() {
            let [cpu, node] = place(cpu);
            let queues = queues_of(number, self.workers.len(), &wishes.ports);
            self.rows
                .push([format!("worker {number}"), cpu, node, queues]);
        }
        for (number, &cpu) in self.security.iter().enumerate() {
            let [cpu, node] = place(cpu);
            self.rows.push([
                format!("security worker {number}"),
                cpu,
                node,
                "-".to_owned(),
            ]);
        }
        let others = List(&self.others).to_string();
        let dash = || "-".to_owned();
        self.rows
            .push(["writer, control".to_owned(), others, dash(), dash()]);
    }
}

impl fmt::Display for Plan {
    /// A table: thread, CPU, node, queues of ports.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let width = |column: usize| {
            let cells = self.rows.iter().filter_map(|row| row.get(column));
            cells.map(String::len).max().unwrap_or(0)
        };
        let widths = [width(0), width(1), width(2), 0];
        for (number, row) in self.rows.iter().enumerate() {
            let mut line = String::new();
            for (cell, width) in row.iter().zip(widths) {
                write!(line, "{cell:width$}  ")?;
            }
            let end = if number + 1 < self.rows.len() {
                "\n"
            } else {
                ""
            };
            write!(f, "{}{end}", line.trim_end())?;
        }
        Ok(())
    }
}

/// Queues of each port that a worker serves: `PORT 0,2; PORT 0,2`.
fn queues_of(worker: usize, workers: usize, ports: &[Port]) -> String {
    let mut parts = Vec::new();
    for port in ports {
        let queues = match port.fixed {
            true => usize::from(port.queues),
            false => usize::from(port.queues).min(workers),
        };
        let own: Vec<String> = (worker..queues)
            .step_by(workers.max(1))
            .map(|queue| queue.to_string())
            .collect();
        if !own.is_empty() {
            parts.push(format!("{} {}", port.name, own.join(",")));
        }
    }
    parts.join("; ")
}

/// Refuse CPUs that cannot be used.
fn check(cpus: &[usize], machine: &Machine) -> Result<(), Error> {
    let online = machine.online();
    for (index, &cpu) in cpus.iter().enumerate() {
        if !online.contains(&cpu) {
            let online = List(&online).to_string();
            return Err(Error::Absent { cpu, online });
        }
        if !machine.allowed().contains(&cpu) {
            let allowed = List(machine.allowed()).to_string();
            return Err(Error::NotAllowed { cpu, allowed });
        }
        if cpus.iter().take(index).any(|&before| before == cpu) {
            return Err(Error::Twice { cpu });
        }
    }
    Ok(())
}

/// CPUs for workers and security workers, the best one first.
fn usable(wishes: &Wishes, machine: &Machine) -> Vec<usize> {
    if !wishes.cpus.is_empty() {
        return wishes.cpus.clone();
    }
    let kept = usize::from(machine.allowed().len() >= CPUS_FEW);
    let mut cpus: Vec<usize> = machine.allowed().iter().copied().skip(kept).collect();
    let far = |cpu| !is_near(wishes, machine, cpu);
    cpus.sort_by_key(|&cpu| (far(cpu), machine.sibling(cpu)));
    cpus
}

/// Physical cores among `usable` near the ports; any, when none is near.
fn first_choice(wishes: &Wishes, machine: &Machine, usable: &[usize]) -> usize {
    let whole = |cpu: &&usize| machine.sibling(**cpu) == 0;
    let near = |cpu: &&usize| is_near(wishes, machine, **cpu);
    match usable.iter().filter(whole).filter(near).count() {
        0 => usable.iter().filter(whole).count(),
        cores => cores,
    }
}

/// Is the CPU on the node of a port? It is where no node is known.
fn is_near(wishes: &Wishes, machine: &Machine, cpu: usize) -> bool {
    let mut nodes = wishes.ports.iter().filter_map(|port| port.node).peekable();
    let own = machine.node(cpu);
    nodes.peek().is_none() || own.is_none() || nodes.any(|node| Some(node) == own)
}

/// CPUs as Linux lists them: `0-3,8`; `none` for none.
pub fn list(cpus: &[usize]) -> String {
    List(cpus).to_string()
}

/// The CPUs of a list like `0-3,8`, in ascending order; what is no number is left out.
pub fn numbers(list: &str) -> Vec<usize> {
    machine::numbers(list)
}

/// Have the calling thread run on one CPU only.
///
/// # Errors
/// The kernel refuses, or does otherwise.
pub fn pin(cpu: usize) -> Result<(), Error> {
    confine(&[cpu])
}

/// Have the calling thread, and threads that it starts, run on these CPUs only.
///
/// # Errors
/// The kernel refuses, or does otherwise: a cpuset takes CPUs out of what is asked for.
pub fn confine(cpus: &[usize]) -> Result<(), Error> {
    let failed = |reason: String| Error::Pin {
        cpus: List(cpus).to_string(),
        reason,
    };
    let mut set = CpuSet::new();
    for &cpu in cpus {
        set.set(cpu).map_err(|error| failed(error.to_string()))?;
    }
    let this = Pid::from_raw(0);
    sched_setaffinity(this, &set).map_err(|error| failed(error.to_string()))?;
    let mut wanted = cpus.to_vec();
    wanted.sort_unstable();
    let found = machine::allowed();
    if found != wanted {
        return Err(failed(format!(
            "the kernel lets it run on {}",
            List(&found)
        )));
    }
    Ok(())
}

#[cfg(test)]
mod tests;
