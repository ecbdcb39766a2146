#pragma once
// Thresholds that fired, for good: an environment of each shard beside log/ and state/.
//
//     fired_open(dir, shard, map_size, &env, &error);      // the writer: made when it is missing
//     fired_open_view(dir, shard, &env, &error);           // a reader; NULL: nothing ever fired
//     fired_is(&tx, id, from_s, subject)           // has it, for this subject and period?
//     fired_put(&tx, &one, &error);                // gives it the next sequence number
//     fired_list(&tx, since, 100, &arena, &list, &count, &error);
//
//   key  'M' u32be threshold id  u64be period's start  subject
//        value  u64 sequence  u64 checksum
//   key  'S' u64be sequence
//        value  u64 checksum (seeded by that of the key)  u32 threshold id  i64 period's start
//               u64 block  i64 time  32 bytes value  subject
//
// Sequence numbers are the shard's and rise from 1 without gaps. A mark is shown when it is
// durable, and never taken back, so that a reader who asks for what came since the last number it
// saw gets each mark once. Marks are not made of the log again, they say that somebody was told: so
// they lie outside of state/, which can be dropped. They stay for good: a backfill may come for any
// period. Where they are missing (a restored backup has
// none) thresholds fire once more.
// Owner: who has the transaction.

#include "base/wide.h"
#include "ledger/cell.h"
#include "ledger/lmdb_env.h"

enum { FIRED_DB };

enum status fired_open(
    const char *dir,
    uint32_t shard,
    uint64_t map_size,
    struct env **out,
    struct error *error) CHECKED;
enum status
fired_open_view(const char *dir, uint32_t shard, struct env **out, struct error *error) CHECKED;

struct fired {
    uint64_t sequence;  // given by fired_put
    uint32_t threshold_id;
    int64_t from_s;  // of the period
    uint64_t block;  // of the event that it fired with
    int64_t time_ns;
    struct wide value;  // in units of 10^-18
    struct bytes subject;
};

// A damaged mark is none: who is told twice knows more than who is never told.
bool fired_is(struct tx *tx, uint32_t threshold_id, int64_t from_s, struct bytes subject);
// Whether its mark says that this is the one.
bool fired_is_marked(struct tx *tx, const struct fired *one);
enum status fired_put(struct tx *tx, const struct fired *one, struct error *error) CHECKED;
// The next at most max after number `since`, in order, in the arena. STATUS_CORRUPT: one is
// damaged, or missing.
enum status fired_list(
    struct tx *tx,
    uint64_t since,
    uint32_t max,
    struct arena *arena,
    struct fired **out,
    uint32_t *out_count,
    struct error *error) CHECKED;
