//! How many descriptors the service may have: each environment takes a dozen, and two for each of its connections.
//!
//! Must not touch the limit of functions, which is their own.

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

/// Raises the limit as far as the system lets us. The usual soft limit of 1,024 is there for programs that use `select`,
/// which cannot handle more.
pub(super) fn raise_limit() {
    let limit = getrlimit(Resource::Nofile);
    if limit.current == limit.maximum {
        return;
    }
    if let Err(error) = setrlimit(Resource::Nofile, Rlimit { current: limit.maximum, ..limit }) {
        tracing::debug!(%error, "failed to raise the limit of descriptors");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_limit_is_what_the_system_allows() {
        let before = getrlimit(Resource::Nofile);
        let lower = before.maximum.map(|maximum| maximum.min(1024));
        setrlimit(Resource::Nofile, Rlimit { current: lower, ..before }).unwrap();
        raise_limit();
        assert_eq!(getrlimit(Resource::Nofile).current, before.maximum);
    }
}
