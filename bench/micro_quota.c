// How long `how much of its threshold is used` takes on the read socket, as an API asks it before
// it serves a request: of subjects whose total tallyd has in memory, and of those whose total lies
// in cells; while nothing else happens, and while events come, at a rate and as fast as they are
// taken. While events come questions are asked at their times, and each is measured from its time
// on, so that one that waits long does not hide those that would have waited with it. A month is
// twenty days old, each subject used 1 on one of its first days, every other one 1 today. So what
// each answer must say is known, but for events that come meanwhile.
#include "base/assert.h"
#include "base/clock.h"
#include "base/hash.h"
#include "base/progress.h"
#include "bench/histogram.h"
#include "bench/micro.h"
#include "bench/scratch.h"
#include "ledger/ledger.h"
#include "ledger/memory.h"
#include "ledger/threshold.h"

#include <errno.h>
#include <inttypes.h>
#include <poll.h>
#include <pthread.h>
#include <stdio.h>

static const int64_t MONTH_NS = 1790812800LL * 1000000000LL;  // 2026-10-01
static const uint64_t MAP_MIN = UINT64_C(1) << 30, MAP_EACH = 8192;

enum {
    SHARDS = 2,
    TODAY = 20,         // days of the month that are over
    THRESHOLDS = 1000,  // two of each subject, the others of one
    TEXT_MAX = 32,
    COLLECT_MS = 100,
    TOTALS_WAIT_S = 600,
    ASLEEP_LOOKS = 100,
    ASLEEP_LOOK_MS = 5,
    QUESTIONS_EACH_SECOND = 1000,  // while events come
    LOAD_RATE = 500000,            // events a second,
    LOAD_BURST = 64,               // so many at once
};

static _Atomic int64_t bench_now_ns;

struct bench {
    const struct micro_options *options;
    char dir[PATH_MAX];
    struct ledger *ledger;
    struct intake *intake;
    struct memory_client *client;
    uint64_t serial, stored;
    _Atomic bool is_loading;  // the load goes on
    uint64_t load_rate;       // events a second; 0: as fast as they are taken
    struct error load_error;
};

static int64_t
now_ns(void)
{
    return bench_now_ns;
}

static struct bytes
subject_of(uint64_t number, char text[TEXT_MAX])
{
    int size = snprintf(text, TEXT_MAX, "customer-%09" PRIu64, number);
    return bytes_of(text, (size_t)size);
}

static void
on_fates(void *context, const struct receipt *receipts, const uint8_t *fates, size_t count)
{
    struct bench *bench = context;
    (void)receipts;
    for (size_t i = 0; i < count; i++)
        bench->stored += fates[i] == FATE_STORED;
}

// --- what is there

static enum status
threshold_make(struct registry *registry, uint32_t number, struct error *error)
{
    char key[TEXT_MAX], subject[TEXT_MAX];
    enum meter_change change;
    (void)snprintf(key, sizeof key, "t%u", number);
    struct threshold threshold = {
        .key = key,
        .meter = "usage",
        .period = number == 0 ? THRESHOLD_DAY : THRESHOLD_MONTH,
        .limit = decimal_from_int(1000000000),
    };
    if (number > 1)
        threshold.subject = (const char *)subject_of(number, subject).data;
    return threshold_put(registry, &threshold, MONTH_NS, &change, error);
}

static enum status
ledger_make(struct bench *bench, struct error *error)
{
    const struct ledger_create_options create = {
        .shards = SHARDS, .map_size = MAP_MIN + MAP_EACH * (uint64_t)bench->options->subjects};
    const struct meter meter = {
        .key = "usage", .event_type = "bench", .aggregation = AGGREGATION_SUM};
    struct registry *registry = NULL;
    bench_now_ns = MONTH_NS;
    enum status status = scratch_make(bench->options->dir, bench->dir, error);
    if (!status)
        status = ledger_create(bench->dir, &create, error);
    if (!status)
        status = registry_open(bench->dir, &registry, error);
    if (!status)
        status = registry_put(registry, &meter, MONTH_NS, NULL, error);
    for (uint32_t i = 0; i < THRESHOLDS && !status; i++)
        status = threshold_make(registry, i, error);
    if (registry != NULL)
        registry_close(registry);
    return status;
}

static enum status
session_begin(struct bench *bench, struct error *error)
{
    const struct ledger_options options = {.now_ns = now_ns};
    enum status status = ledger_open(bench->dir, &options, &bench->ledger, error);
    return status ? status : intake_open(bench->ledger, on_fates, bench, &bench->intake, error);
}

static enum status
session_end(struct bench *bench, struct error *error)
{
    struct error ignored;
    memory_client_close(bench->client);
    if (bench->intake != NULL)
        intake_close(bench->intake);
    bench->client = NULL;
    bench->intake = NULL;
    if (bench->ledger == NULL)
        return STATUS_OK;
    enum status status = ledger_close(bench->ledger, error != NULL ? error : &ignored);
    bench->ledger = NULL;
    return status;
}

static enum status
fates_await_for(struct bench *bench, int timeout_ms, struct error *error)
{
    const char *text;
    intake_offer(bench->intake);
    if (intake_prepare_sleep(bench->intake)) {
        struct pollfd fd = {.fd = intake_fd(bench->intake), .events = POLLIN};
        (void)poll(&fd, 1, timeout_ms);
    }
    intake_collect(bench->intake);
    enum status status = ledger_failure(bench->ledger, &text);
    return status ? error_set(error, status, "%s", text) : STATUS_OK;
}

static enum status
fates_await(struct bench *bench, struct error *error)
{
    return fates_await_for(bench, COLLECT_MS, error);
}

static enum status
event_put(struct bench *bench, uint64_t which, struct error *error)
{
    char subject[TEXT_MAX], id[TEXT_MAX];
    int id_size =
        snprintf(id, sizeof id, "%" PRId64 "-%" PRIu64, bench->options->seed, bench->serial++);
    const struct event event = {
        .subject = subject_of(which, subject),
        .type = bytes_text("bench"),
        .id = bytes_of(id, (size_t)id_size),
        .value = DECIMAL_ONE,
        .time_ns = bench_now_ns,
    };
    enum status status = STATUS_OK;
    while (!status && !intake_put(bench->intake, &event, (struct receipt){0}))
        status = fates_await(bench, error);
    return status;
}

// An event each of every so manieth subject.
static enum status
events_put(struct bench *bench, uint64_t each, bool spread, struct error *error)
{
    uint64_t subjects = (uint64_t)bench->options->subjects;
    enum status status = STATUS_OK;
    for (uint64_t i = 0; i < subjects && !status; i += each) {
        if (spread)
            bench_now_ns = MONTH_NS + (int64_t)(i * (TODAY - 1) / subjects) * DAY_NS + SECOND_NS;
        status = event_put(bench, i, error);
    }
    while (!status && intake_pending(bench->intake) > 0)
        status = fates_await(bench, error);
    return status;
}

// --- questions

// Of the month; at least so much must be used, and exactly when nothing else comes.
static enum status
quota_ask(
    struct bench *bench, uint64_t which, bool is_loaded, struct quota *out, struct error *error)
{
    char text[TEXT_MAX];
    struct bytes subject = subject_of(which, text);
    uint32_t shard = (uint32_t)(hash64(subject, 0) % SHARDS);
    int128 used = 0;
    enum { MONTH_ID = 3 };  // of the second threshold: the meter has the first number
    enum status status = memory_ask_quota(
        bench->client, shard, MONTH_ID, subject, bench_now_ns / SECOND_NS, out, error);
    if (status)
        return status;
    int128 expected = DECIMAL_ONE.units * (which % 2 == 0 ? 2 : 1);
    bool is_right = wide_to_int128(&out->used, &used) && out->is_complete &&
                    (used == expected || (is_loaded && used > expected));
    return is_right ? STATUS_OK
                    : error_set(error, STATUS_CORRUPT, "the quota of %s is wrong", text);
}

// When the question that is due then is asked. Who is not late is not charged for what its own
// sleep took too long.
static int64_t
question_await(int64_t due_ns)
{
    int64_t now_ns = clock_monotonic_ns();
    if (now_ns >= due_ns)
        return due_ns;
    const struct timespec left = {.tv_nsec = (due_ns - now_ns) % SECOND_NS};
    (void)ppoll(NULL, 0, &left, NULL);
    return clock_monotonic_ns();
}

static enum status
quotas_ask(
    struct bench *bench,
    uint64_t odd,
    bool is_loaded,
    const char *const names[3],
    struct micro_figures *out,
    struct error *error)
{
    const struct micro_options *options = bench->options;
    struct histogram taken = {0};
    struct quota quota;
    enum status status = STATUS_OK;
    uint64_t pairs = ((uint64_t)options->subjects + 1 - odd) / 2;
    const int64_t start_ns = clock_monotonic_ns();
    must(pairs > 0);
    for (int64_t i = 0; i < options->questions && !status; i++) {
        uint64_t which = ((uint64_t)i * 1000003 + (uint64_t)options->seed) % pairs * 2 + odd;
        int64_t due_ns = start_ns + i * (SECOND_NS / QUESTIONS_EACH_SECOND);
        int64_t began_ns = is_loaded ? question_await(due_ns) : clock_monotonic_ns();
        status = quota_ask(bench, which, is_loaded, &quota, error);
        histogram_add(&taken, (uint64_t)(clock_monotonic_ns() - began_ns));
    }
    if (status)
        return status;
    micro_add(out, names[0], (double)histogram_percentile(&taken, 5000) / 1e3, 1, "us");
    micro_add(out, names[1], (double)histogram_percentile(&taken, 9900) / 1e3, 1, "us");
    micro_add(out, names[2], (double)taken.max / 1e3, 1, "us");
    return STATUS_OK;
}

// Until every total that today's events wait for is known: then the writers sleep, and go on
// sleeping. What is asked meanwhile is read from cells, and must be right as well.
static enum status
totals_await(struct bench *bench, struct micro_figures *out, struct error *error)
{
    int64_t began_ns = clock_monotonic_ns();
    int64_t known_ns = began_ns;
    struct quota quota;
    enum status status = STATUS_OK;
    for (int looks = 0; !status && looks < ASLEEP_LOOKS; looks++) {
        status = quota_ask(bench, 0, false, &quota, error);
        if (ledger_stall_ns(bench->ledger) > 0) {
            looks = -1;
            known_ns = clock_monotonic_ns();
        }
        if (known_ns - began_ns > TOTALS_WAIT_S * SECOND_NS)
            break;
        (void)poll(NULL, 0, ASLEEP_LOOK_MS);
    }
    double waited_s = (double)(known_ns - began_ns) / 1e9;
    micro_add(out, "quota_totals_seconds", waited_s, 2, "s until they are known");
    return status;
}

// --- load

// As many events as are due by now; the next are due in a millisecond.
static enum status
load_pace(struct bench *bench, int64_t began_ns, uint64_t put)
{
    enum status status = STATUS_OK;
    while (!status && bench->load_rate > 0 && bench->is_loading &&
           put >= (uint64_t)(clock_monotonic_ns() - began_ns) / 1000 * bench->load_rate / 1000000) {
        status = fates_await_for(bench, 1, &bench->load_error);
    }
    return status;
}

static void *
load_main(void *argument)
{
    struct bench *bench = argument;
    enum status status = STATUS_OK;
    uint64_t which = (uint64_t)bench->options->seed;
    const int64_t began_ns = clock_monotonic_ns();
    for (uint64_t put = 0; bench->is_loading && !status; put++) {
        status = put % LOAD_BURST == 0 ? load_pace(bench, began_ns, put) : STATUS_OK;
        which = (which * 6364136223846793005U + 1442695040888963407U);
        if (!status)
            status = event_put(
                bench, (which >> 33) % (uint64_t)bench->options->subjects, &bench->load_error);
    }
    while (!status && intake_pending(bench->intake) > 0)
        status = fates_await(bench, &bench->load_error);
    return NULL;
}

// While so many events come a second; 0: as many as are taken.
static enum status
loaded_ask(
    struct bench *bench,
    uint64_t rate,
    const char *const names[4],
    struct micro_figures *out,
    struct error *error)
{
    pthread_t thread;
    uint64_t stored = bench->stored;
    int64_t began_ns = clock_monotonic_ns();
    bench->is_loading = true;
    bench->load_rate = rate;
    int rc = pthread_create(&thread, NULL, load_main, bench);
    errno = rc;
    if (rc != 0)
        return error_set_errno(error, "cannot start a thread");
    enum status status = quotas_ask(bench, 0, true, names, out, error);
    bench->is_loading = false;
    must(pthread_join(thread, NULL) == 0);
    double took_s = (double)(clock_monotonic_ns() - began_ns) / 1e9;
    if (!status && bench->load_error.status)
        status = error_set(error, bench->load_error.status, "%s", bench->load_error.text);
    micro_add(out, names[3], (double)(bench->stored - stored) / took_s, 0, "events/s meanwhile");
    return status;
}

static enum status
quota_measure(struct bench *bench, struct micro_figures *out, struct error *error)
{
    static const char *const memory[] = {
        "quota_in_memory_p50_us", "quota_in_memory_p99_us", "quota_in_memory_max_us"};
    static const char *const cells[] = {
        "quota_in_cells_p50_us", "quota_in_cells_p99_us", "quota_in_cells_max_us"};
    static const char *const rate[] = {
        "quota_at_rate_p50_us",
        "quota_at_rate_p99_us",
        "quota_at_rate_max_us",
        "quota_at_rate_events_per_second"};
    static const char *const full[] = {
        "quota_at_full_load_p50_us",
        "quota_at_full_load_p99_us",
        "quota_at_full_load_max_us",
        "quota_at_full_load_events_per_second"};
    enum status status = ledger_make(bench, error);
    if (!status)
        status = session_begin(bench, error);
    if (!status)
        status = events_put(bench, 1, true, error);
    // From here on they are on disk.
    if (!status)
        status = session_end(bench, error);
    bench_now_ns = MONTH_NS + TODAY * DAY_NS + 18 * HOUR_NS;
    if (!status)
        status = session_begin(bench, error);
    if (!status)
        status = events_put(bench, 2, false, error);
    if (!status)
        status = memory_client_open(bench->dir, &bench->client, error);
    if (!status)
        status = totals_await(bench, out, error);
    micro_add(out, "quota_subjects", (double)bench->options->subjects, 0, "subjects");
    micro_add(out, "quota_thresholds", THRESHOLDS, 0, "thresholds");
    if (!status)
        status = quotas_ask(bench, 0, false, memory, out, error);
    if (!status && bench->options->subjects > 1)
        status = quotas_ask(bench, 1, false, cells, out, error);
    if (!status)
        status = loaded_ask(bench, LOAD_RATE, rate, out, error);
    return status ? status : loaded_ask(bench, 0, full, out, error);
}

enum status
micro_quota(const struct micro_options *options, struct micro_figures *out, struct error *error)
{
    struct bench bench = {.options = options};
    enum status status = quota_measure(&bench, out, error);
    enum status end_status = session_end(&bench, status ? NULL : error);
    scratch_remove(bench.dir);
    return status ? status : end_status;
}
