#include "bench/peer.h"

#include "base/assert.h"
#include "base/clock.h"
#include "base/pool.h"
#include "bench/scratch.h"

#include <errno.h>
#include <pthread.h>
#include <stdio.h>
#include <sys/stat.h>

struct runner {
    struct lane lane;
    pthread_t thread;
    int64_t end_ns;  // monotonic; 0: no limit
};

static enum status
oldest_settle(struct lane *lane, struct error *error)
{
    enum status status = lane->stand->peer->lane_settle(lane, error);
    if (status != STATUS_OK)
        return status;
    lane->ended_ns = clock_monotonic_ns();
    int64_t sent_ns = lane->sent_ns[lane->settled % PEER_DEPTH_MAX];
    histogram_add(&lane->latency, (uint64_t)(lane->ended_ns - sent_ns));
    lane->settled++;
    return STATUS_OK;
}

static enum status
chunks_run(struct runner *runner, struct error *error)
{
    struct lane *lane = &runner->lane;
    const struct peer *peer = lane->stand->peer;
    enum status status = STATUS_OK;
    while (lane->sent < lane->chunks && status == STATUS_OK) {
        int64_t now_ns = clock_monotonic_ns();
        if (runner->end_ns > 0 && now_ns >= runner->end_ns)
            break;
        lane->sent_ns[lane->sent % PEER_DEPTH_MAX] = now_ns;
        generator_fill(&lane->generator, lane->frame, lane->sent, clock_now_ns());
        status = peer->lane_send(lane, error);
        lane->sent++;
        if (status == STATUS_OK && lane->sent - lane->settled >= peer->depth)
            status = oldest_settle(lane, error);
    }
    while (lane->settled < lane->sent && status == STATUS_OK)
        status = oldest_settle(lane, error);
    return status;
}

static void *
runner_main(void *context)
{
    struct runner *runner = context;
    // The error stays in the lane, which says by it how it ended.
    enum status status = chunks_run(runner, &runner->lane.error);
    must(status == runner->lane.error.status);
    return NULL;
}

static enum status
lane_prepare(struct lane *lane, const struct stand *stand, uint32_t index, struct error *error)
{
    const struct peer_options *options = stand->options;
    struct generate_options generate = options->generate;
    uint64_t chunks = (options->events + generate.chunk_events - 1) / generate.chunk_events;
    generate.lane = index;
    if (!stand->peer->takes_duplicates)
        generate.duplicates_percent = 0;
    *lane = (struct lane){.stand = stand, .talk = {.fd = -1}};
    lane->chunks = chunks / options->lanes + (index < chunks % options->lanes);
    if (options->events == 0)
        lane->chunks = UINT64_MAX;
    enum status status = generator_init(&lane->generator, &generate, error);
    if (status != STATUS_OK)
        return status;
    lane->frame = pool_take(1, generator_frame_size(&lane->generator));
    if (lane->frame == NULL)
        return error_set(error, STATUS_NO_MEMORY, "no memory for a chunk");
    generator_prepare(&lane->generator, lane->frame);
    return stand->peer->lane_open(lane, error);
}

static void
lane_done(struct lane *lane)
{
    if (lane->stand == NULL)
        return;
    lane->stand->peer->lane_close(lane);
    for (size_t i = 0; i < sizeof lane->lists / sizeof lane->lists[0]; i++)
        buffer_done(&lane->lists[i]);
    pool_give(lane->frame);
}

static enum status
lanes_run(const struct stand *stand, struct runner *runners, int64_t began_ns, struct error *error)
{
    const struct peer_options *options = stand->options;
    enum status status = STATUS_OK;
    uint32_t started = 0;
    for (; started < options->lanes; started++) {
        struct runner *runner = &runners[started];
        runner->end_ns = options->limit_ns > 0 ? began_ns + options->limit_ns : 0;
        errno = pthread_create(&runner->thread, NULL, runner_main, runner);
        if (errno != 0) {
            status = error_set_errno(error, "cannot start a thread");
            break;
        }
    }
    for (uint32_t i = 0; i < started; i++) {
        int rc = pthread_join(runners[i].thread, NULL);
        must(rc == 0);
        const struct error *ended = &runners[i].lane.error;
        if (status == STATUS_OK && ended->status != STATUS_OK)
            status = error_set(error, ended->status, "%s", ended->text);
    }
    return status;
}

static void
lanes_collect(
    const struct runner *runners,
    uint32_t lanes,
    struct generate_totals *sent,
    struct peer_result *out)
{
    for (uint32_t i = 0; i < lanes; i++) {
        const struct lane *lane = &runners[i].lane;
        const struct generate_totals *totals = &lane->generator.totals;
        sent->events += totals->events;
        sent->duplicates += totals->duplicates;
        sent->value_sum += totals->value_sum;
        sent->tokens_sum += totals->tokens_sum;
        out->events += lane->settled * lane->generator.options.chunk_events;
        histogram_merge(&out->latency, &lane->latency);
    }
}

static enum status
stand_measure(
    struct stand *stand, struct runner *runners, struct peer_result *out, struct error *error)
{
    struct generate_totals sent = {0};
    const struct peer *peer = stand->peer;
    uint32_t lanes = stand->options->lanes;
    enum status status = STATUS_OK;
    for (uint32_t i = 0; i < lanes && status == STATUS_OK; i++)
        status = lane_prepare(&runners[i].lane, stand, i, error);
    if (status != STATUS_OK)
        return status;
    int64_t began_ns = clock_monotonic_ns();
    status = lanes_run(stand, runners, began_ns, error);
    if (status == STATUS_OK && peer->finish != NULL)
        status = peer->finish(stand, error);
    out->elapsed_ns = clock_monotonic_ns() - began_ns;
    lanes_collect(runners, lanes, &sent, out);
    return status == STATUS_OK ? peer->check(stand, &sent, &out->matches, error) : status;
}

static enum status
stand_open(struct stand *stand, struct error *error)
{
    enum status status = scratch_make(stand->options->parent_dir, stand->dir, error);
    if (status != STATUS_OK)
        return status;
    // Another user may have to go through it.
    (void)snprintf(stand->home, sizeof stand->home, "%.*s/home", PATH_MAX - 64, stand->dir);
    if (chmod(stand->dir, 0711) != 0 || mkdir(stand->home, 0700) != 0)
        return error_set_errno(error, "cannot make %s", stand->home);
    return stand->peer->start(stand, error);
}

enum status
peer_run(
    const struct peer *peer,
    const struct peer_options *options,
    struct peer_result *out,
    struct error *error)
{
    must(options->lanes > 0 && options->lanes <= PEER_LANES_MAX && peer->depth <= PEER_DEPTH_MAX);
    struct stand stand = {.peer = peer, .options = options};
    struct runner *runners = pool_take(options->lanes, sizeof *runners);
    *out = (struct peer_result){0};
    if (runners == NULL)
        return error_set(error, STATUS_NO_MEMORY, "no memory for lanes");
    enum status status = stand_open(&stand, error);
    out->is_missing = status == STATUS_NOT_FOUND;
    if (status == STATUS_OK)
        status = stand_measure(&stand, runners, out, error);
    for (uint32_t i = 0; i < options->lanes; i++)
        lane_done(&runners[i].lane);
    if (status == STATUS_OK)
        status = program_stop(&stand.program, peer->stop_signal, &out->server_cpu_ns, error);
    program_done(&stand.program);
    scratch_remove(stand.dir);
    pool_give(runners);
    return out->is_missing ? STATUS_OK : status;
}
