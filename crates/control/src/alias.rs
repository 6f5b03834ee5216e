//! Aliases: names for versions, and for pairs of versions that share the invocations.
//!
//! Must not point to a version that is not there.

use std::{collections::BTreeMap, sync::Arc};

use hothouse_api::{
    ApiError, RequestContext,
    arn::FunctionArn,
    generated::{
        AliasConfiguration, AliasRoutingConfiguration, CreateAliasRequest, DeleteAliasRequest,
        GetAliasRequest, ListAliasesRequest, ListAliasesResponse, UpdateAliasRequest,
    },
    name::{self, AliasName, Qualifier},
};
use uuid::Uuid;

use crate::{
    control::Control,
    error::{self, invalid_parameter, not_found, validation},
    function::update::check_revision,
    page::{self, Page},
    provisioned,
    state::{
        Event, SettingKind,
        model::{AdditionalVersion, Alias, Function, FunctionKey},
    },
    target::Target,
};

pub(crate) async fn create(
    control: &Control,
    context: RequestContext,
    input: CreateAliasRequest,
) -> Result<AliasConfiguration, ApiError> {
    let key = Target::function(control, &context, &input.function_name)?;
    let name = parse_name(&input.name)?;
    let this = control.clone();
    control
        .run(async move {
            this.change(&key, |state| {
                let not_found =
                    || error::function_not_found(format_args!("{}:{}", key.arn(), input.function_version));
                let function = state.function(&key).ok_or_else(not_found)?;
                let version = parse_version(function, &input.function_version).ok_or_else(not_found)?;
                if function.aliases.contains_key(&name) {
                    return Err(error::alias_exists(&arn(&key, &name)));
                }
                let alias = Alias {
                    version,
                    description: input.description.clone().unwrap_or_default(),
                    additional: routing(&key, function, version, input.routing_config.as_ref())?,
                    revision_id: Uuid::new_v4(),
                };
                let shown = show(&key, &name, &alias);
                let put = Event::AliasPut { name: name.clone(), alias: Arc::new(alias) };
                // The URL of an alias that once had this name is not this one's.
                let qualifier = Qualifier::Alias(name.clone());
                let forgotten = function
                    .setting(SettingKind::Url, Some(qualifier.clone()))
                    .map(|_| Event::SettingRemoved { qualifier: Some(qualifier), kind: SettingKind::Url });
                Ok((forgotten.into_iter().chain([put]).collect(), shown))
            })
            .await
        })
        .await
}

pub(crate) async fn update(
    control: &Control,
    context: RequestContext,
    input: UpdateAliasRequest,
) -> Result<AliasConfiguration, ApiError> {
    let key = Target::function(control, &context, &input.function_name)?;
    let name = parse_name(&input.name)?;
    let this = control.clone();
    control
        .run(async move {
            this.change(&key, |state| {
                let found =
                    state.function(&key).and_then(|function| Some((function, function.aliases.get(&name)?)));
                let Some((function, before)) = found else {
                    return Err(not_found(format!("Alias not found: {}", arn(&key, &name))));
                };
                check_revision(&before.revision_id, input.revision_id.as_deref())?;
                let version = match &input.function_version {
                    None => before.version,
                    Some(text) => parse_version(function, text)
                        .ok_or_else(|| error::function_not_found(format_args!("{}:{text}", key.arn())))?,
                };
                let additional = match &input.routing_config {
                    Some(sent) => routing(&key, function, version, Some(sent))?,
                    None => {
                        if let Some(kept) = before.additional {
                            check_pair(version, kept.number)?;
                        }
                        before.additional
                    }
                };
                let alias = Alias {
                    version,
                    description: input.description.clone().unwrap_or_else(|| before.description.clone()),
                    additional,
                    revision_id: Uuid::new_v4(),
                };
                let provisioned = provisioned::moved(function, &name, before, &alias)?;
                let shown = show(&key, &name, &alias);
                let put = Event::AliasPut { name: name.clone(), alias: Arc::new(alias) };
                Ok(([Some(put), provisioned].into_iter().flatten().collect(), shown))
            })
            .await
        })
        .await
}

pub(crate) async fn delete(
    control: &Control,
    context: RequestContext,
    input: DeleteAliasRequest,
) -> Result<(), ApiError> {
    let key = Target::function(control, &context, &input.function_name)?;
    let name = parse_name(&input.name)?;
    let this = control.clone();
    control
        .run(async move {
            this.change(&key, |state| {
                let there = state.function(&key).is_some_and(|function| function.aliases.contains_key(&name));
                Ok((if there { vec![Event::AliasDeleted { name: name.clone() }] } else { Vec::new() }, ()))
            })
            .await
        })
        .await
}

pub(crate) fn get(
    control: &Control,
    context: &RequestContext,
    input: &GetAliasRequest,
) -> Result<AliasConfiguration, ApiError> {
    let key = Target::function(control, context, &input.function_name)?;
    let name = parse_name(&input.name)?;
    let state = control.state();
    let alias = state.function(&key).and_then(|function| function.aliases.get(&name));
    let alias = alias.ok_or_else(|| error::alias_not_found(&arn(&key, &name)))?;
    Ok(show(&key, &name, alias))
}

pub(crate) fn list(
    control: &Control,
    context: &RequestContext,
    input: &ListAliasesRequest,
) -> Result<ListAliasesResponse, ApiError> {
    /// The model's limit.
    const MOST: usize = 10_000;
    let key = Target::function(control, context, &input.function_name)?;
    let after: Option<AliasName> = page::marker(input.marker.as_deref())?;
    let state = control.state();
    let function = state.function(&key).ok_or_else(|| error::function_not_found(key.arn()))?;
    let aliases =
        function.aliases.iter().filter(|(name, _)| after.as_ref().is_none_or(|after| *name > after)).filter(
            |(_, alias)| {
                input.function_version.as_ref().is_none_or(|text| alias.version.to_string() == *text)
            },
        );
    let page = Page::collect(aliases, input.max_items, MOST, |(name, alias)| {
        (name.to_string(), show(&key, name, alias))
    });
    Ok(ListAliasesResponse { next_marker: page.next_marker, aliases: Some(page.items) })
}

fn parse_name(text: &str) -> Result<AliasName, ApiError> {
    text.parse().map_err(|_| {
        validation("name", text, "satisfy regular expression pattern: (?!^[0-9]+$)([a-zA-Z0-9-_]+)")
    })
}

/// A version of the function, if it has this one.
fn parse_version(function: &Function, text: &str) -> Option<name::Version> {
    let version = match text.parse::<Qualifier>().ok()? {
        Qualifier::Latest => name::Version::Latest,
        Qualifier::Version(number) => name::Version::Number(number),
        Qualifier::LatestPublished => name::Version::LatestPublished,
        Qualifier::Alias(_) => return None,
    };
    function.version(version).map(|version| version.version)
}

/// The other version and its weight, from what was sent.
fn routing(
    key: &FunctionKey,
    function: &Function,
    version: name::Version,
    sent: Option<&AliasRoutingConfiguration>,
) -> Result<Option<AdditionalVersion>, ApiError> {
    let weights = sent.and_then(|routing| routing.additional_version_weights.as_ref());
    let Some(weights) = weights.filter(|weights| !weights.is_empty()) else { return Ok(None) };
    if weights.len() > 1 {
        return Err(invalid_parameter(
            "Number of items in AdditionalVersionWeights cannot be greater than 1",
        ));
    }
    let mut additional = None;
    for (text, weight) in weights {
        let missing = || error::function_not_found(format_args!("{}:{text}", key.arn()));
        let name::Version::Number(number) = text.parse().map_err(|_| missing())? else {
            return Err(missing());
        };
        check_pair(version, number)?;
        if !function.versions.contains_key(&number) {
            return Err(missing());
        }
        additional = Some(AdditionalVersion { number, weight: *weight });
    }
    Ok(additional)
}

/// Which two versions cannot share an alias.
fn check_pair(version: name::Version, additional: u64) -> Result<(), ApiError> {
    match version {
        name::Version::Number(number) if number == additional => Err(invalid_parameter(format!(
            "Invalid function version {number}. Function version {number} is already included in routing \
             configuration."
        ))),
        name::Version::Number(_) => Ok(()),
        // Unverified: that the published one is no other in this.
        name::Version::Latest | name::Version::LatestPublished => Err(invalid_parameter(format!(
            "{version} is not supported for an alias pointing to more than 1 version"
        ))),
    }
}

fn arn(key: &FunctionKey, name: &AliasName) -> FunctionArn {
    key.arn().with_qualifier(Qualifier::Alias(name.clone()))
}

fn show(key: &FunctionKey, name: &AliasName, alias: &Alias) -> AliasConfiguration {
    AliasConfiguration {
        alias_arn: Some(arn(key, name).to_string()),
        name: Some(name.to_string()),
        function_version: Some(alias.version.to_string()),
        description: Some(alias.description.clone()),
        routing_config: alias.additional.map(|additional| AliasRoutingConfiguration {
            additional_version_weights: Some(BTreeMap::from([(
                additional.number.to_string(),
                additional.weight,
            )])),
        }),
        revision_id: Some(alias.revision_id.to_string()),
    }
}
