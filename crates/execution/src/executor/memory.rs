//! The memory of the machine: how many environments it bears, and whether there is little left.
//!
//! What environments use counts, not what they may use: `MemorySize` is a ceiling that few come near. Must not decide who
//! goes.

use std::{
    fs,
    sync::Mutex,
    time::{Duration, Instant},
};

/// The memory of an idle environment that does little, in kilobytes, with the service's own for it: a Python environment
/// was measured at 11 MB, one of Node at 30 MB (what they share with others of their kind not counted).
const OF_AN_ENVIRONMENT: u64 = 24 * 1024;

/// As many as invocations that may run by AWS's default quota.
const MOST: u64 = 1000;

/// However small the machine is.
const FEWEST: u64 = 10;

/// Looking costs some microseconds, and many environments start at once.
const BELIEVED_FOR: Duration = Duration::from_millis(50);

/// Environments that fit into this machine's memory, or into what a container lets us have of it.
pub fn fitting_environments() -> usize {
    let of_container = ["/sys/fs/cgroup/memory.max", "/sys/fs/cgroup/memory/memory.limit_in_bytes"]
        .into_iter()
        .filter_map(|path| fs::read_to_string(path).ok()?.trim().parse::<u64>().ok());
    let of_machine = Memory::now().map(|memory| memory.total);
    match of_container.map(|bytes| bytes / 1024).chain(of_machine).min() {
        Some(kilobytes) => (kilobytes / OF_AN_ENVIRONMENT).clamp(FEWEST, MOST) as usize,
        None => MOST as usize,
    }
}

/// Whether memory is short, as of the latest look.
#[derive(Debug, Default)]
pub(super) struct Shortage(Mutex<Option<(Instant, bool)>>);

impl Shortage {
    /// Looks again if the last look is old.
    pub(super) fn is_there(&self) -> bool {
        // Both values are set together.
        let mut latest = self.0.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        match *latest {
            Some((at, short)) if at.elapsed() < BELIEVED_FOR => short,
            _ => {
                let short = Memory::now().is_some_and(|memory| memory.is_short());
                *latest = Some((Instant::now(), short));
                short
            }
        }
    }
}

/// In kilobytes.
#[derive(Debug, PartialEq, Eq)]
struct Memory {
    total: u64,
    /// What programs can still get, with what the kernel would give up for them.
    available: u64,
}

impl Memory {
    fn now() -> Option<Memory> {
        Memory::parse(&fs::read_to_string("/proc/meminfo").ok()?)
    }

    fn parse(text: &str) -> Option<Memory> {
        let value = |name: &str| {
            let line = text.lines().find_map(|line| line.strip_prefix(name))?;
            line.trim().strip_suffix("kB")?.trim().parse().ok()
        };
        Some(Memory { total: value("MemTotal:")?, available: value("MemAvailable:")? })
    }

    /// Less than a sixteenth is left, or than a gigabyte where there is much.
    fn is_short(&self) -> bool {
        self.available < (self.total / 16).min(1 << 20)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn memory_is_short_when_little_can_be_had() {
        let memory =
            Memory::parse("MemTotal:        8000000 kB\nMemFree: 1 kB\nMemAvailable:     500001 kB\n");
        assert_eq!(memory, Some(Memory { total: 8_000_000, available: 500_001 }));
        assert!(!memory.unwrap().is_short());
        assert!(Memory { total: 8_000_000, available: 499_999 }.is_short());
        assert!(!Memory { total: 1 << 30, available: 1 << 20 }.is_short());
        assert_eq!(Memory::parse("MemTotal: 1 kB\n"), None);
        assert!(Memory::now().is_some());
    }
}
