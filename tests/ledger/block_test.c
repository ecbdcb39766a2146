#include "ledger/block.h"

#include "base/assert.h"

#include <criterion/criterion.h>

#include <signal.h>
#include <stdlib.h>

enum { ARRIVAL = 777 };

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

// The events as a sealed block, in fresh memory of exactly its size.
static struct bytes
block_of(const struct event *events, uint32_t count, uint64_t sequence)
{
    struct block_header header = {
        .sequence = sequence,
        .count = count,
        .time_min_ns = 1,
        .time_max_ns = 2,
        .arrival_ns = ARRIVAL,
    };
    for (uint32_t i = 0; i < count; i++)
        header.size += (uint32_t)entry_size(&events[i]);
    uint8_t *value = malloc(BLOCK_HEADER_SIZE + header.size);
    cr_assert_not_null(value);
    uint8_t *at = value + BLOCK_HEADER_SIZE;
    for (uint32_t i = 0; i < count; i++) {
        entry_write(&events[i], ARRIVAL, at);
        at += entry_size(&events[i]);
    }
    block_seal(value, &header);
    return bytes_of(value, BLOCK_HEADER_SIZE + header.size);
}

Test(block, gives_back_every_field)
{
    const struct event event = whole_event();
    struct bytes value = block_of(&event, 1, 9);
    struct block_reader reader;
    struct entry entry;
    cr_assert_eq(block_open(&reader, 9, value, NULL), STATUS_OK);
    cr_assert_eq(reader.header.sequence, 9);
    cr_assert_eq(reader.header.count, 1);
    cr_assert_eq(reader.header.time_min_ns, 1);
    cr_assert_eq(reader.header.time_max_ns, 2);
    cr_assert_eq(reader.header.arrival_ns, ARRIVAL);
    cr_assert(block_next(&reader, &entry));
    cr_assert(bytes_equal(entry.subject, event.subject));
    cr_assert(bytes_equal(entry.type, event.type));
    cr_assert(bytes_equal(entry.id, event.id));
    cr_assert(bytes_equal(entry.source, event.source));
    cr_assert(bytes_equal(entry.batch, event.batch));
    cr_assert(bytes_equal(entry.properties, bytes_of("\xa1n\x05\xa1r\xa2us", 8)));
    cr_assert_eq(entry.properties_count, 2);
    cr_assert_eq(entry.time_ns, event.time_ns);
    cr_assert_eq(entry.value.units, -5);
    cr_assert_eq(entry.flags, ENTRY_IS_BACKFILL);
    cr_assert_eq(entry.kind, ENTRY_EVENT);
    cr_assert_eq(entry.whole.size, entry_size(&event));
    cr_assert_not(block_next(&reader, &entry));
    cr_assert_not(reader.is_broken);
    free((void *)(uintptr_t)value.data);
}

struct flag_row {
    const char *id;
    const char *chunk;
    int64_t time_ns;
    uint8_t flags;
    const char *stored_id;
    int64_t stored_time_ns;
};

Test(block, marks_what_stands_for_the_id_and_the_time)
{
    static const struct flag_row rows[] = {
        {"i", "",  5, 0,                                         "i", 5      },
        {"",  "c", 5, ENTRY_ID_IS_CHUNK,                         "c", 5      },
        {"i", "c", 5, 0,                                         "i", 5      },
        {"",  "",  5, 0,                                         "",  5      },
        {"i", "",  0, ENTRY_TIME_IS_ARRIVAL,                     "i", ARRIVAL},
        {"",  "c", 0, ENTRY_TIME_IS_ARRIVAL | ENTRY_ID_IS_CHUNK, "c", ARRIVAL},
    };
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        struct event event = {
            .subject = bytes_text("s"),
            .type = bytes_text("t"),
            .id = bytes_text(rows[i].id),
            .chunk = bytes_text(rows[i].chunk),
            .chunk_position = 3,
            .time_ns = rows[i].time_ns,
        };
        uint8_t bytes[128];
        struct entry entry;
        entry_write(&event, ARRIVAL, bytes);
        struct cursor in = cursor_over(bytes_of(bytes, entry_size(&event)));
        cr_assert(entry_read(&in, &entry), "row %zu", i);
        cr_assert_eq(entry.flags, rows[i].flags, "row %zu", i);
        cr_assert(bytes_equal(entry.id, bytes_text(rows[i].stored_id)), "row %zu", i);
        cr_assert_eq(entry.time_ns, rows[i].stored_time_ns, "row %zu", i);
        cr_assert_eq(entry.chunk_position, 3);
    }
}

Test(block, refuses_every_flipped_bit)
{
    const struct event events[] = {whole_event(), whole_event()};
    struct bytes value = block_of(events, 2, 1);
    uint8_t *bytes = (uint8_t *)(uintptr_t)value.data;
    struct block_reader reader;
    for (size_t bit = 0; bit < value.size * 8; bit++) {
        bytes[bit / 8] ^= (uint8_t)(1U << bit % 8);
        struct error error;
        cr_assert_eq(block_open(&reader, 1, value, &error), STATUS_CORRUPT, "bit %zu", bit);
        cr_assert_eq(strncmp(error.text, "block 1: ", 9), 0, "%s", error.text);
        bytes[bit / 8] ^= (uint8_t)(1U << bit % 8);
    }
    cr_assert_eq(block_open(&reader, 1, value, NULL), STATUS_OK);
    cr_assert_eq(block_open(&reader, 2, value, NULL), STATUS_CORRUPT, "under another key");
    free(bytes);
}

Test(block, refuses_every_other_length)
{
    const struct event event = whole_event();
    struct bytes value = block_of(&event, 1, 1);
    struct block_reader reader;
    for (size_t size = 0; size < value.size; size++) {
        // Memory of exactly this size, so that a read beyond it is seen.
        uint8_t *cut = malloc(size + 1);
        cr_assert_not_null(cut);
        memcpy(cut + 1, value.data, size);
        cr_assert_eq(block_open(&reader, 1, bytes_of(cut + 1, size), NULL), STATUS_CORRUPT);
        free(cut);
    }
    uint8_t *longer = calloc(1, value.size + 1);
    cr_assert_not_null(longer);
    memcpy(longer, value.data, value.size);
    cr_assert_eq(block_open(&reader, 1, bytes_of(longer, value.size + 1), NULL), STATUS_CORRUPT);
    free(longer);
    free((void *)(uintptr_t)value.data);
}

// Entries that lie, in blocks whose checksum is right.
Test(block, breaks_at_an_entry_that_makes_no_sense)
{
    static const struct {
        size_t offset;  // in the entry
        uint8_t byte;
    } rows[] = {
        {0,  255 }, // size beyond the block
        {0,  39  }, // size below a header
        {4,  2   }, // kind
        {5,  0x80}, // flags
        {5,  0   }, // a batch without its flag
        {6,  0   }, // no subject
        {6,  255 }, // subject beyond the entry
        {7,  0   }, // no type
        {8,  255 }, // id beyond the entry
        {11, 1   }, // the byte that is zero
    };
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        const struct event event = whole_event();
        struct bytes value = block_of(&event, 1, 1);
        uint8_t *bytes = (uint8_t *)(uintptr_t)value.data;
        bytes[BLOCK_HEADER_SIZE + rows[i].offset] = rows[i].byte;
        const struct block_header header = {
            .sequence = 1, .count = 1, .size = (uint32_t)value.size - BLOCK_HEADER_SIZE};
        block_seal(bytes, &header);
        struct block_reader reader;
        struct entry entry;
        cr_assert_eq(block_open(&reader, 1, value, NULL), STATUS_OK);
        cr_assert_not(block_next(&reader, &entry), "row %zu", i);
        cr_assert(reader.is_broken, "row %zu", i);
        cr_assert_not(block_next(&reader, &entry), "row %zu", i);
        free(bytes);
    }
}

Test(block, breaks_when_bytes_are_left_over)
{
    const struct event events[] = {whole_event(), whole_event()};
    struct bytes value = block_of(events, 2, 1);
    uint8_t *bytes = (uint8_t *)(uintptr_t)value.data;
    const struct block_header header = {
        .sequence = 1, .count = 1, .size = (uint32_t)value.size - BLOCK_HEADER_SIZE};
    block_seal(bytes, &header);
    struct block_reader reader;
    struct entry entry;
    cr_assert_eq(block_open(&reader, 1, value, NULL), STATUS_OK);
    cr_assert(block_next(&reader, &entry));
    cr_assert_not(block_next(&reader, &entry));
    cr_assert(reader.is_broken);
    free(bytes);
}

Test(block, holds_the_largest_event)
{
    static uint8_t long_text[EVENT_SIZE_MAX];
    struct event event = {
        .subject = bytes_of(long_text, EVENT_SUBJECT_MAX),
        .type = bytes_of(long_text, EVENT_TYPE_MAX),
        .chunk = bytes_of(long_text, EVENT_CHUNK_MAX),
        .source = bytes_of(long_text, EVENT_SOURCE_MAX),
        .properties_runs = 1,
        .properties = {bytes_of(
            long_text, EVENT_SIZE_MAX - EVENT_SUBJECT_MAX - EVENT_TYPE_MAX - EVENT_SOURCE_MAX)},
    };
    size_t size = entry_size(&event);
    cr_assert_leq(size, EVENT_SIZE_MAX + ENTRY_HEADER_SIZE + EVENT_CHUNK_MAX);
    uint8_t *bytes = malloc(size);
    cr_assert_not_null(bytes);
    entry_write(&event, ARRIVAL, bytes);
    struct cursor in = cursor_over(bytes_of(bytes, size));
    struct entry entry;
    cr_assert(entry_read(&in, &entry));
    cr_assert_eq(entry.id.size, EVENT_CHUNK_MAX);
    free(bytes);
}

Test(block, names_every_fate)
{
    cr_assert_str_eq(fate_name(FATE_STORED), "stored");
    cr_assert_str_eq(fate_name(FATE_DUPLICATE), "duplicate");
    cr_assert_str_eq(fate_name(FATE_CONFLICT), "conflict");
    cr_assert_str_eq(fate_name(FATE_TOO_OLD), "time too old");
    cr_assert_str_eq(fate_name(FATE_TOO_FAR_AHEAD), "time too far ahead");
}

Test(block, stops_at_an_event_without_subject, .signal = SIGABRT)
{
    const struct event event = {.type = bytes_text("t")};
    uint8_t bytes[128];
    entry_write(&event, ARRIVAL, bytes);
}
