//! Which function URL a request is for: by its host, or by a path where hosts below `localhost` do not resolve.
//!
//! Must not know whether there is such a URL.

use http::{Uri, header, request::Parts};

/// Below this, the first segment is a URL's id.
const BY_PATH: &str = "/_hothouse/urls/";

/// Where a request goes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Address {
    /// The URL's id.
    pub(crate) id: String,
    /// The region in the host's name.
    pub(crate) region: Option<String>,
    /// The path that the function sees.
    pub(crate) path: String,
}

impl Address {
    /// None if the request is for no function URL.
    pub(crate) fn of(parts: &Parts) -> Option<Self> {
        let path = parts.uri.path();
        if let Some(host) = host(parts)
            && let Some((id, region)) = in_host(&host)
        {
            return Some(Self { id, region: Some(region), path: path.to_owned() });
        }
        let (id, rest) = path.strip_prefix(BY_PATH).map(|path| path.split_once('/').unwrap_or((path, "")))?;
        Some(Self { id: id.to_ascii_lowercase(), region: None, path: format!("/{rest}") })
    }
}

/// The name, and perhaps the port, that a request was sent to.
pub(super) fn host(parts: &Parts) -> Option<String> {
    let named = |uri: &Uri| uri.authority().map(|authority| authority.as_str().to_owned());
    let header = || Some(String::from_utf8_lossy(parts.headers.get(header::HOST)?.as_bytes()).into_owned());
    named(&parts.uri).or_else(header)
}

/// `<id>.lambda-url.<region>.…`
fn in_host(host: &str) -> Option<(String, String)> {
    let mut labels = host.split('.');
    let (id, kind, region) = (labels.next()?, labels.next()?, labels.next()?);
    let region = region.split(':').next().unwrap_or_default();
    (kind.eq_ignore_ascii_case("lambda-url")).then(|| (id.to_ascii_lowercase(), region.to_ascii_lowercase()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn address(host: &str, path: &str) -> Option<(String, Option<String>, String)> {
        let request = http::Request::builder().uri(path).header("host", host).body(()).unwrap();
        let Address { id, region, path } = Address::of(&request.into_parts().0)?;
        Some((id, region, path))
    }

    #[test]
    fn a_host_names_the_url() {
        for host in [
            "abc.lambda-url.us-east-1.localhost:4566",
            "abc.lambda-url.us-east-1.localhost.localstack.cloud",
            "ABC.Lambda-URL.US-east-1.localhost",
            "abc.lambda-url.us-east-1:80",
        ] {
            let expected = ("abc".to_owned(), Some("us-east-1".to_owned()), "/a%2Fb//c".to_owned());
            assert_eq!(address(host, "/a%2Fb//c?q"), Some(expected), "{host}");
        }
        let own = "abc.lambda-url.us-east-1.localhost";
        for path in ["/2015-03-31/functions/", "/_hothouse/health", "/_hothouse/urls/x/y"] {
            assert_eq!(address(own, path).unwrap().2, path);
        }
        for host in ["localhost:4566", "lambda-url.localhost", "abc.lambda-url", "a.b.lambda-url.c", ""] {
            assert_eq!(address(host, "/"), None, "{host}");
        }
    }

    #[test]
    fn a_path_names_the_url() {
        for (path, seen) in [
            ("/_hothouse/urls/abc", "/"),
            ("/_hothouse/urls/abc/", "/"),
            ("/_hothouse/urls/abc/rest", "/rest"),
            ("/_hothouse/urls/Abc//a%2fb/", "//a%2fb/"),
        ] {
            assert_eq!(
                address("127.0.0.1:4566", path),
                Some(("abc".to_owned(), None, seen.to_owned())),
                "{path}"
            );
        }
        assert_eq!(address("127.0.0.1:4566", "/_hothouse/urlsabc"), None);
    }
}
