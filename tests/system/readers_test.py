"""Other processes read while tallyd ingests (asker.c, `tally usage`), and one gets stuck.

    readers_test.py                # some seconds of each part
    readers_test.py --minutes N    # N minutes in all: prints what was seen

Two loads run: one that this test counts, and `tally-bench load` beside it. Each answer must hold
every event that was acked before the question began, and none that was not sent before it ended.
Now and then both loads pause, so that cells are flushed. Then a reader is stopped inside a read
transaction: the log grows by pages that could be used again, and stat and metrics say who it is.
Killed, it is cleared, and the growth ends.
"""

import bisect
import json
import os
import signal
import subprocess
import sys
import threading
import time
import unittest

import support
from wire_client import Server

MINUTES = float(sys.argv[sys.argv.index("--minutes") + 1]) if "--minutes" in sys.argv else 0
PART_SECONDS = MINUTES * 60 / 3 if MINUTES else 3  # alone with readers, stuck, cleared
LOAD_RATE = 50000 if MINUTES else 2000
PART_COMMITS = 300    # at least, of the counted load
PAUSE_EVERY = 25 if MINUTES else 5
BATCH = 20
SUBJECTS = 5
SUBJECT = "reader-3"
PAGE = 4096
STUCK_PAGES_MIN = 2.0    # a commit: leaf, branches, roots, none of them used again
CLEARED_PAGES_MAX = 1.0
READER_SECONDS_MAX = 10  # a transaction of half a second, on a machine that is slow


class Counted(threading.Thread):
    """Sends batch after batch; when how many were sent, and acked, at which moment."""

    def __init__(self, server):
        super().__init__()
        self.client = support.Client(server.address())
        self.moments = {"sent": [0], "acked": [0]}
        self.totals = {"sent": [0], "acked": [0]}
        self.is_over = False
        self.is_paused = False
        self.error = None

    def note(self, what):
        # The total first, so that whoever finds the moment finds its total.
        self.totals[what].append(self.totals[what][-1] + BATCH)
        self.moments[what].append(time.monotonic_ns())

    def at(self, what, moment):
        """How many were sent or acked at or before the moment."""
        return self.totals[what][bisect.bisect_right(self.moments[what], moment) - 1]

    def run(self):
        number = 0
        try:
            while not self.is_over:
                if self.is_paused:
                    support.select.select([], [], [], 0.01)
                    continue
                batch = [{"subject": f"reader-{i % SUBJECTS}", "id": f"{number}-{i}"}
                         for i in range(BATCH)]
                self.note("sent")
                self.client.send("counted", batch, f"chunk-{number}")
                self.note("acked")
                number += 1
        except (AssertionError, OSError) as error:
            self.error = error

    def end(self):
        self.is_over = True
        self.join(60)
        assert not self.is_alive()
        self.client.close()


class Asker(threading.Thread):
    """Reads what a process that asks says, and holds it against what was sent."""

    def __init__(self, server, counted):
        super().__init__()
        self.counted = counted
        self.process = subprocess.Popen(
            [os.environ["TALLY_ASKER"], server.data, "ask", "counted", SUBJECT], text=True,
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
        self.answers = {}
        self.slowest_ms = {}
        self.wrong = []

    def check(self, form, began, ended, count):
        part = SUBJECTS if form in ("subject", "usage") else 1
        low = self.counted.at("acked", began) // part
        # A batch is noted before its first byte goes out.
        high = self.counted.at("sent", ended) // part
        if not low <= count <= high:
            self.wrong.append((form, low, count, high))
        self.answers[form] = self.answers.get(form, 0) + 1
        self.slowest_ms[form] = max(self.slowest_ms.get(form, 0), (ended - began) / 1e6)

    def run(self):
        for line in self.process.stdout:
            form, began, ended, count = line.split()
            self.check(form, int(began), int(ended), int(count))

    def end(self):
        self.process.stdin.close()
        self.join(120)
        said = self.process.stderr.read()
        code = self.process.wait(60)
        self.process.stdout.close()
        self.process.stderr.close()
        assert code == 0 and not said, (code, said)


class Watch(threading.Thread):
    """What tallyd says of the oldest reader, at the most, since it was asked last."""

    def __init__(self, server):
        super().__init__()
        self.server = server
        self.stopping = threading.Event()
        self.oldest = 0

    def run(self):
        while not self.stopping.wait(0.25):
            self.oldest = max(
                self.oldest, self.server.metric("tally_ledger_oldest_reader_seconds"))

    def end(self):
        self.stopping.set()
        self.join(60)


class Readers(unittest.TestCase):
    def setUp(self):
        if not os.path.exists(os.environ.get("TALLY_ASKER", "")):
            support.skip("TALLY_ASKER names no program asker")

    def shards(self):
        said = self.server.run(
            "tally", "ledger", "stat", "--data", self.server.data, "--format", "json")
        return json.loads(said.stdout)["shards"]

    def load(self, seconds):
        self.seed += 1 << 40
        return self.server.start(
            "tally-bench", "load", "--to", self.server.tallyd()["tcp"], "--rate", LOAD_RATE,
            "--seconds", seconds, "--chunk", 500, "--duplicates", 0, "--seed", self.seed,
            "--format", "json")

    def ask_by_command(self):
        began = time.monotonic_ns()
        count = int(self.server.usage("counted", SUBJECT))
        self.asker.check("usage", began, time.monotonic_ns(), count)

    def burst(self, seconds):
        """Both loads for so long, `tally usage` again and again beside them; then a pause."""
        load = self.load(max(1, int(seconds)))
        until = time.monotonic() + seconds
        while time.monotonic() < until or load.poll() is None:
            self.ask_by_command()
        out, err = load.communicate(timeout=60)
        self.assertEqual(load.returncode, 0, out + err)
        self.counted.is_paused = True
        flushes = self.server.metric("tally_ledger_flushes_total")
        support.wait_for(
            "a flush", lambda: self.server.metric("tally_ledger_flushes_total") > flushes)
        self.ask_by_command()
        self.counted.is_paused = False

    def figures(self):
        return (sum(shard["log_bytes"] for shard in self.shards()),
                self.server.metric("tally_ledger_block_bytes_total"),
                self.server.metric("tally_ledger_commits_total"))

    def part(self, name):
        """Runs the loads for a part; returns the log's pages a commit beyond the blocks' bytes."""
        before = self.figures()
        flushes = self.server.metric("tally_ledger_flushes_total")
        until = time.monotonic() + PART_SECONDS
        while (time.monotonic() < until
               or self.server.metric("tally_ledger_commits_total") < before[2] + PART_COMMITS):
            self.burst(min(PAUSE_EVERY, PART_SECONDS))
            self.assertIsNone(self.counted.error)
            self.assertEqual(self.asker.wrong, [])
            self.assertIsNone(self.asker.process.poll())
        after = self.figures()
        grown, blocks, commits = (b - a for a, b in zip(before, after))
        pages = (grown - blocks) / PAGE / commits
        flushes = self.server.metric("tally_ledger_flushes_total") - flushes
        print(f"{name}: {commits:.0f} commits, {flushes:.0f} flushes, log grew {grown} bytes "
              f"for {blocks:.0f} of blocks: {pages:.2f} pages a commit beside them", flush=True)
        return pages

    def hold(self):
        """A process that is stopped inside its read transactions."""
        holder = subprocess.Popen(
            [os.environ["TALLY_ASKER"], self.server.data, "hold"], stdout=subprocess.PIPE)
        self.addCleanup(holder.stdout.close)
        self.addCleanup(holder.wait)
        self.addCleanup(holder.kill)
        self.assertEqual(holder.stdout.readline(), b"holding\n")
        holder.send_signal(signal.SIGSTOP)
        return holder

    def is_oldest(self, pid):
        shards = self.shards()
        return all(shard["oldest_reader_pid"] == pid and shard["oldest_reader_commits"] > 0
                   for shard in shards)

    def check_stuck(self, holder):
        seen = self.watch.oldest
        self.assertLessEqual(seen, READER_SECONDS_MAX)
        print(f"the oldest snapshot of those who ask: {seen:.0f} s")
        pages = self.part("a reader is stuck")
        self.assertGreaterEqual(pages, STUCK_PAGES_MIN)
        self.assertTrue(self.is_oldest(holder.pid), self.shards())
        commits = sum(shard["oldest_reader_commits"] for shard in self.shards())
        self.assertGreaterEqual(self.watch.oldest, min(3, PART_SECONDS - 1))
        print(f"stat names {holder.pid}, {commits} commits behind; metrics: "
              f"{self.watch.oldest:.0f} s")

    def check_cleared(self, holder):
        dead = self.server.metric("tally_ledger_dead_readers_total")
        holder.kill()
        holder.wait()
        support.wait_for(
            "clearing", lambda: self.server.metric("tally_ledger_dead_readers_total") > dead)
        support.wait_for("nobody is stuck", lambda: self.server.metric(
            "tally_ledger_oldest_reader_seconds") <= READER_SECONDS_MAX)
        self.assertFalse(self.is_oldest(holder.pid))
        pages = self.part("it was cleared")
        self.assertLessEqual(pages, CLEARED_PAGES_MAX)

    def check_end(self):
        self.counted.end()
        self.assertIsNone(self.counted.error)
        total = self.counted.totals["acked"][-1]
        self.asker.end()
        self.assertEqual(self.asker.wrong, [])
        for form in ("merged", "subject", "stream", "minutes", "usage"):
            self.assertGreater(self.asker.answers.get(form, 0), 0, form)
        print(f"{total} events counted; answers {self.asker.answers}; "
              f"slowest ms {({k: round(v) for k, v in self.asker.slowest_ms.items()})}")
        self.watch.end()
        self.server.end()
        self.assertEqual(int(self.server.usage("counted", SUBJECT)), total // SUBJECTS)
        said = self.server.run("tally", "ledger", "verify", "--data", self.server.data).stdout
        self.assertTrue(said.startswith("0 findings"), said)

    def test_readers_under_load(self):
        self.seed = 1
        with Server() as self.server:
            for meter, kind in (("counted", "counted"), ("load", "load")):
                self.server.tally(
                    "meter", "add", meter, "--event-type", kind, "--aggregation", "count")
            self.counted = Counted(self.server)
            self.asker = Asker(self.server, self.counted)
            self.watch = Watch(self.server)
            for thread in (self.counted, self.asker, self.watch):
                thread.start()
            self.part("readers come and go")
            holder = self.hold()
            self.check_stuck(holder)
            self.check_cleared(holder)
            self.check_end()


if __name__ == "__main__":
    if "--minutes" in sys.argv:
        del sys.argv[sys.argv.index("--minutes"):sys.argv.index("--minutes") + 2]
    unittest.main()
