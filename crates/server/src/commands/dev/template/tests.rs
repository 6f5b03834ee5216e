//! Templates, and what becomes of them. Must not need a service.

use super::*;

fn parsed(text: &str) -> Plan {
    with_parameters(text, &[])
}

fn with_parameters(text: &str, parameters: &[(String, String)]) -> Plan {
    let surroundings = Surroundings { region: "eu-west-1", account: "123456789012", parameters };
    // This crate's own folder stands in for a project: `CodeUri` has to exist.
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("template.yaml");
    parse(&path, text, &surroundings).unwrap()
}

const EVERYTHING: &str = r#"
Parameters:
  Stage: { Type: String, Default: dev }
  Names: { Type: CommaDelimitedList, Default: "one,two" }
Mappings:
  Sizes: { dev: { memory: 192 }, prod: { memory: 1024 } }
Conditions:
  IsProd: !Equals [!Ref Stage, prod]
  IsNotProd: !Not [!Condition IsProd]
Globals:
  Function:
    Runtime: python3.12
    Timeout: 7
    Environment:
      Variables: { SHARED: everywhere, STAGE: global }
Resources:
  Table:
    Type: AWS::DynamoDB::Table
    Properties: { TableName: !Sub "orders-${Stage}" }
  Queue:
    Type: AWS::SQS::Queue
  Orders:
    Type: AWS::Serverless::Function
    Properties:
      FunctionName: !Sub "${AWS::StackName}-orders-${Stage}"
      CodeUri: src/
      Handler: orders.handler
      MemorySize: !FindInMap [Sizes, !Ref Stage, memory]
      EphemeralStorage: { Size: 1024 }
      Architectures: [arm64]
      Layers: [some-layer]
      Events: { Api: { Type: Api } }
      Environment:
        Variables:
          STAGE: !Ref Stage
          TABLE: !Ref Table
          TABLE_ARN: !GetAtt Table.Arn
          OTHER_ARN: !GetAtt [Plain, Arn]
          QUEUE_URL: !Ref Queue
          SECOND: !Select [1, !Ref Names]
          JOINED: !Join ["-", [a, !Ref "AWS::Region", "${!kept}"]]
          LITERAL: !Sub "${!kept} ${Word}"
          WITH_MAP: !Sub ["${Word}-${AWS::AccountId}", { Word: !If [IsProd, big, small] }]
          ABSENT: !If [IsProd, present, !Ref "AWS::NoValue"]
          NUMBER: 5
  Plain:
    Type: AWS::Lambda::Function
    Condition: IsNotProd
    Properties:
      Runtime: nodejs22.x
      Handler: index.handler
      Code:
        ZipFile: "exports.handler = async () => 1"
  Never:
    Type: AWS::Lambda::Function
    Condition: IsProd
    Properties: { Runtime: python3.12, Handler: a.b, Code: { ZipFile: "" } }
  Fetched:
    Type: AWS::Serverless::Function
    Properties: { Handler: a.b, CodeUri: "s3://bucket/folder/key.zip" }
  Image:
    Type: AWS::Serverless::Function
    Properties: { PackageType: Image }
  Lost:
    Type: AWS::Serverless::Function
    Properties: { Handler: a.b, CodeUri: nowhere/ }
  Imported:
    Type: AWS::Serverless::Function
    Properties: { Handler: !ImportValue handler, CodeUri: src/ }
"#;

#[test]
fn a_template_becomes_functions_problems_and_notes() {
    let plan = parsed(EVERYTHING);
    let text = format!("{plan:#?}").replace(env!("CARGO_MANIFEST_DIR"), "[PROJECT]");
    insta::assert_snapshot!(text, @r#"
    Plan {
        functions: [
            FunctionPlan {
                name: "server-orders-dev",
                runtime: "python3.12",
                handler: "orders.handler",
                code: Folder(
                    "[PROJECT]/src/",
                ),
                timeout: Some(
                    7,
                ),
                memory_size: Some(
                    192,
                ),
                ephemeral_storage: Some(
                    1024,
                ),
                environment: {
                    "JOINED": "a-eu-west-1-${!kept}",
                    "NUMBER": "5",
                    "OTHER_ARN": "arn:aws:lambda:eu-west-1:123456789012:function:Plain",
                    "SECOND": "two",
                    "SHARED": "everywhere",
                    "STAGE": "dev",
                    "TABLE": "orders-dev",
                    "TABLE_ARN": "arn:aws:dynamodb:eu-west-1:123456789012:table/orders-dev",
                    "WITH_MAP": "small-123456789012",
                },
                description: None,
                architectures: [
                    "arm64",
                ],
                role: None,
            },
            FunctionPlan {
                name: "Plain",
                runtime: "nodejs22.x",
                handler: "index.handler",
                code: Inline {
                    file: "index.js",
                    text: "exports.handler = async () => 1",
                },
                timeout: None,
                memory_size: None,
                ephemeral_storage: None,
                environment: {},
                description: None,
                architectures: [],
                role: None,
            },
            FunctionPlan {
                name: "Fetched",
                runtime: "python3.12",
                handler: "a.b",
                code: Bucket {
                    bucket: "bucket",
                    key: "folder/key.zip",
                    version: None,
                },
                timeout: Some(
                    7,
                ),
                memory_size: None,
                ephemeral_storage: None,
                environment: {
                    "SHARED": "everywhere",
                    "STAGE": "global",
                },
                description: None,
                architectures: [],
                role: None,
            },
        ],
        problems: [
            Problem {
                function: "Image",
                reason: "container images cannot be run",
            },
            Problem {
                function: "Lost",
                reason: "`CodeUri`: `[PROJECT]/nowhere/` does not exist",
            },
            Problem {
                function: "Imported",
                reason: "`Handler`: `Fn::ImportValue` needs a real stack",
            },
        ],
        notes: [
            "Orders: its layers are not attached",
            "Orders: its events are not connected",
            "Orders: variable `QUEUE_URL` is left out: `Queue` (AWS::SQS::Queue) has no name of its own in the template",
            "Orders: variable `LITERAL` is left out: `Word` is neither a parameter nor a resource",
            "resources that are not functions are not created: Table (AWS::DynamoDB::Table), Queue (AWS::SQS::Queue)",
        ],
    }
    "#);
}

#[test]
fn a_parameter_given_beats_its_default() {
    let plan = with_parameters(EVERYTHING, &[("Stage".to_owned(), "prod".to_owned())]);
    let orders = &plan.functions[0];
    assert_eq!((orders.name.as_str(), orders.memory_size), ("server-orders-prod", Some(1024)));
    assert_eq!(orders.environment["ABSENT"], "present");
    assert_eq!(plan.functions[1].name, "Never");
}

#[test]
fn conditions_that_refer_to_each_other_end() {
    let plan = parsed(
        "
Conditions:
  A: !Not [!Condition B]
  B: !Not [!Condition A]
Resources:
  F:
    Type: AWS::Lambda::Function
    Condition: A
    Properties: { Runtime: python3.12, Handler: a.b, Code: { ZipFile: x } }
",
    );
    assert_eq!(plan.functions.len(), 1);
    assert!(plan.notes[0].contains("its condition is unknown"), "{:?}", plan.notes);
}

#[test]
fn mistakes_in_yaml_are_located() {
    let surroundings = Surroundings { region: "eu-west-1", account: "123456789012", parameters: &[] };
    let message = |text| {
        let error = parse(Path::new("template.yaml"), text, &surroundings).unwrap_err();
        let cause = std::error::Error::source(&error).map(|cause| format!(": {cause}")).unwrap_or_default();
        format!("{error}{cause}")
    };
    insta::assert_snapshot!(message("Resources:\n  A: [\n"), @"failed to parse `template.yaml`: did not find expected node content at line 3 column 1, while parsing a flow node");
    insta::assert_snapshot!(message("Description: empty"), @"`template.yaml` has no `Resources`");
}
