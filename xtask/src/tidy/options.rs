//! The README's table of options is the one that the binary knows.
//!
//! Must not build the binary: it looks only when one is there, and the suite builds it before.

use std::{fs, path::Path, process::Command};

use serde_json::Value;

use super::{Finding, TidyError};

/// Compares the README with what the binary prints for it.
pub(super) fn check(root: &Path, metadata: &Value) -> Result<Vec<Finding>, TidyError> {
    let path = root.join("README.md");
    let readme = fs::read_to_string(&path).map_err(|source| TidyError::Read { path, source })?;
    let binary = Path::new(metadata["target_directory"].as_str().unwrap_or("target")).join("debug/hothouse");
    let Ok(output) = Command::new(binary).args(["config", "--markdown"]).output() else {
        return Ok(Vec::new());
    };
    let table = String::from_utf8_lossy(&output.stdout);
    if !output.status.success() || table.trim().is_empty() {
        return Ok(Vec::new());
    }
    Ok(compare(&readme, &table).into_iter().collect())
}

fn compare(readme: &str, table: &str) -> Option<Finding> {
    if readme.contains(table.trim()) {
        return None;
    }
    let heading = table.lines().next().unwrap_or_default();
    let line = readme.lines().position(|line| line == heading).map_or(1, |index| index + 1);
    let hint = "run `cargo run -- config --readme README.md`";
    Some(Finding::new("README.md", line, "the table of options is not the binary's", hint))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_current_table_is_fine() {
        let readme = "# Title\n\n| option |\n|---|\n| a |\n\nEnd\n";
        assert_eq!(compare(readme, "| option |\n|---|\n| a |\n"), None);
        let old = compare(readme, "| option |\n|---|\n| a |\n| b |\n");
        assert_eq!(old.map(|finding| finding.line), Some(3));
        assert!(compare("# Title\n", "| option |\n").is_some());
    }
}
