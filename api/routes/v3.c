// /api/v3/openmeter: meters, their usage and customers, as version 3 of OpenMeter's API has them.
// The things are those of version 1; the words, the pages and the forms of usage differ.

#include "api/answer_write.h"
#include "api/api.h"
#include "api/call.h"
#include "api/customer_calls.h"
#include "api/meter_calls.h"
#include "api/meter_order.h"
#include "api/param.h"
#include "api/question_calls.h"
#include "api/question_v3.h"
#include "api/routes.h"

#include <string.h>

enum { PAGE_SIZE = 20, PAGE_SIZE_MAX = 1000, PAGES_MAX = 1000000 };

// --- pages ---

struct page {
    uint32_t size, number;
};

// A filter or an order that is not known would answer with what nobody asked for. filters: those
// that are, with NULL at the end.
static enum status
filters_check(struct call *call, const char *const *filters, struct error *error)
{
    const char *list = filters[0];
    for (size_t i = 1; filters[i] != NULL; i++)
        list = arena_format(call->arena, "%s, %s", list, filters[i]);
    for (size_t i = 0; i < call->target.pairs_count; i++) {
        const char *name = call->target.pairs[i].name;
        const char *const *known = filters;
        if (strncmp(name, "filter", 6) != 0 && strcmp(name, "sort") != 0)
            continue;
        while (*known != NULL && strcmp(*known, name) != 0)
            known++;
        if (*known == NULL)
            return error_set(
                error, STATUS_INVALID, "%.64s is not taken here, which has %s", name, list);
        const char *value;
        if (param_once(&call->target, name, &value, error))
            return error->status;
    }
    return STATUS_OK;
}

static enum status
page_take(struct call *call, const char *const *filters, struct page *out, struct error *error)
{
    *out = (struct page){PAGE_SIZE, 1};
    enum status status = filters_check(call, filters, error);
    if (status == STATUS_OK)
        status = param_number(&call->target, "page[size]", 1, PAGE_SIZE_MAX, &out->size, error);
    if (status == STATUS_OK)
        status = param_number(&call->target, "page[number]", 1, PAGES_MAX, &out->number, error);
    return status;
}

static struct json_out *
page_begin(struct call *call)
{
    struct json_out *out = call_json(call, 200);
    json_begin(out, '{');
    json_key(out, "data");
    json_begin(out, '[');
    return out;
}

static void
page_end(const struct page *page, int64_t total, struct json_out *out)
{
    json_end(out, ']');
    json_key(out, "meta");
    json_begin(out, '{');
    json_key(out, "page");
    json_begin(out, '{');
    json_key(out, "number");
    json_int(out, page->number);
    json_key(out, "size");
    json_int(out, page->size);
    json_key(out, "total");
    json_int(out, total);
    json_end(out, '}');
    json_end(out, '}');
    json_end(out, '}');
}

// --- meters ---

// filter[NAME], filter[NAME][eq] and filter[NAME][contains]; each may be given, all must hold.
static bool
text_passes(const struct call *call, const char *name, const char *text)
{
    const struct target *target = &call->target;
    const char *same = target_value(target, arena_format(call->arena, "filter[%s]", name));
    const char *equal = target_value(target, arena_format(call->arena, "filter[%s][eq]", name));
    const char *part =
        target_value(target, arena_format(call->arena, "filter[%s][contains]", name));
    return (same == NULL || strcmp(same, text) == 0) &&
           (equal == NULL || strcmp(equal, text) == 0) &&
           (part == NULL || strcasestr(text, part) != NULL);
}

static uint32_t
meters_filter(const struct call *call, struct meter *meters, uint32_t count)
{
    uint32_t kept = 0;
    for (uint32_t i = 0; i < count; i++) {
        const char *name = meters[i].name != NULL ? meters[i].name : meters[i].key;
        if (text_passes(call, "key", meters[i].key) && text_passes(call, "name", name))
            meters[kept++] = meters[i];
    }
    return kept;
}

void
meters_v3_get(struct call *call)
{
    static const char *const filters[] = {
        "filter[key]",
        "filter[key][eq]",
        "filter[key][contains]",
        "filter[name]",
        "filter[name][eq]",
        "filter[name][contains]",
        "sort",
        NULL,
    };
    scoped(readers_return) struct readers_loan loan = {0};
    struct error error = {0};
    struct meter *meters = NULL;
    struct meter_order order;
    struct page page;
    uint32_t count = 0;
    enum status status = page_take(call, filters, &page, &error);
    if (status == STATUS_OK)
        status = meter_order_v3(&call->target, &order, &error);
    if (status == STATUS_OK)
        status = readers_take(call->api->readers, &loan, &error);
    if (status == STATUS_OK)
        status = registry_list(reader_registry(loan.reader), call->arena, &meters, &count, &error);
    if (status) {
        call_failed(call, &error);
        return;
    }
    count = meters_filter(call, meters, count);
    meters_sort(meters, count, &order);
    struct json_out *out = page_begin(call);
    int64_t first = (page.number - 1) * (int64_t)page.size;
    for (int64_t i = first; i < first + page.size && i < (int64_t)count; i++)
        meter_json_write(&meters[i], &METER_V3, call->arena, out);
    page_end(&page, count, out);
}

static void
meter_answer(
    struct call *call,
    int status,
    enum status outcome,
    const struct meter *meter,
    const struct error *error)
{
    if (outcome)
        call_failed(call, error);
    else
        meter_json_write(meter, &METER_V3, call->arena, call_json(call, status));
}

void
meters_v3_post(struct call *call)
{
    struct error error = {0};
    struct meter meter;
    enum status status = meter_make(call, &METER_V3, &meter, &error);
    meter_answer(call, 201, status, &meter, &error);
}

void
meter_v3_get(struct call *call)
{
    struct error error = {0};
    struct meter meter;
    enum status status = meter_lookup(call, call->params[0], &meter, &error);
    meter_answer(call, 200, status, &meter, &error);
}

void
meter_v3_put(struct call *call)
{
    struct error error = {0};
    struct meter meter;
    enum status status = meter_update(call, &METER_V3, &meter, &error);
    meter_answer(call, 200, status, &meter, &error);
}

// --- usage ---

static void
fault_answer(
    struct call *call, int status, const struct question_fault *fault, const struct error *error)
{
    const struct call_fault faults[] = {
        {fault->field, error->text, fault->code}
    };
    call_faults(call, status, error->text, faults, 1);
}

static void
failure_answer(struct call *call, struct question_fault fault, const struct error *error)
{
    if (error->status == STATUS_NOT_FOUND)
        fault = (struct question_fault){"customer_not_found", "$.filters.dimensions.customer_id"};
    if (fault.code == NULL)
        call_failed(call, error);
    else
        fault_answer(call, error->status == STATUS_NOT_FOUND ? 404 : 400, &fault, error);
}

// Rows of a customer stand beside the name that the database has for it.
static enum status
names_find(
    struct call *call, const struct question *question, struct answer *answer, struct error *error)
{
    scoped(database_return) struct database_loan loan = {0};
    const struct question_list *customers = &question->customers;
    if (customers->count == 0)
        return STATUS_OK;
    enum status status = database_take(call->api->database, &loan, error);
    for (size_t i = 0; status == STATUS_OK && i < customers->count; i++) {
        struct customer_profile profile = {.id = ""};
        status = loan.status =
            customer_profile_find(loan.sql, customers->items[i], call->arena, &profile, error);
        for (size_t row = 0; row < answer->count; row++)
            if (strcmp(answer->rows[row].customer, customers->items[i]) == 0)
                answer->rows[row].customer_name = profile.name != NULL ? profile.name : profile.id;
    }
    return status;
}

static void
csv_answer(struct call *call, const struct question *question, struct answer *answer)
{
    struct error error = {0};
    if (names_find(call, question, answer, &error)) {
        call_failed(call, &error);
        return;
    }
    question_csv_begin(call, &answer->meter);
    answer_write_csv(question, answer, ANSWER_V3, &call->response->body);
}

void
meter_v3_query_post(struct call *call)
{
    struct question_fault fault = {0};
    struct question question;
    struct error error = {0};
    struct answer answer;
    struct meter meter;
    if (meter_lookup(call, call->params[0], &meter, &error)) {
        call_failed(call, &error);
        return;
    }
    enum status status =
        question_from_v3(call->request->body, &meter, call->arena, &question, &fault, &error);
    if (status == STATUS_OK)
        status = question_call(call, &question, &answer, &error);
    if (status)
        failure_answer(call, fault, &error);
    else if (question_wants_csv(call))
        csv_answer(call, &question, &answer);
    else
        answer_write_json(&question, &answer, ANSWER_V3, call_json(call, 200));
}

// --- customers ---

void
customers_v3_get(struct call *call)
{
    static const char *const filters[] = {
        "filter[key]",
        "filter[key][eq]",
        "filter[key][contains]",
        "filter[name][contains]",
        "filter[primary_email][contains]",
        "filter[usage_attribution_subject_key][contains]",
        "filter[plan_key]",
        "sort",
        NULL,
    };
    static const char *const orders[] = {"id", "name", "created_at", NULL};
    scoped(database_return) struct database_loan loan = {0};
    struct customer_page customers;
    struct error error = {0};
    struct page page;
    size_t order = CUSTOMER_BY_ID;
    bool is_descending = false;
    enum status status = page_take(call, filters, &page, &error);
    if (status == STATUS_OK)
        status = param_sort(&call->target, orders, &order, &is_descending, &error);
    if (status == STATUS_OK)
        status = database_take(call->api->database, &loan, &error);
    const char *key = target_value(&call->target, "filter[key]");
    const struct customer_filter filter = {
        .exact_id = key != NULL ? key : target_value(&call->target, "filter[key][eq]"),
        .id = target_value(&call->target, "filter[key][contains]"),
        .name = target_value(&call->target, "filter[name][contains]"),
        .email = target_value(&call->target, "filter[primary_email][contains]"),
        .subject = target_value(&call->target, "filter[usage_attribution_subject_key][contains]"),
        .plan = target_value(&call->target, "filter[plan_key]"),
        .order = (enum customer_order)order,
        .is_descending = is_descending,
        .offset = (page.number - 1) * (int64_t)page.size,
        .limit = page.size,
    };
    if (status == STATUS_OK)
        status = loan.status =
            customer_profiles(loan.sql, &filter, call->arena, &customers, &error);
    if (status) {
        call_failed(call, &error);
        return;
    }
    struct json_out *out = page_begin(call);
    for (size_t i = 0; i < customers.count; i++)
        customer_json_write(&customers.items[i], &CUSTOMER_V3, call->arena, out);
    page_end(&page, customers.total, out);
}

static void
customer_answer(
    struct call *call,
    int status,
    enum status outcome,
    const struct customer_profile *profile,
    const struct error *error)
{
    if (outcome)
        call_failed(call, error);
    else
        customer_json_write(profile, &CUSTOMER_V3, call->arena, call_json(call, status));
}

void
customer_v3_post(struct call *call)
{
    struct customer_profile profile;
    struct error error = {0};
    enum status status = customer_write(call, &CUSTOMER_V3, NULL, &profile, &error);
    customer_answer(call, 201, status, &profile, &error);
}

void
customer_v3_get(struct call *call)
{
    struct customer_profile profile;
    struct error error = {0};
    enum status status = customer_read(call, call->params[0], &profile, &error);
    customer_answer(call, 200, status, &profile, &error);
}

void
customer_v3_put(struct call *call)
{
    struct customer_profile profile;
    struct error error = {0};
    enum status status = customer_write(call, &CUSTOMER_V3, call->params[0], &profile, &error);
    customer_answer(call, 200, status, &profile, &error);
}
