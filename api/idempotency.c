#include "api/idempotency.h"

#include "api/api.h"
#include "api/route.h"
#include "base/clock.h"
#include "base/digest.h"
#include "base/hash.h"
#include "base/log.h"

#include <string.h>

enum { ATTEMPT_SIZE = 8 };

// --- what was sent ---

static const char *
key_of(const struct call *call)
{
    if ((call->route->scopes & ROUTE_CREATES) == 0)
        return NULL;
    return http_field(call->request, "Idempotency-Key");
}

static bool
is_key(const char *text)
{
    size_t size = strlen(text);
    for (size_t i = 0; i < size; i++)
        if (text[i] <= ' ' || text[i] > '~')
            return false;
    return size > 0 && size <= IDEMPOTENCY_KEY_MAX;
}

// NULL: no memory.
static const char *
request_hash(const struct call *call)
{
    char digest[DIGEST_HEX_SIZE];
    const char *head =
        arena_format(call->arena, "%s %s\n", call->request->method, call->request->target);
    const struct bytes parts[] = {bytes_text(head), call->request->body};
    if (!digest_hex(parts, 2, digest))
        return NULL;
    return arena_text_of(call->arena, bytes_of(digest, sizeof digest));
}

static const char *
time_text(struct call *call, int64_t time_ns)
{
    char text[CLOCK_TEXT_MAX];
    (void)clock_print(time_ns, text);
    return arena_text(call->arena, text);
}

static const char *
attempt_make(struct call *call)
{
    uint8_t random[ATTEMPT_SIZE];
    char digits[2 * ATTEMPT_SIZE];
    random_fill(random, sizeof random);
    digest_digits(random, sizeof random, digits);
    return arena_text_of(call->arena, bytes_of(digits, sizeof digits));
}

// --- the table ---

// What is a day old goes, a few rows with each that comes.
static enum status
old_delete(struct sql *sql, const char *kept_since, struct error *error)
{
    struct sql_query query = {
        "DELETE FROM idempotency_keys WHERE (owner, key) IN (SELECT owner, key "
        "FROM idempotency_keys WHERE begun_at <= $1::timestamptz ORDER BY begun_at LIMIT 10 "
        "FOR UPDATE SKIP LOCKED)",
        SQL_PARAMS(kept_since),
        SQL_NO_ROWS,
        0};
    return sql_run(sql, &query, NULL, NULL, error);
}

// *out_is_ours: this is the first, or takes the place of one that is over.
static enum status
row_take(
    struct call *call, struct sql *sql, const char *request, bool *out_is_ours, struct error *error)
{
    int64_t now_ns = clock_now_ns();
    const char *kept_since = time_text(call, now_ns - IDEMPOTENCY_KEPT_S * SECOND_NS);
    const char *dead_since = time_text(call, now_ns - IDEMPOTENCY_LEASE_S * SECOND_NS);
    struct sql_query query = {
        "INSERT INTO idempotency_keys AS had (owner, key, request, attempt, begun_at) "
        "VALUES ($1, $2, $3, $4, $5::timestamptz) "
        "ON CONFLICT (owner, key) DO UPDATE SET request = excluded.request, "
        "attempt = excluded.attempt, begun_at = excluded.begun_at, status = NULL, "
        "content_type = NULL, body = NULL "
        "WHERE had.begun_at <= $6::timestamptz OR (had.status IS NULL "
        "AND had.begun_at <= $7::timestamptz AND had.request = excluded.request) "
        "RETURNING attempt",
        SQL_PARAMS(
            call->key_id,
            call->once_key,
            request,
            call->once_attempt,
            time_text(call, now_ns),
            kept_since,
            dead_since),
        SQL_MAYBE_ROW,
        1};
    struct sql_rows rows;
    enum status status = old_delete(sql, kept_since, error);
    if (status == STATUS_OK)
        status = sql_run(sql, &query, call->arena, &rows, error);
    if (status == STATUS_OK)
        *out_is_ours = rows.count == 1;
    return status;
}

static enum status
row_read(struct call *call, struct sql *sql, struct sql_rows *out, struct error *error)
{
    struct sql_query query = {
        "SELECT request, status::bigint, content_type, body FROM idempotency_keys "
        "WHERE owner = $1 AND key = $2",
        SQL_PARAMS(call->key_id, call->once_key),
        SQL_MAYBE_ROW,
        4};
    return sql_run(sql, &query, call->arena, out, error);
}

// --- what is answered ---

// From the row of the one that came first; none: it failed just now.
static void
row_answer(struct call *call, const struct sql_rows *row, const char *request)
{
    if (row->count == 1 && strcmp(sql_cell(row, 0, 0), request) != 0) {
        call_problem(
            call,
            422,
            "This Idempotency-Key came with another request before; use a new one for this.");
        return;
    }
    if (row->count == 0 || sql_cell(row, 0, 1) == NULL) {
        call_problem(
            call, 409, "A request with this Idempotency-Key is under way; ask again in a moment.");
        http_add(call->response, "Retry-After", "1");
        return;
    }
    call_empty(call, (int)sql_int64(row, 0, 1));
    call->response->content_type = sql_cell(row, 0, 2);
    if (sql_cell(row, 0, 3) != NULL)
        buffer_text(&call->response->body, sql_cell(row, 0, 3));
    http_add(call->response, "Idempotency-Replayed", "true");
}

bool
idempotency_begin(struct call *call)
{
    scoped(database_return) struct database_loan loan = {0};
    struct error error = {0};
    struct sql_rows row = {0};
    bool is_ours = false;
    const char *key = key_of(call);
    if (key == NULL)
        return true;
    if (!is_key(key)) {
        call_problem(call, 400, "Idempotency-Key is 1 to 255 printable ASCII characters.");
        return false;
    }
    call->once_key = key;
    call->once_attempt = attempt_make(call);
    const char *request = request_hash(call);
    enum status status = request != NULL ? STATUS_OK : STATUS_NO_MEMORY;
    if (status == STATUS_OK)
        status = database_take(call->api->database, &loan, &error);
    if (status == STATUS_OK)
        loan.status = status = row_take(call, loan.sql, request, &is_ours, &error);
    if (status == STATUS_OK && !is_ours)
        loan.status = status = row_read(call, loan.sql, &row, &error);
    if (status == STATUS_OK && is_ours)
        return true;
    call->once_key = NULL;
    if (status) {
        log_warn(
            "idempotency_failed", LOG_TEXT("request", call->id), LOG_TEXT("error", error.text));
        call_away(
            call, "Idempotency-Key needs the database, which cannot be asked; nothing was done.");
    } else {
        row_answer(call, &row, request);
    }
    return false;
}

static enum status
row_finish(struct call *call, struct sql *sql, struct error *error)
{
    const struct http_response *response = call->response;
    bool is_good = response->status / 100 == 2;
    struct sql_query forget = {
        "DELETE FROM idempotency_keys WHERE owner = $1 AND key = $2 AND attempt = $3",
        SQL_PARAMS(call->key_id, call->once_key, call->once_attempt),
        SQL_NO_ROWS,
        0};
    const char *body =
        response->body.size > 0 ? arena_text_of(call->arena, buffer_view(&response->body)) : NULL;
    struct sql_query keep = {
        "UPDATE idempotency_keys SET status = $4::integer, content_type = $5, body = $6 "
        "WHERE owner = $1 AND key = $2 AND attempt = $3",
        SQL_PARAMS(
            call->key_id,
            call->once_key,
            call->once_attempt,
            arena_format(call->arena, "%d", response->status),
            response->content_type,
            body),
        SQL_NO_ROWS,
        0};
    return sql_run(sql, is_good ? &keep : &forget, NULL, NULL, error);
}

// The answer stands whatever becomes of the row: without its end it is under way until its lease
// is over.
void
idempotency_end(struct call *call)
{
    scoped(database_return) struct database_loan loan = {0};
    struct error error = {0};
    if (call->once_key == NULL)
        return;
    enum status status = database_take(call->api->database, &loan, &error);
    if (status == STATUS_OK)
        loan.status = status = row_finish(call, loan.sql, &error);
    if (status)
        log_warn(
            "idempotency_failed", LOG_TEXT("request", call->id), LOG_TEXT("error", error.text));
}
