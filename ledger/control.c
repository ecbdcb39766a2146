#include "ledger/control.h"

#include "base/assert.h"
#include "base/clock.h"
#include "base/log.h"
#include "base/pool.h"
#include "ledger/intake.h"

#include <errno.h>
#include <inttypes.h>

struct control {
    struct ledger *ledger;
    pthread_t thread;
    struct waker waker;
    struct slot jobs;
    struct flag stop;
};

void
control_begin(struct ledger *ledger)
{
    must(pthread_mutex_lock(&ledger->control_lock) == 0);
}

void
control_end(struct ledger *ledger)
{
    must(pthread_mutex_unlock(&ledger->control_lock) == 0);
}

// Puts the orders to the writers of count shards from the first one on, and waits for all of them.
static void
orders_run(struct ledger *ledger, uint32_t first, struct order *orders, uint32_t count)
{
    struct waker *waker = &ledger->asker;
    for (uint32_t i = 0; i < count; i++) {
        struct writer *writer = &ledger->writers[first + i];
        flag_set(&orders[i].is_done, 0);
        orders[i].asker = waker;
        slot_offer(&writer->orders, &orders[i]);
        waker_wake(&writer->waker);
    }
    for (uint32_t i = 0; i < count;) {
        waker_prepare(waker);
        if (!flag_get(&orders[i].is_done)) {
            waker_wait(waker, -1);
            continue;
        }
        waker_cancel(waker);
        i++;
    }
}

static enum status
orders_check(const struct order *orders, uint32_t count, struct error *error)
{
    for (uint32_t i = 0; i < count; i++) {
        if (orders[i].error.status)
            return error_set(error, orders[i].error.status, "%s", orders[i].error.text);
    }
    return STATUS_OK;
}

enum status
order_run(struct ledger *ledger, uint32_t shard, struct order *order, struct error *error)
{
    orders_run(ledger, shard, order, 1);
    return orders_check(order, 1, error);
}

enum status
orders_run_all(struct ledger *ledger, struct order *orders, struct error *error)
{
    orders_run(ledger, 0, orders, ledger->writers_count);
    return orders_check(orders, ledger->writers_count, error);
}

// First every shard says what it has, so that one that has failed stops a cut before it begins.
static enum status
cut_shards(
    struct ledger *ledger,
    struct order *orders,
    int64_t time_ns,
    uint32_t *out_number,
    struct error *error)
{
    uint32_t count = ledger->writers_count;
    uint32_t last = 0;
    orders_run(ledger, 0, orders, count);
    enum status status = orders_check(orders, count, error);
    for (uint32_t i = 0; i < count; i++)
        last = orders[i].number > last ? orders[i].number : last;
    if (status)
        return status;
    if (last >= CUTS_MAX)
        return error_set(error, STATUS_FULL, "the ledger has %" PRIu32 " cuts already", last);
    for (uint32_t i = 0; i < count; i++) {
        orders[i].kind = ORDER_CUT;
        orders[i].number = last + 1;
        orders[i].time_ns = time_ns;
    }
    orders_run(ledger, 0, orders, count);
    status = orders_check(orders, count, error);
    if (!status)
        *out_number = last + 1;
    return status;
}

enum status
ledger_cut(struct ledger *ledger, int64_t time_ns, uint32_t *out_number, struct error *error)
{
    int64_t latest_ns = ledger->options.now_ns() + ledger->options.future_max_ns;
    if (time_ns < 0 || time_ns > latest_ns) {
        return error_set(
            error, STATUS_INVALID, "a cut's time is not before 1970, and not in the future");
    }
    control_begin(ledger);
    struct order *orders = pool_take(ledger->writers_count, sizeof *orders);
    enum status status = orders != NULL ? backfill_finish(ledger, error)
                                        : error_set(error, STATUS_NO_MEMORY, "no memory for a cut");
    if (!status)
        status = cut_shards(ledger, orders, time_ns, out_number, error);
    pool_give(orders);
    control_end(ledger);
    return status;
}

enum status
control_run(
    struct ledger *ledger,
    const struct control_request *request,
    struct control_answer *out,
    struct error *error)
{
    *out = (struct control_answer){0};
    switch (request->kind) {
    case CONTROL_CUT: {
        uint32_t number = 0;
        enum status status = ledger_cut(ledger, request->time_ns, &number, error);
        out->number = number;
        return status;
    }
    case CONTROL_CORRECT: return ledger_correct(ledger, &request->correction, &out->number, error);
    case CONTROL_BACKFILL: return ledger_backfill(ledger, &request->backfill, &out->number, error);
    }
    return error_set(error, STATUS_INVALID, "no such change: %d", (int)request->kind);
}

static void
control_work(struct control *control, struct control_job *job)
{
    job->error.status = STATUS_OK;
    enum status status = control_run(control->ledger, &job->request, &job->answer, &job->error);
    must(status == job->error.status);
    struct waker *asker = job->asker;
    flag_set(&job->is_answered, 1);
    // From here on the job is the serve thread's again.
    waker_wake(asker);
}

// What an earlier process left half done. A writer that has failed says so itself.
static void
control_finish(struct ledger *ledger)
{
    struct error error = {0};
    control_begin(ledger);
    enum status status = backfill_finish(ledger, &error);
    control_end(ledger);
    if (status && status != STATUS_CLOSED)
        log_error("backfill_revert_interrupted", LOG_TEXT("reason", error.text));
}

static void *
control_main(void *argument)
{
    struct control *control = argument;
    control_finish(control->ledger);
    while (!flag_get(&control->stop)) {
        waker_prepare(&control->waker);
        struct control_job *job = slot_take(&control->jobs);
        if (job == NULL && !flag_get(&control->stop)) {
            waker_wait(&control->waker, -1);
            continue;
        }
        waker_cancel(&control->waker);
        if (job != NULL)
            control_work(control, job);
    }
    return NULL;
}

enum status
control_start(struct ledger *ledger, struct control **out, struct error *error)
{
    struct control *control = pool_take(1, sizeof *control);
    if (control == NULL)
        return error_set(error, STATUS_NO_MEMORY, "no memory for the control thread");
    control->ledger = ledger;
    enum status status = waker_init(&control->waker, error);
    if (!status) {
        int rc = pthread_create(&control->thread, NULL, control_main, control);
        errno = rc;
        if (rc != 0)
            status = error_set_errno(error, "cannot start the control thread");
    }
    if (!status) {
        *out = control;
        return STATUS_OK;
    }
    waker_done(&control->waker);
    pool_give(control);
    return status;
}

void
control_stop(struct control *control)
{
    if (control == NULL || flag_get(&control->stop))
        return;
    flag_set(&control->ledger->is_stopping, 1);
    flag_set(&control->stop, 1);
    waker_wake(&control->waker);
    must(pthread_join(control->thread, NULL) == 0);
}

void
control_free(struct control *control)
{
    if (control == NULL)
        return;
    must(flag_get(&control->stop));
    waker_done(&control->waker);
    pool_give(control);
}

void
control_offer(struct control *control, struct control_job *job)
{
    slot_offer(&control->jobs, job);
    waker_wake(&control->waker);
}
