"""A real tallyd and its operator: backups while it ingests, files that may not grow."""

import json
import os
import resource
import threading
import unittest

import support
from wire_client import Server

BATCH = 200
GROWTH = 2 << 20


def batch(number):
    return [{"subject": f"subject-{(number * 7 + i) % 50}", "id": f"{number}-{i}",
             "padding": f"{number * BATCH + i:x}" * 20} for i in range(BATCH)]


class Sender(threading.Thread):
    """Sends batch after batch until it is told to stop; acked is how many were."""

    def __init__(self, server):
        super().__init__()
        self.client = support.Client(server.address())
        self.acked = 0
        self.is_over = False
        self.error = None

    def run(self):
        try:
            while not self.is_over:
                self.client.send("api_call", batch(self.acked), f"chunk-{self.acked}")
                self.acked += 1
        except (AssertionError, OSError) as error:
            self.error = error

    def end(self):
        self.is_over = True
        self.join(60)
        assert not self.is_alive()
        self.client.close()


class Operate(unittest.TestCase):
    def events(self, server, data):
        stat = server.run("tally", "ledger", "stat", "--data", data, "--format", "json")
        return sum(shard["events"] for shard in json.loads(stat.stdout)["shards"])

    def verify(self, server, data):
        said = server.run("tally", "ledger", "verify", "--data", data).stdout
        self.assertTrue(said.startswith("0 findings"), said)

    def test_backups_while_it_ingests(self):
        with Server() as server:
            backup = os.path.join(server.folder, "backup")
            sender = Sender(server)
            sender.start()
            for number in range(1, 4):
                wanted = sender.acked + 5
                support.wait_for("acks", lambda: sender.acked >= wanted or sender.error)
                self.assertIsNone(sender.error)
                acked = sender.acked
                said = server.run("tally", "ledger", "backup", "--to", backup).stdout
                self.assertTrue(said.startswith(f"backup {number}: "), said)
                new = os.path.join(server.folder, f"new-{number}")
                server.run("tally", "ledger", "restore", "--from", backup, "--data", new)
                self.assertGreaterEqual(self.events(server, new), acked * BATCH)
                server.run("tally", "ledger", "rebuild", "--data", new)
                self.verify(server, new)
            sender.end()
            server.run("tally", "ledger", "backup", "--to", backup)
            server.end()
            last = os.path.join(server.folder, "last")
            server.run("tally", "ledger", "restore", "--from", backup, "--data", last)
            dumps = [server.run("tally", "ledger", "dump", "--data", data).stdout
                     for data in (server.data, last)]
            self.assertGreater(len(dumps[0]), 0)
            self.assertEqual(dumps[0], dumps[1])

    def test_files_that_may_not_grow_end_it_and_lose_nothing(self):
        with Server("--shards", "1") as server:
            log = os.path.join(server.data, "shards", "0000", "log", "data.mdb")
            limit = os.path.getsize(log) + GROWTH
            resource.prlimit(server.process.pid, resource.RLIMIT_FSIZE, (limit, limit))
            sender = Sender(server)
            sender.start()
            support.wait_for("the end of tallyd", lambda: server.process.poll() is not None)
            self.assertEqual(server.process.wait(), 1)
            sender.end()
            self.assertIsNotNone(sender.error)
            self.assertGreater(sender.acked, 0)
            said = server.log()
            self.assertIn("ledger_failed", said)
            self.assertIn("allow larger files", said)
            self.assertNotRegex(said, support.SANITIZER)
            server.process = None
            server.begin()
            # All of it again, and what was not acked: each counts once.
            client = support.Client(server.address())
            for number in range(sender.acked + 1):
                client.send("api_call", batch(number), f"chunk-{number}")
            client.close()
            self.assertEqual(self.events(server, server.data), (sender.acked + 1) * BATCH)
            server.end()
            self.verify(server, server.data)


if __name__ == "__main__":
    unittest.main()
