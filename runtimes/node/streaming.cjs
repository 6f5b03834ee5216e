"use strict";
// Response streaming: what a streaming handler writes goes to the Runtime API as chunks, failures as trailers.

const { Writable } = require("node:stream");

const { errorDocument, platformError } = require("./errors.cjs");

const DEFAULT_CONTENT_TYPE = "application/octet-stream";
const HTTP_CONTENT_TYPE = "application/vnd.awslambda.http-integration-response";
const TRAILERS = "Lambda-Runtime-Function-Error-Type, Lambda-Runtime-Function-Error-Body";

// Ends the JSON that precedes the body of an HTTP response.
const PRELUDE_DELIMITER = Buffer.alloc(8);

class ResponseStream extends Writable {
  #loop;
  #requestId;
  #socket;
  #contentType = DEFAULT_CONTENT_TYPE;
  #trailers = "";
  #answer;
  #resolveAnswer;
  #rejectDestroyed;

  constructor(loop) {
    super({ highWaterMark: loop.metadata.highWaterMark, decodeStrings: true });
    this.#loop = loop;
    this.#requestId = loop.requestId;
    this.#answer = new Promise((resolve) => {
      this.#resolveAnswer = resolve;
    });
    const destroyed = new Promise((_resolve, reject) => {
      this.#rejectDestroyed = reject;
    });
    // Somebody who does not wait for the answer is told by the stream's `error` event.
    destroyed.catch(() => {});
    /** Resolves when the Runtime API has taken the whole response; rejects if the function destroyed the stream. */
    this.answered = Promise.race([this.#answer, destroyed]);
    this.answered.catch(() => {});
    this.on("error", () => {});
  }

  /** Whether part of the response is on its way, so that only trailers can still report a failure. */
  get begun() {
    return this.#socket !== undefined && !this.writableFinished;
  }

  /** Chooses the response's content type; only before the first write. */
  setContentType(contentType) {
    if (this.#socket !== undefined) {
      throw platformError("InvalidStreamingOperation", "Cannot set content-type, too late.");
    }
    this.#contentType = contentType;
  }

  /** Also takes values of any other kind, which become JSON. */
  write(chunk, encoding, callback) {
    const isRaw = typeof chunk === "string" || chunk instanceof Uint8Array;
    const data = isRaw ? chunk : JSON.stringify(chunk);
    if (this.#socket === undefined) {
      this.#begin();
      this._onBeforeFirstWrite?.((first) => super.write(first));
    }
    return super.write(data, encoding, callback);
  }

  /** Ends the response with trailers that say what failed. */
  fail(error, callback) {
    if (this.writableFinished) {
      callback();
      return;
    }
    this.#trailers = formatTrailers(error);
    this.#answer.then(callback);
    if (this.destroyed) {
      if (this.#socket === undefined) this.#begin();
      this.#socket.write(`0\r\n${this.#trailers}\r\n`);
    } else if (!this.writableEnded) {
      this.end();
    }
  }

  /** Ends the response with trailers, and the process with `code`. */
  failAndExit(error, code) {
    this.#loop.api.exchangeNow(`0\r\n${formatTrailers(error)}\r\n`);
    process.exit(code);
  }

  _write(chunk, _encoding, callback) {
    if (this.#socket === undefined) this.#begin();
    if (chunk.length === 0) {
      // An empty chunk would end the response.
      callback();
      return;
    }
    this.#socket.cork();
    this.#socket.write(`${chunk.length.toString(16)}\r\n`);
    this.#socket.write(chunk);
    this.#socket.write("\r\n", callback);
    this.#socket.uncork();
  }

  _final(callback) {
    if (this.#socket === undefined) this.#begin();
    this.#socket.write(`0\r\n${this.#trailers}\r\n`, callback);
  }

  _destroy(error, callback) {
    if (!this.writableFinished) this.#rejectDestroyed(error ?? new Error("Response stream is not finished."));
    callback(error);
  }

  #begin() {
    const headers =
      `Content-Type: ${this.#contentType}\r\nLambda-Runtime-Function-Response-Mode: streaming\r\n` +
      `Trailer: ${TRAILERS}\r\n${this.#loop.attemptHeader()}`;
    this.#socket = this.#loop.api.stream(this.#requestId, headers, this.#resolveAnswer);
  }
}

function formatTrailers(error) {
  const document = errorDocument(error);
  const body = Buffer.from(JSON.stringify(document)).toString("base64");
  const errorType = String(document.errorType).replace(/[^\x20-\x7e]/g, "?");
  return `Lambda-Runtime-Function-Error-Type: ${errorType}\r\nLambda-Runtime-Function-Error-Body: ${body}\r\n`;
}

/** Turns a response stream into an HTTP response with status code, headers and cookies. */
class HttpResponseStream {
  static from(stream, prelude) {
    stream.setContentType(HTTP_CONTENT_TYPE);
    const metadata = JSON.stringify(prelude);
    stream._onBeforeFirstWrite = (write) => {
      write(metadata);
      write(PRELUDE_DELIMITER);
    };
    return stream;
  }
}

module.exports = { HttpResponseStream, ResponseStream };
