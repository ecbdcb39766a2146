#include "tests/ledger/reading.h"

#include "base/clock.h"
#include "ledger/shard_view.h"
#include "ledger/stat.h"

#include <criterion/criterion.h>

#include <ftw.h>
#include <inttypes.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

const int64_t READING_NOW_NS = 1794268800LL * 1000000000LL;

static const int64_t WAIT_MAX_NS = 30 * 1000000000LL;

static int64_t
test_now_ns(void)
{
    return READING_NOW_NS;
}

static void
succeed(enum status status, const struct error *error)
{
    cr_assert_eq(status, STATUS_OK, "%s", error->text);
}

void
reading_begin(struct reading *reading, uint32_t shards)
{
    struct error error = {0};
    *reading = (struct reading){.dir = "/tmp/tally-reading-XXXXXX", .seed = 1};
    cr_assert_not_null(mkdtemp(reading->dir));
    const struct ledger_create_options options = {.shards = shards, .map_size = 512 << 20};
    succeed(ledger_create(reading->dir, &options, &error), &error);
}

static int
remove_one(const char *path, const struct stat *stat, int kind, struct FTW *place)
{
    (void)stat;
    (void)kind;
    (void)place;
    return remove(path);
}

void
reading_end(struct reading *reading)
{
    cr_assert_null(reading->ledger);
    arena_done(&reading->arena);
    cr_assert_eq(nftw(reading->dir, remove_one, 16, FTW_DEPTH | FTW_PHYS), 0);
}

static void
count_fates(void *context, const struct receipt *receipts, const uint8_t *fates, size_t count)
{
    struct reading *reading = context;
    (void)receipts;
    for (size_t i = 0; i < count; i++)
        reading->fates[fates[i]]++;
}

void
reading_write_begin(struct reading *reading, int64_t idle_flush_ns)
{
    struct error error = {0};
    // So few identities in memory that most are in runs on disk.
    const struct ledger_options options = {
        .idle_flush_ns = idle_flush_ns, .now_ns = test_now_ns, .dedup_hot_max = 10};
    succeed(ledger_open(reading->dir, &options, &reading->ledger, &error), &error);
    succeed(intake_open(reading->ledger, count_fates, reading, &reading->intake, &error), &error);
    succeed(registry_open(reading->dir, &reading->registry, &error), &error);
}

void
reading_write_end(struct reading *reading)
{
    struct error error = {0};
    reading_wait(reading);
    intake_close(reading->intake);
    succeed(ledger_close(reading->ledger, &error), &error);
    registry_close(reading->registry);
    reading->ledger = NULL;
    reading->intake = NULL;
    reading->registry = NULL;
}

static void
collect(struct reading *reading)
{
    intake_offer(reading->intake);
    if (intake_prepare_sleep(reading->intake)) {
        struct pollfd poll_fd = {.fd = intake_fd(reading->intake), .events = POLLIN};
        (void)poll(&poll_fd, 1, 100);
    }
    intake_collect(reading->intake);
    cr_assert_eq(ledger_failure(reading->ledger, &(const char *){NULL}), STATUS_OK);
}

void
reading_put(struct reading *reading, const struct event *event)
{
    int64_t deadline_ns = clock_monotonic_ns() + WAIT_MAX_NS;
    while (!intake_put(reading->intake, event, (struct receipt){0})) {
        cr_assert(clock_monotonic_ns() < deadline_ns, "the writer takes nothing");
        collect(reading);
    }
}

void
reading_wait(struct reading *reading)
{
    int64_t deadline_ns = clock_monotonic_ns() + WAIT_MAX_NS;
    while (intake_pending(reading->intake) > 0) {
        cr_assert(clock_monotonic_ns() < deadline_ns, "fates are missing");
        collect(reading);
    }
}

void
reading_wait_flushed(struct reading *reading)
{
    int64_t deadline_ns = clock_monotonic_ns() + WAIT_MAX_NS;
    bool is_flushed = false;
    while (!is_flushed) {
        struct ledger_stat stat;
        struct error error = {0};
        scoped(arena_done) struct arena arena = {0};
        cr_assert(clock_monotonic_ns() < deadline_ns, "the cells were not flushed");
        succeed(stat_read(reading->dir, &arena, &stat, &error), &error);
        is_flushed = true;
        for (uint32_t i = 0; i < stat.shards_count; i++)
            is_flushed = is_flushed && stat.shards[i].position == stat.shards[i].head;
        if (!is_flushed)
            (void)poll(NULL, 0, 5);
    }
}

// xorshift64*: the same events for the same seed, everywhere.
uint64_t
reading_random(struct reading *reading, uint64_t below)
{
    reading->seed ^= reading->seed >> 12;
    reading->seed ^= reading->seed << 25;
    reading->seed ^= reading->seed >> 27;
    return (reading->seed * 2685821657736338717ULL >> 16) % below;
}

static void
random_tokens(struct reading *reading, struct buffer *out)
{
    char text[32];
    switch (reading_random(reading, 5)) {
    case 0: pack_int(out, (int64_t)reading_random(reading, 2000) - 1000); return;
    case 1: pack_double(out, (double)reading_random(reading, 1000) / 8); return;
    case 2:
        snprintf(
            text,
            sizeof text,
            "%u.%03u",
            (unsigned)reading_random(reading, 100),
            (unsigned)reading_random(reading, 1000));
        pack_text(out, text);
        return;
    case 3: pack_text(out, "many"); return;  // no number: a SUM skips the event
    default: pack_uint(out, reading_random(reading, 100000)); return;
    }
}

static uint32_t
random_properties(struct reading *reading, struct buffer *out)
{
    static const char *const regions[] = {"eu", "us", "asia"};
    uint32_t count = 2;
    pack_text(out, "tokens");
    random_tokens(reading, out);
    pack_text(out, "deep");
    pack_map(out, 1);
    pack_text(out, "model");
    pack_uint(out, reading_random(reading, 3));
    if (reading_random(reading, 4) > 0) {
        pack_text(out, "region");
        pack_text(out, regions[reading_random(reading, 3)]);
        count++;
    }
    return count;
}

void
reading_put_random(struct reading *reading, uint32_t count)
{
    const int64_t span_s = 20 * 86400;
    for (uint32_t i = 0; i < count; i++) {
        char subject[32];
        char id[32];
        scoped(buffer_done) struct buffer properties = {0};
        snprintf(subject, sizeof subject, "subject-%u", (unsigned)reading_random(reading, 7));
        snprintf(id, sizeof id, "id-%" PRIu64, reading->serial++);
        int64_t time_ns =
            READING_NOW_NS - (int64_t)reading_random(reading, (uint64_t)span_s) * SECOND_NS;
        struct event event = {
            .subject = bytes_text(subject),
            .type = bytes_text(reading_random(reading, 4) > 0 ? "llm" : "job"),
            .id = bytes_text(id),
            .time_ns = reading_random(reading, 20) > 0 ? time_ns : 0,
            .value = decimal_from_int((int64_t)reading_random(reading, 50)),
            .properties_runs = 1,
        };
        event.properties_count = random_properties(reading, &properties);
        event.properties[0] = buffer_view(&properties);
        reading_put(reading, &event);
        if (reading_random(reading, 10) == 0)
            reading_wait(reading);
    }
    reading_wait(reading);
}

void
reading_put_meter(struct reading *reading, const char *key)
{
    struct error error = {0};
    struct meter meter = {
        .key = key,
        .event_type = "llm",
        .aggregation = AGGREGATION_COUNT,
        .dimensions = {{"model", "$.deep.model"}, {"region", "$.region"}},
        .dimensions_count = 2,
    };
    if (strcmp(key, "tokens") == 0) {
        meter.aggregation = AGGREGATION_SUM;
        meter.value_property = "$.tokens";
    } else if (strcmp(key, "jobs") == 0) {
        meter.event_type = "job";
        meter.aggregation = AGGREGATION_SUM;
        meter.dimensions_count = 0;
    }
    succeed(registry_put(reading->registry, &meter, READING_NOW_NS, NULL, &error), &error);
    succeed(ledger_poll_meters(reading->ledger, &error), &error);
}
