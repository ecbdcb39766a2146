// /api/v1/corrections: events that are taken out or get another payload, by whom and why.

#include "api/api.h"
#include "api/call.h"
#include "api/change.h"
#include "api/form.h"
#include "api/json_pack.h"
#include "api/json_unpack.h"
#include "api/member.h"
#include "api/param.h"
#include "api/routes.h"
#include "base/hash.h"
#include "base/pack.h"
#include "client/encode.h"
#include "ledger/audit.h"
#include "ledger/ledger.h"

#include <inttypes.h>
#include <string.h>

enum { LIMIT_DEFAULT = 100, LIMIT_MAX = 1000, KIND_MAX = 16, PLACE_NUMBERS = 4, ID_NUMBERS = 3 };

// --- a place as text ---

// "SHARD-BLOCK-INDEX".
static const char *
id_print(const struct audit_place *place, struct arena *arena)
{
    return arena_format(
        arena, "%" PRIu32 "-%" PRIu64 "-%" PRIu32, place->shard, place->block, place->index);
}

// What is no id names no correction.
static bool
id_parse(const char *text, struct audit_place *out)
{
    uint64_t numbers[ID_NUMBERS];
    if (!param_dashed(text, numbers, ID_NUMBERS) || numbers[0] > UINT32_MAX ||
        numbers[2] > UINT32_MAX)
        return false;
    *out = (struct audit_place){
        .shard = (uint32_t)numbers[0], .block = numbers[1], .index = (uint32_t)numbers[2]};
    return true;
}

static const char *
cursor_print(const struct audit_place *place, struct arena *arena)
{
    return arena_format(arena, "%" PRId64 "-%s", place->made_ns, id_print(place, arena));
}

static bool
cursor_parse(const char *text, struct audit_place *out)
{
    uint64_t numbers[PLACE_NUMBERS];
    const char *id = strchr(text, '-');
    if (id == NULL || !param_dashed(text, numbers, PLACE_NUMBERS) || numbers[0] > INT64_MAX ||
        !id_parse(id + 1, out))
        return false;
    out->made_ns = (int64_t)numbers[0];
    return true;
}

// --- as JSON ---

static void
data_write(struct json_out *out, struct bytes pairs, uint32_t count)
{
    json_key(out, "data");
    json_unpack_pairs(pairs, count, out);
}

static void
event_write(const struct entry *entry, struct json_out *out)
{
    json_begin(out, '{');
    member_bytes(out, "id", entry->id);
    member_bytes(out, "source", entry->source);
    member_text(out, "specversion", "1.0");
    member_bytes(out, "type", entry->type);
    member_bytes(out, "subject", entry->subject);
    member_time(out, "time", entry->time_ns);
    data_write(out, entry->properties, entry->properties_count);
    json_end(out, '}');
}

static void
row_write(const struct audit_row *row, struct arena *arena, struct json_out *out)
{
    const struct entry *entry = &row->entry;
    json_begin(out, '{');
    member_text(out, "id", id_print(&row->place, arena));
    member_text(out, "kind", entry_kind_name(entry->kind));
    json_key(out, "event");
    event_write(entry, out);
    member_decimal(out, "value", entry->value);
    json_key(out, "amended");
    if (entry->kind == ENTRY_AMEND) {
        json_begin(out, '{');
        member_decimal(out, "value", entry->note.amended.value);
        data_write(out, entry->note.amended.properties, entry->note.amended.properties_count);
        json_end(out, '}');
    } else {
        json_null(out);
    }
    json_key(out, "backfillId");
    if ((entry->flags & ENTRY_IS_BACKFILL) != 0)
        json_string(out, entry->batch);
    else
        json_null(out);
    member_bytes(out, "who", entry->note.who);
    member_bytes(out, "why", entry->note.why);
    member_time(out, "createdAt", row->place.made_ns);
    json_end(out, '}');
}

static void
one_answer(struct call *call, struct audit_place place, int code)
{
    scoped(readers_return) struct readers_loan loan = {0};
    struct error error = {0};
    struct audit_row row;
    enum status status = readers_take(call->api->readers, &loan, &error);
    if (status == STATUS_OK)
        status = audit_get(loan.reader, place, call->arena, &row, &error);
    if (status)
        call_failed(call, &error);
    else
        row_write(&row, call->arena, call_json(call, code));
}

// --- making one ---

struct wish {
    const char *kind;
    const char *subject, *source, *id;
    struct form_time time;
    struct form_number value;
    const struct json *data;
    const char *who, *why;
};

// clang-format off
static const struct form_row WISH_ROWS[] = {
    {"kind",    FORM_TEXT,   offsetof(struct wish, kind),    KIND_MAX,           true},
    {"subject", FORM_TEXT,   offsetof(struct wish, subject), ENCODE_SUBJECT_MAX, true},
    {"source",  FORM_TEXT,   offsetof(struct wish, source),  ENCODE_SOURCE_MAX,  false},
    {"id",      FORM_TEXT,   offsetof(struct wish, id),      ENCODE_ID_MAX,      true},
    {"time",    FORM_TIME,   offsetof(struct wish, time),    0,                  false},
    {"value",   FORM_NUMBER, offsetof(struct wish, value),   0,                  false},
    {"data",    FORM_OBJECT, offsetof(struct wish, data),    0,                  false},
    {"who",     FORM_TEXT,   offsetof(struct wish, who),     ENTRY_WHO_MAX,      false},
    {"why",     FORM_TEXT,   offsetof(struct wish, why),     ENTRY_WHY_MAX,      true},
    {.name = NULL},
};
// clang-format on

// The members of data as pairs: a map without its head.
static enum status
data_read(const struct json *data, struct arena *arena, struct correction *out, struct error *error)
{
    scoped(buffer_done) struct buffer pairs = {0};
    for (const struct json *item = data->first; item != NULL; item = item->next) {
        bool is_container = item->type == JSON_ARRAY || item->type == JSON_OBJECT;
        pack_str(&pairs, item->key);
        if (!json_pack(item, ENCODE_DEPTH_MAX - is_container, &pairs))
            return error_set(
                error, STATUS_INVALID, "data must not be nested deeper than %d", ENCODE_DEPTH_MAX);
    }
    if (buffer_failed(&pairs))
        return error_set(error, STATUS_NO_MEMORY, "no memory for the new data");
    out->has_properties = true;
    out->properties_count = data->count;
    out->properties = arena_bytes(arena, buffer_view(&pairs));
    return STATUS_OK;
}

static enum status
wish_read(struct call *call, struct correction *out, struct error *error)
{
    struct wish wish = {.kind = NULL};
    enum status status = form_read(call->request->body, WISH_ROWS, call->arena, &wish, error);
    if (status)
        return status;
    bool is_amend = strcmp(wish.kind, "amend") == 0;
    if (!is_amend && strcmp(wish.kind, "cancel") != 0)
        return error_set(error, STATUS_INVALID, "kind must be cancel or amend");
    *out = (struct correction){
        .kind = is_amend ? ENTRY_AMEND : ENTRY_CANCEL,
        .subject = bytes_text(wish.subject),
        .source = bytes_text(wish.source != NULL ? wish.source : ""),
        .id = bytes_text(wish.id),
        .has_time = wish.time.is_given,
        .time_ns = wish.time.ns,
        .who = change_who(call, wish.who),
        .why = bytes_text(wish.why),
        .has_value = wish.value.is_given,
        .value = wish.value.value,
    };
    if (wish.data != NULL)
        status = data_read(wish.data, call->arena, out, error);
    const char *fault = status ? NULL : correction_fault(out);
    return fault != NULL ? error_set(error, STATUS_INVALID, "%s", fault) : status;
}

void
corrections_post(struct call *call)
{
    struct error error = {0};
    struct control_request request = {.kind = CONTROL_CORRECT};
    struct control_answer answer;
    struct ledger_conf conf;
    enum status status = wish_read(call, &request.correction, &error);
    if (status == STATUS_OK)
        status = ledger_shape_read(call->api->settings->data, &conf, &error);
    if (status) {
        call_failed(call, &error);
        return;
    }
    if (!change_do(call, &request, &answer))
        return;
    // Its block has nothing else.
    const struct audit_place place = {
        .shard = (uint32_t)(hash64(request.correction.subject, 0) % conf.shards),
        .block = answer.number,
    };
    one_answer(call, place, 201);
}

// --- those that were made ---

void
correction_get(struct call *call)
{
    struct audit_place place;
    if (id_parse(call->params[0], &place))
        one_answer(call, place, 200);
    else
        call_problem(call, 404, "There is no such correction.");
}

static enum status
query_read(struct call *call, struct audit_query *out, struct error *error)
{
    static const char *const names[] = {"subject", "from", "to", "limit", "cursor", NULL};
    const struct target *target = &call->target;
    const char *subject = NULL;
    const char *cursor = target_value(target, "cursor");
    *out = AUDIT_ALL;
    out->limit = LIMIT_DEFAULT;
    enum status status = param_check(target, names, error);
    if (status == STATUS_OK)
        status = param_text(target, "subject", ENCODE_SUBJECT_MAX, &subject, error);
    if (status == STATUS_OK)
        status = param_time(target, "from", &out->from_ns, error);
    if (status == STATUS_OK)
        status = param_time(target, "to", &out->to_ns, error);
    if (status == STATUS_OK)
        status = param_number(target, "limit", 1, LIMIT_MAX, &out->limit, error);
    if (status)
        return status;
    out->subject = subject != NULL ? bytes_text(subject) : bytes_of(NULL, 0);
    out->has_after = cursor != NULL;
    if (cursor != NULL && !cursor_parse(cursor, &out->after))
        return error_set(error, STATUS_INVALID, "cursor must be the nextCursor of a page");
    return STATUS_OK;
}

void
corrections_get(struct call *call)
{
    scoped(readers_return) struct readers_loan loan = {0};
    struct error error = {0};
    struct audit_query query;
    struct audit_page page;
    enum status status = query_read(call, &query, &error);
    if (status == STATUS_OK)
        status = readers_take(call->api->readers, &loan, &error);
    if (status == STATUS_OK)
        status = audit_list(loan.reader, &query, call->arena, &page, &error);
    if (status) {
        call_failed(call, &error);
        return;
    }
    struct json_out *out = call_json(call, 200);
    json_begin(out, '{');
    json_key(out, "items");
    json_begin(out, '[');
    for (uint32_t i = 0; i < page.count; i++)
        row_write(&page.rows[i], call->arena, out);
    json_end(out, ']');
    if (page.has_more && page.count > 0)
        member_text(out, "nextCursor", cursor_print(&page.rows[page.count - 1].place, call->arena));
    json_end(out, '}');
}
