//! The wire of AWS Lambda: names, ARNs, generated shapes and constraints, rest-json codec, dispatch.
//!
//! Must not do IO or know a runtime: bytes and parts of requests come in, bytes and parts of responses go out.

pub mod arn;
mod bind;
mod blob;
pub mod body;
pub mod context;
pub mod dispatch;
pub mod enumeration;
pub mod error;
pub mod event_stream;
mod function_ref;
pub mod generated;
pub mod json;
mod matchers;
mod model;
pub mod name;
mod respond;
mod text;
pub mod timestamp;
mod validate;

pub use body::Body;
pub use context::RequestContext;
pub use dispatch::dispatch;
pub use error::ApiError;
pub use generated::{ErrorKind, Lambda, Operation};
