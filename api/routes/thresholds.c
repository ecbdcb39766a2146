// /api/v1/thresholds: how much may be used, and /api/v1/fired-thresholds: what fired.

#include "api/api.h"
#include "api/call.h"
#include "api/form.h"
#include "api/member.h"
#include "api/param.h"
#include "api/routes.h"
#include "base/clock.h"
#include "ledger/fired.h"
#include "ledger/ledger.h"
#include "ledger/threshold.h"

#include <inttypes.h>
#include <string.h>

enum { LIMIT_DEFAULT = 100, LIMIT_MAX = 1000, SUBJECT_MAX = 255, PERIOD_MAX = 16 };

struct thresholds {
    struct threshold *list;  // by key
    uint32_t count;
};

static enum status
thresholds_read(
    struct call *call, struct reader *reader, struct thresholds *out, struct error *error)
{
    return threshold_list(reader_registry(reader), call->arena, &out->list, &out->count, error);
}

static void
threshold_write(const struct threshold *one, struct json_out *out)
{
    json_begin(out, '{');
    member_text(out, "key", one->key);
    member_text(out, "meter", one->meter);
    member_text(out, "subject", one->subject);
    member_text(out, "period", threshold_period_name(one->period));
    member_decimal(out, "limit", one->limit);
    member_time(out, "createdAt", one->created_ns);
    json_end(out, '}');
}

// --- one ---

static void
one_answer(struct call *call, struct reader *reader, const char *key, int code)
{
    struct error error = {0};
    struct thresholds all;
    if (thresholds_read(call, reader, &all, &error)) {
        call_failed(call, &error);
        return;
    }
    const struct threshold *one = threshold_find(all.list, all.count, key);
    if (one == NULL)
        call_problem(call, 404, "There is no threshold %.64s.", key);
    else
        threshold_write(one, call_json(call, code));
}

void
threshold_get(struct call *call)
{
    scoped(readers_return) struct readers_loan loan = {0};
    struct error error = {0};
    if (readers_take(call->api->readers, &loan, &error))
        call_failed(call, &error);
    else
        one_answer(call, loan.reader, call->params[0], 200);
}

struct wish {
    const char *key, *meter, *subject, *period;
    struct form_number limit;
};

// clang-format off
static const struct form_row NEW_ROWS[] = {
    {"key",     FORM_TEXT,   offsetof(struct wish, key),     METER_KEY_MAX, true},
    {"meter",   FORM_TEXT,   offsetof(struct wish, meter),   METER_KEY_MAX, true},
    {"subject", FORM_TEXT,   offsetof(struct wish, subject), SUBJECT_MAX,   false},
    {"period",  FORM_TEXT,   offsetof(struct wish, period),  PERIOD_MAX,    false},
    {"limit",   FORM_NUMBER, offsetof(struct wish, limit),   0,             true},
    {.name = NULL},
};
// clang-format on

// Of one whose key is in the path.
static const struct form_row *const CHANGE_ROWS = NEW_ROWS + 1;

static enum status
wish_read(
    struct call *call,
    const struct form_row *rows,
    const char *key,
    struct threshold *out,
    struct error *error)
{
    struct wish wish = {.key = key};
    enum status status = form_read(call->request->body, rows, call->arena, &wish, error);
    if (status)
        return status;
    *out = (struct threshold){
        .key = wish.key, .meter = wish.meter, .subject = wish.subject, .limit = wish.limit.value};
    if (!threshold_period_parse(wish.period != NULL ? wish.period : "month", &out->period))
        return error_set(error, STATUS_INVALID, "period must be day or month");
    return STATUS_OK;
}

static void
put_answer(struct call *call, struct reader *reader, const struct threshold *one)
{
    struct error error = {0};
    enum meter_change change = METER_UNCHANGED;
    enum status status =
        threshold_put(reader_registry(reader), one, clock_now_ns(), &change, &error);
    if (status == STATUS_FULL)
        call_problem(call, 409, "%s", error.text);
    else if (status)
        call_failed(call, &error);
    else
        one_answer(call, reader, one->key, change == METER_CREATED ? 201 : 200);
}

// What is asked for twice is there: 200. Another one of the same key is not replaced.
void
thresholds_post(struct call *call)
{
    scoped(readers_return) struct readers_loan loan = {0};
    struct error error = {0};
    struct threshold one;
    struct thresholds all = {NULL, 0};
    enum status status = wish_read(call, NEW_ROWS, NULL, &one, &error);
    if (status == STATUS_OK)
        status = readers_take(call->api->readers, &loan, &error);
    if (status == STATUS_OK)
        status = thresholds_read(call, loan.reader, &all, &error);
    if (status) {
        call_failed(call, &error);
        return;
    }
    const struct threshold *there = threshold_find(all.list, all.count, one.key);
    if (there != NULL && !threshold_is_same(there, &one))
        call_problem(
            call, 409, "There is a threshold %s already; PUT defines it anew.", there->key);
    else
        put_answer(call, loan.reader, &one);
}

void
threshold_put_one(struct call *call)
{
    scoped(readers_return) struct readers_loan loan = {0};
    struct error error = {0};
    struct threshold one;
    enum status status = wish_read(call, CHANGE_ROWS, call->params[0], &one, &error);
    if (status == STATUS_OK)
        status = readers_take(call->api->readers, &loan, &error);
    if (status)
        call_failed(call, &error);
    else
        put_answer(call, loan.reader, &one);
}

void
threshold_delete(struct call *call)
{
    scoped(readers_return) struct readers_loan loan = {0};
    struct error error = {0};
    enum status status = readers_take(call->api->readers, &loan, &error);
    if (status == STATUS_OK)
        status = threshold_remove(reader_registry(loan.reader), call->params[0], &error);
    if (status)
        call_failed(call, &error);
    else
        call_empty(call, 204);
}

// --- all ---

struct list_query {
    const char *meter, *subject, *cursor;
    uint32_t limit;
};

static enum status
list_query_read(struct call *call, struct list_query *out, struct error *error)
{
    static const char *const names[] = {"meter", "subject", "limit", "cursor", NULL};
    const struct target *target = &call->target;
    *out = (struct list_query){.limit = LIMIT_DEFAULT};
    enum status status = param_check(target, names, error);
    if (status == STATUS_OK)
        status = param_text(target, "meter", METER_KEY_MAX, &out->meter, error);
    if (status == STATUS_OK)
        status = param_text(target, "subject", SUBJECT_MAX, &out->subject, error);
    if (status == STATUS_OK)
        status = param_text(target, "cursor", METER_KEY_MAX, &out->cursor, error);
    if (status == STATUS_OK)
        status = param_number(target, "limit", 1, LIMIT_MAX, &out->limit, error);
    return status;
}

static bool
is_wanted(const struct list_query *query, const struct threshold *one)
{
    return (query->meter == NULL || strcmp(query->meter, one->meter) == 0) &&
           (query->subject == NULL ||
            (one->subject != NULL && strcmp(query->subject, one->subject) == 0)) &&
           (query->cursor == NULL || strcmp(query->cursor, one->key) < 0);
}

// By key; the cursor is the last key of the page before.
void
thresholds_get(struct call *call)
{
    scoped(readers_return) struct readers_loan loan = {0};
    struct error error = {0};
    struct list_query query;
    struct thresholds all;
    enum status status = list_query_read(call, &query, &error);
    if (status == STATUS_OK)
        status = readers_take(call->api->readers, &loan, &error);
    if (status == STATUS_OK)
        status = thresholds_read(call, loan.reader, &all, &error);
    if (status) {
        call_failed(call, &error);
        return;
    }
    struct json_out *out = call_json(call, 200);
    const char *last = NULL;
    bool has_more = false;
    json_begin(out, '{');
    json_key(out, "items");
    json_begin(out, '[');
    for (uint32_t i = 0, written = 0; i < all.count && !has_more; i++) {
        if (!is_wanted(&query, &all.list[i]))
            continue;
        has_more = written++ == query.limit;
        if (has_more)
            break;
        threshold_write(&all.list[i], out);
        last = all.list[i].key;
    }
    json_end(out, ']');
    if (has_more)
        member_text(out, "nextCursor", last);
    json_end(out, '}');
}

// --- what fired ---

struct marks {
    struct thresholds thresholds;
    uint32_t shards;
    uint64_t *since;  // the last number that was seen, of each shard
    uint32_t left;    // how many more fit into the page
};

static const char *
key_of(const struct thresholds *all, uint32_t id)
{
    for (uint32_t i = 0; i < all->count; i++)
        if (all->list[i].id == id)
            return all->list[i].key;
    return NULL;
}

static void
mark_write(const struct marks *marks, uint32_t shard, const struct fired *one, struct json_out *out)
{
    json_begin(out, '{');
    member_int(out, "shard", shard);
    member_int(out, "sequence", (int64_t)one->sequence);
    member_text(out, "threshold", key_of(&marks->thresholds, one->threshold_id));
    member_bytes(out, "subject", one->subject);
    member_time(out, "from", one->from_s * SECOND_NS);
    member_wide(out, "value", one->value);
    member_time(out, "eventTime", one->time_ns);
    json_end(out, '}');
}

static enum status
shard_marks_write(
    struct call *call,
    struct marks *marks,
    uint32_t shard,
    struct json_out *out,
    struct error *error)
{
    struct env *env = NULL;
    struct fired *list = NULL;
    uint32_t count = 0;
    enum status status = fired_open_view(call->api->settings->data, shard, &env, error);
    if (status || env == NULL)
        return status;
    struct tx tx = tx_read(env);
    status = fired_list(&tx, marks->since[shard], marks->left, call->arena, &list, &count, error);
    tx_done(&tx);
    env_close(env);
    for (uint32_t i = 0; i < count && !status; i++) {
        mark_write(marks, shard, &list[i], out);
        marks->since[shard] = list[i].sequence;
        marks->left--;
    }
    return status;
}

// The numbers of all shards, with dashes between them.
static const char *
cursor_print(const struct marks *marks, struct arena *arena)
{
    const char *text = arena_format(arena, "%" PRIu64, marks->since[0]);
    for (uint32_t i = 1; i < marks->shards; i++)
        text = arena_format(arena, "%s-%" PRIu64, text, marks->since[i]);
    return text;
}

static enum status
marks_begin(struct call *call, struct marks *out, struct error *error)
{
    static const char *const names[] = {"limit", "cursor", NULL};
    scoped(readers_return) struct readers_loan loan = {0};
    struct ledger_conf conf;
    const char *cursor = target_value(&call->target, "cursor");
    out->left = LIMIT_DEFAULT;
    enum status status = param_check(&call->target, names, error);
    if (status == STATUS_OK)
        status = param_number(&call->target, "limit", 1, LIMIT_MAX, &out->left, error);
    if (status == STATUS_OK)
        status = ledger_shape_read(call->api->settings->data, &conf, error);
    if (status)
        return status;
    out->shards = conf.shards;
    out->since = arena_array(call->arena, conf.shards, uint64_t);
    if (cursor != NULL && !param_dashed(cursor, out->since, conf.shards))
        return error_set(error, STATUS_INVALID, "cursor must be the nextCursor of a page");
    status = readers_take(call->api->readers, &loan, error);
    return status ? status : thresholds_read(call, loan.reader, &out->thresholds, error);
}

// Always with a cursor: who waits for more asks again with it.
void
fired_get(struct call *call)
{
    struct error error = {0};
    struct marks marks = {.left = 0};
    enum status status = marks_begin(call, &marks, &error);
    if (status) {
        call_failed(call, &error);
        return;
    }
    struct json_out *out = call_json(call, 200);
    json_begin(out, '{');
    json_key(out, "items");
    json_begin(out, '[');
    for (uint32_t shard = 0; shard < marks.shards && marks.left > 0 && !status; shard++)
        status = shard_marks_write(call, &marks, shard, out, &error);
    json_end(out, ']');
    member_text(out, "nextCursor", cursor_print(&marks, call->arena));
    json_end(out, '}');
    if (status)
        call_failed(call, &error);
}
