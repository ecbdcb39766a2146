// Three hash tables of pointers over one arena:
//
//   series   (meter, subject)                    -> its cells, as a list
//   cells    (meter, subject, window, group)     -> state
//   groups   the dimension values, kept once: a few groups serve many subjects and windows
//
// Invariants: every cell hangs in exactly one series' list; a series is never empty; no pointer
// into a step's views outlives cells_add.

#include "ledger/cells.h"

#include "base/arena.h"
#include "base/assert.h"
#include "base/pool.h"

#include <stdlib.h>

enum { TABLE_PLACES_MIN = 256 };

struct place {
    uint64_t hash;
    void *node;  // NULL: free
};

struct table {
    struct place *places;
    size_t mask;
    size_t count;
};

struct cell;

struct series {
    uint32_t meter_id;
    uint32_t cells_count;
    struct bytes subject;
    struct cell *first;
};

struct cell {
    struct series *series;
    struct cell *next;  // of the series
    int64_t window;
    struct hash128 group_hash;
    const struct cell_group *group;
    struct cell_state state;
};

struct group_node {
    struct hash128 hash;
    struct cell_group group;
};

struct cells {
    struct arena arena;
    struct table series;
    struct table cells;
    struct table groups;
};

static void
table_init(struct table *table, size_t places)
{
    table->places = pool_take(places, sizeof *table->places);
    must(table->places != NULL && "no memory for cells: lower the tail's bound");
    table->mask = places - 1;
    table->count = 0;
}

// Puts a node that is not there yet.
static void
table_put(struct table *table, uint64_t hash, void *node)
{
    size_t at = hash & table->mask;
    while (table->places[at].node != NULL)
        at = (at + 1) & table->mask;
    table->places[at] = (struct place){hash, node};
    table->count++;
}

static void
table_add(struct table *table, uint64_t hash, void *node)
{
    if (table->count >= (table->mask + 1) / 2) {
        struct table larger;
        table_init(&larger, (table->mask + 1) * 2);
        for (size_t i = 0; i <= table->mask; i++) {
            if (table->places[i].node != NULL)
                table_put(&larger, table->places[i].hash, table->places[i].node);
        }
        pool_give(table->places);
        *table = larger;
    }
    table_put(table, hash, node);
}

static void
table_clear(struct table *table)
{
    pool_give(table->places);
    table_init(table, TABLE_PLACES_MIN);
}

static uint64_t
mix(uint64_t a, uint64_t b)
{
    uint128 product = (uint128)(a ^ 0x9e3779b97f4a7c15ULL) * (b ^ 0xd6e8feb86659fd93ULL);
    return (uint64_t)product ^ (uint64_t)(product >> 64);
}

static uint64_t
series_hash(uint32_t meter_id, struct bytes subject)
{
    return hash64(subject, meter_id);
}

static struct series *
series_find(const struct cells *cells, uint64_t hash, uint32_t meter_id, struct bytes subject)
{
    const struct table *table = &cells->series;
    for (size_t at = hash & table->mask;; at = (at + 1) & table->mask) {
        struct series *series = table->places[at].node;
        if (series == NULL)
            return NULL;
        if (table->places[at].hash == hash && series->meter_id == meter_id &&
            bytes_equal(series->subject, subject))
            return series;
    }
}

static bool
cell_is(const struct cell *cell, const struct cell_key *key)
{
    return cell->window == key->window && cell->group_hash.low == key->group.low &&
           cell->group_hash.high == key->group.high && cell->series->meter_id == key->meter_id &&
           bytes_equal(cell->series->subject, key->subject);
}

static struct cell *
cell_find(const struct cells *cells, uint64_t hash, const struct cell_key *key)
{
    const struct table *table = &cells->cells;
    for (size_t at = hash & table->mask;; at = (at + 1) & table->mask) {
        struct cell *cell = table->places[at].node;
        if (cell == NULL)
            return NULL;
        if (table->places[at].hash == hash && cell_is(cell, key))
            return cell;
    }
}

static const struct cell_group *
group_keep(struct cells *cells, struct hash128 hash, const struct cell_group *group)
{
    static const struct cell_group nothing = {0};
    if (group->count == 0)
        return &nothing;
    const struct table *table = &cells->groups;
    for (size_t at = hash.low & table->mask; table->places[at].node != NULL;
         at = (at + 1) & table->mask) {
        struct group_node *node = table->places[at].node;
        if (node->hash.low == hash.low && node->hash.high == hash.high)
            return &node->group;
    }
    struct group_node *node = arena_new(&cells->arena, struct group_node);
    node->hash = hash;
    node->group.count = group->count;
    for (uint32_t i = 0; i < group->count; i++)
        node->group.values[i] = arena_bytes(&cells->arena, group->values[i]);
    table_add(&cells->groups, hash.low, node);
    return &node->group;
}

static struct series *
series_keep(struct cells *cells, uint64_t hash, const struct cell_key *key)
{
    struct series *series = series_find(cells, hash, key->meter_id, key->subject);
    if (series != NULL)
        return series;
    series = arena_new(&cells->arena, struct series);
    series->meter_id = key->meter_id;
    series->subject = arena_bytes(&cells->arena, key->subject);
    table_add(&cells->series, hash, series);
    return series;
}

struct cells *
cells_open(void)
{
    struct cells *cells = pool_take(1, sizeof *cells);
    must(cells != NULL);
    table_init(&cells->series, TABLE_PLACES_MIN);
    table_init(&cells->cells, TABLE_PLACES_MIN);
    table_init(&cells->groups, TABLE_PLACES_MIN);
    return cells;
}

void
cells_close(struct cells *cells)
{
    if (cells == NULL)
        return;
    pool_give(cells->series.places);
    pool_give(cells->cells.places);
    pool_give(cells->groups.places);
    arena_done(&cells->arena);
    pool_give(cells);
}

void
cells_add(struct cells *cells, const struct fold_step *step)
{
    const struct cell_key *key = &step->key;
    must(key->width == CELL_QUARTER_HOUR && key->window >= 0);
    uint64_t of_series = series_hash(key->meter_id, key->subject);
    uint64_t hash = mix(of_series ^ key->group.low, (uint64_t)key->window);
    struct cell *cell = cell_find(cells, hash, key);
    if (cell == NULL) {
        cell = arena_new(&cells->arena, struct cell);
        cell->series = series_keep(cells, of_series, key);
        cell->window = key->window;
        cell->group_hash = key->group;
        cell->group = group_keep(cells, key->group, &step->group);
        cell->next = cell->series->first;
        cell->series->first = cell;
        cell->series->cells_count++;
        table_add(&cells->cells, hash, cell);
    }
    cell_merge(&cell->state, &step->state);
}

size_t
cells_count(const struct cells *cells)
{
    return cells->cells.count;
}

size_t
cells_bytes(const struct cells *cells)
{
    size_t places = cells->series.mask + cells->cells.mask + cells->groups.mask + 3;
    return cells->arena.total_bytes + places * sizeof(struct place);
}

void
cells_clear(struct cells *cells)
{
    table_clear(&cells->series);
    table_clear(&cells->cells);
    table_clear(&cells->groups);
    arena_reset(&cells->arena);
}

static bool
use_cell(const struct cell *cell, cell_view_fn use, void *context)
{
    const struct cell_view view = {
        .key =
            {
                  .width = CELL_QUARTER_HOUR,
                  .meter_id = cell->series->meter_id,
                  .subject = cell->series->subject,
                  .window = cell->window,
                  .group = cell->group_hash,
                  },
        .group = cell->group,
        .state = &cell->state,
    };
    return use(context, &view);
}

static bool
series_each(const struct series *series, int64_t from, int64_t to, cell_view_fn use, void *context)
{
    for (const struct cell *cell = series->first; cell != NULL; cell = cell->next) {
        if (cell->window >= from && cell->window < to && !use_cell(cell, use, context))
            return false;
    }
    return true;
}

// One question in seven parts, none of which has a default.
// NOLINTBEGIN(readability-function-size)
void
cells_each_of(
    const struct cells *cells,
    uint32_t meter_id,
    struct bytes subject,
    int64_t from_window,
    int64_t to_window,
    cell_view_fn use,
    void *context)
{
    const struct series *series =
        series_find(cells, series_hash(meter_id, subject), meter_id, subject);
    if (series != NULL)
        (void)series_each(series, from_window, to_window, use, context);
}
// NOLINTEND(readability-function-size)

void
cells_each_meter(
    const struct cells *cells,
    uint32_t meter_id,
    int64_t from_window,
    int64_t to_window,
    cell_view_fn use,
    void *context)
{
    for (size_t i = 0; i <= cells->series.mask; i++) {
        const struct series *series = cells->series.places[i].node;
        if (series != NULL && series->meter_id == meter_id &&
            !series_each(series, from_window, to_window, use, context))
            return;
    }
}

// As memcmp orders the keys on disk: meter, length of the subject, subject.
static int
series_compare(const void *a, const void *b)
{
    const struct series *left = *(struct series *const *)a;
    const struct series *right = *(struct series *const *)b;
    if (left->meter_id != right->meter_id)
        return left->meter_id < right->meter_id ? -1 : 1;
    if (left->subject.size != right->subject.size)
        return left->subject.size < right->subject.size ? -1 : 1;
    return memcmp(left->subject.data, right->subject.data, left->subject.size);
}

static int
cell_compare(const void *a, const void *b)
{
    const struct cell *left = *(struct cell *const *)a;
    const struct cell *right = *(struct cell *const *)b;
    if (left->window != right->window)
        return left->window < right->window ? -1 : 1;
    if (left->group_hash.high != right->group_hash.high)
        return left->group_hash.high < right->group_hash.high ? -1 : 1;
    if (left->group_hash.low != right->group_hash.low)
        return left->group_hash.low < right->group_hash.low ? -1 : 1;
    return 0;
}

static bool
cells_validate(const struct cells *cells)
{
    size_t listed = 0;
    for (size_t i = 0; i <= cells->series.mask; i++) {
        const struct series *series = cells->series.places[i].node;
        if (series == NULL)
            continue;
        size_t count = 0;
        for (const struct cell *cell = series->first; cell != NULL; cell = cell->next)
            count += cell->series == series;
        if (count == 0 || count != series->cells_count)
            return false;
        listed += count;
    }
    return listed == cells->cells.count;
}

static bool
series_each_sorted(
    const struct series *series, struct cell **sorted, cell_view_fn use, void *context)
{
    size_t count = 0;
    for (struct cell *cell = series->first; cell != NULL; cell = cell->next)
        sorted[count++] = cell;
    qsort(sorted, count, sizeof(struct cell *), cell_compare);
    for (size_t i = 0; i < count; i++) {
        if (!use_cell(sorted[i], use, context))
            return false;
    }
    return true;
}

void
cells_each_sorted(const struct cells *cells, cell_view_fn use, void *context)
{
    assert_slow(cells_validate(cells));
    (void)cells_validate;
    struct arena scratch = {0};
    const struct series **sorted =
        arena_array(&scratch, cells->series.count, const struct series *);
    size_t count = 0;
    size_t longest = 0;
    for (size_t i = 0; i <= cells->series.mask; i++) {
        const struct series *series = cells->series.places[i].node;
        if (series == NULL)
            continue;
        sorted[count++] = series;
        longest = series->cells_count > longest ? series->cells_count : longest;
    }
    must(count == cells->series.count);
    qsort(sorted, count, sizeof(struct series *), series_compare);
    struct cell **of_series = arena_array(&scratch, longest, struct cell *);
    for (size_t i = 0; i < count; i++) {
        if (!series_each_sorted(sorted[i], of_series, use, context))
            break;
    }
    arena_done(&scratch);
}
