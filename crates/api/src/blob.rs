//! Blobs inside JSON documents: base64.
//!
//! Must not see payloads: those are bodies of their own and travel as they are.

use base64_simd::STANDARD;
use bytes::Bytes;
use serde::{Deserialize as _, Deserializer, Serializer, de::Error as _};

pub(crate) fn serialize<S: Serializer>(blob: &Bytes, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_str(&STANDARD.encode_to_string(blob))
}

pub(crate) fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Bytes, D::Error> {
    let mut blob = String::deserialize(deserializer)?.into_bytes();
    // A package takes no other memory than its text had.
    let decoded = STANDARD.decode_inplace(&mut blob).map(|decoded| decoded.len());
    blob.truncate(decoded.map_err(|_| D::Error::custom("STRING_VALUE can not be converted to a Blob"))?);
    Ok(Bytes::from(blob))
}

/// For members that may be absent.
pub(crate) mod option {
    use bytes::Bytes;
    use serde::{Deserialize, Deserializer, Serializer};

    pub(crate) fn serialize<S: Serializer>(blob: &Option<Bytes>, serializer: S) -> Result<S::Ok, S::Error> {
        match blob {
            Some(blob) => super::serialize(blob, serializer),
            None => serializer.serialize_none(),
        }
    }

    pub(crate) fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<Bytes>, D::Error> {
        struct Blob(Bytes);

        impl<'de> Deserialize<'de> for Blob {
            fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                super::deserialize(deserializer).map(Self)
            }
        }

        Ok(Option::<Blob>::deserialize(deserializer)?.map(|blob| blob.0))
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    #[test]
    fn blobs_are_base64_with_padding_and_nothing_else() {
        let read = |text: &str| deserialize(json!(text)).ok();
        let good: [(&str, &[u8]); 5] =
            [("", b""), ("YQ==", b"a"), ("YWI=", b"ab"), ("YWJj", b"abc"), ("+/+/", b"\xfb\xff\xbf")];
        for (text, blob) in good {
            assert_eq!(read(text).as_deref(), Some(blob), "{text}");
        }
        for text in
            ["Y", "YQ", "YQ=", "YR==", "YWJ=", "YQ==YQ==", "YW Jj", "YWJj\n", "-_-_", "YQ==\0", "=", "é"]
        {
            assert_eq!(read(text), None, "{text:?}");
        }
        assert!(deserialize(Value::Null).is_err());
    }
}
