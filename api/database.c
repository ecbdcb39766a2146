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
    uint32_t lent;
    struct database_figures figures;  // its counts, and connections_max
};

enum status
database_open(
    const char *data_dir, uint32_t connections, struct database **out, struct error *error)
{
    must(connections > 0 && connections <= DATABASE_CONNECTIONS_MAX);
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
        .figures = {.connections_max = connections},
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

// The warmest idle connection that has its server still, or NULL; the others are put into dead,
// which has room for all.
static struct sql *
idle_take(struct database *database, struct sql **dead, uint32_t *dead_count)
{
    while (database->idle_count > 0) {
        struct sql *sql = database->idle[--database->idle_count];
        if (sql_is_alive(sql))
            return sql;
        dead[(*dead_count)++] = sql;
        database->figures.broken++;
    }
    return NULL;
}

// Counts one as lent. *out is an idle connection, or NULL when there is room for a new one.
static bool
slot_take(struct database *database, struct sql **out)
{
    struct sql *dead[DATABASE_CONNECTIONS_MAX];
    uint32_t dead_count = 0;
    struct timespec until;
    (void)clock_gettime(CLOCK_REALTIME, &until);
    until.tv_sec += DATABASE_WAIT_MS / 1000;
    pthread_mutex_lock(&database->mutex);
    uint32_t max = database->figures.connections_max;
    int rc = 0;
    database->figures.waited += database->lent == max;
    while (database->lent == max && rc == 0)
        rc = pthread_cond_timedwait(&database->returned, &database->mutex, &until);
    bool has_slot = database->lent < max;
    database->figures.refused += !has_slot;
    if (has_slot) {
        database->lent++;
        *out = idle_take(database, dead, &dead_count);
    }
    pthread_mutex_unlock(&database->mutex);
    while (dead_count > 0)
        sql_close(dead[--dead_count]);
    return has_slot;
}

static void
slot_give(struct database *database, struct sql *sql, bool is_broken)
{
    pthread_mutex_lock(&database->mutex);
    database->figures.broken += is_broken;
    must(database->lent > 0);
    database->lent--;
    if (sql != NULL)
        database->idle[database->idle_count++] = sql;
    pthread_cond_signal(&database->returned);
    pthread_mutex_unlock(&database->mutex);
}

static void
opened_count(struct database *database, enum status status)
{
    pthread_mutex_lock(&database->mutex);
    database->figures.opened += status == STATUS_OK;
    database->figures.failed += status != STATUS_OK;
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
        opened_count(database, status);
        if (status) {
            slot_give(database, NULL, false);
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
    bool is_lost = is_broken(loan->status);
    if (is_lost) {
        sql_close(loan->sql);
        loan->sql = NULL;
    }
    slot_give(loan->database, loan->sql, is_lost);
    *loan = (struct database_loan){0};
}

void
database_figures(struct database *database, struct database_figures *out)
{
    pthread_mutex_lock(&database->mutex);
    *out = database->figures;
    out->connections = database->idle_count + database->lent;
    out->lent = database->lent;
    pthread_mutex_unlock(&database->mutex);
}
