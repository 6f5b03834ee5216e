//! Archives at random: made by hand and then damaged, and put together from pieces of the format.
//!
//! A few hundred of each kind run with every test; `PROPTEST_CASES=1000000 cargo test -p hothouse-control fuzz` runs
//! for hours.
//! Must not know what an archive should become: only what may never happen, but for honest ones.

use std::{collections::BTreeMap, fs};

use proptest::{collection::vec, option, prelude::*, sample::Index};

use super::{
    forge::{Ending, Forged, archive_with},
    tests::listing,
    *,
};

const LIMIT: u64 = 20_000;

proptest! {
    #[test]
    fn damaged_archives_do_no_harm(
        mut entries in vec(entry(), 0..12),
        ending in ending(),
        before in option::weighted(0.1, vec(any::<u8>(), 1..40)),
        damage in option::weighted(0.4, vec(damage(), 1..4)),
    ) {
        // Entries that share a header name it; the first ones have none to share.
        for (index, entry) in entries.iter_mut().enumerate() {
            entry.shares = entry.shares.filter(|&shared| shared < index);
        }
        let mut package = before.unwrap_or_default();
        package.extend(archive_with(&entries, &ending));
        for damage in damage.unwrap_or_default() {
            damage.apply(&mut package);
        }
        check(&package)?;
    }

    #[test]
    fn pieces_of_the_format_do_no_harm(pieces in vec(piece(), 0..200)) {
        check(&pieces.concat())?;
    }

    #[test]
    fn honest_archives_become_what_they_hold(
        files in prop::collection::btree_map("[a-c]{1,2}(/[d-f]{1,2}){0,3}/[g-z]{1,8}", vec(any::<u8>(), 0..1000), 1..12),
        deflate in any::<bool>(),
        zip_64 in any::<bool>(),
    ) {
        let make = if deflate { Forged::deflated } else { Forged::file };
        let entries: Vec<_> = files.iter().map(|(name, content)| make(name.as_bytes(), &content[..])).collect();
        let root = tempfile::tempdir().unwrap();
        let package = archive_with(&entries, &Ending { zip_64, ..Ending::default() });
        extract(&package, root.path(), LIMIT).unwrap();
        let found: BTreeMap<_, _> = listing(root.path())
            .into_keys()
            .filter(|path| root.path().join(path).is_file())
            .map(|path| (path.to_str().unwrap().to_owned(), fs::read(root.path().join(path)).unwrap()))
            .collect();
        prop_assert_eq!(found, files);
    }
}

/// Extracts twice, and looks at what happened inside and around.
fn check(package: &[u8]) -> Result<(), TestCaseError> {
    let base = tempfile::tempdir().unwrap();
    let outside = base.path().join("outside");
    fs::create_dir(&outside).unwrap();
    fs::write(outside.join("secret"), "secret").unwrap();
    fs::write(base.path().join("a"), "beside").unwrap();
    let before = listing(base.path());

    let mut outcomes = Vec::new();
    for _ in 0..2 {
        let root = base.path().join("root");
        fs::create_dir(&root).unwrap();
        let result = extract(package, &root, LIMIT);
        if let Err(error @ ArchiveError::Write { .. }) = &result {
            return Err(TestCaseError::fail(format!("taken for a fault of the machine: {error:?}")));
        }
        let inside = listing(&root);
        let size: u64 = inside
            .keys()
            .map(|path| fs::symlink_metadata(root.join(path)).unwrap())
            .filter(fs::Metadata::is_file)
            .map(|metadata| metadata.len())
            .sum();
        prop_assert!(size <= LIMIT, "{} bytes", size);
        for (path, what) in &inside {
            let (kind, rest) = what.split_once(' ').unwrap();
            prop_assert!(["file", "directory", "link"].contains(&kind), "{:?}: {}", path, what);
            let mode = rest.split(' ').next().unwrap();
            prop_assert!(kind == "link" || mode.len() <= 3, "{:?} has special bits: {}", path, what);
        }
        fs::remove_dir_all(&root).unwrap();
        let result = result.map(|_| inside).map_err(|error| format!("{error:?}"));
        outcomes.push(result);
        prop_assert_eq!(&listing(base.path()), &before);
    }
    prop_assert_eq!(&outcomes[0], &outcomes[1]);
    Ok(())
}

fn part() -> impl Strategy<Value = Vec<u8>> {
    prop_oneof![
        60 => prop::sample::select(vec!["a", "b", "c", "d", "e", "f", "secret", "outside"]).prop_map(|part| part.into()),
        1 => prop::sample::select(vec!["", ".", "..", "C:", r"..\..", r"a\b", "\0", "\u{1b}[2J"]).prop_map(|part| part.into()),
        1 => vec(any::<u8>(), 1..6),
        1 => (250_usize..260).prop_map(|length| vec![b'l'; length]),
    ]
}

fn path() -> impl Strategy<Value = Vec<u8>> {
    let separators = prop_oneof![20 => Just("/"), 1 => Just(r"\"), 1 => Just("//")];
    let ends = prop_oneof![6 => Just(""), 1 => Just("/")];
    let short = prop_oneof![40 => vec(part(), 1..4), 1 => Just(Vec::new())];
    let deep = (90_usize..110).prop_map(|depth| vec![b"d".to_vec(); depth]);
    (
        prop_oneof![30 => Just(""), 1 => Just("/")],
        prop_oneof![30 => short.boxed(), 1 => deep.boxed()],
        separators,
        ends,
    )
        .prop_map(|(start, parts, separator, end)| {
            [start.as_bytes(), &parts.join(separator.as_bytes()), end.as_bytes()].concat()
        })
}

fn target() -> impl Strategy<Value = Vec<u8>> {
    let outside =
        prop::sample::select(vec!["../outside", "../outside/secret", "../a", "/etc", "..", ".", "a", "/opt"]);
    prop_oneof![4 => outside.prop_map(|target| target.into()), 1 => path()]
}

fn content() -> impl Strategy<Value = Vec<u8>> {
    prop_oneof![
        20 => vec(any::<u8>(), 0..60),
        20 => (0_usize..2000).prop_map(|length| vec![b'x'; length]),
        1 => Just(vec![0; LIMIT as usize + 1]),
    ]
}

fn entry() -> impl Strategy<Value = Forged> {
    let honest = prop_oneof![
        3 => (path(), content()).prop_map(|(name, content)| Forged::file(name, content)),
        3 => (path(), content()).prop_map(|(name, content)| Forged::deflated(name, content)),
        3 => (path(), target()).prop_map(|(name, target)| Forged::link(name, target)),
        1 => path().prop_map(Forged::directory),
    ];
    let rarely = |strategy: BoxedStrategy<u32>| option::weighted(0.01, strategy);
    let lie = || rarely(prop_oneof![0_u32..200, Just(u32::MAX), any::<u32>()].boxed());
    let special = (
        option::weighted(
            0.4,
            prop_oneof![any::<u16>(), Just(0), 0o100_000_u16..0o101_000].prop_map(u32::from),
        ),
        rarely(prop_oneof![0_u32..20, any::<u32>()].boxed()),
        rarely(any::<u32>().boxed()),
        (lie(), lie(), lie()),
        option::weighted(0.2, prop::sample::select(vec![0_u8, 3, 11, 19])),
        option::weighted(0.2, extra()),
        option::weighted(0.02, 0_usize..12),
        any::<(u16, u16)>(),
    );
    (honest, special).prop_map(|(honest, special)| {
        let (mode, method, flags, (size, compressed_size, checksum), made_on, extra, shares, (date, time)) =
            special;
        Forged {
            mode: mode.unwrap_or(honest.mode),
            method: method.map_or(honest.method, |method| method as u16),
            flags: flags.map_or(honest.flags, |flags| flags as u16),
            size: size.unwrap_or(honest.size),
            compressed_size: compressed_size.unwrap_or(honest.compressed_size),
            checksum: checksum.unwrap_or(honest.checksum),
            made_on: made_on.unwrap_or(honest.made_on),
            extra: extra.unwrap_or_default(),
            shares,
            date,
            time,
            ..honest
        }
    })
}

fn extra() -> impl Strategy<Value = Vec<u8>> {
    let kind = prop_oneof![Just(0x0001_u16), Just(0x5455), Just(0x7075), any::<u16>()];
    (kind, option::weighted(0.1, any::<u16>()), vec(any::<u8>(), 0..30)).prop_map(
        |(kind, length, content)| {
            let length = length.unwrap_or(content.len() as u16);
            [&kind.to_le_bytes()[..], &length.to_le_bytes(), &content].concat()
        },
    )
}

fn ending() -> impl Strategy<Value = Ending> {
    (
        any::<bool>(),
        option::weighted(0.02, any::<u16>()),
        option::weighted(0.02, any::<u16>()),
        option::weighted(0.2, vec(piece(), 0..10)),
    )
        .prop_map(|(zip_64, disk, more, comment)| Ending {
            zip_64,
            disk: disk.unwrap_or_default(),
            more: more.unwrap_or_default(),
            comment: comment.unwrap_or_default().concat(),
        })
}

/// What happens to bytes on their way.
#[derive(Debug, Clone)]
enum Damage {
    Set(Index, u8),
    Flip(Index, u8),
    Remove(Index, usize),
    Insert(Index, Vec<u8>),
    Copy(Index, Index, usize),
    Cut(Index),
}

fn damage() -> impl Strategy<Value = Damage> {
    let index = any::<Index>;
    prop_oneof![
        (index(), any::<u8>()).prop_map(|(at, byte)| Damage::Set(at, byte)),
        (index(), 0_u8..8).prop_map(|(at, bit)| Damage::Flip(at, bit)),
        (index(), 1_usize..30).prop_map(|(at, count)| Damage::Remove(at, count)),
        (index(), piece()).prop_map(|(at, bytes)| Damage::Insert(at, bytes)),
        (index(), index(), 1_usize..60).prop_map(|(from, to, count)| Damage::Copy(from, to, count)),
        index().prop_map(Damage::Cut),
    ]
}

impl Damage {
    fn apply(self, bytes: &mut Vec<u8>) {
        let length = bytes.len();
        if length == 0 {
            return;
        }
        match self {
            Self::Set(at, byte) => bytes[at.index(length)] = byte,
            Self::Flip(at, bit) => bytes[at.index(length)] ^= 1 << bit,
            Self::Remove(at, count) => {
                let at = at.index(length);
                bytes.drain(at..length.min(at + count));
            }
            Self::Insert(at, new) => {
                let at = at.index(length);
                bytes.splice(at..at, new);
            }
            Self::Copy(from, to, count) => {
                let (from, to) = (from.index(length), to.index(length));
                let copied = bytes[from..length.min(from + count)].to_vec();
                bytes.splice(to..to, copied);
            }
            Self::Cut(at) => bytes.truncate(at.index(length)),
        }
    }
}

/// Something that occurs in archives.
fn piece() -> impl Strategy<Value = Vec<u8>> {
    let signatures = ["PK\x01\x02", "PK\x03\x04", "PK\x06\x06", "PK\x06\x07", "PK\x07\x08"];
    prop_oneof![
        4 => prop::sample::select(signatures.map(|signature| signature.as_bytes().to_vec()).to_vec()),
        3 => prop_oneof![0_u16..80, Just(u16::MAX)].prop_map(|number| number.to_le_bytes().to_vec()),
        3 => prop_oneof![0_u32..400, Just(u32::MAX)].prop_map(|number| number.to_le_bytes().to_vec()),
        2 => end_record(),
        1 => (0_u64..400).prop_map(|number| number.to_le_bytes().to_vec()),
        2 => (0_usize..40).prop_map(|length| vec![0; length]),
        1 => path(),
        1 => vec(any::<u8>(), 0..20),
    ]
}

/// A record that may be the end of an archive.
fn end_record() -> impl Strategy<Value = Vec<u8>> {
    (0_u16..3, 0_u32..200, 0_u32..400, prop_oneof![9 => Just(0_u16), 1 => 0_u16..100]).prop_map(
        |(count, size, offset, comment)| {
            let mut bytes = b"PK\x05\x06\0\0\0\0".to_vec();
            bytes.extend([count, count].map(u16::to_le_bytes).concat());
            bytes.extend([size, offset].map(u32::to_le_bytes).concat());
            bytes.extend(comment.to_le_bytes());
            bytes
        },
    )
}
