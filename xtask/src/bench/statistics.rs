//! What is left of very many times: percentiles of samples, and the medians and spread of rounds.
//!
//! Must not hide noise: every median comes with the least and the most that it stands between.

use std::time::Duration;

/// Times of single requests, sorted, and how long they took together.
#[derive(Debug, Clone)]
pub(super) struct Samples {
    sorted: Vec<Duration>,
    whole: Duration,
}

impl Samples {
    /// Samples that were taken one after the other.
    pub(super) fn new(mut times: Vec<Duration>) -> Self {
        let whole = times.iter().sum();
        times.sort();
        Self { sorted: times, whole }
    }

    /// Samples that were taken at the same time, within this time.
    pub(super) fn within(times: Vec<Duration>, whole: Duration) -> Self {
        Self { whole, ..Self::new(times) }
    }

    /// The sample that this share of all samples does not exceed, in microseconds.
    pub(super) fn percentile(&self, share: f64) -> f64 {
        let index = ((self.sorted.len() as f64 * share).ceil() as usize).clamp(1, self.sorted.len()) - 1;
        self.sorted[index].as_secs_f64() * 1e6
    }

    /// Requests a second.
    pub(super) fn rate(&self) -> f64 {
        self.sorted.len() as f64 / self.whole.as_secs_f64()
    }

    /// Whether so many samples tell this percentile from the slowest one.
    fn resolve(&self, share: f64) -> bool {
        share <= 0.5 || self.sorted.len() as f64 * (1.0 - share) >= 1.0 - f64::EPSILON
    }
}

/// Samples of the same thing, taken round by round. Whatever it is compared with has its turn in each round.
#[derive(Debug, Clone, Default)]
pub(super) struct Series {
    rounds: Vec<Samples>,
}

impl Series {
    /// Adds a round.
    pub(super) fn push(&mut self, samples: Samples) {
        self.rounds.push(samples);
    }

    /// A percentile of each round, in microseconds; one of all samples together where a round has too few for it.
    pub(super) fn percentile(&self, share: f64) -> Rounds {
        if self.rounds.iter().all(|samples| samples.resolve(share)) {
            return self.each(|samples| samples.percentile(share));
        }
        let all = self.rounds.iter().flat_map(|samples| samples.sorted.iter().copied()).collect();
        Rounds::from(Samples::new(all).percentile(share))
    }

    /// The same in milliseconds.
    pub(super) fn milliseconds(&self, share: f64) -> Rounds {
        self.percentile(share).scaled(1e-3)
    }

    /// Requests a second in each round.
    pub(super) fn rate(&self) -> Rounds {
        self.each(Samples::rate)
    }

    fn each(&self, value: impl Fn(&Samples) -> f64) -> Rounds {
        Rounds(self.rounds.iter().map(value).collect())
    }
}

/// One value a round, at least one.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Rounds(Vec<f64>);

impl From<f64> for Rounds {
    fn from(value: f64) -> Self {
        Self(vec![value])
    }
}

impl From<Vec<f64>> for Rounds {
    fn from(values: Vec<f64>) -> Self {
        Self(values)
    }
}

impl Rounds {
    /// In another unit.
    pub(super) fn scaled(&self, factor: f64) -> Self {
        Self(self.0.iter().map(|value| value * factor).collect())
    }

    /// All of them, in the order in which they were taken.
    pub(super) fn values(&self) -> &[f64] {
        &self.0
    }

    /// The one in the middle.
    pub(super) fn median(&self) -> f64 {
        let mut sorted = self.0.clone();
        sorted.sort_by(f64::total_cmp);
        match (sorted.len() / 2, sorted.len() % 2) {
            (_, 0) if sorted.is_empty() => f64::NAN,
            (middle, 0) => f64::midpoint(sorted[middle - 1], sorted[middle]),
            (middle, _) => sorted[middle],
        }
    }

    /// The least and the most, if there is more than one round.
    pub(super) fn spread(&self) -> Option<(f64, f64)> {
        let least = self.0.iter().copied().reduce(f64::min)?;
        let most = self.0.iter().copied().reduce(f64::max)?;
        (self.0.len() > 1).then_some((least, most))
    }

    /// Pair by pair with what was measured in the same rounds; the ratio of the medians where there are no pairs.
    pub(super) fn over(&self, floor: &Self) -> Self {
        if self.0.len() == floor.0.len() {
            Self(self.0.iter().zip(&floor.0).map(|(value, floor)| value / floor).collect())
        } else {
            Self::from(self.median() / floor.median())
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn microseconds(times: impl IntoIterator<Item = u64>) -> Samples {
        Samples::new(times.into_iter().map(Duration::from_micros).collect())
    }

    #[test]
    fn percentiles_are_samples() {
        let samples = microseconds(1..=100);
        assert_eq!(samples.percentile(0.5).round(), 50.0);
        assert_eq!(samples.percentile(0.99).round(), 99.0);
        assert_eq!(samples.percentile(1.0).round(), 100.0);
        assert_eq!(microseconds([7]).percentile(0.5).round(), 7.0);
    }

    #[test]
    fn a_rounds_percentile_is_its_own_only_if_it_has_the_samples() {
        let mut series = Series::default();
        series.push(microseconds(1..=100));
        series.push(microseconds(101..=200));
        assert_eq!(series.percentile(0.99).scaled(1.0).values().len(), 2);
        assert_eq!(series.percentile(0.999).values().len(), 1);
        assert_eq!(series.percentile(0.999).median().round(), 200.0);
    }

    #[test]
    fn medians_lie_in_the_middle_and_spread_needs_two_rounds() {
        assert_eq!(Rounds::from(vec![3.0, 1.0, 2.0]).median(), 2.0);
        assert_eq!(Rounds::from(vec![4.0, 1.0, 2.0, 3.0]).median(), 2.5);
        assert!(Rounds::from(Vec::new()).median().is_nan());
        assert_eq!(Rounds::from(vec![3.0, 1.0, 2.0]).spread(), Some((1.0, 3.0)));
        assert_eq!(Rounds::from(5.0).spread(), None);
    }

    #[test]
    fn weather_that_meets_both_of_a_pair_leaves_their_ratio_alone() {
        let figure = Rounds::from(vec![20.0, 200.0, 22.0]);
        let floor = Rounds::from(vec![10.0, 100.0, 11.0]);
        assert_eq!(figure.over(&floor), Rounds::from(vec![2.0, 2.0, 2.0]));
        assert_eq!(figure.over(&Rounds::from(11.0)), Rounds::from(2.0));
    }
}
