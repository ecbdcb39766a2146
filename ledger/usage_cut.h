#pragma once
// Where a cut lies in a shard's log, for readers: in state/ when it is flushed, else in the tail.
//
//     usage_cut_find(&view, 3, &cut, &error);
//     // usage at the cut: cells of epochs below 3, blocks before cut.block
//
// Owner: values. Thread: any.

#include "ledger/cuts.h"
#include "ledger/shard_view.h"

// STATUS_NOT_FOUND: the shard has no cut of this number (no shard may have it, or a process died
// between two shards): nothing can be read at it.
enum status usage_cut_find(
    const struct shard_view *view, uint32_t number, struct cut *out, struct error *error) CHECKED;
