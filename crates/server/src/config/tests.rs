//! Sources, precedence and mistakes. Must not read the environment of the process.

use std::{collections::BTreeMap, path::Path, time::Duration};

use super::*;

#[derive(Default)]
struct Variables(BTreeMap<&'static str, &'static str>);

impl Environment for Variables {
    fn get(&self, name: &str) -> Option<String> {
        self.0.get(name).map(|&value| value.to_owned())
    }
}

fn variables<const N: usize>(pairs: [(&'static str, &'static str); N]) -> Variables {
    let mut variables = BTreeMap::from([("HOME", "/home/someone")]);
    variables.extend(pairs);
    Variables(variables)
}

fn flags<const N: usize>(pairs: [(&'static str, &str); N]) -> Flags {
    let values = pairs.into_iter().map(|(name, value)| (name, vec![value.to_owned()])).collect();
    Flags { config_file: None, values }
}

fn with_file(contents: &str) -> (tempfile::TempDir, Flags) {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("hothouse.toml");
    std::fs::write(&path, contents).unwrap();
    (folder, Flags { config_file: Some(path), values: BTreeMap::new() })
}

fn service(flags: &Flags, variables: &Variables) -> Result<ServiceConfig, ConfigError> {
    Configuration::read(flags, variables)?.service()
}

/// What the user sees, on one line a part.
fn message(error: &ConfigError) -> String {
    match error.hint() {
        Some(hint) => format!("{error}\nhint: {hint}"),
        None => error.to_string(),
    }
}

fn file_error(contents: &str) -> String {
    let error = file::parse(Path::new("hothouse.toml"), contents).map(|_| ()).unwrap_err();
    message(&error)
}

#[test]
fn defaults_are_valid() {
    let config = service(&Flags::default(), &variables([])).unwrap();
    assert_eq!(config.listen, ["127.0.0.1:4566".parse().unwrap()]);
    assert_eq!(config.data_dir, Path::new("/home/someone/.local/share/hothouse"));
    assert_eq!(config.keep_alive, Duration::from_secs(600));
    assert!(!config.ephemeral && config.inject_aws_endpoint);
    assert_eq!(config.aws_endpoint, None);
    let client = Configuration::read(&Flags::default(), &variables([])).unwrap().client().unwrap();
    assert_eq!(client.endpoint, "http://127.0.0.1:4566");
}

#[test]
fn names_are_unique_and_in_the_style_of_flags() {
    let mut seen = std::collections::BTreeSet::new();
    for setting in SETTINGS {
        assert!(
            setting.name.bytes().all(|byte| byte.is_ascii_lowercase() || byte == b'-'),
            "{}",
            setting.name
        );
        assert!(
            seen.insert(setting.name.to_owned()) && seen.insert(setting.variable()),
            "{} twice",
            setting.name
        );
        for alias in setting.aliases {
            assert!(seen.insert(alias.name.to_owned()), "{} twice", alias.name);
        }
    }
}

#[test]
fn a_flag_beats_a_variable_beats_an_alias_beats_the_file_beats_the_default() {
    let (_folder, mut given) = with_file("keep-alive = \"4s\"");
    let keep_alive = |flags: &Flags, variables: &Variables| service(flags, variables).unwrap().keep_alive;
    assert_eq!(keep_alive(&given, &variables([])), Duration::from_secs(4));
    let alias = ("LAMBDA_KEEPALIVE_MS", "3000");
    assert_eq!(keep_alive(&given, &variables([alias])), Duration::from_secs(3));
    let variable = ("HOTHOUSE_KEEP_ALIVE", "2s");
    assert_eq!(keep_alive(&given, &variables([alias, variable])), Duration::from_secs(2));
    given.values.insert("keep-alive", vec!["1s".to_owned()]);
    assert_eq!(keep_alive(&given, &variables([alias, variable])), Duration::from_secs(1));
}

#[test]
fn localstack_names_mean_what_they_mean_there() {
    let config = service(
        &Flags::default(),
        &variables([
            ("GATEWAY_LISTEN", "0.0.0.0:4566,:4510"),
            ("PERSISTENCE", "0"),
            ("LAMBDA_RUNTIME_ENVIRONMENT_TIMEOUT", "30"),
            ("LAMBDA_DISABLE_AWS_ENDPOINT_URL", "1"),
            ("LAMBDA_SYNCHRONOUS_CREATE", "1"),
            ("LAMBDA_LIMITS_CONCURRENT_EXECUTIONS", "5"),
            ("LAMBDA_LIMITS_CODE_SIZE_ZIPPED", "1000"),
            ("HOTHOUSE_LIMIT_MEMORY_SIZE", "3008"),
            ("LAMBDA_INIT_POST_INVOKE_WAIT_MS", "50"),
            ("LAMBDA_INIT_USER", "worker"),
            ("LAMBDA_INIT_DEBUG", "1"),
            ("LS_LOG", "trace-internal"),
            ("EXTRA_CORS_ALLOWED_ORIGINS", "https://one.example, https://two.example"),
        ]),
    )
    .unwrap();
    assert_eq!(config.listen, ["0.0.0.0:4566".parse().unwrap(), "127.0.0.1:4510".parse().unwrap()]);
    assert!(config.ephemeral && !config.inject_aws_endpoint && config.synchronous_create);
    assert_eq!(config.environment_startup_timeout, Duration::from_secs(30));
    assert_eq!((config.limits.concurrent_executions, config.limits.code_size_zipped), (5, 1000));
    assert_eq!(config.limits.memory_size, 3008);
    assert_eq!(config.post_invoke_wait, Duration::from_millis(50));
    assert_eq!(config.function_user, "worker", "whoever is named goes before whoever debugs");
    let debugged = service(&Flags::default(), &variables([("LAMBDA_INIT_DEBUG", "1")])).unwrap();
    assert_eq!(debugged.function_user, "root");
    assert_eq!(config.log_level, "trace");
    assert_eq!(config.allow_origins, ["https://one.example", "https://two.example"]);
    assert!(!service(&Flags::default(), &variables([("PERSISTENCE", "1")])).unwrap().ephemeral);
}

#[test]
fn states_end_at_once_unless_a_delay_is_set() {
    let config = service(&Flags::default(), &variables([])).unwrap();
    assert_eq!(
        (config.delays.function_create, config.delays.capacity_provider),
        (Duration::ZERO, Duration::ZERO)
    );
    let config = service(
        &Flags::default(),
        &variables([
            ("HOTHOUSE_FUNCTION_CREATE_DELAY", "1s"),
            ("HOTHOUSE_FUNCTION_UPDATE_DELAY", "2s"),
            ("HOTHOUSE_FUNCTION_IDLE_DELAY", "6s"),
            ("HOTHOUSE_EVENT_SOURCE_MAPPING_DELAY", "3s"),
            ("HOTHOUSE_CAPACITY_PROVIDER_DELAY", "4s"),
            ("HOTHOUSE_PROVISIONED_CONCURRENCY_DELAY", "5s"),
        ]),
    )
    .unwrap();
    let seconds = Duration::from_secs;
    assert_eq!(
        config.delays,
        Delays {
            function_create: seconds(1),
            function_update: seconds(2),
            function_idle: seconds(6),
            event_source_mapping: seconds(3),
            capacity_provider: seconds(4),
            provisioned_concurrency: seconds(5),
        }
    );
}

#[test]
fn a_file_may_set_everything() {
    let (_folder, given) = with_file(
        r#"
        listen = ["127.0.0.1:1", "[::1]:2"]
        data-dir = "/data"
        ephemeral = true
        max-environments = 10
        limit-code-size-unzipped = "1GiB"
        limit-total-code-size = 1_000
        runtime-path = { "python3.12" = "/opt/python" }
        region = "eu-west-1"
        "#,
    );
    let config = service(&given, &variables([])).unwrap();
    assert_eq!(config.listen, ["127.0.0.1:1".parse().unwrap(), "[::1]:2".parse().unwrap()]);
    assert!(config.ephemeral);
    assert_eq!(config.max_environments, Some(10));
    assert_eq!((config.limits.code_size_unzipped, config.limits.total_code_size), (1 << 30, 1000));
    assert_eq!(config.search_paths.extra, [("python3.12".to_owned(), "/opt/python".into())]);
    assert_eq!(config.search_paths.data_dir, Path::new("/data"));
    assert_eq!(Configuration::read(&given, &variables([])).unwrap().client().unwrap().region, "eu-west-1");
}

#[test]
fn the_data_directory_follows_xdg() {
    let data_dir = |variables| service(&Flags::default(), &variables).unwrap().data_dir;
    assert_eq!(data_dir(variables([("XDG_DATA_HOME", "/xdg")])), Path::new("/xdg/hothouse"));
    assert_eq!(
        data_dir(variables([("XDG_DATA_HOME", "relative")])),
        Path::new("/home/someone/.local/share/hothouse")
    );
    let nowhere = service(&Flags::default(), &Variables::default()).unwrap_err();
    insta::assert_snapshot!(message(&nowhere), @r"
    failed to choose a data directory: no home directory is known
    hint: give `--data-dir DIR`, or `--ephemeral` to keep nothing
    ");
}

#[test]
fn errors_name_the_option_the_source_and_what_would_fit() {
    let of_flag = |name, value| message(&service(&flags([(name, value)]), &variables([])).unwrap_err());
    let of_variable =
        |name, value| message(&service(&Flags::default(), &variables([(name, value)])).unwrap_err());
    insta::assert_snapshot!(of_flag("listen", "example.com:80"), @r"
    invalid value `example.com:80` for option `listen` (flag `--listen`)
    hint: write IP:PORT, for example 127.0.0.1:4566, or 0.0.0.0:4566 for all interfaces
    ");
    insta::assert_snapshot!(of_flag("keep-alive", "10"), @r"
    invalid value `10` for option `keep-alive` (flag `--keep-alive`)
    hint: write a number and a unit: 500ms, 20s, 10m or 1h
    ");
    insta::assert_snapshot!(of_flag("aws-endpoint", "localhost"), @r"
    invalid value `localhost` for option `aws-endpoint` (flag `--aws-endpoint`)
    hint: write a URL, for example http://127.0.0.1:5000
    ");
    insta::assert_snapshot!(of_flag("aws-endpoint-key", "AKIA"), @r"
    option `aws-endpoint-key` needs option `aws-endpoint-secret` (flag `--aws-endpoint-key`)
    hint: give `--aws-endpoint-secret` too
    ");
    insta::assert_snapshot!(of_variable("LAMBDA_KEEPALIVE_MS", "10m"), @r"
    invalid value `10m` for option `keep-alive` (environment variable `LAMBDA_KEEPALIVE_MS`)
    hint: write a number of milliseconds
    ");
    insta::assert_snapshot!(of_variable("HOTHOUSE_ISOLATION", "maximal"), @r"
    invalid value `maximal` for option `isolation` (environment variable `HOTHOUSE_ISOLATION`)
    hint: write best, full, partial or none
    ");
}

#[test]
fn errors_of_the_file_name_the_line() {
    insta::assert_snapshot!(file_error("listen = [\n"), @"failed to parse `hothouse.toml`, line 1: unclosed array, expected `]`");
    insta::assert_snapshot!(file_error("\nlisten_address = \"127.0.0.1:1\"\n"), @r"
    unknown option `listen_address` (`hothouse.toml`, line 2)
    hint: did you mean `listen`?
    ");
    insta::assert_snapshot!(file_error("keepalive = \"1s\""), @r"
    unknown option `keepalive` (`hothouse.toml`, line 1)
    hint: did you mean `keep-alive`?
    ");
    insta::assert_snapshot!(file_error("colour = \"green\""), @r"
    unknown option `colour` (`hothouse.toml`, line 1)
    hint: `hothouse config` lists all options
    ");
    insta::assert_snapshot!(file_error("\n\nephemeral = \"yes\""), @r#"
    invalid value `"yes"` for option `ephemeral` (`hothouse.toml`, line 3)
    hint: write true or false, without quotes
    "#);
    insta::assert_snapshot!(file_error("data-dir = [\"a\"]"), @r#"
    invalid value `["a"]` for option `data-dir` (`hothouse.toml`, line 1)
    hint: write a text in quotes or a whole number
    "#);
}

#[test]
fn secrets_stay_out_of_debug_output() {
    let given = [
        ("aws-endpoint", "https://a.example"),
        ("aws-endpoint-key", "AKIA"),
        ("aws-endpoint-secret", "hush"),
    ];
    let config = service(&flags(given), &variables([])).unwrap();
    assert_eq!(config.aws_endpoint.as_ref().unwrap().keys.as_ref().unwrap().secret, "hush");
    assert!(!format!("{config:?}").contains("hush"));
}

fn debug_of(flags: &Flags, variables: &Variables) -> DebugSetting {
    service(flags, variables).unwrap().debug
}

#[test]
fn debugging_is_for_all_functions_or_for_those_of_a_file() {
    assert_eq!(debug_of(&Flags::default(), &variables([])), DebugSetting::Off);
    assert_eq!(debug_of(&flags([("debug", "true")]), &variables([])), DebugSetting::All);
    assert_eq!(debug_of(&Flags::default(), &variables([("LAMBDA_DEBUG_MODE", "1")])), DebugSetting::All);

    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("debug.yaml");
    std::fs::write(&path, "functions:\n  arn:aws:lambda:us-east-1:000000000000:function:f:\n").unwrap();
    let file = flags([("debug-config", path.to_str().unwrap())]);
    for variables in [variables([]), variables([("LAMBDA_DEBUG_MODE", "1")])] {
        let DebugSetting::File { path: read, functions } = debug_of(&file, &variables) else {
            panic!("a file was given");
        };
        assert_eq!((read, functions.len()), (path.clone(), 1));
    }
    assert_eq!(debug_of(&file, &variables([("LAMBDA_DEBUG_MODE", "0")])), DebugSetting::Off);
}

#[test]
fn a_wrong_debug_configuration_stops_the_start() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("debug.yaml");
    std::fs::write(&path, "functions:\n  f:\n    debug-port: 1\n").unwrap();
    let error = service(&flags([("debug-config", path.to_str().unwrap())]), &variables([])).unwrap_err();
    let message = message(&error).replace(folder.path().to_str().unwrap(), "~");
    assert_eq!(
        message,
        "failed to understand the debug configuration `~/debug.yaml`, line 2: `f` is not a function's ARN: write \
         arn:aws:lambda:REGION:ACCOUNT:function:NAME, with or without :VERSION\n\
         hint: below `functions:`, write `ARN:` and indented under it `debug-port: NUMBER` and `enforce-timeouts: \
         true` or `false`"
    );
}
