//! `hothouse doctor`: whether functions can run here, and how to get what is missing.
//!
//! Must not need a running service, nor change anything.

use std::{
    fs, io,
    net::{SocketAddr, TcpListener},
    path::{Path, PathBuf},
    process::ExitCode,
};

use hothouse_sandbox::{Level, Network};
use serde::Serialize;

use super::{
    CommandError, configuration, print, runtimes,
    runtimes::{Row, catalog},
    say_hint, say_note,
};
use crate::{
    cli::DoctorArgs,
    client::Client,
    compose::{network_words, sandbox_network},
    config::{ClientConfig, Isolation, ServiceConfig},
};

/// Checks the machine. Fails if the service would not start.
pub(super) async fn run(args: &DoctorArgs) -> Result<ExitCode, CommandError> {
    let config = configuration(&args.service.0)?.service()?;
    let mut addresses = Vec::new();
    for address in &config.listen {
        addresses.push(Address { address: *address, state: address_state(*address).await });
    }
    let report = runtimes::blocking(move || examine(&config, addresses)).await?;
    if args.json {
        let text = serde_json::to_string_pretty(&report)
            .map_err(|error| CommandError::new("failed to write JSON").because(error))?;
        print(text)?;
    } else {
        show(&report)?;
    }
    Ok(if report.problems.is_empty() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// All that was found.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct Report {
    version: &'static str,
    isolation: IsolationReport,
    /// Network of environments.
    network: &'static str,
    data_directory: DataDirectory,
    addresses: Vec<Address>,
    runtimes: Vec<Row>,
    /// What keeps the service from starting.
    problems: Vec<String>,
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct IsolationReport {
    level: &'static str,
    /// Parts of full isolation that this machine does not give.
    missing: Vec<String>,
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct DataDirectory {
    path: PathBuf,
    state: DirectoryState,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
enum DirectoryState {
    /// There, and writable.
    Ready,
    /// The service will make it.
    Absent,
    /// There, or to be made, where this user may not write.
    NotWritable,
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct Address {
    address: SocketAddr,
    state: AddressState,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
enum AddressState {
    Free,
    /// Hothouse runs there.
    Hothouse,
    /// Another program has it.
    InUse,
    /// The system refuses it.
    Refused,
}

fn examine(config: &ServiceConfig, addresses: Vec<Address>) -> Report {
    let wanted = sandbox_network(config.network);
    let (isolation, network) = isolation(config.isolation, wanted);
    let data_directory =
        DataDirectory { state: directory_state(&config.data_dir), path: config.data_dir.clone() };
    let mut problems = Vec::new();
    problems.extend(isolation_problem(config.isolation, &isolation));
    if data_directory.state == DirectoryState::NotWritable {
        problems.push(format!(
            "the data directory `{}` is not writable; choose another with --data-dir",
            data_directory.path.display()
        ));
    }
    problems.extend(addresses.iter().filter_map(|Address { address, state }| match state {
        AddressState::Free | AddressState::Hothouse => None,
        AddressState::InUse => {
            Some(format!("another program listens on {address}; choose another address with --listen"))
        }
        AddressState::Refused => {
            Some(format!("this user may not listen on {address}; choose another address with --listen"))
        }
    }));
    Report {
        version: env!("CARGO_PKG_VERSION"),
        isolation,
        network: network_words(wanted, network),
        data_directory,
        addresses,
        runtimes: runtimes::rows(&catalog(config)),
        problems,
    }
}

fn isolation(configured: Isolation, network: Network) -> (IsolationReport, Network) {
    let level = match configured {
        Isolation::Best => Level::Best,
        Isolation::Full => Level::Full,
        Isolation::Partial => Level::Partial,
        Isolation::None => Level::None,
    };
    let (isolation, network) = hothouse_sandbox::probe(level, network);
    let (level, missing) = match isolation {
        hothouse_sandbox::Isolation::Full => ("full", Vec::new()),
        hothouse_sandbox::Isolation::Partial(missing) => {
            ("partial", missing.iter().map(ToString::to_string).collect())
        }
        hothouse_sandbox::Isolation::None => ("none", Vec::new()),
    };
    (IsolationReport { level, missing }, network)
}

fn isolation_problem(configured: Isolation, found: &IsolationReport) -> Option<String> {
    let enough = match configured {
        Isolation::Best | Isolation::None => true,
        Isolation::Partial => found.level != "none",
        Isolation::Full => found.level == "full",
    };
    let wanted = if configured == Isolation::Full { "full" } else { "partial" };
    (!enough)
        .then(|| format!("{wanted} isolation is configured, and this machine gives less; see --isolation"))
}

fn directory_state(path: &Path) -> DirectoryState {
    let existing = path.ancestors().find(|ancestor| ancestor.exists());
    match existing {
        Some(existing) if is_writable_directory(existing) => {
            if existing == path {
                DirectoryState::Ready
            } else {
                DirectoryState::Absent
            }
        }
        Some(_) | None => DirectoryState::NotWritable,
    }
}

/// Asks by making a file, which also finds full disks and read-only file systems, and takes it away again.
fn is_writable_directory(path: &Path) -> bool {
    let probe = path.join(format!(".hothouse-doctor-{}", std::process::id()));
    let written = fs::OpenOptions::new().write(true).create_new(true).open(&probe).is_ok();
    // Nothing can be done about a file that could be made but not removed.
    let _ = fs::remove_file(&probe);
    written
}

async fn address_state(address: SocketAddr) -> AddressState {
    match TcpListener::bind(address) {
        Ok(_) => AddressState::Free,
        Err(error) if error.kind() == io::ErrorKind::AddrInUse => {
            let config = ClientConfig {
                endpoint: format!("http://{address}"),
                region: "us-east-1".to_owned(),
                account: "000000000000".to_owned(),
                key: None,
            };
            match Client::new(config).admin("/_hothouse/health").await {
                Ok(_) => AddressState::Hothouse,
                Err(_) => AddressState::InUse,
            }
        }
        Err(_) => AddressState::Refused,
    }
}

fn show(report: &Report) -> Result<(), CommandError> {
    let isolation = match report.isolation.missing.as_slice() {
        [] => report.isolation.level.to_owned(),
        missing => format!("{} (without {})", report.isolation.level, missing.join(", ")),
    };
    print(format_args!("Hothouse     {}", report.version))?;
    print(format_args!("Isolation    {isolation}"))?;
    print(format_args!("Network      {}", report.network))?;
    let state = match report.data_directory.state {
        DirectoryState::Ready => "",
        DirectoryState::Absent => " (made at the first start)",
        DirectoryState::NotWritable => " (not writable)",
    };
    print(format_args!("Data         {}{state}", report.data_directory.path.display()))?;
    for Address { address, state } in &report.addresses {
        let state = match state {
            AddressState::Free => "free",
            AddressState::Hothouse => "Hothouse runs there",
            AddressState::InUse => "taken by another program",
            AddressState::Refused => "not allowed",
        };
        print(format_args!("Address      {address} ({state})"))?;
    }
    print("")?;
    for line in runtimes::lines(&report.runtimes) {
        print(line)?;
    }
    print("provided.*  the function's own bootstrap")?;

    for warning in report.runtimes.iter().filter_map(|row| row.warning.as_ref()) {
        say_note(warning);
    }
    if report.isolation.level == "none" {
        say_note("functions run as plain processes: they see this machine's files");
    }
    let lacks_packages = report
        .runtimes
        .iter()
        .filter_map(|row| row.runs_on.as_ref())
        .any(|runs_on| runs_on.packages.is_empty());
    if lacks_packages {
        say_hint(
            "`hothouse runtimes sync` installs boto3, the AWS SDK for JavaScript and AWS's clients for functions",
        );
    }
    for problem in &report.problems {
        say_note(format_args!("the service would not start: {problem}"));
    }
    Ok(())
}
