"""X-Ray: the trace that an invocation belongs to, and what functions tell about it."""

import importlib.util
import json
import re
import subprocess
import time
from pathlib import Path

import boto3
import pytest
from botocore import UNSIGNED
from botocore.config import Config
from support.functions import NODE, PYTHON, Functions, archive, boto3_files, error_of, folder, unique
from support.service import BINARY, clean_environment
from support.waiting import until

ROOT = "1-5bef4de7-ad49b0e87f6ef6c87fc2e700"
PARENT = "9a9197af755a6419"
HEADER = "x-amzn-trace-id"


def parts(header):
    return dict(part.split("=", 1) for part in header.split(";"))


def new_root():
    """A trace that no other test uses."""
    return f"1-5bef4de7-{unique('').strip('-'):0>24}"


def traced(functions, name, event, header=None):
    """Invokes with a trace header; answers the reply."""

    def add(request, **_):
        if header is not None:
            request.headers["X-Amzn-Trace-Id"] = header

    events = functions.client.meta.events
    events.register("before-send.lambda.Invoke", add)
    try:
        return functions.invoke(name, event)
    finally:
        events.unregister("before-send.lambda.Invoke", add)


def header_of(functions, name, header=None):
    """The header that the function saw, in parts, and the one that the caller got."""
    reply = traced(functions, name, {"do": "environment"}, header)
    return parts(reply.value()["_X_AMZN_TRACE_ID"]), parts(reply.headers[HEADER])


@pytest.fixture
def hothouse(service, data_home):
    """Runs `hothouse` against the service; answers stdout, or stdout and stderr of a failure."""
    environment = clean_environment(AWS_ENDPOINT_URL=service.endpoint, XDG_DATA_HOME=str(data_home))

    def run(*arguments, code=0):
        done = subprocess.run(
            [str(BINARY), *arguments], env=environment, capture_output=True, text=True, timeout=60
        )
        assert done.returncode == code, done.stderr
        return done.stdout if code == 0 else done.stdout + done.stderr

    return run


# The header.


def test_a_new_trace_begins_where_the_caller_has_none(functions):
    name = functions.create()
    seen, answered = header_of(functions, name)
    assert re.fullmatch(r"1-[0-9a-f]{8}-[0-9a-f]{24}", seen["Root"])
    assert abs(int(seen["Root"].split("-")[1], 16) - time.time()) < 60
    assert re.fullmatch(r"[0-9a-f]{16}", seen["Parent"])
    assert seen["Sampled"] == "0"
    assert answered == seen
    again, _ = header_of(functions, name)
    assert again["Root"] != seen["Root"]


@pytest.mark.parametrize("sampled", ["0", "1"])
def test_the_callers_trace_goes_on(functions, sampled):
    name = functions.create()
    seen, answered = header_of(functions, name, f"Root={ROOT};Parent={PARENT};Sampled={sampled}")
    assert (seen["Root"], seen["Parent"], seen["Sampled"]) == (ROOT, PARENT, sampled)
    assert answered == seen


def test_what_the_callers_header_lacks_is_filled_in(functions):
    name = functions.create()
    seen, answered = header_of(functions, name, f"Root={ROOT}")
    assert (seen["Root"], seen["Sampled"]) == (ROOT, "0")
    assert re.fullmatch(r"[0-9a-f]{16}", seen["Parent"])
    assert answered == seen


def test_the_lineage_names_the_function(functions):
    one, two = functions.create(), functions.create()
    seen, answered = header_of(functions, one)
    assert re.fullmatch(r"1:[0-9a-f]{8}:0", seen["Lineage"])
    assert answered == seen
    assert (
        header_of(functions, one)[0]["Lineage"] == seen["Lineage"] != header_of(functions, two)[0]["Lineage"]
    )


def test_active_tracing_samples(functions, hothouse):
    """One a second, and some of the others; a second may have gone to another function of the service."""
    name = functions.create(TracingConfig={"Mode": "Active"}, MemorySize=128)

    def sampled():
        seen, answered = header_of(functions, name)
        assert answered == seen
        return seen if seen["Sampled"] == "1" else None

    seen = until(sampled, seconds=20, what="a sampled invocation")
    # The function's own segment is there without any SDK.
    (segment,) = json.loads(hothouse("trace", seen["Root"], "--json"))
    assert (segment["id"], segment["name"], segment["origin"]) == (seen["Parent"], name, "AWS::Lambda")
    assert segment["http"]["response"]["status"] == 200


def test_a_traced_function_hangs_below_its_caller(functions, hothouse):
    name = functions.create(TracingConfig={"Mode": "Active"})
    trace = new_root()
    reply = traced(functions, name, {"do": "fail"}, f"Root={trace};Parent={PARENT};Sampled=1")
    assert reply.error == "Unhandled"
    (segment,) = json.loads(hothouse("trace", trace, "--json"))
    assert (segment["parent_id"], segment["fault"]) == (PARENT, True)
    assert segment["id"] == parts(reply.headers[HEADER])["Parent"] != PARENT


def test_every_runtime_sees_the_trace(functions):
    code = {"main.js": "exports.handler = async () => process.env._X_AMZN_TRACE_ID;"}
    name = functions.create(code, Runtime=NODE, Handler="main.handler")
    reply = traced(functions, name, {}, f"Root={ROOT};Parent={PARENT};Sampled=1")
    assert parts(reply.value())["Root"] == ROOT


# Segments.

DATAGRAMS = """
import json, os, socket, time

def handler(event, context):
    host, port = os.environ["AWS_XRAY_DAEMON_ADDRESS"].rsplit(":", 1)
    assert (host, port) == (os.environ["_AWS_XRAY_DAEMON_ADDRESS"], os.environ["_AWS_XRAY_DAEMON_PORT"])
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as daemon:
        for datagram in event["datagrams"]:
            daemon.sendto(datagram.encode(), (host, int(port)))
"""


def datagram(segment):
    return '{"format": "json", "version": 1}\n' + json.dumps(segment)


def sent(hothouse, trace, least=1):
    """The segments of a trace as they came, if there are so many."""
    listed = {one["id"]: one["segments"] for one in json.loads(hothouse("trace", "--json"))}
    return listed.get(trace, 0) >= least and json.loads(hothouse("trace", trace, "--json"))


def test_datagrams_become_a_trace_that_people_can_read(functions, hothouse):
    name = functions.create({"main.py": DATAGRAMS}, Runtime=PYTHON, Handler="main.handler")
    trace = new_root()
    outer = {"trace_id": trace, "id": "1" * 16, "name": "outer", "start_time": 10.0, "end_time": 11.5}
    outer["annotations"] = {"color": "red"}
    inner = {"trace_id": trace, "id": "2" * 16, "name": "inner", "parent_id": "1" * 16, "type": "subsegment"}
    inner |= {"start_time": 10.25, "end_time": 10.75, "error": True}
    functions.invoke(name, {"datagrams": [datagram(inner), "nonsense", datagram(outer)]}).value()

    # In the order of their starts, as they were sent; datagrams travel beside the answer.
    assert until(lambda: sent(hothouse, trace, 2), what="the segments") == [outer, inner]
    assert hothouse("trace", trace).splitlines() == [
        trace,
        "└─ outer  1.50s",
        '   │ color = "red"',
        "   └─ inner  500.0ms  error",
    ]
    assert hothouse("trace", f"Root={trace};Parent={PARENT};Sampled=1") == hothouse("trace", trace)
    (line,) = [line for line in hothouse("trace").splitlines() if trace in line]
    assert line.split()[-3:] == ["2", "error", "outer"]
    assert trace in [one["id"] for one in json.loads(hothouse("trace", "--json"))]


def test_a_trace_that_is_not_there_gives_a_hint(hothouse):
    said = hothouse("trace", new_root(), code=1)
    assert "there is no trace" in said and "hint:" in said
    assert "there is no trace" in hothouse("trace", "not an id", code=1)


def test_segments_are_seen_by_the_account_of_their_function(service):
    if "isolation: full" not in service.log.lower():
        pytest.skip(
            "the service reports less than full isolation on this machine: nobody knows who sent a segment"
        )
    account = "123456789012"
    functions = Functions(service.client(access_key=account))
    name = functions.create({"main.py": DATAGRAMS}, Runtime=PYTHON, Handler="main.handler")
    trace = new_root()
    segment = {
        "trace_id": trace,
        "id": "1" * 16,
        "name": "of an account",
        "start_time": 10.0,
        "end_time": 11.0,
    }
    functions.invoke(name, {"datagrams": [datagram(segment)]}).value()

    def found(**whose):
        return service.client("xray", **whose).batch_get_traces(TraceIds=[trace])["Traces"]

    assert len(until(lambda: found(access_key=account), what="the segment")) == 1
    assert found() == found(access_key=account, region="eu-west-1") == []
    functions.clean()


def test_segments_arrive_over_the_hosts_network(start_service):
    service = start_service("--network=host")
    functions = Functions(service.client())
    name = functions.create({"main.py": DATAGRAMS}, Runtime=PYTHON, Handler="main.handler")
    trace = new_root()
    segment = {
        "trace_id": trace,
        "id": "1" * 16,
        "name": "over the host",
        "start_time": 10.0,
        "end_time": 11.0,
    }
    functions.invoke(name, {"datagrams": [datagram(segment)]}).value()

    def found():
        return service.client("xray").batch_get_traces(TraceIds=[trace])["Traces"]

    assert len(until(found, what="the segment")) == 1


def test_sampling_rules_are_answered_at_the_daemons_address(start_service):
    service = start_service("--network=host")
    functions = Functions(service.client())
    address = functions.invoke(functions.create(), {"do": "environment"}).value()["AWS_XRAY_DAEMON_ADDRESS"]
    daemon = boto3.client(
        "xray",
        endpoint_url=f"http://{address}",
        region_name="us-east-1",
        config=Config(signature_version=UNSIGNED, retries={"max_attempts": 0, "mode": "standard"}),
    )
    assert daemon.get_sampling_rules()["SamplingRuleRecords"] == []
    statistics = {"RuleName": "x", "ClientID": "0" * 24, "RequestCount": 1, "SampledCount": 1, "Timestamp": 1}
    targets = daemon.get_sampling_targets(SamplingStatisticsDocuments=[statistics])
    assert targets["SamplingTargetDocuments"] == targets["UnprocessedStatistics"] == []
    # Nothing else: whoever finds the port could ask.
    assert error_of(daemon.batch_get_traces, TraceIds=[ROOT]).status == 404


SDK = """
import os, urllib.request
from aws_xray_sdk.core import patch, xray_recorder

patch(["botocore"])
import boto3

@xray_recorder.capture("work")
def work(event):
    xray_recorder.current_subsegment().put_annotation("color", event["color"])
    xray_recorder.current_subsegment().put_metadata("seen", [1, 2], "mine")
    boto3.client("sts").get_caller_identity()
    with xray_recorder.in_subsegment("fails"):
        raise KeyError("nothing")

def handler(event, context):
    try:
        work(event)
    except KeyError:
        return os.environ["_X_AMZN_TRACE_ID"]
"""


@pytest.fixture(scope="module")
def sdk_function(shared_functions):
    files = {**boto3_files(), "main.py": SDK}
    for module in ("aws_xray_sdk", "wrapt"):
        origin = Path(importlib.util.find_spec(module).origin).parent
        # Without wrapt's native part, which is for this interpreter alone.
        found = {name: content for name, content in folder(origin).items() if not name.endswith(".so")}
        files.update({f"{module}/{name}": content for name, content in found.items()})
    return shared_functions.create(archive(files), Runtime=PYTHON, Handler="main.handler", Timeout=60)


def test_the_sdk_for_python_sends_its_subsegments(functions, sdk_function, hothouse):
    trace = new_root()
    traced(functions, sdk_function, {"color": "red"}, f"Root={trace};Parent={PARENT};Sampled=1").value()
    documents = until(lambda: sent(hothouse, trace), what="the segments")
    whole = {one["name"]: one for one in documents}

    def below(segment):
        for inner in segment.get("subsegments", []):
            whole[inner["name"]] = inner
            below(inner)

    for one in documents:
        below(one)
    work = whole["work"]
    assert (work["trace_id"], work["parent_id"], work["type"]) == (trace, PARENT, "subsegment")
    assert work["annotations"] == {"color": "red"}
    assert work["fault"] is True
    assert whole["sts"]["aws"]["operation"] == "GetCallerIdentity"
    assert whole["fails"]["cause"]["exceptions"][0]["type"] == "KeyError"
    tree = hothouse("trace", trace)
    assert "work" in tree and "! KeyError" in tree and 'color = "red"' in tree


def test_what_is_not_sampled_is_not_sent(functions, sdk_function, hothouse):
    trace = new_root()
    traced(functions, sdk_function, {"color": "red"}, f"Root={trace};Parent={PARENT};Sampled=0").value()
    assert "there is no trace" in hothouse("trace", trace, code=1)


# The API.


def test_boto3_puts_and_gets_traces(service):
    xray = service.client("xray")
    trace = new_root()
    now = time.time()
    segment = {"trace_id": trace, "id": "3" * 16, "name": "front", "start_time": now, "end_time": now + 1}
    segment["annotations"] = {"count": 3}
    answer = xray.put_trace_segments(TraceSegmentDocuments=[json.dumps(segment), "nonsense"])
    (unprocessed,) = answer["UnprocessedTraceSegments"]
    assert unprocessed["ErrorCode"] == "ParseError"

    answer = xray.batch_get_traces(TraceIds=[trace])
    ((found,), _) = (answer["Traces"], answer["UnprocessedTraceIds"])
    assert (found["Id"], found["Duration"]) == (trace, pytest.approx(1))
    assert json.loads(found["Segments"][0]["Document"]) == segment
    assert (
        service.client("xray", access_key="123456789012").batch_get_traces(TraceIds=[trace])["Traces"] == []
    )

    pages = xray.get_paginator("get_trace_summaries").paginate(StartTime=now - 60, EndTime=now + 60)
    (summary,) = [one for page in pages for one in page["TraceSummaries"] if one["Id"] == trace]
    assert summary["Annotations"]["count"][0]["AnnotationValue"] == {"NumberValue": 3.0}
    assert xray.get_sampling_rules()["SamplingRuleRecords"] == []
    failure = error_of(
        xray.get_trace_summaries, StartTime=now - 60, EndTime=now, FilterExpression="service(id())"
    )
    assert (failure.code, failure.status) == ("InvalidRequestException", 400)
    failure = error_of(xray.get_groups)
    assert (failure.code, failure.status) == ("NotImplemented", 501)
