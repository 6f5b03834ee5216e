//! Warm invocations, against the least that an invoke can cost (floor F1).
//!
//! Must not measure one after the other: relay and services live at once and take turns, round by round.

use crate::bench::{
    BenchError, io_error,
    language::Language,
    load::{self, Target},
    process::Pinned,
    relay::Relay,
    report::{Promise, Report, Row},
    run::Run,
    service::Service,
    statistics::Series,
};

/// The core for figures that are taken on one core, caller included.
const CORE: usize = 0;

/// Callers at once.
const CONCURRENCIES: [usize; 3] = [1, 8, 32];

pub(super) async fn measure(run: &Run, report: &mut Report) -> Result<(), BenchError> {
    // On one core, caller included: what the code costs, without waking other cores.
    {
        let _pinned = Pinned::to(Some(CORE)).map_err(io_error("stay on one core"))?;
        let contest = Contest::prepare(run, 1, Some(CORE)).await?;
        let (floor, others) = contest.run(run, 1, 20_000).await?;
        report.add(Row::new("F1 relay, one core, p50", floor.percentile(0.5), "us"));
        for (language, series) in others {
            let figure = |what| format!("warm {}, one core, {what}", language.name());
            report.add(
                Row::new(figure("p50"), series.percentile(0.5), "us")
                    .floor("F1 p50", floor.percentile(0.5))
                    .promise(language.warm_promise()),
            );
            report.add(
                Row::new(figure("p99"), series.percentile(0.99), "us")
                    .floor("F1 p99", floor.percentile(0.99)),
            );
        }
    }
    // On all cores, as people run it.
    for concurrency in CONCURRENCIES {
        let contest = Contest::prepare(run, concurrency, None).await?;
        let (floor, others) = contest.run(run, concurrency, 20_000 * concurrency.min(2)).await?;
        let figure = format!("F1 relay, concurrency {concurrency}, p50");
        report.add(Row::new(figure, floor.percentile(0.5), "us"));
        for (language, series) in others {
            let figure = |what| format!("warm {}, concurrency {concurrency}, {what}", language.name());
            for (share, name, floor_name) in [(0.5, "p50", "F1 p50"), (0.99, "p99", "F1 p99")] {
                report.add(
                    Row::new(figure(name), series.percentile(share), "us")
                        .floor(floor_name, floor.percentile(share)),
                );
            }
            let rate = Row::new(figure("rate"), series.rate(), "/s").floor("F1 rate", floor.rate());
            let promised = language == Language::Python && concurrency == 8;
            report.add(if promised { rate.promise(Promise::RatioAtLeast(0.75)) } else { rate });
        }
    }
    Ok(())
}

/// The relay and a service for each language, all alive.
struct Contest {
    relay: Relay,
    services: Vec<(Language, Service, Target)>,
}

impl Contest {
    async fn prepare(run: &Run, concurrency: usize, core: Option<usize>) -> Result<Self, BenchError> {
        let relay = Relay::start(concurrency, core)?;
        let mut services = Vec::new();
        for language in &run.languages {
            let service = run.start(core)?;
            service.create("warm", &language.package()?).await?;
            let target = service.target("warm");
            services.push((*language, service, target));
        }
        Ok(Self { relay, services })
    }

    /// Samples of the relay and of each language, taken in turn.
    async fn run(
        self,
        run: &Run,
        concurrency: usize,
        full: usize,
    ) -> Result<(Series, Vec<(Language, Series)>), BenchError> {
        let count = run.each_round(full);
        let mut floor = Series::default();
        let mut others: Vec<_> =
            self.services.iter().map(|(language, ..)| (*language, Series::default())).collect();
        for _ in 0..run.extent.rounds {
            floor.push(load::run(&self.relay.target, concurrency, count).await?);
            for ((_, _, target), (_, series)) in self.services.iter().zip(&mut others) {
                series.push(load::run(target, concurrency, count).await?);
            }
        }
        self.services.into_iter().try_for_each(|(_, service, _)| service.stop())?;
        Ok((floor, others))
    }
}
