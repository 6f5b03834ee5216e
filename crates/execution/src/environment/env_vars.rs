//! The environment variables of a runtime process.
//!
//! Pure: whatever differs between two environments comes in as an argument.

use std::{collections::BTreeMap, time::Duration};

use hothouse_api::generated::LogFormat;

use crate::{
    ports::Credentials,
    runtimes::{Family, Language, Line, Plan},
    spec::FunctionSpec,
};

/// Variables that customers may not set: CreateFunction and UpdateFunctionConfiguration refuse them
/// (AWS: "Defined runtime environment variables").
pub const RESERVED: &[&str] = &[
    "AWS_ACCESS_KEY",
    "AWS_ACCESS_KEY_ID",
    "AWS_DEFAULT_REGION",
    "AWS_EXECUTION_ENV",
    "AWS_LAMBDA_FUNCTION_MEMORY_SIZE",
    "AWS_LAMBDA_FUNCTION_NAME",
    "AWS_LAMBDA_FUNCTION_VERSION",
    "AWS_LAMBDA_INITIALIZATION_TYPE",
    "AWS_LAMBDA_LOG_FORMAT",
    "AWS_LAMBDA_LOG_GROUP_NAME",
    "AWS_LAMBDA_LOG_LEVEL",
    "AWS_LAMBDA_LOG_STREAM_NAME",
    "AWS_LAMBDA_MAX_CONCURRENCY",
    "AWS_LAMBDA_RUNTIME_API",
    "AWS_REGION",
    "AWS_SECRET_ACCESS_KEY",
    "AWS_SECRET_KEY",
    "AWS_SESSION_TOKEN",
    "LAMBDA_RUNTIME_DIR",
    "LAMBDA_TASK_ROOT",
    "_HANDLER",
    "_X_AMZN_TRACE_ID",
];

/// What one environment adds to its version.
#[derive(Debug, Clone, Copy)]
pub struct Inputs<'a> {
    /// How the process is started.
    pub plan: &'a Plan,
    /// The execution role's credentials.
    pub credentials: &'a Credentials,
    /// `YYYY/MM/DD/[VERSION]ENVIRONMENT`.
    pub log_stream: &'a str,
    /// `HOST:PORT` of the Runtime API, as the process reaches it.
    pub runtime_api: &'a str,
    /// `HOST:PORT` that X-Ray segments are sent to.
    pub xray_daemon: &'a str,
    /// The service itself, as the process reaches it; `None` where it cannot.
    pub service: Option<Service<'a>>,
    /// `on-demand`, `provisioned-concurrency`…
    pub initialization_type: &'a str,
    /// The time limit that is enforced: the function's, or the longer one of debugging.
    pub timeout: Duration,
}

/// How the function's own AWS calls come back to the service.
#[derive(Debug, Clone, Copy)]
pub struct Service<'a> {
    /// Host name or address.
    pub host: &'a str,
    /// Port.
    pub port: u16,
    /// Whether SDKs are pointed at it (`AWS_ENDPOINT_URL`).
    pub announce: bool,
}

/// Every variable of the process, sorted by name.
///
/// Later ones win: defaults that customers may override, then the customer's, then what is the platform's alone.
pub fn variables(spec: &FunctionSpec, inputs: &Inputs<'_>) -> Vec<(String, String)> {
    let mut variables = BTreeMap::new();
    variables.extend(defaults(inputs));
    variables.extend(spec.environment.iter().map(|(name, value)| (name.clone(), value.clone())));
    variables.extend(platform(spec, inputs));
    variables.into_iter().collect()
}

fn defaults(inputs: &Inputs<'_>) -> Vec<(String, String)> {
    let mut defaults = inputs.plan.environment.clone();
    let mut set = |name: &str, value: String| defaults.push((name.to_owned(), value));
    set("LANG", "en_US.UTF-8".to_owned());
    set("TZ", ":UTC".to_owned());
    set("AWS_XRAY_CONTEXT_MISSING", "LOG_ERROR".to_owned());
    set("AWS_XRAY_DAEMON_ADDRESS", inputs.xray_daemon.to_owned());
    if let Some(service) = inputs.service {
        set("LOCALSTACK_HOSTNAME", service.host.to_owned());
        set("EDGE_PORT", service.port.to_string());
        if service.announce {
            set("AWS_ENDPOINT_URL", format!("http://{}:{}", service.host, service.port));
        }
    }
    defaults
}

fn platform(spec: &FunctionSpec, inputs: &Inputs<'_>) -> Vec<(String, String)> {
    let mut variables: Vec<(&str, String)> = Vec::new();
    let mut set = |name, value: &dyn ToString| variables.push((name, value.to_string()));

    let family = Family::of(spec.runtime.as_str());
    set("AWS_REGION", &spec.region);
    set("AWS_DEFAULT_REGION", &spec.region);
    set("AWS_LAMBDA_FUNCTION_NAME", &spec.function_name);
    set("AWS_LAMBDA_FUNCTION_VERSION", &spec.version);
    set("AWS_LAMBDA_FUNCTION_MEMORY_SIZE", &spec.memory_mb);
    set("AWS_LAMBDA_FUNCTION_TIMEOUT", &inputs.timeout.as_secs());
    set("AWS_LAMBDA_INITIALIZATION_TYPE", &inputs.initialization_type);
    set("AWS_LAMBDA_LOG_GROUP_NAME", &spec.logging.group);
    set("AWS_LAMBDA_LOG_STREAM_NAME", &inputs.log_stream);
    set("AWS_LAMBDA_RUNTIME_API", &inputs.runtime_api);
    set("LAMBDA_TASK_ROOT", &inputs.plan.roots.task.display());
    set("LAMBDA_RUNTIME_DIR", &inputs.plan.roots.runtime.display());
    set("_HANDLER", &spec.handler);
    if spec.logging.format == LogFormat::Json {
        set("AWS_LAMBDA_LOG_FORMAT", &"JSON");
        if let Some(level) = &spec.logging.application_level {
            set("AWS_LAMBDA_LOG_LEVEL", &level.as_str());
        }
    }
    if !matches!(family, Family::Provided) {
        set("AWS_EXECUTION_ENV", &format_args!("AWS_Lambda_{}", spec.runtime.as_str()));
    }

    set("AWS_ACCESS_KEY_ID", &inputs.credentials.access_key_id);
    set("AWS_SECRET_ACCESS_KEY", &inputs.credentials.secret_access_key);
    set("AWS_SESSION_TOKEN", &inputs.credentials.session_token);
    // The first SDK for Java read these names; only the oldest runtimes still set them.
    if matches!(family, Family::Managed(Language::Java, Line { major: ..=11, .. })) {
        set("AWS_ACCESS_KEY", &inputs.credentials.access_key_id);
        set("AWS_SECRET_KEY", &inputs.credentials.secret_access_key);
    }

    let (host, port) = inputs.xray_daemon.rsplit_once(':').unwrap_or((inputs.xray_daemon, "2000"));
    set("_AWS_XRAY_DAEMON_ADDRESS", &host);
    set("_AWS_XRAY_DAEMON_PORT", &port);
    if inputs.plan.own_client {
        set("_HOTHOUSE_RUNTIME_API", &format_args!("3@{}", inputs.runtime_api));
    }
    variables.into_iter().map(|(name, value)| (name.to_owned(), value)).collect()
}
