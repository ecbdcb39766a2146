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

struct kind_row {
    struct entry entry;
    bool is_sound;
};

#define TEXT(text)                                                                                 \
    {                                                                                              \
        (const uint8_t *)(text), sizeof(text) - 1                                                  \
    }
#define EVENT_PART .subject = TEXT("s"), .type = TEXT("t"), .id = TEXT("i")
#define SIGNED     .who = TEXT("ann"), .why = TEXT("so")
#define REVERTED   .batch = TEXT("b"), .flags = ENTRY_IS_BACKFILL | ENTRY_IS_REVERT

// clang-format off
static const struct kind_row kind_rows[] = {
    {{.kind = ENTRY_EVENT, EVENT_PART}, true},
    {{.kind = ENTRY_EVENT, .type = TEXT("t")}, false},
    {{.kind = ENTRY_EVENT, .subject = TEXT("s")}, false},
    {{.kind = ENTRY_EVENT, EVENT_PART, .flags = 16}, false},
    {{.kind = ENTRY_EVENT, EVENT_PART, .chunk_position = 1}, false},
    {{.kind = ENTRY_EVENT, EVENT_PART, .chunk_position = 1, .flags = ENTRY_ID_IS_CHUNK}, true},
    {{.kind = ENTRY_EVENT, EVENT_PART, .flags = ENTRY_IS_BACKFILL}, false},
    {{.kind = ENTRY_EVENT, EVENT_PART, .batch = TEXT("b")}, false},
    {{.kind = ENTRY_EVENT, EVENT_PART, .batch = TEXT("b"), .flags = ENTRY_IS_BACKFILL}, true},
    {{.kind = ENTRY_CANCEL, EVENT_PART, .note = {SIGNED, .block = 1}}, true},
    {{.kind = ENTRY_CANCEL, EVENT_PART, .note = {SIGNED}}, false},
    {{.kind = ENTRY_CANCEL, EVENT_PART, REVERTED, .note = {.block = 1}}, true},
    {{.kind = ENTRY_CANCEL, EVENT_PART, REVERTED, .note = {SIGNED, .block = 1}}, false},
    {{.kind = ENTRY_CANCEL, EVENT_PART, REVERTED, .note = {.who = TEXT("ann"), .block = 1}}, false},
    {{.kind = ENTRY_CANCEL, EVENT_PART, .flags = ENTRY_IS_REVERT, .note = {.block = 1}}, false},
    {{.kind = ENTRY_EVENT, EVENT_PART, REVERTED}, false},
    {{.kind = ENTRY_CANCEL, EVENT_PART, .note = {.who = TEXT("ann"), .block = 1}}, false},
    {{.kind = ENTRY_CANCEL, EVENT_PART, .note = {.why = TEXT("so"), .block = 1}}, false},
    {{.kind = ENTRY_CANCEL, EVENT_PART, .note = {SIGNED, .block = 1, .cut = 1}}, false},
    {{.kind = ENTRY_CANCEL, EVENT_PART,
      .note = {SIGNED, .block = 1, .amended = {.type = TEXT("t")}}}, false},
    {{.kind = ENTRY_AMEND, EVENT_PART,
      .note = {SIGNED, .block = 1, .amended = {.type = TEXT("t")}}}, true},
    {{.kind = ENTRY_AMEND, EVENT_PART, .note = {SIGNED, .block = 1}}, false},
    {{.kind = ENTRY_BATCH_OPEN, .batch = TEXT("b"), .note = {.who = TEXT("ann")}}, true},
    {{.kind = ENTRY_BATCH_OPEN, .batch = TEXT("b")}, false},
    {{.kind = ENTRY_BATCH_OPEN, .note = {SIGNED}}, false},
    {{.kind = ENTRY_BATCH_CLOSE, .batch = TEXT("b"), .note = {.who = TEXT("ann")}}, true},
    {{.kind = ENTRY_BATCH_CLOSE, .batch = TEXT("b"), .note = {SIGNED, .block = 1}}, false},
    {{.kind = ENTRY_BATCH_REVERT, .batch = TEXT("b"), .note = {SIGNED, .block = 1}}, true},
    {{.kind = ENTRY_BATCH_REVERT, .batch = TEXT("b"),
      .note = {SIGNED, .block = 1, .index = 7}}, true},
    {{.kind = ENTRY_BATCH_REVERT, .batch = TEXT("b"), .note = {SIGNED}}, true},
    {{.kind = ENTRY_BATCH_REVERT, .batch = TEXT("b"), .note = {SIGNED, .index = 7}}, false},
    {{.kind = ENTRY_BATCH_REVERT, .batch = TEXT("b"), .note = {.who = TEXT("ann")}}, false},
    {{.kind = ENTRY_CUT, .note = {.cut = 1}}, true},
    {{.kind = ENTRY_CUT}, false},
    {{.kind = ENTRY_CUT, .subject = TEXT("s"), .note = {.cut = 1}}, false},
    {{.kind = (enum entry_kind)8, .note = {.cut = 1}}, false},
    {{.kind = (enum entry_kind)0, .note = {.cut = 1}}, false},
};
// clang-format on

Test(entry, each_kind_has_what_it_needs_and_nothing_else)
{
    for (size_t i = 0; i < sizeof kind_rows / sizeof kind_rows[0]; i++)
        cr_assert_eq(entry_is_sound(&kind_rows[i].entry), kind_rows[i].is_sound, "row %zu", i);
}

// Every sound row comes back, and no shorter piece of its bytes is an entry.
Test(entry, is_read_as_it_was_put)
{
    for (size_t i = 0; i < sizeof kind_rows / sizeof kind_rows[0]; i++) {
        const struct entry *entry = &kind_rows[i].entry;
        if (!kind_rows[i].is_sound)
            continue;
        size_t size = entry_raw_size(entry);
        for (size_t cut = 0; cut <= size; cut++) {
            uint8_t bytes[256];
            entry_put(entry, bytes);
            uint8_t *exact = malloc(cut + 1);
            cr_assert_not_null(exact);
            memcpy(exact + 1, bytes, cut);
            struct cursor in = cursor_over(bytes_of(exact + 1, cut));
            struct entry back;
            cr_assert_eq(entry_read(&in, &back), cut == size, "row %zu, %zu bytes", i, cut);
            free(exact);
        }
    }
}

// One byte of the fixed part changed: it is refused, or read as another sound entry.
Test(entry, never_reads_what_is_not_sound)
{
    uint32_t refused = 0;
    for (size_t i = 0; i < sizeof kind_rows / sizeof kind_rows[0]; i++) {
        const struct entry *entry = &kind_rows[i].entry;
        if (!kind_rows[i].is_sound)
            continue;
        for (size_t at = 0; at < ENTRY_HEADER_SIZE; at++) {
            for (int byte = 0; byte < 256; byte++) {
                uint8_t bytes[256];
                struct entry back = {.kind = ENTRY_EVENT};
                entry_put(entry, bytes);
                bytes[at] = (uint8_t)byte;
                struct cursor in = cursor_over(bytes_of(bytes, entry_raw_size(entry)));
                if (entry_read(&in, &back))
                    cr_assert(entry_is_sound(&back), "row %zu byte %zu", i, at);
                else
                    refused++;
            }
        }
    }
    cr_assert_gt(refused, 10000);
}

Test(entry, names_every_kind)
{
    cr_assert_str_eq(entry_kind_name(ENTRY_EVENT), "event");
    cr_assert_str_eq(entry_kind_name(ENTRY_BATCH_REVERT), "batch_revert");
    cr_assert_str_eq(entry_kind_name(ENTRY_CUT), "cut");
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
