#pragma once
// Connections to PostgreSQL, shared by the workers.
//
//     scoped(database_return) struct database_loan loan = {0};
//     status = database_take(database, &loan, &error);
//     status = sql_run(loan.sql, ...);
//     loan.status = status;               // a connection that broke is not lent again
//
// Connections are made when they are wanted, at most `connections` of them; who finds none free
// waits DATABASE_WAIT_MS. One that its server left while it lay idle is not lent: a database that
// was started anew costs no request. Where the database is, is looked up anew for each connection,
// so that `tally up` may move it. Owner: main. Thread: any.

#include "base/sql.h"

enum {
    DATABASE_WAIT_MS = 2000,
    DATABASE_TIMEOUT_MS = 10000,
    DATABASE_CONNECTIONS_MAX = 256,
};

struct database;

struct database_loan {
    struct database *database;
    struct sql *sql;
    enum status status;
};

// data_dir must live as long.
enum status database_open(
    const char *data_dir, uint32_t connections, struct database **out, struct error *error) CHECKED;
// All loans are back. NULL is accepted.
void database_close(struct database *database);

// STATUS_BUSY: all are lent. STATUS_CLOSED: the database cannot be reached, or is not known.
enum status
database_take(struct database *database, struct database_loan *out, struct error *error) CHECKED;
void database_return(struct database_loan *loan);

struct database_figures {
    uint32_t connections_max;
    uint32_t connections;  // made
    uint32_t lent;
    // Since the start:
    int64_t opened;   // connections
    int64_t failed;   // that could not be
    int64_t broken;   // given up, idle or lent
    int64_t waited;   // loans that had to wait
    int64_t refused;  // and that found none in time
};

void database_figures(struct database *database, struct database_figures *out);
