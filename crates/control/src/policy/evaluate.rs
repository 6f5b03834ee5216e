//! What policies allow to whom.
//!
//! Must not know identity-based policies: Hothouse has no IAM, so whoever is in the account is allowed everything.

use hothouse_api::{
    ApiError, ErrorKind, RequestContext, context::ServiceCaller, generated::FunctionUrlAuthType,
    name::AccountId,
};

use super::{
    document::{Listed, Parsed, Who},
    pattern,
};
use crate::state::model::policy::Policy;

/// What somebody wants to do to a resource.
#[derive(Debug)]
pub(crate) struct Access<'a> {
    /// Who, and where.
    pub(crate) context: &'a RequestContext,
    /// What, such as `lambda:InvokeFunction`.
    pub(crate) action: String,
    /// The resource's ARN, as in its policy's statements.
    pub(crate) resource: String,
    /// The account that the resource belongs to.
    pub(crate) owner: AccountId,
    /// Milliseconds since the epoch.
    pub(crate) now: i64,
    /// The kind of function URL that it comes by, if it does. Who comes by one without authentication is nobody.
    pub(crate) url: Option<FunctionUrlAuthType>,
}

/// A policy's word.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Verdict {
    Allowed,
    Denied,
    /// No statement applies.
    Unmentioned,
}

impl Access<'_> {
    /// Decides by the resource's policy. Who is of the owner's account needs no word from it, and is only asked after
    /// if `enforce` is set; nor do services, without it.
    ///
    /// # Errors
    /// If it is not allowed.
    pub(crate) fn check(&self, policy: Option<&Policy>, enforce: bool) -> Result<(), ApiError> {
        let foreign = self.context.account != self.owner || self.is_anonymous();
        if !foreign && !enforce {
            return Ok(());
        }
        let needs_word = foreign || self.context.service.is_some();
        match policy.map_or(Verdict::Unmentioned, |policy| self.verdict(policy)) {
            Verdict::Allowed => Ok(()),
            Verdict::Unmentioned if !needs_word => Ok(()),
            Verdict::Unmentioned => {
                Err(self
                    .refusal(&format!("because no resource-based policy allows the {} action", self.action)))
            }
            Verdict::Denied => Err(self.refusal("with an explicit deny in a resource-based policy")),
        }
    }

    fn verdict(&self, policy: &Policy) -> Verdict {
        let mut verdict = Verdict::Unmentioned;
        for statement in &policy.statements {
            // What was kept is what was understood when it was put.
            let parsed = serde_json::from_str(&statement.document).ok();
            let Some(parsed) = parsed.and_then(|statement| Parsed::of(&statement).ok()) else { continue };
            if self.is_meant_by(&parsed) {
                if parsed.denies {
                    return Verdict::Denied;
                }
                verdict = Verdict::Allowed;
            }
        }
        verdict
    }

    fn is_meant_by(&self, statement: &Parsed) -> bool {
        let action = self.action.to_ascii_lowercase();
        let among = |patterns: &[String]| {
            patterns.iter().any(|pattern| pattern::matches(&pattern.to_ascii_lowercase(), &action))
        };
        let within =
            |patterns: &[String]| patterns.iter().any(|pattern| pattern::matches(pattern, &self.resource));
        statement.principals.has(|principals| principals.iter().any(|who| self.comes_from(who)))
            && statement.actions.has(|actions| among(actions))
            && statement.resources.has(|resources| within(resources))
            && statement.conditions.iter().all(|condition| condition.holds(|key| self.value_of(key)))
    }

    fn is_anonymous(&self) -> bool {
        self.url == Some(FunctionUrlAuthType::None)
    }

    fn comes_from(&self, who: &Who) -> bool {
        match (who, &self.context.service) {
            (Who::Everyone, _) => true,
            _ if self.is_anonymous() => false,
            (Who::Service(name), Some(service)) => service.principal == *name,
            (Who::Account(account), None) => self.context.account == *account,
            (Who::Identity(arn), None) => {
                let caller = self.context.caller();
                *arn == caller || role_of_session(&caller).is_some_and(|role| is_role(arn, role))
            }
            (Who::Other, _) | (Who::Service(_), None) | (Who::Account(_) | Who::Identity(_), Some(_)) => {
                false
            }
        }
    }

    /// The value of a condition key, given in lower case, if it has one here.
    fn value_of(&self, key: &str) -> Option<String> {
        let RequestContext { account, region, service, .. } = self.context;
        let service: Option<&ServiceCaller> = service.as_deref();
        let identity = service.is_none() && !self.is_anonymous();
        match key {
            "aws:sourcearn" => service?.source_arn.clone(),
            "aws:sourceaccount" => service?.source_account.map(|account| account.to_string()),
            "aws:principalservicename" => Some(service?.principal.clone()),
            "aws:principalisawsservice" => Some(service.is_some().to_string()),
            "aws:viaawsservice" => Some("false".to_owned()),
            "aws:principalaccount" => identity.then(|| account.to_string()),
            "aws:principalarn" => identity.then(|| self.context.caller()),
            "aws:requestedregion" => Some(region.to_string()),
            "aws:currenttime" => Some(jiff::Timestamp::from_millisecond(self.now).ok()?.to_string()),
            "lambda:functionurlauthtype" => Some(self.url?.as_str().to_owned()),
            "aws:epochtime" => Some((self.now / 1000).to_string()),
            _ => None,
        }
    }

    fn refusal(&self, reason: &str) -> ApiError {
        let Self { context, action, resource, .. } = self;
        let user = match &context.service {
            Some(service) => service.principal.clone(),
            None => context.caller(),
        };
        ApiError::new(
            ErrorKind::AccessDenied,
            format!("User: {user} is not authorized to perform: {action} on resource: {resource} {reason}"),
        )
    }
}

impl<T> Listed<T> {
    fn has(&self, is_among: impl Fn(&T) -> bool) -> bool {
        match self {
            Self::In(list) => is_among(list),
            Self::NotIn(list) => !is_among(list),
        }
    }
}

/// `(partition, account, name)` of the role behind a session's ARN.
fn role_of_session(arn: &str) -> Option<(&str, &str, &str)> {
    let mut parts = arn.splitn(6, ':').skip(1);
    let (partition, service, _, account, resource) =
        (parts.next()?, parts.next()?, parts.next()?, parts.next()?, parts.next()?);
    let (name, _session) = resource.strip_prefix("assumed-role/")?.split_once('/')?;
    (service == "sts").then_some((partition, account, name))
}

/// Whether an ARN names this role. The role's path is not in its sessions' ARNs.
fn is_role(arn: &str, (partition, account, name): (&str, &str, &str)) -> bool {
    arn.strip_prefix(&format!("arn:{partition}:iam::{account}:role/"))
        .and_then(|path| path.rsplit('/').next())
        .is_some_and(|last| last == name)
}
