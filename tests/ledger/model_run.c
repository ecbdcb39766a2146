// The ledger against the model: whole lives of ledgers, drawn from seeds.
//
//     ledger.model --seed 1 --workloads 300 [--verbose]
//
// A workload is some sessions of a ledger. In each, batches are put, meters are made, changed and
// removed, the clock moves, and in between questions of every kind are asked and compared with the
// model's answers. A session ends with a close, or with the death of its process: in the middle of
// nothing, or of a batch. Between sessions the state may be thrown away. At the end the ledger is
// dumped and verified, its state is made twice from the log, and damage must be found. Each
// workload is a process of its own, so that one that dies is a finding with a seed; the first
// finding ends the run.

#include "base/assert.h"
#include "base/clock.h"
#include "tests/ledger/workload.h"

#include <ftw.h>
#include <inttypes.h>
#include <poll.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

static const int64_t START_NS = 1794268800LL * 1000000000LL;  // 2026-11-10T00:00:00Z
static const int64_t WAIT_MAX_NS = 60 * 1000000000LL;

int64_t workload_now_ns;

static int64_t
now_ns(void)
{
    return workload_now_ns;
}

void
fail(const struct workload *workload, const char *format, ...)
{
    va_list args;
    va_start(args, format);
    (void)fprintf(stderr, "seed %" PRIu64 " step %u: ", workload->seed, workload->step);
    (void)vfprintf(stderr, format, args);
    (void)fprintf(stderr, "\n");
    va_end(args);
    _exit(1);
}

void
succeed(const struct workload *workload, enum status status, const struct error *error)
{
    if (status != STATUS_OK)
        fail(workload, "%s", error->text);
}

// --- the ledger ---

static void
on_fates(void *context, const struct receipt *receipts, const uint8_t *fates, size_t count)
{
    struct workload *workload = context;
    for (size_t i = 0; i < count; i++) {
        must(receipts[i].index < workload->batch_count);
        if (workload->shared->fates[receipts[i].index] != WORKLOAD_UNKNOWN)
            fail(workload, "a fate came twice");
        workload->shared->fates[receipts[i].index] = fates[i];
    }
}

static void
session_open(struct workload *workload)
{
    static const uint64_t tails[] = {1, 3000, 20000, 1 << 30};
    static const uint32_t groups[] = {4, 50, 0};
    static const uint32_t hots[] = {16, 200, 0};
    struct error error = {0};
    if (!workload->is_ending) {
        workload->zones_first = (uint32_t)draw(workload, WORKLOAD_ZONES);
        workload->zones_count = (uint32_t)draw(workload, 3);
    }
    // How identities lie on disk depends on when the keeper came to it: two rebuilds, which are
    // compared, have none there.
    uint32_t hot_max = hots[draw(workload, 3)];
    bool is_on_disk = chance(workload, 20);
    const uint32_t zones_left = WORKLOAD_ZONES - workload->zones_first;
    const struct ledger_options options = {
        .zones = workload_zones + workload->zones_first,
        .zones_count = workload->zones_count < zones_left ? workload->zones_count : zones_left,
        .past_max_ns = workload->model.past_max_ns,
        .future_max_ns = workload->model.future_max_ns,
        .group_size_bytes = 1 << 20,
        .group_events_max = groups[draw(workload, 3)],
        .tail_max_bytes = tails[draw(workload, 4)],
        .idle_flush_ns = INT64_MAX / 2,
        .dedup_hot_max = workload->is_ending ? 0 : hot_max,
        .dedup_on_disk = is_on_disk && !workload->is_ending,
        .dedup_window_ns = 1000 * DAY_NS,
        .keep_quarter_hours_ns = keeps_quarter_hours(workload) ? LEDGER_FOR_GOOD : 3 * DAY_NS,
        .keep_hours_ns = keeps_hours(workload) ? LEDGER_FOR_GOOD : 2 * DAY_NS,
        .groups_max = groups_max_of(workload),
        .now_ns = now_ns,
    };
    if (!workload->is_real)
        return;
    succeed(workload, ledger_open(workload->dir, &options, &workload->ledger, &error), &error);
    succeed(
        workload,
        intake_open(workload->ledger, on_fates, workload, &workload->intake, &error),
        &error);
    succeed(workload, reader_open(workload->dir, &workload->reader, &error), &error);
}

static void
session_close(struct workload *workload)
{
    struct error error = {0};
    if (!workload->is_real)
        return;
    reader_close(workload->reader);
    intake_close(workload->intake);
    succeed(workload, ledger_close(workload->ledger, &error), &error);
    workload->reader = NULL;
    workload->intake = NULL;
    workload->ledger = NULL;
}

static void
reopen(struct workload *workload)
{
    session_open(workload);
    session_close(workload);
}

// Until no more than this many fates are to come.
static void
wait_for_fates(struct workload *workload, uint64_t pending)
{
    int64_t deadline_ns = clock_monotonic_ns() + WAIT_MAX_NS;
    const char *text = "";
    intake_offer(workload->intake);
    intake_collect(workload->intake);
    while (intake_pending(workload->intake) > pending) {
        if (ledger_failure(workload->ledger, &text) != STATUS_OK)
            fail(workload, "the ledger failed: %s", text);
        if (clock_monotonic_ns() > deadline_ns)
            fail(workload, "no fates came");
        if (intake_prepare_sleep(workload->intake)) {
            struct pollfd fd = {.fd = intake_fd(workload->intake), .events = POLLIN};
            must(poll(&fd, 1, 1000) >= 0);
        }
        intake_collect(workload->intake);
    }
}

static void
batch_hand_over(struct workload *workload)
{
    scoped(buffer_done) struct buffer buffer = {0};
    memset(workload->shared->fates, WORKLOAD_UNKNOWN, WORKLOAD_BATCH_MAX);
    for (uint32_t i = 0; i < workload->batch_count; i++) {
        struct event event;
        event_encode(&workload->batch[i], &buffer, &event);
        while (!intake_put(workload->intake, &event, (struct receipt){workload, i}))
            wait_for_fates(workload, 0);
    }
}

// Of a batch that a child left in flight any part may be known, and what was acked as stored must
// be. An event that the clock refuses may have an identity that a later one of the batch brought.
static bool
fate_is_right(
    const struct workload *workload, uint8_t fate, enum fate expected, uint8_t before_crash)
{
    if (!workload->is_in_flight)
        return fate == expected;
    if (expected == FATE_STORED && before_crash == FATE_STORED)
        return fate == FATE_DUPLICATE;
    if (expected == FATE_STORED)
        return fate == FATE_STORED || fate == FATE_DUPLICATE;
    bool is_refused = expected == FATE_TOO_OLD || expected == FATE_TOO_FAR_AHEAD ||
                      expected == FATE_BATCH_NOT_OPEN;
    return fate == expected || (is_refused && (fate == FATE_DUPLICATE || fate == FATE_CONFLICT));
}

static const char *
fate_text(uint8_t fate)
{
    return fate < FATE_COUNT ? fate_name((enum fate)fate) : "no fate";
}

static void
batch_compare(
    const struct workload *workload, uint32_t index, enum fate expected, uint8_t before_crash)
{
    uint8_t fate = workload->shared->fates[index];
    const struct model_event *event = &workload->batch[index];
    bool was_right = before_crash == WORKLOAD_UNKNOWN || before_crash == expected;
    if (was_right && fate_is_right(workload, fate, expected, before_crash))
        return;
    fail(
        workload,
        "event %u (subject %s, id %s, chunk %s, time %" PRId64 "): %s%s%s, the model says %s",
        index,
        event->subject,
        event->id,
        event->chunk,
        event->time_ns,
        workload->is_in_flight ? fate_text(before_crash) : "",
        workload->is_in_flight ? " before a crash, then " : "",
        fate_text(fate),
        fate_text(expected));
}

// Puts the batch in hand and compares every fate.
static void
batch_put(struct workload *workload)
{
    uint8_t before[WORKLOAD_BATCH_MAX];
    memcpy(before, workload->shared->fates, sizeof before);
    if (!workload->is_in_flight)
        memset(before, WORKLOAD_UNKNOWN, sizeof before);
    if (workload->is_real) {
        batch_hand_over(workload);
        wait_for_fates(workload, 0);
    }
    for (uint32_t i = 0; i < workload->batch_count; i++) {
        enum fate expected = model_put(&workload->model, &workload->batch[i], workload_now_ns);
        if (workload->is_real)
            batch_compare(workload, i, expected, before[i]);
    }
    workload->is_in_flight = false;
}

// --- steps ---

// Without a writer: cells and the log's tail.
static void
check_offline(struct workload *workload)
{
    struct error error = {0};
    if (workload->is_real)
        succeed(workload, reader_open(workload->dir, &workload->reader, &error), &error);
    check_answers(workload, workload->is_damaged ? 80 : 20);
    if (!workload->is_damaged)
        check_lists(workload);
    if (workload->is_real)
        reader_close(workload->reader);
    workload->reader = NULL;
}

static void
change_meter(struct workload *workload)
{
    struct error error = {0};
    uint32_t index = (uint32_t)draw(workload, WORKLOAD_METERS);
    struct meter *meter = &workload->meters[index];
    const char *removed = meter->key != NULL && chance(workload, 30) ? meter->key : NULL;
    bool is_polled = chance(workload, 80);
    if (removed != NULL)
        *meter = (struct meter){0};
    else
        make_meter(workload, index);
    // A threshold outlives its meter, and waits for the one that has the name next.
    watch_meter_changed(workload, removed != NULL ? removed : meter->key);
    if (!workload->is_real)
        return;
    struct registry *registry = reader_registry(workload->reader);
    enum status status = removed != NULL
                             ? registry_remove(registry, removed, &error)
                             : registry_put(registry, meter, workload_now_ns, NULL, &error);
    succeed(workload, status, &error);
    if (is_polled)
        succeed(workload, ledger_poll_meters(workload->ledger, &error), &error);
}

static void
make_batch(struct workload *workload, uint32_t most, bool has_identities)
{
    workload->batch_count = 1 + (uint32_t)draw(workload, most);
    for (uint32_t i = 0; i < workload->batch_count; i++) {
        struct model_event *event = &workload->batch[i];
        make_event(workload, event);
        if (has_identities && event->id[0] == '\0' && event->chunk[0] == '\0')
            (void)snprintf(event->id, sizeof event->id, "f%u", workload->serial);
    }
}

static void
run_step(struct workload *workload)
{
    uint64_t kind = draw(workload, 100);
    workload->step++;
    if (kind < 10) {
        make_burst(workload);
        batch_put(workload);
    } else if (kind < 25) {
        uint64_t count = 1 + draw(workload, 6);
        for (uint64_t i = 0; i < count; i++)
            change_event(workload);
    } else if (kind < 32) {
        change_cut(workload);
    } else if (kind < 66) {
        make_batch(workload, chance(workload, 20) ? 100 : 20, false);
        batch_put(workload);
    } else if (kind < 75) {
        change_meter(workload);
    } else if (kind < 88) {
        change_backfill(workload);
    } else {
        make_time_pass(workload);
    }
    if (chance(workload, 40))
        check_answers(workload, 15);
    if (workload->step % 3 == 0)
        check_lists(workload);
    watch_step(workload);
}

enum ending { ENDING_CLOSE, ENDING_DEATH, ENDING_DEATH_IN_FLIGHT };

// Opens, does some steps and ends; in a process that is to die, when is_real.
static void
run_session(struct workload *workload, enum ending ending)
{
    uint32_t steps = 2 + (uint32_t)draw(workload, 8);
    session_open(workload);
    if (workload->model.backfills_count == 0)
        open_backfill(workload);
    if (workload->is_in_flight)
        batch_put(workload);
    // What was in flight may have been stored, and flushed, by who did not know the thresholds yet.
    watch_opened(workload);
    for (uint32_t i = 0; i < steps; i++)
        run_step(workload);
    check_answers(workload, 15);
    check_watch(workload);
    workload->step++;
    if (ending == ENDING_CLOSE) {
        session_close(workload);
    } else if (ending == ENDING_DEATH_IN_FLIGHT) {
        make_batch(workload, 50, true);
        uint64_t left = draw(workload, workload->batch_count + 1);
        workload->is_in_flight = true;
        if (workload->is_real) {
            batch_hand_over(workload);
            wait_for_fates(workload, left);
        }
    }
    if (workload->is_real && ending != ENDING_CLOSE)
        _exit(0);
}

static void
run_session_to_death(struct workload *workload, enum ending ending)
{
    int status = 0;
    bool was_real = workload->is_real;
    (void)fflush(NULL);
    pid_t child = fork();
    must(child >= 0);
    if (child == 0) {
        run_session(workload, ending);
        _exit(1);
    }
    must(waitpid(child, &status, 0) == child);
    if (WIFSIGNALED(status))
        fail(workload, "a session died of signal %d", WTERMSIG(status));
    if (WEXITSTATUS(status) != 0)
        _exit(1);
    workload->is_real = false;
    run_session(workload, ending);
    workload->is_real = was_real;
}

static void
run_pause(struct workload *workload)
{
    bool is_dropped = chance(workload, 15);
    uint32_t shard = (uint32_t)draw(workload, workload->shards);
    bool is_verified = chance(workload, 10);
    if (is_dropped)
        state_drop(workload, shard);
    if (is_verified)
        check_verify(workload);
    if (chance(workload, 50) && !workload->is_in_flight)
        check_offline(workload);
}

// Most of the meters are there from the beginning.
static void
begin_meters(struct workload *workload)
{
    struct error error = {0};
    struct registry *registry;
    succeed(workload, registry_open(workload->dir, &registry, &error), &error);
    for (uint32_t i = 0; i < WORKLOAD_METERS; i++) {
        if (chance(workload, 30))
            continue;
        make_meter(workload, i);
        enum status status =
            registry_put(registry, &workload->meters[i], workload_now_ns, NULL, &error);
        succeed(workload, status, &error);
    }
    registry_close(registry);
}

static void
workload_begin(struct workload *workload)
{
    static const uint32_t backfill_percents[] = {5, 20, 50};
    struct error error = {0};
    workload->random = workload->seed;
    workload->watch_random = ~workload->seed;
    workload->list_random = workload->seed ^ 0x5bd1e9955bd1e995ULL;
    workload->is_real = true;
    workload->shards = 1 + (uint32_t)draw(workload, 3);
    workload->backfill_percent = backfill_percents[draw(workload, 3)];
    workload->model.past_max_ns = chance(workload, 50) ? 35 * DAY_NS : 2 * DAY_NS;
    workload->model.future_max_ns = 5 * MINUTE_NS;
    workload->shared = mmap(
        NULL, sizeof *workload->shared, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    must(workload->shared != MAP_FAILED);
    workload_now_ns =
        START_NS + (int64_t)draw(workload, 40) * DAY_NS + (int64_t)draw(workload, (uint64_t)DAY_NS);
    const struct ledger_create_options options = {
        .shards = workload->shards, .map_size = 256 << 20};
    succeed(workload, ledger_create(workload->dir, &options, &error), &error);
    begin_meters(workload);
}

static void
workload_end(struct workload *workload)
{
    (void)munmap(workload->shared, sizeof *workload->shared);
    free(workload->history);
    model_done(&workload->model);
}

static void
run_workload(uint64_t seed, const char *dir, bool is_verbose)
{
    static struct workload workload;
    workload = (struct workload){.seed = seed};
    (void)snprintf(workload.dir, sizeof workload.dir, "%s", dir);
    workload_begin(&workload);
    uint32_t sessions = 1 + (uint32_t)draw(&workload, 4);
    for (uint32_t i = 0; i < sessions || workload.is_in_flight; i++) {
        enum ending ending = (enum ending)draw(&workload, 3);
        if (ending == ENDING_CLOSE || i >= sessions)
            run_session(&workload, ENDING_CLOSE);
        else
            run_session_to_death(&workload, ending);
        run_pause(&workload);
    }
    workload.is_ending = true;
    check_dump(&workload);
    check_verify(&workload);
    check_rebuild(&workload, reopen);
    check_offline(&workload);
    check_verify(&workload);
    workload.is_damaged = check_damage(&workload);
    if (workload.is_damaged)
        check_offline(&workload);
    if (is_verbose)
        (void)printf(
            "seed %" PRIu64 ": %u shards, %u steps, %u events put, %u stored, %" PRIu64
            " taken out, %" PRIu64 " of them reverted, %u cuts, %" PRIu64 " questions, %" PRIu64
            " rows, %" PRIu64 " marks looked at, %" PRIu64 " events listed\n",
            seed,
            workload.shards,
            workload.step,
            workload.history_count,
            workload.model.count,
            workload.taken,
            workload.reverted,
            workload.model.cuts_count,
            workload.shared->questions,
            workload.shared->rows,
            workload.shared->marks,
            workload.shared->listed);
    workload_end(&workload);
}

static int
remove_one(const char *path, const struct stat *stat, int kind, struct FTW *place)
{
    (void)stat;
    (void)kind;
    (void)place;
    return remove(path);
}

// In memory where there is such a place: no death here takes the page cache along, so fsync proves
// nothing, and takes most of the time.
static void
dir_make(char dir[WORKLOAD_DIR_MAX])
{
    const char *place = getenv("TMPDIR");
    if (place == NULL)
        place = access("/dev/shm", W_OK) == 0 ? "/dev/shm" : "/tmp";
    (void)snprintf(dir, WORKLOAD_DIR_MAX, "%s/tally-model-XXXXXX", place);
    must(mkdtemp(dir) != NULL);
}

// In a process of its own. False: it found something.
static bool
run_seed(uint64_t seed, bool is_verbose)
{
    int status = 0;
    char dir[WORKLOAD_DIR_MAX];
    dir_make(dir);
    (void)fflush(NULL);
    pid_t child = fork();
    must(child >= 0);
    if (child == 0) {
        run_workload(seed, dir, is_verbose);
        exit(0);
    }
    must(waitpid(child, &status, 0) == child);
    must(nftw(dir, remove_one, 16, FTW_DEPTH | FTW_PHYS) == 0);
    if (WIFSIGNALED(status))
        (void)fprintf(stderr, "seed %" PRIu64 ": died of signal %d\n", seed, WTERMSIG(status));
    return WIFEXITED(status) && WEXITSTATUS(status) == 0;
}

static uint64_t
number_of(const char *text)
{
    char *end;
    uint64_t number = text == NULL ? 0 : strtoull(text, &end, 10);
    if (text == NULL || *text == '\0' || *end != '\0') {
        (void)fprintf(stderr, "usage: ledger.model [--seed N] [--workloads N] [--verbose]\n");
        exit(2);
    }
    return number;
}

int
main(int argc, char **argv)
{
    uint64_t seed = 1;
    uint64_t workloads = 1;
    bool is_verbose = false;
    for (int i = 1; i < argc; i++) {
        if (strcmp(argv[i], "--seed") == 0)
            seed = number_of(argv[++i]);
        else if (strcmp(argv[i], "--workloads") == 0)
            workloads = number_of(argv[++i]);
        else if (strcmp(argv[i], "--verbose") == 0)
            is_verbose = true;
        else
            (void)number_of(NULL);
    }
    for (uint64_t i = 0; i < workloads; i++) {
        if (!run_seed(seed + i, is_verbose)) {
            (void)fprintf(
                stderr,
                "a workload failed; again: ledger.model --seed %" PRIu64 " (the %" PRIu64
                ". of this run)\n",
                seed + i,
                i + 1);
            return 1;
        }
    }
    (void)printf(
        "%" PRIu64 " workloads from seed %" PRIu64 ": all answers agree\n", workloads, seed);
    return 0;
}
