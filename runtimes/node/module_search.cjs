"use strict";
// Lets ES modules find packages through NODE_PATH too: AWS's Node.js does, so that layers and its SDK can be imported.
// Must not change what resolves without it.

const { existsSync, readFileSync } = require("node:fs");
const nodeModule = require("node:module");
const path = require("node:path");
const { pathToFileURL } = require("node:url");

/** Prepares the import of `file`, if that may need packages of NODE_PATH. */
function extendModuleSearch(file) {
  const parents = (process.env.NODE_PATH ?? "")
    .split(path.delimiter)
    .filter((directory) => path.basename(directory) === "node_modules" && existsSync(directory))
    // A package in `x/node_modules` is found from any file in `x`.
    .map((directory) => pathToFileURL(path.join(path.dirname(directory), "importer.mjs")).href);
  if (parents.length === 0) return;
  if (nodeModule.registerHooks !== undefined) {
    nodeModule.registerHooks({
      resolve: (specifier, context, nextResolve) => resolveSync(parents, specifier, context, nextResolve),
    });
  } else if (nodeModule.register !== undefined && mayImportPackages(file)) {
    // Older versions of Node.js run hooks in a thread of their own, which costs more than most functions' start.
    nodeModule.register("./module_search_hooks.mjs", pathToFileURL(__filename), { data: parents });
  }
}

function resolveSync(parents, specifier, context, nextResolve) {
  try {
    return nextResolve(specifier, context);
  } catch (error) {
    if (error.code !== "ERR_MODULE_NOT_FOUND" || !isBare(specifier)) throw error;
    for (const parentURL of parents) {
      try {
        return nextResolve(specifier, { ...context, parentURL });
      } catch {
        // Not in this directory; the first error tells the function's author more.
      }
    }
    throw error;
  }
}

function isBare(specifier) {
  return !/^(?:\.{0,2}\/|[a-z]+:)/i.test(specifier);
}

/** Whether the source imports anything but built-in modules. Modules of its own may import packages in turn. */
function mayImportPackages(file) {
  let source;
  try {
    source = readFileSync(file, "utf8");
  } catch {
    return true;
  }
  if (/\bimport\s*\(\s*[^"'\s]/.test(source)) return true;
  for (const [, specifier] of source.matchAll(/\b(?:from|import)\s*\(?\s*["']([^"']+)["']/g)) {
    if (!nodeModule.isBuiltin(specifier)) return true;
  }
  return false;
}

module.exports = { extendModuleSearch };
