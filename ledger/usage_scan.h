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
    uint64_t live_from;   // the first block that the meter's cells covered then
    bool is_narrow;       // days and months lack the groups asked for: finer cells, while kept
    bool holds_snapshot;  // too many flushes came in between: keep this snapshot to its end
};

// Adds the cells of the plan's meter, subjects and range, or stops early when the rows need the
// log.
enum status
usage_scan_cells(const struct usage_scan *scan, struct tx *state, struct error *error) CHECKED;

// What of the plan a run over the log is to answer, beside its rows' touched stretches.
enum usage_part {
    USAGE_ALL,        // everything, whatever is touched
    USAGE_UNTOUCHED,  // what is not touched; what these blocks take out of others is from then on
    USAGE_TOUCHED,    // only what is
};

struct usage_blocks {
    uint64_t first, last;
    uint64_t head;  // the last block of the answer: corrections up to here count
    enum usage_part part;
};

// Adds the events of the blocks; nothing when first > last.
enum status usage_scan_log(
    const struct usage_scan *scan, const struct usage_blocks *blocks, struct error *error) CHECKED;
