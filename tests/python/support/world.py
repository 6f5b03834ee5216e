"""A call of every operation that succeeds: what is needed for it is made through the API first."""

import itertools
import uuid

from .functions import ROLE, Functions, archive, unique
from .service import ACCOUNT, REGION

CODE = archive({"main.py": "handler = lambda event, context: event\n"})
OTHER_CODE = archive({"main.py": "handler = lambda event, context: None\n"})
MAIN = {"Runtime": "python3.12", "Handler": "main.handler"}
PROFILE = f"arn:aws:signer:{REGION}:{ACCOUNT}:/signing-profiles/test/0123456789"


def arn(kind, name):
    return f"arn:aws:lambda:{REGION}:{ACCOUNT}:{kind}:{name}"


class World:
    """Makes things in one service, and takes functions away in the end."""

    def __init__(self, client, wait=True):
        self.client = client
        self.wait = wait
        self.functions = Functions(client)
        self.numbers = itertools.count(1)

    def function(self, **parameters):
        """A function that is active, unless this world does not wait for that."""
        return {"FunctionName": self.functions.create(CODE, **{"wait": self.wait, **MAIN, **parameters})}

    def version(self):
        function = self.function()
        self.client.publish_version(**function)
        return {**function, "Qualifier": "1"}

    def alias(self):
        function = self.function()
        self.client.publish_version(**function)
        self.client.create_alias(**function, Name="live", FunctionVersion="1")
        return {**function, "Name": "live"}

    def new(self, **parameters):
        """What CreateFunction wants."""
        name = unique()
        self.functions.made.append(name)
        return {"FunctionName": name, "Role": ROLE, "Code": {"ZipFile": CODE}, **MAIN, **parameters}

    def permitted(self):
        function = self.function()
        self.client.add_permission(**function, **PERMISSION)
        return function

    def url(self):
        function = self.function()
        self.client.create_function_url_config(**function, AuthType="NONE")
        return function

    def event_invoke(self):
        function = self.function()
        self.client.put_function_event_invoke_config(**function, MaximumRetryAttempts=1)
        return function

    def provisioned(self):
        version = self.version()
        self.client.put_provisioned_concurrency_config(**version, ProvisionedConcurrentExecutions=1)
        return version

    def reserved(self):
        function = self.function()
        self.client.put_function_concurrency(**function, ReservedConcurrentExecutions=1)
        return function

    def layer(self, name=None):
        name = name or unique("layer")
        made = self.client.publish_layer_version(LayerName=name, Content={"ZipFile": CODE})
        return {"LayerName": name, "VersionNumber": made["Version"]}

    def layer_arn(self):
        layer = self.layer()
        return f"{arn('layer', layer['LayerName'])}:{layer['VersionNumber']}"

    def permitted_layer(self):
        layer = self.layer()
        self.client.add_layer_version_permission(**layer, **LAYER_PERMISSION)
        return layer

    def mapping(self, function=None):
        function = function or self.function()["FunctionName"]
        queue = f"arn:aws:sqs:{REGION}:{ACCOUNT}:{unique('queue')}"
        made = self.client.create_event_source_mapping(FunctionName=function, EventSourceArn=queue)
        return {"UUID": made["UUID"]}

    def signing(self):
        made = self.client.create_code_signing_config(AllowedPublishers=PUBLISHERS)
        return {"CodeSigningConfigArn": made["CodeSigningConfig"]["CodeSigningConfigArn"]}

    def signed(self):
        function = self.function()
        self.client.put_function_code_signing_config(**function, **self.signing())
        return function

    def provider(self):
        name = unique("provider")
        self.client.create_capacity_provider(CapacityProviderName=name, **PROVIDER)
        return {"CapacityProviderName": name}

    def managed(self):
        """A version that runs on a capacity provider."""
        provider = self.client.get_capacity_provider(**self.provider())["CapacityProvider"]
        return self.on_provider(provider["CapacityProviderArn"])

    def on_provider(self, provider):
        managed = {"LambdaManagedInstancesCapacityProviderConfig": {"CapacityProviderArn": provider}}
        # `$LATEST` never is `Active` there, so there is nothing to wait for.
        function = self.function(CapacityProviderConfig=managed, Runtime="python3.13", wait=False)
        self.client.publish_version(**function)
        return {**function, "Qualifier": "1"}

    def resource_policy(self):
        resource = arn("function", self.function()["FunctionName"])
        self.client.put_resource_policy(ResourceArn=resource, Policy=policy(resource))
        return {"ResourceArn": resource}


def policy(resource):
    """A policy that lets an account invoke a function."""
    return (
        '{"Version":"2012-10-17","Statement":[{"Sid":"s","Effect":"Allow","Principal":{"AWS":'
        f'"arn:aws:iam::{ACCOUNT}:root"}},"Action":"lambda:InvokeFunction","Resource":"{resource}"}}]}}'
    )


PERMISSION = {"StatementId": "s", "Action": "lambda:InvokeFunction", "Principal": "s3.amazonaws.com"}
LAYER_PERMISSION = {"StatementId": "s", "Action": "lambda:GetLayerVersion", "Principal": "*"}
PUBLISHERS = {"SigningProfileVersionArns": [PROFILE]}
PROVIDER = {
    "VpcConfig": {"SubnetIds": ["subnet-1"], "SecurityGroupIds": ["sg-1"]},
    "PermissionsConfig": {"CapacityProviderOperatorRoleArn": ROLE},
}
NOBODY = "nobody"
EXECUTION = f"{arn('function', NOBODY)}:1/durable-execution/name/id"
CALLBACK = {"CallbackId": "Y2FsbGJhY2s="}
TOKEN = "dG9rZW4="


def _function_arn(world):
    return arn("function", world.function()["FunctionName"])


# Parameters of a call that succeeds.
SUCCESSES = {
    "AddLayerVersionPermission": lambda w: {**w.layer(), **LAYER_PERMISSION},
    "AddPermission": lambda w: {**w.function(), **PERMISSION},
    "CreateAlias": lambda w: {**w.function(), "Name": "live", "FunctionVersion": "$LATEST"},
    "CreateCapacityProvider": lambda w: {"CapacityProviderName": unique("provider"), **PROVIDER},
    "CreateCodeSigningConfig": lambda w: {"AllowedPublishers": PUBLISHERS},
    "CreateEventSourceMapping": lambda w: {
        **w.function(),
        "EventSourceArn": f"arn:aws:sqs:{REGION}:{ACCOUNT}:{unique('queue')}",
    },
    "CreateFunction": lambda w: w.new(),
    "CreateFunctionUrlConfig": lambda w: {**w.function(), "AuthType": "NONE"},
    "DeleteAlias": World.alias,
    "DeleteCapacityProvider": World.provider,
    "DeleteCodeSigningConfig": World.signing,
    "DeleteEventSourceMapping": World.mapping,
    "DeleteFunction": World.function,
    "DeleteFunctionCodeSigningConfig": World.signed,
    "DeleteFunctionConcurrency": World.reserved,
    "DeleteFunctionEventInvokeConfig": World.event_invoke,
    "DeleteFunctionUrlConfig": World.url,
    "DeleteLayerVersion": World.layer,
    "DeleteProvisionedConcurrencyConfig": World.provisioned,
    "DeleteResourcePolicy": World.resource_policy,
    "GetAccountSettings": lambda w: {},
    "GetAlias": World.alias,
    "GetCapacityProvider": World.provider,
    "GetCodeSigningConfig": World.signing,
    "GetEventSourceMapping": World.mapping,
    "GetFunction": World.function,
    "GetFunctionCodeSigningConfig": World.signed,
    "GetFunctionConcurrency": World.reserved,
    "GetFunctionConfiguration": World.function,
    "GetFunctionEventInvokeConfig": World.event_invoke,
    "GetFunctionRecursionConfig": World.function,
    "GetFunctionScalingConfig": World.managed,
    "GetFunctionUrlConfig": World.url,
    "GetLayerVersion": World.layer,
    "GetLayerVersionByArn": lambda w: {"Arn": w.layer_arn()},
    "GetLayerVersionPolicy": World.permitted_layer,
    "GetPolicy": World.permitted,
    "GetProvisionedConcurrencyConfig": World.provisioned,
    "GetResourcePolicy": World.resource_policy,
    "GetRuntimeManagementConfig": World.function,
    "Invoke": lambda w: {**w.function(), "Payload": b"{}"},
    "InvokeAsync": lambda w: {**w.function(), "InvokeArgs": b"{}"},
    "InvokeWithResponseStream": lambda w: {**w.function(), "Payload": b"{}"},
    "ListAliases": lambda w: {"FunctionName": w.alias()["FunctionName"]},
    "ListCapacityProviders": lambda w: {},
    "ListCodeSigningConfigs": lambda w: {},
    "ListDurableExecutionsByFunction": World.function,
    "ListEventSourceMappings": lambda w: {},
    "ListFunctionEventInvokeConfigs": World.event_invoke,
    "ListFunctionUrlConfigs": World.url,
    "ListFunctionVersionsByCapacityProvider": World.provider,
    "ListFunctions": lambda w: {},
    "ListFunctionsByCodeSigningConfig": World.signing,
    "ListLayerVersions": lambda w: {"LayerName": w.layer()["LayerName"]},
    "ListLayers": lambda w: {},
    "ListProvisionedConcurrencyConfigs": lambda w: {"FunctionName": w.provisioned()["FunctionName"]},
    "ListTags": lambda w: {"Resource": _function_arn(w)},
    "ListVersionsByFunction": World.function,
    "PublishLayerVersion": lambda w: {"LayerName": unique("layer"), "Content": {"ZipFile": CODE}},
    "PublishVersion": World.function,
    "PutFunctionCodeSigningConfig": lambda w: {**w.function(), **w.signing()},
    "PutFunctionConcurrency": lambda w: {**w.function(), "ReservedConcurrentExecutions": 1},
    "PutFunctionEventInvokeConfig": lambda w: {**w.function(), "MaximumRetryAttempts": 0},
    "PutFunctionRecursionConfig": lambda w: {**w.function(), "RecursiveLoop": "Allow"},
    "PutFunctionScalingConfig": lambda w: {
        **w.managed(),
        "FunctionScalingConfig": {"MinExecutionEnvironments": 1, "MaxExecutionEnvironments": 2},
    },
    "PutProvisionedConcurrencyConfig": lambda w: {**w.version(), "ProvisionedConcurrentExecutions": 1},
    "PutResourcePolicy": lambda w: (lambda resource: {"ResourceArn": resource, "Policy": policy(resource)})(
        _function_arn(w)
    ),
    "PutRuntimeManagementConfig": lambda w: {**w.function(), "UpdateRuntimeOn": "FunctionUpdate"},
    "RemoveLayerVersionPermission": lambda w: {**w.permitted_layer(), "StatementId": "s"},
    "RemovePermission": lambda w: {**w.permitted(), "StatementId": "s"},
    "TagResource": lambda w: {"Resource": _function_arn(w), "Tags": {"team": "a"}},
    "UntagResource": lambda w: {"Resource": _function_arn(w), "TagKeys": ["team"]},
    "UpdateAlias": lambda w: {**w.alias(), "Description": "new"},
    "UpdateCapacityProvider": lambda w: {
        **w.provider(),
        "CapacityProviderScalingConfig": {"MaxVCpuCount": 100},
    },
    "UpdateCodeSigningConfig": lambda w: {**w.signing(), "Description": "new"},
    "UpdateEventSourceMapping": lambda w: {**w.mapping(), "BatchSize": 5},
    "UpdateFunctionCode": lambda w: {**w.function(), "ZipFile": OTHER_CODE},
    "UpdateFunctionConfiguration": lambda w: {**w.function(), "Description": "new"},
    "UpdateFunctionEventInvokeConfig": lambda w: {**w.event_invoke(), "MaximumRetryAttempts": 0},
    "UpdateFunctionUrlConfig": lambda w: {**w.url(), "AuthType": "AWS_IAM"},
}

# Those that need a durable execution, and so cannot succeed yet: parameters of a call that names one that is not there.
WITHOUT_EXECUTION = {
    "CheckpointDurableExecution": {"DurableExecutionArn": EXECUTION, "CheckpointToken": TOKEN},
    "DeleteDurableExecution": {"DurableExecutionArn": EXECUTION},
    "GetDurableExecution": {"DurableExecutionArn": EXECUTION},
    "GetDurableExecutionHistory": {"DurableExecutionArn": EXECUTION},
    "GetDurableExecutionState": {"DurableExecutionArn": EXECUTION, "CheckpointToken": TOKEN},
    "PauseDurableExecution": {"DurableExecutionArn": EXECUTION},
    "ResumeDurableExecution": {"DurableExecutionArn": EXECUTION},
    "SendDurableExecutionCallbackFailure": CALLBACK,
    "SendDurableExecutionCallbackHeartbeat": CALLBACK,
    "SendDurableExecutionCallbackSuccess": CALLBACK,
    "StopDurableExecution": {"DurableExecutionArn": EXECUTION},
}
