#pragma once
// Prints what came since a cut (`tally usage --since-cut`).
//
//     const struct usage_late_printing printing = {.query = &query, .format = TABLE_TEXT};
//     usage_late_write(&printing, &result, &arena, &buffer);
//
// Thread: one.

#include "base/table.h"
#include "ledger/usage.h"

struct usage_late_printing {
    const struct usage_query *query;
    bool is_json;
    enum table_format format;  // unless is_json
};

void usage_late_write(
    const struct usage_late_printing *printing,
    const struct usage_late_result *result,
    struct arena *arena,
    struct buffer *out);
