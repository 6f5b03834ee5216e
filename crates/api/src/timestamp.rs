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
    fn a_moment_that_is_no_number_is_refused() {
        assert_eq!(Timestamp::from_seconds(f64::NAN), None);
        assert_eq!(Timestamp::from_seconds(1e300), None);
    }
}
