"""Why some documented errors are not provoked by any test: the one place for these reasons."""

from .world import WITHOUT_EXECUTION

_NETWORK = "functions have the machine's network; there are no network interfaces to be had or denied."
_KMS = "there is no KMS behind it: keys are kept and shown, and nothing is encrypted with them."
_FILES = "file systems are kept and shown, and not mounted."
_RUNTIMES = "runtimes of customers' own are kept by another service, so none can be made here, nor deleted."
_DURABLE = "durable functions are kept and not run, so no execution and no callback is ever there."
_USED = "a configuration that a function uses cannot be deleted."
_ARTIFACT = "packages are copied when they are uploaded: only one that is deleted by hand fails (`test_states.py`)."

# Of every operation.
GENERAL = {
    "ServiceException": "is what a fault of the service or of its machine is told as; a test that could provoke it would have found a bug.",
    "TooManyRequestsException": "no limit is put on the rate of calls; invocations beyond the concurrency are refused with it.",
    "ENILimitReachedException": _NETWORK,
    "ENINotReadyException": _NETWORK,
    "EC2AccessDeniedException": _NETWORK,
    "EC2ThrottledException": _NETWORK,
    "EC2UnexpectedException": _NETWORK,
    "InvalidSecurityGroupIDException": _NETWORK,
    "InvalidSubnetIDException": _NETWORK,
    "SubnetIPAddressLimitReachedException": _NETWORK,
    "KMSAccessDeniedException": _KMS,
    "KMSDisabledException": _KMS,
    "KMSInvalidStateException": _KMS,
    "KMSNotFoundException": _KMS,
    "EFSIOException": _FILES,
    "EFSMountConnectivityException": _FILES,
    "EFSMountFailureException": _FILES,
    "EFSMountTimeoutException": _FILES,
    "S3FilesMountConnectivityException": _FILES,
    "S3FilesMountFailureException": _FILES,
    "S3FilesMountTimeoutException": _FILES,
    "SnapStartRegenerationFailureException": "a snapshot that is lost is taken again beside an environment that serves meanwhile.",
    "CodeArtifactUserDeletedException": _ARTIFACT,
    "CodeArtifactUserFailedException": _ARTIFACT,
    "CodeArtifactUserPendingException": _ARTIFACT,
    "RuntimeAliasDeletedException": _RUNTIMES,
    "RuntimeVersionDeletedException": _RUNTIMES,
    "InvalidRuntimeException": "which runtimes there are depends on the machine: it is the answer where one is missing.",
    "InvalidZipFileException": "archives are checked when they are uploaded.",
    "UnsupportedMediaTypeException": "any content type is accepted, as AWS does.",
    "SerializedRequestEntityTooLargeException": "requests are measured before anything is made of them, and refused as RequestEntityTooLarge.",
    "ServiceQuotaExceededException": "no quota of the account is bought.",
    "ModeNotSupportedException": "every mode of invocation is supported.",
    "ResourceNotReadyException": "a function that is inactive answers ResourceConflict.",
    "RecursiveInvocationException": "loops through queues and topics are not looked for: events do not come from there yet.",
    "DurableExecutionAlreadyStartedException": _DURABLE,
    "CallbackTimeoutException": _DURABLE,
    "PublicPolicyException": "nothing blocks public policies here.",
    "AliasLimitExceededException": "aliases are not limited.",
    "CapacityProviderLimitExceededException": "AWS's limit is kept, and tested in `crates/control`.",
    "FunctionVersionsPerCapacityProviderLimitExceededException": "AWS's limit is kept, and tested in `crates/control`.",
    "InvalidCodeSignatureException": "nobody signs packages for a local service: one without signature is refused with CodeVerificationFailed.",
}

# Of single operations.
SINGLE = {
    ("DeleteFunctionCodeSigningConfig", "CodeSigningConfigNotFoundException"): _USED,
    ("GetFunctionCodeSigningConfig", "CodeSigningConfigNotFoundException"): _USED,
    ("UpdateFunctionCode", "CodeSigningConfigNotFoundException"): _USED,
    ("UpdateFunctionConfiguration", "CodeSigningConfigNotFoundException"): _USED,
    ("PutResourcePolicy", "PolicyLengthExceededException"): "a policy that is too long breaks the model's bound first: ValidationException.",
    **{
        (operation, "InvalidParameterValueException"): "it has no rule beyond those of the model, which are a ValidationException."
        for operation in (
            "DeleteCapacityProvider", "DeleteCodeSigningConfig", "DeleteEventSourceMapping",
            "DeleteResourcePolicy", "GetCapacityProvider", "GetCodeSigningConfig", "GetEventSourceMapping",
            "GetFunctionRecursionConfig", "GetLayerVersionByArn", "GetResourcePolicy", "PutFunctionRecursionConfig",
            "UpdateCodeSigningConfig",
        )
    },
    **{
        (operation, "InvalidParameterValueException"): _DURABLE
        for operation in (
            "DeleteDurableExecution", "GetDurableExecution", "GetDurableExecutionHistory", "PauseDurableExecution",
            "ResumeDurableExecution", "SendDurableExecutionCallbackFailure", "SendDurableExecutionCallbackHeartbeat",
            "SendDurableExecutionCallbackSuccess", "StopDurableExecution",
        )
    },
    **{
        (operation, "ResourceConflictException"): _DURABLE
        for operation in ("DeleteDurableExecution", "PauseDurableExecution", "ResumeDurableExecution")
    },
    **{
        (operation, "ResourceConflictException"): "it can always be done: nothing that is under way is in its way, and changes wait for each other."
        for operation in (
            "DeleteAlias", "DeleteEventSourceMapping", "DeleteFunctionConcurrency",
            "DeleteFunctionEventInvokeConfig", "DeleteFunctionUrlConfig", "DeleteProvisionedConcurrencyConfig",
            "DeleteResourcePolicy", "PutFunctionConcurrency", "PutFunctionEventInvokeConfig",
            "PutFunctionRecursionConfig", "PutResourcePolicy", "PutRuntimeManagementConfig",
            "RemoveLayerVersionPermission", "TagResource", "UntagResource", "UpdateAlias",
            "UpdateFunctionEventInvokeConfig", "UpdateFunctionUrlConfig",
        )
    },
    ("CreateEventSourceMapping", "ResourceNotFoundException"): "a function that is not there is told as an InvalidParameterValue.",
    ("DeleteAlias", "ResourceNotFoundException"): "deleting what is not there succeeds.",
    ("DeleteLayerVersion", "ResourceNotFoundException"): "deleting what is not there succeeds.",
    ("ListEventSourceMappings", "ResourceNotFoundException"): "what nothing belongs to has an empty list.",
    ("ListLayerVersions", "ResourceNotFoundException"): "what nothing belongs to has an empty list.",
    ("PublishLayerVersion", "ResourceNotFoundException"): "a layer is made by its first version.",
    **{
        ("InvokeAsync", f"SnapStart{what}Exception"): "it invokes the unpublished version alone, which has no snapshot."
        for what in ("", "NotReady", "Timeout")
    },
}  # fmt: skip

# Why some operations cannot succeed.
IDLE = {operation: _DURABLE for operation in WITHOUT_EXECUTION}

# Lists of which nothing is ever to be seen.
WITHOUT_PAGES = {"ListDurableExecutionsByFunction", *IDLE}


def reason(operation, code):
    """The reason, if there is one."""
    return SINGLE.get((operation, code)) or GENERAL.get(code)


def is_general(code):
    """Whether the reason holds where the error is not seen, without forbidding it elsewhere."""
    return code in GENERAL
