#include "ledger/keeper.h"

#include "base/assert.h"
#include "base/clock.h"
#include "base/log.h"

#include <errno.h>
#include <inttypes.h>
#include <sched.h>
#include <stdio.h>
#include <sys/resource.h>

// How often the keeper looks around when nobody wants anything of it.
enum { KEEPER_LOOK_MS = 1000, KEEPER_NICE = 5 };

enum status
freeze_flush(
    struct env *state,
    const struct freeze *freeze,
    struct metric *groups_capped,
    struct error *error)
{
    uint64_t capped = 0;
    const struct flush_options options = {
        .state = state,
        .cells = freeze->cells,
        .position = freeze->position,
        .live = freeze->live,
        .live_count = freeze->live_count,
        .cuts = &freeze->cuts,
        .batches = freeze->batches,
        .batches_count = freeze->batches_count,
        .zones = freeze->zones,
        .groups_max = freeze->retention.groups_max,
        .capped = &capped,
    };
    enum status status = flush_run(&options, error);
    metric_add(groups_capped, (int64_t)capped);
    return status;
}

// Makes the windows that have closed, and deletes cells that are kept no longer.
static enum status
keeper_roll(struct keeper *keeper, const struct roll_options *options)
{
    struct roll_result result = {0};
    enum status status = roll_run(options, &result, &keeper->error);
    metric_add(keeper->options.windows_made, (int64_t)result.windows);
    metric_add(keeper->options.cells_deleted, (int64_t)result.deleted);
    metric_add(keeper->options.groups_capped, (int64_t)result.capped);
    return status;
}

static enum status
keeper_mark(struct keeper *keeper, bool *out_has_worked)
{
    struct watch_batch *batch = slot_take(&keeper->marks);
    if (batch == NULL)
        return STATUS_OK;
    *out_has_worked = true;
    enum status status = watch_write(batch, keeper->options.fired, &keeper->error);
    if (status)
        return status;
    slot_offer(&keeper->marked, batch);
    waker_wake(keeper->options.writer);
    return STATUS_OK;
}

// No cell on disk is dirty any more, or none that can be made anew.
static void
keeper_end_mending(struct keeper *keeper)
{
    flag_set(&keeper->is_mending, 0);
    published_set(&keeper->mended, published_get(&keeper->mended) + 1);
    waker_wake(keeper->options.writer);
}

// Cells of meters that are gone, some at a time.
static enum status
keeper_purge(struct keeper *keeper, bool *out_has_worked)
{
    uint64_t deleted = 0;
    if (!keeper->purge.is_due)
        return STATUS_OK;
    *out_has_worked = true;
    enum status status =
        purge_slice(&keeper->purge, keeper->options.state, &deleted, &keeper->error);
    if (deleted > 0)
        metric_add(keeper->options.cells_purged, (int64_t)deleted);
    return status;
}

static enum status
keeper_append(struct keeper *keeper, bool *out_has_worked)
{
    if (keeper->seal == NULL)
        keeper->seal = slot_take(&keeper->seals);
    if (keeper->seal == NULL)
        return STATUS_OK;
    const struct seal *seal = keeper->seal;
    enum status status = generations_append(keeper->options.generations, seal, &keeper->error);
    // Merges are behind: their next step comes first.
    if (status == STATUS_BUSY)
        return STATUS_OK;
    keeper->seal = NULL;
    *out_has_worked = true;
    return status;
}

static void
keeper_touch(struct keeper *keeper, bool *out_has_worked)
{
    const struct touch *touch = slot_take(&keeper->touches);
    if (touch == NULL)
        return;
    touch_do(touch);
    *out_has_worked = true;
}

static void
keeper_publish(struct keeper *keeper)
{
    struct generations_view *view = generations_view(keeper->options.generations);
    if (view->number == keeper->view_number)
        return;
    // A view that the writer has not looked at yet is overtaken by this one.
    (void)slot_take_back(&keeper->views);
    keeper->view_number = view->number;
    slot_offer(&keeper->views, view);
    waker_wake(keeper->options.writer);
}

// What events wait for, if it takes long.
static enum status
keeper_keep_identities(struct keeper *keeper, bool *out_has_worked)
{
    struct generations *generations = keeper->options.generations;
    bool has_stepped = false;
    // Before older tables are freed: it may be of one of them.
    keeper_touch(keeper, out_has_worked);
    generations_adopted(generations, published_get(&keeper->adopted));
    enum status status = keeper_append(keeper, out_has_worked);
    if (!status)
        status =
            generations_step(generations, keeper->options.now_ns(), &has_stepped, &keeper->error);
    if (status)
        return status;
    *out_has_worked = *out_has_worked || has_stepped;
    keeper_publish(keeper);
    return STATUS_OK;
}

// Amid windows that are made, which may take seconds: until no table waits.
static enum status
keeper_between(void *context, struct error *error)
{
    struct keeper *keeper = context;
    bool has_worked = false;
    must(error == &keeper->error);
    enum status status = keeper_mark(keeper, &has_worked);
    while (!status && !flag_get(&keeper->stop) &&
           (keeper->seal != NULL || slot_is_offered(&keeper->seals)))
        status = keeper_keep_identities(keeper, &has_worked);
    return status;
}

static enum status
keeper_flush(struct keeper *keeper, bool *out_has_worked)
{
    struct freeze *freeze = slot_take(&keeper->freezes);
    if (freeze == NULL)
        return STATUS_OK;
    *out_has_worked = true;
    // The freeze is the writer's again as soon as it is flushed.
    const struct cuts cuts = freeze->cuts;
    const struct mend_facts facts = {
        .meters = freeze->meters, .cuts = freeze->cuts, .zones = freeze->zones};
    const struct roll_options roll = {
        .state = keeper->options.state,
        .meters = freeze->meters,
        .cuts = &cuts,
        .zones = freeze->zones,
        .retention = freeze->retention,
        .now_s = keeper->options.now_ns() / SECOND_NS,
        .between = keeper_between,
        .context = keeper,
    };
    // Marks that were offered before the freeze.
    enum status status = keeper_mark(keeper, out_has_worked);
    if (!status)
        status = freeze_flush(
            keeper->options.state, freeze, keeper->options.groups_capped, &keeper->error);
    if (status)
        return status;
    purge_begin(&keeper->purge);
    slot_offer(&keeper->flushed, freeze);
    waker_wake(keeper->options.writer);
    status = keeper_roll(keeper, &roll);
    if (!status)
        status = mend_know(keeper->mend, &facts, &keeper->error);
    // The last batch may be done without keeper_mend having seen it: then nothing is needed now.
    if (!status && mend_is_needed(keeper->mend))
        flag_set(&keeper->is_mending, 1);
    else if (!status && flag_get(&keeper->is_mending) != 0)
        keeper_end_mending(keeper);
    // From here on the freeze's meters are the writer's to free.
    published_set(&keeper->rolled, published_get(&keeper->rolled) + 1);
    waker_wake(keeper->options.writer);
    return status;
}

// A record is forgotten behind the marks of what fired with its cell.
static bool
keeper_may_mend(const struct keeper *keeper)
{
    bool is_settled = published_get(&keeper->settled) > published_get(&keeper->mended);
    return mend_is_needed(keeper->mend) && (is_settled || !mend_forgets_next(keeper->mend));
}

static void
keeper_count_mended(struct keeper *keeper, uint64_t count)
{
    if (count == 0)
        return;
    metric_add(keeper->options.cells_mended, (int64_t)count);
    published_set(&keeper->mended, published_get(&keeper->mended) + 1);
    waker_wake(keeper->options.writer);
}

static enum status
keeper_mend(struct keeper *keeper, bool *out_has_worked)
{
    if (!keeper_may_mend(keeper))
        return STATUS_OK;
    *out_has_worked = true;
    struct error error = {0};
    // Marks that were offered before it was settled.
    enum status status = keeper_mark(keeper, out_has_worked);
    if (status)
        return status;
    status = mend_step(keeper->mend, &error);
    keeper_count_mended(keeper, mend_take_count(keeper->mend));
    // An old block that is damaged is none of ingest's business: questions name it, and the cells
    // stay dirty.
    if (status == STATUS_CORRUPT) {
        log_warn(
            "ledger_cells_not_mended",
            LOG_INT("shard", keeper->options.shard),
            LOG_TEXT("reason", error.text));
        mend_give_up(keeper->mend);
        status = STATUS_OK;
    }
    if (status)
        return error_set(&keeper->error, status, "%s", error.text);
    if (!mend_is_needed(keeper->mend))
        keeper_end_mending(keeper);
    return STATUS_OK;
}

// At most once in KEEPER_LOOK_MS, however much there is to do.
static void
keeper_look(struct keeper *keeper)
{
    int64_t now_ns = clock_monotonic_ns();
    if (now_ns - keeper->looked_ns < KEEPER_LOOK_MS * (SECOND_NS / 1000))
        return;
    keeper->looked_ns = now_ns;
    int cleared = readers_look(&keeper->log_readers, now_ns);
    cleared += readers_look(&keeper->state_readers, now_ns);
    int64_t age_ns = keeper->log_readers.age_ns > keeper->state_readers.age_ns
                         ? keeper->log_readers.age_ns
                         : keeper->state_readers.age_ns;
    metric_add(keeper->options.dead_readers, cleared);
    metric_set(keeper->options.reader_seconds, age_ns / SECOND_NS);
}

// One round. out_has_worked false: there was nothing to do.
static enum status
keeper_work(struct keeper *keeper, bool *out_has_worked)
{
    keeper_look(keeper);
    // Before a flush, which takes long.
    keeper_touch(keeper, out_has_worked);
    enum status status = keeper_mark(keeper, out_has_worked);
    if (!status)
        status = keeper_flush(keeper, out_has_worked);
    if (!status)
        status = keeper_keep_identities(keeper, out_has_worked);
    if (!status)
        status = keeper_mend(keeper, out_has_worked);
    if (!status)
        status = keeper_purge(keeper, out_has_worked);
    return status;
}

static bool
keeper_step(struct keeper *keeper)
{
    bool has_worked = false;
    if (flag_get(&keeper->failed) || flag_get(&keeper->stop))
        return false;
    if (keeper_work(keeper, &has_worked)) {
        flag_set(&keeper->failed, 1);
        waker_wake(keeper->options.writer);
        return false;
    }
    return has_worked;
}

// Acks wait for fronts and writers, nobody for the keeper, as long as it gets its share in the end:
// a third of what they get where all are busy, and never at once when a disk is done (sched(7):
// SCHED_BATCH does not preempt on waking). Of this thread alone. Advice: where that is refused it
// runs as they do.
static void
keeper_stand_back(void)
{
    const struct sched_param none = {0};
    if (sched_getscheduler(0) == SCHED_OTHER)
        (void)sched_setscheduler(0, SCHED_BATCH, &none);
    errno = 0;
    const int nice = getpriority(PRIO_PROCESS, 0);
    if (errno == 0)
        (void)setpriority(PRIO_PROCESS, 0, nice + KEEPER_NICE);
}

static void *
keeper_main(void *argument)
{
    struct keeper *keeper = argument;
    keeper_stand_back();
    while (!flag_get(&keeper->stop)) {
        if (keeper_step(keeper))
            continue;
        waker_prepare(&keeper->waker);
        if (keeper_step(keeper) || flag_get(&keeper->stop))
            waker_cancel(&keeper->waker);
        else
            waker_wait(&keeper->waker, KEEPER_LOOK_MS);
    }
    return NULL;
}

enum status
keeper_start(struct keeper *keeper, const struct keeper_options *options, struct error *error)
{
    must(!keeper->is_running);
    char name[16];
    keeper->options = *options;
    keeper->log_readers = (struct readers){.env = options->log};
    keeper->state_readers = (struct readers){.env = options->state};
    keeper->view_number = generations_view(options->generations)->number;
    published_set(&keeper->adopted, keeper->view_number);
    purge_begin(&keeper->purge);
    keeper->mend = mend_open(options->log, options->state);
    enum status status = mend_know(keeper->mend, &options->facts, error);
    flag_set(&keeper->is_mending, !status && mend_is_needed(keeper->mend));
    if (!status)
        status = waker_init(&keeper->waker, error);
    if (status) {
        mend_close(keeper->mend);
        keeper->mend = NULL;
        return status;
    }
    int rc = pthread_create(&keeper->thread, NULL, keeper_main, keeper);
    if (rc != 0) {
        waker_done(&keeper->waker);
        mend_close(keeper->mend);
        keeper->mend = NULL;
        errno = rc;
        return error_set_errno(error, "cannot start a keeper thread");
    }
    (void)snprintf(name, sizeof name, "keeper-%04" PRIu32, options->shard % 10000);
    (void)pthread_setname_np(keeper->thread, name);
    keeper->is_running = true;
    return STATUS_OK;
}

void
keeper_stop(struct keeper *keeper)
{
    if (!keeper->is_running)
        return;
    flag_set(&keeper->stop, 1);
    waker_wake(&keeper->waker);
    must(pthread_join(keeper->thread, NULL) == 0);
    waker_done(&keeper->waker);
    keeper->is_running = false;
    mend_close(keeper->mend);
    keeper->mend = NULL;
    const struct seal *left = keeper->seal != NULL ? keeper->seal : slot_take(&keeper->seals);
    if (left != NULL)
        id_table_close(left->table);
    const struct touch *touch = slot_take(&keeper->touches);
    if (touch != NULL)
        touch_drop(touch);
}

void
keeper_offer_freeze(struct keeper *keeper, struct freeze *freeze)
{
    keeper->frozen++;
    slot_offer(&keeper->freezes, freeze);
    waker_wake(&keeper->waker);
}

void
keeper_offer_seal(struct keeper *keeper, struct seal *seal)
{
    slot_offer(&keeper->seals, seal);
    waker_wake(&keeper->waker);
}

bool
keeper_offer_touch(struct keeper *keeper, struct touch *touch)
{
    // Nobody else offers here, so what is empty stays so.
    if (slot_is_offered(&keeper->touches))
        return false;
    slot_offer(&keeper->touches, touch);
    waker_wake(&keeper->waker);
    return true;
}

struct freeze *
keeper_take_flushed(struct keeper *keeper)
{
    return slot_take(&keeper->flushed);
}

void
keeper_offer_marks(struct keeper *keeper, struct watch_batch *batch)
{
    slot_offer(&keeper->marks, batch);
    waker_wake(&keeper->waker);
}

struct watch_batch *
keeper_take_marked(struct keeper *keeper)
{
    return slot_take(&keeper->marked);
}

bool
keeper_is_rolled(const struct keeper *keeper)
{
    return published_get(&keeper->rolled) == keeper->frozen;
}

bool
keeper_is_mended(const struct keeper *keeper)
{
    return flag_get(&keeper->is_mending) == 0;
}

uint64_t
keeper_mended(const struct keeper *keeper)
{
    return published_get(&keeper->mended);
}

void
keeper_settled(struct keeper *keeper, uint64_t mended)
{
    if (published_get(&keeper->settled) > mended)
        return;
    published_set(&keeper->settled, mended + 1);
    waker_wake(&keeper->waker);
}

const struct generations_view *
keeper_take_view(struct keeper *keeper)
{
    return slot_take(&keeper->views);
}

void
keeper_adopted(struct keeper *keeper, uint64_t number)
{
    published_set(&keeper->adopted, number);
    waker_wake(&keeper->waker);
}

const struct error *
keeper_failure(const struct keeper *keeper)
{
    return flag_get(&keeper->failed) ? &keeper->error : NULL;
}
