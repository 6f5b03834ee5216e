//! Session tokens: whom credentials belong to, signed with the data directory's secret, so that nothing has to be
//! remembered about credentials that were given out.
//!
//! Must not know STS's wire format.

use std::{fs, io, io::Write, os::unix::fs::OpenOptionsExt, path::Path, path::PathBuf};

use base64::{Engine, prelude::BASE64_STANDARD, prelude::BASE64_URL_SAFE_NO_PAD};
use hothouse_api::name::AccountId;
use ring::{
    digest, hmac,
    rand::{SecureRandom, SystemRandom},
};
use serde::{Deserialize, Serialize};

/// Marks our tokens and their version.
const PREFIX: &str = "HH1";
const SECRET_BYTES: usize = 32;
const ALPHABET: &[u8; 32] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZ234567";

/// The secret of the data directory cannot be read or made.
#[derive(Debug, thiserror::Error)]
pub(crate) enum SecretError {
    /// The file cannot be read or written.
    #[error("keep the secret of session tokens in `{path}`")]
    File {
        /// The file.
        path: PathBuf,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// The file is not what this program wrote.
    #[error("read the secret of session tokens: `{path}` has {found} bytes instead of {SECRET_BYTES}")]
    Length {
        /// The file.
        path: PathBuf,
        /// Its length.
        found: usize,
    },
    /// The system has no random numbers.
    #[error("make a secret for session tokens: no random numbers")]
    Random,
}

/// Whom temporary credentials belong to.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Session {
    #[serde(rename = "k")]
    pub(super) access_key_id: String,
    #[serde(rename = "a")]
    pub(super) account: AccountId,
    /// Seconds since the epoch.
    #[serde(rename = "e")]
    pub(super) expires: i64,
    /// The assumed role; `None` for a session of the account's own.
    #[serde(rename = "r")]
    pub(super) role: Option<AssumedRole>,
}

/// A role and the session's name.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct AssumedRole {
    #[serde(rename = "p")]
    pub(super) partition: String,
    /// Name without path.
    #[serde(rename = "n")]
    pub(super) name: String,
    /// `AROA…`.
    #[serde(rename = "i")]
    pub(super) id: String,
    #[serde(rename = "s")]
    pub(super) session: String,
}

/// What a token says.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Verdict {
    /// Not one of ours.
    Foreign,
    /// Claims to be ours, but was changed, or goes with another key.
    Forged,
    Valid(Session),
}

/// Makes and reads tokens.
pub(super) struct Tokens {
    key: hmac::Key,
    random: SystemRandom,
}

impl Tokens {
    /// With the secret in `sts.key` of the directory, which is made if it is missing; without a directory the
    /// secret lives as long as the process.
    pub(super) fn open(directory: Option<&Path>) -> Result<Self, SecretError> {
        let random = SystemRandom::new();
        let secret = match directory {
            Some(directory) => stored_secret(directory, &random)?,
            None => new_secret(&random)?.to_vec(),
        };
        Ok(Tokens { key: hmac::Key::new(hmac::HMAC_SHA256, &secret), random })
    }

    /// A new `ASIA…` key of the account. The account can be read from it, as from AWS's own keys.
    pub(super) fn access_key_id(&self, account: AccountId) -> Result<String, SecretError> {
        let mut bytes = [0; 10];
        self.random.fill(&mut bytes).map_err(|_| SecretError::Random)?;
        let number: u64 = account.to_string().parse().expect("an account is 12 digits");
        let low_bits = u64::from(bytes[5]) & 0x7f;
        let head = 1 << 47 | number << 7 | low_bits;
        bytes[..6].copy_from_slice(&head.to_be_bytes()[2..]);
        Ok(format!("ASIA{}", base32(&bytes)))
    }

    /// The secret access key that belongs to a key: 40 characters that only we can tell.
    pub(super) fn secret_access_key(&self, access_key_id: &str) -> String {
        let tag = hmac::sign(&self.key, format!("secret access key of {access_key_id}").as_bytes());
        let mut text = BASE64_STANDARD.encode(tag.as_ref());
        text.truncate(40);
        text
    }

    pub(super) fn sign(&self, session: &Session) -> String {
        let mut bytes = serde_json::to_vec(session).expect("a session is plain data");
        let tag = hmac::sign(&self.key, &bytes);
        bytes.extend_from_slice(tag.as_ref());
        format!("{PREFIX}{}", BASE64_URL_SAFE_NO_PAD.encode(bytes))
    }

    pub(super) fn read(&self, access_key_id: &str, token: &str) -> Verdict {
        let Some(encoded) = token.strip_prefix(PREFIX) else { return Verdict::Foreign };
        let session = || {
            let bytes = BASE64_URL_SAFE_NO_PAD.decode(encoded).ok()?;
            let (payload, tag) =
                bytes.split_at_checked(bytes.len().checked_sub(digest::SHA256_OUTPUT_LEN)?)?;
            hmac::verify(&self.key, payload, tag).ok()?;
            serde_json::from_slice(payload).ok()
        };
        match session() {
            Some(Session { access_key_id: owner, .. }) if owner != access_key_id => Verdict::Forged,
            Some(session) => Verdict::Valid(session),
            None => Verdict::Forged,
        }
    }
}

/// The account in an access key of AWS's newer form (or of ours).
pub(super) fn account_in_key(access_key_id: &str) -> Option<AccountId> {
    let encoded = access_key_id.get(4..14)?;
    let mut bits = 0u64;
    for byte in encoded.bytes() {
        let digit = ALPHABET.iter().position(|letter| *letter == byte)?;
        bits = bits << 5 | digit as u64;
    }
    // Ten letters are 50 bits: 1 mark, 40 of the account, 9 of chance.
    format!("{:012}", bits >> 9 & 0xff_ffff_ffff).parse().ok()
}

/// A stable `AROA…` identifier of a role.
pub(super) fn role_id(role_arn: &str) -> String {
    let hash = digest::digest(&digest::SHA256, role_arn.as_bytes());
    let mut text = base32(&hash.as_ref()[..15]);
    text.truncate(17);
    format!("AROA{text}")
}

fn base32(bytes: &[u8]) -> String {
    let mut text = String::new();
    let (mut bits, mut count) = (0u32, 0);
    for byte in bytes {
        bits = bits << 8 | u32::from(*byte);
        count += 8;
        while count >= 5 {
            count -= 5;
            text.push(char::from(ALPHABET[(bits >> count & 31) as usize]));
        }
    }
    text
}

fn new_secret(random: &SystemRandom) -> Result<[u8; SECRET_BYTES], SecretError> {
    let mut secret = [0; SECRET_BYTES];
    random.fill(&mut secret).map_err(|_| SecretError::Random)?;
    Ok(secret)
}

fn stored_secret(directory: &Path, random: &SystemRandom) -> Result<Vec<u8>, SecretError> {
    let path = directory.join("sts.key");
    let file_error = |source| SecretError::File { path: path.clone(), source };
    match fs::read(&path) {
        Ok(secret) if secret.len() == SECRET_BYTES => Ok(secret),
        Ok(other) => Err(SecretError::Length { path, found: other.len() }),
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            let secret = new_secret(random)?;
            fs::create_dir_all(directory).map_err(file_error)?;
            // Written beside and renamed: a crash in between leaves no half secret.
            let beside = directory.join("sts.key.new");
            let mut options = fs::OpenOptions::new();
            let mut file = options
                .write(true)
                .create(true)
                .truncate(true)
                .mode(0o600)
                .open(&beside)
                .map_err(file_error)?;
            file.write_all(&secret).and_then(|()| file.sync_all()).map_err(file_error)?;
            fs::rename(&beside, &path).map_err(file_error)?;
            Ok(secret.to_vec())
        }
        Err(source) => Err(file_error(source)),
    }
}
