//! `cargo xtask bench --peer`: the same work on Hothouse and on another Lambda endpoint, in turn.
//!
//! Must not turn a failure into a number: a peer that crashes or answers something else is told as such.

use std::{
    fs::{self, File},
    net::TcpStream,
    os::unix::process::CommandExt,
    path::PathBuf,
    process::{Child, Command, Stdio},
    time::{Duration, Instant},
};

use serde_json::{Value, json};

use super::{
    Arguments, BenchError, io_error,
    language::Language,
    load::{self, Target},
    machine::Machine,
    markdown, page,
    report::{columns, with_spread},
    run::Run,
    service::{Caller, FUNCTIONS},
    statistics::{Rounds, Samples, Series},
    target_directory,
};

/// Headings of the comparison.
pub(super) const COLUMNS: [&str; 4] =
    ["figure", "Hothouse (least–most)", "peer (least–most)", "peer/Hothouse (least–most)"];

/// Callers at once.
const CONCURRENCIES: [usize; 3] = [1, 8, 32];

/// How long each is called in a round; before it, a tenth of that is not counted.
const ROUND: Duration = Duration::from_secs(1);

/// Cold starts of each in a whole run.
const COLD: usize = 20;

/// Invocations at once, each of a second.
const BURST: usize = 100;

/// Whoever has not done a piece of work by then has not done it.
const PATIENCE: Duration = Duration::from_secs(120);

/// Pause before a cold start.
const SETTLE: Duration = Duration::from_millis(300);

/// Another Lambda endpoint.
#[derive(Debug, Clone, clap::Args)]
pub(super) struct PeerArguments {
    /// Measure this Lambda endpoint (`http://127.0.0.1:PORT`) side by side with Hothouse.
    #[arg(long = "peer", value_name = "URL", value_parser = port)]
    pub(super) port: Option<u16>,
    /// Shell command that starts the peer in a folder with a Python function (`main.handler`); restarted when needed.
    #[arg(long = "peer-command", value_name = "COMMAND", requires = "port")]
    command: Option<String>,
    /// The peer's name.
    #[arg(long = "peer-name", value_name = "NAME", default_value = "peer")]
    name: String,
}

/// The port of a URL of this machine; nothing else can be compared in one run.
fn port(url: &str) -> Result<u16, String> {
    let rest = url.strip_prefix("http://").unwrap_or(url).trim_end_matches('/');
    let port = ["127.0.0.1:", "localhost:"].iter().find_map(|host| rest.strip_prefix(host)?.parse().ok());
    port.ok_or_else(|| "must be http://127.0.0.1:PORT: what is compared runs on one machine".to_owned())
}

/// A line of the comparison.
#[derive(Debug)]
struct Line {
    figure: String,
    unit: &'static str,
    hothouse: Outcome,
    peer: Outcome,
}

/// Numbers, or why there are none.
type Outcome = Result<Rounds, String>;

/// Measures both and prints them side by side.
pub(super) async fn measure(arguments: &Arguments) -> Result<(), BenchError> {
    let run = arguments.run(arguments.extent())?;
    let machine = Machine::look(&crate::repository());
    let mut hothouse = Contestant::Hothouse(run.clone(), None);
    let mut peer = Contestant::Peer(Peer::prepare(&arguments.peer)?);
    let mut lines = Vec::new();
    for concurrency in CONCURRENCIES {
        warm(&run, concurrency, [&mut hothouse, &mut peer], &mut lines).await;
    }
    cold(&run, [&mut hothouse, &mut peer], &mut lines).await;
    burst([&mut hothouse, &mut peer], &mut lines).await;

    let name = &arguments.peer.name;
    let cells = lines.iter().map(cells);
    if arguments.json {
        let lines: Value = lines.iter().map(json).collect();
        println!("{:#}", json!({ "machine": machine.json(), "peer": name, "figures": lines }));
    } else {
        let header = COLUMNS.map(str::to_owned);
        println!("{}", columns(&std::iter::once(header).chain(cells.clone()).collect::<Vec<_>>()));
    }
    if arguments.page {
        let rounds = run.rounds(5);
        let text = format!("{}; {rounds} rounds.\n\n{}", machine.line(), markdown::table(&COLUMNS, cells));
        page::write(&crate::repository(), &page::Part::Peer(name.clone()), &text)?;
    }
    Ok(())
}

fn cells(line: &Line) -> [String; 4] {
    let show = |outcome: &Outcome| match outcome {
        Ok(rounds) => format!("{} {}", with_spread(rounds), line.unit),
        Err(why) => why.trim().replace('\n', " "),
    };
    let ratio = match (&line.hothouse, &line.peer) {
        (Ok(hothouse), Ok(peer)) => with_spread(&peer.over(hothouse)),
        _ => String::new(),
    };
    [line.figure.clone(), show(&line.hothouse), show(&line.peer), ratio]
}

fn json(line: &Line) -> Value {
    let value = |outcome: &Outcome| match outcome {
        Ok(rounds) => json!({ "median": rounds.median(), "rounds": rounds.values() }),
        Err(why) => json!({ "error": why }),
    };
    json!({
        "figure": line.figure,
        "unit": line.unit,
        "hothouse": value(&line.hothouse),
        "peer": value(&line.peer),
    })
}

async fn warm(run: &Run, concurrency: usize, both: [&mut Contestant; 2], lines: &mut Vec<Line>) {
    let length = ROUND.mul_f64(run.extent.share);
    let [hothouse, peer] = both;
    let mut series = [Ok(Series::default()), Ok(Series::default())];
    for _ in 0..run.rounds(5) {
        for (contestant, series) in [&mut *hothouse, &mut *peer].into_iter().zip(&mut series) {
            let Ok(rounds) = series else { continue };
            match patiently(contestant.load(concurrency, length)).await {
                Ok(samples) => rounds.push(samples),
                Err(why) => *series = Err(why),
            }
        }
    }
    let mut add = |what: &str, unit, value: &dyn Fn(&Series) -> Rounds| {
        let [hothouse, peer] = &series;
        let value = |series: &Result<Series, String>| series.as_ref().map(value).map_err(Clone::clone);
        let figure = format!("warm, {concurrency} at once, {what}");
        tell(lines, Line { figure, unit, hothouse: value(hothouse), peer: value(peer) });
    };
    add("p50", "ms", &|series| series.milliseconds(0.5));
    add("p99", "ms", &|series| series.milliseconds(0.99));
    add("rate", "/s", &Series::rate);
}

async fn cold(run: &Run, both: [&mut Contestant; 2], lines: &mut Vec<Line>) {
    let mut series = [Ok(Series::default()), Ok(Series::default())];
    let each = (run.samples(COLD) / run.rounds(5)).max(1);
    let [hothouse, peer] = both;
    for _ in 0..run.rounds(5) {
        for (contestant, series) in [&mut *hothouse, &mut *peer].into_iter().zip(&mut series) {
            let Ok(rounds) = series else { continue };
            match cold_starts(contestant, each).await {
                Ok(samples) => rounds.push(samples),
                Err(why) => *series = Err(why),
            }
        }
    }
    let [hothouse, peer] = series.map(|series| series.map(|series| series.milliseconds(0.5)));
    tell(lines, Line { figure: "cold, p50".to_owned(), unit: "ms", hothouse, peer });
}

async fn cold_starts(contestant: &mut Contestant, count: usize) -> Result<Samples, String> {
    let mut times = Vec::new();
    for _ in 0..count {
        times.push(patiently(contestant.cold()).await?);
    }
    Ok(Samples::new(times))
}

async fn burst(both: [&mut Contestant; 2], lines: &mut Vec<Line>) {
    let mut outcomes = Vec::new();
    for contestant in both {
        let took = patiently(contestant.burst()).await;
        outcomes.push(took.map(|took| Rounds::from(took.as_secs_f64() * 1e3)));
    }
    let [hothouse, peer] = <[Outcome; 2]>::try_from(outcomes).expect("there are two");
    let figure = format!("{BURST} cold invocations of 1 s at once, to the last response");
    tell(lines, Line { figure, unit: "ms", hothouse, peer });
}

fn tell(lines: &mut Vec<Line>, line: Line) {
    eprintln!("  {}", cells(&line).join("  "));
    lines.push(line);
}

/// Waits for a piece of work as long as anybody would.
async fn patiently<T>(work: impl Future<Output = Result<T, BenchError>>) -> Result<T, String> {
    match tokio::time::timeout(PATIENCE, work).await {
        Ok(outcome) => outcome.map_err(|error| error.to_string()),
        Err(_) => Err(format!("no answer within {} s", PATIENCE.as_secs())),
    }
}

/// One of the two.
enum Contestant {
    /// A service that is started when it is first needed.
    Hothouse(Run, Option<super::service::Service>),
    Peer(Peer),
}

impl Contestant {
    async fn load(&mut self, concurrency: usize, length: Duration) -> Result<Samples, BenchError> {
        let target = self.target("warm").await?;
        load::run_for(&target, concurrency, length / 10).await?;
        load::run_for(&target, concurrency, length).await
    }

    /// One cold start: of a function that nobody has invoked, or of the peer's only one in a new peer.
    async fn cold(&mut self) -> Result<Duration, BenchError> {
        match self.api().await? {
            Some(caller) => {
                let name = "cold";
                caller.create(name, &Language::Python.package()?).await?;
                tokio::time::sleep(SETTLE).await;
                let time = load::single(&caller.target(name)).await;
                caller.delete(name).await?;
                time
            }
            None => {
                self.again().await?;
                load::single(&self.target("").await?).await
            }
        }
    }

    async fn burst(&mut self) -> Result<Duration, BenchError> {
        let target = match self.api().await? {
            Some(caller) => {
                caller.create("burst", &Language::Python.package()?).await?;
                tokio::time::sleep(SETTLE).await;
                caller.sleeping("burst", 1.0)
            }
            None => {
                self.again().await?;
                self.target("").await?.with_another_event(br#"{"sleep":1}"#)
            }
        };
        let started = Instant::now();
        load::at_once(vec![target; BURST]).await?;
        Ok(started.elapsed())
    }

    /// Where a warm function is invoked.
    async fn target(&mut self, name: &str) -> Result<Target, BenchError> {
        let Some(caller) = self.api().await? else {
            let Self::Peer(peer) = self else { unreachable!("Hothouse has the API") };
            return Ok(Target::new(peer.port, &format!("{FUNCTIONS}/function/invocations")));
        };
        let path = format!("{FUNCTIONS}/{name}/configuration");
        if caller.call("get a function", "GET", &path, None).await.is_err() {
            caller.create(name, &Language::Python.package()?).await?;
        }
        Ok(caller.target(name))
    }

    /// Who creates functions there; nobody, if it has only one function and no API.
    async fn api(&mut self) -> Result<Option<Caller>, BenchError> {
        match self {
            Self::Hothouse(run, service) => {
                let service = match service {
                    Some(service) => service,
                    None => service.insert(run.start(None)?),
                };
                Ok(Some(service.caller()))
            }
            Self::Peer(peer) => {
                peer.is_up().await?;
                let caller = Caller::new(peer.port);
                let answer = caller.call("list functions", "GET", &format!("{FUNCTIONS}/"), None).await;
                Ok(answer.is_ok_and(|answer| answer["Functions"].is_array()).then_some(caller))
            }
        }
    }

    /// Starts the peer anew.
    async fn again(&mut self) -> Result<(), BenchError> {
        let Self::Peer(peer) = self else { return Ok(()) };
        if peer.command.is_none() {
            return Err(BenchError::NotReady("a new peer needs --peer-command".to_owned()));
        }
        peer.process = None;
        peer.is_up().await
    }
}

/// The other endpoint.
struct Peer {
    port: u16,
    command: Option<String>,
    folder: PathBuf,
    process: Option<Group>,
}

impl Peer {
    fn prepare(arguments: &PeerArguments) -> Result<Self, BenchError> {
        let folder = target_directory()?.join("suite/bench/peer");
        fs::create_dir_all(&folder).map_err(io_error("make a folder for the peer"))?;
        let package = Language::Python.package()?;
        fs::write(folder.join(package.file), &package.content).map_err(io_error("write a function"))?;
        let port = arguments.port.unwrap_or_default();
        Ok(Self { port, command: arguments.command.clone(), folder, process: None })
    }

    /// Starts it, unless somebody listens; waits until somebody does.
    async fn is_up(&mut self) -> Result<(), BenchError> {
        let deadline = Instant::now() + PATIENCE;
        if self.listens() {
            return Ok(());
        }
        let Some(command) = &self.command else {
            return Err(BenchError::NotReady("nobody listens at the peer's port (any more)".to_owned()));
        };
        let log = File::create(self.folder.join("log")).map_err(io_error("write the peer's log"))?;
        let errors = log.try_clone().map_err(io_error("write the peer's log"))?;
        let mut shell = Command::new("sh");
        shell.args(["-c", command]).current_dir(&self.folder).stdin(Stdio::null()).stdout(log).stderr(errors);
        self.process = Some(Group(shell.process_group(0).spawn().map_err(io_error("start the peer"))?));
        while !self.listens() {
            if Instant::now() > deadline {
                return Err(BenchError::NotReady("the peer did not begin to listen".to_owned()));
            }
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        Ok(())
    }

    fn listens(&self) -> bool {
        TcpStream::connect(("127.0.0.1", self.port)).is_ok()
    }
}

/// A process with all that it starts; killed when nobody holds it any more.
struct Group(Child);

impl Drop for Group {
    fn drop(&mut self) {
        // Errors mean that it has ended already.
        let leader = rustix::process::Pid::from_child(&self.0);
        let _ = rustix::process::kill_process_group(leader, rustix::process::Signal::KILL);
        let _ = self.0.wait();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn peers_are_on_this_machine() {
        assert_eq!(port("http://127.0.0.1:8080"), Ok(8080));
        assert_eq!(port("http://localhost:4566/"), Ok(4566));
        assert!(port("http://192.0.2.1:80").is_err());
        assert!(port("https://127.0.0.1:80").is_err());
    }

    #[test]
    fn failures_stand_where_numbers_would() {
        let line = Line {
            figure: "warm".to_owned(),
            unit: "ms",
            hothouse: Ok(Rounds::from(vec![0.1, 0.1])),
            peer: Err("failed to send events:\nconnection reset".to_owned()),
        };
        assert_eq!(
            cells(&line),
            ["warm", "0.10 (0.10–0.10) ms", "failed to send events: connection reset", ""]
        );
        let line = Line { peer: Ok(Rounds::from(vec![1.0, 2.0])), ..line };
        assert_eq!(cells(&line)[3], "15.0 (10.0–20.0)");
    }
}
