#include "ledger/dedup.h"

#include "ledger/cell.h"
#include "ledger/shard_view.h"
#include "tests/ledger/writing.h"

#include <criterion/criterion.h>

#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

// Identities against a plain array that says what each one is. Bounds are small, so that tables are
// sealed, merged and expire often. The keeper's work is done here by hand, a step at a time.

enum { HOT = 300, GROUP = 100, IDS_MAX = 60000, STEPS_MAX = 100000, CRASH_IDS = 2500 };

struct desk {
    char dir[64];
    struct env *state;
    struct generations *generations;
    struct dedup *dedup;
    uint64_t filter_bytes_max;
    uint64_t block;
    uint32_t seal_blocks;  // after which the table is sealed, full or not; 0: only when it is full
    int64_t now_ns;
    uint32_t payloads[IDS_MAX];  // 0: unknown
};

static uint64_t
spread(uint64_t i)
{
    uint64_t z = (i + 1) * 0x9e3779b97f4a7c15ULL;
    z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9ULL;
    z = (z ^ (z >> 27)) * 0x94d049bb133111ebULL;
    return z ^ (z >> 31);
}

static struct hash128
identity_of(uint64_t i)
{
    return (struct hash128){.low = spread(2 * i), .high = spread(2 * i + 1)};
}

static void
desk_adopt(struct desk *desk)
{
    const struct generations_view *view = generations_view(desk->generations);
    dedup_adopt(desk->dedup, view);
    generations_adopted(desk->generations, view->number);
}

static void
desk_open(struct desk *desk)
{
    struct error error = {0};
    const struct env_options options = {
        .map_size = 1 << 30, .dbs = STATE_DBS, .dbs_count = STATE_DB_COUNT};
    succeed(env_open(desk->dir, &options, &desk->state, &error), &error);
    const struct generations_options generations = {
        .state = desk->state,
        .hot_max = HOT,
        .filter_bytes_max = desk->filter_bytes_max,
        .window_ns = DAY_NS,
    };
    succeed(generations_open(&generations, &desk->generations, &error), &error);
    desk->dedup = dedup_open(
        &(struct dedup_options){.state = desk->state, .hot_max = HOT, .group_max = GROUP});
    cr_assert_not_null(desk->dedup);
    desk_adopt(desk);
}

static void
desk_close(struct desk *desk)
{
    dedup_close(desk->dedup);
    generations_close(desk->generations);
    env_close(desk->state);
}

static struct desk *
desk_begin(uint64_t filter_bytes_max)
{
    struct desk *desk = calloc(1, sizeof *desk);
    cr_assert_not_null(desk);
    temp_dir_make(desk->dir);
    desk->filter_bytes_max = filter_bytes_max;
    desk->now_ns = 1000 * DAY_NS;
    desk_open(desk);
    return desk;
}

static void
desk_end(struct desk *desk)
{
    desk_close(desk);
    temp_dir_remove(desk->dir);
    free(desk);
}

static void
desk_step(struct desk *desk, bool *out_has_worked)
{
    struct error error = {0};
    succeed(generations_step(desk->generations, desk->now_ns, out_has_worked, &error), &error);
    desk_adopt(desk);
}

static void
desk_settle(struct desk *desk)
{
    bool has_worked = true;
    for (int i = 0; has_worked; i++) {
        cr_assert_lt(i, STEPS_MAX);
        desk_step(desk, &has_worked);
    }
}

// Ends a block, and seals when the table is full.
static void
desk_block(struct desk *desk)
{
    struct error error = {0};
    enum status status = STATUS_BUSY;
    bool has_worked = true;
    desk->block++;
    bool is_due = desk->seal_blocks > 0 && desk->block % desk->seal_blocks == 0;
    if (!dedup_wants_seal(desk->dedup) && !is_due)
        return;
    const struct seal *seal = dedup_seal(desk->dedup, desk->block, desk->now_ns);
    cr_assert_not_null(seal);
    while ((status = generations_append(desk->generations, seal, &error)) == STATUS_BUSY) {
        desk_step(desk, &has_worked);
        cr_assert(has_worked);
    }
    succeed(status, &error);
    desk_adopt(desk);
    cr_assert_not(dedup_is_sealed(desk->dedup));
}

static void
desk_add(struct desk *desk, uint32_t i)
{
    cr_assert_lt(i, IDS_MAX);
    cr_assert_eq(dedup_find(desk->dedup, identity_of(i), i), DEDUP_NEW, "%u", i);
    dedup_add(desk->dedup, identity_of(i), i + 1);
    desk->payloads[i] = i + 1;
}

// Identities [first, end) in blocks of 50, a step of the keeper after each.
static void
desk_fill(struct desk *desk, uint32_t first, uint32_t end)
{
    bool has_worked = false;
    for (uint32_t i = first; i < end; i++) {
        desk_add(desk, i);
        if (i % 50 != 49)
            continue;
        desk_block(desk);
        desk_step(desk, &has_worked);
    }
}

static void
desk_check(struct desk *desk, uint32_t count)
{
    for (uint32_t i = 0; i < count; i++) {
        uint32_t payload = desk->payloads[i];
        dedup_prefetch(desk->dedup, identity_of(i));
        enum dedup_result result = dedup_find(desk->dedup, identity_of(i), i + 1);
        cr_assert_neq(result, DEDUP_FAILED, "%s", dedup_error(desk->dedup)->text);
        if (payload == 0) {
            cr_assert_eq(result, DEDUP_NEW, "%u", i);
        } else {
            cr_assert_eq(result, DEDUP_SAME, "%u", i);
            result = dedup_find(desk->dedup, identity_of(i), payload + 1);
            cr_assert_eq(result, DEDUP_DIFFERENT, "%u", i);
        }
    }
    dedup_rest(desk->dedup);
}

static void
check_all(uint64_t filter_bytes_max)
{
    enum { COUNT = 15000 };
    struct desk *desk = desk_begin(filter_bytes_max);
    desk_fill(desk, 0, COUNT);
    desk_check(desk, COUNT + 5000);
    desk_settle(desk);
    desk_check(desk, COUNT + 5000);
    const struct generations_view *view = generations_view(desk->generations);
    // Three full ones and the youngest.
    cr_assert_leq(view->count, 4);
    cr_assert_geq(view->ids, COUNT - 2 * HOT);
    cr_assert_eq(dedup_stat(desk->dedup).ids, COUNT);
    if (filter_bytes_max == 0)
        cr_assert_eq(view->filter_bytes, 0);
    else
        cr_assert_leq(view->filter_bytes, filter_bytes_max);
    desk_end(desk);
}

Test(dedup, knows_all_that_was_added_and_nothing_else)
{
    check_all(1 << 30);
}

Test(dedup, answers_the_same_without_memory_for_filters)
{
    check_all(0);
}

Test(dedup, answers_the_same_with_memory_for_some_filters)
{
    check_all(9000);
}

Test(dedup, asks_the_disk_seldom_for_what_is_new)
{
    enum { COUNT = 8000 };
    struct desk *desk = desk_begin(1 << 30);
    desk_fill(desk, 0, COUNT);
    desk_settle(desk);
    uint64_t before = dedup_stat(desk->dedup).probes;
    for (uint32_t i = COUNT; i < 3 * COUNT; i++)
        cr_assert_eq(dedup_find(desk->dedup, identity_of(i), 1), DEDUP_NEW);
    uint64_t probes = dedup_stat(desk->dedup).probes - before;
    // Filters that say yes for nothing were followed: to the disk, and to the right answer.
    cr_assert_gt(probes, 0);
    cr_assert_lt(probes, 2 * COUNT / 10);
    desk_end(desk);
}

// A generation that is nearly full, of fifteen runs: a filter of twelve bits an identity would send
// one of 330 new identities through all of them.
Test(dedup, asks_many_runs_still_more_seldom)
{
    enum { COUNT = 15 * HOT, ASKED = 40000 };
    struct desk *desk = desk_begin(1 << 30);
    desk_fill(desk, 0, COUNT);
    desk_settle(desk);
    cr_assert_eq(generations_view(desk->generations)->list[0].runs_count, 15);
    uint64_t before = dedup_stat(desk->dedup).probes;
    for (uint32_t i = COUNT; i < COUNT + ASKED; i++)
        cr_assert_eq(dedup_find(desk->dedup, identity_of(i), 1), DEDUP_NEW);
    uint64_t probes = dedup_stat(desk->dedup).probes - before;
    cr_assert_gt(probes, 0);
    cr_assert_lt(probes, ASKED / 50);
    desk_end(desk);
}

// Seals what is in the hot table, and has it written and adopted. Returns the table that it was.
static const struct id_table *
desk_seal(struct desk *desk)
{
    struct error error = {0};
    const struct seal *seal = dedup_seal(desk->dedup, ++desk->block, desk->now_ns);
    cr_assert_not_null(seal);
    const struct id_table *table = seal->table;
    succeed(generations_append(desk->generations, seal, &error), &error);
    desk_adopt(desk);
    return table;
}

// Of three fillings the third is in the table of the first, of which nothing is left in it: not one
// identity that was found is found there, and there is room for as many again.
Test(dedup, fills_a_table_again_that_was_written)
{
    struct desk *desk = desk_begin(1 << 30);
    const struct id_table *tables[6];
    for (uint32_t round = 0; round < 6; round++) {
        cr_assert_eq(dedup_stat(desk->dedup).ids, round * HOT);
        for (uint32_t i = round * HOT; i < (round + 1) * HOT; i++)
            desk_add(desk, i);
        tables[round] = desk_seal(desk);
        desk_check(desk, (round + 1) * HOT);
    }
    cr_assert_neq(tables[0], tables[1]);
    for (uint32_t round = 2; round < 6; round++)
        cr_assert_eq(tables[round], tables[round - 2]);
    desk_end(desk);
}

// The keeper's part of it, once it was handed over.
static void
desk_touch(struct desk *desk, const struct touch *touch)
{
    cr_assert_not_null(touch);
    dedup_touched(desk->dedup);
    touch_do(touch);
}

// The lookups' memory at once, that of identities when there are some, and a second table when the
// first is half full, which is the next one to be filled.
Test(dedup, has_memory_touched_ahead_of_its_use)
{
    struct desk *desk = desk_begin(1 << 30);
    const struct touch *touch = dedup_touch(desk->dedup);
    cr_assert_not_null(touch);
    cr_assert(touch->has_buckets && touch->entries == 0 && touch->spare == NULL);
    cr_assert_eq(dedup_touch(desk->dedup), touch, "until it is handed over");
    desk_touch(desk, touch);
    cr_assert_null(dedup_touch(desk->dedup));
    desk_fill(desk, 0, HOT / 10);
    touch = dedup_touch(desk->dedup);
    desk_touch(desk, touch);
    cr_assert(!touch->has_buckets && touch->entries == HOT + GROUP && touch->spare == NULL);
    cr_assert_null(dedup_touch(desk->dedup));
    desk_fill(desk, HOT / 10, HOT / 2);
    touch = dedup_touch(desk->dedup);
    desk_touch(desk, touch);
    cr_assert(touch->has_buckets && touch->entries == HOT + GROUP && touch->spare != NULL);
    const struct id_table *next = touch->table;
    cr_assert_neq(desk_seal(desk), next);
    desk_check(desk, HOT / 2);
    desk_fill(desk, HOT / 2, HOT);
    cr_assert_eq(desk_seal(desk), next);
    desk_check(desk, HOT);
    cr_assert_null(dedup_touch(desk->dedup), "once each");
    desk_end(desk);
}

// Nobody takes it over: it is dedup's still.
Test(dedup, keeps_a_second_table_that_is_not_handed_over)
{
    struct desk *desk = desk_begin(1 << 30);
    desk_touch(desk, dedup_touch(desk->dedup));
    desk_fill(desk, 0, HOT / 2);
    desk_touch(desk, dedup_touch(desk->dedup));
    cr_assert_not_null(dedup_touch(desk->dedup)->spare);
    desk_end(desk);
}

// Runs of which never sixteen are as large as the one before them: when there is no room for
// another one, they are merged all the same.
Test(dedup, has_room_for_runs_of_any_sizes)
{
    static const struct {
        uint32_t runs, size;
    } rows[] = {
        {13, 201},
        {1,  200},
        {1,  100},
        {1,  40 },
        {1,  16 },
        {15, 1  }
    };
    struct desk *desk = desk_begin(1 << 30);
    uint32_t runs = 0;
    uint32_t end = 0;
    for (size_t row = 0; row < sizeof rows / sizeof rows[0]; row++) {
        for (uint32_t i = 0; i < rows[row].runs; i++) {
            for (uint32_t k = 0; k < rows[row].size; k++)
                desk_add(desk, end++);
            desk_settle(desk);
            (void)desk_seal(desk);
            cr_assert_eq(generations_view(desk->generations)->list[0].runs_count, ++runs);
        }
    }
    cr_assert_eq(runs, GENERATION_RUNS_MAX);
    desk_settle(desk);
    cr_assert_eq(generations_view(desk->generations)->count, 1);
    cr_assert_eq(generations_view(desk->generations)->list[0].runs_count, 1);
    desk_check(desk, end + 1000);
    desk_end(desk);
}

Test(dedup, finds_a_freed_identity_new_wherever_the_old_one_is)
{
    enum { COUNT = 6000 };
    struct desk *desk = desk_begin(1 << 30);
    desk_fill(desk, 0, COUNT);
    for (uint32_t i = 0; i < COUNT; i += 7) {
        dedup_free(desk->dedup, identity_of(i));
        desk->payloads[i] = 0;
        if (i % 350 == 0)
            desk_block(desk);
    }
    desk_check(desk, COUNT);
    desk_settle(desk);
    desk_check(desk, COUNT);
    desk_fill(desk, COUNT, COUNT + 3000);
    desk_settle(desk);
    desk_check(desk, COUNT + 3000);
    // And known again once it came again.
    for (uint32_t i = 0; i < COUNT; i += 14) {
        dedup_add(desk->dedup, identity_of(i), i + 1);
        desk->payloads[i] = i + 1;
        if (i % 350 == 0)
            desk_block(desk);
    }
    desk_check(desk, COUNT + 3000);
    desk_fill(desk, COUNT + 3000, COUNT + 9000);
    desk_settle(desk);
    desk_check(desk, COUNT + 9000);
    desk_end(desk);
}

Test(dedup, knows_the_same_after_a_reopen)
{
    enum { COUNT = 12000 };
    struct desk *desk = desk_begin(1 << 30);
    for (uint32_t part = 0; part < 4; part++) {
        desk_fill(desk, part * COUNT / 4, (part + 1) * COUNT / 4);
        uint64_t position = generations_view(desk->generations)->position;
        cr_assert_gt(position, 0);
        desk_close(desk);
        desk_open(desk);
        cr_assert_eq(generations_view(desk->generations)->position, position);
        // What a recovery reads from the log.
        for (uint32_t i = (uint32_t)position * 50; i < (part + 1) * COUNT / 4; i++)
            dedup_add(desk->dedup, identity_of(i), i + 1);
        desk_check(desk, COUNT);
    }
    desk_end(desk);
}

// Days of the same load: what is held does not grow, and what is younger than the window is known.
Test(dedup, forgets_whole_generations_after_the_window)
{
    enum { DAYS = 8, COUNT = 2000, PARTS = 4 };
    struct desk *desk = desk_begin(1 << 30);
    uint64_t expired = 0;
    uint32_t end = 0;
    for (int part = 0; part < DAYS * PARTS; part++) {
        desk_fill(desk, end, end + COUNT / PARTS);
        end += COUNT / PARTS;
        desk->now_ns += DAY_NS / PARTS;
        desk_settle(desk);
        cr_assert_geq(dedup_expired(desk->dedup), expired);
        expired = dedup_expired(desk->dedup);
        cr_assert(end <= COUNT || expired * 50 + COUNT <= end, "within the window");
        cr_assert_lt(generations_view(desk->generations)->ids, 4 * COUNT);
        for (uint32_t i = (uint32_t)expired * 50; i < end; i++)
            cr_assert_eq(dedup_find(desk->dedup, identity_of(i), i + 1), DEDUP_SAME);
    }
    cr_assert_gt(expired, (DAYS - 4) * COUNT / 50);
    cr_assert_eq(dedup_find(desk->dedup, identity_of(0), 1), DEDUP_NEW);
    desk->now_ns += 2 * DAY_NS;
    desk_settle(desk);
    cr_assert_eq(generations_view(desk->generations)->count, 0);
    struct tx tx = tx_read(desk->state);
    cr_assert_eq(tx_count(&tx, STATE_DB_RUNS), 0);
    cr_assert_eq(tx_count(&tx, STATE_DB_FILTERS), 0);
    cr_assert_eq(tx_count(&tx, STATE_DB_GENERATIONS), 0);
    tx_done(&tx);
    expired = dedup_expired(desk->dedup);
    desk_close(desk);
    desk_open(desk);
    cr_assert_eq(dedup_expired(desk->dedup), expired);
    desk_end(desk);
}

// --- a crash at every step ---

// So small that runs are merged before their generation is full, and it is full soon.
static void
desk_small(struct desk *desk)
{
    desk->filter_bytes_max = 6000;
    desk->seal_blocks = 2;
    desk->now_ns = 1000 * DAY_NS;
}

// The child fills the desk and dies at its step-th commit (or between two, which is the same on
// disk). True: it got to its end.
static bool
child_dies_at(const char *dir, uint32_t commits)
{
    pid_t child = fork();
    cr_assert_geq(child, 0);
    if (child == 0) {
        struct desk *desk = calloc(1, sizeof *desk);
        (void)snprintf(desk->dir, sizeof desk->dir, "%s", dir);
        desk_small(desk);
        desk_open(desk);
        uint64_t first = env_revision(desk->state);
        bool has_worked = false;
        for (uint32_t i = 0; i < CRASH_IDS; i++) {
            desk_add(desk, i);
            if (i % 50 != 49)
                continue;
            desk_block(desk);
            if (env_revision(desk->state) >= first + commits)
                (void)raise(SIGKILL);
            for (int k = 0; k < 3; k++) {
                desk_step(desk, &has_worked);
                if (env_revision(desk->state) >= first + commits)
                    (void)raise(SIGKILL);
            }
        }
        _exit(0);
    }
    int ended = 0;
    cr_assert_eq(waitpid(child, &ended, 0), child);
    cr_assert(WIFEXITED(ended) || WTERMSIG(ended) == SIGKILL);
    return WIFEXITED(ended);
}

Test(dedup, survives_a_crash_after_every_commit)
{
    bool has_ended = false;
    for (uint32_t commits = 1; !has_ended; commits++) {
        struct desk *desk = calloc(1, sizeof *desk);
        temp_dir_make(desk->dir);
        has_ended = child_dies_at(desk->dir, commits);
        desk_small(desk);
        desk_open(desk);
        // All identities of the blocks up to the position are known, and no other.
        uint32_t known = (uint32_t)generations_view(desk->generations)->position * 50;
        cr_assert_leq(known, CRASH_IDS);
        for (uint32_t i = 0; i < known; i++)
            desk->payloads[i] = i + 1;
        desk_check(desk, CRASH_IDS + 500);
        // And life goes on: nothing that was left over stays.
        desk->block = known / 50;
        desk_fill(desk, known, known + 1000);
        desk_settle(desk);
        desk_check(desk, known + 1500);
        const struct generations_view *view = generations_view(desk->generations);
        uint64_t pages = 0;
        for (uint32_t i = 0; i < view->count; i++) {
            for (uint32_t j = 0; j < view->list[i].runs_count; j++)
                pages += view->list[i].runs[j].pages;
        }
        struct tx tx = tx_read(desk->state);
        cr_assert_eq(tx_count(&tx, STATE_DB_RUNS), pages, "after commit %u", commits);
        tx_done(&tx);
        desk_end(desk);
        cr_assert_lt(commits, 500);
    }
}

// --- damage ---

// Flips a bit of each value of a database in turn. Every identity is found as it was, or the page
// or record is named.
static void
check_damage(uint32_t db, const char *name)
{
    enum { COUNT = 3000 };
    struct error error = {0};
    struct desk *desk = desk_begin(6000);
    desk_fill(desk, 0, COUNT);
    desk_settle(desk);
    struct tx tx = tx_read(desk->state);
    uint64_t values = tx_count(&tx, db);
    tx_done(&tx);
    cr_assert_gt(values, 0);
    for (uint64_t at = 0; at < values; at++) {
        uint8_t *copy = NULL;
        for (int turn = 0; turn < 2; turn++) {
            tx = tx_write(desk->state);
            struct walk walk = walk_open(&tx, db);
            bool more = walk_first(&walk);
            for (uint64_t i = 0; i < at; i++)
                more = more && walk_next(&walk);
            cr_assert(more);
            copy = realloc(copy, walk.value.size);
            memcpy(copy, walk.value.data, walk.value.size);
            copy[spread(at) % walk.value.size] ^= (uint8_t)(1 << at % 8);
            walk_put(&walk, bytes_of(copy, walk.value.size));
            walk_done(&walk);
            succeed(tx_commit(&tx, &error), &error);
            if (turn == 1)
                break;
            desk_close(desk);
            // Filters and records are read at the start.
            const struct env_options options = {
                .map_size = 1 << 30, .dbs = STATE_DBS, .dbs_count = STATE_DB_COUNT};
            succeed(env_open(desk->dir, &options, &desk->state, &error), &error);
            const struct generations_options generations = {
                .state = desk->state,
                .hot_max = HOT,
                .filter_bytes_max = db == STATE_DB_RUNS ? 0 : 1 << 30,
                .window_ns = DAY_NS,
            };
            enum status status = generations_open(&generations, &desk->generations, &error);
            if (db != STATE_DB_RUNS) {
                cr_assert_eq(status, STATUS_CORRUPT);
                cr_assert_not_null(strstr(error.text, name), "%s", error.text);
                continue;
            }
            succeed(status, &error);
            uint32_t failed = 0;
            uint32_t position = (uint32_t)generations_view(desk->generations)->position;
            for (uint32_t i = 0; i < position * 50; i++) {
                struct dedup *dedup = dedup_open(&(struct dedup_options){
                    .state = desk->state, .hot_max = HOT, .group_max = GROUP});
                dedup_adopt(dedup, generations_view(desk->generations));
                enum dedup_result result = dedup_find(dedup, identity_of(i), i + 1);
                cr_assert(result == DEDUP_SAME || result == DEDUP_FAILED, "%u", i);
                if (result == DEDUP_FAILED) {
                    failed++;
                    cr_assert_eq(dedup_error(dedup)->status, STATUS_CORRUPT);
                    cr_assert_not_null(strstr(dedup_error(dedup)->text, name));
                }
                dedup_close(dedup);
            }
            cr_assert_gt(failed, 0);
            generations_close(desk->generations);
        }
        free(copy);
        env_close(desk->state);
        desk_open(desk);
    }
    desk_end(desk);
}

Test(dedup, names_a_damaged_page_and_never_answers_from_it)
{
    check_damage(STATE_DB_RUNS, "run");
}

Test(dedup, names_a_damaged_filter)
{
    check_damage(STATE_DB_FILTERS, "filter");
}

Test(dedup, names_a_damaged_record)
{
    check_damage(STATE_DB_GENERATIONS, "generation");
}

// A page that is gone is seen by what its neighbours cover.
Test(dedup, names_a_missing_page)
{
    enum { COUNT = 3000 };
    struct error error = {0};
    struct desk *desk = desk_begin(0);
    desk_fill(desk, 0, COUNT);
    desk_settle(desk);
    uint32_t known = (uint32_t)generations_view(desk->generations)->position * 50;
    struct tx tx = tx_read(desk->state);
    uint64_t pages = tx_count(&tx, STATE_DB_RUNS);
    tx_done(&tx);
    for (uint64_t at = 0; at < pages; at++) {
        uint8_t key[ENV_KEY_MAX];
        uint8_t value[4096];
        tx = tx_write(desk->state);
        struct walk walk = walk_open(&tx, STATE_DB_RUNS);
        bool more = walk_first(&walk);
        for (uint64_t i = 0; i < at; i++)
            more = more && walk_next(&walk);
        cr_assert(more);
        size_t key_size = walk.key.size;
        size_t value_size = walk.value.size;
        memcpy(key, walk.key.data, key_size);
        memcpy(value, walk.value.data, value_size);
        walk_done(&walk);
        cr_assert(tx_delete(&tx, STATE_DB_RUNS, bytes_of(key, key_size)));
        succeed(tx_commit(&tx, &error), &error);
        // Whoever learned where the pages are while it was there still finds it.
        desk_close(desk);
        desk_open(desk);
        uint32_t failed = 0;
        for (uint32_t i = 0; i < known; i++) {
            struct dedup *dedup = dedup_open(
                &(struct dedup_options){.state = desk->state, .hot_max = HOT, .group_max = GROUP});
            dedup_adopt(dedup, generations_view(desk->generations));
            enum dedup_result result = dedup_find(dedup, identity_of(i), i + 1);
            cr_assert(result == DEDUP_SAME || result == DEDUP_FAILED, "%u", i);
            failed += result == DEDUP_FAILED;
            dedup_close(dedup);
        }
        cr_assert_gt(failed, 0);
        tx = tx_write(desk->state);
        tx_put(&tx, STATE_DB_RUNS, bytes_of(key, key_size), bytes_of(value, value_size));
        succeed(tx_commit(&tx, &error), &error);
    }
    desk_check(desk, known);
    desk_end(desk);
}

Test(dedup, stops_when_a_known_one_is_added, .signal = SIGABRT)
{
    struct desk *desk = desk_begin(0);
    dedup_add(desk->dedup, identity_of(1), 1);
    dedup_add(desk->dedup, identity_of(1), 1);
}

// A block of a time with a larger table: it is sealed within the first block that a start reads.
Test(dedup, a_start_with_a_small_table_forgets_nothing)
{
    enum { EVENTS = 300 };
    struct writing writing;
    struct event_bytes event;
    const struct ledger_options small = {.idle_flush_ns = INT64_MAX / 2, .dedup_hot_max = 16};
    writing_begin(&writing, 1);
    for (int session = 0; session < 2; session++) {
        writing_open(&writing, session == 0 ? NULL : &small);
        for (int i = 0; i < EVENTS; i++) {
            char id[16];
            (void)snprintf(id, sizeof id, "id-%d", i);
            event_make(&event, "s", id, i);
            (void)writing_put(&writing, &event.event);
        }
        writing_wait(&writing);
        cr_assert_eq(writing_count(&writing, session == 0 ? FATE_STORED : FATE_DUPLICATE), EVENTS);
        writing_close(&writing);
    }
    cr_assert_eq(writing_log(&writing).events, EVENTS);
    cr_assert_eq(writing_log(&writing).blocks, 1);
    writing_end(&writing);
}
