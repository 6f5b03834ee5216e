//! Lambda's control plane: functions, versions, aliases, tags; state and store.
//!
//! Must not speak HTTP: it is asked in Rust types and answers in them.

pub mod code;
