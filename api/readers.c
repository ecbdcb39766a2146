#include "api/readers.h"

#include "base/assert.h"
#include "base/pool.h"

#include <pthread.h>

struct readers {
    const char *data_dir;
    pthread_mutex_t mutex;  // for what follows
    struct reader **idle;
    uint32_t idle_count;
    uint32_t readers_max;
};

enum status
readers_open(const char *data_dir, uint32_t readers_max, struct readers **out, struct error *error)
{
    struct readers *readers = pool_take(1, sizeof *readers);
    struct reader **idle = pool_take(readers_max, sizeof(struct reader *));
    if (readers == NULL || idle == NULL) {
        pool_give(readers);
        pool_give(idle);
        return error_set(error, STATUS_NO_MEMORY, "no memory for the ledger's readers");
    }
    *readers = (struct readers){.data_dir = data_dir, .idle = idle, .readers_max = readers_max};
    pthread_mutex_init(&readers->mutex, NULL);
    *out = readers;
    return STATUS_OK;
}

void
readers_close(struct readers *readers)
{
    if (readers == NULL)
        return;
    while (readers->idle_count > 0)
        reader_close(readers->idle[--readers->idle_count]);
    pthread_mutex_destroy(&readers->mutex);
    pool_give(readers->idle);
    pool_give(readers);
}

enum status
readers_take(struct readers *readers, struct readers_loan *out, struct error *error)
{
    struct reader *reader = NULL;
    pthread_mutex_lock(&readers->mutex);
    if (readers->idle_count > 0)
        reader = readers->idle[--readers->idle_count];
    pthread_mutex_unlock(&readers->mutex);
    if (reader == NULL) {
        enum status status = reader_open(readers->data_dir, &reader, error);
        if (status)
            return status;
    }
    *out = (struct readers_loan){readers, reader};
    return STATUS_OK;
}

void
readers_return(struct readers_loan *loan)
{
    if (loan->reader == NULL)
        return;
    struct readers *readers = loan->readers;
    pthread_mutex_lock(&readers->mutex);
    must(readers->idle_count < readers->readers_max);
    readers->idle[readers->idle_count++] = loan->reader;
    pthread_mutex_unlock(&readers->mutex);
    *loan = (struct readers_loan){0};
}
