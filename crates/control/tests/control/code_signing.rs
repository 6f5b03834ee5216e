//! Code signing configurations, and functions that have one.

use std::time::Duration;

use hothouse_control::ControlConfig;
use http::Method;
use serde_json::{Value, json};

use crate::{
    scenario::Scenario,
    support::{ARN, Answer, Service, configured, durable, package, service},
};

const RECORDED: &str = include_str!("recorded/code_signing.json");
const CONFIGS: &str = "/2020-04-22/code-signing-configs";
const PUBLISHER: &str = "arn:aws:signer:us-east-1:123456789012:/signing-profiles/test";
const UNKNOWN: &str = "arn:aws:lambda:us-east-1:123456789012:code-signing-config:csc-00000000000000000";
const REFUSED: &str = "400 CodeVerificationFailedException: Lambda cannot deploy the function. The function or layer \
                       might be signed using a signature that the client is not configured to accept. Check the \
                       provided signature for ";

impl Service {
    async fn config(&self, method: Method, path: &str, body: Value) -> Answer {
        self.call(method, &format!("{CONFIGS}{path}"), body).await
    }

    async fn signing(&self, policy: &str) -> String {
        let created = self.config(Method::POST, "", members(policy)).await;
        assert_eq!(created.status, 201, "{:#}", created.body);
        created.body["CodeSigningConfig"]["CodeSigningConfigArn"].as_str().unwrap().to_owned()
    }

    async fn of_function(&self, method: Method, body: Value) -> Answer {
        self.call(method, "/2020-06-30/functions/f/code-signing-config", body).await
    }
}

fn members(policy: &str) -> Value {
    json!({
        "Description": "Testing CodeSigning Config",
        "AllowedPublishers": { "SigningProfileVersionArns": [PUBLISHER] },
        "CodeSigningPolicies": { "UntrustedArtifactOnDeployment": policy },
    })
}

#[tokio::test]
async fn configurations_live_as_recorded() {
    let service = service().await;
    service.created(json!({})).await;
    let mut scenario = Scenario::of(RECORDED, "function_code_signing_config");
    let created = service.config(Method::POST, "", members("Enforce")).await;
    assert_eq!(created.status, 201);
    scenario.check("create_code_signing_config", &created.body);
    let arn = created.body["CodeSigningConfig"]["CodeSigningConfigArn"].as_str().unwrap().to_owned();
    let warn = json!({ "CodeSigningPolicies": { "UntrustedArtifactOnDeployment": "Warn" } });
    let updated = service.config(Method::PUT, &format!("/{arn}"), warn).await;
    assert_eq!(updated.status, 200);
    scenario.check("update_code_signing_config", &updated.body);
    let got = service.config(Method::GET, &format!("/{arn}"), Value::Null).await;
    scenario.check("get_code_signing_config", &got.body);
    let put = service.of_function(Method::PUT, json!({ "CodeSigningConfigArn": arn })).await;
    assert_eq!(put.status, 200);
    scenario.check("put_function_code_signing_config", &put.body);
    let of_function = service.of_function(Method::GET, Value::Null).await;
    scenario.check("get_function_code_signing_config", &of_function.body);
    let listed = service.config(Method::GET, "", Value::Null).await;
    scenario.check("list_code_signing_configs", &listed.body["CodeSigningConfigs"][0]);
    let functions = service.config(Method::GET, &format!("/{arn}/functions"), Value::Null).await;
    scenario.check("list_functions_by_code_signing_config", &functions.body);
    let detached = service.of_function(Method::DELETE, Value::Null).await;
    assert_eq!((detached.status, detached.body), (204, Value::Null));
    assert_eq!(service.of_function(Method::GET, Value::Null).await.body, json!({ "FunctionName": "f" }));
    assert_eq!(service.of_function(Method::DELETE, Value::Null).await.status, 204);
    assert_eq!(service.config(Method::DELETE, &format!("/{arn}"), Value::Null).await.status, 204);
    assert_eq!(
        service.config(Method::GET, &format!("/{arn}"), Value::Null).await.error(),
        format!(
            "404 ResourceNotFoundException: The Lambda code signing configuration {arn} can not be found."
        )
    );
}

#[tokio::test]
async fn policy_is_to_warn_unless_said_otherwise() {
    let service = service().await;
    let publishers = json!({ "AllowedPublishers": { "SigningProfileVersionArns": [PUBLISHER] } });
    let created = service.config(Method::POST, "", publishers).await.body;
    let config = &created["CodeSigningConfig"];
    assert_eq!(config["CodeSigningPolicies"], json!({ "UntrustedArtifactOnDeployment": "Warn" }));
    assert_eq!(config.get("Description"), None);
    let id = config["CodeSigningConfigId"].as_str().unwrap();
    assert_eq!((&id[..4], id.len()), ("csc-", 21));
}

#[tokio::test]
async fn what_is_not_there_has_a_word_for_each_operation() {
    let service = service().await;
    let unknown = format!(
        "404 ResourceNotFoundException: The Lambda code signing configuration {UNKNOWN} can not be found."
    );
    for (method, path, body) in [
        (Method::GET, format!("/{UNKNOWN}"), Value::Null),
        (Method::PUT, format!("/{UNKNOWN}"), json!({ "Description": "" })),
        (Method::DELETE, format!("/{UNKNOWN}"), Value::Null),
        (Method::GET, format!("/{UNKNOWN}/functions"), Value::Null),
    ] {
        assert_eq!(service.config(method, &path, body).await.error(), unknown);
    }
    let gone = format!(
        "404 CodeSigningConfigNotFoundException: The code signing configuration cannot be found. Check that the \
         provided configuration is not deleted: {UNKNOWN}."
    );
    let unknown = json!({ "CodeSigningConfigArn": UNKNOWN });
    assert_eq!(service.create(unknown.clone()).await.error(), gone);
    service.created(json!({})).await;
    assert_eq!(service.of_function(Method::PUT, unknown).await.error(), gone);
    service.delete("/f").await;
    let arn = service.signing("Warn").await;
    for (method, body) in [
        (Method::PUT, json!({ "CodeSigningConfigArn": arn })),
        (Method::GET, Value::Null),
        (Method::DELETE, Value::Null),
    ] {
        let error = service.of_function(method, body).await.error();
        assert_eq!(error, format!("404 ResourceNotFoundException: Function not found: {ARN}"));
    }
}

#[tokio::test]
async fn configuration_that_a_function_has_cannot_be_deleted() {
    let service = service().await;
    let arn = service.signing("Warn").await;
    service.created(json!({ "CodeSigningConfigArn": arn })).await;
    let of_function = service.of_function(Method::GET, Value::Null).await.body;
    assert_eq!(of_function, json!({ "FunctionName": "f", "CodeSigningConfigArn": arn }));
    let path = format!("/{arn}");
    let refused = service.config(Method::DELETE, &path, Value::Null).await.error();
    assert!(refused.starts_with("409 ResourceConflictException: "), "{refused}");
    service.delete("/f").await;
    assert_eq!(service.config(Method::DELETE, &path, Value::Null).await.status, 204);
}

#[tokio::test]
async fn unsigned_packages_are_refused_if_the_policy_is_enforced() {
    let service = service().await;
    let (warn, enforce) = (service.signing("Warn").await, service.signing("Enforce").await);
    let refused = service.create(json!({ "CodeSigningConfigArn": enforce })).await.error();
    assert_eq!(refused, format!("{REFUSED}f."));
    assert_eq!(service.get("/f").await.status, 404);
    service.created(json!({ "CodeSigningConfigArn": warn })).await;
    assert_eq!(service.update_code(json!({ "ZipFile": package("2") })).await.status, 200);
    // What is deployed already stays.
    assert_eq!(
        service.of_function(Method::PUT, json!({ "CodeSigningConfigArn": enforce })).await.status,
        200
    );
    let before = service.get("/f").await.body;
    for dry_run in [true, false] {
        let update = json!({ "ZipFile": package("3"), "DryRun": dry_run });
        assert_eq!(service.update_code(update).await.error(), format!("{REFUSED}{ARN}."));
    }
    let layer = "arn:aws:lambda:us-east-1:123456789012:layer:l:1";
    let refused = service.update_configuration(json!({ "Layers": [layer] })).await.error();
    assert_eq!(refused, format!("{REFUSED}{layer}."));
    assert_eq!(service.get("/f").await.body, before);
    assert_eq!(service.update_configuration(json!({ "Description": "d" })).await.status, 200);
    assert_eq!(service.publish(json!({})).await.status, 201);
}

#[tokio::test(start_paused = true)]
async fn function_keeps_its_configuration_while_it_is_busy() {
    let delay = Duration::from_secs(30);
    let service = configured(ControlConfig { create_delay: delay, ..ControlConfig::default() }).await;
    let arn = service.signing("Warn").await;
    service.created(json!({ "CodeSigningConfigArn": arn })).await;
    for (method, body) in
        [(Method::PUT, json!({ "CodeSigningConfigArn": arn })), (Method::DELETE, Value::Null)]
    {
        let refused = service.of_function(method, body).await.error();
        assert!(refused.starts_with("409 ResourceConflictException: "), "{refused}");
    }
    tokio::time::sleep(delay * 2).await;
    assert_eq!(service.of_function(Method::DELETE, Value::Null).await.status, 204);
}

#[tokio::test]
async fn images_are_not_signed() {
    let service = service().await;
    let arn = service.signing("Enforce").await;
    let image = json!({
        "Runtime": null,
        "Handler": null,
        "PackageType": "Image",
        "Code": { "ImageUri": "123456789012.dkr.ecr.us-east-1.amazonaws.com/repo:latest" },
        "CodeSigningConfigArn": arn,
    });
    let expected = "400 InvalidParameterValueException: Code signing is not supported for functions created with \
                    container images.";
    assert_eq!(service.create(image.clone()).await.error(), expected);
    let mut unsigned = image;
    unsigned["CodeSigningConfigArn"] = Value::Null;
    service.created(unsigned).await;
    assert_eq!(service.of_function(Method::GET, Value::Null).await.error(), expected);
    let put = service.of_function(Method::PUT, json!({ "CodeSigningConfigArn": arn })).await;
    assert_eq!(put.error(), expected);
}

#[tokio::test]
async fn lists_come_in_pages() {
    let service = service().await;
    let mut arns = Vec::new();
    for _ in 0..3 {
        arns.push(service.signing("Warn").await);
    }
    for name in ["a", "b", "c"] {
        service.created(json!({ "FunctionName": name, "CodeSigningConfigArn": arns[0] })).await;
    }
    service.created(json!({})).await;
    arns.sort();
    let configs = service.pages(CONFIGS, "CodeSigningConfigs").await;
    let listed: Vec<_> = configs.iter().map(|config| config["CodeSigningConfigArn"].clone()).collect();
    assert_eq!(listed, arns);
    let mut functions = Vec::new();
    for arn in &arns {
        functions.extend(service.pages(&format!("{CONFIGS}/{arn}/functions"), "FunctionArns").await);
    }
    let expected =
        ["a", "b", "c"].map(|name| format!("arn:aws:lambda:us-east-1:123456789012:function:{name}"));
    assert_eq!(functions, expected);
    let bad = service.config(Method::GET, "?Marker=*", Value::Null).await;
    assert_eq!(bad.error(), "400 InvalidParameterValueException: Marker is invalid");
}

#[tokio::test]
async fn configurations_outlive_the_service() {
    let directory = tempfile::tempdir().unwrap();
    let before = durable(Default::default(), directory.path()).await;
    let arn = before.signing("Warn").await;
    before.created(json!({ "CodeSigningConfigArn": arn })).await;
    let path = format!("{CONFIGS}/{arn}");
    let shown = before.call(Method::GET, &path, Value::Null).await.body;
    before.control.shut_down().await;
    drop(before);
    let after = durable(Default::default(), directory.path()).await;
    assert_eq!(after.call(Method::GET, &path, Value::Null).await.body, shown);
    assert_eq!(after.of_function(Method::GET, Value::Null).await.text("CodeSigningConfigArn"), arn);
}
