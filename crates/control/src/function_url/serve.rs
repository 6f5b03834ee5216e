//! What stands behind a function URL: whom it lets in, and the invocation of its function.
//!
//! Must not know HTTP: events are made, and answers read, by the door.

use bytes::Bytes;
use hothouse_api::{
    ApiError, ErrorKind, RequestContext,
    dispatch::request_too_large,
    generated::{Cors, FunctionUrlAuthType, InvokeMode, Operation},
    name::{AccountId, FunctionName, Region},
};
use hothouse_execution::invocation::Outcome;

use crate::{
    control::Control,
    function::read::resolve,
    invoke::{self, StreamedAnswer, StreamedInvocation},
    permission,
    policy::Access,
    state::{Setting, SettingKind, model::settings::FunctionUrl},
    target::Target,
};

/// A function URL that somebody calls.
#[derive(Debug)]
pub struct ServedUrl {
    target: Target,
    config: FunctionUrl,
}

impl ServedUrl {
    /// The first part of its host's name.
    pub fn id(&self) -> &str {
        &self.config.id
    }

    /// The account of its function.
    pub fn account(&self) -> AccountId {
        self.target.key.scope.account
    }

    /// The region of its function.
    pub fn region(&self) -> &Region {
        &self.target.key.scope.region
    }

    /// Its function.
    pub fn function(&self) -> &FunctionName {
        &self.target.key.name
    }

    /// Whether callers must sign.
    pub fn auth_type(&self) -> FunctionUrlAuthType {
        self.config.auth_type
    }

    /// Cross-origin settings, if it has any.
    pub fn cors(&self) -> Option<&Cors> {
        self.config.cors.as_ref()
    }

    /// Whether answers are collected whole before they are sent.
    pub fn invoke_mode(&self) -> InvokeMode {
        self.config.invoke_mode.unwrap_or(InvokeMode::Buffered)
    }
}

impl Control {
    /// The function URL with this id, of whatever account and region. One of an alias that is gone is still found, but
    /// lets nobody in.
    pub fn function_url(&self, id: &str) -> Option<ServedUrl> {
        let state = self.state();
        let owner = state.url_owner(id)?;
        match state.function(&owner.key)?.setting(SettingKind::Url, owner.qualifier.clone())? {
            Setting::Url(config) => Some(ServedUrl {
                target: Target { key: owner.key.clone(), qualifier: owner.qualifier.clone() },
                config: config.clone(),
            }),
            _ => None,
        }
    }

    /// Lets a caller in, or not. Of a URL without authentication the context's caller means nothing: its policy must
    /// let in everybody. Otherwise the caller's signature must have been verified.
    ///
    /// # Errors
    /// If the caller is not let in: AWS tells no reason.
    pub fn admit_to_url(&self, url: &ServedUrl, context: &RequestContext) -> Result<(), ApiError> {
        let ServedUrl { target, config } = url;
        let state = self.state();
        let function = state.function(&target.key).ok_or_else(forbidden)?;
        resolve(function, target.qualifier.as_ref()).ok_or_else(forbidden)?;
        let access = Access {
            context,
            action: "lambda:InvokeFunctionUrl".to_owned(),
            resource: target.arn().to_string(),
            owner: target.key.scope.account,
            now: self.now(),
            url: Some(config.auth_type),
        };
        // AWS says that URLs which are made since October 2025 need a word on `lambda:InvokeFunction` as well. Those
        // that were recorded in November did not.
        let policy = permission::of(function, target.qualifier.as_ref());
        access.check(policy, self.config().enforce_policies).map_err(|_| forbidden())
    }

    /// Invokes the function of a URL.
    ///
    /// # Errors
    /// If the function is not reached, as Invoke would say.
    pub async fn invoke_url(
        &self,
        url: &ServedUrl,
        context: &RequestContext,
        event: Bytes,
    ) -> Result<Outcome, ApiError> {
        self.check_event(&event)?;
        invoke::by_url(self, context, &url.target, event).await
    }

    /// Invokes the function of a URL; returns when its answer begins.
    ///
    /// # Errors
    /// If the function is not reached, as Invoke would say.
    pub async fn stream_url(
        &self,
        url: &ServedUrl,
        context: &RequestContext,
        event: Bytes,
    ) -> Result<StreamedAnswer, ApiError> {
        self.check_event(&event)?;
        let invocation =
            StreamedInvocation { payload: event, client_context: None, tenant_id: None, tail: false };
        invoke::stream(self, context, &url.target, invocation).await
    }

    fn check_event(&self, event: &Bytes) -> Result<(), ApiError> {
        let limit = self.config().limits.request_payload;
        if event.len() > limit { Err(request_too_large(Operation::Invoke, limit)) } else { Ok(()) }
    }
}

/// What AWS answers to who is not let in.
pub fn forbidden() -> ApiError {
    ApiError::new(
        ErrorKind::AccessDenied,
        "Forbidden. For troubleshooting Function URL authorization issues, see: \
         https://docs.aws.amazon.com/lambda/latest/dg/urls-auth.html",
    )
}
