//! Amazon Resource Names of Lambda's resources.
//!
//! Must not accept an ARN of another service.

use std::{fmt, str::FromStr, sync::Arc};

use crate::{
    name::{AccountId, FunctionName, ParseNameError, Qualifier, Region},
    text::serde_as_text,
};

serde_as_text!(FunctionArn, ResourceArn);

/// `arn:PARTITION:lambda:REGION:ACCOUNT:function:NAME[:QUALIFIER]`. Cheap to clone.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct FunctionArn {
    account: AccountId,
    region: Region,
    name: FunctionName,
    qualifier: Option<Qualifier>,
}

impl FunctionArn {
    /// The ARN of a function as a whole.
    pub fn new(account: AccountId, region: Region, name: FunctionName) -> Self {
        Self { account, region, name, qualifier: None }
    }

    /// The same function with this qualifier.
    #[must_use]
    pub fn with_qualifier(self, qualifier: impl Into<Qualifier>) -> Self {
        Self { qualifier: Some(qualifier.into()), ..self }
    }

    /// The same function without qualifier.
    #[must_use]
    pub fn unqualified(self) -> Self {
        Self { qualifier: None, ..self }
    }

    /// The account that owns the function.
    pub fn account(&self) -> AccountId {
        self.account
    }

    /// The region that the function lives in.
    pub fn region(&self) -> &Region {
        &self.region
    }

    /// The function's name.
    pub fn name(&self) -> &FunctionName {
        &self.name
    }

    /// The version or alias, if the ARN names one.
    pub fn qualifier(&self) -> Option<&Qualifier> {
        self.qualifier.as_ref()
    }
}

impl fmt::Display for FunctionArn {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { account, region, name, qualifier } = self;
        write!(f, "arn:{}:lambda:{region}:{account}:function:{name}", region.partition())?;
        match qualifier {
            Some(qualifier) => write!(f, ":{qualifier}"),
            None => Ok(()),
        }
    }
}

impl FromStr for FunctionArn {
    type Err = ParseNameError;

    fn from_str(text: &str) -> Result<Self, ParseNameError> {
        match text.parse()? {
            ResourceArn::Function(arn) => Ok(arn),
            _ => Err(ParseNameError::new("a function ARN", text)),
        }
    }
}

/// Any of Lambda's resources that can be named by an ARN.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum ResourceArn {
    /// `function:NAME[:QUALIFIER]`.
    Function(FunctionArn),
    /// `layer:NAME`.
    Layer(Located),
    /// `layer:NAME:VERSION`; the name in [`Located`] is the part before the version.
    LayerVersion(Located, u64),
    /// `event-source-mapping:UUID`.
    EventSourceMapping(Located),
    /// `code-signing-config:csc-…`.
    CodeSigningConfig(Located),
    /// `capacity-provider:NAME`.
    CapacityProvider(Located),
    /// `network-connector:NAME`.
    NetworkConnector(Located),
}

/// A resource's place and its name or id there.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Located {
    /// The account that owns it.
    pub account: AccountId,
    /// The region that it lives in.
    pub region: Region,
    /// Its name or id.
    pub name: Arc<str>,
}

impl ResourceArn {
    /// The account that owns the resource.
    pub fn account(&self) -> AccountId {
        match self {
            Self::Function(arn) => arn.account(),
            Self::Layer(located)
            | Self::LayerVersion(located, _)
            | Self::EventSourceMapping(located)
            | Self::CodeSigningConfig(located)
            | Self::CapacityProvider(located)
            | Self::NetworkConnector(located) => located.account,
        }
    }

    /// The region that the resource lives in.
    pub fn region(&self) -> &Region {
        match self {
            Self::Function(arn) => arn.region(),
            Self::Layer(located)
            | Self::LayerVersion(located, _)
            | Self::EventSourceMapping(located)
            | Self::CodeSigningConfig(located)
            | Self::CapacityProvider(located)
            | Self::NetworkConnector(located) => &located.region,
        }
    }
}

impl fmt::Display for ResourceArn {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (kind, located) = match self {
            Self::Function(arn) => return arn.fmt(f),
            Self::Layer(located) | Self::LayerVersion(located, _) => ("layer", located),
            Self::EventSourceMapping(located) => ("event-source-mapping", located),
            Self::CodeSigningConfig(located) => ("code-signing-config", located),
            Self::CapacityProvider(located) => ("capacity-provider", located),
            Self::NetworkConnector(located) => ("network-connector", located),
        };
        let Located { account, region, name } = located;
        write!(f, "arn:{}:lambda:{region}:{account}:{kind}:{name}", region.partition())?;
        match self {
            Self::LayerVersion(_, version) => write!(f, ":{version}"),
            _ => Ok(()),
        }
    }
}

impl FromStr for ResourceArn {
    type Err = ParseNameError;

    fn from_str(text: &str) -> Result<Self, ParseNameError> {
        parse_resource(text).ok_or_else(|| ParseNameError::new("an ARN of Lambda", text))
    }
}

fn parse_resource(text: &str) -> Option<ResourceArn> {
    let mut parts = text.splitn(7, ':');
    let (arn, partition, service) = (parts.next()?, parts.next()?, parts.next()?);
    let region: Region = parts.next()?.parse().ok()?;
    let account: AccountId = parts.next()?.parse().ok()?;
    let kind = parts.next()?;
    let resource = parts.next()?;
    if arn != "arn" || service != "lambda" || partition != region.partition() {
        return None;
    }
    let (name, suffix) = match resource.split_once(':') {
        Some((name, suffix)) => (name, Some(suffix)),
        None => (resource, None),
    };
    if kind == "function" {
        let name = name.parse().ok()?;
        let qualifier = suffix.map(str::parse).transpose().ok()?;
        return Some(ResourceArn::Function(FunctionArn { account, region, name, qualifier }));
    }
    if name.is_empty() || !name.bytes().all(crate::name::is_name_byte) {
        return None;
    }
    let located = Located { account, region, name: name.into() };
    match (kind, suffix) {
        ("layer", None) => Some(ResourceArn::Layer(located)),
        ("layer", Some(version)) => match version.parse().ok()? {
            crate::name::Version::Number(version) => Some(ResourceArn::LayerVersion(located, version)),
            crate::name::Version::Latest | crate::name::Version::LatestPublished => None,
        },
        ("event-source-mapping", None) => Some(ResourceArn::EventSourceMapping(located)),
        ("code-signing-config", None) => Some(ResourceArn::CodeSigningConfig(located)),
        ("capacity-provider", None) => Some(ResourceArn::CapacityProvider(located)),
        ("network-connector", None) => Some(ResourceArn::NetworkConnector(located)),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn function_arns_round_trip(
            text in r"arn:aws:lambda:[a-z]{2}-west-[1-9]:[0-9]{12}:function:[a-zA-Z0-9_-]{1,64}(:\$LATEST|:[1-9][0-9]{0,5}|:[a-z]{1,9})?"
        ) {
            // `cn` is a partition of its own.
            prop_assume!(!text.contains(":cn-"));
            prop_assert_eq!(text.parse::<FunctionArn>().unwrap().to_string(), text);
        }

        #[test]
        fn resource_arns_round_trip(
            text in "arn:aws:lambda:us-east-1:[0-9]{12}:(layer|layer:x|event-source-mapping|code-signing-config|capacity-provider|network-connector):[1-9]{1,9}"
        ) {
            prop_assert_eq!(text.parse::<ResourceArn>().unwrap().to_string(), text);
        }

        #[test]
        fn nothing_panics(text in "(arn:aws:lambda:)?[a-z0-9:$-]{0,60}") {
            let _ = text.parse::<ResourceArn>();
        }
    }

    #[test]
    fn other_services_and_partitions_are_refused() {
        for text in [
            "arn:aws:sqs:us-east-1:123456789012:queue",
            "arn:aws-cn:lambda:us-east-1:123456789012:function:f",
            "arn:aws:lambda:us-east-1:123456789012:function:f:1:2",
            "arn:aws:lambda:us-east-1:123456789012:layer:f:$LATEST",
            "arn:aws:lambda:us-east-1:123456789012:function:",
        ] {
            assert!(text.parse::<ResourceArn>().is_err(), "{text}");
        }
    }

    #[test]
    fn a_layer_is_no_function() {
        assert!("arn:aws:lambda:us-east-1:123456789012:layer:f".parse::<FunctionArn>().is_err());
    }

    #[test]
    fn qualifiers_can_be_put_on_and_taken_off() {
        let arn: FunctionArn = "arn:aws:lambda:us-east-1:123456789012:function:f".parse().unwrap();
        let latest = arn.clone().with_qualifier(crate::name::Version::Latest);
        assert_eq!(latest.to_string(), format!("{arn}:$LATEST"));
        assert_eq!(latest.unqualified(), arn);
    }
}
