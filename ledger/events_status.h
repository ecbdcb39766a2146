#pragma once
// What became of the events of a page: corrections lie behind them in the log.
//
//     events_status_find(view, rows, count, &error);       // of one shard, in the page's order
//
// Every header behind the first of the rows' blocks is looked at; a block is read when it has
// corrections of the rows' times. Thread: one.

#include "ledger/events.h"
#include "ledger/shard_view.h"

// Sets the status of those rows that are of the view's shard. STATUS_CORRUPT: a block is damaged.
enum status events_status_find(
    const struct shard_view *view,
    struct events_row *rows,
    size_t count,
    struct error *error) CHECKED;
