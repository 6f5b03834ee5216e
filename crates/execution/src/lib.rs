//! Execution environments: life cycle, pool, Runtime API, logs, executors.
//!
//! Must not know functions' control state: it is handed immutable [`spec::FunctionSpec`]s.

pub mod invocation;
pub mod ports;
pub mod spec;
