#pragma once
// The requests of `tally-bench http`: events as CloudEvents in JSON, and usage queries.
//
//     http_events_open(&events, &generate, &target, &error)
//     http_events_make(&events, &buffer)     // one whole POST of generate.chunk_events events
//     use events.generator.totals
//     http_events_close(&events)
//
// Events are those of bench/generate.h, with value, tokens and region in `data`. A query asks for
// one subject's usage by day. Owner: one drive. Thread: its own.

#include "base/buffer.h"
#include "bench/generate.h"

// The type of the events, and the meters on it: a count, and sums of value and tokens.
extern const char HTTP_TYPE[];
enum { HTTP_METERS = 3 };
extern const char *const HTTP_METER_KEYS[HTTP_METERS];

struct http_target {
    const char *host;  // as the request names it
    const char *key;
};

struct http_events {
    struct generator generator;
    struct http_target target;
    uint8_t *frame;
    uint64_t chunks;
    struct buffer body;
};

enum status http_events_open(
    struct http_events *events,
    const struct generate_options *options,
    const struct http_target *target,
    struct error *error) CHECKED;
void http_events_make(void *events, struct buffer *out);
void http_events_close(struct http_events *events);

// Asks for the usage of the subjects that its generator makes. Its totals mean nothing.
struct http_queries {
    struct http_events events;
    const char *meter;
    uint32_t next;  // of the frame's subjects
};
enum status http_queries_open(
    struct http_queries *queries,
    const struct generate_options *options,
    const struct http_target *target,
    const char *meter,
    struct error *error) CHECKED;
void http_queries_make(void *queries, struct buffer *out);
void http_queries_close(struct http_queries *queries);
