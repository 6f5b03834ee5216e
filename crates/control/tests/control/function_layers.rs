//! Layers of functions: which are accepted, how long they last, what functions see of them.

use std::{
    collections::BTreeMap,
    path::{Path, PathBuf},
    sync::{Arc, Mutex},
};

use hothouse_control::{ControlConfig, Limits, code::CodeStore, state::MemoryStore};
use hothouse_execution::executor::fake::FakeExecutor;
use http::Method;
use serde_json::{Value, json};

use crate::{
    layers::archive,
    packages::{packages, wait_for_packages},
    support::{Service, configured, durable, open, package, service},
};

const INVALID: &str = "400 InvalidParameterValueException";
const LAYER: &str = "arn:aws:lambda:us-east-1:123456789012:layer";
const OTHER: &str = "210987654321";

/// The layers that a function, a version or an alias has.
async fn layers_of(service: &Service, function: &str) -> Vec<String> {
    let configuration = service.get(&format!("/{function}/configuration")).await.body;
    let layers = configuration["Layers"].as_array().cloned().unwrap_or_default();
    layers.iter().map(|layer| layer["Arn"].as_str().unwrap().to_owned()).collect()
}

/// Both ways to give a function layers answer alike.
async fn refusal(service: &Service, layers: Value) -> String {
    let update = service.update_configuration(json!({ "Layers": layers })).await.error();
    let create = service.create(json!({ "FunctionName": "new", "Layers": layers })).await.error();
    assert_eq!(create, update);
    update
}

#[tokio::test]
async fn layers_that_aws_refuses_are_refused_in_its_words() {
    let service = service().await;
    service.created(json!({})).await;
    for _ in 0..2 {
        service.layer("l", &[("a", "")]).await;
    }
    let [one, two] = [1, 2].map(|version| format!("{LAYER}:l:{version}"));
    let same =
        "Two different versions of the same layer are not allowed to be referenced in the same function.";
    for (first, second) in [(&one, &two), (&one, &one)] {
        assert_eq!(
            refusal(&service, json!([first, second])).await,
            format!("{INVALID}: {same} {first} and {second} are versions of the same layer.")
        );
    }
    for missing in [
        format!("{LAYER}:none:1"),
        format!("{LAYER}:l:9"),
        format!("{LAYER}:l:0"),
        format!("{LAYER}:l:99999999999999999999"),
        "arn:aws:lambda:::awslayer:AmazonLinux1803".to_owned(),
    ] {
        assert_eq!(
            refusal(&service, json!([missing])).await,
            format!("{INVALID}: Layer version {missing} does not exist.")
        );
    }
    let six: Vec<_> = (0..6).map(|number| format!("{LAYER}:l{number}:1")).collect();
    assert_eq!(
        refusal(&service, json!(six)).await,
        format!("{INVALID}: Cannot reference more than 5 layers.")
    );
    let abroad = service.elsewhere(service.account, "eu-west-1").layer("l", &[("a", "")]).await;
    assert_eq!(
        refusal(&service, json!([abroad])).await,
        format!(
            "{INVALID}: Layers are not in the same region as the function. Layers are expected to be in region \
             us-east-1."
        )
    );
    let unversioned = refusal(&service, json!([format!("{LAYER}:l")])).await;
    assert!(unversioned.starts_with("400 ValidationException: 1 validation error detected"), "{unversioned}");
    assert_eq!(layers_of(&service, "f").await, [""; 0]);
    assert_eq!(service.get("/new").await.status, 404);
    let unknown = service.put("/unknown/configuration", json!({ "Layers": [format!("{LAYER}:l:9")] })).await;
    assert_eq!(unknown.status, 404, "the function comes first");
}

#[tokio::test]
async fn layers_of_other_accounts_need_their_permission() {
    let service = service().await;
    service.created(json!({})).await;
    let other = service.elsewhere(OTHER, "us-east-1");
    let arn = other.layer("l", &[("a", "")]).await;
    let missing = arn.replace(":1", ":2");
    let denied = |arn: &str| {
        format!(
            "403 AccessDeniedException: User: arn:aws:iam::123456789012:root is not authorized to perform: \
             lambda:GetLayerVersion on resource: {arn} because no resource-based policy allows the \
             lambda:GetLayerVersion action"
        )
    };
    for arn in [&arn, &missing] {
        assert_eq!(refusal(&service, json!([arn])).await, denied(arn));
    }
    other.permit("l", 1, json!({ "Principal": "123456789012" })).await;
    let updated = service.update_configuration(json!({ "Layers": [arn] })).await;
    assert_eq!(updated.body["Layers"][0]["Arn"], json!(arn));

    // Who has it keeps it.
    other.layers(Method::DELETE, "/l/versions/1/policy/s1", Value::Null).await;
    assert_eq!(
        service.update_configuration(json!({ "Timeout": 7 })).await.body["Layers"][0]["Arn"],
        json!(arn)
    );
    assert_eq!(service.update_configuration(json!({ "Layers": [arn] })).await.error(), denied(&arn));

    let abroad = service.elsewhere(OTHER, "eu-west-1");
    let arn = abroad.layer("l", &[("a", "")]).await;
    assert_eq!(refusal(&service, json!([arn])).await, denied(&arn));
    abroad.permit("l", 1, json!({})).await;
    assert!(refusal(&service, json!([arn])).await.contains("Layers are not in the same region"));
}

#[tokio::test]
async fn updates_replace_layers_as_a_whole() {
    let service = service().await;
    let mut layers = Vec::new();
    for name in ["a", "b", "c", "d", "e"] {
        layers.push(service.layer(name, &[("a", name)]).await);
    }
    let created = service.created(json!({ "Layers": layers })).await.body;
    let shown: Vec<_> = created["Layers"].as_array().unwrap().iter().map(|layer| &layer["Arn"]).collect();
    assert_eq!(shown, layers.iter().collect::<Vec<_>>(), "in their order");
    assert_eq!(created["Layers"][0]["CodeSize"], base64_length(&archive(&[("a", "a")])));
    assert_eq!(service.publish(json!({})).await.body["Layers"], created["Layers"]);
    assert_eq!(service.get("").await.body["Functions"][0]["Layers"], created["Layers"]);

    layers.reverse();
    service.update_configuration(json!({ "Layers": layers })).await;
    assert_eq!(layers_of(&service, "f").await, layers);
    service.update_configuration(json!({ "Timeout": 7 })).await;
    assert_eq!(layers_of(&service, "f").await, layers);
    assert_eq!(service.publish(json!({})).await.text("Version"), "2", "the order counts");
    let cleared = service.update_configuration(json!({ "Layers": [] })).await.body;
    assert_eq!(cleared.get("Layers"), None);
    layers.reverse();
    assert_eq!(layers_of(&service, "f:1").await, layers);
}

fn base64_length(text: &str) -> usize {
    text.len() / 4 * 3 - text.bytes().rev().take_while(|byte| *byte == b'=').count()
}

#[tokio::test]
async fn deleted_versions_stay_with_the_functions_that_have_them() {
    let directory = tempfile::tempdir().unwrap();
    let service = durable(ControlConfig::default(), directory.path()).await;
    let arn = service.layer("l", &[("a", "")]).await;
    let layers = json!([arn]);
    service.created(json!({ "Layers": layers })).await;
    service.delete_layer("l", 1).await;
    service.update_configuration(json!({ "Timeout": 7 })).await;
    service.update_code(json!({ "ZipFile": package("2") })).await;
    service.publish(json!({})).await;
    for function in ["f", "f:1"] {
        assert_eq!(layers_of(&service, function).await, [arn.as_str()]);
    }
    wait_for_packages(directory.path(), 2).await;
    service.control.shut_down().await;
    drop(service);

    let service = durable(ControlConfig::default(), directory.path()).await;
    assert_eq!(packages(directory.path()), 2, "a restart collects nothing that is used");
    let missing = format!("{INVALID}: Layer version {arn} does not exist.");
    let new = json!({ "FunctionName": "new", "Layers": layers });
    assert_eq!(service.create(new).await.error(), missing);
    assert_eq!(service.update_configuration(json!({ "Layers": layers })).await.error(), missing);
    service.update_configuration(json!({ "Layers": [] })).await;
    service.delete("/f:1").await;
    wait_for_packages(directory.path(), 1).await;
}

#[tokio::test]
async fn code_and_layers_have_a_size_together() {
    let limits = Limits { code_size_unzipped: 100, ..Limits::default() };
    let service = configured(ControlConfig { limits, ..ControlConfig::default() }).await;
    let sixty = service.layer("sixty", &[("a", &"0".repeat(60)), ("b/", "")]).await;
    let one = service.layer("one", &[("a", "0")]).await;
    let code = |size| json!({ "ZipFile": package(&"1".repeat(size)) });
    let refused = format!(
        "{INVALID}: Function code combined with layers exceeds the maximum allowed size of 100 bytes. The actual size \
         is 101 bytes."
    );
    let create = async |size| service.create(json!({ "Code": code(size), "Layers": [sixty] })).await;
    assert_eq!(create(41).await.error(), refused);
    assert_eq!(create(40).await.status, 201);
    assert_eq!(service.update_code(code(41)).await.error(), refused);
    assert_eq!(service.update_configuration(json!({ "Layers": [sixty, one] })).await.error(), refused);
    assert_eq!(service.update_code(code(39)).await.status, 200);
    assert_eq!(service.update_configuration(json!({ "Layers": [sixty, one] })).await.status, 200);
    assert_eq!(service.update_configuration(json!({ "Layers": [] })).await.status, 200);
    assert_eq!(service.update_code(code(100)).await.status, 200);
}

/// What was in `/opt` of the environments that started, by path.
type Seen = Arc<Mutex<Vec<Option<BTreeMap<PathBuf, String>>>>>;

/// A service over a directory, whose functions look into `/opt` when they start.
async fn looking(directory: &Path) -> (Service, Seen) {
    let seen = Seen::default();
    let executor = {
        let seen = Arc::clone(&seen);
        FakeExecutor::new(move |mut runtime| {
            let layers = runtime.launch().spec.layers.clone();
            seen.lock().unwrap().push(layers.map(|layers| files(&layers)));
            async move {
                loop {
                    let event = runtime.next().await;
                    runtime.respond(&event.request_id, event.payload).await;
                }
            }
        })
    };
    let code = CodeStore::open(directory.join("code"), 1000).unwrap();
    (open(ControlConfig::default(), Arc::<MemoryStore>::default(), code, executor).await, seen)
}

fn files(directory: &Path) -> BTreeMap<PathBuf, String> {
    let mut files = BTreeMap::new();
    for entry in std::fs::read_dir(directory).unwrap() {
        let path = entry.unwrap().path();
        let name = PathBuf::from(path.file_name().unwrap());
        if path.is_dir() {
            files.extend(self::files(&path).into_iter().map(|(below, text)| (name.join(below), text)));
        } else {
            files.insert(name, std::fs::read_to_string(path).unwrap());
        }
    }
    files
}

#[tokio::test]
async fn functions_see_their_layers_merged_in_order() {
    let directory = tempfile::tempdir().unwrap();
    let (service, seen) = looking(directory.path()).await;
    let low = service.layer("low", &[("python/low.py", "low"), ("both", "low")]).await;
    let high = service.layer("high", &[("python/high.py", "high"), ("both", "high")]).await;
    service.created(json!({})).await;
    for layers in [json!([]), json!([low]), json!([low, high]), json!([high, low])] {
        assert_eq!(service.update_configuration(json!({ "Layers": layers })).await.status, 200);
        assert_eq!(service.post("/f/invocations", json!({})).await.status, 200);
    }
    let tree = |files: &[(&str, &str)]| {
        Some(files.iter().map(|(name, text)| (PathBuf::from(name), (*text).to_owned())).collect())
    };
    let all = |both| tree(&[("both", both), ("python/high.py", "high"), ("python/low.py", "low")]);
    let one = tree(&[("both", "low"), ("python/low.py", "low")]);
    assert_eq!(*seen.lock().unwrap(), [None, one, all("high"), all("low")]);
}

#[tokio::test]
async fn merged_layers_go_with_the_last_function_that_has_them() {
    let directory = tempfile::tempdir().unwrap();
    let service = durable(ControlConfig::default(), directory.path()).await;
    let layers = json!([service.layer("a", &[("a", "")]).await, service.layer("b", &[("b", "")]).await]);
    assert_eq!(packages(directory.path()), 2);
    service.created(json!({ "Layers": layers })).await;
    service.created(json!({ "FunctionName": "g", "Layers": layers })).await;
    assert_eq!(
        packages(directory.path()),
        4,
        "two layers, one code, one merged directory for both functions"
    );
    service.update_configuration(json!({ "Layers": [] })).await;
    service.control.shut_down().await;
    drop(service);

    let service = durable(ControlConfig::default(), directory.path()).await;
    assert_eq!(packages(directory.path()), 4);
    assert_eq!(service.get("/g/configuration").await.text("State"), "Active");
    for name in ["a", "b"] {
        service.delete_layer(name, 1).await;
    }
    assert_eq!(packages(directory.path()), 4);
    service.delete("/g").await;
    wait_for_packages(directory.path(), 1).await;
}

#[tokio::test]
async fn merged_layers_of_refused_requests_go() {
    let directory = tempfile::tempdir().unwrap();
    let limits = Limits { total_code_size: 400, ..Limits::default() };
    let config = ControlConfig { limits, ..ControlConfig::default() };
    let service = durable(config, directory.path()).await;
    let layers = json!([service.layer("a", &[("a", "")]).await, service.layer("b", &[("b", "")]).await]);
    let random: String = (0..400).map(|_| fastrand::alphanumeric()).collect();
    let refused = service.create(json!({ "Layers": layers, "Code": { "ZipFile": package(&random) } })).await;
    assert!(refused.error().starts_with("400 CodeStorageExceeded"));
    wait_for_packages(directory.path(), 2).await;
}

#[tokio::test]
async fn layer_that_is_deleted_and_given_at_once_is_gone_or_stays() {
    let directory = tempfile::tempdir().unwrap();
    let service = durable(ControlConfig::default(), directory.path()).await;
    service.created(json!({})).await;
    for round in 0..20 {
        let content = [("a", round.to_string())];
        let content = [(content[0].0, content[0].1.as_str())];
        let arn = service.layer("l", &content).await;
        let number = arn.rsplit_once(':').unwrap().1.parse().unwrap();
        let (update, delete) = tokio::join!(
            service.update_configuration(json!({ "Layers": [arn] })),
            service.delete_layer("l", number)
        );
        assert_eq!(delete.status, 204);
        if update.status == 200 {
            assert_eq!(packages(directory.path()), 2);
        } else {
            assert_eq!(update.error(), format!("{INVALID}: Layer version {arn} does not exist."));
        }
        service.update_configuration(json!({ "Layers": [] })).await;
        wait_for_packages(directory.path(), 1).await;
    }
}
