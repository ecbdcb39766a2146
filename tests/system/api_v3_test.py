"""Version 3 of OpenMeter's API: events, meters, their usage, customers."""

import json
import unittest

import api_client
import support

BASE = "/api/v3/openmeter"
MANY = "application/cloudevents-batch+json"
DAY = "2026-11-20T"


def event(number, **members):
    return {"id": f"v{number}", "source": "test", "specversion": "1.0", "type": "v3",
            "subject": "s1", "time": DAY + "10:00:00Z", **members}


def bare(answer):
    return {key: value for key, value in answer.items() if key not in ("created_at", "updated_at")}


class V3(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.stack = support.Stack()
        cls.stack.__enter__()
        cls.addClassCleanup(cls.stack.__exit__, None, None, None)
        cls.api = api_client.start(cls.stack, "--", "--past", "4000d", "--dedup-window", "4001d")
        cls.addClassCleanup(cls.api.close)
        made = cls.api.post(BASE + "/meters", {
            "key": "v3_sum", "name": "Sum of v3", "aggregation": "sum", "event_type": "v3",
            "value_property": "$.value", "dimensions": {"model": "$.model", "place": "$.place"}})
        assert made.status == 201, made
        cls.meter = made.json
        rows = ((1, "s1", "10:00", "1.5", "gpt-4", "eu"), (2, "s1", "10:30", "2", "gpt_4", "us"),
                (3, "s2", "11:00", "4", "50%", "eu"), (4, "s3", "23:30", "8", None, "us"))
        answer = cls.api.post(BASE + "/events", [
            event(number, subject=subject, time=f"{DAY}{time}:00Z", data={
                "value": value, "place": place, **({"model": model} if model else {})})
            for number, subject, time, value, model, place in rows], key="ingest")
        assert answer.status == 202 and answer.body == b"", answer
        for key, name, subjects in (("c1", "One, \"1\"", ["s1"]), ("c2", "Two", ["s2", "s3"])):
            answer = cls.api.post(BASE + "/customers", {
                "key": key, "name": name, "usage_attribution": {"subject_keys": subjects}})
            assert answer.status == 201, answer

    def query(self, status=200, meter="v3_sum", **body):
        answer = self.api.post(f"{BASE}/meters/{meter}/query", body, key="read")
        self.assertEqual(answer.status, status, (body, answer))
        return answer.json

    def values(self, **body):
        return [row["value"] for row in self.query(**body)["data"]]

    def filtered(self, **dimensions):
        return self.values(filters={"dimensions": dimensions})

    def test_events_are_taken_strictly(self):
        for kind in ("application/json; charset=utf-8", "Application/JSON", MANY + ";x=y", MANY):
            answer = self.api.post(BASE + "/events", json.dumps([event("strict", subject="x")]),
                                   fields={"Content-Type": kind})
            self.assertEqual((answer.status, answer.body), (202, b""), kind)
        for kind in ("text/plain", "application/jsonx", "application/cloudevents"):
            answer = self.api.post(BASE + "/events", "[]", fields={"Content-Type": kind})
            self.assertEqual(answer.status, 400, kind)
        bare = event("bare", subject="x")
        del bare["specversion"]
        self.assertEqual(self.api.post(BASE + "/events", bare).status, 202)
        self.assertEqual(self.api.post("/api/v1/events", bare).status, 400)
        more = event("more", subject="x", extension="y")
        answer = self.api.post(BASE + "/events", [event("fine", subject="x"), more])
        self.assertEqual(answer.status, 400)
        self.assertEqual(answer.json["extensions"]["validationErrors"],
                         [{"field": "[1].extension", "message": "is no member of a CloudEvent"}])
        self.assertEqual(self.api.post("/api/v1/events", more).status, 204)
        listed = [row["event"]["id"] for row in self.api.get("/api/v1/events?subject=x").json]
        self.assertEqual(sorted(listed), ["vbare", "vmore", "vstrict"])

    def test_meters(self):
        self.assertRegex(self.meter["id"], "^[0-9A-HJKMNP-TV-Z]{26}$")
        self.assertEqual(bare(self.meter), {
            "id": self.meter["id"], "key": "v3_sum", "name": "Sum of v3", "aggregation": "sum",
            "event_type": "v3", "value_property": "$.value",
            "dimensions": {"model": "$.model", "place": "$.place"}})
        for name in ("v3_sum", self.meter["id"]):
            self.assertEqual(self.api.get(f"{BASE}/meters/{name}", key="read").json, self.meter)
        self.assertEqual(self.api.get("/api/v1/meters/v3_sum").json["name"], "Sum of v3")
        labels = {"team": "ml", "tier": "ü"}
        made = self.api.post(BASE + "/meters", {
            "key": "v3_other", "name": "Other", "description": "d", "labels": labels,
            "aggregation": "count", "event_type": "other"}).json
        self.assertEqual((made["labels"], made["dimensions"]), (labels, {}))
        changed = self.api.ask("PUT", f"{BASE}/meters/{made['id']}", body={
            "name": "Renamed", "labels": {}, "dimensions": {"a": "$.a"}}).json
        self.assertEqual((changed["id"], changed["name"], changed["description"],
                          changed["labels"], changed["dimensions"]),
                         (made["id"], "Renamed", "d", {}, {"a": "$.a"}))
        page = self.api.get(BASE + "/meters?page[size]=1&page[number]=2").json
        self.assertEqual(page["meta"], {"page": {"number": 2, "size": 1, "total": 2}})
        self.assertEqual([meter["key"] for meter in page["data"]], ["v3_sum"])
        for query, keys in (
                ("filter[key]=v3_sum", ["v3_sum"]), ("filter[key][eq]=v3_other", ["v3_other"]),
                ("filter[key]=v3", []), ("filter[key][contains]=v3", ["v3_other", "v3_sum"]),
                ("filter[name][contains]=SUM", ["v3_sum"]), ("filter[name]=Renamed", ["v3_other"]),
                ("filter[key]=v3_sum&filter[name]=Renamed", [])):
            page = self.api.get(f"{BASE}/meters?{query}").json
            self.assertEqual([meter["key"] for meter in page["data"]], keys, query)
            self.assertEqual(page["meta"]["page"]["total"], len(keys), query)
        for sort, keys in (
                ("key", ["v3_other", "v3_sum"]), ("key+desc", ["v3_sum", "v3_other"]),
                ("name+asc", ["v3_other", "v3_sum"]), ("aggregation", ["v3_other", "v3_sum"]),
                ("created_at", ["v3_sum", "v3_other"]),
                ("updated_at+desc", ["v3_other", "v3_sum"])):
            page = self.api.get(f"{BASE}/meters?filter[key][contains]=v3_&sort={sort}").json
            self.assertEqual([meter["key"] for meter in page["data"]], keys, sort)
        self.assertEqual(self.api.ask("DELETE", f"{BASE}/meters/v3_other").status, 204)
        self.assertEqual(self.api.get(f"{BASE}/meters/v3_other").status, 404)
        self.assertEqual(self.api.get(BASE + "/meters?page[number]=2").json["data"], [])

    def test_meters_that_make_no_sense(self):
        good = {"key": "wrong", "name": "Wrong", "aggregation": "sum", "event_type": "x",
                "value_property": "$.v"}
        for members in ({"name": None}, {"name": ""}, {"key": "Wrong"}, {"aggregation": "median"},
                        {"aggregation": "SUM"},
                        {"slug": "wrong"}, {"labels": {"a": 1}}, {"dimensions": {"a": "$.v"}},
                        {"events_from": "2026-01-01"}, {"eventFrom": "2026-01-01T00:00:00Z"}):
            self.assertEqual(self.api.post(BASE + "/meters", {**good, **members}).status, 400,
                             members)
        self.assertEqual(self.api.post(BASE + "/meters", {**good, "key": "v3_sum"}).status, 409)
        for name in ("subject", "customer_id"):
            answer = self.api.post(BASE + "/meters", {**good, "dimensions": {name: "$.a"}})
            self.assertEqual(answer.status, 400)
            self.assertIn("dimensions." + name, answer.json["detail"])
        for query in ("page[size]=0", "page[size]=x", "page[number]=0", "sort=slug", "sort=",
                      "sort=key+up", "sort=key&sort=name",
                      "page[size]=1&page[size]=2", "filter[event_type]=x", "filter[key][neq]=x"):
            self.assertEqual(self.api.get(f"{BASE}/meters?{query}").status, 400, query)

    def test_a_total_and_its_form(self):
        self.assertEqual(self.query(), {"data": [{
            "value": "15.5", "from": DAY + "10:00:00Z", "to": DAY + "23:31:00Z",
            "dimensions": {}}]})
        asked = {"from": DAY + "10:00:00Z", "to": DAY + "11:00:00Z"}
        self.assertEqual(self.query(**asked), {**asked, "data": [{
            "value": "3.5", **asked, "dimensions": {}}]})
        self.assertEqual(self.query(meter=self.meter["id"]), self.query())
        self.assertEqual(self.query(**{"from": "2027-01-01T00:00:00Z"})["data"], [])

    def test_numbers_keep_their_digits(self):
        # As many decimals as a quantity has, and the most that fit before them.
        for number, value in enumerate((
                "0.123456789012345678", "9007199254740993.5",
                "-1234567890123456789.000000000000000001", "0.1234567890123456789",
                "0.0000000000000000005", "0.0000000000000000015", "1e-19")):
            data = json.dumps(event(f"digits{number}", subject="digits", type="digits",
                                    data={"n": str(number), "value": "V"}))
            sent = self.api.post(BASE + "/events", data.replace('"V"', value),
                                 fields={"Content-Type": "application/json"})
            self.assertEqual(sent.status, 202)
        self.api.post(BASE + "/meters", {
            "key": "digits", "name": "Digits", "aggregation": "sum", "event_type": "digits",
            "value_property": "$.value", "dimensions": {"n": "$.n"}})
        rows = self.query(meter="digits", group_by_dimensions=["n"])["data"]
        self.assertEqual({row["dimensions"]["n"]: row["value"] for row in rows}, {
            "0": "0.123456789012345678", "1": "9007199254740993.5",
            "2": "-1234567890123456789.000000000000000001",
            # What is beyond is rounded half to even.
            "3": "0.123456789012345679", "4": "0", "5": "0.000000000000000002", "6": "0"})
        # The events keep what was sent.
        listed = self.api.get("/api/v1/events?subject=digits").body.decode()
        for value in ("0.1234567890123456789", "0.0000000000000000015",
                      "-1234567890123456789.000000000000000001"):
            self.assertIn(value, listed)

    def test_windows(self):
        rows = self.query(granularity="PT1H")["data"]
        self.assertEqual([(row["from"], row["value"]) for row in rows],
                         [(DAY + "10:00:00Z", "3.5"), (DAY + "11:00:00Z", "4"),
                          (DAY + "23:00:00Z", "8")])
        rows = self.query(granularity="P1D", time_zone="Europe/Berlin")["data"]
        self.assertEqual([(row["from"], row["to"], row["value"]) for row in rows],
                         [("2026-11-19T23:00:00Z", DAY + "23:00:00Z", "7.5"),
                          (DAY + "23:00:00Z", "2026-11-21T23:00:00Z", "8")])
        self.assertEqual(self.values(granularity="P1M"), ["15.5"])
        self.assertEqual(self.values(granularity="PT1M"), ["1.5", "2", "4", "8"])

    def test_groups(self):
        rows = self.query(group_by_dimensions=["subject", "place", "subject"])["data"]
        self.assertEqual(sorted((row["dimensions"]["subject"], row["dimensions"]["place"],
                                 row["value"]) for row in rows),
                         [("s1", "eu", "1.5"), ("s1", "us", "2"), ("s2", "eu", "4"),
                          ("s3", "us", "8")])
        rows = self.query(filters={"dimensions": {
            "customer_id": {"in": ["c1", "c2"]}, "subject": {"in": ["s1", "s3"]}}})["data"]
        self.assertEqual([(row["dimensions"], row["value"]) for row in rows],
                         [({"subject": "s1", "customer_id": "c1"}, "3.5"),
                          ({"subject": "s3", "customer_id": "c2"}, "8")])

    def test_filters(self):
        for dimensions, want in (
                ({"model": {"eq": "gpt-4"}}, ["1.5"]), ({"model": {"neq": "gpt-4"}}, ["14"]),
                ({"model": {"in": ["gpt-4", "50%"]}}, ["5.5"]), ({"model": {"in": []}}, []),
                ({"model": {"nin": ["gpt-4", "50%"]}}, ["10"]),
                ({"model": {"contains": "gpt"}}, ["3.5"]), ({"model": {"contains": "_"}}, ["2"]),
                ({"model": {"contains": "%"}}, ["4"]), ({"model": {"ncontains": "t-"}}, ["14"]),
                ({"model": {"exists": True}}, ["7.5"]), ({"model": {"exists": False}}, ["8"]),
                ({"model": {"or": [{"eq": "gpt-4"}, {"eq": "50%"}]}}, ["5.5"]),
                ({"model": {"and": [{"contains": "g"}, {"neq": "gpt-4"}]}}, ["2"]),
                ({"model": {}}, ["15.5"]), ({}, ["15.5"]),
                ({"model": {"contains": "gpt"}, "place": {"eq": "us"}}, ["2"]),
                ({"subject": {"eq": "s2"}}, ["4"]), ({"subject": {"in": ["s1", "s2"]}},
                                                    ["3.5", "4"]),
                ({"customer_id": {"eq": "c2"}}, ["12"])):
            self.assertEqual(self.filtered(**dimensions), want, dimensions)

    def test_every_code_of_what_makes_no_sense(self):
        def filters(**dimensions):
            return {"filters": {"dimensions": dimensions}}
        deep = {"and": [{"and": [{"and": [{"eq": "x"}]}]}]}
        for body, status, code in (
                ({"granularity": "PT5M"}, 400, "invalid_window_size"),
                ({"granularity": 7}, 400, "invalid_window_size"),
                ({"granularity": "DAY"}, 400, "invalid_window_size"),
                ({"time_zone": "Mars/Olympus"}, 400, "invalid_time_zone"),
                ({"time_zone": ""}, 400, "invalid_time_zone"),
                ({"group_by_dimensions": ["nothing"]}, 400, "invalid_group_by"),
                ({"group_by_dimensions": [7]}, 400, "invalid_group_by"),
                ({"group_by_dimensions": ["subject\0"]}, 400, "invalid_group_by"),
                ({"group_by_dimensions": "model"}, 400, "invalid_group_by"),
                ({"group_by_dimensions": ["model"] * 101}, 400, "invalid_group_by"),
                ({"group_by_dimensions": ["customer_id"]}, 400, "invalid_group_by"),
                (filters(nothing={"eq": "x"}), 400, "invalid_dimension_filter"),
                (filters(model="x"), 400, "invalid_dimension_filter"),
                (filters(model={"eq": 7}), 400, "invalid_dimension_filter"),
                (filters(model={"in": "x"}), 400, "invalid_dimension_filter"),
                (filters(model={"in": [7]}), 400, "invalid_dimension_filter"),
                (filters(model={"eq": "x", "neq": "y"}), 400, "invalid_dimension_filter"),
                (filters(model={"exists": "yes"}), 400, "invalid_dimension_filter"),
                (filters(model={"or": []}), 400, "invalid_dimension_filter"),
                (filters(model=deep), 400, "invalid_dimension_filter"),
                (filters(**{f"d{n}": {"eq": "x"} for n in range(11)}), 400,
                 "invalid_dimension_filter"),
                (filters(subject={"eq": ""}), 400, "invalid_dimension_filter"),
                (filters(model={"like": "x"}), 400, "unknown_filter_operator"),
                (filters(subject={"neq": "x"}), 400, "unsupported_filter_operator"),
                (filters(customer_id={"contains": "x"}), 400, "unsupported_filter_operator"),
                (filters(subject={"eq": "x", "in": ["y"]}), 400, "unsupported_filter_operator"),
                (filters(customer_id={"in": ["c1", "nobody"]}), 404, "customer_not_found")):
            problem = self.query(status=status, **body)
            fault = problem["extensions"]["validationErrors"][0]
            self.assertEqual(fault["code"], code, (body, problem))
            parameter = problem["invalid_parameters"][0]
            self.assertEqual((parameter["field"], parameter["reason"], parameter["source"]),
                             (fault["field"], problem["detail"], "body"))
            self.assertTrue(fault["field"].startswith("$."), fault)
        for body in ({"from": "yesterday"}, {"from": 7}, {"to": "2026-11-20"}, {"filters": []},
                     {"filters": {"more": {}}}, {"windowSize": "DAY"},
                     {"from": DAY + "10:00:00Z", "to": DAY + "10:00:00Z"}):
            self.query(status=400, **body)
        self.query(status=404, meter="nothing")
        self.assertEqual(self.api.post(f"{BASE}/meters/v3_sum/query", "[]").status, 400)

    def test_csv(self):
        def csv(**body):
            answer = self.api.post(f"{BASE}/meters/v3_sum/query", body,
                                   fields={"Accept": "text/csv"})
            self.assertEqual(answer.fields["Content-Type"], "text/csv")
            self.assertIn('filename="v3_sum.csv"', answer.fields["Content-Disposition"])
            return answer.body.decode().split("\n")
        span = f"{DAY}10:00:00Z,{DAY}12:00:00Z"
        asked = {"from": span[:20], "to": span[21:]}
        self.assertEqual(csv(**asked, group_by_dimensions=["place"])[0], "from,to,place,value")
        self.assertEqual(csv(**asked, filters={"dimensions": {
            "customer_id": {"in": ["c1", "c2"]}, "subject": {"in": ["s1", "s2"]}}}), [
                "from,to,subject,customer_id,customer_key,customer_name,value",
                f'{span},s1,c1,c1,"One, ""1""",3.5', f"{span},s2,c2,c2,Two,4", ""])

    def test_customers(self):
        said = {"key": "v3-whole", "name": "Whole", "description": "d", "labels": {"a": "b"},
                "primary_email": "v3@whole.example", "currency": "USD",
                "usage_attribution": {"subject_keys": ["v3-s"]},
                "billing_address": {"postal_code": "1", "phone_number": "2", "city": "X"}}
        made = self.api.post(BASE + "/customers", said, key="billing")
        self.assertEqual((made.status, bare(made.json)), (201, {"id": "v3-whole", **said}))
        got = self.api.get("/api/v1/customers/v3-whole").json
        self.assertEqual((got["billingAddress"], got["metadata"]),
                         ({"postalCode": "1", "phoneNumber": "2", "city": "X"}, {"a": "b"}))
        changed = self.api.ask("PUT", BASE + "/customers/v3-whole", body={"name": "Less"}).json
        self.assertEqual(bare(changed), {"id": "v3-whole", "key": "v3-whole", "name": "Less",
                                         "usage_attribution": {"subject_keys": []}})
        page = self.api.get(BASE + "/customers?filter[key][contains]=V3-&page[size]=1").json
        self.assertEqual(page["meta"], {"page": {"number": 1, "size": 1, "total": 1}})
        self.assertEqual(page["data"], [changed])
        self.api.post(BASE + "/customers", {"key": "v3-whole-2", "name": "Less"})
        for query, keys in (
                ("filter[key]=v3-whole", ["v3-whole"]), ("filter[key][eq]=v3-whole", ["v3-whole"]),
                ("filter[key]=v3", []), ("filter[key]=V3-whole", []),
                ("filter[name][contains]=less", ["v3-whole", "v3-whole-2"]),
                ("filter[name][contains]=less&filter[key]=v3-whole-2", ["v3-whole-2"])):
            page = self.api.get(f"{BASE}/customers?{query}").json
            self.assertEqual([one["key"] for one in page["data"]], keys, query)
            self.assertEqual(page["meta"]["page"]["total"], len(keys), query)
        for sort, keys in (("name+desc", ["v3-whole", "v3-whole-2"]),
                           ("id+desc", ["v3-whole-2", "v3-whole"]),
                           ("created_at", ["v3-whole", "v3-whole-2"])):
            page = self.api.get(f"{BASE}/customers?filter[key][contains]=v3-&sort={sort}").json
            self.assertEqual([one["key"] for one in page["data"]], keys, sort)
        for query in ("filter[email]=x", "filter[key][oeq]=x", "sort=key", "sort=name+up"):
            self.assertEqual(self.api.get(f"{BASE}/customers?{query}").status, 400, query)
        self.api.ask("DELETE", BASE + "/customers/v3-whole-2")
        self.assertEqual(self.api.post(BASE + "/customers", {"name": "x", "metadata": {}}).status,
                         400)
        self.assertEqual(self.api.ask("DELETE", BASE + "/customers/v3-whole").status, 204)
        self.assertEqual(self.api.get(BASE + "/customers/v3-whole").status, 404)


if __name__ == "__main__":
    unittest.main(verbosity=2)
