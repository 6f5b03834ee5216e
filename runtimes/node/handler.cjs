"use strict";
// Finds and loads the handler, by AWS's rules.
// Must not call it.

const { existsSync, readFileSync } = require("node:fs");
const path = require("node:path");
const { pathToFileURL } = require("node:url");

const { errorDocument, platformError } = require("./errors.cjs");
const { writeNote } = require("./log.cjs");

// AWS marks streaming handlers with these properties; bundles carry the symbols too.
const STREAMING = Symbol.for("aws.lambda.runtime.handler.streaming");
const HIGH_WATER_MARK = Symbol.for("aws.lambda.runtime.handler.streaming.highWaterMark");

/** Puts `awslambda` in place, which streaming functions use while they load. */
function defineGlobals(invokeStore) {
  if (["1", "true"].includes(process.env.AWS_LAMBDA_NODEJS_NO_GLOBAL_AWSLAMBDA)) return;
  globalThis.awslambda = {
    ...globalThis.awslambda,
    ...(invokeStore && { InvokeStore: invokeStore }),
    streamifyResponse(handler, options) {
      handler[STREAMING] = "response";
      if (typeof options?.highWaterMark === "number") handler[HIGH_WATER_MARK] = parseInt(options.highWaterMark, 10);
      return handler;
    },
    get HttpResponseStream() {
      return require("./streaming.cjs").HttpResponseStream;
    },
  };
}

/** Loads the handler `directory/module.export[.nested]` that the environment names. */
async function loadHandler(requireFrom, isModern) {
  const taskRoot = process.env.LAMBDA_TASK_ROOT ?? process.cwd();
  const name = process.env._HANDLER ?? "";
  if (name.includes("..")) {
    throw platformError(
      "MalformedHandlerName",
      `'${name}' is not a valid handler name. Use absolute paths when specifying root directories in handler names.`,
      isModern,
    );
  }
  const base = path.basename(name);
  const directory = name.slice(0, name.indexOf(base));
  const dot = base.indexOf(".");
  if (dot < 0) throw platformError("MalformedHandlerName", "Bad handler", isModern);
  const moduleName = base.slice(0, dot);
  const exportPath = base.slice(dot + 1).split(".");

  const loadModule = isModern ? loadModernModule : loadClassicModule;
  const loaded = await explainFailure(loadModule(requireFrom, taskRoot, directory, moduleName), isModern);
  const find = (from) => exportPath.reduce((value, key) => (value ? value[key] : value), from);
  const handler = find(loaded) || (isModern && find(loaded.default));
  if (!handler) throw platformError("HandlerNotFound", `${name} is undefined or not exported`, isModern);
  if (typeof handler !== "function") throw platformError("HandlerNotFound", `${name} is not a function`, isModern);
  return handler;
}

/** How a handler wants to be called. */
function describeHandler(handler, isModern) {
  const mark = handler[STREAMING];
  if (mark && mark !== "response") {
    throw platformError("MalformedStreamingHandler", "Only response streaming is supported.", isModern);
  }
  return { streaming: Boolean(mark), highWaterMark: parseInt(handler[HIGH_WATER_MARK], 10) || undefined };
}

// === Failures ===

/** Says that the function cannot be initialised, and exits. */
function failInit(api, error, code) {
  hintAtSdk(error);
  const { body, headers } = initReport(error);
  api.postAndExit("init/error", body, headers, code);
}

/** Says that the function cannot be initialised; resolves when the Runtime API has heard it. */
function reportInitError(api, error) {
  hintAtSdk(error);
  const { body, headers } = initReport(error);
  return api.post("init/error", body, headers);
}

function initReport(error) {
  const document = errorDocument(error);
  const errorType = String(document.errorType).replace(/[^\x20-\x7e]/g, "?");
  return { body: JSON.stringify(document), headers: `Lambda-Runtime-Function-Error-Type: ${errorType}\r\n` };
}

/** Says in the log how to get the AWS SDK, if that is what the function misses. */
function hintAtSdk(error) {
  const missing = /Cannot find (?:module|package) '(@aws-sdk\/[^'/]+)/.exec(error?.message ?? "")?.[1];
  if (missing === undefined) return;
  const installed = `nodejs${process.versions.node.split(".")[0]}.x`;
  const runtime = process.env.AWS_EXECUTION_ENV?.replace("AWS_Lambda_", "") || installed;
  writeNote(`hothouse: ${missing} is not installed for functions; run: hothouse runtimes sync ${runtime}`);
}

// === Modules ===

async function explainFailure(loading, isModern) {
  try {
    return await loading;
  } catch (error) {
    if (error instanceof SyntaxError) {
      const explained = platformError("UserCodeSyntaxError", String(error), isModern);
      if (isModern) explained.stack = error.stack;
      throw explained;
    }
    if (error?.code === "MODULE_NOT_FOUND") throw platformError("ImportModuleError", String(error), isModern);
    throw error;
  }
}

/** Up to Node.js 22: CommonJS unless the file or the nearest package.json says otherwise. */
async function loadClassicModule(requireFrom, taskRoot, directory, moduleName) {
  const file = path.resolve(taskRoot, directory, moduleName);
  const requireIfThere = (name) => (existsSync(name) ? requireFrom(name) : undefined);
  const importIfThere = async (name) => (existsSync(name) ? importFile(name) : undefined);

  const extensionless = requireIfThere(file);
  if (extensionless) return extensionless;
  const isModule = existsSync(`${file}.js`) && isModulePackage(path.dirname(file));
  return (
    (isModule ? await importIfThere(`${file}.js`) : requireIfThere(`${file}.js`)) ||
    (await importIfThere(`${file}.mjs`)) ||
    requireIfThere(`${file}.cjs`) ||
    requireFrom(requireFrom.resolve(moduleName, { paths: [taskRoot, directory] }))
  );
}

/** Since Node.js 24: Node.js itself decides what kind of module a file is. */
async function loadModernModule(requireFrom, taskRoot, directory, moduleName) {
  const file = path.resolve(taskRoot, directory, moduleName);
  for (const extension of ["", ".js", ".mjs", ".cjs"]) {
    const loaded = existsSync(file + extension) && (await importFile(file + extension));
    if (loaded) return loaded;
  }
  const paths = [taskRoot, path.join(taskRoot, directory)];
  return requireFrom(requireFrom.resolve(moduleName, { paths }));
}

function importFile(file) {
  require("./module_search.cjs").extendModuleSearch(file);
  return import(pathToFileURL(file).href);
}

/** Whether the nearest package.json makes `.js` files ES modules. */
function isModulePackage(directory) {
  if (directory.endsWith("/node_modules")) return false;
  const file = path.join(directory, "package.json");
  if (existsSync(file)) {
    try {
      return JSON.parse(readFileSync(file, "utf8")).type === "module";
    } catch (error) {
      console.warn(`${file} cannot be read, it will be ignored for ES module detection purposes.`, error);
      return false;
    }
  }
  return directory !== "/" && isModulePackage(path.dirname(directory));
}

module.exports = { defineGlobals, describeHandler, failInit, loadHandler, reportInitError };
