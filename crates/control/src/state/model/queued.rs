//! Events that were accepted for asynchronous invocation and are not done with.
//!
//! Must not do anything but hold and compare.

use bytes::Bytes;
use hothouse_api::name::{self, Qualifier};
use serde::{Deserialize, Serialize};
use uuid::Uuid;

/// One event, under its request id: to be attempted, or, once it has an outcome, to be reported to its recipients.
#[derive(Debug, Clone, PartialEq)]
pub struct QueuedEvent {
    /// The version or alias that it is for, as the caller wrote it.
    pub qualifier: Option<Qualifier>,
    /// The tenant that it is for, if the function keeps tenants apart.
    pub tenant_id: Option<String>,
    /// The event: valid JSON, exactly as it came.
    pub payload: Content,
    /// The trace header that every attempt sees.
    pub trace: String,
    /// Milliseconds since the epoch.
    pub accepted: i64,
    /// How often the function ran with it.
    pub attempts: u32,
    /// When the next attempt may be, in milliseconds since the epoch.
    pub due: i64,
    /// What the function answered last, if that is of interest.
    pub answer: Option<Answer>,
    /// What became of it; none as long as it is attempted.
    pub outcome: Option<Outcome>,
    /// Who is still to hear of the outcome.
    pub recipients: Vec<Recipient>,
}

/// Bytes that belong to an event.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Content {
    /// All of them.
    Here(Bytes),
    /// They are many, and the store has them.
    Stored,
}

impl Content {
    /// More bytes than these are not kept in memory: ten thousand events may wait with a megabyte each.
    pub const LARGEST_HELD: usize = 4096;

    /// Bytes that came over a connection, copied if they are to stay in memory: as they are, they keep the connection's
    /// buffer, which has kilobytes for an event of a few bytes.
    pub fn received(bytes: Bytes) -> Self {
        match bytes.len() {
            ..=Self::LARGEST_HELD => Self::Here(Bytes::copy_from_slice(&bytes)),
            _ => Self::Here(bytes),
        }
    }

    /// What is left of it in memory once the store has it.
    #[must_use]
    pub fn held(&self) -> Self {
        match self {
            Self::Here(bytes) if bytes.len() <= Self::LARGEST_HELD => Self::Here(bytes.clone()),
            Self::Here(_) | Self::Stored => Self::Stored,
        }
    }

    /// The bytes, if they are here.
    pub fn bytes(&self) -> Option<&Bytes> {
        match self {
            Self::Here(bytes) => Some(bytes),
            Self::Stored => None,
        }
    }
}

/// What a function answered to an event.
#[derive(Debug, Clone, PartialEq)]
pub struct Answer {
    /// The version that ran.
    pub version: name::Version,
    /// Whether it failed.
    pub failed: bool,
    /// What it answered, or the error's document.
    pub payload: Content,
}

impl Answer {
    /// What is left of it in memory once the store has it.
    #[must_use]
    pub fn held(&self) -> Self {
        Self { payload: self.payload.held(), ..self.clone() }
    }
}

/// How an event ended.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Outcome {
    /// In a word.
    pub condition: Condition,
    /// Milliseconds since the epoch.
    pub at: i64,
    /// Names the record, wherever a name of its own is wanted: whoever gets it twice can tell.
    pub record: Uuid,
    /// Why the function did not run the last time, if it did not.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub refusal: Option<Refusal>,
}

/// How an event ended, in AWS's words but for the last two.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Condition {
    /// The function answered.
    Success,
    /// The function failed as often as it may.
    RetriesExhausted,
    /// The next attempt would be too late.
    EventAgeExceeded,
    /// The function's reserved concurrency is zero.
    ZeroReservedConcurrency,
    /// The function was stopped from invoking itself in circles.
    LoopDetected,
    /// The version or alias was deleted, and the function was not.
    TargetDeleted,
}

/// Why a function was not run.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Refusal {
    /// The HTTP status that a caller would have got.
    pub status: u16,
    /// What a caller would have been told.
    pub message: String,
}

/// Who hears of an outcome.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Recipient {
    /// The ARN of a destination.
    Destination(String),
    /// The ARN of a dead-letter queue or topic.
    DeadLetter(String),
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn few_bytes_do_not_keep_the_buffer_that_they_came_in() {
        let buffer = Bytes::from(vec![b'1'; 2 * Content::LARGEST_HELD]);
        let few = buffer.slice(..Content::LARGEST_HELD);
        let held = Content::received(few.clone());
        assert_eq!(held, Content::Here(few));
        assert!(!buffer.as_ptr_range().contains(&held.bytes().unwrap().as_ptr()));
        let many = Content::received(buffer.clone());
        assert_eq!(many.bytes().unwrap().as_ptr(), buffer.as_ptr());
    }
}
