"use strict";
// Error documents: for the Runtime API, for the log and for X-Ray, in the form of AWS's client.
// Must not write or send anything.

// X-Ray takes no larger causes.
const CAUSE_LIMIT = 64 * 1024;

// === Errors of the platform ===

// Classes whose names end in `Error` since Node.js 24; logs in JSON show them.
const RENAMED = ["HandlerNotFound", "MalformedHandlerName", "CallbackHandlerDeprecated"];

/**
 * An error of the given `Runtime.` type. Until Node.js 22 AWS has the name on the prototype, since Node.js 24 it is a
 * property of the error; the log's document and the first line of the stack show the difference.
 */
function platformError(type, message, isModern = false) {
  const name = `Runtime.${type}`;
  const PlatformError = class extends Error {};
  const className = isModern && RENAMED.includes(type) ? `${type}Error` : type;
  Object.defineProperty(PlatformError, "name", { value: className });
  if (isModern) return Object.assign(new PlatformError(message), { name });
  Object.defineProperty(PlatformError.prototype, "name", { value: name, configurable: true, writable: true });
  return new PlatformError(message);
}

/** What an unhandled rejection is reported as. */
function unhandledRejection(reason, promise) {
  return Object.assign(platformError("UnhandledPromiseRejection", reason), { reason, promise });
}

// === Documents ===

/** The character DEL is not allowed in headers, and AWS's client escapes it everywhere. */
function escape(text) {
  return typeof text === "string" ? text.replace(/\x7f/g, "%7F") : text;
}

function looksLikeError(value) {
  return (
    value instanceof Error ||
    require("node:util").types.isNativeError(value) ||
    Boolean(
      value?.name && value.message && value.stack &&
        [value.name, value.message, value.stack].every((member) => typeof member === "string"),
    )
  );
}

/** The body of an error report: `{errorType, errorMessage, trace}`. */
function errorDocument(error) {
  try {
    if (looksLikeError(error)) {
      return {
        errorType: escape(error.name),
        errorMessage: escape(error.message),
        trace: escape(error.stack).split("\n"),
      };
    }
    return { errorType: typeof error, errorMessage: error.toString(), trace: [] };
  } catch {
    return {
      errorType: "handled",
      errorMessage:
        "callback called with Error argument, but there was a problem while retrieving one or more of its message, name, and stack",
    };
  }
}

/** What the log shows behind the title of an error. */
function errorForLog(error) {
  const withProperties = (_key, value) => {
    if (!(value instanceof Error)) return value;
    const shown = Object.assign({ errorType: value.name, errorMessage: value.message, code: value.code }, value);
    if (typeof value.stack === "string") shown.stack = value.stack.split("\n");
    return shown;
  };
  try {
    return `\t${JSON.stringify(error, withProperties)}`;
  } catch {
    return `\t${JSON.stringify(errorDocument(error))}`;
  }
}

/** The cause for X-Ray, as text for a header; empty if it cannot be told. */
function errorCause(error) {
  try {
    const lines = error.stack ? escape(error.stack).split("\n").slice(1) : [];
    const stack = lines.map((line) => {
      const text = line.trim().replace(/[()]/g, "");
      const frame = text.slice(text.indexOf(" ") + 1);
      const space = frame.lastIndexOf(" ");
      const label = space >= 0 ? frame.slice(0, space) : "";
      const [path, number] = (label ? frame.slice(space + 1) : frame).split(":");
      return { path, line: parseInt(number, 10), label: label || "anonymous" };
    });
    const document = {
      working_directory: process.cwd(),
      exceptions: [{ type: escape(error.name), message: escape(error.message), stack }],
      paths: [...new Set(stack.map((frame) => frame.path))],
    };
    return asciiOnly(JSON.stringify(document));
  } catch {
    return "";
  }
}

/** JSON that may stand in a header: everything beyond ASCII is escaped. */
function asciiOnly(json) {
  return json.replace(/[\u007f-\uffff]/g, (unit) => `\\u${unit.charCodeAt(0).toString(16).padStart(4, "0")}`);
}

/** Headers of a report about `error`. */
function errorHeaders(error) {
  const cause = errorCause(error);
  return cause === "" || cause.length > CAUSE_LIMIT ? "" : `Lambda-Runtime-Function-XRay-Error-Cause: ${cause}\r\n`;
}

module.exports = { errorDocument, errorForLog, errorHeaders, platformError, unhandledRejection };
