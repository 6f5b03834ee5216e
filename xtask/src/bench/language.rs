//! The languages whose functions are measured: their packages, floors and promises.
//!
//! Must not measure anything.

use std::process::Command;

use super::{BenchError, floors::Floor, io_error, report::Promise, service::Package};

/// A language whose function is measured.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Language {
    Python,
    Node,
    Rust,
}

impl Language {
    pub(super) const ALL: [Self; 3] = [Self::Python, Self::Node, Self::Rust];

    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Python => "python",
            Self::Node => "node",
            Self::Rust => "rust",
        }
    }

    /// Warm p50 on one core, as a ratio to F1.
    pub(super) fn warm_promise(self) -> Promise {
        Promise::RatioAtMost(if self == Self::Rust { 1.7 } else { 1.4 })
    }

    pub(super) fn cold_floor(self) -> Result<Floor, BenchError> {
        match self {
            Self::Python => Floor::python(),
            Self::Node => Floor::node(),
            Self::Rust => Floor::program(&super::target_directory()?.join("suite/bench")),
        }
    }

    /// Cold start with what the service keeps ready.
    pub(super) fn cold_promise(self) -> Promise {
        Promise::RatioAtMost(match self {
            Self::Python => 0.5,
            Self::Node => 0.05,
            Self::Rust => 4.0,
        })
    }

    /// A variable that makes the function start an interpreter of its own, and what is promised then.
    pub(super) fn own_process(self) -> Option<((&'static str, &'static str), Promise)> {
        match self {
            Self::Python => Some((("PYTHONUNBUFFERED", "1"), Promise::RatioAtMost(1.4))),
            Self::Node => Some((("NODE_OPTIONS", "--no-warnings"), Promise::RatioAtMost(1.3))),
            Self::Rust => None,
        }
    }

    /// Private memory of a warm environment, in MB.
    pub(super) fn memory_promise(self) -> Option<Promise> {
        match self {
            Self::Python => Some(Promise::AtMost(4.0)),
            Self::Node => Some(Promise::AtMost(12.0)),
            Self::Rust => None,
        }
    }

    pub(super) fn package(self) -> Result<Package, BenchError> {
        Ok(match self {
            Self::Python => Package {
                runtime: format!(
                    "python{}",
                    ask("python3", &["-c", "import sys; print('%d.%d' % sys.version_info[:2])"])?
                ),
                handler: "main.handler",
                file: "main.py",
                content: b"import time\n\ndef handler(event, context):\n    if 'sleep' in event:\n        \
                           time.sleep(event['sleep'])\n    return event\n"
                    .to_vec(),
            },
            Self::Node => Package {
                runtime: format!("nodejs{}.x", ask("node", &["-p", "process.versions.node.split('.')[0]"])?),
                handler: "main.handler",
                file: "main.js",
                content:
                    b"exports.handler = async (event) => {\n  if (event.sleep) await new Promise((done) => \
                           setTimeout(done, event.sleep * 1000));\n  return event;\n};\n"
                        .to_vec(),
            },
            Self::Rust => {
                let path = super::target_directory()?.join("suite/cargo/release/bootstrap");
                let content = std::fs::read(&path).map_err(io_error(format!("read `{}`", path.display())))?;
                Package {
                    runtime: "provided.al2023".to_owned(),
                    handler: "bootstrap",
                    file: "bootstrap",
                    content,
                }
            }
        })
    }
}

fn ask(program: &'static str, arguments: &[&str]) -> Result<String, BenchError> {
    let output = Command::new(program).args(arguments).output().map_err(|_| BenchError::Missing(program))?;
    Ok(String::from_utf8_lossy(&output.stdout).trim().to_owned())
}
