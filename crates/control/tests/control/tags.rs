//! Tags.

use http::Method;
use serde_json::{Value, json};

use crate::support::{ARN, Answer, Service, service};

async fn tag(service: &Service, resource: &str, tags: Value) -> Answer {
    service.call(Method::POST, &format!("/2017-03-31/tags/{resource}"), json!({ "Tags": tags })).await
}

async fn list(service: &Service, resource: &str) -> Answer {
    service.call(Method::GET, &format!("/2017-03-31/tags/{resource}"), Value::Null).await
}

async fn untag(service: &Service, keys: &str) -> Answer {
    service.call(Method::DELETE, &format!("/2017-03-31/tags/{ARN}?{keys}"), Value::Null).await
}

#[tokio::test]
async fn tags_come_and_go_and_change_the_revision() {
    let service = service().await;
    service.created(json!({ "Tags": { "a": "1" } })).await;
    let before = service.get("/f/configuration").await;
    assert_eq!(tag(&service, ARN, json!({ "b": "2", "a": "3" })).await.status, 204);
    let found = service.get("/f").await.body;
    assert_eq!(found["Tags"], json!({ "a": "3", "b": "2" }));
    assert_ne!(found["Configuration"]["RevisionId"], before.body["RevisionId"]);
    assert_eq!(untag(&service, "tagKeys=a&tagKeys=none").await.status, 204);
    assert_eq!(list(&service, ARN).await.body, json!({ "Tags": { "b": "2" } }));
    let before = service.get("/f").await.body;
    assert_eq!(untag(&service, "tagKeys=none").await.status, 204);
    assert_eq!(service.get("/f").await.body, before);
}

#[tokio::test]
async fn tags_that_aws_refuses_are_refused_in_its_words() {
    let service = service().await;
    service.created(json!({ "Tags": { "first": "x" } })).await;
    let invalid = "400 InvalidParameterValueException";
    assert_eq!(
        tag(&service, ARN, json!({})).await.error(),
        format!("{invalid}: An error occurred and the request cannot be processed.")
    );
    let many: Value = (0..50).map(|index| (index.to_string(), Value::from("x"))).collect();
    assert_eq!(
        tag(&service, ARN, many).await.error(),
        format!("{invalid}: Number of tags exceeds resource tag limit.")
    );
    for qualifier in ["$LATEST", "1", "alias"] {
        assert_eq!(
            tag(&service, &format!("{ARN}:{qualifier}"), json!({ "a": "b" })).await.error(),
            format!(
                "{invalid}: Tags on function aliases and versions are not supported. Please specify a function ARN."
            )
        );
    }
    let other = "arn:aws:lambda:us-east-1:123456789012:function:g";
    assert_eq!(
        list(&service, other).await.error(),
        format!("404 ResourceNotFoundException: Function not found: {other}")
    );
    let mapping =
        "arn:aws:lambda:us-east-1:123456789012:event-source-mapping:b7fbbf41-e8b7-4b7c-9b5c-0d3e2d5b3a6f";
    assert_eq!(
        list(&service, mapping).await.error(),
        format!("404 ResourceNotFoundException: Event source mapping not found: {mapping}")
    );
    assert_eq!(list(&service, ARN).await.body, json!({ "Tags": { "first": "x" } }));
}

/// Something else that can have tags: what makes it, and where its ARN is in the answer.
type Taggable = (&'static str, fn() -> Value, &'static str);

const RESOURCES: [Taggable; 3] = [
    (
        "/2020-04-22/code-signing-configs",
        || {
            let profile = "arn:aws:signer:us-east-1:123456789012:/signing-profiles/p";
            json!({ "AllowedPublishers": { "SigningProfileVersionArns": [profile] } })
        },
        "/CodeSigningConfig/CodeSigningConfigArn",
    ),
    (
        "/2015-03-31/event-source-mappings",
        || json!({ "FunctionName": "f", "EventSourceArn": "arn:aws:sqs:us-east-1:123456789012:queue" }),
        "/EventSourceMappingArn",
    ),
    (
        "/2025-11-30/capacity-providers",
        || {
            json!({
                "CapacityProviderName": "p",
                "VpcConfig": { "SubnetIds": ["subnet-1"], "SecurityGroupIds": [] },
                "PermissionsConfig": { "CapacityProviderOperatorRoleArn": "arn:aws:iam::123456789012:role/o" },
            })
        },
        "/CapacityProvider/CapacityProviderArn",
    ),
];

#[tokio::test]
async fn everything_taggable_is_tagged_alike() {
    let invalid = "400 InvalidParameterValueException";
    for (path, members, arn) in RESOURCES {
        let service = service().await;
        service.created(json!({})).await;
        let create = async |tags: Value| {
            let mut members = members();
            members["Tags"] = tags;
            service.call(Method::POST, path, members).await
        };
        let many: Value = (0..51).map(|index| (index.to_string(), Value::from("x"))).collect();
        let too_many = format!("{invalid}: Number of tags exceeds resource tag limit.");
        assert_eq!(create(many.clone()).await.error(), too_many);
        let created = create(json!({ "a": "1" })).await;
        let arn = created.body.pointer(arn).unwrap_or_else(|| panic!("no {arn} in {:#}", created.body));
        let arn = arn.as_str().unwrap();
        assert_eq!(list(&service, arn).await.body, json!({ "Tags": { "a": "1" } }));
        assert_eq!(tag(&service, arn, json!({ "a": "2", "b": "3" })).await.status, 204);
        assert_eq!(tag(&service, arn, many).await.error(), too_many);
        let path = format!("/2017-03-31/tags/{arn}?tagKeys=a");
        let untagged = service.call(Method::DELETE, &path, Value::Null);
        assert_eq!(untagged.await.status, 204);
        assert_eq!(list(&service, arn).await.body, json!({ "Tags": { "b": "3" } }));
        assert_eq!(
            tag(&service, arn, json!({})).await.error(),
            format!("{invalid}: An error occurred and the request cannot be processed.")
        );
    }
}

#[tokio::test]
async fn reserved_keys_are_refused() {
    let service = service().await;
    for key in ["aws:x", "AWS:x"] {
        let refused = service.create(json!({ "Tags": { key: "x" } })).await.error();
        assert!(refused.starts_with("400 InvalidParameterValueException: "), "{refused}");
    }
    service.created(json!({ "Tags": { "aws": "x", "ü:aws:": "x" } })).await;
    let refused = tag(&service, ARN, json!({ "aws:x": "x" })).await.error();
    assert!(refused.starts_with("400 InvalidParameterValueException: "), "{refused}");
}

#[tokio::test]
async fn what_is_not_there_has_a_name_in_messages() {
    let service = service().await;
    service.created(json!({})).await;
    for (resource, kind) in [
        ("code-signing-config:csc-00000000000000000", "Code signing config"),
        ("capacity-provider:p", "Capacity provider"),
        ("network-connector:n", "Network connector"),
    ] {
        for place in ["us-east-1:123456789012", "eu-west-1:123456789012"] {
            let arn = format!("arn:aws:lambda:{place}:{resource}");
            let expected = format!("404 ResourceNotFoundException: {kind} not found: {arn}");
            assert_eq!(list(&service, &arn).await.error(), expected);
            assert_eq!(tag(&service, &arn, json!({ "a": "b" })).await.error(), expected);
        }
    }
    for place in ["eu-west-1:123456789012", "us-gov-west-1:123456789012"] {
        let arn = format!("arn:aws:lambda:{place}:function:f");
        let expected = format!("404 ResourceNotFoundException: Function not found: {arn}");
        assert_eq!(tag(&service, &arn, json!({ "a": "b" })).await.error(), expected);
    }
    let layer = list(&service, "arn:aws:lambda:us-east-1:123456789012:layer:l").await.error();
    assert!(layer.starts_with("400 ValidationException: "), "the model has no tags of layers: {layer}");
}

#[tokio::test]
async fn tags_are_nothing_to_other_accounts() {
    let service = service().await;
    let owner = service.asked_by("210987654321", None);
    owner.created(json!({})).await;
    for resource in
        ["function:f", "function:none", "capacity-provider:p", "code-signing-config:csc-00000000000000000"]
    {
        let arn = format!("arn:aws:lambda:us-east-1:210987654321:{resource}");
        let refused = |action: &str| {
            format!(
                "403 AccessDeniedException: User: arn:aws:iam::123456789012:root is not authorized to perform: \
                 lambda:{action} on resource: {arn} because no resource-based policy allows the lambda:{action} action"
            )
        };
        assert_eq!(list(&service, &arn).await.error(), refused("ListTags"));
        assert_eq!(tag(&service, &arn, json!({ "a": "b" })).await.error(), refused("TagResource"));
        let path = format!("/2017-03-31/tags/{arn}?tagKeys=a");
        assert_eq!(service.call(Method::DELETE, &path, Value::Null).await.error(), refused("UntagResource"));
    }
}
