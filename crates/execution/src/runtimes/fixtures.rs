//! Fake interpreters and functions for the tests of this crate's pure parts.
//!
//! Must not need what the machine has or lacks, beyond a shell.

use std::{
    fs,
    os::unix::fs::{PermissionsExt, symlink},
    path::{Path, PathBuf},
    process::Command,
    time::Duration,
};

use hothouse_api::generated::{Architecture, LogFormat, TracingMode};

use super::SearchPaths;
use crate::spec::{FunctionSpec, Logging};

/// A directory tree with interpreters that could not run, so that a test fails if one has to.
pub(crate) struct Tree(tempfile::TempDir);

impl Tree {
    pub(crate) fn new() -> Self {
        Self(tempfile::tempdir().unwrap())
    }

    pub(crate) fn path(&self, relative: &str) -> PathBuf {
        self.0.path().canonicalize().unwrap().join(relative)
    }

    pub(crate) fn write(&self, relative: &str, text: &[u8], mode: u32) -> PathBuf {
        let path = self.path(relative);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(&path, text).unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(mode)).unwrap();
        path
    }

    pub(crate) fn program(&self, relative: &str) -> PathBuf {
        self.write(relative, b"\x7fELF", 0o755)
    }

    /// A program that does run. Another process writes it: while this one had it open for writing, a child that a
    /// parallel test starts would inherit that, and the kernel would refuse to run the file ("text file busy").
    pub(crate) fn script(&self, relative: &str, text: &str) -> PathBuf {
        let path = self.path(relative);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        let write = "rm -f \"$0\"; printf %s \"$1\" > \"$0\" && chmod 755 \"$0\"";
        let status = Command::new("/bin/sh").args(["-c", write]).arg(&path).arg(text).status().unwrap();
        assert!(status.success());
        path
    }

    pub(crate) fn link(&self, relative: &str, target: impl AsRef<Path>) {
        let path = self.path(relative);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        symlink(target, path).unwrap();
    }

    /// A Python as pyenv installs it: with a shared library and the developer's packages.
    pub(crate) fn pyenv_python(&self, release: &str) -> PathBuf {
        let prefix = format!("home/.pyenv/versions/{release}");
        let line = release.rsplit_once('.').unwrap().0;
        self.write(&format!("{prefix}/lib/libpython{line}.so.1.0"), b"", 0o644);
        self.write(&format!("{prefix}/lib/python{line}/site-packages/requests.py"), b"", 0o644);
        self.link(&format!("{prefix}/bin/python3"), format!("python{line}"));
        self.program(&format!("{prefix}/bin/python{line}"))
    }

    /// A Node as nvm installs it.
    pub(crate) fn nvm_node(&self, release: &str) -> PathBuf {
        let prefix = format!("home/.nvm/versions/node/v{release}");
        fs::create_dir_all(self.path(&format!("{prefix}/include/node"))).unwrap();
        self.program(&format!("{prefix}/bin/node"))
    }

    /// What a sync leaves behind.
    pub(crate) fn synced(&self, name: &str, file: &str) {
        self.write(&format!("data/runtimes/{name}/synced-1/{file}"), b"synced", 0o644);
        self.write(&format!("data/runtimes/{name}/synced"), b"synced-1", 0o644);
    }

    pub(crate) fn search(&self) -> SearchPaths {
        SearchPaths {
            path: vec![self.path("home/.pyenv/shims"), self.path("usr/bin")],
            home: Some(self.path("home")),
            jvm_dirs: vec![self.path("usr/lib/jvm")],
            data_dir: self.path("data"),
            ..SearchPaths::default()
        }
    }
}

/// A function of 1024 MB.
pub(crate) fn spec(runtime: &str) -> FunctionSpec {
    FunctionSpec {
        account: "000000000000".parse().unwrap(),
        region: "us-east-1".parse().unwrap(),
        function_name: "probe".parse().unwrap(),
        version: "$LATEST".parse().unwrap(),
        runtime: runtime.parse().unwrap(),
        runtime_version_arn: String::new(),
        architecture: Architecture::X8664,
        handler: "index.handler".to_owned(),
        role: String::new(),
        timeout: Duration::from_secs(3),
        memory_mb: 1024,
        ephemeral_storage_mb: 512,
        environment: [].into(),
        code: PathBuf::from("/code"),
        layers: None,
        snap_start: false,
        tracing: TracingMode::PassThrough,
        logging: Logging {
            format: LogFormat::Text,
            group: "/aws/lambda/probe".to_owned(),
            custom_group: false,
            application_level: None,
            system_level: None,
        },
    }
}
