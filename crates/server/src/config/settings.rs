//! The table of options: names, aliases, defaults and one line of documentation each.
//!
//! Must not know how a value is used; `config.rs` reads each option once, with its type.

use super::values;

/// Who reads an option.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Scope {
    /// `start` and `dev`.
    Service,
    /// Commands that talk to a running service.
    Client,
}

/// How an option is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Form {
    /// `--name VALUE`.
    One,
    /// `--name VALUE`, repeatable; a comma separates values in a variable.
    Many,
    /// `--name` or `--name=BOOLEAN`.
    Switch,
}

/// One option. Its flag is `--NAME`, its key in the file `NAME`, its variable `HOTHOUSE_NAME`.
#[derive(Debug)]
pub(crate) struct Setting {
    /// Lower case, words joined by hyphens.
    pub(crate) name: &'static str,
    /// Who reads it.
    pub(crate) scope: Scope,
    /// How it is written.
    pub(crate) form: Form,
    /// Name of the value in help.
    pub(crate) value: &'static str,
    /// Values if nobody gives any.
    pub(crate) default: &'static [&'static str],
    /// Said instead of the default where that depends on the machine.
    pub(crate) default_note: &'static str,
    /// Other programs' variables for the same thing, first wins.
    pub(crate) aliases: &'static [Alias],
    /// One line.
    pub(crate) doc: &'static str,
}

/// Another program's variable for an option.
#[derive(Debug)]
pub(crate) struct Alias {
    /// The variable.
    pub(crate) name: &'static str,
    /// How its values differ from the option's, for the documentation; empty if they do not.
    pub(crate) meaning: &'static str,
    /// Translates its value into the option's form, or says what it should be.
    pub(crate) read: fn(&str) -> Result<String, String>,
}

impl Setting {
    /// Name of its own environment variable.
    pub(crate) fn variable(&self) -> String {
        format!("HOTHOUSE_{}", self.name.to_uppercase().replace('-', "_"))
    }

    /// A variable's text as the option's values.
    pub(crate) fn split(&self, text: &str) -> Vec<String> {
        match self.form {
            Form::Many => {
                text.split(',').map(str::trim).filter(|part| !part.is_empty()).map(str::to_owned).collect()
            }
            Form::One | Form::Switch => vec![text.to_owned()],
        }
    }
}

const fn service(name: &'static str, value: &'static str, doc: &'static str) -> Setting {
    Setting {
        name,
        scope: Scope::Service,
        form: Form::One,
        value,
        default: &[],
        default_note: "",
        aliases: &[],
        doc,
    }
}

const fn client(name: &'static str, value: &'static str, doc: &'static str) -> Setting {
    Setting { scope: Scope::Client, ..service(name, value, doc) }
}

const fn same(name: &'static str) -> Alias {
    Alias { name, meaning: "", read: |text| Ok(text.to_owned()) }
}

/// Every option, in the order in which people meet them.
pub(crate) static SETTINGS: &[Setting] = &[
    Setting {
        form: Form::Many,
        default: &["127.0.0.1:4566"],
        aliases: &[same("GATEWAY_LISTEN")],
        ..service("listen", "ADDRESS", "Address to serve the API on; may be repeated")
    },
    Setting {
        default_note: "`hothouse` in the XDG data home",
        ..service("data-dir", "DIR", "Where functions, code, logs and SDKs for functions are kept")
    },
    Setting {
        form: Form::Switch,
        default: &["false"],
        aliases: &[Alias { name: "PERSISTENCE", meaning: "reversed", read: values::negated }],
        ..service("ephemeral", "BOOLEAN", "Keep everything in memory and forget it at exit")
    },
    Setting {
        ..service("aws-endpoint", "URL", "Endpoint that requests for all other AWS services are forwarded to")
    },
    Setting {
        ..service("aws-endpoint-ca", "FILE", "PEM file with the authority of an HTTPS `--aws-endpoint`")
    },
    Setting { ..service("aws-endpoint-key", "ID", "Access key id to sign forwarded requests with anew") },
    Setting { ..service("aws-endpoint-secret", "SECRET", "Secret that belongs to `--aws-endpoint-key`") },
    Setting {
        form: Form::Many,
        ..service(
            "allow-host",
            "NAME",
            "Host name, besides loopback ones, that requests may be addressed to; `.NAME` with its subdomains",
        )
    },
    Setting {
        form: Form::Many,
        aliases: &[same("EXTRA_CORS_ALLOWED_ORIGINS")],
        ..service("allow-origin", "ORIGIN", "Web origin whose pages may use the API")
    },
    Setting {
        form: Form::Many,
        default_note: "nothing is checked",
        ..service(
            "auth",
            "CHECKS",
            "Checks on callers: sigv4 (signatures, with the keys of `--auth-keys`), policies (what functions' policies \
             say about services and deny to their own account), or both with a comma",
        )
    },
    Setting {
        ..service(
            "auth-keys",
            "FILE",
            "Keys for `--auth sigv4`, like ~/.aws/credentials; `aws_account_id` and `principal_arn` tell whose they are. \
             Function URLs of `AWS_IAM` always verify signatures: without the option with keys from STS, and with \
             `test` or an account's number, whose secret is `test`",
        )
    },
    Setting {
        default: &["10m"],
        aliases: &[Alias {
            name: "LAMBDA_KEEPALIVE_MS",
            meaning: "milliseconds",
            read: values::milliseconds,
        }],
        ..service(
            "keep-alive",
            "DURATION",
            "How long an idle environment stays warm; 0s ends it after each invocation",
        )
    },
    Setting {
        default: &["20s"],
        aliases: &[Alias {
            name: "LAMBDA_RUNTIME_ENVIRONMENT_TIMEOUT",
            meaning: "seconds",
            read: values::seconds,
        }],
        ..service("environment-startup-timeout", "DURATION", "How long an environment may take to come up")
    },
    Setting {
        form: Form::Switch,
        default: &["false"],
        aliases: &[same("LAMBDA_DEBUG_MODE")],
        ..service("debug", "BOOLEAN", "Let debuggers attach to functions, and lift their time limits")
    },
    Setting {
        aliases: &[same("LAMBDA_DEBUG_MODE_CONFIG_PATH")],
        ..service(
            "debug-config",
            "FILE",
            "YAML file with the functions to debug and their ports; no others are",
        )
    },
    Setting {
        default: &["0ms"],
        aliases: &[Alias {
            name: "LAMBDA_INIT_POST_INVOKE_WAIT_MS",
            meaning: "milliseconds",
            read: values::milliseconds,
        }],
        ..service(
            "post-invoke-wait",
            "DURATION",
            "How long an answer is held back for what the function still logs in the background",
        )
    },
    Setting {
        default: &["sbx_user1051"],
        aliases: &[
            same("LAMBDA_INIT_USER"),
            Alias { name: "LAMBDA_INIT_DEBUG", meaning: "`1`: root", read: values::debugged_user },
        ],
        ..service(
            "function-user",
            "NAME",
            "User that functions see themselves as; `root` is user 0 inside only",
        )
    },
    Setting {
        form: Form::Switch,
        default: &["true"],
        aliases: &[Alias {
            name: "LAMBDA_DISABLE_AWS_ENDPOINT_URL",
            meaning: "reversed",
            read: values::negated,
        }],
        ..service(
            "inject-aws-endpoint",
            "BOOLEAN",
            "Set AWS_ENDPOINT_URL in functions, so that their AWS calls come here",
        )
    },
    Setting {
        form: Form::Switch,
        default: &["false"],
        aliases: &[same("LAMBDA_SYNCHRONOUS_CREATE")],
        ..service(
            "synchronous-create",
            "BOOLEAN",
            "Answer CreateFunction and updates only when the function is active",
        )
    },
    Setting {
        default: &["60s"],
        aliases: &[Alias {
            name: "LAMBDA_RETRY_BASE_DELAY_SECONDS",
            meaning: "seconds",
            read: values::seconds,
        }],
        ..service(
            "retry-base-delay",
            "DURATION",
            "Pause before an asynchronous invocation's first retry; twice as long before the second",
        )
    },
    Setting {
        default: &["0s"],
        ..service("function-create-delay", "DURATION", "How long a new function or version is Pending")
    },
    Setting {
        default: &["0s"],
        ..service("function-update-delay", "DURATION", "How long the update of a function is InProgress")
    },
    Setting {
        default: &["0s"],
        ..service(
            "function-idle-delay",
            "DURATION",
            "How long nobody invokes a function with a VPC, an image or a snapshot until it is Inactive; 0s is for ever",
        )
    },
    Setting {
        default: &["0s"],
        ..service(
            "event-source-mapping-delay",
            "DURATION",
            "How long an event source mapping is Creating, Enabling, Disabling, Updating or Deleting",
        )
    },
    Setting {
        default: &["0s"],
        ..service(
            "capacity-provider-delay",
            "DURATION",
            "How long a capacity provider is Pending or Deleting, and a function on it Deactivating or Deleting",
        )
    },
    Setting {
        default: &["0s"],
        ..service(
            "provisioned-concurrency-delay",
            "DURATION",
            "How long provisioned concurrency is IN_PROGRESS",
        )
    },
    Setting {
        default: &["best"],
        ..service("isolation", "LEVEL", "Isolation that environments must have: best, full, partial or none")
    },
    Setting {
        default: &["auto"],
        ..service(
            "network",
            "MODE",
            "Network of environments: auto (their own), isolated (without a way out) or host",
        )
    },
    Setting {
        default: &["on"],
        ..service(
            "freeze",
            "on|off",
            "Stop the processes of idle environments until their next event, as AWS does",
        )
    },
    Setting {
        default: &["off"],
        ..service(
            "shape-streamed-responses",
            "on|off",
            "Give streamed answers AWS's bandwidth: 6 MB at once, then 2 MB per second",
        )
    },
    Setting {
        default: &["on"],
        ..service(
            "cpu-limit",
            "on|off",
            "Give functions the share of CPUs that their memory size buys, as AWS does",
        )
    },
    Setting {
        default: &["128MiB"],
        ..service(
            "ready-memory",
            "SIZE",
            "Memory for interpreters and sandboxes that are started ahead of the next cold starts; 0 starts none",
        )
    },
    Setting {
        default_note: "as many as fit into memory, up to 1000",
        ..service(
            "max-environments",
            "NUMBER",
            "Environments at once, over all functions; beyond it the least recently used idle ones give way",
        )
    },
    Setting {
        form: Form::Switch,
        default: &["false"],
        ..service("strict-runtimes", "BOOLEAN", "Refuse a runtime whose exact version is not installed")
    },
    Setting {
        form: Form::Switch,
        default: &["false"],
        ..service("official-clients", "BOOLEAN", "Use AWS's own runtime clients where they are installed")
    },
    Setting {
        form: Form::Many,
        ..service(
            "runtime-path",
            "RUNTIME=PATH",
            "Interpreter for a runtime (`python3.12`) or a language (`python`)",
        )
    },
    Setting {
        default: &["2s"],
        ..service("shutdown-timeout", "DURATION", "How long running invocations may go on after a signal")
    },
    Setting {
        default: &["warn"],
        aliases: &[Alias { name: "LS_LOG", meaning: "", read: values::localstack_log_level }],
        ..service("log-level", "LEVEL", "What to log: error, warn, info, debug, trace, or tracing directives")
    },
    Setting {
        default: &["1000"],
        aliases: &[same("LAMBDA_LIMITS_CONCURRENT_EXECUTIONS")],
        ..service("limit-concurrent-executions", "NUMBER", "Invocations at once in an account and region")
    },
    Setting {
        default: &["10"],
        ..service(
            "limit-invocation-rate",
            "NUMBER",
            "Invocations per second for each that may run at once; 0: any number",
        )
    },
    Setting {
        default: &["1000"],
        ..service(
            "limit-scaling-rate",
            "NUMBER",
            "Environments that one function may get within 10 seconds; 0: any number",
        )
    },
    Setting {
        default: &["100"],
        aliases: &[same("LAMBDA_LIMITS_MINIMUM_UNRESERVED_CONCURRENCY")],
        ..service(
            "limit-minimum-unreserved-concurrency",
            "NUMBER",
            "Concurrency that no function may reserve",
        )
    },
    Setting {
        default: &["80530636800"],
        aliases: &[same("LAMBDA_LIMITS_TOTAL_CODE_SIZE")],
        ..service("limit-total-code-size", "SIZE", "All archives of an account and region together")
    },
    Setting {
        default: &["52428800"],
        aliases: &[same("LAMBDA_LIMITS_CODE_SIZE_ZIPPED")],
        ..service("limit-code-size-zipped", "SIZE", "One uploaded archive")
    },
    Setting {
        default: &["262144000"],
        aliases: &[same("LAMBDA_LIMITS_CODE_SIZE_UNZIPPED")],
        ..service("limit-code-size-unzipped", "SIZE", "One function's extracted code, layers included")
    },
    Setting {
        default: &["70167211"],
        aliases: &[same("LAMBDA_LIMITS_CREATE_FUNCTION_REQUEST_SIZE")],
        ..service(
            "limit-create-function-request-size",
            "SIZE",
            "Body of CreateFunction and UpdateFunctionCode",
        )
    },
    Setting {
        default: &["4096"],
        aliases: &[same("LAMBDA_LIMITS_MAX_FUNCTION_ENVVAR_SIZE_BYTES")],
        ..service("limit-max-function-envvar-size", "SIZE", "A function's environment variables")
    },
    Setting {
        // AWS documents 6 MB; what it enforces is 6 MiB and 100 bytes.
        default: &["6291556"],
        aliases: &[same("LAMBDA_LIMITS_MAX_FUNCTION_PAYLOAD_SIZE_BYTES")],
        ..service("limit-max-function-payload-size", "SIZE", "Event and answer of a synchronous invocation")
    },
    Setting {
        default: &["209715200"],
        ..service("limit-max-streamed-response-size", "SIZE", "Answer that a function streams")
    },
    Setting {
        // What all accounts can have; many new ones have 3008.
        default: &["10240"],
        ..service("limit-memory-size", "NUMBER", "A function's memory, in MB")
    },
    Setting {
        default: &["http://127.0.0.1:4566"],
        aliases: &[same("AWS_ENDPOINT_URL")],
        ..client("endpoint", "URL", "Running service that a command talks to")
    },
    Setting {
        default: &["us-east-1"],
        aliases: &[same("AWS_REGION"), same("AWS_DEFAULT_REGION")],
        ..client("region", "REGION", "Region that a command works in")
    },
    Setting { default: &["000000000000"], ..client("account", "ID", "Account that a command works in") },
    Setting {
        default_note: "AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, else default",
        aliases: &[same("AWS_PROFILE")],
        ..client(
            "profile",
            "NAME",
            "Profile with the key to sign with, where the service runs with `--auth sigv4`",
        )
    },
    Setting {
        default_note: "~/.aws/credentials",
        aliases: &[same("AWS_SHARED_CREDENTIALS_FILE")],
        ..client("credentials-file", "FILE", "File of the profile")
    },
];
