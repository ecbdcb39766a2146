// Fronts, writers, the registry's poller, a reader of metrics, one of the read socket and the
// close, all at once, for ThreadSanitizer. Bounded by its counts; exits 1 when a fate is missing.

#include "ledger/ledger.h"

#include "base/assert.h"
#include "base/clock.h"
#include "base/ring.h"
#include "ledger/memory.h"
#include "ledger/threshold.h"

#include <ftw.h>
#include <poll.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>

enum { FRONTS = 2, EVENTS = 20000, METER_CHANGES = 20, SHARDS = 2, THRESHOLD_ID = 2 };

static struct flag stop;

static void
succeed(enum status status, const struct error *error)
{
    if (status != STATUS_OK) {
        (void)fprintf(stderr, "%s\n", error->text);
        exit(1);
    }
}

struct front {
    struct ledger *ledger;
    pthread_t thread;
    int number;
    uint64_t fates[FATE_COUNT];
};

static void
on_fates(void *context, const struct receipt *receipts, const uint8_t *fates, size_t count)
{
    struct front *front = context;
    for (size_t i = 0; i < count; i++) {
        must(receipts[i].ticket == front);
        front->fates[fates[i]]++;
    }
}

static void
wait_for_fates(struct intake *intake)
{
    if (intake_prepare_sleep(intake)) {
        struct pollfd fd = {.fd = intake_fd(intake), .events = POLLIN};
        must(poll(&fd, 1, 60000) >= 0);
    }
    intake_collect(intake);
}

// Every front sends the same ids: of two equal ones, one is stored.
static void *
front_main(void *argument)
{
    struct front *front = argument;
    struct error error;
    struct intake *intake;
    succeed(intake_open(front->ledger, on_fates, front, &intake, &error), &error);
    for (uint32_t i = 0; i < EVENTS; i++) {
        char subject[16];
        char id[16];
        (void)snprintf(subject, sizeof subject, "s%u", i % 17);
        (void)snprintf(id, sizeof id, "%u", i);
        const struct event event = {
            .subject = bytes_text(subject),
            .type = bytes_text("llm"),
            .id = bytes_text(id),
            .value = DECIMAL_ONE,
        };
        while (!intake_put(intake, &event, (struct receipt){front, i})) {
            intake_offer(intake);
            wait_for_fates(intake);
        }
        if (i % 50 == 0) {
            intake_offer(intake);
            intake_collect(intake);
        }
    }
    intake_offer(intake);
    while (intake_pending(intake) > 0)
        wait_for_fates(intake);
    intake_close(intake);
    return NULL;
}

static void *
poller_main(void *argument)
{
    struct ledger *ledger = argument;
    struct error error;
    while (!flag_get(&stop)) {
        const struct metric *const *metrics;
        const char *text;
        struct buffer printed = {0};
        succeed(ledger_poll_meters(ledger, &error), &error);
        size_t count = ledger_metrics(ledger, &metrics);
        metrics_print(metrics, count, &printed);
        must(ledger_failure(ledger, &text) == STATUS_OK);
        must(ledger_stall_ns(ledger) >= 0);
        buffer_done(&printed);
    }
    return NULL;
}

// What is counted of a subject, and of a threshold of it, which comes and goes with its meter.
static void *
asker_main(void *argument)
{
    struct memory_client *client;
    struct error error;
    succeed(memory_client_open(argument, &client, &error), &error);
    for (uint32_t i = 0; !flag_get(&stop); i++) {
        struct quota quota;
        struct memory_reply reply;
        struct memory_request request = {.shard = i % SHARDS, .meter_id = i % 4, .to_s = INT64_MAX};
        char subject[16];
        (void)snprintf(subject, sizeof subject, "s%u", i % 17);
        request.subject = bytes_text(i % 31 == 0 ? "" : subject);
        succeed(memory_ask(client, &request, &reply, &error), &error);
        enum status status = memory_ask_quota(
            client,
            i % SHARDS,
            THRESHOLD_ID,
            bytes_text(subject),
            clock_now_ns() / SECOND_NS,
            &quota,
            &error);
        must(status == STATUS_OK || status == STATUS_NOT_FOUND);
    }
    memory_client_close(client);
    return NULL;
}

static void
watch_meter(const char *dir)
{
    struct registry *registry;
    struct error error;
    enum meter_change change;
    const struct meter meter = {.key = "n", .event_type = "llm", .aggregation = AGGREGATION_SUM};
    const struct threshold threshold = {
        .key = "t", .meter = "n", .period = THRESHOLD_DAY, .limit = decimal_from_int(100)};
    succeed(registry_open(dir, &registry, &error), &error);
    succeed(registry_put(registry, &meter, 1, NULL, &error), &error);
    succeed(threshold_put(registry, &threshold, 1, &change, &error), &error);
    registry_close(registry);
}

static void
change_meters(const char *dir)
{
    struct registry *registry;
    struct error error;
    succeed(registry_open(dir, &registry, &error), &error);
    for (int i = 0; i < METER_CHANGES; i++) {
        const struct meter meter = {
            .key = "n",
            .event_type = i % 2 == 0 ? "llm" : "other",
            .aggregation = AGGREGATION_SUM,
        };
        succeed(registry_put(registry, &meter, i, NULL, &error), &error);
    }
    registry_close(registry);
}

static void
run(char *dir)
{
    // Small groups and tails, so that hand-overs and flushes are many.
    const struct ledger_options options = {
        .group_events_max = 64,
        .tail_max_bytes = 200000,
        .idle_flush_ns = 1000000,
        .dedup_hot_max = 500};
    struct front fronts[FRONTS] = {0};
    struct ledger *ledger;
    struct error error;
    pthread_t poller;
    pthread_t asker;
    watch_meter(dir);
    succeed(ledger_open(dir, &options, &ledger, &error), &error);
    must(pthread_create(&poller, NULL, poller_main, ledger) == 0);
    must(pthread_create(&asker, NULL, asker_main, dir) == 0);
    for (int i = 0; i < FRONTS; i++) {
        fronts[i].ledger = ledger;
        fronts[i].number = i;
        must(pthread_create(&fronts[i].thread, NULL, front_main, &fronts[i]) == 0);
    }
    change_meters(dir);
    uint64_t stored = 0;
    uint64_t duplicate = 0;
    for (int i = 0; i < FRONTS; i++) {
        must(pthread_join(fronts[i].thread, NULL) == 0);
        stored += fronts[i].fates[FATE_STORED];
        duplicate += fronts[i].fates[FATE_DUPLICATE];
    }
    flag_set(&stop, 1);
    must(pthread_join(poller, NULL) == 0);
    must(pthread_join(asker, NULL) == 0);
    succeed(ledger_close(ledger, &error), &error);
    must(stored == EVENTS);
    must(duplicate == EVENTS * (FRONTS - 1));
}

static int
remove_one(const char *path, const struct stat *stat, int kind, struct FTW *place)
{
    (void)stat;
    (void)kind;
    (void)place;
    return remove(path);
}

int
main(void)
{
    char dir[] = "/tmp/tally-race-XXXXXX";
    struct error error;
    must(mkdtemp(dir) != NULL);
    const struct ledger_create_options options = {.shards = SHARDS, .map_size = 256 << 20};
    succeed(ledger_create(dir, &options, &error), &error);
    run(dir);
    must(nftw(dir, remove_one, 16, FTW_DEPTH | FTW_PHYS) == 0);
    (void)puts("ledger race: ok");
    return 0;
}
