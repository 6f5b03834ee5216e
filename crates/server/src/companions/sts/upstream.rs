//! The STS of the other endpoint: asked for the credentials of roles, so that the services there know functions by
//! their roles.
//!
//! Must not fail or stall a cold start: what is not to be had there in time is left to our own STS.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use hothouse_api::name::{AccountId, Region};
use hothouse_execution::ports::Credentials;
use http::{HeaderValue, Method, Request, header};
use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};
use tokio::time::Instant;

use super::ENVIRONMENT_SECONDS;
use crate::companions::{
    body,
    forward::{ForwardError, Forwarder},
    query,
};

/// The endpoint may take so long.
const TIMEOUT: Duration = Duration::from_secs(3);
/// Whoever refused, or did not answer, is not asked again for so long.
const PAUSE: Duration = Duration::from_secs(60);
/// Bytes of an answer that are read.
const ANSWER_BYTES: usize = 64 << 10;
/// What a role gives at least, where it does not give the twelve hours of environments.
const LEAST_SECONDS: i64 = 3_600;
/// Credentials whose account is remembered. Environments are far fewer.
const REMEMBERED: usize = 10_000;

/// Asks the other endpoint.
#[derive(Debug)]
pub(super) struct Upstream {
    forwarder: Arc<Forwarder>,
    memory: Mutex<Memory>,
}

#[derive(Debug, Default)]
struct Memory {
    /// Until when the endpoint is left alone.
    away_until: Option<Instant>,
    /// The endpoint was reported as giving no credentials.
    away_told: bool,
    /// Until when it is not asked for a role; the roles' refusals were reported.
    refused: HashMap<String, Instant>,
    /// What it gave, by access key.
    given: HashMap<String, Given>,
}

/// Credentials that the endpoint gave.
#[derive(Debug)]
struct Given {
    account: AccountId,
    credentials: Credentials,
    until: Instant,
}

/// Credentials for one environment.
#[derive(Debug)]
pub(super) struct Wanted<'a> {
    /// ARN of the role.
    pub(super) role: &'a str,
    /// Account of the role.
    pub(super) role_account: AccountId,
    /// Name of the session.
    pub(super) session: &'a str,
    /// Region of the function.
    pub(super) region: &'a Region,
    /// Account of the function.
    pub(super) account: AccountId,
}

/// Why there are none.
#[derive(Debug, thiserror::Error)]
enum Refusal {
    /// STS answered with an error about this role.
    #[error("{code}: {message}")]
    Role { code: String, message: String },
    /// It did not answer in time.
    #[error("no answer within {} s", TIMEOUT.as_secs())]
    Late,
    /// It could not be asked.
    #[error("failed to {0}")]
    Unreachable(#[from] ForwardError),
    /// What answered is no STS.
    #[error("its answer (status {status}) is not one of STS")]
    NoSts { status: u16 },
}

impl Upstream {
    pub(super) fn new(forwarder: Arc<Forwarder>) -> Self {
        Upstream { forwarder, memory: Mutex::default() }
    }

    /// The role's credentials; none if the endpoint does not give them, which is told once.
    pub(super) async fn assume_role(&self, wanted: &Wanted<'_>) -> Option<Credentials> {
        if !self.memory().may_ask(wanted.role, Instant::now()) {
            return None;
        }
        let asked = tokio::time::timeout(TIMEOUT, self.ask(wanted, ENVIRONMENT_SECONDS)).await;
        match asked.unwrap_or(Err(Refusal::Late)) {
            Ok(credentials) => {
                self.memory().given(&credentials, wanted.role_account, Instant::now());
                Some(credentials)
            }
            Err(refusal) => {
                if self.memory().refused(wanted.role, &refusal, Instant::now()) {
                    tracing::warn!(
                        role = wanted.role,
                        reason = hothouse_execution::chain(&refusal),
                        "the AWS endpoint gives no credentials for the role; functions get credentials of Hothouse, \
                         which services there may not accept"
                    );
                }
                None
            }
        }
    }

    /// The account that a key acts in, if it came from the endpoint.
    pub(super) fn account_of(&self, access_key_id: &str) -> Option<AccountId> {
        self.memory().given.get(access_key_id).map(|given| given.account)
    }

    /// The credentials that a key belongs to, if they came from the endpoint.
    pub(super) fn given(&self, access_key_id: &str) -> Option<Credentials> {
        self.memory().given.get(access_key_id).map(|given| given.credentials.clone())
    }

    async fn ask(&self, wanted: &Wanted<'_>, seconds: i64) -> Result<Credentials, Refusal> {
        match self.exchange(wanted, seconds).await {
            // Few roles allow twelve hours (MaxSessionDuration), and a role that was assumed to assume another gets one.
            Err(Refusal::Role { code, message })
                if seconds > LEAST_SECONDS
                    && code == "ValidationError"
                    && message.contains("DurationSeconds") =>
            {
                self.exchange(wanted, LEAST_SECONDS).await
            }
            other => other,
        }
    }

    async fn exchange(&self, wanted: &Wanted<'_>, seconds: i64) -> Result<Credentials, Refusal> {
        let encode = |text| utf8_percent_encode(text, NON_ALPHANUMERIC).to_string();
        let form = format!(
            "Action=AssumeRole&Version=2011-06-15&RoleArn={}&RoleSessionName={}&DurationSeconds={seconds}",
            encode(wanted.role),
            encode(wanted.session)
        );
        let mut request = Request::new(body::whole(form.into()));
        *request.method_mut() = Method::POST;
        let form_type = HeaderValue::from_static("application/x-www-form-urlencoded; charset=utf-8");
        request.headers_mut().insert(header::CONTENT_TYPE, form_type);
        let response = self.forwarder.ask(request, "sts", wanted.region, wanted.account).await?;
        let status = response.status();
        let no_sts = || Refusal::NoSts { status: status.as_u16() };
        let bytes = body::read(response.into_body(), ANSWER_BYTES).await.map_err(|_| no_sts())?;
        let xml = std::str::from_utf8(&bytes).map_err(|_| no_sts())?;
        let element = |name| query::element(xml, name).filter(|text| !text.is_empty());
        if !status.is_success() {
            let code = element("Code").ok_or_else(no_sts)?;
            return Err(Refusal::Role { code, message: element("Message").unwrap_or_default() });
        }
        let credentials = || {
            Some(Credentials {
                access_key_id: element("AccessKeyId")?,
                secret_access_key: element("SecretAccessKey")?,
                session_token: element("SessionToken")?,
            })
        };
        credentials().ok_or_else(no_sts)
    }

    fn memory(&self) -> MutexGuard<'_, Memory> {
        // Each use is a few plain moves.
        self.memory.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Memory {
    fn may_ask(&self, role: &str, now: Instant) -> bool {
        self.away_until.is_none_or(|until| until <= now)
            && self.refused.get(role).is_none_or(|until| *until <= now)
    }

    /// Tells whether this is news.
    fn refused(&mut self, role: &str, refusal: &Refusal, now: Instant) -> bool {
        match refusal {
            Refusal::Role { .. } => self.refused.insert(role.to_owned(), now + PAUSE).is_none(),
            Refusal::Late | Refusal::Unreachable(_) | Refusal::NoSts { .. } => {
                self.away_until = Some(now + PAUSE);
                !std::mem::replace(&mut self.away_told, true)
            }
        }
    }

    fn given(&mut self, credentials: &Credentials, account: AccountId, now: Instant) {
        self.away_until = None;
        self.away_told = false;
        if self.given.len() >= REMEMBERED {
            self.given.retain(|_, given| given.until > now);
        }
        if self.given.len() < REMEMBERED {
            let until = now + Duration::from_secs(ENVIRONMENT_SECONDS.unsigned_abs());
            let given = Given { account, credentials: credentials.clone(), until };
            self.given.insert(credentials.access_key_id.clone(), given);
        }
    }
}
