"""Our Node.js client against a scripted Runtime API, in every version of the machine."""

import base64
import json
import os
import re
import socket

import pytest

from conftest import CLIENT, interpreters
from fake_runtime_api import Event, Process, read_all

TEXT_INFO, TEXT_ERROR, JSON_INFO = 0xA55A000F, 0xA55A0017, 0xA55A000E
ISO_TIME = r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z"

ECHO = "exports.handler = async (event) => event;"
BOTH_GENERATIONS = pytest.mark.parametrize("generation", [20, 24])


def init_error(result, code):
    post, = result.requests
    assert post.path == "/2018-06-01/runtime/init/error"
    assert post.headers["lambda-runtime-function-error-type"] == post.document["errorType"]
    assert result.exit_code == code
    return post.document


def without_trace(answer):
    outcome, document = answer
    return outcome, {name: value for name, value in document.items() if name != "trace"}


# === Events and results ===


@BOTH_GENERATIONS
@pytest.mark.parametrize("transport", ["descriptor", "tcp"])
@pytest.mark.parametrize("server", [{}, {"chunked": True, "dribble": True}], ids=str)
def test_events_are_answered_in_order(run, generation, transport, server):
    payloads = [{"n": 1, "text": "ä\u2028😀"}, [1.5, None, True], "text"]
    result = run(ECHO, payloads, generation=generation, transport=transport, **server)
    assert result.answers == [("response", payload) for payload in payloads]
    assert [post.path for post in result.posts] == [
        f"/2018-06-01/runtime/invocation/request-{n}/response" for n in (1, 2, 3)
    ]
    assert {post.headers["content-type"] for post in result.posts} == {"application/json"}


def test_a_connection_that_ends_after_an_answer_is_made_again(run):
    result = run(ECHO, [1, 2, 3], transport="tcp", close_after_answer=True)
    assert result.answers == [("response", 1), ("response", 2), ("response", 3)]


@pytest.mark.parametrize("joined", [False, True])
@pytest.mark.parametrize("transport", ["descriptor", "tcp"])
def test_acknowledgements_may_differ_and_come_in_two_parts(run, transport, joined):
    kinds = [{"Date": "today"}, {"Date": "today"}, {"Date": "tomorrow, or later"}, {}, {"Date": "tömorrow"}]
    whole = [Event(n, acknowledgement=kinds[n % 5], joined=joined) for n in range(25)]
    # Long enough for every byte of an acknowledgement, and for some of the event that follows.
    parts = [Event(n, acknowledgement={"Date": "today"}, joined=joined, split=n) for n in range(1, 160)]
    answers = run(ECHO, [*whole, *parts], transport=transport).answers
    assert answers == [("response", n) for n in [*range(25), *range(1, 160)]]


def test_a_connection_that_takes_little_at_once_takes_all(run):
    payloads = ["ä" * length for length in (1, 100, 1500, 2500, 3500, 4000, 100_000, 1)]
    source = "exports.handler = async (event) => { await new Promise((done) => setTimeout(done, 2)); return event; };"
    assert run(source, payloads, narrow=True).answers == [("response", payload) for payload in payloads]


def test_six_megabytes_pass_in_both_directions(run):
    payload = "ä" * (3 * 1024 * 1024)
    result = run(ECHO, [Event(body=json.dumps(payload, ensure_ascii=False).encode()), 1])
    assert result.answers == [("response", payload), ("response", 1)]


def test_a_refused_response_does_not_end_the_loop(run):
    assert run(ECHO, [Event(1, answer_status=413), 2]).answers == [("response", 1), ("response", 2)]


@BOTH_GENERATIONS
def test_results_without_json_form_are_errors_and_nothing_is_null(run, generation):
    source = """
        const cycle = {};
        cycle.cycle = cycle;
        const values = [undefined, cycle, 1n, new Date(0)];
        exports.handler = async (event) => values[event];
    """
    name = "Error" if generation == 20 else "Runtime.JSONStringifyError"
    failure = {"errorType": name, "errorMessage": "Unable to stringify response body"}
    answers = [without_trace(answer) if answer[0] == "error" else answer for answer in run(source, range(4), generation=generation).answers]
    assert answers == [("response", None), ("error", failure), ("error", failure), ("response", "1970-01-01T00:00:00.000Z")]


# === Handlers ===


@pytest.mark.parametrize("name", ["index.mjs", "index.js"])
@BOTH_GENERATIONS
def test_es_modules_with_top_level_await(run, name, generation):
    source = """
        import { readFile } from "node:fs/promises";
        const own = await readFile(new URL(import.meta.url), "utf8");
        export const handler = async () => own.length > 0;
    """
    result = run(source, name=name, files={"package.json": '{"type": "module"}'}, generation=generation)
    assert result.answers == [("response", True)]


@pytest.mark.parametrize(
    ("name", "handler"),
    [
        ("index.cjs", "index.handler"),
        ("index", "index.handler"),
        ("dir/sub/file.js", "dir/sub/file.handler"),
        ("node_modules/package/index.js", "package.handler"),
        ("index.js", "index.nested.deep.handler"),
    ],
)
def test_handler_forms(run, name, handler):
    source = """
        exports.handler = async () => "found";
        exports.nested = { deep: exports };
    """
    assert run(source, name=name, handler=handler).answers == [("response", "found")]


def test_packages_of_layers_are_found_by_both_kinds_of_modules(run, tmp_path):
    modules = tmp_path / "opt/nodejs/node_modules"
    files = {
        "../opt/nodejs/node_modules/layer/package.json": '{"exports": {"import": "./esm.mjs", "require": "./cjs.cjs"}}',
        "../opt/nodejs/node_modules/layer/esm.mjs": 'export const kind = "esm";',
        "../opt/nodejs/node_modules/layer/cjs.cjs": 'exports.kind = "cjs";',
        "required.js": 'const { kind } = require("layer"); exports.handler = async () => kind;',
        "imported.mjs": 'import { kind } from "layer"; export const handler = async () => kind;',
    }
    for handler, kind in (("required.handler", "cjs"), ("imported.handler", "esm")):
        result = run(files=files, handler=handler, variables={"NODE_PATH": str(modules)})
        assert result.answers == [("response", kind)]


@pytest.mark.parametrize(
    ("handler", "source", "error_type", "message"),
    [
        ("index", "", "Runtime.MalformedHandlerName", "Bad handler"),
        (
            "../index.handler",
            "",
            "Runtime.MalformedHandlerName",
            "'../index.handler' is not a valid handler name. Use absolute paths when specifying root directories in handler names.",
        ),
        ("index.gone", "", "Runtime.HandlerNotFound", "index.gone is undefined or not exported"),
        ("index.text", "exports.text = 'x';", "Runtime.HandlerNotFound", "index.text is not a function"),
        ("none.handler", "", "Runtime.ImportModuleError", "Error: Cannot find module 'none'\n"),
        ("index.handler", "require('gone');", "Runtime.ImportModuleError", "Error: Cannot find module 'gone'\n"),
        ("index.handler", "const = 1;", "Runtime.UserCodeSyntaxError", "SyntaxError: Unexpected token '='"),
        ("index.handler", "throw new RangeError('early');", "RangeError", "early"),
    ],
)
@BOTH_GENERATIONS
def test_a_handler_that_is_not_there_is_an_init_error(run, handler, source, error_type, message, generation):
    result = run(source, handler=handler, generation=generation)
    document = init_error(result, 129 if generation == 20 else 1)
    assert document["errorType"] == error_type
    assert document["errorMessage"].startswith(message)
    record = result.records[0]
    title, placeholder = ("Uncaught Exception", "undefined") if generation == 20 else ("Init Error", "-")
    assert record.frame == TEXT_ERROR
    assert re.match(rf"{ISO_TIME}\t{placeholder}\tERROR\t{title} \t{{", record.text)


@pytest.mark.parametrize(("name", "source"), [("index.js", "require('@aws-sdk/client-s3');"), ("index.mjs", "import '@aws-sdk/client-s3';")])
def test_a_missing_sdk_comes_with_a_hint(run, name, source):
    result = run(source, name=name)
    assert result.records[-1].text == (
        "hothouse: @aws-sdk/client-s3 is not installed for functions; run: hothouse runtimes sync nodejs20.x\n"
    )
    assert result.exit_code == 129


# === Callbacks and idle loops (up to Node.js 22) ===


def test_ways_to_answer(run):
    source = """
        const ways = {
            callback: (context, callback) => setTimeout(() => callback(null, "callback"), 5),
            done: (context) => context.done(null, "done"),
            succeed: (context) => { context.succeed("succeed"); context.succeed("again"); },
            promise: () => Promise.resolve("promise"),
            thenable: () => ({ then: (resolve) => resolve("thenable") }),
            nothing: () => "ignored",
            forever: () => new Promise(() => {}),
        };
        exports.handler = (event, context, callback) => ways[event](context, callback);
    """
    ways = ["callback", "done", "succeed", "promise", "thenable", "nothing", "forever", "callback"]
    expected = [None if way in ("nothing", "forever") else way for way in ways]
    assert run(source, ways).answers == [("response", value) for value in expected]


def test_ways_to_fail(run):
    source = """
        const ways = {
            callback: (context, callback) => callback(new RangeError("callback")),
            text: (context, callback) => callback("text"),
            done: (context) => context.done(new RangeError("done")),
            fail: (context) => context.fail(),
            throw: () => { throw new RangeError("throw"); },
            reject: () => Promise.reject(new RangeError("reject")),
            object: async () => { throw { odd: true }; },
        };
        exports.handler = (event, context, callback) => ways[event](context, callback);
    """
    result = run(source, ["callback", "text", "done", "fail", "throw", "reject", "object"])
    expected = [
        ("RangeError", "callback"),
        ("string", "text"),
        ("RangeError", "done"),
        ("string", "handled"),
        ("RangeError", "throw"),
        ("RangeError", "reject"),
        ("object", "[object Object]"),
    ]
    documents = [document for outcome, document in result.answers if outcome == "error"]
    assert [(document["errorType"], document["errorMessage"]) for document in documents] == expected
    assert all(list(document) == ["errorType", "errorMessage", "trace"] for document in documents)
    trace = documents[4]["trace"]
    assert trace[0] == "RangeError: throw"
    assert re.fullmatch(r"    at Runtime\.handleOnceNonStreaming \(.*\)", trace[-1])
    assert re.match(rf"{ISO_TIME}\trequest-5\tERROR\tInvoke Error \t{{\"errorType\":\"RangeError\",", result.records[4].text)


def test_a_callback_waits_for_an_empty_event_loop_unless_told_otherwise(run):
    source = """
        exports.handler = (event, context, callback) => {
            context.callbackWaitsForEmptyEventLoop = event.waits;
            setTimeout(() => console.log("timer"), event.delay);
            callback(null, event.waits);
        };
    """
    result = run(source, [{"waits": True, "delay": 5}, {"waits": False, "delay": 60_000}])
    assert result.answers == [("response", True), ("response", False)]
    # The timer of the second one was still running when it was answered.
    assert [record.text.split("\t")[1] for record in result.records] == ["request-1"]


@BOTH_GENERATIONS
def test_work_goes_on_between_invocations(run, generation):
    source = """
        let late;
        exports.handler = async (event) => {
            if (event === 1) late = new Promise((resolve) => setTimeout(resolve, 5, "done"));
            return event === 1 ? "started" : late;
        };
    """
    assert run(source, [1, 2], generation=generation).answers == [("response", "started"), ("response", "done")]


# === The rules since Node.js 24 ===


def test_callback_handlers_are_refused(run):
    result = run("exports.handler = (event, context, callback) => callback();", generation=24)
    document = init_error(result, 1)
    assert document["errorType"] == "Runtime.CallbackHandlerDeprecated"
    assert document["errorMessage"].startswith(
        "ERROR: AWS Lambda has removed support for callback-based function handlers starting with Node.js 24."
    )


def test_plain_return_values_are_results(run):
    source = """
        exports.handler = (event, context) => [event, "done" in context, context.xRayTraceId, awslambda.InvokeStore.getRequestId()];
    """
    result = run(source, [Event(1, {"Lambda-Runtime-Trace-Id": "Root=1"})], generation=24)
    assert result.answers == [("response", [1, False, "Root=1", "request-1"])]


def test_a_promise_that_cannot_settle_ends_the_process(run):
    result = run("exports.handler = () => new Promise(() => {});", generation=24)
    assert (result.posts, result.exit_code) == ([], 0)


# === Context ===


@BOTH_GENERATIONS
def test_the_context_has_all_fields(run, generation):
    source = """
        exports.handler = async (event, context) => {
            const { getRemainingTimeInMillis, callbackWaitsForEmptyEventLoop, xRayTraceId, done, fail, succeed, ...rest } = context;
            const remaining = getRemainingTimeInMillis();
            return { ...rest, remaining: remaining > 2000 && remaining <= 3000, trace: process.env._X_AMZN_TRACE_ID };
        };
    """
    headers = {
        "Lambda-Runtime-Client-Context": '{"custom": {"k": "ä"}}',
        "Lambda-Runtime-Cognito-Identity": '{"cognitoIdentityId": "i", "cognitoIdentityPoolId": "p"}',
        "Lambda-Runtime-Aws-Tenant-Id": "tenant",
        "Lambda-Runtime-Trace-Id": "Root=1-2-3",
    }
    full, bare = run(source, [Event(headers=headers), None], generation=generation).answers
    always = {
        "functionVersion": "$LATEST",
        "functionName": "f",
        "memoryLimitInMB": "128",
        "logGroupName": "/aws/lambda/f",
        "logStreamName": "2026/01/01/[$LATEST]0123",
        "invokedFunctionArn": "arn:aws:lambda:eu-west-1:123456789012:function:f",
        "remaining": True,
    }
    assert full[1] == {
        **always,
        "clientContext": {"custom": {"k": "ä"}},
        "identity": {"cognitoIdentityId": "i", "cognitoIdentityPoolId": "p"},
        "awsRequestId": "request-1",
        "tenantId": "tenant",
        "trace": "Root=1-2-3",
    }
    assert bare[1] == {**always, "awsRequestId": "request-2"}


def test_the_attempt_is_echoed(run):
    headers = {"Lambda-Runtime-Invocation-Id": "attempt"}
    source = "exports.handler = async (event) => { if (event) throw new Error(); };"
    result = run(source, [Event(False, headers), Event(True, headers), False])
    assert [post.headers.get("lambda-runtime-invocation-id") for post in result.posts] == ["attempt", "attempt", None]


# === Uncaught errors and exits ===


@pytest.mark.parametrize(
    ("statement", "code", "error_type", "title"),
    [
        ("setTimeout(() => { throw new RangeError('late'); })", 129, "RangeError", "Uncaught Exception"),
        (
            "Promise.reject(new RangeError('late'))",
            128,
            "Runtime.UnhandledPromiseRejection",
            "Unhandled Promise Rejection",
        ),
    ],
)
@pytest.mark.parametrize("transport", ["descriptor", "tcp"])
def test_uncaught_errors_are_reported_before_the_process_ends(run, statement, code, error_type, title, transport):
    source = f"exports.handler = () => new Promise(() => {{ {statement}; setTimeout(() => {{}}, 60_000); }});"
    result = run(source, transport=transport)
    (outcome, document), = result.answers
    assert (outcome, document["errorType"], result.exit_code) == ("error", error_type, code)
    assert f"\tERROR\t{title} \t" in result.records[0].text


@pytest.mark.parametrize(
    ("statement", "code", "error_type"),
    [
        ("process.nextTick(() => { throw new RangeError('x'); })", 129, "RangeError"),
        ("Promise.reject(new RangeError('x'))", 128, "Runtime.UnhandledPromiseRejection"),
    ],
)
@pytest.mark.parametrize("transport", ["descriptor", "tcp"])
def test_uncaught_errors_while_loading_are_init_errors(run, statement, code, error_type, transport):
    source = f"{statement}; await new Promise((resolve) => setTimeout(resolve, 60_000)); export const handler = 1;"
    result = run(source, name="index.mjs", transport=transport)
    assert init_error(result, code)["errorType"] == error_type


@BOTH_GENERATIONS
def test_exits_end_the_process(run, generation):
    source = "exports.handler = async () => { console.log('before'); process.exit(7); };"
    result = run(source, generation=generation)
    assert (result.posts, result.exit_code) == ([], 7)
    assert result.records[0].text.endswith("\tbefore\n")


# === Log ===


def test_text_records(run):
    source = """
        console.log("loading");
        exports.handler = async () => {
            console.log("a %o", 1, { b: [1] }, "c\\nd");
            process.stdout.write("raw\\n");
            console.warn("warned");
            console.error(new Error("e").message);
            console.fatal("fatal");
            process.stderr.write("raw error\\n");
        };
    """
    records = run(source).records
    frames = [TEXT_INFO, TEXT_INFO, None, 0xA55A0013, TEXT_ERROR, 0xA55A001B, None]
    assert [record.frame for record in records] == frames
    assert re.fullmatch(rf"{ISO_TIME}\tundefined\tINFO\tloading\n", records[0].text)
    assert re.fullmatch(rf"{ISO_TIME}\trequest-1\tINFO\ta 1 {{ b: \[ 1 \] }} c\nd\n", records[1].text)
    assert [records[2].text, records[6].text] == ["raw", "raw error"]


def test_without_a_telemetry_descriptor_a_record_is_one_line(run):
    record, = run("exports.handler = async () => console.log('a\\nb');", framed=False).records
    assert re.fullmatch(rf"{ISO_TIME}\trequest-1\tINFO\ta\rb", record.text)


def test_json_records_and_levels(run):
    source = """
        exports.handler = async () => {
            console.debug("hidden");
            console.info({ an: "object" });
            console.info("failed", new RangeError("bad"));
            console.info(new RangeError("alone"));
        };
    """
    variables = {"AWS_LAMBDA_LOG_FORMAT": "JSON", "AWS_LAMBDA_LOG_LEVEL": "INFO"}
    event = Event(headers={"Lambda-Runtime-Aws-Tenant-Id": "t"})
    records = run(source, [event], variables=variables).records
    assert [record.frame for record in records] == [JSON_INFO] * 3
    plain, failed, alone = [json.loads(record.text) for record in records]
    assert re.fullmatch(ISO_TIME, plain.pop("timestamp"))
    assert plain == {"level": "INFO", "requestId": "request-1", "tenantId": "t", "message": {"an": "object"}}
    assert (failed["errorType"], failed["errorMessage"]) == ("RangeError", "bad")
    assert failed["message"].startswith("failed RangeError: bad\n") and failed["stackTrace"][0] == "RangeError: bad"
    assert (alone["message"]["errorType"], alone["message"]["errorMessage"]) == ("RangeError", "alone")


# === Surroundings ===


def test_private_variables_and_the_connection_are_hidden(run):
    source = """
        const { execFileSync } = require("node:child_process");
        exports.handler = async () => [
            Object.keys(process.env).filter((name) => /^_HOTHOUSE|^_LAMBDA_TELEMETRY/.test(name)),
            execFileSync("/bin/sh", ["-c", "readlink /proc/self/fd/3 || true"]).toString().includes("socket"),
        ];
    """
    assert run(source, [None, None]).answers == [("response", [[], False])] * 2


# === Response streaming ===

STREAMING = """
    const { pipeline } = require("node:stream/promises");
    const { Readable } = require("node:stream");
    const ways = {
        write: async (stream) => {
            stream.setContentType("text/plain");
            stream.write("a");
            await new Promise((resolve) => setTimeout(resolve, 1));
            stream.write({ b: 1 });
            stream.write(Buffer.from("ä"));
            stream.end("c");
        },
        http: async (stream) => {
            stream = awslambda.HttpResponseStream.from(stream, { statusCode: 201, headers: { a: "b" } });
            stream.write("body");
            stream.end();
        },
        pipe: (stream) => pipeline(Readable.from(["x".repeat(100_000), "y"]), stream),
        empty: async (stream) => { stream.end(); },
        middle: async (stream) => { stream.write("begun"); throw new RangeError("middle"); },
        early: async () => { throw new RangeError("early"); },
        late: async (stream) => {
            stream.write("x");
            await new Promise((resolve) => setImmediate(resolve));
            stream.setContentType("text/plain");
        },
        plain: (stream) => { stream.end("x"); },
    };
    exports.handler = awslambda.streamifyResponse((event, stream, context) => ways[event](stream));
"""


def stream_error(post):
    document = json.loads(base64.b64decode(post.trailers["lambda-runtime-function-error-body"]))
    assert post.trailers["lambda-runtime-function-error-type"] == document["errorType"]
    return document["errorType"], document["errorMessage"]


@BOTH_GENERATIONS
@pytest.mark.parametrize("transport", ["descriptor", "tcp"])
def test_streams(run, generation, transport):
    ways = ["write", "http", "pipe", "empty", "write"]
    posts = run(STREAMING, ways, generation=generation, transport=transport).posts
    http_type = "application/vnd.awslambda.http-integration-response"
    octets = "application/octet-stream"
    expected = [
        ("text/plain", 'a{"b":1}äc'.encode()),
        (http_type, b'{"statusCode":201,"headers":{"a":"b"}}' + bytes(8) + b"body"),
        (octets, b"x" * 100_000 + b"y"),
        (octets, b""),
        ("text/plain", 'a{"b":1}äc'.encode()),
    ]
    assert [(post.headers["content-type"], post.body) for post in posts] == expected
    assert {post.headers["lambda-runtime-function-response-mode"] for post in posts} == {"streaming"}
    names = "Lambda-Runtime-Function-Error-Type, Lambda-Runtime-Function-Error-Body"
    assert {post.headers["trailer"] for post in posts} == {names}
    assert [post.trailers for post in posts] == [{}] * 5


@BOTH_GENERATIONS
def test_failures_of_streams_are_trailers(run, generation):
    posts = run(STREAMING, ["middle", "early", "late", "write"], generation=generation).posts
    assert [post.body for post in posts[:3]] == [b"begun", b"", b"x"]
    assert [stream_error(post) for post in posts[:3]] == [
        ("RangeError", "middle"),
        ("RangeError", "early"),
        ("Runtime.InvalidStreamingOperation", "Cannot set content-type, too late."),
    ]
    assert posts[3].trailers == {}


def test_an_uncaught_error_amid_a_stream_is_a_trailer(run):
    source = """
        exports.handler = awslambda.streamifyResponse(async (event, stream) => {
            stream.write("begun");
            await new Promise(() => setTimeout(() => { throw new RangeError("late"); }, 5));
        });
    """
    result = run(source)
    post, = result.posts
    assert (post.body, stream_error(post), result.exit_code) == (b"begun", ("RangeError", "late"), 129)


# === Late assignment ===

# What a process is started with that waits for its function.
EARLY = {"PATH": "/nowhere", "TZ": ":UTC", "LANG": "en_US.UTF-8", "EARLY": "must go", "_HANDLER": "other.handler"}

SURROUNDINGS = """
    const child = require("node:child_process");
    const fs = require("node:fs");
    exports.handler = async () => ({
      environment: process.env,
      child: child.execFileSync("/usr/bin/env", ["-0"]).toString().split("\\0").sort(),
      arguments: process.argv,
      options: process.execArgv,
      directory: process.cwd(),
      paths: require("node:module").globalPaths,
      hour: new Date(0).getHours(),
      descriptors: fs.readdirSync("/proc/self/fd").length,
      listeners: process.eventNames().map(String).sort(),
      globals: Object.getOwnPropertyNames(globalThis).sort(),
      loaded: Object.keys(require.cache).length > 0,
    });
"""


@BOTH_GENERATIONS
@pytest.mark.parametrize("variables", [{"MINE": "ä=b\nc", "TZ": "Asia/Tokyo"}, {"PATH": ""}], ids=str)
def test_who_is_assigned_late_has_the_surroundings_of_a_start_of_its_own(run, generation, variables):
    found = []
    for assigned in (None, EARLY):
        result = run(SURROUNDINGS, [1], generation=generation, variables=variables, assigned=assigned)
        (outcome, document), = result.answers
        assert outcome == "response", document
        # The servers' ports differ.
        del document["environment"]["AWS_LAMBDA_RUNTIME_API"]
        document["child"] = [line for line in document["child"] if "AWS_LAMBDA_RUNTIME_API" not in line]
        found.append(document)
    own, late = found
    assert late == own


@BOTH_GENERATIONS
def test_who_is_assigned_late_is_the_handler_of_the_assignment(run, generation):
    result = run(ECHO, [{"a": 1}, 2], generation=generation, assigned=EARLY)
    assert result.answers == [("response", {"a": 1}), ("response", 2)]


@BOTH_GENERATIONS
def test_who_is_assigned_late_fails_as_others_do(run, generation):
    source = 'throw new Error("no")'
    documents = [
        init_error(run(source, generation=generation, assigned=assigned), 1 if generation == 24 else 129)
        for assigned in (None, EARLY)
    ]
    assert documents[0] == documents[1]


def test_who_is_never_assigned_ends_without_a_word(node):
    ours, theirs = socket.socketpair()
    reader, writer = os.pipe()
    command = [interpreters()[node], str(CLIENT / "index.mjs"), "--await-assignment"]
    process = Process(command, "/", EARLY, {1: writer, 2: writer, 3: theirs.fileno()})
    os.close(writer)
    theirs.close()
    ours.close()
    output = bytearray()
    read_all(reader, output)
    _, status = os.waitpid(process.pid, 0)
    assert (os.WEXITSTATUS(status), bytes(output)) == (0, b"")
