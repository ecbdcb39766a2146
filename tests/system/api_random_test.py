"""Random requests made of our OpenAPI document, good and broken, with keys and without: no 500, at
least 30 % good answers, every operation reached, and every answer as the document says.

    TALLY_SEED=7 TALLY_REQUESTS=100000 python3 api_random_test.py      the long form
"""

import collections
import gzip
import os
import random
import unittest

import api_client
import api_pools
import api_random
import support

SEED = int(os.environ.get("TALLY_SEED", "1"))
REQUESTS = int(os.environ.get("TALLY_REQUESTS", "900"))
GOOD_MIN = 0.3
KEYS = ("admin",) * 12 + api_client.SCOPES + (None, "wrong")

# Operations that need not be answered well by chance, and why.
RARELY_GOOD = {}


class Random(unittest.TestCase):
    def setUp(self):
        stack = support.Stack()
        stack.__enter__()
        self.addCleanup(stack.__exit__, None, None, None)
        self.api = api_client.start(stack)
        self.addCleanup(self.api.close)
        self.document = self.api.get("/api/openapi.json").json
        self.operations = [(method.upper(), path) for path, item in self.document["paths"].items()
                           for method in item if method != "parameters"]
        self.random = random.Random(SEED)
        self.maker = api_random.Maker(self.document, self.random, api_pools.Pools(self.api))

    def ask(self, method, path):
        broken = self.random.random() < 0.3
        key = self.random.choice(KEYS)
        request = self.maker.request(method, path, broken)
        fields, body = dict(request.fields), request.body
        if self.random.random() < 0.3:
            fields["Accept-Encoding"] = "gzip"
        if body and self.random.random() < 0.2:
            fields["Content-Encoding"] = "gzip"
            body = gzip.compress(body.encode("utf-8", "surrogatepass"))
        answer = self.api.ask(request.method, request.target, key=key, body=body, fields=fields)
        said = (SEED, request, key, answer)
        self.assertLess(answer.status, 500, said)
        if not broken:
            operation = self.maker.operation(method, path)
            self.assertIsNone(api_random.answer_fault(self.document, operation, answer), said)
            self.assertNotEqual(answer.status, 405, said)
        if method != "GET":
            self.maker.pools.changed()
        return answer.status

    def test_random_requests(self):
        statuses = collections.Counter()
        good = collections.Counter()
        for number in range(REQUESTS):
            # Each in turn, so that none is left out.
            operation = self.operations[number % len(self.operations)]
            status = self.ask(*operation)
            statuses[status] += 1
            good[operation] += 200 <= status < 300
        print(f"seed {SEED}: {dict(sorted(statuses.items()))}")
        never = [operation for operation in self.operations
                 if not good[operation] and operation not in RARELY_GOOD]
        self.assertEqual(never, [], "no good answer; does api_pools.py have what they need?")
        self.assertGreaterEqual(good.total() / REQUESTS, GOOD_MIN, statuses)


if __name__ == "__main__":
    unittest.main(verbosity=2)
