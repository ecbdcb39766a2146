#!/usr/bin/env python3
"""The programs of tests/race under ThreadSanitizer: the stage races of tools/torture.

    races.py [--seed N] [--rounds N]

The seed says which program; it runs as often as there are rounds. Exits 1 with a finding.
"""

import argparse
import os
import subprocess
import sys

TESTS = os.environ["TALLY_TESTS_DIR"]


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--rounds", type=int, default=3)
    options = parser.parse_args()
    programs = sorted(name for name in os.listdir(TESTS) if name.startswith("race."))
    program = programs[options.seed % len(programs)]
    for _ in range(options.rounds):
        run = subprocess.run([os.path.join(TESTS, program)], capture_output=True, text=True,
                             check=False, errors="replace")
        if run.returncode != 0 or "ThreadSanitizer" in run.stderr:
            sys.exit(f"{program}: exit {run.returncode}\n{run.stderr[-8000:]}")
    print(f"{program}: races run {options.rounds}")


if __name__ == "__main__":
    main()
