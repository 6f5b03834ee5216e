//! What an archive becomes, before anything is written: all that can be refused without reading content is refused here.
//!
//! Must not touch the file system.

use std::collections::{BTreeMap, btree_map::Entry};

use super::{ArchiveError, Flaw, central::ENTRIES, central::Record, name, shown};

/// How many files, directories and links a package may have. The same as entries: honest archives hardly have more
/// directories that no entry names than they have entries that are named twice.
const NODES: usize = ENTRIES;
/// Length of a link's target, as Linux has it.
const TARGET: u64 = 4095;

/// A directory of the package.
#[derive(Debug, Default)]
pub(super) struct Directory<'a> {
    /// Which entry it is, unless there is none but for what is in it.
    pub(super) record: Option<usize>,
    pub(super) children: BTreeMap<&'a [u8], Node<'a>>,
}

/// What has a name in a directory. Files and links are indices of entries.
#[derive(Debug)]
pub(super) enum Node<'a> {
    Directory(Directory<'a>),
    File(usize),
    Link(usize),
}

/// A whole package.
#[derive(Debug)]
pub(super) struct Tree<'a> {
    pub(super) root: Directory<'a>,
    /// How many files, directories and links there are in it.
    pub(super) nodes: usize,
}

impl<'a> Tree<'a> {
    /// Plans the package of an archive of `length` bytes. Of several files of one name the last one counts, but a file
    /// is no directory, nor may anything be below a link.
    pub(super) fn plan(records: &'a [Record<'_>], length: u64, limit: u64) -> Result<Self, ArchiveError> {
        // The sizes are what the archive says, but reading an entry ends where it is found to be a lie.
        if size(records) > limit {
            return Err(ArchiveError::TooLarge { limit });
        }
        // Entries that share their data make bombs of small archives, and reading them takes time even if nothing
        // comes of it.
        if sum(contents(records).map(|record| record.compressed_size)) > length {
            return Err(Flaw::Overlapping.into());
        }
        let mut tree = Self { root: Directory::default(), nodes: 0 };
        for (index, record) in records.iter().enumerate() {
            tree.insert(index, record)?;
        }
        Ok(tree)
    }

    fn insert(&mut self, index: usize, record: &'a Record<'_>) -> Result<(), ArchiveError> {
        let misplaced = || ArchiveError::Misplaced { name: shown(&record.name) };
        let kind = Kind::of(record).ok_or_else(|| Flaw::Special { name: shown(&record.name) })?;
        let mut parts = name::parts(&record.name).ok_or_else(misplaced)?;
        if kind != Kind::Directory && record.encrypted {
            return Err(Flaw::Encrypted { name: shown(&record.name) }.into());
        }
        let last = match kind {
            Kind::Directory => None,
            Kind::File => Some((parts.pop().ok_or_else(misplaced)?, Node::File(index))),
            Kind::Link if record.size <= TARGET => {
                Some((parts.pop().ok_or_else(misplaced)?, Node::Link(index)))
            }
            Kind::Link => return Err(misplaced()),
        };

        let mut directory = &mut self.root;
        for part in parts {
            let child = directory.children.entry(part).or_insert_with(|| {
                self.nodes += 1;
                Node::Directory(Directory::default())
            });
            let Node::Directory(child) = child else { return Err(misplaced()) };
            directory = child;
        }
        match last {
            None => directory.record = Some(index),
            Some((name, node)) => match directory.children.entry(name) {
                Entry::Vacant(place) => {
                    self.nodes += 1;
                    place.insert(node);
                }
                Entry::Occupied(place) if matches!(place.get(), Node::Directory(_)) => {
                    return Err(misplaced());
                }
                Entry::Occupied(mut place) => {
                    place.insert(node);
                }
            },
        }
        if self.nodes > NODES { Err(Flaw::TooMany { limit: NODES }.into()) } else { Ok(()) }
    }
}

/// What the entries are when they are unzipped, in bytes.
pub(super) fn size(records: &[Record<'_>]) -> u64 {
    sum(contents(records).map(|record| record.size))
}

/// All but the directories.
fn contents<'a>(records: &'a [Record<'a>]) -> impl Iterator<Item = &'a Record<'a>> {
    records.iter().filter(|record| Kind::of(record) != Some(Kind::Directory))
}

/// Saturates: then it is too much for anything.
fn sum(sizes: impl Iterator<Item = u64>) -> u64 {
    sizes.fold(0, u64::saturating_add)
}

/// What an entry is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    Directory,
    File,
    Link,
}

impl Kind {
    /// None if it is a device, a pipe or a socket.
    fn of(record: &Record<'_>) -> Option<Self> {
        match record.mode & 0o170_000 {
            _ if record.name.ends_with(b"/") => Some(Self::Directory),
            0o040_000 => Some(Self::Directory),
            0o120_000 => Some(Self::Link),
            0 | 0o100_000 => Some(Self::File),
            _ => None,
        }
    }
}
