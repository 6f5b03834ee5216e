//! Durable functions and their executions.
//!
//! Functions with a `DurableConfig` are kept and shown, but nothing runs them yet, so there never is an execution: an
//! operation on one answers what AWS answers if it is not there. Must not pretend that one is.

pub(crate) mod config;
pub(crate) mod execution;
