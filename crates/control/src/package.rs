//! From what a request says about code to a package that is kept.
//!
//! Must not know functions.

use bytes::Bytes;
use hothouse_api::{
    ApiError,
    generated::{Architecture, FunctionCode, ResolvedS3Object, S3ObjectStorageMode},
};

use crate::{
    code::{CodeHash, ObjectId, Pinned, Stored},
    control::Control,
    error::{self, invalid_parameter},
    state::model::{Code, Origin, Package},
};

/// Where a request says that the code is, and what else it says about it.
#[derive(Debug)]
pub(crate) struct Source {
    place: Place,
    origin: Option<Box<Origin>>,
}

#[derive(Debug)]
enum Place {
    Upload(Bytes),
    Object(ObjectId),
    Image(String),
}

impl Source {
    /// What a request says, if that is one thing.
    ///
    /// # Errors
    /// If it says nothing or too much, or what cannot be.
    pub(crate) fn of(code: FunctionCode) -> Result<Self, ApiError> {
        let place = match code {
            FunctionCode { zip_file: Some(zip), s3_bucket: None, s3_key: None, image_uri: None, .. } => {
                Place::Upload(zip)
            }
            FunctionCode { zip_file: Some(_), .. } => {
                return Err(invalid_parameter(
                    "Please do not provide other FunctionCode parameters when providing a ZipFile.",
                ));
            }
            FunctionCode { image_uri: Some(uri), s3_bucket: None, s3_key: None, .. } => {
                check_image(&uri)?;
                Place::Image(uri)
            }
            FunctionCode {
                s3_bucket: Some(bucket),
                s3_key: Some(key),
                image_uri: None,
                s3_object_version,
                ..
            } => Place::Object(ObjectId { bucket, key, version: s3_object_version }),
            _ => return Err(invalid_parameter("Please provide a source for function code.")),
        };
        let kms_key_arn = code.source_kms_key_arn.filter(|arn| !arn.is_empty());
        let object = match (&place, code.s3_object_storage_mode) {
            (_, None | Some(S3ObjectStorageMode::Copy)) => None,
            (Place::Object(object), Some(S3ObjectStorageMode::Reference)) => Some(ResolvedS3Object {
                s3_bucket: Some(object.bucket.clone()),
                s3_key: Some(object.key.clone()),
                s3_object_version: object.version.clone(),
            }),
            (Place::Upload(_) | Place::Image(_), Some(S3ObjectStorageMode::Reference)) => {
                return Err(invalid_parameter(
                    // Unverified wording.
                    "Please provide S3Bucket and S3Key when S3ObjectStorageMode is REFERENCE.",
                ));
            }
        };
        let origin = Origin { kms_key_arn, object };
        Ok(Self { place, origin: (origin != Origin::default()).then(|| Box::new(origin)) })
    }

    pub(crate) fn is_image(&self) -> bool {
        matches!(self.place, Place::Image(_))
    }
}

/// Refuses what names no image. Unlike AWS, any registry may have it: also that of the machine's own Docker.
fn check_image(uri: &str) -> Result<(), ApiError> {
    let (name, digest) = uri.split_once('@').map_or((uri, None), |(name, digest)| (name, Some(digest)));
    let (path, tag) = match name.rsplit_once(':') {
        // A colon before the last slash is that of a port.
        Some((path, tag)) if !tag.contains('/') => (path, Some(tag)),
        _ => (name, None),
    };
    let word = |text: &str, others: &str| {
        !text.is_empty()
            && text.chars().all(|character| character.is_ascii_alphanumeric() || others.contains(character))
    };
    let is_digest = |digest: &str| {
        digest.strip_prefix("sha256:").is_some_and(|hex| {
            hex.len() == 64 && hex.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'))
        })
    };
    let valid = path.split('/').all(|part| word(part, "._-:"))
        && tag.is_none_or(|tag| tag.len() <= 128 && word(tag, "._-"))
        && digest.is_none_or(is_digest);
    if valid {
        Ok(())
    } else {
        Err(invalid_parameter(format!("Source image {uri} is not valid. Provide a valid source image.")))
    }
}

/// A package that is kept, at least for as long as this lives.
#[derive(Debug)]
pub(crate) struct Kept {
    pub(crate) package: Package,
    origin: Option<Box<Origin>>,
    pinned: Option<Pinned>,
}

/// Fetches a package if need be, and keeps it. Of an image nothing is kept but its name.
///
/// # Errors
/// If it cannot be fetched, or is refused.
pub(crate) async fn keep(control: &Control, source: Source) -> Result<Kept, ApiError> {
    let limits = &control.config().limits;
    let Source { place, origin } = source;
    let bytes = match place {
        Place::Image(uri) => return Ok(Kept { package: Package::Image { uri }, origin, pinned: None }),
        Place::Upload(zip) if zip.len() as u64 > limits.code_size_zipped => {
            return Err(error::package_too_large(limits.code_size_zipped));
        }
        Place::Upload(zip) if zip.is_empty() => {
            return Err(invalid_parameter("Uploaded file must be a non-empty zip"));
        }
        Place::Upload(zip) => zip,
        Place::Object(object) => {
            control.objects().fetch(&object, limits.code_size_unzipped).await.map_err(error::object)?
        }
    };
    let Stored { pinned, size, unzipped_size } = control.code().put(bytes).await.map_err(error::code)?;
    let package = Package::Zip { hash: pinned.hash(), size, unzipped_size };
    Ok(Kept { package, origin, pinned: Some(pinned) })
}

impl Kept {
    /// The package as a version's code.
    pub(crate) fn code(&self, architecture: Architecture) -> Code {
        Code { architecture, package: self.package.clone(), origin: self.origin.clone() }
    }

    /// The object that it stays in, if the request said so.
    pub(crate) fn object(&self) -> Option<ResolvedS3Object> {
        self.origin.as_ref().and_then(|origin| origin.object.clone())
    }

    /// Lets go of the package. If no version has come to use it, it is removed.
    pub(crate) fn release(self, control: &Control) {
        release(control, self.pinned);
    }
}

/// Lets go of packages. Those that nothing has come to use are removed.
pub(crate) fn release(control: &Control, pins: impl IntoIterator<Item = Pinned>) {
    for pinned in pins {
        let hash = pinned.hash();
        drop(pinned);
        if !control.state().uses_code(&hash) {
            control.collect_later(hash, std::time::Duration::ZERO);
        }
    }
}

/// Where a package can be downloaded.
pub(crate) fn url(control: &Control, hash: &CodeHash) -> String {
    format!("{}/_hothouse/code/{hash}", control.config().base_url)
}
