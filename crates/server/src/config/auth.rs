//! What is asked of callers, and the file of `--auth-keys`.
//!
//! The file is written like AWS's own credentials file: a section per key. Must not decide who may do what.

use std::{
    fmt, io,
    path::{Path, PathBuf},
};

use hothouse_api::name::AccountId;

use crate::companions::caller::Identity;

/// What is asked of callers.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Auth {
    /// The keys that requests must be signed with; none if signatures are not looked at.
    pub(crate) keys: Option<Vec<AuthKey>>,
    /// Whether policies bind services, too, and what they deny their own account.
    pub(crate) policies: bool,
}

/// One check of `--auth`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Check {
    Sigv4,
    Policies,
}

/// A key that callers may sign with.
#[derive(Clone, PartialEq, Eq)]
pub(crate) struct AuthKey {
    /// `aws_access_key_id`.
    pub(crate) id: String,
    /// `aws_secret_access_key`.
    pub(crate) secret: String,
    /// `aws_account_id` and `principal_arn`. Without the first, the key's id may be an account's number.
    pub(crate) identity: Identity,
}

impl fmt::Debug for AuthKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("AuthKey")
            .field("id", &self.id)
            .field("identity", &self.identity)
            .finish_non_exhaustive()
    }
}

/// The file cannot be used.
#[derive(Debug, thiserror::Error)]
pub(crate) enum AuthKeysError {
    /// It cannot be read.
    #[error("failed to read the keys in `{path}`")]
    Read {
        /// The file.
        path: PathBuf,
        #[source]
        source: io::Error,
    },
    /// It does not say what it should.
    #[error("failed to understand the keys in `{path}`, line {line}: {reason}")]
    Invalid {
        /// The file.
        path: PathBuf,
        /// Its line, from 1.
        line: usize,
        /// What is wrong there.
        reason: &'static str,
    },
    /// It has no section.
    #[error("failed to find a key in `{path}`")]
    Empty {
        /// The file.
        path: PathBuf,
    },
}

impl AuthKeysError {
    /// What to do about it.
    pub(crate) fn hint(&self) -> String {
        match self {
            Self::Read { .. } => "`--auth-keys FILE` names another file".to_owned(),
            Self::Invalid { .. } | Self::Empty { .. } => {
                "write a section `[NAME]` for each key, with `aws_access_key_id = …`, `aws_secret_access_key = …` \
                 and perhaps `aws_account_id = …` and `principal_arn = …`"
                    .to_owned()
            }
        }
    }
}

/// Reads the file.
pub(super) fn read(path: &Path) -> Result<Vec<AuthKey>, AuthKeysError> {
    let text = std::fs::read_to_string(path)
        .map_err(|source| AuthKeysError::Read { path: path.to_owned(), source })?;
    let keys = parse(&text).map_err(|Mistake { line, reason }| AuthKeysError::Invalid {
        path: path.to_owned(),
        line,
        reason,
    })?;
    if keys.is_empty() { Err(AuthKeysError::Empty { path: path.to_owned() }) } else { Ok(keys) }
}

#[derive(Debug, PartialEq, Eq)]
struct Mistake {
    line: usize,
    reason: &'static str,
}

/// A section that is being read.
#[derive(Default)]
struct Section {
    line: usize,
    id: Option<String>,
    secret: Option<String>,
    account: Option<AccountId>,
    arn: Option<String>,
}

impl Section {
    fn end(self) -> Result<AuthKey, Mistake> {
        let Self { line, id, secret, account, arn } = self;
        let missing = |reason| Mistake { line, reason };
        let id = id.ok_or(missing("the section has no aws_access_key_id"))?;
        let account = account.or_else(|| id.parse().ok()).unwrap_or(AccountId::DEFAULT);
        Ok(AuthKey {
            id,
            secret: secret.ok_or(missing("the section has no aws_secret_access_key"))?,
            identity: Identity { account, arn },
        })
    }
}

fn parse(text: &str) -> Result<Vec<AuthKey>, Mistake> {
    let mut keys: Vec<AuthKey> = Vec::new();
    let mut section: Option<Section> = None;
    for (index, raw) in text.lines().enumerate() {
        let line = index + 1;
        let mistake = |reason| Mistake { line, reason };
        let content = raw.trim();
        if content.is_empty() || content.starts_with(['#', ';']) {
            continue;
        }
        if content.starts_with('[') && content.ends_with(']') {
            keys.extend(section.take().map(Section::end).transpose()?);
            section = Some(Section { line, ..Section::default() });
            continue;
        }
        let (name, value) = content.split_once('=').ok_or(mistake("it is no `NAME = VALUE`"))?;
        let section = section.as_mut().ok_or(mistake("it is in no section"))?;
        let value = value.trim();
        match name.trim().to_ascii_lowercase().as_str() {
            "aws_access_key_id" => section.id = Some(value.to_owned()),
            "aws_secret_access_key" => section.secret = Some(value.to_owned()),
            "aws_account_id" => {
                let account = value.parse().map_err(|_| mistake("an account has twelve digits"))?;
                section.account = Some(account);
            }
            "principal_arn" => section.arn = Some(value.to_owned()),
            // AWS's tools keep more in such files.
            _ => {}
        }
    }
    keys.extend(section.map(Section::end).transpose()?);
    Ok(keys)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_section_is_a_key() {
        let text = "# mine\n[default]\naws_access_key_id = AKIA1\naws_secret_access_key=a=b\nregion = us-east-1\n\n\
                    [ci]\nAWS_ACCESS_KEY_ID=AKIA2\naws_secret_access_key = s\naws_account_id = 111122223333\n\
                    principal_arn = arn:aws:iam::111122223333:user/ci\n";
        let keys = parse(text).unwrap();
        assert_eq!((keys[0].id.as_str(), keys[0].secret.as_str()), ("AKIA1", "a=b"));
        assert_eq!(keys[0].identity, Identity { account: AccountId::DEFAULT, arn: None });
        let arn = Some("arn:aws:iam::111122223333:user/ci".to_owned());
        assert_eq!(keys[1].identity, Identity { account: "111122223333".parse().unwrap(), arn });
        assert!(!format!("{keys:?}").contains("a=b"), "secrets stay secret");
    }

    #[test]
    fn mistakes_are_told_with_their_line() {
        let reason = |text: &str| parse(text).unwrap_err();
        assert_eq!(reason("[a]\nhello").line, 2);
        assert_eq!(reason("aws_access_key_id = a").reason, "it is in no section");
        assert_eq!(reason("\n[a]\naws_access_key_id = a\n[b]").line, 2);
        assert_eq!(reason("[a]\naws_account_id = 12").reason, "an account has twelve digits");
    }
}
