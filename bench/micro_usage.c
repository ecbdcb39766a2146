// A ledger of one process: a month of October 2026 is put in, day after day by a clock of our own,
// the month closes, and a reader beside the open ledger is asked, as tally-api and tally-billing
// will ask. Every subject has one event of value 1 in each of its quarter hours, so that what each
// answer must say is known.
#include "base/arena.h"
#include "base/assert.h"
#include "base/clock.h"
#include "base/pool.h"
#include "base/progress.h"
#include "bench/histogram.h"
#include "bench/micro.h"
#include "bench/scratch.h"
#include "ledger/ledger.h"
#include "ledger/stat.h"
#include "ledger/usage.h"

#include <inttypes.h>
#include <poll.h>
#include <stdio.h>

static const int64_t MONTH_NS = 1790812800LL * 1000000000LL;      // 2026-10-01
static const int64_t MONTH_END_NS = 1793491200LL * 1000000000LL;  // 2026-11-01
// Far more than the cells need; valgrind has no room for the default of 1 TiB.
static const uint64_t MAP_MIN = UINT64_C(1) << 30, MAP_EACH = 4096;
static const int64_t WAIT_NS = 600 * 1000000000LL;

enum { DAYS = 31, QUARTERS_A_DAY = 96, SUBJECT_TEXT_MAX = 32, COLLECT_MS = 100 };

// The ledger's clock: it is set before the day's events are put.
static _Atomic int64_t bench_now_ns;

struct bench {
    const struct micro_options *options;
    char dir[PATH_MAX];
    struct ledger *ledger;
    struct intake *intake;
    struct reader *reader;
    uint64_t stored;
};

static int64_t
now_ns(void)
{
    return bench_now_ns;
}

static struct bytes
subject_of(uint64_t number, char text[SUBJECT_TEXT_MAX])
{
    int size = snprintf(text, SUBJECT_TEXT_MAX, "customer-%09" PRIu64, number);
    return bytes_of(text, (size_t)size);
}

// --- a month of events ---

static void
on_fates(void *context, const struct receipt *receipts, const uint8_t *fates, size_t count)
{
    struct bench *bench = context;
    (void)receipts;
    for (size_t i = 0; i < count; i++)
        bench->stored += fates[i] == FATE_STORED;
}

static enum status
fates_await(struct bench *bench, struct error *error)
{
    const char *text;
    intake_offer(bench->intake);
    if (intake_prepare_sleep(bench->intake)) {
        struct pollfd fd = {.fd = intake_fd(bench->intake), .events = POLLIN};
        (void)poll(&fd, 1, COLLECT_MS);
    }
    intake_collect(bench->intake);
    enum status status = ledger_failure(bench->ledger, &text);
    return status == STATUS_OK ? STATUS_OK : error_set(error, status, "%s", text);
}

// The event with this number: subjects take turns, in an order that is not theirs, and come back
// in another quarter hour; rounds are spread over the month.
static enum status
event_put(struct bench *bench, uint64_t number, struct error *error)
{
    const struct micro_options *options = bench->options;
    uint64_t subjects = (uint64_t)options->subjects, round = number / subjects;
    uint64_t rounds = ((uint64_t)options->cells + subjects - 1) / subjects;
    uint64_t slot = round * DAYS * QUARTERS_A_DAY / rounds;
    char subject[SUBJECT_TEXT_MAX], id[SUBJECT_TEXT_MAX];
    // Steps of a prime that is no factor of their number visit each of them once.
    uint64_t step = subjects % 1000003 != 0 ? 1000003 : 1;
    uint64_t which = number % subjects * step % subjects;
    int id_size = snprintf(id, sizeof id, "%" PRId64 "-%" PRIu64, options->seed, number);
    const struct event event = {
        .subject = subject_of(which, subject),
        .type = bytes_text("bench"),
        .id = bytes_of(id, (size_t)id_size),
        .value = DECIMAL_ONE,
        .time_ns = MONTH_NS + (int64_t)slot * 15 * MINUTE_NS + SECOND_NS,
    };
    bench_now_ns = event.time_ns + SECOND_NS;
    while (!intake_put(bench->intake, &event, (struct receipt){0})) {
        enum status status = fates_await(bench, error);
        if (status != STATUS_OK)
            return status;
    }
    return STATUS_OK;
}

static enum status
month_put(struct bench *bench, struct error *error)
{
    struct progress progress;
    uint64_t count = (uint64_t)bench->options->cells;
    enum status status = STATUS_OK;
    progress_begin(&progress, "a month of events", count);
    for (uint64_t i = 0; status == STATUS_OK && i < count; i++) {
        status = event_put(bench, i, error);
        if (i % 4096 == 0) {
            intake_offer(bench->intake);
            intake_collect(bench->intake);
            progress_set(&progress, i);
        }
    }
    while (status == STATUS_OK && intake_pending(bench->intake) > 0)
        status = fates_await(bench, error);
    progress_end(&progress);
    if (status == STATUS_OK && bench->stored != count)
        status = error_set(
            error, STATUS_CORRUPT, "%" PRIu64 " of %" PRIu64 " were stored", bench->stored, count);
    return status;
}

// --- the ledger ---

static enum status
ledger_begin(struct bench *bench, struct error *error)
{
    const struct ledger_create_options create = {
        .shards = 2, .map_size = MAP_MIN + MAP_EACH * (uint64_t)bench->options->cells};
    const struct ledger_options options = {.now_ns = now_ns};
    const struct meter meter = {
        .key = "usage", .event_type = "bench", .aggregation = AGGREGATION_SUM};
    struct registry *registry = NULL;
    bench_now_ns = MONTH_NS;
    enum status status = scratch_make(bench->options->dir, bench->dir, error);
    if (status == STATUS_OK)
        status = ledger_create(bench->dir, &create, error);
    if (status == STATUS_OK)
        status = registry_open(bench->dir, &registry, error);
    if (status == STATUS_OK)
        status = registry_put(registry, &meter, MONTH_NS, NULL, error);
    if (registry != NULL)
        registry_close(registry);
    if (status == STATUS_OK)
        status = ledger_open(bench->dir, &options, &bench->ledger, error);
    if (status == STATUS_OK)
        status = intake_open(bench->ledger, on_fates, bench, &bench->intake, error);
    return status;
}

static enum status
ledger_end(struct bench *bench, struct error *error)
{
    struct error ignored;
    if (bench->reader != NULL)
        reader_close(bench->reader);
    if (bench->intake != NULL)
        intake_close(bench->intake);
    bench->reader = NULL;
    bench->intake = NULL;
    if (bench->ledger == NULL)
        return STATUS_OK;
    enum status status = ledger_close(bench->ledger, error != NULL ? error : &ignored);
    bench->ledger = NULL;
    return status;
}

static bool
is_month_made(const struct ledger_stat *stat)
{
    for (uint32_t i = 0; i < stat->shards_count; i++) {
        const struct shard_stat *shard = &stat->shards[i];
        const struct horizon *month = horizons_find(shard->horizons, CELL_MONTH, 0);
        if (shard->position != shard->head || month->made_s * SECOND_NS < MONTH_END_NS)
            return false;
    }
    return true;
}

// Two days later the month's windows are made by the keepers, after the cells were flushed.
static enum status
month_close(struct bench *bench, struct micro_figures *out, struct error *error)
{
    scoped(arena_done) struct arena arena = {0};
    struct ledger_stat stat;
    int64_t began_ns = clock_monotonic_ns();
    bench_now_ns = MONTH_END_NS + 2 * DAY_NS;
    for (;;) {
        enum status status = stat_read(bench->dir, &arena, &stat, error);
        if (status != STATUS_OK)
            return status;
        if (is_month_made(&stat))
            break;
        if (clock_monotonic_ns() - began_ns > WAIT_NS)
            return error_set(error, STATUS_TIMEOUT, "the month's cells were not made in time");
        arena_reset(&arena);
        (void)poll(NULL, 0, COLLECT_MS);
    }
    uint64_t cells = 0;
    for (uint32_t i = 0; i < stat.shards_count; i++)
        cells += stat.shards[i].cells;
    micro_add(out, "usage_cells_on_disk", (double)cells, 0, "");
    return STATUS_OK;
}

// --- questions ---

static struct usage_query
query_of_month(void)
{
    return (struct usage_query){.meter = "usage", .from_ns = MONTH_NS, .to_ns = MONTH_END_NS};
}

// One subject's month by day, of subjects all over the ledger.
static enum status
subjects_ask(struct bench *bench, struct micro_figures *out, struct error *error)
{
    scoped(arena_done) struct arena arena = {0};
    struct histogram *latency = pool_take(1, sizeof *latency);
    struct usage_query query = query_of_month();
    struct usage_result result = {0};
    enum status status = STATUS_OK;
    if (latency == NULL)
        return error_set(error, STATUS_NO_MEMORY, "no memory");
    query.window = USAGE_WINDOW_DAY;
    for (int64_t i = 0; status == STATUS_OK && i < bench->options->questions; i++) {
        char subject[SUBJECT_TEXT_MAX];
        uint64_t number = (uint64_t)i * 7919 % (uint64_t)bench->options->subjects;
        query.subject = subject_of(number, subject);
        int64_t began_ns = clock_monotonic_ns();
        status = usage_query(bench->reader, &query, &arena, &result, error);
        histogram_add(latency, (uint64_t)(clock_monotonic_ns() - began_ns));
        bool has_rows = result.count > 0 || bench->options->cells < bench->options->subjects;
        if (status == STATUS_OK && (!has_rows || result.blocks_read > 0))
            status = error_set(error, STATUS_CORRUPT, "no cells of subject %s", subject);
        arena_reset(&arena);
    }
    micro_add(
        out,
        "usage_subject_by_day_p50_us",
        (double)histogram_percentile(latency, 5000) / 1e3,
        1,
        "us");
    micro_add(
        out,
        "usage_subject_by_day_p99_us",
        (double)histogram_percentile(latency, 9900) / 1e3,
        1,
        "us");
    pool_give(latency);
    return status;
}

struct stream {
    uint64_t subjects;
    uint64_t events;
};

static bool
on_total(void *context, struct bytes subject, const struct usage_row *total)
{
    struct stream *stream = context;
    (void)subject;
    stream->subjects++;
    stream->events += total->count;
    return true;
}

// All subjects' totals of a range, some times; the median of the seconds.
static enum status
totals_ask(
    struct bench *bench,
    const struct usage_query *query,
    struct stream *out,
    double *out_seconds,
    struct error *error)
{
    int64_t runs = bench->options->runs;
    double *seconds = pool_take((size_t)runs, sizeof *seconds);
    enum status status = STATUS_OK;
    if (seconds == NULL)
        return error_set(error, STATUS_NO_MEMORY, "no memory");
    for (int64_t i = 0; status == STATUS_OK && i < runs; i++) {
        *out = (struct stream){0};
        int64_t began_ns = clock_monotonic_ns();
        status = usage_stream(bench->reader, query, on_total, out, error);
        seconds[i] = (double)(clock_monotonic_ns() - began_ns) / 1e9;
    }
    *out_seconds = micro_median(seconds, runs);
    pool_give(seconds);
    return status;
}

// The closed month from month cells; then without its first day and last two, from day cells.
static enum status
streams_ask(struct bench *bench, struct micro_figures *out, struct error *error)
{
    struct usage_query query = query_of_month();
    struct stream month = {0}, days = {0};
    double seconds;
    enum status status = totals_ask(bench, &query, &month, &seconds, error);
    if (status != STATUS_OK)
        return status;
    if (month.events != (uint64_t)bench->options->cells)
        return error_set(
            error, STATUS_CORRUPT, "the month's totals have %" PRIu64 " events", month.events);
    micro_add(out, "usage_month_subjects", (double)month.subjects, 0, "");
    micro_add(out, "usage_month_totals_seconds", seconds, 3, "s");
    query.from_ns += DAY_NS;
    query.to_ns -= 2 * DAY_NS;
    status = totals_ask(bench, &query, &days, &seconds, error);
    if (status != STATUS_OK)
        return status;
    micro_add(out, "usage_days_cells", (double)days.events, 0, "");
    micro_add(out, "usage_days_totals_seconds", seconds, 3, "s");
    micro_add(out, "usage_days_cells_per_second", (double)days.events / seconds, 0, "cells/s");
    return STATUS_OK;
}

static enum status
usage_measure(struct bench *bench, struct micro_figures *out, struct error *error)
{
    int64_t began_ns = clock_monotonic_ns();
    enum status status = ledger_begin(bench, error);
    if (status == STATUS_OK)
        status = month_put(bench, error);
    if (status != STATUS_OK)
        return status;
    micro_add(
        out,
        "usage_put_seconds",
        (double)(clock_monotonic_ns() - began_ns) / 1e9,
        1,
        "s, one thread");
    status = month_close(bench, out, error);
    if (status == STATUS_OK)
        status = reader_open(bench->dir, &bench->reader, error);
    if (status == STATUS_OK)
        status = subjects_ask(bench, out, error);
    if (status == STATUS_OK)
        status = streams_ask(bench, out, error);
    return status;
}

enum status
micro_usage(const struct micro_options *options, struct micro_figures *out, struct error *error)
{
    struct bench bench = {.options = options};
    enum status status = usage_measure(&bench, out, error);
    enum status end_status = ledger_end(&bench, status == STATUS_OK ? error : NULL);
    scratch_remove(bench.dir);
    return status == STATUS_OK ? end_status : status;
}
