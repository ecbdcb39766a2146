"""As much msgpack as events and acks take."""

import decimal
import struct

DEPTH_MAX = 8


class TallyError(Exception):
    """What this package raises."""


class InvalidError(TallyError, ValueError):
    """An event or an option breaks a rule; nothing was taken."""


class Incomplete(Exception):
    """More bytes are to come."""


def pack_text(out, text):
    data = text.encode()
    size = len(data)
    if size < 32:
        out.append(0xA0 | size)
    else:
        out += struct.pack(">BB", 0xD9, size) if size < 256 else struct.pack(">BI", 0xDB, size)
    out += data


def pack_int(out, value):
    if 0 <= value < 128:
        out.append(value)
    elif -2**63 <= value < 2**63:
        out += struct.pack(">Bq", 0xD3, value)
    else:
        pack_text(out, str(value))


def pack_items(out, value, depth):
    """A list or a dict."""
    if depth > DEPTH_MAX:
        raise InvalidError(f"properties nest deeper than {DEPTH_MAX}")
    is_map = isinstance(value, dict)
    size = len(value)
    if size < 16:
        out.append((0x80 if is_map else 0x90) | size)
    else:
        out += struct.pack(">BI", 0xDF if is_map else 0xDD, size)
    for item in value:
        if is_map:
            pack_text(out, item)
            item = value[item]
        pack(out, item, depth + 1)


def pack(out, value, depth=0):
    if value is None:
        out.append(0xC0)
    elif isinstance(value, bool):
        out.append(0xC3 if value else 0xC2)
    elif isinstance(value, str):
        pack_text(out, value)
    elif isinstance(value, int):
        pack_int(out, value)
    elif isinstance(value, float):
        out += struct.pack(">Bd", 0xCB, value)
    elif isinstance(value, decimal.Decimal):
        pack_text(out, str(value))
    elif isinstance(value, (dict, list, tuple)):
        pack_items(out, value, depth)
    else:
        raise InvalidError(f"a {type(value).__name__} is no property")


class Reader:
    """Reads what the server answers, and what was packed here."""

    def __init__(self, data, at=0):
        self.data = data
        self.at = at

    def take(self, size):
        self.at += size
        if self.at > len(self.data):
            raise Incomplete
        return bytes(self.data[self.at - size:self.at])

    def uint(self, power):
        return int.from_bytes(self.take(1 << power), "big")

    def map(self, count):
        return {self.any(): self.any() for _ in range(count)}

    def any(self):
        m = self.uint(0)
        if m < 0x80:
            return m
        if m < 0x90 or m >= 0xDE:
            return self.map(m & 15 if m < 0x90 else self.uint(m - 0xDD))
        if m < 0xA0 or m >= 0xDC:
            return [self.any() for _ in range(m & 15 if m < 0xA0 else self.uint(m - 0xDB))]
        if m < 0xC0 or m >= 0xD9:
            return self.take(m & 31 if m < 0xC0 else self.uint(m - 0xD9)).decode()
        if m <= 0xC3:
            return (None, None, False, True)[m & 3]
        if 0xCC <= m <= 0xCE:
            return self.uint(m - 0xCC)
        if m in (0xCB, 0xD3):
            return struct.unpack(">d" if m == 0xCB else ">q", self.take(8))[0]
        if m == 0xD7:
            return self.take(9)  # EventTime
        raise TallyError("the server sent unknown msgpack")
