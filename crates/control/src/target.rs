//! From what a caller writes for a function to the function that is meant.
//!
//! Must not decide what an operation does about a function that is not there, only how AWS calls it.

use hothouse_api::{
    ApiError, ErrorKind, RequestContext,
    arn::FunctionArn,
    name::{FunctionRef, Qualifier},
};

use crate::{
    control::Control,
    error,
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
    /// If it is elsewhere, or contradicts itself, or has a qualifier that nothing can have.
    pub(crate) fn find(
        _control: &Control,
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
        if reference.account().is_some_and(|account| account != context.account) {
            return Err(ApiError::without_message(ErrorKind::AccessDenied));
        }
        let key = FunctionKey { scope: scope(context), name: reference.name().clone() };
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
        Ok(Self { key, qualifier })
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

/// Where the caller works.
pub(crate) fn scope(context: &RequestContext) -> Scope {
    Scope { account: context.account, region: context.region.clone() }
}

fn arn_prefix(context: &RequestContext) -> String {
    let RequestContext { account, region, .. } = context;
    format!("arn:{}:lambda:{region}:{account}:function:", region.partition())
}
