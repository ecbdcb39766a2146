"""Lists of events: whose they are, and what version 2 finds with its filters."""

import json
import time
import unittest
import urllib.parse

import api_client
import support


def moment(seconds):
    return time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(seconds))


NOW = int(time.time())
# number: subject, source, type, seconds ago
EVENTS = {
    1: ("l-1", "north", "call", 600), 2: ("l-1", "south", "call", 500),
    3: ("l-2", "north", "text", 400), 4: ("l-3", "south", "text", 300),
    5: ("l-4", "north", "Call", 200), 6: ("l-1", "north", "call", 100),
}


class List(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.stack = support.Stack()
        cls.stack.__enter__()
        cls.addClassCleanup(cls.stack.__exit__, None, None, None)
        cls.api = api_client.start(cls.stack)
        cls.addClassCleanup(cls.api.close)
        answer = cls.api.post("/api/v1/events", [
            {"id": f"n-{number}", "source": source, "specversion": "1.0", "type": kind,
             "subject": subject, "time": moment(NOW - ago), "data": {"number": number}}
            for number, (subject, source, kind, ago) in EVENTS.items()])
        assert answer.status == 204, answer
        cls.stack.tally("customer", "add", "c1", "--subject", "l-1")
        cls.stack.tally("customer", "add", "c2", "--subject", "l-2", "--subject", "l-3")
        cls.stack.tally("customer", "add", "c3")

    def listed(self, status=200, **parameters):
        query = urllib.parse.urlencode(parameters, doseq=True)
        answer = self.api.get("/api/v1/events?" + query, key="read")
        self.assertEqual(answer.status, status, answer)
        return answer.json

    def found(self, *, status=200, find=None, **parameters):
        """The numbers that version 2 finds, and the answer."""
        if find is not None:
            parameters["filter"] = find if isinstance(find, str) else json.dumps(find)
        query = urllib.parse.urlencode(parameters)
        answer = self.api.get("/api/v2/events?" + query, key="read")
        self.assertEqual(answer.status, status, (find, answer))
        if status != 200:
            return answer.json
        return [row["event"]["data"]["number"] for row in answer.json["items"]]

    def test_each_event_says_whose_it_is(self):
        self.assertEqual([row.get("customerId") for row in self.listed()],
                         ["c1", None, "c2", "c2", "c1", "c1"])
        self.assertNotIn("customerId", self.listed()[1])

    def test_of_some_customers(self):
        def numbers(*customers, **more):
            return [row["event"]["data"]["number"]
                    for row in self.listed(customerId=customers, **more)]
        self.assertEqual(numbers("c1"), [6, 2, 1])
        self.assertEqual(numbers("c1", "c2"), [6, 4, 3, 2, 1])
        self.assertEqual(numbers("c2", subject="l-3"), [4])
        self.assertEqual(numbers("c1", id="n-2"), [2])
        self.assertEqual(numbers("c1", limit=2), [6, 2])
        self.assertEqual(numbers("c3"), [])
        self.listed(status=404, customerId=["c1", "nobody"])
        self.listed(status=400, customerId=[f"c{number}" for number in range(101)])

    def test_lists_that_make_no_sense(self):
        for parameters in ({"subject": ""}, {"id": ""}, {"subject": ["l-1", "l-2"]},
                           {"limit": [1, 1]}, {"limit": 0}, {"limit": 101}, {"from": "now"},
                           {"from": moment(NOW - 100), "to": moment(NOW - 200)},
                           {"to": moment(NOW - 40 * 86400)}, {"from": moment(NOW - 40 * 86400)},
                           {"ingestedAtFrom": moment(NOW), "ingestedAtTo": moment(NOW - 1)}):
            self.listed(status=400, **parameters)

    def test_version_2_goes_through_pages(self):
        seen, cursor = [], None
        for _ in range(10):
            more = {"cursor": cursor} if cursor else {}
            answer = self.api.get("/api/v2/events?" + urllib.parse.urlencode({"limit": 4, **more}))
            seen += [row["event"]["data"]["number"] for row in answer.json["items"]]
            cursor = answer.json.get("nextCursor")
            if cursor is None:
                break
        self.assertEqual(seen, [6, 5, 4, 3, 2, 1])
        row = self.api.get("/api/v2/events?limit=1").json["items"][0]
        self.assertEqual(row["customerId"], "c1")
        self.assertEqual(set(row), {"event", "customerId", "ingestedAt", "storedAt",
                                    "validationError"})

    def test_every_filter_of_version_2(self):
        def ago(seconds):
            return moment(NOW - seconds)
        for find, want in (
                ({}, [6, 5, 4, 3, 2, 1]), ({"id": {"$eq": "n-3"}}, [3]),
                ({"id": {"$like": "%-4"}}, [4]), ({"id": {"$in": ["n-1", "n-5", "x"]}}, [5, 1]),
                ({"id": {"$gt": "n-4"}}, [6, 5]), ({"source": {"$eq": "south"}}, [4, 2]),
                ({"source": {"$ne": "south"}}, [6, 5, 3, 1]),
                ({"subject": {"$nin": ["l-1", "l-2"]}}, [5, 4]),
                ({"type": {"$ilike": "CALL"}}, [6, 5, 2, 1]),
                ({"type": {"$eq": "call"}}, [6, 2, 1]),
                ({"type": {"$or": [{"$eq": "text"}, {"$eq": "Call"}]}}, [5, 4, 3]),
                ({"id": {"$and": [{"$gte": "n-2"}, {"$lte": "n-3"}]}}, [3, 2]),
                ({"id": None, "type": {"$eq": "text"}}, [4, 3]),
                ({"type": {"$eq": "call"}, "source": {"$eq": "north"}}, [6, 1]),
                ({"customerId": {"$in": ["c2"]}}, [4, 3]), ({"customerId": {"$in": []}}, []),
                ({"customerId": {"$in": ["c1"]}, "source": {"$eq": "south"}}, [2]),
                ({"time": {"$gte": ago(400)}}, [6, 5, 4, 3]),
                ({"time": {"$gt": ago(400)}}, [6, 5, 4]),
                ({"time": {"$lt": ago(400)}}, [2, 1]), ({"time": {"$lte": ago(400)}}, [3, 2, 1]),
                ({"time": {"$gte": ago(500), "$lt": ago(300)}}, [3, 2]),
                ({"time": {"$or": [{"$lt": ago(550)}, {"$gt": ago(150)}]}}, [6, 1]),
                ({"time": {"$and": [{"$gt": ago(550)}, {"$or": [
                    {"$lt": ago(450)}, {"$gt": ago(150)}]}]}}, [6, 2]),
                ({"ingestedAt": {"$gt": ago(3600)}}, [6, 5, 4, 3, 2, 1]),
                ({"ingestedAt": {"$lt": ago(3600)}}, [])):
            self.assertEqual(self.found(find=find), want, find)

    def test_filters_that_make_no_sense(self):
        for find in ("", "{", "[]", "7", {"nothing": {"$eq": "x"}}, {"id": "n-1"},
                     {"id": {"$what": "x"}}, {"id": {"$eq": 7}}, {"id": {"$eq": "a", "$ne": "b"}},
                     {"customerId": {"$eq": "c1"}}, {"customerId": {"$in": "c1"}},
                     {"customerId": {"$in": [7]}}, {"customerId": {"$in": ["c1"] * 101}},
                     {"time": "2026-01-01T00:00:00Z"}, {"time": {}}, {"time": {"$eq": moment(NOW)}},
                     {"time": {"$gt": "yesterday"}}, {"time": {"$gt": 7}}, {"time": {"$and": []}},
                     {"time": {"$or": [7]}}, '{"time":' + '{"$and":[' * 20 + "]}" * 20 + "}"):
            problem = self.found(status=400, find=find)
            self.assertIn("filter", problem["detail"], find)
        self.found(status=404, find={"customerId": {"$in": ["nobody"]}})
        for parameters in ({"limit": 0}, {"limit": 101}, {"cursor": "x"}, {"cursor": ""}):
            self.found(status=400, **parameters)

    def found_v3(self, status=200, **parameters):
        query = urllib.parse.urlencode(
            {"page[size]" if key == "page" else "filter[" + key.replace("__", "][") + "]": value
             for key, value in parameters.items()}, safe="[]")
        answer = self.api.get("/api/v3/openmeter/events?" + query, key="read")
        self.assertEqual(answer.status, status, (query, answer))
        return answer.json

    def test_every_filter_of_version_3(self):
        def ago(seconds):
            return moment(NOW - seconds)
        for parameters, want in (
                ({}, [6, 5, 4, 3, 2, 1]), ({"id__eq": "n-3"}, [3]), ({"id": "n-3"}, [3]),
                ({"id__neq": "n-3"}, [6, 5, 4, 2, 1]), ({"id__gt": "n-4"}, [6, 5]),
                ({"id__gte": "n-5"}, [6, 5]), ({"id__lt": "n-2"}, [1]), ({"id__lte": "n-1"}, [1]),
                ({"id__contains": "-4"}, [4]), ({"id__contains": "%"}, []),
                ({"id__oeq": "n-1,n-5,x"}, [5, 1]), ({"type__ocontains": "tex,Ca"}, [5, 4, 3]),
                ({"source__eq": "south", "subject__eq": "l-1"}, [2]),
                ({"id__gte": "n-2", "id__lte": "n-3"}, [3, 2]),
                ({"customer_id__eq": "c2"}, [4, 3]), ({"customer_id__oeq": "c1,c2"},
                                                     [6, 4, 3, 2, 1]),
                ({"time__gte": ago(500), "time__lt": ago(300)}, [3, 2]),
                ({"time__eq": ago(400)}, [3]), ({"ingested_at__gt": ago(3600)}, [6, 5, 4, 3, 2, 1]),
                ({"stored_at__lt": ago(3600)}, [])):
            answer = self.found_v3(**parameters)
            self.assertEqual([row["event"]["data"]["number"] for row in answer["data"]], want,
                             parameters)
        for parameters in ({"nothing__eq": "x"}, {"id__like": "x"}, {"id__eq__x": "x"},
                           {"time__neq": ago(1)}, {"time__gt": "yesterday"},
                           {"time__contains": "x"}, {"customer_id__neq": "c1"},
                           {"customer_id__contains": "c"}, {"id__": "x"}, {"page": 101}):
            self.found_v3(status=400, **parameters)
        self.found_v3(status=404, customer_id__eq="nobody")
        for query in ("filter=x", "filter[id=x", "page[before]=x", "page[after]=x", "sort=id",
                      "sort=time+asc"):
            self.assertEqual(self.api.get("/api/v3/openmeter/events?" + query).status, 400, query)

    def test_pages_of_version_3(self):
        seen, after = [], None
        for _ in range(10):
            answer = self.api.get("/api/v3/openmeter/events?sort=time+desc&page[size]=4" + (
                f"&page[after]={after}" if after else "")).json
            seen += [row["event"]["data"]["number"] for row in answer["data"]]
            after = answer["meta"]["page"]["next"]
            if after is None:
                break
        self.assertEqual(seen, [6, 5, 4, 3, 2, 1])
        row = self.found_v3(id__eq="n-6")["data"][0]
        self.assertEqual(row["customer"], {"id": "c1"})
        self.assertEqual(set(row), {"event", "customer", "ingested_at", "stored_at",
                                    "validation_errors"})
        self.assertEqual([set(error) for error in row["validation_errors"]], [{"code", "message"}])
        self.assertNotIn("customer", self.found_v3(id__eq="n-5")["data"][0])


if __name__ == "__main__":
    unittest.main(verbosity=2)
