#pragma once
// What `tally-billing run` prints at its end: the invoices it made, the usage nobody pays for, and
// the sums.
//
//     run_print(&report, &settings, RUN_PRINT_JSON, sql, &error);
//
// Invoices are read back in batches, so that a million of them does not have to fit into memory.
// The table shows the first few in full. sql may be NULL for a dry run. Thread: main.

#include "billing/run.h"

enum output_format { OUTPUT_TABLE, OUTPUT_JSON };

bool output_format_parse(const char *text, enum output_format *out);

enum status run_print(
    const struct run_report *report,
    const struct run_settings *settings,
    enum output_format format,
    struct sql *sql,
    struct error *error) CHECKED;
