"""Thresholds and entitlements over HTTP, against a real tallyd: may somebody use more?"""

import threading
import unittest

import api_client
import support


def event(number, subject, **data):
    return {"id": f"l{number}", "source": "test", "specversion": "1.0", "type": "call",
            "subject": subject, "data": data}


THRESHOLDS, FIRED = "/api/v1/thresholds", "/api/v1/fired-thresholds"


def path(customer, meter):
    return f"/api/v1/customers/{customer}/entitlements/{meter}"


class Entitlements(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.stack = support.Stack()
        cls.stack.__enter__()
        cls.addClassCleanup(cls.stack.__exit__, None, None, None)
        cls.api = api_client.start(cls.stack)
        cls.addClassCleanup(cls.api.close)
        for key, aggregation in (("total", "SUM"), ("most", "MAX"), ("who", "UNIQUE_COUNT"),
                                 ("last", "LATEST"), ("calls", "COUNT"), ("free", "SUM"),
                                 ("mean", "AVG")):
            answer = cls.api.post("/api/v1/meters", {
                "slug": key, "eventType": "call", "aggregation": aggregation,
                **({} if key == "calls" else {"valueProperty": "$.n"})})
            assert answer.status == 200, answer
        for key, meter, limit, *more in (
                ("total_month", "total", "10.5"), ("total_day", "total", "4", "--period", "day"),
                ("total_big", "total", "1000", "--subject", "big"),
                ("most_month", "most", "5"), ("who_month", "who", "3"),
                ("last_month", "last", "7"), ("calls_month", "calls", "3"),
                ("calls_least", "calls", "2"),
                ("exact", "total", "0.123456789012345679", "--subject", "tiny")):
            cls.stack.tally("threshold", "add", key, "--meter", meter, "--limit", limit, *more)

    def send(self, *events):
        self.assertEqual(self.api.post("/api/v1/events", list(events), key="ingest").status, 204)

    def ask(self, customer, meter, status=200):
        answer = self.api.get(path(customer, meter), key="read")
        self.assertEqual(answer.status, status, answer)
        return answer

    def test_the_boundary_is_exact(self):
        found = self.ask("edge", "calls").json
        self.assertEqual((found["allowed"], found["used"], found["limit"], found["remaining"]),
                         (True, 0, 2, 2))
        self.send(event(1, "edge", n=1))
        found = self.ask("edge", "calls").json
        self.assertEqual((found["allowed"], found["used"], found["remaining"]), (True, 1, 1))
        self.send(event(2, "edge", n=1))
        found = self.ask("edge", "calls").json
        self.assertEqual((found["allowed"], found["used"], found["remaining"]), (False, 2, 0))
        self.send(event(3, "edge", n=1))
        found = self.ask("edge", "calls").json
        self.assertEqual((found["allowed"], found["used"], found["remaining"]), (False, 3, 0))
        self.assertEqual((found["threshold"], found["period"]), ("calls_least", "month"))
        self.assertTrue(found["isComplete"])

    def test_digits_stay(self):
        self.send(event(1, "tiny", n="0.123456789012345678"))
        answer = self.ask("tiny", "total")
        self.assertIn(b'"used":0.123456789012345678,"limit":0.123456789012345679,'
                      b'"remaining":0.000000000000000001,', answer.body)
        self.assertTrue(answer.json["allowed"])
        self.send(event(2, "tiny", n="0.000000000000000001"))
        answer = self.ask("tiny", "total")
        self.assertIn(b'"used":0.123456789012345679,', answer.body)
        self.assertFalse(answer.json["allowed"])

    def test_every_period_must_allow_and_the_tightest_comes_first(self):
        self.send(event(1, "both", n="3.5"))
        found = self.ask("both", "total").json
        self.assertEqual((found["threshold"], found["remaining"]), ("total_day", 0.5))
        self.assertEqual([(limit["threshold"], limit["period"], limit["used"], limit["remaining"])
                          for limit in found["limits"]],
                         [("total_day", "day", 3.5, 0.5), ("total_month", "month", 3.5, 7)])
        for limit in found["limits"]:
            self.assertLess(limit["from"], limit["to"])
        self.send(event(2, "both", n="0.5"))
        self.assertFalse(self.ask("both", "total").json["allowed"])

    def test_a_threshold_of_the_subject_goes_before_those_for_everybody(self):
        self.send(event(1, "big", n=999))
        found = self.ask("big", "total").json
        # The day's is for everybody, and used up.
        self.assertEqual({limit["threshold"]: limit["remaining"] for limit in found["limits"]},
                         {"total_day": 0, "total_big": 1})
        self.assertFalse(found["allowed"])

    def test_what_nothing_limits(self):
        found = self.ask("edge", "free").json
        self.assertTrue(found["allowed"])
        self.assertEqual([found[key] for key in ("used", "limit", "remaining", "from", "to",
                                                 "period", "threshold")], [None] * 7)
        self.assertEqual(found["limits"], [])
        self.assertTrue(self.ask("edge", "mean").json["allowed"])

    def test_a_customers_subjects_count_together(self):
        self.stack.tally("customer", "add", "firm", "--subject", "firm-a", "--subject", "firm-b")
        self.send(event(1, "firm-a", n=4), event(2, "firm-a", n=1), event(3, "firm-b", n=4))
        for meter, used, allowed in (("calls", 3, False), ("most", 4, True), ("who", 2, True),
                                     ("last", 4, True), ("total", 9, False)):
            found = self.ask("firm", meter).json
            self.assertEqual((found["limits"][-1]["used"], found["allowed"]), (used, allowed),
                             (meter, found))
        # Each of them for itself.
        self.assertEqual(self.ask("firm-a", "calls").json["used"], 2)
        self.assertEqual(self.ask("firm-b", "calls").json["used"], 1)

    def test_a_customer_whose_only_subject_is_himself(self):
        self.stack.tally("customer", "add", "single")
        self.send(event(1, "single", n=1))
        self.assertEqual(self.ask("single", "calls").json["used"], 1)

    def test_subjects_that_are_added_later_are_seen(self):
        self.stack.tally("customer", "add", "grow", "--subject", "grow-a")
        self.send(event(1, "grow-a", n=1), event(2, "grow-b", n=1))
        self.assertEqual(self.ask("grow", "calls").json["used"], 1)
        self.stack.tally("customer", "add", "grow", "--subject", "grow-b")
        support.wait_for("both", lambda: self.ask("grow", "calls").json["used"] == 2)

    def test_a_threshold_counts_from_the_first_question_on(self):
        self.send(event(1, "early", n=8))
        self.stack.tally("threshold", "add", "free_early", "--meter", "free", "--limit", "9",
                         "--subject", "early")
        # tallyd may not have seen it yet: the answer is right all the same.
        self.assertEqual(self.ask("early", "free").json["remaining"], 1)
        self.stack.tally("threshold", "remove", "free_early")
        self.assertIsNone(self.ask("early", "free").json["limit"])

    def test_ids_and_meters_that_are_not_there(self):
        self.assertIn("no meter", self.ask("edge", "nothing", 404).json["detail"])
        self.assertIn("255", self.ask("x" * 256, "calls", 400).json["detail"])
        self.assertEqual(self.ask("x" * 255, "calls").json["used"], 0)
        meter = self.api.get("/api/v1/meters/calls").json["id"]
        self.assertEqual(self.ask("edge", meter).json["meter"], "calls")

    def test_many_at_once(self):
        self.send(event(1, "many-1", n=1), event(2, "many-2", n=1), event(3, "many-2", n=2))
        items = [{"customerId": f"many-{n % 3}", "meter": "calls"} for n in range(1000)]
        items[500] = {"customerId": "many-1", "meter": "nothing"}
        answer = self.api.post("/api/v1/entitlements/query", {"items": items}, key="read")
        self.assertEqual(answer.status, 200)
        self.assertEqual(len(answer.json["items"]), 1000)
        for number, found in enumerate(answer.json["items"]):
            if number == 500:
                self.assertEqual(found, {**items[500], "error": "There is no meter nothing."})
            else:
                self.assertEqual((found["customerId"], found["used"], found["allowed"]),
                                 (f"many-{number % 3}", number % 3, number % 3 < 2))

    def test_lists_of_items_that_make_no_sense(self):
        good = {"customerId": "a", "meter": "calls"}
        for body, text in (
                ("", "cannot be read"), ([good], "the body must be an object"),
                ({}, "items is required"), ({"items": {}}, "items must be a list"),
                ({"items": []}, "1 to 1000"), ({"items": [good] * 1001}, "1 to 1000"),
                ({"items": [good], "x": 1}, "x is not known here"),
                ({"items": [good, 1]}, "items[1] must be an object"),
                ({"items": [{"meter": "calls"}]}, "items[0].customerId is required"),
                ({"items": [{**good, "meter": None}]}, "items[0].meter is required"),
                ({"items": [{**good, "meter": 1}]}, "items[0].meter must be a string"),
                ({"items": [{**good, "meter": ""}]}, "items[0].meter must not be empty"),
                ({"items": [{**good, "customerId": "x" * 256}]}, "at most 255 bytes"),
                ({"items": [{**good, "customerId": "a\0b"}]}, "U+0000"),
                ({"items": [{**good, "subject": "a"}]}, "items[0].subject is not known here")):
            answer = self.api.post("/api/v1/entitlements/query", body, key="read")
            self.assertEqual(answer.status, 400, body)
            self.assertIn(text, answer.json["detail"])

    def pages(self, target):
        """All items of a list, page by page."""
        items, cursor = [], ""
        while True:
            answer = self.api.get(target + cursor, key="read")
            self.assertEqual(answer.status, 200, answer)
            items += answer.json["items"]
            if "nextCursor" not in answer.json:
                return items
            cursor = "&cursor=" + answer.json["nextCursor"]

    def test_thresholds_are_made_changed_listed_and_removed(self):
        wish = {"key": "made", "meter": "free", "limit": "0.123456789012345678", "subject": "a/b"}

        def post(status, **members):
            answer = self.api.post(THRESHOLDS, {**wish, **members}, key="billing")
            self.assertEqual(answer.status, status, answer)
            return answer
        answer = post(201)
        self.assertIn(b'"limit":0.123456789012345678,', answer.body)
        made = answer.json
        self.assertEqual((made["key"], made["meter"], made["subject"], made["period"]),
                         ("made", "free", "a/b", "month"))
        self.assertEqual(post(200).json, made)
        self.assertIn("PUT", post(409, limit=2).json["detail"])
        self.assertIn("PUT", post(409, subject=None).json["detail"])
        self.assertEqual(self.api.get(THRESHOLDS + "/made", key="read").json, made)
        answer = self.api.ask("PUT", THRESHOLDS + "/made", key="billing", body={
            "meter": "free", "period": "day", "limit": 2})
        self.assertEqual((answer.status, answer.json["limit"], answer.json["subject"]),
                         (200, 2, None))
        self.assertIn(answer.json, self.pages(THRESHOLDS + "?meter=free"))
        self.assertEqual(self.ask("a/b".replace("/", "%2F"), "free").json["threshold"], "made")
        answer = self.api.ask("PUT", THRESHOLDS + "/other", body={"meter": "free", "limit": 9,
                                                                  "subject": "x"})
        self.assertEqual(answer.status, 201)
        listed = self.pages(THRESHOLDS + "?limit=1")
        self.assertEqual([one["key"] for one in listed], sorted(one["key"] for one in listed))
        self.assertEqual(self.pages(THRESHOLDS + "?limit=1000"), listed)
        self.assertEqual([one["key"] for one in self.pages(THRESHOLDS + "?subject=x")], ["other"])
        for key in ("made", "other"):
            self.assertEqual(self.api.ask("DELETE", f"{THRESHOLDS}/{key}", key="billing").status,
                             204)
            self.assertEqual(self.api.ask("DELETE", f"{THRESHOLDS}/{key}").status, 404)
            self.assertEqual(self.api.get(f"{THRESHOLDS}/{key}").status, 404)
        self.assertIsNone(self.ask("x", "free").json["limit"])

    def test_thresholds_that_make_no_sense(self):
        good = {"key": "good", "meter": "free", "limit": 1}
        for members, text in (
                ({"key": None}, "key is required"), ({"key": ""}, "key must not be empty"),
                ({"key": "x" * 65}, "key must have at most 64 bytes"), ({"key": "No"}, "key"),
                ({"key": 1}, "key must be a string"), ({"meter": None}, "meter is required"),
                ({"meter": 1}, "meter must be a string"), ({"meter": "mean"}, "mean is avg"),
                ({"limit": None}, "limit is required"), ({"limit": 0}, "limit must be above 0"),
                ({"limit": -1}, "limit must be above 0"), ({"limit": "x"}, "limit must be a num"),
                ({"limit": 1e19}, "limit must be a number below 10^19"),
                ({"limit": True}, "limit must be a number"), ({"subject": ""}, "subject"),
                ({"subject": "x" * 256}, "subject must have at most 255 bytes"),
                ({"subject": "a\0"}, "U+0000"), ({"period": "year"}, "period must be day or month"),
                ({"period": 1}, "period must be a string"),
                ({"meter": "who", "limit": 1000001}, "at most 1000000"),
                ({"window": "day"}, "window is not known here")):
            answer = self.api.post(THRESHOLDS, {**good, **members})
            self.assertEqual(answer.status, 400, (members, answer))
            self.assertIn(text, answer.json["detail"], members)
        self.assertEqual(self.api.post(THRESHOLDS, {**good, "meter": "nothing"}).status, 404)
        for body, text in ((good, "key is not known here"), ({"meter": "free"}, "limit is req"),
                           ("", "cannot be read"), ([], "must be an object")):
            answer = self.api.ask("PUT", THRESHOLDS + "/good", body=body)
            self.assertEqual(answer.status, 400, (body, answer))
            self.assertIn(text, answer.json["detail"])
        self.assertEqual(self.api.ask("PUT", THRESHOLDS + "/No",
                                      body={"meter": "free", "limit": 1}).status, 400)
        for target in (THRESHOLDS, FIRED):
            for wrong in ("limit=0", "limit=1001", "limit=-1", "cursor=", "key=x",
                          "limit=1&limit=1"):
                self.assertEqual(self.api.get(f"{target}?{wrong}").status, 400, wrong)
        for wrong in ("x", "1-", "-1", "1-2-3-4-5-6-7-8-9-1-2-3-4-5-6-7-8-9", "1-x",
                      "18446744073709551616-0"):
            self.assertEqual(self.api.get(f"{FIRED}?cursor={wrong}").status, 400, wrong)

    def test_what_fired_is_read_once_with_a_cursor(self):
        made = self.api.post(THRESHOLDS, {"key": "loud", "meter": "free", "limit": 2.5})
        self.assertEqual(made.status, 201)
        support.wait_for("tallyd's list", lambda: self.stack.run(
            "tally", "threshold", "quota", "loud", "--subject", "loud-0", code=None
        ).returncode == 0)
        cursor, seen = "", []

        def read():
            nonlocal cursor
            answer = self.api.get(f"{FIRED}?limit=2{cursor}", key="read")
            self.assertEqual(answer.status, 200, answer)
            self.assertLessEqual(len(answer.json["items"]), 2)
            cursor = "&cursor=" + answer.json["nextCursor"]
            seen.extend(one for one in answer.json["items"] if one["threshold"] == "loud")
            return len(answer.json["items"])
        # Those of the other tests.
        support.wait_for("the end of the list", lambda: read() == 0)
        for number in range(7):
            self.send(event(1, f"loud-{number}", n=2), event(2, f"loud-{number}", n="0.75"))
        support.wait_for("all", lambda: read() == 0 and len(seen) >= 7)
        self.assertEqual(read(), 0)
        self.assertEqual(sorted((one["subject"], one["value"]) for one in seen),
                         [(f"loud-{number}", 2.75) for number in range(7)])
        self.assertEqual(len({(one["shard"], one["sequence"]) for one in seen}), 7)
        self.assertEqual(self.api.ask("DELETE", THRESHOLDS + "/loud").status, 204)
        # From the beginning; what is removed has no name any more.
        cursor = ""
        unnamed = self.api.get(FIRED + "?limit=1000").json["items"]
        self.assertGreaterEqual(len([one for one in unnamed if one["threshold"] is None]), 7)

    def test_many_ask_while_events_come_in(self):
        self.stack.tally("threshold", "add", "busy", "--meter", "calls", "--limit", "1000",
                         "--subject", "busy")
        seen = [[] for _ in range(4)]
        done = threading.Event()

        def ask(mine):
            caller = api_client.Caller(self.api.address, self.api.keys)
            while not done.is_set() or not mine:
                mine.append(caller.get(path("busy", "calls")).json["used"])
            caller.close()
        threads = [threading.Thread(target=ask, args=(mine,)) for mine in seen]
        for thread in threads:
            thread.start()
        for number in range(40):
            self.send(event(number, "busy"))
            # What was answered is in the next answer.
            self.assertEqual(self.ask("busy", "calls").json["used"], number + 1)
        done.set()
        for thread in threads:
            thread.join()
        for mine in seen:
            self.assertEqual(mine, sorted(mine))

    def test_without_tallyd_and_with_broken_connections_to_the_database(self):
        self.stack.tally("customer", "add", "two", "--subject", "two-a", "--subject", "two-b")
        self.send(event(1, "one"), event(2, "two-a"))

        def used(customer):
            answer = self.api.get(path(customer, "calls"))
            return answer.json["used"] if answer.status == 200 else None
        self.assertEqual((used("one"), used("two")), (1, 1))
        self.stack.kill_tallyd()
        answer = self.api.get(path("one", "calls"))
        self.assertEqual((answer.status, answer.fields["Retry-After"]), (503, "1"))
        self.assertIn("tallyd is away", answer.json["detail"])
        self.stack.up("--api", "127.0.0.1:0")
        self.assertEqual(support.wait_for("tallyd", lambda: used("one")), 1)
        self.stack.sql("SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
                       " WHERE pid <> pg_backend_pid() AND application_name <> 'psql'")
        self.stack.tally("customer", "add", "three", "--subject", "two-c", "--subject", "one-c")

        # 503 as long as the link to tallyd or to the database is not there again.
        def is_sent():
            answer = self.api.post("/api/v1/events", [event(3, "two-c")], key="ingest")
            self.assertIn(answer.status, (204, 503))
            return answer.status == 204
        support.wait_for("ingest", is_sent)
        self.assertEqual(support.wait_for("customers", lambda: used("three")), 1)


if __name__ == "__main__":
    unittest.main(verbosity=2)
