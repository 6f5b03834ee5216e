//! CloudWatch Logs: groups, streams and events, kept in SQLite and served as awsJson 1.1.
//!
//! Must not know Lambda: functions' output arrives through [`LogSink`](hothouse_execution::ports::LogSink) like any
//! other events.

mod database;
mod event_operations;
mod events;
mod filter;
mod input;
mod json_filter;
mod operations;
mod schema;
mod store;

pub(crate) use database::{Scope, StoreError};
pub(crate) use operations::handle;
pub(crate) use store::{LogStore, LogStoreConfig};
