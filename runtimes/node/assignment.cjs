"use strict";
// A client that was started before it is known for which function: it waits for its assignment.
// Must not do anything before the assignment that a function could tell from a start of its own.

const { readSync } = require("node:fs");
const { setFlagsFromString } = require("node:v8");

// The Runtime API's socket. The assignment comes before any HTTP is spoken on it: four bytes that say its length, and
// the whole environment, each variable ended by a zero byte.
const DESCRIPTOR = 3;

// Has V8 compile functions as they are loaded. So it is until here, and not for a function.
const COMPILE_AT_ONCE = "--no-lazy";

/** Loads what any function's client will need. */
function loadAhead() {
  require("node:net");
  // What `console` formats with.
  require("node:util").format("");
  require("./runtime_api.cjs");
  require("./module_search.cjs");
  require("./classic.cjs");
  require("./modern.cjs");
  setFlagsFromString("--lazy");
  process.execArgv = process.execArgv.filter((option) => option !== COMPILE_AT_ONCE);
}

/** Waits, without the event loop, for the assignment and takes it on; ends the process if there will be none. */
function receive() {
  takeOn(readExactly(readExactly(4).readUInt32BE(0)).toString());
}

function readExactly(length) {
  const bytes = Buffer.alloc(length);
  for (let filled = 0; filled < length; ) {
    const count = readSync(DESCRIPTOR, bytes, filled, length - filled, null);
    if (count === 0) process.exit(0);
    filled += count;
  }
  return bytes;
}

/** Replaces the environment, and with it the working directory. */
function takeOn(assignment) {
  const variables = new Map();
  for (const variable of assignment.split("\0").slice(0, -1)) {
    const end = variable.indexOf("=");
    variables.set(variable.slice(0, end), variable.slice(end + 1));
  }
  // Who touches the time zone has Node.js look for it on the whole disk, so only who changes it does.
  if (variables.get("TZ") === process.env.TZ) variables.delete("TZ");
  else delete process.env.TZ;
  for (const name of Object.keys(process.env)) if (name !== "TZ") delete process.env[name];
  for (const [name, value] of variables) process.env[name] = value;
  process.chdir(process.env.LAMBDA_TASK_ROOT ?? "/var/task");
}

module.exports = { loadAhead, receive };
