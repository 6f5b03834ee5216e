//! Capacity providers, and the functions that are to run on one.
//!
//! They are kept and shown, but there are no instances here that could be managed: what is published of a function on
//! a capacity provider runs as any other function does. Must not start anything.

pub(crate) mod function;
pub(crate) mod provider;
