//! Deployment packages: where they come from, and when they go.

use std::{
    path::Path,
    time::{Duration, Instant},
};

use hothouse_control::{ControlConfig, Limits};
use serde_json::json;

use crate::support::{Service, configured, durable, package, service, zip};

pub(crate) fn packages(directory: &Path) -> usize {
    std::fs::read_dir(directory.join("code")).unwrap().count()
}

/// Packages are removed behind a request's back.
pub(crate) async fn wait_for_packages(directory: &Path, count: usize) {
    let deadline = Instant::now() + Duration::from_secs(30);
    while packages(directory) != count {
        assert!(Instant::now() < deadline, "{} packages, not {count}", packages(directory));
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

async fn code_location(service: &Service, name: &str) -> String {
    let found = service.get(name).await.body;
    assert_eq!(found["Code"]["RepositoryType"], "S3");
    found["Code"]["Location"].as_str().unwrap().to_owned()
}

#[tokio::test]
async fn code_can_be_downloaded_as_it_was_uploaded() {
    let service =
        configured(ControlConfig { base_url: "http://host:1".into(), ..ControlConfig::default() }).await;
    service.created(json!({ "Code": { "ZipFile": package("mine") } })).await;
    let location = code_location(&service, "/f").await;
    let name = location.strip_prefix("http://host:1/_hothouse/code/").unwrap();
    let path = service.control.package(name).unwrap();
    assert_eq!(std::fs::read(path).unwrap(), zip("mine"));
    for unknown in ["", "..", "../../etc/passwd", &"0".repeat(64)] {
        assert_eq!(service.control.package(unknown), None);
    }
}

#[tokio::test]
async fn code_comes_from_s3() {
    let service = service().await;
    let code = |bucket: &str, key: &str| json!({ "Code": { "S3Bucket": bucket, "S3Key": key } });
    let failed = "400 InvalidParameterValueException: Error occurred while GetObject.";
    assert_eq!(
        service.create(code("other", "key")).await.error(),
        format!(
            "{failed} S3 Error Code: NoSuchBucket. S3 Error Message: The specified bucket does not exist"
        )
    );
    assert_eq!(
        service.create(code("bucket", "none")).await.error(),
        format!("{failed} S3 Error Code: NoSuchKey. S3 Error Message: The specified key does not exist.")
    );
    let error = service.create(code("nowhere", "key")).await.error();
    assert!(error.starts_with(failed) && error.contains("--aws-endpoint"), "{error}");
    let newest = service.created(code("bucket", "key")).await;
    let version = json!({ "S3Bucket": "bucket", "S3Key": "key", "S3ObjectVersion": "old" });
    let old = service.update_code(version).await;
    assert_ne!(newest.text("CodeSha256"), old.text("CodeSha256"));
}

#[tokio::test]
async fn packages_that_aws_refuses_are_refused_in_its_words() {
    let limits = Limits { code_size_zipped: 400, code_size_unzipped: 300, ..Limits::default() };
    let service = configured(ControlConfig { limits, ..ControlConfig::default() }).await;
    let random: String = (0..400).map(|_| fastrand::alphanumeric()).collect();
    let cases = [
        (package(&random), "413 RequestEntityTooLargeException: Zipped size must be smaller than 400 bytes"),
        (
            package(&"0".repeat(301)),
            "400 InvalidParameterValueException: Unzipped size must be smaller than 300 bytes",
        ),
        (
            "bm90IGEgemlw".into(),
            "400 InvalidParameterValueException: Could not unzip uploaded file. Please check your file, then try to \
             upload again.",
        ),
        ("".into(), "400 InvalidParameterValueException: Uploaded file must be a non-empty zip"),
    ];
    for (package, expected) in cases {
        assert_eq!(service.create(json!({ "Code": { "ZipFile": package } })).await.error(), expected);
    }
}

#[tokio::test]
async fn packages_go_with_the_last_version_that_uses_them() {
    let directory = tempfile::tempdir().unwrap();
    let service = durable(ControlConfig::default(), directory.path()).await;
    service.created(json!({ "Code": { "ZipFile": package("1") }, "Publish": true })).await;
    service.created(json!({ "FunctionName": "g", "Code": { "ZipFile": package("1") } })).await;
    assert_eq!(packages(directory.path()), 1);
    service.update_code(json!({ "ZipFile": package("2") })).await;
    assert_eq!(packages(directory.path()), 2);
    service.update_code(json!({ "ZipFile": package("3") })).await;
    wait_for_packages(directory.path(), 2).await;
    service.delete("/g").await;
    service.delete("/f:1").await;
    wait_for_packages(directory.path(), 1).await;
    service.delete("/f").await;
    wait_for_packages(directory.path(), 0).await;
}

#[tokio::test]
async fn packages_of_refused_requests_go() {
    let directory = tempfile::tempdir().unwrap();
    let service = durable(ControlConfig::default(), directory.path()).await;
    service.created(json!({ "Code": { "ZipFile": package("1") } })).await;
    service.update_code(json!({ "ZipFile": package("2"), "DryRun": true })).await;
    wait_for_packages(directory.path(), 1).await;
    let limits = Limits { total_code_size: 0, ..Limits::default() };
    service.control.shut_down().await;
    drop(service);
    let service = durable(ControlConfig { limits, ..ControlConfig::default() }, directory.path()).await;
    assert_eq!(service.update_code(json!({ "ZipFile": package("longer") })).await.status, 400);
    wait_for_packages(directory.path(), 1).await;
}

#[tokio::test]
async fn ephemeral_packages_go_when_the_service_ends() {
    let service = service().await;
    service.created(json!({})).await;
    service.post("/f/invocations", json!({})).await;
    let location = code_location(&service, "/f").await;
    let name = location.rsplit_once('/').unwrap().1;
    let path = service.control.package(name).unwrap();
    service.engine.shut_down().await;
    service.control.shut_down().await;
    // The hash's directory, and the store's.
    assert!(!path.parent().unwrap().parent().unwrap().exists());
}

#[tokio::test]
async fn key_of_the_package_is_shown_until_the_next_package() {
    let service = service().await;
    let key = "arn:aws:kms:us-east-1:123456789012:key/k";
    service.created(json!({ "Code": { "ZipFile": package("1"), "SourceKMSKeyArn": key } })).await;
    assert_eq!(service.get("/f").await.body["Code"]["SourceKMSKeyArn"], key);
    service.update_configuration(json!({ "Timeout": 4 })).await;
    assert_eq!(service.get("/f").await.body["Code"]["SourceKMSKeyArn"], key);
    service.update_code(json!({ "ZipFile": package("1") })).await;
    assert_eq!(service.get("/f").await.body["Code"].get("SourceKMSKeyArn"), None);
}

#[tokio::test]
async fn package_that_stays_in_its_bucket_is_not_counted() {
    let directory = tempfile::tempdir().unwrap();
    let object = json!({ "S3Bucket": "bucket", "S3Key": "key", "S3ObjectVersion": "v1" });
    let mut code = object.clone();
    code["S3ObjectStorageMode"] = "REFERENCE".into();
    let used = async |service: &Service| {
        let settings = service.call(http::Method::GET, "/2016-08-19/account-settings", json!(null)).await;
        settings.body["AccountUsage"]["TotalCodeSize"].as_u64().unwrap()
    };
    {
        let service = durable(ControlConfig::default(), directory.path()).await;
        service.created(json!({ "Code": code, "Publish": true })).await;
        service.control.shut_down().await;
    }
    let service = durable(ControlConfig::default(), directory.path()).await;
    assert_eq!(used(&service).await, 0);
    let found = service.get("/f:1").await.body;
    assert_eq!(found["Code"]["ResolvedS3Object"], object);
    assert!(found["Configuration"]["CodeSize"].as_u64().unwrap() > 0);
    assert_eq!(service.post("/f:1/invocations", json!({})).await.status, 200);
    // The same code, kept here, is no other version.
    let same = service.update_code(object).await;
    assert_eq!(service.get("/f").await.body["Code"].get("ResolvedS3Object"), None);
    assert_eq!(used(&service).await, same.body["CodeSize"].as_u64().unwrap());
    assert_eq!(service.publish(json!({})).await.text("Version"), "1");
    let uploaded = json!({ "ZipFile": package("2"), "S3ObjectStorageMode": "REFERENCE" });
    assert_eq!(
        service.update_code(uploaded).await.error(),
        "400 InvalidParameterValueException: Please provide S3Bucket and S3Key when S3ObjectStorageMode is REFERENCE."
    );
}
