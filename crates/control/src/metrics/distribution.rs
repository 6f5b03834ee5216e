//! Many values in little room: how many, their sum, the least, the greatest, and percentiles to within a hundredth.
//!
//! Must not know what is measured.

use serde::{Deserialize, Serialize};

/// Values within this factor share a bucket, so that what a bucket stands for is at most half of it off.
const FACTOR: f64 = 1.02;

/// What is known of a set of values.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Distribution {
    count: f64,
    sum: f64,
    minimum: f64,
    maximum: f64,
    /// How many values are in which bucket, in the order of the buckets.
    buckets: Vec<(i32, f64)>,
    /// Some values are known by their count, sum and bounds only.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    summarized: bool,
}

impl Distribution {
    /// Takes in a value, `count` times.
    pub fn record(&mut self, value: f64, count: f64) {
        if count <= 0.0 || !value.is_finite() || !count.is_finite() {
            return;
        }
        self.widen(value, value);
        self.count += count;
        self.sum += value * count;
        self.put(bucket(value), count);
    }

    /// Takes in values of which no more is known than this.
    pub fn record_summary(&mut self, count: f64, sum: f64, minimum: f64, maximum: f64) {
        #[expect(clippy::float_cmp, reason = "they are what the caller sent, not computed")]
        if minimum == maximum {
            return self.record(minimum, count);
        }
        self.widen(minimum, maximum);
        self.count += count;
        self.sum += sum;
        self.summarized = true;
    }

    /// Takes in all that another has.
    pub fn merge(&mut self, other: &Distribution) {
        if other.count == 0.0 {
            return;
        }
        self.widen(other.minimum, other.maximum);
        self.count += other.count;
        self.sum += other.sum;
        self.summarized |= other.summarized;
        for (bucket, count) in &other.buckets {
            self.put(*bucket, *count);
        }
    }

    /// How many values there are.
    pub fn count(&self) -> f64 {
        self.count
    }

    /// Their sum.
    pub fn sum(&self) -> f64 {
        self.sum
    }

    /// The least.
    pub fn minimum(&self) -> f64 {
        self.minimum
    }

    /// The greatest.
    pub fn maximum(&self) -> f64 {
        self.maximum
    }

    /// The value that so many of a hundred do not exceed; nothing if the values are not known.
    pub fn percentile(&self, percentile: f64) -> Option<f64> {
        if self.summarized || self.count == 0.0 {
            return None;
        }
        let rank = self.count * percentile / 100.0;
        let mut below = 0.0;
        for (bucket, count) in &self.buckets {
            below += count;
            if below >= rank {
                return Some(middle(*bucket).clamp(self.minimum, self.maximum));
            }
        }
        Some(self.maximum)
    }

    /// How many values are no greater than this, as far as buckets tell.
    pub fn count_to(&self, bound: f64) -> f64 {
        let last = bucket(bound);
        self.buckets.iter().take_while(|(bucket, _)| *bucket <= last).map(|(_, count)| count).sum()
    }

    fn widen(&mut self, minimum: f64, maximum: f64) {
        let first = self.count == 0.0;
        self.minimum = if first { minimum } else { self.minimum.min(minimum) };
        self.maximum = if first { maximum } else { self.maximum.max(maximum) };
    }

    fn put(&mut self, bucket: i32, count: f64) {
        match self.buckets.binary_search_by_key(&bucket, |(bucket, _)| *bucket) {
            Ok(at) => self.buckets[at].1 += count,
            Err(at) => self.buckets.insert(at, (bucket, count)),
        }
    }
}

/// Zero has a bucket of its own; the others are in the order of their values.
fn bucket(value: f64) -> i32 {
    /// More than any number's logarithm.
    const OFFSET: f64 = 50_000.0;
    if value == 0.0 {
        return 0;
    }
    let rank = (OFFSET + (value.abs().ln() / FACTOR.ln()).floor()) as i32;
    if value < 0.0 { -rank } else { rank }
}

fn middle(bucket: i32) -> f64 {
    if bucket == 0 {
        return 0.0;
    }
    let middle = FACTOR.powf(f64::from(bucket.abs() - 50_000) + 0.5);
    if bucket < 0 { -middle } else { middle }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn of(values: &[f64]) -> Distribution {
        let mut distribution = Distribution::default();
        for value in values {
            distribution.record(*value, 1.0);
        }
        distribution
    }

    #[test]
    fn percentiles_are_within_a_hundredth() {
        let values: Vec<f64> = (1..=1000).map(f64::from).collect();
        let distribution = of(&values);
        for (percentile, exact) in [(0.0, 1.0), (50.0, 500.0), (90.0, 900.0), (99.9, 999.0), (100.0, 1000.0)]
        {
            let found = distribution.percentile(percentile).unwrap();
            assert!((found - exact).abs() <= exact / 100.0, "p{percentile}: {found}");
        }
        assert_eq!((distribution.count(), distribution.sum()), (1000.0, 500_500.0));
        assert_eq!((distribution.minimum(), distribution.maximum()), (1.0, 1000.0));
    }

    #[test]
    fn single_value_is_exact() {
        for value in [0.0, -3.7, 1e-100, 123.456, 1e100] {
            assert_eq!(of(&[value]).percentile(50.0), Some(value));
        }
    }

    #[test]
    fn what_is_known_by_its_bounds_has_no_percentiles() {
        let mut distribution = of(&[1.0]);
        distribution.record_summary(2.0, 5.0, 2.0, 3.0);
        assert_eq!(distribution.percentile(50.0), None);
        assert_eq!((distribution.count(), distribution.sum()), (3.0, 6.0));
        assert_eq!((distribution.minimum(), distribution.maximum()), (1.0, 3.0));
        let mut equal = Distribution::default();
        equal.record_summary(2.0, 4.0, 2.0, 2.0);
        assert_eq!(equal.percentile(50.0), Some(2.0), "all of them are this");
    }

    proptest! {
        #[test]
        fn merging_is_recording_all(a in prop::collection::vec(-1e6..1e6_f64, 0..50), b in prop::collection::vec(-1e6..1e6_f64, 0..50)) {
            let mut merged = of(&a);
            merged.merge(&of(&b));
            let all = of(&[a, b].concat());
            prop_assert_eq!(&merged.buckets, &all.buckets);
            prop_assert_eq!((merged.count, merged.minimum, merged.maximum), (all.count, all.minimum, all.maximum));
            prop_assert!((merged.sum - all.sum).abs() < 1e-3);
        }
    }
}
