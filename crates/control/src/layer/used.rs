//! The layers of a function: which ones it may have, and what they are together.
//!
//! Must not look at layers that a function already has: those it keeps, whatever has become of them.

use hothouse_api::{ApiError, RequestContext, generated};

use super::LayerVersionKey;
use crate::{
    config::ControlConfig,
    control::Control,
    error::{self, invalid_parameter},
    package,
    state::{
        ResourceId, State,
        model::{Package, Scope, layer::UsedLayer},
    },
};

/// The layers that a request wants a function to have.
///
/// # Errors
/// If AWS would refuse them.
pub(crate) fn find(
    config: &ControlConfig,
    context: &RequestContext,
    state: &State,
    layers: &[String],
) -> Result<Vec<UsedLayer>, ApiError> {
    let most = config.limits.layers;
    if layers.len() > most {
        return Err(invalid_parameter(format!("Cannot reference more than {most} layers.")));
    }
    check_different(layers)?;
    layers
        .iter()
        .map(|arn| {
            let missing = || missing(arn);
            let key = LayerVersionKey::parse(arn).ok_or_else(missing)?;
            let version = key.readable(state, context)?;
            if !key.layer.is_here(context) {
                return Err(invalid_parameter(format!(
                    "Layers are not in the same region as the function. Layers are expected to be in region {}.",
                    context.region
                )));
            }
            // Unverified: a deleted version that the function already has is refused, too, when a request names it.
            let version = version.ok_or_else(missing)?;
            Ok(UsedLayer {
                arn: arn.clone(),
                hash: version.hash,
                size: version.size,
                unzipped_size: version.unzipped_size,
            })
        })
        .collect()
}

fn check_different(layers: &[String]) -> Result<(), ApiError> {
    fn layer(arn: &str) -> &str {
        arn.rsplit_once(':').map_or(arn, |(layer, _)| layer)
    }
    for (index, arn) in layers.iter().enumerate() {
        if let Some(other) = layers[..index].iter().find(|other| layer(other) == layer(arn)) {
            return Err(invalid_parameter(format!(
                "Two different versions of the same layer are not allowed to be referenced in the same function. \
                 {other} and {arn} are versions of the same layer."
            )));
        }
    }
    Ok(())
}

fn missing(arn: &str) -> ApiError {
    invalid_parameter(format!("Layer version {arn} does not exist."))
}

/// What a decision to give a function these layers rests on.
pub(crate) fn subjects(layers: &[String]) -> Vec<(Scope, ResourceId)> {
    let keys = layers.iter().filter_map(|arn| LayerVersionKey::parse(arn));
    keys.map(|key| (key.layer.scope.clone(), key.id())).collect()
}

/// Makes a change that gives a function these layers, while they and what they are together are kept in the code store.
///
/// # Errors
/// If one of them was deleted meanwhile, or they cannot be merged; and those of the change.
pub(crate) async fn keeping<T>(
    control: &Control,
    layers: &[UsedLayer],
    change: impl Future<Output = Result<T, ApiError>>,
) -> Result<T, ApiError> {
    let Some(last) = layers.last() else { return change.await };
    let hashes = layers.iter().map(|layer| layer.hash).collect();
    let pins = control.code().merge(hashes).await.map_err(error::code)?;
    let pins = pins.ok_or_else(|| missing(&last.arn))?;
    let result = change.await;
    package::release(control, pins);
    result
}

/// Refuses more content of code and layers than an environment takes.
///
/// # Errors
/// With AWS's message.
pub(crate) fn check_size(
    config: &ControlConfig,
    package: &Package,
    layers: &[UsedLayer],
) -> Result<(), ApiError> {
    let limit = config.limits.code_size_unzipped;
    let size = package.unzipped_size() + layers.iter().map(|layer| layer.unzipped_size).sum::<u64>();
    if layers.is_empty() || size <= limit {
        return Ok(());
    }
    Err(invalid_parameter(format!(
        "Function code combined with layers exceeds the maximum allowed size of {limit} bytes. The actual size is \
         {size} bytes."
    )))
}

/// `Layers` of a reply, which leaves them out if there are none.
pub(crate) fn show(layers: &[UsedLayer]) -> Option<Vec<generated::Layer>> {
    let show = |layer: &UsedLayer| generated::Layer {
        arn: Some(layer.arn.clone()),
        code_size: Some(layer.size.cast_signed()),
        ..generated::Layer::default()
    };
    (!layers.is_empty()).then(|| layers.iter().map(show).collect())
}
