"""gzip to tally-api and from it: bodies, answers, and bombs."""

import gzip
import json
import random
import unittest
import zlib

import api_client
import support

BODY_MAX = 1 << 20
EVENTS = "/api/v1/events"


def event(number):
    return {"id": f"e{number}", "source": "test", "specversion": "1.0", "type": "packed",
            "subject": f"s{number}", "data": {"number": number}}


class Gzip(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.stack = support.Stack()
        cls.stack.__enter__()
        cls.addClassCleanup(cls.stack.__exit__, None, None, None)
        cls.stack.env.update(TALLY_API_BODY_MAX=str(BODY_MAX), TALLY_API_BODIES_MAX="3M")
        cls.api = api_client.start(cls.stack)
        cls.addClassCleanup(cls.api.close)

    def send(self, body, coding="gzip", key="ingest"):
        return self.api.post(EVENTS, body, key=key, fields={
            "Content-Type": "application/json", "Content-Encoding": coding})

    def held(self):
        text = self.api.get("/metrics").body.decode()
        return next(line for line in text.splitlines()
                    if line.startswith("tally_api_bodies_bytes "))

    def test_events_come_in_compressed(self):
        events = [event(number) for number in range(500)]
        body = json.dumps(events).encode()
        self.assertEqual(self.send(gzip.compress(body)).status, 204)
        # Two members are one body.
        self.assertEqual(self.send(
            gzip.compress(body[:1000]) + gzip.compress(body[1000:]), "X-GZIP").status, 204)
        self.assertEqual(self.send(body, "identity").status, 204)
        found = self.api.get(EVENTS + "?subject=s77").json
        self.assertEqual([row["event"]["data"] for row in found], [{"number": 77}])
        self.assertEqual(self.held(), "tally_api_bodies_bytes 0")

    def test_bodies_that_are_no_gzip(self):
        body = gzip.compress(json.dumps(event(0)).encode())
        for broken in (b"{}", body[:-1], body + b"x", body[:20] + b"x" + body[21:],
                       zlib.compress(b"{}")):
            answer = self.send(broken)
            self.assertEqual(answer.status, 400, broken)
            self.assertIn("gzip", answer.json["detail"])
        for coding in ("br", "deflate", "gzip, gzip", "zstd", "gzip;q=1"):
            answer = self.send(body, coding)
            self.assertEqual((answer.status, answer.fields["Accept-Encoding"]), (415, "gzip"))
        self.assertEqual(self.held(), "tally_api_bodies_bytes 0")

    def test_bombs(self):
        bomb = gzip.compress(b" " * (BODY_MAX * 300), 9)
        self.assertLess(len(bomb), BODY_MAX)
        self.assertEqual(self.send(bomb).status, 413)
        small = gzip.compress(b" " * 900_000, 9)
        answer = self.send(small)
        self.assertEqual(answer.status, 413)
        self.assertIn("200 times", answer.json["detail"])
        self.assertEqual(self.send(gzip.compress(b" " * 60_000, 9)).status, 400)  # no JSON
        noise = dict(event(1), id="noise", data={"noise": random.Random(1).randbytes(20_000).hex()})
        exact = json.dumps(noise).encode()
        exact += b" " * (BODY_MAX - len(exact))
        self.assertEqual(self.send(gzip.compress(exact)).status, 204)
        answer = self.send(gzip.compress(exact + b" "))
        self.assertEqual(answer.status, 413)
        self.assertIn("inflated", answer.json["detail"])
        # Who has no key has nothing inflated.
        self.assertEqual(self.send(bomb, key=None).status, 401)
        self.assertEqual(self.held(), "tally_api_bodies_bytes 0")

    def test_answers_go_out_compressed_when_they_are_wanted(self):
        plain = self.api.get("/metrics")
        self.assertIsNone(plain.fields["Content-Encoding"])
        self.assertEqual(plain.fields["Vary"], "Accept-Encoding")
        packed = self.api.get("/metrics", fields={"Accept-Encoding": "br;q=0.5, gzip"})
        self.assertEqual(packed.fields["Content-Encoding"], "gzip")
        self.assertEqual(packed.fields["Vary"], "Accept-Encoding")
        self.assertIn(b"tally_api_connections ", gzip.decompress(packed.body))
        self.assertLess(len(packed.body) * 2, len(plain.body))
        head = self.api.ask("HEAD", "/metrics", fields={"Accept-Encoding": "gzip"})
        self.assertEqual((head.fields["Content-Encoding"], head.body), ("gzip", b""))
        refused = self.api.get("/metrics", fields={"Accept-Encoding": "gzip;q=0"})
        self.assertIsNone(refused.fields["Content-Encoding"])
        small = self.api.get("/health", fields={"Accept-Encoding": "gzip"})
        self.assertIsNone(small.fields["Content-Encoding"])
        self.assertIsNone(small.fields["Vary"])


if __name__ == "__main__":
    unittest.main(verbosity=2)
