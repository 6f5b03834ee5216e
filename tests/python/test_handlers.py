"""Handlers in every form that AWS's clients for Python and Node.js take."""

import pytest
from support.functions import NODE, PYTHON

PYTHON_FORMS = {
    "function": ({"main.py": "def handler(event, context):\n    return event\n"}, "main.handler"),
    "lambda": ({"main.py": "handler = lambda event, context: event\n"}, "main.handler"),
    "object": (
        {
            "main.py": "class Handler:\n    def __call__(self, event, context):\n        return event\nhandler = Handler()\n"
        },
        "main.handler",
    ),
    "bound method": (
        {
            "main.py": "class Handler:\n    def handle(self, event, context):\n        return event\nhandler = Handler().handle\n"
        },
        "main.handler",
    ),
    "decorated": (
        {
            "main.py": "import functools\ndef wrap(f):\n    @functools.wraps(f)\n    def inner(event, context):\n"
            "        return f(event, context)\n    return inner\n@wrap\ndef handler(event, context):\n    return event\n"
        },
        "main.handler",
    ),
    "nested package with dots": (
        {
            "a/__init__.py": "",
            "a/b/__init__.py": "",
            "a/b/main.py": "handler = lambda event, context: event\n",
        },
        "a.b.main.handler",
    ),
    "nested folder with slashes": (
        {"a/b/main.py": "handler = lambda event, context: event\n"},
        "a/b/main.handler",
    ),
    "module named like a standard one": (
        {"calendar.py": "handler = lambda event, context: event\n"},
        "calendar.handler",
    ),
    "own copy of a preloaded module": (
        {
            "main.py": "import json\nhandler = lambda event, context: event if json.MINE else None\n",
            "json.py": "MINE = True\n",
        },
        "main.handler",
    ),
}


@pytest.mark.parametrize("form", PYTHON_FORMS)
def test_python(functions, form):
    files, handler = PYTHON_FORMS[form]
    name = functions.create(files, Runtime=PYTHON, Handler=handler)
    for event in ({"n": 1}, [None], "text"):
        assert functions.invoke(name, event).value() == event


ESM = "export const handler = async (event) => event;\n"

NODE_FORMS = {
    "async": ({"main.js": "exports.handler = async (event) => event;\n"}, "main.handler"),
    "returned promise": ({"main.js": "exports.handler = (event) => Promise.resolve(event);\n"}, "main.handler"),
    "callback": ({"main.js": "exports.handler = (event, context, callback) => callback(null, event);\n"}, "main.handler"),
    "late callback": (
        {"main.js": "exports.handler = (event, context, callback) => { setTimeout(() => callback(null, event), 5); };\n"},
        "main.handler",
    ),
    "callback with an open timer": (
        {
            "main.js": "exports.handler = (event, context, callback) => { context.callbackWaitsForEmptyEventLoop = false; "
            "setInterval(() => {}, 1000); callback(null, event); };\n"
        },
        "main.handler",
    ),
    "plain object of exports": ({"main.js": "module.exports = { handler: async (event) => event };\n"}, "main.handler"),
    "nested export": ({"main.js": "exports.a = { b: { handler: async (event) => event } };\n"}, "main.a.b.handler"),
    "folder": ({"a/b/main.js": "exports.handler = async (event) => event;\n"}, "a/b/main.handler"),
    "mjs": ({"main.mjs": ESM}, "main.handler"),
    "cjs": ({"main.cjs": "exports.handler = async (event) => event;\n"}, "main.handler"),
    "package of type module": ({"main.js": ESM, "package.json": '{"type": "module"}'}, "main.handler"),
    "nearest package wins": (
        {"a/main.js": ESM, "a/package.json": '{"type": "module"}', "package.json": '{"type": "commonjs"}'},
        "a/main.handler",
    ),
    "top-level await": (
        {"main.mjs": "const wait = await new Promise((resolve) => setTimeout(() => resolve(1), 20));\n"
         "export const handler = async (event) => (wait === 1 ? event : null);\n"},
        "main.handler",
    ),
    "default export": ({"main.mjs": "export default async (event) => event;\n"}, "main.default"),
    "class": (
        {"main.js": "class Handler { constructor() { this.mark = 1; } async run(event) { return event; } }\n"
         "const one = new Handler();\nexports.handler = one.run.bind(one);\n"},
        "main.handler",
    ),
    "import of a neighbour": (
        {"main.mjs": "import { id } from './lib/id.mjs';\nexport const handler = async (event) => id(event);\n",
         "lib/id.mjs": "export const id = (x) => x;\n"},
        "main.handler",
    ),
    "node_modules": (
        {"main.js": "exports.handler = require('mine').handler;\n",
         "node_modules/mine/index.js": "exports.handler = async (event) => event;\n"},
        "main.handler",
    ),
}  # fmt: skip


@pytest.mark.parametrize("form", NODE_FORMS)
def test_node(functions, form):
    files, handler = NODE_FORMS[form]
    name = functions.create(files, Runtime=NODE, Handler=handler)
    for event in ({"n": 1}, [None], "text"):
        assert functions.invoke(name, event).value() == event


def test_node_errors_of_callbacks(functions):
    code = "exports.handler = (event, context, callback) => callback(new TypeError('told'));\n"
    name = functions.create({"main.js": code}, Runtime=NODE, Handler="main.handler")
    reply = functions.invoke(name)
    assert (reply.error, reply.payload["errorType"], reply.payload["errorMessage"]) == (
        "Unhandled",
        "TypeError",
        "told",
    )


def test_node_waits_for_the_event_loop_after_a_callback(functions):
    code = (
        "let late = 0;\nexports.handler = (event, context, callback) => "
        "{ const before = late; setTimeout(() => { late += 1; }, 100); callback(null, before); };\n"
    )
    name = functions.create({"main.js": code}, Runtime=NODE, Handler="main.handler")
    assert [functions.invoke(name).value() for _ in range(3)] == [0, 1, 2]


def test_undefined_and_none_are_null(functions):
    python = functions.create(
        {"main.py": "handler = lambda event, context: None\n"}, Runtime=PYTHON, Handler="main.handler"
    )
    node = functions.create(
        {"main.js": "exports.handler = async () => {};\n"}, Runtime=NODE, Handler="main.handler"
    )
    assert functions.invoke(python).body == b"null"
    assert functions.invoke(node).body == b"null"


@pytest.mark.parametrize(
    "runtime",
    ["python3.8", "python3.9", "python3.10", "python3.11", "python3.12", "python3.13", "python3.14"],
)
def test_every_python_answers(functions, runtime):
    """With an interpreter of that version or, with a warning, the nearest."""
    code = "import sys\nhandler = lambda event, context: list(sys.version_info[:2])\n"
    name = functions.create({"main.py": code}, Runtime=runtime, Handler="main.handler")
    assert functions.invoke(name).value()[0] == 3


@pytest.mark.parametrize("runtime", ["nodejs18.x", "nodejs20.x", "nodejs22.x", "nodejs24.x"])
def test_every_node_answers(functions, runtime):
    code = "exports.handler = async () => process.versions.node.split('.').map(Number)[0];\n"
    name = functions.create({"main.js": code}, Runtime=runtime, Handler="main.handler")
    assert functions.invoke(name).value() >= 16
