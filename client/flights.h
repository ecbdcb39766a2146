#pragma once
// The batches that are on their way: written whole, and not acked yet.
//
//     flights_add(&flights, batch, now_ns)
//     status = flights_settle(&flights, tally, message, &error)  // an ack: its batch is done with
//     flights.count = 0                                            // the connection is gone
//
// Settling tells the caller of the library what the server refused, removes the batch's file and
// gives its memory back. Owner and thread: the sender.

#include "client/handle.h"

struct flight {
    struct batch *batch;
    int64_t sent_ns;  // monotonic: when its last byte was written
};

struct flights {
    struct flight items[SETTINGS_FLIGHTS_MAX];  // in the order of sending
    uint32_t count;
};

void flights_add(struct flights *flights, struct batch *batch, int64_t now_ns);
// message: one whole msgpack value. STATUS_INVALID: no ack, or one for a batch that is not here.
enum status flights_settle(
    struct flights *flights,
    struct tally *tally,
    struct bytes message,
    struct error *error) CHECKED;
