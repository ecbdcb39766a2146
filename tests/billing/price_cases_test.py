#!/usr/bin/env python3
"""Every row of cases/*.csv through `tally-billing price`.

The rows are the worked cases of the billing systems whose models are spoken here, and some of our
own. `kind` says which member of the answer must equal `expected`: `exact`, `rounded` (what the
source gives rounded, mostly minor units), or `quantity` (exact, and no money: no `rounded`).
`expected` is a number, a list or an object of numbers.
"""

import csv
import glob
import json
import os
import subprocess
import sys
from fractions import Fraction

HERE = os.path.dirname(os.path.abspath(__file__))
CASES_MIN = 170  # fewer means that a file was lost


def program():
    return os.path.join(os.environ["TALLY_BIN_DIR"], "tally-billing")


def rows_read():
    rows = []
    for path in sorted(glob.glob(os.path.join(HERE, "cases", "*.csv"))):
        with open(path, newline="", encoding="utf-8") as file:
            rows += list(csv.DictReader(file))
    return rows


def answers_of(lines, *options):
    done = subprocess.run(
        [program(), "price", *options], input="\n".join(lines) + "\n", capture_output=True,
        text=True, timeout=300, check=False)
    if done.returncode != 0:
        sys.exit(f"tally-billing price: exit {done.returncode}: {done.stderr}")
    return [json.loads(line) for line in done.stdout.splitlines()]


def is_equal(answer, expected, kind):
    if isinstance(expected, list):
        return (isinstance(answer, list) and len(answer) == len(expected) and
                all(is_equal(a, e, kind) for a, e in zip(answer, expected)))
    if isinstance(expected, dict):
        return (isinstance(answer, dict) and answer.keys() == expected.keys() and
                all(is_equal(answer[key], expected[key], kind) for key in expected))
    if not isinstance(answer, dict) or (kind == "quantity") == ("rounded" in answer):
        return False
    member = answer["rounded" if kind == "rounded" else "exact"]
    return Fraction(member) == Fraction(str(expected))


def main():
    rows = rows_read()
    if len(rows) < CASES_MIN or len({row["case"] for row in rows}) != len(rows):
        sys.exit(f"{len(rows)} rows, {len({row['case'] for row in rows})} names")
    lines = ['{"model": %s, "params": %s, "units": %s}' %
             (json.dumps(row["model"]), row["params"], json.dumps(row["units"])) for row in rows]
    failures = 0
    for options in ([], ["--explain"]):
        answers = answers_of(lines, *options)
        if len(answers) != len(rows):
            sys.exit(f"{len(answers)} answers to {len(rows)} lines")
        for row, answer in zip(rows, answers):
            if not is_equal(answer, json.loads(row["expected"], parse_float=str), row["kind"]):
                failures += 1
                print(f"{row['case']}: expected {row['expected']}, got {json.dumps(answer)}")
    print(f"{len(rows)} cases, {failures} failures")
    return 1 if failures else 0


if __name__ == "__main__":
    sys.exit(main())
