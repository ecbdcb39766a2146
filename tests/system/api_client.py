"""A client of tally-api for the tests: plain http.client, keys of every scope.

    with support.Stack() as stack:
        api = api_client.start(stack)
        answer = api.get("/api/v1/meters", key="read")      # answer.status, .json, .fields

`tally up --api` starts it. Keys are made by `tally key create`, one for each scope.
"""

import collections
import gzip
import http.client
import json
import os

SCOPES = ("ingest", "read", "billing", "admin")

Answer = collections.namedtuple("Answer", "status fields body json")


class Caller:
    """One connection to a tally-api, which is kept."""

    def __init__(self, address, keys):
        self.address = address
        self.keys = keys
        self.connection = http.client.HTTPConnection(address, timeout=60)

    def close(self):
        self.connection.close()

    def ask(self, method, target, key="admin", body=None, fields=None):
        """key: a scope, a key's text, or None. A body that is no text is sent as JSON."""
        sent = dict(fields or {})
        if key is not None:
            sent["Authorization"] = "Bearer " + self.keys.get(key, key)
        if body is not None and not isinstance(body, (str, bytes)):
            body = json.dumps(body)
            sent.setdefault("Content-Type", "application/json")
        if isinstance(body, str):
            body = body.encode()
        self.connection.request(method, target, body=body, headers=sent)
        got = self.connection.getresponse()
        kind = got.headers.get("Content-Type", "")
        if kind == "text/event-stream" and method != "HEAD":
            text = got.fp.readline()  # it has no end
            got.close()
            self.connection.close()
        else:
            text = got.read()
        is_json = kind in ("application/json", "application/problem+json")
        is_packed = got.headers.get("Content-Encoding") == "gzip" and method != "HEAD"
        plain = gzip.decompress(text) if is_packed else text
        answer = Answer(got.status, got.headers, text,
                        json.loads(plain) if is_json and method != "HEAD" else None)
        if got.status >= 400 and method != "HEAD":
            problem_check(answer)
        return answer

    def get(self, target, **options):
        return self.ask("GET", target, **options)

    def post(self, target, body, **options):
        return self.ask("POST", target, body=body, **options)


class Api(Caller):
    """A running tally-api, with a key of each scope."""

    def __init__(self, stack):
        with open(os.path.join(stack.data, "tally-api.json"), encoding="utf-8") as file:
            facts = json.load(file)
        self.pid = facts["pid"]
        super().__init__(facts["http"], {
            scope: stack.tally("key", "create", "--scopes", scope, "--name",
                               f"test {scope}").strip() for scope in SCOPES})


def problem_check(answer):
    """Every error is a problem of RFC 9457 that says what to do."""
    assert answer.fields["Content-Type"] == "application/problem+json", answer
    problem = answer.json
    assert problem["status"] == answer.status and problem["type"] == "about:blank", answer
    assert problem["title"] and problem["detail"], answer
    assert problem["instance"] == "urn:request:" + answer.fields["X-Request-Id"], answer


def start(stack, *arguments):
    # Tests ask without keys more often than people; api_limits_test.py sets its own.
    stack.env.setdefault("TALLY_LIMIT_ANONYMOUS", "none")
    stack.up("--api", "127.0.0.1:0", *arguments)
    return Api(stack)
