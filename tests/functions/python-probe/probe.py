"""Does what its event says, so that one function serves many tests."""

import json
import os
import signal
import sys
import time

COUNTER = {"calls": 0}


def handler(event, context):
    COUNTER["calls"] += 1
    action = event.get("do", "echo") if isinstance(event, dict) else "echo"
    return ACTIONS[action](event, context)


def echo(event, context):
    return event


def identify(event, context):
    """Who am I: the environment (by its log stream), the process, and how often it was called."""
    return {"environment": context.log_stream_name, "pid": os.getpid(), "calls": COUNTER["calls"]}


def describe_context(event, context):
    client_context = context.client_context
    return {
        "aws_request_id": context.aws_request_id,
        "function_name": context.function_name,
        "function_version": context.function_version,
        "invoked_function_arn": context.invoked_function_arn,
        "memory_limit_in_mb": context.memory_limit_in_mb,
        "log_group_name": context.log_group_name,
        "log_stream_name": context.log_stream_name,
        "remaining": context.get_remaining_time_in_millis(),
        "custom": client_context.custom if client_context else None,
        "env": client_context.env if client_context else None,
        "app_title": client_context.client.app_title if client_context and client_context.client else None,
    }


def environment(event, context):
    return dict(os.environ)


def sleep(event, context):
    """Occupies its environment; tells which one, so that callers can count them."""
    time.sleep(event["seconds"])
    return identify(event, context)


def fail(event, context):
    raise ValueError(event.get("message", "on purpose"))


def leave(event, context):
    """Ends the process behind the runtime's back."""
    os._exit(event["code"])


def kill(event, context):
    os.kill(os.getpid(), signal.Signals[event["signal"]])
    time.sleep(60)


def large(event, context):
    """A response whose JSON has exactly this many bytes."""
    return "x" * (event["bytes"] - 2)


def say(event, context):
    for line in event["lines"]:
        print(line)
    for line in event.get("errors", []):
        print(line, file=sys.stderr)
    return len(event["lines"])


def write(event, context):
    with open(event["path"], "w") as file:
        file.write(event["text"])
    return True


def read(event, context):
    with open(event["path"]) as file:
        return file.read()


def look(event, context):
    """What the function sees of its surroundings."""

    def writable(path):
        try:
            with open(os.path.join(path, "probe"), "w"):
                return True
        except OSError:
            return False

    return {
        "cwd": os.getcwd(),
        "task": sorted(os.listdir("/var/task")),
        "writable": {path: writable(path) for path in ["/tmp", "/var/task", "/", "/usr", "/opt"]},
        "processes": len([name for name in os.listdir("/proc") if name.isdigit()]),
        "uid": os.getuid(),
        "machine": os.uname().machine,
    }


def aws(event, context):
    """Calls another AWS service with what the environment gives: endpoint, region, credentials."""
    import boto3

    client = boto3.client(event["service"])
    answer = getattr(client, event["operation"])(**event.get("parameters", {}))
    answer.pop("ResponseMetadata", None)
    return json.loads(json.dumps(answer, default=str))


ACTIONS = {
    "echo": echo,
    "identify": identify,
    "context": describe_context,
    "environment": environment,
    "sleep": sleep,
    "fail": fail,
    "leave": leave,
    "kill": kill,
    "large": large,
    "say": say,
    "write": write,
    "read": read,
    "look": look,
    "aws": aws,
}
