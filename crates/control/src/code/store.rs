//! The directory of packages, addressed by content: `<hash>/archive.zip` beside its extracted `<hash>/content/`.
//!
//! A function's layers, merged, are such a package too, without archive. Its hash is that of the list of layers.
//! A package is there completely or not at all. Archives are flushed before anyone hears of them; what is extracted is
//! flushed later, and until then `<hash>/extracted` names the start of the machine that it has to be found in: after
//! another one it is extracted again.
//! Must not remove a package that is in use or pinned.

use std::{
    collections::{HashMap, HashSet},
    fs::{self, File, Permissions},
    io::{self, Write},
    os::unix::fs::PermissionsExt,
    path::{Path, PathBuf},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    thread,
};

use bytes::Bytes;
use tokio::sync::Notify;

use super::{
    CodeHash,
    archive::{self, ArchiveError},
    ephemeral::EphemeralDirectory,
    overlay::{self, OverlayError},
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
    /// The machine's present start, if packages are to outlive its end.
    boot: Option<String>,
    /// What was extracted and not flushed since.
    unflushed: Mutex<HashSet<CodeHash>>,
    /// Told when there is something to flush.
    extracted: Notify,
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
            boot: ephemeral.is_none().then(boot),
            unflushed: Mutex::default(),
            extracted: Notify::new(),
            ephemeral: Mutex::new(ephemeral),
        }
    }

    /// Keeps a package, unless it is there already. It stays at least as long as the answer lives.
    ///
    /// # Errors
    /// If the package is refused or cannot be written. Then nothing is kept.
    pub async fn put(self: &Arc<Self>, package: Bytes) -> Result<Stored, CodeError> {
        let store = Arc::clone(self);
        blocking(move || {
            let hash = CodeHash::of(&package);
            // Pinned before the stripe is taken: from here on `collect` lets it be.
            let pinned = store.pin(hash);
            let extracted = store.insert(&hash, |partial| store.write(partial, &hash, &package))?;
            let unzipped_size = match extracted {
                Some(size) => size,
                None => archive::unzipped_size(&package)?,
            };
            Ok(Stored { pinned, size: package.len() as u64, unzipped_size })
        })
        .await
    }

    /// Keeps what these packages are together, lowest first, unless it is there already. The packages and the whole
    /// stay at least as long as the answer lives. There is none if one of the packages is not there.
    ///
    /// # Errors
    /// If they cannot be merged.
    pub async fn merge(self: &Arc<Self>, packages: Vec<CodeHash>) -> Result<Option<Vec<Pinned>>, CodeError> {
        let store = Arc::clone(self);
        blocking(move || {
            let mut pins = Vec::with_capacity(packages.len() + 1);
            for hash in &packages {
                pins.push(store.pin(*hash));
                // Whoever was about to remove it when it was pinned has done so when the stripe is free.
                let _stripe = store.stripe(hash);
                if !store.holds(hash) {
                    return Ok(None);
                }
            }
            if packages.len() > 1
                && let Some(whole) = CodeHash::of_all(&packages)
            {
                pins.push(store.pin(whole));
                store.insert(&whole, |partial| store.write_merged(partial, &packages))?;
            }
            Ok(Some(pins))
        })
        .await
    }

    /// From now on a package stays where it is, if it is there, until the answer is dropped.
    pub fn pin(self: &Arc<Self>, hash: CodeHash) -> Pinned {
        *self.pins.lock().unwrap_or_else(PoisonError::into_inner).entry(hash).or_default() += 1;
        Pinned { store: Arc::clone(self), hash }
    }

    /// The package as it was uploaded, if it is there.
    pub fn archive(&self, hash: &CodeHash) -> Option<PathBuf> {
        let path = self.directory(hash).join(ARCHIVE);
        path.is_file().then_some(path)
    }

    /// Whether a package is there, uploaded or merged.
    pub fn holds(&self, hash: &CodeHash) -> bool {
        self.content(hash).is_dir()
    }

    /// The extracted package.
    pub fn content(&self, hash: &CodeHash) -> PathBuf {
        self.directory(hash).join(CONTENT)
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

    /// Extracts packages again of which the end of the machine may have left anything: to be called at start, before
    /// something runs. Those that cannot be are gone then, until another start has more luck. Blocks.
    pub(crate) fn repair(&self, in_use: impl IntoIterator<Item = CodeHash>) {
        for hash in in_use {
            let Some(archive) = self.archive(&hash).filter(|_| !self.is_sound(&hash)) else { continue };
            tracing::info!(%hash, "extracting a package again: the machine went down before it was on the disk");
            if let Err(error) = self.extract_again(&hash, &archive) {
                tracing::warn!(%hash, error = &error as &dyn std::error::Error, "failed to extract a package again");
                // Half a package is none.
                let _ = fs::remove_dir_all(self.content(&hash));
            }
        }
    }

    fn extract_again(&self, hash: &CodeHash, archive: &Path) -> Result<(), CodeError> {
        let directory = self.directory(hash);
        let package = fs::read(archive).map_err(io_error("read", archive))?;
        if CodeHash::of(&package) != *hash {
            return Err(io_error("read", archive)(io::ErrorKind::InvalidData.into()));
        }
        let content = directory.join(CONTENT);
        match fs::remove_dir_all(&content) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            removed => removed.map_err(io_error("remove", &content))?,
        }
        make_directory(&content)?;
        archive::extract(&package, &content, self.unzipped_limit)?;
        self.mark_extracted(&directory, hash)
    }

    /// Whether what is extracted is what was extracted.
    fn is_sound(&self, hash: &CodeHash) -> bool {
        let Some(boot) = &self.boot else { return true };
        let mark = fs::read_to_string(self.directory(hash).join(EXTRACTED)).unwrap_or_default();
        mark == FLUSHED || mark == *boot
    }

    /// Waits until there is something to flush.
    pub(crate) async fn extracted(&self) {
        self.extracted.notified().await;
    }

    /// Brings all that was extracted to the disk, so that it need not be extracted again.
    ///
    /// # Errors
    /// If that cannot be done.
    pub(crate) async fn flush(self: &Arc<Self>) -> Result<(), CodeError> {
        let store = Arc::clone(self);
        blocking(move || {
            let extracted = std::mem::take(&mut *store.unflushed());
            flush_file_system(&store.root)?;
            for hash in extracted {
                let _stripe = store.stripe(&hash);
                let mark = store.directory(&hash).join(EXTRACTED);
                // It may have gone meanwhile, and come again.
                if mark.is_file() && !store.unflushed().contains(&hash) {
                    fs::write(&mark, FLUSHED).map_err(io_error("write", &mark))?;
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

    /// What `write` returned, unless the package is there already.
    fn insert<T>(
        &self,
        hash: &CodeHash,
        write: impl FnOnce(&Path) -> Result<T, CodeError>,
    ) -> Result<Option<T>, CodeError> {
        let _stripe = self.stripe(hash);
        let directory = self.directory(hash);
        if directory.is_dir() {
            return Ok(None);
        }
        let partial = self.root.join(format!("{PARTIAL}{}", uuid::Uuid::new_v4()));
        let written = write(&partial).and_then(|written| {
            fs::rename(&partial, &directory).map_err(io_error("rename", &partial))?;
            if self.boot.is_some() {
                sync(&self.root)?;
            }
            Ok(Some(written))
        });
        if written.is_err() {
            // Best effort: what stays behind goes at the next start.
            let _ = fs::remove_dir_all(&partial);
        }
        written
    }

    /// Returns the size of the content, in bytes.
    fn write(&self, partial: &Path, hash: &CodeHash, package: &[u8]) -> Result<u64, CodeError> {
        let content = make_content(partial)?;
        let keep = || self.write_archive(partial, package);
        let size = thread::scope(|scope| {
            // The disk takes its time with the archive, the processors with what is in it.
            let kept = thread::Builder::new().spawn_scoped(scope, keep);
            let size = archive::extract(package, &content, self.unzipped_limit);
            match kept.map(thread::ScopedJoinHandle::join) {
                Ok(Ok(kept)) => kept?,
                Ok(Err(panic)) => std::panic::resume_unwind(panic),
                // There are too many threads.
                Err(_) => keep()?,
            }
            Ok::<_, CodeError>(size?)
        })?;
        self.mark_extracted(partial, hash)?;
        Ok(size)
    }

    fn write_archive(&self, partial: &Path, package: &[u8]) -> Result<(), CodeError> {
        let path = partial.join(ARCHIVE);
        let mut file = File::create(&path).map_err(io_error("create", &path))?;
        file.write_all(package).map_err(io_error("write", &path))?;
        if self.boot.is_some() {
            file.sync_all().map_err(io_error("flush", &path))?;
            sync(partial)?;
        }
        Ok(())
    }

    /// Says that a package's directory is complete, for as long as the machine does not go down.
    fn mark_extracted(&self, directory: &Path, hash: &CodeHash) -> Result<(), CodeError> {
        let Some(boot) = &self.boot else { return Ok(()) };
        self.unflushed().insert(*hash);
        let mark = directory.join(EXTRACTED);
        fs::write(&mark, boot).map_err(io_error("write", &mark))?;
        self.extracted.notify_one();
        Ok(())
    }

    fn write_merged(&self, partial: &Path, packages: &[CodeHash]) -> Result<(), CodeError> {
        let content = make_content(partial)?;
        let sources: Vec<_> = packages.iter().map(|hash| self.content(hash)).collect();
        overlay::merge(&sources, &content).map_err(|OverlayError { path, source }| CodeError::Io {
            step: "merge",
            path,
            source,
        })?;
        // Without an archive it could not be made again. Links are changes of directories, of which there are many.
        if self.boot.is_some() { flush_file_system(partial) } else { Ok(()) }
    }

    fn directory(&self, hash: &CodeHash) -> PathBuf {
        self.root.join(hash.to_string())
    }

    fn stripe(&self, hash: &CodeHash) -> MutexGuard<'_, ()> {
        // Nothing is guarded but the directory, which a panic leaves as a crash would: whole or absent.
        self.stripes[hash.stripe(self.stripes.len())].lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn unflushed(&self) -> MutexGuard<'_, HashSet<CodeHash>> {
        self.unflushed.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn pinned(&self, hash: &CodeHash) -> bool {
        self.pins.lock().unwrap_or_else(PoisonError::into_inner).contains_key(hash)
    }
}

/// What is in a package's directory.
const ARCHIVE: &str = "archive.zip";
const CONTENT: &str = "content";
/// Says when it was extracted: in which start of the machine, or long ago.
const EXTRACTED: &str = "extracted";
const FLUSHED: &str = "flushed";

/// Names of directories that are being written, and of such that are being removed.
const PARTIAL: &str = ".partial-";
const TRASH: &str = ".trash-";

/// A package that was put into the store.
#[derive(Debug)]
pub struct Stored {
    /// Keeps it there.
    pub pinned: Pinned,
    /// Size of the archive, in bytes.
    pub size: u64,
    /// Size of its content, in bytes.
    pub unzipped_size: u64,
}

/// A package that stays where it is for as long as this lives.
#[derive(Debug)]
pub struct Pinned {
    store: Arc<CodeStore>,
    hash: CodeHash,
}

impl Pinned {
    /// The package's hash.
    pub fn hash(&self) -> CodeHash {
        self.hash
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

/// The machine's present start. Where the kernel does not tell, every start of the service is one.
fn boot() -> String {
    let told = fs::read_to_string("/proc/sys/kernel/random/boot_id");
    told.map_or_else(|_| uuid::Uuid::new_v4().to_string(), |id| id.trim().to_owned())
}

/// Makes a package's directory, with an empty one for its content.
fn make_content(partial: &Path) -> Result<PathBuf, CodeError> {
    let content = partial.join(CONTENT);
    make_directory(partial)?;
    make_directory(&content)?;
    Ok(content)
}

fn make_directory(directory: &Path) -> Result<(), CodeError> {
    fs::create_dir(directory).map_err(io_error("create", directory))?;
    open_up(directory)
}

/// Lets everyone read a directory, whatever the umask: functions may run as another user.
fn open_up(directory: &Path) -> Result<(), CodeError> {
    fs::set_permissions(directory, Permissions::from_mode(0o755)).map_err(io_error("open up", directory))
}

fn sync(directory: &Path) -> Result<(), CodeError> {
    File::open(directory).and_then(|file| file.sync_all()).map_err(io_error("flush", directory))
}

fn flush_file_system(directory: &Path) -> Result<(), CodeError> {
    File::open(directory)
        .and_then(|directory| Ok(rustix::fs::syncfs(&directory)?))
        .map_err(io_error("flush the file system of", directory))
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
        let stored = store.put(package.clone()).await.unwrap();
        let hash = stored.pinned.hash();
        assert_eq!(hash, CodeHash::of(&package));
        assert_eq!((stored.size, stored.unzipped_size), (package.len() as u64, 7));
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
        let hash = first.unwrap().pinned.hash();
        // A second extraction would bring the file back.
        fs::remove_file(store.content(&hash).join("index.py")).unwrap();
        assert_eq!(second.unwrap().pinned.hash(), hash);
        assert_eq!(store.put(package).await.unwrap().unzipped_size, 1);
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
        let pinned = store.put(package("1")).await.unwrap().pinned;
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
        let used = store.put(package("1")).await.unwrap().pinned.hash();
        let unused = store.put(package("2")).await.unwrap().pinned.hash();
        for name in [".partial-x", ".trash-y", "notes"] {
            fs::create_dir(root.path().join(name)).unwrap();
        }
        store.collect_all(move |hash| *hash == used).await.unwrap();
        let mut expected = [used.to_string(), "notes".to_owned()];
        expected.sort();
        assert_eq!(entries(root.path()), expected, "{unused} is gone");
    }

    #[tokio::test]
    async fn merged_packages_are_a_package_of_their_own() {
        let root = tempfile::tempdir().unwrap();
        let store = CodeStore::open(root.path().to_owned(), 1000).unwrap();
        let mut packages = Vec::new();
        for text in ["1", "2"] {
            packages.push(store.put(package(text)).await.unwrap().pinned.hash());
        }
        let merged = CodeHash::of_all(&packages).unwrap();
        let pins = store.merge(packages.clone()).await.unwrap().unwrap();
        assert_eq!(fs::read(store.content(&merged).join("index.py")).unwrap(), b"2");
        assert_eq!(store.archive(&merged), None, "nobody uploaded it");
        for hash in packages.iter().chain([&merged]) {
            store.collect(*hash, |_| false).await.unwrap();
        }
        assert_eq!(entries(root.path()).len(), 3, "all are pinned");
        drop(pins);
        store.collect(packages[0], |_| false).await.unwrap();
        assert_eq!(
            fs::read(store.content(&merged).join("index.py")).unwrap(),
            b"2",
            "does not need its parts"
        );
        assert!(store.merge(packages).await.unwrap().is_none(), "one of the packages is gone");
    }

    #[tokio::test]
    async fn one_package_needs_no_merging() {
        let root = tempfile::tempdir().unwrap();
        let store = CodeStore::open(root.path().to_owned(), 1000).unwrap();
        let pinned = store.put(package("1")).await.unwrap().pinned;
        let pins = store.merge(vec![pinned.hash()]).await.unwrap().unwrap();
        assert_eq!(pins.iter().map(Pinned::hash).collect::<Vec<_>>(), [pinned.hash()]);
        assert_eq!(entries(root.path()), [pinned.hash().to_string()]);
    }

    /// A store with one package, of which this much is said.
    async fn marked(root: &Path, mark: Option<&str>) -> (Arc<CodeStore>, CodeHash) {
        let store = CodeStore::open(root.to_owned(), 1000).unwrap();
        let hash = store.put(package("whole")).await.unwrap().pinned.hash();
        let path = root.join(hash.to_string()).join(EXTRACTED);
        match mark {
            Some(mark) => fs::write(path, mark).unwrap(),
            None => fs::remove_file(path).unwrap(),
        }
        fs::write(store.content(&hash).join("index.py"), "half").unwrap();
        (CodeStore::open(root.to_owned(), 1000).unwrap(), hash)
    }

    #[tokio::test]
    async fn what_the_machine_may_have_lost_is_extracted_again() {
        for (mark, expected) in
            [(Some("another start"), "whole"), (Some(""), "whole"), (None, "whole"), (Some(FLUSHED), "half")]
        {
            let root = tempfile::tempdir().unwrap();
            let (store, hash) = marked(root.path(), mark).await;
            fs::write(store.content(&hash).join("rubbish"), "").unwrap();
            store.repair([hash]);
            let content = store.content(&hash);
            assert_eq!(fs::read_to_string(content.join("index.py")).unwrap(), expected, "{mark:?}");
            assert_eq!(content.join("rubbish").exists(), expected == "half", "{mark:?}");
        }
    }

    #[tokio::test]
    async fn what_only_the_service_did_not_survive_is_not_extracted_again() {
        let root = tempfile::tempdir().unwrap();
        let (store, hash) = marked(root.path(), Some(&boot())).await;
        store.repair([hash]);
        assert_eq!(fs::read_to_string(store.content(&hash).join("index.py")).unwrap(), "half");
    }

    #[tokio::test]
    async fn interrupted_repair_begins_anew() {
        let root = tempfile::tempdir().unwrap();
        let (store, hash) = marked(root.path(), Some("another start")).await;
        fs::remove_dir_all(store.content(&hash)).unwrap();
        store.repair([hash]);
        assert_eq!(fs::read_to_string(store.content(&hash).join("index.py")).unwrap(), "whole");
        assert!(store.is_sound(&hash));
    }

    #[tokio::test]
    async fn package_whose_archive_is_damaged_is_gone_rather_than_half_there() {
        let root = tempfile::tempdir().unwrap();
        let (store, hash) = marked(root.path(), Some("another start")).await;
        fs::write(store.archive(&hash).unwrap(), package("other")).unwrap();
        store.repair([hash]);
        assert!(!store.holds(&hash));
    }

    #[tokio::test]
    async fn flushed_packages_outlive_the_machine() {
        let root = tempfile::tempdir().unwrap();
        let store = CodeStore::open(root.path().to_owned(), 1000).unwrap();
        let hash = store.put(package("1")).await.unwrap().pinned.hash();
        let mark = || fs::read_to_string(root.path().join(hash.to_string()).join(EXTRACTED)).unwrap();
        assert_eq!(mark(), boot());
        store.extracted().await;
        store.flush().await.unwrap();
        assert_eq!(mark(), FLUSHED);
        // One that is gone again is no matter.
        let gone = store.put(package("2")).await.unwrap().pinned.hash();
        store.collect(gone, |_| false).await.unwrap();
        store.flush().await.unwrap();
        assert_eq!(entries(root.path()), [hash.to_string()]);
    }

    /// A small file system, which is gone with the value.
    struct SmallDisk(tempfile::TempDir);

    impl SmallDisk {
        fn mount() -> Option<Self> {
            let directory = tempfile::tempdir().unwrap();
            let options = c"size=1m";
            let none = rustix::mount::MountFlags::empty();
            rustix::mount::mount("tmpfs", directory.path(), "tmpfs", none, options).ok()?;
            Some(Self(directory))
        }
    }

    impl Drop for SmallDisk {
        fn drop(&mut self) {
            let _ = rustix::mount::unmount(self.0.path(), rustix::mount::UnmountFlags::DETACH);
        }
    }

    #[tokio::test]
    async fn full_disk_leaves_nothing_behind_and_is_no_fault_of_the_package() {
        let Some(disk) = SmallDisk::mount() else {
            eprintln!("skipped: only root may mount a small file system");
            return;
        };
        let store = CodeStore::open(disk.0.path().to_owned(), 100 << 20).unwrap();
        // One whose content is too large, and one whose archive is.
        let mut random = fastrand::Rng::with_seed(1);
        let noise: String = std::iter::repeat_with(|| random.alphanumeric()).take(4 << 20).collect();
        for text in ["x".repeat(4 << 20), noise] {
            let error = store.put(package(&text)).await.unwrap_err();
            let full = match &error {
                CodeError::Archive(ArchiveError::Write { source, .. }) | CodeError::Io { source, .. } => {
                    source.kind()
                }
                CodeError::Archive(other) => panic!("{other:?}"),
            };
            assert_eq!(full, io::ErrorKind::StorageFull);
            assert_eq!(entries(disk.0.path()), [""; 0]);
        }
        store.put(package("small")).await.unwrap();
    }

    #[tokio::test]
    async fn ephemeral_directory_goes_with_the_store() {
        let parent = tempfile::tempdir().unwrap();
        let store = CodeStore::ephemeral(parent.path(), 1000).unwrap();
        let pinned = store.put(package("1")).await.unwrap().pinned;
        assert!(store.content(&pinned.hash()).starts_with(parent.path()));
        drop((store, pinned));
        assert_eq!(entries(parent.path()), [""; 0]);
    }
}
