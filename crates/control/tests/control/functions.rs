//! Creating, reading, listing, updating and deleting functions.

use std::time::Duration;

use hothouse_control::{ControlConfig, Limits};
use serde_json::{Value, json};

use crate::support::{ARN, configured, package, request, service};

#[tokio::test]
async fn new_function_can_be_used_at_once_although_the_reply_says_pending() {
    let service = service().await;
    let created = service.created(json!({})).await;
    assert_eq!(created.text("State"), "Pending");
    let now = service.get("/f/configuration").await;
    assert_eq!((now.text("State"), now.text("LastUpdateStatus")), ("Active", "Successful"));
    assert_ne!(now.text("RevisionId"), created.text("RevisionId"));
    assert_eq!(service.post("/f/invocations", json!({})).await.status, 200);
}

#[tokio::test(start_paused = true)]
async fn function_is_pending_for_as_long_as_configured() {
    let delay = Duration::from_secs(5);
    let service = configured(ControlConfig { create_delay: delay, ..ControlConfig::default() }).await;
    service.created(json!({ "Publish": true })).await;
    for expected in ["Pending", "Active"] {
        for qualifier in ["$LATEST", "1"] {
            let now = service.get(&format!("/f/configuration?Qualifier={qualifier}")).await;
            assert_eq!(now.text("State"), expected);
        }
        tokio::time::sleep(delay * 2).await;
    }
}

#[tokio::test(start_paused = true)]
async fn synchronous_creation_answers_when_the_function_is_active() {
    for create_delay in [Duration::ZERO, Duration::from_secs(5)] {
        let config = ControlConfig { create_delay, synchronous_create: true, ..ControlConfig::default() };
        let service = configured(config).await;
        let created = service.created(json!({})).await;
        assert_eq!((created.text("State"), created.text("LastUpdateStatus")), ("Active", "Successful"));
        assert_eq!(created.text("RevisionId"), service.get("/f/configuration").await.text("RevisionId"));
    }
}

#[tokio::test]
async fn name_is_taken_once_in_each_region_of_each_account() {
    let mut service = service().await;
    service.created(json!({})).await;
    assert_eq!(
        service.create(json!({})).await.error(),
        "409 ResourceConflictException: Function already exist: f"
    );
    for (account, region) in [("000000000000", "us-east-1"), ("123456789012", "eu-west-1")] {
        (service.account, service.region) = (account, region);
        assert_eq!(
            service.get("/f").await.error(),
            format!(
                "404 ResourceNotFoundException: Function not found: arn:aws:lambda:{region}:{account}:function:f"
            )
        );
        service.created(json!({ "Description": region })).await;
        assert_eq!(service.get("").await.body["Functions"].as_array().unwrap().len(), 1);
        assert_eq!(service.delete("/f").await.status, 204);
    }
    (service.account, service.region) = ("123456789012", "us-east-1");
    assert_eq!(service.get("/f/configuration").await.text("Description"), "");
    assert_eq!(service.control.functions().len(), 1);
}

#[tokio::test]
async fn function_is_found_by_each_form_of_its_name() {
    let service = service().await;
    service.created(json!({ "FunctionName": ARN })).await;
    for name in ["f", "function:f", "123456789012:function:f", ARN] {
        let found = service.get(&format!("/{name}/configuration")).await;
        assert_eq!(found.text("FunctionArn"), ARN);
        let latest = service.get(&format!("/{name}:$LATEST/configuration")).await;
        assert_eq!(latest.text("FunctionArn"), format!("{ARN}:$LATEST"));
    }
    let differ = "400 InvalidParameterValueException: The derived qualifier from the function name does not match the \
                  specified qualifier.";
    assert_eq!(service.get("/f:$LATEST?Qualifier=1").await.error(), differ);
    assert_eq!(
        service.get("/f:7").await.error(),
        format!("404 ResourceNotFoundException: Function not found: {ARN}:7")
    );
    let other = "arn:aws:lambda:us-east-1:123456789012:function:g:7";
    assert_eq!(
        service.get("/g:7").await.error(),
        format!("404 ResourceNotFoundException: Function not found: {other}")
    );
    let lower = "404 ResourceNotFoundException: Function not found";
    assert_eq!(service.get("/f?Qualifier=$latest").await.error(), format!("{lower}: {ARN}:$latest"));
    assert_eq!(service.get("/f:007").await.error(), format!("{lower}: {ARN}:007"));
    assert_eq!(
        service.get("/arn:aws:lambda:ap-southeast-1:123456789012:function:f").await.error(),
        "404 ResourceNotFoundException: Functions from 'ap-southeast-1' are not reachable in this region ('us-east-1')"
    );
}

#[tokio::test]
async fn new_functions_that_aws_refuses_are_refused_in_its_words() {
    let service = service().await;
    let long = "a".repeat(65);
    let layer = |name: &str| format!("arn:aws:lambda:us-east-1:123456789012:layer:{name}");
    let tags: Value = (0..51).map(|index| (index.to_string(), Value::from("x"))).collect();
    let cases = [
        (
            json!({ "FunctionName": long }),
            format!(
                "InvalidParameterValueException: 1 validation error detected: Value '{long}' at 'functionName' failed to \
                 satisfy constraint: Member must have length less than or equal to 64"
            ),
        ),
        (
            json!({ "Runtime": "java8" }),
            "InvalidParameterValueException: The runtime parameter of java8 is no longer supported for creating or \
             updating AWS Lambda functions. We recommend you use a supported runtime while creating or updating \
             functions."
                .into(),
        ),
        (
            json!({ "Handler": null }),
            "InvalidParameterValueException: Runtime and Handler are mandatory parameters for functions created with \
             deployment packages."
                .into(),
        ),
        (
            json!({ "Timeout": 1200 }),
            "ValidationException: 1 validation error detected: Value '1200' at 'timeout' failed to satisfy constraint: \
             Member must have value less than or equal to 900"
                .into(),
        ),
        (
            json!({ "Environment": { "Variables": { "AWS_REGION": "x", "AWS_ACCESS_KEY_ID": "x", "MINE": "x" } } }),
            "InvalidParameterValueException: Lambda was unable to configure your environment variables because the \
             environment variables you have provided contains reserved keys that are currently not supported for \
             modification. Reserved keys used in this request: AWS_ACCESS_KEY_ID, AWS_REGION"
                .into(),
        ),
        (
            json!({ "Environment": { "Variables": { "KEY": "x".repeat(4087) } } }),
            format!(
                "InvalidParameterValueException: Lambda was unable to configure your environment variables because the \
                 environment variables you have provided exceeded the 4KB limit. String measured: {{\"KEY\":\"{}\"}}",
                "x".repeat(4087)
            ),
        ),
        (
            json!({ "Layers": (0..6).map(|index| format!("{}:1", layer(&index.to_string()))).collect::<Vec<_>>() }),
            "InvalidParameterValueException: Cannot reference more than 5 layers.".into(),
        ),
        (
            json!({ "Layers": [format!("{}:1", layer("l")), format!("{}:2", layer("l"))] }),
            format!(
                "InvalidParameterValueException: Two different versions of the same layer are not allowed to be \
                 referenced in the same function. {0}:1 and {0}:2 are versions of the same layer.",
                layer("l")
            ),
        ),
        (
            json!({ "Layers": ["arn:aws:lambda:eu-west-1:123456789012:layer:l:1"] }),
            "InvalidParameterValueException: Layers are not in the same region as the function. Layers are expected to \
             be in region us-east-1."
                .into(),
        ),
        (
            json!({ "Layers": [format!("{}:1", layer("l"))] }),
            format!("InvalidParameterValueException: Layer version {}:1 does not exist.", layer("l")),
        ),
        (
            json!({ "SnapStart": { "ApplyOn": "PublishedVersions" }, "Runtime": "nodejs22.x" }),
            "InvalidParameterValueException: nodejs22.x is not supported for SnapStart enabled functions.".into(),
        ),
        (
            json!({ "LoggingConfig": { "LogFormat": "Text", "SystemLogLevel": "INFO" } }),
            "InvalidParameterValueException: LogLevel is not supported when LogFormat is set to \"Text\". Remove \
             LogLevel from your request or change the LogFormat to \"JSON\" and try again."
                .into(),
        ),
        (json!({ "Tags": tags }), "InvalidParameterValueException: Number of tags exceeds resource tag limit.".into()),
        (
            json!({ "Code": {} }),
            "InvalidParameterValueException: Please provide a source for function code.".into(),
        ),
    ];
    for (members, expected) in cases {
        assert_eq!(service.create(members).await.error(), format!("400 {expected}"));
    }
    assert!(service.control.functions().is_empty());
    // Just fits.
    service.created(json!({ "Environment": { "Variables": { "KEY": "x".repeat(4086) } } })).await;
}

#[tokio::test]
async fn account_may_have_less_memory_than_the_model_allows() {
    let limits = Limits { memory_size: 3008, ..Limits::default() };
    let service = configured(ControlConfig { limits, ..ControlConfig::default() }).await;
    assert_eq!(
        service.create(json!({ "MemorySize": 3009 })).await.error(),
        "400 InvalidParameterValueException: 'MemorySize' value failed to satisfy constraint: Member must have value \
         less than or equal to 3008"
    );
    service.created(json!({ "MemorySize": 3008 })).await;
}

#[tokio::test]
async fn blocked_runtimes_are_a_matter_of_configuration() {
    let service =
        configured(ControlConfig { refuse_blocked_runtimes: false, ..ControlConfig::default() }).await;
    service.created(json!({ "Runtime": "python3.7" })).await;
}

#[tokio::test]
async fn what_nothing_acts_on_is_kept_and_shown() {
    let service = service().await;
    let members = json!({
        "VpcConfig": { "SubnetIds": ["subnet-1"], "SecurityGroupIds": ["sg-1"] },
        "DeadLetterConfig": { "TargetArn": "arn:aws:sqs:us-east-1:123456789012:q" },
        "KMSKeyArn": "arn:aws:kms:us-east-1:123456789012:key/k",
        "FileSystemConfigs": [{
            "Arn": "arn:aws:elasticfilesystem:us-east-1:123456789012:access-point/fsap-0123456789abcdef0",
            "LocalMountPath": "/mnt/files",
        }],
        "TracingConfig": { "Mode": "Active" },
        "EphemeralStorage": { "Size": 1024 },
        "Architectures": ["arm64"],
    });
    let created = service.created(members.clone()).await;
    for name in [
        "DeadLetterConfig",
        "KMSKeyArn",
        "FileSystemConfigs",
        "TracingConfig",
        "EphemeralStorage",
        "Architectures",
    ] {
        assert_eq!(created.body[name], members[name], "{name}");
    }
    assert_eq!(created.body["VpcConfig"]["SubnetIds"], json!(["subnet-1"]));

    let removed = json!({
        "VpcConfig": { "SubnetIds": [], "SecurityGroupIds": [] },
        "DeadLetterConfig": { "TargetArn": "" },
        "KMSKeyArn": "",
        "FileSystemConfigs": [],
    });
    let updated = service.update_configuration(removed).await;
    let empty =
        json!({ "SubnetIds": [], "SecurityGroupIds": [], "VpcId": "", "Ipv6AllowedForDualStack": false });
    assert_eq!(updated.body["VpcConfig"], empty);
    for name in ["DeadLetterConfig", "KMSKeyArn", "FileSystemConfigs"] {
        assert_eq!(updated.body[name], Value::Null, "{name}");
    }
    assert_eq!(updated.body["TracingConfig"], members["TracingConfig"]);
}

#[tokio::test]
async fn updates_replace_what_was_sent_and_nothing_else() {
    let service = service().await;
    service
        .created(json!({ "Environment": { "Variables": { "AA": "1", "BB": "2" } }, "Description": "d" }))
        .await;
    let updated =
        service.update_configuration(json!({ "Environment": { "Variables": { "CC": "3" } } })).await;
    assert_eq!(updated.body["Environment"], json!({ "Variables": { "CC": "3" } }));
    assert_eq!((updated.text("Description"), updated.body["Timeout"].as_i64()), ("d", Some(3)));
    let updated = service.update_configuration(json!({ "Timeout": 7, "Layers": [] })).await;
    assert_eq!(updated.body["Environment"], json!({ "Variables": { "CC": "3" } }));
    assert_eq!(updated.body["Timeout"], 7);
}

#[tokio::test]
async fn revision_guards_updates() {
    let service = service().await;
    let created = service.created(json!({})).await;
    let stale = created.text("RevisionId");
    let refused = "412 PreconditionFailedException: The Revision Id provided does not match the latest Revision Id. \
                   Call the GetFunction/GetAlias API to retrieve the latest Revision Id";
    let code = json!({ "ZipFile": package("2"), "RevisionId": stale });
    assert_eq!(service.update_code(code).await.error(), refused);
    assert_eq!(service.update_configuration(json!({ "RevisionId": stale })).await.error(), refused);
    assert_eq!(service.publish(json!({ "RevisionId": stale })).await.error(), refused);
    let fresh = service.get("/f/configuration").await;
    let updated = service.update_configuration(json!({ "RevisionId": fresh.text("RevisionId") })).await;
    assert_eq!(updated.status, 200);
}

#[tokio::test]
async fn updates_are_of_functions_only() {
    let service = service().await;
    service.created(json!({ "Publish": true })).await;
    let error = service.put("/f:1/configuration", json!({})).await.error();
    assert!(error.starts_with(
        "400 InvalidParameterValueException: This operation is permitted on Lambda functions only."
    ));
    let error = service.put("/g/configuration", json!({})).await.error();
    assert_eq!(
        error,
        "404 ResourceNotFoundException: Function not found: arn:aws:lambda:us-east-1:123456789012:function:g"
    );
}

#[tokio::test]
async fn dry_run_of_an_update_changes_nothing() {
    let service = service().await;
    service.created(json!({})).await;
    let before = service.get("/f").await.body;
    let dry = service.update_code(json!({ "ZipFile": package("2"), "DryRun": true, "Publish": true })).await;
    assert_eq!(dry.status, 200);
    assert_ne!(dry.body["CodeSha256"], before["Configuration"]["CodeSha256"]);
    for member in ["RevisionId", "LastModified", "Version", "State", "LastUpdateStatus"] {
        assert_eq!(dry.body[member], before["Configuration"][member], "{member}");
    }
    assert_eq!(service.get("/f").await.body, before);
}

#[tokio::test]
async fn deletion_takes_everything_with_it() {
    let service = service().await;
    service.created(json!({ "Publish": true, "Tags": { "a": "b" } })).await;
    service.post("/f/aliases", json!({ "Name": "live", "FunctionVersion": "1" })).await;
    assert_eq!(
        service.delete("/f?Qualifier=$LATEST").await.error(),
        "400 InvalidParameterValueException: $LATEST version cannot be deleted without deleting the function."
    );
    assert_eq!(
        service.delete("/f?Qualifier=live").await.error(),
        "400 InvalidParameterValueException: Deletion of aliases is not currently supported."
    );
    assert_eq!(
        service.delete("/f:1").await.error(),
        "409 ResourceConflictException: Unable to delete version because the following aliases reference it: [live]"
    );
    assert_eq!(service.delete("/f").await.status, 204);
    let gone = format!("404 ResourceNotFoundException: Function not found: {ARN}");
    assert_eq!(service.delete("/f").await.error(), gone);
    assert_eq!(service.delete("/f?Qualifier=$latest").await.error(), gone);
    assert_eq!(service.get("/f:1").await.error(), format!("{gone}:1"));

    let again = service.created(json!({ "Publish": true })).await;
    assert_eq!(again.text("Version"), "1");
    assert_eq!(service.get("/f/aliases").await.body, json!({ "Aliases": [] }));
    assert_eq!(service.get("/f").await.body.get("Tags"), None);
}

#[tokio::test]
async fn lists_have_pages() {
    let service = service().await;
    for index in 0..60 {
        let created = service.post("", request(json!({ "FunctionName": format!("f{index:02}") }))).await;
        assert_eq!(created.status, 201);
    }
    let first = service.get("?MaxItems=10000&MasterRegion=ALL").await.body;
    let names = |page: &Value| -> Vec<String> {
        let functions = page["Functions"].as_array().unwrap().iter();
        functions.map(|function| function["FunctionName"].as_str().unwrap().to_owned()).collect()
    };
    assert_eq!(names(&first).len(), 50);
    let next = format!("?Marker={}", first["NextMarker"].as_str().unwrap());
    let second = service.get(&next).await.body;
    assert_eq!(names(&second), (50..60).map(|index| format!("f{index:02}")).collect::<Vec<_>>());
    assert_eq!(second.get("NextMarker"), None);
    assert_eq!(second["Functions"][0].get("State"), None);
    assert_eq!(
        service.get("?Marker=x").await.error(),
        "400 InvalidParameterValueException: Marker is invalid"
    );
}

#[tokio::test]
async fn list_of_all_versions_has_pages_across_functions() {
    let service = service().await;
    for name in ["a", "b"] {
        service.created(json!({ "FunctionName": name, "Publish": true })).await;
        service.put(&format!("/{name}/code"), json!({ "ZipFile": package(name), "Publish": true })).await;
    }
    let mut arns = Vec::new();
    let mut marker = String::new();
    loop {
        let page = service.get(&format!("?FunctionVersion=ALL&MaxItems=2{marker}")).await.body;
        for function in page["Functions"].as_array().unwrap() {
            arns.push(
                function["FunctionArn"].as_str().unwrap().rsplit_once("function:").unwrap().1.to_owned(),
            );
        }
        let Some(next) = page.get("NextMarker") else { break };
        marker = format!("&Marker={}", next.as_str().unwrap());
    }
    assert_eq!(arns, ["a:$LATEST", "a:1", "a:2", "b:$LATEST", "b:1", "b:2"]);
}

#[tokio::test]
async fn account_settings_count_the_code_of_every_version() {
    let limits = Limits { total_code_size: 1000, ..Limits::default() };
    let service = configured(ControlConfig { limits, ..ControlConfig::default() }).await;
    let usage = async || {
        let settings =
            service.call(http::Method::GET, "/2016-08-19/account-settings", Value::Null).await.body;
        assert_eq!(settings["AccountLimit"]["UnreservedConcurrentExecutions"], 1000);
        let usage = &settings["AccountUsage"];
        (usage["FunctionCount"].as_u64().unwrap(), usage["TotalCodeSize"].as_u64().unwrap())
    };
    assert_eq!(usage().await, (0, 0));
    let size = service.created(json!({})).await.body["CodeSize"].as_u64().unwrap();
    service.update_configuration(json!({ "Description": "d" })).await;
    assert_eq!(usage().await, (1, size));
    service.publish(json!({})).await;
    assert_eq!(usage().await, (1, 2 * size));
    let mut published = 0;
    let refused = loop {
        service.update_configuration(json!({ "Description": published.to_string() })).await;
        let answer = service.publish(json!({})).await;
        if answer.status != 201 {
            break answer.error();
        }
        published += 1;
        assert!(published < 20, "the limit is never met");
    };
    assert_eq!(refused, "400 CodeStorageExceededException: Code storage limit exceeded.");
    assert!(usage().await.1 <= 1000);
}

#[tokio::test]
async fn nothing_is_a_replica_of_a_function_elsewhere() {
    let service = service().await;
    service.created(json!({ "Publish": true })).await;
    let all = service.get("?FunctionVersion=ALL&MasterRegion=ALL").await.body;
    assert_eq!(all["Functions"].as_array().unwrap().len(), 2);
    let replicas = service.get("?FunctionVersion=ALL&MasterRegion=us-east-1").await;
    assert_eq!((replicas.status, &replicas.body["Functions"]), (200, &json!([])));
    assert_eq!(
        service.get("?MasterRegion=us-east-1").await.error(),
        "400 InvalidParameterValueException: FunctionVersion must be set to ALL when MasterRegion is specified."
    );
}
