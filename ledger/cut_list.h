#pragma once
// All cuts of a ledger, for people and tools: beside a running tallyd or without one.
//
//     cut_list(reader, &arena, &rows, &count, &error);
//     for (i = 0; i < count; i++) use(&rows[i]);               // by number
//
// Usage can be asked at those alone that every shard has. Owner: rows in the arena. Thread: the
// reader's.

#include "ledger/usage.h"

struct cut_row {
    uint32_t number;
    int64_t time_s;    // windows that end then or before are sealed
    int64_t made_ns;   // 0: its block is gone
    bool is_complete;  // every shard has it; else its making was interrupted
};

// STATUS_CORRUPT: a record or a block is damaged.
enum status cut_list(
    struct reader *reader,
    struct arena *arena,
    struct cut_row **out_rows,
    uint32_t *out_count,
    struct error *error) CHECKED;
