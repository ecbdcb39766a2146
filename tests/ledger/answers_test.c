#include "ledger/answers.h"

#include "base/clock.h"
#include "ledger/control.h"
#include "ledger/correct.h"
#include "ledger/intake.h"
#include "ledger/memory_wire.h"
#include "tests/ledger/watching.h"

#include <criterion/criterion.h>

#include <pthread.h>
#include <stdio.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

// Answers of a running ledger of one shard while its writer, or its keeper, is held in a sync: the
// function below stands before the C library's, also for LMDB, and does not come back before it is
// told to.

enum { HOLD_S = 120, ANSWER_S = 60 };

static pthread_mutex_t hold_lock = PTHREAD_MUTEX_INITIALIZER;
static pthread_cond_t hold_changed = PTHREAD_COND_INITIALIZER;
static const char *hold_file;  // files that end so; NULL: none
static uint32_t held;          // threads in it

static struct timespec
hold_deadline(void)
{
    struct timespec deadline;
    (void)clock_gettime(CLOCK_REALTIME, &deadline);
    deadline.tv_sec += HOLD_S;
    return deadline;
}

static bool
hold_is_for(const char *path)
{
    size_t size = strlen(path);
    size_t end = hold_file != NULL ? strlen(hold_file) : SIZE_MAX;
    return size >= end && strcmp(path + size - end, hold_file) == 0;
}

int
fdatasync(int fd)
{
    char link[64];
    char path[4096] = "";
    (void)snprintf(link, sizeof link, "/proc/self/fd/%d", fd);
    ssize_t size = readlink(link, path, sizeof path - 1);
    path[size > 0 ? size : 0] = '\0';
    struct timespec deadline = hold_deadline();
    (void)pthread_mutex_lock(&hold_lock);
    bool is_held = hold_is_for(path);
    held += is_held;
    (void)pthread_cond_broadcast(&hold_changed);
    int rc = 0;
    while (rc == 0 && hold_is_for(path))
        rc = pthread_cond_timedwait(&hold_changed, &hold_lock, &deadline);
    held -= is_held;
    (void)pthread_mutex_unlock(&hold_lock);
    return (int)syscall(SYS_fdatasync, fd);
}

static void
hold(const char *file)
{
    (void)pthread_mutex_lock(&hold_lock);
    hold_file = file;
    (void)pthread_cond_broadcast(&hold_changed);
    (void)pthread_mutex_unlock(&hold_lock);
}

static void
held_await(void)
{
    struct timespec deadline = hold_deadline();
    int rc = 0;
    (void)pthread_mutex_lock(&hold_lock);
    while (rc == 0 && held == 0)
        rc = pthread_cond_timedwait(&hold_changed, &hold_lock, &deadline);
    (void)pthread_mutex_unlock(&hold_lock);
    cr_assert_eq(rc, 0, "nothing is synced");
}

static const char log_file[] = "/log/data.mdb";

// A sum with a threshold of 100 a day; "a" has used 60, and all is folded.
static void
begin(struct writing *writing, const struct ledger_options *options)
{
    writing_begin(writing, 1);
    watching_meter(writing, "n", AGGREGATION_SUM);
    (void)watching_threshold(writing, &watching_hundred);
    writing_open(writing, options);
    watching_put(writing, "a", 60, writing_now_ns);
}

static void
end(struct writing *writing)
{
    writing_close(writing);
    writing_end(writing);
}

// Puts it without waiting for its fate.
static void
offer(struct writing *writing, const char *subject, int64_t n)
{
    struct event_bytes event;
    char id[16];
    (void)snprintf(id, sizeof id, "%u", watching_serial++);
    event_make(&event, subject, id, n);
    (void)writing_put(writing, &event.event);
    intake_offer(writing->intake);
}

struct reader {
    struct memory_client *client;
};

static struct reader
reader_open(const struct writing *writing)
{
    struct reader reader;
    struct error error = {0};
    succeed(memory_client_open(writing->dir, &reader.client, &error), &error);
    memory_client_wait(reader.client, ANSWER_S);
    return reader;
}

static int64_t
used(struct reader *reader, const char *subject)
{
    struct quota quota;
    struct error error = {0};
    int64_t now_s = writing_now_ns / SECOND_NS;
    enum { HUNDRED_ID = 2 };
    succeed(
        memory_ask_quota(reader->client, 0, HUNDRED_ID, bytes_text(subject), now_s, &quota, &error),
        &error);
    return watching_whole(&quota.used);
}

// Blocks that the cells of "a" in memory reach to.
static uint64_t
cells_head(struct reader *reader, uint32_t *out_cells)
{
    const struct memory_request request = {
        .meter_id = 1, .subject = bytes_text("a"), .to_s = writing_now_ns / SECOND_NS + 86400};
    struct memory_reply reply = {0};
    struct error error = {0};
    succeed(memory_ask(reader->client, &request, &reply, &error), &error);
    *out_cells = reply.cells_count;
    return reply.head;
}

Test(answers, come_while_the_writer_is_held_in_its_commit, .timeout = 300)
{
    struct writing writing;
    uint32_t cells = 0;
    begin(&writing, NULL);
    struct reader reader = reader_open(&writing);
    hold(log_file);
    offer(&writing, "a", 7);
    held_await();
    // What is not acked need not be there.
    cr_assert_eq(used(&reader, "a"), 60);
    cr_assert_eq(used(&reader, "nobody"), 0);
    cr_assert_eq(cells_head(&reader, &cells), 1);
    cr_assert_eq(cells, 1);
    hold(NULL);
    writing_wait(&writing);
    cr_assert_eq(used(&reader, "a"), 67);
    cr_assert_eq(cells_head(&reader, &cells), 2);
    memory_client_close(reader.client);
    end(&writing);
}

Test(answers, come_while_the_end_of_the_log_is_synced, .timeout = 300)
{
    struct writing writing;
    struct writing *const it = &writing;
    writing_begin(it, 1);
    watching_meter(it, "n", AGGREGATION_SUM);
    (void)watching_threshold(it, &watching_hundred);
    writing_open(it, NULL);
    struct reader reader = reader_open(it);
    hold("/head");
    watching_put(it, "a", 60, writing_now_ns);
    held_await();
    cr_assert_eq(used(&reader, "a"), 60);
    hold(NULL);
    memory_client_close(reader.client);
    end(it);
}

static void *
cancel_main(void *argument)
{
    struct writing *writing = argument;
    watching_correct(writing, "a", "named", -1);
    return NULL;
}

Test(answers, come_while_a_change_is_committed, .timeout = 300)
{
    struct writing writing;
    pthread_t thread;
    begin(&writing, NULL);
    watching_put_named(&writing, "a", "named", 5);
    struct reader reader = reader_open(&writing);
    hold(log_file);
    cr_assert_eq(pthread_create(&thread, NULL, cancel_main, &writing), 0);
    held_await();
    cr_assert_eq(used(&reader, "a"), 65);
    hold(NULL);
    cr_assert_eq(pthread_join(thread, NULL), 0);
    cr_assert_eq(used(&reader, "a"), 60);
    memory_client_close(reader.client);
    end(&writing);
}

Test(answers, come_while_the_keeper_is_held_in_its_flush, .timeout = 300)
{
    static const struct ledger_options options = {.idle_flush_ns = 1000000};
    struct writing writing;
    uint32_t cells = 0;
    hold("/state/data.mdb");
    begin(&writing, &options);
    held_await();
    struct reader reader = reader_open(&writing);
    cr_assert_eq(used(&reader, "a"), 60);
    cr_assert_eq(cells_head(&reader, &cells), 1);
    cr_assert_eq(cells, 1);
    watching_put(&writing, "a", 1, writing_now_ns);
    cr_assert_eq(used(&reader, "a"), 61);
    hold(NULL);
    memory_client_close(reader.client);
    end(&writing);
}

Test(answers, come_while_marks_are_written, .timeout = 300)
{
    struct writing writing;
    begin(&writing, NULL);
    struct reader reader = reader_open(&writing);
    hold("/fired/data.mdb");
    watching_put(&writing, "a", 40, writing_now_ns);
    held_await();
    cr_assert_eq(used(&reader, "a"), 100);
    hold(NULL);
    watching_wait(&writing, 1);
    memory_client_close(reader.client);
    end(&writing);
}

// A large block takes a while to be folded, and is acked before that.
Test(answers, hold_what_was_acked, .timeout = 300)
{
    enum { ROUNDS = 20, OTHERS = 5000 };
    struct writing writing;
    begin(&writing, NULL);
    struct reader reader = reader_open(&writing);
    for (uint32_t i = 0; i < ROUNDS; i++) {
        hold(log_file);
        offer(&writing, "first", 1);
        held_await();
        for (uint32_t k = 0; k < OTHERS; k++) {
            char subject[16];
            (void)snprintf(subject, sizeof subject, "s%u", k);
            offer(&writing, subject, 1);
        }
        offer(&writing, "a", 1);
        hold(NULL);
        writing_wait(&writing);
        cr_assert_eq(used(&reader, "a"), 61 + i);
    }
    memory_client_close(reader.client);
    end(&writing);
}
