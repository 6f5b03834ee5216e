//! Asynchronous invocation: events wait here from the answer 202 to their final outcome.
//!
//! Each event has one task, which alone attempts it: started when the event is accepted, or when the service starts
//! with it. What is in the state is what is to be done; an event leaves it when its outcome is final. Must not know how
//! a function is invoked.

mod rules;

use std::{fmt, sync::Arc, time::Duration};

use hothouse_api::{
    ApiError, ErrorKind,
    generated::DestinationConfig,
    name::{Qualifier, RequestId},
};
use hothouse_execution::timeline::Working;
use tokio::sync::{Notify, OwnedSemaphorePermit, Semaphore};

use crate::{
    control::Control,
    error, invoke,
    state::{
        Event, Setting, SettingKind,
        model::{Function, FunctionKey, queued::QueuedEvent, settings::EventInvoke},
    },
    target::Target,
};
use rules::{Ended, Next, Past, Patience, Reason};

/// Attempts of one function's events at once; more events wait. Other functions' events have slots of their own.
const SLOTS: usize = 100;

/// A function's slots for attempts. Clones share them.
#[derive(Clone)]
pub struct Slots {
    free: Arc<Semaphore>,
    /// An attempt has ended: one that was throttled may run now.
    ended: Arc<Notify>,
}

impl Slots {
    /// Waits for a free slot; whoever waits first gets it first.
    async fn enter(&self) -> Option<OwnedSemaphorePermit> {
        Arc::clone(&self.free).acquire_owned().await.ok()
    }
}

impl Default for Slots {
    fn default() -> Self {
        Self { free: Arc::new(Semaphore::new(SLOTS)), ended: Arc::default() }
    }
}

/// What is attempted says nothing about what a function is.
impl PartialEq for Slots {
    fn eq(&self, _: &Self) -> bool {
        true
    }
}

impl fmt::Debug for Slots {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Slots({} free)", self.free.available_permits())
    }
}

/// Takes an event: it is kept when this returns, and will be attempted.
///
/// # Errors
/// If the function has gone, or the store fails.
pub(crate) async fn accept(
    control: &Control,
    key: FunctionKey,
    id: RequestId,
    event: QueuedEvent,
) -> Result<(), ApiError> {
    let this = control.clone();
    control
        .run(async move {
            this.change_queue(&key, |state| match state.function(&key) {
                Some(_) => Ok(Event::Queued { id, event: Arc::new(event) }),
                None => Err(error::function_not_found(key.arn().with_qualifier(Qualifier::Latest))),
            })
            .await?;
            start(&this, key, id);
            Ok(())
        })
        .await
}

/// Goes on with the events that the last run of the service has left, oldest first.
pub(crate) fn resume(control: &Control) {
    let mut left: Vec<(i64, FunctionKey, RequestId)> = control
        .state()
        .all_functions()
        .flat_map(|(key, function)| {
            function.queue.iter().map(move |(id, event)| (event.accepted, key.clone(), *id))
        })
        .collect();
    left.sort_unstable_by_key(|(accepted, ..)| *accepted);
    if !left.is_empty() {
        tracing::info!(events = left.len(), "going on with events of asynchronous invocations");
    }
    for (_, key, id) in left {
        start(control, key, id);
    }
}

fn start(control: &Control, key: FunctionKey, id: RequestId) {
    let worker = Worker { control: control.clone(), key, id };
    let working = control.timeline().working();
    control.spawn(async move { worker.work(working).await });
}

/// Brings one event to its end.
struct Worker {
    control: Control,
    key: FunctionKey,
    id: RequestId,
}

impl Worker {
    /// Ends early if the service does: the next start goes on.
    async fn work(self, mut working: Working) {
        while let Some((event, slots)) = self.look() {
            drop(working);
            working = match self.control.pause(millis(event.due - self.control.now())).await {
                Some(working) => working,
                None => return,
            };
            // Those who have the slots may wait for time to pass.
            drop(working);
            let Some(Some(_slot)) = self.control.unless_stopped(slots.enter()).await else { return };
            match self.attempt_until_counted().await {
                Some(Turn::Again(still)) => working = still,
                Some(Turn::Over) | None => return,
            }
        }
        // Nobody else takes events away but who deletes their function.
        self.tell_discarded(Reason::FunctionDeleted, None);
    }

    fn look(&self) -> Option<(Arc<QueuedEvent>, Slots)> {
        let state = self.control.state();
        let function = state.function(&self.key)?;
        Some((Arc::clone(function.queue.get(&self.id)?), function.slots.clone()))
    }

    /// Attempts until the function has run or the event is given up. Whoever is refused keeps its slot meanwhile: a
    /// function that is throttled sees as many attempts as slots, not as many as events.
    ///
    /// None if the service ends.
    async fn attempt_until_counted(&self) -> Option<Turn> {
        let mut refusals = 0_u32;
        loop {
            let working = self.control.timeline().working();
            // It may have gone while this waited.
            let Some((event, slots)) = self.look() else { return Some(Turn::Again(working)) };
            let attempt = self.control.unless_stopped(self.attempt(&event)).await??;
            if matches!(attempt.ended, Ended::Success | Ended::FunctionError) {
                slots.ended.notify_one();
            }
            let attempts = event.attempts + u32::from(attempt.ended == Ended::FunctionError);
            refusals = refusals.saturating_add(1);
            let Some((patience, destinations)) = self.settings(&event) else {
                return Some(Turn::Again(working));
            };
            let now = self.control.now();
            let past = Past { attempts, refusals, age: millis(now - event.accepted) };
            match rules::next(attempt.ended, past, patience) {
                Next::Done => {
                    self.keep(Event::Dequeued { id: self.id }).await?;
                    return Some(Turn::Over);
                }
                Next::Retry(delay) => {
                    let due = now.saturating_add_unsigned(delay.as_millis() as u64);
                    self.keep(Event::Postponed { id: self.id, attempts, due }).await?;
                    return Some(Turn::Again(working));
                }
                Next::BackOff(delay) => {
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
                    drop(working);
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
                Next::Discard(reason) => {
                    self.keep(Event::Dequeued { id: self.id }).await?;
                    self.tell_discarded(reason, destinations.as_ref());
                    return Some(Turn::Over);
                }
            }
        }
    }

    /// None if the service ends.
    async fn attempt(&self, event: &QueuedEvent) -> Option<Attempt> {
        if self.reserved() == Some(0) {
            return Some(Attempt { ended: Ended::NothingReserved, error: None });
        }
        let target = Target { key: self.key.clone(), qualifier: event.qualifier.clone() };
        let (ended, error) = match invoke::attempt(&self.control, &target, self.id, event).await {
            Ok(invoke::Answer::Success) => (Ended::Success, None),
            Ok(invoke::Answer::FunctionError) => (Ended::FunctionError, None),
            Err(invoke::Failure::ShuttingDown(_)) => return None,
            Err(invoke::Failure::Refused(error)) => {
                let ended = match error.kind() {
                    ErrorKind::TooManyRequests => Ended::Throttled,
                    ErrorKind::ResourceNotFound | ErrorKind::NoPublishedVersion => Ended::TargetGone,
                    _ => Ended::SystemError,
                };
                (ended, Some(error))
            }
        };
        Some(Attempt { ended, error })
    }

    fn reserved(&self) -> Option<u32> {
        self.control.state().function(&self.key)?.reserved_concurrency
    }

    /// What is set for the version or alias that the event is for, as it is now.
    fn settings(&self, event: &QueuedEvent) -> Option<(Patience, Option<DestinationConfig>)> {
        let state = self.control.state();
        let config = config(state.function(&self.key)?, event);
        let set = |value: Option<i32>| value.and_then(|value| u32::try_from(value).ok());
        let patience = Patience {
            retries: set(config.and_then(|config| config.maximum_retry_attempts))
                .unwrap_or(Patience::RETRIES),
            maximum_age: set(config.and_then(|config| config.maximum_event_age))
                .map_or(Patience::MAXIMUM_AGE, |seconds| Duration::from_secs(seconds.into())),
            base_delay: self.control.config().retry_base_delay,
        };
        Some((patience, config.and_then(|config| config.destinations.clone())))
    }

    /// Writes down what becomes of the event, as often as it takes. None if the service ends before that worked: the
    /// next start finds the event as it was.
    async fn keep(&self, change: Event) -> Option<()> {
        let mut failures = 0;
        loop {
            match self.control.change_queue(&self.key, |_| Ok(change.clone())).await {
                Ok(()) => return Some(()),
                Err(error) => tracing::error!(
                    function = %self.key.arn(),
                    request_id = %self.id,
                    error = &error as &dyn std::error::Error,
                    "failed to record what became of an event, trying again"
                ),
            }
            failures += 1;
            drop(self.control.pause(rules::back_off(failures)).await?);
        }
    }

    fn tell_discarded(&self, reason: Reason, destinations: Option<&DestinationConfig>) {
        let destination = destinations
            .and_then(|destinations| destinations.on_failure.as_ref()?.destination.as_deref())
            .filter(|destination| !destination.is_empty());
        let discarded = self.control.count_discarded_event();
        let (function, request_id) = (self.key.arn(), self.id);
        match destination {
            Some(destination) => tracing::warn!(
                %function, %request_id, %reason, discarded, destination,
                "gave up an event; its record is not sent, as Hothouse does not send any to destinations yet"
            ),
            None => tracing::warn!(%function, %request_id, %reason, discarded, "gave up an event"),
        }
    }
}

/// Whether a worker goes on with its event.
enum Turn {
    Again(Working),
    Over,
}

struct Attempt {
    ended: Ended,
    error: Option<ApiError>,
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
