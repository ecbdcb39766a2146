#include "ledger/fold_words.h"

#include "base/pack.h"
#include "ledger/cells_parts.h"

#include <criterion/criterion.h>

// Of one type: a count, a sum of the event's own value, sums of what is in the map and what is not,
// beyond the places of a map.
#define METER(name, type, kind, path, number)                                                      \
    {                                                                                              \
        .key = name, .event_type = type, .aggregation = kind, .value_property = path, .id = number \
    }

static const struct meter meters[] = {
    METER("n", "llm", AGGREGATION_COUNT, NULL, 1),
    METER("own", "llm", AGGREGATION_SUM, NULL, 2),
    METER("in", "llm", AGGREGATION_SUM, "$.tokens", 3),
    METER("far", "llm", AGGREGATION_SUM, "$.tokens", 4),
    METER("none", "api", AGGREGATION_MAX, "$.absent", 5),
};

struct bench {
    struct arena arena;
    struct meter_set *set;
    struct cells *cells;
    struct buffer properties;
    struct entry entry;
    struct fold_words words;
    struct fold_state state;
};

static void
bench_begin(struct bench *bench)
{
    struct error error = {0};
    *bench = (struct bench){.cells = cells_open()};
    bench->set = meter_set_make(meters, sizeof meters / sizeof meters[0], &bench->arena);
    pack_text(&bench->properties, "tokens");
    pack_uint(&bench->properties, 7);
    bench->entry = (struct entry){
        .subject = bytes_text("s"),
        .value = decimal_from_int(3),
        .properties_count = 1,
        .properties = buffer_view(&bench->properties),
    };
    cr_assert_eq(fold_words_open(&bench->words, &error), STATUS_OK);
    bench->state = (struct fold_state){.chapter = 1, .cells = bench->cells, .meters = 1};
    fold_words_begin(&bench->words, &bench->state);
}

static void
bench_end(struct bench *bench)
{
    fold_words_done(&bench->words);
    buffer_done(&bench->properties);
    cells_close(bench->cells);
    arena_done(&bench->arena);
}

static const struct meter_rule *
rules_of(const struct bench *bench, const char *type)
{
    const struct meter_rule *first = meter_set_first(bench->set, bytes_text(type));
    cr_assert_not_null(first);
    return first;
}

Test(fold_words, a_map_says_what_the_rules_say)
{
    struct bench bench;
    bench_begin(&bench);
    static const char *const types[] = {"llm", "api"};
    for (size_t i = 0; i < 2; i++) {
        const struct meter_rule *first = rules_of(&bench, types[i]);
        cr_assert_null(fold_words_map(&bench.words, 5, first), "known to the other type at most");
        const struct fold_map *map = fold_words_learn(&bench.words, 5, first, &bench.entry);
        cr_assert_eq(fold_words_map(&bench.words, 5, first), map);
        // The next one with this map.
        bench.entry.value = decimal_from_int(11 + (int64_t)i);
        for (const struct meter_rule *rule = first; rule != NULL; rule = rule->next_of_type) {
            struct decimal wanted = DECIMAL_ZERO;
            cr_assert_eq(fold_map_has(map, rule), rule->place < FOLD_MAP_VALUES);
            if (!fold_map_has(map, rule))
                continue;
            const struct decimal *value = fold_map_value(map, rule, &bench.entry.value);
            cr_assert_eq(meter_rule_value(rule, &bench.entry, &wanted), value != NULL);
            if (value != NULL)
                cr_assert(value->units == wanted.units, "%s", rule->meter->key);
        }
    }
    bench_end(&bench);
}

// Cells are added to where they are remembered, if they are of the event's meter, window and epoch.
Test(fold_words, a_subject_has_the_cells_that_were_added_to)
{
    struct bench bench;
    bench_begin(&bench);
    const struct meter_rule *count = rules_of(&bench, "llm"), *other = rules_of(&bench, "api");
    struct cells_subject *node = cells_subject(bench.cells, bench.entry.subject, 1);
    struct fold_subject *subject = fold_words_keep(&bench.words, 9, node);
    cr_assert_eq(subject, fold_words_subject(&bench.words, 9));
    cr_assert_null(subject->newest[0], "there is none yet");
    const struct cells_window window = cells_window_of(QUARTER_HOUR_S, 2);
    const struct cell_input input = {.value = DECIMAL_ZERO};
    cr_assert_not(cell_add_quick(NULL, count, &window, &input.value));
    struct cell *cell = cells_add_plain(bench.cells, node, count, &window, &input);
    cr_assert_eq(fold_words_keep(&bench.words, 9, node)->newest[0], cell);
    cr_assert_null(subject->newest[1]);
    const struct cells_window later = cells_window_of(2 * QUARTER_HOUR_S, 2);
    const struct cells_window sealed = cells_window_of(QUARTER_HOUR_S, 3);
    struct meter_rule sum = *count->next_of_type;
    cr_assert(sum.is_quick && count->is_quick && !other->is_quick);
    cr_assert(cell_add_quick(cell, count, &window, &input.value));
    cr_assert_not(cell_add_quick(cell, count, &later, &input.value));
    cr_assert_not(cell_add_quick(cell, count, &sealed, &input.value));
    cr_assert_not(cell_add_quick(cell, &sum, &window, &input.value), "another meter's");
    cr_assert_not(cell_add_quick(cell, other, &window, &input.value), "it keeps an extreme");
    cr_assert_eq(cell->count, 2);
    bench_end(&bench);
}

// Of another chapter, other cells, these when they were cleared, and other meters.
Test(fold_words, forgets_what_is_of_another_state)
{
    struct bench bench;
    bench_begin(&bench);
    const struct meter_rule *first = rules_of(&bench, "llm");
    struct cells *others = cells_open();
    for (int i = 0; i < 5; i++) {
        struct cells_subject *node = cells_subject(bench.cells, bench.entry.subject, 1);
        (void)fold_words_keep(&bench.words, 9, node);
        (void)fold_words_keep(&bench.words, TRACE_NONE, node);
        (void)fold_words_learn(&bench.words, 0, first, &bench.entry);
        (void)fold_words_learn(&bench.words, WORDS_MAX, first, &bench.entry);
        fold_words_begin(&bench.words, &bench.state);
        cr_assert_eq(fold_words_subject(&bench.words, 9)->node, node, "of the same state");
        cr_assert_not_null(fold_words_map(&bench.words, WORDS_MAX, first));
        cr_assert_null(fold_words_subject(&bench.words, 8));
        cr_assert_null(fold_words_subject(&bench.words, TRACE_NONE));
        cr_assert_null(fold_words_map(&bench.words, TRACE_NONE, first));
        bench.state.chapter += i == 0;
        bench.state.cells_age += i == 1;
        bench.state.meters += i == 2;
        bench.state.cells = i == 3 ? others : bench.cells;
        fold_words_begin(&bench.words, &bench.state);
        cr_assert_null(fold_words_subject(&bench.words, 9), "state %d", i);
        cr_assert_null(fold_words_map(&bench.words, 0, first), "state %d", i);
        cr_assert_null(fold_words_map(&bench.words, WORDS_MAX, first), "state %d", i);
    }
    cells_close(others);
    bench_end(&bench);
}
