// Start and stop of everything, in order:
//
//   open:   lock, registry, shards (recovered side by side), writers, control, read socket
//   close:  control, writers (commit, flush), read socket, meters, shards, registry, lock
//
// The read socket outlives the writers, because a writer may be answering one of its questions to
// the end.

#include "base/assert.h"
#include "base/clock.h"
#include "base/pool.h"
#include "ledger/files.h"
#include "ledger/intake.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <sys/file.h>
#include <unistd.h>

enum {
    LEDGER_PATH_MAX = 4096,
    PAST_MAX_DAYS = 35,
    FUTURE_MAX_MINUTES = 5,
    GROUP_SIZE_DEFAULT = 8 << 20,
    GROUP_SIZE_MIN = 128 << 10,
    GROUP_SIZE_MAX = 1 << 30,
    GROUP_EVENTS_DEFAULT = 65536,
    TAIL_DEFAULT = 1 << 30,
    CELLS_DEFAULT = 1 << 30,
    IDLE_FLUSH_SECONDS = 2,
    BUSY_FLUSH_MINUTES = 15,
    KEEP_QUARTER_HOURS_MIN_S = 3600,
    KEEP_HOURS_MIN_S = 86400,
    KEEP_LOG_MIN_S = 86400,
};

static const uint64_t DEDUP_MEMORY_DEFAULT = 2ULL << 30;

// The page cache of a growing file that nobody reads back pushes out what somebody does
// (reference/limits.md: the greatest single gain). A short tail stays for readers.
static const uint64_t FORGET_STEP_BYTES = 16ULL << 20;
static const uint64_t FORGET_TAIL_BYTES = 16ULL << 20;

_Static_assert(
    (int)GROUP_SIZE_MIN > (int)EVENT_SIZE_MAX + (int)ENTRY_HEADER_SIZE + (int)EVENT_CHUNK_MAX,
    "the largest event fits the smallest group");

static int64_t
seconds_of(int64_t ns)
{
    return ns / SECOND_NS + (ns % SECOND_NS > 0);
}

static void
keep_adopt(int64_t keep_ns, int64_t *keep_s)
{
    if (keep_ns != 0)
        *keep_s = keep_ns == LEDGER_FOR_GOOD ? 0 : seconds_of(keep_ns);
}

static enum status
keep_check(const char *what, int64_t keep_s, int64_t min_s, struct error *error)
{
    if (keep_s == 0 || keep_s >= min_s)
        return STATUS_OK;
    return error_set(
        error,
        STATUS_INVALID,
        "%s kept for %" PRId64 " s: at least %" PRId64 " s, or for good",
        what,
        keep_s,
        min_s);
}

// What the options say, in the place of what stood there.
static enum status
terms_adopt(struct ledger_terms *terms, const struct ledger_options *options, struct error *error)
{
    if (options->dedup_window_ns != 0)
        terms->dedup_window_s = seconds_of(options->dedup_window_ns);
    keep_adopt(options->keep_quarter_hours_ns, &terms->keep_quarter_hours_s);
    keep_adopt(options->keep_hours_ns, &terms->keep_hours_s);
    keep_adopt(options->keep_log_ns, &terms->keep_log_s);
    if (options->groups_max != 0)
        terms->groups_max = options->groups_max;
    if (terms->groups_max > TERMS_GROUPS_MAX)
        return error_set(error, STATUS_INVALID, "at most %d groups may be kept", TERMS_GROUPS_MAX);
    enum status status =
        keep_check("quarter hours", terms->keep_quarter_hours_s, KEEP_QUARTER_HOURS_MIN_S, error);
    if (!status)
        status = keep_check("hours", terms->keep_hours_s, KEEP_HOURS_MIN_S, error);
    if (!status)
        status = keep_check("the log", terms->keep_log_s, KEEP_LOG_MIN_S, error);
    if (!status && options->zones != NULL)
        status = terms_zones(terms, options->zones, options->zones_count, error);
    return status;
}

static void
options_complete(struct ledger_options *options, const struct ledger_terms *terms)
{
    if (options->future_max_ns == 0)
        options->future_max_ns = FUTURE_MAX_MINUTES * MINUTE_NS;
    if (options->dedup_window_ns == 0)
        options->dedup_window_ns =
            options->is_visit ? INT64_MAX : terms->dedup_window_s * SECOND_NS;
    if (options->past_max_ns == 0) {
        int64_t left_ns = options->dedup_window_ns - options->future_max_ns;
        options->past_max_ns = PAST_MAX_DAYS * DAY_NS;
        if (left_ns > 0 && left_ns < options->past_max_ns)
            options->past_max_ns = left_ns;
    }
    if (options->group_size_bytes == 0)
        options->group_size_bytes = GROUP_SIZE_DEFAULT;
    if (options->group_size_bytes < GROUP_SIZE_MIN)
        options->group_size_bytes = GROUP_SIZE_MIN;
    if (options->group_size_bytes > GROUP_SIZE_MAX)
        options->group_size_bytes = GROUP_SIZE_MAX;
    if (options->group_events_max == 0)
        options->group_events_max = GROUP_EVENTS_DEFAULT;
    if (options->tail_max_bytes == 0)
        options->tail_max_bytes = TAIL_DEFAULT;
    if (options->cells_max_bytes == 0)
        options->cells_max_bytes = CELLS_DEFAULT;
    if (options->idle_flush_ns == 0)
        options->idle_flush_ns = IDLE_FLUSH_SECONDS * SECOND_NS;
    if (options->busy_flush_ns == 0)
        options->busy_flush_ns = BUSY_FLUSH_MINUTES * MINUTE_NS;
    if (options->dedup_memory_bytes == 0)
        options->dedup_memory_bytes = DEDUP_MEMORY_DEFAULT;
    if (options->dedup_on_disk)
        options->dedup_memory_bytes = 0;
    if (options->now_ns == NULL)
        options->now_ns = clock_now_ns;
}

// An event that is resent while the clock policy takes it must find its first sending known.
static enum status
options_check(const struct ledger_options *options, struct error *error)
{
    if (options->dedup_window_ns - options->past_max_ns >= options->future_max_ns)
        return STATUS_OK;
    return error_set(
        error,
        STATUS_INVALID,
        "the dedup window of %" PRId64 " s is shorter than the %" PRId64 " s that events may be"
        " old and the %" PRId64 " s that they may be ahead: make it at least their sum",
        options->dedup_window_ns / SECOND_NS,
        options->past_max_ns / SECOND_NS,
        options->future_max_ns / SECOND_NS);
}

static enum status
ledger_lock(struct ledger *ledger, const char *dir, struct error *error)
{
    char path[LEDGER_PATH_MAX];
    int size = snprintf(path, sizeof path, "%s/lock", dir);
    if (size < 0 || (size_t)size >= sizeof path)
        return error_set(error, STATUS_INVALID, "%s: path is too long", dir);
    ledger->lock_fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0660);
    if (ledger->lock_fd < 0)
        return error_set_errno(error, "cannot open %s", path);
    if (flock(ledger->lock_fd, LOCK_EX | LOCK_NB) == 0)
        return STATUS_OK;
    if (errno != EWOULDBLOCK)
        return error_set_errno(error, "cannot lock %s", path);
    return error_set(
        error,
        STATUS_BUSY,
        "%s is being written by another process (it holds %s): stop it first",
        dir,
        path);
}

// Reads the registry into a new generation, which stands before the older ones.
static enum status
meters_read(struct ledger *ledger, struct error *error)
{
    struct meters *meters = pool_take(1, sizeof *meters);
    struct meter *list = NULL;
    uint32_t count = 0;
    if (meters == NULL)
        return error_set(error, STATUS_NO_MEMORY, "no memory for the meters");
    // The revision first: a change after it is seen at the next poll.
    uint64_t revision = registry_revision(ledger->registry);
    struct threshold *thresholds = NULL;
    uint32_t thresholds_count = 0;
    struct arena *arena = &meters->arena;
    enum status status = registry_list(ledger->registry, arena, &list, &count, error);
    if (!status)
        status = threshold_list(ledger->registry, arena, &thresholds, &thresholds_count, error);
    if (status) {
        arena_done(&meters->arena);
        pool_give(meters);
        return status;
    }
    meters->set = meter_set_make(list, count, arena);
    meters->watched = watched_make(thresholds, thresholds_count, list, count, arena);
    meters->generation = ledger->meters != NULL ? ledger->meters->generation + 1 : 1;
    meters->older = ledger->meters;
    ledger->meters = meters;
    ledger->revision = revision;
    return STATUS_OK;
}

// Frees the generations behind the newest that every writer has left.
static void
meters_prune(struct ledger *ledger)
{
    uint64_t oldest_used = UINT64_MAX;
    for (uint32_t i = 0; i < ledger->writers_count; i++) {
        uint64_t adopted = published_get(&ledger->writers[i].adopted);
        oldest_used = adopted < oldest_used ? adopted : oldest_used;
    }
    struct meters *newest = ledger->meters;
    while (newest != NULL && newest->older != NULL) {
        struct meters *older = newest->older;
        if (older->generation >= oldest_used) {
            newest = older;
            continue;
        }
        newest->older = older->older;
        arena_done(&older->arena);
        pool_give(older);
    }
}

static void
meters_free(struct ledger *ledger)
{
    while (ledger->meters != NULL) {
        struct meters *meters = ledger->meters;
        ledger->meters = meters->older;
        arena_done(&meters->arena);
        pool_give(meters);
    }
}

enum status
ledger_poll_meters(struct ledger *ledger, struct error *error)
{
    meters_prune(ledger);
    if (registry_revision(ledger->registry) == ledger->revision)
        return STATUS_OK;
    enum status status = meters_read(ledger, error);
    if (status)
        return status;
    for (uint32_t i = 0; i < ledger->writers_count; i++) {
        struct writer *writer = &ledger->writers[i];
        // A set that the writer has not looked at yet is overtaken by this one.
        (void)slot_take_back(&writer->meters);
        slot_offer(&writer->meters, ledger->meters);
        waker_wake(&writer->waker);
    }
    return STATUS_OK;
}

void
ledger_forget_cached(struct ledger *ledger)
{
    for (uint32_t i = 0; i < ledger->writers_count; i++) {
        struct writer *writer = &ledger->writers[i];
        struct env *log = writer->shard.log;
        uint64_t used = env_used_bytes(log);
        if (used < writer->forgotten_bytes + FORGET_STEP_BYTES + FORGET_TAIL_BYTES)
            continue;
        env_forget_cached(log, writer->forgotten_bytes, used - FORGET_TAIL_BYTES);
        writer->forgotten_bytes = used - FORGET_TAIL_BYTES;
    }
}

static enum status
writers_open(struct ledger *ledger, const char *dir, struct error *error)
{
    const struct writer_options options = {
        .policy = {ledger->options.past_max_ns, ledger->options.future_max_ns},
        .idle_flush_ns = ledger->options.idle_flush_ns,
        .busy_flush_ns = ledger->options.busy_flush_ns,
        .leaves_cells = ledger->options.is_visit,
        .touches_ahead = ledger->options.touches_ahead,
        .keep_log_ns = ledger->options.is_visit ? 0 : ledger->conf.terms.keep_log_s * SECOND_NS,
        .is_reverting = &ledger->is_unfinished,
        .now_ns = ledger->options.now_ns,
    };
    const struct shard_dedup_options dedup = {
        .hot_max = ledger->options.dedup_hot_max,
        .group_max = ledger->options.group_events_max,
        .filter_bytes_max = ledger->options.dedup_memory_bytes / ledger->conf.shards,
        .window_ns = ledger->options.dedup_window_ns,
    };
    ledger->writers = pool_take(ledger->conf.shards, sizeof *ledger->writers);
    if (ledger->writers == NULL)
        return error_set(
            error, STATUS_NO_MEMORY, "no memory for %" PRIu32 " shards", ledger->conf.shards);
    for (uint32_t i = 0; i < ledger->conf.shards; i++) {
        struct writer *writer = &ledger->writers[i];
        const struct shard_options shard = {
            .dir = dir,
            .number = i,
            .shards = ledger->conf.shards,
            .map_size = ledger->conf.map_size,
            .tail_max_bytes = ledger->options.is_visit ? 0 : ledger->options.tail_max_bytes,
            .cells_max_bytes = ledger->options.cells_max_bytes / ledger->conf.shards,
            .secret = &ledger->conf.secret,
            .zones = &ledger->zones,
            .retention =
                {
                            .quarter_hours_s = ledger->conf.terms.keep_quarter_hours_s,
                            .hours_s = ledger->conf.terms.keep_hours_s,
                            .groups_max = ledger->conf.terms.groups_max,
                            },
            .dedup = dedup,
        };
        ledger->writers_count++;
        enum status status = writer_init(writer, &options, error);
        if (status == STATUS_OK)
            status = shard_open(&writer->shard, &shard, error);
        if (status)
            return status;
        shard_adopt(&writer->shard, ledger->meters);
        published_set(&writer->adopted, ledger->meters->generation);
    }
    return STATUS_OK;
}

// A thread of the recovery takes every step-th shard from first on.
struct recovery {
    struct ledger *ledger;
    uint32_t first;
    uint32_t step;
    pthread_t thread;
    bool is_running;
};

static void *
recovery_main(void *argument)
{
    const struct recovery *recovery = argument;
    for (uint32_t i = recovery->first; i < recovery->ledger->writers_count; i += recovery->step) {
        struct writer *writer = &recovery->ledger->writers[i];
        if (shard_recover(&writer->shard, &writer->error))
            flag_set(&writer->failed, 1);
    }
    return NULL;
}

static enum status
shards_recover(struct ledger *ledger, struct error *error)
{
    struct recovery recoveries[SHARDS_MAX];
    long processors = sysconf(_SC_NPROCESSORS_ONLN);
    uint32_t count = processors > 1 ? (uint32_t)processors : 1;
    if (count > ledger->writers_count)
        count = ledger->writers_count;
    for (uint32_t i = 0; i < count; i++) {
        recoveries[i] = (struct recovery){.ledger = ledger, .first = i, .step = count};
        int rc = pthread_create(&recoveries[i].thread, NULL, recovery_main, &recoveries[i]);
        recoveries[i].is_running = rc == 0;
        // Without a thread of its own it is done here.
        if (rc != 0)
            (void)recovery_main(&recoveries[i]);
    }
    for (uint32_t i = 0; i < count; i++) {
        if (recoveries[i].is_running)
            must(pthread_join(recoveries[i].thread, NULL) == 0);
    }
    for (uint32_t i = 0; i < ledger->writers_count; i++) {
        const struct writer *writer = &ledger->writers[i];
        if (flag_get(&writer->failed))
            return error_set(error, writer->error.status, "%s", writer->error.text);
    }
    return STATUS_OK;
}

static void
ledger_ask(void *context, uint32_t shard, struct memory_question *question)
{
    struct ledger *ledger = context;
    must(shard < ledger->writers_count);
    answers_ask(&ledger->writers[shard].answers, question);
}

static void
ledger_change(void *context, struct control_job *job)
{
    struct ledger *ledger = context;
    control_offer(ledger->control, job);
}

static enum status
writers_start(struct ledger *ledger, const char *dir, struct error *error)
{
    enum status status = STATUS_OK;
    for (uint32_t i = 0; status == STATUS_OK && i < ledger->writers_count; i++) {
        struct writer *writer = &ledger->writers[i];
        writer->forgotten_bytes = env_used_bytes(writer->shard.log);
        status = writer_start(writer, error);
    }
    const struct serve_options options = {
        .dir = dir,
        .shards = ledger->conf.shards,
        .ask = ledger_ask,
        .control = ledger_change,
        .context = ledger,
    };
    if (status == STATUS_OK)
        status = control_start(ledger, &ledger->control, error);
    return status ? status : serve_start(&options, &ledger->serve, error);
}

// Rows of one name stand together, as metrics_print wants them.
static enum status
metrics_list(struct ledger *ledger, struct error *error)
{
    uint32_t shards = ledger->writers_count;
    ledger->metrics = pool_take((size_t)SHARD_METRICS * shards, sizeof(struct metric *));
    if (ledger->metrics == NULL)
        return error_set(error, STATUS_NO_MEMORY, "no memory for the metrics");
    for (uint32_t i = 0; i < SHARD_METRICS; i++) {
        for (uint32_t j = 0; j < shards; j++)
            ledger->metrics[i * shards + j] = &ledger->writers[j].shard.metrics[i];
    }
    return STATUS_OK;
}

static void
ledger_free(struct ledger *ledger)
{
    control_stop(ledger->control);
    for (uint32_t i = 0; i < ledger->writers_count; i++)
        writer_stop(&ledger->writers[i]);
    serve_stop(ledger->serve);
    control_free(ledger->control);
    for (uint32_t i = 0; i < ledger->intakes_count; i++)
        intake_free(ledger->intakes[i]);
    for (uint32_t i = 0; i < ledger->writers_count; i++)
        writer_done(&ledger->writers[i]);
    pool_give(ledger->writers);
    pool_give(ledger->metrics);
    meters_free(ledger);
    registry_close(ledger->registry);
    for (uint32_t i = 0; i < ledger->zones.count; i++)
        zone_close(&ledger->zones.list[i]);
    if (ledger->lock_fd >= 0)
        (void)close(ledger->lock_fd);
    waker_done(&ledger->asker);
    (void)pthread_mutex_destroy(&ledger->lock);
    (void)pthread_mutex_destroy(&ledger->control_lock);
    pool_give(ledger);
}

static enum status
zones_open(struct ledger *ledger, struct error *error)
{
    const struct ledger_terms *terms = &ledger->conf.terms;
    enum status status = STATUS_OK;
    for (uint32_t i = 0; i < terms->zones_count && !status; i++) {
        struct bytes name = bytes_text(terms->zones[i]);
        status = zone_open(name, &ledger->zones.list[ledger->zones.count], error);
        ledger->zones.count += !status;
    }
    return status;
}

// The lock is held: what was read before it may have changed.
static enum status
conf_settle(
    struct ledger *ledger, const char *dir, struct ledger_terms *out_before, struct error *error)
{
    enum status status = ledger_conf_read(dir, &ledger->conf, error);
    if (status)
        return status;
    *out_before = ledger->conf.terms;
    status = terms_adopt(&ledger->conf.terms, &ledger->options, error);
    if (status)
        return status;
    options_complete(&ledger->options, &ledger->conf.terms);
    status = options_check(&ledger->options, error);
    return status ? status : zones_open(ledger, error);
}

// Whoever made the ledger, or wrote ledger.conf anew, may have died between the rename and the sync
// of the directory: before anything is acked, what is seen here is what a power cut leaves.
static enum status
names_settle(const char *dir, struct error *error)
{
    enum status status = dir_sync(dir, error);
    return status ? status : parent_sync(dir, error);
}

static enum status
ledger_start(struct ledger *ledger, const char *dir, struct error *error)
{
    struct ledger_terms before;
    enum status status = ledger_conf_read(dir, &ledger->conf, error);
    if (status == STATUS_OK)
        status = ledger_lock(ledger, dir, error);
    if (status == STATUS_OK)
        status = names_settle(dir, error);
    if (status == STATUS_OK)
        status = conf_settle(ledger, dir, &before, error);
    if (status == STATUS_OK)
        status = registry_open(dir, &ledger->registry, error);
    if (status == STATUS_OK)
        status = meters_read(ledger, error);
    if (status == STATUS_OK)
        status = writers_open(ledger, dir, error);
    if (status == STATUS_OK)
        status = metrics_list(ledger, error);
    if (status == STATUS_OK)
        status = shards_recover(ledger, error);
    // Only what works is written down.
    if (status == STATUS_OK && !terms_equal(&before, &ledger->conf.terms))
        status = ledger_conf_write(dir, &ledger->conf, error);
    return status ? status : writers_start(ledger, dir, error);
}

enum status
ledger_open(
    const char *dir, const struct ledger_options *options, struct ledger **out, struct error *error)
{
    struct ledger *ledger = pool_take(1, sizeof *ledger);
    if (ledger == NULL)
        return error_set(error, STATUS_NO_MEMORY, "no memory for the ledger");
    ledger->lock_fd = -1;
    must(pthread_mutex_init(&ledger->lock, NULL) == 0);
    must(pthread_mutex_init(&ledger->control_lock, NULL) == 0);
    ledger->options = *options;
    flag_set(&ledger->is_unfinished, 1);
    enum status status = waker_init(&ledger->asker, error);
    if (!status)
        status = ledger_start(ledger, dir, error);
    if (status)
        ledger_free(ledger);
    else
        *out = ledger;
    return status;
}

enum status
ledger_failure(const struct ledger *ledger, const char **out_text)
{
    for (uint32_t i = 0; i < ledger->writers_count; i++) {
        const struct writer *writer = &ledger->writers[i];
        if (flag_get(&writer->failed)) {
            *out_text = writer->error.text;
            return writer->error.status;
        }
    }
    return STATUS_OK;
}

enum status
ledger_close(struct ledger *ledger, struct error *error)
{
    const char *text = NULL;
    for (uint32_t i = 0; i < ledger->intakes_count; i++)
        must(!ledger->intakes[i]->is_open);
    control_stop(ledger->control);
    for (uint32_t i = 0; i < ledger->writers_count; i++)
        writer_stop(&ledger->writers[i]);
    enum status status = ledger_failure(ledger, &text);
    if (status)
        (void)error_set(error, status, "%s", text);
    ledger_free(ledger);
    return status;
}

uint32_t
ledger_shards(const struct ledger *ledger)
{
    return ledger->conf.shards;
}

int64_t
ledger_stall_ns(const struct ledger *ledger)
{
    int64_t now_ns = clock_monotonic_ns();
    int64_t longest_ns = 0;
    for (uint32_t i = 0; i < ledger->writers_count; i++) {
        uint64_t since_ns = published_get(&ledger->writers[i].busy_since_ns);
        int64_t stall_ns = since_ns == 0 ? 0 : now_ns - (int64_t)since_ns;
        longest_ns = stall_ns > longest_ns ? stall_ns : longest_ns;
    }
    return longest_ns;
}

size_t
ledger_metrics(struct ledger *ledger, const struct metric *const **out_metrics)
{
    *out_metrics = ledger->metrics;
    return (size_t)SHARD_METRICS * ledger->writers_count;
}
