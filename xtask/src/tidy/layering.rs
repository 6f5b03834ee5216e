//! Which crate may use which, as ARCHITECTURE.md draws it.
//!
//! Must not look at dependencies of dependencies: a crate answers for what it names itself.

use std::path::PathBuf;

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
pub(super) fn check(metadata: &Value) -> Vec<Finding> {
    let mut findings = Vec::new();
    for package in
        metadata["packages"].as_array().into_iter().flatten().filter(|package| package["source"].is_null())
    {
        let name = package["name"].as_str().unwrap_or_default();
        let manifest = PathBuf::from(package["manifest_path"].as_str().unwrap_or_default());
        for used in
            package["dependencies"].as_array().into_iter().flatten().filter_map(|used| used["name"].as_str())
        {
            let line = line_of(&manifest, used);
            if is_ours(used) && !may_use(name, used) {
                let hint =
                    "the arrows go server → control → execution → sandbox, all but sandbox may use api";
                findings.push(Finding::new(&manifest, line, format!("`{name}` must not use `{used}`"), hint));
            }
            for (crate_name, libraries, hint) in BANNED {
                if name == crate_name && libraries.contains(&used) {
                    findings.push(Finding::new(
                        &manifest,
                        line,
                        format!("`{name}` must not use `{used}`"),
                        hint,
                    ));
                }
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

fn line_of(manifest: &PathBuf, dependency: &str) -> usize {
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
            {"name": API, "source": null, "manifest_path": "b/Cargo.toml", "dependencies": [{"name": "tokio"}, {"name": "http"}]},
            {"name": "somebody", "source": "registry", "manifest_path": "c/Cargo.toml", "dependencies": [{"name": "hothouse"}]},
        ]});
        let found: Vec<_> = check(&metadata).into_iter().map(|finding| finding.what).collect();
        assert_eq!(
            found,
            ["`hothouse-execution` must not use `hothouse`", "`hothouse-api` must not use `tokio`"]
        );
    }
}
