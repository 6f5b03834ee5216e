//! Values of all metrics, by the minute, in memory.
//!
//! They are not durable: a restart begins anew, as it does for what Prometheus reads. What bounds them is their number,
//! not their age: AWS keeps minutes for 15 days, and so does this until there are too many. Must not know operations.

use std::{
    collections::{BTreeMap, HashMap},
    sync::{Mutex, MutexGuard, PoisonError},
};

use hothouse_api::name::{AccountId, Region};
use hothouse_control::metrics::{Distribution, Metric, Sample, Subject};

/// Whose metrics: accounts and regions do not see one another.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) struct Scope {
    /// The caller's account.
    pub(crate) account: AccountId,
    /// The region that the request was signed for.
    pub(crate) region: Region,
}

/// Names and values, in the order of names.
pub(super) type Dimensions = Vec<(String, String)>;

/// A metric as it is listed.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Name {
    pub(super) namespace: String,
    pub(super) metric: String,
    pub(super) dimensions: Dimensions,
}

/// AWS's age for minutes.
const KEPT: i64 = 15 * 24 * 60;
/// Minutes of all metrics together: some 40 MB. Ten functions that are always busy fill it in about ten days.
const MOST: usize = 250_000;

/// All metrics.
#[derive(Debug, Default)]
pub(crate) struct Store {
    inner: Mutex<Inner>,
}

#[derive(Debug, Default)]
struct Inner {
    scopes: HashMap<Scope, BTreeMap<Name, Minutes>>,
    count: usize,
}

/// The values of each minute, by unit: values of different units are not one metric's.
type Minutes = BTreeMap<i64, Vec<(String, Distribution)>>;

impl Store {
    /// Takes in values of one minute. `now` is the present one.
    pub(super) fn put(
        &self,
        scope: &Scope,
        name: Name,
        unit: &str,
        minute: i64,
        values: &Distribution,
        now: i64,
    ) {
        let mut inner = self.lock();
        let Inner { scopes, count } = &mut *inner;
        // Most of the time the scope is known.
        if !scopes.contains_key(scope) {
            scopes.insert(scope.clone(), BTreeMap::new());
        }
        let Some(metrics) = scopes.get_mut(scope) else { return };
        let units = metrics.entry(name).or_default().entry(minute).or_default();
        match units.iter_mut().find(|(known, _)| known == unit) {
            Some((_, known)) => known.merge(values),
            None => {
                units.push((unit.to_owned(), values.clone()));
                *count += 1;
            }
        }
        if *count > MOST {
            inner.make_room(now);
        }
    }

    /// Takes in what the control plane has counted, as AWS publishes it.
    pub(super) fn put_samples(&self, samples: Vec<Sample>, now: i64) {
        for sample in samples {
            let Some((metric, unit)) = sample.metric.of_aws() else { continue };
            let scope = Scope { account: sample.scope.account, region: sample.scope.region };
            for dimensions in dimensions(&sample.subject, sample.metric) {
                let name = Name { namespace: "AWS/Lambda".into(), metric: metric.into(), dimensions };
                self.put(&scope, name, unit, sample.minute, &sample.values, now);
            }
        }
    }

    /// The metric's minutes from `begin` on and before `end`.
    pub(super) fn get(&self, scope: &Scope, name: &Name, begin: i64, end: i64) -> Minutes {
        let inner = self.lock();
        let minutes = inner.scopes.get(scope).and_then(|metrics| metrics.get(name));
        let within = minutes.filter(|_| begin < end).map(|minutes| minutes.range(begin..end));
        within.into_iter().flatten().map(|(minute, units)| (*minute, units.clone())).collect()
    }

    /// The metrics that have values at or after a minute, in order; those after `after`, if given.
    pub(super) fn list(
        &self,
        scope: &Scope,
        after: Option<&Name>,
        since: i64,
        wanted: impl Fn(&Name) -> bool,
        most: usize,
    ) -> Vec<Name> {
        use std::ops::Bound::{Excluded, Unbounded};
        let inner = self.lock();
        let Some(metrics) = inner.scopes.get(scope) else { return Vec::new() };
        let from = after.map_or(Unbounded, Excluded);
        let recent = |minutes: &Minutes| minutes.last_key_value().is_some_and(|(minute, _)| *minute >= since);
        let found = metrics.range::<Name, _>((from, Unbounded));
        let found = found.filter(|(name, minutes)| recent(minutes) && wanted(name));
        found.take(most).map(|(name, _)| name.clone()).collect()
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        // Counts may be off by one after a panic, which nobody would notice.
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Inner {
    /// Drops what is too old, and as much of the rest, oldest first, as makes a tenth of the room free.
    fn make_room(&mut self, now: i64) {
        let mut minutes: Vec<i64> =
            self.scopes.values().flat_map(BTreeMap::values).flat_map(BTreeMap::keys).copied().collect();
        minutes.sort_unstable();
        let oldest = minutes.get(MOST / 10).map_or(i64::MIN, |minute| minute + 1).max(now - KEPT);
        for metrics in self.scopes.values_mut() {
            metrics.retain(|_, minutes| {
                *minutes = minutes.split_off(&oldest);
                !minutes.is_empty()
            });
        }
        self.scopes.retain(|_, metrics| !metrics.is_empty());
        self.count =
            self.scopes.values().flat_map(BTreeMap::values).flat_map(BTreeMap::values).map(Vec::len).sum();
    }
}

/// The dimensions with which AWS publishes numbers about something.
fn dimensions(subject: &Subject, metric: Metric) -> Vec<Dimensions> {
    let function = |name: &hothouse_api::name::FunctionName| ("FunctionName".to_owned(), name.to_string());
    match subject {
        Subject::Account => vec![vec![]],
        Subject::Function(name) => vec![vec![function(name)]],
        Subject::Resource { name, qualifier, executed } => {
            let resource = qualifier.as_ref().map_or_else(|| name.to_string(), |of| format!("{name}:{of}"));
            let resource = vec![function(name), ("Resource".to_owned(), resource)];
            // In the order of names.
            let executed = executed.map(|version| {
                let mut dimensions = resource.clone();
                dimensions.insert(0, ("ExecutedVersion".to_owned(), version.to_string()));
                dimensions
            });
            let sums = [vec![], vec![function(name)]];
            // How many run at once is no sum.
            let sums = if metric == Metric::ConcurrentExecutions { &sums[..0] } else { &sums[..] };
            sums.iter().cloned().chain([resource]).chain(executed).collect()
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn scope() -> Scope {
        Scope { account: AccountId::DEFAULT, region: "us-east-1".parse().unwrap() }
    }

    fn name(metric: &str) -> Name {
        Name { namespace: "N".into(), metric: metric.into(), dimensions: vec![] }
    }

    fn one() -> Distribution {
        let mut one = Distribution::default();
        one.record(1.0, 1.0);
        one
    }

    #[test]
    fn oldest_values_make_room() {
        let store = Store::default();
        let last = MOST as i64;
        for minute in 0..=last {
            // All on one metric, at one time, so that none is too old.
            store.put(&scope(), name("m"), "Count", minute, &one(), 0);
        }
        let kept = store.get(&scope(), &name("m"), 0, last + 1);
        assert!(kept.len() <= MOST - MOST / 10 + 1, "{}", kept.len());
        assert!(kept.contains_key(&last) && !kept.contains_key(&0));
    }

    #[test]
    fn accounts_regions_and_units_are_apart() {
        let store = Store::default();
        let other = Scope { region: "eu-west-1".parse().unwrap(), ..scope() };
        store.put(&scope(), name("m"), "Count", 5, &one(), 5);
        store.put(&scope(), name("m"), "Count", 5, &one(), 5);
        store.put(&scope(), name("m"), "Bytes", 5, &one(), 5);
        assert!(store.get(&other, &name("m"), 0, 10).is_empty());
        assert!(store.list(&other, None, 0, |_| true, 10).is_empty());
        let kept = store.get(&scope(), &name("m"), 5, 6);
        let counts: Vec<_> = kept[&5].iter().map(|(unit, values)| (unit.as_str(), values.count())).collect();
        assert_eq!(counts, [("Count", 2.0), ("Bytes", 1.0)]);
        assert!(store.get(&scope(), &name("m"), 6, 7).is_empty());
        assert!(store.list(&scope(), None, 6, |_| true, 10).is_empty(), "it has no value since then");
    }
}
