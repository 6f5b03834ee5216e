//! `$LATEST.PUBLISHED`: the published version that changes, of functions on a capacity provider.

use hothouse_control::{ControlConfig, Limits};
use http::Method;
use serde_json::{Value, json};

use crate::{
    capacity_providers::managed,
    support::{ARN, Service, configured, durable, package, service},
};

const PUBLISHED: &str = "$LATEST.PUBLISHED";
const TO: &str = "LATEST_PUBLISHED";

async fn versions(service: &Service) -> Vec<String> {
    let page = service.get("/f/versions").await.body;
    page["Versions"]
        .as_array()
        .unwrap()
        .iter()
        .map(|version| version["Version"].as_str().unwrap().into())
        .collect()
}

async fn invoked(service: &Service, target: &str) -> String {
    let answer = service.post(&format!("/{target}/invocations"), json!({})).await;
    match answer.headers.get("x-amz-executed-version") {
        Some(version) => version.to_str().unwrap().to_owned(),
        None => answer.error(),
    }
}

fn unpublished() -> String {
    "400 NoPublishedVersionException: The function has no version $LATEST.PUBLISHED: publish one (PublishTo \
     LATEST_PUBLISHED), or name another version or an alias."
        .into()
}

#[tokio::test]
async fn publication_makes_it_and_replaces_it() {
    let service = service().await;
    service.provided("p").await;
    service.created(managed(json!({}))).await;
    assert_eq!(versions(&service).await, ["$LATEST"]);
    let missing = format!("404 ResourceNotFoundException: Function not found: {ARN}:{PUBLISHED}");
    assert_eq!(service.get(&format!("/f?Qualifier={PUBLISHED}")).await.error(), missing);

    let first = service.publish(json!({ "PublishTo": TO, "Description": "one" })).await;
    assert_eq!(
        (first.text("FunctionArn"), first.text("Version"), first.text("State"), first.text("Description")),
        (format!("{ARN}:{PUBLISHED}").as_str(), PUBLISHED, "Pending", "one")
    );
    assert_eq!(versions(&service).await, ["$LATEST", PUBLISHED]);
    let shown = service.get(&format!("/f:{PUBLISHED}/configuration")).await;
    assert_eq!((shown.text("State"), shown.text("LastUpdateStatus")), ("Active", "Successful"));
    assert_eq!(service.get(&format!("/f?Qualifier={PUBLISHED}")).await.body["Configuration"], shown.body);
    // Nothing has changed since.
    let again = service.publish(json!({ "PublishTo": TO, "Description": "two" })).await;
    assert_eq!((again.status, again.text("RevisionId")), (201, shown.text("RevisionId")));

    // Numbers go on as if it were not there.
    assert_eq!(service.publish(json!({})).await.text("Version"), "1");
    service.update_configuration(json!({ "Description": "changed" })).await;
    let second = service.publish(json!({ "PublishTo": TO })).await;
    assert_eq!(
        (second.text("State"), second.text("LastUpdateStatus"), second.text("Description")),
        ("Active", "InProgress", "changed")
    );
    assert_ne!(second.text("RevisionId"), shown.text("RevisionId"));
    assert_eq!(service.get("/f:1/configuration").await.text("Description"), "");
    assert_eq!(versions(&service).await, ["$LATEST", PUBLISHED, "1"]);
    assert_eq!(service.pages("/2015-03-31/functions/f/versions", "Versions").await.len(), 3);
    let first = service.get("?FunctionVersion=ALL&MaxItems=2").await.body;
    let rest =
        service.get(&format!("?FunctionVersion=ALL&Marker={}", first["NextMarker"].as_str().unwrap())).await;
    let all = [&first["Functions"], &rest.body["Functions"]].map(|page| page.as_array().unwrap().clone());
    let all: Vec<_> = all.iter().flatten().map(|version| version["FunctionArn"].as_str().unwrap()).collect();
    assert_eq!(all, [format!("{ARN}:$LATEST"), format!("{ARN}:{PUBLISHED}"), format!("{ARN}:1")]);
    let on_provider = "/2025-11-30/capacity-providers/p/function-versions";
    assert_eq!(service.pages(on_provider, "FunctionVersions").await.len(), 3);
}

#[tokio::test]
async fn it_is_what_an_unqualified_invocation_of_such_a_function_means() {
    let service = service().await;
    service.provided("p").await;
    service.created(managed(json!({}))).await;
    assert_eq!(invoked(&service, "f").await, unpublished());
    assert_eq!(invoked(&service, "f:$LATEST.PUBLISHED").await, unpublished());
    const LATEST: &str = "409 ResourceConflictException: The operation cannot be performed at this time. The function \
                          is currently in the following state: ActiveNonInvocable";
    assert_eq!(invoked(&service, "f:$LATEST").await, LATEST);
    service.publish(json!({})).await;
    assert_eq!(invoked(&service, "f").await, unpublished());
    assert_eq!(invoked(&service, "f:1").await, "1");
    service.publish(json!({ "PublishTo": TO })).await;
    assert_eq!(invoked(&service, "f").await, PUBLISHED);
    assert_eq!(invoked(&service, "f:$LATEST.PUBLISHED").await, PUBLISHED);
    assert_eq!(invoked(&service, "f:$LATEST").await, LATEST);
    // Other functions have none, and need none.
    service.created(json!({ "FunctionName": "plain", "Publish": true })).await;
    assert_eq!(invoked(&service, "plain").await, "$LATEST");
    assert_eq!(invoked(&service, "plain:$LATEST.PUBLISHED").await, unpublished());
}

#[tokio::test]
async fn creation_and_new_code_publish_there() {
    let service = service().await;
    service.provided("p").await;
    let created = service.created(managed(json!({ "Publish": true, "PublishTo": TO }))).await;
    assert_eq!((created.text("Version"), created.text("FunctionArn")), (PUBLISHED, ARN));
    assert_eq!(versions(&service).await, ["$LATEST", PUBLISHED]);
    let code = json!({ "ZipFile": package("2"), "Publish": true, "PublishTo": TO });
    let updated = service.update_code(code.clone()).await;
    assert_eq!(
        (updated.text("Version"), updated.text("FunctionArn"), updated.text("LastUpdateStatus")),
        (PUBLISHED, format!("{ARN}:{PUBLISHED}").as_str(), "InProgress")
    );
    let now = service.get(&format!("/f:{PUBLISHED}/configuration")).await;
    assert_eq!(now.text("CodeSha256"), updated.text("CodeSha256"));
    // The same code is the same version.
    assert_eq!(service.update_code(code).await.text("RevisionId"), now.text("RevisionId"));
    assert_eq!(service.publish(json!({})).await.text("Version"), "1");
}

#[tokio::test]
async fn everything_that_takes_versions_takes_it() {
    let service = service().await;
    service.provided("p").await;
    service.created(managed(json!({ "PublishTo": TO }))).await;
    let qualified = format!("Qualifier={PUBLISHED}");

    let alias = service.post("/f/aliases", json!({ "Name": "live", "FunctionVersion": PUBLISHED })).await;
    assert_eq!(alias.text("FunctionVersion"), PUBLISHED);
    assert_eq!(invoked(&service, "f:live").await, PUBLISHED);
    let listed = service.get(&format!("/f/aliases?FunctionVersion={PUBLISHED}")).await;
    assert_eq!(listed.body["Aliases"].as_array().unwrap().len(), 1);

    let scaling = format!("/2025-11-30/functions/f/function-scaling-config?{qualified}");
    let limits = json!({ "FunctionScalingConfig": { "MinExecutionEnvironments": 1 } });
    assert_eq!(service.call(Method::PUT, &scaling, limits.clone()).await.text("FunctionState"), "Active");
    // It stays when the version is another.
    service.update_configuration(json!({ "Description": "changed" })).await;
    service.publish(json!({ "PublishTo": TO })).await;
    let got = service.call(Method::GET, &scaling, Value::Null).await;
    assert_eq!(got.body["AppliedFunctionScalingConfig"], limits["FunctionScalingConfig"]);

    let events = format!("/2019-09-25/functions/f/event-invoke-config?{qualified}");
    let put = service.call(Method::PUT, &events, json!({ "MaximumRetryAttempts": 0 })).await;
    assert_eq!(put.text("FunctionArn"), format!("{ARN}:{PUBLISHED}"));
    let runtime = format!("/2021-07-20/functions/f/runtime-management-config?{qualified}");
    assert_eq!(service.call(Method::GET, &runtime, Value::Null).await.status, 200);
    let permission =
        json!({ "StatementId": "s", "Action": "lambda:InvokeFunction", "Principal": "s3.amazonaws.com" });
    assert_eq!(service.post(&format!("/f/policy?{qualified}"), permission).await.status, 201);
    let policy = service.get(&format!("/f/policy?{qualified}")).await;
    assert!(policy.text("Policy").contains(PUBLISHED), "{}", policy.body);

    let deletion = format!("/f?{qualified}");
    assert_eq!(
        service.delete(&deletion).await.error(),
        "409 ResourceConflictException: Unable to delete version because the following aliases reference it: [live]"
    );
    service.delete("/f/aliases/live").await;
    assert_eq!(service.delete(&deletion).await.status, 204);
    assert_eq!(versions(&service).await, ["$LATEST"]);
    let missing = format!("404 ResourceNotFoundException: Function not found: {ARN}:{PUBLISHED}");
    assert_eq!(service.delete(&deletion).await.error(), missing);
    // What was set for it went, too.
    service.publish(json!({ "PublishTo": TO })).await;
    assert_eq!(service.call(Method::GET, &events, Value::Null).await.status, 404);
}

#[tokio::test]
async fn it_counts_as_one_version_of_its_provider_however_often_it_is_published() {
    let limits = Limits { function_versions_per_capacity_provider: 1, ..Limits::default() };
    let service = configured(ControlConfig { limits, ..ControlConfig::default() }).await;
    service.provided("p").await;
    service.created(managed(json!({ "PublishTo": TO }))).await;
    for code in ["2", "3"] {
        let code = json!({ "ZipFile": package(code), "Publish": true, "PublishTo": TO });
        assert_eq!(service.update_code(code).await.status, 200);
        service.update_configuration(json!({ "Description": fastrand::u64(..).to_string() })).await;
        assert_eq!(service.publish(json!({ "PublishTo": TO })).await.status, 201);
    }
    let full = "400 FunctionVersionsPerCapacityProviderLimitExceededException";
    assert!(service.publish(json!({})).await.error().starts_with(full));
}

#[tokio::test]
async fn it_survives_and_is_busy_until_it_is_ready() {
    let directory = tempfile::tempdir().unwrap();
    let service = durable(ControlConfig::default(), directory.path()).await;
    service.provided("p").await;
    service.created(managed(json!({}))).await;
    service.control.shut_down().await;
    drop(service);
    // Longer than any test.
    let config =
        ControlConfig { create_delay: std::time::Duration::from_secs(86_400), ..ControlConfig::default() };
    let service = durable(config.clone(), directory.path()).await;
    service.publish(json!({ "PublishTo": TO })).await;
    service.update_configuration(json!({ "Description": "changed" })).await;
    assert_eq!(
        service.publish(json!({ "PublishTo": TO })).await.error(),
        format!(
            "409 ResourceConflictException: The operation cannot be performed at this time. The resource \
             {ARN}:{PUBLISHED} is currently in the following state: 'Pending'. StateReasonCode: 'Creating'"
        )
    );
    service.control.shut_down().await;
    drop(service);
    let service = durable(config, directory.path()).await;
    assert_eq!(versions(&service).await, ["$LATEST", PUBLISHED]);
    assert_eq!(service.get(&format!("/f:{PUBLISHED}/configuration")).await.text("State"), "Active");
    assert_eq!(invoked(&service, "f").await, PUBLISHED);
}
