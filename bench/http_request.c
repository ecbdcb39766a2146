#include "bench/http_request.h"

#include "base/clock.h"
#include "base/pool.h"

#include <stdio.h>

const char HTTP_TYPE[] = "http";
const char *const HTTP_METER_KEYS[HTTP_METERS] = {"http_calls", "http_value", "http_tokens"};

enum status
http_events_open(
    struct http_events *events,
    const struct generate_options *options,
    const struct http_target *target,
    struct error *error)
{
    *events = (struct http_events){.target = *target};
    enum status status = generator_init(&events->generator, options, error);
    if (status != STATUS_OK)
        return status;
    events->frame = pool_take(1, generator_frame_size(&events->generator));
    if (events->frame == NULL)
        return error_set(error, STATUS_NO_MEMORY, "no memory for events");
    generator_prepare(&events->generator, events->frame);
    return STATUS_OK;
}

void
http_events_close(struct http_events *events)
{
    pool_give(events->frame);
    events->frame = NULL;
    buffer_done(&events->body);
}

static void
number_put(struct buffer *out, uint32_t value)
{
    char digits[10];
    size_t at = sizeof digits;
    do
        digits[--at] = (char)('0' + value % 10);
    while ((value /= 10) > 0);
    buffer_put(out, digits + at, sizeof digits - at);
}

#define PUT(out, text) buffer_put((out), (text), sizeof(text) - 1)

static void
event_put(const struct generated *event, struct bytes time, struct buffer *out)
{
    PUT(out, "{\"id\":\"");
    buffer_bytes(out, event->id);
    PUT(out,
        "\",\"source\":\"tally-bench\",\"specversion\":\"1.0\",\"type\":\"http\",\"subject\":\"");
    buffer_bytes(out, event->subject);
    PUT(out, "\",\"time\":\"");
    buffer_bytes(out, time);
    PUT(out, "\",\"data\":{\"value\":");
    number_put(out, event->value);
    PUT(out, ",\"tokens\":");
    number_put(out, event->tokens);
    PUT(out, ",\"region\":\"");
    buffer_bytes(out, event->region);
    PUT(out, "\"}}");
}

void
http_events_make(void *context, struct buffer *out)
{
    struct http_events *events = context;
    uint32_t count = events->generator.options.chunk_events;
    char time[CLOCK_TEXT_MAX];
    int64_t now_ns = clock_now_ns();
    size_t time_size = clock_print(now_ns, time);
    generator_fill(&events->generator, events->frame, events->chunks++, now_ns);
    buffer_reset(&events->body);
    for (uint32_t i = 0; i < count; i++) {
        struct generated event;
        generator_event(&events->generator, events->frame, i, &event);
        if (count > 1)
            buffer_u8(&events->body, i == 0 ? '[' : ',');
        event_put(&event, bytes_of(time, time_size), &events->body);
    }
    if (count > 1)
        buffer_u8(&events->body, ']');
    if (buffer_failed(&events->body))
        out->failed = true;
    buffer_format(
        out,
        "POST /api/v1/events HTTP/1.1\r\nHost: %s\r\nAuthorization: Bearer %s\r\n"
        "Content-Type: application/cloudevents%s+json\r\nContent-Length: %zu\r\n\r\n",
        events->target.host,
        events->target.key,
        count > 1 ? "-batch" : "",
        events->body.size);
    buffer_bytes(out, buffer_view(&events->body));
}

// ---- queries

enum status
http_queries_open(
    struct http_queries *queries,
    const struct generate_options *options,
    const struct http_target *target,
    const char *meter,
    struct error *error)
{
    *queries = (struct http_queries){.meter = meter};
    return http_events_open(&queries->events, options, target, error);
}

void
http_queries_close(struct http_queries *queries)
{
    http_events_close(&queries->events);
}

void
http_queries_make(void *context, struct buffer *out)
{
    struct http_queries *queries = context;
    struct http_events *events = &queries->events;
    struct generated event;
    uint32_t i = queries->next++ % events->generator.options.chunk_events;
    if (i == 0)
        generator_fill(&events->generator, events->frame, events->chunks++, clock_now_ns());
    generator_event(&events->generator, events->frame, i, &event);
    buffer_format(
        out,
        "GET /api/v1/meters/%s/query?windowSize=DAY&subject=%.*s HTTP/1.1\r\nHost: %s\r\n"
        "Authorization: Bearer %s\r\n\r\n",
        queries->meter,
        (int)event.subject.size,
        (const char *)event.subject.data,
        events->target.host,
        events->target.key);
}
