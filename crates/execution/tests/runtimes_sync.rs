//! `runtimes sync` with the real package tools, into a directory of its own.
//!
//! A tool that this machine lacks is a skip, said on standard output. Must not need anything but the registries.

use std::{
    env,
    io::{self, Write as _},
    path::{Path, PathBuf},
    process::Command,
};

use hothouse_execution::runtimes::{
    Catalog, Language, Policy, SearchPaths,
    sync::{self, Progress},
};

#[expect(clippy::disallowed_methods, reason = "there is no configuration in this test")]
fn machine(data_dir: &Path) -> SearchPaths {
    SearchPaths {
        path: env::var_os("PATH").iter().flat_map(env::split_paths).collect(),
        home: env::var_os("HOME").map(PathBuf::from),
        pyenv_root: env::var_os("PYENV_ROOT").map(PathBuf::from),
        nvm_dir: env::var_os("NVM_DIR").map(PathBuf::from),
        jvm_dirs: vec![PathBuf::from("/usr/lib/jvm")],
        data_dir: data_dir.to_owned(),
        ..SearchPaths::default()
    }
}

/// Whether language and tool are here. The harness keeps what tests print, so the skip is written past it.
fn is_here(search: &SearchPaths, language: Language, tool: Option<&str>) -> bool {
    let catalog = Catalog::discover(search, Policy::default());
    let language_here = catalog.interpreters().iter().any(|interpreter| interpreter.language == language);
    let tool_here =
        tool.is_none_or(|tool| search.path.iter().any(|directory| directory.join(tool).is_file()));
    if !(language_here && tool_here) {
        let missing = tool.unwrap_or("an interpreter");
        let line = format!("SKIPPED runtimes_sync: no {language} with {missing}\n");
        io::stdout().write_all(line.as_bytes()).expect("standard output is open");
    }
    language_here && tool_here
}

/// Installs what `name` asks for; answers the directory that was installed.
fn sync(search: &SearchPaths, policy: Policy, name: &str) -> PathBuf {
    let catalog = Catalog::discover(search, policy);
    let targets = sync::targets(&catalog, &[name.to_owned()]).expect("the language was found");
    let [target] = targets.as_slice() else { panic!("one target for {name}, not {targets:?}") };
    let mut finished = false;
    sync::install(&catalog, target, &mut |progress| {
        finished |= matches!(progress, Progress::Finished { .. })
    })
    .unwrap_or_else(|error| panic!("{error}"));
    assert!(finished);
    let directory = catalog.directory().join(&target.name);
    let current = std::fs::read_to_string(directory.join("synced")).expect("a sync names what it installed");
    directory.join(current.trim())
}

#[test]
fn boto3_can_be_imported_from_what_pip_installed() {
    let data = tempfile::tempdir().unwrap();
    let search = machine(data.path());
    let catalog = Catalog::discover(&search, Policy::default());
    // An interpreter with pip; a distribution's own may lack it.
    let with_pip = catalog
        .interpreters()
        .iter()
        .filter(|interpreter| interpreter.language == Language::Python)
        .find(|interpreter| {
            let pip = Command::new(&interpreter.executable).args(["-I", "-m", "pip", "--version"]).output();
            interpreter.release().is_some_and(|release| release.minor >= 8)
                && pip.is_ok_and(|pip| pip.status.success())
        });
    let Some(interpreter) = with_pip else {
        assert!(!is_here(&search, Language::Python, Some("pip")));
        return;
    };
    let release = interpreter.release().unwrap();
    let installed =
        sync(&search, Policy { official_clients: true, strict: true }, &format!("python3.{}", release.minor));
    let output = Command::new(&interpreter.executable)
        .args([
            "-S",
            "-c",
            "import boto3, awslambdaric; boto3.client('s3', region_name='eu-west-1'); print(boto3.__file__)",
        ])
        .env("PYTHONPATH", &installed)
        .output()
        .unwrap();
    let file = String::from_utf8(output.stdout).unwrap();
    assert_eq!(
        Path::new(file.trim()),
        installed.join("boto3/__init__.py"),
        "{}",
        String::from_utf8_lossy(&output.stderr)
    );
}

#[test]
fn the_javascript_sdk_can_be_imported_from_what_npm_installed() {
    let data = tempfile::tempdir().unwrap();
    let search = machine(data.path());
    if !is_here(&search, Language::Node, Some("npm")) {
        return;
    }
    let installed = sync(&search, Policy::default(), "node");
    let script = installed.join("check.mjs");
    let text = "import { S3Client } from '@aws-sdk/client-s3';\n\
        import { DynamoDBDocumentClient } from '@aws-sdk/lib-dynamodb';\n\
        console.log(typeof S3Client, typeof DynamoDBDocumentClient);\n";
    std::fs::write(&script, text).unwrap();
    let catalog = Catalog::discover(&search, Policy::default());
    let node =
        catalog.interpreters().iter().find(|interpreter| interpreter.language == Language::Node).unwrap();
    let output = Command::new(&node.executable).arg(&script).output().unwrap();
    let said = String::from_utf8(output.stdout).unwrap();
    assert_eq!(said, "function function\n", "{}", String::from_utf8_lossy(&output.stderr));
}

#[test]
fn maven_installs_the_java_client_with_what_it_needs() {
    let data = tempfile::tempdir().unwrap();
    let search = machine(data.path());
    if !is_here(&search, Language::Java, Some("mvn")) {
        return;
    }
    let installed = sync(&search, Policy::default(), "java");
    let catalog = Catalog::discover(&search, Policy::default());
    let java =
        catalog.interpreters().iter().find(|interpreter| interpreter.language == Language::Java).unwrap();
    // Without a Runtime API the client fails at once, but by its own code: the class and its native library load.
    let output = Command::new(&java.executable)
        .arg("-classpath")
        .arg(installed.join("lib/*"))
        .args(["com.amazonaws.services.lambda.runtime.api.client.AWSLambda", "missing.Handler"])
        .env_clear()
        .env("AWS_LAMBDA_RUNTIME_API", "127.0.0.1:1")
        .output()
        .unwrap();
    let said =
        [output.stdout, output.stderr].map(|bytes| String::from_utf8_lossy(&bytes).into_owned()).concat();
    assert!(!output.status.success());
    assert!(said.contains("com.amazonaws.services.lambda.runtime.api.client"), "{said}");
    assert!(!said.contains("Could not find or load main class"), "{said}");
}
