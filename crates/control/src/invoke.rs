//! Invoke: from a request to the version that answers it.
//!
//! The hot path: one look at the state, then the version's handle. Must not touch the payload: it has been checked.

use std::{
    sync::Arc,
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use base64::{Engine, prelude::BASE64_STANDARD};
use bytes::Bytes;
use hothouse_api::{
    ApiError, ErrorKind, Operation, RequestContext,
    dispatch::request_too_large,
    generated::{InvocationRequest, InvocationResponse, InvocationType, LogType},
    name::{self, Qualifier},
};
use hothouse_execution::{
    executor::StartError,
    invocation::{Completed, Invocation, InvokeError, Outcome},
    spec::{FunctionSpec, Logging},
};

use crate::{
    concurrency::{self, Permit},
    control::Control,
    describe::default_log_group,
    durable, error, lifecycle, runtime,
    state::model::{Function, FunctionKey, Package, Status, Version},
    target::Target,
};

pub(crate) async fn invoke(
    control: &Control,
    context: RequestContext,
    input: InvocationRequest,
) -> Result<InvocationResponse, ApiError> {
    let payload = input.payload.unwrap_or_else(|| Bytes::from_static(b"{}"));
    let limit = control.config().limits.request_payload;
    if payload.len() > limit {
        return Err(request_too_large(context.operation.unwrap_or(Operation::Invoke), limit));
    }
    let target = Target::find(control, &context, &input.function_name, input.qualifier.as_deref())?;
    match input.invocation_type.unwrap_or(InvocationType::RequestResponse) {
        InvocationType::RequestResponse => {}
        InvocationType::DryRun => {
            let Picked { version, .. } = control.pick(&target)?;
            durable::config::check_target(&version, &target)?;
            return Ok(InvocationResponse { status_code: Some(204), ..InvocationResponse::default() });
        }
        InvocationType::Event => {
            return Err(ApiError::new(
                ErrorKind::NotImplemented,
                "Hothouse does not implement asynchronous invocations (InvocationType Event) yet.",
            ));
        }
    }
    let client_context = input.client_context.as_deref().map(decode_client_context).transpose()?;
    let tail = input.log_type == Some(LogType::Tail);

    // A version that is replaced or deleted between the look at the state and its use is looked for again.
    loop {
        let Picked { version, permit } = control.pick(&target)?;
        let _permit =
            permit.ok_or_else(|| error::throttled("ReservedFunctionConcurrentInvocationLimitExceeded"))?;
        durable::config::check_target(&version, &target)?;
        durable::config::check_can_run(&version)?;
        match version.status {
            Status::Creating => return Err(error::still_pending()),
            Status::Failed => return Err(error::package_gone()),
            Status::Updating | Status::Ready => {}
        }
        let package = &version.code.package;
        let (Some(runtime), Package::Zip { .. }) = (version.configuration.runtime, package) else {
            return Err(ApiError::new(
                ErrorKind::NotImplemented,
                "Hothouse does not run functions of PackageType Image yet.",
            ));
        };
        let make = || control.engine().version(spec(control, &target.key, &version, runtime));
        let Some(handle) = version.environments.handle(make) else { continue };
        // Which function it is decides; whoever answers the caller tells it too.
        let trace = context.trace.get_or_init(|| handle.trace(context.trace_id.as_deref(), now(control)));
        let invocation = Invocation {
            request_id: context.request_id,
            payload: payload.clone(),
            invoked_arn: target.arn(),
            client_context: client_context.clone(),
            trace_id: Some(trace.clone()),
            tail,
        };
        match handle.invoke(invocation).await {
            Ok(completed) => return Ok(answer(&version, completed)),
            Err(InvokeError::Retired) => {}
            Err(InvokeError::Throttled { .. }) => {
                return Err(error::throttled("ConcurrentInvocationLimitExceeded"));
            }
            Err(InvokeError::Start(_)) if lifecycle::fail_if_lost(control, &target.key, &version).await => {
                return Err(error::package_gone());
            }
            // Nobody but the user can help, so the message is for the user, whom a modelled error reaches.
            Err(InvokeError::Start(error)) if matches!(*error, StartError::Runtime { .. }) => {
                return Err(ApiError::new(ErrorKind::InvalidRuntime, error.to_string()));
            }
            Err(InvokeError::Start(error)) if matches!(*error, StartError::TimedOut { .. }) => {
                return Err(ApiError::new(ErrorKind::Service, error.to_string()));
            }
            Err(error @ (InvokeError::Start(_) | InvokeError::Lost | InvokeError::ShuttingDown)) => {
                return Err(ApiError::internal(error));
            }
        }
    }
}

fn now(control: &Control) -> SystemTime {
    UNIX_EPOCH + Duration::from_millis(control.now().unsigned_abs())
}

/// The version that an invocation goes to.
struct Picked {
    version: Arc<Version>,
    /// None if the function's reserved concurrency is in use.
    permit: Option<Permit>,
}

impl Control {
    fn pick(&self, target: &Target) -> Result<Picked, ApiError> {
        let state = self.state();
        let not_found = || {
            let qualifier = target.qualifier.clone().unwrap_or(Qualifier::Latest);
            error::function_not_found(target.key.arn().with_qualifier(qualifier))
        };
        let function = state.function(&target.key).ok_or_else(not_found)?;
        let version = resolve(function, target.qualifier.as_ref())?.ok_or_else(not_found)?;
        Ok(Picked { version: Arc::clone(version), permit: concurrency::enter(function, version) })
    }
}

/// As for reading, but an alias of two versions is a throw of dice.
fn resolve<'a>(
    function: &'a Function,
    qualifier: Option<&Qualifier>,
) -> Result<Option<&'a Arc<Version>>, ApiError> {
    Ok(match qualifier {
        None | Some(Qualifier::Latest) => Some(&function.latest),
        Some(Qualifier::Version(number)) => function.versions.get(number),
        Some(Qualifier::LatestPublished) => {
            let newest = function.versions.values().next_back();
            Some(newest.ok_or_else(|| {
                // Unverified wording.
                ApiError::new(ErrorKind::NoPublishedVersion, "The function has no published version.")
            })?)
        }
        Some(Qualifier::Alias(name)) => function.aliases.get(name).and_then(|alias| {
            let version = match alias.additional {
                Some(additional) if fastrand::f64() < additional.weight => {
                    name::Version::Number(additional.number)
                }
                _ => alias.version,
            };
            function.version(version)
        }),
    })
}

fn decode_client_context(encoded: &str) -> Result<String, ApiError> {
    let invalid = || {
        ApiError::new(
            ErrorKind::InvalidRequestContent,
            // Unverified wording.
            "Client context must be a valid Base64-encoded JSON object.",
        )
    };
    let decoded = BASE64_STANDARD.decode(encoded).map_err(|_| invalid())?;
    let decoded = String::from_utf8(decoded).map_err(|_| invalid())?;
    match serde_json::from_str::<serde::de::IgnoredAny>(&decoded) {
        Ok(_) => Ok(decoded),
        Err(_) => Err(invalid()),
    }
}

fn answer(version: &Version, completed: Completed) -> InvocationResponse {
    let (payload, function_error) = match completed.outcome {
        Outcome::Success(payload) => (payload, None),
        Outcome::Error(document) => (document, Some("Unhandled".into())),
    };
    InvocationResponse {
        status_code: Some(200),
        function_error,
        log_result: completed.log_tail.map(|tail| BASE64_STANDARD.encode(tail)),
        payload: Some(payload),
        executed_version: Some(version.version.to_string()),
        durable_execution_arn: None,
    }
}

/// A version as the engine sees it.
pub(crate) fn spec(
    control: &Control,
    key: &FunctionKey,
    version: &Version,
    runtime: hothouse_api::generated::Runtime,
) -> FunctionSpec {
    let configuration = &*version.configuration;
    let logging = &configuration.logging;
    FunctionSpec {
        account: key.scope.account,
        region: key.scope.region.clone(),
        function_name: key.name.clone(),
        version: version.version,
        runtime,
        runtime_version_arn: runtime::version_arn(&key.scope.region, runtime, version.code.architecture),
        architecture: version.code.architecture,
        handler: configuration.handler.clone().unwrap_or_default(),
        role: configuration.role.clone(),
        timeout: Duration::from_secs(configuration.timeout.into()),
        memory_mb: configuration.memory_size,
        ephemeral_storage_mb: configuration.ephemeral_storage,
        environment: configuration.environment.clone().map(Into::into).unwrap_or_default(),
        code: version.code.package.hash().map(|hash| control.code().content(&hash)).unwrap_or_default(),
        layers: configuration.merged_layers().map(|hash| control.code().content(&hash)),
        tracing: configuration.tracing,
        logging: Logging {
            format: logging.format,
            group: logging.group.clone().unwrap_or_else(|| default_log_group(&key.name)),
            custom_group: logging.group.is_some(),
            application_level: logging.application_level,
            system_level: logging.system_level,
        },
    }
}
