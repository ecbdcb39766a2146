#include "base/clock.h"
#include "ledger/events_status.h"
#include "tests/ledger/days.h"

#include <criterion/criterion.h>

// Readers that are overtaken: what they are about to look at is deleted meanwhile.

// Those of the first day go between the page and what is said of its events.
Test(retain_read, a_page_of_events_is_overtaken)
{
    struct days days;
    struct error error = {0};
    struct reader *reader = NULL;
    struct events_result page;
    struct shard_view view = {0};
    scoped(arena_done) struct arena arena = {0};
    struct events_query query = EVENTS_ALL;
    days_define(&days);
    days_run(&days, NULL);
    query.limit = DAYS * EVENTS_A_DAY;
    succeed(reader_open(days.writing.dir, &reader, &error), &error);
    succeed(events_list(reader, &query, &arena, &page, &error), &error);
    cr_assert_eq(page.count, DAYS * EVENTS_A_DAY);
    writing_close(&days.writing);
    writing_open(&days.writing, &keeping);
    wait_for_oldest(&days.writing, days.heads[KEPT_FROM - 1] + 1);
    succeed(shard_view_open(days.writing.dir, 0, &view, &error), &error);
    succeed(events_status_find(&view, page.rows, page.count, &error), &error);
    shard_view_done(&view);
    struct events_result left;
    succeed(events_list(reader, &query, &arena, &left, &error), &error);
    cr_assert_eq(left.count, (DAYS - KEPT_FROM) * EVENTS_A_DAY);
    cr_assert_null(left.next);
    reader_close(reader);
    days_end(&days);
}
