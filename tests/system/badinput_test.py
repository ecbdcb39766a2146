"""Bad bytes on the wire, thousands of them, while a good client goes on.

Truncated at every byte, mutated, random, with lengths and counts that lie: tallyd must go on, keep
its memory bounded, close what is broken, and count of the good client what it acked. Seeded;
TALLY_SEED sets another seed.
"""

import os
import random
import socket
import struct
import threading
import time
import unittest

import support

SEED = int(os.environ.get("TALLY_SEED", "1789"))
MUTATIONS = 3000
RANDOMS = 500
MEMORY_GROWTH_MAX_KIB = 1 << 20  # of resident memory; sanitizers keep a lot

LIES = [
    b"\xc1",                                       # a byte that msgpack never uses
    b"\xdd\xff\xff\xff\xff",                       # an array of four thousand million
    b"\xdf\xff\xff\xff\xff",                       # a map of as many
    b"\xdc\xff\xff",
    b"\xdb\xff\xff\xff\xff",                       # a string of 4 GiB
    b"\xc6\xff\xff\xff\xff",
    b"\xc9\xff\xff\xff\xff\x00",
    b"\x93\xa1t\xdd\x00\x98\x96\x80",              # ten million entries in five bytes
    b"\x93\xa1t\xc6\x7f\xff\xff\xff",              # packed entries of 2 GiB
    b"\x92\xa1t\xdf\x00\xff\xff\xff",
    b"\x91" * 4000,                                # four thousand arrays in each other
    b"\x81\xa1a" * 4000,
    b"\x93\xa1t" + b"\x91" * 600 + b"\xc0",
    b"\x00", b"\xc0" * 1000, b"\xff" * 1000, b"\x80" * 1000,
    b"GET / HTTP/1.1\r\nHost: x\r\n\r\n",
    b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + b"\x00" * 200,   # TLS
]


def evil_messages():
    """Valid messages of every mode, of a subject of their own."""
    now = int(time.time())
    record = {"subject": "evil", "type": "api_call", "id": "e-1", "value": 1,
              "deep": {"a": {"b": 1}}}
    event_time = b"\xd7\x00" + struct.pack(">II", now, 5)
    packed = b"".join(b"\x92" + event_time + support.pack(record) for _ in range(3))
    return [
        support.pack(["t", now, record, {"chunk": "c1"}]),
        support.pack(["t", [[now, record], [now, record]], {"chunk": "c2"}]),
        support.pack(["t", packed, {"chunk": "c3", "size": 3, "tally": {"results": True}}]),
    ]


class GoodClient(threading.Thread):
    """Sends batches with acks until it is told to stop."""

    def __init__(self, address):
        super().__init__()
        self.address = address
        self.stopping = threading.Event()
        self.sent = 0
        self.failure = None

    def run(self):
        try:
            client = support.Client(self.address)
            while not self.stopping.is_set():
                records = [{"subject": "good", "type": "api_call", "id": f"g-{self.sent + i}",
                            "value": 1} for i in range(20)]
                client.send("api_call", records, f"chunk-{self.sent}")
                self.sent += len(records)
            client.close()
        except Exception as failure:  # shown by the test's own thread
            self.failure = failure


class BadInput(unittest.TestCase):
    def setUp(self):
        self.stack = support.Stack()
        self.stack.up()
        self.stack.tally("meter", "add", "events", "--event-type", "api_call",
                         "--aggregation", "count")
        self.address = self.stack.address()

    def tearDown(self):
        self.stack.__exit__(None, None, None)

    def throw(self, data):
        """Sends bytes on a connection of their own and hangs up."""
        with socket.create_connection(self.address, timeout=30) as wire:
            try:
                wire.sendall(data)
            except (BrokenPipeError, ConnectionResetError):
                pass  # it hung up first, which is its right

    def closes(self, data):
        """Whether tallyd closes a connection on which these bytes arrive."""
        with socket.create_connection(self.address, timeout=30) as wire:
            try:
                wire.sendall(data)
                return wire.recv(1) == b""
            except ConnectionResetError:
                return True

    def memory_kib(self):
        with open(f"/proc/{self.stack.tallyd()['pid']}/status", encoding="utf-8") as file:
            rows = dict(line.split(":", 1) for line in file)
        return int(rows["VmRSS"].split()[0])

    def mutated(self, source, message):
        data = bytearray(message)
        for _ in range(source.randrange(1, 5)):
            kind = source.randrange(4)
            at = source.randrange(len(data))
            if kind == 0:
                data[at] = source.randrange(256)
            elif kind == 1:
                data[at:at] = source.randbytes(source.randrange(1, 9))
            elif kind == 2:
                del data[at:at + source.randrange(1, 9)]
                data = data or bytearray(b"\xc0")
            else:
                data[at] = source.choice(b"\xc1\xc6\xc9\xdb\xdc\xdd\xde\xdf\xd9\xff\x9f\x8f")
        return bytes(data)

    def throw_all(self, source):
        messages = evil_messages()
        for message in messages:
            for size in range(len(message)):
                self.throw(message[:size])
        for lie in LIES:
            self.throw(lie)
        for _ in range(MUTATIONS):
            self.throw(self.mutated(source, source.choice(messages)))
        for _ in range(RANDOMS):
            self.throw(source.randbytes(source.randrange(1, 2000)))

    def test_a_good_client_goes_on(self):
        source = random.Random(SEED)
        print(f"seed {SEED}")
        pid = self.stack.tallyd()["pid"]
        good = GoodClient(self.address)
        good.start()
        try:
            support.wait_for("the good client", lambda: good.sent > 0)
            before = self.memory_kib()
            self.throw_all(source)
            after = self.memory_kib()
        finally:
            good.stopping.set()
            good.join(60)
        self.assertIsNone(good.failure)
        self.assertEqual(self.stack.tallyd()["pid"], pid)
        self.assertTrue(support.process_alive(pid))
        self.assertLess(after - before, MEMORY_GROWTH_MAX_KIB)
        self.assertEqual(self.stack.usage("events", "good"), str(good.sent))
        self.stack.tally("status")

    def send_until_acked(self, wire):
        """As a client does it, since datagrams get lost; how often it was sent."""
        record = {"subject": "datagram", "type": "api_call", "id": "d-1"}
        message = support.pack(["t", [[int(time.time()), record]], {"chunk": "last"}])
        wire.settimeout(2)
        for count in range(1, 20):
            wire.send(message)
            try:
                # Other answers may come first: some of the noise is valid.
                while wire.recv(65536) != b"\x81" + support.pack("ack") + support.pack("last"):
                    pass
                return count
            except socket.timeout:
                continue
        raise AssertionError("no ack")

    def test_noise_in_datagrams(self):
        source = random.Random(SEED)
        host, port = self.stack.tallyd()["udp"].rsplit(":", 1)
        good = GoodClient(self.address)
        good.start()
        sent = 0
        try:
            with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as wire:
                wire.connect((host, int(port)))
                messages = evil_messages()
                for data in LIES + [self.mutated(source, source.choice(messages))
                                    for _ in range(MUTATIONS)]:
                    wire.send(data)
                    sent += 1
                sent += self.send_until_acked(wire)
        finally:
            good.stopping.set()
            good.join(60)
        self.assertIsNone(good.failure)
        support.wait_for("every datagram to be counted", lambda: sent == (
            self.stack.metric("tally_udp_datagrams_total")
            + self.stack.metric('tally_udp_dropped_total{by="kernel"}')))
        self.assertEqual(self.stack.usage("events", "datagram"), "1")
        self.assertEqual(self.stack.usage("events", "good"), str(good.sent))

    def test_broken_frames_close_their_connection(self):
        for data in (b"\xc1", b"\x91" * 4000, b"\xdd\xff\xff\xff\xff",
                     b"\x93\xa1t\xc6\x7f\xff\xff\xff", b"GET / HTTP/1.1\r\n\r\n"):
            self.assertTrue(self.closes(data), data[:20])

    def test_nothing_of_an_incomplete_frame_is_stored(self):
        records = [{"subject": "half", "type": "api_call", "id": f"h-{i}"} for i in range(5)]
        frame = support.pack(["t", [[int(time.time()), record] for record in records]])
        self.throw(frame[:-1])
        client = support.Client(self.address)
        client.send("t", [{"subject": "whole", "type": "api_call"}], "after")
        client.close()
        self.assertEqual(self.stack.usage("events", "half"), "0")
        self.assertEqual(self.stack.usage("events", "whole"), "1")

    def test_a_bad_event_does_not_decide_for_its_neighbours(self):
        client = support.Client(self.address)
        good = {"subject": "next", "type": "api_call"}
        bad = [{"type": "api_call"}, {"subject": "", "type": "api_call"},
               {"subject": "next", "type": "x" * 101}, {"subject": "next", "value": "NaN"},
               {"subject": "next", "value": float("inf")}, {"subject": 5},
               {"subject": "next", "id": "y" * 129}]
        records = []
        for i, record in enumerate(bad):
            records += [dict(good, id=f"n-{i}"), record]
        client.send("api_call", records, "mixed")
        client.close()
        self.assertEqual(self.stack.usage("events", "next"), str(len(bad)))


if __name__ == "__main__":
    unittest.main(verbosity=2)
