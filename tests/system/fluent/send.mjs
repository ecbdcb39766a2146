// Sends events through @fluent-org/logger with acks, a part of them in each mode, and waits for
// every ack. Prints the sum of the values.
//
//     [TLS_CA=FILE] [SHARED_KEY=... [FLUENT_USER=... FLUENT_PASSWORD=...]] \
//         node send.mjs HOST PORT COUNT

import { readFileSync } from "node:fs";

import { EventTime, FluentClient } from "@fluent-org/logger";

const [host, port, count] = process.argv.slice(2);
const modes = ["Message", "Forward", "PackedForward", "CompressedPackedForward"];
const { SHARED_KEY: sharedKey, FLUENT_USER: username, FLUENT_PASSWORD: password } = process.env;
const security = sharedKey
  ? { clientHostname: "sender", sharedKey, username, password }
  : undefined;
const tls = process.env.TLS_CA ? { ca: readFileSync(process.env.TLS_CA) } : undefined;

const clients = modes.map((eventMode) => new FluentClient("api_call", {
  eventMode,
  ack: { ackTimeout: 30000 },
  security,
  socket: { host, port: Number(port), timeout: 10000, tls },
}));

for (const client of clients) {
  client.socketOn("error", (error) => {
    console.error(error.message);
    process.exit(3);
  });
}

let sum = 0;
const acks = [];
for (let i = 0; i < Number(count); i++) {
  const value = (i % 7) + 1;
  sum += value;
  const record = { subject: "fluent", id: `event-${i}`, value, region: i % 2 ? "eu" : "us" };
  acks.push(clients[i % modes.length].emit(record, EventTime.now()));
}
for (const client of clients) {
  await client.flush();
}
await Promise.all(acks);
for (const client of clients) {
  await client.disconnect();
}
console.log(sum);
