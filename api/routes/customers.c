// /api/v1/customers: who pays, as OpenMeter shows them; the same customers as `tally customer` has.

#include "api/api.h"
#include "api/call.h"
#include "api/customer_calls.h"
#include "api/param.h"
#include "api/routes.h"
#include "api/ulid.h"
#include "base/clock.h"

#include <string.h>

enum { PAGE_SIZE = 100, PAGE_SIZE_MAX = 1000, PAGES_MAX = 1000000 };

static enum status
filter_read(const struct target *target, struct customer_filter *out, struct error *error)
{
    static const char *const orders[] = {"id", "name", "createdAt", NULL};
    static const char *const directions[] = {"ASC", "DESC", NULL};
    uint32_t page = 1, size = PAGE_SIZE;
    size_t order = CUSTOMER_BY_ID, direction = 0;
    *out = (struct customer_filter){0};
    const struct {
        const char *name;
        const char **value;
    } texts[] = {
        {"key",          &out->id     },
        {"name",         &out->name   },
        {"primaryEmail", &out->email  },
        {"subject",      &out->subject},
        {"planKey",      &out->plan   },
    };
    for (size_t i = 0; i < sizeof texts / sizeof texts[0]; i++)
        if (param_once(target, texts[i].name, texts[i].value, error))
            return error->status;
    enum status status = param_number(target, "page", 1, PAGES_MAX, &page, error);
    if (status == STATUS_OK)
        status = param_number(target, "pageSize", 1, PAGE_SIZE_MAX, &size, error);
    if (status == STATUS_OK)
        status = param_word(target, "orderBy", orders, &order, error);
    if (status == STATUS_OK)
        status = param_word(target, "order", directions, &direction, error);
    out->limit = size;
    out->offset = (page - 1) * (int64_t)size;
    out->order = (enum customer_order)order;
    out->is_descending = direction == 1;
    return status;
}

void
customers_get(struct call *call)
{
    scoped(database_return) struct database_loan loan = {0};
    struct customer_filter filter;
    struct customer_page page;
    struct error error = {0};
    enum status status = filter_read(&call->target, &filter, &error);
    if (status == STATUS_OK)
        status = database_take(call->api->database, &loan, &error);
    if (status == STATUS_OK)
        status = loan.status = customer_profiles(loan.sql, &filter, call->arena, &page, &error);
    if (status) {
        call_failed(call, &error);
        return;
    }
    struct json_out *out = call_json(call, 200);
    json_begin(out, '{');
    json_key(out, "totalCount");
    json_int(out, page.total);
    json_key(out, "page");
    json_int(out, filter.offset / filter.limit + 1);
    json_key(out, "pageSize");
    json_int(out, filter.limit);
    json_key(out, "items");
    json_begin(out, '[');
    for (size_t i = 0; i < page.count; i++)
        customer_json_write(&page.items[i], &CUSTOMER_V1, call->arena, out);
    json_end(out, ']');
    json_end(out, '}');
}

static void
customer_answer(struct call *call, int status, const struct customer_profile *profile)
{
    customer_json_write(profile, &CUSTOMER_V1, call->arena, call_json(call, status));
}

enum status
customer_write(
    struct call *call,
    const struct customer_words *words,
    const char *id,
    struct customer_profile *out,
    struct error *error)
{
    scoped(database_return) struct database_loan loan = {0};
    struct customer_profile profile;
    char ulid[ULID_SIZE + 1];
    int64_t now_ns = clock_now_ns() / 1000 * 1000;
    enum status status =
        customer_json_read(call->request->body, words, call->arena, &profile, error);
    if (status)
        return status;
    if (id != NULL && profile.id != NULL && strcmp(profile.id, id) != 0)
        return error_set(error, STATUS_INVALID, "key is the customer's id, which stays %s", id);
    ulid_make(now_ns, ulid);
    bool is_new = id == NULL;
    if (!is_new)
        profile.id = id;
    else if (profile.id == NULL)
        profile.id = ulid;
    status = database_take(call->api->database, &loan, error);
    if (status)
        return status;
    loan.status = is_new ? customer_profile_add(loan.sql, &profile, now_ns, error)
                         : customer_profile_change(loan.sql, &profile, now_ns, error);
    customer_book_forget(call->api->customers, profile.id);
    if (loan.status == STATUS_OK)
        loan.status = customer_profile_find(loan.sql, profile.id, call->arena, out, error);
    return loan.status;
}

enum status
customer_read(struct call *call, const char *id, struct customer_profile *out, struct error *error)
{
    scoped(database_return) struct database_loan loan = {0};
    enum status status = database_take(call->api->database, &loan, error);
    if (status)
        return status;
    loan.status = customer_profile_find(loan.sql, id, call->arena, out, error);
    return loan.status;
}

void
customers_post(struct call *call)
{
    struct customer_profile profile;
    struct error error = {0};
    if (customer_write(call, &CUSTOMER_V1, NULL, &profile, &error))
        call_failed(call, &error);
    else
        customer_answer(call, 201, &profile);
}

void
customer_get(struct call *call)
{
    struct customer_profile profile;
    struct error error = {0};
    if (customer_read(call, call->params[0], &profile, &error))
        call_failed(call, &error);
    else
        customer_answer(call, 200, &profile);
}

void
customer_put(struct call *call)
{
    struct customer_profile profile;
    struct error error = {0};
    if (customer_write(call, &CUSTOMER_V1, call->params[0], &profile, &error))
        call_failed(call, &error);
    else
        customer_answer(call, 200, &profile);
}

void
customer_delete(struct call *call)
{
    scoped(database_return) struct database_loan loan = {0};
    struct error error = {0};
    enum status status = database_take(call->api->database, &loan, &error);
    if (status == STATUS_OK)
        status = loan.status = customer_remove(loan.sql, call->params[0], &error);
    customer_book_forget(call->api->customers, call->params[0]);
    if (status)
        call_failed(call, &error);
    else
        call_empty(call, 204);
}
