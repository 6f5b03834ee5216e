//! Settings that depend on each other, or on what is elsewhere.

use serde_json::{Value, json};

use crate::support::{Service, durable, package, service};

const INVALID: &str = "400 InvalidParameterValueException";
const ACCESS_POINT: &str =
    "arn:aws:elasticfilesystem:us-east-1:123456789012:access-point/fsap-0123456789abcdef0";

fn vpc(subnets: &[&str], groups: &[&str]) -> Value {
    json!({ "SubnetIds": subnets, "SecurityGroupIds": groups })
}

fn file_system(more: Value) -> Value {
    let mut file_system = json!({ "Arn": ACCESS_POINT, "LocalMountPath": "/mnt/files" });
    file_system.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
    json!([file_system])
}

fn image(members: Value) -> Value {
    let mut image = json!({
        "Runtime": null,
        "Handler": null,
        "PackageType": "Image",
        "Code": { "ImageUri": "123456789012.dkr.ecr.us-east-1.amazonaws.com/repo:latest" },
    });
    image.as_object_mut().unwrap().extend(members.as_object().unwrap().clone());
    image
}

/// Settings that AWS refuses with a function of a zip, and why.
fn refused() -> Vec<(Value, String)> {
    let queue = |name: &str| json!({ "TargetArn": format!("arn:aws:{name}") });
    let dead_letter = "Invalid dead letter queue ARN";
    let snap_start = json!({ "ApplyOn": "PublishedVersions" });
    let snap_started = "is not supported for SnapStart enabled functions.";
    vec![
        (
            json!({ "VpcConfig": { "SubnetIds": ["subnet-1"] } }),
            "SubnetIds and SecurityIds must coexist or be both empty list.".into(),
        ),
        (
            json!({ "VpcConfig": vpc(&[], &["sg-1"]) }),
            "SubnetIds and SecurityIds must coexist or be both empty list.".into(),
        ),
        (
            json!({ "VpcConfig": vpc(&["subnet-1", "subnet-none"], &["sg-1"]) }),
            "Error occurred while DescribeSubnets. EC2 Error Code: InvalidSubnetID.NotFound. EC2 Error Message: The \
             subnet ID 'subnet-none' does not exist"
                .into(),
        ),
        (
            json!({ "VpcConfig": vpc(&["subnet-1"], &["sg-none"]) }),
            "Error occurred while DescribeSecurityGroups. EC2 Error Code: InvalidGroup.NotFound. EC2 Error Message: \
             The security group 'sg-none' does not exist"
                .into(),
        ),
        (
            json!({ "FileSystemConfigs": file_system(json!({})) }),
            format!(
                "Function must be configured to execute in a VPC to reference access point {ACCESS_POINT}. Please \
                 update the function configuration to include VPC subnets and security groups."
            ),
        ),
        (
            json!({
                "VpcConfig": vpc(&["subnet-1"], &["sg-1"]),
                "FileSystemConfigs": file_system(json!({ "S3FilesConfig": { "DirectS3Read": "AUTO" } })),
            }),
            format!("S3FilesConfig is not supported for the file system access point {ACCESS_POINT}."),
        ),
        (
            json!({ "DeadLetterConfig": queue("sqs:us-east-1:123456789012:q.fifo") }),
            format!("{dead_letter}: FIFO SQS queue is not supported for dead letter configuration"),
        ),
        (
            json!({ "DeadLetterConfig": queue("sns:us-east-1:123456789012:t.fifo") }),
            format!("{dead_letter}: FIFO SNS topic is not supported for dead letter configuration"),
        ),
        (
            json!({ "DeadLetterConfig": queue("lambda:us-east-1:123456789012:function:g") }),
            format!("{dead_letter}: it must be the ARN of an SQS queue or an SNS topic"),
        ),
        (json!({ "SnapStart": snap_start, "Runtime": "ruby3.4" }), format!("ruby3.4 {snap_started}")),
        (
            json!({ "SnapStart": snap_start, "EphemeralStorage": { "Size": 513 } }),
            format!("Ephemeral storage greater than 512 MB {snap_started}"),
        ),
        (
            json!({
                "SnapStart": snap_start,
                "VpcConfig": vpc(&["subnet-1"], &["sg-1"]),
                "FileSystemConfigs": file_system(json!({})),
            }),
            format!("EFS {snap_started}"),
        ),
        (
            json!({ "ImageConfig": { "Command": ["x"] } }),
            "Please don't provide ImageConfig when the intended function PackageType is Zip.".into(),
        ),
    ]
}

#[tokio::test]
async fn settings_that_do_not_go_together_are_refused() {
    let service = service().await;
    for (members, expected) in refused() {
        assert_eq!(service.create(members).await.error(), format!("{INVALID}: {expected}"));
    }
    service.created(json!({})).await;
    let before = service.get("/f").await.body;
    for (members, expected) in refused() {
        assert_eq!(service.update_configuration(members).await.error(), format!("{INVALID}: {expected}"));
    }
    assert_eq!(service.get("/f").await.body, before);
}

#[tokio::test]
async fn update_must_go_with_what_stays() {
    let service = service().await;
    let members = json!({
        "VpcConfig": vpc(&["subnet-1"], &["sg-1"]),
        "FileSystemConfigs": file_system(json!({})),
    });
    service.created(members).await;
    let detached = service.update_configuration(json!({ "VpcConfig": vpc(&[], &[]) })).await.error();
    assert!(detached.starts_with(&format!("{INVALID}: Function must be configured")), "{detached}");
    let snap_start = json!({ "SnapStart": { "ApplyOn": "PublishedVersions" } });
    let efs = service.update_configuration(snap_start).await.error();
    assert_eq!(efs, format!("{INVALID}: EFS is not supported for SnapStart enabled functions."));
}

#[tokio::test]
async fn vpc_is_what_ec2_says_or_always_the_same() {
    let mut service = service().await;
    let vpc_id = async |service: &Service| {
        service.get("/f/configuration").await.body["VpcConfig"]["VpcId"].as_str().unwrap().to_owned()
    };
    let network = json!({ "VpcConfig": vpc(&["subnet-1", "subnet-2"], &["sg-1"]) });
    let created = service.created(network.clone()).await.body;
    assert_eq!(
        created["VpcConfig"],
        json!({
            "SubnetIds": ["subnet-1", "subnet-2"],
            "SecurityGroupIds": ["sg-1"],
            "VpcId": "vpc-1",
            "Ipv6AllowedForDualStack": false,
        })
    );
    // What is not sent stays.
    service.update_configuration(json!({ "Timeout": 4 })).await;
    assert_eq!(vpc_id(&service).await, "vpc-1");
    let ipv6 = json!({
        "SubnetIds": ["subnet-1"], "SecurityGroupIds": ["sg-1"], "Ipv6AllowedForDualStack": true,
    });
    let updated = service.update_configuration(json!({ "VpcConfig": ipv6 })).await.body;
    assert_eq!(updated["VpcConfig"]["Ipv6AllowedForDualStack"], true);
    service.update_configuration(json!({ "VpcConfig": {} })).await;
    assert_eq!(vpc_id(&service).await, "");

    service.region = "eu-west-1";
    service.created(network.clone()).await;
    let presumed = vpc_id(&service).await;
    assert!(presumed.starts_with("vpc-") && presumed.len() == 21, "{presumed}");
    service.update_configuration(network).await;
    assert_eq!(vpc_id(&service).await, presumed);
    service.account = "000000000000";
    service.created(json!({ "VpcConfig": vpc(&["subnet-1"], &["sg-1"]) })).await;
    assert_ne!(vpc_id(&service).await, presumed);
}

#[tokio::test]
async fn network_is_not_looked_at_for_a_function_that_is_not_there() {
    let service = service().await;
    let members = json!({ "VpcConfig": vpc(&["subnet-none"], &["sg-1"]) });
    let error = service.update_configuration(members).await.error();
    assert!(error.starts_with("404 ResourceNotFoundException: Function not found"), "{error}");
}

#[tokio::test]
async fn images_have_no_runtime_and_archives_no_image() {
    let service = service().await;
    let managed =
        "Please don't provide Handler or Runtime or Layer when the intended function PackageType is Image.";
    for member in [json!({ "Handler": "index.handler" }), json!({ "Runtime": "python3.12" })] {
        assert_eq!(service.create(image(member)).await.error(), format!("{INVALID}: {managed}"));
    }
    service.created(image(json!({}))).await;
    for member in [json!({ "Handler": "index.handler" }), json!({ "Runtime": "python3.12" })] {
        assert_eq!(service.update_configuration(member).await.error(), format!("{INVALID}: {managed}"));
    }
    let invoked = service.post("/f/invocations", json!({})).await.error();
    assert!(invoked.starts_with("501 ") && invoked.contains("PackageType Image"), "{invoked}");
}

#[tokio::test]
async fn images_may_be_started_from_snapshots() {
    let service = service().await;
    let snap_start = json!({ "SnapStart": { "ApplyOn": "PublishedVersions" } });
    service.created(image(snap_start)).await;
    service.publish(json!({})).await;
    let published = service.get("/f:1/configuration").await.body;
    let expected = json!({ "ApplyOn": "PublishedVersions", "OptimizationStatus": "On" });
    assert_eq!(published["SnapStart"], expected);
}

#[tokio::test]
async fn rare_settings_are_there_after_a_restart() {
    let directory = tempfile::tempdir().unwrap();
    let before = {
        let service = durable(Default::default(), directory.path()).await;
        let members = json!({
            "VpcConfig": vpc(&["subnet-1"], &["sg-1"]),
            "FileSystemConfigs": file_system(json!({})),
            "DeadLetterConfig": { "TargetArn": "arn:aws:sns:us-east-1:123456789012:t" },
            "KMSKeyArn": "arn:aws:kms:us-east-1:123456789012:key/k",
        });
        service.created(members).await;
        service.update_code(json!({ "ZipFile": package("2") })).await;
        service.control.shut_down().await;
        service.get("/f").await.body
    };
    let service = durable(Default::default(), directory.path()).await;
    assert_eq!(service.get("/f").await.body, before);
}

#[tokio::test]
async fn what_only_capacity_providers_have_is_refused_without_one() {
    let service = service().await;
    let refused = |what: &str| format!("{INVALID}: {what} isn't supported for Lambda Default functions.");
    let accelerator = json!({ "AcceleratorConfig": { "AcceleratorMemorySize": 16 } });
    let publish_to = json!({ "PublishTo": "LATEST_PUBLISHED" });
    assert_eq!(service.create(accelerator.clone()).await.error(), refused("AcceleratorConfig"));
    assert_eq!(service.create(publish_to.clone()).await.error(), refused("PublishTo"));
    service.created(json!({})).await;
    assert_eq!(service.update_configuration(accelerator).await.error(), refused("AcceleratorConfig"));
    assert_eq!(service.publish(publish_to).await.error(), refused("PublishTo"));
    let code = json!({ "ZipFile": package("2"), "PublishTo": "LATEST_PUBLISHED" });
    assert_eq!(service.update_code(code).await.error(), refused("PublishTo"));
}

#[tokio::test]
async fn runtimes_of_customers_are_kept_and_shown() {
    let directory = tempfile::tempdir().unwrap();
    let service = durable(Default::default(), directory.path()).await;
    let config = |region: &str, alias: &str| {
        let arn = format!("arn:aws:lambda:{region}:210987654321:runtime/mine");
        json!({ "RuntimeArn": arn, "RuntimeAlias": alias })
    };
    let prod = config("us-east-1", "prod");
    let due = format!("{INVALID}: RuntimeConfig is required when the runtime parameter is custom.");
    let not_due = format!("{INVALID}: RuntimeConfig is only supported when the runtime parameter is custom.");
    assert_eq!(service.create(json!({ "Runtime": "custom" })).await.error(), due);
    assert_eq!(service.create(json!({ "RuntimeConfig": prod })).await.error(), not_due);
    assert_eq!(
        service
            .create(json!({ "Runtime": "custom", "RuntimeConfig": config("eu-west-1", "a") }))
            .await
            .error(),
        format!(
            "{INVALID}: The runtime arn:aws:lambda:eu-west-1:210987654321:runtime/mine is not in the same region as the \
             function. Runtimes are expected to be in region us-east-1."
        )
    );
    let half = json!({ "Runtime": "custom", "RuntimeConfig": { "RuntimeAlias": "a" } });
    let half = service.create(half).await.error();
    assert!(
        half.contains("'runtimeConfig.runtimeArn' failed to satisfy constraint: Member must not be null"),
        "{half}"
    );
    let snapped = json!({
        "Runtime": "custom", "RuntimeConfig": prod, "SnapStart": { "ApplyOn": "PublishedVersions" },
    });
    assert_eq!(
        service.create(snapped).await.error(),
        format!("{INVALID}: custom is not supported for SnapStart enabled functions.")
    );

    let created =
        service.created(json!({ "Runtime": "custom", "RuntimeConfig": prod, "Publish": true })).await;
    assert_eq!((created.text("Runtime"), &created.body["RuntimeConfig"]), ("custom", &prod));
    assert_eq!(created.body.get("RuntimeVersionConfig"), None);
    let test = config("us-east-1", "test");
    let updated = service.update_configuration(json!({ "RuntimeConfig": test })).await;
    assert_eq!(updated.body["RuntimeConfig"], test);
    let kept = service.update_configuration(json!({ "Timeout": 5 })).await;
    assert_eq!(kept.body["RuntimeConfig"], test);
    service.control.shut_down().await;
    drop(service);
    let service = durable(Default::default(), directory.path()).await;
    assert_eq!(service.get("/f/configuration").await.body["RuntimeConfig"], test);
    assert_eq!(service.get("/f:1/configuration").await.body["RuntimeConfig"], prod);

    let invoked = service.post("/f/invocations", json!({})).await.error();
    assert!(
        invoked.starts_with(
            "501 NotImplementedException: Hothouse cannot run functions with the runtime `custom`"
        )
    );
    assert!(invoked.contains("provided.al2023"), "{invoked}");

    // With another runtime it goes, and has to be said again.
    let managed = service.update_configuration(json!({ "Runtime": "python3.13" })).await;
    assert_eq!((managed.status, managed.body.get("RuntimeConfig")), (200, None));
    assert_eq!(service.update_configuration(json!({ "RuntimeConfig": prod })).await.error(), not_due);
    assert_eq!(service.update_configuration(json!({ "Runtime": "custom" })).await.error(), due);
    let back = service.update_configuration(json!({ "Runtime": "custom", "RuntimeConfig": prod })).await;
    assert_eq!(back.body["RuntimeConfig"], prod);
}

#[tokio::test]
async fn image_must_have_a_name() {
    let service = service().await;
    let digest = "0".repeat(64);
    let with = |uri: &str| image(json!({ "Code": { "ImageUri": uri } }));
    let bad =
        ["", " ", "repo:", "a//b", "repo@sha256:12", "re po", "repo:t@g", &format!("repo@md5:{digest}")];
    for uri in bad {
        assert_eq!(
            service.create(with(uri)).await.error(),
            format!("{INVALID}: Source image {uri} is not valid. Provide a valid source image.")
        );
    }
    let good =
        ["mine", "localhost:5000/mine", "public.ecr.aws/lambda/python:3.12", &format!("r@sha256:{digest}")];
    for uri in good {
        service.created(with(uri)).await;
        assert_eq!(service.get("/f").await.body["Code"]["ImageUri"], uri);
        service.delete("/f").await;
    }
}
