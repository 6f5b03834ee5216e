//! Cross-origin settings of a function URL: the answer to a browser that asks first, and what is added to answers.
//!
//! Must not refuse anything: whether a page may read an answer is the browser's to enforce.

use bytes::Bytes;
use hothouse_api::generated::Cors;
use http::{HeaderMap, HeaderName, HeaderValue, Method, Response, header, request::Parts};

/// The answer to a browser that asks before it sends the real request. The function is not asked.
pub(super) fn preflight(cors: &Cors, parts: &Parts) -> Option<Response<Bytes>> {
    let asked = parts.headers.get(header::ACCESS_CONTROL_REQUEST_METHOD)?;
    if parts.method != Method::OPTIONS || !parts.headers.contains_key(header::ORIGIN) {
        return None;
    }
    let mut response = Response::new(Bytes::new());
    let headers = response.headers_mut();
    if let Some(origin) = origin(cors, &parts.headers) {
        allow(cors, origin, headers);
        let wanted = parts.headers.get(header::ACCESS_CONTROL_REQUEST_HEADERS);
        list(headers, header::ACCESS_CONTROL_ALLOW_METHODS, cors.allow_methods.as_deref(), Some(asked));
        list(headers, header::ACCESS_CONTROL_ALLOW_HEADERS, cors.allow_headers.as_deref(), wanted);
        if let Some(seconds) = cors.max_age {
            headers.insert(header::ACCESS_CONTROL_MAX_AGE, seconds.into());
        }
    }
    Some(response)
}

/// Adds the settings to an answer. What the function says itself stays beside it, even twice the same: so browsers
/// refuse here what they refuse on AWS.
pub(super) fn add(cors: &Cors, request: &HeaderMap, headers: &mut HeaderMap) {
    if let Some(origin) = origin(cors, request) {
        allow(cors, origin, headers);
        list(headers, header::ACCESS_CONTROL_EXPOSE_HEADERS, cors.expose_headers.as_deref(), None);
    }
}

/// The origin of the page, if its pages are allowed.
fn origin<'a>(cors: &Cors, request: &'a HeaderMap) -> Option<&'a HeaderValue> {
    let origin = request.get(header::ORIGIN)?;
    let allowed = cors.allow_origins.as_deref().unwrap_or_default();
    let is_meant =
        |allowed: &String| allowed == "*" || allowed.as_bytes().eq_ignore_ascii_case(origin.as_bytes());
    allowed.iter().any(is_meant).then_some(origin)
}

fn allow(cors: &Cors, origin: &HeaderValue, headers: &mut HeaderMap) {
    // The origin itself also where all are allowed, as seen on AWS.
    headers.append(header::ACCESS_CONTROL_ALLOW_ORIGIN, origin.clone());
    if cors.allow_credentials == Some(true) {
        headers.append(header::ACCESS_CONTROL_ALLOW_CREDENTIALS, HeaderValue::from_static("true"));
    }
    headers.append(header::VARY, HeaderValue::from_static("Origin"));
}

/// Unverified: that `*` is answered with what was asked for. Browsers do not take it literally beside credentials.
fn list(headers: &mut HeaderMap, name: HeaderName, allowed: Option<&[String]>, asked: Option<&HeaderValue>) {
    let Some(allowed) = allowed.filter(|allowed| !allowed.is_empty()) else { return };
    let value = match asked {
        Some(asked) if allowed.iter().any(|one| one == "*") => Some(asked.clone()),
        // Nothing is kept from being set that no header can say.
        _ => HeaderValue::from_str(&allowed.join(",")).ok(),
    };
    if let Some(value) = value {
        headers.append(name, value);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn settings() -> Cors {
        Cors {
            allow_credentials: Some(true),
            allow_headers: Some(vec!["x-one".into(), "x-two".into()]),
            allow_methods: Some(vec!["GET".into(), "PUT".into()]),
            allow_origins: Some(vec!["https://a.example".into(), "http://localhost:3000".into()]),
            expose_headers: Some(vec!["x-three".into()]),
            max_age: Some(60),
        }
    }

    fn parts(method: &str, headers: &[(&str, &str)]) -> Parts {
        let mut request = http::Request::builder().method(method).uri("/");
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        request.body(()).unwrap().into_parts().0
    }

    /// Headers as lines, in order.
    fn lines(headers: &HeaderMap) -> Vec<String> {
        let mut lines: Vec<_> =
            headers.iter().map(|(name, value)| format!("{name}: {}", value.to_str().unwrap())).collect();
        lines.sort();
        lines
    }

    const ASKS: [(&str, &str); 3] = [
        ("origin", "https://a.example"),
        ("access-control-request-method", "PUT"),
        ("access-control-request-headers", "x-two"),
    ];

    #[test]
    fn a_preflight_is_answered_with_the_settings() {
        let response = preflight(&settings(), &parts("OPTIONS", &ASKS)).unwrap();
        assert_eq!((response.status().as_u16(), response.body().len()), (200, 0));
        assert_eq!(
            lines(response.headers()),
            [
                "access-control-allow-credentials: true",
                "access-control-allow-headers: x-one,x-two",
                "access-control-allow-methods: GET,PUT",
                "access-control-allow-origin: https://a.example",
                "access-control-max-age: 60",
                "vary: Origin",
            ]
        );
        let stranger = [("origin", "https://b.example"), ASKS[1], ASKS[2]];
        let response = preflight(&settings(), &parts("OPTIONS", &stranger)).unwrap();
        assert_eq!((response.status().as_u16(), response.headers().len()), (200, 0));
    }

    #[test]
    fn stars_allow_what_is_asked_for() {
        let star = || Some(vec!["*".to_owned()]);
        let settings =
            Cors { allow_headers: star(), allow_methods: star(), allow_origins: star(), ..Cors::default() };
        let response = preflight(&settings, &parts("OPTIONS", &ASKS)).unwrap();
        assert_eq!(
            lines(response.headers()),
            [
                "access-control-allow-headers: x-two",
                "access-control-allow-methods: PUT",
                "access-control-allow-origin: https://a.example",
                "vary: Origin",
            ]
        );
    }

    #[test]
    fn only_a_browser_that_asks_is_answered() {
        assert!(preflight(&settings(), &parts("GET", &ASKS)).is_none());
        assert!(preflight(&settings(), &parts("OPTIONS", &ASKS[..1])).is_none());
        assert!(preflight(&settings(), &parts("OPTIONS", &ASKS[1..])).is_none());
    }

    #[test]
    fn answers_get_the_settings_beside_what_they_say_themselves() {
        let request = parts("GET", &[("origin", "HTTP://LOCALHOST:3000")]);
        let mut headers = HeaderMap::new();
        headers.insert("access-control-allow-origin", "*".parse().unwrap());
        add(&settings(), &request.headers, &mut headers);
        assert_eq!(
            lines(&headers),
            [
                "access-control-allow-credentials: true",
                "access-control-allow-origin: *",
                "access-control-allow-origin: HTTP://LOCALHOST:3000",
                "access-control-expose-headers: x-three",
                "vary: Origin",
            ]
        );
        for request in [parts("GET", &[]), parts("GET", &[("origin", "null")])] {
            let mut headers = HeaderMap::new();
            add(&settings(), &request.headers, &mut headers);
            assert!(headers.is_empty());
        }
        let mut headers = HeaderMap::new();
        add(&Cors::default(), &request.headers, &mut headers);
        assert!(headers.is_empty());
    }
}
