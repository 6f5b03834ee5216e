//! Binding: the members of an input, gathered from path, query, headers and body into one JSON document.
//!
//! Must not judge values beyond their type: `validate` does.

use bytes::Bytes;
use serde::de::DeserializeOwned;
use serde_json::{Map, Value};

use crate::{error::ApiError, generated::ErrorKind};

/// An input before it has its type.
#[derive(Debug)]
pub(crate) struct Bound {
    /// All members but a payload, by their names in the model.
    pub(crate) members: Map<String, Value>,
    /// The body, if it is a payload that is taken as it is.
    pub(crate) payload: Bytes,
}

impl Bound {
    /// The input, typed. Validation ran before.
    pub(crate) fn decode<T: DeserializeOwned>(self) -> Result<T, ApiError> {
        serde_json::from_value(Value::Object(self.members))
            .map_err(|error| ApiError::new(ErrorKind::Serialization, error.to_string()))
    }

    /// The input and the payload that belongs into it.
    pub(crate) fn decode_with_payload<T: DeserializeOwned>(mut self) -> Result<(T, Bytes), ApiError> {
        let payload = std::mem::take(&mut self.payload);
        Ok((self.decode()?, payload))
    }
}
