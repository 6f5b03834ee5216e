//! Everything the control plane knows, and how it is kept.
//!
//! Changed by [`State::apply`] alone, after [`Store::commit`]. Must not decide what may change.

mod change;
pub mod model;
mod resource;
mod setting;
mod sqlite;
mod store;
#[cfg(test)]
pub(crate) mod tests;
mod text;

use std::{
    collections::{BTreeMap, HashMap},
    ops::RangeBounds,
    sync::Arc,
};

use hothouse_api::name::{FunctionName, Qualifier};

pub use change::{Change, Event, Gone, ResourceEvent};
pub use resource::{Resource, ResourceId};
pub use setting::{Setting, SettingKey, SettingKind};
pub use sqlite::SqliteStore;
pub use store::{EventContent, MemoryStore, Store, StoreError};

use crate::code::CodeHash;
use model::{Function, FunctionKey, Scope};

/// The functions and other resources of all accounts and regions.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct State {
    scopes: HashMap<Scope, ScopeState>,
    /// How many versions of functions and layers use a package.
    code_uses: HashMap<CodeHash, usize>,
    /// Function URLs by their ids.
    urls: HashMap<String, UrlOwner>,
}

/// What a function URL is of.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct UrlOwner {
    /// The function.
    pub key: FunctionKey,
    /// Its alias; none if it is the function's own.
    pub qualifier: Option<Qualifier>,
}

/// One region of one account.
#[derive(Debug, Clone, Default, PartialEq)]
struct ScopeState {
    functions: BTreeMap<FunctionName, Function>,
    resources: BTreeMap<ResourceId, Arc<Resource>>,
    /// Size of the packages of all versions of functions and layers, in bytes.
    code_size: u64,
}

impl State {
    /// A function, if it is there.
    pub fn function(&self, key: &FunctionKey) -> Option<&Function> {
        self.scopes.get(&key.scope)?.functions.get::<FunctionName>(&key.name)
    }

    /// The functions of a region, by name; only those after `after`, if given.
    pub fn functions(
        &self,
        scope: &Scope,
        after: Option<&FunctionName>,
    ) -> impl Iterator<Item = (&FunctionName, &Function)> {
        use std::ops::Bound::{Excluded, Unbounded};
        let from = after.map_or(Unbounded, Excluded);
        self.scopes
            .get(scope)
            .into_iter()
            .flat_map(move |scope| scope.functions.range::<FunctionName, _>((from, Unbounded)))
    }

    /// All functions there are.
    pub fn all_functions(&self) -> impl Iterator<Item = (FunctionKey, &Function)> {
        self.scopes.iter().flat_map(|(scope, state)| {
            state
                .functions
                .iter()
                .map(|(name, function)| (FunctionKey { scope: scope.clone(), name: name.clone() }, function))
        })
    }

    /// Who has the function URL with this id.
    pub fn url_owner(&self, id: &str) -> Option<&UrlOwner> {
        self.urls.get(id)
    }

    /// A resource, if it is there.
    pub fn resource(&self, scope: &Scope, id: &ResourceId) -> Option<&Arc<Resource>> {
        self.scopes.get(scope)?.resources.get(id)
    }

    /// The resources of a region within a range, in the order of [`ResourceId`].
    pub fn resources(
        &self,
        scope: &Scope,
        range: impl RangeBounds<ResourceId>,
    ) -> impl DoubleEndedIterator<Item = (&ResourceId, &Arc<Resource>)> {
        self.scopes.get(scope).into_iter().flat_map(move |state| {
            state.resources.range((range.start_bound().cloned(), range.end_bound().cloned()))
        })
    }

    /// All resources there are.
    pub fn all_resources(&self) -> impl Iterator<Item = (&Scope, &ResourceId, &Arc<Resource>)> {
        self.scopes.iter().flat_map(|(scope, state)| {
            state.resources.iter().map(move |(id, resource)| (scope, id, resource))
        })
    }

    /// How many functions a region has, and the size of all packages of functions and layers in bytes.
    pub fn usage(&self, scope: &Scope) -> (usize, u64) {
        self.scopes.get(scope).map_or((0, 0), |scope| (scope.functions.len(), scope.code_size))
    }

    /// Whether any version uses this package.
    pub fn uses_code(&self, hash: &CodeHash) -> bool {
        self.code_uses.contains_key(hash)
    }

    /// All packages that are used.
    pub(crate) fn used_code(&self) -> impl Iterator<Item = CodeHash> {
        self.code_uses.keys().copied()
    }
}
