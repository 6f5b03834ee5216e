//! One event's way from its first attempt to its end.
//!
//! Must not decide when to try again, nor for how long: the rules do.

use std::{sync::Arc, time::Duration};

use hothouse_api::{
    ApiError, ErrorKind,
    name::{Qualifier, RequestId},
};
use hothouse_execution::{invocation::Outcome as Ran, timeline::Working};
use uuid::Uuid;

use super::{
    Slots,
    rules::{self, Ended, Next, Past, Patience},
};
use crate::{
    control::Control,
    error,
    function::read::resolve,
    invoke,
    metrics::Metric,
    state::{
        Change, Event, EventContent, Setting, SettingKind, State,
        model::{
            Function, FunctionKey,
            queued::{Answer, Condition, Content, Outcome, QueuedEvent, Recipient, Refusal},
            settings::EventInvoke,
        },
    },
    target::Target,
};

/// Brings one event to its end.
pub(super) struct Worker {
    pub(super) control: Control,
    pub(super) key: FunctionKey,
    /// What it is for.
    pub(super) qualifier: Option<Qualifier>,
    pub(super) id: RequestId,
}

impl Worker {
    /// None if the service ends first: the next start goes on.
    pub(super) async fn work(self, mut working: Working) -> Option<()> {
        loop {
            let Some((event, slots)) = self.look() else {
                self.tell_gone();
                return Some(());
            };
            if event.outcome.is_some() {
                return Box::pin(self.report(working)).await;
            }
            drop(working);
            let left = millis(event.due - self.control.now());
            if !left.is_zero() {
                drop(self.control.pause(left).await?);
            }
            // Those who have the slots may wait for time to pass, so this is no work of the moment.
            let _slot = self.control.unless_stopped(slots.enter()).await??;
            // Boxed, so that the many who wait are small.
            match Box::pin(self.attempt_until_counted()).await? {
                Turn::Again(still) => working = still,
                Turn::Over => return Some(()),
            }
        }
    }

    /// The event as it is now; none if it has gone with its function.
    pub(super) fn look(&self) -> Option<(Arc<QueuedEvent>, Slots)> {
        let state = self.control.state();
        let function = state.function(&self.key)?;
        Some((Arc::clone(function.queue.get(&self.id)?), function.slots.clone()))
    }

    /// Attempts until the function has run or the event is over. Whoever is refused keeps its slot meanwhile: a
    /// function that is throttled sees as many attempts as slots, not as many as events.
    ///
    /// None if the service ends.
    async fn attempt_until_counted(&self) -> Option<Turn> {
        let mut refusals = 0_u32;
        loop {
            let working = self.control.timeline().working();
            // It may have gone while this waited.
            let Some((event, slots)) = self.look() else { return Some(Turn::Again(working)) };
            let Some(patience) = self.patience(&event) else { return Some(Turn::Again(working)) };
            if let Some(condition) = rules::before(self.age(event.accepted), patience) {
                return self.conclude(&event, condition, None, working).await;
            }
            // While it goes on, a service that is to end waits for a while.
            let turn = self.control.attempt()?;
            let attempt = self.control.unless_stopped(self.attempt(&event)).await??;
            if attempt.answer.is_some() {
                slots.ended.notify_one();
            }
            let attempts = event.attempts + u32::from(attempt.answer.is_some());
            refusals = refusals.saturating_add(1);
            // What is set may have changed while the function ran.
            let Some(patience) = self.patience(&event) else { return Some(Turn::Again(working)) };
            let past = Past { attempts, refusals, age: self.age(event.accepted) };
            match (rules::next(attempt.ended, past, patience), attempt.answer) {
                (Next::Over(condition), answer) => {
                    let end = Some(answer.ok_or(attempt.error));
                    return self.conclude(&event, condition, end, working).await;
                }
                (Next::Retry(delay), Some(answer)) => {
                    let due = self.control.now().saturating_add_unsigned(delay.as_millis() as u64);
                    self.keep(&Event::Postponed { id: self.id, attempts, answer, due }).await?;
                    return Some(Turn::Again(working));
                }
                // Who has no answer has not run.
                (Next::Retry(delay), None) | (Next::BackOff(delay), _) => {
                    if let Some(error) = &attempt.error
                        && refusals == 1
                        && attempt.ended == Ended::SystemError
                    {
                        tracing::warn!(
                            function = %self.key.arn(),
                            request_id = %self.id,
                            error = error as &dyn std::error::Error,
                            "failed to run a function with an event, which is tried again"
                        );
                    }
                    drop((working, turn));
                    let pause = self.control.pause(delay);
                    match attempt.ended {
                        // Its turn comes when another's attempt has ended, however long it should wait.
                        Ended::Throttled => tokio::select! {
                            working = pause => drop(working?),
                            () = slots.ended.notified() => {}
                        },
                        _ => drop(pause.await?),
                    }
                }
            }
        }
    }

    /// None if the service ends.
    async fn attempt(&self, event: &QueuedEvent) -> Option<Attempt> {
        if self.reserved() == Some(0) {
            let error = error::throttled("ReservedFunctionConcurrentInvocationLimitExceeded");
            return Some(Attempt { ended: Ended::NothingReserved, answer: None, error: Some(error) });
        }
        let Some(EventContent { payload, .. }) = self.content(event).await? else {
            return Some(Attempt { ended: Ended::TargetGone, answer: None, error: None });
        };
        let age = self.control.now().saturating_sub(event.accepted).max(0) as f64;
        self.control.count(&self.key, &self.qualifier, Metric::AsyncEventAge, age);
        let target = Target { key: self.key.clone(), qualifier: event.qualifier.clone() };
        Some(match invoke::attempt(&self.control, &target, self.id, event, payload).await {
            Ok((version, ran)) => {
                let (ended, failed, payload) = match ran {
                    Ran::Success(payload) => (Ended::Success, false, payload),
                    Ran::Error(document) => (Ended::FunctionError, true, document),
                };
                let answer = Answer { version, failed, payload: Content::received(payload) };
                Attempt { ended, answer: Some(answer), error: None }
            }
            Err(invoke::Failure::ShuttingDown(_)) => return None,
            Err(invoke::Failure::Refused(error)) => {
                let ended = match error.kind() {
                    ErrorKind::TooManyRequests => Ended::Throttled,
                    ErrorKind::ResourceNotFound | ErrorKind::NoPublishedVersion => Ended::TargetGone,
                    ErrorKind::RecursiveInvocation => Ended::Loop,
                    _ => Ended::SystemError,
                };
                Attempt { ended, answer: None, error: Some(error) }
            }
        })
    }

    /// The bytes of the event, from memory or from the store. Nothing if it has gone; nothing at all if the service
    /// ends.
    pub(super) async fn content(&self, event: &QueuedEvent) -> Option<Option<EventContent>> {
        let answer = event.answer.as_ref().map(|answer| answer.payload.bytes().cloned());
        if let (Some(payload), None | Some(Some(_))) = (event.payload.bytes().cloned(), &answer) {
            return Some(Some(EventContent { payload, answer: answer.flatten() }));
        }
        let read = || self.control.store().event_content(self.key.clone(), self.id);
        self.insist(read, "failed to read an event, trying again").await
    }

    fn reserved(&self) -> Option<u32> {
        self.control.state().function(&self.key)?.reserved_concurrency
    }

    /// What is set for the version or alias that the event is for, as it is now.
    fn patience(&self, event: &QueuedEvent) -> Option<Patience> {
        let state = self.control.state();
        let config = config(state.function(&self.key)?, event);
        let set = |value: Option<i32>| value.and_then(|value| u32::try_from(value).ok());
        Some(Patience {
            retries: set(config.and_then(|config| config.maximum_retry_attempts))
                .unwrap_or(Patience::RETRIES),
            maximum_age: set(config.and_then(|config| config.maximum_event_age))
                .map_or(Patience::MAXIMUM_AGE, |seconds| Duration::from_secs(seconds.into())),
            base_delay: self.control.config().retry_base_delay,
        })
    }

    pub(super) fn age(&self, since: i64) -> Duration {
        millis(self.control.now() - since)
    }

    /// The event is over: whoever is to hear of it does so next. `end` is how the last attempt ended, if there was one.
    async fn conclude(
        &self,
        event: &QueuedEvent,
        condition: Condition,
        end: Option<Result<Answer, Option<ApiError>>>,
        working: Working,
    ) -> Option<Turn> {
        let (answer, refusal) = match end {
            Some(Ok(answer)) => (Some(answer), None),
            Some(Err(error)) => (None, error.as_ref().map(refusal)),
            None => (None, None),
        };
        let recipients = self.recipients(event, condition, answer.as_ref());
        if condition != Condition::Success {
            self.tell_over(condition, &recipients);
        }
        if recipients.is_empty() {
            self.keep(&Event::Dequeued { id: self.id }).await?;
            return Some(Turn::Over);
        }
        let outcome = Outcome { condition, at: self.control.now(), record: Uuid::new_v4(), refusal };
        let attempts = event.attempts + u32::from(answer.is_some());
        self.keep(&Event::Concluded { id: self.id, attempts, answer, outcome, recipients }).await?;
        Some(Turn::Again(working))
    }

    /// Who is to hear of the outcome, by what is set now.
    fn recipients(
        &self,
        event: &QueuedEvent,
        condition: Condition,
        answer: Option<&Answer>,
    ) -> Vec<Recipient> {
        let state = self.control.state();
        let Some(function) = state.function(&self.key) else { return Vec::new() };
        let destinations = config(function, event).and_then(|config| config.destinations.as_ref());
        let destination = destinations.and_then(|destinations| match condition {
            Condition::Success => destinations.on_success.as_ref()?.destination.as_ref(),
            Condition::RetriesExhausted
            | Condition::EventAgeExceeded
            | Condition::ZeroReservedConcurrency
            | Condition::LoopDetected
            | Condition::TargetDeleted => destinations.on_failure.as_ref()?.destination.as_ref(),
        });
        // The version that ran last, else the one that would run.
        let version = match answer.or(event.answer.as_ref()) {
            Some(answer) => function.version(answer.version),
            None => resolve(function, event.qualifier.as_ref()),
        };
        let rare = version.and_then(|version| version.configuration.rare.as_deref());
        let dead_letter = rare
            .and_then(|rare| rare.dead_letter.as_ref()?.target_arn.as_ref())
            .filter(|_| condition != Condition::Success);
        let set = |arn: Option<&String>| arn.filter(|arn| !arn.is_empty()).cloned();
        let destination = set(destination).map(Recipient::Destination);
        destination.into_iter().chain(set(dead_letter).map(Recipient::DeadLetter)).collect()
    }

    /// Writes down what becomes of the event. None if the service ends before that worked: the next start finds the
    /// event as it was.
    pub(super) async fn keep(&self, event: &Event) -> Option<()> {
        let change = Change::Function { key: self.key.clone(), event: event.clone() };
        self.keep_all(&[&self.key], |_| (vec![change.clone()], ())).await
    }

    /// Writes down what becomes of events of several functions, as often as it takes; returns what was decided.
    pub(super) async fn keep_all<T>(
        &self,
        keys: &[&FunctionKey],
        decide: impl Fn(&State) -> (Vec<Change>, T),
    ) -> Option<T> {
        let change = || self.control.change_queues(keys, |state| Ok(decide(state)));
        self.insist(change, "failed to record what became of an event, trying again").await
    }

    /// Does something until it works. None if the service ends before.
    async fn insist<T, E: std::error::Error + 'static, W: Future<Output = Result<T, E>>>(
        &self,
        work: impl Fn() -> W,
        failure: &str,
    ) -> Option<T> {
        let mut failures = 0;
        loop {
            match work().await {
                Ok(done) => return Some(done),
                Err(error) => tracing::error!(
                    function = %self.key.arn(),
                    request_id = %self.id,
                    error = &error as &dyn std::error::Error,
                    "{failure}"
                ),
            }
            failures += 1;
            drop(self.control.pause(rules::back_off(failures)).await?);
        }
    }

    fn tell_over(&self, condition: Condition, recipients: &[Recipient]) {
        let (function, request_id) = (self.key.arn(), self.id);
        let dropped = self.count(Metric::AsyncEventsDropped);
        if recipients.is_empty() {
            tracing::warn!(%function, %request_id, reason = ?condition, dropped, "gave up an event");
        } else {
            tracing::info!(%function, %request_id, reason = ?condition, ?recipients, "gave up an event");
        }
    }

    /// Nobody else takes events away but who deletes their function.
    pub(super) fn tell_gone(&self) {
        let dropped = self.count(Metric::AsyncEventsDropped);
        let (function, request_id) = (self.key.arn(), self.id);
        tracing::warn!(%function, %request_id, dropped, "an event has gone with its function");
    }

    /// Counts one more; returns how many those are by now.
    pub(super) fn count(&self, what: Metric) -> u64 {
        self.control.count(&self.key, &self.qualifier, what, 1.0)
    }
}

/// Whether a worker goes on with its event.
enum Turn {
    Again(Working),
    Over,
}

struct Attempt {
    ended: Ended,
    /// Of a function that ran.
    answer: Option<Answer>,
    error: Option<ApiError>,
}

fn refusal(error: &ApiError) -> Refusal {
    Refusal { status: error.kind().status(), message: error.message().unwrap_or_default().to_owned() }
}

fn config<'a>(function: &'a Function, event: &QueuedEvent) -> Option<&'a EventInvoke> {
    let qualifier = event.qualifier.clone().unwrap_or(Qualifier::Latest);
    match function.setting(SettingKind::EventInvoke, Some(qualifier)) {
        Some(Setting::EventInvoke(config)) => Some(config),
        _ => None,
    }
}

/// None at all if the clock went back.
fn millis(millis: i64) -> Duration {
    Duration::from_millis(u64::try_from(millis).unwrap_or_default())
}
