#pragma once
// Corrections in the log: what each means to the meters, and which entries they take out.
//
//     count = correction_parts(&entry, parts);    // of any entry: the events it brings or takes
//     for (i = 0; i < count; i++)
//         place.is_cancel = parts[i].is_cancel, fold(&parts[i].event, &place)
//
//     corrections_read(&corrections, log, first, last, from_ns, to_ns, &error);
//     if (corrections_have(&corrections, block, index)) pass over what the entry brings
//
// An event counts from its entry on. A cancel takes it out; an amend takes it out and brings it
// again, with another payload, at the amend's own place. What is corrected once more is the amend,
// not the event: so every correction takes out exactly one entry, which is repeated whole in it,
// and each entry is taken out at most once. Whoever adds and subtracts needs no more than that. Who
// cannot subtract (MIN, MAX, LATEST, UNIQUE_COUNT) passes over the entries that were taken out.
//
// Owner: the caller. Thread: one.

#include "base/buffer.h"
#include "base/status.h"
#include "ledger/entry.h"
#include "ledger/lmdb_env.h"

enum { CORRECTION_PARTS_MAX = 2 };

struct correction_part {
    struct entry event;  // of kind ENTRY_EVENT; views as in the entry
    bool is_cancel;      // it counts no more
};

// How many there are: none for cuts and batches.
uint32_t
correction_parts(const struct entry *entry, struct correction_part out[CORRECTION_PARTS_MAX]);

struct corrections {
    struct buffer places;  // of entries that were taken out, sorted
    uint32_t count;
};

// The entries that blocks [first, last] take out and whose times may lie in [from_ns, to_ns), or
// before INT64_MAX when that is to_ns. Blocks that retention deleted, also meanwhile, are passed
// over: they corrected nothing that is left. The list was zeroed.
enum status corrections_read(
    struct corrections *corrections,
    struct env *log,
    uint64_t first,
    uint64_t last,
    int64_t from_ns,
    int64_t to_ns,
    struct error *error) CHECKED;
// The same in pieces: blocks after those before, then sorted once, before anything is looked up.
enum status corrections_add(
    struct corrections *corrections,
    struct env *log,
    uint64_t first,
    uint64_t last,
    int64_t from_ns,
    int64_t to_ns,
    struct error *error) CHECKED;
void corrections_sort(struct corrections *corrections);
// The entries of that backfill batch that these blocks take out, whatever their times.
enum status corrections_read_batch(
    struct corrections *corrections,
    struct env *log,
    uint64_t first,
    uint64_t last,
    struct bytes batch,
    struct error *error) CHECKED;
// The block of what takes the entry out; 0: nothing does.
uint64_t corrections_find(const struct corrections *corrections, uint64_t block, uint32_t index);
bool corrections_have(const struct corrections *corrections, uint64_t block, uint32_t index);
void corrections_done(struct corrections *corrections);
