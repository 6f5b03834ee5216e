//! A request as the event that a function gets: payload format 2.0.
//!
//! <https://docs.aws.amazon.com/lambda/latest/dg/urls-invocation.html>. Must not decide whether it gets it.

use std::{collections::BTreeMap, net::IpAddr};

use base64::{Engine as _, prelude::BASE64_STANDARD};
use bytes::Bytes;
use hothouse_api::name::{AccountId, RequestId};
use http::{HeaderMap, HeaderName, HeaderValue, Version, header, request::Parts};
use jiff::Timestamp;
use percent_encoding::percent_decode_str;
use serde_json::{Map, Value, json};

/// Headers of a connection, which end where it does.
pub(super) const HOP_BY_HOP: [&str; 8] = [
    "connection",
    "keep-alive",
    "proxy-authenticate",
    "proxy-connection",
    "te",
    "trailer",
    "transfer-encoding",
    "upgrade",
];

/// All that an event tells.
#[derive(Debug, Clone, Copy)]
pub(super) struct Received<'a> {
    pub(super) parts: &'a Parts,
    /// The path that the function sees, as it was sent.
    pub(super) path: &'a str,
    pub(super) body: &'a Bytes,
    pub(super) url_id: &'a str,
    /// The name, and perhaps the port, that the request was sent to.
    pub(super) host: &'a str,
    pub(super) peer: IpAddr,
    pub(super) request_id: RequestId,
    /// Milliseconds since the epoch.
    pub(super) time: i64,
    /// The trace header, which has a root at least.
    pub(super) trace: &'a str,
    /// Who signed, if somebody must.
    pub(super) signer: Option<&'a Signer>,
}

/// Whose signature a request has.
#[derive(Debug, Clone)]
pub(super) struct Signer {
    pub(super) access_key: String,
    pub(super) account: AccountId,
    pub(super) user_id: String,
    pub(super) user_arn: String,
}

impl Received<'_> {
    /// The event, as JSON. What has nothing to tell is left out.
    pub(super) fn event(&self) -> Bytes {
        let query = self.parts.uri.query().unwrap_or_default();
        let mut event = json!({
            "version": "2.0",
            "routeKey": "$default",
            "rawPath": self.path,
            "rawQueryString": query,
        });
        let cookies = cookies(&self.parts.headers);
        if !cookies.is_empty() {
            event["cookies"] = cookies.into();
        }
        event["headers"] = self.headers();
        let parameters = parameters(query);
        if !parameters.is_empty() {
            event["queryStringParameters"] = parameters.into();
        }
        event["requestContext"] = self.context();
        let (body, is_encoded) = body(&self.parts.headers, self.body);
        if let Some(body) = body {
            event["body"] = body.into();
        }
        event["isBase64Encoded"] = is_encoded.into();
        Bytes::from(event.to_string())
    }

    /// In lower case, several of a name joined.
    fn headers(&self) -> Value {
        let sent = &self.parts.headers;
        let mut headers: BTreeMap<&str, String> = sent
            .keys()
            .map(HeaderName::as_str)
            .filter(|name| *name != "cookie" && !HOP_BY_HOP.contains(name))
            .map(|name| (name, joined(sent, name)))
            .collect();
        headers.insert("host", self.host.to_owned());
        headers.insert("x-amzn-trace-id", self.trace.to_owned());
        // Unverified: that what the client says is kept before it, as AWS's other services do.
        let peer = self.peer.to_string();
        let forwarded = headers.get("x-forwarded-for").map(|before| format!("{before}, {peer}"));
        headers.insert("x-forwarded-for", forwarded.unwrap_or(peer));
        // As it is, and not `https` and 443 as on AWS: functions make links and redirections of it.
        headers.insert("x-forwarded-proto", "http".to_owned());
        headers.insert("x-forwarded-port", self.port().to_owned());
        // There is none here, but functions on AWS always find it.
        headers.insert("x-amzn-tls-version", "TLSv1.3".to_owned());
        headers.insert("x-amzn-tls-cipher-suite", "TLS_AES_128_GCM_SHA256".to_owned());
        json!(headers)
    }

    fn port(&self) -> &str {
        match self.host.rsplit_once(':') {
            Some((_, port)) if !port.is_empty() && port.bytes().all(|byte| byte.is_ascii_digit()) => port,
            _ => "80",
        }
    }

    fn context(&self) -> Value {
        let Self { parts, signer, .. } = self;
        let time = Timestamp::from_millisecond(self.time).unwrap_or(Timestamp::UNIX_EPOCH);
        let mut context = json!({
            // What AWS's documentation shows is the owner's account, what functions get is this.
            "accountId": signer.map_or_else(|| "anonymous".to_owned(), |signer| signer.account.to_string()),
            "apiId": self.url_id,
        });
        if let Some(Signer { access_key, account, user_id, user_arn }) = signer {
            context["authorizer"] = json!({
                "iam": {
                    "accessKey": access_key,
                    "accountId": account.to_string(),
                    "callerId": user_id,
                    "cognitoIdentity": null,
                    "principalOrgId": null,
                    "userArn": user_arn,
                    "userId": user_id,
                },
            });
        }
        let mut http = json!({
            "method": parts.method.as_str(),
            // Decoded, as recorded, unlike `rawPath`.
            "path": percent_decode_str(self.path).decode_utf8_lossy(),
            "protocol": protocol(parts.version),
            "sourceIp": self.peer.to_string(),
        });
        if let Some(agent) = parts.headers.get(header::USER_AGENT) {
            http["userAgent"] = text(agent).into();
        }
        let rest = json!({
            // With the port, which AWS's have no need of: functions make links of it.
            "domainName": self.host,
            "domainPrefix": self.url_id,
            "http": http,
            "requestId": self.request_id.to_string(),
            "routeKey": "$default",
            "stage": "$default",
            "time": time.strftime("%d/%b/%Y:%H:%M:%S +0000").to_string(),
            "timeEpoch": self.time,
        });
        if let (Value::Object(context), Value::Object(rest)) = (&mut context, rest) {
            context.extend(rest);
        }
        context
    }
}

fn protocol(version: Version) -> &'static str {
    if version == Version::HTTP_10 { "HTTP/1.0" } else { "HTTP/1.1" }
}

fn joined(headers: &HeaderMap, name: &str) -> String {
    headers.get_all(name).iter().map(text).collect::<Vec<_>>().join(",")
}

/// A value that is not UTF-8 was meant as Latin-1, as headers were once.
fn text(value: &HeaderValue) -> String {
    let bytes = value.as_bytes();
    std::str::from_utf8(bytes)
        .map_or_else(|_| bytes.iter().map(|byte| char::from(*byte)).collect(), str::to_owned)
}

fn cookies(headers: &HeaderMap) -> Vec<String> {
    let sent = headers.get_all(header::COOKIE).iter().map(text);
    sent.flat_map(|line| {
        line.split(';')
            .map(|cookie| cookie.trim().to_owned())
            .filter(|cookie| !cookie.is_empty())
            .collect::<Vec<_>>()
    })
    .collect()
}

/// Decoded, those of a name joined.
fn parameters(query: &str) -> Map<String, Value> {
    let decode = |text: &str| percent_decode_str(&text.replace('+', " ")).decode_utf8_lossy().into_owned();
    let mut parameters: Map<String, Value> = Map::new();
    for pair in query.split('&').filter(|pair| !pair.is_empty()) {
        let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
        let value = decode(value);
        match parameters.entry(decode(name)) {
            serde_json::map::Entry::Vacant(entry) => drop(entry.insert(value.into())),
            serde_json::map::Entry::Occupied(mut entry) => {
                if let Value::String(before) = entry.get_mut() {
                    before.push(',');
                    before.push_str(&value);
                }
            }
        }
    }
    parameters
}

/// The body, and whether it is encoded: all is but what is known to be text.
fn body(headers: &HeaderMap, body: &Bytes) -> (Option<String>, bool) {
    if body.is_empty() {
        return (None, false);
    }
    match std::str::from_utf8(body) {
        Ok(text) if is_text(headers) => (Some(text.to_owned()), false),
        Ok(_) | Err(_) => (Some(BASE64_STANDARD.encode(body)), true),
    }
}

/// Unverified: the list is what others measured of HTTP APIs, whose events are the same. Forms are none of it, as
/// recorded.
fn is_text(headers: &HeaderMap) -> bool {
    let Some(content_type) = headers.get(header::CONTENT_TYPE) else { return false };
    let content_type = text(content_type).to_ascii_lowercase();
    let kind = content_type.split(';').next().unwrap_or_default().trim();
    kind.starts_with("text/")
        || matches!(kind, "application/json" | "application/xml" | "application/javascript")
}

#[cfg(test)]
mod tests;
