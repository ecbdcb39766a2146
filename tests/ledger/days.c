#include "tests/ledger/days.h"

#include "base/clock.h"

#include <criterion/criterion.h>

#include <poll.h>
#include <stdio.h>

const struct ledger_options keeping = {
    .idle_flush_ns = INT64_MAX / 2, .keep_log_ns = KEEP_DAYS * DAY_NS};

struct log_kept
read_kept(const char *dir)
{
    struct error error = {0};
    struct shard_view view = {0};
    struct log_kept kept;
    succeed(shard_view_open(dir, 0, &view, &error), &error);
    struct tx log = tx_read(view.log);
    succeed(log_kept_read(&log, &kept, &error), &error);
    tx_done(&log);
    shard_view_done(&view);
    return kept;
}

uint64_t
read_oldest(const char *dir)
{
    struct error error = {0};
    struct shard_view view = {0};
    uint64_t oldest = 0;
    succeed(shard_view_open(dir, 0, &view, &error), &error);
    struct tx log = tx_read(view.log);
    struct walk walk = walk_open(&log, LOG_DB_BLOCKS);
    cr_assert(walk_first(&walk));
    memcpy(&oldest, walk.key.data, sizeof oldest);
    walk_done(&walk);
    tx_done(&log);
    shard_view_done(&view);
    return oldest;
}

void
wait_for_oldest(const struct writing *writing, uint64_t wanted)
{
    int64_t deadline_ns = clock_monotonic_ns() + WAIT_NS;
    const char *text = "";
    while (read_oldest(writing->dir) < wanted) {
        cr_assert_eq(ledger_failure(writing->ledger, &text), STATUS_OK, "%s", text);
        cr_assert_lt(clock_monotonic_ns(), deadline_ns, "blocks were not deleted");
        (void)poll(NULL, 0, 5);
    }
    cr_assert_eq(read_oldest(writing->dir), wanted);
}

static void
put_day(struct days *days, int day)
{
    for (int i = 0; i < EVENTS_A_DAY; i++) {
        struct event_bytes event;
        char subject[16];
        char id[16];
        (void)snprintf(subject, sizeof subject, "s%d", i % 3);
        (void)snprintf(id, sizeof id, "%d-%d", day, i);
        event_make(&event, subject, id, i);
        (void)writing_put(&days->writing, &event.event);
        if (i % 10 == 9)
            writing_wait(&days->writing);
    }
    writing_wait(&days->writing);
    cr_assert_eq(writing_count(&days->writing, FATE_STORED), EVENTS_A_DAY);
    days->heads[day] = operating_head(days->writing.dir, 0);
}

void
days_define(struct days *days)
{
    writing_begin(&days->writing, 1);
    temp_dir_make(days->root);
    (void)snprintf(days->to, sizeof days->to, "%s/backup", days->root);
    (void)snprintf(days->new, sizeof days->new, "%s/new", days->root);
    writing_meter(&days->writing, "calls", "llm", AGGREGATION_COUNT);
    writing_meter(&days->writing, "most", "llm", AGGREGATION_SUM);
}

void
days_run(struct days *days, const struct ledger_options *options)
{
    days->begin_ns = writing_now_ns;
    for (int day = 0; day < DAYS; day++) {
        writing_now_ns = days->begin_ns + day * DAY_NS;
        bool is_last = day == DAYS - 1;
        writing_open(&days->writing, is_last ? options : NULL);
        put_day(days, day);
        if (!is_last)
            writing_close(&days->writing);
    }
}

void
days_begin(struct days *days, const struct ledger_options *options)
{
    days_define(days);
    days_run(days, options);
}

void
days_put(struct days *days, const char *id)
{
    struct event_bytes event;
    event_make(&event, "s0", id, 1);
    cr_assert_eq(writing_fate(&days->writing, &event.event), FATE_STORED);
}

void
days_end(struct days *days)
{
    if (days->writing.ledger != NULL)
        writing_close(&days->writing);
    writing_end(&days->writing);
    temp_dir_remove(days->root);
}

static struct env *
open_env(const struct days *days, const char *what, const struct env_db_row *dbs, uint32_t count)
{
    struct error error = {0};
    struct env *env = NULL;
    char path[128];
    const struct env_options options = {.map_size = 64 << 20, .dbs = dbs, .dbs_count = count};
    (void)snprintf(path, sizeof path, "%s/shards/0000/%s", days->writing.dir, what);
    succeed(env_open(path, &options, &env, &error), &error);
    return env;
}

struct env *
open_log(const struct days *days)
{
    return open_env(days, "log", LOG_DBS, LOG_DB_COUNT);
}

struct env *
open_state(const struct days *days)
{
    return open_env(days, "state", STATE_DBS, STATE_DB_COUNT);
}
