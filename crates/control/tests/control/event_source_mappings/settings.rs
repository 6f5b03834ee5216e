//! Which settings a mapping may have, by what it reads.

use serde_json::{Value, json};

use super::{BROKER, CLUSTER, FIFO, FUNCTION, INVALID, QUEUE, STREAM, TABLE, kafka, request, with_function};
use crate::support::{Answer, service};

const DOCUMENTS: &str = "arn:aws:rds:us-east-1:123456789012:cluster:d";

fn filters(patterns: &[&str]) -> Value {
    let filters: Vec<_> = patterns.iter().map(|pattern| json!({ "Pattern": pattern })).collect();
    json!({ "FilterCriteria": { "Filters": filters } })
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
async fn stream_may_be_read_from_a_moment_on() {
    let service = with_function().await;
    let members = json!({
        "EventSourceArn": STREAM,
        "StartingPosition": "AT_TIMESTAMP",
        "StartingPositionTimestamp": 1_700_000_000.5,
    });
    let id = service.mapped("f", members).await;
    let shown = service.mapping(&id).await.body;
    assert_eq!(
        (&shown["StartingPosition"], &shown["StartingPositionTimestamp"]),
        (&json!("AT_TIMESTAMP"), &json!(1_700_000_000.5))
    );
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
