#pragma once
// The subcommands of `tally ledger` that make or change something: backup, restore, rebuild,
// resize.
//
//     int code = ledger_ops_run(argc - 1, argv + 1);      // -1: none of them
//     ledger_ops_help(stdout);                            // a line for each
//
// Thread: main.

#include <stdio.h>

int ledger_ops_run(int argc, char **argv);
void ledger_ops_help(FILE *out);
