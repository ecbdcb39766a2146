#include "ledger/lmdb_env.h"

#include "tests/ledger/writing.h"

#include <criterion/criterion.h>

#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

static const struct env_db_row dbs[] = {
    {"text",   DB_KEY_BYTES},
    {"number", DB_KEY_U64  }
};

enum { TEXT, NUMBER };

static struct env *
open_env(const char *dir, bool is_read_only)
{
    struct error error = {0};
    struct env *env;
    const struct env_options options = {
        .is_read_only = is_read_only, .map_size = 1 << 20, .dbs = dbs, .dbs_count = 2};
    succeed(env_open(dir, &options, &env, &error), &error);
    return env;
}

static void
put_text(struct env *env, const char *key, const char *value)
{
    struct error error = {0};
    struct tx tx = tx_write(env);
    tx_put(&tx, TEXT, bytes_text(key), bytes_text(value));
    succeed(tx_commit(&tx, &error), &error);
}

Test(lmdb_env, keeps_what_was_committed_and_nothing_else)
{
    char dir[64];
    struct bytes value;
    temp_dir_make(dir);
    struct env *env = open_env(dir, false);
    put_text(env, "a", "1");
    {
        scoped(tx_done) struct tx tx = tx_write(env);
        tx_put(&tx, TEXT, bytes_text("b"), bytes_text("2"));
    }
    env_close(env);
    env = open_env(dir, false);
    struct tx tx = tx_read(env);
    cr_assert(tx_get(&tx, TEXT, bytes_text("a"), &value));
    cr_assert(bytes_equal(value, bytes_text("1")));
    cr_assert_not(tx_get(&tx, TEXT, bytes_text("b"), &value));
    cr_assert_eq(tx_count(&tx, TEXT), 1);
    cr_assert_eq(tx_check(&tx, NULL), STATUS_OK);
    tx_done(&tx);
    tx_done(&tx);
    env_close(env);
    temp_dir_remove(dir);
}

Test(lmdb_env, walks_in_key_order_from_where_it_is_told)
{
    char dir[64];
    struct error error = {0};
    temp_dir_make(dir);
    struct env *env = open_env(dir, false);
    const char *const keys[] = {"b", "ab", "abc", "c", "a"};
    for (size_t i = 0; i < 5; i++)
        put_text(env, keys[i], "x");
    struct tx tx = tx_read(env);
    struct walk walk = walk_open(&tx, TEXT);
    const char *const sorted[] = {"a", "ab", "abc", "b", "c"};
    size_t at = 0;
    for (bool more = walk_first(&walk); more; more = walk_next(&walk))
        cr_assert(bytes_equal(walk.key, bytes_text(sorted[at++])));
    cr_assert_eq(at, 5);
    cr_assert(walk_seek(&walk, bytes_text("aba")));
    cr_assert(bytes_equal(walk.key, bytes_text("abc")));
    cr_assert(walk_seek(&walk, bytes_of(NULL, 0)));
    cr_assert(bytes_equal(walk.key, bytes_text("a")));
    cr_assert(walk_last(&walk));
    cr_assert(bytes_equal(walk.key, bytes_text("c")));
    cr_assert_not(walk_seek(&walk, bytes_text("d")));
    walk_done(&walk);
    succeed(tx_check(&tx, &error), &error);
    tx_done(&tx);
    env_close(env);
    temp_dir_remove(dir);
}

Test(lmdb_env, appends_numbers_and_reserves_their_values)
{
    char dir[64];
    struct error error = {0};
    struct bytes value;
    temp_dir_make(dir);
    struct env *env = open_env(dir, false);
    for (uint64_t n = 254; n < 260; n++) {
        struct tx tx = tx_write(env);
        uint8_t *place = tx_append_reserve(&tx, NUMBER, bytes_of(&n, sizeof n), 10000);
        cr_assert_not_null(place);
        memset(place, (int)n, 10000);
        succeed(tx_commit(&tx, &error), &error);
    }
    struct tx tx = tx_read(env);
    const uint64_t wanted = 256;
    cr_assert(tx_get(&tx, NUMBER, bytes_of(&wanted, sizeof wanted), &value));
    cr_assert_eq(value.size, 10000);
    cr_assert_eq(value.data[9999], (uint8_t)256);
    tx_done(&tx);
    // A key that is not the greatest is no append.
    tx = tx_write(env);
    cr_assert_null(tx_append_reserve(&tx, NUMBER, bytes_of(&wanted, sizeof wanted), 1));
    cr_assert_eq(tx_commit(&tx, &error), STATUS_EXISTS);
    cr_assert_not_null(strstr(error.text, "append"));
    env_close(env);
    temp_dir_remove(dir);
}

Test(lmdb_env, overwrites_deletes_and_clears)
{
    char dir[64];
    struct error error = {0};
    temp_dir_make(dir);
    struct env *env = open_env(dir, false);
    put_text(env, "a", "1");
    put_text(env, "b", "2");
    struct tx tx = tx_write(env);
    struct walk walk = walk_open(&tx, TEXT);
    cr_assert(walk_seek(&walk, bytes_text("a")));
    walk_put(&walk, bytes_text("other"));
    walk_done(&walk);
    cr_assert(tx_delete(&tx, TEXT, bytes_text("b")));
    cr_assert_not(tx_delete(&tx, TEXT, bytes_text("b")));
    succeed(tx_commit(&tx, &error), &error);
    tx = tx_write(env);
    struct bytes value;
    cr_assert(tx_get(&tx, TEXT, bytes_text("a"), &value));
    cr_assert(bytes_equal(value, bytes_text("other")));
    cr_assert_eq(tx_count(&tx, TEXT), 1);
    tx_clear(&tx, TEXT);
    cr_assert_eq(tx_count(&tx, TEXT), 0);
    succeed(tx_commit(&tx, &error), &error);
    env_close(env);
    temp_dir_remove(dir);
}

Test(lmdb_env, says_that_the_map_is_full_and_stays_usable)
{
    char dir[64];
    struct error error = {0};
    temp_dir_make(dir);
    struct env *env = open_env(dir, false);
    const uint64_t key = 1;
    struct tx tx = tx_write(env);
    cr_assert_null(tx_append_reserve(&tx, NUMBER, bytes_of(&key, sizeof key), 2 << 20));
    // The first failure sticks: what follows is ignored.
    tx_put(&tx, TEXT, bytes_text("a"), bytes_text("1"));
    cr_assert_eq(tx_commit(&tx, &error), STATUS_FULL);
    cr_assert_not_null(strstr(error.text, "larger map size"), "%s", error.text);
    tx = tx_read(env);
    cr_assert_eq(tx_count(&tx, TEXT), 0);
    tx_done(&tx);
    put_text(env, "a", "1");
    env_close(env);
    temp_dir_remove(dir);
}

Test(lmdb_env, tells_a_reader_that_nothing_is_there)
{
    char dir[64];
    struct error error = {0};
    struct env *env = NULL;
    const struct env_options options = {.is_read_only = true, .dbs = dbs, .dbs_count = 2};
    temp_dir_make(dir);
    cr_assert_eq(env_open(dir, &options, &env, &error), STATUS_NOT_FOUND);
    cr_assert_eq(env_open("/nonexistent/tally", &options, &env, &error), STATUS_NOT_FOUND);
    // What a crash between creating the file and its first page leaves.
    char file[128];
    (void)snprintf(file, sizeof file, "%s/data.mdb", dir);
    FILE *empty = fopen(file, "w");
    cr_assert_not_null(empty);
    (void)fclose(empty);
    cr_assert_eq(env_open(dir, &options, &env, &error), STATUS_NOT_FOUND);
    env_close(open_env(dir, false));
    succeed(env_open(dir, &options, &env, &error), &error);
    env_close(env);
    temp_dir_remove(dir);
}

Test(lmdb_env, shares_one_handle_in_a_process)
{
    char dir[64];
    char other_name[80];
    struct error error = {0};
    struct bytes value;
    temp_dir_make(dir);
    (void)snprintf(other_name, sizeof other_name, "%s/.", dir);
    struct env *writer = open_env(dir, false);
    struct env *reader = open_env(other_name, true);
    cr_assert_eq(writer, reader);
    put_text(writer, "a", "1");
    env_close(writer);
    struct tx tx = tx_read(reader);
    cr_assert(tx_get(&tx, TEXT, bytes_text("a"), &value));
    tx_done(&tx);
    env_close(reader);
    // A reader cannot become a writer.
    reader = open_env(dir, true);
    const struct env_options options = {.map_size = 1 << 20, .dbs = dbs, .dbs_count = 2};
    cr_assert_eq(env_open(dir, &options, &writer, &error), STATUS_BUSY);
    env_close(reader);
    temp_dir_remove(dir);
}

Test(lmdb_env, a_snapshot_stays_until_it_is_renewed)
{
    char dir[64];
    struct bytes value;
    temp_dir_make(dir);
    struct env *env = open_env(dir, false);
    put_text(env, "a", "1");
    uint64_t revision = env_revision(env);
    struct tx tx = tx_read(env);
    put_text(env, "a", "2");
    cr_assert_gt(env_revision(env), revision);
    cr_assert(tx_get(&tx, TEXT, bytes_text("a"), &value));
    cr_assert(bytes_equal(value, bytes_text("1")));
    struct env_stat stat;
    struct error error = {0};
    succeed(env_stat(env, &stat, &error), &error);
    cr_assert_eq(stat.readers_used, 1);
    cr_assert_eq(stat.oldest_reader_txns, 1);
    cr_assert_eq(stat.readers_max, 1024);
    cr_assert_eq(stat.map_size, 1 << 20);
    cr_assert_gt(stat.used_bytes, 0);
    cr_assert_eq(stat.used_bytes, env_used_bytes(env));
    env_forget_cached(env, 0, stat.used_bytes);
    tx_renew(&tx);
    cr_assert(tx_get(&tx, TEXT, bytes_text("a"), &value));
    cr_assert(bytes_equal(value, bytes_text("2")));
    tx_done(&tx);
    env_close(env);
    temp_dir_remove(dir);
}

// Opens the environment in a child of its own, begins to read and dies.
static void
die_reading(const char *dir)
{
    pid_t child = fork();
    cr_assert_geq(child, 0);
    if (child == 0) {
        struct env *env = open_env(dir, true);
        struct tx tx = tx_read(env);
        _exit(tx.status == STATUS_OK ? 0 : 1);
    }
    int status;
    cr_assert_eq(waitpid(child, &status, 0), child);
    cr_assert(WIFEXITED(status) && WEXITSTATUS(status) == 0);
}

Test(lmdb_env, clears_the_slots_of_dead_readers)
{
    char dir[64];
    temp_dir_make(dir);
    struct env *env = open_env(dir, false);
    die_reading(dir);
    put_text(env, "a", "1");
    struct env_stat stat;
    struct error error = {0};
    succeed(env_stat(env, &stat, &error), &error);
    cr_assert_eq(stat.oldest_reader_txns, 1);
    cr_assert_eq(env_clear_dead_readers(env), 1);
    succeed(env_stat(env, &stat, &error), &error);
    cr_assert_eq(stat.oldest_reader_txns, 0);
    env_close(env);
    temp_dir_remove(dir);
}

Test(lmdb_env, lets_the_group_read_and_write)
{
    char dir[64];
    char file[128];
    struct stat stat_of;
    temp_dir_make(dir);
    (void)umask(0077);
    env_close(open_env(dir, false));
    const char *const names[] = {"data.mdb", "lock.mdb"};
    for (size_t i = 0; i < 2; i++) {
        (void)snprintf(file, sizeof file, "%s/%s", dir, names[i]);
        cr_assert_eq(stat(file, &stat_of), 0);
        cr_assert_eq(stat_of.st_mode & 0777, 0660);
    }
    temp_dir_remove(dir);
}

// A crash while it was made: something of its beginning, beside its place.
Test(lmdb_env, makes_anew_what_a_crash_left_unfinished)
{
    char dir[64];
    char file[128];
    temp_dir_make(dir);
    (void)snprintf(file, sizeof file, "%s/data.mdb.new", dir);
    FILE *torn = fopen(file, "w");
    cr_assert_not_null(torn);
    for (int i = 0; i < 4096; i++)
        cr_assert_eq(fputc(0, torn), 0);
    (void)fclose(torn);
    struct env *env = open_env(dir, false);
    put_text(env, "a", "1");
    env_close(env);
    cr_assert_neq(access(file, F_OK), 0);
    env_close(open_env(dir, true));
    temp_dir_remove(dir);
}

Test(lmdb_env, refuses_a_file_that_is_none_of_its_own)
{
    char dir[64];
    char file[128];
    struct error error = {0};
    struct env *env;
    temp_dir_make(dir);
    (void)snprintf(file, sizeof file, "%s/data.mdb", dir);
    FILE *other = fopen(file, "w");
    cr_assert_not_null(other);
    for (int i = 0; i < 10000; i++)
        cr_assert_eq(fputc('x', other), 'x');
    (void)fclose(other);
    const struct env_options options = {.map_size = 1 << 20, .dbs = dbs, .dbs_count = 2};
    cr_assert_eq(env_open(dir, &options, &env, &error), STATUS_CORRUPT);
    cr_assert_not_null(strstr(error.text, "backup"), "%s", error.text);
    temp_dir_remove(dir);
}

Test(lmdb_env, stops_at_a_number_of_another_size, .signal = SIGABRT)
{
    char dir[64];
    temp_dir_make(dir);
    struct env *env = open_env(dir, false);
    struct tx tx = tx_write(env);
    tx_put(&tx, NUMBER, bytes_of("1234", 4), bytes_of("", 0));
}

// A commit shows in the meta page before readers get it: a number taken from there would be ahead
// of the snapshot that is taken next, and what it was taken for would never be looked at again.
Test(lmdb_env, a_snapshot_is_never_behind_a_revision_taken_before)
{
    enum { COMMITS = 300 };
    char dir[64];
    int status;
    temp_dir_make(dir);
    env_close(open_env(dir, false));
    pid_t child = fork();
    cr_assert_geq(child, 0);
    if (child == 0) {
        struct env *env = open_env(dir, false);
        for (int i = 0; i < COMMITS; i++)
            put_text(env, "a", i % 2 == 0 ? "1" : "2");
        _exit(0);
    }
    struct env *env = open_env(dir, true);
    while (waitpid(child, &status, WNOHANG) == 0) {
        uint64_t revision = env_revision(env);
        struct tx tx = tx_read(env);
        cr_assert_geq(tx_revision(&tx), revision);
        tx_done(&tx);
    }
    cr_assert(WIFEXITED(status) && WEXITSTATUS(status) == 0);
    cr_assert_gt(env_revision(env), COMMITS);
    env_close(env);
    temp_dir_remove(dir);
}

// --- damaged pages ---

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

Test(lmdb_env, no_view_reaches_beyond_the_map)
{
    static const uint32_t sizes[] = {1U << 19, 1U << 20, 1U << 26, UINT32_MAX};
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
Test(lmdb_env, views_of_all_pages_are_given)
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

Test(lmdb_env, says_whether_entries_are_missing)
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
