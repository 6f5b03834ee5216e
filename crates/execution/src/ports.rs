//! What the engine needs from its surroundings. The server implements these.

use std::{fmt, time::SystemTime};

use bytes::Bytes;
use futures_util::future::BoxFuture;
use hothouse_api::name::{AccountId, Region};

use crate::{environment::EnvironmentId, spec::FunctionSpec};

/// Wall clock; tests can put another in its place.
pub trait Clock: Send + Sync + fmt::Debug {
    /// The time now.
    fn now(&self) -> SystemTime;
}

/// The machine's own clock.
#[derive(Debug, Default, Clone, Copy)]
pub struct SystemClock;

impl Clock for SystemClock {
    #[expect(clippy::disallowed_methods, reason = "this is the Clock that everyone else asks")]
    fn now(&self) -> SystemTime {
        SystemTime::now()
    }
}

/// Where log events go: CloudWatch Logs, in our case the companion of that name.
pub trait LogSink: Send + Sync + fmt::Debug {
    /// The way in for the events of one stream, which an environment holds for as long as it lives.
    fn open(&self, stream: LogStream) -> Box<dyn LogAppender>;
}

/// Takes the events of one stream.
pub trait LogAppender: Send + fmt::Debug {
    /// Takes events, in order. Must not block, nor let one stream take the room of the others.
    ///
    /// # Errors
    /// There is no room: the events come back.
    fn append(&mut self, events: Vec<LogEvent>) -> Result<(), Vec<LogEvent>>;

    /// Hears of records that the environment dropped for want of room, to count them and to tell the user.
    fn dropped(&mut self, records: u64, bytes: u64);
}

/// One environment's log stream.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct LogStream {
    /// Account of the function.
    pub account: AccountId,
    /// Region of the function.
    pub region: Region,
    /// `/aws/lambda/NAME`, or the configured group.
    pub group: String,
    /// `YYYY/MM/DD/[VERSION]ENVIRONMENT`.
    pub name: String,
}

/// One event of a log stream.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LogEvent {
    /// Milliseconds since the epoch.
    pub timestamp_ms: i64,
    /// The record, or a part of one that is larger than an event may be (256 KB). A line comes with its newline, as on
    /// AWS. Not necessarily UTF-8.
    pub message: Bytes,
}

/// Gives execution roles' credentials: STS AssumeRole.
pub trait CredentialSource: Send + Sync + fmt::Debug {
    /// Credentials for an environment of this version, valid for 12 hours.
    fn assume_role<'a>(
        &'a self,
        spec: &'a FunctionSpec,
    ) -> BoxFuture<'a, Result<Credentials, CredentialError>>;
}

/// Temporary credentials of an assumed role.
#[derive(Clone)]
pub struct Credentials {
    /// `AWS_ACCESS_KEY_ID`.
    pub access_key_id: String,
    /// `AWS_SECRET_ACCESS_KEY`.
    pub secret_access_key: String,
    /// `AWS_SESSION_TOKEN`.
    pub session_token: String,
}

impl fmt::Debug for Credentials {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Credentials").field("access_key_id", &self.access_key_id).finish_non_exhaustive()
    }
}

/// The role could not be assumed.
#[derive(Debug, thiserror::Error)]
#[error("failed to assume role `{role}`: {reason}")]
pub struct CredentialError {
    /// ARN of the role.
    pub role: String,
    /// What the token service said.
    pub reason: String,
}

/// Takes what functions send to the address of the X-Ray daemon.
pub trait SegmentSink: Send + Sync + fmt::Debug {
    /// One datagram as it came, of this environment where that is known. Must not block: a full sink drops, and counts
    /// what it dropped.
    fn datagram(&self, from: Option<&SegmentOrigin>, datagram: Bytes);
}

/// Where a trace segment came from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SegmentOrigin {
    /// Account of the function.
    pub account: AccountId,
    /// Region of the function.
    pub region: Region,
    /// The environment.
    pub environment: EnvironmentId,
}

/// What an observer (the `dev` command, metrics) hears about invocations and environments.
#[derive(Debug, Clone)]
pub struct InvocationRecord {
    /// Name of the function.
    pub function_name: String,
    /// Version that ran.
    pub version: String,
    /// The request.
    pub request_id: String,
    /// `success`, `error` or `timeout`.
    pub status: &'static str,
    /// Invoke phase, in milliseconds.
    pub duration_ms: f64,
    /// Init phase, in milliseconds, if this was the environment's first invocation.
    pub init_duration_ms: Option<f64>,
    /// Peak memory, in MB.
    pub max_memory_mb: u32,
    /// The function's own log records of this invocation (bounded).
    pub log: Vec<Bytes>,
}

/// Hears of every finished invocation. Must not block.
pub trait Observer: Send + Sync + fmt::Debug {
    /// An invocation is over and its REPORT line is written.
    fn finished(&self, record: InvocationRecord);
}
