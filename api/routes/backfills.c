// /api/v1/backfills: events of any age, which are closed and, if they were wrong, taken out
// together.

#include "api/api.h"
#include "api/call.h"
#include "api/change.h"
#include "api/events_take.h"
#include "api/form.h"
#include "api/member.h"
#include "api/param.h"
#include "api/routes.h"
#include "base/clock.h"
#include "client/uuid7.h"
#include "ledger/backfill_list.h"
#include "ledger/ledger.h"

#include <string.h>

enum { LIMIT_DEFAULT = 100, LIMIT_MAX = 1000 };

// --- as JSON ---

static void
step_write(struct json_out *out, const char *key, const struct backfill_step *step)
{
    json_key(out, key);
    if (step->time_ns == 0) {
        json_null(out);
        return;
    }
    json_begin(out, '{');
    member_time(out, "at", step->time_ns);
    member_bytes(out, "who", step->who);
    member_bytes(out, "why", step->why);
    json_end(out, '}');
}

static void
row_write(const struct backfill_row *row, struct json_out *out)
{
    json_begin(out, '{');
    member_bytes(out, "id", row->id);
    member_text(out, "state", batch_state_name(row->state));
    member_bool(out, "isPartial", row->is_partial);
    member_int(out, "events", (int64_t)row->stored);
    member_int(out, "revertedEvents", (int64_t)row->taken);
    member_int(out, "cancelledEvents", (int64_t)row->cancelled);
    step_write(out, "opened", &row->opened);
    step_write(out, "closed", &row->closed);
    step_write(out, "reverted", &row->reverted);
    json_end(out, '}');
}

static enum status
row_find(struct call *call, const char *id, struct backfill_row *out, struct error *error)
{
    struct backfill_row *rows = NULL;
    size_t count = 0;
    enum status status =
        backfill_list(call->api->settings->data, call->arena, &rows, &count, error);
    if (status)
        return status;
    for (size_t i = 0; i < count; i++) {
        if (bytes_equal(rows[i].id, bytes_text(id))) {
            *out = rows[i];
            return STATUS_OK;
        }
    }
    return error_set(error, STATUS_NOT_FOUND, "There is no backfill %.100s.", id);
}

static void
row_answer(struct call *call, const char *id, int code)
{
    struct backfill_row row = {.stored = 0};
    struct error error = {0};
    if (row_find(call, id, &row, &error))
        call_failed(call, &error);
    else
        row_write(&row, call_json(call, code));
}

// --- its steps ---

struct wish {
    const char *id;
    const char *who, *why;
};

// clang-format off
static const struct form_row OPEN_ROWS[] = {
    {"id",  FORM_TEXT, offsetof(struct wish, id),  EVENT_BATCH_MAX, false},
    {"who", FORM_TEXT, offsetof(struct wish, who), ENTRY_WHO_MAX,   false},
    {"why", FORM_TEXT, offsetof(struct wish, why), ENTRY_WHY_MAX,   false},
    {.name = NULL},
};
static const struct form_row CLOSE_ROWS[] = {
    {"who", FORM_TEXT, offsetof(struct wish, who), ENTRY_WHO_MAX, false},
    {"why", FORM_TEXT, offsetof(struct wish, why), ENTRY_WHY_MAX, false},
    {.name = NULL},
};
static const struct form_row REVERT_ROWS[] = {
    {"who", FORM_TEXT, offsetof(struct wish, who), ENTRY_WHO_MAX, false},
    {"why", FORM_TEXT, offsetof(struct wish, why), ENTRY_WHY_MAX, true},
    {.name = NULL},
};
// clang-format on

static const char *
id_make(struct call *call)
{
    struct uuid7_source source;
    char text[UUID7_TEXT_SIZE];
    struct error error;
    if (uuid7_init(&source, &error))
        return call->id;
    uuid7_next(&source, clock_now_ns(), text);
    return arena_text_of(call->arena, bytes_of(text, sizeof text));
}

// id NULL: the body's, or a new one. Answers with the backfill as it is then.
static void
step_do(
    struct call *call, enum backfill_act act, const char *id, const struct form_row *rows, int code)
{
    struct wish wish = {.id = NULL};
    struct error error = {0};
    struct control_answer answer;
    // A close has nothing that must be said.
    bool is_empty = act == BACKFILL_CLOSE && call->request->body.size == 0;
    if (!is_empty && form_read(call->request->body, rows, call->arena, &wish, &error)) {
        call_failed(call, &error);
        return;
    }
    if (id == NULL)
        id = wish.id != NULL ? wish.id : id_make(call);
    const struct control_request request = {
        .kind = CONTROL_BACKFILL,
        .backfill =
            {
                       .act = act,
                       .id = bytes_text(id),
                       .who = change_who(call, wish.who),
                       .why = bytes_text(wish.why != NULL ? wish.why : ""),
                       },
    };
    if (change_do(call, &request, &answer))
        row_answer(call, id, code);
}

void
backfills_post(struct call *call)
{
    step_do(call, BACKFILL_OPEN, NULL, OPEN_ROWS, 201);
}

void
backfill_close_post(struct call *call)
{
    step_do(call, BACKFILL_CLOSE, call->params[0], CLOSE_ROWS, 200);
}

void
backfill_revert_post(struct call *call)
{
    step_do(call, BACKFILL_REVERT, call->params[0], REVERT_ROWS, 200);
}

// --- its events ---

// A connection to tallyd belongs to one backfill, so each request has its own.
void
backfill_events_post(struct call *call)
{
    struct ingest *ingest = NULL;
    struct error error = {0};
    struct backfill_row row = {.stored = 0};
    enum status status = row_find(call, call->params[0], &row, &error);
    if (status == STATUS_OK && row.state != BATCH_OPEN)
        status = error_set(
            &error,
            STATUS_EXISTS,
            "The backfill %.100s is %s; open another one.",
            call->params[0],
            batch_state_name(row.state));
    if (status == STATUS_OK)
        status = ingest_open(call->api->settings->unix_path, call->params[0], &ingest, &error);
    if (status) {
        call_failed(call, &error);
        return;
    }
    events_take(call, ingest, false);
    ingest_close(ingest);
}

// --- those that there are ---

void
backfill_get(struct call *call)
{
    row_answer(call, call->params[0], 200);
}

// What the list is restricted to.
struct list_query {
    bool has_state;
    enum batch_state state;
    uint32_t limit;
};

static enum status
state_read(const char *text, struct list_query *out, struct error *error)
{
    for (enum batch_state state = BATCH_OPEN; text != NULL && state <= BATCH_REVERTED; state++) {
        if (strcmp(text, batch_state_name(state)) == 0) {
            out->has_state = true;
            out->state = state;
            return STATUS_OK;
        }
    }
    return text == NULL
               ? STATUS_OK
               : error_set(
                     error, STATUS_INVALID, "state must be open, closed, reverting or reverted");
}

// The latest first; the cursor is the last id of the page before. The rows lie in the order of
// their opening.
static enum status
cursor_read(struct call *call, const struct backfill_row *rows, size_t *count, struct error *error)
{
    const char *cursor = target_value(&call->target, "cursor");
    size_t at = *count;
    while (cursor != NULL && at > 0 && !bytes_equal(rows[at - 1].id, bytes_text(cursor)))
        at--;
    if (cursor != NULL && at == 0)
        return error_set(error, STATUS_INVALID, "cursor must be the nextCursor of a page");
    *count = cursor != NULL ? at - 1 : *count;
    return STATUS_OK;
}

static void
page_write(
    struct call *call,
    const struct backfill_row *rows,
    size_t count,
    const struct list_query *query)
{
    struct json_out *out = call_json(call, 200);
    uint32_t written = 0;
    struct bytes last = {NULL, 0};
    bool has_more = false;
    json_begin(out, '{');
    json_key(out, "items");
    json_begin(out, '[');
    for (size_t i = count; i > 0 && !has_more; i--) {
        const struct backfill_row *row = &rows[i - 1];
        if (query->has_state && row->state != query->state)
            continue;
        has_more = written == query->limit;
        if (has_more)
            break;
        row_write(row, out);
        last = row->id;
        written++;
    }
    json_end(out, ']');
    if (has_more)
        member_bytes(out, "nextCursor", last);
    json_end(out, '}');
}

void
backfills_get(struct call *call)
{
    static const char *const names[] = {"state", "limit", "cursor", NULL};
    struct error error = {0};
    struct backfill_row *rows = NULL;
    size_t count = 0;
    struct list_query query = {.limit = LIMIT_DEFAULT};
    enum status status = param_check(&call->target, names, &error);
    if (status == STATUS_OK)
        status = state_read(target_value(&call->target, "state"), &query, &error);
    if (status == STATUS_OK)
        status = param_number(&call->target, "limit", 1, LIMIT_MAX, &query.limit, &error);
    if (status == STATUS_OK)
        status = backfill_list(call->api->settings->data, call->arena, &rows, &count, &error);
    if (status == STATUS_OK)
        status = cursor_read(call, rows, &count, &error);
    if (status)
        call_failed(call, &error);
    else
        page_write(call, rows, count, &query);
}
