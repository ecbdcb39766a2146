// Cells that corrections touched. Folding alone cannot say what they must hold, so they are made
// anew from the log, all that the fold marked as dirty; on disk a cell is either that, or still
// dirty and listed as such.

#include "base/assert.h"
#include "base/pool.h"
#include "ledger/dirty.h"
#include "ledger/remake.h"
#include "ledger/verify_parts.h"

#include <stdio.h>
#include <stdlib.h>

struct verify_clean {
    struct verify_shard *shard;
    const struct horizons *horizons;
    struct arena arena;
    struct buffer remakes;              // of struct remake *; the last one may have room
    const struct remake_item **by_key;  // all items
    uint32_t count;
};

static struct remake *
clean_remake(const struct verify_clean *clean, uint32_t index)
{
    struct remake *remake;
    must((size_t)index < clean->remakes.size / sizeof remake);
    memcpy(&remake, clean->remakes.data + index * sizeof remake, sizeof remake);
    return remake;
}

static uint64_t
live_from(const struct verify_shard *shard, uint32_t meter_id)
{
    const struct verify_meters *meters = &shard->meters;
    for (uint32_t i = 0; i < meter_set_count(meters->set); i++) {
        if (meter_set_at(meters->set, i)->id == meter_id)
            return meters->live_from[i];
    }
    return 0;
}

static bool
clean_add(void *context, const struct cell_view *folded)
{
    struct verify_clean *clean = context;
    const struct verify_shard *shard = clean->shard;
    if (!(folded->state->flags & CELL_DIRTY) ||
        !verify_is_answerable(shard, clean->horizons, &folded->key))
        return true;
    const struct meter_rule *rule = meter_set_find(shard->meters.set, folded->key.meter_id);
    const struct horizon *horizon =
        horizons_find(clean->horizons, folded->key.width, folded->key.zone);
    must(rule != NULL && horizon != NULL);
    const struct remake_item item = {
        .key = folded->key,
        .group = *folded->group,
        .end_s = window_end(&horizon->kind, folded->key.start_s),
        .has_all_groups = (folded->state->flags & CELL_CAPPED) != 0,
        .live_from = live_from(shard, folded->key.meter_id),
    };
    if (clean->count % REMAKE_ITEMS_MAX == 0) {
        struct remake *remake = remake_open(shard->view.log, shard->kept.first);
        buffer_put(&clean->remakes, &remake, sizeof remake);
        must(!buffer_failed(&clean->remakes) && "no memory for the list of dirty cells");
    }
    remake_add(clean_remake(clean, clean->count / REMAKE_ITEMS_MAX), &item, rule->meter);
    clean->count++;
    return true;
}

static int
item_compare(const void *a, const void *b)
{
    const struct remake_item *const *left = a;
    const struct remake_item *const *right = b;
    return cell_key_compare(&(*left)->key, &(*right)->key);
}

static bool
clean_fold(struct verify_clean *clean)
{
    uint32_t listed = 0;
    struct error error;
    clean->by_key = arena_array(&clean->arena, clean->count, const struct remake_item *);
    for (uint32_t i = 0; listed < clean->count; i++) {
        struct remake *remake = clean_remake(clean, i);
        for (bool is_done = false; !is_done;) {
            if (remake_step(remake, &clean->shard->cuts, clean->shard->folded, &is_done, &error)) {
                report_finding(clean->shard->report, "log", "%s", error.text);
                return false;
            }
        }
        for (uint32_t k = 0; k < remake_count(remake); k++)
            clean->by_key[listed++] = remake_at(remake, k);
    }
    if (clean->count > 1)
        qsort(clean->by_key, clean->count, sizeof(void *), item_compare);
    return true;
}

// Which windows are totals is what the state says now. Should that change, the comparison begins
// again.
static void
clean_list_derived(struct verify_clean *clean)
{
    scoped(tx_done) struct tx state = tx_read(clean->shard->view.state);
    const struct verify_derived derived = {
        .folded = clean->shard->cells,
        .horizons = clean->horizons,
        .cuts = &clean->shard->cuts,
        .state = &state,
    };
    verify_each_derived(&derived, clean_add, clean);
}

struct verify_clean *
verify_clean_make(struct verify_shard *shard, const struct horizons *horizons)
{
    struct verify_clean *clean = pool_take(1, sizeof *clean);
    must(clean != NULL && "no memory to check dirty cells");
    clean->shard = shard;
    clean->horizons = horizons;
    cells_each_sorted(shard->cells, clean_add, clean);
    clean_list_derived(clean);
    if (clean_fold(clean))
        return clean;
    verify_clean_done(clean);
    return NULL;
}

const struct cell_state *
verify_clean_find(const struct verify_clean *clean, const struct cell_key *key)
{
    const struct remake_item wanted = {.key = *key};
    const struct remake_item *name = &wanted;
    const struct remake_item *const *found =
        bsearch(&name, clean->by_key, clean->count, sizeof(void *), item_compare);
    return found != NULL ? &(*found)->state : NULL;
}

void
verify_clean_done(struct verify_clean *clean)
{
    if (clean == NULL)
        return;
    for (uint32_t i = 0; i < clean->remakes.size / sizeof(struct remake *); i++)
        remake_close(clean_remake(clean, i));
    buffer_done(&clean->remakes);
    arena_done(&clean->arena);
    pool_give(clean);
}

// --- the list on disk ---

static const char *
record_fault(struct tx *state, struct bytes key, struct bytes value)
{
    struct bytes cell;
    struct cell_state stored;
    struct cell_group group;
    enum aggregation aggregation;
    if (!dirty_is_sound(key, value))
        return "its checksum does not match";
    // What is damaged is told with the cell. One that was made anew stays listed for a while.
    if (tx_get(state, STATE_DB_CELLS, key, &cell) &&
        (!cell_value_aggregation(cell, &aggregation) ||
         cell_value_read(key, cell, aggregation, &stored, &group) ||
         (stored.flags & (CELL_DIRTY | CELL_REPLACES))))
        return NULL;
    return "it lists a cell that is not dirty";
}

void
verify_dirty_records(struct verify_shard *shard, struct tx *state)
{
    struct walk walk = walk_open(state, STATE_DB_DIRTY);
    uint64_t left = tx_count(state, STATE_DB_DIRTY);
    uint64_t seen = 0;
    struct error error;
    for (bool more = walk_first(&walk); more && seen <= left; more = walk_next(&walk), seen++) {
        char text[VERIFY_KEY_MAX];
        const char *fault = record_fault(state, walk.key, walk.value);
        (void)snprintf(text, sizeof text, "dirty cell ");
        cell_key_print(walk.key, text + 11, sizeof text - 11);
        if (fault != NULL)
            report_finding(shard->report, text, "%s", fault);
    }
    walk_done(&walk);
    if (tx_check(state, &error))
        report_finding(shard->report, "state", "%s", error.text);
    else if (seen != left)
        report_finding(shard->report, "state", "there are not as many dirty cells as are counted");
}
