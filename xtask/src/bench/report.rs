//! What was measured, as a table for people and as JSON.
//!
//! Must not round what it compares.

use serde_json::{Value, json};

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
    /// The measured value.
    pub(super) value: f64,
    /// Its unit, and the floor's.
    pub(super) unit: &'static str,
    /// The floor's name and value.
    pub(super) floor: Option<(&'static str, f64)>,
    /// What is promised, if anything is.
    pub(super) promise: Option<Promise>,
}

impl Row {
    /// A figure that nothing is promised about.
    pub(super) fn new(figure: impl Into<String>, value: f64, unit: &'static str) -> Self {
        Self { figure: figure.into(), value, unit, floor: None, promise: None }
    }

    /// Compares with a floor.
    pub(super) fn floor(mut self, name: &'static str, value: f64) -> Self {
        self.floor = Some((name, value));
        self
    }

    /// Judges by a promise.
    pub(super) fn promise(mut self, promise: Promise) -> Self {
        self.promise = Some(promise);
        self
    }

    fn ratio(&self) -> Option<f64> {
        self.floor.map(|(_, floor)| self.value / floor)
    }

    fn met(&self) -> Option<bool> {
        match self.promise? {
            Promise::RatioAtMost(limit) => self.ratio().map(|ratio| ratio <= limit),
            Promise::RatioAtLeast(limit) => self.ratio().map(|ratio| ratio >= limit),
            Promise::AtMost(limit) => Some(self.value <= limit),
        }
    }

    fn target(&self) -> String {
        match self.promise {
            None => String::new(),
            Some(Promise::RatioAtMost(limit)) => format!("<= {limit} of floor"),
            Some(Promise::RatioAtLeast(limit)) => format!(">= {limit} of floor"),
            Some(Promise::AtMost(limit)) => format!("<= {limit} {}", self.unit),
        }
    }
}

/// All figures of a run.
#[derive(Debug, Default)]
pub(super) struct Report {
    rows: Vec<Row>,
}

impl Report {
    /// Adds a figure, and tells it at once: a whole run takes minutes.
    pub(super) fn add(&mut self, row: Row) {
        eprintln!("  {}: {:.1} {}", row.figure, row.value, row.unit);
        self.rows.push(row);
    }

    /// The table.
    pub(super) fn table(&self) -> String {
        let header = ["figure", "value", "floor", "ratio", "target", "met"].map(str::to_owned);
        let lines: Vec<[String; 6]> = std::iter::once(header).chain(self.rows.iter().map(cells)).collect();
        let widths: [usize; 6] = std::array::from_fn(|column| {
            lines.iter().map(|line| line[column].chars().count()).max().unwrap_or_default()
        });
        let line = |cells: &[String; 6]| {
            let padded: Vec<_> =
                cells.iter().zip(widths).map(|(cell, width)| format!("{cell:<width$}")).collect();
            padded.join("  ").trim_end().to_owned()
        };
        lines.iter().map(line).collect::<Vec<_>>().join("\n")
    }

    /// The same, for programs.
    pub(super) fn json(&self) -> Value {
        self.rows
            .iter()
            .map(|row| {
                json!({
                    "figure": row.figure,
                    "value": row.value,
                    "unit": row.unit,
                    "floor": row.floor.map(|(name, value)| json!({"name": name, "value": value})),
                    "ratio": row.ratio(),
                    "target": row.target(),
                    "met": row.met(),
                })
            })
            .collect()
    }
}

fn cells(row: &Row) -> [String; 6] {
    [
        row.figure.clone(),
        format!("{:.1} {}", row.value, row.unit),
        row.floor.map(|(name, value)| format!("{value:.1} ({name})")).unwrap_or_default(),
        row.ratio().map(|ratio| format!("{ratio:.2}")).unwrap_or_default(),
        row.target(),
        row.met().map(|met| if met { "yes" } else { "NO" }.to_owned()).unwrap_or_default(),
    ]
}

#[cfg(test)]
mod tests {
    use super::*;

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
