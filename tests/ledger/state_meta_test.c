// Records of state/'s meta that damage hides (cuts, positions, horizons), and blocks of the log.
// What is answered then is right or refused as damage, never as if there had been none.
#include "ledger/state_meta.h"

#include "ledger/cut_list.h"
#include "ledger/cut_record.h"
#include "ledger/intake.h"
#include "ledger/shard_view.h"
#include "ledger/usage.h"
#include "tests/ledger/writing.h"

#include <criterion/criterion.h>

#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/wait.h>
#include <unistd.h>

enum { PAGE = 4096, HEADER = 16, LOWER = 12, UPPER = 14, CUTS = 2, STARTS_STEP = 16 };

struct page {
    const char *env;  // "state" or "log"
    off_t offset;     // in its file
    uint8_t bytes[PAGE];
};

static void
put(struct writing *writing, const char *id, enum fate fate)
{
    struct event_bytes event;
    event_make(&event, "who", id, 1);
    event.event.time_ns = writing_now_ns - DAY_NS;
    cr_assert_eq(writing_fate(writing, &event.event), fate);
}

// By a process that dies with it: it is in the log only.
static void
put_unflushed(struct writing *writing, const char *id)
{
    int result = 0;
    pid_t child = fork();
    if (child == 0) {
        writing_open(writing, NULL);
        put(writing, id, FATE_STORED);
        _exit(0);
    }
    cr_assert_eq(waitpid(child, &result, 0), child);
    cr_assert(WIFEXITED(result) && WEXITSTATUS(result) == 0);
}

// An event before each of two cuts, and one behind them.
static void
fill(struct writing *writing)
{
    struct error error = {0};
    uint32_t number = 0;
    writing_begin(writing, 1);
    writing_meter(writing, "calls", "llm", AGGREGATION_COUNT);
    writing_open(writing, NULL);
    put(writing, "a", FATE_STORED);
    succeed(ledger_cut(writing->ledger, writing_now_ns, &number, &error), &error);
    put(writing, "b", FATE_STORED);
    succeed(ledger_cut(writing->ledger, writing_now_ns, &number, &error), &error);
    cr_assert_eq(number, CUTS);
    writing_close(writing);
    put_unflushed(writing, "c");
}

// The one of the database's that has its last entry.
static void
page_read(const struct writing *writing, const char *env, uint32_t db, struct page *out)
{
    struct shard_view view = {0};
    struct error error = {0};
    uint64_t number;
    succeed(shard_view_open(writing->dir, 0, &view, &error), &error);
    struct tx tx = tx_read(strcmp(env, "log") == 0 ? view.log : view.state);
    struct walk walk = walk_open(&tx, db);
    cr_assert(walk_last(&walk));
    const uint8_t *page = walk.key.data - (uintptr_t)walk.key.data % PAGE;
    memcpy(&number, page, sizeof number);
    memcpy(out->bytes, page, PAGE);
    out->env = env;
    out->offset = (off_t)(number * PAGE);
    walk_done(&walk);
    tx_done(&tx);
    shard_view_done(&view);
}

static void
page_write(const struct writing *writing, const struct page *page, const uint8_t bytes[PAGE])
{
    char path[128];
    (void)snprintf(path, sizeof path, "%s/shards/0000/%s/data.mdb", writing->dir, page->env);
    int fd = open(path, O_WRONLY);
    cr_assert_geq(fd, 0);
    cr_assert_eq(pwrite(fd, bytes, PAGE, page->offset), PAGE);
    (void)close(fd);
}

static uint32_t
u16_of(const uint8_t *at)
{
    uint16_t value;
    memcpy(&value, at, sizeof value);
    return value;
}

static void
u16_put(uint8_t *at, uint32_t value)
{
    uint16_t narrow = (uint16_t)value;
    memcpy(at, &narrow, sizeof narrow);
}

// Whether it was refused; else it is right.
static bool
ask(struct reader *reader, uint32_t cut, uint64_t wanted)
{
    scoped(arena_done) struct arena arena = {0};
    struct error error = {0};
    struct usage_result result = {0};
    const struct usage_query query = {
        .meter = "calls",
        .subject = bytes_text("who"),
        .from_ns = INT64_MIN,
        .to_ns = writing_now_ns,
        .at_cut = cut,
    };
    enum status status = usage_query(reader, &query, &arena, &result, &error);
    cr_assert(
        status == STATUS_OK || status == STATUS_CORRUPT, "cut %u: %d %s", cut, status, error.text);
    cr_assert(status || result.rows[0].count == wanted, "cut %u", cut);
    return status != STATUS_OK;
}

static bool
list(struct reader *reader)
{
    scoped(arena_done) struct arena arena = {0};
    struct error error = {0};
    struct cut_row *rows;
    uint32_t count = 0;
    enum status status = cut_list(reader, &arena, &rows, &count, &error);
    cr_assert(status == STATUS_OK || status == STATUS_CORRUPT, "%d %s", status, error.text);
    cr_assert(status || count == CUTS, "%u cuts", count);
    return status != STATUS_OK;
}

// How many questions of all were refused.
static uint32_t
ask_all(const struct writing *writing)
{
    struct reader *reader = NULL;
    struct error error = {0};
    uint32_t refused = 0;
    if (reader_open(writing->dir, &reader, &error)) {
        cr_assert_eq(error.status, STATUS_CORRUPT, "%s", error.text);
        return 1;
    }
    refused += list(reader);
    refused += ask(reader, 1, 1);
    refused += ask(reader, 2, 2);
    refused += ask(reader, 0, 3);
    reader_close(reader);
    return refused;
}

// In a copy, as tallyd does: a start is refused, or counts nothing twice.
static void
start(struct writing *writing)
{
    char dir[sizeof writing->dir];
    char command[256];
    struct error error = {0};
    struct ledger *ledger = NULL;
    memcpy(dir, writing->dir, sizeof dir);
    (void)snprintf(writing->dir, sizeof writing->dir, "%s.copy", dir);
    (void)snprintf(
        command, sizeof command, "rm -rf %s && cp -a %s %s", writing->dir, dir, writing->dir);
    cr_assert_eq(system(command), 0);
    enum status status = ledger_open(writing->dir, &(struct ledger_options){0}, &ledger, &error);
    cr_assert(status == STATUS_OK || status == STATUS_CORRUPT, "%d %s", status, error.text);
    if (!status) {
        succeed(ledger_close(ledger, &error), &error);
        writing_open(writing, NULL);
        put(writing, "a", FATE_DUPLICATE);
        writing_close(writing);
        (void)ask_all(writing);
    }
    temp_dir_remove(writing->dir);
    memcpy(writing->dir, dir, sizeof dir);
}

struct tried {
    struct writing *writing;
    struct page page;
    uint32_t count, refused;
};

static void
try_page(struct tried *tried, const uint8_t bytes[PAGE])
{
    struct writing *writing = tried->writing;
    page_write(writing, &tried->page, bytes);
    tried->refused += ask_all(writing) > 0;
    if (tried->count++ % STARTS_STEP == 0)
        start(writing);
    page_write(writing, &tried->page, tried->page.bytes);
}

static struct tried
begin(struct writing *writing, const char *env, uint32_t db)
{
    struct tried tried = {.writing = writing};
    fill(writing);
    page_read(writing, env, db, &tried.page);
    cr_assert_eq(ask_all(writing), 0);
    return tried;
}

static void
end(struct tried *tried)
{
    cr_assert_eq(ask_all(tried->writing), 0);
    start(tried->writing);
    cr_assert_gt(tried->refused, 0);
    writing_end(tried->writing);
}

// Some question always meets it.
static void
lose_entries(struct tried *tried)
{
    uint8_t bytes[PAGE];
    uint32_t lower = u16_of(tried->page.bytes + LOWER);
    for (uint32_t less = HEADER + 2; less < lower; less += 2) {
        memcpy(bytes, tried->page.bytes, PAGE);
        u16_put(bytes + LOWER, less);
        try_page(tried, bytes);
    }
    cr_assert_eq(tried->refused, tried->count);
}

Test(state_meta, records_that_a_page_lost_are_damage, .timeout = 60)
{
    struct writing writing;
    struct tried tried = begin(&writing, "state", STATE_DB_META);
    lose_entries(&tried);
    end(&tried);
}

Test(state_meta, blocks_that_a_page_lost_are_damage, .timeout = 60)
{
    struct writing writing;
    struct tried tried = begin(&writing, "log", LOG_DB_BLOCKS);
    lose_entries(&tried);
    end(&tried);
}

Test(state_meta, an_entry_that_hides_its_neighbour_is_damage, .timeout = 60)
{
    struct writing writing;
    uint8_t bytes[PAGE];
    struct tried tried = begin(&writing, "state", STATE_DB_META);
    uint32_t lower = u16_of(tried.page.bytes + LOWER);
    for (uint32_t at = HEADER; at + 4 <= lower; at += 2) {
        memcpy(bytes, tried.page.bytes, PAGE);
        memcpy(bytes + at, bytes + at + 2, 2);
        try_page(&tried, bytes);
        memcpy(bytes + at, tried.page.bytes + at, 2);
        memcpy(bytes + at + 2, bytes + at, 2);
        try_page(&tried, bytes);
    }
    end(&tried);
}

Test(state_meta, zeros_hide_no_cut_and_no_position, .timeout = 60)
{
    struct writing writing;
    uint8_t bytes[PAGE];
    struct tried tried = begin(&writing, "state", STATE_DB_META);
    for (uint32_t size = 8; size <= 512; size *= 8) {
        uint32_t upper = u16_of(tried.page.bytes + UPPER);
        for (uint32_t at = upper - upper % size; at < PAGE; at += size) {
            memcpy(bytes, tried.page.bytes, PAGE);
            memset(bytes + at, 0, size);
            if (at > HEADER)
                try_page(&tried, bytes);
        }
    }
    end(&tried);
}

// What was looked through is not looked through again, but what came behind it is.
Test(state_meta, each_snapshot_is_looked_through_once)
{
    struct writing writing;
    struct error error = {0};
    struct shard_view view = {0};
    fill(&writing);
    succeed(shard_view_open(writing.dir, 0, &view, &error), &error);
    struct tx tx = tx_read(view.state);
    cr_assert(!tx_is_looked_through(&tx));
    succeed(state_meta_check(&tx, &error), &error);
    cr_assert(tx_is_looked_through(&tx));
    pid_t child = fork();
    if (child == 0) {
        writing_open(&writing, NULL);
        put(&writing, "d", FATE_STORED);
        writing_close(&writing);
        _exit(0);
    }
    int result = 0;
    cr_assert_eq(waitpid(child, &result, 0), child);
    cr_assert(WIFEXITED(result) && WEXITSTATUS(result) == 0);
    cr_assert(tx_is_looked_through(&tx), "the same snapshot");
    tx_renew(&tx);
    cr_assert(!tx_is_looked_through(&tx));
    succeed(state_meta_check(&tx, &error), &error);
    tx_done(&tx);
    shard_view_done(&view);
    writing_end(&writing);
}
