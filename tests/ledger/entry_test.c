#include "ledger/entry.h"

#include <criterion/criterion.h>

#include <signal.h>
#include <stdlib.h>

enum { ARRIVAL = 777 };

struct flag_row {
    const char *id;
    const char *chunk;
    int64_t time_ns;
    uint8_t flags;
    const char *stored_id;
    int64_t stored_time_ns;
};

Test(entry, marks_what_stands_for_the_id_and_the_time)
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
        bool is_chunk = (rows[i].flags & ENTRY_ID_IS_CHUNK) != 0;
        cr_assert_eq(entry.chunk_position, is_chunk ? 3 : 0, "row %zu", i);
    }
}

Test(entry, holds_the_largest_event)
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

Test(entry, names_every_fate)
{
    cr_assert_str_eq(fate_name(FATE_STORED), "stored");
    cr_assert_str_eq(fate_name(FATE_DUPLICATE), "duplicate");
    cr_assert_str_eq(fate_name(FATE_CONFLICT), "conflict");
    cr_assert_str_eq(fate_name(FATE_TOO_OLD), "time too old");
    cr_assert_str_eq(fate_name(FATE_TOO_FAR_AHEAD), "time too far ahead");
}

Test(entry, stops_at_an_event_without_subject, .signal = SIGABRT)
{
    const struct event event = {.type = bytes_text("t")};
    uint8_t bytes[128];
    entry_write(&event, ARRIVAL, bytes);
}
