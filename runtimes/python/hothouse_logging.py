"""The root logger's handler and the two formats of log records.

Imported when a function first imports `logging`, not before: it needs `logging` itself.
"""

import json
import logging
import time
import traceback

from hothouse_process import JSON_FRAMES, LOG, TEXT_FRAMES, Current, get_variable

# Attributes of a record that are not the function's own `extra`.
RESERVED_ATTRIBUTES = frozenset(
    "name msg args levelname levelno pathname filename module exc_info exc_text stack_info lineno funcName created "
    "msecs relativeCreated thread threadName processName process aws_request_id tenant_id _frame_type".split()
)


def set_up():
    """Puts AWS's handler on the root logger."""
    logging.Formatter.converter = time.gmtime
    level = get_variable("AWS_LAMBDA_LOG_LEVEL")
    level = "" if level is None else level
    level = "DEBUG" if level == "TRACE" else level.upper()
    handler = LambdaLoggerHandler(LOG, with_level=LOG.json or bool(level))
    if LOG.json:
        handler.setFormatter(JsonFormatter(datefmt="%Y-%m-%dT%H:%M:%SZ"))
    else:
        handler.setFormatter(
            logging.Formatter(
                "[%(levelname)s]\t%(asctime)s.%(msecs)03dZ\t%(aws_request_id)s\t%(message)s\n", "%Y-%m-%dT%H:%M:%S"
            )
        )
    handler.addFilter(LambdaLoggerFilter())
    root = logging.getLogger()
    if level in logging._nameToLevel:
        root.setLevel(level)
    root.addHandler(handler)


class LambdaLoggerHandler(logging.Handler):
    """Writes records to the function's log. Libraries look for its attribute `log_sink`."""

    def __init__(self, log_sink, with_level):
        super().__init__()
        self.log_sink = log_sink
        self.with_level = with_level

    def emit(self, record):
        """Writes one record."""
        message = self.format(record)
        if not self.with_level:
            self.log_sink.log(message)
            return
        frame = getattr(record, "_frame_type", None)
        # A level above CRITICAL or between two is framed as the next one below.
        self.log_sink.log(message, frame or TEXT_FRAMES[ten(record.levelno)])


class LambdaLoggerFilter(logging.Filter):
    """Gives records the attributes that AWS's formats use."""

    def filter(self, record):
        """Lets every record pass."""
        record.aws_request_id = Current.request_id or ""
        record.tenant_id = Current.tenant_id
        return True


class JsonFormatter(logging.Formatter):
    """One JSON object per record, as `LoggingConfig.LogFormat=JSON` asks for."""

    def format(self, record):
        """The record as a line."""
        record.levelno = ten(record.levelno)
        record.levelname = logging.getLevelName(record.levelno)
        record._frame_type = JSON_FRAMES[record.levelno]
        is_object = isinstance(record.msg, dict) and not record.args
        fields = {
            "timestamp": self.formatTime(record, self.datefmt),
            "level": record.levelname,
            "message": record.msg if is_object else record.getMessage(),
            "logger": record.name,
        }
        if record.exc_info:
            error_type, error, trace = record.exc_info
            fields["stackTrace"] = traceback.format_tb(trace)
            fields["errorType"] = error_type.__name__ if error_type else None
            fields["errorMessage"] = str(error)
        fields["requestId"] = getattr(record, "aws_request_id", None)
        if record.exc_info:
            fields["location"] = f"{record.pathname}:{record.funcName}:{record.lineno}"
        fields["tenantId"] = getattr(record, "tenant_id", None)
        extra = {
            name: value
            for name, value in record.__dict__.items()
            if name not in RESERVED_ATTRIBUTES and fields.get(name) is None and name not in fields
        }
        fields.update(extra)
        fields = {name: value for name, value in fields.items() if value is not None}
        # Whatever has no JSON form becomes text: a record must not be lost for an odd `extra`.
        return json.dumps(fields, ensure_ascii=False, default=str) + "\n"


def ten(level):
    """The level as one of 0, 10, … 50."""
    return min(50, max(0, level)) // 10 * 10
