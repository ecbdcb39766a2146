'use strict';
// As much msgpack as events and acks take.

const EVENT_MAX = 64 * 1024; // bytes, as the server has it
const DEPTH_MAX = 8;

class TallyError extends Error {
  constructor(code, message) {
    super(message);
    this.code = code;
  }
}

function must(isTrue, message) {
  if (!isTrue) throw new TallyError('TALLY_INVALID', message);
}

// Packs into one scratch that holds an event of the greatest size.
const scratch = Buffer.allocUnsafe(EVENT_MAX);
let used = 0;

function room(count) {
  must(used + count <= EVENT_MAX, 'the event is larger than 64 KiB');
  return (used += count) - count;
}

function packHead(marker, value, width) {
  scratch[room(1)] = marker;
  if (width) scratch.writeUIntBE(value, room(width), width);
}

function packUint32(value) {
  scratch.writeUInt32BE(value, room(4));
}

function packText(text) {
  const size = Buffer.byteLength(text);
  if (size < 32) packHead(0xa0 | size);
  else packHead(size < 256 ? 0xd9 : 0xdb, size, size < 256 ? 1 : 4);
  scratch.write(text, room(size));
}

function packNumber(value) {
  const whole = Number.isSafeInteger(value) ? BigInt(value) : value;
  const isWhole = typeof whole === 'bigint';
  if (isWhole && whole >= 0n && whole < 128n) return packHead(Number(whole));
  if (isWhole && BigInt.asIntN(64, whole) !== whole) return packText(`${whole}`);
  packHead(isWhole ? 0xd3 : 0xcb);
  if (isWhole) scratch.writeBigInt64BE(whole, room(8));
  else scratch.writeDoubleBE(whole, room(8));
}

function pack(value, depth = 0) {
  if (typeof value?.toJSON === 'function') value = value.toJSON(); // dates
  if (value === null || value === undefined) return packHead(0xc0);
  if (typeof value === 'boolean') return packHead(value ? 0xc3 : 0xc2);
  if (typeof value === 'number' || typeof value === 'bigint') return packNumber(value);
  if (typeof value === 'string') return packText(value);
  must(typeof value === 'object', `a ${typeof value} is no property`);
  must(depth <= DEPTH_MAX, `properties nest deeper than ${DEPTH_MAX}`);
  const pairs = Object.entries(value);
  packHead(Array.isArray(value) ? 0xdd : 0xdf, pairs.length, 4);
  for (const [key, item] of pairs) {
    if (!Array.isArray(value)) packText(key);
    pack(item, depth + 1);
  }
}

function packed(fill) {
  used = 0;
  fill();
  return Buffer.from(scratch.subarray(0, used));
}

const INCOMPLETE = new Error('incomplete');

// Reads what the server answers, and what was packed here.
class Reader {
  at = 0;
  constructor(bytes) {
    this.bytes = bytes;
  }
  take(count) {
    if ((this.at += count) > this.bytes.length) throw INCOMPLETE;
    return this.bytes.subarray(this.at - count, this.at);
  }
  uint(power) {
    return this.take(1 << power).readUIntBE(0, 1 << power);
  }
  any() {
    const m = this.uint(0);
    const items = (count, read) => Array.from({ length: count }, read);
    const list = (count) => items(count, () => this.any());
    const map = (count) => Object.fromEntries(items(count, () => [this.any(), this.any()]));
    if (m < 0x80) return m;
    if (m < 0x90 || m >= 0xde) return map(m < 0x90 ? m & 15 : this.uint(m - 0xdd));
    if (m < 0xa0 || m >= 0xdc) return list(m < 0xa0 ? m & 15 : this.uint(m - 0xdb));
    if (m < 0xc0 || m >= 0xd9) return `${this.take(m < 0xc0 ? m & 31 : this.uint(m - 0xd9))}`;
    if (m <= 0xc3) return [null, undefined, false, true][m & 3];
    if (m >= 0xcc && m <= 0xce) return this.uint(m - 0xcc);
    if (m === 0xcb) return this.take(8).readDoubleBE();
    if (m === 0xd3) return this.take(8).readBigInt64BE();
    return must(m === 0xd7, 'the server sent unknown msgpack') ?? this.take(9); // EventTime
  }
}

module.exports = { EVENT_MAX, INCOMPLETE, Reader, TallyError, must, pack, packHead, packText,
  packUint32, packed };
