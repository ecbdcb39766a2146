#pragma once
// Usage for invoices: what the subjects of one customer used of one meter in one period.
//
//     usage_source_open(data_dir, &source, &error);
//     usage_source_sum(source, &question, &quantity, &error);
//     usage_source_close(source);
//
// The first questions about a meter and range are asked of the ledger one subject at a time; when
// they go on, all subjects' totals of that meter and range are read once as a stream and answered
// from memory. When a subject's total does not add up, only those who ask for it are refused: the
// others are asked for alone. When the tables pass their bound they are dropped and read again:
// slower, never wrong. Owner: who opened it. Thread: any; calls take turns.

#include "base/decimal.h"
#include "base/status.h"
#include "ledger/usage.h"

struct usage_source;

struct usage_question {
    const char *meter;
    int64_t from_ns, to_ns;
    const char *const *subjects;
    size_t subjects_count;
};

enum status
usage_source_open(const char *data_dir, struct usage_source **out, struct error *error) CHECKED;
void usage_source_close(struct usage_source *source);  // NULL is accepted
void usage_source_done(struct usage_source **source);
// For questions of another form. Not while other threads ask.
struct reader *usage_source_reader(struct usage_source *source);

// The same by the values of a dimension: out_values[i] is the usage with values[i], *out_rest that
// with any other or without one. Also read once as streams, one for each value, when there are no
// more than 32.
struct usage_values {
    const char *dimension;
    const char *const *values;
    uint32_t count;
};
enum status usage_source_values(
    struct usage_source *source,
    const struct usage_question *question,
    const struct usage_values *wanted,
    struct decimal *out_values,
    struct decimal *out_rest,
    struct error *error) CHECKED;

// STATUS_OVERFLOW when the sum leaves the range of a decimal; STATUS_NOT_FOUND: the registry has no
// such meter.
enum status usage_source_sum(
    struct usage_source *source,
    const struct usage_question *question,
    struct decimal *out,
    struct error *error) CHECKED;
