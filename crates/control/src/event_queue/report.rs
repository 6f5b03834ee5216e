//! An event whose outcome is final, on its way to those who are to hear of it.
//!
//! Must not drop anything without a word: what does not arrive is logged and counted.

use std::{sync::Arc, time::Duration};

use bytes::Bytes;
use hothouse_api::{arn::FunctionArn, name::RequestId};
use hothouse_execution::timeline::Working;

use super::{
    Slots,
    record::{Parcel, Report},
    rules, start,
    worker::Worker,
};
use crate::{
    delivery::{Delivery, DeliveryError},
    function::read::resolve,
    invoke,
    metrics::Metric,
    state::{
        Change, Event,
        model::{
            FunctionKey, Scope,
            queued::{Content, Outcome, QueuedEvent, Recipient},
        },
    },
};

/// What is being sent when the service ends is given so much time to arrive, so that it is not sent twice.
const LAST_WORDS: Duration = Duration::from_secs(5);

impl Worker {
    /// Tells the outcome to all who are to hear of it. They do not wait for each other.
    ///
    /// None if the service ends: the next start goes on with those who have not heard of it.
    pub(super) async fn report(&self, mut working: Working) -> Option<()> {
        let mut failures = 0;
        loop {
            let Some((event, slots)) = self.look() else {
                self.tell_gone();
                return Some(());
            };
            let Some(outcome) = &event.outcome else { return Some(()) };
            let left = self.round(&event, outcome, &slots, failures == 0).await?;
            if left.is_empty() {
                return Some(());
            }
            failures += 1;
            let Some(pause) = rules::send_again(failures, self.age(outcome.at)) else {
                for recipient in &left {
                    self.tell_unreported(recipient, &"it could not be reached for too long");
                }
                return self.keep(&Event::Dequeued { id: self.id }).await;
            };
            drop(working);
            working = self.control.pause(pause).await?;
        }
    }

    /// Sends to everyone who has not heard of it. Returns who is to be tried again.
    async fn round(
        &self,
        event: &QueuedEvent,
        outcome: &Outcome,
        slots: &Slots,
        is_first: bool,
    ) -> Option<Vec<Recipient>> {
        let permit = Arc::clone(&slots.senders).acquire_owned();
        let _sender = self.control.unless_stopped(permit).await?.ok()?;
        let Some(content) = self.content(event).await? else {
            self.tell_gone();
            return Some(Vec::new());
        };
        let report = Report { key: &self.key, id: self.id, event, outcome, content: &content };
        let mut left = event.recipients.clone();
        for recipient in &event.recipients {
            let others: Vec<_> = left.iter().filter(|other| *other != recipient).cloned().collect();
            match report.parcel(recipient) {
                Parcel::Delivery(delivery) => {
                    match self.deliver(delivery).await? {
                        Ok(()) => {}
                        Err(error) if error.is_passing() => {
                            if is_first {
                                self.tell_passing(recipient, &error);
                            }
                            continue;
                        }
                        Err(error) => self.tell_unreported(recipient, &error),
                    }
                    self.keep(&reported(self.id, &others)).await?;
                }
                Parcel::Event { function, payload } => {
                    self.move_to(&function, payload, event, recipient, &others).await?;
                }
                Parcel::Unknown => {
                    self.tell_unreported(recipient, &"nothing here knows such a service");
                    self.keep(&reported(self.id, &others)).await?;
                }
            }
            left = others;
        }
        Some(left)
    }

    async fn deliver(&self, delivery: Delivery) -> Option<Result<(), DeliveryError>> {
        let sent = self.control.deliveries().deliver(&self.key.scope, delivery);
        self.control.unless_stopped_for(LAST_WORDS, sent).await
    }

    /// Puts a record into the queue of a function, in the commit that takes it from here: it is in one of the two.
    async fn move_to(
        &self,
        function: &FunctionArn,
        payload: Bytes,
        event: &QueuedEvent,
        recipient: &Recipient,
        others: &[Recipient],
    ) -> Option<()> {
        let scope = Scope { account: function.account(), region: function.region().clone() };
        let target = FunctionKey { scope, name: function.name().clone() };
        let id = RequestId::random();
        let now = self.control.now();
        let keys = [&self.key, &target];
        let moved = self.keep_all(&keys, |state| {
            let mut changes =
                vec![Change::Function { key: self.key.clone(), event: reported(self.id, others) }];
            let found = state
                .function(&target)
                .filter(|_| target.scope == self.key.scope)
                .and_then(|found| Some((found, resolve(found, function.qualifier())?)));
            let Some((_, version)) = found else { return (changes, false) };
            let event = QueuedEvent {
                qualifier: function.qualifier().cloned(),
                tenant_id: None,
                payload: Content::Here(payload.clone()),
                trace: invoke::trace_onwards(&self.control, &target, version, &event.trace),
                accepted: now,
                attempts: 0,
                due: now,
                answer: None,
                outcome: None,
                recipients: Vec::new(),
            };
            let queued = Event::Queued { id, event: Arc::new(event) };
            changes.push(Change::Function { key: target.clone(), event: queued });
            (changes, true)
        });
        match moved.await? {
            true => {
                let qualifier = function.qualifier().cloned();
                self.control.count(&target, &qualifier, Metric::AsyncEventsReceived, 1.0);
                start(&self.control, target, id);
            }
            false => self.tell_unreported(recipient, &"there is no such function in this account and region"),
        }
        Some(())
    }

    fn tell_passing(&self, recipient: &Recipient, error: &DeliveryError) {
        let (what, arn) = described(recipient);
        tracing::warn!(
            function = %self.key.arn(),
            request_id = %self.id,
            error = error as &dyn std::error::Error,
            "failed to send an event's record to {what} {arn}, which is tried again"
        );
    }

    fn tell_unreported(&self, recipient: &Recipient, why: &dyn std::fmt::Display) {
        let failures = self.count(match recipient {
            Recipient::Destination(_) => Metric::DestinationDeliveryFailures,
            Recipient::DeadLetter(_) => Metric::DeadLetterErrors,
        });
        let (what, arn) = described(recipient);
        tracing::warn!(
            function = %self.key.arn(),
            request_id = %self.id,
            failures,
            "gave up sending an event's record to {what} {arn}: {why}"
        );
    }
}

/// All but these have heard of it, or will not.
fn reported(id: RequestId, left: &[Recipient]) -> Event {
    if left.is_empty() { Event::Dequeued { id } } else { Event::Reported { id, left: left.to_vec() } }
}

fn described(recipient: &Recipient) -> (&'static str, &str) {
    match recipient {
        Recipient::Destination(arn) => ("destination", arn),
        Recipient::DeadLetter(arn) => ("dead-letter queue", arn),
    }
}
