// One statement at a time on a non-blocking connection: send, flush, wait for the socket until the
// deadline, take the one result, drain what follows it. A statement that is not back at its
// deadline is cancelled on a connection of libpq's own and its remains are drained, so that the
// connection can be used again; a connection that does not even answer that is closed.

#include "base/sql.h"

#include "base/assert.h"
#include "base/clock.h"
#include "base/pool.h"

#include <libpq-fe.h>

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <limits.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

enum {
    SQL_STATE_MAX = 6,
    SQL_CONSTRAINT_MAX = 64,
    SQL_URL_MAX = 4096,
    SQL_COPY_PIECE = 64 * 1024,
    SQL_CANCEL_GRACE_MS = 2000,
};

struct sql {
    PGconn *conn;
    int64_t timeout_ns;
    bool in_transaction;
    bool has_failed;  // a statement of the transaction
    char state[SQL_STATE_MAX];
    char constraint[SQL_CONSTRAINT_MAX];
};

static void
notice_drop(void *context, const PGresult *result)
{
    (void)context;
    (void)result;
}

// libpq ends its messages with a line break and may write several lines; ours are one.
static enum status
conn_error(const struct sql *sql, enum status status, const char *what, struct error *error)
{
    char line[512];
    snprintf(line, sizeof line, "%s", PQerrorMessage(sql->conn));
    size_t size = 0;
    for (const char *at = line; *at != '\0'; at++) {
        bool is_space = *at == '\n' || *at == '\t' || *at == ' ';
        if (!is_space)
            line[size++] = *at;
        else if (size > 0 && line[size - 1] != ' ')
            line[size++] = ' ';
    }
    size -= size > 0 && line[size - 1] == ' ';
    line[size] = '\0';
    return error_set(error, status, "%s: %s", what, size > 0 ? line : "the connection is gone");
}

static enum status
url_from_file(const char *path, struct arena *arena, const char **out_url, struct error *error)
{
    char line[SQL_URL_MAX];
    FILE *file = fopen(path, "re");
    if (file == NULL) {
        if (errno != ENOENT && errno != ENOTDIR)
            return error_set_errno(error, "open %s", path);
        return error_set(
            error,
            STATUS_NOT_FOUND,
            "no database: set DATABASE_URL, or run `tally up` first, which writes %s",
            path);
    }
    bool has_line = fgets(line, sizeof line, file) != NULL;
    fclose(file);
    size_t size = has_line ? strcspn(line, "\r\n") : 0;
    if (size == 0)
        return error_set(
            error, STATUS_INVALID, "%s is empty: it should hold a PostgreSQL URL", path);
    line[size] = '\0';
    *out_url = arena_text(arena, line);
    return STATUS_OK;
}

enum status
sql_url(const char *data_dir, struct arena *arena, const char **out_url, struct error *error)
{
    must(arena != NULL && out_url != NULL);
    // NOLINTNEXTLINE(concurrency-mt-unsafe): nobody changes the environment
    const char *url = getenv("DATABASE_URL");
    if (url != NULL && url[0] != '\0') {
        *out_url = arena_text(arena, url);
        return STATUS_OK;
    }
    if (data_dir == NULL)
        return error_set(
            error, STATUS_NOT_FOUND, "no database: set DATABASE_URL to a PostgreSQL URL");
    return url_from_file(arena_format(arena, "%s/database.url", data_dir), arena, out_url, error);
}

// Waits until the socket can do one of `events`. False at the deadline.
static bool
socket_wait(const struct sql *sql, short events, int64_t deadline_ns)
{
    for (;;) {
        int64_t left_ms = (deadline_ns - clock_monotonic_ns() + 999999) / 1000000;
        if (left_ms <= 0)
            return false;
        struct pollfd poll_fd = {.fd = PQsocket(sql->conn), .events = events};
        int ready = poll(&poll_fd, 1, left_ms > INT_MAX ? INT_MAX : (int)left_ms);
        if (ready > 0)
            return true;
        if (ready < 0 && errno != EINTR)
            return true;  // libpq's next call reports what is wrong with the socket
    }
}

static enum status
connect_wait(struct sql *sql, struct error *error)
{
    int64_t deadline_ns = clock_monotonic_ns() + sql->timeout_ns;
    PostgresPollingStatusType next = PGRES_POLLING_WRITING;
    while (next != PGRES_POLLING_OK) {
        if (next == PGRES_POLLING_FAILED)
            return conn_error(sql, STATUS_CLOSED, "cannot connect to the database", error);
        if (!socket_wait(sql, next == PGRES_POLLING_READING ? POLLIN : POLLOUT, deadline_ns))
            return error_set(error, STATUS_TIMEOUT, "the database did not answer in time");
        next = PQconnectPoll(sql->conn);
    }
    return STATUS_OK;
}

static enum status
connect_start(struct sql *sql, const char *url, struct error *error)
{
    const char *const keys[] = {"fallback_application_name", "client_encoding", "dbname", NULL};
    const char *const values[] = {"tally", "UTF8", url, NULL};
    sql->conn = PQconnectStartParams(keys, values, 1);
    if (sql->conn == NULL)
        return error_set(error, STATUS_NO_MEMORY, "no memory for a database connection");
    if (PQstatus(sql->conn) == CONNECTION_BAD)
        return conn_error(sql, STATUS_CLOSED, "cannot connect to the database", error);
    PQsetNoticeReceiver(sql->conn, notice_drop, NULL);
    enum status status = connect_wait(sql, error);
    if (status)
        return status;
    if (PQsetnonblocking(sql->conn, 1) != 0)
        return conn_error(sql, STATUS_IO, "cannot make the connection non-blocking", error);
    return sql_script(
        sql,
        "SET TIME ZONE 'UTC'; SET datestyle = 'ISO, YMD'; SET client_min_messages = warning;"
        "SET standard_conforming_strings = on;"
        "SET default_transaction_isolation = 'read committed'",
        error);
}

enum status
sql_open(const char *url, int64_t timeout_ms, struct sql **out, struct error *error)
{
    must(url != NULL && out != NULL);
    must(timeout_ms > 0);
    struct sql *sql = pool_take(1, sizeof *sql);
    if (sql == NULL)
        return error_set(error, STATUS_NO_MEMORY, "no memory for a database connection");
    sql_set_timeout(sql, timeout_ms);
    enum status status = connect_start(sql, url, error);
    if (status) {
        sql_close(sql);
        return status;
    }
    *out = sql;
    return STATUS_OK;
}

void
sql_close(struct sql *sql)
{
    if (sql == NULL)
        return;
    PQfinish(sql->conn);
    pool_give(sql);
}

void
sql_done(struct sql **sql)
{
    sql_close(*sql);
    *sql = NULL;
}

bool
sql_is_alive(struct sql *sql)
{
    struct pollfd poll_fd = {.fd = PQsocket(sql->conn), .events = POLLIN};
    if (poll_fd.fd < 0 || PQstatus(sql->conn) != CONNECTION_OK)
        return false;
    // An idle server says nothing, but for its end and notices.
    return poll(&poll_fd, 1, 0) == 0;
}

void
sql_set_timeout(struct sql *sql, int64_t timeout_ms)
{
    sql->timeout_ns = timeout_ms * 1000000;
}

// Takes the next result when it has arrived by the deadline. *out NULL: there is no further one.
static enum status
result_wait(struct sql *sql, int64_t deadline_ns, PGresult **out)
{
    while (PQisBusy(sql->conn)) {
        if (!socket_wait(sql, POLLIN, deadline_ns))
            return STATUS_TIMEOUT;
        if (!PQconsumeInput(sql->conn))
            return STATUS_CLOSED;
    }
    *out = PQgetResult(sql->conn);
    return STATUS_OK;
}

// Everything that was sent and not yet answered is thrown away.
static enum status
drain(struct sql *sql, int64_t deadline_ns)
{
    for (;;) {
        PGresult *result = NULL;
        enum status status = result_wait(sql, deadline_ns, &result);
        if (status || result == NULL)
            return status;
        ExecStatusType kind = PQresultStatus(result);
        PQclear(result);
        if (kind == PGRES_COPY_IN)
            PQputCopyEnd(sql->conn, "given up");
        if (PQstatus(sql->conn) == CONNECTION_BAD)
            return STATUS_CLOSED;
    }
}

static enum status
cancel(struct sql *sql, struct error *error)
{
    char reason[256];
    PGcancel *handle = PQgetCancel(sql->conn);
    if (handle != NULL) {
        // When the cancel cannot be delivered, the drain below runs into its own deadline.
        (void)PQcancel(handle, reason, sizeof reason);
        PQfreeCancel(handle);
    }
    // A connection whose remains do not come is unusable: the next statement is refused by libpq.
    (void)drain(sql, clock_monotonic_ns() + SQL_CANCEL_GRACE_MS * 1000000LL);
    return error_set(
        error,
        STATUS_TIMEOUT,
        "the database did not answer within %" PRId64 " ms; the statement was cancelled",
        sql->timeout_ns / 1000000);
}

static enum status
flush(struct sql *sql, int64_t deadline_ns, struct error *error)
{
    for (;;) {
        int left = PQflush(sql->conn);
        if (left == 0)
            return STATUS_OK;
        if (left < 0)
            return conn_error(sql, STATUS_CLOSED, "cannot send to the database", error);
        if (!socket_wait(sql, POLLIN | POLLOUT, deadline_ns))
            return cancel(sql, error);
        if (!PQconsumeInput(sql->conn))
            return conn_error(sql, STATUS_CLOSED, "the database is gone", error);
    }
}

struct state_row {
    const char *state;  // the whole code, or the class of two
    enum status status;
};

// The first row that fits decides.
static const struct state_row state_rows[] = {
    {"23505", STATUS_EXISTS   },
    {"40001", STATUS_BUSY     },
    {"40P01", STATUS_BUSY     },
    {"55P03", STATUS_BUSY     },
    {"57014", STATUS_TIMEOUT  },
    {"57P",   STATUS_CLOSED   },
    {"08",    STATUS_CLOSED   },
    {"22003", STATUS_OVERFLOW },
    {"22",    STATUS_INVALID  },
    {"23",    STATUS_INVALID  },
    {"42P01", STATUS_NOT_FOUND},
    {"53",    STATUS_FULL     },
};

static enum status
status_of_state(const char *state)
{
    for (size_t i = 0; i < sizeof state_rows / sizeof state_rows[0]; i++)
        if (strncmp(state, state_rows[i].state, strlen(state_rows[i].state)) == 0)
            return state_rows[i].status;
    return STATUS_IO;
}

static enum status
refusal(struct sql *sql, const PGresult *result, struct error *error)
{
    const char *state = PQresultErrorField(result, PG_DIAG_SQLSTATE);
    if (state == NULL)
        return conn_error(sql, STATUS_CLOSED, "the database is gone", error);
    const char *constraint = PQresultErrorField(result, PG_DIAG_CONSTRAINT_NAME);
    snprintf(sql->state, sizeof sql->state, "%s", state);
    snprintf(sql->constraint, sizeof sql->constraint, "%s", constraint != NULL ? constraint : "");
    const char *text = PQresultErrorField(result, PG_DIAG_MESSAGE_PRIMARY);
    const char *detail = PQresultErrorField(result, PG_DIAG_MESSAGE_DETAIL);
    enum status status = status_of_state(state);
    if (status == STATUS_NOT_FOUND)
        return error_set(error, status, "%s (run `tally migrate` first)", text);
    return error_set(
        error,
        status,
        "the database refused (%s): %s%s%s",
        state,
        text != NULL ? text : "no reason given",
        detail != NULL ? ": " : "",
        detail != NULL ? detail : "");
}

// The one result of a statement that was sent; *out is the caller's to clear.
static enum status
result_take(struct sql *sql, int64_t deadline_ns, PGresult **out, struct error *error)
{
    enum status status = flush(sql, deadline_ns, error);
    if (status)
        return status;
    PGresult *result = NULL;
    status = result_wait(sql, deadline_ns, &result);
    if (status == STATUS_TIMEOUT)
        return cancel(sql, error);
    if (status || result == NULL)
        return conn_error(sql, STATUS_CLOSED, "the database is gone", error);
    ExecStatusType kind = PQresultStatus(result);
    if (kind == PGRES_COMMAND_OK || kind == PGRES_TUPLES_OK || kind == PGRES_COPY_IN) {
        *out = result;
        return STATUS_OK;
    }
    status = refusal(sql, result, error);
    PQclear(result);
    if (drain(sql, deadline_ns) != STATUS_OK)
        status = conn_error(sql, STATUS_CLOSED, "the database is gone", error);
    return status;
}

// Further results of the same statement: a script has one for each of its statements, others none.
static enum status
results_finish(struct sql *sql, int64_t deadline_ns, struct error *error)
{
    for (;;) {
        PGresult *result = NULL;
        enum status status = result_wait(sql, deadline_ns, &result);
        if (status == STATUS_TIMEOUT)
            return cancel(sql, error);
        if (status)
            return conn_error(sql, STATUS_CLOSED, "the database is gone", error);
        if (result == NULL)
            return STATUS_OK;
        ExecStatusType kind = PQresultStatus(result);
        if (kind != PGRES_COMMAND_OK && kind != PGRES_TUPLES_OK) {
            status = refusal(sql, result, error);
            PQclear(result);
            (void)drain(sql, deadline_ns);
            return status;
        }
        PQclear(result);
    }
}

static void
statement_start(struct sql *sql)
{
    sql->state[0] = '\0';
    sql->constraint[0] = '\0';
}

static void
rows_copy(const PGresult *result, struct arena *arena, struct sql_rows *out)
{
    size_t count = (size_t)PQntuples(result);
    size_t columns = (size_t)PQnfields(result);
    const char **cells = arena_array(arena, count * columns + 1, const char *);
    for (size_t i = 0; i < count * columns; i++) {
        int row = (int)(i / columns), column = (int)(i % columns);
        if (PQgetisnull(result, row, column))
            continue;
        const char *value = PQgetvalue(result, row, column);
        cells[i] = arena_text_of(arena, bytes_of(value, (size_t)PQgetlength(result, row, column)));
    }
    *out = (struct sql_rows){.cells = cells, .count = count, .columns = columns};
}

static enum status
shape_check(const struct sql_query *query, const PGresult *result, struct error *error)
{
    int count = PQntuples(result);
    if (query->shape == SQL_NO_ROWS)
        must(PQresultStatus(result) == PGRES_COMMAND_OK);
    else
        must((size_t)PQnfields(result) == query->columns);
    if (query->shape == SQL_ONE_ROW && count == 0)
        return error_set(error, STATUS_NOT_FOUND, "the database has no such row");
    if (query->shape != SQL_ANY_ROWS && count > 1)
        return error_set(
            error, STATUS_CORRUPT, "the database has %d rows where there is at most one", count);
    return STATUS_OK;
}

static enum status
query_run(
    struct sql *sql,
    const struct sql_query *query,
    struct arena *arena,
    struct sql_rows *out,
    struct error *error)
{
    must(query->params.count <= SQL_PARAMS_MAX);
    must(query->shape == SQL_NO_ROWS || (arena != NULL && out != NULL));
    statement_start(sql);
    int64_t deadline_ns = clock_monotonic_ns() + sql->timeout_ns;
    if (!PQsendQueryParams(
            sql->conn,
            query->text,
            (int)query->params.count,
            NULL,
            query->params.items,
            NULL,
            NULL,
            0))
        return conn_error(sql, STATUS_CLOSED, "cannot send to the database", error);
    PGresult *result = NULL;
    enum status status = result_take(sql, deadline_ns, &result, error);
    if (status)
        return status;
    status = shape_check(query, result, error);
    if (status == STATUS_OK && out != NULL) {
        *out = (struct sql_rows){0};
        if (query->shape != SQL_NO_ROWS)
            rows_copy(result, arena, out);
        out->changed = strtoll(PQcmdTuples(result), NULL, 10);
    }
    PQclear(result);
    enum status finished = results_finish(sql, deadline_ns, status ? NULL : error);
    return status ? status : finished;
}

// A transaction with a failed statement may not be committed, whatever the server thinks of it.
static enum status
noted(struct sql *sql, enum status status)
{
    if (status)
        sql->has_failed = true;
    return status;
}

enum status
sql_run(
    struct sql *sql,
    const struct sql_query *query,
    struct arena *arena,
    struct sql_rows *out,
    struct error *error)
{
    return noted(sql, query_run(sql, query, arena, out, error));
}

static enum status
script_run(struct sql *sql, const char *text, struct error *error)
{
    must(text != NULL);
    statement_start(sql);
    int64_t deadline_ns = clock_monotonic_ns() + sql->timeout_ns;
    if (!PQsendQuery(sql->conn, text))
        return conn_error(sql, STATUS_CLOSED, "cannot send to the database", error);
    PGresult *result = NULL;
    enum status status = result_take(sql, deadline_ns, &result, error);
    if (status)
        return status;
    PQclear(result);
    return results_finish(sql, deadline_ns, error);
}

enum status
sql_script(struct sql *sql, const char *text, struct error *error)
{
    return noted(sql, script_run(sql, text, error));
}

static enum status
copy_send(struct sql *sql, struct bytes data, int64_t deadline_ns, struct error *error)
{
    for (size_t at = 0; at < data.size; at += SQL_COPY_PIECE) {
        size_t size = data.size - at < SQL_COPY_PIECE ? data.size - at : SQL_COPY_PIECE;
        if (PQputCopyData(sql->conn, (const char *)data.data + at, (int)size) < 0)
            return conn_error(sql, STATUS_CLOSED, "cannot send to the database", error);
        enum status status = flush(sql, deadline_ns, error);
        if (status)
            return status;
    }
    if (PQputCopyEnd(sql->conn, NULL) < 0)
        return conn_error(sql, STATUS_CLOSED, "cannot send to the database", error);
    return STATUS_OK;
}

static enum status
copy_run(
    struct sql *sql, const char *text, struct bytes data, int64_t *out_rows, struct error *error)
{
    statement_start(sql);
    int64_t deadline_ns = clock_monotonic_ns() + sql->timeout_ns;
    if (!PQsendQuery(sql->conn, text))
        return conn_error(sql, STATUS_CLOSED, "cannot send to the database", error);
    PGresult *result = NULL;
    enum status status = result_take(sql, deadline_ns, &result, error);
    if (status)
        return status;
    must(PQresultStatus(result) == PGRES_COPY_IN);
    PQclear(result);
    status = copy_send(sql, data, deadline_ns, error);
    if (status)
        return status;
    status = result_take(sql, deadline_ns, &result, error);
    if (status)
        return status;
    if (out_rows != NULL)
        *out_rows = strtoll(PQcmdTuples(result), NULL, 10);
    PQclear(result);
    return results_finish(sql, deadline_ns, error);
}

enum status
sql_copy_in(
    struct sql *sql, const char *text, struct bytes data, int64_t *out_rows, struct error *error)
{
    return noted(sql, copy_run(sql, text, data, out_rows, error));
}

void
sql_copy_text(struct buffer *out, struct bytes field)
{
    if (field.data == NULL) {
        buffer_text(out, "\\N");
        return;
    }
    for (size_t i = 0; i < field.size; i++) {
        switch (field.data[i]) {
        case '\\': buffer_text(out, "\\\\"); break;
        case '\t': buffer_text(out, "\\t"); break;
        case '\n': buffer_text(out, "\\n"); break;
        case '\r': buffer_text(out, "\\r"); break;
        default: buffer_u8(out, field.data[i]); break;
        }
    }
}

enum status
sql_begin(struct sql *sql, struct error *error)
{
    must(!sql->in_transaction);
    enum status status = sql_script(sql, "BEGIN", error);
    sql->in_transaction = status == STATUS_OK;
    sql->has_failed = false;
    return status;
}

enum status
sql_commit(struct sql *sql, struct error *error)
{
    must(sql->in_transaction);
    bool is_failed = sql->has_failed || PQtransactionStatus(sql->conn) != PQTRANS_INTRANS;
    enum status status = sql_script(sql, is_failed ? "ROLLBACK" : "COMMIT", error);
    sql->in_transaction = false;
    if (status)
        return status;
    if (is_failed)
        return error_set(
            error, STATUS_IO, "a statement of the transaction had failed; it was rolled back");
    return STATUS_OK;
}

void
sql_rollback(struct sql *sql)
{
    if (!sql->in_transaction)
        return;
    struct error ignored;
    sql->in_transaction = false;
    char state[SQL_STATE_MAX], constraint[SQL_CONSTRAINT_MAX];
    memcpy(state, sql->state, sizeof state);
    memcpy(constraint, sql->constraint, sizeof constraint);
    // A failure means that the connection is gone, and then the server rolls back.
    if (sql_script(sql, "ROLLBACK", &ignored) != STATUS_OK)
        return;
    // What made the caller roll back stays readable.
    memcpy(sql->state, state, sizeof state);
    memcpy(sql->constraint, constraint, sizeof constraint);
}

const char *
sql_state(const struct sql *sql)
{
    return sql->state;
}

const char *
sql_constraint(const struct sql *sql)
{
    return sql->constraint;
}

const char *
sql_cell(const struct sql_rows *rows, size_t row, size_t column)
{
    must(row < rows->count && column < rows->columns);
    return rows->cells[row * rows->columns + column];
}

int64_t
sql_int64(const struct sql_rows *rows, size_t row, size_t column)
{
    const char *text = sql_cell(rows, row, column);
    must(text != NULL && text[0] != '\0');
    char *end = NULL;
    errno = 0;
    long long value = strtoll(text, &end, 10);
    must(errno == 0 && *end == '\0');
    return value;
}

bool
sql_bool(const struct sql_rows *rows, size_t row, size_t column)
{
    const char *text = sql_cell(rows, row, column);
    must(text != NULL);
    must(strcmp(text, "t") == 0 || strcmp(text, "f") == 0);
    return text[0] == 't';
}

int64_t
sql_time_ns(const struct sql_rows *rows, size_t row, size_t column, int64_t absent)
{
    if (sql_cell(rows, row, column) == NULL)
        return absent;
    int64_t result;
    must(!__builtin_mul_overflow(sql_int64(rows, row, column), 1000, &result));
    return result;
}

void
sql_array_begin(struct buffer *out)
{
    buffer_reset(out);
    buffer_u8(out, '{');
}

static void
array_separate(struct buffer *out)
{
    if (out->size > 1)
        buffer_u8(out, ',');
}

void
sql_array_add(struct buffer *out, const char *text)
{
    if (text != NULL) {
        sql_array_add_bytes(out, bytes_text(text));
        return;
    }
    array_separate(out);
    buffer_text(out, "NULL");
}

void
sql_array_add_bytes(struct buffer *out, struct bytes text)
{
    array_separate(out);
    buffer_u8(out, '"');
    size_t from = 0;
    for (size_t at = 0; at < text.size; at++) {
        if (text.data[at] != '"' && text.data[at] != '\\')
            continue;
        buffer_put(out, text.data + from, at - from);
        buffer_u8(out, '\\');
        from = at;
    }
    buffer_put(out, text.data + from, text.size - from);
    buffer_u8(out, '"');
}

void
sql_array_add_int(struct buffer *out, int64_t value)
{
    array_separate(out);
    buffer_format(out, "%" PRId64, value);
}

const char *
sql_array_end(struct buffer *out)
{
    buffer_u8(out, '}');
    buffer_u8(out, '\0');
    return buffer_failed(out) ? NULL : (const char *)out->data;
}
