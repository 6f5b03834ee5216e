//! Carries the SDK's requests by the forwarder's connections: one pool, and one set of certificates, for all that goes
//! to the other endpoint.
//!
//! Must not change requests: they are signed.

use std::sync::Arc;

use aws_sdk_s3::{
    config::{
        HttpClient, RuntimeComponents,
        http::{HttpRequest, HttpResponse},
    },
    primitives::SdkBody,
};
use aws_smithy_runtime_api::client::{
    http::{HttpConnector, HttpConnectorFuture, HttpConnectorSettings, SharedHttpConnector},
    result::ConnectorError,
};
use http_body_util::BodyExt;

use crate::companions::{
    body::{self, BoxError},
    forward::Forwarder,
};

/// Bytes of an answer that are read.
const ANSWER_BYTES: usize = 1 << 20;

/// The forwarder, as the SDK wants it.
#[derive(Debug, Clone)]
pub(super) struct Transport {
    forwarder: Arc<Forwarder>,
}

impl Transport {
    pub(super) fn new(forwarder: Arc<Forwarder>) -> Self {
        Transport { forwarder }
    }
}

impl HttpClient for Transport {
    /// The settings are of no use here: how long a connection may take is the forwarder's, and the whole attempt has a
    /// limit.
    fn http_connector(&self, _: &HttpConnectorSettings, _: &RuntimeComponents) -> SharedHttpConnector {
        SharedHttpConnector::new(self.clone())
    }
}

impl HttpConnector for Transport {
    fn call(&self, request: HttpRequest) -> HttpConnectorFuture {
        let forwarder = self.forwarder.clone();
        HttpConnectorFuture::new(async move { exchange(&forwarder, request).await })
    }
}

async fn exchange(forwarder: &Forwarder, request: HttpRequest) -> Result<HttpResponse, ConnectorError> {
    let request = request.try_into_http1x().map_err(|error| ConnectorError::user(error.into()))?;
    let request = request.map(|body| body.map_err(BoxError::from).boxed_unsync());
    let response = forwarder.exchange(request).await.map_err(|error| ConnectorError::io(Box::new(error)))?;
    let (parts, body) = response.into_parts();
    let body = body::read(body, ANSWER_BYTES).await.map_err(|error| ConnectorError::io(Box::new(error)))?;
    let response = http::Response::from_parts(parts, SdkBody::from(body));
    HttpResponse::try_from(response).map_err(|error| ConnectorError::io(error.into()))
}
