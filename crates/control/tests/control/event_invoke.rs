//! Event invoke configurations.

use hothouse_control::ControlConfig;
use http::Method;
use serde_json::{Value, json};

use crate::{
    scenario::Scenario,
    support::{ARN, Answer, Service, durable, service},
};

const RECORDED: &str = include_str!("recorded/settings.json");

fn path(function: &str) -> String {
    let (function, query) = function.split_once('?').unwrap_or((function, ""));
    format!("/2019-09-25/functions/{function}/event-invoke-config?{query}")
}

async fn put(service: &Service, function: &str, body: Value) -> Answer {
    service.call(Method::PUT, &path(function), body).await
}

async fn update(service: &Service, function: &str, body: Value) -> Answer {
    service.call(Method::POST, &path(function), body).await
}

async fn get(service: &Service, function: &str) -> Answer {
    service.call(Method::GET, &path(function), Value::Null).await
}

async fn delete(service: &Service, function: &str) -> Answer {
    service.call(Method::DELETE, &path(function), Value::Null).await
}

async fn list(service: &Service, function: &str, query: &str) -> Answer {
    let path = format!("/2019-09-25/functions/{function}/event-invoke-config/list?{query}");
    service.call(Method::GET, &path, Value::Null).await
}

/// The functions `f`, with a version and an alias, and `other`.
async fn with_alias() -> Service {
    let service = service().await;
    service.created(json!({ "Publish": true })).await;
    service.created(json!({ "FunctionName": "other" })).await;
    service.post("/f/aliases", json!({ "Name": "eventinvokealias", "FunctionVersion": "1" })).await;
    service
}

#[tokio::test]
async fn configurations_live_as_recorded() {
    let service = service().await;
    service.created(json!({})).await;
    let mut scenario = Scenario::of(RECORDED, "event_invoke_lifecycle");
    let retries = json!({ "MaximumRetryAttempts": 0 });
    scenario.check("put_invokeconfig_retries_0", &put(&service, "f", retries).await.body);
    let age = json!({ "MaximumEventAgeInSeconds": 60 });
    scenario.check("put_invokeconfig_eventage_60", &put(&service, "f", age.clone()).await.body);
    scenario.check("update_invokeconfig_eventage_nochange", &update(&service, "f", age).await.body);
    let retries = json!({ "MaximumRetryAttempts": 1 });
    scenario.check("update_invokeconfig_retries", &update(&service, "f", retries).await.body);
    scenario.check("get_invokeconfig", &get(&service, "f").await.body);
    scenario.check("get_invokeconfig_latest", &get(&service, "f?Qualifier=$LATEST").await.body);
    scenario.check("list_single_invokeconfig", &list(&service, "f", "").await.body);
    service.publish(json!({})).await;
    scenario.check("get_invokeconfig_postpublish", &get(&service, "f?Qualifier=1").await.body);
    let age = json!({ "MaximumEventAgeInSeconds": 120 });
    scenario.check("put_published_invokeconfig", &put(&service, "f?Qualifier=1", age).await.body);
    scenario.check("get_published_invokeconfig", &get(&service, "f?Qualifier=1").await.body);
    assert_eq!(delete(&service, "f").await.status, 204);
    scenario.check("list_paging_nolimit_postdelete", &list(&service, "f", "").await.body);
}

#[tokio::test]
async fn refusals_are_as_recorded() {
    let service = with_alias().await;
    let mut scenario = Scenario::of(RECORDED, "event_invoke_exceptions");
    let one = || json!({ "MaximumRetryAttempts": 1 });
    let to = |arn: &str| json!({ "DestinationConfig": { "OnSuccess": { "Destination": arn } } });
    let nowhere = "arn:aws:lambda:us-east-1:123456789012:function:doesnotexist";
    let other = "arn:aws:lambda:us-east-1:123456789012:function:other";
    let alias = format!("{ARN}:eventinvokealias");
    let puts = [
        ("put_functionname_name_notfound", "doesnotexist", one()),
        ("put_functionname_arn_notfound", nowhere, one()),
        ("put_functionname_nootherargs", "doesnotexist", json!({})),
        ("put_destination_lambda_doesntexist", "f", to(nowhere)),
        ("put_destination_recursive", "f", to(ARN)),
        ("put_destination_other_lambda", "f", to(other)),
        ("put_destination_invalid_service_arn", "f", to(&ARN.replace(":lambda:", ":iam:"))),
        (
            "put_destination_success_no_destination_arn",
            "f",
            json!({ "DestinationConfig": { "OnSuccess": {} } }),
        ),
        (
            "put_destination_failure_no_destination_arn",
            "f",
            json!({ "DestinationConfig": { "OnFailure": {} } }),
        ),
        ("put_destination_latest", "f", one()),
        ("put_destination_latest_explicit_qualifier", "f?Qualifier=$LATEST", one()),
        ("put_destination_version", "f?Qualifier=1", one()),
        ("put_alias_functionname_qualifier", "f?Qualifier=eventinvokealias", one()),
        ("put_alias_doesnotexist", "f?Qualifier=eventinvokealiasdoesnotexist", one()),
        ("put_alias_qualifiedarn", &alias, one()),
        ("put_alias_qualifiedarn_qualifier", &format!("{alias}?Qualifier=eventinvokealias"), one()),
        ("put_alias_qualifiedarn_qualifierconflict", &format!("{alias}?Qualifier=x"), one()),
        ("put_alias_shorthand", "f:eventinvokealias", one()),
        ("put_alias_shorthand_qualifier", "f:eventinvokealias?Qualifier=eventinvokealias", one()),
        ("put_alias_shorthand_qualifierconflict", "f:eventinvokealias?Qualifier=x", one()),
        ("put_version_shorthand", "f:1", one()),
        ("put_shorthand_qualifier_match", "f:$LATEST?Qualifier=$LATEST", one()),
        ("put_shorthand_qualifier_mismatch_1", "f:1?Qualifier=$LATEST", one()),
        ("put_shorthand_qualifier_mismatch_2", "f:$LATEST?Qualifier=1", one()),
        ("put_shorthand_qualifier_mismatch_3", "f:1?Qualifier=eventinvokealias", one()),
        (
            "put_maxevent_maxvalue_result",
            "f",
            json!({ "MaximumRetryAttempts": 2, "MaximumEventAgeInSeconds": 21600 }),
        ),
        ("put_pre_overwrite", "f", json!({ "MaximumRetryAttempts": 2, "MaximumEventAgeInSeconds": 60 })),
        ("put_post_overwrite", "f", json!({ "MaximumRetryAttempts": 0 })),
        ("second_overwrite_existing_response", "f", json!({ "MaximumRetryAttempts": 0 })),
    ];
    for (name, function, body) in puts {
        scenario.check(name, &put(&service, function, body).await.body);
    }
    scenario.check("get_post_overwrite", &get(&service, "f").await.body);
    let both = json!({ "MaximumRetryAttempts": 2, "MaximumEventAgeInSeconds": 60 });
    scenario.check("pre_update_response", &put(&service, "f", both).await.body);
    for name in ["update_response", "update_response_existing"] {
        let none = json!({ "MaximumRetryAttempts": 0 });
        scenario.check(name, &update(&service, "f", none).await.body);
    }
    scenario.check("list_configs", &list(&service, "f", "").await.body);
    for qualifier in ["$LATEST", "1", "eventinvokealias"] {
        assert_eq!(delete(&service, &format!("f?Qualifier={qualifier}")).await.status, 204);
    }
    scenario.check("list_configs_postdelete", &list(&service, "f", "").await.body);
    scenario.check("delete_function_not_found", &delete(&service, "f").await.body);
    scenario.check("delete_function_doesnotexist", &delete(&service, "doesnotexist").await.body);
    scenario.check("list_function_doesnotexist", &list(&service, "doesnotexist", "").await.body);
    scenario.check("get_function_doesnotexist", &get(&service, "doesnotexist").await.body);
    scenario.check("get_qualifier_doesnotexist", &get(&service, "f?Qualifier=doesnotexist").await.body);
    let updates = [
        ("update_eventinvokeconfig_function_doesnotexist", "doesnotexist"),
        ("update_eventinvokeconfig_config_doesnotexist_with_qualifier", &alias),
        ("update_eventinvokeconfig_config_doesnotexist_without_qualifier", ARN),
    ];
    for (name, function) in updates {
        scenario.check(name, &update(&service, function, one()).await.body);
    }
    scenario.check("get_eventinvokeconfig_doesnotexist", &get(&service, &alias).await.body);
    scenario.all_checked();
}

#[tokio::test]
async fn destinations_are_places_that_records_can_be_sent_to() {
    let service = with_alias().await;
    let to = |on: &str, arn: &str| json!({ "DestinationConfig": { on: { "Destination": arn } } });
    let good = [
        ("OnSuccess", "arn:aws:sqs:us-east-1:123456789012:queue"),
        ("OnSuccess", "arn:aws:sns:us-east-1:123456789012:topic"),
        ("OnSuccess", "arn:aws:events:us-east-1:123456789012:event-bus/default"),
        ("OnFailure", "arn:aws:s3:::bucket"),
        ("OnFailure", "arn:aws:lambda:us-east-1:123456789012:function:other:$LATEST"),
    ];
    for (on, arn) in good {
        let answer = put(&service, "f", to(on, arn)).await;
        assert_eq!(answer.body["DestinationConfig"][on]["Destination"], arn, "{:#}", answer.body);
        assert_eq!(get(&service, "f").await.body, answer.body);
    }
    // An empty ARN takes a destination away.
    let none = json!({ "OnSuccess": {}, "OnFailure": {} });
    assert_eq!(update(&service, "f", to("OnFailure", "")).await.body["DestinationConfig"], none);

    let invalid = "400 InvalidParameterValueException: The";
    let config = "provided destination config DestinationConfig";
    let cases = [
        (
            "OnSuccess",
            "arn:aws:s3:::bucket",
            format!(
                "{config}(onSuccess=OnSuccess(destination=arn:aws:s3:::bucket), onFailure=null) is invalid."
            ),
        ),
        (
            "OnFailure",
            "kafka://topic",
            format!("{config}(onSuccess=null, onFailure=OnFailure(destination=kafka://topic)) is invalid."),
        ),
    ];
    for (on, arn, expected) in cases {
        assert_eq!(put(&service, "f", to(on, arn)).await.error(), format!("{invalid} {expected}"));
    }
    let nowhere = [
        "arn:aws:lambda:us-east-1:123456789012:function:other:7",
        "arn:aws:lambda:eu-west-1:123456789012:function:other",
        "arn:aws:lambda:us-east-1:210987654321:function:other",
        "arn:aws:lambda:us-east-1:123456789012:layer:other",
        "arn:aws:sqs:us-east-1:123456789012:queue.fifo",
    ];
    for arn in nowhere {
        let error = put(&service, "f", to("OnFailure", arn)).await.error();
        assert_eq!(error, format!("{invalid} destination ARN {arn} is invalid."));
    }
}

#[tokio::test]
async fn lists_come_in_pages() {
    let service = with_alias().await;
    for qualifier in ["eventinvokealias", "1", "$LATEST"] {
        put(&service, &format!("f?Qualifier={qualifier}"), json!({ "MaximumRetryAttempts": 1 })).await;
    }
    let first = list(&service, "f", "MaxItems=2").await.body;
    let rest =
        list(&service, "f", &format!("MaxItems=2&Marker={}", first["NextMarker"].as_str().unwrap())).await;
    let arns = |body: &Value| -> Vec<String> {
        let configs = body["FunctionEventInvokeConfigs"].as_array().unwrap();
        configs.iter().map(|config| config["FunctionArn"].as_str().unwrap().to_owned()).collect()
    };
    assert_eq!(arns(&first), [format!("{ARN}:$LATEST"), format!("{ARN}:1")]);
    assert_eq!(arns(&rest.body), [format!("{ARN}:eventinvokealias")]);
    assert_eq!(rest.body.get("NextMarker"), None);
    let error = list(&service, "f", "Marker=*").await.error();
    assert_eq!(error, "400 InvalidParameterValueException: Marker is invalid");
    assert!(list(&service, "f", "MaxItems=51").await.error().starts_with("400 ValidationException"));
}

#[tokio::test]
async fn configurations_go_with_what_they_are_for_and_stay_in_their_account() {
    let mut service = with_alias().await;
    for qualifier in ["eventinvokealias", "1", "$LATEST"] {
        put(&service, &format!("f?Qualifier={qualifier}"), json!({ "MaximumRetryAttempts": 1 })).await;
    }
    service.delete("/f/aliases/eventinvokealias").await;
    service.delete("/f?Qualifier=1").await;
    let left = list(&service, "f", "").await.body;
    assert_eq!(left["FunctionEventInvokeConfigs"].as_array().unwrap().len(), 1);

    service.region = "eu-west-1";
    assert!(get(&service, "f").await.error().starts_with("404"));
    let error = get(&service, ARN).await.error();
    assert_eq!(
        error,
        "404 ResourceNotFoundException: Functions from 'us-east-1' are not reachable in this region ('eu-west-1')"
    );
    service.region = "us-east-1";
    service.account = "210987654321";
    assert!(get(&service, "f").await.error().starts_with("404"));
    assert_eq!(get(&service, ARN).await.status, 403);
    service.account = "123456789012";

    service.delete("/f").await;
    service.created(json!({})).await;
    assert_eq!(
        get(&service, "f").await.error(),
        format!(
            "404 ResourceNotFoundException: The function {ARN}:$LATEST doesn't have an EventInvokeConfig"
        )
    );
}

#[tokio::test]
async fn configurations_are_there_after_a_restart() {
    let directory = tempfile::tempdir().unwrap();
    let config = json!({
        "MaximumRetryAttempts": 0,
        "MaximumEventAgeInSeconds": 61,
        "DestinationConfig": { "OnFailure": { "Destination": "arn:aws:sqs:us-east-1:123456789012:queue" } },
    });
    let before = {
        let service = durable(ControlConfig::default(), directory.path()).await;
        service.created(json!({})).await;
        let before = put(&service, "f", config).await.body;
        service.control.shut_down().await;
        before
    };
    let service = durable(ControlConfig::default(), directory.path()).await;
    assert_eq!(get(&service, "f").await.body, before);
}
