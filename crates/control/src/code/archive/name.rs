//! Names of entries: their bytes, and where they lead.
//!
//! Must not ask the file system: what a name means does not depend on what is there.

use std::borrow::Cow;

use flate2::Crc;

/// Directories may be as deep as this. AWS documents no limit; removing a tree takes a file descriptor a level.
pub(super) const DEPTH: usize = 100;
/// A name's longest part, as Linux has it.
const PART: usize = 255;
/// A path's greatest length, as Linux has it, with `/var/task/` before and a zero byte behind it.
const LENGTH: usize = 4096 - "/var/task/".len() - 1;

/// What an entry says of how its name is to be read.
#[derive(Debug, Clone, Copy)]
pub(super) struct Encoding {
    /// The system that the archive was made on, by the zip format's numbers.
    pub(super) made_on: u8,
    /// The name is said to be UTF-8.
    pub(super) utf_8: bool,
}

impl Encoding {
    /// MS-DOS, OS/2, Windows NT (by two numbers) and VFAT.
    fn is_dos(self) -> bool {
        matches!(self.made_on, 0 | 6 | 10 | 11 | 14)
    }
}

/// The bytes of a name as Linux shall have it.
///
/// As Info-ZIP's `unzip`: names from Unix are taken as they are, names from DOS and Windows are code page 437 if they
/// are not said to be UTF-8, or obviously are; and where those have no slash, their backslashes are meant to be some.
pub(super) fn decode<'a>(raw: &'a [u8], unicode_path: Option<&'a [u8]>, encoding: Encoding) -> Cow<'a, [u8]> {
    let name = if let Some(name) = unicode_path.and_then(|field| unicode(field, raw)) {
        Cow::Borrowed(name)
    } else if encoding.is_dos() && !encoding.utf_8 && std::str::from_utf8(raw).is_err() {
        Cow::Owned(code_page_437(raw).into_bytes())
    } else {
        Cow::Borrowed(raw)
    };
    if encoding.is_dos() && name.contains(&b'\\') && !name.contains(&b'/') {
        let mut name = name.into_owned();
        for byte in &mut name {
            if *byte == b'\\' {
                *byte = b'/';
            }
        }
        // A drive makes it absolute.
        if let [drive, b':', b'/', ..] = name[..]
            && drive.is_ascii_alphabetic()
        {
            name.insert(0, b'/');
        }
        Cow::Owned(name)
    } else {
        name
    }
}

/// Info-ZIP's extra field with a name in UTF-8. It holds as long as the name that it belongs to was not changed.
fn unicode<'a>(field: &'a [u8], raw: &[u8]) -> Option<&'a [u8]> {
    let ([1], rest) = field.split_first_chunk()? else { return None };
    let (checksum, name) = rest.split_first_chunk()?;
    let mut actual = Crc::new();
    actual.update(raw);
    (actual.sum() == u32::from_le_bytes(*checksum) && std::str::from_utf8(name).is_ok()).then_some(name)
}

fn code_page_437(raw: &[u8]) -> String {
    /// From 128 on.
    const UPPER: &str = "ÇüéâäàåçêëèïîìÄÅÉæÆôöòûùÿÖÜ¢£¥₧ƒáíóúñÑªº¿⌐¬½¼¡«»░▒▓│┤╡╢╖╕╣║╗╝╜╛┐└┴┬├─┼╞╟╚╔╩╦╠═╬╧╨╤╥╙╘╒╓╫╪┘┌█▄▌▐▀αßΓπΣσµτΦΘΩδ∞φε∩≡±≥≤⌠⌡÷≈°∙·√ⁿ²■\u{a0}";

    let upper: Vec<char> = UPPER.chars().collect();
    raw.iter()
        .map(|&byte| byte.checked_sub(128).map_or(char::from(byte), |index| upper[usize::from(index)]))
        .collect()
}

/// The parts of a name below the package's root; none for the root itself. Refuses names that are absolute, climb, or
/// cannot be on Linux.
pub(super) fn parts(name: &[u8]) -> Option<Vec<&[u8]>> {
    if name.starts_with(b"/") || name.contains(&0) || name.len() > LENGTH {
        return None;
    }
    let mut parts = Vec::new();
    for part in name.split(|&byte| byte == b'/') {
        match part {
            b"" | b"." => {}
            b".." => return None,
            part if part.len() > PART || parts.len() == DEPTH => return None,
            part => parts.push(part),
        }
    }
    Some(parts)
}

#[cfg(test)]
mod tests {
    use super::*;

    const DOS: Encoding = Encoding { made_on: 0, utf_8: false };
    const UNIX: Encoding = Encoding { made_on: 3, utf_8: false };

    fn decoded(raw: &[u8], encoding: Encoding) -> String {
        String::from_utf8(decode(raw, None, encoding).into_owned()).unwrap()
    }

    #[test]
    fn names_from_dos_are_code_page_437() {
        assert_eq!(decoded(b"gr\x81n\xe1 \xff.py", DOS), "grünß \u{a0}.py");
        let upper: Vec<u8> = (128..=255).collect();
        assert_eq!(decoded(&upper, DOS).chars().count(), 128);
        assert_eq!(decoded("é".as_bytes(), DOS), "é", "obviously UTF-8");
        let said = Encoding { utf_8: true, ..DOS };
        assert_eq!(&decode(b"\x81", None, said)[..], b"\x81", "what is said counts, even if it is wrong");
        assert_eq!(&decode(b"\x81", None, UNIX)[..], b"\x81");
    }

    #[test]
    fn unicode_path_counts_while_it_belongs_to_the_name() {
        let mut checksum = Crc::new();
        checksum.update(b"gr?n");
        let mut field = vec![1];
        field.extend(checksum.sum().to_le_bytes());
        field.extend("grün".as_bytes());
        assert_eq!(&decode(b"gr?n", Some(&field), DOS)[..], "grün".as_bytes());
        assert_eq!(&decode(b"other", Some(&field), DOS)[..], b"other");
        field[0] = 2;
        assert_eq!(&decode(b"gr?n", Some(&field), DOS)[..], b"gr?n", "of an unknown version");
        assert_eq!(&decode(b"gr?n", Some(b"\x01"), DOS)[..], b"gr?n", "damaged");
    }

    #[test]
    fn backslashes_from_windows_are_slashes() {
        assert_eq!(decoded(br"wwwroot\css\app.css", DOS), "wwwroot/css/app.css");
        assert_eq!(decoded(br"empty\", DOS), "empty/");
        assert_eq!(decoded(br"a/b\c", DOS), r"a/b\c", "this writer knows what it does");
        assert_eq!(decoded(br"a\b", UNIX), r"a\b");
        assert_eq!(parts(&decode(br"..\x", None, DOS)), None);
        assert_eq!(parts(&decode(br"C:\x", None, DOS)), None);
        assert_eq!(parts(&decode(br"\\host\share\x", None, DOS)), None);
    }

    #[test]
    fn names_that_cannot_be_are_refused() {
        let deep = "d/".repeat(DEPTH) + "f";
        let long = "a".repeat(PART + 1);
        let longer = format!("{}/", "a".repeat(PART)).repeat(16);
        for name in ["/a", "..", "a/..", "a/../b", "a\0b", &deep, &long, &longer] {
            assert_eq!(parts(name.as_bytes()), None, "{name:?}");
        }
        assert_eq!(parts(b"./a//b/"), Some(vec![&b"a"[..], b"b"]));
        assert_eq!(parts(&deep.as_bytes()[2..]).map(|parts| parts.len()), Some(DEPTH));
        for name in ["", ".", "./"] {
            assert_eq!(parts(name.as_bytes()), Some(Vec::new()), "{name:?}");
        }
        for odd in ["a\nb", "...", "~", " ", "-rf", "C:", "*"] {
            assert_eq!(parts(odd.as_bytes()), Some(vec![odd.as_bytes()]));
        }
    }
}
