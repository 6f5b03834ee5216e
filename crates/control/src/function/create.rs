//! CreateFunction.
//!
//! Must not be visible before its package is kept.

use std::sync::Arc;

use hothouse_api::{
    ApiError, RequestContext,
    generated::{Architecture, CreateFunctionRequest, FunctionConfiguration, PackageType},
    name,
};
use uuid::Uuid;

use crate::{
    capacity_provider::function as managed,
    code_signing::function as code_signing,
    configuration,
    control::Control,
    describe::{self, Detail},
    environments::Environments,
    error::{self, invalid_parameter, validation},
    layer, lifecycle, network,
    package::{self, Source},
    state::{
        Event, State,
        model::{FunctionKey, Scope, Status, Version},
    },
    tag,
    target::Target,
    version,
};

pub(crate) async fn create(
    control: &Control,
    context: RequestContext,
    input: CreateFunctionRequest,
) -> Result<FunctionConfiguration, ApiError> {
    let this = control.clone();
    control.run(async move { run(&this, &context, input).await }).await
}

async fn run(
    control: &Control,
    context: &RequestContext,
    mut input: CreateFunctionRequest,
) -> Result<FunctionConfiguration, ApiError> {
    let key = new_key(control, context, &input.function_name)?;
    let source = Source::of(std::mem::take(&mut input.code))?;
    let image = source.is_image();
    match input.package_type {
        Some(PackageType::Image) if !image => {
            return Err(invalid_parameter(
                "Please provide ImageUri when creating a function with packageType Image.",
            ));
        }
        None | Some(PackageType::Zip) if image => {
            return Err(invalid_parameter(
                "Please don't provide ImageUri when creating a function with packageType Zip.",
            ));
        }
        _ => {}
    }
    let signing = code_signing::Chosen::of(&key.scope, input.code_signing_config_arn.take(), image)?;
    let provider = managed::dependency(&key.scope, input.capacity_provider_config.as_ref())?;
    let mut configuration =
        configuration::create(control.config(), context, &control.state(), &input, image)?;
    version::check_publish_to(&configuration, input.publish_to)?;
    let tags = input.tags.take().unwrap_or_default();
    tag::check(control.config(), &tags)?;
    // Early, so that what is refused costs no fetch; decided below.
    {
        let state = control.state();
        if state.function(&key).is_some() {
            return Err(error::function_exists(&key.name));
        }
        signing.as_ref().map(|signing| signing.decide(&state, &key)).transpose()?;
        managed::check(control, &state, &key.scope, &configuration, 0)?;
    }

    configuration.set_vpc_id(network::vpc_of(control, context, input.vpc_config.as_ref()).await?);
    let kept = package::keep(control, source).await?;
    let latest = Version {
        version: name::Version::Latest,
        revision_id: Uuid::new_v4(),
        last_modified: control.now(),
        status: Status::Creating,
        description: None,
        configuration: Arc::new(configuration),
        code: kept.code(only(input.architectures.as_deref()).unwrap_or(Architecture::X8664)),
        environments: Environments::default(),
    };
    // Unverified: that AWS publishes if it is told where to, but not that it should.
    let publish = input.publish.unwrap_or(false) || input.publish_to.is_some();
    let published = publish.then(|| Version {
        version: version::place(1, input.publish_to),
        revision_id: Uuid::new_v4(),
        environments: Environments::default(),
        ..latest.clone()
    });
    let made: Vec<Version> = std::iter::once(latest.clone()).chain(published.clone()).collect();
    let delay = control.config().create_delay;

    let layers = input.layers.unwrap_or_default();
    let mut others = layer::used::subjects(&layers);
    others.extend(signing.iter().map(|signing| (key.scope.clone(), signing.id.clone())));
    others.extend(provider);
    let change = control.change_with(&key, &others, |state| {
        if state.function(&key).is_some() {
            return Err(error::function_exists(&key.name));
        }
        let signing = signing.map(|signing| signing.decide(state, &key)).transpose()?;
        managed::check(control, state, &key.scope, &latest.configuration, made.len() - 1)?;
        let used = layer::used::find(control.config(), context, state, &layers)?;
        layer::used::check_size(control.config(), &latest.code.package, &used)?;
        let size = latest.code.counted_size() * made.len() as u64;
        check_code_size(control, state, &key.scope, size)?;
        let mut events = vec![Event::Created { latest: Arc::new(latest), tags }];
        events.extend(signing);
        events.extend(published.map(|version| Event::Published { version: Arc::new(version) }));
        events.extend(lifecycle::ready_at_once(&made, delay));
        Ok((events, ()))
    });
    let result = layer::used::keeping(control, made[0].configuration.layers(), change).await;
    kept.release(control);
    result?;

    lifecycle::settle(control, &key, &made, delay).await?;
    let shown = made.into_iter().next_back().expect("`$LATEST` at least");
    let shown = lifecycle::answered(control, &key, shown);
    // Unqualified even if a version was published.
    Ok(describe::version(&key.arn(), &shown, Detail::Full))
}

/// A new function's name may be a whole ARN, but only of a function that the caller may create.
fn new_key(
    control: &Control,
    context: &RequestContext,
    function_name: &str,
) -> Result<FunctionKey, ApiError> {
    /// The model limits the whole of what is sent, not the name in it.
    const LONGEST: usize = 64;
    let target = Target::find(control, context, function_name, None)?;
    let name = target.key.name.as_str();
    if name.len() > LONGEST {
        let error =
            validation("functionName", name, format_args!("have length less than or equal to {LONGEST}"));
        return Err(invalid_parameter(error.message().unwrap_or_default()));
    }
    Ok(target.key)
}

/// The only item of `Architectures`, which has one if it was sent.
pub(super) fn only(architectures: Option<&[Architecture]>) -> Option<Architecture> {
    architectures.and_then(|architectures| architectures.first()).copied()
}

/// Refuses more code than the region of the account may hold.
pub(crate) fn check_code_size(
    control: &Control,
    state: &State,
    scope: &Scope,
    more: u64,
) -> Result<(), ApiError> {
    // Requests for other functions that are about to be committed are not counted: the limit may be overrun by them.
    let (_, size) = state.usage(scope);
    if size + more > control.config().limits.total_code_size {
        return Err(error::code_storage_exceeded());
    }
    Ok(())
}
