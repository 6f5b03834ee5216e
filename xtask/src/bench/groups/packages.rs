//! A large package: how long creating a function of it takes, and whether its size shows at a cold start.
//!
//! Must not remove anything between the rounds: ext4 looks at each inode that was freed within the last half minute before
//! it takes another one, so that both sides would be measured by how much was removed just before.

use std::{
    fs::{self, File},
    io::{self, Cursor, Write as _},
    path::{Path, PathBuf},
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    thread,
    time::{Duration, Instant},
};

use base64::Engine as _;
use serde_json::json;
use zip::{ZipArchive, ZipWriter, write::SimpleFileOptions};

use super::SETTLE;
use crate::bench::{
    BenchError, http, io_error,
    language::Language,
    load,
    report::{Promise, Report, Row},
    run::Run,
    service::{FUNCTIONS, Launch, Service},
    statistics::{Rounds, Samples, Series},
    target_directory,
};

/// What is in the package, as in one with boto3, numpy and pandas: many modules, and some large libraries.
const FILES: usize = 7000;
const LIBRARIES: usize = 25;
const MODULE_BYTES: usize = 4300;
const LIBRARY_BYTES: usize = 1_400_000;
/// Modules of one directory.
const DIRECTORY: usize = 20;

/// The end of the archive.
const COMMENT: &str = "00000000";

const FLOOR: &str = "F6 parallel unzip, not flushed";
const SMALL: &str = "packages-small";
const BIG: &str = "packages-big";

/// Measures with services of its own, beside the floor's files.
pub(super) async fn measure(run: &Run, report: &mut Report) -> Result<(), BenchError> {
    let directory = target_directory()?.join("suite/bench/packages");
    // What a run that was interrupted has left.
    let _ = fs::remove_dir_all(&directory);
    fs::create_dir_all(&directory).map_err(io_error("make a folder for packages"))?;
    let (archive, size) = archive()?;
    report.add(Row::new("package, archive", archive.len() as f64 / 1e6, "MB"));
    report.add(Row::new(format!("package, {FILES} files"), size as f64 / 1e6, "MB"));
    creation(run, report, &directory, archive.clone()).await?;
    cold_starts(run, report, &archive).await?;
    fs::remove_dir_all(&directory).map_err(io_error("remove the folder for packages"))
}

/// Creating a function against plainly unzipping the same archive to the same file system, in turns.
async fn creation(
    run: &Run,
    report: &mut Report,
    directory: &Path,
    mut archive: Vec<u8>,
) -> Result<(), BenchError> {
    let service = run.launch(Launch { directory: Some(&directory.join("data")), ..Launch::default() })?;
    let (mut floors, mut times, mut again) = (Vec::new(), Vec::new(), Vec::new());
    for round in 0..run.extent.rounds {
        flush(directory)?;
        floors.push(milliseconds(unzip(&archive, &directory.join(format!("floor-{round}")))?));
        flush(directory)?;
        // The comment at the end makes it an archive that the service has never seen.
        let end = archive.len() - COMMENT.len();
        archive[end..].copy_from_slice(format!("{round:0width$}", width = COMMENT.len()).as_bytes());
        times.push(milliseconds(create(&service, &format!("{BIG}-{round}"), &archive).await?));
        again.push(milliseconds(create(&service, &format!("{BIG}-{round}-again"), &archive).await?));
    }
    service.stop()?;
    let floors = Rounds::from(floors);
    report.add(
        Row::new("create with a large package", Rounds::from(times), "ms")
            .floor(FLOOR, floors.clone())
            .promise(Promise::RatioAtMost(1.2)),
    );
    report
        .add(Row::new("create with the same package again", Rounds::from(again), "ms").floor(FLOOR, floors));
    Ok(())
}

/// Cold starts of the same handler alone and in the large package, in turns.
async fn cold_starts(run: &Run, report: &mut Report, archive: &[u8]) -> Result<(), BenchError> {
    let service = run.start(None)?;
    service.create(SMALL, &Language::Python.package()?).await?;
    create(&service, BIG, archive).await?;
    let mut all = [Series::default(), Series::default()];
    for round in 0..run.extent.rounds {
        let mut times = [Vec::new(), Vec::new()];
        for sample in 0..run.each_round(50) {
            for (name, times) in [SMALL, BIG].into_iter().zip(&mut times) {
                service.renew(name, json!({ "NUMBER": format!("{round}-{sample}") })).await?;
                tokio::time::sleep(SETTLE).await;
                times.push(load::single(&service.target(name)).await?);
            }
        }
        all.iter_mut().zip(times).for_each(|(series, times)| series.push(Samples::new(times)));
    }
    let [small, big] = all;
    report.add(
        Row::new("cold python in a large package, p50", big.milliseconds(0.5), "ms")
            .floor("the handler alone", small.milliseconds(0.5))
            .promise(Promise::RatioAtMost(1.1)),
    );
    service.stop()
}

fn milliseconds(time: Duration) -> f64 {
    time.as_secs_f64() * 1e3
}

/// Creates a function; returns how long that took until it was active, without making the request.
async fn create(service: &Service, name: &str, archive: &[u8]) -> Result<Duration, BenchError> {
    let package = Language::Python.package()?;
    let body = json!({
        "FunctionName": name,
        "Runtime": package.runtime,
        "Handler": package.handler,
        "Role": "arn:aws:iam::000000000000:role/bench",
        "Timeout": 60,
        "MemorySize": 1769,
        "Code": { "ZipFile": base64::engine::general_purpose::STANDARD.encode(archive) },
    });
    let request = http::request("POST", FUNCTIONS, body.to_string().as_bytes());
    let mut connection = service.connect().await?;
    let started = Instant::now();
    let answer = connection.exchange(&request).await.map_err(io_error("create a function"))?;
    if answer.status != 201 {
        let body = String::from_utf8_lossy(answer.body).into_owned();
        return Err(BenchError::Answer { what: "create a function", status: answer.status, body });
    }
    service.settled(name).await?;
    Ok(started.elapsed())
}

/// So that what one side has written is not on the disk's way while the other is measured.
fn flush(directory: &Path) -> Result<(), BenchError> {
    let synced = File::open(directory).and_then(|directory| Ok(rustix::fs::syncfs(directory)?));
    synced.map_err(io_error("flush the file system"))
}

/// The package's archive, always the same, and the size of its content.
fn archive() -> Result<(Vec<u8>, usize), BenchError> {
    const WORDS: [&str; 24] = [
        "self",
        "return",
        "import",
        "value",
        "index",
        "None",
        "True",
        "False",
        "def",
        "class",
        "for",
        "in",
        "if",
        "else",
        "raise",
        "TypeError",
        "array",
        "shape",
        "result",
        "client",
        "request",
        "response",
        "name",
        "=",
    ];
    let mut random = Random(0x9e37_79b9_7f4a_7c15);
    let mut size = 0;
    let mut writer = ZipWriter::new(Cursor::new(Vec::new()));
    let mut add = |name: String, content: &[u8], mode| {
        size += content.len();
        writer.start_file(name, SimpleFileOptions::default().unix_permissions(mode))?;
        writer.write_all(content).map_err(io_error("write an archive"))
    };
    add("main.py".to_owned(), &Language::Python.package()?.content, 0o644)?;
    for library in 0..LIBRARIES {
        // Half of it cannot be compressed: code is like that.
        let content: Vec<u8> = (0..LIBRARY_BYTES / 8)
            .flat_map(|word| if word % 2 == 0 { random.next() } else { word as u64 / 64 }.to_le_bytes())
            .collect();
        add(format!("library{library}/native.so"), &content, 0o755)?;
    }
    for module in 1 + LIBRARIES..FILES {
        let length = MODULE_BYTES / 4 + random.below(MODULE_BYTES * 3 / 2);
        let mut text = String::with_capacity(length + 16);
        while text.len() < length {
            text.push_str(WORDS[random.below(WORDS.len())]);
            text.push(if random.below(8) == 0 { '\n' } else { ' ' });
        }
        let directory = module / DIRECTORY;
        let name = format!("library{}/part{directory}/module{module}.py", directory % LIBRARIES);
        add(name, text.as_bytes(), 0o644)?;
    }
    writer.set_comment(COMMENT);
    Ok((writer.finish()?.into_inner(), size))
}

/// Numbers without a pattern that compression would find (xorshift).
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0
    }

    fn below(&mut self, limit: usize) -> usize {
        (self.next() >> 16) as usize % limit
    }
}

/// Floor F6: as many threads as there are cores extract an archive that is in memory, and do nothing else: no hash, no
/// flush, no permissions or dates. Directories are made before, by one.
fn unzip(archive: &[u8], place: &Path) -> Result<Duration, BenchError> {
    let threads = thread::available_parallelism().map_or(1, Into::into);
    let archive: Arc<[u8]> = archive.into();
    let started = Instant::now();
    let opened = ZipArchive::new(Cursor::new(archive))?;
    let mut directories: Vec<PathBuf> = opened
        .file_names()
        .filter_map(|name| Path::new(name).parent())
        .map(|directory| place.join(directory))
        .collect();
    directories.sort();
    directories.dedup();
    for directory in directories {
        fs::create_dir_all(directory).map_err(io_error("make a directory"))?;
    }
    let next = AtomicUsize::new(0);
    thread::scope(|scope| {
        let work = || -> Result<(), BenchError> {
            let mut opened = opened.clone();
            loop {
                let index = next.fetch_add(1, Ordering::Relaxed);
                if index >= opened.len() {
                    return Ok(());
                }
                let mut entry = opened.by_index(index)?;
                let path = place.join(entry.name());
                let written = File::create(path).and_then(|mut file| io::copy(&mut entry, &mut file));
                written.map_err(io_error("write a file"))?;
            }
        };
        let workers: Vec<_> = (0..threads).map(|_| scope.spawn(work)).collect();
        workers.into_iter().try_for_each(|worker| worker.join().expect("unzipping does not panic"))
    })?;
    Ok(started.elapsed())
}
