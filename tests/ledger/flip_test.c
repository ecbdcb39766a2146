// A flipped bit in the key of a stored cell: whatever is asked then, the answer is the right one or
// a refusal, never one that lacks the cell.

#include "ledger/shard_view.h"
#include "ledger/usage.h"
#include "tests/ledger/writing.h"

#include <criterion/criterion.h>

#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

enum { SUBJECTS = 5, EVENTS = 400, DAYS = 25, KEYS_MAX = 4096, FLIP_STEP = 37 };

struct truth {
    uint64_t total;
    uint64_t of[SUBJECTS];
};

struct file {
    uint8_t *data;
    size_t size;
};

static void
subject_name(int subject, char out[16])
{
    // Of different sizes, as keys sort by them.
    (void)snprintf(out, 16, "%s-%d", subject % 2 == 0 ? "a" : "subject", subject);
}

static void
fill(struct writing *writing, struct truth *out)
{
    *out = (struct truth){0};
    for (int i = 0; i < EVENTS; i++) {
        struct event_bytes event;
        char subject[16];
        char id[16];
        int who = (int)writing_random(writing, SUBJECTS);
        subject_name(who, subject);
        (void)snprintf(id, sizeof id, "%d", i);
        event_make(&event, subject, id, 1);
        event.event.time_ns =
            writing_now_ns - (int64_t)writing_random(writing, DAYS * 86400) * SECOND_NS;
        (void)writing_put(writing, &event.event);
        out->total++;
        out->of[who]++;
    }
    writing_wait(writing);
    cr_assert_eq(writing_count(writing, FATE_STORED), EVENTS);
}

static struct file
state_map(const struct writing *writing)
{
    char path[128];
    struct stat stat;
    (void)snprintf(path, sizeof path, "%s/shards/0000/state/data.mdb", writing->dir);
    int fd = open(path, O_RDWR);
    cr_assert_geq(fd, 0);
    cr_assert_eq(fstat(fd, &stat), 0);
    struct file file = {.size = (size_t)stat.st_size};
    file.data = mmap(NULL, file.size, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
    cr_assert_neq(file.data, MAP_FAILED);
    (void)close(fd);
    return file;
}

// Copies of the keys of all cells.
static uint32_t
keys_read(const struct writing *writing, struct arena *arena, struct bytes keys[KEYS_MAX])
{
    struct shard_view view = {0};
    struct error error = {0};
    uint32_t count = 0;
    succeed(shard_view_open(writing->dir, 0, &view, &error), &error);
    struct tx tx = tx_read(view.state);
    struct walk walk = walk_open(&tx, STATE_DB_CELLS);
    for (bool more = walk_first(&walk); more; more = walk_next(&walk)) {
        cr_assert_lt(count, KEYS_MAX);
        keys[count++] = arena_bytes(arena, walk.key);
    }
    walk_done(&walk);
    tx_done(&tx);
    shard_view_done(&view);
    return count;
}

static bool
add_total(void *context, struct bytes subject, const struct usage_row *total)
{
    (void)subject;
    *(uint64_t *)context += total->count;
    return true;
}

// Whether the answer was refused; else it must be right.
static bool
ask(struct reader *reader, const struct usage_query *query, uint64_t wanted)
{
    scoped(arena_done) struct arena arena = {0};
    struct error error = {0};
    struct usage_result result = {0};
    uint64_t count = 0;
    if (usage_query(reader, query, &arena, &result, &error))
        return true;
    for (size_t i = 0; i < result.count; i++)
        count += result.rows[i].count;
    cr_assert_eq(count, wanted, "%" PRIu64 " of %" PRIu64, count, wanted);
    return false;
}

// How many questions of all were refused.
static uint32_t
ask_all(const struct writing *writing, const struct truth *truth)
{
    struct reader *reader = NULL;
    struct error error = {0};
    uint64_t streamed = 0;
    uint32_t refused = 0;
    struct usage_query query = {.meter = "calls", .from_ns = INT64_MIN, .to_ns = INT64_MAX};
    if (reader_open(writing->dir, &reader, &error))
        return 1;
    if (usage_stream(reader, &query, add_total, &streamed, &error))
        refused++;
    else
        cr_assert_eq(streamed, truth->total, "stream: %" PRIu64, streamed);
    query.is_merged = true;
    refused += ask(reader, &query, truth->total);
    query.is_merged = false;
    for (int i = 0; i < SUBJECTS; i++) {
        char subject[16];
        subject_name(i, subject);
        query.subject = bytes_text(subject);
        query.window = i % 2 == 0 ? USAGE_WINDOW_NONE : USAGE_WINDOW_DAY;
        refused += ask(reader, &query, truth->of[i]);
        query.window = i % 2 == 0 ? USAGE_WINDOW_HOUR : USAGE_WINDOW_MONTH;
        refused += ask(reader, &query, truth->of[i]);
    }
    reader_close(reader);
    return refused;
}

Test(flip, of_a_cells_key_changes_no_answer)
{
    struct writing writing;
    struct truth truth;
    struct arena arena = {0};
    struct bytes *keys = calloc(KEYS_MAX, sizeof *keys);
    uint32_t flips = 0;
    uint32_t seen = 0;
    uint32_t turn = 0;
    cr_assert_not_null(keys);
    writing_begin(&writing, 1);
    writing_meter(&writing, "calls", "llm", AGGREGATION_COUNT);
    writing_open(&writing, NULL);
    fill(&writing, &truth);
    writing_close(&writing);
    cr_assert_eq(ask_all(&writing, &truth), 0);
    uint32_t count = keys_read(&writing, &arena, keys);
    cr_assert_gt(count, EVENTS);
    struct file file = state_map(&writing);
    for (uint32_t i = 0; i < count; i++) {
        // Where it lies in leaves and branches, also those of earlier states.
        for (uint8_t *at = file.data;
             (at = memmem(at, file.size - (size_t)(at - file.data), keys[i].data, keys[i].size)) !=
             NULL;
             at++) {
            for (size_t bit = turn++ % FLIP_STEP; bit < keys[i].size * 8; bit += FLIP_STEP * 12) {
                at[bit / 8] ^= (uint8_t)(1U << (bit % 8));
                seen += ask_all(&writing, &truth) > 0;
                flips++;
                at[bit / 8] ^= (uint8_t)(1U << (bit % 8));
            }
        }
    }
    cr_log_info("%u flips, %u of them seen", flips, seen);
    cr_assert_gt(seen, 0);
    cr_assert_eq(ask_all(&writing, &truth), 0);
    (void)munmap(file.data, file.size);
    arena_done(&arena);
    free(keys);
    writing_end(&writing);
}

// --- heads of pages ---

enum { PAGE = 4096, HEADER = 16, FLAGS = 10, LOWER = 12, FLAG_BRANCH = 1, FLAG_LEAF = 2 };

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

struct tried {
    uint32_t count, seen;
};

static void
try_now(const struct writing *writing, const struct truth *truth, struct tried *tried)
{
    tried->seen += ask_all(writing, truth) > 0;
    tried->count++;
}

// A page says that it has fewer entries than it has, or one of them twice.
static void
try_page(
    const struct writing *writing, const struct truth *truth, uint8_t *page, struct tried *tried)
{
    const uint32_t flags = u16_of(page + FLAGS);
    const uint32_t lower = u16_of(page + LOWER);
    if ((flags != FLAG_BRANCH && flags != FLAG_LEAF) || lower <= HEADER + 2 || lower > PAGE)
        return;
    for (uint32_t bit = 1; bit < 12; bit++) {
        uint32_t other = lower ^ 1U << bit;
        if (other <= HEADER || other > lower)
            continue;
        u16_put(page + LOWER, other);
        try_now(writing, truth, tried);
        u16_put(page + LOWER, lower);
    }
    for (uint32_t at = HEADER + 2 * (uint32_t)(lower % 7); at + 4 <= lower; at += 26) {
        const uint32_t own = u16_of(page + at);
        u16_put(page + at, u16_of(page + at + 2));
        try_now(writing, truth, tried);
        u16_put(page + at, own);
    }
}

// All pages of the file.
static void
try_file(const struct writing *writing, const struct truth *truth)
{
    struct tried tried = {0};
    cr_assert_eq(ask_all(writing, truth), 0);
    struct file file = state_map(writing);
    for (size_t at = 2 * PAGE; at + PAGE <= file.size; at += PAGE)
        try_page(writing, truth, file.data + at, &tried);
    cr_log_info("%u tried, %u of them seen", tried.count, tried.seen);
    cr_assert_gt(tried.seen, 0);
    cr_assert_eq(ask_all(writing, truth), 0);
    (void)munmap(file.data, file.size);
}

Test(flip, of_a_pages_head_changes_no_answer, .timeout = 120)
{
    struct writing writing;
    struct truth truth;
    writing_begin(&writing, 1);
    writing_meter(&writing, "calls", "llm", AGGREGATION_COUNT);
    writing_open(&writing, NULL);
    fill(&writing, &truth);
    writing_close(&writing);
    try_file(&writing, &truth);
    writing_end(&writing);
}

// Of a window whose cells lie in several pages, which a walk goes through.
Test(flip, of_a_pages_head_within_a_window_changes_no_answer, .timeout = 120)
{
    enum { MANY = 300 };
    struct writing writing;
    struct truth truth = {.total = MANY};
    writing_begin(&writing, 1);
    writing_meter(&writing, "calls", "llm", AGGREGATION_COUNT);
    writing_open(&writing, NULL);
    for (int i = 0; i < MANY; i++) {
        struct event_bytes event;
        char subject[16];
        (void)snprintf(subject, sizeof subject, "many-%03d", i);
        event_make(&event, subject, "one", 1);
        event.event.time_ns = writing_now_ns - 3600 * SECOND_NS;
        (void)writing_put(&writing, &event.event);
    }
    writing_wait(&writing);
    writing_close(&writing);
    try_file(&writing, &truth);
    writing_end(&writing);
}
