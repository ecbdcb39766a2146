// The batch, and what survives a crash in each of its states.
//
//     started      the run's row
//        |         A rerun goes on with the same row.
//        |  chunk_bill, per chunk: one statement, one transaction
//     billing      and drafts with lines of some chunks, without numbers
//        |         A rerun finds them by their key, leaves them alone and makes the others.
//     billed       and drafts of all chunks
//        |         A rerun makes none and gives the numbers.
//        |  store_invoices_finalize: one transaction
//     numbered     and every draft has its number and is final
//        |         A rerun finds nothing to do.
//        |  store_run_finish
//     finished     and finished_at
//
// 1. An invoice's id and key derive from customer, subscription, kind, period and generation:
//    however often and by however many workers a period is billed, one row comes of it (ON CONFLICT
//    DO NOTHING).
// 2. An invoice and its lines are one statement: there is no invoice without its lines.
// 3. Numbers are given to all drafts at once, ordered by key, under the lock of the counter:
//    without gaps, and the same whatever order the chunks were finished in.
// 4. Times are the run's clock, an argument, so a rerun at the same clock leaves the same rows.

#include "billing/run.h"

#include "base/assert.h"
#include "base/hash.h"
#include "base/progress.h"
#include "billing/run_chunk.h"
#include "billing/unsubscribed.h"

#include <inttypes.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum {
    RUN_ATTEMPTS_MAX = 10,
    RUN_ID_MAX = 40,
    RUN_TIMEOUT_MS = 30 * 60 * 1000,  // of a statement: a million numbers, or another run's rows
};

struct run {
    const struct run_settings *settings;
    struct chunk_context context;
    struct stored_catalog catalog;
    struct customer_range *chunks;
    size_t chunks_count;
    // Under the lock:
    pthread_mutex_t lock;
    pthread_cond_t changed;
    size_t chunks_taken;
    size_t chunks_done;
    size_t workers_left;
    enum status status;  // the first failure
    struct error *error;
    struct arena *arena;
    struct run_report *report;
    struct buffer made;      // struct run_made
    struct buffer refusals;  // struct run_refusal
};

// ---- what a chunk adds to the report, under the lock

static const char *
text_copy(struct arena *arena, const char *text)
{
    return text != NULL ? arena_text(arena, text) : NULL;
}

static const struct abacus_step *
steps_copy(struct arena *arena, const struct abacus_step *step)
{
    struct abacus_step *first = NULL, *last = NULL;
    for (; step != NULL; step = step->next) {
        struct abacus_step *copy = arena_new(arena, struct abacus_step);
        copy->text = arena_text(arena, step->text);
        if (last != NULL)
            last->next = copy;
        else
            first = copy;
        last = copy;
    }
    return first;
}

// A dry run's invoice outlives the chunk's arena.
static const struct invoice *
invoice_copy(struct arena *arena, const struct invoice *invoice)
{
    struct invoice *copy = arena_new(arena, struct invoice);
    *copy = *invoice;
    copy->customer = arena_text(arena, invoice->customer);
    copy->subscription = arena_text(arena, invoice->subscription);
    copy->input = arena_text(arena, invoice->input);
    copy->fees = NULL;  // the input has them
    copy->lines = arena_array(arena, invoice->lines_count + 1, struct invoice_line);
    for (size_t i = 0; i < invoice->lines_count; i++) {
        struct invoice_line *line = &copy->lines[i];
        *line = invoice->lines[i];
        line->description = arena_text(arena, line->description);
        line->charge = text_copy(arena, line->charge);
        line->meter = text_copy(arena, line->meter);
        line->quantity = arena_text(arena, line->quantity);
        line->clamped = arena_text(arena, line->clamped);
        line->free_units = arena_text(arena, line->free_units);
        line->exact_amount = arena_text(arena, line->exact_amount);
        line->carried = text_copy(arena, line->carried);
        line->remainder = text_copy(arena, line->remainder);
        line->steps = steps_copy(arena, line->steps);
    }
    return copy;
}

static enum status
total_add(struct run_report *report, const struct invoice *invoice, struct error *error)
{
    size_t i = 0;
    while (i < report->totals_count && report->totals[i].currency != invoice->currency)
        i++;
    if (i == RUN_CURRENCIES_MAX)
        return error_set(
            error, STATUS_FULL, "a run bills at most %d currencies", RUN_CURRENCIES_MAX);
    if (i == report->totals_count)
        report->totals[report->totals_count++] = (struct currency_total){invoice->currency, 0};
    if (!money_add(&report->totals[i].total_minor, invoice->total_minor))
        return error_set(
            error, STATUS_OVERFLOW, "the run's total in %s is too large", invoice->currency->code);
    return STATUS_OK;
}

static enum status
made_add(struct run *run, const struct invoice *invoice, struct error *error)
{
    if (invoice->lines_count == 0) {
        run->report->empty_count++;
        return STATUS_OK;
    }
    struct run_made made = {
        .customer = arena_text(run->arena, invoice->customer),
        .subscription = arena_text(run->arena, invoice->subscription),
        .kind = invoice->kind,
        .from_ns = invoice->from_ns,
        .to_ns = invoice->to_ns,
        .invoice = run->settings->is_dry ? invoice_copy(run->arena, invoice) : NULL,
    };
    memcpy(made.id, invoice->id, sizeof made.id);
    buffer_put(&run->made, &made, sizeof made);
    return total_add(run->report, invoice, error);
}

static enum status
outcome_add(struct run *run, const struct chunk_outcome *outcome, struct error *error)
{
    enum status status = STATUS_OK;
    for (size_t i = 0; status == STATUS_OK && i < outcome->count; i++)
        if (outcome->is_made[i])
            status = made_add(run, &outcome->invoices[i], error);
    for (size_t i = 0; i < outcome->refusals_count; i++) {
        struct run_refusal refusal = {
            arena_text(run->arena, outcome->refusals[i].customer),
            arena_text(run->arena, outcome->refusals[i].subscription),
            arena_text(run->arena, outcome->refusals[i].text),
        };
        buffer_put(&run->refusals, &refusal, sizeof refusal);
    }
    run->report->existing_count += outcome->existing_count;
    run->report->waiting_count += outcome->waiting_count;
    return status;
}

// ---- workers

static void
run_lock(struct run *run)
{
    must(pthread_mutex_lock(&run->lock) == 0);
}

static void
run_unlock(struct run *run)
{
    must(pthread_mutex_unlock(&run->lock) == 0);
}

// NULL: there is none left, or somebody failed.
static const struct customer_range *
chunk_take(struct run *run)
{
    const struct customer_range *chunk = NULL;
    run_lock(run);
    if (run->status == STATUS_OK && run->chunks_taken < run->chunks_count)
        chunk = &run->chunks[run->chunks_taken++];
    run_unlock(run);
    return chunk;
}

static void
chunk_finish(struct run *run, const struct chunk_outcome *outcome)
{
    struct error error;
    run_lock(run);
    enum status status = outcome_add(run, outcome, &error);
    if (status && run->status == STATUS_OK) {
        run->status = status;
        *run->error = error;
    }
    run->chunks_done++;
    must(pthread_cond_signal(&run->changed) == 0);
    run_unlock(run);
}

static void
worker_finish(struct run *run, enum status status, const struct error *error)
{
    run_lock(run);
    if (status && run->status == STATUS_OK) {
        run->status = status;
        *run->error = *error;
    }
    run->workers_left--;
    must(pthread_cond_signal(&run->changed) == 0);
    run_unlock(run);
}

// A deadlock or serialization failure undid the chunk's statement: it is done again.
static enum status
chunk_attempt(
    const struct run *run,
    struct sql *sql,
    const struct customer_range *chunk,
    struct arena *arena,
    struct chunk_outcome *outcome,
    struct error *error)
{
    enum status status = STATUS_BUSY;
    for (int i = 0; status == STATUS_BUSY && i < RUN_ATTEMPTS_MAX; i++) {
        arena_reset(arena);
        status = chunk_bill(&run->context, sql, chunk, arena, outcome, error);
    }
    return status;
}

static enum status
worker_work(struct run *run, struct error *error)
{
    scoped(arena_done) struct arena arena = {0};
    scoped(sql_done) struct sql *sql = NULL;
    enum status status = sql_open(run->settings->url, RUN_TIMEOUT_MS, &sql, error);
    if (status)
        return status;
    const struct customer_range *chunk = NULL;
    while ((chunk = chunk_take(run)) != NULL) {
        struct chunk_outcome outcome = {0};
        status = chunk_attempt(run, sql, chunk, &arena, &outcome, error);
        if (status)
            return status;
        chunk_finish(run, &outcome);
    }
    return STATUS_OK;
}

static void *
worker_main(void *context)
{
    struct run *run = context;
    struct error error;
    enum status status = worker_work(run, &error);
    worker_finish(run, status, &error);
    return NULL;
}

static void
workers_wait(struct run *run)
{
    struct progress progress;
    progress_begin(&progress, "billing", run->chunks_count);
    run_lock(run);
    while (run->workers_left > 0) {
        must(pthread_cond_wait(&run->changed, &run->lock) == 0);
        progress_set(&progress, run->chunks_done);
    }
    run_unlock(run);
    progress_end(&progress);
}

static enum status
workers_run(struct run *run)
{
    pthread_t threads[RUN_WORKERS_MAX];
    size_t started = 0;
    must(run->settings->workers >= 1 && run->settings->workers <= RUN_WORKERS_MAX);
    run->workers_left = (size_t)run->settings->workers;
    for (; started < (size_t)run->settings->workers; started++)
        if (pthread_create(&threads[started], NULL, worker_main, run) != 0)
            break;
    for (size_t i = started; i < (size_t)run->settings->workers; i++) {
        struct error refused;
        worker_finish(run, error_set(&refused, STATUS_IO, "cannot start a thread"), &refused);
    }
    workers_wait(run);
    for (size_t i = 0; i < started; i++)
        must(pthread_join(threads[i], NULL) == 0);
    return run->status;
}

// ---- the run

// The order in which numbers are given.
static int
made_order(const void *a, const void *b)
{
    const struct run_made *left = a, *right = b;
    int order = (left->to_ns > right->to_ns) - (left->to_ns < right->to_ns);
    if (order == 0)
        order = strcmp(left->customer, right->customer);
    if (order == 0)
        order = strcmp(left->subscription, right->subscription);
    if (order == 0)
        order = (left->kind > right->kind) - (left->kind < right->kind);
    if (order == 0)
        order = (left->from_ns > right->from_ns) - (left->from_ns < right->from_ns);
    return order;
}

static enum status
report_finish(struct run *run, struct error *error)
{
    struct run_report *report = run->report;
    if (buffer_failed(&run->made) || buffer_failed(&run->refusals))
        return error_set(error, STATUS_NO_MEMORY, "no memory for the run's report");
    report->made_count = run->made.size / sizeof *report->made;
    report->made = arena_array(run->arena, report->made_count + 1, struct run_made);
    if (report->made_count > 0)
        memcpy(report->made, run->made.data, run->made.size);
    qsort(report->made, report->made_count, sizeof *report->made, made_order);
    report->refusals_count = run->refusals.size / sizeof *report->refusals;
    report->refusals = arena_array(run->arena, report->refusals_count + 1, struct run_refusal);
    if (report->refusals_count > 0)
        memcpy(report->refusals, run->refusals.data, run->refusals.size);
    return STATUS_OK;
}

static void
run_id(const struct run_settings *settings, char out[RUN_ID_MAX])
{
    scoped(arena_done) struct arena arena = {0};
    const char *key = arena_format(
        &arena,
        "%" PRId64 "\x1f%" PRId64 "\x1f%s\x1f%s",
        settings->as_of_ns,
        settings->grace_ns,
        settings->period != NULL ? settings->period : "",
        settings->customer != NULL ? settings->customer : "");
    struct hash128 hash = hash128(bytes_text(key), 0);
    snprintf(out, RUN_ID_MAX, "run_%016" PRIx64 "%016" PRIx64, hash.high, hash.low);
}

// The month, or from the first subscription to the last full quarter of an hour, which cells
// answer.
static enum status
unsubscribed_list(struct run *run, struct sql *sql, struct error *error)
{
    const struct run_settings *settings = run->settings;
    struct unsubscribed_question question = {
        .sql = sql,
        .reader = usage_source_reader(run->context.usage),
        .catalog = &run->catalog,
        .customer = settings->customer,
        .from_ns = run->context.month_from_ns,
        .to_ns = run->context.month_to_ns,
    };
    if (settings->period == NULL) {
        question.to_ns = settings->as_of_ns - settings->as_of_ns % (15 * MINUTE_NS);
        enum status status = store_first_start(sql, settings->customer, &question.from_ns, error);
        if (status)
            return status;
    }
    if (question.from_ns >= question.to_ns)
        return STATUS_OK;
    const char *missing = NULL;
    enum status status = unsubscribed_find(
        &question,
        run->arena,
        &run->report->unsubscribed,
        &run->report->unsubscribed_count,
        &missing,
        error);
    const struct run_refusal refusal = {.text = missing};
    if (status == STATUS_OK && missing != NULL)
        buffer_put(&run->refusals, &refusal, sizeof refusal);
    return status;
}

// Plans and charges are read by several statements: no catalogue is applied between them.
static enum status
catalog_load(struct run *run, struct sql *sql, struct error *error)
{
    enum status status = sql_begin(sql, error);
    if (status)
        return status;
    status = store_catalog_lock_shared(sql, error);
    if (status == STATUS_OK)
        status = store_catalog(sql, run->arena, &run->catalog, error);
    if (status == STATUS_OK)
        return sql_commit(sql, error);
    sql_rollback(sql);
    return status;
}

static enum status
run_load(struct run *run, struct sql *sql, struct error *error)
{
    const struct run_settings *settings = run->settings;
    enum status status = catalog_load(run, sql, error);
    if (status == STATUS_OK && settings->customer != NULL) {
        struct customer found;
        status = store_customer_find(sql, settings->customer, run->arena, &found, error);
    }
    if (status == STATUS_OK)
        status = store_chunks(
            sql,
            settings->customer,
            settings->chunk_size,
            run->arena,
            &run->chunks,
            &run->chunks_count,
            error);
    return status;
}

static enum status
run_steps(struct run *run, struct sql *sql, struct error *error)
{
    const struct run_settings *settings = run->settings;
    char id[RUN_ID_MAX];
    run_id(settings, id);
    const struct billing_run row = {
        id, settings->as_of_ns, settings->grace_ns, settings->period, settings->customer};
    enum status status = run_load(run, sql, error);
    if (status == STATUS_OK && !settings->is_dry)
        status = store_run_begin(sql, &row, settings->now_ns, error);
    if (status == STATUS_OK)
        status = workers_run(run);
    if (status == STATUS_OK && !settings->is_dry)
        status =
            store_invoices_finalize(sql, settings->now_ns, &run->report->numbered_count, error);
    if (status == STATUS_OK)
        status = unsubscribed_list(run, sql, error);
    if (status == STATUS_OK)
        status = report_finish(run, error);
    if (status == STATUS_OK && !settings->is_dry)
        status = store_run_finish(sql, &row, settings->now_ns, error);
    return status;
}

// Of a period that is not over, the rest of its usage would never be billed.
static enum status
as_of_check(const struct run_settings *settings, struct error *error)
{
    if (settings->is_dry || settings->as_of_ns <= settings->now_ns)
        return STATUS_OK;
    return error_set(
        error, STATUS_INVALID, "only a dry run may bill as of a time that is still to come");
}

enum status
billing_run(
    const struct run_settings *settings,
    struct arena *arena,
    struct run_report *out,
    struct error *error)
{
    must(settings->url != NULL && settings->data_dir != NULL);
    must(settings->grace_ns >= 0 && settings->chunk_size > 0);
    scoped(sql_done) struct sql *sql = NULL;
    scoped(usage_source_done) struct usage_source *usage = NULL;
    scoped(event_source_done) struct event_source *events = NULL;
    *out = (struct run_report){0};
    struct run run = {.settings = settings, .error = error, .arena = arena, .report = out};
    run.context = (struct chunk_context){.settings = settings, .catalog = &run.catalog};
    enum status status = as_of_check(settings, error);
    if (status == STATUS_OK && settings->period != NULL)
        status = period_month_parse(
            settings->period, &run.context.month_from_ns, &run.context.month_to_ns, error);
    if (status == STATUS_OK)
        status = sql_open(settings->url, RUN_TIMEOUT_MS, &sql, error);
    if (status == STATUS_OK)
        status = usage_source_open(settings->data_dir, &usage, error);
    if (status == STATUS_OK)
        status = event_source_open(settings->data_dir, &events, error);
    if (status)
        return status;
    run.context.usage = usage;
    run.context.events = events;
    must(pthread_mutex_init(&run.lock, NULL) == 0);
    must(pthread_cond_init(&run.changed, NULL) == 0);
    status = run_steps(&run, sql, error);
    must(pthread_cond_destroy(&run.changed) == 0);
    must(pthread_mutex_destroy(&run.lock) == 0);
    buffer_done(&run.made);
    buffer_done(&run.refusals);
    return status;
}
