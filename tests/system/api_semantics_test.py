"""What a meter counts, over HTTP: the rules that OpenMeter's users rely on, one table each.

Each case has an event type of its own, so that all lie in one ledger.
"""

import json
import unittest

import api_client
import support

KINDS = ("count", "sum", "avg", "min", "max", "unique_count", "latest")
DAY = "2026-11-20T"


def moment(text):
    """"10:30" of the day, or a whole date-time."""
    return text if "T" in text else f"{DAY}{text}:00Z"


# rule, the values of the events in the order of their times, then what each aggregation says.
# "ABSENT" is an event without the property, "NO DATA" one without data. None: no row. Values are
# written as JSON, so that their digits are the table's.
VALUES = (
    ("numbers and texts of numbers count", ['1', '"2"', '2.5', '"-0.5"', '1e2'],
     {"count": "5", "sum": "105", "avg": "21", "min": "-0.5", "max": "100", "unique_count": "5",
      "latest": "100"}),
    ("what is no number is left out", ['"x"', '""', '"NaN"', '"Inf"', '"-Infinity"', "true",
                                       "[1]", '{"a": 1}', "null", "7"],
     {"count": "10", "sum": "7", "avg": "7", "min": "7", "max": "7", "latest": "7"}),
    ("unusable ones do not enter the divisor", ["4", "null", '"x"', "2"],
     {"count": "4", "sum": "6", "avg": "3", "latest": "2"}),
    ("without anything usable there is no row", ["null", '"x"', "ABSENT", "NO DATA"],
     {"count": "4", "sum": None, "avg": None, "min": None, "max": None, "latest": None}),
    ("a count takes every event", ["NO DATA", "ABSENT", "null", '"x"', "{}"], {"count": "5"}),
    ("null is no distinct value", ["null", "null"], {"unique_count": "0"}),
    ("what is missing is one, the empty text", ["ABSENT", "NO DATA", '""', '"a"'],
     {"unique_count": "2"}),
    ("a number and its text are one", ["1", '"1"', "2", '"2"', '"02"'], {"unique_count": "3"}),
    ("numbers are compared by what they are, texts as they are", ["1", "1.0", '"1.0"'],
     {"unique_count": "2"}),
    ("distinct texts are distinct", ['"a"', '"A"', '"a "', '"ä"', '"\\u00e4"'],
     {"unique_count": "4"}),
    ("digits are kept", ["0.1", "0.2", '"0.000000000000000001"'],
     {"sum": "0.300000000000000001", "min": "0.000000000000000001"}),
    ("large numbers are kept", ["9007199254740993", "1"], {"sum": "9007199254740994"}),
    ("a mean is exact until it is printed", ["1", "1", "0"], {"avg": "0.66666666666666666667"}),
    ("below zero", ["-1", "-2.5", "1"],
     {"sum": "-2.5", "min": "-2.5", "max": "1", "latest": "1"}),
)

# rule, events as (time, value), parameters, what a SUM says: (windowStart, windowEnd, value).
BERLIN = {"windowTimeZone": "Europe/Berlin"}
WINDOWS = (
    ("a range holds its beginning and not its end",
     [("10:00", 1), ("11:00", 2), ("12:00", 4)], {"from": "10:00", "to": "12:00"},
     [("10:00", "12:00", 3)]),
    ("a total has the range that was asked", [("10:30", 1)], {"from": "09:00", "to": "12:00"},
     [("09:00", "12:00", 1)]),
    ("or begins with the minute of the first event and ends with that of the last",
     [(f"{DAY}10:00:59Z", 1), (f"{DAY}10:05:01.5Z", 2)], {}, [("10:00", "10:06", 3)]),
    ("each bound for itself", [("10:30", 1)], {"to": "12:00"}, [("10:30", "12:00", 1)]),
    ("only windows with usage have rows, in the order of time",
     [("13:10", 4), ("10:10", 1), ("10:50", 2)], {"windowSize": "HOUR"},
     [("10:00", "11:00", 3), ("13:00", "14:00", 4)]),
    ("minutes", [(f"{DAY}10:00:59.999Z", 1), ("10:01", 2)], {"windowSize": "MINUTE"},
     [("10:00", "10:01", 1), ("10:01", "10:02", 2)]),
    ("a window is whole also at the range's ends", [("10:10", 1), ("10:50", 2)],
     {"windowSize": "HOUR", "from": "10:30", "to": "10:55"}, [("10:00", "11:00", 2)]),
    ("days of UTC", [("00:00", 1), ("23:59", 2), ("2026-11-21T00:00:00Z", 4)],
     {"windowSize": "DAY"},
     [("00:00", "2026-11-21T00:00:00Z", 3),
      ("2026-11-21T00:00:00Z", "2026-11-22T00:00:00Z", 4)]),
    ("a day of a zone", [("22:59", 1), ("23:00", 2)], {"windowSize": "DAY", **BERLIN},
     [("2026-11-19T23:00:00Z", "23:00", 1), ("23:00", "2026-11-21T23:00:00Z", 2)]),
    ("the day when clocks go forward has 23 hours",
     [("2026-03-28T23:00:00Z", 1), ("2026-03-29T21:59:59Z", 2), ("2026-03-29T22:00:00Z", 4)],
     {"windowSize": "DAY", **BERLIN},
     [("2026-03-28T23:00:00Z", "2026-03-29T22:00:00Z", 3),
      ("2026-03-29T22:00:00Z", "2026-03-30T22:00:00Z", 4)]),
    ("the day when they go back has 25",
     [("2026-10-24T22:00:00Z", 1), ("2026-10-25T22:59:59Z", 2), ("2026-10-25T23:00:00Z", 4)],
     {"windowSize": "DAY", **BERLIN},
     [("2026-10-24T22:00:00Z", "2026-10-25T23:00:00Z", 3),
      ("2026-10-25T23:00:00Z", "2026-10-26T23:00:00Z", 4)]),
    ("a month of a zone", [("2026-10-31T22:59:59Z", 1), ("2026-10-31T23:00:00Z", 2)],
     {"windowSize": "MONTH", **BERLIN},
     [("2026-09-30T22:00:00Z", "2026-10-31T23:00:00Z", 1),
      ("2026-10-31T23:00:00Z", "2026-11-30T23:00:00Z", 2)]),
    ("hours of a zone of a half hour", [("10:29", 1), ("10:30", 2)],
     {"windowSize": "HOUR", "windowTimeZone": "Asia/Kolkata"},
     [("09:30", "10:30", 1), ("10:30", "11:30", 2)]),
    ("an offset is a time like any other", [("2026-11-20T12:00:00+02:00", 1)],
     {"windowSize": "HOUR"}, [("10:00", "11:00", 1)]),
    ("negative usage stays what it is", [("10:00", 1), ("10:10", -3)], {"windowSize": "HOUR"},
     [("10:00", "11:00", -2)]),
)

# Of (subject, region, value), with (parameters), what a SUM says: (subject, customer, region,
# value), in any order.
GROUPED = (("g-1", "eu", 1), ("g-1", "us", 2), ("g-2", "eu", 4), ("g-3", None, 8),
           ("g-key", "us", 16))
GROUPS = (
    ({}, [(None, None, None, 31)]),
    ({"groupBy": ["region"]},
     [(None, None, "eu", 5), (None, None, "us", 18), (None, None, "", 8)]),
    ({"groupBy": ["subject"]},
     [("g-1", None, None, 3), ("g-2", None, None, 4), ("g-3", None, None, 8),
      ("g-key", None, None, 16)]),
    ({"subject": ["g-1"]}, [("g-1", None, None, 3)]),
    ({"subject": ["g-1", "g-2", "nobody"]}, [("g-1", None, None, 3), ("g-2", None, None, 4)]),
    ({"subject": ["g-1"], "groupBy": ["region", "subject"]},
     [("g-1", None, "eu", 1), ("g-1", None, "us", 2)]),
    # A customer's usage is that of its key and of the subjects it lists.
    ({"filterCustomerId": ["g-key"]}, [(None, "g-key", None, 20)]),
    ({"filterCustomerId": ["g-key", "g-other"]},
     [(None, "g-key", None, 20), (None, "g-other", None, 3)]),
    ({"filterCustomerId": ["g-key"], "groupBy": ["customer_id", "region"]},
     [(None, "g-key", "eu", 4), (None, "g-key", "us", 16)]),
    ({"filterCustomerId": ["g-key"], "groupBy": ["subject"]},
     [("g-2", "g-key", None, 4), ("g-key", "g-key", None, 16)]),
    ({"filterCustomerId": ["g-key"], "subject": ["g-2", "g-1"]}, [("g-2", "g-key", None, 4)]),
    ({"filterCustomerId": ["g-other"], "subject": ["g-2"]}, []),
    ({"filterGroupBy": {"region": ["eu"]}}, [(None, None, None, 5)]),
    ({"filterGroupBy": {"region": ["eu", "us"]}}, [(None, None, None, 23)]),
    ({"filterGroupBy": {"region": [""]}}, [(None, None, None, 8)]),
    ({"filterGroupBy": {"region": ["us"]}, "groupBy": ["region"]}, [(None, None, "us", 18)]),
    *(({"advancedMeterGroupByFilters": {"region": wanted}}, [(None, None, None, value)])
      for wanted, value in (
          ({"$eq": "eu"}, 5), ({"$ne": "eu"}, 26), ({"$in": ["eu", "us"]}, 23),
          ({"$nin": ["eu", "us"]}, 8), ({"$like": "e%"}, 5), ({"$nlike": "e%"}, 26),
          ({"$like": "_s"}, 18), ({"$ilike": "E%"}, 5), ({"$nilike": "E%"}, 26),
          ({"$gt": "eu"}, 18), ({"$gte": "eu"}, 23), ({"$lt": "us"}, 13), ({"$lte": "us"}, 31),
          ({"$or": [{"$eq": "eu"}, {"$eq": "us"}]}, 23),
          ({"$and": [{"$gt": ""}, {"$ne": "eu"}]}, 18))),
)
REFUSED = (
    {"groupBy": ["customer_id"]}, {"groupBy": ["nothing"]}, {"groupBy": ["$.region"]},
    {"filterGroupBy": {"nothing": ["x"]}},
    {"advancedMeterGroupByFilters": {"nothing": {"$eq": "x"}}},
    {"advancedMeterGroupByFilters": {"region": {"$what": "x"}}},
    {"advancedMeterGroupByFilters": {"region": {"$gt": 7}}},
    {"filterGroupBy": {"region": ["eu"]}, "advancedMeterGroupByFilters": {"region": {"$eq": "x"}}},
    {"from": moment("10:00"), "to": moment("10:00")},
    {"from": moment("11:00"), "to": moment("10:00")},
    {"windowSize": "HOUR", "windowTimeZone": "Nowhere"},
)


class Semantics(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.stack = support.Stack()
        cls.stack.__enter__()
        cls.addClassCleanup(cls.stack.__exit__, None, None, None)
        cls.api = api_client.start(cls.stack, "--", "--past", "4000d", "--dedup-window", "4001d")
        cls.addClassCleanup(cls.api.close)

    def send(self, kind, rows, status=204):
        """Rows: (time, subject, JSON of the data or None)."""
        events = []
        for number, (time, subject, data) in enumerate(rows):
            event = {"id": f"{kind}-{number}", "source": "table", "specversion": "1.0",
                     "type": kind, "subject": subject}
            if time is not None:
                event["time"] = moment(time)
            text = json.dumps(event)
            events.append(text if data is None else f'{text[:-1]}, "data": {data}}}')
        answer = self.api.post("/api/v1/events", "[" + ",".join(events) + "]",
                               fields={"Content-Type": "application/json"})
        self.assertEqual(answer.status, status, answer)
        return answer

    def meter(self, slug, kind, aggregation="sum", **members):
        members.update({} if aggregation == "count" else {"valueProperty": "$.value"})
        answer = self.api.post("/api/v1/meters", {
            "slug": slug, "eventType": kind, "aggregation": aggregation.upper(), **members})
        self.assertEqual(answer.status, 200, answer)

    def rows(self, slug, status=200, **body):
        answer = self.api.post(f"/api/v1/meters/{slug}/query", body, key="read")
        self.assertEqual(answer.status, status, (slug, body, answer))
        return answer.json["data"] if status == 200 else answer.json

    def test_values(self):
        for case, (rule, values, wanted) in enumerate(VALUES):
            kind = f"values{case}"
            self.send(kind, [
                (f"{10 + number // 60:02}:{number % 60:02}", "s", None if value == "NO DATA" else
                 '{"other": 1}' if value == "ABSENT" else f'{{"value": {value}}}')
                for number, value in enumerate(values)])
            # The meters come after the events, which count all the same.
            for aggregation in KINDS:
                self.meter(f"{kind}_{aggregation}", kind, aggregation)
            for aggregation, value in wanted.items():
                answer = self.api.post(f"/api/v3/openmeter/meters/{kind}_{aggregation}/query", {})
                self.assertEqual([row["value"] for row in answer.json["data"]],
                                 [] if value is None else [value], (rule, aggregation))

    def test_windows(self):
        for case, (rule, events, parameters, wanted) in enumerate(WINDOWS):
            kind = f"windows{case}"
            self.meter(kind, kind)
            self.send(kind, [(time, "s", json.dumps({"value": value})) for time, value in events])
            asked = {key: moment(value) if key in ("from", "to") else value
                     for key, value in parameters.items()}
            self.assertEqual(
                [(row["windowStart"], row["windowEnd"], row["value"])
                 for row in self.rows(kind, **asked)],
                [(moment(start), moment(end), value) for start, end, value in wanted], rule)

    def test_groups_and_filters(self):
        self.meter("groups", "groups", groupBy={"region": "$.region"})
        self.send("groups", [
            ("10:00", subject,
             json.dumps({"value": value, **({"region": region} if region else {})}))
            for subject, region, value in GROUPED])
        for key, subjects in (("g-key", ["g-2"]), ("g-other", ["g-1"])):
            answer = self.api.post("/api/v1/customers", {
                "key": key, "name": key, "usageAttribution": {"subjectKeys": subjects}})
            self.assertEqual(answer.status, 201, answer)
        for parameters, wanted in GROUPS:
            got = [(row["subject"], row.get("customerId"), row["groupBy"].get("region"),
                    row["value"]) for row in self.rows("groups", **parameters)]
            self.assertEqual(sorted(got, key=str), sorted(wanted, key=str), parameters)
        for parameters in REFUSED:
            self.rows("groups", status=400, **parameters)
        self.rows("groups", status=404, filterCustomerId=["nobody"])

    def test_each_customers_total_has_a_range_of_its_own(self):
        self.meter("ranges", "ranges")
        self.send("ranges", [("10:00", "r-1", '{"value": 1}'), ("12:00", "r-2", '{"value": 2}')])
        for key in ("r-1", "r-2"):
            self.stack.tally("customer", "add", key)
        self.assertEqual(
            [(row["customerId"], row["windowStart"], row["windowEnd"]) for row in self.rows(
                "ranges", filterCustomerId=["r-1", "r-2"])],
            [("r-1", moment("10:00"), moment("10:01")), ("r-2", moment("12:00"), moment("12:01"))])

    def test_a_meter_takes_its_type_to_the_letter_and_shares_it(self):
        for slug, kind in (("letter", "letter"), ("shared", "letter"), ("other", "Letter")):
            self.meter(slug, kind)
        self.send("letter", [("10:00", "s", '{"value": 1}')])
        self.send("letters", [("10:00", "s", '{"value": 2}')])
        self.assertEqual([self.rows(slug) and self.rows(slug)[0]["value"]
                          for slug in ("letter", "shared", "other")], [1, 1, []])

    def test_latest_is_that_of_the_greatest_time_then_of_the_later_arrival(self):
        self.meter("last", "last", "latest")
        self.send("last", [("10:00", "s", '{"value": 1}'), ("12:00", "s", '{"value": 2}'),
                           ("11:00", "s", '{"value": 3}'), (f"{DAY}12:00:00.001Z", "s",
                                                            '{"value": 4}')])
        self.assertEqual(self.rows("last")[0]["value"], 4)
        self.meter("tie", "tie", "latest")
        self.send("tie", [("10:00", "s", '{"value": 1}'), ("10:00", "s", '{"value": 2}')])
        self.assertEqual(self.rows("tie")[0]["value"], 2)

    def test_what_was_sent_before_counts_once(self):
        self.meter("twice", "twice")

        def sent(status, value, **members):
            event = {"id": "x", "source": "a", "specversion": "1.0", "type": "twice",
                     "subject": "s", "time": moment("10:00"), "data": {"value": value}, **members}
            self.assertEqual(self.api.post("/api/v1/events", [event, event]).status, status, event)
        # The first wins; another time is no other event, other data is a conflict.
        for status, value, members in (
                (204, 1, {}), (204, 1, {"time": moment("11:00")}), (409, 2, {}),
                (204, 4, {"source": "b"}), (204, 8, {"id": "y"}), (204, 16, {"subject": "t"})):
            sent(status, value, **members)
        self.assertEqual(self.rows("twice")[0]["value"], 1 + 4 + 8 + 16)

    def test_times(self):
        self.meter("times", "times")
        self.send("times", [(None, "now", '{"value": 1}')])
        row = self.rows("times", subject=["now"])[0]
        self.assertEqual(row["value"], 1)
        for time in ("1969-12-31T23:59:59Z", "2200-01-01T00:00:00Z", "2000-01-01T00:00:00Z"):
            self.send("times" + time[:4], [(time, "s", '{"value": 1}')], status=400)
        # Late ones belong to their own time, whenever they come.
        self.send("late", [("10:00", "s", '{"value": 1}')])
        self.meter("late", "late")
        self.assertEqual(len(self.rows("late", windowSize="DAY")), 1)
        answer = self.api.post("/api/v1/events", [{
            "id": "later", "source": "table", "specversion": "1.0", "type": "late",
            "subject": "s", "time": "2026-01-05T10:00:00Z", "data": {"value": 2}}])
        self.assertEqual(answer.status, 204)
        self.assertEqual([(row["windowStart"], row["value"])
                          for row in self.rows("late", windowSize="MONTH")],
                         [("2026-01-01T00:00:00Z", 2), ("2026-11-01T00:00:00Z", 1)])


if __name__ == "__main__":
    unittest.main(verbosity=2)
