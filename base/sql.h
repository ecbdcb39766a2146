#pragma once
// The PostgreSQL client: sends one statement, waits for it with a deadline, checks the shape of
// what comes back.
//
//     scoped(sql_done) struct sql *sql = NULL;
//     status = sql_open(url, SQL_TIMEOUT_MS, &sql, &error);
//     status = sql_begin(sql, &error);
//     struct sql_query find = {
//         "SELECT email FROM customers WHERE id = $1", SQL_PARAMS(id), SQL_MAYBE_ROW, 1};
//     status = sql_run(sql, &find, &arena, &rows, &error);      // sql_cell(&rows, 0, 0)
//     status = sql_commit(sql, &error);
//
// The only file that knows libpq. What it will not do: take SQL from outside a room. Statements are
// constants of the rooms' store files; what varies is a parameter, sent apart from the statement
// and never quoted into it. Notices of the server are dropped. Times cross as text in UTC; see
// sql_time_ns. Transactions are read committed, whatever the database's default: a statement sees
// what was committed while a lock before it was waited for. Owner: who opened it. Thread: one at a
// time.

#include "base/arena.h"
#include "base/buffer.h"
#include "base/status.h"

#include <stdint.h>

enum { SQL_TIMEOUT_MS = 60000, SQL_PARAMS_MAX = 32 };

struct sql;

// Where the database is: the environment's DATABASE_URL, else the first line of
// DATA_DIR/database.url, which `tally up` writes. STATUS_NOT_FOUND says what to do. data_dir may be
// NULL.
enum status sql_url(
    const char *data_dir, struct arena *arena, const char **out_url, struct error *error) CHECKED;

// timeout_ms is the deadline of the connection and of each later statement (sql_set_timeout changes
// it).
enum status
sql_open(const char *url, int64_t timeout_ms, struct sql **out, struct error *error) CHECKED;
// Both accept NULL. sql_done is for scoped().
void sql_close(struct sql *sql);
void sql_done(struct sql **sql);
void sql_set_timeout(struct sql *sql, int64_t timeout_ms);
// Whether a connection that lies idle still has its server, as far as is known without asking it:
// false when the server closed it, or said something that nobody asked for.
bool sql_is_alive(struct sql *sql) CHECKED;

enum sql_shape {
    SQL_NO_ROWS,    // the statement returns none
    SQL_ONE_ROW,    // exactly one; none is STATUS_NOT_FOUND
    SQL_MAYBE_ROW,  // one or none
    SQL_ANY_ROWS,
};

struct sql_params {
    const char *const *items;  // text format; NULL is SQL's NULL
    size_t count;
};

#define SQL_PARAMS(...)                                                                            \
    {                                                                                              \
        (const char *const[]){__VA_ARGS__},                                                        \
            sizeof((const char *const[]){__VA_ARGS__}) / sizeof(const char *)                      \
    }
#define SQL_NO_PARAMS                                                                              \
    {                                                                                              \
        NULL, 0                                                                                    \
    }

struct sql_query {
    const char *text;
    struct sql_params params;  // $1, $2, ...
    enum sql_shape shape;
    size_t columns;  // expected; 0 with SQL_NO_ROWS
};

struct sql_rows {
    const char *const *cells;  // row by row, in the arena
    size_t count;
    size_t columns;
    int64_t changed;  // rows that an INSERT, UPDATE or DELETE touched
};

// arena and out may be NULL with SQL_NO_ROWS. The server's refusals become: unique key
// STATUS_EXISTS; serialization failure, deadlock or lock not available STATUS_BUSY (run the
// transaction again); deadline STATUS_TIMEOUT (the statement was cancelled); connection gone
// STATUS_CLOSED; number out of range STATUS_OVERFLOW; other constraints and bad values
// STATUS_INVALID; no such table STATUS_NOT_FOUND; the rest STATUS_IO.
enum status sql_run(
    struct sql *sql,
    const struct sql_query *query,
    struct arena *arena,
    struct sql_rows *out,
    struct error *error) CHECKED;

// Several statements without parameters and without answers of interest: a migration.
enum status sql_script(struct sql *sql, const char *text, struct error *error) CHECKED;

// COPY ... FROM STDIN with all of data (text format, see sql_copy_text). out_rows may be NULL.
enum status sql_copy_in(
    struct sql *sql,
    const char *text,
    struct bytes data,
    int64_t *out_rows,
    struct error *error) CHECKED;
// One field of a COPY line, escaped; NULL data is NULL. Tabs and the line's end are the caller's.
void sql_copy_text(struct buffer *out, struct bytes field);

// A commit of a transaction in which a statement failed is refused with STATUS_IO and rolls back.
enum status sql_begin(struct sql *sql, struct error *error) CHECKED;
enum status sql_commit(struct sql *sql, struct error *error) CHECKED;
// Does nothing outside a transaction. A connection that cannot roll back is gone, and its server
// rolls back for it.
void sql_rollback(struct sql *sql);

// The five characters of the last refusal ("23505"), "" when there was none or it came from the
// client's side.
const char *sql_state(const struct sql *sql);
// The constraint that the last refusal named, or "".
const char *sql_constraint(const struct sql *sql);

// The cell's text, NULL for SQL's NULL. Row and column must be there.
const char *sql_cell(const struct sql_rows *rows, size_t row, size_t column);
// A cell that the statement made a bigint: anything else is a programmer's error and stops the
// process.
int64_t sql_int64(const struct sql_rows *rows, size_t row, size_t column);
bool sql_bool(const struct sql_rows *rows, size_t row, size_t column);
// A cell selected as SQL_EPOCH_US(column): nanoseconds. absent: for SQL's NULL.
#define SQL_EPOCH_US(column) "(extract(epoch from " column ") * 1000000)::bigint"
int64_t sql_time_ns(const struct sql_rows *rows, size_t row, size_t column, int64_t absent);

// An array parameter: "{\"a\",\"b\",NULL}" built in a buffer, passed as $n::text[], $n::bigint[],
// ...
//     sql_array_begin(&ids); sql_array_add(&ids, id); const char *param = sql_array_end(&ids);
void sql_array_begin(struct buffer *out);
void sql_array_add(struct buffer *out, const char *text);  // NULL: SQL's NULL
void sql_array_add_bytes(struct buffer *out, struct bytes text);
void sql_array_add_int(struct buffer *out, int64_t value);
// NUL-terminated; borrowed until the buffer changes. NULL when the buffer failed.
const char *sql_array_end(struct buffer *out);
