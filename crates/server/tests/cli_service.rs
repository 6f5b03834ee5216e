//! The commands against a real service, in a process of its own.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on should say where")]

use std::{
    io::{BufRead as _, BufReader, Read as _},
    net::TcpListener,
    path::Path,
    process::{Child, Command, Output, Stdio},
    sync::mpsc,
    thread,
    time::{Duration, Instant},
};

/// Cold starts of three interpreters on a busy machine.
const PATIENCE: Duration = Duration::from_secs(60);

fn hothouse(arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_hothouse"));
    command.args(arguments);
    for variable in ["AWS_ENDPOINT_URL", "AWS_REGION", "AWS_DEFAULT_REGION", "GATEWAY_LISTEN", "PERSISTENCE"]
    {
        command.env_remove(variable);
    }
    command
}

/// A service that ends with the test.
struct Service {
    process: Child,
    endpoint: String,
    data_dir: tempfile::TempDir,
    stdout: mpsc::Receiver<String>,
    stderr: mpsc::Receiver<String>,
    /// Lines of stdout that were read so far.
    said: Vec<String>,
}

impl Service {
    fn start() -> Self {
        Self::run(&["start"])
    }

    fn dev(folder: &Path) -> Self {
        Self::run(&["dev", folder.to_str().unwrap()])
    }

    /// Runs a serving command, and waits until it is ready.
    fn run(arguments: &[&str]) -> Self {
        let data_dir = tempfile::tempdir().unwrap();
        let mut process = hothouse(arguments)
            .args(["--listen", "127.0.0.1:0", "--ephemeral", "--data-dir", data_dir.path().to_str().unwrap()])
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let stdout = lines(process.stdout.take().unwrap());
        let stderr = lines(process.stderr.take().unwrap());
        let mut this = Self { process, endpoint: String::new(), data_dir, stdout, stderr, said: Vec::new() };
        let listening = this.stderr_until("Listening on ");
        this.endpoint = listening.rsplit(' ').next().unwrap().to_owned();
        this.stdout_until("Ready.");
        this
    }

    fn stdout_until(&mut self, start: &str) -> String {
        let line = until(&self.stdout, start, &mut self.said);
        line.unwrap_or_else(|| panic!("no `{start}` on stdout, but {:#?}\n{:#?}", self.said, self.errors()))
    }

    fn stderr_until(&mut self, start: &str) -> String {
        let mut said = Vec::new();
        until(&self.stderr, start, &mut said)
            .unwrap_or_else(|| panic!("no `{start}` on stderr, but {said:#?}"))
    }

    fn errors(&self) -> Vec<String> {
        self.stderr.try_iter().collect()
    }

    fn client(&self, arguments: &[&str]) -> Output {
        hothouse(arguments).args(["--endpoint", &self.endpoint]).output().unwrap()
    }

    fn signal(&self, name: &str) {
        let number = self.process.id().to_string();
        assert!(Command::new("kill").args(["-s", name, &number]).status().unwrap().success());
    }

    /// Waits for the end; its exit code.
    fn end(&mut self) -> Option<i32> {
        let deadline = Instant::now() + PATIENCE;
        while Instant::now() < deadline {
            if let Some(status) = self.process.try_wait().unwrap() {
                return status.code();
            }
            thread::yield_now();
        }
        panic!("it did not end");
    }
}

impl Drop for Service {
    fn drop(&mut self) {
        if matches!(self.process.try_wait(), Ok(None)) {
            // So that it can end its environments.
            self.signal("TERM");
            self.end();
        }
    }
}

fn lines(stream: impl std::io::Read + Send + 'static) -> mpsc::Receiver<String> {
    let (sender, receiver) = mpsc::channel();
    thread::spawn(move || {
        for line in BufReader::new(stream).lines().map_while(Result::ok) {
            if sender.send(line).is_err() {
                return;
            }
        }
    });
    receiver
}

/// The first line that starts so; all lines up to it are kept in `said`.
fn until(lines: &mpsc::Receiver<String>, start: &str, said: &mut Vec<String>) -> Option<String> {
    let deadline = Instant::now() + PATIENCE;
    loop {
        let line = lines.recv_timeout(deadline.saturating_duration_since(Instant::now())).ok()?;
        said.push(line.clone());
        if line.starts_with(start) {
            return Some(line);
        }
    }
}

fn stdout(output: &Output) -> String {
    String::from_utf8(output.stdout.clone()).unwrap()
}

fn stderr(output: &Output) -> String {
    String::from_utf8(output.stderr.clone()).unwrap()
}

fn example(name: &str) -> std::path::PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../examples").join(name)
}

fn folder(files: &[(&str, &str)]) -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    for (name, contents) in files {
        std::fs::write(folder.path().join(name), contents).unwrap();
    }
    folder
}

#[test]
fn start_says_ready_on_stdout_and_ends_well_on_sigterm() {
    let mut service = Service::start();
    assert_eq!(service.said, ["Ready."]);
    service.signal("TERM");
    assert_eq!(service.end(), Some(0));
    assert_eq!(service.stdout.iter().collect::<Vec<_>>(), Vec::<String>::new());
}

#[test]
fn an_ephemeral_service_leaves_nothing_in_the_data_directory() {
    let mut service = Service::start();
    service.signal("INT");
    assert_eq!(service.end(), Some(0));
    assert_eq!(std::fs::read_dir(service.data_dir.path()).unwrap().count(), 0);
}

#[test]
fn a_second_signal_does_not_wait_for_invocations() {
    let files = folder(&[(
        "slow.py",
        "import time\n\ndef handler(event, context):\n    print('begun', flush=True)\n    time.sleep(60)\n",
    )]);
    let template = "Resources: { slow: { Type: AWS::Serverless::Function, Properties: { FunctionName: slow, \
                    Runtime: python3.13, Handler: slow.handler, Timeout: 90, CodeUri: . } } }";
    std::fs::write(files.path().join("template.yaml"), template).unwrap();
    let mut service = Service::run(&["dev", files.path().to_str().unwrap(), "--shutdown-timeout", "60s"]);
    let mut invocation = hothouse(&["invoke", "slow", "--endpoint", &service.endpoint])
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    let mut follow = hothouse(&["logs", "slow", "--follow", "--endpoint", &service.endpoint])
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let begun = until(&lines(follow.stdout.take().unwrap()), "begun", &mut Vec::new());
    service.signal("TERM");
    service.stderr_until("Stopping");
    service.signal("TERM");
    assert_eq!(service.end(), Some(128 + 15));
    assert_eq!(invocation.wait().unwrap().code(), Some(1));
    follow.kill().unwrap();
    follow.wait().unwrap();
    assert!(begun.is_some());
}

#[test]
fn a_taken_port_comes_with_a_hint_about_who_has_it() {
    let service = Service::start();
    let address = service.endpoint.trim_start_matches("http://");
    let output = hothouse(&["start", "--ephemeral", "--listen", address]).output().unwrap();
    assert_eq!(output.status.code(), Some(1));
    let said = stderr(&output);
    assert!(said.contains(&format!("failed to listen on {address}: Address already in use")), "{said}");
    assert!(
        said.contains("hint: Hothouse is running there already: use it, or choose another address"),
        "{said}"
    );

    let stranger = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = stranger.local_addr().unwrap().to_string();
    let output = hothouse(&["start", "--ephemeral", "--listen", &address]).output().unwrap();
    assert!(stderr(&output).contains("hint: another program listens there"), "{}", stderr(&output));
}

#[test]
fn dev_deploys_the_examples_and_its_commands_work_as_pasted() {
    let mut service = Service::dev(&example("hello"));
    let commands: Vec<String> = service
        .said
        .iter()
        .filter(|line| line.contains(" invoke "))
        .map(|line| line.trim().to_owned())
        .collect();
    let shown = commands.join("\n");
    for name in ["greet", "hello", "shell"] {
        assert!(shown.contains(&format!("hothouse invoke {name} ")), "{shown}");
        assert!(shown.contains(&format!("lambda invoke --function-name {name} ")), "{shown}");
    }
    let has_aws = Command::new("aws").arg("--version").output().is_ok_and(|output| output.status.success());
    for command in &commands {
        if command.contains(" aws ") && !has_aws {
            eprintln!("skipped, as there is no aws: {command}");
            continue;
        }
        let output = Command::new("sh").args(["-c", command]).output().unwrap();
        assert!(output.status.success(), "{command}\n{}\n{}", stdout(&output), stderr(&output));
        assert!(stdout(&output).contains("Hello"), "{command}\n{}\n{}", stdout(&output), stderr(&output));
    }
    service.stdout_until("shell success");
    service.stdout_until("  | event: {\"name\":\"World\"}");
}

#[test]
fn invoke_separates_the_result_from_the_log_and_fails_with_the_function() {
    let files = folder(&[(
        "double.py",
        "def handler(event, context):\n    print('got', event)\n    return event * 2\n",
    )]);
    let service = Service::dev(files.path());
    let good = service.client(&["invoke", "double", "-p", "21"]);
    assert_eq!((stdout(&good).as_str(), good.status.code()), ("42\n", Some(0)), "{}", stderr(&good));
    assert!(
        stderr(&good).contains("got 21") && stderr(&good).contains("REPORT RequestId"),
        "{}",
        stderr(&good)
    );

    let quiet = service.client(&["invoke", "double", "--no-logs", "-p", "\"ab\"", "--qualifier", "$LATEST"]);
    assert_eq!((stdout(&quiet).as_str(), stderr(&quiet).as_str()), ("\"abab\"\n", ""));

    let bad = service.client(&["invoke", "double", "-p", "{}"]);
    assert_eq!(bad.status.code(), Some(1));
    assert!(stdout(&bad).contains("\"errorType\": \"TypeError\""), "{}", stdout(&bad));
    assert!(
        stderr(&bad).contains("error: function `double` failed (Unhandled): TypeError: "),
        "{}",
        stderr(&bad)
    );

    let missing = service.client(&["invoke", "nobody"]);
    assert_eq!(missing.status.code(), Some(1));
    assert!(
        stderr(&missing).contains("failed to invoke `nobody`: ResourceNotFoundException"),
        "{}",
        stderr(&missing)
    );
    assert!(stderr(&missing).contains("hint: `hothouse ls`"), "{}", stderr(&missing));
}

#[test]
fn lists_and_logs_show_what_happened() {
    let files = folder(&[("note.py", "def handler(event, context):\n    print('noted', event)\n")]);
    let service = Service::dev(files.path());
    assert!(stderr(&service.client(&["ps"])).contains("no environments"));
    assert!(stdout(&service.client(&["ls"])).contains("note"));
    assert!(stderr(&service.client(&["ls", "--region", "eu-west-1"])).contains("there are no functions yet"));

    assert!(service.client(&["invoke", "note", "-p", "1"]).status.success());
    let processes = stdout(&service.client(&["ps"]));
    assert!(processes.starts_with("ENVIRONMENT") && processes.contains("note"), "{processes}");

    let mut follow = hothouse(&["logs", "note", "--follow", "--endpoint", &service.endpoint])
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let followed = lines(follow.stdout.take().unwrap());
    assert!(until(&followed, "noted 1", &mut Vec::new()).is_some());
    assert!(service.client(&["invoke", "note", "-p", "2"]).status.success());
    assert!(until(&followed, "noted 2", &mut Vec::new()).is_some());
    follow.kill().unwrap();
    follow.wait().unwrap();

    let log = stdout(&service.client(&["logs", "note"]));
    assert_eq!(log.matches("noted 1\n").count(), 1, "{log}");
    assert!(log.contains("REPORT RequestId"), "{log}");
}

#[test]
fn a_function_that_cannot_be_deployed_is_reported_and_the_rest_works() {
    let files = folder(&[(
        "template.yaml",
        r#"
Resources:
  Good:
    Type: AWS::Serverless::Function
    Properties: { Handler: index.handler, Runtime: python3.13, InlineCode: "def handler(e, c): return 'good'" }
  Bad:
    Type: AWS::Serverless::Function
    Properties: { Handler: index.handler, Runtime: python3.13, CodeUri: nowhere }
  Refused:
    Type: AWS::Serverless::Function
    Properties: { Handler: index.handler, Runtime: python3.13, Timeout: 901, InlineCode: "x" }
"#,
    )]);
    let mut service = Service::dev(files.path());
    service.stderr_until("error: failed to deploy `Bad`: `CodeUri`:");
    service.stderr_until("error: failed to deploy `Refused`: ");
    assert_eq!(stdout(&service.client(&["invoke", "Good"])), "\"good\"\n");
}

#[test]
fn dev_deploys_what_changes() {
    let files = folder(&[("version.py", "def handler(event, context):\n    return 1\n")]);
    let mut service = Service::dev(files.path());
    assert_eq!(stdout(&service.client(&["invoke", "version"])), "1\n");
    std::fs::write(files.path().join("version.py"), "def handler(event, context):\n    return 2\n").unwrap();
    service.stderr_until("Updated version");
    assert_eq!(stdout(&service.client(&["invoke", "version"])), "2\n");
}

#[test]
fn dev_deploys_into_a_running_service() {
    let service = Service::start();
    let files = folder(&[("there.py", "def handler(event, context):\n    return event\n")]);
    let path = files.path().to_str().unwrap();
    let output = service.client(&["dev", path]);
    assert!(output.status.success() && stderr(&output).contains("Created there"), "{}", stderr(&output));
    let payload = files.path().join("event.json");
    std::fs::write(&payload, "{\"from\": \"a file\"}").unwrap();
    let answer = service.client(&["invoke", "there", "-p", &format!("@{}", payload.display())]);
    assert_eq!(stdout(&answer), "{\"from\": \"a file\"}\n");
    let again = service.client(&["dev", path]);
    assert!(again.status.success() && !stderr(&again).contains("Updated"), "{}", stderr(&again));
}

#[test]
fn a_closed_pipe_is_no_error() {
    let mut child = hothouse(&["config"]).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    drop(child.stdout.take());
    let mut said = String::new();
    child.stderr.take().unwrap().read_to_string(&mut said).unwrap();
    assert_eq!((child.wait().unwrap().code(), said.as_str()), (Some(0), ""));
}
