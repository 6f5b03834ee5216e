//! Generated shapes against documents as they are on the wire.

use bytes::Bytes;
use hothouse_api::{
    generated::{
        Architecture, CreateFunctionRequest, EndPointType, EventSourceMappingConfiguration,
        FunctionConfiguration, Runtime, SelfManagedEventSource,
    },
    timestamp::Timestamp,
};
use serde_json::{Value, json};

#[test]
fn a_configuration_is_written_as_it_was_read() {
    let document = json!({
        "FunctionName": "hello",
        "FunctionArn": "arn:aws:lambda:us-east-1:123456789012:function:hello",
        "Runtime": "python3.12",
        "CodeSize": 276,
        "LastModified": "2025-11-24T23:09:56.123+0000",
        "CodeSha256": "x",
        "Version": "$LATEST",
        "Environment": {"Variables": {"A1": "1", "B2": "2"}},
        "TracingConfig": {"Mode": "PassThrough"},
        "StateReasonCode": "FunctionError.InitTimeout",
        "Architectures": ["x86_64"],
        "EphemeralStorage": {"Size": 512},
        "SnapStart": {"ApplyOn": "None", "OptimizationStatus": "Off"},
        "LoggingConfig": {"LogFormat": "Text", "LogGroup": "/aws/lambda/hello"},
    });
    let configuration: FunctionConfiguration = serde_json::from_value(document.clone()).unwrap();
    assert_eq!(configuration.runtime, Some(Runtime::Python312));
    assert_eq!(configuration.architectures, Some(vec![Architecture::X8664]));
    assert_eq!(serde_json::to_value(&configuration).unwrap(), document);
}

#[test]
fn blobs_in_documents_are_base64() {
    let document = json!({
        "FunctionName": "f",
        "Role": "r",
        "Code": {"ZipFile": "UEsFBg=="},
    });
    let request: CreateFunctionRequest = serde_json::from_value(document.clone()).unwrap();
    assert_eq!(request.code.zip_file, Some(Bytes::from_static(b"PK\x05\x06")));
    assert_eq!(serde_json::to_value(&request).unwrap(), document);
    let bad = json!({"FunctionName": "f", "Role": "r", "Code": {"ZipFile": "?"}});
    assert!(serde_json::from_value::<CreateFunctionRequest>(bad).is_err());
}

#[test]
fn moments_are_numbers() {
    let mapping = EventSourceMappingConfiguration {
        last_modified: Some(Timestamp::from_millis(1_764_025_796_500)),
        ..EventSourceMappingConfiguration::default()
    };
    assert_eq!(serde_json::to_value(&mapping).unwrap(), json!({"LastModified": 1_764_025_796.5}));
}

#[test]
fn maps_may_have_enums_as_keys() {
    let document = json!({"Endpoints": {"KAFKA_BOOTSTRAP_SERVERS": ["host:9092"]}});
    let source: SelfManagedEventSource = serde_json::from_value(document.clone()).unwrap();
    assert_eq!(source.endpoints.as_ref().unwrap()[&EndPointType::KafkaBootstrapServers], ["host:9092"]);
    assert_eq!(serde_json::to_value(&source).unwrap(), document);
}

#[test]
fn every_value_of_an_enum_is_read_as_it_is_written() {
    for &runtime in Runtime::ALL {
        assert_eq!(runtime.as_str().parse(), Ok(runtime));
        assert_eq!(serde_json::to_value(runtime).unwrap(), Value::from(runtime.as_str()));
    }
    assert!("cobol".parse::<Runtime>().is_err());
}
