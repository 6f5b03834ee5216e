"use strict";
// The loop: one event after the other to the handler, its outcome to the Runtime API.
// Must not load anything of the function.

const { readContext } = require("./context.cjs");
const { errorDocument, errorHeaders } = require("./errors.cjs");
const { logError, setCurrent } = require("./log.cjs");

/** What all ways of calling a handler share. The names of class and method stand in functions' stack traces. */
class Runtime {
  constructor(api, handler, metadata) {
    this.api = api;
    this.handler = handler;
    this.metadata = metadata;
    this.requestId = undefined;
    this.attempt = undefined;
    this.onIdle = () => {};
    this.receive = (headers, body) => this.#receive(headers, body);
  }

  /** Asks for the first event. */
  start() {
    this.api.next(this.receive);
  }

  #receive(headers, body) {
    this.requestId = headers["lambda-runtime-aws-request-id"];
    this.attempt = headers["lambda-runtime-invocation-id"];
    setCurrent(this.requestId, headers["lambda-runtime-aws-tenant-id"]);
    this.handleOnce(headers, body);
  }

  /** Headers that every answer to the current invocation carries. */
  attemptHeader() {
    return this.attempt === undefined ? "" : `Lambda-Runtime-Invocation-Id: ${this.attempt}\r\n`;
  }

  /** Sends the result, if the invocation was not answered yet. */
  postResponse(requestId, body) {
    if (requestId === this.requestId) this.#answer("response", body, "");
  }

  /** Logs and sends the failure, if the invocation was not answered yet. */
  postError(requestId, error) {
    logError("Invoke Error", error);
    if (requestId === this.requestId) this.#answer("error", JSON.stringify(errorDocument(error)), errorHeaders(error));
  }

  #answer(outcome, body, headers) {
    const requestId = this.requestId;
    this.requestId = undefined;
    this.onIdle = () => {};
    this.api.answer(requestId, outcome, body, this.attemptHeader() + headers, this.receive);
  }

  /** Reports a failure that ends the process, to whomever waits. */
  fail(error, code) {
    const body = JSON.stringify(errorDocument(error));
    const headers = this.attemptHeader() + errorHeaders(error);
    this.api.postAndExit(`invocation/${encodeURIComponent(this.requestId)}/error`, body, headers, code);
  }
}

/** Up to Node.js 22: promises, callbacks, and answers that wait until the function has nothing left to do. */
class ClassicRuntime extends Runtime {
  async handleOnce(headers, body) {
    const { requestId } = this;
    const answers = new ClassicAnswers(this, requestId);
    // A handler that neither calls back nor returns a promise is done when nothing is left to do.
    this.onIdle = () => {
      answers.answered = true;
      this.postResponse(requestId, "null");
    };
    try {
      const event = JSON.parse(body);
      const context = Object.assign(answers.context, readContext(headers, false));
      const result = this.handler(event, context, answers.callback);
      if (typeof result?.then === "function") {
        result.then(context.succeed, context.fail).catch(context.fail);
      }
    } catch (error) {
      answers.callback(error);
    }
  }
}
Object.defineProperty(ClassicRuntime, "name", { value: "Runtime" });

/** The callback and the context's `done`, `succeed` and `fail` of one invocation; the first call counts. */
class ClassicAnswers {
  answered = false;

  constructor(runtime, requestId) {
    let waits = true;
    let finished = false;
    const onlyFirst = (action) => (first, second) => {
      if (finished) return;
      action(first, second);
      // After the action: if the result has no JSON form, the failure to say so may still be answered.
      finished = true;
    };
    const isError = (error) => error !== undefined && error !== null;
    const complete = (result) => {
      if (this.answered) {
        console.error(
          "Invocation has already been reported as done. Cannot call complete more than once per invocation.",
        );
        return;
      }
      this.answered = true;
      runtime.postResponse(requestId, serialize(result));
    };
    const fail = (error) => {
      runtime.onIdle = () => {};
      runtime.postError(requestId, error);
    };
    const done = (error, result) => {
      if (isError(error)) {
        fail(error);
      } else {
        runtime.onIdle = () => {};
        complete(result);
      }
    };
    this.callback = onlyFirst((error, result) => {
      if (isError(error)) fail(error);
      else if (!waits) done(null, result);
      else runtime.onIdle = () => setImmediate(() => complete(result));
    });
    this.context = {
      get callbackWaitsForEmptyEventLoop() {
        return waits;
      },
      set callbackWaitsForEmptyEventLoop(value) {
        waits = value;
      },
      succeed: onlyFirst((result) => done(null, result)),
      fail: onlyFirst((error) => fail(isError(error) ? error : "handled")),
      done: onlyFirst(done),
    };
  }
}

function serialize(result) {
  try {
    return JSON.stringify(result === undefined ? null : result) ?? "null";
  } catch {
    throw new Error("Unable to stringify response body");
  }
}

module.exports = { ClassicRuntime, Runtime };
