//! Provisioned concurrency: environments that are kept started for a version, or for the version of an alias.
//!
//! A configuration is `IN_PROGRESS` until the engine has all its environments, or knows that it will not. Must not
//! start environments itself: see [`supply`].

mod limits;
mod show;
mod supply;

use std::sync::Arc;

use hothouse_api::{
    ApiError, ErrorKind, RequestContext,
    generated::{
        DeleteProvisionedConcurrencyConfigRequest, GetProvisionedConcurrencyConfigRequest,
        GetProvisionedConcurrencyConfigResponse, ListProvisionedConcurrencyConfigsRequest,
        ListProvisionedConcurrencyConfigsResponse, ProvisionedConcurrencyConfigListItem,
        ProvisionedConcurrencyStatusEnum, PutProvisionedConcurrencyConfigRequest,
        PutProvisionedConcurrencyConfigResponse, SnapStartApplyOn,
    },
    name::{self, AliasName, Qualifier},
};

use crate::{
    control::Control,
    error::{self, conflict, invalid_parameter, not_found},
    page::{self, Page},
    state::{
        Event, Setting, SettingKind, State,
        model::{Alias, Function, FunctionKey, Status, settings::ProvisionedConcurrency},
    },
    target::Target,
    tenancy,
};
use show::Shown;
pub(crate) use supply::{follow, restarted, resume};

pub(crate) async fn put(
    control: &Control,
    context: RequestContext,
    input: PutProvisionedConcurrencyConfigRequest,
) -> Result<PutProvisionedConcurrencyConfigResponse, ApiError> {
    let target = Target::find(control, &context, &input.function_name, Some(&input.qualifier))?;
    let of = Of::new(target, || {
        invalid_parameter(
            "Provisioned Concurrency Configs cannot be applied to unpublished function versions.",
        )
    })?;
    let requested = u32::try_from(input.provisioned_concurrent_executions).unwrap_or_default();
    let this = control.clone();
    let put = of.clone();
    let config = control
        .run(async move {
            this.change(&put.key, |state| {
                let function = put.function(state)?;
                tenancy::check_none(&function.latest.configuration, "Provisioned Concurrency")?;
                check_place(function, &put)?;
                limits::check(&this.config().limits, state, &put, function, requested)?;
                let config = ProvisionedConcurrency {
                    requested,
                    status: ProvisionedConcurrencyStatusEnum::InProgress,
                    reason: None,
                    last_modified: this.now(),
                };
                Ok((vec![setting_put(&put.qualifier, config.clone())], config))
            })
            .await
        })
        .await?;
    let state = control.state();
    let shown = Shown::of(state.function(&of.key), &of.qualifier, &config);
    Ok(PutProvisionedConcurrencyConfigResponse {
        requested_provisioned_concurrent_executions: Some(shown.requested),
        available_provisioned_concurrent_executions: Some(shown.available),
        allocated_provisioned_concurrent_executions: Some(shown.allocated),
        // However fast the engine was.
        status: Some(config.status),
        status_reason: None,
        last_modified: Some(shown.last_modified),
    })
}

pub(crate) async fn delete(
    control: &Control,
    context: RequestContext,
    input: DeleteProvisionedConcurrencyConfigRequest,
) -> Result<(), ApiError> {
    let target = Target::find(control, &context, &input.function_name, Some(&input.qualifier))?;
    let of = Of::new(target, nothing_published)?;
    let this = control.clone();
    control
        .run(async move {
            this.change(&of.key, |state| {
                let there = config(of.function(state)?, &of.qualifier).is_some();
                let kind = SettingKind::ProvisionedConcurrency;
                let event = Event::SettingRemoved { qualifier: Some(of.qualifier.clone()), kind };
                Ok((if there { vec![event] } else { Vec::new() }, ()))
            })
            .await
        })
        .await
}

pub(crate) fn get(
    control: &Control,
    context: &RequestContext,
    input: &GetProvisionedConcurrencyConfigRequest,
) -> Result<GetProvisionedConcurrencyConfigResponse, ApiError> {
    let target = Target::find(control, context, &input.function_name, Some(&input.qualifier))?;
    let of = Of::new(target, nothing_published)?;
    let state = control.state();
    let function = of.function(&state)?;
    let config = config(function, &of.qualifier).ok_or_else(|| {
        ApiError::new(
            ErrorKind::ProvisionedConcurrencyConfigNotFound,
            "No Provisioned Concurrency Config found for this function",
        )
    })?;
    let shown = Shown::of(Some(function), &of.qualifier, config);
    Ok(GetProvisionedConcurrencyConfigResponse {
        requested_provisioned_concurrent_executions: Some(shown.requested),
        available_provisioned_concurrent_executions: Some(shown.available),
        allocated_provisioned_concurrent_executions: Some(shown.allocated),
        status: Some(shown.status),
        status_reason: shown.reason,
        last_modified: Some(shown.last_modified),
    })
}

pub(crate) fn list(
    control: &Control,
    context: &RequestContext,
    input: &ListProvisionedConcurrencyConfigsRequest,
) -> Result<ListProvisionedConcurrencyConfigsResponse, ApiError> {
    /// The model's limit.
    const MOST: usize = 50;
    let key = Target::find(control, context, &input.function_name, None)?.key;
    let after: Option<Qualifier> = page::marker(input.marker.as_deref())?;
    let state = control.state();
    let function = state.function(&key).ok_or_else(|| error::function_not_found(key.arn()))?;
    let page = Page::collect(configs(function, after), input.max_items, MOST, |(qualifier, config)| {
        let shown = Shown::of(Some(function), qualifier, config);
        let item = ProvisionedConcurrencyConfigListItem {
            function_arn: Some(key.arn().with_qualifier(qualifier.clone()).to_string()),
            requested_provisioned_concurrent_executions: Some(shown.requested),
            available_provisioned_concurrent_executions: Some(shown.available),
            allocated_provisioned_concurrent_executions: Some(shown.allocated),
            status: Some(shown.status),
            status_reason: shown.reason,
            last_modified: Some(shown.last_modified),
        };
        (qualifier.to_string(), item)
    });
    Ok(ListProvisionedConcurrencyConfigsResponse {
        provisioned_concurrency_configs: Some(page.items),
        next_marker: page.next_marker,
    })
}

/// What an alias that has provisioned concurrency takes with it to another version.
///
/// # Errors
/// If it cannot be there.
pub(crate) fn moved(
    function: &Function,
    name: &AliasName,
    before: &Alias,
    after: &Alias,
) -> Result<Option<Event>, ApiError> {
    let qualifier = Qualifier::Alias(name.clone());
    let Some(config) = config(function, &qualifier) else { return Ok(None) };
    if (before.version, before.additional) == (after.version, after.additional) {
        return Ok(None);
    }
    check_alias(function, after)?;
    let status = ProvisionedConcurrencyStatusEnum::InProgress;
    Ok(Some(setting_put(&qualifier, ProvisionedConcurrency { status, reason: None, ..config.clone() })))
}

// === What is configured ===

/// Environments that all configurations of a function ask for together.
pub(crate) fn total(function: &Function) -> u32 {
    configs(function, None).fold(0, |total, (_, config)| total.saturating_add(config.requested))
}

/// Environments that a version is to have.
pub(crate) fn of_version(function: &Function, version: name::Version) -> u32 {
    let name::Version::Number(number) = version else { return 0 };
    configs(function, None).map(|(qualifier, config)| share(function, qualifier, config, number)).sum()
}

/// A function's configurations, in the order of lists; only those after `after`, if given.
fn configs(
    function: &Function,
    after: Option<Qualifier>,
) -> impl Iterator<Item = (&Qualifier, &ProvisionedConcurrency)> {
    let settings = function.settings_of(SettingKind::ProvisionedConcurrency, after);
    settings.filter_map(|(qualifier, setting)| match setting {
        Setting::ProvisionedConcurrency(config) => Some((qualifier?, config)),
        _ => None,
    })
}

fn config<'a>(function: &'a Function, qualifier: &Qualifier) -> Option<&'a ProvisionedConcurrency> {
    match function.setting(SettingKind::ProvisionedConcurrency, Some(qualifier.clone())) {
        Some(Setting::ProvisionedConcurrency(config)) => Some(config),
        _ => None,
    }
}

/// How many of a configuration's environments are a version's. An alias of two versions shares them out as it shares
/// out invocations.
fn share(function: &Function, of: &Qualifier, config: &ProvisionedConcurrency, number: u64) -> u32 {
    match of {
        Qualifier::Version(version) if *version == number => config.requested,
        Qualifier::Alias(name) => {
            let Some(alias) = function.aliases.get(name) else { return 0 };
            let weight = alias.additional.map_or(0.0, |additional| additional.weight.clamp(0.0, 1.0));
            let additional = (f64::from(config.requested) * weight).round() as u32;
            if alias.version == name::Version::Number(number) {
                config.requested - additional
            } else if alias.additional.is_some_and(|additional| additional.number == number) {
                additional
            } else {
                0
            }
        }
        Qualifier::Version(_) | Qualifier::Latest | Qualifier::LatestPublished => 0,
    }
}

/// The versions that have a share in what an alias or a version is given.
fn versions(function: &Function, of: &Qualifier) -> Vec<u64> {
    match of {
        Qualifier::Version(number) => vec![*number],
        Qualifier::Alias(name) => {
            let Some(alias) = function.aliases.get(name) else { return Vec::new() };
            let primary = match alias.version {
                name::Version::Number(number) => Some(number),
                name::Version::Latest | name::Version::LatestPublished => None,
            };
            primary.into_iter().chain(alias.additional.map(|additional| additional.number)).collect()
        }
        Qualifier::Latest | Qualifier::LatestPublished => Vec::new(),
    }
}

fn setting_put(qualifier: &Qualifier, config: ProvisionedConcurrency) -> Event {
    let setting = Arc::new(Setting::ProvisionedConcurrency(config));
    Event::SettingPut { qualifier: Some(qualifier.clone()), setting }
}

// === What may be configured ===

/// Whose configuration it is.
#[derive(Clone)]
struct Of {
    key: FunctionKey,
    /// A version or an alias.
    qualifier: Qualifier,
}

impl Of {
    fn new(target: Target, unpublished: impl FnOnce() -> ApiError) -> Result<Self, ApiError> {
        let Target { key, qualifier } = target;
        match qualifier {
            Some(qualifier @ (Qualifier::Version(_) | Qualifier::Alias(_))) => Ok(Self { key, qualifier }),
            None | Some(Qualifier::Latest | Qualifier::LatestPublished) => Err(unpublished()),
        }
    }

    /// The function, if it is there and has this version or alias.
    fn function<'a>(&self, state: &'a State) -> Result<&'a Function, ApiError> {
        let function = state.function(&self.key).ok_or_else(|| error::function_not_found(self.key.arn()))?;
        let arn = || self.key.arn().with_qualifier(self.qualifier.clone());
        match &self.qualifier {
            Qualifier::Alias(name) if !function.aliases.contains_key(name) => {
                Err(not_found(format!("Cannot find alias arn: {}", arn())))
            }
            Qualifier::Version(number) if !function.versions.contains_key(number) => {
                Err(error::function_not_found(arn()))
            }
            _ => Ok(function),
        }
    }
}

fn nothing_published() -> ApiError {
    invalid_parameter("The function resource provided must be an alias or a published version.")
}

/// Refuses what cannot have provisioned concurrency, or already has it in another way.
fn check_place(function: &Function, of: &Of) -> Result<(), ApiError> {
    match &of.qualifier {
        Qualifier::Alias(name) => {
            if let Some(alias) = function.aliases.get(name) {
                if alias.additional.is_some() {
                    return Err(invalid_parameter(
                        "Alias with weights can not be used with Provisioned Concurrency",
                    ));
                }
                check_alias(function, alias)?;
            }
        }
        Qualifier::Version(number) => {
            let pointed = |(qualifier, config)| share(function, qualifier, config, *number) > 0;
            if configs(function, None).filter(|(qualifier, _)| **qualifier != of.qualifier).any(pointed) {
                return Err(conflict("Version is pointed by a Provisioned Concurrency alias"));
            }
        }
        Qualifier::Latest | Qualifier::LatestPublished => {}
    }
    for version in versions(function, &of.qualifier).iter().filter_map(|number| function.versions.get(number))
    {
        if version.status == Status::Creating {
            return Err(error::still_pending());
        }
        if version.configuration.snap_start == SnapStartApplyOn::PublishedVersions {
            // Unverified wording.
            return Err(invalid_parameter(
                "Provisioned Concurrency is not supported for SnapStart enabled functions.",
            ));
        }
    }
    Ok(())
}

/// Refuses provisioned concurrency of an alias that points to where it cannot be.
fn check_alias(function: &Function, alias: &Alias) -> Result<(), ApiError> {
    let additional = alias.additional.map(|additional| name::Version::Number(additional.number));
    for version in [Some(alias.version), additional].into_iter().flatten() {
        let name::Version::Number(number) = version else {
            return Err(invalid_parameter(
                "Provisioned Concurrency Configs cannot be applied to unpublished function versions.",
            ));
        };
        if config(function, &Qualifier::Version(number)).is_some() {
            return Err(conflict(
                "Alias can't be used for Provisioned Concurrency configuration on an already Provisioned version",
            ));
        }
    }
    Ok(())
}
