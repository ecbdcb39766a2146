#!/usr/bin/env python3
"""Proves that damage (torture.rot) is seen because of what the product checks: builds it without
one check at a time and counts the damages until one is a finding.

    tests/torture/rot_mutants.py [--lives N] [--damages N] [--seed N] [NAME...]
    tests/torture/rot_mutants.py --check

By hand: some minutes, but for --check. Works as tests/ledger/mutants.py does, in the same place.
"""

import argparse
import os
import re
import subprocess
import sys

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
sys.path.insert(0, os.path.join(ROOT, "tests", "ledger"))
import mutants  # noqa: E402

# name, what breaks, file, text, instead
MUTANTS = [
    ("cell-checksum", "a cell's checksum is compared", "ledger/cell_state.c",
     "           checksum == value_checksum(key, bytes_of(in.at, cursor_left(&in)));",
     "           (checksum | value_checksum(key, bytes_of(in.at, cursor_left(&in)))) != 0;"),
    ("block-checksum", "the checksum of a block's entries is compared", "ledger/block.c",
     "    if (header->entries_checksum != hash64_wide(entries, header->sequence))",
     "    if (entries.data == NULL)"),
    ("conf-checksum", "ledger.conf's checksum is compared", "ledger/conf.c",
     "    return memcmp(text + size - line, wanted, line) == 0;", "    return wanted[0] != 0;"),
    ("head-checksum", "the head's checksum is compared", "ledger/head.c",
     "        bytes[0].checksum != head_checksum(&bytes[0]))",
     "        bytes[0].sequence == UINT64_MAX)"),
    ("mark-unread", "the marks of thresholds are compared", "ledger/fired.c",
     "           sequence == one->sequence;", "           sequence <= UINT64_MAX;"),
    ("metas-believed", "the newest meta page is the newest commit", "ledger/lmdb_env.c",
     "        status = env_check_metas(path, error);", "        status = STATUS_OK;",
     "ledger/lmdb_file.c", "    if (env_file_metas_check(fd, \"the file\", &error))",
     "    if (fd < 0)"),
    ("database-made-again", "a database that is missing is damage", "ledger/lmdb_env.c",
     "        unsigned flags = is_new ? MDB_CREATE : 0;",
     "        unsigned flags = env->is_read_only ? 0 : MDB_CREATE;",
     "ledger/lmdb_env.c", "NULL, is_new ? 0 : MDB_RDONLY, &txn);",
     "NULL, env->is_read_only ? MDB_RDONLY : 0, &txn);"),
    ("search-unchecked", "a search that failed is no answer", "ledger/usage_scan.c",
     "    return tx_check(cells->state, error);\n}\n\n// Whether the zone's hours",
     "    return STATUS_OK;\n}\n\n// Whether the zone's hours"),
    ("state-pages-unread", "verify looks at the pages of state/", "ledger/verify_shard.c",
     "        report_pages(report, \"state\", shard.view.state);", "        (void)report;"),
    ("registry-pages-unread", "likewise, of the registry", "ledger/verify_registry.c",
     "    report_pages(report, \"registry\", env);", ""),
    ("free-pages-unread", "each page is used once or free", "ledger/lmdb_file.c",
     "    check_tree(&walk, \"free pages\", &walk.meta.free, 0);", "",
     "ledger/lmdb_file.c", "    check_unused(&walk);", ""),
    ("separators-unread", "keys lie within the bounds of the branches above",
     "ledger/lmdb_file.c", "    if (bounds->from.data == NULL)\n        return true;",
     "    if (bounds->from.data == NULL || !bounds->is_after)\n        return true;",
     "ledger/lmdb_file.c", "    if (bounds->to.data != NULL && ", "    if (key.size > KEY_MAX && "),
    ("numbers-unread", "a page has its own number", "ledger/lmdb_file.c",
     "    if (u64_at(page) != number)", "    if (number == 0)"),
    ("repair-believes", "repair takes whole blocks only", "ledger/block.c",
     "    return header->words_checksum =="
     " hash64_wide(block_words(header, value), header->sequence) &&",
     "    return value.size > 0 ||"),
    ("repair-keeps-state", "repair makes state/ again", "ledger/repair.c",
     "        status = rebuild_run(repair->dir, &options, &summary, &why);",
     "        (void)options;"),
    ("registry-unsearched", "a meter that is not found is not there", "ledger/registry.c",
     "    if (!status && !is_whole)", "    if (!status && !is_whole && error == NULL)"),
    ("absence-believed", "a record of state/ that is hidden is not taken for none",
     "ledger/state_meta.c", "    if (!status && !is_whole)",
     "    if (!status && !is_whole && error == NULL)"),
    ("view-beyond", "no view reaches beyond the map", "ledger/lmdb_map.c",
     "        return view.mv_size <= tx->used - at;",
     "        return view.mv_size <= UINT32_MAX;"),
    ("crash-untold", "who crashes says what it read", "ledger/lmdb_env.c",
     "        code = mdb_env_set_assert(env->handle, on_assert);", "        (void)on_assert;"),
]


def check(source):
    findings = [why for mutant in MUTANTS if (why := mutants.edited(source, mutant)[1])]
    for finding in findings:
        print(f"rot_mutants.py: {finding}", file=sys.stderr)
    print(f"{len(MUTANTS)} mutants, {len(findings)} of them do not fit")
    sys.exit(1 if findings else 0)


def try_mutant(mutant, source, binaries, options):
    files, why = mutants.edited(source, mutant)
    if why:
        mutants.fail(why)
    try:
        mutants.write_all(files, 1)
        mutants.build(binaries, "test_torture_rot")
        tried = 0
        for seed in range(options.seed, options.seed + options.lives):
            run = subprocess.run(
                [os.path.join(binaries, "tests", "torture.rot"), "--seed", str(seed),
                 "--damages", str(options.damages), "--expected"],
                capture_output=True, text=True, check=False)
            found = re.search(r"^damages (\d+)", run.stdout, re.MULTILINE)
            tried += int(found.group(1)) if found else 0
            if run.returncode == 1:
                print(f"| {mutant[0]} | {mutant[1]} | {tried} |", flush=True)
                return True
    finally:
        mutants.write_all(files, 0)
    print(f"| {mutant[0]} | {mutant[1]} | NOT CAUGHT in {tried} |", flush=True)
    return False


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--lives", type=int, default=10)
    parser.add_argument("--damages", type=int, default=300, help="of a life")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--check", action="store_true", help="only whether each one fits")
    parser.add_argument("names", nargs="*")
    options = parser.parse_args()
    if options.check:
        check(ROOT)
    source = os.path.join(mutants.PLACE, "source")
    binaries = os.path.join(mutants.PLACE, "build")
    mutants.copy_sources(source)
    code, text = mutants.run(["cmake", "-S", source, "-B", binaries, "-G", "Ninja",
                              "-DCMAKE_BUILD_TYPE=Debug", "-DCMAKE_C_FLAGS=-w"])
    if code != 0:
        mutants.fail(text[-3000:])
    chosen = [mutant for mutant in MUTANTS if not options.names or mutant[0] in options.names]
    caught = [try_mutant(mutant, source, binaries, options) for mutant in chosen]
    print(f"{sum(caught)} of {len(caught)} mutants caught")
    sys.exit(0 if all(caught) else 1)


if __name__ == "__main__":
    main()
