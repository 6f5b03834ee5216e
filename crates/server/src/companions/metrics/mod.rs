//! CloudWatch's metrics: those that the control plane counts about functions (`AWS/Lambda`), and those that callers put.
//!
//! Must not have alarms, dashboards or metric math: who asks for them is told so, or reaches another endpoint.

mod cbor;
mod data;
mod operations;
pub(crate) mod prometheus;
mod protocol;
mod put;
mod statistic;
mod store;
mod value;

use std::{sync::Arc, time::Duration};

use bytes::Bytes;
use hothouse_control::Control;
use http::{Response, StatusCode, request::Parts};
use tokio::task::JoinHandle;

use protocol::Protocol;
pub(crate) use store::Scope;
use store::Store;

/// All metrics of one service. Cheap to clone.
#[derive(Debug, Clone)]
pub(crate) struct CloudWatch {
    control: Control,
    store: Arc<Store>,
}

impl CloudWatch {
    pub(crate) fn new(control: Control) -> Self {
        Self { control, store: Arc::default() }
    }

    /// Takes over what was counted since the last time.
    pub(crate) fn collect(&self) {
        let now = self.control.now();
        self.store.put_samples(self.control.take_metrics(), now.div_euclid(60_000));
    }

    /// Answers one of the operations that are here; nothing if it is another.
    pub(crate) fn handle(&self, scope: &Scope, parts: &Parts, body: &Bytes) -> Option<Response<Bytes>> {
        let protocol = Protocol::of(&parts.headers);
        let (operation, input) = match protocol.read(parts, body, super::REQUEST_BYTES) {
            Ok(read) => read,
            Err(refusal) => return Some(protocol.refuse(&refusal)),
        };
        self.collect();
        let asked = operations::Asked { store: &self.store, scope, now: self.control.now(), input: &input };
        let output = match operation.as_str() {
            "GetMetricData" => data::get_metric_data(&asked),
            "GetMetricStatistics" => data::get_metric_statistics(&asked),
            "ListMetrics" => operations::list_metrics(&asked),
            "PutMetricData" => put::put_metric_data(&asked),
            _ => return None,
        };
        Some(match output {
            Ok(output) => protocol.answer(&operation, &output),
            Err(refusal) => protocol.refuse(&refusal),
        })
    }

    /// What is told of any other operation, if there is no endpoint that has it.
    pub(crate) fn unknown(parts: &Parts) -> Response<Bytes> {
        let message = "Hothouse has GetMetricData, GetMetricStatistics, ListMetrics and PutMetricData of CloudWatch. \
                       Start it with --aws-endpoint to reach a service that has the others.";
        let refusal = Refusal {
            status: StatusCode::NOT_IMPLEMENTED,
            shape: "UnknownOperation",
            code: "NotImplemented",
            message: message.into(),
        };
        Protocol::of(&parts.headers).refuse(&refusal)
    }

    /// An error before the operation was known.
    pub(crate) fn unread(parts: &Parts, status: StatusCode, message: &str) -> Response<Bytes> {
        let refusal = Refusal { status, ..Refusal::serialization(message) };
        Protocol::of(&parts.headers).refuse(&refusal)
    }
}

/// Has metrics collected before the control plane forgets them. Dropping it ends that.
#[derive(Debug)]
pub(crate) struct Collector(JoinHandle<()>);

impl Collector {
    #[expect(clippy::disallowed_methods, reason = "the collector owns the task and ends it")]
    pub(crate) fn start(metrics: CloudWatch) -> Self {
        Self(tokio::spawn(async move {
            // By the machine's time: values know their minute, and moved time need not stop at each.
            let mut minutes = tokio::time::interval(Duration::from_secs(60));
            loop {
                minutes.tick().await;
                metrics.collect();
            }
        }))
    }
}

impl Drop for Collector {
    fn drop(&mut self) {
        self.0.abort();
    }
}

/// Why an operation was not done.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Refusal {
    status: StatusCode,
    /// Its name in the model.
    shape: &'static str,
    /// Its name by the query protocol.
    code: &'static str,
    message: String,
}

impl Refusal {
    fn new(shape: &'static str, code: &'static str, message: impl Into<String>) -> Self {
        Self { status: StatusCode::BAD_REQUEST, shape, code, message: message.into() }
    }

    fn invalid(message: impl Into<String>) -> Self {
        Self::new("InvalidParameterValueException", "InvalidParameterValue", message)
    }

    fn combination(message: impl Into<String>) -> Self {
        Self::new("InvalidParameterCombinationException", "InvalidParameterCombination", message)
    }

    fn missing(parameter: &str) -> Self {
        let message = format!("The parameter {parameter} is required.");
        Self::new("MissingRequiredParameterException", "MissingParameter", message)
    }

    fn validation(message: impl Into<String>) -> Self {
        Self::new("ValidationError", "ValidationError", message)
    }

    fn token() -> Self {
        Self::new("InvalidNextToken", "InvalidNextToken", "The next token is not one that was given out.")
    }

    fn serialization(message: &str) -> Self {
        Self::new("SerializationException", "SerializationException", message)
    }

    fn too_large() -> Self {
        Self { status: StatusCode::PAYLOAD_TOO_LARGE, ..Self::serialization("The request is too large.") }
    }
}
