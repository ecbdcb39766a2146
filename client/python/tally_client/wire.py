"""What goes over the wire: as much msgpack as is needed, and the Forward protocol's handshake."""

import contextlib
import decimal
import hashlib
import hmac
import secrets
import struct

DEPTH_MAX = 8  # as the server has it; a frame that nests far deeper would cost the connection
SELF = "tally-client"  # no server's name: its proof could be a copy of ours
WIDTHS = {0xCC: 1, 0xCD: 2, 0xCE: 4, 0xD9: 1, 0xDA: 2, 0xDB: 4, 0xDC: 2, 0xDD: 4, 0xDE: 2, 0xDF: 4}


class TallyError(Exception):
    """What this package raises."""


def pack_text(text):
    data, size = text.encode(), len(text.encode())
    if size < 256:
        return (bytes([0xA0 | size]) if size < 32 else bytes([0xD9, size])) + data
    return struct.pack(">BI", 0xDB, size) + data


def pack(value, depth=0):
    if value is None or isinstance(value, bool):
        return {None: b"\xc0", False: b"\xc2", True: b"\xc3"}[value]
    if isinstance(value, int) and -2**63 <= value < 2**63:
        return bytes([value]) if 0 <= value < 128 else struct.pack(">Bq", 0xD3, value)
    if isinstance(value, (str, int, decimal.Decimal)):
        return pack_text(str(value))
    if isinstance(value, float):
        return struct.pack(">Bd", 0xCB, value)
    if depth > DEPTH_MAX or not isinstance(value, (dict, list, tuple)):
        raise ValueError(f"a {type(value).__name__} is no property, or too deep")
    if isinstance(value, dict):
        items = [pack_text(key) + pack(item, depth + 1) for key, item in value.items()]
        return struct.pack(">BI", 0xDF, len(value)) + b"".join(items)
    return struct.pack(">BI", 0xDD, len(value)) + b"".join(pack(it, depth + 1) for it in value)


def unpack(data, at=0):
    """(The value at `at`, where it ends). IndexError: it is not whole."""
    m, at = data[at], at + 1
    if m < 0x80:
        return m, at
    if m in (0xC0, 0xC2, 0xC3):
        return {0xC0: None, 0xC2: False, 0xC3: True}[m], at
    if m >= 0xC0 and m not in WIDTHS:
        raise TallyError("the server sent unknown msgpack")
    end = at + WIDTHS.get(m, 0)
    number = int.from_bytes(data[at:end], "big") if m >= 0xC0 else m & (31 if m >= 0xA0 else 15)
    is_text = 0xA0 <= m < 0xC0 or 0xD9 <= m <= 0xDB
    if len(data) < end + (number if is_text else 0):
        raise IndexError
    if 0xCC <= m <= 0xCE:
        return number, end
    if is_text:
        return data[end:end + number].decode(), end + number
    is_map, items = m < 0x90 or m >= 0xDE, []
    for _ in range(2 * number if is_map else number):
        item, end = unpack(data, end)
        items.append(item)
    return dict(zip(items[::2], items[1::2])) if is_map else items, end


async def messages_of(reader):
    received = b""
    while len(received) < 2**20 and (data := await reader.read(65536)):
        received += data
        with contextlib.suppress(IndexError):
            while True:
                message, end = unpack(received)
                received = received[end:]
                yield message
    raise TallyError("the server closed the connection")


def digest(*parts):
    return hashlib.sha512("".join(parts).encode()).hexdigest()


async def handshake(writer, messages, shared_key, username, password):
    """Both sides prove that they know the key, and do not say it: HELO, PING, PONG."""
    salt, helo = secrets.token_hex(16), await messages.__anext__()
    if not isinstance(helo, list) or helo[0] != "HELO":
        raise TallyError("the server asks for no shared key")
    nonce, auth = helo[1]["nonce"], helo[1]["auth"]
    user_proof = digest(auth, username, password) if auth else ""
    proof = digest(salt, SELF, nonce, shared_key)
    writer.write(pack(["PING", SELF, salt, proof, username, user_proof]))
    word, is_welcome, reason, name, proof = await messages.__anext__()
    if word != "PONG" or is_welcome is not True:
        raise TallyError(f"the server refused: {reason}")
    right = digest(salt, name, nonce, shared_key)
    if name == SELF or not hmac.compare_digest(proof.encode(), right.encode()):
        raise TallyError("the server has another shared key")
