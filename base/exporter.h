#pragma once
// A tiny HTTP server for /metrics and /health, with a thread of its own (libmicrohttpd behind it).
//
//     static int answer(void *context, const char *path, struct buffer *out, const char **type) {
//         if (strcmp(path, "/metrics") != 0) return 404;
//         metrics_print(context, count, out);
//         *type = "text/plain; version=0.0.4";
//         return 200;
//     }
//     struct exporter_options options = {.address = "127.0.0.1:9464", .answer = answer};
//     exporter_start(&options, &exporter, &error);
//     exporter_stop(exporter);
//
// GET and HEAD only; everything else is answered 405. At most 64 connections, 10 seconds each: who
// scrapes is not trusted to come back. No TLS, no bodies in requests: bind it where only friends
// reach it.
// Owner: who started it, and the context must live until exporter_stop. Thread: answer runs on the
// exporter's thread, one call at a time.

#include "base/buffer.h"
#include "base/status.h"

#include <stdint.h>

enum {
    EXPORTER_CONNECTIONS_MAX = 64,
    EXPORTER_TIMEOUT_S = 10,
};

struct exporter;

// Writes the body into out and returns the HTTP status. *out_content_type is "text/plain;
// charset=utf-8" unless set, to a text that lives on. A body that failed (limit, memory) is
// answered 500.
typedef int (*exporter_answer)(
    void *context, const char *path, struct buffer *out, const char **out_content_type);

struct exporter_options {
    const char *address;  // "HOST:PORT", "[IPV6]:PORT"; port 0: any free one
    exporter_answer answer;
    void *context;
};

// STATUS_INVALID: the address is none. STATUS_IO: it cannot be listened on.
enum status exporter_start(
    const struct exporter_options *options, struct exporter **out, struct error *error) CHECKED;
uint16_t exporter_port(const struct exporter *exporter);
// Ends open connections and the thread. NULL is accepted.
void exporter_stop(struct exporter *exporter);
