// The part of `module_search.cjs` that older versions of Node.js run in a thread for hooks.

let parents = [];

/** Takes the importers to pretend, one per directory of NODE_PATH. */
export async function initialize(data) {
  parents = data;
}

/** Resolves as usual, and a package that is not found, from the directories of NODE_PATH. */
export async function resolve(specifier, context, nextResolve) {
  try {
    return await nextResolve(specifier, context);
  } catch (error) {
    if (error.code !== "ERR_MODULE_NOT_FOUND" || /^(?:\.{0,2}\/|[a-z]+:)/i.test(specifier)) throw error;
    for (const parentURL of parents) {
      try {
        return await nextResolve(specifier, { ...context, parentURL });
      } catch {
        // Not in this directory; the first error tells the function's author more.
      }
    }
    throw error;
  }
}
