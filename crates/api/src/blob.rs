//! Blobs inside JSON documents: base64.
//!
//! Must not see payloads: those are bodies of their own and travel as they are.

use base64::{Engine as _, engine::general_purpose::STANDARD};
use bytes::Bytes;
use serde::{Deserialize as _, Deserializer, Serializer, de::Error as _};

pub(crate) fn serialize<S: Serializer>(blob: &Bytes, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_str(&STANDARD.encode(blob))
}

pub(crate) fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Bytes, D::Error> {
    let text = std::borrow::Cow::<'de, str>::deserialize(deserializer)?;
    STANDARD
        .decode(text.as_bytes())
        .map(Bytes::from)
        .map_err(|_| D::Error::custom("STRING_VALUE can not be converted to a Blob"))
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
