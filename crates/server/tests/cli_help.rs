//! What the command line says without a service: help, variables, options, completions, mistakes.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on should say where")]

use std::{path::Path, process::Command};

/// Runs the binary as a user with an empty environment would, in an empty folder.
fn hothouse(arguments: &[&str]) -> String {
    let folder = tempfile::tempdir().unwrap();
    run_in(folder.path(), arguments, &[])
}

/// Exit code, stdout and stderr as one text.
fn run_in(folder: &Path, arguments: &[&str], variables: &[(&str, &str)]) -> String {
    let output = Command::new(env!("CARGO_BIN_EXE_hothouse"))
        .args(arguments)
        .current_dir(folder)
        .env_clear()
        .env("HOME", "/home/someone")
        .envs(variables.iter().copied())
        .output()
        .unwrap();
    let mut text = format!("exit code: {}\n", output.status.code().unwrap());
    for (name, bytes) in [("stdout", output.stdout), ("stderr", output.stderr)] {
        if !bytes.is_empty() {
            text.push_str(&format!("----- {name}\n{}", String::from_utf8(bytes).unwrap()));
        }
    }
    text
}

#[test]
fn help_lists_the_commands() {
    insta::assert_snapshot!(hothouse(&["--help"]), @r"
    exit code: 0
    ----- stdout
    AWS Lambda on your own machine

    Usage: hothouse <COMMAND>

    Commands:
      start        Serve the Lambda API until a signal comes
      dev          Serve, deploy the functions of a folder, and show their invocations
      invoke       Invoke a function: result on stdout, log on stderr
      logs         Print a function's log
      ls           List functions
      ps           List execution environments and their states
      trace        Print a trace as a tree, or list the latest traces
      clock        Move the service's time ahead, so that retries and expiries come at once
      doctor       Check the machine: runtimes, isolation, and how to get what is missing
      runtimes     Runtimes, and the AWS SDKs that functions expect
      env          Print the variables that point AWS clients at Hothouse
      config       Show every option, its value, and where that came from
      completions  Print a shell's completion script

    Options:
      -h, --help     Print help
      -V, --version  Print version
    ");
}

#[test]
fn help_of_a_client_command_is_short() {
    insta::assert_snapshot!(hothouse(&["invoke", "--help"]), @r"
    exit code: 0
    ----- stdout
    Invoke a function: result on stdout, log on stderr

    Usage: hothouse invoke [OPTIONS] <NAME>

    Arguments:
      <NAME>  Function name, partial or full ARN

    Options:
      -p, --payload <JSON>             Event: JSON, `@FILE`, or `-` for stdin [default: {}]
          --qualifier <VERSION|ALIAS>  Version or alias
          --no-logs                    Do not print the function's log
      -h, --help                       Print help

    Where to:
          --endpoint <URL>           Running service that a command talks to [default:
                                     http://127.0.0.1:4566]
          --region <REGION>          Region that a command works in [default: us-east-1]
          --account <ID>             Account that a command works in [default: 000000000000]
          --profile <NAME>           Profile with the key to sign with, where the service runs with
                                     `--auth sigv4` [default: AWS_ACCESS_KEY_ID and
                                     AWS_SECRET_ACCESS_KEY, else default]
          --credentials-file <FILE>  File of the profile [default: ~/.aws/credentials]
          --config <FILE>            Configuration file [default: hothouse.toml, if there is one]
    ");
}

#[test]
fn help_of_start_has_every_option_of_the_service() {
    let help = hothouse(&["start", "--help"]);
    for option in
        ["--listen <ADDRESS>", "--data-dir", "--ephemeral", "--aws-endpoint", "--limit-code-size-zipped"]
    {
        assert!(help.contains(option), "{option} is not in\n{help}");
    }
    assert!(!help.contains("--endpoint <URL>"), "{help}");
}

#[test]
fn env_writes_for_each_shell() {
    insta::assert_snapshot!(hothouse(&["env"]), @r"
    exit code: 0
    ----- stdout
    export AWS_ENDPOINT_URL='http://127.0.0.1:4566'
    export AWS_ACCESS_KEY_ID='test'
    export AWS_SECRET_ACCESS_KEY='test'
    export AWS_REGION='us-east-1'
    export AWS_DEFAULT_REGION='us-east-1'
    ");
    insta::assert_snapshot!(hothouse(&["env", "--shell", "fish", "--account", "123456789012"]), @r"
    exit code: 0
    ----- stdout
    set -gx AWS_ENDPOINT_URL 'http://127.0.0.1:4566'
    set -gx AWS_ACCESS_KEY_ID '123456789012'
    set -gx AWS_SECRET_ACCESS_KEY 'test'
    set -gx AWS_REGION 'us-east-1'
    set -gx AWS_DEFAULT_REGION 'us-east-1'
    ");
    insta::assert_snapshot!(hothouse(&["env", "--shell", "powershell", "--region", "eu-west-1"]), @r"
    exit code: 0
    ----- stdout
    $Env:AWS_ENDPOINT_URL = 'http://127.0.0.1:4566'
    $Env:AWS_ACCESS_KEY_ID = 'test'
    $Env:AWS_SECRET_ACCESS_KEY = 'test'
    $Env:AWS_REGION = 'eu-west-1'
    $Env:AWS_DEFAULT_REGION = 'eu-west-1'
    ");
}

#[test]
fn env_can_be_evaluated() {
    let script =
        format!("eval \"$('{}' env --region eu-west-1)\"; echo $AWS_REGION", env!("CARGO_BIN_EXE_hothouse"));
    let output = Command::new("sh").args(["-c", &script]).env_remove("HOTHOUSE_REGION").output().unwrap();
    assert_eq!(String::from_utf8(output.stdout).unwrap(), "eu-west-1\n");
}

#[test]
fn completions_are_printed_for_bash() {
    let script = hothouse(&["completions", "bash"]);
    assert!(script.contains("complete -F _hothouse"), "{script}");
}

#[test]
fn mistakes_come_with_a_hint() {
    insta::assert_snapshot!(hothouse(&["start", "--listen", "nowhere"]), @r"
    exit code: 1
    ----- stderr
    error: invalid value `nowhere` for option `listen` (flag `--listen`)
    hint: write IP:PORT, for example 127.0.0.1:4566, or 0.0.0.0:4566 for all interfaces
    ");
    insta::assert_snapshot!(hothouse(&["ls", "--endpoint", "http://127.0.0.1:1"]), @r"
    exit code: 1
    ----- stderr
    error: failed to list functions: failed to reach `http://127.0.0.1:1`: Connection refused (os error 111)
    hint: is Hothouse running there? `--endpoint` or `HOTHOUSE_ENDPOINT` names another place
    ");
    insta::assert_snapshot!(hothouse(&["invoke", "hello", "-p", "{name: World}"]), @r#"
    exit code: 1
    ----- stderr
    error: failed to read the payload as JSON: key must be a string at line 1 column 2
    hint: quote it for the shell, as in -p '{"name":"World"}', or use -p @FILE
    "#);
    insta::assert_snapshot!(hothouse(&["invoke", "hello", "-p", "@missing.json"]), @r"
    exit code: 1
    ----- stderr
    error: failed to read the payload from `missing.json`: No such file or directory (os error 2)
    ");
    insta::assert_snapshot!(hothouse(&["dev"]), @r"
    exit code: 1
    ----- stderr
    error: failed to find functions in `.`: there are none
    hint: write a file such as hello.py with `def handler(event, context)`, or a SAM template.yaml
    ");
    insta::assert_snapshot!(hothouse(&["dev", "missing"]), @r"
    exit code: 1
    ----- stderr
    error: failed to find functions in `missing`: it is not a folder
    ");
}

#[test]
fn a_file_in_the_working_directory_is_read() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("hothouse.toml");
    std::fs::write(&file, "region = \"eu-west-1\"\n").unwrap();
    let said = run_in(folder.path(), &["env", "--shell", "fish"], &[]);
    assert!(said.contains("set -gx AWS_REGION 'eu-west-1'"), "{said}");
    std::fs::write(&file, "# mine\nregoin = \"eu-west-1\"\n").unwrap();
    insta::assert_snapshot!(run_in(folder.path(), &["env"], &[]), @r"
    exit code: 1
    ----- stderr
    error: unknown option `regoin` (`hothouse.toml`, line 2)
    hint: did you mean `region`?
    ");
}

#[test]
fn config_says_where_each_value_came_from_and_hides_secrets() {
    let folder = tempfile::tempdir().unwrap();
    let variables = [("PERSISTENCE", "0"), ("HOTHOUSE_AWS_ENDPOINT_SECRET", "hush")];
    let arguments = ["config", "--aws-endpoint", "http://127.0.0.1:1", "--aws-endpoint-key", "AKIA"];
    let said = run_in(folder.path(), &arguments, &variables);
    let shown: Vec<&str> = said
        .lines()
        .filter(|line| line.starts_with("ephemeral") || line.starts_with("aws-endpoint"))
        .collect();
    insta::assert_snapshot!(shown.join("\n"), @r"
    ephemeral                             true                   environment variable `PERSISTENCE`
    aws-endpoint                          http://127.0.0.1:1     flag `--aws-endpoint`
    aws-endpoint-ca                       -                      default
    aws-endpoint-key                      AKIA                   flag `--aws-endpoint-key`
    aws-endpoint-secret                   (hidden)               environment variable `HOTHOUSE_AWS_ENDPOINT_SECRET`
    ");
}

#[test]
fn the_readme_has_the_current_table_of_options() {
    let readme = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../README.md");
    let before = std::fs::read_to_string(readme).unwrap();
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("README.md"), &before).unwrap();
    let said = run_in(folder.path(), &["config", "--readme", "README.md"], &[]);
    assert_eq!(said, "exit code: 0\n");
    let after = std::fs::read_to_string(folder.path().join("README.md")).unwrap();
    assert!(before == after, "run: cargo run -- config --readme README.md");
}
