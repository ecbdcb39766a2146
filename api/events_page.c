#include "api/events_page.h"

#include "api/api.h"
#include "api/json_unpack.h"
#include "api/member.h"
#include "billing/store.h"

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
facts_find(struct call *call, struct events_page *page, struct error *error)
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
events_ask(struct call *call, struct events_page *page, struct error *error)
{
    scoped(readers_return) struct readers_loan loan = {0};
    enum status status = readers_take(call->api->readers, &loan, error);
    if (status == STATUS_OK)
        status = events_list(loan.reader, &page->query, call->arena, &page->result, error);
    return status;
}

enum status
events_page_ask(struct call *call, struct events_page *page, struct error *error)
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

void
event_json_write(const struct entry *entry, struct json_out *out)
{
    json_begin(out, '{');
    member_bytes(out, "id", entry->id);
    member_bytes(out, "source", entry->source);
    member_text(out, "specversion", "1.0");
    member_bytes(out, "type", entry->type);
    member_bytes(out, "subject", entry->subject);
    member_time(out, "time", entry->time_ns);
    json_key(out, "data");
    json_unpack_pairs(entry->properties, entry->properties_count, out);
    json_end(out, '}');
}
