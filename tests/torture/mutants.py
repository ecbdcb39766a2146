#!/usr/bin/env python3
"""Proves that the crash points (torture.crash) see what they are there to see: leaves one sync of
the product out at a time, as if it were not made, and counts the points until one is a finding.

    tests/torture/mutants.py PROGRAM [--points N] [--lives N] [--seed N]

PROGRAM is torture.crash of any build. A mutant is a kind of sync (fsync, fdatasync, dsync: a write
through an O_DSYNC descriptor, dir: an fsync of a directory) and the files that it concerns. Prints
one line per mutant, as in tests/torture/README.md. Exits 1 when one is not caught.
"""

import argparse
import re
import subprocess
import sys

# kind and pattern, what would be lost
MUTANTS = [
    ("fdatasync ledger/shards/*/log/data.mdb", "a block's pages are durable before its meta page"),
    ("dsync ledger/shards/*/log/data.mdb", "a block's meta page is durable before the ack"),
    ("fdatasync ledger/shards/*/state/data.mdb", "cells' pages are durable before their meta page"),
    ("dsync ledger/shards/*/state/data.mdb", "cells' meta page before their pages are used again"),
    ("fdatasync ledger/shards/*/fired/data.mdb", "marks' pages are durable before their meta page"),
    ("dsync ledger/shards/*/fired/data.mdb", "a mark is durable before it is shown"),
    ("fdatasync ledger/meters/data.mdb", "a meter's pages are durable before their meta page"),
    ("dsync ledger/meters/data.mdb", "a meter is durable before it is answered"),
    ("fdatasync ledger/shards/*/*/data.mdb.new", "a new environment is whole before it is named"),
    ("fdatasync ledger/meters/data.mdb.new", "likewise, the registry"),
    ("fsync ledger/shards/*/head", "a shard begins with a head of its log"),
    ("fdatasync ledger/shards/*/head", "the head is synced within a second"),
    ("fsync ledger/ledger.conf.new", "ledger.conf is whole before it is named"),
    ("fsync ledger/ledger.shape.new", "likewise, ledger.shape"),
    ("dir ", "the ledger's own name"),
    ("dir ledger", "names in the ledger: ledger.conf, shards, meters"),
    ("dir ledger/meters", "the registry's name"),
    ("dir ledger/shards", "names of the shards"),
    ("dir ledger/shards/*", "names in a shard: log, state, head"),
    ("dir ledger/shards/*/log", "the name of a log's environment"),
    ("dir ledger/shards/*/state", "likewise, of cells"),
    ("dir ledger/shards/*/fired", "likewise, of marks"),
]

# likewise, of starts along which the power goes again
START_MUTANTS = [
    ("fdatasync ledger/shards/*/state/data.mdb", "what a start flushes"),
    ("fdatasync ledger/shards/*/log/data.mdb", "blocks of a revert that the start goes on with"),
]


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("program")
    parser.add_argument("--points", type=int, default=400, help="of a life")
    parser.add_argument("--lives", type=int, default=20)
    parser.add_argument("--seed", type=int, default=1)
    options = parser.parse_args()
    missed = 0
    mutants = [("--without", *mutant) for mutant in MUTANTS]
    mutants += [("--without-start", *mutant) for mutant in START_MUTANTS]
    for option, what, meaning in mutants:
        run = subprocess.run(
            [options.program, "--seed", str(options.seed), "--lives", str(options.lives),
             "--points", str(options.points), "--again", "50", option, what, "--expected"],
            capture_output=True, text=True, check=False)
        found = re.search(r"crash points tried (\d+), findings (\d+)", run.stdout)
        is_caught = run.returncode == 1 and found is not None and int(found.group(2)) > 0
        missed += not is_caught
        tried = found.group(1) if found else "?"
        counted = tried if is_caught else "NOT CAUGHT in " + tried
        print(f"| `{option} {what}` | {meaning} | {counted} |", flush=True)
    return 1 if missed else 0


if __name__ == "__main__":
    sys.exit(main())
