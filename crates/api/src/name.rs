//! Names and identifiers: accounts, regions, functions, versions, aliases, qualifiers, requests.
//!
//! Each type can only be made from text that AWS would accept, and prints that text again.
//! Must not know which of the named things exist.

use std::{fmt, str::FromStr, sync::Arc};

use uuid::Uuid;

use crate::text::serde_as_text;

pub use crate::function_ref::FunctionRef;

/// Text that is not the name that it should be.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{text}` is not {expected}")]
pub struct ParseNameError {
    /// What was expected, with its article.
    pub expected: &'static str,
    /// What was given.
    pub text: String,
}

impl ParseNameError {
    pub(crate) fn new(expected: &'static str, text: &str) -> Self {
        Self { expected, text: text.to_owned() }
    }
}

serde_as_text!(AccountId, Region, FunctionName, Version, AliasName, Qualifier, RequestId);

/// An AWS account: 12 digits.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct AccountId(u64);

impl AccountId {
    /// `000000000000`: the account of whoever did not name one.
    pub const DEFAULT: Self = Self(0);
}

impl FromStr for AccountId {
    type Err = ParseNameError;

    fn from_str(text: &str) -> Result<Self, ParseNameError> {
        if text.len() == 12 && text.bytes().all(|byte| byte.is_ascii_digit()) {
            // Twelve digits always fit.
            text.parse().map(Self).map_err(|_| ParseNameError::new("an account id", text))
        } else {
            Err(ParseNameError::new("an account id", text))
        }
    }
}

impl fmt::Display for AccountId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:012}", self.0)
    }
}

impl fmt::Debug for AccountId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// An AWS region, such as `us-east-1` or `eusc-de-east-1`. Cheap to clone.
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Region(Arc<str>);

impl Region {
    /// The region as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The ARN partition that the region belongs to.
    pub fn partition(&self) -> &'static str {
        // AWS's own table of partitions, by the regions' prefixes.
        const PARTITIONS: [(&str, &str); 7] = [
            ("cn-", "aws-cn"),
            ("us-gov-", "aws-us-gov"),
            ("us-isob-", "aws-iso-b"),
            ("us-isof-", "aws-iso-f"),
            ("us-iso-", "aws-iso"),
            ("eu-isoe-", "aws-iso-e"),
            ("eusc-", "aws-eusc"),
        ];
        PARTITIONS.iter().find(|(prefix, _)| self.0.starts_with(prefix)).map_or("aws", |(_, name)| name)
    }

    /// What the model's patterns say: `(eusc-)?[a-z]{2}((-gov)|(-iso([a-z]?)))?-[a-z]+-\d{1}`.
    pub(crate) fn is_valid(text: &str) -> bool {
        let lower = |part: &str| !part.is_empty() && part.bytes().all(|byte| byte.is_ascii_lowercase());
        let text = text.strip_prefix("eusc-").unwrap_or(text);
        let mut parts = text.split('-');
        let (Some(country), Some(second), Some(third)) = (parts.next(), parts.next(), parts.next()) else {
            return false;
        };
        let (area, number) = match parts.next() {
            None => (second, third),
            Some(fourth) => {
                let special = second == "gov"
                    || second
                        .strip_prefix("iso")
                        .is_some_and(|rest| rest.len() <= 1 && (rest.is_empty() || lower(rest)));
                if !special {
                    return false;
                }
                (third, fourth)
            }
        };
        country.len() == 2
            && lower(country)
            && lower(area)
            && number.len() == 1
            && number.as_bytes()[0].is_ascii_digit()
            && parts.next().is_none()
    }
}

impl FromStr for Region {
    type Err = ParseNameError;

    fn from_str(text: &str) -> Result<Self, ParseNameError> {
        if Self::is_valid(text) { Ok(Self(text.into())) } else { Err(ParseNameError::new("a region", text)) }
    }
}

/// A function's name, without qualifier or ARN. Cheap to clone.
///
/// Validation keeps new names to 64 characters without `.`; names that are looked up may be longer and have dots.
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct FunctionName(Arc<str>);

impl FunctionName {
    /// The name as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    pub(crate) fn is_valid(text: &str) -> bool {
        !text.is_empty() && text.bytes().all(|byte| is_name_byte(byte) || byte == b'.')
    }
}

impl FromStr for FunctionName {
    type Err = ParseNameError;

    fn from_str(text: &str) -> Result<Self, ParseNameError> {
        if Self::is_valid(text) && text.len() <= 256 {
            Ok(Self(text.into()))
        } else {
            Err(ParseNameError::new("a function name", text))
        }
    }
}

/// A function version: one that changes, or a published number.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Version {
    /// `$LATEST`.
    Latest,
    /// `$LATEST.PUBLISHED`, which each publication to it replaces.
    LatestPublished,
    /// Published; AWS counts from 1.
    Number(u64),
}

impl FromStr for Version {
    type Err = ParseNameError;

    fn from_str(text: &str) -> Result<Self, ParseNameError> {
        match text {
            "$LATEST" => Ok(Self::Latest),
            "$LATEST.PUBLISHED" => Ok(Self::LatestPublished),
            _ => parse_number(text).map(Self::Number).ok_or_else(|| ParseNameError::new("a version", text)),
        }
    }
}

impl fmt::Display for Version {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Latest => f.write_str("$LATEST"),
            Self::LatestPublished => f.write_str("$LATEST.PUBLISHED"),
            Self::Number(number) => number.fmt(f),
        }
    }
}

/// An alias: up to 128 letters, digits, `-` and `_`, not digits alone. Cheap to clone.
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct AliasName(Arc<str>);

impl AliasName {
    /// The name as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for AliasName {
    type Err = ParseNameError;

    fn from_str(text: &str) -> Result<Self, ParseNameError> {
        let valid = (1..=128).contains(&text.len())
            && text.bytes().all(is_name_byte)
            && !text.bytes().all(|byte| byte.is_ascii_digit());
        if valid { Ok(Self(text.into())) } else { Err(ParseNameError::new("an alias", text)) }
    }
}

/// What may follow a function's name: a version or an alias.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Qualifier {
    /// `$LATEST`.
    Latest,
    /// `$LATEST.PUBLISHED`: a published version that changes.
    LatestPublished,
    /// A published version.
    Version(u64),
    /// An alias.
    Alias(AliasName),
}

impl FromStr for Qualifier {
    type Err = ParseNameError;

    fn from_str(text: &str) -> Result<Self, ParseNameError> {
        match text {
            "$LATEST" => Ok(Self::Latest),
            "$LATEST.PUBLISHED" => Ok(Self::LatestPublished),
            _ => match parse_number(text) {
                Some(number) => Ok(Self::Version(number)),
                None => text.parse().map(Self::Alias).map_err(|_| ParseNameError::new("a qualifier", text)),
            },
        }
    }
}

impl fmt::Display for Qualifier {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Latest => f.write_str("$LATEST"),
            Self::LatestPublished => f.write_str("$LATEST.PUBLISHED"),
            Self::Version(number) => number.fmt(f),
            Self::Alias(name) => name.fmt(f),
        }
    }
}

impl From<Version> for Qualifier {
    fn from(version: Version) -> Self {
        match version {
            Version::Latest => Self::Latest,
            Version::LatestPublished => Self::LatestPublished,
            Version::Number(number) => Self::Version(number),
        }
    }
}

/// A request's id, a version 4 UUID. The same id reaches the function and its log.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct RequestId(Uuid);

impl RequestId {
    /// A new random id.
    pub fn random() -> Self {
        Self(Uuid::new_v4())
    }
}

impl FromStr for RequestId {
    type Err = ParseNameError;

    fn from_str(text: &str) -> Result<Self, ParseNameError> {
        match Uuid::try_parse(text) {
            // `Uuid` also reads forms without hyphens or in braces.
            Ok(id) if text.len() == 36 => Ok(Self(id)),
            _ => Err(ParseNameError::new("a request id", text)),
        }
    }
}

impl fmt::Display for RequestId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.hyphenated().fmt(f)
    }
}

impl fmt::Debug for RequestId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// `Display`, `Debug` and borrowing for names that are text.
macro_rules! text_names {
    ($($name:ident),+) => {$(
        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.pad(&self.0)
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                fmt::Debug::fmt(&self.0, f)
            }
        }

        impl AsRef<str> for $name {
            fn as_ref(&self) -> &str {
                &self.0
            }
        }

        // `Hash`, `Eq` and `Ord` are those of the text, so maps can be asked with a `&str`.
        impl std::borrow::Borrow<str> for $name {
            fn borrow(&self) -> &str {
                &self.0
            }
        }
    )+};
}

text_names!(Region, FunctionName, AliasName);

pub(crate) fn is_name_byte(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || byte == b'-' || byte == b'_'
}

/// A decimal number as it prints again: no sign, no leading zero.
fn parse_number(text: &str) -> Option<u64> {
    let canonical = text == "0" || text.bytes().next().is_some_and(|byte| (b'1'..=b'9').contains(&byte));
    if canonical && text.bytes().all(|byte| byte.is_ascii_digit()) { text.parse().ok() } else { None }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn round_trips<T: FromStr<Err = ParseNameError> + fmt::Display + PartialEq + fmt::Debug>(text: &str) {
        let value: T = text.parse().unwrap();
        assert_eq!(value.to_string(), text);
        assert_eq!(value.to_string().parse::<T>().unwrap(), value);
    }

    proptest! {
        #[test]
        fn accounts_round_trip(text in "[0-9]{12}") {
            round_trips::<AccountId>(&text);
        }

        #[test]
        fn regions_round_trip(text in "(eusc-)?[a-z]{2}((-gov)|(-iso([a-z]?)))?-[a-z]+-[0-9]") {
            round_trips::<Region>(&text);
        }

        #[test]
        fn regions_are_what_the_pattern_says(text in "(eusc-)?[a-z]{1,3}(-(gov|iso|isob|x))?(-[a-z1]{0,5})?-[0-9a]{1,2}") {
            let pattern =
                regex_lite::Regex::new(r"^(?:(eusc-)?[a-z]{2}((-gov)|(-iso([a-z]?)))?-[a-z]+-\d{1})$").unwrap();
            prop_assert_eq!(text.parse::<Region>().is_ok(), pattern.is_match(&text));
        }

        #[test]
        fn function_names_round_trip(text in "[a-zA-Z0-9_.-]{1,64}") {
            round_trips::<FunctionName>(&text);
        }

        #[test]
        fn qualifiers_round_trip(text in r"\$LATEST(\.PUBLISHED)?|[1-9][0-9]{0,18}|[a-zA-Z_-][a-zA-Z0-9_-]{0,127}") {
            round_trips::<Qualifier>(&text);
        }

        #[test]
        fn nothing_panics(text in ".*") {
            let _ = (text.parse::<AccountId>(), text.parse::<Region>(), text.parse::<FunctionName>());
            let _ = (text.parse::<Qualifier>(), text.parse::<Version>(), text.parse::<RequestId>());
        }
    }

    #[test]
    fn an_alias_is_not_a_number() {
        assert!("42".parse::<AliasName>().is_err());
        assert_eq!("42".parse::<Qualifier>().unwrap(), Qualifier::Version(42));
        assert_eq!("4x".parse::<Qualifier>().unwrap(), Qualifier::Alias("4x".parse().unwrap()));
    }

    #[test]
    fn an_account_keeps_its_leading_zeros() {
        assert_eq!("000000000007".parse::<AccountId>().unwrap().to_string(), "000000000007");
        assert!("7".parse::<AccountId>().is_err());
        assert!("+00000000007".parse::<AccountId>().is_err());
    }

    #[test]
    fn partitions_follow_the_region() {
        let partition = |region: &str| region.parse::<Region>().unwrap().partition();
        assert_eq!(partition("eu-central-1"), "aws");
        assert_eq!(partition("cn-north-1"), "aws-cn");
        assert_eq!(partition("us-gov-west-1"), "aws-us-gov");
        assert_eq!(partition("us-isob-east-1"), "aws-iso-b");
    }

    #[test]
    fn names_are_strings_in_json() {
        let qualifier: Qualifier = serde_json::from_str("\"$LATEST\"").unwrap();
        assert_eq!(serde_json::to_string(&qualifier).unwrap(), "\"$LATEST\"");
        assert!(serde_json::from_str::<FunctionName>("\"no blanks\"").is_err());
    }

    #[test]
    fn request_ids_print_in_lower_case() {
        let id: RequestId = "2AB5A0C5-3C2B-4B3F-8D3B-0B8A4E1C9F00".parse().unwrap();
        assert_eq!(id.to_string(), "2ab5a0c5-3c2b-4b3f-8d3b-0b8a4e1c9f00");
        assert!("2ab5a0c53c2b4b3f8d3b0b8a4e1c9f00".parse::<RequestId>().is_err());
    }
}
