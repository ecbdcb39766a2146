#include "ledger/watch_set.h"

#include "base/assert.h"
#include "base/hash.h"

#include <stdlib.h>
#include <string.h>

enum { RUNS_CAPACITY_MIN = 16 };

static const struct meter *
meter_of(const struct threshold *threshold, const struct meter *meters, uint32_t count)
{
    for (uint32_t i = 0; i < count; i++) {
        if (strcmp(meters[i].key, threshold->meter) == 0)
            return &meters[i];
    }
    return NULL;
}

static bool
watched_is_of(const struct watched *watched, uint32_t meter_id, struct bytes subject)
{
    return watched->meter->id == meter_id && bytes_equal(watched->subject, subject);
}

static int
watched_compare(const void *a, const void *b)
{
    const struct watched *left = a;
    const struct watched *right = b;
    if (left->meter->id != right->meter->id)
        return left->meter->id < right->meter->id ? -1 : 1;
    return bytes_compare(left->subject, right->subject);
}

static int
id_compare(const void *a, const void *b)
{
    uint32_t left = (*(const struct watched *const *)a)->threshold->id;
    uint32_t right = (*(const struct watched *const *)b)->threshold->id;
    return (left > right) - (left < right);
}

// The run's place, or the free one where it belongs. At most half of them are taken.
static struct watched_run *
run_place(const struct watched_set *set, uint32_t meter_id, struct bytes subject)
{
    uint32_t mask = set->runs_capacity - 1;
    uint32_t at = (uint32_t)hash64(subject, meter_id) & mask;
    while (set->runs[at].count > 0 && !watched_is_of(set->runs[at].first, meter_id, subject))
        at = (at + 1) & mask;
    return &set->runs[at];
}

static void
set_index(struct watched_set *set, struct arena *arena)
{
    set->runs_capacity = RUNS_CAPACITY_MIN;
    while (set->runs_capacity < set->count * 2)
        set->runs_capacity *= 2;
    set->runs = arena_array(arena, set->runs_capacity, struct watched_run);
    set->by_id = arena_array(arena, set->count, const struct watched *);
    for (uint32_t i = 0; i < set->count; i++) {
        const struct watched *one = &set->list[i];
        struct watched_run *run = run_place(set, one->meter->id, one->subject);
        if (run->count == 0)
            run->first = one;
        run->count++;
        set->by_id[i] = one;
    }
    if (set->count > 1)
        qsort(set->by_id, set->count, sizeof(void *), id_compare);
}

struct watched_set *
watched_make(
    const struct threshold *thresholds,
    uint32_t count,
    const struct meter *meters,
    uint32_t meters_count,
    struct arena *arena)
{
    struct watched_set *set = arena_new(arena, struct watched_set);
    must(count <= THRESHOLDS_MAX);
    set->list = arena_array(arena, count, struct watched);
    for (uint32_t i = 0; i < count; i++) {
        const struct threshold *one = &thresholds[i];
        const struct meter *meter = meter_of(one, meters, meters_count);
        if (meter == NULL || !threshold_allows(meter->aggregation))
            continue;
        set->list[set->count++] = (struct watched){
            .threshold = one,
            .meter = meter,
            .subject = bytes_text(one->subject != NULL ? one->subject : ""),
        };
    }
    if (set->count > 1)
        qsort(set->list, set->count, sizeof set->list[0], watched_compare);
    set_index(set, arena);
    return set;
}

struct watched_run
watched_of(const struct watched_set *set, uint32_t meter_id, struct bytes subject)
{
    return *run_place(set, meter_id, subject);
}

const struct watched *
watched_by_id(const struct watched_set *set, uint32_t threshold_id)
{
    uint32_t low = 0;
    uint32_t high = set != NULL ? set->count : 0;
    while (low < high) {
        uint32_t middle = low + (high - low) / 2;
        const struct watched *one = set->by_id[middle];
        if (one->threshold->id == threshold_id)
            return one;
        if (one->threshold->id < threshold_id)
            low = middle + 1;
        else
            high = middle;
    }
    return NULL;
}
