//! Invoke: from a request to the version that answers it.
//!
//! The hot path: one look at the state, then the version's handle. Must not touch the payload: it has been checked. Must
//! not try anything twice: the queue of events does.

use std::{
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use base64::{Engine, prelude::BASE64_STANDARD};
use bytes::Bytes;
use futures_util::Stream;
use hothouse_api::{
    ApiError, ErrorKind, Operation, RequestContext,
    dispatch::request_too_large,
    generated::{
        InvocationRequest, InvocationResponse, InvocationType, InvokeAsyncRequest, InvokeAsyncResponse,
        LogType, State,
    },
    name::{self, Qualifier, RequestId},
};
use hothouse_execution::{
    VersionHandle,
    executor::StartError,
    invocation::{Completed, Follow, Invocation, InvokeError, Outcome},
    response::{Part, ResponseStream},
    spec::{FunctionSpec, Logging},
    trace::TracedFunction,
};

use crate::{
    admission::{self, Asked, Origin, Refusal, Ticket},
    control::Control,
    describe::{self, default_log_group},
    durable, error, event_queue, idle, lifecycle,
    metrics::{Leaf, Metric},
    recursion, runnable, runtime, snapshot,
    state::{
        self, Change, Event,
        model::{
            Function, FunctionKey, Status, Version,
            queued::{Content, QueuedEvent},
        },
    },
    target::Target,
    tenancy,
};

pub(crate) async fn invoke(
    control: &Control,
    context: RequestContext,
    input: InvocationRequest,
) -> Result<InvocationResponse, ApiError> {
    let payload = checked_payload(control, &context, input.payload)?;
    let target = Target::find(control, &context, &input.function_name, input.qualifier.as_deref())?;
    match input.invocation_type.unwrap_or(InvocationType::RequestResponse) {
        InvocationType::RequestResponse => {}
        InvocationType::DryRun => {
            let version = control.pick(&target)?;
            durable::config::check_target(&version, &target)?;
            tenancy::check_tenant(&version.configuration, input.tenant_id.as_deref())?;
            return Ok(InvocationResponse { status_code: Some(204), ..InvocationResponse::default() });
        }
        InvocationType::Event => {
            accept(control, &context, target, input.tenant_id, payload).await?;
            return Ok(InvocationResponse { status_code: Some(202), ..InvocationResponse::default() });
        }
    }
    let client_context = input.client_context.as_deref().map(decode_client_context).transpose()?;
    let tenant: Option<Arc<str>> = input.tenant_id.map(Into::into);
    let make = |handle: &VersionHandle| Invocation {
        request_id: context.request_id,
        payload: payload.clone(),
        invoked_arn: target.arn(),
        client_context: client_context.clone(),
        tenant_id: tenant.clone(),
        trace_id: Some(trace(control, &context, handle)),
        tail: input.log_type == Some(LogType::Tail),
        follow: Follow::default(),
    };
    let (version, completed) = run::<Whole>(control, &target, tenant.as_deref(), Origin::Caller, make)
        .await
        .map_err(Failure::into_error)?;
    Ok(answer(&version, completed))
}

/// An event for a function whose answer is taken as it comes.
#[derive(Debug)]
pub(crate) struct StreamedInvocation {
    /// Valid JSON, as it came.
    pub(crate) payload: Bytes,
    /// JSON, decoded.
    pub(crate) client_context: Option<String>,
    pub(crate) tenant_id: Option<Arc<str>>,
    /// Whether the end carries the log's tail.
    pub(crate) tail: bool,
}

/// Invokes a function; returns when its answer begins. The parts of the answer come as the function makes them: chunks
/// of payload, and how it ended.
pub(crate) async fn stream(
    control: &Control,
    context: &RequestContext,
    target: &Target,
    invocation: StreamedInvocation,
) -> Result<StreamedAnswer, ApiError> {
    let make = |handle: &VersionHandle| Invocation {
        request_id: context.request_id,
        payload: invocation.payload.clone(),
        invoked_arn: target.arn(),
        client_context: invocation.client_context.clone(),
        tenant_id: invocation.tenant_id.clone(),
        trace_id: Some(trace(control, context, handle)),
        tail: invocation.tail,
        follow: Follow::default(),
    };
    let ran = run::<Streamed>(control, target, invocation.tenant_id.as_deref(), Origin::Caller, make).await;
    let (version, response) = ran.map_err(Failure::into_error)?;
    Ok(StreamedAnswer { executed_version: version.version.to_string(), response })
}

/// The answer of a function that is invoked by [`stream`].
#[derive(Debug)]
pub struct StreamedAnswer {
    executed_version: String,
    response: ResponseStream,
}

impl StreamedAnswer {
    /// The version that answers.
    pub fn executed_version(&self) -> &str {
        &self.executed_version
    }

    /// What answers.
    pub fn response(&self) -> &ResponseStream {
        &self.response
    }
}

impl Stream for StreamedAnswer {
    type Item = Part;

    fn poll_next(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Part>> {
        Pin::new(&mut self.response).poll_next(context)
    }
}

/// The payload of a synchronous invocation: an empty object if there is none.
pub(crate) fn checked_payload(
    control: &Control,
    context: &RequestContext,
    payload: Option<Bytes>,
) -> Result<Bytes, ApiError> {
    let payload = payload.unwrap_or_else(|| Bytes::from_static(b"{}"));
    let limit = control.config().limits.request_payload;
    if payload.len() > limit {
        return Err(request_too_large(context.operation.unwrap_or(Operation::Invoke), limit));
    }
    Ok(payload)
}

/// Invokes a function for one of its URLs.
pub(crate) async fn by_url(
    control: &Control,
    context: &RequestContext,
    target: &Target,
    event: Bytes,
) -> Result<Outcome, ApiError> {
    let make = |handle: &VersionHandle| Invocation {
        request_id: context.request_id,
        payload: event.clone(),
        invoked_arn: target.arn(),
        client_context: None,
        tenant_id: None,
        trace_id: Some(trace(control, context, handle)),
        tail: false,
        follow: Follow::default(),
    };
    let (_, completed) =
        run::<Whole>(control, target, None, Origin::Caller, make).await.map_err(Failure::into_error)?;
    Ok(completed.outcome)
}

pub(crate) async fn invoke_async(
    control: &Control,
    context: RequestContext,
    input: InvokeAsyncRequest,
) -> Result<InvokeAsyncResponse, ApiError> {
    let target = Target::find(control, &context, &input.function_name, None)?;
    match accept(control, &context, target, None, input.invoke_args).await {
        Ok(()) => Ok(InvokeAsyncResponse { status: Some(202) }),
        // Unverified: this operation knows fewer errors than Invoke; which of them stands for the others.
        Err(error) => match (error.kind(), error.message()) {
            (
                ErrorKind::InvalidParameterValue
                | ErrorKind::NoPublishedVersion
                | ErrorKind::CodeArtifactUserFailed,
                Some(message),
            ) => Err(ApiError::new(ErrorKind::InvalidRequestContent, message)),
            _ => Err(error),
        },
    }
}

/// Puts an event into the queue of a function that could be invoked now.
async fn accept(
    control: &Control,
    context: &RequestContext,
    target: Target,
    tenant_id: Option<String>,
    payload: Bytes,
) -> Result<(), ApiError> {
    let trace = loop {
        let version = control.pick(&target)?;
        if let Some(handle) = environments(control, &target, tenant_id.as_deref(), &version).await? {
            break trace(control, context, handle);
        }
    };
    let now = control.now();
    let event = QueuedEvent {
        qualifier: target.qualifier,
        tenant_id,
        payload: Content::received(payload),
        trace,
        accepted: now,
        attempts: 0,
        due: now,
        answer: None,
        outcome: None,
        recipients: Vec::new(),
    };
    event_queue::accept(control, target.key, context.request_id, event).await
}

/// Invokes a function with a queued event; returns which version ran, and what it made of the event.
pub(crate) async fn attempt(
    control: &Control,
    target: &Target,
    request_id: RequestId,
    event: &QueuedEvent,
    payload: Bytes,
) -> Result<(name::Version, Outcome), Failure> {
    let make = |_: &VersionHandle| Invocation {
        request_id,
        payload: payload.clone(),
        invoked_arn: target.arn(),
        // AWS passes none with events.
        client_context: None,
        tenant_id: event.tenant_id.as_deref().map(Into::into),
        trace_id: Some(event.trace.clone()),
        tail: false,
        follow: Follow::default(),
    };
    let (version, completed) =
        run::<Whole>(control, target, event.tenant_id.as_deref(), Origin::Queue, make).await?;
    Ok((version.version, completed.outcome))
}

/// Why no function was reached.
pub(crate) enum Failure {
    Refused(ApiError),
    ShuttingDown(InvokeError),
}

impl From<ApiError> for Failure {
    fn from(error: ApiError) -> Self {
        Self::Refused(error)
    }
}

impl Failure {
    fn into_error(self) -> ApiError {
        match self {
            Self::Refused(error) => error,
            Self::ShuttingDown(error) => ApiError::internal(error),
        }
    }
}

/// How an answer is taken.
trait Taking {
    type Answer;

    fn take(
        handle: &VersionHandle,
        invocation: Invocation,
    ) -> impl Future<Output = Result<Self::Answer, InvokeError>> + Send;
}

/// When the function has ended.
struct Whole;

impl Taking for Whole {
    type Answer = Completed;

    async fn take(handle: &VersionHandle, invocation: Invocation) -> Result<Completed, InvokeError> {
        handle.invoke(invocation).await
    }
}

/// As the function makes it.
struct Streamed;

impl Taking for Streamed {
    type Answer = ResponseStream;

    async fn take(handle: &VersionHandle, invocation: Invocation) -> Result<ResponseStream, InvokeError> {
        handle.stream(invocation).await
    }
}

/// Runs the version that is meant, with what is made for its environments.
async fn run<T: Taking>(
    control: &Control,
    target: &Target,
    tenant: Option<&str>,
    origin: Origin,
    make: impl Fn(&VersionHandle) -> Invocation,
) -> Result<(Arc<Version>, T::Answer), Failure> {
    // A version that is replaced or deleted between the look at the state and its use is looked for again.
    loop {
        let Admitted { version, leaf, ticket } = control.admit(target, origin)?;
        let throttled = || leaf.cells.record(control.now(), &[(Metric::Throttles, 1.0)]);
        let ticket = ticket.map_err(|refusal| {
            throttled();
            let error = if refusal.passes() { error::throttled_for_a_second } else { error::throttled };
            error(refusal.reason())
        })?;
        let Some(handle) = environments(control, target, tenant, &version).await? else { continue };
        let follow = Follow { ticket: Some(Box::new(ticket)), meter: Some(leaf.clone()) };
        let invocation = Invocation { follow, ..make(handle) };
        if let Some(header) = &invocation.trace_id {
            recursion::check(control, target, handle.repetitions(header))?;
        }
        match T::take(handle, invocation).await {
            Ok(answer) => return Ok((version, answer)),
            Err(InvokeError::Retired) => {}
            Err(error @ InvokeError::ShuttingDown) => return Err(Failure::ShuttingDown(error)),
            Err(error) => {
                if matches!(error, InvokeError::Throttled { .. } | InvokeError::ScalingTooFast { .. }) {
                    throttled();
                }
                return Err(refusal(control, target, &version, error).await.into());
            }
        }
    }
}

/// A version's environments, if it is one that can run now; nothing if another has taken its place meanwhile.
async fn environments<'a>(
    control: &Control,
    target: &Target,
    tenant: Option<&str>,
    version: &'a Version,
) -> Result<Option<&'a VersionHandle>, ApiError> {
    durable::config::check_target(version, target)?;
    tenancy::check_tenant(&version.configuration, tenant)?;
    idle::touch(control, version);
    match describe::state(version) {
        State::Active => {}
        State::Pending => return Err(idle::pending(version)),
        State::Failed if version.status == Status::InitFailed => {
            return Err(error::not_invocable(State::Failed));
        }
        State::Failed => return Err(error::package_gone()),
        State::Inactive => {
            idle::restore(control, &target.key, version).await?;
            return Err(idle::refusal(version));
        }
        state @ (State::ActiveNonInvocable | State::Deactivating | State::Deactivated | State::Deleting) => {
            return Err(error::not_invocable(state));
        }
    }
    let runtime = runnable::runtime(version).map_err(|why| ApiError::new(ErrorKind::NotImplemented, why))?;
    let make = || control.engine().version(spec(control, &target.key, version, runtime));
    Ok(version.environments.handle(make))
}

/// The trace header of an invocation. Which function it is decides; whoever answers the caller tells it too.
fn trace(control: &Control, context: &RequestContext, handle: &VersionHandle) -> String {
    context.trace.get_or_init(|| handle.trace(context.trace_id.as_deref(), now(control))).clone()
}

/// The trace header of an invocation that Lambda makes because of another, which had this header.
pub(crate) fn trace_onwards(control: &Control, key: &FunctionKey, version: &Version, header: &str) -> String {
    let function = TracedFunction {
        account: key.scope.account,
        region: &key.scope.region,
        name: &key.name,
        tracing: version.configuration.tracing,
    };
    function.header(Some(header), now(control))
}

/// What to tell about an invocation that did not reach the function.
async fn refusal(control: &Control, target: &Target, version: &Version, error: InvokeError) -> ApiError {
    match error {
        InvokeError::Throttled { .. } => error::throttled(Refusal::Unreserved.reason()),
        // Unverified: the reason that AWS gives for this.
        InvokeError::ScalingTooFast { .. } => error::throttled_for_a_second(Refusal::Unreserved.reason()),
        InvokeError::Start(_) if lifecycle::fail_if_lost(control, &target.key, version).await => {
            error::package_gone()
        }
        InvokeError::Start(error) if matches!(*error, StartError::Restore(_)) => error::restore_failed(),
        InvokeError::Start(error) if matches!(*error, StartError::RestoreTimedOut) => {
            error::restore_timed_out()
        }
        // Nobody but the user can help, so the message is for the user, whom a modelled error reaches.
        InvokeError::Start(error) if matches!(*error, StartError::Runtime { .. }) => {
            ApiError::new(ErrorKind::InvalidRuntime, error.to_string())
        }
        InvokeError::Start(error) if matches!(*error, StartError::TimedOut { .. }) => {
            ApiError::new(ErrorKind::Service, error.to_string())
        }
        error => ApiError::internal(error),
    }
}

fn now(control: &Control) -> SystemTime {
    UNIX_EPOCH + Duration::from_millis(control.now().unsigned_abs())
}

/// The version that an invocation goes to, and whether it may run.
struct Admitted {
    version: Arc<Version>,
    leaf: Arc<Leaf>,
    ticket: Result<Ticket, Refusal>,
}

impl Control {
    /// The version that an invocation would go to.
    fn pick(&self, target: &Target) -> Result<Arc<Version>, ApiError> {
        let state = self.state();
        find(&state, target).map(|(_, version)| Arc::clone(version))
    }

    fn admit(&self, target: &Target, origin: Origin) -> Result<Admitted, ApiError> {
        let state = self.state();
        let (function, version) = find(&state, target)?;
        let asked = Asked { key: &target.key, function, version, qualifier: &target.qualifier, origin };
        let leaf = admission::leaf(self, &asked);
        let ticket = admission::enter(self, &state, &asked, &leaf);
        Ok(Admitted { version: Arc::clone(version), leaf, ticket })
    }
}

fn find<'a>(state: &'a state::State, target: &Target) -> Result<(&'a Function, &'a Arc<Version>), ApiError> {
    let not_found = || {
        let qualifier = target.qualifier.clone().unwrap_or(Qualifier::Latest);
        error::function_not_found(target.key.arn().with_qualifier(qualifier))
    };
    let function = state.function(&target.key).ok_or_else(not_found)?;
    let version = resolve(function, target.qualifier.as_ref())?.ok_or_else(not_found)?;
    Ok((function, version))
}

/// As for reading, but an alias of two versions is a throw of dice.
fn resolve<'a>(
    function: &'a Function,
    qualifier: Option<&Qualifier>,
) -> Result<Option<&'a Arc<Version>>, ApiError> {
    let published = || function.latest_published.as_ref().ok_or_else(error::no_published_version);
    Ok(match qualifier {
        // Of a function on a capacity provider only what is published can be invoked.
        None if function.latest.configuration.capacity_provider().is_some() => Some(published()?),
        None | Some(Qualifier::Latest) => Some(&function.latest),
        Some(Qualifier::Version(number)) => function.versions.get(number),
        Some(Qualifier::LatestPublished) => Some(published()?),
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

pub(crate) fn decode_client_context(encoded: &str) -> Result<String, ApiError> {
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

/// Tells the engine of versions that may be invoked next, since they have just been made.
pub(crate) fn expect(control: &Control, changes: &[Change]) {
    for change in changes {
        if let Change::Function { key, event: Event::Created { latest, .. } | Event::Updated { latest } } =
            change
            && let Ok(runtime) = runnable::runtime(latest)
        {
            control.engine().expect(spec(control, key, latest, runtime));
        }
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
        snap_start: snapshot::has_snapshot(version),
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
