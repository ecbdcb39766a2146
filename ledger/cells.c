// Three hash tables over two arenas:
//
//   subjects  subject                            -> its series, a list in the order of the meters
//   cells     (series, window, group, epoch)     -> state
//   groups    the dimension values, kept once: a few groups serve many subjects and windows
//
// Invariants: every cell hangs in exactly one series' list; a series is never empty; no pointer
// into a step's views outlives cells_add.

#include "base/arena.h"
#include "base/assert.h"
#include "base/pool.h"
#include "base/prefetch.h"
#include "ledger/cells_parts.h"
#include "ledger/cells_sort.h"

#include <stddef.h>
#include <stdlib.h>

enum { TABLE_PLACES_MIN = 1024 };

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
    struct arena arena;  // of nodes, which begin at lines of the cache
    struct arena texts;  // subjects, side by side: behind its node each would take a line
    struct table subjects;
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
    if (table->count >= (table->mask + 1) / 4 * 3) {
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

struct cells *
cells_open(void)
{
    struct cells *cells = pool_take(1, sizeof *cells);
    must(cells != NULL && "no memory for cells: free some");
    table_init(&cells->subjects, TABLE_PLACES_MIN);
    table_init(&cells->cells, TABLE_PLACES_MIN);
    table_init(&cells->groups, TABLE_PLACES_MIN);
    return cells;
}

void
cells_close(struct cells *cells)
{
    if (cells == NULL)
        return;
    pool_give(cells->subjects.places);
    pool_give(cells->cells.places);
    pool_give(cells->groups.places);
    arena_done(&cells->arena);
    arena_done(&cells->texts);
    pool_give(cells);
}

void
cells_clear(struct cells *cells)
{
    table_clear(&cells->subjects);
    table_clear(&cells->cells);
    table_clear(&cells->groups);
    arena_reset(&cells->arena);
    arena_reset(&cells->texts);
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
    return cells->cells.count;
}

size_t
cells_bytes(const struct cells *cells)
{
    size_t places = cells->subjects.mask + cells->cells.mask + cells->groups.mask + 3;
    size_t bytes = cells->arena.total_bytes + cells->texts.total_bytes;
    return bytes + places * sizeof(struct place);
}

// --- adding ---

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

// Three lines: what is behind the node is its text.
struct cells_subject *
cells_guess(const struct cells *cells, uint64_t hash)
{
    const struct table *table = &cells->subjects;
    size_t at = hash & table->mask;
    while (table->places[at].node != NULL && table->places[at].hash != hash)
        at = (at + 1) & table->mask;
    struct cells_subject *node = table->places[at].node;
    if (node != NULL) {
        prefetch(node);
        prefetch((const char *)node + LINE);
        prefetch(node + 1);
    }
    return node;
}

void
cells_prefetch_newest(const struct cells_subject *guess)
{
    if (guess == NULL)
        return;
    for (size_t i = 0; i < SERIES_PER_RUN && guess->first.series[i].newest != NULL; i++)
        prefetch(guess->first.series[i].newest);
}

static struct bytes
subject_text(const struct cells_subject *subject)
{
    return bytes_of(subject->text, subject->text_size);
}

static struct cells_subject *
subject_find(const struct cells *cells, struct bytes subject, uint64_t hash)
{
    const struct table *table = &cells->subjects;
    for (size_t at = hash & table->mask;; at = (at + 1) & table->mask) {
        struct cells_subject *node = table->places[at].node;
        if (node == NULL)
            return NULL;
        if (table->places[at].hash == hash && bytes_equal(subject_text(node), subject))
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
    node->text = arena_bytes(&cells->texts, subject).data;
    node->text_size = (uint32_t)subject.size;
    node->hash = hash;
    table_add(&cells->subjects, hash, node);
    return node;
}

struct cells_subject *
cells_subject_guessed(
    struct cells *cells, struct cells_subject *guess, struct bytes subject, uint64_t hash)
{
    if (guess != NULL && bytes_equal(subject_text(guess), subject))
        return guess;
    return cells_subject(cells, subject, hash);
}

// A handful of meters want a type, so that looking at one after another serves.
static struct series *
series_keep(struct cells *cells, struct cells_subject *subject, const struct meter *meter)
{
    struct series_run *run = &subject->first;
    for (size_t i = 0;; i++) {
        if (i == SERIES_PER_RUN) {
            if (run->next == NULL)
                run->next = arena_new(&cells->arena, struct series_run);
            run = run->next;
            i = 0;
        }
        struct series *series = &run->series[i];
        if (series->newest != NULL && series->meter_id == meter->id)
            return series;
        if (series->newest == NULL) {
            series->meter_id = meter->id;
            series->aggregation = meter->aggregation;
            series->subject = subject;
            return series;
        }
    }
}

// The series at a number, counted over all runs; NULL: there are no more.
static const struct series *
series_at(const struct cells_subject *subject, size_t number)
{
    const struct series_run *run = &subject->first;
    for (; number >= SERIES_PER_RUN && run != NULL; number -= SERIES_PER_RUN)
        run = run->next;
    return run != NULL && run->series[number].newest != NULL ? &run->series[number] : NULL;
}

// Of the step's series: then both have a group, or neither.
static bool
cell_is(const struct cell *cell, const struct fold_step *step)
{
    return cell->start_s == step->start_s && cell->epoch == step->epoch &&
           (step->group.count == 0 || (cell->group->hash.low == step->group_hash.low &&
                                       cell->group->hash.high == step->group_hash.high));
}

static uint64_t
cell_hash(const struct series *series, const struct fold_step *step)
{
    uint64_t of_series = series->subject->hash ^ series->meter_id;
    return mix(of_series ^ step->group_hash.low, (uint64_t)step->start_s ^ step->epoch);
}

static struct cell *
cell_find(
    const struct cells *cells,
    uint64_t hash,
    const struct series *series,
    const struct fold_step *step)
{
    const struct table *table = &cells->cells;
    for (size_t at = hash & table->mask;; at = (at + 1) & table->mask) {
        struct cell *cell = table->places[at].node;
        if (cell == NULL)
            return NULL;
        if (table->places[at].hash == hash && cell->series == series && cell_is(cell, step))
            return cell;
    }
}

static const struct group_node *
group_keep(struct cells *cells, struct hash128 hash, const struct cell_group *group)
{
    static const struct group_node nothing = {0};
    if (group->count == 0)
        return &nothing;
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
        node->group.values[i] = arena_bytes(&cells->arena, group->values[i]);
    table_add(&cells->groups, hash.low, node);
    return node;
}

static struct cell *
cell_keep(struct cells *cells, struct series *series, const struct fold_step *step)
{
    uint64_t hash = cell_hash(series, step);
    struct cell *cell = cell_find(cells, hash, series, step);
    if (cell != NULL)
        return cell;
    cell = arena_new(&cells->arena, struct cell);
    cell->series = series;
    cell->start_s = step->start_s;
    cell->epoch = step->epoch;
    cell->meter_id = series->meter_id;
    cell->group = group_keep(cells, step->group_hash, &step->group);
    cell->next = series->newest;
    series->newest = cell;
    series->cells_count++;
    table_add(&cells->cells, hash, cell);
    return cell;
}

void
cells_add(struct cells *cells, struct cells_subject *subject, const struct fold_step *step)
{
    const struct meter *meter = step->meter;
    must(step->start_s >= 0);
    assert_slow(step->start_s % QUARTER_HOUR_S == 0);
    struct series *series = series_keep(cells, subject, meter);
    must(series->aggregation == meter->aggregation);
    struct cell *cell = series->newest;
    if (cell == NULL || !cell_is(cell, step))
        cell = cell_keep(cells, series, step);
    cell_add(meter->aggregation, &cell->state, &step->input, step->start_s, &cells->arena);
}

// What is not the newest cell of the series, or is the first one.
static __attribute__((noinline)) struct cell *
cell_keep_plain(
    struct cells *cells,
    struct series *series,
    const struct meter *meter,
    const struct cells_window *window)
{
    const struct fold_step step = {
        .meter = meter, .start_s = window->start_s, .epoch = window->epoch};
    return cell_keep(cells, series, &step);
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
    struct series *series = &subject->first.series[rule->place < SERIES_PER_RUN ? rule->place : 0];
    if (series->newest == NULL || series->meter_id != meter->id)
        series = series_keep(cells, subject, meter);
    must(series->aggregation == meter->aggregation);
    struct cell *cell = series->newest;
    if (cell == NULL || cell->start_s != window->start_s || cell->epoch != window->epoch)
        cell = cell_keep_plain(cells, series, meter, window);
    cell_add(meter->aggregation, &cell->state, input, window->start_s, &cells->arena);
    return cell;
}

// --- reading ---

static bool
use_cell(const struct cell *cell, cell_view_fn use, void *context)
{
    const struct cell_view view = {
        .key =
            {
                  .width = CELL_QUARTER_HOUR,
                  .meter_id = cell->series->meter_id,
                  .subject = subject_text(cell->series->subject),
                  .start_s = cell->start_s,
                  .group = cell->group->hash,
                  .epoch = cell->epoch,
                  },
        .aggregation = cell->series->aggregation,
        .group = &cell->group->group,
        .state = &cell->state,
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
    const struct series *series;
    size_t number = 0;
    do {
        series = series_at(subject, number++);
    } while (series != NULL && series->meter_id != range->meter_id);
    for (const struct cell *cell = series ? series->newest : NULL; cell != NULL;
         cell = cell->next) {
        bool is_wanted = cell->start_s >= range->from_s && cell->start_s < range->to_s;
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

static bool
cells_validate(const struct cells *cells)
{
    size_t listed = 0;
    for (size_t i = 0; i <= cells->subjects.mask; i++) {
        const struct cells_subject *subject = cells->subjects.places[i].node;
        if (subject == NULL)
            continue;
        const struct series *series;
        for (size_t number = 0; (series = series_at(subject, number)) != NULL; number++) {
            size_t count = 0;
            for (const struct cell *cell = series->newest; cell != NULL; cell = cell->next)
                count += cell->series == series;
            if (count == 0 || count != series->cells_count || series->subject != subject)
                return false;
            listed += count;
        }
    }
    return listed == cells->cells.count;
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
    const struct cell **sorted = cells_sort(subjects, count, cells->cells.count, &scratch);
    for (size_t i = 0; i < cells->cells.count; i++) {
        if (!use_cell(sorted[i], use, context))
            break;
    }
    arena_done(&scratch);
}
