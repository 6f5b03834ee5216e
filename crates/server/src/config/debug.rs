//! The file of `--debug-config`: which functions are debugged, and at which port. Its format is LocalStack's.
//!
//! Must not watch the file: it is read when it is asked for.

use std::{
    collections::BTreeMap,
    fmt, io,
    path::{Path, PathBuf},
};

use hothouse_api::{
    arn::FunctionArn,
    name::{Qualifier, Version},
};
use hothouse_execution::debug::{DebugTarget, Debugging};
use serde::{Deserialize, Deserializer, de};

/// The functions of a file.
pub(crate) type Functions = BTreeMap<DebugTarget, Debugging>;

/// Which functions are debugged, as the user said it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum DebugSetting {
    /// None.
    Off,
    /// All of them.
    All,
    /// Those of a file, which may change while the service runs.
    File {
        /// The file.
        path: PathBuf,
        /// What it said when it was read.
        functions: Functions,
    },
}

/// The file cannot be used.
#[derive(Debug, thiserror::Error)]
pub(crate) enum DebugFileError {
    /// It cannot be read.
    #[error("failed to read the debug configuration `{path}`")]
    Read {
        /// The file.
        path: PathBuf,
        #[source]
        source: io::Error,
    },
    /// It does not say what it should.
    #[error("failed to understand the debug configuration `{path}`{}: {reason}", At(*line))]
    Invalid {
        /// The file.
        path: PathBuf,
        /// Its line, from 1, where one is to blame.
        line: Option<usize>,
        /// What is wrong there.
        reason: String,
    },
}

impl DebugFileError {
    /// What to do about it.
    pub(crate) fn hint(&self) -> String {
        match self {
            Self::Read { .. } => "`--debug-config FILE` names another file; `--debug` needs none".to_owned(),
            Self::Invalid { .. } => {
                "below `functions:`, write `ARN:` and indented under it `debug-port: NUMBER` \
                                     and `enforce-timeouts: true` or `false`"
                    .to_owned()
            }
        }
    }
}

/// `, line 3`, where a line is known.
struct At(Option<usize>);

impl fmt::Display for At {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.map_or(Ok(()), |line| write!(f, ", line {line}"))
    }
}

/// Reads the file.
pub(crate) fn read(path: &Path) -> Result<Functions, DebugFileError> {
    let text = std::fs::read_to_string(path)
        .map_err(|source| DebugFileError::Read { path: path.to_owned(), source })?;
    parse(&text).map_err(|Mistake { line, reason }| DebugFileError::Invalid {
        path: path.to_owned(),
        line,
        reason,
    })
}

/// What is wrong with the text, and where.
#[derive(Debug, PartialEq, Eq)]
struct Mistake {
    line: Option<usize>,
    reason: String,
}

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
struct Document {
    #[serde(default)]
    functions: Option<Entries>,
}

/// Entries in the order of the file: a map would keep the last of two with the same name, and say nothing.
#[derive(Debug, Default)]
struct Entries(Vec<(String, Entry)>);

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
struct Entry {
    debug_port: Option<u16>,
    #[serde(default)]
    enforce_timeouts: bool,
}

impl<'de> Deserialize<'de> for Entries {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Visitor;

        impl<'de> de::Visitor<'de> for Visitor {
            type Value = Entries;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a mapping of functions' ARNs")
            }

            fn visit_map<A: de::MapAccess<'de>>(self, mut map: A) -> Result<Entries, A::Error> {
                let mut entries = Vec::new();
                while let Some((arn, entry)) = map.next_entry::<String, Option<Entry>>()? {
                    entries.push((arn, entry.unwrap_or_default()));
                }
                Ok(Entries(entries))
            }
        }

        deserializer.deserialize_map(Visitor)
    }
}

fn parse(text: &str) -> Result<Functions, Mistake> {
    // An empty file names no functions; so does one of comments.
    let document: Option<Document> = serde_yaml_ng::from_str(text).map_err(|error| {
        let line = error.location().map(|location| location.line());
        Mistake { line, reason: without_location(&error.to_string()).to_owned() }
    })?;
    let entries = document.unwrap_or_default().functions.unwrap_or_default().0;
    let mut functions = Functions::new();
    let mut ports = BTreeMap::new();
    let mut seen = 0;
    for (arn, Entry { debug_port, enforce_timeouts }) in entries {
        let line = line_of(text, &arn, &mut seen);
        let mistake = |reason| Mistake { line, reason };
        let target = target(&arn).map_err(mistake)?;
        if debug_port == Some(0) {
            return Err(mistake(format!("`{arn}` has the port 0: choose one from 1 to 65535")));
        }
        if let Some(port) = debug_port
            && let Some(other) = ports.insert(port, arn.clone())
        {
            return Err(mistake(format!("`{arn}` has the port {port} of `{other}`")));
        }
        let debugging = Debugging { port: debug_port, enforce_timeouts };
        if functions.insert(target, debugging).is_some() {
            return Err(mistake(format!("`{arn}` is there twice (without a qualifier `$LATEST` is meant)")));
        }
    }
    Ok(functions)
}

fn target(arn: &str) -> Result<DebugTarget, String> {
    let wanted = "arn:aws:lambda:REGION:ACCOUNT:function:NAME, with or without :VERSION";
    let parsed: FunctionArn =
        arn.parse().map_err(|_| format!("`{arn}` is not a function's ARN: write {wanted}"))?;
    let version = match parsed.qualifier() {
        None | Some(Qualifier::Latest) => Version::Latest,
        Some(Qualifier::Version(number)) => Version::Number(*number),
        Some(Qualifier::LatestPublished) => Version::LatestPublished,
        Some(Qualifier::Alias(alias)) => {
            return Err(format!("`{alias}` is an alias: name the version that it points to"));
        }
    };
    Ok(DebugTarget { function_arn: parsed.unqualified(), version })
}

/// The line of the next entry, from 1; `seen` lines are before it.
fn line_of(text: &str, arn: &str, seen: &mut usize) -> Option<usize> {
    let is_key = |line: &str| {
        let key = line.trim().trim_start_matches(['"', '\'', '?', ' ']);
        key.strip_prefix(arn).is_some_and(|rest| {
            let rest = rest.trim_start_matches(['"', '\'']);
            rest.strip_prefix(':').is_some_and(|value| value.is_empty() || value.starts_with([' ', '\t']))
        })
    };
    let found = text.lines().skip(*seen).position(is_key)?;
    *seen += found + 1;
    Some(*seen)
}

/// The parser's message ends with the place, which we say at its start.
fn without_location(message: &str) -> &str {
    message.rsplit_once(" at line ").map_or(message, |(reason, _)| reason)
}

#[cfg(test)]
mod tests {
    use super::*;

    const ARN: &str = "arn:aws:lambda:us-east-1:000000000000:function:stepped";

    fn mistake(text: &str) -> (Option<usize>, String) {
        let Mistake { line, reason } = parse(text).unwrap_err();
        (line, reason)
    }

    #[test]
    fn functions_are_named_by_arn_and_an_unqualified_one_means_latest() {
        let text = format!(
            "# Two versions of one function.\n\
             functions:\n  \
               {ARN}:\n    debug-port: 19891\n  \
               '{ARN}:3':\n    debug-port: 19892\n    enforce-timeouts: true\n  \
               {ARN}2:\n"
        );
        let named = |arn: &str, version| DebugTarget { function_arn: arn.parse().unwrap(), version };
        let expected = [
            (named(ARN, Version::Latest), Debugging { port: Some(19891), enforce_timeouts: false }),
            (named(ARN, Version::Number(3)), Debugging { port: Some(19892), enforce_timeouts: true }),
            (named(&format!("{ARN}2"), Version::Latest), Debugging::default()),
        ];
        assert_eq!(parse(&text).unwrap(), BTreeMap::from(expected));
    }

    #[test]
    fn a_file_without_functions_is_valid() {
        for text in ["", "# nothing yet\n", "functions:\n", "functions: {}\n"] {
            assert_eq!(parse(text).unwrap(), BTreeMap::new(), "{text:?}");
        }
    }

    #[test]
    fn two_functions_cannot_share_a_port() {
        let text = format!("functions:\n  {ARN}:\n    debug-port: 5678\n  {ARN}:1:\n    debug-port: 5678\n");
        assert_eq!(mistake(&text), (Some(4), format!("`{ARN}:1` has the port 5678 of `{ARN}`")));
    }

    #[test]
    fn a_function_is_there_once() {
        for second in [ARN.to_owned(), format!("{ARN}:$LATEST")] {
            let text = format!("functions:\n  {ARN}:\n    debug-port: 1\n  {second}:\n    debug-port: 2\n");
            let reason = format!("`{second}` is there twice (without a qualifier `$LATEST` is meant)");
            assert_eq!(mistake(&text), (Some(4), reason));
        }
    }

    #[test]
    fn mistakes_are_told_with_their_line() {
        let below = |line: &str| mistake(&format!("functions:\n  {ARN}:\n    {line}\n"));
        assert_eq!(
            below("debug_port: 5678").1,
            format!(
                "functions.{ARN}: unknown field `debug_port`, expected `debug-port` or `enforce-timeouts`"
            )
        );
        assert!(below("debug-port: 70000").1.contains("70000"));
        assert!(below("enforce-timeouts: maybe").1.contains("boolean"));
        assert_eq!(below("debug-port: 0").0, Some(2));
        assert_eq!(mistake("function: {}\n").0, Some(1));
        assert_eq!(
            mistake(&format!("functions:\n\n  {ARN}:live:\n")),
            (Some(3), "`live` is an alias: name the version that it points to".to_owned())
        );
        let (line, reason) = mistake("functions:\n  stepped:\n    debug-port: 1\n");
        assert_eq!(line, Some(2));
        assert!(reason.starts_with("`stepped` is not a function's ARN"), "{reason}");
        assert_eq!(mistake("functions:\n  - a\n  b: c\n").0, Some(2));
    }

    #[test]
    fn a_missing_file_is_named() {
        let error = read(Path::new("/nowhere/debug.yaml")).unwrap_err();
        assert_eq!(error.to_string(), "failed to read the debug configuration `/nowhere/debug.yaml`");
    }
}
