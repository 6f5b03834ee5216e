//! Capacity providers, and the functions that are to run on one.
//!
//! They are kept and shown, but there are no instances here that could be managed: a function on a capacity provider
//! runs as any other does, its `$LATEST` too, which AWS does not invoke. Must not start anything.

pub(crate) mod function;
pub(crate) mod provider;
