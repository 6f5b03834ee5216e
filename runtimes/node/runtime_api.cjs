"use strict";
// The connection to the Runtime API: HTTP/1.1 over the inherited socket or over TCP.
// Must not know handlers or events: bodies are text.

const { readSync, writeSync } = require("node:fs");
const net = require("node:net");

const { pause, writeAll } = require("./log.cjs");

const PREFIX = "/2018-06-01/runtime/";
const END_OF_HEAD = "\r\n\r\n";
const NOTHING = Buffer.alloc(0);
const READ_SIZE = 65536;
const KEPT_SIZE = 1024 * 1024;

// What is no longer than this is written past the streams of Node.js, and decoded at once.
const SMALL = 4096;
const MOST_BYTES_OF_A_CHARACTER = 3;

class RuntimeApi {
  #address = process.env.AWS_LAMBDA_RUNTIME_API;
  #inherited = false;
  #socket;
  #partial = new Received();
  #waiting = [];
  #acknowledgement = NOTHING;
  #asked = false;
  #receive;
  #outgoing = Buffer.allocUnsafeSlow(SMALL * MOST_BYTES_OF_A_CHARACTER);
  #nextRequest = `GET ${PREFIX}invocation/next HTTP/1.1\r\nHost: ${this.#address}\r\n\r\n`;

  constructor() {
    const announced = process.env._HOTHOUSE_RUNTIME_API;
    delete process.env._HOTHOUSE_RUNTIME_API;
    if (announced === undefined) {
      this.#connect();
      return;
    }
    const separator = announced.indexOf("@");
    const descriptor = Number(announced.slice(0, separator));
    const socket = new net.Socket({ fd: descriptor, readable: true, writable: true, onread: this.#reader() });
    // Something in between, a wrapper or an extension, may have put its own address in place.
    if (announced.slice(separator + 1) === this.#address) {
      this.#inherited = true;
      this.#use(socket);
    } else {
      socket.destroy();
      this.#connect();
    }
  }

  /** Asks for the next event; `receive(headers, body)` gets it. Keeps the process alive until then. */
  next(receive) {
    this.#send(this.#nextRequest);
    this.#await(receive);
  }

  /** Answers an invocation, `outcome` being `response` or `error`, and asks for the next event in one write. */
  answer(requestId, outcome, body, headers, receive) {
    this.#waiting.push(acknowledged);
    this.#send(this.#post(`invocation/${encodeURIComponent(requestId)}/${outcome}`, body, headers) + this.#nextRequest);
    this.#await(receive);
  }

  /** Begins a response whose body is written piece by piece to the returned socket; `done(reply)` follows its end. */
  stream(requestId, headers, done) {
    this.#waiting.push(done);
    this.#socket.ref();
    const path = `${PREFIX}invocation/${encodeURIComponent(requestId)}/response`;
    this.#socket.write(`POST ${path} HTTP/1.1\r\nHost: ${this.#address}\r\n${headers}Transfer-Encoding: chunked\r\n\r\n`);
    return this.#socket;
  }

  /** Whether the function's process stays alive while nothing but this connection is open. */
  keepAlive(stays) {
    if (stays) this.#socket.ref();
    else this.#socket.unref();
  }

  /** Posts a report; resolves when it is answered. */
  post(path, body, headers) {
    this.#socket.ref();
    this.#socket.write(this.#post(path, body, headers));
    return new Promise((resolve) => this.#waiting.push(resolve));
  }

  /** Reports a failure without the event loop if possible, so that nothing of the function runs any more, and exits. */
  postAndExit(path, body, headers, code) {
    const request = this.#post(path, body, headers);
    if (this.#socket.connecting) {
      this.#waiting.push(() => process.exit(code));
      this.#socket.ref();
      this.#socket.write(request);
      return;
    }
    // Behind a request that waits for an event nothing can be said any more: the platform sees the exit.
    const descriptor = this.#socket._handle?.fd;
    if (this.#waiting.length === 0 && this.#socket.writableLength === 0 && descriptor >= 0) {
      this.exchangeNow(request);
    }
    process.exit(code);
  }

  /** Writes bytes and waits for a reply, without the event loop. */
  exchangeNow(bytes) {
    try {
      const descriptor = this.#socket._handle.fd;
      writeAll(descriptor, Buffer.from(bytes));
      waitForBytes(descriptor);
    } catch {
      // The platform is gone; it needs no report.
    }
  }

  // === Requests ===

  #post(path, body, headers) {
    return (
      `POST ${path.startsWith("/") ? path : PREFIX + path} HTTP/1.1\r\nHost: ${this.#address}\r\n` +
      `Content-Type: application/json\r\n${headers}Content-Length: ${Buffer.byteLength(body)}\r\n\r\n${body}`
    );
  }

  #send(text) {
    const socket = this.#socket;
    let rest = text;
    if (this.#inherited && text.length <= SMALL && socket.writableLength === 0 && !socket.destroyed) {
      const length = this.#outgoing.write(text);
      let written = 0;
      try {
        written = writeSync(socket._handle.fd, this.#outgoing, 0, length);
      } catch {
        // The stream waits until there is room, or tells that the platform is gone.
      }
      if (written === length) return;
      rest = Buffer.from(this.#outgoing.subarray(written, length));
    }
    socket.write(rest);
  }

  #await(receive) {
    this.#asked = true;
    this.#receive = receive;
    this.#socket.ref();
    this.#waiting.push(this.#takeEvent);
  }

  #takeEvent = (reply) => {
    this.#asked = false;
    if (reply.status !== 200) {
      throw new Error(`Failed to get next invocation, error ${reply.status}`);
    }
    // From here on only the function's own work keeps the process alive: AWS's clients answer when that ends.
    this.#socket.unref();
    this.#receive(reply.headers, reply.body);
  };

  // === Connection ===

  #connect() {
    const [, host, port] = /^\[?(.*?)\]?:(\d+)$/.exec(this.#address);
    const socket = new net.Socket({ onread: this.#reader() });
    socket.connect({ host, port: Number(port), noDelay: true });
    this.#use(socket);
  }

  #use(socket) {
    this.#socket = socket;
    this.#partial = new Received();
    socket.on("error", () => {});
    socket.on("close", () => this.#closed(socket));
    socket.unref();
  }

  #closed(socket) {
    if (socket !== this.#socket) return;
    // A server may end a TCP connection after a reply; the request that was sent ahead is lost then.
    if (!this.#inherited && this.#asked && this.#waiting.length === 1 && socket.bytesRead > 0) {
      this.#connect();
      this.#socket.ref();
      this.#socket.write(this.#nextRequest);
      return;
    }
    process.exit(1);
  }

  /** Reads into one buffer, past the streams of Node.js: their work would stand in functions' stack traces. */
  #reader() {
    return {
      buffer: Buffer.allocUnsafeSlow(READ_SIZE),
      callback: (count, bytes) => {
        this.#read(bytes.subarray(0, count));
        return true;
      },
    };
  }

  #read(bytes) {
    const partial = this.#partial;
    let rest = partial.isEmpty ? bytes : partial.append(bytes);
    for (;;) {
      if (this.#waiting[0] === acknowledged && startsWith(rest, this.#acknowledgement)) {
        this.#waiting.shift();
        rest = rest.subarray(this.#acknowledgement.length);
      }
      const reply = rest.length === 0 ? undefined : parseReply(rest);
      if (reply === undefined) break;
      const whole = rest.subarray(0, reply.end);
      rest = rest.subarray(reply.end);
      if (reply.status < 200) continue;
      const closes = reply.headers.connection?.toLowerCase() === "close";
      if (closes && !this.#inherited) this.#socket.end();
      const take = this.#waiting.shift();
      // Most acknowledgements are the same bytes, which need no parsing.
      if (take === acknowledged && !closes) this.#acknowledgement = Buffer.from(whole);
      if (rest.length === 0) partial.clear();
      take(reply);
    }
    partial.keep(rest);
  }
}

/** Bytes of a reply that is not complete yet. */
class Received {
  #buffer = NOTHING;
  #length = 0;

  get isEmpty() {
    return this.#length === 0;
  }

  /** Adds bytes; returns all that is there. */
  append(bytes) {
    const length = this.#length + bytes.length;
    if (length > this.#buffer.length) {
      const larger = Buffer.allocUnsafeSlow(2 * length);
      this.#buffer.copy(larger, 0, 0, this.#length);
      this.#buffer = larger;
    }
    bytes.copy(this.#buffer, this.#length);
    this.#length = length;
    return this.#buffer.subarray(0, length);
  }

  /** Replaces what is there; `rest` may be a part of it. */
  keep(rest) {
    if (rest.length === 0) {
      this.clear();
    } else if (rest.length !== this.#length || rest.buffer !== this.#buffer.buffer) {
      const copy = Buffer.from(rest);
      this.clear();
      this.append(copy);
    }
  }

  clear() {
    this.#length = 0;
    // A large event must not cost memory for ever.
    if (this.#buffer.length > KEPT_SIZE) this.#buffer = NOTHING;
  }
}

/** What becomes of the reply to an answer: a refusal is the platform's to report. */
function acknowledged() {}

function startsWith(bytes, start) {
  return start.length > 0 && bytes.length >= start.length && start.compare(bytes, 0, start.length) === 0;
}

/** Parses one whole reply, or returns undefined if bytes are missing. */
function parseReply(bytes) {
  const text = bytes.length <= SMALL ? bytes.toString("utf8") : "";
  // If each byte is one character, a position in the text is the position in the bytes.
  const isPlain = text.length === bytes.length;
  const head = isPlain ? text.indexOf(END_OF_HEAD) : bytes.indexOf(END_OF_HEAD);
  if (head < 0) return undefined;
  const { status, headers } = parseHead(isPlain ? text.slice(0, head) : bytes.toString("utf8", 0, head));
  const start = head + END_OF_HEAD.length;
  if (headers["transfer-encoding"]?.toLowerCase() === "chunked") return parseChunks(bytes, start, status, headers);
  const end = start + Number(headers["content-length"] ?? 0);
  if (bytes.length < end) return undefined;
  const body = isPlain ? text.slice(start, end) : bytes.toString("utf8", start, end);
  return { status, headers, body, end };
}

function parseHead(head) {
  const headers = {};
  for (let line = head.indexOf("\r\n"); line >= 0; ) {
    const start = line + 2;
    line = head.indexOf("\r\n", start);
    const colon = head.indexOf(":", start);
    headers[head.slice(start, colon).toLowerCase()] = head.slice(colon + 1, line < 0 ? undefined : line).trim();
  }
  return { status: Number(head.slice(9, 12)), headers };
}

function parseChunks(bytes, start, status, headers) {
  const pieces = [];
  for (let position = start; ; ) {
    const line = bytes.indexOf("\r\n", position);
    if (line < 0) return undefined;
    const size = parseInt(bytes.toString("latin1", position, line), 16);
    position = line + 2;
    if (size === 0) {
      // Trailers, if any, end with an empty line.
      const end = bytes.indexOf(END_OF_HEAD, line);
      if (end < 0) return undefined;
      return { status, headers, body: Buffer.concat(pieces).toString("utf8"), end: end + END_OF_HEAD.length };
    }
    if (bytes.length < position + size + 2) return undefined;
    pieces.push(bytes.subarray(position, position + size));
    position += size + 2;
  }
}

/** Waits until the reply's first bytes are there. */
function waitForBytes(descriptor) {
  const bytes = Buffer.alloc(4096);
  for (;;) {
    try {
      readSync(descriptor, bytes);
      return;
    } catch (error) {
      if (error.code !== "EAGAIN") throw error;
      pause();
    }
  }
}

module.exports = { RuntimeApi };
