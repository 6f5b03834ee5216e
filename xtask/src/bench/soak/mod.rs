//! `cargo xtask soak`: very many invocations of every kind, and whether anything of the service grows with them.
//!
//! Must not measure while invocations run: what they need comes and goes.

mod mixture;
mod usage;

use std::{
    fs,
    path::{Path, PathBuf},
    process::ExitCode,
    time::{Duration, Instant},
};

use super::{
    BenchError, io_error,
    service::{Launch, Service},
    target_directory,
};
use mixture::Mixture;
use usage::Usage;

/// How often what the service uses is looked at.
const CHECKPOINTS: usize = 20;
/// Up to this checkpoint everything may grow: caches fill, the allocator takes what it will keep.
const WARM: usize = 4;
/// Environments end after so long without invocations.
const KEEP_ALIVE: &str = "2s";
/// They must have ended, all events done, after this time.
const QUIET_WITHIN: Duration = Duration::from_secs(60);

/// Options of `cargo xtask soak`.
#[derive(Debug, Clone, clap::Args)]
pub(crate) struct Arguments {
    /// Invocations of all kinds together.
    #[arg(long, value_name = "NUMBER", default_value_t = 1_000_000)]
    invokes: usize,
    /// Use this binary instead of building one.
    #[arg(long, value_name = "FILE")]
    binary: Option<PathBuf>,
    /// Choose the order of kinds by this number.
    #[arg(long, value_name = "NUMBER", default_value_t = 1)]
    seed: u64,
}

/// Sends everything, tells what the service uses on the way, and fails if it grew.
pub(crate) fn run(arguments: &Arguments) -> ExitCode {
    let outcome = if cfg!(debug_assertions) && arguments.binary.is_none() {
        super::run_optimised()
    } else {
        tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .map_err(io_error("make a tokio runtime"))
            .and_then(|runtime| runtime.block_on(soak(arguments)))
    };
    match outcome {
        Ok(code) => code,
        Err(error) => {
            eprintln!("error: {error}");
            ExitCode::FAILURE
        }
    }
}

async fn soak(arguments: &Arguments) -> Result<ExitCode, BenchError> {
    let directory = target_directory()?.join("suite/soak");
    // What a run that was interrupted has left.
    let _ = fs::remove_dir_all(&directory);
    fs::create_dir_all(&directory).map_err(io_error("make a folder for data"))?;
    let service = Service::launch(&Launch {
        binary: arguments.binary.as_deref(),
        directory: Some(&directory),
        options: &["--keep-alive", KEEP_ALIVE, "--retry-base-delay", "50ms"],
        ..Launch::default()
    })?;
    let mut mixture = Mixture::prepare(&service, arguments.seed).await?;
    println!("{}", Usage::HEADINGS);
    let started = Instant::now();
    let (mut sending, mut warm, mut last) = (Duration::ZERO, None, None);
    for checkpoint in 1..=CHECKPOINTS {
        let before = Instant::now();
        let sent = arguments.invokes * checkpoint / CHECKPOINTS;
        mixture.send(&service, sent - arguments.invokes * (checkpoint - 1) / CHECKPOINTS).await?;
        sending += before.elapsed();
        be_quiet(&service).await?;
        let usage = Usage::of(service.id(), &directory);
        println!("{}", usage.line(sent, sent as f64 / sending.as_secs_f64()));
        if checkpoint == WARM {
            warm = Some(usage.clone());
        }
        last = Some(usage);
    }
    println!("{}; {:.0} s in all", mixture.summary(), started.elapsed().as_secs_f64());
    let (Some(warm), Some(last)) = (warm, last) else { return Ok(ExitCode::FAILURE) };
    let growth = last.growth_since(&warm);
    for line in &growth {
        println!("{line}");
    }
    stop(service, &directory)?;
    Ok(if growth.iter().all(|line| line.is_within_bounds()) { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// Waits until no environment is left: neither invocations nor events that are to be tried again.
async fn be_quiet(service: &Service) -> Result<(), BenchError> {
    let deadline = Instant::now() + QUIET_WITHIN;
    loop {
        let answer = service.call("list environments", "GET", "/_hothouse/environments", None).await?;
        if answer["environments"].as_array().is_some_and(Vec::is_empty) {
            return Ok(());
        }
        if Instant::now() > deadline {
            let body = answer.to_string();
            return Err(BenchError::Answer { what: "wait for quiet", status: 200, body });
        }
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
}

fn stop(service: Service, directory: &Path) -> Result<(), BenchError> {
    service.stop()?;
    fs::remove_dir_all(directory).map_err(io_error("remove the folder for data"))
}
