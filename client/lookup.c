#include "client/lookup.h"

#include "base/assert.h"
#include "base/pool.h"

#include <errno.h>
#include <pthread.h>
#include <signal.h>
#include <stdint.h>
#include <sys/eventfd.h>
#include <unistd.h>

struct lookup {
    struct server_name name;
    int fd;  // an eventfd
    pthread_mutex_t mutex;
    // Under the mutex:
    int users_count;  // the one who asks, and the thread
    bool is_answered;
    enum status status;
    struct server_addresses addresses;
    struct error error;
};

static void
lookup_free(struct lookup *lookup)
{
    close(lookup->fd);
    pthread_mutex_destroy(&lookup->mutex);
    pool_give(lookup);
}

void
lookup_leave(struct lookup *lookup)
{
    pthread_mutex_lock(&lookup->mutex);
    must(lookup->users_count > 0);
    bool is_last = --lookup->users_count == 0;
    pthread_mutex_unlock(&lookup->mutex);
    if (is_last)
        lookup_free(lookup);
}

static void *
lookup_run(void *context)
{
    struct lookup *lookup = context;
    struct server_addresses addresses;
    struct error error = {0};
    enum status status = server_name_resolve(&lookup->name, &addresses, &error);
    pthread_mutex_lock(&lookup->mutex);
    lookup->is_answered = true;
    lookup->status = status;
    lookup->addresses = addresses;
    lookup->error = error;
    pthread_mutex_unlock(&lookup->mutex);
    uint64_t one = 1;
    // An eventfd that holds nothing takes a one.
    (void)!write(lookup->fd, &one, sizeof one);
    lookup_leave(lookup);
    return NULL;
}

// Nobody joins it. Signals are blocked on the sender's thread, and so on those that it starts.
static int
thread_start(struct lookup *lookup)
{
    pthread_attr_t attributes;
    pthread_t thread;
    int rc = pthread_attr_init(&attributes);
    if (rc != 0)
        return rc;
    rc = pthread_attr_setdetachstate(&attributes, PTHREAD_CREATE_DETACHED);
    if (rc == 0)
        rc = pthread_create(&thread, &attributes, lookup_run, lookup);
    pthread_attr_destroy(&attributes);
    return rc;
}

enum status
lookup_start(const struct server_name *name, struct lookup **out, struct error *error)
{
    must(!name->is_unix);
    struct lookup *lookup = pool_take(1, sizeof *lookup);
    if (lookup == NULL)
        return error_set(error, STATUS_NO_MEMORY, "no memory to resolve %s", name->host);
    lookup->name = *name;
    lookup->users_count = 2;
    lookup->fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    if (lookup->fd < 0) {
        pool_give(lookup);
        return error_set_errno(error, "cannot resolve %s", name->host);
    }
    int rc = pthread_mutex_init(&lookup->mutex, NULL);
    if (rc == 0)
        rc = thread_start(lookup);
    if (rc != 0) {
        lookup_free(lookup);
        errno = rc;
        return error_set_errno(error, "cannot start a thread to resolve %s", name->host);
    }
    *out = lookup;
    return STATUS_OK;
}

int
lookup_fd(const struct lookup *lookup)
{
    return lookup->fd;
}

bool
lookup_take(
    struct lookup *lookup,
    enum status *out_status,
    struct server_addresses *out,
    struct error *error)
{
    pthread_mutex_lock(&lookup->mutex);
    bool is_answered = lookup->is_answered;
    if (is_answered) {
        *out_status = lookup->status;
        if (lookup->status == STATUS_OK)
            *out = lookup->addresses;
        else if (error != NULL)
            *error = lookup->error;
    }
    pthread_mutex_unlock(&lookup->mutex);
    return is_answered;
}
