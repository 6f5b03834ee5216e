"use strict";
// AWS's client since Node.js 24: promises and plain return values; no callbacks, no waiting for an idle event loop.
// Must not handle uncaught errors: Node.js ends the process, as on AWS.

const { readContext } = require("./context.cjs");
const { platformError } = require("./errors.cjs");
const { defineGlobals, describeHandler, loadHandler, reportInitError } = require("./handler.cjs");
const { logError } = require("./log.cjs");
const { InvocationLoop, serialize } = require("./loop.cjs");

const CALLBACKS_REMOVED =
  "ERROR: AWS Lambda has removed support for callback-based function handlers starting with Node.js 24. You need to modify this function to use a supported handler signature to use Node.js 24 or later. For more information see https://docs.aws.amazon.com/lambda/latest/dg/nodejs-handler.html.";

/** Loads the handler and serves events. */
async function run(api, requireFrom) {
  const store = new InvokeStore();
  let handler;
  let metadata;
  try {
    defineGlobals(store);
    handler = await loadHandler(requireFrom, true);
    metadata = describeHandler(handler, true);
    if (handler.length >= 3 && !metadata.streaming) {
      throw platformError("CallbackHandlerDeprecated", CALLBACKS_REMOVED, true);
    }
  } catch (error) {
    logError("Init Error", error);
    await reportInitError(api, error);
    throw error;
  }
  const Processor = metadata.streaming ? StreamingInvokeProcessor : BufferedInvokeProcessor;
  new Processor(api, handler, metadata, store).askNext();
}

class InvokeProcessor extends InvocationLoop {
  constructor(api, handler, metadata, store) {
    super(api, handler, metadata);
    this.store = store;
  }

  async handleOnce(headers, body) {
    // Leaves the socket's callback, whose frames would stand in the function's stack traces.
    await null;
    const context = readContext(headers, true);
    const event = JSON.parse(body);
    const fields = {
      [InvokeStore.PROTECTED_KEYS.REQUEST_ID]: context.awsRequestId,
      [InvokeStore.PROTECTED_KEYS.X_RAY_TRACE_ID]: context.xRayTraceId,
      [InvokeStore.PROTECTED_KEYS.TENANT_ID]: context.tenantId,
    };
    await this.store.run(fields, () => this.processInvoke(context, event));
  }
}

class BufferedInvokeProcessor extends InvokeProcessor {
  async processInvoke(context, event) {
    const { requestId } = this;
    try {
      const result = await this.handler(event, context);
      await afterPendingWork();
      const createError = () => platformError("JSONStringifyError", "Unable to stringify response body", true);
      this.postResponse(requestId, serialize(result, createError));
    } catch (error) {
      await afterPendingWork();
      this.postError(requestId, error);
    }
  }
}

class StreamingInvokeProcessor extends InvokeProcessor {
  async processInvoke(context, event) {
    const { ResponseStream } = require("./streaming.cjs");
    const stream = new ResponseStream(this);
    this.api.keepAlive(true);
    try {
      const returned = this.handler(event, stream, context);
      if (typeof returned !== "object" || typeof returned?.then !== "function") {
        throw new Error("Streaming does not support non-async handlers.");
      }
      if ((await returned) !== undefined) console.warn("Streaming handlers ignore return values.");
      await stream.answered;
    } catch (error) {
      await afterPendingWork();
      logError("Invoke Error", error);
      await new Promise((resolve) => stream.fail(error, resolve));
    }
    this.askNext();
  }
}

/** AWS answers one turn of the event loop later, so that what is due now still belongs to the invocation. */
function afterPendingWork() {
  return new Promise((resolve) => setImmediate(resolve));
}

/** What `@aws/lambda-invoke-store` finds as `awslambda.InvokeStore`: fields of the current invocation. */
class InvokeStore {
  static PROTECTED_KEYS = {
    REQUEST_ID: Symbol.for("_AWS_LAMBDA_REQUEST_ID"),
    X_RAY_TRACE_ID: Symbol.for("_AWS_LAMBDA_X_RAY_TRACE_ID"),
    TENANT_ID: Symbol.for("_AWS_LAMBDA_TENANT_ID"),
  };

  #fields = undefined;

  /** Runs `action` with `fields` as the current invocation's. */
  run(fields, action) {
    this.#fields = fields;
    return action();
  }

  getContext() {
    return this.#fields;
  }

  hasContext() {
    return this.#fields !== undefined;
  }

  get(key) {
    return this.#fields?.[key];
  }

  set(key, value) {
    if (Object.values(InvokeStore.PROTECTED_KEYS).includes(key)) {
      throw new Error(`Cannot modify protected Lambda context field: ${String(key)}`);
    }
    this.#fields ??= {};
    this.#fields[key] = value;
  }

  getRequestId() {
    return this.get(InvokeStore.PROTECTED_KEYS.REQUEST_ID) ?? "-";
  }

  getXRayTraceId() {
    return this.get(InvokeStore.PROTECTED_KEYS.X_RAY_TRACE_ID);
  }

  getTenantId() {
    return this.get(InvokeStore.PROTECTED_KEYS.TENANT_ID);
  }
}

module.exports = { run };
