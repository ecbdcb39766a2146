#include "ledger/writer.h"

#include "base/assert.h"
#include "base/clock.h"
#include "base/log.h"
#include "ledger/shard_view.h"

#include <errno.h>
#include <inttypes.h>
#include <limits.h>
#include <stdio.h>

enum { FLUSH_BOUNDS_MAX = 2, DRAIN_LOOK_MS = 1000 };

static const int64_t DRAIN_MEND_NS = 10 * SECOND_NS;

// While groups come, this part of the time goes to what may wait. A slice is a block at least, so
// what it takes beyond its share is paid back before the next one.
enum { BEHIND_SHARE = 20, BEHIND_WAIT_MS = 5 };
static const int64_t BEHIND_SLICE_NS = 2 * 1000000LL;
static const int64_t BEHIND_CREDIT_MAX_NS = 20 * 1000000LL;
static const int64_t BEHIND_QUIET_NS = 200 * 1000000LL;
// Totals of thresholds: how long at once, since questions wait for it, and how long marks of what
// fired are gathered.
static const int64_t WATCH_SLICE_NS = 250 * 1000LL;
static const int64_t FIRED_COMMIT_NS = 200 * 1000000LL;
// What was rebuilt is flushed when it is so much, or so old.
static const uint64_t REBUILD_FLUSH_BYTES = 256ULL << 20;
static const int64_t REBUILD_FLUSH_NS = 5 * 1000000000LL;

// Retention is about days: a look now and then is enough, and its steps leave time for groups.
static const int64_t RETAIN_LOOK_NS = 10 * SECOND_NS;
static const int64_t RETAIN_STEP_NS = SECOND_NS / 20;

enum status
writer_init(struct writer *writer, const struct writer_options *options, struct error *error)
{
    must(options->idle_flush_ns > 0 && options->busy_flush_ns > 0);
    writer->options = *options;
    writer->shard.answers = &writer->answers;
    enum status status = waker_init(&writer->waker, error);
    return status ? status : answers_init(&writer->answers, &writer->shard, &writer->waker, error);
}

void
writer_done(struct writer *writer)
{
    must(!writer->is_running);
    shard_close(&writer->shard);
    answers_done(&writer->answers);
    waker_done(&writer->waker);
}

static void
writer_fail(struct writer *writer)
{
    (void)error_prefix(&writer->error, "shard %04" PRIu32, writer->shard.number);
    log_error(
        "ledger_failed",
        LOG_INT("shard", writer->shard.number),
        LOG_TEXT("reason", writer->error.text));
    flag_set(&writer->failed, 1);
}

static bool
writer_has_failed(const struct writer *writer)
{
    return flag_get(&writer->failed) != 0;
}

static bool
writer_adopt(struct writer *writer)
{
    // The older set is freed once this one is adopted, and the keeper may be looking at it.
    if (!keeper_is_rolled(&writer->keeper))
        return false;
    const struct meters *meters = slot_take(&writer->meters);
    if (meters == NULL)
        return false;
    shard_adopt(&writer->shard, meters);
    published_set(&writer->adopted, meters->generation);
    return true;
}

// What the keeper has done since. False: nothing.
static bool
writer_collect(struct writer *writer)
{
    struct keeper *keeper = &writer->keeper;
    const struct error *cause = keeper_failure(keeper);
    if (cause != NULL && !writer_has_failed(writer)) {
        (void)error_set(&writer->error, cause->status, "%s", cause->text);
        writer_fail(writer);
    }
    const struct freeze *flushed = keeper_take_flushed(keeper);
    if (flushed != NULL) {
        shard_thaw(&writer->shard);
        watch_renew(&writer->shard.watch);
    }
    const struct generations_view *view = keeper_take_view(keeper);
    if (view != NULL) {
        shard_adopt_view(&writer->shard, view);
        keeper_adopted(keeper, view->number);
    }
    uint64_t mended = keeper_mended(keeper);
    if (mended != writer->mended)
        watch_renew(&writer->shard.watch);
    bool has_mended = mended != writer->mended;
    writer->mended = mended;
    const struct watch_batch *marked = keeper_take_marked(keeper);
    if (marked != NULL) {
        uint64_t fired = watch_taken(&writer->shard.watch);
        metric_add(&writer->shard.metrics[SHARD_FIRED], (int64_t)fired);
    }
    return flushed != NULL || view != NULL || marked != NULL || has_mended;
}

// What thresholds need after a group, and when there is none. False: nothing, or it is the keeper's
// turn.
static bool
writer_watch(struct writer *writer, int64_t now_ns, bool has_taken)
{
    struct watch *watch = &writer->shard.watch;
    bool has_worked = false;
    if (writer_has_failed(writer))
        return false;
    if (watch_has_unbased(watch)) {
        const struct watch_source source = shard_watch_source(&writer->shard);
        has_worked = true;
        if (watch_base(watch, &source, WATCH_SLICE_NS, &writer->error))
            writer_fail(writer);
    }
    watch_trim(watch);
    if (has_taken && !writer->wants_freeze && now_ns - writer->fired_at_ns < FIRED_COMMIT_NS)
        return has_worked;
    struct watch_batch *batch = watch_take(watch);
    if (batch == NULL)
        return has_worked;
    writer->fired_at_ns = now_ns;
    keeper_offer_marks(&writer->keeper, batch);
    return true;
}

// Thresholds have seen all that the keeper made anew, as far as it is collected here.
static void
writer_settle(struct writer *writer)
{
    const struct watch *watch = &writer->shard.watch;
    if (!writer_has_failed(writer) && !watch_has_unbased(watch) && !watch_has_pending(watch))
        keeper_settled(&writer->keeper, writer->mended);
}

// A rebuild is over, and its cells are not on disk, whose dirty ones wait for them.
static bool
writer_has_rebuilt(const struct writer *writer)
{
    const struct shard *shard = &writer->shard;
    return shard->rebuild.has_unflushed && !meter_rebuild_is_due(shard);
}

// There are blocks whose cells nobody has been told to flush.
static bool
writer_is_behind(const struct writer *writer)
{
    const struct shard *shard = &writer->shard;
    uint64_t told = shard_is_frozen(shard) ? shard->freeze.position : shard->flushed;
    bool is_behind = shard->head > told || shard->has_lost_meters || writer_has_rebuilt(writer);
    return is_behind && !writer_has_failed(writer) && !writer->options.leaves_cells;
}

// What is in the cells is not folded again after a start: thresholds have seen it first, and what
// fired with it is on its way to disk before it. False: not yet, or one is on its way.
static bool
writer_freeze(struct writer *writer)
{
    struct watch *watch = &writer->shard.watch;
    if (shard_is_frozen(&writer->shard) || watch_has_unbased(watch) || watch_has_pending(watch))
        return false;
    keeper_offer_freeze(&writer->keeper, shard_freeze(&writer->shard));
    writer->behind_since_ns = 0;
    writer->wants_freeze = false;
    watch->wants_flush = false;
    return true;
}

static void
writer_flush(struct writer *writer)
{
    if (!writer_is_behind(writer) || shard_is_frozen(&writer->shard))
        return;
    writer->wants_freeze = true;
    (void)writer_freeze(writer);
}

// Nothing came in for a while, or something comes in all the time: windows are to be made when they
// close, and a start is to be short, in either case.
static bool
writer_is_due(struct writer *writer, int64_t now_ns)
{
    const struct writer_options *options = &writer->options;
    if (!writer_is_behind(writer) || shard_is_frozen(&writer->shard) || writer->wants_freeze)
        return false;
    if (writer->behind_since_ns == 0)
        writer->behind_since_ns = now_ns;
    return now_ns - writer->last_work_ns >= options->idle_flush_ns ||
           now_ns - writer->behind_since_ns >= options->busy_flush_ns ||
           shard_wants_flush(&writer->shard) || writer->shard.watch.wants_flush ||
           writer_has_rebuilt(writer);
}

static void
writer_seal_now(struct writer *writer)
{
    struct seal *seal = shard_seal(&writer->shard, writer->shard.head, &writer->error);
    if (seal == NULL)
        writer_fail(writer);
    else
        keeper_offer_seal(&writer->keeper, seal);
}

static void
writer_seal(struct writer *writer)
{
    if (!writer_has_failed(writer) && shard_wants_seal(&writer->shard))
        writer_seal_now(writer);
}

static void
writer_touch(struct writer *writer)
{
    struct dedup *dedup = writer->shard.dedup;
    struct touch *touch = writer->options.touches_ahead ? dedup_touch(dedup) : NULL;
    if (touch != NULL && keeper_offer_touch(&writer->keeper, touch))
        dedup_touched(dedup);
}

// False: the keeper is so far behind that nothing more may come into memory.
static bool
writer_has_room(const struct writer *writer)
{
    const struct shard *shard = &writer->shard;
    bool is_waiting = shard_is_frozen(shard) || writer->wants_freeze;
    bool is_full = is_waiting && shard_is_beyond(shard, FLUSH_BOUNDS_MAX);
    return writer_has_failed(writer) ||
           (!is_full && !watch_is_behind(&shard->watch) && dedup_has_room(shard->dedup));
}

// Somebody waits for the writer, and it for the keeper: until there is room, also while a front
// takes its group back to add to it.
static bool
writer_is_held(struct writer *writer)
{
    if (writer_has_room(writer))
        return writer->is_held = false;
    uint64_t count = published_get(&writer->lanes_count);
    writer->is_held = writer->is_held || slot_is_offered(&writer->orders);
    for (uint64_t i = 0; i < count && !writer->is_held; i++)
        writer->is_held = lane_is_offered(writer->lanes[i]);
    return writer->is_held;
}

// After what was written: memory beyond its bounds goes to the keeper.
static void
writer_relieve(struct writer *writer)
{
    const struct shard *shard = &writer->shard;
    bool is_much = shard->rebuild.unflushed_bytes >= REBUILD_FLUSH_BYTES;
    if (is_much || shard_wants_flush(shard))
        writer_flush(writer);
    writer_seal(writer);
    writer_touch(writer);
}

// False: there was no order, or no room for what it may free.
static bool
writer_obey(struct writer *writer)
{
    if (!writer_has_room(writer))
        return false;
    struct order *order = slot_take(&writer->orders);
    if (order == NULL)
        return false;
    if (!writer_has_failed(writer) &&
        shard_obey(&writer->shard, order, writer->options.now_ns(), &writer->error))
        writer_fail(writer);
    if (writer_has_failed(writer))
        order->error = writer->error;
    struct waker *asker = order->asker;
    flag_set(&order->is_done, 1);
    // From here on the order is its asker's again.
    waker_wake(asker);
    writer_relieve(writer);
    return true;
}

// The group's acks are on their way, so nobody waits for this but the next group, once a second.
static void
writer_sync_head(struct writer *writer, int64_t monotonic_ns)
{
    if (writer_has_failed(writer))
        return;
    answers_lend(&writer->answers);
    enum status status = shard_sync_head(&writer->shard, monotonic_ns, &writer->error);
    answers_reclaim(&writer->answers);
    if (status)
        writer_fail(writer);
}

// A group without survivors commits nothing; all commits before it are done, so its fates are true
// as well.
static void
writer_process(struct writer *writer, struct lane *lane, struct group *group)
{
    struct survivors survivors;
    struct shard *shard = &writer->shard;
    int64_t now_ns = writer->options.now_ns();
    must(group->count > 0);
    if (!writer_has_failed(writer)) {
        const struct clock_policy *policy = &writer->options.policy;
        answers_lend(&writer->answers);
        if (shard_judge(shard, group, policy, now_ns, &survivors, &writer->error) ||
            shard_store(shard, group, &survivors, now_ns, &writer->error))
            writer_fail(writer);
        answers_reclaim(&writer->answers);
    }
    group->is_lost = writer_has_failed(writer);
    bool is_lost = group->is_lost;
    lane_answer(lane, group);
    if (!is_lost)
        shard_fold(shard, group, now_ns);
    group_release(group);
    writer_relieve(writer);
}

static bool
writer_take_group(struct writer *writer)
{
    uint64_t count = published_get(&writer->lanes_count);
    if (!writer_has_room(writer))
        return false;
    for (uint64_t i = 0; i < count; i++) {
        struct lane *lane = writer->lanes[(writer->next_lane + i) % count];
        struct group *group = lane_take(lane);
        if (group == NULL)
            continue;
        writer->next_lane = (writer->next_lane + i + 1) % count;
        writer_process(writer, lane, group);
        return true;
    }
    return false;
}

static void
writer_rebuild(struct writer *writer, int64_t now_ns)
{
    struct shard *shard = &writer->shard;
    struct error error = {0};
    if (!shard->rebuild.has_unflushed)
        writer->rebuild_since_ns = now_ns;
    // The meter stays as far as it came; who asks for what lies behind is told what is damaged.
    if (meter_rebuild_slice(shard, BEHIND_SLICE_NS, &error)) {
        log_error(
            "rebuild_failed", LOG_INT("shard", shard->number), LOG_TEXT("reason", error.text));
    }
    // Totals that waited for older events.
    if (!meter_rebuild_is_due(shard))
        watch_renew(&shard->watch);
    bool is_much = shard->rebuild.unflushed_bytes >= REBUILD_FLUSH_BYTES ||
                   now_ns - writer->rebuild_since_ns >= REBUILD_FLUSH_NS;
    if (shard->rebuild.has_unflushed && (is_much || !meter_rebuild_is_due(shard)))
        writer_flush(writer);
}

static bool
writer_has_work_behind(const struct writer *writer)
{
    const struct shard *shard = &writer->shard;
    // Memory is bounded: what is rebuilt waits for what is being flushed.
    bool has_room = !shard_is_frozen(shard) || shard->rebuild.unflushed_bytes < REBUILD_FLUSH_BYTES;
    return meter_rebuild_is_due(shard) && has_room && !writer_has_failed(writer) &&
           !writer->options.leaves_cells && !flag_get(&writer->stop);
}

// One slice of what may wait: older blocks for new meters. False: there are none, or it is not
// their turn.
static bool
writer_work_behind(struct writer *writer, int64_t now_ns)
{
    bool is_quiet = now_ns - writer->last_work_ns >= BEHIND_QUIET_NS;
    writer->credit_ns += (now_ns - writer->credit_at_ns) / BEHIND_SHARE;
    writer->credit_at_ns = now_ns;
    if (writer->credit_ns > BEHIND_CREDIT_MAX_NS)
        writer->credit_ns = BEHIND_CREDIT_MAX_NS;
    if (!writer_has_work_behind(writer) || (!is_quiet && writer->credit_ns <= 0))
        return false;
    writer_rebuild(writer, now_ns);
    if (!is_quiet)
        writer->credit_ns -= clock_monotonic_ns() - now_ns;
    return true;
}

// Deletes some of the log's beginning when that is due. A failure ends the shard's writing, as that
// of a commit does.
static void
writer_retain(struct writer *writer, int64_t monotonic_ns)
{
    bool has_more = false;
    bool wants_seal = false;
    if (writer->options.keep_log_ns == 0 || monotonic_ns < writer->retain_due_ns ||
        writer_has_failed(writer))
        return;
    // What it takes out here is still to be read, whether or not this shard knows of it yet.
    if (flag_get(writer->options.is_reverting)) {
        writer->retain_due_ns = monotonic_ns + RETAIN_STEP_NS;
        return;
    }
    int64_t before_ns = writer->options.now_ns() - writer->options.keep_log_ns;
    answers_lend(&writer->answers);
    enum status status =
        shard_retain(&writer->shard, before_ns, &has_more, &wants_seal, &writer->error);
    answers_reclaim(&writer->answers);
    if (status) {
        writer_fail(writer);
        return;
    }
    if (wants_seal)
        writer_seal_now(writer);
    writer->retain_due_ns = monotonic_ns + (has_more ? RETAIN_STEP_NS : RETAIN_LOOK_NS);
}

// One round of everything. False: there was nothing to do.
static bool
writer_step(struct writer *writer)
{
    bool has_adopted = writer_adopt(writer);
    bool has_collected = writer_collect(writer);
    bool has_answered = answers_give(&writer->answers);
    bool has_obeyed = writer_obey(writer);
    bool has_taken = writer_take_group(writer);
    int64_t now_ns = clock_monotonic_ns();
    if (!writer_is_held(writer) || has_taken || has_obeyed || has_collected)
        published_set(&writer->busy_since_ns, (uint64_t)now_ns);
    if (has_taken || has_obeyed)
        writer->last_work_ns = now_ns;
    writer_sync_head(writer, now_ns);
    bool has_watched = writer_watch(writer, now_ns, has_taken || has_obeyed);
    writer_settle(writer);
    if (writer->wants_freeze && writer_freeze(writer))
        has_watched = true;
    writer_retain(writer, now_ns);
    if (writer_is_due(writer, now_ns)) {
        writer_flush(writer);
        return true;
    }
    // A table that filled up while another one was being written.
    if (has_collected)
        writer_seal(writer);
    return writer_work_behind(writer, now_ns) || has_watched || has_adopted || has_collected ||
           has_answered || has_obeyed || has_taken;
}

static int
writer_sleep_ms(const struct writer *writer)
{
    if (writer_has_work_behind(writer))
        return BEHIND_WAIT_MS;
    int64_t due_ns = INT64_MAX;
    // While cells are being flushed, or marks before them, the keeper wakes us.
    if (writer_is_behind(writer) && !shard_is_frozen(&writer->shard) && !writer->wants_freeze)
        due_ns = writer->last_work_ns + writer->options.idle_flush_ns;
    if (writer->options.keep_log_ns != 0 && writer->retain_due_ns < due_ns &&
        !writer_has_failed(writer))
        due_ns = writer->retain_due_ns;
    if (due_ns == INT64_MAX)
        return -1;
    int64_t left_ms = (due_ns - clock_monotonic_ns()) / 1000000 + 1;
    if (left_ms < 0)
        return 0;
    return left_ms > INT_MAX ? INT_MAX : (int)left_ms;
}

static void
writer_sleep(struct writer *writer, int timeout_ms)
{
    answers_lend(&writer->answers);
    waker_wait(&writer->waker, timeout_ms);
    answers_reclaim(&writer->answers);
}

// All cells to disk. What was offered before the stop is in, nothing is offered after it. Cells
// that are made anew are waited for a while; the next start goes on with the others.
static void
writer_drain(struct writer *writer)
{
    const bool leaves_cells = writer->options.leaves_cells;
    int64_t deadline_ns = clock_monotonic_ns() + DRAIN_MEND_NS;
    while (!writer_has_failed(writer)) {
        waker_prepare(&writer->waker);
        const struct shard *shard = &writer->shard;
        bool has_collected = writer_collect(writer);
        bool has_watched = writer_watch(writer, clock_monotonic_ns(), false);
        writer_settle(writer);
        // A rebuild that a stop interrupts is flushed as far as it came.
        bool has_failed = writer_has_failed(writer);
        if (!leaves_cells && !has_failed && shard_is_unflushed(shard))
            (void)writer_freeze(writer);
        bool is_done = !shard_is_frozen(shard) && (leaves_cells || !shard_is_unflushed(shard)) &&
                       watch_is_settled(&shard->watch) && !watch_has_unbased(&shard->watch) &&
                       keeper_is_rolled(&writer->keeper) &&
                       (keeper_is_mended(&writer->keeper) || clock_monotonic_ns() > deadline_ns);
        if (has_watched || has_collected || is_done || writer_has_failed(writer))
            waker_cancel(&writer->waker);
        else
            writer_sleep(writer, DRAIN_LOOK_MS);
        if (is_done)
            break;
    }
}

static void *
writer_main(void *argument)
{
    struct writer *writer = argument;
    writer->last_work_ns = clock_monotonic_ns();
    writer->credit_at_ns = writer->last_work_ns;
    for (;;) {
        if (writer_step(writer))
            continue;
        waker_prepare(&writer->waker);
        bool has_worked = writer_step(writer);
        bool is_stopping = flag_get(&writer->stop) && writer_has_room(writer);
        if (has_worked || is_stopping) {
            waker_cancel(&writer->waker);
            if (has_worked)
                continue;
            break;
        }
        if (!writer->is_held)
            published_set(&writer->busy_since_ns, 0);
        writer_sleep(writer, writer_sleep_ms(writer));
        // From here on, also while the first group after it hangs in its commit.
        if (!writer->is_held)
            published_set(&writer->busy_since_ns, (uint64_t)clock_monotonic_ns());
    }
    writer_drain(writer);
    published_set(&writer->busy_since_ns, 0);
    return NULL;
}

enum status
writer_start(struct writer *writer, struct error *error)
{
    must(!writer->is_running);
    char name[16];
    const struct keeper_options options = {
        .shard = writer->shard.number,
        .log = writer->shard.log,
        .state = writer->shard.state,
        .fired = writer->shard.fired,
        .facts =
            {
                    .meters = writer->shard.meters->set,
                    .cuts = writer->shard.cuts,
                    .zones = writer->shard.zones,
                    },
        .generations = writer->shard.generations,
        .writer = &writer->waker,
        .now_ns = writer->options.now_ns,
        .windows_made = &writer->shard.metrics[SHARD_WINDOWS_MADE],
        .cells_deleted = &writer->shard.metrics[SHARD_CELLS_DELETED],
        .dead_readers = &writer->shard.metrics[SHARD_DEAD_READERS],
        .reader_seconds = &writer->shard.metrics[SHARD_READER_SECONDS],
        .cells_mended = &writer->shard.metrics[SHARD_CELLS_MENDED],
        .cells_purged = &writer->shard.metrics[SHARD_CELLS_PURGED],
        .groups_capped = &writer->shard.metrics[SHARD_GROUPS_CAPPED],
    };
    enum status status = keeper_start(&writer->keeper, &options, error);
    if (status)
        return status;
    writer_touch(writer);
    int rc = pthread_create(&writer->thread, NULL, writer_main, writer);
    if (rc != 0) {
        keeper_stop(&writer->keeper);
        errno = rc;
        return error_set_errno(error, "cannot start a writer thread");
    }
    (void)snprintf(name, sizeof name, "shard-%04" PRIu32, writer->shard.number % 10000);
    (void)pthread_setname_np(writer->thread, name);
    writer->is_running = true;
    return STATUS_OK;
}

void
writer_stop(struct writer *writer)
{
    if (!writer->is_running)
        return;
    flag_set(&writer->stop, 1);
    waker_wake(&writer->waker);
    int rc = pthread_join(writer->thread, NULL);
    must(rc == 0);
    keeper_stop(&writer->keeper);
    writer->is_running = false;
}
