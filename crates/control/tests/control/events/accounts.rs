//! Events never vanish: what was accepted waits, was attempted with success, was handed on, or was given up.

use std::collections::BTreeSet;

use proptest::prelude::*;

use super::{
    records::{Outside, destinations, durable as durable_with, record, shut_down},
    *,
};

/// Something that happens to the service.
#[derive(Debug, Clone)]
enum Step {
    /// An event that makes the function fail so often.
    Send(u8),
    /// The destination is there from now on, or is not.
    Reachable(bool),
    /// Reserved concurrency is zero from now on, or is not.
    SwitchedOff(bool),
    /// Some time passes.
    Wait(u16),
    Restart,
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let step = prop_oneof![
        4 => (0..5u8).prop_map(Step::Send),
        1 => any::<bool>().prop_map(Step::Reachable),
        1 => any::<bool>().prop_map(Step::SwitchedOff),
        2 => (0..400u16).prop_map(Step::Wait),
        1 => Just(Step::Restart),
    ];
    prop::collection::vec(step, 1..25)
}

async fn check(steps: Vec<Step>) {
    const QUEUE: &str = "arn:aws:sqs:us-east-1:123456789012:unreachable";
    let directory = tempfile::tempdir().unwrap();
    let (attempts, outside) = (Attempts::new(), Outside::new());
    let mut service = durable_with(directory.path(), &attempts, &outside).await;
    service.created(json!({})).await;
    configure(&service, "$LATEST", destinations(Some(QUEUE), Some(QUEUE))).await;
    let mut sent = BTreeSet::new();
    for step in steps {
        match step {
            Step::Send(failures) => {
                sent.insert(accepted(&service, "f", json!({ "failures": failures })).await);
            }
            Step::Reachable(reachable) => drop(outside.reachable.send_replace(reachable)),
            Step::SwitchedOff(true) => reserve(&service, 0).await,
            Step::SwitchedOff(false) => reserve(&service, 10).await,
            Step::Wait(seconds) => sleep(Duration::from_secs(seconds.into())).await,
            Step::Restart => {
                shut_down(service).await;
                service = durable_with(directory.path(), &attempts, &outside).await;
            }
        }
    }
    shut_down(service).await;
    let told: BTreeSet<String> = outside
        .got()
        .iter()
        .map(|delivery| record(delivery)["requestContext"]["requestId"].as_str().unwrap().to_owned())
        .collect();
    let waiting: BTreeSet<String> = kept(directory.path()).into_keys().collect();
    assert_eq!(told.union(&waiting).cloned().collect::<BTreeSet<_>>(), sent);

    // In the end everyone has heard of everything.
    outside.reachable.send_replace(true);
    let service = durable_with(directory.path(), &attempts, &outside).await;
    attempts.ever().await;
    shut_down(service).await;
    let told: BTreeSet<String> = outside
        .got()
        .iter()
        .map(|delivery| record(delivery)["requestContext"]["requestId"].as_str().unwrap().to_owned())
        .collect();
    assert_eq!((told, kept(directory.path()).len()), (sent, 0));
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 8, ..ProptestConfig::default() })]

    #[test]
    fn what_was_accepted_is_waiting_or_told(steps in steps()) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_time().start_paused(true).build();
        runtime.unwrap().block_on(check(steps));
    }
}
