#include "billing/run_chunk.h"

#include "base/assert.h"

#include <string.h>

// What a line of fees that are paid in advance left to the next one.
struct left {
    struct remainder remainder;
    const struct left *next;
};

// What is loaded for a chunk, and how far along its lists the work is.
struct work {
    const struct chunk_context *context;
    struct arena *arena;
    struct subscriptions subscriptions;
    struct subject_row *subjects;
    size_t subjects_count;
    size_t subjects_at;
    struct billed_period *billed;
    size_t billed_count;
    const struct left *left;  // the newest of each charge before the older ones
    size_t capacity;          // of out->invoices and out->refusals
    struct chunk_outcome *out;
};

static int
billed_order(
    const struct billed_period *billed,
    const char *subscription,
    enum invoice_kind kind,
    int64_t from_ns)
{
    int order = strcmp(billed->subscription, subscription);
    if (order == 0)
        order = (billed->kind > kind) - (billed->kind < kind);
    if (order == 0)
        order = (billed->from_ns > from_ns) - (billed->from_ns < from_ns);
    return order;
}

static bool
is_billed(
    const struct work *work, const char *subscription, enum invoice_kind kind, struct period period)
{
    size_t low = 0, high = work->billed_count;
    while (low < high) {
        size_t middle = low + (high - low) / 2;
        const struct billed_period *billed = &work->billed[middle];
        int order = billed_order(billed, subscription, kind, period.from_ns);
        if (order == 0)
            return true;
        if (order < 0)
            low = middle + 1;
        else
            high = middle;
    }
    return false;
}

// The subjects of one customer: both lists are ordered by customer, so the next one's follow.
static const char *const *
subjects_take(struct work *work, const char *customer, size_t *out_count)
{
    while (work->subjects_at < work->subjects_count &&
           strcmp(work->subjects[work->subjects_at].customer, customer) < 0)
        work->subjects_at++;
    size_t end = work->subjects_at;
    while (end < work->subjects_count && strcmp(work->subjects[end].customer, customer) == 0)
        end++;
    *out_count = end - work->subjects_at;
    const char **list = arena_array(work->arena, *out_count + 1, const char *);
    for (size_t i = 0; i < *out_count; i++)
        list[i] = work->subjects[work->subjects_at + i].subject;
    return list;
}

static void
refusal_add(struct work *work, const struct subscription *subscription, const char *text)
{
    struct chunk_outcome *out = work->out;
    out->refusals[out->refusals_count++] = (struct run_refusal){
        arena_text(work->arena, subscription->customer),
        arena_text(work->arena, subscription->id),
        arena_text(work->arena, text)};
}

static void
left_add(struct work *work, struct remainder remainder)
{
    struct left *left = arena_new(work->arena, struct left);
    *left = (struct left){remainder, work->left};
    work->left = left;
}

// What the fees of a charge carry: what its newest line left, be it of this chunk or stored.
static void
carried_find(
    const struct work *work,
    const struct subscription *subscription,
    const struct charge *charge,
    struct invoice_events *out)
{
    const struct left *left = work->left;
    while (left != NULL && (strcmp(left->remainder.subscription, subscription->id) != 0 ||
                            strcmp(left->remainder.charge, charge->key) != 0))
        left = left->next;
    out->carried = left != NULL ? left->remainder.amount : "0";
    out->sequence = left != NULL ? left->remainder.sequence + 1 : 1;
}

static void
carried_leave(struct work *work, const struct invoice *invoice)
{
    for (size_t i = 0; i < invoice->lines_count; i++) {
        const struct invoice_line *line = &invoice->lines[i];
        if (line->remainder != NULL)
            left_add(
                work,
                (struct remainder){
                    invoice->subscription, line->charge, line->sequence, line->remainder});
    }
}

struct payer {
    const struct subscription *subscription;
    const struct plan *plan;
    const char *const *subjects;
    size_t subjects_count;
};

// A charge with prices by a dimension: the usage of each value, and the rest.
static enum status
values_collect(
    const struct work *work,
    const struct charge *charge,
    const struct usage_question *question,
    const struct decimal **out_values,
    struct decimal *out_rest,
    struct error *error)
{
    const char **names = arena_array(work->arena, charge->values_count, const char *);
    struct decimal *values = arena_array(work->arena, charge->values_count, struct decimal);
    for (uint32_t i = 0; i < charge->values_count; i++)
        names[i] = charge->values[i].value;
    struct usage_values wanted = {charge->dimension, names, charge->values_count};
    *out_values = values;
    return usage_source_values(work->context->usage, question, &wanted, values, out_rest, error);
}

// A charge of single events: those of the period, their sum, and, of a level that lasts, what all
// before them came to.
static enum status
events_collect(
    const struct work *work,
    const struct charge *charge,
    const struct usage_question *question,
    struct invoice_events *out,
    struct decimal *out_sum,
    struct error *error)
{
    const struct event_wanted wanted = {charge->dimension, charge->price_property};
    struct event_list list;
    enum status status =
        event_source_list(work->context->events, question, &wanted, work->arena, &list, error);
    if (status)
        return error_prefix(error, "%s", charge->name);
    *out = (struct invoice_events){.items = list.items, .count = list.count};
    *out_sum = list.sum;
    if (charge->recurring == RECURRING_NOT)
        return STATUS_OK;
    struct usage_question before = *question;
    before.from_ns = INT64_MIN;
    before.to_ns = question->from_ns;
    return usage_source_sum(work->context->usage, &before, &out->initial, error);
}

static enum status
usage_collect(
    const struct work *work,
    const struct payer *payer,
    struct invoice_input *input,
    struct error *error)
{
    uint32_t count = payer->plan->charges_count;
    struct decimal *usage = arena_array(work->arena, count + 1, struct decimal);
    const struct decimal **values = arena_array(work->arena, count + 1, const struct decimal *);
    struct invoice_events *events = arena_array(work->arena, count + 1, struct invoice_events);
    for (uint32_t i = 0; i < count; i++) {
        const struct charge *charge = &payer->plan->charges[i];
        if (charge->meter == NULL)
            continue;
        struct usage_question question = {
            .meter = charge->meter,
            .from_ns = input->period.from_ns,
            .to_ns = input->period.to_ns,
            .subjects = payer->subjects,
            .subjects_count = payer->subjects_count,
        };
        enum status status;
        if (charge_needs_events(charge))
            status = events_collect(work, charge, &question, &events[i], &usage[i], error);
        else if (charge->dimension != NULL)
            status = values_collect(work, charge, &question, &values[i], &usage[i], error);
        else
            status = usage_source_sum(work->context->usage, &question, &usage[i], error);
        if (status)
            return status;
        if (charge->is_in_advance)
            carried_find(work, payer->subscription, charge, &events[i]);
    }
    input->usage = usage;
    input->values_usage = values;
    input->events = events;
    return STATUS_OK;
}

static enum status
invoice_make(
    struct work *work, const struct payer *payer, struct invoice_input *input, struct error *error)
{
    enum status status = STATUS_OK;
    if (input->has_usage)
        status = usage_collect(work, payer, input, error);
    struct invoice *invoice = &work->out->invoices[work->out->count];
    if (status == STATUS_OK)
        status = invoice_compute(input, work->arena, invoice, error);
    if (status)
        return status;
    scoped(buffer_done) struct buffer document = {0};
    invoice_fees_record(input, invoice, work->arena);
    invoice_input_write(input, &document);
    if (buffer_failed(&document))
        return error_set(error, STATUS_NO_MEMORY, "no memory for an invoice's input");
    invoice->input = arena_text_of(work->arena, buffer_view(&document));
    carried_leave(work, invoice);
    work->out->count++;
    return STATUS_OK;
}

enum due { DUE_NOT, DUE_WAITING, DUE_NOW };

static enum due
period_due(const struct chunk_context *context, struct period period)
{
    const struct run_settings *settings = context->settings;
    bool is_month = settings->period != NULL;
    if (is_month && !period_ends_in(period, context->month_from_ns, context->month_to_ns))
        return DUE_NOT;
    if (period.to_ns + settings->grace_ns <= settings->as_of_ns)
        return DUE_NOW;
    // A look at a period that still runs is allowed when nothing is written and it was asked for.
    if (is_month && settings->is_dry)
        return DUE_NOW;
    return period.to_ns <= settings->as_of_ns ? DUE_WAITING : DUE_NOT;
}

// Whether a later period can still be due.
static bool
is_past_all(const struct chunk_context *context, struct period period)
{
    if (context->settings->period != NULL)
        return period.from_ns >= context->month_to_ns;
    return period.from_ns >= context->settings->as_of_ns;
}

static void
room_make(struct work *work)
{
    if (work->out->count + work->out->refusals_count < work->capacity)
        return;
    size_t capacity = work->capacity > 0 ? work->capacity * 2 : 64;
    struct invoice *invoices = arena_array(work->arena, capacity, struct invoice);
    struct run_refusal *refusals = arena_array(work->arena, capacity, struct run_refusal);
    if (work->capacity > 0) {
        memcpy(invoices, work->out->invoices, work->out->count * sizeof *invoices);
        memcpy(refusals, work->out->refusals, work->out->refusals_count * sizeof *refusals);
    }
    work->out->invoices = invoices;
    work->out->refusals = refusals;
    work->capacity = capacity;
}

static enum status
period_bill(
    struct work *work,
    const struct payer *payer,
    enum invoice_kind kind,
    struct period period,
    struct error *error)
{
    const struct subscription *subscription = payer->subscription;
    const struct run_settings *settings = work->context->settings;
    bool is_monthly = subscription->cycle == CYCLE_MONTHLY;
    struct invoice_input input = {
        .customer = subscription->customer,
        .subscription = subscription->id,
        .cycle = subscription->cycle,
        .kind = kind,
        .generation = 1,
        .period = period,
        .plan = payer->plan,
        .has_fee = kind == INVOICE_SUBSCRIPTION,
        .has_usage = is_monthly || kind == INVOICE_USAGE,
        .as_of_ns = settings->as_of_ns,
        .run_ns = settings->now_ns,
        .wants_steps = settings->is_dry,
    };
    room_make(work);
    enum status status = invoice_make(work, payer, &input, error);
    if (status != STATUS_OVERFLOW)
        return status;
    // A number that does not fit is one customer's trouble: it is named, and the others are billed.
    refusal_add(work, subscription, error->text);
    return STATUS_OK;
}

static enum status
kind_bill(
    struct work *work,
    const struct payer *payer,
    enum invoice_kind kind,
    enum billing_cycle cycle,
    struct error *error)
{
    const struct subscription *subscription = payer->subscription;
    enum status status = STATUS_OK;
    for (int32_t i = 0; status == STATUS_OK; i++) {
        struct period period = period_at(&subscription->terms, cycle, i);
        if (!period_is_any(period) || is_past_all(work->context, period))
            return STATUS_OK;
        enum due due = period_due(work->context, period);
        if (due == DUE_NOT)
            continue;
        if (is_billed(work, subscription->id, kind, period))
            work->out->existing_count++;
        else if (due == DUE_WAITING)
            work->out->waiting_count++;
        else
            status = period_bill(work, payer, kind, period, error);
    }
    return status;
}

static enum status
subscription_bill(struct work *work, const struct subscription *subscription, struct error *error)
{
    struct payer payer = {.subscription = subscription};
    payer.plan = stored_catalog_plan(work->context->catalog, subscription->plan);
    if (payer.plan == NULL)
        return error_set(
            error,
            STATUS_BUSY,
            "subscription %s: the plan %s came after this run read the catalogue; run again",
            subscription->id,
            subscription->plan);
    payer.subjects = subjects_take(work, subscription->customer, &payer.subjects_count);
    enum status status = kind_bill(work, &payer, INVOICE_SUBSCRIPTION, subscription->cycle, error);
    if (status == STATUS_OK && subscription->cycle == CYCLE_ANNUAL)
        status = kind_bill(work, &payer, INVOICE_USAGE, CYCLE_MONTHLY, error);
    return status;
}

static enum status
work_load(
    struct work *work, struct sql *sql, const struct customer_range *chunk, struct error *error)
{
    enum status status = store_subscriptions(sql, chunk, work->arena, &work->subscriptions, error);
    if (status == STATUS_OK)
        status =
            store_subjects(sql, chunk, work->arena, &work->subjects, &work->subjects_count, error);
    if (status == STATUS_OK)
        status = store_billed_periods(
            sql, chunk, work->arena, &work->billed, &work->billed_count, error);
    struct remainders stored = {0};
    if (status == STATUS_OK)
        status = store_remainders(sql, chunk, work->arena, &stored, error);
    for (size_t i = 0; i < stored.count; i++)
        left_add(work, stored.items[i]);
    return status;
}

static enum status
outcome_store(const struct work *work, struct sql *sql, struct error *error)
{
    struct chunk_outcome *out = work->out;
    out->is_made = arena_array(work->arena, out->count + 1, bool);
    if (work->context->settings->is_dry) {
        memset(out->is_made, true, out->count * sizeof *out->is_made);
        return STATUS_OK;
    }
    if (out->count == 0)
        return STATUS_OK;
    enum status status = store_invoices_insert(sql, out->invoices, out->count, out->is_made, error);
    for (size_t i = 0; status == STATUS_OK && i < out->count; i++)
        out->existing_count += !out->is_made[i];
    return status;
}

enum status
chunk_bill(
    const struct chunk_context *context,
    struct sql *sql,
    const struct customer_range *chunk,
    struct arena *arena,
    struct chunk_outcome *out,
    struct error *error)
{
    must(context->catalog != NULL && context->usage != NULL);
    *out = (struct chunk_outcome){0};
    struct work work = {.context = context, .arena = arena, .out = out};
    enum status status = work_load(&work, sql, chunk, error);
    for (size_t i = 0; status == STATUS_OK && i < work.subscriptions.count; i++)
        status = subscription_bill(&work, &work.subscriptions.items[i], error);
    if (status == STATUS_OK)
        status = outcome_store(&work, sql, error);
    return status;
}
