// /api/v1/cuts: moments behind which usage up to a time stays the same for ever.

#include "ledger/cuts.h"

#include "api/api.h"
#include "api/call.h"
#include "api/change.h"
#include "api/form.h"
#include "api/member.h"
#include "api/param.h"
#include "api/routes.h"
#include "base/clock.h"
#include "ledger/cut_list.h"

enum { LIMIT_DEFAULT = 100, LIMIT_MAX = 1000 };

struct wish {
    struct form_time at;
};

// clang-format off
static const struct form_row WISH_ROWS[] = {
    {"at", FORM_TIME, offsetof(struct wish, at), 0, true},
    {.name = NULL},
};
// clang-format on

void
cuts_post(struct call *call)
{
    struct wish wish = {.at = {0}};
    struct error error = {0};
    struct control_request request = {.kind = CONTROL_CUT};
    struct control_answer answer;
    if (form_read(call->request->body, WISH_ROWS, call->arena, &wish, &error)) {
        call_failed(call, &error);
        return;
    }
    request.time_ns = wish.at.ns;
    if (!change_do(call, &request, &answer))
        return;
    struct json_out *out = call_json(call, 201);
    json_begin(out, '{');
    member_int(out, "number", (int64_t)answer.number);
    // Windows are of seconds, and so is what a cut keeps.
    member_time(out, "at", wish.at.ns / SECOND_NS * SECOND_NS);
    json_end(out, '}');
}

static void
row_write(const struct cut_row *row, struct json_out *out)
{
    json_begin(out, '{');
    member_int(out, "number", row->number);
    member_time(out, "at", row->time_s * SECOND_NS);
    if (row->made_ns != 0)
        member_time(out, "createdAt", row->made_ns);
    else
        member_text(out, "createdAt", NULL);
    member_bool(out, "isComplete", row->is_complete);
    json_end(out, '}');
}

// The latest first; the cursor is the last number of the page before.
void
cuts_get(struct call *call)
{
    static const char *const names[] = {"limit", "cursor", NULL};
    scoped(readers_return) struct readers_loan loan = {0};
    struct error error = {0};
    struct cut_row *rows = NULL;
    uint32_t count = 0, limit = LIMIT_DEFAULT, before = UINT32_MAX;
    enum status status = param_check(&call->target, names, &error);
    if (status == STATUS_OK)
        status = param_number(&call->target, "limit", 1, LIMIT_MAX, &limit, &error);
    if (status == STATUS_OK)
        status = param_number(&call->target, "cursor", 1, UINT32_MAX, &before, &error);
    if (status == STATUS_OK)
        status = readers_take(call->api->readers, &loan, &error);
    if (status == STATUS_OK)
        status = cut_list(loan.reader, call->arena, &rows, &count, &error);
    if (status) {
        call_failed(call, &error);
        return;
    }
    while (count > 0 && rows[count - 1].number >= before)
        count--;
    struct json_out *out = call_json(call, 200);
    json_begin(out, '{');
    json_key(out, "items");
    json_begin(out, '[');
    for (uint32_t i = 0; i < count && i < limit; i++)
        row_write(&rows[count - 1 - i], out);
    json_end(out, ']');
    if (count > limit)
        member_text(out, "nextCursor", arena_format(call->arena, "%u", rows[count - limit].number));
    json_end(out, '}');
}
