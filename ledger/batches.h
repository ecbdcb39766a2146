#pragma once
// The backfill batches of a shard: what was opened, how far each is, and what is kept of that in
// state/, so that a start need not read old blocks.
//
//     batches_read(&tx, &batches, &arena, &error);             // at a start: blocks [1, position]
//     batches_learn(&batches, &entry, block, &arena, &error);  // then every entry, in order
//     batch = batches_find(&batches, id);                      // NULL: never opened
//     count = batches_changed(&batches, position, &arena, &list);
//     batches_write(&tx, list, count);                         // a flush
//
//   open -> closed -> reverting -> reverted           an id is used once
//
//   meta  key "batch:" id -> u64 each: state, opened, closed, reverted (blocks), rest block, rest
//         index, stored, taken, cancelled, checksum over the key and these
//
// Owner: the shard's writer; readers make a list of their own. Thread: one at a time.

#include "base/arena.h"
#include "ledger/entry.h"
#include "ledger/lmdb_env.h"

enum { BATCHES_MAX = 100000 };

enum batch_state {
    BATCH_OPEN = 1,
    BATCH_CLOSED,     // takes no more events
    BATCH_REVERTING,  // its events are being taken out
    BATCH_REVERTED,   // none of them counts
};

struct batch {
    struct bytes id;
    uint64_t hash;  // of the id
    enum batch_state state;
    uint64_t opened, closed, reverted;  // blocks that say so, the first revert; 0: not yet
    uint64_t rest_block;                // REVERTING: where the events begin that are still there
    uint32_t rest_index;
    uint64_t stored;     // events, ever
    uint64_t taken;      // out, of them, by the revert
    uint64_t cancelled;  // by themselves
    uint64_t changed;    // the last block that said something of it; not stored
};

// Zeroed is valid. The list grows in the arena that batches_learn is given.
struct batches {
    struct batch *list;
    uint32_t count, capacity;
    uint32_t recent;  // the last that was found
};

// "open", "closed", "reverting", "reverted".
const char *batch_state_name(enum batch_state state);
// NULL: there is none.
struct batch *batches_find(struct batches *batches, struct bytes id);
// Whether the batch entry can come next; NULL: it can.
const char *batches_fault(struct batches *batches, const struct entry *entry);
// What an entry of any kind says of batches. STATUS_CORRUPT: a batch entry that does not follow.
enum status batches_learn(
    struct batches *batches,
    const struct entry *entry,
    uint64_t block,
    struct arena *arena,
    struct error *error) CHECKED;
// The same for an event or the cancel of one, which nothing can be wrong with.
void batches_count(struct batches *batches, const struct entry *entry, uint64_t block);

// A copy of those that changed in blocks after this one; their ids stay where they are.
uint32_t batches_changed(
    const struct batches *batches, uint64_t after, struct arena *arena, const struct batch **out);
bool batch_key_is(struct bytes key);
// The id is a view into the key. STATUS_CORRUPT: it is no sound record.
enum status batch_read(struct bytes key, struct bytes value, struct batch *out) CHECKED;
// batches is empty. STATUS_CORRUPT: a record is damaged.
enum status batches_read(
    struct tx *state, struct batches *batches, struct arena *arena, struct error *error) CHECKED;
void batches_write(struct tx *state, const struct batch *list, uint32_t count);
