//! What becomes of an event after an attempt, and of the record that tells of it: the rules alone.
//!
//! Must not look at clocks, state or store.

use std::time::Duration;

use crate::state::model::queued::Condition;

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
    /// The function has invoked itself in circles, and may not.
    Loop,
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
    /// Pause before the first retry; the second waits for two of them. One that is shorter than AWS's stands for it:
    /// whether an event is too old for a retry is decided as AWS would, only sooner.
    pub(crate) base_delay: Duration,
}

impl Patience {
    /// Retries after the first attempt, if nothing is set.
    pub(crate) const RETRIES: u32 = 2;
    /// A minute.
    const BASE_DELAY: Duration = Duration::from_secs(60);
    /// Six hours, if nothing is set.
    pub(crate) const MAXIMUM_AGE: Duration = Duration::from_secs(21_600);
}

/// What to do with an event.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Next {
    /// Try again after this time: the attempt counted.
    Retry(Duration),
    /// Try again after this time, as if nothing had been.
    BackOff(Duration),
    /// It is over.
    Over(Condition),
}

const FIRST_BACK_OFF: Duration = Duration::from_secs(1);
const LONGEST_BACK_OFF: Duration = Duration::from_secs(300);

/// A record that does not arrive is given up when its event has been over for so long: as long as events may wait, if
/// nothing is set.
const PATIENCE_FOR_RECORDS: Duration = Patience::MAXIMUM_AGE;

/// Whether an event is over before it is attempted once more.
pub(crate) fn before(age: Duration, patience: Patience) -> Option<Condition> {
    (age >= patience.maximum_age).then_some(Condition::EventAgeExceeded)
}

/// What to do with an event after an attempt that ended so.
pub(crate) fn next(ended: Ended, past: Past, patience: Patience) -> Next {
    // `counted` is how much older the event would be.
    let again = |next: fn(Duration) -> Next, delay: Duration, counted: Duration| match before(
        past.age.saturating_add(counted),
        patience,
    ) {
        Some(condition) => Next::Over(condition),
        None => next(delay),
    };
    match ended {
        Ended::Success => Next::Over(Condition::Success),
        Ended::NothingReserved => Next::Over(Condition::ZeroReservedConcurrency),
        Ended::TargetGone => Next::Over(Condition::TargetDeleted),
        Ended::Loop => Next::Over(Condition::LoopDetected),
        Ended::FunctionError if past.attempts > patience.retries => Next::Over(Condition::RetriesExhausted),
        Ended::FunctionError => {
            let delay = patience.base_delay.saturating_mul(past.attempts);
            again(Next::Retry, delay, delay.max(Patience::BASE_DELAY.saturating_mul(past.attempts)))
        }
        Ended::Throttled | Ended::SystemError => {
            let delay = back_off(past.refusals);
            again(Next::BackOff, delay, delay)
        }
    }
}

/// How long to wait before a record is sent once more; none if it is given up. So many attempts in a row have failed, and
/// so long ago the event was over.
pub(crate) fn send_again(failures: u32, age: Duration) -> Option<Duration> {
    let delay = back_off(failures);
    (age.saturating_add(delay) < PATIENCE_FOR_RECORDS).then_some(delay)
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
            (Success, (1, 0, 0), (2, 21_600), Over(Condition::Success)),
            (Success, (3, 9, 90_000), (0, 60), Over(Condition::Success)),
            (FunctionError, (1, 0, 0), (2, 21_600), Retry(seconds(60))),
            (FunctionError, (2, 0, 60), (2, 21_600), Retry(seconds(120))),
            (FunctionError, (3, 0, 180), (2, 21_600), Over(Condition::RetriesExhausted)),
            (FunctionError, (1, 0, 0), (0, 21_600), Over(Condition::RetriesExhausted)),
            (FunctionError, (1, 0, 0), (1, 21_600), Retry(seconds(60))),
            (FunctionError, (2, 0, 0), (1, 21_600), Over(Condition::RetriesExhausted)),
            // The retries were lowered meanwhile.
            (FunctionError, (2, 0, 0), (0, 21_600), Over(Condition::RetriesExhausted)),
            // The age that counts is the one at which the retry would be.
            (FunctionError, (1, 0, 0), (2, 60), Over(Condition::EventAgeExceeded)),
            (FunctionError, (1, 0, 0), (2, 61), Retry(seconds(60))),
            (FunctionError, (2, 0, 61), (2, 181), Over(Condition::EventAgeExceeded)),
            // Who has no retries left has not become too old.
            (FunctionError, (3, 0, 90_000), (2, 60), Over(Condition::RetriesExhausted)),
            (Throttled, (0, 1, 0), (2, 21_600), BackOff(seconds(1))),
            (Throttled, (0, 2, 1), (2, 21_600), BackOff(seconds(2))),
            (Throttled, (0, 9, 255), (2, 21_600), BackOff(seconds(256))),
            (Throttled, (0, 10, 511), (2, 21_600), BackOff(seconds(300))),
            (Throttled, (0, 4_000_000_000, 511), (2, 21_600), BackOff(seconds(300))),
            // Refusals use up no retries.
            (Throttled, (2, 10, 511), (0, 21_600), BackOff(seconds(300))),
            (Throttled, (0, 10, 21_299), (2, 21_600), BackOff(seconds(300))),
            (Throttled, (0, 10, 21_300), (2, 21_600), Over(Condition::EventAgeExceeded)),
            (SystemError, (1, 3, 70), (2, 21_600), BackOff(seconds(4))),
            (SystemError, (1, 3, 70), (2, 70), Over(Condition::EventAgeExceeded)),
            (NothingReserved, (0, 0, 0), (2, 21_600), Over(Condition::ZeroReservedConcurrency)),
            (Loop, (0, 0, 0), (2, 21_600), Over(Condition::LoopDetected)),
            (TargetGone, (1, 0, 60), (2, 21_600), Over(Condition::TargetDeleted)),
        ];
        for (ended, (attempts, refusals, age), (retries, maximum_age), expected) in table {
            let past = Past { attempts, refusals, age: seconds(age) };
            let patience = Patience { retries, maximum_age: seconds(maximum_age), base_delay: seconds(60) };
            assert_eq!(next(ended, past, patience), expected, "{ended:?} {past:?} {patience:?}");
        }
    }

    #[test]
    fn shortened_pause_counts_for_the_one_it_stands_for() {
        let seconds = Duration::from_secs;
        // Base delay, attempts, age and maximum age in seconds.
        let table = [
            (5, 1, 0, 60, Next::Over(Condition::EventAgeExceeded)),
            (5, 1, 0, 90, Next::Retry(seconds(5))),
            (5, 2, 5, 90, Next::Over(Condition::EventAgeExceeded)),
            (0, 2, 0, 121, Next::Retry(Duration::ZERO)),
            (90, 1, 0, 90, Next::Over(Condition::EventAgeExceeded)),
            (90, 1, 0, 91, Next::Retry(seconds(90))),
        ];
        for (base_delay, attempts, age, maximum_age, expected) in table {
            let past = Past { attempts, refusals: 0, age: seconds(age) };
            let patience =
                Patience { retries: 2, maximum_age: seconds(maximum_age), base_delay: seconds(base_delay) };
            assert_eq!(next(Ended::FunctionError, past, patience), expected, "{past:?} {patience:?}");
        }
    }

    #[test]
    fn event_that_is_too_old_is_not_attempted() {
        let patience = Patience {
            retries: 2,
            maximum_age: Duration::from_secs(60),
            base_delay: Duration::from_secs(60),
        };
        for (age, expected) in [(0, None), (59, None), (60, Some(Condition::EventAgeExceeded))] {
            assert_eq!(before(Duration::from_secs(age), patience), expected, "{age}");
        }
    }

    #[test]
    fn record_is_sent_again_for_six_hours() {
        // Failed attempts, age of the outcome, pause.
        let table = [
            (1, 0, Some(1)),
            (2, 1, Some(2)),
            (9, 255, Some(256)),
            (10, 511, Some(300)),
            (4_000_000_000, 21_299, Some(300)),
            (80, 21_300, None),
            (1, 21_598, Some(1)),
            (1, 21_599, None),
        ];
        for (failures, age, pause) in table {
            let expected = pause.map(Duration::from_secs);
            assert_eq!(send_again(failures, Duration::from_secs(age)), expected, "{failures} {age}");
        }
    }
}
