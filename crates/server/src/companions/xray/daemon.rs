//! The X-Ray daemon's sockets on the host: segments by UDP, sampling rules by TCP, both at one port of loopback.
//!
//! Must not answer anything but sampling by TCP: whoever can open a web page could ask.

use std::{
    convert::Infallible,
    io,
    net::{Ipv4Addr, SocketAddr},
    sync::Arc,
    time::Duration,
};

use bytes::Bytes;
use hothouse_execution::ports::SegmentSink;
use http::{Request, Response, StatusCode};
use http_body_util::Full;
use hyper::{body::Incoming, server::conn::http1, service::service_fn};
use hyper_util::rt::{TokioIo, TokioTimer};
use serde_json::json;
use tokio::net::{TcpListener, TcpStream, UdpSocket};
use tokio_util::{sync::CancellationToken, task::TaskTracker};

use super::{
    operations::{self, Operation},
    respond,
};
use crate::companions::xray::{Scope, Xray};

/// Where SDKs look for the daemon.
const PORT: u16 = 2000;
/// A datagram cannot be longer.
const DATAGRAM_BYTES: usize = 64 << 10;
/// Free ports to try: one that is free for UDP may be taken for TCP.
const ATTEMPTS: usize = 16;
/// A connection must say what it wants in this time.
const REQUEST_TIMEOUT: Duration = Duration::from_secs(10);
/// After a failed `accept` or `recv` the next is tried so much later.
const PAUSE: Duration = Duration::from_millis(100);

/// No port could be had.
#[derive(Debug, thiserror::Error)]
#[error("listen for trace segments at a port of 127.0.0.1")]
pub(crate) struct DaemonError(#[from] io::Error);

/// The bound sockets. They are let go when this is dropped; [`Daemon::close`] waits for it.
#[derive(Debug)]
pub(crate) struct Daemon {
    address: SocketAddr,
    tasks: TaskTracker,
    stop: CancellationToken,
}

impl Daemon {
    /// Binds port 2000, or another one if it is taken, and takes what comes.
    ///
    /// # Errors
    /// No port is free.
    pub(crate) async fn start(xray: Xray, scope: Scope) -> Result<Daemon, DaemonError> {
        let (udp, tcp, address) = bind().await?;
        let (tasks, stop) = (TaskTracker::new(), CancellationToken::new());
        let sink = xray.clone();
        tasks.spawn(stop.clone().run_until_cancelled_owned(receive(udp, sink)));
        tasks.spawn(stop.clone().run_until_cancelled_owned(accept(
            tcp,
            Arc::new((xray, scope)),
            tasks.clone(),
            stop.clone(),
        )));
        Ok(Daemon { address, tasks, stop })
    }

    /// Where it listens.
    pub(crate) fn address(&self) -> SocketAddr {
        self.address
    }

    /// Lets the port go.
    pub(crate) async fn close(&self) {
        self.stop.cancel();
        self.tasks.close();
        self.tasks.wait().await;
    }
}

impl Drop for Daemon {
    fn drop(&mut self) {
        self.stop.cancel();
    }
}

async fn bind() -> Result<(UdpSocket, TcpListener, SocketAddr), io::Error> {
    let mut result = bind_port(PORT).await;
    for _ in 0..ATTEMPTS {
        if result.is_ok() {
            break;
        }
        result = bind_port(0).await;
    }
    result
}

async fn bind_port(port: u16) -> Result<(UdpSocket, TcpListener, SocketAddr), io::Error> {
    let tcp = TcpListener::bind((Ipv4Addr::LOCALHOST, port)).await?;
    let address = tcp.local_addr()?;
    let udp = UdpSocket::bind(address).await?;
    Ok((udp, tcp, address))
}

async fn receive(socket: UdpSocket, xray: Xray) {
    let mut buffer = vec![0; DATAGRAM_BYTES];
    loop {
        match socket.recv(&mut buffer).await {
            Ok(length) => xray.datagram(None, Bytes::copy_from_slice(&buffer[..length])),
            Err(error) => {
                tracing::debug!(%error, "failed to receive a trace segment");
                tokio::time::sleep(PAUSE).await;
            }
        }
    }
}

async fn accept(
    listener: TcpListener,
    state: Arc<(Xray, Scope)>,
    tasks: TaskTracker,
    stop: CancellationToken,
) {
    loop {
        match listener.accept().await {
            Ok((stream, _)) => {
                tasks.spawn(stop.clone().run_until_cancelled_owned(serve(stream, state.clone())));
            }
            Err(error) => {
                tracing::debug!(%error, "failed to accept a connection to the X-Ray daemon");
                tokio::time::sleep(PAUSE).await;
            }
        }
    }
}

async fn serve(stream: TcpStream, state: Arc<(Xray, Scope)>) {
    let service = service_fn(move |request: Request<Incoming>| {
        let state = state.clone();
        async move { Ok::<_, Infallible>(answer(&state.0, &state.1, request).map(Full::new)) }
    });
    let connection = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(REQUEST_TIMEOUT)
        .serve_connection(TokioIo::new(stream), service);
    if let Err(error) = connection.await {
        tracing::debug!(%error, "a connection to the X-Ray daemon ended");
    }
}

/// None of the answers depends on the body, which stays unread.
fn answer(xray: &Xray, scope: &Scope, request: Request<Incoming>) -> Response<Bytes> {
    let (parts, _) = request.into_parts();
    let operation = Operation::of(&parts);
    if operation.is_daemons() {
        return operations::handle(xray, scope, operation, &[]);
    }
    let message =
        "the X-Ray daemon of Hothouse answers GetSamplingRules and SamplingTargets; segments come by UDP";
    respond(StatusCode::NOT_FOUND, &json!({ "message": message }))
}
