"""Bytes that mean no good, over plain sockets: heads, lengths, chunks, paths, and bodies of events
that are almost right. Whatever comes, the next client is served."""

import json
import re
import socket
import unittest

import api_client
import support

HEAD = b"Host: x\r\n"
GOOD = b"GET /health HTTP/1.1\r\nHost: x\r\n"
EVENT = {"id": "h", "source": "s", "specversion": "1.0", "type": "hostile", "subject": "a",
         "data": {"n": 1.5, "list": [1, "\u00fc", None], "inner": {"x": True}}}


def nested(depth):
    return '{"a":' * depth + "1" + "}" * depth


class Hostile(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.stack = support.Stack()
        cls.stack.__enter__()
        cls.addClassCleanup(cls.stack.__exit__, None, None, None)
        cls.api = api_client.start(cls.stack)
        cls.addClassCleanup(cls.api.close)
        cls.post = (b"POST /api/v1/events HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer " +
                    cls.api.keys["ingest"].encode() + b"\r\nContent-Type: application/json\r\n")

    def raw(self, data, answers=1):
        """What comes back, until so many answers are there or the connection ends."""
        host, port = self.api.address.rsplit(":", 1)
        got = b""
        with socket.create_connection((host, int(port)), 60) as connection:
            try:
                connection.sendall(data)
                while self.statuses(got)[answers - 1:] == [] or not self.is_whole(got):
                    more = connection.recv(65536)
                    if not more:
                        break
                    got += more
                self.last_end = "open"
                if b"connection: close" in got.lower():
                    while connection.recv(65536):
                        pass
                    self.last_end = "closed"
            except (BrokenPipeError, ConnectionResetError):
                self.last_end = "closed"
        return got

    @staticmethod
    def statuses(got):
        return [int(status) for status in re.findall(rb"HTTP/1\.1 (\d+) ", got)]

    @staticmethod
    def is_whole(got):
        """Whether the last answer's body is there."""
        head, mark, body = got.rpartition(b"\r\n\r\n")
        sizes = re.findall(rb"Content-Length: (\d+)", head)
        return bool(mark and sizes and len(body) >= int(sizes[-1])) or b" 204 " in got

    def test_heads_that_are_broken(self):
        for name, data, statuses in (
                ("large", GOOD + b"X: " + b"a" * 40_000 + b"\r\n\r\n", {431}),
                ("target", b"GET /" + b"a" * 40_000 + b" HTTP/1.1\r\n" + HEAD + b"\r\n", {414}),
                ("flood", GOOD + b"".join(b"X-%d: y\r\n" % i for i in range(5000)) + b"\r\n",
                 {431}),
                ("no host", b"GET /health HTTP/1.1\r\n\r\n", {400}),
                ("version 2", b"GET /health HTTP/2.0\r\n" + HEAD + b"\r\n", {505}),
                ("preface", b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", {505}),
                ("version", b"GET /health HTTQ/1.1\r\n" + HEAD + b"\r\n", {400}),
                ("0.9", b"GET /health\r\n\r\n", {400}),
                ("no colon", GOOD + b"Xa\r\n\r\n", {400}),
                ("space", GOOD + b"X : a\r\n\r\n", {400}),
                ("two hosts", GOOD + HEAD + b"\r\n", {400}),
                ("method", b"G\x01T /health HTTP/1.1\r\n" + HEAD + b"\r\n", {400}),
                ("garbage", bytes(range(256)) * 20, {400})):
            with self.subTest(name):
                got = self.raw(data)
                self.assertEqual(set(self.statuses(got)), statuses, got)
                self.assertEqual(self.last_end, "closed")
        self.assertEqual(self.api.get("/health").status, 200)

    def test_lengths_and_chunks_that_are_broken(self):
        chunked = b"Transfer-Encoding: chunked\r\n\r\n"
        hidden = b"GET /health HTTP/1.1\r\nHost: x\r\n\r\n"
        for name, rest, statuses in (
                ("negative", b"Content-Length: -1\r\n\r\n{}", {400}),
                ("sign", b"Content-Length: +2\r\n\r\n{}", {400}),
                ("hex", b"Content-Length: 0x2\r\n\r\n{}", {400}),
                ("list", b"Content-Length: 2, 2\r\n\r\n{}", {400}),
                ("huge", b"Content-Length: 99999999999999999999\r\n\r\n{}", {413}),
                ("two", b"Content-Length: 2\r\nContent-Length: 3\r\n\r\n{}x", {400}),
                ("both", b"Content-Length: 4\r\n" + chunked + b"0\r\n\r\n" + hidden, {400}),
                ("coding", b"Transfer-Encoding: gzip, chunked\r\n\r\n0\r\n\r\n" + hidden, {400}),
                ("other", b"Transfer-Encoding: xchunked\r\n\r\n0\r\n\r\n" + hidden, {400}),
                ("no number", chunked + b"zz\r\n{}\r\n0\r\n\r\n", {400}),
                ("minus", chunked + b"-2\r\n{}\r\n0\r\n\r\n", {400}),
                ("overflow", chunked + b"f" * 20 + b"\r\n{}\r\n0\r\n\r\n", {413}),
                ("no end", chunked + b"2\r\n{}0\r\n\r\n" + hidden, {400})):
            with self.subTest(name):
                got = self.raw(self.post + rest)
                self.assertEqual(set(self.statuses(got)), statuses, got)
                self.assertEqual(self.last_end, "closed")
                self.assertNotIn(b'"status":"ok"', got)
        for name, rest in (("extension", b"2;a=b\r\n[]\r\n0\r\n\r\n"),
                           ("trailer", b"2\r\n[]\r\n0\r\nX: y\r\n\r\n"),
                           ("bytes", b"1\r\n[\r\n1\r\n]\r\n0\r\n\r\n")):
            with self.subTest(name):
                self.assertEqual(self.statuses(self.raw(self.post + chunked + rest)), [204])
        self.assertEqual(self.api.get("/health").status, 200)

    def test_requests_one_behind_the_other(self):
        got = self.raw((GOOD + b"\r\n") * 50 + b"GET /last HTTP/1.1\r\nHost: x\r\n\r\n", 51)
        self.assertEqual(self.statuses(got), [200] * 50 + [404])
        got = self.raw(GOOD + b"Content-Length: 3\r\n\r\nabc" + b"HEAD /health HTTP/1.1\r\nHost: x"
                       b"\r\n\r\n" + b"GET /last HTTP/1.1\r\nHost: x\r\n\r\n", 3)
        self.assertEqual(self.statuses(got), [200, 200, 404])
        got = self.raw(self.post + b"Expect: 100-continue\r\nContent-Length: 2\r\n\r\n[]", 2)
        self.assertEqual(self.statuses(got), [100, 204])
        got = self.raw(b"GET /health HTTP/1.0\r\n\r\n")
        self.assertEqual(self.statuses(got), [200])

    def test_targets(self):
        for target, status in (
                (b"http://x/health", 200), (b"http://evil.example/health", 200), (b"*", 400),
                (b"x:443", 400), (b"/%c0%af", 400), (b"/%00", 400), (b"/health%00", 400),
                (b"/\xff", 400), (b"/%e0%80%af", 400), (b"/%ed%a0%80", 400), (b"/%", 400),
                (b"/health?a=%zz", 400), (b"/../health", 404), (b"/a/../health", 404),
                (b"//health", 404), (b"/health/", 404), (b"/health%2f", 404), (b"/.", 404),
                (b"/api%2fv1%2fmeters", 404), (b"/%2e%2e/health", 404), (b"/HEALTH", 404),
                (b"/health;x=y", 404), (b"/" + b"a/" * 500, 400),
                (b"/health?" + b"a=b&" * 2000, 400),
                (b"/health?" + b"&" * 20_000, 400), (b"/health?" + b"a=b&" * 900, 200)):
            with self.subTest(target[:40]):
                got = self.raw(b"GET " + target + b" HTTP/1.1\r\n" + HEAD + b"\r\n")
                self.assertEqual(self.statuses(got), [status], got)

    def send(self, body):
        return self.api.post("/api/v1/events", body, key="ingest",
                             fields={"Content-Type": "application/json"})

    def test_an_event_that_is_cut_at_every_byte(self):
        whole = json.dumps(EVENT, ensure_ascii=False).encode()
        for size in range(len(whole)):
            answer = self.send(whole[:size])
            self.assertEqual(answer.status, 400, whole[:size])
        self.assertEqual(self.api.get("/api/v1/events?subject=a").json, [])

    def test_events_that_are_almost_right(self):
        text = json.dumps(dict(EVENT, id="ID", subject="almost"))
        broken = {
            "twice": text.replace('"id": "ID"', '"id": "ID", "id": "x"'),
            "twice inside": text.replace('"x": true', '"x": true, "x": 1'),
            "deep data": text.replace('{"x": true}', nested(9)),
            "deep": nested(100), "deeper": nested(100_000), "lists": "[" * 100_000,
            "utf-8": text.encode().replace(b"almost", b"al\xffmost"),
            "overlong": text.encode().replace(b"almost", b"\xc0\xaf"),
            "surrogate": text.replace("almost", "\\ud800"),
            "raw control": text.replace("almost", "al\nmost"),
            "nul": text.replace("almost", "al\\u0000most"),
            "leading zero": text.replace("1.5", "01.5"), "plus": text.replace("1.5", "+1.5"),
            "nan": text.replace("1.5", "NaN"), "hex": text.replace("1.5", "0x10"),
            "point": text.replace("1.5", "1."), "exponent": text.replace("1.5", "1e"),
            "behind": text + "x", "two": text + text, "comma": text[:-1] + ",}",
            "comment": "/**/" + text, "bom": "\ufeff" + text, "quotes": text.replace('"', "'"),
            "large": text.replace("almost", "a" * 300), "text": '"' + "x" * 1000 + '"',
            "number": "1e400", "null": "null", "white": " \n\t"}
        for name, body in broken.items():
            with self.subTest(name):
                self.assertEqual(self.send(body).status, 400)
        self.assertEqual(self.api.get("/api/v1/events?subject=almost").json, [])

    def test_numbers_of_any_size_keep_their_digits(self):
        numbers = ("1e400", "-1e400", "1" * 400, "0." + "1" * 400, "1e-400", "18446744073709551616",
                   "0.1234567890123456789", "-0", "-0.0")
        for at, number in enumerate(numbers):
            text = json.dumps(dict(EVENT, id=f"n{at}", subject="numbers")).replace("1.5", number)
            self.assertEqual(self.send(text).status, 204, number)
        rows = self.api.get("/api/v1/events?subject=numbers").json
        self.assertEqual(len(rows), len(numbers))
        kept = {row["event"]["id"]: row["event"]["data"]["n"] for row in rows}
        for at in (0, 1, 2, 3, 5, 6):
            self.assertEqual(str(kept[f"n{at}"]), numbers[at])


if __name__ == "__main__":
    unittest.main(verbosity=2)
