#pragma once
// The subcommands of `tally ledger` that change what it says: each as cmd_* in tools/command.h,
// with its own options.
//
//     {"cut", &cut_spec, cmd_ledger_cut},
//
// They ask the tallyd that writes the directory, or write it themselves when there is none.
// Thread: main.

#include "base/option.h"

extern const struct option_spec cut_spec, cancel_spec, amend_spec, audit_spec, backfill_spec;

#define CHANGE_WHO_WRITES                                                                          \
    "Asks the tallyd that writes the directory, as the user that runs it; without a tallyd it\n"   \
    "writes the ledger itself."

// argv[0] is the subcommand's name; returns the exit code.
int cmd_ledger_cut(int argc, char **argv);
int cmd_ledger_cancel(int argc, char **argv);
int cmd_ledger_amend(int argc, char **argv);
int cmd_ledger_audit(int argc, char **argv);
int cmd_ledger_backfill(int argc, char **argv);
