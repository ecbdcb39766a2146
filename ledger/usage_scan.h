#pragma once
// The two sources of an answer on disk: cells of a state snapshot, and blocks of the log.
//
//     usage_scan_cells(&scan, &state, &error);     // STATUS_BUSY: a flush came in between
//     usage_scan_log(&scan, first, last, &error);  // blocks never change: any moment will do
//
// Read transactions last half a second, then start again on the newest state (DESIGN section 6).
// Thread: one.

#include "ledger/shard_view.h"
#include "ledger/usage_rows.h"

struct usage_scan {
    const struct usage_plan *plan;
    const struct shard_view *view;
    struct usage_rows *rows;
    uint64_t position;    // the cells' position when the question began
    uint64_t cut_block;   // blocks from here on do not belong to the answer; 0: all do
    bool holds_snapshot;  // too many flushes came in between: keep this snapshot to its end
};

// Adds the cells of the plan's meter, subjects and range, or stops early when the rows need the
// log.
enum status
usage_scan_cells(const struct usage_scan *scan, struct tx *state, struct error *error) CHECKED;
// Adds the events of blocks [first, last]; nothing when first > last.
enum status usage_scan_log(
    const struct usage_scan *scan, uint64_t first, uint64_t last, struct error *error) CHECKED;
