// Greets whoever the event names, and logs what Lambda tells about the invocation.

let invocations = 0;

export const handler = async (event, context) => {
  invocations += 1;
  console.log("event:", event);
  console.info(`${context.functionName} has ${context.getRemainingTimeInMillis()} ms left`);
  if (event.name === "trouble") {
    throw new Error("there is trouble");
  }
  return {
    message: `Hello, ${event.name ?? "World"}!`,
    requestId: context.awsRequestId,
    invocationsOfThisEnvironment: invocations,
  };
};
