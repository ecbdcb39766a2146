#pragma once
// What became of the rows of an import: counts, the first refusals, and all of them in a file.
//
//     report_open(rejects_path, &report, &error);
//     report_refuse(report, &(struct report_refusal){file, line, "no subject"});
//     report_list(report, stderr);                  // the first REPORT_LISTED_MAX, in order
//     report_close(&report, &error);
//
// Refusals come from two threads, our reader of rows and libtally's, so report_refuse takes a
// mutex; the rest is for the main thread. Owner: the importer.

#include "base/status.h"

#include <stdint.h>
#include <stdio.h>

enum { REPORT_LISTED_MAX = 20, REPORT_REASONS_MAX = 64, REPORT_REASON_SIZE = 128 };

enum report_kind {
    REPORT_ROW,       // the row could not become an event
    REPORT_SERVER,    // the server rejected the event
    REPORT_CONFLICT,  // its id was used before with other content
};

struct report_refusal {
    const char *file;
    uint64_t line;
    enum report_kind kind;
    const char *reason;
    const char *detail;  // or NULL
};

struct report_reason {
    char text[REPORT_REASON_SIZE];
    enum report_kind kind;
    uint64_t count;
};

struct report;

// rejects_path NULL: no file. STATUS_IO when it cannot be written.
enum status report_open(const char *rejects_path, struct report **out, struct error *error) CHECKED;
// Writes out what is left. The first failure of writing the file is told here.
enum status report_close(struct report **report_slot, struct error *error) CHECKED;
void report_refuse(struct report *report, const struct report_refusal *refusal);

// After libtally was closed, when nobody refuses any more.
size_t report_reasons(const struct report *report, const struct report_reason **out);
uint64_t report_count(const struct report *report, enum report_kind kind);
// Whether any refusal's reason contains the text.
bool report_has_reason(const struct report *report, const char *text);
void report_list(const struct report *report, FILE *out);
