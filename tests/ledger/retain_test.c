#include "ledger/backup.h"
#include "ledger/correct.h"
#include "ledger/correction.h"
#include "ledger/dump.h"
#include "ledger/rebuild.h"
#include "ledger/usage.h"
#include "tests/ledger/days.h"

#include <criterion/criterion.h>

#include <inttypes.h>
#include <stdio.h>

static enum status
ask(const char *dir,
    const struct usage_query *query,
    uint64_t *out_count,
    uint64_t *out_blocks,
    struct error *error)
{
    scoped(arena_done) struct arena arena = {0};
    struct reader *reader = NULL;
    struct usage_result result = {0};
    succeed(reader_open(dir, &reader, error), error);
    enum status status = usage_query(reader, query, &arena, &result, error);
    *out_count = 0;
    *out_blocks = result.blocks_read;
    for (size_t i = 0; i < result.count && !status; i++)
        *out_count += result.rows[i].count;
    reader_close(reader);
    return status;
}

static void
check_usage(const struct days *days, const char *dir)
{
    struct error error = {0};
    uint64_t count;
    uint64_t blocks;
    struct usage_query query = {.meter = "calls", .from_ns = INT64_MIN, .to_ns = INT64_MAX};
    succeed(ask(dir, &query, &count, &blocks, &error), &error);
    cr_assert_eq(count, DAYS * EVENTS_A_DAY);
    query.window = USAGE_WINDOW_DAY;
    succeed(ask(dir, &query, &count, &blocks, &error), &error);
    cr_assert_eq(count, DAYS * EVENTS_A_DAY);
    // What only the log has: from when on it is there.
    query.window = USAGE_WINDOW_MINUTE;
    cr_assert_eq(ask(dir, &query, &count, &blocks, &error), STATUS_NOT_FOUND);
    cr_assert_not_null(strstr(error.text, "the log is kept from"), "%s", error.text);
    query.from_ns = days->begin_ns + (KEPT_FROM - 1) * DAY_NS;
    cr_assert_eq(ask(dir, &query, &count, &blocks, &error), STATUS_NOT_FOUND);
    query.from_ns++;
    succeed(ask(dir, &query, &count, &blocks, &error), &error);
    cr_assert_eq(count, (DAYS - KEPT_FROM) * EVENTS_A_DAY);
    cr_assert_gt(blocks, 0);
}

static void
check_correction(struct days *days)
{
    struct error error = {0};
    uint64_t block;
    struct correction correction = {
        .kind = ENTRY_CANCEL,
        .subject = bytes_text("s0"),
        .id = bytes_text("1-0"),
        .who = bytes_text("test"),
        .why = bytes_text("test"),
    };
    cr_assert_eq(
        ledger_correct(days->writing.ledger, &correction, &block, &error), STATUS_NOT_FOUND);
    cr_assert_not_null(strstr(error.text, "older events cannot be changed"), "%s", error.text);
    correction.id = bytes_text("5-0");
    succeed(ledger_correct(days->writing.ledger, &correction, &block, &error), &error);
}

Test(retain, chapters_beyond_the_limit_go_and_the_rest_is_right)
{
    struct days days;
    struct error error = {0};
    struct event_bytes event;
    days_begin(&days, &keeping);
    wait_for_oldest(&days.writing, days.heads[KEPT_FROM - 1] + 1);
    struct log_kept kept = read_kept(days.writing.dir);
    cr_assert_eq(kept.first, days.heads[KEPT_FROM - 1] + 1);
    cr_assert_eq(kept.until_ns, days.begin_ns + (KEPT_FROM - 1) * DAY_NS);
    cr_assert_eq(
        writing_metric(&days.writing, "tally_ledger_blocks_deleted_total"),
        (int64_t)days.heads[KEPT_FROM - 1]);
    check_usage(&days, days.writing.dir);
    // The identities of what was deleted are known as before.
    writing_now_ns -= 7 * DAY_NS;
    event_make(&event, "s0", "0-0", 0);
    writing_now_ns += 7 * DAY_NS;
    cr_assert_eq(writing_fate(&days.writing, &event.event), FATE_DUPLICATE);
    writing_close(&days.writing);
    operating_verify(days.writing.dir);
    check_usage(&days, days.writing.dir);
    cr_assert_eq(writing_log(&days.writing).events, (DAYS - KEPT_FROM) * EVENTS_A_DAY);
    // It goes on as the directory says.
    writing_open(&days.writing, NULL);
    cr_assert_eq(writing_fate(&days.writing, &event.event), FATE_DUPLICATE);
    check_correction(&days);
    writing_close(&days.writing);
    operating_verify(days.writing.dir);
    struct rebuild_summary summary;
    const struct rebuild_options rebuild = {.shard = REBUILD_ALL_SHARDS};
    cr_assert_eq(rebuild_run(days.writing.dir, &rebuild, &summary, &error), STATUS_INVALID);
    cr_assert_not_null(strstr(error.text, "only the cells know"), "%s", error.text);
    operating_verify(days.writing.dir);
    days_end(&days);
}

// Whoever began to read corrections before blocks were deleted goes on with those that are left.
Test(retain, corrections_of_what_was_deleted_are_passed_over)
{
    struct days days;
    struct error error = {0};
    struct corrections corrections = {0};
    days_begin(&days, &keeping);
    wait_for_oldest(&days.writing, days.heads[KEPT_FROM - 1] + 1);
    uint64_t head = operating_head(days.writing.dir, 0);
    check_correction(&days);
    writing_close(&days.writing);
    struct env *log = open_log(&days);
    succeed(corrections_read(&corrections, log, 1, head + 1, 0, INT64_MAX, &error), &error);
    cr_assert_eq(corrections.count, 1);
    env_close(log);
    corrections_done(&corrections);
    days_end(&days);
}

// A chapter whose last event is a nanosecond younger stays whole.
Test(retain, nothing_younger_goes)
{
    struct days days;
    struct ledger_options options = keeping;
    options.keep_log_ns = (DAYS - 1) * DAY_NS;
    days_begin(&days, &options);
    writing_close(&days.writing);
    struct retain_options step = {.flushed = UINT64_MAX, .sealed = UINT64_MAX};
    struct log_kept kept = {.first = 1};
    struct retain_step result;
    struct error error = {0};
    step.log = open_log(&days);
    cr_assert_eq(read_kept(days.writing.dir).first, 1);
    step.before_ns = days.begin_ns;
    succeed(retain_step(&step, &kept, &result, &error), &error);
    cr_assert_eq(result.result, RETAIN_IDLE);
    step.before_ns++;
    step.flushed = days.heads[0] - 1;
    succeed(retain_step(&step, &kept, &result, &error), &error);
    cr_assert_eq(result.result, RETAIN_CELLS);
    step.flushed++;
    step.sealed = days.heads[0] - 1;
    succeed(retain_step(&step, &kept, &result, &error), &error);
    cr_assert_eq(result.result, RETAIN_SEAL);
    cr_assert_eq(kept.first, 1);
    step.sealed++;
    succeed(retain_step(&step, &kept, &result, &error), &error);
    cr_assert_eq(result.result, RETAIN_MORE);
    cr_assert_eq(kept.first, days.heads[0] + 1);
    env_close(step.log);
    days_end(&days);
}

// A crash after a chapter stopped to count, and before its blocks are gone.
Test(retain, blocks_that_a_crash_left_count_no_more_and_go)
{
    struct days days;
    struct error error = {0};
    days_begin(&days, &keeping);
    wait_for_oldest(&days.writing, days.heads[KEPT_FROM - 1] + 1);
    writing_close(&days.writing);
    struct retain_options step = {
        .before_ns = writing_now_ns, .flushed = UINT64_MAX, .sealed = UINT64_MAX};
    struct log_kept kept = read_kept(days.writing.dir);
    struct retain_step result;
    step.log = open_log(&days);
    succeed(retain_step(&step, &kept, &result, &error), &error);
    env_close(step.log);
    cr_assert_eq(kept.first, days.heads[KEPT_FROM] + 1);
    cr_assert_eq(read_oldest(days.writing.dir), days.heads[KEPT_FROM - 1] + 1);
    operating_verify(days.writing.dir);
    cr_assert_eq(writing_log(&days.writing).events, (DAYS - 1 - KEPT_FROM) * EVENTS_A_DAY);
    writing_open(&days.writing, NULL);
    wait_for_oldest(&days.writing, days.heads[KEPT_FROM] + 1);
    writing_close(&days.writing);
    operating_verify(days.writing.dir);
    days_end(&days);
}

// Nobody knows any more whether a backfilled event was in what is gone: it is refused.
Test(retain, a_backfill_into_what_was_deleted_is_refused)
{
    struct days days;
    struct error error = {0};
    struct ledger_options options = keeping;
    options.past_max_ns = DAY_NS;
    options.dedup_window_ns = 2 * DAY_NS;
    days_begin(&days, &options);
    wait_for_oldest(&days.writing, days.heads[KEPT_FROM - 1] + 1);
    writing_close(&days.writing);
    // A start, a sealed table and time: identities of the first days are forgotten.
    writing_now_ns += 30 * DAY_NS;
    writing_open(&days.writing, &options);
    wait_for_oldest(&days.writing, days.heads[DAYS - 2] + 1);
    int64_t deadline_ns = clock_monotonic_ns() + WAIT_NS;
    struct event_bytes event;
    succeed(writing_backfill(&days.writing, BACKFILL_OPEN, "again", NULL), &error);
    event_make(&event, "s0", "1-0", 0);
    event.event.time_ns = days.begin_ns + DAY_NS;
    event.event.batch = bytes_text("again");
    while (writing_metric(&days.writing, "tally_ledger_dedup_generations") > 0) {
        cr_assert_lt(clock_monotonic_ns(), deadline_ns, "nothing was forgotten");
        struct event_bytes other;
        char id[32];
        (void)snprintf(id, sizeof id, "other-%lu", (unsigned long)clock_monotonic_ns());
        event_make(&other, "s1", id, 1);
        cr_assert_eq(writing_fate(&days.writing, &other.event), FATE_STORED);
    }
    cr_assert_eq(writing_fate(&days.writing, &event.event), FATE_TOO_OLD);
    // Into what is kept it may come.
    event_make(&event, "s0", "new", 0);
    event.event.time_ns = days.begin_ns + (DAYS - 1) * DAY_NS + 1;
    event.event.batch = bytes_text("again");
    cr_assert_eq(writing_fate(&days.writing, &event.event), FATE_STORED);
    days_end(&days);
}

// The newest chapter stays, however old: a log that had blocks has some.
Test(retain, the_newest_chapter_stays)
{
    struct days days;
    struct ledger_options options = keeping;
    options.keep_log_ns = DAY_NS;
    days_begin(&days, NULL);
    writing_close(&days.writing);
    writing_now_ns += 30 * DAY_NS;
    writing_open(&days.writing, &options);
    wait_for_oldest(&days.writing, days.heads[DAYS - 2] + 1);
    writing_close(&days.writing);
    operating_verify(days.writing.dir);
    writing_open(&days.writing, &options);
    days_end(&days);
}

// What stands in the way of a start: the blocks that are to be there are not.
Test(retain, a_start_sees_a_beginning_that_is_not_the_one_that_was_left)
{
    struct days days;
    struct ledger *ledger;
    struct error error = {0};
    days_begin(&days, &keeping);
    wait_for_oldest(&days.writing, days.heads[KEPT_FROM - 1] + 1);
    writing_close(&days.writing);
    struct log_kept kept = read_kept(days.writing.dir);
    for (int kind = 0; kind < 3; kind++) {
        struct env *env = open_log(&days);
        struct log_kept other = kept;
        other.first += kind == 0;
        other.previous += kind == 1;
        struct tx tx = tx_write(env);
        log_kept_write(&tx, &other);
        if (kind == 2)
            (void)tx_delete(&tx, LOG_DB_META, bytes_text("kept"));
        succeed(tx_commit(&tx, &error), &error);
        env_close(env);
        cr_assert_eq(
            ledger_open(days.writing.dir, &(struct ledger_options){0}, &ledger, &error),
            STATUS_CORRUPT,
            "kind %d",
            kind);
    }
    days_end(&days);
}

static void
back_up(const struct days *days, uint64_t *out_blocks)
{
    struct backup_summary summary;
    struct error error = {0};
    const struct backup_options plain = {0};
    succeed(backup_run(days->writing.dir, days->to, &plain, &summary, &error), &error);
    *out_blocks = summary.blocks;
}

static enum status
restore(const struct days *days, const struct restore_options *options, struct error *error)
{
    struct restore_summary summary;
    return restore_run(days->to, days->new, options, &summary, error);
}

static const struct restore_options everything = {.until_ns = INT64_MAX};

// The cells of what was deleted are in the backup.
Test(retain, a_backup_of_what_is_left_is_a_whole_ledger)
{
    struct days days;
    struct error error = {0};
    uint64_t blocks;
    days_begin(&days, &keeping);
    wait_for_oldest(&days.writing, days.heads[KEPT_FROM - 1] + 1);
    back_up(&days, &blocks);
    cr_assert_eq(blocks, days.heads[DAYS - 1] - days.heads[KEPT_FROM - 1]);
    const struct restore_options earlier = {.until_ns = writing_now_ns - DAY_NS};
    cr_assert_eq(restore(&days, &earlier, &error), STATUS_INVALID);
    cr_assert_not_null(strstr(error.text, "to its end only"), "%s", error.text);
    // A later backup adds blocks, and has the cells anew.
    writing_close(&days.writing);
    writing_now_ns += 2 * DAY_NS;
    writing_open(&days.writing, NULL);
    wait_for_oldest(&days.writing, days.heads[KEPT_FROM + 1] + 1);
    struct event_bytes event;
    event_make(&event, "s0", "late", 1);
    cr_assert_eq(writing_fate(&days.writing, &event.event), FATE_STORED);
    back_up(&days, &blocks);
    cr_assert_eq(blocks, 1);
    writing_close(&days.writing);
    succeed(restore(&days, &everything, &error), &error);
    cr_assert_eq(read_kept(days.new).first, days.heads[KEPT_FROM - 1] + 1);
    operating_verify(days.new);
    operating_settle(days.new);
    operating_verify(days.new);
    cr_assert_eq(operating_state(days.new), operating_state(days.writing.dir));
    days_end(&days);
}

// One that began in time keeps all.
Test(retain, an_older_backup_keeps_what_was_deleted)
{
    struct days days;
    struct error error = {0};
    uint64_t blocks;
    days_begin(&days, NULL);
    back_up(&days, &blocks);
    cr_assert_eq(blocks, days.heads[DAYS - 1]);
    writing_close(&days.writing);
    writing_open(&days.writing, &keeping);
    wait_for_oldest(&days.writing, days.heads[KEPT_FROM - 1] + 1);
    back_up(&days, &blocks);
    cr_assert_eq(blocks, 0);
    writing_close(&days.writing);
    succeed(restore(&days, &everything, &error), &error);
    struct ledger *ledger;
    // It would be deleted here, too.
    const struct ledger_options options = {.keep_log_ns = LEDGER_FOR_GOOD};
    succeed(ledger_open(days.new, &options, &ledger, &error), &error);
    succeed(ledger_close(ledger, &error), &error);
    operating_verify(days.new);
    cr_assert_eq(read_kept(days.new).first, 1);
    days_end(&days);
}

// A meter that was made later has what the log had then, however much of it goes afterwards.
Test(retain, a_later_meter_keeps_what_it_got)
{
    struct days days;
    struct error error = {0};
    uint64_t count;
    uint64_t blocks;
    days_begin(&days, &keeping);
    wait_for_oldest(&days.writing, days.heads[KEPT_FROM - 1] + 1);
    writing_close(&days.writing);
    writing_meter(&days.writing, "late", "llm", AGGREGATION_COUNT);
    writing_open(&days.writing, NULL);
    days_put(&days, "more");
    writing_close(&days.writing);
    writing_now_ns += DAY_NS;
    writing_open(&days.writing, NULL);
    wait_for_oldest(&days.writing, days.heads[KEPT_FROM] + 1);
    writing_close(&days.writing);
    cr_assert_eq(read_kept(days.writing.dir).until_ns, days.begin_ns + KEPT_FROM * DAY_NS);
    struct usage_query query = {
        .meter = "late", .from_ns = days.begin_ns + KEPT_FROM * DAY_NS, .to_ns = INT64_MAX};
    succeed(ask(days.writing.dir, &query, &count, &blocks, &error), &error);
    cr_assert_eq(count, (DAYS - KEPT_FROM) * EVENTS_A_DAY + 1);
    query.from_ns -= DAY_NS;
    cr_assert_eq(ask(days.writing.dir, &query, &count, &blocks, &error), STATUS_NOT_FOUND);
    operating_verify(days.writing.dir);
    days_end(&days);
}

// What was to come next is gone, and so is the block that says whether it is the same log.
Test(retain, a_backup_that_was_overtaken_says_so)
{
    struct days days;
    struct error error = {0};
    struct backup_summary summary;
    const struct backup_options plain = {0};
    uint64_t blocks;
    days_begin(&days, NULL);
    back_up(&days, &blocks);
    writing_close(&days.writing);
    writing_now_ns += 10 * DAY_NS;
    writing_open(&days.writing, NULL);
    days_put(&days, "later");
    writing_close(&days.writing);
    writing_open(&days.writing, &keeping);
    wait_for_oldest(&days.writing, days.heads[DAYS - 1] + 1);
    cr_assert_eq(backup_run(days.writing.dir, days.to, &plain, &summary, &error), STATUS_EXISTS);
    cr_assert_not_null(strstr(error.text, "was deleted from the log"), "%s", error.text);
    days_end(&days);
}

// What a reader or a copier meets when the log loses its beginning while it is at work.
struct overtaking {
    struct days *days;
    bool has_begun;
    uint64_t first_lines;  // before it began
    uint64_t lines;
};

static void
overtake(struct overtaking *overtaking)
{
    struct days *days = overtaking->days;
    if (overtaking->has_begun)
        return;
    overtaking->has_begun = true;
    writing_close(&days->writing);
    writing_open(&days->writing, &keeping);
    wait_for_oldest(&days->writing, days->heads[KEPT_FROM - 1] + 1);
}

static bool
overtake_dump(void *context, struct bytes lines)
{
    struct overtaking *overtaking = context;
    for (size_t i = 0; i < lines.size; i++)
        overtaking->lines += lines.data[i] == '\n';
    if (!overtaking->has_begun)
        overtaking->first_lines = overtaking->lines;
    overtake(overtaking);
    return true;
}

static void
overtake_backup(void *context, uint64_t done, uint64_t total)
{
    (void)done;
    (void)total;
    overtake(context);
}

Test(retain, a_dump_that_is_overtaken_shows_what_is_left_and_says_so)
{
    struct days days;
    struct error error = {0};
    char deleted[64];
    const struct dump_options all = {
        .shard = DUMP_ALL_SHARDS, .from_ns = INT64_MIN, .to_ns = INT64_MAX};
    days_begin(&days, NULL);
    struct overtaking overtaking = {.days = &days};
    cr_assert_eq(dump_run(days.writing.dir, &all, overtake_dump, &overtaking, &error), STATUS_BUSY);
    (void)snprintf(
        deleted, sizeof deleted, "blocks 2 to %" PRIu64 " were deleted", days.heads[KEPT_FROM - 1]);
    cr_assert_not_null(strstr(error.text, deleted), "%s", error.text);
    cr_assert_eq(overtaking.lines, overtaking.first_lines + (DAYS - KEPT_FROM) * EVENTS_A_DAY);
    // Once more, it is all that there is.
    overtaking.lines = 0;
    succeed(dump_run(days.writing.dir, &all, overtake_dump, &overtaking, &error), &error);
    cr_assert_eq(overtaking.lines, (DAYS - KEPT_FROM) * EVENTS_A_DAY);
    days_end(&days);
}

Test(retain, a_backup_that_is_overtaken_may_be_started_again)
{
    struct days days;
    struct error error = {0};
    struct backup_summary summary;
    // More blocks than are read at once.
    enum { BLOCKS = 150 };
    days_define(&days);
    writing_open(&days.writing, NULL);
    for (int i = 0; i < BLOCKS; i++) {
        char id[16];
        (void)snprintf(id, sizeof id, "before-%d", i);
        days_put(&days, id);
    }
    writing_close(&days.writing);
    days_run(&days, NULL);
    cr_assert_gt(days.heads[0], BLOCKS);
    struct overtaking overtaking = {.days = &days};
    const struct backup_options options = {.on_progress = overtake_backup, .context = &overtaking};
    cr_assert_eq(backup_run(days.writing.dir, days.to, &options, &summary, &error), STATUS_BUSY);
    cr_assert_not_null(strstr(error.text, "start it again"), "%s", error.text);
    succeed(backup_run(days.writing.dir, days.to, &options, &summary, &error), &error);
    cr_assert_eq(summary.blocks, days.heads[DAYS - 1] - days.heads[KEPT_FROM - 1]);
    days_end(&days);
}
