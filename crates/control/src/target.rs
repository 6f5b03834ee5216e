//! From what a caller writes for a function to the function that is meant.
//!
//! Must not decide what an operation does about a function that is not there, only how AWS calls it.

use hothouse_api::{
    ApiError, ErrorKind, RequestContext,
    arn::FunctionArn,
    generated::Operation,
    name::{FunctionRef, Qualifier},
};

use crate::{
    control::Control,
    error, permission,
    policy::Access,
    state::model::{FunctionKey, Scope},
};

/// A function, and what the caller put behind its name.
#[derive(Debug)]
pub(crate) struct Target {
    pub(crate) key: FunctionKey,
    pub(crate) qualifier: Option<Qualifier>,
}

impl Target {
    /// The ARN as the caller meant it: qualified if the request was.
    pub(crate) fn arn(&self) -> FunctionArn {
        let arn = self.key.arn();
        match &self.qualifier {
            Some(qualifier) => arn.with_qualifier(qualifier.clone()),
            None => arn,
        }
    }

    /// Finds the target of an operation on functions, versions and aliases.
    ///
    /// # Errors
    /// If it is elsewhere, or contradicts itself, or has a qualifier that nothing can have, or if the caller may not
    /// do this to it.
    pub(crate) fn find(
        control: &Control,
        context: &RequestContext,
        function_name: &str,
        qualifier: Option<&str>,
    ) -> Result<Self, ApiError> {
        let Ok(reference) = function_name.parse::<FunctionRef>() else {
            // Validation let it pass, so it is only the qualifier that cannot be one, such as a number like `007`.
            let name = function_name.rsplit_once("function:").map_or(function_name, |(_, name)| name);
            let scope = arn_prefix(context);
            return Err(error::function_not_found(format_args!("{scope}{name}")));
        };
        if let Some(region) = reference.region()
            && *region != context.region
        {
            return Err(error::other_region(region, &context.region));
        }
        let account = reference.account().unwrap_or(context.account);
        let scope = Scope { account, region: context.region.clone() };
        let key = FunctionKey { scope, name: reference.name().clone() };
        let qualifier = match (reference.qualifier(), qualifier) {
            (None, None) => None,
            (Some(derived), None) => Some(derived.clone()),
            (derived, Some(given)) => {
                let Ok(given) = given.parse::<Qualifier>() else {
                    return Err(error::function_not_found(format_args!("{}:{given}", key.arn())));
                };
                if derived.is_some_and(|derived| *derived != given) {
                    return Err(error::qualifiers_differ());
                }
                Some(given)
            }
        };
        let target = Self { key, qualifier };
        target.authorize(control, context)?;
        Ok(target)
    }

    /// Refuses callers of other accounts, unless the policy of what they ask for lets them in.
    fn authorize(&self, control: &Control, context: &RequestContext) -> Result<(), ApiError> {
        let owner = self.key.scope.account;
        let enforce = control.config().enforce_policies;
        if owner == context.account && !enforce {
            return Ok(());
        }
        let Some(operation) = context.operation else {
            return Err(ApiError::without_message(ErrorKind::AccessDenied));
        };
        if owner != context.account && !CROSS_ACCOUNT.contains(&operation) {
            return Err(ApiError::without_message(ErrorKind::AccessDenied));
        }
        let access = Access {
            context,
            action: format!("lambda:{}", action(operation)),
            resource: self.guarded_arn().to_string(),
            owner,
            now: control.now(),
            url: None,
        };
        let state = control.state();
        let function = state.function(&self.key);
        let policy = function.and_then(|function| permission::of(function, self.guarded_arn().qualifier()));
        access.check(policy, enforce)
    }

    /// The ARN in the policy's statements.
    ///
    /// Unverified: that a call to `$LATEST` needs what one without a qualifier needs, since it cannot have a policy.
    pub(crate) fn guarded_arn(&self) -> FunctionArn {
        match self.arn() {
            arn if arn.qualifier() == Some(&Qualifier::Latest) => arn.unqualified(),
            arn => arn,
        }
    }

    /// Finds the target of an operation on functions as a whole.
    ///
    /// # Errors
    /// As [`Target::find`], and if there is a qualifier.
    pub(crate) fn function(
        control: &Control,
        context: &RequestContext,
        function_name: &str,
    ) -> Result<FunctionKey, ApiError> {
        let target = Self::find(control, context, function_name, None)?;
        if target.qualifier.is_some() { Err(error::functions_only()) } else { Ok(target.key) }
    }
}

/// The operations that a function's policy can allow to other accounts
/// (<https://docs.aws.amazon.com/lambda/latest/dg/permissions-function-cross-account.html>). Unverified: that the newer
/// operations cannot be, of which the page says nothing.
const CROSS_ACCOUNT: [Operation; 27] = [
    Operation::CreateAlias,
    Operation::DeleteAlias,
    Operation::DeleteFunction,
    Operation::DeleteFunctionConcurrency,
    Operation::DeleteFunctionEventInvokeConfig,
    Operation::DeleteProvisionedConcurrencyConfig,
    Operation::GetAlias,
    Operation::GetFunction,
    Operation::GetFunctionConcurrency,
    Operation::GetFunctionConfiguration,
    Operation::GetFunctionEventInvokeConfig,
    Operation::GetPolicy,
    Operation::GetProvisionedConcurrencyConfig,
    Operation::Invoke,
    Operation::InvokeAsync,
    Operation::InvokeWithResponseStream,
    Operation::ListAliases,
    Operation::ListFunctionEventInvokeConfigs,
    Operation::ListProvisionedConcurrencyConfigs,
    Operation::ListVersionsByFunction,
    Operation::PublishVersion,
    Operation::PutFunctionConcurrency,
    Operation::PutFunctionEventInvokeConfig,
    Operation::PutProvisionedConcurrencyConfig,
    Operation::UpdateAlias,
    Operation::UpdateFunctionCode,
    Operation::UpdateFunctionEventInvokeConfig,
];

/// What policies call an operation.
pub(crate) fn action(operation: Operation) -> &'static str {
    match operation {
        Operation::Invoke | Operation::InvokeAsync | Operation::InvokeWithResponseStream => "InvokeFunction",
        Operation::GetLayerVersionByArn => "GetLayerVersion",
        other => other.as_str(),
    }
}

/// Where the caller works.
pub(crate) fn scope(context: &RequestContext) -> Scope {
    Scope { account: context.account, region: context.region.clone() }
}

fn arn_prefix(context: &RequestContext) -> String {
    let RequestContext { account, region, .. } = context;
    format!("arn:{}:lambda:{region}:{account}:function:", region.partition())
}
