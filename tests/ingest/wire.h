#pragma once
// Messages for tests, made with base/pack.
//
//     scoped(buffer_done) struct buffer out = {0};
//     wire_forward(&out, "api_call", &(struct wire){.events = 3, .chunk = "c1", .results = true});
//
// Owner: the test.

#include "base/pack.h"

#include <stdio.h>

struct wire {
    uint32_t events;
    uint32_t first;     // number of the first event, in subject and id
    const char *chunk;  // NULL: none
    bool results;
    const char *backfill;  // NULL: none
    bool without_id;
    int64_t time_ns;      // 0: nil
    const char *subject;  // NULL: "customer-N"
    int64_t value;        // 0: none given
};

// Forward mode; each value has a decimal too many and is rounded.
static inline void
wire_rounded(struct buffer *out, const char *tag, uint32_t events, const char *chunk)
{
    pack_array(out, 3);
    pack_text(out, tag);
    pack_array(out, events);
    for (uint32_t i = 0; i < events; i++) {
        pack_array(out, 2);
        pack_nil(out);
        pack_map(out, 2);
        pack_text(out, "subject");
        pack_text(out, "s");
        pack_text(out, "value");
        pack_text(out, "0.1234567890123456789");
    }
    pack_map(out, 1);
    pack_text(out, "chunk");
    pack_text(out, chunk);
}

static inline void
wire_time(struct buffer *out, const struct wire *wire)
{
    if (wire->time_ns > 0)
        pack_event_time(out, wire->time_ns);
    else
        pack_nil(out);
}

static inline void
wire_record(struct buffer *out, const struct wire *wire, uint32_t number)
{
    char text[64];
    pack_map(out, 2 + !wire->without_id + (wire->value != 0));
    pack_text(out, "subject");
    (void)snprintf(text, sizeof text, "customer-%u", number % 7);
    pack_text(out, wire->subject != NULL ? wire->subject : text);
    if (!wire->without_id) {
        pack_text(out, "id");
        (void)snprintf(text, sizeof text, "event-%u", number);
        pack_text(out, text);
    }
    if (wire->value != 0) {
        pack_text(out, "value");
        pack_int(out, wire->value);
    }
    pack_text(out, "model");
    pack_text(out, "large");
}

static inline void
wire_entries(struct buffer *out, const struct wire *wire)
{
    for (uint32_t i = 0; i < wire->events; i++) {
        pack_array(out, 2);
        wire_time(out, wire);
        wire_record(out, wire, wire->first + i);
    }
}

static inline bool
wire_has_options(const struct wire *wire)
{
    return wire->chunk != NULL || wire->results || wire->backfill != NULL;
}

static inline void
wire_options(struct buffer *out, const struct wire *wire)
{
    bool has_tally = wire->results || wire->backfill != NULL;
    if (!wire_has_options(wire))
        return;
    pack_map(out, (wire->chunk != NULL) + has_tally);
    if (wire->chunk != NULL) {
        pack_text(out, "chunk");
        pack_text(out, wire->chunk);
    }
    if (!has_tally)
        return;
    pack_text(out, "tally");
    pack_map(out, 1 + (wire->backfill != NULL));
    pack_text(out, "results");
    pack_bool(out, wire->results);
    if (wire->backfill != NULL) {
        pack_text(out, "backfill");
        pack_text(out, wire->backfill);
    }
}

static inline void
wire_forward(struct buffer *out, const char *tag, const struct wire *wire)
{
    pack_array(out, 2 + wire_has_options(wire));
    pack_text(out, tag);
    pack_array(out, wire->events);
    wire_entries(out, wire);
    wire_options(out, wire);
}

static inline void
wire_packed(struct buffer *out, const char *tag, const struct wire *wire)
{
    struct buffer entries = {0};
    wire_entries(&entries, wire);
    pack_array(out, 2 + wire_has_options(wire));
    pack_text(out, tag);
    pack_bin(out, buffer_view(&entries));
    wire_options(out, wire);
    buffer_done(&entries);
}

static inline void
wire_message(struct buffer *out, const char *tag, const struct wire *wire)
{
    pack_array(out, 3 + wire_has_options(wire));
    pack_text(out, tag);
    wire_time(out, wire);
    wire_record(out, wire, wire->first);
    wire_options(out, wire);
}
