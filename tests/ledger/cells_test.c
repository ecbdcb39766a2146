#include "ledger/cells.h"

#include <criterion/criterion.h>

#include <stdio.h>
#include <stdlib.h>

// The naive model: every step in a list, added up by walking all of it.
enum { METERS = 3, SUBJECTS = 40, WINDOWS = 30, GROUPS = 4, STEPS = 20000 };

static uint64_t seed = 42;

static uint64_t
next_random(uint64_t below)
{
    seed = seed * 6364136223846793005ULL + 1442695040888963407ULL;
    return (seed >> 33) % below;
}

static const struct meter meters[METERS] = {
    {.id = 1, .aggregation = AGGREGATION_SUM},
    {.id = 2, .aggregation = AGGREGATION_SUM},
    {.id = 3, .aggregation = AGGREGATION_SUM},
};

struct model {
    struct cell_state states[METERS][SUBJECTS][WINDOWS][GROUPS];
};

struct texts {
    char subject[SUBJECTS][16];
    char group[GROUPS][16];
};

static void
texts_make(struct texts *texts)
{
    for (int i = 0; i < SUBJECTS; i++)
        (void)snprintf(texts->subject[i], 16, "%s%d", i % 3 == 0 ? "long-name-" : "s", i);
    for (int i = 0; i < GROUPS; i++)
        (void)snprintf(texts->group[i], 16, "g%d", i);
}

static void
add_random(struct cells *cells, struct model *model, const struct texts *texts)
{
    uint32_t meter = (uint32_t)next_random(METERS);
    uint64_t subject = next_random(SUBJECTS);
    uint64_t window = next_random(WINDOWS);
    uint64_t group = meter == 0 ? 0 : next_random(GROUPS);
    // Copies, so that a pointer kept by cells_add would dangle.
    char *subject_text = strdup(texts->subject[subject]);
    char *group_text = strdup(texts->group[group]);
    struct bytes name = bytes_text(subject_text);
    struct fold_step step = {
        .meter = &meters[meter],
        .start_s = (int64_t)window * QUARTER_HOUR_S,
        .input = {.value = {(int128)next_random(1000) - 500}},
    };
    step.group.count = meter == 0 ? 0 : 1;
    step.group.values[0] = bytes_text(group_text);
    step.group_hash = cell_group_hash(&step.group);
    const uint64_t hash = cells_hash(name);
    cells_prefetch(cells, hash);
    struct cells_subject *guess = cells_guess(cells, hash);
    cells_prefetch_newest(guess);
    struct cells_subject *node = cells_subject_guessed(cells, guess, name, hash);
    cr_assert_eq(node, cells_subject(cells, name, hash));
    const struct meter_rule plain = {
        .meter = &meters[0], .place = (uint32_t)next_random(5), .is_plain = true};
    const struct cells_window place = cells_window_of(step.start_s, 0);
    if (meter == 0 && next_random(2) == 0)
        cells_add_plain(cells, node, &plain, &place, &step.input);
    else
        cells_add(cells, node, &step);
    cell_add(
        AGGREGATION_SUM,
        &model->states[meter][subject][window][group],
        &step.input,
        step.start_s,
        NULL);
    free(subject_text);
    free(group_text);
}

struct check {
    const struct model *model;
    const struct texts *texts;
    size_t seen;
    size_t stop_after;
    uint8_t last[CELL_KEY_MAX];
    size_t last_size;
};

static size_t
index_of(const char texts[][16], size_t count, struct bytes text)
{
    size_t i = 0;
    while (i < count && !bytes_equal(text, bytes_text(texts[i])))
        i++;
    cr_assert_lt(i, count, "an unknown text");
    return i;
}

static bool
check_cell(void *context, const struct cell_view *cell)
{
    struct check *check = context;
    size_t subject = index_of(check->texts->subject, SUBJECTS, cell->key.subject);
    size_t group = 0;
    if (cell->key.meter_id == 1)
        cr_assert_eq(cell->group->count, 0);
    else
        group = index_of(check->texts->group, GROUPS, cell->group->values[0]);
    const struct cell_state *wanted =
        &check->model
             ->states[cell->key.meter_id - 1][subject][cell->key.start_s / QUARTER_HOUR_S][group];
    cr_assert_eq(cell->state->count, wanted->count);
    cr_assert_eq(wide_compare(&cell->state->sum.sum, &wanted->sum.sum), 0);
    check->seen++;
    return check->seen != check->stop_after;
}

static bool
check_order(void *context, const struct cell_view *cell)
{
    struct check *check = context;
    uint8_t key[CELL_KEY_MAX];
    size_t size = cell_key_write(&cell->key, key);
    cr_assert_lt(bytes_compare(bytes_of(check->last, check->last_size), bytes_of(key, size)), 0);
    memcpy(check->last, key, size);
    check->last_size = size;
    return check_cell(context, cell);
}

// Windows by number, subject -1: all.
static struct cells_range
range_of(const struct texts *texts, uint32_t meter, int subject, int from, int to)
{
    struct cells_range range = {
        .meter_id = meter + 1, .from_s = from * QUARTER_HOUR_S, .to_s = to * QUARTER_HOUR_S};
    if (subject >= 0)
        range.subject = bytes_text(texts->subject[subject]);
    return range;
}

static size_t
model_count(const struct model *model, uint32_t meter, int subject, int from, int to)
{
    size_t count = 0;
    for (int s = 0; s < SUBJECTS; s++) {
        for (int w = from; w < to; w++) {
            for (int g = 0; g < GROUPS; g++)
                count += (subject < 0 || s == subject) && model->states[meter][s][w][g].count > 0;
        }
    }
    return count;
}

Test(cells, are_what_a_naive_model_says)
{
    struct texts texts;
    struct model *model = calloc(1, sizeof *model);
    struct cells *cells = cells_open();
    cr_assert_not_null(model);
    texts_make(&texts);
    // Twice: cleared cells are as good as new ones.
    for (int round = 0; round < 2; round++) {
        memset(model, 0, sizeof *model);
        for (int i = 0; i < STEPS; i++)
            add_random(cells, model, &texts);
        size_t all = 0;
        for (uint32_t m = 0; m < METERS; m++) {
            static const int ranges[][3] = {
                {-1, 0, WINDOWS},
                {-1, 5, 9      },
                {7,  3, 20     }
            };
            for (size_t i = 0; i < 3; i++) {
                const int *at = ranges[i];
                struct cells_range range = range_of(&texts, m, at[0], at[1], at[2]);
                struct check check = {.model = model, .texts = &texts};
                cells_each(cells, &range, check_cell, &check);
                cr_assert_eq(check.seen, model_count(model, m, at[0], at[1], at[2]));
            }
            all += model_count(model, m, -1, 0, WINDOWS);
        }
        cr_assert_eq(cells_count(cells), all);
        cr_assert_gt(cells_bytes(cells), all * 64);
        struct check check = {.model = model, .texts = &texts};
        cells_each_sorted(cells, check_order, &check);
        cr_assert_eq(check.seen, all);
        cells_clear(cells);
        cr_assert_eq(cells_count(cells), 0);
    }
    cells_close(cells);
    free(model);
}

Test(cells, stop_when_they_are_told)
{
    struct texts texts;
    struct model *model = calloc(1, sizeof *model);
    struct cells *cells = cells_open();
    cr_assert_not_null(model);
    texts_make(&texts);
    for (int i = 0; i < 1000; i++)
        add_random(cells, model, &texts);
    struct check check = {.model = model, .texts = &texts, .stop_after = 3};
    cells_each_sorted(cells, check_order, &check);
    cr_assert_eq(check.seen, 3);
    check.seen = 0;
    struct cells_range range = range_of(&texts, 0, -1, 0, WINDOWS);
    cells_each(cells, &range, check_cell, &check);
    cr_assert_eq(check.seen, 3);
    cells_close(cells);
    free(model);
}

// Every aggregation, sums that leave 128 bits in both directions and come back, subjects around
// what fits into a node, and more meters than a node has series for.
enum { KINDS = AGGREGATION_UNIQUE_COUNT + 1, LONG_SUBJECTS = 4, EVENTS = 6000 };

struct kinds {
    struct meter meters[2 * KINDS];
    struct cell_state states[2 * KINDS][LONG_SUBJECTS];
    struct arena arena;
    size_t seen;
};

static bool
check_kind(void *context, const struct cell_view *cell)
{
    struct kinds *kinds = context;
    const struct meter *meter = &kinds->meters[cell->key.meter_id - 1];
    const struct cell_state *wanted = NULL;
    struct buffer values[2] = {{0}, {0}};
    for (size_t s = 0; s < LONG_SUBJECTS; s++) {
        if (cell->key.subject.size == 23 + s)
            wanted = &kinds->states[cell->key.meter_id - 1][s];
    }
    cr_assert_not_null(wanted);
    cr_assert_eq(cell->aggregation, meter->aggregation);
    const struct cell_state *both[2] = {cell->state, wanted};
    for (size_t i = 0; i < 2; i++) {
        struct cell_state state = *both[i];
        if (meter->aggregation == AGGREGATION_UNIQUE_COUNT)
            cell_unique_list(&state.unique, &kinds->arena);
        cell_value_write(bytes_text("key"), meter->aggregation, &state, cell->group, &values[i]);
    }
    cr_assert(bytes_equal(buffer_view(&values[0]), buffer_view(&values[1])));
    buffer_done(&values[0]);
    buffer_done(&values[1]);
    kinds->seen++;
    return true;
}

Test(cells, are_of_all_aggregations_and_sizes)
{
    struct kinds *kinds = calloc(1, sizeof *kinds);
    struct cells *cells = cells_open();
    const char text[] = "a-subject-of-26-characters";
    const int128 most = ((int128)1 << 124) - 1;
    cr_assert_not_null(kinds);
    for (uint32_t m = 0; m < 2 * KINDS; m++)
        kinds->meters[m] = (struct meter){.id = m + 1, .aggregation = m % KINDS};
    for (int i = 0; i < EVENTS; i++) {
        const uint32_t m = (uint32_t)next_random(2 * KINDS);
        const size_t s = next_random(LONG_SUBJECTS);
        const struct bytes subject = bytes_of(text, 23 + s);
        // Up, far down, and up again, so that a total is beyond 128 bits on both sides on the way.
        const bool is_up = i < EVENTS / 4 || i >= EVENTS * 3 / 4;
        const struct meter *meter = &kinds->meters[m];
        struct fold_step step = {
            .meter = meter,
            .start_s = QUARTER_HOUR_S * 7,
            .input =
                {
                        .is_cancel = next_random(8) == 0,
                        .value = {is_up ? most : -most},
                        .time_ns = (QUARTER_HOUR_S * 7 + (int64_t)next_random(900)) * 1000000000,
                        .block = (uint64_t)i,
                        .distinct = {.low = next_random(100) + 1},
                        },
        };
        cells_add(cells, cells_subject(cells, subject, cells_hash(subject)), &step);
        cell_add(
            meter->aggregation, &kinds->states[m][s], &step.input, step.start_s, &kinds->arena);
        if (i % 1000 == 999)
            cells_each_sorted(cells, check_kind, kinds);
    }
    cr_assert_eq(cells_count(cells), (size_t)2 * KINDS * LONG_SUBJECTS);
    kinds->seen = 0;
    cells_each_sorted(cells, check_kind, kinds);
    cr_assert_eq(kinds->seen, cells_count(cells));
    cells_close(cells);
    arena_done(&kinds->arena);
    free(kinds);
}

Test(cells, of_nobody_are_none)
{
    struct cells *cells = cells_open();
    struct check check = {0};
    struct cells_range range = {.meter_id = 1, .to_s = INT64_MAX};
    cells_each(cells, &range, check_cell, &check);
    range.subject = bytes_text("nobody");
    cells_each(cells, &range, check_cell, &check);
    cells_each_sorted(cells, check_cell, &check);
    cr_assert_eq(check.seen, 0);
    cr_assert_eq(cells_count(cells), 0);
    cells_clear(cells);
    cells_close(cells);
    cells_close(NULL);
}
