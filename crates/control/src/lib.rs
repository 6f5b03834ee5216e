//! Lambda's control plane: functions, versions, aliases, tags, invocations; state and store.
//!
//! Must not speak HTTP: it is asked in Rust types and answers in them.

mod account;
mod alias;
pub mod code;
mod concurrency;
mod config;
mod configuration;
mod control;
mod describe;
mod environments;
mod error;
mod function;
mod invoke;
mod package;
mod page;
mod runtime;
pub mod state;
mod tag;
mod target;
mod version;

use hothouse_api::{ApiError, Lambda, RequestContext, generated::*};

pub use config::{ControlConfig, Limits};
pub use control::{Control, FunctionSummary, OpenError, Ports};

type Answer<T> = Result<T, ApiError>;

impl Lambda for Control {
    async fn create_alias(
        &self,
        context: RequestContext,
        input: CreateAliasRequest,
    ) -> Answer<AliasConfiguration> {
        alias::create(self, context, input).await
    }

    async fn create_function(
        &self,
        context: RequestContext,
        input: CreateFunctionRequest,
    ) -> Answer<FunctionConfiguration> {
        function::create::create(self, context, input).await
    }

    async fn delete_alias(&self, context: RequestContext, input: DeleteAliasRequest) -> Answer<()> {
        alias::delete(self, context, input).await
    }

    async fn delete_function(
        &self,
        context: RequestContext,
        input: DeleteFunctionRequest,
    ) -> Answer<DeleteFunctionResponse> {
        function::delete::delete(self, context, input).await
    }

    async fn delete_function_concurrency(
        &self,
        context: RequestContext,
        input: DeleteFunctionConcurrencyRequest,
    ) -> Answer<()> {
        concurrency::delete(self, context, input).await
    }

    async fn get_account_settings(
        &self,
        context: RequestContext,
        _: GetAccountSettingsRequest,
    ) -> Answer<GetAccountSettingsResponse> {
        Ok(account::settings(self, &context))
    }

    async fn get_alias(&self, context: RequestContext, input: GetAliasRequest) -> Answer<AliasConfiguration> {
        alias::get(self, &context, &input)
    }

    async fn get_function(
        &self,
        context: RequestContext,
        input: GetFunctionRequest,
    ) -> Answer<GetFunctionResponse> {
        function::read::get(self, &context, &input)
    }

    async fn get_function_concurrency(
        &self,
        context: RequestContext,
        input: GetFunctionConcurrencyRequest,
    ) -> Answer<GetFunctionConcurrencyResponse> {
        concurrency::get(self, &context, &input)
    }

    async fn get_function_configuration(
        &self,
        context: RequestContext,
        input: GetFunctionConfigurationRequest,
    ) -> Answer<FunctionConfiguration> {
        function::read::get_configuration(self, &context, &input)
    }

    async fn invoke(&self, context: RequestContext, input: InvocationRequest) -> Answer<InvocationResponse> {
        invoke::invoke(self, context, input).await
    }

    async fn list_aliases(
        &self,
        context: RequestContext,
        input: ListAliasesRequest,
    ) -> Answer<ListAliasesResponse> {
        alias::list(self, &context, &input)
    }

    async fn list_functions(
        &self,
        context: RequestContext,
        input: ListFunctionsRequest,
    ) -> Answer<ListFunctionsResponse> {
        function::read::list(self, &context, &input)
    }

    async fn list_tags(&self, context: RequestContext, input: ListTagsRequest) -> Answer<ListTagsResponse> {
        tag::list(self, &context, &input)
    }

    async fn list_versions_by_function(
        &self,
        context: RequestContext,
        input: ListVersionsByFunctionRequest,
    ) -> Answer<ListVersionsByFunctionResponse> {
        version::list(self, &context, &input)
    }

    async fn publish_version(
        &self,
        context: RequestContext,
        input: PublishVersionRequest,
    ) -> Answer<FunctionConfiguration> {
        version::publish(self, context, input).await
    }

    async fn put_function_concurrency(
        &self,
        context: RequestContext,
        input: PutFunctionConcurrencyRequest,
    ) -> Answer<Concurrency> {
        concurrency::put(self, context, input).await
    }

    async fn tag_resource(&self, context: RequestContext, input: TagResourceRequest) -> Answer<()> {
        tag::tag(self, context, input).await
    }

    async fn untag_resource(&self, context: RequestContext, input: UntagResourceRequest) -> Answer<()> {
        tag::untag(self, context, input).await
    }

    async fn update_alias(
        &self,
        context: RequestContext,
        input: UpdateAliasRequest,
    ) -> Answer<AliasConfiguration> {
        alias::update(self, context, input).await
    }

    async fn update_function_code(
        &self,
        context: RequestContext,
        input: UpdateFunctionCodeRequest,
    ) -> Answer<FunctionConfiguration> {
        function::update::code(self, context, input).await
    }

    async fn update_function_configuration(
        &self,
        context: RequestContext,
        input: UpdateFunctionConfigurationRequest,
    ) -> Answer<FunctionConfiguration> {
        function::update::configuration(self, context, input).await
    }
}
