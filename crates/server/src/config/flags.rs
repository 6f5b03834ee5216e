//! The command line's flags, made from the table of options.
//!
//! Must not parse values: they stay texts until every source has been asked.

use std::{collections::BTreeMap, path::PathBuf};

use clap::{Arg, ArgAction, ArgMatches, Command, builder::ValueParser};

use super::settings::{Form, SETTINGS, Scope, Setting};

/// What the command line said about options.
#[derive(Debug, Clone, Default)]
pub(crate) struct Flags {
    /// `--config`.
    pub(crate) config_file: Option<PathBuf>,
    /// Texts by option.
    pub(crate) values: BTreeMap<&'static str, Vec<String>>,
}

impl Flags {
    /// Both groups together.
    pub(crate) fn merged(mut self, other: Self) -> Self {
        self.values.extend(other.values);
        self.config_file = self.config_file.or(other.config_file);
        self
    }
}

/// Flags of `start` and `dev`.
#[derive(Debug, Clone, Default)]
pub(crate) struct ServiceFlags(pub(crate) Flags);

/// Flags of commands that talk to a running service.
#[derive(Debug, Clone, Default)]
pub(crate) struct ClientFlags(pub(crate) Flags);

impl clap::Args for ServiceFlags {
    fn augment_args(command: Command) -> Command {
        augment(command, Scope::Service)
    }
    fn augment_args_for_update(command: Command) -> Command {
        Self::augment_args(command)
    }
}

impl clap::FromArgMatches for ServiceFlags {
    fn from_arg_matches(matches: &ArgMatches) -> Result<Self, clap::Error> {
        Ok(Self(collect(matches, Scope::Service)))
    }
    fn update_from_arg_matches(&mut self, matches: &ArgMatches) -> Result<(), clap::Error> {
        *self = Self::from_arg_matches(matches)?;
        Ok(())
    }
}

impl clap::Args for ClientFlags {
    fn augment_args(command: Command) -> Command {
        augment(command, Scope::Client)
    }
    fn augment_args_for_update(command: Command) -> Command {
        Self::augment_args(command)
    }
}

impl clap::FromArgMatches for ClientFlags {
    fn from_arg_matches(matches: &ArgMatches) -> Result<Self, clap::Error> {
        Ok(Self(collect(matches, Scope::Client)))
    }
    fn update_from_arg_matches(&mut self, matches: &ArgMatches) -> Result<(), clap::Error> {
        *self = Self::from_arg_matches(matches)?;
        Ok(())
    }
}

const CONFIG: &str = "config";

fn augment(command: Command, scope: Scope) -> Command {
    let settings = SETTINGS.iter().filter(|setting| setting.scope == scope);
    let command = settings.fold(command, |command, setting| command.arg(argument(setting)));
    if command.get_arguments().any(|argument| argument.get_id() == CONFIG) {
        return command;
    }
    command.arg(
        Arg::new(CONFIG)
            .long(CONFIG)
            .value_name("FILE")
            .value_parser(ValueParser::path_buf())
            .help("Configuration file [default: hothouse.toml, if there is one]")
            .help_heading(heading(scope)),
    )
}

fn argument(setting: &'static Setting) -> Arg {
    let argument = Arg::new(setting.name)
        .long(setting.name)
        .value_name(setting.value)
        .help(help(setting))
        .help_heading(if setting.name.starts_with("limit-") { "Limits" } else { heading(setting.scope) });
    match setting.form {
        Form::One => argument.action(ArgAction::Set),
        Form::Many => argument.action(ArgAction::Append),
        Form::Switch => {
            argument.action(ArgAction::Set).num_args(0..=1).require_equals(true).default_missing_value("true")
        }
    }
}

fn heading(scope: Scope) -> &'static str {
    match scope {
        Scope::Service => "Service",
        Scope::Client => "Where to",
    }
}

fn help(setting: &Setting) -> String {
    match (setting.default_note, setting.default) {
        ("", []) => setting.doc.to_owned(),
        ("", default) => format!("{} [default: {}]", setting.doc, default.join(", ")),
        (note, _) => format!("{} [default: {note}]", setting.doc),
    }
}

fn collect(matches: &ArgMatches, scope: Scope) -> Flags {
    let values = SETTINGS
        .iter()
        .filter(|setting| setting.scope == scope)
        .filter_map(|setting| {
            let given = matches.get_many::<String>(setting.name)?;
            Some((setting.name, given.cloned().collect()))
        })
        .collect();
    Flags { config_file: matches.get_one::<PathBuf>(CONFIG).cloned(), values }
}
