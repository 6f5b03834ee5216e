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
