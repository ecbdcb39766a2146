#!/usr/bin/env python3
"""tallyd with twice the load that it can take, and with a disk that hangs (README.md).

    overload.py [--seed N] [--seconds N] [--keeper]

Its disk is made slow, so that a machine of any speed is overloaded alike: what a closed loop of
clients reaches is the sustainable load, and twice as much is sent in an open loop, beside clients
that read no acks, leave messages half sent, connect and vanish, and a flood of datagrams. Memory
stays within its bounds, what was acked counts once, and afterwards tallyd is as before. Then a sync
hangs: health says that a writer makes no progress, until it goes on. With --keeper also a sync of
the cells, until a writer has no room left and waits for it: some 1.6 million events of one shard,
whose table is the smallest that tallyd makes (ctest has that with smaller ones, ledger.keeper).
Exits 1 with a finding.
"""

import argparse
import json
import os
import re
import subprocess
import sys
import urllib.error
import urllib.request

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "system"))

import support  # noqa: E402
from faults import LOG, STATE, Broken  # noqa: E402
from sender import Sender  # noqa: E402

HOSTILE = os.path.join(os.environ["TALLY_TESTS_DIR"], "hostile")
MEMORY_MIB = 32
RECEIVE_MIB = 16         # delivered by the kernel before reading stopped
RESIDENT_MIB_MAX = 2048  # a sanitizer's own included
CHUNK = 50
SHARDS_KEEPER = 4        # each has a table of a million, and all that comes is of one of them
KINDS = {"slow": 20, "half": 16, "deaf": 8, "resend": 2, "garbage": 2, "storm": 4, "reset": 4,
         "mute": 100, "udp": 2}
LIMITS = ("--memory", f"{MEMORY_MIB}M", "--frame-max", "2M", "--inflated-max", "4M",
          "--connections-max", "160", "--stall-timeout", "2s")


def health(server):
    """The status of /health and its text."""
    try:
        with urllib.request.urlopen(f"http://{server.tallyd()['metrics']}/health",
                                    timeout=30) as answer:
            return answer.status, answer.read().decode()
    except urllib.error.HTTPError as error:
        return error.code, error.read().decode()


def load(server, seed, seconds, rate=0, chunk=CHUNK, subjects=50):
    """tally-bench, beside the others; it knows what was acked."""
    return server.start("tally-bench", "load", "--to", server.tallyd()["tcp"], "--rate", rate,
                        "--seconds", seconds, "--chunk", chunk, "--duplicates", 0, "--seed", seed,
                        "--subjects", subjects, "--format", "json")


def load_end(process):
    out, err = process.communicate(timeout=300)
    assert process.returncode == 0, out + err
    return json.loads(out)


def hostile_start(server):
    facts = server.tallyd()
    process = subprocess.Popen(
        [HOSTILE, facts["tcp"], facts["udp"], "300", "3",
         *[f"{kind}={count}" for kind, count in KINDS.items()]],
        env=server.env, text=True, stdin=subprocess.PIPE, stdout=subprocess.PIPE,
        stderr=subprocess.PIPE)
    assert process.stdout.readline() == "ready\n"
    process.stdin.write("\n")
    process.stdin.flush()
    return process


def hostile_end(process):
    process.terminate()
    out, err = process.communicate(timeout=60)
    assert process.returncode == 0 and not support.SANITIZER.search(err), err
    return json.loads(out)


def resident_mib(server):
    with open(f"/proc/{server.process.pid}/status", encoding="utf-8") as file:
        return int(re.search(r"VmHWM:\s*(\d+)", file.read()).group(1)) / 1024


def counted(server, meter):
    rows = json.loads(server.tally("usage", "--meter", meter, "--format", "json"))["rows"]
    return sum(int(row["value"]) for row in rows)


def overload(server, seed, seconds):
    """Returns events acked and what the others did."""
    sustainable = load_end(load(server, 3 * seed + 1, seconds))
    rate = 2 * int(sustainable["events_acked_per_second"]) + 1
    others = hostile_start(server)
    try:
        beside = load(server, (3 * seed + 2) << 40, seconds, rate)
        held = 0
        while beside.poll() is None:
            held = max(held, server.metric("tally_ingest_memory_bytes"))
            status, text = health(server)
            assert status in (200, 503), text
            support.select.select([], [], [], 0.2)
        report = load_end(beside)
    finally:
        did = hostile_end(others)
    for kind in KINDS:
        assert did[kind]["connected"] > 0, kind
    assert held <= (MEMORY_MIB + RECEIVE_MIB) << 20, held
    assert resident_mib(server) < RESIDENT_MIB_MAX, resident_mib(server)
    print(f"sustainable {sustainable['events_acked_per_second']:.0f} events/s, sent {rate}, acked "
          f"{report['events_acked_per_second']:.0f}; connections held at most "
          f"{held / (1 << 20):.0f} MiB of {MEMORY_MIB}, {resident_mib(server):.0f} MiB resident")
    return sustainable["events_acked"] + report["events_acked"]


def recovered(server):
    """Without any help: the next chunk is acked, and all is well."""
    assert server.results([[None, {"subject": "late", "id": "late"}]])["rejected"] == []
    support.wait_for("health", lambda: health(server)[0] == 200)


def writer_hangs(server):
    """Health fails while a sync does not end, nothing is acked, and both come back."""
    sender = Sender(server)
    sender.start()
    support.wait_for("acks", lambda: len(sender.acked) >= 12)
    assert health(server)[0] == 200, health(server)
    server.hang.arm()
    support.wait_for("the hang", lambda: server.hang.made() > 0)
    support.wait_for("failing health", lambda: health(server)[0] == 503)
    assert "no progress" in health(server)[1], health(server)
    told = server.run("tally", "status", code=None)
    assert told.returncode != 0 and "no progress" in told.stdout + told.stderr, told
    acked = len(sender.acked)
    server.hang.arm(False)
    support.wait_for("further acks", lambda: len(sender.acked) > acked + 12)
    support.wait_for("health", lambda: health(server)[0] == 200)
    sender.stop()
    return sender


def keeper_hangs(server, seed):
    """Cells cannot be written: events are taken until memory is full, then health fails."""
    acked = runs = 0
    is_full = False
    server.control.arm()
    while not is_full:
        assert runs < 600, "health is good, whatever comes in"
        runs += 1
        one = load(server, (3 * seed + 2 + runs) << 40, 10, chunk=1000, subjects=1)
        support.wait_for("failing health, or the end of a load",
                         lambda: health(server)[0] == 503 or one.poll() is not None, 600)
        is_full = one.poll() is None
        if is_full:
            assert "no progress" in health(server)[1], health(server)
            server.control.arm(False)
        acked += load_end(one)["events_acked"]
    assert server.control.made() > 0
    support.wait_for("health", lambda: health(server)[0] == 200)
    return acked


def keeper_check(seed):
    with Broken(f"fdatasync {STATE} 0 0 hang", shards=SHARDS_KEEPER) as server:
        server.begin_broken()
        server.tally("meter", "add", "good", "--event-type", "load", "--aggregation", "count")
        try:
            acked = keeper_hangs(server, seed)
        finally:
            server.control.arm(False)
        server.end()
        server.begin()
        got = counted(server, "good")
        assert got == acked, f"{acked} events acked, {got} counted"
        return acked


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--seconds", type=int, default=3, help="of each of the two loads")
    parser.add_argument("--keeper", action="store_true", help="its sync hangs, too: minutes")
    options = parser.parse_args()
    with Broken(f"fdatasync {LOG} 0 0 slow", *LIMITS) as server:
        server.begin_broken()
        for meter, kind in (("good", "load"), ("bad", "hostile")):
            server.tally("meter", "add", meter, "--event-type", kind, "--aggregation", "count")
        server.control.arm()
        acked = overload(server, options.seed, options.seconds)
        recovered(server)
        server.end()
        server.begin()
        got = counted(server, "good")
        assert got == acked, f"{acked} events acked, {got} counted"
    with Broken(f"fdatasync {LOG} 0 0 hang") as server:
        server.hang = server.control
        server.begin_broken()
        try:
            sender = writer_hangs(server)
        finally:
            server.hang.arm(False)
        server.end()
        server.begin()
        sender.meters_make()
        checked = acked + sender.check(server)
    if options.keeper:
        checked += keeper_check(options.seed)
    print(f"overloads 1, hangs {1 + options.keeper}, events checked {checked}, lost 0, twice 0",
          flush=True)


if __name__ == "__main__":
    main()
