//! Statistics over the values of a period.
//!
//! Must not know where values come from.

use hothouse_control::metrics::Distribution;

use super::Refusal;

/// What is asked of values.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) enum Statistic {
    SampleCount,
    Average,
    Sum,
    Minimum,
    Maximum,
    Percentile(f64),
}

impl Statistic {
    /// Reads `Sum`, `p99.9` and so on.
    pub(super) fn parse(text: &str) -> Result<Self, Refusal> {
        Ok(match text {
            "SampleCount" => Self::SampleCount,
            "Average" => Self::Average,
            "Sum" => Self::Sum,
            "Minimum" => Self::Minimum,
            "Maximum" => Self::Maximum,
            text => return Self::percentile(text),
        })
    }

    pub(super) fn percentile(text: &str) -> Result<Self, Refusal> {
        let number =
            text.strip_prefix('p').filter(|rest| rest.starts_with(|first: char| first.is_ascii_digit()));
        let number =
            number.and_then(|number| number.parse().ok()).filter(|number| (0.0..=100.0).contains(number));
        number.map(Self::Percentile).ok_or_else(|| {
            Refusal::invalid(format!(
                "The value {text} for parameter Stat is not a valid statistic. Hothouse knows SampleCount, Average, Sum, \
                 Minimum, Maximum and percentiles such as p99.9."
            ))
        })
    }

    /// Nothing where the values do not tell.
    pub(super) fn of(self, values: &Distribution) -> Option<f64> {
        Some(match self {
            Self::SampleCount => values.count(),
            Self::Average => values.sum() / values.count(),
            Self::Sum => values.sum(),
            Self::Minimum => values.minimum(),
            Self::Maximum => values.maximum(),
            Self::Percentile(percentile) => return values.percentile(percentile),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn statistics_by_name() {
        let mut values = Distribution::default();
        values.record(2.0, 3.0);
        values.record(6.0, 1.0);
        let of = |name| Statistic::parse(name).unwrap().of(&values).unwrap();
        let names = ["SampleCount", "Average", "Sum", "Minimum", "Maximum", "p100"];
        assert_eq!(names.map(of), [4.0, 3.0, 12.0, 2.0, 6.0, 6.0]);
        assert!((of("p50.5") - 2.0).abs() < 0.02);
        for wrong in ["sum", "p", "p101", "pNaN", "p-1", "tm90", ""] {
            assert!(Statistic::parse(wrong).is_err(), "{wrong}");
        }
    }
}
