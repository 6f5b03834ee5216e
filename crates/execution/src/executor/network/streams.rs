//! Connections of functions to the outside.
//!
//! The kernel has completed a function's handshake with us before we can try the real destination. If that fails, the
//! function sees its connection reset. Must not read what passes.

use std::{
    io,
    net::{SocketAddr, SocketAddrV4},
    sync::Arc,
};

use hothouse_sandbox::GATEWAY;
use tokio::{
    io::copy_bidirectional_with_sizes,
    net::{TcpListener, TcpStream},
    sync::Semaphore,
    time::sleep,
};

use super::{DNS_PORT, PAUSE, Tasks, names::Names, policy};

/// Connections of one environment at once. Its processes may have 1,024 descriptors each.
const CONNECTIONS: usize = 1024;

/// What is read from one side before it is written to the other, in bytes.
const BUFFER_BYTES: usize = 16 * 1024;

/// Relays what is accepted here, forever.
pub(super) async fn relay(listener: TcpListener, names: Arc<Names>, tasks: Tasks) {
    let free = Arc::new(Semaphore::new(CONNECTIONS));
    loop {
        let inside = match listener.accept().await {
            Ok((inside, _)) => inside,
            Err(error) => {
                tracing::debug!(%error, "failed to accept a connection to the outside");
                sleep(PAUSE).await;
                continue;
            }
        };
        let Ok(permit) = free.clone().try_acquire_owned() else {
            tracing::debug!(limit = CONNECTIONS, "an environment has too many connections to the outside");
            reset(&inside);
            continue;
        };
        let names = names.clone();
        tasks.spawn(async move {
            connection(inside, &names).await;
            drop(permit);
        });
    }
}

async fn connection(mut inside: TcpStream, names: &Names) {
    // Of an accepted connection, the local address is where the function connected to.
    let Ok(SocketAddr::V4(destination)) = inside.local_addr() else { return };
    let mut outside = match connect(destination, names).await {
        Ok(outside) => outside,
        Err(error) => {
            tracing::debug!(%destination, %error, "failed to connect to the outside");
            return reset(&inside);
        }
    };
    // When to wait for more is the decision of the two ends.
    let _ = inside.set_nodelay(true);
    let _ = outside.set_nodelay(true);
    let relayed = copy_bidirectional_with_sizes(&mut inside, &mut outside, BUFFER_BYTES, BUFFER_BYTES).await;
    if relayed.is_err() {
        // One side was reset, so the other is.
        reset(&inside);
        reset(&outside);
    }
}

async fn connect(destination: SocketAddrV4, names: &Names) -> io::Result<TcpStream> {
    if destination == SocketAddrV4::new(GATEWAY, DNS_PORT) {
        return names.connect().await;
    }
    match policy::refusal(*destination.ip()) {
        Some(reason) => Err(io::Error::new(io::ErrorKind::PermissionDenied, reason)),
        None => TcpStream::connect(destination).await,
    }
}

/// Lets the other end see a reset, rather than an orderly end, when the stream is dropped.
fn reset(stream: &TcpStream) {
    let _ = stream.set_zero_linger();
}

#[cfg(test)]
mod tests {
    use tokio::io::AsyncReadExt as _;

    use super::{super::Relays, *};

    #[tokio::test]
    async fn what_may_not_be_reached_is_reset() {
        // Without a namespace the destination is the listener's own address, which is loopback.
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let relays = Relays::empty();
        let names = Arc::new(Names::new("/nowhere".as_ref()));
        relays.tasks().spawn(relay(listener, names, relays.tasks()));
        let mut stream = TcpStream::connect(address).await.unwrap();
        let error = stream.read(&mut [0]).await.unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::ConnectionReset);
        relays.close().await;
        assert!(TcpStream::connect(address).await.is_err(), "the listener went with the environment");
    }
}
