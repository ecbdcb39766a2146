#include "ledger/runs.h"

#include "ledger/cell.h"
#include "ledger/shard_view.h"
#include "tests/ledger/writing.h"

#include <criterion/criterion.h>

#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

enum { PAGES = 60, COUNT = PAGES * RUN_PAGE_IDS + 7, ROWS_MAX = 700 };

static uint64_t
spread(uint64_t i)
{
    uint64_t z = (i + 1) * 0x9e3779b97f4a7c15ULL;
    z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9ULL;
    z = (z ^ (z >> 27)) * 0x94d049bb133111ebULL;
    return z ^ (z >> 31);
}

struct desk {
    char dir[64];
    struct env *state;
    struct fingerprint *entries;  // COUNT of them, in their order
    struct run run;
};

static int
order_of(const void *a, const void *b)
{
    return fingerprint_compare(*(const struct fingerprint *)a, *(const struct fingerprint *)b);
}

static void
run_make(struct desk *desk, uint32_t number, struct run *out)
{
    struct error error = {0};
    struct run_writer *writer = malloc(sizeof *writer);
    *writer = run_writer_begin(number);
    struct tx tx = tx_write(desk->state);
    for (uint32_t i = 0; i < COUNT; i++)
        run_put(writer, &tx, desk->entries[i]);
    run_end(writer, &tx, out);
    succeed(tx_commit(&tx, &error), &error);
    free(writer);
}

static void
run_drop(struct desk *desk, uint32_t number)
{
    struct error error = {0};
    struct tx tx = tx_write(desk->state);
    cr_assert(run_delete(&tx, number, UINT32_MAX));
    succeed(tx_commit(&tx, &error), &error);
}

static void
desk_learn(struct desk *desk)
{
    struct error error = {0};
    struct tx tx = tx_read(desk->state);
    succeed(run_learn(&tx, &desk->run, &error), &error);
    cr_assert_not_null(desk->run.index);
    tx_done(&tx);
}

// same: how many that follow each other have one low word.
static struct desk *
desk_begin(uint32_t same)
{
    struct error error = {0};
    struct desk *desk = calloc(1, sizeof *desk);
    desk->entries = calloc(COUNT, sizeof *desk->entries);
    temp_dir_make(desk->dir);
    const struct env_options options = {
        .map_size = 1 << 28, .dbs = STATE_DBS, .dbs_count = STATE_DB_COUNT};
    succeed(env_open(desk->dir, &options, &desk->state, &error), &error);
    for (uint32_t i = 0; i < COUNT; i++) {
        desk->entries[i] =
            (struct fingerprint){.low = spread(i / same), .high = 2 * (i % same), .payload = i + 1};
    }
    qsort(desk->entries, COUNT, sizeof *desk->entries, order_of);
    run_make(desk, 7, &desk->run);
    return desk;
}

static void
desk_end(struct desk *desk)
{
    run_index_close(desk->run.index);
    env_close(desk->state);
    temp_dir_remove(desk->dir);
    free(desk->entries);
    free(desk);
}

static void
expect_all(struct desk *desk)
{
    struct error error = {0};
    struct tx tx = tx_read(desk->state);
    for (uint32_t i = 0; i < COUNT; i++) {
        struct fingerprint entry = desk->entries[i];
        uint32_t payload = 0;
        succeed(run_find(&tx, &desk->run, entry, &payload, &error), &error);
        cr_assert_eq(payload, entry.payload);
        entry.high++;
        cr_assert_eq(run_find(&tx, &desk->run, entry, &payload, &error), STATUS_NOT_FOUND);
    }
    tx_done(&tx);
}

// The places of pages are learned once; whatever is written and deleted round about later.
Test(runs, are_found_where_they_were_learned_while_others_come_and_go)
{
    struct desk *desk = desk_begin(1);
    struct run other;
    expect_all(desk);
    run_make(desk, 6, &other);
    desk_learn(desk);
    expect_all(desk);
    run_make(desk, 8, &other);
    run_drop(desk, 6);
    for (uint32_t number = 9; number < 13; number++) {
        run_make(desk, number, &other);
        run_drop(desk, number - 1);
        expect_all(desk);
    }
    desk_end(desk);
}

Test(runs, are_found_when_pages_end_amid_one_low_word)
{
    struct desk *desk = desk_begin(100);
    desk_learn(desk);
    expect_all(desk);
    desk_end(desk);
}

// Flips a bit wherever this entry lies in the file.
static void
file_flip(const struct desk *desk, const struct fingerprint *entry)
{
    char path[80];
    (void)snprintf(path, sizeof path, "%s/data.mdb", desk->dir);
    int fd = open(path, O_RDWR);
    cr_assert_geq(fd, 0);
    off_t size = lseek(fd, 0, SEEK_END);
    uint8_t *bytes = malloc((size_t)size);
    cr_assert_eq(pread(fd, bytes, (size_t)size, 0), size);
    uint32_t flips = 0;
    for (uint8_t *at = bytes;
         (at = memmem(at, (size_t)(bytes + size - at), entry, sizeof *entry)) != NULL;
         at++) {
        uint8_t flipped = *at ^ 16;
        cr_assert_eq(pwrite(fd, &flipped, 1, at - bytes), 1);
        flips++;
    }
    cr_assert_geq(flips, 1);
    free(bytes);
    close(fd);
}

Test(runs, that_are_damaged_where_they_were_learned_are_no_answer)
{
    struct desk *desk = desk_begin(1);
    struct error error = {0};
    uint32_t payload = 0;
    desk_learn(desk);
    file_flip(desk, &desk->entries[1000]);
    struct tx tx = tx_read(desk->state);
    enum status status = run_find(&tx, &desk->run, desk->entries[1000], &payload, &error);
    cr_assert_eq(status, STATUS_CORRUPT);
    cr_assert_neq(strstr(error.text, "run 7"), NULL, "%s", error.text);
    // Another one of that page.
    status = run_find(&tx, &desk->run, desk->entries[1001], &payload, &error);
    cr_assert_eq(status, STATUS_CORRUPT);
    tx_done(&tx);
    desk_end(desk);
}

static int
low_order(const void *a, const void *b)
{
    uint64_t left = *(const uint64_t *)a;
    uint64_t right = *(const uint64_t *)b;
    return (left > right) - (left < right);
}

static const uint8_t *
find_slowly(const uint64_t *lows, const uint8_t *places, uint32_t count, uint64_t low)
{
    for (uint32_t i = 0; i < count; i++) {
        if (lows[i] >= low)
            return places + i;
    }
    return NULL;
}

// Spread over the upper `bits` bits or crowded in the lower ones, with equal ones among them.
static void
expect_rows(uint32_t count, uint32_t shift, bool is_crowded)
{
    static uint64_t lows[ROWS_MAX];
    static const uint8_t places[ROWS_MAX];
    struct run_index *index = run_index_open(count);
    for (uint32_t i = 0; i < count; i++)
        lows[i] = is_crowded ? spread(i) >> shift : spread(i) >> shift << shift;
    qsort(lows, count, sizeof lows[0], low_order);
    for (uint32_t i = 0; i < count; i++)
        run_index_add(index, lows[i], places + i);
    for (uint32_t i = 0; i < count; i++) {
        for (uint64_t low = lows[i] - 1; low != lows[i] + 2; low++)
            cr_assert_eq(run_index_find(index, low), find_slowly(lows, places, count, low));
        uint64_t low = spread(i + count);
        cr_assert_eq(run_index_find(index, low), find_slowly(lows, places, count, low));
    }
    run_index_close(index);
}

Test(run_index, finds_what_a_look_at_each_row_finds)
{
    for (uint32_t count = 1; count < ROWS_MAX; count += 1 + count / 4) {
        for (uint32_t shift = 0; shift < 62; shift += 6) {
            expect_rows(count, shift, true);
            expect_rows(count, shift, false);
        }
    }
}
