//! Which of a function's records its application log level lets through.
//!
//! Must not change a record. Lambda filters only in the JSON format: records of the telemetry descriptor by the level
//! in their frame, JSON lines by their `level`, and everything else as INFO (AWS: "Log-level filtering").

use std::borrow::Cow;

use hothouse_api::generated::{ApplicationLogLevel, LogFormat};
use serde::Deserialize;

use super::records::Piece;
use crate::spec::Logging;

/// Levels from most to least detail.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Level {
    Trace,
    Debug,
    Info,
    Warn,
    Error,
    Fatal,
}

impl Level {
    /// The level bits of a frame's type.
    pub(crate) fn of_frame(bits: u32) -> Option<Level> {
        Some(match bits {
            4 => Level::Trace,
            8 => Level::Debug,
            12 => Level::Info,
            16 => Level::Warn,
            20 => Level::Error,
            24 => Level::Fatal,
            _ => return None,
        })
    }

    /// Upper and lower case, and the names that Python has for two of them (which AWS does not mention: unverified).
    fn named(text: &str) -> Option<Level> {
        const NAMES: [(&str, Level); 8] = [
            ("TRACE", Level::Trace),
            ("DEBUG", Level::Debug),
            ("INFO", Level::Info),
            ("WARN", Level::Warn),
            ("WARNING", Level::Warn),
            ("ERROR", Level::Error),
            ("FATAL", Level::Fatal),
            ("CRITICAL", Level::Fatal),
        ];
        NAMES.iter().find(|(name, _)| text.eq_ignore_ascii_case(name)).map(|(_, level)| *level)
    }
}

/// Lets records of a level and above through.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Filter {
    /// Nothing is hidden without one.
    least: Option<Level>,
}

impl Filter {
    pub(crate) fn new(logging: &Logging) -> Filter {
        let least = match logging.application_level {
            _ if logging.format == LogFormat::Text => None,
            None | Some(ApplicationLogLevel::Info) => Some(Level::Info),
            Some(ApplicationLogLevel::Trace) => None,
            Some(ApplicationLogLevel::Debug) => Some(Level::Debug),
            Some(ApplicationLogLevel::Warn) => Some(Level::Warn),
            Some(ApplicationLogLevel::Error) => Some(Level::Error),
            Some(ApplicationLogLevel::Fatal) => Some(Level::Fatal),
        };
        Filter { least }
    }

    /// Whether a record that begins so stays out of the log.
    pub(crate) fn hides(self, piece: &Piece<'_>) -> bool {
        self.least.is_some_and(|least| level(piece) < least)
    }
}

fn level(piece: &Piece<'_>) -> Level {
    piece.level.or_else(|| json_level(piece.bytes)).unwrap_or(Level::Info)
}

/// What decides in a JSON line. AWS speaks of "most common naming conventions" for the time; these are the managed
/// runtimes' and the usual loggers'.
#[derive(Debug, Deserialize)]
struct JsonLine<'a> {
    #[serde(borrow)]
    level: Option<Cow<'a, str>>,
    #[serde(borrow)]
    timestamp: Option<Cow<'a, str>>,
    #[serde(borrow)]
    time: Option<Cow<'a, str>>,
    #[serde(borrow, rename = "@timestamp")]
    at_timestamp: Option<Cow<'a, str>>,
}

/// The `level` of a JSON object, which counts only beside a valid time.
fn json_level(bytes: &[u8]) -> Option<Level> {
    if bytes.first() != Some(&b'{') {
        return None;
    }
    let line: JsonLine<'_> = serde_json::from_slice(bytes).ok()?;
    let time = line.timestamp.or(line.time).or(line.at_timestamp)?;
    if is_rfc3339(&time) { Level::named(&line.level?) } else { None }
}

/// `2024-11-02T16:51:31.587199Z`; other forms of ISO 8601 do not count.
fn is_rfc3339(text: &str) -> bool {
    let bytes = text.as_bytes();
    let separated = bytes.get(10).is_some_and(|byte| byte.eq_ignore_ascii_case(&b'T'));
    let zoned = matches!(bytes, [.., b'Z' | b'z'] | [.., b'+' | b'-', _, _, b':', _, _]);
    separated && zoned && !bytes.contains(&b',') && text.parse::<jiff::Timestamp>().is_ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn hides(least: Level, line: &str) -> bool {
        let piece = Piece { bytes: line.as_bytes(), level: None, continued: false };
        Filter { least: Some(least) }.hides(&piece)
    }

    #[test]
    fn json_lines_have_the_level_that_they_tell() {
        let line = |level: &str| {
            format!(r#"{{"level": "{level}", "msg": "x", "timestamp": "2024-11-02T16:51:31.587199Z"}}"#)
        };
        assert!(hides(Level::Info, &line("debug")));
        assert!(hides(Level::Info, &line("TRACE")));
        assert!(!hides(Level::Debug, &line("debug")));
        assert!(!hides(Level::Warn, &line("warning")));
        assert!(hides(Level::Error, &line("Warn")));
        assert!(!hides(Level::Fatal, &line("CRITICAL")));
        // An unknown name is INFO.
        assert!(!hides(Level::Info, &line("quiet")));
        assert!(hides(Level::Warn, &line("loud")));
    }

    #[test]
    fn a_level_without_a_valid_time_is_info() {
        for time in
            [r#""x""#, r#""2024-11-02 16:51:31,587+0000""#, "1730566291", "null", r#""2024-11-02T16:51:31""#]
        {
            let line = format!(r#"{{"level":"DEBUG","timestamp":{time}}}"#);
            assert!(!hides(Level::Info, &line), "{line}");
        }
        assert!(!hides(Level::Info, r#"{"level":"DEBUG"}"#));
        for name in ["timestamp", "time", "@timestamp"] {
            let line = format!(
                r#"{{"{name}":"2024-11-02T16:51:31+01:00","level":"DEBUG","more":{{"level":"ERROR"}}}}"#
            );
            assert!(hides(Level::Info, &line), "{line}");
        }
    }

    #[test]
    fn text_is_info() {
        for line in ["plain\n", "{broken\n", "\n", "[1]", "{\"level\": 30}"] {
            assert!(!hides(Level::Info, line), "{line}");
            assert!(hides(Level::Warn, line), "{line}");
        }
    }

    #[test]
    fn frames_have_their_own() {
        let piece = |level| Piece { bytes: b"x", level, continued: false };
        let filter = Filter { least: Some(Level::Warn) };
        assert!(filter.hides(&piece(Some(Level::Info))));
        assert!(!filter.hides(&piece(Some(Level::Error))));
        assert!(filter.hides(&piece(None)));
    }
}
