//! The Telemetry API and the Logs API: extensions subscribe to what an environment and its processes say.
//!
//! Must not write logs, nor decide about invocations.

/// The two ways to subscribe. An extension may use one of them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[cfg_attr(not(test), expect(dead_code, reason = "nothing can register or subscribe yet"))]
pub(crate) enum Api {
    Telemetry,
    Logs,
}

/// What subscribers choose from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[cfg_attr(not(test), expect(dead_code, reason = "nothing can register or subscribe yet"))]
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
