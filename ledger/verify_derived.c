// What the derived windows must hold, from the cells that were folded from the log: each one is
// added to its hour, day, month and the days and months of the zones, where these are made and
// kept. Where the state has a total of all groups, these are one.

#include "base/assert.h"
#include "base/pool.h"
#include "ledger/crowd.h"
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
    const struct verify_derived *what;
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
    const struct horizons *horizons = derived->what->horizons;
    for (uint32_t i = 1; i < horizons->count; i++) {
        const struct window_kind *kind = &horizons->list[i].kind;
        if (kind->zone_number != 0 && kind->zone == NULL)
            continue;
        struct cell_key key = folded->key;
        key.width = kind->width;
        key.zone = kind->zone_number;
        key.start_s = window_start(kind, folded->key.start_s);
        if (!verify_is_kept(horizons, &key))
            continue;
        key.epoch =
            cuts_epoch(derived->what->cuts, window_end(kind, key.start_s), folded->key.epoch);
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

// --- totals ---

static bool
is_same_window(const struct cell_key *a, const struct cell_key *b)
{
    return a->width == b->width && a->zone == b->zone && a->meter_id == b->meter_id &&
           a->start_s == b->start_s && bytes_equal(a->subject, b->subject);
}

static bool
is_same_group(const struct cell_key *a, const struct cell_key *b)
{
    return a->group.low == b->group.low && a->group.high == b->group.high;
}

// The states of an epoch in all groups, in the place of the first of them.
static size_t
merge_epochs(struct derived *derived, struct derived_cell **run, size_t count)
{
    static const struct cell_group none = {0};
    size_t totals = 0;
    for (size_t i = 0; i < count; i++) {
        struct derived_cell *cell = run[i];
        size_t at = 0;
        while (at < totals && run[at]->view.key.epoch != cell->view.key.epoch)
            at++;
        if (at < totals) {
            cell_merge(cell->view.aggregation, &run[at]->state, &cell->state, 0, &derived->arena);
            continue;
        }
        cell->view.key.group = (struct hash128){0};
        cell->view.group = &none;
        cell->state.flags |= CELL_CAPPED;
        run[totals++] = cell;
    }
    return totals;
}

// The cells of one window and subject, sorted; returns how many are left, sorted. One group alone
// is never too many.
static size_t
settle_run(struct derived *derived, struct derived_cell **run, size_t count)
{
    if (is_same_group(&run[0]->view.key, &run[count - 1]->view.key) ||
        !crowd_is_capped(derived->what->state, &run[0]->view.key))
        return count;
    size_t totals = merge_epochs(derived, run, count);
    qsort(run, totals, sizeof *run, derived_compare);
    return totals;
}

static size_t
settle_all(struct derived *derived, struct derived_cell **sorted, size_t count)
{
    size_t left = 0;
    for (size_t first = 0; first < count;) {
        size_t end = first + 1;
        while (end < count && is_same_window(&sorted[first]->view.key, &sorted[end]->view.key))
            end++;
        size_t run = settle_run(derived, &sorted[first], end - first);
        memmove(&sorted[left], &sorted[first], run * sizeof *sorted);
        left += run;
        first = end;
    }
    return left;
}

void
verify_each_derived(const struct verify_derived *what, cell_view_fn use, void *context)
{
    struct derived derived = {.what = what};
    cells_each_sorted(what->folded, derived_add, &derived);
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
    count = settle_all(&derived, sorted, count);
    for (size_t i = 0; i < count; i++) {
        if (!use(context, &sorted[i]->view))
            break;
    }
    arena_done(&derived.arena);
}
