//! A configuration of provisioned concurrency as replies show it, with what the engine has at that moment.
//!
//! Must not wait for the engine.

use hothouse_api::{generated::ProvisionedConcurrencyStatusEnum, name::Qualifier};
use jiff::Timestamp;

use super::{configs, share, supply, versions};
use crate::state::model::{Function, settings::ProvisionedConcurrency};

/// What the replies of Put, Get and List have in common.
pub(super) struct Shown {
    pub(super) requested: i32,
    pub(super) available: i32,
    pub(super) allocated: i32,
    pub(super) status: ProvisionedConcurrencyStatusEnum,
    pub(super) reason: Option<String>,
    pub(super) last_modified: String,
}

impl Shown {
    pub(super) fn of(
        function: Option<&Function>,
        qualifier: &Qualifier,
        config: &ProvisionedConcurrency,
    ) -> Self {
        let (mut available, mut failure) = (0, None);
        if let Some(function) = function {
            for number in versions(function, qualifier) {
                let Some(version) = function.versions.get(&number) else { continue };
                let Some(engine) = version.environments.provisioned() else { continue };
                let ready = u32::try_from(engine.available).unwrap_or(u32::MAX);
                // Configurations of one version share its environments, in their order.
                let before: u32 = configs(function, None)
                    .take_while(|(other, _)| *other != qualifier)
                    .map(|(other, config)| share(function, other, config, number))
                    .sum();
                let own = share(function, qualifier, config, number);
                available += ready.saturating_sub(before).min(own);
                failure = failure.or(engine.failure);
            }
        }
        // One that was ready is not any more if an environment could not be replaced.
        let (status, reason) = match (config.status, failure) {
            (ProvisionedConcurrencyStatusEnum::Ready, Some(failure)) => {
                (ProvisionedConcurrencyStatusEnum::Failed, Some(supply::reason(&failure)))
            }
            (status, _) => (status, config.reason.clone()),
        };
        let available = i32::try_from(available).unwrap_or(i32::MAX);
        Self {
            requested: i32::try_from(config.requested).unwrap_or(i32::MAX),
            available,
            // AWS, too, counts an environment only when its INIT is done.
            allocated: available,
            status,
            reason,
            last_modified: last_modified(config.last_modified),
        }
    }
}

/// `2025-11-25T09:08:07+0000`
fn last_modified(millis: i64) -> String {
    let time = Timestamp::from_millisecond(millis).unwrap_or(Timestamp::UNIX_EPOCH);
    time.strftime("%Y-%m-%dT%H:%M:%S+0000").to_string()
}
