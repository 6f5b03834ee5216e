//! Tells the engine how many environments of which version to keep started, and records how that went.
//!
//! ```text
//! IN_PROGRESS ── the engine has them all, and the configured delay has passed ──> READY
//! IN_PROGRESS ── one could not be started ──────────────────────────────────────> FAILED
//! ```
//!
//! Must not decide what may be configured.

use std::{sync::Arc, time::Duration};

use futures_util::future::join_all;
use hothouse_api::{ApiError, generated::ProvisionedConcurrencyStatusEnum, name::Qualifier};
use hothouse_execution::{StartFailure, VersionHandle};

use super::{configs, of_version, setting_put, versions};
use crate::{
    control::Control,
    invoke, runnable,
    state::{
        Change, Event, Setting, SettingKey, SettingKind, State,
        model::{Function, FunctionKey, Version, settings::ProvisionedConcurrency},
    },
};

/// Follows changes that have been made: to be called before anything else may change the same functions.
pub(crate) fn follow(control: &Control, changes: &[Change]) {
    for change in changes {
        let Change::Function { key, event } = change else { continue };
        match event {
            Event::SettingPut { qualifier: Some(qualifier), setting } => {
                if let Setting::ProvisionedConcurrency(config) = &**setting
                    && config.status == ProvisionedConcurrencyStatusEnum::InProgress
                {
                    supply(control, key, Some(qualifier));
                    watch(control, key, qualifier, setting, control.config().provisioned_concurrency_delay);
                }
            }
            Event::SettingRemoved { kind: SettingKind::ProvisionedConcurrency, .. }
            | Event::AliasDeleted { .. } => supply(control, key, None),
            // Environments of versions that are no more go with their versions. An alias that takes provisioned
            // concurrency elsewhere has its configuration put anew.
            Event::AliasPut { .. }
            | Event::Created { .. }
            | Event::Updated { .. }
            | Event::Published { .. }
            | Event::Amended { .. }
            | Event::VersionDeleted { .. }
            | Event::Deleted
            | Event::Tagged { .. }
            | Event::SettingPut { .. }
            | Event::SettingRemoved { .. }
            | Event::ConcurrencyReserved { .. }
            | Event::Queued { .. }
            | Event::Postponed { .. }
            | Event::Concluded { .. }
            | Event::Reported { .. }
            | Event::Dequeued { .. } => {}
        }
    }
}

/// What has to be recorded before [`resume`]: after a restart, all has yet to be started.
pub(crate) fn restarted(state: &State) -> Vec<Change> {
    let of_function = |(key, function): (FunctionKey, &Function)| -> Vec<Change> {
        let restarted = |(qualifier, config): (&Qualifier, &ProvisionedConcurrency)| {
            let status = ProvisionedConcurrencyStatusEnum::InProgress;
            let config = ProvisionedConcurrency { status, reason: None, ..config.clone() };
            Change::Function { key: key.clone(), event: setting_put(qualifier, config) }
        };
        configs(function, None).map(restarted).collect()
    };
    state.all_functions().flat_map(of_function).collect()
}

/// Starts what is configured.
pub(crate) fn resume(control: &Control, restarted: &[Change]) {
    for change in restarted {
        let Change::Function { key, event: Event::SettingPut { qualifier: Some(qualifier), setting } } =
            change
        else {
            continue;
        };
        supply(control, key, Some(qualifier));
        watch(control, key, qualifier, setting, Duration::ZERO);
    }
}

/// Tells the engine what each version of a function is to have. What has failed is tried again for what is asked for
/// anew, if anything is; until that is there, the environments of other versions stay: an alias that goes to another
/// version does not leave its callers without any.
fn supply(control: &Control, key: &FunctionKey, anew: Option<&Qualifier>) {
    let state = control.state();
    let Some(function) = state.function(key) else { return };
    let anew = anew.map(|qualifier| versions(function, qualifier)).unwrap_or_default();
    for (number, version) in &function.versions {
        let wanted = usize::try_from(of_version(function, version.version)).unwrap_or(usize::MAX);
        let has = version.environments.provisioned();
        let failed = has.as_ref().is_some_and(|has| has.failure.is_some());
        let has = has.map_or(0, |has| has.requested);
        let is_anew = anew.contains(number);
        if (has == wanted && !(failed && is_anew)) || (has > wanted && !is_anew && !anew.is_empty()) {
            continue;
        }
        if let Some(handle) = handle(control, key, version) {
            handle.provision(wanted);
        }
    }
}

/// The version's handle, if it can be started and is not retired.
fn handle<'a>(control: &Control, key: &FunctionKey, version: &'a Version) -> Option<&'a VersionHandle> {
    let runtime = runnable::runtime(version).ok()?;
    version.environments.handle(|| control.engine().version(invoke::spec(control, key, version, runtime)))
}

/// Waits until it is known how a configuration works out, and records it.
fn watch(
    control: &Control,
    key: &FunctionKey,
    qualifier: &Qualifier,
    setting: &Arc<Setting>,
    delay: Duration,
) {
    let (this, key, qualifier, setting) =
        (control.clone(), key.clone(), qualifier.clone(), Arc::clone(setting));
    control.later(delay, async move {
        let Some(outcome) = this.unless_stopped(outcome(&this, &key, &qualifier)).await else { return };
        if let Err(error) = record(&this, &key, &qualifier, &setting, outcome).await {
            tracing::error!(
                function = %key.name,
                error = &error as &dyn std::error::Error,
                "failed to record how provisioned concurrency works out"
            );
        }
        // What others had stayed until now.
        supply(&this, &key, None);
    });
}

/// Why the environments of a configuration could not all be started, if they could not.
async fn outcome(control: &Control, key: &FunctionKey, qualifier: &Qualifier) -> Result<(), String> {
    let handles: Vec<VersionHandle> = {
        let state = control.state();
        let Some(function) = state.function(key) else { return Ok(()) };
        let mut handles = Vec::new();
        for version in versions(function, qualifier).iter().filter_map(|number| function.versions.get(number))
        {
            runnable::runtime(version)?;
            // A retired one is nobody's any more.
            handles.extend(handle(control, key, version).cloned());
        }
        handles
    };
    let outcomes = join_all(handles.iter().map(VersionHandle::provisioning)).await;
    match outcomes.into_iter().find_map(|outcome| outcome.failure) {
        Some(failure) => Err(reason(&failure)),
        None => Ok(()),
    }
}

/// `StatusReason`
pub(super) fn reason(failure: &StartFailure) -> String {
    match failure {
        StartFailure::Init(_) => "FUNCTION_ERROR_INIT_FAILURE".into(),
        StartFailure::Other(text) => text.clone(),
    }
}

async fn record(
    control: &Control,
    key: &FunctionKey,
    qualifier: &Qualifier,
    setting: &Arc<Setting>,
    outcome: Result<(), String>,
) -> Result<(), ApiError> {
    control
        .change(key, |state| {
            let kind = SettingKind::ProvisionedConcurrency;
            let setting_key = SettingKey { kind, qualifier: Some(qualifier.clone()) };
            let now = state.function(key).and_then(|function| function.settings.get(&setting_key));
            // Another one has taken its place, or it has begun again: that is watched by another.
            let same = now.is_some_and(|now| Arc::ptr_eq(now, setting));
            let Setting::ProvisionedConcurrency(config) = &**setting else { return Ok((Vec::new(), ())) };
            let (status, reason) = match outcome {
                Ok(()) => (ProvisionedConcurrencyStatusEnum::Ready, None),
                Err(reason) => (ProvisionedConcurrencyStatusEnum::Failed, Some(reason)),
            };
            let settled = ProvisionedConcurrency { status, reason, ..config.clone() };
            Ok((if same { vec![setting_put(qualifier, settled)] } else { Vec::new() }, ()))
        })
        .await
}
