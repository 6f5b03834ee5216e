//! The steps of the suite, in the order in which they run: quick checks first, then what needs the binary.
//!
//! Must not install anything.

use std::{path::PathBuf, process::Command};

use super::{
    Step, Verdict,
    counts::Counts,
    install,
    workshop::{Workshop, holds, there_is},
};

/// All steps.
pub(super) fn all() -> Vec<Step> {
    vec![
        Step {
            name: "packages",
            what: "Debian packages that are missing",
            needs: &[],
            run: install::packages,
        },
        Step { name: "venv", what: "Python packages, in .venv", needs: &["packages"], run: install::venv },
        Step {
            name: "npm",
            what: "npm packages, in the target folder",
            needs: &["packages"],
            run: install::npm,
        },
        Step { name: "format", what: "cargo fmt --check", needs: &[], run: format },
        Step { name: "clippy", what: "cargo clippy, warnings as errors", needs: &[], run: clippy },
        Step { name: "codegen", what: "generated files are current", needs: &[], run: codegen },
        Step { name: "build", what: "the binary", needs: &[], run: build },
        Step { name: "tidy", what: "layering, licences, texts, options", needs: &[], run: tidy },
        Step { name: "unit", what: "cargo test of the workspace", needs: &[], run: unit },
        Step { name: "python-client", what: "runtimes/python", needs: &["venv"], run: python_client },
        Step { name: "node-client", what: "runtimes/node", needs: &["venv"], run: node_client },
        Step {
            name: "service",
            what: "boto3 and the aws CLI against the binary",
            needs: &["venv", "build"],
            run: service,
        },
        Step {
            name: "sdk-js",
            what: "the AWS SDK for JavaScript against the binary",
            needs: &["npm", "build"],
            run: sdk_js,
        },
        Step {
            name: "sdk-rust",
            what: "the AWS SDK for Rust against the binary",
            needs: &["build"],
            run: sdk_rust,
        },
    ]
}

fn format(workshop: &Workshop) -> Verdict {
    let mut counts = Counts::default();
    for manifest in ["Cargo.toml", "tests/Cargo.toml"] {
        let arguments = ["fmt", "--all", "--check", "--manifest-path", manifest];
        match workshop.check(&mut workshop.cargo(&arguments)) {
            Verdict::Ran(one) => counts.add(one),
            other => return other,
        }
    }
    Verdict::Ran(counts)
}

fn clippy(workshop: &Workshop) -> Verdict {
    let arguments = ["clippy", "--quiet", "--workspace", "--all-targets", "--locked", "--", "-D", "warnings"];
    workshop.check(&mut workshop.cargo(&arguments))
}

fn codegen(workshop: &Workshop) -> Verdict {
    this_program(workshop, &["codegen", "--check"])
}

fn tidy(workshop: &Workshop) -> Verdict {
    this_program(workshop, &["tidy"])
}

/// Another chore of this program, in a process of its own so that its exit code tells.
fn this_program(workshop: &Workshop, arguments: &[&str]) -> Verdict {
    match std::env::current_exe() {
        Ok(program) => workshop.check(workshop.command(program).args(arguments)),
        Err(error) => Verdict::Broken(format!("failed to find this program: {error}")),
    }
}

fn build(workshop: &Workshop) -> Verdict {
    workshop.check(&mut workshop.cargo(&["build", "--quiet", "--locked", "--package", "hothouse"]))
}

fn unit(workshop: &Workshop) -> Verdict {
    let mut command = workshop.cargo(&["test", "--workspace", "--locked", "--no-fail-fast"]);
    command.args(&workshop.filter);
    workshop.count(&mut command)
}

fn python_client(workshop: &Workshop) -> Verdict {
    pytest(workshop, "runtimes/python/tests")
}

fn node_client(workshop: &Workshop) -> Verdict {
    let folder = workshop.root.join("runtimes/node/tests");
    if holds(&folder, |name| name.ends_with(".py")) {
        return pytest(workshop, "runtimes/node/tests");
    }
    node(workshop, folder)
}

fn service(workshop: &Workshop) -> Verdict {
    pytest(workshop, "tests/python")
}

fn sdk_js(workshop: &Workshop) -> Verdict {
    // The tests run beside their installed packages, where Node looks for them.
    let folder = workshop.scratch().join("sdk-js");
    let source = workshop.root.join("tests/sdk-js/lambda.test.mjs");
    if let Err(error) = std::fs::copy(&source, folder.join("lambda.test.mjs")) {
        return Verdict::Broken(format!("failed to copy `{}`: {error}", source.display()));
    }
    node(workshop, folder)
}

fn sdk_rust(workshop: &Workshop) -> Verdict {
    let mut command = workshop.cargo(&["test", "--quiet", "--locked", "--package", "sdk-rust"]);
    command
        .args(["--manifest-path", "tests/Cargo.toml", "--target-dir"])
        .arg(workshop.scratch().join("cargo"));
    workshop.count(command.args(&workshop.filter))
}

fn pytest(workshop: &Workshop, folder: &str) -> Verdict {
    if !holds(&workshop.root.join(folder), |name| name.starts_with("test_")) {
        return Verdict::Broken(format!("there are no tests in `{folder}`"));
    }
    let mut command: Command = workshop.command(workshop.venv().join("bin/python"));
    command.args(["-m", "pytest", "-q", "-rs", "--tb=short", "--color=no", "-p", "no:cacheprovider", folder]);
    if let Some(filter) = &workshop.filter {
        command.args(["-k", filter]);
    }
    workshop.count(&mut command)
}

fn node(workshop: &Workshop, folder: PathBuf) -> Verdict {
    if !there_is("node") {
        return Verdict::Skipped("Node.js is not installed".to_owned());
    }
    let mut command = workshop.command("node");
    command.current_dir(folder).args(["--test", "--test-reporter=spec"]);
    if let Some(filter) = &workshop.filter {
        command.args(["--test-name-pattern", filter]);
    }
    workshop.count(&mut command)
}
