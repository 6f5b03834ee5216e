//! What is told of asynchronous invocations: destinations and dead letters.

use futures_util::future::BoxFuture;
use hothouse_control::{
    delivery::{Attribute, Deliveries, Delivery, DeliveryError},
    metrics::Metric,
    state::model::Scope,
};
use tokio::sync::watch;

use super::*;
use crate::support::open_with;

const QUEUE: &str = "arn:aws:sqs:us-east-1:123456789012:queue";
const TOPIC: &str = "arn:aws:sns:us-east-1:123456789012:topic";
const BUS: &str = "arn:aws:events:us-east-1:123456789012:event-bus/bus";
const BUCKET: &str = "arn:aws:s3:::bucket";

/// Services that remember what they got. Those called `missing` refuse, those called `unreachable` cannot be reached as
/// long as [`Outside::reachable`] is not set, and those called `silent` never answer.
#[derive(Clone)]
pub(super) struct Outside {
    got: Arc<Mutex<Vec<(u64, Delivery)>>>,
    tried: watch::Sender<usize>,
    pub(super) reachable: watch::Sender<bool>,
    begun: Instant,
}

impl Outside {
    pub(super) fn new() -> Self {
        Self {
            got: Arc::default(),
            tried: watch::Sender::new(0),
            reachable: watch::Sender::new(false),
            begun: Instant::now(),
        }
    }

    pub(super) fn got(&self) -> Vec<Delivery> {
        self.got.lock().unwrap().iter().map(|(_, delivery)| delivery.clone()).collect()
    }

    fn times(&self) -> Vec<u64> {
        self.got.lock().unwrap().iter().map(|(at, _)| *at).collect()
    }

    /// Waits until so many deliveries were tried.
    async fn reach(&self, count: usize) -> Vec<Delivery> {
        self.tried.subscribe().wait_for(|tried| *tried >= count).await.unwrap();
        self.got()
    }
}

impl Deliveries for Outside {
    fn deliver<'a>(&'a self, _: &'a Scope, delivery: Delivery) -> BoxFuture<'a, Result<(), DeliveryError>> {
        let service = delivery.service();
        let arn = arn(&delivery).to_owned();
        Box::pin(async move {
            self.tried.send_modify(|tried| *tried += 1);
            if arn.ends_with("silent") {
                std::future::pending::<()>().await;
            }
            if arn.ends_with("missing") {
                let (code, message) = ("NonExistentQueue".into(), "there is none".into());
                return Err(DeliveryError::Refused { service, code, message });
            }
            if arn.ends_with("unreachable") && !*self.reachable.borrow() {
                return Err(DeliveryError::Unreachable { service, source: "refused".into() });
            }
            self.got.lock().unwrap().push((self.begun.elapsed().as_secs(), delivery));
            Ok(())
        })
    }
}

fn arn(delivery: &Delivery) -> &str {
    match delivery {
        Delivery::Queue { arn, .. }
        | Delivery::Topic { arn, .. }
        | Delivery::EventBus { arn, .. }
        | Delivery::Bucket { arn, .. } => arn,
    }
}

/// What a delivery says.
fn text(delivery: &Delivery) -> String {
    match delivery {
        Delivery::Queue { body, .. } => body.clone(),
        Delivery::Topic { message, .. } => message.clone(),
        Delivery::EventBus { detail, .. } => detail.clone(),
        Delivery::Bucket { body, .. } => String::from_utf8(body.to_vec()).unwrap(),
    }
}

pub(super) fn record(delivery: &Delivery) -> Value {
    serde_json::from_str(&text(delivery)).unwrap()
}

pub(super) async fn service() -> (Service, Attempts, Outside) {
    let (attempts, outside) = (Attempts::new(), Outside::new());
    let config = ControlConfig::default();
    let code = CodeStore::ephemeral(&std::env::temp_dir(), config.limits.code_size_unzipped).unwrap();
    let (store, executor) = (Arc::<MemoryStore>::default(), attempts.executor());
    let port = Arc::new(outside.clone());
    let service = open_with(config, store, code, executor, PausedClock::new(), port).await;
    service.created(json!({ "Timeout": 900 })).await;
    (service, attempts, outside)
}

pub(super) async fn durable(directory: &Path, attempts: &Attempts, outside: &Outside) -> Service {
    let config = ControlConfig { retry_base_delay: Duration::ZERO, ..ControlConfig::default() };
    let store = Arc::new(SqliteStore::open(&directory.join("state.db")).unwrap());
    let code = CodeStore::open(directory.join("code"), config.limits.code_size_unzipped).unwrap();
    let (clock, port) = (PausedClock::new(), Arc::new(outside.clone()));
    open_with(config, store, code, attempts.executor(), clock, port).await
}

pub(super) async fn shut_down(service: Service) {
    service.engine.shut_down().await;
    service.control.shut_down().await;
}

pub(super) fn destinations(success: Option<&str>, failure: Option<&str>) -> Value {
    json!({ "DestinationConfig": {
        "OnSuccess": { "Destination": success },
        "OnFailure": { "Destination": failure },
    } })
}

/// What the engine's fake runtime reports of a failure.
fn document(record: &Value) -> &Value {
    &record["responsePayload"]
}

#[tokio::test(start_paused = true)]
async fn success_is_told_to_its_destination() {
    let (service, attempts, outside) = service().await;
    configure(&service, "$LATEST", destinations(Some(QUEUE), Some(TOPIC))).await;
    let payload = "{ \"failures\" : 1, \"number\": 1e2 }";
    let id = send(&service, "f", payload).await.headers["x-amzn-requestid"].to_str().unwrap().to_owned();
    let trace = attempts.ever().await[0].trace.clone();
    let [Delivery::Queue { arn, body, attributes, trace: sent }] = &outside.got()[..] else { panic!() };
    assert_eq!((arn.as_str(), attributes.len(), sent.as_deref()), (QUEUE, 0, Some(trace.as_str())));
    // The order is AWS's, and the event is as it came.
    assert_eq!(
        *body,
        format!(
            r#"{{"version":"1.0","timestamp":"2023-11-14T22:14:20.000Z","requestContext":{{"requestId":"{id}","functionArn":"{ARN}:$LATEST","condition":"Success","approximateInvokeCount":2}},"requestPayload":{payload},"responseContext":{{"statusCode":200,"executedVersion":"$LATEST"}},"responsePayload":{{}}}}"#
        )
    );
}

#[tokio::test(start_paused = true)]
async fn failure_is_told_to_destination_and_dead_letter_queue() {
    let (service, attempts, outside) = service().await;
    configure(&service, "$LATEST", destinations(Some(TOPIC), Some(BUS))).await;
    service.update_configuration(json!({ "DeadLetterConfig": { "TargetArn": QUEUE } })).await;
    let id = accepted(&service, "f", json!({ "failures": 9 })).await;
    assert_eq!(attempts.ever().await.len(), 3);
    assert_eq!(outside.times(), [180, 180]);
    let got = outside.got();
    let Delivery::EventBus { source, detail_type, resources, .. } = &got[0] else { panic!("{got:?}") };
    assert_eq!(
        (source.as_str(), detail_type.as_str()),
        ("lambda", "Lambda Function Invocation Result - Failure")
    );
    assert_eq!(*resources, [BUS.to_owned(), format!("{ARN}:$LATEST")]);
    let record = record(&got[0]);
    assert_eq!(
        record["requestContext"],
        json!({ "requestId": id, "functionArn": format!("{ARN}:$LATEST"), "condition": "RetriesExhausted",
                "approximateInvokeCount": 3 })
    );
    assert_eq!(
        record["responseContext"],
        json!({ "statusCode": 200, "executedVersion": "$LATEST", "functionError": "Unhandled" })
    );
    let message = document(&record)["errorMessage"].as_str().unwrap_or_default().to_owned();
    let Delivery::Queue { body, attributes, trace, .. } = &got[1] else { panic!("{got:?}") };
    assert_eq!((body.as_str(), trace.is_some()), (r#"{"failures":9}"#, true));
    let attribute = |name, data_type, value: &str| Attribute { name, data_type, value: value.into() };
    let mut expected = vec![attribute("RequestID", "String", &id), attribute("ErrorCode", "Number", "200")];
    expected.extend((!message.is_empty()).then(|| attribute("ErrorMessage", "String", &message)));
    assert_eq!(*attributes, expected);
}

#[tokio::test(start_paused = true)]
async fn each_kind_of_destination_gets_the_record() {
    let (service, attempts, outside) = service().await;
    configure(&service, "$LATEST", json!({ "MaximumRetryAttempts": 0 })).await;
    for arn in [QUEUE, TOPIC, BUS, BUCKET] {
        let config = json!({ "MaximumRetryAttempts": 0, "DestinationConfig":
            { "OnFailure": { "Destination": arn } } });
        configure(&service, "$LATEST", config).await;
        accepted(&service, "f", json!({ "failures": 9 })).await;
        attempts.ever().await;
    }
    let got = outside.got();
    assert_eq!(got.iter().map(arn).collect::<Vec<_>>(), [QUEUE, TOPIC, BUS, BUCKET]);
    for delivery in &got {
        assert_eq!(record(delivery)["requestContext"]["condition"], "RetriesExhausted", "{delivery:?}");
    }
    let Delivery::Bucket { key, .. } = &got[3] else { panic!() };
    let timestamp = record(&got[3])["timestamp"].as_str().unwrap().to_owned();
    let (day, second) = (timestamp[..10].replace('-', "/"), timestamp[..19].replace(':', "."));
    let uuid = key.strip_prefix(&format!("aws/lambda/async/f/{day}/{second}-")).expect(key);
    assert_eq!(uuid.len(), 36);
}

#[tokio::test(start_paused = true)]
async fn settings_and_versions_have_destinations_and_dead_letter_queues_of_their_own() {
    let (service, attempts, outside) = service().await;
    service.update_configuration(json!({ "DeadLetterConfig": { "TargetArn": QUEUE } })).await;
    service.publish(json!({})).await;
    service.update_configuration(json!({ "DeadLetterConfig": { "TargetArn": "" } })).await;
    service.post("/f/aliases", json!({ "Name": "live", "FunctionVersion": "1" })).await;
    configure(&service, "live", destinations(None, Some(TOPIC))).await;
    accepted(&service, "f", json!({ "failures": 9 })).await;
    accepted(&service, "f:1", json!({ "failures": 9, "which": 1 })).await;
    accepted(&service, "f:live", json!({ "failures": 9 })).await;
    attempts.ever().await;
    let got = outside.got();
    let mut arns: Vec<_> = got.iter().map(arn).collect();
    arns.sort_unstable();
    assert_eq!(arns, [TOPIC, QUEUE, QUEUE]);
    let told = got.iter().find(|delivery| arn(delivery) == TOPIC).map(record).unwrap();
    assert_eq!(told["requestContext"]["functionArn"], format!("{ARN}:live"));
    assert_eq!(told["responseContext"]["executedVersion"], "1");
}

#[tokio::test(start_paused = true)]
async fn event_that_becomes_too_old_is_told_with_its_last_answer() {
    let (service, attempts, outside) = service().await;
    let mut config = destinations(None, Some(QUEUE));
    config["MaximumEventAgeInSeconds"] = 60.into();
    configure(&service, "$LATEST", config.clone()).await;
    accepted(&service, "f", json!({ "failures": 9 })).await;
    attempts.ever().await;
    // This one fails first and is refused from then on, so that its age ends it.
    config["MaximumEventAgeInSeconds"] = 100.into();
    configure(&service, "$LATEST", config).await;
    accepted(&service, "f", json!({ "failures": 9 })).await;
    attempts.reach(2).await;
    sleep(Duration::from_secs(1)).await;
    reserve(&service, 1).await;
    let busy = service.post("/f/invocations", json!({ "seconds": 800 }));
    tokio::join!(busy, attempts.ever());
    for delivery in outside.got() {
        let record = record(&delivery);
        let context = &record["requestContext"];
        assert_eq!(
            (&context["condition"], &context["approximateInvokeCount"]),
            (&json!("EventAgeExceeded"), &json!(1))
        );
        assert_eq!(record["responseContext"]["functionError"], "Unhandled");
        assert!(record.get("responsePayload").is_some());
    }
    assert_eq!(outside.got().len(), 2);
}

#[tokio::test(start_paused = true)]
async fn event_of_a_function_that_is_switched_off_is_told_without_an_answer() {
    let (service, attempts, outside) = service().await;
    configure(&service, "$LATEST", destinations(None, Some(QUEUE))).await;
    service.update_configuration(json!({ "DeadLetterConfig": { "TargetArn": TOPIC } })).await;
    reserve(&service, 0).await;
    let id = accepted(&service, "f", json!({ "a": 1 })).await;
    assert_eq!(attempts.ever().await, []);
    let got = outside.got();
    assert_eq!(got.len(), 2);
    let mut record = record(&got[0]);
    record["timestamp"].take();
    assert_eq!(
        record,
        json!({ "version": "1.0", "timestamp": null, "requestContext":
                { "requestId": id, "functionArn": format!("{ARN}:$LATEST"),
                  "condition": "ZeroReservedConcurrency", "approximateInvokeCount": 0 },
                "requestPayload": { "a": 1 } })
    );
    let Delivery::Topic { attributes, .. } = &got[1] else { panic!() };
    let values: Vec<_> = attributes.iter().map(|attribute| attribute.value.as_str()).collect();
    assert_eq!(values, [id.as_str(), "429", "Rate Exceeded."]);
}

#[tokio::test(start_paused = true)]
async fn record_that_is_too_large_goes_without_what_makes_it_so() {
    let (service, attempts, outside) = service().await;
    configure(&service, "$LATEST", destinations(Some(TOPIC), None)).await;
    accepted(&service, "f", json!({ "pad": "x".repeat(262_144) })).await;
    accepted(&service, "f", json!({ "pad": "x".repeat(200_000) })).await;
    attempts.ever().await;
    let told: Vec<_> = outside.got().iter().map(record).collect();
    for record in &told {
        assert_eq!(record["requestContext"]["condition"], "Success");
    }
    let has = |member| told.iter().filter(|record| record.get(member).is_some()).count();
    assert_eq!((has("requestPayload"), has("responsePayload"), has("responseContext")), (1, 1, 2));
}

#[tokio::test(start_paused = true)]
async fn service_that_is_away_for_a_while_gets_its_record_later() {
    let (service, attempts, outside) = service().await;
    let unreachable = format!("{QUEUE}-unreachable");
    configure(&service, "$LATEST", destinations(Some(&unreachable), None)).await;
    accepted(&service, "f", json!({})).await;
    attempts.reach(1).await;
    // After 0, 1, 3 and 7 seconds.
    outside.reach(4).await;
    outside.reachable.send_replace(true);
    attempts.ever().await;
    assert_eq!(outside.times(), [15]);
    assert_eq!(*outside.tried.borrow(), 5);
}

#[tokio::test(start_paused = true)]
async fn what_cannot_be_sent_is_given_up_and_counted() {
    let (service, attempts, outside) = service().await;
    let missing = format!("{QUEUE}-missing");
    configure(&service, "$LATEST", destinations(Some(&format!("{QUEUE}-unreachable")), Some(&missing))).await;
    service.update_configuration(json!({ "DeadLetterConfig": { "TargetArn": missing } })).await;
    accepted(&service, "f", json!({})).await;
    accepted(&service, "f", json!({ "failures": 9 })).await;
    attempts.ever().await;
    assert_eq!(outside.got(), []);
    assert_eq!(service.counted(Metric::AsyncEventsReceived), 2.0);
    assert_eq!(service.counted(Metric::AsyncEventsDropped), 1.0);
    assert_eq!(service.counted(Metric::DestinationDeliveryFailures), 2.0);
    assert_eq!(service.counted(Metric::DeadLetterErrors), 1.0);
}

#[tokio::test(start_paused = true)]
async fn one_recipient_does_not_wait_for_another() {
    let (service, attempts, outside) = service().await;
    configure(&service, "$LATEST", destinations(None, Some(&format!("{QUEUE}-unreachable")))).await;
    service.update_configuration(json!({ "DeadLetterConfig": { "TargetArn": TOPIC } })).await;
    accepted(&service, "f", json!({ "failures": 9 })).await;
    attempts.ever().await;
    assert_eq!(outside.times(), [180]);
    assert_eq!(outside.got().iter().map(arn).collect::<Vec<_>>(), [TOPIC], "once");
}

#[tokio::test(start_paused = true)]
async fn function_gets_the_record_as_its_event() {
    let (service, attempts, outside) = service().await;
    service.created(json!({ "FunctionName": "g" })).await;
    service.publish(json!({})).await;
    service.post("/g/versions", json!({})).await;
    let target = "arn:aws:lambda:us-east-1:123456789012:function:g:1";
    configure(&service, "$LATEST", destinations(Some(target), None)).await;
    let id = accepted(&service, "f", json!({ "a": 1 })).await;
    let ran = attempts.ever().await;
    assert_eq!((ran.len(), outside.got().len()), (2, 0));
    assert_eq!((ran[1].arn.as_str(), ran[1].version.as_str()), (target, "1"));
    assert_ne!(ran[1].id, id);
    let record: Value = serde_json::from_str(&ran[1].payload).unwrap();
    assert_eq!(record["requestContext"]["requestId"], id);
    assert_eq!(record["requestPayload"], json!({ "a": 1 }));
    let root = |trace: &str| trace.split(';').next().unwrap().to_owned();
    assert_eq!(root(&ran[0].trace), root(&ran[1].trace));
}

#[tokio::test(start_paused = true)]
async fn function_that_is_gone_gets_nothing() {
    let (service, attempts, _) = service().await;
    service.created(json!({ "FunctionName": "g" })).await;
    configure(
        &service,
        "$LATEST",
        destinations(Some("arn:aws:lambda:us-east-1:123456789012:function:g"), None),
    )
    .await;
    service.delete("/g").await;
    accepted(&service, "f", json!({})).await;
    assert_eq!(attempts.ever().await.len(), 1);
    assert_eq!(service.counted(Metric::DestinationDeliveryFailures), 1.0);
}

#[tokio::test(start_paused = true)]
async fn record_that_has_not_arrived_is_sent_by_the_next_start() {
    for name in ["unreachable", "silent"] {
        let directory = tempfile::tempdir().unwrap();
        let (attempts, outside) = (Attempts::new(), Outside::new());
        let service = durable(directory.path(), &attempts, &outside).await;
        service.created(json!({ "Timeout": 900 })).await;
        let waiting = format!("{QUEUE}-{name}");
        // What the state does not hold is there, too.
        let payload = json!({ "failures": 9, "pad": "x".repeat(10_000) });
        configure(&service, "$LATEST", destinations(None, Some(TOPIC))).await;
        service.update_configuration(json!({ "DeadLetterConfig": { "TargetArn": waiting } })).await;
        let id = accepted(&service, "f", payload.clone()).await;
        outside.reach(2).await;
        assert_eq!(outside.got().iter().map(arn).collect::<Vec<_>>(), [TOPIC]);
        // What it says now is not asked any more.
        service.update_configuration(json!({ "DeadLetterConfig": { "TargetArn": "" } })).await;
        shut_down(service).await;
        assert_eq!(kept(directory.path()), BTreeMap::from([(id.clone(), 3)]), "{name}");
        if name == "silent" {
            continue;
        }

        outside.reachable.send_replace(true);
        let service = durable(directory.path(), &attempts, &outside).await;
        while outside.got().len() < 2 {
            tokio::task::yield_now().await;
        }
        let got = outside.got();
        assert_eq!(got.iter().map(arn).collect::<Vec<_>>(), [TOPIC, waiting.as_str()]);
        assert_eq!(serde_json::from_str::<Value>(&text(&got[1])).unwrap(), payload);
        let Delivery::Queue { attributes, .. } = &got[1] else { panic!() };
        assert_eq!(attributes[0].value, id);
        shut_down(service).await;
        assert_eq!(kept(directory.path()), BTreeMap::new());
        assert_eq!(attempts.all().len(), 3);
    }
}
