//! Keys to sign with: those of `--aws-endpoint`, and those of commands, which are in AWS's own variables or a profile of
//! AWS's credentials file.
//!
//! Must not complain about keys that are not there: most services ask for none.

use std::{fmt, path::Path};

use super::{ConfigError, Configuration, Environment, values};

/// An access key and its secret.
#[derive(Clone, PartialEq, Eq)]
pub(crate) struct AccessKey {
    /// `AWS_ACCESS_KEY_ID`.
    pub(crate) id: String,
    /// `AWS_SECRET_ACCESS_KEY`.
    pub(crate) secret: String,
}

impl fmt::Debug for AccessKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("AccessKey").field("id", &self.id).finish_non_exhaustive()
    }
}

/// A key that commands sign with.
#[derive(Clone, PartialEq, Eq)]
pub(crate) struct SecretKey {
    /// `AWS_ACCESS_KEY_ID`.
    pub(crate) id: String,
    /// `AWS_SECRET_ACCESS_KEY`.
    pub(crate) secret: String,
    /// `AWS_SESSION_TOKEN`, with temporary ones.
    pub(crate) session_token: Option<String>,
}

impl fmt::Debug for SecretKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SecretKey").field("id", &self.id).finish_non_exhaustive()
    }
}

/// The key of a command. A profile that was asked for comes before the variables, as with AWS's own command.
pub(super) fn chosen(configuration: &Configuration) -> Result<Option<SecretKey>, ConfigError> {
    let profile = configuration.optional("profile", values::text)?;
    if profile.is_none() && configuration.variables_key.is_some() {
        return Ok(configuration.variables_key.clone());
    }
    let file = configuration.optional("credentials-file", values::path)?;
    let file = file.or_else(|| Some(configuration.machine.home.as_ref()?.join(".aws/credentials")));
    let profile = profile.unwrap_or_else(|| "default".to_owned());
    Ok(file.and_then(|file| of_profile(&file, &profile)))
}

/// What AWS's variables say.
pub(super) fn of_environment(environment: &dyn Environment) -> Option<SecretKey> {
    Some(SecretKey {
        id: environment.get("AWS_ACCESS_KEY_ID")?,
        secret: environment.get("AWS_SECRET_ACCESS_KEY")?,
        session_token: environment.get("AWS_SESSION_TOKEN"),
    })
}

/// A profile's keys, if the file can be read and has them.
fn of_profile(file: &Path, profile: &str) -> Option<SecretKey> {
    parse(&std::fs::read_to_string(file).ok()?, profile)
}

fn parse(text: &str, profile: &str) -> Option<SecretKey> {
    let (mut id, mut secret, mut session_token) = (None, None, None);
    let mut inside = false;
    for line in text.lines().map(str::trim) {
        if let Some(section) = line.strip_prefix('[').and_then(|line| line.strip_suffix(']')) {
            inside = section.trim() == profile;
            continue;
        }
        let Some((name, value)) = line.split_once('=').filter(|_| inside) else { continue };
        let member = match name.trim().to_ascii_lowercase().as_str() {
            "aws_access_key_id" => &mut id,
            "aws_secret_access_key" => &mut secret,
            "aws_session_token" => &mut session_token,
            _ => continue,
        };
        *member = Some(value.trim().to_owned());
    }
    Some(SecretKey { id: id?, secret: secret?, session_token })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn profile_has_its_own_keys() {
        let text = "# mine\n[default]\naws_access_key_id = A\naws_secret_access_key=a=b\n\n[ci]\nrole_arn = x\n\
                    AWS_ACCESS_KEY_ID=C\naws_secret_access_key = c\naws_session_token = t\n[half]\n\
                    aws_access_key_id = H\n";
        let key = |id: &str, secret: &str, token: Option<&str>| SecretKey {
            id: id.into(),
            secret: secret.into(),
            session_token: token.map(str::to_owned),
        };
        assert_eq!(parse(text, "default"), Some(key("A", "a=b", None)));
        assert_eq!(parse(text, "ci"), Some(key("C", "c", Some("t"))));
        for incomplete in ["half", "none", ""] {
            assert_eq!(parse(text, incomplete), None, "{incomplete}");
        }
    }
}
