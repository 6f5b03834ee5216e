//! Bodies of answers.
//!
//! Must not look at what is in them.

use std::{fmt, pin::Pin};

use bytes::{Bytes, BytesMut};
use futures_util::{Stream, TryStreamExt};

/// The body of an answer.
pub enum Body {
    /// All of it is at hand.
    Whole(Bytes),
    /// It comes piece by piece.
    Stream(Pieces),
}

/// A body as it comes. One that cannot be written breaks off.
pub type Pieces = Pin<Box<dyn Stream<Item = Result<Bytes, serde_json::Error>> + Send>>;

impl Body {
    /// The body as a whole, when the last piece has come.
    ///
    /// # Errors
    /// If it breaks off.
    pub async fn collect(self) -> Result<Bytes, serde_json::Error> {
        match self {
            Self::Whole(body) => Ok(body),
            Self::Stream(pieces) => {
                let append = |mut body: BytesMut, piece: Bytes| async move {
                    body.extend_from_slice(&piece);
                    Ok(body)
                };
                pieces.try_fold(BytesMut::new(), append).await.map(BytesMut::freeze)
            }
        }
    }
}

impl From<Bytes> for Body {
    fn from(body: Bytes) -> Self {
        Self::Whole(body)
    }
}

impl fmt::Debug for Body {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Whole(body) => f.debug_tuple("Whole").field(body).finish(),
            Self::Stream(_) => f.write_str("Stream"),
        }
    }
}
