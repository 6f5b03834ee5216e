//! Zip packages: what is accepted, and how one becomes a directory.
//!
//! An archive may come from anyone, so it is read whole before anything is written: [`central`] finds its entries,
//! [`tree`] decides what becomes of them, [`write`] does it.
//! Must not decide where a package lives; everything here blocks, so it runs on a thread for that.

mod central;
#[cfg(test)]
mod forge;
#[cfg(test)]
mod fuzz;
mod inflate;
mod name;
#[cfg(test)]
mod tests;
mod tree;
mod write;

use std::{
    io,
    num::NonZero,
    path::{Path, PathBuf},
    thread,
};

use central::Archive;
use tree::Tree;
use write::Writer;

/// Why a package was refused. The last one is a fault of this machine, all others of the package.
#[derive(Debug, thiserror::Error)]
pub enum ArchiveError {
    /// There is no entry in it.
    #[error("the archive is empty")]
    Empty,
    /// Its entries, unzipped, are larger than allowed.
    #[error("the archive is larger than {limit} bytes when unzipped")]
    TooLarge {
        /// The limit, in bytes.
        limit: u64,
    },
    /// It is no zip archive, or one that is not accepted.
    #[error("failed to read the archive")]
    Malformed(
        #[source]
        #[from]
        Flaw,
    ),
    /// An entry would be written outside of the package's own directory, below a file or link, or cannot have its name.
    #[error("the archive's entry `{name}` has no place in the package")]
    Misplaced {
        /// The entry's name, escaped, and cut if it is long.
        name: String,
    },
    /// An entry could not be written.
    #[error("failed to write `{path}`")]
    Write {
        /// What was being written.
        path: PathBuf,
        /// Why it failed.
        #[source]
        source: io::Error,
    },
}

/// What is wrong with an archive. Names are escaped, and cut if they are long.
#[derive(Debug, thiserror::Error)]
pub enum Flaw {
    /// It does not end as zip archives do.
    #[error("no central directory was found")]
    NoDirectory,
    /// It is a part of an archive.
    #[error("the archive is split into parts")]
    Split,
    /// The central directory ends too early, or does not have as many entries as it should.
    #[error("the central directory is damaged")]
    Directory,
    /// It would take more of the machine than its bytes.
    #[error("there are more than {limit} files and directories in it")]
    TooMany {
        /// How many there may be.
        limit: usize,
    },
    /// Its entries are more bytes than the archive has.
    #[error("its entries share their data")]
    Overlapping,
    /// An entry's content is not what the central directory says.
    #[error("the entry `{name}` is damaged")]
    Entry {
        /// The entry.
        name: String,
        /// What decompressing it found.
        #[source]
        source: Option<io::Error>,
    },
    /// An entry is encrypted.
    #[error("the entry `{name}` is encrypted")]
    Encrypted {
        /// The entry.
        name: String,
    },
    /// An entry is neither stored nor deflated.
    #[error("the entry `{name}` is compressed by the unknown method {method}")]
    Method {
        /// The entry.
        name: String,
        /// The zip format's number of the method.
        method: u16,
    },
    /// An entry is a device, a pipe or a socket.
    #[error("the entry `{name}` is neither a file, a directory nor a symbolic link")]
    Special {
        /// The entry.
        name: String,
    },
}

/// What a package that was accepted before takes when it is extracted, in bytes.
pub(super) fn unzipped_size(package: &[u8]) -> Result<u64, ArchiveError> {
    let archive = Archive::open(package)?;
    Ok(tree::size(&archive.records()?))
}

/// Extracts a package into `root`, an existing empty directory. Returns how much was extracted, in bytes. Nothing is
/// flushed.
///
/// Files, directories and symbolic links have the permissions of the archive, as on AWS. After an error the directory
/// holds rubbish and is to be removed.
pub(super) fn extract(package: &[u8], root: &Path, limit: u64) -> Result<u64, ArchiveError> {
    extract_with(package, root, limit, |size, nodes| {
        // Threads take longer to start than so little takes to write.
        const FEW: usize = 128;
        const SMALL: u64 = 1 << 20;
        // More of them only wait for the file system, or for each other.
        const MOST: usize = 8;

        if nodes <= FEW && size <= SMALL {
            1
        } else {
            thread::available_parallelism().map_or(1, NonZero::get).min(MOST)
        }
    })
}

fn extract_with(
    package: &[u8],
    root: &Path,
    limit: u64,
    threads: impl FnOnce(u64, usize) -> usize,
) -> Result<u64, ArchiveError> {
    let archive = Archive::open(package)?;
    let records = archive.records()?;
    if records.is_empty() {
        return Err(ArchiveError::Empty);
    }
    let tree = Tree::plan(&records, archive.length(), limit)?;
    let size = tree::size(&records);
    let writer = Writer::new(&archive, &records, root, &tree.root)?;
    match threads(size, tree.nodes) {
        0 | 1 => writer.work(),
        several => thread::scope(|scope| {
            let work = || {
                // Invocations go first. It may not be allowed, and is no necessity.
                let _ = rustix::process::nice(NICE);
                writer.work();
            };
            let start = |_: &usize| thread::Builder::new().spawn_scoped(scope, work).is_ok();
            // There may be too many threads already.
            if (0..several).filter(start).count() == 0 {
                writer.work();
            }
        }),
    }
    writer.finish()?;
    Ok(size)
}

/// How much more than the service the threads that extract give way to others.
const NICE: i32 = 5;

/// A name as errors show it.
fn shown(name: &[u8]) -> String {
    const LONG: usize = 200;

    let (name, rest) = name.split_at_checked(LONG).unwrap_or((name, &[]));
    let dots = if rest.is_empty() { "" } else { "…" };
    format!("{}{dots}", String::from_utf8_lossy(name).escape_debug())
}
