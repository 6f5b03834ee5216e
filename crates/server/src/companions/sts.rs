//! STS: temporary credentials for roles, and who somebody is.
//!
//! <https://docs.aws.amazon.com/STS/latest/APIReference/API_Operations.html>.
//! Must not ask whether roles exist or whom they trust: there is no IAM here.

use std::{collections::BTreeMap, fmt, path::Path, sync::Arc, time::UNIX_EPOCH};

use bytes::Bytes;
use futures_util::future::BoxFuture;
use hothouse_api::{generated::ErrorKind, name::AccountId};
use hothouse_execution::{
    ports::{Clock, CredentialError, CredentialSource, Credentials},
    spec::FunctionSpec,
};
use http::{Response, StatusCode};
use jiff::Timestamp;

use self::upstream::{Upstream, Wanted};
pub(crate) use super::token::SecretError;
use super::{
    caller::{Credential, Identity},
    forward::{Forwarder, Keys},
    query::{self, Form, escape},
    token::{AssumedRole, Session, Tokens, Verdict, account_in_key, role_id},
};

mod upstream;

use crate::config::AuthKey;

/// How long the credentials of execution environments are valid.
const ENVIRONMENT_SECONDS: i64 = 43_200;

/// What everybody calls a key, and a secret, that nobody looks at.
const USUAL: &str = "test";

/// The token service.
pub(crate) struct Sts {
    tokens: Tokens,
    clock: Arc<dyn Clock>,
    /// The user's keys, by their id.
    keys: BTreeMap<String, AuthKey>,
    /// Whether keys that need no file are known, too: `test` and the numbers of accounts, all with the secret `test`.
    usual_keys: bool,
    /// Asked first, if there is another endpoint.
    upstream: Option<Upstream>,
}

/// An error as clients see it.
struct ApiError {
    status: StatusCode,
    code: &'static str,
    message: String,
}

/// What is known about a key.
#[derive(Debug)]
pub(crate) enum KeyLookup {
    /// It is the user's, or was given out here, or by the other endpoint.
    Known {
        /// The secret access key.
        secret: String,
        /// Whom it belongs to.
        identity: Identity,
    },
    /// Its time is over.
    Expired,
    /// Nobody's, or its token is not the one that was given out with it.
    Unknown,
}

/// A role's ARN, taken apart.
struct Role<'a> {
    arn: &'a str,
    partition: &'a str,
    account: AccountId,
    /// Without its path.
    name: &'a str,
}

/// Credentials that were just made.
struct Issued {
    credentials: Credentials,
    session: Session,
}

impl Sts {
    /// Opens the service. Its credentials outlive a restart if there is a data directory.
    ///
    /// # Errors
    /// The secret in the directory cannot be read or made.
    pub(crate) fn open(directory: Option<&Path>, clock: Arc<dyn Clock>) -> Result<Self, SecretError> {
        Ok(Sts {
            tokens: Tokens::open(directory)?,
            clock,
            keys: BTreeMap::new(),
            usual_keys: false,
            upstream: None,
        })
    }

    /// Knows the user's keys, too.
    pub(crate) fn with_keys(mut self, keys: Vec<AuthKey>) -> Self {
        self.keys = keys.into_iter().map(|key| (key.id.clone(), key)).collect();
        self
    }

    /// Knows the keys that local tools usually sign with, too.
    pub(crate) fn with_usual_keys(mut self) -> Self {
        self.usual_keys = true;
        self
    }

    /// Gives environments the credentials that the other endpoint's STS gives for their roles, where it does.
    pub(crate) fn ask_first(mut self, forwarder: Arc<Forwarder>) -> Self {
        self.upstream = forwarder.has_endpoint().then(|| Upstream::new(forwarder));
        self
    }

    /// The account that a request acts in: that of the role whose credentials signed it, else the access key
    /// itself if it is an account's number, else `000000000000`.
    pub(crate) fn account_of(&self, credential: &Credential) -> AccountId {
        self.identity_of(credential).account
    }

    /// Who a request comes from, as far as its access key and token tell.
    pub(crate) fn identity_of(&self, credential: &Credential) -> Identity {
        match self.session(credential) {
            Verdict::Valid(session) => session.identity(),
            Verdict::Foreign | Verdict::Forged => {
                let key = &credential.access_key_id;
                if let Some(key) = self.keys.get(key) {
                    return key.identity.clone();
                }
                let given = || self.upstream.as_ref()?.account_of(key);
                Identity { account: key.parse().ok().or_else(given).unwrap_or(AccountId::DEFAULT), arn: None }
            }
        }
    }

    /// The unique id of whom a request comes from, as GetCallerIdentity tells it.
    pub(crate) fn user_id_of(&self, credential: &Credential) -> String {
        match self.session(credential) {
            Verdict::Valid(session) => user_id(&session),
            Verdict::Foreign | Verdict::Forged => self.account_of(credential).to_string(),
        }
    }

    /// The secret of a key, and whom it belongs to.
    pub(crate) fn look_up(&self, credential: &Credential) -> KeyLookup {
        match self.session(credential) {
            Verdict::Valid(session) if session.expires <= self.now() => KeyLookup::Expired,
            Verdict::Valid(session) => KeyLookup::Known {
                secret: self.tokens.secret_access_key(&session.access_key_id),
                identity: session.identity(),
            },
            Verdict::Forged => KeyLookup::Unknown,
            Verdict::Foreign => {
                let id = &credential.access_key_id;
                if let Some(key) = self.keys.get(id) {
                    return KeyLookup::Known { secret: key.secret.clone(), identity: key.identity.clone() };
                }
                if self.usual_keys && (id == USUAL || id.parse::<AccountId>().is_ok()) {
                    return KeyLookup::Known {
                        secret: USUAL.to_owned(),
                        identity: self.identity_of(credential),
                    };
                }
                match self.upstream.as_ref().and_then(|upstream| upstream.given(id)) {
                    Some(given) if credential.session_token.as_ref() == Some(&given.session_token) => {
                        let identity = self.identity_of(credential);
                        KeyLookup::Known { secret: given.secret_access_key, identity }
                    }
                    Some(_) | None => KeyLookup::Unknown,
                }
            }
        }
    }

    /// The keys that a request was signed with, if the other endpoint gave them for a role.
    pub(super) fn upstream_keys(&self, credential: &Credential) -> Option<Keys> {
        let given = self.upstream.as_ref()?.given(&credential.access_key_id)?;
        // Whoever knows the token knows the secret, too.
        (credential.session_token.as_deref() == Some(&given.session_token)).then(|| Keys::temporary(given))
    }

    /// Whether a request is for the other endpoint's STS: it was signed with temporary credentials that are not ours.
    pub(super) fn is_upstreams(&self, credential: &Credential) -> bool {
        let temporary = credential.session_token.is_some();
        self.upstream.is_some() && temporary && self.session(credential) == Verdict::Foreign
    }

    /// Answers a request: parameters come in the body of a POST, or in the query of a GET.
    pub(crate) fn handle(&self, credential: &Credential, url_query: &str, body: &[u8]) -> Response<Bytes> {
        let form = Form::parse(if body.is_empty() { url_query.as_bytes() } else { body });
        let action = form.get("Action").unwrap_or_default();
        let result = match action {
            "AssumeRole" => self.assume_role(&form),
            "GetCallerIdentity" => self.get_caller_identity(credential),
            "GetSessionToken" => self.get_session_token(credential, &form),
            "GetAccessKeyInfo" => get_access_key_info(&form),
            "" => Err(ApiError::new(StatusCode::BAD_REQUEST, "MissingAction", "The request has no Action.")),
            other => Err(ApiError::new(
                StatusCode::NOT_IMPLEMENTED,
                "NotImplemented",
                format!("Hothouse's STS does not implement the action {other}."),
            )),
        };
        match result {
            Ok(result) => query::ok(action, &result),
            Err(error) => query::error(error.status, error.code, &error.message),
        }
    }

    fn assume_role(&self, form: &Form) -> Result<String, ApiError> {
        let arn = form.get("RoleArn").ok_or_else(|| missing("roleArn"))?;
        let session_name = form.get("RoleSessionName").ok_or_else(|| missing("roleSessionName"))?;
        if arn.len() < 20 {
            return Err(constraint("roleArn", arn, "Member must have length greater than or equal to 20"));
        }
        check_session_name(session_name)?;
        let seconds = duration(form, 3600, 43_200)?;
        let role = Role::parse(arn).ok_or_else(|| {
            ApiError::new(StatusCode::BAD_REQUEST, "ValidationError", format!("{arn} is invalid"))
        })?;
        let issued = self.issue(role.account, Some(role.assumed(session_name)), seconds)?;
        let assumed = issued.session.role.as_ref().expect("a role was assumed");
        Ok(format!(
            "{}<AssumedRoleUser><AssumedRoleId>{}</AssumedRoleId><Arn>{}</Arn></AssumedRoleUser>",
            render_credentials(&issued),
            user_id(&issued.session),
            escape(&assumed_role_arn(issued.session.account, assumed)),
        ))
    }

    fn get_caller_identity(&self, credential: &Credential) -> Result<String, ApiError> {
        let session = self.checked_session(credential)?;
        let Identity { account, arn } = self.identity_of(credential);
        let user = match &session {
            Some(session) => user_id(session),
            None => account.to_string(),
        };
        // Whoever is nobody else is the account's root user.
        let arn = arn.unwrap_or_else(|| format!("arn:aws:iam::{account}:root"));
        Ok(format!(
            "<Arn>{}</Arn><UserId>{}</UserId><Account>{account}</Account>",
            escape(&arn),
            escape(&user)
        ))
    }

    fn get_session_token(&self, credential: &Credential, form: &Form) -> Result<String, ApiError> {
        if self.checked_session(credential)?.is_some() {
            return Err(ApiError::new(
                StatusCode::FORBIDDEN,
                "AccessDenied",
                "Cannot call GetSessionToken with session credentials",
            ));
        }
        let seconds = duration(form, 43_200, 129_600)?;
        let account = self.account_of(credential);
        Ok(render_credentials(&self.issue(account, None, seconds)?))
    }

    fn session(&self, credential: &Credential) -> Verdict {
        let token = credential.session_token.as_deref();
        token.map_or(Verdict::Foreign, |token| self.tokens.read(&credential.access_key_id, token))
    }

    /// The session that signed; none for credentials that are not ours.
    fn checked_session(&self, credential: &Credential) -> Result<Option<Session>, ApiError> {
        match self.session(credential) {
            Verdict::Foreign => Ok(None),
            Verdict::Forged => Err(ApiError::new(
                StatusCode::FORBIDDEN,
                "InvalidClientTokenId",
                "The security token included in the request is invalid.",
            )),
            Verdict::Valid(session) if session.expires <= self.now() => Err(ApiError::new(
                StatusCode::FORBIDDEN,
                "ExpiredToken",
                "The security token included in the request is expired",
            )),
            Verdict::Valid(session) => Ok(Some(session)),
        }
    }

    fn issue(
        &self,
        account: AccountId,
        role: Option<AssumedRole>,
        seconds: i64,
    ) -> Result<Issued, SecretError> {
        let access_key_id = self.tokens.access_key_id(account)?;
        let session =
            Session { access_key_id: access_key_id.clone(), account, expires: self.now() + seconds, role };
        let credentials = Credentials {
            secret_access_key: self.tokens.secret_access_key(&access_key_id),
            session_token: self.tokens.sign(&session),
            access_key_id,
        };
        Ok(Issued { credentials, session })
    }

    /// Seconds since the epoch.
    fn now(&self) -> i64 {
        let since = self.clock.now().duration_since(UNIX_EPOCH).unwrap_or_default();
        i64::try_from(since.as_secs()).unwrap_or(i64::MAX)
    }
}

impl fmt::Debug for Sts {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Sts").finish_non_exhaustive()
    }
}

// === for execution environments ===

impl CredentialSource for Sts {
    fn assume_role<'a>(
        &'a self,
        spec: &'a FunctionSpec,
    ) -> BoxFuture<'a, Result<Credentials, CredentialError>> {
        Box::pin(async move {
            let refused = |reason: String| CredentialError { role: spec.role.clone(), reason };
            let role =
                Role::parse(&spec.role).ok_or_else(|| refused("it is not the ARN of a role".into()))?;
            let session = session_name(spec);
            if let Some(upstream) = &self.upstream {
                let wanted = Wanted {
                    role: role.arn,
                    role_account: role.account,
                    session: &session,
                    region: &spec.region,
                    account: spec.account,
                };
                if let Some(credentials) = upstream.assume_role(&wanted).await {
                    return Ok(credentials);
                }
            }
            let issued = self.issue(role.account, Some(role.assumed(&session)), ENVIRONMENT_SECONDS);
            Ok(issued.map_err(|error| refused(error.to_string()))?.credentials)
        })
    }
}

/// The function's name; session names have two characters at least.
fn session_name(spec: &FunctionSpec) -> String {
    match spec.function_name.as_str() {
        name if name.len() == 1 => format!("{name}@lambda_function"),
        name => name.to_owned(),
    }
}

// === parts of requests and answers ===

/// What STS calls an error of signatures.
pub(super) fn unverified(error: &hothouse_api::ApiError) -> Response<Bytes> {
    let code = match error.kind() {
        ErrorKind::MissingAuthenticationToken => "MissingAuthenticationToken",
        ErrorKind::IncompleteSignature => "IncompleteSignature",
        ErrorKind::UnrecognizedClient => "InvalidClientTokenId",
        ErrorKind::ExpiredToken => "ExpiredToken",
        ErrorKind::InvalidSignature => "SignatureDoesNotMatch",
        _ => "InternalFailure",
    };
    let status = StatusCode::from_u16(error.kind().status()).unwrap_or(StatusCode::FORBIDDEN);
    query::error(status, code, error.message().unwrap_or_default())
}

fn get_access_key_info(form: &Form) -> Result<String, ApiError> {
    let key = form.get("AccessKeyId").ok_or_else(|| missing("accessKeyId"))?;
    let account = key.parse().ok().or_else(|| account_in_key(key)).unwrap_or(AccountId::DEFAULT);
    Ok(format!("<Account>{account}</Account>"))
}

fn render_credentials(issued: &Issued) -> String {
    let Credentials { access_key_id, secret_access_key, session_token } = &issued.credentials;
    let expiration = Timestamp::from_second(issued.session.expires).unwrap_or(Timestamp::MAX);
    format!(
        "<Credentials><AccessKeyId>{access_key_id}</AccessKeyId><SecretAccessKey>{secret_access_key}\
         </SecretAccessKey><SessionToken>{session_token}</SessionToken><Expiration>{expiration}</Expiration>\
         </Credentials>"
    )
}

impl Session {
    fn identity(&self) -> Identity {
        let arn = self.role.as_ref().map(|role| assumed_role_arn(self.account, role));
        Identity { account: self.account, arn }
    }
}

fn assumed_role_arn(account: AccountId, role: &AssumedRole) -> String {
    format!("arn:{}:sts::{account}:assumed-role/{}/{}", role.partition, role.name, role.session)
}

fn user_id(session: &Session) -> String {
    match &session.role {
        Some(role) => format!("{}:{}", role.id, role.session),
        None => session.account.to_string(),
    }
}

impl<'a> Role<'a> {
    /// `arn:aws:iam::123456789012:role/path/name`.
    fn parse(arn: &'a str) -> Option<Self> {
        let mut parts = arn.splitn(6, ':');
        let (scheme, partition, service) = (parts.next()?, parts.next()?, parts.next()?);
        let (region, account, resource) = (parts.next()?, parts.next()?, parts.next()?);
        let name = resource.strip_prefix("role/")?.rsplit('/').next()?;
        let fits = scheme == "arn"
            && partition.starts_with("aws")
            && service == "iam"
            && region.is_empty()
            && !name.is_empty()
            && name.bytes().all(is_name_byte);
        if fits { Some(Role { arn, partition, account: account.parse().ok()?, name }) } else { None }
    }

    fn assumed(&self, session: &str) -> AssumedRole {
        AssumedRole {
            partition: self.partition.to_owned(),
            name: self.name.to_owned(),
            id: role_id(self.arn),
            session: session.to_owned(),
        }
    }
}

fn is_name_byte(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || b"_+=,.@-".contains(&byte)
}

fn check_session_name(name: &str) -> Result<(), ApiError> {
    let broken = match name.chars().count() {
        0..=1 => "Member must have length greater than or equal to 2",
        2..=64 if name.bytes().all(is_name_byte) => return Ok(()),
        2..=64 => r"Member must satisfy regular expression pattern: [\w+=,.@-]*",
        _ => "Member must have length less than or equal to 64",
    };
    Err(constraint("roleSessionName", name, broken))
}

fn duration(form: &Form, default: i64, maximum: i64) -> Result<i64, ApiError> {
    let Some(text) = form.get("DurationSeconds") else { return Ok(default) };
    match text.parse() {
        Ok(seconds) if seconds < 900 => {
            Err(constraint("durationSeconds", text, "Member must have value greater than or equal to 900"))
        }
        Ok(seconds) if seconds > maximum => Err(constraint(
            "durationSeconds",
            text,
            &format!("Member must have value less than or equal to {maximum}"),
        )),
        Ok(seconds) => Ok(seconds),
        Err(_) => Err(ApiError::new(
            StatusCode::BAD_REQUEST,
            "MalformedInput",
            format!("DurationSeconds is not a number: {text}"),
        )),
    }
}

fn missing(key: &str) -> ApiError {
    ApiError::new(
        StatusCode::BAD_REQUEST,
        "ValidationError",
        format!(
            "1 validation error detected: Value null at '{key}' failed to satisfy constraint: Member must not be null"
        ),
    )
}

fn constraint(key: &str, value: &str, constraint: &str) -> ApiError {
    ApiError::new(
        StatusCode::BAD_REQUEST,
        "ValidationError",
        format!(
            "1 validation error detected: Value '{value}' at '{key}' failed to satisfy constraint: {constraint}"
        ),
    )
}

impl ApiError {
    fn new(status: StatusCode, code: &'static str, message: impl Into<String>) -> Self {
        ApiError { status, code, message: message.into() }
    }
}

impl From<SecretError> for ApiError {
    fn from(error: SecretError) -> Self {
        tracing::error!("failed to {error}");
        ApiError::new(StatusCode::INTERNAL_SERVER_ERROR, "InternalFailure", "No credentials could be made.")
    }
}

#[cfg(test)]
mod tests;
