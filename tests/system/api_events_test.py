"""POST /api/v1/events against a real tallyd: what is taken, what is refused, and what a client may
rely on while tallyd is away."""

import base64
import json
import threading
import time
import unittest
import urllib.parse

import api_client
import support

MANY = "application/cloudevents-batch+json"
ONE = "application/cloudevents+json"


def event(number, **members):
    return {"id": f"e{number}", "source": "test", "specversion": "1.0", "type": "call",
            "subject": "acme", **members}


def moment(seconds):
    return time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(time.time() + seconds))


class Events(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.stack = support.Stack()
        cls.stack.__enter__()
        cls.addClassCleanup(cls.stack.__exit__, None, None, None)
        cls.api = api_client.start(cls.stack)
        cls.addClassCleanup(cls.api.close)
        cls.stack.tally("meter", "add", "calls", "--event-type", "call", "--aggregation", "count")
        cls.stack.tally("meter", "add", "sum", "--event-type", "call", "--value", "$.value")

    def post(self, body, kind="application/json", **fields):
        return self.api.post("/api/v1/events", body, key="ingest",
                             fields={"Content-Type": kind, **fields})

    def used(self, meter, subject):
        return self.stack.usage(meter, subject)

    def test_each_form_counts_once(self):
        events = [event(n, subject="forms", data={"value": n}) for n in range(6)]
        for body, kind in ((events[0], ONE), (events[1:3], MANY), (events[3], "application/json"),
                           (events[4:], "application/json"), (events, MANY), ([], MANY)):
            answer = self.post(body, kind)
            self.assertEqual((answer.status, answer.body), (204, b""), answer)
        self.assertEqual(self.used("calls", "forms"), "6")
        self.assertEqual(self.used("sum", "forms"), "15")

    def test_the_id_belongs_to_its_source(self):
        for source in ("a", "b", "a"):
            self.assertEqual(self.post(event(1, subject="sources", source=source)).status, 204)
        self.assertEqual(self.used("calls", "sources"), "2")

    def test_reserved_names_are_data_like_any_other(self):
        data = {"value": "0.1234567890123456", "type": "x", "subject": "y", "id": 1, "source": None}
        self.assertEqual(self.post(event(1, subject="names", data=data)).status, 204)
        self.assertEqual(self.used("sum", "names"), "0.1234567890123456")
        listed = json.loads(self.stack.tally("events", "--subject", "names", "--format", "json"))
        self.assertIn('"type": "x"', json.dumps(listed))

    def test_numbers_keep_their_digits(self):
        text = json.dumps(event(1, subject="digits", data={"value": "V"}))
        self.assertEqual(self.post(text.replace('"V"', "9007199254740993.000000000000000001"))
                         .status, 204)
        self.assertEqual(self.used("sum", "digits"), "9007199254740993.000000000000000001")

    def test_data_may_come_in_base64(self):
        """As Go's CloudEvents SDK, and so OpenMeter's, sends what it was given as bytes."""
        data = {"value": 2.5}
        packed = base64.b64encode(json.dumps(data).encode()).decode()
        sent = event(1, subject="bytes", datacontenttype="application/json", data_base64=packed)
        self.assertEqual(self.post(sent, ONE).status, 204)
        # It is the same event however its data came.
        self.assertEqual(self.post([{**sent, "data": data, "data_base64": None}]).status, 204)
        self.assertEqual((self.used("sum", "bytes"), self.used("calls", "bytes")), ("2.5", "1"))
        listed = self.api.get("/api/v1/events?subject=bytes").json
        self.assertEqual([row["event"]["data"] for row in listed], [data])
        self.assertEqual(self.post({**sent, "data": data}).status, 400)
        self.assertEqual(self.post({**sent, "data_base64": packed[:-1]}).status, 400)

    def test_content_types(self):
        for kind in ("text/plain", "application/xml", "application/json; charset=utf-8", ""):
            answer = self.post(json.dumps(event(1)), kind)
            self.assertEqual(answer.status, 400, kind)
            self.assertIn(kind, answer.json["detail"])
        self.assertEqual(self.post([event(1)], ONE).status, 400)
        self.assertEqual(self.post(event(1), MANY).status, 400)

    def test_what_is_no_json(self):
        for body in ("", "{", "[", "nul", '{"id":1,}', '{"a":1,"a":2}', "\xff", "[" * 10000,
                     json.dumps(event(1)) + "x"):
            answer = self.post(body.encode("latin-1"))
            self.assertEqual(answer.status, 400, body[:20])

    def test_one_broken_event_refuses_all(self):
        subject = "whole"
        for broken in ({"data": "x"}, {"time": "yesterday"}, {"subject": ""}, {"specversion": "2"}):
            answer = self.post([event(1, subject=subject), event(2, **broken)])
            self.assertEqual(answer.status, 400, broken)
            fault = answer.json["extensions"]["validationErrors"][0]
            self.assertEqual(fault["field"], f"[1].{next(iter(broken))}")
            self.assertIn(fault["message"], answer.json["detail"])
        self.assertEqual(self.used("calls", subject), "0")

    def test_items_decide_for_themselves_when_asked(self):
        subject = "items"
        self.assertEqual(self.post(event("c", subject=subject, data={"value": 1})).status, 204)
        answer = self.post(
            [event(1, subject=subject), {"id": "no"}, event(2, subject=subject, time=moment(-90e5)),
             event("c", subject=subject, data={"value": 2}), event(3, subject=subject), 7],
            Prefer="return=representation")
        self.assertEqual(answer.status, 200)
        self.assertEqual([item["status"] for item in answer.json["items"]],
                         ["accepted", "rejected", "rejected", "conflict", "accepted", "rejected"])
        self.assertEqual((answer.json["accepted"], answer.json["rejected"],
                          answer.json["conflicts"]), (2, 3, 1))
        self.assertIn("too old", answer.json["items"][2]["reason"])
        self.assertEqual(self.used("calls", subject), "3")

    def test_what_tallyd_refuses_is_said(self):
        subject = "refused"
        answer = self.post([event(1, subject=subject), event(2, subject=subject, time=moment(-9e6)),
                            event(3, subject=subject, time=moment(9e6))])
        self.assertEqual(answer.status, 400)
        self.assertEqual(
            sorted((fault["field"], fault["message"])
                   for fault in answer.json["extensions"]["validationErrors"]),
            [("[1]", "time too old"), ("[2]", "time too far ahead")])
        self.assertIn("backfill", answer.json["detail"])
        self.assertIn("of 3 events 2 refused, the others are stored", answer.json["detail"])
        self.assertEqual(self.used("calls", subject), "1")
        answer = self.post([event(1, subject=subject, data={"value": 1})])
        self.assertEqual(answer.status, 409, answer)
        self.assertIn("[0]: this id was used before", answer.json["detail"])

    def test_an_event_alone_has_no_place(self):
        """And one of several lines has its line, as the faults of lines have."""
        lines = "\n".join(json.dumps(one) for one in (
            event(1, subject="lines"), event(2, subject="lines", time=moment(-9e6))))
        for body, kind, place in ((json.dumps(event(1, time=moment(-9e6))), ONE, ""),
                                  ("\n" + lines, "application/x-ndjson", "line 3")):
            answer = self.post(body, kind)
            self.assertEqual(answer.status, 400)
            self.assertEqual(answer.json["extensions"]["validationErrors"],
                             [{"field": place, "message": "time too old"}])
            self.assertIn(f"{place or 'the event'}: time too old", answer.json["detail"])

    def test_a_conflict_is_no_error_to_who_is_lenient(self):
        first, other = (event(1, subject="lenient", data={"value": value}) for value in (1, 2))
        for body, fields, status in (
                (first, {}, 204), (first, {}, 204), (other, {}, 409),
                (other, {"Prefer": "handling=lenient"}, 204),
                ([other, event(2, subject="lenient")], {"Prefer": "handling=lenient"}, 204),
                ([other, event(3, subject="lenient", time=moment(-9e6))],
                 {"Prefer": "handling=lenient"}, 400)):
            self.assertEqual(self.post(body, **fields).status, status, (body, fields))
        self.assertEqual((self.used("calls", "lenient"), self.used("sum", "lenient")), ("2", "1"))

    def test_events_are_listed_with_what_is_wrong_with_them(self):
        def listed(**parameters):
            query = urllib.parse.urlencode({"subject": "listed", **parameters})
            return self.api.get("/api/v1/events?" + query, key="read")
        data = {"value": 1.5, "deep": {"a": [True, None, "x"]}, "type": "any"}
        # OpenMeter's own tests look for what is said of an event without data, with null and with
        # nothing in it.
        for number, more in enumerate(({"data": data}, {"data": {"value": None}}, {},
                                       {"data": {"value": "NaN"}}, {"type": "unmetered"},
                                       {"data": None}, {"data": {}})):
            answer = self.post(event(number, subject="listed", time=moment(number - 60), **more))
            self.assertEqual(answer.status, 204)
        rows = listed().json
        self.assertEqual([row["event"]["id"] for row in rows],
                         ["e6", "e5", "e4", "e3", "e2", "e1", "e0"])
        self.assertEqual(rows[6]["event"]["data"], data)
        self.assertNotIn("validationError", rows[6])
        for row, text in ((rows[5], "value cannot be null"),
                          (rows[4], "null and missing value property"),
                          (rows[1], "null and missing value property"),
                          (rows[0], 'missing value property: "$.value"'),
                          (rows[3], "value cannot be NaN")):
            self.assertIn("invalid event: " + text, row["validationError"])
        self.assertEqual([row["event"]["id"] for row in listed(limit=2).json], ["e6", "e5"])
        self.assertEqual(len(listed(id="4").json), 1)
        self.assertEqual(listed(to=moment(-3600)).json, [])
        for parameters in ({"limit": 0}, {"limit": 101}, {"limit": "x"}, {"from": "2020-01-01"},
                           {"from": moment(-40 * 86400)}):
            self.assertEqual(listed(**parameters).status, 400, parameters)

    def test_a_body_that_is_too_large(self):
        self.assertEqual(self.post(b" " * (17 << 20)).status, 413)
        self.assertEqual(self.post(event(1, data={"a": "x" * 66000})).status, 400)
        self.assertEqual(self.post(event(1, subject="large", data={"a": "x" * 64000})).status, 204)

    def test_many_clients_at_a_time(self):
        subject = "crowd"
        faults = []

        def client(number):
            api = api_client.Caller(self.api.address, self.api.keys)
            for turn in range(20):
                events = [event(f"{number}-{turn}-{n}", subject=subject) for n in range(10)]
                answer = api.post("/api/v1/events", events, key="ingest")
                if answer.status != 204:
                    faults.append(answer)
            api.close()
        threads = [threading.Thread(target=client, args=(n,)) for n in range(8)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        self.assertEqual(faults, [])
        self.assertEqual(self.used("calls", subject), "1600")

    def test_many_clients_with_an_event_each(self):
        """Each hears of its own event alone, and what was answered 204 is counted."""
        faults = []

        def client(number):
            api = api_client.Caller(self.api.address, self.api.keys)
            subject, good = f"single-{number}", 0
            for turn in range(24):
                is_old = (number + turn) % 5 == 0
                more = {"time": moment(-9e6)} if is_old else {}
                answer = api.post("/api/v1/events", event(turn, subject=subject, **more),
                                  key="ingest")
                good += not is_old
                if answer.status != (400 if is_old else 204):
                    faults.append(answer)
                if turn % 8 == 7:
                    rows = api.get("/api/v1/meters/calls/query?subject=" + subject,
                                   key="read").json["data"]
                    if [row["value"] for row in rows] != [good]:
                        faults.append((subject, good, rows))
            api.close()
        threads = [threading.Thread(target=client, args=(n,)) for n in range(40)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        self.assertEqual(faults, [])


class Away(unittest.TestCase):
    def test_clients_of_a_tallyd_that_is_killed_lose_and_double_nothing(self):
        with support.Stack() as stack:
            api = api_client.start(stack)
            stack.tally("meter", "add", "calls", "--event-type", "call", "--aggregation", "count")
            refusals = []

            def client(number):
                own = api_client.Caller(api.address, api.keys)
                for turn in range(30):
                    sent = event(f"{number}-{turn}")

                    def is_taken(sent=sent):
                        status = own.post("/api/v1/events", sent).status
                        if status != 204:
                            refusals.append(status)
                        return status == 204
                    support.wait_for("an answer", is_taken)
                own.close()
            threads = [threading.Thread(target=client, args=(n,)) for n in range(16)]
            for thread in threads:
                thread.start()
            support.wait_for("some events", lambda: int(stack.usage("calls", "acme")) > 50)
            stack.kill_tallyd()
            stack.up()
            for thread in threads:
                thread.join()
            self.assertEqual(set(refusals) - {503}, set())
            self.assertEqual(stack.usage("calls", "acme"), "480")
            api.close()

    def test_a_client_that_tries_again_loses_and_doubles_nothing(self):
        with support.Stack() as stack:
            api = api_client.start(stack)
            stack.tally("meter", "add", "calls", "--event-type", "call", "--aggregation", "count")
            self.assertEqual(api.post("/api/v1/events", event(0)).status, 204)
            stack.kill_tallyd()

            def refused():
                answer = api.post("/api/v1/events", event(1))
                return answer if answer.status == 503 else None
            answer = support.wait_for("a refusal", refused)
            self.assertEqual(answer.fields["Retry-After"], "1")
            self.assertEqual(api.get("/health").status, 200)
            stack.up()

            def kill_and_start():
                stack.kill_tallyd()
                stack.up()
            # Killed under load: whatever was answered 204 is there, and each is sent until it is.
            killer = threading.Thread(target=kill_and_start)
            for number in range(200):
                if number == 50:
                    killer.start()
                support.wait_for("an answer", lambda: api.post(
                    "/api/v1/events", event(number)).status == 204)
            killer.join()
            self.assertEqual(stack.usage("calls", "acme"), "200")
            api.close()


if __name__ == "__main__":
    unittest.main(verbosity=2)
