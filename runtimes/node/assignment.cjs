"use strict";
// A client that was started before it is known for which function: it waits for its assignment.
// Must not do anything before the assignment that a function could tell from a start of its own.

const { readSync } = require("node:fs");

// The Runtime API's socket. The assignment comes before any HTTP is spoken on it: four bytes that say its length, and
// the whole environment, each variable ended by a zero byte.
const DESCRIPTOR = 3;

/** Loads what any function's client will need. */
function loadAhead() {
  require("node:net");
  // What `console` formats with.
  require("node:util").format("");
  require("./runtime_api.cjs");
  require("./module_search.cjs");
  require("./classic.cjs");
  require("./modern.cjs");
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
  for (const name of Object.keys(process.env)) delete process.env[name];
  for (const variable of assignment.split("\0").slice(0, -1)) {
    const end = variable.indexOf("=");
    process.env[variable.slice(0, end)] = variable.slice(end + 1);
  }
  process.chdir(process.env.LAMBDA_TASK_ROOT ?? "/var/task");
}

module.exports = { loadAhead, receive };
