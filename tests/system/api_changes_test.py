"""Corrections, backfills and cuts over HTTP, against a real tallyd."""

import json
import os
import signal
import threading
import unittest
import urllib.parse

import api_client
import support

MANY = "application/cloudevents-batch+json"
LINES = "application/x-ndjson"
CORRECTIONS, BACKFILLS, CUTS = "/api/v1/corrections", "/api/v1/backfills", "/api/v1/cuts"


def event(number, subject, **members):
    return {"id": f"c{number}", "source": "test", "specversion": "1.0", "type": "call",
            "subject": subject, "data": {"n": number}, **members}


class Talk:
    def send(self, *events):
        answer = self.api.post("/api/v1/events", list(events), key="ingest")
        self.assertEqual(answer.status, 204, answer)

    def used(self, meter, subject, **more):
        answer = self.api.get(f"/api/v1/meters/{meter}/query?" + urllib.parse.urlencode(
            {"subject": subject, **more}), key="read")
        self.assertEqual(answer.status, 200, answer)
        return sum(row["value"] for row in answer.json["data"])

    def correct(self, status, kind="cancel", key="billing", **members):
        wish = {"kind": kind, "source": "test", "why": "a test", **members}
        answer = self.api.post(CORRECTIONS, {name: value for name, value in wish.items()
                                             if value is not None}, key=key)
        self.assertEqual(answer.status, status, answer)
        return answer.json

    def step(self, status, target, body, key="billing"):
        answer = self.api.post(BACKFILLS + target, body, key=key)
        self.assertEqual(answer.status, status, answer)
        return answer.json

    def pages(self, target, key="read"):
        """All items of a list, page by page."""
        items, cursor = [], ""
        while True:
            answer = self.api.get(target + cursor, key=key)
            self.assertEqual(answer.status, 200, answer)
            items.append(answer.json["items"])
            if "nextCursor" not in answer.json:
                return items
            cursor = "&cursor=" + urllib.parse.quote(answer.json["nextCursor"])


class Corrections(Talk):
    def test_an_event_is_cancelled_once(self):
        self.send(event(1, "cancel"), event(2, "cancel"), event(5, "cancel"))
        made = self.correct(201, subject="cancel", id="c5", who="ann", why="sent by a test")
        self.assertEqual((made["kind"], made["who"], made["why"], made["amended"], made["value"]),
                         ("cancel", "ann", "sent by a test", None, 1))
        self.assertEqual({name: made["event"][name] for name in ("id", "source", "data")},
                         {"id": "c5", "source": "test", "data": {"n": 5}})
        self.assertEqual([self.used(meter, "cancel") for meter in ("calls", "total", "most")],
                         [2, 3, 2])
        self.assertIn("cancelled", self.correct(409, subject="cancel", id="c5")["detail"])
        # It stays known: a resend is a duplicate.
        self.send(event(5, "cancel"))
        self.assertEqual(self.used("calls", "cancel"), 2)

    def test_an_event_is_amended_again_and_again(self):
        self.send(event(1, "amend", time="2026-11-20T10:00:00Z"), event(2, "amend"))
        made = self.correct(201, "amend", subject="amend", id="c1", data={
            "n": 0.1234567890123456789, "deep": {"a": [1, None, True]}}, who=None)
        self.assertRegex(made["who"], "^key [0-9a-f]{12}$")
        made = self.correct(201, "amend", subject="amend", id="c1",
                            data={"n": "0.123456789012345678"})
        self.assertEqual(made["amended"], {"value": 1, "data": {"n": "0.123456789012345678"}})
        answer = self.api.get("/api/v1/meters/total/query?subject=amend")
        self.assertIn(b'"value":2.123456789012345678,', answer.body)
        made = self.correct(201, "amend", subject="amend", id="c1", value=2.5,
                            time="2026-11-20T10:00:00Z")
        self.assertEqual(made["amended"]["value"], 2.5)
        self.assertEqual(made["event"]["data"], {"n": "0.123456789012345678"})
        self.correct(201, subject="amend", id="c1")
        self.assertEqual((self.used("calls", "amend"), self.used("total", "amend")), (1, 2))

    def test_digits_stay(self):
        self.send(event(1, "digits"))
        answer = self.api.post(CORRECTIONS, json.dumps({
            "kind": "amend", "subject": "digits", "source": "test", "id": "c1", "why": "digits",
            "value": "1"})[:-1] + ',"data":{"n":0.123456789012345678,"m":12345678901234567890}}')
        self.assertEqual(answer.status, 201, answer)
        self.assertIn(b'"amended":{"value":1,"data":{"n":"0.123456789012345678",'
                      b'"m":12345678901234567890}}', answer.body)
        self.assertIn(b'"value":0.123456789012345678,', self.api.get(
            "/api/v1/meters/total/query?subject=digits").body)

    def test_what_is_not_there(self):
        self.send(event(1, "absent", source="a"))
        for members in ({"id": "c9"}, {"id": "c1", "source": "b"}, {"id": "c1", "source": None},
                        {"id": "c1", "subject": "nobody"},
                        {"id": "c1", "source": "a", "time": "2020-01-01T00:00:00Z"}):
            self.correct(404, **{"subject": "absent", **members})
        self.assertEqual(self.used("calls", "absent"), 1)

    def test_wishes_that_make_no_sense(self):
        good = {"kind": "cancel", "subject": "s", "source": "test", "id": "c1", "why": "a test"}
        deep = {"a": {"a": {"a": {"a": {"a": {"a": {"a": {"a": {"a": 1}}}}}}}}}
        for members, text in (
                ({"kind": "delete"}, "kind must be cancel or amend"),
                ({"kind": None}, "kind is required"), ({"kind": 1}, "kind must be a string"),
                ({"subject": None}, "subject is required"), ({"subject": ""}, "not be empty"),
                ({"subject": "x" * 256}, "subject must have at most 255 bytes"),
                ({"subject": "a\0"}, "U+0000"), ({"source": 1}, "source must be a string"),
                ({"source": "x" * 256}, "source must have at most 255 bytes"),
                ({"id": None}, "id is required"), ({"id": "x" * 129}, "at most 128 bytes"),
                ({"why": None}, "why is required"), ({"why": "x" * 1001}, "at most 1000 bytes"),
                ({"who": "x" * 256}, "who must have at most 255 bytes"),
                ({"who": []}, "who must be a string"),
                ({"time": 1}, "time must be a date-time"),
                ({"time": "2026-11-20"}, "time must be a date-time"),
                ({"value": 1}, "a cancel has no new value"),
                ({"data": {}}, "a cancel has no new value"),
                ({"kind": "amend"}, "an amend has a new value"),
                ({"kind": "amend", "value": "x"}, "value must be a number"),
                ({"kind": "amend", "value": True}, "value must be a number"),
                ({"kind": "amend", "value": 1e19}, "value must be a number below 10^19"),
                ({"kind": "amend", "value": 1e-19}, "at most 18 decimals"),
                ({"kind": "amend", "data": []}, "data must be an object"),
                ({"kind": "amend", "data": {"a": deep}}, "nested deeper than 8"),
                ({"kind": "amend", "data": {"a": "x" * 70000}}, "64 KiB"),
                ({"reason": "x"}, "reason is not known here")):
            answer = self.api.post(CORRECTIONS, {**good, **members})
            self.assertEqual(answer.status, 400, (members, answer))
            self.assertIn(text, answer.json["detail"], members)
        for body in ("", "{", "[]", "null", '{"kind":"cancel","kind":"cancel"}', "\xff"):
            self.assertEqual(self.api.post(CORRECTIONS, body).status, 400, body)
        # As deep as it may be.
        self.send(event(1, "deep"))
        self.correct(201, "amend", subject="deep", id="c1", data=deep)

    def test_corrections_page_by_page_from_the_newest(self):
        subjects = [f"audit{n}" for n in range(6)]
        self.send(*(event(1, subject) for subject in subjects))
        made = [self.correct(201, subject=subject, id="c1", who=f"who{number}")
                for number, subject in enumerate(subjects)]
        listed = self.pages(CORRECTIONS + "?limit=1")
        self.assertTrue(all(len(page) == 1 for page in listed))
        items = [page[0] for page in listed]
        self.assertEqual([item["createdAt"] for item in items],
                         sorted((item["createdAt"] for item in items), reverse=True))
        self.assertEqual([item for item in items if item in made], made[::-1])
        self.assertEqual(len({item["id"] for item in items}), len(items))
        self.assertEqual(self.pages(CORRECTIONS + "?limit=1000"), [items])
        self.assertEqual(self.pages(CORRECTIONS + "?subject=audit3"), [[made[3]]])
        since = urllib.parse.quote(made[2]["createdAt"])
        until = urllib.parse.quote(made[4]["createdAt"])
        between = self.pages(f"{CORRECTIONS}?from={since}&to={until}")[0]
        self.assertEqual([item for item in between if item in made], [made[3], made[2]])
        one = self.api.get(f"{CORRECTIONS}/{made[0]['id']}", key="billing")
        self.assertEqual(one.json, made[0])
        for wrong in ("x", "0-1", "0-0-0", "99999-1-0", "0-1-1", "0-18446744073709551615-0",
                      "0-99999999999999999999-0", "4294967296-1-0"):
            self.assertEqual(self.api.get(f"{CORRECTIONS}/{wrong}").status, 404, wrong)
        for wrong in ("limit=0", "limit=1001", "limit=x", "limit=1&limit=2", "cursor=x", "cursor=",
                      "cursor=1-2-3", "cursor=1-2-3-4-5", "cursor=9223372036854775808-0-1-0",
                      "from=yesterday", "to=2026-11-20", "subject=", "subject=" + "x" * 256,
                      "since=2026-11-20T00:00:00Z"):
            answer = self.api.get(f"{CORRECTIONS}?{wrong}")
            self.assertEqual(answer.status, 400, wrong)
            self.assertIn(wrong.split("=")[0], answer.json["detail"])


class Backfills(Talk):
    def fill(self, status, backfill, body, kind=MANY, **fields):
        if isinstance(body, list):
            body = json.dumps(body)
        answer = self.api.post(f"{BACKFILLS}/{backfill}/events", body, key="billing",
                               fields={"Content-Type": kind, **fields})
        self.assertEqual(answer.status, status, answer)
        return answer.json

    def test_a_backfill_is_opened_filled_closed_and_reverted(self):
        made = self.step(201, "", {"id": "march", "who": "ann", "why": "from the old system"})
        self.assertEqual((made["id"], made["state"], made["events"], made["closed"]),
                         ("march", "open", 0, None))
        self.assertEqual((made["opened"]["who"], made["opened"]["why"]),
                         ("ann", "from the old system"))
        old = [event(n, "filled", time=f"2020-03-0{n}T00:00:00Z") for n in range(1, 6)]
        # Live they are too old.
        self.assertEqual(self.api.post("/api/v1/events", old).status, 400)
        self.fill(204, "march", old[:2])
        self.fill(204, "march", "\n".join(map(json.dumps, old[2:4])) + "\r\n\n", LINES)
        self.fill(204, "march", json.dumps(old[4]), "application/cloudevents+json")
        self.fill(204, "march", old)
        self.assertEqual(self.used("calls", "filled"), 5)
        self.correct(201, subject="filled", id="c2")
        found = self.api.get(f"{BACKFILLS}/march", key="read").json
        self.assertEqual((found["events"], found["cancelledEvents"]), (5, 1))
        self.assertEqual(self.pages(f"{CORRECTIONS}?subject=filled")[0][0]["backfillId"], "march")
        answer = self.api.post(f"{BACKFILLS}/march/close", "", key="billing")
        self.assertEqual((answer.status, answer.json["state"]), (200, "closed"))
        self.assertRegex(answer.json["closed"]["who"], "^key ")
        self.assertIn("is closed", self.fill(409, "march", old)["detail"])
        self.assertIn("closed", self.step(409, "/march/close", {})["detail"])
        self.assertIn("used once", self.step(409, "", {"id": "march"})["detail"])
        self.assertEqual(self.used("calls", "filled"), 4)
        found = self.step(200, "/march/revert", {"why": "counted in MB", "who": "bob"})
        self.assertEqual((found["state"], found["revertedEvents"], found["reverted"]["who"]),
                         ("reverted", 4, "bob"))
        self.assertEqual(self.used("calls", "filled"), 0)
        self.assertIn("reverted", self.step(409, "/march/revert", {"why": "again"})["detail"])
        # What the revert took out is not listed as corrections; the one cancelled by itself is.
        self.assertEqual([item["event"]["id"] for item in
                          self.pages(f"{CORRECTIONS}?subject=filled")[0]], ["c2"])
        # Their ids are free; that of the one cancelled by itself is not.
        again = self.step(201, "", {})["id"]
        self.fill(204, again, old)
        self.assertEqual(self.used("calls", "filled"), 4)

    def test_bad_events_are_named(self):
        self.step(201, "", {"id": "bad"})
        good = event(1, "bad", time="2020-03-01T00:00:00Z")
        problem = self.fill(400, "bad", "\n".join(
            (json.dumps(good), "", "{", json.dumps({**good, "type": ""}), "[]")), LINES)
        self.assertEqual([fault["field"] for fault in problem["extensions"]["validationErrors"]],
                         ["line 3", "line 4, type", "line 5"])
        self.assertEqual(self.used("calls", "bad"), 0)
        answer = self.fill(200, "bad", json.dumps(good) + "\nx", LINES,
                           Prefer="return=representation")
        self.assertEqual([item["status"] for item in answer["items"]], ["accepted", "rejected"])
        self.assertEqual(self.used("calls", "bad"), 1)
        self.fill(204, "bad", "", LINES)
        self.fill(400, "bad", "", MANY)
        self.fill(400, "bad", "{}", "text/plain")
        self.step(200, "/bad/revert", {"why": "a test"})

    def test_steps_that_make_no_sense(self):
        self.step(404, "/nothing/close", {})
        self.step(404, "/nothing/revert", {"why": "x"})
        self.fill(404, "nothing", [])
        self.assertEqual(self.api.get(f"{BACKFILLS}/nothing").status, 404)
        self.step(400, "/" + "x" * 101 + "/close", {})
        for target, body, text in (
                ("", "", "cannot be read"), ("", [], "must be an object"),
                ("", {"id": ""}, "id must not be empty"), ("", {"id": "x" * 101}, "100 bytes"),
                ("", {"id": 1}, "id must be a string"), ("", {"id": "a\0"}, "U+0000"),
                ("", {"who": "x" * 256}, "255 bytes"), ("", {"why": "x" * 1001}, "1000 bytes"),
                ("", {"name": "x"}, "name is not known here"),
                ("/x/close", "[]", "must be an object"),
                ("/x/close", {"id": "x"}, "id is not known here"),
                ("/x/revert", {}, "why is required"), ("/x/revert", "", "cannot be read"),
                ("/x/revert", {"why": ""}, "why must not be empty"),
                ("/x/revert", {"why": 1}, "why must be a string")):
            self.assertIn(text, self.step(400, target, body)["detail"], (target, body))

    def test_backfills_page_by_page_from_the_newest(self):
        names = [self.step(201, "", {"id": f"list, {number}/\u00e9"})["id"] for number in range(4)]
        self.step(200, "/" + urllib.parse.quote(names[1], safe="") + "/close", {})
        pages = self.pages(f"{BACKFILLS}?limit=1")
        listed = [page[0]["id"] for page in pages]
        self.assertEqual([name for name in listed if name in names], names[::-1])
        self.assertEqual([row["id"] for row in self.pages(BACKFILLS + "?limit=1000")[0]], listed)
        closed = [row for page in self.pages(f"{BACKFILLS}?state=closed&limit=1") for row in page]
        self.assertIn(names[1], [row["id"] for row in closed])
        self.assertEqual({row["state"] for row in closed}, {"closed"})
        for wrong in ("limit=0", "limit=1001", "cursor=nothing", "cursor=", "state=x", "state=",
                      "id=x"):
            answer = self.api.get(f"{BACKFILLS}?{wrong}")
            self.assertEqual(answer.status, 400, wrong)
            self.assertIn(wrong.split("=")[0], answer.json["detail"])


class Cuts(Talk):
    def test_usage_at_a_cut_stays(self):
        day = "2026-11-20T00:00:00Z"
        self.send(event(1, "cut", time="2026-11-19T10:00:00Z"),
                  event(2, "cut", time="2026-11-19T11:00:00Z"))
        answer = self.api.post(CUTS, {"at": day}, key="billing")
        self.assertEqual(answer.status, 201, answer)
        first = answer.json["number"]
        self.assertEqual(answer.json["at"], day)
        self.send(event(4, "cut", time="2026-11-19T12:00:00Z"))
        self.correct(201, subject="cut", id="c1")
        second = self.api.post(CUTS, {"at": day}).json["number"]
        self.assertEqual(second, first + 1)
        self.assertEqual(self.used("total", "cut", to=day), 6)
        self.assertEqual(self.used("total", "cut", to=day, atCut=first), 3)
        self.assertEqual(self.used("total", "cut", to=day, atCut=second), 6)
        answer = self.api.post(f"/api/v1/meters/total/query?atCut={first}",
                               {"to": day, "subject": ["cut"], "windowSize": "HOUR"})
        self.assertEqual([row["value"] for row in answer.json["data"]], [1, 2])
        for wrong, status in (({"atCut": first}, 400), ({"atCut": 0, "to": day}, 400),
                              ({"atCut": "x", "to": day}, 400),
                              ({"atCut": second + 1, "to": day}, 404),
                              ({"atCut": first, "to": "2026-11-20T00:00:01Z"}, 400)):
            answer = self.api.get("/api/v1/meters/total/query?" + urllib.parse.urlencode(wrong))
            self.assertEqual(answer.status, status, (wrong, answer))
        items = self.pages(f"{CUTS}?limit=1")
        self.assertEqual([page[0]["number"] for page in items], list(range(len(items), 0, -1)))
        self.assertEqual([(cut["number"], cut["at"], cut["isComplete"])
                          for cut in self.pages(CUTS)[0][:2]],
                         [(second, day, True), (first, day, True)])

    def test_what_came_late_for_a_cut(self):
        day = "2026-11-18T00:00:00Z"
        self.send(*(event(n, subject, time=f"2026-11-17T1{n}:00:00Z")
                    for n, subject in ((1, "late-a"), (2, "late-a"), (4, "late-b"))))
        cut = self.api.post(CUTS, {"at": day}).json["number"]
        self.send(event(5, "late-a", time="2026-11-17T11:30:00Z"),
                  event(7, "late-c", time="2026-11-17T11:00:00Z"),
                  event(8, "late-a", time="2026-11-18T00:00:00Z"))
        self.correct(201, subject="late-b", id="c4")

        def late(status=200, meter="total", **asked):
            query = urllib.parse.urlencode(
                {"sinceCut": cut, "from": "2026-11-17T00:00:00Z", "to": day, **asked}, doseq=True)
            answer = self.api.get(f"/api/v1/meters/{meter}/late-usage?{query}", key="read")
            self.assertEqual(answer.status, status, (asked, answer))
            return answer.json

        def rows(**asked):
            return [(row["subject"], row["value"], row["before"], row["now"], row["count"])
                    for row in late(**asked)["data"]]
        self.assertEqual(rows(groupBy="subject"), [
            ("late-a", 5, 3, 8, 1), ("late-b", -4, 4, None, -1), ("late-c", 7, None, 7, 1)])
        self.assertEqual(rows(subject="late-a"), [("late-a", 5, 3, 8, 1)])
        self.assertEqual(rows(), [(None, 8, 7, 15, 1)])
        found = late(subject="late-a", windowSize="HOUR")
        self.assertEqual(found, {"sinceCut": cut, "data": [
            {"value": 5, "before": 1, "now": 6, "count": 1, "subject": "late-a", "groupBy": {},
             "windowStart": "2026-11-17T11:00:00Z", "windowEnd": "2026-11-17T12:00:00Z"}]})
        self.assertEqual(rows(subject="nobody"), [])
        for wrong in ({"sinceCut": 0}, {"sinceCut": "x"}, {"sinceCut": [cut, cut]},
                      {"to": "2026-11-18T00:00:01Z"}, {"filterCustomerId": "late-a"},
                      {"groupBy": "nothing"}, {"windowSize": "WEEK"}):
            late(status=400, **wrong)
        late(status=404, sinceCut=cut + 1000)
        late(status=404, meter="none")
        for query, word in (("to=" + day, "sinceCut"), (f"sinceCut={cut}", "to is required")):
            answer = self.api.get("/api/v1/meters/total/late-usage?" + query)
            self.assertEqual(answer.status, 400)
            self.assertIn(word, answer.json["detail"])

    def test_cuts_that_make_no_sense(self):
        for body, text in (("", "cannot be read"), ({}, "at is required"),
                           ({"at": 1}, "at must be a date-time"),
                           ({"at": "2026-11-20"}, "at must be a date-time"),
                           ({"at": "1969-12-31T00:00:00Z"}, "1970"),
                           ({"at": "2200-01-01T00:00:00Z"}, "future"),
                           ({"at": "2026-11-20T00:00:00Z", "who": "x"}, "who is not known here")):
            answer = self.api.post(CUTS, body)
            self.assertEqual(answer.status, 400, (body, answer))
            self.assertIn(text, answer.json["detail"])
        for wrong in ("limit=0", "limit=1001", "cursor=0", "cursor=x", "from=x"):
            self.assertEqual(self.api.get(f"{CUTS}?{wrong}").status, 400, wrong)


class Process(Talk):
    def test_without_tallyd_nothing_is_changed_and_lists_are_answered(self):
        self.send(event(1, "away"))
        self.step(201, "", {"id": "away"})
        self.stack.kill_tallyd()
        wish = {"kind": "cancel", "subject": "away", "source": "test", "id": "c1", "why": "x"}
        for target, body in ((CORRECTIONS, wish), (CUTS, {"at": "2026-11-20T00:00:00Z"}),
                             (BACKFILLS, {"id": "b"}), (BACKFILLS + "/away/close", {}),
                             (BACKFILLS + "/away/events", [event(2, "away")])):
            answer = self.api.post(target, body)
            self.assertEqual((answer.status, answer.fields["Retry-After"]), (503, "1"), answer)
        for target in (CORRECTIONS, CUTS, BACKFILLS, BACKFILLS + "/away"):
            self.assertEqual(self.api.get(target).status, 200, target)
        self.stack.up("--api", "127.0.0.1:0")
        self.assertEqual(self.used("calls", "away"), 1)
        self.correct(201, subject="away", id="c1")

    def test_changes_do_not_take_all_workers(self):
        tallyd = self.stack.tallyd()["pid"]
        callers = [api_client.Caller(self.api.address, self.api.keys) for _ in range(8)]
        answers = []

        def cut(caller):
            answers.append(caller.post(CUTS, {"at": "2026-11-20T00:00:00Z"}).status)
        threads = [threading.Thread(target=cut, args=(caller,)) for caller in callers]
        os.kill(tallyd, signal.SIGSTOP)
        try:
            for thread in threads:
                thread.start()
            # All but those that may wait are turned away at once, and others are answered.
            support.wait_for("refusals", lambda: len(answers) >= 6)
            self.assertEqual(self.api.get("/health").status, 200)
        finally:
            os.kill(tallyd, signal.SIGCONT)
        for thread in threads:
            thread.join()
        for caller in callers:
            caller.close()
        self.assertEqual(sorted(answers), [201] * 2 + [503] * 6)


class Changes(Corrections, Backfills, Cuts, Process, unittest.TestCase):
    """All of it, with one set of processes."""

    @classmethod
    def setUpClass(cls):
        cls.stack = support.Stack()
        cls.stack.__enter__()
        cls.addClassCleanup(cls.stack.__exit__, None, None, None)
        cls.api = api_client.start(cls.stack)
        cls.addClassCleanup(cls.api.close)
        for key, more in (("calls", {"aggregation": "COUNT"}),
                          ("total", {"aggregation": "SUM", "valueProperty": "$.n"}),
                          ("most", {"aggregation": "MAX", "valueProperty": "$.n"})):
            answer = cls.api.post("/api/v1/meters", {"slug": key, "eventType": "call", **more})
            assert answer.status == 200, answer


if __name__ == "__main__":
    unittest.main(verbosity=2)
