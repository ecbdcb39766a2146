#pragma once
// A blocking connection to a server that speaks in lines: requests are gathered and sent at once,
// answers are read as lines and counted bytes.
//
//     talk_open(&endpoint, &talk, &error);
//     buffer_format(&talk->out, "PING\r\n");
//     talk_flush(talk, &error);
//     talk_line(talk, &line, &error);          // without its end; valid until the next call
//     talk_bytes(talk, size, &bytes, &error);  // the same
//     talk_close(talk);
//
// Owner: who opened it. Thread: one at a time.

#include "base/buffer.h"
#include "bench/endpoint.h"

struct talk {
    int fd;
    struct buffer out;  // append to it
    struct buffer in;
    size_t taken;  // of in
};

enum status
talk_open(const struct endpoint *endpoint, struct talk *out, struct error *error) CHECKED;
void talk_close(struct talk *talk);
enum status talk_flush(struct talk *talk, struct error *error) CHECKED;
enum status talk_line(struct talk *talk, struct bytes *out, struct error *error) CHECKED;
enum status
talk_bytes(struct talk *talk, size_t size, struct bytes *out, struct error *error) CHECKED;
