#!/usr/bin/env python3
"""Proves that the crash points (torture.crash, torture.backup) see what they are there to see:
leaves one sync of the product out at a time, as if it were not made, and counts the points until
one is a finding.

    tests/torture/mutants.py PROGRAM [--points N] [--lives N] [--seed N]

PROGRAM is torture.crash or torture.backup of any build. A mutant is a kind of sync (fsync,
fdatasync, dsync: a write through an O_DSYNC descriptor, dir: an fsync of a directory) and the files
that it concerns. Prints one line per mutant, as in tests/torture/README.md. Exits 1 when one is not
caught.
"""

import argparse
import os
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

# of torture.backup
BACKUP_MUTANTS = [
    ("fsync to/shards/*/*.blocks", "blocks are durable before the manifest that lists them"),
    ("fsync to/shards/*/state-*.mdb", "likewise, cells of deleted blocks"),
    ("fsync to/meters-*.mdb", "likewise, the registry"),
    ("fsync to/ledger.conf.new", "likewise, ledger.conf"),
    ("fsync to/manifest.new", "the manifest is whole before it is named"),
    ("dir ", "the backup's own name; a restored ledger's name"),
    ("dir to", "names in the backup: manifest, meters, shards"),
    ("dir to/shards", "names of its shards"),
    ("dir to/shards/*", "names of files of blocks"),
    ("fdatasync new.restoring/shards/*/log/data.mdb",
     "a restored log is whole before it has its name"),
    ("fsync new.restoring/shards/*/state/data.mdb", "likewise, cells of deleted blocks"),
    ("fsync new.restoring/meters/data.mdb", "likewise, the registry"),
    ("fsync new.restoring/ledger.conf.new", "likewise, ledger.conf"),
    ("dir new.restoring", "likewise, names in the ledger"),
    ("dir new.restoring/shards", "likewise, names of its shards"),
    ("dir new.restoring/shards/*", "likewise, names in a shard"),
    ("dir new.restoring/shards/*/log", "likewise, of its log"),
]


def run_mutant(options, arguments, what, meaning):
    run = subprocess.run(
        [options.program, "--seed", str(options.seed), "--lives", str(options.lives),
         "--points", str(options.points), *arguments, what, "--expected"],
        capture_output=True, text=True, check=False)
    found = re.search(r"crash points tried (\d+).*findings (\d+)", run.stdout)
    is_caught = run.returncode == 1 and found is not None and int(found.group(2)) > 0
    tried = found.group(1) if found else "?"
    counted = tried if is_caught else "NOT CAUGHT in " + tried
    name = f"{arguments[-1]} {what}".replace("--without ", "")
    print(f"| `{name}` | {meaning} | {counted} |", flush=True)
    return is_caught


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("program")
    parser.add_argument("--points", type=int, default=400, help="of a life")
    parser.add_argument("--lives", type=int, default=20)
    parser.add_argument("--seed", type=int, default=1)
    options = parser.parse_args()
    if os.path.basename(options.program) == "torture.backup":
        caught = [run_mutant(options, ["--rots", "0", "--without"], *mutant)
                  for mutant in BACKUP_MUTANTS]
    else:
        caught = [run_mutant(options, ["--again", "50", "--without"], *mutant)
                  for mutant in MUTANTS]
        caught += [run_mutant(options, ["--again", "50", "--without-start"], *mutant)
                   for mutant in START_MUTANTS]
    return 0 if all(caught) else 1


if __name__ == "__main__":
    sys.exit(main())
