#pragma once
// Thresholds: how much a subject may use in a period before somebody is told.
//
//     struct threshold one = {.key = "free_tier", .meter = "tokens", .period = THRESHOLD_MONTH,
//                             .limit = decimal_from_int(1000000)};
//     threshold_put(registry, &one, now_ns, &change, &error);
//     threshold_list(registry, &arena, &list, &count, &error);
//
// Kept beside the meters in the registry's environment, in a database of its own; a change of them
// is a new revision of the registry, so that tallyd polls both at once. Whatever is changed gives a
// new id, so that what fired under the old definition may fire again. A threshold counts from the
// period in which it was made. Meters: count, sum, max, latest or unique_count. Thread: as the
// registry.

#include "base/decimal.h"
#include "ledger/meter.h"

enum {
    THRESHOLDS_MAX = 10000,
    THRESHOLD_DISTINCT_MAX = 1000000,  // the greatest limit of a unique_count: it is kept in memory
};

enum threshold_period { THRESHOLD_DAY, THRESHOLD_MONTH };  // UTC

struct threshold {
    const char *key;      // as a meter's
    const char *meter;    // its key
    const char *subject;  // 1-255 bytes, or NULL: each subject for itself
    enum threshold_period period;
    struct decimal limit;  // above 0; it fires at this or more
    // Given by the registry:
    uint32_t id;  // never reused
    int64_t created_ns;
};

const char *threshold_period_name(enum threshold_period period);  // "day", "month"
bool threshold_period_parse(const char *text, enum threshold_period *out);
// The period that holds the moment: [*out_from_s, *out_to_s).
void threshold_period_of(
    enum threshold_period period, int64_t time_s, int64_t *out_from_s, int64_t *out_to_s);
bool threshold_allows(enum aggregation aggregation);

// Checks the definition and that its meter is there. STATUS_NOT_FOUND: there is no such meter.
enum status threshold_put(
    struct registry *registry,
    const struct threshold *threshold,
    int64_t now_ns,
    enum meter_change *out_change,  // METER_UNCHANGED, METER_CREATED, METER_REDEFINED
    struct error *error) CHECKED;
enum status
threshold_remove(struct registry *registry, const char *key, struct error *error) CHECKED;
// All, sorted by key, in the arena.
enum status threshold_list(
    struct registry *registry,
    struct arena *arena,
    struct threshold **out,
    uint32_t *out_count,
    struct error *error) CHECKED;
// Whether both limit the same in the same way, whatever they are called.
bool threshold_is_same(const struct threshold *a, const struct threshold *b);
// NULL: there is none.
const struct threshold *
threshold_find(const struct threshold *list, uint32_t count, const char *key);
