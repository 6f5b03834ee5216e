//! A version's configuration: defaults, how an update merges into it, and the rules that span members.
//!
//! Must not repeat what the model's constraints check on their own.

pub(crate) mod rules;

use std::collections::BTreeMap;

use hothouse_api::{
    ApiError, RequestContext,
    generated::{
        ApplicationLogLevel, CreateFunctionRequest, DeadLetterConfig, Environment, LogFormat, LoggingConfig,
        Runtime, SnapStartApplyOn, SystemLogLevel, TracingMode, UpdateFunctionConfigurationRequest,
    },
};

use crate::{
    capacity_provider::function as managed,
    config::ControlConfig,
    durable,
    error::{invalid_parameter, validation},
    layer, runtime,
    state::{
        State,
        model::{Configuration, Logging, Rare, Variables},
    },
};
use rules::Packaged;

/// The configuration of a new function.
///
/// # Errors
/// If AWS would refuse it.
pub(crate) fn create(
    config: &ControlConfig,
    context: &RequestContext,
    state: &State,
    input: &CreateFunctionRequest,
    image: bool,
) -> Result<Configuration, ApiError> {
    Packaged {
        managed: input.runtime.is_some() || input.handler.is_some() || input.layers.is_some(),
        image: input.image_config.is_some(),
    }
    .check(image)?;
    if !image && (input.runtime.is_none() || input.handler.is_none()) {
        return Err(invalid_parameter(
            "Runtime and Handler are mandatory parameters for functions created with deployment packages.",
        ));
    }
    check_runtime(config, input.runtime)?;
    let layers = layer::used::find(config, context, state, input.layers.as_deref().unwrap_or_default())?;
    let rare = Rare {
        vpc: input.vpc_config.clone(),
        vpc_id: None,
        dead_letter: target(input.dead_letter_config.as_ref()),
        kms_key_arn: input.kms_key_arn.clone().filter(|sent| !sent.is_empty()),
        file_systems: input.file_system_configs.clone().filter(|sent| !sent.is_empty()),
        image: input.image_config.clone(),
        layers,
        accelerator: input.accelerator_config.clone(),
        managed: managed::chosen(input.capacity_provider_config.as_ref(), input.runtime)?,
        durable: durable::config::chosen(input.durable_config.as_ref())?,
        runtime: runtime::config(&context.region, input.runtime, None, input.runtime_config.as_ref())?,
        tenancy: input.tenancy_config.clone(),
    };
    // Functions on a capacity provider have other defaults.
    let (memory_size, logging) = match &rare.managed {
        None => (
            128,
            Logging { format: LogFormat::Text, group: None, application_level: None, system_level: None },
        ),
        Some(_) => (
            managed::MEMORY_SIZE,
            Logging {
                format: LogFormat::Json,
                group: None,
                application_level: Some(ApplicationLogLevel::Info),
                system_level: Some(SystemLogLevel::Info),
            },
        ),
    };
    let configuration = Configuration {
        role: input.role.clone(),
        runtime: input.runtime,
        handler: input.handler.clone(),
        description: input.description.clone().unwrap_or_default(),
        timeout: input.timeout.map_or(3, unsigned),
        memory_size: input.memory_size.map_or(memory_size, unsigned),
        ephemeral_storage: input
            .ephemeral_storage
            .as_ref()
            .and_then(|storage| storage.size)
            .map_or(512, unsigned),
        environment: variables(config, input.environment.clone())?,
        tracing: input
            .tracing_config
            .as_ref()
            .and_then(|tracing| tracing.mode)
            .unwrap_or(TracingMode::PassThrough),
        snap_start: input
            .snap_start
            .as_ref()
            .and_then(|snap| snap.apply_on)
            .unwrap_or(SnapStartApplyOn::None),
        logging: merge_logging(logging, input.logging_config.as_ref())?,
        rare: boxed(rare),
    };
    check(config, &configuration)?;
    rules::check(&configuration)?;
    Ok(configuration)
}

/// What an update makes of a configuration: members that were not sent stay, sent ones replace the old as a whole,
/// but for `LoggingConfig`, which merges.
///
/// # Errors
/// If AWS would refuse it.
pub(crate) fn update(
    config: &ControlConfig,
    context: &RequestContext,
    state: &State,
    before: &Configuration,
    input: &UpdateFunctionConfigurationRequest,
) -> Result<Configuration, ApiError> {
    Packaged {
        managed: input.runtime.is_some() || input.handler.is_some() || input.layers.is_some(),
        image: input.image_config.is_some(),
    }
    .check(before.runtime.is_none())?;
    check_runtime(config, input.runtime)?;
    let layers = input.layers.as_deref().map(|layers| layer::used::find(config, context, state, layers));
    let layers = layers.transpose()?;
    let old = before.rare.as_deref().cloned().unwrap_or_default();
    let rare = Rare {
        vpc: match (&input.vpc_config, old.vpc) {
            (None, kept) => kept,
            (Some(new), _) => Some(new.clone()),
        },
        vpc_id: old.vpc_id,
        // An empty target, ARN or image configuration takes the setting away.
        dead_letter: match &input.dead_letter_config {
            None => old.dead_letter,
            sent => target(sent.as_ref()),
        },
        kms_key_arn: match &input.kms_key_arn {
            None => old.kms_key_arn,
            Some(new) => Some(new.clone()).filter(|new| !new.is_empty()),
        },
        file_systems: match &input.file_system_configs {
            None => old.file_systems,
            Some(new) => Some(new.clone()).filter(|new| !new.is_empty()),
        },
        image: match &input.image_config {
            None => old.image,
            Some(new) => Some(new.clone()).filter(|new| *new != Default::default()),
        },
        layers: layers.unwrap_or(old.layers),
        accelerator: input.accelerator_config.clone().or(old.accelerator),
        managed: managed::rechosen(
            old.managed,
            input.capacity_provider_config.as_ref(),
            input.runtime.or(before.runtime),
        )?,
        durable: durable::config::rechosen(old.durable, input.durable_config.as_ref())?,
        runtime: runtime::config(
            &context.region,
            input.runtime.or(before.runtime),
            old.runtime,
            input.runtime_config.as_ref(),
        )?,
        // Decided at creation.
        tenancy: old.tenancy,
    };
    let configuration = Configuration {
        role: input.role.clone().unwrap_or_else(|| before.role.clone()),
        runtime: input.runtime.or(before.runtime),
        handler: input.handler.clone().or_else(|| before.handler.clone()),
        description: input.description.clone().unwrap_or_else(|| before.description.clone()),
        timeout: input.timeout.map_or(before.timeout, unsigned),
        memory_size: input.memory_size.map_or(before.memory_size, unsigned),
        ephemeral_storage: input
            .ephemeral_storage
            .as_ref()
            .and_then(|storage| storage.size)
            .map_or(before.ephemeral_storage, unsigned),
        environment: variables(config, input.environment.clone())?.or_else(|| before.environment.clone()),
        tracing: input.tracing_config.as_ref().and_then(|tracing| tracing.mode).unwrap_or(before.tracing),
        snap_start: input.snap_start.as_ref().and_then(|snap| snap.apply_on).unwrap_or(before.snap_start),
        logging: merge_logging(before.logging.clone(), input.logging_config.as_ref())?,
        rare: boxed(rare),
    };
    check(config, &configuration)?;
    rules::check(&configuration)?;
    Ok(configuration)
}

/// No target is the same as an empty one.
fn target(sent: Option<&DeadLetterConfig>) -> Option<DeadLetterConfig> {
    sent.filter(|sent| sent.target_arn.as_deref().is_some_and(|arn| !arn.is_empty())).cloned()
}

fn boxed(rare: Rare) -> Option<Box<Rare>> {
    (rare != Rare::default()).then(|| Box::new(rare))
}

/// Refuses variables that AWS does.
fn variables(
    config: &ControlConfig,
    environment: Option<Environment>,
) -> Result<Option<Variables>, ApiError> {
    let Some(environment) = environment else { return Ok(None) };
    let variables = environment.variables.unwrap_or_default();
    check_environment(config, &variables)?;
    Ok(Some(variables.into()))
}

/// The model's ranges start above zero.
fn unsigned(number: i32) -> u32 {
    u32::try_from(number).unwrap_or_default()
}

/// Switching to JSON sets both levels, switching back to Text removes them.
fn merge_logging(before: Logging, input: Option<&LoggingConfig>) -> Result<Logging, ApiError> {
    let Some(input) = input else { return Ok(before) };
    let format = input.log_format.unwrap_or(before.format);
    let group = input.log_group.clone().or(before.group);
    Ok(match format {
        LogFormat::Text => {
            if input.application_log_level.is_some() || input.system_log_level.is_some() {
                return Err(invalid_parameter(
                    "LogLevel is not supported when LogFormat is set to \"Text\". Remove LogLevel from your request \
                     or change the LogFormat to \"JSON\" and try again.",
                ));
            }
            Logging { format, group, application_level: None, system_level: None }
        }
        LogFormat::Json => Logging {
            format,
            group,
            application_level: input
                .application_log_level
                .or(before.application_level)
                .or(Some(ApplicationLogLevel::Info)),
            system_level: input.system_log_level.or(before.system_level).or(Some(SystemLogLevel::Info)),
        },
    })
}

fn check_runtime(config: &ControlConfig, runtime: Option<Runtime>) -> Result<(), ApiError> {
    match runtime {
        Some(runtime) if config.refuse_blocked_runtimes => runtime::check_not_blocked(runtime),
        _ => Ok(()),
    }
}

/// MB of memory that AWS's own machines have, whatever an account's quota.
const MEMORY_SIZE: u32 = 10_240;

/// Rules about the whole.
fn check(config: &ControlConfig, configuration: &Configuration) -> Result<(), ApiError> {
    if configuration.capacity_provider().is_some() {
        // The quotas below are those of Lambda's own machines.
        return managed::check_configuration(configuration);
    }
    let limits = &config.limits;
    let at_most = |limit: u32| format!("have value less than or equal to {limit}");
    if configuration.timeout > limits.timeout {
        return Err(validation("timeout", configuration.timeout, at_most(limits.timeout)));
    }
    if configuration.memory_size > MEMORY_SIZE {
        return Err(validation("memorySize", configuration.memory_size, at_most(MEMORY_SIZE)));
    }
    if configuration.memory_size > limits.memory_size {
        return Err(invalid_parameter(format!(
            "'MemorySize' value failed to satisfy constraint: Member must {}",
            at_most(limits.memory_size)
        )));
    }
    if configuration.ephemeral_storage > limits.ephemeral_storage {
        return Err(validation(
            "ephemeralStorage.size",
            configuration.ephemeral_storage,
            at_most(limits.ephemeral_storage),
        ));
    }
    Ok(())
}

fn check_environment(config: &ControlConfig, variables: &BTreeMap<String, String>) -> Result<(), ApiError> {
    const PREFIX: &str = "Lambda was unable to configure your environment variables because the environment \
                          variables you have provided";
    let reserved: Vec<&str> = variables.keys().map(String::as_str).filter(|name| is_reserved(name)).collect();
    if !reserved.is_empty() {
        return Err(invalid_parameter(format!(
            "{PREFIX} contains reserved keys that are currently not supported for modification. Reserved keys used \
             in this request: {}",
            reserved.join(", ")
        )));
    }
    let json = serde_json::to_string(variables).expect("a map of texts is always JSON");
    let limit = config.limits.environment_size;
    if json.len() > limit {
        // AWS names its own limit in KB.
        let shown =
            if limit.is_multiple_of(1024) { format!("{}KB", limit / 1024) } else { format!("{limit} bytes") };
        return Err(invalid_parameter(format!(
            "{PREFIX} exceeded the {shown} limit. String measured: {json}"
        )));
    }
    Ok(())
}

fn is_reserved(name: &str) -> bool {
    hothouse_execution::environment::env_vars::RESERVED.contains(&name)
}
