//! What happens to asynchronous invocations: retries, the age that events may reach, and destinations.
//!
//! Must not deliver anything.

use std::{fmt, sync::Arc};

use hothouse_api::{
    ApiError, RequestContext,
    arn::FunctionArn,
    generated::{
        DeleteFunctionEventInvokeConfigRequest, DestinationConfig, FunctionEventInvokeConfig,
        GetFunctionEventInvokeConfigRequest, ListFunctionEventInvokeConfigsRequest,
        ListFunctionEventInvokeConfigsResponse, OnFailure, OnSuccess, PutFunctionEventInvokeConfigRequest,
        UpdateFunctionEventInvokeConfigRequest,
    },
    name::Qualifier,
    timestamp::Timestamp,
};

use crate::{
    control::Control,
    error::{invalid_parameter, not_found},
    function::read::resolve,
    page::{self, Page},
    state::{
        Event, Setting, SettingKind, State,
        model::{Function, FunctionKey, Scope, settings::EventInvoke},
    },
    target::Target,
};

pub(crate) async fn put(
    control: &Control,
    context: RequestContext,
    input: PutFunctionEventInvokeConfigRequest,
) -> Result<FunctionEventInvokeConfig, ApiError> {
    let of = Of::find(control, &context, &input.function_name, input.qualifier.as_deref())?;
    let sent = Sent {
        retries: input.maximum_retry_attempts,
        age: input.maximum_event_age_in_seconds,
        destinations: input.destination_config,
    };
    change(control, of, sent, |_, _| Ok(None)).await
}

pub(crate) async fn update(
    control: &Control,
    context: RequestContext,
    input: UpdateFunctionEventInvokeConfigRequest,
) -> Result<FunctionEventInvokeConfig, ApiError> {
    let of = Of::find(control, &context, &input.function_name, input.qualifier.as_deref())?;
    let sent = Sent {
        retries: input.maximum_retry_attempts,
        age: input.maximum_event_age_in_seconds,
        destinations: input.destination_config,
    };
    change(control, of, sent, |of, function| of.setting(function).cloned().map(Some)).await
}

pub(crate) async fn delete(
    control: &Control,
    context: RequestContext,
    input: DeleteFunctionEventInvokeConfigRequest,
) -> Result<(), ApiError> {
    let of = Of::find(control, &context, &input.function_name, input.qualifier.as_deref())?;
    let this = control.clone();
    control
        .run(async move {
            this.change(&of.key, |state| {
                let function = state.function(&of.key).ok_or_else(|| of.without())?;
                of.setting(function)?;
                let kind = SettingKind::EventInvoke;
                Ok((vec![Event::SettingRemoved { qualifier: Some(of.qualifier.clone()), kind }], ()))
            })
            .await
        })
        .await
}

pub(crate) fn get(
    control: &Control,
    context: &RequestContext,
    input: &GetFunctionEventInvokeConfigRequest,
) -> Result<FunctionEventInvokeConfig, ApiError> {
    let of = Of::find(control, context, &input.function_name, input.qualifier.as_deref())?;
    let state = control.state();
    let function = state.function(&of.key).ok_or_else(|| of.without())?;
    Ok(show(&of.arn(), of.setting(function)?))
}

pub(crate) fn list(
    control: &Control,
    context: &RequestContext,
    input: &ListFunctionEventInvokeConfigsRequest,
) -> Result<ListFunctionEventInvokeConfigsResponse, ApiError> {
    /// The model's limit.
    const MOST: usize = 50;
    let key = Target::find(control, context, &input.function_name, None)?.key;
    let after: Option<Qualifier> = page::marker(input.marker.as_deref())?;
    let state = control.state();
    let function = state.function(&key).ok_or_else(missing)?;
    let configs =
        function.settings_of(SettingKind::EventInvoke, after).filter_map(
            |(qualifier, setting)| match setting {
                Setting::EventInvoke(config) => Some((qualifier?, config)),
                _ => None,
            },
        );
    let page = Page::collect(configs, input.max_items, MOST, |(qualifier, config)| {
        (qualifier.to_string(), show(&key.arn().with_qualifier(qualifier.clone()), config))
    });
    Ok(ListFunctionEventInvokeConfigsResponse {
        function_event_invoke_configs: Some(page.items),
        next_marker: page.next_marker,
    })
}

/// Whose configuration it is.
struct Of {
    key: FunctionKey,
    qualifier: Qualifier,
}

impl Of {
    fn find(
        control: &Control,
        context: &RequestContext,
        function_name: &str,
        qualifier: Option<&str>,
    ) -> Result<Self, ApiError> {
        let Target { key, qualifier } = Target::find(control, context, function_name, qualifier)?;
        Ok(Self { key, qualifier: qualifier.unwrap_or(Qualifier::Latest) })
    }

    fn arn(&self) -> FunctionArn {
        self.key.arn().with_qualifier(self.qualifier.clone())
    }

    fn setting<'a>(&self, function: &'a Function) -> Result<&'a EventInvoke, ApiError> {
        match function.setting(SettingKind::EventInvoke, Some(self.qualifier.clone())) {
            Some(Setting::EventInvoke(config)) => Ok(config),
            _ => Err(self.without()),
        }
    }

    /// The error for one that has no configuration, whether or not there is such a function.
    fn without(&self) -> ApiError {
        not_found(format!("The function {} doesn't have an EventInvokeConfig", self.arn()))
    }
}

/// What a request sets.
struct Sent {
    retries: Option<i32>,
    age: Option<i32>,
    destinations: Option<DestinationConfig>,
}

/// Sets what was sent, over what `before` says that there is.
async fn change(
    control: &Control,
    of: Of,
    sent: Sent,
    before: impl FnOnce(&Of, &Function) -> Result<Option<EventInvoke>, ApiError> + Send + 'static,
) -> Result<FunctionEventInvokeConfig, ApiError> {
    if sent.retries.is_none() && sent.age.is_none() && sent.destinations.is_none() {
        return Err(invalid_parameter(
            "You must specify at least one of error handling or destination setting.",
        ));
    }
    let this = control.clone();
    control
        .run(async move {
            this.change(&of.key, |state| {
                let function = state.function(&of.key).ok_or_else(missing)?;
                resolve(function, Some(&of.qualifier)).ok_or_else(missing)?;
                let before = before(&of, function)?;
                if let Some(destinations) = &sent.destinations {
                    check(state, &of.key, destinations)?;
                }
                let (retries, age, destinations) = match before {
                    Some(before) => {
                        (before.maximum_retry_attempts, before.maximum_event_age, before.destinations)
                    }
                    None => (None, None, None),
                };
                let config = EventInvoke {
                    maximum_retry_attempts: sent.retries.or(retries),
                    maximum_event_age: sent.age.or(age),
                    destinations: sent.destinations.or(destinations),
                    last_modified: this.now(),
                };
                let shown = show(&of.arn(), &config);
                let setting = Arc::new(Setting::EventInvoke(config));
                Ok((vec![Event::SettingPut { qualifier: Some(of.qualifier.clone()), setting }], shown))
            })
            .await
        })
        .await
}

/// Refuses destinations that records cannot be sent to.
fn check(state: &State, key: &FunctionKey, config: &DestinationConfig) -> Result<(), ApiError> {
    let success = destination(config.on_success.as_ref().and_then(|success| success.destination.as_deref()));
    let failure = destination(config.on_failure.as_ref().and_then(|failure| failure.destination.as_deref()));
    for (arn, service) in [(success, Accepts::Success), (failure, Accepts::Failure)] {
        let Some(arn) = arn else { continue };
        match (arn.split(':').nth(2).unwrap_or_default(), service) {
            ("lambda", _) => check_function(state, key, arn)?,
            // Unverified wording: AWS documents that it sends to standard queues and topics only.
            ("sqs" | "sns", _) if arn.ends_with(".fifo") => return Err(invalid_destination(arn)),
            ("sqs" | "sns" | "events", _) | ("s3", Accepts::Failure) => {}
            _ => {
                return Err(invalid_parameter(format!(
                    "The provided destination config DestinationConfig(onSuccess={}, onFailure={}) is invalid.",
                    Printed("OnSuccess", success),
                    Printed("OnFailure", failure),
                )));
            }
        }
    }
    Ok(())
}

/// What became of the invocations whose records go to a destination.
#[derive(Clone, Copy)]
enum Accepts {
    Success,
    Failure,
}

/// An empty text takes a destination away, as none does.
fn destination(sent: Option<&str>) -> Option<&str> {
    sent.filter(|arn| !arn.is_empty())
}

fn check_function(state: &State, key: &FunctionKey, arn: &str) -> Result<(), ApiError> {
    let target: FunctionArn = arn.parse().map_err(|_| invalid_destination(arn))?;
    let scope = Scope { account: target.account(), region: target.region().clone() };
    // Unverified: nobody learns which functions another account has.
    if scope != key.scope {
        return Err(invalid_destination(arn));
    }
    let target_key = FunctionKey { scope, name: target.name().clone() };
    if target_key == *key {
        return Err(invalid_parameter("You can't specify the function as a destination for itself."));
    }
    let function = state.function(&target_key).ok_or_else(|| invalid_destination(arn))?;
    resolve(function, target.qualifier()).map(|_| ()).ok_or_else(|| invalid_destination(arn))
}

fn invalid_destination(arn: &str) -> ApiError {
    invalid_parameter(format!("The destination ARN {arn} is invalid."))
}

/// A destination as AWS's messages print it.
struct Printed<'a>(&'static str, Option<&'a str>);

impl fmt::Display for Printed<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.1 {
            Some(arn) => write!(f, "{}(destination={arn})", self.0),
            None => f.write_str("null"),
        }
    }
}

/// Unverified: that a version or alias that is missing is told so, too.
fn missing() -> ApiError {
    not_found("The function doesn't exist.")
}

fn show(arn: &FunctionArn, config: &EventInvoke) -> FunctionEventInvokeConfig {
    let destinations = config.destinations.clone().unwrap_or_default();
    let kept = |destination: Option<String>| destination.filter(|arn| !arn.is_empty());
    FunctionEventInvokeConfig {
        last_modified: Some(Timestamp::from_millis(config.last_modified)),
        function_arn: Some(arn.to_string()),
        maximum_retry_attempts: config.maximum_retry_attempts,
        maximum_event_age_in_seconds: config.maximum_event_age,
        // Both are there even if neither is set.
        destination_config: Some(DestinationConfig {
            on_success: Some(OnSuccess {
                destination: kept(destinations.on_success.and_then(|success| success.destination)),
            }),
            on_failure: Some(OnFailure {
                destination: kept(destinations.on_failure.and_then(|failure| failure.destination)),
            }),
        }),
    }
}
