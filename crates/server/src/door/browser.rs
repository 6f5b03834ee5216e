//! Who is let in: creating a function is running code, so a web page must not be able to do it.
//!
//! A page of another origin sends `Origin`; a page that rebinds its own name to our address sends that name as
//! `Host`. Both are refused unless configured. Must not look at anything but headers.

use bytes::Bytes;
use http::{
    HeaderMap, HeaderValue, Method, Response, StatusCode,
    header::{self, HOST, ORIGIN},
    request::Parts,
};

use hothouse_api::{ApiError, generated::ErrorKind};

/// Names under which the service is known to be meant.
const LOOPBACK_NAMES: &[&str] =
    &["localhost", ".localhost", "localhost.localstack.cloud", ".localhost.localstack.cloud"];

/// What the user allowed.
#[derive(Debug, Clone, Default)]
pub(crate) struct Admission {
    /// Lower case; a leading `.` admits subdomains.
    pub(crate) hosts: Vec<String>,
    /// Whole origins, for example `https://app.example.com`.
    pub(crate) origins: Vec<String>,
}

/// The answer to a page of an allowed origin.
#[derive(Debug)]
pub(crate) struct Cors {
    origin: HeaderValue,
}

impl Admission {
    /// Lets a request in, or says why not. A request of an allowed origin gets CORS headers.
    pub(crate) fn check(&self, parts: &Parts) -> Result<Option<Cors>, ApiError> {
        let host = self.check_host(parts)?;
        let Some(origin) = parts.headers.get(ORIGIN) else { return Ok(None) };
        let text = String::from_utf8_lossy(origin.as_bytes());
        // A page that Hothouse itself served speaks to its own origin.
        let own = text.strip_prefix("http://").is_some_and(|authority| authority.eq_ignore_ascii_case(&host));
        if own || self.origins.iter().any(|allowed| allowed == "*" || allowed.eq_ignore_ascii_case(&text)) {
            return Ok(Some(Cors { origin: origin.clone() }));
        }
        Err(refusal(format!(
            "Hothouse does not answer to web pages of `{text}`. Start it with `--allow-origin {text}` if it should."
        )))
    }

    /// Lets a request in by its host alone, or says why not; returns the host. Pages of every origin may call function
    /// URLs, as on AWS, and each URL says which of them may read its answers.
    pub(crate) fn check_host(&self, parts: &Parts) -> Result<String, ApiError> {
        let host = parts.headers.get(HOST).map(HeaderValue::as_bytes);
        let host = host.or_else(|| parts.uri.host().map(str::as_bytes)).unwrap_or_default();
        let host = String::from_utf8_lossy(host).to_ascii_lowercase();
        if self.admits_host(host_name(&host)) {
            return Ok(host);
        }
        Err(refusal(format!(
            "Hothouse does not answer to the host `{host}`. Start it with `--allow-host {}` if it should.",
            host_name(&host)
        )))
    }

    fn admits_host(&self, name: &str) -> bool {
        if let Ok(address) = name.trim_start_matches('[').trim_end_matches(']').parse::<std::net::IpAddr>() {
            // Names can be rebound, addresses cannot: a page that is served from an address of ours is ours.
            return address.is_loopback()
                || address.is_unspecified()
                || self.hosts.iter().any(|host| host == name);
        }
        let configured = self.hosts.iter().map(String::as_str);
        LOOPBACK_NAMES.iter().copied().chain(configured).any(|known| match known.strip_prefix('.') {
            Some(domain) => name.strip_suffix(domain).is_some_and(|rest| rest.ends_with('.')),
            None => known == name,
        })
    }
}

fn refusal(message: String) -> ApiError {
    ApiError::new(ErrorKind::AccessDenied, message)
}

/// The host without its port.
fn host_name(host: &str) -> &str {
    match host.rsplit_once(':') {
        Some((name, port)) if port.bytes().all(|byte| byte.is_ascii_digit()) && !name.is_empty() => name,
        _ => host,
    }
    .trim_end_matches('.')
}

impl Cors {
    /// The answer to a browser that asks before it sends the real request.
    pub(crate) fn preflight(&self, parts: &Parts) -> Option<Response<Bytes>> {
        if parts.method != Method::OPTIONS
            || !parts.headers.contains_key(header::ACCESS_CONTROL_REQUEST_METHOD)
        {
            return None;
        }
        let mut response = Response::new(Bytes::new());
        *response.status_mut() = StatusCode::NO_CONTENT;
        let headers = response.headers_mut();
        self.allow(headers);
        let methods = HeaderValue::from_static("GET, HEAD, POST, PUT, DELETE, PATCH, OPTIONS");
        headers.insert(header::ACCESS_CONTROL_ALLOW_METHODS, methods);
        if let Some(wanted) = parts.headers.get(header::ACCESS_CONTROL_REQUEST_HEADERS) {
            headers.insert(header::ACCESS_CONTROL_ALLOW_HEADERS, wanted.clone());
        }
        Some(response)
    }

    /// Lets the page read the response.
    pub(crate) fn allow(&self, headers: &mut HeaderMap) {
        headers.insert(header::ACCESS_CONTROL_ALLOW_ORIGIN, self.origin.clone());
        headers.insert(header::ACCESS_CONTROL_EXPOSE_HEADERS, HeaderValue::from_static("*"));
        headers.insert(header::VARY, HeaderValue::from_static("Origin"));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(admission: &Admission, host: &str, origin: Option<&str>) -> Result<bool, ApiError> {
        let mut request = http::Request::builder().uri("/").header(HOST, host);
        if let Some(origin) = origin {
            request = request.header(ORIGIN, origin);
        }
        admission.check(&request.body(()).unwrap().into_parts().0).map(|cors| cors.is_some())
    }

    #[test]
    fn loopback_hosts_are_let_in_and_others_refused() {
        let admission = Admission { hosts: vec!["hothouse".into(), ".example.test".into()], origins: vec![] };
        for host in [
            "localhost:4566",
            "127.0.0.1:4566",
            "[::1]:4566",
            "LOCALHOST",
            "abc.lambda-url.us-east-1.localhost:4566",
            "hothouse:4566",
            "a.example.test",
        ] {
            assert!(check(&admission, host, None).is_ok(), "{host}");
        }
        for host in ["evil.com", "localhost.evil.com", "example.test", "10.0.0.1:4566", "xlocalhost", ""] {
            assert!(check(&admission, host, None).is_err(), "{host}");
        }
    }

    #[test]
    fn pages_of_other_origins_are_refused() {
        let admission = Admission { hosts: vec![], origins: vec!["https://app.example.com".into()] };
        let host = "localhost:4566";
        assert!(check(&admission, host, Some("https://app.example.com")).is_ok_and(|cors| cors));
        assert!(check(&admission, host, Some("http://localhost:4566")).is_ok());
        for origin in
            ["https://evil.com", "null", "http://localhost:3000", "https://app.example.com.evil.com"]
        {
            assert!(check(&admission, host, Some(origin)).is_err(), "{origin}");
        }
    }
}
