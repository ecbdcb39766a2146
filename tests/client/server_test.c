// libtally with the real tallyd: what it says of single events, and a kill -9 in the middle.
#include "base/clock.h"
#include "client/tally.h"
#include "ledger/ledger.h"
#include "ledger/usage.h"

#include <criterion/criterion.h>

#include <ftw.h>
#include <limits.h>
#include <poll.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#define CALL(who, ...)                                                                             \
    {                                                                                              \
        .subject = (who), .type = "call", __VA_ARGS__                                              \
    }

enum { WAIT_MS = 60000, LOOK_MS = 5 };

struct place {
    char dir[64];
    char data[128];
    char unix_name[192];
    pid_t pid;
};

static int
entry_remove(const char *path, const struct stat *info, int type, struct FTW *at)
{
    (void)info;
    (void)type;
    (void)at;
    return remove(path);
}

static void
place_open(struct place *place)
{
    struct error error = {0};
    struct registry *registry = NULL;
    const struct ledger_create_options options = {.shards = 2, .map_size = 1 << 28};
    const struct meter meter = {
        .key = "calls", .event_type = "call", .aggregation = AGGREGATION_SUM};
    (void)snprintf(place->dir, sizeof place->dir, "/tmp/tally-client-XXXXXX");
    cr_assert_not_null(mkdtemp(place->dir));
    (void)snprintf(place->data, sizeof place->data, "%s/data", place->dir);
    (void)snprintf(place->unix_name, sizeof place->unix_name, "unix:%s/tallyd.sock", place->data);
    cr_assert_eq(ledger_create(place->data, &options, &error), STATUS_OK, "%s", error.text);
    cr_assert_eq(registry_open(place->data, &registry, &error), STATUS_OK, "%s", error.text);
    cr_assert_eq(
        registry_put(registry, &meter, clock_now_ns(), NULL, &error), STATUS_OK, "%s", error.text);
    registry_close(registry);
}

static void
place_done(const struct place *place)
{
    cr_assert_eq(nftw(place->dir, entry_remove, 16, FTW_DEPTH | FTW_PHYS), 0);
}

static void
server_start(struct place *place)
{
    char program[PATH_MAX];
    const char *bin = getenv("TALLY_BIN_DIR");
    cr_assert_not_null(bin, "TALLY_BIN_DIR is where the programs are; ctest sets it");
    (void)snprintf(program, sizeof program, "%s/tallyd", bin);
    place->pid = fork();
    cr_assert_geq(place->pid, 0);
    if (place->pid == 0) {
        execl(
            program,
            program,
            "--data",
            place->data,
            "--tcp",
            "none",
            "--metrics",
            "none",
            "--log-level",
            "error",
            (char *)NULL);
        _exit(127);
    }
}

static void
server_end(const struct place *place, int signal)
{
    int wait_status;
    cr_assert_eq(kill(place->pid, signal), 0);
    cr_assert_eq(waitpid(place->pid, &wait_status, 0), place->pid);
    if (signal == SIGTERM)
        cr_assert(WIFEXITED(wait_status) && WEXITSTATUS(wait_status) == 0);
}

static struct tally *
client_open(const struct place *place, tally_refusal_fn on_refusal, void *context)
{
    char error[256] = "";
    const struct tally_options options = {
        .server = place->unix_name,
        .batch_events = 50,
        .batch_age_ms = 2,
        .retry_min_ms = 1,
        .retry_max_ms = 20,
        .on_refusal = on_refusal,
        .context = context,
    };
    struct tally *tally = tally_open(&options, error, sizeof error);
    cr_assert_not_null(tally, "%s", error);
    return tally;
}

static bool
total_note(void *context, struct bytes subject, const struct usage_row *total)
{
    struct decimal *sum = context;
    (void)subject;
    cr_assert(decimal_add(sum, total->value));
    return true;
}

static struct decimal
usage_sum(const struct place *place)
{
    struct error error = {0};
    struct reader *reader = NULL;
    struct decimal sum = DECIMAL_ZERO;
    cr_assert_eq(reader_open(place->data, &reader, &error), STATUS_OK, "%s", error.text);
    cr_assert_eq(
        usage_totals(reader, "calls", INT64_MIN, INT64_MAX, total_note, &sum, &error),
        STATUS_OK,
        "%s",
        error.text);
    reader_close(reader);
    return sum;
}

static void
assert_usage(const struct place *place, int64_t expected)
{
    struct decimal sum = usage_sum(place);
    char found[DECIMAL_TEXT_MAX];
    (void)decimal_print(sum, found);
    cr_assert_eq(decimal_compare(sum, decimal_from_int(expected)), 0, "usage says %s", found);
}

struct refused {
    uint64_t rejected_tag;
    uint64_t conflict_tag;
    size_t count;
};

static void
note_refusal(void *context, const struct tally_refusal *refusal)
{
    struct refused *refused = context;
    refused->count++;
    if (refusal->is_conflict) {
        refused->conflict_tag = refusal->tag;
    } else {
        refused->rejected_tag = refusal->tag;
        cr_assert_not_null(strstr(refusal->reason, "old"), "%s", refusal->reason);
    }
}

Test(server, tells_what_became_of_single_events)
{
    struct place place;
    struct refused refused = {0};
    struct tally_stats stats;
    static const struct tally_event events[] = {
        CALL("a", .id = "1", .value = "2.5", .tag = 1),
        CALL("a", .id = "1", .value = "2.50", .tag = 2),
        CALL("a", .id = "1", .value = "3", .tag = 3),
        CALL("a", .id = "2", .time_ns = 1000000000, .tag = 4),
        CALL("b", .value = "17.5", .tag = 5),
    };
    place_open(&place);
    server_start(&place);
    struct tally *tally = client_open(&place, note_refusal, &refused);
    for (size_t i = 0; i < sizeof events / sizeof events[0]; i++)
        cr_assert_eq(tally_send(tally, &events[i]), TALLY_OK);
    cr_assert_eq(tally_flush(tally, WAIT_MS), TALLY_OK);
    tally_stats(tally, &stats);
    cr_assert_eq(stats.events_acked, 5);
    cr_assert_eq(stats.events_duplicate, 1);
    cr_assert_eq(stats.events_rejected, 1);
    cr_assert_eq(stats.events_conflict, 1);
    cr_assert_eq(refused.count, 2);
    cr_assert_eq(refused.rejected_tag, 4);
    cr_assert_eq(refused.conflict_tag, 3);
    assert_usage(&place, 20);
    cr_assert_eq(tally_close(tally, WAIT_MS), TALLY_OK);
    server_end(&place, SIGTERM);
    place_done(&place);
}

static uint64_t
acked_count(struct tally *tally)
{
    struct tally_stats stats;
    tally_stats(tally, &stats);
    return stats.events_acked;
}

Test(server, counts_every_event_once_through_kills)
{
    enum { ROUNDS = 4, EVENTS = 5000 };
    struct place place;
    struct tally_stats stats;
    place_open(&place);
    server_start(&place);
    struct tally *tally = client_open(&place, NULL, NULL);
    uint64_t sent = 0;
    for (int round = 0; round < ROUNDS; round++) {
        for (int i = 0; i < EVENTS; i++, sent++) {
            const struct tally_event event = {.subject = i % 2 ? "a" : "b", .type = "call"};
            cr_assert_eq(tally_send_wait(tally, &event, WAIT_MS), TALLY_OK);
        }
        // Killed somewhere between the first ack of this round and the last.
        int64_t deadline_ns = clock_monotonic_ns() + WAIT_MS * INT64_C(1000000);
        while (acked_count(tally) < sent - EVENTS / 2) {
            cr_assert_lt(clock_monotonic_ns(), deadline_ns);
            (void)poll(NULL, 0, LOOK_MS);
        }
        server_end(&place, SIGKILL);
        server_start(&place);
    }
    cr_assert_eq(tally_flush(tally, WAIT_MS), TALLY_OK);
    tally_stats(tally, &stats);
    cr_assert_eq(stats.events_acked, ROUNDS * EVENTS);
    cr_assert_eq(stats.events_rejected + stats.events_conflict, 0);
    cr_assert_gt(stats.connects, 1);
    assert_usage(&place, ROUNDS * EVENTS);
    cr_assert_eq(tally_close(tally, WAIT_MS), TALLY_OK);
    server_end(&place, SIGTERM);
    assert_usage(&place, ROUNDS * EVENTS);
    place_done(&place);
}

static void
assert_usage_between(const struct place *place, uint64_t low, uint64_t high)
{
    struct decimal sum = usage_sum(place);
    char found[DECIMAL_TEXT_MAX];
    (void)decimal_print(sum, found);
    cr_assert_geq(decimal_compare(sum, decimal_from_int((int64_t)low)), 0, "usage says %s", found);
    cr_assert_leq(decimal_compare(sum, decimal_from_int((int64_t)high)), 0, "usage says %s", found);
}

// What the sending process tells the test: it survives the process.
struct told {
    _Atomic uint64_t sent;     // given to tally_send
    _Atomic uint64_t spooled;  // of these, sealed by a flush
};

static struct tally_options
spool_options(const struct place *place, const char *spool)
{
    return (struct tally_options){
        .server = place->unix_name,
        .batch_events = 20,
        .batch_age_ms = 5,
        .retry_min_ms = 1,
        .retry_max_ms = 20,
        .spool_dir = spool,
    };
}

// Sends until it is killed. Every tenth event is followed by a flush that does not wait.
static void
sending_process(const struct tally_options *options, struct told *told)
{
    struct tally *tally = tally_open(options, NULL, 0);
    if (tally == NULL)
        _exit(1);
    for (;;) {
        const struct tally_event event = {.subject = "a", .type = "call"};
        uint64_t count = atomic_fetch_add(&told->sent, 1) + 1;
        if (tally_send_wait(tally, &event, WAIT_MS) != TALLY_OK)
            _exit(1);
        if (count % 10 != 0)
            continue;
        (void)tally_flush(tally, 0);
        atomic_store(&told->spooled, count);
    }
}

static void
wait_spooled(struct told *told, uint64_t count)
{
    int64_t deadline_ns = clock_monotonic_ns() + WAIT_MS * INT64_C(1000000);
    while (atomic_load(&told->spooled) < count) {
        cr_assert_lt(clock_monotonic_ns(), deadline_ns);
        (void)poll(NULL, 0, 1);
    }
}

// Usage lies between what was certainly in the spool and what was tried at all; an event that was
// counted twice would show beyond that, for each round's loss is less than ten events.
Test(server, counts_once_what_was_spooled_through_kills_of_both_sides)
{
    enum { ROUNDS = 4, EVENTS = 1000 };
    struct place place;
    struct tally_stats stats;
    char spool[128];
    int wait_status;
    uint64_t certain = 0, tried = 0, recovered = 0;
    struct told *told =
        mmap(NULL, sizeof *told, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    cr_assert_neq(told, MAP_FAILED);
    place_open(&place);
    (void)snprintf(spool, sizeof spool, "%s/spool", place.dir);
    struct tally_options options = spool_options(&place, spool);
    server_start(&place);
    for (int round = 0; round < ROUNDS; round++) {
        atomic_store(&told->sent, 0);
        atomic_store(&told->spooled, 0);
        pid_t pid = fork();
        if (pid == 0)
            sending_process(&options, told);
        wait_spooled(told, EVENTS);
        // In every other round the server goes first, with acks on their way.
        if (round % 2 == 1)
            server_end(&place, SIGKILL);
        wait_spooled(told, 2 * EVENTS);
        cr_assert_eq(kill(pid, SIGKILL), 0);
        cr_assert_eq(waitpid(pid, &wait_status, 0), pid);
        cr_assert(WIFSIGNALED(wait_status), "it sent until it was killed");
        if (round % 2 == 1)
            server_start(&place);
        certain += atomic_load(&told->spooled);
        tried += atomic_load(&told->sent);
    }
    struct tally *tally = tally_open(&options, NULL, 0);
    cr_assert_not_null(tally);
    cr_assert_eq(tally_flush(tally, WAIT_MS), TALLY_OK);
    tally_stats(tally, &stats);
    recovered = stats.events_recovered;
    cr_assert_gt(recovered, EVENTS / 2, "the last round left what the server was not there for");
    cr_assert_eq(stats.spool_bytes, 0);
    cr_assert_eq(stats.spool_bad + stats.spool_errors, 0);
    cr_assert_eq(stats.events_rejected + stats.events_conflict, 0);
    cr_assert_eq(tally_close(tally, WAIT_MS), TALLY_OK);
    assert_usage_between(&place, certain, tried);
    server_end(&place, SIGTERM);
    cr_assert_eq(munmap(told, sizeof *told), 0);
    place_done(&place);
}
