//! Reads objects from S3 at the other endpoint: code that is given as bucket and key.
//!
//! Must not know what the objects are for.

use std::sync::Arc;

use bytes::Bytes;
use futures_util::future::BoxFuture;
use hothouse_api::name::{AccountId, Region};
use hothouse_control::code::{ObjectError, ObjectId, ObjectSource};
use http::{Request, StatusCode, Uri, header};
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};

use super::{
    body::{self, ReadError},
    forward::{ForwardError, Forwarder},
    query,
};

/// Bytes of an error answer that are looked at.
const ERROR_BYTES: usize = 64 << 10;
const PARAMETER: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'_').remove(b'.').remove(b'~');
const PATH: &AsciiSet = &PARAMETER.remove(b'/');

/// Reads objects through the forwarder.
#[derive(Debug, Clone)]
pub(crate) struct Objects {
    forwarder: Arc<Forwarder>,
    region: Region,
}

/// S3 answered something that it should not.
#[derive(Debug, thiserror::Error)]
#[error("S3 answered {0} without an error code")]
struct UnexpectedAnswer(StatusCode);

impl Objects {
    /// Uses the forwarder's endpoint and keys, and signs for this region.
    pub(crate) fn new(forwarder: Arc<Forwarder>, region: Region) -> Self {
        Objects { forwarder, region }
    }

    async fn read(&self, object: &ObjectId, limit: u64) -> Result<Bytes, ObjectError> {
        let mut request = Request::new(body::whole(Bytes::new()));
        *request.uri_mut() = path_of(object).parse::<Uri>().map_err(transport)?;
        let answer = self.forwarder.ask(request, "s3", &self.region, AccountId::DEFAULT).await;
        let (parts, body) = match answer {
            Ok(response) => response.into_parts(),
            Err(ForwardError::NoEndpoint) => return Err(ObjectError::NoEndpoint),
            Err(error) => return Err(transport(error)),
        };
        if parts.status == StatusCode::OK {
            let length = parts.headers.get(header::CONTENT_LENGTH).and_then(|value| value.to_str().ok());
            if length.and_then(|length| length.parse().ok()).is_some_and(|length: u64| length > limit) {
                return Err(ObjectError::TooLarge { limit });
            }
            let bytes = usize::try_from(limit).unwrap_or(usize::MAX);
            return body::read(body, bytes).await.map_err(|error| match error {
                ReadError::TooLarge => ObjectError::TooLarge { limit },
                ReadError::Broken(_) => transport(error),
            });
        }
        // An answer without a readable body still has its status.
        let xml = body::read(body, ERROR_BYTES).await.unwrap_or_default();
        let xml = String::from_utf8_lossy(&xml);
        match query::element(&xml, "Code") {
            Some(code) => Err(ObjectError::Refused {
                code,
                message: query::element(&xml, "Message").unwrap_or_default(),
            }),
            None => Err(transport(UnexpectedAnswer(parts.status))),
        }
    }
}

impl ObjectSource for Objects {
    fn fetch<'a>(&'a self, object: &'a ObjectId, limit: u64) -> BoxFuture<'a, Result<Bytes, ObjectError>> {
        Box::pin(self.read(object, limit))
    }
}

/// `/BUCKET/KEY?versionId=VERSION`.
fn path_of(object: &ObjectId) -> String {
    let bucket = utf8_percent_encode(&object.bucket, PARAMETER);
    let mut path = format!("/{bucket}/{}", utf8_percent_encode(&object.key, PATH));
    if let Some(version) = &object.version {
        path.push_str("?versionId=");
        path.extend(utf8_percent_encode(version, PARAMETER));
    }
    path
}

fn transport(error: impl std::error::Error + Send + Sync + 'static) -> ObjectError {
    ObjectError::Transport(Box::new(error))
}
