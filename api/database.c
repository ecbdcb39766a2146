#include "api/database.h"

#include "base/assert.h"
#include "base/clock.h"
#include "base/pool.h"

#include <pthread.h>
#include <stdlib.h>
#include <time.h>

struct database {
    const char *data_dir;
    pthread_mutex_t mutex;  // for what follows
    pthread_cond_t returned;
    struct sql **idle;  // a stack: the warmest is lent first
    uint32_t idle_count;
    uint32_t connections_max;
    uint32_t lent;
};

enum status
database_open(
    const char *data_dir, uint32_t connections, struct database **out, struct error *error)
{
    must(connections > 0);
    struct database *database = pool_take(1, sizeof *database);
    struct sql **idle = pool_take(connections, sizeof(struct sql *));
    if (database == NULL || idle == NULL) {
        pool_give(database);
        pool_give(idle);
        return error_set(error, STATUS_NO_MEMORY, "no memory for the database's connections");
    }
    *database = (struct database){
        .data_dir = data_dir,
        .idle = idle,
        .connections_max = connections,
    };
    pthread_mutex_init(&database->mutex, NULL);
    pthread_cond_init(&database->returned, NULL);
    *out = database;
    return STATUS_OK;
}

void
database_close(struct database *database)
{
    if (database == NULL)
        return;
    must(database->lent == 0);
    while (database->idle_count > 0)
        sql_close(database->idle[--database->idle_count]);
    pthread_mutex_destroy(&database->mutex);
    pthread_cond_destroy(&database->returned);
    pool_give(database->idle);
    pool_give(database);
}

// Counts one as lent. *out is an idle connection, or NULL when there is room for a new one.
static bool
slot_take(struct database *database, struct sql **out)
{
    struct timespec until;
    (void)clock_gettime(CLOCK_REALTIME, &until);
    until.tv_sec += DATABASE_WAIT_MS / 1000;
    pthread_mutex_lock(&database->mutex);
    int rc = 0;
    while (database->lent == database->connections_max && rc == 0)
        rc = pthread_cond_timedwait(&database->returned, &database->mutex, &until);
    bool has_slot = database->lent < database->connections_max;
    if (has_slot) {
        database->lent++;
        *out = database->idle_count > 0 ? database->idle[--database->idle_count] : NULL;
    }
    pthread_mutex_unlock(&database->mutex);
    return has_slot;
}

static void
slot_give(struct database *database, struct sql *sql)
{
    pthread_mutex_lock(&database->mutex);
    must(database->lent > 0);
    database->lent--;
    if (sql != NULL)
        database->idle[database->idle_count++] = sql;
    pthread_cond_signal(&database->returned);
    pthread_mutex_unlock(&database->mutex);
}

static enum status
connection_make(const struct database *database, struct sql **out, struct error *error)
{
    scoped(arena_done) struct arena arena = {0};
    const char *url = NULL;
    enum status status = sql_url(database->data_dir, &arena, &url, error);
    if (status == STATUS_OK)
        status = sql_open(url, DATABASE_TIMEOUT_MS, out, error);
    if (status)
        return error_set(error, STATUS_CLOSED, "the database cannot be reached");
    return STATUS_OK;
}

enum status
database_take(struct database *database, struct database_loan *out, struct error *error)
{
    struct sql *sql = NULL;
    if (!slot_take(database, &sql))
        return error_set(
            error, STATUS_BUSY, "all connections to the database are in use; try again");
    if (sql == NULL) {
        enum status status = connection_make(database, &sql, error);
        if (status) {
            slot_give(database, NULL);
            return status;
        }
    }
    *out = (struct database_loan){.database = database, .sql = sql};
    return STATUS_OK;
}

static bool
is_broken(enum status status)
{
    return status == STATUS_CLOSED || status == STATUS_TIMEOUT || status == STATUS_IO;
}

void
database_return(struct database_loan *loan)
{
    if (loan->sql == NULL)
        return;
    sql_rollback(loan->sql);
    if (is_broken(loan->status)) {
        sql_close(loan->sql);
        loan->sql = NULL;
    }
    slot_give(loan->database, loan->sql);
    *loan = (struct database_loan){0};
}

void
database_figures(struct database *database, struct database_figures *out)
{
    pthread_mutex_lock(&database->mutex);
    out->connections_max = database->connections_max;
    out->connections = database->idle_count + database->lent;
    out->lent = database->lent;
    pthread_mutex_unlock(&database->mutex);
}
