//! `hothouse dev`: serve, deploy a folder's functions, show their invocations.
//!
//! Must not know a function by another way than the service's API, so that it also works with a running service.

use std::{
    collections::BTreeSet,
    net::{IpAddr, Ipv4Addr, Ipv6Addr},
    path::PathBuf,
    process::ExitCode,
    sync::Arc,
};

use hothouse_execution::{ports::InvocationRecord, runtimes::SearchPaths};
use tokio::sync::mpsc;

use super::{
    CommandError, configuration, print, report, say, say_note,
    start::{READY, Signals, serve, start_log, stop},
};
use crate::{
    cli::DevArgs,
    client::Client,
    compose::Running,
    config::{ClientConfig, Configuration},
};

mod convention;
mod dependencies;
mod deploy;
mod intrinsics;
mod package;
mod plan;
mod runtimes;
mod show;
mod template;
mod watch;

use deploy::Deployed;
use plan::Plan;
use runtimes::DefaultRuntimes;

/// Serves a folder until a signal comes.
pub(super) async fn run(args: &DevArgs) -> Result<ExitCode, CommandError> {
    let configuration = configuration(&args.service.0.clone().merged(args.client.0.clone()))?;
    let mut client_config = configuration.client()?;
    let mut service_config = configuration.service()?;
    let mut project = Project::new(args, &configuration, &service_config.search_paths);
    // Reading the folder first: a mistake there should not need a service to show.
    let plan = project.plan(&client_config)?;
    if configuration.has_endpoint_flag() {
        let deployed = project.deploy(&Client::new(client_config), &plan).await?;
        return Ok(if deployed == 0 { ExitCode::FAILURE } else { ExitCode::SUCCESS });
    }

    start_log(&service_config);
    let (reporter, records) = show::Reporter::new();
    service_config.observer = Some(Arc::new(reporter));
    let mut signals = Signals::listen()?;
    let running = serve(service_config).await?;
    client_config.endpoint = endpoint(&running);
    let client = Client::new(client_config);
    let result = tokio::select! {
        biased;
        _ = signals.next() => Ok(()),
        result = project.work(&client, plan, records) => result,
    };
    let code = stop(running, &mut signals).await;
    result.map(|()| code)
}

/// The folder that is being worked on.
#[derive(Debug)]
struct Project {
    folder: PathBuf,
    parameters: Vec<(String, String)>,
    watched: bool,
    runtimes: DefaultRuntimes,
    /// How the user calls this program.
    program: String,
    /// Notes and problems that were already printed: a change prints only what is new.
    said: BTreeSet<String>,
}

impl Project {
    fn new(args: &DevArgs, configuration: &Configuration, search: &SearchPaths) -> Self {
        Self {
            folder: args.directory.clone(),
            parameters: args.parameters.clone(),
            watched: args.watch == "on",
            runtimes: DefaultRuntimes::discover(search),
            program: program(configuration.program_path()),
            said: BTreeSet::new(),
        }
    }

    /// Deploys, then shows invocations and deploys what changes, for as long as the service runs.
    async fn work(
        &mut self,
        client: &Client,
        plan: Plan,
        mut records: mpsc::Receiver<InvocationRecord>,
    ) -> Result<(), CommandError> {
        // Before the first deployment, so that no change falls between the two.
        let mut watcher = match self.watched.then(|| watch::Watcher::start(&self.folder, &plan)) {
            Some(Ok(watcher)) => Some(watcher),
            Some(Err(error)) => {
                say_note(format_args!("changes in `{}` are not watched: {error}", self.folder.display()));
                None
            }
            None => None,
        };
        self.deploy(client, &plan).await?;
        print(format_args!("\n{READY}"))?;
        loop {
            let changed = async {
                match &mut watcher {
                    Some(watcher) => watcher.changed().await,
                    None => std::future::pending().await,
                }
            };
            tokio::select! {
                record = records.recv() => match record {
                    Some(record) => show::invocation(&record)?,
                    None => return Ok(()),
                },
                () = changed => match self.plan(client.config()) {
                    Ok(plan) => drop(self.deploy(client, &plan).await?),
                    // Half a template while an editor writes it: the functions stay as they are.
                    Err(error) => drop(report(&error)),
                },
            }
        }
    }

    fn plan(&self, config: &ClientConfig) -> Result<Plan, CommandError> {
        let folder = &self.folder;
        let failed = || CommandError::new(format!("failed to find functions in `{}`", folder.display()));
        if !folder.is_dir() {
            return Err(failed().because("it is not a folder"));
        }
        let surroundings = template::Surroundings {
            region: &config.region,
            account: &config.account,
            parameters: &self.parameters,
        };
        let mut plan = match template::find(folder) {
            Some(path) => template::load(&path, &surroundings).map_err(|error| failed().because(error))?,
            None => convention::discover(folder, &self.runtimes).map_err(|error| failed().because(error))?,
        };
        if plan.functions.is_empty() && plan.problems.is_empty() {
            return Err(failed().because("there are none").hint(
                "write a file such as hello.py with `def handler(event, context)`, or a SAM template.yaml",
            ));
        }
        let folders: BTreeSet<&PathBuf> =
            plan.functions.iter().filter_map(|function| function.code.folder()).collect();
        let missing: Vec<String> =
            folders.into_iter().flat_map(|folder| dependencies::missing(folder)).collect();
        plan.notes.extend(missing);
        Ok(plan)
    }

    /// Deploys what can be deployed, says what cannot, and answers how many of the functions are there now.
    async fn deploy(&mut self, client: &Client, plan: &Plan) -> Result<usize, CommandError> {
        for note in &plan.notes {
            if self.said.insert(note.clone()) {
                say_note(note);
            }
        }
        for problem in &plan.problems {
            if self.said.insert(format!("{problem:?}")) {
                let attempted = format!("failed to deploy `{}`", problem.function);
                report(&CommandError::new(attempted).because(problem.reason.clone()));
            }
        }
        let mut deployed = 0;
        for function in &plan.functions {
            let name = &function.name;
            let attempted = || format!("failed to deploy `{name}`");
            match deploy::deploy(client, function).await {
                Ok(outcome) => {
                    deployed += 1;
                    match outcome {
                        Deployed::Created => say(format_args!("Created {name}")),
                        Deployed::Updated => say(format_args!("Updated {name}")),
                        Deployed::Unchanged => {}
                    }
                    if self.said.insert(format!("how to invoke {name}")) {
                        show::how_to_invoke(function, client.config(), &self.program)?;
                    }
                }
                Err(deploy::DeployError::Client(error)) if error.is_unreachable() => {
                    return Err(CommandError::client(attempted(), error, client.config()));
                }
                Err(error) => drop(report(&CommandError::new(attempted()).because(error))),
            }
        }
        Ok(deployed)
    }
}

/// Where this process reaches its own service.
fn endpoint(running: &Running) -> String {
    let mut address = running.addresses[0];
    // Listening everywhere includes here.
    address.set_ip(match address.ip() {
        IpAddr::V4(Ipv4Addr::UNSPECIFIED) => Ipv4Addr::LOCALHOST.into(),
        IpAddr::V6(Ipv6Addr::UNSPECIFIED) => Ipv6Addr::LOCALHOST.into(),
        other => other,
    });
    format!("http://{address}")
}

/// How to call this program from the user's shell: by name if that finds it, else by path.
fn program(path: &[PathBuf]) -> String {
    const NAME: &str = "hothouse";
    if path.iter().any(|folder| folder.join(NAME).is_file()) {
        return NAME.to_owned();
    }
    // The whole path: what is printed is pasted into another terminal, which may be anywhere.
    std::env::current_exe().map_or_else(|_| NAME.to_owned(), |own| own.display().to_string())
}
