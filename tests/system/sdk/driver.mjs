// Does what lines of JSON on stdin say with the JavaScript SDK; a line of JSON answers each.
// sdk_cases.py has the commands.

import { readFileSync } from 'node:fs';
import { createInterface } from 'node:readline';
import { pathToFileURL } from 'node:url';

const { Client } = await import(pathToFileURL(process.argv[2]).href);
const refusals = [];
let client;

// {"big": "123"}: a whole number that JSON does not carry exactly.
const exact = (value) => (typeof value === 'object' ? BigInt(value.big) : value);
const text = (_, value) => (typeof value === 'bigint' ? String(value) : value);
const camel = (name) => name.replace(/_(.)/g, (_, letter) => letter.toUpperCase());
const snake = (name) => name.replace(/[A-Z]/g, (letter) => `_${letter.toLowerCase()}`);
const renamed = (fields, rename) =>
  Object.fromEntries(Object.entries(fields).map(([name, value]) => [rename(name), value]));

function eventOf({ time_ms, ...event }) {
  return { ...event, value: exact(event.value), ...(time_ms && { time: new Date(time_ms) }) };
}

const commands = {
  open: ({ options: { tls_ca: ca, tls_name: servername, ...options } }) => {
    if (ca) options.tls = { ca: readFileSync(ca), ...(servername && { servername }) };
    const onRefusal = ({ event, reason, isConflict }) =>
      refusals.push({ event, reason, is_conflict: isConflict });
    client = new Client({ ...renamed(options, camel), onRefusal });
  },
  send: ({ event, wait_ms = 0 }) =>
    wait_ms ? client.sendWait(eventOf(event), wait_ms) : client.send(eventOf(event)),
  send_many: async ({ count, prefix, event, wait_ms = 0 }) => {
    for (let i = 0; i < count; i++) {
      const id = prefix ? `${prefix}-${i}` : undefined;
      await client.sendWait({ ...eventOf(event), id }, wait_ms);
    }
    return count;
  },
  flush: ({ timeout_ms }) => client.flush(timeout_ms),
  close: ({ timeout_ms }) => client.close(timeout_ms),
  stats: () => renamed(client.stats, snake),
  refusals: () => refusals,
};

for await (const line of createInterface({ input: process.stdin })) {
  const command = JSON.parse(line);
  let answer;
  try {
    answer = { result: (await commands[command.do](command)) ?? null };
  } catch (error) {
    const code = error.code?.replace('TALLY_', '').toLowerCase() ?? 'other';
    answer = { error: code, text: error.message };
  }
  console.log(JSON.stringify(answer, text));
}
process.exit(); // what a test left unacked stays so
