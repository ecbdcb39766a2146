#pragma once
// The reject log: the last events that were not counted, and why.
//
//   front                                   main, /rejects
//   reject = rejects_take(rejects)          rejects_collect(rejects)   into list and file
//   fill it; rejects_give(rejects, reject)  rejects_print(rejects, &out)
//
// The front never waits and never writes files: it fills a slot of a fixed pool and sends it
// through a ring. When the pool is empty (a flood between two collects) the reject is counted as
// unlisted, not lost from the counters.
//
// Bounded everywhere: the list holds REJECTS_LISTED entries; the file gets at most REJECTS_WRITTEN
// lines a second and is renamed to rejects.ndjson.1 when it reaches REJECTS_FILE_MAX, so two files
// of that size are the most.
//
// Threads: take and give belong to one front; collect and print to any thread (they share a lock of
// their own).

#include "base/buffer.h"
#include "base/bytes.h"
#include "base/metric.h"
#include "base/status.h"

enum {
    REJECTS_LISTED = 1000,
    REJECTS_WRITTEN = 100,
    REJECTS_FILE_MAX = 1024 * 1024,
    REJECT_PEER_MAX = 64,
    REJECT_TEXT_MAX = 64,
};

struct reject {
    int64_t time_ns;     // when it was rejected
    const char *reason;  // a constant
    char peer[REJECT_PEER_MAX];
    uint32_t index;  // in its frame
    // Cut to REJECT_TEXT_MAX bytes; size 0: unknown.
    uint8_t subject_size, type_size, id_size;
    uint8_t subject[REJECT_TEXT_MAX], type[REJECT_TEXT_MAX], id[REJECT_TEXT_MAX];
};

struct rejects;

// dir: where the file goes, NULL: no file. unlisted: counts rejects that found no slot. Both
// borrowed until close.
enum status rejects_open(
    const char *dir, struct metric *unlisted, struct rejects **out, struct error *error) CHECKED;
void rejects_close(struct rejects *rejects);

// NULL: none free, counted.
struct reject *rejects_take(struct rejects *rejects);
void rejects_give(struct rejects *rejects, struct reject *reject);
// Copies as much of text as a reject keeps; returns the size kept.
uint8_t reject_text_set(uint8_t out[REJECT_TEXT_MAX], struct bytes text);

void rejects_collect(struct rejects *rejects);
// NDJSON, oldest first:
// {"time":"...","peer":"...","reason":"...","subject":"...","type":"...","id":"...","index":0}.
void rejects_print(struct rejects *rejects, struct buffer *out);
