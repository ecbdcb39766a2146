"""An event as an entry of a frame, its envelope checked as the server will."""

import datetime
import decimal
import math
import re
import struct
import time as clock
import uuid

from tally_client.msgpack import InvalidError, pack

EVENT_BYTES_MAX = 64 * 1024  # as the server has it
EPOCH = datetime.datetime(1970, 1, 1, tzinfo=datetime.timezone.utc)
DECIMAL = re.compile(r"[+-]?([0-9]+\.?[0-9]*|\.[0-9]+)([eE][+-]?[0-9]+)?")
TEXTS_MAX = {"subject": 255, "type": 100, "id": 128, "source": 255}


def uuid7():
    random_bits = uuid.uuid4().int & (1 << 76) - 1
    return str(uuid.UUID(int=clock.time_ns() // 10**6 << 80 | 7 << 76 | random_bits))


def time_ns_of(time):
    """Nanoseconds of None (now), of a datetime with a zone, or of seconds since 1970."""
    if time is None:
        return clock.time_ns()
    if isinstance(time, datetime.datetime) and time.tzinfo is not None:
        return (time - EPOCH) // datetime.timedelta(microseconds=1) * 1000
    if isinstance(time, (int, float)):
        return round(time * 10**6) * 1000
    raise InvalidError("time is no datetime with a zone and no number of seconds")


def is_number(value):
    if isinstance(value, str):
        return DECIMAL.fullmatch(value)
    if isinstance(value, decimal.Decimal):
        return value.is_finite()
    if isinstance(value, float):
        return math.isfinite(value)
    return isinstance(value, int) and not isinstance(value, bool)


def entry_pack(time_ns, reserved, properties):
    """[EventTime, record], packed."""
    for name in TEXTS_MAX.keys() & reserved.keys():
        text, most = reserved[name], TEXTS_MAX[name]
        if not isinstance(text, str) or not 1 <= len(text.encode()) <= most:
            raise InvalidError(f"{name} is not a string of 1-{most} bytes")
    if "value" in reserved and not is_number(reserved["value"]):
        raise InvalidError("value is not a number")
    if not 0 <= time_ns < 2**32 * 10**9:
        raise InvalidError("time is not between 1970 and 2106")
    for key in properties:
        if key in TEXTS_MAX or key == "value" or not isinstance(key, str):
            raise InvalidError(f"{key!r} is no name for a property")
    out = bytearray(struct.pack(">BBBII", 0x92, 0xD7, 0, *divmod(time_ns, 10**9)))
    pack(out, {**reserved, **properties})
    if len(out) > EVENT_BYTES_MAX:
        raise InvalidError("the event is larger than 64 KiB")
    return out
