//! Whole scenarios against what AWS answered to them.

use std::{collections::BTreeMap, time::Duration};

use hothouse_control::ControlConfig;
use serde_json::{Value, json};

use crate::support::{configured, package, service};

/// Replies of AWS by scenario and name. Placeholders in angle brackets stand for what differs from run to run.
const RECORDED: &str = include_str!("recorded.json");

/// A scenario, and what its placeholders have turned out to stand for.
struct Scenario {
    recorded: Value,
    values: BTreeMap<String, String>,
}

impl Scenario {
    fn of(name: &str) -> Self {
        let mut all: Value = serde_json::from_str(RECORDED).unwrap();
        let values = [
            ("partition", "aws"),
            ("region", "us-east-1"),
            ("function-name:1", "f"),
            ("resource:1", "r"),
            ("repo_uri", "123456789012.dkr.ecr.us-east-1.amazonaws.com/repo"),
        ];
        let values = values.map(|(name, value)| (name.to_owned(), value.to_owned()));
        Self { recorded: all[name].take(), values: values.into() }
    }

    #[track_caller]
    fn check(&mut self, name: &str, actual: &Value) {
        let expected = self.recorded[name].clone();
        assert!(expected.is_object(), "nothing recorded as {name}");
        self.compare(name, &expected, actual);
    }

    #[track_caller]
    fn compare(&mut self, path: &str, expected: &Value, actual: &Value) {
        match (expected, actual) {
            (Value::Object(expected), Value::Object(actual)) => {
                let names = |object: &serde_json::Map<String, Value>| {
                    let mut names: Vec<_> = object.keys().cloned().collect();
                    names.sort();
                    names
                };
                assert_eq!(names(actual), names(expected), "members of {path}");
                for (name, expected) in expected {
                    self.compare(&format!("{path}.{name}"), expected, &actual[name]);
                }
            }
            (Value::Array(expected), Value::Array(actual)) => {
                assert_eq!(actual.len(), expected.len(), "length of {path}");
                for (index, (expected, actual)) in expected.iter().zip(actual).enumerate() {
                    self.compare(&format!("{path}[{index}]"), expected, actual);
                }
            }
            (Value::String(expected), Value::Number(_)) if expected == "<code-size>" => {}
            (Value::String(expected), Value::String(actual)) => self.compare_text(path, expected, actual),
            _ => assert_eq!(actual, expected, "{path}"),
        }
    }

    #[track_caller]
    fn compare_text(&mut self, path: &str, expected: &str, actual: &str) {
        if expected == "date" {
            let digits = |text: &str| text.replace(|character: char| character.is_ascii_digit(), "0");
            assert_eq!(digits(actual), "0000-00-00T00:00:00.000+0000", "{path}");
            return;
        }
        let expected = expected.replace("111111111111", "123456789012");
        let mut known = expected.clone();
        for (name, value) in &self.values {
            known = known.replace(&format!("<{name}>"), value);
        }
        let Some((before, rest)) = known.split_once('<') else {
            assert_eq!(actual, known, "{path}");
            return;
        };
        // The first time that a placeholder is seen, it takes whatever is in its place.
        let (name, after) = rest.split_once('>').unwrap();
        let value = actual.strip_prefix(before).and_then(|actual| actual.strip_suffix(after));
        let value = value.unwrap_or_else(|| panic!("{path}: {actual} is not like {expected}"));
        let same = self.values.iter().find(|(_, other)| *other == value);
        assert!(same.is_none(), "{path}: <{name}> is the same as {same:?}");
        self.values.insert(name.to_owned(), value.to_owned());
    }
}

#[tokio::test]
async fn versions_live_as_recorded() {
    let service = service().await;
    let mut scenario = Scenario::of("version_lifecycle");
    scenario.check("create_response", &service.created(json!({ "Description": "No version :(" })).await.body);
    scenario.check("get_function_result", &service.get("/f").await.body);
    scenario.check("list_versions_result", &service.get("/f/versions").await.body);
    let update = |description| service.update_configuration(json!({ "Description": description }));
    scenario.check("first_update_response", &update("First version :)").await.body);
    // Between the two, AWS's function got a revision of its own.
    service.get("/f").await;
    let described = json!({ "Description": "First version description :)" });
    scenario.check("first_publish_response", &service.publish(described).await.body);
    scenario.check("first_publish_get_function", &service.get("/f?Qualifier=1").await.body);
    assert_eq!(update("Second version :))").await.status, 200);
    let second = service.publish(json!({})).await;
    assert_eq!(second.status, 201);
    scenario.check("second_publish_response", &second.body);
    let third = service.publish(json!({ "Description": "not a new one" })).await;
    assert_eq!(third.status, 201);
    scenario.check("third_publish_response", &third.body);
    assert_eq!(service.delete("/f?Qualifier=1").await.status, 204);
    let list = service.get("/f/versions").await.body;
    scenario.check("list_versions_result_after_deletion_of_first_version", &list);
}

#[tokio::test(start_paused = true)]
async fn publishing_with_an_update_is_as_recorded() {
    let delay = Duration::from_secs(10);
    let service = configured(ControlConfig { update_delay: delay, ..ControlConfig::default() }).await;
    service.created(json!({})).await;
    let mut scenario = Scenario::of("publish_with_update");
    let update = service.update_code(json!({ "ZipFile": package("2"), "Publish": true })).await;
    scenario.check("update_function_code_result", &update.body);
    scenario.check("get_function_version_result", &service.get("/f?Qualifier=1").await.body);
    scenario.check("get_function_latest_result", &service.get("/f?Qualifier=$LATEST").await.body);
    let again = service.update_code(json!({ "ZipFile": package("3") })).await.error();
    assert_eq!(
        again,
        "409 ResourceConflictException: The operation cannot be performed at this time. An update is in progress for \
         resource: arn:aws:lambda:us-east-1:123456789012:function:f"
    );
    tokio::time::sleep(delay * 2).await;
    for qualifier in ["$LATEST", "1"] {
        let now = service.get(&format!("/f/configuration?Qualifier={qualifier}")).await;
        assert_eq!((now.text("State"), now.text("LastUpdateStatus")), ("Active", "Successful"));
    }
}

#[tokio::test]
async fn aliases_move_as_recorded() {
    let service = service().await;
    service.created(json!({ "Publish": true })).await;
    let mut scenario = Scenario::of("alias_moving");
    let create = service.post("/f/aliases", json!({ "Name": "alias1", "FunctionVersion": "1" })).await;
    scenario.check("create_alias_response", &create.body);
    service.update_code(json!({ "ZipFile": package("2"), "Publish": true })).await;
    let update = service.put("/f/aliases/alias1", json!({ "FunctionVersion": "2" })).await;
    scenario.check("update_alias_response", &update.body);
}

#[tokio::test]
async fn log_format_switches_as_recorded() {
    let service = service().await;
    let members = json!({
        "Environment": { "Variables": {} },
        "MemorySize": 256,
        "Timeout": 5,
        "Handler": "handler.handler",
    });
    service.created(members).await;
    let mut scenario = Scenario::of("logging_switch");
    let update = |format| service.update_configuration(json!({ "LoggingConfig": { "LogFormat": format } }));
    scenario.check("updated_config", &update("JSON").await.body);
    scenario.check("received_config", &service.get("/f/configuration").await.body);
    update("Text").await;
    scenario.check("received_config_v2", &service.get("/f/configuration").await.body);
}

#[tokio::test]
async fn images_are_described_as_recorded() {
    let service = service().await;
    let mut scenario = Scenario::of("image");
    let create = service
        .created(json!({
            "Runtime": null,
            "Handler": null,
            "PackageType": "Image",
            "Code": { "ImageUri": "123456789012.dkr.ecr.us-east-1.amazonaws.com/repo:latest" },
            "ImageConfig": { "EntryPoint": ["sh"], "Command": ["-c", "echo test"], "WorkingDirectory": "/app1" },
            "Environment": { "Variables": { "CUSTOM_ENV": "test" } },
        }))
        .await;
    scenario.check("create-image-with-config-response", &create.body);
    scenario.check("get-function-code-with-config-response", &service.get("/f").await.body);
    let update = service.update_configuration(json!({ "ImageConfig": {} })).await;
    scenario.check("update-function-code-delete-imageconfig-response", &update.body);
    let error = service.update_code(json!({ "ZipFile": package("1") })).await.error();
    assert_eq!(
        error,
        "400 InvalidParameterValueException: Please provide ImageUri when updating a function with packageType Image."
    );
}
