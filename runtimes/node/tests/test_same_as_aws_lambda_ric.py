"""The same handlers under AWS's clients and ours: what the platform sees must be equal.

AWS's clients are JavaScript around a native module, which takes long to build; a stand-in for that module, which posts
with curl, is enough to compare behaviour.
"""

import base64
import contextlib
import json
import os
import re
import shutil
import subprocess

import pytest

from conftest import CLIENT, interpreters
from fake_runtime_api import Event, run_client

# Version of AWS's client for a runtime, and the file that starts it.
CLASSIC, MODERN = ("3.3.0", "dist/index.mjs"), ("4.0.2", "index.mjs")

JSON_STRING = r'"(?:[^"\\]|\\.)*"'

STAND_IN = """
const { spawnSync } = require("node:child_process");
const http = require("node:http");
const api = process.env.AWS_LAMBDA_RUNTIME_API;
const curl = process.env.CURL;
delete process.env.CURL;
function post(id, outcome, body, headers) {
  const options = headers.flatMap(([name, value]) => ["-H", `${name}: ${value}`]);
  spawnSync(curl, ["-s", "--data-binary", "@-", ...options, `http://${api}/2018-06-01/runtime/invocation/${id}/${outcome}`], { input: body });
}
const JSON_TYPE = ["Content-Type", "application/json"];
const client = {
  next: () => new Promise((resolve, reject) => {
    http.get(`http://${api}/2018-06-01/runtime/invocation/next`, { agent: false }, (response) => {
      let bodyJson = "";
      response.setEncoding("utf8").on("data", (piece) => (bodyJson += piece));
      response.on("end", () => resolve({ bodyJson, headers: response.headers }));
    }).on("error", reject);
  }),
  done: (id, body) => post(id, "response", body, [JSON_TYPE]),
  error: (id, body, cause) => post(id, "error", body, [JSON_TYPE, ["Lambda-Runtime-Function-XRay-Error-Cause", cause]]),
};
require("node:module")._extensions[".node"] = (module) => { module.exports = client; };
"""

CLASSIC_CASES = {
    "ways": (
        """
const ways = {
  callback: (context, callback) => setTimeout(() => callback(null, { way: "callback" }), 1),
  done: (context) => context.done(null, "done"),
  twice: (context) => { context.succeed(1); context.succeed(2); },
  promise: async () => ({ ä: [1, undefined, null, NaN] }),
  nothing: () => "ignored",
  undefined: async () => undefined,
  cycle: async () => { const cycle = {}; cycle.cycle = cycle; return cycle; },
  late: (context, callback) => { callback(null, "late"); console.log("after callback"); },
};
exports.handler = (event, context, callback) => ways[event](context, callback);
""",
        ["callback", "done", "twice", "promise", "nothing", "undefined", "cycle", "late", "promise"],
    ),
    "callback errors": (
        """
exports.handler = (event, context, callback) => {
  if (event === 1) callback("text");
  if (event === 2) callback({ name: "N", message: "M", stack: "S" });
  if (event === 3) context.fail();
  if (event === 4) context.done({ odd: true });
  if (event === 5) callback(Object.assign(new RangeError("bad"), { code: 7 }));
};
""",
        [1, 2, 3, 4, 5],
    ),
    "uncaught": ("exports.handler = () => { setTimeout(() => { throw new RangeError('x'); }, 1); };", [1]),
    "rejection": ("exports.handler = (e, c) => { Promise.reject(new RangeError('x')); setTimeout(() => {}, 1000); };", [1]),
}

CASES = {
    "echo": ("exports.handler = async (event) => event;", [{"a": "ä\u2028😀"}, [1.5], None]),
    "errors": (
        """
class Odd extends Error { constructor() { super("odd\\nmessage"); this.name = "Odd"; this.extra = { a: 1 }; } }
exports.handler = async (event) => {
  if (event === 1) throw new Odd();
  if (event === 2) throw "text";
  if (event === 3) throw { plain: true };
  if (event === 4) throw new Error("\\x7f", { cause: new Error("cause") });
  null.x;
};
""",
        [1, 2, 3, 4, 5],
    ),
    "log": (
        """
console.log("loading");
exports.handler = async (event, context) => {
  console.log("a %s", { b: [1] }, "c\\nd");
  console.debug("debug"); console.trace("trace"); console.warn("warn"); console.fatal("fatal");
  console.error("with", new RangeError("bad").message, [1, { a: new Map([[1, 2]]) }]);
  console.log({ an: "object" });
  console.log();
  console.log(undefined, null);
  process.stdout.write("raw\\n");
};
""",
        [1],
    ),
    "context": (
        """
exports.handler = async (event, context) => {
  const { getRemainingTimeInMillis, ...rest } = context;
  return [rest, Object.keys(context), typeof getRemainingTimeInMillis()];
};
""",
        [
            Event(
                headers={
                    "Lambda-Runtime-Client-Context": '{"custom": {"a": 1}}',
                    "Lambda-Runtime-Cognito-Identity": '{"cognitoIdentityId": "i"}',
                    "Lambda-Runtime-Trace-Id": "Root=1",
                }
            ),
            Event(),
        ],
    ),
    "failing module": ("throw new RangeError('at start');", []),
    "missing module": ("require('gone');", []),
    "syntax error": ("const = 1;", []),
    "no handler": ("exports.other = 1;", []),
    "not a function": ("exports.handler = 1;", []),
    "callback form": ("exports.handler = (event, context, callback) => callback(null, event);", [1]),
    "exit": ("exports.handler = async () => process.exit(3);", [1]),
    "streams": (
        """
const ways = {
  write: async (stream) => { stream.setContentType("text/plain"); stream.write("a"); stream.write({ b: 1 }); stream.end(); },
  end: async (stream) => { stream.end("only"); },
  http: async (stream) => {
    stream = awslambda.HttpResponseStream.from(stream, { statusCode: 201 });
    stream.write("body");
    stream.end();
  },
  "http without body": async (stream) => { awslambda.HttpResponseStream.from(stream, { statusCode: 204 }).end(); },
  returns: async (stream) => { stream.end("x"); return "ignored"; },
  middle: async (stream) => { stream.write("begun"); throw new RangeError("middle"); },
  early: async () => { throw new RangeError("early"); },
  plain: (stream) => { stream.write("x"); },
};
exports.handler = awslambda.streamifyResponse((event, stream, context) => ways[event](stream));
""",
        ["write", "end", "http", "http without body", "returns", "middle", "early", "plain", "write"],
    ),
}


@pytest.fixture(scope="session")
def official():
    """Unpacks a version of AWS's client beside what cargo builds, once; returns its folder."""

    def unpack(version):
        folder = CLIENT.parents[1] / "target" / "official-clients" / f"node-{version}"
        if shutil.which("npm") is None or shutil.which("curl") is None:
            pytest.skip("npm and curl are needed")
        if not folder.is_dir():
            # Test processes that run side by side each unpack; the first to finish wins.
            own = folder.with_name(f"{folder.name}-{os.getpid()}")
            own.mkdir(parents=True)
            command = ["npm", "pack", "--silent", f"aws-lambda-ric@{version}"]
            done = subprocess.run(command, cwd=own, capture_output=True, text=True, timeout=120)
            if done.returncode != 0:
                pytest.skip(f"aws-lambda-ric {version} cannot be fetched here: {done.stderr.strip()[-200:]}")
            shutil.unpack_archive(own / done.stdout.strip().splitlines()[-1], own)
            with contextlib.suppress(OSError):
                (own / "package").rename(folder)
            shutil.rmtree(own, ignore_errors=True)
        return folder

    return unpack


def normalized(result):
    """What must be equal: answers with their headers, records without times and stacks, the exit code."""
    posts = []
    for post in result.posts:
        body = post.body
        if post.path.endswith("/error"):
            body = trimmed(post.document)
        trailers = dict(post.trailers)
        if "lambda-runtime-function-error-body" in trailers:
            trailers["lambda-runtime-function-error-body"] = trimmed(
                json.loads(base64.b64decode(trailers["lambda-runtime-function-error-body"]))
            )
        names = ("content-type", "lambda-runtime-function-error-type", "lambda-runtime-function-response-mode")
        posts.append((post.path, [post.headers.get(name) for name in names], body, trailers))
    records = []
    for record in result.records:
        if record.frame is None and result.exit_code == 1:
            # Node.js prints the client's own source lines before it ends.
            continue
        text = re.sub(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z", "TIME", record.text)
        text = re.sub(rf'"(stack|stackTrace)":\[({JSON_STRING})(?:,{JSON_STRING})*\]', r'"\1":[\2]', text)
        records.append((record.frame, re.sub(r"\\n- [^\"]*|Require stack:", "", text)))
    return posts, records, result.exit_code


def trimmed(document):
    """An error document without the frames below the function's own, and without the client's file names."""
    trace = [line for line in document.get("trace", []) if not line.startswith("    at ") or "/app-" in line]
    own = [re.sub(r"at [\w.]+ \(", "at (", line) for line in trace]
    message = re.sub(r"\nRequire stack:[^$]*", "", document["errorMessage"])
    own = [line for line in own if not line.startswith(("Require stack:", "- "))]
    return {**document, "errorMessage": message, **({"trace": own} if "trace" in document else {})}


@pytest.mark.parametrize("log_format", ["Text", "JSON"])
@pytest.mark.parametrize(
    ("generation", "case"),
    [*((20, case) for case in {**CASES, **CLASSIC_CASES}), *((24, case) for case in CASES)],
)
def test_same(official, tmp_path, generation, case, log_format):
    version, entry = CLASSIC if generation == 20 else MODERN
    folder = official(version)
    versions = {int(number): path for number, path in interpreters().items()}
    suitable = [path for number, path in versions.items() if (number >= 22) == (generation == 24)]
    if not suitable:
        pytest.skip(f"no Node.js suitable for AWS's client {version}")
    source, payloads = {**CASES, **CLASSIC_CASES}[case]
    task_root = tmp_path / "app-"
    task_root.mkdir()
    (task_root / "index.js").write_text(source)
    stand_in = tmp_path / "stand_in.cjs"
    stand_in.write_text(STAND_IN)
    (folder / entry).with_name("rapid-client.node").touch()
    start = folder / entry
    if generation == 20:
        start = tmp_path / "start.mjs"
        start.write_text(f"import {{ run }} from {json.dumps(str(folder / entry))}; await run(process.env.LAMBDA_TASK_ROOT, process.env._HANDLER);")
    events = [payload if isinstance(payload, Event) else Event(payload) for payload in payloads]
    variables = {"AWS_EXECUTION_ENV": f"AWS_Lambda_nodejs{generation}.x", "AWS_LAMBDA_LOG_FORMAT": log_format}

    def run(command, **more):
        return normalized(
            run_client(command, task_root, "index.handler", events, variables={**variables, **more}, transport="tcp")
        )

    theirs = run([suitable[0], "--require", str(stand_in), str(start)], CURL=shutil.which("curl"))
    ours = run([suitable[0], str(CLIENT / "index.mjs")])
    assert ours == theirs
