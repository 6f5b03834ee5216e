//! Event source mappings.

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
const DOCUMENTS: &str = "arn:aws:rds:us-east-1:123456789012:cluster:d";
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

fn filters(patterns: &[&str]) -> Value {
    let filters: Vec<_> = patterns.iter().map(|pattern| json!({ "Pattern": pattern })).collect();
    json!({ "FilterCriteria": { "Filters": filters } })
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
async fn source_and_function_must_exist() {
    let service = with_function().await;
    let refused = async |members: Value| service.map(request("none", members)).await.error();
    // In this order: what is wrong with the source is told before the function is looked for.
    let unrecognized = format!("{INVALID}: Unrecognized event source.");
    for arn in [
        Value::Null,
        json!("arn:aws:s3:us-east-1:123456789012:bucket"),
        json!("arn:aws:sqs:us-east-1:123456789012:"),
        json!("arn:aws:kinesis:us-east-1:123456789012:s"),
        json!("arn:aws:dynamodb:us-east-1:123456789012:table/t"),
    ] {
        assert_eq!(refused(json!({ "EventSourceArn": arn })).await, unrecognized, "{arn}");
    }
    assert_eq!(
        refused(json!({ "EventSourceArn": "arn:aws:sqs:eu-west-1:123456789012:q" })).await,
        format!("{INVALID}: Event source region must match Lambda region us-east-1")
    );
    let destinations = json!({ "OnSuccess": { "Destination": "arn:aws:sqs:us-east-1:123456789012:other" } });
    assert_eq!(
        refused(json!({ "DestinationConfig": destinations })).await,
        format!("{INVALID}: Unsupported DestinationConfig parameter for given event source mapping type.")
    );
    let none = format!("{INVALID}: Function does not exist");
    assert_eq!(refused(json!({})).await, none);
    for function in ["f:7", "f:alias", "f:$LATEST.PUBLISHED", &format!("{FUNCTION}:7")] {
        assert_eq!(service.map(request(function, json!({}))).await.error(), none, "{function}");
    }
    let missing = |service: &str, name: &str| format!("arn:aws:{service}:us-east-1:123456789012:{name}");
    assert_eq!(
        service.map(request("f", json!({ "EventSourceArn": missing("sqs", "missing") }))).await.error(),
        format!(
            "{INVALID}: Error occurred while ReceiveMessage. SQS Error Code: AWS.SimpleQueueService.NonExistentQueue. \
             SQS Error Message: The specified queue does not exist."
        )
    );
    let stream = missing("kinesis", "stream/missing");
    assert_eq!(
        service
            .map(request("f", json!({ "EventSourceArn": stream, "StartingPosition": "LATEST" })))
            .await
            .error(),
        format!("{INVALID}: Stream not found: {stream}")
    );
}

#[tokio::test]
async fn source_that_nobody_can_tell_about_is_accepted() {
    let service = with_function().await;
    for name in ["unreachable", "nowhere"] {
        service
            .mapped("f", json!({ "EventSourceArn": format!("{QUEUE}/{name}").replace("queue/", "") }))
            .await;
    }
}

#[tokio::test]
async fn messages_stay_hidden_for_as_long_as_the_function_may_work() {
    let service = service().await;
    service.created(json!({ "FunctionName": "slow", "Timeout": 60 })).await;
    service.created(json!({ "FunctionName": "fast", "Timeout": 30 })).await;
    let error =
        format!("{INVALID}: Queue visibility timeout: 30 seconds is less than Function timeout: 60 seconds");
    assert_eq!(service.map(request("slow", json!({}))).await.error(), error);
    let id = service.mapped("fast", json!({})).await;
    assert_eq!(service.remap(&id, json!({ "FunctionName": "slow" })).await.error(), error);
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
    let service = with_function().await;
    let create = || service.map(request("f", json!({})));
    let answers = futures_util::future::join_all((0..20).map(|_| create())).await;
    let created = answers.iter().filter(|answer| answer.status == 202).count();
    assert_eq!((created, service.ids("").await.0.len()), (1, 1));
}

#[tokio::test]
async fn settings_that_a_source_does_not_have_are_refused() {
    let service = with_function().await;
    let on_queue = [
        ("DestinationConfig", json!({ "OnFailure": { "Destination": QUEUE } })),
        ("ParallelizationFactor", json!(2)),
        ("TumblingWindowInSeconds", json!(1)),
        ("BisectBatchOnFunctionError", json!(true)),
        ("MaximumRecordAgeInSeconds", json!(60)),
        ("MaximumRetryAttempts", json!(1)),
        ("SourceAccessConfigurations", json!([{ "Type": "BASIC_AUTH", "URI": "a" }])),
        ("AmazonManagedKafkaEventSourceConfig", json!({ "ConsumerGroupId": "g" })),
        ("SelfManagedKafkaEventSourceConfig", json!({ "ConsumerGroupId": "g" })),
        ("DocumentDBEventSourceConfig", json!({ "DatabaseName": "d" })),
        ("LoggingConfig", json!({ "SystemLogLevel": "INFO" })),
        ("Topics", json!(["topic"])),
        ("Queues", json!(["queue"])),
        ("MetricsConfig", json!({ "Metrics": ["KafkaMetrics"] })),
    ];
    let id = service.mapped("f", json!({ "EventSourceArn": FIFO })).await;
    for (member, value) in on_queue {
        let error = format!("{INVALID}: Unsupported {member} parameter for given event source mapping type.");
        assert_eq!(service.map(request("f", json!({ (member): value }))).await.error(), error);
        if !["Topics", "Queues"].contains(&member) {
            assert_eq!(service.remap(&id, json!({ (member): value })).await.error(), error);
        }
    }
    let on_stream = [
        ("ScalingConfig", json!({ "MaximumConcurrency": 2 })),
        ("ProvisionedPollerConfig", json!({ "MinimumPollers": 2 })),
    ];
    for (member, value) in on_stream {
        let members = json!({ "EventSourceArn": STREAM, "StartingPosition": "LATEST", (member): value });
        let error = format!("{INVALID}: Unsupported {member} parameter for given event source mapping type.");
        assert_eq!(service.map(request("f", members)).await.error(), error);
    }
    // The part of AWS that serves brokers spells members as they are in its code.
    assert_eq!(
        service.map(kafka(&["kafka:1000"], json!({ "ParallelizationFactor": 2 }))).await.error(),
        format!(
            "{INVALID}: Unsupported 'parallelizationFactor' parameter for given event source mapping type."
        )
    );
}

#[tokio::test]
async fn settings_that_contradict_each_other_are_refused() {
    let service = with_function().await;
    let refused = async |members: Value, message: &str| {
        assert_eq!(service.map(request("f", members)).await.error(), format!("{INVALID}: {message}"));
    };
    let too_large =
        "Maximum batch window in seconds must be greater than 0 if maximum batch size is greater than 10";
    refused(json!({ "BatchSize": 11 }), too_large).await;
    let fifo = |members: Value| {
        let mut all = json!({ "EventSourceArn": FIFO });
        all.as_object_mut().unwrap().extend(members.as_object().unwrap().clone());
        all
    };
    refused(fifo(json!({ "BatchSize": 11 })), "Maximum batch size must be between 1 and 10 inclusive").await;
    refused(
        fifo(json!({ "MaximumBatchingWindowInSeconds": 1 })),
        "Batching window is not supported for FIFO queues",
    )
    .await;
    refused(json!({ "StartingPosition": "LATEST" }), "StartingPosition is not valid for SQS event sources.")
        .await;
    refused(
        json!({ "ScalingConfig": { "MaximumConcurrency": 2 }, "ProvisionedPollerConfig": { "MinimumPollers": 2 } }),
        "ScalingConfig and ProvisionedPollerConfig cannot be specified at the same time.",
    )
    .await;
    for (pollers, message) in [
        (json!({ "MinimumPollers": 1 }), "MinimumPollers must be greater than or equal to 2."),
        (json!({ "MaximumPollers": 1 }), "MaximumPollers must be between 2 and 10000 (inclusive)."),
        (
            json!({ "MinimumPollers": 4, "MaximumPollers": 3 }),
            "MinimumPollers must be less than or equal to MaximumPollers.",
        ),
    ] {
        refused(json!({ "ProvisionedPollerConfig": pollers }), message).await;
    }

    let stream = |members: Value| {
        let mut all = json!({ "EventSourceArn": STREAM, "StartingPosition": "LATEST" });
        all.as_object_mut().unwrap().extend(members.as_object().unwrap().clone());
        all
    };
    refused(
        stream(json!({ "StartingPosition": null })),
        "1 validation error detected: Value null at 'startingPosition' failed to satisfy constraint: Member must not be \
         null.",
    )
    .await;
    refused(
        stream(json!({ "EventSourceArn": TABLE, "StartingPosition": "AT_TIMESTAMP", "StartingPositionTimestamp": 1 })),
        &format!("Unsupported starting position for arn type: {TABLE}"),
    )
    .await;
    refused(stream(json!({ "StartingPosition": "AT_TIMESTAMP" })), "Need to specify a timestamp").await;
    refused(
        stream(
            json!({ "StartingPosition": "AT_TIMESTAMP", "StartingPositionTimestamp": 99_999_999_999_u64 }),
        ),
        "StartingPositionTimestamp cannot be in the future.",
    )
    .await;
    refused(
        stream(json!({ "StartingPositionTimestamp": 1 })),
        "StartingPositionTimestamp is only valid with a StartingPosition of AT_TIMESTAMP.",
    )
    .await;
    for age in [0, 59] {
        refused(
            stream(json!({ "MaximumRecordAgeInSeconds": age })),
            "MaximumRecordAgeInSeconds must be either -1 (forever) or between 60 and 604800 (inclusive)",
        )
        .await;
    }
    refused(
        stream(json!({ "TumblingWindowInSeconds": 60, "ParallelizationFactor": 2 })),
        "TumblingWindowInSeconds cannot be specified with a ParallelizationFactor greater than 1.",
    )
    .await;
    for destination in ["arn:aws:lambda:us-east-1:123456789012:function:f", "kafka://topic", FIFO] {
        refused(
            stream(json!({ "DestinationConfig": { "OnFailure": { "Destination": destination } } })),
            &format!(
                "The provided destination config DestinationConfig(onSuccess=null, \
                 onFailure=OnFailure(destination={destination})) is invalid."
            ),
        )
        .await;
    }
    assert_eq!(service.ids("").await.0, [""; 0]);
}

#[tokio::test]
async fn brokers_need_to_know_what_to_read_and_how_to_get_in() {
    let service = with_function().await;
    let auth = json!([{ "Type": "BASIC_AUTH", "URI": "arn:aws:secretsmanager:us-east-1:1:secret:s" }]);
    for (members, parameter) in [
        (json!({ "EventSourceArn": CLUSTER }), "topics"),
        (json!({ "EventSourceArn": BROKER, "SourceAccessConfigurations": auth }), "queues"),
        (json!({ "EventSourceArn": BROKER, "Queues": ["q"] }), "sourceAccessConfigurations"),
        (
            json!({ "EventSourceArn": DOCUMENTS, "SourceAccessConfigurations": auth }),
            "documentDBEventSourceConfig",
        ),
        (
            json!({ "EventSourceArn": DOCUMENTS, "DocumentDBEventSourceConfig": { "DatabaseName": "d" } }),
            "sourceAccessConfigurations",
        ),
    ] {
        assert_eq!(
            service.map(request("f", members)).await.error(),
            format!("{INVALID}: Required '{parameter}' parameter is missing.")
        );
    }
    assert_eq!(
        service.map(kafka(&["kafka:1000"], json!({ "SourceAccessConfigurations": [] }))).await.error(),
        format!("{INVALID}: Required 'sourceAccessConfigurations' parameter is missing.")
    );
    let virtual_host = json!([{ "Type": "VIRTUAL_HOST", "URI": "/" }]);
    assert_eq!(
        service
            .map(kafka(&["kafka:1000"], json!({ "SourceAccessConfigurations": virtual_host })))
            .await
            .error(),
        format!(
            "{INVALID}: Unsupported source access configuration type VIRTUAL_HOST for given event source mapping type."
        )
    );
}

#[tokio::test]
async fn brokers_have_defaults_of_their_own() {
    let service = with_function().await;
    let auth = json!([{ "Type": "BASIC_AUTH", "URI": "arn:aws:secretsmanager:us-east-1:1:secret:s" }]);
    let common = |answer: &Answer| {
        json!({
            "BatchSize": 100,
            "FunctionArn": FUNCTION,
            "LastProcessingResult": "No records processed",
            "State": "Creating",
            "StateTransitionReason": "USER_INITIATED",
            "UUID": answer.body["UUID"],
            "LastModified": answer.body["LastModified"],
            "EventSourceArn": answer.body["EventSourceArn"],
            "EventSourceMappingArn": answer.body["EventSourceMappingArn"],
        })
    };
    let with = |mut all: Value, members: Value| {
        all.as_object_mut().unwrap().extend(members.as_object().unwrap().clone());
        all
    };
    let cluster = service.map(request("f", json!({ "EventSourceArn": CLUSTER, "Topics": ["topic"] }))).await;
    let members = json!({
        "Topics": ["topic"],
        "StartingPosition": "TRIM_HORIZON",
        "AmazonManagedKafkaEventSourceConfig": { "ConsumerGroupId": cluster.text("UUID") },
    });
    assert_eq!(cluster.body, with(common(&cluster), members));

    let members = json!({ "Queues": ["q"], "SourceAccessConfigurations": auth });
    let broker = service.map(request("f", with(json!({ "EventSourceArn": BROKER }), members.clone()))).await;
    assert_eq!(broker.body, with(common(&broker), members));

    let members = json!({
        "DocumentDBEventSourceConfig": { "DatabaseName": "d" },
        "SourceAccessConfigurations": auth,
        "StartingPosition": "LATEST",
    });
    let documents =
        service.map(request("f", with(json!({ "EventSourceArn": DOCUMENTS }), members.clone()))).await;
    let members = with(members, json!({ "StateTransitionReason": "User action" }));
    assert_eq!(documents.body, with(common(&documents), members));
}

#[tokio::test]
async fn updates_keep_what_was_not_sent_and_empty_structures_take_away() {
    let service = with_function().await;
    let everything = json!({
        "MaximumBatchingWindowInSeconds": 3,
        "ScalingConfig": { "MaximumConcurrency": 7 },
        "FunctionResponseTypes": ["ReportBatchItemFailures"],
        "KMSKeyArn": "arn:aws:kms:us-east-1:123456789012:key/k",
        "MetricsConfig": { "Metrics": ["EventCount"] },
        "FilterCriteria": { "Filters": [{ "Pattern": "{\"body\":[\"a\"]}" }] },
    });
    let id = service.mapped("f", everything.clone()).await;
    let updated = service.remap(&id, json!({ "BatchSize": 20 })).await.body;
    assert_eq!(updated["BatchSize"], 20);
    for (member, value) in everything.as_object().unwrap() {
        assert_eq!(updated[member], *value, "{member}");
    }
    // Whoever lists them may not be allowed to decrypt.
    let listed = &service.mappings("").await.body["EventSourceMappings"][0];
    assert_eq!((listed.get("FilterCriteria"), &listed["KMSKeyArn"]), (None, &everything["KMSKeyArn"]));

    let nothing = json!({
        "ScalingConfig": {},
        "FunctionResponseTypes": [],
        "KMSKeyArn": "",
        "MetricsConfig": { "Metrics": [] },
        "FilterCriteria": {},
    });
    assert_eq!(service.remap(&id, nothing).await.status, 202);
    let after = service.mapping(&id).await.body;
    for member in ["ScalingConfig", "KMSKeyArn", "MetricsConfig", "FilterCriteria"] {
        assert_eq!(after.get(member), None, "{member}");
    }
    assert_eq!((&after["FunctionResponseTypes"], &after["State"]), (&json!([]), &json!("Enabled")));
    let error = service.remap(&id, json!({ "MaximumBatchingWindowInSeconds": 0 })).await.error();
    assert_eq!(
        error,
        format!(
            "{INVALID}: Maximum batch window in seconds must be greater than 0 if maximum batch size is greater than 10"
        )
    );

    let pollers =
        service.remap(&id, json!({ "ProvisionedPollerConfig": { "MinimumPollers": 5 } })).await.body;
    assert_eq!(pollers["ProvisionedPollerConfig"], json!({ "MinimumPollers": 5, "MaximumPollers": 200 }));
    let none = service.remap(&id, json!({ "ProvisionedPollerConfig": {} })).await.body;
    assert_eq!(none.get("ProvisionedPollerConfig"), None);
}

#[tokio::test]
async fn consumer_group_stays_the_same() {
    let service = with_function().await;
    let id = service.map(kafka(&["kafka:1000"], json!({}))).await.text("UUID").to_owned();
    let group = |name: &str| json!({ "SelfManagedKafkaEventSourceConfig": { "ConsumerGroupId": name } });
    assert_eq!(service.remap(&id, group(&id)).await.status, 202);
    let error = service.remap(&id, group("other")).await.error();
    assert!(error.starts_with(&format!("{INVALID}: ConsumerGroupId cannot be updated")), "{error}");
}

#[tokio::test]
async fn kafka_queue_has_no_positions() {
    let service = with_function().await;
    let queue = |mut members: Value| {
        members["SelfManagedKafkaEventSourceConfig"] = json!({ "ConsumptionMode": "Queue" });
        kafka(&["kafka:1000"], members)
    };
    for (member, value) in [
        ("StartingPosition", json!("LATEST")),
        ("MaximumBatchingWindowInSeconds", json!(1)),
        ("MaximumRetryAttempts", json!(-1)),
    ] {
        let name = format!("{}{}", member[..1].to_lowercase(), &member[1..]);
        assert_eq!(
            service.map(queue(json!({ (member): value }))).await.error(),
            format!("{INVALID}: Unsupported '{name}' parameter for given event source mapping type.")
        );
    }
    let created = service.map(queue(json!({}))).await.body;
    assert_eq!((created.get("StartingPosition"), &created["MaximumRetryAttempts"]), (None, &json!(0)));
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
async fn filters_are_patterns_of_which_there_are_few() {
    let service = with_function().await;
    let invalid = format!("{INVALID}: Invalid filter pattern definition.");
    for pattern in
        ["null", "simple string", "\"text\"", "[]", "{\"body\":\"a\"}", "{\"body\":[{\"none\":1}]}", ""]
    {
        assert_eq!(service.map(request("f", filters(&[pattern]))).await.error(), invalid, "{pattern}");
    }
    let absent = json!({ "FilterCriteria": { "Filters": [{}] } });
    assert_eq!(service.map(request("f", absent)).await.error(), invalid);
    for (arn, pattern) in [(STREAM, "{\"data\":[\"text\"]}"), (TABLE, "{\"dynamodb\":[{\"exists\":true}]}")] {
        let mut members = filters(&[pattern]);
        members["EventSourceArn"] = json!(arn);
        members["StartingPosition"] = json!("LATEST");
        assert_eq!(service.map(request("f", members)).await.error(), invalid, "{pattern}");
    }
    let error = service.map(request("f", filters(&["{\"a\":[1]}"; 6]))).await.error();
    assert!(error.starts_with(INVALID) && error.contains("limit of 5 filters"), "{error}");
    let created = service.map(request("f", filters(&["{\"a\":[1]}"; 5]))).await;
    assert_eq!(created.body["FilterCriteria"], filters(&["{\"a\":[1]}"; 5])["FilterCriteria"]);
    let id = created.text("UUID");
    assert_eq!(service.remap(id, filters(&["x"])).await.error(), invalid);
    assert_eq!(service.mapping(id).await.body["FilterCriteria"], created.body["FilterCriteria"]);
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
    let of_g = service.mapped("g", json!({})).await;
    let other = service.mapped("g", json!({ "EventSourceArn": FIFO })).await;
    let sorted = |mut ids: Vec<String>| {
        ids.sort();
        ids
    };
    assert_eq!(service.ids("?FunctionName=f").await.0, [of_f.clone()]);
    assert_eq!(service.ids("?FunctionName=f:1").await.0, [of_version.clone()]);
    assert_eq!(service.ids(&format!("?FunctionName={FUNCTION}:1")).await.0, [of_version.clone()]);
    assert_eq!(service.ids("?FunctionName=f:$LATEST").await.0, [of_f.clone()]);
    assert_eq!(service.ids("?FunctionName=none").await.0, [""; 0]);
    assert_eq!(service.ids(&format!("?EventSourceArn={FIFO}")).await.0, [other.clone()]);
    assert_eq!(service.ids(&format!("?EventSourceArn={QUEUE}&FunctionName=g")).await.0, [of_g.clone()]);

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
