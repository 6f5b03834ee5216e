//! Declared dependencies that nobody installed into the function's folder.
//!
//! Must not install them: it says how to.

use std::{collections::BTreeSet, fs, path::Path};

use serde_json::Value;

/// What functions of Python find installed without their own copy.
const PROVIDED_BY_AWS: [&str; 2] = ["boto3", "botocore"];

/// Notes on dependencies that are missing from a function's folder.
pub(super) fn missing(folder: &Path) -> Vec<String> {
    [missing_python(folder), missing_node(folder)].into_iter().flatten().collect()
}

fn missing_python(folder: &Path) -> Option<String> {
    let requirements = fs::read_to_string(folder.join("requirements.txt")).ok()?;
    let installed: BTreeSet<String> = fs::read_dir(folder)
        .ok()?
        .flatten()
        .filter_map(|entry| {
            let name = entry.file_name().into_string().ok()?;
            let (distribution, _version) = name.strip_suffix(".dist-info")?.rsplit_once('-')?;
            Some(normalized(distribution))
        })
        .collect();
    let missing: Vec<String> = requirements
        .lines()
        .filter_map(requirement)
        .filter(|name| !installed.contains(name) && !PROVIDED_BY_AWS.contains(&name.as_str()))
        .collect();
    let folder = folder.display();
    (!missing.is_empty()).then(|| {
        format!(
            "{folder}: not installed beside the code: {}; run: pip install -r {folder}/requirements.txt -t {folder}",
            missing.join(", ")
        )
    })
}

fn missing_node(folder: &Path) -> Option<String> {
    let package: Value = serde_json::from_str(&fs::read_to_string(folder.join("package.json")).ok()?).ok()?;
    let missing: Vec<&str> = package
        .get("dependencies")?
        .as_object()?
        .keys()
        .map(String::as_str)
        .filter(|name| !name.starts_with("@aws-sdk/") && !folder.join("node_modules").join(name).is_dir())
        .collect();
    let folder = folder.display();
    (!missing.is_empty()).then(|| {
        format!(
            "{folder}: not installed: {}; run: npm install --prefix {folder} --omit=dev",
            missing.join(", ")
        )
    })
}

/// The distribution that a line of `requirements.txt` asks for.
fn requirement(line: &str) -> Option<String> {
    let line = line.split('#').next()?.trim();
    if line.is_empty() || line.starts_with('-') {
        return None;
    }
    let end = line
        .find(|character: char| !character.is_ascii_alphanumeric() && !matches!(character, '-' | '_' | '.'));
    Some(normalized(&line[..end.unwrap_or(line.len())]))
}

/// PEP 503: case and separators do not matter.
fn normalized(name: &str) -> String {
    name.to_ascii_lowercase().replace(['_', '.'], "-")
}
