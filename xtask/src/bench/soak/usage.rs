//! What the service uses at one moment, and how much more that may become.
//!
//! Must not know what was sent meanwhile.

use std::{fmt, fs, path::Path};

use crate::bench::memory;

/// What the service uses while nothing runs.
#[derive(Debug, Clone)]
pub(super) struct Usage {
    /// Memory that only the service has, in MB.
    memory: f64,
    /// Its open files and sockets.
    descriptors: f64,
    threads: f64,
    /// It and everything below it.
    processes: f64,
    /// What it keeps besides logs, in MB.
    state: f64,
    /// Logs, in MB: kept as long as their groups say, so they grow.
    logs: f64,
}

/// How one thing grew.
#[derive(Debug)]
pub(super) struct Growth {
    what: &'static str,
    unit: &'static str,
    before: f64,
    after: f64,
    /// What is no growth yet: such a share, and so much.
    share: f64,
    amount: f64,
}

impl Usage {
    pub(super) const HEADINGS: &str =
        "  invokes     rate   memory  fds  threads  processes     state      logs";

    /// Of a service and its data.
    pub(super) fn of(pid: u32, data: &Path) -> Self {
        let entries = |what| fs::read_dir(format!("/proc/{pid}/{what}")).map_or(0, Iterator::count) as f64;
        let is_log = |name: &str| name.starts_with("logs");
        Usage {
            memory: memory::private(&[pid]),
            descriptors: entries("fd"),
            threads: entries("task"),
            processes: memory::tree(pid).len() as f64,
            state: size(data, &|name| !is_log(name)),
            logs: size(data, &is_log),
        }
    }

    /// A line under the headings.
    pub(super) fn line(&self, invokes: usize, rate: f64) -> String {
        let Usage { memory, descriptors, threads, processes, state, logs } = self;
        format!(
            "{invokes:9} {rate:6.0}/s {memory:5.1} MB {descriptors:4} {threads:8} {processes:10} {state:6.1} MB \
             {logs:6.1} MB"
        )
    }

    /// What became of everything that must not grow.
    pub(super) fn growth_since(&self, before: &Self) -> Vec<Growth> {
        let of = |what, unit, read: fn(&Self) -> f64, share, amount| Growth {
            what,
            unit,
            before: read(before),
            after: read(self),
            share,
            amount,
        };
        vec![
            of("memory", " MB", |usage| usage.memory, 0.1, 4.0),
            of("open files", "", |usage| usage.descriptors, 0.0, 4.0),
            // Those for what blocks come and go.
            of("threads", "", |usage| usage.threads, 0.0, 4.0),
            of("processes", "", |usage| usage.processes, 0.0, 2.0),
            // The write-ahead log has the size of the largest burst.
            of("state", " MB", |usage| usage.state, 0.1, 4.0),
        ]
    }
}

impl Growth {
    /// Whether it grew no more than it may.
    pub(super) fn is_within_bounds(&self) -> bool {
        self.after <= self.limit()
    }

    fn limit(&self) -> f64 {
        self.before * (1.0 + self.share) + self.amount
    }
}

impl fmt::Display for Growth {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Growth { what, unit, before, after, .. } = self;
        let verdict = if self.is_within_bounds() { "ok" } else { "GREW" };
        write!(
            f,
            "{what}: {before:.1}{unit} when warm, {after:.1}{unit} at the end, at most {:.1}{unit}: {verdict}",
            self.limit()
        )
    }
}

/// Bytes in files below a directory whose topmost name is wanted, in MB.
fn size(directory: &Path, wanted: &dyn Fn(&str) -> bool) -> f64 {
    let mut sum = 0.0;
    for entry in fs::read_dir(directory).into_iter().flatten().flatten() {
        if !wanted(&entry.file_name().to_string_lossy()) {
            continue;
        }
        // What has just been removed has no size.
        let Ok(metadata) = entry.path().symlink_metadata() else { continue };
        sum += match metadata.is_dir() {
            true => size(&entry.path(), &|_| true),
            false => metadata.len() as f64 / f64::from(1 << 20),
        };
    }
    sum
}
