#!/usr/bin/env python3
"""One fuzz target for a while: the stage fuzz of tools/torture.

    fuzz.py [--seed N] [--seconds N]

The seed says which target: as many seeds as there are targets go through all of them. What is found
stays in build/fuzz/found. Exits 1 with a finding.
"""

import argparse
import os
import re
import subprocess
import sys

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
TESTS = os.path.join(ROOT, "build", "fuzz", "tests")


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--seconds", type=int, default=20)
    options = parser.parse_args()
    targets = sorted(name for name in os.listdir(TESTS) if name.startswith("fuzz."))
    target = targets[options.seed % len(targets)]
    name = target.removeprefix("fuzz.")
    found = os.path.join(ROOT, "build", "fuzz", "found", name)
    os.makedirs(found, exist_ok=True)
    run = subprocess.run(
        [os.path.join(TESTS, target), f"-max_total_time={options.seconds}", "-timeout=10",
         f"-seed={options.seed}", f"-artifact_prefix={found}/", found,
         os.path.join(ROOT, "tests", "fuzz", "corpus", name)],
        capture_output=True, text=True, check=False, errors="replace")
    done = re.search(r"Done (\d+) runs", run.stderr)
    if run.returncode != 0 or done is None:
        sys.exit(f"{target}: {run.stderr[-4000:]}")
    print(f"{target}: inputs fuzzed {done.group(1)}")


if __name__ == "__main__":
    main()
