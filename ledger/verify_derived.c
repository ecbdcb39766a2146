// What the derived windows must hold, from the cells that were folded from the log: each one is
// added to its hour, day, month and the days and months of the zones, where these are made and
// kept.

#include "base/assert.h"
#include "base/pool.h"
#include "ledger/verify_parts.h"

#include <stdlib.h>

enum { PLACES_MIN = 1024 };

struct derived_cell {
    uint64_t hash;
    struct cell_view view;
    struct cell_state state;
};

struct derived {
    struct arena arena;
    const struct horizons *horizons;
    const struct cuts *cuts;
    struct derived_cell **places;
    size_t capacity;  // a power of two, or 0
    size_t count;
};

static uint64_t
key_hash(const struct cell_key *key)
{
    uint8_t bytes[CELL_KEY_MAX];
    return hash64(bytes_of(bytes, cell_key_write(key, bytes)), 0);
}

static struct derived_cell **
place_of(const struct derived *derived, uint64_t hash, const struct cell_key *key)
{
    size_t at = (size_t)hash & (derived->capacity - 1);
    while (derived->places[at] != NULL &&
           (derived->places[at]->hash != hash ||
            cell_key_compare(&derived->places[at]->view.key, key) != 0))
        at = (at + 1) & (derived->capacity - 1);
    return &derived->places[at];
}

static void
derived_grow(struct derived *derived)
{
    struct derived_cell **old = derived->places;
    size_t old_capacity = derived->capacity;
    derived->capacity = old_capacity > 0 ? old_capacity * 2 : PLACES_MIN;
    derived->places = arena_array(&derived->arena, derived->capacity, struct derived_cell *);
    for (size_t i = 0; i < old_capacity; i++) {
        if (old[i] != NULL)
            *place_of(derived, old[i]->hash, &old[i]->view.key) = old[i];
    }
}

static struct cell_state *
derived_state(struct derived *derived, const struct cell_key *key, const struct cell_view *folded)
{
    if (derived->count >= derived->capacity / 2)
        derived_grow(derived);
    uint64_t hash = key_hash(key);
    struct derived_cell **place = place_of(derived, hash, key);
    if (*place == NULL) {
        struct derived_cell *cell = arena_new(&derived->arena, struct derived_cell);
        cell->hash = hash;
        cell->view = *folded;  // subject and group stay with the folded cells
        cell->view.key = *key;
        cell->view.state = &cell->state;
        *place = cell;
        derived->count++;
    }
    return &(*place)->state;
}

bool
verify_is_kept(const struct horizons *horizons, const struct cell_key *key)
{
    const struct horizon *horizon = horizons_find(horizons, key->width, key->zone);
    if (horizon == NULL || key->start_s < horizon->kept_s)
        return false;
    if (key->width == CELL_QUARTER_HOUR)
        return true;
    bool has_clock = horizon->kind.zone_number == 0 || horizon->kind.zone != NULL;
    return has_clock && window_end(&horizon->kind, key->start_s) <= horizon->made_s;
}

bool
verify_is_answerable(
    const struct verify_shard *shard, const struct horizons *horizons, const struct cell_key *key)
{
    const struct log_kept *kept = &shard->kept;
    bool has_events = kept->first == 1 || key->start_s * SECOND_NS > kept->until_ns;
    return has_events && verify_is_kept(horizons, key);
}

static bool
derived_add(void *context, const struct cell_view *folded)
{
    struct derived *derived = context;
    for (uint32_t i = 1; i < derived->horizons->count; i++) {
        const struct window_kind *kind = &derived->horizons->list[i].kind;
        if (kind->zone_number != 0 && kind->zone == NULL)
            continue;
        struct cell_key key = folded->key;
        key.width = kind->width;
        key.zone = kind->zone_number;
        key.start_s = window_start(kind, folded->key.start_s);
        if (!verify_is_kept(derived->horizons, &key))
            continue;
        key.epoch = cuts_epoch(derived->cuts, window_end(kind, key.start_s), folded->key.epoch);
        cell_merge(
            folded->aggregation,
            derived_state(derived, &key, folded),
            folded->state,
            folded->key.start_s - key.start_s,
            &derived->arena);
    }
    return true;
}

static int
derived_compare(const void *a, const void *b)
{
    const struct derived_cell *left = *(struct derived_cell *const *)a;
    const struct derived_cell *right = *(struct derived_cell *const *)b;
    return cell_key_compare(&left->view.key, &right->view.key);
}

void
verify_each_derived(
    const struct cells *folded,
    const struct horizons *horizons,
    const struct cuts *cuts,
    cell_view_fn use,
    void *context)
{
    struct derived derived = {.horizons = horizons, .cuts = cuts};
    cells_each_sorted(folded, derived_add, &derived);
    struct derived_cell **sorted =
        arena_array(&derived.arena, derived.count, struct derived_cell *);
    size_t count = 0;
    for (size_t i = 0; i < derived.capacity; i++) {
        if (derived.places[i] != NULL)
            sorted[count++] = derived.places[i];
    }
    must(count == derived.count);
    if (count > 0)
        qsort(sorted, count, sizeof(struct derived_cell *), derived_compare);
    for (size_t i = 0; i < count; i++) {
        if (!use(context, &sorted[i]->view))
            break;
    }
    arena_done(&derived.arena);
}
