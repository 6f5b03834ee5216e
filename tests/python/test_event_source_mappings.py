"""Event source mappings: what feeds which function, and in which state it is."""

import pytest
from support.functions import Functions, error_of, unique
from support.service import Service, free_port
from support.waiting import until

PREFIX = "us-east-1:000000000000"


def queue_arn(name):
    return f"arn:aws:sqs:{PREFIX}:{name}"


@pytest.fixture
def queue():
    """The ARN of a queue that no other test uses. Without a companion nobody knows whether it is there."""
    return queue_arn(unique("queue"))


@pytest.fixture
def mapped(client, functions, queue):
    """A mapping, and the function that it feeds."""
    name = functions.create()
    yield client.create_event_source_mapping(FunctionName=name, EventSourceArn=queue), name
    for mapping in client.list_event_source_mappings(EventSourceArn=queue)["EventSourceMappings"]:
        client.delete_event_source_mapping(UUID=mapping["UUID"])


def test_a_mapping_is_created_shown_changed_and_deleted(client, mapped, queue):
    created, name = mapped
    uuid = created["UUID"]
    assert (created["State"], created["StateTransitionReason"]) == ("Creating", "USER_INITIATED")
    assert (created["EventSourceArn"], created["BatchSize"]) == (queue, 10)
    assert created["FunctionArn"] == f"arn:aws:lambda:{PREFIX}:function:{name}"
    assert created["EventSourceMappingArn"] == f"arn:aws:lambda:{PREFIX}:event-source-mapping:{uuid}"
    shown = client.get_event_source_mapping(UUID=uuid)
    assert (shown["State"], shown["LastModified"]) == ("Enabled", created["LastModified"])

    updated = client.update_event_source_mapping(UUID=uuid, Enabled=False, BatchSize=7)
    assert (updated["State"], updated["BatchSize"]) == ("Disabling", 7)
    assert client.get_event_source_mapping(UUID=uuid)["State"] == "Disabled"
    listed = client.list_event_source_mappings(FunctionName=name)["EventSourceMappings"]
    assert [(mapping["UUID"], mapping["BatchSize"]) for mapping in listed] == [(uuid, 7)]

    assert client.delete_event_source_mapping(UUID=uuid)["State"] == "Deleting"
    for call in (
        client.get_event_source_mapping,
        client.update_event_source_mapping,
        client.delete_event_source_mapping,
    ):
        failure = error_of(call, UUID=uuid)
        assert (failure.code, failure.status) == ("ResourceNotFoundException", 404)
        assert failure.message == "The resource you requested does not exist."
    assert client.list_event_source_mappings(FunctionName=name)["EventSourceMappings"] == []


def test_every_setting_of_a_stream_comes_back(client, functions):
    settings = {
        "StartingPosition": "LATEST",
        "BatchSize": 50,
        "MaximumBatchingWindowInSeconds": 5,
        "ParallelizationFactor": 3,
        "MaximumRecordAgeInSeconds": 3600,
        "MaximumRetryAttempts": 4,
        "BisectBatchOnFunctionError": True,
        "TumblingWindowInSeconds": 0,
        "FunctionResponseTypes": ["ReportBatchItemFailures"],
        "DestinationConfig": {"OnFailure": {"Destination": queue_arn("failures")}},
        "FilterCriteria": {"Filters": [{"Pattern": '{"data": {"kind": [{"prefix": "a"}]}}'}]},
    }
    stream = f"arn:aws:kinesis:{PREFIX}:stream/{unique('stream')}"
    name = functions.create()
    uuid = client.create_event_source_mapping(FunctionName=name, EventSourceArn=stream, **settings)["UUID"]
    shown = client.get_event_source_mapping(UUID=uuid)
    assert {member: shown[member] for member in settings} == settings
    assert shown["LastProcessingResult"] == "No records processed"
    client.delete_event_source_mapping(UUID=uuid)


def test_a_mapping_needs_a_function_and_a_source(client, mapped):
    _, name = mapped
    failure = error_of(client.create_event_source_mapping, FunctionName=name)
    assert (failure.code, failure.message) == ("InvalidParameterValueException", "Unrecognized event source.")
    failure = error_of(client.create_event_source_mapping, FunctionName="none", EventSourceArn=queue_arn("q"))
    assert (failure.code, failure.message) == ("InvalidParameterValueException", "Function does not exist")
    filters = {"Filters": [{"Pattern": '{"body": "text"}'}]}
    failure = error_of(
        client.create_event_source_mapping,
        FunctionName=name,
        EventSourceArn=queue_arn("q"),
        FilterCriteria=filters,
    )
    assert failure.message == "Invalid filter pattern definition."


def test_the_same_mapping_cannot_be_made_twice(client, mapped, functions, queue):
    created, name = mapped
    failure = error_of(client.create_event_source_mapping, FunctionName=name, EventSourceArn=queue)
    assert (failure.code, failure.status) == ("ResourceConflictException", 409)
    assert failure.message == (
        f'An event source mapping with SQS arn (" {queue} ") and function (" {name} ") already exists. Please update '
        f"or delete the existing mapping with UUID {created['UUID']}"
    )
    other = functions.create()
    second = client.create_event_source_mapping(FunctionName=other, EventSourceArn=queue)["UUID"]
    failure = error_of(client.update_event_source_mapping, UUID=second, FunctionName=name)
    assert failure.code == "ResourceConflictException"


def test_lists_come_in_pages(client, functions):
    name = functions.create()
    queues = [queue_arn(unique("queue")) for _ in range(5)]
    made = {
        client.create_event_source_mapping(FunctionName=name, EventSourceArn=queue)["UUID"] for queue in queues
    }
    pages = client.get_paginator("list_event_source_mappings").paginate(
        FunctionName=name, PaginationConfig={"PageSize": 2}
    )
    sizes, seen = [], set()
    for page in pages:
        sizes.append(len(page["EventSourceMappings"]))
        seen |= {mapping["UUID"] for mapping in page["EventSourceMappings"]}
    assert (sizes, seen) == ([2, 2, 1], made)
    for uuid in made:
        client.delete_event_source_mapping(UUID=uuid)


def test_nothing_else_begins_while_something_is_under_way(start_service, queue):
    service = start_service("--event-source-mapping-delay", "2s")
    functions = Functions(service.client())
    client = functions.client
    uuid = client.create_event_source_mapping(FunctionName=functions.create(), EventSourceArn=queue)["UUID"]
    assert client.get_event_source_mapping(UUID=uuid)["State"] == "Creating"
    for call, verb in (
        (client.update_event_source_mapping, "update"),
        (client.delete_event_source_mapping, "delete"),
    ):
        failure = error_of(call, UUID=uuid)
        assert (failure.code, failure.status) == ("ResourceInUseException", 400)
        assert failure.message == f"Cannot {verb} the event source mapping because it is in use."
    until(lambda: client.get_event_source_mapping(UUID=uuid)["State"] == "Enabled", what="the mapping")


def test_mappings_are_there_after_a_restart(tmp_path, data_home, queue):
    def start():
        directory = str(tmp_path / "data")
        return Service("--data-dir", directory, home=data_home, ephemeral=False).start()

    service = start()
    try:
        functions = Functions(service.client())
        uuid = functions.client.create_event_source_mapping(
            FunctionName=functions.create(), EventSourceArn=queue, Enabled=False, Tags={"kept": "yes"}
        )["UUID"]
        shown = functions.client.get_event_source_mapping(UUID=uuid)
        service.stop()
        service = start()
        again = service.client().get_event_source_mapping(UUID=uuid)
        for answer in (shown, again):
            del answer["ResponseMetadata"]
        assert again == shown
        tags = service.client().list_tags(Resource=shown["EventSourceMappingArn"])["Tags"]
        assert tags == {"kept": "yes"}
    finally:
        service.stop()


def test_the_companion_knows_what_exists(with_companion):
    functions = Functions(with_companion.client())
    create = functions.client.create_event_source_mapping
    name = functions.create(Timeout=60)
    missing = queue_arn(unique("queue"))
    assert error_of(create, FunctionName=name, EventSourceArn=missing).message == (
        "Error occurred while ReceiveMessage. SQS Error Code: AWS.SimpleQueueService.NonExistentQueue. SQS Error "
        "Message: The specified queue does not exist."
    )
    streams = (
        f"arn:aws:kinesis:{PREFIX}:stream/{unique('stream')}",
        f"arn:aws:dynamodb:{PREFIX}:table/{unique('table')}/stream/2026-01-01T00:00:00.000",
    )
    for stream in streams:
        failure = error_of(create, FunctionName=name, EventSourceArn=stream, StartingPosition="LATEST")
        assert failure.message == f"Stream not found: {stream}"

    sqs = with_companion.client("sqs")
    queue = unique("queue")
    url = sqs.create_queue(QueueName=queue, Attributes={"VisibilityTimeout": "30"})["QueueUrl"]
    failure = error_of(create, FunctionName=name, EventSourceArn=queue_arn(queue))
    assert failure.message == (
        "Queue visibility timeout: 30 seconds is less than Function timeout: 60 seconds"
    )
    sqs.set_queue_attributes(QueueUrl=url, Attributes={"VisibilityTimeout": "60"})
    assert create(FunctionName=name, EventSourceArn=queue_arn(queue))["State"] == "Creating"

    kinesis = with_companion.client("kinesis")
    stream = unique("stream")
    kinesis.create_stream(StreamName=stream, ShardCount=1)
    arn = f"arn:aws:kinesis:{PREFIX}:stream/{stream}"
    assert create(FunctionName=name, EventSourceArn=arn, StartingPosition="LATEST")["State"] == "Creating"
    table = with_companion.client("dynamodb").create_table(
        TableName=unique("table"),
        KeySchema=[{"AttributeName": "id", "KeyType": "HASH"}],
        AttributeDefinitions=[{"AttributeName": "id", "AttributeType": "S"}],
        BillingMode="PAY_PER_REQUEST",
        StreamSpecification={"StreamEnabled": True, "StreamViewType": "NEW_IMAGE"},
    )
    arn = table["TableDescription"]["LatestStreamArn"]
    assert create(FunctionName=name, EventSourceArn=arn, StartingPosition="LATEST")["State"] == "Creating"
    assert "could not be looked up" not in with_companion.log


def test_a_companion_that_does_not_answer_is_in_nobodys_way(start_service, queue):
    service = start_service("--aws-endpoint", f"http://127.0.0.1:{free_port()}")
    functions = Functions(service.client())
    created = functions.client.create_event_source_mapping(
        FunctionName=functions.create(), EventSourceArn=queue
    )
    assert created["State"] == "Creating"
    warning = "accepted an event source that could not be looked up"
    until(lambda: warning in service.log, what="the warning")
