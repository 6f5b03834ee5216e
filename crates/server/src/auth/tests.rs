//! Signatures of AWS's published suite, of AWS's own signer, and wrong ones.

use std::time::{Duration, SystemTime};

use aws_credential_types::Credentials;
use aws_sigv4::{
    http_request::{SignableBody, SignableRequest, SignatureLocation, SigningSettings, sign},
    sign::v4,
};
use http::{Method, Request};

use super::*;
use crate::config::AuthKey;

const KEY: &str = "AKIDEXAMPLE";
const SECRET: &str = "wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY";
/// 2015-08-30T12:36:00Z.
const THEN: u64 = 1_440_938_160;

#[derive(Debug)]
struct At(u64);

impl Clock for At {
    fn now(&self) -> SystemTime {
        UNIX_EPOCH + Duration::from_secs(self.0)
    }
}

fn verifier(now: u64) -> Verifier {
    let clock: Arc<dyn Clock> = Arc::new(At(now));
    let arn = Some("arn:aws:iam::111122223333:user/u".to_owned());
    let identity = Identity { account: "111122223333".parse().unwrap(), arn };
    let key = AuthKey { id: KEY.to_owned(), secret: SECRET.to_owned(), identity };
    let sts = Sts::open(None, clock.clone()).unwrap().with_keys(vec![key]);
    Verifier::new(Arc::new(sts), clock)
}

fn parts(method: &str, uri: &str, headers: &[(&str, &str)]) -> Parts {
    let request = Request::builder().method(method).uri(uri);
    let request = headers.iter().fold(request, |request, (name, value)| request.header(*name, *value));
    request.body(()).unwrap().into_parts().0
}

/// A request as the suite has them.
fn suite(method: &str, uri: &str, more: &[(&str, &str)], signed: &str, signature: &str) -> Parts {
    let authorization = format!(
        "AWS4-HMAC-SHA256 Credential={KEY}/20150830/us-east-1/service/aws4_request, SignedHeaders={signed}, \
         Signature={signature}"
    );
    let mut headers = vec![("host", "example.amazonaws.com"), ("x-amz-date", "20150830T123600Z")];
    headers.extend_from_slice(more);
    headers.push(("authorization", &authorization));
    parts(method, uri, &headers)
}

fn refused(now: u64, parts: &Parts, body: &[u8]) -> String {
    verifier(now).verify_hashed(parts, &sha256(body), "service").unwrap_err().to_string()
}

#[test]
fn the_signatures_of_the_published_suite_are_right() {
    let plain = "host;x-amz-date";
    let vanilla = "5fa00fa31553b73ebf1942676e86291e8372ff2a2260956d9b8aae1d763fbf31";
    let form = [
        ("content-type", "application/x-www-form-urlencoded"),
        ("content-length", "13"),
        ("x-amz-content-sha256", "9095672bbd1f56dfc5b65f3e153adc8731a4a654192329106275f4c7b24d0b6e"),
    ];
    let one = |value| [("my-header1", value)];
    let requests = [
        suite("GET", "/", &[], plain, vanilla),
        suite("GET", "/example1/example2/../..", &[], plain, vanilla),
        suite("GET", "/./", &[], plain, vanilla),
        suite("GET", "//", &[], plain, vanilla),
        suite("GET", "//", &[], plain, "c88bcd3d312d75078c0cd961d6deae3f4c754924b01669efcfcb439fd5e5b76e"),
        suite(
            "GET",
            "/./example",
            &[],
            plain,
            "ef75d96142cf21edca26f06005da7988e4f8dc83a165a80865db7089db637ec5",
        ),
        suite(
            "GET",
            "//example//",
            &[],
            plain,
            "9a624bd73a37c9a373b5312afbebe7a714a789de108f0bdfe846570885f57e84",
        ),
        suite(
            "GET",
            "/example/..",
            &[],
            plain,
            "eca7ead57bb5aa5c8e28007acd4ff04e1ff9a0ff3b237ec1554a184887ff9282",
        ),
        suite(
            "GET",
            "/?Param2=value2&Param1=value1",
            &[],
            plain,
            "b97d918cfa904a5beff61c982a1b6f458b799221646efd99d3219ec94cdf2500",
        ),
        suite(
            "GET",
            "/?Param-3=Value3&Param=Value2&%E1%88%B4=Value1",
            &[],
            plain,
            "371d3713e185cc334048618a97f809c9ffe339c62934c032af5a0e595648fcac",
        ),
        suite(
            "GET",
            "/",
            &[
                ("my-header1", "value4"),
                ("my-header1", "value1"),
                ("my-header1", "value3"),
                ("my-header1", "value2"),
            ],
            "host;my-header1;x-amz-date",
            "08c7e5a9acfcfeb3ab6b2185e75ce8b1deb5e634ec47601a50643f830c755c01",
        ),
        suite(
            "GET",
            "/",
            &[("my-header1", " value1"), ("my-header2", " \"a   b   c\"")],
            "host;my-header1;my-header2;x-amz-date",
            "acc3ed3afb60bb290fc8d2dd0098b9911fcaa05412b367055dee359757a9c736",
        ),
        suite(
            "POST",
            "/",
            &one("VALUE1"),
            "host;my-header1;x-amz-date",
            "cdbc9802e29d2942e5e10b5bccfdd67c5f22c7c4e8ae67b53629efa58b974b7d",
        ),
    ];
    let verifier = verifier(THEN);
    for parts in requests {
        verifier.verify_hashed(&parts, &sha256(b""), "service").unwrap_or_else(|error| {
            panic!("{} {}: {error}", parts.method, parts.uri);
        });
    }
    let posted = suite(
        "POST",
        "/",
        &form,
        "content-length;content-type;host;x-amz-content-sha256;x-amz-date",
        "d3875051da38690788ef43de4db0d8f280229d82040bfac253562e56c3f20e0b",
    );
    let identity = verifier.verify_hashed(&posted, &sha256(b"Param1=value1"), "service").unwrap();
    assert_eq!(identity.account.to_string(), "111122223333");
    assert_eq!(identity.arn.as_deref(), Some("arn:aws:iam::111122223333:user/u"));
    assert!(refused(THEN, &posted, b"Param1=value2").starts_with("InvalidSignatureException"));
}

/// Signs with AWS's own signer, as its clients do.
fn signed(location: SignatureLocation, method: Method, uri: &str, body: &[u8]) -> Parts {
    let mut settings = SigningSettings::default();
    settings.signature_location = location;
    settings.expires_in = (location == SignatureLocation::QueryParams).then_some(Duration::from_secs(600));
    let identity = Credentials::new(KEY, SECRET, None, None, "test").into();
    let parameters = v4::SigningParams::builder()
        .identity(&identity)
        .region("eu-west-1")
        .name("lambda")
        .time(UNIX_EPOCH + Duration::from_secs(THEN))
        .settings(settings)
        .build()
        .unwrap()
        .into();
    let url = format!("http://127.0.0.1:4566{uri}");
    let headers = [("host", "127.0.0.1:4566"), ("content-type", "application/json")].into_iter();
    let signable =
        SignableRequest::new(method.as_str(), url.clone(), headers, SignableBody::Bytes(body)).unwrap();
    let (instructions, _) = sign(signable, &parameters).unwrap().into_parts();
    let mut request = Request::builder().method(method).uri(url).body(()).unwrap();
    instructions.apply_to_request_http1x(&mut request);
    request.headers_mut().insert("host", "127.0.0.1:4566".parse().unwrap());
    request.headers_mut().insert("content-type", "application/json".parse().unwrap());
    request.into_parts().0
}

#[test]
fn what_clients_of_aws_sign_is_right_and_nothing_else() {
    let verifier = verifier(THEN + 60);
    for uri in [
        "/2015-03-31/functions/",
        "/2015-03-31/functions/f/policy?Qualifier=a%20b%2Bc",
        "/2015-03-31/functions/arn%3Aaws%3Alambda%3Aus-east-1%3A111122223333%3Afunction%3Af%3A%24LATEST",
        "/2017-03-31/tags/x?tagKeys=b&tagKeys=a&tagKeys=%C3%A4",
        "/a?b",
    ] {
        for location in [SignatureLocation::Headers, SignatureLocation::QueryParams] {
            let parts = signed(location, Method::POST, uri, b"body");
            verifier
                .verify_hashed(&parts, &sha256(b"body"), "lambda")
                .unwrap_or_else(|error| panic!("{uri} {location:?}: {error}"));
            let mut other_method = copy(&parts);
            other_method.method = Method::PUT;
            let mut other_path = copy(&parts);
            other_path.uri = format!("{}x", parts.uri).parse().unwrap();
            let refusals = [
                verifier.verify_hashed(&parts, &sha256(b"other"), "lambda"),
                verifier.verify_hashed(&other_method, &sha256(b"body"), "lambda"),
                verifier.verify_hashed(&other_path, &sha256(b"body"), "lambda"),
            ];
            for refusal in refusals {
                assert_eq!(refusal.unwrap_err().kind(), ErrorKind::InvalidSignature, "{uri} {location:?}");
            }
        }
    }
}

fn copy(parts: &Parts) -> Parts {
    let mut request =
        Request::builder().method(parts.method.clone()).uri(parts.uri.clone()).body(()).unwrap();
    *request.headers_mut() = parts.headers.clone();
    request.into_parts().0
}

#[test]
fn presigned_urls_are_good_as_long_as_they_say() {
    let parts = signed(SignatureLocation::QueryParams, Method::GET, "/2015-03-31/functions/", b"");
    let check = |now| verifier(now).verify_hashed(&parts, &sha256(b""), "lambda");
    check(THEN + 600).unwrap();
    assert_eq!(
        check(THEN + 601).unwrap_err().to_string(),
        "InvalidSignatureException: Signature expired: 20150830T123600Z is now earlier than 20150830T123601Z \
         (20150830T124601Z - 10 min.)"
    );
}

#[test]
fn payloads_may_be_left_unsigned() {
    let mut settings = SigningSettings::default();
    settings.payload_checksum_kind = aws_sigv4::http_request::PayloadChecksumKind::XAmzSha256;
    let identity = Credentials::new(KEY, SECRET, None, None, "test").into();
    let parameters = v4::SigningParams::builder()
        .identity(&identity)
        .region("us-east-1")
        .name("lambda")
        .time(UNIX_EPOCH + Duration::from_secs(THEN))
        .settings(settings)
        .build()
        .unwrap()
        .into();
    let headers = [("host", "h")].into_iter();
    let signable =
        SignableRequest::new("POST", "http://h/a", headers, SignableBody::UnsignedPayload).unwrap();
    let (instructions, _) = sign(signable, &parameters).unwrap().into_parts();
    let mut request =
        Request::builder().method("POST").uri("http://h/a").header("host", "h").body(()).unwrap();
    instructions.apply_to_request_http1x(&mut request);
    let parts = request.into_parts().0;
    assert_eq!(parts.headers["x-amz-content-sha256"], "UNSIGNED-PAYLOAD");
    verifier(THEN).verify_hashed(&parts, &sha256(b"anything"), "lambda").unwrap();
}

#[test]
fn wrong_signatures_are_told_what_should_have_been_signed() {
    let wrong = suite("GET", "/", &[], "host;x-amz-date", &"0".repeat(64));
    assert_eq!(
        refused(THEN, &wrong, b""),
        "InvalidSignatureException: The request signature we calculated does not match the signature you provided. \
         Check your AWS Secret Access Key and signing method. Consult the service documentation for details.\n\nThe \
         Canonical String for this request should have been\n'GET\n/\n\nhost:example.amazonaws.com\n\
         x-amz-date:20150830T123600Z\n\nhost;x-amz-date\n\
         e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855'\n\nThe String-to-Sign should have been\n\
         'AWS4-HMAC-SHA256\n20150830T123600Z\n20150830/us-east-1/service/aws4_request\n\
         bb579772317eb040ac9ed261061d46c1f17a8133879d6129b6e1c25292927e63'\n"
    );
}

#[test]
fn old_and_future_signatures_are_refused() {
    let parts = suite(
        "GET",
        "/",
        &[],
        "host;x-amz-date",
        "5fa00fa31553b73ebf1942676e86291e8372ff2a2260956d9b8aae1d763fbf31",
    );
    let verify = |now| verifier(now).verify_hashed(&parts, &sha256(b""), "service");
    verify(THEN + 300).unwrap();
    verify(THEN - 300).unwrap();
    assert_eq!(
        refused(THEN + 301, &parts, b""),
        "InvalidSignatureException: Signature expired: 20150830T123600Z is now earlier than 20150830T123601Z \
         (20150830T124101Z - 5 min.)"
    );
    assert_eq!(
        refused(THEN - 301, &parts, b""),
        "InvalidSignatureException: Signature not yet current: 20150830T123600Z is still later than \
         20150830T123559Z (20150830T123059Z + 5 min.)"
    );
}

#[test]
fn signatures_that_lack_something_are_told_what() {
    let with = |authorization: &str| {
        parts(
            "GET",
            "/",
            &[("host", "h"), ("x-amz-date", "20150830T123600Z"), ("authorization", authorization)],
        )
    };
    let credential = format!("Credential={KEY}/20150830/us-east-1/service/aws4_request");
    let cases = [
        (
            parts("GET", "/", &[("host", "h")]),
            "MissingAuthenticationTokenException: Missing Authentication Token",
        ),
        (
            with("Bearer abc"),
            "IncompleteSignatureException: Invalid key=value pair (missing equal-sign) in Authorization header (hashed \
             with SHA-256 and encoded with Base64): 'w1Xc6WwWEogNEZQP/dkBTThsJT4MNlKmzQanIm970rY='.",
        ),
        (
            parts("GET", "/", &[("host", "h"), ("authorization", "AWS4-HMAC-SHA256 a=b")]),
            "IncompleteSignatureException: Authorization header requires 'Credential' parameter. Authorization header \
             requires 'Signature' parameter. Authorization header requires 'SignedHeaders' parameter. Authorization \
             header requires existence of either a 'X-Amz-Date' or a 'Date' header. (Hashed with SHA-256 and encoded \
             with Base64) Authorization=",
        ),
        (
            with(&format!("AWS4-HMAC-SHA1 {credential}, SignedHeaders=host, Signature=0")),
            "IncompleteSignatureException: Unsupported AWS 'algorithm': 'AWS4-HMAC-SHA1' (only AWS4-HMAC-SHA256 for \
             now). ",
        ),
        (
            with("AWS4-HMAC-SHA256 Credential=a/b/c/d, SignedHeaders=host, Signature=0"),
            "IncompleteSignatureException: Credential must have exactly 5 slash-delimited elements, e.g. \
             keyid/date/region/service/term, got 'a/b/c/d'",
        ),
        (
            with(&format!("AWS4-HMAC-SHA256 {credential}, SignedHeaders=x-amz-date, Signature=0")),
            "InvalidSignatureException: 'Host' must be a 'SignedHeader' in the AWS Authorization.",
        ),
        (
            with("AWS4-HMAC-SHA256 Credential=a/20150829/nowhere/s3/aws3, SignedHeaders=host, Signature=0"),
            "InvalidSignatureException: Credential should be scoped to a valid region, not 'nowhere'. Credential \
             should be scoped to correct service: 'service'. Credential should be scoped with a valid terminator: \
             'aws4_request', not 'aws3'. Date in Credential scope does not match YYYYMMDD from ISO-8601 version of \
             date from HTTP: '20150829' != '20150830', from '20150830T123600Z'.",
        ),
        (
            with(
                "AWS4-HMAC-SHA256 Credential=AKIANOBODY/20150830/us-east-1/service/aws4_request, SignedHeaders=host, \
                 Signature=0",
            ),
            "UnrecognizedClientException: The security token included in the request is invalid.",
        ),
        (
            parts("GET", "/?X-Amz-Algorithm=AWS4-HMAC-SHA256", &[("host", "h")]),
            "IncompleteSignatureException: AWS query-string parameters must include 'X-Amz-Credential'. AWS \
             query-string parameters must include 'X-Amz-Signature'. AWS query-string parameters must include \
             'X-Amz-SignedHeaders'. AWS query-string parameters must include 'X-Amz-Date'. Re-examine the \
             query-string parameters.",
        ),
        (
            parts("GET", "/?X-Amz-Algorithm=a", &[("host", "h"), ("authorization", "a")]),
            "InvalidSignatureException: Found both 'X-Amz-Algorithm' as a query-string param and 'Authorization' as \
             HTTP header.",
        ),
        (
            parts(
                "GET",
                "/",
                &[
                    ("host", "h"),
                    ("x-amz-date", "2015"),
                    (
                        "authorization",
                        "AWS4-HMAC-SHA256 Credential=a/b/c/d/e, SignedHeaders=host, Signature=0",
                    ),
                ],
            ),
            "IncompleteSignatureException: Date must be in ISO-8601 'basic format'. Got '2015'. See \
             http://en.wikipedia.org/wiki/ISO_8601",
        ),
    ];
    for (parts, expected) in cases {
        let error = refused(THEN, &parts, b"");
        assert!(error.starts_with(expected), "{error}");
    }
}

#[test]
fn keys_of_sts_are_known_until_their_time_is_over() {
    let clock = |now| -> Arc<dyn Clock> { Arc::new(At(now)) };
    let directory = tempfile::tempdir().unwrap();
    let sts = |now| Arc::new(Sts::open(Some(directory.path()), clock(now)).unwrap());
    let form =
        b"Action=AssumeRole&RoleArn=arn:aws:iam::111122223333:role/r&RoleSessionName=me&DurationSeconds=900";
    let answer = sts(THEN - 800).handle(&Credential::default(), "", form);
    let xml = String::from_utf8(answer.into_body().to_vec()).unwrap();
    let element = |name: &str| {
        let (_, rest) = xml.split_once(&format!("<{name}>")).unwrap();
        rest.split_once('<').unwrap().0.to_owned()
    };
    let identity = Credentials::new(
        element("AccessKeyId"),
        element("SecretAccessKey"),
        Some(element("SessionToken")),
        None,
        "t",
    )
    .into();
    let signed_at = |time: u64| {
        let parameters = v4::SigningParams::builder()
            .identity(&identity)
            .region("us-east-1")
            .name("lambda")
            .time(UNIX_EPOCH + Duration::from_secs(time))
            .settings(SigningSettings::default())
            .build()
            .unwrap()
            .into();
        let headers = [("host", "h")].into_iter();
        let signable = SignableRequest::new("GET", "http://h/a", headers, SignableBody::Bytes(b"")).unwrap();
        let (instructions, _) = sign(signable, &parameters).unwrap().into_parts();
        let mut request = Request::builder().uri("http://h/a").header("host", "h").body(()).unwrap();
        instructions.apply_to_request_http1x(&mut request);
        request.into_parts().0
    };
    let verify =
        |now| Verifier::new(sts(now), clock(now)).verify_hashed(&signed_at(now), &sha256(b""), "lambda");
    let identity = verify(THEN).unwrap();
    assert_eq!(identity.arn.as_deref(), Some("arn:aws:sts::111122223333:assumed-role/r/me"));
    assert_eq!(
        verify(THEN + 101).unwrap_err().to_string(),
        "ExpiredTokenException: The security token included in the request is expired"
    );
    let elsewhere = Arc::new(Sts::open(None, clock(THEN)).unwrap());
    let error = Verifier::new(elsewhere, clock(THEN)).verify_hashed(&signed_at(THEN), &sha256(b""), "lambda");
    assert_eq!(error.unwrap_err().kind(), ErrorKind::UnrecognizedClient);
}
