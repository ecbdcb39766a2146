"""Options: defaults and ranges."""

import re
import types

from tally_client.msgpack import InvalidError

NUMBERS = {  # default, least, greatest
    "buffer_bytes": (64 * 2**20, 2**17, 2**40), "batch_bytes": (256 * 1024, 1, 8 * 2**20),
    "batch_events": (1000, 1, 65536), "batch_age": (0.05, 0.001, 1e6),
    "in_flight_batches": (8, 1, 256), "retry_min": (0.1, 0.001, 1e6), "retry_max": (10, 0.001, 1e6),
    "ack_timeout": (30, 0.001, 1e6), "connect_timeout": (5, 0.001, 1e6)}


def address_of(server):
    """(host, port), or the path of a unix socket."""
    match = re.fullmatch(r"unix:(.+)|\[?(.+?)\]?:([0-9]{1,5})", server)
    if not match or not (match[1] or 0 < int(match[3]) < 65536):
        raise InvalidError(f"server {server} is not HOST:PORT or unix:PATH")
    return match[1] or (match[2], int(match[3]))


def extension_of(backfill):
    """What the option `tally` of a frame says."""
    if backfill is None:
        return {"results": True}
    if not isinstance(backfill, str) or not 1 <= len(backfill.encode()) <= 100:
        raise InvalidError("backfill is a name of 1-100 bytes")
    return {"results": True, "backfill": backfill}


def settings_of(given):
    unknown = given.keys() - NUMBERS.keys()
    if unknown:
        raise InvalidError(f"there is no option {', '.join(sorted(unknown))}")
    for name, value in given.items():
        _, least, most = NUMBERS[name]
        if not isinstance(value, (int, float)) or not least <= value <= most:
            raise InvalidError(f"{name} is {value}; it may be {least} to {most}")
    usual = {name: row[0] for name, row in NUMBERS.items()}
    return types.SimpleNamespace(**{**usual, **given})
