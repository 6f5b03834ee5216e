//! Functions on every interpreter of this machine, in the sandbox, as `runtimes` describes them.
//!
//! Must not need the registries; a language that is not here is a skip, said on standard output.

mod support;

use std::{
    collections::BTreeSet,
    env,
    io::{self, Write as _},
    os::unix::fs::PermissionsExt,
    path::{Path, PathBuf},
    time::Duration,
};

use hothouse_api::generated::Runtime;
use hothouse_execution::{
    EngineConfig,
    executor::{ProcessExecutor, ProcessExecutorConfig},
    invocation::Outcome,
    runtimes::{Catalog, Family, Language, Policy, SearchPaths},
};
use serde_json::{Value, json};
use support::{engine, invocation, spec};

#[expect(clippy::disallowed_methods, reason = "there is no configuration in this test")]
fn catalog(data_dir: &Path) -> Catalog {
    let search = SearchPaths {
        path: env::var_os("PATH").iter().flat_map(env::split_paths).collect(),
        home: env::var_os("HOME").map(PathBuf::from),
        pyenv_root: env::var_os("PYENV_ROOT").map(PathBuf::from),
        nvm_dir: env::var_os("NVM_DIR").map(PathBuf::from),
        data_dir: data_dir.to_owned(),
        ..SearchPaths::default()
    };
    Catalog::discover(&search, Policy { strict: true, ..Policy::default() })
}

/// The runtimes of a language whose own release line is here.
fn runtimes_here(catalog: &Catalog, language: Language) -> BTreeSet<Runtime> {
    let lines = catalog.interpreters().iter().filter(|interpreter| interpreter.language == language);
    let names: BTreeSet<String> = lines
        .filter_map(|interpreter| Some(language.display(interpreter.line()?)))
        .map(|line| match language {
            Language::Node => format!("nodejs{line}.x"),
            Language::Python | Language::Java | Language::Ruby => format!("{}{line}", language.identifier()),
        })
        .collect();
    let runtimes: BTreeSet<Runtime> =
        // Older lines than our clients run on are no runtimes.
        Runtime::ALL
            .iter()
            .copied()
            .filter(|runtime| Family::of(runtime.as_str()) != Family::Unsupported)
            .filter(|runtime| names.contains(runtime.as_str()))
            .collect();
    if runtimes.is_empty() {
        let line = format!("SKIPPED runtimes_real: no {language} for a runtime of Lambda\n");
        io::stdout().write_all(line.as_bytes()).expect("standard output is open");
    }
    runtimes
}

/// What a function of this source answers on its first invocation.
async fn answer(
    runtime: Runtime,
    file: &str,
    source: &str,
    environment: &[(&str, &str)],
) -> Result<Value, String> {
    let directory = tempfile::tempdir().expect("a temporary directory");
    let code = directory.path().join("code");
    std::fs::create_dir(&code).expect("a directory");
    // The function's user is another one.
    for path in [directory.path(), &code] {
        std::fs::set_permissions(path, std::fs::Permissions::from_mode(0o755)).expect("our directory");
    }
    std::fs::write(code.join(file), source).expect("a file");
    let executor = ProcessExecutor::new(ProcessExecutorConfig::new(catalog(directory.path())));
    let (engine, sink) = engine(executor, EngineConfig::default());
    let mut spec = spec();
    spec.runtime = runtime;
    spec.code = code;
    spec.handler = "function.handler".to_owned();
    spec.timeout = Duration::from_secs(20);
    for (name, value) in environment {
        spec.environment.insert((*name).to_owned(), (*value).to_owned());
    }
    let version = engine.version(spec);
    let completed = version.invoke(invocation("{}")).await.expect("the invocation reaches the function");
    engine.shut_down().await;
    match completed.outcome {
        Outcome::Success(body) => Ok(serde_json::from_slice(&body).expect("JSON")),
        Outcome::Error(body) => {
            Err(format!("{runtime}: {} {:?}", String::from_utf8_lossy(&body), sink.lines()))
        }
    }
}

#[tokio::test]
async fn every_python_is_where_aws_has_it_without_the_developers_packages() {
    let source = "import ctypes, json, os, sqlite3, ssl, sys\n\n\
        def handler(event, context):\n\
        \x20   developer = [path for path in sys.path if path.endswith(('site-packages', 'dist-packages'))\n\
        \x20                and not path.startswith('/opt/') and os.path.isdir(path) and os.listdir(path)]\n\
        \x20   return {'version': '%d.%d' % sys.version_info[:2], 'executable': sys.executable,\n\
        \x20           'developer': developer, 'variable': os.environ['LD_LIBRARY_PATH'].split(':')[0]}\n";
    let found = tempfile::tempdir().expect("a temporary directory");
    let catalog = catalog(found.path());
    for runtime in runtimes_here(&catalog, Language::Python) {
        let said = answer(runtime, "function.py", source, &[]).await.unwrap();
        let version = runtime.as_str().trim_start_matches("python");
        let executable = said["executable"].as_str().expect("a path");
        assert_eq!(said["version"], version, "{runtime}");
        assert_eq!(said["developer"], json!([]), "{runtime}");
        let own = executable == format!("/var/lang/bin/python{version}");
        assert!(own || executable.starts_with("/usr/"), "{runtime}: {executable}");
        // A function may name its own libraries; the interpreter must find its own all the same.
        let said = answer(runtime, "function.py", source, &[("LD_LIBRARY_PATH", "/opt/mine")]).await.unwrap();
        assert_eq!(
            (&said["version"], &said["variable"]),
            (&json!(version), &json!("/opt/mine")),
            "{runtime}"
        );
    }
}

#[tokio::test]
async fn every_node_has_a_heap_of_its_memory_size() {
    let source = "exports.handler = async () => ({\n\
        \x20 version: process.versions.node.split('.')[0],\n\
        \x20 path: process.env.NODE_PATH.split(':')[0],\n\
        \x20 collect: typeof globalThis.gc,\n\
        \x20 heap: require('node:v8').getHeapStatistics().heap_size_limit / 1048576,\n\
        });\n";
    let found = tempfile::tempdir().expect("a temporary directory");
    let catalog = catalog(found.path());
    for runtime in runtimes_here(&catalog, Language::Node) {
        let said = answer(runtime, "function.js", source, &[]).await.unwrap();
        let major = runtime.as_str().trim_start_matches("nodejs").trim_end_matches(".x");
        assert_eq!(said["version"], major, "{runtime}");
        assert_eq!(said["path"], format!("/opt/nodejs/node{major}/node_modules"), "{runtime}");
        assert_eq!(said["collect"], "function", "{runtime}");
        let heap = said["heap"].as_f64().expect("a number");
        assert!(heap < 256.0, "{runtime}: {heap} MB of heap in {} MB of memory", spec().memory_mb);
    }
}

#[tokio::test]
async fn a_missing_wrapper_is_exit_status_127() {
    let found = tempfile::tempdir().expect("a temporary directory");
    let catalog = catalog(found.path());
    let Some(runtime) = runtimes_here(&catalog, Language::Python).into_iter().next_back() else { return };
    let source = "def handler(event, context):\n    return 'unreached'\n";
    let wrapper = [("AWS_LAMBDA_EXEC_WRAPPER", "/opt/missing")];
    let failed = answer(runtime, "function.py", source, &wrapper).await.unwrap_err();
    assert!(failed.contains("Runtime exited with error: exit status 127"), "{failed}");
    assert!(failed.contains("/opt/missing: does not exist"), "{failed}");
}
