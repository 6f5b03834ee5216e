//! The SHA-256 of a deployment package, which is also its address.
//!
//! Must not read packages from anywhere: it hashes what it is given.

use std::{fmt, str::FromStr};

use base64::{Engine, prelude::BASE64_STANDARD};
use serde::{Deserialize, Deserializer, Serialize, Serializer, de};
use sha2::{Digest, Sha256};

/// SHA-256 of a deployment package's bytes. Displayed in hexadecimal.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct CodeHash([u8; 32]);

impl CodeHash {
    /// Hashes a package. Blocks for as long as that takes: a few milliseconds for each 10 MB.
    pub fn of(bytes: &[u8]) -> Self {
        Self(Sha256::digest(bytes).into())
    }

    /// The address of what several packages are together, which depends on their order. One package is itself, and
    /// none is nothing.
    pub fn of_all(packages: &[Self]) -> Option<Self> {
        match packages {
            [] => None,
            [one] => Some(*one),
            several => {
                // No archive begins like this, so it is no package's hash.
                let hasher = Sha256::new_with_prefix(b"merged packages");
                Some(Self(
                    several.iter().fold(hasher, |hasher, hash| hasher.chain_update(hash.0)).finalize().into(),
                ))
            }
        }
    }

    /// AWS's `CodeSha256` of a zip package: base64.
    pub fn base64(&self) -> String {
        BASE64_STANDARD.encode(self.0)
    }

    /// Picks one of `count` by the hash.
    pub(super) fn stripe(&self, count: usize) -> usize {
        usize::from(self.0[0]) % count
    }
}

impl fmt::Display for CodeHash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

impl fmt::Debug for CodeHash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// Text that is not 64 lower-case hexadecimal digits.
#[derive(Debug, thiserror::Error)]
#[error("not a SHA-256 in hexadecimal")]
pub struct ParseHashError;

impl FromStr for CodeHash {
    type Err = ParseHashError;

    fn from_str(text: &str) -> Result<Self, ParseHashError> {
        let digit = |byte: u8| match byte {
            b'0'..=b'9' => Ok(byte - b'0'),
            b'a'..=b'f' => Ok(byte - b'a' + 10),
            _ => Err(ParseHashError),
        };
        let text: &[u8; 64] = text.as_bytes().try_into().map_err(|_| ParseHashError)?;
        let mut hash = [0; 32];
        for (byte, pair) in hash.iter_mut().zip(text.chunks_exact(2)) {
            *byte = digit(pair[0])? << 4 | digit(pair[1])?;
        }
        Ok(Self(hash))
    }
}

impl Serialize for CodeHash {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for CodeHash {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = <std::borrow::Cow<'de, str>>::deserialize(deserializer)?;
        text.parse().map_err(de::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hash_is_shown_as_hexadecimal_and_as_aws_shows_it() {
        let hash = CodeHash::of(b"abc");
        let hexadecimal = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad";
        assert_eq!(hash.to_string(), hexadecimal);
        assert_eq!(hash.base64(), "ungWv48Bz+pBQUDeXa4iI7ADYaOWF3qctBD/YfIAFa0=");
        assert_eq!(hexadecimal.parse::<CodeHash>().unwrap(), hash);
    }

    #[test]
    fn packages_together_have_an_address_by_their_order() {
        let [a, b] = [b"a", b"b"].map(|bytes| CodeHash::of(bytes));
        assert_eq!((CodeHash::of_all(&[]), CodeHash::of_all(&[a])), (None, Some(a)));
        assert_eq!(CodeHash::of_all(&[a, b]), CodeHash::of_all(&[a, b]));
        assert_ne!(CodeHash::of_all(&[a, b]), CodeHash::of_all(&[b, a]));
        assert!(![Some(a), Some(b)].contains(&CodeHash::of_all(&[a, b])));
    }

    #[test]
    fn only_64_lower_case_digits_are_a_hash() {
        for text in
            ["", "..", &"A".repeat(64), &"g".repeat(64), &"0".repeat(63), &"0".repeat(65), &"é".repeat(32)]
        {
            assert!(text.parse::<CodeHash>().is_err(), "{text:?}");
        }
    }
}
