//! Runtimes found on this machine, and how a function's process is started on them.
//!
//! Must not start environments or know invocations: it describes processes, executors run them.

mod archive;
mod bootstrap;
mod catalog;
mod client;
mod debugger;
mod discovery;
mod family;
#[cfg(test)]
pub(crate) mod fixtures;
mod interpreter;
mod plan;
pub mod sync;

pub use archive::{Archive, Making};
pub use catalog::{Catalog, Policy, Selection};
pub use debugger::Debugger;
pub use discovery::SearchPaths;
pub use family::{Family, Language, Line};
pub use interpreter::{Interpreter, Release, Source};
#[cfg(test)]
pub(crate) use plan::variables;
pub use plan::{Layout, Mount, Plan, PlanError, Roots, TELEMETRY_DESCRIPTOR, Training};
