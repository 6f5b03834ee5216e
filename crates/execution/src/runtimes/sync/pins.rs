//! The versions that a sync installs, raised by hand with the tests that use them.
//!
//! Must not look anything up: two syncs of one Hothouse install the same.

use crate::runtimes::family::{Language, Line};

/// The clients of the AWS SDK for JavaScript that most functions use. AWS bundles all of about 400; those take
/// minutes and more than a gigabyte, so the others are added by name (`hothouse runtimes sync @aws-sdk/client-…`).
const NODE_CLIENTS: &[&str] = &[
    "client-api-gateway",
    "client-apigatewaymanagementapi",
    "client-bedrock-runtime",
    "client-cloudformation",
    "client-cloudwatch",
    "client-cloudwatch-logs",
    "client-cognito-identity-provider",
    "client-dynamodb",
    "client-eventbridge",
    "client-firehose",
    "client-iam",
    "client-kinesis",
    "client-kms",
    "client-lambda",
    "client-rds-data",
    "client-s3",
    "client-scheduler",
    "client-secrets-manager",
    "client-ses",
    "client-sesv2",
    "client-sfn",
    "client-sns",
    "client-sqs",
    "client-ssm",
    "client-sts",
    "lib-dynamodb",
    "lib-storage",
    "s3-request-presigner",
    "util-dynamodb",
];

/// Packages of the SDK are released when they change, so one bound fits all: each is at its newest up to this one.
const NODE_SDK: &str = ">=3.900.0 <=3.1173.0";
const NODE_CLIENT: &str = "aws-lambda-ric@4.0.2";

const JAVA: &[&str] = &[
    "com.amazonaws:aws-lambda-java-core:1.4.0",
    "com.amazonaws:aws-lambda-java-events:3.16.1",
    "com.amazonaws:aws-lambda-java-runtime-interface-client:2.9.0",
    "com.amazonaws:aws-lambda-java-serialization:1.2.0",
];

const RUBY: &[&str] = &["aws_lambda_ric:3.1.3"];

/// What belongs to a release line, in its package tool's notation.
pub(super) fn packages(language: Language, line: Line, official_clients: bool) -> Vec<String> {
    match language {
        Language::Python => {
            // The last releases for Pythons that the newer ones dropped.
            let (sdk, client) = match line.minor {
                ..=8 => ("boto3==1.37.38", "awslambdaric==2.2.1"),
                9 => ("boto3==1.42.97", "awslambdaric==4.0.4"),
                10.. => ("boto3==1.44.5", "awslambdaric==4.2.2"),
            };
            [sdk].into_iter().chain(official_clients.then_some(client)).map(str::to_owned).collect()
        }
        Language::Node => {
            let sdk = NODE_CLIENTS.iter().map(|name| npm_package(&format!("@aws-sdk/{name}")));
            sdk.chain(official_clients.then(|| NODE_CLIENT.to_owned())).collect()
        }
        Language::Java => JAVA.iter().copied().map(str::to_owned).collect(),
        Language::Ruby => RUBY.iter().copied().map(str::to_owned).collect(),
    }
}

/// A package that was asked for by name: `@scope/name` or `@scope/name@version`.
pub(super) fn npm_package(name: &str) -> String {
    let has_version = name.rfind('@').is_some_and(|position| position > 0);
    match (has_version, name.starts_with("@aws-sdk/")) {
        (true, _) => name.to_owned(),
        (false, true) => format!("{name}@{NODE_SDK}"),
        (false, false) => format!("{name}@latest"),
    }
}

/// A Maven project that depends on these.
pub(super) fn maven_project(packages: &[String]) -> String {
    let dependencies: String = packages
        .iter()
        .map(|package| {
            let mut parts = package.split(':');
            let mut part = || parts.next().expect("pins have three parts");
            let (group, artifact, version) = (part(), part(), part());
            format!(
                "<dependency><groupId>{group}</groupId><artifactId>{artifact}</artifactId>\
                 <version>{version}</version></dependency>"
            )
        })
        .collect();
    format!(
        "<project xmlns=\"http://maven.apache.org/POM/4.0.0\"><modelVersion>4.0.0</modelVersion>\
         <groupId>local</groupId><artifactId>runtime</artifactId><version>1</version>\
         <dependencies>{dependencies}</dependencies></project>\n"
    )
}

/// The line to recommend where there is none.
pub(super) fn newest(language: Language) -> Line {
    let (major, minor) = match language {
        Language::Python => (3, 14),
        Language::Node => (24, 0),
        Language::Java => (25, 0),
        Language::Ruby => (3, 4),
    };
    Line { major, minor }
}
