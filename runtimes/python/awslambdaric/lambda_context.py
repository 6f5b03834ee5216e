"""The context's classes under the module name that they have on AWS."""

from hothouse_context import Client, ClientContext, CognitoIdentity, LambdaContext

__all__ = ["Client", "ClientContext", "CognitoIdentity", "LambdaContext"]
