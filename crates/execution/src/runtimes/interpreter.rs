//! One interpreter of this machine: where it is, which release, and how it appears inside an environment.
//!
//! Must not choose between interpreters.

use std::{
    fmt, fs,
    path::{Path, PathBuf},
    process::{Command, Stdio},
    sync::OnceLock,
};

use super::{
    family::{Language, Line},
    plan::Mount,
};

/// A full version number.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Release {
    /// First number.
    pub major: u16,
    /// Second number.
    pub minor: u16,
    /// Third number, if it is known: a file named `python3.12` does not tell.
    pub patch: Option<u16>,
}

impl Release {
    /// Reads the numbers at the start of `text`; what follows them is returned too.
    pub(super) fn parse_start(text: &str) -> Option<(Self, &str)> {
        let end = text.find(|c: char| !c.is_ascii_digit() && c != '.').unwrap_or(text.len());
        let (numbers, rest) = text.split_at(end);
        let mut numbers = numbers.trim_end_matches('.').split('.');
        let major = numbers.next()?.parse().ok()?;
        let minor = numbers.next().and_then(|number| number.parse().ok()).unwrap_or(0);
        let patch = numbers.next().and_then(|number| number.parse().ok());
        Some((Self { major, minor, patch }, rest))
    }

    /// `1.8.0` is how Java 8 names itself.
    pub(super) fn java(self) -> Self {
        match self {
            Self { major: 1, minor, .. } => Self { major: minor, minor: 0, patch: None },
            modern => modern,
        }
    }
}

impl fmt::Display for Release {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}", self.major, self.minor)?;
        self.patch.map_or(Ok(()), |patch| write!(f, ".{patch}"))
    }
}

/// Where an interpreter was found. Earlier variants are preferred among equals.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Source {
    /// The user named it.
    Configured,
    /// In a version manager's directory.
    Manager(&'static str),
    /// In a directory of `PATH`, or where the system keeps its own.
    System,
}

impl fmt::Display for Source {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Configured => "configured",
            Self::Manager(name) => name,
            Self::System => "system",
        })
    }
}

/// An interpreter that can run functions.
#[derive(Debug, Clone)]
pub struct Interpreter {
    /// Language that it runs.
    pub language: Language,
    /// The real file, links and shims resolved.
    pub executable: PathBuf,
    /// Where it was found.
    pub source: Source,
    release: OnceLock<Option<Release>>,
}

impl Interpreter {
    pub(super) fn new(
        language: Language,
        executable: PathBuf,
        source: Source,
        release: Option<Release>,
    ) -> Self {
        let cell = OnceLock::new();
        if release.is_some() {
            cell.set(release).expect("the cell is new");
        }
        Self { language, executable, source, release: cell }
    }

    /// The version; `None` if the program does not tell.
    ///
    /// Where files did not tell, this runs the interpreter once: it may block for tens of milliseconds.
    pub fn release(&self) -> Option<Release> {
        *self.release.get_or_init(|| probe(self.language, &self.executable))
    }

    /// The release line, see [`Interpreter::release`].
    pub fn line(&self) -> Option<Line> {
        self.release().map(|release| self.language.line(release.major, release.minor))
    }

    /// The directory that the interpreter is installed in: the one with `bin`.
    pub fn prefix(&self) -> &Path {
        self.executable.parent().and_then(Path::parent).unwrap_or(Path::new("/"))
    }

    /// Where the executable is inside a sandbox, and what has to be mounted for it.
    ///
    /// `/usr` is in every sandbox. An installation elsewhere becomes `/var/lang`, as on AWS.
    pub(super) fn placement(&self) -> (PathBuf, Vec<Mount>) {
        let prefix = self.prefix();
        if prefix == Path::new("/") || self.executable.starts_with("/usr") {
            return (self.executable.clone(), self.links_out_of_usr());
        }
        // These trees find their libraries by absolute paths across packages, so they cannot be moved.
        if let Some(tree) = immovable_tree(&self.executable) {
            return (self.executable.clone(), vec![Mount { source: tree.clone(), target: tree }]);
        }
        let name = self.executable.file_name().expect("an executable has a name");
        let inside = Path::new("/var/lang/bin").join(name);
        if !self.owns_prefix() {
            return (inside.clone(), vec![Mount { source: self.executable.clone(), target: inside }]);
        }
        let mut mounts = vec![Mount { source: prefix.to_owned(), target: PathBuf::from("/var/lang") }];
        if self.has_shared_library() {
            // The path of libpython is compiled in. `LD_LIBRARY_PATH` names `/var/lang/lib` too, but customers may
            // set that variable, and on AWS the interpreter still starts then.
            let library = prefix.join("lib");
            mounts.push(Mount { source: library.clone(), target: library });
        }
        (inside, mounts)
    }

    /// Whether the prefix holds this installation only. `~/bin/node` must not bring the whole home directory along.
    fn owns_prefix(&self) -> bool {
        let marker = match self.language {
            Language::Python => "lib",
            Language::Node => "include/node",
            Language::Java => "release",
            Language::Ruby => "lib/ruby",
        };
        self.prefix().join(marker).exists()
    }

    /// Whether a shared libpython belongs to this interpreter.
    fn has_shared_library(&self) -> bool {
        let Some(release) = self.release().filter(|_| self.language == Language::Python) else {
            return false;
        };
        self.prefix().join(format!("lib/libpython{}.{}.so.1.0", release.major, release.minor)).exists()
    }

    /// Debian keeps a Java installation's settings and certificates under `/etc`, behind links.
    fn links_out_of_usr(&self) -> Vec<Mount> {
        if self.language != Language::Java {
            return Vec::new();
        }
        let links =
            ["conf", "conf/security/java.security", "lib/security/default.policy", "lib/security/cacerts"];
        let mut directories: Vec<PathBuf> = links
            .iter()
            .filter_map(|link| fs::canonicalize(self.prefix().join(link)).ok())
            .filter(|target| target.starts_with("/etc"))
            .filter_map(|target| {
                // `/etc/java-17-openjdk/security/…`: the package's directory. `/etc/ssl/certs/java/cacerts`: its own.
                let keep = if target.starts_with("/etc/ssl") { 5 } else { 3 };
                let directory: PathBuf = target.components().take(keep).collect();
                directory.is_dir().then_some(directory)
            })
            .collect();
        directories.sort();
        directories.dedup();
        directories
            .into_iter()
            .map(|directory| Mount { source: directory.clone(), target: directory })
            .collect()
    }
}

/// The root of a package tree whose members refer to one another by absolute paths: Nix, Homebrew.
fn immovable_tree(executable: &Path) -> Option<PathBuf> {
    if executable.starts_with("/nix/store") {
        return Some(PathBuf::from("/nix/store"));
    }
    let cellar = executable.ancestors().find(|ancestor| ancestor.ends_with("Cellar"))?;
    cellar.parent().map(Path::to_owned)
}

/// Asks the interpreter itself.
fn probe(language: Language, executable: &Path) -> Option<Release> {
    let arguments: &[&str] = match language {
        Language::Python => {
            &["-I", "-S", "-c", "import sys; print('.'.join(map(str, sys.version_info[:3])))"]
        }
        Language::Node => &["--version"],
        Language::Java => &["-version"],
        Language::Ruby => &["--disable=gems", "-e", "print RUBY_VERSION"],
    };
    let output = Command::new(executable).args(arguments).env_clear().stdin(Stdio::null()).output().ok()?;
    // Java prints `openjdk version "17.0.15" …` on standard error.
    let said = if language == Language::Java { output.stderr } else { output.stdout };
    let said = String::from_utf8_lossy(&said);
    let digits = said.find(|c: char| c.is_ascii_digit())?;
    let (release, _) = Release::parse_start(&said[digits..])?;
    Some(if language == Language::Java { release.java() } else { release })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn releases_are_read_from_the_start_of_a_text() {
        let (release, rest) = Release::parse_start("3.13.0rc2").unwrap();
        assert_eq!((release.to_string().as_str(), rest), ("3.13.0", "rc2"));
        let (release, rest) = Release::parse_start("3.15-dev").unwrap();
        assert_eq!((release.to_string().as_str(), rest), ("3.15", "-dev"));
        let (java, _) = Release::parse_start("1.8.0_402").unwrap();
        assert_eq!(java.java().major, 8);
        assert_eq!(Release::parse_start("latest"), None);
    }

    #[test]
    fn homebrew_and_nix_stay_where_they_are() {
        let brew = Path::new("/home/linuxbrew/.linuxbrew/Cellar/python@3.12/3.12.1/bin/python3.12");
        assert_eq!(immovable_tree(brew), Some(PathBuf::from("/home/linuxbrew/.linuxbrew")));
        let nix = Path::new("/nix/store/abc-python3/bin/python3.12");
        assert_eq!(immovable_tree(nix), Some(PathBuf::from("/nix/store")));
        assert_eq!(immovable_tree(Path::new("/opt/python/bin/python3.12")), None);
    }
}
