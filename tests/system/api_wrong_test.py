"""What our own routes say to bodies, parameters and paths that make no sense: a 400 that names the
place, or a 404, and nothing is changed."""

import json
import random
import unittest

import api_client
import support

TEXT, TIME, NUMBER, OBJECT, LIST = "text", "time", "number", "object", "list"

# (method, target, a good body, {member: (type, greatest size of a text, whether it is required)})
BODIES = (
    ("POST", "/api/v1/corrections",
     {"kind": "amend", "subject": "s", "source": "test", "id": "e1", "why": "a test", "who": "ann",
      "time": "2026-11-20T10:00:00Z", "value": 2, "data": {"n": [1, {"a": None}]}},
     {"kind": (TEXT, 16, True), "subject": (TEXT, 255, True), "source": (TEXT, 255, False),
      "id": (TEXT, 128, True), "why": (TEXT, 1000, True), "who": (TEXT, 255, False),
      "time": (TIME, 0, False), "value": (NUMBER, 0, False), "data": (OBJECT, 0, False)}),
    ("POST", "/api/v1/backfills", {"id": "wrong", "who": "ann", "why": "a test"},
     {"id": (TEXT, 100, False), "who": (TEXT, 255, False), "why": (TEXT, 1000, False)}),
    ("POST", "/api/v1/backfills/none/close", {"who": "ann", "why": "a test"},
     {"who": (TEXT, 255, False), "why": (TEXT, 1000, False)}),
    ("POST", "/api/v1/backfills/none/revert", {"who": "ann", "why": "a test"},
     {"who": (TEXT, 255, False), "why": (TEXT, 1000, True)}),
    ("POST", "/api/v1/cuts", {"at": "2026-11-20T00:00:00Z"}, {"at": (TIME, 0, True)}),
    ("POST", "/api/v1/thresholds",
     {"key": "wrong", "meter": "calls", "subject": "s", "period": "day", "limit": "12.5"},
     {"key": (TEXT, 64, True), "meter": (TEXT, 64, True), "subject": (TEXT, 255, False),
      "period": (TEXT, 16, False), "limit": (NUMBER, 0, True)}),
    ("PUT", "/api/v1/thresholds/wrong",
     {"meter": "calls", "subject": "s", "period": "day", "limit": 12.5},
     {"meter": (TEXT, 64, True), "subject": (TEXT, 255, False), "period": (TEXT, 16, False),
      "limit": (NUMBER, 0, True)}),
    ("POST", "/api/v1/entitlements/query", {"items": [{"customerId": "s", "meter": "calls"}]},
     {"items": (LIST, 0, True)}),
)

# Of each type, as JSON.
WRONG = {
    TEXT: ("1", "true", "[]", "{}", '""', '"a\\u0000b"', '["a"]', "1e400"),
    TIME: ("1", "true", "[]", "{}", '""', '"now"', '"2026-11-20"', '"2026-11-20 10:00:00"',
           '"2026-02-30T10:00:00Z"', '"2026-11-20T25:00:00Z"', '"2026-11-20T10:60:00Z"',
           '"2026-11-20T10:00:00"', '"2026-11-20T10:00:00+99:00"', '"0001-01-01T00:00:00Z"',
           '"9999-12-31T00:00:00Z"', '"2026-11-20T10:00:00.0123456789Z"', '"2026-11-20T10:00:00Z "',
           '"20261120T100000Z"', "1e400"),
    NUMBER: ("true", "[]", "{}", '""', '"x"', '"1 "', '"0x1"', '"1e"', "1e19", "1e400", "1e-19",
             "0." + "0" * 5000 + "1", "1" + "0" * 5000, '"NaN"', '"Infinity"', '"1,5"'),
    OBJECT: ("1", "true", "[]", '"{}"', "1e400"),
    LIST: ("1", "true", "{}", '"[]"', "[]", "[1]", "[[]]", "[null]", "1e400"),
}

# Bodies that are no object of JSON, whatever is asked.
NO_OBJECTS = (b"[]", b"null", b"1", b'"x"', b"true", b"{", b"}", b"{}{}", b"{,}", b'{"a"}',
              b'{"a":}', b'{"a":1,}', b"{'a':1}", b'{a:1}', b'{"a":01}', b'{"a":+1}', b'{"a":.5}',
              b'{"a":NaN}', b'{"a":"\xff"}', b'{"a":"\xc0\x80"}', b'{"a":"\xed\xa0\x80"}',
              b'{"a":"\\ud800"}', b'{"a":"\\x"}', b'{"a":"\n"}', b"\xef\xbb\xbf{}", b"\x00",
              b"[" * 100000, b'{"a":' * 100000, b'{"a":1,"a":1}', b"<a/>", b"a=b", b"\xff\xfe{\x00")

PAGES = ("/api/v1/corrections", "/api/v1/backfills", "/api/v1/cuts", "/api/v1/thresholds",
         "/api/v1/fired-thresholds")
LONG = "x" * 5000


class Wrong(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.stack = support.Stack()
        cls.stack.__enter__()
        cls.addClassCleanup(cls.stack.__exit__, None, None, None)
        cls.api = api_client.start(cls.stack)
        cls.addClassCleanup(cls.api.close)
        cls.stack.tally("meter", "add", "calls", "--event-type", "call", "--aggregation", "count")
        sent = cls.api.post("/api/v1/events", {
            "id": "e1", "source": "test", "specversion": "1.0", "type": "call", "subject": "s"})
        assert sent.status == 204, sent

    def tearDown(self):
        """Nothing was changed by any of it."""
        for target in PAGES:
            self.assertEqual(self.api.get(target).json["items"], [], target)

    def refused(self, method, target, body, *texts):
        answer = self.api.ask(method, target, body=body)
        self.assertEqual(answer.status, 400, (method, target, body[:200], answer))
        for text in texts:
            self.assertIn(text, answer.json["detail"], (method, target, body[:200]))

    def test_each_member_of_each_body(self):
        for method, target, good, members in BODIES:
            self.assertLessEqual(set(good), set(members), target)
            for name, (kind, size, is_required) in members.items():
                rest = "".join(f",{json.dumps(key)}:{json.dumps(value)}"
                               for key, value in good.items() if key != name)
                for wrong in WRONG[kind]:
                    self.refused(method, target, "{" + f'"{name}":{wrong}{rest}' + "}", name)
                if size > 0:
                    for letter in ("x", "\u00e9"):
                        long = letter * (size // len(letter.encode()) + 1)
                        self.refused(method, target, json.dumps({**good, name: long}), name,
                                     f"{size} bytes")
                if is_required:
                    self.refused(method, target, json.dumps({**good, name: None}), name, "required")
                    del_body = {key: value for key, value in good.items() if key != name}
                    self.refused(method, target, json.dumps(del_body), name, "required")
                self.refused(method, target, json.dumps({**good, name.upper(): 1}),
                             name.upper(), "not known")

    def test_bodies_that_are_no_object(self):
        for method, target, good, _ in BODIES:
            for wrong in NO_OBJECTS:
                self.refused(method, target, wrong)
            # Cut off at each byte, and with something behind it.
            text = json.dumps(good).encode()
            for size in range(1, len(text)):
                self.refused(method, target, text[:size], "line 1")
            for more in (b"x", b"{}", b",", b"\x00"):
                self.refused(method, target, text + more, "line 1")

    def test_parameters(self):
        for target in PAGES:
            for wrong in ("limit=", "limit=0", "limit=-1", "limit=1001", "limit=1.5", "limit=1e2",
                          "limit=99999999999999999999999", "limit=%20", "limit=1&limit=1",
                          "limit=%D9%A1", "offset=1", "Limit=1", "=1",
                          "limit", "cursor=" + LONG, "cursor=%00", "cursor=%ff", "%zz=1"):
                answer = self.api.get(f"{target}?{wrong}")
                self.assertEqual(answer.status, 400, (target, wrong, answer))

    def test_paths(self):
        for method, pattern, body in (
                ("GET", "/api/v1/corrections/{}", None), ("GET", "/api/v1/backfills/{}", None),
                ("POST", "/api/v1/backfills/{}/close", "{}"),
                ("POST", "/api/v1/backfills/{}/revert", '{"why":"a test"}'),
                ("POST", "/api/v1/backfills/{}/events", "[]"),
                ("GET", "/api/v1/thresholds/{}", None), ("DELETE", "/api/v1/thresholds/{}", None),
                ("GET", "/api/v1/customers/{}/entitlements/none", None),
                ("GET", "/api/v1/customers/s/entitlements/{}", None)):
            for name in ("none", "", ".", "..", "%2e%2e%2f", "%00", "%ff", "%", LONG, "a%2Fb",
                         "%F0%9F%92%A9", "0-0", "0-1-0-0", "-", "'%20OR%201=1", "%25s%25n"):
                answer = self.api.ask(method, pattern.format(name), body=body)
                self.assertIn(answer.status, (400, 404), (method, pattern, name, answer))

    def test_letters_that_change_anywhere(self):
        """Any one byte becomes another: an answer that makes sense, whatever it is."""
        chance = random.Random(7)
        for method, target, good, _ in BODIES[-1:] + BODIES[2:4]:
            text = bytearray(json.dumps(good).encode())
            for _ in range(300):
                wrong = bytearray(text)
                wrong[chance.randrange(len(text))] = chance.randrange(256)
                answer = self.api.ask(method, target, body=bytes(wrong))
                self.assertIn(answer.status, (200, 400, 404), (target, bytes(wrong), answer))


if __name__ == "__main__":
    unittest.main(verbosity=2)
