//! The chain of functions that led to an invocation, as the trace header's `Lineage` tells it.
//!
//! Must not judge a chain: who reads it does.
//!
//! Unverified: AWS has shown the form `WEIGHT:HASH:COUNT` for one function and documented `HASH:COUNT|HASH:COUNT` for
//! several; here they are `WEIGHT:HASH:COUNT|…`, the weight is always 1, and both forms are read.

use hothouse_api::name::{AccountId, FunctionName, Region};

/// Functions in a chain; of more, those that came first are forgotten, so that the header stays small.
const LONGEST: usize = 32;

/// A function, as it is written in a chain.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Link(u32);

impl Link {
    /// The same for every invocation of a function. Unverified: what AWS hashes is not told.
    pub(crate) fn of(account: AccountId, region: &Region, name: &FunctionName) -> Self {
        // FNV-1a: stable from one release to the next, unlike the standard library's hashes.
        let mut hash = 0x811c_9dc5_u32;
        let mut add = |text: &str| {
            for byte in text.bytes().chain([b':']) {
                hash = (hash ^ u32::from(byte)).wrapping_mul(0x0100_0193);
            }
        };
        add(region.as_str());
        add(&account.to_string());
        add(name.as_str());
        Self(hash)
    }

    /// The chain with this function at its end: counted once more if it was in it, else for the first time, which is 0.
    pub(crate) fn appended_to(self, lineage: &str) -> String {
        let mut links: Vec<_> = lineage.split('|').filter(|link| !link.is_empty()).collect();
        let count = self.count_in(lineage);
        links.retain(|link| parse(link).is_none_or(|(link, _)| link != self));
        let own = format!("1:{:08x}:{}", self.0, count.map_or(0, |count| count.saturating_add(1)));
        links.push(&own);
        links[links.len().saturating_sub(LONGEST)..].join("|")
    }

    /// How often this function was in the chain again after its first time; none if it was not.
    pub(crate) fn count_in(self, lineage: &str) -> Option<u32> {
        let links = lineage.split('|').filter_map(parse).filter(|(link, _)| *link == self);
        links.map(|(_, count)| count).max()
    }
}

fn parse(link: &str) -> Option<(Link, u32)> {
    let (hash, count) = link.rsplit_once(':')?;
    let hash = hash.rsplit_once(':').map_or(hash, |(_, hash)| hash);
    Some((Link(u32::from_str_radix(hash, 16).ok()?), count.parse().ok()?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn chains_grow_and_count() {
        let (a, b) = (Link(0xa), Link(0xb));
        let table = [
            (a, "", "1:0000000a:0"),
            (a, "1:0000000a:0", "1:0000000a:1"),
            (b, "1:0000000a:3", "1:0000000a:3|1:0000000b:0"),
            (a, "1:0000000a:3|1:0000000b:0", "1:0000000b:0|1:0000000a:4"),
            // As documented before.
            (a, "0000000a:15", "1:0000000a:16"),
            (a, "0000000b:2|0000000a:7", "0000000b:2|1:0000000a:8"),
            // What is no link stays.
            (a, "what?|1:zz:0", "what?|1:zz:0|1:0000000a:0"),
            (a, "1:0000000a:4294967295", "1:0000000a:4294967295"),
        ];
        for (link, before, after) in table {
            assert_eq!(link.appended_to(before), after, "{before}");
        }
        assert_eq!(a.count_in("1:0000000b:0|1:0000000a:4"), Some(4));
        assert_eq!(a.count_in("1:0000000b:0"), None);
    }

    #[test]
    fn chain_is_bounded() {
        let mut lineage = String::new();
        for hash in 0..100 {
            lineage = Link(hash).appended_to(&lineage);
        }
        assert_eq!(lineage.split('|').count(), LONGEST);
        assert_eq!(Link(99).count_in(&lineage), Some(0));
    }
}
