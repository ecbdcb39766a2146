"""Sends usage events to tallyd: a sealed batch never changes and is sent until it is acked."""

import atexit
import collections
import contextlib
import decimal
import hashlib
import hmac
import itertools
import logging
import math
import os
import random
import re
import socket
import ssl
import struct
import threading
import time as clock
import types
import uuid

FRAME_BYTES = 512  # what a frame adds to its events, at most
DEPTH_MAX = 8  # as the server has it; a frame that nests far deeper would cost the connection
SELF = "tally-client"  # no server's name: its proof could be a copy of ours
WIDTHS = {0xCC: 1, 0xCD: 2, 0xCE: 4, 0xD9: 1, 0xDA: 2, 0xDB: 4, 0xDC: 2, 0xDD: 4, 0xDE: 2, 0xDF: 4}
DEFAULTS = dict(buffer_bytes=2**26, batch_bytes=2**18, batch_events=1000, batch_age=0.05,
                in_flight_batches=8, ack_timeout=30, connect_timeout=5, retry_min=0.1, retry_max=10)
COUNTERS = ("events_sent events_acked events_duplicate events_rejected events_conflict "
            "events_buffered buffered_bytes batches_resent connects is_connected")

# The event as it was sent, the server's reason, and whether its id was used for another event.
Refusal = collections.namedtuple("Refusal", "event reason is_conflict")
TallyError = type("TallyError", (Exception,), {})  # what this package raises
InvalidError = type("InvalidError", (TallyError, ValueError), {})  # nothing was taken
ClosedError = type("ClosedError", (TallyError,), {})  # or it is another process's client
FullError = type("FullError", (TallyError,), {})  # nothing was taken
UnackedError = type("UnackedError", (TallyError, TimeoutError), {})  # the time is over


def uuid7():
    random_bits = uuid.uuid4().int & (1 << 76) - 1
    return str(uuid.UUID(int=clock.time_ns() // 10**6 << 80 | 7 << 76 | random_bits))


def pack(value, depth=0):
    is_map = isinstance(value, dict)
    if value is None or isinstance(value, bool):
        return {None: b"\xc0", False: b"\xc2", True: b"\xc3"}[value]
    if isinstance(value, int) and -2**63 <= value < 2**63:
        return bytes([value]) if 0 <= value < 128 else struct.pack(">Bq", 0xD3, value)
    if isinstance(value, float):
        return struct.pack(">Bd", 0xCB, value)
    if isinstance(value, (str, int, decimal.Decimal)):
        data = (value if isinstance(value, str) else str(value)).encode()
        head = bytes([0xA0 | len(data)]) if len(data) < 32 else struct.pack(">BI", 0xDB, len(data))
        return head + data
    if depth > DEPTH_MAX or not isinstance(value, (dict, list, tuple)) or (
            is_map and not all(isinstance(name, str) for name in value)):
        raise ValueError(f"a {type(value).__name__} is no property, or too deep")
    items = itertools.chain.from_iterable(value.items()) if is_map else value
    return struct.pack(">BI", 0xDF if is_map else 0xDD, len(value)) + b"".join(
        [pack(item, depth + 1) for item in items])


def unpack(data, at=0):
    """(The value at `at`, where it ends). IndexError: it is not whole."""
    m, at, items = data[at], at + 1, []
    if m < 0x80 or m in (0xC0, 0xC2, 0xC3):
        return {0xC0: None, 0xC2: False, 0xC3: True}.get(m, m), at
    number = m & (31 if m >= 0xA0 else 15)
    if m >= 0xC0:
        number, at = int.from_bytes(data[at:at + WIDTHS[m]], "big"), at + WIDTHS[m]
    is_number, is_text, is_map = 0xCC <= m <= 0xCE, 0xA0 <= m <= 0xDB, m < 0x90 or m >= 0xDE
    end = at + number if is_text and not is_number else at
    if len(data) < end:
        raise IndexError
    if is_number or is_text:
        return number if is_number else data[at:end].decode(), end
    for _ in range(2 * number if is_map else number):
        item, end = unpack(data, end)
        items.append(item)
    return dict(zip(items[::2], items[1::2])) if is_map else items, end


class Client(contextlib.AbstractContextManager):
    """Connects in the background. README.md has the options; times are seconds."""

    def __init__(self, server="127.0.0.1:24224", *, tls=None, shared_key=None, username="",
                 password="", backfill=None, on_refusal=None, **numbers):
        for name, value in numbers.items():
            if name not in DEFAULTS or not value > 0:
                raise InvalidError(f"there is no option {name} = {value}")
        self._settings = types.SimpleNamespace(**{**DEFAULTS, **numbers})
        self._credentials, self._addresses = shared_key and (shared_key, username, password), []
        for name in server.split(","):
            match = re.fullmatch(r"unix:(.+)|\[?(.+?)\]?:([0-9]{1,5})", name.strip())
            if not match or not (match[1] or 0 < int(match[3]) < 65536):
                raise InvalidError(f"server {name} is not HOST:PORT or unix:PATH")
            self._addresses.append(match[1] or (match[2], int(match[3])))
        self._on_refusal, self._pid, self._is_closing = on_refusal, os.getpid(), False
        self._tls = {} if tls is True else tls
        self._context = None if tls in (None, False) else ssl.create_default_context(
            cafile=self._tls.get("ca"))
        self._extension = {"results": True, **({"backfill": backfill} if backfill else {})}
        self._socket, self._received, self._pause = None, b"", self._settings.retry_min
        self._changed = threading.Condition()  # guards all that follows
        self._filling, self._size, self._due = [], 0, math.inf  # a batch's (entry, event or None)
        self._unacked, self._flying, self._is_stopped = [], 0, False  # the first `flying` are sent
        self.stats = collections.Counter(dict.fromkeys(COUNTERS.split(), 0) | {"last_error": ""})
        threading.Thread(target=self._run, name="tally-client", daemon=True).start()
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
        try:  # what else can be wrong with it the server says (on_refusal)
            seconds = clock.time() if time is None else getattr(time, "timestamp", lambda: time)()
            stamp = divmod(round(seconds * 10**6) * 1000, 10**9)
            entry = struct.pack(">BBBII", 0x92, 0xD7, 0, *stamp) + pack(event)
        except (TypeError, ValueError, OverflowError, struct.error) as error:
            raise InvalidError(f"the event cannot be sent: {error}") from None
        if len(entry) > 64 * 1024:
            raise InvalidError("the event is larger than 64 KiB")
        if self._pid != os.getpid():
            raise ClosedError("a forked process needs a client of its own")
        settings, room_for = self._settings, self._settings.buffer_bytes - len(entry) - FRAME_BYTES
        with self._changed:
            if not self._changed.wait_for(lambda: self._is_closing or (
                    self.stats["buffered_bytes"] <= room_for), timeout):
                raise FullError("the buffer is full")
            if self._is_closing:
                raise ClosedError("the client is closed")
            if not self._filling:
                self._due = clock.monotonic() + settings.batch_age
                self.stats["buffered_bytes"] += FRAME_BYTES
                self._changed.notify_all()
            self.stats.update(events_sent=1, events_buffered=1, buffered_bytes=len(entry))
            self._size += len(entry)
            self._filling.append((entry, event if self._on_refusal else None))
            if self._size >= settings.batch_bytes or len(self._filling) >= settings.batch_events:
                self._seal()
        return fields["id"]

    def flush(self, timeout=30):
        """Sends what is batched and waits until all sent before is acked, or UnackedError."""
        with self._changed:
            if self._filling:
                self._seal()
            batches = list(self._unacked)
            if not self._changed.wait_for(lambda: all(it.is_acked for it in batches), timeout):
                raise UnackedError("{events_buffered} unacked; {last_error}".format(**self.stats))

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
                self._is_stopped = True
                self._changed.notify_all()
                with contextlib.suppress(AttributeError, OSError):  # no connection
                    socket.socket.shutdown(self._socket, socket.SHUT_RDWR)  # wakes the thread up
                self._changed.wait_for(lambda: not self.stats["is_connected"], 1)

    def _seal(self):
        entries, events = zip(*self._filling)
        chunk, head = uuid7(), b"\x93\xa5tally\xc6" + struct.pack(">I", self._size)
        tail = pack({"size": len(entries), "chunk": chunk, "tally": self._extension})
        self._unacked.append(types.SimpleNamespace(
            chunk=chunk, events=events, frame=b"".join((head, *entries, tail)),
            buffered=self._size + FRAME_BYTES, is_sent=False, is_acked=False))
        self._filling, self._size, self._due = [], 0, math.inf
        self._changed.notify_all()

    def _run(self):
        """One server after the other; after each round a pause, which grows until an ack."""
        for address in itertools.cycle(self._addresses):
            try:
                with contextlib.ExitStack() as stack:
                    self._connect(address, stack.enter_context)
                    self._serve()
            except Exception as error:  # also what a strange answer led to: it ends the connection
                kind = "ack" if self.stats["is_connected"] else "connection"
                late = isinstance(error, socket.timeout) and f"no {kind} in time"
                self.stats["last_error"] = late or f"{type(error).__name__}: {error}"
            with self._changed:
                self._flying, self.stats["is_connected"], pause = 0, False, 0
                self._changed.notify_all()
                if address == self._addresses[-1]:
                    pause = self._pause * random.uniform(0.5, 1)
                    self._pause = min(2 * self._pause, self._settings.retry_max)
                if self._changed.wait_for(lambda: self._is_stopped, pause):
                    return

    def _connect(self, address, opened):
        """On a unix socket there is no TLS, and tallyd asks its own user for no key: no HELO."""
        timeout, has_helo = self._settings.connect_timeout, not isinstance(address, str)
        if has_helo:
            self._socket = opened(socket.create_connection(address, timeout))
            self._socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, True)
            if self._context:
                self._socket = opened(self._context.wrap_socket(
                    self._socket, server_hostname=self._tls.get("servername", address[0])))
        else:
            self._socket = opened(socket.socket(socket.AF_UNIX))
            self._socket.settimeout(timeout)
            self._socket.connect(address)
            self._socket.settimeout(1)
            with contextlib.suppress(socket.timeout):
                has_helo = self._credentials and self._socket.recv(1, socket.MSG_PEEK)
        self._socket.settimeout(timeout)
        self._received = b""
        if self._credentials and has_helo:
            self._handshake(*self._credentials)

    def _handshake(self, shared_key, username, password):
        """Both sides prove that they know the key, and do not say it: HELO, PING, PONG."""
        def digest(*parts):
            return hashlib.sha512("".join(parts).encode()).hexdigest()
        salt, (_, helo) = uuid.uuid4().hex, self._read()
        proof = digest(salt, SELF, helo["nonce"], shared_key)
        user_proof = digest(helo["auth"], username, password) if helo["auth"] else ""
        self._socket.sendall(pack(["PING", SELF, salt, proof, username, user_proof]))
        word, is_welcome, reason, name, proof = self._read()
        if word != "PONG" or is_welcome is not True:
            raise TallyError(f"the server refused: {reason}")
        right = digest(salt, name, helo["nonce"], shared_key)
        if name == SELF or not hmac.compare_digest(proof.encode(), right.encode()):
            raise TallyError("the server has another shared key")

    def _serve(self):
        """Sends what may be sent and looks for an answer, or waits for one."""
        settings, limit = self._settings, self._settings.in_flight_batches
        self.stats.update(connects=1)
        self.stats["is_connected"], self.stats["last_error"] = True, ""
        while not self._is_stopped:
            with self._changed:
                if not self._unacked and not self._is_stopped:  # at times, is the server there?
                    self._changed.wait(min(self._due - clock.monotonic(), 1))
                if clock.monotonic() >= self._due and len(self._unacked) < limit:
                    self._seal()
                batches = self._unacked[self._flying:limit][:1]
                self._flying += len(batches)
            for batch in batches:
                self.stats["batches_resent"] += batch.is_sent
                batch.is_sent = True
                self._socket.settimeout(settings.ack_timeout)
                self._socket.sendall(batch.frame)
            self._socket.settimeout(0 if batches or not self._flying else settings.ack_timeout)
            with contextlib.suppress(BlockingIOError, ssl.SSLWantReadError):
                self._settle(self._read())

    def _read(self):
        """The server's next message, within the socket's timeout."""
        while True:
            with contextlib.suppress(IndexError):
                message, end = unpack(self._received)
                self._received = self._received[end:]
                return message
            data = self._socket.recv(65536)
            if not data or len(self._received) > 2**20:
                raise TallyError("the server closed the connection, or its answer does not end")
            self._received += data

    def _settle(self, answer):
        chunk = answer.get("ack") if isinstance(answer, dict) else None
        batch = next((it for it in self._unacked[:self._flying] if it.chunk == chunk), None)
        if batch is None:
            is_helo = isinstance(answer, list) and answer[:1] == ["HELO"]
            raise TallyError("the server asks for a shared key" if is_helo else "this is no ack")
        rejected, conflicts = answer.get("rejected", []), answer.get("conflicts", [])
        refused = [(*it, False) for it in rejected] + [(it, "conflict", True) for it in conflicts]
        for index, *why in refused if self._on_refusal else []:
            try:
                self._on_refusal(Refusal(batch.events[index], *why))
            except Exception:
                logging.getLogger(__name__).exception("on_refusal failed")
        with self._changed:
            self._unacked.remove(batch)
            batch.is_acked, self._pause = True, self._settings.retry_min
            self._flying -= 1
            self.stats.update(
                buffered_bytes=-batch.buffered, events_buffered=-len(batch.events),
                events_acked=len(batch.events), events_duplicate=answer.get("duplicates", 0),
                events_rejected=answer.get("rejected_count", len(rejected)),
                events_conflict=answer.get("conflicts_count", len(conflicts)))
            self._changed.notify_all()
