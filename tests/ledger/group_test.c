// Users of the ledger's group ask it without its secret. Wants root, to become another user.

#include "ledger/usage.h"
#include "tests/ledger/operating.h"

#include <criterion/criterion.h>

#include <grp.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

enum { NOBODY = 65534 };

// Exit codes of the child, so that the test can say what went wrong.
enum { ASKED, NO_USER, SAW_SECRET, NO_SHAPE, NO_READER, NO_ANSWER, WRONG_ANSWER };

static int
ask(const char *dir, uint64_t expected)
{
    struct error error = {0};
    struct ledger_conf conf;
    struct reader *reader;
    struct usage_result result;
    struct arena arena = {0};
    const struct usage_query query = {.meter = "calls", .from_ns = INT64_MIN, .to_ns = INT64_MAX};
    static const struct hash_secret nothing;
    if (ledger_conf_read(dir, &conf, &error) != STATUS_IO)
        return SAW_SECRET;
    if (ledger_shape_read(dir, &conf, &error) || conf.shards != 2 ||
        memcmp(&conf.secret, &nothing, sizeof nothing) != 0)
        return NO_SHAPE;
    if (reader_open(dir, &reader, &error))
        return NO_READER;
    if (usage_query(reader, &query, &arena, &result, &error))
        return NO_ANSWER;
    uint64_t count = 0;
    for (size_t i = 0; i < result.count; i++)
        count += result.rows[i].count;
    reader_close(reader);
    arena_done(&arena);
    return count == expected ? ASKED : WRONG_ANSWER;
}

static void
ask_as(gid_t group, const char *dir, uint64_t expected, int expected_code)
{
    int code = 0;
    pid_t child = fork();
    cr_assert_geq(child, 0);
    if (child == 0) {
        bool is_other =
            setgroups(0, NULL) == 0 && setgid(group) == 0 && setuid(NOBODY) == 0 && getuid() != 0;
        _exit(is_other ? ask(dir, expected) : NO_USER);
    }
    cr_assert_eq(waitpid(child, &code, 0), child);
    cr_assert(WIFEXITED(code));
    cr_assert_eq(WEXITSTATUS(code), expected_code, "code %d", WEXITSTATUS(code));
}

Test(group, asks_without_the_secret_beside_a_writer_and_without)
{
    if (getuid() != 0)
        cr_skip_test("wants root, to become another user");
    struct error error = {0};
    struct writing writing = {.seed = 1};
    char root[64];
    temp_dir_make(root);
    // What is made below it belongs to this group.
    cr_assert_eq(chown(root, (uid_t)-1, NOBODY), 0);
    cr_assert_eq(chmod(root, 02770), 0);
    (void)snprintf(writing.dir, sizeof writing.dir, "%s/data", root);
    const struct ledger_create_options options = {.shards = 2, .map_size = 64 << 20};
    (void)umask(0077);
    succeed(ledger_create(writing.dir, &options, &error), &error);
    writing.fates = malloc(WRITING_EVENTS_MAX);
    cr_assert_not_null(writing.fates);
    writing_meter(&writing, "calls", "llm", AGGREGATION_COUNT);
    writing_open(&writing, NULL);
    operating_fill(&writing, 100);
    // Nothing is flushed: the answer comes from the writer's memory.
    ask_as(NOBODY, writing.dir, 100, ASKED);
    writing_close(&writing);
    ask_as(NOBODY, writing.dir, 100, ASKED);
    ask_as(NOBODY - 1, writing.dir, 100, NO_SHAPE);
    free(writing.fates);
    temp_dir_remove(root);
}
