//! Deployment packages: where they come from, what is accepted, where they are kept.
//!
//! Must not know functions: it is asked about hashes, and whoever asks says which hashes are in use.

mod archive;
mod ephemeral;
mod hash;
mod overlay;
mod source;
mod store;

pub use archive::{ArchiveError, Flaw};
pub use hash::CodeHash;
pub use source::{NoObjects, ObjectError, ObjectId, ObjectSource};
pub use store::{CodeError, CodeStore, Pinned, Stored};
