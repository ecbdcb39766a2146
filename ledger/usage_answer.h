#pragma once
// How one shard answers a usage query: what its cells on disk, tallyd's memory and its log give
// together. What usage and usage_totals share.
//
// With a state snapshot at position P, and L the first block that the meter's cells cover:
//
//   off the quarter hours, or L unknown:        log [1, head]
//   cells lie across the answer's windows:      log [1, head]
//   tallyd answers, its flushed == P and L:     cells(P) + its cells + log [1, its L)
//   tallyd answers, a flush came in between:    again, on a new snapshot
//   tallyd is away (or busy, or has too many):  cells(P) + log [max(L, P + 1), head] + log [1, L)
//
// What is touched (ledger/usage_touched.h) is left out of all but the first and read from log
// [1, head]; when something more turns out to be, the answer is tried again.
//
// A meter that was never flushed has no L on disk and no cells there. While older blocks are folded
// for it (ledger/meter_rebuild), tallyd's L is below that on disk, and a flush may lower L while P
// stands still: the snapshot is told by both.
//
// Each is the fold of a prefix of the shard's log that holds every event acked before the question:
// the head is taken after the snapshot, and tallyd answers between two groups. The log alone is
// always right; the rest is there for speed.
//
//     usage_answer_shard(reader, &plan, shard, &rows, &error);
//
// Owner: the reader's. Thread: the reader's.

#include "ledger/memory.h"
#include "ledger/usage_scan.h"

struct reader {
    struct arena arena;  // dir
    const char *dir;
    uint32_t shards;
    struct registry *registry;
    struct shard_view *views;
    struct memory_client *client;  // NULL: not connected
    struct zone *zone;             // the last one that was asked for, or NULL
};

// The reader's until the next call; NULL for UTC. STATUS_NOT_FOUND and others: see base/zone.h.
enum status reader_zone(
    struct reader *reader, const char *name, const struct zone **out, struct error *error) CHECKED;

// One shard's part of an answer.
struct shard_answer {
    struct reader *reader;
    struct usage_scan scan;
    bool may_ask;                  // whether tallyd is still worth asking
    bool needs_log;                // the cells were tried, and cannot answer
    struct usage_touched touched;  // found so far, by all attempts
};

// What is left to read once memory has answered.
struct usage_rest {
    bool has_cells;      // those of the snapshot belong to the answer
    uint64_t old_until;  // log [1, old_until): older than the meter's cells
    uint64_t tail_from;  // log [tail_from, head]; 0: nothing
    uint64_t head;       // where memory's answer ends; 0: the log's end
};

// Fills rows, whose arena is emptied before each attempt, with one shard's part of the answer.
enum status usage_answer_shard(
    struct reader *reader,
    const struct usage_plan *plan,
    uint32_t shard,
    struct usage_rows *rows,
    struct error *error) CHECKED;

// Whether every shard has the cut, also those that the query does not ask; 0: none is needed.
enum status
usage_answer_has_cut(struct reader *reader, uint32_t number, struct error *error) CHECKED;
// Finds the plan's cut in the shard's log, once, before the steps below. Errors: see usage.h.
enum status usage_answer_cut(struct shard_answer *answer, struct error *error) CHECKED;
// Its steps, for who walks the cells on disk himself. Sets the answer's position.
enum status usage_answer_snapshot(
    struct shard_answer *answer,
    struct tx *state,
    uint64_t *out_live_from,
    struct error *error) CHECKED;
// Adds what tallyd has in memory. STATUS_BUSY: the cells were flushed since the snapshot.
enum status usage_answer_memory(
    struct shard_answer *answer,
    uint64_t live_from,
    struct usage_rest *out,
    struct error *error) CHECKED;
enum status usage_answer_log(
    struct shard_answer *answer, const struct usage_rest *rest, struct error *error) CHECKED;
