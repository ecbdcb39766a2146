#include "bench/generate.h"

#include "base/pool.h"
#include "bench/weights.h"

#include <criterion/criterion.h>
#include <msgpack.h>

#include <stdlib.h>
#include <string.h>

static const int64_t NOW_NS = 1763809200123456789;

static const struct generate_options OPTIONS = {
    .seed = 7,
    .event_size = 110,
    .chunk_events = 100,
    .subjects = 50,
    .duplicates_percent = 10,
};

static struct generator *
generator_new(const struct generate_options *options)
{
    struct generator *generator = pool_take(1, sizeof *generator);
    struct error error = {0};
    cr_assert_eq(generator_init(generator, options, &error), STATUS_OK, "%s", error.text);
    return generator;
}

static uint8_t *
frame_new(const struct generator *generator)
{
    uint8_t *frame = pool_take(1, generator_frame_size(generator));
    generator_prepare(generator, frame);
    return frame;
}

static bool
is_text(const msgpack_object *object, const char *text)
{
    return object->type == MSGPACK_OBJECT_STR && object->via.str.size == strlen(text) &&
           memcmp(object->via.str.ptr, text, strlen(text)) == 0;
}

static const msgpack_object *
map_find(const msgpack_object *map, const char *key)
{
    cr_assert_eq(map->type, MSGPACK_OBJECT_MAP);
    for (uint32_t i = 0; i < map->via.map.size; i++)
        if (is_text(&map->via.map.ptr[i].key, key))
            return &map->via.map.ptr[i].val;
    cr_assert_fail("there is no %s", key);
    return NULL;
}

// What was seen of the events of some frames.
struct seen {
    char ids[4000][37];
    size_t ids_count;
    uint64_t events, duplicates, value_sum, tokens_sum;
};

static bool
seen_before(const struct seen *seen, const char *id)
{
    for (size_t i = 0; i < seen->ids_count; i++)
        if (memcmp(seen->ids[i], id, 36) == 0)
            return true;
    return false;
}

static void
assert_id(const msgpack_object *id)
{
    cr_assert_eq(id->type, MSGPACK_OBJECT_STR);
    cr_assert_eq(id->via.str.size, 36);
    for (size_t i = 0; i < 36; i++) {
        bool is_dash = i == 8 || i == 13 || i == 18 || i == 23;
        const char *allowed = i == 14 ? "4" : i == 19 ? "89ab" : "0123456789abcdef";
        cr_assert_not_null(strchr(is_dash ? "-" : allowed, id->via.str.ptr[i]), "at %zu", i);
    }
}

static void
event_note(const struct generate_options *options, const msgpack_object *entry, struct seen *seen)
{
    cr_assert_eq(entry->via.array.size, 2);
    cr_assert_eq(entry->via.array.ptr[0].type, MSGPACK_OBJECT_EXT);
    const msgpack_object *record = &entry->via.array.ptr[1];
    const msgpack_object *id = map_find(record, "id"), *subject = map_find(record, "subject");
    assert_id(id);
    cr_assert(is_text(map_find(record, "type"), "load"));
    cr_assert_eq(subject->via.str.size, 10);
    cr_assert_lt(strtoul(subject->via.str.ptr + 2, NULL, 10), options->subjects);
    cr_assert_eq(map_find(record, "region")->type, MSGPACK_OBJECT_STR);
    if (seen_before(seen, id->via.str.ptr)) {
        seen->duplicates++;
        return;
    }
    memcpy(seen->ids[seen->ids_count++], id->via.str.ptr, 36);
    seen->events++;
    seen->value_sum += map_find(record, "value")->via.u64;
    seen->tokens_sum += map_find(record, "tokens")->via.u64;
}

static void
frame_note(const struct generator *generator, const uint8_t *frame, struct seen *seen)
{
    msgpack_unpacked unpacked, entry;
    size_t size = generator_frame_size(generator), offset = 0, at = 0;
    msgpack_unpacked_init(&unpacked);
    msgpack_unpacked_init(&entry);
    cr_assert_eq(
        msgpack_unpack_next(&unpacked, (const char *)frame, size, &offset), MSGPACK_UNPACK_SUCCESS);
    cr_assert_eq(offset, size);
    cr_assert(is_text(&unpacked.data.via.array.ptr[0], "load"));
    const msgpack_object_bin *events = &unpacked.data.via.array.ptr[1].via.bin;
    for (uint32_t i = 0; i < generator->options.chunk_events; i++) {
        size_t start = at;
        cr_assert_eq(
            msgpack_unpack_next(&entry, events->ptr, events->size, &at), MSGPACK_UNPACK_SUCCESS);
        cr_assert_eq(at - start, generator->options.event_size);
        event_note(&generator->options, &entry.data, seen);
    }
    cr_assert_eq(at, events->size);
    const msgpack_object *option = &unpacked.data.via.array.ptr[2];
    cr_assert_eq(map_find(option, "size")->via.u64, generator->options.chunk_events);
    cr_assert(is_text(map_find(option, "chunk"), "0123456789abcdef"));
    cr_assert(map_find(map_find(option, "tally"), "results")->via.boolean);
    msgpack_unpacked_destroy(&unpacked);
    msgpack_unpacked_destroy(&entry);
}

Test(generate, says_what_it_made)
{
    struct generate_options options = OPTIONS;
    options.duplicates_percent = 0;
    struct generator *generator = generator_new(&options);
    uint8_t *frame = frame_new(generator);
    uint64_t value_sum = 0, tokens_sum = 0;
    generator_fill(generator, frame, 1, NOW_NS);
    for (uint32_t i = 0; i < options.chunk_events; i++) {
        struct generated event;
        generator_event(generator, frame, i, &event);
        cr_assert_eq(event.entry.size, options.event_size);
        cr_assert_eq(event.entry.data[0], 0x92);
        cr_assert_eq(memcmp(event.subject.data, "s-000000", 8), 0);
        cr_assert_eq(event.subject.size, 10);
        cr_assert_eq(event.id.size, 36);
        cr_assert_eq(event.id.data[14], '4');
        cr_assert_eq(event.region.size, 2);
        cr_assert(event.region.data[0] >= 'a' && event.region.data[0] <= 'z');
        value_sum += event.value;
        tokens_sum += event.tokens;
    }
    cr_assert_eq(value_sum, generator->totals.value_sum);
    cr_assert_eq(tokens_sum, generator->totals.tokens_sum);
    pool_give(frame);
    pool_give(generator);
}

Test(generate, takes_subjects_by_their_weights)
{
    struct weights *weights = NULL;
    struct error error = {0};
    struct generate_options options = OPTIONS;
    const struct weights_options hot = {.subjects = options.subjects, .hot_percent = 90};
    cr_assert_eq(weights_open(&hot, &weights, &error), STATUS_OK);
    options.weights = weights;
    struct generator *generator = generator_new(&options);
    uint8_t *frame = frame_new(generator);
    uint32_t first = 0, size = generator_frame_size(generator);
    generator_fill(generator, frame, 1, NOW_NS);
    for (uint32_t at = 0; at + 10 <= size; at++)
        first += memcmp(frame + at, "s-00000000", 10) == 0;
    // 90 of 100 events, and the seed is fixed.
    cr_assert(first >= 80 && first <= 98, "%u", first);
    pool_give(frame);
    pool_give(generator);
    weights_close(weights);
}

Test(generate, makes_frames_that_an_independent_decoder_reads_and_counts_them_right)
{
    static struct seen seen;
    struct generator *generator = generator_new(&OPTIONS);
    uint8_t *frame = frame_new(generator);
    for (int i = 0; i < 30; i++) {
        generator_fill(generator, frame, UINT64_C(0x0123456789abcdef), NOW_NS);
        frame_note(generator, frame, &seen);
    }
    cr_assert_eq(seen.events + seen.duplicates, 3000);
    cr_assert_eq(seen.events, generator->totals.events);
    cr_assert_eq(seen.duplicates, generator->totals.duplicates);
    cr_assert_eq(seen.value_sum, generator->totals.value_sum);
    cr_assert_eq(seen.tokens_sum, generator->totals.tokens_sum);
    cr_assert_gt(seen.duplicates, 200);
    cr_assert_lt(seen.duplicates, 400);
    pool_give(frame);
    pool_give(generator);
}

Test(generate, makes_entries_of_any_size_asked_for)
{
    static const uint32_t sizes[] = {
        GENERATE_EVENT_MIN, 110, 137, 138, 139, 140, 362, 363, 364, 365, 1000, GENERATE_EVENT_MAX};
    for (size_t i = 0; i < sizeof sizes / sizeof sizes[0]; i++) {
        static struct seen seen;
        struct generate_options options = OPTIONS;
        options.event_size = sizes[i];
        options.chunk_events = 2;
        options.seed = i;
        struct generator *generator = generator_new(&options);
        uint8_t *frame = frame_new(generator);
        generator_fill(generator, frame, UINT64_C(0x0123456789abcdef), NOW_NS);
        frame_note(generator, frame, &seen);
        pool_give(frame);
        pool_give(generator);
    }
}

Test(generate, makes_the_same_from_the_same_seed_and_other_events_in_another_lane)
{
    struct generate_options options = OPTIONS;
    struct generator *one = generator_new(&options), *same = generator_new(&options);
    options.lane = 1;
    struct generator *lane = generator_new(&options);
    uint32_t size = generator_frame_size(one);
    uint8_t *a = frame_new(one), *b = frame_new(same), *c = frame_new(lane);
    generator_fill(one, a, 1, NOW_NS);
    generator_fill(same, b, 1, NOW_NS);
    generator_fill(lane, c, 1, NOW_NS);
    cr_assert_eq(memcmp(a, b, size), 0);
    cr_assert_neq(memcmp(a, c, size), 0);
    pool_give(a);
    pool_give(b);
    pool_give(c);
    pool_give(one);
    pool_give(same);
    pool_give(lane);
}

Test(generate, reads_its_chunk_numbers_back)
{
    uint64_t chunk = 0;
    cr_assert(generator_chunk_parse((const uint8_t *)"0123456789abcdef", 16, &chunk));
    cr_assert_eq(chunk, UINT64_C(0x0123456789abcdef));
    cr_assert_not(generator_chunk_parse((const uint8_t *)"0123456789abcdeF", 16, &chunk));
    cr_assert_not(generator_chunk_parse((const uint8_t *)"0123456789abcde", 15, &chunk));
    cr_assert_not(generator_chunk_parse((const uint8_t *)"", 0, &chunk));
}

Test(generate, refuses_and_names_what_is_out_of_range)
{
    static const struct {
        const char *named;
        uint32_t event_size, chunk_events, subjects, duplicates_percent;
    } rows[] = {
        {"event size", GENERATE_EVENT_MIN - 1, 10,     10, 0 },
        {"event size", GENERATE_EVENT_MAX + 1, 10,     10, 0 },
        {"chunk",      110,                    0,      10, 0 },
        {"chunk",      110,                    100001, 10, 0 },
        {"chunk",      60000,                  1000,   10, 0 },
        {"subjects",   110,                    10,     0,  0 },
        {"duplicates", 110,                    10,     10, 91},
    };
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        static struct generator generator;
        struct error error = {0};
        const struct generate_options options = {
            .event_size = rows[i].event_size,
            .chunk_events = rows[i].chunk_events,
            .subjects = rows[i].subjects,
            .duplicates_percent = rows[i].duplicates_percent,
        };
        cr_assert_eq(generator_init(&generator, &options, &error), STATUS_INVALID, "row %zu", i);
        cr_assert_not_null(strstr(error.text, rows[i].named), "row %zu: %s", i, error.text);
    }
}
