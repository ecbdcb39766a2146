'use strict';
// Sends usage events to tallyd and knows what became of them (index.d.ts says how). A sealed batch
// is a frame whose bytes, ids and times never change; it is sent until acked, and counts once.
const { randomUUID } = require('node:crypto');
const { once } = require('node:events');
const net = require('node:net');
const { setTimeout: sleep } = require('node:timers/promises');
const tls = require('node:tls');
const { handshake, messagesOf, must, pack, unpack } = require('./wire.js');

const FRAME_BYTES = 512; // what a frame adds to its events, at most
const HEAD = Buffer.from('\x93\xa5tally\xc6\0\0\0\0', 'latin1'); // it ends with their size
const DEFAULTS = { server: '127.0.0.1:24224', bufferBytes: 2 ** 26, batchBytes: 2 ** 18,
  batchEvents: 1000, batchAgeMs: 50, inFlightBatches: 8, ackTimeoutMs: 30000,
  connectTimeoutMs: 5000, retryMinMs: 100, retryMaxMs: 10000, onRefusal: () => {} };

function addressOf(server) {
  const [, path, host, port] = /^(?:unix:(.+)|\[?(.+?)\]?:(\d{1,5}))$/.exec(server.trim()) ?? [];
  must(path || (port > 0 && port < 65536), `server ${server} is not HOST:PORT or unix:PATH`);
  return path ? { path } : { host, port };
}

function uuid7() {
  const ms = Date.now().toString(16).padStart(12, '0');
  return `${ms.slice(0, 8)}-${ms.slice(8)}-7${randomUUID().slice(15)}`;
}

// [EventTime, record]. What else can be wrong with it the server says (onRefusal).
function entryOf({ subject, type, id, source, value, time = Date.now(), properties = {} }) {
  const record = { subject, type, id, source, value };
  must(subject && type, 'subject or type is missing');
  for (const name in record) must(!(name in properties), `${name} is no name for a property`);
  const us = typeof time === 'bigint' ? Number(time / 1000n) : Math.round(Number(time) * 1000);
  must(us >= 0 && us < 2 ** 32 * 1e6, 'time is not between 1970 and 2106');
  const head = Buffer.of(0x92, 0xd7, 0, 0, 0, 0, 0, 0, 0, 0, 0);
  head.writeUInt32BE((us % 1e6) * 1000, head.writeUInt32BE(us / 1e6, 3));
  return pack({ ...record, ...properties }, head);
}

class Client {
  #settings; #isClosing = false; #isStopped = false;
  #entries = []; #size = 0; #ageTimer; // the batch being filled
  #unacked = []; #flying = 0; #socket; #failures = 0; // the first `flying` of unacked were sent
  #keeper = setInterval(() => {}, 2 ** 30).unref(); // while something is unacked, we stay
  stats = { eventsSent: 0, eventsAcked: 0, eventsDuplicate: 0, eventsRejected: 0,
    eventsConflict: 0, eventsBuffered: 0, bufferedBytes: 0, batchesResent: 0, connects: 0,
    isConnected: false, lastError: '' };

  constructor(options = {}) {
    const settings = (this.#settings = { ...DEFAULTS, ...options });
    for (const name of Object.keys(DEFAULTS).slice(1, -1))
      must(settings[name] >= 1, `${name} cannot be ${settings[name]}`);
    settings.addresses = settings.server.split(',').map(addressOf);
    this.#run();
  }

  send({ id = uuid7(), ...event }) {
    const { bufferBytes, batchBytes, batchEvents, batchAgeMs } = this.#settings;
    must(!this.#isClosing, 'the client is closed', 'TALLY_CLOSED');
    const entry = entryOf({ id, ...event });
    const bytes = this.stats.bufferedBytes + entry.length + (this.#size === 0 ? FRAME_BYTES : 0);
    must(bytes <= bufferBytes, 'the buffer is full', 'TALLY_FULL');
    if (this.#size === 0) this.#ageTimer = setInterval(() => this.#pump(true), batchAgeMs);
    this.#size += entry.length;
    this.stats.bufferedBytes = bytes;
    this.stats.eventsSent++;
    this.stats.eventsBuffered++;
    if (this.#entries.push(entry) >= batchEvents || this.#size >= batchBytes) this.#seal();
    return id;
  }

  async sendWait({ time = Date.now(), ...event }, timeoutMs = 30000) {
    for (const late = sleep(timeoutMs, true, { ref: false }); ; ) {
      try {
        return this.send({ time, ...event });
      } catch (error) {
        if (error.code !== 'TALLY_FULL') throw error;
        this.#seal();
        if (await Promise.race([this.#unacked[0]?.acked ?? true, late])) throw error;
      }
    }
  }

  async flush(timeoutMs = 30000) {
    this.#seal();
    const acks = Promise.all(this.#unacked.map(({ acked }) => acked)).then(() => false);
    const isLate = await Promise.race([acks, sleep(timeoutMs, true, { ref: false })]);
    const { eventsBuffered: left, lastError } = this.stats;
    must(!isLate, `${left} events are not acked; ${lastError}`, 'TALLY_TIMEOUT');
  }

  async close(timeoutMs = 5000) {
    this.#isClosing = true;
    await this.flush(timeoutMs).finally(() => {
      this.#isStopped = true;
      this.#socket?.destroy(new Error('closed'));
      clearInterval(this.#keeper);
    });
  }

  #seal() {
    const [count, size, chunk] = [this.#entries.length, this.#size, uuid7()];
    if (count === 0) return;
    const tally = { results: true, backfill: this.#settings.backfill };
    const frame = Buffer.concat([HEAD, ...this.#entries, pack({ size: count, chunk, tally })]);
    frame.writeUInt32BE(size, HEAD.length - 4);
    const batch = { chunk, count, frame, size, sends: 0 };
    batch.acked = new Promise((resolve) => Object.assign(batch, { resolve }));
    this.#unacked.push(batch);
    clearInterval(this.#ageTimer);
    [this.#entries, this.#size] = [[], 0];
    this.#pump();
  }

  // Sends what may be sent. While nothing may be, the batch goes on filling.
  #pump(isOld = false) {
    const { inFlightBatches, ackTimeoutMs } = this.#settings;
    this.#keeper[this.stats.eventsBuffered > 0 ? 'ref' : 'unref']();
    if (!this.stats.isConnected) return;
    if (isOld && this.#unacked.length < inFlightBatches) this.#seal();
    for (const batch of this.#unacked.slice(this.#flying, inFlightBatches)) {
      this.#flying++;
      if (batch.sends++ > 0) this.stats.batchesResent++;
      this.#socket.setTimeout(ackTimeoutMs).write(batch.frame);
    }
  }

  // The next server at once; when all failed in turn, after a pause that grows until an ack.
  async #run() {
    const { addresses, retryMinMs, retryMaxMs } = this.#settings;
    for (let turn = 0; !this.#isStopped; turn++) {
      const why = await this.#serve(addresses[turn % addresses.length]).catch((error) => error);
      Object.assign(this.stats, { isConnected: false, lastError: why.message });
      this.#socket?.destroy();
      this.#flying = 0;
      const rounds = ++this.#failures / addresses.length;
      const pause = Math.min(retryMinMs * 2 ** (rounds - 1), retryMaxMs) * (1 - Math.random() / 2);
      if (Number.isInteger(rounds)) await sleep(pause, null, { ref: false });
    }
  }

  // Until the connection ends. A unix socket has no TLS, and no HELO for tallyd's own user.
  async #serve({ path, host, port }) {
    const { tls: secure, sharedKey, connectTimeoutMs } = this.#settings;
    const [dial, ready] = secure && host ? [tls, 'secureConnect'] : [net, 'connect'];
    const names = { path, host, port, servername: net.isIP(host) ? '' : host };
    const socket = (this.#socket = dial.connect({ ...names, ...secure }).setNoDelay().unref());
    const late = () => new Error(`no ${this.stats.isConnected ? 'ack' : 'connection'} in time`);
    socket.on('error', () => {}).setTimeout(connectTimeoutMs, () => socket.destroy(late()));
    const messages = messagesOf(socket);
    await once(socket, ready);
    const helo = () => Promise.race([once(socket, 'readable'), sleep(1000, null, { ref: false })]);
    if (sharedKey && (host || (await helo()))) await handshake(this.#settings, socket, messages);
    Object.assign(this.stats, { isConnected: true, lastError: '' }).connects++;
    socket.setTimeout(0);
    this.#pump();
    for await (const message of messages) this.#settle(message);
  }

  #settle(message) {
    must(message?.[0] !== 'HELO', 'the server asks for a shared key');
    const at = this.#unacked.findIndex(({ chunk }) => chunk === message?.ack);
    must(at >= 0 && at < this.#flying, 'the server answered with something that is no ack');
    const [{ count, frame, resolve, size }] = this.#unacked.splice(at, 1);
    const { duplicates = 0, rejected = [], conflicts = [], ...counts } = message;
    this.#socket.setTimeout(--this.#flying > 0 ? this.#settings.ackTimeoutMs : 0);
    this.#failures = 0;
    this.stats.bufferedBytes -= size + FRAME_BYTES;
    this.stats.eventsBuffered -= count;
    this.stats.eventsAcked += count;
    this.stats.eventsDuplicate += duplicates;
    this.stats.eventsRejected += counts.rejected_count ?? rejected.length;
    this.stats.eventsConflict += counts.conflicts_count ?? conflicts.length;
    const refused = [...rejected, ...conflicts.map((index) => [index, 'conflict', true])];
    const events = [];
    for (let i = 0, at = HEAD.length; refused.length > 0 && i < count; i++)
      [[, events[i]], at] = unpack(frame, at);
    for (const [index, reason, isConflict = false] of refused) // what it throws is not our affair
      queueMicrotask(() => this.#settings.onRefusal({ event: events[index], reason, isConflict }));
    resolve();
    this.#pump();
  }
}

module.exports = { Client, uuid7 };
