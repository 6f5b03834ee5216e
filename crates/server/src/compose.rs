//! Wiring: makes a running service from a configuration.
//!
//! Must not decide anything that a request asks for.

use std::net::SocketAddr;

use crate::config::ServiceConfig;

/// The service did not start.
#[derive(Debug, thiserror::Error)]
pub(crate) enum StartError {
    /// An address cannot be listened on.
    #[error("failed to listen on {address}")]
    Listen {
        /// The address.
        address: SocketAddr,
        #[source]
        source: std::io::Error,
    },
}

/// The service, before it runs.
#[derive(Debug)]
pub(crate) struct Service;

/// A service that answers requests.
#[derive(Debug)]
pub(crate) struct Running {
    /// Where it listens, port 0 resolved.
    pub(crate) addresses: Vec<SocketAddr>,
}

impl Service {
    /// Binds the listeners.
    pub(crate) async fn start(config: ServiceConfig) -> Result<Running, StartError> {
        let mut addresses = Vec::new();
        for address in config.listen {
            let listener = tokio::net::TcpListener::bind(address).await;
            let bound = listener.and_then(|listener| listener.local_addr());
            addresses.push(bound.map_err(|source| StartError::Listen { address, source })?);
        }
        Ok(Running { addresses })
    }
}

impl Running {
    /// Lines about isolation and runtimes, for people.
    pub(crate) fn summary(&self) -> Vec<String> {
        Vec::new()
    }

    /// Stops accepting, lets running invocations end, and ends the environments.
    pub(crate) async fn shutdown(self) {}
}
