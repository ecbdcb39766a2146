// LMDB behind our own types on damaged files: no view reaches beyond the map, and what a page lost
// is not taken for absent.
#include "ledger/lmdb_env.h"
#include "ledger/lmdb_file.h"
#include "tests/ledger/writing.h"

#include <criterion/criterion.h>

#include <fcntl.h>
#include <stdio.h>
#include <unistd.h>

static const struct env_db_row dbs[] = {
    {"text",    DB_KEY_BYTES  },
    {"guarded", DB_KEY_CHECKED}
};

enum { TEXT, GUARDED };

static struct env *
open_env(const char *dir, bool is_read_only)
{
    struct error error = {0};
    struct env *env;
    const struct env_options options = {
        .is_read_only = is_read_only, .map_size = 4 << 20, .dbs = dbs, .dbs_count = 2};
    succeed(env_open(dir, &options, &env, &error), &error);
    return env;
}

enum { PAGE = 4096, HEADER = 16, NODE_HEADER = 8, ENTRIES = 40 };

// The page of the file in which a key lies, and where in it its entry begins.
struct place {
    uint8_t page[PAGE];
    off_t offset;
    size_t node;
};

static struct place
place_of(const char *dir, const char *key)
{
    struct place place;
    uint64_t number;
    struct env *env = open_env(dir, true);
    struct tx tx = tx_read(env);
    struct walk walk = walk_open(&tx, TEXT);
    cr_assert(walk_seek(&walk, bytes_text(key)));
    size_t at = (uintptr_t)walk.key.data % PAGE;
    memcpy(place.page, walk.key.data - at, PAGE);
    memcpy(&number, place.page, sizeof number);
    place.offset = (off_t)(number * PAGE);
    place.node = at - NODE_HEADER;
    walk_done(&walk);
    tx_done(&tx);
    env_close(env);
    return place;
}

static void
place_put(const char *dir, const struct place *place, const uint8_t page[PAGE])
{
    char path[128];
    (void)snprintf(path, sizeof path, "%s/data.mdb", dir);
    int fd = open(path, O_WRONLY);
    cr_assert_geq(fd, 0);
    cr_assert_eq(pwrite(fd, page, PAGE, place->offset), PAGE);
    (void)close(fd);
}

static void
fill(const char *dir, const char *value)
{
    struct env *env = open_env(dir, false);
    struct error error = {0};
    char key[8];
    struct tx tx = tx_write(env);
    for (int i = 0; i < ENTRIES; i++) {
        (void)snprintf(key, sizeof key, "key-%02d", i);
        tx_put(&tx, TEXT, bytes_text(key), bytes_text(value));
    }
    succeed(tx_commit(&tx, &error), &error);
    env_close(env);
}

// What is refused of the entry, by all who may read it.
static void
check_refused(const char *dir, const char *key, bool is_read_only)
{
    struct error error = {0};
    struct bytes value;
    struct env *env = open_env(dir, is_read_only);
    struct tx tx = is_read_only ? tx_read(env) : tx_write(env);
    cr_assert_not(tx_get(&tx, TEXT, bytes_text(key), &value));
    cr_assert_eq(tx_check(&tx, &error), STATUS_CORRUPT);
    cr_assert_not_null(strstr(error.text, dir), "%s", error.text);
    tx_done(&tx);
    tx = is_read_only ? tx_read(env) : tx_write(env);
    struct walk walk = walk_open(&tx, TEXT);
    size_t seen = 0;
    for (bool more = walk_first(&walk); more; more = walk_next(&walk))
        seen += bytes_compare(walk.key, bytes_text(key)) < 0;
    cr_assert_eq(seen, 7);
    cr_assert_eq(tx_check(&tx, NULL), STATUS_CORRUPT);
    walk_done(&walk);
    tx_done(&tx);
    env_close(env);
}

Test(lmdb_damage, no_view_reaches_beyond_the_map)
{
    static const uint32_t sizes[] = {1U << 19, 4U << 20, 1U << 26, UINT32_MAX};
    char dir[64];
    uint8_t page[PAGE];
    temp_dir_make(dir);
    fill(dir, "value");
    const struct place place = place_of(dir, "key-07");
    for (size_t i = 0; i < sizeof sizes / sizeof sizes[0]; i++) {
        memcpy(page, place.page, PAGE);
        memcpy(page + place.node, &sizes[i], sizeof sizes[i]);
        place_put(dir, &place, page);
        check_refused(dir, "key-07", true);
        check_refused(dir, "key-07", false);
    }
    place_put(dir, &place, place.page);
    struct env *env = open_env(dir, true);
    struct tx tx = tx_read(env);
    struct bytes value;
    cr_assert(tx_get(&tx, TEXT, bytes_text("key-07"), &value));
    tx_done(&tx);
    env_close(env);
    temp_dir_remove(dir);
}

// Pages that a transaction wrote lie outside of the map, and those that a later commit adds are in
// it.
Test(lmdb_damage, views_of_all_pages_are_given)
{
    char dir[64];
    char large[3 * PAGE];
    struct error error = {0};
    struct bytes value;
    temp_dir_make(dir);
    memset(large, 'x', sizeof large - 1);
    large[sizeof large - 1] = '\0';
    struct env *env = open_env(dir, false);
    for (int i = 0; i < ENTRIES; i++) {
        char key[8];
        (void)snprintf(key, sizeof key, "key-%02d", i);
        struct tx tx = tx_write(env);
        tx_put(&tx, TEXT, bytes_text(key), bytes_text(large));
        cr_assert(tx_get(&tx, TEXT, bytes_text(key), &value));
        cr_assert_eq(value.size, sizeof large - 1);
        cr_assert(tx_get(&tx, TEXT, bytes_text("key-00"), &value));
        succeed(tx_commit(&tx, &error), &error);
        tx = tx_read(env);
        cr_assert(tx_get(&tx, TEXT, bytes_text(key), &value));
        cr_assert_eq(value.size, sizeof large - 1);
        tx_done(&tx);
    }
    env_close(env);
    temp_dir_remove(dir);
}

static bool
is_whole(struct bytes key, struct bytes value)
{
    return key.size == 6 && bytes_equal(value, bytes_text("value"));
}

static bool
all_is_whole(const char *dir)
{
    struct env *env = open_env(dir, true);
    struct tx tx = tx_read(env);
    bool all = tx_is_whole(&tx, TEXT, is_whole);
    tx_done(&tx);
    env_close(env);
    return all;
}

Test(lmdb_damage, says_whether_entries_are_missing)
{
    char dir[64];
    uint8_t page[PAGE];
    temp_dir_make(dir);
    fill(dir, "value");
    cr_assert(all_is_whole(dir));
    const struct place place = place_of(dir, "key-07");
    for (uint16_t lower = HEADER + 2; lower < HEADER + 2 * ENTRIES; lower += 2) {
        memcpy(page, place.page, PAGE);
        memcpy(page + 12, &lower, sizeof lower);
        place_put(dir, &place, page);
        cr_assert_not(all_is_whole(dir), "%u", lower);
    }
    // The same entry twice in place of two.
    memcpy(page, place.page, PAGE);
    memcpy(page + HEADER, page + HEADER + 2, 2);
    place_put(dir, &place, page);
    cr_assert_not(all_is_whole(dir));
    memcpy(page, place.page, PAGE);
    page[place.node + NODE_HEADER] ^= 1;
    place_put(dir, &place, page);
    cr_assert_not(all_is_whole(dir));
    place_put(dir, &place, place.page);
    cr_assert(all_is_whole(dir));
    temp_dir_remove(dir);
}

// --- pages that are looked at ---

enum { GUARDED_ENTRIES = 900, OPERATIONS = 4000, KEY_MAX = 60, VALUE_MAX = 3000 };

static void
guarded_key(uint32_t number, char out[16])
{
    (void)snprintf(out, 16, "guarded-%04u", number);
}

static void
guarded_fill(const char *dir)
{
    struct env *env = open_env(dir, false);
    struct error error = {0};
    char key[16];
    struct tx tx = tx_write(env);
    for (uint32_t i = 0; i < GUARDED_ENTRIES; i++) {
        guarded_key(i, key);
        tx_put(&tx, GUARDED, bytes_text(key), bytes_text("some value of some size"));
    }
    succeed(tx_commit(&tx, &error), &error);
    env_close(env);
}

// Everything is there, or it is said that a page is damaged. Returns how often it was said.
static uint32_t
guarded_read(const char *dir, uint32_t seed)
{
    struct env *env = open_env(dir, true);
    struct bytes value;
    char key[16];
    uint32_t seen = 0;
    uint32_t refused = 0;
    struct tx tx = tx_read(env);
    struct walk walk = walk_open(&tx, GUARDED);
    for (bool more = walk_first(&walk); more; more = walk_next(&walk))
        seen++;
    walk_done(&walk);
    refused += tx_check(&tx, NULL) != STATUS_OK;
    cr_assert(seen == GUARDED_ENTRIES || refused > 0, "%u", seen);
    tx_done(&tx);
    for (uint32_t i = seed % 90; i < GUARDED_ENTRIES; i += 90) {
        tx = tx_read(env);
        guarded_key(i, key);
        walk = walk_open(&tx, GUARDED);
        bool is_there = tx_get(&tx, GUARDED, bytes_text(key), &value);
        bool is_met = walk_seek(&walk, bytes_text(key)) && bytes_equal(walk.key, bytes_text(key));
        bool is_damaged = tx_check(&tx, NULL) == STATUS_CORRUPT;
        cr_assert((is_there && is_met) || is_damaged, "%s", key);
        refused += is_damaged;
        walk_done(&walk);
        tx_done(&tx);
    }
    env_close(env);
    return refused;
}

// Nothing is written over a damaged page: what it still has would be gone for good.
static uint32_t
guarded_write(const char *dir, uint32_t seed)
{
    struct env *env = open_env(dir, false);
    char key[16];
    uint32_t refused = 0;
    for (uint32_t i = seed % 90; i < GUARDED_ENTRIES; i += 90) {
        scoped(tx_done) struct tx deleting = tx_write(env);
        guarded_key(i, key);
        cr_assert(tx_delete(&deleting, GUARDED, bytes_text(key)) || deleting.status != STATUS_OK);
        bool is_refused = tx_check(&deleting, NULL) == STATUS_CORRUPT;
        tx_done(&deleting);
        scoped(tx_done) struct tx putting = tx_write(env);
        tx_put(&putting, GUARDED, bytes_text(key), bytes_text("another"));
        cr_assert_eq(tx_check(&putting, NULL) == STATUS_CORRUPT, is_refused);
        refused += is_refused;
    }
    env_close(env);
    return refused;
}

static uint32_t
guarded_try(const char *dir, const struct place *place, uint32_t seed, uint32_t *out_written)
{
    uint8_t page[PAGE];
    uint32_t refused = 0;
    uint16_t lower;
    memcpy(page, place->page, PAGE);
    memcpy(&lower, page + 12, sizeof lower);
    for (uint16_t bit = 2; bit <= 1024; bit = (uint16_t)(bit * 2)) {
        const uint16_t other = lower ^ bit;
        if (other <= HEADER || other > lower)
            continue;
        memcpy(page + 12, &other, sizeof other);
        place_put(dir, place, page);
        cr_assert_gt(guarded_read(dir, seed), 0, "%u of %u", other, lower);
        *out_written += guarded_write(dir, seed);
        refused++;
    }
    memcpy(page, place->page, PAGE);
    memcpy(page + HEADER, page + HEADER + 2, 2);
    place_put(dir, place, page);
    cr_assert_gt(guarded_read(dir, seed), 0);
    place_put(dir, place, place->page);
    return refused;
}

// Leaves and branches of the newest commit: the file has no other one of these.
Test(lmdb_damage, an_entry_that_a_page_lost_is_no_absence, .timeout = 120)
{
    char dir[64];
    char path[128];
    struct place place;
    uint32_t written = 0;
    uint32_t tried = 0;
    uint32_t branches = 0;
    temp_dir_make(dir);
    guarded_fill(dir);
    cr_assert_eq(guarded_read(dir, 0), 0);
    cr_assert_eq(guarded_write(dir, 0), 0);
    (void)snprintf(path, sizeof path, "%s/data.mdb", dir);
    int fd = open(path, O_RDONLY);
    cr_assert_geq(fd, 0);
    for (off_t at = 2 * PAGE; pread(fd, place.page, PAGE, at) == PAGE; at += PAGE) {
        uint16_t flags;
        uint16_t node;
        memcpy(&flags, place.page + 10, sizeof flags);
        memcpy(&node, place.page + HEADER + 2, sizeof node);
        place.offset = at;
        if ((flags != 1 && flags != 2) || node > PAGE - NODE_HEADER - 8 ||
            memcmp(place.page + node + NODE_HEADER, "guarded-", 8) != 0)
            continue;
        branches += flags == 1;
        tried += guarded_try(dir, &place, (uint32_t)(at / PAGE), &written);
    }
    (void)close(fd);
    cr_assert_gt(branches, 0);
    cr_assert_gt(tried, 20);
    cr_assert_gt(written, tried / 2);
    cr_assert_eq(guarded_read(dir, 0), 0);
    temp_dir_remove(dir);
}

static uint64_t
draw(uint64_t *random, uint64_t below)
{
    *random = *random * 6364136223846793005 + 1442695040888963407;
    return (*random >> 33) % below;
}

static void
guarded_change(struct tx *tx, uint64_t *random)
{
    static const char letters[VALUE_MAX] = "x";
    char key[KEY_MAX + 1];
    struct bytes found;
    const uint64_t number = draw(random, GUARDED_ENTRIES);
    const size_t size = 4 + number * 7 % (KEY_MAX - 4);
    (void)snprintf(key, sizeof key, "%04u%056u", (unsigned)number, 0U);
    const struct bytes whole = bytes_of(key, size);
    if (draw(random, 3) == 0) {
        (void)tx_delete(tx, GUARDED, whole);
    } else {
        const size_t large = draw(random, 10) == 0 ? VALUE_MAX : 90;
        tx_put(tx, GUARDED, whole, bytes_of(letters, draw(random, large)));
        cr_assert(tx_get(tx, GUARDED, whole, &found));
    }
}

// What LMDB makes of pages that grow, split, shrink and merge is never taken for damage.
Test(lmdb_damage, sound_pages_are_whole, .timeout = 120)
{
    char dir[64];
    struct error error = {0};
    uint64_t random = 7;
    temp_dir_make(dir);
    struct env *env = open_env(dir, false);
    for (int i = 0; i < OPERATIONS; i += 50) {
        struct tx tx = tx_write(env);
        for (int j = 0; j < 50; j++)
            guarded_change(&tx, &random);
        succeed(tx_commit(&tx, &error), &error);
        tx = tx_read(env);
        uint64_t left = tx_count(&tx, GUARDED);
        struct walk walk = walk_open(&tx, GUARDED);
        for (bool more = walk_last(&walk); more; more = walk_previous(&walk))
            left--;
        cr_assert_eq(left, 0);
        cr_assert_eq(tx_check(&tx, &error), STATUS_OK, "%s", error.text);
        walk_done(&walk);
        tx_done(&tx);
    }
    env_close(env);
    temp_dir_remove(dir);
}

// --- the list of databases ---

static bool
page_has_name(const uint8_t page[PAGE])
{
    uint16_t flags;
    uint16_t node;
    memcpy(&flags, page + 10, sizeof flags);
    memcpy(&node, page + HEADER, sizeof node);
    return flags == 2 && node < PAGE - 60 && memcmp(page + node + NODE_HEADER, "guarded", 7) == 0;
}

// It is opened, and then nothing is known, or refused: never is there a crash.
static bool
open_is_refused(const char *dir)
{
    struct error error = {0};
    struct env *env = NULL;
    const struct env_options options = {.is_read_only = true, .dbs = dbs, .dbs_count = 2};
    enum status status = env_open(dir, &options, &env, &error);
    cr_assert(status == STATUS_OK || status == STATUS_CORRUPT, "%d %s", status, error.text);
    env_close(env);
    return status != STATUS_OK;
}

Test(lmdb_damage, a_damaged_list_of_databases_crashes_nobody, .timeout = 60)
{
    static const uint8_t noises[] = {0x00, 0xff, 0x5a, 0xa7};
    char dir[64];
    char path[128];
    struct place place;
    uint8_t page[PAGE];
    uint32_t tried = 0;
    uint32_t refused = 0;
    temp_dir_make(dir);
    fill(dir, "value");
    (void)snprintf(path, sizeof path, "%s/data.mdb", dir);
    int fd = open(path, O_RDONLY);
    cr_assert_geq(fd, 0);
    for (off_t at = 2 * PAGE; pread(fd, place.page, PAGE, at) == PAGE; at += PAGE) {
        place.offset = at;
        for (size_t i = 0; page_has_name(place.page) && i < sizeof noises; i++) {
            for (size_t byte = 0; byte < PAGE; byte += byte < 40 || byte > PAGE - 200 ? 1 : 512) {
                memcpy(page, place.page, PAGE);
                page[byte] ^= noises[i] | 1;
                place_put(dir, &place, page);
                refused += open_is_refused(dir);
                memset(page + byte, noises[i], byte < PAGE - 64 ? 64 : PAGE - byte);
                place_put(dir, &place, page);
                refused += open_is_refused(dir);
                tried += 2;
            }
        }
        place_put(dir, &place, place.page);
    }
    (void)close(fd);
    cr_assert_gt(tried, 0);
    cr_assert_gt(refused, tried / 8);
    cr_assert_not(open_is_refused(dir));
    temp_dir_remove(dir);
}

// --- all pages at once ---

static void
count_finding(void *context, uint64_t page, const char *tree, const char *what)
{
    (void)page;
    (void)tree;
    (void)what;
    *(uint32_t *)context += 1;
}

static uint32_t
findings(const char *dir)
{
    struct error error = {0};
    uint32_t count = 0;
    struct env *env = open_env(dir, true);
    succeed(
        env_check(
            env, &(struct env_file_check){.on_finding = count_finding, .context = &count}, &error),
        &error);
    env_close(env);
    return count;
}

// How many entries a page has, and where they begin: each bit.
Test(lmdb_damage, a_check_of_all_pages_sees_each_bit_of_a_pages_bounds, .timeout = 60)
{
    char dir[64];
    uint8_t page[PAGE];
    temp_dir_make(dir);
    fill(dir, "value");
    cr_assert_eq(findings(dir), 0);
    const struct place place = place_of(dir, "key-07");
    for (uint32_t bit = 0; bit < 32; bit++) {
        memcpy(page, place.page, PAGE);
        page[12 + bit / 8] ^= (uint8_t)(1U << (bit % 8));
        place_put(dir, &place, page);
        cr_assert_gt(findings(dir), 0, "bit %u", bit);
    }
    place_put(dir, &place, place.page);
    cr_assert_eq(findings(dir), 0);
    temp_dir_remove(dir);
}

// Else the system has no memory for it, and that is what would be said.
Test(lmdb_damage, a_map_size_that_cannot_be_is_damage)
{
    char dir[64];
    struct place place = {.offset = 0};
    uint8_t page[PAGE];
    char path[128];
    temp_dir_make(dir);
    fill(dir, "value");
    (void)snprintf(path, sizeof path, "%s/data.mdb", dir);
    int fd = open(path, O_RDONLY);
    cr_assert_geq(fd, 0);
    for (; place.offset < 2 * PAGE; place.offset += PAGE) {
        cr_assert_eq(pread(fd, place.page, PAGE, place.offset), PAGE);
        for (uint32_t bit = 47; bit < 64; bit++) {
            memcpy(page, place.page, PAGE);
            page[32 + bit / 8] ^= (uint8_t)(1U << (bit % 8));
            place_put(dir, &place, page);
            cr_assert(open_is_refused(dir), "bit %u", bit);
        }
        place_put(dir, &place, place.page);
    }
    (void)close(fd);
    cr_assert_not(open_is_refused(dir));
    temp_dir_remove(dir);
}
