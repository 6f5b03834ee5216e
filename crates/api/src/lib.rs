//! The wire of AWS Lambda: names, ARNs, generated shapes and constraints, rest-json codec, dispatch.
//!
//! Must not do IO or know a runtime: bytes and parts of requests come in, bytes and parts of responses go out.

pub mod arn;
mod function_ref;
pub mod name;
mod text;
