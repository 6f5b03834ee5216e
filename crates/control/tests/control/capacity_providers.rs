//! Capacity providers, functions on them, and their scaling configurations.

use std::time::Duration;

use hothouse_control::{ControlConfig, Limits};
use http::Method;
use serde_json::{Value, json};

use crate::support::{ARN, Answer, Service, configured, durable, package, request, service};

const PROVIDERS: &str = "/2025-11-30/capacity-providers";
const PROVIDER: &str = "arn:aws:lambda:us-east-1:123456789012:capacity-provider:p";
const INVALID: &str = "400 InvalidParameterValueException";

impl Service {
    async fn provider(&self, method: Method, path: &str, body: Value) -> Answer {
        self.call(method, &format!("{PROVIDERS}{path}"), body).await
    }

    pub(crate) async fn provided(&self, name: &str) -> Value {
        let created = self.provider(Method::POST, "", provider(name, json!({}))).await;
        assert_eq!(created.status, 202, "{:#}", created.body);
        created.body["CapacityProvider"].clone()
    }

    async fn state(&self, name: &str) -> String {
        let got = self.provider(Method::GET, &format!("/{name}"), Value::Null).await;
        got.body["CapacityProvider"]["State"].as_str().map_or(got.status.to_string(), str::to_owned)
    }

    async fn scaling(&self, method: Method, qualifier: &str, body: Value) -> Answer {
        let path = format!("/2025-11-30/functions/f/function-scaling-config?Qualifier={qualifier}");
        self.call(method, &path, body).await
    }
}

fn provider(name: &str, members: Value) -> Value {
    let mut request = json!({
        "CapacityProviderName": name,
        "VpcConfig": { "SubnetIds": ["subnet-1"], "SecurityGroupIds": ["sg-1"] },
        "PermissionsConfig": { "CapacityProviderOperatorRoleArn": "arn:aws:iam::123456789012:role/operator" },
    });
    for (name, value) in members.as_object().unwrap() {
        request[name] = value.clone();
    }
    request
}

pub(crate) fn managed(members: Value) -> Value {
    let mut function = json!({ "Runtime": "python3.13", "CapacityProviderConfig": on(PROVIDER) });
    for (name, value) in members.as_object().unwrap() {
        function[name] = value.clone();
    }
    function
}

fn on(provider: &str) -> Value {
    json!({ "LambdaManagedInstancesCapacityProviderConfig": { "CapacityProviderArn": provider } })
}

#[tokio::test]
async fn providers_come_change_and_go() {
    let service = service().await;
    let telemetry = json!({ "LoggingConfig": { "SystemLogLevel": "INFO" } });
    let members = json!({
        "InstanceRequirements": { "Architectures": ["arm64"], "AllowedInstanceTypes": ["m8g.*"] },
        "CapacityProviderScalingConfig": { "MaxVCpuCount": 30 },
        "KmsKeyArn": "arn:aws:kms:us-east-1:123456789012:key/k",
        "TelemetryConfig": telemetry,
    });
    let created = service.provider(Method::POST, "", provider("p", members)).await;
    assert_eq!(created.status, 202);
    let mut expected = json!({
        "CapacityProviderArn": PROVIDER,
        "State": "Pending",
        "VpcConfig": { "SubnetIds": ["subnet-1"], "SecurityGroupIds": ["sg-1"] },
        "PermissionsConfig": { "CapacityProviderOperatorRoleArn": "arn:aws:iam::123456789012:role/operator" },
        "InstanceRequirements": { "Architectures": ["arm64"], "AllowedInstanceTypes": ["m8g.*"] },
        "CapacityProviderScalingConfig": { "MaxVCpuCount": 30, "ScalingMode": "Auto" },
        "KmsKeyArn": "arn:aws:kms:us-east-1:123456789012:key/k",
        "LastModified": created.body["CapacityProvider"]["LastModified"],
        "TelemetryConfig": telemetry,
    });
    assert_eq!(created.body, json!({ "CapacityProvider": expected }));
    expected["State"] = json!("Active");
    for path in ["/p", &format!("/{PROVIDER}")] {
        let got = service.provider(Method::GET, path, Value::Null).await;
        assert_eq!((got.status, &got.body["CapacityProvider"]), (200, &expected));
    }
    let policies = json!([
        { "PredefinedMetricType": "LambdaCapacityProviderAverageCPUUtilization", "TargetValue": 70.0 }
    ]);
    let manual =
        json!({ "CapacityProviderScalingConfig": { "ScalingMode": "Manual", "ScalingPolicies": policies } });
    let updated = service.provider(Method::PUT, "/p", manual).await;
    assert_eq!(updated.status, 202);
    let scaling = &updated.body["CapacityProvider"]["CapacityProviderScalingConfig"];
    assert_eq!(*scaling, json!({ "MaxVCpuCount": 30, "ScalingMode": "Manual", "ScalingPolicies": policies }));
    let back = json!({ "CapacityProviderScalingConfig": { "ScalingMode": "Auto" }, "PropagateTags": { "Mode": "None" } });
    let updated = service.provider(Method::PUT, "/p", back).await.body;
    let updated = &updated["CapacityProvider"];
    assert_eq!(
        updated["CapacityProviderScalingConfig"],
        json!({ "MaxVCpuCount": 30, "ScalingMode": "Auto" })
    );
    assert_eq!(updated["PropagateTags"], json!({ "Mode": "None" }));
    assert_eq!(updated["TelemetryConfig"], telemetry);
    let deleted = service.provider(Method::DELETE, "/p", Value::Null).await;
    assert_eq!((deleted.status, &deleted.body["CapacityProvider"]["State"]), (202, &json!("Deleting")));
    assert_eq!(
        service.provider(Method::GET, "/p", Value::Null).await.error(),
        format!("404 ResourceNotFoundException: Capacity provider not found: {PROVIDER}")
    );
}

#[tokio::test]
async fn providers_that_cannot_be_are_refused() {
    let limits = Limits { capacity_providers: 1, ..Limits::default() };
    let service = configured(ControlConfig { limits, ..ControlConfig::default() }).await;
    let both = json!({ "AllowedInstanceTypes": ["m8g.*"], "ExcludedInstanceTypes": ["m7g.*"] });
    let cases = [
        (json!({ "InstanceRequirements": both }), INVALID),
        (json!({ "CapacityProviderScalingConfig": { "ScalingMode": "Manual" } }), INVALID),
        (json!({ "Tags": { "aws:reserved": "x" } }), INVALID),
        (json!({ "VpcConfig": { "SubnetIds": [], "SecurityGroupIds": [] } }), "400 ValidationException"),
        (
            json!({ "CapacityProviderName": "arn:aws:lambda:eu-west-1:123456789012:capacity-provider:p" }),
            INVALID,
        ),
    ];
    for (members, expected) in cases {
        let error = service.provider(Method::POST, "", provider("p", members)).await.error();
        assert!(error.starts_with(expected), "{error}");
    }
    service.provided("p").await;
    let again = service.provider(Method::POST, "", provider("p", json!({}))).await.error();
    assert_eq!(again, format!("409 ResourceConflictException: Capacity provider already exists: {PROVIDER}"));
    let more = service.provider(Method::POST, "", provider("q", json!({}))).await.error();
    assert!(more.starts_with("400 CapacityProviderLimitExceededException"), "{more}");
    let unknown = "404 ResourceNotFoundException: Capacity provider not found: arn:aws:lambda:us-east-1:123456789012:capacity-provider:q";
    for (method, path) in [
        (Method::GET, "/q"),
        (Method::PUT, "/q"),
        (Method::DELETE, "/q"),
        (Method::GET, "/q/function-versions"),
    ] {
        let body = if method == Method::PUT { json!({}) } else { Value::Null };
        assert_eq!(service.provider(method, path, body).await.error(), unknown);
    }
}

#[tokio::test(start_paused = true)]
async fn passing_states_last_as_long_as_configured() {
    let delay = Duration::from_secs(30);
    let service =
        configured(ControlConfig { capacity_provider_delay: delay, ..ControlConfig::default() }).await;
    service.provided("p").await;
    assert_eq!(service.state("p").await, "Pending");
    for method in [Method::PUT, Method::DELETE] {
        let body = if method == Method::PUT { json!({}) } else { Value::Null };
        let refused = service.provider(method, "/p", body).await.error();
        assert!(refused.starts_with("409 ResourceConflictException"), "{refused}");
    }
    tokio::time::sleep(delay * 2).await;
    assert_eq!(service.state("p").await, "Active");
    service.provider(Method::DELETE, "/p", Value::Null).await;
    assert_eq!(service.state("p").await, "Deleting");
    let late = service.create(managed(json!({}))).await.error();
    assert!(late.starts_with("409 ResourceConflictException"), "{late}");
    tokio::time::sleep(delay * 2).await;
    assert_eq!(service.state("p").await, "404");
}

#[tokio::test]
async fn passing_states_end_with_the_service() {
    let directory = tempfile::tempdir().unwrap();
    let slow =
        ControlConfig { capacity_provider_delay: Duration::from_secs(3600), ..ControlConfig::default() };
    let before = durable(ControlConfig::default(), directory.path()).await;
    for name in ["p", "leaving"] {
        before.provided(name).await;
    }
    before.created(managed(json!({ "Publish": true }))).await;
    before.control.shut_down().await;
    drop(before);
    let before = durable(slow.clone(), directory.path()).await;
    let shown = before.provider(Method::GET, "/p", Value::Null).await.body;
    before.provided("coming").await;
    before.provider(Method::DELETE, "/leaving", Value::Null).await;
    let scaling = json!({ "MinExecutionEnvironments": 1, "MaxExecutionEnvironments": 2 });
    before.scaling(Method::PUT, "1", json!({ "FunctionScalingConfig": scaling })).await;
    let pending = before.scaling(Method::GET, "1", Value::Null).await.body;
    assert_eq!(
        pending,
        json!({ "FunctionArn": format!("{ARN}:1"), "RequestedFunctionScalingConfig": scaling })
    );
    before.control.shut_down().await;
    drop(before);
    let after = durable(slow, directory.path()).await;
    assert_eq!((after.state("coming").await, after.state("leaving").await), ("Active".into(), "404".into()));
    assert_eq!(after.provider(Method::GET, "/p", Value::Null).await.body, shown);
    let applied = after.scaling(Method::GET, "1", Value::Null).await.body;
    assert_eq!(applied["AppliedFunctionScalingConfig"], scaling);
}

#[tokio::test]
async fn functions_on_a_provider_are_shown_with_its_defaults() {
    let service = service().await;
    service.provided("p").await;
    let created = service.created(managed(json!({}))).await;
    let expected = json!({ "LambdaManagedInstancesCapacityProviderConfig": {
        "CapacityProviderArn": PROVIDER,
        "PerExecutionEnvironmentMaxConcurrency": 16,
        "ExecutionEnvironmentMemoryGiBPerVCpu": 2.0,
    } });
    assert_eq!(created.body["CapacityProviderConfig"], expected);
    assert_eq!((&created.body["MemorySize"], created.body.get("SnapStart")), (&json!(2048), None));
    let logging = json!({
        "LogFormat": "JSON",
        "ApplicationLogLevel": "INFO",
        "SystemLogLevel": "INFO",
        "LogGroup": "/aws/lambda/f",
    });
    assert_eq!(created.body["LoggingConfig"], logging);
    assert_eq!(
        (created.text("State"), created.text("LastUpdateStatus")),
        ("ActiveNonInvocable", "Successful")
    );
    let published = service.publish(json!({})).await;
    assert_eq!((published.text("State"), &published.body["CapacityProviderConfig"]), ("Pending", &expected));
    assert_eq!(service.get("/f/configuration?Qualifier=1").await.text("State"), "Active");
    let update = json!({ "CapacityProviderConfig": { "LambdaManagedInstancesCapacityProviderConfig": {
        "CapacityProviderArn": PROVIDER,
        "PerExecutionEnvironmentMaxConcurrency": 8,
    } } });
    let updated = service.update_configuration(update).await.body;
    let updated = &updated["CapacityProviderConfig"]["LambdaManagedInstancesCapacityProviderConfig"];
    assert_eq!(updated["PerExecutionEnvironmentMaxConcurrency"], 8);
    // There are no instances to run it on, so it runs as any other.
    let invoked = service.post("/f/invocations?Qualifier=1", json!({ "x": 1 })).await;
    assert_eq!((invoked.status, invoked.body), (200, json!({ "x": 1 })));
}

#[tokio::test]
async fn functions_on_a_provider_may_be_larger() {
    let service = service().await;
    service.provided("p").await;
    let sizes = json!({ "MemorySize": 32768, "Timeout": 5400, "EphemeralStorage": { "Size": 32768 } });
    service.created(managed(sizes.clone())).await;
    assert_eq!(service.update_configuration(json!({ "Timeout": 5000 })).await.body["Timeout"], 5000);
    service.created(json!({ "FunctionName": "plain" })).await;
    for (member, name, most) in [
        ("MemorySize", "memorySize", 10_240),
        ("Timeout", "timeout", 900),
        ("EphemeralStorage", "ephemeralStorage.size", 10_240),
    ] {
        let value = sizes[member].get("Size").unwrap_or(&sizes[member]);
        let expected = format!(
            "400 ValidationException: 1 validation error detected: Value '{value}' at '{name}' failed to satisfy \
             constraint: Member must have value less than or equal to {most}"
        );
        let update = json!({ member: sizes[member] });
        assert_eq!(service.put("/plain/configuration", update.clone()).await.error(), expected);
        assert_eq!(service.create(update).await.error(), expected);
    }
}

#[tokio::test]
async fn functions_that_cannot_be_on_a_provider_are_refused() {
    let limits = Limits { function_versions_per_capacity_provider: 2, ..Limits::default() };
    let service = configured(ControlConfig { limits, ..ControlConfig::default() }).await;
    service.provided("p").await;
    let elsewhere = "arn:aws:lambda:eu-west-1:123456789012:capacity-provider:p";
    let unknown = "arn:aws:lambda:us-east-1:123456789012:capacity-provider:q";
    let not_found = "404 ResourceNotFoundException: Capacity provider not found";
    let cases = [
        (json!({ "CapacityProviderConfig": on(unknown) }), format!("{not_found}: {unknown}")),
        (json!({ "CapacityProviderConfig": on(elsewhere) }), format!("{not_found}: {elsewhere}")),
        (
            json!({ "Runtime": "python3.12" }),
            format!(
                "{INVALID}: Runtime Enum python3.12 does not support specified feature: Lambda Managed Instances"
            ),
        ),
        (
            json!({ "LoggingConfig": { "LogFormat": "Text" } }),
            format!(
                "{INVALID}: LogLevel is not supported when LogFormat is set to \"Text\". Remove LogLevel from your \
                 request or change the LogFormat to \"JSON\" and try again."
            ),
        ),
        (
            json!({ "MemorySize": 1024 }),
            format!(
                "{INVALID}: 'MemorySize' value failed to satisfy constraint: Member must have value greater than or \
                 equal to 2048"
            ),
        ),
        (
            json!({ "SnapStart": { "ApplyOn": "PublishedVersions" } }),
            format!("{INVALID}: SnapStart is not supported for Lambda Managed Instances functions."),
        ),
    ];
    for (members, expected) in cases {
        assert_eq!(service.create(managed(members)).await.error(), expected);
    }
    service.created(json!({ "FunctionName": "plain" })).await;
    let moved = service.put("/plain/configuration", json!({ "CapacityProviderConfig": on(PROVIDER) })).await;
    assert_eq!(
        moved.error(),
        format!("{INVALID}: CapacityProviderConfig isn't supported for Lambda Default functions.")
    );
    service.created(managed(json!({ "Publish": true }))).await;
    service.created(managed(json!({ "FunctionName": "unpublished" }))).await;
    service.update_configuration(json!({ "Description": "c" })).await;
    assert_eq!(service.publish(json!({})).await.status, 201);
    let full = "400 FunctionVersionsPerCapacityProviderLimitExceededException";
    let another = service.create(managed(json!({ "FunctionName": "g", "Publish": true }))).await.error();
    assert!(another.starts_with(full), "{another}");
    service.update_configuration(json!({ "Description": "d" })).await;
    let more = service.publish(json!({})).await.error();
    assert!(more.starts_with(full), "{more}");
    let more = service.update_code(json!({ "ZipFile": package("2"), "Publish": true })).await.error();
    assert!(more.starts_with(full), "{more}");
    assert_eq!(service.update_code(json!({ "ZipFile": package("2") })).await.status, 200);
}

#[tokio::test]
async fn provider_in_use_cannot_be_deleted() {
    let service = service().await;
    for name in ["p", "q"] {
        service.provided(name).await;
    }
    service.created(managed(json!({ "Publish": true }))).await;
    let refused = service.provider(Method::DELETE, "/p", Value::Null).await.error();
    assert!(refused.starts_with("409 ResourceConflictException"), "{refused}");
    let q = PROVIDER.replace(":p", ":q").replace("capacity-qrovider", "capacity-provider");
    let moved = service.update_configuration(json!({ "CapacityProviderConfig": on(&q) })).await;
    assert_eq!(moved.status, 200, "{:#}", moved.body);
    let refused = service.provider(Method::DELETE, "/p", Value::Null).await.status;
    assert_eq!(refused, 409, "a version is still on it");
    service.delete("/f:1").await;
    assert_eq!(service.provider(Method::DELETE, "/p", Value::Null).await.status, 202);
    assert_eq!(service.provider(Method::DELETE, "/q", Value::Null).await.status, 409);
    service.delete("/f").await;
    assert_eq!(service.provider(Method::DELETE, "/q", Value::Null).await.status, 202);
}

#[tokio::test]
async fn lists_come_in_pages() {
    let delay = Duration::from_secs(3600);
    let service =
        configured(ControlConfig { capacity_provider_delay: delay, ..ControlConfig::default() }).await;
    for name in ["c", "p", "b"] {
        service.provided(name).await;
    }
    let names = |providers: Vec<Value>| {
        let name = |provider: Value| {
            provider["CapacityProviderArn"].as_str().unwrap().rsplit_once(':').unwrap().1.to_owned()
        };
        providers.into_iter().map(name).collect::<Vec<_>>()
    };
    assert_eq!(names(service.pages(PROVIDERS, "CapacityProviders").await), ["b", "c", "p"]);
    for (state, expected) in [("Pending", 3), ("Active", 0)] {
        let listed = service.provider(Method::GET, &format!("?State={state}"), Value::Null).await.body;
        assert_eq!(listed["CapacityProviders"].as_array().unwrap().len(), expected);
    }
    for name in ["f", "e"] {
        service.created(managed(json!({ "FunctionName": name, "Publish": true }))).await;
    }
    service.created(json!({ "FunctionName": "plain" })).await;
    let versions = service.pages(&format!("{PROVIDERS}/p/function-versions"), "FunctionVersions").await;
    let function = |name, version| {
        let state = if version == "$LATEST" { "ActiveNonInvocable" } else { "Active" };
        json!({
            "FunctionArn": format!("arn:aws:lambda:us-east-1:123456789012:function:{name}:{version}"),
            "State": state,
        })
    };
    let expected =
        [function("e", "$LATEST"), function("e", "1"), function("f", "$LATEST"), function("f", "1")];
    assert_eq!(versions, expected);
    let page = service.provider(Method::GET, "/p/function-versions", Value::Null).await.body;
    assert_eq!(page["CapacityProviderArn"], PROVIDER);
}

#[tokio::test(start_paused = true)]
async fn scaling_waits_for_the_version() {
    let delay = Duration::from_secs(30);
    let service = configured(ControlConfig { create_delay: delay, ..ControlConfig::default() }).await;
    service.provided("p").await;
    service.created(managed(json!({ "Publish": true }))).await;
    let refused = service.scaling(Method::PUT, "1", json!({})).await.error();
    assert!(refused.starts_with("409 ResourceConflictException: "), "{refused}");
    tokio::time::sleep(delay * 2).await;
    assert_eq!(service.scaling(Method::PUT, "1", json!({})).await.status, 202);
}

#[tokio::test(start_paused = true)]
async fn scaling_is_kept_for_versions_on_a_provider() {
    let delay = Duration::from_secs(30);
    let service =
        configured(ControlConfig { capacity_provider_delay: delay, ..ControlConfig::default() }).await;
    service.provided("p").await;
    let scaling = json!({ "MinExecutionEnvironments": 1, "MaxExecutionEnvironments": 2 });
    let body = json!({ "FunctionScalingConfig": scaling });
    let missing = format!("404 ResourceNotFoundException: Function not found: {ARN}");
    assert_eq!(service.scaling(Method::PUT, "1", body.clone()).await.error(), format!("{missing}:1"));
    service.created(managed(json!({ "Publish": true }))).await;
    assert_eq!(service.scaling(Method::GET, "2", Value::Null).await.error(), format!("{missing}:2"));
    let none = service.scaling(Method::GET, "1", Value::Null).await;
    assert_eq!((none.status, none.body), (200, json!({ "FunctionArn": format!("{ARN}:1") })));
    let put = service.scaling(Method::PUT, "1", body.clone()).await;
    assert_eq!((put.status, put.body), (202, json!({ "FunctionState": "Active" })));
    let soon = service.scaling(Method::GET, "1", Value::Null).await.body;
    assert_eq!(soon.get("AppliedFunctionScalingConfig"), None);
    tokio::time::sleep(delay * 2).await;
    let applied = service.scaling(Method::GET, "1", Value::Null).await.body;
    assert_eq!(
        applied,
        json!({
            "FunctionArn": format!("{ARN}:1"),
            "AppliedFunctionScalingConfig": scaling,
            "RequestedFunctionScalingConfig": scaling,
        })
    );
    let upside_down =
        json!({ "FunctionScalingConfig": { "MinExecutionEnvironments": 3, "MaxExecutionEnvironments": 2 } });
    let error = service.scaling(Method::PUT, "1", upside_down).await.error();
    assert!(error.starts_with(INVALID), "{error}");
    let alias = service.scaling(Method::GET, "alias", Value::Null).await.error();
    assert!(alias.starts_with("400 ValidationException"), "{alias}");
    service.delete("/f").await;
    tokio::time::sleep(delay * 2).await;
    service.post("", request(json!({ "Publish": true }))).await;
    assert_eq!(
        service.scaling(Method::PUT, "1", body).await.error(),
        format!("{INVALID}: FunctionScalingConfig isn't supported for Lambda Default functions.")
    );
}

/// State of a version, as it is shown.
async fn state(service: &Service, qualifier: &str) -> String {
    let shown = service.get(&format!("/f/configuration?Qualifier={qualifier}")).await;
    if shown.status == 200 { shown.text("State").to_owned() } else { shown.error() }
}

fn at_most(environments: u32) -> Value {
    json!({ "FunctionScalingConfig": {
        "MinExecutionEnvironments": 0, "MaxExecutionEnvironments": environments,
    } })
}

#[tokio::test(start_paused = true)]
async fn version_without_environments_is_deactivated_until_it_may_have_some() {
    let delay = Duration::from_secs(30);
    let service =
        configured(ControlConfig { capacity_provider_delay: delay, ..ControlConfig::default() }).await;
    service.provided("p").await;
    service.created(managed(json!({ "Publish": true }))).await;
    let put = service.scaling(Method::PUT, "1", at_most(0)).await;
    assert_eq!(put.body, json!({ "FunctionState": "Deactivating" }));
    assert_eq!(state(&service, "1").await, "Deactivating");
    let cannot = "409 ResourceConflictException: The operation cannot be performed at this time.";
    let again = service.scaling(Method::PUT, "1", at_most(1)).await.error();
    assert_eq!(
        again,
        format!("{cannot} The resource {ARN}:1 is currently in the following state: 'Deactivating'")
    );
    tokio::time::sleep(delay * 2).await;
    assert_eq!(state(&service, "1").await, "Deactivated");
    let invoked = service.post("/f/invocations?Qualifier=1", json!({})).await.error();
    assert_eq!(invoked, format!("{cannot} The function is currently in the following state: Deactivated"));
    let put = service.scaling(Method::PUT, "1", at_most(1)).await;
    assert_eq!(put.body, json!({ "FunctionState": "Pending" }));
    tokio::time::sleep(delay * 2).await;
    assert_eq!(state(&service, "1").await, "Active");
    assert_eq!(service.post("/f/invocations?Qualifier=1", json!({})).await.status, 200);
}

#[tokio::test]
async fn states_end_at_once_without_a_delay() {
    let service = service().await;
    service.provided("p").await;
    service.created(managed(json!({ "PublishTo": "LATEST_PUBLISHED" }))).await;
    let latest = "$LATEST.PUBLISHED";
    let put = service.scaling(Method::PUT, latest, at_most(0)).await;
    assert_eq!(put.body, json!({ "FunctionState": "Deactivating" }));
    assert_eq!(state(&service, latest).await, "Deactivated");
    // What takes its place has no environments either.
    service.update_configuration(json!({ "Description": "changed" })).await;
    assert_eq!(
        service.publish(json!({ "PublishTo": "LATEST_PUBLISHED" })).await.text("State"),
        "Deactivated"
    );
    assert_eq!(state(&service, latest).await, "Deactivated");
    service.scaling(Method::PUT, latest, at_most(3)).await;
    assert_eq!(state(&service, latest).await, "Active");
    assert_eq!(service.delete(&format!("/f?Qualifier={latest}")).await.status, 204);
    assert_eq!(service.delete("/f").await.status, 204);
}

#[tokio::test(start_paused = true)]
async fn what_is_on_a_provider_leaves_it_before_it_is_gone() {
    let delay = Duration::from_secs(30);
    let service =
        configured(ControlConfig { capacity_provider_delay: delay, ..ControlConfig::default() }).await;
    service.provided("p").await;
    service.created(managed(json!({ "Publish": true }))).await;
    assert_eq!(service.delete("/f?Qualifier=1").await.status, 202);
    assert_eq!(state(&service, "1").await, "Deleting");
    assert_eq!(state(&service, "$LATEST").await, "ActiveNonInvocable");
    let cannot = "409 ResourceConflictException: The operation cannot be performed at this time.";
    let invoked = service.post("/f/invocations?Qualifier=1", json!({})).await.error();
    assert_eq!(invoked, format!("{cannot} The function is currently in the following state: Deleting"));
    assert_eq!(service.delete("/f?Qualifier=1").await.status, 202);
    tokio::time::sleep(delay * 2).await;
    let gone = format!("404 ResourceNotFoundException: Function not found: {ARN}");
    assert_eq!(state(&service, "1").await, format!("{gone}:1"));

    assert_eq!(service.delete("/f").await.status, 202);
    assert_eq!(state(&service, "$LATEST").await, "Deleting");
    let update = service.update_configuration(json!({ "Timeout": 4 })).await.error();
    assert_eq!(
        update,
        format!("{cannot} The resource {ARN} is currently in the following state: 'Deleting'")
    );
    assert!(service.create(json!({})).await.error().contains("Function already exist"));
    tokio::time::sleep(delay * 2).await;
    assert_eq!(state(&service, "$LATEST").await, format!("{gone}:$LATEST"));
    assert_eq!(service.provider(Method::DELETE, "/p", Value::Null).await.status, 202);
}

#[tokio::test]
async fn states_on_a_provider_survive_and_a_start_ends_those_that_pass() {
    let directory = tempfile::tempdir().unwrap();
    // Longer than any test.
    let delay = Duration::from_secs(86_400);
    let config = ControlConfig { capacity_provider_delay: delay, ..ControlConfig::default() };
    let mut service = durable(config.clone(), directory.path()).await;
    service.provided("p").await;
    service.created(managed(json!({ "Publish": true }))).await;
    service.scaling(Method::PUT, "1", at_most(0)).await;
    assert_eq!(state(&service, "1").await, "Deactivating");
    for _ in 0..2 {
        service = again(service, &config, directory.path()).await;
        assert_eq!(state(&service, "1").await, "Deactivated");
    }
    assert_eq!(service.delete("/f?Qualifier=1").await.status, 202);
    assert_eq!(state(&service, "1").await, "Deleting");
    service = again(service, &config, directory.path()).await;
    let gone = format!("404 ResourceNotFoundException: Function not found: {ARN}");
    assert_eq!(state(&service, "1").await, format!("{gone}:1"));
    assert_eq!(service.delete("/f").await.status, 202);
    service = again(service, &config, directory.path()).await;
    assert_eq!(state(&service, "$LATEST").await, format!("{gone}:$LATEST"));
}

/// The same service, started anew.
async fn again(service: Service, config: &ControlConfig, directory: &std::path::Path) -> Service {
    service.control.shut_down().await;
    drop(service);
    durable(config.clone(), directory).await
}
