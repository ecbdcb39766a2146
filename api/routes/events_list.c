// GET /api/v1/events: the events themselves, the newest first.

#include "api/api.h"
#include "api/call.h"
#include "api/json_unpack.h"
#include "api/routes.h"
#include "base/clock.h"
#include "ledger/events.h"

#include <stdlib.h>
#include <string.h>

enum { LIMIT_MAX = 100, DAYS_BACK = 32 };

static enum status
time_take(struct call *call, const char *name, int64_t *out_ns, struct error *error)
{
    const char *text = target_value(&call->target, name);
    if (text == NULL)
        return STATUS_OK;
    if (strchr(text, 'T') == NULL || clock_parse(bytes_text(text), out_ns) != STATUS_OK)
        return error_set(
            error,
            STATUS_INVALID,
            "%s must be a date-time of RFC 3339: 2026-11-22T10:00:00Z",
            name);
    return STATUS_OK;
}

static enum status
limit_take(struct call *call, uint32_t *out, struct error *error)
{
    const char *text = target_value(&call->target, "limit");
    if (text == NULL)
        return STATUS_OK;
    char *end = NULL;
    long limit = strtol(text, &end, 10);
    if (end == text || *end != '\0' || limit < 1 || limit > LIMIT_MAX)
        return error_set(error, STATUS_INVALID, "limit must be 1 to %d", LIMIT_MAX);
    *out = (uint32_t)limit;
    return STATUS_OK;
}

static struct bytes
text_take(struct call *call, const char *name)
{
    const char *text = target_value(&call->target, name);
    return text != NULL ? bytes_text(text) : bytes_of(NULL, 0);
}

static enum status
query_take(struct call *call, struct events_query *out, struct error *error)
{
    int64_t earliest_ns = clock_now_ns() - DAYS_BACK * DAY_NS;
    *out = EVENTS_ALL;
    out->limit = LIMIT_MAX;
    out->from_ns = earliest_ns;
    out->id_part = text_take(call, "id");
    out->subject = text_take(call, "subject");
    if (target_value(&call->target, "customerId") != NULL)
        return error_set(error, STATUS_INVALID, "customerId is not taken here: ask by subject");
    enum status status = time_take(call, "from", &out->from_ns, error);
    if (status == STATUS_OK)
        status = time_take(call, "to", &out->to_ns, error);
    if (status == STATUS_OK)
        status = time_take(call, "ingestedAtFrom", &out->arrived_from_ns, error);
    if (status == STATUS_OK)
        status = time_take(call, "ingestedAtTo", &out->arrived_to_ns, error);
    if (status == STATUS_OK)
        status = limit_take(call, &out->limit, error);
    if (status == STATUS_OK && out->from_ns < earliest_ns)
        status = error_set(error, STATUS_INVALID, "from must be at most %d days ago", DAYS_BACK);
    return status;
}

static void
member_time(struct json_out *out, const char *key, int64_t time_ns)
{
    char text[CLOCK_TEXT_MAX];
    (void)clock_print(time_ns, text);
    json_key(out, key);
    json_text(out, text);
}

static void
member_string(struct json_out *out, const char *key, struct bytes text)
{
    json_key(out, key);
    json_string(out, text);
}

static void
row_write(const struct events_row *row, struct json_out *out)
{
    const struct entry *entry = &row->entry;
    json_begin(out, '{');
    json_key(out, "event");
    json_begin(out, '{');
    member_string(out, "id", entry->id);
    member_string(out, "source", entry->source);
    json_key(out, "specversion");
    json_text(out, "1.0");
    member_string(out, "type", entry->type);
    member_string(out, "subject", entry->subject);
    member_time(out, "time", entry->time_ns);
    json_key(out, "data");
    json_unpack_pairs(entry->properties, entry->properties_count, out);
    json_end(out, '}');
    member_time(out, "ingestedAt", row->arrival_ns);
    member_time(out, "storedAt", row->arrival_ns);
    if (row->validation_error != NULL) {
        json_key(out, "validationError");
        json_text(out, row->validation_error);
    }
    json_end(out, '}');
}

void
events_get(struct call *call)
{
    scoped(readers_return) struct readers_loan loan = {0};
    struct events_query query;
    struct events_result result;
    struct error error = {0};
    enum status status = query_take(call, &query, &error);
    if (status == STATUS_OK)
        status = readers_take(call->api->readers, &loan, &error);
    if (status == STATUS_OK)
        status = events_list(loan.reader, &query, call->arena, &result, &error);
    if (status) {
        call_failed(call, &error);
        return;
    }
    struct json_out *out = call_json(call, 200);
    json_begin(out, '[');
    for (size_t i = 0; i < result.count; i++)
        row_write(&result.rows[i], out);
    json_end(out, ']');
}
