//! Archives of functions' code: the same files give the same bytes, whenever and wherever they are packed.
//!
//! Must not build anything: dependencies are packed if they are there.

use std::{
    collections::BTreeMap,
    fs,
    io::{self, Cursor, Write as _},
    os::unix::fs::PermissionsExt as _,
    path::{Path, PathBuf},
};

use zip::{CompressionMethod, DateTime, ZipWriter, write::SimpleFileOptions};

use super::plan::Code;

/// Never part of a function.
pub(super) const SKIPPED: [&str; 5] = [".git", ".venv", "__pycache__", ".aws-sam", ".DS_Store"];

/// Deeper than any real package; a circle of symbolic links ends here.
const MAX_DEPTH: usize = 64;

/// The code could not be packed.
#[derive(Debug, thiserror::Error)]
pub(super) enum PackageError {
    /// A file or folder cannot be read.
    #[error("failed to read `{path}`")]
    Read {
        /// It.
        path: PathBuf,
        #[source]
        source: io::Error,
    },
    /// Folders contain each other.
    #[error("`{path}` is nested too deeply; does a symbolic link lead back to its own folder?")]
    TooDeep {
        /// Where the search stopped.
        path: PathBuf,
    },
    /// The archive cannot be written.
    #[error("failed to write the archive")]
    Write(#[from] zip::result::ZipError),
    /// The archive cannot be written to memory.
    #[error("failed to write the archive")]
    Memory(#[source] io::Error),
}

/// The archive to upload; nothing for code that the service fetches by itself.
pub(super) fn pack(code: &Code) -> Result<Option<Vec<u8>>, PackageError> {
    let mut files = BTreeMap::new();
    match code {
        Code::Bucket { .. } => return Ok(None),
        Code::Archive(path) => return read(path).map(Some),
        Code::Inline { file, text } => {
            return archive([((*file).to_owned(), (text.as_bytes().to_vec(), false))]).map(Some);
        }
        Code::Folder(folder) => collect(folder, "", 0, &mut files)?,
        Code::Parts { folder, names } => {
            for name in names {
                add(&folder.join(name), name.clone(), 0, &mut files)?;
            }
        }
    }
    let files = files.into_iter().map(|(name, path)| Ok((name, (read(&path)?, is_executable(&path)))));
    archive(files.collect::<Result<Vec<_>, PackageError>>()?).map(Some)
}

fn collect(
    folder: &Path,
    prefix: &str,
    depth: usize,
    files: &mut BTreeMap<String, PathBuf>,
) -> Result<(), PackageError> {
    let failed = |source| PackageError::Read { path: folder.to_owned(), source };
    for entry in fs::read_dir(folder).map_err(failed)? {
        let entry = entry.map_err(failed)?;
        let name = entry.file_name().to_string_lossy().into_owned();
        let is_cache = name == ".cache" && prefix.ends_with("node_modules/");
        if !is_cache && !SKIPPED.contains(&name.as_str()) {
            add(&entry.path(), format!("{prefix}{name}"), depth, files)?;
        }
    }
    Ok(())
}

/// Follows symbolic links, as the archive of a deployed function has none either.
fn add(
    path: &Path,
    name: String,
    depth: usize,
    files: &mut BTreeMap<String, PathBuf>,
) -> Result<(), PackageError> {
    if depth > MAX_DEPTH {
        return Err(PackageError::TooDeep { path: path.to_owned() });
    }
    let metadata =
        fs::metadata(path).map_err(|source| PackageError::Read { path: path.to_owned(), source })?;
    if metadata.is_dir() {
        collect(path, &format!("{name}/"), depth + 1, files)?;
    } else if metadata.is_file() {
        files.insert(name, path.to_owned());
    }
    Ok(())
}

fn archive(files: impl IntoIterator<Item = (String, (Vec<u8>, bool))>) -> Result<Vec<u8>, PackageError> {
    let mut writer = ZipWriter::new(Cursor::new(Vec::new()));
    for (name, (contents, executable)) in files {
        let options = SimpleFileOptions::default()
            .compression_method(CompressionMethod::Deflated)
            // The oldest time that the format knows: real times would make equal code look different.
            .last_modified_time(DateTime::default())
            .unix_permissions(if executable { 0o755 } else { 0o644 });
        writer.start_file(name, options)?;
        writer.write_all(&contents).map_err(PackageError::Memory)?;
    }
    Ok(writer.finish()?.into_inner())
}

fn read(path: &Path) -> Result<Vec<u8>, PackageError> {
    fs::read(path).map_err(|source| PackageError::Read { path: path.to_owned(), source })
}

fn is_executable(path: &Path) -> bool {
    fs::metadata(path).is_ok_and(|metadata| metadata.permissions().mode() & 0o111 != 0)
}

#[cfg(test)]
mod tests;
