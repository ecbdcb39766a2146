// /api/customers/{customer}/usage: the integration guide's way to report usage and to look at it.

#include "api/api.h"
#include "api/call.h"
#include "api/cdp_map.h"
#include "api/form.h"
#include "api/json_pack.h"
#include "api/param.h"
#include "api/routes.h"
#include "api/ulid.h"
#include "base/clock.h"
#include "base/decimal.h"
#include "billing/period.h"
#include "billing/store.h"
#include "billing/usage_cost.h"
#include "client/encode.h"

#include <string.h>

static const char SOURCE[] = "tally-api";

struct report {
    struct tally_event event;
    const char *billable;  // NULL: not billed
    const char *quantity;
};

// --- POST ---

// Whose usage a customer's is: the subject that is called like it, else its first.
static enum status
subject_find_of(struct call *call, const char *customer, const char **out, struct error *error)
{
    scoped(database_return) struct database_loan loan = {0};
    const char *const *subjects = NULL;
    size_t count = 0;
    enum status status = database_take(call->api->database, &loan, error);
    if (status)
        return status;
    loan.status = customer_subjects(loan.sql, customer, call->arena, &subjects, &count, error);
    if (loan.status == STATUS_OK && count == 0)
        return error_set(
            error, STATUS_EXISTS, "customer %s has no subject whose usage it pays", customer);
    for (size_t i = 0; loan.status == STATUS_OK && i < count; i++)
        if (i == 0 || strcmp(subjects[i], customer) == 0)
            *out = subjects[i];
    return loan.status;
}

// A number or its text, zero or more; 1 without one.
static enum status
quantity_read(const struct json *data, struct arena *arena, const char **out, struct error *error)
{
    const struct json *quantity = data != NULL ? form_member(data, "quantity") : NULL;
    struct decimal value;
    bool is_rounded = false;
    *out = "1";
    if (quantity == NULL)
        return STATUS_OK;
    bool is_number = quantity->type == JSON_NUMBER || quantity->type == JSON_STRING;
    if (!is_number || decimal_parse(quantity->text, &value, &is_rounded) != STATUS_OK ||
        value.units < 0)
        return error_set(
            error, STATUS_INVALID, "eventData.quantity must be a number, zero or more");
    *out = arena_text_of(arena, quantity->text);
    return STATUS_OK;
}

static enum status
data_read(
    const struct json *data, struct arena *arena, struct tally_event *event, struct error *error)
{
    scoped(buffer_done) struct buffer packed = {0};
    if (data == NULL || data->count == 0)
        return STATUS_OK;
    if (!json_pack(data, ENCODE_DEPTH_MAX, &packed))
        return error_set(
            error, STATUS_INVALID, "eventData must not be nested deeper than %d", ENCODE_DEPTH_MAX);
    if (buffer_failed(&packed))
        return error_set(error, STATUS_NO_MEMORY, "eventData does not fit into memory");
    struct bytes copy = arena_bytes(arena, buffer_view(&packed));
    struct tally_property *property = arena_new(arena, struct tally_property);
    property->kind = TALLY_PROPERTIES;
    property->msgpack = (struct tally_msgpack){copy.data, copy.size};
    event->properties = property;
    event->properties_count = 1;
    return STATUS_OK;
}

struct wish {
    const char *type, *id;
    struct form_time time;
    const struct json *data;
};

static const struct form_row WISH_ROWS[] = {
    {"eventType",           FORM_TEXT, offsetof(struct wish, type), ENCODE_TYPE_MAX, true},
    {"eventData", FORM_OBJECT, offsetof(struct wish, data), 0, false},
    {"id",      FORM_TEXT, offsetof(struct wish, id), ENCODE_ID_MAX, false},
    {"timestamp",                     FORM_TIME, offsetof(struct wish, time), 0, false},
    {.name = NULL         },
};

// With an id of its own a report may be sent again; without one it is given one.
static enum status
report_read(struct call *call, struct report *out, struct error *error)
{
    struct arena *arena = call->arena;
    struct wish wish = {.type = NULL};
    enum status status = form_read(call->request->body, WISH_ROWS, arena, &wish, error);
    if (status)
        return status;
    *out = (struct report){
        .event = {.source = SOURCE, .time_ns = wish.time.ns}
    };
    char *ulid = arena_array(arena, ULID_SIZE + 1, char);
    ulid_make(clock_now_ns(), ulid);
    out->billable = cdp_billable(wish.type);
    out->event.type = out->billable != NULL ? out->billable : wish.type;
    out->event.id = wish.id != NULL ? wish.id : ulid;
    status = quantity_read(wish.data, arena, &out->quantity, error);
    out->event.value = out->quantity;
    return status ? status : data_read(wish.data, arena, &out->event, error);
}

static enum status
report_send(struct call *call, const struct report *report, struct error *error)
{
    struct ingest_job job = {.events = &report->event, .count = 1, .arena = call->arena};
    enum status status = ingest_send(call->api->ingest, &job, error);
    if (status || job.refusals_count == 0)
        return status;
    if (job.refusals[0].is_conflict)
        return error_set(
            error, STATUS_EXISTS, "the id %s was used before with other data", report->event.id);
    return error_set(error, STATUS_INVALID, "the event is refused: %s", job.refusals[0].reason);
}

void
guide_usage_post(struct call *call)
{
    struct report report;
    struct error error = {0};
    enum status status = report_read(call, &report, &error);
    if (status == STATUS_OK)
        status = subject_find_of(call, call->params[0], &report.event.subject, &error);
    if (status == STATUS_OK)
        status = report_send(call, &report, &error);
    if (status) {
        call_failed(call, &error);
        return;
    }
    struct json_out *out = call_json(call, 200);
    json_begin(out, '{');
    json_key(out, "tracked");
    json_bool(out, true);
    json_key(out, "billableEventType");
    json_text(out, report.billable);
    json_key(out, "id");
    json_text(out, report.event.id);
    json_end(out, '}');
}

// --- GET ---

// This month without one.
static enum status
month_read(
    struct call *call, char out_month[8], struct usage_cost_question *out, struct error *error)
{
    char now[CLOCK_TEXT_MAX];
    const char *period = NULL;
    if (param_once(&call->target, "period", &period, error))
        return error->status;
    (void)clock_print(clock_now_ns(), now);
    now[7] = '\0';
    const char *text = period != NULL ? period : now;
    enum status status = period_month_parse(text, &out->from_ns, &out->to_ns, error);
    if (status)
        return error_prefix(error, "period");
    memcpy(out_month, text, 8);
    return STATUS_OK;
}

static enum status
costs_ask(
    struct call *call,
    const struct usage_cost_question *question,
    struct usage_costs *out,
    struct error *error)
{
    scoped(database_return) struct database_loan loan = {0};
    scoped(readers_return) struct readers_loan readers_loan = {0};
    enum status status = readers_take(call->api->readers, &readers_loan, error);
    if (status == STATUS_OK)
        status = database_take(call->api->database, &loan, error);
    if (status)
        return status;
    loan.status = usage_costs(loan.sql, readers_loan.reader, question, call->arena, out, error);
    return loan.status;
}

static void
units_write(const struct usage_costs *costs, struct json_out *out)
{
    for (size_t i = 0; i < costs->count; i++) {
        json_key(out, costs->items[i].meter);
        json_raw(out, costs->items[i].units);
    }
}

static void
amounts_write(const struct usage_costs *costs, struct json_out *out)
{
    json_key(out, "costs");
    json_begin(out, '{');
    for (size_t i = 0; i < costs->count; i++) {
        if (costs->items[i].amount == NULL)
            continue;
        json_key(out, costs->items[i].meter);
        json_raw(out, costs->items[i].amount);
    }
    json_end(out, '}');
    json_key(out, "totalCost");
    json_raw(out, costs->total);
    json_key(out, "currency");
    json_text(out, costs->currency);
    json_key(out, "onInvoiceOnly");
    json_begin(out, '[');
    for (size_t i = 0; i < costs->count; i++)
        if (costs->items[i].is_charged && costs->items[i].amount == NULL)
            json_text(out, costs->items[i].meter);
    json_end(out, ']');
}

static bool
is_member_of_ours(const char *meter)
{
    static const char *const names[] = {
        "customerId",
        "period",
        "usage",
        "costs",
        "totalCost",
        "currency",
        "onInvoiceOnly",
        "updatedAt"};
    for (size_t i = 0; i < sizeof names / sizeof names[0]; i++)
        if (strcmp(names[i], meter) == 0)
            return true;
    return false;
}

// The counts stand twice: among themselves, and beside the rest, where the guide's own code looks.
static void
costs_write(
    struct call *call, const char *month, const struct usage_costs *costs, struct json_out *out)
{
    char now[CLOCK_TEXT_MAX];
    (void)clock_print(clock_now_ns(), now);
    json_begin(out, '{');
    json_key(out, "customerId");
    json_text(out, call->params[0]);
    json_key(out, "period");
    json_text(out, month);
    json_key(out, "usage");
    json_begin(out, '{');
    units_write(costs, out);
    json_end(out, '}');
    amounts_write(costs, out);
    for (size_t i = 0; i < costs->count; i++) {
        if (is_member_of_ours(costs->items[i].meter))
            continue;
        json_key(out, costs->items[i].meter);
        json_raw(out, costs->items[i].units);
    }
    json_key(out, "updatedAt");
    json_text(out, now);
    json_end(out, '}');
}

void
guide_usage_get(struct call *call)
{
    struct usage_cost_question question = {.customer = call->params[0]};
    struct usage_costs costs;
    struct error error = {0};
    char month[8] = "";
    enum status status = month_read(call, month, &question, &error);
    if (status == STATUS_OK)
        status = costs_ask(call, &question, &costs, &error);
    if (status)
        call_failed(call, &error);
    else
        costs_write(call, month, &costs, call_json(call, 200));
}
