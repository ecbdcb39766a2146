#pragma once
// The load's events, and the frames that carry them, at a few nanoseconds each.
//
//     generator_init(&generator, &options, &error)
//     frame = buffer of generator_frame_size(&generator) bytes
//     generator_prepare(&generator, frame)                      // once: what never changes
//     generator_fill(&generator, frame, chunk_number, now_ns)   // again and again: the others
//
// Event number k is a function of seed, lane and k: a random UUID as id, its subject, a value of
// 1-64, a property `tokens` of 64 sizes and a property `region` of 8, padded so that the entry
// [time, record] has the size asked for. A duplicate is one of the lane's last
// GENERATE_RECENT_MAX events again, with another time. So what usage must say in the end is known
// without keeping any event: see totals.
//
// All entries have one size and all frames one layout, so that filling writes 60 bytes an event
// and copies nothing. Owner: one driver. Thread: its own.

#include "base/bytes.h"
#include "base/status.h"

#include <stdint.h>

struct weights;

enum {
    GENERATE_EVENT_MIN = 109,
    GENERATE_EVENT_MAX = 65536,
    GENERATE_CHUNK_EVENTS_MAX = 100000,
    GENERATE_EVENTS_SIZE_MAX = 8 << 20,  // bytes of a chunk; half of what tallyd takes
    GENERATE_SUBJECTS_MAX = 100000000,
    GENERATE_CHUNK_TEXT_SIZE = 16,
    GENERATE_RECENT_MAX = 1000000,
};

// The type of every event: what the meters count.
extern const char GENERATE_TYPE[];

struct generate_options {
    uint64_t seed;
    uint32_t lane;  // no two generators of a run make the same event
    uint32_t event_size;
    uint32_t chunk_events;
    uint32_t subjects;
    uint32_t duplicates_percent;
    const struct weights *weights;  // of as many subjects; NULL: all are used alike
};

// Of the events made, each counted once.
struct generate_totals {
    uint64_t events;
    uint64_t duplicates;  // made in addition
    uint64_t value_sum;
    uint64_t tokens_sum;
};

struct generator {
    struct generate_options options;
    struct generate_totals totals;
    uint64_t random;
    uint32_t region_size;  // of the text, with its padding
    uint32_t head_size;    // bytes of the frame in front of the events
    uint32_t tail_size;
    uint32_t digits[10000];  // four digits each
};

// STATUS_INVALID when a size is out of its range.
enum status generator_init(
    struct generator *generator,
    const struct generate_options *options,
    struct error *error) CHECKED;
uint32_t generator_frame_size(const struct generator *generator);
void generator_prepare(const struct generator *generator, uint8_t *frame);
// chunk: the frame's chunk, as GENERATE_CHUNK_TEXT_SIZE hexadecimal digits.
void generator_fill(struct generator *generator, uint8_t *frame, uint64_t chunk, int64_t now_ns);
// What event number i of a filled frame says. The views point into the frame.
struct generated {
    struct bytes entry;    // as it is sent
    struct bytes subject;  // a text, as are the next two
    struct bytes id;
    struct bytes region;  // without what it is padded with
    uint32_t value;
    uint32_t tokens;
};
void generator_event(
    const struct generator *generator, const uint8_t *frame, uint32_t i, struct generated *out);
// Reads a chunk's number back. False: no chunk of ours.
bool generator_chunk_parse(const uint8_t *text, uint32_t size, uint64_t *out_chunk);
