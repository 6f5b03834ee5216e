//! Function URLs as they are configured: one for `$LATEST`, one for each alias.
//!
//! Must not serve them: `serve` says what stands behind them, HTTP is the door's.

mod serve;

pub use serve::{ServedUrl, forbidden};

use std::{net::IpAddr, sync::Arc};

use hothouse_api::{
    ApiError, RequestContext,
    arn::FunctionArn,
    generated::{
        CreateFunctionUrlConfigRequest, CreateFunctionUrlConfigResponse, DeleteFunctionUrlConfigRequest,
        FunctionUrlConfig, GetFunctionUrlConfigRequest, GetFunctionUrlConfigResponse, InvokeMode,
        ListFunctionUrlConfigsRequest, ListFunctionUrlConfigsResponse, UpdateFunctionUrlConfigRequest,
        UpdateFunctionUrlConfigResponse,
    },
    name::{Qualifier, Region},
};
use jiff::Timestamp;

use crate::{
    control::{Control, Subject},
    error::{conflict, not_found},
    function::read::resolve,
    page::{self, Page},
    state::{
        Change, Event, Setting, SettingKind, State,
        model::{Function, settings::FunctionUrl},
    },
    target::Target,
    tenancy,
};

pub(crate) async fn create(
    control: &Control,
    context: RequestContext,
    input: CreateFunctionUrlConfigRequest,
) -> Result<CreateFunctionUrlConfigResponse, ApiError> {
    let target = Target::find(control, &context, &input.function_name, input.qualifier.as_deref())?;
    let this = control.clone();
    control
        .run(async move {
            let wanted = this.state().function(&target.key).and_then(|function| wanted_id(function, &target));
            let function = Subject::Function(&target.key);
            // Two functions may want the same id: one of them is first.
            let url = wanted.as_deref().map(Subject::FunctionUrl);
            let subjects: Vec<_> = [Some(function), url].into_iter().flatten().collect();
            this.change_all(&subjects, |state| {
                let function = existing(state, &target)?;
                // It is decided at creation, for all versions.
                tenancy::check_none(&function.latest.configuration, "Function URL")?;
                if url_of(function, &target).is_ok() {
                    return Err(conflict(format!(
                        "Failed to create function url config for [functionArn = {}]. Error message:  \
                         FunctionUrlConfig exists for this Lambda function",
                        target.arn()
                    )));
                }
                let now = this.now();
                let config = FunctionUrl {
                    id: wanted.clone().filter(|id| state.url_owner(id).is_none()).unwrap_or_else(random_id),
                    auth_type: input.auth_type,
                    cors: input.cors.clone(),
                    invoke_mode: input.invoke_mode,
                    created: now,
                    last_modified: now,
                };
                let shown = show(&this, &target.arn(), &config);
                let answer = CreateFunctionUrlConfigResponse {
                    function_url: shown.function_url,
                    function_arn: shown.function_arn,
                    auth_type: shown.auth_type,
                    cors: shown.cors,
                    creation_time: shown.creation_time,
                    // Only if it was sent.
                    invoke_mode: input.invoke_mode,
                };
                Ok((vec![put(&target, config)], answer))
            })
            .await
        })
        .await
}

pub(crate) async fn update(
    control: &Control,
    context: RequestContext,
    input: UpdateFunctionUrlConfigRequest,
) -> Result<UpdateFunctionUrlConfigResponse, ApiError> {
    let target = Target::find(control, &context, &input.function_name, input.qualifier.as_deref())?;
    let this = control.clone();
    control
        .run(async move {
            this.change_all(&[Subject::Function(&target.key)], |state| {
                let before = url_of(existing(state, &target)?, &target)?;
                let config = FunctionUrl {
                    auth_type: input.auth_type.unwrap_or(before.auth_type),
                    cors: input.cors.clone().or_else(|| before.cors.clone()),
                    invoke_mode: input.invoke_mode.or(before.invoke_mode),
                    last_modified: this.now(),
                    ..before.clone()
                };
                let shown = show(&this, &target.arn(), &config);
                let answer = UpdateFunctionUrlConfigResponse {
                    function_url: shown.function_url,
                    function_arn: shown.function_arn,
                    auth_type: shown.auth_type,
                    cors: shown.cors,
                    creation_time: shown.creation_time,
                    last_modified_time: shown.last_modified_time,
                    // Only if it was sent.
                    invoke_mode: input.invoke_mode,
                };
                Ok((vec![put(&target, config)], answer))
            })
            .await
        })
        .await
}

pub(crate) async fn delete(
    control: &Control,
    context: RequestContext,
    input: DeleteFunctionUrlConfigRequest,
) -> Result<(), ApiError> {
    let target = Target::find(control, &context, &input.function_name, input.qualifier.as_deref())?;
    let this = control.clone();
    control
        .run(async move {
            this.change(&target.key, |state| {
                url_of(state.function(&target.key).ok_or_else(missing_config)?, &target)?;
                let kind = SettingKind::Url;
                Ok((vec![Event::SettingRemoved { qualifier: target.qualifier.clone(), kind }], ()))
            })
            .await
        })
        .await
}

pub(crate) fn get(
    control: &Control,
    context: &RequestContext,
    input: &GetFunctionUrlConfigRequest,
) -> Result<GetFunctionUrlConfigResponse, ApiError> {
    let target = Target::find(control, context, &input.function_name, input.qualifier.as_deref())?;
    let state = control.state();
    let config = url_of(state.function(&target.key).ok_or_else(missing_config)?, &target)?;
    let shown = show(control, &target.arn(), config);
    Ok(GetFunctionUrlConfigResponse {
        function_url: shown.function_url,
        function_arn: shown.function_arn,
        auth_type: shown.auth_type,
        cors: shown.cors,
        creation_time: shown.creation_time,
        last_modified_time: shown.last_modified_time,
        invoke_mode: shown.invoke_mode,
    })
}

pub(crate) fn list(
    control: &Control,
    context: &RequestContext,
    input: &ListFunctionUrlConfigsRequest,
) -> Result<ListFunctionUrlConfigsResponse, ApiError> {
    /// The model's limit.
    const MOST: usize = 50;
    let key = Target::find(control, context, &input.function_name, None)?.key;
    let after: Option<FunctionArn> = page::marker(input.marker.as_deref())?;
    let state = control.state();
    let function = state.function(&key).ok_or_else(missing_function)?;
    // The function's own URL comes first, so it is only after nothing.
    let own_seen = after.is_some();
    let after = after.and_then(|arn| arn.qualifier().cloned());
    let configs = function
        .settings_of(SettingKind::Url, after)
        .filter(|(qualifier, _)| qualifier.is_some() || !own_seen)
        .filter(|(qualifier, _)| resolve(function, *qualifier).is_some())
        .filter_map(|(qualifier, setting)| match setting {
            Setting::Url(config) => Some((qualifier, config)),
            _ => None,
        });
    let page = Page::collect(configs, input.max_items, MOST, |(qualifier, config)| {
        let arn = match qualifier {
            Some(qualifier) => key.arn().with_qualifier(qualifier.clone()),
            None => key.arn(),
        };
        (arn.to_string(), show(control, &arn, config))
    });
    Ok(ListFunctionUrlConfigsResponse {
        function_url_configs: Some(page.items),
        next_marker: page.next_marker,
    })
}

/// The function, if it is there and has what the qualifier says.
fn existing<'a>(state: &'a State, target: &Target) -> Result<&'a Function, ApiError> {
    let function = state.function(&target.key).ok_or_else(missing_function)?;
    resolve(function, target.qualifier.as_ref()).map(|_| function).ok_or_else(missing_function)
}

/// The configuration, unless it is that of an alias that is gone.
fn url_of<'a>(function: &'a Function, target: &Target) -> Result<&'a FunctionUrl, ApiError> {
    match function.setting(SettingKind::Url, target.qualifier.clone()) {
        Some(Setting::Url(config)) if resolve(function, target.qualifier.as_ref()).is_some() => Ok(config),
        _ => Err(missing_config()),
    }
}

/// Unverified: that an alias that is missing is told so, too.
fn missing_function() -> ApiError {
    not_found("Function does not exist")
}

fn missing_config() -> ApiError {
    not_found("The resource you requested does not exist.")
}

fn put(target: &Target, config: FunctionUrl) -> Change {
    let setting = Arc::new(Setting::Url(config));
    let event = Event::SettingPut { qualifier: target.qualifier.clone(), setting };
    Change::Function { key: target.key.clone(), event }
}

fn show(control: &Control, arn: &FunctionArn, config: &FunctionUrl) -> FunctionUrlConfig {
    FunctionUrlConfig {
        function_url: Some(url(&control.config().base_url, arn.region(), &config.id)),
        function_arn: Some(arn.to_string()),
        creation_time: Some(time(config.created)),
        last_modified_time: Some(time(config.last_modified)),
        cors: config.cors.clone(),
        auth_type: Some(config.auth_type),
        invoke_mode: Some(config.invoke_mode.unwrap_or(InvokeMode::Buffered)),
    }
}

/// `2025-11-25T09:08:07.654000Z`
fn time(millis: i64) -> String {
    let time = Timestamp::from_millisecond(millis).unwrap_or(Timestamp::UNIX_EPOCH);
    time.strftime("%Y-%m-%dT%H:%M:%S.%6fZ").to_string()
}

// === ids ===

/// The tag that names a function's URL, as LocalStack's users know it.
const CUSTOM_ID: &str = "_custom_id_";

/// The id that the function's tags ask for: with the alias behind it, as each alias has a URL of its own.
fn wanted_id(function: &Function, target: &Target) -> Option<String> {
    let wanted = function.tags.get(CUSTOM_ID)?;
    let id = match &target.qualifier {
        Some(Qualifier::Alias(alias)) => format!("{wanted}-{alias}"),
        _ => wanted.clone(),
    };
    let valid = is_label(&id);
    if !valid {
        tracing::warn!(
            function = %target.key.name, %id,
            "the tag `{CUSTOM_ID}` does not make the first part of a host's name: the function URL gets a random id"
        );
    }
    valid.then_some(id)
}

/// Whether a text can stand before a host's name: what cannot be distinguished in one is refused.
fn is_label(text: &str) -> bool {
    let allowed = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-';
    (1..=63).contains(&text.len())
        && text.bytes().all(allowed)
        && !text.starts_with('-')
        && !text.ends_with('-')
}

/// 32 characters, as AWS's ids are: no two are ever the same.
fn random_id() -> String {
    const CHARACTERS: &[u8] = b"abcdefghijklmnopqrstuvwxyz0123456789";
    (0..32).map(|_| char::from(CHARACTERS[fastrand::usize(..CHARACTERS.len())])).collect()
}

/// Where the URL with this id is served: at a host of its own below the service's, or below the service's own URL if
/// the service is known by an address that no host can be below.
fn url(base_url: &str, region: &Region, id: &str) -> String {
    let (scheme, host) = base_url.split_once("://").unwrap_or(("http", base_url));
    let (name, port) = match host.rsplit_once(':') {
        Some((name, port)) if port.bytes().all(|byte| byte.is_ascii_digit()) => (name, format!(":{port}")),
        _ => (host, String::new()),
    };
    let name = match name.trim_matches(['[', ']']).parse::<IpAddr>() {
        // Whatever is below `localhost` is this machine, too.
        Ok(address) if address.is_loopback() => "localhost",
        Ok(_) => return format!("{base_url}/_hothouse/urls/{id}/"),
        Err(_) => name,
    };
    format!("{scheme}://{id}.lambda-url.{region}.{name}{port}/")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn url_is_below_the_service_by_name_or_by_path() {
        let region = "eu-west-1".parse().unwrap();
        let cases = [
            ("http://127.0.0.1:4566", "http://i.lambda-url.eu-west-1.localhost:4566/"),
            ("http://[::1]:4566", "http://i.lambda-url.eu-west-1.localhost:4566/"),
            ("http://localhost:4566", "http://i.lambda-url.eu-west-1.localhost:4566/"),
            ("https://hothouse.example", "https://i.lambda-url.eu-west-1.hothouse.example/"),
            ("http://10.0.0.7:4566", "http://10.0.0.7:4566/_hothouse/urls/i/"),
            ("http://[fd00::7]:4566", "http://[fd00::7]:4566/_hothouse/urls/i/"),
        ];
        for (base_url, expected) in cases {
            assert_eq!(url(base_url, &region, "i"), expected);
        }
    }

    #[test]
    fn ids_are_labels_of_hosts() {
        for id in ["a", "my-custom-id", "1", &random_id(), &"a".repeat(63)] {
            assert!(is_label(id), "{id}");
        }
        for id in ["", "-a", "a-", "A", "a.b", "a_b", "ü", &"a".repeat(64)] {
            assert!(!is_label(id), "{id}");
        }
        assert_eq!(random_id().len(), 32);
    }
}
