//! Code signing configurations, and the functions that have one.
//!
//! Nobody signs packages for a local service, and the certificates that a signature would be checked against are only
//! known to AWS Signer. So every package counts as one that no trusted publisher has signed: a policy of `Enforce`
//! refuses it as AWS does, `Warn` lets it through. Images are not concerned. Must not look into packages.

pub(crate) mod config;
pub(crate) mod function;
