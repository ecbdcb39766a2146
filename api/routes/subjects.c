// /api/v1/subjects: what is said of those whose usage is counted.

#include "api/api.h"
#include "api/call.h"
#include "api/customer_json.h"
#include "api/routes.h"
#include "base/clock.h"

enum { SUBJECTS_MAX = 1000 };

struct upsert {
    struct subject *items;
    unsigned *members;
    size_t count;
};

static enum status
upsert_read(struct call *call, struct upsert *out, struct error *error)
{
    struct json *root;
    enum status status = json_parse(call->request->body, NULL, call->arena, &root, error);
    if (status)
        return error_prefix(error, "the body cannot be read");
    if (root->type != JSON_ARRAY || root->count > SUBJECTS_MAX)
        return error_set(
            error, STATUS_INVALID, "the body must be a list of at most %d subjects", SUBJECTS_MAX);
    out->items = arena_array(call->arena, (size_t)root->count + 1, struct subject);
    out->members = arena_array(call->arena, (size_t)root->count + 1, unsigned);
    for (const struct json *item = root->first; item != NULL; item = item->next) {
        status = subject_json_read(
            item, call->arena, &out->items[out->count], &out->members[out->count], error);
        if (status)
            return status;
        out->count++;
    }
    return STATUS_OK;
}

// All of them or none.
static enum status
upsert_write(struct sql *sql, const struct upsert *upsert, struct error *error)
{
    int64_t now_ns = clock_now_ns();
    enum status status = sql_begin(sql, error);
    for (size_t i = 0; status == STATUS_OK && i < upsert->count; i++)
        status = subject_put(sql, &upsert->items[i], upsert->members[i], now_ns, error);
    if (status == STATUS_OK)
        return sql_commit(sql, error);
    sql_rollback(sql);
    return status;
}

static enum status
subjects_put(struct call *call, struct upsert *upsert, struct error *error)
{
    scoped(database_return) struct database_loan loan = {0};
    enum status status = database_take(call->api->database, &loan, error);
    if (status)
        return status;
    loan.status = upsert_write(loan.sql, upsert, error);
    for (size_t i = 0; loan.status == STATUS_OK && i < upsert->count; i++)
        loan.status =
            subject_find(loan.sql, upsert->items[i].key, call->arena, &upsert->items[i], error);
    return loan.status;
}

static void
subjects_answer(struct call *call, const struct subject *items, size_t count)
{
    struct json_out *out = call_json(call, 200);
    json_begin(out, '[');
    for (size_t i = 0; i < count; i++)
        subject_json_write(&items[i], out);
    json_end(out, ']');
}

void
subjects_post(struct call *call)
{
    struct upsert upsert = {0};
    struct error error = {0};
    enum status status = upsert_read(call, &upsert, &error);
    if (status == STATUS_OK)
        status = subjects_put(call, &upsert, &error);
    if (status)
        call_failed(call, &error);
    else
        subjects_answer(call, upsert.items, upsert.count);
}

void
subjects_get(struct call *call)
{
    scoped(database_return) struct database_loan loan = {0};
    struct subject_list list;
    struct error error = {0};
    enum status status = database_take(call->api->database, &loan, &error);
    if (status == STATUS_OK)
        status = loan.status = subjects_read(loan.sql, call->arena, &list, &error);
    if (status)
        call_failed(call, &error);
    else
        subjects_answer(call, list.items, list.count);
}

void
subject_get(struct call *call)
{
    scoped(database_return) struct database_loan loan = {0};
    struct subject subject;
    struct error error = {0};
    enum status status = database_take(call->api->database, &loan, &error);
    if (status == STATUS_OK)
        status = loan.status =
            subject_find(loan.sql, call->params[0], call->arena, &subject, &error);
    if (status)
        call_failed(call, &error);
    else
        subject_json_write(&subject, call_json(call, 200));
}

void
subject_delete(struct call *call)
{
    scoped(database_return) struct database_loan loan = {0};
    struct error error = {0};
    enum status status = database_take(call->api->database, &loan, &error);
    if (status == STATUS_OK)
        status = loan.status = subject_remove(loan.sql, call->params[0], &error);
    if (status)
        call_failed(call, &error);
    else
        call_empty(call, 204);
}
