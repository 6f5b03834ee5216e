//! Reads objects from S3 at the other endpoint: code that is given as bucket and key.
//!
//! Must not know what the objects are for.

use std::sync::Arc;

use bytes::Bytes;
use hothouse_api::name::{AccountId, Region};
use http::{Request, StatusCode, Uri, header};
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};

use super::{
    body::{self, Body, ReadError},
    forward::{ForwardError, Forwarder, chain},
    query,
};

/// The largest unpacked function, and so the largest archive that can be worth reading.
const OBJECT_BYTES: usize = 262_144_000;
/// Bytes of an error answer that are looked at.
const ERROR_BYTES: usize = 64 << 10;
const PATH: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'_').remove(b'.').remove(b'~').remove(b'/');
const PARAMETER: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'_').remove(b'.').remove(b'~');

/// An object could not be read.
#[derive(Debug, thiserror::Error)]
pub enum ObjectError {
    /// There is no such bucket.
    #[error("the bucket `{0}` does not exist")]
    NoSuchBucket(String),
    /// There is no such key.
    #[error("the key `{0}` does not exist")]
    NoSuchKey(String),
    /// There is no such version.
    #[error("the version `{0}` does not exist")]
    NoSuchVersion(String),
    /// The object is larger than any function may be.
    #[error("the object has more than {OBJECT_BYTES} bytes")]
    TooLarge,
    /// S3 refused for another reason.
    #[error("S3 answered {status} {code}: {message}")]
    Refused {
        /// HTTP status.
        status: StatusCode,
        /// S3's error code, if it gave one.
        code: String,
        /// S3's message, if it gave one.
        message: String,
    },
    /// S3 could not be asked.
    #[error("failed to ask S3")]
    Forward(#[from] ForwardError),
    /// The answer broke off.
    #[error("failed to read the object: {0}")]
    Read(String),
}

/// Reads objects through the forwarder.
#[derive(Debug, Clone)]
pub struct Objects {
    forwarder: Arc<Forwarder>,
}

impl Objects {
    /// Uses the forwarder's endpoint and keys.
    pub fn new(forwarder: Arc<Forwarder>) -> Self {
        Objects { forwarder }
    }

    /// Reads a whole object, as the account and in the region of the function that wants it.
    ///
    /// # Errors
    /// There is no such object, or S3 cannot be asked.
    pub async fn fetch(
        &self,
        account: AccountId,
        region: &Region,
        bucket: &str,
        key: &str,
        version: Option<&str>,
    ) -> Result<Bytes, ObjectError> {
        let bucket_path = utf8_percent_encode(bucket, PARAMETER);
        let mut path = format!("/{bucket_path}/{}", utf8_percent_encode(key, PATH));
        if let Some(version) = version {
            path.push_str(&format!("?versionId={}", utf8_percent_encode(version, PARAMETER)));
        }
        let mut request = Request::new(body::whole(Bytes::new()));
        *request.uri_mut() = path.parse::<Uri>().map_err(|error| ForwardError::Url(error.into()))?;
        let response = self.forwarder.ask(request, "s3", region, account).await?;
        let (parts, body) = response.into_parts();
        if parts.status == StatusCode::OK {
            let length = parts.headers.get(header::CONTENT_LENGTH).and_then(|value| value.to_str().ok());
            return read(body, length.and_then(|length| length.parse().ok())).await;
        }
        // An answer without a readable body still has its status.
        let xml = body::read(body, ERROR_BYTES).await.unwrap_or_default();
        let xml = String::from_utf8_lossy(&xml);
        let element = |name: &str| query::element(&xml, name).unwrap_or_default();
        Err(match element("Code").as_str() {
            "NoSuchBucket" => ObjectError::NoSuchBucket(bucket.to_owned()),
            "NoSuchKey" => ObjectError::NoSuchKey(key.to_owned()),
            "NoSuchVersion" => ObjectError::NoSuchVersion(version.unwrap_or_default().to_owned()),
            code => ObjectError::Refused {
                status: parts.status,
                code: code.to_owned(),
                message: element("Message"),
            },
        })
    }
}

async fn read(body: Body, length: Option<usize>) -> Result<Bytes, ObjectError> {
    if length.is_some_and(|length| length > OBJECT_BYTES) {
        return Err(ObjectError::TooLarge);
    }
    body::read(body, OBJECT_BYTES).await.map_err(|error| match error {
        ReadError::TooLarge => ObjectError::TooLarge,
        ReadError::Broken(_) => ObjectError::Read(chain(&error)),
    })
}
