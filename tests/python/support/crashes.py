"""Functions that end in every way, the queues that hear of them, and the account of which event became what."""

import json
import threading
from collections import Counter, defaultdict

import boto3
from botocore.config import Config
from botocore.exceptions import BotoCoreError, ClientError

from .functions import NODE, PYTHON, Functions, archive
from .service import ACCOUNT, REGION

# Tells of each run before anything else, then ends as its event says.
PYTHON_CODE = """
import json, os, time, urllib.request

def tell(event, context):
    run = {"number": event["number"], "id": context.aws_request_id}
    body = json.dumps({"QueueUrl": event["tell"], "MessageBody": json.dumps(run)}).encode()
    headers = {
        "Authorization": "AWS4-HMAC-SHA256 Credential=test/20260101/us-east-1/sqs/aws4_request, "
        "SignedHeaders=host, Signature=0",
        "Content-Type": "application/x-amz-json-1.0",
        "X-Amz-Target": "AmazonSQS.SendMessage",
    }
    request = urllib.request.Request(os.environ["AWS_ENDPOINT_URL"], body, headers)
    with urllib.request.urlopen(request, timeout=20) as response:
        response.read()

def handler(event, context):
    tell(event, context)
    if event["kind"] == "fails":
        raise ValueError(event["number"])
    if event["kind"] == "exits":
        os._exit(3)
    if event["kind"] == "hangs":
        time.sleep(60)
    return event["number"]
"""
NODE_CODE = """
exports.handler = async (event, context) => {
    const run = JSON.stringify({ number: event.number, id: context.awsRequestId });
    const answer = await fetch(process.env.AWS_ENDPOINT_URL, {
        method: "POST",
        headers: {
            Authorization: "AWS4-HMAC-SHA256 Credential=test/20260101/us-east-1/sqs/aws4_request, " +
                "SignedHeaders=host, Signature=0",
            "Content-Type": "application/x-amz-json-1.0",
            "X-Amz-Target": "AmazonSQS.SendMessage",
        },
        body: JSON.stringify({ QueueUrl: event.tell, MessageBody: run }),
    });
    await answer.text();
    if (!answer.ok) throw new Error(`told nobody: ${answer.status}`);
    return event.number;
};
"""
IN_PYTHON = {"code": {"main.py": PYTHON_CODE}, "Runtime": PYTHON, "Handler": "main.handler"}
IN_NODE = {"code": {"main.js": NODE_CODE}, "Runtime": NODE, "Handler": "main.handler"}


class Kind:
    """One way to end: a function of its own, so many events of a hundred, and retries after the first attempt."""

    def __init__(self, name, share, succeeds, retries=2, **parameters):
        self.name, self.share, self.succeeds, self.retries = name, share, succeeds, retries
        self.parameters = parameters


KINDS = {
    kind.name: kind
    for kind in (
        Kind("answers", 48, True, **IN_PYTHON),
        Kind("answers-in-node", 20, True, **IN_NODE),
        Kind("fails", 20, False, **IN_PYTHON),
        Kind("exits", 10, False, retries=1, **IN_PYTHON),
        # It must have told of its run before its time is over.
        Kind("hangs", 2, False, retries=1, Timeout=3, **IN_PYTHON),
    )
}
# Environments of each function at once: events wait for each other, and some are throttled.
AT_ONCE = 4


class Queues:
    """The queues at the companion, and what has arrived in them."""

    NAMES = ("runs", "successes", "failures", "letters")

    def __init__(self, url):
        self.client = boto3.client(
            "sqs",
            endpoint_url=url,
            region_name=REGION,
            aws_access_key_id=ACCOUNT,
            aws_secret_access_key="test",
            config=Config(retries={"max_attempts": 0, "mode": "standard"}),
        )
        self.urls = {name: self.client.create_queue(QueueName=name)["QueueUrl"] for name in self.NAMES}
        # Of each queue, the messages of each event.
        self.messages = {name: defaultdict(list) for name in self.NAMES}

    @staticmethod
    def arn(name):
        return f"arn:aws:sqs:{REGION}:{ACCOUNT}:{name}"

    def drain(self):
        """Takes what has arrived; returns the messages of all queues, by event."""
        for name, url in self.urls.items():
            while batch := self.client.receive_message(
                QueueUrl=url, MaxNumberOfMessages=10, MessageAttributeNames=["All"]
            ).get("Messages"):
                for message in batch:
                    body = json.loads(message["Body"])
                    event = body["requestPayload"] if name in ("successes", "failures") else body
                    self.messages[name][event["number"]].append((body, message.get("MessageAttributes", {})))
                entries = [
                    {"Id": str(index), "ReceiptHandle": message["ReceiptHandle"]}
                    for index, message in enumerate(batch)
                ]
                self.client.delete_message_batch(QueueUrl=url, Entries=entries)
        return self.messages

    def runs(self):
        """How often functions have told that they run."""
        return sum(map(len, self.drain()["runs"].values()))


class Account:
    """Every event that was sent: whether it was accepted, and what must have become of it."""

    def __init__(self):
        self.lock = threading.Lock()
        self.sent = {}
        # The request id of each event that was answered with 202.
        self.accepted = {}

    def event(self, chance, queues):
        kind = chance.choices(list(KINDS), [kind.share for kind in KINDS.values()])[0]
        with self.lock:
            number = len(self.sent)
            self.sent[number] = {"number": number, "kind": kind, "tell": queues.urls["runs"]}
            return self.sent[number]

    def accept(self, event, request_id):
        with self.lock:
            self.accepted[event["number"]] = request_id

    def kind(self, number):
        return KINDS[self.sent[number]["kind"]]

    def missing(self, queues):
        """Accepted events without all of their messages, by what is missing: kinds and request ids."""
        messages = queues.drain()
        missing = defaultdict(list)
        for number in self.accepted:
            wanted = ["runs", "successes"] if self.kind(number).succeeds else ["runs", "failures", "letters"]
            for name in wanted:
                if not messages[name][number]:
                    missing[name].append((self.kind(number).name, self.accepted[number]))
        return missing

    def check(self, queues):
        """Whatever arrived is of an event that was sent, and says what became of it."""
        for name, messages in queues.drain().items():
            for number, copies in messages.items():
                event = self.sent[number]
                kind = KINDS[event["kind"]]
                # Who was not answered may have been accepted, and its id is not known.
                id = self.accepted.get(number)
                for body, attributes in copies:
                    if name == "runs":
                        assert body["id"] == id or id is None, (event, id, body)
                    elif name == "letters":
                        assert not kind.succeeds and body == event, (event, body)
                        assert attributes["RequestID"]["StringValue"] == id or id is None, (event, attributes)
                    else:
                        self.check_record(kind, event, id, body)

    @staticmethod
    def check_record(kind, event, id, record):
        context = record["requestContext"]
        assert context["requestId"] == id or id is None, (event, id, record)
        assert record["requestPayload"] == event
        if kind.succeeds:
            assert context["condition"] == "Success", record
            assert record["responsePayload"] == event["number"], record
        else:
            assert context["condition"] == "RetriesExhausted", record
            assert context["approximateInvokeCount"] == kind.retries + 1, record

    def told(self, queues):
        """What happened, in numbers."""
        messages = queues.drain()
        copies = {
            name: sum(len(of[number]) for number in self.accepted if of[number])
            for name, of in messages.items()
        }
        kinds = Counter(self.sent[number]["kind"] for number in self.accepted)
        return (
            f"{len(self.accepted)} events accepted of {len(self.sent)} sent ({dict(kinds)}); "
            f"messages of those: {copies}"
        )


def make(client, queues):
    """Makes the functions; returns their names by kind."""
    functions = Functions(client)
    names = {}
    for kind in KINDS.values():
        parameters = dict(kind.parameters)
        code = archive(parameters.pop("code"))
        letters = {"DeadLetterConfig": {"TargetArn": queues.arn("letters")}}
        names[kind.name] = name = functions.create(code, **letters, **parameters)
        client.put_function_event_invoke_config(
            FunctionName=name,
            MaximumRetryAttempts=kind.retries,
            DestinationConfig={
                "OnSuccess": {"Destination": queues.arn("successes")},
                "OnFailure": {"Destination": queues.arn("failures")},
            },
        )
        client.put_function_concurrency(FunctionName=name, ReservedConcurrentExecutions=AT_ONCE)
    return names


class Sender(threading.Thread):
    """Sends events until it has sent enough or the service is gone."""

    def __init__(self, client, names, account, queues, chance, count):
        super().__init__(daemon=True)
        self.client, self.names, self.account, self.queues = client, names, account, queues
        self.chance, self.count = chance, count
        self.refused = None

    def run(self):
        try:
            for _ in range(self.count):
                event = self.account.event(self.chance, self.queues)
                answer = self.client.invoke(
                    FunctionName=self.names[event["kind"]],
                    InvocationType="Event",
                    Payload=json.dumps(event).encode(),
                )
                if answer["StatusCode"] == 202:
                    self.account.accept(event, answer["ResponseMetadata"]["RequestId"])
        except ClientError as error:
            self.refused = error
        except BotoCoreError:
            pass  # The service is gone, which is the point.
