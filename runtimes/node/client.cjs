"use strict";
// The runtime interface client: loads the handler and serves events until the process ends.
// Behaves like AWS's client (`aws-lambda-ric`), whose rules changed with Node.js 24: `isModern` says which hold.

const { errorDocument, platformError, unhandledRejection } = require("./errors.cjs");
const { defineGlobals, describeHandler, loadHandler } = require("./handler.cjs");
const { logError, patchConsole, writeNote } = require("./log.cjs");
const { RuntimeApi } = require("./runtime_api.cjs");

const FIRST_MODERN_VERSION = 24;

// Exit codes that AWS's client uses up to Node.js 22.
const EXIT_UNHANDLED_REJECTION = 128;
const EXIT_UNCAUGHT_EXCEPTION = 129;

/** Runs the client; `requireFrom` is the entry point's `require`, which error messages of Node.js show. */
function main(requireFrom) {
  const isModern = runtimeVersion() >= FIRST_MODERN_VERSION;
  patchConsole(isModern ? "-" : undefined);
  const api = new RuntimeApi();
  if (isModern) {
    require("./modern.cjs").run(api, requireFrom);
  } else {
    runClassic(api, requireFrom);
  }
}

function runtimeVersion() {
  return Number(/^AWS_Lambda_nodejs(\d+)\.x$/.exec(process.env.AWS_EXECUTION_ENV ?? "")?.[1] ?? 0);
}

async function runClassic(api, requireFrom) {
  let runtime;
  const fail = (error, code) => {
    if (runtime?.requestId !== undefined) {
      runtime.fail(error, code);
    } else {
      failInit(api, error, code);
    }
  };
  process.on("uncaughtException", (error) => {
    logError("Uncaught Exception", error);
    fail(error, EXIT_UNCAUGHT_EXCEPTION);
  });
  process.on("unhandledRejection", (reason, promise) => {
    const error = unhandledRejection(reason, promise);
    logError("Unhandled Promise Rejection", error);
    fail(error, EXIT_UNHANDLED_REJECTION);
  });
  process.on("beforeExit", () => runtime?.onIdle());
  try {
    defineGlobals();
    const handler = await loadHandler(requireFrom, process.env.LAMBDA_TASK_ROOT ?? process.cwd(), process.env._HANDLER ?? "", false);
    const metadata = describeHandler(handler, false);
    const { ClassicRuntime } = require("./runtime.cjs");
    runtime = metadata.streaming
      ? new (require("./streaming.cjs").ClassicStreamingRuntime)(api, handler, metadata)
      : new ClassicRuntime(api, handler, metadata);
  } catch (error) {
    logError("Uncaught Exception", error);
    hintAtSdk(error);
    failInit(api, error, EXIT_UNCAUGHT_EXCEPTION);
    return;
  }
  runtime.start();
}

/** Tells the Runtime API why the function cannot be initialised, and exits. */
function failInit(api, error, code) {
  const document = errorDocument(error);
  const errorType = String(document.errorType).replace(/[^\x20-\x7e]/g, "?");
  api.postAndExit("init/error", JSON.stringify(document), `Lambda-Runtime-Function-Error-Type: ${errorType}\r\n`, code);
}

/** Says in the log how to get the AWS SDK, if that is what the function misses. */
function hintAtSdk(error) {
  const missing = /Cannot find (?:module|package) '(@aws-sdk\/[^'/]+)/.exec(error?.message ?? "")?.[1];
  if (missing === undefined) return;
  const runtime = (process.env.AWS_EXECUTION_ENV ?? "").replace("AWS_Lambda_", "") || `nodejs${process.versions.node.split(".")[0]}.x`;
  writeNote(`hothouse: ${missing} is not installed for functions; run: hothouse runtimes sync ${runtime}`);
}

module.exports = { main };
