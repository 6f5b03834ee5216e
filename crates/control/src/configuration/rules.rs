//! AWS's rules about settings that depend on each other, or on more of a text than the model's pattern.
//!
//! Must not change what it looks at.

use hothouse_api::{ApiError, generated::SnapStartApplyOn};

use crate::{
    capacity_provider::function as managed,
    error::invalid_parameter,
    network, runtime,
    state::model::{Configuration, Rare},
};

/// What a request sends that depends on how the function is packaged.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Packaged {
    /// `Runtime`, `Handler` or `Layers`.
    pub(crate) managed: bool,
    /// `ImageConfig`.
    pub(crate) image: bool,
}

impl Packaged {
    /// Refuses what the other kind of package has.
    pub(crate) fn check(self, image: bool) -> Result<(), ApiError> {
        if image && self.managed {
            return Err(invalid_parameter(
                "Please don't provide Handler or Runtime or Layer when the intended function PackageType is Image.",
            ));
        }
        if !image && self.image {
            return Err(invalid_parameter(
                // Unverified wording.
                "Please don't provide ImageConfig when the intended function PackageType is Zip.",
            ));
        }
        Ok(())
    }
}

/// Refuses settings that do not go together.
pub(super) fn check(configuration: &Configuration) -> Result<(), ApiError> {
    let none = Rare::default();
    let rare = configuration.rare.as_deref().unwrap_or(&none);
    check_dead_letter(rare)?;
    check_file_systems(rare)?;
    if rare.tenancy.is_some() && rare.managed.is_some() {
        // Unverified wording.
        return Err(invalid_parameter(
            "TenancyConfig isn't supported for Lambda Managed Instances functions.",
        ));
    }
    if rare.accelerator.is_some() {
        managed::check_managed(configuration, "AcceleratorConfig")?;
    }
    if configuration.snap_start == SnapStartApplyOn::PublishedVersions {
        check_snap_start(configuration, rare)?;
    }
    Ok(())
}

fn check_dead_letter(rare: &Rare) -> Result<(), ApiError> {
    let Some(target) = rare.dead_letter.as_ref().and_then(|dead_letter| dead_letter.target_arn.as_deref())
    else {
        return Ok(());
    };
    let refused = |why: &str| Err(invalid_parameter(format!("Invalid dead letter queue ARN: {why}")));
    let fifo = target.ends_with(".fifo");
    match target.split(':').nth(2) {
        None if target.is_empty() => Ok(()),
        Some("sqs") if fifo => refused("FIFO SQS queue is not supported for dead letter configuration"),
        // Unverified wording.
        Some("sns") if fifo => refused("FIFO SNS topic is not supported for dead letter configuration"),
        Some("sqs" | "sns") => Ok(()),
        // Unverified wording.
        _ => refused("it must be the ARN of an SQS queue or an SNS topic"),
    }
}

fn check_file_systems(rare: &Rare) -> Result<(), ApiError> {
    let attached = rare.vpc.as_ref().is_some_and(|vpc| !network::lists(vpc).0.is_empty());
    for file_system in rare.file_systems.iter().flatten() {
        let arn = file_system.arn.as_deref().unwrap_or_default();
        if !attached {
            return Err(invalid_parameter(format!(
                "Function must be configured to execute in a VPC to reference access point {arn}. Please update the \
                 function configuration to include VPC subnets and security groups."
            )));
        }
        if file_system.s3_files_config.is_some() && arn.contains(":elasticfilesystem:") {
            return Err(invalid_parameter(format!(
                // Unverified wording.
                "S3FilesConfig is not supported for the file system access point {arn}."
            )));
        }
    }
    Ok(())
}

fn check_snap_start(configuration: &Configuration, rare: &Rare) -> Result<(), ApiError> {
    /// MB of `/tmp` that a snapshot may have.
    const MOST_STORAGE: u32 = 512;
    let refused = |what: &str| {
        Err(invalid_parameter(format!("{what} is not supported for SnapStart enabled functions.")))
    };
    match configuration.runtime {
        Some(runtime) if !runtime::has_snap_start(runtime) => refused(runtime.as_str()),
        // Of images, AWS finds out when it initializes a published version.
        _ if rare.file_systems.is_some() => refused("EFS"),
        // Unverified wording.
        _ if rare.tenancy.is_some() => refused("TenancyConfig"),
        _ if configuration.ephemeral_storage > MOST_STORAGE => {
            // Unverified wording, as that of EFS is.
            refused(&format!("Ephemeral storage greater than {MOST_STORAGE} MB"))
        }
        _ => Ok(()),
    }
}
