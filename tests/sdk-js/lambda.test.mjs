// The AWS SDK for JavaScript v3 against the running binary: a function's life as this SDK sees it.
import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { createServer } from 'node:net';
import { createInterface } from 'node:readline';
import { after, before, test } from 'node:test';
import { crc32 } from 'node:zlib';

import {
  CreateAliasCommand,
  CreateFunctionCommand,
  DeleteFunctionCommand,
  GetFunctionCommand,
  InvokeCommand,
  InvokeWithResponseStreamCommand,
  LambdaClient,
  PublishVersionCommand,
  TagResourceCommand,
  UpdateFunctionConfigurationCommand,
  paginateListFunctions,
  waitUntilFunctionActiveV2,
  waitUntilFunctionUpdatedV2,
} from '@aws-sdk/client-lambda';

const role = 'arn:aws:iam::000000000000:role/test';
const source = `
exports.handler = async (event) => {
  if (event.fail) throw new RangeError('on purpose');
  console.log('hello from inside');
  return { event, greeting: process.env.GREETING ?? null };
};
`;

// Goes on once the function has a tag.
const streaming = `
const { get } = require('node:http');
const tagged = (arn) => new Promise((resolve, reject) => {
  get(process.env.AWS_ENDPOINT_URL + '/2017-03-31/tags/' + encodeURIComponent(arn), (response) => {
    let body = '';
    response.on('data', (data) => (body += data)).on('end', () => resolve('go' in JSON.parse(body).Tags));
  }).on('error', reject);
});
exports.handler = awslambda.streamifyResponse(async (event, stream, context) => {
  stream.write('first');
  while (!(await tagged(context.invokedFunctionArn))) await new Promise((resolve) => setTimeout(resolve, 20));
  stream.write('second');
  if (event.fail) throw new RangeError('midway');
  stream.end();
});
`;

let service;
let client;

/** A zip with one stored file: enough for a function, and no package is needed to write it. */
function archive(name, text) {
  const [file, data] = [Buffer.from(name), Buffer.from(text)];
  const common = Buffer.alloc(26);
  common.writeUInt16LE(20, 0);
  common.writeUInt32LE(crc32(data), 10);
  common.writeUInt32LE(data.length, 14);
  common.writeUInt32LE(data.length, 18);
  common.writeUInt16LE(file.length, 22);
  const local = Buffer.concat([Buffer.from('PK\x03\x04'), common, file, data]);
  const central = Buffer.concat([Buffer.from('PK\x01\x02\x14\x03'), common, Buffer.alloc(14), file]);
  central.writeUInt32LE((0o100644 << 16) >>> 0, 38);
  const end = Buffer.alloc(22);
  end.write('PK\x05\x06', 'latin1');
  end.writeUInt16LE(1, 8);
  end.writeUInt16LE(1, 10);
  end.writeUInt32LE(central.length, 12);
  end.writeUInt32LE(local.length, 16);
  return Buffer.concat([local, central, end]);
}

async function freePort() {
  const server = createServer().listen(0, '127.0.0.1');
  await once(server, 'listening');
  const { port } = server.address();
  server.close();
  await once(server, 'close');
  return port;
}

async function create(name, code = source) {
  await client.send(
    new CreateFunctionCommand({
      FunctionName: name,
      Runtime: 'nodejs22.x',
      Handler: 'main.handler',
      Role: role,
      Timeout: 20,
      Code: { ZipFile: archive('main.js', code) },
    }),
  );
  await waitUntilFunctionActiveV2({ client, maxWaitTime: 20, minDelay: 0.05, maxDelay: 0.1 }, { FunctionName: name });
}

async function invoke(name, event, more = {}) {
  const answer = await client.send(new InvokeCommand({ FunctionName: name, Payload: JSON.stringify(event), ...more }));
  return { ...answer, text: answer.Payload.transformToString() };
}

before(async () => {
  const endpoint = `127.0.0.1:${await freePort()}`;
  service = spawn(process.env.HOTHOUSE_TEST_BINARY, ['start', '--ephemeral', '--listen', endpoint], {
    stdio: ['ignore', 'pipe', 'inherit'],
  });
  const lines = createInterface({ input: service.stdout });
  await new Promise((resolve, reject) => {
    lines.on('line', (line) => line === 'Ready.' && resolve());
    service.once('exit', (code) => reject(new Error(`ended with ${code} before it was ready`)));
  });
  client = new LambdaClient({
    endpoint: `http://${endpoint}`,
    region: 'us-east-1',
    credentials: { accessKeyId: 'test', secretAccessKey: 'test' },
    maxAttempts: 1,
  });
});

after(async () => {
  client?.destroy();
  if (service?.exitCode === null) {
    service.kill('SIGTERM');
    const [code] = await once(service, 'exit');
    assert.equal(code, 0);
  }
});

test('a function lives from create to delete', async () => {
  await create('life');
  const first = await invoke('life', { n: 1 }, { LogType: 'Tail' });
  assert.equal(first.FunctionError, undefined);
  assert.equal(first.ExecutedVersion, '$LATEST');
  assert.deepEqual(JSON.parse(first.text), { event: { n: 1 }, greeting: null });
  const tail = Buffer.from(first.LogResult, 'base64').toString();
  assert.match(tail, /^START RequestId: [0-9a-f-]{36} Version: \$LATEST$/m);
  assert.match(tail, /\tINFO\thello from inside$/m);
  assert.match(tail, /^REPORT RequestId: .*\tInit Duration: [0-9.]+ ms\t$/m);

  await client.send(
    new UpdateFunctionConfigurationCommand({ FunctionName: 'life', Environment: { Variables: { GREETING: 'moin' } } }),
  );
  await waitUntilFunctionUpdatedV2({ client, maxWaitTime: 20, minDelay: 0.05, maxDelay: 0.1 }, { FunctionName: 'life' });
  assert.equal(JSON.parse((await invoke('life', {})).text).greeting, 'moin');

  const { Version } = await client.send(new PublishVersionCommand({ FunctionName: 'life' }));
  assert.equal(Version, '1');
  await client.send(new CreateAliasCommand({ FunctionName: 'life', Name: 'live', FunctionVersion: '1' }));
  assert.equal((await invoke('life:live', {})).ExecutedVersion, '1');

  const names = [];
  for await (const page of paginateListFunctions({ client }, {})) {
    names.push(...page.Functions.map((one) => one.FunctionName));
  }
  assert.ok(names.includes('life'));

  await client.send(new DeleteFunctionCommand({ FunctionName: 'life' }));
  await assert.rejects(client.send(new GetFunctionCommand({ FunctionName: 'life' })), {
    name: 'ResourceNotFoundException',
    message: 'Function not found: arn:aws:lambda:us-east-1:000000000000:function:life',
  });
});

test('a function that throws answers 200 with its error', async () => {
  await create('throws');
  const answer = await invoke('throws', { fail: true });
  assert.equal(answer.StatusCode, 200);
  assert.equal(answer.FunctionError, 'Unhandled');
  const error = JSON.parse(answer.text);
  assert.equal(error.errorType, 'RangeError');
  assert.equal(error.errorMessage, 'on purpose');
  assert.ok(Array.isArray(error.trace));
});

test('an answer as a stream of events', async () => {
  await create('streams');
  const stream = async (event, more = {}) => {
    const command = { FunctionName: 'streams', Payload: JSON.stringify(event), ...more };
    const answer = await client.send(new InvokeWithResponseStreamCommand(command));
    assert.equal(answer.StatusCode, 200);
    const events = [];
    for await (const event of answer.EventStream) events.push(event);
    const end = events.pop().InvokeComplete;
    return { body: Buffer.concat(events.map((event) => event.PayloadChunk.Payload)).toString(), end };
  };
  const { body, end } = await stream({ n: 1 }, { LogType: 'Tail' });
  assert.deepEqual(JSON.parse(body), { event: { n: 1 }, greeting: null });
  assert.match(Buffer.from(end.LogResult, 'base64').toString(), /hello from inside/);
  assert.equal(end.ErrorCode, undefined);
  // Longer than one chunk.
  const text = 'ä'.repeat(1024 * 1024);
  assert.equal(JSON.parse((await stream({ text })).body).event.text, text);
  const failed = await stream({ fail: true });
  assert.deepEqual([failed.body, failed.end.ErrorCode], ['', 'Unhandled']);
  assert.equal(JSON.parse(failed.end.ErrorDetails).errorType, 'RangeError');
});

test('a stream is read while the function writes it', async () => {
  await create('streamed', streaming);
  const begin = async (event) => {
    const command = { FunctionName: 'streamed', Payload: JSON.stringify(event) };
    const { EventStream } = await client.send(new InvokeWithResponseStreamCommand(command));
    return EventStream[Symbol.asyncIterator]();
  };
  const text = ({ value }) => Buffer.from(value.PayloadChunk.Payload).toString();
  const answers = [await begin({}), await begin({ fail: true })];
  for (const answer of answers) assert.equal(text(await answer.next()), 'first');
  await client.send(
    new TagResourceCommand({
      Resource: 'arn:aws:lambda:us-east-1:000000000000:function:streamed',
      Tags: { go: 'yes' },
    }),
  );
  for (const answer of answers) assert.equal(text(await answer.next()), 'second');
  const [well, failed] = await Promise.all(answers.map(async (answer) => (await answer.next()).value.InvokeComplete));
  assert.equal(well.ErrorCode, undefined);
  assert.equal(failed.ErrorCode, 'RangeError');
  assert.equal(JSON.parse(failed.ErrorDetails).errorMessage, 'midway');
});

test('errors are of the modelled kinds', async () => {
  await create('errors');
  await assert.rejects(invoke('nobody', {}), { name: 'ResourceNotFoundException' });
  await assert.rejects(create('errors'), { name: 'ResourceConflictException' });
  await assert.rejects(client.send(new InvokeCommand({ FunctionName: 'errors', Payload: '{' })), {
    name: 'InvalidRequestContentException',
  });
});
