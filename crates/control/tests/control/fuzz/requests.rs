//! Requests from the model's own shapes: valid ones, and ones that are a little or very much beside it.
//!
//! Must not know what an operation does, only what it is sent and which of the things that exist it may name.

use std::collections::{BTreeMap, HashMap};

use base64::{Engine as _, prelude::BASE64_STANDARD};
use bytes::Bytes;
use fastrand::Rng;
use http::{HeaderName, HeaderValue, Request, Uri};
use proptest::{
    strategy::{Strategy, ValueTree},
    string::{RegexGeneratorStrategy, string_regex},
    test_runner::{Config, RngAlgorithm, TestRng, TestRunner},
};
use regex_lite::Regex;
use serde_json::{Map, Value, json};

use super::model::{Model, Operation};
use crate::support::{ROLE, package};

/// Makes requests, and learns from answers what there is to name.
pub(crate) struct Generator<'a> {
    model: &'a Model,
    pub(crate) random: Rng,
    texts: TestRunner,
    /// Texts of answers, by the name of the member that had them.
    seen: BTreeMap<String, Vec<String>>,
    packages: Vec<String>,
    patterns: HashMap<String, Pattern>,
}

/// An input in the places where a request carries it.
struct Bound {
    path: String,
    query: String,
    headers: Vec<(&'static str, Vec<u8>)>,
    body: String,
}

/// A pattern of the model; what looks around can be neither matched nor made by it.
struct Pattern {
    regex: Option<Regex>,
    strategy: Option<RegexGeneratorStrategy<String>>,
}

impl Pattern {
    fn new(source: &str) -> Self {
        let whole = format!(r"\A(?:{source})\z");
        Self { regex: Regex::new(&whole).ok(), strategy: string_regex(source).ok() }
    }
}

/// How far beside the model a request is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Aim {
    Valid,
    /// A member or two are not as they must be.
    Beside,
    /// Bytes are changed after that.
    Damaged,
}

impl<'a> Generator<'a> {
    pub(crate) fn new(model: &'a Model, seed: u64) -> Self {
        let mut random = Rng::with_seed(seed);
        let mut bytes = [0; 32];
        random.fill(&mut bytes);
        let texts = TestRng::from_seed(RngAlgorithm::ChaCha, &bytes);
        Self {
            model,
            random,
            texts: TestRunner::new_with_rng(Config::default(), texts),
            seen: BTreeMap::new(),
            packages: ["1", "2", "3"].map(package).into(),
            patterns: HashMap::new(),
        }
    }

    /// A request for an operation; none if what came out is nothing that HTTP could carry.
    pub(crate) fn request(&mut self, operation: &Operation, aim: Aim) -> Option<Request<Bytes>> {
        let mut input = match &operation.input {
            Some(shape) => self.structure(shape, 0),
            None => Map::new(),
        };
        if aim != Aim::Valid {
            for _ in 0..self.random.usize(1..3) {
                let mut document = Value::Object(input);
                self.spoil(&mut document);
                let Value::Object(spoiled) = document else { unreachable!("the whole stays an object") };
                input = spoiled;
            }
        }
        let Bound { mut path, mut query, mut headers, body } = self.bind(operation, input);
        let mut body = body.into_bytes();
        if aim == Aim::Damaged {
            match self.random.u8(..4) {
                0 => path = self.damaged_path(path),
                1 => query.push_str(self.random.choice(QUERIES).unwrap()),
                2 => {
                    let value: Vec<u8> =
                        (0..self.random.usize(..30)).map(|_| self.random.u8(0x20..)).collect();
                    headers.push(("x-amz-client-context", value));
                }
                _ => self.damage(&mut body),
            }
        }
        let separator = if path.contains('?') { '&' } else { '?' };
        let target: Uri = format!("{path}{separator}{query}").parse().ok()?;
        let mut request = Request::builder().method(operation.method.as_str()).uri(target);
        for (name, value) in headers {
            request = request.header(HeaderName::from_static(name), HeaderValue::from_bytes(&value).ok()?);
        }
        request.body(body.into()).ok()
    }

    /// Remembers what an answer names.
    pub(crate) fn learn(&mut self, answer: &Value) {
        match answer {
            Value::Object(members) => {
                for (name, value) in members {
                    match value {
                        Value::String(text) if text.len() < 300 => {
                            let known = self.seen.entry(name.clone()).or_default();
                            if known.len() < 30 {
                                known.push(text.clone());
                            } else {
                                let index = self.random.usize(..known.len());
                                known[index].clone_from(text);
                            }
                        }
                        nested => self.learn(nested),
                    }
                }
            }
            Value::Array(items) => items.iter().take(5).for_each(|item| self.learn(item)),
            _ => {}
        }
    }

    /// Puts members where the model has them: path, query, headers, body.
    fn bind(&mut self, operation: &Operation, mut input: Map<String, Value>) -> Bound {
        let mut path = operation.path.clone();
        let (mut query, mut headers, mut body) = (String::new(), Vec::new(), String::new());
        let Some(shape) = &operation.input else { return Bound { path, query, headers, body } };
        for (name, reference) in self.model.members(shape) {
            let Some(location) = reference["location"].as_str() else { continue };
            let value = input.remove(name);
            let wire = reference["locationName"].as_str().unwrap();
            match location {
                "uri" => {
                    let text = value.as_ref().map(plain).unwrap_or_default();
                    path = path.replace(&format!("{{{wire}}}"), &self.encoded(&text));
                }
                "querystring" => {
                    let values = match value {
                        Some(Value::Array(values)) => values,
                        Some(value) => vec![value],
                        None => Vec::new(),
                    };
                    for value in values {
                        query.push_str(&format!("&{wire}={}", self.encoded(&plain(&value))));
                    }
                }
                "header" => {
                    let known = HEADERS.iter().find(|known| known.eq_ignore_ascii_case(wire));
                    let name = known.unwrap_or_else(|| panic!("{wire} is a new header of the model"));
                    headers.extend(value.map(|value| (*name, plain(&value).into_bytes())));
                }
                other => panic!("{other} is a new location of the model"),
            }
        }
        if let Some(payload) = self.model.shape(shape)["payload"].as_str() {
            body = match input.remove(payload) {
                // A blob is sent as it is.
                Some(Value::String(_)) | None => self.random.choice(PAYLOADS).unwrap().to_string(),
                Some(document) => document.to_string(),
            };
        } else if !input.is_empty() || self.random.u8(..4) == 0 {
            body = Value::Object(input).to_string();
        }
        Bound { path, query, headers, body }
    }

    fn encoded(&mut self, text: &str) -> String {
        let also_plain = if self.random.bool() { "-_.~" } else { "-_.~:$/" };
        let mut encoded = String::new();
        for byte in text.bytes() {
            if byte.is_ascii_alphanumeric() || also_plain.as_bytes().contains(&byte) {
                encoded.push(byte.into());
            } else {
                encoded.push_str(&format!("%{byte:02X}"));
            }
        }
        encoded
    }

    fn structure(&mut self, name: &str, depth: usize) -> Map<String, Value> {
        let model = self.model;
        let mut members = Map::new();
        // Optional members come in twos and threes, so that most requests are acceptable.
        let count = model.members(name).count().max(1);
        let chance = if depth == 0 { (2.5 / count as f64).max(0.15) } else { 0.5 };
        for (member, reference) in model.members(name) {
            if model.is_required(name, member) || (depth < 6 && self.random.f64() < chance) {
                let shape = reference["shape"].as_str().unwrap();
                members.insert(member.clone(), self.value(shape, member, depth + 1));
            }
        }
        match name {
            "CreateFunctionRequest" if self.random.u8(..8) > 0 => {
                members.insert("Code".to_owned(), json!({"ZipFile": self.package()}));
                members.insert("Runtime".to_owned(), "python3.12".into());
                members.insert("Handler".to_owned(), "index.handler".into());
                members.remove("PackageType");
                members.remove("CapacityProviderConfig");
                let provider = self.seen.get("CapacityProviderArn").and_then(|seen| self.random.choice(seen));
                if let Some(provider) = provider.filter(|_| self.random.u8(..3) == 0) {
                    let managed = json!({"CapacityProviderArn": provider});
                    members.insert(
                        "CapacityProviderConfig".to_owned(),
                        json!({"LambdaManagedInstancesCapacityProviderConfig": managed}),
                    );
                    members.insert("MemorySize".to_owned(), 2048.into());
                    members.insert("FunctionName".to_owned(), "managed".into());
                    members.insert("Runtime".to_owned(), "python3.13".into());
                }
            }
            // What goes with what differs from source to source.
            "CreateEventSourceMappingRequest" if self.random.u8(..4) > 0 => {
                members.retain(|name, _| matches!(name.as_str(), "FunctionName" | "Enabled" | "Tags"));
                let kinds = [("sqs", "q", None), ("sqs", "r", None), ("kinesis", "stream/s", Some("LATEST"))];
                let (service, source, position) = *self.random.choice(&kinds).unwrap();
                let arn = format!("arn:aws:{service}:us-east-1:123456789012:{source}");
                members.insert("EventSourceArn".to_owned(), arn.into());
                members.extend(position.map(|position| ("StartingPosition".to_owned(), position.into())));
            }
            "CreateCapacityProviderRequest" if self.random.bool() => {
                members.retain(|member, _| model.is_required(name, member));
            }
            "UpdateFunctionCodeRequest" if self.random.u8(..4) > 0 => {
                members.retain(|name, _| !name.starts_with("S3") && !name.starts_with("Image"));
                members.insert("ZipFile".to_owned(), self.package().into());
            }
            "LayerVersionContentInput" if self.random.u8(..4) > 0 => {
                members = Map::from_iter([("ZipFile".to_owned(), self.package().into())]);
            }
            _ => {}
        }
        members
    }

    fn value(&mut self, name: &str, member: &str, depth: usize) -> Value {
        let shape = self.model.shape(name);
        let bound = |bound: &str| shape[bound].as_f64();
        match shape["type"].as_str().unwrap() {
            "structure" => Value::Object(self.structure(name, depth)),
            "list" => {
                let most = (bound("max").unwrap_or(3.0) as usize).min(3);
                let count = self.random.usize(0..=most).max((bound("min").unwrap_or(0.0) as usize).min(3));
                let item = shape["member"]["shape"].as_str().unwrap();
                (0..count).map(|_| self.value(item, member, depth + 1)).collect()
            }
            "map" => {
                let count = self.random.usize(..3);
                let (key, value) = (&shape["key"]["shape"], &shape["value"]["shape"]);
                let entries = (0..count).map(|_| {
                    let text = self.value(key.as_str().unwrap(), &format!("{member}.key"), depth + 1);
                    (plain(&text), self.value(value.as_str().unwrap(), member, depth + 1))
                });
                Value::Object(entries.collect())
            }
            "string" => match shape["enum"].as_array() {
                Some(values) => self.random.choice(values).unwrap().clone(),
                None => self.text(shape, member).into(),
            },
            "integer" | "long" => {
                let (min, max) = (bound("min").unwrap_or(0.0) as i64, bound("max").unwrap_or(1e6) as i64);
                match self.random.u8(..5) {
                    0 => max.into(),
                    1 => min.into(),
                    _ => self.random.i64(min..=max.min(min + 10).max(min)).into(),
                }
            }
            "double" => json!(self.random.u32(0..=10) as f64 / 10.0),
            "boolean" => self.random.bool().into(),
            "timestamp" => json!(1_700_000_000 + i64::from(self.random.u32(..1_000_000))),
            "blob" if member == "ZipFile" => self.package().into(),
            "blob" => BASE64_STANDARD.encode("{}").into(),
            other => panic!("the model has a new type of shape: {other}"),
        }
    }

    fn package(&mut self) -> String {
        self.random.choice(&self.packages).unwrap().clone()
    }

    fn text(&mut self, shape: &Value, member: &str) -> String {
        let pattern = shape["pattern"].as_str().unwrap_or("[a-zA-Z0-9]{1,12}");
        if let Some((_, known, sources)) = TEXTS.iter().find(|(name, ..)| *name == member)
            && self.random.u8(..16) > 0
        {
            let patterns = &mut self.patterns;
            let Pattern { regex, .. } =
                patterns.entry(pattern.to_owned()).or_insert_with(|| Pattern::new(pattern));
            let fits = |text: &&str| match &*regex {
                _ if shape["pattern"].is_null() => true,
                Some(regex) => regex.is_match(text),
                // The patterns that look ahead are those of aliases.
                None => !text.contains('$') && text.parse::<u64>().is_err(),
            };
            let known: Vec<&str> = known.iter().copied().filter(fits).collect();
            let seen = sources.iter().filter_map(|name| self.seen.get(*name)).flatten().map(String::as_str);
            let seen: Vec<&str> = seen.filter(fits).collect();
            let known_first = self.random.bool();
            let (first, second) = if known_first { (&known, &seen) } else { (&seen, &known) };
            if let Some(text) = self.random.choice(first).or_else(|| self.random.choice(second)) {
                return (*text).to_owned();
            }
        }
        let pattern = self.patterns.entry(pattern.to_owned()).or_insert_with(|| Pattern::new(pattern));
        let Some(strategy) = &pattern.strategy else { return "a1".to_owned() };
        let text = strategy.new_tree(&mut self.texts).expect("nothing is filtered").current();
        let most = shape["max"].as_u64().unwrap_or(300).min(300) as usize;
        text.chars().take(most).collect()
    }

    /// Makes one place of a document something that it should not be.
    fn spoil(&mut self, value: &mut Value) {
        let deeper = self.random.u8(..3) > 0;
        match value {
            Value::Object(members) if !members.is_empty() => {
                let names: Vec<String> = members.keys().cloned().collect();
                let name = self.random.choice(&names).unwrap();
                match self.random.u8(..6) {
                    0 => {
                        members.remove(name);
                    }
                    1 => {
                        members.insert("Unknown".to_owned(), json!([{"a": null}]));
                    }
                    _ if deeper => self.spoil(&mut members[name]),
                    _ => members[name] = self.oddity(),
                }
            }
            Value::Array(items) if !items.is_empty() && deeper => {
                let index = self.random.usize(..items.len());
                self.spoil(&mut items[index]);
            }
            Value::Object(members) => {
                members.insert(self.random.choice(ODD_TEXTS).unwrap().to_string(), self.oddity());
            }
            other => *other = self.oddity(),
        }
    }

    fn oddity(&mut self) -> Value {
        match self.random.u8(..12) {
            0 => Value::Null,
            1 => json!([]),
            2 => json!({}),
            3 => json!([null, {}, []]),
            4 => self.random.bool().into(),
            5 => json!(self.random.i64(..)),
            6 => json!(self.random.choice(ODD_NUMBERS)),
            7 => "a".repeat(self.random.usize(..12_000)).into(),
            8 => json!([1, "a", 2.5]),
            9 => json!({"a": {"b": {"c": []}}, "$LATEST": -1}),
            _ => self.random.choice(ODD_TEXTS).unwrap().to_string().into(),
        }
    }

    fn damaged_path(&mut self, path: String) -> String {
        let mut segments: Vec<&str> = path.split('/').collect();
        let index = self.random.usize(1..segments.len());
        match self.random.u8(..5) {
            0 => segments.insert(index, ""),
            1 => segments.push(""),
            2 => {
                segments.remove(index);
            }
            3 => segments[index] = self.random.choice(SEGMENTS).unwrap(),
            _ => segments.insert(index, self.random.choice(SEGMENTS).unwrap()),
        }
        segments.join("/")
    }

    fn damage(&mut self, body: &mut Vec<u8>) {
        match self.random.u8(..7) {
            0 => body.truncate(self.random.usize(..=body.len())),
            1 if !body.is_empty() => {
                let index = self.random.usize(..body.len());
                body[index] = self.random.u8(..);
            }
            2 => body.extend(b"}"),
            3 => {
                *body =
                    ["[", "{\"a\":"][self.random.usize(..2)].repeat(self.random.usize(..60_000)).into_bytes()
            }
            4 => *body = self.random.choice(BODIES).unwrap().to_vec(),
            5 => {
                let at = self.random.usize(..=body.len());
                body.splice(at..at, self.random.choice(BODIES).unwrap().iter().copied());
            }
            _ => body.clear(),
        }
    }
}

/// A value as path, query and headers carry it.
fn plain(value: &Value) -> String {
    match value {
        Value::String(text) => text.clone(),
        other => other.to_string(),
    }
}

const HEADERS: &[&str] = &[
    "x-amz-client-context",
    "x-amz-durable-execution-name",
    "x-amz-invocation-type",
    "x-amz-log-type",
    "x-amz-tenant-id",
    "x-amzn-trace-id",
];

const PAYLOADS: &[&str] = &["", "{}", "null", "[1, 2]", "\"text\"", "{\"a\": {\"b\": 1.50}}"];

/// What members may be: fixed texts, and members of answers whose texts fit as well.
#[rustfmt::skip]
const TEXTS: &[(&str, &[&str], &[&str])] = &[
    ("Action", &["lambda:InvokeFunction", "lambda:GetLayerVersion", "lambda:*"], &[]),
    ("AdditionalVersionWeights.key", &["1", "2", "3"], &[]),
    ("AllowMethods", &["GET", "*"], &[]),
    ("Arn", &["arn:aws:elasticfilesystem:us-east-1:123456789012:access-point/fsap-0123456789abcdef0"], &["LayerVersionArn"]),
    ("CapacityProviderArn", &[], &["CapacityProviderArn"]),
    ("CapacityProviderName", &["c", "d"], &["CapacityProviderArn", "CapacityProviderName"]),
    ("CapacityProviderOperatorRoleArn", &[ROLE], &[]),
    ("CodeSha256", &["x"], &["CodeSha256"]),
    ("CodeSigningConfigArn", &[], &["CodeSigningConfigArn"]),
    ("ConsumerGroupId", &["group"], &[]),
    ("Description", &["", "described", "ü"], &[]),
    ("Destination", &["arn:aws:sqs:us-east-1:123456789012:q", "arn:aws:s3:::bucket"], &["FunctionArn"]),
    ("DurableExecutionArn", &["arn:aws:lambda:us-east-1:123456789012:function:f:1/durable-execution/e/i"], &["DurableExecutionArn"]),
    ("Endpoints", &["broker:9092"], &[]),
    ("EventSourceArn", &[
        "arn:aws:sqs:us-east-1:123456789012:q", "arn:aws:sqs:us-east-1:123456789012:q.fifo",
        "arn:aws:kinesis:us-east-1:123456789012:stream/s", "arn:aws:dynamodb:us-east-1:123456789012:table/t/stream/2024",
        "arn:aws:kafka:us-east-1:123456789012:cluster/c/0", "arn:aws:mq:us-east-1:123456789012:broker:b:b-1",
        "arn:aws:rds:us-east-1:123456789012:cluster:d", "arn:aws:sns:us-east-1:123456789012:t",
    ], &["EventSourceArn"]),
    ("FunctionName", &["f", "f", "f", "g", "g", "g", "h", "managed", "f:1", "f:live", "123456789012:function:g", "nobody"], &["FunctionName"]),
    ("FunctionVersion", &["1", "2", "$LATEST"], &["Version"]),
    ("Handler", &["index.handler"], &[]),
    ("ImageUri", &["123456789012.dkr.ecr.us-east-1.amazonaws.com/repo:latest"], &[]),
    ("KMSKeyArn", &["", "arn:aws:kms:us-east-1:123456789012:key/1"], &[]),
    ("LayerName", &["l", "m"], &["LayerArn", "LayerName"]),
    ("Layers", &[], &["LayerVersionArn"]),
    ("LogGroup", &["/aws/lambda/other"], &[]),
    ("Marker", &[], &["NextMarker"]),
    ("MasterRegion", &["ALL", "us-east-1"], &[]),
    ("Name", &["live", "test"], &["Name"]),
    ("Pattern", &["{}", "{\"body\": [\"a\"]}", "{\"data\": {\"a\": [{\"prefix\": \"x\"}]}}"], &[]),
    ("Policy", &[
        "{\"Version\":\"2012-10-17\",\"Statement\":[]}",
        "{\"Version\":\"2012-10-17\",\"Statement\":[{\"Sid\":\"a\",\"Effect\":\"Allow\",\"Principal\":{\"AWS\":\"123456789012\"},\"Action\":\"lambda:InvokeFunction\",\"Resource\":\"arn:aws:lambda:us-east-1:123456789012:function:f\"}]}",
    ], &["Policy"]),
    ("Principal", &["123456789012", "s3.amazonaws.com", "*", "arn:aws:iam::123456789012:root"], &[]),
    ("Qualifier", &["1", "2", "live", "test", "$LATEST"], &["Version", "Name"]),
    ("Queues", &["queue"], &[]),
    ("Resource", &[], &["FunctionArn", "LayerArn", "CodeSigningConfigArn", "EventSourceMappingArn", "CapacityProviderArn"]),
    ("ResourceArn", &[], &["FunctionArn"]),
    ("RevisionId", &["00000000-0000-4000-8000-000000000000"], &["RevisionId"]),
    ("Role", &[ROLE], &[]),
    ("S3Bucket", &["bucket", "nowhere", "other"], &[]),
    ("S3Key", &["key", "lost"], &[]),
    ("SourceArn", &["arn:aws:s3:::bucket"], &["FunctionArn"]),
    ("StatementId", &["a", "b", "c"], &[]),
    ("SecurityGroupIds", &["sg-1"], &[]),
    ("SubnetIds", &["subnet-1", "subnet-2"], &[]),
    ("TagKeys", &["team", "a"], &[]),
    ("Tags.key", &["team", "a"], &[]),
    ("Topics", &["topic"], &[]),
    ("URI", &["subnet-1", "arn:aws:secretsmanager:us-east-1:123456789012:secret:s"], &[]),
    ("UUID", &["00000000-0000-4000-8000-000000000000"], &["UUID"]),
    ("Variables.key", &["KEY", "OTHER"], &[]),
];

const ODD_TEXTS: &[&str] = &[
    "",
    " ",
    "\0",
    "a\0b",
    "ä",
    "🔥",
    "\u{feff}",
    "\u{202e}",
    "'",
    "\"",
    "\\",
    "../..",
    "%00",
    "%",
    "$LATEST",
    "$latest",
    "-1",
    "0",
    "99999999999999999999",
    "null",
    "*",
    "a:b:c",
    "arn:aws:lambda",
    "arn:aws:lambda:us-east-1:123456789012:function:",
    "arn:aws:lambda:eu-west-1:123456789012:function:f",
    "arn:aws:lambda:us-east-1:210987654321:function:f",
    "é\u{301}",
    "\n",
    "arn:aws:lambda:us-east-1:123456789012:layer:l:0",
    "arn:aws:lambda:us-east-1:123456789012:layer:l:99999999999999999999",
];
const ODD_NUMBERS: &[f64] =
    &[0.0, -0.0, -1.0, 0.5, 1e300, -1e300, 1e19, 2_147_483_648.0, 9_007_199_254_740_993.0];
const QUERIES: &[&str] = &[
    "&MaxItems=abc",
    "&MaxItems=",
    "&MaxItems=-1",
    "&MaxItems=99999999999999999999",
    "&MaxItems=1&MaxItems=2",
    "&Marker=%ff",
    "&Marker=%00",
    "&&&==",
    "&=",
    "&Qualifier",
    "&Qualifier=%F0%9F",
    "&List=ALL",
    "&find=LayerVersion",
    "&tagKeys=&tagKeys=",
    "&ReverseOrder=maybe",
    "&StartedAfter=never",
    "&StartedAfter=1e400",
    "&IncludeExecutionData=1",
    "&MaxItems=1.5",
];
const SEGMENTS: &[&str] = &[
    "",
    "%00",
    "%FF%FE",
    "..",
    ".",
    "%2F",
    "%2E%2E",
    "a",
    "functions",
    "0",
    "-1",
    "%",
    "%zz",
    "99999999999999999999",
];
const BODIES: &[&[u8]] = &[
    b"null",
    b"[]",
    b"\"\"",
    b"0",
    b"{}",
    b"{",
    b"\xff",
    b"\xef\xbb\xbf{}",
    b"{\"a\":\"\xc3\x28\"}",
    b"\0",
    b"{\"a\":1e999}",
    b"{\"a\":-0}",
    b"{\"Timeout\":123456789012345678901234567890}",
    b"{\"a\":\"\\ud800\"}",
    b"{\"a\":1,\"a\":2}",
    b"{\"Description\":\"\\u0000\"}",
    b"//",
];
