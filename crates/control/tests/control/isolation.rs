//! Accounts and regions are worlds of their own: what is in one is neither seen nor changed from another.

use http::Method;
use serde_json::{Value, json};

use crate::support::{ARN, Service, package, request, service};

/// A kind of thing that operations make.
struct Kind {
    name: &'static str,
    /// Makes one, in its own account and region as in any other.
    create: fn(&Service) -> (Method, String, Value),
    /// Where it is read, from the answer to its creation; its name is the same everywhere unless it is chosen for it.
    get: fn(&Value) -> String,
    /// Where such things are listed, and the member that holds them.
    list: Option<(&'static str, &'static str)>,
    /// How it is deleted, if that can be seen; otherwise the function takes it along.
    deletable: bool,
}

const KINDS: [Kind; 11] = [
    Kind {
        name: "function",
        create: |_| (Method::POST, "/2015-03-31/functions".into(), request(json!({ "FunctionName": "g" }))),
        get: |_| "/2015-03-31/functions/g".into(),
        list: Some(("/2015-03-31/functions", "Functions")),
        deletable: true,
    },
    Kind {
        name: "version",
        create: |_| (Method::POST, "/2015-03-31/functions/f/versions".into(), json!({})),
        get: |_| "/2015-03-31/functions/f?Qualifier=1".into(),
        list: None,
        deletable: false,
    },
    Kind {
        name: "alias",
        create: |_| {
            let alias = json!({ "Name": "a", "FunctionVersion": "$LATEST" });
            (Method::POST, "/2015-03-31/functions/f/aliases".into(), alias)
        },
        get: |_| "/2015-03-31/functions/f/aliases/a".into(),
        list: Some(("/2015-03-31/functions/f/aliases", "Aliases")),
        deletable: true,
    },
    Kind {
        name: "layer version",
        create: |_| {
            let layer = json!({ "Content": { "ZipFile": package("1") } });
            (Method::POST, "/2018-10-31/layers/l/versions".into(), layer)
        },
        get: |_| "/2018-10-31/layers/l/versions/1".into(),
        list: Some(("/2018-10-31/layers", "Layers")),
        deletable: false,
    },
    Kind {
        name: "permission",
        create: |_| {
            let statement = json!({ "StatementId": "s", "Action": "lambda:InvokeFunction", "Principal": "s3.amazonaws.com" });
            (Method::POST, "/2015-03-31/functions/f/policy".into(), statement)
        },
        get: |_| "/2015-03-31/functions/f/policy".into(),
        list: None,
        deletable: false,
    },
    Kind {
        name: "function URL",
        create: |_| (Method::POST, "/2021-10-31/functions/f/url".into(), json!({ "AuthType": "NONE" })),
        get: |_| "/2021-10-31/functions/f/url".into(),
        list: Some(("/2021-10-31/functions/f/urls", "FunctionUrlConfigs")),
        deletable: true,
    },
    Kind {
        name: "event invoke config",
        create: |_| {
            let config = json!({ "MaximumRetryAttempts": 1 });
            (Method::PUT, "/2019-09-25/functions/f/event-invoke-config".into(), config)
        },
        get: |_| "/2019-09-25/functions/f/event-invoke-config".into(),
        list: Some(("/2019-09-25/functions/f/event-invoke-config/list", "FunctionEventInvokeConfigs")),
        deletable: true,
    },
    Kind {
        name: "event source mapping",
        create: |service| {
            let source = format!("arn:aws:sqs:{}:{}:queue", service.region, service.account);
            let mapping = json!({ "FunctionName": "f", "EventSourceArn": source });
            (Method::POST, "/2015-03-31/event-source-mappings".into(), mapping)
        },
        get: |made| format!("/2015-03-31/event-source-mappings/{}", made["UUID"].as_str().unwrap()),
        list: Some(("/2015-03-31/event-source-mappings", "EventSourceMappings")),
        deletable: true,
    },
    Kind {
        name: "code signing config",
        create: |_| {
            let profile = "arn:aws:signer:us-east-1:123456789012:/signing-profiles/p";
            let config = json!({ "AllowedPublishers": { "SigningProfileVersionArns": [profile] } });
            (Method::POST, "/2020-04-22/code-signing-configs".into(), config)
        },
        get: |made| {
            let arn = made["CodeSigningConfig"]["CodeSigningConfigArn"].as_str().unwrap();
            format!("/2020-04-22/code-signing-configs/{arn}")
        },
        list: Some(("/2020-04-22/code-signing-configs", "CodeSigningConfigs")),
        deletable: true,
    },
    Kind {
        name: "capacity provider",
        create: |_| {
            let provider = json!({
                "CapacityProviderName": "p",
                "VpcConfig": { "SubnetIds": ["subnet-1"], "SecurityGroupIds": [] },
                "PermissionsConfig": { "CapacityProviderOperatorRoleArn": "arn:aws:iam::123456789012:role/o" },
            });
            (Method::POST, "/2025-11-30/capacity-providers".into(), provider)
        },
        get: |_| "/2025-11-30/capacity-providers/p".into(),
        list: Some(("/2025-11-30/capacity-providers", "CapacityProviders")),
        deletable: true,
    },
    Kind {
        name: "tag",
        create: |service| {
            let arn = ARN.replace("us-east-1", service.region).replace("123456789012", service.account);
            (Method::POST, format!("/2017-03-31/tags/{arn}"), json!({ "Tags": { "a": "b" } }))
        },
        get: |_| format!("/2017-03-31/tags/{ARN}"),
        list: None,
        deletable: false,
    },
];

impl Service {
    async fn listed(&self, kind: &Kind) -> usize {
        let Some((path, member)) = kind.list else { return 0 };
        let list = self.call(Method::GET, path, Value::Null).await;
        list.body[member].as_array().map_or(0, Vec::len)
    }
}

#[tokio::test]
async fn accounts_and_regions_know_nothing_of_each_other() {
    for kind in KINDS {
        let name = kind.name;
        let home = service().await;
        home.created(json!({})).await;
        let before = home.listed(&kind).await;
        let elsewhere = [
            home.asked_by("210987654321", None),
            Service { region: "eu-west-1", ..home.asked_by("123456789012", None) },
        ];
        let (method, path, body) = (kind.create)(&home);
        let made = home.call(method, &path, body).await;
        assert!((200..300).contains(&made.status), "{name}: {:#}", made.body);
        let path = (kind.get)(&made.body);
        let shown = home.call(Method::GET, &path, Value::Null).await;
        assert_eq!(shown.status, 200, "{name}: {:#}", shown.body);

        for there in &elsewhere {
            // Nothing is there, with a function or without one.
            for _ in 0..2 {
                let foreign = there.call(Method::GET, &path, Value::Null).await;
                // An ARN names its account, whose policies let nobody else in.
                let refused = name == "tag" && there.account != home.account;
                assert_eq!(foreign.status, if refused { 403 } else { 404 }, "{name}: {:#}", foreign.body);
                if kind.deletable {
                    there.call(Method::DELETE, &path, Value::Null).await;
                }
                there.create(json!({})).await;
            }
            assert_eq!(there.listed(&kind).await, before, "{name}");
            // One of the same name is another one.
            let (method, path, body) = (kind.create)(there);
            let other = there.call(method, &path, body).await;
            assert!((200..300).contains(&other.status), "{name}: {:#}", other.body);
            assert_eq!(home.listed(&kind).await, before + usize::from(kind.list.is_some()), "{name}");
            let path = (kind.get)(&other.body);
            if kind.deletable {
                let deleted = there.call(Method::DELETE, &path, Value::Null).await;
                assert!((200..300).contains(&deleted.status), "{name}: {:#}", deleted.body);
            }
            there.delete("/f").await;
        }
        assert_eq!(home.call(Method::GET, &path, Value::Null).await.body, shown.body, "{name}");
    }
}
