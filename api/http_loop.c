// The threads that run libmicrohttpd. Its own ones (MHD_USE_INTERNAL_POLLING_THREAD, 0.9.75) are
// not used for two reasons. When epoll_wait gives them exactly 128 events they wait for more before
// they look at these, for ever if need be: 256 clients that all waited for an answer met it once in
// a hundred runs. And of several threads at one listening socket the kernel wakes the same one as
// long as it keeps up, so that one had all connections and the others none.
//
// Suspending and resuming is done on the loop's thread only: whoever has an answer leaves it in the
// inbox, and many of them wake the loop once.

#include "api/http_parts.h"
#include "base/assert.h"
#include "base/pool.h"

#include <limits.h>
#include <poll.h>

// --- the inbox ---

void
http_loop_add(struct http_loop *loop, struct visitor *visitor)
{
    pthread_mutex_lock(&loop->mutex);
    visitor->next_new = loop->newcomers;
    loop->newcomers = visitor;
    pthread_mutex_unlock(&loop->mutex);
    waker_wake(&loop->waker);
}

void
http_loop_resume(struct exchange *exchange)
{
    struct http_loop *loop = exchange->visitor->loop;
    pthread_mutex_lock(&loop->mutex);
    exchange->next_resumed = loop->resumed;
    loop->resumed = exchange;
    // Within the mutex: behind it the loop may have gone on, and have been stopped.
    waker_wake(&loop->waker);
    pthread_mutex_unlock(&loop->mutex);
}

static bool
adding_has(const struct http_loop *loop, const struct visitor *visitor)
{
    const struct visitor *at = loop->adding;
    while (at != NULL && at != visitor)
        at = at->next_new;
    return at != NULL;
}

// Whether the library tells of the beginning at once or in its next turn is its own affair.
static void
newcomer_add(struct http_loop *loop, struct visitor *visitor)
{
    visitor->next_new = loop->adding;
    loop->adding = visitor;
    const struct sockaddr *address = (const struct sockaddr *)&visitor->address;
    enum MHD_Result result =
        MHD_add_connection(loop->daemon, visitor->fd, address, visitor->address_size);
    // The socket is closed then.
    if (result != MHD_YES && adding_has(loop, visitor)) {
        loop->adding = visitor->next_new;
        http_visitor_remove(visitor);
    }
}

static void
inbox_empty(struct http_loop *loop)
{
    pthread_mutex_lock(&loop->mutex);
    struct visitor *visitor = loop->newcomers;
    struct exchange *exchange = loop->resumed;
    loop->newcomers = NULL;
    loop->resumed = NULL;
    pthread_mutex_unlock(&loop->mutex);
    while (visitor != NULL) {
        struct visitor *next = visitor->next_new;
        newcomer_add(loop, visitor);
        visitor = next;
    }
    while (exchange != NULL) {
        struct exchange *next = exchange->next_resumed;
        MHD_resume_connection(exchange->connection);
        exchange = next;
    }
}

static bool
inbox_is_empty(struct http_loop *loop)
{
    pthread_mutex_lock(&loop->mutex);
    bool is_empty = loop->newcomers == NULL && loop->resumed == NULL;
    pthread_mutex_unlock(&loop->mutex);
    return is_empty;
}

// --- the thread ---

// -1: as long as nothing comes.
static int
patience_ms(struct http_loop *loop)
{
    MHD_UNSIGNED_LONG_LONG ms;
    if (MHD_get_timeout(loop->daemon, &ms) != MHD_YES)
        return -1;
    return ms < INT_MAX ? (int)ms : INT_MAX;
}

static void
loop_sleep(struct http_loop *loop)
{
    int ms = patience_ms(loop);
    if (ms == 0)
        return;
    struct pollfd fds[] = {
        {.fd = loop->waker.fd, .events = POLLIN},
        {.fd = loop->epoll_fd, .events = POLLIN},
    };
    waker_prepare(&loop->waker);
    bool has_work = flag_get(&loop->stop) != 0 || !inbox_is_empty(loop);
    if (!has_work && poll(fds, 2, ms) > 0 && fds[0].revents != 0)
        waker_drain(&loop->waker);
    waker_cancel(&loop->waker);
}

// The last turn finds what was left in the inbox before the flag was set.
static void *
loop_run(void *argument)
{
    struct http_loop *loop = argument;
    bool is_last;
    do {
        is_last = flag_get(&loop->stop) != 0;
        inbox_empty(loop);
        (void)MHD_run(loop->daemon);
        if (!is_last)
            loop_sleep(loop);
    } while (!is_last);
    return NULL;
}

// --- start and stop ---

static enum status
loop_start(struct http_loop *loop, struct http *http, struct error *error)
{
    loop->http = http;
    pthread_mutex_init(&loop->mutex, NULL);
    enum status status = waker_init(&loop->waker, error);
    if (status)
        return status;
    loop->daemon = http_daemon_start(loop);
    const union MHD_DaemonInfo *info =
        loop->daemon != NULL ? MHD_get_daemon_info(loop->daemon, MHD_DAEMON_INFO_EPOLL_FD) : NULL;
    if (info == NULL)
        return error_set(error, STATUS_IO, "cannot serve HTTP on %s", http->options.address);
    loop->epoll_fd = info->epoll_fd;
    loop->has_thread = pthread_create(&loop->thread, NULL, loop_run, loop) == 0;
    return loop->has_thread ? STATUS_OK
                            : error_set(error, STATUS_NO_MEMORY, "cannot start a thread");
}

static void
loop_stop(struct http_loop *loop)
{
    flag_set(&loop->stop, 1);
    if (loop->has_thread) {
        waker_wake(&loop->waker);
        pthread_join(loop->thread, NULL);
    }
    if (loop->daemon != NULL)
        MHD_stop_daemon(loop->daemon);
    must(loop->newcomers == NULL && loop->resumed == NULL && loop->adding == NULL);
    waker_done(&loop->waker);
    pthread_mutex_destroy(&loop->mutex);
}

enum status
http_loops_start(struct http *http, struct error *error)
{
    enum status status = STATUS_OK;
    http->loops = pool_take(http->options.loops, sizeof *http->loops);
    if (http->loops == NULL)
        return error_set(error, STATUS_NO_MEMORY, "no memory for the HTTP server");
    while (status == STATUS_OK && http->loops_count < http->options.loops)
        status = loop_start(&http->loops[http->loops_count++], http, error);
    return status;
}

void
http_loops_stop(struct http *http)
{
    for (uint32_t i = 0; i < http->loops_count; i++)
        loop_stop(&http->loops[i]);
    pool_give(http->loops);
}
