//! Who listens in one environment, and what was said before they could.
//!
//! Must not wait for anyone.

use std::{mem, sync::Arc};

use bytes::Bytes;
use jiff::Timestamp;
use tokio::{
    task::{AbortHandle, JoinSet},
    time::Instant,
};

use super::{
    Category,
    delivery::{self, Outbox},
    event::{Content, Event},
    subscription::Subscription,
};
use crate::{executor::Dialer, logs::platform::Record, runtime_api::Refusal};

/// What is kept of INIT for those who subscribe in it.
const EARLIER: usize = 1000;
const EARLIER_BYTES: usize = 256 * 1024;

/// The subscribers of one environment, since its processes were started.
#[derive(Debug)]
pub(crate) struct Telemetry {
    /// The function's log format is JSON.
    json: bool,
    /// As long as INIT lasts, and with it the time to subscribe.
    earlier: Option<Earlier>,
    subscribers: Vec<Subscriber>,
    awake: bool,
    /// Ends with this.
    deliveries: JoinSet<()>,
}

#[derive(Debug)]
struct Subscriber {
    extension: String,
    subscription: Subscription,
    outbox: Arc<Outbox>,
    delivery: AbortHandle,
}

impl Telemetry {
    /// Nobody listens yet. `json` is whether the function's log format is.
    pub(crate) fn new(json: bool) -> Telemetry {
        Telemetry {
            json,
            earlier: Some(Earlier::default()),
            subscribers: Vec::new(),
            awake: true,
            deliveries: JoinSet::new(),
        }
    }

    /// The platform says something.
    pub(crate) fn platform(&mut self, time: Timestamp, record: &Record) {
        self.tell(&Event { time, content: Content::Platform(record) });
        if let Some(earlier) = &mut self.earlier {
            earlier.push(time, Kept::Platform(record.clone()));
        }
    }

    /// A process has written a record, or a part of a long one.
    pub(crate) fn output(&mut self, time: Timestamp, category: Category, bytes: &[u8]) {
        let json = self.json;
        self.tell(&Event { time, content: Content::Output { category, bytes, json } });
        if let Some(earlier) = &mut self.earlier {
            earlier.push(time, Kept::Output(category, Bytes::copy_from_slice(bytes)));
        }
    }

    fn tell(&self, event: &Event<'_>) {
        let now = Instant::now();
        for Subscriber { subscription, outbox, .. } in &self.subscribers {
            if subscription.types.contains(&event.category()) {
                outbox.push(event, subscription.schema, now);
            }
        }
    }

    /// An extension subscribes: what was said so far comes first. Whether that is news: the same request again
    /// changes nothing, and another one takes its place.
    pub(crate) fn subscribe(
        &mut self,
        extension: &str,
        subscription: Subscription,
        dialer: Arc<dyn Dialer>,
    ) -> Result<bool, Refusal> {
        let Some(earlier) = &self.earlier else { return Err(subscription.api.closed()) };
        if let Some(at) = self.subscribers.iter().position(|subscriber| subscriber.extension == extension) {
            let before = &self.subscribers[at].subscription;
            if before.api != subscription.api {
                return Err(subscription.api.conflict(before.api));
            }
            if *before == subscription {
                return Ok(false);
            }
            self.subscribers.swap_remove(at).delivery.abort();
        }
        let outbox = Arc::new(Outbox::new(&subscription, self.awake));
        let now = Instant::now();
        for (time, kept) in &earlier.events {
            let content = match kept {
                Kept::Platform(record) => Content::Platform(record),
                Kept::Output(category, bytes) => {
                    Content::Output { category: *category, bytes, json: self.json }
                }
            };
            let event = Event { time: *time, content };
            if subscription.types.contains(&event.category()) {
                outbox.push(&event, subscription.schema, now);
            }
        }
        let destination = subscription.destination.clone();
        let delivery = self.deliveries.spawn(delivery::run(outbox.clone(), destination, dialer));
        let extension = extension.to_owned();
        self.subscribers.push(Subscriber { extension, subscription, outbox, delivery });
        Ok(true)
    }

    /// INIT is over: nobody can subscribe any more. Whether anyone has.
    pub(crate) fn close(&mut self) -> bool {
        self.earlier = None;
        !self.subscribers.is_empty()
    }

    /// Whether the environment's processes run. What they cannot receive is not sent.
    pub(crate) fn set_awake(&mut self, awake: bool) {
        if mem::replace(&mut self.awake, awake) != awake {
            for subscriber in &self.subscribers {
                subscriber.outbox.set_awake(awake);
            }
        }
    }

    /// The environment ends: what is said goes out at once, as long as there is time.
    pub(crate) fn drain(&self) {
        for subscriber in &self.subscribers {
            subscriber.outbox.drain();
        }
    }
}

/// What was said since the start, from its beginning as far as there is room.
#[derive(Debug, Default)]
struct Earlier {
    events: Vec<(Timestamp, Kept)>,
    bytes: usize,
}

#[derive(Debug)]
enum Kept {
    Platform(Record),
    Output(Category, Bytes),
}

impl Earlier {
    fn push(&mut self, time: Timestamp, kept: Kept) {
        let (platform, bytes) = match &kept {
            Kept::Platform(_) => (true, 0),
            Kept::Output(_, bytes) => (false, bytes.len()),
        };
        // The platform says little, and what it says matters.
        let room = self.events.len() < EARLIER && self.bytes + bytes <= EARLIER_BYTES;
        if room || (platform && self.events.len() < 2 * EARLIER) {
            self.bytes += bytes;
            self.events.push((time, kept));
        }
    }
}
