//! Finds the `bootstrap` of a function on a custom runtime.
//!
//! Must not look inside it: whatever is executable may be one.

use std::{
    fs,
    os::unix::fs::PermissionsExt,
    path::{Path, PathBuf},
};

/// The bootstrap as the environment sees it, or the paths that were tried.
///
/// AWS looks in the code, then in the layers.
pub(super) fn find(
    code: &Path,
    layers: Option<&Path>,
    task_root: &Path,
    opt_root: &Path,
) -> Result<PathBuf, Vec<String>> {
    let in_code = task_root.join("bootstrap");
    let in_layers = opt_root.join("bootstrap");
    if is_executable(&code.join("bootstrap")) {
        return Ok(in_code);
    }
    if layers.is_some_and(|layers| is_executable(&layers.join("bootstrap"))) {
        return Ok(in_layers);
    }
    // AWS's words name its own paths, wherever ours are.
    Err(vec!["/var/task/bootstrap".to_owned(), "/opt/bootstrap".to_owned()])
}

fn is_executable(path: &Path) -> bool {
    // An absolute link leads to a place inside the environment, which only that can look at: starting it tells.
    if fs::read_link(path).is_ok_and(|target| target.is_absolute()) {
        return true;
    }
    fs::metadata(path).is_ok_and(|metadata| metadata.is_file() && metadata.permissions().mode() & 0o111 != 0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_absolute_link_is_the_environments_to_follow() {
        let directory = tempfile::tempdir().unwrap();
        let find = || find(directory.path(), None, Path::new("/var/task"), Path::new("/opt"));
        assert_eq!(find().unwrap_err(), ["/var/task/bootstrap", "/opt/bootstrap"]);
        std::os::unix::fs::symlink("nowhere", directory.path().join("bootstrap")).unwrap();
        assert!(find().is_err());
        fs::remove_file(directory.path().join("bootstrap")).unwrap();
        std::os::unix::fs::symlink("/opt/runtime/main", directory.path().join("bootstrap")).unwrap();
        assert_eq!(find().unwrap(), Path::new("/var/task/bootstrap"));
    }
}
