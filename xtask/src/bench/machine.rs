//! The machine of a run, and what else ran on it.
//!
//! Must not fail: what cannot be found out is told as unknown.

use std::{fs, path::Path, process::Command, time::Instant};

use serde_json::{Value, json};

/// What numbers depend on.
#[derive(Debug, Clone, Default, PartialEq)]
pub(super) struct Machine {
    pub(super) cpu: String,
    pub(super) cores: usize,
    pub(super) memory_gb: f64,
    pub(super) kernel: String,
    pub(super) python: String,
    pub(super) node: String,
    pub(super) revision: String,
    pub(super) time: String,
}

impl Machine {
    /// The machine at hand, with the revision of the repository.
    pub(super) fn look(repository: &Path) -> Self {
        let dirty =
            !said(Command::new("git").args(["status", "--porcelain"]).current_dir(repository)).is_empty();
        let revision =
            said(Command::new("git").args(["rev-parse", "--short=12", "HEAD"]).current_dir(repository));
        let memory = field("/proc/meminfo", "MemTotal");
        let kilobytes: f64 = memory.trim_end_matches(" kB").parse().unwrap_or(f64::NAN);
        Self {
            cpu: known(field("/proc/cpuinfo", "model name")),
            cores: std::thread::available_parallelism().map_or(0, usize::from),
            memory_gb: kilobytes / (1024.0 * 1024.0),
            kernel: known(fs::read_to_string("/proc/sys/kernel/osrelease").unwrap_or_default()),
            python: known(said(Command::new("python3").arg("--version")).replace("Python ", "")),
            node: known(said(Command::new("node").arg("--version")).trim_start_matches('v').to_owned()),
            revision: known(if dirty { format!("{revision} and changes") } else { revision }),
            time: jiff::Timestamp::now().strftime("%Y-%m-%d %H:%M UTC").to_string(),
        }
    }

    /// One line for people.
    pub(super) fn line(&self) -> String {
        format!(
            "{}, {} cores, {:.1} GB, Linux {}, Python {}, Node {}; revision {}, {}",
            self.cpu,
            self.cores,
            self.memory_gb,
            self.kernel,
            self.python,
            self.node,
            self.revision,
            self.time
        )
    }

    /// The same for programs.
    pub(super) fn json(&self) -> Value {
        json!({
            "cpu": self.cpu,
            "cores": self.cores,
            "memory_gb": self.memory_gb,
            "kernel": self.kernel,
            "python": self.python,
            "node": self.node,
            "revision": self.revision,
            "time": self.time,
        })
    }
}

/// Shares of the processors' time between two moments.
#[derive(Debug, Clone, Copy)]
pub(super) struct Processors {
    since: Instant,
    ticks: [u64; 8],
}

impl Processors {
    /// This moment.
    pub(super) fn now() -> Self {
        let mut ticks = [0; 8];
        let text = fs::read_to_string("/proc/stat").unwrap_or_default();
        let numbers = text.lines().next().unwrap_or_default().split_ascii_whitespace().skip(1);
        ticks.iter_mut().zip(numbers).for_each(|(tick, number)| *tick = number.parse().unwrap_or(0));
        Self { since: Instant::now(), ticks }
    }

    /// Seconds since then, and the share of the processors' time that was busy and that the machine's host took away.
    pub(super) fn since(&self) -> (f64, f64, f64) {
        let now = Self::now();
        let passed: [u64; 8] =
            std::array::from_fn(|index| now.ticks[index].saturating_sub(self.ticks[index]));
        let all = passed.iter().sum::<u64>().max(1) as f64;
        // /proc/stat: user nice system idle iowait irq softirq steal.
        let idle = (passed[3] + passed[4]) as f64;
        (self.since.elapsed().as_secs_f64(), 1.0 - idle / all, passed[7] as f64 / all)
    }
}

fn known(text: String) -> String {
    let text = text.trim();
    if text.is_empty() { "unknown".to_owned() } else { text.to_owned() }
}

fn said(command: &mut Command) -> String {
    let output = command.output().map(|output| output.stdout).unwrap_or_default();
    String::from_utf8_lossy(&output).trim().to_owned()
}

/// The first line `NAME : VALUE` of a file.
fn field(path: &str, name: &str) -> String {
    let text = fs::read_to_string(path).unwrap_or_default();
    let mut fields = text.lines().filter_map(|line| line.split_once(':'));
    fields
        .find(|(found, _)| found.trim() == name)
        .map(|(_, value)| value.trim().to_owned())
        .unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_machine_at_hand_is_known() {
        let machine = Machine::look(&crate::repository());
        assert!(machine.cores > 0);
        assert!(machine.memory_gb > 0.0);
        assert_ne!(machine.kernel, "unknown");
        assert!(machine.line().contains(&machine.kernel));
    }

    #[test]
    fn processors_are_busy_and_idle_for_the_whole_time_together() {
        let before = Processors { ticks: [0; 8], ..Processors::now() };
        let (_, busy, stolen) = before.since();
        assert!((0.0..=1.0).contains(&busy) && (0.0..=1.0).contains(&stolen));
    }
}
