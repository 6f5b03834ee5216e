//! The directory that becomes `/var/runtime`: our runtime interface client together with what was synced.
//!
//! Must not download anything: that is [`super::sync`].
//!
//! Kept under `<data directory>/runtimes/<name>/`, where `<name>` is `python3.12`, `node`, `java` or `ruby3.4`:
//!
//! * `synced-<hash>/`: what one sync installed. `synced` holds the name of the one in force.
//! * `archive-…`: see [`super::archive`].
//! * `runtime-<hash>/`: client files and hard links to everything synced, named after both. It is complete when it
//!   exists, and never changed after that, since running environments have it mounted.

use std::{
    fmt::Write as _,
    fs, io,
    path::{Path, PathBuf},
    process::{Command, Stdio},
};

use sha2::{Digest, Sha256};

use super::{
    family::{Language, Line},
    interpreter::Interpreter,
};

/// A client's files: relative path and text.
type ClientFiles = &'static [(&'static str, &'static str)];

macro_rules! client_files {
    ($directory:literal: $($file:literal),* $(,)?) => {
        &[$(($file, include_str!(concat!("../../../../runtimes/", $directory, "/", $file)))),*]
    };
}

const PYTHON: ClientFiles = client_files!("python":
    "awslambdaric/__init__.py",
    "awslambdaric/lambda_context.py",
    "bootstrap.py",
    "hothouse_assignment.py",
    "hothouse_client.py",
    "hothouse_context.py",
    "hothouse_debugger.py",
    "hothouse_faults.py",
    "hothouse_json.py",
    "hothouse_logging.py",
    "hothouse_process.py",
    "hothouse_runtime_api.py",
    "hothouse_snapshot.py",
    "hothouse_zygote.py",
    "snapshot_restore_py.py",
);

const NODE: ClientFiles = client_files!("node":
    "assignment.cjs",
    "classic.cjs",
    "client.cjs",
    "context.cjs",
    "errors.cjs",
    "handler.cjs",
    "index.mjs",
    "log.cjs",
    "loop.cjs",
    "modern.cjs",
    "module_search.cjs",
    "module_search_hooks.mjs",
    "runtime_api.cjs",
    "streaming.cjs",
);

/// The name that `NODE_EXTRA_CA_CERTS` points at in Node 16 and 18. Empty: AWS's certificates of RDS are not ours to
/// give, and a missing file makes Node print a warning at every start.
const NODE_CERTIFICATES: (&str, &str) = ("ca-cert.pem", "");

/// The program that speaks to the Runtime API.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Client {
    /// Ours.
    Own,
    /// AWS's published one, synced.
    Official,
}

impl Client {
    /// AWS's, where there is no other, or where it is preferred and was synced.
    pub(super) fn choose(
        catalog_directory: &Path,
        language: Language,
        line: Line,
        prefer_official: bool,
    ) -> Self {
        let marker = match language {
            Language::Python => "awslambdaric/bootstrap.py",
            Language::Node => "node_modules/aws-lambda-ric/package.json",
            Language::Java | Language::Ruby => return Self::Official,
        };
        let synced = synced(catalog_directory, &directory_name(language, line));
        let is_synced = synced.is_some_and(|synced| synced.join(marker).is_file());
        if prefer_official && is_synced { Self::Official } else { Self::Own }
    }
}

/// The runtime directory for `interpreter`, made now unless it exists.
///
/// # Errors
/// If the data directory cannot be written.
pub(super) fn runtime_directory(
    catalog_directory: &Path,
    interpreter: &Interpreter,
    line: Line,
    client: Client,
) -> io::Result<PathBuf> {
    let language = interpreter.language;
    let directory = catalog_directory.join(directory_name(language, line));
    let synced = synced(catalog_directory, &directory_name(language, line));
    let files = files(language, client);
    let target = directory.join(format!("runtime-{}", hash(&files, synced.as_deref())));
    if target.is_dir() {
        return Ok(target);
    }
    fs::create_dir_all(&directory)?;
    let unfinished = Unfinished::create(&directory)?;
    if let Some(synced) = &synced {
        link_tree(synced, &unfinished.path)?;
    }
    for (name, text) in &files {
        let path = unfinished.path.join(name);
        fs::create_dir_all(path.parent().expect("the path has the directory before it"))?;
        // Writing over a hard link would write into the synced file.
        if path.exists() {
            fs::remove_file(&path)?;
        }
        fs::write(path, text)?;
    }
    if (language, client) == (Language::Python, Client::Own) {
        precompile(&interpreter.executable, &unfinished.path, &files);
    }
    unfinished.publish(&target)?;
    Ok(target)
}

/// What a sync installed under this name, if anything.
pub(super) fn synced(catalog_directory: &Path, name: &str) -> Option<PathBuf> {
    let directory = catalog_directory.join(name);
    let current = fs::read_to_string(directory.join("synced")).ok()?;
    let synced = directory.join(current.trim());
    (current.starts_with("synced-") && synced.is_dir()).then_some(synced)
}

/// The subdirectory for a release line. Node and Java packages do not depend on it.
pub(super) fn directory_name(language: Language, line: Line) -> String {
    match language {
        Language::Python => format!("python{}", language.display(line)),
        Language::Ruby => format!("ruby{}", language.display(line)),
        Language::Node => "node".to_owned(),
        Language::Java => "java".to_owned(),
    }
}

/// A directory in the making, removed again unless it is published.
#[derive(Debug)]
pub(super) struct Unfinished {
    pub(super) path: PathBuf,
}

impl Unfinished {
    /// An empty directory inside `parent`, so that publishing is a rename.
    pub(super) fn create(parent: &Path) -> io::Result<Self> {
        let path = parent.join(format!(".unfinished-{}-{:08x}", std::process::id(), fastrand::u32(..)));
        fs::create_dir(&path)?;
        Ok(Self { path })
    }

    /// Gives it its name. If another process was faster, theirs is as good.
    pub(super) fn publish(self, target: &Path) -> io::Result<()> {
        match fs::rename(&self.path, target) {
            Err(_) if target.is_dir() => Ok(()),
            outcome => outcome,
        }
    }
}

impl Drop for Unfinished {
    fn drop(&mut self) {
        // After publishing there is nothing at this path any more.
        let _ = fs::remove_dir_all(&self.path);
    }
}

/// Removes the unfinished directories of services that were killed.
pub(super) fn remove_abandoned(directory: &Path) {
    for entry in fs::read_dir(directory).into_iter().flatten().flatten() {
        let name = entry.file_name();
        let process = name.to_str().and_then(|name| name.strip_prefix(".unfinished-")?.split('-').next());
        if process.is_some_and(|process| !Path::new("/proc").join(process).exists()) {
            let _ = fs::remove_dir_all(entry.path());
        }
    }
}

fn files(language: Language, client: Client) -> Vec<(&'static str, &'static str)> {
    match (language, client) {
        (Language::Python, Client::Own) => PYTHON.to_vec(),
        (Language::Node, Client::Own) => NODE.iter().copied().chain([NODE_CERTIFICATES]).collect(),
        (Language::Node, Client::Official) => vec![NODE_CERTIFICATES],
        // Ours has modules of the same names as AWS's, for functions that import them.
        (Language::Python, Client::Official) | (Language::Java | Language::Ruby, _) => Vec::new(),
    }
}

fn hash(files: &[(&str, &str)], synced: Option<&Path>) -> String {
    let mut digest = Sha256::new();
    for (name, text) in files {
        for part in [name, text] {
            digest.update((part.len() as u64).to_be_bytes());
            digest.update(part);
        }
    }
    if let Some(name) = synced.and_then(Path::file_name) {
        digest.update(name.as_encoded_bytes());
    }
    short_hexadecimal(digest)
}

/// The first 8 bytes of a digest, in hexadecimal.
pub(super) fn short_hexadecimal(digest: Sha256) -> String {
    digest.finalize().iter().take(8).fold(String::new(), |mut text, byte| {
        write!(text, "{byte:02x}").expect("writing to a string cannot fail");
        text
    })
}

/// Recreates `source`'s directories in `target`, with hard links to its files (copies, where links are impossible).
fn link_tree(source: &Path, target: &Path) -> io::Result<()> {
    for entry in fs::read_dir(source)? {
        let entry = entry?;
        let (from, to) = (entry.path(), target.join(entry.file_name()));
        let kind = entry.file_type()?;
        if kind.is_dir() {
            fs::create_dir_all(&to)?;
            link_tree(&from, &to)?;
        } else if kind.is_symlink() {
            std::os::unix::fs::symlink(fs::read_link(&from)?, &to)?;
        } else if fs::hard_link(&from, &to).is_err() {
            fs::copy(&from, &to)?;
        }
    }
    Ok(())
}

/// `/var/runtime` is read-only inside, so that Python could never keep what it compiled. Without compiled files
/// functions only start slower, so a failure is not passed on.
fn precompile(python: &Path, directory: &Path, files: &[(&str, &str)]) {
    let status = Command::new(python)
        .args(["-I", "-S", "-m", "compileall", "-q", "--invalidation-mode", "unchecked-hash"])
        .args(files.iter().map(|(name, _)| name))
        .current_dir(directory)
        .env_clear()
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .status();
    match status {
        Ok(status) if status.success() => {}
        Ok(status) => {
            tracing::debug!(%status, python = %python.display(), "compiling the runtime client failed")
        }
        Err(error) => tracing::debug!(%error, python = %python.display(), "failed to run the interpreter"),
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;
    use crate::runtimes::{Catalog, Policy, fixtures::Tree};

    fn python_directory(tree: &Tree) -> PathBuf {
        let catalog = Catalog::discover(&tree.search(), Policy::default());
        let interpreter = &catalog.interpreters()[0];
        runtime_directory(catalog.directory(), interpreter, interpreter.line().unwrap(), Client::Own).unwrap()
    }

    #[test]
    fn every_file_of_our_clients_is_embedded() {
        for (name, files) in [("python", PYTHON), ("node", NODE)] {
            let directory = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../runtimes").join(name);
            let mut present = BTreeSet::new();
            collect(&directory, "", &mut present);
            let embedded: BTreeSet<String> = files.iter().map(|(file, _)| (*file).to_owned()).collect();
            assert_eq!(embedded, present, "runtimes/{name}");
        }
    }

    fn collect(directory: &Path, prefix: &str, files: &mut BTreeSet<String>) {
        for entry in fs::read_dir(directory).unwrap() {
            let entry = entry.unwrap();
            let name = entry.file_name().into_string().unwrap();
            let path = format!("{prefix}{name}");
            if entry.file_type().unwrap().is_file() {
                files.insert(path);
            } else if !["__pycache__", "node_modules", "test", "tests"].contains(&name.as_str()) {
                collect(&entry.path(), &format!("{path}/"), files);
            }
        }
    }

    #[test]
    fn the_client_and_what_was_synced_are_in_one_directory() {
        let tree = Tree::new();
        tree.pyenv_python("3.12.1");
        let before = python_directory(&tree);
        assert!(before.join("bootstrap.py").is_file());
        tree.synced("python3.12", "boto3/__init__.py");
        let after = python_directory(&tree);
        assert_ne!(before, after, "environments that run keep the directory that they have");
        assert!(before.is_dir());
        assert!(after.join("bootstrap.py").is_file() && after.join("boto3/__init__.py").is_file());
        assert_eq!(python_directory(&tree), after);
    }

    #[test]
    fn our_files_never_change_the_synced_ones() {
        let tree = Tree::new();
        tree.pyenv_python("3.12.1");
        tree.synced("python3.12", "bootstrap.py");
        let directory = python_directory(&tree);
        assert_ne!(fs::read(directory.join("bootstrap.py")).unwrap(), b"synced");
        let synced = tree.path("data/runtimes/python3.12/synced-1/bootstrap.py");
        assert_eq!(fs::read(synced).unwrap(), b"synced");
    }

    #[test]
    fn nothing_unfinished_is_left() {
        let tree = Tree::new();
        tree.pyenv_python("3.12.1");
        let directory = python_directory(&tree);
        let names: Vec<_> = fs::read_dir(directory.parent().unwrap())
            .unwrap()
            .map(|entry| entry.unwrap().file_name())
            .collect();
        assert_eq!(names, [directory.file_name().unwrap()]);
    }
}
