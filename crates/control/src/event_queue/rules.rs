//! What becomes of an event after an attempt: the rules alone.
//!
//! Must not look at clocks, state or store.

use std::{fmt, time::Duration};

/// How an attempt ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Ended {
    /// The function answered.
    Success,
    /// The function ran and failed, timed out or crashed.
    FunctionError,
    /// Too much is running.
    Throttled,
    /// The function could not be run, for now.
    SystemError,
    /// The function is switched off: nothing may run.
    NothingReserved,
    /// The version or alias is not there any more.
    TargetGone,
}

/// What an event has been through.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Past {
    /// How often the function ran with it, the last time included.
    pub(crate) attempts: u32,
    /// How often in a row it was throttled or met with a system error, the last time included.
    pub(crate) refusals: u32,
    /// How long ago it was accepted.
    pub(crate) age: Duration,
}

/// How long to go on.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Patience {
    /// Attempts after the first.
    pub(crate) retries: u32,
    /// The age at which an event is given up.
    pub(crate) maximum_age: Duration,
    /// Pause before the first retry; the second waits for two of them.
    pub(crate) base_delay: Duration,
}

impl Patience {
    /// Retries after the first attempt, if nothing is set.
    pub(crate) const RETRIES: u32 = 2;
    /// Six hours, if nothing is set.
    pub(crate) const MAXIMUM_AGE: Duration = Duration::from_secs(21_600);
}

/// What to do with an event.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Next {
    /// Nothing more.
    Done,
    /// Try again after this time: the attempt counted.
    Retry(Duration),
    /// Try again after this time, as if nothing had been.
    BackOff(Duration),
    /// Give it up.
    Discard(Reason),
}

/// Why an event was given up.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Reason {
    /// The function failed as often as it may.
    RetriesExhausted,
    /// The next attempt would be too late.
    EventAgeExceeded,
    /// The function's reserved concurrency is zero.
    ZeroReservedConcurrency,
    /// The version or alias was deleted, and the function was not.
    TargetDeleted,
    /// The function was deleted.
    FunctionDeleted,
}

/// The first three are AWS's `condition`s.
impl fmt::Display for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(self, f)
    }
}

const FIRST_BACK_OFF: Duration = Duration::from_secs(1);
const LONGEST_BACK_OFF: Duration = Duration::from_secs(300);

/// What to do with an event after an attempt that ended so.
pub(crate) fn next(ended: Ended, past: Past, patience: Patience) -> Next {
    let again = |next: fn(Duration) -> Next, delay: Duration| {
        if past.age.saturating_add(delay) >= patience.maximum_age {
            Next::Discard(Reason::EventAgeExceeded)
        } else {
            next(delay)
        }
    };
    match ended {
        Ended::Success => Next::Done,
        Ended::NothingReserved => Next::Discard(Reason::ZeroReservedConcurrency),
        Ended::TargetGone => Next::Discard(Reason::TargetDeleted),
        Ended::FunctionError if past.attempts > patience.retries => Next::Discard(Reason::RetriesExhausted),
        Ended::FunctionError => again(Next::Retry, patience.base_delay.saturating_mul(past.attempts)),
        Ended::Throttled | Ended::SystemError => again(Next::BackOff, back_off(past.refusals)),
    }
}

/// A second, then twice as long each time.
pub(crate) fn back_off(refusals: u32) -> Duration {
    let doublings = refusals.saturating_sub(1).min(16);
    FIRST_BACK_OFF.saturating_mul(1 << doublings).min(LONGEST_BACK_OFF)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_becomes_of_an_event() {
        use Ended::*;
        use Next::*;
        let seconds = Duration::from_secs;
        // How it ended; attempts, refusals and age in seconds; retries and maximum age in seconds that are set.
        let table = [
            (Success, (1, 0, 0), (2, 21_600), Done),
            (Success, (3, 9, 90_000), (0, 60), Done),
            (FunctionError, (1, 0, 0), (2, 21_600), Retry(seconds(60))),
            (FunctionError, (2, 0, 60), (2, 21_600), Retry(seconds(120))),
            (FunctionError, (3, 0, 180), (2, 21_600), Discard(Reason::RetriesExhausted)),
            (FunctionError, (1, 0, 0), (0, 21_600), Discard(Reason::RetriesExhausted)),
            (FunctionError, (1, 0, 0), (1, 21_600), Retry(seconds(60))),
            (FunctionError, (2, 0, 0), (1, 21_600), Discard(Reason::RetriesExhausted)),
            // The retries were lowered meanwhile.
            (FunctionError, (2, 0, 0), (0, 21_600), Discard(Reason::RetriesExhausted)),
            // The age that counts is the one at which the retry would be.
            (FunctionError, (1, 0, 0), (2, 60), Discard(Reason::EventAgeExceeded)),
            (FunctionError, (1, 0, 0), (2, 61), Retry(seconds(60))),
            (FunctionError, (2, 0, 61), (2, 181), Discard(Reason::EventAgeExceeded)),
            // Who has no retries left has not become too old.
            (FunctionError, (3, 0, 90_000), (2, 60), Discard(Reason::RetriesExhausted)),
            (Throttled, (0, 1, 0), (2, 21_600), BackOff(seconds(1))),
            (Throttled, (0, 2, 1), (2, 21_600), BackOff(seconds(2))),
            (Throttled, (0, 9, 255), (2, 21_600), BackOff(seconds(256))),
            (Throttled, (0, 10, 511), (2, 21_600), BackOff(seconds(300))),
            (Throttled, (0, 4_000_000_000, 511), (2, 21_600), BackOff(seconds(300))),
            // Refusals use up no retries.
            (Throttled, (2, 10, 511), (0, 21_600), BackOff(seconds(300))),
            (Throttled, (0, 10, 21_299), (2, 21_600), BackOff(seconds(300))),
            (Throttled, (0, 10, 21_300), (2, 21_600), Discard(Reason::EventAgeExceeded)),
            (SystemError, (1, 3, 70), (2, 21_600), BackOff(seconds(4))),
            (SystemError, (1, 3, 70), (2, 70), Discard(Reason::EventAgeExceeded)),
            (NothingReserved, (0, 0, 0), (2, 21_600), Discard(Reason::ZeroReservedConcurrency)),
            (TargetGone, (1, 0, 60), (2, 21_600), Discard(Reason::TargetDeleted)),
        ];
        for (ended, (attempts, refusals, age), (retries, maximum_age), expected) in table {
            let past = Past { attempts, refusals, age: seconds(age) };
            let patience = Patience { retries, maximum_age: seconds(maximum_age), base_delay: seconds(60) };
            assert_eq!(next(ended, past, patience), expected, "{ended:?} {past:?} {patience:?}");
        }
    }
}
