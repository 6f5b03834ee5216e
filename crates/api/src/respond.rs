//! Responses: outputs in the model's bindings, with the headers that every response has.
//!
//! Must not know errors: those render themselves.

use bytes::Bytes;
use http::{HeaderName, HeaderValue, Response, StatusCode, header};
use serde::Serialize;

use crate::{
    body::Body,
    error::ApiError,
    event_stream::{self, Event, EventStream},
    generated::Operation,
    name::RequestId,
};

pub(crate) const JSON: HeaderValue = HeaderValue::from_static("application/json");
pub(crate) const REQUEST_ID: HeaderName = HeaderName::from_static("x-amzn-requestid");

/// A success on its way out.
#[derive(Debug)]
pub(crate) struct Reply {
    response: Response<Body>,
    /// A header could not be written; the first such error.
    error: Option<ApiError>,
}

impl Reply {
    /// A response without body.
    pub(crate) fn empty(operation: Operation) -> Self {
        Self::payload(operation, None)
    }

    /// A response whose body is this payload, as it is.
    pub(crate) fn payload(operation: Operation, payload: Option<Bytes>) -> Self {
        Self::with(operation, Body::Whole(payload.unwrap_or_default()))
    }

    fn with(operation: Operation, body: Body) -> Self {
        let mut response = Response::new(body);
        *response.status_mut() =
            StatusCode::from_u16(operation.status()).expect("the statuses of operations are valid");
        Self { response, error: None }
    }

    /// A response whose body is this document.
    pub(crate) fn json(operation: Operation, output: &impl Serialize) -> Self {
        match serde_json::to_vec(output) {
            Ok(document) => Self::payload(operation, Some(document.into())),
            Err(error) => Self::failed(operation, error),
        }
    }

    /// A response whose body is a stream of these events. Without any stream there is no body.
    pub(crate) fn events(operation: Operation, events: Option<EventStream<impl Event + 'static>>) -> Self {
        let Some(events) = events else { return Self::empty(operation) };
        Self::with(operation, event_stream::encode(events))
            .header("content-type", Some(event_stream::CONTENT_TYPE))
    }

    fn failed(operation: Operation, error: serde_json::Error) -> Self {
        Self { error: Some(ApiError::internal(error)), ..Self::empty(operation) }
    }

    /// Binds a member to a header.
    pub(crate) fn header(mut self, name: &'static str, value: Option<impl AsRef<str>>) -> Self {
        if let Some(value) = value {
            match HeaderValue::from_str(value.as_ref()) {
                Ok(value) => {
                    self.response.headers_mut().insert(HeaderName::from_static(name), value);
                }
                Err(error) => {
                    self.error.get_or_insert_with(|| ApiError::internal(error));
                }
            }
        }
        self
    }

    /// Binds a member to the status.
    pub(crate) fn status(mut self, status: Option<i32>) -> Self {
        let status = status
            .map(|status| u16::try_from(status).ok().and_then(|status| StatusCode::from_u16(status).ok()));
        match status {
            None => {}
            Some(Some(status)) => *self.response.status_mut() = status,
            Some(None) => {
                self.error.get_or_insert_with(|| {
                    ApiError::internal("an operation answered with an impossible status")
                });
            }
        }
        self
    }

    /// The finished response.
    pub(crate) fn finish(self, request_id: RequestId) -> Result<Response<Body>, ApiError> {
        let Self { mut response, error } = self;
        if let Some(error) = error {
            return Err(error);
        }
        let headers = response.headers_mut();
        headers.entry(header::CONTENT_TYPE).or_insert(JSON);
        headers.insert(REQUEST_ID, request_id_value(request_id));
        Ok(response)
    }
}

/// An id as a header's value.
pub(crate) fn request_id_value(request_id: RequestId) -> HeaderValue {
    HeaderValue::from_maybe_shared(Bytes::from(request_id.to_string())).expect("a UUID is visible ASCII")
}
