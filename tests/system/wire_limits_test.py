"""What docs/wire.md says of broken messages, the handshake, UDP and limits, seen by a client."""

import gzip
import hashlib
import os
import random
import re
import select
import signal
import socket
import time
import unittest
import urllib.request

import support
from wire_client import Raw, Server, chunk_name, pack, unpack
from wire_proves import proves
from wire_test import DAY, WireTest

KEY = "a shared key"
KIB = 1024


def nils(count):
    """So many entries that are none: they are rejected, and squeezed well."""
    return b"\xc0" * count


class Broken(WireTest):
    arguments = ("--frame-max", "128K", "--inflated-max", "256K", "--udp-allow", "127.0.0.0/8")

    def metric_of(self, name, reason):
        with urllib.request.urlopen(
                f"http://{self.server.tallyd()['metrics']}/metrics", timeout=60) as answer:
            text = answer.read().decode()
        found = re.search(rf'^{name}{{reason="{re.escape(reason)}"}} (\d+)$', text, re.MULTILINE)
        self.assertTrue(found, f"{reason}\n{text}")
        return int(found[1])

    def broken(self, reason, message):
        """It ends its connection for that reason, after the ack for what came before."""
        before = self.metric_of("tally_ingest_frames_broken_total", reason)
        with self.server.connect() as wire, self.server.connect() as other:
            wire.write(pack(["api_call", [[None, self.record()]], {"chunk": "before"}]))
            wire.write(message if isinstance(message, bytes) else pack(message))
            self.assertEqual(wire.read(), {"ack": "before"}, message)
            self.assertTrue(wire.is_ended(), message)
            self.assertEqual(other.ask(["t", [], {"chunk": "c"}]), {"ack": "c"})
        after = self.metric_of("tally_ingest_frames_broken_total", reason)
        self.assertEqual(after - before, 1, message)

    def squeezed(self, data):
        return ["api_call", data, {"chunk": "c", "compressed": "gzip"}]

    @proves("W120", "W121", "W123", "W124", "W125")
    def test_shapes(self):
        for reason, messages in {
            "not msgpack": (b"\xc1", b"\x91" * 33 + b"\xc0", b"\x92\xa1t\xc1"),
            "not a message of the Forward protocol": (
                1, "text", {"a": 1}, True, [], ["t"], ["t", {}], ["t", 1], ["t", [], {}, 1],
                ["t", 1, {}, {}, 1], b"GET / HTTP/1.1\r\n\r\n"),
            "tag is not a string": ([None, []], [1, []], [["t"], []]),
            "packed entries are broken": (["t", pack([None, {}])[:-1]], ["t", b"\xc0\xc1"],
                                          self.squeezed(gzip.compress(b"\x92\xc0")))}.items():
            for message in messages:
                self.broken(reason, message)
        self.assertIn('event=frame_broken', self.server.log())
        self.assertIn('reason="not msgpack"', self.server.log())

    @proves("W126", "W127", "W128", "W133", "W223", "W224")
    def test_options(self):
        twice = "chunk", "compressed", "tally"
        for reason, options in {
            "option is not a map of distinct names": [1, [], "x", {1: 2}] + [
                Raw(b"\x82" + 2 * (pack(name) + b"\xc0")) for name in twice],
            "chunk is not a string of 1-255 bytes": [
                {"chunk": value} for value in ("", b"", "x" * 256, 1, [], True)],
            "option compressed is neither gzip nor text": [
                {"compressed": value} for value in ("zstd", "", 1, True)],
            "option tally is malformed": [{"tally": value} for value in (
                True, [], {1: 2}, {"results": 1}, {"results": "yes"}, {"backfill": ""},
                {"backfill": "b" * 101}, {"backfill": 1})]}.items():
            for option in options:
                self.broken(reason, Raw(b"\x93\xa1t\x90" + (
                    b"\x81\x01\x02" if option == {1: 2} else pack(option))))

    @proves("W122", "W200")
    def test_frame_max(self):
        room = 128 * KIB - len(pack(["t", [], {"chunk": "c", "x": "x" * 70000}])) + 70000
        message = pack(["t", [], {"chunk": "c", "x": "x" * room}])
        self.assertEqual(len(message), 128 * KIB)
        self.acked(message)
        self.broken("frame too large", pack(["t", [], {"chunk": "c", "x": "x" * (room + 1)}]))
        # What a header declares is enough.
        for start in (b"\x92\xa1t\xc6\x00\x02\x00\x00", b"\x92\xa1t\xdd\x00\x02\x00\x00"):
            self.broken("frame too large", start)

    @proves("W33", "W130", "W131", "W132", "W201", "W202", "W203")
    def test_gzip(self):
        whole = gzip.compress(pack([None, self.record()]))
        damaged = whole[:-5] + bytes([whole[-5] ^ 1]) + whole[-4:]
        for data in (b"", b"x", whole[:-1], damaged, whole + b"x", whole + whole[:-1]):
            self.broken("compressed entries are not whole gzip members", self.squeezed(data))
        self.acked(self.squeezed(gzip.compress(nils(64 * KIB))))
        self.broken("entries inflate to too many times their size",
                    self.squeezed(gzip.compress(nils(64 * KIB + 1))))
        # Blocks of noise that repeat: squeezed a little.
        noise = random.Random(5).randbytes(4000)
        block = pack([None, self.record(p=noise)])
        count = 256 * KIB // len(block)
        rest = 256 * KIB - count * len(block)
        full = block * count + nils(rest)
        self.assertLess(256 * KIB / len(gzip.compress(full)), 200)
        self.acked(self.squeezed(gzip.compress(full)))
        self.broken("inflated entries are too large", self.squeezed(gzip.compress(full + nils(1))))

    @proves("W135", "W170")
    def test_datagrams(self):
        message = pack(["api_call", [[None, self.record(id="i")]], {"chunk": "c"}])
        packed = gzip.compress(pack([None, self.record(id="z")]))
        before = self.server.metric('tally_udp_dropped_total{by="broken"}')
        bad = [message + message, message[:-1], message + b"\xc0", b"\xc1", b"", pack(["t"]),
               pack(self.squeezed(packed + b"x")), pack(self.squeezed(packed[:-1]))]
        with self.server.datagrams() as wire:
            for data in bad:
                wire.send(data)
            for data in (message, pack(self.squeezed(packed))):
                wire.send(data)
                self.assertEqual(wire.recv(65536), pack({"ack": "c"}))
            support.wait_for("the datagrams to be counted", lambda: self.server.metric(
                'tally_udp_dropped_total{by="broken"}') == before + len(bad))
            self.assertIn("a datagram is not exactly one message", self.server.log())
            for parts in ([None, self.record(id="j")], [pack([None, self.record(id="k")])]):
                wire.send(pack(["api_call", *parts, {"chunk": "d"}]))
                self.assertEqual(wire.recv(65536), pack({"ack": "d"}))
        self.counted(4)

    @proves("W100", "W101", "W119")
    def test_neighbours_of_a_bad_event(self):
        bad = [1, None, {}, [], [1], [None, {}, 1], [None, "text"], [None, None], [None, []]]
        entries = []
        for entry in bad:
            entries += [[None, self.record()], entry]
        answer = self.server.results(entries)
        said = 6 * ["entry is not [time, record]"] + 3 * ["record is not a map"]
        self.assertEqual(sorted(answer["rejected"]),
                         [[2 * at + 1, reason] for at, reason in enumerate(said)])
        self.counted(len(bad))


class Handshake(unittest.TestCase):
    def digest(self, *parts):
        joined = b"".join(part if isinstance(part, bytes) else part.encode() for part in parts)
        return hashlib.sha512(joined).hexdigest()

    def file(self, server, name, text):
        path = os.path.join(server.folder, name)
        with open(os.open(path, os.O_WRONLY | os.O_CREAT, 0o600), "w", encoding="utf-8") as file:
            file.write(text)
        return path

    def server(self, *arguments, users=None):
        server = Server()
        server.arguments = ("--shared-key-file", self.file(server, "key", KEY + "\n"), *arguments)
        if users:
            server.arguments += ("--users", self.file(server, "users", users))
        self.addCleanup(server.__exit__, None, None, None)
        server.begin()
        return server

    def hello(self, server):
        wire = server.connect()
        self.addCleanup(wire.socket.close)
        word, said = wire.read()
        self.assertEqual(word, "HELO")
        return wire, said

    def ping(self, said, key=KEY, host="client.example", salt=b"\x00\xff salt", user="",
             password=""):
        return ["PING", host, salt, self.digest(salt, host, said["nonce"], key), user,
                self.digest(said["auth"], user, password)]

    def passes(self, server, **who):
        wire, said = self.hello(server)
        answer = wire.ask(self.ping(said, **who))
        salt = who.get("salt", b"\x00\xff salt")
        self.assertEqual(answer, [
            "PONG", True, "", "tallyd", self.digest(salt, "tallyd", said["nonce"], KEY)])
        self.assertEqual(wire.ask(["t", [], {"chunk": "c"}]), {"ack": "c"})
        return wire

    def fails(self, server, reason, ping=None, **who):
        wire, said = self.hello(server)
        message = ping if ping is not None else self.ping(said, **who)
        wire.write(message if isinstance(message, bytes) else pack(message))
        wire.write(pack(["api_call", [[None, {"subject": "never"}]], {"chunk": "never"}]))
        self.assertEqual(wire.read(), ["PONG", False, reason, "", ""])
        self.assertTrue(wire.is_ended())

    @proves("W140", "W141", "W142", "W143", "W146")
    def test_the_key(self):
        server = self.server()
        _, said = self.hello(server)
        self.assertEqual(set(said), {"nonce", "auth", "keepalive"})
        self.assertTrue(isinstance(said["nonce"], str) and said["nonce"])
        self.assertEqual((said["auth"], said["keepalive"]), ("", True))
        for who in ({}, {"host": "h" * 255, "salt": b"s" * 255}, {"salt": b"s" * 16},
                    {"user": "u" * 255}):
            self.passes(server, **who)
        wire, said = self.hello(server)
        ping = self.ping(said)
        # Without users Fluent Bit sends the digest of an empty password.
        self.passes(server, user="", password="")
        empty = ping[:4] + ["", ""]
        self.assertTrue(wire.ask([part.encode() if isinstance(part, str) else part
                                  for part in empty])[1])
        self.fails(server, "shared key mismatch", ping=ping)
        with server.connect_unix() as own:
            self.assertEqual(own.ask(["t", [], {"chunk": "c"}]), {"ack": "c"})

    @proves("W144", "W150", "W151", "W152", "W211", "W212")
    def test_who_does_not_pass(self):
        server = self.server()
        server.tally("meter", "add", "count", "--event-type", "api_call",
                     "--aggregation", "count")
        self.fails(server, "shared key mismatch", key="another")
        self.fails(server, "same host name as the server", host="tallyd")
        six = "no PING of six texts"
        large = pack(["PING", "h" * 3000, "s", "d", "", ""])
        for ping in (["t", [], {"chunk": "c"}], None, ["PING"], ["PONG", "h", "s", "d", "", ""],
                     ["PING", "h", "s", "d", "", 1], b"\xc1", large,
                     ["PING", "h", "s", "d", "", "", ""]):
            self.fails(server, six, ping=pack(ping) if ping is None else ping)
        for who in ({"host": "h" * 256}, {"salt": b"s" * 256}, {"user": "u" * 256}):
            self.fails(server, six, **who)
        self.assertEqual(server.usage("count", "never"), "0")

    @proves("W145")
    def test_messages_may_follow_at_once(self):
        server = self.server()
        wire, said = self.hello(server)
        wire.write(pack(self.ping(said)) + pack(["t", [], {"chunk": "c"}]))
        self.assertTrue(wire.read()[1])
        self.assertEqual(wire.read(), {"ack": "c"})

    @proves("W154", "W210")
    def test_who_takes_too_long(self):
        wire, _ = self.hello(self.server("--handshake-timeout", "200ms"))
        self.assertEqual(wire.read(), ["PONG", False, "no PING came in time", "", ""])
        self.assertTrue(wire.is_ended())

    @proves("W141", "W153", "W160", "W161")
    def test_users(self):
        server = self.server(users="acme = correct-horse\nimporter = staple backfill\n")
        _, said = self.hello(server)
        self.assertTrue(said["auth"])
        wrong = "username or password mismatch"
        for who in ({}, {"user": "acme"}, {"user": "acme", "password": "staple"},
                    {"user": "nobody", "password": "correct-horse"}):
            self.fails(server, wrong, **who)
        old = [[int(time.time()) - 400 * DAY, {"subject": "s"}]]
        server.tally("ledger", "backfill", "open", "--id", "b", "--who", "ann")
        for user, password, rejected in (
                ("acme", "correct-horse", [[0, "backfill not permitted"]]),
                ("importer", "staple", [])):
            wire = self.passes(server, user=user, password=password)
            answer = wire.ask(["api_call", old, {
                "chunk": chunk_name(), "tally": {"results": True, "backfill": "b"}}])
            self.assertEqual(answer["rejected"], rejected)

    @proves("W177")
    def test_udp_needs_the_networks_of_the_senders(self):
        with Server("--udp", "127.0.0.1:0") as server:
            path = self.file(server, "key", KEY)
            server.end()
            server.run("tallyd", "--shared-key-file", path, "--tcp", "127.0.0.1:0",
                       "--metrics", "127.0.0.1:0", "--udp", "127.0.0.1:0", code=2)
        self.assertIsNone(self.server().tallyd()["udp"])
        server = self.server("--udp-allow", "127.0.0.1")
        with server.datagrams() as wire:
            wire.send(pack(["t", [], {"chunk": "c"}]))
            self.assertEqual(wire.recv(65536), pack({"ack": "c"}))


class Datagrams(WireTest):
    def ask(self, message):
        with self.server.datagrams() as wire:
            wire.send(pack(message))
            return unpack(wire.recv(65536))[0]

    @proves("W171", "W55")
    def test_acks(self):
        message = ["api_call", [[None, self.record()]], {"chunk": chunk_name()}]
        for _ in range(2):
            self.assertEqual(self.ask(message), {"ack": message[2]["chunk"]})
        self.counted(1)

    @proves("W172")
    def test_an_answer_is_no_larger_than_its_request(self):
        option = {"chunk": chunk_name(), "tally": {"results": True}}
        self.assertEqual(self.ask(["api_call", [None] * 50, option]), {"ack": option["chunk"]})
        answer = self.ask(["api_call", [[None, {"p": "x" * 100}]], option])
        self.assertEqual(answer["rejected"], [[0, "subject missing"]])

    @proves("W131", "W178", "W231")
    def test_inflated_size(self):
        block = pack([None, self.record(p=random.Random(7).randbytes(4000))])
        count, rest = divmod(4 << 20, len(block))
        for data in (block * count + nils(rest + 1), block * count + nils(rest)):
            squeezed = gzip.compress(data)
            self.assertLess(len(squeezed), 60000)
            self.assertLess(len(data), 200 * len(squeezed))
            before = self.server.metric('tally_udp_dropped_total{by="broken"}')
            message = pack(["api_call", squeezed, {"chunk": "c", "compressed": "gzip"}])
            with self.server.datagrams() as wire:
                wire.send(message)
                if len(data) > 4 << 20:
                    support.wait_for("the drop", lambda: self.server.metric(
                        'tally_udp_dropped_total{by="broken"}') == before + 1)
                else:
                    self.assertEqual(wire.recv(100), pack({"ack": "c"}))
        self.assertIn("inflated entries are too large", self.server.log())
        self.counted(count)

    @proves("W173")
    def test_heartbeat(self):
        with self.server.datagrams() as wire:
            wire.send(b"\x00")
            self.assertEqual(wire.recv(10), b"\x00")
            wire.send(pack(None))
            wire.send(pack(["t", [], {"chunk": "c"}]))
            self.assertEqual(wire.recv(100), pack({"ack": "c"}))

    @proves("W115", "W174", "W220")
    def test_size(self):
        room = 60000 - len(pack([None, self.record(p="x" * 300)])) + 300
        for size, rejected in ((room, []), (room + 1, [
                [0, "event larger than 60 KB over UDP"]])):
            entry = [None, self.record(p="x" * size)]
            self.assertEqual(len(pack(entry)), 60000 + size - room)
            answer = self.ask(["api_call", [entry], {
                "chunk": chunk_name(), "tally": {"results": True}}])
            self.assertEqual(answer["rejected"], rejected)

    @proves("W116", "W175")
    def test_backfill(self):
        answer = self.ask(["api_call", [[1, self.record(pad="x" * 99)]], {
            "chunk": chunk_name(), "tally": {"results": True, "backfill": "b"}}])
        self.assertEqual(answer["rejected"], [[0, "backfill not permitted"]])

    @proves("W176")
    def test_allowed_networks(self):
        with Server("--udp-allow", "127.0.0.2/32", "--udp-allow", "10.0.0.0/8") as server:
            host, port = server.tallyd()["udp"].rsplit(":", 1)
            message = pack(["t", [], {"chunk": "c"}])
            with server.datagrams() as wire:
                wire.send(message)
                support.wait_for("the drop", lambda: server.metric(
                    'tally_udp_dropped_total{by="peer"}') == 1)
            with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as wire:
                wire.bind(("127.0.0.2", 0))
                wire.settimeout(60)
                wire.sendto(message, (host, int(port)))
                self.assertEqual(wire.recv(100), pack({"ack": "c"}))


class Full(unittest.TestCase):
    @proves("W136", "W185", "W233")
    def test_a_message_that_does_not_come_on(self):
        with Server("--stall-timeout", "300ms") as server:
            message = pack(["api_call", [[None, {"subject": "s"}]], {"chunk": "c"}])
            with server.connect() as wire, server.connect() as silent:
                self.assertEqual(wire.ask(message), {"ack": "c"})
                wire.write(message[:-1])
                self.assertTrue(wire.is_ended())
                self.assertEqual(silent.ask(message), {"ack": "c"})
            self.assertIn("a message was begun and not finished in time", server.log())

    @proves("W186", "W234")
    def test_a_connection_that_says_nothing(self):
        message = pack(["t", [], {"chunk": "c"}])
        with Server("--idle-timeout", "2s") as server:
            with server.connect() as silent, server.connect() as beating:
                self.assertEqual(silent.ask(message), {"ack": "c"})
                while not select.select([silent.socket], [], [], 0.05)[0]:
                    beating.write(pack(None))
                self.assertTrue(silent.is_ended())
                self.assertEqual(beating.ask(message), {"ack": "c"})

    @proves("W204")
    def test_connections(self):
        with Server("--connections-max", "2") as server:
            with server.connect() as first, server.connect() as second:
                for wire in (first, second):
                    self.assertEqual(wire.ask(["t", [], {"chunk": "c"}]), {"ack": "c"})
                with server.connect() as third:
                    self.assertTrue(third.is_ended())

    @proves("W180", "W205")
    def test_more_than_a_connection_may_hold(self):
        with Server("--frame-max", "128K", "--connection-memory", "128K") as server:
            message = pack(["api_call", [[None, {"subject": "s", "p": "x" * 60000}]] * 2,
                            {"chunk": "c"}])
            with server.connect() as wire:
                wire.write(message * 100)
                self.assertEqual([wire.read() for _ in range(100)], 100 * [{"ack": "c"}])

    @proves("W183")
    def test_draining(self):
        with Server() as server:
            server.tally("meter", "add", "count", "--event-type", "api_call",
                         "--aggregation", "count")
            message = pack(["api_call", [[None, {"subject": "s"}]], {"chunk": "c"}])
            with server.connect() as wire:
                self.assertEqual(wire.ask(message), {"ack": "c"})
                wire.write(pack(["api_call", [[None, {"subject": "half"}]]])[:-1])
                server.end(signal.SIGTERM)
                self.assertTrue(wire.is_ended())
            self.assertEqual(server.usage("count", "s"), "1")
            self.assertEqual(server.usage("count", "half"), "0")


if __name__ == "__main__":
    unittest.main(verbosity=2)
