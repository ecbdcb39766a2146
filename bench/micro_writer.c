// What a front and a shard's writer do with events, without threads and sockets: frames of the
// load's events are decoded and put into groups, which are judged, stored and folded one after
// another, and each step's CPU time is told. Three meters count the events, as those of `load`.
#include "base/assert.h"
#include "base/clock.h"
#include "base/progress.h"
#include "bench/check.h"
#include "bench/generate.h"
#include "bench/micro.h"
#include "bench/scratch.h"
#include "ingest/decode_alike.h"
#include "ingest/frame.h"
#include "ledger/ledger.h"
#include "ledger/shard.h"

#include <stdio.h>
#include <time.h>

enum {
    GROUP_EVENTS = 16384,  // as they are at full load
    GROUP_SIZE = 8 << 20,
    FRAME_EVENTS = 1024,
    FRAME_ITEMS = 1 << 14,  // looked through at once, as a front does
    EVENT_SIZE = 110,
    MAP_EACH = 128,  // bytes of log and identities an event, generously
};

enum stage { STAGE_FRONT, STAGE_JUDGE, STAGE_STORE, STAGE_FOLD, STAGE_COUNT };

static const char *const STAGE_FIGURES[STAGE_COUNT] = {
    "writer_front_cpu_ns", "writer_judge_cpu_ns", "writer_store_cpu_ns", "writer_fold_cpu_ns"};

struct bench {
    char dir[PATH_MAX];
    struct ledger_conf conf;
    struct billing_zones zones;
    struct meters meters;
    struct shard shard;
    struct lane lane;
    struct waker front, writer;
    struct generator generator;
    struct buffer frame;
    struct decode_layout layout;
    uint64_t frames;
    double spent_ns[STAGE_COUNT];
};

static double
cpu_ns(void)
{
    struct timespec now = {0};
    (void)clock_gettime(CLOCK_THREAD_CPUTIME_ID, &now);
    return (double)now.tv_sec * 1e9 + (double)now.tv_nsec;
}

static enum status
bench_meters(struct bench *bench, struct error *error)
{
    struct registry *registry = NULL;
    struct meter *list = NULL;
    uint32_t count = 0;
    enum status status = registry_open(bench->dir, &registry, error);
    if (status)
        return status;
    status = registry_list(registry, &bench->meters.arena, &list, &count, error);
    registry_close(registry);
    if (!status)
        bench->meters.set = meter_set_make(list, count, &bench->meters.arena);
    bench->meters.generation = 1;
    return status;
}

// One frame's bytes, which are filled again and again.
static enum status
bench_frame(struct bench *bench, const struct micro_options *options, struct error *error)
{
    const struct generate_options generate = {
        .seed = (uint64_t)options->seed,
        .event_size = EVENT_SIZE,
        .chunk_events = FRAME_EVENTS,
        .subjects = (uint32_t)options->subjects,
    };
    enum status status = generator_init(&bench->generator, &generate, error);
    if (status)
        return status;
    const uint32_t size = generator_frame_size(&bench->generator);
    uint8_t *frame = buffer_reserve(&bench->frame, size);
    if (frame == NULL)
        return error_set(error, STATUS_NO_MEMORY, "no memory for a frame");
    buffer_commit(&bench->frame, size);
    generator_prepare(&bench->generator, frame);
    return STATUS_OK;
}

static enum status
bench_open(struct bench *bench, const struct micro_options *options, struct error *error)
{
    const uint64_t map_size = (UINT64_C(1) << 30) + (uint64_t)options->events * MAP_EACH;
    enum status status = scratch_make(options->dir, bench->dir, error);
    if (!status)
        status = bench_frame(bench, options, error);
    if (!status)
        status = check_prepare(bench->dir, 1, map_size, error);
    if (!status)
        status = ledger_conf_read(bench->dir, &bench->conf, error);
    if (!status)
        status = bench_meters(bench, error);
    if (!status)
        status = waker_init(&bench->front, error);
    if (!status)
        status = waker_init(&bench->writer, error);
    if (!status)
        status = lane_init(&bench->lane, GROUP_SIZE, GROUP_EVENTS, error);
    if (status)
        return status;
    bench->lane.front = &bench->front;
    bench->lane.writer = &bench->writer;
    const struct shard_options shard = {
        .dir = bench->dir,
        .shards = 1,
        .map_size = bench->conf.map_size,
        .secret = &bench->conf.secret,
        .zones = &bench->zones,
    };
    status = shard_open(&bench->shard, &shard, error);
    if (status)
        return status;
    shard_adopt(&bench->shard, &bench->meters);
    return shard_recover(&bench->shard, error);
}

static void
bench_close(struct bench *bench)
{
    shard_close(&bench->shard);
    lane_done(&bench->lane);
    waker_done(&bench->front);
    waker_done(&bench->writer);
    arena_done(&bench->meters.arena);
    buffer_done(&bench->frame);
    scratch_remove(bench->dir);
}

// The CPU time since the last call goes to the stage.
static void
stage_end(struct bench *bench, enum stage stage, double *since_ns)
{
    double now_ns = cpu_ns();
    bench->spent_ns[stage] += now_ns - *since_ns;
    *since_ns = now_ns;
}

// What a front does with a frame that has arrived. False: it is not what it should be.
static bool
frame_put(struct bench *bench, struct group *group, int64_t now_ns)
{
    struct frame frame;
    struct frame_walk walk = {.shape = &bench->layout.shape.bytes};
    struct decode_stats stats = {0};
    enum frame_fault fault = frame_begin(buffer_view(&bench->frame), &frame);
    while (fault == FRAME_FINE && !frame.is_whole)
        fault = frame_look(&frame, FRAME_ITEMS, &walk);
    if (fault != FRAME_FINE || frame.entries_count != FRAME_EVENTS)
        return false;
    struct cursor in = cursor_over(frame.entries);
    for (uint32_t i = 0; i < FRAME_EVENTS; i++) {
        __attribute__((uninitialized)) struct event event;
        if (decode_entry_alike(&bench->layout, &frame, &in, i, &event, &stats) != REFUSAL_NONE)
            return false;
        uint64_t hash = hash64(event.subject, 0);
        if (!group_put(group, &event, hash, now_ns, (struct receipt){0}, &bench->conf.secret))
            return false;
    }
    return true;
}

// Making the events is not what is measured.
static enum status
group_fill(struct bench *bench, struct group *group, int64_t now_ns, struct error *error)
{
    for (uint32_t i = 0; i < GROUP_EVENTS / FRAME_EVENTS; i++) {
        generator_fill(&bench->generator, bench->frame.data, bench->frames++, now_ns);
        double since_ns = cpu_ns();
        if (!frame_put(bench, group, now_ns))
            return error_set(error, STATUS_CORRUPT, "a frame was not taken");
        stage_end(bench, STAGE_FRONT, &since_ns);
    }
    lane_offer(&bench->lane);
    struct group *taken = lane_take(&bench->lane);
    must(taken == group);
    return STATUS_OK;
}

static enum status
group_run(struct bench *bench, struct error *error)
{
    static const struct clock_policy policy = {
        .past_max_ns = INT64_MAX / 2, .future_max_ns = DAY_NS};
    struct group *group = lane_group(&bench->lane, 1);
    struct survivors survivors;
    int64_t now_ns = clock_now_ns();
    must(group != NULL);
    enum status status = group_fill(bench, group, now_ns, error);
    if (status)
        return status;
    double since_ns = cpu_ns();
    status = shard_judge(&bench->shard, group, &policy, now_ns, &survivors, error);
    stage_end(bench, STAGE_JUDGE, &since_ns);
    if (!status && survivors.count != group->count)
        status = error_set(error, STATUS_CORRUPT, "a new event was known");
    if (!status)
        status = shard_store(&bench->shard, group, &survivors, now_ns, error);
    stage_end(bench, STAGE_STORE, &since_ns);
    if (!status)
        shard_fold(&bench->shard, group, now_ns);
    stage_end(bench, STAGE_FOLD, &since_ns);
    lane_answer(&bench->lane, group);
    group_release(group);
    struct group *answered = lane_collect(&bench->lane);
    must(answered == group);
    lane_give_back(group);
    if (!status && shard_wants_seal(&bench->shard))
        status = shard_seal_now(&bench->shard, bench->shard.head, error);
    return status;
}

enum status
micro_writer(const struct micro_options *options, struct micro_figures *out, struct error *error)
{
    static struct bench bench;
    struct progress progress;
    bench = (struct bench){0};
    uint64_t events = (uint64_t)options->events;
    enum status status = bench_open(&bench, options, error);
    progress_begin(&progress, "events", events);
    uint64_t made = 0;
    while (!status && made < events) {
        status = group_run(&bench, error);
        made = bench.frames * FRAME_EVENTS;
        progress_set(&progress, made);
    }
    progress_end(&progress);
    for (uint32_t i = 0; i < STAGE_COUNT && !status; i++)
        micro_add(out, STAGE_FIGURES[i], bench.spent_ns[i] / (double)made, 1, "ns an event");
    bench_close(&bench);
    return status;
}
