//! `hothouse dev`: serve, deploy a folder's functions, show their invocations.
//!
//! Must not know a function by another way than the service's API, so that it also works with a running service.

use std::{
    path::{Path, PathBuf},
    process::ExitCode,
    sync::Arc,
};

use hothouse_execution::ports::InvocationRecord;
use tokio::sync::mpsc;

use super::{
    CommandError, configuration, print, report, say, say_note,
    start::{READY, Signals, serve, start_log, stop},
};
use crate::{
    cli::DevArgs,
    client::Client,
    compose::Running,
    config::{ClientConfig, Environment as _, ProcessEnvironment},
};

mod convention;
mod dependencies;
mod deploy;
mod intrinsics;
mod package;
mod plan;
mod show;
mod template;

use convention::DefaultRuntimes;
use deploy::Deployed;
use plan::Plan;

/// Serves a folder until a signal comes.
pub(super) async fn run(args: &DevArgs) -> Result<ExitCode, CommandError> {
    let configuration = configuration(&args.service.0.clone().merged(args.client.0.clone()))?;
    let mut client_config = configuration.client()?;
    // Reading the folder first: a mistake there should not need a service to show.
    let plan = plan(args, &client_config)?;
    if configuration.has_endpoint_flag() {
        let client = Client::new(client_config);
        let deployed = deploy_all(&client, &plan).await?;
        return Ok(if deployed == 0 { ExitCode::FAILURE } else { ExitCode::SUCCESS });
    }

    let mut service_config = configuration.service()?;
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
        result = work(&client, &plan, records) => result,
    };
    if let Err(error) = &result {
        report(error);
    }
    let code = stop(running, &mut signals).await;
    Ok(if result.is_err() { ExitCode::FAILURE } else { code })
}

/// Deploys, then prints invocations for as long as there are any.
async fn work(
    client: &Client,
    plan: &Plan,
    mut records: mpsc::Receiver<InvocationRecord>,
) -> Result<(), CommandError> {
    deploy_all(client, plan).await?;
    print("")?;
    print(READY)?;
    while let Some(record) = records.recv().await {
        show::invocation(&record)?;
    }
    Ok(())
}

fn plan(args: &DevArgs, config: &ClientConfig) -> Result<Plan, CommandError> {
    let folder = &args.directory;
    let failed = || CommandError::new(format!("failed to find functions in `{}`", folder.display()));
    if !folder.is_dir() {
        return Err(failed().because("it is not a folder"));
    }
    let surroundings = template::Surroundings {
        region: &config.region,
        account: &config.account,
        parameters: &args.parameters,
    };
    let mut plan = match template::find(folder) {
        Some(path) => template::load(&path, &surroundings).map_err(|error| failed().because(error))?,
        None => convention::discover(folder, &default_runtimes()).map_err(|error| failed().because(error))?,
    };
    if plan.functions.is_empty() && plan.problems.is_empty() {
        return Err(failed().because("there are none").hint(
            "write a file such as hello.py with `def handler(event, context)`, or a SAM template.yaml",
        ));
    }
    let mut folders: Vec<&PathBuf> =
        plan.functions.iter().filter_map(|function| function.code.folder()).collect();
    folders.sort();
    folders.dedup();
    let missing: Vec<String> = folders.into_iter().flat_map(|folder| dependencies::missing(folder)).collect();
    plan.notes.extend(missing);
    Ok(plan)
}

/// Deploys what can be deployed, says what cannot, and answers how many functions there are now.
async fn deploy_all(client: &Client, plan: &Plan) -> Result<usize, CommandError> {
    for note in &plan.notes {
        say_note(note);
    }
    for problem in &plan.problems {
        report(
            &CommandError::new(format!("failed to deploy `{}`", problem.function))
                .because(problem.reason.clone()),
        );
    }
    let program = program();
    let mut deployed = 0;
    for function in &plan.functions {
        match deploy::deploy(client, function).await {
            Ok(outcome) => {
                let what = match outcome {
                    Deployed::Created => "Created",
                    Deployed::Updated => "Updated",
                    Deployed::Unchanged => "Unchanged:",
                };
                say(format_args!("{what} {}", function.name));
                deployed += 1;
                show::how_to_invoke(function, client.config(), &program)?;
            }
            Err(deploy::DeployError::Client(error)) if error.is_unreachable() => {
                let attempted = format!("failed to deploy `{}`", function.name);
                return Err(CommandError::client(attempted, error, client.config()));
            }
            Err(error) => {
                report(&CommandError::new(format!("failed to deploy `{}`", function.name)).because(error));
            }
        }
    }
    Ok(deployed)
}

fn endpoint(running: &Running) -> String {
    let mut address = running.addresses[0];
    // Listening everywhere includes here.
    if address.ip().is_unspecified() {
        address.set_ip(match address {
            std::net::SocketAddr::V4(_) => std::net::Ipv4Addr::LOCALHOST.into(),
            std::net::SocketAddr::V6(_) => std::net::Ipv6Addr::LOCALHOST.into(),
        });
    }
    format!("http://{address}")
}

fn default_runtimes() -> DefaultRuntimes {
    DefaultRuntimes { python: "python3.13".to_owned(), node: "nodejs22.x".to_owned() }
}

/// How to call this program from the user's shell: by name if that finds it, else by path.
fn program() -> String {
    const NAME: &str = "hothouse";
    let path = ProcessEnvironment.get("PATH").unwrap_or_default();
    if path.split(':').any(|folder| Path::new(folder).join(NAME).is_file()) {
        return NAME.to_owned();
    }
    let Ok(own) = std::env::current_exe() else { return NAME.to_owned() };
    let here = std::env::current_dir().unwrap_or_default();
    match own.strip_prefix(&here) {
        Ok(relative) => format!("./{}", relative.display()),
        Err(_) => own.display().to_string(),
    }
}
