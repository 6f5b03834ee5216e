"""The companions by themselves: CloudWatch Logs, STS, and what happens to requests for other services."""

import re
import threading
import time

import boto3
import pytest
from botocore.config import Config
from support.functions import error_of, unique
from support.service import Service

REGION = "us-east-1"
DAY = 86_400_000


@pytest.fixture(scope="module")
def endpoint(service):
    """URL of a running service."""
    return service.endpoint


def client_of(endpoint, name, access_key="test", region=REGION, token=None, secret="test"):
    return boto3.client(
        name,
        endpoint_url=endpoint,
        region_name=region,
        aws_access_key_id=access_key,
        aws_secret_access_key=secret,
        aws_session_token=token,
        config=Config(retries={"max_attempts": 0, "mode": "standard"}, s3={"addressing_style": "path"}),
    )


@pytest.fixture(scope="module")
def logs(endpoint):
    return client_of(endpoint, "logs")


@pytest.fixture(scope="module")
def sts(endpoint):
    return client_of(endpoint, "sts")


@pytest.fixture
def group(logs):
    """A log group of the test's own."""
    name = unique("/companions/group")
    logs.create_log_group(logGroupName=name)
    yield name
    logs.delete_log_group(logGroupName=name)


def now():
    return int(time.time() * 1000)


def put(logs, group, stream, *messages, at=None):
    """Puts messages a millisecond apart, into a stream that may be new; returns the time of the first."""
    try:
        logs.create_log_stream(logGroupName=group, logStreamName=stream)
    except logs.exceptions.ResourceAlreadyExistsException:
        pass
    start = now() if at is None else at
    events = [{"timestamp": start + index, "message": message} for index, message in enumerate(messages)]
    answer = logs.put_log_events(logGroupName=group, logStreamName=stream, logEvents=events)
    assert "rejectedLogEventsInfo" not in answer
    return start


def texts(answer):
    return [event["message"] for event in answer["events"]]


# Groups.


def test_a_group_is_described_as_aws_does(logs):
    name = unique("/companions/described")
    before = now()
    logs.create_log_group(logGroupName=name, tags={"team": "a"})
    (found,) = logs.describe_log_groups(logGroupNamePrefix=name)["logGroups"]
    assert before - 1000 <= found.pop("creationTime") <= now() + 1000
    arn = f"arn:aws:logs:us-east-1:000000000000:log-group:{name}"
    assert found == {
        "logGroupName": name,
        "metricFilterCount": 0,
        "arn": f"{arn}:*",
        "storedBytes": 0,
        "logGroupClass": "STANDARD",
        "logGroupArn": arn,
    }
    assert logs.list_tags_for_resource(resourceArn=arn)["tags"] == {"team": "a"}
    logs.tag_resource(resourceArn=arn, tags={"stage": "b"})
    logs.untag_resource(resourceArn=arn, tagKeys=["team"])
    assert logs.list_tags_log_group(logGroupName=name)["tags"] == {"stage": "b"}
    logs.delete_log_group(logGroupName=name)


def test_groups_come_in_pages(logs):
    prefix = unique("/companions/many")
    names = [f"{prefix}/{number:02}" for number in range(7)]
    for name in reversed(names):
        logs.create_log_group(logGroupName=name)
    pages = logs.get_paginator("describe_log_groups").paginate(
        logGroupNamePrefix=prefix, PaginationConfig={"PageSize": 3}
    )
    sizes = []
    found = []
    for page in pages:
        sizes.append(len(page["logGroups"]))
        found += [group["logGroupName"] for group in page["logGroups"]]
    assert (found, sizes) == (names, [3, 3, 1])
    by_pattern = logs.describe_log_groups(logGroupNamePattern=prefix.split("/")[2].upper() + "/03")[
        "logGroups"
    ]
    assert [group["logGroupName"] for group in by_pattern] == [names[3]]
    for name in names:
        logs.delete_log_group(logGroupName=name)


def test_errors_are_those_of_aws(logs, group):
    missing = unique("/companions/missing")
    no_group = ("ResourceNotFoundException", 400, "The specified log group does not exist.")
    no_stream = ("ResourceNotFoundException", 400, "The specified log stream does not exist.")
    there = ("ResourceAlreadyExistsException", 400)
    assert tuple(error_of(logs.delete_log_group, logGroupName=missing)) == no_group
    assert tuple(error_of(logs.describe_log_streams, logGroupName=missing)) == no_group
    assert tuple(error_of(logs.filter_log_events, logGroupName=missing)) == no_group
    assert tuple(error_of(logs.get_log_events, logGroupName=missing, logStreamName="a")) == no_group
    assert tuple(error_of(logs.get_log_events, logGroupName=group, logStreamName="a")) == no_stream
    assert tuple(error_of(logs.delete_log_stream, logGroupName=group, logStreamName="a")) == no_stream
    event = {"timestamp": now(), "message": "a"}
    put_to = {"logStreamName": "a", "logEvents": [event]}
    assert tuple(error_of(logs.put_log_events, logGroupName=missing, **put_to)) == no_group
    assert tuple(error_of(logs.put_log_events, logGroupName=group, **put_to)) == no_stream
    assert tuple(error_of(logs.create_log_group, logGroupName=group)) == (
        *there,
        "The specified log group already exists",
    )
    logs.create_log_stream(logGroupName=group, logStreamName="a")
    assert tuple(error_of(logs.create_log_stream, logGroupName=group, logStreamName="a")) == (
        *there,
        "The specified log stream already exists",
    )
    invalid = error_of(logs.create_log_group, logGroupName="with space")
    assert tuple(invalid) == (
        "InvalidParameterException",
        400,
        "1 validation error detected: Value 'with space' at 'logGroupName' failed to satisfy constraint: "
        r"Member must satisfy regular expression pattern: [\.\-_/#A-Za-z0-9]+",
    )
    assert (
        error_of(logs.create_log_stream, logGroupName=group, logStreamName="a:b").code
        == "InvalidParameterException"
    )
    unknown = error_of(
        logs.start_query, logGroupName=group, startTime=0, endTime=1, queryString="fields @message"
    )
    assert (unknown.code, unknown.status) == ("NotImplementedException", 501)
    assert "StartQuery" in unknown.message


# Streams.


def test_streams_are_sorted_and_come_in_pages(logs, group):
    start = now() - 10_000
    for number, stream in enumerate(["c", "a", "d", "b"]):
        put(logs, group, stream, "x", at=start + number)

    def names(**how):
        pages = logs.get_paginator("describe_log_streams").paginate(
            logGroupName=group, PaginationConfig={"PageSize": 3}, **how
        )
        return [stream["logStreamName"] for page in pages for stream in page["logStreams"]]

    assert names() == ["a", "b", "c", "d"]
    assert names(descending=True) == ["d", "c", "b", "a"]
    assert names(orderBy="LastEventTime") == ["c", "a", "d", "b"]
    assert names(orderBy="LastEventTime", descending=True) == ["b", "d", "a", "c"]
    assert names(logStreamNamePrefix="a") == ["a"]
    failure = error_of(
        logs.describe_log_streams, logGroupName=group, orderBy="LastEventTime", logStreamNamePrefix="a"
    )
    assert failure.message == "Cannot order by LastEventTime with a logStreamNamePrefix."

    (stream,) = logs.describe_log_streams(logGroupName=group, logStreamNamePrefix="d")["logStreams"]
    assert stream["arn"] == f"arn:aws:logs:us-east-1:000000000000:log-group:{group}:log-stream:d"
    assert stream["firstEventTimestamp"] == stream["lastEventTimestamp"] == start + 2
    by_arn = logs.describe_log_streams(
        logGroupIdentifier=f"arn:aws:logs:us-east-1:000000000000:log-group:{group}", limit=1
    )
    assert [stream["logStreamName"] for stream in by_arn["logStreams"]] == ["a"]


# Events.


def test_pages_go_forward_and_the_last_token_repeats(logs, group):
    start = put(logs, group, "one", *[f"event {number}" for number in range(10)])
    where = {"logGroupName": group, "logStreamName": "one", "limit": 4}
    page = logs.get_log_events(startFromHead=True, **where)
    seen = texts(page)
    while True:
        token = page["nextForwardToken"]
        assert re.fullmatch(r"f/\d{56}", token)
        page = logs.get_log_events(nextToken=token, startFromHead=True, **where)
        seen += texts(page)
        if page["nextForwardToken"] == token:
            break
    assert seen == [f"event {number}" for number in range(10)]
    assert texts(page) == []
    # What comes later is behind the same token.
    put(logs, group, "one", "late", at=start + 10)
    assert texts(logs.get_log_events(nextToken=token, startFromHead=True, **where)) == ["late"]


def test_pages_go_backward_from_the_end(logs, group):
    put(logs, group, "one", *[f"event {number}" for number in range(10)])
    where = {"logGroupName": group, "logStreamName": "one", "limit": 4}
    page = logs.get_log_events(**where)
    assert texts(page) == [f"event {number}" for number in range(6, 10)]
    page = logs.get_log_events(nextToken=page["nextBackwardToken"], **where)
    assert texts(page) == [f"event {number}" for number in range(2, 6)]
    forward = logs.get_log_events(nextToken=page["nextForwardToken"], startFromHead=True, **where)
    assert texts(forward) == [f"event {number}" for number in range(6, 10)]
    page = logs.get_log_events(nextToken=page["nextBackwardToken"], **where)
    assert texts(page) == ["event 0", "event 1"]
    token = page["nextBackwardToken"]
    page = logs.get_log_events(nextToken=token, **where)
    assert (texts(page), page["nextBackwardToken"]) == ([], token)
    failure = error_of(logs.get_log_events, nextToken="nonsense", **where)
    assert (failure.code, failure.message) == (
        "InvalidParameterException",
        "The specified nextToken is invalid.",
    )


def test_times_bound_what_is_read(logs, group):
    start = put(logs, group, "one", *"abcde")
    where = {"logGroupName": group, "startTime": start + 1, "endTime": start + 3}
    # GetLogEvents leaves the end out, FilterLogEvents does not.
    assert texts(logs.get_log_events(logStreamName="one", startFromHead=True, **where)) == ["b", "c"]
    assert texts(logs.filter_log_events(**where)) == ["b", "c", "d"]


def test_a_search_goes_through_all_streams_in_the_order_of_time(logs, group):
    start = now() - 60_000
    for number in range(6):
        put(logs, group, f"{'ab'[number % 2]}/{number % 3}", f"event {number}", at=start + number)
    answer = logs.filter_log_events(logGroupName=group)
    assert texts(answer) == [f"event {number}" for number in range(6)]
    assert answer["searchedLogStreams"] == []
    assert len({event["eventId"] for event in answer["events"]}) == 6
    pages = logs.get_paginator("filter_log_events").paginate(
        logGroupName=group, PaginationConfig={"PageSize": 2}
    )
    assert [text for page in pages for text in texts(page)] == [f"event {number}" for number in range(6)]
    assert texts(logs.filter_log_events(logGroupName=group, logStreamNames=["a/0", "b/1"])) == [
        "event 0",
        "event 1",
    ]
    assert texts(logs.filter_log_events(logGroupName=group, logStreamNames=["a/0"])) == ["event 0"]
    prefixed = logs.filter_log_events(logGroupName=group, logStreamNamePrefix="b/")
    assert texts(prefixed) == ["event 1", "event 3", "event 5"]
    backward = logs.filter_log_events(logGroupName=group, startFromHead=False, startTime=start, limit=2)
    assert texts(backward) == ["event 5", "event 4"]
    backward = logs.filter_log_events(logGroupName=group, nextToken=backward["nextToken"], limit=10)
    assert texts(backward) == [f"event {number}" for number in range(3, -1, -1)]
    failure = error_of(
        logs.filter_log_events, logGroupName=group, logStreamNames=["a/0"], logStreamNamePrefix="b/"
    )
    assert failure.code == "InvalidParameterException"


def test_filter_patterns_choose_events(logs, group):
    messages = [
        "[ERROR] disk is full",
        "[INFO] all is well",
        '{"level": "ERROR", "code": 500, "user": {"id": 7}}',
        '{"level": "INFO", "code": 200, "tags": ["a", "b"]}',
        '127.0.0.1 - [10/Oct/2026:13:55:36] "GET /index.html" 404 1534',
    ]
    put(logs, group, "one", *messages)

    def chosen(pattern):
        found = texts(logs.filter_log_events(logGroupName=group, filterPattern=pattern))
        return [messages.index(message) for message in found]

    assert chosen("") == [0, 1, 2, 3, 4]
    assert chosen("ERROR") == [0, 2]
    assert chosen("error") == []
    assert chosen("ERROR disk") == [0]
    assert chosen('"is full"') == [0]
    assert chosen("?full ?well") == [0, 1]
    assert chosen("ERROR -disk") == [2]
    assert chosen("%disk|well%") == [0, 1]
    assert chosen('{ $.level = "ERROR" }') == [2]
    assert chosen("{ $.code >= 200 && $.user.id NOT EXISTS }") == [3]
    assert chosen("{ ($.code = 500) || ($.tags[1] = b) }") == [2, 3]
    assert chosen("[address, dash, time, request = *index*, status = 4*, bytes > 1000]") == [4]
    assert chosen("[..., status = 404, bytes]") == [4]
    for broken in ["{ $.level = }", "[a, b", "a-b", '"open', "{ level = 1 }", "%(%"]:
        failure = error_of(logs.filter_log_events, logGroupName=group, filterPattern=broken)
        assert failure.code == "InvalidParameterException", broken
    failure = error_of(logs.filter_log_events, logGroupName=group, filterPattern="a-b")
    assert failure.message == "Invalid character(s) in term 'a-b'"


def test_batches_follow_the_rules_of_aws(logs, group):
    logs.create_log_stream(logGroupName=group, logStreamName="one")

    def send(*events):
        return logs.put_log_events(
            logGroupName=group,
            logStreamName="one",
            logEvents=[{"timestamp": timestamp, "message": message} for timestamp, message in events],
        )

    time = now()
    assert error_of(send, (time, "b"), (time - 1, "a")).message == (
        "Log events in a single PutLogEvents request must be in chronological order."
    )
    assert error_of(send, (time - DAY - 1, "a"), (time, "b")).message == (
        "The batch of log events in a single PutLogEvents request cannot span more than 24 hours."
    )
    assert error_of(send, (time, "x" * (1 << 20))).message == (
        "Upload too large: 1048602 bytes exceeds limit of 1048576"
    )
    assert send((time - 15 * DAY, "old"))["rejectedLogEventsInfo"] == {"tooOldLogEventEndIndex": 1}
    answer = send((time, "now"), (time + 3 * 3_600_000, "new"))
    assert answer["rejectedLogEventsInfo"] == {"tooNewLogEventStartIndex": 1}
    assert answer["nextSequenceToken"]
    assert texts(logs.filter_log_events(logGroupName=group)) == ["now"]


def test_retention_has_fixed_values_and_ends(logs, group):
    failure = error_of(logs.put_retention_policy, logGroupName=group, retentionInDays=2)
    assert failure.code == "InvalidParameterException"
    assert (
        "'retentionInDays' failed to satisfy constraint: Member must satisfy enum value set"
        in failure.message
    )
    put(logs, group, "one", "old", at=now() - 2 * DAY)
    put(logs, group, "one", "new")
    logs.put_retention_policy(logGroupName=group, retentionInDays=1)
    assert texts(logs.filter_log_events(logGroupName=group)) == ["new"]
    rejected = logs.put_log_events(
        logGroupName=group, logStreamName="one", logEvents=[{"timestamp": now() - 2 * DAY, "message": "old"}]
    )["rejectedLogEventsInfo"]
    assert rejected == {"expiredLogEventEndIndex": 1}
    logs.delete_retention_policy(logGroupName=group)
    (found,) = logs.describe_log_groups(logGroupNamePrefix=group)["logGroups"]
    assert "retentionInDays" not in found


def test_accounts_and_regions_do_not_see_one_another(endpoint, logs, group):
    for other in [
        client_of(endpoint, "logs", access_key="111122223333"),
        client_of(endpoint, "logs", region="eu-west-1"),
    ]:
        assert other.describe_log_groups(logGroupNamePrefix=group)["logGroups"] == []
        assert error_of(other.filter_log_events, logGroupName=group).code == "ResourceNotFoundException"


def test_writers_and_readers_at_once_lose_nothing(endpoint, logs, group):
    writers, each = 4, 25
    failures = []

    def write(number):
        try:
            own = client_of(endpoint, "logs")
            for event in range(each):
                put(own, group, f"writer {number}", f"{number}/{event}")
                seen = texts(own.get_log_events(logGroupName=group, logStreamName=f"writer {number}"))
                assert f"{number}/{event}" in seen
        except Exception as error:
            failures.append(error)

    threads = [threading.Thread(target=write, args=(number,)) for number in range(writers)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert failures == []
    pages = logs.get_paginator("filter_log_events").paginate(
        logGroupName=group, PaginationConfig={"PageSize": 7}
    )
    found = [text for page in pages for text in texts(page)]
    assert sorted(found) == sorted(f"{number}/{event}" for number in range(writers) for event in range(each))


def test_events_and_credentials_outlive_a_killed_service(tmp_path, data_home):
    def start():
        return Service("--data-dir", str(tmp_path / "data"), home=data_home, ephemeral=False).start()

    first = start()
    own = client_of(first.endpoint, "logs")
    own.create_log_group(logGroupName="kept")
    put(own, "kept", "one", "before the end")
    role = {"RoleArn": "arn:aws:iam::123456789012:role/worker", "RoleSessionName": "job"}
    credentials = client_of(first.endpoint, "sts").assume_role(**role)["Credentials"]
    first.kill()

    second = start()
    try:
        assert texts(client_of(second.endpoint, "logs").filter_log_events(logGroupName="kept")) == [
            "before the end"
        ]
        key, secret, token = (
            credentials[name] for name in ("AccessKeyId", "SecretAccessKey", "SessionToken")
        )
        identity = client_of(second.endpoint, "sts", key, token=token, secret=secret).get_caller_identity()
        assert identity["Arn"] == "arn:aws:sts::123456789012:assumed-role/worker/job"
    finally:
        second.stop()


# STS.


def test_a_plain_key_is_the_root_of_its_account(endpoint, sts):
    identity = sts.get_caller_identity()
    assert (identity["Account"], identity["UserId"], identity["Arn"]) == (
        "000000000000",
        "000000000000",
        "arn:aws:iam::000000000000:root",
    )
    other = client_of(endpoint, "sts", access_key="123456789012").get_caller_identity()
    assert (other["Account"], other["Arn"]) == ("123456789012", "arn:aws:iam::123456789012:root")


def test_an_assumed_role_is_known_by_its_credentials(endpoint, sts):
    role = "arn:aws:iam::123456789012:role/service-role/worker"
    answer = sts.assume_role(RoleArn=role, RoleSessionName="job", DurationSeconds=900)
    credentials = answer["Credentials"]
    assert re.fullmatch(r"ASIA[A-Z2-7]{16}", credentials["AccessKeyId"])
    assert 840 < (credentials["Expiration"].timestamp() - time.time()) < 960
    user = answer["AssumedRoleUser"]
    assert user["Arn"] == "arn:aws:sts::123456789012:assumed-role/worker/job"
    assert re.fullmatch(r"AROA[A-Z2-7]{17}:job", user["AssumedRoleId"])
    key, secret, token = (credentials[name] for name in ("AccessKeyId", "SecretAccessKey", "SessionToken"))

    identity = client_of(endpoint, "sts", key, token=token, secret=secret).get_caller_identity()
    assert (identity["Account"], identity["UserId"], identity["Arn"]) == (
        "123456789012",
        user["AssumedRoleId"],
        user["Arn"],
    )
    assert sts.get_access_key_info(AccessKeyId=key)["Account"] == "123456789012"
    again = sts.assume_role(RoleArn=role, RoleSessionName="job")
    assert again["Credentials"]["AccessKeyId"] != key
    assert again["AssumedRoleUser"]["AssumedRoleId"] == user["AssumedRoleId"]

    # Other services act in the role's account, too.
    name = unique("/companions/role")
    client_of(endpoint, "logs", key, token=token, secret=secret).create_log_group(logGroupName=name)
    theirs = client_of(endpoint, "logs", access_key="123456789012")
    assert len(theirs.describe_log_groups(logGroupNamePrefix=name)["logGroups"]) == 1
    theirs.delete_log_group(logGroupName=name)

    forged = client_of(endpoint, "sts", key, token=token[:-4] + "AAAA", secret=secret)
    assert error_of(forged.get_caller_identity).code == "InvalidClientTokenId"


def test_session_tokens_stay_in_the_account(endpoint):
    own = client_of(endpoint, "sts", access_key="123456789012")
    credentials = own.get_session_token()["Credentials"]
    session = client_of(
        endpoint,
        "sts",
        credentials["AccessKeyId"],
        token=credentials["SessionToken"],
        secret=credentials["SecretAccessKey"],
    )
    assert session.get_caller_identity()["Arn"] == "arn:aws:iam::123456789012:root"
    assert error_of(session.get_session_token).code == "AccessDenied"


def test_errors_of_sts(endpoint, sts):
    role = "arn:aws:iam::123456789012:role/worker"
    for parameters, message in [
        (
            {"RoleArn": role, "RoleSessionName": "with space"},
            r"Value 'with space' at 'roleSessionName' failed to satisfy constraint: "
            r"Member must satisfy regular expression pattern: [\w+=,.@-]*",
        ),
        (
            {"RoleArn": role, "RoleSessionName": "job", "DurationSeconds": 43201},
            "Value '43201' at 'durationSeconds' failed to satisfy constraint: "
            "Member must have value less than or equal to 43200",
        ),
    ]:
        failure = error_of(sts.assume_role, **parameters)
        assert tuple(failure) == ("ValidationError", 400, f"1 validation error detected: {message}")
    failure = error_of(
        sts.assume_role, RoleArn="arn:aws:iam::123456789012:user/somebody", RoleSessionName="job"
    )
    assert tuple(failure) == ("ValidationError", 400, "arn:aws:iam::123456789012:user/somebody is invalid")
    failure = error_of(sts.get_federation_token, Name="somebody")
    assert (failure.code, failure.status) == ("NotImplemented", 501)
    assert "GetFederationToken" in failure.message


# Other services.


@pytest.mark.parametrize(
    "name, operation, parameters",
    [
        ("sqs", "list_queues", {}),
        ("dynamodb", "list_tables", {}),
        ("s3", "list_objects_v2", {"Bucket": "some-bucket"}),
        ("sns", "list_topics", {}),
        ("ec2", "describe_instances", {}),
        ("route53", "list_hosted_zones", {}),
        ("apigateway", "get_rest_apis", {}),
        ("cloudwatch", "describe_alarms", {}),
    ],
)
def test_without_another_endpoint_each_protocol_reads_the_reason(endpoint, name, operation, parameters):
    failure = error_of(getattr(client_of(endpoint, name), operation), **parameters)
    assert (failure.code, failure.status) == ("NotImplemented", 501)
    assert "--aws-endpoint" in failure.message
