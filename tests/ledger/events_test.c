#include "ledger/events.h"

#include "base/clock.h"
#include "ledger/control.h"
#include "tests/ledger/reading.h"

#include <criterion/criterion.h>

#include <math.h>
#include <stdio.h>

static struct reader *
open_reader(struct reading *reading)
{
    struct reader *reader;
    struct error error = {0};
    cr_assert_eq(reader_open(reading->dir, &reader, &error), STATUS_OK, "%s", error.text);
    return reader;
}

static struct events_result
list(struct reader *reader, const struct events_query *query, struct arena *arena)
{
    struct events_result result;
    struct error error = {0};
    enum status status = events_list(reader, query, arena, &result, &error);
    cr_assert_eq(status, STATUS_OK, "%s", error.text);
    return result;
}

static bool
is_newer(const struct events_row *a, const struct events_row *b)
{
    if (a->entry.time_ns != b->entry.time_ns)
        return a->entry.time_ns > b->entry.time_ns;
    if (a->shard != b->shard)
        return a->shard > b->shard;
    return a->block != b->block ? a->block > b->block : a->index > b->index;
}

// All events there are, in one arena, by pages of the given size.
static size_t
list_pages(
    struct reader *reader,
    struct events_query query,
    uint32_t limit,
    struct arena *arena,
    struct events_row *out,
    size_t out_max)
{
    size_t count = 0;
    query.limit = limit;
    do {
        struct events_result page = list(reader, &query, arena);
        cr_assert_leq(page.count, limit);
        cr_assert(page.next == NULL || page.count == limit);
        for (size_t i = 0; i < page.count; i++) {
            cr_assert_lt(count, out_max);
            out[count++] = page.rows[i];
            cr_assert(
                count < 2 || is_newer(&out[count - 2], &out[count - 1]), "order at %zu", count);
        }
        query.after = page.next;
    } while (query.after != NULL);
    return count;
}

Test(events, pages_of_any_size_hold_every_event_once)
{
    static struct events_row all[400];
    static struct events_row some[400];
    static const uint32_t limits[] = {1, 7, 100, 149, 150, 151, EVENTS_LIMIT_MAX};
    struct reading reading;
    reading_begin(&reading, 3);
    reading.seed = 41;
    reading_write_begin(&reading, HOUR_NS);
    reading_put_random(&reading, 150);
    struct reader *reader = open_reader(&reading);
    scoped(arena_done) struct arena arena = {0};
    size_t count = list_pages(reader, EVENTS_ALL, EVENTS_LIMIT_MAX, &arena, all, 400);
    cr_assert_eq(count, 150);
    for (size_t k = 0; k < sizeof limits / sizeof limits[0]; k++) {
        cr_assert_eq(list_pages(reader, EVENTS_ALL, limits[k], &arena, some, 400), count);
        for (size_t i = 0; i < count; i++) {
            cr_assert(bytes_equal(some[i].entry.id, all[i].entry.id));
            cr_assert(bytes_equal(some[i].entry.properties, all[i].entry.properties));
        }
    }
    reader_close(reader);
    reading_write_end(&reading);
    reading_end(&reading);
}

static bool
has_part(struct bytes id, const char *part)
{
    char text[64];
    bytes_to_text(id, text, sizeof text);
    return strstr(text, part) != NULL;
}

static bool
is_wanted(const struct events_query *query, const struct events_row *row, const char *part)
{
    const struct entry *entry = &row->entry;
    return entry->time_ns >= query->from_ns && entry->time_ns < query->to_ns &&
           row->arrival_ns >= query->arrived_from_ns && row->arrival_ns < query->arrived_to_ns &&
           (query->subject.size == 0 || bytes_equal(query->subject, entry->subject)) &&
           (query->type.size == 0 || bytes_equal(query->type, entry->type)) &&
           (query->source.size == 0 || bytes_equal(query->source, entry->source)) &&
           (query->id.size == 0 || bytes_equal(query->id, entry->id)) && has_part(entry->id, part);
}

struct taste {
    int64_t arrival_ns;
    size_t asked;
};

static bool
accepts_odd_seconds(void *context, const struct entry *entry, int64_t arrival_ns)
{
    struct taste *taste = context;
    taste->asked++;
    taste->arrival_ns = arrival_ns;
    return entry->time_ns / SECOND_NS % 2 == 1;
}

Test(events, takes_only_what_the_asker_accepts)
{
    static struct events_row all[400];
    static struct events_row some[400];
    struct taste taste = {0};
    struct reading reading;
    reading_begin(&reading, 2);
    reading.seed = 43;
    reading_write_begin(&reading, HOUR_NS);
    reading_put_random(&reading, 200);
    struct reader *reader = open_reader(&reading);
    scoped(arena_done) struct arena arena = {0};
    cr_assert_eq(list_pages(reader, EVENTS_ALL, 1000, &arena, all, 400), 200);
    struct events_query query = EVENTS_ALL;
    query.accepts = accepts_odd_seconds;
    query.context = &taste;
    query.type = bytes_text("llm");
    size_t count = list_pages(reader, query, 7, &arena, some, 400);
    size_t at = 0;
    for (size_t i = 0; i < 200; i++) {
        bool is_odd = all[i].entry.time_ns / SECOND_NS % 2 == 1;
        if (!is_odd || !bytes_equal(all[i].entry.type, query.type))
            continue;
        cr_assert_lt(at, count);
        cr_assert(bytes_equal(some[at++].entry.id, all[i].entry.id));
    }
    cr_assert_eq(at, count);
    cr_assert(count > 10 && count < 190 && taste.asked > count);
    cr_assert_eq(taste.arrival_ns >= READING_NOW_NS, true);
    reader_close(reader);
    reading_write_end(&reading);
    reading_end(&reading);
}

Test(events, every_filter_takes_what_it_says)
{
    static struct events_row all[400];
    static struct events_row some[400];
    static const char *const parts[] = {"", "id-1", "7", "-", "zz"};
    struct reading reading;
    reading_begin(&reading, 2);
    reading.seed = 42;
    reading_write_begin(&reading, HOUR_NS);
    reading_put_random(&reading, 200);
    struct reader *reader = open_reader(&reading);
    scoped(arena_done) struct arena arena = {0};
    cr_assert_eq(list_pages(reader, EVENTS_ALL, 1000, &arena, all, 400), 200);
    size_t found = 0;
    for (int round = 0; round < 200; round++) {
        struct events_query query = EVENTS_ALL;
        const char *part = parts[reading_random(&reading, 5)];
        char subject[32];
        snprintf(subject, sizeof subject, "subject-%d", (int)reading_random(&reading, 8));
        if (reading_random(&reading, 2))
            query.subject = bytes_text(subject);
        if (reading_random(&reading, 2))
            query.type = bytes_text(reading_random(&reading, 2) ? "llm" : "job");
        if (reading_random(&reading, 8) == 0)
            query.id = all[reading_random(&reading, 200)].entry.id;
        if (reading_random(&reading, 8) == 0)
            query.source = bytes_text("elsewhere");
        if (reading_random(&reading, 2))
            query.from_ns = all[reading_random(&reading, 200)].entry.time_ns;
        if (reading_random(&reading, 2))
            query.to_ns = all[reading_random(&reading, 200)].entry.time_ns;
        if (reading_random(&reading, 4) == 0)
            query.arrived_from_ns = READING_NOW_NS + (int64_t)reading_random(&reading, 2);
        if (reading_random(&reading, 4) == 0)
            query.arrived_to_ns = READING_NOW_NS + (int64_t)reading_random(&reading, 2);
        query.id_part = bytes_text(part);
        size_t count = list_pages(
            reader, query, 1 + (uint32_t)reading_random(&reading, 40), &arena, some, 400);
        size_t at = 0;
        for (size_t i = 0; i < 200; i++) {
            if (!is_wanted(&query, &all[i], part))
                continue;
            cr_assert_lt(at, count);
            cr_assert(bytes_equal(some[at].entry.id, all[i].entry.id));
            at++;
        }
        cr_assert_eq(at, count, "round %d: %zu events, not %zu", round, count, at);
        found += count;
    }
    cr_assert_gt(found, 500);
    reader_close(reader);
    reading_write_end(&reading);
    reading_end(&reading);
}

// --- what is wrong with events ---

static void
put_meter(
    struct reading *reading, const char *key, enum aggregation aggregation, const char *property)
{
    struct error error = {0};
    const struct meter meter = {
        .key = key,
        .event_type = "api",
        .aggregation = aggregation,
        .value_property = property,
    };
    enum status status = registry_put(reading->registry, &meter, READING_NOW_NS, NULL, &error);
    cr_assert_eq(status, STATUS_OK, "%s", error.text);
}

enum property {
    NONE,
    OTHER,
    NIL,
    NUMBER,
    TEXT,
    NUMBER_TEXT,
    NAN_FLOAT,
    NAN_TEXT,
    INF,
    INF_TEXT,
    HUGE,
    HUGE_FLOAT,
    BOOLEAN,
    LIST
};

static uint32_t
pack_property(enum property property, struct buffer *out)
{
    if (property == NONE)
        return 0;
    pack_text(out, property == OTHER ? "other" : "duration_ms");
    switch (property) {
    case NONE:
    case OTHER:
    case NUMBER: pack_int(out, 5); break;
    case NIL: pack_nil(out); break;
    case TEXT: pack_text(out, "ten"); break;
    case NUMBER_TEXT: pack_text(out, "10.5"); break;
    case NAN_FLOAT: pack_double(out, (double)NAN); break;
    case NAN_TEXT: pack_text(out, "NaN"); break;
    case INF: pack_double(out, -(double)INFINITY); break;
    case INF_TEXT: pack_text(out, "+Inf"); break;
    case HUGE: pack_text(out, "10000000000000000000"); break;
    case HUGE_FLOAT: pack_double(out, 1e300); break;
    case BOOLEAN: pack_bool(out, true); break;
    case LIST: pack_array(out, 0); break;
    }
    return 1;
}

static void
put(struct reading *reading, const char *type, enum property property)
{
    char id[16];
    scoped(buffer_done) struct buffer properties = {0};
    snprintf(id, sizeof id, "e%d", (int)reading->serial++);
    struct event event = {
        .subject = bytes_text("s"),
        .type = bytes_text(type),
        .id = bytes_text(id),
        .time_ns = READING_NOW_NS - (int64_t)reading->serial,
        .value = DECIMAL_ONE,
        .properties_runs = 1,
    };
    event.properties_count = pack_property(property, &properties);
    event.properties[0] = buffer_view(&properties);
    reading_put(reading, &event);
    reading_wait(reading);
}

Test(events, say_why_a_meter_cannot_use_them)
{
    static const char missing[] = "invalid event: missing value property: \"$.duration_ms\"";
    static const char nothing[] = "invalid event: null and missing value property\n"
                                  "invalid event: missing value property: \"$.duration_ms\"";
    static const struct {
        const char *type;
        enum property property;
        const char *text;  // NULL: nothing is wrong
    } cases[] = {
        {"api",   NONE,        nothing                                                 },
        {"api",   OTHER,       missing                                                 },
        {"api",   NIL,         "invalid event: value cannot be null"                   },
        {"api",   NUMBER,      NULL                                                    },
        {"api",   NUMBER_TEXT, NULL                                                    },
        {"api",   TEXT,        "invalid event: value cannot be parsed as a number: ten"},
        {"api",   NAN_FLOAT,   "invalid event: value cannot be NaN"                    },
        {"api",   NAN_TEXT,    "invalid event: value cannot be NaN"                    },
        {"api",   INF,         "invalid event: value cannot be infinity"               },
        {"api",   INF_TEXT,    "invalid event: value cannot be infinity"               },
        {"api",   HUGE,        "invalid event: value must be below 10^19"              },
        {"api",   HUGE_FLOAT,  "invalid event: value must be below 10^19"              },
        {"api",   BOOLEAN,     "invalid event: value property cannot be parsed"        },
        {"api",   LIST,        "invalid event: value property cannot be parsed"        },
        {"other", NUMBER,      "no meter found for event type: other"                  },
    };
    enum { CASES = sizeof cases / sizeof cases[0] };
    struct reading reading;
    reading_begin(&reading, 1);
    reading_write_begin(&reading, HOUR_NS);
    put_meter(&reading, "calls", AGGREGATION_COUNT, NULL);
    put_meter(&reading, "duration", AGGREGATION_SUM, "$.duration_ms");
    put_meter(&reading, "longest", AGGREGATION_MAX, "$.duration_ms");  // says the same, once
    put_meter(&reading, "values", AGGREGATION_SUM, NULL);
    for (size_t i = 0; i < CASES; i++)
        put(&reading, cases[i].type, cases[i].property);
    struct reader *reader = open_reader(&reading);
    scoped(arena_done) struct arena arena = {0};
    struct events_query query = EVENTS_ALL;
    struct events_result result = list(reader, &query, &arena);
    cr_assert_eq(result.count, CASES);
    for (size_t i = 0; i < CASES; i++) {
        const char *text = result.rows[i].validation_error;
        cr_assert_eq(text == NULL, cases[i].text == NULL, "row %zu: %s", i, text);
        cr_assert(text == NULL || strcmp(text, cases[i].text) == 0, "row %zu: %s", i, text);
    }
    // A distinct count of texts takes any value but null; another property is another fault.
    put_meter(&reading, "kinds", AGGREGATION_UNIQUE_COUNT, "$.kind");
    result = list(reader, &query, &arena);
    cr_assert_str_eq(
        result.rows[1].validation_error,
        "invalid event: missing value property: \"$.duration_ms\"\n"
        "invalid event: missing value property: \"$.kind\"");
    cr_assert_str_eq(
        result.rows[3].validation_error, "invalid event: missing value property: \"$.kind\"");
    reader_close(reader);
    reading_write_end(&reading);
    reading_end(&reading);
}

Test(events, refuses_limits_and_cursors_that_make_no_sense)
{
    static const struct {
        uint32_t limit;
        const char *after;
    } cases[] = {
        {0,                    NULL                           },
        {EVENTS_LIMIT_MAX + 1, NULL                           },
        {1,                    ""                             },
        {1,                    "1"                            },
        {1,                    "1-2-3"                        },
        {1,                    "1-2-3-"                       },
        {1,                    "1-2-3-4-"                     },
        {1,                    "1-2-3-4 "                     },
        {1,                    "-1-2-3-4"                     },
        {1,                    "a-2-3-4"                      },
        {1,                    "1-4294967296-3-4"             },
        {1,                    "9223372036854775808-2-3-4"    },
        {1,                    "1-2-18446744073709551616-4"   },
        {1,                    "1-2-3-99999999999999999999999"},
    };
    struct reading reading;
    reading_begin(&reading, 1);
    struct reader *reader = open_reader(&reading);
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        scoped(arena_done) struct arena arena = {0};
        struct events_query query = EVENTS_ALL;
        struct events_result result;
        struct error error = {0};
        query.limit = cases[i].limit;
        query.after = cases[i].after;
        cr_assert_eq(
            events_list(reader, &query, &arena, &result, &error), STATUS_INVALID, "%zu", i);
    }
    scoped(arena_done) struct arena arena = {0};
    struct events_query query = EVENTS_ALL;
    query.after = "9223372036854775807-4294967295-18446744073709551615-4294967295";
    cr_assert_eq(list(reader, &query, &arena).count, 0);  // an empty ledger
    reader_close(reader);
    reading_end(&reading);
}

// --- what became of them ---

static void
correct(struct reading *reading, const char *id, enum entry_kind kind, int64_t value)
{
    struct error error = {0};
    uint64_t block = 0;
    const struct correction correction = {
        .kind = kind,
        .subject = bytes_text("acme"),
        .id = bytes_text(id),
        .who = bytes_text("ann"),
        .why = bytes_text("a test"),
        .has_value = kind == ENTRY_AMEND,
        .value = decimal_from_int(value),
    };
    cr_assert_eq(
        ledger_correct(reading->ledger, &correction, &block, &error), STATUS_OK, "%s", error.text);
}

static void
backfill(struct reading *reading, enum backfill_act act)
{
    struct error error = {0};
    uint64_t count = 0;
    const struct backfill backfill = {
        .act = act,
        .id = bytes_text("jan"),
        .who = bytes_text("ann"),
        .why = bytes_text("a test"),
    };
    cr_assert_eq(
        ledger_backfill(reading->ledger, &backfill, &count, &error), STATUS_OK, "%s", error.text);
}

static void
check_status(
    struct reader *reader, const char *id, const enum events_status *expected, size_t count)
{
    scoped(arena_done) struct arena arena = {0};
    struct events_query query = EVENTS_ALL;
    query.id = bytes_text(id);
    const struct events_result result = list(reader, &query, &arena);
    cr_assert_eq(result.count, count, "%s", id);
    for (size_t i = 0; i < count; i++)
        cr_assert_str_eq(
            events_status_name(result.rows[i].status), events_status_name(expected[i]), "%s", id);
}

// Of events of one time, so that only their places tell them apart.
Test(events, says_what_became_of_each)
{
    static const struct {
        const char *id;
        enum events_status before, after;
    } rows[] = {
        {"plain",     EVENTS_COUNTED,   EVENTS_REVERTED },
        {"cancelled", EVENTS_CANCELLED, EVENTS_CANCELLED},
        {"amended",   EVENTS_AMENDED,   EVENTS_REVERTED },
        {"both",      EVENTS_CANCELLED, EVENTS_CANCELLED},
        {"twice",     EVENTS_AMENDED,   EVENTS_REVERTED },
    };
    enum { ROWS = sizeof rows / sizeof rows[0] };
    struct reading reading;
    reading_begin(&reading, 2);
    reading_write_begin(&reading, HOUR_NS);
    backfill(&reading, BACKFILL_OPEN);
    struct event event = {
        .subject = bytes_text("acme"),
        .type = bytes_text("llm"),
        .time_ns = READING_NOW_NS,
        .value = DECIMAL_ONE,
        .batch = bytes_text("jan"),
    };
    for (size_t i = 0; i < ROWS; i++) {
        event.id = bytes_text(rows[i].id);
        reading_put(&reading, &event);
    }
    event.id = bytes_text("live");
    event.batch = bytes_of(NULL, 0);
    reading_put(&reading, &event);
    reading_wait(&reading);
    correct(&reading, "cancelled", ENTRY_CANCEL, 0);
    correct(&reading, "amended", ENTRY_AMEND, 2);
    correct(&reading, "both", ENTRY_AMEND, 3);
    correct(&reading, "both", ENTRY_CANCEL, 0);
    correct(&reading, "twice", ENTRY_AMEND, 4);
    correct(&reading, "twice", ENTRY_AMEND, 5);
    struct reader *reader = open_reader(&reading);
    for (size_t i = 0; i < ROWS; i++)
        check_status(reader, rows[i].id, &rows[i].before, 1);
    backfill(&reading, BACKFILL_REVERT);
    for (size_t i = 0; i < ROWS; i++)
        check_status(reader, rows[i].id, &rows[i].after, 1);
    event.id = bytes_text("plain");
    reading_put(&reading, &event);
    reading_wait(&reading);
    const enum events_status again[] = {EVENTS_COUNTED, EVENTS_REVERTED};
    check_status(reader, "plain", again, 2);
    check_status(reader, "live", &again[0], 1);
    reader_close(reader);
    reading_write_end(&reading);
    reading_end(&reading);
}

// The chunk stands for the id of an event that has none, but is no id: nobody can name the event by
// it.
Test(events, a_chunk_is_no_id)
{
    struct reading reading;
    reading_begin(&reading, 1);
    reading_write_begin(&reading, HOUR_NS);
    struct event event = {
        .subject = bytes_text("acme"),
        .type = bytes_text("llm"),
        .chunk = bytes_text("one"),
        .time_ns = READING_NOW_NS,
        .value = DECIMAL_ONE,
    };
    reading_put(&reading, &event);
    event.id = bytes_text("one");
    reading_put(&reading, &event);
    reading_wait(&reading);
    struct reader *reader = open_reader(&reading);
    scoped(arena_done) struct arena arena = {0};
    struct events_query query = EVENTS_ALL;
    cr_assert_eq(list(reader, &query, &arena).count, 2);
    query.id = bytes_text("one");
    const struct events_result by_id = list(reader, &query, &arena);
    cr_assert_eq(by_id.count, 1);
    cr_assert_eq(by_id.rows[0].entry.flags, 0);
    query = EVENTS_ALL;
    query.id_part = bytes_text("n");
    cr_assert_eq(list(reader, &query, &arena).count, 1);
    reader_close(reader);
    reading_write_end(&reading);
    reading_end(&reading);
}
