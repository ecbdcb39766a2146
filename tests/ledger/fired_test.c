// Marks of thresholds that fired: numbers without gaps, and none that a page lost.
#include "ledger/fired.h"

#include "tests/ledger/writing.h"

#include <criterion/criterion.h>

#include <fcntl.h>
#include <stdio.h>
#include <sys/stat.h>
#include <unistd.h>

enum { MARKS = 60, PAGE = 4096, HEADER = 16, LOWER = 12 };

static struct env *
open_marks(const char *dir)
{
    struct env *env = NULL;
    struct error error = {0};
    succeed(fired_open(dir, 0, 8 << 20, &env, &error), &error);
    return env;
}

static enum status
put_mark(struct env *env, uint32_t number, struct error *error)
{
    char subject[16];
    (void)snprintf(subject, sizeof subject, "s-%u", number);
    const struct fired one = {.threshold_id = 7, .block = 1, .subject = bytes_text(subject)};
    struct tx tx = tx_write(env);
    enum status status = fired_put(&tx, &one, error);
    if (!status)
        status = tx_commit(&tx, error);
    tx_done(&tx);
    return status;
}

static enum status
list_marks(struct env *env, uint64_t since, uint32_t max, uint32_t *out_count)
{
    scoped(arena_done) struct arena arena = {0};
    scoped(tx_done) struct tx tx = tx_read(env);
    struct fired *list;
    struct error error = {0};
    *out_count = 0;
    return fired_list(&tx, since, max, &arena, &list, out_count, &error);
}

static void
begin(char dir[64])
{
    char path[128];
    struct error error = {0};
    temp_dir_make(dir);
    (void)snprintf(path, sizeof path, "%s/shards", dir);
    cr_assert_eq(mkdir(path, 0700), 0);
    (void)snprintf(path, sizeof path, "%s/shards/0000", dir);
    cr_assert_eq(mkdir(path, 0700), 0);
    struct env *env = open_marks(dir);
    for (uint32_t i = 0; i < MARKS; i++)
        succeed(put_mark(env, i, &error), &error);
    env_close(env);
}

Test(fired, are_listed_in_order_from_any_number)
{
    char dir[64];
    uint32_t count;
    begin(dir);
    struct env *env = open_marks(dir);
    cr_assert_eq(list_marks(env, 0, 100, &count), STATUS_OK);
    cr_assert_eq(count, MARKS);
    cr_assert_eq(list_marks(env, 0, 10, &count), STATUS_OK);
    cr_assert_eq(count, 10);
    cr_assert_eq(list_marks(env, MARKS - 3, 100, &count), STATUS_OK);
    cr_assert_eq(count, 3);
    cr_assert_eq(list_marks(env, MARKS, 100, &count), STATUS_OK);
    cr_assert_eq(list_marks(env, UINT64_MAX, 100, &count), STATUS_OK);
    cr_assert_eq(count, 0);
    env_close(env);
    temp_dir_remove(dir);
}

// The page of the last number says that it has fewer entries.
static off_t
lower_place(struct env *env, uint16_t *out)
{
    uint64_t number;
    struct tx tx = tx_read(env);
    struct walk walk = walk_open(&tx, FIRED_DB);
    cr_assert(walk_last(&walk));
    const uint8_t *page = walk.key.data - (uintptr_t)walk.key.data % PAGE;
    memcpy(&number, page, sizeof number);
    memcpy(out, page + LOWER, sizeof *out);
    walk_done(&walk);
    tx_done(&tx);
    return (off_t)(number * PAGE + LOWER);
}

Test(fired, a_number_is_not_given_again_for_what_a_page_lost)
{
    char dir[64];
    char path[128];
    uint16_t lower;
    uint32_t count;
    struct error error = {0};
    begin(dir);
    struct env *env = open_marks(dir);
    off_t at = lower_place(env, &lower);
    (void)snprintf(path, sizeof path, "%s/shards/0000/fired/data.mdb", dir);
    int fd = open(path, O_WRONLY);
    cr_assert_geq(fd, 0);
    for (uint16_t less = 2; lower - less > HEADER; less = (uint16_t)(less + 6)) {
        const uint16_t other = (uint16_t)(lower - less);
        cr_assert_eq(pwrite(fd, &other, sizeof other, at), 2);
        cr_assert_eq(list_marks(env, 0, 100, &count), STATUS_CORRUPT, "%u", other);
        cr_assert_eq(put_mark(env, MARKS, &error), STATUS_CORRUPT);
    }
    cr_assert_eq(pwrite(fd, &lower, sizeof lower, at), 2);
    (void)close(fd);
    succeed(put_mark(env, MARKS, &error), &error);
    env_close(env);
    temp_dir_remove(dir);
}
