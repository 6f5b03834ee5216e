"use strict";
// The runtime interface client: chooses the generation of AWS's client (`aws-lambda-ric`) to behave like.
// Must not print: what a function's log holds is AWS's contract.

const { patchConsole } = require("./log.cjs");
const { RuntimeApi } = require("./runtime_api.cjs");

const FIRST_MODERN_RUNTIME = 24;

/** Runs the client; `requireFrom` is the entry point's `require`, whose file messages of Node.js name. */
function main(requireFrom) {
  if (process.argv.at(-1) === "--await-assignment") {
    process.argv.pop();
    const { loadAhead, receive } = require("./assignment.cjs");
    loadAhead();
    receive();
  }
  const runtime = /^AWS_Lambda_nodejs(\d+)\.x$/.exec(process.env.AWS_EXECUTION_ENV ?? "");
  const isModern = Number(runtime?.[1]) >= FIRST_MODERN_RUNTIME;
  patchConsole(isModern ? "-" : undefined);
  const { run } = require(isModern ? "./modern.cjs" : "./classic.cjs");
  return run(new RuntimeApi(), requireFrom);
}

module.exports = { main };
