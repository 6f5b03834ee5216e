"""Functions that keep their tenants apart, through boto3 and real runtimes."""

import json

import pytest
from support.functions import NODE, PYTHON, archive, error_of
from support.waiting import until

ISOLATED = {"TenancyConfig": {"TenantIsolationMode": "PER_TENANT"}}

# What an environment remembers of who used it.
REMEMBERING = {
    PYTHON: {
        "main.py": """
import logging

seen = []

def handler(event, context):
    seen.append(context.tenant_id)
    logging.getLogger().warning("remembered")
    return seen
"""
    },
    NODE: {
        "main.js": """
const seen = [];
exports.handler = async (event, context) => {
  seen.push(context.tenantId);
  console.warn("remembered");
  return seen;
};
"""
    },
}


def invoke(client, name, tenant):
    answer = client.invoke(FunctionName=name, TenantId=tenant)
    payload = json.loads(answer["Payload"].read())
    assert "FunctionError" not in answer, payload
    return payload


@pytest.mark.parametrize("runtime", [PYTHON, NODE])
def test_tenants_share_nothing(service, client, functions, runtime):
    code = archive(REMEMBERING[runtime])
    logging = {"LoggingConfig": {"LogFormat": "JSON"}}
    name = functions.create(code, Runtime=runtime, Handler="main.handler", **ISOLATED, **logging)
    found = client.get_function_configuration(FunctionName=name)
    assert found["TenancyConfig"] == ISOLATED["TenancyConfig"]
    assert invoke(client, name, "blue") == ["blue"]
    assert invoke(client, name, "red/2 @x") == ["red/2 @x"]
    assert invoke(client, name, "blue") == ["blue", "blue"]
    client.invoke(FunctionName=name, TenantId="red/2 @x", InvocationType="Event")

    logs = service.client("logs")

    def records():
        pages = logs.get_paginator("filter_log_events").paginate(logGroupName=f"/aws/lambda/{name}")
        return [json.loads(event["message"]) for page in pages for event in page["events"]]

    def tenants(kind):
        return sorted(one["record"]["tenantId"] for one in records() if one.get("type") == kind)

    everyone = ["blue", "blue", "red/2 @x", "red/2 @x"]
    until(lambda: tenants("platform.report") == everyone, seconds=30, what="the reports of four invocations")
    assert tenants("platform.start") == everyone
    assert sorted(one["tenantId"] for one in records() if one.get("message") == "remembered") == everyone


def test_tenant_is_named_where_one_is_due(client, functions):
    name = functions.create(archive(REMEMBERING[PYTHON]), Runtime=PYTHON, Handler="main.handler", **ISOLATED)
    plain = functions.create(archive(REMEMBERING[PYTHON]), Runtime=PYTHON, Handler="main.handler")
    for parameters in ({"FunctionName": name}, {"FunctionName": plain, "TenantId": "blue"}):
        error = error_of(client.invoke, **parameters)
        assert (error.code, error.status) == ("InvalidParameterValueException", 400)
    refused = error_of(client.create_function_url_config, FunctionName=name, AuthType="NONE")
    assert refused.code == "InvalidParameterValueException"
