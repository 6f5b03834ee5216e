//! Execution environments: life cycle, pool, Runtime API, logs, executors.
//!
//! Must not know functions' control state: it is handed immutable [`spec::FunctionSpec`]s.

mod budget;
mod concurrency;
pub mod debug;
mod engine;
pub mod environment;
pub mod executor;
mod extensions;
pub mod fault;
pub mod invocation;
mod lineage;
mod logs;
mod pool;
pub mod ports;
pub mod response;
mod runtime_api;
pub mod runtimes;
mod scaling;
pub mod spec;
mod telemetry;
mod tenants;
pub mod timeline;
pub mod trace;

pub use budget::BudgetInfo;
pub use engine::{Engine, EngineConfig, EnvironmentInfo, Ports};
pub use pool::{ProvisionedConcurrency, StartFailure, VersionHandle};
pub use scaling::ScalingRate;

/// The error and its causes on one line, for logs. A cause that the text has already is left out, as some libraries
/// repeat theirs.
pub fn chain(error: &(dyn std::error::Error + 'static)) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        let cause_text = cause.to_string();
        if !text.contains(&cause_text) {
            text.push_str(": ");
            text.push_str(&cause_text);
        }
        source = cause.source();
    }
    text
}
