//! How versions become ready, and what becomes of those whose package is gone.
//!
//! What a version's status is changes by events alone: nothing here waits for anything but a configured delay. Must not
//! decide what is refused meanwhile: each operation knows which states it can work with.

use std::{collections::HashMap, time::Duration};

use hothouse_api::{ApiError, name};
use uuid::Uuid;

use crate::{
    code::{CodeHash, CodeStore},
    control::Control,
    snapshot::{self, has_snapshot},
    state::{
        Change, Event, State,
        model::{Function, FunctionKey, Status, Version},
    },
};

/// A version becomes ready, with a revision of its own.
pub(crate) fn ready(version: name::Version) -> Event {
    amended(version, Status::Ready)
}

/// Whether it becomes ready by itself.
fn passes(version: &Version) -> bool {
    matches!(version.status, Status::Creating | Status::Updating | Status::Restoring)
}

pub(crate) fn amended(version: name::Version, status: Status) -> Event {
    Event::Amended { version, status, revision_id: Uuid::new_v4() }
}

/// Whether it is ready with the change that made it: there is nothing to be waited for.
fn is_ready_at_once(version: &Version, delay: Duration) -> bool {
    passes(version) && delay.is_zero() && !has_snapshot(version)
}

/// What else happens with a change that makes these versions: without a delay they are ready at once, unless a snapshot
/// is taken first.
pub(crate) fn ready_at_once(versions: &[Version], delay: Duration) -> Vec<Event> {
    let at_once = versions.iter().filter(|version| is_ready_at_once(version, delay));
    at_once.map(|version| ready(version.version)).collect()
}

/// Makes versions ready when the delay is over, if there is one. Comes back then if the answer is to wait for it.
///
/// # Errors
/// If the store fails meanwhile.
pub(crate) async fn settle(
    control: &Control,
    key: &FunctionKey,
    versions: &[Version],
    delay: Duration,
) -> Result<(), ApiError> {
    if !control.config().synchronous_create {
        settle_later(control, key, versions, delay);
        return Ok(());
    }
    if !delay.is_zero() {
        drop(control.pause(delay).await);
    }
    for version in versions.iter().filter(|version| passes(version) && !is_ready_at_once(version, delay)) {
        make_ready(control, key, version).await?;
    }
    Ok(())
}

/// The same for who waits in no case.
pub(crate) fn settle_later(control: &Control, key: &FunctionKey, versions: &[Version], delay: Duration) {
    for version in versions.iter().filter(|version| passes(version) && !is_ready_at_once(version, delay)) {
        ready_later(control, key.clone(), version, delay);
    }
}

/// Goes on with the snapshots that were being taken when the service ended.
pub(crate) fn resume(control: &Control) {
    let unready: Vec<(FunctionKey, Version)> = {
        let state = control.state();
        let of_function = |(key, function): (FunctionKey, &Function)| {
            let unready = function.all_versions().filter(|version| passes(version));
            unready.map(|version| (key.clone(), Version::clone(version))).collect::<Vec<_>>()
        };
        state.all_functions().flat_map(of_function).collect()
    };
    for (key, version) in &unready {
        ready_later(control, key.clone(), version, Duration::ZERO);
    }
}

/// A version as an answer shows it that was just made: as it was made, or as it is now if the answer waited.
pub(crate) fn answered(control: &Control, key: &FunctionKey, made: Version) -> Version {
    if !control.config().synchronous_create {
        return made;
    }
    let state = control.state();
    let now = state.function(key).and_then(|function| function.version(made.version));
    now.map_or(made, |now| Version::clone(now))
}

/// Makes a version ready after a while. If the service ends before, the next start does.
fn ready_later(control: &Control, key: FunctionKey, version: &Version, delay: Duration) {
    let (this, version) = (control.clone(), version.clone());
    control.later(delay, async move {
        if let Err(error) = make_ready(&this, &key, &version).await {
            tracing::error!(
                function = %key.name,
                error = &error as &dyn std::error::Error,
                "failed to record that a version is ready"
            );
        }
    });
}

/// Makes a version ready, once its snapshot is taken if it has one; unless it is, or another has taken its place
/// meanwhile: one of a function that was created anew, say.
async fn make_ready(control: &Control, key: &FunctionKey, version: &Version) -> Result<(), ApiError> {
    let status = match has_snapshot(version) {
        true => snapshot::take(control, key, version).await,
        false => Some(Status::Ready),
    };
    let Some(status) = status else { return Ok(()) };
    control
        .change(key, |state| {
            let unready = state
                .function(key)
                .and_then(|function| function.version(version.version))
                .is_some_and(|now| passes(now) && now.environments.are(&version.environments));
            Ok((if unready { vec![amended(version.version, status)] } else { Vec::new() }, ()))
        })
        .await
}

/// Records that a version cannot run as its package is gone, if that is so. Tells whether it is.
pub(crate) async fn fail_if_lost(control: &Control, key: &FunctionKey, version: &Version) -> bool {
    if !is_lost(control.code(), version, &mut HashMap::new()) {
        return false;
    }
    let result = control
        .change(key, |state| {
            let function = state.function(key);
            let there = function.and_then(|function| function.version(version.version)).is_some_and(|now| {
                matches!(now.status, Status::Ready | Status::Idle)
                    && now.environments.are(&version.environments)
            });
            let event = amended(version.version, Status::Failed);
            Ok((if there { vec![event] } else { Vec::new() }, ()))
        })
        .await;
    if let Err(error) = result {
        tracing::error!(
            function = %key.name,
            error = &error as &dyn std::error::Error,
            "failed to record that a version's package is gone"
        );
    }
    true
}

/// What a start brings in order: versions that were about to become ready are, unless [`resume`] makes them so, those that were about to go do, those whose
/// package is gone have failed.
/// Blocks.
pub(crate) fn leftovers(state: &State, code: &CodeStore) -> Vec<Change> {
    code.repair(state.used_code());
    let mut known = HashMap::new();
    let mut changes = Vec::new();
    for (key, function) in state.all_functions() {
        for version in function.all_versions() {
            let lost = is_lost(code, version, &mut known);
            let status = match version.status {
                Status::Deleting => {
                    let event = match version.version {
                        name::Version::Latest => Event::Deleted,
                        version => Event::VersionDeleted { version },
                    };
                    changes.push(Change::Function { key: key.clone(), event });
                    continue;
                }
                _ if lost => Status::Failed,
                Status::Deactivating => Status::Deactivated,
                kept @ (Status::Idle | Status::Deactivated | Status::InitFailed) => kept,
                // Its snapshot is still to be taken.
                kept @ (Status::Creating | Status::Restoring) if has_snapshot(version) => kept,
                Status::Creating | Status::Updating | Status::Restoring | Status::Ready | Status::Failed => {
                    Status::Ready
                }
            };
            if version.status != status {
                if lost {
                    tracing::warn!(function = %key.name, version = %version.version, "the package is gone");
                }
                changes.push(Change::Function { key: key.clone(), event: amended(version.version, status) });
            }
        }
    }
    changes
}

/// Whether one of the packages that a version runs from is gone.
fn is_lost(code: &CodeStore, version: &Version, known: &mut HashMap<CodeHash, bool>) -> bool {
    version.packages().any(|hash| !*known.entry(hash).or_insert_with(|| code.holds(&hash)))
}

/// Flushes packages a while after they were extracted, several at once: nobody waits for it.
pub(crate) fn flush_packages(control: &Control) {
    const AFTER: Duration = Duration::from_secs(5);

    let this = control.clone();
    control.spawn(async move {
        let due = || async {
            this.code().extracted().await;
            // In the machine's time: it is the machine that may go down.
            tokio::time::sleep(AFTER).await;
        };
        while this.unless_stopped(due()).await.is_some() {
            if let Err(error) = this.code().flush().await {
                tracing::warn!(error = &error as &dyn std::error::Error, "failed to flush packages");
            }
        }
    });
}
