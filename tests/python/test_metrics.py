"""CloudWatch's metrics and Prometheus' page: what functions did, and what callers put."""

import gzip
import time
import urllib.request
from datetime import datetime, timedelta, timezone

import boto3
import botocore.session
import pytest
from botocore.config import Config
from prometheus_client.parser import text_string_to_metric_families
from support.functions import error_of
from support.waiting import until

PROTOCOLS = ["smithy-rpc-v2-cbor", "json", "query"]


def connect(service, protocol=None, region="us-east-1", account="test"):
    """A client that speaks one of the protocols that the model lists."""
    session = botocore.session.Session()
    if protocol is not None:
        loader = session.get_component("data_loader")
        load = loader.load_service_model

        def only(name, kind, api_version=None):
            model = load(name, kind, api_version)
            if name == "cloudwatch" and kind == "service-2":
                model = {**model, "metadata": {**model["metadata"], "protocol": protocol, "protocols": [protocol]}}
            return model

        loader.load_service_model = only
    return boto3.Session(botocore_session=session).client(
        "cloudwatch",
        endpoint_url=service.endpoint,
        region_name=region,
        aws_access_key_id=account,
        aws_secret_access_key="test",
        config=Config(retries={"total_max_attempts": 1}),
    )


def span():
    now = datetime.now(timezone.utc)
    return {"StartTime": now - timedelta(minutes=10), "EndTime": now + timedelta(minutes=2)}


@pytest.fixture
def cloudwatch(service):
    return connect(service)


def total(cloudwatch, metric, statistic="Sum", **dimensions):
    """One number over the last minutes."""
    points = cloudwatch.get_metric_statistics(
        Namespace="AWS/Lambda",
        MetricName=metric,
        Dimensions=[{"Name": name, "Value": value} for name, value in dimensions.items()],
        Statistics=[statistic],
        Period=3600,
        **span(),
    )["Datapoints"]
    return sum(point[statistic] for point in points) if points else None


@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_what_is_put_is_got(service, protocol):
    client = connect(service, protocol)
    namespace = f"Own/{protocol}/{time.time_ns()}"
    dimensions = [{"Name": "Stage", "Value": "a <b> & c"}]
    client.put_metric_data(
        Namespace=namespace,
        MetricData=[
            {"MetricName": "Latency", "Dimensions": dimensions, "Unit": "Milliseconds", "Value": 1.5},
            {"MetricName": "Latency", "Dimensions": dimensions, "Unit": "Milliseconds",
             "Values": [2.0, 4.0], "Counts": [2.0, 1.0]},
            {"MetricName": "Set", "StatisticValues":
             {"SampleCount": 2.0, "Sum": 5.0, "Minimum": 2.0, "Maximum": 3.0}},
        ],
    )
    answer = client.get_metric_statistics(
        Namespace=namespace, MetricName="Latency", Dimensions=dimensions, Period=3600,
        Statistics=["SampleCount", "Average", "Sum", "Minimum", "Maximum"], ExtendedStatistics=["p50", "p99.9"],
        **span(),
    )
    assert answer["Label"] == "Latency"
    [point] = answer["Datapoints"]
    extended = point.pop("ExtendedStatistics")
    stamp = point.pop("Timestamp")
    assert isinstance(stamp, datetime) and stamp.second == 0
    assert point == {"SampleCount": 4.0, "Average": 2.375, "Sum": 9.5, "Minimum": 1.5, "Maximum": 4.0,
                     "Unit": "Milliseconds"}
    assert extended["p50"] == pytest.approx(2.0, rel=0.01) and extended["p99.9"] == 4.0
    listed = client.list_metrics(Namespace=namespace)["Metrics"]
    assert [(metric["MetricName"], metric["Dimensions"]) for metric in listed] == [
        ("Latency", dimensions), ("Set", []),
    ]
    stat = {"Metric": {"Namespace": namespace, "MetricName": "Set"}, "Period": 3600}
    data = client.get_metric_data(
        MetricDataQueries=[
            {"Id": "sum", "MetricStat": {**stat, "Stat": "Sum"}, "Label": "mine"},
            {"Id": "p50", "MetricStat": {**stat, "Stat": "p50"}},
            {"Id": "hidden", "MetricStat": {**stat, "Stat": "Sum"}, "ReturnData": False},
        ],
        **span(),
    )["MetricDataResults"]
    assert [(one["Id"], one["Label"], one["Values"], one["StatusCode"]) for one in data] == [
        ("sum", "mine", [5.0], "Complete"),
        ("p50", "Set", [], "Complete"),
    ]


@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_errors_are_of_the_model(service, protocol):
    client = connect(service, protocol)
    ask = {"Namespace": "X", "MetricName": "m", "Period": 60, "Statistics": ["Sum"], **span()}
    cases = [
        ({**ask, "Period": 61}, "InvalidParameterValue"),
        ({**ask, "StartTime": ask["EndTime"]}, "InvalidParameterValue"),
        ({**ask, "StartTime": ask["EndTime"] - timedelta(days=2)}, "InvalidParameterCombination"),
        ({name: value for name, value in ask.items() if name != "Statistics"}, "MissingParameter"),
    ]
    for parameters, code in cases:
        with pytest.raises(client.exceptions.ClientError) as caught:
            client.get_metric_statistics(**parameters)
        assert caught.value.response["Error"]["Code"].startswith(code), parameters
        assert caught.value.response["ResponseMetadata"]["HTTPStatusCode"] == 400
    for expression in ["m1 / 2", "SUM(METRICS())"]:
        with pytest.raises(client.exceptions.ClientError, match="does not compute with metrics"):
            client.get_metric_data(MetricDataQueries=[{"Id": "e", "Expression": expression}], **span())
    with pytest.raises(client.exceptions.ClientError, match="Namespace is invalid"):
        client.put_metric_data(Namespace="AWS/Lambda", MetricData=[{"MetricName": "m", "Value": 1.0}])
    with pytest.raises(client.exceptions.ClientError, match="Hothouse has GetMetricData"):
        client.describe_alarms()


def test_large_puts_come_compressed(service, cloudwatch):
    namespace = f"Large/{time.time_ns()}"
    data = [{"MetricName": f"metric-{number:04}", "Value": float(number)} for number in range(1000)]
    cloudwatch.put_metric_data(Namespace=namespace, MetricData=data)
    pages = list(cloudwatch.get_paginator("list_metrics").paginate(Namespace=namespace))
    assert [len(page["Metrics"]) for page in pages] == [500, 500]
    names = [metric["MetricName"] for page in pages for metric in page["Metrics"]]
    assert names == [datum["MetricName"] for datum in data]
    assert tuple(error_of(cloudwatch.list_metrics, NextToken="nonsense"))[1] == 400


def test_data_come_in_pages_and_in_order(cloudwatch):
    namespace = f"Pages/{time.time_ns()}"
    now = datetime.now(timezone.utc).replace(second=0, microsecond=0)
    for minute in range(5):
        cloudwatch.put_metric_data(
            Namespace=namespace,
            MetricData=[{"MetricName": "m", "Value": float(minute), "Timestamp": now - timedelta(minutes=minute)}],
        )
    query = {
        "MetricDataQueries": [{"Id": "m", "MetricStat": {
            "Metric": {"Namespace": namespace, "MetricName": "m"}, "Period": 60, "Stat": "Sum"}}],
        **span(),
    }
    descending = cloudwatch.get_metric_data(**query)["MetricDataResults"][0]
    assert descending["Values"] == [0.0, 1.0, 2.0, 3.0, 4.0]
    assert descending["Timestamps"] == [now - timedelta(minutes=minute) for minute in range(5)]
    pages = list(cloudwatch.get_paginator("get_metric_data").paginate(**query, MaxDatapoints=2,
                                                                      ScanBy="TimestampAscending"))
    assert [page["MetricDataResults"][0]["Values"] for page in pages] == [[4.0, 3.0], [2.0, 1.0], [0.0]]
    assert [page["MetricDataResults"][0]["StatusCode"] for page in pages] == ["PartialData"] * 2 + ["Complete"]


def test_accounts_and_regions_see_their_own(service):
    namespace = f"Mine/{time.time_ns()}"
    connect(service).put_metric_data(Namespace=namespace, MetricData=[{"MetricName": "m", "Value": 1.0}])
    assert connect(service).list_metrics(Namespace=namespace)["Metrics"]
    assert not connect(service, region="eu-west-1").list_metrics(Namespace=namespace)["Metrics"]
    assert not connect(service, account="999999999999").list_metrics(Namespace=namespace)["Metrics"]


def test_what_functions_did(client, functions, cloudwatch):
    name = functions.create()
    for _ in range(3):
        functions.invoke(name, {"do": "identify"})
    functions.invoke(name, {"do": "raise"})
    client.put_function_concurrency(FunctionName=name, ReservedConcurrentExecutions=0)
    assert tuple(error_of(client.invoke, FunctionName=name))[1] == 429
    until(lambda: total(cloudwatch, "Invocations", FunctionName=name) == 4.0, what="the reports of all")
    assert total(cloudwatch, "Errors", FunctionName=name) == 1.0
    assert total(cloudwatch, "Throttles", FunctionName=name) == 1.0
    assert total(cloudwatch, "Invocations", FunctionName=name, Resource=name) == 4.0
    assert total(cloudwatch, "Duration", "SampleCount", FunctionName=name) == 4.0
    assert 0 < total(cloudwatch, "Duration", "Maximum", FunctionName=name) < 20_000
    assert total(cloudwatch, "ConcurrentExecutions", "Maximum", FunctionName=name) == 1.0
    assert total(cloudwatch, "ConcurrentExecutions", "Maximum") >= 1.0
    assert total(cloudwatch, "ClaimedAccountConcurrency", "Maximum") >= 1.0
    listed = cloudwatch.list_metrics(Namespace="AWS/Lambda", Dimensions=[{"Name": "FunctionName", "Value": name}])
    assert {"Invocations", "Errors", "Throttles", "Duration"} <= {one["MetricName"] for one in listed["Metrics"]}


def test_events_are_counted(client, functions, cloudwatch):
    name = functions.create()
    client.invoke(FunctionName=name, InvocationType="Event", Payload=b"{}")
    until(lambda: total(cloudwatch, "Invocations", FunctionName=name) == 1.0, what="the event's run")
    assert total(cloudwatch, "AsyncEventsReceived", FunctionName=name) == 1.0
    assert total(cloudwatch, "AsyncEventAge", "SampleCount", FunctionName=name) == 1.0


def test_the_command_line(aws):
    namespace = f"Cli/{time.time_ns()}"
    put = ["put-metric-data", "--namespace", namespace, "--metric-name", "m", "--value", "3"]
    assert aws(*put, service="cloudwatch") == {}
    listed = aws("list-metrics", "--namespace", namespace, service="cloudwatch")
    assert listed["Metrics"] == [{"Namespace": namespace, "MetricName": "m", "Dimensions": []}]


def page(service):
    with urllib.request.urlopen(f"{service.endpoint}/_hothouse/metrics") as answer:
        assert answer.headers["Content-Type"].startswith("text/plain; version=0.0.4")
        return {family.name: family for family in text_string_to_metric_families(answer.read().decode())}


def test_prometheus_reads_the_page(service, functions):
    name = functions.create()
    functions.invoke(name, {"do": "identify"})

    def of_function(family, suffix=""):
        found = page(service).get(f"hothouse_{family}")
        samples = found.samples if found else []
        return [sample.value for sample in samples
                if sample.labels.get("function") == name and sample.name.endswith(suffix)]

    until(lambda: of_function("invocations") == [1.0], what="the invocation")
    assert of_function("invocation_errors") == [0.0]
    assert of_function("cold_starts") == [1.0]
    assert of_function("invocation_duration_seconds", "_count") == [1.0]
    buckets = of_function("invocation_duration_seconds", "_bucket")
    assert buckets == sorted(buckets) and buckets[-1] == 1.0
    families = page(service)
    assert families["hothouse_build_info"].samples[0].value == 1.0
    states = {sample.labels["state"] for sample in families["hothouse_environments"].samples}
    assert "ready" in states
    assert families["hothouse_store_commits"].samples[0].value > 0
    assert families["hothouse_log_events_dropped"].samples[0].value == 0


def test_hostile_requests_are_refused(service):
    def send(body, **headers):
        signed = {"Authorization": "AWS4-HMAC-SHA256 Credential=test/20260101/us-east-1/monitoring/aws4_request, "
                                   "SignedHeaders=host, Signature=0", **headers}
        request = urllib.request.Request(f"{service.endpoint}/", data=body, headers=signed)
        try:
            with urllib.request.urlopen(request) as answer:
                return answer.status
        except urllib.error.HTTPError as error:
            return error.code

    json_headers = {"X-Amz-Target": "GraniteServiceVersion20100801.PutMetricData"}
    assert send(b"[" * 100_000, **json_headers) == 400
    assert send(b'{"Namespace": 5}', **json_headers) == 400
    assert send(b'{"Namespace": "x", "MetricData": [{"MetricName": "m", "Value": 1e999}]}', **json_headers) == 400
    assert send(b"\x9b" + b"\xff" * 8, **{"smithy-protocol": "rpc-v2-cbor"}) == 400
    bomb = gzip.compress(b"\0" * (64 << 20))
    assert send(bomb, **json_headers, **{"Content-Encoding": "gzip"}) == 413
    assert send(b"Action=PutMetricData&MetricData.member.999999999.MetricName=x") == 400
    assert send(b"Action=NoSuchThing") == 501
