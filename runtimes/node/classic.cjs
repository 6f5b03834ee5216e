"use strict";
// AWS's client up to Node.js 22: promises, callbacks, and answers that wait until the function has nothing left to do.
// Must not be used with Node.js 24: functions there are told that callbacks are gone.

const { readContext } = require("./context.cjs");
const { errorDocument, errorHeaders, unhandledRejection } = require("./errors.cjs");
const { defineGlobals, describeHandler, failInit, loadHandler } = require("./handler.cjs");
const { logError } = require("./log.cjs");
const { InvocationLoop, serialize } = require("./loop.cjs");

const EXIT_UNHANDLED_REJECTION = 128;
const EXIT_UNCAUGHT_EXCEPTION = 129;

const nothing = () => {};

/** Loads the handler and serves events. */
async function run(api, requireFrom) {
  let runtime;
  const fail = (error, code) => {
    if (runtime?.requestId === undefined) failInit(api, error, code);
    else runtime.failAndExit(error, code);
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
    const handler = await loadHandler(requireFrom, false);
    runtime = new Runtime(api, handler, describeHandler(handler, false));
  } catch (error) {
    logError("Uncaught Exception", error);
    failInit(api, error, EXIT_UNCAUGHT_EXCEPTION);
    return;
  }
  runtime.askNext();
}

/** The names of this class and of its `handleOnce…` methods stand in functions' stack traces, as on AWS. */
class Runtime extends InvocationLoop {
  /** What to do when the function has nothing left to do. */
  onIdle = nothing;
  stream = undefined;

  handleOnce(headers, body) {
    if (this.metadata.streaming) this.handleOnceStreaming(headers, body);
    else this.handleOnceNonStreaming(headers, body);
  }

  async handleOnceNonStreaming(headers, body) {
    // Leaves the socket's callback, whose frames would stand in the function's stack traces.
    await null;
    const { requestId } = this;
    const answers = new Answers(this, requestId);
    // A handler that neither calls back nor returns a promise is done when nothing is left to do.
    this.onIdle = () => {
      answers.given = true;
      this.finish(() => this.postResponse(requestId, "null"));
    };
    try {
      const event = JSON.parse(body);
      const context = Object.assign(answers.context, readContext(headers, false));
      const result = this.handler(event, context, answers.callback);
      if (isPromise(result)) {
        result.then(context.succeed, context.fail).catch(context.fail);
      }
    } catch (error) {
      answers.callback(error);
    }
  }

  async handleOnceStreaming(headers, body) {
    await null;
    const { ResponseStream } = require("./streaming.cjs");
    let waits = true;
    const stream = new ResponseStream(this);
    this.stream = stream;
    const scheduleNext = () => {
      this.stream = undefined;
      if (waits) {
        this.api.keepAlive(false);
        this.onIdle = () => setImmediate(() => this.finish(() => this.askNext()));
      } else {
        this.finish(() => this.askNext());
      }
    };
    const fail = (error) => {
      logError("Invoke Error", error);
      stream.fail(error, scheduleNext);
    };
    const streamingContext = {
      get callbackWaitsForEmptyEventLoop() {
        return waits;
      },
      set callbackWaitsForEmptyEventLoop(value) {
        waits = value;
      },
    };
    try {
      this.api.keepAlive(true);
      const context = Object.assign(streamingContext, readContext(headers, false));
      const returned = this.handler(JSON.parse(body), stream, context);
      if (!isPromise(returned)) {
        fail("Streaming does not support non-async handlers.");
        return;
      }
      if ((await returned) !== undefined) console.warn("Streaming handlers ignore return values.");
      await stream.answered;
      scheduleNext();
    } catch (error) {
      fail(error);
    }
  }

  /** Takes the step that ends an invocation; until the next one idleness means nothing. */
  finish(step) {
    this.onIdle = nothing;
    step();
  }

  /** Reports a failure that ends the process. */
  failAndExit(error, code) {
    if (this.stream?.begun) {
      this.stream.failAndExit(error, code);
      return;
    }
    const path = `invocation/${encodeURIComponent(this.requestId)}/error`;
    const body = JSON.stringify(errorDocument(error));
    this.api.postAndExit(path, body, this.attemptHeader() + errorHeaders(error), code);
  }
}

/** The callback and the context's `done`, `succeed` and `fail` of one invocation; the first call counts. */
class Answers {
  given = false;

  constructor(runtime, requestId) {
    let waits = true;
    let finished = false;
    const onlyFirst = (action) => (first, second) => {
      if (finished) return;
      action(first, second);
      // Set afterwards: a result without JSON form throws, and that failure may still be answered.
      finished = true;
    };
    const complete = (result) => {
      if (this.given) {
        console.error(
          "Invocation has already been reported as done. Cannot call complete more than once per invocation.",
        );
        return;
      }
      this.given = true;
      runtime.postResponse(requestId, serialize(result, () => new Error("Unable to stringify response body")));
    };
    const done = (error, result) => {
      runtime.finish(() => (isGiven(error) ? runtime.postError(requestId, error) : complete(result)));
    };
    this.callback = onlyFirst((error, result) => {
      if (isGiven(error) || !waits) done(error, result);
      else runtime.onIdle = () => setImmediate(() => done(null, result));
    });
    this.context = {
      get callbackWaitsForEmptyEventLoop() {
        return waits;
      },
      set callbackWaitsForEmptyEventLoop(value) {
        waits = value;
      },
      succeed: onlyFirst((result) => done(null, result)),
      fail: onlyFirst((error) => done(isGiven(error) ? error : "handled")),
      done: onlyFirst(done),
    };
  }
}

function isGiven(error) {
  return error !== undefined && error !== null;
}

function isPromise(value) {
  return typeof value?.then === "function";
}

module.exports = { run };
