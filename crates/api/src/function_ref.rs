//! `{FunctionName}` of a request: a name, with as much of its ARN around it as the caller gave.
//!
//! Must not decide what a missing account, region or qualifier means.

use std::{fmt, str::FromStr};

use crate::{
    name::{AccountId, FunctionName, ParseNameError, Qualifier, Region},
    text::serde_as_text,
};

/// What a caller may write for a function: `name`, `name:qualifier`, `function:name`, `account:function:name`, a full ARN,
/// and whatever else the model's `NamespacedFunctionName` lets through.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct FunctionRef {
    account: Option<AccountId>,
    region: Option<Region>,
    name: FunctionName,
    qualifier: Option<Qualifier>,
}

serde_as_text!(FunctionRef);

impl FunctionRef {
    /// A reference by name alone.
    pub fn from_name(name: FunctionName) -> Self {
        Self { account: None, region: None, name, qualifier: None }
    }

    /// The account, if the caller named one.
    pub fn account(&self) -> Option<AccountId> {
        self.account
    }

    /// The region, if the caller named one.
    pub fn region(&self) -> Option<&Region> {
        self.region.as_ref()
    }

    /// The function's name.
    pub fn name(&self) -> &FunctionName {
        &self.name
    }

    /// The qualifier behind the name, if there is one.
    pub fn qualifier(&self) -> Option<&Qualifier> {
        self.qualifier.as_ref()
    }
}

impl FromStr for FunctionRef {
    type Err = ParseNameError;

    fn from_str(text: &str) -> Result<Self, ParseNameError> {
        let error = || ParseNameError::new("a function name or ARN", text);
        let parts = split(text).ok_or_else(error)?;
        Ok(Self {
            account: parts.account.map(str::parse).transpose()?,
            region: parts.region.map(str::parse).transpose()?,
            name: parts.name.parse().map_err(|_| error())?,
            qualifier: parts.qualifier.map(str::parse).transpose()?,
        })
    }
}

impl fmt::Display for FunctionRef {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let (Some(region), Some(_)) = (&self.region, self.account) {
            write!(f, "arn:{}:lambda:", region.partition())?;
        }
        if let Some(region) = &self.region {
            write!(f, "{region}:")?;
        }
        if let Some(account) = self.account {
            write!(f, "{account}:")?;
        }
        // Without the word, `us-east-1:name` and a name with a qualifier could be taken for each other.
        if self.region.is_some() || self.account.is_some() || self.qualifier.is_some() {
            f.write_str("function:")?;
        }
        self.name.fmt(f)?;
        match &self.qualifier {
            Some(qualifier) => write!(f, ":{qualifier}"),
            None => Ok(()),
        }
    }
}

/// The pieces of a reference, as sent.
#[derive(Debug, Default, Clone, Copy)]
pub(crate) struct Parts<'a> {
    pub(crate) region: Option<&'a str>,
    pub(crate) account: Option<&'a str>,
    pub(crate) name: &'a str,
    pub(crate) qualifier: Option<&'a str>,
}

/// Matches the model's pattern for `NamespacedFunctionName`, with its order of preference:
/// `(arn:(aws[a-zA-Z-]*)?:lambda:)?(REGION:)?(\d{12}:)?(function:)?([a-zA-Z0-9-_\.]+)(:(\$LATEST(\.PUBLISHED)?|[a-zA-Z0-9-_]+))?`.
/// By hand, because it runs on every invocation.
pub(crate) fn split(text: &str) -> Option<Parts<'_>> {
    if let Some((partition, rest)) = text.strip_prefix("arn:").and_then(|rest| rest.split_once(':'))
        && is_partition(partition)
        && let Some(parts) = rest.strip_prefix("lambda:").and_then(split_region)
    {
        return Some(parts);
    }
    split_region(text)
}

/// `(aws[a-zA-Z-]*)?`
fn is_partition(text: &str) -> bool {
    let tail = |rest: &str| rest.bytes().all(|byte| byte.is_ascii_alphabetic() || byte == b'-');
    text.is_empty() || text.strip_prefix("aws").is_some_and(tail)
}

fn split_region(text: &str) -> Option<Parts<'_>> {
    if let Some((region, rest)) = text.split_once(':')
        && Region::is_valid(region)
        && let Some(parts) = split_account(rest)
    {
        return Some(Parts { region: Some(region), ..parts });
    }
    split_account(text)
}

fn split_account(text: &str) -> Option<Parts<'_>> {
    if let Some((account, rest)) = text.split_once(':')
        && account.len() == 12
        && account.bytes().all(|byte| byte.is_ascii_digit())
        && let Some(parts) = split_function(rest)
    {
        return Some(Parts { account: Some(account), ..parts });
    }
    split_function(text)
}

fn split_function(text: &str) -> Option<Parts<'_>> {
    text.strip_prefix("function:").and_then(split_name).or_else(|| split_name(text))
}

fn split_name(text: &str) -> Option<Parts<'_>> {
    let (name, qualifier) = match text.split_once(':') {
        Some((name, qualifier)) => (name, Some(qualifier)),
        None => (text, None),
    };
    let qualifier_is_valid = qualifier.is_none_or(|text| {
        matches!(text, "$LATEST" | "$LATEST.PUBLISHED")
            || (!text.is_empty() && text.bytes().all(crate::name::is_name_byte))
    });
    (FunctionName::is_valid(name) && qualifier_is_valid).then_some(Parts {
        name,
        qualifier,
        ..Parts::default()
    })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const PATTERN: &str = r"^(?:(arn:(aws[a-zA-Z-]*)?:lambda:)?(((?:eusc-)?[a-z]{2}(?:(?:-gov)|(?:-iso(?:[a-z]?)))?-[a-z]+-\d{1}):)?((\d{12}):)?(function:)?([a-zA-Z0-9-_\.]+)(:(\$LATEST(\.PUBLISHED)?|[a-zA-Z0-9-_]+))?)$";

    fn parse(text: &str) -> FunctionRef {
        text.parse().unwrap()
    }

    fn agrees_with_the_pattern(text: &str) {
        let pattern = regex_lite::Regex::new(PATTERN).unwrap();
        let parts = split(text);
        let Some(captures) = pattern.captures(text) else {
            assert!(parts.is_none(), "`{text}` should not match");
            return;
        };
        let parts = parts.unwrap_or_else(|| panic!("`{text}` should match"));
        let group = |index: usize| captures.get(index).map(|found| found.as_str());
        assert_eq!(parts.region, group(4), "region of `{text}`");
        assert_eq!(parts.account, group(6), "account of `{text}`");
        assert_eq!(Some(parts.name), group(8), "name of `{text}`");
        assert_eq!(parts.qualifier, group(10), "qualifier of `{text}`");
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(512))]

        #[test]
        fn splitting_is_what_the_pattern_says(
            pieces in prop::collection::vec(
                prop::sample::select(vec![
                    "arn", "aws", "aws-cn", "lambda", "", "us-east-1", "us-gov-west-1", "123456789012", "function", "name",
                    "a.b", "$LATEST", "$LATEST.PUBLISHED", "$latest", "7", "live", "*",
                ]),
                1..8,
            )
        ) {
            agrees_with_the_pattern(&pieces.join(":"));
        }

        #[test]
        fn any_text_is_split_as_the_pattern_says(text in "[a-z:$A.0-9*-]{0,24}") {
            agrees_with_the_pattern(&text);
        }

        #[test]
        fn references_round_trip(
            text in r"(arn:aws:lambda:us-east-1:[0-9]{12}:function:|[0-9]{12}:function:)?[a-zA-Z0-9_-]{1,64}(:\$LATEST|:[1-9][0-9]{0,5}|:[a-z]{1,9})?"
        ) {
            let reference = parse(&text);
            prop_assert_eq!(parse(&reference.to_string()), reference);
        }
    }

    #[test]
    fn every_documented_form_is_understood() {
        let account = Some("123456789012".parse().unwrap());
        let region: Region = "us-east-1".parse().unwrap();
        for text in ["hello", "function:hello"] {
            let reference = parse(text);
            assert_eq!(reference.name().as_str(), "hello");
            assert_eq!((reference.account(), reference.region(), reference.qualifier()), (None, None, None));
        }
        let partial = parse("123456789012:function:hello:live");
        assert_eq!(partial.account(), account);
        assert_eq!(partial.qualifier().unwrap().to_string(), "live");
        let full = parse("arn:aws:lambda:us-east-1:123456789012:function:hello:$LATEST");
        assert_eq!((full.account(), full.region()), (account, Some(&region)));
        assert_eq!(full.qualifier(), Some(&Qualifier::Latest));
    }

    #[test]
    fn a_function_may_be_called_function() {
        assert_eq!(parse("function").name().as_str(), "function");
        let latest = parse("function:$LATEST");
        assert_eq!(latest.name().as_str(), "function");
        assert_eq!(latest.qualifier(), Some(&Qualifier::Latest));
        assert_eq!(parse(&latest.to_string()), latest);
    }
}
