"""The integration guide's usage routes, with its own catalogue."""

import json
import os
import time
import unittest

import api_client
import support

AURA = os.path.join(support.SOURCE_DIR, "billing", "catalog", "aura.json")
MONTH = time.strftime("%Y-%m", time.gmtime())
# The guide's events, what they are billed as, and what a unit costs.
MAP = {
    "profile.created": ("profile_enrichment", "0.1"), "event.tracked": ("event_tracked", "0.001"),
    "segment.computed": ("segment_computation", "0.01"),
    "audience.activated": ("audience_activation", "50"), "data.exported": ("data_export", "0.0001"),
    "api.called": ("api_call", "0.00001"), "email.sent": ("email_sent", "0.001"),
    "sms.sent": ("sms_sent", "0.01"), "webhook.delivered": ("webhook_delivery", "0.0001"),
    "ai.brief_generated": ("ai_brief_generated", "0.05"),
}


# Charges that the guide does not have: by the values of a dimension, tiers, and single events.
MORE_METERS = [
    {"key": "traffic", "event_type": "traffic", "aggregation": "sum", "value_property": "$.gb",
     "dimensions": {"region": "$.region"}},
    {"key": "tiered", "event_type": "tiered", "aggregation": "sum"},
    {"key": "cards", "event_type": "cards", "aggregation": "sum"},
]
MORE_PLAN = {"key": "more", "name": "More", "kind": "addon", "charges": [
    {"key": "traffic", "name": "Traffic", "meter": "traffic", "model": "standard",
     "params": {"amount": "0.12"}, "dimension": "region",
     "values": {"aws": {"amount": "0.08"}, "gcp": {"amount": "0.1"}}},
    {"key": "tiered", "name": "Tiered", "meter": "tiered", "model": "graduated", "params": {
        "tiers": [{"to": "10", "unit": "1"}, {"to": None, "unit": "0.5", "flat": "2"}]},
     "free_units": "5"},
    {"key": "cards", "name": "Cards", "meter": "cards", "model": "percentage",
     "params": {"rate": "2.9", "fixed": "0.30"}},
]}


class Guide(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.stack = support.Stack()
        cls.stack.__enter__()
        cls.addClassCleanup(cls.stack.__exit__, None, None, None)
        cls.api = api_client.start(cls.stack)
        cls.addClassCleanup(cls.api.close)
        with open(AURA, encoding="utf-8") as file:
            catalog = json.load(file)
        catalog["meters"] += MORE_METERS
        catalog["plans"].append(MORE_PLAN)
        path = os.path.join(cls.stack.folder, "catalog.json")
        with open(path, "w", encoding="utf-8") as file:
            json.dump(catalog, file)
        cls.stack.tally("catalog", "apply", path)

    def customer(self, name, plan=None):
        self.stack.tally("customer", "add", name)
        if plan:
            self.stack.tally("subscribe", name, plan, "--from", f"{MONTH}-01")

    def report(self, customer, status=200, **body):
        answer = self.api.post(f"/api/customers/{customer}/usage", body, key="ingest")
        self.assertEqual(answer.status, status, (body, answer))
        return answer.json

    def used(self, customer, **parameters):
        query = "".join(f"?{key}={value}" for key, value in parameters.items())
        answer = self.api.get(f"/api/customers/{customer}/usage{query}", key="read")
        self.assertEqual(answer.status, 200, answer)
        return answer

    def test_every_event_is_billed_as_the_guide_says(self):
        self.customer("mapped", "growth")
        for event, (billable, _) in MAP.items():
            said = self.report("mapped", eventType=event, eventData={"quantity": 3, "note": "x"})
            self.assertEqual((said["tracked"], said["billableEventType"]), (True, billable))
            self.assertTrue(said["id"])
        self.assertEqual(self.report("mapped", eventType="event_tracked")["billableEventType"],
                         "event_tracked")
        said = self.report("mapped", eventType="session.started", eventData={"quantity": 9})
        self.assertEqual((said["tracked"], said["billableEventType"]), (True, None))
        answer = self.used("mapped")
        usage = {billable: 3 for billable, _ in MAP.values()} | {"event_tracked": 4}
        usage |= {meter["key"]: 0 for meter in MORE_METERS}
        self.assertEqual(answer.json["usage"], usage)
        for billable, count in usage.items():
            self.assertEqual(answer.json[billable], count)
        self.assertEqual((answer.json["customerId"], answer.json["period"],
                          answer.json["currency"], answer.json["onInvoiceOnly"]),
                         ("mapped", MONTH, "USD", []))
        # Exactly: 0.3 + 0.004 + 0.03 + 150 + 0.0003 + 0.00003 + 0.003 + 0.03 + 0.0003 + 0.15.
        self.assertIn(b'"totalCost":150.51763,', answer.body)
        self.assertIn(b'"api_call":0.00003', answer.body)
        rows = self.api.get("/api/v1/events?subject=mapped").json
        self.assertEqual(rows[0]["event"]["type"], "session.started")
        self.assertEqual(rows[-1]["event"]["data"], {"quantity": 3, "note": "x"})

    def test_paid_tiers_pay_from_the_first_unit_free_ones_beyond_the_allowance(self):
        for plan, cost in (("growth", "10.001"), ("free", "0.001")):
            self.customer(f"on-{plan}", plan)
            self.report(f"on-{plan}", eventType="event.tracked", eventData={"quantity": 10001})
            answer = self.used(f"on-{plan}")
            self.assertIn(f'"totalCost":{cost},'.encode(), answer.body)
            self.assertEqual(answer.json["event_tracked"], 10001)
        # The same as a run says, which rounds once.
        dry = self.stack.run("tally-billing", "run", "--dry-run", "--period", MONTH, "--customer",
                             "on-growth").stdout
        self.assertIn("10.00", dry)

    def test_other_charges_cost_what_a_run_says(self):
        self.customer("other", "more")
        for event, data in (("traffic", {"gb": 10, "region": "aws"}),
                            ("traffic", {"gb": "2.5", "region": "gcp"}),
                            ("traffic", {"gb": 1, "region": "here"}), ("traffic", {"gb": 3}),
                            ("tiered", {"quantity": 20}), ("cards", {"quantity": 100})):
            self.assertIsNone(self.report("other", eventType=event, eventData=data)
                              ["billableEventType"])
        used = self.used("other").json
        # 10 x 0.08 + 2.5 x 0.1 + 4 x 0.12, and 10 x 1 + 5 x 0.5 + 2.
        self.assertEqual(used["costs"], {"traffic": 1.53, "tiered": 14.5})
        self.assertEqual((used["totalCost"], used["onInvoiceOnly"]), (16.03, ["cards"]))
        self.assertEqual((used["traffic"], used["tiered"], used["cards"]), (16.5, 20, 100))
        dry = self.stack.run("tally-billing", "run", "--dry-run", "--period", MONTH, "--customer",
                             "other").stdout
        for amount in ("0.80", "0.25", "0.48", "14.50"):
            self.assertIn(amount, dry)

    def test_a_report_may_be_sent_again(self):
        self.customer("again", "pro")
        body = {"eventType": "api.called", "eventData": {"path": "/x"}, "id": "call-1"}
        for _ in range(3):
            self.assertEqual(self.report("again", **body)["id"], "call-1")
        self.report("again", status=409, **{**body, "eventData": {"quantity": 2}})
        self.report("again", eventType="api.called")
        self.report("again", eventType="api.called")
        self.assertEqual(self.used("again").json["api_call"], 3)

    def test_months(self):
        self.customer("months", "pro")
        day = time.time() - 3600
        self.report("months", eventType="sms.sent", timestamp=time.strftime(
            "%Y-%m-%dT%H:%M:%SZ", time.gmtime(day)))
        month = time.strftime("%Y-%m", time.gmtime(day))
        self.assertEqual(self.used("months", period=month).json["sms_sent"], 1)
        empty = self.used("months", period="2024-01").json
        self.assertEqual((empty["usage"]["sms_sent"], empty["costs"], empty["totalCost"]),
                         (0, {}, 0))
        for period in ("2026", "2026-13", "yesterday", ""):
            answer = self.api.get(f"/api/customers/months/usage?period={period}")
            self.assertEqual(answer.status, 400, period)

    def test_who_has_no_plan_has_no_cost(self):
        self.customer("planless")
        self.report("planless", eventType="email.sent", eventData={"quantity": "2.5"})
        used = self.used("planless").json
        self.assertEqual((used["email_sent"], used["costs"], used["totalCost"], used["currency"]),
                         (2.5, {}, 0, None))

    def test_usage_goes_to_a_subject_of_the_customer(self):
        self.stack.tally("customer", "add", "parent", "--subject", "z-child",
                         "--subject", "a-child")
        self.report("parent", eventType="email.sent")
        self.assertEqual(self.stack.usage("email_sent", "a-child"), "1")
        self.assertEqual(self.used("parent").json["email_sent"], 1)

    def test_reports_that_make_no_sense(self):
        self.customer("strict")
        for body in ({}, {"eventType": ""}, {"eventType": 7}, {"eventType": "x" * 101},
                     {"eventType": "x", "more": 1}, {"eventType": "x", "eventData": "y"},
                     {"eventType": "x", "eventData": {"quantity": "many"}},
                     {"eventType": "x", "eventData": {"quantity": -1}},
                     {"eventType": "x", "eventData": {"quantity": []}},
                     {"eventType": "x", "eventData": {"quantity": 1e19}},
                     {"eventType": "x", "id": ""}, {"eventType": "x", "id": "i" * 129},
                     {"eventType": "x", "timestamp": "now"},
                     {"eventType": "x", "timestamp": "2020-01-01T00:00:00Z"}):
            self.report("strict", status=400, **body)
        self.report("nobody", status=404, eventType="email.sent")
        self.assertEqual(self.api.get("/api/customers/nobody/usage").status, 404)


if __name__ == "__main__":
    unittest.main(verbosity=2)
