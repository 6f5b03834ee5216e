//! How soon the service is ready after its process was started.
//!
//! Must not count its end.

use crate::bench::{
    BenchError,
    report::{Promise, Report, Row},
    run::Run,
    statistics::{Samples, Series},
};

pub(super) async fn measure(run: &Run, report: &mut Report) -> Result<(), BenchError> {
    let mut series = Series::default();
    for _ in 0..run.rounds(10) {
        let mut times = Vec::new();
        for _ in 0..run.each_round(20) {
            let service = run.start(None)?;
            times.push(service.ready_after);
            service.stop()?;
        }
        series.push(Samples::new(times));
    }
    report.add(Row::new("ready, p50", series.milliseconds(0.5), "ms").promise(Promise::AtMost(50.0)));
    report.add(Row::new("ready, slowest", series.milliseconds(1.0), "ms"));
    Ok(())
}
