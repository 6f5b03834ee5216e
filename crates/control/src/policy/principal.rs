//! Principals as callers write them when they add a permission.
//!
//! Must not decide whether an identity exists: Hothouse has no IAM.

use hothouse_api::{
    ApiError,
    name::{AccountId, Region},
};
use serde_json::{Value, json};

use crate::error::invalid_parameter;

/// Who is allowed something.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Principal {
    /// `*`.
    Everyone,
    /// A service, such as `s3.amazonaws.com`.
    Service(String),
    /// The ARN of an account's root, a user, a role or a session.
    Identity(String),
}

impl Principal {
    /// Reads what AddPermission calls `Principal`. An account's number stands for the account's root.
    ///
    /// # Errors
    /// If it is none.
    pub(crate) fn parse(text: &str, region: &Region) -> Result<Self, ApiError> {
        if text == "*" {
            return Ok(Self::Everyone);
        }
        if let Ok(account) = text.parse::<AccountId>() {
            return Ok(Self::Identity(format!("arn:{}:iam::{account}:root", region.partition())));
        }
        if is_identity(text) {
            return Ok(Self::Identity(text.to_owned()));
        }
        if is_service(text) {
            return Ok(Self::Service(text.to_owned()));
        }
        Err(invalid_parameter(
            "The provided principal was invalid. Please check the principal and try again.",
        ))
    }

    /// As statements show it.
    pub(super) fn show(&self) -> Value {
        match self {
            Self::Everyone => json!("*"),
            Self::Service(name) => json!({ "Service": name }),
            Self::Identity(arn) => json!({ "AWS": arn }),
        }
    }
}

/// AWS has a list of its services; this is what all names on it look like.
pub(super) fn is_service(text: &str) -> bool {
    const SUFFIXES: [&str; 3] = [".amazonaws.com", ".amazonaws.com.cn", ".amazon.com"];
    let label = |label: &str| {
        !label.is_empty()
            && label.bytes().all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-')
    };
    SUFFIXES.iter().any(|suffix| text.strip_suffix(suffix).is_some_and(|name| name.split('.').all(label)))
}

/// `arn:PARTITION:iam::ACCOUNT:root`, `…:user/…`, `…:role/…`, or a session: `arn:PARTITION:sts::ACCOUNT:…`.
pub(super) fn is_identity(text: &str) -> bool {
    let mut parts = text.splitn(6, ':');
    let mut next = || parts.next().unwrap_or_default();
    let (scheme, partition, service, region, account, resource) =
        (next(), next(), next(), next(), next(), next());
    let kinds: &[&str] = match service {
        "iam" => &["user/", "role/"],
        "sts" => &["assumed-role/", "federated-user/"],
        _ => return false,
    };
    let named = |kind: &&str| resource.strip_prefix(*kind).is_some_and(|name| !name.is_empty());
    scheme == "arn"
        && partition.starts_with("aws")
        && region.is_empty()
        && account.parse::<AccountId>().is_ok()
        && ((service == "iam" && resource == "root") || kinds.iter().any(named))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shown(text: &str) -> Result<Value, String> {
        let region = "us-east-1".parse().unwrap();
        Principal::parse(text, &region)
            .map(|principal| principal.show())
            .map_err(|error| error.message().unwrap_or_default().to_owned())
    }

    #[test]
    fn principals_are_shown_by_their_kind() {
        assert_eq!(shown("*").unwrap(), json!("*"));
        assert_eq!(shown("s3.amazonaws.com").unwrap(), json!({ "Service": "s3.amazonaws.com" }));
        for service in ["alexa-appkit.amazon.com", "delivery.logs.amazonaws.com", "ec2.amazonaws.com.cn"] {
            assert_eq!(shown(service).unwrap(), json!({ "Service": service }));
        }
        assert_eq!(shown("123456789012").unwrap(), json!({ "AWS": "arn:aws:iam::123456789012:root" }));
        for arn in [
            "arn:aws:iam::123456789012:root",
            "arn:aws:iam::123456789012:user/path/u",
            "arn:aws-cn:iam::123456789012:role/r",
            "arn:aws:sts::123456789012:assumed-role/r/session",
        ] {
            assert_eq!(shown(arn).unwrap(), json!({ "AWS": arn }));
        }
    }

    #[test]
    fn what_is_no_principal_is_refused() {
        for text in [
            "",
            "invalid.nonaws.com",
            ".amazonaws.com",
            "S3.amazonaws.com",
            "1234",
            "arn:aws:iam::123:root",
            "arn:aws:iam::123456789012:group/g",
            "arn:aws:iam::123456789012:user/",
            "arn:aws:s3:::bucket",
            "arn",
        ] {
            assert!(shown(text).unwrap_err().starts_with("The provided principal was invalid."), "{text}");
        }
    }
}
