//! Asks EC2 at the other endpoint about subnets and security groups of functions.
//!
//! Must not fail for want of EC2: where the endpoint has none, nobody knows VPCs.

use std::{sync::Arc, time::Duration};

use futures_util::future::BoxFuture;
use hothouse_control::network::{Network, NetworkError, NetworkSource};
use http::{HeaderValue, Method, Request, header};
use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};

use super::{
    body,
    forward::{ForwardError, Forwarder},
    query,
};

/// The endpoint may take so long.
const TIMEOUT: Duration = Duration::from_secs(5);
/// Bytes of an answer that are read.
const ANSWER_BYTES: usize = 1 << 20;

/// Asks EC2 through the forwarder.
#[derive(Debug, Clone)]
pub(crate) struct Networks {
    forwarder: Arc<Forwarder>,
}

/// Why there is no answer.
#[derive(Debug, thiserror::Error)]
enum Failure {
    /// EC2 refused.
    #[error(transparent)]
    Refused(#[from] NetworkError),
    /// It did not answer in time.
    #[error("no answer within {} s", TIMEOUT.as_secs())]
    Late,
    /// It could not be asked.
    #[error("failed to {0}")]
    Unreachable(#[from] ForwardError),
    /// What answered is no EC2.
    #[error("its answer (status {status}) is not one of EC2")]
    NoEc2 { status: u16 },
}

impl Networks {
    /// Uses the forwarder's endpoint and keys.
    pub(crate) fn new(forwarder: Arc<Forwarder>) -> Self {
        Networks { forwarder }
    }

    async fn ask(&self, network: &Network) -> Result<Option<String>, Failure> {
        if !self.forwarder.has_endpoint() {
            return Ok(None);
        }
        let subnets = self.describe(network, "DescribeSubnets", "SubnetId", &network.subnets).await?;
        self.describe(network, "DescribeSecurityGroups", "GroupId", &network.security_groups).await?;
        Ok(query::element(&subnets, "vpcId").filter(|id| !id.is_empty()))
    }

    /// The answer to one question, as XML.
    async fn describe(
        &self,
        network: &Network,
        operation: &'static str,
        parameter: &str,
        ids: &[String],
    ) -> Result<String, Failure> {
        let mut form = format!("Action={operation}&Version=2016-11-15");
        for (index, id) in ids.iter().enumerate() {
            form.push_str(&format!("&{parameter}.{}=", index + 1));
            form.extend(utf8_percent_encode(id, NON_ALPHANUMERIC));
        }
        let mut request = Request::new(body::whole(form.into()));
        *request.method_mut() = Method::POST;
        let form_type = HeaderValue::from_static("application/x-www-form-urlencoded; charset=utf-8");
        request.headers_mut().insert(header::CONTENT_TYPE, form_type);
        let response = self.forwarder.ask(request, "ec2", &network.region, network.account).await?;
        let status = response.status();
        let no_ec2 = || Failure::NoEc2 { status: status.as_u16() };
        let bytes = body::read(response.into_body(), ANSWER_BYTES).await.map_err(|_| no_ec2())?;
        let xml = String::from_utf8(bytes.to_vec()).map_err(|_| no_ec2())?;
        if status.is_success() {
            return if xml.contains(operation) { Ok(xml) } else { Err(no_ec2()) };
        }
        // Errors of EC2 are about what it was asked for, those of others about the question.
        match query::element(&xml, "Code") {
            Some(code) if code.starts_with("Invalid") && code.contains('.') => {
                let message = aws_words(&code, ids, query::element(&xml, "Message").unwrap_or_default());
                Err(NetworkError { operation, code, message }.into())
            }
            _ => Err(no_ec2()),
        }
    }
}

/// EC2's message about what it does not find. Its emulators word it in other ways, but clients know AWS's.
fn aws_words(code: &str, ids: &[String], message: String) -> String {
    let missing = ids.iter().find(|id| message.contains(id.as_str()));
    match (code, missing) {
        ("InvalidSubnetID.NotFound", Some(id)) => format!("The subnet ID '{id}' does not exist"),
        ("InvalidGroup.NotFound", Some(id)) => format!("The security group '{id}' does not exist"),
        _ => message,
    }
}

impl NetworkSource for Networks {
    fn vpc<'a>(&'a self, network: &'a Network) -> BoxFuture<'a, Result<Option<String>, NetworkError>> {
        Box::pin(async move {
            let asked = tokio::time::timeout(TIMEOUT, self.ask(network)).await;
            match asked.unwrap_or(Err(Failure::Late)) {
                Ok(found) => Ok(found),
                Err(Failure::Refused(error)) => Err(error),
                Err(failure) => {
                    tracing::warn!(
                        reason = hothouse_execution::chain(&failure),
                        "the AWS endpoint does not tell which VPC a function's subnets are in"
                    );
                    Ok(None)
                }
            }
        })
    }
}
