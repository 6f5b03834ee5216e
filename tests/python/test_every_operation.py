"""Every operation through boto3: that it works, that its documented errors come, that lists have pages, that what was
done is so after a restart. Detailed tests of what each does are elsewhere."""

import json

import pytest
from botocore import xform_name
from support import operations
from support.errors import ERRORS, In
from support.functions import error_of
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
def test_everything_is_there_after_the_service_was_killed(start_service, tmp_path):
    """Every operation is called on data that is kept; what can be read before and after a kill is the same."""
    kept = ("--data-dir", str(tmp_path / "data"))
    service = start_service(*kept, ephemeral=False)
    world = World(service.client())
    # An invocation changes nothing.
    for operation in sorted(one for one in SUCCESSES if not one.startswith("Invoke")):
        call(world.client, operation, SUCCESSES[operation](world))
    before = everything(service)
    assert len(before) > 500
    service.kill()
    changed, service = service.changes, start_service(*kept, ephemeral=False)
    assert everything(service) == before
    operations.survived(changed)


def everything(service):
    """Answers of all that reads, about all that there is, without the port that some name."""
    client, found = service.client(), {}

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
    told = {about: json.dumps(answer, default=str) for about, answer in found.items()}
    return {about: answer.replace(f":{service.port}", "") for about, answer in told.items()}


# What reads and wants no more than a function, or a version of it.
OF_VERSIONS = {"GetFunctionScalingConfig", "GetProvisionedConcurrencyConfig"}
OF_FUNCTIONS = [
    operation
    for operation, about in operations.model()["operations"].items()
    if about["http"]["method"] == "GET"
    and set(operations.required(operation)) - {"Qualifier"} == {"FunctionName"}
]


def seven(make):
    """What seven calls made."""
    return [make() for _ in range(7)]


def _functions(world):
    return [make["FunctionName"] for make in seven(world.function)]


def _versions(world):
    function = world.function()
    for number in range(1, 7):
        world.functions.configure(function["FunctionName"], Description=str(number))
        world.client.publish_version(**function)
    return function, ["$LATEST", *map(str, range(1, 7))]


def _aliases(world):
    function, names = world.version()["FunctionName"], [f"alias-{number}" for number in range(7)]
    for name in names:
        world.client.create_alias(FunctionName=function, Name=name, FunctionVersion="1")
    return {"FunctionName": function}, names


def _on_aliases(operation, **parameters):
    """Something that seven aliases of a function have."""

    def make(world):
        function, names = _aliases(world)
        for name in names:
            call(world.client, operation, {**function, "Qualifier": name, **parameters})
        return function, names

    return make


def _provisioned(world):
    function, versions = _versions(world)
    world.functions.configure(function["FunctionName"], Description="7")
    world.client.publish_version(**function)
    for version in [*versions[1:], "7"]:
        world.client.put_provisioned_concurrency_config(
            **function, Qualifier=version, ProvisionedConcurrentExecutions=1
        )
    return function, [*versions[1:], "7"]


def _layer_versions(world):
    layer = world.layer()["LayerName"]
    for _ in range(6):
        world.layer(layer)
    return {"LayerName": layer}, [str(number) for number in range(7, 0, -1)]


def _signed(world):
    config = world.signing()
    names = _functions(world)
    for name in names:
        world.client.put_function_code_signing_config(FunctionName=name, **config)
    return config, names


def _managed(world):
    first = world.managed()
    shown = world.client.get_function_configuration(**first)["CapacityProviderConfig"]
    provider = shown["LambdaManagedInstancesCapacityProviderConfig"]["CapacityProviderArn"]
    names = [first["FunctionName"]]
    for _ in range(6):
        names.append(world.on_provider(provider)["FunctionName"])
    return {"CapacityProviderName": provider}, [f"{name}:{one}" for name in names for one in ("$LATEST", "1")]


# Of each list: what makes seven of its things (in an account of its own) and tells the list's parameters and their names,
# the list's member, and how one of its things tells its name.
LISTS = {
    "ListAliases": (_aliases, "Aliases", lambda one: one["Name"]),
    "ListCapacityProviders": (
        lambda w: ({}, [one["CapacityProviderName"] for one in seven(w.provider)]),
        "CapacityProviders",
        lambda one: one["CapacityProviderArn"].rpartition(":")[2],
    ),
    "ListCodeSigningConfigs": (
        lambda w: ({}, [one["CodeSigningConfigArn"] for one in seven(w.signing)]),
        "CodeSigningConfigs",
        lambda one: one["CodeSigningConfigArn"],
    ),
    "ListEventSourceMappings": (
        lambda w: ({}, [one["UUID"] for one in seven(w.mapping)]),
        "EventSourceMappings",
        lambda one: one["UUID"],
    ),
    "ListFunctionEventInvokeConfigs": (
        _on_aliases("PutFunctionEventInvokeConfig", MaximumRetryAttempts=1),
        "FunctionEventInvokeConfigs",
        lambda one: one["FunctionArn"].rpartition(":")[2],
    ),
    "ListFunctionUrlConfigs": (
        _on_aliases("CreateFunctionUrlConfig", AuthType="NONE"),
        "FunctionUrlConfigs",
        lambda one: one["FunctionArn"].rpartition(":")[2],
    ),
    "ListFunctionVersionsByCapacityProvider": (
        _managed,
        "FunctionVersions",
        lambda one: one["FunctionArn"].partition(":function:")[2],
    ),
    "ListFunctions": (lambda w: ({}, _functions(w)), "Functions", lambda one: one["FunctionName"]),
    "ListFunctionsByCodeSigningConfig": (_signed, "FunctionArns", lambda one: one.split(":")[6]),
    "ListLayerVersions": (_layer_versions, "LayerVersions", lambda one: str(one["Version"])),
    "ListLayers": (
        lambda w: ({}, [one["LayerName"] for one in seven(w.layer)]),
        "Layers",
        lambda one: one["LayerName"],
    ),
    "ListProvisionedConcurrencyConfigs": (
        _provisioned,
        "ProvisionedConcurrencyConfigs",
        lambda one: one["FunctionArn"].rpartition(":")[2],
    ),
    "ListVersionsByFunction": (_versions, "Versions", lambda one: one["Version"]),
}
# Nothing is in these lists yet.
EMPTY_LISTS = {"ListDurableExecutionsByFunction", *WITHOUT_EXECUTION}


def test_every_list_is_read_page_by_page():
    assert set(LISTS) | EMPTY_LISTS >= {name for name in operations.model()["operations"] if operations.is_paginated(name)}


@pytest.mark.parametrize("operation", sorted(LISTS))
def test_pages_have_everything_once(service, operation):
    account = f"{4000_0000_0000 + sorted(LISTS).index(operation)}"
    # The SDK would refuse some sizes of pages by itself.
    world = World(service.client(access_key=account, parameter_validation=False))
    make, member, name = LISTS[operation]
    about, names = make(world)
    about = {**about, "MaxItems": 3}
    pages, marker = [], {}
    while not pages or marker:
        answer = call(world.client, operation, {**about, **marker})
        pages.append([name(one) for one in answer[member]])
        marker = {"Marker": answer["NextMarker"]} if "NextMarker" in answer else {}
        # No marker tells what comes next, nor is it good for another list.
        assert not marker or not any(one in marker["Marker"] for one in names)
    assert {len(page) for page in pages[:-1]} == {3} and len(pages) > 2
    assert sorted(sum(pages, [])) == sorted(names)
    again = call(world.client, operation, {**about, "MaxItems": 50})
    assert ([name(one) for one in again[member]], again.get("NextMarker")) == (sum(pages, []), None)
    for size in (0, 1_000_000):
        error = error_of(getattr(world.client, xform_name(operation)), **{**about, "MaxItems": size})
        assert (error.code, "at 'maxItems'" in error.message) == ("ValidationException", True)
    world.functions.clean()
