//! The latest traces, in memory, bounded in bytes and age.
//!
//! Must not read a clock: whoever brings something says when.

use std::{
    collections::{BTreeMap, HashMap, VecDeque},
    time::{Duration, SystemTime},
};

use serde_json::{Value, json};

use super::{Scope, segment::Segment};

/// How much is kept.
#[derive(Debug, Clone, Copy)]
pub(super) struct Limits {
    /// Of all traces.
    pub(super) bytes: usize,
    /// Of one trace.
    pub(super) trace_bytes: usize,
    /// Since a trace's first segment came.
    pub(super) age: Duration,
}

impl Default for Limits {
    fn default() -> Self {
        Limits { bytes: 32 << 20, trace_bytes: 4 << 20, age: Duration::from_secs(24 * 3600) }
    }
}

/// All traces.
#[derive(Debug)]
pub(super) struct Store {
    limits: Limits,
    traces: HashMap<String, Trace>,
    /// Ids in the order in which their first segments came.
    order: VecDeque<String>,
    bytes: usize,
    counts: Counts,
}

/// What was not kept.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Counts {
    /// Documents that were of no use.
    pub(super) malformed: u64,
    /// Segments of traces that had too many.
    pub(super) dropped: u64,
}

/// One trace.
#[derive(Debug)]
pub(super) struct Trace {
    id: String,
    segments: BTreeMap<String, Segment>,
    bytes: usize,
    since: SystemTime,
}

impl Store {
    pub(super) fn new(limits: Limits) -> Self {
        Store { limits, traces: HashMap::new(), order: VecDeque::new(), bytes: 0, counts: Counts::default() }
    }

    /// Keeps a segment; one of the same id is replaced, as what was in progress comes again when it has ended.
    pub(super) fn keep(&mut self, segment: Segment, now: SystemTime) {
        self.forget_old(now);
        let id = segment.trace_id().to_owned();
        let trace = self.traces.entry(id.clone()).or_insert_with(|| {
            self.order.push_back(id.clone());
            Trace { id, segments: BTreeMap::new(), bytes: 0, since: now }
        });
        let size = segment.size();
        if trace.bytes + size > self.limits.trace_bytes {
            self.counts.dropped += 1;
            return;
        }
        // An end must not be undone by a beginning that was under way for longer.
        let known = trace.segments.get(segment.id());
        if known.is_some_and(|known| !known.in_progress() && segment.in_progress()) {
            return;
        }
        let replaced = trace.segments.insert(segment.id().to_owned(), segment);
        let replaced = replaced.map_or(0, |segment| segment.size());
        trace.bytes = trace.bytes + size - replaced;
        self.bytes = self.bytes + size - replaced;
        while self.bytes > self.limits.bytes && self.order.len() > 1 {
            self.forget_oldest();
        }
    }

    pub(super) fn malformed(&mut self) {
        self.counts.malformed += 1;
    }

    pub(super) fn counts(&self) -> Counts {
        self.counts
    }

    pub(super) fn trace(&self, id: &str) -> Option<&Trace> {
        self.traces.get(id)
    }

    /// All traces, newest first.
    pub(super) fn newest(&self) -> impl Iterator<Item = &Trace> {
        self.order.iter().rev().filter_map(|id| self.traces.get(id))
    }

    fn forget_old(&mut self, now: SystemTime) {
        let is_old = |trace: &Trace, age| now.duration_since(trace.since).is_ok_and(|since| since > age);
        while let Some(oldest) = self.order.front()
            && self.traces.get(oldest).is_none_or(|trace| is_old(trace, self.limits.age))
        {
            self.forget_oldest();
        }
    }

    fn forget_oldest(&mut self) {
        let Some(id) = self.order.pop_front() else { return };
        if let Some(trace) = self.traces.remove(&id) {
            self.bytes -= trace.bytes;
        }
    }
}

impl Trace {
    pub(super) fn id(&self) -> &str {
        &self.id
    }

    /// Its segments in the order of their starts.
    pub(super) fn segments(&self) -> impl Iterator<Item = &Segment> {
        let mut segments: Vec<&Segment> = self.segments.values().collect();
        segments.sort_by(|a, b| a.start().total_cmp(&b.start()));
        segments.into_iter()
    }

    pub(super) fn is_visible_to(&self, scope: &Scope) -> bool {
        self.segments.values().any(|segment| segment.is_visible_to(scope))
    }

    /// Seconds since the epoch.
    pub(super) fn start(&self) -> f64 {
        self.segments.values().map(Segment::start).fold(f64::INFINITY, f64::min)
    }

    /// Seconds from the first start to the last end.
    pub(super) fn duration(&self) -> f64 {
        let end = self.segments.values().map(Segment::end).fold(f64::NEG_INFINITY, f64::max);
        (end - self.start()).max(0.0)
    }

    /// The segment that the others hang from: the earliest without a parent among them.
    pub(super) fn root(&self) -> Option<&Segment> {
        let is_root =
            |segment: &&Segment| segment.parent_id().is_none_or(|parent| !self.segments.contains_key(parent));
        // A whole segment says more about the trace than a part of one whose whole was not sent.
        self.segments().filter(is_root).min_by_key(|segment| segment.is_subsegment())
    }

    pub(super) fn any(&self, has: fn(&Segment) -> bool) -> bool {
        self.segments.values().any(has)
    }

    /// A line of the admin API's list.
    pub(super) fn summary(&self) -> Value {
        json!({
            "id": self.id,
            "name": self.root().map(Segment::name),
            "startTime": self.start(),
            "duration": self.duration(),
            "segments": self.segments.len(),
            "inProgress": self.any(Segment::in_progress),
            "fault": self.any(Segment::fault),
            "error": self.any(Segment::error),
            "throttle": self.any(Segment::throttle),
        })
    }
}
