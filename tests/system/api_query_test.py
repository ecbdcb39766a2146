"""Meters and usage queries over HTTP: what OpenMeter's tests expect, and every refusal."""

import json
import time
import unittest
import urllib.parse

import api_client
import support

FIRST, LATER = "2026-11-20T10:00:", "2026-11-20T11:30:"


def event(number, **members):
    return {"id": f"q{number}", "source": "test", "specversion": "1.0", "type": "api",
            "subject": "s1", "time": FIRST + "00Z", **members}


class Query(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.stack = support.Stack()
        cls.stack.__enter__()
        cls.addClassCleanup(cls.stack.__exit__, None, None, None)
        # The events below have times of their own.
        cls.api = api_client.start(cls.stack, "--", "--past", "4000d", "--dedup-window", "4001d")
        cls.addClassCleanup(cls.api.close)
        for slug in ("sum", "count", "avg", "min", "max", "unique_count", "latest"):
            cls.meter_make(slug, aggregation=slug.upper(), **{} if slug == "count" else {
                "valueProperty": "$.name" if slug == "unique_count" else "$.value"})
        cls.meter_make("grouped", aggregation="SUM", valueProperty="$.value", eventType="grouped",
                       groupBy={"method": "$.method", "path": "$.path"})
        # OpenMeter's own (connector_query_test.go).
        cls.events_send(
            event(1, time=FIRST + "01Z", data={"value": 123, "name": 1}),
            event(2, time=FIRST + "02Z", data={"value": "0.4567890123456789", "name": "a"}),
            event(3, time=FIRST + "03Z", data={"value": None, "name": None}))
        cls.events_send(*(
            event(f"g{n}", type="grouped", subject=f"s{n % 2 + 1}", time=when + "00Z",
                  data={"value": n, "method": method, "path": "/a,\"b\""})
            for n, (when, method) in enumerate(
                ((FIRST, "GET"), (FIRST, "POST"), (LATER, "GET"), (LATER, None)), 1)))
        cls.stack.tally("customer", "add", "c1", "--subject", "s1")
        cls.stack.tally("customer", "add", "c2", "--subject", "s2", "--subject", "s3")

    @classmethod
    def meter_make(cls, slug, **members):
        answer = cls.api.post("/api/v1/meters", {"slug": slug, "eventType": "api", **members})
        assert answer.status == 200, answer

    @classmethod
    def events_send(cls, *events):
        answer = cls.api.post("/api/v1/events", list(events))
        assert answer.status == 204, answer

    def query(self, meter, status=200, **parameters):
        """Asks by GET and by POST, which must agree."""
        filters = parameters.pop("filterGroupBy", None)
        pairs = dict(parameters)
        body = dict(parameters)
        if filters:
            body["filterGroupBy"] = filters
            pairs.update({f"filterGroupBy[{key}]": value for key, value in filters.items()})
        target = f"/api/v1/meters/{meter}/query"
        answer = self.api.get(f"{target}?{urllib.parse.urlencode(pairs, doseq=True, safe='[]')}",
                              key="read")
        self.assertEqual(answer.status, status, answer)
        posted = self.api.post(target, body, key="read")
        self.assertEqual(posted.status, status, posted)
        if status == 200:
            self.assertEqual(posted.json, answer.json)
        return answer.json

    def values(self, meter, **parameters):
        return [row["value"] for row in self.query(meter, **parameters)["data"]]

    def test_the_reference_values(self):
        for meter, value in (("sum", "123.4567890123456789"), ("count", "3"),
                             ("min", "0.4567890123456789"), ("max", "123"), ("unique_count", "2"),
                             ("latest", "0.4567890123456789"), ("avg", "61.72839450617283945")):
            answer = self.api.get(f"/api/v1/meters/{meter}/query?from={FIRST}00Z&to={LATER}00Z",
                                  key="read")
            self.assertIn(f'"value":{value},'.encode(), answer.body, meter)

    def test_an_empty_range(self):
        for meter in ("sum", "avg", "min", "max", "latest"):
            self.assertEqual(self.values(meter, **{"from": LATER + "00Z"}), [], meter)
        for meter in ("count", "unique_count"):
            later = {"from": LATER + "00Z", "to": "2026-11-20T12:00:00Z"}
            rows = self.query(meter, **later)["data"]
            self.assertEqual(rows, [{"value": 0, "windowStart": later["from"],
                                     "windowEnd": later["to"], "subject": None, "groupBy": {}}])
            for more in ({"windowSize": "HOUR"}, {"subject": ["s1"]},
                         {"filterCustomerId": ["c1"]}):
                self.assertEqual(self.values(meter, **later, **more), [], (meter, more))
            # One bound, far from what was used: the window does not end before it begins.
            for bound in ({"to": "2001-01-01T00:00:00Z"}, {"from": "2201-01-01T00:00:00Z"}):
                moment = next(iter(bound.values()))
                self.assertEqual(self.query(meter, **bound)["data"], [{
                    "value": 0, "windowStart": moment, "windowEnd": moment, "subject": None,
                    "groupBy": {}}])
            row = self.query(meter, **{"from": LATER + "00Z"})["data"][0]
            self.assertLess(row["windowStart"], row["windowEnd"])

    def test_what_was_asked_is_echoed_and_nothing_else(self):
        self.assertEqual(set(self.query("sum")), {"data"})
        asked = {"from": FIRST + "00Z", "to": LATER + "00Z", "windowSize": "DAY"}
        answer = self.query("sum", **asked)
        self.assertEqual({key: answer[key] for key in asked}, asked)

    def test_a_total_reaches_from_the_first_event_to_the_last(self):
        row = self.query("grouped")["data"][0]
        self.assertEqual((row["windowStart"], row["windowEnd"]),
                         ("2026-11-20T10:00:00Z", "2026-11-20T11:31:00Z"))
        row = self.query("grouped", **{"from": "2026-11-01T00:00:00Z"})["data"][0]
        self.assertEqual((row["windowStart"], row["windowEnd"]),
                         ("2026-11-01T00:00:00Z", "2026-11-20T11:31:00Z"))

    def test_windows(self):
        rows = self.query("grouped", windowSize="HOUR")["data"]
        self.assertEqual([(row["windowStart"], row["windowEnd"], row["value"]) for row in rows],
                         [("2026-11-20T10:00:00Z", "2026-11-20T11:00:00Z", 3),
                          ("2026-11-20T11:00:00Z", "2026-11-20T12:00:00Z", 7)])
        rows = self.query("grouped", windowSize="DAY", windowTimeZone="Asia/Kathmandu")["data"]
        self.assertEqual([(row["windowStart"], row["windowEnd"], row["value"]) for row in rows],
                         [("2026-11-19T18:15:00Z", "2026-11-20T18:15:00Z", 10)])
        self.assertEqual(self.values("grouped", windowSize="MONTH"), [10])
        self.assertEqual(self.values("grouped", windowSize="MINUTE"), [3, 7])

    def test_groups_and_filters(self):
        rows = self.query("grouped", groupBy=["method"])["data"]
        self.assertEqual(sorted((row["groupBy"]["method"], row["value"]) for row in rows),
                         [("", 4), ("GET", 4), ("POST", 2)])
        rows = self.query("grouped", groupBy=["subject"])["data"]
        self.assertEqual([(row["subject"], row["value"]) for row in rows], [("s1", 6), ("s2", 4)])
        self.assertEqual(self.values("grouped", subject=["s1"]), [6])
        self.assertEqual(self.values("grouped", filterGroupBy={"method": ["GET"]}), [4])
        self.assertEqual(self.values("grouped", filterGroupBy={"method": ["GET", "POST"]}), [6])
        self.assertEqual(self.values("grouped", filterGroupBy={"method": ["PUT"]}), [])
        answer = self.api.post("/api/v1/meters/grouped/query", {"advancedMeterGroupByFilters": {
            "method": {"$in": ["GET", "POST"]}}}, key="read")
        self.assertEqual([row["value"] for row in answer.json["data"]], [6])
        filters = urllib.parse.quote('{"method": {"$ne": "GET"}}')
        answer = self.api.get("/api/v1/meters/grouped/query?advancedMeterGroupByFilters=" + filters)
        self.assertEqual([row["value"] for row in answer.json["data"]], [6])

    def test_filters_that_ask_for_nothing(self):
        """As SDKs send members that are there but empty."""
        target = "/api/v1/meters/grouped/query"
        nothing = ({}, {"method": {}}, {"method": {"$eq": None}, "path": None})
        for advanced in nothing:
            text = urllib.parse.quote(json.dumps(advanced))
            for simple, value in (("", 10), ("&filterGroupBy[method]=GET", 4)):
                answer = self.api.get(f"{target}?advancedMeterGroupByFilters={text}{simple}")
                self.assertEqual([row["value"] for row in answer.json["data"]], [value], answer)
            for simple, value in ((None, 10), ({}, 10), ({"method": []}, 10),
                                  ({"method": ["GET"]}, 4)):
                answer = self.api.post(target, {"filterGroupBy": simple,
                                                "advancedMeterGroupByFilters": advanced})
                self.assertEqual([row["value"] for row in answer.json["data"]], [value], answer)
        answer = self.api.post(target, {"filterGroupBy": {}, "advancedMeterGroupByFilters": {
            "method": {"$eq": "GET"}}})
        self.assertEqual([row["value"] for row in answer.json["data"]], [4])
        answer = self.api.post(target, {
            "from": None, "to": None, "windowSize": None, "windowTimeZone": None, "subject": [],
            "groupBy": [], "filterCustomerId": [], "clientId": None})
        self.assertEqual([row["value"] for row in answer.json["data"]], [10])

    def test_customers(self):
        rows = self.query("grouped", filterCustomerId=["c1", "c2"])["data"]
        self.assertEqual([(row["customerId"], row["subject"], row["value"]) for row in rows],
                         [("c1", None, 6), ("c2", None, 4)])
        rows = self.query("grouped", filterCustomerId=["c1", "c2"], subject=["s2"])["data"]
        self.assertEqual([(row["customerId"], row["subject"], row["value"]) for row in rows],
                         [("c2", "s2", 4)])
        self.query("grouped", status=404, filterCustomerId=["nobody"])
        self.query("grouped", status=400, groupBy=["customer_id"])

    def test_csv(self):
        answer = self.api.get(
            "/api/v1/meters/grouped/query?groupBy=method&groupBy=path&windowSize=DAY&subject=s1",
            fields={"Accept": "Text/CSV"})
        self.assertEqual(answer.fields["Content-Type"], "text/csv")
        self.assertIn('filename="grouped.csv"', answer.fields["Content-Disposition"])
        day = "2026-11-20T00:00:00Z,2026-11-21T00:00:00Z,s1"
        lines = answer.body.decode().split("\n")
        self.assertEqual(lines[0], "window_start,window_end,subject,method,path,value")
        self.assertEqual(sorted(lines[1:]), [
            "", f'{day},,"/a,""b""",4.000000', f'{day},POST,"/a,""b""",2.000000'])

    def test_csv_names_subjects_that_have_a_name(self):
        self.api.post("/api/v1/subjects", [{"key": "s1", "displayName": 'One, "first"'}])
        target = "/api/v1/meters/grouped/query?windowSize=MONTH&groupBy="
        text = {"Accept": "text/csv"}
        month = "2026-11-01T00:00:00Z,2026-12-01T00:00:00Z"
        self.assertEqual(self.api.get(target + "subject", fields=text).body.decode().split("\n"), [
            "window_start,window_end,subject,subject_display_name,value",
            month + ',s1,"One, ""first""",6.000000', month + ",s2,,4.000000", ""])
        self.assertEqual(self.api.get(target + "method", fields=text).body.decode().split("\n")[0],
                         "window_start,window_end,method,value")
        self.api.ask("DELETE", "/api/v1/subjects/s1")

    def test_a_question_with_a_name_says_how_far_it_is(self):
        progress = "/api/v1/info/progress/"
        self.query("sum", clientId="one")
        answer = self.api.get(progress + "one", key="read").json
        self.assertEqual((answer["success"], answer["failed"], answer["total"]), (1, 0, 1))
        self.assertRegex(answer["updatedAt"], "^20.*Z$")
        self.query("sum", clientId="two", filterCustomerId=["c1", "c2"])
        answer = self.api.get(progress + "two").json
        self.assertEqual((answer["success"], answer["failed"], answer["total"]), (2, 0, 2))
        self.query("sum", status=404, clientId="two", filterCustomerId=["c1", "nobody", "c2"])
        answer = self.api.get(progress + "two").json
        self.assertEqual((answer["success"], answer["failed"], answer["total"]), (1, 1, 3))
        self.assertEqual(self.api.get(progress + "three").status, 404)
        for wrong in ("", "x" * 37):
            self.query("sum", status=400, clientId=wrong)

    def test_openmeters_quickstart(self):
        """The events of its README, the answers that it prints; version 3 as its own test asks."""
        data = {"method": "GET", "route": "/hello"}
        groups = {"groupBy": {"method": "$.method", "route": "$.route"}}
        self.meter_make("api_request", aggregation="COUNT", eventType="api_request", **groups)
        for number, day in (("00001", "01"), ("00002", "01"), ("00003", "02"), ("00003", "02")):
            self.events_send(event(0, id=number, source="service-0", type="api_request",
                                   subject="customer-1", time=f"2023-01-{day}T00:00:00.001Z",
                                   data=data))
        hourly = self.query("api_request", windowSize="HOUR", groupBy=["method", "route"])
        self.assertEqual(hourly, {"windowSize": "HOUR", "data": [
            {"value": value, "windowStart": f"2023-01-{day}T00:00:00Z",
             "windowEnd": f"2023-01-{day}T01:00:00Z", "subject": None, "groupBy": data}
            for value, day in ((2, "01"), (1, "02"))]})
        self.assertEqual(self.query("api_request", subject=["customer-1"]), {"data": [
            {"value": 3, "windowStart": "2023-01-01T00:00:00Z",
             "windowEnd": "2023-01-02T00:01:00Z", "subject": "customer-1", "groupBy": {}}]})
        answer = self.api.post("/api/v3/openmeter/meters/api_request/query",
                               {"granularity": "PT1H"}, key="read")
        self.assertEqual([row["value"] for row in answer.json["data"]], ["2", "1"])
        self.api.ask("DELETE", "/api/v1/meters/api_request")

    def test_quoted_paths(self):
        made = self.api.post("/api/v1/meters", {
            "slug": "quoted", "aggregation": "SUM", "eventType": "quoted",
            "valueProperty": "$['usage'][\"tokens-used\"]", "groupBy": {"model": "$['the model']"}})
        self.assertEqual((made.status, made.json["valueProperty"], made.json["groupBy"]),
                         (200, "$.usage.tokens-used", {"model": "$.the model"}))
        self.events_send(event("quoted", type="quoted", data={
            "usage": {"tokens-used": 5}, "the model": "m"}))
        rows = self.query("quoted", groupBy=["model"])["data"]
        self.assertEqual([(row["value"], row["groupBy"]) for row in rows], [(5, {"model": "m"})])
        again = self.api.ask("PUT", "/api/v1/meters/quoted", body={
            "valueProperty": "$['usage']['tokens-used']", "description": "d"})
        self.assertEqual((again.status, again.json["description"]), (200, "d"))
        for path in ("$.a[0]", "$['a.b']", "$[*]"):
            answer = self.api.post("/api/v1/meters", {
                "slug": "wrong", "aggregation": "SUM", "eventType": "x", "valueProperty": path})
            self.assertEqual(answer.status, 400, path)
        self.api.ask("DELETE", "/api/v1/meters/quoted")

    def test_an_id_counts_once_whatever_its_time(self):
        """As OpenMeter's e2e test of its deduplication sends it (TestDedupe)."""
        self.meter_make("dedupe", aggregation="COUNT", eventType="dedupe")
        for day in range(1, 29):
            self.events_send(event(0, id="52f44f66", type="dedupe", data={},
                                   time=f"2026-10-{day:02}T10:00:00Z"))
        self.assertEqual(self.values("dedupe"), [1])
        self.api.ask("DELETE", "/api/v1/meters/dedupe")

    def test_lists(self):
        self.assertEqual(self.api.get("/api/v1/meters/grouped/subjects").json, ["s1", "s2"])
        values = "/api/v1/meters/grouped/group-by/method/values"
        self.assertEqual(self.api.get(values + "?from=2020-01-01T00:00:00Z").status, 400)
        self.assertEqual(self.api.get("/api/v1/meters/grouped/group-by/x/values").status, 400)
        self.assertEqual(self.api.get(values).status, 200)
        self.assertEqual(self.api.get(values + "?search=a&search=b").status, 400)
        self.meter_make("listed", aggregation="COUNT", eventType="listed",
                        groupBy={"region": "$.region"})
        self.events_send(*(event(f"l{n}", type="listed", data={"region": region}, time=None)
                           for n, region in enumerate(("eu-west", "EU-north", "us", "eu-west"))))
        values = "/api/v1/meters/listed/group-by/region/values"
        for query, found in (("", ["EU-north", "eu-west", "us"]), ("?search=", None),
                             ("?search=eU", ["EU-north", "eu-west"]),
                             ("?search=-WEST", ["eu-west"]), ("?search=asia", []),
                             ("?search=eu-west-1", [])):
            self.assertEqual(self.api.get(values + query).json,
                             ["EU-north", "eu-west", "us"] if found is None else found, query)
        # The day up to an end; what comes now is not within it.
        then = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(time.time() - 5 * 86400))
        answer = self.api.get(f"{values}?to={then}")
        self.assertEqual((answer.status, answer.json), (200, []))
        self.api.ask("DELETE", "/api/v1/meters/listed")

    def test_queries_that_make_no_sense(self):
        for parameters in (
                {"from": "yesterday"}, {"from": "2026-11-20"}, {"to": "2026-11-20 10:00:00"},
                {"from": LATER + "00Z", "to": FIRST + "00Z"},
                {"from": LATER + "00Z", "to": LATER + "00Z"}, {"windowSize": "WEEK"},
                {"windowSize": "day"}, {"windowTimeZone": "Mars/Olympus", "windowSize": "DAY"},
                {"groupBy": ["nothing"]}, {"filterGroupBy": {"nothing": ["x"]}},
                {"subject": [""]}):
            self.query("grouped", status=400, **parameters)
        problem = self.api.get("/api/v1/meters/grouped/query?from=2026-11-20T10:00:00+01:00")
        self.assertIn("%2B", problem.json["detail"])
        self.query("none", status=404)
        advanced = "advancedMeterGroupByFilters="
        both = "filterGroupBy[method]=a&" + advanced + urllib.parse.quote('{"method":{"$eq":"b"}}')
        for target in ("filterGroupBy[method=x", "filterGroupBy[]=x", "filterGroupBy=x",
                       advanced + "{", both, "windowSize=DAY&windowSize=DAY",
                       "from=2026-11-20T10:00:00%2B01:00&from=2026-11-20T10:00:00Z",
                       "windowTimeZone=", "clientId=a&clientId=a"):
            self.assertEqual(
                self.api.get("/api/v1/meters/grouped/query?" + target).status, 400, target)
        for body in ("", "[]", '{"from": 7}', '{"subject": "s1"}', '{"subject": [7]}',
                     '{"groupBy": {}}', '{"filterGroupBy": ["x"]}',
                     '{"filterGroupBy": {"method": "GET"}}', '{"windowSize": 5}'):
            self.assertEqual(self.api.post("/api/v1/meters/grouped/query", body).status, 400, body)

    def test_meters(self):
        for query, status in (("", 200), ("?includeDeleted=true", 200),
                              ("?includeDeleted=perhaps", 400)):
            self.assertEqual(self.api.get("/api/v1/meters" + query).status, status, query)
        listed = self.api.get("/api/v1/meters").json
        slugs = [meter["slug"] for meter in listed]
        self.assertEqual(slugs, sorted(slugs))
        for field, member in (("key", "slug"), ("name", "name"), ("aggregation", "aggregation"),
                              ("createdAt", "createdAt"), ("updatedAt", "updatedAt")):
            for order in ("ASC", "DESC"):
                asked = self.api.get(f"/api/v1/meters?orderBy={field}&order={order}").json
                # A fraction of a second has as many digits as it needs.
                values = [meter[member].rstrip("Z").ljust(29, "0") if member.endswith("At")
                          else meter[member] for meter in asked]
                self.assertEqual(values, sorted(values, reverse=order == "DESC"), (field, order))
                self.assertEqual(sorted(meter["slug"] for meter in asked), slugs)
        for query in ("orderBy=slug", "order=asc", "order="):
            self.assertEqual(self.api.get("/api/v1/meters?" + query).status, 400, query)
        made = self.api.post("/api/v1/meters", {
            "slug": "temporary", "description": "d", "aggregation": "SUM", "eventType": "x",
            "name": "A title", "metadata": {"team": "a"}, "valueProperty": "$.v",
            "groupBy": {"a": "$.a"}}).json
        self.assertEqual((made["name"], made["metadata"]), ("A title", {"team": "a"}))
        self.assertRegex(made["id"], "^[0-9A-HJKMNP-TV-Z]{26}$")
        for name in ("temporary", made["id"]):
            self.assertEqual(self.api.get("/api/v1/meters/" + name).json, made)
        changed = self.api.ask("PUT", "/api/v1/meters/temporary",
                               body={"description": "e", "groupBy": {"b": "$.b"}}).json
        self.assertEqual((changed["id"], changed["description"], changed["groupBy"]),
                         (made["id"], "e", {"b": "$.b"}))
        self.assertEqual((changed["name"], changed["metadata"]), ("A title", {"team": "a"}))
        # All of it may come back; what cannot change must be as it is.
        again = self.api.ask("PUT", "/api/v1/meters/temporary", body={**changed, "name": "B"})
        self.assertEqual((again.status, {**again.json, "updatedAt": ""}),
                         (200, {**changed, "name": "B", "updatedAt": ""}))
        for member, value in (("slug", "other"), ("aggregation", "MAX"), ("eventType", "y"),
                              ("valueProperty", "$.w"), ("eventFrom", "2026-01-01T00:00:00Z"),
                              ("unknown", 1), ("windowSize", "MINUTE")):
            answer = self.api.ask("PUT", "/api/v1/meters/temporary",
                                  body={**changed, member: value})
            self.assertEqual(answer.status, 400, member)
            self.assertIn(member, answer.json["detail"])
        self.assertEqual(self.api.ask("DELETE", "/api/v1/meters/" + made["id"]).status, 204)
        self.assertEqual(self.api.get("/api/v1/meters/temporary").status, 404)
        self.stack.tally("catalog", "apply", support.CATALOG)
        self.assertEqual(self.api.ask("DELETE", "/api/v1/meters/context_tokens").status, 409)

    def test_a_meter_counts_from_its_beginning(self):
        """The later one of it and the question's own beginning holds."""
        begin = FIRST + "30Z"
        self.api.post("/api/v1/events", [
            {"id": f"from-{number}", "source": "test", "specversion": "1.0", "type": "from",
             "subject": "s1", "time": f"{FIRST}{second}Z", "data": {"value": number}}
            for number, second in ((1, "29.999"), (2, "30"), (4, "31"), (8, "50"))])
        made = self.api.post("/api/v1/meters", {
            "slug": "since", "aggregation": "SUM", "eventType": "from", "valueProperty": "$.value",
            "eventFrom": "2026-11-20T11:00:30+01:00"}).json
        self.assertEqual(made["eventFrom"], begin)
        self.assertEqual(self.api.get("/api/v1/meters/since").json, made)
        self.assertEqual(self.api.get("/api/v3/openmeter/meters/since").json["events_from"], begin)
        self.assertIn(f'"events_from": "{begin}"', self.stack.tally("meter", "show", "since"))
        for asked, value in (({}, 14), ({"from": FIRST + "00Z"}, 14), ({"from": FIRST + "31Z"}, 12),
                             ({"to": FIRST + "31Z"}, 2), ({"to": FIRST + "50Z"}, 6),
                             ({"windowSize": "MINUTE"}, 14), ({"windowSize": "DAY"}, 14)):
            self.assertEqual(self.values("since", **asked), [value], asked)
        self.assertEqual(self.values("since", to=begin), [])
        self.assertNotIn("eventFrom", self.api.get("/api/v1/meters/sum").json)
        # What changes besides does not change it.
        changed = self.api.ask("PUT", "/api/v1/meters/since", body={"groupBy": {"a": "$.a"}}).json
        self.assertEqual(changed["eventFrom"], begin)
        self.assertEqual(self.values("since"), [14])
        self.stack.tally("meter", "add", "since", "--event-type", "from", "--value", "$.value",
                         "--events-from", FIRST + "50Z")
        self.assertEqual(self.values("since"), [8])
        self.api.ask("DELETE", "/api/v1/meters/since")

    def test_meters_that_make_no_sense(self):
        good = {"slug": "wrong", "aggregation": "SUM", "eventType": "x", "valueProperty": "$.v"}
        for members in ({"slug": "Wrong"}, {"slug": "a__b"}, {"slug": ""}, {"slug": "x" * 65},
                        {"slug": None}, {"aggregation": "MEDIAN"}, {"aggregation": "COUNT"},
                        {"valueProperty": None}, {"valueProperty": "v"}, {"eventType": ""},
                        {"eventType": None}, {"groupBy": {"a": "$.v"}}, {"groupBy": {"1": "$.b"}},
                        {"groupBy": {"a": "b"}}, {"groupBy": ["a"]}, {"metadata": {"a": 1}},
                        {"metadata": "a"}, {"name": ""},
                        {"aggregation": "sum"}, {"eventFrom": "2026-01-01"}, {"eventFrom": 7},
                        {"eventFrom": "1969-12-31T00:00:00Z"}, {"windowSize": "MINUTE"}):
            answer = self.api.post("/api/v1/meters", {**good, **members})
            self.assertEqual(answer.status, 400, members)
            self.assertIn(next(iter(members)), answer.json["detail"] + "aggregation"
                          if members == {"aggregation": "COUNT"} else answer.json["detail"])
        self.assertEqual(self.api.post("/api/v1/meters", {**good, "slug": "sum"}).status, 409)
        self.assertEqual(self.api.get("/api/v1/meters/wrong").status, 404)


if __name__ == "__main__":
    unittest.main(verbosity=2)
