"""A client of tallyd written from docs/wire.md alone, and a tallyd to talk to.

    with wire_client.Server() as server:
        with server.connect() as wire:
            wire.write(pack(["api_call", [[None, {"subject": "s"}]], {"chunk": "c"}]))
            assert wire.read() == {"ack": "c"}

pack() writes the shortest form of a value; bytes are bin, Raw is put in as it is. unpack() reads
what a server may answer. Nothing here knows the server's source.
"""

import itertools
import os
import shutil
import signal
import socket
import ssl
import struct
import subprocess

import support

START_SECONDS = 60
CHUNKS = itertools.count(1)


class Raw(bytes):
    """Bytes of msgpack, put in as they are."""


def head(short, short_max, forms, size):
    """The header of a text, list or map: a short form, or the narrowest of (tag, width)."""
    if short is not None and size <= short_max:
        return bytes([short | size])
    for tag, width in forms:
        if size < 1 << (8 * width):
            return bytes([tag]) + size.to_bytes(width, "big")
    raise ValueError(size)


def pack_integer(value):
    if -32 <= value < 128:
        return struct.pack("b", value)
    for tag, width, signed in ((0xcc, 1, False), (0xcd, 2, False), (0xce, 4, False),
                               (0xcf, 8, False), (0xd0, 1, True), (0xd1, 2, True),
                               (0xd2, 4, True), (0xd3, 8, True)):
        try:
            return bytes([tag]) + value.to_bytes(width, "big", signed=signed)
        except OverflowError:
            continue
    raise ValueError(value)


def pack(value):
    if isinstance(value, Raw):
        return bytes(value)
    if value is None or isinstance(value, bool):
        return {None: b"\xc0", False: b"\xc2", True: b"\xc3"}[value]
    if isinstance(value, int):
        return pack_integer(value)
    if isinstance(value, float):
        return b"\xcb" + struct.pack(">d", value)
    if isinstance(value, str):
        data = value.encode()
        return head(0xa0, 31, ((0xd9, 1), (0xda, 2), (0xdb, 4)), len(data)) + data
    if isinstance(value, bytes):
        return head(None, 0, ((0xc4, 1), (0xc5, 2), (0xc6, 4)), len(value)) + value
    if isinstance(value, list):
        return (head(0x90, 15, ((0xdc, 2), (0xdd, 4)), len(value))
                + b"".join(map(pack, value)))
    return (head(0x80, 15, ((0xde, 2), (0xdf, 4)), len(value))
            + b"".join(pack(key) + pack(item) for key, item in value.items()))


def pack_wide(value):
    """The same value in the widest forms there are."""
    if isinstance(value, int) and not isinstance(value, bool):
        return b"\xd3" + struct.pack(">q", value)
    if isinstance(value, str):
        return b"\xdb" + struct.pack(">I", len(value.encode())) + value.encode()
    if isinstance(value, list):
        return b"\xdd" + struct.pack(">I", len(value)) + b"".join(map(pack_wide, value))
    if isinstance(value, dict):
        pairs = b"".join(pack_wide(key) + pack_wide(item) for key, item in value.items())
        return b"\xdf" + struct.pack(">I", len(value)) + pairs
    return pack(value)


def event_time(seconds, nanoseconds=0, header=b"\xd7\x00"):
    return Raw(header + struct.pack(">II", seconds, nanoseconds))


def float32(value):
    return Raw(b"\xca" + struct.pack(">f", value))


class Short(Exception):
    """More bytes are needed."""


def take(data, at, size):
    if at + size > len(data):
        raise Short
    return data[at:at + size], at + size


def unpack_many(data, at, count):
    values = []
    for _ in range(count):
        value, at = unpack(data, at)
        values.append(value)
    return values, at


def unpack(data, at=0):
    """The value at `at` and where it ends: nil, booleans, integers, texts, lists, maps."""
    (tag,), at = take(data, at, 1)
    if tag < 0x80 or tag >= 0xe0:
        return tag - (0x100 if tag >= 0xe0 else 0), at
    if tag in (0xc0, 0xc2, 0xc3):
        return {0xc0: None, 0xc2: False, 0xc3: True}[tag], at
    if 0xcc <= tag <= 0xcf:
        piece, at = take(data, at, 1 << (tag - 0xcc))
        return int.from_bytes(piece, "big"), at
    if tag < 0xc0:
        kind, size = tag & 0xe0 if tag >= 0xa0 else tag & 0xf0, tag & (0x1f if tag >= 0xa0 else 0xf)
    else:
        kind, width = {0xd9: (0xa0, 1), 0xda: (0xa0, 2), 0xdb: (0xa0, 4), 0xc4: (0xc4, 1),
                       0xc5: (0xc4, 2), 0xc6: (0xc4, 4), 0xdc: (0x90, 2), 0xdd: (0x90, 4),
                       0xde: (0x80, 2), 0xdf: (0x80, 4)}[tag]
        piece, at = take(data, at, width)
        size = int.from_bytes(piece, "big")
    if kind in (0xa0, 0xc4):
        piece, at = take(data, at, size)
        return piece.decode() if kind == 0xa0 else piece, at
    if kind == 0x90:
        return unpack_many(data, at, size)
    flat, at = unpack_many(data, at, 2 * size)
    return dict(zip(flat[::2], flat[1::2])), at


class Wire:
    """One connection."""

    def __init__(self, address, tls=None):
        """tls: a client's context, for a server that speaks it."""
        family = socket.AF_UNIX if isinstance(address, str) else socket.AF_INET
        self.socket = socket.socket(family, socket.SOCK_STREAM)
        self.socket.settimeout(60)
        self.socket.connect(address)
        if tls is not None:
            self.socket = tls.wrap_socket(self.socket, server_hostname=address[0])
        self.got = b""

    def __enter__(self):
        return self

    def __exit__(self, kind, value, trace):
        self.socket.close()

    def write(self, data):
        self.socket.sendall(data)

    def read_raw(self):
        """The bytes of the next value from the server; None at the end of the stream."""
        while True:
            try:
                _, end = unpack(self.got)
                value, self.got = self.got[:end], self.got[end:]
                return value
            except Short:
                pass
            try:
                piece = self.socket.recv(65536)
            except (ConnectionResetError, ssl.SSLError):
                piece = b""
            if not piece:
                assert not self.got, f"it ended within an answer: {self.got!r}"
                return None
            self.got += piece

    def read(self):
        raw = self.read_raw()
        assert raw is not None, "it ended"
        return unpack(raw)[0]

    def is_ended(self):
        return self.read_raw() is None

    def ask(self, message):
        self.write(message if isinstance(message, bytes) else pack(message))
        return self.read()


def chunk_name():
    return f"chunk-{next(CHUNKS)}"


class Server(support.Stack):
    """A tallyd of its own, without the rest of the stack."""

    def __init__(self, *arguments):
        super().__init__()
        self.arguments = arguments
        self.process = None
        self.log_path = os.path.join(self.folder, "tallyd.log")

    def __enter__(self):
        self.begin()
        return self

    def __exit__(self, kind, value, trace):
        try:
            if self.process is not None:
                self.end()
        finally:
            if self.process is not None:
                self.process.kill()
                self.process.wait()
            shutil.rmtree(self.folder, ignore_errors=True)

    def begin(self):
        assert self.process is None
        command = self.command("tallyd", *self.arguments)
        if "--tcp" not in self.arguments:
            command += ["--tcp", "127.0.0.1:0"]
        command += ["--metrics", "127.0.0.1:0"]
        with open(self.log_path, "ab") as log:
            self.process = subprocess.Popen(
                command, env=self.env, cwd=self.folder, stdout=log, stderr=log)
        path = os.path.join(self.data, "tallyd.json")
        support.wait_for("tallyd", lambda: self.has_begun(path), START_SECONDS)

    def has_begun(self, path):
        """A file that a killed one left behind is another's."""
        assert self.process.poll() is None, self.log()
        return os.path.exists(path) and self.tallyd()["pid"] == self.process.pid

    def end(self, number=signal.SIGTERM):
        self.process.send_signal(number)
        code = self.process.wait(120)
        self.process = None
        assert code == (0 if number == signal.SIGTERM else -number), (code, self.log())
        assert not support.SANITIZER.search(self.log()), self.log()

    def log(self):
        with open(self.log_path, encoding="utf-8", errors="replace") as file:
            return file.read()

    def connect(self):
        return Wire(self.address())

    def connect_unix(self):
        return Wire(self.tallyd()["unix"])

    def datagrams(self):
        host, port = self.tallyd()["udp"].rsplit(":", 1)
        wire = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        wire.settimeout(60)
        wire.connect((host, int(port)))
        return wire

    def ask(self, message):
        with self.connect() as wire:
            return wire.ask(message)

    def results(self, entries, tag="api_call", **option):
        """The answer to a message of these entries."""
        option = {"chunk": chunk_name(), "tally": {"results": True}, **option}
        answer = self.ask([tag, entries, option])
        assert answer["ack"] == option["chunk"], answer
        return answer

    def reason(self, record, time=None, tag="api_call"):
        """Why an event is rejected; None: it is not."""
        rejected = self.results([[time, record]], tag)["rejected"]
        return rejected[0][1] if rejected else None
