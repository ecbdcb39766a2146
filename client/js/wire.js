'use strict';
// What goes over the wire: as much msgpack as is needed, and the Forward protocol's handshake.
const { createHash, randomBytes, timingSafeEqual } = require('node:crypto');

const EVENT_MAX = 64 * 1024; // bytes, as the server has it
const DEPTH_MAX = 8; // the same; a frame that nests far deeper would cost the connection
const SELF = 'tally-client'; // no server's name: its proof could be a copy of ours

function must(isTrue, message, code = 'TALLY_INVALID') {
  if (!isTrue) throw Object.assign(new Error(message), { code });
}

// Packs into one scratch that holds an event of the greatest size.
const scratch = Buffer.allocUnsafe(EVENT_MAX);
let used = 0;
function room(count) {
  must(used + count <= EVENT_MAX, 'the event is larger than 64 KiB');
  return (used += count) - count;
}

function putNumber(marker, write, value, width) {
  scratch[room(1)] = marker;
  if (write) scratch[write](value, room(width), width);
}

function putText(text) {
  const size = Buffer.byteLength(text);
  if (size < 32) putNumber(0xa0 | size);
  else putNumber(size < 256 ? 0xd9 : 0xdb, 'writeUIntBE', size, size < 256 ? 1 : 4);
  scratch.write(text, room(size));
}

function put(value, depth) {
  if (typeof value?.toJSON === 'function') value = value.toJSON(); // dates
  if (Number.isSafeInteger(value)) value = BigInt(value);
  if (typeof value === 'bigint' && BigInt.asIntN(64, value) !== value) value = `${value}`;
  if (typeof value === 'boolean') return putNumber(value ? 0xc3 : 0xc2);
  if (value === null || value === undefined) return putNumber(0xc0);
  if (typeof value === 'number') return putNumber(0xcb, 'writeDoubleBE', value, 8);
  if (typeof value === 'string') return putText(value);
  if (typeof value === 'bigint' && value >= 0n && value < 128n) return putNumber(Number(value));
  if (typeof value === 'bigint') return putNumber(0xd3, 'writeBigInt64BE', value, 8);
  must(typeof value === 'object' && depth <= DEPTH_MAX, 'a property is a function, or too deep');
  const isList = Array.isArray(value);
  const pairs = Object.entries(value).filter(([, item]) => isList || item !== undefined);
  putNumber(isList ? 0xdd : 0xdf, 'writeUIntBE', pairs.length, 4);
  for (const [key, item] of pairs) {
    if (!isList) putText(key);
    put(item, depth + 1);
  }
}

function pack(value, head = Buffer.alloc(0)) {
  used = head.copy(scratch);
  put(value, 0);
  return Buffer.from(scratch.subarray(0, used));
}

// [the value that begins at `at`, where it ends], or nothing while it is not whole.
function unpack(bytes, at = 0) {
  const incomplete = new Error('incomplete');
  const take = (count) => {
    if ((at += count) > bytes.length) throw incomplete;
    return bytes.subarray(at - count, at);
  };
  const uint = (power) => take(1 << power).readUIntBE(0, 1 << power);
  const list = (length, read = any) => Array.from({ length }, () => read());
  const map = (length) => Object.fromEntries(list(length, () => [any(), any()]));
  const any = () => {
    const m = uint(0);
    if (m < 0x80) return m;
    if (m < 0x90 || m >= 0xde) return map(m < 0x90 ? m & 15 : uint(m - 0xdd));
    if (m < 0xa0 || m >= 0xdc) return list(m < 0xa0 ? m & 15 : uint(m - 0xdb));
    if (m < 0xc0 || m >= 0xd9) return `${take(m < 0xc0 ? m & 31 : uint(m - 0xd9))}`;
    if (m <= 0xc3) return [null, undefined, false, true][m & 3];
    if (m >= 0xcc && m <= 0xce) return uint(m - 0xcc);
    if (m === 0xcb) return take(8).readDoubleBE();
    if (m === 0xd3) return take(8).readBigInt64BE();
    return must(m === 0xd7, 'the server sent unknown msgpack') ?? take(9); // EventTime
  };
  try {
    return [any(), at];
  } catch (error) {
    return must(error === incomplete, error.message);
  }
}

async function* messagesOf(socket) {
  let received = Buffer.alloc(0);
  for await (const data of socket) {
    received = Buffer.concat([received, data]);
    must(received.length <= 2 ** 20, 'the answer of the server does not end');
    for (let found; (found = unpack(received)); received = received.subarray(found[1]))
      yield found[0];
  }
  must(false, 'the server closed the connection');
}

const digest = (...parts) => createHash('sha512').update(parts.join('')).digest('hex');

// Both sides prove that they know the key, and do not say it: HELO, PING, PONG.
async function handshake({ sharedKey, username = '', password = '' }, socket, messages) {
  const salt = randomBytes(16).toString('hex');
  const [hello, helo] = [(await messages.next()).value].flat();
  must(hello === 'HELO' && helo?.nonce, 'the server asks for no shared key');
  const proofOf = (name) => digest(salt, name, helo.nonce, sharedKey);
  const userProof = helo.auth ? digest(helo.auth, username, password) : '';
  socket.write(pack(['PING', SELF, salt, proofOf(SELF), username, userProof]));
  const [word, isWelcome, reason, name, proof] = [(await messages.next()).value].flat();
  must(word === 'PONG' && isWelcome === true, `the server refused: ${reason}`);
  const [given, right] = [proof, proofOf(name)].map((text) => Buffer.from(digest(text)));
  must(name !== SELF && timingSafeEqual(given, right), 'the server has another shared key');
}

module.exports = { handshake, messagesOf, must, pack, unpack };
