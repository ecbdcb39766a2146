// GET /api/v1/events and /api/v2/events: the events themselves, the newest first.

#include "api/call.h"
#include "api/events_page.h"
#include "api/member.h"
#include "api/param.h"
#include "api/routes.h"
#include "base/clock.h"
#include "client/encode.h"

static void
row_write(const struct events_row *row, const char *customer, struct json_out *out)
{
    json_begin(out, '{');
    json_key(out, "event");
    event_json_write(&row->entry, out);
    if (customer != NULL) {
        member_text(out, "customerId", customer);
    }
    member_time(out, "ingestedAt", row->arrival_ns);
    member_time(out, "storedAt", row->arrival_ns);
    if (row->validation_error != NULL) {
        member_text(out, "validationError", row->validation_error);
    }
    json_end(out, '}');
}

static void
rows_write(const struct events_page *page, struct json_out *out)
{
    json_begin(out, '[');
    for (size_t i = 0; i < page->result.count; i++)
        row_write(&page->result.rows[i], page->facts[i].customer, out);
    json_end(out, ']');
}

// --- version 1 ---

static enum status
customers_take(struct call *call, struct event_filter *out, struct error *error)
{
    const char *text;
    size_t at = 0;
    out->customers = arena_array(call->arena, EVENT_FILTER_CUSTOMERS_MAX, const char *);
    while ((text = target_next(&call->target, "customerId", &at)) != NULL) {
        if (out->customers_count == EVENT_FILTER_CUSTOMERS_MAX)
            return error_set(error, STATUS_INVALID, "customerId is given too often");
        out->customers[out->customers_count++] = text;
    }
    out->has_customers = out->customers_count > 0;
    return STATUS_OK;
}

// Times of the events, and of their arrival.
static enum status
ranges_take(const struct target *target, struct events_query *query, struct error *error)
{
    int64_t earliest_ns = clock_now_ns() - EVENTS_PAGE_DAYS_BACK * DAY_NS;
    query->from_ns = earliest_ns;
    enum status status = param_time(target, "from", &query->from_ns, error);
    if (status == STATUS_OK)
        status = param_time(target, "to", &query->to_ns, error);
    if (status == STATUS_OK)
        status = param_time(target, "ingestedAtFrom", &query->arrived_from_ns, error);
    if (status == STATUS_OK)
        status = param_time(target, "ingestedAtTo", &query->arrived_to_ns, error);
    if (status)
        return status;
    if (query->from_ns < earliest_ns)
        return error_set(
            error, STATUS_INVALID, "from must be at most %d days ago", EVENTS_PAGE_DAYS_BACK);
    if (query->arrived_from_ns > query->arrived_to_ns)
        return error_set(error, STATUS_INVALID, "ingestedAtFrom must not be after ingestedAtTo");
    return query->from_ns <= query->to_ns
               ? STATUS_OK
               : error_set(
                     error,
                     STATUS_INVALID,
                     "from (without it %d days ago) must not be after to",
                     EVENTS_PAGE_DAYS_BACK);
}

static enum status
page_take(struct call *call, struct events_page *out, struct error *error)
{
    struct events_query *query = &out->query;
    const struct target *target = &call->target;
    const char *id = NULL, *subject = NULL;
    *out = (struct events_page){.query = EVENTS_ALL, .filter.from_ns = INT64_MIN};
    query->limit = EVENTS_PAGE_MAX;
    enum status status = ranges_take(target, query, error);
    if (status == STATUS_OK)
        status = param_text(target, "id", ENCODE_ID_MAX, &id, error);
    if (status == STATUS_OK)
        status = param_text(target, "subject", ENCODE_SUBJECT_MAX, &subject, error);
    if (status == STATUS_OK)
        status = param_number(target, "limit", 1, EVENTS_PAGE_MAX, &query->limit, error);
    if (status == STATUS_OK)
        status = customers_take(call, &out->filter, error);
    if (id != NULL)
        query->id_part = bytes_text(id);
    if (subject != NULL)
        query->subject = bytes_text(subject);
    return status;
}

void
events_get(struct call *call)
{
    struct events_page page;
    struct error error = {0};
    enum status status = page_take(call, &page, &error);
    if (status == STATUS_OK)
        status = events_page_ask(call, &page, &error);
    if (status)
        call_failed(call, &error);
    else
        rows_write(&page, call_json(call, 200));
}

// --- version 2 ---

// Without a first time of its own a list is of the last days: it is read from the newest on, and
// would go through the whole log for what is not there.
static enum status
page_take_v2(struct call *call, struct events_page *out, struct error *error)
{
    const char *filter = NULL;
    uint32_t *limit = &out->query.limit;
    *out = (struct events_page){.query = EVENTS_ALL, .filter.from_ns = INT64_MIN};
    *limit = EVENTS_PAGE_MAX;
    enum status status = param_number(&call->target, "limit", 1, EVENTS_PAGE_MAX, limit, error);
    if (status == STATUS_OK)
        status = param_once(&call->target, "cursor", &out->query.after, error);
    if (status == STATUS_OK)
        status = param_once(&call->target, "filter", &filter, error);
    if (status == STATUS_OK && filter != NULL)
        status = event_filter_parse(bytes_text(filter), call->arena, &out->filter, error);
    if (out->filter.from_ns == INT64_MIN)
        out->query.from_ns = clock_now_ns() - EVENTS_PAGE_DAYS_BACK * DAY_NS;
    return status;
}

void
events_v2_get(struct call *call)
{
    struct events_page page;
    struct error error = {0};
    enum status status = page_take_v2(call, &page, &error);
    if (status == STATUS_OK)
        status = events_page_ask(call, &page, &error);
    if (status) {
        call_failed(call, &error);
        return;
    }
    struct json_out *out = call_json(call, 200);
    json_begin(out, '{');
    json_key(out, "items");
    rows_write(&page, out);
    if (page.result.next != NULL) {
        member_text(out, "nextCursor", page.result.next);
    }
    json_end(out, '}');
}
