//! Provisioned concurrency: what may be configured, and the environments that come of it.

use std::{sync::Arc, time::Duration};

use hothouse_control::{
    ControlConfig,
    code::CodeStore,
    state::{MemoryStore, SqliteStore},
};
use hothouse_execution::{
    environment::InitializationType,
    executor::fake::{EXIT_0, FakeExecutor},
};
use http::Method;
use serde_json::{Value, json};
use tokio::sync::watch;

use crate::{
    scenario::Scenario,
    support::{ARN, Answer, Service, open, package},
};

const RECORDED: &str = include_str!("recorded/settings.json");

/// Where the processes of provisioned environments are led.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Gate {
    /// They wait in their INIT.
    Closed,
    /// They pass.
    Open,
    /// They exit.
    Pit,
}

/// Processes that answer every event with how their environment came to be.
fn telling(gate: watch::Receiver<Gate>) -> FakeExecutor {
    FakeExecutor::new(move |mut runtime| {
        let mut gate = gate.clone();
        async move {
            let provisioned = runtime.launch().initialization == InitializationType::ProvisionedConcurrency;
            if provisioned {
                let gate = *gate.wait_for(|gate| *gate != Gate::Closed).await.unwrap();
                if gate == Gate::Pit {
                    return EXIT_0;
                }
            }
            loop {
                let event = runtime.next().await;
                let answer = if provisioned { r#""provisioned""# } else { r#""on demand""# };
                runtime.respond(&event.request_id, answer).await;
            }
        }
    })
}

/// The function `f` with version 1, and what its provisioned environments wait for.
async fn with_version(config: ControlConfig, gate: Gate) -> (Service, watch::Sender<Gate>) {
    let (sender, receiver) = watch::channel(gate);
    let code = CodeStore::ephemeral(&std::env::temp_dir(), config.limits.code_size_unzipped).unwrap();
    let service = open(config, Arc::<MemoryStore>::default(), code, telling(receiver)).await;
    service.created(json!({ "Publish": true })).await;
    (service, sender)
}

async fn opened() -> Service {
    with_version(ControlConfig::default(), Gate::Open).await.0
}

async fn call(service: &Service, method: Method, function: &str, query: &str, body: Value) -> Answer {
    let path = format!("/2019-09-30/functions/{function}/provisioned-concurrency?{query}");
    service.call(method, &path, body).await
}

async fn put(service: &Service, qualifier: &str, executions: u32) -> Answer {
    let body = json!({ "ProvisionedConcurrentExecutions": executions });
    call(service, Method::PUT, "f", &format!("Qualifier={qualifier}"), body).await
}

async fn get(service: &Service, qualifier: &str) -> Answer {
    call(service, Method::GET, "f", &format!("Qualifier={qualifier}"), Value::Null).await
}

async fn delete(service: &Service, qualifier: &str) -> Answer {
    call(service, Method::DELETE, "f", &format!("Qualifier={qualifier}"), Value::Null).await
}

async fn list(service: &Service, query: &str) -> Answer {
    call(service, Method::GET, "f", &format!("List=ALL&{query}"), Value::Null).await
}

async fn reserve(service: &Service, executions: u32) -> Answer {
    let body = json!({ "ReservedConcurrentExecutions": executions });
    service.call(Method::PUT, "/2017-10-31/functions/f/concurrency", body).await
}

async fn alias(service: &Service, name: &str, version: &str) {
    let answer = service.post("/f/aliases", json!({ "Name": name, "FunctionVersion": version })).await;
    assert_eq!(answer.status, 201, "{:#}", answer.body);
}

async fn invoke(service: &Service, function: &str) -> Answer {
    service.post(&format!("/{function}/invocations"), json!({})).await
}

/// Waits for what must come to pass.
async fn eventually<F: Future<Output = bool>>(what: &str, condition: impl Fn() -> F) {
    let deadline = std::time::Instant::now() + Duration::from_secs(30);
    while !condition().await {
        assert!(std::time::Instant::now() < deadline, "{what}");
        tokio::time::sleep(Duration::from_millis(2)).await;
    }
}

/// Waits until a configuration is no longer in progress.
async fn settled(service: &Service, qualifier: &str) -> Value {
    eventually("it settles", async || get(service, qualifier).await.text("Status") != "IN_PROGRESS").await;
    get(service, qualifier).await.body
}

/// The versions that provisioned environments are of.
fn environments(service: &Service) -> Vec<String> {
    let all = service.engine.environments().into_iter();
    let provisioned = |kind| kind == InitializationType::ProvisionedConcurrency;
    let mut versions: Vec<_> =
        all.filter(|info| provisioned(info.initialization_type)).map(|info| info.version).collect();
    versions.sort();
    versions
}

#[tokio::test]
async fn configuration_lives_as_recorded() {
    let (service, gate) = with_version(ControlConfig::default(), Gate::Closed).await;
    let mut scenario = Scenario::of(RECORDED, "provisioned");
    let answer = put(&service, "1", 5).await;
    assert_eq!(answer.status, 202);
    scenario.check("put_provisioned_5", &answer.body);
    scenario.check("get_provisioned_prewait", &get(&service, "1").await.body);
    gate.send(Gate::Open).unwrap();
    scenario.check("get_provisioned_postwait", &settled(&service, "1").await);
    scenario.all_checked();
    assert_eq!(environments(&service), ["1"; 5]);
    assert_eq!(invoke(&service, "f:1").await.body, "provisioned");
    assert_eq!(invoke(&service, "f").await.body, "on demand");

    assert_eq!(put(&service, "1", 2).await.text("Status"), "IN_PROGRESS");
    let two = settled(&service, "1").await;
    let counts = ["Requested", "Allocated", "Available"]
        .map(|count| two[format!("{count}ProvisionedConcurrentExecutions")].as_i64().unwrap());
    assert_eq!(counts, [2; 3]);
    assert_eq!(delete(&service, "1").await.status, 204);
    let none = "404 ProvisionedConcurrencyConfigNotFoundException: No Provisioned Concurrency Config found for this \
                function";
    assert_eq!(get(&service, "1").await.error(), none);
    assert_eq!(delete(&service, "1").await.status, 204, "nothing is as deleted as what is not there");
    eventually("they end", async || environments(&service).is_empty()).await;
    assert_eq!(invoke(&service, "f:1").await.body, "on demand");
}

#[tokio::test]
async fn refusals_are_in_the_words_of_aws() {
    let service = opened().await;
    service.update_code(json!({ "ZipFile": package("2"), "Publish": true })).await;
    alias(&service, "one", "1").await;
    alias(&service, "latest", "$LATEST").await;
    let invalid = "400 InvalidParameterValueException";
    let missing = "404 ResourceNotFoundException";
    let unpublished = format!(
        "{invalid}: Provisioned Concurrency Configs cannot be applied to unpublished function versions."
    );
    let neither =
        format!("{invalid}: The function resource provided must be an alias or a published version.");
    let cases = [
        ("$LATEST", unpublished.clone(), neither.clone()),
        ("7", format!("{missing}: Function not found: {ARN}:7"), String::new()),
        ("nobody", format!("{missing}: Cannot find alias arn: {ARN}:nobody"), String::new()),
    ];
    for (qualifier, refused, otherwise) in cases {
        let otherwise = if otherwise.is_empty() { &refused } else { &otherwise };
        assert_eq!(put(&service, qualifier, 1).await.error(), refused);
        assert_eq!(get(&service, qualifier).await.error(), *otherwise);
        assert_eq!(delete(&service, qualifier).await.error(), *otherwise);
    }
    assert_eq!(put(&service, "latest", 1).await.error(), unpublished);
    assert!(put(&service, "1", 0).await.error().starts_with("400 ValidationException"));
    let body = json!({ "ProvisionedConcurrentExecutions": 1 });
    let error = call(&service, Method::PUT, "f:2", "Qualifier=1", body.clone()).await.error();
    let differ = "The derived qualifier from the function name does not match the specified qualifier.";
    assert_eq!(error, format!("{invalid}: {differ}"));
    let error = call(&service, Method::PUT, "g", "Qualifier=1", body).await.error();
    assert_eq!(error, format!("{missing}: Function not found: {}g", ARN.strip_suffix('f').unwrap()));
    let error = call(&service, Method::GET, "g", "List=ALL", Value::Null).await.error();
    assert_eq!(error, format!("{missing}: Function not found: {}g", ARN.strip_suffix('f').unwrap()));

    // A version has it in one way or the other.
    assert_eq!(put(&service, "1", 1).await.status, 202);
    let provisioned = "409 ResourceConflictException: Alias can't be used for Provisioned Concurrency configuration on \
                       an already Provisioned version";
    assert_eq!(put(&service, "one", 1).await.error(), provisioned);
    alias(&service, "two", "2").await;
    assert_eq!(put(&service, "two", 1).await.status, 202);
    let pointed = "409 ResourceConflictException: Version is pointed by a Provisioned Concurrency alias";
    assert_eq!(put(&service, "2", 1).await.error(), pointed);
    let moved = service.put("/f/aliases/two", json!({ "FunctionVersion": "1" })).await;
    assert_eq!(moved.error(), provisioned);
    let moved = service.put("/f/aliases/two", json!({ "FunctionVersion": "$LATEST" })).await;
    assert_eq!(moved.error(), unpublished);
    delete(&service, "1").await;
    let weights = json!({ "RoutingConfig": { "AdditionalVersionWeights": { "2": 0.5 } } });
    assert_eq!(service.put("/f/aliases/one", weights).await.status, 200);
    let weighted = "Alias with weights can not be used with Provisioned Concurrency";
    assert_eq!(put(&service, "one", 1).await.error(), format!("{invalid}: {weighted}"));
}

#[tokio::test]
async fn quotas_are_kept_as_recorded() {
    let service = opened().await;
    let mut scenario = Scenario::of(RECORDED, "provisioned_limits");
    let unreserved = async || {
        let settings = service.call(Method::GET, "/2016-08-19/account-settings", Value::Null).await.body;
        settings["AccountLimit"]["UnreservedConcurrentExecutions"].as_i64().unwrap()
    };
    let over = put(&service, "1", 1001).await;
    scenario.check("put_provisioned_concurrency_account_limit_exceeded", &over.body);
    assert!(over.text("message").ends_with("[1000]."), "{over:?}");
    let below = put(&service, "1", 1000).await;
    scenario.check("put_provisioned_concurrency_below_unreserved_min_value", &below.body);
    assert!(below.text("message").ends_with("[100]."), "{below:?}");
    scenario.all_checked();

    // What is provisioned is part of what is reserved, if anything is.
    assert_eq!(unreserved().await, 1000);
    put(&service, "1", 2).await;
    assert_eq!(unreserved().await, 998);
    reserve(&service, 5).await;
    assert_eq!(unreserved().await, 995);
    let error = "400 InvalidParameterValueException: Specified ReservedConcurrentExecutions for function decreases \
                 account's UnreservedConcurrentExecution below its minimum value of [100].";
    let refused = reserve(&service, 901).await;
    assert_eq!((refused.error().as_str(), refused.body.get("Type")), (error, None));
    assert_eq!(reserve(&service, 900).await.status, 200);
    service.created(json!({ "FunctionName": "g", "Publish": true })).await;
    let body = json!({ "ProvisionedConcurrentExecutions": 1 });
    let error = call(&service, Method::PUT, "g", "Qualifier=1", body).await.error();
    assert!(error.ends_with("below its minimum value of [100]."), "{error}");
}

#[tokio::test]
async fn reserved_and_provisioned_concurrency_overlap_as_recorded() {
    let (service, gate) = with_version(ControlConfig::default(), Gate::Closed).await;
    let mut scenario = Scenario::of(RECORDED, "overlap");
    scenario.check("put_provisioned_5", &put(&service, "1", 2).await.body);
    scenario.check("get_provisioned_prewait", &get(&service, "1").await.body);
    gate.send(Gate::Open).unwrap();
    scenario.check("get_provisioned_postwait", &settled(&service, "1").await);
    scenario.check("reserved_lower_than_provisioned_exc", &reserve(&service, 1).await.body);
    assert_eq!(reserve(&service, 2).await.status, 200);
    let reserved = service.call(Method::GET, "/2019-09-30/functions/f/concurrency", Value::Null).await;
    scenario.check("get_concurrency", &reserved.body);
    let throttled = invoke(&service, "f").await;
    assert_eq!(throttled.status, 429);
    scenario.check("reserved_equals_provisioned_latest_invoke_exc", &throttled.body);
    for _ in 0..3 {
        assert_eq!(invoke(&service, "f:1").await.body, "provisioned");
    }
    service.update_code(json!({ "ZipFile": package("2"), "Publish": true })).await;
    let another = put(&service, "2", 1).await;
    scenario.check("reserved_equals_provisioned_another_provisioned_exc", &another.body);
    let more = put(&service, "1", 3).await;
    scenario.check("reserved_equals_provisioned_increase_provisioned_exc", &more.body);
    scenario.all_checked();
}

#[tokio::test]
async fn environments_go_where_their_alias_goes() {
    let service = opened().await;
    service.update_code(json!({ "ZipFile": package("2"), "Publish": true })).await;
    alias(&service, "live", "1").await;
    put(&service, "live", 4).await;
    settled(&service, "live").await;
    assert_eq!(environments(&service), ["1"; 4]);
    assert_eq!(invoke(&service, "f:live").await.body, "provisioned");

    let moved = service.put("/f/aliases/live", json!({ "FunctionVersion": "2" })).await;
    assert_eq!(moved.status, 200, "{:#}", moved.body);
    assert_eq!(settled(&service, "live").await["AvailableProvisionedConcurrentExecutions"], 4);
    eventually("they are of the other version", async || environments(&service) == ["2"; 4]).await;
    assert_eq!(invoke(&service, "f:live").await.body, "provisioned");
    assert_eq!(invoke(&service, "f:1").await.body, "on demand");

    // An alias of two versions shares them out.
    let weights = json!({ "RoutingConfig": { "AdditionalVersionWeights": { "1": 0.25 } } });
    assert_eq!(service.put("/f/aliases/live", weights).await.status, 200);
    assert_eq!(settled(&service, "live").await["AvailableProvisionedConcurrentExecutions"], 4);
    eventually("one is of the first", async || environments(&service) == ["1", "2", "2", "2"]).await;

    // What changes nothing starts nothing.
    let described = service.put("/f/aliases/live", json!({ "Description": "x" })).await;
    assert_eq!(described.status, 200);
    assert_eq!(get(&service, "live").await.text("Status"), "READY");
    service.delete("/f/aliases/live").await;
    eventually("they end", async || environments(&service).is_empty()).await;
}

#[tokio::test]
async fn environments_stay_until_those_of_the_next_version_are_there() {
    let (service, gate) = with_version(ControlConfig::default(), Gate::Open).await;
    service.update_code(json!({ "ZipFile": package("2"), "Publish": true })).await;
    alias(&service, "live", "1").await;
    put(&service, "live", 2).await;
    settled(&service, "live").await;
    gate.send_replace(Gate::Closed);
    service.put("/f/aliases/live", json!({ "FunctionVersion": "2" })).await;
    eventually("the new ones start", async || environments(&service).contains(&"2".to_owned())).await;
    assert_eq!(environments(&service), ["1", "1", "2", "2"]);
    assert_eq!(get(&service, "live").await.text("Status"), "IN_PROGRESS");
    assert_eq!(invoke(&service, "f:1").await.status, 200, "who invokes the old version is served");
    gate.send_replace(Gate::Open);
    assert_eq!(settled(&service, "live").await["AvailableProvisionedConcurrentExecutions"], 2);
    eventually("the old ones go", async || environments(&service) == ["2", "2"]).await;
    assert_eq!(invoke(&service, "f:live").await.body, "provisioned");
}

#[tokio::test]
async fn environments_end_with_what_they_are_for() {
    let service = opened().await;
    put(&service, "1", 2).await;
    settled(&service, "1").await;
    service.delete("/f?Qualifier=1").await;
    eventually("they end with their version", async || environments(&service).is_empty()).await;
    service.publish(json!({})).await;
    put(&service, "2", 2).await;
    settled(&service, "2").await;
    service.delete("/f").await;
    eventually("they end with their function", async || environments(&service).is_empty()).await;
    service.created(json!({ "Publish": true })).await;
    assert_eq!(list(&service, "").await.body, json!({ "ProvisionedConcurrencyConfigs": [] }));
    assert_eq!(get(&service, "1").await.status, 404);
}

#[tokio::test]
async fn environments_that_cannot_start_are_a_failure_until_asked_for_anew() {
    let (service, gate) = with_version(ControlConfig::default(), Gate::Pit).await;
    put(&service, "1", 2).await;
    let failed = settled(&service, "1").await;
    assert_eq!(
        (&failed["Status"], &failed["StatusReason"]),
        (&json!("FAILED"), &json!("FUNCTION_ERROR_INIT_FAILURE"))
    );
    assert_eq!(failed["AvailableProvisionedConcurrentExecutions"], 0);
    assert_eq!(invoke(&service, "f:1").await.body, "on demand");
    gate.send(Gate::Open).unwrap();
    // Another alias changes nothing about it.
    alias(&service, "other", "1").await;
    assert_eq!(get(&service, "1").await.text("Status"), "FAILED");
    assert_eq!(put(&service, "1", 2).await.text("Status"), "IN_PROGRESS");
    let ready = settled(&service, "1").await;
    assert_eq!((&ready["Status"], ready.get("StatusReason")), (&json!("READY"), None));
    assert_eq!(list(&service, "").await.body["ProvisionedConcurrencyConfigs"][0]["Status"], "READY");
}

#[tokio::test]
async fn images_cannot_be_provisioned() {
    let service = opened().await;
    service.delete("/f").await;
    let image = json!({
        "Runtime": null,
        "Handler": null,
        "PackageType": "Image",
        "Publish": true,
        "Code": { "ImageUri": "123456789012.dkr.ecr.us-east-1.amazonaws.com/repo:latest" },
    });
    service.created(image).await;
    assert_eq!(put(&service, "1", 1).await.status, 202);
    assert_eq!(settled(&service, "1").await["Status"], "FAILED");
}

#[tokio::test(start_paused = true)]
async fn configuration_is_in_progress_for_as_long_as_configured() {
    let delay = Duration::from_secs(3600);
    let config = ControlConfig { provisioned_concurrency_delay: delay, ..ControlConfig::default() };
    let (service, _gate) = with_version(config, Gate::Open).await;
    put(&service, "1", 1).await;
    tokio::time::sleep(delay / 2).await;
    assert_eq!(get(&service, "1").await.text("Status"), "IN_PROGRESS");
    tokio::time::sleep(delay).await;
    assert_eq!(get(&service, "1").await.text("Status"), "READY");
}

#[tokio::test]
async fn lists_come_in_pages_and_stay_in_their_account() {
    let mut service = opened().await;
    for content in ["2", "3"] {
        service.update_code(json!({ "ZipFile": package(content), "Publish": true })).await;
    }
    alias(&service, "live", "3").await;
    for qualifier in ["live", "2", "1"] {
        put(&service, qualifier, 1).await;
    }
    let arns = |body: &Value| -> Vec<String> {
        let configs = body["ProvisionedConcurrencyConfigs"].as_array().unwrap();
        configs.iter().map(|config| config["FunctionArn"].as_str().unwrap().to_owned()).collect()
    };
    let first = list(&service, "MaxItems=2").await.body;
    assert_eq!(arns(&first), [format!("{ARN}:1"), format!("{ARN}:2")]);
    let rest = list(&service, &format!("Marker={}", first["NextMarker"].as_str().unwrap())).await.body;
    assert_eq!((arns(&rest), rest.get("NextMarker")), (vec![format!("{ARN}:live")], None));
    let error = list(&service, "Marker=*").await.error();
    assert_eq!(error, "400 InvalidParameterValueException: Marker is invalid");

    service.account = "210987654321";
    assert_eq!(list(&service, "").await.status, 404);
    service.created(json!({ "Publish": true })).await;
    assert_eq!(list(&service, "").await.body, json!({ "ProvisionedConcurrencyConfigs": [] }));
    service.account = "123456789012";
    service.region = "eu-west-1";
    let elsewhere = call(&service, Method::GET, ARN, "Qualifier=1", Value::Null).await.error();
    assert_eq!(
        elsewhere,
        "404 ResourceNotFoundException: Functions from 'us-east-1' are not reachable in this region ('eu-west-1')"
    );
}

#[tokio::test]
async fn environments_are_started_again_after_a_restart() {
    let directory = tempfile::tempdir().unwrap();
    let start = async |gate: Gate| {
        let (sender, receiver) = watch::channel(gate);
        let store = Arc::new(SqliteStore::open(&directory.path().join("state.db")).unwrap());
        let code = CodeStore::open(directory.path().join("code"), 1 << 20).unwrap();
        (open(ControlConfig::default(), store, code, telling(receiver)).await, sender)
    };
    let modified = {
        let (service, _gate) = start(Gate::Open).await;
        service.created(json!({ "Publish": true })).await;
        put(&service, "1", 2).await;
        let ready = settled(&service, "1").await;
        service.control.shut_down().await;
        service.engine.shut_down().await;
        ready["LastModified"].clone()
    };
    let (service, gate) = start(Gate::Closed).await;
    let begun = get(&service, "1").await.body;
    assert_eq!((&begun["Status"], &begun["LastModified"]), (&json!("IN_PROGRESS"), &modified));
    gate.send(Gate::Open).unwrap();
    assert_eq!(settled(&service, "1").await["AvailableProvisionedConcurrentExecutions"], 2);
    assert_eq!(environments(&service), ["1"; 2]);
    assert_eq!(invoke(&service, "f:1").await.body, "provisioned");
}
