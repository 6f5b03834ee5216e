//! Callers of one function at once: no event is lost, changed or run twice, and none of them waits for the others.
//!
//! Must not believe the service: environments count what they were given, and send each event back.

use std::{
    collections::HashMap,
    time::{Duration, Instant},
};

use serde_json::{Value, json};
use tokio::task::JoinSet;

use crate::bench::{
    BenchError, io_error,
    language::Language,
    load::{self, Target},
    relay::Relay,
    report::{Promise, Report, Row},
    run::Run,
    service::Package,
    statistics::Rounds,
};

/// Callers at once.
const CALLERS: usize = 32;

/// How long they call in each round of a whole run.
const ROUND: Duration = Duration::from_secs(1);

const FUNCTION: &str = "\
import uuid
ENVIRONMENT = str(uuid.uuid4())
COUNT = 0

def handler(event, context):
    global COUNT
    COUNT += 1
    return {'environment': ENVIRONMENT, 'count': COUNT, 'event': event}
";

pub(super) async fn measure(run: &Run, report: &mut Report) -> Result<(), BenchError> {
    if !run.wants(Language::Python) {
        return Ok(());
    }
    let relay = Relay::start(CALLERS, None)?;
    let service = run.start(None)?;
    let package = Package { content: FUNCTION.into(), ..Language::Python.package()? };
    service.create("fairness", &package).await?;
    let target = service.target("fairness");
    let mut counts: HashMap<String, u64> = HashMap::new();
    let (mut sent, mut wrong) = (0, 0);
    let (mut shares, mut floors) = (Vec::new(), Vec::new());
    for round in 0..run.rounds(5) {
        let length = ROUND.mul_f64(run.extent.share.max(0.2));
        floors.push(share(&call(&relay.target, round, length).await?));
        let all = call(&target, round, length).await?;
        shares.push(share(&all));
        for caller in all {
            sent += caller.len() as u64;
            for (event, answer) in caller {
                wrong += u64::from(answer["event"] != event);
                let environment = answer["environment"].as_str().unwrap_or_default().to_owned();
                let highest = counts.entry(environment).or_default();
                *highest = answer["count"].as_u64().unwrap_or(0).max(*highest);
            }
        }
    }
    // Environments were given more events than were sent: some ran twice.
    let doubled = counts.values().sum::<u64>().saturating_sub(sent);
    let figure = |what| format!("{CALLERS} callers, {what}");
    report.add(Row::new(figure("events lost or changed"), wrong as f64, "").promise(Promise::AtMost(0.0)));
    report.add(Row::new(figure("events run twice"), doubled as f64, "").promise(Promise::AtMost(0.0)));
    report.add(
        Row::new(figure("answers of the slowest, share of the mean"), Rounds::from(shares), "")
            .floor("F1", Rounds::from(floors)),
    );
    service.stop()
}

/// Events and their answers.
type Exchanges = Vec<(Value, Value)>;

/// All callers, each with events of its own, for so long.
async fn call(target: &Target, round: usize, length: Duration) -> Result<Vec<Exchanges>, BenchError> {
    let mut callers = JoinSet::new();
    let until = Instant::now() + length;
    for caller in 0..CALLERS {
        let target = target.clone();
        callers.spawn(async move {
            let mut connection = target.connect().await?;
            let mut exchanges = Exchanges::new();
            while Instant::now() < until {
                let event = json!({ "round": round, "caller": caller, "number": exchanges.len() });
                let answer = load::ask(&target, &mut connection, &event).await?;
                exchanges.push((event, answer));
            }
            Ok(exchanges)
        });
    }
    callers.join_all().await.into_iter().collect::<std::io::Result<_>>().map_err(io_error("send events"))
}

/// Answers of the caller that got the fewest, as a share of the mean.
fn share(callers: &[Exchanges]) -> f64 {
    let counts = callers.iter().map(|exchanges| exchanges.len() as f64);
    let least = counts.clone().reduce(f64::min).unwrap_or_default();
    least * callers.len() as f64 / counts.sum::<f64>().max(1.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_share_is_one_when_all_get_the_same() {
        let exchanges = |count| vec![(Value::Null, Value::Null); count];
        assert_eq!(share(&[exchanges(5), exchanges(5)]), 1.0);
        assert_eq!(share(&[exchanges(1), exchanges(3)]), 0.5);
        assert_eq!(share(&[exchanges(0), exchanges(0)]), 0.0);
    }
}
