//! The configuration file: a flat TOML table whose keys are the options' names.
//!
//! Must not interpret values: it turns them into the same texts that a flag would carry.

use std::path::{Path, PathBuf};

use toml::de::{DeTable, DeValue};

use super::{ConfigError, SETTINGS, Setting, Source, settings::Form};

/// Looked for in the working directory.
pub(super) const NAME: &str = "hothouse.toml";

/// One option of the file.
#[derive(Debug)]
pub(super) struct Entry {
    pub(super) name: &'static str,
    pub(super) texts: Vec<String>,
    pub(super) source: Source,
}

/// Reads and checks a file.
pub(super) fn read(path: &Path) -> Result<Vec<Entry>, ConfigError> {
    let text = std::fs::read_to_string(path)
        .map_err(|source| ConfigError::ReadFile { path: path.to_owned(), source })?;
    parse(path, &text)
}

pub(super) fn parse(path: &Path, text: &str) -> Result<Vec<Entry>, ConfigError> {
    let table = DeTable::parse(text).map_err(|error| ConfigError::Syntax {
        path: path.to_owned(),
        line: error.span().map_or(1, |span| line(text, span.start)),
        reason: error.message().to_owned(),
    })?;
    let mut entries = Vec::new();
    for (key, value) in table.get_ref() {
        let line = line(text, key.span().start);
        let Some(setting) = SETTINGS.iter().find(|setting| setting.name == key.get_ref().as_ref()) else {
            return Err(unknown(path, line, key.get_ref()));
        };
        let source = Source::File { path: path.to_owned(), line };
        let texts = texts(setting, value.get_ref()).map_err(|hint| ConfigError::Value {
            option: setting.name,
            text: text[value.span()].to_owned(),
            source_of_value: source.clone(),
            hint,
        })?;
        entries.push(Entry { name: setting.name, texts, source });
    }
    Ok(entries)
}

fn texts(setting: &Setting, value: &DeValue<'_>) -> Result<Vec<String>, String> {
    match (setting.form, value) {
        (Form::Switch, DeValue::Boolean(value)) => Ok(vec![value.to_string()]),
        (Form::Switch, _) => Err("write true or false, without quotes".to_owned()),
        (Form::Many, DeValue::Array(items)) => items.iter().map(|item| scalar(item.get_ref())).collect(),
        // `runtime-path = { python = "…" }` reads better than a list of `python=…`.
        (Form::Many, DeValue::Table(table)) => table
            .iter()
            .map(|(key, value)| Ok(format!("{}={}", key.get_ref(), scalar(value.get_ref())?)))
            .collect(),
        (Form::One | Form::Many, value) => Ok(vec![scalar(value)?]),
    }
}

fn scalar(value: &DeValue<'_>) -> Result<String, String> {
    match value {
        DeValue::String(text) => Ok(text.as_ref().to_owned()),
        DeValue::Integer(number) => Ok(number.as_str().replace('_', "")),
        DeValue::Float(_)
        | DeValue::Boolean(_)
        | DeValue::Datetime(_)
        | DeValue::Array(_)
        | DeValue::Table(_) => Err("write a text in quotes or a whole number".to_owned()),
    }
}

fn line(text: &str, offset: usize) -> usize {
    text[..offset].matches('\n').count() + 1
}

fn unknown(path: &Path, line: usize, key: &str) -> ConfigError {
    let nearest = SETTINGS
        .iter()
        .map(|setting| (strsim::jaro_winkler(setting.name, &key.replace('_', "-")), setting.name))
        .max_by(|left, right| left.0.total_cmp(&right.0))
        .filter(|(similarity, _)| *similarity > 0.8);
    let hint = match nearest {
        Some((_, name)) => format!("did you mean `{name}`?"),
        None => "`hothouse config` lists all options".to_owned(),
    };
    ConfigError::UnknownKey { path: PathBuf::from(path), line, key: key.to_owned(), hint }
}
