#pragma once
// Which cells answer a range: the widest there are, finer ones at the edges, and the log for what
// no cell has.
//
//     const struct cover_question question = {.from_s = a, .to_s = b, .within = &day};
//     struct cover cover = cover_make(&horizons, &question, &arena);
//     for (i = 0; i < cover.count; i++)
//         cover.pieces[i]: windows of .kind that start in [from_s, to_s), or the log
//
// Pieces follow each other without gap from from_s to to_s. No window of a piece crosses the end of
// one of the windows that the question groups by. Pure: horizons and question decide. Thread: any.

#include "base/arena.h"
#include "ledger/horizon.h"

struct cover_question {
    int64_t from_s, to_s;              // on quarter hours, 0 <= from_s <= to_s
    const struct window_kind *within;  // the windows of the answer; NULL: one for the whole range
    uint16_t zone_number;              // days and months of this zone may serve; 0: UTC alone
    bool is_narrow;                    // hours and quarter hours, where there are some
};

struct cover_piece {
    bool is_log;
    struct window_kind kind;  // unless is_log
    int64_t from_s, to_s;
};

struct cover {
    struct cover_piece *pieces;  // in the arena
    uint32_t count;
};

struct cover cover_make(
    const struct horizons *horizons, const struct cover_question *question, struct arena *arena);
