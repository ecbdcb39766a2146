"""tally-api as a process: `tally up` and `down`, keys, errors, CORS, and the table of routes."""

import json
import os
import re
import signal
import socket
import threading
import unittest

import api_client
import api_document
import support

# What each route answers to nobody and to a key of each scope, written by hand. A request that is
# let in may still be refused for what it says: here every request is empty.
#                              none ingest read billing admin
STATUSES = {
    ("GET", "/health"):        (200, 200, 200, 200, 200),
    ("GET", "/metrics"):       (401, 403, 200, 403, 200),
    ("GET", "/api/docs"): (200, 200, 200, 200, 200),
    ("GET", "/api/customers/{customer}/usage"): (401, 403, 404, 404, 404),
    ("POST", "/api/customers/{customer}/usage"): (401, 400, 403, 403, 400),
    ("GET", "/api/health/db"): (200, 200, 200, 200, 200),
    ("GET", "/api/v1/customers"): (401, 403, 200, 200, 200),
    ("POST", "/api/v1/customers"): (401, 403, 403, 400, 400),
    ("GET", "/api/v1/customers/{customer}"): (401, 403, 404, 404, 404),
    ("PUT", "/api/v1/customers/{customer}"): (401, 403, 403, 400, 400),
    ("DELETE", "/api/v1/customers/{customer}"): (401, 403, 403, 404, 404),
    ("GET", "/api/v1/backfills"): (401, 403, 200, 200, 200),
    ("POST", "/api/v1/backfills"): (401, 403, 403, 400, 400),
    ("GET", "/api/v1/backfills/{backfill}"): (401, 403, 404, 404, 404),
    ("POST", "/api/v1/backfills/{backfill}/events"): (401, 403, 403, 404, 404),
    ("POST", "/api/v1/backfills/{backfill}/close"): (401, 403, 403, 404, 404),
    ("POST", "/api/v1/backfills/{backfill}/revert"): (401, 403, 403, 400, 400),
    ("GET", "/api/v1/corrections"): (401, 403, 200, 200, 200),
    ("POST", "/api/v1/corrections"): (401, 403, 403, 400, 400),
    ("GET", "/api/v1/corrections/{correction}"): (401, 403, 404, 404, 404),
    ("GET", "/api/v1/cuts"): (401, 403, 200, 200, 200),
    ("POST", "/api/v1/cuts"): (401, 403, 403, 400, 400),
    ("GET", "/api/v1/customers/{customer}/entitlements/{meter}"): (401, 403, 404, 403, 404),
    ("POST", "/api/v1/entitlements/query"): (401, 403, 400, 403, 400),
    ("GET", "/api/openapi.json"): (200, 200, 200, 200, 200),
    ("GET", "/api/openapi.yaml"): (200, 200, 200, 200, 200),
    ("GET", "/api/v1/events"): (401, 403, 200, 403, 200),
    ("POST", "/api/v1/events"): (401, 400, 403, 403, 400),
    ("GET", "/api/v1/info/progress/{clientId}"): (401, 403, 404, 403, 404),
    ("GET", "/api/v1/fired-thresholds"): (401, 403, 200, 200, 200),
    ("GET", "/api/v1/ingest/stream"): (401, 403, 200, 403, 200),
    ("GET", "/api/v1/meters"): (401, 403, 200, 403, 200),
    ("POST", "/api/v1/meters"): (401, 403, 403, 403, 400),
    ("GET", "/api/v1/meters/{meter}"): (401, 403, 404, 403, 404),
    ("PUT", "/api/v1/meters/{meter}"): (401, 403, 403, 403, 404),
    ("DELETE", "/api/v1/meters/{meter}"): (401, 403, 403, 403, 404),
    ("GET", "/api/v1/meters/{meter}/late-usage"): (401, 403, 400, 403, 400),
    ("GET", "/api/v1/meters/{meter}/query"): (401, 403, 404, 403, 404),
    ("POST", "/api/v1/meters/{meter}/query"): (401, 403, 400, 403, 400),
    ("GET", "/api/v1/meters/{meter}/subjects"): (401, 403, 404, 403, 404),
    ("GET", "/api/v1/meters/{meter}/group-by/{key}/values"): (401, 403, 404, 403, 404),
    ("GET", "/api/v1/subjects"): (401, 403, 200, 200, 200),
    ("POST", "/api/v1/subjects"): (401, 403, 403, 400, 400),
    ("GET", "/api/v1/subjects/{subject}"): (401, 403, 404, 404, 404),
    ("DELETE", "/api/v1/subjects/{subject}"): (401, 403, 403, 404, 404),
    ("GET", "/api/v2/events"): (401, 403, 200, 403, 200),
    ("GET", "/api/v3/openmeter/customers"): (401, 403, 200, 200, 200),
    ("POST", "/api/v3/openmeter/customers"): (401, 403, 403, 400, 400),
    ("GET", "/api/v3/openmeter/customers/{customer}"): (401, 403, 404, 404, 404),
    ("PUT", "/api/v3/openmeter/customers/{customer}"): (401, 403, 403, 400, 400),
    ("DELETE", "/api/v3/openmeter/customers/{customer}"): (401, 403, 403, 404, 404),
    ("GET", "/api/v3/openmeter/events"): (401, 403, 200, 403, 200),
    ("POST", "/api/v3/openmeter/events"): (401, 400, 403, 403, 400),
    ("GET", "/api/v3/openmeter/meters"): (401, 403, 200, 403, 200),
    ("POST", "/api/v3/openmeter/meters"): (401, 403, 403, 403, 400),
    ("GET", "/api/v3/openmeter/meters/{meter}"): (401, 403, 404, 403, 404),
    ("PUT", "/api/v3/openmeter/meters/{meter}"): (401, 403, 403, 403, 404),
    ("DELETE", "/api/v3/openmeter/meters/{meter}"): (401, 403, 403, 403, 404),
    ("POST", "/api/v3/openmeter/meters/{meter}/query"): (401, 403, 404, 403, 404),
    ("GET", "/api/v1/thresholds"): (401, 403, 200, 200, 200),
    ("POST", "/api/v1/thresholds"): (401, 403, 403, 400, 400),
    ("GET", "/api/v1/thresholds/{threshold}"): (401, 403, 404, 404, 404),
    ("PUT", "/api/v1/thresholds/{threshold}"): (401, 403, 403, 400, 400),
    ("DELETE", "/api/v1/thresholds/{threshold}"): (401, 403, 403, 404, 404),
}


def path_of(pattern):
    return pattern.replace("{", "no_").replace("}", "")


class Document(unittest.TestCase):
    def test_routes_and_document_name_the_same(self):
        self.assertEqual(api_document.document(), api_document.table())
        self.assertEqual(set(STATUSES), set(api_document.table()))


class Api(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.stack = support.Stack()
        cls.stack.__enter__()
        cls.stack.env["TALLY_CORS_ORIGIN"] = "https://app.example"
        cls.addClassCleanup(cls.stack.__exit__, None, None, None)
        cls.api = api_client.start(cls.stack)
        cls.addClassCleanup(cls.api.close)

    def test_every_route_holds_to_the_scopes(self):
        for (method, pattern), wanted in STATUSES.items():
            for key, status in zip((None, *api_client.SCOPES), wanted):
                answer = self.api.ask(method, path_of(pattern), key=key)
                self.assertEqual(answer.status, status, (method, pattern, key, answer))

    def test_a_path_that_is_not_there(self):
        for target in ("/", "/api", "/health/", "/api/v1/../../health", "/%2e%2e/health",
                       "//health", "/health%2f", "/health%00", "/api/health/db/x"):
            self.assertIn(self.api.get(target).status, (404, 400), target)

    def test_a_method_that_is_not_there(self):
        answer = self.api.post("/health", {})
        self.assertEqual(answer.status, 405)
        self.assertEqual(answer.fields["Allow"], "GET, HEAD, OPTIONS")
        self.assertEqual(self.api.ask("BREW", "/health").status, 405)

    def test_head_and_options(self):
        answer = self.api.ask("HEAD", "/health")
        self.assertEqual((answer.status, answer.body), (200, b""))
        self.assertEqual(answer.fields["Content-Length"], "15")
        answer = self.api.ask("OPTIONS", "/health", key=None)
        self.assertEqual((answer.status, answer.fields["Allow"]), (204, "GET, HEAD, OPTIONS"))
        self.assertIsNone(answer.fields["Access-Control-Allow-Origin"])

    def test_cors_for_configured_origins_only(self):
        ask = {"Access-Control-Request-Method": "GET", "Origin": "https://app.example"}
        fields = self.api.ask("OPTIONS", "/metrics", key=None, fields=ask).fields
        self.assertEqual(fields["Access-Control-Allow-Origin"], "https://app.example")
        self.assertIn("Authorization", fields["Access-Control-Allow-Headers"])
        self.assertIn("GET", fields["Access-Control-Allow-Methods"])
        fields = self.api.get("/metrics", fields={"Origin": "https://app.example"}).fields
        self.assertEqual(fields["Access-Control-Allow-Origin"], "https://app.example")
        self.assertEqual(fields["Vary"], "Origin")
        ask["Origin"] = "https://evil.example"
        fields = self.api.ask("OPTIONS", "/metrics", key=None, fields=ask).fields
        self.assertIsNone(fields["Access-Control-Allow-Origin"])
        self.assertIsNone(fields["Access-Control-Allow-Methods"])

    def test_request_ids(self):
        self.assertEqual(self.api.get("/health", fields={"X-Request-Id": "mine-1"})
                         .fields["X-Request-Id"], "mine-1")
        first = self.api.get("/health").fields["X-Request-Id"]
        second = self.api.get("/health", fields={"X-Request-Id": "a b"}).fields["X-Request-Id"]
        self.assertNotEqual(first, second)
        self.assertNotIn(" ", second)

    def test_keys_that_are_wrong(self):
        for key in ("", "x", "tally_" + "0" * 12 + "_" + "0" * 40, self.api.keys["read"] + "0",
                    self.api.keys["read"][:-1]):
            answer = self.api.get("/metrics", key=key)
            self.assertEqual(answer.status, 401, key)
            self.assertEqual(answer.fields["WWW-Authenticate"], "Bearer")
        for fields in ({"Authorization": "Basic eDp5"}, {"Authorization": self.api.keys["read"]}):
            self.assertEqual(self.api.get("/metrics", key=None, fields=fields).status, 401)

    def test_a_key_is_made_listed_and_revoked(self):
        key = self.stack.tally("key", "create", "--scopes", "read", "--name", "für kurz",
                               "--expires", "2100-01-01").strip()
        self.assertEqual(self.api.get("/metrics", key=key).status, 200)
        key_id = key.split("_")[1]
        listed = self.stack.tally("key", "list", "--format", "tsv")
        row = next(line for line in listed.splitlines() if line.startswith(key_id)).split("\t")
        self.assertEqual(row[1:3], ["für kurz", "read"])
        self.assertTrue(row[4].startswith("2100-01-01"))
        self.assertNotIn(key[-40:], listed)
        support.wait_for("its last use", lambda: self.stack.sql(
            f"SELECT last_used_at FROM api_keys WHERE id = '{key_id}'")[0][0])
        listed = self.stack.tally("key", "list", "--format", "tsv")
        row = next(line for line in listed.splitlines() if line.startswith(key_id)).split("\t")
        self.assertEqual(row[5], "")
        self.assertRegex(row[6], r"^20\d\d-")
        self.stack.tally("key", "revoke", key_id)
        support.wait_for("its end", lambda: self.api.get("/metrics", key=key).status == 401)
        self.assertNotIn(key_id, self.stack.tally("key", "list"))
        self.assertIn(key_id, self.stack.tally("key", "list", "--all"))
        self.assertIn("no key", self.stack.run("tally", "key", "revoke", "0" * 12, code=1).stderr)

    def test_wrong_key_commands(self):
        for arguments in (("create",), ("create", "--scopes", "read"), ("list", "x"), ("revoke",),
                          ("create", "--scopes", "root", "--name", "x"), ("make",),
                          ("create", "--scopes", "read", "--name", ""),
                          ("create", "--scopes", "read", "--name", "x", "--expires", "2000-01-01"),
                          ("create", "--scopes", "read", "--name", "x", "--limit", "60"),
                          ("create", "--scopes", "read", "--name", "x", "--limit", "1/2d")):
            self.stack.run("tally", "key", *arguments, code=2)

    def test_every_operation_names_its_errors(self):
        document = self.api.get("/api/openapi.json", key=None).json
        for path, operations in document["paths"].items():
            for method, operation in operations.items():
                named = set(operation["responses"])
                wanted = {"400", "429", "503", "default"}
                if operation["x-scopes"]:
                    wanted |= {"401", "403"}
                if "requestBody" in operation:
                    wanted |= {"413", "415"}
                if "{" in path and "usage" not in path:
                    wanted.add("404")
                if any("IdempotencyKey" in one.get("$ref", "")
                       for one in operation.get("parameters", ())):
                    wanted |= {"409", "422"}
                self.assertLessEqual(wanted, named, (method, path))
                self.assertTrue(named & {"200", "201", "202", "204"}, (method, path))

    def test_the_api_describes_itself(self):
        with open(os.path.join(support.SOURCE_DIR, "api", "openapi.yaml"), "rb") as file:
            self.assertEqual(self.api.get("/api/openapi.yaml", key=None).body, file.read())
        document = self.api.get("/api/openapi.json", key=None).json
        found = {(method.upper(), path): frozenset(operation["x-scopes"])
                 for path, operations in document["paths"].items()
                 for method, operation in operations.items()}
        self.assertEqual(found, api_document.table())
        page = self.api.get("/api/docs", key=None)
        self.assertEqual(page.fields["Content-Type"], "text/html; charset=utf-8")
        self.assertIn("default-src 'none'", page.fields["Content-Security-Policy"])
        text = page.body.decode()
        for path in document["paths"]:
            self.assertIn(f"</span> {path}</h3>", text)
        # Nothing on it asks anybody for anything.
        for word in ("<script", "<link", "<img", "src=", "url(", "@import", "//"):
            self.assertNotIn(word, text)

    def test_metrics_count(self):
        self.api.get("/nowhere")
        text = self.api.get("/metrics", key="read").body.decode()
        self.assertRegex(text, r'requests_total\{route="none",status="4xx"\} [1-9]')
        self.assertRegex(text, r"\ntally_api_connections [1-9]")

    def test_the_log_has_requests_and_no_keys(self):
        self.api.get("/health?secret=1", fields={"X-Request-Id": "find-me"})
        path = os.path.join(self.stack.data, "log", "tally-api.log")

        def found():
            with open(path, encoding="utf-8") as file:
                return [line for line in file if "id=find-me" in line]
        line = support.wait_for("the line", found)[0]
        self.assertIn("path=/health status=200", line)
        self.assertNotIn("secret", line)
        with open(path, encoding="utf-8") as file:
            self.assertNotIn(self.api.keys["read"][-40:], file.read())


class Process(unittest.TestCase):
    def test_help_and_wrong_options(self):
        with support.Stack() as stack:
            self.assertIn("--port", stack.run("tally-api", "--help").stdout)
            self.assertRegex(stack.run("tally-api", "--version").stdout, r"^tally-api \d")
            for arguments in (("--prot", "1"), ("--port", "65536"), ("--port", "x"), ("--host",),
                              ("--cors-origin", "app.example"), ("--body-max", "1T"),
                              ("--cors-origin", "https://app.example/path")):
                stack.run("tally-api", *arguments, code=2)
            done = stack.run("tally-api", "--port", "0", code=1)
            self.assertIn("data directory", done.stderr)

    def test_up_and_down_and_an_address_that_is_taken(self):
        with support.Stack() as stack, socket.socket() as taken:
            taken.bind(("127.0.0.1", 0))
            taken.listen()
            port = taken.getsockname()[1]
            done = stack.run("tally", "up", "--tcp", "127.0.0.1:0", "--metrics", "127.0.0.1:0",
                             "--api", f"127.0.0.1:{port}", code=1)
            self.assertIn("--api", done.stderr)
            self.assertIn("tallyd      stopped again", done.stdout)
            self.assertIn("nothing runs", stack.tally("down"))
            self.assertIn("tally-api   started", stack.up("--api", "127.0.0.1:0"))
            self.assertIn("tally-api   runs already", stack.up("--api", "127.0.0.1:0"))
            api = api_client.Api(stack)
            self.assertIn("tally-api   stopped", stack.tally("down"))
            self.assertFalse(support.process_alive(api.pid))
            self.assertFalse(os.path.exists(os.path.join(stack.data, "tally-api.json")))

    def test_without_its_database_it_says_so_and_is_well_again(self):
        with support.Stack() as stack:
            api = api_client.start(stack)
            self.assertEqual(api.get("/api/health/db").status, 200)
            self.assertEqual(api.get("/metrics", key="read").status, 200)
            stack.tally("meter", "add", "m", "--event-type", "t", "--aggregation", "count")
            event = {"id": "1", "source": "s", "specversion": "1.0", "type": "t", "subject": "x"}
            self.assertEqual(api.post("/api/v1/events", event).status, 204)
            with open(os.path.join(stack.data, "pg", "postmaster.pid"), encoding="utf-8") as file:
                postgres = int(file.readline())
            os.kill(postgres, signal.SIGQUIT)
            support.wait_for("the end of PostgreSQL", lambda: not support.process_alive(postgres))
            answer = api.get("/api/health/db")
            self.assertEqual((answer.status, answer.fields["Retry-After"]), (503, "1"))
            # What needs it is not begun.
            body = {"slug": "away", "aggregation": "COUNT", "eventType": "away"}
            answer = api.post("/api/v1/meters", body, fields={"Idempotency-Key": "k"})
            self.assertEqual((answer.status, answer.fields["Retry-After"]), (503, "1"))
            self.assertEqual([meter["slug"] for meter in api.get("/api/v1/meters").json], ["m"])
            self.assertIn("the database cannot be reached", stack.tally("status", code=1))
            self.assertGreater(self.metric(api, "tally_api_database_failed_total"), 0)
            # Keys are known all the same.
            self.assertEqual(api.get("/metrics", key="read").status, 200)
            self.assertEqual(api.get("/health").status, 200)
            # So events come in and are counted; whose they are nobody can say.
            self.assertEqual(api.post("/api/v1/events", {**event, "id": "2"}).status, 204)
            self.assertEqual(api.get("/api/v1/meters/m/query").json["data"][0]["value"], 2)
            for target in ("/api/v1/events", "/api/v2/events", "/api/v3/openmeter/events",
                           "/api/v1/customers", "/api/v1/subjects", "/api/customers/x/usage",
                           "/api/v1/meters/m/query?filterCustomerId=x"):
                self.assertEqual(api.get(target).status, 503, target)
            stack.up("--api", "127.0.0.1:0")
            support.wait_for("health", lambda: api.get("/api/health/db").status == 200)
            api.close()

    @staticmethod
    def metric(api, name):
        text = api.get("/metrics").body.decode()
        return int(re.search(rf"^{name} (\d+)$", text, re.MULTILINE)[1])

    def test_a_database_that_was_started_anew_costs_no_request(self):
        with support.Stack() as stack:
            api = api_client.start(stack)

            def ask():
                caller = api_client.Caller(api.address, api.keys)
                for _ in range(10):
                    self.assertEqual(caller.get("/api/health/db").status, 200)
                caller.close()
            threads = [threading.Thread(target=ask) for _ in range(8)]
            for thread in threads:
                thread.start()
            for thread in threads:
                thread.join()
            self.assertGreater(self.metric(api, "tally_api_database_connections"), 0)
            self.assertEqual(self.metric(api, "tally_api_database_connections_max"), 8)
            with open(os.path.join(stack.data, "pg", "postmaster.pid"), encoding="utf-8") as file:
                postgres = int(file.readline())
            os.kill(postgres, signal.SIGQUIT)
            support.wait_for("the end of PostgreSQL", lambda: not support.process_alive(postgres))
            stack.up("--api", "127.0.0.1:0")
            for number in range(10):
                body = {"slug": f"anew_{number}", "aggregation": "COUNT", "eventType": "anew"}
                answer = api.post("/api/v1/meters", body, fields={"Idempotency-Key": f"k{number}"})
                self.assertEqual(answer.status, 200, answer)
            self.assertGreater(self.metric(api, "tally_api_database_broken_total"), 0)
            found = json.loads(stack.tally("status", "--format", "json"))
            self.assertTrue(found["well"] and found["api"]["running"] and found["api"]["healthy"])
            self.assertEqual((found["api"]["pid"], found["api"]["url"]),
                             (api.pid, "http://" + api.address))
            text = stack.tally("status")
            self.assertIn(f"tally-api   runs: pid {api.pid}", text)
            self.assertIn('  health    {"status":"ok"}', text)
            api.close()


if __name__ == "__main__":
    unittest.main(verbosity=2)
