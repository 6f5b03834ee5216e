//! What goes wrong in a function or its runtime, in AWS's vocabulary.
//!
//! Must not describe our own failures: those are errors of the crate, these are results of an invocation.

use std::{fmt, time::Duration};

use bytes::Bytes;
use hothouse_api::name::RequestId;

/// A fatal error of the runtime or of the platform's making.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Fault {
    /// For example `Runtime.ExitError`.
    pub error_type: String,
    /// The sentence after `Error: `.
    pub message: String,
    /// The document that the runtime itself reported; the caller gets it verbatim.
    pub document: Option<Bytes>,
}

/// How a runtime process ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Exit {
    /// Exit code, or the signal.
    pub status: ExitStatus,
    /// The kernel ended it because the environment had used up its memory.
    pub out_of_memory: bool,
}

/// Exit code or signal of a process.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ExitStatus {
    /// It called `exit` with this code.
    Code(i32),
    /// This signal ended it.
    Signal(i32),
    /// It could not be executed at all.
    NotExecuted {
        /// What the system said.
        why: String,
        /// It may not be executed.
        denied: bool,
    },
}

impl Fault {
    /// The type of a response that broke off.
    pub(crate) const TRUNCATED: &'static str = "Runtime.TruncatedResponse";

    /// Whether the process is gone, or the connection on which it answered.
    pub(crate) fn ends_process(&self) -> bool {
        matches!(self.error_type.as_str(), Self::TRUNCATED | "Runtime.ExitError" | "Runtime.OutOfMemory")
            && self.document.is_none()
    }

    /// The runtime process ended without being asked to.
    pub fn exited(exit: Exit) -> Fault {
        let message = match exit.status {
            ExitStatus::Code(0) => "Runtime exited without providing a reason".to_owned(),
            ExitStatus::NotExecuted { why, .. } => {
                return Fault {
                    error_type: "Runtime.InvalidEntrypoint".to_owned(),
                    message: why,
                    document: None,
                };
            }
            status => format!("Runtime exited with error: {status}"),
        };
        let error_type = if exit.out_of_memory { "Runtime.OutOfMemory" } else { "Runtime.ExitError" };
        Fault { error_type: error_type.to_owned(), message, document: None }
    }

    /// The function's time limit passed.
    pub fn timed_out(timeout: Duration) -> Fault {
        Fault {
            error_type: "Sandbox.Timedout".to_owned(),
            message: format!("Task timed out after {:.2} seconds", timeout.as_secs_f64()),
            document: None,
        }
    }

    /// No executable bootstrap in any of the places where AWS looks.
    pub fn invalid_entrypoint(places: &str) -> Fault {
        Fault {
            error_type: "Runtime.InvalidEntrypoint".to_owned(),
            message: format!("Couldn't find valid bootstrap(s): [{places}]"),
            document: None,
        }
    }

    /// The error document that the caller of `request` gets.
    pub fn payload(&self, request: &RequestId) -> Bytes {
        if let Some(document) = &self.document {
            return document.clone();
        }
        // AWS keeps `Runtime.OutOfMemory` to the REPORT line; the caller sees the exit.
        let error_type =
            if self.error_type == "Runtime.OutOfMemory" { "Runtime.ExitError" } else { &self.error_type };
        let message = format!("RequestId: {request} Error: {}", self.message);
        Bytes::from(format!(
            r#"{{"errorType":{},"errorMessage":{}}}"#,
            serde_json::Value::from(error_type),
            serde_json::Value::from(message)
        ))
    }
}

/// As Go's `os.ProcessState` prints it, since that is what AWS's callers see.
impl fmt::Display for ExitStatus {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            ExitStatus::Code(code) => write!(f, "exit status {code}"),
            ExitStatus::NotExecuted { why, .. } => f.write_str(why),
            ExitStatus::Signal(signal) => match signal_name(*signal) {
                Some(name) => write!(f, "signal: {name}"),
                None => write!(f, "signal: signal {signal}"),
            },
        }
    }
}

fn signal_name(signal: i32) -> Option<&'static str> {
    Some(match signal {
        1 => "hangup",
        2 => "interrupt",
        3 => "quit",
        4 => "illegal instruction",
        5 => "trace/breakpoint trap",
        6 => "aborted",
        7 => "bus error",
        8 => "floating point exception",
        9 => "killed",
        10 => "user defined signal 1",
        11 => "segmentation fault",
        12 => "user defined signal 2",
        13 => "broken pipe",
        14 => "alarm clock",
        15 => "terminated",
        24 => "CPU time limit exceeded",
        25 => "file size limit exceeded",
        31 => "bad system call",
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn request() -> RequestId {
        "8476a536-e9f4-11e8-9739-2dfe598c3fcd".parse().expect("a UUID")
    }

    #[test]
    fn exits_read_as_on_aws() {
        let text = |status, out_of_memory| {
            let payload = Fault::exited(Exit { status, out_of_memory }).payload(&request());
            String::from_utf8(payload.to_vec()).expect("UTF-8")
        };
        assert_eq!(
            text(ExitStatus::Code(0), false),
            r#"{"errorType":"Runtime.ExitError","errorMessage":"RequestId: 8476a536-e9f4-11e8-9739-2dfe598c3fcd Error: Runtime exited without providing a reason"}"#
        );
        assert!(
            text(ExitStatus::Code(127), false).contains("Error: Runtime exited with error: exit status 127")
        );
        let killed = text(ExitStatus::Signal(9), true);
        assert!(killed.contains("Runtime exited with error: signal: killed"), "{killed}");
        assert!(killed.contains(r#""errorType":"Runtime.ExitError""#), "{killed}");
    }

    #[test]
    fn timeouts_have_two_decimals() {
        let payload = Fault::timed_out(Duration::from_secs(1)).payload(&request());
        assert_eq!(
            payload,
            r#"{"errorType":"Sandbox.Timedout","errorMessage":"RequestId: 8476a536-e9f4-11e8-9739-2dfe598c3fcd Error: Task timed out after 1.00 seconds"}"#
        );
    }
}
