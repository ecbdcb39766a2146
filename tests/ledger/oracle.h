#pragma once
// What usage_query must answer: every event of the dump is put into the list of its row, and each
// list is gone through once for each aggregation. Slow, and nothing in it could share a mistake
// with the code under test.
//
//     oracle_check(&reading, reader, &query);        // fails the test at the first difference

#include "tests/ledger/reading.h"

struct oracle_event {
    struct oracle_event *next;
    struct bytes subject;
    struct bytes text;  // of the value: what UNIQUE_COUNT compares
    struct decimal value;
    int64_t time_ns, arrival_ns;
    int64_t block, index;
};

struct oracle_row {
    struct bytes subject;
    int64_t from_ns, to_ns;
    struct bytes dimensions[METER_DIMENSIONS_MAX];
    struct oracle_event *events;
    uint64_t count;
    char value[WIDE_TEXT_MAX];
};

// Rows in the order of usage_result.
size_t oracle_rows(
    const struct reading *reading,
    const struct usage_query *query,
    struct arena *arena,
    struct oracle_row **out_rows);

// Compares usage_query with the oracle, and fails the test with the first difference. Returns the
// number of rows.
size_t
oracle_check(struct reading *reading, struct reader *reader, const struct usage_query *query);

// A meter for each aggregation, under its name: of $.tokens of "llm", by model and region.
void oracle_put_meters(struct reading *reading);
