"""Every operation through boto3: that it works, that its documented errors come, that lists have pages, that what was
done is so after a restart. Detailed tests of what each does are elsewhere."""

import pytest
from botocore import xform_name
from support import operations
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


@pytest.mark.parametrize("operation", sorted(WITHOUT_EXECUTION))
def test_there_is_no_durable_execution(world, operation):
    parameters = WITHOUT_EXECUTION[operation]
    error = error_of(getattr(world.client, xform_name(operation)), **parameters)
    # Who runs an execution shows a token, and is told of that.
    expected = ("InvalidParameterValueException", 400) if "CheckpointToken" in parameters else ("ResourceNotFoundException", 404)
    assert (error.code, error.status) == expected
