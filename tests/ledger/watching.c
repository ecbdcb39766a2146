#include "tests/ledger/watching.h"

#include "base/clock.h"
#include "ledger/correct.h"
#include "ledger/memory.h"
#include "ledger/threshold.h"

#include <criterion/criterion.h>

#include <sched.h>
#include <stdio.h>

const struct threshold watching_hundred = {
    .key = "hundred",
    .meter = "n",
    .period = THRESHOLD_DAY,
    .limit = {(int128)100 * 1000000000000000000},
};

void
watching_meter(struct writing *writing, const char *key, enum aggregation aggregation)
{
    struct registry *registry;
    struct error error = {0};
    const struct meter meter = {
        .key = key,
        .event_type = "llm",
        .aggregation = aggregation,
        .value_property = aggregation == AGGREGATION_COUNT ? NULL : "$.n",
        .dimensions = {{"region", "$.region"}},
        .dimensions_count = 1,
    };
    succeed(registry_open(writing->dir, &registry, &error), &error);
    succeed(registry_put(registry, &meter, writing_now_ns, NULL, &error), &error);
    registry_close(registry);
}

enum meter_change
watching_threshold(struct writing *writing, const struct threshold *threshold)
{
    struct registry *registry;
    struct error error = {0};
    enum meter_change change = METER_UNCHANGED;
    succeed(registry_open(writing->dir, &registry, &error), &error);
    succeed(threshold_put(registry, threshold, writing_now_ns, &change, &error), &error);
    registry_close(registry);
    return change;
}

void
watching_poll(struct writing *writing)
{
    struct error error = {0};
    succeed(ledger_poll_meters(writing->ledger, &error), &error);
}

uint32_t watching_serial;

void
watching_put(struct writing *writing, const char *subject, int64_t n, int64_t time_ns)
{
    struct event_bytes event;
    char id[16];
    (void)snprintf(id, sizeof id, "%u", watching_serial++);
    event_make(&event, subject, id, n);
    event.event.time_ns = time_ns;
    cr_assert_eq(writing_fate(writing, &event.event), FATE_STORED);
}

struct watching_list
watching_fired(const struct writing *writing, uint64_t since)
{
    struct watching_list list = {0};
    struct error error = {0};
    struct env *env;
    succeed(fired_open_view(writing->dir, 0, &env, &error), &error);
    cr_assert_not_null(env);
    struct tx tx = tx_read(env);
    succeed(fired_list(&tx, since, 100, &list.arena, &list.items, &list.count, &error), &error);
    tx_done(&tx);
    env_close(env);
    return list;
}

// Until so many have fired in this process.
void
watching_wait(struct writing *writing, int64_t count)
{
    int64_t deadline_ns = clock_monotonic_ns() + 60 * SECOND_NS;
    while (writing_metric(writing, "tally_thresholds_fired_total") < count) {
        cr_assert_lt(clock_monotonic_ns(), deadline_ns, "%ld did not fire", (long)count);
        sched_yield();
    }
    cr_assert_eq(writing_metric(writing, "tally_thresholds_fired_total"), count);
}

// A change is adopted at some moment after the poll: what comes then must fire.
void
watching_put_until_fired(struct writing *writing, const char *subject, int64_t count)
{
    int64_t deadline_ns = clock_monotonic_ns() + 60 * SECOND_NS;
    while (writing_metric(writing, "tally_thresholds_fired_total") < count) {
        cr_assert_lt(clock_monotonic_ns(), deadline_ns, "%ld did not fire", (long)count);
        watching_put(writing, subject, 1, writing_now_ns);
    }
    watching_wait(writing, count);
}

struct quota
watching_quota(const struct writing *writing, uint32_t id, const char *subject)
{
    struct memory_client *client;
    struct quota quota;
    struct error error = {0};
    int64_t now_s = writing_now_ns / SECOND_NS;
    succeed(memory_client_open(writing->dir, &client, &error), &error);
    succeed(memory_ask_quota(client, 0, id, bytes_text(subject), now_s, &quota, &error), &error);
    memory_client_close(client);
    return quota;
}

int64_t
watching_whole(const struct wide *value)
{
    int128 units = 0;
    cr_assert(wide_to_int128(value, &units));
    return (int64_t)(units / DECIMAL_ONE.units);
}

void
watching_put_named(struct writing *writing, const char *subject, const char *id, int64_t n)
{
    struct event_bytes event;
    event_make(&event, subject, id, n);
    cr_assert_eq(writing_fate(writing, &event.event), FATE_STORED);
}

static void
correct(struct writing *writing, const char *subject, const char *id, bool is_amend, int64_t n)
{
    struct event_bytes to;
    struct error error = {0};
    uint64_t block = 0;
    struct correction correction = {
        .kind = ENTRY_CANCEL,
        .subject = bytes_text(subject),
        .id = bytes_text(id),
        .who = bytes_text("ops"),
        .why = bytes_text("a test"),
    };
    event_make(&to, subject, id, n);
    if (is_amend) {
        correction.kind = ENTRY_AMEND;
        correction.has_properties = true;
        correction.properties_count = to.event.properties_count;
        correction.properties = to.event.properties[0];
    }
    succeed(ledger_correct(writing->ledger, &correction, &block, &error), &error);
}

void
watching_correct(struct writing *writing, const char *subject, const char *id, int64_t n)
{
    correct(writing, subject, id, n >= 0, n);
}

void
watching_amend(struct writing *writing, const char *subject, const char *id, int64_t n)
{
    correct(writing, subject, id, true, n);
}
