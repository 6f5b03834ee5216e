//! Large packages: requests that carry one are taken apart beside the reactor, on which everybody else's invocations wait.
//!
//! Must not be in the way of small ones, nor hold an invocation, which may take minutes.

use bytes::{BufMut as _, Bytes, BytesMut};
use http::{Response, request::Parts};
use http_body_util::BodyExt as _;
use hyper::body::Body;
use tokio::{runtime::Handle, sync::Semaphore};

use hothouse_api::{self as api, Operation, RequestContext, dispatch::BodyLimits};
use hothouse_control::Control;

/// From this many bytes on.
const BODY: usize = 1 << 20;

/// Each occupies a thread of those that others need, too, and memory of several times its size.
static AT_ONCE: Semaphore = Semaphore::const_new(8);

/// Whether taking this request apart would hold others up.
pub(super) fn is(operation: Option<Operation>, size: usize) -> bool {
    let carries_package = matches!(
        operation,
        Some(Operation::CreateFunction | Operation::UpdateFunctionCode | Operation::PublishLayerVersion)
    );
    carries_package && size >= BODY
}

/// As [`api::dispatch::dispatch`], on a thread of its own.
pub(super) async fn dispatch(
    control: &Control,
    context: RequestContext,
    limits: &BodyLimits,
    parts: &Parts,
    body: Bytes,
) -> Response<api::Body> {
    let (control, limits, parts) = (control.clone(), limits.clone(), parts.clone());
    let permit = AT_ONCE.acquire().await;
    let answered = beside(async move {
        let _permit = permit;
        api::dispatch::dispatch(&control, context, &limits, &parts, body).await
    });
    answered.await
}

/// What `work` comes to, on a thread that may be busy.
async fn beside<T: Send + 'static>(work: impl Future<Output = T> + Send + 'static) -> T {
    let handle = Handle::current();
    match tokio::task::spawn_blocking(move || handle.block_on(work)).await {
        Ok(result) => result,
        Err(error) => match error.try_into_panic() {
            // As it does to a request that is dispatched on the reactor.
            Ok(panic) => std::panic::resume_unwind(panic),
            // The service ends.
            Err(_) => std::future::pending().await,
        },
    }
}

/// A whole body. One that is said to be large, and no larger than `limit`, is put together as it comes.
///
/// # Errors
/// Those of reading it.
pub(super) async fn collect<B>(mut body: B, limit: usize) -> Result<Bytes, B::Error>
where
    B: Body<Data = Bytes> + Unpin,
{
    let announced = body.size_hint().exact().and_then(|size| usize::try_from(size).ok());
    let Some(size) = announced.filter(|size| (BODY..=limit).contains(size)) else {
        return Ok(body.collect().await?.to_bytes());
    };
    let mut whole = BytesMut::with_capacity(size);
    while let Some(frame) = body.frame().await {
        if let Ok(data) = frame?.into_data() {
            whole.put(data);
        }
    }
    Ok(whole.freeze())
}

#[cfg(test)]
mod tests {
    use http_body_util::{Full, StreamBody};

    use super::*;

    #[test]
    fn only_packages_are_large() {
        for operation in
            [Operation::CreateFunction, Operation::UpdateFunctionCode, Operation::PublishLayerVersion]
        {
            assert!(is(Some(operation), BODY) && !is(Some(operation), BODY - 1));
        }
        // They last as long as the function does, and there may be more of them than threads.
        for operation in [Operation::Invoke, Operation::InvokeWithResponseStream, Operation::InvokeAsync] {
            assert!(!is(Some(operation), 6 * BODY));
        }
        assert!(!is(None, BODY));
    }

    #[tokio::test]
    async fn others_go_on_while_a_package_is_taken_apart() {
        let (others, package) = std::sync::mpsc::channel();
        // Busy without a pause, as whoever reads JSON or base64 is, until another caller has been served.
        let busy = beside(async move { package.recv_timeout(std::time::Duration::from_secs(60)) });
        let other = async { others.send("served").unwrap() };
        let (read, ()) = tokio::join!(busy, other);
        assert_eq!(read, Ok("served"));
    }

    #[tokio::test]
    async fn bodies_are_whole_whatever_their_size() {
        for size in [0, 1, BODY - 1, BODY, 3 * BODY] {
            let bytes = Bytes::from((0..size).map(|index| index as u8).collect::<Vec<_>>());
            for limit in [0, 2 * BODY, 4 * BODY] {
                assert_eq!(
                    collect(Full::new(bytes.clone()), limit).await.unwrap(),
                    bytes,
                    "{size} of {limit}"
                );
            }
        }
    }

    #[tokio::test]
    async fn bodies_that_break_off_are_none() {
        let frames = [Ok(hyper::body::Frame::data(Bytes::from_static(b"half"))), Err("broken")];
        let body = StreamBody::new(futures_util::stream::iter(frames));
        assert_eq!(collect(body, BODY).await, Err("broken"));
    }
}
