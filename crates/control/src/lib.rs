//! Lambda's control plane: functions, versions, aliases, tags, invocations; state and store.
//!
//! Must not speak HTTP: it is asked in Rust types and answers in them.

mod account;
mod admission;
mod alias;
mod capacity_provider;
pub mod code;
mod code_signing;
mod concurrency;
mod config;
mod configuration;
mod control;
pub mod delivery;
mod describe;
mod durable;
mod environments;
mod error;
mod event_invoke;
mod event_queue;
pub mod event_source_mapping;
mod function;
pub mod function_url;
mod idle;
mod invoke;
mod layer;
mod lifecycle;
pub mod metrics;
pub mod network;
mod package;
mod page;
mod permission;
mod policy;
mod provisioned;
mod recursion;
mod resource_policy;
mod response_stream;
mod runnable;
mod runtime;
mod runtime_management;
mod scaling;
mod snapshot;
pub mod state;
mod tag;
mod target;
mod tenancy;
mod version;

use hothouse_api::{ApiError, Lambda, RequestContext, generated::*};

pub use config::{ControlConfig, Limits};
pub use control::{Control, FunctionSummary, OpenError, Ports};
pub use invoke::StreamedAnswer;

/// Says which function does an operation's work. One that changes something takes its input and outlives its caller,
/// one that only reads borrows it.
macro_rules! operations {
    ($($(#[doc = $section:literal])* $kind:ident $method:ident($input:ty) -> $output:ty = $work:path;)*) => {
        impl Lambda for Control {
            $(
                async fn $method(&self, context: RequestContext, input: $input) -> Result<$output, ApiError> {
                    operations!(@$kind $work, self, context, input)
                }
            )*
        }
    };
    (@change $work:path, $control:ident, $context:ident, $input:ident) => {
        $work($control, $context, $input).await
    };
    (@read $work:path, $control:ident, $context:ident, $input:ident) => {
        $work($control, &$context, &$input)
    };
}

operations! {
    /// Functions and versions
    change create_function(CreateFunctionRequest) -> FunctionConfiguration = function::create::create;
    change delete_function(DeleteFunctionRequest) -> DeleteFunctionResponse = function::delete::delete;
    read get_function(GetFunctionRequest) -> GetFunctionResponse = function::read::get;
    read get_function_configuration(GetFunctionConfigurationRequest) -> FunctionConfiguration
        = function::read::get_configuration;
    read list_functions(ListFunctionsRequest) -> ListFunctionsResponse = function::read::list;
    change update_function_code(UpdateFunctionCodeRequest) -> FunctionConfiguration = function::update::code;
    change update_function_configuration(UpdateFunctionConfigurationRequest) -> FunctionConfiguration
        = function::update::configuration;
    read list_versions_by_function(ListVersionsByFunctionRequest) -> ListVersionsByFunctionResponse = version::list;
    change publish_version(PublishVersionRequest) -> FunctionConfiguration = version::publish;

    /// Invocation
    change invoke(InvocationRequest) -> InvocationResponse = invoke::invoke;
    change invoke_async(InvokeAsyncRequest) -> InvokeAsyncResponse = invoke::invoke_async;
    change invoke_with_response_stream(InvokeWithResponseStreamRequest) -> InvokeWithResponseStreamResponse
        = response_stream::invoke_with_response_stream;

    /// Aliases
    change create_alias(CreateAliasRequest) -> AliasConfiguration = alias::create;
    change delete_alias(DeleteAliasRequest) -> () = alias::delete;
    read get_alias(GetAliasRequest) -> AliasConfiguration = alias::get;
    read list_aliases(ListAliasesRequest) -> ListAliasesResponse = alias::list;
    change update_alias(UpdateAliasRequest) -> AliasConfiguration = alias::update;

    /// Concurrency
    change delete_function_concurrency(DeleteFunctionConcurrencyRequest) -> () = concurrency::delete;
    read get_function_concurrency(GetFunctionConcurrencyRequest) -> GetFunctionConcurrencyResponse
        = concurrency::get;
    change put_function_concurrency(PutFunctionConcurrencyRequest) -> Concurrency = concurrency::put;
    change delete_provisioned_concurrency_config(DeleteProvisionedConcurrencyConfigRequest) -> ()
        = provisioned::delete;
    read get_provisioned_concurrency_config(GetProvisionedConcurrencyConfigRequest)
        -> GetProvisionedConcurrencyConfigResponse = provisioned::get;
    read list_provisioned_concurrency_configs(ListProvisionedConcurrencyConfigsRequest)
        -> ListProvisionedConcurrencyConfigsResponse = provisioned::list;
    change put_provisioned_concurrency_config(PutProvisionedConcurrencyConfigRequest)
        -> PutProvisionedConcurrencyConfigResponse = provisioned::put;

    /// Layers
    change publish_layer_version(PublishLayerVersionRequest) -> PublishLayerVersionResponse
        = layer::publish::publish;
    change delete_layer_version(DeleteLayerVersionRequest) -> () = layer::publish::delete;
    read get_layer_version(GetLayerVersionRequest) -> GetLayerVersionResponse = layer::read::get;
    read get_layer_version_by_arn(GetLayerVersionByArnRequest) -> GetLayerVersionResponse
        = layer::read::get_by_arn;
    read list_layers(ListLayersRequest) -> ListLayersResponse = layer::read::list;
    read list_layer_versions(ListLayerVersionsRequest) -> ListLayerVersionsResponse
        = layer::read::list_versions;
    change add_layer_version_permission(AddLayerVersionPermissionRequest) -> AddLayerVersionPermissionResponse
        = layer::permission::add;
    change remove_layer_version_permission(RemoveLayerVersionPermissionRequest) -> ()
        = layer::permission::remove;
    read get_layer_version_policy(GetLayerVersionPolicyRequest) -> GetLayerVersionPolicyResponse
        = layer::permission::get;

    /// Code signing
    change create_code_signing_config(CreateCodeSigningConfigRequest) -> CreateCodeSigningConfigResponse
        = code_signing::config::create;
    change delete_code_signing_config(DeleteCodeSigningConfigRequest) -> DeleteCodeSigningConfigResponse
        = code_signing::config::delete;
    read get_code_signing_config(GetCodeSigningConfigRequest) -> GetCodeSigningConfigResponse
        = code_signing::config::get;
    read list_code_signing_configs(ListCodeSigningConfigsRequest) -> ListCodeSigningConfigsResponse
        = code_signing::config::list;
    change update_code_signing_config(UpdateCodeSigningConfigRequest) -> UpdateCodeSigningConfigResponse
        = code_signing::config::update;
    change delete_function_code_signing_config(DeleteFunctionCodeSigningConfigRequest) -> ()
        = code_signing::function::delete;
    read get_function_code_signing_config(GetFunctionCodeSigningConfigRequest) -> GetFunctionCodeSigningConfigResponse
        = code_signing::function::get;
    read list_functions_by_code_signing_config(ListFunctionsByCodeSigningConfigRequest)
        -> ListFunctionsByCodeSigningConfigResponse = code_signing::function::list;
    change put_function_code_signing_config(PutFunctionCodeSigningConfigRequest) -> PutFunctionCodeSigningConfigResponse
        = code_signing::function::put;

    /// Policies
    change add_permission(AddPermissionRequest) -> AddPermissionResponse = permission::add;
    read get_policy(GetPolicyRequest) -> GetPolicyResponse = permission::get;
    change remove_permission(RemovePermissionRequest) -> () = permission::remove;
    change delete_resource_policy(DeleteResourcePolicyRequest) -> () = resource_policy::delete;
    read get_resource_policy(GetResourcePolicyRequest) -> GetResourcePolicyResponse = resource_policy::get;
    change put_resource_policy(PutResourcePolicyRequest) -> PutResourcePolicyResponse = resource_policy::put;
    /// Asynchronous invocation
    change delete_function_event_invoke_config(DeleteFunctionEventInvokeConfigRequest) -> () = event_invoke::delete;
    read get_function_event_invoke_config(GetFunctionEventInvokeConfigRequest) -> FunctionEventInvokeConfig
        = event_invoke::get;
    read list_function_event_invoke_configs(ListFunctionEventInvokeConfigsRequest)
        -> ListFunctionEventInvokeConfigsResponse = event_invoke::list;
    change put_function_event_invoke_config(PutFunctionEventInvokeConfigRequest) -> FunctionEventInvokeConfig
        = event_invoke::put;
    change update_function_event_invoke_config(UpdateFunctionEventInvokeConfigRequest) -> FunctionEventInvokeConfig
        = event_invoke::update;

    /// Function URLs
    change create_function_url_config(CreateFunctionUrlConfigRequest) -> CreateFunctionUrlConfigResponse
        = function_url::create;
    change delete_function_url_config(DeleteFunctionUrlConfigRequest) -> () = function_url::delete;
    read get_function_url_config(GetFunctionUrlConfigRequest) -> GetFunctionUrlConfigResponse = function_url::get;
    read list_function_url_configs(ListFunctionUrlConfigsRequest) -> ListFunctionUrlConfigsResponse
        = function_url::list;
    change update_function_url_config(UpdateFunctionUrlConfigRequest) -> UpdateFunctionUrlConfigResponse
        = function_url::update;

    /// Recursion
    read get_function_recursion_config(GetFunctionRecursionConfigRequest) -> GetFunctionRecursionConfigResponse
        = recursion::get;
    change put_function_recursion_config(PutFunctionRecursionConfigRequest) -> PutFunctionRecursionConfigResponse
        = recursion::put;

    /// Runtime management
    read get_runtime_management_config(GetRuntimeManagementConfigRequest) -> GetRuntimeManagementConfigResponse
        = runtime_management::get;
    change put_runtime_management_config(PutRuntimeManagementConfigRequest) -> PutRuntimeManagementConfigResponse
        = runtime_management::put;

    /// Event source mappings
    change create_event_source_mapping(CreateEventSourceMappingRequest) -> EventSourceMappingConfiguration
        = event_source_mapping::create::create;
    change delete_event_source_mapping(DeleteEventSourceMappingRequest) -> EventSourceMappingConfiguration
        = event_source_mapping::delete::delete;
    read get_event_source_mapping(GetEventSourceMappingRequest) -> EventSourceMappingConfiguration
        = event_source_mapping::read::get;
    read list_event_source_mappings(ListEventSourceMappingsRequest) -> ListEventSourceMappingsResponse
        = event_source_mapping::read::list;
    change update_event_source_mapping(UpdateEventSourceMappingRequest) -> EventSourceMappingConfiguration
        = event_source_mapping::update::update;

    /// Durable executions
    read checkpoint_durable_execution(CheckpointDurableExecutionRequest) -> CheckpointDurableExecutionResponse
        = durable::execution::find_by_token;
    read delete_durable_execution(DeleteDurableExecutionRequest) -> DeleteDurableExecutionResponse
        = durable::execution::find;
    read get_durable_execution(GetDurableExecutionRequest) -> GetDurableExecutionResponse = durable::execution::find;
    read get_durable_execution_history(GetDurableExecutionHistoryRequest) -> GetDurableExecutionHistoryResponse
        = durable::execution::find;
    read get_durable_execution_state(GetDurableExecutionStateRequest) -> GetDurableExecutionStateResponse
        = durable::execution::find_by_token;
    read list_durable_executions_by_function(ListDurableExecutionsByFunctionRequest)
        -> ListDurableExecutionsByFunctionResponse = durable::execution::list;
    read pause_durable_execution(PauseDurableExecutionRequest) -> PauseDurableExecutionResponse
        = durable::execution::find;
    read resume_durable_execution(ResumeDurableExecutionRequest) -> ResumeDurableExecutionResponse
        = durable::execution::find;
    read send_durable_execution_callback_failure(SendDurableExecutionCallbackFailureRequest)
        -> SendDurableExecutionCallbackFailureResponse = durable::execution::find_callback;
    read send_durable_execution_callback_heartbeat(SendDurableExecutionCallbackHeartbeatRequest)
        -> SendDurableExecutionCallbackHeartbeatResponse = durable::execution::find_callback;
    read send_durable_execution_callback_success(SendDurableExecutionCallbackSuccessRequest)
        -> SendDurableExecutionCallbackSuccessResponse = durable::execution::find_callback;
    read stop_durable_execution(StopDurableExecutionRequest) -> StopDurableExecutionResponse = durable::execution::find;

    /// Capacity providers
    change create_capacity_provider(CreateCapacityProviderRequest) -> CreateCapacityProviderResponse
        = capacity_provider::provider::create;
    change delete_capacity_provider(DeleteCapacityProviderRequest) -> DeleteCapacityProviderResponse
        = capacity_provider::provider::delete;
    read get_capacity_provider(GetCapacityProviderRequest) -> GetCapacityProviderResponse
        = capacity_provider::provider::get;
    read list_capacity_providers(ListCapacityProvidersRequest) -> ListCapacityProvidersResponse
        = capacity_provider::provider::list;
    read list_function_versions_by_capacity_provider(ListFunctionVersionsByCapacityProviderRequest)
        -> ListFunctionVersionsByCapacityProviderResponse = capacity_provider::function::list;
    change update_capacity_provider(UpdateCapacityProviderRequest) -> UpdateCapacityProviderResponse
        = capacity_provider::provider::update;

    /// Scaling on capacity providers
    read get_function_scaling_config(GetFunctionScalingConfigRequest) -> GetFunctionScalingConfigResponse = scaling::get;
    change put_function_scaling_config(PutFunctionScalingConfigRequest) -> PutFunctionScalingConfigResponse
        = scaling::put;

    /// Tags
    read list_tags(ListTagsRequest) -> ListTagsResponse = tag::list;
    change tag_resource(TagResourceRequest) -> () = tag::tag;
    change untag_resource(UntagResourceRequest) -> () = tag::untag;

    /// The account
    read get_account_settings(GetAccountSettingsRequest) -> GetAccountSettingsResponse = account::settings;
}
