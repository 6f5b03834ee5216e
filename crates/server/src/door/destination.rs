//! Which of the service's parts a request is for, if it is for no function URL.
//!
//! Must not look at bodies. A signed request names its service in the credential scope; an unsigned one is told by its
//! path or target.

use http::request::Parts;

use crate::companions::caller::Credential;

/// Where a request goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Destination {
    /// Hothouse's own endpoints below `/_hothouse` and `/_localstack`.
    Admin,
    /// The Lambda API.
    Lambda,
    /// Everything else; the companions know what is theirs.
    Companions,
}

impl Destination {
    pub(crate) fn of(parts: &Parts, credential: &Credential) -> Destination {
        let path = parts.uri.path();
        if path.starts_with("/_hothouse/") || path.starts_with("/_localstack/") {
            return Destination::Admin;
        }
        match credential.service.as_deref() {
            Some("lambda") => Destination::Lambda,
            None if is_lambda_path(path) && !parts.headers.contains_key("x-amz-target") => {
                Destination::Lambda
            }
            Some(_) | None => Destination::Companions,
        }
    }
}

/// Paths of the Lambda API begin with the date of an API version.
fn is_lambda_path(path: &str) -> bool {
    let Some(date) = path.as_bytes().get(..12) else { return false };
    date.iter().enumerate().all(|(at, byte)| match at {
        0 | 11 => *byte == b'/',
        5 | 8 => *byte == b'-',
        _ => byte.is_ascii_digit(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn destination(path: &str, headers: &[(&str, &str)]) -> Destination {
        let mut request = http::Request::builder().uri(path);
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        let parts = request.body(()).unwrap().into_parts().0;
        Destination::of(&parts, &Credential::of(&parts.headers, &parts.uri))
    }

    fn signed(service: &str) -> String {
        format!(
            "AWS4-HMAC-SHA256 Credential=123456789012/20261123/eu-west-1/{service}/aws4_request, SignedHeaders=host, Signature=0"
        )
    }

    #[test]
    fn the_signature_names_the_service() {
        let path = "/2015-03-31/functions";
        assert_eq!(destination(path, &[("authorization", &signed("lambda"))]), Destination::Lambda);
        assert_eq!(destination(path, &[("authorization", &signed("s3"))]), Destination::Companions);
    }

    #[test]
    fn an_unsigned_request_is_told_by_its_path() {
        assert_eq!(destination("/2015-03-31/functions/", &[]), Destination::Lambda);
        assert_eq!(destination("/_hothouse/health", &[]), Destination::Admin);
        let target = [("x-amz-target", "Logs_20140328.DescribeLogGroups")];
        assert_eq!(destination("/", &target), Destination::Companions);
        for other in ["/", "/bucket/key", "/2015-03-31", "/2015-03-3%C3%BC/functions/"] {
            assert_eq!(destination(other, &[]), Destination::Companions, "{other}");
        }
    }
}
