"""Sends usage events to tallyd and knows what became of them (README.md says how).

A sealed batch is a frame that never changes (PackedForward); a thread sends it until it is acked,
so nothing is lost, and its ids and times were filled in once, so nothing counts twice.
"""

import asyncio
import atexit
import collections
import contextlib
import datetime
import itertools
import logging
import os
import random
import re
import ssl
import struct
import threading
import time as clock
import types
import uuid

from tally_client.wire import TallyError, handshake, messages_of, pack

FRAME_BYTES = 512  # what a frame adds to its events, at most
EPOCH = datetime.datetime(1970, 1, 1, tzinfo=datetime.timezone.utc)
DEFAULTS = {
    "buffer_bytes": 2**26, "batch_bytes": 2**18, "batch_events": 1000, "batch_age": 0.05,
    "in_flight_batches": 8, "ack_timeout": 30, "connect_timeout": 5, "retry_min": 0.1,
    "retry_max": 10}
COUNTERS = ("events_sent events_acked events_duplicate events_rejected events_conflict "
            "events_buffered buffered_bytes batches_resent connects").split()

# The event as it was sent, the server's reason, and whether its id was used for another event.
Refusal = collections.namedtuple("Refusal", "event reason is_conflict")
# InvalidError: it cannot be, nothing was taken. ClosedError: the client is closed, or belongs to
# the process that this one was forked from. FullError: there is no room, nothing was taken.
# UnackedError: the time is over and something is still unacked.
InvalidError = type("InvalidError", (TallyError, ValueError), {})
ClosedError = type("ClosedError", (TallyError,), {})
FullError = type("FullError", (TallyError,), {})
UnackedError = type("UnackedError", (TallyError, TimeoutError), {})


def uuid7():
    random_bits = uuid.uuid4().int & (1 << 76) - 1
    return str(uuid.UUID(int=clock.time_ns() // 10**6 << 80 | 7 << 76 | random_bits))


def entry_of(time, record):
    """[EventTime, record]. What else can be wrong with it the server says (on_refusal)."""
    try:
        if isinstance(time, datetime.datetime):
            time = (time - EPOCH) / datetime.timedelta(seconds=1)
        time_ns = clock.time_ns() if time is None else round(time * 10**6) * 1000
        entry = struct.pack(">BBBII", 0x92, 0xD7, 0, *divmod(time_ns, 10**9)) + pack(record)
    except (AttributeError, TypeError, ValueError, struct.error) as error:
        raise InvalidError(f"it cannot be sent: {error}") from None
    if len(entry) > 64 * 1024:
        raise InvalidError("the event is larger than 64 KiB")
    return entry


def address_of(server):
    """(host, port), or the path of a unix socket."""
    match = re.fullmatch(r"unix:(.+)|\[?(.+?)\]?:([0-9]{1,5})", server.strip())
    if not match or not (match[1] or 0 < int(match[3]) < 65536):
        raise InvalidError(f"server {server} is not HOST:PORT or unix:PATH")
    return match[1] or (match[2], int(match[3]))


class Client(contextlib.AbstractContextManager):
    """Connects in the background. README.md has the options; times are seconds."""

    def __init__(self, server="127.0.0.1:24224", *, tls=None, shared_key=None, username="",
                 password="", backfill=None, on_refusal=None, **numbers):
        for name, value in numbers.items():
            if name not in DEFAULTS or not value > 0:
                raise InvalidError(f"there is no option {name} = {value}")
        self._settings = types.SimpleNamespace(**{**DEFAULTS, **numbers})
        self._addresses = [address_of(name) for name in server.split(",")]
        self._credentials = shared_key and (shared_key, username, password)
        self._tls = {} if tls is True else tls
        self._context = None if tls in (None, False) else ssl.create_default_context(
            cafile=self._tls.get("ca"))
        self._extension = {"results": True, **({"backfill": backfill} if backfill else {})}
        self._on_refusal = on_refusal
        self._changed = threading.Condition()  # guards all that follows
        self._events, self._entries = [], []  # the batch being filled; events: for on_refusal
        self._size, self._is_old = 0, False
        self._unacked, self._flying = [], 0  # the first `flying` of them were sent
        self._failures, self._is_closing, self._pid = 0, False, os.getpid()
        self.stats = {**dict.fromkeys(COUNTERS, 0), "is_connected": False, "last_error": ""}
        self._reader = self._writer = self._late = None
        self._loop = asyncio.new_event_loop()
        self._task = self._loop.create_task(self._run())
        self._thread = threading.Thread(target=self._work, name="tally-client", daemon=True)
        self._thread.start()
        atexit.register(self.close)

    def __exit__(self, *error):
        self.close()

    def send(self, subject, type, value=None, *, id=None, source=None, time=None, properties=None,
             timeout=0):
        """Takes the event and returns its id. FullError: no room within timeout, nothing taken."""
        fields = {"subject": subject, "type": type, "id": id or uuid7(), "source": source,
                  "value": value}
        if not subject or not type or fields.keys() & (properties or {}).keys():
            raise InvalidError("subject or type is missing, or a property is called like a field")
        event = {name: it for name, it in fields.items() if it is not None} | (properties or {})
        entry, settings = entry_of(time, event), self._settings
        room_for = settings.buffer_bytes - len(entry) - FRAME_BYTES
        if self._pid != os.getpid():
            raise ClosedError("a forked process needs a client of its own")
        with self._changed:
            if not self._changed.wait_for(lambda: self._is_closing or (
                    self.stats["buffered_bytes"] <= room_for), timeout):
                raise FullError("the buffer is full")
            if self._is_closing:
                raise ClosedError("the client is closed")
            self._count(events_sent=1, events_buffered=1,
                        buffered_bytes=len(entry) + (0 if self._entries else FRAME_BYTES))
            self._size += len(entry)
            self._entries.append(entry)
            self._events.append(event if self._on_refusal else None)
            if self._size >= settings.batch_bytes or len(self._entries) >= settings.batch_events:
                self._seal()
            elif len(self._entries) == 1:
                self._loop.call_soon_threadsafe(
                    self._loop.call_later, settings.batch_age, self._pump, True)
        return fields["id"]

    def flush(self, timeout=30):
        """Sends what is batched and waits until all sent before is acked, or UnackedError."""
        with self._changed:
            self._seal()
            batches = list(self._unacked)
            if not self._changed.wait_for(lambda: all(it.is_acked for it in batches), timeout):
                count, error = self.stats["events_buffered"], self.stats["last_error"]
                raise UnackedError(f"{count} events are not acked; {error}")

    def close(self, timeout=5):
        """Flushes, then closes in any case. UnackedError: some events were not acked."""
        atexit.unregister(self.close)
        if self._pid != os.getpid():
            return
        self._is_closing = True
        try:
            self.flush(timeout)
        finally:
            while self._thread.is_alive():  # wait_for can lose a cancellation
                with contextlib.suppress(RuntimeError):  # it has just ended
                    self._loop.call_soon_threadsafe(self._task.cancel)
                self._thread.join(0.1)

    def _count(self, **amounts):
        for name, amount in amounts.items():
            self.stats[name] += amount

    def _seal(self):
        if not self._entries:
            return
        count, chunk, size = len(self._entries), uuid7(), self._size
        head = b"\x93\xa5tally\xc6" + struct.pack(">I", size)
        tail = pack({"size": count, "chunk": chunk, "tally": self._extension})
        self._unacked.append(types.SimpleNamespace(
            chunk=chunk, events=self._events, frame=b"".join((head, *self._entries, tail)),
            buffered=size + FRAME_BYTES, sends=0, is_acked=False))
        self._events, self._entries, self._size, self._is_old = [], [], 0, False
        self._loop.call_soon_threadsafe(self._pump)

    def _work(self):
        with contextlib.closing(self._loop):
            with contextlib.suppress(asyncio.CancelledError):
                self._loop.run_until_complete(self._task)
            self._loop.run_until_complete(asyncio.sleep(0.01))  # sockets close in later turns

    def _pump(self, is_old=False):
        """Sends what may be sent. While nothing may be, the batch goes on filling."""
        with self._changed:
            self._is_old = bool(self._entries) and (self._is_old or is_old)
            most = self._settings.in_flight_batches if self.stats["is_connected"] else 0
            if self._is_old and len(self._unacked) < most:
                self._seal()
            for batch in self._unacked[self._flying:most]:
                self._flying += 1
                self._count(batches_resent=batch.sends > 0)
                batch.sends += 1
                self._writer.write(batch.frame)
                self._alarm()

    def _alarm(self):
        """Waits anew for an ack, if there is one to wait for."""
        if self._late:
            self._late.cancel()
        self._late = self._flying and self._loop.call_later(
            self._settings.ack_timeout, self._reader.set_exception, TallyError("no ack in time"))

    async def _run(self):
        """The next server at once; after all failed in turn, a pause that grows until an ack."""
        settings = self._settings
        for address in itertools.cycle(self._addresses):
            try:
                messages = await asyncio.wait_for(self._connect(address), settings.connect_timeout)
                self._count(connects=1)
                self.stats.update(is_connected=True, last_error="")
                self._pump()
                async for message in messages:
                    self._settle(message)
            except asyncio.TimeoutError:
                self.stats["last_error"] = "no connection in time"
            except Exception as error:  # also what a strange answer led to: it ends the connection
                self.stats["last_error"] = str(error) or type(error).__name__
            finally:
                with self._changed:
                    self._flying, self.stats["is_connected"] = 0, False
                if self._writer:
                    self._writer.transport.abort()
                self._writer = None
            self._failures += 1
            rounds, rest = divmod(self._failures, len(self._addresses))
            pause = min(settings.retry_min * 2**min(rounds - 1, 60), settings.retry_max)
            await asyncio.sleep(0 if rest else pause * random.uniform(0.5, 1))

    async def _connect(self, address):
        """Returns what the server says, after the handshake. A unix socket has no TLS."""
        if isinstance(address, str):
            self._reader, self._writer = await asyncio.open_unix_connection(address)
        else:
            name = self._tls.get("servername", address[0]) if self._context else None
            self._reader, self._writer = await asyncio.open_connection(
                *address, ssl=self._context, server_hostname=name)
        messages = messages_of(self._reader)
        if self._credentials:
            await handshake(self._writer, messages, *self._credentials)
        return messages

    def _settle(self, answer):
        if isinstance(answer, list) and answer[:1] == ["HELO"]:
            raise TallyError("the server asks for a shared key")
        chunk = answer.get("ack") if isinstance(answer, dict) else None
        batch = next((it for it in self._unacked[:self._flying] if it.chunk == chunk), None)
        if batch is None:
            raise TallyError("the server answered with something that is no ack")
        rejected, conflicts = answer.get("rejected", []), answer.get("conflicts", [])
        refused = rejected + [(index, "conflict") for index in conflicts]
        for i, (index, reason) in enumerate(refused if self._on_refusal else []):
            try:
                self._on_refusal(Refusal(batch.events[index], reason, i >= len(rejected)))
            except Exception:
                logging.getLogger(__name__).exception("on_refusal failed")
        with self._changed:
            self._unacked.remove(batch)
            batch.is_acked, self._flying, self._failures = True, self._flying - 1, 0
            count = len(batch.events)
            self._count(
                buffered_bytes=-batch.buffered, events_buffered=-count, events_acked=count,
                events_duplicate=answer.get("duplicates", 0),
                events_rejected=answer.get("rejected_count", len(rejected)),
                events_conflict=answer.get("conflicts_count", len(conflicts)))
            self._changed.notify_all()
            self._alarm()
            self._pump()
