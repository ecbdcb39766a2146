#pragma once
// What was taken and is not acked yet: batches in one fixed piece of memory, used as a ring.
//
//     backlog_append(&backlog, &entry, now_ns, wall_ns)     // into the batch being filled
//     backlog_seal(&backlog)                                // that batch takes no more
//     batch = backlog_take(&backlog)                        // the next to send, in order
//     backlog_release(&backlog, batch)                      // acked, in any order
//     backlog_rewind(&backlog)                              // connection lost: send all again
//
//     | batch | events ... | tags | batch | events ... | tags |   free   |
//       ^ oldest                                              ^ head
//
// A batch lies in one run of bytes: this header, its events as they go over the wire, and 8 bytes
// of tag for each. Room is given back from the oldest on, so a batch acked out of order keeps its
// place until those before it are acked too. Nothing is allocated after init, so memory is
// bounded exactly.
//
// States: filling -> waiting -> sent -> (released), and sent -> waiting by a rewind.
// Owner: the handle. Thread: one at a time (the handle's mutex); the events, tags and chunk of a
// batch that was taken do not change, and may be read without it until it is released.

#include "base/buffer.h"
#include "client/encode.h"
#include "client/uuid7.h"

enum { BACKLOG_BACKFILL_MAX = 100 };

enum batch_state { BATCH_FILLING, BATCH_WAITING, BATCH_SENT, BATCH_RELEASED };

struct batch {
    struct batch *next;  // in the order of sending
    uint64_t sequence;   // from 1, dense
    int64_t opened_ns;   // monotonic: when its first event came
    size_t events_size;
    uint32_t events_count;
    uint32_t sends_count;  // how often it was taken
    enum batch_state state;
    bool is_spooled;   // it has a file
    bool is_leftover;  // of an earlier process, as the spool had it
    char chunk[UUID7_TEXT_SIZE];
    char backfill[BACKLOG_BACKFILL_MAX + 1];  // the batch's name, or empty
};

// Called by a seal, before anybody else sees the batch.
typedef void (*backlog_sealed_fn)(void *context, struct batch *batch);

struct backlog_limits {
    size_t size;        // bytes in all, at least BACKLOG_SIZE_MIN
    size_t batch_size;  // of events; one larger event is a batch of its own
    uint32_t batch_events;
    const char *backfill;  // name for all batches, good as long as the backlog; NULL or empty: none
};

// Room for one event of the largest size, so that any valid event is taken sooner or later.
static const size_t BACKLOG_SIZE_MIN = ENCODE_SIZE_MAX + 256;

struct backlog {
    struct backlog_limits limits;
    struct buffer memory;
    uint64_t *tags;  // of the batch being filled; they move behind its events when it is sealed
    struct uuid7_source ids;
    backlog_sealed_fn sealed;  // NULL: nobody is told
    void *sealed_context;
    struct batch *filling;  // NULL: none
    struct batch *oldest;   // sealed, not released; NULL: none
    struct batch *newest;
    struct batch *waiting;  // the first not taken; NULL: none
    uint64_t sealed_count;  // sequence of the last sealed batch
    uint64_t events_count;  // unacked
    size_t used_size;       // bytes of the unacked batches
};

// STATUS_NO_MEMORY, or STATUS_IO without randomness.
enum status backlog_init(
    struct backlog *backlog, const struct backlog_limits *limits, struct error *error) CHECKED;
void backlog_done(struct backlog *backlog);

// Copies the entry; fills a missing id. False: no room until more is acked (the batch being
// filled stays open).
bool backlog_append(
    struct backlog *backlog, const struct encoded *entry, int64_t now_ns, int64_t wall_ns) CHECKED;
// A batch that was sealed by another process: chunk, backfill, events_size, events_count and the
// flags are taken from `like`, its tags are 0. False: no room until more is released. Not for a
// backlog that is being appended to.
bool backlog_put(struct backlog *backlog, const struct batch *like, struct bytes events) CHECKED;
// Nothing happens when no batch is being filled.
void backlog_seal(struct backlog *backlog, int64_t wall_ns);
// NULL: none is waiting.
struct batch *backlog_take(struct backlog *backlog);
void backlog_release(struct backlog *backlog, struct batch *batch);
void backlog_rewind(struct backlog *backlog);

// Whether all batches up to this sequence were released.
bool backlog_is_settled(const struct backlog *backlog, uint64_t sequence);

struct bytes backlog_events(const struct batch *batch);
uint64_t backlog_tag(const struct batch *batch, uint32_t index);

// Checks the invariants; false names a programming error.
bool backlog_validate(const struct backlog *backlog);
