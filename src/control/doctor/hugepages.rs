//! Huge pages: how many the configuration takes on which node, and how many there are.

use super::case::{Case, Kind};
use super::finding::{Check, Finding};
use super::system::{System, script, size};
use crate::capture::room::{BUFFER_BYTES, EAL_BYTES, pool_bytes};
use memory::pool;
use std::collections::BTreeMap;
use std::fmt::Write as _;

/// Huge pages.
pub const HUGEPAGES: Check = Check {
    id: "memory.hugepages",
    looks_at: "huge pages of each NUMA node and size: reserved, free, and needed",
    why: "receive buffers in ordinary pages cost about half the receive rate",
};

/// Part of the memory that is needed on a node.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Term {
    /// What it is for, and how it comes about.
    pub what: String,
    /// Its bytes.
    pub bytes: u64,
}

/// Huge pages of one size on one node.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Pages {
    /// Bytes of a page.
    pub bytes: u64,
    /// Pages there are.
    pub reserved: u64,
    /// Pages that nobody has.
    pub free: u64,
}

/// What each node needs, as terms of a sum. A port takes its buffers on its own node; DPDK itself,
/// and ports without a node, take theirs on that of the CPU that starts them.
pub fn needs(case: &Case<'_>) -> BTreeMap<u16, Vec<Term>> {
    let home = case.system.allowed.first();
    let home = home.and_then(|cpu| case.cores.node(*cpu)).unwrap_or(0);
    let mut needs: BTreeMap<u16, Vec<Term>> = BTreeMap::new();
    let eal = Term {
        what: "DPDK itself: tables, rings, pool headers".to_owned(),
        bytes: EAL_BYTES,
    };
    needs.entry(home).or_default().push(eal);
    let descriptors = case.config.capture.descriptors;
    for port in case.ports.iter().filter(|port| port.configured) {
        let queues = case.queues(port);
        let what = format!(
            "port {}: ({queues} queues x ({descriptors} descriptors + {}) + {}) x {} bytes",
            port.name,
            pool::PER_QUEUE,
            pool::PER_PORT,
            pool::buffer_bytes(BUFFER_BYTES),
        );
        let bytes = pool_bytes(queues, descriptors, 0, BUFFER_BYTES);
        let node = case.node(port).unwrap_or(home);
        needs.entry(node).or_default().push(Term { what, bytes });
    }
    needs
}

/// Sum of the terms in bytes.
pub fn sum(terms: &[Term]) -> u64 {
    let bytes = terms.iter().map(|term| term.bytes);
    bytes.fold(0, u64::saturating_add)
}

/// Huge pages by node, smallest page first. A machine without nodes has node 0.
pub fn there(system: &System) -> BTreeMap<u16, Vec<Pages>> {
    const NODES: &str = "sys/devices/system/node";
    let mut nodes = BTreeMap::new();
    for name in system.names(NODES) {
        let number = name.strip_prefix("node").and_then(|n| n.parse().ok());
        let Some(node) = number else { continue };
        let pages = pages(system, &format!("{NODES}/{name}/hugepages"));
        if !pages.is_empty() {
            nodes.insert(node, pages);
        }
    }
    if nodes.is_empty() {
        let pages = pages(system, "sys/kernel/mm/hugepages");
        if !pages.is_empty() {
            nodes.insert(0, pages);
        }
    }
    nodes
}

fn pages(system: &System, folder: &str) -> Vec<Pages> {
    let mut all = Vec::new();
    for name in system.names(folder) {
        let kilobytes = name.strip_prefix("hugepages-");
        let kilobytes = kilobytes.and_then(|rest| rest.strip_suffix("kB"));
        let Some(kilobytes) = kilobytes.and_then(|text| text.parse::<u64>().ok()) else {
            continue;
        };
        let number = |what: &str| system.number(&format!("{folder}/{name}/{what}"));
        all.push(Pages {
            bytes: kilobytes.saturating_mul(1_024),
            reserved: number("nr_hugepages").unwrap_or(0),
            free: number("free_hugepages").unwrap_or(0),
        });
    }
    all.sort_by_key(|pages| pages.bytes);
    all
}

fn bytes(pages: &[Pages], of: impl Fn(&Pages) -> u64) -> u64 {
    let each = pages.iter().map(|p| of(p).saturating_mul(p.bytes));
    each.fold(0, u64::saturating_add)
}

/// One finding for each node.
pub fn check(case: &Case<'_>) -> Vec<Finding> {
    let there = there(case.system);
    if there.is_empty() {
        let command = "grep -i huge /proc/meminfo";
        let text = "this kernel has no huge pages, or does not tell";
        return vec![HUGEPAGES.unknown("machine", text, command)];
    }
    let needs = needs(case);
    let several = there.len() > 1;
    let mut findings = Vec::new();
    for (node, pages) in &there {
        let needed = needs.get(node).map_or(0, |terms| sum(terms));
        let free = bytes(pages, |pages| pages.free);
        let sizes: Vec<String> = pages.iter().map(describe).collect();
        let found = format!("{}; needed {}", sizes.join(", "), size(needed));
        let subject = format!("node {node}");
        let taken = bytes(pages, |pages| pages.reserved.saturating_sub(pages.free));
        findings.push(match free >= needed {
            true => HUGEPAGES.ok(subject, found),
            false => {
                let page = page_size(pages);
                let total = needed.saturating_add(taken);
                let command = reserve(several.then_some(*node), total, page);
                HUGEPAGES.warning(subject, found, command)
            }
        });
    }
    findings
}

fn describe(pages: &Pages) -> String {
    format!(
        "{} of {} pages of {} free",
        pages.free,
        pages.reserved,
        size_of_page(pages.bytes)
    )
}

/// The size to reserve: that of which there are some already, else the smallest.
fn page_size(pages: &[Pages]) -> u64 {
    let in_use = pages.iter().find(|pages| pages.reserved > 0);
    in_use
        .or_else(|| pages.first())
        .map_or(2 << 20, |p| p.bytes)
}

fn size_of_page(bytes: u64) -> &'static str {
    match bytes {
        0x20_0000 => "2M",
        0x4000_0000 => "1G",
        _ => "another size",
    }
}

/// The command that reserves so many bytes on a node in pages of this size.
fn reserve(node: Option<u16>, bytes: u64, page: u64) -> String {
    let mebibytes = bytes.div_ceil(page).saturating_mul(page >> 20);
    let node = node.map_or_else(String::new, |node| format!("--node {node} "));
    let size = if page == 1 << 30 { "1G" } else { "2M" };
    format!("{} {node}{mebibytes} {size}", script("hugepages/reserve"))
}

/// For `--hugepages`: the sum for each node with its terms, and the commands that reserve it. Lines
/// that are no command begin with `#`, so that a shell takes the whole.
pub fn table(case: &Case<'_>) -> String {
    let there = there(case.system);
    let several = there.len() > 1;
    let mut text = String::new();
    for (node, terms) in needs(case) {
        let _ = writeln!(text, "# node {node}");
        for Term { what, bytes } in &terms {
            let _ = writeln!(text, "# {:>14}  {what}", grouped(*bytes));
        }
        let total = sum(&terms);
        let _ = writeln!(text, "# {:>14}  bytes in all", grouped(total));
        for page in [2 << 20, 1 << 30] {
            let pages = total.div_ceil(page);
            let size = size_of_page(page);
            let _ = writeln!(text, "# {pages:>14}  pages of {size}");
        }
        let page = there.get(&node).map_or(2 << 20, |pages| page_size(pages));
        let command = reserve(several.then_some(node), total, page);
        let _ = writeln!(text, "{command}");
    }
    text
}

/// `1,234,567`
fn grouped(number: u64) -> String {
    let digits = number.to_string();
    let mut text = String::new();
    for (place, digit) in digits.chars().enumerate() {
        if place > 0 && (digits.len() - place).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

/// Is a port of the configuration one that DMA reaches: a physical one?
pub fn has_physical_port(case: &Case<'_>) -> bool {
    let configured = case.ports.iter().filter(|port| port.configured);
    configured
        .filter(|port| matches!(port.kind, Kind::Pci(_)))
        .count()
        > 0
}
