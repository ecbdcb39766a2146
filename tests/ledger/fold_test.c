#include "ledger/fold.h"

#include "base/pack.h"

#include <criterion/criterion.h>

static const struct meter sum_meter = {
    .key = "tokens",
    .event_type = "llm",
    .aggregation = AGGREGATION_SUM,
    .value_property = "$.usage.tokens",
    .dimensions = {{"model", "$.model"}},
    .dimensions_count = 1,
    .id = 7,
};

static const struct fold_place place = {.block = 11, .index = 12, .arrival_ns = 13};

static struct entry
entry_of(uint32_t count, const struct buffer *properties)
{
    return (struct entry){
        .subject = bytes_text("s"),
        .type = bytes_text("llm"),
        .time_ns = 3 * QUARTER_HOUR_NS - 1,
        .value = {42},
        .properties_count = count,
        .properties = buffer_view(properties),
    };
}

struct value_row {
    const char *packed;
    size_t size;
    const char *number;  // NULL: the meter skips the event
    const char *text;    // as a dimension
};

#define ROW(packed, number, text)                                                                  \
    {                                                                                              \
        packed, sizeof(packed) - 1, number, text                                                   \
    }

static const struct value_row value_rows[] = {
    ROW("\x05", "5", "5"),
    ROW("\xff", "-1", "-1"),
    ROW("\xcf\x8a\xc7\x23\x04\x89\xe7\xff\xff", "9999999999999999999", "9999999999999999999"),
    ROW("\xcf\x8a\xc7\x23\x04\x89\xe8\0\0", NULL, "10000000000000000000"),
    ROW("\xd3\x80\0\0\0\0\0\0\0", "-9223372036854775808", "-9223372036854775808"),
    ROW("\xcb\x3f\xb9\x99\x99\x99\x99\x99\x9a", "0.1", "0.1"),
    ROW("\xca\x3d\xcc\xcc\xcd", "0.1", "0.1"),
    ROW("\xcb\x7f\xf8\0\0\0\0\0\0", NULL, ""),
    ROW("\xcb\x7f\xf0\0\0\0\0\0\0", NULL, ""),
    ROW("\xa3"
        "1.5",
        "1.5",
        "1.5"),
    ROW("\xa4"
        "-2e3",
        "-2000",
        "-2e3"),
    ROW("\xa3"
        "abc",
        NULL,
        "abc"),
    ROW("\xa0", NULL, ""),
    ROW("\xc4\x01"
        "7",
        NULL,
        "7"),
    ROW("\xc0", NULL, ""),
    ROW("\xc3", NULL, "true"),
    ROW("\xc2", NULL, "false"),
    ROW("\x90", NULL, ""),
    ROW("\x80", NULL, ""),
    ROW("\xd4\x01x", NULL, ""),
};

Test(fold, takes_numbers_and_texts_from_every_type)
{
    scoped(arena_done) struct arena arena = {0};
    struct meter meter = sum_meter;
    meter.value_property = "$.v";
    meter.dimensions[0].path = "$.v";
    struct meter by_text = meter;
    by_text.aggregation = AGGREGATION_COUNT;
    by_text.value_property = NULL;
    const struct meter meters[] = {meter, by_text};
    const struct meter_set *set = meter_set_make(meters, 2, &arena);
    for (size_t i = 0; i < sizeof value_rows / sizeof value_rows[0]; i++) {
        const struct value_row *row = &value_rows[i];
        struct buffer properties = {0};
        pack_text(&properties, "v");
        buffer_put(&properties, row->packed, row->size);
        struct entry entry = entry_of(1, &properties);
        struct fold_scratch scratch;
        struct fold_step step;
        const struct meter_rule *rule = meter_set_first(set, entry.type);
        bool is_applied = meter_rule_apply(rule, &entry, &place, &scratch, &step);
        cr_assert_eq(is_applied, row->number != NULL, "row %zu", i);
        if (is_applied) {
            char printed[DECIMAL_TEXT_MAX];
            (void)decimal_print(step.input.value, printed);
            cr_assert_str_eq(printed, row->number);
        }
        cr_assert(meter_rule_apply(rule->next_of_type, &entry, &place, &scratch, &step));
        cr_assert(bytes_equal(step.group.values[0], bytes_text(row->text)), "row %zu", i);
        cr_assert(step.input.value.units == 0, "a count has no sum");
        cr_assert_null(rule->next_of_type->next_of_type);
        buffer_done(&properties);
    }
}

static bool
apply(const struct meter *meter, const struct entry *entry, struct fold_step *step)
{
    scoped(arena_done) struct arena arena = {0};
    static struct fold_scratch scratch;
    const struct meter_set *set = meter_set_make(meter, 1, &arena);
    const struct meter_rule *rule = meter_set_first(set, entry->type);
    return rule != NULL && meter_rule_apply(rule, entry, &place, &scratch, step);
}

Test(fold, follows_paths_through_maps)
{
    static const struct {
        const char *path;
        const char *sum;
    } rows[] = {
        {"$.usage.tokens", "11"},
        {"$.usage.deep.x", "12"},
        {"$.tokens",       "1" },
        {"$.usage",        NULL},
        {"$.usage.none",   NULL},
        {"$.tokens.x",     NULL},
        {"$.after",        "13"},
        {"$.twice",        "1" }, // the first of equal keys
        {"$.none",         NULL},
    };
    struct buffer properties = {0};
    pack_text(&properties, "tokens"), pack_int(&properties, 1);
    pack_int(&properties, 5), pack_int(&properties, 6);  // a key that is no text
    pack_array(&properties, 1), pack_int(&properties, 7), pack_nil(&properties);
    pack_text(&properties, "usage"), pack_map(&properties, 2);
    pack_text(&properties, "tokens"), pack_int(&properties, 11);
    pack_text(&properties, "deep"), pack_map(&properties, 1);
    pack_text(&properties, "x"), pack_int(&properties, 12);
    pack_text(&properties, "after"), pack_int(&properties, 13);
    pack_text(&properties, "twice"), pack_int(&properties, 1);
    pack_text(&properties, "twice"), pack_int(&properties, 2);
    struct entry entry = entry_of(7, &properties);
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        struct meter meter = sum_meter;
        struct fold_step step;
        meter.value_property = rows[i].path;
        cr_assert_eq(apply(&meter, &entry, &step), rows[i].sum != NULL, "%s", rows[i].path);
        if (rows[i].sum != NULL) {
            char printed[DECIMAL_TEXT_MAX];
            (void)decimal_print(step.input.value, printed);
            cr_assert_str_eq(printed, rows[i].sum, "%s", rows[i].path);
        }
    }
    buffer_done(&properties);
}

Test(fold, fills_the_key_of_the_cell)
{
    struct buffer properties = {0};
    struct fold_step step;
    pack_text(&properties, "model"), pack_text(&properties, "gpt");
    struct entry entry = entry_of(1, &properties);
    struct meter meter = sum_meter;
    meter.value_property = NULL;
    cr_assert(apply(&meter, &entry, &step));
    cr_assert_eq(step.meter->id, 7);
    cr_assert_eq(step.start_s, 2 * QUARTER_HOUR_S);
    cr_assert_eq(step.epoch, 0);
    cr_assert_eq(step.input.time_ns, entry.time_ns);
    cr_assert_eq(step.input.block, 11);
    cr_assert_eq(step.input.index, 12);
    cr_assert_eq(step.input.arrival_ns, 13);
    cr_assert(step.input.value.units == 42, "the event's own value");
    struct hash128 wanted = cell_group_hash(&step.group);
    cr_assert(step.group_hash.low == wanted.low && step.group_hash.high == wanted.high);
    cr_assert(bytes_equal(step.group.values[0], bytes_text("gpt")));
    entry.time_ns = 3 * QUARTER_HOUR_NS;
    cr_assert(apply(&meter, &entry, &step));
    cr_assert_eq(step.start_s, 3 * QUARTER_HOUR_S);
    entry.time_ns = -1;
    cr_assert_not(apply(&meter, &entry, &step), "windows begin in 1970");
    meter.dimensions_count = 0;
    entry.time_ns = 0;
    cr_assert(apply(&meter, &entry, &step));
    cr_assert(step.group_hash.low == 0 && step.group_hash.high == 0);
    buffer_done(&properties);
}

Test(fold, does_not_read_beyond_broken_properties)
{
    const struct {
        const char *bytes;
        size_t size;
    } rows[] = {
        {"",               0},
        {"\xa5mod",        4},
        {"\xa5model",      6},
        {"\xa5model\xa9g", 8},
        {"\xc1\x01",       2},
        {"\x81\x01",       2},
    };
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        struct buffer properties = {0};
        struct fold_step step;
        buffer_put(&properties, rows[i].bytes, rows[i].size);
        struct entry entry = entry_of(3, &properties);
        cr_assert_not(apply(&sum_meter, &entry, &step), "row %zu", i);
        struct meter count = sum_meter;
        count.aggregation = AGGREGATION_COUNT;
        count.value_property = NULL;
        cr_assert(apply(&count, &entry, &step), "row %zu", i);
        cr_assert_eq(step.group.values[0].size, 0);
        buffer_done(&properties);
    }
}

Test(fold, finds_rules_by_type_and_id)
{
    enum { COUNT = 300 };
    scoped(arena_done) struct arena arena = {0};
    struct meter *meters = arena_array(&arena, COUNT, struct meter);
    for (uint32_t i = 0; i < COUNT; i++) {
        meters[i] = sum_meter;
        meters[i].id = i + 1;
        meters[i].key = arena_format(&arena, "m%u", i);
        meters[i].event_type = arena_format(&arena, "type-%u", i % 100);
    }
    const struct meter_set *set = meter_set_make(meters, COUNT, &arena);
    cr_assert_eq(meter_set_count(set), COUNT);
    for (uint32_t t = 0; t < 100; t++) {
        const char *type = arena_format(&arena, "type-%u", t);
        uint32_t id = t + 1;
        for (const struct meter_rule *rule = meter_set_first(set, bytes_text(type)); rule != NULL;
             rule = rule->next_of_type, id += 100)
            cr_assert_eq(rule->meter->id, id);
        cr_assert_eq(id, t + 301, "three meters a type, in their order");
    }
    cr_assert_null(meter_set_first(set, bytes_text("type-100")));
    cr_assert_eq(meter_set_find(set, 300)->meter->id, 300);
    cr_assert_null(meter_set_find(set, 301));
    cr_assert_eq(meter_set_at(set, 5)->id, 6);
    const struct meter_set *empty = meter_set_make(NULL, 0, &arena);
    cr_assert_null(meter_set_first(empty, bytes_text("llm")));
    cr_assert_eq(meter_set_count(empty), 0);
}

// UNIQUE_COUNT compares texts: which values of the rows are the same one.
Test(fold, tells_distinct_values_apart_by_their_text)
{
    static const struct {
        const char *packed;
        size_t size;
        int value;  // the same number: the same value; -1: skipped
    } rows[] = {
        {"\x01",                     1, 1 },
        {"\xa1"
         "1",               2,
         1                                }, // "1" is 1
        {"\xcb\x3f\xf0\0\0\0\0\0\0", 9, 1 },
        {"\x02",                     1, 2 },
        {"\xa0",                     1, 0 }, // the empty text, as what is missing
        {"\xc0",                     1, -1},
        {"\xc3",                     1, 3 },
        {"\xa4true",                 5, 3 },
        {"\x91\x01",                 2, 4 },
        {"\x91\x02",                 2, 5 },
        {"\x81\xa1k\x01",            4, 6 },
    };
    enum { ROWS = sizeof rows / sizeof rows[0] };
    struct hash128 hashes[ROWS];
    struct meter meter = sum_meter;
    meter.aggregation = AGGREGATION_UNIQUE_COUNT;
    meter.value_property = "$.v";
    for (size_t i = 0; i < ROWS; i++) {
        struct buffer properties = {0};
        struct fold_step step;
        pack_text(&properties, "v");
        buffer_put(&properties, rows[i].packed, rows[i].size);
        struct entry entry = entry_of(1, &properties);
        cr_assert_eq(apply(&meter, &entry, &step), rows[i].value >= 0, "row %zu", i);
        hashes[i] = step.input.distinct;
        buffer_done(&properties);
        if (rows[i].value < 0)
            continue;
        cr_assert(hashes[i].low | hashes[i].high);
        for (size_t k = 0; k < i; k++) {
            bool is_same = hashes[i].low == hashes[k].low && hashes[i].high == hashes[k].high;
            cr_assert_eq(is_same, rows[i].value == rows[k].value, "rows %zu and %zu", i, k);
        }
    }
    struct buffer nothing = {0};
    struct fold_step step;
    struct entry entry = entry_of(0, &nothing);
    cr_assert(apply(&meter, &entry, &step), "what is missing counts");
    cr_assert(step.input.distinct.low == hashes[4].low);
    meter.value_property = NULL;
    cr_assert(apply(&meter, &entry, &step), "the event's value");
}

// {"region": "eu", "tier": 2, "on": true, "off": nil, "list": ["eu"], "a": {"b": "c"}}
static const char filtered[] = "\xa6region\xa2"
                               "eu\xa4tier\x02\xa2on\xc3\xa3off\xc0\xa4list\x91\xa2"
                               "eu"
                               "\xa1"
                               "a\x81\xa1"
                               "b\xa1"
                               "c";

Test(fold, counts_nothing_before_the_moment_from_which_it_counts)
{
    static const struct {
        int64_t from_ns, time_ns;
        bool counts;
    } rows[] = {
        {0,   0,   true },
        {0,   5,   true },
        {100, 99,  false},
        {100, 100, true },
        {100, 101, true },
        {100, 0,   false},
    };
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        scoped(arena_done) struct arena arena = {0};
        const struct meter meter = {
            .key = "m",
            .event_type = "llm",
            .aggregation = AGGREGATION_COUNT,
            .events_from_ns = rows[i].from_ns,
            .id = 1};
        struct meter_set *set = meter_set_make(&meter, 1, &arena);
        const struct meter_rule *rule = meter_set_first(set, bytes_text("llm"));
        const struct entry entry = {
            .subject = bytes_text("s"), .type = bytes_text("llm"), .time_ns = rows[i].time_ns};
        struct fold_scratch scratch;
        struct fold_step step;
        cr_assert_eq(rule->is_plain, rows[i].from_ns == 0, "row %zu", i);
        bool counts = meter_rule_apply(rule, &entry, &place, &scratch, &step);
        cr_assert_eq(counts, rows[i].counts, "row %zu", i);
    }
}

Test(fold, counts_only_what_passes_every_filter)
{
    static const struct {
        const char *texts[3][2];  // path, value
        bool passes;
    } rows[] = {
        {{{"region", "eu"}},                            true },
        {{{"region", "us"}},                            false},
        {{{"region", "EU"}},                            false},
        {{{"region", "e"}},                             false},
        {{{"region", "us"}, {"region", "eu"}},          true },
        {{{"region", "eu"}, {"tier", "2"}},             true },
        {{{"region", "eu"}, {"tier", "3"}},             false},
        {{{"region", "us"}, {"tier", "2"}},             false},
        {{{"tier", "2.0"}},                             false},
        {{{"on", "true"}},                              true },
        {{{"off", "nil"}},                              false},
        {{{"list", "eu"}},                              false},
        {{{"a", "c"}},                                  false},
        {{{"a.b", "c"}, {"on", "true"}, {"tier", "2"}}, true },
        {{{"a.b.c", "c"}},                              false},
        {{{"missing", "eu"}},                           false},
    };
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        scoped(arena_done) struct arena arena = {0};
        struct meter meter = {
            .key = "m", .event_type = "llm", .aggregation = AGGREGATION_COUNT, .id = 1};
        struct error error = {0};
        for (size_t k = 0; k < 3 && rows[i].texts[k][0] != NULL; k++) {
            const char *path = arena_format(&arena, "$.%s", rows[i].texts[k][0]);
            const char *value = rows[i].texts[k][1];
            cr_assert_eq(meter_filter_add(&meter, path, value, &arena, &error), STATUS_OK);
        }
        struct meter_set *set = meter_set_make(&meter, 1, &arena);
        const struct meter_rule *rule = meter_set_first(set, bytes_text("llm"));
        struct entry entry = {
            .subject = bytes_text("s"),
            .type = bytes_text("llm"),
            .properties_count = 6,
            .properties = bytes_of(filtered, sizeof filtered - 1),
        };
        struct fold_scratch scratch;
        struct fold_step step;
        bool passes = meter_rule_apply(rule, &entry, &place, &scratch, &step);
        cr_assert_eq(passes, rows[i].passes, "row %zu", i);
    }
}
