#pragma once
// `tally ledger stat`: a ledger in figures.
//
//     if (strcmp(name, "stat") == 0) return ledger_stat_run(argc - 1, argv + 1);
//
// Thread: main.

#include <stdio.h>

int ledger_stat_run(int argc, char **argv);
// Its line in the list of commands.
void ledger_stat_help(FILE *out);
