//! Archives of small trees. Must not look at compressed bytes, only at what comes out.

use std::io::Read as _;

use super::*;

fn project() -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    for name in [
        "b.py",
        "a.py",
        "bootstrap",
        ".git/config",
        ".venv/bin/python",
        "__pycache__/a.pyc",
        "node_modules/.cache/x",
        "node_modules/left/index.js",
        "lib/.hidden",
    ] {
        let path = folder.path().join(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, name).unwrap();
    }
    let executable = fs::Permissions::from_mode(0o750);
    fs::set_permissions(folder.path().join("bootstrap"), executable).unwrap();
    std::os::unix::fs::symlink("a.py", folder.path().join("linked.py")).unwrap();
    folder
}

fn listing(archive: Vec<u8>) -> Vec<String> {
    let mut archive = zip::ZipArchive::new(Cursor::new(archive)).unwrap();
    (0..archive.len())
        .map(|index| {
            let mut file = archive.by_index(index).unwrap();
            let mut contents = String::new();
            file.read_to_string(&mut contents).unwrap();
            format!("{:o} {} {contents}", file.unix_mode().unwrap(), file.name())
        })
        .collect()
}

#[test]
fn an_archive_has_what_the_function_needs_and_its_executable_bits() {
    let folder = project();
    let archive = pack(&Code::Folder(folder.path().to_owned())).unwrap().unwrap();
    assert_eq!(
        listing(archive),
        [
            "100644 a.py a.py",
            "100644 b.py b.py",
            "100755 bootstrap bootstrap",
            "100644 lib/.hidden lib/.hidden",
            "100644 linked.py a.py",
            "100644 node_modules/left/index.js node_modules/left/index.js",
        ]
    );
}

#[test]
fn the_same_files_give_the_same_bytes() {
    let pack_one = || {
        let folder = project();
        pack(&Code::Folder(folder.path().to_owned())).unwrap().unwrap()
    };
    assert_eq!(pack_one(), pack_one());
}

#[test]
fn a_link_back_to_its_own_folder_ends() {
    let folder = tempfile::tempdir().unwrap();
    std::os::unix::fs::symlink(".", folder.path().join("again")).unwrap();
    let error = pack(&Code::Folder(folder.path().to_owned())).unwrap_err();
    assert!(matches!(error, PackageError::TooDeep { .. } | PackageError::Read { .. }), "{error}");
}
