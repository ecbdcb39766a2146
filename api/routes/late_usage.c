// GET /api/v1/meters/{meter}/late-usage: what came since a cut for the windows that it sealed.

#include "api/api.h"
#include "api/call.h"
#include "api/member.h"
#include "api/meter_find.h"
#include "api/param.h"
#include "api/question.h"
#include "api/routes.h"

static enum status
question_take(struct call *call, struct question *out, struct error *error)
{
    enum status status = question_from_target(&call->target, call->arena, out, error);
    if (status == STATUS_OK)
        status = param_number(&call->target, "sinceCut", 1, UINT32_MAX, &out->at_cut, error);
    if (status)
        return status;
    if (out->at_cut == 0)
        return error_set(
            error, STATUS_INVALID, "sinceCut is required: the number of a cut (/api/v1/cuts)");
    if (!out->has_to)
        return error_set(error, STATUS_INVALID, "to is required, at or before the time of the cut");
    if (out->is_by_customer)
        return error_set(
            error, STATUS_INVALID, "filterCustomerId is not taken here: ask for its subjects");
    // No event is before 1970, and the window of all is told.
    if (!out->has_from)
        out->from_ns = 0;
    return STATUS_OK;
}

static enum status
late_ask(
    struct call *call,
    const struct question *question,
    struct usage_late_result *out,
    struct error *error)
{
    scoped(readers_return) struct readers_loan loan = {0};
    struct meter meter;
    enum status status = readers_take(call->api->readers, &loan, error);
    if (status == STATUS_OK)
        status = meter_find(loan.reader, call->params[0], call->arena, &meter, error);
    if (status)
        return status;
    const struct usage_query query = question_query(question, meter.key, call->arena);
    return usage_late(loan.reader, &query, call->arena, out, error);
}

static void
number_write(struct json_out *out, const char *key, const struct usage_row *row, bool is_there)
{
    char text[WIDE_TEXT_MAX];
    json_key(out, key);
    if (!is_there) {
        json_null(out);
        return;
    }
    (void)usage_row_print(row, text);
    json_raw(out, text);
}

static void
row_write(const struct question *question, const struct usage_late_row *row, struct json_out *out)
{
    const struct usage_row *any = row->has_now ? &row->now : &row->before;
    char text[WIDE_TEXT_MAX];
    json_begin(out, '{');
    json_key(out, "value");
    if (row->is_additive) {
        (void)usage_late_print(row, text);
        json_raw(out, text);
    } else {
        json_null(out);
    }
    number_write(out, "before", &row->before, row->has_before);
    number_write(out, "now", &row->now, row->has_now);
    json_key(out, "count");
    json_int(out, row->count);
    member_time(out, "windowStart", any->from_ns);
    member_time(out, "windowEnd", any->to_ns);
    json_key(out, "subject");
    if (question->is_by_subject)
        json_string(out, any->subject);
    else
        json_null(out);
    json_key(out, "groupBy");
    json_begin(out, '{');
    for (size_t i = 0; i < question->group_by.count; i++) {
        json_key(out, question->group_by.items[i]);
        json_string(out, any->dimensions[i]);
    }
    json_end(out, '}');
    json_end(out, '}');
}

void
meter_late_usage_get(struct call *call)
{
    struct question question;
    struct usage_late_result result;
    struct error error = {0};
    enum status status = question_take(call, &question, &error);
    if (status == STATUS_OK)
        status = late_ask(call, &question, &result, &error);
    if (status) {
        call_failed(call, &error);
        return;
    }
    struct json_out *out = call_json(call, 200);
    json_begin(out, '{');
    json_key(out, "sinceCut");
    json_int(out, question.at_cut);
    json_key(out, "data");
    json_begin(out, '[');
    for (size_t i = 0; i < result.count; i++)
        row_write(&question, &result.rows[i], out);
    json_end(out, ']');
    json_end(out, '}');
}
