//! Archives of every kind, honest and not.

use std::{
    collections::BTreeMap,
    fs,
    io::{Cursor, Write},
    os::unix::fs::{MetadataExt, PermissionsExt},
};

use zip::{CompressionMethod, ZipWriter, write::SimpleFileOptions};

use super::{
    forge::{DOS, Ending, Forged, archive, archive_with},
    *,
};

const LIMIT: u64 = 5000;

fn extracted(package: &[u8]) -> Result<tempfile::TempDir, ArchiveError> {
    let root = tempfile::tempdir().unwrap();
    extract(package, root.path(), LIMIT).map(|_| root)
}

fn refused(package: &[u8]) -> ArchiveError {
    let root = tempfile::tempdir().unwrap();
    extract(package, root.path(), LIMIT).unwrap_err()
}

#[track_caller]
fn assert_misplaced(entries: &[Forged]) {
    let root = tempfile::tempdir().unwrap();
    let error = extract(&archive(entries), root.path(), LIMIT).unwrap_err();
    assert!(matches!(error, ArchiveError::Misplaced { .. }), "{error:?}");
    assert_eq!(fs::read_dir(root.path()).unwrap().count(), 0, "refused before anything was written");
}

fn mode(path: &Path) -> u32 {
    fs::symlink_metadata(path).unwrap().permissions().mode() & 0o7777
}

/// Paths with what they are.
pub(super) fn listing(root: &Path) -> BTreeMap<PathBuf, String> {
    fn list(root: &Path, below: &Path, listing: &mut BTreeMap<PathBuf, String>) {
        for entry in fs::read_dir(root.join(below)).unwrap() {
            let path = below.join(entry.unwrap().file_name());
            let place = root.join(&path);
            let metadata = fs::symlink_metadata(&place).unwrap();
            let (mode, time) = (metadata.mode() & 0o7777, metadata.mtime());
            let what = if metadata.is_dir() {
                list(root, &path, listing);
                // Its time is the present, if no entry names it.
                format!("directory {mode:o}")
            } else if metadata.is_symlink() {
                format!("link {:?}", fs::read_link(&place).unwrap())
            } else if metadata.is_file() {
                // As another user than root, the mode may be in the way of reading.
                let content = fs::read(&place).unwrap();
                format!("file {mode:o} {time} {:?}", String::from_utf8_lossy(&content))
            } else {
                format!("strange {:o}", metadata.mode())
            };
            listing.insert(path, what);
        }
    }
    let mut whole = BTreeMap::new();
    list(root, Path::new(""), &mut whole);
    whole
}

#[test]
fn archives_of_a_common_writer_are_read() {
    let mut writer = ZipWriter::new(Cursor::new(Vec::new()));
    let options = SimpleFileOptions::default();
    for method in [CompressionMethod::Stored, CompressionMethod::Deflated] {
        writer.start_file(format!("{method}"), options.compression_method(method)).unwrap();
        writer.write_all("text ".repeat(50).as_bytes()).unwrap();
    }
    writer.add_directory("lib/", options).unwrap();
    writer.start_file("lib/large", options.large_file(true).unix_permissions(0o755)).unwrap();
    writer.add_symlink("lib/link", "large", options).unwrap();
    let root = extracted(&writer.finish().unwrap().into_inner()).unwrap();
    for name in ["Stored", "Deflated"] {
        assert_eq!(fs::read_to_string(root.path().join(name)).unwrap(), "text ".repeat(50));
    }
    assert_eq!(mode(&root.path().join("lib/large")), 0o755);
    assert_eq!(fs::read_link(root.path().join("lib/link")).unwrap(), Path::new("large"));
}

#[test]
fn permissions_are_those_of_the_archive() {
    let cases = [
        ("plain", 0o100_644, 0o644),
        ("private", 0o100_600, 0o600),
        ("executable", 0o100_750, 0o750),
        ("type-is-missing", 0o755, 0o755),
        ("special-bits", 0o107_755, 0o755),
        // Its owner is the service, which has to read it; a function still cannot.
        ("nobody", 0o100_000, 0o400),
        ("made-elsewhere", 0, 0o644),
    ];
    let mut entries: Vec<_> =
        cases.iter().map(|(name, mode, _)| Forged::file(name, name).mode(*mode)).collect();
    entries.extend([
        Forged::directory("shut/").mode(0o040_500),
        Forged::file("shut/file", ""),
        Forged::directory("shared/").mode(0o043_777),
        Forged::directory("elsewhere/").mode(0),
        Forged::file("no/entry", ""),
    ]);
    let root = extracted(&archive(&entries)).unwrap();
    for (name, _, expected) in cases {
        assert_eq!(mode(&root.path().join(name)), expected, "{name}");
        assert_eq!(fs::read_to_string(root.path().join(name)).unwrap(), name);
    }
    let directories = [("shut", 0o700), ("shared", 0o777), ("elsewhere", 0o755), ("no", 0o755)];
    for (name, expected) in directories {
        assert_eq!(mode(&root.path().join(name)), expected, "{name}");
    }
}

#[test]
fn dates_are_those_of_the_archive() {
    let extended = [&[1][..], &1_700_000_001_u32.to_le_bytes()].concat();
    let root = extracted(&archive(&[
        // 2025-03-01 12:30:10.
        Forged::file("dos", ""),
        Forged::file("unix", "").extra(0x5455, &extended),
        // It says that the time of modification is not in it.
        Forged::file("accessed", "").extra(0x5455, &[&[2], &extended[1..]].concat()),
        Forged { date: 0, time: 0xffff, ..Forged::file("impossible", "") },
        Forged::directory("directory/"),
        Forged::file("directory/file", ""),
    ]))
    .unwrap();
    let time = |name| fs::metadata(root.path().join(name)).unwrap().mtime();
    assert_eq!(time("dos"), 1_740_832_210);
    assert_eq!(time("unix"), 1_700_000_001);
    assert_eq!(time("accessed"), 1_740_832_210);
    assert_eq!(time("impossible"), 315_532_800);
    assert_eq!(time("directory"), 1_740_832_210);
}

#[test]
fn names_that_leave_the_package_are_refused() {
    for name in ["../x", "a/../../x", "/etc/x", "a/..", "a/../b", "..", "", ".", "a\0b"] {
        assert_misplaced(&[Forged::file("innocent", ""), Forged::file(name, "1")]);
    }
    assert_misplaced(&[Forged::directory("../x/")]);
    assert_misplaced(&[Forged::link("../x", "y")]);
    assert_misplaced(&[Forged { made_on: DOS, ..Forged::file(r"a\..\..\b", "1") }]);
}

#[test]
fn nothing_is_written_through_a_link() {
    assert_misplaced(&[Forged::link("a", "/etc"), Forged::file("a/passwd", "1")]);
    assert_misplaced(&[Forged::file("a/passwd", "1"), Forged::link("a", "/etc")]);
    assert_misplaced(&[Forged::link("a", "d"), Forged::directory("d/"), Forged::link("a/b", "x")]);
    assert_misplaced(&[Forged::link("a", "/etc"), Forged::directory("a/")]);

    // The last entry of a name counts, so there is a file, and no link to write through.
    let outside = tempfile::tempdir().unwrap();
    let target = outside.path().join("target");
    let root = extracted(&archive(&[
        Forged::link("a", target.as_os_str().as_encoded_bytes()),
        Forged::file("./a", "1"),
    ]))
    .unwrap();
    assert_eq!(listing(root.path()).len(), 1);
    assert_eq!(fs::read_to_string(root.path().join("a")).unwrap(), "1");
    assert!(!target.exists());
}

#[test]
fn links_are_kept_wherever_they_lead() {
    let targets =
        ["libx.so.1", "../lib/x", "not/there", "/opt/nodejs/node_modules", "../../../../etc/passwd"];
    let entries: Vec<_> =
        (0..).zip(targets).map(|(n, target)| Forged::link(format!("l/{n}"), target)).collect();
    let root = extracted(&archive(&entries)).unwrap();
    for (number, target) in (0..).zip(targets) {
        assert_eq!(fs::read_link(root.path().join(format!("l/{number}"))).unwrap(), Path::new(target));
    }
    assert_misplaced(&[Forged::link("long", "a".repeat(4096))]);
    for target in ["", "a\0b"] {
        let error = refused(&archive(&[Forged::link("a", target)]));
        assert!(matches!(error, ArchiveError::Misplaced { .. }), "{target:?}: {error:?}");
    }
}

#[test]
fn last_entry_of_a_name_counts_and_a_file_is_no_directory() {
    let root = extracted(&archive(&[
        Forged::file("a", "longer").mode(0o100_444),
        Forged::file("./a", "2"),
        Forged::file("b", "1"),
        Forged::link("b", "a"),
        Forged::directory("c/").mode(0o040_711),
        Forged::file("c/d", "3"),
        Forged::directory("c"),
        Forged::file("C", "4"),
    ]))
    .unwrap();
    assert_eq!(fs::read(root.path().join("a")).unwrap(), b"2");
    assert_eq!(fs::read_link(root.path().join("b")).unwrap(), Path::new("a"));
    assert_eq!(mode(&root.path().join("c")), 0o755);
    assert_eq!(fs::read(root.path().join("c/d")).unwrap(), b"3");
    assert_eq!(fs::read(root.path().join("C")).unwrap(), b"4");

    assert_misplaced(&[Forged::file("a", "1"), Forged::file("a/b", "2")]);
    assert_misplaced(&[Forged::file("a/b", "2"), Forged::file("a", "1")]);
    assert_misplaced(&[Forged::directory("a/"), Forged::link("a", "b")]);
}

#[test]
fn what_is_neither_file_directory_nor_link_is_refused() {
    for kind in [0o010_644, 0o020_644, 0o060_644, 0o140_644, 0o030_644] {
        let error = refused(&archive(&[Forged::file("a", "").mode(kind)]));
        assert!(matches!(error, ArchiveError::Malformed(Flaw::Special { .. })), "{kind:o}: {error:?}");
    }
}

#[test]
fn names_keep_their_bytes() {
    let long = "n".repeat(255);
    let names = [
        "zeilen\numbruch".as_bytes(),
        b"latin-1-\xe9",
        "日本語.py".as_bytes(),
        long.as_bytes(),
        b"-rf",
        b" ",
    ];
    let entries: Vec<_> = names.iter().map(|name| Forged::file(name, "")).collect();
    let root = extracted(&archive(&entries)).unwrap();
    let found: Vec<_> =
        listing(root.path()).into_keys().map(|path| path.into_os_string().into_encoded_bytes()).collect();
    let mut expected = names.map(<[u8]>::to_vec);
    expected.sort();
    assert_eq!(found, expected);
}

#[test]
fn archives_from_windows_have_directories_and_modes() {
    let windows = |name: &str| Forged { made_on: DOS, mode: 0, ..Forged::file(name, "") };
    let root =
        extracted(&archive(&[windows(r"wwwroot\css\app.css"), windows(r"empty\"), windows("main.py")]))
            .unwrap();
    let names: Vec<_> =
        listing(root.path()).into_iter().map(|(path, what)| (path, what[..13].to_owned())).collect();
    let expected = [
        ("empty", "directory 755"),
        ("main.py", "file 644 1740"),
        ("wwwroot", "directory 755"),
        ("wwwroot/css", "directory 755"),
        ("wwwroot/css/app.css", "file 644 1740"),
    ];
    assert_eq!(names, expected.map(|(path, what)| (PathBuf::from(path), what.to_owned())));
}

#[test]
fn what_surrounds_an_archive_does_not_matter() {
    let entries = [Forged::deflated("a", "content"), Forged::file("b", "")];
    let zip_64 = Ending { zip_64: true, ..Ending::default() };
    // Comments in which the end seems to come again.
    let empty = Ending { comment: [b"PK\x05\x06", &[0; 30][..]].concat(), ..Ending::default() };
    for ending in [Ending::default(), zip_64, empty] {
        let bytes = archive_with(&entries, &ending);
        let packages = [
            bytes.clone(),
            [b"#!/usr/bin/env python3\n", &bytes[..]].concat(),
            [&bytes[..], b"something\nbehind it"].concat(),
        ];
        for package in packages {
            let root = extracted(&package).unwrap();
            assert_eq!(fs::read_to_string(root.path().join("a")).unwrap(), "content");
        }
    }
    let other = Ending {
        comment: [archive(&[Forged::file("other", "")]), b".".to_vec()].concat(),
        ..Ending::default()
    };
    let root = extracted(&archive_with(&entries, &other)).unwrap();
    assert!(root.path().join("a").exists());
}

#[test]
fn size_is_limited_by_what_the_archive_says_and_holds() {
    let large = Forged::deflated("large", vec![0; LIMIT as usize + 1]);
    assert!(matches!(
        refused(&archive(std::slice::from_ref(&large))),
        ArchiveError::TooLarge { limit: LIMIT }
    ));
    let half = Forged::deflated("half", vec![0; 2500]);
    let other = Forged::deflated("other", vec![0; 2501]);
    assert!(matches!(refused(&archive(&[half.clone(), other])), ArchiveError::TooLarge { .. }));
    extracted(&archive(&[half, Forged::deflated("other", vec![0; 2500])])).unwrap();

    // One that lies is found out as soon as it is longer than it says: not a byte too much is written.
    let root = tempfile::tempdir().unwrap();
    let error = extract(&archive(&[Forged { size: 10, ..large.clone() }]), root.path(), LIMIT).unwrap_err();
    assert!(matches!(error, ArchiveError::Malformed(Flaw::Entry { .. })), "{error:?}");
    assert_eq!(fs::metadata(root.path().join("large")).unwrap().len(), 0);
    // 4 GB, in the field that has no room for more.
    let endless = Forged { size: u32::MAX, ..large }.extra(1, &u64::MAX.to_le_bytes());
    assert!(matches!(refused(&archive(&[endless.clone(), endless])), ArchiveError::TooLarge { .. }));
}

#[test]
fn entries_that_share_their_data_are_refused() {
    let kernel = Forged::file("0", "x".repeat(90));
    let mut entries = vec![kernel.clone()];
    let sharing = |number: i32| Forged { name: number.to_string().into(), shares: Some(0), ..kernel.clone() };
    entries.extend((1..10).map(sharing));
    assert!(matches!(refused(&archive(&entries)), ArchiveError::Malformed(Flaw::Overlapping)));
    // Nothing comes of these, but time goes by.
    let empty = Forged { size: 0, compressed_size: 200, ..kernel };
    let entries = [empty.clone(), Forged { name: b"1".to_vec(), ..empty }];
    assert!(matches!(refused(&archive(&entries)), ArchiveError::Malformed(Flaw::Overlapping)));
}

#[test]
fn number_of_files_is_limited() {
    let flat: Vec<_> = (0..=central::ENTRIES).map(|number| Forged::file(format!("{number:x}"), "")).collect();
    let error = refused(&archive(&flat));
    assert!(matches!(error, ArchiveError::Malformed(Flaw::TooMany { .. })), "{error:?}");
    let same: Vec<_> = flat.iter().map(|_| Forged::file("same", "")).collect();
    let error = refused(&archive(&same));
    assert!(matches!(error, ArchiveError::Malformed(Flaw::TooMany { .. })), "{error:?}");
    // Directories that no entry names count, too.
    let deep: Vec<_> =
        (0..2000).map(|number| Forged::file(format!("{number:x}/{}f", "d/".repeat(98)), "")).collect();
    let error = refused(&archive(&deep));
    assert!(matches!(error, ArchiveError::Malformed(Flaw::TooMany { .. })), "{error:?}");
}

#[test]
fn more_entries_than_the_end_can_count_are_read() {
    let many: Vec<_> = (0..70_000).map(|_| Forged::file("same", "")).collect();
    extracted(&archive(&many)).unwrap();
}

#[test]
fn what_is_not_understood_is_refused() {
    type Expected = fn(&ArchiveError) -> bool;
    let file = Forged::file("a", "some content");
    let cases: [(Vec<u8>, Expected); 7] = [
        (archive(&[Forged { flags: 1, ..file.clone() }]), |error| {
            matches!(error, ArchiveError::Malformed(Flaw::Encrypted { .. }))
        }),
        // Deflate64.
        (archive(&[Forged { method: 9, ..file.clone() }]), |error| {
            matches!(error, ArchiveError::Malformed(Flaw::Method { method: 9, .. }))
        }),
        (archive_with(std::slice::from_ref(&file), &Ending { disk: 1, ..Ending::default() }), |error| {
            matches!(error, ArchiveError::Malformed(Flaw::Split))
        }),
        (archive_with(std::slice::from_ref(&file), &Ending { more: 1, ..Ending::default() }), |error| {
            matches!(error, ArchiveError::Malformed(Flaw::Directory))
        }),
        (archive(&[Forged { checksum: 1, ..file.clone() }]), |error| {
            matches!(error, ArchiveError::Malformed(Flaw::Entry { .. }))
        }),
        (archive(&[Forged { size: 13, ..file.clone() }]), |error| {
            matches!(error, ArchiveError::Malformed(Flaw::Entry { .. }))
        }),
        (archive(&[]), |error| matches!(error, ArchiveError::Empty)),
    ];
    for (package, expected) in cases {
        let error = refused(&package);
        assert!(expected(&error), "{error:?}");
    }
    for bytes in [&b""[..], b"not a zip", b"PK\x05\x06", &[0; 100_000]] {
        assert!(matches!(refused(bytes), ArchiveError::Malformed(Flaw::NoDirectory)));
    }
    let whole = archive(&[file, Forged::deflated("b", "other content")]);
    for length in 0..whole.len() {
        assert!(matches!(refused(&whole[..length]), ArchiveError::Malformed(_)), "cut at {length}");
    }
}

#[test]
fn searching_for_the_end_takes_no_longer_than_the_archive_deserves() {
    // Each of these ends claims all entries before it and one more. Who believes them reads 30,000 entries 1,500 times.
    let entries: Vec<_> = (0..30_000).map(|_| Forged::file("entry", "")).collect();
    let mut package = archive(&entries);
    let end = Ending { more: 1, ..Ending::default() };
    let ends = archive_with(&entries, &end);
    package.extend(ends[ends.len() - 22..].repeat(1500));
    // How long it takes is for whoever runs this to notice.
    assert!(matches!(refused(&package), ArchiveError::Malformed(_)));
}

#[test]
fn archives_in_archives_stay_archives() {
    let inner = archive(&[Forged::deflated("bomb", vec![0; 100_000])]);
    let root = extracted(&archive(&[Forged::deflated("inner.zip", &inner)])).unwrap();
    assert_eq!(fs::read(root.path().join("inner.zip")).unwrap(), inner);
}

/// As many entries as several threads share, in directories of all kinds.
fn many() -> Vec<Forged> {
    let mut entries =
        vec![Forged::directory("dated/").mode(0o040_711), Forged::directory("empty/").mode(0o040_700)];
    for number in 0..400 {
        let name = format!("dated/{}/{}/file{number}", number % 3, number % 7);
        let content = format!("{number} ").repeat(number);
        entries.push(Forged::deflated(&name, &content).mode([0o100_644, 0o100_755, 0o100_600][number % 3]));
        entries.push(Forged::file(format!("flat{number}"), &content).mode(0o100_666));
        entries.push(Forged::link(format!("dated/link{number}"), &name));
    }
    entries
}

#[test]
fn threads_write_the_same_together_as_one_alone() {
    let package = archive(&many());
    let roots = [1, 4].map(|threads| {
        let root = tempfile::tempdir().unwrap();
        extract_with(&package, root.path(), 1 << 24, |_, _| threads).unwrap();
        assert_eq!(fs::metadata(root.path().join("dated")).unwrap().mtime(), 1_740_832_210);
        root
    });
    let [alone, together] = roots.each_ref().map(|root| listing(root.path()));
    assert_eq!(alone.len(), 2 + 3 * 400 + 3 + 3 * 7);
    assert_eq!(alone, together);
}

#[test]
fn one_thread_that_fails_ends_the_work_of_all() {
    let mut entries = many();
    entries[700].checksum ^= 1;
    for threads in [1, 4] {
        let root = tempfile::tempdir().unwrap();
        let error = extract_with(&archive(&entries), root.path(), 1 << 24, |_, _| threads).unwrap_err();
        assert!(matches!(error, ArchiveError::Malformed(Flaw::Entry { .. })), "{error:?}");
    }
}
