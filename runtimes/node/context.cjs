"use strict";
// The context object that handlers receive, without the members that belong to one way of calling.

/** Members of the context that do not depend on how the handler is called. Sets the trace variable too. */
function readContext(headers, isModern) {
  const trace = headers["lambda-runtime-trace-id"];
  if (trace) process.env._X_AMZN_TRACE_ID = trace;
  else delete process.env._X_AMZN_TRACE_ID;
  const deadline = Number(headers["lambda-runtime-deadline-ms"]);
  const { env } = process;
  const fromHeaders = {
    clientContext: parseHeader(headers, "lambda-runtime-client-context", "ClientContext", isModern),
    identity: parseHeader(headers, "lambda-runtime-cognito-identity", "CognitoIdentity", isModern),
    invokedFunctionArn: headers["lambda-runtime-invoked-function-arn"],
    awsRequestId: headers["lambda-runtime-aws-request-id"],
    tenantId: headers["lambda-runtime-aws-tenant-id"],
    ...(isModern && { xRayTraceId: trace }),
    getRemainingTimeInMillis: () => deadline - Date.now(),
  };
  const fromVariables = {
    functionVersion: env.AWS_LAMBDA_FUNCTION_VERSION,
    functionName: env.AWS_LAMBDA_FUNCTION_NAME,
    memoryLimitInMB: env.AWS_LAMBDA_FUNCTION_MEMORY_SIZE,
    logGroupName: env.AWS_LAMBDA_LOG_GROUP_NAME,
    logStreamName: env.AWS_LAMBDA_LOG_STREAM_NAME,
  };
  // Functions that log the whole context see the members in AWS's order.
  if (isModern) {
    const { functionVersion, functionName, ...rest } = fromVariables;
    return { ...fromHeaders, functionName, functionVersion, ...rest };
  }
  return { ...fromVariables, ...fromHeaders };
}

function parseHeader(headers, header, name, isModern) {
  const text = headers[header];
  if (!text) return undefined;
  try {
    return JSON.parse(text);
  } catch (error) {
    throw new Error(
      isModern ? `Failed to parse ${header} as JSON: ${error.message}` : `Cannot parse ${name} as json: ${error}`,
    );
  }
}

module.exports = { readContext };
