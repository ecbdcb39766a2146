"""tallyd under the recorder: power cuts along what it wrote, some of them met by tallyd again.

Clients send chunks and put a mark among the records when the ack has come, so an event counts as
acked no earlier than anybody knew of it. TALLY_SEED and TALLY_POINTS make it another or a longer
one.
"""

import os
import random
import re
import struct
import subprocess
import sys
import threading
import unittest

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "system"))

import support  # noqa: E402
import wire_client  # noqa: E402

TRACE = os.environ["TALLY_TRACE"]
RECORDER = os.environ["TALLY_RECORDER"]
SEED = int(os.environ.get("TALLY_SEED", "1"))
POINTS = int(os.environ.get("TALLY_POINTS", "60"))
THROUGH_TALLYD = 3
CONNECTIONS = 2
CHUNKS = 30  # of a connection and a session

MARK = 11  # RECORD_MARK
MAGIC = 0x4B435254


def events(number):
    """What chunk `number` holds; torture.trace knows it, too."""
    return [[None, {"subject": f"s{(number + i) % 5}", "id": f"{number}-{i}", "n": i}]
            for i in range(1 + number % 7)]


def message(number):
    return ["api_call", events(number), {"chunk": f"c{number}", "tally": {"results": True}}]


class Recorded(wire_client.Server):
    """A tallyd whose data directory is recorded."""

    def __init__(self):
        super().__init__("--shards", "2", "--keep-log", "1d")
        self.root = os.path.join(self.folder, "root")
        os.mkdir(self.root)
        self.data = os.path.join(self.root, "data")
        self.file = os.path.join(self.folder, "recording")
        self.env.update({
            "TALLY_DATA": self.data, "LD_PRELOAD": RECORDER, "TALLY_RECORD_ROOT": self.root,
            "TALLY_RECORD_FILE": self.file, "TALLY_RECORD_SYNC_US": "300",
            "ASAN_OPTIONS": "verify_asan_link_order=0"})

    def mark(self, text):
        """One append, as the recorder's records."""
        data = text.encode()
        with open(self.file, "ab", buffering=0) as file:
            file.write(struct.pack("<IIBB6xQQq", MAGIC, len(data), MARK, 0, 0, 0, 0) + data)

    def send(self, numbers):
        with self.connect() as wire:
            for number in numbers:
                self.mark(f"S {number}")
                answer = wire.ask(message(number))
                assert answer["ack"] == f"c{number}" and not answer.get("rejected"), answer
                self.mark(f"A {number}")

    def send_all(self, first):
        """Each connection on its own thread."""
        threads = [threading.Thread(
            target=self.send, args=(range(first + i, first + CONNECTIONS * CHUNKS, CONNECTIONS),))
            for i in range(CONNECTIONS)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()


class Again(wire_client.Server):
    """A tallyd on the disk of a power cut."""

    def __init__(self):
        super().__init__()
        self.root = os.path.join(self.folder, "root")
        self.data = os.path.join(self.root, "data")
        self.env["TALLY_DATA"] = self.data

    def begin(self):
        # What tallyd says about itself while it runs is not synced: a power cut may leave half.
        stale = os.path.join(self.data, "tallyd.json")
        if os.path.exists(stale):
            os.unlink(stale)
        super().begin()


class PowerCuts(unittest.TestCase):
    def records(self, path):
        """How many records the file has."""
        count = 0
        with open(path, "rb") as file:
            while header := file.read(40):
                magic, size = struct.unpack_from("<II", header)
                assert magic == MAGIC
                file.seek(size, os.SEEK_CUR)
                count += 1
        return count

    def record(self, server):
        server.send_all(0)
        server.tally("meter", "add", "calls", "--event-type", "api_call", "--aggregation", "count")
        server.end()
        server.begin()
        server.send_all(CONNECTIONS * CHUNKS)
        server.end()

    def met_by_tallyd(self, recorded, position, variant):
        again = Again()
        run = subprocess.run(
            [TRACE, recorded.file, recorded.root, "--seed", str(SEED), "--build", again.root,
             "--at", str(position), "--variant", str(variant)],
            capture_output=True, text=True, check=True)
        chunks = {int(number): letter == "A" for letter, number in
                  (line.split() for line in run.stdout.splitlines())}
        with again:
            for number, is_acked in chunks.items():
                answer = again.ask(message(number))
                self.assertEqual(answer["ack"], f"c{number}")
                self.assertFalse(answer.get("rejected") or answer.get("conflicts"), answer)
                if is_acked:
                    self.assertEqual(answer["duplicates"], len(events(number)), (number, answer))
            again.end()
            again.tally("ledger", "verify")
            ids = re.findall(r'"id":"([^"]+)"', again.tally("ledger", "dump"))
            self.assertEqual(sorted(ids), sorted(
                f"{number}-{i}" for number in chunks for i in range(1 + number % 7)))

    def seen_without(self, server, sync):
        """Acks that did not wait for it are found."""
        run = subprocess.run(
            [TRACE, server.file, server.root, "--seed", str(SEED), "--points", "400",
             "--without", sync], capture_output=True, text=True, check=False)
        self.assertEqual(run.returncode, 1, run.stderr + run.stdout)
        self.assertIn("power cut after record", run.stderr)

    def test_nothing_lost_and_nothing_twice(self):
        draw = random.Random(SEED)
        with Recorded() as server:
            self.record(server)
            count = self.records(server.file)
            run = subprocess.run(
                [TRACE, server.file, server.root, "--seed", str(SEED), "--points", str(POINTS)],
                capture_output=True, text=True, check=False)
            self.assertEqual(run.returncode, 0, run.stderr + run.stdout)
            self.assertIn(f"chunks acked {2 * CONNECTIONS * CHUNKS}", run.stdout)
            print(run.stdout, end="")
            self.seen_without(server, "fdatasync data/shards/*/log/data.mdb")
            self.seen_without(server, "dsync data/shards/*/log/data.mdb")
            for variant in range(THROUGH_TALLYD):
                self.met_by_tallyd(server, draw.randrange(count // 10, count), variant)


if __name__ == "__main__":
    unittest.main()
