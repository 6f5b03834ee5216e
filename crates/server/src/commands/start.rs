//! `hothouse start`: serve until a signal comes.
//!
//! Must not know what serving consists of; that is `compose`'s.

use std::{
    error::Error,
    io,
    net::{SocketAddr, TcpListener},
    process::ExitCode,
    time::Duration,
};

use tokio::signal::unix::{Signal, SignalKind, signal};

use super::{CommandError, configuration, print, say};
use crate::{
    cli::StartArgs,
    client::Client,
    compose::{Running, Service, StartError},
    config::{ClientConfig, DebugSetting, ServiceConfig},
};

/// What testcontainers and scripts wait for on stdout.
pub(super) const READY: &str = "Ready.";

/// Serves until a signal comes.
pub(super) async fn run(args: &StartArgs) -> Result<ExitCode, CommandError> {
    let config = configuration(&args.service.0)?.service()?;
    start_log(&config);
    let mut signals = Signals::listen()?;
    let running = serve(config).await?;
    print(READY)?;
    signals.next().await;
    Ok(stop(running, &mut signals).await)
}

/// Starts the service and says where it listens.
pub(super) async fn serve(config: ServiceConfig) -> Result<Running, CommandError> {
    let listen = config.listen.clone();
    let running = match Service::start(config).await {
        Ok(running) => running,
        Err(error) => return Err(explain(error, &listen).await),
    };
    for address in &running.addresses {
        say(format_args!("Listening on http://{address}"));
    }
    for line in running.summary() {
        say(line);
    }
    Ok(running)
}

/// Ends the service; another signal ends it at once.
pub(super) async fn stop(running: Running, signals: &mut Signals) -> ExitCode {
    say("Stopping (again to stop at once)");
    tokio::select! {
        biased;
        () = running.shutdown() => ExitCode::SUCCESS,
        number = signals.next() => ExitCode::from(128 + number),
    }
}

/// Writes the log to stderr, at the configured level.
pub(super) fn start_log(config: &ServiceConfig) {
    let mut directives = config.log_level.clone();
    // Where a debugger finds its function is what people who debug have to know, at any level.
    if config.debug != DebugSetting::Off && directives != "off" {
        directives.push_str(",hothouse::debugger=info");
    }
    let filter = tracing_subscriber::EnvFilter::new(directives);
    let subscriber = tracing_subscriber::fmt().with_env_filter(filter).with_writer(anstream::stderr).finish();
    // Fails only if there is a subscriber already, which is then as good.
    let _ = tracing::subscriber::set_global_default(subscriber);
}

/// SIGINT and SIGTERM.
#[derive(Debug)]
pub(super) struct Signals {
    interrupt: Signal,
    terminate: Signal,
}

impl Signals {
    /// From here on these signals no longer end the process by themselves.
    pub(super) fn listen() -> Result<Self, CommandError> {
        let listen = |kind| {
            signal(kind).map_err(|error| CommandError::new("failed to listen for signals").because(error))
        };
        Ok(Self { interrupt: listen(SignalKind::interrupt())?, terminate: listen(SignalKind::terminate())? })
    }

    /// The next one's number.
    pub(super) async fn next(&mut self) -> u8 {
        tokio::select! {
            _ = self.interrupt.recv() => 2,
            _ = self.terminate.recv() => 15,
        }
    }
}

async fn explain(error: StartError, listen: &[SocketAddr]) -> CommandError {
    let kind = io_kind(&error);
    let shared = error.is_directory_in_use();
    let no_network = matches!(error, StartError::NoNetwork);
    let this = CommandError::new("failed to start the service").because(error);
    if no_network {
        return this
            .hint("use --network auto or --network host, or see what `hothouse doctor` says is missing");
    }
    if shared {
        return this.hint(
            "another Hothouse uses this data directory: use that one, or choose another with --data-dir",
        );
    }
    match kind {
        Some(io::ErrorKind::AddrInUse) => match listen.iter().find(|address| is_in_use(address)) {
            Some(&address) => this.hint(who_is_there(address).await),
            None => this,
        },
        Some(io::ErrorKind::PermissionDenied)
            if listen.iter().any(|address| (1..1024).contains(&address.port())) =>
        {
            this.hint("ports below 1024 are for root: choose another with --listen")
        }
        _ => this,
    }
}

fn io_kind(error: &(dyn Error + 'static)) -> Option<io::ErrorKind> {
    let mut cause = Some(error);
    while let Some(current) = cause {
        if let Some(found) = current.downcast_ref::<io::Error>() {
            return Some(found.kind());
        }
        cause = current.source();
    }
    None
}

fn is_in_use(address: &SocketAddr) -> bool {
    TcpListener::bind(address).is_err_and(|error| error.kind() == io::ErrorKind::AddrInUse)
}

/// A hint for people who find their port taken.
async fn who_is_there(address: SocketAddr) -> String {
    let client = Client::new(ClientConfig {
        endpoint: format!("http://{address}"),
        region: "us-east-1".to_owned(),
        account: "000000000000".to_owned(),
        key: None,
    });
    let ask = |path| tokio::time::timeout(Duration::from_millis(500), client.admin(path));
    let occupant = if matches!(ask("/_hothouse/health").await, Ok(Ok(_))) {
        "Hothouse is running there already: use it"
    } else if matches!(ask("/_localstack/health").await, Ok(Ok(_))) {
        "LocalStack is running there: stop it"
    } else {
        "another program listens there: stop it"
    };
    let free = (address.port().saturating_add(1)..=u16::MAX)
        .map(|port| SocketAddr::new(address.ip(), port))
        .find(|candidate| TcpListener::bind(candidate).is_ok());
    match free {
        Some(free) => format!("{occupant}, or choose another address: --listen {free}"),
        None => occupant.to_owned(),
    }
}
