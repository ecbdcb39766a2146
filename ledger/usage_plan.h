#pragma once
// A usage query made concrete: names resolved to places, the range in cells, and which row a moment
// belongs to.
//
//     usage_plan_make(&query, &meter, zone, &arena, &plan, &error);
//     if (usage_plan_wants(&plan, subject) && usage_filter_accepts(plan.filter, subject, &group))
//         usage_plan_window(&plan, time_ns, &row.from_ns, &row.to_ns);
//
// Owner: a value in the query's arena; the zone is the caller's. Thread: one.

#include "base/arena.h"
#include "base/zone.h"
#include "ledger/cell.h"
#include "ledger/fold.h"
#include "ledger/usage.h"

struct usage_plan {
    const struct meter *meter;
    const struct meter_set *set;   // of this meter alone
    const struct bytes *subjects;  // in the order of cells' keys, each once
    uint32_t subjects_count;       // 0: all
    bool is_merged;
    uint32_t at_cut;  // 0: now
    int64_t from_ns, to_ns;
    enum usage_window window;
    const struct zone *zone;  // NULL: UTC
    uint32_t group_by_count;
    uint32_t group_by[METER_DIMENSIONS_MAX];  // indexes of the meter's dimensions
    const struct usage_bound *filter;         // NULL: none
    bool needs_groups;                        // dimensions matter to the answer
    bool is_aligned;       // ends of the range and windows are on quarter hours: cells can answer
    int64_t from_s, to_s;  // the range in cells, when aligned
};

// zone: that of the query, or NULL for UTC. STATUS_INVALID names what the meter lacks, and what it
// has.
enum status usage_plan_make(
    const struct usage_query *query,
    const struct meter *meter,
    const struct zone *zone,
    struct arena *arena,
    struct usage_plan *out,
    struct error *error) CHECKED;

// The same for one of a ledger's shards: only the subjects that live there. False: it has none of
// them.
bool usage_plan_of_shard(
    const struct usage_plan *plan,
    uint32_t shard,
    uint32_t shards,
    struct arena *arena,
    struct usage_plan *out);

// The order of subjects in cells' keys: by size, then by bytes.
int usage_subject_order(struct bytes a, struct bytes b);
// The epochs that usage sees are those below.
uint32_t usage_plan_below(const struct usage_plan *plan);
bool usage_plan_wants(const struct usage_plan *plan, struct bytes subject);
// The first wanted subject that does not come before this one in the order of keys. False: none, or
// the plan wants all.
bool
usage_plan_subject_from(const struct usage_plan *plan, struct bytes subject, struct bytes *out);

// Whether a cell of this epoch belongs to the answer.
bool usage_plan_sees(const struct usage_plan *plan, uint32_t epoch);
// The row's range for a moment.
void usage_plan_window(
    const struct usage_plan *plan, int64_t time_ns, int64_t *out_from_ns, int64_t *out_to_ns);
