// /api/v1/meters: the registry, as OpenMeter shows it.

#include "api/api.h"
#include "api/call.h"
#include "api/meter_calls.h"
#include "api/meter_find.h"
#include "api/meter_order.h"
#include "api/param.h"
#include "api/routes.h"
#include "base/clock.h"

static const char *const BOOLEANS[] = {"true", "false", NULL};

void
meters_get(struct call *call)
{
    scoped(readers_return) struct readers_loan loan = {0};
    struct error error = {0};
    struct meter *meters = NULL;
    struct meter_order order;
    uint32_t count = 0;
    size_t ignored = 0;
    // A meter that was removed is not kept, so there is none to include.
    enum status status = param_word(&call->target, "includeDeleted", BOOLEANS, &ignored, &error);
    if (status == STATUS_OK)
        status = meter_order_v1(&call->target, &order, &error);
    if (status == STATUS_OK)
        status = readers_take(call->api->readers, &loan, &error);
    if (status == STATUS_OK)
        status = registry_list(reader_registry(loan.reader), call->arena, &meters, &count, &error);
    if (status) {
        call_failed(call, &error);
        return;
    }
    meters_sort(meters, count, &order);
    struct json_out *out = call_json(call, 200);
    json_begin(out, '[');
    for (uint32_t i = 0; i < count; i++)
        meter_json_write(&meters[i], &METER_V1, call->arena, out);
    json_end(out, ']');
}

static void
meter_answer(struct call *call, int status, const struct meter *meter)
{
    meter_json_write(meter, &METER_V1, call->arena, call_json(call, status));
}

enum status
meter_make(
    struct call *call, const struct meter_words *words, struct meter *out, struct error *error)
{
    scoped(readers_return) struct readers_loan loan = {0};
    struct meter there;
    enum status status = meter_json_read(call->request->body, words, call->arena, out, error);
    if (status == STATUS_OK)
        status = meter_json_check(out, words, error);
    if (status == STATUS_OK)
        status = readers_take(call->api->readers, &loan, error);
    if (status)
        return status;
    struct registry *registry = reader_registry(loan.reader);
    if (registry_find(registry, out->key, call->arena, &there, error) == STATUS_OK)
        return error_set(error, STATUS_EXISTS, "there is a meter %s already", out->key);
    status = registry_put(registry, out, clock_now_ns(), NULL, error);
    if (status == STATUS_OK)
        status = registry_find(registry, out->key, call->arena, out, error);
    return status;
}

enum status
meter_lookup(struct call *call, const char *id_or_key, struct meter *out, struct error *error)
{
    scoped(readers_return) struct readers_loan loan = {0};
    enum status status = readers_take(call->api->readers, &loan, error);
    return status ? status : meter_find(loan.reader, id_or_key, call->arena, out, error);
}

enum status
meter_update(
    struct call *call, const struct meter_words *words, struct meter *out, struct error *error)
{
    scoped(readers_return) struct readers_loan loan = {0};
    enum status status = readers_take(call->api->readers, &loan, error);
    if (status == STATUS_OK)
        status = meter_find(loan.reader, call->params[0], call->arena, out, error);
    if (status == STATUS_OK)
        status = meter_json_change(call->request->body, words, call->arena, out, error);
    if (status == STATUS_OK)
        status = meter_json_check(out, words, error);
    if (status == STATUS_OK)
        status = registry_put(reader_registry(loan.reader), out, clock_now_ns(), NULL, error);
    if (status == STATUS_OK)
        status = meter_find(loan.reader, call->params[0], call->arena, out, error);
    return status;
}

// 200 as OpenMeter's server answers, whatever its document says.
void
meters_post(struct call *call)
{
    struct error error = {0};
    struct meter meter;
    if (meter_make(call, &METER_V1, &meter, &error))
        call_failed(call, &error);
    else
        meter_answer(call, 200, &meter);
}

void
meter_get(struct call *call)
{
    struct error error = {0};
    struct meter meter;
    if (meter_lookup(call, call->params[0], &meter, &error))
        call_failed(call, &error);
    else
        meter_answer(call, 200, &meter);
}

void
meter_put(struct call *call)
{
    struct error error = {0};
    struct meter meter;
    if (meter_update(call, &METER_V1, &meter, &error))
        call_failed(call, &error);
    else
        meter_answer(call, 200, &meter);
}

// Whether a charge of any version of the catalogue counts with it: its invoices can be recomputed
// for ever.
static enum status
is_charged(struct call *call, const char *key, bool *out, struct error *error)
{
    scoped(database_return) struct database_loan loan = {0};
    struct sql_rows rows;
    struct sql_query query = {
        "SELECT EXISTS (SELECT 1 FROM charges WHERE meter = $1)", SQL_PARAMS(key), SQL_ONE_ROW, 1};
    enum status status = database_take(call->api->database, &loan, error);
    if (status)
        return status;
    loan.status = sql_run(loan.sql, &query, call->arena, &rows, error);
    if (loan.status == STATUS_OK)
        *out = sql_bool(&rows, 0, 0);
    return loan.status;
}

void
meter_delete(struct call *call)
{
    scoped(readers_return) struct readers_loan loan = {0};
    struct error error = {0};
    struct meter meter;
    bool is_used = false;
    enum status status = readers_take(call->api->readers, &loan, &error);
    if (status == STATUS_OK)
        status = meter_find(loan.reader, call->params[0], call->arena, &meter, &error);
    if (status == STATUS_OK)
        status = is_charged(call, meter.key, &is_used, &error);
    if (status == STATUS_OK && !is_used)
        status = registry_remove(reader_registry(loan.reader), meter.key, &error);
    if (status)
        call_failed(call, &error);
    else if (is_used)
        call_problem(call, 409, "Charges of the catalogue count with the meter %s.", meter.key);
    else
        call_empty(call, 204);
}
