"""The account's limits, as configured, and what of them is used."""

from support.functions import Functions, error_of


def test_limits_are_configured_shown_and_enforced(start_service):
    service = start_service(
        "--limit-concurrent-executions=20",
        "--limit-minimum-unreserved-concurrency=5",
        "--limit-total-code-size=1MiB",
        "--limit-code-size-zipped=1KiB",
        "--limit-memory-size=3008",
    )
    client = service.client()
    settings = client.get_account_settings()
    assert settings["AccountLimit"] == {
        "TotalCodeSize": 1 << 20,
        "CodeSizeUnzipped": 262_144_000,
        "CodeSizeZipped": 1 << 10,
        "ConcurrentExecutions": 20,
        "UnreservedConcurrentExecutions": 20,
    }
    assert settings["AccountUsage"] == {"TotalCodeSize": 0, "FunctionCount": 0}
    functions = Functions(client)
    name = functions.create({"index.py": "handler = None"}, Runtime="python3.12", Handler="index.handler")
    size = client.get_function_configuration(FunctionName=name)["CodeSize"]
    client.publish_version(FunctionName=name)
    client.put_function_concurrency(FunctionName=name, ReservedConcurrentExecutions=15)
    settings = client.get_account_settings()
    assert settings["AccountLimit"]["UnreservedConcurrentExecutions"] == 5
    # A version counts anew, though it is of the same package.
    assert settings["AccountUsage"]["FunctionCount"] == 1
    assert settings["AccountUsage"]["TotalCodeSize"] == 2 * size
    assert service.client(region="eu-west-1").get_account_settings()["AccountUsage"]["FunctionCount"] == 0
    larger = error_of(client.update_function_configuration, FunctionName=name, MemorySize=3009)
    assert tuple(larger) == (
        "InvalidParameterValueException",
        400,
        "'MemorySize' value failed to satisfy constraint: Member must have value less than or equal to 3008",
    )
