//! `hothouse runtimes sync`: installs what AWS's runtimes come with, by each language's own package tool.
//!
//! Must not be called while serving: it runs for seconds and talks to registries. What it installs appears whole
//! (renamed into place) or not at all, and environments that run keep what they have.

use std::{
    collections::{BTreeSet, VecDeque},
    ffi::{OsStr, OsString},
    fs,
    io::{self, BufRead, BufReader},
    path::{Path, PathBuf},
    process::{Command, ExitStatus, Stdio},
};

use sha2::{Digest, Sha256};

use super::{
    catalog::{Catalog, install_hint},
    client::{self, Unfinished},
    discovery,
    family::{Family, Language, Line},
    interpreter::Interpreter,
    plan::PlanError,
};

mod pins;

/// What happens meanwhile, for a progress display.
#[derive(Debug)]
pub enum Progress<'a> {
    /// Work on a target begins.
    Started {
        /// `python3.12`, `node`…
        target: &'a str,
        /// What is installed.
        packages: &'a [String],
    },
    /// A line that the package tool printed.
    Output(&'a str),
    /// It is installed.
    Finished {
        /// As in `Started`.
        target: &'a str,
    },
    /// It was there already.
    UpToDate {
        /// As in `Started`.
        target: &'a str,
    },
}

/// What to install into one directory of the catalog.
#[derive(Debug)]
pub struct Target<'a> {
    /// Its name: `python3.12`, `node`, `java`, `ruby3.4`.
    pub name: String,
    /// The packages in the tool's own notation.
    pub packages: Vec<String>,
    language: Language,
    interpreter: &'a Interpreter,
}

/// Nothing was installed for a target.
#[derive(Debug, thiserror::Error)]
pub enum SyncError {
    /// No such runtime.
    #[error(
        "`{name}` is neither a managed runtime, such as `python3.13`, nor an npm package, such as `@aws-sdk/client-athena`"
    )]
    Unknown {
        /// What was asked for.
        name: String,
    },
    /// The language is not here.
    #[error(transparent)]
    NotInstalled(PlanError),
    /// The package tool is not here.
    #[error("`{tool}` is not installed; {hint}")]
    NoTool {
        /// `npm`, `mvn`, `gem`.
        tool: &'static str,
        /// How to get it.
        hint: &'static str,
    },
    /// The package tool failed.
    #[error("`{tool}` failed for {target} ({status}):\n{said}{hint}")]
    Tool {
        /// `pip`, `npm`…
        tool: &'static str,
        /// As in [`Target::name`].
        target: String,
        /// How it ended.
        status: ExitStatus,
        /// The last lines that it printed.
        said: String,
        /// What to do, if that is known.
        hint: &'static str,
    },
    /// The data directory cannot be written, or the tool not be run.
    #[error("failed to {step} `{path}`")]
    Io {
        /// What was attempted.
        step: &'static str,
        /// Where.
        path: PathBuf,
        /// What the system said.
        #[source]
        source: io::Error,
    },
}

/// What these names ask for; everything found on the machine, if there are none.
///
/// A name is a runtime identifier, a language, or an npm package (`@scope/name`) to add to Node's.
///
/// # Errors
/// A name is unknown, or its language not installed.
pub fn targets<'a>(catalog: &'a Catalog, names: &[String]) -> Result<Vec<Target<'a>>, SyncError> {
    let mut targets: Vec<Target<'a>> = Vec::new();
    let mut add = |language, line, extra: Option<&String>| -> Result<(), SyncError> {
        let target = target(catalog, language, line)?;
        let position = targets.iter().position(|known| known.name == target.name).unwrap_or_else(|| {
            targets.push(target);
            targets.len() - 1
        });
        let packages = &mut targets[position].packages;
        packages.extend(extra.filter(|package| !packages.contains(package)).cloned());
        Ok(())
    };
    let newest = |language: Language| lines(catalog, language).last().copied();
    let not_found = |language: Language| {
        let line = pins::newest(language);
        SyncError::NotInstalled(PlanError::NotInstalled {
            runtime: language.identifier().to_owned(),
            wanted: language.name().to_owned(),
            hint: install_hint(language, line),
        })
    };
    if names.is_empty() {
        for language in Language::ALL {
            for line in lines(catalog, language) {
                add(language, line, None)?;
            }
        }
    }
    for name in names {
        if name.starts_with('@') {
            let line = newest(Language::Node).ok_or_else(|| not_found(Language::Node))?;
            add(Language::Node, line, Some(&pins::npm_package(name)))?;
            continue;
        }
        match Family::of(name) {
            Family::Managed(language, line) => {
                let selection = catalog.select(name, language, line).map_err(SyncError::NotInstalled)?;
                add(language, selection.interpreter.line().unwrap_or(line), None)?;
            }
            Family::Provided | Family::Unsupported => {
                let language = discovery::language_named(name)
                    .ok_or_else(|| SyncError::Unknown { name: name.clone() })?;
                let found = lines(catalog, language);
                if found.is_empty() {
                    return Err(not_found(language));
                }
                for line in found {
                    add(language, line, None)?;
                }
            }
        }
    }
    Ok(targets)
}

/// Installs a target, unless it is installed. Blocks, for seconds to minutes.
///
/// # Errors
/// The package tool is missing or failed, or the data directory cannot be written. Nothing has changed then.
pub fn install(
    catalog: &Catalog,
    target: &Target<'_>,
    report: &mut dyn FnMut(Progress<'_>),
) -> Result<(), SyncError> {
    let directory = catalog.directory().join(&target.name);
    let current = client::synced(catalog.directory(), &target.name);
    let packages = with_earlier(&directory, target);
    let name = format!("synced-{}", hash(&packages));
    if current.is_some_and(|current| current.ends_with(&name)) {
        report(Progress::UpToDate { target: &target.name });
        return Ok(());
    }
    report(Progress::Started { target: &target.name, packages: &packages });
    io_step("create", &directory, fs::create_dir_all(&directory))?;
    client::remove_abandoned(&directory);
    let work = io_step("create a directory in", &directory, Unfinished::create(&directory))?;
    let result = work.path.join("result");
    io_step("create", &result, fs::create_dir(&result))?;
    run_tool(catalog, target, &packages, &work.path, &result, report)?;

    let installed = directory.join(&name);
    match fs::rename(&result, &installed) {
        // Left by a sync that ended before the last step below.
        Err(_) if installed.is_dir() => {}
        outcome => io_step("rename to", &installed, outcome)?,
    }
    write_atomically(&work.path, &directory.join("packages"), &(packages.join("\n") + "\n"))?;
    write_atomically(&work.path, &directory.join("synced"), &name)?;
    report(Progress::Finished { target: &target.name });
    Ok(())
}

/// The packages that the last sync installed for functions on this interpreter.
pub fn installed_packages(catalog: &Catalog, interpreter: &Interpreter) -> Vec<String> {
    let Some(line) = interpreter.line() else { return Vec::new() };
    let name = client::directory_name(interpreter.language, line);
    if client::synced(catalog.directory(), &name).is_none() {
        return Vec::new();
    }
    fs::read_to_string(catalog.directory().join(name).join("packages"))
        .map(|text| text.lines().map(str::to_owned).collect())
        .unwrap_or_default()
}

/// The lines of a language that are here, oldest first.
fn lines(catalog: &Catalog, language: Language) -> Vec<Line> {
    let lines: BTreeSet<Line> = catalog
        .interpreters()
        .iter()
        .filter(|interpreter| interpreter.language == language)
        .filter_map(Interpreter::line)
        .filter(|line| *line >= language.oldest())
        .collect();
    lines.into_iter().collect()
}

fn target(catalog: &Catalog, language: Language, line: Line) -> Result<Target<'_>, SyncError> {
    let runtime = format!("{}{}", language.identifier(), language.display(line));
    let selection = catalog.select(&runtime, language, line).map_err(SyncError::NotInstalled)?;
    Ok(Target {
        name: client::directory_name(language, line),
        packages: pins::packages(language, line, catalog.policy().official_clients),
        language,
        interpreter: selection.interpreter,
    })
}

/// Packages that were added by name before are kept: a later sync must not take them away.
fn with_earlier(directory: &Path, target: &Target<'_>) -> Vec<String> {
    let mut packages = target.packages.clone();
    if target.language == Language::Node {
        let name = |package: &str| package.rsplit_once('@').map(|(name, _)| name.to_owned());
        let earlier = fs::read_to_string(directory.join("packages")).unwrap_or_default();
        for package in earlier.lines() {
            if !packages.iter().any(|wanted| name(wanted) == name(package)) {
                packages.push(package.to_owned());
            }
        }
    }
    packages.sort();
    packages
}

fn run_tool(
    catalog: &Catalog,
    target: &Target<'_>,
    packages: &[String],
    work: &Path,
    result: &Path,
    report: &mut dyn FnMut(Progress<'_>),
) -> Result<(), SyncError> {
    let path = search_path(catalog, target.interpreter);
    match target.language {
        Language::Python => {
            let mut pip = Command::new(&target.interpreter.executable);
            pip.args(["-I", "-m", "pip", "install", "--disable-pip-version-check", "--no-input", "--target"])
                .arg(result)
                .args(packages)
                .env("PIP_ROOT_USER_ACTION", "ignore");
            run(pip, "pip", target, report)?;
            // Command line tools have the path of this installation in their first line.
            let _ = fs::remove_dir_all(result.join("bin"));
            Ok(())
        }
        Language::Node => {
            let npm = tool("npm", &path, "it comes with Node.js, or as your distribution's package `npm`")?;
            let manifest = result.join("package.json");
            let dependencies: serde_json::Map<String, serde_json::Value> = packages
                .iter()
                .filter_map(|package| package.rsplit_once('@'))
                .map(|(name, version)| (name.to_owned(), version.into()))
                .collect();
            let text = serde_json::json!({ "private": true, "dependencies": dependencies }).to_string();
            io_step("write", &manifest, fs::write(&manifest, text))?;
            let mut command = Command::new(npm);
            command
                .args(["install", "--no-audit", "--no-fund", "--omit=dev", "--package-lock=false"])
                .current_dir(result)
                .env("PATH", &path);
            run(command, "npm", target, report)?;
            // `/var/runtime` has no manifest of its own on AWS; ours would decide how files beside it are loaded.
            io_step("remove", &manifest, fs::remove_file(&manifest))
        }
        Language::Java => {
            let maven =
                tool("mvn", &path, "install Apache Maven, for example your distribution's package `maven`")?;
            let project = work.join("pom.xml");
            io_step("write", &project, fs::write(&project, pins::maven_project(packages)))?;
            let mut output_directory = OsString::from("-DoutputDirectory=");
            output_directory.push(result.join("lib"));
            let mut command = Command::new(maven);
            command
                .args(["--batch-mode", "--no-transfer-progress", "dependency:copy-dependencies"])
                .arg(output_directory)
                .current_dir(work)
                .env("PATH", &path);
            run(command, "mvn", target, report)
        }
        Language::Ruby => {
            let gem =
                tool("gem", &path, "it comes with Ruby, or as your distribution's package `ruby-rubygems`")?;
            for package in packages {
                let (name, version) = package.split_once(':').expect("pins have a version");
                let mut command = Command::new(&gem);
                command
                    .args(["install", name, "--version", version, "--no-document", "--install-dir"])
                    .arg(result)
                    .env("PATH", &path);
                run(command, "gem", target, report)?;
            }
            Ok(())
        }
    }
}

/// Runs a package tool, passing on what it prints.
fn run(
    mut command: Command,
    tool: &'static str,
    target: &Target<'_>,
    report: &mut dyn FnMut(Progress<'_>),
) -> Result<(), SyncError> {
    const KEPT_LINES: usize = 15;
    let program = PathBuf::from(command.get_program());
    let failed = |source| SyncError::Io { step: "run", path: program.clone(), source };
    let (output, writer) = io::pipe().map_err(failed)?;
    command.stdin(Stdio::null()).stdout(writer.try_clone().map_err(failed)?).stderr(writer);
    let mut child = command.spawn().map_err(failed)?;
    // The command holds the writing ends: without them the output ends when the tool does.
    drop(command);

    let mut last = VecDeque::with_capacity(KEPT_LINES);
    for line in BufReader::new(output).split(b'\n').map_while(Result::ok) {
        let line = String::from_utf8_lossy(&line).trim_end().to_owned();
        if line.is_empty() {
            continue;
        }
        report(Progress::Output(&line));
        if last.len() == KEPT_LINES {
            last.pop_front();
        }
        last.push_back(line);
    }
    let status = child.wait().map_err(failed)?;
    if status.success() {
        return Ok(());
    }
    let said: String = last.iter().flat_map(|line| ["    ", line, "\n"]).collect();
    let hint = if said.contains("No module named pip") {
        "    this Python has no pip: your distribution has it as `python3-pip`, elsewhere `python -m ensurepip` helps"
    } else {
        ""
    };
    Err(SyncError::Tool { tool, target: target.name.clone(), status, said, hint })
}

/// `PATH` with the interpreter's own directory first, where version managers keep its tools.
fn search_path(catalog: &Catalog, interpreter: &Interpreter) -> OsString {
    let own = interpreter.executable.parent().map(Path::to_owned);
    let mut path = OsString::new();
    for directory in own.iter().chain(catalog.tool_directories()) {
        if !path.is_empty() {
            path.push(":");
        }
        path.push(directory);
    }
    path
}

fn tool(name: &'static str, path: &OsStr, hint: &'static str) -> Result<PathBuf, SyncError> {
    path.as_encoded_bytes()
        .split(|byte| *byte == b':')
        .map(|directory| Path::new(<OsStr as std::os::unix::ffi::OsStrExt>::from_bytes(directory)).join(name))
        .find(|candidate| candidate.is_file())
        .ok_or(SyncError::NoTool { tool: name, hint })
}

fn write_atomically(work: &Path, target: &Path, text: &str) -> Result<(), SyncError> {
    let unfinished = work.join("text");
    io_step("write", &unfinished, fs::write(&unfinished, text))?;
    io_step("write", target, fs::rename(&unfinished, target))
}

fn hash(packages: &[String]) -> String {
    let mut digest = Sha256::new();
    for package in packages {
        digest.update(package);
        digest.update([0]);
    }
    client::short_hexadecimal(digest)
}

fn io_step<T>(step: &'static str, path: &Path, outcome: io::Result<T>) -> Result<T, SyncError> {
    outcome.map_err(|source| SyncError::Io { step, path: path.to_owned(), source })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::runtimes::{Policy, SearchPaths, fixtures::Tree};

    fn names(targets: &[Target<'_>]) -> Vec<String> {
        targets.iter().map(|target| target.name.clone()).collect()
    }

    fn catalog(search: &SearchPaths) -> Catalog {
        Catalog::discover(search, Policy::default())
    }

    /// A Python whose `pip` is a script: it records how it was called and installs one file.
    fn scripted_python(tree: &Tree, script: &str) -> Catalog {
        let python = tree.pyenv_python("3.12.1");
        let catalog = catalog(&tree.search());
        tree.script("home/.pyenv/versions/3.12.1/bin/python3.12", script);
        assert_eq!(catalog.interpreters()[0].executable, python);
        catalog
    }

    const PIP: &str = "#!/bin/sh\n\
        while [ \"$1\" != --target ]; do shift; done\n\
        shift; target=$1; shift\n\
        mkdir -p \"$target/bin\"; echo \"$@\" > \"$target/installed\"; echo Collecting \"$@\"\n";

    fn install_once(catalog: &Catalog, names: &[String]) -> (Vec<String>, Result<(), SyncError>) {
        let targets = targets(catalog, names).unwrap();
        let mut steps = Vec::new();
        let outcome = install(catalog, &targets[0], &mut |progress| {
            steps.push(match progress {
                Progress::Started { target, packages } => format!("start {target} {}", packages.join(" ")),
                Progress::Output(line) => line.to_owned(),
                Progress::Finished { target } => format!("finish {target}"),
                Progress::UpToDate { target } => format!("up to date {target}"),
            });
        });
        (steps, outcome)
    }

    #[test]
    fn names_choose_targets_and_no_name_chooses_all() {
        let tree = Tree::new();
        for release in ["3.7.16", "3.12.1", "3.13.0"] {
            tree.pyenv_python(release);
        }
        tree.nvm_node("20.1.0");
        tree.nvm_node("22.11.0");
        let catalog = catalog(&tree.search());
        let chosen = |asked: &[&str]| {
            let asked: Vec<String> = asked.iter().map(|&name| name.to_owned()).collect();
            targets(&catalog, &asked).map(|targets| names(&targets))
        };
        assert_eq!(chosen(&[]).unwrap(), ["python3.12", "python3.13", "node"]);
        assert_eq!(chosen(&["python"]).unwrap(), ["python3.12", "python3.13"]);
        assert_eq!(chosen(&["nodejs22.x", "nodejs20.x", "node.js"]).unwrap(), ["node"]);
        // The one that would run its functions.
        assert_eq!(chosen(&["python3.14"]).unwrap(), ["python3.13"]);
        assert!(matches!(chosen(&["cobol"]), Err(SyncError::Unknown { .. })));
        assert!(matches!(chosen(&["java21"]), Err(SyncError::NotInstalled(_))));

        let asked = ["@aws-sdk/client-athena".to_owned(), "@middy/core@5.0.0".to_owned()];
        let added = targets(&catalog, &asked).unwrap();
        assert_eq!(names(&added), ["node"]);
        assert!(added[0].packages.iter().any(|package| package.starts_with("@aws-sdk/client-athena@>=3.")));
        assert!(added[0].packages.contains(&"@middy/core@5.0.0".to_owned()));
        assert!(added[0].packages.iter().any(|package| package.starts_with("@aws-sdk/client-s3@")));
    }

    #[test]
    fn a_second_sync_finds_everything_there() {
        let tree = Tree::new();
        let catalog = scripted_python(&tree, PIP);
        let (steps, outcome) = install_once(&catalog, &[]);
        outcome.unwrap();
        assert_eq!(
            steps,
            ["start python3.12 boto3==1.44.5", "Collecting boto3==1.44.5", "finish python3.12"]
        );
        let synced = client::synced(catalog.directory(), "python3.12").unwrap();
        assert_eq!(fs::read_to_string(synced.join("installed")).unwrap(), "boto3==1.44.5\n");
        assert!(!synced.join("bin").exists());
        assert_eq!(installed_packages(&catalog, &catalog.interpreters()[0]), ["boto3==1.44.5"]);
        let (steps, outcome) = install_once(&catalog, &[]);
        outcome.unwrap();
        assert_eq!(steps, ["up to date python3.12"]);
    }

    #[test]
    fn a_failed_sync_changes_nothing_and_says_why() {
        let tree = Tree::new();
        let catalog = scripted_python(&tree, "#!/bin/sh\necho 'No module named pip' >&2\nexit 1\n");
        let (_, outcome) = install_once(&catalog, &[]);
        let text = outcome.unwrap_err().to_string();
        assert!(text.contains("exit status: 1") && text.contains("python3-pip"), "{text}");
        assert_eq!(client::synced(catalog.directory(), "python3.12"), None);
        let left = fs::read_dir(catalog.directory().join("python3.12")).unwrap().count();
        assert_eq!(left, 0);
    }

    #[test]
    fn what_a_killed_sync_left_is_removed() {
        let tree = Tree::new();
        let catalog = scripted_python(&tree, PIP);
        // No process has this id: it is above the kernel's limit.
        let abandoned = tree.write("data/runtimes/python3.12/.unfinished-4194305-0/result/x", b"", 0o644);
        let running = format!("data/runtimes/python3.12/.unfinished-{}-0/x", std::process::id());
        let running = tree.write(&running, b"", 0o644);
        install_once(&catalog, &[]).1.unwrap();
        assert!(!abandoned.exists() && running.exists());
    }

    #[test]
    fn packages_that_were_added_to_node_stay() {
        let tree = Tree::new();
        tree.nvm_node("22.11.0");
        let npm = "#!/bin/sh\nmkdir node_modules\ncp package.json node_modules/asked\n";
        tree.script("home/.nvm/versions/node/v22.11.0/bin/npm", npm);
        // The script needs `mkdir` and `cp`.
        let mut search = tree.search();
        search.path.extend(["/usr/bin", "/bin"].map(PathBuf::from));
        search.path.retain(|directory| directory.exists());
        let catalog = catalog(&search);
        install_once(&catalog, &["@middy/core@5.0.0".to_owned()]).1.unwrap();
        install_once(&catalog, &["nodejs22.x".to_owned()]).1.unwrap();
        let synced = client::synced(catalog.directory(), "node").unwrap();
        let asked = fs::read_to_string(synced.join("node_modules/asked")).unwrap();
        assert!(
            asked.contains("\"@middy/core\":\"5.0.0\"") && asked.contains("@aws-sdk/client-s3"),
            "{asked}"
        );
        assert!(!synced.join("package.json").exists());
    }
}
