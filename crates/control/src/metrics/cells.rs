//! Where numbers are put: by the minute, and since the service started.
//!
//! Must not know what they are about.

use std::{collections::VecDeque, sync::Mutex};

use super::{Distribution, Metric, lock};

/// Minutes that are kept if nobody takes them.
const MINUTES: usize = 60;

/// Numbers about one thing.
#[derive(Debug, Default)]
pub(crate) struct Cells {
    inner: Mutex<Inner>,
}

#[derive(Debug, Default)]
struct Inner {
    totals: Values,
    /// Oldest first.
    minutes: VecDeque<(i64, Values)>,
}

/// A handful of metrics: looking through them costs less than hashing.
type Values = Vec<(Metric, Distribution)>;

impl Cells {
    /// Takes in values of one moment, in milliseconds since the epoch.
    pub(crate) fn record(&self, millis: i64, values: &[(Metric, f64)]) {
        let minute = millis.div_euclid(60_000);
        let mut inner = lock(&self.inner);
        let Inner { totals, minutes } = &mut *inner;
        let at = match minutes.binary_search_by_key(&minute, |(minute, _)| *minute) {
            Ok(at) => at,
            Err(at) => {
                minutes.insert(at, (minute, Values::new()));
                at
            }
        };
        for (metric, value) in values {
            of(totals, *metric).record(*value, 1.0);
            if metric.of_aws().is_some() {
                of(&mut minutes[at].1, *metric).record(*value, 1.0);
            }
        }
        if minutes.len() > MINUTES {
            minutes.pop_front();
        }
    }

    /// How many values of a metric there were.
    pub(crate) fn count(&self, metric: Metric) -> u64 {
        of(&mut lock(&self.inner).totals, metric).count() as u64
    }

    pub(super) fn take(&self) -> Vec<(i64, Metric, Distribution)> {
        let minutes = std::mem::take(&mut lock(&self.inner).minutes);
        let of_minute = |(minute, values): (i64, Values)| {
            values.into_iter().map(move |(metric, values)| (minute, metric, values))
        };
        minutes.into_iter().flat_map(of_minute).collect()
    }

    pub(super) fn is_taken(&self) -> bool {
        lock(&self.inner).minutes.is_empty()
    }

    pub(super) fn totals(&self) -> Vec<(Metric, Distribution)> {
        lock(&self.inner).totals.clone()
    }
}

fn of(values: &mut Values, metric: Metric) -> &mut Distribution {
    let at = values.iter().position(|(known, _)| *known == metric).unwrap_or_else(|| {
        values.push((metric, Distribution::default()));
        values.len() - 1
    });
    &mut values[at].1
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_are_given_once_and_remembered_in_the_totals() {
        let cells = Cells::default();
        cells.record(59_999, &[(Metric::Duration, 2.0), (Metric::InitDuration, 9.0)]);
        cells.record(60_000, &[(Metric::Duration, 4.0)]);
        let taken: Vec<_> =
            cells.take().into_iter().map(|(minute, metric, values)| (minute, metric, values.sum())).collect();
        assert_eq!(taken, [(0, Metric::Duration, 2.0), (1, Metric::Duration, 4.0)], "the other is not AWS's");
        assert!(cells.is_taken());
        cells.record(61_000, &[(Metric::Duration, 1.0)]);
        assert_eq!(cells.take().len(), 1);
        let totals: Vec<_> =
            cells.totals().into_iter().map(|(metric, values)| (metric, values.count())).collect();
        assert_eq!(totals, [(Metric::Duration, 3.0), (Metric::InitDuration, 1.0)]);
    }

    #[test]
    fn what_nobody_takes_is_not_kept_for_ever() {
        let cells = Cells::default();
        for minute in 0..100 {
            cells.record(minute * 60_000, &[(Metric::Errors, 1.0)]);
        }
        let taken = cells.take();
        assert_eq!((taken.len(), taken[0].0), (MINUTES, 40));
    }
}
