"""A good client beside clients that mean no good (hostile.c), of all kinds at once.

    hostile_test.py               # few, until each kind has done its harm; no clock is judged
    hostile_test.py --minute      # many, a minute: prints rates and latencies, and judges them

The good client is `tally-bench load` in an open loop, first alone, then beside the others. With
--minute it is measured a third time while the others, as many, are at another tallyd of the same
machine: so much it loses by sharing the CPUs and the disk with them, whatever its own tallyd does.
With a shared key, where everybody on TCP is a stranger, it is a client on the unix socket.
"""

import contextlib
import faulthandler
import json
import os
import re
import resource
import select
import socket
import subprocess
import sys
import threading
import time
import unittest
import urllib.request

import support

IS_LONG = "--minute" in sys.argv
SECONDS = int(os.environ.get("TALLY_SECONDS", "60" if IS_LONG else "4"))  # of the good client
HOSTILE_SECONDS = 300           # at most: they are stopped
REACH_SECONDS = 150             # until each kind has done its harm, on a machine that is slow
STUCK_SECONDS = 900 if IS_LONG else 280  # a test that takes so long says where it is
RATE = int(os.environ.get("TALLY_RATE", "50000" if IS_LONG else "2000"))
CHUNK = 500
OTHER_SEED = 1 << 40  # the load's events are a sequence that the seed moves along: far from 1
IDLE = 2000
SETTLED_LOOKS = 20  # that find the same memory
IDLE_BYTES_MAX = 4096  # of tallyd's own memory for each, its slot aside
RATE_KEPT_MIN = 0.95
P99_FACTOR_MAX = 10.0  # the server, the load and the attackers share what CPUs there are
P99_ELSEWHERE_FACTOR_MAX = 1.5  # of what it is while they are at another tallyd
P99_FLOOR_US = 20000  # below it a ratio says more about the machine's scheduler than about tallyd

MEMORY_MIB = 256 if IS_LONG else 64
INFLATED_MIB = 64 if IS_LONG else 16
BOMB_MIB = INFLATED_MIB - 1  # its bytes are more than the share of a connection
RECEIVE_MIB = 16         # delivered by the kernel before reading stopped
RESIDENT_MIB_MAX = 2048  # with everything else, and a sanitizer's own
CONNECTIONS_MAX = 512 if IS_LONG else 256

# "half" fills the memory; with it there are more connections than may be, without it fewer.
OPEN = {"slow": 150, "half": 60, "deaf": 8, "bytewise": 16, "resend": 4, "bomb": 2, "ratio": 2,
        "nils": 2, "garbage": 6, "storm": 4, "reset": 4, "udp": 1, "mute": 300}
KEYED = {"digest": 20, "mute": 60, "garbage": 4, "resend": 4, "storm": 4, "reset": 4}
if not IS_LONG:
    OPEN = {"slow": 40, "half": 16, "deaf": 4, "bytewise": 8, "resend": 2, "bomb": 2, "ratio": 2,
            "nils": 1, "garbage": 4, "storm": 2, "reset": 2, "udp": 1, "mute": 176}
    KEYED = {"digest": 8, "mute": 20, "garbage": 2, "resend": 2, "storm": 2, "reset": 2}

BROKEN = "tally_ingest_frames_broken_total"
FAILED = "tally_ingest_handshakes_failed_total"


def program(name):
    path = os.environ.get("TALLY_" + name.upper().replace("-", "_"))
    return path or os.path.join(support.BIN_DIR, name)


class Watch(threading.Thread):
    """The most memory that tallyd said its connections hold, until it is stopped."""

    def __init__(self, stack):
        super().__init__()
        self.stack = stack
        self.stopping = threading.Event()
        self.most = 0
        self.samples = 0

    def run(self):
        while not self.stopping.wait(0.2):
            self.most = max(self.most, self.stack.metric("tally_ingest_memory_bytes"))
            self.samples += 1

    def stop(self):
        self.stopping.set()
        self.join(60)


class Hostile(unittest.TestCase):
    def setUp(self):
        if not os.path.exists(program("hostile")):
            support.skip("the program hostile is not built: TALLY_HOSTILE names it")
        self.stack = support.Stack()

    def tearDown(self):
        self.stack.__exit__(None, None, None)

    def up(self, *more, stack=None):
        stack = stack or self.stack
        limits = more or ("--connections-max", CONNECTIONS_MAX)
        stack.up("--", "--memory", f"{MEMORY_MIB}M", "--inflated-max", f"{INFLATED_MIB}M",
                 "--stall-timeout", "2s", *limits)
        for meter, kind in (("good", "load"), ("bad", "hostile")):
            stack.tally("meter", "add", meter, "--event-type", kind, "--aggregation", "count")

    def hostile_start(self, kinds, stack=None):
        """They are ready, and begin when hostile_begin says so."""
        facts = (stack or self.stack).tallyd()
        process = subprocess.Popen(
            [program("hostile"), facts["tcp"], facts.get("udp") or "none", str(HOSTILE_SECONDS),
             str(BOMB_MIB), *[f"{kind}={count}" for kind, count in kinds.items()]],
            env=self.stack.env, text=True, stdin=subprocess.PIPE, stdout=subprocess.PIPE,
            stderr=subprocess.PIPE)
        self.addCleanup(process.communicate)
        self.addCleanup(process.kill)
        self.assertEqual(process.stdout.readline(), "ready\n")
        return process

    def hostile_begin(self, process):
        process.stdin.write("\n")
        process.stdin.flush()

    def hostile_end(self, process, kinds):
        """What it did; every kind must have been at work."""
        self.assertIsNone(process.poll(), "it ended by itself")
        process.terminate()
        out, err = process.communicate(timeout=60)
        self.assertEqual(process.returncode, 0, err)
        self.assertFalse(support.SANITIZER.search(err), err)
        did = json.loads(out)
        print(json.dumps(did))
        for kind in kinds:
            self.assertGreater(did[kind]["connected"], 0, kind)
            if kind not in ("mute", "storm"):
                self.assertGreater(did[kind]["sent"], 0, kind)
        return did

    def reach(self, process, counts):
        """Waits until each counter, a metric's name and a label, is above its value."""
        missing = []

        def is_reached():
            self.assertIsNone(process.poll(), "it ended by itself")
            seen = {name: self.counters(name) for name in {name for name, _ in counts}}
            missing[:] = [f"{label}: {seen[name].get(label, 0)}, not above {value}"
                          for (name, label), value in counts.items()
                          if seen[name].get(label, 0) <= value]
            return not missing

        began = time.monotonic()
        try:
            support.wait_for("what they are to do", is_reached, REACH_SECONDS)
        except AssertionError:
            self.fail(f"not within {REACH_SECONDS} s: {missing}; turns of the loop: "
                      f"{self.stack.metric('tally_ingest_turns_total')}, of the room: "
                      f"{self.stack.metric('tally_ingest_room_turns_total')}")
        print(f"each kind had done its harm {time.monotonic() - began:.1f} s later")

    def load(self, seed, seconds):
        return self.stack.start(
            "tally-bench", "load", "--to", self.stack.tallyd()["tcp"], "--rate", RATE, "--seconds",
            seconds, "--chunk", CHUNK, "--duplicates", 0, "--seed", seed, "--format", "json")

    def load_end(self, process, seconds):
        out, err = process.communicate(timeout=seconds + 120)
        self.assertEqual(process.returncode, 0, out + err)
        return json.loads(out)

    def usage(self, meter):
        rows = json.loads(self.stack.tally("usage", "--meter", meter, "--format", "json"))["rows"]
        return {row["subject"]: int(row["value"]) for row in rows}

    def counters(self, name):
        """A metric's rows that are not 0, by label; "" of one that has none."""
        with urllib.request.urlopen(
                f"http://{self.stack.tallyd()['metrics']}/metrics", timeout=30) as answer:
            rows = re.findall(rf'^{name}(?:{{[a-z]+="([^"]*)"}})? (\S+)$', answer.read().decode(),
                              re.MULTILINE)
        return {label: int(float(value)) for label, value in rows if float(value) > 0}

    def resident_mib(self):
        with open(f"/proc/{self.stack.tallyd()['pid']}/status", encoding="utf-8") as file:
            rows = dict(line.split(":", 1) for line in file)
        return int(rows["VmHWM"].split()[0]) / 1024

    def memory_check(self, watch):
        self.assertGreater(watch.samples, 0)
        print(f"connections held at most {watch.most / (1 << 20):.0f} MiB of {MEMORY_MIB}, "
              f"tallyd {self.resident_mib():.0f} MiB resident")
        self.assertLess(watch.most, (MEMORY_MIB + RECEIVE_MIB) << 20)
        self.assertLess(self.resident_mib(), RESIDENT_MIB_MAX)

    def elsewhere(self, seed):
        """The good client, while the others keep another tallyd busy."""
        with support.Stack() as other:
            self.up(stack=other)
            process = self.hostile_start(OPEN, other)
            self.hostile_begin(process)
            support.wait_for("the others", lambda: other.metric("tally_ingest_memory_full_total"))
            report = self.load_end(self.load(seed, SECONDS), SECONDS)
            self.hostile_end(process, OPEN)
        return report

    def judge(self, alone, beside, elsewhere=None):
        reports = {"alone": alone, "elsewhere": elsewhere, "beside": beside}
        for name, report in reports.items():
            if report is None:
                continue
            print(f"{name:9} {report['events_acked_per_second']:>9.0f} events/s   p50 "
                  f"{report['ack_p50_us'] / 1e3:8.2f} ms   p99 {report['ack_p99_us'] / 1e3:8.2f} ms"
                  f"   longest {report['ack_max_us'] / 1e3:8.2f} ms")
        if IS_LONG:
            self.assertGreaterEqual(beside["events_acked_per_second"],
                                    RATE_KEPT_MIN * alone["events_acked_per_second"])
            self.assertLessEqual(beside["ack_p99_us"],
                                 max(P99_FACTOR_MAX * alone["ack_p99_us"], P99_FLOOR_US))
        if elsewhere is not None:
            self.assertLessEqual(
                beside["ack_p99_us"],
                max(P99_ELSEWHERE_FACTOR_MAX * elsewhere["ack_p99_us"], P99_FLOOR_US))

    def test_a_good_client_beside_all_kinds(self):
        self.up()
        alone = self.load_end(self.load(1, SECONDS), SECONDS)
        elsewhere = self.elsewhere(2 * OTHER_SEED) if IS_LONG else None
        acked = alone["events_acked"] + (elsewhere["events_acked"] if elsewhere else 0)
        watch = Watch(self.stack)
        watch.start()
        try:
            process = self.hostile_start(OPEN)
            # It connects first: afterwards there are more who want to than may.
            good = self.load(OTHER_SEED, SECONDS)
            support.wait_for("the good client", lambda: self.stack.metric(
                "tally_ingest_events_total") > acked)
            self.hostile_begin(process)
            beside = self.load_end(good, SECONDS)
            # Who is closed comes again, so one more than they are means that some were closed.
            self.reach(process, {
                (BROKEN, "a message was begun and not finished in time"): 0,
                (BROKEN, "entries inflate to too many times their size"): OPEN["ratio"],
                (BROKEN, "packed entries are broken"): 0,
                (BROKEN, "not a message of the Forward protocol"): OPEN["garbage"],
                (BROKEN, "stalled while memory was full"): 0,
                ("tally_ingest_connections_refused_total", ""): 0,
                ("tally_ingest_memory_full_total", ""): 0,
                ("tally_ingest_duplicates_total", ""): 0,
                ("tally_udp_dropped_total", "broken"): 0,
            })
            did = self.hostile_end(process, OPEN)
        finally:
            watch.stop()
        print(self.counters(BROKEN))
        self.judge(alone, beside, elsewhere)
        self.memory_check(watch)
        for kind in ("garbage", "ratio"):
            self.assertGreater(did[kind]["closed_by_server"], 0, kind)
        for kind in ("half", "bomb", "deaf", "bytewise", "resend"):
            self.assertGreater(did[kind]["rounds"], 0, kind)
        self.assertEqual(did["slow"]["rounds"] + did["deaf"]["received"], 0)
        # What has arrived whole is worked off also when its client is gone.
        support.wait_for("the end of their connections", lambda: self.stack.metric(
            "tally_ingest_connections") == 0, REACH_SECONDS)
        # Exact: what the good client was told of counts, and of the others what came whole, once.
        self.assertEqual(sum(self.usage("good").values()), acked + beside["events_acked"])
        self.assertEqual(self.usage("bad"), {"bytewise": 1, "resent": 100})
        self.assertEqual(self.stack.metric("tally_ingest_conflicts_total"), 0)

    def anonymous_bytes(self):
        with open(f"/proc/{self.stack.tallyd()['pid']}/smaps_rollup", encoding="utf-8") as file:
            rows = dict(line.split(":", 1) for line in file.read().splitlines()[1:])
        return int(rows["Anonymous"].split()[0]) * 1024

    def settled_bytes(self):
        """Anonymous memory, when the keeper has touched what it touches ahead of its use."""
        looks = []

        def is_settled():
            looks.append(self.anonymous_bytes())
            return len(looks) > SETTLED_LOOKS and len(set(looks[-SETTLED_LOOKS:])) == 1

        support.wait_for("the memory to stay as it is", is_settled, REACH_SECONDS)
        return looks[-1]

    def test_idle_connections_cost_little(self):
        limit = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
        resource.setrlimit(resource.RLIMIT_NOFILE, (limit, limit))
        count = IDLE if limit == resource.RLIM_INFINITY else min(IDLE, limit - 100)
        self.up("--connections-max", count + 10)
        before = self.settled_bytes()
        with contextlib.ExitStack() as idle:
            wires = [idle.enter_context(socket.create_connection(self.stack.address(), timeout=60))
                     for _ in range(count)]
            support.wait_for("the connections", lambda: self.stack.metric(
                "tally_ingest_connections") == count)
            each = (self.anonymous_bytes() - before) / count
            print(f"{count} idle connections: {each:.0f} bytes each")
            self.assertLess(each, IDLE_BYTES_MAX)
            # Nor is a buffer kept by those that fell silent again.
            for i, wire in enumerate(wires[:200]):
                wire.sendall(support.pack(
                    ["load", [[int(time.time()), {"subject": "idle", "id": f"{i}-{j}"}]
                              for j in range(50)], {"chunk": "c"}]))
                self.assertTrue(wire.recv(64))
            support.wait_for("empty buffers", lambda: self.stack.metric(
                "tally_ingest_memory_bytes") == 0)
        self.assertEqual(self.usage("good"), {"idle": 200 * 50})

    def unix_client(self, seconds):
        """Chunks over the unix socket, one after the other; returns their latencies."""
        times = []
        end = time.monotonic() + seconds
        with socket.socket(socket.AF_UNIX) as wire:
            wire.settimeout(30)
            wire.connect(self.stack.tallyd()["unix"])
            while time.monotonic() < end:
                chunk = f"chunk-{len(times)}"
                entries = [[int(time.time()), {"subject": "good", "id": f"{chunk}-{i}"}]
                           for i in range(20)]
                want = b"\x81" + support.pack("ack") + support.pack(chunk)
                began = time.monotonic()
                wire.sendall(support.pack(["load", entries, {"chunk": chunk}]))
                got = b""
                while len(got) < len(want):
                    piece = wire.recv(len(want) - len(got))
                    self.assertTrue(piece, f"closed before the ack of {chunk}")
                    got += piece
                self.assertEqual(got, want)
                times.append(time.monotonic() - began)
                select.select([], [], [], 0.005)
        return sorted(times)

    def test_a_good_client_beside_strangers(self):
        seconds = max(3, SECONDS // 4)
        key = os.path.join(self.stack.folder, "key")
        with open(os.open(key, os.O_WRONLY | os.O_CREAT, 0o600), "w", encoding="utf-8") as file:
            file.write("a shared key\n")
        self.up("--shared-key-file", key, "--handshake-timeout", "500ms")
        alone = self.unix_client(1)
        count = len(alone)
        self.assertGreater(count, 0)
        process = self.hostile_start(KEYED)
        self.hostile_begin(process)
        # The same ids again, then further ones: nothing counts twice.
        self.assertEqual(self.usage("good"), {"good": 20 * count})
        beside = self.unix_client(seconds)
        self.reach(process, {
            (FAILED, "shared key mismatch"): KEYED["digest"],
            (FAILED, "no PING came in time"): KEYED["mute"],
            (FAILED, "no PING of six texts"): 0,
        })
        did = self.hostile_end(process, KEYED)
        for name, times in (("alone", alone), ("beside", beside)):
            print(f"{name:7} unix socket, a chunk at a time: "
                  f"p50 {times[len(times) // 2] * 1e3:.2f} ms   "
                  f"p99 {times[len(times) * 99 // 100] * 1e3:.2f} ms   {len(times)} chunks")
        print(self.counters(FAILED))
        self.assertGreater(did["digest"]["closed_by_server"], 0)
        self.assertGreater(did["mute"]["closed_by_server"], 0)
        self.assertEqual(self.stack.metric("tally_ingest_handshakes_total"), 0)
        self.assertEqual(self.usage("good"), {"good": 20 * max(count, len(beside))})
        self.assertEqual(self.usage("bad"), {})


if __name__ == "__main__":
    sys.argv = [argument for argument in sys.argv if argument != "--minute"]
    faulthandler.dump_traceback_later(STUCK_SECONDS)
    unittest.main()
