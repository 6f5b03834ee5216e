//! `hothouse config`: every option, its value, and where that came from.
//!
//! Must not show secrets.

use std::process::ExitCode;

use super::{CommandError, configuration, print, print_bytes, table};
use crate::{
    cli::ConfigArgs,
    config::{Resolved, markdown, with_markdown},
};

/// Shows the configuration, or writes documentation about it.
pub(super) fn run(args: &ConfigArgs) -> Result<ExitCode, CommandError> {
    if args.markdown {
        print_bytes(markdown().as_bytes())?;
        return Ok(ExitCode::SUCCESS);
    }
    if let Some(path) = &args.readme {
        let failed = || CommandError::new(format!("failed to bring `{}` up to date", path.display()));
        let text = std::fs::read_to_string(path).map_err(|error| failed().because(error))?;
        let updated =
            with_markdown(&text).ok_or_else(|| failed().because("it has no markers for the options"))?;
        std::fs::write(path, updated).map_err(|error| failed().because(error))?;
        return Ok(ExitCode::SUCCESS);
    }
    let configuration = configuration(&args.service.0.clone().merged(args.client.0.clone()))?;
    configuration.service()?;
    configuration.client()?;
    let rows: Vec<Vec<String>> = configuration.resolved().iter().map(row).collect();
    for line in table::lines(&["OPTION", "VALUE", "FROM"], &rows) {
        print(line)?;
    }
    Ok(ExitCode::SUCCESS)
}

fn row(resolved: &Resolved) -> Vec<String> {
    let value = match resolved.texts.as_slice() {
        [] => "-".to_owned(),
        _ if resolved.name.ends_with("-secret") => "(hidden)".to_owned(),
        texts => texts.join(", "),
    };
    vec![resolved.name.to_owned(), value, resolved.source.to_string()]
}
