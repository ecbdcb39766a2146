// Three hash tables over two arenas:
//
//   subjects  subject                         -> its series: the newest cell of each meter
//   older     (subject, meter, window, group) -> a cell that is the newest of its series no more
//   groups    the dimension values, kept once: a few groups serve many subjects and windows
//
// Invariants: every cell hangs in exactly one series' list; it is the first one there, or in the
// table of older ones; no pointer into a step's views outlives cells_add.

#include "base/arena.h"
#include "base/assert.h"
#include "base/pool.h"
#include "base/prefetch.h"
#include "ledger/cells_parts.h"
#include "ledger/cells_sort.h"
#include "ledger/pages.h"

#include <stddef.h>
#include <stdlib.h>

enum {
    TABLE_PLACES_MIN = 1024,
    CELLS_AHEAD = 16,  // of a flush, between the prefetch of a cell and its use
};

struct place {
    uint64_t hash;
    void *node;  // NULL: free
};

struct table {
    struct place *places;
    size_t mask;
    size_t count;
};

struct cells {
    uint64_t age;
    size_t count;
    struct arena arena;  // of nodes and cells, a line of the cache each
    struct arena texts;  // subjects that are too long for their nodes
    struct table subjects;
    struct table older;
    struct table groups;
};

static size_t
table_bytes(const struct table *table)
{
    return (table->mask + 1) * sizeof *table->places;
}

static void
table_init(struct table *table, size_t places)
{
    table->mask = places - 1;
    table->count = 0;
    table->places = pages_take_scattered(table_bytes(table));
    must(table->places != NULL && "no memory for cells: lower the tail's bound");
}

static void
table_done(struct table *table)
{
    pages_give(table->places, table_bytes(table));
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
    if (table->count >= (table->mask + 1) / 4 * 3) {
        struct table larger;
        table_init(&larger, (table->mask + 1) * 2);
        for (size_t i = 0; i <= table->mask; i++) {
            if (table->places[i].node != NULL)
                table_put(&larger, table->places[i].hash, table->places[i].node);
        }
        table_done(table);
        *table = larger;
    }
    table_put(table, hash, node);
}

// As large as what was in it needs: as much may come again.
static void
table_clear(struct table *table)
{
    size_t places = table->mask + 1;
    while (places > TABLE_PLACES_MIN && table->count < places / 4)
        places /= 2;
    table_done(table);
    table_init(table, places);
}

static uint64_t
mix(uint64_t a, uint64_t b)
{
    uint128 product = (uint128)(a ^ 0x9e3779b97f4a7c15ULL) * (b ^ 0xd6e8feb86659fd93ULL);
    return (uint64_t)product ^ (uint64_t)(product >> 64);
}

struct cells *
cells_open(void)
{
    struct cells *cells = pool_take(1, sizeof *cells);
    must(cells != NULL && "no memory for cells: free some");
    table_init(&cells->subjects, TABLE_PLACES_MIN);
    table_init(&cells->older, TABLE_PLACES_MIN);
    table_init(&cells->groups, TABLE_PLACES_MIN);
    return cells;
}

void
cells_close(struct cells *cells)
{
    if (cells == NULL)
        return;
    table_done(&cells->subjects);
    table_done(&cells->older);
    table_done(&cells->groups);
    arena_done(&cells->arena);
    arena_done(&cells->texts);
    pool_give(cells);
}

void
cells_clear(struct cells *cells)
{
    table_clear(&cells->subjects);
    table_clear(&cells->older);
    table_clear(&cells->groups);
    arena_rewind(&cells->arena);
    arena_rewind(&cells->texts);
    cells->count = 0;
    cells->age++;
}

uint64_t
cells_age(const struct cells *cells)
{
    return cells->age;
}

size_t
cells_count(const struct cells *cells)
{
    return cells->count;
}

size_t
cells_bytes(const struct cells *cells)
{
    size_t places = cells->subjects.mask + cells->older.mask + cells->groups.mask + 3;
    size_t bytes = cells->arena.total_bytes + cells->texts.total_bytes;
    return bytes + places * sizeof(struct place);
}

// --- adding ---

static struct cell_state
cell_small_state(const struct cell *cell)
{
    return (struct cell_state){.count = cell->count, .sum = {.sum = wide_from_int128(cell->sum)}};
}

uint64_t
cells_hash(struct bytes subject)
{
    return cells_hash_of(hash64(subject, 0));
}

void
cells_prefetch(const struct cells *cells, uint64_t hash)
{
    prefetch(&cells->subjects.places[hash & cells->subjects.mask]);
}

// The first cells of a subject mostly lie behind its node.
struct cells_subject *
cells_guess(const struct cells *cells, uint64_t hash)
{
    const struct table *table = &cells->subjects;
    size_t at = hash & table->mask;
    while (table->places[at].node != NULL && table->places[at].hash != hash)
        at = (at + 1) & table->mask;
    struct cells_subject *node = table->places[at].node;
    if (node != NULL) {
        for (size_t i = 0; i <= SERIES_NEAR; i++)
            prefetch((const char *)node + i * LINE);
    }
    return node;
}

void
cells_prefetch_newest(const struct cells_subject *guess)
{
    if (guess == NULL)
        return;
    if (guess->text_size > SUBJECT_NEAR_MAX)
        prefetch(guess->text.far);
    for (size_t i = 0; i < SERIES_NEAR && guess->newest[i] != NULL; i++)
        prefetch(guess->newest[i]);
}

static struct cells_subject *
subject_find(const struct cells *cells, struct bytes subject, uint64_t hash)
{
    const struct table *table = &cells->subjects;
    for (size_t at = hash & table->mask;; at = (at + 1) & table->mask) {
        struct cells_subject *node = table->places[at].node;
        if (node == NULL)
            return NULL;
        if (table->places[at].hash == hash && bytes_equal(cells_subject_text(node), subject))
            return node;
    }
}

struct cells_subject *
cells_subject(struct cells *cells, struct bytes subject, uint64_t hash)
{
    struct cells_subject *node = subject_find(cells, subject, hash);
    if (node != NULL)
        return node;
    node = arena_new(&cells->arena, struct cells_subject);
    node->text_size = (uint32_t)subject.size;
    if (subject.size > SUBJECT_NEAR_MAX)
        node->text.far = arena_bytes(&cells->texts, subject).data;
    else if (subject.size > 0)
        memcpy(node->text.near, subject.data, subject.size);
    table_add(&cells->subjects, hash, node);
    return node;
}

struct cells_subject *
cells_subject_guessed(
    struct cells *cells, struct cells_subject *guess, struct bytes subject, uint64_t hash)
{
    if (guess != NULL && bytes_equal(cells_subject_text(guess), subject))
        return guess;
    return cells_subject(cells, subject, hash);
}

static bool
series_is_for(const struct cell *newest, const struct meter *meter)
{
    if (newest == NULL)
        return true;
    must(newest->meter_id != meter->id || newest->aggregation == meter->aggregation);
    return newest->meter_id == meter->id;
}

// The place of the meter's series, or the first unused one. A handful of meters want a type, so
// that looking at one after another serves.
static struct cell **
series_keep(struct cells *cells, struct cells_subject *subject, const struct meter *meter)
{
    for (size_t i = 0; i < SERIES_NEAR; i++) {
        if (series_is_for(subject->newest[i], meter))
            return &subject->newest[i];
    }
    for (struct series_run **more = &subject->more;; more = &(*more)->next) {
        if (*more == NULL)
            *more = arena_new(&cells->arena, struct series_run);
        for (size_t i = 0; i < SERIES_A_RUN; i++) {
            if (series_is_for((*more)->newest[i], meter))
                return &(*more)->newest[i];
        }
    }
}

// The newest cell of the series at a number, counted over all runs; NULL: there are no more.
static struct cell *
series_at(const struct cells_subject *subject, size_t number)
{
    if (number < SERIES_NEAR)
        return subject->newest[number];
    const struct series_run *run = subject->more;
    for (number -= SERIES_NEAR; number >= SERIES_A_RUN && run != NULL; number -= SERIES_A_RUN)
        run = run->next;
    return run != NULL ? run->newest[number] : NULL;
}

static uint64_t
cell_hash(const struct cell *cell)
{
    uint64_t of_series = mix((uintptr_t)cell->subject, cell->meter_id);
    uint64_t of_window = (uint64_t)cell->window.quarter << 32 | cell->window.epoch;
    return mix(of_series ^ cell->group->hash.low, of_window);
}

static bool
cell_is_alike(const struct cell *a, const struct cell *b)
{
    return a->subject == b->subject && a->meter_id == b->meter_id && a->group == b->group &&
           cells_window_is(&a->window, &b->window);
}

static struct cell *
older_find(const struct cells *cells, uint64_t hash, const struct cell *like)
{
    const struct table *table = &cells->older;
    for (size_t at = hash & table->mask;; at = (at + 1) & table->mask) {
        struct cell *cell = table->places[at].node;
        if (cell == NULL || (table->places[at].hash == hash && cell_is_alike(cell, like)))
            return cell;
    }
}

static const struct group_node no_group = {0};

static const struct group_node *
group_keep(struct cells *cells, struct hash128 hash, const struct cell_group *group)
{
    if (group->count == 0)
        return &no_group;
    const struct table *table = &cells->groups;
    for (size_t at = hash.low & table->mask; table->places[at].node != NULL;
         at = (at + 1) & table->mask) {
        struct group_node *node = table->places[at].node;
        if (node->hash.low == hash.low && node->hash.high == hash.high)
            return node;
    }
    struct group_node *node = arena_new(&cells->arena, struct group_node);
    node->hash = hash;
    node->group.count = group->count;
    for (uint32_t i = 0; i < group->count; i++)
        node->group.values[i] = arena_bytes(&cells->texts, group->values[i]);
    table_add(&cells->groups, hash.low, node);
    return node;
}

// What is not the newest cell of the series, or is the first one. like: all that tells it.
static struct cell *
cell_keep(struct cells *cells, struct cell **newest, const struct cell *like)
{
    if (*newest != NULL) {
        struct cell *older = older_find(cells, cell_hash(like), like);
        if (older != NULL)
            return older;
        table_add(&cells->older, cell_hash(*newest), *newest);
    }
    struct cell *cell = arena_new(&cells->arena, struct cell);
    *cell = *like;
    cell->is_large = !cell_is_sum(like->aggregation) && like->aggregation != AGGREGATION_COUNT;
    if (cell->is_large)
        cell->state = arena_new(&cells->arena, struct cell_state);
    cell->next = *newest;
    *newest = cell;
    cells->count++;
    return cell;
}

// False: the sum is too large for the cell, which is as it was.
static bool
cell_add_small(struct cell *cell, const struct cell_input *input)
{
    if (cell_is_sum(cell->aggregation)) {
        int128 sum;
        const int128 units = input->is_cancel ? -input->value.units : input->value.units;
        if (__builtin_add_overflow(cell->sum, units, &sum))
            return false;
        cell->sum = sum;
    }
    cell->count += input->is_cancel ? -1 : 1;
    return true;
}

static void
cell_take(struct cells *cells, struct cell *cell, const struct cell_input *input)
{
    if (!cell->is_large && cell_add_small(cell, input))
        return;
    if (!cell->is_large) {
        struct cell_state *state = arena_new(&cells->arena, struct cell_state);
        *state = cell_small_state(cell);
        cell->state = state;
        cell->is_large = true;
    }
    const int64_t start_s = cells_window_start_s(&cell->window);
    cell_add(cell->aggregation, cell->state, input, start_s, &cells->arena);
}

void
cells_add(struct cells *cells, struct cells_subject *subject, const struct fold_step *step)
{
    const struct meter *meter = step->meter;
    must(step->start_s >= 0);
    assert_slow(step->start_s % QUARTER_HOUR_S == 0);
    const struct cells_window window = cells_window_of(step->start_s, step->epoch);
    struct cell **newest = series_keep(cells, subject, meter);
    struct cell *cell = *newest;
    if (cell == NULL || !cells_window_is(&cell->window, &window) ||
        (step->group.count > 0 && (cell->group->hash.low != step->group_hash.low ||
                                   cell->group->hash.high != step->group_hash.high))) {
        const struct cell like = {
            .window = window,
            .meter_id = meter->id,
            .aggregation = (uint8_t)meter->aggregation,
            .subject = subject,
            .group = group_keep(cells, step->group_hash, &step->group),
        };
        cell = cell_keep(cells, newest, &like);
    }
    cell_take(cells, cell, &step->input);
}

static __attribute__((noinline)) struct cell *
cell_keep_plain(
    struct cells *cells,
    struct cells_subject *subject,
    struct cell **newest,
    const struct meter *meter,
    const struct cells_window *window)
{
    const struct cell like = {
        .window = *window,
        .meter_id = meter->id,
        .aggregation = (uint8_t)meter->aggregation,
        .subject = subject,
        .group = &no_group,
    };
    return cell_keep(cells, newest, &like);
}

struct cell *
cells_add_plain(
    struct cells *cells,
    struct cells_subject *subject,
    const struct meter_rule *rule,
    const struct cells_window *window,
    const struct cell_input *input)
{
    const struct meter *meter = rule->meter;
    must(rule->is_plain);
    // A subject whose events are of one type has its series in the order of the type's rules.
    struct cell **newest = &subject->newest[rule->place < SERIES_NEAR ? rule->place : 0];
    if (*newest == NULL || (*newest)->meter_id != meter->id)
        newest = series_keep(cells, subject, meter);
    struct cell *cell = *newest;
    if (cell == NULL || !cells_window_is(&cell->window, window))
        cell = cell_keep_plain(cells, subject, newest, meter, window);
    must(cell->aggregation == meter->aggregation);
    cell_take(cells, cell, input);
    return cell;
}

// --- reading ---

static bool
use_cell(const struct cell *cell, cell_view_fn use, void *context)
{
    struct cell_state small;
    if (!cell->is_large)
        small = cell_small_state(cell);
    const struct cell_view view = {
        .key =
            {
                  .width = CELL_QUARTER_HOUR,
                  .meter_id = cell->meter_id,
                  .subject = cells_subject_text(cell->subject),
                  .start_s = cells_window_start_s(&cell->window),
                  .group = cell->group->hash,
                  .epoch = cell->window.epoch,
                  },
        .aggregation = cell->aggregation,
        .group = &cell->group->group,
        .state = cell->is_large ? cell->state : &small,
    };
    return use(context, &view);
}

static bool
subject_each(
    const struct cells_subject *subject,
    const struct cells_range *range,
    cell_view_fn use,
    void *context)
{
    const struct cell *cell;
    size_t number = 0;
    do {
        cell = series_at(subject, number++);
    } while (cell != NULL && cell->meter_id != range->meter_id);
    for (; cell != NULL; cell = cell->next) {
        const int64_t start_s = cells_window_start_s(&cell->window);
        bool is_wanted = start_s >= range->from_s && start_s < range->to_s;
        if (is_wanted && !use_cell(cell, use, context))
            return false;
    }
    return true;
}

void
cells_each(
    const struct cells *cells, const struct cells_range *range, cell_view_fn use, void *context)
{
    if (range->subject.size > 0) {
        const struct cells_subject *subject =
            subject_find(cells, range->subject, cells_hash(range->subject));
        if (subject != NULL)
            (void)subject_each(subject, range, use, context);
        return;
    }
    for (size_t i = 0; i <= cells->subjects.mask; i++) {
        const struct cells_subject *subject = cells->subjects.places[i].node;
        if (subject != NULL && !subject_each(subject, range, use, context))
            return;
    }
}

// How many cells the series has; 0: something is wrong.
static size_t
series_validate(
    const struct cells *cells, const struct cells_subject *subject, const struct cell *newest)
{
    size_t count = 0;
    for (const struct cell *cell = newest; cell != NULL; cell = cell->next) {
        if (cell->subject != subject || cell->meter_id != newest->meter_id ||
            (cell != newest && older_find(cells, cell_hash(cell), cell) != cell))
            return 0;
        count++;
    }
    return count;
}

static bool
cells_validate(const struct cells *cells)
{
    size_t listed = 0, older = 0;
    for (size_t i = 0; i <= cells->subjects.mask; i++) {
        const struct cells_subject *subject = cells->subjects.places[i].node;
        if (subject == NULL)
            continue;
        const struct cell *newest;
        for (size_t number = 0; (newest = series_at(subject, number)) != NULL; number++) {
            size_t count = series_validate(cells, subject, newest);
            if (count == 0)
                return false;
            listed += count;
            older += count - 1;
        }
    }
    return listed == cells->count && older == cells->older.count;
}

void
cells_each_sorted(const struct cells *cells, cell_view_fn use, void *context)
{
    assert_slow(cells_validate(cells));
    (void)cells_validate;
    struct arena scratch = {0};
    const struct cells_subject **subjects =
        arena_array(&scratch, cells->subjects.count, const struct cells_subject *);
    size_t count = 0;
    for (size_t i = 0; i <= cells->subjects.mask; i++) {
        if (cells->subjects.places[i].node != NULL)
            subjects[count++] = cells->subjects.places[i].node;
    }
    must(count == cells->subjects.count);
    subjects_sort(subjects, count, &scratch);
    const struct cell **sorted = cells_sort(subjects, count, cells->count, &scratch);
    for (size_t i = 0; i < cells->count; i++) {
        if (i + CELLS_AHEAD < cells->count)
            prefetch(sorted[i + CELLS_AHEAD]);
        if (i + CELLS_AHEAD / 2 < cells->count)
            prefetch(sorted[i + CELLS_AHEAD / 2]->subject);
        if (!use_cell(sorted[i], use, context))
            break;
    }
    arena_done(&scratch);
}
