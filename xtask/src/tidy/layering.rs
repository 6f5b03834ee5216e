//! Which crate may use which, as ARCHITECTURE.md draws it.
//!
//! Must not look at dependencies of dependencies: a crate answers for what it names itself.

use std::path::Path;

use serde_json::Value;

use super::Finding;

/// Our crates from the top down: each may use those after it. `hothouse-api` stands apart (see [`may_use`]).
const LAYERS: [&str; 4] = ["hothouse", "hothouse-control", "hothouse-execution", "hothouse-sandbox"];
const API: &str = "hothouse-api";
const SANDBOX: &str = "hothouse-sandbox";

/// Libraries that a crate must not name, and the invariant that says so.
const BANNED: [(&str, &[&str], &str); 3] = [
    (
        API,
        &["tokio", "hyper", "hyper-util", "rustix", "libc"],
        "`api` has no runtime and no IO (invariant 1): move what needs it to the crate that serves",
    ),
    (
        "hothouse-control",
        &["http", "hyper", "hyper-util", "http-body-util"],
        "`control` speaks Rust types (invariant 1): HTTP belongs to `api`, `server` and the Runtime API",
    ),
    (
        SANDBOX,
        &["tokio", "hyper", "serde_json"],
        "`sandbox` isolates one process tree and knows nothing above it",
    ),
];

/// Looks at every dependency that our crates name.
pub(super) fn check(root: &Path, metadata: &Value) -> Vec<Finding> {
    let mut findings = Vec::new();
    let packages = metadata["packages"].as_array().into_iter().flatten();
    for package in packages.filter(|package| package["source"].is_null()) {
        let name = package["name"].as_str().unwrap_or_default();
        let manifest = Path::new(package["manifest_path"].as_str().unwrap_or_default());
        for dependency in package["dependencies"].as_array().into_iter().flatten() {
            let used = dependency["name"].as_str().unwrap_or_default();
            let mut find = |hint| {
                let path = manifest.strip_prefix(root).unwrap_or(manifest);
                findings.push(Finding::new(
                    path,
                    line_of(manifest, used),
                    format!("`{name}` must not use `{used}`"),
                    hint,
                ));
            };
            // A crate's tests may ask the crate itself for what it offers to tests only.
            if is_ours(used) && used != name && !may_use(name, used) {
                find("the arrows go server → control → execution → sandbox, all but sandbox may use api");
            }
            let banned =
                BANNED.iter().find(|(user, libraries, _)| *user == name && libraries.contains(&used));
            if let Some((_, _, hint)) = banned.filter(|_| dependency["kind"] != "dev") {
                find(hint);
            }
        }
    }
    findings
}

fn is_ours(name: &str) -> bool {
    name == API || LAYERS.contains(&name)
}

fn may_use(user: &str, used: &str) -> bool {
    let layer = |name| LAYERS.iter().position(|layer| *layer == name);
    match (layer(user), layer(used)) {
        (Some(user), Some(used)) => user < used,
        (Some(_), None) => user != SANDBOX,
        // `api` uses none of ours; the chores may use any.
        (None, _) => user != API,
    }
}

fn line_of(manifest: &Path, dependency: &str) -> usize {
    let text = std::fs::read_to_string(manifest).unwrap_or_default();
    text.lines()
        .position(|line| line.strip_prefix(dependency).is_some_and(|rest| rest.starts_with(['.', ' ', '='])))
        .map_or(1, |index| index + 1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn arrows_go_down_only() {
        assert!(may_use("hothouse", "hothouse-execution"));
        assert!(may_use("hothouse-control", API));
        assert!(!may_use("hothouse-execution", "hothouse-control"));
        assert!(!may_use(SANDBOX, API));
        assert!(!may_use(API, SANDBOX));
        assert!(may_use("xtask", API));
    }

    #[test]
    fn a_forbidden_arrow_and_a_banned_library_are_found() {
        let metadata = serde_json::json!({"packages": [
            {"name": "hothouse-execution", "source": null, "manifest_path": "a/Cargo.toml", "dependencies": [{"name": "hothouse"}]},
            {"name": API, "source": null, "manifest_path": "b/Cargo.toml", "dependencies": [{"name": "tokio"}, {"name": "http"}, {"name": "hyper", "kind": "dev"}, {"name": API, "kind": "dev"}]},
            {"name": "somebody", "source": "registry", "manifest_path": "c/Cargo.toml", "dependencies": [{"name": "hothouse"}]},
        ]});
        let found: Vec<_> = check(Path::new(""), &metadata).into_iter().map(|finding| finding.what).collect();
        assert_eq!(
            found,
            ["`hothouse-execution` must not use `hothouse`", "`hothouse-api` must not use `tokio`"]
        );
    }
}
