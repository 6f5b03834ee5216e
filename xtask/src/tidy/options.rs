//! The README's table of options is the one that the binary knows.
//!
//! Must not build the binary: it looks only when one is there, and the suite builds it before.

use std::{fs, path::Path, process::Command};

use serde_json::Value;

use super::{Finding, TidyError};

const BEGIN: &str = "<!-- options -->";
const END: &str = "<!-- /options -->";

/// Compares what stands between the markers with what the hidden command `options` prints.
pub(super) fn check(root: &Path, metadata: &Value) -> Result<Vec<Finding>, TidyError> {
    let path = root.join("README.md");
    let readme = fs::read_to_string(&path).map_err(|source| TidyError::Read { path, source })?;
    let binary = Path::new(metadata["target_directory"].as_str().unwrap_or("target")).join("debug/hothouse");
    let Ok(output) = Command::new(binary).arg("options").output() else { return Ok(Vec::new()) };
    let Ok(table) = String::from_utf8(output.stdout) else { return Ok(Vec::new()) };
    if !output.status.success() || table.trim().is_empty() {
        return Ok(Vec::new());
    }
    Ok(compare(&readme, &table).into_iter().collect())
}

fn compare(readme: &str, table: &str) -> Option<Finding> {
    let hint = "put the output of `hothouse options` between the markers";
    let Some((before, rest)) = readme.split_once(BEGIN) else {
        return Some(Finding::new("README.md", 1, format!("has no `{BEGIN}` marker"), hint));
    };
    let shown = rest.split_once(END).map_or("", |(shown, _)| shown);
    let line = before.lines().count() + 1;
    (shown.trim() != table.trim())
        .then(|| Finding::new("README.md", line, "the table of options is old", hint))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_current_table_is_fine() {
        let readme = "# Title\n<!-- options -->\n| a |\n<!-- /options -->\n";
        assert_eq!(compare(readme, "| a |\n"), None);
        assert!(compare(readme, "| b |\n").is_some_and(|finding| finding.line == 2));
        assert!(compare("# Title\n", "| a |\n").is_some());
    }
}
