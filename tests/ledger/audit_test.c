#include "ledger/audit.h"

#include "ledger/control.h"
#include "ledger/cut_list.h"
#include "tests/ledger/writing.h"

#include <criterion/criterion.h>

#include <stdio.h>

enum { SHARDS = 3, EVENTS = 40 };

static void
begin(struct writing *writing)
{
    struct event_bytes event;
    char subject[16];
    writing_begin(writing, SHARDS);
    writing_meter(writing, "calls", "llm", AGGREGATION_COUNT);
    writing_open(writing, NULL);
    for (int i = 0; i < EVENTS; i++) {
        (void)snprintf(subject, sizeof subject, "s%d", i % 5);
        event_make(&event, subject, "x", i);
        (void)snprintf(event.id, sizeof event.id, "id%d", i);
        event.event.id = bytes_text(event.id);
        cr_assert_eq(writing_fate(writing, &event.event), FATE_STORED);
    }
}

// Event i, with its number as the reason. The clock does not move for some of them, and goes back
// once.
static void
cancel(struct writing *writing, int i)
{
    struct error error = {0};
    char subject[16], id[16], why[16];
    uint64_t block = 0;
    (void)snprintf(subject, sizeof subject, "s%d", i % 5);
    (void)snprintf(id, sizeof id, "id%d", i);
    (void)snprintf(why, sizeof why, "%d", i);
    const struct correction correction = {
        .kind = ENTRY_CANCEL,
        .subject = bytes_text(subject),
        .id = bytes_text(id),
        .who = bytes_text("ops"),
        .why = bytes_text(why),
    };
    writing_now_ns += i == 20 ? -5000000000 : (int64_t)(i % 3) * 1000000000;
    succeed(ledger_correct(writing->ledger, &correction, &block, &error), &error);
}

static uint32_t
pages_read(
    struct reader *reader,
    struct audit_query query,
    struct arena *arena,
    struct audit_row out[EVENTS])
{
    struct error error = {0};
    struct audit_page page = {.has_more = true};
    uint32_t count = 0;
    while (page.has_more) {
        succeed(audit_list(reader, &query, arena, &page, &error), &error);
        cr_assert(page.count == query.limit || !page.has_more);
        for (uint32_t i = 0; i < page.count; i++) {
            cr_assert_lt(count, EVENTS);
            out[count++] = page.rows[i];
        }
        query.has_after = true;
        if (count > 0)
            query.after = out[count - 1].place;
    }
    return count;
}

Test(audit, lists_each_correction_once_whatever_the_size_of_a_page)
{
    struct writing writing;
    struct reader *reader;
    struct error error = {0};
    scoped(arena_done) struct arena arena = {0};
    struct audit_row all[EVENTS], some[EVENTS];
    begin(&writing);
    for (int i = 0; i < EVENTS; i += 2)
        cancel(&writing, i);
    succeed(reader_open(writing.dir, &reader, &error), &error);
    struct audit_query query = AUDIT_ALL;
    cr_assert_eq(pages_read(reader, query, &arena, all), EVENTS / 2);
    bool seen[EVENTS] = {false};
    for (int i = 0; i < EVENTS / 2; i++) {
        cr_assert(i == 0 || all[i].place.made_ns <= all[i - 1].place.made_ns);
        cr_assert_eq(all[i].entry.kind, ENTRY_CANCEL);
        int number = 0;
        cr_assert_eq(sscanf(arena_text_of(&arena, all[i].entry.note.why), "%d", &number), 1);
        cr_assert(!seen[number]);
        seen[number] = true;
    }
    for (uint32_t limit = 1; limit <= EVENTS / 2 + 1; limit++) {
        query.limit = limit;
        cr_assert_eq(pages_read(reader, query, &arena, some), EVENTS / 2);
        for (int i = 0; i < EVENTS / 2; i++) {
            cr_assert_eq(some[i].place.block, all[i].place.block);
            cr_assert_eq(some[i].place.shard, all[i].place.shard);
        }
    }
    query.limit = 3;
    query.subject = bytes_text("s2");
    uint32_t count = pages_read(reader, query, &arena, some);
    cr_assert_eq(count, EVENTS / 5 / 2);
    for (uint32_t i = 0; i < count; i++)
        cr_assert(bytes_equal(some[i].entry.subject, query.subject));
    query.subject = bytes_of(NULL, 0);
    query.from_ns = all[4].place.made_ns;
    query.to_ns = all[0].place.made_ns;
    count = pages_read(reader, query, &arena, some);
    for (uint32_t i = 0; i < count; i++)
        cr_assert(some[i].place.made_ns >= query.from_ns && some[i].place.made_ns < query.to_ns);
    cr_assert_gt(count, 0);
    query.limit = 0;
    cr_assert_eq(
        audit_list(reader, &query, &arena, &(struct audit_page){0}, &error), STATUS_INVALID);
    query.limit = AUDIT_LIMIT_MAX + 1;
    cr_assert_eq(
        audit_list(reader, &query, &arena, &(struct audit_page){0}, &error), STATUS_INVALID);
    reader_close(reader);
    writing_close(&writing);
    writing_end(&writing);
}

Test(audit, names_one_by_its_place_and_nothing_else)
{
    struct writing writing;
    struct reader *reader;
    struct error error = {0};
    struct audit_row row, all[EVENTS];
    scoped(arena_done) struct arena arena = {0};
    begin(&writing);
    succeed(reader_open(writing.dir, &reader, &error), &error);
    cr_assert_eq(pages_read(reader, AUDIT_ALL, &arena, all), 0);
    cancel(&writing, 7);
    cr_assert_eq(pages_read(reader, AUDIT_ALL, &arena, all), 1);
    const struct audit_place place = all[0].place;
    succeed(audit_get(reader, place, &arena, &row, &error), &error);
    cr_assert(bytes_equal(row.entry.id, bytes_text("id7")));
    cr_assert_eq(row.place.made_ns, place.made_ns);
    for (uint32_t shard = 0; shard <= SHARDS; shard++)
        for (uint64_t block = 0; block < place.block + 5; block++)
            for (uint32_t index = 0; index < 3; index++) {
                bool is_it = shard == place.shard && block == place.block && index == place.index;
                const struct audit_place other = {.shard = shard, .block = block, .index = index};
                cr_assert_eq(
                    audit_get(reader, other, &arena, &row, &error),
                    is_it ? STATUS_OK : STATUS_NOT_FOUND);
            }
    reader_close(reader);
    writing_close(&writing);
    writing_end(&writing);
}

Test(audit, passes_over_what_a_revert_takes_out)
{
    struct writing writing;
    struct reader *reader;
    struct error error = {0};
    struct audit_row all[EVENTS];
    struct event_bytes event;
    scoped(arena_done) struct arena arena = {0};
    uint64_t taken = 0;
    begin(&writing);
    succeed(writing_backfill(&writing, BACKFILL_OPEN, "b", NULL), &error);
    event_make(&event, "s0", "filled", 1);
    event.event.batch = bytes_text("b");
    cr_assert_eq(writing_fate(&writing, &event.event), FATE_STORED);
    cancel(&writing, 3);
    succeed(writing_backfill(&writing, BACKFILL_REVERT, "b", &taken), &error);
    cr_assert_eq(taken, 1);
    succeed(reader_open(writing.dir, &reader, &error), &error);
    cr_assert_eq(pages_read(reader, AUDIT_ALL, &arena, all), 1);
    cr_assert(bytes_equal(all[0].entry.id, bytes_text("id3")));
    reader_close(reader);
    writing_close(&writing);
    writing_end(&writing);
}

static void
cuts_expect(const char *dir, uint32_t count)
{
    struct reader *reader;
    struct error error = {0};
    scoped(arena_done) struct arena arena = {0};
    struct cut_row *rows = NULL;
    uint32_t found = 0;
    succeed(reader_open(dir, &reader, &error), &error);
    succeed(cut_list(reader, &arena, &rows, &found, &error), &error);
    cr_assert_eq(found, count);
    for (uint32_t i = 0; i < found; i++) {
        cr_assert_eq(rows[i].number, i + 1);
        cr_assert_eq(rows[i].time_s, writing_now_ns / 1000000000 - 1000 + (int64_t)i);
        cr_assert_eq(rows[i].made_ns, writing_now_ns);
        cr_assert(rows[i].is_complete);
    }
    reader_close(reader);
}

Test(cut_list, has_all_cuts_in_the_log_and_in_the_cells)
{
    struct writing writing;
    struct error error = {0};
    uint32_t number = 0;
    begin(&writing);
    cuts_expect(writing.dir, 0);
    for (uint32_t i = 0; i < 4; i++) {
        const int64_t time_ns = writing_now_ns - (1000 - (int64_t)i) * 1000000000;
        succeed(ledger_cut(writing.ledger, time_ns, &number, &error), &error);
        cr_assert_eq(number, i + 1);
        cuts_expect(writing.dir, i + 1);
        // Closing writes the cells, and with them the cuts.
        if (i == 1) {
            writing_close(&writing);
            cuts_expect(writing.dir, i + 1);
            writing_open(&writing, NULL);
        }
    }
    writing_close(&writing);
    cuts_expect(writing.dir, 4);
    writing_end(&writing);
}
