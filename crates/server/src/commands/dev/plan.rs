//! What `dev` will deploy, and what it has to say about the rest.
//!
//! Must not touch the service; see `deploy`.

use std::{collections::BTreeMap, path::PathBuf};

/// A folder's functions.
#[derive(Debug, Default)]
pub(super) struct Plan {
    /// Those that can be deployed.
    pub(super) functions: Vec<FunctionPlan>,
    /// Those that cannot, and why.
    pub(super) problems: Vec<Problem>,
    /// What was understood differently than someone may expect.
    pub(super) notes: Vec<String>,
}

/// A function that cannot be deployed.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Problem {
    /// Its name, or where it was to come from.
    pub(super) function: String,
    /// Why not.
    pub(super) reason: String,
}

/// A function to deploy. What is absent keeps AWS's default.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct FunctionPlan {
    /// `FunctionName`.
    pub(super) name: String,
    /// `Runtime`.
    pub(super) runtime: String,
    /// `Handler`.
    pub(super) handler: String,
    /// Where its code is.
    pub(super) code: Code,
    /// Seconds.
    pub(super) timeout: Option<u64>,
    /// MB.
    pub(super) memory_size: Option<u64>,
    /// MB.
    pub(super) ephemeral_storage: Option<u64>,
    /// The function's variables.
    pub(super) environment: BTreeMap<String, String>,
    /// Free text.
    pub(super) description: Option<String>,
    /// `x86_64` or `arm64`.
    pub(super) architectures: Vec<String>,
    /// `Role`, if the template names one.
    pub(super) role: Option<String>,
}

impl FunctionPlan {
    /// A function of which only the necessary is known.
    pub(super) fn new(name: String, runtime: &str, handler: String, code: Code) -> Self {
        Self {
            name,
            runtime: runtime.to_owned(),
            handler,
            code,
            timeout: None,
            memory_size: None,
            ephemeral_storage: None,
            environment: BTreeMap::new(),
            description: None,
            architectures: Vec::new(),
            role: None,
        }
    }
}

/// Where a function's code is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Code {
    /// Everything in a folder.
    Folder(PathBuf),
    /// Some files and folders, by their names in one folder.
    Parts {
        /// The folder.
        folder: PathBuf,
        /// Names in it.
        names: Vec<String>,
    },
    /// A finished archive.
    Archive(PathBuf),
    /// Text in the template.
    Inline {
        /// Name that the file gets.
        file: &'static str,
        /// Its contents.
        text: String,
    },
    /// An object that the service fetches.
    Bucket {
        /// `S3Bucket`.
        bucket: String,
        /// `S3Key`.
        key: String,
        /// `S3ObjectVersion`.
        version: Option<String>,
    },
}

impl Code {
    /// The folder that a build would leave dependencies in.
    pub(super) fn folder(&self) -> Option<&PathBuf> {
        match self {
            Self::Folder(folder) | Self::Parts { folder, .. } => Some(folder),
            Self::Archive(_) | Self::Inline { .. } | Self::Bucket { .. } => None,
        }
    }
}
