"""Records of asynchronous invocations at another endpoint, which is moto: destinations and dead-letter queues."""

import json

import boto3
import pytest
from support.functions import PYTHON, Functions, archive
from support.service import ACCOUNT, REGION, Service
from support.waiting import until

FAILING = """
def handler(event, context):
    if event.get("fail"):
        raise ValueError("no " + "x" * 2000)
    return {"got": event}
"""


def outside(moto, service):
    keys = {"aws_access_key_id": "test", "aws_secret_access_key": "test"}
    return boto3.client(service, endpoint_url=moto, region_name=REGION, **keys)


@pytest.fixture(scope="module")
def destined(data_home, moto):
    """A service with its companion that does not wait before it tries again."""
    service = Service("--aws-endpoint", moto, "--retry-base-delay", "10ms", home=data_home).start()
    yield service
    service.stop()


@pytest.fixture
def function(destined):
    functions = Functions(destined.client())
    yield functions.create(archive({"main.py": FAILING}), Runtime=PYTHON, Handler="main.handler")
    functions.clean()


@pytest.fixture
def queue(moto):
    """The ARN of a queue, and how to take one message from it."""
    sqs = outside(moto, "sqs")
    url = sqs.create_queue(QueueName="told")["QueueUrl"]
    arn = sqs.get_queue_attributes(QueueUrl=url, AttributeNames=["QueueArn"])["Attributes"]["QueueArn"]

    def take():
        names = {"MessageAttributeNames": ["All"], "MessageSystemAttributeNames": ["All"]}
        messages = until(lambda: sqs.receive_message(QueueUrl=url, **names).get("Messages"), what="a message")
        return messages[0]

    yield arn, take
    sqs.delete_queue(QueueUrl=url)


def send(service, name, **event):
    answer = service.client().invoke(
        FunctionName=name, InvocationType="Event", Payload=json.dumps(event).encode()
    )
    return answer["ResponseMetadata"]["RequestId"]


def tell(service, name, success=None, failure=None):
    config = {"OnSuccess": success, "OnFailure": failure}
    config = {kind: {"Destination": arn} for kind, arn in config.items() if arn}
    service.client().put_function_event_invoke_config(FunctionName=name, DestinationConfig=config)


def test_success_reaches_a_queue(destined, function, queue):
    arn, take = queue
    tell(destined, function, success=arn)
    sent = send(destined, function, a=1)
    message = take()
    record = json.loads(message["Body"])
    assert record["requestContext"] == {
        "requestId": sent,
        "functionArn": f"arn:aws:lambda:{REGION}:{ACCOUNT}:function:{function}:$LATEST",
        "condition": "Success",
        "approximateInvokeCount": 1,
    }
    assert record["responseContext"] == {"statusCode": 200, "executedVersion": "$LATEST"}
    assert (record["requestPayload"], record["responsePayload"]) == ({"a": 1}, {"got": {"a": 1}})
    assert "Root=1-" in message["Attributes"]["AWSTraceHeader"]


def test_failure_reaches_a_bucket(destined, function, moto):
    s3 = outside(moto, "s3")
    s3.create_bucket(Bucket="told")
    tell(destined, function, failure="arn:aws:s3:::told")
    sent = send(destined, function, fail=True)
    objects = until(lambda: s3.list_objects_v2(Bucket="told").get("Contents"), what="an object")
    assert objects[0]["Key"].startswith(f"aws/lambda/async/{function}/")
    record = json.loads(s3.get_object(Bucket="told", Key=objects[0]["Key"])["Body"].read())
    context = record["requestContext"]
    assert (context["requestId"], context["condition"]) == (sent, "RetriesExhausted")
    assert (context["approximateInvokeCount"], record["responsePayload"]["errorType"]) == (3, "ValueError")


def test_failure_reaches_a_topic(destined, function, queue, moto):
    arn, take = queue
    sns = outside(moto, "sns")
    topic = sns.create_topic(Name="told")["TopicArn"]
    sns.subscribe(TopicArn=topic, Protocol="sqs", Endpoint=arn, Attributes={"RawMessageDelivery": "true"})
    tell(destined, function, failure=topic)
    sent = send(destined, function, fail=True)
    assert json.loads(take()["Body"])["requestContext"]["requestId"] == sent


def test_a_dead_letter_is_the_event_as_it_came(destined, function, queue):
    arn, take = queue
    client = destined.client()
    client.update_function_configuration(FunctionName=function, DeadLetterConfig={"TargetArn": arn})
    client.get_waiter("function_updated_v2").wait(FunctionName=function)
    sent = send(destined, function, fail=True)
    message = take()
    assert json.loads(message["Body"]) == {"fail": True}
    attributes = {name: attribute["StringValue"] for name, attribute in message["MessageAttributes"].items()}
    assert attributes == {"RequestID": sent, "ErrorCode": "200", "ErrorMessage": "no " + "x" * 1021}


def test_a_queue_that_is_not_there_is_told_in_the_log(destined, function):
    missing = f"arn:aws:sqs:{REGION}:{ACCOUNT}:missing"
    tell(destined, function, success=missing)
    sent = send(destined, function)
    until(lambda: any(sent in line and missing in line for line in destined.lines), what="a warning")
