//! How each runtime is started, on machines that are made up.

use super::*;
use crate::runtimes::{
    Policy,
    fixtures::{Tree, spec},
};

fn catalog(tree: &Tree, official_clients: bool) -> Catalog {
    Catalog::discover(&tree.search(), Policy { strict: false, official_clients })
}

fn argv(plan: &Plan) -> Vec<&str> {
    plan.argv.iter().map(|argument| argument.to_str().unwrap()).collect()
}

fn mounts(tree: &Tree, plan: &Plan) -> Vec<String> {
    let base = tree.path("").to_str().unwrap().to_owned();
    plan.mounts
        .iter()
        .map(|Mount { source, target }| {
            let without_hash = |path: &Path| {
                let text = path.to_str().unwrap().replace(&base, "~");
                text.split_once("/runtime-").map_or(text.clone(), |(before, _)| format!("{before}/runtime-*"))
            };
            format!("{} at {}", without_hash(source), without_hash(target))
        })
        .collect()
}

#[test]
fn a_moved_python_starts_our_client() {
    let tree = Tree::new();
    tree.pyenv_python("3.12.1");
    let plan = catalog(&tree, false).plan(&spec("python3.12"), &Layout::Sandbox).unwrap();
    assert_eq!(argv(&plan), ["/var/lang/bin/python3.12", "-S", "/var/runtime/bootstrap.py"]);
    assert_eq!(
        mounts(&tree, &plan),
        [
            "~home/.pyenv/versions/3.12.1 at /var/lang",
            "~home/.pyenv/versions/3.12.1/lib at ~home/.pyenv/versions/3.12.1/lib",
            "~data/runtimes/empty at /var/lang/lib/python3.12/site-packages",
            "~data/runtimes/python3.12/runtime-* at /var/runtime",
        ]
    );
    assert!(plan.own_client && plan.telemetry);
    assert_eq!(plan.warning, None);
}

#[test]
fn without_a_mount_namespace_the_paths_are_the_hosts() {
    let tree = Tree::new();
    let python = tree.pyenv_python("3.12.1");
    let opt = tree.path("opt");
    let plan = catalog(&tree, false).plan(&spec("python3.12"), &Layout::Host { opt: opt.clone() }).unwrap();
    assert_eq!(plan.mounts, []);
    assert_eq!(plan.argv[0], python);
    assert_eq!(plan.roots.task, Path::new("/code"));
    assert!(Path::new(&plan.argv[2]).is_file(), "{:?}", plan.argv);
    let variable = |name: &str| &plan.environment.iter().find(|(other, _)| other == name).unwrap().1;
    let path = variable("PATH");
    assert!(path.starts_with(tree.path("home").to_str().unwrap()) && path.ends_with("/opt/bin"), "{path}");
    assert_eq!(Path::new(variable("_HOTHOUSE_OPT")), opt);
}

#[test]
fn node_has_a_heap_that_fits() {
    let tree = Tree::new();
    tree.nvm_node("22.11.0");
    let plan = catalog(&tree, false).plan(&spec("nodejs22.x"), &Layout::Sandbox).unwrap();
    assert_eq!(
        argv(&plan),
        [
            "/var/lang/bin/node",
            "--expose-gc",
            "--max-http-header-size=81920",
            "--max-semi-space-size=51",
            "--max-old-space-size=922",
            "/var/runtime/index.mjs",
        ]
    );
}

#[test]
fn a_lone_executable_does_not_bring_its_directory_along() {
    let tree = Tree::new();
    tree.program("home/bin/node");
    let mut search = tree.search();
    search.extra = vec![("nodejs".to_owned(), tree.path("home/bin/node"))];
    // The version of this one is not in any file, so its placement is asked for directly.
    let catalog = Catalog::discover(&search, Policy::default());
    let (executable, mounts) = catalog.interpreters()[0].placement();
    assert_eq!(executable, Path::new("/var/lang/bin/node"));
    assert_eq!(mounts, [Mount { source: tree.path("home/bin/node"), target: executable }]);
}

#[test]
fn a_wrapper_gets_the_command_line_and_no_descriptor() {
    let tree = Tree::new();
    tree.pyenv_python("3.12.1");
    let mut spec = spec("python3.12");
    spec.environment.insert("AWS_LAMBDA_EXEC_WRAPPER".to_owned(), "/var/task/wrapper".to_owned());
    let plan = catalog(&tree, false).plan(&spec, &Layout::Sandbox).unwrap();
    assert_eq!(argv(&plan)[..2], ["/bin/sh", "-c"]);
    assert_eq!(
        argv(&plan)[3..],
        ["/var/task/wrapper", "/var/lang/bin/python3.12", "-S", "/var/runtime/bootstrap.py"]
    );
    assert!(!plan.own_client);
    let debugged = plan.debugger.arguments(&plan.argv, 7001);
    assert_eq!(
        debugged[4..],
        ["/var/lang/bin/python3.12", "-Xfrozen_modules=off", "-S", "/var/runtime/bootstrap.py"]
    );
}

#[test]
fn a_wrapper_is_found_where_code_and_layers_really_are() {
    let roots = Roots { task: "/data/code".into(), opt: "/data/layers".into(), ..Roots::sandbox() };
    for (written, found) in [
        ("/opt/bootstrap", "/data/layers/bootstrap"),
        ("/var/task/bin/wrap", "/data/code/bin/wrap"),
        ("/optional/wrap", "/optional/wrap"),
        ("wrap", "wrap"),
    ] {
        assert_eq!(roots.locate(written), found);
        assert_eq!(Roots::sandbox().locate(written), written);
    }
}

/// Runs the wrapper's command line for real: the shell is the boundary here.
fn run_wrapped(wrapper: &Path) -> (Option<i32>, String) {
    let argv = wrapped(wrapper.to_str().unwrap(), ["echo".into(), "two words".into()].into());
    let output = std::process::Command::new(&argv[0]).args(&argv[1..]).output().unwrap();
    (output.status.code(), String::from_utf8(output.stdout).unwrap())
}

#[test]
fn missing_wrappers_end_with_127_and_unexecutable_ones_with_126() {
    let tree = Tree::new();
    let missing = tree.path("missing");
    assert_eq!(run_wrapped(&missing), (Some(127), format!("{}: does not exist\n", missing.display())));
    let plain = tree.write("plain", b"", 0o644);
    assert_eq!(run_wrapped(&plain), (Some(126), format!("{}: is not an executable\n", plain.display())));
    let without_first_line = tree.script("wrapper", "echo wrapped\nexec \"$@\"\n");
    assert_eq!(run_wrapped(&without_first_line), (Some(0), "wrapped\ntwo words\n".to_owned()));
}

#[test]
fn a_bootstrap_is_looked_for_in_the_code_and_the_layers() {
    let tree = Tree::new();
    let mut spec = spec("provided.al2023");
    spec.code = tree.path("code");
    spec.layers = Some(tree.path("layers"));
    spec.environment.insert("AWS_LAMBDA_EXEC_WRAPPER".to_owned(), "/opt/wrapper".to_owned());
    let catalog = catalog(&tree, false);
    let plan = |spec: &FunctionSpec| catalog.plan(spec, &Layout::Sandbox);

    let error = plan(&spec).unwrap_err();
    assert_eq!(error.error_type(), Some("Runtime.InvalidEntrypoint"));
    assert_eq!(error.to_string(), "Couldn't find valid bootstrap(s): [/var/task/bootstrap /opt/bootstrap]");

    tree.program("layers/bootstrap");
    assert_eq!(argv(&plan(&spec).unwrap()), ["/opt/bootstrap"]);
    tree.write("layers/bootstrap", b"", 0o644);
    assert!(plan(&spec).is_err(), "not executable");
    tree.write("code/bootstrap", b"", 0o644);
    assert!(plan(&spec).is_err(), "not executable");
    tree.program("code/bootstrap");
    let found = plan(&spec).unwrap();
    assert_eq!(argv(&found), ["/var/task/bootstrap"]);
    assert!(!found.own_client && !found.telemetry && found.mounts.is_empty());
}

#[test]
fn java_and_ruby_need_their_client() {
    let tree = Tree::new();
    tree.program("usr/lib/jvm/temurin-21/bin/java");
    tree.write("usr/lib/jvm/temurin-21/release", b"JAVA_VERSION=\"21.0.3\"\n", 0o644);
    tree.program("home/.rbenv/versions/3.4.1/bin/ruby");
    let catalog = catalog(&tree, false);
    for runtime in ["java21", "ruby3.4"] {
        let error = catalog.plan(&spec(runtime), &Layout::Sandbox).unwrap_err();
        assert!(error.to_string().contains(&format!("hothouse runtimes sync {runtime}")), "{error}");
    }
    tree.synced("java", "lib/client.jar");
    tree.synced("ruby3.4", "gems/aws_lambda_ric-9.9.9/bin/aws_lambda_ric");
    let java = catalog.plan(&spec("java21"), &Layout::Sandbox).unwrap();
    assert_eq!(
        argv(&java)[6..],
        [
            "--add-opens=java.base/java.io=ALL-UNNAMED",
            "-classpath",
            "/var/runtime/lib/*",
            "com.amazonaws.services.lambda.runtime.api.client.AWSLambda",
            "index.handler"
        ]
    );
    assert_eq!(argv(&java)[1], "-XX:MaxHeapSize=891289k");
    let ruby = catalog.plan(&spec("ruby3.4"), &Layout::Sandbox).unwrap();
    assert_eq!(argv(&ruby)[1], "/var/runtime/gems/aws_lambda_ric-9.9.9/bin/aws_lambda_ric");
    assert!(!ruby.own_client && !java.own_client);
}

#[test]
fn java_uses_an_archive_that_is_there_and_fits() {
    let tree = Tree::new();
    for (release, directory) in [("21.0.3", "temurin-21"), ("25.0.1", "temurin-25")] {
        tree.program(&format!("usr/lib/jvm/{directory}/bin/java"));
        let text = format!("JAVA_VERSION=\"{release}\"\n");
        tree.write(&format!("usr/lib/jvm/{directory}/release"), text.as_bytes(), 0o644);
        for file in ["lib/modules", "lib/server/libjvm.so", "lib/server/classes.jsa"] {
            tree.write(&format!("usr/lib/jvm/{directory}/{file}"), b"x", 0o644);
        }
    }
    tree.synced("java", "lib/client.jar");
    let catalog = catalog(&tree, false);
    for (runtime, option) in [
        ("java21", "-XX:SharedArchiveFile=/var/classes/classes"),
        ("java25", "-XX:AOTCache=/var/classes/classes"),
    ] {
        let plan = |options: &str| {
            let mut spec = spec(runtime);
            spec.environment.insert("JAVA_TOOL_OPTIONS".to_owned(), options.to_owned());
            catalog.plan(&spec, &Layout::Sandbox).unwrap()
        };
        let uses = |plan: &Plan| {
            let is_shown = plan.mounts.iter().any(|mount| mount.target == Path::new("/var/classes"));
            assert_eq!(argv(plan).contains(&option), is_shown);
            is_shown
        };
        let first = plan("");
        assert!(!uses(&first));
        let training = first.training.unwrap();
        assert!(training.argv.iter().all(|argument| argument != "index.handler"), "nothing of the function");
        let making = training.archive.begin().unwrap();
        std::fs::write(making.work().join("classes"), b"classes").unwrap();
        making.finish().unwrap();
        let second = plan("-Xmx64m -Dmine=1");
        assert!(uses(&second) && second.training.is_none());
        for options in ["-Xshare:auto", "-XX:AOTMode=off", "-XX:-UseCompressedOops", "-Dmine=1 -XX:+UseZGC"] {
            let other = plan(options);
            assert!(!uses(&other) && other.training.is_none(), "{options}");
        }
        for options in ["--add-opens=java.base/java.lang=ALL-UNNAMED", "-javaagent:/opt/agent.jar"] {
            assert_eq!(uses(&plan(options)), runtime == "java21", "{options}");
        }
    }
}

#[test]
fn official_clients_are_used_where_they_are_synced() {
    let tree = Tree::new();
    tree.pyenv_python("3.12.1");
    tree.pyenv_python("3.13.0");
    tree.synced("python3.12", "awslambdaric/bootstrap.py");
    let catalog = catalog(&tree, true);
    let official = catalog.plan(&spec("python3.12"), &Layout::Sandbox).unwrap();
    assert_eq!(argv(&official)[1..], ["-m", "awslambdaric", "index.handler"]);
    assert!(!official.own_client);
    let own = catalog.plan(&spec("python3.13"), &Layout::Sandbox).unwrap();
    assert!(own.own_client);
}

#[test]
fn languages_without_a_client_are_refused() {
    let tree = Tree::new();
    let error = catalog(&tree, false).plan(&spec("dotnet8"), &Layout::Sandbox).unwrap_err();
    assert!(matches!(error, PlanError::Unsupported { .. }));
    assert_eq!(error.error_type(), None);
}
