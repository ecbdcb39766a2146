// GET /api/v1/events and /api/v2/events: the events themselves, the newest first.

#include "api/api.h"
#include "api/call.h"
#include "api/event_filter.h"
#include "api/json_unpack.h"
#include "api/param.h"
#include "api/routes.h"
#include "base/clock.h"
#include "billing/store.h"
#include "billing/subject.h"

enum { LIMIT_MAX = 100, DAYS_BACK = 32 };

struct page {
    struct events_query query;
    struct event_filter filter;
    struct events_result result;
    struct subject_facts *facts;  // of each row's subject
};

// --- asking ---

// The subjects of the filter's customers, in one list.
static enum status
customers_find(struct call *call, struct event_filter *filter, struct error *error)
{
    scoped(database_return) struct database_loan loan = {0};
    struct bytes *all = NULL;
    size_t all_count = 0;
    enum status status = database_take(call->api->database, &loan, error);
    for (size_t i = 0; status == STATUS_OK && i < filter->customers_count; i++) {
        const char *const *subjects = NULL;
        size_t count = 0;
        status = loan.status = customer_subjects(
            loan.sql, filter->customers[i], call->arena, &subjects, &count, error);
        if (status)
            break;
        struct bytes *more = arena_array(call->arena, all_count + count + 1, struct bytes);
        for (size_t j = 0; j < all_count; j++)
            more[j] = all[j];
        for (size_t j = 0; j < count; j++)
            more[all_count + j] = bytes_text(subjects[j]);
        all = more;
        all_count += count;
    }
    event_subjects_sort(all, all_count);
    filter->subjects = all;
    filter->subjects_count = all_count;
    return status;
}

static enum status
facts_find(struct call *call, struct page *page, struct error *error)
{
    scoped(database_return) struct database_loan loan = {0};
    const struct events_result *result = &page->result;
    struct bytes *subjects = arena_array(call->arena, result->count + 1, struct bytes);
    for (size_t i = 0; i < result->count; i++)
        subjects[i] = result->rows[i].entry.subject;
    enum status status = database_take(call->api->database, &loan, error);
    if (status)
        return status;
    loan.status =
        subject_facts(loan.sql, subjects, result->count, call->arena, &page->facts, error);
    return loan.status;
}

static enum status
events_ask(struct call *call, struct page *page, struct error *error)
{
    scoped(readers_return) struct readers_loan loan = {0};
    enum status status = readers_take(call->api->readers, &loan, error);
    if (status == STATUS_OK)
        status = events_list(loan.reader, &page->query, call->arena, &page->result, error);
    return status;
}

static enum status
page_ask(struct call *call, struct page *page, struct error *error)
{
    enum status status = STATUS_OK;
    event_filter_use(&page->filter, &page->query);
    if (page->filter.has_customers)
        status = customers_find(call, &page->filter, error);
    if (status == STATUS_OK)
        status = events_ask(call, page, error);
    if (status == STATUS_OK && page->result.count > 0)
        status = facts_find(call, page, error);
    return status;
}

// --- answering ---

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
row_write(const struct events_row *row, const char *customer, struct json_out *out)
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
    if (customer != NULL) {
        json_key(out, "customerId");
        json_text(out, customer);
    }
    member_time(out, "ingestedAt", row->arrival_ns);
    member_time(out, "storedAt", row->arrival_ns);
    if (row->validation_error != NULL) {
        json_key(out, "validationError");
        json_text(out, row->validation_error);
    }
    json_end(out, '}');
}

static void
rows_write(const struct page *page, struct json_out *out)
{
    json_begin(out, '[');
    for (size_t i = 0; i < page->result.count; i++)
        row_write(&page->result.rows[i], page->facts[i].customer, out);
    json_end(out, ']');
}

// --- version 1 ---

static struct bytes
text_take(struct call *call, const char *name)
{
    const char *text = target_value(&call->target, name);
    return text != NULL ? bytes_text(text) : bytes_of(NULL, 0);
}

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

static enum status
page_take(struct call *call, struct page *out, struct error *error)
{
    int64_t earliest_ns = clock_now_ns() - DAYS_BACK * DAY_NS, limit = LIMIT_MAX;
    struct events_query *query = &out->query;
    const struct target *target = &call->target;
    *out = (struct page){.query = EVENTS_ALL, .filter.from_ns = INT64_MIN};
    query->from_ns = earliest_ns;
    query->id_part = text_take(call, "id");
    query->subject = text_take(call, "subject");
    enum status status = param_time(target, "from", &query->from_ns, error);
    if (status == STATUS_OK)
        status = param_time(target, "to", &query->to_ns, error);
    if (status == STATUS_OK)
        status = param_time(target, "ingestedAtFrom", &query->arrived_from_ns, error);
    if (status == STATUS_OK)
        status = param_time(target, "ingestedAtTo", &query->arrived_to_ns, error);
    if (status == STATUS_OK)
        status = param_int(target, "limit", 1, LIMIT_MAX, &limit, error);
    if (status == STATUS_OK)
        status = customers_take(call, &out->filter, error);
    query->limit = (uint32_t)limit;
    if (status == STATUS_OK && query->from_ns < earliest_ns)
        status = error_set(error, STATUS_INVALID, "from must be at most %d days ago", DAYS_BACK);
    return status;
}

void
events_get(struct call *call)
{
    struct page page;
    struct error error = {0};
    enum status status = page_take(call, &page, &error);
    if (status == STATUS_OK)
        status = page_ask(call, &page, &error);
    if (status)
        call_failed(call, &error);
    else
        rows_write(&page, call_json(call, 200));
}

// --- version 2 ---

// Without a first time of its own a list is of the last days: it is read from the newest on, and
// would go through the whole log for what is not there.
static enum status
page_take_v2(struct call *call, struct page *out, struct error *error)
{
    int64_t limit = LIMIT_MAX;
    const char *filter = target_value(&call->target, "filter");
    *out = (struct page){.query = EVENTS_ALL, .filter.from_ns = INT64_MIN};
    enum status status = param_int(&call->target, "limit", 1, LIMIT_MAX, &limit, error);
    if (status == STATUS_OK && filter != NULL)
        status = event_filter_parse(bytes_text(filter), call->arena, &out->filter, error);
    out->query.limit = (uint32_t)limit;
    out->query.after = target_value(&call->target, "cursor");
    if (out->filter.from_ns == INT64_MIN)
        out->query.from_ns = clock_now_ns() - DAYS_BACK * DAY_NS;
    return status;
}

void
events_v2_get(struct call *call)
{
    struct page page;
    struct error error = {0};
    enum status status = page_take_v2(call, &page, &error);
    if (status == STATUS_OK)
        status = page_ask(call, &page, &error);
    if (status) {
        call_failed(call, &error);
        return;
    }
    struct json_out *out = call_json(call, 200);
    json_begin(out, '{');
    json_key(out, "items");
    rows_write(&page, out);
    if (page.result.next != NULL) {
        json_key(out, "nextCursor");
        json_text(out, page.result.next);
    }
    json_end(out, '}');
}
