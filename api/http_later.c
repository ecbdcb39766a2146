// Answers that are made when somebody else has spoken: the connection is suspended meanwhile, and
// no thread waits for it.

#include "api/http_parts.h"
#include "base/assert.h"

void
http_later(const struct http_request *request, http_finish finish, void *state)
{
    struct exchange *exchange = request->exchange;
    struct http *http = exchange->http;
    must(exchange->step == STEP_BODY && finish != NULL);
    exchange->finish = finish;
    exchange->state = state;
    exchange->step = STEP_LATER;
    // The next step is ours.
    http_deadline_set(exchange->visitor, 0);
    atomic_fetch_add(&http->laters_count, 1);
    MHD_suspend_connection(exchange->connection);
}

// The exchange is the loop's again from the resuming on, and it and the server may be gone at once.
void
http_continue(const struct http_request *request)
{
    struct exchange *exchange = request->exchange;
    must(exchange->step == STEP_LATER);
    exchange->step = STEP_SETTLED;
    http_loop_resume(exchange);
}

// Either we see that the server stops, or it sees that the count is 0.
void
http_count_down(struct http *http, _Atomic int64_t *count)
{
    if (atomic_fetch_sub(count, 1) > 1 || !atomic_load(&http->is_stopping))
        return;
    pthread_mutex_lock(&http->mutex);
    pthread_cond_broadcast(&http->settled);
    pthread_mutex_unlock(&http->mutex);
}

void
http_laters_wait(struct http *http)
{
    must(atomic_load(&http->is_stopping));
    pthread_mutex_lock(&http->mutex);
    while (atomic_load(&http->laters_count) > 0)
        pthread_cond_wait(&http->settled, &http->mutex);
    pthread_mutex_unlock(&http->mutex);
}
