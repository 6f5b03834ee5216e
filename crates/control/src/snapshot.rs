//! Versions with SnapStart: INIT runs when one is published, and the version is ready when its snapshot has been taken.
//!
//! Must not know what a snapshot is: the engine takes it, keeps it as long as it runs, and takes it again when it is needed
//! after a restart.

use hothouse_api::{generated::SnapStartApplyOn, name};
use hothouse_execution::StartFailure;

use crate::{
    control::Control,
    invoke, runnable,
    state::model::{FunctionKey, Status, Version},
};

/// Whether a version's environments come from a snapshot.
pub(crate) fn has_snapshot(version: &Version) -> bool {
    version.version != name::Version::Latest
        && version.configuration.snap_start == SnapStartApplyOn::PublishedVersions
}

/// Takes the snapshot of a version that is to have one; tells what status the version has then. Nothing if the service
/// ends before that is known.
pub(crate) async fn take(control: &Control, key: &FunctionKey, version: &Version) -> Option<Status> {
    // Invocations tell what cannot run here, and why.
    let Ok(runtime) = runnable::runtime(version) else { return Some(Status::Ready) };
    let make = || control.engine().version(invoke::spec(control, key, version, runtime));
    // A retired version has no status that anyone will see.
    let handle = version.environments.handle(make)?.clone();
    Some(match control.unless_stopped(handle.take_snapshot()).await? {
        Err(StartFailure::Init(_)) => Status::InitFailed,
        Err(StartFailure::Other(reason)) => {
            tracing::warn!(function = %key.name, version = %version.version, reason, "failed to take a snapshot");
            Status::Ready
        }
        Ok(()) => Status::Ready,
    })
}
