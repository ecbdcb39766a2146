"""A real tallyd and what it keeps: billing zones, hours and quarter hours, over many days."""

import json
import os
import shutil
import struct
import subprocess
import unittest

import support
from wire_client import Server

DAY = 86400
BEGIN = 1790000000 // DAY * DAY  # a midnight in September 2026


def moment(seconds):
    return subprocess.run(["date", "-u", "-d", f"@{seconds}", "+%Y-%m-%dT%H:%M:%SZ"],
                          check=True, capture_output=True, text=True).stdout.strip()


class Days(Server):
    """Its clock is a file, moved by hand."""

    def __init__(self, *arguments):
        super().__init__(*arguments)
        self.clock = os.path.join(self.folder, "clock")
        self.set_clock(BEGIN)
        self.env["TALLY_CLOCK"] = self.clock
        self.total = 0  # events

    def set_clock(self, seconds):
        # In place: programs have it mapped.
        with open(self.clock, "r+b" if os.path.exists(self.clock) else "wb") as file:
            file.write(struct.pack("<q", seconds * 10 ** 9))
        self.now = seconds

    def restart(self, *arguments):
        self.end()
        self.arguments = arguments
        self.begin()

    def meter(self):
        self.run("tally", "meter", "add", "calls", "--event-type", "call",
                 "--aggregation", "count")
        # The next start knows it from its first block on.
        self.restart(*self.arguments)

    def send(self, number, time):
        """Ten events in each of ten hours from the time on."""
        client = support.Client(self.address())
        for hour in range(10):
            records = [{"subject": f"s{i}", "id": f"{number}-{hour}-{i}"} for i in range(10)]
            client.send("call", records, f"chunk-{number}-{hour}", time + hour * 3601)
        client.close()
        self.total += 100

    def stat(self):
        said = self.run("tally", "ledger", "stat", "--data", self.data, "--format", "json")
        return json.loads(said.stdout)

    def windows(self):
        return {(row["width"], row["zone"]): row for row in self.stat()["shards"][0]["windows"]}

    def count(self, *arguments):
        said = self.run("tally", "usage", "--meter", "calls",
                        "--format", "tsv", *arguments)
        lines = said.stdout.strip().split("\n")
        column = lines[0].split("\t").index("calls")
        return sum(int(line.split("\t")[column]) for line in lines[1:])

    def conf(self, name="ledger.conf"):
        with open(os.path.join(self.data, name), encoding="ascii") as file:
            return dict(line.rstrip("\n").split(" = ", 1) for line in file if " = " in line)


class Retain(unittest.TestCase):
    def test_what_is_kept_is_remembered(self):
        with Days("--shards", "1", "--billing-zones", "Europe/Berlin,Asia/Kathmandu",
                  "--keep-quarter-hours", "1d", "--keep-hours", "4d") as server:
            server.meter()
            for day in range(10):
                server.set_clock(BEGIN + day * DAY + 12 * 3600)
                server.send(day, server.now - 40000)
                # Cells are written at the end. Without options it goes on as the directory says.
                server.restart()
            self.assertEqual(server.conf()["billing_zones"], "Europe/Berlin,Asia/Kathmandu")
            self.assertEqual(server.conf()["keep_hours_s"], str(4 * DAY))
            self.assertEqual(server.conf("ledger.shape")["keep_quarter_hours_s"], str(DAY))
            windows = server.windows()
            self.assertEqual(windows["quarter-hour", "UTC"]["kept_from"], moment(server.now - DAY))
            self.assertEqual(windows["hour", "UTC"]["kept_from"], moment(server.now - 4 * DAY))
            for zone in "Europe/Berlin", "Asia/Kathmandu":
                self.assertEqual(windows["day", zone]["kept_from"], moment(0))
            for window in "quarter-hour", "hour", "day", "month":
                for zone in "UTC", "Europe/Berlin", "Asia/Kathmandu", "America/New_York":
                    self.assertEqual(
                        server.count("--window", window, "--zone", zone), server.total)
            self.assertEqual(server.conf()["groups_max"], "1000")
            server.restart("--billing-zones", "none", "--keep-hours", "0", "--max-groups", "7")
            self.assertEqual(server.conf("ledger.shape")["groups_max"], "7")
            self.assertEqual(server.conf()["keep_hours_s"], "0")
            self.assertEqual(server.conf().get("billing_zones", ""), "")
            self.assertEqual(server.count("--window", "day", "--zone", "Asia/Kathmandu"),
                             server.total)
            server.end()
            said = server.run("tally", "ledger", "verify", "--data", server.data).stdout
            self.assertTrue(said.startswith("0 findings"), said)
            server.run("tally", "ledger", "rebuild", "--data", server.data)
            self.assertEqual(server.conf()["keep_quarter_hours_s"], str(DAY))
            self.assertEqual(server.count(), server.total)

    def test_the_log_is_deleted(self):
        """Days of events, of which the log keeps three, and sums all."""
        with Days("--shards", "2", "--keep-log", "3d", "--keep-quarter-hours", "1d") as server:
            server.meter()
            backup = os.path.join(server.folder, "backup")
            for day in range(8):
                server.set_clock(BEGIN + day * DAY + 12 * 3600)
                server.send(day, server.now - 40000)
                server.restart()
            support.wait_for("deleting", lambda: all(
                shard["first_block"]["arrival"] >= moment(server.now - 3 * DAY) and
                shard["log_free_bytes"] > 0 for shard in server.stat()["shards"]))
            for window in "none", "day", "month":
                self.assertEqual(server.count("--window", window), server.total)
            said = server.run("tally", "usage", "--meter", "calls", "--window", "minute", code=1)
            self.assertIn("the log is kept from", said.stderr)
            self.assertEqual(
                server.count("--window", "minute", "--from", moment(server.now - 2 * DAY)),
                200)
            server.run("tally", "ledger", "backup", "--to", backup)
            server.end(9)
            server.begin()
            self.assertEqual(server.count(), server.total)
            server.end()
            new = os.path.join(server.folder, "new")
            server.run("tally", "ledger", "restore", "--from", backup, "--data", new)
            for data in server.data, new:
                said = server.run("tally", "ledger", "verify", "--data", data).stdout
                self.assertTrue(said.startswith("0 findings"), said)
                self.assertEqual(server.count("--data", data), server.total)
                said = server.run("tally", "ledger", "rebuild", "--data", data, code=1)
                self.assertIn("only the cells know of them", said.stderr)

    def test_what_cannot_be_is_refused(self):
        server = Server()
        self.addCleanup(shutil.rmtree, server.folder)
        for arguments, complaint in (
                (["--billing-zones", "Europe/Berlin,"], "separated by commas"),
                (["--billing-zones", "Europe/Nowhere"], "Europe/Nowhere"),
                (["--keep-hours", "5m"], "hours kept for 300 s"),
                (["--max-groups", "0"], "--max-groups"),
                (["--keep-quarter-hours", "-1d"], "--keep-quarter-hours")):
            said = subprocess.run(
                [*server.command("tallyd"), "--tcp", "none", "--metrics", "none", *arguments],
                env=server.env, cwd=server.folder, capture_output=True, text=True, timeout=60,
                check=False)
            self.assertNotEqual(said.returncode, 0)
            self.assertIn(complaint, said.stderr + said.stdout)
            self.assertFalse(support.SANITIZER.search(said.stderr), said.stderr)


if __name__ == "__main__":
    unittest.main()
