//! What is measured: a table of groups, each a module with its figures, their floors and promises.
//!
//! Must not keep an environment from one group to the next.

mod burst;
mod cage;
mod cold;
mod control;
mod events;
mod fairness;
mod functions;
mod java;
mod memory;
mod official;
mod packages;
mod ready;
mod restore;
mod warm;

use std::time::Duration;

use futures_util::future::LocalBoxFuture;

use super::{BenchError, report::Report, run::Run};

/// Figures that are measured together.
pub(super) struct Group {
    /// Its name on the command line.
    pub(super) name: &'static str,
    /// What it is about, as a heading.
    pub(super) about: &'static str,
    /// Measures it and adds its figures.
    pub(super) measure: for<'a> fn(&'a Run, &'a mut Report) -> LocalBoxFuture<'a, Result<(), BenchError>>,
}

/// All groups, in the order in which they are measured.
pub(super) const GROUPS: &[Group] = &[
    Group {
        name: "ready",
        about: "Start of the service",
        measure: |run, report| Box::pin(ready::measure(run, report)),
    },
    Group { name: "memory", about: "Memory", measure: |run, report| Box::pin(memory::measure(run, report)) },
    Group {
        name: "warm",
        about: "Warm invocations",
        measure: |run, report| Box::pin(warm::measure(run, report)),
    },
    Group {
        name: "official",
        about: "Warm invocations of AWS's own runtime clients",
        measure: |run, report| Box::pin(official::measure(run, report)),
    },
    Group { name: "cold", about: "Cold starts", measure: |run, report| Box::pin(cold::measure(run, report)) },
    Group {
        name: "java",
        about: "Cold starts of Java",
        measure: |run, report| Box::pin(java::measure(run, report)),
    },
    Group {
        name: "restore",
        about: "SnapStart",
        measure: |run, report| Box::pin(restore::measure(run, report)),
    },
    Group {
        name: "cage",
        about: "What isolation costs",
        measure: |run, report| Box::pin(cage::measure(run, report)),
    },
    Group {
        name: "burst",
        about: "A hundred environments at once",
        measure: |run, report| Box::pin(burst::measure(run, report)),
    },
    Group {
        name: "many",
        about: "A thousand environments at once",
        measure: |run, report| Box::pin(burst::many(run, report)),
    },
    Group {
        name: "functions",
        about: "Very many functions",
        measure: |run, report| Box::pin(functions::measure(run, report)),
    },
    Group {
        name: "fairness",
        about: "Callers of one function at once",
        measure: |run, report| Box::pin(fairness::measure(run, report)),
    },
    Group {
        name: "control",
        about: "The control plane with very many versions",
        measure: |run, report| Box::pin(control::measure(run, report)),
    },
    Group {
        name: "events",
        about: "Asynchronous events",
        measure: |run, report| Box::pin(events::measure(run, report)),
    },
    Group {
        name: "packages",
        about: "A large package",
        measure: |run, report| Box::pin(packages::measure(run, report)),
    },
];

/// Pause before a cold start: what the service prepares between invocations is there by then, as in real use.
const SETTLE: Duration = Duration::from_millis(60);

/// The names, for the command line.
pub(super) fn names() -> impl Iterator<Item = &'static str> {
    GROUPS.iter().map(|group| group.name)
}
