//! What an environment writes: the platform's lines, and the records of its processes.

mod filter;
#[cfg_attr(not(test), expect(dead_code, reason = "the environment's task takes it up next"))]
mod log;
mod output;
pub(crate) mod platform;
mod recent;
mod records;
mod writer;

#[expect(unused_imports, reason = "the environment's task takes it up next")]
pub(crate) use log::{Drained, EnvironmentLog, Read};
pub(crate) use output::Records;
pub(crate) use writer::LogWriter;
