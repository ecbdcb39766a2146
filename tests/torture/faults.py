#!/usr/bin/env python3
"""Calls of tallyd that fail (README.md): what was acked counts once.

    faults.py [--seed N] [--cases M] [--table] [--only NAME] [--mutants] [--verbose]
    faults.py --rule RULE [--start | --first]

Without --table M random cases are drawn from the seed; with it every case of the tables is lived
once. A life: clients send, calls fail as the breaker is told (breaker.c), tallyd goes on or says
why and stops; then it starts without the breaker, everything is sent again, and every event must be
there once. --mutants: faults that nobody is told about must be found. Exits 1 with a finding.
"""

import argparse
import contextlib
import dataclasses
import mmap
import os
import random
import re
import signal
import struct
import subprocess
import sys

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "system"))

import support  # noqa: E402
import wire_client  # noqa: E402
from sender import Sender  # noqa: E402

BREAKER = os.path.join(os.environ["TALLY_TESTS_DIR"], "libbreaker.so")
CONTROL_SIZE = 4096
FIRST_CHUNKS = 12     # acked before anything fails
LATER_CHUNKS = 12     # acked after it, when tallyd goes on
UNTOLD_CHUNKS = 300   # acked after it, when tallyd has to stop: it does not
LOG, STATE, FIRED = "*/log/data.mdb", "*/state/data.mdb", "*/fired/data.mdb"
DATA = "*/data/*"     # not what tallyd says on standard error
FULL = r"free space|File size|resize"
SHARD = r"event=ledger_failed .*shard 0000"


@dataclasses.dataclass(frozen=True)
class Case:
    name: str
    rules: str          # of the breaker
    outcome: str        # "stops", "goes on" or "either"
    says: str = ""      # what tallyd's log must have then
    is_start: bool = False      # calls of the start fail, on a ledger that has events
    is_new: bool = False        # likewise, and there is no ledger yet
    is_asked: bool = False      # somebody asks for usage meanwhile
    is_idle: bool = False       # no client sends any more when they fail
    is_last: bool = False       # after the failure there is no other call that the rule holds for
    arguments: tuple = ()


# A failed sync: the kernel may have dropped what it could not write, so no second try may be made.
TABLE = [
    Case("a sync of the log fails", f"fdatasync {LOG} 2 1 EIO", "stops",
         rf"{SHARD}.*(Input/output error)", is_last=True),
    Case("a sync of the log fails when it was made", f"fdatasync {LOG} 0 1 late", "stops",
         rf"{SHARD}.*(Input/output error)", is_last=True),
    Case("no space when the log is synced", f"fdatasync {LOG} 1 0 ENOSPC", "stops", SHARD),
    Case("no space for the log's pages", f"write {LOG} 3 0 ENOSPC", "stops", rf"{SHARD}.*{FULL}"),
    Case("a quota for the log's pages", f"write {LOG} 2 1 EDQUOT", "stops", SHARD),
    Case("the log is written by halves", f"write {LOG} 2 1 short", "stops", SHARD),
    Case("a sync of the log is interrupted", f"fdatasync {LOG} 1 1 EINTR", "stops",
         rf"{SHARD}.*Interrupted"),
    Case("a sync of the cells fails", f"fdatasync {STATE} 0 1 EIO", "stops", SHARD, is_idle=True),
    Case("no space for the cells", f"write {STATE} 1 0 ENOSPC", "stops", rf"{SHARD}.*{FULL}",
         is_idle=True),
    Case("a sync of the head fails", "fdatasync */head 0 1 EIO", "stops", rf"{SHARD}.*head"),
    Case("the head is written by halves", "write */head 1 1 short", "goes on"),
    Case("writes of the head are interrupted", "write */head 1 3 EINTR", "goes on"),
    Case("no memory for a commit", "malloc * 40 0 ENOMEM", "either"),
    Case("the reject log is full", "write *rejects.ndjson 0 0 ENOSPC", "goes on",
         r"event=rejects_unwritten"),
    Case("the reject log is written by halves", "write *rejects.ndjson 0 0 short", "goes on"),
    Case("no descriptor for the reject log", "open *rejects.ndjson 0 0 EMFILE", "goes on",
         r"event=rejects_unwritten"),
    Case("waits of the loop are interrupted", "ring_wait * 0 50 EINTR", "goes on"),
    Case("the ring stops working", "ring_wait * 5 1 EIO", "stops", r"event=front_failed"),
    Case("no descriptor at the start", "open */meters/data.mdb 0 0 EMFILE", "stops",
         r"event=start_failed", is_start=True),
    Case("no memory at the start", "malloc * 100 0 ENOMEM", "stops", "memory", is_start=True),
    Case("no ring at the start", "ring * 0 0 ENOMEM", "stops", "ulimit -l", is_start=True),
    Case("no space for tallyd.json", "write *tallyd.json.new 0 0 ENOSPC", "stops",
         "No space left on device", is_start=True),
    Case("tallyd.json is written by halves", "write *tallyd.json.new 0 1 short", "goes on",
         is_start=True),
    Case("files of the start are read by halves",
         "read */ledger.* 0 0 short;read */head 0 0 short", "goes on", is_start=True),
    Case("reads of the start are interrupted", "read *ledger.* 0 1 EINTR", "goes on",
         is_start=True),
    Case("no thread at the start", "pthread_create * 2 0 EAGAIN", "stops", r"event=start_failed",
         is_start=True),
]

MUTANTS = ("a sync of the log fails", "no space for the log's pages", "a sync of the head fails")

# Of random cases: effects, paths, how many calls may pass at a start and while clients send (0:
# such calls are not made then).
CALLS = {
    "write": (["ENOSPC", "EIO", "EINTR", "short"],
              [LOG, STATE, FIRED, "*/head", "*.json*", DATA], 12, 60),
    "fdatasync": (["EIO", "ENOSPC", "EINTR", "late"], [LOG, STATE, FIRED, "*/head", DATA], 3, 30),
    "fsync": (["EIO", "ENOSPC", "late"], [DATA], 7, 0),
    "open": (["EMFILE", "ENFILE", "EIO", "ENOMEM"], ["*rejects*", "*.mdb", "*"], 60, 4),
    "read": (["EIO", "EINTR", "short"], ["*/ledger.*", "*/head", DATA, "/usr/*"], 12, 0),
    "malloc": (["ENOMEM"], ["*"], 120, 600),
    "mmap": (["ENOMEM"], ["*"], 38, 0),
    "ftruncate": (["ENOSPC", "EIO"], [DATA], 2, 0),
    "rename": (["ENOSPC", "EIO"], ["*"], 2, 0),
    "mkdir": (["ENOSPC", "EIO"], ["*"], 6, 0),
    "pthread_create": (["EAGAIN"], ["*"], 8, 0),
    "ring": (["ENOMEM", "EMFILE"], ["*"], 1, 0),
    "ring_wait": (["EINTR", "EAGAIN", "EIO", "ENOMEM"], ["*"], 1, 100),
    "recv": (["EIO", "EINTR", "short"], ["*"], 0, 3),
    "send": (["EIO", "EINTR", "short"], ["*"], 0, 3),
}


class Control:
    """What the breaker counts, and whether it breaks anything."""

    def __init__(self, folder):
        self.path = os.path.join(folder, "control")
        with open(self.path, "wb") as file:
            file.write(bytes(CONTROL_SIZE))
        with open(self.path, "r+b") as file:
            self.map = mmap.mmap(file.fileno(), CONTROL_SIZE)

    def arm(self, is_armed=True):
        self.map[0:8] = struct.pack("<Q", is_armed)

    def seen(self, rule=0):
        return struct.unpack_from("<Q", self.map, 8 + 16 * rule)[0]

    def made(self):
        return sum(struct.unpack_from("<Q", self.map, 16 + 16 * rule)[0] for rule in range(16))


class Broken(wire_client.Server):
    """A tallyd whose calls may fail, once they are told to."""

    def __init__(self, rules, *arguments, shards=1):
        super().__init__("--shards", str(shards), *arguments)
        self.control = Control(self.folder)
        self.plain = dict(self.env)
        self.wrapper = []
        self.preload = {
            "LD_PRELOAD": BREAKER, "TALLY_FAULTS": self.control.path, "TALLY_FAULT_RULES": rules,
            "ASAN_OPTIONS": "verify_asan_link_order=0:allocator_may_return_null=1"}

    def __enter__(self):
        return self

    def command(self, program, *arguments):
        return self.wrapper + super().command(program, *arguments)

    def begin_broken(self):
        self.env = {**self.plain, **self.preload}
        try:
            self.begin()
        finally:
            self.env = self.plain

    def has_ended(self):
        return self.process.poll() is not None

    def end_somehow(self, case, draw):
        """As an operator does or a crash; it may be about to end by itself."""
        number = draw.choice((signal.SIGTERM, signal.SIGKILL))
        self.process.send_signal(number)
        if self.process.wait(120) not in (0, -signal.SIGKILL):
            self.ended_check(case)
        self.process = None
        assert not support.SANITIZER.search(self.log()), self.log()[-20000:]

    def ended_check(self, case):
        """It ended because of the fault: by itself, and not without a word."""
        code = self.process.wait(60)
        self.process = None
        log = self.log()
        assert not support.SANITIZER.search(log), log[-20000:]
        # Memory that small things need is not asked for twice: a line, and SIGABRT.
        is_out = code == -6 and "malloc" in case.rules and re.search("memory", log)
        assert code == 1 or is_out, f"exit {code}\n{log[-20000:]}"
        assert is_out or "level=error" in log, f"not a word of the cause\n{log}"
        assert case.outcome != "goes on", f"it did not go on\n{log}"

    def say_check(self, case):
        assert re.search(case.says, self.log()), f"no {case.says!r} in\n{self.log()[-20000:]}"


def sent_and_failed(server, sender, case):
    """While clients send, calls fail. Whether tallyd stopped."""
    server.begin_broken()
    sender.start()
    support.wait_for("acks", lambda: len(sender.acked) >= FIRST_CHUNKS)
    server.control.arm()
    if case.is_idle:
        sender.stop()
    if case.is_asked:
        server.tally("usage", "--meter", "none", code=None)
    support.wait_for("the fault, or enough without one",
                     lambda: server.control.made() > 0 or server.has_ended()
                     or (case.outcome == "either" and len(sender.acked) > 8 * FIRST_CHUNKS))
    enough = len(sender.acked) + LATER_CHUNKS
    if case.outcome == "stops":
        support.wait_for("the end of tallyd",
                         lambda: server.has_ended() or len(sender.acked) > enough + UNTOLD_CHUNKS)
    elif case.outcome == "goes on":
        support.wait_for("further acks", lambda: len(sender.acked) >= enough or server.has_ended())
        if case.says:
            support.wait_for("what it says", lambda: re.search(case.says, server.log()))
    else:
        support.wait_for("further acks, or its end, or neither",
                         lambda: len(sender.acked) >= enough or server.has_ended(), 60)
    is_over = server.has_ended()
    sender.stop()
    return is_over


BEFORE = [[None, {"subject": "before", "id": f"before-{number}"}] for number in range(20)]


def begun_and_failed(server, case):
    """Calls of a start fail. Whether it was refused."""
    if not case.is_new:
        server.begin()
        assert not server.results(BEFORE)["duplicates"]
        server.end()
    server.control.arm()
    try:
        server.begin_broken()
    except AssertionError:
        support.wait_for("the end of tallyd", server.has_ended)
    return server.has_ended()


def start_check(server, case):
    """After a start that failed: what was acked before is there, and goes on."""
    known = server.results(BEFORE)["duplicates"]
    assert known == (0 if case.is_new else len(BEFORE)), known
    server.end()
    server.tally("ledger", "verify")
    return len(BEFORE)


def live(case, draw):
    """One case; returns (faults made, events checked)."""
    with Broken(case.rules, *case.arguments) as server:
        sender = Sender(server)
        is_over = begun_and_failed(server, case) if case.is_start else sent_and_failed(
            server, sender, case)
        made = server.control.made()
        if is_over:
            server.ended_check(case)
        else:
            assert case.outcome != "stops", f"it did not stop\n{server.log()}"
            server.control.arm(False)
            server.end_somehow(case, draw)
        if case.says:
            server.say_check(case)
        if case.is_last:
            _, _, skip, count, _ = case.rules.split()
            assert server.control.seen() == int(skip) + int(count), "it went on after the failure"
        server.begin()
        if not case.is_start:
            sender.meters_make()
        return made, start_check(server, case) if case.is_start else sender.check(server)


# --- what no call of tallyd's own shows ---

def descriptors_run_out(draw):
    """No connection can be taken; those that are there go on, and later others come again."""
    with Broken("fsync none 0 0 EIO") as server, contextlib.ExitStack() as stack:
        sender = Sender(server)
        server.begin()
        used = len(os.listdir(f"/proc/{server.process.pid}/fd"))
        server.end()
        server.wrapper = ["prlimit", f"--nofile={used + 6}:{used + 6}"]
        server.begin()
        server.wrapper = []
        sender.start()
        support.wait_for("acks", lambda: len(sender.acked) >= FIRST_CHUNKS)
        for _ in range(20):
            stack.enter_context(server.connect())
        support.wait_for("a word of it", lambda: "ulimit -n" in server.log())
        enough = len(sender.acked) + LATER_CHUNKS
        support.wait_for("further acks", lambda: len(sender.acked) >= enough)
        stack.close()
        sender.stop()
        with server.connect() as wire:
            assert wire.ask(["api_call", [], {"chunk": "late"}]) == {"ack": "late"}
        server.end_somehow(Case("", "", "goes on"), draw)
        server.begin()
        sender.meters_make()
        return 1, sender.check(server)


JUMPS_S = (3 * 3600, -6 * 3600, 40 * 86400, -41 * 86400, 7 * 86400, -30)


def clock_jumps(draw):
    """Ahead beyond the dedup window and back, while clients send; a start in between."""
    with Broken("fsync none 0 0 EIO") as server:
        path = os.path.join(server.folder, "clock")
        now_s = 1790000000
        server.env["TALLY_CLOCK"] = path
        sender = Sender(server)
        for jump in range(-1, len(JUMPS_S)):
            now_s += JUMPS_S[jump] if jump >= 0 else 0
            with open(path, "r+b" if os.path.exists(path) else "wb") as file:
                file.write(struct.pack("<q", now_s * 10 ** 9))
            if jump in (-1, 3):
                if jump == 3:
                    sender.stop()
                    server.end_somehow(Case("", "", "goes on"), draw)
                server.begin()
                sender.start()
            enough = len(sender.acked) + LATER_CHUNKS
            support.wait_for("further acks", lambda: len(sender.acked) >= enough)
        sender.stop()
        sender.meters_make()
        return len(JUMPS_S), sender.check(server)


DEEDS = {"descriptors run out": descriptors_run_out, "the clock jumps": clock_jumps}


# --- random cases ---

def case_draw(draw, number):
    call = draw.choice(list(CALLS))
    effects, patterns, at_start, running = CALLS[call]
    effect, pattern = draw.choice(effects), draw.choice(patterns)
    is_start = running == 0 or (at_start > 0 and draw.random() < 0.4)
    count = draw.choice((1, 1, 1, 3, 0))
    if effect in ("EINTR", "EAGAIN") and call != "pthread_create":
        count = max(count, 1)  # for ever would be no interruption
    rule = f"{call} {pattern} {draw.randrange(at_start if is_start else running)} {count} {effect}"
    is_new = is_start and (call in ("mkdir", "ftruncate", "fsync", "rename") or draw.random() < 0.5)
    when = " at the first start" if is_new else " at the start" if is_start else ""
    return Case(f"{number}: {rule}{when}", rule, "either", is_start=is_start, is_new=is_new,
                is_asked=call in ("recv", "send"))


def lives(cases, draw, options):
    """A case is one of ours, or the name of a deed."""
    made = events = 0
    for case in cases:
        name, rules = (case, "") if case in DEEDS else (case.name, case.rules)
        try:
            more, checked = (DEEDS[case](draw) if case in DEEDS else live(case, draw))
        except Exception as error:
            raise AssertionError(f"{name} ({rules}): {error}") from error
        if options.verbose:
            print(f"{name}: {more} faults, {checked} events", flush=True)
        made += more
        events += checked
    print(f"cases {len(cases)}, faults injected {made}, events checked {events}, "
          "lost 0, twice 0", flush=True)


def mutants(draw):
    """The same faults, and nobody is told: each must be a finding."""
    for case in TABLE:
        if case.name not in MUTANTS:
            continue
        hidden = dataclasses.replace(
            case, name=f"{case.name}, untold", rules=re.sub(r"(EIO|ENOSPC|short)$", "lie",
                                                            case.rules))
        try:
            live(hidden, draw)
        except AssertionError as error:
            print(f"mutant found: {hidden.name}: {str(error).splitlines()[0]}")
        else:
            raise AssertionError(f"mutant not found: {hidden.name}")


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--cases", type=int, default=10)
    parser.add_argument("--table", action="store_true")
    parser.add_argument("--only", default="")
    parser.add_argument("--rule", help="of the breaker: a case of its own")
    parser.add_argument("--start", action="store_true", help="its calls are those of a start")
    parser.add_argument("--first", action="store_true", help="likewise, without a ledger")
    parser.add_argument("--mutants", action="store_true")
    parser.add_argument("--verbose", action="store_true")
    options = parser.parse_args()
    draw = random.Random(options.seed)
    if options.rule:
        cases = [Case("asked for", options.rule, "either", is_new=options.first,
                      is_start=options.start or options.first)]
    elif options.table or options.only:
        cases = [case for case in TABLE if options.only in case.name]
        cases += [name for name in DEEDS if options.only in name]
    else:
        cases = [case_draw(draw, options.seed) for _ in range(options.cases)]
        cases.append(draw.choice(list(DEEDS)))
    lives(cases, draw, options)
    if options.mutants:
        mutants(draw)


if __name__ == "__main__":
    main()
