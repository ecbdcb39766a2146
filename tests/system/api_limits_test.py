"""How often somebody may ask tally-api: without a key, by address, by key, behind proxies."""

import unittest

import api_client
import support


class Limits(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.stack = support.Stack()
        cls.stack.__enter__()
        cls.addClassCleanup(cls.stack.__exit__, None, None, None)
        # Days, so that nothing comes back while a slow machine tests.
        cls.stack.env.update(
            TALLY_LIMIT_ANONYMOUS="5/1d", TALLY_LIMIT_KEY="20/1d", TALLY_LIMIT_ADDRESS="1000/1d",
            TALLY_TRUSTED_PROXY="127.0.0.1")
        cls.api = api_client.start(cls.stack)
        cls.addClassCleanup(cls.api.close)

    def ask(self, target, client, key=None, method="GET"):
        return self.api.ask(method, target, key=key, fields={"X-Forwarded-For": client})

    def refused(self, answer):
        self.assertEqual(answer.status, 429)
        self.assertRegex(answer.fields["Retry-After"], "^[1-9][0-9]*$")
        self.assertEqual(answer.fields["RateLimit-Remaining"], "0")
        self.assertRegex(answer.json["detail"], "wait [0-9]+ seconds")

    def test_without_a_good_key(self):
        wrong = self.api.keys["read"][:-1] + "x"
        for left, (target, key) in enumerate((
                ("/metrics", None), ("/nowhere", None), ("/metrics", wrong), ("/%ff", None),
                ("/metrics", "x"))):
            answer = self.ask(target, "192.0.2.1", key)
            self.assertIn(answer.status, (400, 401, 404))
            self.assertEqual(answer.fields["RateLimit-Policy"], "5;w=86400")
            self.assertEqual(answer.fields["RateLimit-Limit"], "5")
            self.assertEqual(answer.fields["RateLimit-Remaining"], str(4 - left))
        self.refused(self.ask("/metrics", "192.0.2.1"))
        self.refused(self.ask("/nowhere", "192.0.2.1", wrong))
        # Neighbours, health, browsers that ask first and good keys are not touched.
        self.assertEqual(self.ask("/metrics", "192.0.2.2").status, 401)
        self.assertEqual(self.ask("/health", "192.0.2.1").status, 200)
        self.assertEqual(self.ask("/api/health/db", "192.0.2.1").status, 200)
        self.assertEqual(self.ask("/metrics", "192.0.2.1", method="OPTIONS").status, 204)
        self.assertEqual(self.ask("/metrics", "192.0.2.1", "read").status, 200)

    def test_a_64_of_v6_is_one_address(self):
        for i in range(5):
            self.assertEqual(self.ask("/metrics", f"2001:db8::{i}").status, 401)
        self.refused(self.ask("/metrics", "2001:db8::ffff:1"))
        self.assertEqual(self.ask("/metrics", "2001:db8:0:1::1").status, 401)

    def test_a_key_with_a_limit_of_its_own(self):
        def made(limit):
            return self.stack.tally("key", "create", "--scopes", "read", "--name", "own",
                                    "--limit", limit).strip()
        narrow, free = made("3/1d"), made("none")
        for left in (2, 1, 0):
            answer = self.ask("/metrics", "100.64.0.7", narrow)
            self.assertEqual(answer.status, 200)
            self.assertEqual(answer.fields["RateLimit-Policy"], "3;w=86400")
            self.assertEqual(answer.fields["RateLimit-Remaining"], str(left))
        self.refused(self.ask("/metrics", "100.64.0.8", narrow))
        for i in range(30):
            answer = self.ask("/metrics", f"100.64.0.{i}", free)
            self.assertEqual(answer.status, 200)
            self.assertNotIn("RateLimit-Policy", answer.fields)
        listed = self.stack.tally("key", "list", "--format", "tsv").splitlines()
        limits = {line.split("\t")[0]: line.split("\t")[5] for line in listed}
        self.assertEqual([limits[key.split("_")[1]] for key in (narrow, free)], ["3/1d", "none"])

    def test_a_key_wherever_it_is_shown(self):
        for i in range(20):
            answer = self.ask("/metrics", f"198.51.100.{i}", "admin")
            self.assertEqual(answer.status, 200)
            self.assertEqual(answer.fields["RateLimit-Remaining"], str(19 - i))
        self.refused(self.ask("/metrics", "198.51.100.99", "admin"))
        self.assertEqual(self.ask("/metrics", "198.51.100.99", "read").status, 200)
        text = self.ask("/metrics", "198.51.100.99", "read").body.decode()
        self.assertRegex(text, r'tally_api_limited_total\{limit="key"\} [1-9]')

    def test_an_address_with_all_its_keys(self):
        statuses = {self.ask("/health", "203.0.113.9").status for _ in range(1000)}
        self.assertEqual(statuses, {200})
        self.refused(self.ask("/health", "203.0.113.9"))
        self.refused(self.ask("/metrics", "203.0.113.9", "ingest"))
        self.assertEqual(self.ask("/health", "203.0.113.10").status, 200)

    def test_what_is_in_front_of_the_last_proxy_is_not_believed(self):
        for i in range(5):
            self.assertEqual(self.ask("/metrics", f"10.0.0.{i}, 192.0.2.77").status, 401)
        self.refused(self.ask("/metrics", "10.0.0.99, 192.0.2.77"))

    def test_wrong_rules(self):
        for arguments in (("--limit-key", "5"), ("--limit-anonymous", "0/1s"),
                          ("--limit-address", "1/1w"), ("--trusted-proxy", "proxy.example")):
            self.stack.run("tally-api", *arguments, code=2)


if __name__ == "__main__":
    unittest.main(verbosity=2)
