//! Functions that run each tenant's invocations in environments of its own.

use std::sync::{
    Arc,
    atomic::{AtomicUsize, Ordering},
};

use hothouse_control::{ControlConfig, code::CodeStore, state::MemoryStore};
use hothouse_execution::executor::fake::FakeExecutor;
use http::{Method, Request};
use serde_json::{Value, json};
use tokio::sync::mpsc;

use crate::support::{Answer, FUNCTIONS, ROLE, Service, durable, open, service};

const MISSING: &str = "400 InvalidParameterValueException: The invoked function is enabled with tenancy configuration. \
                       Add a valid tenant ID in your request and try again.";
const UNWANTED: &str = "400 InvalidParameterValueException: The invoked function is not enabled with tenancy \
                        configuration. Remove the tenant ID from your request and try again.";

fn isolated() -> Value {
    json!({ "TenancyConfig": { "TenantIsolationMode": "PER_TENANT" } })
}

/// Answers with the environment's number and the tenant; tells the other end of each attempt, too.
async fn telling() -> (Service, mpsc::Receiver<String>) {
    let (told, hears) = mpsc::channel(100);
    let environments = AtomicUsize::new(0);
    let executor = FakeExecutor::new(move |mut runtime| {
        let number = environments.fetch_add(1, Ordering::Relaxed);
        let told = told.clone();
        async move {
            loop {
                let event = runtime.next().await;
                let tenant = event.headers.get("lambda-runtime-aws-tenant-id");
                let tenant = tenant.map_or("nobody", |tenant| tenant.to_str().unwrap());
                let answer = format!("{number} {tenant}");
                told.send(answer.clone()).await.unwrap();
                runtime.respond(&event.request_id, json!(answer).to_string()).await;
            }
        }
    });
    let config = ControlConfig::default();
    let code = CodeStore::ephemeral(&std::env::temp_dir(), config.limits.code_size_unzipped).unwrap();
    (open(config, Arc::<MemoryStore>::default(), code, executor).await, hears)
}

async fn invoke(service: &Service, tenant: Option<&str>, kind: &str) -> Answer {
    let mut request =
        Request::post(format!("{FUNCTIONS}/f/invocations")).header("x-amz-invocation-type", kind);
    if let Some(tenant) = tenant {
        request = request.header("x-amz-tenant-id", tenant);
    }
    service.send(request.body("{}").unwrap()).await
}

#[tokio::test]
async fn invocations_run_in_environments_of_their_tenants() {
    let (service, mut attempts) = telling().await;
    service.created(isolated()).await;
    for (tenant, answer) in [("blue", "0 blue"), ("red", "1 red"), ("blue", "0 blue")] {
        let told = invoke(&service, Some(tenant), "RequestResponse").await;
        assert_eq!((told.status, &told.body), (200, &json!(answer)));
        assert_eq!(attempts.recv().await.unwrap(), answer);
    }
    assert_eq!(invoke(&service, Some("red"), "Event").await.status, 202);
    assert_eq!(attempts.recv().await.unwrap(), "1 red");
    let stream = Request::post("/2021-11-15/functions/f/response-streaming-invocations");
    let stream = stream.header("x-amz-tenant-id", "blue").body("{}").unwrap();
    assert_eq!(service.respond(stream).await.status(), 200);
    assert_eq!(attempts.recv().await.unwrap(), "0 blue");
}

#[tokio::test]
async fn tenant_is_named_where_one_is_due_and_nowhere_else() {
    let service = service().await;
    service.created(isolated()).await;
    for kind in ["RequestResponse", "Event", "DryRun"] {
        assert_eq!(invoke(&service, None, kind).await.error(), MISSING, "{kind}");
    }
    let asynchronous = service.call(Method::POST, "/2014-11-13/functions/f/invoke-async", json!({})).await;
    assert!(asynchronous.error().starts_with("400 InvalidRequestContentException: "));
    assert_eq!(invoke(&service, Some("blue"), "DryRun").await.status, 204);
    let odd = invoke(&service, Some("b*"), "RequestResponse").await.error();
    assert_eq!(
        odd,
        "400 ValidationException: 1 validation error detected: Value 'b*' at 'tenantId' failed to satisfy constraint: \
         Member must satisfy regular expression pattern: [a-zA-Z0-9\\._:\\/=+\\-@ ]+"
    );
    service.delete("/f").await;
    service.created(json!({})).await;
    for kind in ["RequestResponse", "Event", "DryRun"] {
        assert_eq!(invoke(&service, Some("blue"), kind).await.error(), UNWANTED, "{kind}");
    }
}

#[tokio::test]
async fn configuration_is_shown_everywhere_kept_and_never_changed() {
    let directory = tempfile::tempdir().unwrap();
    let service = durable(ControlConfig::default(), directory.path()).await;
    let created = service.created(isolated()).await;
    assert_eq!(created.body["TenancyConfig"], isolated()["TenancyConfig"]);
    let updated = service.update_configuration(json!({ "Timeout": 9, "TenancyConfig": null })).await;
    assert_eq!(updated.body["TenancyConfig"], isolated()["TenancyConfig"]);
    assert_eq!(service.publish(json!({})).await.body["TenancyConfig"], isolated()["TenancyConfig"]);
    service.control.shut_down().await;
    drop(service);
    let service = durable(ControlConfig::default(), directory.path()).await;
    for path in ["/f/configuration", "/f:1/configuration"] {
        assert_eq!(service.get(path).await.body["TenancyConfig"], isolated()["TenancyConfig"], "{path}");
    }
    for version in service.get("/f/versions").await.body["Versions"].as_array().unwrap() {
        assert_eq!(version["TenancyConfig"], isolated()["TenancyConfig"]);
    }
    assert_eq!(invoke(&service, None, "RequestResponse").await.error(), MISSING);
}

#[tokio::test]
async fn what_cannot_know_tenants_is_refused() {
    let service = service().await;
    let both = |members: Value| {
        let mut all = isolated();
        all.as_object_mut().unwrap().extend(members.as_object().unwrap().clone());
        all
    };
    assert_eq!(
        service.create(both(json!({ "TenancyConfig": { "TenantIsolationMode": "NONE" } }))).await.error(),
        "400 ValidationException: 1 validation error detected: Value 'NONE' at 'tenancyConfig.tenantIsolationMode' \
         failed to satisfy constraint: Member must satisfy enum value set: [PER_TENANT]"
    );
    let snap_start = json!({ "SnapStart": { "ApplyOn": "PublishedVersions" } });
    const SNAP_START: &str =
        "400 InvalidParameterValueException: TenancyConfig is not supported for SnapStart enabled functions.";
    assert_eq!(service.create(both(snap_start.clone())).await.error(), SNAP_START);
    service.created(both(json!({ "Publish": true }))).await;
    assert_eq!(service.update_configuration(snap_start).await.error(), SNAP_START);

    let refused = |what: &str| {
        format!(
            "400 InvalidParameterValueException: {what} is not supported for functions enabled with tenancy \
             configuration."
        )
    };
    let url = "/2021-10-31/functions/f/url";
    let url = service.call(Method::POST, url, json!({ "AuthType": "NONE" })).await;
    assert_eq!(url.error(), refused("Function URL"));
    let provisioned = "/2019-09-30/functions/f/provisioned-concurrency?Qualifier=1";
    let provisioned =
        service.call(Method::PUT, provisioned, json!({ "ProvisionedConcurrentExecutions": 1 })).await;
    assert_eq!(provisioned.error(), refused("Provisioned Concurrency"));
    const MAPPINGS: &str = "/2015-03-31/event-source-mappings";
    let queue = json!({ "FunctionName": "f", "EventSourceArn": "arn:aws:sqs:us-east-1:123456789012:q" });
    let mapping = service.call(Method::POST, MAPPINGS, queue.clone()).await;
    assert_eq!(mapping.error(), refused("Event source mapping"));
    // Nor may one be moved to it.
    service.created(json!({ "FunctionName": "g" })).await;
    let mut other = queue;
    other["FunctionName"] = "g".into();
    let mapping = service.call(Method::POST, MAPPINGS, other).await;
    let path = format!("{MAPPINGS}/{}", mapping.text("UUID"));
    let moved = service.call(Method::PUT, &path, json!({ "FunctionName": "f" })).await;
    assert_eq!(moved.error(), refused("Event source mapping"));

    service
        .call(
            Method::POST,
            "/2025-11-30/capacity-providers",
            json!({
                "CapacityProviderName": "p",
                "VpcConfig": { "SubnetIds": ["subnet-1"], "SecurityGroupIds": ["sg-1"] },
                "PermissionsConfig": { "CapacityProviderOperatorRoleArn": ROLE },
            }),
        )
        .await;
    let managed = both(json!({
        "FunctionName": "h",
        "Runtime": "python3.13",
        "CapacityProviderConfig": { "LambdaManagedInstancesCapacityProviderConfig": {
            "CapacityProviderArn": "arn:aws:lambda:us-east-1:123456789012:capacity-provider:p",
        } },
    }));
    assert_eq!(
        service.create(managed).await.error(),
        "400 InvalidParameterValueException: TenancyConfig isn't supported for Lambda Managed Instances functions."
    );
}
