"""Why some documented errors are not provoked by any test: the one place for these reasons."""

_NETWORK = "functions have the machine's network; there are no network interfaces to be had or denied."
_KMS = "there is no KMS behind it: keys are kept and shown, and nothing is encrypted with them."
_FILES = "file systems are kept and shown, and not mounted."
_SNAP_START = "a version with SnapStart starts like any other: there is no snapshot that could fail."
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
    "SnapStartException": _SNAP_START,
    "SnapStartNotReadyException": _SNAP_START,
    "SnapStartRegenerationFailureException": _SNAP_START,
    "SnapStartTimeoutException": _SNAP_START,
    "CodeArtifactUserDeletedException": _ARTIFACT,
    "CodeArtifactUserFailedException": _ARTIFACT,
    "CodeArtifactUserPendingException": _ARTIFACT,
}

_CONSTRAINTS = "the model's constraints leave nothing else to refuse, and those are told as ValidationException."
_SIGNED = "a code signing configuration cannot be deleted while a function has it."
_UNSIGNED = "nobody signs packages for a local service: an unsigned one is refused with CodeVerificationFailed."
_NO_EXECUTION = "durable functions are not run yet, so there is no execution that could be in a state."
_TAGS = "tags are put and taken away at once, whatever else happens."

# Of single operations.
SINGLE = {
    **{(one, "CodeSigningConfigNotFoundException"): _SIGNED for one in (
        "DeleteFunctionCodeSigningConfig",
        "GetFunctionCodeSigningConfig",
        "UpdateFunctionCode",
        "UpdateFunctionConfiguration",
    )},
    **{(one, "InvalidCodeSignatureException"): _UNSIGNED for one in (
        "CreateFunction",
        "UpdateFunctionCode",
        "UpdateFunctionConfiguration",
    )},
    **{(one, "InvalidParameterValueException"): _CONSTRAINTS for one in (
        "DeleteCapacityProvider",
        "DeleteCodeSigningConfig",
        "GetCapacityProvider",
        "GetCodeSigningConfig",
        "UpdateCodeSigningConfig",
    )},
    **{(one, code): _NO_EXECUTION for one, code in (
        ("DeleteDurableExecution", "InvalidParameterValueException"),
        ("DeleteDurableExecution", "ResourceConflictException"),
        ("GetDurableExecution", "InvalidParameterValueException"),
        ("GetDurableExecutionHistory", "InvalidParameterValueException"),
        ("Invoke", "DurableExecutionAlreadyStartedException"),
        ("PauseDurableExecution", "InvalidParameterValueException"),
        ("PauseDurableExecution", "ResourceConflictException"),
        ("ResumeDurableExecution", "InvalidParameterValueException"),
        ("ResumeDurableExecution", "ResourceConflictException"),
        ("SendDurableExecutionCallbackFailure", "CallbackTimeoutException"),
        ("SendDurableExecutionCallbackFailure", "InvalidParameterValueException"),
        ("SendDurableExecutionCallbackHeartbeat", "CallbackTimeoutException"),
        ("SendDurableExecutionCallbackHeartbeat", "InvalidParameterValueException"),
        ("SendDurableExecutionCallbackSuccess", "CallbackTimeoutException"),
        ("SendDurableExecutionCallbackSuccess", "InvalidParameterValueException"),
        ("StopDurableExecution", "InvalidParameterValueException"),
    )},
    ("TagResource", "ResourceConflictException"): _TAGS,
    ("UntagResource", "ResourceConflictException"): _TAGS,
}


def reason(operation, code):
    """The reason, if there is one."""
    return SINGLE.get((operation, code)) or GENERAL.get(code)


def is_general(code):
    """Whether the reason holds where the error is not seen, without forbidding it elsewhere."""
    return code in GENERAL
