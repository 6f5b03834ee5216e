"""Reports of failures, to the Runtime API and to the function's log, in the form of AWS's client.

Imported at the first failure only, so it may import what it likes.
"""

import logging
import os
import sys
import time
import traceback

from hothouse_client import Fault
from hothouse_json import Encoder
from hothouse_process import LOG, get_variable

CLIENT_DIRECTORY = os.path.dirname(os.path.abspath(__file__))

# X-Ray takes no larger causes.
CAUSE_LIMIT = 64 * 1024

# Indentation of the trace in the log; ordinary spaces would be cut off by log viewers.
NO_BREAK_SPACE = "\u00a0"

# AWS prints this before the error itself, on one line.
UNHANDLED_WARNING = (
    "LAMBDA_WARNING: Unhandled exception. "
    "The most likely cause is an issue in the function code. "
    "However, in rare cases, a Lambda runtime update can cause unexpected function behavior. "
    "For functions using managed runtimes, runtime updates can be triggered by a function change, "
    "or can be applied automatically. "
    "To determine if the runtime has been updated, check the runtime version in the INIT_START log entry. "
    "If this error correlates with a change in the runtime version, you may be able to mitigate this error by "
    "temporarily rolling back to the previous runtime version. "
    "For more information, see https://docs.aws.amazon.com/lambda/latest/dg/runtimes-update.html\r"
)

# Modules that AWS's runtimes bring along, and ours only after `hothouse runtimes sync`.
SDK_MODULES = ("boto3", "botocore")


def report_init_error(api, encoder, error):
    """Logs why the function cannot be initialised, and tells the Runtime API."""
    if isinstance(error, Fault):
        report = make_report(error.message, error.error_type, error.trace)
    else:
        frames = import_frames(error.__traceback__)
        report = make_report(str(error), type(error).__name__, traceback.format_list(frames))
    logging.warning(UNHANDLED_WARNING)
    log_report(encoder, report)
    hint_at_sdk(error)
    api.post_error(b"init/error", encoder.encode(report).encode(), report["errorType"])


def report_hook_error(encoder, error):
    """Logs the failure of a hook of SnapStart; returns the body of the report."""
    frames = function_frames(error.__traceback__)
    report = make_report(str(error), type(error).__name__, traceback.format_list(frames))
    log_report(encoder, report)
    return encoder.encode(report).encode()


def report_invocation_error(encoder, error, request_id):
    """Logs the failure of an invocation; returns the body and the headers of the answer."""
    if isinstance(error, Fault):
        report = make_report(error.message, error.error_type, error.trace, request_id)
        cause = make_cause("LambdaValidationError", error.message, [])
    else:
        frames = function_frames(error.__traceback__)
        report = make_report(str(error), type(error).__name__, traceback.format_list(frames), request_id)
        cause = make_cause(type(error).__name__, str(error), frames)
    log_report(encoder, report)
    hint_at_sdk(error)
    headers = b"Content-Type: application/json\r\n"
    # A header is ASCII, whatever the function's documents are.
    cause = Encoder(ensure_ascii=True).encode(cause).encode()
    if len(cause) < CAUSE_LIMIT:
        headers += b"Lambda-Runtime-Function-XRay-Error-Cause: %s\r\n" % cause
    return encoder.encode(report), headers


def make_report(message, error_type, trace, request_id=""):
    return {
        "errorMessage": message or "",
        "errorType": error_type or "",
        "requestId": request_id,
        "stackTrace": trace or [],
    }


def make_cause(error_type, message, frames):
    stack = [{"label": name, "path": path, "line": line} for path, line, name, _ in frames]
    return {
        "working_directory": os.getcwd(),
        "exceptions": [{"message": message, "type": error_type, "stack": stack}],
        "paths": list({path for path, _, _, _ in frames}),
    }


# === Traces ===


def function_frames(trace):
    """The frames of a trace without ours at its beginning."""
    frames = [(frame.filename, frame.lineno, frame.name, frame.line) for frame in traceback.extract_tb(trace)]
    for index, frame in enumerate(frames):
        # AWS cuts by the name of its own file, so a function's `bootstrap.py` falls with it.
        if os.path.dirname(frame[0]) != CLIENT_DIRECTORY and "/bootstrap.py" not in frame[0]:
            return frames[index:]
    return frames


def import_frames(trace):
    """The frames below the import of the handler's module.

    AWS's client imports through `importlib.import_module`, ours goes directly to what that calls;
    the first line of the trace is the same for both.
    """
    frames = function_frames(trace)
    if frames and frames[0][2] == "_gcd_import":
        import importlib
        import inspect

        lines, start = inspect.getsourcelines(importlib.import_module)
        for index, line in enumerate(lines):
            if "_gcd_import(" in line:
                frames.insert(0, (importlib.__file__, start + index, "import_module", line.strip()))
    return frames


# === Log ===


def log_report(encoder, report):
    if LOG.json:
        now = time.strftime("%Y-%m-%dT%H:%M:%SZ", logging.Formatter.converter(time.time()))
        LOG.log_error([encoder.encode({"timestamp": now, "level": "ERROR", **report})])
        return
    error_type, message = report["errorType"], report["errorMessage"]
    title = "[ERROR]"
    if error_type:
        title += f" {error_type}" + (":" if message else "")
    if message:
        title += f" {message}"
    lines = [title, "Traceback (most recent call last):"]
    for element in report["stackTrace"]:
        lines.extend(indent(line) for line in element.splitlines() or [""])
    LOG.log_error(lines)


def indent(line):
    text = line.lstrip(" ")
    return NO_BREAK_SPACE * (len(line) - len(text)) + text


def hint_at_sdk(error):
    """Says in the log how to get the AWS SDK, if that is what the function misses."""
    missing = error.__cause__ if isinstance(error, Fault) else error
    name = (getattr(missing, "name", None) or "") if isinstance(missing, ModuleNotFoundError) else ""
    name = name.split(".")[0]
    if name in SDK_MODULES:
        runtime = (get_variable("AWS_EXECUTION_ENV") or "").replace("AWS_Lambda_", "")
        runtime = runtime or f"python{sys.version_info[0]}.{sys.version_info[1]}"
        LOG.log(f"hothouse: {name} is not installed for functions; run: hothouse runtimes sync {runtime}\n")
