"""Every operation through the `aws` command, as far as it knows them."""

import pytest
from support import operations
from support.world import SUCCESSES, World


@pytest.fixture(scope="module")
def world(client):
    world = World(client)
    yield world
    world.functions.clean()


@pytest.mark.parametrize("operation", sorted(set(SUCCESSES) & operations.cli_commands()))
def test_it_works(aws, world, operation):
    aws(*aws.arguments(operation, SUCCESSES[operation](world)))
