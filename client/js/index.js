'use strict';
// tally-client: sends usage events to tallyd and knows what became of them (index.d.ts says how).
//
// Events are gathered in a batch. Large or old enough, it is sealed into a frame (Forward protocol
// v1, PackedForward), whose bytes never change again. A frame is kept until the server acked it;
// after a lost connection all unacked frames go out again in their order. Id, time and chunk are
// filled in once, so the server counts nothing twice.
//
//     unacked: | in flight ... | waiting ... |     then: filling, the events of no frame yet
//              0               flying        unacked.length

const { randomUUID } = require('node:crypto');
const { EventEmitter, once } = require('node:events');
const net = require('node:net');
const { EVENT_MAX, INCOMPLETE, Reader, TallyError, must, pack, packHead, packText, packUint32,
  packed } = require('./msgpack.js');

const ANSWER_MAX = 2 ** 20;
const FRAME_BYTES = 512; // what a frame adds to its events, at most
const HEAD_BYTES = 12; // of these, what stands before the events
const DECIMAL = /^[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d+)?$/;
const MS_MAX = 2 ** 31 - 1;
const NUMBERS = { // default, least, greatest
  bufferBytes: [64 * 2 ** 20, 2 * EVENT_MAX, 2 ** 40], batchBytes: [256 * 1024, 1, 8 * 2 ** 20],
  batchEvents: [1000, 1, 65536], batchAgeMs: [50, 1, MS_MAX], inFlightBatches: [8, 1, 256],
  retryMinMs: [100, 1, MS_MAX], retryMaxMs: [10000, 1, MS_MAX],
  ackTimeoutMs: [30000, 1, MS_MAX], connectTimeoutMs: [5000, 1, MS_MAX] };

const isText = (text, most) => typeof text === 'string' && text && Buffer.byteLength(text) <= most;

function settingsRead({ server = '127.0.0.1:24224', backfill, onRefusal = () => {}, ...numbers }) {
  const [, path, host, port] = /^(?:unix:(.+)|\[?(.+?)\]?:(\d{1,5}))$/.exec(server) ?? [];
  must(path || (port > 0 && port < 65536), `server ${server} is not HOST:PORT or unix:PATH`);
  must(backfill === undefined || isText(backfill, 100), 'backfill is a name of 1-100 bytes');
  for (const name of Object.keys(numbers)) must(NUMBERS[name], `there is no option ${name}`);
  const address = path ? { path } : { host, port: Number(port) };
  const settings = { address, backfill: backfill && { backfill }, onRefusal };
  for (const [name, [usual, least, most]] of Object.entries(NUMBERS)) {
    const value = (settings[name] = numbers[name] ?? usual);
    const isGood = Number.isInteger(value) && value >= least && value <= most;
    must(isGood, `${name} is ${value}; it may be ${least} to ${most}`);
  }
  return settings;
}

// UUIDv7: milliseconds, then what is random in a UUIDv4.
function uuid7() {
  const ms = Date.now().toString(16).padStart(12, '0');
  return `${ms.slice(0, 8)}-${ms.slice(8)}-7${randomUUID().slice(15)}`;
}

function packEntry({ subject, type, id, source, value, time = Date.now(), properties }) {
  must(isText(subject, 255), 'subject is not a string of 1-255 bytes');
  must(isText(type, 100), 'type is not a string of 1-100 bytes');
  must(isText(id, 128), 'id is not a string of 1-128 bytes');
  must(!source || isText(source, 255), 'source is not a string of 0-255 bytes');
  const isNumber = typeof value === 'bigint' || Number.isFinite(value);
  const isDecimal = typeof value === 'string' && DECIMAL.test(value);
  must(value === undefined || isNumber || isDecimal, 'value is not a number');
  const us = typeof time === 'bigint' ? Number(time / 1000n) : Math.round(Number(time) * 1000);
  must(us >= 0 && us < 2 ** 32 * 1e6, 'time is not between 1970 and 2106');
  for (const key of ['subject', 'type', 'id', 'source', 'value'])
    must(!Object.hasOwn(properties ?? {}, key), `${key} is no name for a property`);
  packHead(0x92);
  packHead(0xd7, 0, 1);
  packUint32(Math.floor(us / 1e6));
  packUint32((us % 1e6) * 1000);
  const optional = { ...(source && { source }), ...(value !== undefined && { value }) };
  pack({ subject, type, id, ...optional, ...properties });
}

class Client {
  #settings; #pause;
  #entries = []; #size = 0; #ageTimer; // the batch being filled
  #unacked = []; #flying = 0; #sealed = 0;
  #socket = null; #timer; #received = Buffer.alloc(0);
  #late = () => this.#disconnect(this.#flying ? 'no ack in time' : 'no connection in time');
  #isClosing = false; #changes = new EventEmitter().setMaxListeners(0);
  #stats = { eventsSent: 0, eventsAcked: 0, eventsDuplicate: 0, eventsRejected: 0,
    eventsConflict: 0, eventsBuffered: 0, bufferedBytes: 0, batchesResent: 0, connects: 0,
    isConnected: false, lastError: '' };

  constructor(options = {}) {
    this.#settings = settingsRead(options);
    this.#pause = this.#settings.retryMinMs;
    this.#connect();
  }

  get stats() {
    return { ...this.#stats };
  }

  send(event) {
    const { bufferBytes, batchBytes, batchEvents, batchAgeMs } = this.#settings;
    if (this.#isClosing) throw new TallyError('TALLY_CLOSED', 'the client is closed');
    const id = event.id ?? uuid7();
    const entry = packed(() => packEntry({ ...event, id }));
    const bytes = this.#stats.bufferedBytes + entry.length + (this.#size === 0 ? FRAME_BYTES : 0);
    if (bytes > bufferBytes) throw new TallyError('TALLY_FULL', 'the buffer is full');
    this.#stats.bufferedBytes = bytes;
    this.#stats.eventsSent++;
    this.#stats.eventsBuffered++;
    this.#size += entry.length;
    if (this.#entries.push(entry) === 1) this.#ageTimer = setTimeout(() => this.#age(), batchAgeMs);
    if (this.#size >= batchBytes || this.#entries.length >= batchEvents) this.#seal();
    return id;
  }

  async sendWait(event, timeoutMs = 30000) {
    const deadline = performance.now() + timeoutMs;
    for (const timed = { time: Date.now(), ...event }; ; ) {
      try {
        return this.send(timed);
      } catch (error) {
        if (error.code !== 'TALLY_FULL' || !(await this.#change(deadline))) throw error;
      }
    }
  }

  async flush(timeoutMs = 30000) {
    const deadline = performance.now() + timeoutMs;
    this.#seal();
    for (const sealed = this.#sealed; this.#unacked[0]?.sequence <= sealed; ) {
      if (await this.#change(deadline)) continue;
      const { eventsBuffered, lastError } = this.#stats;
      throw new TallyError('TALLY_TIMEOUT', `${eventsBuffered} events are not acked; ${lastError}`);
    }
  }

  async close(timeoutMs = 5000) {
    this.#isClosing = true;
    await this.flush(timeoutMs).finally(() => {
      this.#disconnect('closed');
      this.#alarm(0);
      this.#changes.emit('change');
    });
  }

  // True at the next change, false when the time is over.
  #change(deadline) {
    const signal = AbortSignal.timeout(Math.max(0, Math.ceil(deadline - performance.now())));
    return once(this.#changes, 'change', { signal }).then(() => true, () => false);
  }

  // While nothing can be sent, the batch goes on filling.
  #age() {
    if (this.#stats.isConnected && this.#flying < this.#settings.inFlightBatches) this.#seal();
    else this.#ageTimer = setTimeout(() => this.#age(), this.#settings.batchAgeMs);
  }

  #seal() {
    const count = this.#entries.length;
    if (count === 0) return;
    const [chunk, size] = [uuid7(), this.#size];
    const tally = { results: true, ...this.#settings.backfill };
    const head = packed(() => [packHead(0x93), packText('tally'), packHead(0xc6, size, 4)]);
    const tail = packed(() => pack({ size: count, chunk, tally }));
    const frame = Buffer.concat([head, ...this.#entries, tail]);
    this.#unacked.push({ sequence: ++this.#sealed, chunk, count, size, frame, sends: 0 });
    clearTimeout(this.#ageTimer);
    this.#entries = [];
    this.#size = 0;
    this.#pump();
  }

  // Sends what may be sent. An idle client does not keep the process alive.
  #pump() {
    const { inFlightBatches, ackTimeoutMs } = this.#settings;
    const most = this.#stats.isConnected ? Math.min(inFlightBatches, this.#unacked.length) : 0;
    if (this.#flying === 0 && most > 0) this.#alarm(ackTimeoutMs, this.#late);
    while (this.#flying < most) {
      const batch = this.#unacked[this.#flying++];
      if (batch.sends++ > 0) this.#stats.batchesResent++;
      this.#socket.write(batch.frame);
    }
    const isIdle = this.#stats.eventsBuffered === 0;
    for (const handle of [this.#socket, this.#timer]) handle?.[isIdle ? 'unref' : 'ref']();
  }

  // One timer: for the next attempt, or for the end of an attempt or of the wait for an ack.
  #alarm(ms, action) {
    clearTimeout(this.#timer);
    if (ms > 0) this.#timer = setTimeout(action, ms);
  }

  #connect() {
    this.#socket = net.connect({ ...this.#settings.address, noDelay: true });
    this.#socket.on('error', (error) => this.#disconnect(error.message));
    this.#socket.on('close', () => this.#disconnect('the server closed the connection'));
    this.#socket.on('data', (data) => this.#receive(data));
    this.#socket.on('connect', () => {
      this.#alarm(0);
      this.#stats.connects++;
      Object.assign(this.#stats, { isConnected: true, lastError: '' });
      this.#pump();
    });
    this.#alarm(this.#settings.connectTimeoutMs, this.#late);
    this.#pump();
  }

  #disconnect(message) {
    this.#socket.removeAllListeners().on('error', () => {}).destroy();
    this.#received = Buffer.alloc(0);
    this.#flying = 0;
    Object.assign(this.#stats, { isConnected: false, lastError: message });
    this.#alarm(this.#pause * (1 - Math.random() / 2), () => this.#connect());
    this.#pause = Math.min(2 * this.#pause, this.#settings.retryMaxMs);
    this.#pump();
  }

  #receive(data) {
    const reader = new Reader(Buffer.concat([this.#received, data]));
    let kept = 0;
    try {
      must(reader.bytes.length <= ANSWER_MAX, 'the answer of the server does not end');
      for (; reader.at < reader.bytes.length; kept = reader.at) this.#settle(reader.any());
    } catch (error) {
      if (error !== INCOMPLETE) return this.#disconnect(error.message);
    }
    this.#received = reader.bytes.subarray(kept);
  }

  #settle({ ack, duplicates = 0, rejected = [], conflicts = [], ...counts }) {
    const at = this.#unacked.findIndex((batch) => batch.chunk === ack);
    must(at >= 0 && at < this.#flying, 'the server answered with something that is no ack');
    const [{ frame, size, count }] = this.#unacked.splice(at, 1);
    this.#alarm(--this.#flying && this.#settings.ackTimeoutMs, this.#late);
    this.#pause = this.#settings.retryMinMs;
    this.#stats.bufferedBytes -= size + FRAME_BYTES;
    this.#stats.eventsBuffered -= count;
    this.#stats.eventsAcked += count;
    this.#stats.eventsDuplicate += duplicates;
    this.#stats.eventsRejected += counts.rejected_count ?? rejected.length;
    this.#stats.eventsConflict += counts.conflicts_count ?? conflicts.length;
    const refused = [...rejected, ...conflicts.map((index) => [index, 'conflict', true])];
    if (refused.length > 0) this.#refuse(frame, count, refused);
    this.#pump();
    this.#changes.emit('change');
  }

  // A callback that throws must not end the reading of acks, hence the microtask.
  #refuse(frame, count, refused) {
    const reader = new Reader(frame.subarray(HEAD_BYTES));
    const events = Array.from({ length: count }, () => reader.any()[1]);
    for (const [index, reason, isConflict = false] of refused)
      queueMicrotask(() => this.#settings.onRefusal({ event: events[index], reason, isConflict }));
  }
}

module.exports = { Client, TallyError, uuid7 };
