//! Memory of the idle service, and of environments that have served an invocation.
//!
//! Must not count what all environments share as one's own.

use crate::bench::{
    BenchError,
    language::Language,
    load, memory,
    report::{Promise, Report, Row},
    run::Run,
};

/// Environments over which memory is averaged.
const WARM_ENVIRONMENTS: usize = 8;

pub(super) async fn measure(run: &Run, report: &mut Report) -> Result<(), BenchError> {
    let service = run.start(None)?;
    let idle = memory::tree(service.id());
    report.add(
        Row::new("idle, all processes (PSS)", memory::proportional(&idle), "MB")
            .promise(Promise::AtMost(20.0)),
    );
    for language in run.languages.iter().filter(|language| **language != Language::Rust) {
        let name = format!("memory-{}", language.name());
        service.create(&name, &language.package()?).await?;
        // The first environment may bring what all share (a zygote, a pool); it is not counted.
        load::single(&service.target(&name)).await?;
        let before = memory::tree(service.id());
        let calls = (0..=WARM_ENVIRONMENTS).map(|_| service.sleeping(&name, 1.0));
        load::at_once(calls.collect()).await?;
        let more: Vec<u32> =
            memory::tree(service.id()).into_iter().filter(|pid| !before.contains(pid)).collect();
        let each = memory::private(&more) / WARM_ENVIRONMENTS as f64;
        let row = Row::new(format!("warm {} environment, private", language.name()), each, "MB");
        report.add(match language.memory_promise() {
            Some(promise) => row.promise(promise),
            None => row,
        });
    }
    let all = memory::proportional(&[service.id()]);
    report.add(Row::new("service itself after that (PSS)", all, "MB"));
    service.stop()
}
