#!/usr/bin/env python3
"""What an operator runs, while calls of it fail and processes die (README.md).

    operate.py [--seed N] [--cases M] [--rounds R] [--table] [--only NAME] [--mutants] [--verbose]

A storm: clients send, one backup after another is taken into one directory, and backup or tallyd,
or both, are killed at random moments. In the end the restored ledger takes the place of the first:
every event that was acked is there once, and at any block it is what the original was. Then calls
of backup, restore, verify, dump, stat, rebuild, repair, resize and import fail, as the breaker is
told (breaker.c): of a table, or M drawn from the seed. A command that fails says why and exits 1;
run again without the breaker it succeeds, and nothing is lost. Exits 1 with a finding.
"""

import argparse
import collections
import dataclasses
import json
import os
import random
import re
import shutil
import signal
import subprocess
import sys
import time

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "system"))

import support  # noqa: E402
import wire_client  # noqa: E402
from faults import BREAKER, Control  # noqa: E402
from sender import METERS, Sender, events_own  # noqa: E402

CHUNKS = 12       # acked between two backups
RATE = 200 << 10  # bytes a second of a backup that is to take a while
ROWS = 40         # of an import


@dataclasses.dataclass(frozen=True)
class Case:
    name: str
    command: str    # one of COMMANDS
    rules: str      # of the breaker
    outcome: str    # "fails", "goes on" or "either"
    says: str = ""  # what standard error must have then


BLOCKS, METERS_FILE, LOG = "*/backup/*.blocks", "*/meters-*.mdb", "*/log/data.mdb*"
FULL = "/dev/full"  # standard output is; the C library's own calls pass the breaker by
TABLE = [
    Case("no space for blocks", "backup", f"write {BLOCKS} 0 1 ENOSPC", "fails", "No space"),
    Case("blocks are written by halves", "backup", f"write {BLOCKS} 0 9 short", "goes on"),
    Case("writes of blocks are interrupted", "backup", f"write {BLOCKS} 0 3 EINTR", "goes on"),
    Case("a sync of blocks fails", "backup", f"fsync {BLOCKS} 0 1 EIO", "fails", "Input/output"),
    Case("a sync of blocks fails when it was made", "backup", f"fsync {BLOCKS} 0 1 late", "fails",
         "Input/output"),
    Case("no space for meters", "backup", f"write {METERS_FILE} 0 1 ENOSPC", "fails", "No space"),
    Case("a sync of meters fails", "backup", f"fsync {METERS_FILE} 0 1 EIO", "fails",
         "Input/output"),
    Case("meters are not written, and nobody is told", "backup", f"write {METERS_FILE} 0 1 lie",
         "fails", "no whole copy"),
    Case("no space for the manifest", "backup", "write */manifest.new 0 1 ENOSPC", "fails",
         "No space"),
    Case("the manifest gets no name", "backup", "rename */manifest 0 1 EIO", "fails",
         "Input/output"),
    Case("a sync of the backup fails", "backup", "fsync */backup 0 1 EIO", "fails", "Input/output"),
    Case("no descriptor for blocks", "backup", f"open {BLOCKS} 0 1 EMFILE", "fails",
         "Too many open"),
    Case("the former manifest cannot be read", "backup", "read */manifest 0 1 EIO", "fails",
         "Input/output"),
    Case("the former manifest is read by halves", "backup", "read */manifest 0 0 short", "goes on"),
    Case("no space for a restored log", "restore", f"write {LOG} 3 1 ENOSPC", "fails",
         "space|File size"),
    Case("a sync of a restored log fails", "restore", f"fdatasync {LOG} 1 1 EIO", "fails",
         "Input/output"),
    Case("blocks of a backup cannot be read", "restore", f"read {BLOCKS} 0 1 EIO", "fails",
         "Input/output"),
    Case("blocks of a backup are read by halves", "restore", f"read {BLOCKS} 0 0 short", "goes on"),
    Case("reads of blocks are interrupted", "restore", f"read {BLOCKS} 0 3 EINTR", "goes on"),
    Case("no space for restored meters", "restore", "write */meters/data.mdb 0 1 ENOSPC", "fails",
         "No space"),
    Case("the restored ledger gets no name", "restore", "rename */new 0 1 EIO", "fails",
         "Input/output"),
    Case("no directory for a restore", "restore", "mkdir */shards/* 0 1 ENOSPC", "fails",
         "No space"),
    Case("no memory for a restore", "restore", "malloc * 40 0 ENOMEM", "fails", "memory"),
    Case("no space for what dump prints", "dump", FULL, "fails", "No space"),
    Case("no space for what verify says", "verify", FULL, "fails", "No space"),
    Case("no descriptor to verify", "verify", f"open {LOG} 0 1 EMFILE", "fails", "Too many open"),
    Case("no space for figures", "stat", FULL, "fails", "No space"),
    Case("no space for cells made anew", "rebuild", "write */state/data.mdb* 2 1 ENOSPC", "fails",
         "space|File size"),
    Case("a sync of cells made anew fails", "rebuild", "fdatasync */state/data.mdb* 1 1 EIO",
         "fails", "Input/output"),
    Case("a repair cannot read the log", "repair", f"open {LOG} 0 1 EIO", "either"),
    Case("no space for a new size", "resize", "write */ledger.conf.new 0 1 ENOSPC", "fails",
         "No space"),
    Case("the new size gets no name", "resize", "rename */ledger.conf 0 1 EIO", "fails",
         "Input/output"),
    Case("rows cannot be read", "import", "read */rows.csv 0 1 EIO", "fails", "Input/output"),
    Case("rows are read by halves", "import", "read */rows.csv 0 0 short", "goes on"),
    Case("rows are sent by halves", "import", "send socket:* 0 3 short", "goes on"),
    Case("sending of rows is interrupted", "import", "send socket:* 0 2 EINTR", "goes on"),
    Case("rows cannot be sent", "import", "send socket:* 0 0 EIO", "fails", "Input/output"),
]
MUTANTS = ("no space for blocks", "no space for restored meters", "no space for a new size")

# Of random cases: effects, paths, how many calls may pass.
CALLS = {
    "write": (["ENOSPC", "EIO", "EINTR", "short"], ["*/backup/*", "*.mdb*", "*.new"], 12),
    "fsync": (["EIO", "ENOSPC", "late"], ["*"], 8),
    "fdatasync": (["EIO", "ENOSPC", "late"], ["*"], 6),
    "open": (["EMFILE", "ENFILE", "EIO", "ENOMEM"], ["*/data/*", "*/backup/*", "*/new*"], 20),
    "read": (["EIO", "EINTR", "short"], ["*/backup/*", "*/data/*", "*/rows.csv"], 8),
    "malloc": (["ENOMEM"], ["*"], 150),
    "mmap": (["ENOMEM"], ["*"], 20),
    "ftruncate": (["ENOSPC", "EIO"], ["*"], 2),
    "rename": (["ENOSPC", "EIO"], ["*"], 3),
    "mkdir": (["ENOSPC", "EIO"], ["*"], 5),
    "send": (["EIO", "EINTR", "short"], ["*"], 3),
    "recv": (["EIO", "EINTR", "short"], ["*"], 3),
}
# Beside a tallyd at work; the others want it stopped.
BESIDE = ("backup", "restore", "verify", "dump", "stat", "import")
COMMANDS = (*BESIDE, "rebuild", "repair", "resize")


class Operated(wire_client.Server):
    """A tallyd with clients, and the commands of its operator."""

    def __init__(self, shards=2):
        super().__init__("--shards", str(shards))
        self.backup = os.path.join(self.folder, "backup")
        self.new = os.path.join(self.folder, "new")
        self.rows = os.path.join(self.folder, "rows.csv")
        self.sender = Sender(self)

    def arguments_of(self, command):
        if command == "import":
            return ["import", self.rows, "--type", "row"]
        more = {"backup": ["--to", self.backup], "resize": ["--map-size", "1T"],
                "restore": ["--from", self.backup, "--data", self.new]}
        return ["ledger", command, *more.get(command, [])]

    def run_broken(self, command, rules):
        """A command some of whose calls fail; it and how many did."""
        if rules == FULL:
            with open(FULL, "wb") as full:
                return subprocess.run(
                    self.command("tally", *self.arguments_of(command)), env=self.env, stdout=full,
                    stderr=subprocess.PIPE, text=True, timeout=100, check=False), 1
        control = Control(self.folder)
        control.arm()
        plain = self.env
        self.env = {
            **plain, "LD_PRELOAD": BREAKER, "TALLY_FAULTS": control.path,
            "TALLY_FAULT_RULES": rules,
            "ASAN_OPTIONS": "verify_asan_link_order=0:allocator_may_return_null=1"}
        try:
            return self.run("tally", *self.arguments_of(command), code=None), control.made()
        finally:
            self.env = plain

    def begin_backup(self, *arguments):
        return self.start("tally", *self.arguments_of("backup"), *arguments)

    def more_acks(self, count):
        enough = len(self.sender.acked) + count
        support.wait_for("acks", lambda: len(self.sender.acked) >= enough)

    def new_remove(self):
        for path in self.new, f"{self.new}.restoring":
            shutil.rmtree(path, ignore_errors=True)

    def verify(self, data):
        said = self.tally("ledger", "verify", "--data", data)
        assert said.startswith("0 findings"), said

    def dump(self, data):
        return self.tally("ledger", "dump", "--data", data).splitlines()

    def restored(self, *arguments):
        """The dump of what is restored, after a look at all of it."""
        self.new_remove()
        self.tally(*self.arguments_of("restore"), *arguments)
        self.verify(self.new)
        return self.dump(self.new)

    def numbered(self):
        """What the manifest counts; 0: there is none."""
        try:
            with open(os.path.join(self.backup, "manifest"), encoding="utf-8") as file:
                return int(re.search(r"^number (\d+)$", file.read(), re.MULTILINE).group(1))
        except FileNotFoundError:
            return 0


PLACE = re.compile(r'^\{"shard":(\d+),"block":(\d+),')


def place_of(line):
    shard, block = PLACE.match(line).groups()
    return int(shard), int(block)


def up_to(lines, blocks):
    return [line for line in lines
            if place_of(line)[1] <= blocks.get(place_of(line)[0], 0)]


def heads_of(lines):
    heads = {}
    for line in lines:
        shard, block = place_of(line)
        heads[shard] = max(heads.get(shard, 0), block)
    return heads


# --- a storm ---

def usage_of(lines):
    """What the meters of the clients must say of these events."""
    want = {key: {} for key, _ in METERS}
    for line in lines:
        event = json.loads(line)
        subject = event["subject"]
        want["events"][subject] = want["events"].get(subject, 0) + 1
        want["amounts"][subject] = want["amounts"].get(subject, 0) + int(event["value"])
    return want


def usage_check(server, lines):
    """Of the restored ledger: it answers by its events."""
    server.tally("ledger", "rebuild", "--data", server.new)
    server.verify(server.new)
    for key, want in usage_of(lines).items():
        answer = json.loads(server.tally(
            "usage", "--data", server.new, "--meter", key, "--format", "json"))
        got = {row["subject"]: int(row["value"]) for row in answer["rows"]}
        assert got == want, ("usage", key, got, want)


def point_check(server, draw, lines):
    """At any block of each shard it is what the original was."""
    blocks = {shard: draw.randint(1, head) for shard, head in heads_of(lines).items()}
    places = [text for shard, block in blocks.items()
              for text in ("--at-block", f"{shard}:{block}")]
    got = server.restored(*places)
    want = up_to(lines, blocks)
    assert got == want, ("at block", blocks, len(got), len(want))
    usage_check(server, want)
    return len(want)


def killed_backup(server, draw):
    """One that is on its way; tallyd may die with it, or instead of it."""
    server.sender.start()
    server.more_acks(draw.randrange(1, CHUNKS))
    backup = server.begin_backup(*draw.choice(([], ["--rate", RATE])))
    server.more_acks(draw.randrange(3))
    victims = draw.choice(("backup", "tallyd", "both"))
    if victims != "backup":
        server.end(signal.SIGKILL)
        server.begin()
    if victims != "tallyd":
        backup.kill()
    out, err = backup.communicate(timeout=300)
    server.sender.stop()
    assert not support.SANITIZER.search(err), err
    assert backup.returncode in (0, -signal.SIGKILL), err
    return backup.returncode == 0, (victims != "backup") + (victims != "tallyd"), out


def throttled(server):
    """So slow that it is not done: clients are served meanwhile, and it is never too fast."""
    server.sender.stop()
    begin = time.monotonic()
    said = server.tally(*server.arguments_of("backup"), "--rate", RATE)
    copied = int(re.search(r"(\d+) bytes", said).group(1))
    assert time.monotonic() - begin >= copied / RATE - 0.01, said
    shutil.rmtree(server.backup)
    server.sender.start()
    slow = server.begin_backup("--rate", 1)
    server.more_acks(3 * CHUNKS)
    assert slow.poll() is None, "a byte a second is faster than that"
    slow.kill()
    slow.communicate()
    server.sender.stop()
    assert server.numbered() == 0, "a backup that was killed is there"
    refused = server.run("tally", *server.arguments_of("restore"), code=1)
    assert "no backup there" in refused.stderr, refused.stderr


def storm(draw, rounds):
    """Returns kills, backups and events checked."""
    kills = backups = 0
    with Operated() as server:
        sender = server.sender
        sender.meters_make()
        sender.start()
        server.more_acks(CHUNKS)
        throttled(server)
        for _ in range(rounds):
            former = server.numbered()
            is_done, killed, said = killed_backup(server, draw)
            kills += killed
            assert server.numbered() - former in ((1,) if is_done else (0, 1)), said
            if draw.randrange(3) == 0:
                sender.start()
                server.more_acks(CHUNKS)
                acked = set(sender.acked)
                server.tally(*server.arguments_of("backup"))
                sender.stop()
                backups += 1
                got = {re.search(r'"id":"([^"]+)"', line).group(1) for line in server.restored()}
                lost = [number for number in acked if f"{number}-0" not in got]
                assert not lost, ("acked before the backup began, and not in it", lost)
            if server.numbered() > 0:
                server.restored()
        server.tally(*server.arguments_of("backup"))
        server.end()
        lines = server.dump(server.data)
        assert server.restored() == lines, "the restored log is another one"
        checked = point_check(server, draw, lines) + point_check(server, draw, lines)
        assert server.restored() == lines
        # It takes the place of the first.
        shutil.rmtree(server.data)
        os.rename(server.new, server.data)
        server.begin()
        return kills, backups + 1 + rounds, checked + sender.check(server)


# --- calls that fail ---

def rows_make(server):
    with open(server.rows, "w", encoding="utf-8") as file:
        file.write("id,subject,value\n")
        for number in range(ROWS):
            file.write(f"row-{number},s{number % 3},{number}\n")


def run_check(case, run, made):
    """It failed and said why, or it did not."""
    # What verify and repair cannot read is a finding of theirs.
    told = run.stderr + (run.stdout or "" if case.command in ("verify", "repair") else "")
    said = f"{case.name} ({case.rules}), exit {run.returncode}: {told}"
    is_out = run.returncode == -6 and "malloc" in case.rules and "memory" in run.stderr
    assert run.returncode in (0, 1) or is_out, said
    assert run.returncode == 0 or told.strip(), f"not a word of the cause: {said}"
    if case.outcome == "either":
        return
    assert made > 0, f"no such call: {said}"
    assert (run.returncode == 0) == (case.outcome == "goes on"), said
    if run.returncode != 0:
        assert re.search(case.says, told), said


def again_check(server, case):
    """Without the breaker it succeeds, and says what is so."""
    if case.command == "restore":
        assert not os.path.exists(server.new), "what was not restored has its name"
        server.new_remove()
    run = server.run("tally", *server.arguments_of(case.command))
    assert run.stdout or case.command == "import", run
    if case.command == "dump":
        assert len(heads_of(run.stdout.splitlines())) == 2


def case_live(server, case):
    """One command with failures, and once more without. How many calls failed."""
    is_beside = case.command in BESIDE
    if case.command == "restore":
        server.new_remove()
    if is_beside and server.process is None:
        server.begin()
    if not is_beside and server.process is not None:
        server.end()
    if case.command == "backup":
        server.sender.start()
        server.more_acks(CHUNKS)
        server.sender.stop()
    former = server.numbered()
    run, made = server.run_broken(case.command, case.rules)
    run_check(case, run, made)
    if case.command == "backup":
        assert server.numbered() - former in ((1,) if run.returncode == 0 else (0, 1)), run
        server.restored()
    if run.returncode != 0:
        again_check(server, case)
    if case.command == "backup":
        server.restored()
    if case.command == "restore":
        server.verify(server.new)
    if not is_beside:
        server.verify(server.data)
    return made


def ledger_check(server):
    """Every event that was acked is there once, here and in what is restored. How many."""
    server.sender.check_resent(server)
    server.sender.check_usage(server)
    server.tally(*server.arguments_of("backup"))
    server.end()
    server.verify(server.data)
    lines = server.dump(server.data)
    assert server.restored() == lines, "the restored log is another one"
    got = collections.Counter(re.search(r'"id":"([^"]+)"', line).group(1) for line in lines)
    want = {event["id"] for number in server.sender.sent for event in events_own(number)}
    assert want <= set(got), ("lost", sorted(want - set(got))[:20])
    assert set(got.values()) == {1}, "twice"
    return len(want)


def lives(cases, options):
    """One ledger through all of them: how many calls failed, and events checked."""
    made = 0
    with Operated() as server:
        rows_make(server)
        server.sender.meters_make()
        server.sender.start()
        server.more_acks(CHUNKS)
        server.sender.stop()
        server.tally(*server.arguments_of("backup"))
        for case in cases:
            try:
                more = case_live(server, case)
            except Exception as error:
                raise AssertionError(f"{case.name} ({case.command}, {case.rules}): {error}"
                                     ) from error
            made += more
            if options.verbose:
                print(f"{case.name}: {more} faults", flush=True)
        if server.process is None:
            server.begin()
        if any(case.command == "import" for case in cases):
            server.tally(*server.arguments_of("import"))
            got = re.findall(r'"id":"(row-\d+)"',
                             server.tally("ledger", "dump", "--type", "row"))
            assert sorted(got) == sorted(f"row-{number}" for number in range(ROWS)), got
        return made, ledger_check(server)


def case_draw(draw, number):
    call = draw.choice(list(CALLS))
    effects, patterns, skip = CALLS[call]
    command = draw.choice(COMMANDS)
    effect = draw.choice(effects)
    count = draw.choice((1, 1, 3)) if effect == "EINTR" else draw.choice((1, 1, 3, 0))
    rule = f"{call} {draw.choice(patterns)} {draw.randrange(skip)} {count} {effect}"
    return Case(f"{number}: {rule}", command, rule, "either")


def mutants(options):
    """The same failures, and nobody is told: each must be a finding."""
    for case in TABLE:
        if case.name not in MUTANTS:
            continue
        hidden = dataclasses.replace(case, outcome="either",
                                     rules=re.sub(r"(EIO|ENOSPC)$", "lie", case.rules))
        try:
            lives([hidden], options)
        except AssertionError as error:
            print(f"mutant found: {hidden.name}: {str(error).splitlines()[0][:150]}")
        else:
            raise AssertionError(f"mutant not found: {hidden.name}")


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--cases", type=int, default=0)
    parser.add_argument("--rounds", type=int, default=0, help="of a storm; 0: there is none")
    parser.add_argument("--table", action="store_true")
    parser.add_argument("--only", default="")
    parser.add_argument("--mutants", action="store_true")
    parser.add_argument("--verbose", action="store_true")
    options = parser.parse_args()
    draw = random.Random(options.seed)
    kills = backups = checked = made = 0
    if options.rounds > 0:
        kills, backups, checked = storm(draw, options.rounds)
    cases = [case for case in TABLE if options.only in case.name and
             (options.table or options.only)]
    cases += [case_draw(draw, number) for number in range(options.cases)]
    if cases:
        made, more = lives(cases, options)
        checked += more
    print(f"kills survived {kills}, backups {backups}, events checked {checked}, "
          f"cases {len(cases)}, faults injected {made}, lost 0, twice 0", flush=True)
    if options.mutants:
        mutants(options)


if __name__ == "__main__":
    main()
