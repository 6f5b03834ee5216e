//! Layers: publishing, reading, deleting; who else may use them.

use std::io::{Cursor, Write};

use base64::{Engine as _, prelude::BASE64_STANDARD};
use hothouse_control::{ControlConfig, Limits};
use http::Method;
use serde_json::{Value, json};
use zip::{ZipWriter, write::SimpleFileOptions};

use crate::{
    scenario::Scenario,
    support::{Answer, Service, configured, durable, package, service, zip},
};

const RECORDED: &str = include_str!("recorded/layers.json");
const LAYERS: &str = "/2018-10-31/layers";
const ARN: &str = "arn:aws:lambda:us-east-1:123456789012:layer:r";
const OTHER: &str = "210987654321";

impl Service {
    pub(crate) async fn layers(&self, method: Method, path: &str, body: Value) -> Answer {
        self.call(method, &format!("{LAYERS}{path}"), body).await
    }

    pub(crate) async fn get_layers(&self, path: &str) -> Answer {
        self.layers(Method::GET, path, Value::Null).await
    }

    pub(crate) async fn delete_layer(&self, name: &str, version: i64) -> Answer {
        self.layers(Method::DELETE, &format!("/{name}/versions/{version}"), Value::Null).await
    }

    pub(crate) async fn publish_layer(&self, name: &str, members: Value) -> Answer {
        let mut request = json!({ "Content": { "ZipFile": package("layer") } });
        for (name, value) in members.as_object().unwrap() {
            request[name] = value.clone();
        }
        self.layers(Method::POST, &format!("/{name}/versions"), request).await
    }

    /// Publishes a layer with these files, and returns its version's ARN.
    pub(crate) async fn layer(&self, name: &str, files: &[(&str, &str)]) -> String {
        let content = json!({ "Content": { "ZipFile": archive(files) } });
        let answer = self.publish_layer(name, content).await;
        assert_eq!(answer.status, 201, "{:#}", answer.body);
        answer.text("LayerVersionArn").to_owned()
    }

    /// The same service, asked by another account or in another region.
    pub(crate) fn elsewhere(&self, account: &'static str, region: &'static str) -> Self {
        Self { region, ..self.asked_by(account, None) }
    }

    pub(crate) async fn permit(&self, name: &str, version: u64, members: Value) -> Answer {
        let mut request =
            json!({ "StatementId": "s1", "Action": "lambda:GetLayerVersion", "Principal": "*" });
        for (name, value) in members.as_object().unwrap() {
            request[name] = value.clone();
        }
        let revision = request.as_object_mut().unwrap().remove("RevisionId");
        let query =
            revision.map_or(String::new(), |revision| format!("?RevisionId={}", revision.as_str().unwrap()));
        let path = format!("/{name}/versions/{version}/policy{query}");
        self.layers(Method::POST, &path, request).await
    }
}

/// An archive as requests carry it.
pub(crate) fn archive(files: &[(&str, &str)]) -> String {
    let mut writer = ZipWriter::new(Cursor::new(Vec::new()));
    for (name, content) in files {
        writer.start_file(*name, SimpleFileOptions::default()).unwrap();
        writer.write_all(content.as_bytes()).unwrap();
    }
    BASE64_STANDARD.encode(writer.finish().unwrap().into_inner())
}

fn described() -> Value {
    json!({
        "CompatibleRuntimes": ["python3.12"],
        "CompatibleArchitectures": ["x86_64"],
        "LicenseInfo": "free",
        "Description": "what it is",
    })
}

/// A member of each item of a list.
fn each(answer: &Answer, list: &str, member: &str) -> Vec<Value> {
    assert_eq!(answer.status, 200, "{:#}", answer.body);
    answer.body[list].as_array().unwrap().iter().map(|item| item[member].clone()).collect()
}

async fn versions(service: &Service, path: &str) -> Vec<Value> {
    each(&service.get_layers(&format!("/r/versions{path}")).await, "LayerVersions", "Version")
}

#[tokio::test]
async fn layers_live_as_recorded() {
    let service = service().await;
    let mut scenario = Scenario::of(RECORDED, "layer_lifecycle");
    service
        .created(json!({ "Timeout": 30, "Handler": "handler.handler", "Environment": { "Variables": {} } }))
        .await;
    scenario.check("get_fn_result", &service.get("/f").await.body);
    scenario.check("get_fn_config_result", &service.get("/f/configuration").await.body);
    for reply in ["publish_result", "publish_result_2"] {
        let published = service.publish_layer("l", described()).await;
        assert_eq!(published.status, 201);
        scenario.check(reply, &published.body);
    }
    let arn = "arn:aws:lambda:us-east-1:123456789012:layer:l:1";
    scenario.check("update_fn_config", &service.update_configuration(json!({ "Layers": [arn] })).await.body);
    scenario.check("get_fn_config", &service.get("/f/configuration").await.body);
    scenario.check("get_layer_ver_result", &service.get_layers("/l/versions/1").await.body);
    let by_arn = service.get_layers(&format!("?find=LayerVersion&Arn={arn}")).await;
    scenario.check("get_layer_by_arn_version", &by_arn.body);
    scenario.check("list_layer_versions_predelete", &service.get_layers("/l/versions").await.body);
    assert_eq!(service.delete_layer("l", 1).await.status, 204);
    scenario.check("get_fn_config_postdelete", &service.get("/f/configuration").await.body);
    assert_eq!(service.delete_layer("l", 2).await.status, 204);
    scenario.check("list_layer_versions_postdelete", &service.get_layers("/l/versions").await.body);
    scenario.check("publish_result_3", &service.publish_layer("l", described()).await.body);
}

#[tokio::test]
async fn what_a_layer_is_for_is_shown_as_it_was_sent() {
    let service = service().await;
    let mut scenario = Scenario::of(RECORDED, "layer_compatibilities");
    let members = json!({
        "CompatibleRuntimes": ["provided.al2023", "provided.al2", "provided"],
        "CompatibleArchitectures": ["arm64", "x86_64"],
    });
    scenario.check("publish_result", &service.publish_layer("r", members).await.body);

    let mut scenario = Scenario::of(RECORDED, "layer_exceptions");
    let members = json!({ "CompatibleRuntimes": ["python3.12"], "CompatibleArchitectures": ["x86_64"] });
    let other = service.elsewhere(service.account, "eu-west-1");
    let mut published = other.publish_layer("r", members).await.body;
    published = serde_json::from_str(&published.to_string().replace("eu-west-1", "us-east-1")).unwrap();
    scenario.check("publish_result", &published);
    let empty = json!({ "CompatibleRuntimes": [], "CompatibleArchitectures": [] });
    scenario.check("publish_empty_result", &service.publish_layer("empty", empty).await.body);
    let silent = service.publish_layer("silent", json!({})).await.body;
    assert_eq!((silent.get("CompatibleRuntimes"), silent.get("LicenseInfo")), (None, None));
    assert_eq!(silent["Description"], "");
}

#[tokio::test]
async fn content_can_be_downloaded_as_it_was_uploaded() {
    let service =
        configured(ControlConfig { base_url: "http://host:1".into(), ..ControlConfig::default() }).await;
    let published = service.publish_layer("r", json!({})).await.body;
    let location = published["Content"]["Location"].as_str().unwrap();
    let name = location.strip_prefix("http://host:1/_hothouse/code/").unwrap();
    assert_eq!(std::fs::read(service.control.package(name).unwrap()).unwrap(), zip("layer"));
    assert_eq!(published["Content"]["CodeSize"], zip("layer").len());
    assert_eq!(service.get_layers("/r/versions/1").await.body["Content"], published["Content"]);
}

#[tokio::test]
async fn content_comes_from_s3() {
    let service = service().await;
    let publish = async |content: Value| service.publish_layer("r", json!({ "Content": content })).await;
    let published = publish(json!({ "S3Bucket": "bucket", "S3Key": "key", "S3ObjectVersion": "old" })).await;
    assert_eq!(published.body["Content"]["CodeSize"], zip("old").len());
    assert_eq!(
        publish(json!({ "S3Bucket": "bucket", "S3Key": "none" })).await.error(),
        "400 InvalidParameterValueException: Error occurred while GetObject. S3 Error Code: NoSuchKey. S3 Error \
         Message: The specified key does not exist."
    );
    for content in [json!({}), json!({ "S3Bucket": "bucket" })] {
        assert_eq!(
            publish(content).await.error(),
            "400 InvalidParameterValueException: Please provide a source for the layer's content."
        );
    }
}

#[tokio::test]
async fn content_that_aws_refuses_is_refused_in_its_words() {
    let limits = Limits {
        code_size_zipped: 400,
        code_size_unzipped: 300,
        total_code_size: zip("layer").len() as u64 * 2,
        ..Limits::default()
    };
    let service = configured(ControlConfig { limits, ..ControlConfig::default() }).await;
    let publish = async |package: String| {
        service.publish_layer("r", json!({ "Content": { "ZipFile": package } })).await.error()
    };
    let random: String = (0..400).map(|_| fastrand::alphanumeric()).collect();
    assert_eq!(
        publish(package(&random)).await,
        "413 RequestEntityTooLargeException: Zipped size must be smaller than 400 bytes"
    );
    assert_eq!(
        publish(package(&"0".repeat(301))).await,
        "400 InvalidParameterValueException: Unzipped size must be smaller than 300 bytes"
    );
    assert_eq!(
        publish("bm90IGEgemlw".into()).await,
        "400 InvalidParameterValueException: Could not unzip uploaded file. Please check your file, then try to \
         upload again."
    );
    for version in [1, 2] {
        assert_eq!(service.publish_layer("r", json!({})).await.body["Version"], version);
    }
    assert!(
        service.publish_layer("r", json!({})).await.error().starts_with("400 CodeStorageExceededException")
    );
    assert_eq!(versions(&service, "").await, [2, 1], "nothing came of what was refused");
}

#[tokio::test]
async fn layers_count_towards_the_accounts_code() {
    let service = service().await;
    let size = async || {
        let settings = service.call(Method::GET, "/2016-08-19/account-settings", Value::Null).await;
        settings.body["AccountUsage"]["TotalCodeSize"].as_u64().unwrap()
    };
    for _ in 0..2 {
        service.publish_layer("r", json!({})).await;
    }
    assert_eq!(size().await, zip("layer").len() as u64 * 2);
    service.delete_layer("r", 1).await;
    assert_eq!(size().await, zip("layer").len() as u64);
    let object = json!({ "S3Bucket": "bucket", "S3Key": "key", "S3ObjectVersion": "old" });
    let mut content = object.clone();
    content["S3ObjectStorageMode"] = json!("REFERENCE");
    let referred = service.publish_layer("r", json!({ "Content": content })).await.body;
    assert_eq!(referred["Content"]["ResolvedS3Object"], object);
    assert_eq!(size().await, zip("layer").len() as u64, "it stays in the customer's bucket");
}

#[tokio::test]
async fn versions_that_are_not_there_have_a_word_for_each_operation() {
    let service = service().await;
    service.publish_layer("r", json!({})).await;
    let missing = "404 ResourceNotFoundException: The resource you requested does not exist.";
    let too_low = "400 InvalidParameterValueException: Layer Version Cannot be less than 1";
    for path in ["/none/versions/1", "/r/versions/2", &format!("/{ARN}/versions/2")] {
        assert_eq!(service.get_layers(path).await.error(), missing, "{path}");
    }
    for arn in [&format!("{ARN}:2"), &format!("{ARN}:0"), "arn:aws:lambda:::awslayer:AmazonLinux1803"] {
        let answer = service.get_layers(&format!("?find=LayerVersion&Arn={arn}")).await;
        assert_eq!(answer.error(), missing, "{arn}");
    }
    for number in [0, -1, i64::MIN] {
        assert_eq!(service.get_layers(&format!("/r/versions/{number}")).await.error(), too_low);
        assert_eq!(service.get_layers(&format!("/r/versions/{number}/policy")).await.error(), too_low);
        assert_eq!(service.delete_layer("r", number).await.error(), too_low);
    }
    for (name, number) in [("none", 1), ("r", 2), ("r", 1), ("r", 1), (ARN, i64::MAX)] {
        assert_eq!(service.delete_layer(name, number).await.status, 204);
    }
    let list = service.get_layers("/none/versions").await.body;
    Scenario::of(RECORDED, "layer_exceptions").check("list_nonexistent_layer", &list);
}

#[tokio::test]
async fn names_may_be_arns() {
    let service = service().await;
    assert_eq!(service.publish_layer(ARN, json!({})).await.text("LayerVersionArn"), format!("{ARN}:1"));
    assert_eq!(service.get_layers(&format!("/{ARN}/versions/1")).await.text("LayerArn"), ARN);
    let list = service.get_layers(&format!("/{ARN}/versions")).await;
    assert_eq!(each(&list, "LayerVersions", "Version"), [1]);
    assert_eq!(service.delete_layer(ARN, 1).await.status, 204);
    assert_eq!(versions(&service, "").await, [0; 0]);
    let foreign = "arn:aws-cn:lambda:us-east-1:123456789012:layer:r";
    assert_eq!(service.publish_layer(foreign, json!({})).await.status, 404, "a partition without the region");
}

#[tokio::test]
async fn versions_are_listed_newest_first() {
    let service = service().await;
    for runtime in ["python3.12", "python3.13", "python3.12"] {
        let members = json!({ "CompatibleRuntimes": [runtime], "CompatibleArchitectures": ["arm64"] });
        service.publish_layer("r", members).await;
    }
    service.publish_layer("r", json!({})).await;
    service.publish_layer("r-2", json!({})).await;
    assert_eq!(versions(&service, "").await, [4, 3, 2, 1]);
    assert_eq!(versions(&service, "?CompatibleRuntime=python3.12").await, [3, 1]);
    assert_eq!(versions(&service, "?CompatibleArchitecture=arm64").await, [3, 2, 1]);
    assert_eq!(
        versions(&service, "?CompatibleRuntime=python3.13&CompatibleArchitecture=x86_64").await,
        [0; 0]
    );

    let first = service.get_layers("/r/versions?MaxItems=3").await;
    assert_eq!(each(&first, "LayerVersions", "Version"), [4, 3, 2]);
    let next = first.text("NextMarker");
    let second = service.get_layers(&format!("/r/versions?MaxItems=3&Marker={next}")).await;
    assert_eq!(each(&second, "LayerVersions", "Version"), [1]);
    assert_eq!(second.body.get("NextMarker"), None);
    // What a marker of ours could say, but never does.
    for marker in ["MA", "LTE", "*"] {
        let answer = service.get_layers(&format!("/r/versions?Marker={marker}")).await;
        assert!(answer.status == 400 || answer.body == json!({ "LayerVersions": [] }), "{:#}", answer.body);
    }
    let too_many = service.get_layers("/r/versions?MaxItems=51").await.error();
    assert!(too_many.contains("Member must have value less than or equal to 50"), "{too_many}");
}

#[tokio::test]
async fn layers_are_listed_with_their_newest_version_that_matches() {
    let service = service().await;
    for (name, runtime) in [("b", "python3.12"), ("b", "python3.13"), ("a", "python3.12"), ("c", "ruby3.3")] {
        service.publish_layer(name, json!({ "CompatibleRuntimes": [runtime] })).await;
    }
    service.publish_layer("gone", json!({})).await;
    service.delete_layer("gone", 1).await;
    let list = async |query: &str| {
        let answer = service.get_layers(query).await;
        let names = each(&answer, "Layers", "LayerName");
        let newest = each(&answer, "Layers", "LatestMatchingVersion");
        let arns = newest.iter().map(|version| version["LayerVersionArn"].as_str().unwrap());
        let numbers = arns.map(|arn| arn.rsplit_once(':').unwrap().1.to_owned());
        names
            .iter()
            .zip(numbers)
            .map(|(name, number)| format!("{}:{number}", name.as_str().unwrap()))
            .collect()
    };
    let shown = |list: Vec<String>| list.join(" ");
    assert_eq!(shown(list("").await), "a:1 b:2 c:1");
    assert_eq!(shown(list("?CompatibleRuntime=python3.12").await), "a:1 b:1");
    assert_eq!(shown(list("?CompatibleArchitecture=arm64").await), "");

    let first = service.get_layers("?MaxItems=2").await;
    assert_eq!(each(&first, "Layers", "LayerName"), ["a", "b"]);
    assert_eq!(first.body["Layers"][0]["LayerArn"], "arn:aws:lambda:us-east-1:123456789012:layer:a");
    let marker = first.text("NextMarker");
    assert_eq!(shown(list(&format!("?MaxItems=2&Marker={marker}")).await), "c:1");
    // A layer with the marker's name need not be there any more.
    service.delete_layer("b", 2).await;
    service.delete_layer("b", 1).await;
    assert_eq!(shown(list(&format!("?MaxItems=2&Marker={marker}")).await), "c:1");
}

#[tokio::test]
async fn accounts_and_regions_have_layers_of_their_own() {
    let service = service().await;
    service.publish_layer("r", json!({})).await;
    let denied = |action: &str, arn: &str| {
        format!(
            "403 AccessDeniedException: User: arn:aws:iam::{OTHER}:root is not authorized to perform: lambda:{action} \
             on resource: {arn} because no resource-based policy allows the lambda:{action} action"
        )
    };
    let other = service.elsewhere(OTHER, "us-east-1");
    let version = format!("{ARN}:1");
    assert_eq!(other.get_layers("").await.body, json!({ "Layers": [] }));
    let by_arn = other.get_layers(&format!("?find=LayerVersion&Arn={version}")).await;
    assert_eq!(by_arn.error(), denied("GetLayerVersion", &version));
    let missing = other.get_layers(&format!("/{ARN}/versions/7")).await;
    assert_eq!(missing.error(), denied("GetLayerVersion", &format!("{ARN}:7")), "what is there is not told");
    assert_eq!(other.get_layers(&format!("/{ARN}/versions")).await.error(), denied("ListLayerVersions", ARN));
    assert_eq!(other.publish_layer(ARN, json!({})).await.error(), denied("PublishLayerVersion", ARN));
    assert_eq!(other.delete_layer(ARN, 1).await.error(), denied("DeleteLayerVersion", ARN));
    assert_eq!(other.permit(ARN, 1, json!({})).await.error(), denied("AddLayerVersionPermission", ARN));
    assert_eq!(other.publish_layer("r", json!({})).await.body["Version"], 1);

    let abroad = service.elsewhere(service.account, "eu-west-1");
    assert_eq!(abroad.get_layers("").await.body, json!({ "Layers": [] }));
    let missing = "404 ResourceNotFoundException: The resource you requested does not exist.";
    assert_eq!(abroad.get_layers(&format!("?find=LayerVersion&Arn={version}")).await.error(), missing);
    assert_eq!(abroad.publish_layer(ARN, json!({})).await.error(), missing);
    assert_eq!(abroad.get_layers(&format!("/{ARN}/versions")).await.body, json!({ "LayerVersions": [] }));
    assert_eq!(abroad.delete_layer(ARN, 1).await.status, 204);
    assert_eq!(versions(&service, "").await, [1], "nobody else has deleted it");
}

#[tokio::test]
async fn permissions_come_and_go() {
    let service = service().await;
    service.publish_layer("r", json!({})).await;
    let policy = async || service.get_layers("/r/versions/1/policy").await;
    let none = "404 ResourceNotFoundException: No policy is associated with the given resource.";
    assert_eq!(policy().await.error(), none);

    let added = service.permit("r", 1, json!({})).await;
    assert_eq!(added.status, 201);
    let statement = |answer: &Answer| serde_json::from_str::<Value>(answer.text("Statement")).unwrap();
    let everyone = json!({
        "Sid": "s1",
        "Effect": "Allow",
        "Principal": "*",
        "Action": "lambda:GetLayerVersion",
        "Resource": format!("{ARN}:1"),
    });
    assert_eq!(statement(&added), everyone);
    let account = service.permit("r", 1, json!({ "StatementId": "s2", "Principal": OTHER })).await;
    let root = format!("arn:aws:iam::{OTHER}:root");
    assert_eq!(statement(&account)["Principal"], json!({ "AWS": root }));
    let organization = json!({ "StatementId": "s3", "OrganizationId": "o-0123456789" });
    let organization = service.permit("r", 1, organization).await;
    assert_eq!(
        statement(&organization)["Condition"],
        json!({ "StringEquals": { "aws:PrincipalOrgID": "o-0123456789" } })
    );

    let shown = policy().await;
    assert_eq!(shown.text("RevisionId"), organization.text("RevisionId"));
    let document: Value = serde_json::from_str(shown.text("Policy")).unwrap();
    assert_eq!((&document["Version"], &document["Id"]), (&json!("2012-10-17"), &json!("default")));
    assert_eq!(document["Statement"].as_array().unwrap().len(), 3);
    assert_eq!(document["Statement"][0], everyone);

    let remove = async |id: &str| {
        service.layers(Method::DELETE, &format!("/r/versions/1/policy/{id}"), Value::Null).await
    };
    for id in ["s1", "s2", "s3"] {
        assert_eq!(remove(id).await.status, 204);
        assert_eq!(
            remove(id).await.error(),
            format!("404 ResourceNotFoundException: Statement {id} is not found in resource policy.")
        );
    }
    assert_eq!(policy().await.error(), none);
}

#[tokio::test]
async fn permissions_that_aws_refuses_are_refused_in_its_words() {
    let service = service().await;
    service.publish_layer("r", json!({})).await;
    let revision = service.permit("r", 1, json!({})).await.text("RevisionId").to_owned();
    let missing = format!("404 ResourceNotFoundException: Layer version {ARN}:2 does not exist.");
    assert_eq!(service.permit("r", 2, json!({})).await.error(), missing);
    assert_eq!(service.get_layers("/r/versions/2/policy").await.error(), missing);
    let remove = service.layers(Method::DELETE, "/r/versions/2/policy/s1", Value::Null).await;
    assert_eq!(remove.error(), missing);
    assert_eq!(
        service.permit("r", 1, json!({})).await.error(),
        "409 ResourceConflictException: The statement id (s1) provided already exists. Please provide a new statement \
         id, or remove the existing statement."
    );
    let differs = "412 PreconditionFailedException: The Revision Id provided does not match the latest Revision Id. \
                   Call the GetLayerPolicy API to retrieve the latest Revision Id";
    let stale = json!({ "StatementId": "s2", "RevisionId": "00000000-0000-0000-0000-000000000000" });
    assert_eq!(service.permit("r", 1, stale.clone()).await.error(), differs);
    let next = service.permit("r", 1, json!({ "StatementId": "s2", "RevisionId": revision })).await;
    assert_eq!(next.status, 201);
    let remove = async |revision: &str| {
        let path = format!("/r/versions/1/policy/s2?RevisionId={revision}");
        service.layers(Method::DELETE, &path, Value::Null).await
    };
    assert_eq!(remove(&revision).await.error(), differs);
    assert_eq!(remove(next.text("RevisionId")).await.status, 204);
    service.publish_layer("r", json!({})).await;
    assert_eq!(service.permit("r", 2, stale).await.error(), differs, "there is no policy yet");

    let mixed = json!({ "StatementId": "s3", "Principal": OTHER, "OrganizationId": "o-0123456789" });
    assert_eq!(
        service.permit("r", 1, mixed).await.error(),
        "400 InvalidParameterValueException: OrganizationId can only be provided when Principal is \"*\"."
    );
    let action = json!({ "StatementId": "s3", "Action": "lambda:ListLayers" });
    assert!(
        service
            .permit("r", 1, action)
            .await
            .error()
            .contains("Member must satisfy regular expression pattern")
    );
}

#[tokio::test]
async fn policies_have_a_length() {
    let service = service().await;
    service.publish_layer("r", json!({})).await;
    for number in 0..1000 {
        let id = format!("{number:0100}");
        let answer = service.permit("r", 1, json!({ "StatementId": id })).await;
        if answer.status != 201 {
            let error = answer.error();
            assert!(
                error.starts_with("400 PolicyLengthExceededException: The final policy size ("),
                "{error}"
            );
            assert!(error.ends_with(") is bigger than the limit (20480)."), "{error}");
            assert!(number > 50, "{number} statements are not much");
            return;
        }
    }
    panic!("a policy has no end");
}

#[tokio::test]
async fn permitted_accounts_see_a_version_and_no_more() {
    let service = service().await;
    for _ in 0..2 {
        service.publish_layer("r", json!({})).await;
    }
    let permitted = service.elsewhere(OTHER, "us-east-1");
    let stranger = service.elsewhere("333333333333", "us-east-1");
    let see = async |who: &Service, version: u64| {
        who.get_layers(&format!("/{ARN}/versions/{version}")).await.status
    };
    service.permit("r", 1, json!({ "Principal": format!("arn:aws:iam::{OTHER}:root") })).await;
    assert_eq!(
        (see(&permitted, 1).await, see(&permitted, 2).await, see(&stranger, 1).await),
        (200, 403, 403)
    );
    let abroad = service.elsewhere(OTHER, "eu-west-1");
    assert_eq!(see(&abroad, 1).await, 404);
    assert_eq!(permitted.delete_layer(ARN, 1).await.status, 403);
    assert_eq!(permitted.get_layers(&format!("/{ARN}/versions/1/policy")).await.status, 403);
    service.permit("r", 2, json!({ "OrganizationId": "o-0123456789" })).await;
    assert_eq!(see(&stranger, 2).await, 403, "nobody is known to be in an organisation");
    service.permit("r", 2, json!({ "StatementId": "s2" })).await;
    assert_eq!(see(&stranger, 2).await, 200);
    service.layers(Method::DELETE, "/r/versions/1/policy/s1", Value::Null).await;
    assert_eq!(see(&permitted, 1).await, 403);
}

#[tokio::test]
async fn layers_are_there_after_a_restart() {
    let directory = tempfile::tempdir().unwrap();
    let everything = async |service: &Service| {
        let mut all = Vec::new();
        for path in ["", "/r/versions", "/r/versions/2", "/r/versions/2/policy", "/gone/versions"] {
            all.push(service.get_layers(path).await.body);
        }
        all
    };
    let before = {
        let service = durable(ControlConfig::default(), directory.path()).await;
        service.publish_layer("r", json!({})).await;
        service.publish_layer("r", described()).await;
        service.permit("r", 2, json!({ "OrganizationId": "o-0123456789" })).await;
        service.publish_layer("gone", json!({})).await;
        service.delete_layer("gone", 1).await;
        service.control.shut_down().await;
        everything(&service).await
    };
    let service = durable(ControlConfig::default(), directory.path()).await;
    assert_eq!(everything(&service).await, before);
    let location = before[2]["Content"]["Location"].as_str().unwrap();
    assert!(service.control.package(location.rsplit_once('/').unwrap().1).is_some());
    assert_eq!(
        service.publish_layer("gone", json!({})).await.body["Version"],
        2,
        "numbers are not used again"
    );
}
