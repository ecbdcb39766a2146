import type { ConnectionOptions } from 'node:tls';

/** Anything JSON has, and bigint. What has toJSON (dates) is sent as what that returns. */
export type Property =
  | string
  | number
  | bigint
  | boolean
  | null
  | undefined
  | Date
  | Property[]
  | { [key: string]: Property };

export interface Event {
  /** Whose usage it is: 1-255 bytes. */
  subject: string;
  /** 1-100 bytes. */
  type: string;
  /** Idempotency key, 1-128 bytes. Absent: a UUIDv7. */
  id?: string;
  /** Part of the identity, 0-255 bytes. */
  source?: string;
  /** A quantity: number, bigint or decimal text. Absent: 1. */
  value?: number | bigint | string;
  /** A date, milliseconds since 1970, or nanoseconds as bigint. Absent: now. */
  time?: Date | number | bigint;
  /** What meters read and group by; the names of the fields above (but time) are reserved. */
  properties?: { [key: string]: Property };
}

/** What the server said of an event that it did not count. */
export interface Refusal {
  /** The event as it was sent: subject, type, id, source, value and the properties. */
  event: { subject: string; type: string; id: string; [key: string]: unknown };
  /** As the server names it. */
  reason: string;
  /** The id was used before with another payload. */
  isConflict: boolean;
}

export interface Options {
  /**
   * "HOST:PORT" or "unix:PATH". Default "127.0.0.1:24224". Several with commas between are tried in
   * turn; all must lead to the same ledger.
   */
  server?: string;
  /**
   * TLS to HOST:PORT: true, or options of tls.connect such as ca (PEM) and servername. The server's
   * certificate is verified unless they say otherwise. A unix socket has none.
   */
  tls?: true | ConnectionOptions;
  /** Both sides prove that they know it. A server that asks for none gets nothing. */
  sharedKey?: string;
  /** When the server has users. */
  username?: string;
  password?: string;
  /** All that is unacked, in bytes as sent. Default 64 MiB. */
  bufferBytes?: number;
  /** A batch is sent when it has this size. Default 256 KiB. */
  batchBytes?: number;
  /** Or this many events. Default 1000. */
  batchEvents?: number;
  /** Or this age. Default 50. */
  batchAgeMs?: number;
  /** Unacked batches on the wire at once. Default 8. */
  inFlightBatches?: number;
  /** Reconnect when no ack comes for so long. Default 30000. */
  ackTimeoutMs?: number;
  /** Default 5000. */
  connectTimeoutMs?: number;
  /** First pause after a failure, doubled up to retryMaxMs. Default 100. */
  retryMinMs?: number;
  /** Default 10000. */
  retryMaxMs?: number;
  /** Batch name: events of any age are accepted (needs the right). Absent: live. */
  backfill?: string;
  /** Called for each event that was not counted. Absent: they are counted in stats only. */
  onRefusal?: (refusal: Refusal) => void;
}

export interface Stats {
  eventsSent: number;
  eventsAcked: number;
  /** Of the acked: known already. */
  eventsDuplicate: number;
  eventsRejected: number;
  eventsConflict: number;
  /** Not acked yet. */
  eventsBuffered: number;
  bufferedBytes: number;
  batchesResent: number;
  connects: number;
  isConnected: boolean;
  /** Of the connection; empty: none. */
  lastError: string;
}

/** What is thrown. */
export interface TallyError extends Error {
  /**
   * TALLY_FULL: the buffer is full, nothing was taken; TALLY_INVALID: the event or an option breaks
   * a rule; TALLY_TIMEOUT: something is still unacked; TALLY_CLOSED: the client is closed.
   */
  code: 'TALLY_FULL' | 'TALLY_INVALID' | 'TALLY_TIMEOUT' | 'TALLY_CLOSED';
}

export class Client {
  /** Connects in the background. Throws TALLY_INVALID when an option is wrong. */
  constructor(options?: Options);
  /** Goes on counting. */
  readonly stats: Readonly<Stats>;
  /** Takes the event and returns its id; throws TallyError when it took nothing. */
  send(event: Event): string;
  /** As send, but waits for room. */
  sendWait(event: Event, timeoutMs?: number): Promise<string>;
  /** Sends what is batched and waits until all sent before is acked. Default 30000. */
  flush(timeoutMs?: number): Promise<void>;
  /** Flushes, then closes in any case. TALLY_TIMEOUT: some events were not acked. Default 5000. */
  close(timeoutMs?: number): Promise<void>;
}

/** A UUIDv7. */
export function uuid7(): string;
