"""Idempotency-Key: one request, one effect, one answer; whoever sends it, and however often."""

import threading
import unittest

import api_client
import support

METERS = "/api/v1/meters"


def meter(slug, **more):
    return {"slug": slug, "aggregation": "COUNT", "eventType": "once", **more}


class Once(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.stack = support.Stack()
        cls.stack.__enter__()
        cls.addClassCleanup(cls.stack.__exit__, None, None, None)
        cls.api = api_client.start(cls.stack)
        cls.addClassCleanup(cls.api.close)
        cls.other = cls.stack.tally("key", "create", "--scopes", "admin", "--name", "other").strip()

    def make(self, key, body, owner="admin", **fields):
        return self.api.post(METERS, body, key=owner,
                             fields={"Idempotency-Key": key, **fields})

    def rows(self, key):
        return self.stack.sql(
            f"SELECT status, body IS NULL FROM idempotency_keys WHERE key = '{key}'")

    def test_the_same_again_is_answered_again(self):
        first = self.make("k1", meter("once_a"))
        again = self.make("k1", meter("once_a"))
        self.assertEqual((first.status, again.status), (200, 200))
        self.assertEqual(first.body, again.body)
        self.assertEqual(first.fields["Content-Type"], again.fields["Content-Type"])
        self.assertIsNone(first.fields["Idempotency-Replayed"])
        self.assertEqual(again.fields["Idempotency-Replayed"], "true")
        # Even when it would not be answered so any more.
        self.assertEqual(self.api.ask("DELETE", METERS + "/once_a").status, 204)
        self.assertEqual(self.make("k1", meter("once_a")).body, first.body)
        self.assertEqual(self.api.get(METERS + "/once_a").status, 404)
        # Without the key it is another request.
        self.assertEqual(self.api.post(METERS, meter("once_a")).status, 200)
        self.assertEqual(self.api.post(METERS, meter("once_a")).status, 409)

    def test_another_request_under_the_key(self):
        self.assertEqual(self.make("k2", meter("once_b")).status, 200)
        for body in (meter("once_c"), meter("once_b", description="x")):
            answer = self.make("k2", body)
            self.assertEqual(answer.status, 422)
            self.assertIn("another request", answer.json["detail"])
        self.assertEqual(self.api.get(METERS + "/once_c").status, 404)

    def test_a_key_belongs_to_who_sent_it(self):
        self.assertEqual(self.make("k3", meter("once_d")).status, 200)
        self.assertEqual(self.make("k3", meter("once_e"), owner=self.other).status, 200)
        self.assertEqual(self.make("k3", meter("once_e"), owner="read").status, 403)

    def test_what_failed_may_be_tried_again(self):
        self.assertEqual(self.make("k4", {"slug": "once_f"}).status, 400)
        self.assertEqual(self.rows("k4"), [])
        self.assertEqual(self.make("k4", meter("once_f")).status, 200)
        self.assertEqual(self.rows("k4"), [["200", "f"]])

    def test_keys_that_are_none(self):
        for key in ("", " ", "a b", "ü", "x" * 256):
            answer = self.make(key.encode("utf-8"), meter("once_g"))
            self.assertEqual(answer.status, 400, key)
        self.assertEqual(self.make("x" * 255, meter("once_g")).status, 200)
        # Elsewhere it says nothing.
        self.assertEqual(self.api.get(METERS, fields={"Idempotency-Key": "a b"}).status, 200)

    def test_one_that_is_under_way_and_one_that_was_left(self):
        first = self.make("k5", meter("once_h"))
        self.stack.sql("UPDATE idempotency_keys SET status = NULL, content_type = NULL, "
                       "body = NULL WHERE key = 'k5'")
        answer = self.make("k5", meter("once_h"))
        self.assertEqual((answer.status, answer.fields["Retry-After"]), (409, "1"))
        self.assertEqual(self.make("k5", meter("once_i")).status, 422)
        # Its server died a minute ago: carried out anew, which says that the meter is there.
        self.stack.sql("UPDATE idempotency_keys SET begun_at = begun_at - interval '61 s' "
                       "WHERE key = 'k5'")
        self.assertEqual(self.make("k5", meter("once_i")).status, 422)
        answer = self.make("k5", meter("once_h"))
        self.assertEqual(answer.status, 409)
        self.assertIn("once_h", answer.json["detail"])
        self.assertEqual(first.status, 200)

    def test_a_day_later_it_is_forgotten(self):
        self.assertEqual(self.make("k6", meter("once_j")).status, 200)
        self.stack.sql("UPDATE idempotency_keys SET begun_at = begun_at - interval '24 h' "
                       "WHERE key = 'k6'")
        self.assertEqual(self.make("k7", meter("once_k")).status, 200)
        self.assertEqual(self.rows("k6"), [])
        self.assertEqual(self.make("k6", meter("once_l")).status, 200)

    def test_many_at_a_time_make_one(self):
        answers = []

        def send():
            caller = api_client.Caller(self.api.address, self.api.keys)
            answers.append(caller.post(METERS, meter("once_m"), fields={"Idempotency-Key": "k8"}))
            caller.close()
        threads = [threading.Thread(target=send) for _ in range(12)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        good = [answer for answer in answers if answer.status == 200]
        self.assertEqual(len(answers), 12)
        self.assertEqual({answer.status for answer in answers} - {200, 409}, set())
        self.assertEqual(len([answer for answer in good
                              if answer.fields["Idempotency-Replayed"] is None]), 1)
        self.assertEqual(len({answer.body for answer in good}), 1)


if __name__ == "__main__":
    unittest.main(verbosity=2)
