#include "ingest/decode.h"

#include "base/clock.h"
#include "base/unpack.h"
#include "tests/ingest/entries.h"
#include "tests/ingest/wire.h"

#include <criterion/criterion.h>

#include <stdlib.h>

// One record as the only entry of a Forward frame with the tag "tag"; time and record are written
// by the caller.
struct entry {
    struct buffer out;
    struct event event;
    struct decode_stats stats;
    enum refusal refusal;
};

static void
entry_done(struct entry *entry)
{
    buffer_done(&entry->out);
}

static void
entry_begin(struct entry *entry, const char *tag)
{
    *entry = (struct entry){0};
    pack_array(&entry->out, 2);
    pack_text(&entry->out, tag);
    pack_array(&entry->out, 1);
}

static void
entry_decode(struct entry *entry)
{
    struct frame frame;
    cr_assert_eq(frame_parse(buffer_view(&entry->out), &frame), FRAME_FINE);
    cr_assert_eq(frame.entries_count, 1);
    struct cursor in = cursor_over(frame.entries);
    entry->refusal = decode_entry(&frame, &in, 0, &entry->event, &entry->stats);
    cr_assert_not(cursor_failed(&in));
    cr_assert_eq(cursor_left(&in), 0, "the cursor stands behind the entry, whatever became of it");
}

// --- whole entries, by their bytes: entries.h ---

static void
entry_of_row(struct entry *entry, size_t row)
{
    entry_begin(entry, "tag");
    buffer_bytes(&entry->out, ENTRIES[row].entry);
    entry_decode(entry);
}

Test(decode, accepts_and_refuses_entries)
{
    size_t accepted = 0;
    size_t count = sizeof ENTRIES / sizeof ENTRIES[0];
    for (size_t i = 0; i < count; i++) {
        scoped(entry_done) struct entry entry;
        entry_of_row(&entry, i);
        cr_assert_eq(
            entry.refusal,
            ENTRIES[i].refusal,
            "%s: %s",
            ENTRIES[i].name,
            refusal_name(entry.refusal));
        if (entry.refusal != REFUSAL_NONE)
            continue;
        accepted++;
        cr_assert(bytes_equal(entry.event.subject, bytes_text("s")), "%s", ENTRIES[i].name);
        cr_assert(bytes_equal(entry.event.type, bytes_text("tag")), "%s", ENTRIES[i].name);
    }
    cr_assert_geq(count - accepted, accepted, "refusals as many as acceptances");
}

// A bad event does not decide for its neighbours: each bad row between two good ones.
Test(decode, finds_the_next_entry_after_a_refusal)
{
    for (size_t i = 0; i < sizeof ENTRIES / sizeof ENTRIES[0]; i++) {
        scoped(buffer_done) struct buffer out = {0};
        pack_array(&out, 2);
        pack_text(&out, "tag");
        pack_array(&out, 3);
        buffer_bytes(&out, ENTRIES[0].entry);
        buffer_bytes(&out, ENTRIES[i].entry);
        buffer_bytes(&out, ENTRIES[0].entry);
        struct frame frame;
        struct event event;
        struct decode_stats stats = {0};
        cr_assert_eq(frame_parse(buffer_view(&out), &frame), FRAME_FINE);
        struct cursor in = cursor_over(frame.entries);
        cr_assert_eq(decode_entry(&frame, &in, 0, &event, &stats), REFUSAL_NONE);
        cr_assert_eq(
            decode_entry(&frame, &in, 1, &event, &stats),
            ENTRIES[i].refusal,
            "%s",
            ENTRIES[i].name);
        cr_assert_eq(
            decode_entry(&frame, &in, 2, &event, &stats), REFUSAL_NONE, "%s", ENTRIES[i].name);
        cr_assert_eq(event.chunk_position, 2);
    }
}

// The reject log wants to know whose event it was.
Test(decode, names_an_event_whose_time_is_wrong)
{
    for (size_t i = 0; i < sizeof ENTRIES / sizeof ENTRIES[0]; i++) {
        bool is_time =
            ENTRIES[i].refusal == REFUSAL_TIME_INVALID || ENTRIES[i].refusal == REFUSAL_TIME_RANGE;
        if (!is_time)
            continue;
        scoped(entry_done) struct entry entry;
        entry_begin(&entry, "tag");
        buffer_bytes(&entry.out, ENTRIES[i].entry);
        entry_decode(&entry);
        cr_expect_eq(entry.refusal, ENTRIES[i].refusal, "%s", ENTRIES[i].name);
        cr_expect_gt(entry.event.subject.size, 0, "%s", ENTRIES[i].name);
    }
}

// --- sizes, one too many each ---

static enum refusal
decode_text(const char *key, size_t size)
{
    char text[512];
    memset(text, 'x', sizeof text);
    text[size] = '\0';
    scoped(entry_done) struct entry entry;
    entry_begin(&entry, "tag");
    pack_array(&entry.out, 2);
    pack_nil(&entry.out);
    bool is_subject = strcmp(key, "subject") == 0;
    pack_map(&entry.out, is_subject ? 1 : 2);
    if (!is_subject) {
        pack_text(&entry.out, "subject");
        pack_text(&entry.out, "s");
    }
    pack_text(&entry.out, key);
    pack_text(&entry.out, text);
    entry_decode(&entry);
    return entry.refusal;
}

Test(decode, bounds_each_text)
{
    static const struct {
        const char *key;
        size_t size_max;
        enum refusal refusal;
    } rows[] = {
        {"subject", 255, REFUSAL_SUBJECT_INVALID},
        {"type",    100, REFUSAL_TYPE_INVALID   },
        {"id",      128, REFUSAL_ID_INVALID     },
        {"source",  255, REFUSAL_SOURCE_INVALID },
    };
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        cr_assert_eq(decode_text(rows[i].key, 1), REFUSAL_NONE, "%s", rows[i].key);
        cr_assert_eq(decode_text(rows[i].key, rows[i].size_max), REFUSAL_NONE, "%s", rows[i].key);
        cr_assert_eq(
            decode_text(rows[i].key, rows[i].size_max + 1), rows[i].refusal, "%s", rows[i].key);
    }
}

static enum refusal
decode_tag(size_t size, const char *type)
{
    char tag[512];
    memset(tag, 'x', sizeof tag);
    tag[size] = '\0';
    scoped(entry_done) struct entry entry;
    entry_begin(&entry, tag);
    pack_array(&entry.out, 2);
    pack_nil(&entry.out);
    pack_map(&entry.out, type != NULL ? 2 : 1);
    pack_text(&entry.out, "subject");
    pack_text(&entry.out, "s");
    if (type != NULL) {
        pack_text(&entry.out, "type");
        pack_text(&entry.out, type);
    }
    entry_decode(&entry);
    return entry.refusal;
}

Test(decode, takes_the_tag_for_a_missing_type_within_its_bounds)
{
    cr_assert_eq(decode_tag(0, NULL), REFUSAL_TYPE_INVALID);
    cr_assert_eq(decode_tag(1, NULL), REFUSAL_NONE);
    cr_assert_eq(decode_tag(100, NULL), REFUSAL_NONE);
    cr_assert_eq(decode_tag(101, NULL), REFUSAL_TYPE_INVALID);
    cr_assert_eq(
        decode_tag(101, "t"), REFUSAL_NONE, "a type of its own makes the tag's size no matter");
}

static enum refusal
decode_record_of(size_t record_size)
{
    // map header 1, subject 10, key 2, bin32 header 5: 18 bytes beside the property's body.
    size_t body = record_size - 18;
    uint8_t *zeros = calloc(1, body);
    scoped(entry_done) struct entry entry;
    entry_begin(&entry, "tag");
    pack_array(&entry.out, 2);
    pack_nil(&entry.out);
    size_t start = entry.out.size;
    pack_map(&entry.out, 2);
    buffer_put(&entry.out, SUBJECT, sizeof(SUBJECT) - 1);
    pack_text(&entry.out, "p");
    buffer_u8(&entry.out, 0xc6);
    buffer_u32be(&entry.out, (uint32_t)body);
    buffer_put(&entry.out, zeros, body);
    cr_assert_eq(entry.out.size - start, record_size);
    entry_decode(&entry);
    free(zeros);
    return entry.refusal;
}

Test(decode, bounds_the_event)
{
    cr_assert_eq(decode_record_of(EVENT_SIZE_MAX), REFUSAL_NONE);
    cr_assert_eq(decode_record_of(EVENT_SIZE_MAX + 1), REFUSAL_SIZE);
}

// --- values ---

// Rows as one would read them aloud, not in columns.
// clang-format off
static const struct {
    struct bytes value;  // msgpack
    enum refusal refusal;
    const char *text;  // canonical, when accepted
    bool is_rounded;
} VALUES[] = {
    {BYTES("\xc0"), REFUSAL_NONE, "1", false},
    {BYTES("\x00"), REFUSAL_NONE, "0", false},
    {BYTES("\x07"), REFUSAL_NONE, "7", false},
    {BYTES("\xff"), REFUSAL_NONE, "-1", false},
    {BYTES("\xd3\x80\x00\x00\x00\x00\x00\x00\x00"), REFUSAL_NONE, "-9223372036854775808", false},
    {BYTES("\xcf\x8a\xc7\x23\x04\x89\xe7\xff\xff"), REFUSAL_NONE, "9999999999999999999", false},
    {BYTES("\xcb\x3f\xb9\x99\x99\x99\x99\x99\x9a"), REFUSAL_NONE, "0.1", false},
    {BYTES("\xca\x3d\xcc\xcc\xcd"), REFUSAL_NONE, "0.1", false},
    {BYTES("\xa4" "12.5"), REFUSAL_NONE, "12.5", false},
    {BYTES("\xc4\x04" "12.5"), REFUSAL_NONE, "12.5", false},
    {BYTES("\xa3" "1e3"), REFUSAL_NONE, "1000", false},
    {BYTES("\xb5" "0.1234567890123456789"), REFUSAL_NONE, "0.123456789012345679", true},
    {BYTES("\xb3" "9999999999999999999"), REFUSAL_NONE, "9999999999999999999", false},
    {BYTES("\xcf\x8a\xc7\x23\x04\x89\xe8\x00\x00"), REFUSAL_VALUE_RANGE, NULL, false},
    {BYTES("\xcf\xff\xff\xff\xff\xff\xff\xff\xff"), REFUSAL_VALUE_RANGE, NULL, false},
    {BYTES("\xb4" "10000000000000000000"), REFUSAL_VALUE_RANGE, NULL, false},
    {BYTES("\xa5" "1e999"), REFUSAL_VALUE_RANGE, NULL, false},
    {BYTES("\xcb\x7e\x37\xe4\x3c\x88\x00\x75\x9c"), REFUSAL_VALUE_RANGE, NULL, false},
    {BYTES("\xcb\x7f\xf8\x00\x00\x00\x00\x00\x00"), REFUSAL_VALUE_INVALID, NULL, false},
    {BYTES("\xcb\x7f\xf0\x00\x00\x00\x00\x00\x00"), REFUSAL_VALUE_INVALID, NULL, false},
    {BYTES("\xca\xff\x80\x00\x00"), REFUSAL_VALUE_INVALID, NULL, false},
    {BYTES("\xa3NaN"), REFUSAL_VALUE_INVALID, NULL, false},
    {BYTES("\xa3inf"), REFUSAL_VALUE_INVALID, NULL, false},
    {BYTES("\xa0"), REFUSAL_VALUE_INVALID, NULL, false},
    {BYTES("\xa2 1"), REFUSAL_VALUE_INVALID, NULL, false},
    {BYTES("\xa4" "0x1f"), REFUSAL_VALUE_INVALID, NULL, false},
    {BYTES("\x80"), REFUSAL_VALUE_INVALID, NULL, false},
};
// clang-format on

Test(decode, reads_values_exactly)
{
    for (size_t i = 0; i < sizeof VALUES / sizeof VALUES[0]; i++) {
        scoped(entry_done) struct entry entry;
        entry_begin(&entry, "tag");
        buffer_text(&entry.out, "\x92\xc0\x82" SUBJECT "\xa5value");
        buffer_bytes(&entry.out, VALUES[i].value);
        entry_decode(&entry);
        cr_assert_eq(
            entry.refusal, VALUES[i].refusal, "row %zu: %s", i, refusal_name(entry.refusal));
        if (entry.refusal != REFUSAL_NONE)
            continue;
        char text[DECIMAL_TEXT_MAX];
        (void)decimal_print(entry.event.value, text);
        cr_assert_str_eq(text, VALUES[i].text, "row %zu", i);
        cr_assert_eq(entry.stats.values_rounded, VALUES[i].is_rounded, "row %zu", i);
    }
}

// --- times ---

// Rows as one would read them aloud, not in columns.
// clang-format off
static const struct {
    struct bytes time;
    enum refusal refusal;
    int64_t time_ns;
} TIMES[] = {
    {BYTES("\xc0"), REFUSAL_NONE, 0},
    {BYTES("\x00"), REFUSAL_NONE, 0},
    {BYTES("\xd7\x00\x00\x00\x00\x00\x00\x00\x00\x00"), REFUSAL_NONE, 0},
    {BYTES("\xd7\x00\x65\x56\x80\x00\x00\x00\x00\x01"), REFUSAL_NONE, 1700167680000000001},
    {BYTES("\xc7\x08\x00\x65\x56\x80\x00\x3b\x9a\xc9\xff"), REFUSAL_NONE, 1700167680999999999},
    {BYTES("\xd7\x00\xff\xff\xff\xff\x00\x00\x00\x00"), REFUSAL_NONE, 4294967295000000000},
    {BYTES("\xce\x65\x56\x80\x00"), REFUSAL_NONE, 1700167680000000000},
    {BYTES("\xcf\x00\x00\x00\x02\x25\xc1\x7d\x04"), REFUSAL_NONE, 9223372036000000000},
 // 1700167680.1 as a double is 1700167680.09999990...: the shortest decimal is what was meant.
    {BYTES("\xcb\x41\xd9\x55\xa0\x00\x06\x66\x66"), REFUSAL_NONE, 1700167680100000000},
    {BYTES("\xca\x3f\x00\x00\x00"), REFUSAL_NONE, 500000000},
    {BYTES("\xcb\x00\x00\x00\x00\x00\x00\x00\x00"), REFUSAL_NONE, 0},
    {BYTES("\xcf\x00\x00\x00\x02\x25\xc1\x7d\x05"), REFUSAL_TIME_RANGE, 0},
    {BYTES("\xcf\xff\xff\xff\xff\xff\xff\xff\xff"), REFUSAL_TIME_RANGE, 0},
    {BYTES("\xff"), REFUSAL_TIME_RANGE, 0},
    {BYTES("\xcb\xbf\xf0\x00\x00\x00\x00\x00\x00"), REFUSAL_TIME_RANGE, 0},
    {BYTES("\xcb\x43\xe0\x00\x00\x00\x00\x00\x00"), REFUSAL_TIME_RANGE, 0},
    {BYTES("\xcb\x7e\x37\xe4\x3c\x88\x00\x75\x9c"), REFUSAL_TIME_RANGE, 0},
    {BYTES("\xcb\x7f\xf8\x00\x00\x00\x00\x00\x00"), REFUSAL_TIME_INVALID, 0},
    {BYTES("\xca\x7f\x80\x00\x00"), REFUSAL_TIME_INVALID, 0},
    {BYTES("\xa2" "17"), REFUSAL_TIME_INVALID, 0},
    {BYTES("\xd7\x00\x00\x00\x00\x01\xff\xff\xff\xff"), REFUSAL_TIME_INVALID, 0},
};
// clang-format on

// docs/wire.md: W80, W82, W84
Test(decode, reads_times_to_the_nanosecond)
{
    for (size_t i = 0; i < sizeof TIMES / sizeof TIMES[0]; i++) {
        scoped(entry_done) struct entry entry;
        entry_begin(&entry, "tag");
        pack_array(&entry.out, 2);
        buffer_bytes(&entry.out, TIMES[i].time);
        buffer_text(&entry.out, "\x81" SUBJECT);
        entry_decode(&entry);
        cr_assert_eq(
            entry.refusal, TIMES[i].refusal, "row %zu: %s", i, refusal_name(entry.refusal));
        if (entry.refusal == REFUSAL_NONE)
            cr_assert_eq(
                entry.event.time_ns, TIMES[i].time_ns, "row %zu: %ld", i, entry.event.time_ns);
    }
}

// --- properties ---

// Reserved keys at every place of the map: the runs put together are the properties, in order,
// nothing else.
Test(decode, cuts_reserved_keys_out_of_the_properties)
{
    static const struct bytes reserved[] = {
        BYTES(SUBJECT),
        BYTES("\xa4type\xa1t"),
        BYTES("\xa2id\xa1i"),
        BYTES("\xa6source\xa1o"),
        BYTES("\xa5value\x05"),
    };
    static const struct bytes properties[] = {
        BYTES("\xa1"
              "a\x01"),
        BYTES("\xa1"
              "b\x81\xa2id\x01"),
        BYTES("\xa1"
              "c\xc0"),
        BYTES("\xa4"
              "Type\xa1x"),
        BYTES("\xa3"
              "ids\x92\x01\x02"),
        BYTES("\xa6"
              "values\xc3"),
    };
    // Bit i of the pattern: whether the next pair is a property, as long as there are some of both.
    for (unsigned pattern = 0; pattern < 2048; pattern++) {
        scoped(entry_done) struct entry entry;
        scoped(buffer_done) struct buffer expected = {0};
        size_t reserved_used = 0, properties_used = 0;
        entry_begin(&entry, "tag");
        pack_array(&entry.out, 2);
        pack_nil(&entry.out);
        pack_map(&entry.out, 11);
        for (unsigned i = 0; i < 11; i++) {
            bool is_property = ((pattern >> i) & 1) ? properties_used < 6 : reserved_used == 5;
            struct bytes pair =
                is_property ? properties[properties_used++] : reserved[reserved_used++];
            buffer_bytes(&entry.out, pair);
            if (is_property)
                buffer_bytes(&expected, pair);
        }
        entry_decode(&entry);
        cr_assert_eq(entry.refusal, REFUSAL_NONE, "pattern %x", pattern);
        scoped(buffer_done) struct buffer runs = {0};
        for (uint32_t i = 0; i < entry.event.properties_runs; i++)
            buffer_bytes(&runs, entry.event.properties[i]);
        cr_assert_eq(entry.event.properties_count, 6);
        cr_assert(bytes_equal(buffer_view(&runs), buffer_view(&expected)), "pattern %x", pattern);
        cr_assert(bytes_equal(entry.event.id, bytes_text("i")));
        cr_assert(bytes_equal(entry.event.source, bytes_text("o")));
        cr_assert(bytes_equal(entry.event.type, bytes_text("t")));
    }
}

Test(decode, gives_chunk_position_and_batch)
{
    scoped(buffer_done) struct buffer out = {0};
    wire_packed(&out, "api", &(struct wire){.events = 3, .chunk = "c1", .backfill = "b1"});
    struct frame frame;
    struct event event;
    struct decode_stats stats = {0};
    cr_assert_eq(frame_parse(buffer_view(&out), &frame), FRAME_FINE);
    struct cursor in = cursor_over(frame.entries);
    for (uint32_t i = 0; i < 3; i++) {
        cr_assert_eq(decode_entry(&frame, &in, i, &event, &stats), REFUSAL_NONE);
        cr_assert_eq(event.chunk_position, i);
        cr_assert(bytes_equal(event.chunk, bytes_text("c1")));
        cr_assert(bytes_equal(event.batch, bytes_text("b1")));
    }
    cr_assert_eq(cursor_left(&in), 0);
}

Test(decode, reads_a_message)
{
    scoped(buffer_done) struct buffer out = {0};
    wire_message(&out, "api", &(struct wire){.time_ns = 1700167680000000001, .value = 9});
    struct frame frame;
    struct event event;
    struct decode_stats stats = {0};
    cr_assert_eq(frame_parse(buffer_view(&out), &frame), FRAME_FINE);
    struct cursor in = cursor_over(frame.entries);
    cr_assert_eq(decode_entry(&frame, &in, 0, &event, &stats), REFUSAL_NONE);
    cr_assert_eq(event.time_ns, 1700167680000000001);
    cr_assert_eq(decimal_compare(event.value, decimal_from_int(9)), 0);
    cr_assert(bytes_equal(event.type, bytes_text("api")));
    cr_assert_eq(cursor_left(&in), 0);
}

// --- random ---

static uint64_t
random_next(uint64_t *state)
{
    *state ^= *state << 13;
    *state ^= *state >> 7;
    *state ^= *state << 17;
    return *state;
}

// Bytes of a good frame, changed here and there: whatever still is a frame gives events or
// refusals, and every entry ends where the next begins.
Test(decode, survives_changed_bytes)
{
    uint64_t state = 7;
    uint64_t frames = 0, refused = 0;
    for (uint32_t round = 0; round < 30000; round++) {
        scoped(buffer_done) struct buffer out = {0};
        struct wire wire = {.events = 3, .chunk = "c", .value = 5, .time_ns = 1};
        (round % 2 == 0 ? wire_packed : wire_forward)(&out, "tag", &wire);
        for (uint32_t i = 0; i <= round % 4; i++)
            out.data[random_next(&state) % out.size] = (uint8_t)random_next(&state);
        struct unpack_scan scan = {0};
        if (unpack_scan(&scan, buffer_view(&out), 1 << 20) != UNPACK_COMPLETE)
            continue;
        struct frame frame;
        if (frame_parse(bytes_of(out.data, scan.size), &frame) != FRAME_FINE)
            continue;
        frames++;
        struct cursor in = cursor_over(frame.entries);
        struct decode_stats stats = {0};
        for (uint32_t i = 0; i < frame.entries_count; i++) {
            struct event event;
            refused += decode_entry(&frame, &in, i, &event, &stats) != REFUSAL_NONE;
        }
        cr_assert_eq(cursor_left(&in), 0, "round %u", round);
    }
    cr_assert_gt(frames, 1000);
    cr_assert_gt(refused, 100);
}

Test(decode, names_every_refusal)
{
    for (enum refusal i = REFUSAL_NONE; i < REFUSAL_COUNT; i++) {
        cr_assert_not_null(refusal_name(i), "%d", i);
        cr_assert_not_null(refusal_label(i), "%d", i);
        for (const char *at = refusal_label(i); *at != '\0'; at++)
            cr_assert(*at == '_' || (*at >= 'a' && *at <= 'z'), "%s", refusal_label(i));
    }
}
