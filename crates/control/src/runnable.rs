//! Which of AWS's functions can be run here, and what to say about the others.
//!
//! Must not know what this machine has: the engine finds out when it starts an environment.

use hothouse_api::generated::Runtime;

use crate::state::model::{Package, Version};

/// The runtime that a version runs in.
///
/// # Errors
/// With what is missing, for the user, if nothing here could run it.
pub(crate) fn runtime(version: &Version) -> Result<Runtime, &'static str> {
    // As a plain function it would get the caller's event, which the durable libraries refuse with a message about a
    // missing `DurableConfig`: that would only lead astray.
    if version.configuration.is_durable() {
        return Err(
            "Hothouse does not run durable functions (DurableConfig) yet: nothing here keeps durable executions. \
                    To run the code as a plain function, create the function without DurableConfig.",
        );
    }
    match (&version.code.package, version.configuration.runtime) {
        (Package::Image { .. }, _) => Err("Hothouse does not run functions of PackageType Image yet."),
        // RuntimeAliasDeleted and RuntimeVersionDeleted are for those who had one.
        (Package::Zip { .. }, Some(Runtime::Custom)) => Err(
            "Hothouse cannot run functions with the runtime `custom`: customer-managed runtimes are kept by another \
                 service (lambda-core), so nothing here knows what RuntimeArn stands for. Use a managed runtime, or \
                 `provided.al2023` with the runtime in the package or a layer.",
        ),
        (Package::Zip { .. }, Some(runtime)) => Ok(runtime),
        // CreateFunction takes no zip without one.
        (Package::Zip { .. }, None) => Err("The function has no runtime."),
    }
}
