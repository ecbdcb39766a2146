#pragma once
// Several sorted runs into one, in slices: each slice is a transaction of its own, so that nobody
// waits for a merge. What a crash leaves of it belongs to no generation, and is deleted at the next
// start.
//
//     struct merge *merge = merge_open(&(struct merge_options){.inputs = runs, ...});
//     while (!is_done) {
//         struct tx tx = tx_write(state);
//         merge_slice(merge, &tx, pages_max, &is_done, &error);
//         if (is_done) merge_end(merge, &tx, &run);        // its last page, and its filter's
//         tx_commit(&tx, &error);
//     }
//     merge_close(merge);
//
// Of an identity that is in several runs the newest entry wins. The filter is written as the order
// passes its blocks; of both only a part is in memory. Thread: the one that writes state/.

#include "ledger/runs.h"

enum { MERGE_INPUTS_MAX = 64 };

struct merge_options {
    const struct run *inputs;  // oldest first; copied
    uint32_t inputs_count;
    uint32_t number;         // of the new run
    uint64_t filter_blocks;  // of the filter that is stored with it; 0: none
    bool drops_freed;        // nothing older is left that a freed identity would hide
};

struct merge;

// NULL: no memory.
struct merge *merge_open(const struct merge_options *options);
void merge_close(struct merge *merge);
// Writes about pages_max pages, at most 64 more. STATUS_CORRUPT: a page of an input, by name.
enum status merge_slice(
    struct merge *merge,
    struct tx *tx,
    uint32_t pages_max,
    bool *out_is_done,
    struct error *error) CHECKED;
void merge_end(struct merge *merge, struct tx *tx, struct run *out);
