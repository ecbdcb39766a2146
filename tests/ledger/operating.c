#include "tests/ledger/operating.h"

#include "ledger/batches.h"
#include "ledger/dump.h"
#include "ledger/shard_view.h"
#include "ledger/verify.h"

#include <criterion/criterion.h>

#include <inttypes.h>
#include <stdio.h>

static const int64_t MEND_MAX_NS = 60 * SECOND_NS;

static int64_t
operating_now_ns(void)
{
    return writing_now_ns;
}

// What is known of batches; other records say how far things are.
static uint64_t
batches_digest(struct tx *tx, uint64_t digest)
{
    struct walk walk = walk_open(tx, STATE_DB_META);
    for (bool more = walk_first(&walk); more; more = walk_next(&walk)) {
        if (!batch_key_is(walk.key))
            continue;
        digest = hash64(walk.key, digest);
        digest = hash64(walk.value, digest);
    }
    walk_done(&walk);
    return digest;
}

static uint64_t
state_digest(struct env *state, uint64_t digest)
{
    static const enum state_db dbs[] = {STATE_DB_CELLS, STATE_DB_UNIQUES};
    struct error error = {0};
    struct tx tx = tx_read(state);
    for (size_t i = 0; i < sizeof dbs / sizeof dbs[0]; i++) {
        struct walk walk = walk_open(&tx, dbs[i]);
        for (bool more = walk_first(&walk); more; more = walk_next(&walk)) {
            digest = hash64(walk.key, digest);
            digest = hash64(walk.value, digest);
        }
        walk_done(&walk);
    }
    digest = batches_digest(&tx, digest);
    succeed(tx_check(&tx, &error), &error);
    tx_done(&tx);
    return digest;
}

static uint64_t
count_dirty(const char *dir)
{
    struct error error = {0};
    struct ledger_conf conf;
    uint64_t count = 0;
    succeed(ledger_conf_read(dir, &conf, &error), &error);
    for (uint32_t i = 0; i < conf.shards; i++) {
        struct shard_view view = {0};
        succeed(shard_view_open(dir, i, &view, &error), &error);
        cr_assert_not_null(view.state);
        struct tx tx = tx_read(view.state);
        count += tx_count(&tx, STATE_DB_DIRTY);
        succeed(tx_check(&tx, &error), &error);
        tx_done(&tx);
        shard_view_done(&view);
    }
    return count;
}

void
operating_mend(const char *dir)
{
    const int64_t deadline_ns = clock_monotonic_ns() + MEND_MAX_NS;
    while (count_dirty(dir) > 0) {
        cr_assert_lt(clock_monotonic_ns(), deadline_ns, "cells stay dirty");
        operating_settle(dir);
    }
}

uint64_t
operating_state(const char *dir)
{
    struct error error = {0};
    struct ledger_conf conf;
    uint64_t digest = 0;
    operating_mend(dir);
    succeed(ledger_conf_read(dir, &conf, &error), &error);
    for (uint32_t i = 0; i < conf.shards; i++) {
        struct shard_view view = {0};
        succeed(shard_view_open(dir, i, &view, &error), &error);
        cr_assert_not_null(view.state);
        digest = state_digest(view.state, digest);
        shard_view_done(&view);
    }
    return digest;
}

static bool
add_lines(void *context, struct bytes lines)
{
    struct buffer *all = context;
    buffer_bytes(all, lines);
    return true;
}

uint64_t
operating_dump(const char *dir)
{
    struct error error = {0};
    struct buffer all = {0};
    const struct dump_options options = {
        .shard = DUMP_ALL_SHARDS, .from_ns = INT64_MIN, .to_ns = INT64_MAX};
    succeed(dump_run(dir, &options, add_lines, &all, &error), &error);
    cr_assert(!buffer_failed(&all));
    uint64_t digest = hash64(buffer_view(&all), 0);
    buffer_done(&all);
    return digest;
}

static void
fail_with(void *context, const struct verify_finding *finding)
{
    (void)context;
    cr_assert_fail("shard %d, %s: %s", finding->shard, finding->key, finding->what);
}

void
operating_verify(const char *dir)
{
    struct error error = {0};
    struct verify_summary summary;
    const struct verify_options options = {.on_finding = fail_with};
    succeed(verify_run(dir, &options, &summary, &error), &error);
    cr_assert_eq(summary.findings, 0);
}

void
operating_settle(const char *dir)
{
    struct error error = {0};
    struct ledger *ledger;
    const struct ledger_options options = {
        .now_ns = operating_now_ns, .idle_flush_ns = INT64_MAX / 2};
    succeed(ledger_open(dir, &options, &ledger, &error), &error);
    succeed(ledger_close(ledger, &error), &error);
}

void
operating_fill(struct writing *writing, uint32_t count)
{
    static uint64_t serial;
    for (uint32_t i = 0; i < count; i++) {
        struct event_bytes event;
        char subject[32];
        char id[32];
        (void)snprintf(subject, sizeof subject, "s%u", (unsigned)writing_random(writing, 20));
        (void)snprintf(id, sizeof id, "fill-%" PRIu64, serial++);
        event_make(&event, subject, id, (int64_t)writing_random(writing, 1000));
        event.event.time_ns -= (int64_t)writing_random(writing, 86400) * SECOND_NS;
        (void)writing_put(writing, &event.event);
        if (writing_random(writing, 10) == 0)
            writing_wait(writing);
    }
    writing_wait(writing);
}

uint64_t
operating_head(const char *dir, uint32_t shard)
{
    struct error error = {0};
    struct shard_view view = {0};
    uint64_t head = 0;
    succeed(shard_view_open(dir, shard, &view, &error), &error);
    struct tx tx = tx_read(view.log);
    succeed(log_head(&tx, &head, &error), &error);
    tx_done(&tx);
    shard_view_done(&view);
    return head;
}
