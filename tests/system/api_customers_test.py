"""Customers and subjects over HTTP, as OpenMeter's clients use them."""

import re
import unittest

import api_client
import support

TIMES = ("createdAt", "updatedAt")


def bare(answer):
    return {key: value for key, value in answer.items() if key not in TIMES}


class Customers(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.stack = support.Stack()
        cls.stack.__enter__()
        cls.addClassCleanup(cls.stack.__exit__, None, None, None)
        cls.api = api_client.start(cls.stack)
        cls.addClassCleanup(cls.api.close)

    def made(self, status=201, **members):
        answer = self.api.post("/api/v1/customers", members, key="billing")
        self.assertEqual(answer.status, status, answer)
        return answer.json

    def test_everything_that_is_said_of_a_customer_comes_back(self):
        said = {
            "key": "whole", "name": "Whole Ltd", "description": "says all",
            "metadata": {"b": "2", "a": "ä\n"}, "primaryEmail": "pay@whole.example",
            "currency": "EUR", "usageAttribution": {"subjectKeys": ["w-2", "w-1"]},
            "billingAddress": {"country": "AT", "postalCode": "1010", "state": "W",
                               "city": "Wien", "line1": "Ring 1", "line2": "/2",
                               "phoneNumber": "+43 1"}}
        made = self.made(**said)
        want = {**said, "id": "whole", "usageAttribution": {"subjectKeys": ["w-2", "w-1"]}}
        self.assertEqual(bare(made), want)
        for time in TIMES:
            self.assertRegex(made[time], r"^20\d\d-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?Z$")
        self.assertEqual(self.api.get("/api/v1/customers/whole", key="read").json, made)
        # It is the customer of the other programs.
        shown = self.stack.tally("customer", "show", "whole")
        self.assertEqual(re.findall(r"subject +(.*)", shown), ["w-1", "w-2", "whole"])
        self.assertIn("pay@whole.example", shown)
        # What a change leaves out is no more.
        changed = self.api.ask("PUT", "/api/v1/customers/whole", key="billing", body={
            **made, "name": "Half", "metadata": None, "usageAttribution": {"subjectKeys": ["w-2"]}})
        self.assertEqual(changed.status, 200, changed)
        del want["metadata"]
        self.assertEqual(bare(changed.json),
                         {**want, "name": "Half", "usageAttribution": {"subjectKeys": ["w-2"]}})
        self.assertEqual(changed.json["createdAt"], made["createdAt"])
        least = self.api.ask("PUT", "/api/v1/customers/whole", body={"name": "Least"}).json
        self.assertEqual(bare(least), {"id": "whole", "key": "whole", "name": "Least",
                                       "usageAttribution": {"subjectKeys": []}})
        self.assertEqual(self.api.ask("DELETE", "/api/v1/customers/whole").status, 204)
        for method in ("GET", "DELETE"):
            self.assertEqual(self.api.ask(method, "/api/v1/customers/whole").status, 404)
        self.assertEqual(
            self.api.ask("PUT", "/api/v1/customers/whole", body={"name": "x"}).status, 404)

    def test_a_customer_without_a_key_is_given_one(self):
        made = self.made(name="Nameless", usageAttribution={"subjectKeys": ["n-1"]})
        self.assertRegex(made["id"], "^[0-9A-HJKMNP-TV-Z]{26}$")
        self.assertEqual(made["usageAttribution"], {"subjectKeys": ["n-1"]})
        self.assertEqual(self.api.get("/api/v1/customers/" + made["id"]).json, made)

    def test_a_customer_of_the_other_programs(self):
        self.stack.tally("customer", "add", "local", "--company", "Local")
        got = self.api.get("/api/v1/customers/local").json
        self.assertEqual(bare(got), {"id": "local", "key": "local", "name": "Local",
                                     "usageAttribution": {"subjectKeys": ["local"]}})
        # Its own id stays its subject, listed or not.
        self.api.ask("PUT", "/api/v1/customers/local", body={"name": "Local"})
        self.assertIn("subject  local", self.stack.tally("customer", "show", "local"))

    def test_a_subject_has_one_payer_and_an_email_one_customer(self):
        self.made(key="first", name="First", primaryEmail="a@first.example",
                  usageAttribution={"subjectKeys": ["shared"]})
        for members in ({"key": "first", "name": "Again"},
                        {"key": "second", "name": "S", "primaryEmail": "a@first.example"},
                        {"key": "second", "name": "S",
                         "usageAttribution": {"subjectKeys": ["own", "shared"]}},
                        {"key": "shared", "name": "S"}):
            self.made(status=409, **members)
        self.assertEqual(self.api.get("/api/v1/customers/second").status, 404)
        self.made(key="second", name="Second")
        for members in ({"primaryEmail": "a@first.example"},
                        {"usageAttribution": {"subjectKeys": ["shared"]}},
                        {"usageAttribution": {"subjectKeys": ["first"]}}):
            answer = self.api.ask("PUT", "/api/v1/customers/second",
                                  body={"name": "Second", **members})
            self.assertEqual(answer.status, 409, answer)
        self.assertIn("first", answer.json["detail"])

    def test_who_was_subscribed_stays(self):
        self.stack.tally("catalog", "apply", support.CATALOG)
        self.made(key="subscriber", name="S")
        self.stack.tally("subscribe", "subscriber", "llm-tokens", "--from", "2026-11-01")
        answer = self.api.ask("DELETE", "/api/v1/customers/subscriber")
        self.assertEqual(answer.status, 409, answer)
        self.assertEqual(self.api.get("/api/v1/customers/subscriber").status, 200)
        self.assertIn("subject  subscriber", self.stack.tally("customer", "show", "subscriber"))

    def test_pages(self):
        for number in range(5):
            self.made(key=f"page-{number}", name=f"Page {9 - number}",
                      primaryEmail=f"p{number}@Page.example",
                      usageAttribution={"subjectKeys": [f"pager-{number}"]})

        def listed(**parameters):
            target = "&".join(f"{key}={value}" for key, value in parameters.items())
            answer = self.api.get(f"/api/v1/customers?{target}", key="read")
            self.assertEqual(answer.status, 200, answer)
            return answer.json

        ids = [f"page-{number}" for number in range(5)]
        got = listed(key="PAGE-", pageSize=2, page=2)
        self.assertEqual((got["totalCount"], got["page"], got["pageSize"]), (5, 2, 2))
        self.assertEqual([item["id"] for item in got["items"]], ids[2:4])
        self.assertEqual(listed(key="page-", page=9)["items"], [])
        for parameters, want in (
                ({"key": "page-"}, ids), ({"name": "page%20", "orderBy": "name"}, ids[::-1]),
                ({"key": "page-", "orderBy": "createdAt", "order": "DESC"}, ids[::-1]),
                ({"primaryEmail": "p3@page"}, ids[3:4]), ({"subject": "pager-4"}, ids[4:]),
                ({"key": "page-", "planKey": "nothing"}, []), ({"key": "%25"}, [])):
            self.assertEqual([item["id"] for item in listed(**parameters)["items"]], want,
                             parameters)
        for wrong in ("page=0", "page=x", "pageSize=1001", "pageSize=", "order=UP",
                      "orderBy=email"):
            self.assertEqual(self.api.get("/api/v1/customers?" + wrong).status, 400, wrong)

    def test_customers_that_make_no_sense(self):
        for members in ({}, {"name": ""}, {"name": 7}, {"name": "x" * 1025},
                        {"name": "x", "key": ""}, {"name": "x", "key": "k" * 256},
                        {"name": "x", "key": "a\nb"}, {"name": "x", "key": "a\0b"},
                        {"name": "x", "primaryEmail": "nobody"},
                        {"name": "x", "primaryEmail": "@x"}, {"name": "x", "currency": "usd"},
                        {"name": "x", "currency": "USDT"}, {"name": "x", "metadata": {"a": 1}},
                        {"name": "x", "metadata": ["a"]}, {"name": "x", "usageAttribution": []},
                        {"name": "x", "usageAttribution": {}},
                        {"name": "x", "usageAttribution": {"subjectKeys": "a"}},
                        {"name": "x", "usageAttribution": {"subjectKeys": [""]}},
                        {"name": "x", "usageAttribution": {"subjectKeys": [7]}},
                        {"name": "x", "billingAddress": "Wien"},
                        {"name": "x", "billingAddress": {"planet": "Earth"}},
                        {"name": "x", "billingAddress": {"country": "Austria"}},
                        {"name": "x", "billingAddress": {"country": "at"}},
                        {"name": "x", "billingAddress": {"city": 7}}, {"name": "x", "more": 1}):
            self.made(status=400, **members)
        self.made(key="fixed", name="Fixed")
        answer = self.api.ask("PUT", "/api/v1/customers/fixed", body={"name": "x", "key": "moved"})
        self.assertEqual(answer.status, 400)
        for body in ("", "[]", "{", '{"name": "\xff"}'.encode("latin-1")):
            self.assertEqual(self.api.post("/api/v1/customers", body).status, 400, body)

    def test_subjects(self):
        put = [{"key": "sub-b", "displayName": "B", "metadata": {"n": 1.50, "deep": {"a": [1]}},
                "stripeCustomerId": "cus_1"}, {"key": "sub-a"}]
        made = self.api.post("/api/v1/subjects", put, key="billing")
        self.assertEqual(made.status, 200, made)
        self.assertEqual([bare(item) for item in made.json],
                         [{"id": "sub-b", **put[0]}, {"id": "sub-a", "key": "sub-a"}])
        self.assertIn(b'"n":1.5', made.body)
        # What is not said stays, null is no more.
        made = self.api.post("/api/v1/subjects", [
            {"key": "sub-b", "displayName": None}, {"key": "sub-a", "displayName": "A"}]).json
        self.assertEqual(bare(made[0]), {"id": "sub-b", "key": "sub-b",
                                         "metadata": put[0]["metadata"],
                                         "stripeCustomerId": "cus_1"})
        self.assertEqual(self.api.get("/api/v1/subjects/sub-a", key="read").json, made[1])
        # Who is listed by a customer is known too.
        self.made(key="sub-c", name="C", usageAttribution={"subjectKeys": ["sub-c-1"]})
        listed = [item["key"] for item in self.api.get("/api/v1/subjects").json
                  if item["key"].startswith("sub-")]
        self.assertEqual(listed, ["sub-a", "sub-b", "sub-c-1"])
        self.assertEqual(self.api.ask("DELETE", "/api/v1/subjects/sub-a").status, 204)
        self.assertEqual(self.api.ask("DELETE", "/api/v1/subjects/sub-a").status, 404)
        self.assertEqual(self.api.get("/api/v1/subjects/sub-a").status, 404)
        answer = self.api.ask("DELETE", "/api/v1/subjects/sub-c-1")
        self.assertEqual(answer.status, 409)
        self.assertIn("sub-c", answer.json["detail"])

    def test_subjects_that_make_no_sense(self):
        for body in ({"key": "x"}, [7], [{}], [{"key": ""}], [{"key": 7}], [{"key": "x\0"}],
                     [{"key": "no-1"}, {"key": "no-2", "displayName": 7}],
                     [{"key": "no-1", "stripeCustomerId": "1"}], [{"key": "no-1", "more": 1}],
                     [{"key": "no-1", "metadata": "x"}], [{"key": "no-1"}] * 1001):
            self.assertEqual(self.api.post("/api/v1/subjects", body).status, 400, body)
        self.assertEqual(self.api.get("/api/v1/subjects/no-1").status, 404)

    def test_scopes(self):
        for method, target, scopes in (
                ("GET", "/api/v1/customers", ("read", "billing", "admin")),
                ("GET", "/api/v1/subjects", ("read", "billing", "admin")),
                ("POST", "/api/v1/customers", ("billing", "admin")),
                ("DELETE", "/api/v1/subjects/x", ("billing", "admin"))):
            for scope in api_client.SCOPES:
                status = self.api.ask(method, target, key=scope).status
                self.assertEqual(status != 403, scope in scopes, (method, target, scope))


if __name__ == "__main__":
    unittest.main(verbosity=2)
