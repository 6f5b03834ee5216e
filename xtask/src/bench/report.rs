//! What was measured, as a table for people and as JSON.
//!
//! Must not round what it compares.

use serde_json::{Value, json};

use super::{
    BenchError,
    machine::{Machine, Processors},
    statistics::Rounds,
};

/// What is promised about a figure.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) enum Promise {
    /// The ratio to the floor is at most this.
    RatioAtMost(f64),
    /// The ratio to the floor is at least this.
    RatioAtLeast(f64),
    /// The value itself is at most this, in its unit.
    AtMost(f64),
}

/// One figure.
#[derive(Debug, Clone)]
pub(super) struct Row {
    /// What was measured.
    pub(super) figure: String,
    /// The group that it belongs to.
    pub(super) group: &'static str,
    /// The measured values, one a round.
    pub(super) value: Rounds,
    /// Its unit, and the floor's.
    pub(super) unit: &'static str,
    /// The floor's name and values.
    pub(super) floor: Option<(&'static str, Rounds)>,
    /// What is promised, if anything is.
    pub(super) promise: Option<Promise>,
}

impl Row {
    /// A figure that nothing is promised about.
    pub(super) fn new(figure: impl Into<String>, value: impl Into<Rounds>, unit: &'static str) -> Self {
        Self { figure: figure.into(), group: "", value: value.into(), unit, floor: None, promise: None }
    }

    /// Compares with a floor; pair by pair, if both were measured in the same rounds.
    pub(super) fn floor(mut self, name: &'static str, value: impl Into<Rounds>) -> Self {
        self.floor = Some((name, value.into()));
        self
    }

    /// Judges by a promise.
    pub(super) fn promise(mut self, promise: Promise) -> Self {
        self.promise = Some(promise);
        self
    }

    /// Ratios to the floor, one a round.
    pub(super) fn ratios(&self) -> Option<Rounds> {
        self.floor.as_ref().map(|(_, floor)| self.value.over(floor))
    }

    /// Whether the promise is kept, by the medians.
    pub(super) fn met(&self) -> Option<bool> {
        let ratio = self.ratios().map(|ratios| ratios.median());
        match self.promise? {
            Promise::RatioAtMost(limit) => ratio.map(|ratio| ratio <= limit),
            Promise::RatioAtLeast(limit) => ratio.map(|ratio| ratio >= limit),
            Promise::AtMost(limit) => Some(self.value.median() <= limit),
        }
    }

    /// The promise in words.
    pub(super) fn target(&self) -> String {
        match self.promise {
            None => String::new(),
            Some(Promise::RatioAtMost(limit)) => format!("≤ {limit} of floor"),
            Some(Promise::RatioAtLeast(limit)) => format!("≥ {limit} of floor"),
            Some(Promise::AtMost(limit)) => format!("≤ {limit} {}", self.unit).trim_end().to_owned(),
        }
    }

    /// The row as text: figure, value, floor, ratio, target, met.
    pub(super) fn cells(&self) -> [String; COLUMNS.len()] {
        [
            self.figure.clone(),
            format!("{} {}", with_spread(&self.value), self.unit).trim_end().to_owned(),
            self.floor
                .as_ref()
                .map(|(name, floor)| format!("{} ({name})", short(floor.median())))
                .unwrap_or_default(),
            self.ratios().map(|ratios| with_spread(&ratios)).unwrap_or_default(),
            self.target(),
            self.met().map(|met| if met { "yes" } else { "NO" }.to_owned()).unwrap_or_default(),
        ]
    }

    fn json(&self) -> Value {
        json!({
            "group": self.group,
            "figure": self.figure,
            "value": spread_json(&self.value),
            "unit": self.unit,
            "floor": self.floor.as_ref().map(|(name, floor)| {
                let mut floor = spread_json(floor);
                floor["name"] = json!(name);
                floor
            }),
            "ratio": self.ratios().map(|ratios| spread_json(&ratios)),
            "target": self.target(),
            "met": self.met(),
        })
    }
}

/// Headings of a row's cells.
pub(super) const COLUMNS: [&str; 6] =
    ["figure", "median (least–most)", "floor", "ratio (least–most)", "target", "met"];

fn spread_json(rounds: &Rounds) -> Value {
    let (least, most) = rounds.spread().unzip();
    json!({ "median": rounds.median(), "least": least, "most": most, "rounds": rounds.values() })
}

/// A median, and in brackets what it lies between.
pub(super) fn with_spread(rounds: &Rounds) -> String {
    let median = short(rounds.median());
    match rounds.spread() {
        Some((least, most)) => format!("{median} ({}–{})", short(least), short(most)),
        None => median,
    }
}

/// Three digits that matter.
pub(super) fn short(value: f64) -> String {
    match value.abs() {
        size if size >= 100.0 => format!("{value:.0}"),
        size if size >= 10.0 => format!("{value:.1}"),
        size if size >= 0.1 => format!("{value:.2}"),
        0.0 => "0".to_owned(),
        _ => format!("{value:.3}"),
    }
}

/// Something that could not be measured, and why.
#[derive(Debug, Clone)]
pub(super) struct Missing {
    /// The group, or one of its figures.
    pub(super) what: String,
    /// Why there is no number.
    pub(super) why: String,
    /// Whether something went wrong; if not, the service or the machine does not have it.
    pub(super) failed: bool,
}

/// All figures of a run.
#[derive(Debug)]
pub(super) struct Report {
    pub(super) machine: Machine,
    pub(super) rows: Vec<Row>,
    pub(super) missing: Vec<Missing>,
    group: &'static str,
    processors: Processors,
    silent: bool,
}

impl Report {
    /// An empty report of this machine; time passes from now on.
    pub(super) fn new(machine: Machine) -> Self {
        let (rows, missing) = (Vec::new(), Vec::new());
        Self { machine, rows, missing, group: "", processors: Processors::now(), silent: false }
    }

    /// Does not tell figures while they come.
    pub(super) fn silent(self) -> Self {
        Self { silent: true, ..self }
    }

    /// Figures that follow belong to this group.
    pub(super) fn begin(&mut self, group: &'static str) {
        self.group = group;
    }

    /// Adds a figure, and tells it at once: a whole run takes minutes.
    pub(super) fn add(&mut self, row: Row) {
        self.tell(&format!("{}: {} {}", row.figure, with_spread(&row.value), row.unit));
        self.rows.push(Row { group: self.group, ..row });
    }

    /// Tells that a figure is not there because the service or the machine lacks what it needs.
    pub(super) fn lacks(&mut self, figure: &str, why: &str) {
        self.tell(&format!("{figure}: {why}"));
        self.missing.push(Missing { what: figure.to_owned(), why: why.to_owned(), failed: false });
    }

    /// Tells that the group, or what was left of it, could not be measured.
    pub(super) fn fail(&mut self, error: &BenchError) {
        self.tell(&format!("{}: failed: {error}", self.group));
        let what = format!("the rest of `{}`", self.group);
        self.missing.push(Missing { what, why: error.to_string(), failed: true });
    }

    /// Whether nothing failed.
    pub(super) fn is_complete(&self) -> bool {
        self.missing.iter().all(|missing| !missing.failed)
    }

    /// How long it took, and what happened on the machine meanwhile.
    pub(super) fn weather(&self) -> String {
        let (seconds, busy, stolen) = self.processors.since();
        format!(
            "{seconds:.0} s; processors busy for {:.0} % of it, taken by the machine's host for {:.1} %",
            busy * 100.0,
            stolen * 100.0
        )
    }

    /// The table.
    pub(super) fn table(&self) -> String {
        let header = COLUMNS.map(str::to_owned);
        let lines: Vec<_> = std::iter::once(header).chain(self.rows.iter().map(Row::cells)).collect();
        let missing =
            self.missing.iter().map(|missing| format!("not measured: {}: {}", missing.what, missing.why));
        let mut text = vec![columns(&lines)];
        text.extend(missing);
        text.extend([String::new(), self.machine.line(), self.weather()]);
        text.join("\n")
    }

    /// The same, for programs.
    pub(super) fn json(&self) -> Value {
        let (seconds, busy, stolen) = self.processors.since();
        let missing = self
            .missing
            .iter()
            .map(|missing| json!({ "what": missing.what, "why": missing.why, "failed": missing.failed }));
        json!({
            "machine": self.machine.json(),
            "seconds": seconds,
            "processors": { "busy": busy, "stolen": stolen },
            "figures": self.rows.iter().map(Row::json).collect::<Value>(),
            "missing": missing.collect::<Value>(),
        })
    }

    fn tell(&self, line: &str) {
        if !self.silent {
            eprintln!("  {line}");
        }
    }
}

/// Lines of cells, each column as wide as its widest cell.
pub(super) fn columns<const N: usize>(lines: &[[String; N]]) -> String {
    let widths: [usize; N] = std::array::from_fn(|column| {
        lines.iter().map(|line| line[column].chars().count()).max().unwrap_or_default()
    });
    let line = |cells: &[String; N]| {
        let padded: Vec<_> =
            cells.iter().zip(widths).map(|(cell, width)| format!("{cell:<width$}")).collect();
        padded.join("  ").trim_end().to_owned()
    };
    lines.iter().map(line).collect::<Vec<_>>().join("\n")
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;

    pub(in crate::bench) fn machine() -> Machine {
        Machine {
            cpu: "Processor".to_owned(),
            cores: 2,
            memory_gb: 8.0,
            kernel: "6.1.0".to_owned(),
            python: "3.12.1".to_owned(),
            node: "22.1.0".to_owned(),
            revision: "0123456789ab".to_owned(),
            time: "2026-01-02 03:04 UTC".to_owned(),
        }
    }

    /// One of each kind.
    pub(in crate::bench) fn example() -> Report {
        let mut report = Report::new(machine()).silent();
        report.begin("ready");
        report.add(Row::new("ready, p50", 12.5, "ms").promise(Promise::AtMost(50.0)));
        report.begin("warm");
        let floor = || Rounds::from(vec![10.0, 11.0, 9.0]);
        report.add(Row::new("F1 relay, p50", floor(), "us"));
        report.add(
            Row::new("warm <python>, p50", vec![14.0, 15.0, 13.0], "us")
                .floor("F1 p50", floor())
                .promise(Promise::RatioAtMost(1.4)),
        );
        report.add(
            Row::new("warm <python>, rate", vec![80.0, 90.0, 85.0], "/s")
                .floor("F1 rate", vec![100.0, 100.0, 100.0])
                .promise(Promise::RatioAtLeast(0.75)),
        );
        report.add(Row::new("failed", 0.0, "").promise(Promise::AtMost(0.0)));
        report.lacks("restore", "not supported");
        report.begin("cold");
        report.fail(&BenchError::Missing("node"));
        report
    }

    #[test]
    fn what_is_missing_is_an_error_only_if_it_failed() {
        let mut report = Report::new(machine()).silent();
        report.lacks("restore", "not supported");
        assert!(report.is_complete());
        assert!(!example().is_complete());
    }

    #[test]
    fn the_table_and_the_document_tell_the_same() {
        let report = example();
        let table = report.table();
        // The last line is how long it took.
        insta::assert_snapshot!(table.rsplit_once('\n').unwrap().0);
        insta::assert_json_snapshot!(report.json()["figures"]);
    }

    #[test]
    fn promises_are_judged_by_ratio_or_value() {
        let row = Row::new("warm", 14.0, "us").floor("F1", 10.0);
        assert_eq!(row.clone().promise(Promise::RatioAtMost(1.4)).met(), Some(true));
        assert_eq!(row.clone().promise(Promise::RatioAtMost(1.3)).met(), Some(false));
        assert_eq!(row.clone().promise(Promise::RatioAtLeast(1.5)).met(), Some(false));
        assert_eq!(row.clone().promise(Promise::AtMost(14.0)).met(), Some(true));
        assert_eq!(row.met(), None);
    }
}
