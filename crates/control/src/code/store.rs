//! The directory of packages, addressed by content: `<hash>/archive.zip` beside its extracted `<hash>/content/`.
//!
//! A package is there completely or not at all. Must not remove a package that is in use or pinned.

use std::{
    collections::HashMap,
    fs::{self, File, Permissions},
    io::{self, Write},
    os::unix::fs::PermissionsExt,
    path::{Path, PathBuf},
    sync::{Arc, Mutex, PoisonError},
};

use bytes::Bytes;

use super::{
    CodeHash,
    archive::{self, ArchiveError},
    ephemeral::EphemeralDirectory,
};

/// Why a package could not be kept.
#[derive(Debug, thiserror::Error)]
pub enum CodeError {
    /// The package itself is at fault, or extracting it failed.
    #[error(transparent)]
    Archive(#[from] ArchiveError),
    /// The directory of packages does not work.
    #[error("failed to {step} `{path}`")]
    Io {
        /// What was being done.
        step: &'static str,
        /// To what.
        path: PathBuf,
        /// Why it failed.
        #[source]
        source: io::Error,
    },
}

/// The directory of packages.
#[derive(Debug)]
pub struct CodeStore {
    root: PathBuf,
    unzipped_limit: u64,
    /// Packages that a running request is about to use, with how many such requests there are.
    pins: Mutex<HashMap<CodeHash, usize>>,
    /// One of these is held while a package of that stripe is extracted or removed. Only blocking threads take them.
    stripes: [Mutex<()>; 16],
    /// Whether packages are to outlive the machine's next crash.
    durable: bool,
    /// Makes the directory go away with the store, or when it is closed.
    ephemeral: Mutex<Option<EphemeralDirectory>>,
}

impl CodeStore {
    /// Opens the directory, making it if need be. `unzipped_limit` is in bytes.
    ///
    /// # Errors
    /// If the directory cannot be made.
    pub fn open(root: PathBuf, unzipped_limit: u64) -> Result<Arc<Self>, CodeError> {
        fs::create_dir_all(&root).map_err(io_error("create", &root))?;
        Ok(Arc::new(Self::new(root, unzipped_limit, None)))
    }

    /// A new directory below `parent` that is removed with the store, or after a crash by the next one to start.
    ///
    /// # Errors
    /// If the directory cannot be made.
    pub fn ephemeral(parent: &Path, unzipped_limit: u64) -> Result<Arc<Self>, CodeError> {
        let directory =
            EphemeralDirectory::create(parent).map_err(io_error("create a directory in", parent))?;
        open_up(directory.path())?;
        Ok(Arc::new(Self::new(directory.path().to_owned(), unzipped_limit, Some(directory))))
    }

    fn new(root: PathBuf, unzipped_limit: u64, ephemeral: Option<EphemeralDirectory>) -> Self {
        Self {
            root,
            unzipped_limit,
            pins: Mutex::default(),
            stripes: Default::default(),
            durable: ephemeral.is_none(),
            ephemeral: Mutex::new(ephemeral),
        }
    }

    /// Keeps a package, unless it is there already. It stays at least as long as the answer lives.
    ///
    /// # Errors
    /// If the package is refused or cannot be written. Then nothing is kept.
    pub async fn put(self: &Arc<Self>, package: Bytes) -> Result<Pinned, CodeError> {
        let store = Arc::clone(self);
        blocking(move || {
            let hash = CodeHash::of(&package);
            // Pinned before the stripe is taken: from here on `collect` lets it be.
            let pinned = Pinned::new(store, hash, package.len() as u64);
            pinned.store.insert(&hash, &package)?;
            Ok(pinned)
        })
        .await
    }

    /// The package as it was uploaded, if it is there.
    pub fn archive(&self, hash: &CodeHash) -> Option<PathBuf> {
        let path = self.directory(hash).join("archive.zip");
        path.is_file().then_some(path)
    }

    /// The extracted package.
    pub fn content(&self, hash: &CodeHash) -> PathBuf {
        self.directory(hash).join("content")
    }

    /// Removes a package that is neither in use nor pinned.
    ///
    /// # Errors
    /// If it cannot be removed; the next start tries again.
    pub async fn collect(
        self: &Arc<Self>,
        hash: CodeHash,
        in_use: impl FnOnce(&CodeHash) -> bool + Send + 'static,
    ) -> Result<(), CodeError> {
        let store = Arc::clone(self);
        blocking(move || {
            let trash = store.root.join(format!("{TRASH}{}", uuid::Uuid::new_v4()));
            {
                let _stripe = store.stripe(&hash);
                if store.pinned(&hash) || in_use(&hash) {
                    return Ok(());
                }
                let directory = store.directory(&hash);
                match fs::rename(&directory, &trash) {
                    Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
                    renamed => renamed.map_err(io_error("remove", &directory))?,
                }
            }
            fs::remove_dir_all(&trash).map_err(io_error("remove", &trash))
        })
        .await
    }

    /// Removes everything that is not in use: to be called at start, before there are requests.
    ///
    /// # Errors
    /// If the directory cannot be read, or something in it not be removed.
    pub async fn collect_all(
        self: &Arc<Self>,
        in_use: impl Fn(&CodeHash) -> bool + Send + 'static,
    ) -> Result<(), CodeError> {
        let store = Arc::clone(self);
        blocking(move || {
            for entry in fs::read_dir(&store.root).map_err(io_error("read", &store.root))? {
                let entry = entry.map_err(io_error("read", &store.root))?;
                let name = entry.file_name();
                let hash = name.to_str().and_then(|name| name.parse().ok());
                let rubbish = match hash {
                    Some(hash) => !in_use(&hash),
                    // Only our own leavings: what someone else put here is theirs.
                    None => {
                        name.to_str().is_some_and(|name| name.starts_with(PARTIAL) || name.starts_with(TRASH))
                    }
                };
                if rubbish {
                    fs::remove_dir_all(entry.path()).map_err(io_error("remove", &entry.path()))?;
                }
            }
            Ok(())
        })
        .await
    }

    /// Removes an ephemeral store's directory: whoever else holds the store cannot keep it from going.
    pub(crate) async fn close(self: &Arc<Self>) {
        let store = Arc::clone(self);
        let closed = blocking(move || {
            let directory = store.ephemeral.lock().unwrap_or_else(PoisonError::into_inner).take();
            directory.map_or(Ok(()), EphemeralDirectory::remove).map_err(io_error("remove", &store.root))
        });
        if let Err(error) = closed.await {
            tracing::warn!(
                error = &error as &dyn std::error::Error,
                "failed to remove the temporary packages"
            );
        }
    }

    fn insert(&self, hash: &CodeHash, package: &[u8]) -> Result<(), CodeError> {
        let _stripe = self.stripe(hash);
        let directory = self.directory(hash);
        if directory.is_dir() {
            return Ok(());
        }
        let partial = self.root.join(format!("{PARTIAL}{}", uuid::Uuid::new_v4()));
        let written = self.write(&partial, package).and_then(|()| {
            fs::rename(&partial, &directory).map_err(io_error("rename", &partial))?;
            if self.durable { sync(&self.root) } else { Ok(()) }
        });
        if written.is_err() {
            // Best effort: what stays behind goes at the next start.
            let _ = fs::remove_dir_all(&partial);
        }
        written
    }

    fn write(&self, partial: &Path, package: &[u8]) -> Result<(), CodeError> {
        let content = partial.join("content");
        for directory in [partial, &content] {
            fs::create_dir(directory).map_err(io_error("create", directory))?;
            open_up(directory)?;
        }
        archive::extract(package, &content, self.unzipped_limit, self.durable)?;
        let path = partial.join("archive.zip");
        let mut file = File::create(&path).map_err(io_error("create", &path))?;
        file.write_all(package).map_err(io_error("write", &path))?;
        if self.durable {
            file.sync_all().map_err(io_error("flush", &path))?;
            sync(partial)?;
        }
        Ok(())
    }

    fn directory(&self, hash: &CodeHash) -> PathBuf {
        self.root.join(hash.to_string())
    }

    fn stripe(&self, hash: &CodeHash) -> std::sync::MutexGuard<'_, ()> {
        // Nothing is guarded but the directory, which a panic leaves as a crash would: whole or absent.
        self.stripes[hash.stripe(self.stripes.len())].lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn pinned(&self, hash: &CodeHash) -> bool {
        self.pins.lock().unwrap_or_else(PoisonError::into_inner).contains_key(hash)
    }
}

/// Names of directories that are being written, and of such that are being removed.
const PARTIAL: &str = ".partial-";
const TRASH: &str = ".trash-";

/// A package that stays where it is for as long as this lives.
#[derive(Debug)]
pub struct Pinned {
    store: Arc<CodeStore>,
    hash: CodeHash,
    size: u64,
}

impl Pinned {
    fn new(store: Arc<CodeStore>, hash: CodeHash, size: u64) -> Self {
        *store.pins.lock().unwrap_or_else(PoisonError::into_inner).entry(hash).or_default() += 1;
        Self { store, hash, size }
    }

    /// The package's hash.
    pub fn hash(&self) -> CodeHash {
        self.hash
    }

    /// Size of the archive, in bytes.
    pub fn size(&self) -> u64 {
        self.size
    }
}

impl Drop for Pinned {
    fn drop(&mut self) {
        let mut pins = self.store.pins.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(count) = pins.get_mut(&self.hash) {
            *count -= 1;
            if *count == 0 {
                pins.remove(&self.hash);
            }
        }
    }
}

/// Runs what blocks on a thread for that.
async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, CodeError> + Send + 'static,
) -> Result<T, CodeError> {
    match tokio::task::spawn_blocking(work).await {
        Ok(result) => result,
        Err(error) => match error.try_into_panic() {
            Ok(panic) => std::panic::resume_unwind(panic),
            // Cancelled: the runtime is going away, and with it whoever waits.
            Err(_) => std::future::pending().await,
        },
    }
}

/// Lets everyone read a directory, whatever the umask: functions may run as another user.
fn open_up(directory: &Path) -> Result<(), CodeError> {
    fs::set_permissions(directory, Permissions::from_mode(0o755)).map_err(io_error("open up", directory))
}

fn sync(directory: &Path) -> Result<(), CodeError> {
    File::open(directory).and_then(|file| file.sync_all()).map_err(io_error("flush", directory))
}

fn io_error(step: &'static str, path: &Path) -> impl FnOnce(io::Error) -> CodeError {
    let path = path.to_owned();
    move |source| CodeError::Io { step, path, source }
}

#[cfg(test)]
mod tests {
    use std::io::Cursor;

    use zip::{ZipWriter, write::SimpleFileOptions};

    use super::*;

    fn package(text: &str) -> Bytes {
        let mut writer = ZipWriter::new(Cursor::new(Vec::new()));
        writer.start_file("index.py", SimpleFileOptions::default()).unwrap();
        writer.write_all(text.as_bytes()).unwrap();
        writer.finish().unwrap().into_inner().into()
    }

    fn entries(directory: &Path) -> Vec<String> {
        let mut names: Vec<_> = fs::read_dir(directory)
            .unwrap()
            .map(|entry| entry.unwrap().file_name().into_string().unwrap())
            .collect();
        names.sort();
        names
    }

    #[tokio::test]
    async fn package_is_kept_as_archive_and_as_content() {
        let root = tempfile::tempdir().unwrap();
        let store = CodeStore::open(root.path().join("code"), 1000).unwrap();
        let package = package("print()");
        let pinned = store.put(package.clone()).await.unwrap();
        let hash = pinned.hash();
        assert_eq!(hash, CodeHash::of(&package));
        assert_eq!(pinned.size(), package.len() as u64);
        assert_eq!(fs::read(store.archive(&hash).unwrap()).unwrap(), package);
        assert_eq!(fs::read(store.content(&hash).join("index.py")).unwrap(), b"print()");
        assert_eq!(entries(&root.path().join("code")), [hash.to_string()]);
    }

    #[tokio::test]
    async fn same_package_is_extracted_once() {
        let root = tempfile::tempdir().unwrap();
        let store = CodeStore::open(root.path().to_owned(), 1000).unwrap();
        let package = package("1");
        let (first, second) = tokio::join!(store.put(package.clone()), store.put(package.clone()));
        let hash = first.unwrap().hash();
        // A second extraction would bring the file back.
        fs::remove_file(store.content(&hash).join("index.py")).unwrap();
        assert_eq!(second.unwrap().hash(), hash);
        store.put(package).await.unwrap();
        assert_eq!(entries(&store.content(&hash)), [""; 0]);
    }

    #[tokio::test]
    async fn refused_package_leaves_nothing_behind() {
        let root = tempfile::tempdir().unwrap();
        let store = CodeStore::open(root.path().to_owned(), 3).unwrap();
        let error = store.put(package("four")).await.unwrap_err();
        assert!(matches!(error, CodeError::Archive(ArchiveError::TooLarge { limit: 3 })), "{error:?}");
        let error = store.put(Bytes::from_static(b"PK")).await.unwrap_err();
        assert!(matches!(error, CodeError::Archive(ArchiveError::Malformed(_))), "{error:?}");
        assert_eq!(entries(root.path()), [""; 0]);
    }

    #[tokio::test]
    async fn only_unused_and_unpinned_packages_are_collected() {
        let root = tempfile::tempdir().unwrap();
        let store = CodeStore::open(root.path().to_owned(), 1000).unwrap();
        let pinned = store.put(package("1")).await.unwrap();
        let hash = pinned.hash();

        store.collect(hash, |_| false).await.unwrap();
        assert!(store.archive(&hash).is_some(), "pinned");
        drop(pinned);
        store.collect(hash, |_| true).await.unwrap();
        assert!(store.archive(&hash).is_some(), "in use");
        store.collect(hash, |_| false).await.unwrap();
        assert_eq!(entries(root.path()), [""; 0]);
        store.collect(hash, |_| false).await.unwrap();
    }

    #[tokio::test]
    async fn start_removes_leavings_and_nothing_foreign() {
        let root = tempfile::tempdir().unwrap();
        let store = CodeStore::open(root.path().to_owned(), 1000).unwrap();
        let used = store.put(package("1")).await.unwrap().hash();
        let unused = store.put(package("2")).await.unwrap().hash();
        for name in [".partial-x", ".trash-y", "notes"] {
            fs::create_dir(root.path().join(name)).unwrap();
        }
        store.collect_all(move |hash| *hash == used).await.unwrap();
        let mut expected = [used.to_string(), "notes".to_owned()];
        expected.sort();
        assert_eq!(entries(root.path()), expected, "{unused} is gone");
    }

    #[tokio::test]
    async fn ephemeral_directory_goes_with_the_store() {
        let parent = tempfile::tempdir().unwrap();
        let store = CodeStore::ephemeral(parent.path(), 1000).unwrap();
        let pinned = store.put(package("1")).await.unwrap();
        assert!(store.content(&pinned.hash()).starts_with(parent.path()));
        drop((store, pinned));
        assert_eq!(entries(parent.path()), [""; 0]);
    }
}
