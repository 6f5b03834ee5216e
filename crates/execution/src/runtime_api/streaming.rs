//! Responses that are passed on while the runtime writes them.
//!
//! Must not keep them: what the caller has not taken stays in the runtime's own socket.

use std::time::Duration;

use bytes::Bytes;
use http::{HeaderMap, Response, header::CONTENT_TYPE};
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use tokio::{
    sync::{mpsc, oneshot},
    time::Instant,
};

use super::{
    Body, BodyLimits, Call,
    routes::{going_away, told_by_trailers},
};

/// What a response may have at once, and per second after that, where it has AWS's bandwidth.
const BURST: u32 = 6 * 1024 * 1024;
const RATE: u32 = 2 * 1024 * 1024;

/// Passes a response on, if its caller takes it as it comes; else the body comes back.
pub(super) async fn answer(
    id: &str,
    headers: &HeaderMap,
    mut body: Incoming,
    calls: &mpsc::Sender<Call>,
    limits: BodyLimits,
) -> Result<Response<Full<Bytes>>, Incoming> {
    let content_type = headers.get(CONTENT_TYPE).and_then(|kind| kind.to_str().ok()).map(str::to_owned);
    let (place, begun) = oneshot::channel();
    if calls.send(Call::Begin { id: id.to_owned(), content_type, place }).await.is_err() {
        return Ok(going_away());
    }
    let chunks = match begun.await {
        Ok(Some(chunks)) => chunks,
        Ok(None) => return Err(body),
        Err(_) => return Ok(going_away()),
    };
    let end = pass_on(&mut body, chunks, limits).await;
    let (reply, response) = oneshot::channel();
    if calls.send(Call::End { id: id.to_owned(), body: end, reply }).await.is_err() {
        return Ok(going_away());
    }
    // A client that is still writing does not read the answer.
    while let Some(Ok(_)) = body.frame().await {}
    Ok(response.await.unwrap_or_else(|_| going_away()))
}

/// Returns how the body ended: well, or what is wrong with it.
async fn pass_on(body: &mut Incoming, chunks: mpsc::Sender<Bytes>, limits: BodyLimits) -> Body {
    let mut caller = Some(chunks);
    let mut left = limits.streamed;
    let mut shape = limits.shaped.then(Shape::new);
    while let Some(frame) = body.frame().await {
        let Ok(frame) = frame else { return Body::Truncated };
        match frame.into_data() {
            Ok(mut data) => {
                let is_too_large = data.len() > left;
                data.truncate(left);
                left -= data.len();
                if let Some(shape) = &mut shape {
                    shape.pass(data.len()).await;
                }
                // A caller that went away does not end the run: the rest is read and dropped.
                if let Some(chunks) = &caller
                    && !data.is_empty()
                    && chunks.send(data).await.is_err()
                {
                    caller = None;
                }
                if is_too_large {
                    return Body::TooLarge { limit: limits.streamed };
                }
            }
            Err(frame) => {
                if let Some(report) = frame.trailers_ref().and_then(told_by_trailers) {
                    return Body::Failed(report);
                }
            }
        }
    }
    Body::PassedOn { bytes: (limits.streamed - left) as u64 }
}

/// How much more may pass: a bucket that fills at a steady rate.
#[derive(Debug)]
struct Shape {
    /// Bytes, when it was last looked at. Below zero is what has been waited for.
    allowed: f64,
    at: Instant,
}

impl Shape {
    fn new() -> Shape {
        Shape { allowed: BURST.into(), at: Instant::now() }
    }

    /// Waits until so many bytes may pass.
    async fn pass(&mut self, bytes: usize) {
        let now = Instant::now();
        let filled = (now - self.at).as_secs_f64() * f64::from(RATE);
        self.allowed = (self.allowed + filled).min(BURST.into()) - bytes as f64;
        self.at = now;
        if self.allowed < 0.0 {
            tokio::time::sleep(Duration::from_secs_f64(-self.allowed / f64::from(RATE))).await;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn six_megabytes_pass_at_once_and_then_two_a_second() {
        let mut shape = Shape::new();
        let begun = Instant::now();
        let mut pass = async |megabytes: usize| {
            shape.pass(megabytes << 20).await;
            begun.elapsed().as_secs()
        };
        assert_eq!(pass(6).await, 0);
        assert_eq!(pass(2).await, 1);
        assert_eq!(pass(10).await, 6);
        tokio::time::advance(Duration::from_secs(60)).await;
        assert_eq!(pass(6).await, 66, "what was not used in a minute is more than a burst");
        assert_eq!(pass(2).await, 67);
    }
}
