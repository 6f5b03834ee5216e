// Does what its event says, so that one function serves many tests.
'use strict';

let calls = 0;

const sleep = (seconds) => new Promise((resolve) => setTimeout(resolve, seconds * 1000));

const actions = {
  echo: (event) => event,
  identify: (event, context) => ({ environment: context.logStreamName, pid: process.pid, calls }),
  context: (event, context) => ({ ...context, remaining: context.getRemainingTimeInMillis() }),
  environment: () => ({ ...process.env }),
  sleep: async (event, context) => {
    await sleep(event.seconds);
    return actions.identify(event, context);
  },
  fail: (event) => {
    throw new RangeError(event.message ?? 'on purpose');
  },
  leave: (event) => process.exit(event.code),
  // An error that no handler sees: it comes from the event loop.
  burst: () =>
    new Promise(() => {
      setTimeout(() => {
        throw new Error('out of nowhere');
      }, 0);
    }),
  say: (event) => {
    event.lines.forEach((line) => console.log(line));
    console.error('to stderr');
    return event.lines.length;
  },
};

exports.handler = async (event, context) => {
  calls += 1;
  return actions[event?.do ?? 'echo'](event, context);
};
