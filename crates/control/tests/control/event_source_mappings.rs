//! Event source mappings.

mod settings;

use std::time::Duration;

use hothouse_control::ControlConfig;
use http::Method;
use serde_json::{Value, json};

use crate::{
    scenario::Scenario,
    support::{Answer, Service, configured, durable, package, service},
};

/// Replies of AWS, and the requests that they answered.
const RECORDED: &str = include_str!("recorded/event_source_mappings.json");
const MAPPINGS: &str = "/2015-03-31/event-source-mappings";
const QUEUE: &str = "arn:aws:sqs:us-east-1:123456789012:queue";
const FIFO: &str = "arn:aws:sqs:us-east-1:123456789012:queue.fifo";
const STREAM: &str = "arn:aws:kinesis:us-east-1:123456789012:stream/stream";
const TABLE: &str = "arn:aws:dynamodb:us-east-1:123456789012:table/table/stream/2026";
const CLUSTER: &str = "arn:aws:kafka:us-east-1:123456789012:cluster/c/1";
const BROKER: &str = "arn:aws:mq:us-east-1:123456789012:broker:b:b-1";
const HOUR: Duration = Duration::from_secs(3600);
const FUNCTION: &str = "arn:aws:lambda:us-east-1:123456789012:function:f";
const INVALID: &str = "400 InvalidParameterValueException";
const GONE: &str = "404 ResourceNotFoundException: The resource you requested does not exist.";

impl Service {
    async fn map(&self, request: Value) -> Answer {
        self.call(Method::POST, MAPPINGS, request).await
    }

    /// Maps the queue to a function, with members of one's own, and gives the mapping's id.
    async fn mapped(&self, function: &str, members: Value) -> String {
        let answer = self.map(request(function, members)).await;
        assert_eq!(answer.status, 202, "{:#}", answer.body);
        answer.text("UUID").to_owned()
    }

    async fn mapping(&self, id: &str) -> Answer {
        self.call(Method::GET, &format!("{MAPPINGS}/{id}"), Value::Null).await
    }

    async fn remap(&self, id: &str, members: Value) -> Answer {
        self.call(Method::PUT, &format!("{MAPPINGS}/{id}"), members).await
    }

    async fn unmap(&self, id: &str) -> Answer {
        self.call(Method::DELETE, &format!("{MAPPINGS}/{id}"), Value::Null).await
    }

    async fn mappings(&self, query: &str) -> Answer {
        self.call(Method::GET, &format!("{MAPPINGS}{query}"), Value::Null).await
    }

    /// The ids that a list has, and its `NextMarker`.
    async fn ids(&self, query: &str) -> (Vec<String>, Option<String>) {
        let body = self.mappings(query).await.body;
        let ids = body["EventSourceMappings"].as_array().unwrap().iter();
        let ids = ids.map(|mapping| mapping["UUID"].as_str().unwrap().to_owned()).collect();
        (ids, body["NextMarker"].as_str().map(str::to_owned))
    }
}

fn request(function: &str, members: Value) -> Value {
    let mut request = json!({ "FunctionName": function, "EventSourceArn": QUEUE });
    request.as_object_mut().unwrap().extend(members.as_object().unwrap().clone());
    request.as_object_mut().unwrap().retain(|_, value| !value.is_null());
    request
}

/// A request for a self-managed Kafka.
fn kafka(servers: &[&str], members: Value) -> Value {
    let mut all = json!({
        "EventSourceArn": null,
        "SelfManagedEventSource": { "Endpoints": { "KAFKA_BOOTSTRAP_SERVERS": servers } },
        "SourceAccessConfigurations": [{ "Type": "BASIC_AUTH", "URI": "arn:aws:secretsmanager:us-east-1:1:secret:s" }],
        "Topics": ["topic"],
    });
    all.as_object_mut().unwrap().extend(members.as_object().unwrap().clone());
    request("f", all)
}

async fn with_function() -> Service {
    let service = service().await;
    service.created(json!({})).await;
    service
}

fn slow() -> ControlConfig {
    ControlConfig { mapping_delay: HOUR, ..ControlConfig::default() }
}

#[tokio::test]
async fn mappings_are_created_as_recorded() {
    let service = with_function().await;
    service.publish(json!({})).await;
    service.post("/f/aliases", json!({ "Name": "myalias", "FunctionVersion": "1" })).await;
    let recorded: Value = serde_json::from_str(RECORDED).unwrap();
    let requests = recorded["requests"].as_object().unwrap();
    assert_eq!(requests.len(), 37);
    for (name, request) in requests {
        let mut answer = service.map(request.clone()).await;
        assert_eq!(answer.status, 202, "{name}: {:#}", answer.body);
        let id = answer.text("UUID").to_owned();
        if recorded["creations"][name].get("EventSourceMappingArn").is_none() {
            // Recorded before mappings had ARNs.
            answer.body.as_object_mut().unwrap().remove("EventSourceMappingArn").unwrap();
        }
        Scenario::of(RECORDED, "creations").check(name, &answer.body);
        assert_eq!(service.unmap(&id).await.status, 202);
    }
}

#[tokio::test(start_paused = true)]
async fn mapping_of_a_stream_lives_as_recorded() {
    let service = configured(slow()).await;
    service.created(json!({})).await;
    let mut scenario = Scenario::of(RECORDED, "lifecycle");
    let created = service
        .map(request(
            "f",
            json!({
                "EventSourceArn": TABLE,
                "DestinationConfig": { "OnFailure": { "Destination": "arn:aws:sqs:us-east-1:123456789012:failures" } },
                "BatchSize": 1,
                "StartingPosition": "TRIM_HORIZON",
                "MaximumBatchingWindowInSeconds": 1,
                "MaximumRetryAttempts": 1,
            }),
        ))
        .await;
    scenario.check("create_response", &created.body);
    let id = created.text("UUID");
    tokio::time::sleep(HOUR * 2).await;
    let got = service.mapping(id).await;
    assert_eq!(got.status, 200);
    scenario.check("get_response", &got.body);
    let deleted = service.unmap(id).await;
    assert_eq!(deleted.status, 202);
    scenario.check("delete_response", &deleted.body);
    assert_eq!(service.mapping(id).await.text("State"), "Deleting");
    tokio::time::sleep(HOUR * 2).await;
    assert_eq!(service.mapping(id).await.error(), GONE);
}

#[tokio::test]
async fn mapping_that_is_not_to_be_read_is_as_recorded() {
    let service = with_function().await;
    let mut scenario = Scenario::of(RECORDED, "disabled");
    let created = service.map(request("f", json!({ "BatchSize": 1, "Enabled": false }))).await;
    scenario.check("create_esm_disabled", &created.body);
    let id = created.text("UUID");
    scenario.check("update_esm_enabling", &service.remap(id, json!({ "Enabled": true })).await.body);
    scenario.check("get_esm_enabled", &service.mapping(id).await.body);
}

#[tokio::test]
async fn lists_show_mappings_as_recorded() {
    let service = with_function().await;
    service.mapped("f", json!({ "EventSourceArn": TABLE, "StartingPosition": "TRIM_HORIZON" })).await;
    Scenario::of(RECORDED, "list").check("list", &service.mappings("").await.body);
}

#[tokio::test(start_paused = true)]
async fn each_change_has_a_state_of_its_own_and_excludes_others() {
    let service = configured(slow()).await;
    service.created(json!({})).await;
    let id = service.mapped("f", json!({})).await;
    let settle = || tokio::time::sleep(HOUR * 2);
    settle().await;
    for (change, during, after) in [
        (json!({ "BatchSize": 5 }), "Updating", "Enabled"),
        (json!({ "Enabled": false }), "Disabling", "Disabled"),
        (json!({ "BatchSize": 6 }), "Updating", "Disabled"),
        (json!({ "Enabled": true }), "Enabling", "Enabled"),
        (json!({ "Enabled": true }), "Updating", "Enabled"),
    ] {
        let answer = service.remap(&id, change.clone()).await;
        assert_eq!((answer.status, answer.text("State")), (202, during), "{change}");
        let in_use = |verb| {
            format!(
                "400 ResourceInUseException: Cannot {verb} the event source mapping because it is in use."
            )
        };
        assert_eq!(service.remap(&id, json!({ "BatchSize": 1 })).await.error(), in_use("update"));
        assert_eq!(service.unmap(&id).await.error(), in_use("delete"));
        let before = service.mapping(&id).await.body;
        settle().await;
        let settled = service.mapping(&id).await.body;
        assert_eq!(settled["State"], after, "{change}");
        assert_eq!(settled["BatchSize"], before["BatchSize"]);
    }
    assert_eq!(service.unmap(&id).await.text("State"), "Deleting");
}

#[tokio::test]
async fn unknown_mappings_are_not_found() {
    let service = with_function().await;
    let real = service.mapped("f", json!({})).await;
    for id in ["00000000-0000-0000-0000-000000000000", "z0000000-0000-0000-0000-00000000000z"] {
        assert_eq!(service.mapping(id).await.error(), GONE);
        assert_eq!(service.remap(id, json!({ "Enabled": false })).await.error(), GONE);
        assert_eq!(service.unmap(id).await.error(), GONE);
    }
    for (account, region) in [("210987654321", "us-east-1"), ("123456789012", "eu-west-1")] {
        let elsewhere = Service { region, ..service.asked_by(account, None) };
        assert_eq!(elsewhere.mapping(&real).await.error(), GONE);
        assert_eq!(elsewhere.remap(&real, json!({})).await.error(), GONE);
        assert_eq!(elsewhere.unmap(&real).await.error(), GONE);
        assert_eq!(elsewhere.ids("").await.0, [""; 0]);
    }
}

#[tokio::test]
async fn same_mapping_cannot_be_made_twice() {
    let service = with_function().await;
    service.publish(json!({})).await;
    let starting = |arn: &str| json!({ "EventSourceArn": arn, "StartingPosition": "LATEST" });
    let kafka_of = |arn: &str| json!({ "EventSourceArn": arn, "Topics": ["topic"] });
    let auth = json!([{ "Type": "BASIC_AUTH", "URI": "arn:aws:secretsmanager:us-east-1:1:secret:s" }]);
    let broker = json!({ "EventSourceArn": BROKER, "Queues": ["q"], "SourceAccessConfigurations": auth });
    let conflict = "409 ResourceConflictException";
    let advice = "already exists. Please update or delete the existing mapping with UUID";
    for (members, text) in [
        (json!({}), format!("An event source mapping with SQS arn (\" {QUEUE} \") and function (\" f \")")),
        (
            starting(STREAM),
            format!("The event source arn (\" {STREAM} \") and function (\" f \") provided mapping"),
        ),
        (
            starting(TABLE),
            format!("The event source arn (\" {TABLE} \") and function (\" f \") provided mapping"),
        ),
        (
            kafka_of(CLUSTER),
            format!(
                "An event source mapping with event source (\"{CLUSTER}\"), function (\"{FUNCTION}\"), topics (\"topic\")"
            ),
        ),
        (
            broker,
            format!(
                "An event source mapping with event source (\"{BROKER}\"), function (\"{FUNCTION}\"), queues (\"q\")"
            ),
        ),
    ] {
        let id = service.mapped("f", members.clone()).await;
        let again = service.map(request("f", members.clone())).await.error();
        assert_eq!(again, format!("{conflict}: {text} {advice} {id}"));
        service.mapped("f:1", members).await;
    }
    let latest = service.map(request("f:$LATEST", json!({}))).await.error();
    assert!(latest.starts_with(conflict), "{latest}");

    // Recorded: one server in common is enough.
    let first = service.map(kafka(&["kafka:1000"], json!({}))).await;
    let id = first.text("UUID");
    for servers in [&["kafka:1000"][..], &["kafka:1000", "kafka:2000"]] {
        let servers_text = servers.join(",");
        assert_eq!(
            service.map(kafka(servers, json!({ "BatchSize": 1 }))).await.error(),
            format!(
                "{conflict}: An event source mapping with event source (\"{servers_text}\"), function (\"{FUNCTION}\"), \
                 topics (\"topic\") {advice} {id}"
            )
        );
    }
    assert_eq!(service.map(kafka(&["kafka:1000"], json!({ "Topics": ["other"] }))).await.status, 202);
}

#[tokio::test]
async fn mappings_made_at_once_are_not_the_same() {
    // A store that takes its time.
    let directory = tempfile::tempdir().unwrap();
    let service = durable(ControlConfig::default(), directory.path()).await;
    service.created(json!({})).await;
    let create = || service.map(request("f", json!({})));
    let answers = futures_util::future::join_all((0..20).map(|_| create())).await;
    let created = answers.iter().filter(|answer| answer.status == 202).count();
    assert_eq!((created, service.ids("").await.0.len()), (1, 1));
}

#[tokio::test]
async fn mapping_moves_to_another_function() {
    let service = with_function().await;
    service.created(json!({ "FunctionName": "g", "Publish": true })).await;
    let id = service.mapped("f", json!({})).await;
    let moved = service.remap(&id, json!({ "FunctionName": "g:1" })).await;
    assert_eq!(moved.text("FunctionArn"), "arn:aws:lambda:us-east-1:123456789012:function:g:1");
    assert_eq!(service.ids("?FunctionName=f").await.0, [""; 0]);
    let other = service.mapped("f", json!({})).await;
    let error = service.remap(&id, json!({ "FunctionName": "f" })).await.error();
    assert!(error.starts_with("409 ResourceConflictException") && error.ends_with(&other), "{error}");
    let error = service.remap(&id, json!({ "FunctionName": "none" })).await.error();
    assert_eq!(error, format!("{INVALID}: Function does not exist"));
    // The same function again is no move.
    assert_eq!(service.remap(&id, json!({ "FunctionName": "g:1" })).await.status, 202);
}

#[tokio::test]
async fn mapping_outlives_its_function() {
    let service = with_function().await;
    let id = service.mapped("f", json!({})).await;
    assert_eq!(service.delete("/f").await.status, 204);
    assert_eq!(service.mapping(&id).await.text("FunctionArn"), FUNCTION);
    assert_eq!(service.remap(&id, json!({ "Enabled": false })).await.status, 202);
    service.created(json!({})).await;
    assert_eq!(service.map(request("f", json!({}))).await.status, 409);
    assert_eq!(service.unmap(&id).await.status, 202);
    assert_eq!(service.mapping(&id).await.error(), GONE);
}

#[tokio::test]
async fn mappings_have_tags() {
    let service = with_function().await;
    let many: Value = (0..51).map(|index| (index.to_string(), Value::from("x"))).collect();
    assert_eq!(
        service.map(request("f", json!({ "Tags": many }))).await.error(),
        format!("{INVALID}: Number of tags exceeds resource tag limit.")
    );
    let created = service.map(request("f", json!({ "Tags": { "a": "b" } }))).await;
    let tags = format!("/2017-03-31/tags/{}", created.text("EventSourceMappingArn"));
    assert_eq!(service.call(Method::GET, &tags, Value::Null).await.body, json!({ "Tags": { "a": "b" } }));
    assert_eq!(service.remap(created.text("UUID"), json!({ "BatchSize": 1 })).await.status, 202);
    assert_eq!(service.call(Method::GET, &tags, Value::Null).await.body, json!({ "Tags": { "a": "b" } }));
}

#[tokio::test]
async fn list_is_by_source_by_function_and_in_pages() {
    let service = with_function().await;
    service.publish(json!({})).await;
    service.created(json!({ "FunctionName": "g" })).await;
    let of_f = service.mapped("f", json!({})).await;
    let of_version = service.mapped("f:1", json!({})).await;
    let of_g = service.mapped("g:$LATEST", json!({})).await;
    let other = service.mapped("g", json!({ "EventSourceArn": FIFO })).await;
    let sorted = |mut ids: Vec<String>| {
        ids.sort();
        ids
    };
    assert_eq!(service.ids("?FunctionName=f").await.0, [of_f.as_str()]);
    assert_eq!(service.ids("?FunctionName=f:1").await.0, [of_version.as_str()]);
    assert_eq!(service.ids(&format!("?FunctionName={FUNCTION}:1")).await.0, [of_version.as_str()]);
    assert_eq!(service.ids("?FunctionName=f:$LATEST").await.0, [of_f.as_str()]);
    assert_eq!(service.ids("?FunctionName=none").await.0, [""; 0]);
    assert_eq!(service.ids(&format!("?EventSourceArn={FIFO}")).await.0, [other.as_str()]);
    assert_eq!(service.ids(&format!("?EventSourceArn={QUEUE}&FunctionName=g")).await.0, [of_g.as_str()]);

    let all = sorted(vec![of_f, of_version, of_g, other]);
    assert_eq!(service.ids("").await, (all.clone(), None));
    let mut seen = Vec::new();
    let mut query = "?MaxItems=3".to_owned();
    loop {
        let (ids, next) = service.ids(&query).await;
        seen.extend(ids);
        let Some(next) = next else { break };
        query = format!("?MaxItems=3&Marker={next}");
    }
    assert_eq!(seen, all);
    let error = service.mappings("?Marker=none").await.error();
    assert_eq!(error, format!("{INVALID}: Marker is invalid"));
}

#[tokio::test]
async fn page_has_no_more_than_a_hundred() {
    let service = with_function().await;
    for index in 0..101 {
        service.mapped("f", json!({ "EventSourceArn": format!("{QUEUE}{index}") })).await;
    }
    for query in ["", "?MaxItems=10000"] {
        let (ids, next) = service.ids(query).await;
        assert_eq!((ids.len(), next.is_some()), (100, true), "{query}");
    }
}

#[tokio::test]
async fn what_was_under_way_settles_at_the_next_start() {
    let directory = tempfile::tempdir().unwrap();
    let service = durable(slow(), directory.path()).await;
    service.created(json!({})).await;
    service.update_code(json!({ "ZipFile": package("2"), "Publish": true })).await;
    let creating = service.mapped("f", json!({ "Tags": { "a": "b" } })).await;
    let disabled = service.mapped("f:1", json!({ "Enabled": false })).await;
    let deleting = service.mapped("f", json!({ "EventSourceArn": FIFO, "Enabled": false })).await;
    assert_eq!(service.unmap(&deleting).await.text("State"), "Deleting");
    let before = service.mapping(&creating).await.body;
    assert_eq!(before["State"], "Creating");
    service.control.shut_down().await;
    drop(service);

    let service = durable(slow(), directory.path()).await;
    let mut after = service.mapping(&creating).await.body;
    assert_eq!(after["State"], "Enabled");
    for member in ["State", "LastModified"] {
        after[member] = before[member].clone();
    }
    assert_eq!(after, before);
    assert_eq!(service.mapping(&disabled).await.text("State"), "Disabled");
    assert_eq!(service.mapping(&deleting).await.error(), GONE);
}
