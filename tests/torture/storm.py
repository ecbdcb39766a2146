#!/usr/bin/env python3
"""SIGKILL of tallyd, tally-billing and PostgreSQL at random moments (README.md).

    storm.py [--seed N] [--rounds N] [--kills N] [--mutants] [--verbose]

The seed says who uses what and when. It is lived twice from the same start, on a clock of the test:
once undisturbed, once with kills while clients send and months are billed. In the end every column
of every table and every row of usage must be the same. --mutants: an event more, a row less, a
client that takes a lost connection for an ack must be found. Exits 1 with a finding.
"""

import argparse
import collections
import datetime
import json
import os
import random
import re
import shutil
import signal
import socket
import struct
import subprocess
import sys
import threading

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "system"))

import support  # noqa: E402
import wire_client  # noqa: E402

CUSTOMERS = 6
CONNECTIONS = 3
WINDOW = 4
SLICE = 24             # chunks between two kills
PLANS = ("llm-tokens", "llm-scale")
FIRST_MONTH = 2026 * 12 + 2  # March
UTC = datetime.timezone.utc


def month_text(month):
    return f"{month // 12}-{month % 12 + 1:02}"


def month_s(month, days=0, hours=0):
    """Seconds of the epoch, so far into the month."""
    first = datetime.datetime(month // 12, month % 12 + 1, 1, tzinfo=UTC)
    return int(first.timestamp()) + days * 86400 + hours * 3600


class Plan:
    """What happens, by the seed alone."""

    def __init__(self, seed, rounds, kills):
        draw = random.Random(seed)
        self.rounds = rounds
        self.kills = kills
        self.plans = [draw.choice(PLANS) for _ in range(CUSTOMERS)]
        chunks = rounds * (kills + 1) * SLICE
        self.chunks = [self.chunk_make(draw, number, chunks // rounds) for number in range(chunks)]

    def chunk_make(self, draw, number, per_round):
        month = FIRST_MONTH + number // per_round
        return [[month_s(month) + draw.randrange(13 * 86400),
                 {"subject": f"customer-{draw.randrange(CUSTOMERS)}", "id": f"{number}-{i}",
                  "type": "llm_request", "context_tokens": draw.randrange(1, 2000000),
                  "generated_tokens": draw.randrange(1, 90000)}]
                for i in range(draw.randrange(1, 9))]

    def events(self):
        return sum(len(chunk) for chunk in self.chunks)


class Clients:
    """They send the chunks that are released, each until it is acked."""

    def __init__(self, stack, chunks, believes=False):
        self.stack = stack
        self.chunks = chunks
        self.believes = believes  # a mutant: what was written is taken for acked
        self.released = threading.Condition()
        self.until = 0
        self.acked = set()
        self.resent = 0
        self.is_over = False
        self.failures = []
        self.threads = [threading.Thread(target=self.body, args=(i,), daemon=True)
                        for i in range(CONNECTIONS)]
        for thread in self.threads:
            thread.start()

    def release(self, until):
        with self.released:
            self.until = until
            self.released.notify_all()

    def end(self):
        with self.released:
            self.is_over = True
            self.released.notify_all()
        for thread in self.threads:
            thread.join(120)
            assert not thread.is_alive(), "a client hangs"

    def wait(self):
        support.wait_for("all acks", lambda: self.failures or len(self.acked) == self.until, 120)
        assert not self.failures, self.failures

    def body(self, index):
        mine = collections.deque(range(index, len(self.chunks), CONNECTIONS))
        waiting = collections.deque()
        while (mine or waiting) and not self.is_over:
            with self.released:
                self.released.wait_for(
                    lambda: waiting or self.is_over or (mine and mine[0] < self.until), 60)
            try:
                self.converse(mine, waiting)
            except (OSError, KeyError, ValueError):  # no tallyd, or half a tallyd.json
                pass
            except AssertionError as error:
                if "ended" not in str(error):
                    self.failures.append(str(error))
                    return
            if self.believes:
                self.acked.update(waiting)
                waiting.clear()
            threading.Event().wait(0.01)

    def converse(self, mine, waiting):
        """One connection: what has no ack first, then what is released."""
        address = (os.path.join(self.stack.data, "tallyd.sock") if len(mine) % 2
                   else self.stack.address())
        with wire_client.Wire(address) as wire:
            wire.socket.settimeout(0.5)
            self.resent += len(waiting)
            for number in waiting:
                wire.write(self.message(number))
            while not self.is_over:
                while mine and mine[0] < self.until and len(waiting) < WINDOW:
                    waiting.append(mine.popleft())
                    wire.write(self.message(waiting[-1]))
                if not waiting:
                    return
                try:
                    answer = wire.read()
                except socket.timeout:
                    continue
                number = int(answer["ack"][1:])
                assert not answer["rejected"] and not answer["conflicts"], answer
                waiting.remove(number)
                self.acked.add(number)

    def message(self, number):
        return wire_client.pack(["llm_request", self.chunks[number], {
            "chunk": f"c{number}", "tally": {"results": True}}])


class Life(support.Stack):
    """A stack on a clock of ours, and what is done with it."""

    def __init__(self, plan):
        super().__init__()
        self.plan = plan
        self.clock = os.path.join(self.folder, "clock")
        self.env["TALLY_CLOCK"] = self.clock
        self.kills = collections.Counter()
        self.clock_set(month_s(FIRST_MONTH))

    def clock_set(self, now_s):
        with open(self.clock, "r+b" if os.path.exists(self.clock) else "wb") as file:
            file.write(struct.pack("<q", now_s * 10 ** 9))

    def prepare(self):
        self.up()
        self.tally("catalog", "apply", support.CATALOG)
        for i, plan in enumerate(self.plan.plans):
            name = f"customer-{i}"
            self.tally("customer", "add", name, "--email", f"{name}@example.com")
            self.tally("subscribe", name, plan, "--from", f"{month_text(FIRST_MONTH)}-01")
        self.tally("down")

    def keep(self, name):
        """A copy of the data directory that stands still, or back from it."""
        copy = os.path.join(self.folder, name)
        source, target = (copy, self.data) if os.path.exists(copy) else (self.data, copy)
        if os.path.exists(target):
            shutil.rmtree(target)
        subprocess.run(["cp", "-a", source, target], check=True)

    # --- kills ---

    def victims(self, billing):
        with open(os.path.join(self.data, "pg", "postmaster.pid"), encoding="utf-8") as file:
            postmaster = int(file.readline())
        pids = {"tallyd": self.tallyd()["pid"], "PostgreSQL": postmaster}
        if billing.poll() is None:
            pids["tally-billing"] = billing.pid
        return pids

    def kill(self, draw, billing):
        """One, two or all of them; what is dead then comes again."""
        pids = self.victims(billing)
        names = draw.sample(sorted(pids), draw.choice((1, 1, 1, 2, len(pids))))
        for name in names:
            os.kill(pids[name], signal.SIGKILL)
            self.kills[name] += 1
        billing.wait(120)
        for name in names:
            support.wait_for(f"the end of {name}",
                             lambda name=name: not support.process_alive(pids[name]))
        support.wait_for("tally up", lambda: self.run("tally", "up", "--tcp", "127.0.0.1:0",
                                                      "--metrics", "127.0.0.1:0", code=None,
                                                      timeout=180).returncode == 0, 180)

    # --- a life ---

    def billing(self, draw):
        # The same command line, so that it is the same run.
        return self.start("tally-billing", "run", "--grace", "0s", "--chunk",
                          str(draw.choice((1, 2, 500))), "--workers", str(draw.choice((1, 2))))

    def bill(self):
        for _ in range(2):
            self.run("tally-billing", "run", "--grace", "0s", "--chunk", "2")

    def live(self, draw=None, believes=False):
        """draw: of the kills; None: undisturbed. Everything that is there in the end."""
        self.up()
        clients = Clients(self, self.plan.chunks, believes)
        try:
            for number in range(self.plan.rounds):
                self.round(clients, number, draw)
        finally:
            clients.end()
        self.clock_set(month_s(FIRST_MONTH + self.plan.rounds, hours=5))
        self.bill()
        return self.everything(), clients.resent

    def round(self, clients, number, draw):
        """A month: the one before is billed while clients send."""
        self.clock_set(month_s(FIRST_MONTH + number, days=13))
        first = number * (self.plan.kills + 1) * SLICE
        for step in range(self.plan.kills if draw is not None else 0):
            clients.release(first + (step + 1) * SLICE)
            billing = self.billing(draw)
            threading.Event().wait(draw.choice((0.0, 0.05, 0.1, 0.2)) * draw.random() * 2)
            self.kill(draw, billing)
            billing.communicate()
        clients.release(first + (self.plan.kills + 1) * SLICE)
        clients.wait()
        self.bill()

    def everything(self):
        """Every column of every table, usage by the day, and the ids of the ledger."""
        seen = {}
        for (table,) in self.sql("SELECT tablename FROM pg_tables WHERE schemaname = 'public'"):
            seen[table] = sorted(self.sql(f"SELECT * FROM {table}"))
        for meter in ("context_tokens", "generated_tokens"):
            rows = json.loads(self.tally("usage", "--meter", meter, "--window", "day", "--from",
                                         f"{month_text(FIRST_MONTH)}-01", "--format", "json"))
            seen[meter] = rows["rows"]
        self.tally("down")
        self.tally("ledger", "verify")
        ids = re.findall(r'"id":"([^"]+)"', self.tally("ledger", "dump"))
        assert len(ids) == len(set(ids)), "twice in the log"
        seen["ids"] = sorted(ids)
        return seen


def difference(want, got):
    """What differs, a line each."""
    lines = []
    for name in sorted(want.keys() | got.keys()):
        one, other = want.get(name, []), got.get(name, [])
        if one != other:
            lines += [f"{name}: {len(one)} rows undisturbed, {len(other)} with kills"]
            lines += [f"  - {row}"[:2000] for row in one if row not in other][:4]
            lines += [f"  + {row}"[:2000] for row in other if row not in one][:4]
    return lines


def mutants(life, draw, want):
    """What the comparison must see."""
    less = {**want, "invoice_lines": want["invoice_lines"][1:]}
    assert difference(want, less), "a line less is not seen"
    life.keep("start")
    got, _ = life.live(draw, believes=True)
    found = difference(want, got)
    assert found, "clients that do not send again are not seen"
    print("mutant found: clients that send nothing again:", found[0])


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--kills", type=int, default=6, help="of a round")
    parser.add_argument("--mutants", action="store_true")
    options = parser.parse_args()
    plan = Plan(options.seed, options.rounds, options.kills)
    draw = random.Random(options.seed + 1)
    with Life(plan) as life:
        life.prepare()
        life.keep("start")
        want, _ = life.live()
        assert len(want["ids"]) == plan.events(), (len(want["ids"]), plan.events())
        assert want["invoices"] and want["invoice_lines"]
        life.keep("start")
        got, resent = life.live(draw)
        found = difference(want, got)
        if found:
            sys.exit("\n".join([f"seed {options.seed}: kills left a trace", *found]))
        rows = sum(len(rows) for rows in want.values())
        print(f"kills survived {life.kills.total()} ({dict(life.kills)}), chunks sent again "
              f"{resent}, events checked {plan.events()}, invoices {len(want['invoices'])}, rows "
              f"compared {rows}, lost 0, twice 0", flush=True)
        if options.mutants:
            mutants(life, draw, want)


if __name__ == "__main__":
    main()
