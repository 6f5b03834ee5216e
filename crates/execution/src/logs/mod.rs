//! What an environment writes: the platform's lines, and the records of its processes.

mod filter;
mod log;
pub(crate) mod platform;
mod recent;
mod records;

pub(crate) use log::{Drained, EnvironmentLog, Read, Source};
