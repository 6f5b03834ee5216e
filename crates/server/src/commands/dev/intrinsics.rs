//! CloudFormation's intrinsic functions, as far as they can be known without creating a stack.
//!
//! Must not guess: what cannot be known is an [`Unresolved`] that says so.

use std::collections::BTreeMap;

use serde_json::{Map, Value};

/// A value that only a real stack would know.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub(super) struct Unresolved(pub(super) String);

/// The names that a template may refer to.
#[derive(Debug)]
pub(super) struct Scope {
    /// Parameters with the values that they have.
    pub(super) parameters: BTreeMap<String, Value>,
    /// `Mappings`.
    pub(super) mappings: Map<String, Value>,
    /// `Conditions`.
    pub(super) conditions: Map<String, Value>,
    /// `Resources`.
    pub(super) resources: Map<String, Value>,
    /// `AWS::Region`.
    pub(super) region: String,
    /// `AWS::AccountId`.
    pub(super) account: String,
    /// `AWS::StackName`.
    pub(super) stack: String,
}

/// Resource types that are functions.
pub(super) const FUNCTION_TYPES: [&str; 2] = ["AWS::Serverless::Function", "AWS::Lambda::Function"];

/// Conditions may refer to each other; more than this is a circle.
const MAX_DEPTH: usize = 32;

impl Scope {
    /// The value with every intrinsic function replaced; `None` is `AWS::NoValue`.
    pub(super) fn resolve(&self, value: &Value) -> Result<Option<Value>, Unresolved> {
        match value {
            Value::Object(object) => match intrinsic(object) {
                Some((function, argument)) => self.call(function, argument),
                None => {
                    let mut resolved = Map::new();
                    for (name, member) in object {
                        if let Some(member) = self.resolve(member)? {
                            resolved.insert(name.clone(), member);
                        }
                    }
                    Ok(Some(Value::Object(resolved)))
                }
            },
            Value::Array(items) => {
                let items = items.iter().map(|item| self.resolve(item)).collect::<Result<Vec<_>, _>>()?;
                Ok(Some(Value::Array(items.into_iter().flatten().collect())))
            }
            plain => Ok(Some(plain.clone())),
        }
    }

    /// The value as text.
    pub(super) fn text(&self, value: &Value) -> Result<Option<String>, Unresolved> {
        match self.resolve(value)? {
            None | Some(Value::Null) => Ok(None),
            Some(value) => {
                plain_text(&value).map(Some).ok_or_else(|| Unresolved(format!("`{value}` is not a text")))
            }
        }
    }

    /// Whether a named condition holds.
    pub(super) fn condition(&self, name: &str) -> Result<bool, Unresolved> {
        self.condition_at(name, 0)
    }

    fn call(&self, function: &str, argument: &Value) -> Result<Option<Value>, Unresolved> {
        match function {
            "Ref" => self.reference(argument.as_str().unwrap_or_default()),
            "Fn::GetAtt" => self.attribute(argument).map(Some),
            "Fn::Sub" => self.substitute(argument).map(|text| Some(text.into())),
            "Fn::Join" => self.join(argument).map(|text| Some(text.into())),
            "Fn::Select" => self.select(argument),
            "Fn::Split" => self.split(argument).map(Some),
            "Fn::FindInMap" => self.find_in_map(argument),
            "Fn::If" => self.choose(argument),
            "Fn::Base64" => {
                use base64::Engine as _;
                let text = self.required_text(argument)?;
                Ok(Some(base64::engine::general_purpose::STANDARD.encode(text).into()))
            }
            "Condition" => Ok(Some(self.condition(argument.as_str().unwrap_or_default())?.into())),
            other => Err(Unresolved(format!("`{other}` needs a real stack"))),
        }
    }

    fn reference(&self, name: &str) -> Result<Option<Value>, Unresolved> {
        let known = match name {
            "AWS::NoValue" => return Ok(None),
            "AWS::Region" => self.region.clone(),
            "AWS::AccountId" => self.account.clone(),
            "AWS::Partition" => "aws".to_owned(),
            "AWS::URLSuffix" => "amazonaws.com".to_owned(),
            "AWS::StackName" => self.stack.clone(),
            "AWS::StackId" => self.arn("cloudformation", &format!("stack/{}/local", self.stack)),
            _ => {
                if let Some(value) = self.parameters.get(name) {
                    return Ok(Some(value.clone()));
                }
                return self.resource_reference(name).map(|text| Some(text.into()));
            }
        };
        Ok(Some(known.into()))
    }

    /// What `Ref` answers for a resource, where its name alone decides.
    fn resource_reference(&self, id: &str) -> Result<String, Unresolved> {
        let (kind, name) = self.resource(id)?;
        match (kind, name) {
            (kind, Some(name)) if FUNCTION_TYPES.contains(&kind) => Ok(name),
            ("AWS::SNS::Topic", Some(name)) => Ok(self.arn("sns", &name)),
            (
                "AWS::DynamoDB::Table"
                | "AWS::Serverless::SimpleTable"
                | "AWS::S3::Bucket"
                | "AWS::SSM::Parameter"
                | "AWS::Kinesis::Stream"
                | "AWS::Logs::LogGroup"
                | "AWS::IAM::Role",
                Some(name),
            ) => Ok(name),
            (kind, Some(_)) => {
                Err(Unresolved(format!("what `Ref` gives for `{id}` ({kind}) is known only once it exists")))
            }
            (kind, None) => {
                Err(Unresolved(format!("`{id}` ({kind}) has no name of its own in the template")))
            }
        }
    }

    /// A resource's type, and its name if the template gives one (functions always have one).
    fn resource(&self, id: &str) -> Result<(&str, Option<String>), Unresolved> {
        let resource = self
            .resources
            .get(id)
            .ok_or_else(|| Unresolved(format!("`{id}` is neither a parameter nor a resource")))?;
        let kind = resource.get("Type").and_then(Value::as_str).unwrap_or_default();
        let property = match kind {
            "AWS::Serverless::Function" | "AWS::Lambda::Function" => "FunctionName",
            "AWS::DynamoDB::Table" | "AWS::Serverless::SimpleTable" => "TableName",
            "AWS::S3::Bucket" => "BucketName",
            "AWS::SNS::Topic" => "TopicName",
            "AWS::SQS::Queue" => "QueueName",
            "AWS::Logs::LogGroup" => "LogGroupName",
            "AWS::IAM::Role" => "RoleName",
            _ => "Name",
        };
        let name = match resource.pointer(&format!("/Properties/{property}")) {
            Some(value) => self.text(value)?,
            None if FUNCTION_TYPES.contains(&kind) => Some(id.to_owned()),
            None => None,
        };
        Ok((kind, name))
    }

    fn attribute(&self, argument: &Value) -> Result<Value, Unresolved> {
        let (id, attribute) = match argument {
            Value::String(text) => text.split_once('.').unwrap_or((text, "")),
            Value::Array(parts) => match parts.as_slice() {
                [Value::String(id), Value::String(attribute)] => (id.as_str(), attribute.as_str()),
                _ => return Err(Unresolved(format!("`{argument}` is not a resource and an attribute"))),
            },
            _ => return Err(Unresolved(format!("`{argument}` is not a resource and an attribute"))),
        };
        let (kind, name) = self.resource(id)?;
        let arn = match (kind, attribute, name) {
            (kind, "Arn", Some(name)) if FUNCTION_TYPES.contains(&kind) => {
                self.arn("lambda", &format!("function:{name}"))
            }
            ("AWS::DynamoDB::Table" | "AWS::Serverless::SimpleTable", "Arn", Some(name)) => {
                self.arn("dynamodb", &format!("table/{name}"))
            }
            ("AWS::SQS::Queue", "Arn", Some(name)) => self.arn("sqs", &name),
            ("AWS::SQS::Queue", "QueueName", Some(name)) | ("AWS::SNS::Topic", "TopicName", Some(name)) => {
                name
            }
            ("AWS::Kinesis::Stream", "Arn", Some(name)) => self.arn("kinesis", &format!("stream/{name}")),
            ("AWS::S3::Bucket", "Arn", Some(name)) => format!("arn:aws:s3:::{name}"),
            ("AWS::IAM::Role", "Arn", Some(name)) => format!("arn:aws:iam::{}:role/{name}", self.account),
            (kind, _, _) => {
                return Err(Unresolved(format!(
                    "attribute `{attribute}` of `{id}` ({kind}) is known only once it exists"
                )));
            }
        };
        Ok(arn.into())
    }

    fn substitute(&self, argument: &Value) -> Result<String, Unresolved> {
        let (template, own) = match argument {
            Value::Array(parts) => match parts.as_slice() {
                [Value::String(template), Value::Object(own)] => (template.as_str(), Some(own)),
                _ => return Err(Unresolved("`Fn::Sub` wants a text, or a text and a map".to_owned())),
            },
            other => (other.as_str().unwrap_or_default(), None),
        };
        let mut result = String::new();
        let mut rest = template;
        while let Some(start) = rest.find("${") {
            result.push_str(&rest[..start]);
            let Some(length) = rest[start..].find('}') else { break };
            let name = rest[start + 2..start + length].trim();
            rest = &rest[start + length + 1..];
            if let Some(literal) = name.strip_prefix('!') {
                result.push_str(&format!("${{{literal}}}"));
            } else if let Some(value) = own.and_then(|own| own.get(name)) {
                result.push_str(&self.required_text(value)?);
            } else if name.contains('.') {
                result.push_str(&self.required_text(&self.attribute(&Value::String(name.to_owned()))?)?);
            } else {
                let value = self.reference(name)?.unwrap_or_default();
                result.push_str(&plain_text(&value).unwrap_or_default());
            }
        }
        result.push_str(rest);
        Ok(result)
    }

    fn join(&self, argument: &Value) -> Result<String, Unresolved> {
        let Some([delimiter, items]) = pair(argument) else {
            return Err(Unresolved("`Fn::Join` wants a delimiter and a list".to_owned()));
        };
        let items = self.list(items)?;
        let texts: Vec<String> = items.iter().filter_map(plain_text).collect();
        Ok(texts.join(delimiter.as_str().unwrap_or_default()))
    }

    fn select(&self, argument: &Value) -> Result<Option<Value>, Unresolved> {
        let chosen = pair(argument).and_then(|[index, items]| {
            let index = self.text(index).ok()??.parse::<usize>().ok()?;
            Some(self.list(items).map(|items| items.get(index).cloned()))
        });
        match chosen {
            Some(Ok(Some(value))) => Ok(Some(value)),
            Some(Err(error)) => Err(error),
            Some(Ok(None)) | None => {
                Err(Unresolved("`Fn::Select` wants an index that its list has".to_owned()))
            }
        }
    }

    fn split(&self, argument: &Value) -> Result<Value, Unresolved> {
        let Some([delimiter, text]) = pair(argument) else {
            return Err(Unresolved("`Fn::Split` wants a delimiter and a text".to_owned()));
        };
        let text = self.required_text(text)?;
        let delimiter = delimiter.as_str().filter(|delimiter| !delimiter.is_empty());
        let parts =
            delimiter.map_or_else(|| vec![text.as_str()], |delimiter| text.split(delimiter).collect());
        Ok(parts.into())
    }

    fn find_in_map(&self, argument: &Value) -> Result<Option<Value>, Unresolved> {
        let keys = match argument {
            Value::Array(keys) => {
                keys.iter().take(3).map(|key| self.required_text(key)).collect::<Result<Vec<_>, _>>()?
            }
            _ => Vec::new(),
        };
        let [map, first, second] = keys.as_slice() else {
            return Err(Unresolved("`Fn::FindInMap` wants a map and two keys".to_owned()));
        };
        let found = self.mappings.get(map).and_then(|map| map.get(first)).and_then(|level| level.get(second));
        match found {
            Some(value) => self.resolve(value),
            None => Err(Unresolved(format!("mapping `{map}` has no `{first}`, `{second}`"))),
        }
    }

    fn choose(&self, argument: &Value) -> Result<Option<Value>, Unresolved> {
        let parts = argument.as_array().map(Vec::as_slice);
        let Some([Value::String(condition), yes, no]) = parts else {
            return Err(Unresolved("`Fn::If` wants a condition and two values".to_owned()));
        };
        self.resolve(if self.condition(condition)? { yes } else { no })
    }

    fn condition_at(&self, name: &str, depth: usize) -> Result<bool, Unresolved> {
        let missing = || Unresolved(format!("condition `{name}` is not in the template"));
        let value = self.conditions.get(name).filter(|_| depth < MAX_DEPTH).ok_or_else(missing)?;
        self.truth(value, depth + 1)
    }

    fn truth(&self, value: &Value, depth: usize) -> Result<bool, Unresolved> {
        let unknown = || Unresolved(format!("`{value}` is not a condition"));
        let (function, argument) = value.as_object().and_then(intrinsic).ok_or_else(unknown)?;
        let parts = argument.as_array().map(Vec::as_slice).unwrap_or_default();
        match (function, parts) {
            ("Fn::Equals", [left, right]) => Ok(self.text(left)? == self.text(right)?),
            ("Fn::Not", [inner]) => Ok(!self.truth(inner, depth)?),
            ("Fn::And", parts) => all(parts.iter().map(|part| self.truth(part, depth))),
            ("Fn::Or", parts) => {
                Ok(!all(parts.iter().map(|part| self.truth(part, depth).map(|holds| !holds)))?)
            }
            ("Condition", _) => self.condition_at(argument.as_str().unwrap_or_default(), depth),
            _ => Err(unknown()),
        }
    }

    fn list(&self, value: &Value) -> Result<Vec<Value>, Unresolved> {
        match self.resolve(value)? {
            Some(Value::Array(items)) => Ok(items),
            // A parameter of type CommaDelimitedList.
            Some(Value::String(text)) => Ok(text.split(',').map(|part| part.trim().into()).collect()),
            _ => Err(Unresolved(format!("`{value}` is not a list"))),
        }
    }

    fn required_text(&self, value: &Value) -> Result<String, Unresolved> {
        self.text(value)?.ok_or_else(|| Unresolved("a text is missing".to_owned()))
    }

    fn arn(&self, service: &str, resource: &str) -> String {
        format!("arn:aws:{service}:{}:{}:{resource}", self.region, self.account)
    }
}

/// The function and its argument, if this object is a call of one.
fn intrinsic(object: &Map<String, Value>) -> Option<(&str, &Value)> {
    let mut members = object.iter();
    let (name, argument) = members.next().filter(|_| members.next().is_none())?;
    (name == "Ref" || name == "Condition" || name.starts_with("Fn::")).then_some((name.as_str(), argument))
}

fn pair(value: &Value) -> Option<[&Value; 2]> {
    match value.as_array()?.as_slice() {
        [first, second] => Some([first, second]),
        _ => None,
    }
}

/// Like `Iterator::all` for things that may fail.
fn all(mut truths: impl Iterator<Item = Result<bool, Unresolved>>) -> Result<bool, Unresolved> {
    truths.try_fold(true, |so_far, truth| Ok(truth? && so_far))
}

fn plain_text(value: &Value) -> Option<String> {
    match value {
        Value::String(text) => Some(text.clone()),
        Value::Number(number) => Some(number.to_string()),
        Value::Bool(truth) => Some(truth.to_string()),
        Value::Null | Value::Array(_) | Value::Object(_) => None,
    }
}
