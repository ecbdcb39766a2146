// Connections: one thread takes them from the listening socket and gives each to the loop that has
// the fewest. While there are as many as may be, it takes none: they wait in the kernel, and who
// has been without a request for long makes room for them.

#include "api/http_parts.h"
#include "base/assert.h"
#include "base/clock.h"
#include "base/log.h"
#include "base/pool.h"

#include <errno.h>
#include <netdb.h>
#include <poll.h>
#include <string.h>
#include <unistd.h>

// After the system refused to give us a connection.
enum { REST_MS = 100 };

// Who has had no request for less does not make room: a client may be about to send its next one.
static const int64_t SPARED_NS = SECOND_NS;

// The part of the connections that may have to make room at a look.
enum { ROOM_PART = 8 };

void
http_deadline_set(struct visitor *visitor, int64_t from_now_ns)
{
    int64_t deadline_ns = from_now_ns > 0 ? clock_monotonic_ns() + from_now_ns : 0;
    atomic_store_explicit(&visitor->deadline_ns, deadline_ns, memory_order_relaxed);
}

void
http_idle_begin(struct visitor *visitor)
{
    int64_t now_ns = clock_monotonic_ns();
    atomic_store_explicit(&visitor->idle_since_ns, now_ns, memory_order_relaxed);
    http_deadline_set(visitor, visitor->loop->http->options.idle_ns);
}

void
http_idle_end(struct visitor *visitor)
{
    atomic_store_explicit(&visitor->idle_since_ns, 0, memory_order_relaxed);
}

static void
remote_read(struct visitor *visitor)
{
    const struct sockaddr *address = (const struct sockaddr *)&visitor->address;
    if (getnameinfo(
            address,
            visitor->address_size,
            visitor->remote,
            sizeof visitor->remote,
            NULL,
            0,
            NI_NUMERICHOST) != 0)
        visitor->remote[0] = '\0';
}

// --- the list ---

static struct http_loop *
loop_choose(const struct http *http)
{
    struct http_loop *least = &http->loops[0];
    for (uint32_t i = 1; i < http->loops_count; i++)
        if (http->loops[i].connections < least->connections)
            least = &http->loops[i];
    return least;
}

static void
visitor_enter(struct http *http, struct visitor *visitor)
{
    pthread_mutex_lock(&http->mutex);
    visitor->loop = loop_choose(http);
    http_idle_begin(visitor);
    visitor->loop->connections++;
    visitor->next = http->visitors;
    if (visitor->next != NULL)
        visitor->next->previous = visitor;
    http->visitors = visitor;
    http->visitors_count++;
    pthread_mutex_unlock(&http->mutex);
}

void
http_visitor_remove(struct visitor *visitor)
{
    struct http *http = visitor->loop->http;
    pthread_mutex_lock(&http->mutex);
    if (visitor->previous != NULL)
        visitor->previous->next = visitor->next;
    else
        http->visitors = visitor->next;
    if (visitor->next != NULL)
        visitor->next->previous = visitor->previous;
    http->visitors_count--;
    visitor->loop->connections--;
    bool was_full = http->is_full;
    http->is_full = false;
    pthread_mutex_unlock(&http->mutex);
    if (was_full)
        waker_wake(&http->acceptor_waker);
    arena_done(&visitor->arena);
    pool_give(visitor);
}

// The library has begun with a connection that its loop gave it.
static struct visitor *
adding_take(struct http_loop *loop, struct MHD_Connection *connection)
{
    const union MHD_ConnectionInfo *info =
        MHD_get_connection_info(connection, MHD_CONNECTION_INFO_CONNECTION_FD);
    must(info != NULL);
    struct visitor **place = &loop->adding;
    while (*place != NULL && (*place)->fd != info->connect_fd)
        place = &(*place)->next_new;
    struct visitor *visitor = *place;
    must(visitor != NULL);
    *place = visitor->next_new;
    return visitor;
}

// The end is told before the socket is closed, so under the mutex every fd in the list is still
// this connection's.
void
http_on_connection(
    void *context,
    struct MHD_Connection *connection,
    void **socket_context,
    enum MHD_ConnectionNotificationCode code)
{
    if (code == MHD_CONNECTION_NOTIFY_STARTED)
        *socket_context = adding_take(context, connection);
    else
        http_visitor_remove(*socket_context);
}

// As many are here as may be, and another is at the door.
static bool
is_crowded(struct http *http)
{
    struct pollfd fd = {.fd = http->listen_fd, .events = POLLIN};
    return http->is_full && poll(&fd, 1, 0) > 0;
}

// 0: it has a request.
static int64_t
idle_ns(const struct visitor *visitor, int64_t now_ns)
{
    int64_t since_ns = atomic_load_explicit(&visitor->idle_since_ns, memory_order_relaxed);
    return since_ns != 0 ? now_ns - since_ns : 0;
}

// From which idleness on a connection makes room: half of the longest, so that who has just had an
// answer stays.
static int64_t
idle_bound(const struct http *http, int64_t now_ns)
{
    int64_t longest_ns = 0;
    for (const struct visitor *visitor = http->visitors; visitor != NULL; visitor = visitor->next) {
        int64_t this_ns = idle_ns(visitor, now_ns);
        longest_ns = this_ns > longest_ns ? this_ns : longest_ns;
    }
    return longest_ns / 2 > SPARED_NS ? longest_ns / 2 : SPARED_NS;
}

void
http_watch(struct http *http)
{
    int64_t now_ns = clock_monotonic_ns();
    pthread_mutex_lock(&http->mutex);
    int64_t bound_ns = is_crowded(http) ? idle_bound(http, now_ns) : INT64_MAX;
    uint32_t room = http->options.connections_max / ROOM_PART + 1;
    for (struct visitor *visitor = http->visitors; visitor != NULL; visitor = visitor->next) {
        int64_t deadline_ns = atomic_load_explicit(&visitor->deadline_ns, memory_order_relaxed);
        bool is_late = deadline_ns != 0 && now_ns > deadline_ns;
        bool makes_room = !is_late && room > 0 && idle_ns(visitor, now_ns) >= bound_ns;
        room -= makes_room;
        if (is_late || makes_room)
            (void)shutdown(visitor->fd, SHUT_RDWR);
    }
    pthread_mutex_unlock(&http->mutex);
}

// --- the thread ---

static void
visitor_take(struct http *http, int fd, const struct sockaddr_storage *address, socklen_t size)
{
    struct visitor *visitor = pool_take(1, sizeof *visitor);
    if (visitor == NULL) {
        (void)close(fd);
        return;
    }
    visitor->fd = fd;
    visitor->address = *address;
    visitor->address_size = size;
    remote_read(visitor);
    visitor_enter(http, visitor);
    http_loop_add(visitor->loop, visitor);
}

static bool
is_full(struct http *http)
{
    pthread_mutex_lock(&http->mutex);
    bool is_full = http->visitors_count >= (int64_t)http->options.connections_max;
    http->is_full = is_full;
    pthread_mutex_unlock(&http->mutex);
    return is_full;
}

// False: the system has none for us, for want of something.
static bool
connections_take(struct http *http)
{
    while (!is_full(http)) {
        struct sockaddr_storage address = {0};
        socklen_t size = sizeof address;
        int fd = accept4(
            http->listen_fd, (struct sockaddr *)&address, &size, SOCK_NONBLOCK | SOCK_CLOEXEC);
        if (fd >= 0)
            visitor_take(http, fd, &address, size);
        else if (errno == EAGAIN)
            return true;
        else if (errno == EMFILE || errno == ENFILE || errno == ENOBUFS || errno == ENOMEM)
            return false;
        // Anything else is of a connection that went before it was taken.
    }
    return true;
}

static void *
acceptor_run(void *argument)
{
    struct http *http = argument;
    bool is_short = false;
    while (flag_get(&http->acceptor_stop) == 0) {
        waker_prepare(&http->acceptor_waker);
        bool is_closed = is_short || is_full(http);
        struct pollfd fds[] = {
            {.fd = http->acceptor_waker.fd, .events = POLLIN},
            {.fd = http->listen_fd,         .events = POLLIN},
        };
        int patience_ms = is_short ? REST_MS : -1;
        if (flag_get(&http->acceptor_stop) == 0 && poll(fds, is_closed ? 1 : 2, patience_ms) > 0 &&
            fds[0].revents != 0)
            waker_drain(&http->acceptor_waker);
        waker_cancel(&http->acceptor_waker);
        bool was_short = is_short;
        is_short = !connections_take(http);
        if (is_short && !was_short)
            log_warn("accept_failed", LOG_TEXT("error", strerrordesc_np(errno)));
    }
    return NULL;
}

enum status
http_accept_start(struct http *http, struct error *error)
{
    http->has_acceptor = pthread_create(&http->acceptor, NULL, acceptor_run, http) == 0;
    return http->has_acceptor ? STATUS_OK
                              : error_set(error, STATUS_NO_MEMORY, "cannot start a thread");
}

void
http_accept_stop(struct http *http)
{
    if (!http->has_acceptor)
        return;
    flag_set(&http->acceptor_stop, 1);
    waker_wake(&http->acceptor_waker);
    pthread_join(http->acceptor, NULL);
    http->has_acceptor = false;
}
