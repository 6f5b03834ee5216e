//! What a runtime identifier asks for: a language and its release line, or a custom bootstrap.
//!
//! Must not look at the machine.

use std::fmt;

/// A language that Lambda has managed runtimes for and that this machine may have an interpreter of.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Language {
    /// CPython.
    Python,
    /// Node.js.
    Node,
    /// A Java virtual machine.
    Java,
    /// CRuby.
    Ruby,
}

impl Language {
    /// Every language, in the order in which people list them.
    pub const ALL: [Self; 4] = [Self::Python, Self::Node, Self::Java, Self::Ruby];

    /// The name that people use.
    pub fn name(self) -> &'static str {
        match self {
            Self::Python => "Python",
            Self::Node => "Node.js",
            Self::Java => "Java",
            Self::Ruby => "Ruby",
        }
    }

    /// The start of the language's runtime identifiers, as in `nodejs20.x`.
    pub fn identifier(self) -> &'static str {
        match self {
            Self::Python => "python",
            Self::Node => "nodejs",
            Self::Java => "java",
            Self::Ruby => "ruby",
        }
    }

    /// The oldest line that our clients, or AWS's published ones, run on.
    pub fn oldest(self) -> Line {
        match self {
            Self::Python => Line { major: 3, minor: 8 },
            Self::Node => Line { major: 16, minor: 0 },
            Self::Java => Line { major: 8, minor: 0 },
            Self::Ruby => Line { major: 3, minor: 2 },
        }
    }

    /// Whether a line is named by two numbers (`3.12`) or by one (`20`).
    fn has_minor_lines(self) -> bool {
        matches!(self, Self::Python | Self::Ruby)
    }

    /// The line that a full version belongs to.
    pub(super) fn line(self, major: u16, minor: u16) -> Line {
        Line { major, minor: if self.has_minor_lines() { minor } else { 0 } }
    }

    /// How the line is written: `3.12`, or `20`.
    pub fn display(self, line: Line) -> String {
        if self.has_minor_lines() { format!("{}.{}", line.major, line.minor) } else { line.major.to_string() }
    }
}

impl fmt::Display for Language {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// A release line: what one runtime identifier stands for, whatever the patch level.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Line {
    /// First number.
    pub major: u16,
    /// Second number; zero in languages whose lines have one number only.
    pub minor: u16,
}

/// What kind of process a runtime identifier asks for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Family {
    /// An interpreter found on this machine with a runtime interface client.
    Managed(Language, Line),
    /// The function's own `bootstrap`.
    Provided,
    /// Retired by AWS, or a language that is not supported here.
    Unsupported,
}

impl Family {
    /// Reads a runtime identifier, such as `python3.12`, `nodejs20.x`, `java17.al2023` or `provided.al2`.
    pub fn of(runtime: &str) -> Self {
        if runtime == "provided" || runtime.starts_with("provided.") {
            return Self::Provided;
        }
        let managed = Language::ALL.into_iter().find_map(|language| {
            let rest = runtime.strip_prefix(language.identifier())?;
            let mut numbers = rest.split('.');
            let major = numbers.next()?.parse().ok()?;
            let minor = if language.has_minor_lines() { numbers.next()?.parse().ok()? } else { 0 };
            let line = Line { major, minor };
            (line >= language.oldest()).then_some(Self::Managed(language, line))
        });
        managed.unwrap_or(Self::Unsupported)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn identifiers_name_a_language_and_a_line() {
        let cases = [
            ("python3.8", Family::Managed(Language::Python, Line { major: 3, minor: 8 })),
            ("python3.15", Family::Managed(Language::Python, Line { major: 3, minor: 15 })),
            ("nodejs18.x", Family::Managed(Language::Node, Line { major: 18, minor: 0 })),
            ("nodejs26.x", Family::Managed(Language::Node, Line { major: 26, minor: 0 })),
            ("java8.al2", Family::Managed(Language::Java, Line { major: 8, minor: 0 })),
            ("java17.al2023", Family::Managed(Language::Java, Line { major: 17, minor: 0 })),
            ("ruby3.4", Family::Managed(Language::Ruby, Line { major: 3, minor: 4 })),
            ("ruby4.0", Family::Managed(Language::Ruby, Line { major: 4, minor: 0 })),
            ("provided", Family::Provided),
            ("provided.al2023", Family::Provided),
            ("python2.7", Family::Unsupported),
            ("nodejs", Family::Unsupported),
            ("nodejs4.3-edge", Family::Unsupported),
            ("dotnet8", Family::Unsupported),
            ("go1.x", Family::Unsupported),
        ];
        for (runtime, family) in cases {
            assert_eq!(Family::of(runtime), family, "{runtime}");
        }
    }

    #[test]
    fn lines_are_written_as_their_language_writes_them() {
        assert_eq!(Language::Python.display(Line { major: 3, minor: 12 }), "3.12");
        assert_eq!(Language::Node.display(Line { major: 20, minor: 0 }), "20");
    }
}
