//! What an environment writes: the platform's lines, and the records of its processes.

mod output;
pub(crate) mod platform;
mod writer;

pub(crate) use output::Records;
pub(crate) use writer::LogWriter;
