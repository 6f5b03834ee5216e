"""Every operation through the `aws` command, as far as it knows them: that it works, and what it says if there is nothing
of that name or if it is there already."""

import pytest
from support import operations
from support.cli import ERROR
from support.errors import ERRORS, In
from support.world import SUCCESSES, World

KNOWN = operations.cli_commands()
CODES = {"ResourceNotFoundException", "ResourceConflictException"}


@pytest.fixture(scope="module")
def world(client):
    world = World(client)
    yield world
    world.functions.clean()


@pytest.mark.parametrize("operation", sorted(KNOWN & set(SUCCESSES)))
def test_it_works(aws, world, operation):
    aws(*aws.arguments(operation, SUCCESSES[operation](world)))


@pytest.mark.parametrize(
    ("operation", "code"),
    sorted(
        (operation, code)
        for (operation, code), wrong in ERRORS.items()
        if operation in KNOWN and code in CODES and not isinstance(wrong, In)
    ),
)
def test_it_fails(aws, world, operation, code):
    said = aws(*aws.arguments(operation, ERRORS[operation, code](world)), fails=True)
    assert ERROR.search(said).groups() == (code, operation)
