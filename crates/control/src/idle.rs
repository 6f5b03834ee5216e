//! Versions that nobody has invoked for long: AWS takes back what it has made for them, and makes it again when they are
//! invoked.
//!
//! ```text
//! Ready ── idle delay ──> Idle ── invoked: 409 ──> Restoring ── create delay ──> Ready
//! ```
//!
//! Happens only if the user wants it. Must not touch what runs: an idle version's environments live as long as others.

use std::{slice::from_ref, time::Duration};

use hothouse_api::ApiError;

use crate::{
    control::Control,
    error, lifecycle, network,
    snapshot::has_snapshot,
    state::{
        State,
        model::{FunctionKey, Package, Status, Version},
    },
};

/// Notes that a version is invoked.
pub(crate) fn touch(control: &Control, version: &Version) {
    if !control.config().idle_delay.is_zero() {
        version.environments.touch(control.now());
    }
}

/// Makes versions `Inactive` that nobody has invoked for as long as is configured, while the service runs. Until its
/// first look a version that is there counts as invoked when the service started.
pub(crate) fn watch(control: &Control) {
    let delay = control.config().idle_delay;
    if delay.is_zero() {
        return;
    }
    let this = control.clone();
    let started = control.now();
    control.spawn(async move {
        let mut pause = delay;
        while let Some(_working) = this.pause(pause).await {
            let (idle, next) = look(&this.state(), this.now(), started, delay);
            for (key, version) in idle {
                if let Err(error) = record(&this, &key, &version, delay, started).await {
                    tracing::error!(
                        function = %key.name,
                        error = &error as &dyn std::error::Error,
                        "failed to record that a version is idle"
                    );
                }
            }
            pause = next;
        }
    });
}

/// The versions that have been idle for long enough, and when to look again: before then no other can be.
fn look(state: &State, now: i64, started: i64, delay: Duration) -> (Vec<(FunctionKey, Version)>, Duration) {
    let mut idle = Vec::new();
    let mut next = delay;
    for (key, function) in state.all_functions() {
        for version in function.all_versions().filter(|version| may_idle(version)) {
            match left(version, now, started, delay) {
                None => idle.push((key.clone(), Version::clone(version))),
                Some(left) => next = next.min(left),
            }
        }
    }
    (idle, next)
}

/// Whether AWS keeps something for a version that it would take back: a network interface, an image's copy, a snapshot.
fn may_idle(version: &Version) -> bool {
    let configuration = &version.configuration;
    let attached = configuration
        .rare
        .as_deref()
        .and_then(|rare| rare.vpc.as_ref())
        .is_some_and(|vpc| !network::lists(vpc).0.is_empty());
    let image = matches!(version.code.package, Package::Image { .. });
    version.status == Status::Ready
        && configuration.capacity_provider().is_none()
        && (attached || image || has_snapshot(version))
}

/// For how long a version is not idle yet.
fn left(version: &Version, now: i64, started: i64, delay: Duration) -> Option<Duration> {
    let since = version.environments.used().max(version.last_modified).max(started);
    let idle = Duration::from_millis(u64::try_from(now - since).unwrap_or_default());
    delay.checked_sub(idle).filter(|left| !left.is_zero())
}

async fn record(
    control: &Control,
    key: &FunctionKey,
    version: &Version,
    delay: Duration,
    started: i64,
) -> Result<(), ApiError> {
    control
        .change(key, |state| {
            let still = state
                .function(key)
                .and_then(|function| function.version(version.version))
                .is_some_and(|now| {
                    may_idle(now)
                        && now.environments.are(&version.environments)
                        && left(now, control.now(), started, delay).is_none()
                });
            let event = lifecycle::amended(version.version, Status::Idle);
            if still {
                version.environments.drop_snapshot();
            }
            Ok((if still { vec![event] } else { Vec::new() }, ()))
        })
        .await
}

/// Begins to make an idle version ready again, if nobody else has.
///
/// # Errors
/// If the store fails.
pub(crate) async fn restore(control: &Control, key: &FunctionKey, version: &Version) -> Result<(), ApiError> {
    let (this, key, version) = (control.clone(), key.clone(), version.clone());
    control
        .run(async move {
            let delay = this.config().create_delay;
            let restoring = Version { status: Status::Restoring, ..version };
            let begun = this
                .change(&key, |state| {
                    let still = state
                        .function(&key)
                        .and_then(|function| function.version(restoring.version))
                        .is_some_and(|now| {
                            now.status == Status::Idle && now.environments.are(&restoring.environments)
                        });
                    if !still {
                        return Ok((Vec::new(), false));
                    }
                    let mut events = vec![lifecycle::amended(restoring.version, Status::Restoring)];
                    events.extend(lifecycle::ready_at_once(from_ref(&restoring), delay));
                    Ok((events, true))
                })
                .await?;
            if begun {
                lifecycle::settle_later(&this, &key, from_ref(&restoring), delay)
            }
            Ok(())
        })
        .await
}

/// What the invocation that found a version idle is told.
pub(crate) fn refusal(version: &Version) -> ApiError {
    // Unverified: that AWS names the state that the version has from now on.
    pending(version)
}

/// What an invocation of a version that is not ready yet is told.
pub(crate) fn pending(version: &Version) -> ApiError {
    if has_snapshot(version) { error::snapshot_not_ready() } else { error::still_pending() }
}
