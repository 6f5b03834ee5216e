//! From what a request says about code to a package that is kept.
//!
//! Must not know functions.

use bytes::Bytes;
use hothouse_api::{ApiError, generated::FunctionCode};

use crate::{
    code::{CodeHash, ObjectId, Pinned, Stored},
    control::Control,
    error::{self, invalid_parameter},
    state::model::Package,
};

/// Where a request says that the code is.
#[derive(Debug)]
pub(crate) enum Source {
    Upload(Bytes),
    Object(ObjectId),
    Image(String),
}

impl Source {
    /// What a request says, if that is one thing.
    ///
    /// # Errors
    /// If it says nothing or too much.
    pub(crate) fn of(code: FunctionCode) -> Result<Self, ApiError> {
        match code {
            FunctionCode { zip_file: Some(zip), s3_bucket: None, s3_key: None, image_uri: None, .. } => {
                Ok(Self::Upload(zip))
            }
            FunctionCode { zip_file: Some(_), .. } => Err(invalid_parameter(
                "Please do not provide other FunctionCode parameters when providing a ZipFile.",
            )),
            FunctionCode { image_uri: Some(uri), s3_bucket: None, s3_key: None, .. } => Ok(Self::Image(uri)),
            FunctionCode {
                s3_bucket: Some(bucket),
                s3_key: Some(key),
                image_uri: None,
                s3_object_version,
                ..
            } => Ok(Self::Object(ObjectId { bucket, key, version: s3_object_version })),
            // Unverified wording.
            _ => Err(invalid_parameter("Please provide a source for function code.")),
        }
    }

    pub(crate) fn is_image(&self) -> bool {
        matches!(self, Self::Image(_))
    }
}

/// A package that is kept, at least for as long as this lives.
#[derive(Debug)]
pub(crate) struct Kept {
    pub(crate) package: Package,
    pinned: Option<Pinned>,
}

/// Fetches a package if need be, and keeps it. Of an image nothing is kept but its name.
///
/// # Errors
/// If it cannot be fetched, or is refused.
pub(crate) async fn keep(control: &Control, source: Source) -> Result<Kept, ApiError> {
    let limits = &control.config().limits;
    let bytes = match source {
        Source::Image(uri) => return Ok(Kept { package: Package::Image { uri }, pinned: None }),
        Source::Upload(zip) if zip.len() as u64 > limits.code_size_zipped => {
            return Err(error::package_too_large(limits.code_size_zipped));
        }
        Source::Upload(zip) if zip.is_empty() => {
            return Err(invalid_parameter("Uploaded file must be a non-empty zip"));
        }
        Source::Upload(zip) => zip,
        Source::Object(object) => {
            control.objects().fetch(&object, limits.code_size_unzipped).await.map_err(error::object)?
        }
    };
    let Stored { pinned, size, unzipped_size } = control.code().put(bytes).await.map_err(error::code)?;
    Ok(Kept { package: Package::Zip { hash: pinned.hash(), size, unzipped_size }, pinned: Some(pinned) })
}

impl Kept {
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
