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

#[cfg(test)]
mod tests {
    use super::*;

    fn notes(files: &[(&str, &str)]) -> String {
        let folder = tempfile::tempdir().unwrap();
        for (name, contents) in files {
            let path = folder.path().join(name);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, contents).unwrap();
        }
        missing(folder.path()).join("\n").replace(&folder.path().display().to_string(), "[DIR]")
    }

    #[test]
    fn what_is_declared_but_not_there_is_named_with_the_command() {
        let said = notes(&[
            ("requirements.txt", "# web\nrequests>=2 # http\nPy_YAML[x]==6\nboto3\n-r other.txt\nidna\n"),
            ("idna-3.7.dist-info/METADATA", ""),
            (
                "package.json",
                r#"{ "dependencies": { "left-pad": "1", "here": "1", "@aws-sdk/client-s3": "3" } }"#,
            ),
            ("node_modules/here/index.js", ""),
        ]);
        insta::assert_snapshot!(said, @r"
        [DIR]: not installed beside the code: requests, py-yaml; run: pip install -r [DIR]/requirements.txt -t [DIR]
        [DIR]: not installed: left-pad; run: npm install --prefix [DIR] --omit=dev
        ");
    }

    #[test]
    fn a_folder_with_everything_gets_no_note() {
        let files =
            [("requirements.txt", "PyYAML\n"), ("PyYAML-6.0.dist-info/METADATA", ""), ("package.json", "{}")];
        assert_eq!(notes(&files), "");
    }
}
