// Answers that go on. A stream that has taken all there is, is suspended and stands in `waiting`
// until there is more, or the server stops; so nobody waits and nothing polls.

#include "api/http_parts.h"
#include "base/assert.h"

#include <string.h>

enum { BLOCK_SIZE = 4096 };

bool
http_stream(const struct http_request *request)
{
    struct exchange *exchange = request->exchange;
    struct http *http = exchange->http;
    must(exchange->step == STEP_WORKING && !exchange->is_stream);
    pthread_mutex_lock(&http->mutex);
    bool has_room = http->streams_count < (int64_t)http->options.streams_max;
    http->streams_count += has_room;
    exchange->is_stream = has_room;
    exchange->stream_serial = http->news_serial;
    pthread_mutex_unlock(&http->mutex);
    return has_room;
}

// What is there for this stream; 0: nothing. With the mutex held.
static size_t
stream_take(struct exchange *exchange, char *out, size_t max)
{
    struct http *http = exchange->http;
    struct buffer *body = &exchange->response.body;
    if (exchange->stream_at == body->size && exchange->stream_serial != http->news_serial) {
        buffer_reset(body);
        buffer_bytes(body, buffer_view(&http->news));
        exchange->stream_serial = http->news_serial;
        exchange->stream_at = 0;
    }
    size_t left = body->size - exchange->stream_at;
    size_t size = left < max ? left : max;
    if (size > 0)
        memcpy(out, body->data + exchange->stream_at, size);
    exchange->stream_at += size;
    return size;
}

// The library's callback, on the connection's loop. Suspended with the mutex held, so that whoever
// finds it among those that wait may resume it.
static ssize_t
stream_read(void *context, uint64_t position, char *out, size_t max)
{
    (void)position;
    struct exchange *exchange = context;
    struct http *http = exchange->http;
    pthread_mutex_lock(&http->mutex);
    ssize_t size = (ssize_t)stream_take(exchange, out, max);
    bool is_over = size == 0 && atomic_load(&http->is_stopping);
    if (size == 0 && !is_over) {
        exchange->next_waiting = http->waiting;
        http->waiting = exchange;
        MHD_suspend_connection(exchange->connection);
    }
    // What was handed out must be taken within answer_ns; while it waits, the next step is ours.
    http_deadline_set(exchange->visitor, size > 0 ? http->options.answer_ns : 0);
    pthread_mutex_unlock(&http->mutex);
    return is_over ? (ssize_t)MHD_CONTENT_READER_END_OF_STREAM : size;
}

struct MHD_Response *
http_stream_response(struct exchange *exchange)
{
    return MHD_create_response_from_callback(
        MHD_SIZE_UNKNOWN, BLOCK_SIZE, stream_read, exchange, NULL);
}

// A connection that is suspended lives until it is resumed, so the list is ours without the mutex.
void
http_streams_wake(struct http *http)
{
    pthread_mutex_lock(&http->mutex);
    struct exchange *exchange = http->waiting;
    http->waiting = NULL;
    pthread_mutex_unlock(&http->mutex);
    while (exchange != NULL) {
        struct exchange *next = exchange->next_waiting;
        http_loop_resume(exchange);
        exchange = next;
    }
}

void
http_stream_send(struct http *http, struct bytes text)
{
    pthread_mutex_lock(&http->mutex);
    buffer_reset(&http->news);
    buffer_bytes(&http->news, text);
    http->news_serial++;
    pthread_mutex_unlock(&http->mutex);
    http_streams_wake(http);
}
