//! How fast a function may get more environments.
//!
//! Must not know what they are for: provisioned ones are not asked about here.

use std::{
    sync::{Mutex, PoisonError},
    time::Duration,
};

use tokio::time::Instant;

/// So many environments at once, and as many more as time passes.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct ScalingRate {
    /// At once; 0 for any number.
    pub burst: usize,
    /// After this time there may be as many again.
    pub period: Duration,
}

/// AWS's, for each function.
impl Default for ScalingRate {
    fn default() -> Self {
        Self { burst: 1000, period: Duration::from_secs(10) }
    }
}

/// What is left of a function's rate.
#[derive(Debug)]
pub(crate) struct Bucket {
    rate: ScalingRate,
    /// How many may be started, and when that was so.
    left: Mutex<(f64, Instant)>,
}

impl Bucket {
    pub(crate) fn new(rate: ScalingRate, now: Instant) -> Self {
        Self { rate, left: Mutex::new((rate.burst as f64, now)) }
    }

    /// Takes one out, if there is one.
    pub(crate) fn take(&self, now: Instant) -> bool {
        let most = self.rate.burst as f64;
        if self.rate.burst == 0 {
            return true;
        }
        // Both numbers are set together.
        let mut left = self.left.lock().unwrap_or_else(PoisonError::into_inner);
        let passed = now.saturating_duration_since(left.1).as_secs_f64();
        let there = (left.0 + passed * most / self.rate.period.as_secs_f64().max(0.001)).min(most);
        let taken = there >= 1.0;
        *left = (if taken { there - 1.0 } else { there }, now);
        taken
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn there_may_be_as_many_again_after_the_period() {
        let now = Instant::now();
        let rate = ScalingRate { burst: 10, period: Duration::from_secs(10) };
        let bucket = Bucket::new(rate, now);
        let taken = |seconds| (0..15).filter(|_| bucket.take(now + Duration::from_secs(seconds))).count();
        assert_eq!([taken(0), taken(3), taken(13), taken(1000)], [10, 3, 10, 10]);
        let any = Bucket::new(ScalingRate { burst: 0, ..rate }, now);
        assert!((0..5000).all(|_| any.take(now)));
    }
}
