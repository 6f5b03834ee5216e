//! The vocabulary of the control plane: everything that can happen to its state.
//!
//! Ids and times are in the changes, so that the same changes always make the same state. Must not decide whether a
//! change is allowed: operations do that before they make one.

use std::{collections::BTreeMap, sync::Arc};

use hothouse_api::name::{self, AliasName, FunctionName};
use uuid::Uuid;

use super::{
    State,
    model::{Alias, Function, FunctionKey, Status, Version},
};
use crate::concurrency::Running;

/// What happens to one function.
#[derive(Debug, Clone, PartialEq)]
pub struct Change {
    /// The function.
    pub key: FunctionKey,
    /// What happens to it.
    pub event: Event,
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
    /// `$LATEST` is published under the next number.
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
    /// A published version is deleted.
    VersionDeleted {
        /// Its number.
        number: u64,
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
    /// An alias is deleted.
    AliasDeleted {
        /// Its name.
        name: AliasName,
    },
    /// The function's tags are others.
    Tagged {
        /// All tags from now on.
        tags: BTreeMap<String, String>,
    },
    /// Reserved concurrency is set or given up.
    ConcurrencyReserved {
        /// Concurrent executions from now on.
        executions: Option<u32>,
    },
}

impl State {
    /// Makes a change. Returns the versions that are no more, whose environments and perhaps packages can go.
    pub fn apply(&mut self, change: &Change) -> Vec<Arc<Version>> {
        let Change { key, event } = change;
        let mut gone = Vec::new();
        match event {
            Event::Created { latest, tags } => {
                gone.extend(self.remove(key));
                self.insert(
                    key,
                    Function {
                        latest: Arc::clone(latest),
                        versions: BTreeMap::new(),
                        next_version: 1,
                        aliases: BTreeMap::new(),
                        tags: tags.clone(),
                        reserved_concurrency: None,
                        running: Running::default(),
                    },
                );
            }
            Event::Deleted => gone.extend(self.remove(key)),
            Event::Updated { latest } => {
                if let Some(function) = self.function_mut(key) {
                    let before = std::mem::replace(&mut function.latest, Arc::clone(latest));
                    self.count(key, latest);
                    self.discount(key, &before);
                    gone.push(before);
                }
            }
            Event::Published { version } => {
                if let (Some(function), name::Version::Number(number)) =
                    (self.function_mut(key), version.version)
                {
                    function.next_version = number + 1;
                    let before = function.versions.insert(number, Arc::clone(version));
                    self.count(key, version);
                    if let Some(before) = &before {
                        self.discount(key, before);
                    }
                    gone.extend(before);
                }
            }
            Event::VersionDeleted { number } => {
                if let Some(version) =
                    self.function_mut(key).and_then(|function| function.versions.remove(number))
                {
                    self.discount(key, &version);
                    gone.push(version);
                }
            }
            Event::Amended { version, status, revision_id } => {
                let version = self.function_mut(key).and_then(|function| match version {
                    name::Version::Latest => Some(&mut function.latest),
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
                }
            }
            Event::Tagged { tags } => {
                if let Some(function) = self.function_mut(key) {
                    function.tags = tags.clone();
                }
            }
            Event::ConcurrencyReserved { executions } => {
                if let Some(function) = self.function_mut(key) {
                    function.reserved_concurrency = *executions;
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
            self.count(key, version);
        }
        self.scopes.entry(key.scope.clone()).or_default().functions.insert(key.name.clone(), function);
    }

    fn remove(&mut self, key: &FunctionKey) -> Vec<Arc<Version>> {
        let scope = self.scopes.get_mut(&key.scope);
        let Some(function) = scope.and_then(|scope| scope.functions.remove::<FunctionName>(&key.name)) else {
            return Vec::new();
        };
        let versions: Vec<_> = function.all_versions().cloned().collect();
        for version in &versions {
            self.discount(key, version);
        }
        if self.scopes.get(&key.scope).is_some_and(|scope| scope.functions.is_empty()) {
            self.scopes.remove(&key.scope);
        }
        versions
    }

    fn count(&mut self, key: &FunctionKey, version: &Version) {
        let package = &version.code.package;
        self.scopes.entry(key.scope.clone()).or_default().code_size += package.size();
        if let Some(hash) = package.hash() {
            *self.code_uses.entry(hash).or_default() += 1;
        }
    }

    fn discount(&mut self, key: &FunctionKey, version: &Version) {
        let package = &version.code.package;
        if let Some(scope) = self.scopes.get_mut(&key.scope) {
            scope.code_size -= package.size();
        }
        if let Some(hash) = package.hash()
            && let Some(uses) = self.code_uses.get_mut(&hash)
        {
            *uses -= 1;
            if *uses == 0 {
                self.code_uses.remove(&hash);
            }
        }
    }

    fn function_mut(&mut self, key: &FunctionKey) -> Option<&mut Function> {
        self.scopes.get_mut(&key.scope)?.functions.get_mut::<FunctionName>(&key.name)
    }
}
