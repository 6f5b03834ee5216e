"use strict";
// The function's log: `console` in AWS's text and JSON formats, framed to the telemetry descriptor or as lines.
// Must not touch `process.stdout`: what a function writes there goes out as it is.

const { writeSync } = require("node:fs");

const { errorForLog } = require("./errors.cjs");

const LEVELS = {
  TRACE: { name: "TRACE", mask: 4 },
  DEBUG: { name: "DEBUG", mask: 8 },
  INFO: { name: "INFO", mask: 12 },
  WARN: { name: "WARN", mask: 16 },
  ERROR: { name: "ERROR", mask: 20 },
  FATAL: { name: "FATAL", mask: 24 },
};
const TEXT_FRAME = 0xa55a0003;
const JSON_FRAME = 0xa55a0002;
const FRAME_HEADER_SIZE = 16;

// AWS keeps both under these symbols, where tracing libraries look for them.
const REQUEST_ID = Symbol.for("aws.lambda.runtime.requestId");
const TENANT_ID = Symbol.for("aws.lambda.runtime.tenantId");

let descriptor;
let json = false;
let withoutRequest;

/** Names the invocation that records belong to from now on. */
function setCurrent(requestId, tenantId) {
  globalThis[REQUEST_ID] = requestId;
  globalThis[TENANT_ID] = tenantId;
}

/** Takes the descriptor that the platform announced, and replaces the methods of `console`. */
function patchConsole(requestPlaceholder) {
  withoutRequest = requestPlaceholder;
  const announced = process.env._LAMBDA_TELEMETRY_LOG_FD;
  if (announced !== undefined) {
    delete process.env._LAMBDA_TELEMETRY_LOG_FD;
    descriptor = parseInt(announced, 10);
  }
  json = process.env.AWS_LAMBDA_LOG_FORMAT?.toUpperCase() === "JSON";
  const lowest = LEVELS[process.env.AWS_LAMBDA_LOG_LEVEL?.toUpperCase()] ?? LEVELS.TRACE;
  const method = (level) =>
    level.mask >= lowest.mask ? (message, ...rest) => write(level, message, rest) : (_message, ..._rest) => {};
  console.trace = method(LEVELS.TRACE);
  console.debug = method(LEVELS.DEBUG);
  console.info = method(LEVELS.INFO);
  console.log = console.info;
  console.warn = method(LEVELS.WARN);
  console.error = method(LEVELS.ERROR);
  console.fatal = method(LEVELS.FATAL);
}

/** Logs a failure that the platform reports too. */
function logError(title, error) {
  const shown = error instanceof Error ? error : new Error(error);
  if (json) {
    console.error(shown);
  } else {
    console.error(title, errorForLog(shown));
  }
}

/** Writes a record without the format of `console`. */
function writeNote(text) {
  send(TEXT_FRAME, new Date(), `${text}\n`, `${text}\n`);
}

function write(level, message, rest) {
  const now = new Date();
  const requestId = globalThis[REQUEST_ID] ?? withoutRequest;
  if (json) {
    const line = formatJson(level, now, requestId, message, rest);
    send(JSON_FRAME | level.mask, now, line, `${line.replace(/\n/g, "\r")}\n`);
  } else {
    const { format } = require("node:util");
    const line = `${now.toISOString()}\t${requestId}\t${level.name}\t${format(message, ...rest)}`;
    send(TEXT_FRAME | level.mask, now, `${line}\n`, `${line.replace(/\n/g, "\r")}\n`);
  }
}

function formatJson(level, now, requestId, message, rest) {
  const record = { timestamp: now.toISOString(), level: level.name, requestId };
  const tenantId = globalThis[TENANT_ID];
  if (tenantId !== undefined && tenantId !== null) record.tenantId = tenantId;
  const { format } = require("node:util");
  if (rest.length === 0) {
    record.message = message;
    try {
      return JSON.stringify(record, replaceErrors);
    } catch {
      record.message = format(message);
      return JSON.stringify(record);
    }
  }
  record.message = format(message, ...rest);
  const error = [message, ...rest].find((value) => value instanceof Error);
  if (error) Object.assign(record, describeError(error, []));
  return JSON.stringify(record);
}

function replaceErrors(_key, value) {
  return value instanceof Error ? Object.assign(describeError(value, value.stack), value) : value;
}

function describeError(error, stackOtherwise) {
  return {
    errorType: error.constructor?.name ?? "UnknownError",
    errorMessage: error.message,
    stackTrace: typeof error.stack === "string" ? error.stack.split("\n") : stackOtherwise,
  };
}

/** `framed` goes into a frame; `line` is for standard output, where only carriage returns keep a record together. */
function send(type, now, framed, line) {
  if (descriptor === undefined) {
    process.stdout.write(line);
    return;
  }
  const length = Buffer.byteLength(framed);
  const frame = Buffer.allocUnsafe(FRAME_HEADER_SIZE + length);
  frame.writeUInt32BE(type >>> 0, 0);
  frame.writeUInt32BE(length, 4);
  frame.writeBigUInt64BE(BigInt(now.getTime()) * 1000n, 8);
  frame.write(framed, FRAME_HEADER_SIZE);
  writeAll(descriptor, frame);
}

/** Writes all of it now, whatever the descriptor's mode. */
function writeAll(target, bytes) {
  for (let written = 0; written < bytes.length; ) {
    try {
      written += writeSync(target, bytes, written);
    } catch (error) {
      if (error.code !== "EAGAIN") throw error;
      pause();
    }
  }
}

/** Lets the other side make progress, without the event loop. */
function pause() {
  Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0, 1);
}

module.exports = { logError, patchConsole, pause, setCurrent, writeAll, writeNote };
