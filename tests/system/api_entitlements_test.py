"""Thresholds and entitlements over HTTP, against a real tallyd: may somebody use more?"""

import threading
import unittest

import api_client
import support


def event(number, subject, **data):
    return {"id": f"l{number}", "source": "test", "specversion": "1.0", "type": "call",
            "subject": subject, "data": data}


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
        self.send(event(3, "two-c"))
        self.assertEqual(support.wait_for("customers", lambda: used("three")), 1)


if __name__ == "__main__":
    unittest.main(verbosity=2)
