//! What is counted, as Prometheus reads it (`GET /_hothouse/metrics`).
//!
//! Written by hand over the counters of the control plane, since a recorder of its own would count everything once
//! more. Must not count: a scrape shows what is there. What has numbers is bounded by what functions, versions and
//! aliases there are.

use std::{collections::BTreeMap, fmt::Write as _};

use hothouse_control::{
    Control,
    metrics::{Distribution, Metric, Subject, Total},
};
use hothouse_execution::Engine;

use crate::companions::logs::LogStore;

/// Bounds of the histograms, in seconds.
const BOUNDS: [f64; 12] = [0.001, 0.005, 0.01, 0.05, 0.1, 0.25, 0.5, 1.0, 5.0, 30.0, 120.0, 900.0];

/// Counters of functions: a metric, its name, its meaning, and whether the sum of its values is what counts.
const COUNTERS: [(Metric, &str, &str); 10] = [
    (Metric::Invocations, "invocations", "Times that functions ran."),
    (Metric::Errors, "invocation_errors", "Invocations that failed, timed out or crashed."),
    (Metric::Throttles, "throttles", "Invocations that were refused since too much ran."),
    (
        Metric::ProvisionedConcurrencyInvocations,
        "provisioned_invocations",
        "Invocations in provisioned environments.",
    ),
    (
        Metric::ProvisionedConcurrencySpilloverInvocations,
        "provisioned_spillover_invocations",
        "Invocations that found all provisioned environments in use.",
    ),
    (Metric::AsyncEventsReceived, "async_events_received", "Events accepted for asynchronous invocation."),
    (Metric::AsyncEventsDropped, "async_events_dropped", "Events that were given up."),
    (
        Metric::DestinationDeliveryFailures,
        "destination_delivery_failures",
        "Records that did not reach their destination.",
    ),
    (Metric::DeadLetterErrors, "dead_letter_errors", "Events that did not reach their dead-letter queue."),
    (
        Metric::RecursiveInvocationsDropped,
        "recursive_invocations_dropped",
        "Invocations that were stopped since their function invokes itself in circles.",
    ),
];

/// The content type of [`text`].
pub(crate) const CONTENT_TYPE: &str = "text/plain; version=0.0.4; charset=utf-8";

/// Everything.
pub(crate) fn text(control: &Control, engine: &Engine, logs: &LogStore) -> String {
    let mut page = Page(String::new());
    page.family("build_info", "gauge", "The program.");
    page.sample("build_info", &[("version", env!("CARGO_PKG_VERSION"))], 1.0);
    service(&mut page, control, engine, logs);
    let mut totals = control.metrics().totals();
    totals.sort_by_cached_key(|total| labels(total).map(|(_, value)| value));
    functions(&mut page, &totals);
    page.0
}

fn service(page: &mut Page, control: &Control, engine: &Engine, logs: &LogStore) {
    let mut environments: BTreeMap<(String, String), f64> = BTreeMap::new();
    for environment in engine.environments() {
        let key = (environment.status.to_string(), environment.initialization_type.as_str().to_owned());
        *environments.entry(key).or_default() += 1.0;
    }
    page.family("environments", "gauge", "Execution environments that exist.");
    for ((state, initialization), count) in environments {
        page.sample("environments", &[("state", &state), ("initialization", &initialization)], count);
    }
    let budget = engine.budget();
    page.family("environments_limit", "gauge", "Execution environments that there may be.");
    page.sample("environments_limit", &[], budget.limit as f64);
    page.family(
        "environments_evicted_total",
        "counter",
        "Idle environments that were ended for the sake of others.",
    );
    page.sample("environments_evicted_total", &[], budget.evicted as f64);
    page.family("running_invocations", "gauge", "Invocations that run or wait for an environment.");
    page.sample("running_invocations", &[], engine.running() as f64);
    page.family("event_queue_depth", "gauge", "Events that wait for their attempt, or to be reported.");
    for (key, count) in control.queued_events() {
        let (account, region) = (key.scope.account.to_string(), key.scope.region.to_string());
        let labels = [("account", &*account), ("region", &*region), ("function", key.name.as_str())];
        page.sample("event_queue_depth", &labels, count as f64);
    }
    page.family("store_commits_total", "counter", "Changes that were committed to the store.");
    page.sample("store_commits_total", &[], control.commits() as f64);
    page.family("log_events_dropped_total", "counter", "Log events of functions that were lost.");
    page.sample("log_events_dropped_total", &[], logs.dropped() as f64);
}

fn functions(page: &mut Page, totals: &[Total]) {
    let leaves = || totals.iter().filter(|total| total.subject != Subject::Account);
    page.family("concurrent_executions", "gauge", "Invocations that run now.");
    for total in leaves() {
        page.sample("concurrent_executions", &borrowed(&labels(total)), f64::from(total.running));
    }
    page.family(
        "account_concurrent_executions",
        "gauge",
        "Invocations that run now in a region of an account.",
    );
    for total in totals.iter().filter(|total| total.subject == Subject::Account) {
        let labels = labels(total);
        page.sample("account_concurrent_executions", &borrowed(&labels)[..2], f64::from(total.running));
    }
    for (metric, name, help) in COUNTERS {
        let name = format!("{name}_total");
        page.family(&name, "counter", help);
        for total in leaves() {
            if let Some(values) = of(total, metric) {
                page.sample(&name, &borrowed(&labels(total)), values.sum());
            }
        }
    }
    page.family("cold_starts_total", "counter", "Invocations that waited for an environment's INIT.");
    for total in leaves() {
        if let Some(values) = of(total, Metric::InitDuration) {
            page.sample("cold_starts_total", &borrowed(&labels(total)), values.count());
        }
    }
    let histograms = [
        (Metric::Duration, "invocation_duration_seconds", "How long functions worked on events."),
        (
            Metric::InitDuration,
            "init_duration_seconds",
            "How long INIT took where an invocation waited for it.",
        ),
    ];
    for (metric, name, help) in histograms {
        page.family(name, "histogram", help);
        for total in leaves() {
            if let Some(values) = of(total, metric) {
                page.histogram(name, &labels(total), values);
            }
        }
    }
}

fn of(total: &Total, metric: Metric) -> Option<&Distribution> {
    total.values.iter().find(|(known, _)| *known == metric).map(|(_, values)| values)
}

fn labels(total: &Total) -> [(&'static str, String); 5] {
    let (function, qualifier, version) = match &total.subject {
        Subject::Account => Default::default(),
        Subject::Function(name) => (name.to_string(), String::new(), String::new()),
        Subject::Resource { name, qualifier, executed } => (
            name.to_string(),
            qualifier.as_ref().map(ToString::to_string).unwrap_or_default(),
            executed.map(|version| version.to_string()).unwrap_or_default(),
        ),
    };
    [
        ("account", total.scope.account.to_string()),
        ("region", total.scope.region.to_string()),
        ("function", function),
        ("qualifier", qualifier),
        ("version", version),
    ]
}

fn borrowed<'a>(labels: &'a [(&'static str, String)]) -> Vec<(&'static str, &'a str)> {
    labels.iter().map(|(name, value)| (*name, value.as_str())).collect()
}

/// Text in the exposition format, version 0.0.4.
struct Page(String);

impl Page {
    fn family(&mut self, name: &str, kind: &str, help: &str) {
        let _ = writeln!(self.0, "# HELP hothouse_{name} {help}\n# TYPE hothouse_{name} {kind}");
    }

    fn sample(&mut self, name: &str, labels: &[(&str, &str)], value: f64) {
        let _ = write!(self.0, "hothouse_{name}");
        // A label without a value is as good as none.
        let there = labels.iter().filter(|(_, value)| !value.is_empty());
        for (index, (label, value)) in there.clone().enumerate() {
            let value = value.replace('\\', r"\\").replace('"', "\\\"").replace('\n', r"\n");
            let _ = write!(self.0, "{}{label}=\"{value}\"", if index == 0 { '{' } else { ',' });
        }
        self.0.push_str(if there.count() > 0 { "} " } else { " " });
        let _ = writeln!(self.0, "{value}");
    }

    fn histogram(&mut self, name: &str, labels: &[(&'static str, String)], values: &Distribution) {
        let bounds = BOUNDS.map(|bound| (bound.to_string(), values.count_to(bound * 1000.0)));
        let all = ("+Inf".to_owned(), values.count());
        for (bound, count) in bounds.into_iter().chain([all]) {
            let mut labels = borrowed(labels);
            labels.push(("le", &bound));
            self.sample(&format!("{name}_bucket"), &labels, count);
        }
        let labels = borrowed(labels);
        self.sample(&format!("{name}_sum"), &labels, values.sum() / 1000.0);
        self.sample(&format!("{name}_count"), &labels, values.count());
    }
}
