//! What a script does as an external extension.

use std::{fmt, os::fd::OwnedFd};

use bytes::Bytes;
use http::Response;
use hyper::client::conn::http1::SendRequest;
use serde_json::{Value, json};

use super::{FakeBody, call};

/// An external extension, as its script sees it.
pub struct FakeExtension {
    client: SendRequest<FakeBody>,
    output: OwnedFd,
    name: String,
    starts: usize,
    identifier: String,
}

impl fmt::Debug for FakeExtension {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("FakeExtension").field("name", &self.name).finish_non_exhaustive()
    }
}

impl FakeExtension {
    pub(super) fn new(
        client: SendRequest<FakeBody>,
        output: OwnedFd,
        name: String,
        starts: usize,
    ) -> FakeExtension {
        FakeExtension { client, output, name, starts, identifier: String::new() }
    }

    /// 1 for the environment's first processes, 2 for the next, as long as each start comes to its runtime.
    pub fn starts(&self) -> usize {
        self.starts
    }

    /// Registers for these events.
    pub async fn register(&mut self, events: &[&str]) -> Response<Bytes> {
        let name = self.name.clone();
        let body = Bytes::from(json!({ "events": events }).to_string());
        let response = self.call("POST", "register", &[("lambda-extension-name", &name)], body).await;
        if let Some(identifier) = response.headers().get("lambda-extension-identifier") {
            identifier.to_str().expect("identifiers are text").clone_into(&mut self.identifier);
        }
        response
    }

    /// Waits for an event. Never returns if the environment has gone.
    pub async fn next(&mut self) -> Value {
        let response = self.call("GET", "event/next", &[], Bytes::new()).await;
        serde_json::from_slice(response.body()).expect("events are JSON")
    }

    /// Reports an error; `which` is `init` or `exit`.
    pub async fn fail(&mut self, which: &str, error_type: &str) -> Response<Bytes> {
        let headers = [("lambda-extension-function-error-type", error_type)];
        self.call("POST", &format!("{which}/error"), &headers, Bytes::new()).await
    }

    /// Writes to its log pipe.
    pub fn print(&self, text: &str) {
        let _ = rustix::io::write(&self.output, text.as_bytes());
    }

    /// Any call of the Extensions API.
    pub async fn call(
        &mut self,
        method: &str,
        path: &str,
        headers: &[(&str, &str)],
        body: Bytes,
    ) -> Response<Bytes> {
        let mut all = headers.to_vec();
        all.push(("lambda-extension-identifier", &self.identifier));
        call(&mut self.client, method, &format!("/2020-01-01/extension/{path}"), &all, body).await
    }
}
