//! Messages here were recorded from AWS, unless a test says otherwise. Names, regions and accounts are made up.

use bytes::Bytes;
use http::Request;
use serde_json::json;

use super::*;
use crate::{bind, name::RequestId};

const NAMESPACED: &str = r"(arn:(aws[a-zA-Z-]*)?:lambda:)?((eusc-)?[a-z]{2}((-gov)|(-iso([a-z]?)))?-[a-z]+-\d{1}:)?(\d{12}:)?(function:)?([a-zA-Z0-9-_\.]+)(:(\$LATEST(\.PUBLISHED)?|[a-zA-Z0-9-_]+))?";
const CREATED: &str = r"(arn:(aws[a-zA-Z-]*)?:lambda:)?((eusc-)?[a-z]{2}((-gov)|(-iso([a-z]?)))?-[a-z]+-\d{1}:)?(\d{12}:)?(function:)?([a-zA-Z0-9-_]+)(:(\$LATEST|[a-zA-Z0-9-_]+))?";
const RUNTIMES: &str = "nodejs20.x, python3.14, provided.al2023, python3.12, python3.13, nodejs24.x, nodejs22.x, java25, python3.10, python3.11, java21, ruby3.3, ruby3.4, ruby3.2, python3.8, python3.9, java17, nodejs16.x, dotnet10, dotnet8, java11, dotnet6, nodejs18.x, provided.al2, java8.al2";

fn check(operation: Operation, target: &str, body: &Value) -> Result<(), ApiError> {
    let (parts, ()) = Request::builder().uri(target).body(()).unwrap().into_parts();
    let segments: Vec<&str> = parts.uri.path()[1..].split('/').collect();
    let body = if body.is_null() { String::new() } else { body.to_string() };
    validate(operation, &bind::bind(operation, &segments, &parts, body.into())?)
}

fn complaint(operation: Operation, target: &str, body: &Value) -> String {
    let error = check(operation, target, body).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Validation, "{error}");
    error.message().unwrap().to_owned()
}

fn one(constraint: &str) -> String {
    format!("1 validation error detected: {constraint}")
}

/// A complete CreateFunction, changed by `change`.
fn create(change: Value) -> Value {
    let mut body =
        json!({"FunctionName": "f", "Role": "arn:aws:iam::123456789012:role/r", "Code": {"ZipFile": "UEsF"}});
    body.as_object_mut().unwrap().extend(change.as_object().unwrap().clone());
    body
}

fn create_complaint(change: Value) -> String {
    complaint(Operation::CreateFunction, "/2015-03-31/functions", &create(change))
}

#[test]
fn a_complete_function_is_accepted() {
    let change = json!({
        "Runtime": "python3.12", "Handler": "a.b", "Timeout": 900, "MemorySize": 10_240, "Architectures": ["arm64"],
        "Environment": {"Variables": {"KEY": "value"}}, "Tags": {"Größe": "x"}, "Layers": [],
        "VpcConfig": {"SubnetIds": ["subnet-1"], "SecurityGroupIds": ["sg-1"]}, "KMSKeyArn": "",
    });
    check(Operation::CreateFunction, "/2015-03-31/functions", &create(change)).unwrap();
}

#[test]
fn function_names_follow_the_pattern_of_the_operation() {
    for name in
        ["*", "my-function!", "invalid-account:function:my-function", "function:my-function:$LATEST:extra"]
    {
        let target = format!("/2015-03-31/functions/{}", name.replace('$', "%24"));
        let expected = |pattern: &str| {
            one(&format!(
                "Value '{name}' at 'functionName' failed to satisfy constraint: Member must satisfy regular expression pattern: {pattern}"
            ))
        };
        assert_eq!(complaint(Operation::GetFunction, &target, &Value::Null), expected(NAMESPACED));
        assert_eq!(create_complaint(json!({"FunctionName": name})), expected(CREATED));
    }
}

#[test]
fn length_comes_before_pattern() {
    let name = format!("arn:aws:lambda:invalid-region:123456789012:function:{}", "a".repeat(140));
    let start = format!("Value '{name}' at 'functionName' failed to satisfy constraint: Member must");
    assert_eq!(
        create_complaint(json!({"FunctionName": name})),
        format!(
            "2 validation errors detected: {start} have length less than or equal to 140; \
             {start} satisfy regular expression pattern: {CREATED}"
        )
    );
}

#[test]
fn a_name_of_more_than_64_is_an_invalid_parameter_value() {
    let name = "a".repeat(65);
    let body = create(json!({"FunctionName": name}));
    let error = check(Operation::CreateFunction, "/2015-03-31/functions", &body).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::InvalidParameterValue);
    assert_eq!(
        error.message().unwrap(),
        one(&format!(
            "Value '{name}' at 'functionName' failed to satisfy constraint: Member must have length less than or equal to 64"
        ))
    );
    check(Operation::GetFunction, &format!("/2015-03-31/functions/{name}"), &Value::Null).unwrap();
}

#[test]
fn qualifiers_are_checked_and_come_first() {
    let too_long = "a".repeat(129);
    assert_eq!(
        complaint(
            Operation::DeleteFunction,
            &format!("/2015-03-31/functions/my-function?Qualifier={too_long}"),
            &Value::Null
        ),
        one(&format!(
            "Value '{too_long}' at 'qualifier' failed to satisfy constraint: Member must have length less than or equal to 128"
        ))
    );
    assert_eq!(
        complaint(Operation::GetFunction, "/2015-03-31/functions/f%21?Qualifier=invalid%21", &Value::Null),
        format!(
            r"2 validation errors detected: Value 'invalid!' at 'qualifier' failed to satisfy constraint: Member must satisfy regular expression pattern: \$(LATEST(\.PUBLISHED)?)|[a-zA-Z0-9-_$]+; Value 'f!' at 'functionName' failed to satisfy constraint: Member must satisfy regular expression pattern: {NAMESPACED}"
        )
    );
    // AWS looks this one up, and does not find it.
    check(Operation::GetFunction, "/2015-03-31/functions/f?Qualifier=$latest", &Value::Null).unwrap();
}

#[test]
fn an_unknown_runtime_has_a_rule_of_its_own() {
    let body = create(json!({"Runtime": "non-existent-runtime"}));
    let error = check(Operation::CreateFunction, "/2015-03-31/functions", &body).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::InvalidParameterValue);
    assert_eq!(
        error.message().unwrap(),
        format!(
            "Value non-existent-runtime at 'runtime' failed to satisfy constraint: \
             Member must satisfy enum value set: [{RUNTIMES}] or be a valid ARN"
        )
    );
    // What is no longer supported is for the operation to refuse.
    check(Operation::CreateFunction, "/2015-03-31/functions", &create(json!({"Runtime": "python3.7"})))
        .unwrap();
}

#[test]
fn items_are_listed_with_what_they_must_satisfy() {
    assert_eq!(
        create_complaint(json!({"Architectures": ["X86_64"]})),
        one(
            "Value '[X86_64]' at 'architectures' failed to satisfy constraint: Member must satisfy constraint: [Member must satisfy enum value set: [x86_64, arm64], Member must not be null]"
        )
    );
    assert_eq!(
        create_complaint(json!({"Architectures": ["x86_64", "arm64"]})),
        one(
            "Value '[x86_64, arm64]' at 'architectures' failed to satisfy constraint: Member must have length less than or equal to 1"
        )
    );
    let layer = "arn:aws:lambda:us-east-1:123456789012:layer:l";
    assert_eq!(
        create_complaint(json!({"Layers": [layer]})),
        one(&format!(
            r"Value '[{layer}]' at 'layers' failed to satisfy constraint: Member must satisfy constraint: [Member must have length less than or equal to 2048, Member must have length greater than or equal to 1, Member must satisfy regular expression pattern: (arn:(aws[a-zA-Z-]*)?:lambda:(eusc-)?[a-z]{{2}}((-gov)|(-iso([a-z]?)))?-[a-z]+-\d{{1}}:\d{{12}}:layer:[a-zA-Z0-9-_]+:[0-9]+)|(arn:[a-zA-Z0-9-]+:lambda:::awslayer:[a-zA-Z0-9-_]+), Member must not be null]"
        ))
    );
    assert_eq!(
        create_complaint(json!({"VpcConfig": {"SubnetIds": ["bad"]}})),
        one(
            "Value '[bad]' at 'vpcConfig.subnetIds' failed to satisfy constraint: Member must satisfy constraint: [Member must have length less than or equal to 1024, Member must have length greater than or equal to 0, Member must satisfy regular expression pattern: subnet-[0-9a-z]*]"
        )
    );
}

#[test]
fn runtimes_of_layers_are_listed_flat() {
    let target = "/2018-10-31/layers/l/versions";
    let body = json!({
        "Content": {"ZipFile": "UEsF"},
        "CompatibleRuntimes": ["invalidruntime", "invalidruntime2", "nodejs20.x"],
        "CompatibleArchitectures": ["invalidarch", "x86_64"],
    });
    let message = complaint(Operation::PublishLayerVersion, target, &body);
    let (first, second) = (
        format!(
            "Value '[invalidruntime, invalidruntime2, nodejs20.x]' at 'compatibleRuntimes' failed to satisfy constraint: Member must satisfy enum value set: [{RUNTIMES}]"
        ),
        "Value '[invalidarch, x86_64]' at 'compatibleArchitectures' failed to satisfy constraint: Member must satisfy constraint: [Member must satisfy enum value set: [x86_64, arm64], Member must not be null]",
    );
    assert_eq!(message, format!("2 validation errors detected: {first}; {second}"));
    let filter = "/2018-10-31/layers?CompatibleRuntime=runtimedoesnotexist";
    assert_eq!(
        complaint(Operation::ListLayers, filter, &Value::Null),
        one(&format!(
            "Value 'runtimedoesnotexist' at 'compatibleRuntime' failed to satisfy constraint: Member must satisfy enum value set: [{FILTER_RUNTIMES}]"
        ))
    );
}

#[test]
fn maps_tell_keys_from_values() {
    let target = "/2015-03-31/functions/f/aliases";
    let weights = |weights: Value| {
        let body = json!({"Name": "live", "FunctionVersion": "1", "RoutingConfig": {"AdditionalVersionWeights": weights}});
        complaint(Operation::CreateAlias, target, &body)
    };
    assert_eq!(
        weights(json!({"2": -1})),
        one(
            "Value '{2=-1.0}' at 'routingConfig.additionalVersionWeights' failed to satisfy constraint: Map value must satisfy constraint: [Member must have value less than or equal to 1.0, Member must have value greater than or equal to 0.0, Member must not be null]"
        )
    );
    assert_eq!(
        weights(json!({"$LATEST": 0.5})),
        one(
            "Value '{$LATEST=0.5}' at 'routingConfig.additionalVersionWeights' failed to satisfy constraint: Map keys must satisfy constraint: [Member must have length less than or equal to 1024, Member must have length greater than or equal to 1, Member must satisfy regular expression pattern: [0-9]+]"
        )
    );
}

/// Seen in many reports of users.
#[test]
fn environment_variables_are_not_repeated() {
    assert_eq!(
        create_complaint(json!({"Environment": {"Variables": {"A-B": "secret"}}})),
        one(
            "Value at 'environment.variables' failed to satisfy constraint: Map keys must satisfy constraint: [Member must satisfy regular expression pattern: [a-zA-Z]([a-zA-Z0-9_])+]"
        )
    );
}

#[test]
fn numbers_have_the_bounds_of_awss_own_machines() {
    assert_eq!(
        create_complaint(json!({"Timeout": 1200})),
        one(
            "Value '1200' at 'timeout' failed to satisfy constraint: Member must have value less than or equal to 900"
        )
    );
    assert_eq!(
        create_complaint(json!({"MemorySize": 5_555_555})),
        one(
            "Value '5555555' at 'memorySize' failed to satisfy constraint: Member must have value less than or equal to 10240"
        )
    );
}

#[test]
fn numbers_have_other_bounds_on_a_capacity_provider() {
    let provider = json!({ "LambdaManagedInstancesCapacityProviderConfig": {
        "CapacityProviderArn": "arn:aws:lambda:us-east-1:123456789012:capacity-provider:p"
    } });
    assert_eq!(
        create_complaint(json!({"CapacityProviderConfig": provider, "Timeout": 5401, "MemorySize": 32_768})),
        one(
            "Value '5401' at 'timeout' failed to satisfy constraint: Member must have value less than or equal to 5400"
        )
    );
}

#[test]
fn names_of_aliases_are_no_numbers() {
    let body = json!({"Name": "1", "FunctionVersion": "1"});
    assert_eq!(
        complaint(Operation::CreateAlias, "/2015-03-31/functions/f/aliases", &body),
        one(
            "Value '1' at 'name' failed to satisfy constraint: Member must satisfy regular expression pattern: (?!^[0-9]+$)([a-zA-Z0-9-_]+)"
        )
    );
    let target = "/2021-10-31/functions/f/url?Qualifier=1";
    assert_eq!(
        complaint(Operation::CreateFunctionUrlConfig, target, &json!({"AuthType": "NONE"})),
        one(
            r"Value '1' at 'qualifier' failed to satisfy constraint: Member must satisfy regular expression pattern: ((?!^\d+$)^[0-9a-zA-Z-_]+$)"
        )
    );
}

#[test]
fn enums_are_listed_in_awss_order() {
    let cases = [
        (
            Operation::PutFunctionRecursionConfig,
            "/2024-08-31/functions/f/recursion-config",
            json!({"RecursiveLoop": "InvalidValue"}),
            "Value 'InvalidValue' at 'recursiveLoop' failed to satisfy constraint: Member must satisfy enum value set: [Terminate, Allow]",
        ),
        (
            Operation::CreateFunctionUrlConfig,
            "/2021-10-31/functions/f/url",
            json!({"AuthType": "NONE", "InvokeMode": "UNKNOWN"}),
            "Value 'UNKNOWN' at 'invokeMode' failed to satisfy constraint: Member must satisfy enum value set: [RESPONSE_STREAM, BUFFERED]",
        ),
        (
            Operation::ListFunctions,
            "/2015-03-31/functions?FunctionVersion=x",
            Value::Null,
            "Value 'x' at 'functionVersion' failed to satisfy constraint: Member must satisfy enum value set: [ALL]",
        ),
    ];
    for (operation, target, body, expected) in cases {
        assert_eq!(complaint(operation, target, &body), one(expected));
    }
}

#[test]
fn resources_that_have_no_tags_are_refused() {
    let target = "/2017-03-31/tags/arn:aws:something";
    assert_eq!(
        complaint(Operation::TagResource, target, &json!({"Tags": {}})),
        one(
            r"Value 'arn:aws:something' at 'resource' failed to satisfy constraint: Member must satisfy regular expression pattern: arn:(aws[a-zA-Z-]*):lambda:(eusc-)?[a-z]{2}((-gov)|(-iso([a-z]?)))?-[a-z]+-\d{1}:\d{12}:(function:[a-zA-Z0-9-_]+(:(\$LATEST|[a-zA-Z0-9-_]+))?|layer:([a-zA-Z0-9-_]+)|code-signing-config:csc-[a-z0-9]{17}|event-source-mapping:[0-9a-fA-F]{8}-[0-9a-fA-F]{4}-[0-9a-fA-F]{4}-[0-9a-fA-F]{4}-[0-9a-fA-F]{12}|capacity-provider:[a-zA-Z0-9-_]+)"
        )
    );
}

#[test]
fn what_is_required_must_not_be_null() {
    let target = "/2017-03-31/tags/arn:aws:lambda:us-east-1:123456789012:function:f";
    assert_eq!(
        complaint(Operation::UntagResource, target, &Value::Null),
        one("Value null at 'tagKeys' failed to satisfy constraint: Member must not be null")
    );
    let body = json!({"FunctionName": "f", "Role": "arn:aws:iam::123456789012:role/r"});
    assert_eq!(
        complaint(Operation::CreateFunction, "/2015-03-31/functions", &body),
        one("Value null at 'code' failed to satisfy constraint: Member must not be null")
    );
    assert_eq!(
        create_complaint(json!({"CapacityProviderConfig": {}})),
        one(
            "Value null at 'capacityProviderConfig.lambdaManagedInstancesCapacityProviderConfig' failed to satisfy constraint: Member must not be null"
        )
    );
}

#[test]
fn nested_members_are_named_by_their_path() {
    let target = "/2019-09-25/functions/f/event-invoke-config";
    let body = json!({"DestinationConfig": {"OnFailure": {"Destination": "arn:aws:_-/!lambda:x"}}});
    let message = complaint(Operation::PutFunctionEventInvokeConfig, target, &body);
    assert!(
        message.starts_with(
            "1 validation error detected: Value 'arn:aws:_-/!lambda:x' at 'destinationConfig.onFailure.destination' failed to satisfy constraint: Member must satisfy regular expression pattern: $|kafka://"
        ),
        "{message}"
    );
}

#[test]
fn a_validation_error_has_nothing_but_its_message() {
    let error = check(Operation::GetFunction, "/2015-03-31/functions/*", &Value::Null).unwrap_err();
    let response = error.respond(RequestId::random());
    assert_eq!(response.status(), 400);
    assert_eq!(response.headers()["x-amzn-errortype"], "ValidationException");
    let body: Map<String, Value> = serde_json::from_slice(response.body()).unwrap();
    assert_eq!(body.keys().collect::<Vec<_>>(), ["message"]);
}

/// Every validation that was recorded, with an input that has the member which the message names.
#[test]
fn recorded_validations_are_repeated_word_for_word() {
    let recorded: Vec<Value> = serde_json::from_str(include_str!("recorded.json")).unwrap();
    assert!(recorded.len() > 40);
    for case in recorded {
        let text = |name: &str| case[name].as_str().unwrap();
        let operation =
            Operation::ALL.iter().find(|operation| operation.as_str() == text("operation")).unwrap();
        let members = case["input"].as_object().unwrap().clone();
        let error = validate(*operation, &Bound { members, payload: Bytes::new() }).unwrap_err();
        assert_eq!(
            (error.kind().code(), error.message().unwrap()),
            (text("code"), text("message")),
            "{}",
            text("recorded")
        );
    }
}

/// What no recording has: nulls in lists, and what is inside of lists in maps. Unverified.
#[test]
fn what_is_inside_of_lists_and_maps_is_checked() {
    let create = |members: Value| {
        let mut body = json!({"FunctionName": "f"});
        body.as_object_mut().unwrap().extend(members.as_object().unwrap().clone());
        complaint(Operation::CreateEventSourceMapping, "/2015-03-31/event-source-mappings", &body)
    };
    assert_eq!(
        create(json!({"FilterCriteria": {"Filters": [{"Pattern": "{}"}, null]}})),
        one(
            "Value null at 'filterCriteria.filters.2.member' failed to satisfy constraint: Member must not be null"
        )
    );
    assert_eq!(
        create(json!({"Topics": [null]})),
        one(
            "Value '[null]' at 'topics' failed to satisfy constraint: Member must satisfy constraint: [Member must have length less than or equal to 249, Member must have length greater than or equal to 1, Member must satisfy regular expression pattern: [^.]([a-zA-Z0-9\\-_.]+), Member must not be null]"
        )
    );
    let endpoints =
        create(json!({"SelfManagedEventSource": {"Endpoints": {"KAFKA_BOOTSTRAP_SERVERS": ["no port"]}}}));
    assert!(
        endpoints.starts_with(
            "1 validation error detected: Value '{KAFKA_BOOTSTRAP_SERVERS=[no port]}' at 'selfManagedEventSource.endpoints' failed to satisfy constraint: Map value must satisfy constraint: [Member must have length less than or equal to 10, Member must have length greater than or equal to 1, Member must satisfy constraint: [Member must have length less than or equal to 300,"
        ),
        "{endpoints}"
    );
}

#[test]
fn a_payload_has_its_size() {
    let callback = |size: usize| {
        let members = Map::from_iter([("CallbackId".to_owned(), "YQ==".into())]);
        let bound = Bound { members, payload: vec![0; size].into() };
        validate(Operation::SendDurableExecutionCallbackSuccess, &bound)
    };
    callback(1_048_576).unwrap();
    assert_eq!(
        callback(1_048_577).unwrap_err().message().unwrap(),
        one(
            "Value at 'result' failed to satisfy constraint: Member must have length less than or equal to 1048576"
        )
    );
}
