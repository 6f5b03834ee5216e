//! PublishLayerVersion and DeleteLayerVersion.
//!
//! Must not take a layer away from functions that use it.

use std::sync::Arc;

use hothouse_api::{
    ApiError, RequestContext,
    generated::{
        DeleteLayerVersionRequest, FunctionCode, GetLayerVersionResponse, LayerVersionContentInput,
        PublishLayerVersionRequest, PublishLayerVersionResponse,
    },
};

use super::{LayerKey, no_such_resource, read};
use crate::{
    control::{Control, Subject},
    error::invalid_parameter,
    function::create::check_code_size,
    package::{self, Source},
    state::{
        Change, Resource, ResourceEvent,
        model::{
            Package,
            layer::{Layer, LayerVersion},
        },
    },
};

pub(crate) async fn publish(
    control: &Control,
    context: RequestContext,
    input: PublishLayerVersionRequest,
) -> Result<PublishLayerVersionResponse, ApiError> {
    let this = control.clone();
    control.run(async move { run(&this, &context, input).await }).await
}

async fn run(
    control: &Control,
    context: &RequestContext,
    input: PublishLayerVersionRequest,
) -> Result<PublishLayerVersionResponse, ApiError> {
    let layer = LayerKey::find(context, &input.layer_name)?;
    layer.check_owner(context)?;
    if !layer.is_here(context) {
        return Err(no_such_resource());
    }
    let kept = package::keep(control, source(input.content)?).await?;
    let Package::Zip { hash, size, unzipped_size } = kept.package else {
        return Err(invalid_parameter(NO_SOURCE));
    };
    let version = LayerVersion {
        hash,
        size,
        unzipped_size,
        object: kept.object(),
        description: input.description.unwrap_or_default(),
        compatible_runtimes: input.compatible_runtimes,
        compatible_architectures: input.compatible_architectures,
        license_info: input.license_info,
        created: control.now(),
        policy: None,
    };
    let scope = &layer.scope;
    let result = control
        .change_all(&[Subject::Resource(scope, &layer.id())], |state| {
            check_code_size(control, state, scope, version.counted_size())?;
            let number = layer.get(state).map_or(1, |layer| layer.next_version);
            let key = layer.clone().version(number);
            let shown = read::describe(control, &key, &version);
            let put = |id, resource| Change::Resource {
                scope: scope.clone(),
                event: ResourceEvent::Put { id, resource: Arc::new(resource) },
            };
            let counted = Layer { next_version: number + 1 };
            let changes = vec![
                put(layer.id(), Resource::Layer(counted)),
                put(key.id(), Resource::LayerVersion(version)),
            ];
            Ok((changes, shown))
        })
        .await;
    kept.release(control);
    let GetLayerVersionResponse {
        content,
        layer_arn,
        layer_version_arn,
        description,
        created_date,
        version,
        compatible_architectures,
        compatible_runtimes,
        license_info,
    } = result?;
    Ok(PublishLayerVersionResponse {
        content,
        layer_arn,
        layer_version_arn,
        description,
        created_date,
        version,
        compatible_architectures,
        compatible_runtimes,
        license_info,
    })
}

// Unverified wording.
const NO_SOURCE: &str = "Please provide a source for the layer's content.";

fn source(content: LayerVersionContentInput) -> Result<Source, ApiError> {
    let LayerVersionContentInput { zip_file, s3_bucket, s3_key, s3_object_version, s3_object_storage_mode } =
        content;
    if zip_file.is_none() && (s3_bucket.is_none() || s3_key.is_none()) {
        return Err(invalid_parameter(NO_SOURCE));
    }
    Source::of(FunctionCode {
        zip_file,
        s3_bucket,
        s3_key,
        s3_object_version,
        s3_object_storage_mode,
        ..FunctionCode::default()
    })
}

pub(crate) async fn delete(
    control: &Control,
    context: RequestContext,
    input: DeleteLayerVersionRequest,
) -> Result<(), ApiError> {
    let layer = LayerKey::find(&context, &input.layer_name)?;
    let key = layer.sent_version(input.version_number)?;
    key.layer.check_owner(&context)?;
    if !key.layer.is_here(&context) {
        return Ok(());
    }
    let this = control.clone();
    control
        .run(async move {
            let (scope, id) = (&key.layer.scope, key.id());
            this.change_all(&[Subject::Resource(scope, &id)], |state| {
                let event = ResourceEvent::Deleted { id: id.clone() };
                let deleted = key.get(state).map(|_| Change::Resource { scope: scope.clone(), event });
                Ok((deleted.into_iter().collect(), ()))
            })
            .await
        })
        .await
}
