//! Bodies of requests and answers: streams, whole, or read up to a limit.
//!
//! Must not look at what is in them.

use bytes::{Bytes, BytesMut};
use http::Response;
use http_body_util::{BodyExt, Full, combinators::UnsyncBoxBody};

/// Whatever went wrong with a body.
pub(crate) type BoxError = Box<dyn std::error::Error + Send + Sync>;
/// Bodies of requests and responses: streamed where they are forwarded.
pub(crate) type Body = UnsyncBoxBody<Bytes, BoxError>;

/// A body could not be read whole.
#[derive(Debug, thiserror::Error)]
pub(super) enum ReadError {
    #[error("the body is too large")]
    TooLarge,
    #[error("the body broke off")]
    Broken(#[source] BoxError),
}

/// A body that is at hand.
pub(super) fn whole(bytes: Bytes) -> Body {
    Full::new(bytes).map_err(|never| match never {}).boxed_unsync()
}

/// A response whose body is at hand.
pub(super) fn answer(response: Response<Bytes>) -> Response<Body> {
    response.map(whole)
}

/// Reads a body that has at most `limit` bytes.
pub(super) async fn read(mut body: Body, limit: usize) -> Result<Bytes, ReadError> {
    let mut bytes = BytesMut::new();
    while let Some(frame) = body.frame().await {
        let Ok(data) = frame.map_err(ReadError::Broken)?.into_data() else { continue };
        if bytes.len() + data.len() > limit {
            return Err(ReadError::TooLarge);
        }
        bytes.extend_from_slice(&data);
    }
    Ok(bytes.freeze())
}
