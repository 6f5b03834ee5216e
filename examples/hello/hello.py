"""Greets whoever the event names, and logs what Lambda tells about the invocation."""

import json
import logging

logger = logging.getLogger()
logger.setLevel("INFO")


def handler(event, context):
    print("event:", json.dumps(event))
    logger.info("%s has %d ms left", context.function_name, context.get_remaining_time_in_millis())
    name = event.get("name", "World")
    if name == "trouble":
        raise ValueError("there is trouble")
    return {"message": f"Hello, {name}!", "requestId": context.aws_request_id}
