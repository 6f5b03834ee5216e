"use strict";
// What both generations of AWS's client have in common: one event after the other, and answers to the Runtime API.
// Must not call the handler: how it is called is where they differ.

const { errorDocument, errorHeaders } = require("./errors.cjs");
const { logError, setCurrent } = require("./log.cjs");

class InvocationLoop {
  constructor(api, handler, metadata) {
    this.api = api;
    this.handler = handler;
    this.metadata = metadata;
    /** The invocation that waits for its answer; undefined while the Runtime API is to send the next one. */
    this.requestId = undefined;
    this.attempt = undefined;
    this.receive = (headers, body) => {
      this.requestId = headers["lambda-runtime-aws-request-id"];
      this.attempt = headers["lambda-runtime-invocation-id"];
      setCurrent(this.requestId, headers["lambda-runtime-aws-tenant-id"]);
      this.handleOnce(headers, body);
    };
  }

  /** Asks for the next event. */
  askNext() {
    this.requestId = undefined;
    this.api.next(this.receive);
  }

  /** Headers that every answer to the current invocation carries. */
  attemptHeader() {
    return this.attempt === undefined ? "" : `Lambda-Runtime-Invocation-Id: ${this.attempt}\r\n`;
  }

  /** Sends a result. An invocation that has its answer already keeps it. */
  postResponse(requestId, body) {
    this.#answer(requestId, "response", body, "");
  }

  /** Logs and sends a failure. */
  postError(requestId, error) {
    logError("Invoke Error", error);
    this.#answer(requestId, "error", JSON.stringify(errorDocument(error)), errorHeaders(error));
  }

  #answer(requestId, outcome, body, headers) {
    if (requestId !== this.requestId) return;
    this.requestId = undefined;
    this.api.answer(requestId, outcome, body, this.attemptHeader() + headers, this.receive);
  }
}

/** The JSON of a result; the Runtime API wants some for nothing, too. */
function serialize(result, createError) {
  try {
    return JSON.stringify(result === undefined ? null : result) ?? "null";
  } catch {
    throw createError();
  }
}

module.exports = { InvocationLoop, serialize };
