//! Brings functions into a service, through its API.
//!
//! Must not use anything but the API, so that it works with any service.

use std::{collections::BTreeMap, time::Duration};

use base64::Engine as _;
use http::Method;
use serde_json::{Map, Value, json};
use sha2::{Digest as _, Sha256};
use tokio::time::{Instant, sleep};

use super::{
    package::{PackageError, pack},
    plan::{Code, FunctionPlan},
};
use crate::client::{Client, ClientError, encode};

/// How long a function may take to become active.
const ACTIVE_WITHIN: Duration = Duration::from_secs(60);

const BASE64: base64::engine::GeneralPurpose = base64::engine::general_purpose::STANDARD;

/// A function was not deployed.
#[derive(Debug, thiserror::Error)]
pub(super) enum DeployError {
    /// Its code could not be packed.
    #[error(transparent)]
    Package(#[from] PackageError),
    /// The service refused.
    #[error(transparent)]
    Client(#[from] ClientError),
    /// It never became active.
    #[error("it did not become active: {reason}")]
    NotActive {
        /// What the service says.
        reason: String,
    },
}

/// What a deployment did.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Deployed {
    /// There was no such function.
    Created,
    /// Code or configuration changed.
    Updated,
    /// Nothing to do.
    Unchanged,
}

/// Creates a function or brings it up to date, and waits until it is active.
pub(super) async fn deploy(client: &Client, function: &FunctionPlan) -> Result<Deployed, DeployError> {
    let to_pack = function.code.clone();
    // Reading and compressing files must not stop the reactor, which may be serving the very service.
    let packed = tokio::task::spawn_blocking(move || pack(&to_pack)).await.expect("packing does not panic");
    let code = code(&function.code, packed?.as_deref());
    let path = format!("/2015-03-31/functions/{}", encode(&function.name));
    let existing = match client.lambda(Method::GET, &format!("{path}/configuration"), None).await {
        Ok(existing) => Some(existing),
        Err(error) if error.is_not_found() => None,
        Err(error) => return Err(error.into()),
    };
    let Some(existing) = existing else {
        let mut input = configuration(client, function);
        input.insert("FunctionName".to_owned(), function.name.as_str().into());
        input.insert("Code".to_owned(), Value::Object(code.source));
        if !function.architectures.is_empty() {
            input.insert("Architectures".to_owned(), function.architectures.clone().into());
        }
        client.lambda(Method::POST, "/2015-03-31/functions", Some(&Value::Object(input))).await?;
        wait_until_active(client, &path).await?;
        return Ok(Deployed::Created);
    };
    let mut deployed = Deployed::Unchanged;
    let wanted = configuration(client, function);
    if !covers(&existing, &wanted) {
        client.lambda(Method::PUT, &format!("{path}/configuration"), Some(&Value::Object(wanted))).await?;
        wait_until_active(client, &path).await?;
        deployed = Deployed::Updated;
    }
    if code.sha256.is_none() || existing.get("CodeSha256").and_then(Value::as_str) != code.sha256.as_deref() {
        client.lambda(Method::PUT, &format!("{path}/code"), Some(&Value::Object(code.source))).await?;
        wait_until_active(client, &path).await?;
        deployed = Deployed::Updated;
    }
    Ok(deployed)
}

struct Upload {
    /// `FunctionCode` of CreateFunction; UpdateFunctionCode has the same members.
    source: Map<String, Value>,
    /// `CodeSha256` that the service will compute, unless it fetches the code.
    sha256: Option<String>,
}

fn code(code: &Code, archive: Option<&[u8]>) -> Upload {
    let mut source = Map::new();
    if let Some(archive) = archive {
        source.insert("ZipFile".to_owned(), BASE64.encode(archive).into());
    }
    if let Code::Bucket { bucket, key, version } = code {
        source.insert("S3Bucket".to_owned(), bucket.as_str().into());
        source.insert("S3Key".to_owned(), key.as_str().into());
        if let Some(version) = version {
            source.insert("S3ObjectVersion".to_owned(), version.as_str().into());
        }
    }
    Upload { source, sha256: archive.map(|archive| BASE64.encode(Sha256::digest(archive))) }
}

/// The members that CreateFunction and UpdateFunctionConfiguration have in common, AWS's defaults filled in: what
/// left the template must leave the function.
fn configuration(client: &Client, function: &FunctionPlan) -> Map<String, Value> {
    let account = &client.config().account;
    let role = function.role.clone().unwrap_or_else(|| format!("arn:aws:iam::{account}:role/hothouse-dev"));
    let environment: &BTreeMap<String, String> = &function.environment;
    let members = json!({
        "Runtime": function.runtime,
        "Role": role,
        "Handler": function.handler,
        "Description": function.description.as_deref().unwrap_or_default(),
        "Timeout": function.timeout.unwrap_or(3),
        "MemorySize": function.memory_size.unwrap_or(128),
        "EphemeralStorage": { "Size": function.ephemeral_storage.unwrap_or(512) },
        "Environment": { "Variables": environment },
    });
    match members {
        Value::Object(members) => members,
        _ => unreachable!("it was written as an object"),
    }
}

/// Whether a function's configuration already says everything that is wanted.
fn covers(existing: &Value, wanted: &Map<String, Value>) -> bool {
    let no_variables = json!({ "Variables": {} });
    wanted.iter().all(|(name, value)| match existing.get(name) {
        Some(found) => found == value,
        // A function without variables has no `Environment` at all.
        None => *value == no_variables,
    })
}

async fn wait_until_active(client: &Client, path: &str) -> Result<(), DeployError> {
    let deadline = Instant::now() + ACTIVE_WITHIN;
    let mut pause = Duration::from_millis(5);
    loop {
        let configuration = client.lambda(Method::GET, &format!("{path}/configuration"), None).await?;
        let text =
            |name: &str| configuration.get(name).and_then(Value::as_str).unwrap_or_default().to_owned();
        match (text("State").as_str(), text("LastUpdateStatus").as_str()) {
            ("Active" | "Inactive", "Successful" | "") => return Ok(()),
            ("Failed", _) => return Err(DeployError::NotActive { reason: text("StateReason") }),
            (_, "Failed") => return Err(DeployError::NotActive { reason: text("LastUpdateStatusReason") }),
            (state, _) if Instant::now() > deadline => {
                return Err(DeployError::NotActive { reason: format!("it is still `{state}`") });
            }
            _ => {}
        }
        sleep(pause).await;
        pause = (pause * 2).min(Duration::from_millis(200));
    }
}
