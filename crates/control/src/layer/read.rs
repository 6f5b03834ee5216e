//! GetLayerVersion, GetLayerVersionByArn, ListLayers, ListLayerVersions.
//!
//! Must not wait for anything.

use hothouse_api::{
    ApiError, RequestContext,
    generated::{
        Architecture, GetLayerVersionByArnRequest, GetLayerVersionRequest, GetLayerVersionResponse,
        LayerVersionContentOutput, LayerVersionsListItem, LayersListItem, ListLayerVersionsRequest,
        ListLayerVersionsResponse, ListLayersRequest, ListLayersResponse, Runtime,
    },
};

use super::{LayerKey, LayerVersionKey, no_such_resource};
use crate::{
    control::Control,
    describe::last_modified,
    package,
    page::{self, Page},
    state::{ResourceId, model::layer::LayerVersion},
    target::scope,
};

/// Items on a page: the model's limit.
const MOST: usize = 50;

pub(crate) fn get(
    control: &Control,
    context: &RequestContext,
    input: &GetLayerVersionRequest,
) -> Result<GetLayerVersionResponse, ApiError> {
    let layer = LayerKey::find(context, &input.layer_name)?;
    show(control, context, &layer.sent_version(input.version_number)?)
}

pub(crate) fn get_by_arn(
    control: &Control,
    context: &RequestContext,
    input: &GetLayerVersionByArnRequest,
) -> Result<GetLayerVersionResponse, ApiError> {
    let key = LayerVersionKey::parse(&input.arn).ok_or_else(no_such_resource)?;
    show(control, context, &key)
}

fn show(
    control: &Control,
    context: &RequestContext,
    key: &LayerVersionKey,
) -> Result<GetLayerVersionResponse, ApiError> {
    let state = control.state();
    let version = key.readable(&state, context)?.filter(|_| key.layer.is_here(context));
    Ok(describe(control, key, version.ok_or_else(no_such_resource)?))
}

pub(super) fn describe(
    control: &Control,
    key: &LayerVersionKey,
    version: &LayerVersion,
) -> GetLayerVersionResponse {
    let LayerVersionsListItem {
        layer_version_arn,
        version: number,
        description,
        created_date,
        compatible_architectures,
        compatible_runtimes,
        license_info,
    } = list_item(key, version);
    GetLayerVersionResponse {
        content: Some(LayerVersionContentOutput {
            location: Some(package::url(control, &version.hash)),
            code_sha256: Some(version.hash.base64()),
            code_size: Some(version.size.cast_signed()),
            resolved_s3_object: version.object.clone(),
            ..LayerVersionContentOutput::default()
        }),
        layer_arn: Some(key.layer.arn().to_string()),
        layer_version_arn,
        description,
        created_date,
        version: number,
        compatible_architectures,
        compatible_runtimes,
        license_info,
    }
}

fn list_item(key: &LayerVersionKey, version: &LayerVersion) -> LayerVersionsListItem {
    LayerVersionsListItem {
        layer_version_arn: Some(key.arn().to_string()),
        version: Some(key.number.cast_signed()),
        description: Some(version.description.clone()),
        created_date: Some(last_modified(version.created)),
        compatible_architectures: version.compatible_architectures.clone(),
        compatible_runtimes: version.compatible_runtimes.clone(),
        license_info: version.license_info.clone(),
    }
}

/// What lists can be narrowed down to. A version that does not say what it is for matches nothing.
#[derive(Debug, Clone, Copy)]
struct Filter {
    runtime: Option<Runtime>,
    architecture: Option<Architecture>,
}

impl Filter {
    fn matches(&self, version: &LayerVersion) -> bool {
        fn has<T: PartialEq>(compatible: Option<&[T]>, wanted: Option<T>) -> bool {
            wanted.is_none_or(|wanted| compatible.is_some_and(|compatible| compatible.contains(&wanted)))
        }
        has(version.compatible_runtimes.as_deref(), self.runtime)
            && has(version.compatible_architectures.as_deref(), self.architecture)
    }
}

pub(crate) fn list(
    control: &Control,
    context: &RequestContext,
    input: &ListLayersRequest,
) -> Result<ListLayersResponse, ApiError> {
    use std::ops::Bound::{Excluded, Included};
    let after: Option<String> = page::marker(input.marker.as_deref())?;
    let filter = Filter { runtime: input.compatible_runtime, architecture: input.compatible_architecture };
    let scope = scope(context);
    let from = match after {
        None => Included(ResourceId::Layer(String::new())),
        Some(name) => Excluded(ResourceId::Layer(name)),
    };
    // What follows the layers in the order of resources.
    let end = Excluded(ResourceId::LayerVersion(String::new(), 0));
    let state = control.state();
    let layers = state.resources(&scope, (from, end)).filter_map(|(id, _)| {
        let ResourceId::Layer(name) = id else { return None };
        let layer = LayerKey { scope: scope.clone(), name: name.clone() };
        let newest = layer.versions(&state, None).find(|(_, version)| filter.matches(version))?;
        Some((layer, newest))
    });
    let page = Page::collect(layers, input.max_items, MOST, |(layer, (number, version))| {
        let name = layer.name.clone();
        let item = LayersListItem {
            layer_name: Some(name.clone()),
            layer_arn: Some(layer.arn().to_string()),
            latest_matching_version: Some(list_item(&layer.version(number), version)),
        };
        (name, item)
    });
    Ok(ListLayersResponse { next_marker: page.next_marker, layers: Some(page.items) })
}

pub(crate) fn list_versions(
    control: &Control,
    context: &RequestContext,
    input: &ListLayerVersionsRequest,
) -> Result<ListLayerVersionsResponse, ApiError> {
    let layer = LayerKey::find(context, &input.layer_name)?;
    layer.check_owner(context)?;
    let before: Option<u64> = page::marker(input.marker.as_deref())?;
    let filter = Filter { runtime: input.compatible_runtime, architecture: input.compatible_architecture };
    let state = control.state();
    let versions = layer
        .versions(&state, before)
        .filter(|(_, version)| layer.is_here(context) && filter.matches(version));
    let page = Page::collect(versions, input.max_items, MOST, |(number, version)| {
        (number.to_string(), list_item(&layer.clone().version(number), version))
    });
    Ok(ListLayerVersionsResponse { next_marker: page.next_marker, layer_versions: Some(page.items) })
}
