#include "base/clock.h"
#include "ledger/backfill.h"
#include "ledger/backfill_list.h"
#include "ledger/correct.h"
#include "ledger/intake.h"
#include "ledger/shard_view.h"
#include "ledger/usage.h"
#include "tests/ledger/operating.h"

#include <criterion/criterion.h>

#include <stdio.h>
#include <stdlib.h>

// Batches where they seldom come: at their bounds, at the end of time, in shards of unequal age.

static enum fate
put(struct writing *writing, const char *batch, const char *id, int64_t time_ns, int64_t n)
{
    struct event_bytes event;
    event_make(&event, "s0", id, n);
    event.event.batch = bytes_text(batch);
    event.event.time_ns = time_ns;
    return writing_fate(writing, &event.event);
}

// Records of so many batches, as if each had been opened some time.
static void
pretend_batches(const struct writing *writing, uint32_t count)
{
    struct error error = {0};
    struct env *state;
    char path[128];
    static char ids[BATCHES_MAX][8];
    struct batch *list = calloc(count, sizeof *list);
    const struct env_options options = {
        .map_size = 64 << 20, .dbs = STATE_DBS, .dbs_count = STATE_DB_COUNT};
    cr_assert_not_null(list);
    for (uint32_t i = 0; i < count; i++) {
        (void)snprintf(ids[i], sizeof ids[i], "b%u", i);
        list[i] = (struct batch){
            .id = bytes_text(ids[i]), .state = BATCH_CLOSED, .opened = 1, .closed = 1};
    }
    (void)snprintf(path, sizeof path, "%s/shards/0000/state", writing->dir);
    succeed(env_open(path, &options, &state, &error), &error);
    struct tx tx = tx_write(state);
    batches_write(&tx, list, count);
    succeed(tx_commit(&tx, &error), &error);
    tx_done(&tx);
    env_close(state);
    free(list);
}

Test(backfill_rare, the_last_place_is_given_and_then_refused)
{
    struct writing writing;
    const char *text = "";
    writing_begin(&writing, 1);
    pretend_batches(&writing, BATCHES_MAX - 1);
    writing_open(&writing, NULL);
    cr_assert_eq(writing_backfill(&writing, BACKFILL_OPEN, "last", NULL), STATUS_OK);
    cr_assert_eq(writing_backfill(&writing, BACKFILL_OPEN, "more", NULL), STATUS_FULL);
    cr_assert_eq(ledger_failure(writing.ledger, &text), STATUS_OK, "%s", text);
    cr_assert_eq(put(&writing, "last", "e0", writing_now_ns - 50 * DAY_NS, 1), FATE_STORED);
    cr_assert_eq(writing_backfill(&writing, BACKFILL_REVERT, "last", NULL), STATUS_OK);
    writing_close(&writing);
    writing_open(&writing, NULL);
    cr_assert_eq(writing_backfill(&writing, BACKFILL_REVERT, "last", NULL), STATUS_EXISTS);
    writing_close(&writing);
    writing_end(&writing);
}

static enum status
cancel(struct writing *writing, const char *id, struct error *error)
{
    uint64_t block = 0;
    const struct correction correction = {
        .kind = ENTRY_CANCEL,
        .subject = bytes_text("s0"),
        .id = bytes_text(id),
        .who = bytes_text("bob"),
        .why = bytes_text("a slip"),
    };
    return ledger_correct(writing->ledger, &correction, &block, error);
}

Test(backfill_rare, who_corrects_what_is_gone_is_told_how_it_went)
{
    struct writing writing;
    struct error error = {0};
    writing_begin(&writing, 2);
    writing_open(&writing, NULL);
    cr_assert_eq(writing_backfill(&writing, BACKFILL_OPEN, "jan", NULL), STATUS_OK);
    cr_assert_eq(put(&writing, "jan", "e0", writing_now_ns, 1), FATE_STORED);
    cr_assert_eq(put(&writing, "jan", "e1", writing_now_ns, 1), FATE_STORED);
    succeed(cancel(&writing, "e0", &error), &error);
    cr_assert_eq(writing_backfill(&writing, BACKFILL_REVERT, "jan", NULL), STATUS_OK);
    cr_assert_eq(cancel(&writing, "e0", &error), STATUS_EXISTS);
    cr_assert_not_null(strstr(error.text, "cancelled already: by bob"), "%s", error.text);
    cr_assert_eq(cancel(&writing, "e1", &error), STATUS_EXISTS);
    cr_assert_not_null(strstr(error.text, "reverted with its backfill jan"), "%s", error.text);
    cr_assert_eq(put(&writing, "", "e1", writing_now_ns, 1), FATE_STORED);
    succeed(cancel(&writing, "e1", &error), &error);
    writing_close(&writing);
    writing_end(&writing);
}

// --- the end of time ---

static const enum aggregation kinds[] = {
    AGGREGATION_COUNT,
    AGGREGATION_SUM,
    AGGREGATION_MIN,
    AGGREGATION_MAX,
    AGGREGATION_AVG,
    AGGREGATION_UNIQUE_COUNT,
    AGGREGATION_LATEST,
    AGGREGATION_WEIGHTED_SUM,
};
enum { KINDS = sizeof kinds / sizeof kinds[0] };
static const char *const keys[KINDS] = {
    "count", "sum", "min", "max", "avg", "unique", "latest", "weighted"};

static const int64_t times_ns[] = {
    0, 1, 899999999999, DAY_NS, INT64_MAX / 2, INT64_MAX - 40 * DAY_NS, INT64_MAX - 1, INT64_MAX};
enum { TIMES = sizeof times_ns / sizeof times_ns[0] };

// Every window of every width and zone: what is counted is what was put.
static uint64_t
count_all(
    const struct writing *writing, const char *meter, enum usage_window window, const char *zone)
{
    scoped(arena_done) struct arena arena = {0};
    struct error error = {0};
    struct reader *reader = NULL;
    struct usage_result result = {0};
    uint64_t count = 0;
    const struct usage_query query = {
        .meter = meter, .from_ns = 0, .to_ns = INT64_MAX, .window = window, .zone = zone};
    succeed(reader_open(writing->dir, &reader, &error), &error);
    enum status status = usage_query(reader, &query, &arena, &result, &error);
    cr_assert_eq(status, STATUS_OK, "%s by %d in %s: %s", meter, (int)window, zone, error.text);
    for (size_t i = 0; i < result.count; i++)
        count += result.rows[i].count;
    reader_close(reader);
    return count;
}

static void
check_counts(const struct writing *writing, uint64_t expected)
{
    static const char *const zones[] = {NULL, "Asia/Kathmandu", "America/New_York"};
    for (int k = 0; k < KINDS; k++) {
        for (int window = USAGE_WINDOW_NONE; window <= USAGE_WINDOW_MONTH; window++) {
            for (int zone = 0; zone < 3; zone++) {
                if (kinds[k] == AGGREGATION_WEIGHTED_SUM && window == USAGE_WINDOW_NONE)
                    continue;
                uint64_t count =
                    count_all(writing, keys[k], (enum usage_window)window, zones[zone]);
                cr_assert_eq(
                    count,
                    expected,
                    "%s by %d in %s: %lu",
                    keys[k],
                    window,
                    zones[zone] != NULL ? zones[zone] : "UTC",
                    (unsigned long)count);
            }
        }
    }
}

Test(backfill_rare, events_of_the_first_and_the_last_moment)
{
    struct writing writing;
    static const char *const billing_zones[] = {"Asia/Kathmandu", "America/New_York"};
    const struct ledger_options options = {
        .idle_flush_ns = 1000000, .zones = billing_zones, .zones_count = 2};
    uint64_t count = 0;
    writing_begin(&writing, 1);
    for (int k = 0; k < KINDS; k++)
        writing_meter(&writing, keys[k], "llm", kinds[k]);
    writing_open(&writing, &options);
    cr_assert_eq(writing_backfill(&writing, BACKFILL_OPEN, "all", NULL), STATUS_OK);
    for (int i = 1; i < TIMES; i++) {
        char id[16];
        (void)snprintf(id, sizeof id, "e%d", i);
        cr_assert_eq(put(&writing, "all", id, times_ns[i], i), FATE_STORED);
    }
    check_counts(&writing, TIMES - 1);
    writing_close(&writing);
    check_counts(&writing, TIMES - 1);
    operating_verify(writing.dir);
    writing_now_ns += 40 * DAY_NS;
    writing_open(&writing, &options);
    writing_close(&writing);
    check_counts(&writing, TIMES - 1);
    writing_open(&writing, &options);
    cr_assert_eq(writing_backfill(&writing, BACKFILL_REVERT, "all", &count), STATUS_OK);
    cr_assert_eq(count, TIMES - 1);
    check_counts(&writing, 0);
    writing_close(&writing);
    operating_verify(writing.dir);
    check_counts(&writing, 0);
    writing_now_ns -= 40 * DAY_NS;
    writing_end(&writing);
}

// --- shards of unequal age, as a backup may have them that was taken meanwhile ---

static void
shard_copy(const struct writing *writing, const char *from, const char *to)
{
    char command[256];
    (void)snprintf(
        command,
        sizeof command,
        "rm -rf %s/%s && cp -r %s/%s %s/%s",
        writing->dir,
        to,
        writing->dir,
        from,
        writing->dir,
        to);
    cr_assert_eq(system(command), 0);
}

// The revert's first entry, which is all that the process came to.
static void
begin_revert(struct writing *writing, uint32_t shard, const char *id)
{
    uint8_t raw[512];
    struct order found = {.kind = ORDER_FIND_BATCH, .batch_id = bytes_text(id)};
    writing_order(writing, shard, &found);
    cr_assert(found.has_batch && found.batch.state == BATCH_CLOSED);
    const struct entry entry = {
        .kind = ENTRY_BATCH_REVERT,
        .time_ns = writing_now_ns,
        .batch = bytes_text(id),
        .note =
            {
                   .who = bytes_text("ann"),
                   .why = bytes_text("a test"),
                   .block = found.batch.opened,
                   },
    };
    cr_assert(entry_is_sound(&entry) && entry_raw_size(&entry) <= sizeof raw);
    entry_put(&entry, raw);
    struct order order = {.kind = ORDER_BATCH, .raw = bytes_of(raw, entry_raw_size(&entry))};
    writing_order(writing, shard, &order);
}

static void
put_some(struct writing *writing, const char *batch)
{
    for (int i = 0; i < 20; i++) {
        struct event_bytes event;
        char subject[16];
        char id[16];
        (void)snprintf(subject, sizeof subject, "s%d", i % 5);
        (void)snprintf(id, sizeof id, "%s%d", batch, i);
        event_make(&event, subject, id, 1);
        event.event.batch = bytes_text(batch);
        cr_assert_eq(writing_fate(writing, &event.event), FATE_STORED);
    }
}

// The shard that is older does not know the batch, or has it open.
static void
check_unequal(bool is_known)
{
    struct writing writing;
    struct error error = {0};
    scoped(arena_done) struct arena arena = {0};
    struct backfill_row *rows;
    size_t count = 0;
    writing_begin(&writing, 2);
    writing_meter(&writing, "count", "llm", AGGREGATION_COUNT);
    writing_open(&writing, NULL);
    put_some(&writing, "");
    if (is_known) {
        cr_assert_eq(writing_backfill(&writing, BACKFILL_OPEN, "jan", NULL), STATUS_OK);
        put_some(&writing, "jan");
    }
    writing_close(&writing);
    shard_copy(&writing, "shards/0000", "older");
    writing_open(&writing, NULL);
    if (!is_known) {
        cr_assert_eq(writing_backfill(&writing, BACKFILL_OPEN, "jan", NULL), STATUS_OK);
        put_some(&writing, "jan");
    }
    cr_assert_eq(writing_backfill(&writing, BACKFILL_CLOSE, "jan", NULL), STATUS_OK);
    begin_revert(&writing, 1, "jan");
    writing_close(&writing);
    shard_copy(&writing, "older", "shards/0000");
    writing_open(&writing, NULL);
    cr_assert_eq(writing_backfill(&writing, BACKFILL_REVERT, "jan", NULL), STATUS_EXISTS);
    succeed(backfill_list(writing.dir, &arena, &rows, &count, &error), &error);
    cr_assert_eq(count, 1);
    cr_assert_eq(rows[0].state, BATCH_REVERTED);
    cr_assert_eq(rows[0].stored, rows[0].taken);
    writing_close(&writing);
    cr_assert_eq(count_all(&writing, "count", USAGE_WINDOW_NONE, NULL), 20);
    operating_verify(writing.dir);
    writing_end(&writing);
}

Test(backfill_rare, a_revert_goes_on_where_a_shard_is_older)
{
    check_unequal(true);
    check_unequal(false);
}

// --- an identity that somebody else has by now ---

enum { FORGOTTEN = 3000 };

static const struct ledger_options small = {
    .dedup_hot_max = 300, .group_events_max = 20, .idle_flush_ns = 1000000};

// Without a time of its own, so that it is known for the window and no longer.
static void
make_timeless(struct event_bytes *out, const char *batch, const char *kind, int i)
{
    char id[16];
    (void)snprintf(id, sizeof id, "%s%d", kind, i);
    event_make(out, i % 2 == 0 ? "s0" : "s1", id, 1);
    out->event.batch = bytes_text(batch);
    out->event.time_ns = 0;
}

static void
put_timeless(struct writing *writing, const char *batch, uint32_t count, enum fate fate)
{
    uint64_t before = writing_count(writing, fate);
    for (uint32_t i = 0; i < count; i++) {
        struct event_bytes event;
        make_timeless(&event, batch, "e", (int)i);
        (void)writing_put(writing, &event.event);
    }
    writing_wait(writing);
    cr_assert_eq(writing_count(writing, fate) - before, count, "%s", fate_name(fate));
}

// The window has passed: others come until the last of the first ones is not known any more, nor
// are those before it.
static void
forget(struct writing *writing)
{
    int64_t deadline_ns = clock_monotonic_ns() + 60 * SECOND_NS;
    struct event_bytes last;
    struct event_bytes other;
    writing_now_ns += 40 * DAY_NS;
    make_timeless(&last, "", "e", FORGOTTEN - 1);
    for (int i = 0; writing_fate(writing, &last.event) != FATE_STORED; i++) {
        cr_assert_lt(clock_monotonic_ns(), deadline_ns, "identities do not expire");
        // Some of the others may be of one generation with the first ones.
        writing_now_ns += DAY_NS;
        for (int k = 0; k < 100; k++) {
            make_timeless(&other, "", "x", 100 * i + k);
            (void)writing_put(writing, &other.event);
        }
        writing_wait(writing);
    }
}

Test(backfill_rare, an_identity_is_not_freed_for_who_came_later, .timeout = 300)
{
    struct writing writing;
    uint64_t count = 0;
    struct error error = {0};
    const int64_t begin_ns = writing_now_ns;
    writing_begin(&writing, 1);
    writing_meter(&writing, "count", "llm", AGGREGATION_COUNT);
    writing_open(&writing, &small);
    cr_assert_eq(writing_backfill(&writing, BACKFILL_OPEN, "jan", NULL), STATUS_OK);
    put_timeless(&writing, "jan", FORGOTTEN, FATE_STORED);
    forget(&writing);
    put_timeless(&writing, "", FORGOTTEN - 1, FATE_STORED);
    succeed(cancel(&writing, "e0", &error), &error);
    cr_assert_eq(writing_backfill(&writing, BACKFILL_REVERT, "jan", &count), STATUS_OK);
    cr_assert_eq(count, FORGOTTEN);
    put_timeless(&writing, "", FORGOTTEN, FATE_DUPLICATE);
    writing_close(&writing);
    operating_verify(writing.dir);
    writing_open(&writing, &small);
    put_timeless(&writing, "", FORGOTTEN, FATE_DUPLICATE);
    writing_close(&writing);
    operating_verify(writing.dir);
    writing_end(&writing);
    writing_now_ns = begin_ns;
}
