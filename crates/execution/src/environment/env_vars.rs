//! The environment variables of a runtime process.
//!
//! Pure: whatever differs between two environments comes in as an argument.

use std::{collections::BTreeMap, time::Duration};

use hothouse_api::generated::LogFormat;

use crate::{
    ports::Credentials,
    runtime_api,
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
    /// What is shown for credentials where they are asked for instead of given: where there is a snapshot.
    pub credentials_token: Option<&'a str>,
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

/// Variables that extensions are not given (AWS: Lambda Extensions API, environment variables).
const NOT_FOR_EXTENSIONS: &[&str] = &[
    "AWS_EXECUTION_ENV",
    "AWS_LAMBDA_LOG_GROUP_NAME",
    "AWS_LAMBDA_LOG_STREAM_NAME",
    "AWS_XRAY_CONTEXT_MISSING",
    "AWS_XRAY_DAEMON_ADDRESS",
    "LAMBDA_RUNTIME_DIR",
    "LAMBDA_TASK_ROOT",
];

/// Of a runtime's variables, those that its external extensions have, too. What the runtime has for its language is not
/// among them.
pub fn of_extensions(
    spec: &FunctionSpec,
    plan: &Plan,
    runtime: &[(String, String)],
) -> Vec<(String, String)> {
    let search_paths = ["PATH", "LD_LIBRARY_PATH"];
    let is_of_the_language = |name: &str| {
        plan.environment.iter().any(|(of_plan, _)| of_plan == name)
            && !search_paths.contains(&name)
            && !spec.environment.contains_key(name)
    };
    let given = runtime.iter().filter(|(name, _)| {
        !name.starts_with('_') && !NOT_FOR_EXTENSIONS.contains(&name.as_str()) && !is_of_the_language(name)
    });
    given.cloned().collect()
}

/// Variables of a process that is not known to be any function's yet.
pub(crate) fn early(plan: &Plan) -> Vec<(String, String)> {
    let mut variables = plan.environment.clone();
    variables.extend(
        [("LANG", "en_US.UTF-8"), ("TZ", ":UTC")].map(|(name, value)| (name.to_owned(), value.to_owned())),
    );
    variables
}

fn defaults(inputs: &Inputs<'_>) -> Vec<(String, String)> {
    let mut defaults = early(inputs.plan);
    let mut set = |name: &str, value: String| defaults.push((name.to_owned(), value));
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
    set("AWS_LAMBDA_RUNTIME_API", &inputs.runtime_api);
    set("LAMBDA_TASK_ROOT", &inputs.plan.roots.task.display());
    set("LAMBDA_RUNTIME_DIR", &inputs.plan.roots.runtime.display());
    // Images name their command themselves.
    if !spec.handler.is_empty() {
        set("_HANDLER", &spec.handler);
    }
    if spec.logging.format == LogFormat::Json {
        set("AWS_LAMBDA_LOG_FORMAT", &"JSON");
        if let Some(level) = &spec.logging.application_level {
            set("AWS_LAMBDA_LOG_LEVEL", &level.as_str());
        }
    }
    if !matches!(family, Family::Provided) {
        set("AWS_EXECUTION_ENV", &format_args!("AWS_Lambda_{}", spec.runtime.as_str()));
    }

    if let Some(token) = inputs.credentials_token {
        // What is in a snapshot must suit all environments that come from it, whenever they do: it names neither a log
        // stream nor keys.
        let address = format!("http://{}{}", inputs.runtime_api, runtime_api::CREDENTIALS);
        set("AWS_CONTAINER_CREDENTIALS_FULL_URI", &address);
        set("AWS_CONTAINER_AUTHORIZATION_TOKEN", &token);
    } else {
        set("AWS_LAMBDA_LOG_GROUP_NAME", &spec.logging.group);
        set("AWS_LAMBDA_LOG_STREAM_NAME", &inputs.log_stream);
        set("AWS_ACCESS_KEY_ID", &inputs.credentials.access_key_id);
        set("AWS_SECRET_ACCESS_KEY", &inputs.credentials.secret_access_key);
        set("AWS_SESSION_TOKEN", &inputs.credentials.session_token);
        // The first SDK for Java read these names; only the oldest runtimes still set them.
        if matches!(family, Family::Managed(Language::Java, Line { major: ..=11, .. })) {
            set("AWS_ACCESS_KEY", &inputs.credentials.access_key_id);
            set("AWS_SECRET_KEY", &inputs.credentials.secret_access_key);
        }
    }

    let (host, port) = inputs.xray_daemon.rsplit_once(':').unwrap_or((inputs.xray_daemon, "2000"));
    set("_AWS_XRAY_DAEMON_ADDRESS", &host);
    set("_AWS_XRAY_DAEMON_PORT", &port);
    if inputs.plan.own_client {
        set("_HOTHOUSE_RUNTIME_API", &format_args!("3@{}", inputs.runtime_api));
    }
    variables.into_iter().map(|(name, value)| (name.to_owned(), value)).collect()
}

#[cfg(test)]
mod tests {
    use hothouse_api::generated::{ApplicationLogLevel, Runtime};

    use super::*;
    use crate::runtimes::{self, Roots, fixtures};

    const RECORDED: &str = include_str!("env_vars_recorded.txt");

    fn spec(runtime: &str) -> FunctionSpec {
        let test_variable = ("TEST_KEY".to_owned(), "TEST_VAL".to_owned());
        FunctionSpec { environment: [test_variable].into(), ..fixtures::spec(runtime) }
    }

    fn plan(spec: &FunctionSpec) -> Plan {
        let roots = Roots::sandbox();
        let runtime = spec.runtime.as_str();
        Plan {
            argv: Vec::new(),
            mounts: Vec::new(),
            environment: runtimes::variables(Family::of(runtime), runtime, &roots),
            roots,
            own_client: false,
            telemetry: false,
            interpreter: None,
            debugger: runtimes::Debugger::default(),
            training: None,
            warning: None,
        }
    }

    fn variables_of(spec: &FunctionSpec, change: impl FnOnce(&mut Inputs<'_>)) -> BTreeMap<String, String> {
        let credentials = Credentials {
            access_key_id: "KEY".to_owned(),
            secret_access_key: "SECRET".to_owned(),
            session_token: "TOKEN".to_owned(),
        };
        let plan = plan(spec);
        let mut inputs = Inputs {
            plan: &plan,
            credentials: &credentials,
            log_stream: "STREAM",
            runtime_api: "169.254.100.1:9001",
            xray_daemon: "169.254.100.1:2000",
            service: None,
            initialization_type: "on-demand",
            credentials_token: None,
            timeout: spec.timeout,
        };
        change(&mut inputs);
        variables(spec, &inputs).into_iter().collect()
    }

    #[test]
    fn recorded_environments_are_reproduced() {
        let lines =
            || RECORDED.lines().filter(|line| !line.starts_with('#')).filter_map(|line| line.split_once(' '));
        let runtimes: std::collections::BTreeSet<&str> =
            lines().map(|(runtime, _)| runtime).filter(|runtime| *runtime != "*").collect();
        assert_eq!(runtimes.len(), 12);
        for runtime in runtimes {
            let recorded: BTreeMap<String, String> = lines()
                .filter(|(of, _)| *of == "*" || *of == runtime)
                .filter_map(|(_, variable)| variable.split_once('='))
                .map(|(name, value)| (name.to_owned(), value.to_owned()))
                .collect();
            let mut ours = variables_of(&spec(runtime), |_| {});
            // Ours in addition to AWS's.
            assert_eq!(ours.remove("AWS_LAMBDA_FUNCTION_TIMEOUT").as_deref(), Some("3"));
            // Taken out by these clients before a handler can see it.
            if !runtime.starts_with("java") {
                assert_eq!(ours.remove("_LAMBDA_TELEMETRY_LOG_FD").as_deref(), Some("62"), "{runtime}");
            }
            assert_eq!(ours, recorded, "{runtime}");
        }
    }

    #[test]
    fn a_snapshot_holds_neither_keys_nor_a_log_stream() {
        let spec = spec("python3.12");
        let usual = variables_of(&spec, |_| {});
        let ours = variables_of(&spec, |inputs| {
            inputs.initialization_type = "snap-start";
            inputs.credentials_token = Some("T");
        });
        let more = |one: &BTreeMap<String, String>, other: &BTreeMap<String, String>| {
            one.keys().filter(|name| !other.contains_key(*name)).cloned().collect::<Vec<_>>()
        };
        assert_eq!(
            more(&usual, &ours),
            [
                "AWS_ACCESS_KEY_ID",
                "AWS_LAMBDA_LOG_GROUP_NAME",
                "AWS_LAMBDA_LOG_STREAM_NAME",
                "AWS_SECRET_ACCESS_KEY",
                "AWS_SESSION_TOKEN"
            ]
        );
        assert_eq!(
            more(&ours, &usual),
            ["AWS_CONTAINER_AUTHORIZATION_TOKEN", "AWS_CONTAINER_CREDENTIALS_FULL_URI"]
        );
        assert_eq!(
            ours["AWS_CONTAINER_CREDENTIALS_FULL_URI"],
            "http://169.254.100.1:9001/2021-04-23/credentials"
        );
        assert_eq!(ours["AWS_CONTAINER_AUTHORIZATION_TOKEN"], "T");
    }

    #[test]
    fn custom_runtimes_have_no_language() {
        let al2023 = variables_of(&spec("provided.al2023"), |_| {});
        assert_eq!(al2023["PATH"], "/var/lang/bin:/usr/local/bin:/usr/bin/:/bin:/opt/bin");
        let al2 = variables_of(&spec("provided.al2"), |_| {});
        assert_eq!(al2["PATH"], "/usr/local/bin:/usr/bin/:/bin:/opt/bin");
        assert_eq!(
            al2["LD_LIBRARY_PATH"],
            "/lib64:/usr/lib64:/var/runtime:/var/runtime/lib:/var/task:/var/task/lib:/opt/lib"
        );
        for absent in ["PWD", "SHLVL", "AWS_EXECUTION_ENV", "_LAMBDA_TELEMETRY_LOG_FD"] {
            assert!(!al2023.contains_key(absent), "{absent}");
        }
    }

    #[test]
    fn customers_override_defaults_but_not_the_platform() {
        let mut spec = spec("python3.12");
        for name in ["PATH", "TZ", "PYTHONPATH", "AWS_ENDPOINT_URL", "AWS_REGION", "AWS_SESSION_TOKEN"] {
            spec.environment.insert(name.to_owned(), "mine".to_owned());
        }
        let variables = variables_of(&spec, |inputs| {
            inputs.service = Some(Service { host: "127.0.0.1", port: 4566, announce: true });
        });
        for name in ["PATH", "TZ", "PYTHONPATH", "AWS_ENDPOINT_URL"] {
            assert_eq!(variables[name], "mine", "{name}");
        }
        assert_eq!(variables["AWS_REGION"], "us-east-1");
        assert_eq!(variables["AWS_SESSION_TOKEN"], "TOKEN");
    }

    #[test]
    fn the_service_is_announced_unless_that_is_disabled() {
        let spec = spec("nodejs22.x");
        let service = Service { host: "127.0.0.1", port: 4566, announce: true };
        let announced = variables_of(&spec, |inputs| inputs.service = Some(service));
        assert_eq!(announced["AWS_ENDPOINT_URL"], "http://127.0.0.1:4566");
        let silent =
            variables_of(&spec, |inputs| inputs.service = Some(Service { announce: false, ..service }));
        assert!(!silent.contains_key("AWS_ENDPOINT_URL"));
        assert_eq!(
            (silent["LOCALSTACK_HOSTNAME"].as_str(), silent["EDGE_PORT"].as_str()),
            ("127.0.0.1", "4566")
        );
    }

    #[test]
    fn extensions_have_what_is_not_the_runtimes_own() {
        let mut spec = spec("python3.12");
        spec.environment.insert("PYTHONPATH".to_owned(), "/mine".to_owned());
        let plan = plan(&spec);
        let runtime: Vec<_> = variables_of(&spec, |_| {}).into_iter().collect();
        let ours: BTreeMap<_, _> = of_extensions(&spec, &plan, &runtime).into_iter().collect();
        for given in ["PATH", "AWS_LAMBDA_RUNTIME_API", "AWS_REGION", "AWS_ACCESS_KEY_ID", "TEST_KEY", "TZ"] {
            assert!(ours.contains_key(given), "{given}");
        }
        assert_eq!(ours["PYTHONPATH"], "/mine");
        for absent in
            NOT_FOR_EXTENSIONS.iter().chain(&["_HANDLER", "_AWS_XRAY_DAEMON_PORT", "LC_CTYPE", "PWD"])
        {
            assert!(!ours.contains_key(*absent), "{absent}");
        }
    }

    #[test]
    fn who_has_no_handler_is_told_none() {
        let mut spec = spec("provided.al2023");
        assert_eq!(variables_of(&spec, |_| {})["_HANDLER"], "index.handler");
        spec.handler = String::new();
        assert!(!variables_of(&spec, |_| {}).contains_key("_HANDLER"));
    }

    #[test]
    fn log_settings_are_told_with_json_only() {
        let mut spec = spec("python3.13");
        spec.logging.application_level = Some(ApplicationLogLevel::Debug);
        assert!(!variables_of(&spec, |_| {}).contains_key("AWS_LAMBDA_LOG_LEVEL"));
        spec.logging.format = LogFormat::Json;
        let variables = variables_of(&spec, |_| {});
        assert_eq!(variables["AWS_LAMBDA_LOG_FORMAT"], "JSON");
        assert_eq!(variables["AWS_LAMBDA_LOG_LEVEL"], "DEBUG");
    }

    #[test]
    fn debugging_has_a_longer_limit_and_our_client_a_descriptor() {
        let spec = spec("python3.13");
        let mut plan = plan(&spec);
        plan.own_client = true;
        let variables = variables_of(&spec, |inputs| inputs.timeout = Duration::from_secs(3600));
        assert_eq!(variables["AWS_LAMBDA_FUNCTION_TIMEOUT"], "3600");
        assert!(!variables.contains_key("_HOTHOUSE_RUNTIME_API"));
        let credentials = Credentials {
            access_key_id: String::new(),
            secret_access_key: String::new(),
            session_token: String::new(),
        };
        let inputs = Inputs {
            plan: &plan,
            credentials: &credentials,
            log_stream: "",
            runtime_api: "127.0.0.1:9001",
            xray_daemon: "127.0.0.1:2000",
            service: None,
            initialization_type: "on-demand",
            credentials_token: None,
            timeout: spec.timeout,
        };
        let own: BTreeMap<_, _> = super::variables(&spec, &inputs).into_iter().collect();
        assert_eq!(own["_HOTHOUSE_RUNTIME_API"], "3@127.0.0.1:9001");
    }

    #[test]
    fn every_platform_variable_that_aws_knows_is_reserved() {
        // These are Hothouse's own or, on AWS, not reserved.
        let unreserved = ["AWS_LAMBDA_FUNCTION_TIMEOUT", "_AWS_XRAY_DAEMON_ADDRESS", "_AWS_XRAY_DAEMON_PORT"];
        for runtime in [Runtime::Java11, Runtime::Python313] {
            let mut spec = spec(runtime.as_str());
            spec.logging.format = LogFormat::Json;
            spec.logging.application_level = Some(ApplicationLogLevel::Info);
            let plan = plan(&spec);
            let credentials = Credentials {
                access_key_id: String::new(),
                secret_access_key: String::new(),
                session_token: String::new(),
            };
            let inputs = Inputs {
                plan: &plan,
                credentials: &credentials,
                log_stream: "",
                runtime_api: "",
                xray_daemon: "127.0.0.1:2000",
                service: None,
                initialization_type: "on-demand",
                credentials_token: None,
                timeout: spec.timeout,
            };
            for (name, _) in platform(&spec, &inputs) {
                assert!(RESERVED.contains(&name.as_str()) || unreserved.contains(&name.as_str()), "{name}");
            }
        }
    }
}
