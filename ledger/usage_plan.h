#pragma once
// A usage query made concrete: names resolved to places, the range in cells, and which row a moment
// belongs to.
//
//     usage_plan_make(&query, &meter, &arena, &plan, &error);
//     if (usage_plan_accepts(&plan, &group))
//         usage_plan_window(&plan, time_ns, &row.from_ns, &row.to_ns);
//
// Owner: a value in the query's arena. Thread: one.

#include "base/arena.h"
#include "ledger/cell.h"
#include "ledger/fold.h"
#include "ledger/usage.h"

struct usage_plan {
    const struct meter *meter;
    const struct meter_set *set;  // of this meter alone
    struct bytes subject;         // size 0: all
    int64_t from_ns, to_ns;
    enum usage_window window;
    uint32_t group_by_count;
    uint32_t group_by[METER_DIMENSIONS_MAX];  // indexes of the meter's dimensions
    uint32_t filters_count;
    const struct usage_filter *filters;
    const uint32_t *filter_dimensions;  // index of each filter's dimension
    bool is_aligned;                    // the range ends on quarter hours: cells can answer
    int64_t from_s, to_s;               // the range in cells, when aligned
};

// STATUS_INVALID names what the meter lacks, and what it has.
enum status usage_plan_make(
    const struct usage_query *query,
    const struct meter *meter,
    struct arena *arena,
    struct usage_plan *out,
    struct error *error) CHECKED;

// Whether every filtered dimension has one of its wanted values.
bool usage_plan_accepts(const struct usage_plan *plan, const struct cell_group *group);

// The row's range for a moment.
void usage_plan_window(
    const struct usage_plan *plan, int64_t time_ns, int64_t *out_from_ns, int64_t *out_to_ns);
