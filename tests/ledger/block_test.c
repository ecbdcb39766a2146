#include "base/pack.h"
#include "ledger/block_writer.h"

#include <criterion/criterion.h>

#include <stdio.h>
#include <stdlib.h>

// Blocks are written and read side by side, as a chapter of a log: what comes back is compared with
// what went in, field by field.

enum { ARRIVAL = 777 };

static const int64_t NOW_NS = 1700000000000000000;

struct chapter {
    struct block_writer writer;
    struct block_header header;
    struct word_list words;
    struct block_reader reader;
    struct buffer raw;    // the entries of the block being made
    struct buffer value;  // the block
};

static void
ok(enum status status, const struct error *error)
{
    cr_assert_eq(status, STATUS_OK, "%s", error->text);
}

static void
chapter_open(struct chapter *chapter)
{
    struct error error = {0};
    *chapter = (struct chapter){0};
    ok(block_writer_open(&chapter->writer, &error), &error);
    block_writer_resume(&chapter->writer, 0, 0);
}

static void
chapter_close(struct chapter *chapter)
{
    block_writer_done(&chapter->writer);
    word_list_done(&chapter->words);
    block_reader_done(&chapter->reader);
    buffer_done(&chapter->raw);
    buffer_done(&chapter->value);
}

static void
add_event(struct chapter *chapter, const struct event *event)
{
    size_t size = entry_size(event);
    uint8_t *at = buffer_reserve(&chapter->raw, size);
    cr_assert_not_null(at);
    entry_write(event, ARRIVAL, at);
    buffer_commit(&chapter->raw, size);
}

static void
add_entry(struct chapter *chapter, const struct entry *entry)
{
    size_t size = entry_raw_size(entry);
    uint8_t *at = buffer_reserve(&chapter->raw, size);
    cr_assert_not_null(at);
    entry_put(entry, at);
    buffer_commit(&chapter->raw, size);
}

// Writes the block of what was added; its value is in memory of exactly its size.
static struct bytes
write_block(struct chapter *chapter)
{
    struct error error = {0};
    size_t size;
    block_begin(&chapter->writer, NOW_NS);
    block_add(&chapter->writer, buffer_view(&chapter->raw));
    ok(block_end(&chapter->writer, &size, &error), &error);
    buffer_done(&chapter->value);
    uint8_t *value = buffer_reserve(&chapter->value, size);
    cr_assert_not_null(value);
    block_write(&chapter->writer, value);
    buffer_commit(&chapter->value, size);
    chapter->header = chapter->writer.header;
    return buffer_view(&chapter->value);
}

static void
open_block(struct chapter *chapter, struct bytes value)
{
    struct error error = {0};
    struct block_header header;
    ok(block_look(chapter->header.sequence, value, &header, &error), &error);
    if (header.chapter == header.sequence)
        word_list_reset(&chapter->words);
    ok(block_learn(&header, value, &chapter->words, &error), &error);
    ok(block_open(&chapter->reader, &header, value, &chapter->words, &error), &error);
}

static void
expect_payload(const struct entry_payload *a, const struct entry_payload *b)
{
    cr_assert(bytes_equal(a->type, b->type));
    cr_assert(a->value.units == b->value.units);
    cr_assert_eq(a->properties_count, b->properties_count);
    cr_assert(bytes_equal(a->properties, b->properties));
}

static void
expect_same(const struct entry *a, const struct entry *b, uint32_t index)
{
    cr_assert_eq(a->kind, b->kind, "entry %u", index);
    cr_assert_eq(a->flags, b->flags, "entry %u", index);
    cr_assert_eq(a->chunk_position, b->chunk_position, "entry %u", index);
    cr_assert_eq(a->time_ns, b->time_ns, "entry %u", index);
    cr_assert(a->value.units == b->value.units, "entry %u", index);
    cr_assert(bytes_equal(a->subject, b->subject), "entry %u", index);
    cr_assert(bytes_equal(a->type, b->type), "entry %u", index);
    cr_assert(bytes_equal(a->id, b->id), "entry %u", index);
    cr_assert(bytes_equal(a->source, b->source), "entry %u", index);
    cr_assert(bytes_equal(a->batch, b->batch), "entry %u", index);
    cr_assert_eq(a->properties_count, b->properties_count, "entry %u", index);
    cr_assert(bytes_equal(a->properties, b->properties), "entry %u", index);
    if (a->kind == ENTRY_EVENT)
        return;
    cr_assert(bytes_equal(a->note.who, b->note.who), "entry %u", index);
    cr_assert(bytes_equal(a->note.why, b->note.why), "entry %u", index);
    cr_assert_eq(a->note.block, b->note.block, "entry %u", index);
    cr_assert_eq(a->note.index, b->note.index, "entry %u", index);
    cr_assert_eq(a->note.cut, b->note.cut, "entry %u", index);
    expect_payload(&a->note.amended, &b->note.amended);
}

// Writes what was added as a block and expects it back. Returns the block's size.
static size_t
round_trip(struct chapter *chapter)
{
    struct bytes value = write_block(chapter);
    open_block(chapter, value);
    struct cursor raw = cursor_over(buffer_view(&chapter->raw));
    uint32_t index = 0;
    struct entry expected;
    struct entry entry;
    int64_t min_ns = INT64_MAX;
    int64_t max_ns = INT64_MIN;
    for (; cursor_left(&raw) > 0; index++) {
        cr_assert(entry_read(&raw, &expected));
        cr_assert(block_next(&chapter->reader, &entry), "entry %u", index);
        expect_same(&expected, &entry, index);
        min_ns = entry.time_ns < min_ns ? entry.time_ns : min_ns;
        max_ns = entry.time_ns > max_ns ? entry.time_ns : max_ns;
    }
    cr_assert_not(block_next(&chapter->reader, &entry));
    cr_assert_not(chapter->reader.is_broken);
    cr_assert_eq(chapter->header.count, index);
    cr_assert_eq(chapter->header.time_min_ns, min_ns);
    cr_assert_eq(chapter->header.time_max_ns, max_ns);
    buffer_reset(&chapter->raw);
    return value.size;
}

static struct event
whole_event(void)
{
    return (struct event){
        .subject = bytes_text("customer-1"),
        .type = bytes_text("llm"),
        .id = bytes_text("0123-4567"),
        .source = bytes_text("gateway"),
        .time_ns = 1700000000000000001,
        .value = {-5 },
        .properties_count = 2,
        .properties_runs = 2,
        .properties = { bytes_of("\xa1n\x05", 3), bytes_of("\xa1r\xa2us", 5)},
        .batch = bytes_text("b1"),
    };
}

static const char *const ids[] = {
    "",
    "0123-4567",
    "0190c8f6-0f8a-7cc0-8e2b-9c1d5f0a2b3c",
    "0190C8F6-0F8A-7CC0-8E2B-9C1D5F0A2B3C",
    "0190c8f60f8a7cc08e2b9c1d5f0a2b3c",
    "{190c8f6-0f8a-7cc0-8e2b-9c1d5f0a2b3}",
    "0190c8f6-0f8a-7cc0-8e2b-9c1d5f0a2b3g",
    "customer-1",  // a word, as a subject
    "00000000-0000-0000-0000-000000000000",
    "ffffffff-ffff-ffff-ffff-ffffffffffff",
    "\xff\xfe",
    "x",
};

static const struct {
    const char *bytes;
    uint32_t size;
    uint32_t count;
} pairs[] = {
    {NULL,                                         0,  0},
    {"\xa1n\x05",                                  3,  1},
    {"\xa1n\xcd\x01\x00\xa1r\xa2us",               9,  2},
    {"\xa1n\x05\xa1n\x06",                         6,  2}, // a key twice
    {"\xa1n\xa6region\xa1m\xa6region",             18, 2}, // a value that becomes a word
    {"\xa1\xff\xa5\xff\xfe\xfd\xfc\xfb",           8,  1}, // no UTF-8
    {"\x05\xc0\xc2\xc3",                           4,  2}, // keys that are no texts
    {"\xa1m\x82\xa1"
     "a\x01\xa1"
     "b\x92\xc0\xa1x",                        12,
     1                                                  }, // nested
    {"\xa1u\xd9\x24"
     "0190c8f6-0f8a-7cc0-8e2b-9c1d5f0a2b3c",  40,
     1                                                  },
    {"\xa1u\xd9\x24"
     "0190C8f6-0f8a-7cc0-8e2b-9c1d5f0a2b3c",  40,
     1                                                  },
    {"\xa1u\xda\x00\x24"
     "0190c8f6-0f8a-7cc0-8e2b-9c1d5f0a2b3c",  41,
     1                                                  }, // in a longer form
    {"\xa1"
     "d\xcb\x7f\xf8\x00\x00\x00\x00\x00\x00", 11,
     1                                                  }, // not a number
    {"\xa1"
     "b\xc4\x03\xc1\xc1\xc1",                 7,
     1                                                  }, // binary of the byte that codes
    {"\xa1",                                       1,  1}, // no pairs at all
    {"\xa1n\x05\x06",                              4,  1}, // more than its pairs
    {"\xa1n\xc1",                                  3,  1}, // the byte that codes
};

enum { IDS = sizeof ids / sizeof ids[0], PAIRS = sizeof pairs / sizeof pairs[0] };

// What a decimal may be; the mode in which it is coded changes at some of them.
static int128
value_at(size_t index)
{
    const int128 one = DECIMAL_ONE.units;
    const int128 micro = 1000000000000;
    const int128 rows[] = {
        0,
        one,
        -one,
        1,
        -1,
        one - 1,
        one + 1,
        micro,
        -micro,
        micro * 1234567,
        one * 64,
        one * (INT64_MAX >> 2),
        one * ((INT64_MAX >> 2) + 1),
        -one * (INT64_MAX >> 2),
        micro * (INT64_MAX >> 2),
        micro * ((INT64_MAX >> 2) + (int128)1),
        one * 9999999999999999999ULL,
        -(one * 9999999999999999999ULL),
        one * 10000000000000000000ULL - 1,
        (int128)1 << 18,
        (int128)1 << 64,
        (int128)3814697265625,  // 5^18
    };
    return rows[index % (sizeof rows / sizeof rows[0])];
}

static const int64_t times[] = {
    1, NOW_NS, 0, 1, INT64_MAX, 2, -1, INT64_MIN, INT64_MAX, NOW_NS + 1000};

struct seed {
    uint64_t state;
};

static uint64_t
below(struct seed *seed, uint64_t limit)
{
    seed->state = seed->state * 6364136223846793005ULL + 1442695040888963407ULL;
    return (seed->state >> 33) % limit;
}

// Any legal event; its long texts are views of `text`, which has 64 KiB of anything.
static struct event
random_event(struct seed *seed, const uint8_t *text)
{
    static const char *const subjects[] = {
        "customer-1", "customer-2", "s", "0123-4567", "\xff\x00"};
    static const char *const batches[] = {"", "", "", "b1", "b2"};
    size_t pair = below(seed, PAIRS);
    struct event event = {
        .subject = bytes_text(subjects[below(seed, 5)]),
        .type = bytes_text(below(seed, 3) == 0 ? "llm" : "job"),
        .id = bytes_text(ids[below(seed, IDS)]),
        .source = bytes_text(below(seed, 2) == 0 ? "" : "gateway"),
        .chunk = bytes_text(below(seed, 2) == 0 ? "" : "chunk-1"),
        .chunk_position = (uint32_t)below(seed, 3) * 0x7fffffffU,
        .time_ns = times[below(seed, sizeof times / sizeof times[0])],
        .value = {value_at(below(seed, 100))},
        .properties_count = pairs[pair].count,
        .properties_runs = 1,
        .properties = {bytes_of(pairs[pair].bytes, pairs[pair].size)},
        .batch = bytes_text(batches[below(seed, 5)]),
    };
    if (below(seed, 8) == 0)
        event.subject = bytes_of(text + below(seed, 4), 1 + below(seed, EVENT_SUBJECT_MAX));
    if (below(seed, 8) == 0)
        event.id = bytes_of(text + below(seed, 4), below(seed, EVENT_ID_MAX + 1));
    if (below(seed, 8) == 0)
        event.source = bytes_of(text, below(seed, EVENT_SOURCE_MAX + 1));
    return event;
}

Test(block, every_shape_of_an_event_comes_back)
{
    struct chapter chapter;
    chapter_open(&chapter);
    // Three times the same: written out, defined, and by the words of another block.
    for (int again = 0; again < 3; again++) {
        for (size_t i = 0; i < IDS; i++) {
            for (size_t j = 0; j < PAIRS; j++) {
                struct event event = whole_event();
                event.id = bytes_text(ids[i]);
                event.chunk = bytes_text(j % 2 == 0 ? "a-chunk" : "");
                event.chunk_position = (uint32_t)(i * j);
                event.time_ns = times[(i + j) % (sizeof times / sizeof times[0])];
                event.value.units = value_at(i * PAIRS + j);
                event.batch = bytes_text(i % 3 == 0 ? "b1" : "");
                event.source = bytes_text(j % 3 == 0 ? "gateway" : "");
                event.properties_count = pairs[j].count;
                event.properties_runs = 1;
                event.properties[0] = bytes_of(pairs[j].bytes, pairs[j].size);
                add_event(&chapter, &event);
            }
        }
        round_trip(&chapter);
    }
    chapter_close(&chapter);
}

Test(block, random_events_come_back_over_many_chapters)
{
    static uint8_t text[EVENT_SIZE_MAX];
    struct seed seed = {20261122};
    struct chapter chapter;
    chapter_open(&chapter);
    for (size_t i = 0; i < sizeof text; i++)
        text[i] = (uint8_t)below(&seed, 256);
    for (int block = 0; block < 1100; block++) {
        uint64_t count = 1 + below(&seed, 40);
        for (uint64_t i = 0; i < count; i++) {
            const struct event event = random_event(&seed, text);
            add_event(&chapter, &event);
        }
        round_trip(&chapter);
    }
    cr_assert_eq(chapter.header.chapter, 1025, "chapters have 512 blocks");
    chapter_close(&chapter);
}

Test(block, an_event_of_eight_runs_and_the_largest_come_back)
{
    static uint8_t text[EVENT_SIZE_MAX];
    struct chapter chapter;
    struct event runs = whole_event();
    runs.properties_count = runs.properties_runs = EVENT_RUNS_MAX;
    for (uint32_t i = 0; i < EVENT_RUNS_MAX; i++)
        runs.properties[i] = bytes_of("\xa1n\x05", 3);
    memset(text, 'x', sizeof text);
    struct event largest = {
        .subject = bytes_of(text, EVENT_SUBJECT_MAX),
        .type = bytes_of(text, EVENT_TYPE_MAX),
        .chunk = bytes_of(text, EVENT_CHUNK_MAX),
        .source = bytes_of(text, EVENT_SOURCE_MAX),
        .batch = bytes_of(text, EVENT_BATCH_MAX),
        .chunk_position = UINT32_MAX,
        .time_ns = INT64_MIN,
        .value = {-(DECIMAL_ONE.units * 9999999999999999999ULL)},
        .properties_count = 2000,
        .properties_runs = 1,
        .properties = {bytes_of(text, EVENT_SIZE_MAX)},
    };
    chapter_open(&chapter);
    for (int again = 0; again < 3; again++) {
        add_event(&chapter, &runs);
        add_event(&chapter, &largest);
        round_trip(&chapter);
    }
    chapter_close(&chapter);
}

// Keys that many events share, and a map that is as large as one may be.
Test(block, large_maps_with_the_same_keys_come_back)
{
    struct chapter chapter;
    struct buffer map = {0};
    chapter_open(&chapter);
    for (uint32_t size = 1; size <= 300; size += 23) {
        for (int again = 0; again < 4; again++) {
            buffer_reset(&map);
            for (uint32_t i = 0; i < size; i++) {
                char key[16];
                (void)snprintf(key, sizeof key, "key-%u", i);
                pack_text(&map, key);
                pack_uint(&map, i * 1000 + (uint32_t)again);
            }
            struct event event = whole_event();
            event.properties_count = size;
            event.properties_runs = 1;
            event.properties[0] = buffer_view(&map);
            add_event(&chapter, &event);
        }
        round_trip(&chapter);
    }
    buffer_done(&map);
    chapter_close(&chapter);
}

static const struct entry_note who_and_why = {
    .who = {(const uint8_t *)"ann",       3},
    .why = {(const uint8_t *)"a mistake", 9},
};

static struct entry
entry_of(enum entry_kind kind)
{
    struct entry entry = {.kind = kind, .time_ns = NOW_NS - 5, .note = who_and_why};
    bool has_event = kind == ENTRY_CANCEL || kind == ENTRY_AMEND || kind == ENTRY_EVENT;
    if (has_event) {
        entry.subject = bytes_text("customer-1");
        entry.type = bytes_text("llm");
        entry.id = bytes_text("0123-4567");
        entry.source = bytes_text("gateway");
        entry.value = decimal_from_int(-3);
        entry.properties_count = 1;
        entry.properties = bytes_of("\xa1n\x05", 3);
    } else if (kind != ENTRY_CUT) {
        entry.batch = bytes_text("b1");
    }
    if (kind == ENTRY_CANCEL || kind == ENTRY_AMEND) {
        entry.note.block = 1;
        entry.note.index = 12;
    }
    if (kind == ENTRY_AMEND)
        entry.note.amended = (struct entry_payload){
            bytes_text("llm2"), decimal_from_int(7), 1, bytes_of("\xa1m\x06", 3)};
    if (kind == ENTRY_BATCH_REVERT) {
        entry.note.block = 3;
        entry.note.index = 5;
    }
    if (kind == ENTRY_CUT)
        entry.note.cut = 17;
    return entry;
}

static const struct {
    enum entry_kind kind;
    uint16_t flags;
} kinds[] = {
    {ENTRY_EVENT,        0                    },
    {ENTRY_CANCEL,       BLOCK_HAS_CORRECTIONS},
    {ENTRY_AMEND,        BLOCK_HAS_CORRECTIONS},
    {ENTRY_BATCH_OPEN,   BLOCK_HAS_BACKFILL   },
    {ENTRY_BATCH_CLOSE,  BLOCK_HAS_BACKFILL   },
    {ENTRY_BATCH_REVERT, BLOCK_HAS_CORRECTIONS},
    {ENTRY_CUT,          BLOCK_HAS_CUT        },
};

Test(block, every_kind_of_entry_comes_back_and_marks_its_block)
{
    struct chapter chapter;
    chapter_open(&chapter);
    for (size_t i = 0; i < sizeof kinds / sizeof kinds[0]; i++) {
        const struct entry entry = entry_of(kinds[i].kind);
        add_entry(&chapter, &entry);
        round_trip(&chapter);
        cr_assert_eq(chapter.header.flags, kinds[i].flags, "%s", entry_kind_name(entry.kind));
    }
    for (size_t i = 0; i < 3 * sizeof kinds / sizeof kinds[0]; i++) {
        const struct entry entry = entry_of(kinds[i % 7].kind);
        const struct event event = whole_event();
        add_entry(&chapter, &entry);
        add_event(&chapter, &event);
    }
    round_trip(&chapter);
    cr_assert_eq(chapter.header.flags, BLOCK_HAS_CORRECTIONS | BLOCK_HAS_BACKFILL | BLOCK_HAS_CUT);
    chapter_close(&chapter);
}

Test(block, the_header_tells_what_is_in_it)
{
    struct chapter chapter;
    struct event event = whole_event();
    chapter_open(&chapter);
    event.time_ns = 0;
    add_event(&chapter, &event);
    round_trip(&chapter);
    struct block_header first = chapter.header;
    cr_assert_eq(first.sequence, 1);
    cr_assert_eq(first.chapter, 1);
    cr_assert_eq(first.previous, 0);
    cr_assert_eq(first.arrival_ns, NOW_NS);
    cr_assert_eq(first.arrival_min_ns, ARRIVAL);
    cr_assert_eq(first.flags, BLOCK_HAS_BACKFILL);
    cr_assert_eq(first.words_count, 0);
    event.time_ns = 5;
    add_event(&chapter, &event);
    round_trip(&chapter);
    cr_assert_eq(chapter.header.previous, first.checksum);
    cr_assert_eq(chapter.header.words_before, 0);
    cr_assert_gt(chapter.header.words_count, 3);
    cr_assert_eq(chapter.header.words_previous, 0);
    cr_assert_eq(chapter.header.arrival_min_ns, NOW_NS);
    uint32_t words = chapter.header.words_count;
    add_event(&chapter, &event);
    size_t size = round_trip(&chapter);
    cr_assert_eq(chapter.header.words_before, words);
    cr_assert_eq(chapter.header.words_count, 0);
    cr_assert_eq(chapter.header.words_previous, 2);
    cr_assert_leq(size, BLOCK_HEADER_SIZE + 50);
    // A start continues the chain of checksums with a chapter of its own.
    uint64_t checksum = chapter.header.checksum;
    block_writer_resume(&chapter.writer, 3, checksum);
    add_event(&chapter, &event);
    round_trip(&chapter);
    cr_assert_eq(chapter.header.sequence, 4);
    cr_assert_eq(chapter.header.chapter, 4);
    cr_assert_eq(chapter.header.previous, checksum);
    chapter_close(&chapter);
}

Test(block, a_chapter_ends_when_it_is_large_enough)
{
    struct chapter chapter;
    const struct event event = whole_event();
    chapter_open(&chapter);
    for (int i = 0; i < 3; i++) {
        add_event(&chapter, &event);
        round_trip(&chapter);
    }
    cr_assert_eq(chapter.header.chapter, 1);
    chapter.writer.chapter_bytes = 256ULL << 20;
    add_event(&chapter, &event);
    round_trip(&chapter);
    cr_assert_eq(chapter.header.chapter, 4);
    cr_assert_eq(chapter.header.words_before, 0);
    cr_assert_eq(chapter.header.words_previous, 0);
    add_event(&chapter, &event);
    round_trip(&chapter);
    cr_assert_eq(chapter.header.chapter, 4, "it counts anew");
    chapter_close(&chapter);
}

// The second of two blocks with words, so that every part of the value is there.
static struct bytes
two_blocks(struct chapter *chapter)
{
    const struct event event = whole_event();
    chapter_open(chapter);
    add_event(chapter, &event);
    round_trip(chapter);
    add_event(chapter, &event);
    return write_block(chapter);
}

static enum status
try_block(struct chapter *chapter, uint64_t sequence, struct bytes value, struct error *error)
{
    struct block_header header;
    word_list_reset(&chapter->words);
    enum status status = block_look(sequence, value, &header, error);
    if (!status)
        status = block_learn(&header, value, &chapter->words, error);
    if (!status)
        status = block_open(&chapter->reader, &header, value, &chapter->words, error);
    return status;
}

Test(block, refuses_every_flipped_bit)
{
    struct chapter chapter;
    struct bytes value = two_blocks(&chapter);
    uint8_t *bytes = chapter.value.data;
    cr_assert_gt(chapter.header.words_count, 0);
    for (size_t bit = 0; bit < value.size * 8; bit++) {
        struct error error = {0};
        bytes[bit / 8] ^= (uint8_t)(1U << bit % 8);
        cr_assert_eq(try_block(&chapter, 2, value, &error), STATUS_CORRUPT, "bit %zu", bit);
        cr_assert_eq(strncmp(error.text, "block 2: ", 9), 0, "%s", error.text);
        bytes[bit / 8] ^= (uint8_t)(1U << bit % 8);
    }
    cr_assert_eq(try_block(&chapter, 2, value, NULL), STATUS_OK);
    cr_assert_eq(try_block(&chapter, 3, value, NULL), STATUS_CORRUPT, "under another key");
    chapter_close(&chapter);
}

Test(block, refuses_every_other_length)
{
    struct chapter chapter;
    struct bytes value = two_blocks(&chapter);
    for (size_t size = 0; size < value.size; size++) {
        // Memory of exactly this size, so that a read beyond it is seen.
        uint8_t *cut = malloc(size + 1);
        cr_assert_not_null(cut);
        memcpy(cut + 1, value.data, size);
        cr_assert_eq(try_block(&chapter, 2, bytes_of(cut + 1, size), NULL), STATUS_CORRUPT);
        free(cut);
    }
    uint8_t *longer = calloc(1, value.size + 1);
    cr_assert_not_null(longer);
    memcpy(longer, value.data, value.size);
    cr_assert_eq(try_block(&chapter, 2, bytes_of(longer, value.size + 1), NULL), STATUS_CORRUPT);
    free(longer);
    chapter_close(&chapter);
}

// Reads what is there, in blocks whose checksums are right whatever they say.
static bool
reads_to_the_end(struct chapter *chapter, struct bytes value, uint64_t sequence)
{
    struct entry entry;
    if (try_block(chapter, sequence, value, NULL))
        return false;
    while (block_next(&chapter->reader, &entry))
        cr_assert(entry_is_sound(&entry));
    cr_assert_not(block_next(&chapter->reader, &entry), "it stays at its end");
    return !chapter->reader.is_broken;
}

// One byte changed, and everything sealed again: it is read as something legal, or found.
Test(block, a_lie_under_a_right_checksum_is_no_crash)
{
    struct chapter chapter;
    struct bytes value = two_blocks(&chapter);
    uint8_t *bytes = chapter.value.data;
    uint32_t broken = 0;
    for (size_t at = BLOCK_HEADER_SIZE; at < value.size; at++) {
        uint8_t old = bytes[at];
        for (int byte = 0; byte < 256; byte++) {
            struct block_header header = chapter.header;
            bytes[at] = (uint8_t)byte;
            block_seal(bytes, &header);
            broken += !reads_to_the_end(&chapter, value, 2);
        }
        bytes[at] = old;
    }
    cr_assert_gt(broken, 1000);
    chapter_close(&chapter);
}

Test(block, breaks_when_bytes_are_left_over_or_missing)
{
    struct chapter chapter;
    struct bytes value = two_blocks(&chapter);
    struct block_header header = chapter.header;
    header.count = 2;
    block_seal(chapter.value.data, &header);
    cr_assert_not(reads_to_the_end(&chapter, value, 2));
    cr_assert_eq(chapter.reader.index, 1);
    // The words' last byte given to the entries.
    header = chapter.header;
    header.words_size--;
    header.entries_size++;
    block_seal(chapter.value.data, &header);
    cr_assert_eq(try_block(&chapter, 2, value, NULL), STATUS_CORRUPT);
    chapter_close(&chapter);
}
