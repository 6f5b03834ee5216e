//! Accept loops and connections.
//!
//! Must not know what is behind the door. A slow or broken client costs its own connection only.

use std::{
    convert::Infallible,
    io,
    net::{IpAddr, SocketAddr},
    sync::Arc,
    time::Duration,
};

use hyper::{server::conn::http1, service::service_fn};
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::net::{TcpListener, TcpStream};
use tokio_util::{sync::CancellationToken, task::TaskTracker};

use super::Door;

/// A client has this long to send the head of a request.
const HEADER_TIMEOUT: Duration = Duration::from_secs(60);

/// After a failed `accept` (no descriptors left, for example) the next is tried so much later.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// All listeners and connections of the service.
#[derive(Debug, Clone, Default)]
pub(crate) struct Connections {
    tasks: TaskTracker,
    /// Cancelled: no new connections, and those that are open end after their current request.
    closing: CancellationToken,
}

impl Connections {
    /// Serves a listener until it is dropped by [`Connections::close`] or `gone` is cancelled.
    pub(crate) fn serve(&self, listener: TcpListener, door: Arc<Door>, gone: CancellationToken) {
        let connections = self.clone();
        self.tasks.spawn(async move {
            loop {
                let accepted = tokio::select! {
                    biased;
                    () = connections.closing.cancelled() => return,
                    () = gone.cancelled() => return,
                    accepted = listener.accept() => accepted,
                };
                connections.accepted(accepted, &door).await;
            }
        });
    }

    async fn accepted(&self, accepted: io::Result<(TcpStream, SocketAddr)>, door: &Arc<Door>) {
        match accepted {
            Ok((stream, peer)) => {
                // Small answers must not wait for more.
                let _ = stream.set_nodelay(true);
                self.tasks.spawn(serve(stream, peer.ip(), door.clone(), self.closing.clone()));
            }
            Err(error) => {
                tracing::warn!(%error, "failed to accept a connection");
                tokio::time::sleep(ACCEPT_PAUSE).await;
            }
        }
    }

    /// Takes no new connections and waits, up to `limit`, for the open ones to finish what they are doing.
    pub(crate) async fn close(&self, limit: Duration) {
        self.closing.cancel();
        self.tasks.close();
        if tokio::time::timeout(limit, self.tasks.wait()).await.is_err() {
            tracing::info!(connections = self.tasks.len(), "requests are still running; ending them");
        }
    }
}

async fn serve(stream: TcpStream, peer: IpAddr, door: Arc<Door>, closing: CancellationToken) {
    let service = service_fn(move |request| {
        let door = door.clone();
        async move { Ok::<_, Infallible>(door.answer(request, peer).await) }
    });
    let connection = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(HEADER_TIMEOUT)
        .serve_connection(TokioIo::new(stream), service);
    let mut connection = std::pin::pin!(connection);
    let ended = tokio::select! {
        biased;
        ended = connection.as_mut() => ended,
        () = closing.cancelled() => {
            connection.as_mut().graceful_shutdown();
            connection.await
        }
    };
    if let Err(error) = ended {
        tracing::debug!(%error, "a connection ended");
    }
}
