//! Operations on functions, in the order of their lives.
//!
//! Must not hold what versions or aliases alone are about.

pub(crate) mod create;
pub(crate) mod delete;
pub(crate) mod read;
pub(crate) mod update;
