"""Calls that are answered with the errors which the model lists: by a rule where most operations share a cause, and one
by one where they do not."""

import uuid

from . import operations
from .functions import unique
from .service import ACCOUNT, REGION
from .world import (
    CODE,
    LAYER_PERMISSION,
    NOBODY,
    OTHER_CODE,
    PERMISSION,
    PROVIDER,
    PUBLISHERS,
    SUCCESSES,
    WITHOUT_EXECUTION,
    World,
    arn,
)

# What names a thing, and the name of one that is not there.
UNKNOWN = {
    "FunctionName": NOBODY,
    "LayerName": NOBODY,
    "Arn": f"{arn('layer', NOBODY)}:1",
    "UUID": str(uuid.UUID(int=0)),
    "CodeSigningConfigArn": arn("code-signing-config", "csc-" + "0" * 17),
    "CapacityProviderName": NOBODY,
    "Resource": arn("function", NOBODY),
    "ResourceArn": arn("function", NOBODY),
}


def _unknown(operation):
    def parameters(world):
        known = SUCCESSES[operation](world)
        name = next(name for name in UNKNOWN if name in known)
        return {**known, name: UNKNOWN[name]}

    return parameters


def _marker(operation):
    return lambda world: {**SUCCESSES[operation](world), "Marker": "*"}


def _contradiction(operation, qualifier="other"):
    def parameters(world):
        known = SUCCESSES[operation](world)
        return {**known, "FunctionName": f"{known['FunctionName']}:live", "Qualifier": qualifier}

    return parameters


def _qualified(operation):
    def parameters(world):
        known = SUCCESSES[operation](world)
        return {**known, "FunctionName": f"{known['FunctionName']}:1"}

    return parameters


IPV, NOT_FOUND, CONFLICT = "InvalidParameterValueException", "ResourceNotFoundException", "ResourceConflictException"
PRECONDITION, POLICY_LENGTH = "PreconditionFailedException", "PolicyLengthExceededException"
NO_SIGNING_CONFIG, NOT_VERIFIED = "CodeSigningConfigNotFoundException", "CodeVerificationFailedException"
STORAGE, IN_USE = "CodeStorageExceededException", "ResourceInUseException"
INVALID_CONTENT = "InvalidRequestContentException"


class In:
    """A call in a service that is started with these options."""

    def __init__(self, options, parameters):
        self.options, self.parameters = tuple(options), parameters

    def __call__(self, world):
        return self.parameters(world)


# Whatever is begun stays under way.
_SLOW = [
    f"--{kind}-delay=3600s"
    for kind in ("function-update", "event-source-mapping", "capacity-provider", "provisioned-concurrency")
]
_NEVER_ACTIVE = ["--function-create-delay=3600s"]
# There is room for the first archive only.
_FULL = [f"--limit-total-code-size={len(CODE) + len(CODE) // 2}"]


def _version_zero(operation):
    return lambda world: {**SUCCESSES[operation](world), "VersionNumber": 0}


def _revised(operation):
    return lambda world: {**SUCCESSES[operation](world), "RevisionId": str(uuid.UUID(int=0))}


def _on_version(operation):
    def parameters(world):
        known = SUCCESSES[operation](world)
        return {**known, "Resource": known["Resource"] + ":1"}

    return parameters


def _filled(world):
    function = world.permitted()
    for number in range(2):
        world.client.add_permission(
            **function, **{**PERMISSION, "StatementId": f"s{number}", "SourceArn": "arn:aws:s3:::" + "b" * 9000}
        )
    return {**function, **PERMISSION, "StatementId": "t", "SourceArn": "arn:aws:s3:::" + "b" * 9000}


def _filled_layer(world):
    layer = world.layer()
    long = {**LAYER_PERMISSION, "OrganizationId": "o-" + "a" * 32}
    for number in range(200):
        try:
            world.client.add_layer_version_permission(**layer, **{**long, "StatementId": f"{number:0100}"})
        except world.client.exceptions.PolicyLengthExceededException:
            break
    return {**layer, **long, "StatementId": "0" * 96 + "last"}


def _mapped(world):
    function, queue = world.function()["FunctionName"], f"arn:aws:sqs:{REGION}:{ACCOUNT}:{unique('queue')}"
    same = {"FunctionName": function, "EventSourceArn": queue}
    world.client.create_event_source_mapping(**same)
    return same


def _enforced(world):
    """A code signing configuration that refuses what is not signed."""
    made = world.client.create_code_signing_config(
        AllowedPublishers=PUBLISHERS, CodeSigningPolicies={"UntrustedArtifactOnDeployment": "Enforce"}
    )
    return {"CodeSigningConfigArn": made["CodeSigningConfig"]["CodeSigningConfigArn"]}


def _enforcing(world):
    function = world.function()
    world.client.put_function_code_signing_config(**function, **_enforced(world))
    return function


def _in_use(world):
    return {
        "CodeSigningConfigArn": world.client.get_function_code_signing_config(**world.signed())["CodeSigningConfigArn"]
    }


def _updating(world):
    function = world.function()
    world.client.update_function_configuration(**function, Description="on its way")
    return function


def _provisioned_alias(world):
    """An alias of a version that has provisioned concurrency itself."""
    version = world.provisioned()
    world.client.create_alias(FunctionName=version["FunctionName"], Name="live", FunctionVersion="1")
    return {**version, "Qualifier": "live"}


def _provider_of_a_function(world):
    version = world.managed()
    shown = world.client.get_function_configuration(**version)
    config = shown["CapacityProviderConfig"]["LambdaManagedInstancesCapacityProviderConfig"]
    return {"CapacityProviderName": config["CapacityProviderArn"]}


_UNKNOWN_SIGNING = {"CodeSigningConfigArn": UNKNOWN["CodeSigningConfigArn"]}

SINGLE = {
    # The rule's cause is another error here, or none.
    ("CreateEventSourceMapping", NOT_FOUND): None,
    ("CreateFunction", NOT_FOUND): None,
    ("DeleteAlias", NOT_FOUND): None,
    ("DeleteLayerVersion", NOT_FOUND): None,
    ("ListEventSourceMappings", NOT_FOUND): None,
    ("ListLayerVersions", NOT_FOUND): None,
    ("PublishLayerVersion", NOT_FOUND): None,
    ("GetFunctionRecursionConfig", IPV): None,
    ("PutFunctionRecursionConfig", IPV): None,
    # What is sent makes no sense.
    ("AddLayerVersionPermission", IPV): _version_zero("AddLayerVersionPermission"),
    ("CreateCapacityProvider", IPV): lambda w: {"CapacityProviderName": _elsewhere(), **PROVIDER},
    ("CreateEventSourceMapping", IPV): lambda w: {"FunctionName": NOBODY},
    ("CreateFunction", IPV): lambda w: w.new(Runtime="python9"),
    ("DeleteLayerVersion", IPV): _version_zero("DeleteLayerVersion"),
    ("GetFunctionScalingConfig", IPV): World.version,
    ("GetLayerVersion", IPV): _version_zero("GetLayerVersion"),
    ("GetLayerVersionPolicy", IPV): _version_zero("GetLayerVersionPolicy"),
    ("ListTags", IPV): _on_version("ListTags"),
    ("PublishLayerVersion", IPV): lambda w: {"LayerName": unique("layer"), "Content": {"ZipFile": b"no archive"}},
    ("PutFunctionScalingConfig", IPV): lambda w: {
        **w.managed(), "FunctionScalingConfig": {"MinExecutionEnvironments": 2, "MaxExecutionEnvironments": 1}
    },
    ("PutResourcePolicy", IPV): lambda w: {**SUCCESSES["PutResourcePolicy"](w), "Policy": "no JSON"},
    ("RemoveLayerVersionPermission", IPV): lambda w: {**w.permitted_layer(), "StatementId": "s", "VersionNumber": 0},
    ("TagResource", IPV): _on_version("TagResource"),
    ("UntagResource", IPV): _on_version("UntagResource"),
    ("UpdateCapacityProvider", IPV): lambda w: {
        **w.provider(), "CapacityProviderScalingConfig": {"ScalingMode": "Manual"}
    },
    ("UpdateEventSourceMapping", IPV): lambda w: {**w.mapping(), "BatchSize": 100},
    # It is there already, in use, or under way.
    ("AddLayerVersionPermission", CONFLICT): lambda w: {**w.permitted_layer(), **LAYER_PERMISSION},
    ("AddPermission", CONFLICT): lambda w: {**w.permitted(), **PERMISSION},
    ("CreateAlias", CONFLICT): lambda w: {**w.alias(), "FunctionVersion": "1"},
    ("CreateCapacityProvider", CONFLICT): lambda w: {**w.provider(), **PROVIDER},
    ("CreateEventSourceMapping", CONFLICT): _mapped,
    ("CreateFunction", CONFLICT): lambda w: {**w.new(), **w.function()},
    ("CreateFunctionUrlConfig", CONFLICT): lambda w: {**w.url(), "AuthType": "NONE"},
    ("DeleteCapacityProvider", CONFLICT): _provider_of_a_function,
    ("DeleteCodeSigningConfig", CONFLICT): _in_use,
    ("DeleteEventSourceMapping", IN_USE): In(_SLOW, World.mapping),
    ("DeleteFunction", CONFLICT): lambda w: {"FunctionName": w.alias()["FunctionName"], "Qualifier": "1"},
    ("Invoke", CONFLICT): In(_NEVER_ACTIVE, World.function),
    ("InvokeAsync", CONFLICT): In(_NEVER_ACTIVE, lambda w: {**w.function(), "InvokeArgs": b"{}"}),
    ("InvokeWithResponseStream", CONFLICT): In(_NEVER_ACTIVE, World.function),
    ("PublishVersion", CONFLICT): In(_SLOW, _updating),
    ("PutProvisionedConcurrencyConfig", CONFLICT): lambda w: {
        **_provisioned_alias(w), "ProvisionedConcurrentExecutions": 1
    },
    ("UpdateCapacityProvider", CONFLICT): In(_SLOW, lambda w: {**w.provider(), "PropagateTags": {"Mode": "None"}}),
    ("UpdateEventSourceMapping", IN_USE): In(_SLOW, lambda w: {**w.mapping(), "Enabled": False}),
    ("UpdateFunctionCode", CONFLICT): In(_SLOW, lambda w: {**_updating(w), "ZipFile": OTHER_CODE}),
    ("UpdateFunctionConfiguration", CONFLICT): In(_SLOW, lambda w: {**_updating(w), "Description": "again"}),
    # Somebody else was faster.
    **{
        (operation, PRECONDITION): _revised(operation)
        for operation in SUCCESSES
        if PRECONDITION in operations.documented(operation)
    },
    # Limits.
    ("AddPermission", POLICY_LENGTH): _filled,
    ("AddLayerVersionPermission", POLICY_LENGTH): _filled_layer,
    ("CreateFunction", STORAGE): In(_FULL, lambda w: (w.function(), w.new())[1]),
    ("PublishLayerVersion", STORAGE): In(_FULL, lambda w: (w.function(), SUCCESSES["PublishLayerVersion"](w))[1]),
    ("PublishVersion", STORAGE): In(_FULL, World.function),
    ("UpdateFunctionCode", STORAGE): In(_FULL, lambda w: {**w.function(), "ZipFile": CODE + bytes(1000)}),
    # Signatures of code.
    ("CreateFunction", NO_SIGNING_CONFIG): lambda w: w.new(**_UNKNOWN_SIGNING),
    ("PutFunctionCodeSigningConfig", NO_SIGNING_CONFIG): lambda w: {**w.function(), **_UNKNOWN_SIGNING},
    ("CreateFunction", NOT_VERIFIED): lambda w: w.new(**_enforced(w)),
    ("UpdateFunctionCode", NOT_VERIFIED): lambda w: {**_enforcing(w), "ZipFile": OTHER_CODE},
    # Provisioned concurrency and invocations.
    ("GetProvisionedConcurrencyConfig", "ProvisionedConcurrencyConfigNotFoundException"): World.version,
    ("Invoke", INVALID_CONTENT): lambda w: {**w.function(), "Payload": b"no JSON"},
    ("InvokeAsync", INVALID_CONTENT): lambda w: {**w.function(), "InvokeArgs": b"no JSON"},
    ("InvokeWithResponseStream", INVALID_CONTENT): lambda w: {**w.function(), "Payload": b"no JSON"},
    ("Invoke", "RequestEntityTooLargeException"): lambda w: {**w.function(), "Payload": b'"' + b"a" * 6291456 + b'"'},
    ("InvokeWithResponseStream", "RequestEntityTooLargeException"): lambda w: {
        **w.function(), "Payload": b'"' + b"a" * 6291456 + b'"'
    },
    ("Invoke", "TooManyRequestsException"): lambda w: _blocked(w),
    ("InvokeWithResponseStream", "TooManyRequestsException"): lambda w: _blocked(w),
    ("Invoke", "NoPublishedVersionException"): lambda w: {**w.function(), "Qualifier": "$LATEST.PUBLISHED"},
    ("InvokeWithResponseStream", "NoPublishedVersionException"): lambda w: {
        **w.function(), "Qualifier": "$LATEST.PUBLISHED"
    },
}  # fmt: skip


def _elsewhere():
    return arn("capacity-provider", NOBODY).replace(ACCOUNT, "111122223333")


def _blocked(world):
    function = world.function()
    world.client.put_function_concurrency(**function, ReservedConcurrentExecutions=0)
    return function


def _calls():
    """By operation and code."""
    calls = {}
    for operation in SUCCESSES:
        members = operations.members(operation)
        listed = operations.documented(operation)
        if "ResourceNotFoundException" in listed and set(UNKNOWN) & set(members):
            calls[operation, "ResourceNotFoundException"] = _unknown(operation)
        if "InvalidParameterValueException" in listed:
            rule = (
                _marker if "Marker" in members else
                _contradiction if "Qualifier" in members else
                _qualified if "FunctionName" in members else None
            )  # fmt: skip
            if rule:
                calls[operation, "InvalidParameterValueException"] = rule(operation)
    for operation, parameters in WITHOUT_EXECUTION.items():
        code = "InvalidParameterValueException" if "CheckpointToken" in parameters else "ResourceNotFoundException"
        calls[operation, code] = lambda world, parameters=parameters: parameters
    calls.update(SINGLE)
    return {key: call for key, call in calls.items() if call}


ERRORS = _calls()
