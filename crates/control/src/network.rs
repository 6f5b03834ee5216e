//! Subnets and security groups: what a `VpcConfig` names, and the VPC that they are in.
//!
//! Functions run on this machine's network whatever they are attached to. Must not ask EC2 itself: the server
//! implements [`NetworkSource`].

use futures_util::future::BoxFuture;
use hothouse_api::{
    ApiError, RequestContext,
    generated::VpcConfig,
    name::{AccountId, Region},
};

use crate::{
    code::CodeHash,
    control::Control,
    error::{self, invalid_parameter},
};

/// Subnets and security groups of a function.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Network {
    /// The account of the function.
    pub account: AccountId,
    /// Where it is.
    pub region: Region,
    /// `SubnetIds`.
    pub subnets: Vec<String>,
    /// `SecurityGroupIds`.
    pub security_groups: Vec<String>,
}

/// Knows networks.
pub trait NetworkSource: Send + Sync {
    /// The id of the VPC that a network is in; none if nobody here knows VPCs.
    fn vpc<'a>(&'a self, network: &'a Network) -> BoxFuture<'a, Result<Option<String>, NetworkError>>;
}

/// EC2 refused, with one of its own error codes.
#[derive(Debug, thiserror::Error)]
#[error("EC2 answered {operation} with {code}: {message}")]
pub struct NetworkError {
    /// What it was asked for, such as `DescribeSubnets`.
    pub operation: &'static str,
    /// Its error code, such as `InvalidSubnetID.NotFound`.
    pub code: String,
    /// Its message.
    pub message: String,
}

/// The source of a service without an endpoint for EC2: nobody knows VPCs.
#[derive(Debug, Default, Clone, Copy)]
pub struct NoNetworks;

impl NetworkSource for NoNetworks {
    fn vpc<'a>(&'a self, _: &'a Network) -> BoxFuture<'a, Result<Option<String>, NetworkError>> {
        Box::pin(std::future::ready(Ok(None)))
    }
}

/// The id of the VPC that a function is to be attached to, if someone knows.
///
/// # Errors
/// If half of what is needed is missing, or EC2 does not know it.
pub(crate) async fn vpc_of(
    control: &Control,
    context: &RequestContext,
    sent: Option<&VpcConfig>,
) -> Result<Option<String>, ApiError> {
    let Some(sent) = sent else { return Ok(None) };
    let (subnets, security_groups) = lists(sent);
    if subnets.is_empty() != security_groups.is_empty() {
        return Err(invalid_parameter("SubnetIds and SecurityIds must coexist or be both empty list."));
    }
    if subnets.is_empty() {
        return Ok(None);
    }
    let network =
        Network { account: context.account, region: context.region.clone(), subnets, security_groups };
    control.networks().vpc(&network).await.map_err(error::network)
}

/// Members of a `VpcConfig`, empty if they were not sent.
pub(crate) fn lists(vpc: &VpcConfig) -> (Vec<String>, Vec<String>) {
    (vpc.subnet_ids.clone().unwrap_or_default(), vpc.security_group_ids.clone().unwrap_or_default())
}

/// The VPC of a network that nobody knows: each account has one of them in each region.
pub(crate) fn presumed_vpc(account: AccountId, region: &Region) -> String {
    let hash = CodeHash::of(format!("{account}/{region}").as_bytes()).to_string();
    format!("vpc-{}", &hash[..17])
}
