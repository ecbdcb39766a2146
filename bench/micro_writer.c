// One shard's writer without threads, sockets or a front: groups of the load's events are put,
// judged, stored and folded one after another, and each step's CPU time is told. Three meters count
// the events, as those of `load`.
#include "base/assert.h"
#include "base/clock.h"
#include "base/progress.h"
#include "bench/check.h"
#include "bench/micro.h"
#include "bench/scratch.h"
#include "ledger/ledger.h"
#include "ledger/shard.h"
#include "ledger/uuid.h"

#include <stdio.h>
#include <time.h>

enum {
    GROUP_EVENTS = 16384,  // as they are at full load
    GROUP_SIZE = 8 << 20,
    PAIRS_SIZE = 7 + 3 + 7 + 3,
    SUBJECT_ROOM = 16,
    MAP_EACH = 128,  // bytes of log and identities an event, generously
};

enum stage { STAGE_PUT, STAGE_JUDGE, STAGE_STORE, STAGE_FOLD, STAGE_COUNT };

static const char *const STAGE_FIGURES[STAGE_COUNT] = {
    "writer_put_cpu_ns", "writer_judge_cpu_ns", "writer_store_cpu_ns", "writer_fold_cpu_ns"};

struct maker {
    uint64_t made;
    uint32_t subjects;
    int64_t seed;
    char subject[SUBJECT_ROOM];
    uint8_t id[UUID_TEXT_SIZE];
    uint8_t pairs[PAIRS_SIZE];
};

struct bench {
    char dir[PATH_MAX];
    struct ledger_conf conf;
    struct billing_zones zones;
    struct meters meters;
    struct shard shard;
    struct lane lane;
    struct waker front, writer;
    struct maker maker;
    double spent_ns[STAGE_COUNT];
};

static double
cpu_ns(void)
{
    struct timespec now = {0};
    (void)clock_gettime(CLOCK_THREAD_CPUTIME_ID, &now);
    return (double)now.tv_sec * 1e9 + (double)now.tv_nsec;
}

// SplitMix64 (Steele, Lea, Flood 2014): another number for each number.
static uint64_t
spread(uint64_t i)
{
    uint64_t z = (i + 1) * 0x9e3779b97f4a7c15ULL;
    z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9ULL;
    z = (z ^ (z >> 27)) * 0x94d049bb133111ebULL;
    return z ^ (z >> 31);
}

// The next event, as the load makes them: views into the maker, until the next one.
static void
event_make(struct maker *maker, int64_t now_ns, struct event *out)
{
    static const char regions[8][3] = {"eu", "us", "ap", "sa", "af", "me", "ca", "au"};
    const uint64_t random = spread(maker->made ^ (uint64_t)maker->seed << 40);
    const uint64_t id[2] = {random, spread(~random)};
    const unsigned tokens = 256 + 16 * (unsigned)(random & 63);
    uint8_t *pairs = maker->pairs;
    uuid_print((const uint8_t *)id, maker->id);
    (void)snprintf(
        maker->subject,
        sizeof maker->subject,
        "s-%08u",
        (unsigned)((random >> 32) % maker->subjects));
    memcpy(pairs, "\xa6tokens\xcd\x00\x00\xa6region\xa2", PAIRS_SIZE - 2);
    pairs[8] = (uint8_t)(tokens >> 8);
    pairs[9] = (uint8_t)tokens;
    memcpy(pairs + PAIRS_SIZE - 2, regions[random >> 6 & 7], 2);
    *out = (struct event){
        .subject = bytes_text(maker->subject),
        .type = bytes_text(GENERATE_TYPE),
        .id = bytes_of(maker->id, sizeof maker->id),
        .time_ns = now_ns + (int64_t)maker->made,
        .value = decimal_from_int(1 + (int64_t)(random >> 9 & 63)),
        .properties_count = 2,
        .properties_runs = 1,
        .properties = {bytes_of(pairs, PAIRS_SIZE)},
    };
    maker->made++;
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

static enum status
bench_open(struct bench *bench, const struct micro_options *options, struct error *error)
{
    bench->maker = (struct maker){.subjects = (uint32_t)options->subjects, .seed = options->seed};
    const uint64_t map_size = (UINT64_C(1) << 30) + (uint64_t)options->events * MAP_EACH;
    enum status status = scratch_make(options->dir, bench->dir, error);
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

// Making the events is not what is measured: they are made first, each put is timed with it, and
// what making them again takes is taken off.
static void
group_fill(struct bench *bench, struct group *group, int64_t now_ns)
{
    const struct maker before = bench->maker;
    struct event event;
    double since_ns = cpu_ns();
    for (uint32_t i = 0; i < GROUP_EVENTS; i++)
        event_make(&bench->maker, now_ns, &event);
    bench->spent_ns[STAGE_PUT] -= cpu_ns() - since_ns;
    bench->maker = before;
    since_ns = cpu_ns();
    for (uint32_t i = 0; i < GROUP_EVENTS; i++) {
        event_make(&bench->maker, now_ns, &event);
        uint64_t hash = hash64(event.subject, 0);
        bool has_room =
            group_put(group, &event, hash, now_ns, (struct receipt){0}, &bench->conf.secret);
        must(has_room);
    }
    lane_offer(&bench->lane);
    stage_end(bench, STAGE_PUT, &since_ns);
    struct group *taken = lane_take(&bench->lane);
    must(taken == group);
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
    group_fill(bench, group, now_ns);
    double since_ns = cpu_ns();
    enum status status = shard_judge(&bench->shard, group, &policy, now_ns, &survivors, error);
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
    while (!status && bench.maker.made < events) {
        status = group_run(&bench, error);
        progress_set(&progress, bench.maker.made);
    }
    progress_end(&progress);
    for (uint32_t i = 0; i < STAGE_COUNT && !status; i++)
        micro_add(
            out, STAGE_FIGURES[i], bench.spent_ns[i] / (double)bench.maker.made, 1, "ns an event");
    bench_close(&bench);
    return status;
}
