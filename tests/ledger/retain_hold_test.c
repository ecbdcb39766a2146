#include "ledger/retain_hold.h"

#include "base/clock.h"
#include "ledger/backfill_list.h"
#include "ledger/backup.h"
#include "ledger/correct.h"
#include "ledger/dirty.h"
#include "ledger/intake.h"
#include "tests/ledger/days.h"

#include <criterion/criterion.h>

#include <stdio.h>

static enum status
cancel(struct days *days, const char *subject, const char *id, struct error *error)
{
    uint64_t block;
    const struct correction correction = {
        .kind = ENTRY_CANCEL,
        .subject = bytes_text(subject),
        .id = bytes_text(id),
        .who = bytes_text("test"),
        .why = bytes_text("test"),
    };
    return ledger_correct(days->writing.ledger, &correction, &block, error);
}

// A month of which the log has a part cannot be made anew; one that it has all of can.
Test(retain_hold, what_cannot_be_made_anew_is_not_corrected)
{
    struct days days;
    struct error error = {0};
    // December begins on the second day that is kept.
    writing_now_ns += (20 - KEPT_FROM) * DAY_NS;
    days_define(&days);
    writing_meter(&days.writing, "highest", "llm", AGGREGATION_MAX);
    days_run(&days, &keeping);
    wait_for_oldest(&days.writing, days.heads[KEPT_FROM - 1] + 1);
    cr_assert_eq(cancel(&days, "s0", "4-57", &error), STATUS_INVALID);
    cr_assert_not_null(strstr(error.text, "cannot be changed any more"), "%s", error.text);
    cr_assert_not_null(strstr(error.text, "highest"), "%s", error.text);
    succeed(cancel(&days, "s0", "5-57", &error), &error);
    writing_close(&days.writing);
    operating_verify(days.writing.dir);
    // When it is made anew, what is before it may go.
    writing_now_ns += DAY_NS;
    writing_open(&days.writing, NULL);
    wait_for_oldest(&days.writing, days.heads[KEPT_FROM] + 1);
    succeed(cancel(&days, "s0", "5-54", &error), &error);
    writing_close(&days.writing);
    operating_verify(days.writing.dir);
    days_end(&days);
}

// Totals of MAX that were made anew.
static uint32_t
count_totals(struct tx *state)
{
    uint32_t count = 0;
    struct walk walk = walk_open(state, STATE_DB_CELLS);
    for (bool more = walk_first(&walk); more; more = walk_next(&walk)) {
        const uint8_t wanted = CELL_CAPPED | CELL_REPLACES;
        struct cell_state cell;
        struct cell_group group;
        count += !cell_value_read(walk.key, walk.value, AGGREGATION_MAX, &cell, &group) &&
                 (cell.flags & wanted) == wanted;
    }
    walk_done(&walk);
    return count;
}

// A life with one group in a window at most, in which the greatest of a day is taken out.
static uint64_t
state_of_totals(const struct ledger_options *last)
{
    struct days days;
    struct error error = {0};
    const struct ledger_options narrow = {.idle_flush_ns = INT64_MAX / 2, .groups_max = 1};
    const int64_t begin_ns = writing_now_ns;
    // December begins on the second day that is kept.
    writing_now_ns += (20 - KEPT_FROM) * DAY_NS;
    days_define(&days);
    writing_meter(&days.writing, "highest", "llm", AGGREGATION_MAX);
    writing_open(&days.writing, &narrow);
    writing_close(&days.writing);
    days_run(&days, last);
    if (last != NULL)
        wait_for_oldest(&days.writing, days.heads[KEPT_FROM - 1] + 1);
    succeed(cancel(&days, "s0", "5-57", &error), &error);
    succeed(cancel(&days, "s0", "5-54", &error), &error);
    writing_close(&days.writing);
    operating_verify(days.writing.dir);
    struct env *env = open_state(&days);
    struct tx state = tx_read(env);
    cr_assert_eq(tx_count(&state, STATE_DB_DIRTY), 0);
    cr_assert_gt(count_totals(&state), 0);
    tx_done(&state);
    env_close(env);
    uint64_t digest = operating_state(days.writing.dir);
    days_end(&days);
    writing_now_ns = begin_ns;
    return digest;
}

// Totals of too many groups that are made anew are the same, bit for bit, whether or not the log
// has its beginning.
Test(retain_hold, totals_are_made_anew_of_what_is_left)
{
    uint64_t whole = state_of_totals(NULL);
    cr_assert_eq(state_of_totals(&keeping), whole);
}

static bool
is_held(
    const struct retain_holders *holders,
    struct env *log,
    const struct log_kept *kept,
    const struct log_kept *next)
{
    struct error error = {0};
    bool is_held = false;
    succeed(retain_is_held(holders, log, kept, next, &is_held, &error), &error);
    return is_held;
}

static void
put_dirty(struct env *state, int64_t start_s, bool is_there)
{
    struct error error = {0};
    uint8_t bytes[CELL_KEY_MAX];
    const struct cell_key key = {
        .width = CELL_DAY, .meter_id = 1, .start_s = start_s, .subject = bytes_text("s0")};
    struct tx tx = tx_write(state);
    struct bytes record = bytes_of(bytes, cell_key_write(&key, bytes));
    if (is_there)
        dirty_put(&tx, record);
    else
        dirty_delete(&tx, record);
    succeed(tx_commit(&tx, &error), &error);
}

// Who is going to read a chapter holds it.
Test(retain_hold, what_somebody_is_going_to_read_stays)
{
    struct days days;
    struct error error = {0};
    days_begin(&days, NULL);
    succeed(cancel(&days, "s0", "7-0", &error), &error);
    uint64_t head = operating_head(days.writing.dir, 0);
    writing_close(&days.writing);
    struct env *log = open_log(&days);
    struct env *state = open_state(&days);
    struct batch batch = {.id = bytes_text("b"), .state = BATCH_CLOSED, .opened = days.heads[0]};
    const struct batches batches = {.list = &batch, .count = 1};
    const struct billing_zones zones = {0};
    struct retain_holders holders = {
        .state = state, .flushed = head, .head = head, .zones = &zones, .batches = &batches};
    struct log_kept kept = {.first = 1};
    struct log_kept next = {.first = days.heads[0] + 1, .until_ns = days.begin_ns};
    cr_assert_not(is_held(&holders, log, &kept, &next));
    // A batch that may be reverted, and one that is being reverted.
    batch.state = BATCH_OPEN;
    cr_assert(is_held(&holders, log, &kept, &next));
    batch.opened = days.heads[0] + 1;
    cr_assert_not(is_held(&holders, log, &kept, &next));
    batch.state = BATCH_REVERTING;
    cr_assert(is_held(&holders, log, &kept, &next));
    batch.state = BATCH_REVERTED;
    // A correction that is in memory only.
    holders.flushed = head - 1;
    cr_assert(is_held(&holders, log, &kept, &next));
    next.until_ns = days.begin_ns - 30 * DAY_NS;
    cr_assert_not(is_held(&holders, log, &kept, &next));
    next.until_ns = days.begin_ns;
    holders.flushed = head;
    // A cell to be made anew: its month begins before. One that lacks events does not matter.
    put_dirty(state, days.begin_ns / SECOND_NS + 7 * 86400, true);
    cr_assert(is_held(&holders, log, &kept, &next));
    const struct retain_options step = {
        .log = log,
        .before_ns = days.begin_ns + 1,
        .flushed = UINT64_MAX,
        .sealed = UINT64_MAX,
        .holders = &holders,
    };
    struct retain_step result;
    succeed(retain_step(&step, &kept, &result, &error), &error);
    cr_assert_eq(result.result, RETAIN_HELD);
    cr_assert_eq(kept.first, 1);
    put_dirty(state, days.begin_ns / SECOND_NS + 7 * 86400, false);
    put_dirty(state, days.begin_ns / SECOND_NS, true);
    kept = next;
    next = (struct log_kept){.first = days.heads[1] + 1, .until_ns = days.begin_ns + DAY_NS};
    cr_assert_not(is_held(&holders, log, &kept, &next));
    put_dirty(state, days.begin_ns / SECOND_NS, false);
    // A meter that has no cells on disk yet.
    struct shard_live live = {.meter_id = 1, .from = 1};
    holders.live = &live;
    holders.live_count = 1;
    cr_assert_not(is_held(&holders, log, &kept, &next));
    live.meter_id = 99;
    cr_assert(is_held(&holders, log, &kept, &next));
    env_close(log);
    env_close(state);
    days_end(&days);
}

static void
check_lacks(const struct days *days, const char *dir)
{
    struct error error = {0};
    struct shard_view view = {0};
    uint64_t first = 1;
    succeed(shard_view_open(dir, 0, &view, &error), &error);
    struct tx tx = tx_read(view.log);
    // The cells lack the first day. Others that begin later, as nobody says since when.
    cr_assert_eq(
        log_kept_answers(&tx, days->begin_ns, days->heads[0], &first, &error), STATUS_NOT_FOUND);
    succeed(log_kept_answers(&tx, days->begin_ns + 1, days->heads[0], &first, &error), &error);
    cr_assert_eq(first, days->heads[2] + 1);
    first = 1;
    int64_t last_ns = days->begin_ns + 2 * DAY_NS;
    cr_assert_eq(log_kept_answers(&tx, last_ns, days->heads[1], &first, &error), STATUS_NOT_FOUND);
    cr_assert_eq(log_kept_answers(&tx, last_ns, days->heads[3], &first, &error), STATUS_NOT_FOUND);
    succeed(log_kept_answers(&tx, last_ns + 1, days->heads[3], &first, &error), &error);
    tx_done(&tx);
    shard_view_done(&view);
}

// Cells that begin with the first block that is kept lack no more when later blocks go.
Test(retain_hold, what_cells_lack_is_remembered)
{
    struct days days;
    struct error error = {0};
    days_begin(&days, NULL);
    writing_close(&days.writing);
    const struct shard_live live = {.meter_id = 1, .from = days.heads[0] + 1};
    const struct backup_options plain = {.rate_bytes = 0};
    const struct restore_options whole = {.until_ns = INT64_MAX};
    struct backup_summary saved;
    struct restore_summary restored;
    const struct billing_zones zones = {0};
    const struct batches batches = {0};
    struct env *state = open_state(&days);
    const struct retain_holders holders = {
        .state = state,
        .flushed = days.heads[DAYS - 1],
        .head = days.heads[DAYS - 1],
        .zones = &zones,
        .batches = &batches,
        .live = &live,
        .live_count = 1,
    };
    const struct retain_options step = {
        .log = open_log(&days),
        .before_ns = days.begin_ns + 2 * DAY_NS + 1,
        .flushed = UINT64_MAX,
        .sealed = UINT64_MAX,
        .holders = &holders,
    };
    struct log_kept kept = {.first = 1};
    struct retain_step result = {.result = RETAIN_MORE};
    while (result.result == RETAIN_MORE)
        succeed(retain_step(&step, &kept, &result, &error), &error);
    cr_assert_eq(kept.first, days.heads[2] + 1);
    env_close(step.log);
    env_close(state);
    check_lacks(&days, days.writing.dir);
    // Nor in a ledger that is made of a backup, the second into its directory, too.
    succeed(backup_run(days.writing.dir, days.to, &plain, &saved, &error), &error);
    succeed(backup_run(days.writing.dir, days.to, &plain, &saved, &error), &error);
    succeed(restore_run(days.to, days.new, &whole, &restored, &error), &error);
    check_lacks(&days, days.new);
    days_end(&days);
}

static void
put_backfill(struct days *days, const char *id, const char *batch)
{
    struct event_bytes event;
    event_make(&event, "s0", id, 1);
    event.event.batch = bytes_text(batch);
    cr_assert_eq(writing_fate(&days->writing, &event.event), FATE_STORED);
}

// An open batch keeps its events, so that it can be reverted; a closed one goes with them.
Test(retain_hold, a_batch_is_reverted_as_long_as_it_is_there)
{
    struct days days;
    struct error error = {0};
    struct writing *writing = &days.writing;
    scoped(arena_done) struct arena arena = {0};
    struct backfill_row *rows;
    size_t count = 0;
    uint64_t taken = 0;
    writing_begin(writing, 1);
    temp_dir_make(days.root);
    writing_meter(writing, "calls", "llm", AGGREGATION_COUNT);
    writing_open(writing, NULL);
    succeed(writing_backfill(writing, BACKFILL_OPEN, "gone", NULL), &error);
    put_backfill(&days, "one", "gone");
    writing_close(writing);
    uint64_t head = operating_head(writing->dir, 0);
    writing_now_ns += 10 * DAY_NS;
    writing_open(writing, &keeping);
    // The first look comes before these are answered.
    days_put(&days, "two");
    days_put(&days, "three");
    cr_assert_eq(read_kept(writing->dir).first, 1);
    succeed(writing_backfill(writing, BACKFILL_OPEN, "there", NULL), &error);
    put_backfill(&days, "four", "there");
    succeed(writing_backfill(writing, BACKFILL_CLOSE, "gone", NULL), &error);
    writing_close(writing);
    writing_open(writing, NULL);
    wait_for_oldest(writing, head + 1);
    cr_assert_eq(writing_backfill(writing, BACKFILL_REVERT, "gone", NULL), STATUS_INVALID);
    cr_assert_eq(writing_backfill(writing, BACKFILL_OPEN, "gone", NULL), STATUS_EXISTS);
    succeed(writing_backfill(writing, BACKFILL_REVERT, "there", &taken), &error);
    cr_assert_eq(taken, 1);
    writing_close(writing);
    operating_verify(writing->dir);
    succeed(backfill_list(writing->dir, &arena, &rows, &count, &error), &error);
    cr_assert_eq(count, 2);
    cr_assert(bytes_equal(rows[0].id, bytes_text("gone")) && rows[0].opened.time_ns == 0);
    cr_assert(rows[0].state == BATCH_CLOSED && rows[0].closed.time_ns != 0);
    cr_assert(rows[1].state == BATCH_REVERTED && rows[1].opened.time_ns != 0);
    days_end(&days);
}

static void
put_backfill_at(struct days *days, const char *id, const char *batch, int64_t time_ns)
{
    struct event_bytes event;
    event_make(&event, "s0", id, 1);
    event.event.batch = bytes_text(batch);
    event.event.time_ns = time_ns;
    cr_assert_eq(writing_fate(&days->writing, &event.event), FATE_STORED);
}

// Of MAX a month is made anew, so none of its events may be gone: those of the batch itself,
// whatever came between them.
Test(retain_hold, a_batch_is_reverted_whatever_came_beside_it)
{
    struct days days;
    struct error error = {0};
    struct writing *writing = &days.writing;
    days_define(&days);
    writing_meter(writing, "highest", "llm", AGGREGATION_MAX);
    days_run(&days, &keeping);
    wait_for_oldest(writing, days.heads[KEPT_FROM - 1] + 1);
    const int64_t november_ns = days.begin_ns + DAYS * DAY_NS;
    const int64_t december_ns = days.begin_ns + 30 * DAY_NS;
    succeed(writing_backfill(writing, BACKFILL_OPEN, "december", NULL), &error);
    succeed(writing_backfill(writing, BACKFILL_OPEN, "november", NULL), &error);
    put_backfill_at(&days, "one", "december", december_ns);
    put_backfill_at(&days, "two", "november", november_ns);
    days_put(&days, "three");
    put_backfill_at(&days, "four", "december", december_ns + 1);
    cr_assert_eq(writing_backfill(writing, BACKFILL_REVERT, "november", NULL), STATUS_INVALID);
    succeed(writing_backfill(writing, BACKFILL_REVERT, "december", NULL), &error);
    writing_close(writing);
    operating_verify(writing->dir);
    days_end(&days);
}

// --- a revert that was interrupted between two shards ---

enum { MANY = 4000, SUBJECTS = 10 };

// So many that identities go to disk, since what is not there holds its blocks.
static const struct ledger_options few = {
    .dedup_hot_max = 300, .tail_max_bytes = 1 << 20, .idle_flush_ns = INT64_MAX / 2};

static void
put_many(struct writing *writing, const char *batch)
{
    uint64_t before = writing_count(writing, FATE_STORED);
    for (int i = 0; i < MANY; i++) {
        struct event_bytes event;
        char subject[16];
        char id[32];
        (void)snprintf(subject, sizeof subject, "s%d", i % SUBJECTS);
        (void)snprintf(id, sizeof id, "%s-%d", batch, i);
        event_make(&event, subject, id, 1);
        event.event.batch = bytes_text(batch);
        (void)writing_put(writing, &event.event);
    }
    writing_wait(writing);
    cr_assert_eq(writing_count(writing, FATE_STORED) - before, MANY);
}

// The revert's first entry, in shard 0 alone.
static void
begin_revert(struct writing *writing, const char *id)
{
    uint8_t raw[512];
    struct order found = {.kind = ORDER_FIND_BATCH, .batch_id = bytes_text(id)};
    writing_order(writing, 0, &found);
    cr_assert(found.has_batch && found.batch.state == BATCH_CLOSED);
    const struct entry entry = {
        .kind = ENTRY_BATCH_REVERT,
        .time_ns = writing_now_ns,
        .batch = bytes_text(id),
        .note =
            {
                   .who = bytes_text("test"),
                   .why = bytes_text("test"),
                   .block = found.batch.opened,
                   },
    };
    cr_assert(entry_is_sound(&entry) && entry_raw_size(&entry) <= sizeof raw);
    entry_put(&entry, raw);
    struct order order = {.kind = ORDER_BATCH, .raw = bytes_of(raw, entry_raw_size(&entry))};
    writing_order(writing, 0, &order);
}

// The other shard has not begun when the process dies, so nothing says there that the batch's
// blocks are still needed: they are old enough to go at once.
Test(retain_hold, a_revert_that_was_interrupted_finds_its_events)
{
    struct writing writing;
    struct error error = {0};
    struct ledger_options options = few;
    scoped(arena_done) struct arena arena = {0};
    struct backfill_row *rows;
    size_t count = 0;
    int64_t deadline_ns = clock_monotonic_ns() + WAIT_NS;
    writing_begin(&writing, 2);
    writing_meter(&writing, "calls", "llm", AGGREGATION_COUNT);
    writing_open(&writing, &few);
    succeed(writing_backfill(&writing, BACKFILL_OPEN, "jan", NULL), &error);
    put_many(&writing, "jan");
    succeed(writing_backfill(&writing, BACKFILL_CLOSE, "jan", NULL), &error);
    writing_close(&writing);
    writing_now_ns += 10 * DAY_NS;
    writing_open(&writing, &few);
    succeed(writing_backfill(&writing, BACKFILL_OPEN, "feb", NULL), &error);
    put_many(&writing, "feb");
    begin_revert(&writing, "jan");
    writing_close(&writing);
    options.keep_log_ns = DAY_NS;
    options.idle_flush_ns = 1000000;
    writing_open(&writing, &options);
    do {
        const char *text = "";
        cr_assert_eq(ledger_failure(writing.ledger, &text), STATUS_OK, "%s", text);
        cr_assert_lt(clock_monotonic_ns(), deadline_ns, "the revert does not end");
        arena_reset(&arena);
        succeed(backfill_list(writing.dir, &arena, &rows, &count, &error), &error);
    } while (count != 2 || rows[0].state != BATCH_REVERTED);
    cr_assert_eq(rows[0].taken, MANY);
    // Now they may go.
    while (read_kept(writing.dir).first == 1)
        cr_assert_lt(clock_monotonic_ns(), deadline_ns, "blocks were not deleted");
    writing_close(&writing);
    operating_verify(writing.dir);
    writing_end(&writing);
}
