//! The model's `timestamp` type: seconds since the epoch, as a number.
//!
//! Must not be used for `LastModified` and its like, which are text on the wire.

use std::time::{Duration, SystemTime};

use serde::{Deserialize, Deserializer, Serialize, Serializer, de::Error as _};

/// A moment, to the millisecond.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Timestamp {
    millis: i64,
}

impl Timestamp {
    /// A moment by its distance to the epoch, in milliseconds.
    pub fn from_millis(millis: i64) -> Self {
        Self { millis }
    }

    /// Milliseconds since the epoch.
    pub fn as_millis(self) -> i64 {
        self.millis
    }

    /// A moment by its distance to the epoch, in seconds; none if that is no finite number or too far away.
    pub fn from_seconds(seconds: f64) -> Option<Self> {
        // Beyond 2^53 milliseconds a number of seconds no longer has milliseconds.
        let millis = (seconds * 1000.0).round();
        (millis.abs() < 9_007_199_254_740_992.0).then_some(Self { millis: millis as i64 })
    }
}

impl Timestamp {
    /// Reads `2025-11-24T23:09:56Z`, with or without a fraction: how moments are written in queries.
    pub fn from_iso8601(text: &str) -> Option<Self> {
        let (date, time) = text.strip_suffix('Z')?.split_once('T')?;
        let mut date = date.splitn(3, '-').map(number);
        let (year, month, day) = (date.next()??, date.next()??, date.next()??);
        let (clock, fraction) = time.split_once('.').unwrap_or((time, "0"));
        let mut clock = clock.splitn(3, ':').map(number);
        let (hour, minute, second) = (clock.next()??, clock.next()??, clock.next()??);
        let in_range = (1..=9999).contains(&year)
            && (1..=12).contains(&month)
            && (1..=31).contains(&day)
            && hour < 24
            && minute < 60
            && second < 61;
        if !in_range || fraction.is_empty() || !fraction.bytes().all(|byte| byte.is_ascii_digit()) {
            return None;
        }
        let millis = number(&format!("{fraction:0<3.3}"))?;
        let seconds = days_since_epoch(year, month, day) * 86_400 + hour * 3_600 + minute * 60 + second;
        Some(Self { millis: seconds * 1000 + millis })
    }
}

fn number(text: &str) -> Option<i64> {
    let digits = (1..=4).contains(&text.len()) && text.bytes().all(|byte| byte.is_ascii_digit());
    if digits { text.parse().ok() } else { None }
}

/// Days of the Gregorian calendar, counted in years that begin in March so that leap days come last.
fn days_since_epoch(year: i64, month: i64, day: i64) -> i64 {
    let year = if month <= 2 { year - 1 } else { year };
    let day_of_year = (153 * ((month + 9) % 12) + 2) / 5 + day - 1;
    let before_year = year * 365 + year / 4 - year / 100 + year / 400;
    // 0000-03-01 was 719,468 days before the epoch.
    before_year + day_of_year - 719_468
}

impl From<SystemTime> for Timestamp {
    fn from(time: SystemTime) -> Self {
        let millis = |duration: Duration| i64::try_from(duration.as_millis()).unwrap_or(i64::MAX);
        match time.duration_since(SystemTime::UNIX_EPOCH) {
            Ok(since) => Self { millis: millis(since) },
            Err(before) => Self { millis: -millis(before.duration()) },
        }
    }
}

impl From<Timestamp> for SystemTime {
    fn from(timestamp: Timestamp) -> Self {
        let distance = Duration::from_millis(timestamp.millis.unsigned_abs());
        if timestamp.millis < 0 { Self::UNIX_EPOCH - distance } else { Self::UNIX_EPOCH + distance }
    }
}

impl Serialize for Timestamp {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        if self.millis % 1000 == 0 {
            serializer.serialize_i64(self.millis / 1000)
        } else {
            serializer.serialize_f64(self.millis as f64 / 1000.0)
        }
    }
}

impl<'de> Deserialize<'de> for Timestamp {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let seconds = f64::deserialize(deserializer)?;
        Self::from_seconds(seconds).ok_or_else(|| D::Error::custom("a moment beyond all calendars"))
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn moments_round_trip(millis in -9_000_000_000_000_i64..9_000_000_000_000) {
            let moment = Timestamp::from_millis(millis);
            let json = serde_json::to_string(&moment).unwrap();
            prop_assert_eq!(serde_json::from_str::<Timestamp>(&json).unwrap(), moment);
            prop_assert_eq!(Timestamp::from(SystemTime::from(moment)), moment);
        }
    }

    #[test]
    fn moments_are_seconds_on_the_wire() {
        let json = |millis| serde_json::to_string(&Timestamp::from_millis(millis)).unwrap();
        assert_eq!(json(1_764_025_796_000), "1764025796");
        assert_eq!(json(1_764_025_796_123), "1764025796.123");
    }

    #[test]
    fn moments_in_queries_are_understood() {
        let millis = |text| Timestamp::from_iso8601(text).map(Timestamp::as_millis);
        assert_eq!(millis("1970-01-01T00:00:00Z"), Some(0));
        assert_eq!(millis("2025-11-24T23:09:56Z"), Some(1_764_025_796_000));
        assert_eq!(millis("2024-02-29T12:00:00.5Z"), Some(1_709_208_000_500));
        for text in ["", "Z", "2025-11-24", "2025-13-01T00:00:00Z", "2025-11-24T23:09:56", "é-1-1T1:1:1Z"] {
            assert_eq!(millis(text), None, "{text}");
        }
    }

    #[test]
    fn a_moment_that_is_no_number_is_refused() {
        assert_eq!(Timestamp::from_seconds(f64::NAN), None);
        assert_eq!(Timestamp::from_seconds(1e300), None);
    }
}
