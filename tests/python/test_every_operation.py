"""Every operation through boto3: that it works, that its documented errors come, that lists have pages, that what was
done is so after a restart. Detailed tests of what each does are elsewhere."""

import pytest
from botocore import xform_name
from support import operations
from support.errors import ERRORS, In
from support.functions import error_of
from support.service import Service
from support.world import SUCCESSES, WITHOUT_EXECUTION, World


@pytest.fixture(scope="module")
def world(client):
    world = World(client)
    yield world
    world.functions.clean()


def call(client, operation, parameters):
    return getattr(client, xform_name(operation))(**parameters)


def test_every_operation_of_the_model_has_its_call():
    assert set(SUCCESSES) | set(WITHOUT_EXECUTION) == set(operations.model()["operations"])


@pytest.mark.parametrize("operation", sorted(SUCCESSES))
def test_it_works(world, operation):
    answer = call(world.client, operation, SUCCESSES[operation](world))
    status = answer["ResponseMetadata"]["HTTPStatusCode"]
    assert status == STATUS.get(operation, operations.model()["operations"][operation]["http"].get("responseCode", 200))


# Where AWS answers otherwise than its model says.
STATUS = {"DeleteFunction": 204}


@pytest.mark.parametrize(("operation", "code"), sorted(ERRORS))
def test_it_fails(world, start_service, operation, code):
    wrong = ERRORS[operation, code]
    if isinstance(wrong, In):
        world = World(start_service(*wrong.options).client(), wait=False)
    error = error_of(getattr(world.client, xform_name(operation)), **wrong(world))
    assert error.code == code, error


@pytest.mark.timeout(300)
def test_everything_is_there_after_the_service_was_killed(tmp_path, data_home):
    """Every operation is called on data that is kept; what can be read before and after a kill is the same."""
    start = lambda: Service("--data-dir", str(tmp_path / "data"), home=data_home, ephemeral=False).start()  # noqa: E731
    service = start()
    world = World(service.client())
    for operation in sorted(SUCCESSES):
        call(world.client, operation, SUCCESSES[operation](world))
    before = everything(service.client())
    assert len(before) > 500
    service.kill()
    changed, service = service.changes, start()
    assert everything(service.client()) == before
    operations.survived(changed)
    service.stop()


def everything(client):
    """Answers of all that reads, about all that there is."""
    found = {}

    def read(operation, **parameters):
        try:
            answer = call(client, operation, parameters)
        except client.exceptions.ClientError as error:
            answer = error.response["Error"]
        answer.pop("ResponseMetadata", None)
        found[operation, *parameters.values()] = answer
        return answer

    def all_of(operation, member, **parameters):
        pages = client.get_paginator(xform_name(operation)).paginate(**parameters)
        found[operation, *parameters.values()] = items = [item for page in pages for item in page[member]]
        return items

    read("GetAccountSettings")
    for function in all_of("ListFunctions", "Functions", FunctionVersion="ALL"):
        name = function["FunctionArn"]
        for operation in OF_FUNCTIONS:
            qualifier = {"Qualifier": "1"} if operation in OF_VERSIONS else {}
            read(operation, FunctionName=name.rpartition(":")[0], **qualifier)
        read("ListTags", Resource=name.rpartition(":")[0])
        read("GetResourcePolicy", ResourceArn=name.rpartition(":")[0])
        read("GetAlias", FunctionName=name.rpartition(":")[0], Name="live")
    for mapping in all_of("ListEventSourceMappings", "EventSourceMappings"):
        read("GetEventSourceMapping", UUID=mapping["UUID"])
    for layer in all_of("ListLayers", "Layers"):
        for version in all_of("ListLayerVersions", "LayerVersions", LayerName=layer["LayerName"]):
            one = {"LayerName": layer["LayerName"], "VersionNumber": version["Version"]}
            read("GetLayerVersion", **one)
            read("GetLayerVersionPolicy", **one)
            read("GetLayerVersionByArn", Arn=version["LayerVersionArn"])
    for config in all_of("ListCodeSigningConfigs", "CodeSigningConfigs"):
        read("GetCodeSigningConfig", CodeSigningConfigArn=config["CodeSigningConfigArn"])
        read("ListFunctionsByCodeSigningConfig", CodeSigningConfigArn=config["CodeSigningConfigArn"])
        read("ListTags", Resource=config["CodeSigningConfigArn"])
    for provider in read("ListCapacityProviders")["CapacityProviders"]:
        read("GetCapacityProvider", CapacityProviderName=provider["CapacityProviderArn"])
        read("ListFunctionVersionsByCapacityProvider", CapacityProviderName=provider["CapacityProviderArn"])
    return found


# What reads and wants no more than a function, or a version of it.
OF_VERSIONS = {"GetFunctionScalingConfig", "GetProvisionedConcurrencyConfig"}
OF_FUNCTIONS = [
    operation
    for operation, about in operations.model()["operations"].items()
    if about["http"]["method"] == "GET"
    and set(operations.required(operation)) - {"Qualifier"} == {"FunctionName"}
]
