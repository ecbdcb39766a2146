#pragma once
// Reading files, mapping their rows to events and sending these through libtally.
//
//     import_run(&plan, &outcome, &error);      // outcome is filled also when it fails halfway
//     import_print(&plan, &outcome, stdout);    // for people, or as JSON
//
// Every row read ends up in exactly one count: stored, duplicate, conflict, rejected, or (only when
// the import fails) unanswered. A row's id is the hash of what it became plus its ordinal among
// equal rows of its file, so that a second import counts nothing twice, and neither does a batch
// that libtally sends again after a reconnect; rows stored just before the connection broke come
// back as duplicates then. Thread: main.

#include "tools/import_report.h"
#include "tools/mapping.h"
#include "tools/rows.h"

struct import_plan {
    const char *const *files;  // "-": standard input
    size_t files_count;
    struct rows_options rows;
    struct mapping mapping;
    const char *server;    // as libtally takes it
    const char *backfill;  // batch name, or NULL
    bool is_dry_run;
    uint64_t rows_max;     // 0: all
    int64_t stall_max_ns;  // give up when no answer came for so long
    struct report *report;
};

struct import_outcome {
    uint64_t rows;  // read, flawed ones included
    uint64_t sent;  // given to libtally
    uint64_t stored, duplicates, conflicts, rejected, unanswered;
    uint64_t resent_batches;
    int64_t elapsed_ns;
    bool is_partial;  // it stopped before the end
};

enum status
import_run(struct import_plan *plan, struct import_outcome *out, struct error *error) CHECKED;
void import_print(
    const struct import_plan *plan, const struct import_outcome *outcome, bool is_json, FILE *out);
