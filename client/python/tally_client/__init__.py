"""Sends usage events to tallyd and knows what became of them.

    with tally_client.Client("127.0.0.1:24224") as tally:
        tally.send("acme", "api_call", value=1, properties={"region": "eu"})

Events are gathered in a batch. Large or old enough, it is sealed into a frame (Forward protocol v1,
PackedForward), whose bytes never change again. A thread sends frames and keeps each until the
server acked it; after a lost connection all unacked frames go out again in their order. Id, time
and chunk are filled in once, so the server counts nothing twice. Any thread may use a client; a
forked child opens its own.

    unacked: | in flight ... | waiting ... |     then: the batch being filled
             0               flying        len(unacked)
"""

import atexit
import collections
import contextlib
import logging
import os
import random
import selectors
import socket
import struct
import threading
import time as clock
import types

from tally_client.event import entry_pack, time_ns_of, uuid7
from tally_client.msgpack import Incomplete, InvalidError, Reader, TallyError, pack
from tally_client.settings import address_of, extension_of, settings_of

ANSWER_BYTES_MAX = 2**20
FRAME_BYTES = 512  # what a frame adds to its events, at most
HEAD_BYTES = 12    # of these, what stands before the events


class ClosedError(TallyError):
    """The client is closed, or belongs to the process that this one was forked from."""


class FullError(TallyError):
    """The buffer is full; nothing was taken. Flush or wait, then try again."""


class UnackedError(TallyError, TimeoutError):
    """The time is over and something is still unacked."""


# What the server said of an event that it did not count: the event as a dict of what was sent, the
# reason as the server names it, and whether the id was used before with another payload.
Refusal = collections.namedtuple("Refusal", "event reason is_conflict")
READ, WRITE = selectors.EVENT_READ, selectors.EVENT_WRITE
COUNTERS = ("events_sent events_acked events_duplicate events_rejected events_conflict "
            "events_buffered buffered_bytes batches_resent connects").split()


class Client:
    """Connects in the background. README.md has the options; times are seconds."""

    def __init__(self, server="127.0.0.1:24224", *, backfill=None, on_refusal=None, **numbers):
        self._address = address_of(server)
        self._extension = extension_of(backfill)
        self._on_refusal = on_refusal
        self._settings = settings_of(numbers)
        self._changed = threading.Condition()  # guards all that follows
        self._entries, self._size, self._opened = [], 0, 0.0
        self._unacked, self._flying, self._sealed = [], 0, 0
        self._heard, self._pause = 0.0, self._settings.retry_min
        self._is_closing = self._is_stopping = False
        self._stats = {**dict.fromkeys(COUNTERS, 0), "is_connected": False, "last_error": ""}
        self._woken, self._waker = socket.socketpair()
        self._waker.setblocking(False)
        self._pid = os.getpid()
        self._thread = threading.Thread(target=self._run, name="tally-client", daemon=True)
        self._thread.start()
        atexit.register(self.close)

    def __enter__(self):
        return self

    def __exit__(self, kind, error, trace):
        self.close()

    @property
    def stats(self):
        with self._changed:
            return dict(self._stats)

    def send(self, subject, type, value=None, *, id=None, source=None, time=None, properties=None,
             timeout=0):
        """Takes the event and returns its id. FullError: no room within timeout, nothing taken."""
        id = uuid7() if id is None else id
        reserved = {"subject": subject, "type": type, "id": id}
        reserved.update({"source": source} if source else {})
        reserved.update({} if value is None else {"value": value})
        try:
            entry = entry_pack(time_ns_of(time), reserved, properties or {})
        except (AttributeError, ValueError, OverflowError) as error:  # a lone surrogate, and such
            raise InvalidError(str(error)) from None
        if self._pid != os.getpid():
            raise ClosedError("a forked process needs a client of its own")
        with self._changed:
            self._entry_take(entry, timeout)
        return id

    def flush(self, timeout=30):
        """Sends what is batched and waits until all sent before is acked, or UnackedError."""
        with self._changed:
            self._seal()
            sealed = self._sealed
            if not self._changed.wait_for(
                    lambda: not self._unacked or self._unacked[0].sequence > sealed, timeout):
                count, error = self._stats["events_buffered"], self._stats["last_error"]
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
            with self._changed:
                self._is_stopping = True
                self._changed.notify_all()
                self._wake()
            self._thread.join(1)  # longer only while it connects; it is a daemon

    # Callers, with the lock.

    def _entry_take(self, entry, timeout):
        def bytes_after():
            frame_bytes = 0 if self._entries else FRAME_BYTES
            return self._stats["buffered_bytes"] + len(entry) + frame_bytes

        if not self._changed.wait_for(
                lambda: self._is_closing or bytes_after() <= self._settings.buffer_bytes, timeout):
            raise FullError(f"the buffer of {self._settings.buffer_bytes} bytes is full")
        if self._is_closing:
            raise ClosedError("the client is closed")
        self._stats["buffered_bytes"] = bytes_after()
        self._stats["events_sent"] += 1
        self._stats["events_buffered"] += 1
        self._size += len(entry)
        self._entries.append(entry)
        if len(self._entries) == 1:
            self._opened = clock.monotonic()
            self._wake()
        settings = self._settings
        if self._size >= settings.batch_bytes or len(self._entries) >= settings.batch_events:
            self._seal()

    def _seal(self):
        if not self._entries:
            return
        count, chunk, size = len(self._entries), uuid7(), self._size
        tail = bytearray()
        pack(tail, {"size": count, "chunk": chunk, "tally": self._extension})
        head = b"\x93\xa5tally\xc6" + struct.pack(">I", size)
        self._sealed += 1
        self._unacked.append(types.SimpleNamespace(
            sequence=self._sealed, chunk=chunk, count=count, size=size, sends=0,
            frame=b"".join((head, *self._entries, tail))))
        self._entries, self._size = [], 0
        self._wake()

    def _wake(self):
        with contextlib.suppress(OSError):  # full: it will wake; closed: nobody is there
            self._waker.send(b"!")

    # The thread.

    def _run(self):
        while not self._is_stopping:
            try:
                with self._connect() as connection:
                    self._serve(connection)
            except Exception as error:  # also what a strange answer led to: it ends the connection
                self._fail(str(error) or type(error).__name__)
        with self._changed:
            self._stats["is_connected"] = False
        self._woken.close()
        self._waker.close()

    def _fail(self, message):
        with self._changed:
            self._flying = 0
            self._stats.update(is_connected=False, last_error=message)
            self._changed.wait_for(lambda: self._is_stopping, self._pause * random.uniform(0.5, 1))
            self._pause = min(2 * self._pause, self._settings.retry_max)

    def _connect(self):
        timeout = self._settings.connect_timeout
        if isinstance(self._address, tuple):
            connection = socket.create_connection(self._address, timeout=timeout)
            connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            return connection
        with contextlib.ExitStack() as stack:
            connection = stack.enter_context(socket.socket(socket.AF_UNIX))
            connection.settimeout(timeout)
            connection.connect(self._address)
            stack.pop_all()
        return connection

    def _serve(self, connection):
        connection.setblocking(False)
        received, out = b"", memoryview(b"")
        with selectors.DefaultSelector() as poll:
            poll.register(connection, READ)
            poll.register(self._woken, READ)
            with self._changed:
                self._stats.update(is_connected=True, last_error="")
                self._stats["connects"] += 1
            while not self._is_stopping:
                with self._changed:
                    out = out or self._next()
                    wait = self._wait(not out)
                poll.modify(connection, READ | (WRITE if out else 0))
                ready = {key.fileobj: mask for key, mask in poll.select(wait)}
                mask = ready.get(connection, 0)
                if self._woken in ready:
                    self._woken.recv(4096)
                if mask & READ:
                    received = self._receive(received, connection.recv(65536))
                if mask & WRITE:
                    out = out[connection.send(out):]

    def _next(self):
        """The next frame that may be sent. While none may be, the batch goes on filling."""
        now = clock.monotonic()
        if self._flying >= self._settings.in_flight_batches:
            return memoryview(b"")
        if self._flying == len(self._unacked) and now >= self._opened + self._settings.batch_age:
            self._seal()
        if self._flying == len(self._unacked):
            return memoryview(b"")
        batch = self._unacked[self._flying]
        if self._flying == 0:
            self._heard = now
        self._flying += 1
        batch.sends += 1
        self._stats["batches_resent"] += batch.sends > 1
        return memoryview(batch.frame)

    def _wait(self, is_idle):
        """Seconds until something is due, None: nothing is."""
        dues, now = [], clock.monotonic()
        if self._flying > 0:
            dues.append(self._heard + self._settings.ack_timeout)
            if now >= dues[0]:
                raise TallyError("no ack in time")
        if is_idle and self._entries and self._flying < self._settings.in_flight_batches:
            dues.append(self._opened + self._settings.batch_age)
        return max(0, min(dues) - now) if dues else None

    def _receive(self, received, data):
        if not data:
            raise TallyError("the server closed the connection")
        reader, kept = Reader(received + data), 0
        if len(reader.data) > ANSWER_BYTES_MAX:
            raise TallyError("the answer of the server does not end")
        with contextlib.suppress(Incomplete):
            while reader.at < len(reader.data):
                self._settle(reader.any())
                kept = reader.at
        return reader.data[kept:]

    def _settle(self, answer):
        chunk = answer.get("ack") if isinstance(answer, dict) else None
        batch = next((it for it in self._unacked[:self._flying] if it.chunk == chunk), None)
        if batch is None:
            raise TallyError("the server answered with something that is no ack")
        rejected, conflicts = answer.get("rejected", []), answer.get("conflicts", [])
        if self._on_refusal and (rejected or conflicts):
            self._refuse(batch, rejected, conflicts)
        with self._changed:
            self._unacked.remove(batch)
            self._flying -= 1
            self._heard, self._pause = clock.monotonic(), self._settings.retry_min
            self._stats["buffered_bytes"] -= batch.size + FRAME_BYTES
            self._stats["events_buffered"] -= batch.count
            self._stats["events_acked"] += batch.count
            self._stats["events_duplicate"] += answer.get("duplicates", 0)
            self._stats["events_rejected"] += answer.get("rejected_count", len(rejected))
            self._stats["events_conflict"] += answer.get("conflicts_count", len(conflicts))
            self._changed.notify_all()

    def _refuse(self, batch, rejected, conflicts):
        reader = Reader(batch.frame, HEAD_BYTES)
        events = [reader.any()[1] for _ in range(batch.count)]
        refusals = [Refusal(events[index], reason, False) for index, reason in rejected]
        refusals += [Refusal(events[index], "conflict", True) for index in conflicts]
        for refusal in refusals:
            try:
                self._on_refusal(refusal)
            except Exception:
                logging.getLogger(__name__).exception("on_refusal failed")
