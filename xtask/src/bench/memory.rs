//! Memory of processes, from /proc.
//!
//! Must not count a page twice: `Pss` shares it among its users, and private bytes are those of one process alone.

use std::fs;

/// A process with all processes below it.
pub(super) fn tree(root: u32) -> Vec<u32> {
    let mut parents: Vec<(u32, u32)> = Vec::new();
    for entry in fs::read_dir("/proc").into_iter().flatten().flatten() {
        let Some(pid) = entry.file_name().to_str().and_then(|name| name.parse().ok()) else { continue };
        if let Some(parent) = parent(pid) {
            parents.push((pid, parent));
        }
    }
    let mut found = vec![root];
    let mut index = 0;
    while let Some(parent) = found.get(index).copied() {
        found.extend(parents.iter().filter(|(_, of)| *of == parent).map(|(pid, _)| *pid));
        index += 1;
    }
    found
}

fn parent(pid: u32) -> Option<u32> {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    // The name may hold anything, even `) `; it ends at the last one.
    stat.rsplit_once(") ")?.1.split(' ').nth(1)?.parse().ok()
}

/// Proportional share of memory, in MB.
pub(super) fn proportional(pids: &[u32]) -> f64 {
    pids.iter().map(|pid| rollup(*pid, &["Pss"])).sum()
}

/// Memory that no other process shares, in MB.
pub(super) fn private(pids: &[u32]) -> f64 {
    pids.iter().map(|pid| rollup(*pid, &["Private_Clean", "Private_Dirty"])).sum()
}

fn rollup(pid: u32, fields: &[&str]) -> f64 {
    // A process that has just ended has no memory.
    let text = fs::read_to_string(format!("/proc/{pid}/smaps_rollup")).unwrap_or_default();
    kilobytes(&text, fields) / 1024.0
}

/// What the machine has left, in MB.
pub(super) fn available() -> f64 {
    let text = fs::read_to_string("/proc/meminfo").unwrap_or_default();
    kilobytes(&text, &["MemAvailable"]) / 1024.0
}

/// The sum of fields of a text with lines `NAME: NUMBER kB`.
fn kilobytes(text: &str, fields: &[&str]) -> f64 {
    text.lines()
        .filter_map(|line| line.split_once(':'))
        .filter(|(name, _)| fields.contains(name))
        .filter_map(|(_, value)| value.trim().trim_end_matches(" kB").parse::<f64>().ok())
        .sum()
}
