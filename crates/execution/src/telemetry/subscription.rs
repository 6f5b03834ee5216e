//! Requests to subscribe, of both APIs: read whole or refused.
//!
//! Pure. Must not know who asks, nor whether it is the time to.

use bytes::Bytes;
use http::{Response, StatusCode, Uri, header::CONTENT_TYPE};
use http_body_util::Full;
use serde_json::{Map, Value};

use super::{Api, Category};
use crate::runtime_api::Refusal;

/// What a subscriber wants.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Subscription {
    pub(crate) api: Api,
    pub(crate) schema: Schema,
    pub(crate) types: Vec<Category>,
    pub(crate) buffering: Buffering,
    pub(crate) destination: Destination,
}

/// Versions of what events look like.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Schema {
    /// The Logs API's first.
    Logs20200815,
    /// Tells when the runtime is done.
    Logs20210318,
    /// The Telemetry API's first. What processes write is text in it.
    Telemetry20220701,
    /// What processes write in JSON is JSON.
    Telemetry20221213,
    /// The same, for what Hothouse runs: it is about Managed Instances.
    Telemetry20250129,
}

/// When a batch is full, and how long it may wait for more.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Buffering {
    pub(crate) max_items: usize,
    pub(crate) max_bytes: usize,
    pub(crate) timeout_ms: u64,
}

/// Where events go.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Destination {
    Http { put: bool, host: String, port: u16, path: String },
    Tcp { port: u16 },
}

/// Both resolve to the environment's own loopback.
pub(crate) const HOSTS: [&str; 2] = ["sandbox.localdomain", "sandbox"];

impl Subscription {
    /// Reads the body of a request.
    pub(crate) fn parse(api: Api, body: &[u8]) -> Result<Subscription, Refusal> {
        // Of the wordings AWS documents one, with two problems in this order and so joined; the others are unverified.
        let mut problems = Problems::default();
        let request = match serde_json::from_slice(body) {
            Ok(Value::Object(request)) => request,
            Ok(_) | Err(_) => {
                problems.add("request body should be a JSON object");
                return Err(problems.refusal(api));
            }
        };
        let schema = schema(api, &request, &mut problems);
        let destination = destination(api, &request, &mut problems);
        let types = types(&request, &mut problems);
        let buffering = buffering(&request, &mut problems);
        match (schema, destination) {
            (Some(schema), Some(destination)) if problems.0.is_empty() => {
                Ok(Subscription { api, schema, types, buffering, destination })
            }
            _ => Err(problems.refusal(api)),
        }
    }
}

/// `"OK"`.
pub(crate) fn succeeded() -> Response<Full<Bytes>> {
    let mut response = Response::new(Full::new(Bytes::from_static(b"\"OK\"")));
    response.headers_mut().insert(CONTENT_TYPE, http::HeaderValue::from_static("application/json"));
    response
}

impl Api {
    /// INIT is over.
    pub(crate) fn closed(self) -> Refusal {
        let (error_type, message) = match self {
            Api::Telemetry => ("Telemetry.SubscriptionClosed", "Telemetry API subscription is closed"),
            Api::Logs => ("Logs.SubscriptionClosed", "Logs API subscription is closed already"),
        };
        Refusal::new(StatusCode::FORBIDDEN, error_type, message)
    }

    /// The extension uses the other API. AWS says that this "returns an error"; which is unverified.
    pub(crate) fn conflict(self, other: Api) -> Refusal {
        let message = format!("extension is subscribed to the {} API already", other.name());
        Refusal::new(StatusCode::BAD_REQUEST, self.validation_error(), message)
    }

    fn validation_error(self) -> &'static str {
        match self {
            Api::Telemetry => "ValidationError",
            Api::Logs => "Logs.ValidationError",
        }
    }
}

/// All that is wrong with a request.
#[derive(Debug, Default)]
struct Problems(Vec<String>);

impl Problems {
    fn add(&mut self, problem: impl Into<String>) {
        self.0.push(problem.into());
    }

    fn refusal(self, api: Api) -> Refusal {
        Refusal::new(StatusCode::BAD_REQUEST, api.validation_error(), self.0.join("; "))
    }
}

fn schema(api: Api, request: &Map<String, Value>, problems: &mut Problems) -> Option<Schema> {
    let known: &[(&str, Schema)] = match api {
        Api::Telemetry => &[
            ("2022-07-01", Schema::Telemetry20220701),
            ("2022-12-13", Schema::Telemetry20221213),
            ("2025-01-29", Schema::Telemetry20250129),
        ],
        Api::Logs => &[("2020-08-15", Schema::Logs20200815), ("2021-03-18", Schema::Logs20210318)],
    };
    let version = match request.get("schemaVersion") {
        None | Some(Value::Null) if api == Api::Logs => return Some(Schema::Logs20200815),
        None | Some(Value::Null) => {
            problems.add("schemaVersion should not be empty");
            return None;
        }
        Some(version) => version.as_str().unwrap_or_default(),
    };
    let found = known.iter().find(|(name, _)| *name == version).map(|(_, schema)| *schema);
    if found.is_none() {
        let names: Vec<_> = known.iter().map(|(name, _)| *name).collect();
        problems.add(format!("schemaVersion should be one of {}", names.join(", ")));
    }
    found
}

fn types(request: &Map<String, Value>, problems: &mut Problems) -> Vec<Category> {
    let wanted = request.get("types").and_then(Value::as_array).map(Vec::as_slice).unwrap_or_default();
    if wanted.is_empty() {
        problems.add("types should not be empty");
    }
    let mut types = Vec::new();
    for value in wanted {
        let known = [Category::Platform, Category::Function, Category::Extension]
            .into_iter()
            .find(|category| value.as_str() == Some(category.name()));
        match known {
            Some(category) if types.contains(&category) => {}
            Some(category) => types.push(category),
            None => problems.add(format!("type {value} should be one of platform, function, extension")),
        }
    }
    types
}

fn destination(api: Api, request: &Map<String, Value>, problems: &mut Problems) -> Option<Destination> {
    let Some(destination) = request.get("destination").and_then(Value::as_object) else {
        problems.add("destination should not be empty");
        return None;
    };
    match destination.get("protocol").and_then(Value::as_str) {
        Some("HTTP") => http(api, destination, problems),
        Some("TCP") => {
            let port = destination.get("port").and_then(Value::as_u64);
            match port.and_then(|port| u16::try_from(port).ok()).filter(|port| *port > 0) {
                Some(port) => Some(Destination::Tcp { port }),
                None => {
                    problems.add(match port {
                        None => "port is not provided",
                        Some(_) => "port should be between 1 and 65535",
                    });
                    None
                }
            }
        }
        _ => {
            problems.add("protocol should be one of HTTP, TCP");
            None
        }
    }
}

fn http(api: Api, destination: &Map<String, Value>, problems: &mut Problems) -> Option<Destination> {
    let before = problems.0.len();
    // The Logs API's own.
    let method = destination.get("method").and_then(Value::as_str).filter(|_| api == Api::Logs);
    if !matches!(method, None | Some("POST" | "PUT")) {
        problems.add("method should be one of POST, PUT");
    }
    let encoding = destination.get("encoding").and_then(Value::as_str).filter(|_| api == Api::Logs);
    if !matches!(encoding, None | Some("JSON")) {
        problems.add("encoding should be JSON");
    }
    let text = destination.get("URI").and_then(Value::as_str).unwrap_or_default();
    if text.is_empty() {
        problems.add("URI is not provided");
        return None;
    }
    let Ok(uri) = text.parse::<Uri>() else {
        problems.add("URI is not valid");
        return None;
    };
    if uri.scheme_str() != Some("http") {
        problems.add("URI scheme should be http");
    }
    let host = uri.host().unwrap_or_default();
    if !HOSTS.contains(&host) {
        problems.add(format!("URI host should be {}", HOSTS[0]));
    }
    let port = uri.port_u16().filter(|port| *port > 0);
    if port.is_none() {
        problems.add("URI port is not provided");
    }
    let path = uri.path_and_query().map_or("/", |path| path.as_str()).to_owned();
    let port = port.filter(|_| problems.0.len() == before)?;
    Some(Destination::Http { put: method == Some("PUT"), host: host.to_owned(), port, path })
}

fn buffering(request: &Map<String, Value>, problems: &mut Problems) -> Buffering {
    let none = Map::new();
    let wanted = match request.get("buffering") {
        None | Some(Value::Null) => &none,
        Some(Value::Object(wanted)) => wanted,
        Some(_) => {
            problems.add("buffering should be an object");
            &none
        }
    };
    let mut number = |name: &str, default: u64, least: u64, most: u64| match wanted.get(name) {
        None | Some(Value::Null) => default,
        Some(value) => value.as_u64().filter(|value| (least..=most).contains(value)).unwrap_or_else(|| {
            problems.add(format!("{name} should be between {least} and {most}"));
            default
        }),
    };
    Buffering {
        max_items: number("maxItems", 10_000, 1000, 10_000) as usize,
        max_bytes: number("maxBytes", 262_144, 262_144, 1_048_576) as usize,
        timeout_ms: number("timeoutMs", 1000, 25, 30_000),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    const DEFAULTS: Buffering = Buffering { max_items: 10_000, max_bytes: 262_144, timeout_ms: 1000 };

    fn parse(api: Api, request: &Value) -> Result<Subscription, Refusal> {
        Subscription::parse(api, request.to_string().as_bytes())
    }

    /// A valid request with this in place of its own.
    fn request(changes: &Value) -> Value {
        let mut request = json!({
            "schemaVersion": "2022-07-01",
            "types": ["platform", "function"],
            "destination": { "protocol": "HTTP", "URI": "http://sandbox.localdomain:8080/path?x=1" },
        });
        for (name, value) in changes.as_object().unwrap() {
            request[name] = value.clone();
        }
        request
    }

    #[test]
    fn the_usual_request() {
        let wanted = Subscription {
            api: Api::Telemetry,
            schema: Schema::Telemetry20220701,
            types: vec![Category::Platform, Category::Function],
            buffering: DEFAULTS,
            destination: Destination::Http {
                put: false,
                host: "sandbox.localdomain".to_owned(),
                port: 8080,
                path: "/path?x=1".to_owned(),
            },
        };
        assert_eq!(parse(Api::Telemetry, &request(&json!({}))).unwrap(), wanted);
        let more = json!({
            "schemaVersion": "2025-01-29",
            "types": ["extension", "extension"],
            "buffering": { "maxItems": 1000, "maxBytes": 1_048_576, "timeoutMs": 25 },
            "destination": { "protocol": "TCP", "port": 9999 },
            "more": 1,
        });
        let wanted = Subscription {
            api: Api::Telemetry,
            schema: Schema::Telemetry20250129,
            types: vec![Category::Extension],
            buffering: Buffering { max_items: 1000, max_bytes: 1_048_576, timeout_ms: 25 },
            destination: Destination::Tcp { port: 9999 },
        };
        assert_eq!(parse(Api::Telemetry, &request(&more)).unwrap(), wanted);
    }

    #[test]
    fn schemas_of_each_api() {
        for (api, version, schema) in [
            (Api::Telemetry, json!("2022-07-01"), Some(Schema::Telemetry20220701)),
            (Api::Telemetry, json!("2022-12-13"), Some(Schema::Telemetry20221213)),
            (Api::Telemetry, json!("2025-01-29"), Some(Schema::Telemetry20250129)),
            (Api::Telemetry, json!("2020-08-15"), None),
            (Api::Telemetry, Value::Null, None),
            (Api::Telemetry, json!(1), None),
            (Api::Logs, json!("2020-08-15"), Some(Schema::Logs20200815)),
            (Api::Logs, json!("2021-03-18"), Some(Schema::Logs20210318)),
            (Api::Logs, Value::Null, Some(Schema::Logs20200815)),
            (Api::Logs, json!("2022-07-01"), None),
        ] {
            let parsed = parse(api, &request(&json!({ "schemaVersion": version })));
            assert_eq!(parsed.ok().map(|subscription| subscription.schema), schema, "{api:?} {version}");
        }
    }

    #[test]
    fn the_logs_api_may_choose_the_method() {
        let uri = "http://sandbox:1/";
        for (api, method, put) in [
            (Api::Logs, "PUT", Some(true)),
            (Api::Logs, "POST", Some(false)),
            (Api::Logs, "GET", None),
            (Api::Telemetry, "PUT", Some(false)),
        ] {
            let destination = json!({ "protocol": "HTTP", "URI": uri, "method": method, "encoding": "JSON" });
            let version = if api == Api::Logs { "2020-08-15" } else { "2022-07-01" };
            let parsed =
                parse(api, &request(&json!({ "schemaVersion": version, "destination": destination })));
            let found = parsed.ok().map(|subscription| match subscription.destination {
                Destination::Http { put, host, port, path } => {
                    assert_eq!((host.as_str(), port, path.as_str()), ("sandbox", 1, "/"));
                    put
                }
                Destination::Tcp { .. } => panic!("it is HTTP"),
            });
            assert_eq!(found, put, "{api:?} {method}");
        }
    }

    #[test]
    fn what_is_wrong_is_said() {
        let http = |uri: &str| json!({ "destination": { "protocol": "HTTP", "URI": uri } });
        let tcp = |port: Value| json!({ "destination": { "protocol": "TCP", "port": port } });
        let buffering = |name: &str, value: Value| json!({ "buffering": { name: value } });
        let versions = "schemaVersion should be one of 2022-07-01, 2022-12-13, 2025-01-29";
        let ports = "port should be between 1 and 65535";
        for (changes, message) in [
            // AWS's example.
            (
                json!({ "types": [], "destination": { "protocol": "HTTP", "URI": "http://sandbox.localdomain" } }),
                "URI port is not provided; types should not be empty",
            ),
            (json!({ "schemaVersion": null }), "schemaVersion should not be empty"),
            (json!({ "schemaVersion": "2021-03-18" }), versions),
            (json!({ "types": null }), "types should not be empty"),
            (json!({ "types": "platform" }), "types should not be empty"),
            (
                json!({ "types": ["platform", "Function"] }),
                "type \"Function\" should be one of platform, function, extension",
            ),
            (json!({ "types": [1] }), "type 1 should be one of platform, function, extension"),
            (json!({ "destination": null }), "destination should not be empty"),
            (json!({ "destination": {} }), "protocol should be one of HTTP, TCP"),
            (json!({ "destination": { "protocol": "UDP" } }), "protocol should be one of HTTP, TCP"),
            (json!({ "destination": { "protocol": "HTTP" } }), "URI is not provided"),
            (http("not a URI"), "URI is not valid"),
            (http("https://sandbox.localdomain:1"), "URI scheme should be http"),
            (http("http://example.com:1"), "URI host should be sandbox.localdomain"),
            (http("http://127.0.0.1:1"), "URI host should be sandbox.localdomain"),
            (http("http://sandbox.localdomain:0"), "URI port is not provided"),
            (http("http://sandbox.localdomain:99999"), "URI port is not provided"),
            (tcp(Value::Null), "port is not provided"),
            (tcp(json!(0)), ports),
            (tcp(json!(65536)), ports),
            (json!({ "buffering": 1 }), "buffering should be an object"),
            (buffering("maxItems", json!(999)), "maxItems should be between 1000 and 10000"),
            (buffering("maxItems", json!(10_001)), "maxItems should be between 1000 and 10000"),
            (buffering("maxBytes", json!(262_143)), "maxBytes should be between 262144 and 1048576"),
            (buffering("maxBytes", json!(1_048_577)), "maxBytes should be between 262144 and 1048576"),
            (buffering("timeoutMs", json!(24)), "timeoutMs should be between 25 and 30000"),
            (buffering("timeoutMs", json!(30_001)), "timeoutMs should be between 25 and 30000"),
            (buffering("timeoutMs", json!(25.5)), "timeoutMs should be between 25 and 30000"),
        ] {
            let refusal = parse(Api::Telemetry, &request(&changes)).unwrap_err();
            assert_eq!(refusal.message, message, "{changes}");
            assert_eq!((refusal.status.as_u16(), refusal.error_type), (400, "ValidationError"));
        }
        for body in ["", "[]", "{", "null"] {
            let refusal = Subscription::parse(Api::Logs, body.as_bytes()).unwrap_err();
            assert_eq!(refusal.message, "request body should be a JSON object", "{body}");
            assert_eq!((refusal.status.as_u16(), refusal.error_type), (400, "Logs.ValidationError"));
        }
    }
}
