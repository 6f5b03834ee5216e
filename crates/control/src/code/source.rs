//! Packages that a request names by bucket and key instead of carrying them.
//!
//! Must not fetch anything itself: the server implements [`ObjectSource`].

use bytes::Bytes;
use futures_util::future::BoxFuture;

/// One object of S3.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ObjectId {
    /// `S3Bucket`.
    pub bucket: String,
    /// `S3Key`.
    pub key: String,
    /// `S3ObjectVersion`; the newest if absent.
    pub version: Option<String>,
}

/// Fetches objects of S3.
pub trait ObjectSource: Send + Sync {
    /// The object's whole content. An answer longer than `limit` bytes may be cut off with [`ObjectError::TooLarge`].
    fn fetch<'a>(&'a self, object: &'a ObjectId, limit: u64) -> BoxFuture<'a, Result<Bytes, ObjectError>>;
}

/// Why an object could not be fetched.
#[derive(Debug, thiserror::Error)]
pub enum ObjectError {
    /// S3 refused, with one of its own error codes.
    #[error("S3 answered {code}: {message}")]
    Refused {
        /// S3's error code, such as `NoSuchKey`.
        code: String,
        /// S3's message.
        message: String,
    },
    /// No endpoint for other AWS services is configured.
    #[error("no endpoint for S3 is configured")]
    NoEndpoint,
    /// The object is larger than any package may be.
    #[error("the object is larger than {limit} bytes")]
    TooLarge {
        /// The limit that was met, in bytes.
        limit: u64,
    },
    /// The endpoint could not be reached or did not speak S3.
    #[error("failed to read the object")]
    Transport(#[source] Box<dyn std::error::Error + Send + Sync>),
}

impl ObjectError {
    /// The bucket does not exist, in S3's words.
    pub fn no_such_bucket() -> Self {
        Self::Refused { code: "NoSuchBucket".into(), message: "The specified bucket does not exist".into() }
    }

    /// The key does not exist, in S3's words.
    pub fn no_such_key() -> Self {
        Self::Refused { code: "NoSuchKey".into(), message: "The specified key does not exist.".into() }
    }
}

/// The source of a service without an endpoint for S3: it has no objects.
#[derive(Debug, Default, Clone, Copy)]
pub struct NoObjects;

impl ObjectSource for NoObjects {
    fn fetch<'a>(&'a self, _: &'a ObjectId, _: u64) -> BoxFuture<'a, Result<Bytes, ObjectError>> {
        Box::pin(async { Err(ObjectError::NoEndpoint) })
    }
}
