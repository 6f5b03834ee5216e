//! The numbers of `docs/performance.md` are those that the benchmark wrote, in its present format.
//!
//! Must not measure: numbers may be of another day.

use std::{fs, path::Path};

use super::{Finding, TidyError};
use crate::bench::page;

/// Looks at the parts that the benchmark writes.
pub(super) fn check(root: &Path) -> Result<Option<Finding>, TidyError> {
    let path = root.join(page::PAGE);
    let text = fs::read_to_string(&path).map_err(|source| TidyError::Read { path, source })?;
    let hint = "run `cargo xtask bench --page`; for a peer's part, with its --peer and --peer-name";
    Ok(page::problem(&text).map(|(line, what)| Finding::new(page::PAGE, line, what, hint)))
}
