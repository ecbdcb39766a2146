#pragma once
// One GET of a small HTTP answer: how one of our programs asks another for health and figures.
//
//     http_get("127.0.0.1:9224", "/health", 2000, &arena, &answer, &error);
//     answer.code == 200
//
// HTTP/1.0 without a library: no redirects, no chunks, no TLS; the answer ends with the connection.
// Thread: any.

#include "base/arena.h"
#include "base/status.h"

struct http_answer {
    int code;
    const char *body;  // in the arena
};

enum { HTTP_ANSWER_MAX = 256 << 10 };

// address is "HOST:PORT" or "[HOST]:PORT". STATUS_TIMEOUT when it is not complete in time.
enum status http_get(
    const char *address,
    const char *path,
    int timeout_ms,
    struct arena *arena,
    struct http_answer *out,
    struct error *error) CHECKED;
