//! How many tests ran, read from what the test runners print.
//!
//! Must not decide whether a runner succeeded: its exit code does.

/// Tests of one step.
#[derive(Debug, Default, Clone, PartialEq, Eq)]
pub(super) struct Counts {
    pub(super) passed: u32,
    pub(super) failed: u32,
    pub(super) skipped: u32,
    /// One line a skip, with its reason.
    pub(super) reasons: Vec<String>,
}

impl Counts {
    /// A check that is either fine or not.
    pub(super) fn one(fine: bool) -> Self {
        Self { passed: u32::from(fine), failed: u32::from(!fine), ..Self::default() }
    }

    /// Something that could not run here.
    pub(super) fn skipped(reason: &str) -> Self {
        Self { skipped: 1, reasons: vec![reason.to_owned()], ..Self::default() }
    }

    pub(super) fn add(&mut self, other: Self) {
        self.passed += other.passed;
        self.failed += other.failed;
        self.skipped += other.skipped;
        self.reasons.extend(other.reasons);
    }

    /// Takes in a line that `cargo test`, pytest or Node's test runner printed.
    pub(super) fn read(&mut self, line: &str) {
        let line = line.trim();
        if let Some(result) = line.strip_prefix("test result: ") {
            self.read_pairs(result);
        } else if let Some(reason) = line.strip_prefix("SKIPPED ") {
            self.reasons.push(reason.to_owned());
        } else if let Some((name, reason)) =
            line.strip_prefix("test ").and_then(|rest| rest.split_once(" ... ignored, "))
        {
            self.reasons.push(format!("{name}: {reason}"));
        } else if let Some((name, reason)) = line.strip_prefix("﹣ ").and_then(|rest| rest.split_once(" # "))
        {
            self.reasons.push(format!("{name}: {reason}"));
        } else if let Some(count) = line.strip_prefix("ℹ ") {
            self.read_node(count);
        } else if is_pytest_total(line) {
            self.read_pairs(line.trim_matches(['=', ' ']));
        }
    }

    /// `3 passed, 1 skipped in 0.4s` and `ok. 3 passed; 0 failed; 1 ignored; …`.
    fn read_pairs(&mut self, text: &str) {
        let words: Vec<&str> = text.split([' ', ',', ';']).filter(|word| !word.is_empty()).collect();
        for pair in words.windows(2) {
            let Ok(count) = pair[0].parse::<u32>() else { continue };
            match pair[1] {
                "passed" | "xfailed" => self.passed += count,
                "failed" | "error" | "errors" | "xpassed" => self.failed += count,
                "skipped" | "ignored" => self.skipped += count,
                _ => {}
            }
        }
    }

    fn read_node(&mut self, text: &str) {
        let Some((word, count)) = text.split_once(' ') else { return };
        let Ok(count) = count.trim().parse::<u32>() else { return };
        match word {
            "pass" => self.passed += count,
            "fail" | "cancelled" => self.failed += count,
            "skipped" | "todo" => self.skipped += count,
            _ => {}
        }
    }
}

/// pytest's last line: `12 passed, 1 skipped in 3.40s`, with or without a frame of equal signs.
fn is_pytest_total(line: &str) -> bool {
    let line = line.trim_matches(['=', ' ']);
    let ends_in_seconds = line
        .rsplit_once(" in ")
        .is_some_and(|(_, time)| time.starts_with(|c: char| c.is_ascii_digit()) && time.contains('s'));
    ends_in_seconds && line.split_once(' ').is_some_and(|(count, _)| count.parse::<u32>().is_ok())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn counted(output: &str) -> (u32, u32, u32) {
        let mut counts = Counts::default();
        output.lines().for_each(|line| counts.read(line));
        (counts.passed, counts.failed, counts.skipped)
    }

    #[test]
    fn cargo_results_are_summed() {
        let output = "running 3 tests\ntest a ... ok\n\
                      test result: FAILED. 2 passed; 1 failed; 4 ignored; 0 measured; 0 filtered out; finished in 0.00s\n\
                      test result: ok. 5 passed; 0 failed; 0 ignored; 0 measured; 0 filtered out; finished in 0.00s";
        assert_eq!(counted(output), (7, 1, 4));
    }

    #[test]
    fn pytest_totals_count_with_and_without_frame() {
        assert_eq!(counted("12 passed, 1 skipped in 3.40s"), (12, 0, 1));
        assert_eq!(counted("=== 2 failed, 1 passed, 1 error in 61.00s (0:01:01) ==="), (1, 3, 0));
        assert_eq!(counted("3 passed tests were seen in the log"), (0, 0, 0));
    }

    #[test]
    fn node_totals_count() {
        assert_eq!(
            counted("ℹ tests 4\nℹ pass 2\nℹ fail 1\nℹ cancelled 0\nℹ skipped 1\nℹ duration_ms 12.5"),
            (2, 1, 1)
        );
    }

    #[test]
    fn reasons_of_skips_are_kept() {
        let mut counts = Counts::default();
        counts.read("SKIPPED [1] tests/python/test_runtimes.py:10: no Go toolchain");
        counts.read("test network ... ignored, needs root");
        assert_eq!(
            counts.reasons,
            ["[1] tests/python/test_runtimes.py:10: no Go toolchain", "network: needs root"]
        );
    }
}
