#pragma once
// The identities of a shard's log, and what each one's payload was: who is known is a duplicate or
// a conflict.
//
//     dedup_prefetch(dedup, identity);                    // some events ahead
//     switch (dedup_take(dedup, identity, payload, is_welcome)) ...     // or, in two steps:
//     if (dedup_find(dedup, identity, payload) == DEDUP_NEW) dedup_add(dedup, identity, payload);
//     dedup_rest(dedup);                                  // the group is judged
//     if (dedup_wants_seal(dedup)) offer(dedup_seal(dedup, head, arrival_ns));   // after a commit
//     dedup_adopt(dedup, view);                           // the keeper has written it
//
//   hot table     the newest, 4 Mi of all shards by default; full at the end of a block: sealed
//   sealed table  while the keeper writes it to state/; still looked up; then filled again
//   generations   what is on disk, behind filters (ledger/generations.h)
//
// They are asked in this order, and the first that knows the identity is right: so a freed identity
// hides what older ones know. 96 bits of the identity and the 32-bit payload hash are kept. Who
// comes back after the window may be new again. Owner and only thread: the shard's writer (at
// start, the thread that recovers the shard).

#include "ledger/generations.h"
#include "ledger/touch.h"

struct dedup;

enum dedup_result {
    DEDUP_NEW,
    DEDUP_SAME,
    DEDUP_DIFFERENT,
    DEDUP_FAILED,  // dedup_error says why; nothing may be concluded
};

struct dedup_options {
    struct env *state;   // where the runs are
    uint32_t hot_max;    // identities after which the table is sealed
    uint32_t group_max;  // identities that may be added after has_room said yes
};

// NULL: no memory.
struct dedup *dedup_open(const struct dedup_options *options);
void dedup_close(struct dedup *dedup);
void dedup_prefetch(const struct dedup *dedup, struct hash128 identity);
enum dedup_result dedup_find(struct dedup *dedup, struct hash128 identity, uint32_t payload);
const struct error *dedup_error(const struct dedup *dedup);
// What was found new.
void dedup_add(struct dedup *dedup, struct hash128 identity, uint32_t payload);
// Both at once, by one lookup of the hot table: a new one is added if it is welcome.
enum dedup_result
dedup_take(struct dedup *dedup, struct hash128 identity, uint32_t payload, bool is_welcome);
// Whoever comes with this identity next is new.
void dedup_free(struct dedup *dedup, struct hash128 identity);
// Ends the snapshot that lookups on disk share. Before every pause.
void dedup_rest(struct dedup *dedup);

// False: a group has to wait until the keeper has written the sealed table.
bool dedup_has_room(const struct dedup *dedup);
// A sealed table is not on disk yet.
bool dedup_is_sealed(const struct dedup *dedup);
// The hot table is full, and no other one is sealed.
bool dedup_wants_seal(const struct dedup *dedup);
// The hot table, for generations_append; a new one takes its place. position: the last block whose
// identities were added. NULL: no memory. The seal stays as long as dedup.
struct seal *dedup_seal(struct dedup *dedup, uint64_t position, int64_t newest_arrival_ns);
// From here on this view is asked, and no older one. The sealed table is forgotten when the view
// has it.
void dedup_adopt(struct dedup *dedup, const struct generations_view *view);
// Identities of blocks up to here are in the runs of the view that is asked.
uint64_t dedup_position(const struct dedup *dedup);
// Identities of blocks up to here may have been forgotten again.
uint64_t dedup_expired(const struct dedup *dedup);

// What the keeper is to touch ahead of the writer; NULL: nothing at the moment. It is asked for
// until dedup_touched says that it was handed over.
struct touch *dedup_touch(struct dedup *dedup);
void dedup_touched(struct dedup *dedup);

struct dedup_stat {
    uint64_t ids;     // known, in memory and on disk
    uint64_t bytes;   // of tables and filters
    uint64_t probes;  // lookups on disk since the start
    uint32_t generations;
};
struct dedup_stat dedup_stat(const struct dedup *dedup);
