//! The Telemetry API and the Logs API: extensions subscribe to what an environment and its processes say, and it is
//! delivered to listeners of theirs inside the environment.
//!
//! ```text
//!  lines, records ──▶ Telemetry ──▶ one buffer per subscriber ──▶ its delivery ──▶ HTTP, TCP inside the environment
//! ```
//!
//! Must not write logs, nor decide about invocations; and must not hold anyone up: who listens slowly, or not at all, loses
//! what finds no room in its buffer, and is told so.

mod buffer;
mod delivery;
mod event;
mod subscribers;
mod subscription;

pub(crate) use subscribers::Telemetry;
pub(crate) use subscription::{Subscription, succeeded};

/// The two ways to subscribe. An extension may use one of them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Api {
    Telemetry,
    Logs,
}

impl Api {
    /// As users know it.
    fn name(self) -> &'static str {
        match self {
            Api::Telemetry => "Telemetry",
            Api::Logs => "Logs",
        }
    }
}

/// What subscribers choose from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Category {
    Platform,
    Function,
    Extension,
}

impl Category {
    /// As requests and records have it.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Category::Platform => "platform",
            Category::Function => "function",
            Category::Extension => "extension",
        }
    }

    /// As lines of text have it.
    pub(crate) fn title(self) -> &'static str {
        match self {
            Category::Platform => "Platform",
            Category::Function => "Function",
            Category::Extension => "Extension",
        }
    }
}
