// May somebody use more? For gateways: one question, or many at once.

#include "api/api.h"
#include "api/call.h"
#include "api/entitlement.h"
#include "api/form.h"
#include "api/member.h"
#include "api/routes.h"
#include "base/clock.h"

enum { ITEMS_MAX = CUSTOMER_BOOK_LOOK_MAX };

struct item {
    const char *customer;
    const char *meter;
};

static struct entitlement_sources
sources_of(const struct call *call, struct reader *reader)
{
    return (struct entitlement_sources){
        reader, call->api->quotas, call->api->customers, clock_now_ns()};
}

void
entitlement_get(struct call *call)
{
    scoped(readers_return) struct readers_loan loan = {0};
    struct entitlement found;
    struct error error = {0};
    enum status status = readers_take(call->api->readers, &loan, &error);
    if (status == STATUS_OK) {
        const struct entitlement_sources sources = sources_of(call, loan.reader);
        status = entitlement_find(
            &sources, call->params[0], call->params[1], call->arena, &found, &error);
    }
    if (status)
        call_failed(call, &error);
    else
        entitlement_write(&found, call_json(call, 200));
}

// --- many at once ---

struct wish {
    const struct json *items;
};

// clang-format off
static const struct form_row WISH_ROWS[] = {
    {"items", FORM_LIST, offsetof(struct wish, items), 0, true},
    {.name = NULL},
};
static const struct form_row ITEM_ROWS[] = {
    {"customerId", FORM_TEXT, offsetof(struct item, customer), ENTITLEMENT_ID_MAX, true},
    {"meter",      FORM_TEXT, offsetof(struct item, meter),    METER_KEY_MAX,      true},
    {.name = NULL},
};
// clang-format on

static enum status
items_read(struct call *call, struct item **out, uint32_t *out_count, struct error *error)
{
    struct wish wish = {NULL};
    enum status status = form_read(call->request->body, WISH_ROWS, call->arena, &wish, error);
    if (status)
        return status;
    if (wish.items->count == 0 || wish.items->count > ITEMS_MAX)
        return error_set(error, STATUS_INVALID, "items must be 1 to %d", ITEMS_MAX);
    struct item *items = arena_array(call->arena, wish.items->count, struct item);
    const struct json *each = wish.items->first;
    for (uint32_t i = 0; each != NULL && !status; each = each->next)
        status = form_object_read(each, ITEM_ROWS, call->arena, &items[i++], error);
    *out = items;
    *out_count = wish.items->count;
    return status;
}

// What one item's answer is, when the meter is not there: the others have theirs.
static void
unknown_write(const struct item *item, const struct error *error, struct json_out *out)
{
    json_begin(out, '{');
    member_text(out, "customerId", item->customer);
    member_text(out, "meter", item->meter);
    member_text(out, "error", error->text);
    json_end(out, '}');
}

static enum status
items_answer(
    struct call *call,
    struct reader *reader,
    const struct item *items,
    uint32_t count,
    struct error *error)
{
    const struct entitlement_sources sources = sources_of(call, reader);
    const char **ids = arena_array(call->arena, count, const char *);
    for (uint32_t i = 0; i < count; i++)
        ids[i] = items[i].customer;
    customer_book_prepare(call->api->customers, ids, count);
    struct json_out *out = call_json(call, 200);
    json_begin(out, '{');
    json_key(out, "items");
    json_begin(out, '[');
    for (uint32_t i = 0; i < count; i++) {
        struct entitlement found;
        enum status status = entitlement_find(
            &sources, items[i].customer, items[i].meter, call->arena, &found, error);
        if (status == STATUS_NOT_FOUND)
            unknown_write(&items[i], error, out);
        else if (status)
            return status;
        else
            entitlement_write(&found, out);
    }
    json_end(out, ']');
    json_end(out, '}');
    return STATUS_OK;
}

void
entitlements_post(struct call *call)
{
    scoped(readers_return) struct readers_loan loan = {0};
    struct error error = {0};
    struct item *items = NULL;
    uint32_t count = 0;
    enum status status = items_read(call, &items, &count, &error);
    if (status == STATUS_OK)
        status = readers_take(call->api->readers, &loan, &error);
    if (status == STATUS_OK)
        status = items_answer(call, loan.reader, items, count, &error);
    if (status)
        call_failed(call, &error);
}
