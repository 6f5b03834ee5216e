"""The context object that handlers receive.

Its attributes are AWS's contract; nothing else may be put here.
"""

import sys
import time

from hothouse_process import LOG, get_variable


class LambdaContext:
    """What a handler may know about its invocation."""

    def __init__(
        self,
        invoke_id,
        client_context,
        cognito_identity,
        epoch_deadline_time_in_ms,
        invoked_function_arn=None,
        tenant_id=None,
    ):
        self.aws_request_id = invoke_id
        self.log_group_name = get_variable("AWS_LAMBDA_LOG_GROUP_NAME")
        self.log_stream_name = get_variable("AWS_LAMBDA_LOG_STREAM_NAME")
        self.function_name = get_variable("AWS_LAMBDA_FUNCTION_NAME")
        self.memory_limit_in_mb = get_variable("AWS_LAMBDA_FUNCTION_MEMORY_SIZE")
        self.function_version = get_variable("AWS_LAMBDA_FUNCTION_VERSION")
        self.invoked_function_arn = invoked_function_arn
        self.tenant_id = tenant_id
        self._w3c_fields = take_w3c(client_context)
        self.client_context = None if client_context is None else ClientContext(client_context)
        self.identity = CognitoIdentity(cognito_identity)
        self._epoch_deadline_time_in_ms = epoch_deadline_time_in_ms

    def get_remaining_time_in_millis(self):
        """Milliseconds until the function times out, never negative."""
        return max(self._epoch_deadline_time_in_ms - int(time.time() * 1000), 0)

    def w3c(self):
        """W3C trace context of the invocation: `traceparent`, `tracestate` and `baggage`, if given."""
        return dict(self._w3c_fields)

    def log(self, msg):
        """Writes a record to the function's log as it is."""
        logging = sys.modules.get("logging")
        if logging is None:
            LOG.log(str(msg))
            return
        for handler in logging.getLogger().handlers:
            if hasattr(handler, "log_sink"):
                handler.log_sink.log(str(msg))
                return
        sys.stdout.write(str(msg))

    def __repr__(self):
        return describe(
            self,
            "aws_request_id",
            "log_group_name",
            "log_stream_name",
            "function_name",
            "memory_limit_in_mb",
            "function_version",
            "invoked_function_arn",
            "client_context",
            "identity",
            "tenant_id",
        )


class CognitoIdentity:
    """The Amazon Cognito identity that authorised the request; both fields are None without one."""

    __slots__ = ["cognito_identity_id", "cognito_identity_pool_id"]

    def __init__(self, fields):
        fields = {} if fields is None else fields
        self.cognito_identity_id = fields.get("cognitoIdentityId")
        self.cognito_identity_pool_id = fields.get("cognitoIdentityPoolId")

    def __repr__(self):
        return describe(self, *self.__slots__)


class ClientContext:
    """The client context that a mobile application sent; members that it did not send are None."""

    __slots__ = ["custom", "env", "client"]

    def __init__(self, fields):
        self.custom = fields.get("custom")
        self.env = fields.get("env")
        client = fields.get("client")
        self.client = None if client is None else Client(client)

    def __repr__(self):
        return describe(self, *self.__slots__)


class Client:
    """The application that invoked the function through the AWS Mobile SDK."""

    __slots__ = ["installation_id", "app_title", "app_version_name", "app_version_code", "app_package_name"]

    def __init__(self, fields):
        for name in self.__slots__:
            setattr(self, name, fields.get(name))

    def __repr__(self):
        return describe(self, *self.__slots__)


def take_w3c(client_context):
    """Removes the trace context from the client context, so that handlers see it through `w3c()` only."""
    if not isinstance(client_context, dict):
        return {}
    fields = client_context.pop("w3c", None)
    if not isinstance(fields, dict):
        return {}
    names = ("traceparent", "tracestate", "baggage")
    return {name: fields[name] for name in names if isinstance(fields.get(name), str)}


def describe(value, *names):
    fields = ",".join(f"{name}={getattr(value, name)}" for name in names)
    return f"{type(value).__name__}([{fields}])"
