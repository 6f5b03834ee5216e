//! Errors as AWS's clients see them: kind, message, further members of the body. What went wrong inside stays inside.
//!
//! Must not decide when an operation fails, nor log.

use std::{error::Error, fmt};

use bytes::Bytes;
use http::{HeaderName, HeaderValue, Response, StatusCode, header};
use serde_json::{Map, Value};

use crate::{
    generated::{ErrorKind, Operation},
    name::RequestId,
    respond,
};

/// An error of the API. One pointer wide.
pub struct ApiError(Box<Inner>);

struct Inner {
    kind: ErrorKind,
    message: Option<String>,
    typed: bool,
    members: Map<String, Value>,
    headers: Vec<(HeaderName, HeaderValue)>,
    source: Option<Box<dyn Error + Send + Sync>>,
}

impl ApiError {
    /// An error with the message that the caller gets.
    pub fn new(kind: ErrorKind, message: impl Into<String>) -> Self {
        Self(Box::new(Inner {
            kind,
            message: Some(message.into()),
            typed: true,
            members: Map::new(),
            headers: Vec::new(),
            source: None,
        }))
    }

    /// An error whose message is `null`, as AWS sends some.
    pub fn without_message(kind: ErrorKind) -> Self {
        let mut error = Self::new(kind, "");
        error.0.message = None;
        error
    }

    /// Hothouse does not have this operation yet.
    pub fn not_implemented(operation: Operation) -> Self {
        Self::new(ErrorKind::NotImplemented, format!("Hothouse does not implement {operation} yet."))
    }

    /// `ServiceException`, for what went wrong inside. The cause is not shown to the caller.
    pub fn internal(source: impl Into<Box<dyn Error + Send + Sync>>) -> Self {
        Self::new(ErrorKind::Service, "An error occurred and the request cannot be processed.")
            .with_source(source)
    }

    /// Leaves out `Type`, which says whose fault it is, as AWS does for some errors.
    #[must_use]
    pub fn without_type(mut self) -> Self {
        self.0.typed = false;
        self
    }

    /// Adds a member to the body, such as `Reason`.
    #[must_use]
    pub fn with_member(mut self, name: &str, value: impl Into<Value>) -> Self {
        self.0.members.insert(name.to_owned(), value.into());
        self
    }

    /// Adds a header, such as `Retry-After`.
    #[must_use]
    pub fn with_header(mut self, name: HeaderName, value: HeaderValue) -> Self {
        self.0.headers.push((name, value));
        self
    }

    /// Tells the caller how many seconds to wait: `Retry-After`.
    #[must_use]
    pub fn with_retry_after(self, seconds: u32) -> Self {
        self.with_header(header::RETRY_AFTER, HeaderValue::from(seconds))
    }

    /// Adds the cause, for the log only.
    #[must_use]
    pub fn with_source(mut self, source: impl Into<Box<dyn Error + Send + Sync>>) -> Self {
        self.0.source = Some(source.into());
        self
    }

    /// What went wrong.
    pub fn kind(&self) -> ErrorKind {
        self.0.kind
    }

    /// The message that the caller gets.
    pub fn message(&self) -> Option<&str> {
        self.0.message.as_deref()
    }

    /// The response that AWS's clients read the error from.
    pub fn respond(&self, request_id: RequestId) -> Response<Bytes> {
        let Inner { kind, message, typed, members, headers, .. } = &*self.0;
        let mut body = Map::new();
        if let Some(fault) = kind.fault().filter(|_| *typed) {
            body.insert("Type".to_owned(), fault.into());
        }
        body.insert(kind.message_key().to_owned(), message.clone().into());
        body.extend(members.clone());

        let mut response = Response::new(Bytes::from(Value::Object(body).to_string()));
        *response.status_mut() =
            StatusCode::from_u16(kind.status()).expect("the statuses of kinds are valid");
        let response_headers = response.headers_mut();
        response_headers.insert(header::CONTENT_TYPE, respond::JSON);
        response_headers.insert(respond::REQUEST_ID, respond::request_id_value(request_id));
        response_headers.insert(ERROR_TYPE, HeaderValue::from_static(kind.code()));
        for (name, value) in headers {
            response_headers.insert(name, value.clone());
        }
        response
    }
}

/// Where clients look for the code first.
const ERROR_TYPE: HeaderName = HeaderName::from_static("x-amzn-errortype");

impl fmt::Display for ApiError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.0.kind.code())?;
        match &self.0.message {
            Some(message) => write!(f, ": {message}"),
            None => Ok(()),
        }
    }
}

impl fmt::Debug for ApiError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Inner { kind, message, members, headers, source, .. } = &*self.0;
        f.debug_struct("ApiError")
            .field("kind", kind)
            .field("message", message)
            .field("members", members)
            .field("headers", headers)
            .field("source", source)
            .finish()
    }
}

impl Error for ApiError {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        self.0.source.as_deref().map(|source| source as _)
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn body(error: &ApiError) -> Value {
        serde_json::from_slice(error.respond(RequestId::random()).body()).unwrap()
    }

    #[test]
    fn errors_are_one_pointer_wide() {
        assert_eq!(size_of::<ApiError>(), size_of::<usize>());
    }

    #[test]
    fn the_message_has_the_capital_that_the_kind_has() {
        let error = ApiError::new(ErrorKind::ResourceNotFound, "gone");
        assert_eq!(body(&error), json!({"Type": "User", "Message": "gone"}));
        let error = ApiError::new(ErrorKind::ResourceConflict, "busy");
        assert_eq!(body(&error), json!({"Type": "User", "message": "busy"}));
        assert_eq!(body(&ApiError::internal("inside"))["Type"], "Service");
        assert_eq!(body(&ApiError::without_message(ErrorKind::AccessDenied)), json!({"Message": null}));
    }

    #[test]
    fn throttling_has_its_reason() {
        let error = ApiError::new(ErrorKind::TooManyRequests, "Rate Exceeded.")
            .with_member("Reason", "ReservedFunctionConcurrentInvocationLimitExceeded")
            .with_header(header::RETRY_AFTER, HeaderValue::from_static("1"));
        let response = error.respond(RequestId::random());
        assert_eq!(response.status(), 429);
        assert_eq!(response.headers()[header::RETRY_AFTER], "1");
        assert_eq!(
            body(&error),
            json!({
                "Type": "User",
                "message": "Rate Exceeded.",
                "Reason": "ReservedFunctionConcurrentInvocationLimitExceeded",
            })
        );
    }

    #[test]
    fn what_went_wrong_inside_is_for_the_log_only() {
        let error = ApiError::internal("the disk is full");
        assert!(!body(&error).to_string().contains("disk"));
        assert_eq!(error.source().unwrap().to_string(), "the disk is full");
    }

    #[test]
    fn every_kind_can_be_sent() {
        for &kind in ErrorKind::ALL {
            let response = ApiError::new(kind, "").respond(RequestId::random());
            assert_eq!(response.headers()[ERROR_TYPE], kind.code());
            assert!(response.status().is_client_error() || response.status().is_server_error());
        }
    }
}
