#include "ledger/lmdb_env.h"

#include "tests/ledger/writing.h"

#include <criterion/criterion.h>

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

// Puts values into one commit and reads them in it. Not asserted, for a child does it.
static bool
reads_what_is_not_committed(const char *dir)
{
    enum { VALUES = 133000, SIZE = 4000 };
    static const uint8_t bytes[SIZE] = {1, 2, 3};
    const struct env_options options = {.map_size = 1 << 30, .dbs = dbs, .dbs_count = 2};
    struct error error = {0};
    struct bytes value;
    struct env *env;
    if (env_open(dir, &options, &env, &error))
        return false;
    struct tx tx = tx_write(env);
    for (uint64_t key = 1; key <= VALUES; key++)
        tx_put(&tx, NUMBER, bytes_of(&key, sizeof key), bytes_of(bytes, SIZE));
    for (uint64_t key = 1; key <= VALUES; key++)
        if (!tx_get(&tx, NUMBER, bytes_of(&key, sizeof key), &value) ||
            !bytes_equal(value, bytes_of(bytes, SIZE)))
            return false;
    return tx_check(&tx, &error) == STATUS_OK;
}

// LMDB keeps 131,071 written pages in memory, and writes more than these to the file before the
// commit: what it reads from there is as good as any. In a child that ends at once, since LMDB
// 0.9.24 leaks its list of them.
Test(lmdb_env, gives_what_a_large_commit_has_written_ahead, .timeout = 120)
{
    char dir[64];
    int status;
    temp_dir_make(dir);
    pid_t child = fork();
    cr_assert_geq(child, 0);
    if (child == 0)
        _exit(reads_what_is_not_committed(dir) ? 0 : 1);
    cr_assert_eq(waitpid(child, &status, 0), child);
    cr_assert(WIFEXITED(status) && WEXITSTATUS(status) == 0, "ended with %d", status);
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
