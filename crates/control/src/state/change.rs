//! The vocabulary of the control plane: everything that can happen to its state.
//!
//! Ids and times are in the changes, so that the same changes always make the same state. Must not decide whether a
//! change is allowed: operations do that before they make one.

use std::{
    collections::{BTreeMap, HashMap},
    sync::Arc,
};

use hothouse_api::name::{self, AliasName, FunctionName, Qualifier, RequestId};
use uuid::Uuid;

use super::{
    Resource, ResourceId, ScopeState, Setting, SettingKey, SettingKind, State, UrlOwner,
    model::{
        Alias, Function, FunctionKey, Scope, Status, Version,
        queued::{Answer, Outcome, QueuedEvent, Recipient},
    },
};
use crate::{admission::Running, code::CodeHash, event_queue::Slots, metrics::MetersPlace};

/// What happens to one thing.
#[derive(Debug, Clone, PartialEq)]
pub enum Change {
    /// To a function.
    Function {
        /// The function.
        key: FunctionKey,
        /// What happens to it.
        event: Event,
    },
    /// To another resource.
    Resource {
        /// Where it lies.
        scope: Scope,
        /// What happens to it.
        event: ResourceEvent,
    },
}

/// Something that happens to a resource that is no function.
#[derive(Debug, Clone, PartialEq)]
pub enum ResourceEvent {
    /// It comes into being, or takes on another value.
    Put {
        /// Its name.
        id: ResourceId,
        /// Its value from now on.
        resource: Arc<Resource>,
    },
    /// It is no more.
    Deleted {
        /// Its name.
        id: ResourceId,
    },
}

/// What a change left behind, to be cleared away.
#[derive(Debug, Clone, PartialEq)]
pub enum Gone {
    /// A version that is no more: its environments and perhaps its packages can go.
    Version(Arc<Version>),
    /// A package that one user fewer has: perhaps it can go.
    Package(CodeHash),
}

/// Something that happens to a function. But for [`Event::Created`], nothing happens to a function that is not there.
#[derive(Debug, Clone, PartialEq)]
pub enum Event {
    /// The function comes into being; one of the same name is gone.
    Created {
        /// `$LATEST`.
        latest: Arc<Version>,
        /// Tags given at creation.
        tags: BTreeMap<String, String>,
    },
    /// New code or configuration takes the place of `$LATEST`; its environments go.
    Updated {
        /// `$LATEST` from now on.
        latest: Arc<Version>,
    },
    /// `$LATEST` is published: under the next number, or in place of what `$LATEST.PUBLISHED` was.
    Published {
        /// The new version.
        version: Arc<Version>,
    },
    /// A version's status changes, or something about the function that its revision stands for. Environments stay.
    Amended {
        /// Which version.
        version: name::Version,
        /// The status from now on.
        status: Status,
        /// The revision from now on.
        revision_id: Uuid,
    },
    /// A published version is deleted, with what was set for it.
    VersionDeleted {
        /// Which one.
        version: name::Version,
    },
    /// The function is deleted with everything that belongs to it.
    Deleted,
    /// An alias is created, or takes on other values.
    AliasPut {
        /// Its name.
        name: AliasName,
        /// Its values from now on.
        alias: Arc<Alias>,
    },
    /// An alias is deleted, with what was set for it, but for its URL: that is still known as one that once was.
    AliasDeleted {
        /// Its name.
        name: AliasName,
    },
    /// The function's tags are others.
    Tagged {
        /// All tags from now on.
        tags: BTreeMap<String, String>,
    },
    /// A setting is made, or takes on another value.
    SettingPut {
        /// Of which version or alias; none if it is the function's as a whole.
        qualifier: Option<Qualifier>,
        /// Its value from now on.
        setting: Arc<Setting>,
    },
    /// A setting is taken away.
    SettingRemoved {
        /// Of which version or alias; none if it is the function's as a whole.
        qualifier: Option<Qualifier>,
        /// Which one.
        kind: SettingKind,
    },
    /// Reserved concurrency is set or given up.
    ConcurrencyReserved {
        /// Concurrent executions from now on.
        executions: Option<u32>,
    },
    /// An event is accepted for asynchronous invocation.
    Queued {
        /// Its request id.
        id: RequestId,
        /// The event.
        event: Arc<QueuedEvent>,
    },
    /// The function failed with a queued event, which is to be tried again.
    Postponed {
        /// The event's request id.
        id: RequestId,
        /// How often the function ran with it.
        attempts: u32,
        /// What it answered.
        answer: Answer,
        /// When the next attempt may be, in milliseconds since the epoch.
        due: i64,
    },
    /// What becomes of a queued event is decided: it is not attempted any more, and there is someone to tell.
    Concluded {
        /// The event's request id.
        id: RequestId,
        /// How often the function ran with it.
        attempts: u32,
        /// What it answered; none if nothing new.
        answer: Option<Answer>,
        /// How it ended.
        outcome: Outcome,
        /// Who is to hear of it.
        recipients: Vec<Recipient>,
    },
    /// Somebody has heard of an event's outcome, or will not.
    Reported {
        /// The event's request id.
        id: RequestId,
        /// Who is still to hear of it: at least one.
        left: Vec<Recipient>,
    },
    /// A queued event is done with.
    Dequeued {
        /// Its request id.
        id: RequestId,
    },
}

impl State {
    /// Makes a change. Returns what it left behind.
    pub fn apply(&mut self, change: &Change) -> Vec<Gone> {
        match change {
            Change::Function { key, event } => {
                self.apply_to_function(key, event).into_iter().map(Gone::Version).collect()
            }
            Change::Resource { scope, event } => self.apply_to_resource(scope, event).into_iter().collect(),
        }
    }

    fn apply_to_resource(&mut self, scope: &Scope, event: &ResourceEvent) -> Option<Gone> {
        let before = match event {
            ResourceEvent::Put { id, resource } => self.put_resource(scope, id.clone(), Arc::clone(resource)),
            ResourceEvent::Deleted { id } => {
                let before = self.scopes.get_mut(scope).and_then(|state| state.resources.remove(id));
                if let Some((hash, size)) = before.as_ref().and_then(|before| before.code()) {
                    self.discount(scope, size, [hash]);
                }
                self.forget_if_empty(scope);
                before
            }
        };
        before.and_then(|before| before.code()).map(|(hash, _)| Gone::Package(hash))
    }

    /// Returns the value before.
    pub(super) fn put_resource(
        &mut self,
        scope: &Scope,
        id: ResourceId,
        resource: Arc<Resource>,
    ) -> Option<Arc<Resource>> {
        if let Some((hash, size)) = resource.code() {
            self.count(scope, size, [hash]);
        }
        let before = self.scopes.entry(scope.clone()).or_default().resources.insert(id, resource);
        if let Some((hash, size)) = before.as_ref().and_then(|before| before.code()) {
            self.discount(scope, size, [hash]);
        }
        before
    }

    fn apply_to_function(&mut self, key: &FunctionKey, event: &Event) -> Vec<Arc<Version>> {
        let mut gone = Vec::new();
        match event {
            Event::Created { latest, tags } => {
                gone.extend(self.remove(key));
                self.insert(
                    key,
                    Function {
                        latest: Arc::clone(latest),
                        latest_published: None,
                        versions: BTreeMap::new(),
                        next_version: 1,
                        aliases: BTreeMap::new(),
                        tags: tags.clone(),
                        reserved_concurrency: None,
                        settings: BTreeMap::new(),
                        queue: HashMap::new(),
                        running: Running::default(),
                        slots: Slots::default(),
                        meters: MetersPlace::default(),
                    },
                );
            }
            Event::Deleted => gone.extend(self.remove(key)),
            Event::Updated { latest } => {
                if let Some(function) = self.function_mut(key) {
                    let before = std::mem::replace(&mut function.latest, Arc::clone(latest));
                    self.count_version(key, latest);
                    self.discount_version(key, &before);
                    gone.push(before);
                }
            }
            Event::Published { version } => {
                if let Some(function) = self.function_mut(key) {
                    let before = match version.version {
                        name::Version::Number(number) => {
                            function.next_version = number + 1;
                            function.versions.insert(number, Arc::clone(version))
                        }
                        name::Version::LatestPublished => {
                            function.latest_published.replace(Arc::clone(version))
                        }
                        // Nobody publishes it to itself.
                        name::Version::Latest => return gone,
                    };
                    self.count_version(key, version);
                    if let Some(before) = &before {
                        self.discount_version(key, before);
                    }
                    gone.extend(before);
                }
            }
            Event::VersionDeleted { version } => {
                if let Some(function) = self.function_mut(key) {
                    remove_settings(function, &Qualifier::from(*version));
                    let version = match version {
                        name::Version::Number(number) => function.versions.remove(number),
                        name::Version::LatestPublished => function.latest_published.take(),
                        // It goes with the function alone.
                        name::Version::Latest => None,
                    };
                    if let Some(version) = version {
                        self.discount_version(key, &version);
                        gone.push(version);
                    }
                }
            }
            Event::Amended { version, status, revision_id } => {
                let version = self.function_mut(key).and_then(|function| match version {
                    name::Version::Latest => Some(&mut function.latest),
                    name::Version::LatestPublished => function.latest_published.as_mut(),
                    name::Version::Number(number) => function.versions.get_mut(number),
                });
                if let Some(version) = version {
                    // Readers may hold the version as it was; the environments are shared by both.
                    let version = Arc::make_mut(version);
                    version.status = *status;
                    version.revision_id = *revision_id;
                }
            }
            Event::AliasPut { name, alias } => {
                if let Some(function) = self.function_mut(key) {
                    function.aliases.insert(name.clone(), Arc::clone(alias));
                }
            }
            Event::AliasDeleted { name } => {
                if let Some(function) = self.function_mut(key) {
                    function.aliases.remove(name);
                    remove_settings(function, &Qualifier::Alias(name.clone()));
                }
            }
            Event::Tagged { tags } => {
                if let Some(function) = self.function_mut(key) {
                    function.tags = tags.clone();
                }
            }
            Event::SettingPut { qualifier, setting } => {
                if let Some(function) = self.function_mut(key) {
                    let setting_key = SettingKey { kind: setting.kind(), qualifier: qualifier.clone() };
                    let before = function.settings.insert(setting_key, Arc::clone(setting));
                    self.forget_url(before.as_deref());
                    self.remember_url(key, qualifier.as_ref(), setting);
                }
            }
            Event::SettingRemoved { qualifier, kind } => {
                if let Some(function) = self.function_mut(key) {
                    let setting_key = SettingKey { kind: *kind, qualifier: qualifier.clone() };
                    let before = function.settings.remove(&setting_key);
                    self.forget_url(before.as_deref());
                }
            }
            Event::ConcurrencyReserved { executions } => {
                if let Some(function) = self.function_mut(key) {
                    function.reserved_concurrency = *executions;
                }
            }
            Event::Queued { id, event } => {
                if let Some(function) = self.function_mut(key) {
                    let held = event.payload.held();
                    let event = if held == event.payload {
                        Arc::clone(event)
                    } else {
                        Arc::new(QueuedEvent { payload: held, ..QueuedEvent::clone(event) })
                    };
                    function.queue.insert(*id, event);
                }
            }
            Event::Postponed { id, attempts, answer, due } => {
                if let Some(event) = self.function_mut(key).and_then(|function| function.queue.get_mut(id)) {
                    // Whoever attempts it may hold it as it was.
                    let event = Arc::make_mut(event);
                    event.attempts = *attempts;
                    event.answer = Some(answer.held());
                    event.due = *due;
                }
            }
            Event::Concluded { id, attempts, answer, outcome, recipients } => {
                if let Some(event) = self.function_mut(key).and_then(|function| function.queue.get_mut(id)) {
                    let event = Arc::make_mut(event);
                    event.attempts = *attempts;
                    if let Some(answer) = answer {
                        event.answer = Some(answer.held());
                    }
                    event.outcome = Some(outcome.clone());
                    event.recipients.clone_from(recipients);
                }
            }
            Event::Reported { id, left } => {
                if let Some(event) = self.function_mut(key).and_then(|function| function.queue.get_mut(id)) {
                    Arc::make_mut(event).recipients.clone_from(left);
                }
            }
            Event::Dequeued { id } => {
                if let Some(function) = self.function_mut(key) {
                    function.queue.remove(id);
                }
            }
        }
        gone
    }

    /// Puts a function that was stored into the state.
    pub(super) fn restore(&mut self, key: &FunctionKey, function: Function) {
        self.insert(key, function);
    }

    fn insert(&mut self, key: &FunctionKey, function: Function) {
        for version in function.all_versions() {
            self.count_version(key, version);
        }
        for (setting_key, setting) in &function.settings {
            self.remember_url(key, setting_key.qualifier.as_ref(), setting);
        }
        self.scopes.entry(key.scope.clone()).or_default().functions.insert(key.name.clone(), function);
    }

    fn remove(&mut self, key: &FunctionKey) -> Vec<Arc<Version>> {
        let scope = self.scopes.get_mut(&key.scope);
        let Some(function) = scope.and_then(|scope| scope.functions.remove::<FunctionName>(&key.name)) else {
            return Vec::new();
        };
        for setting in function.settings.values() {
            self.forget_url(Some(setting));
        }
        let versions: Vec<_> = function.all_versions().cloned().collect();
        for version in &versions {
            self.discount_version(key, version);
        }
        self.forget_if_empty(&key.scope);
        versions
    }

    fn remember_url(&mut self, key: &FunctionKey, qualifier: Option<&Qualifier>, setting: &Setting) {
        if let Setting::Url(url) = setting {
            let owner = UrlOwner { key: key.clone(), qualifier: qualifier.cloned() };
            self.urls.insert(url.id.clone(), owner);
        }
    }

    fn forget_url(&mut self, setting: Option<&Setting>) {
        if let Some(Setting::Url(url)) = setting {
            self.urls.remove(&url.id);
        }
    }

    fn forget_if_empty(&mut self, scope: &Scope) {
        let empty = |state: &ScopeState| state.functions.is_empty() && state.resources.is_empty();
        if self.scopes.get(scope).is_some_and(empty) {
            self.scopes.remove(scope);
        }
    }

    fn count_version(&mut self, key: &FunctionKey, version: &Version) {
        self.count(&key.scope, version.code.counted_size(), version.packages());
    }

    fn discount_version(&mut self, key: &FunctionKey, version: &Version) {
        self.discount(&key.scope, version.code.counted_size(), version.packages());
    }

    fn count(&mut self, scope: &Scope, size: u64, packages: impl IntoIterator<Item = CodeHash>) {
        self.scopes.entry(scope.clone()).or_default().code_size += size;
        for hash in packages {
            *self.code_uses.entry(hash).or_default() += 1;
        }
    }

    fn discount(&mut self, scope: &Scope, size: u64, packages: impl IntoIterator<Item = CodeHash>) {
        if let Some(scope) = self.scopes.get_mut(scope) {
            scope.code_size -= size;
        }
        for hash in packages {
            if let Some(uses) = self.code_uses.get_mut(&hash) {
                *uses -= 1;
                if *uses == 0 {
                    self.code_uses.remove(&hash);
                }
            }
        }
    }

    fn function_mut(&mut self, key: &FunctionKey) -> Option<&mut Function> {
        self.scopes.get_mut(&key.scope)?.functions.get_mut::<FunctionName>(&key.name)
    }
}

/// Removes what is set for a version or an alias. A URL stays known beyond its alias; versions have none.
fn remove_settings(function: &mut Function, of: &Qualifier) {
    function.settings.retain(|key, _| key.qualifier.as_ref() != Some(of) || key.kind == SettingKind::Url);
}
