#pragma once
// The cells of one shard that are folded but not yet on disk: deltas since the last flush.
//
//     cells_add(cells, &step);                              // the writer, once per event and meter
//     cells_each_of(cells, meter_id, subject, from, to, use, context);
//     cells_each_sorted(cells, use, context);               // flush: in key order
//     cells_clear(cells);
//
// Two hash tables over one store: cell by key, and series (meter, subject) -> its cells, so that a
// question about one subject touches nothing else. Keys and group values are copied into the store;
// no allocation per event once warm. Running out of memory stops the process with a message. Owner
// and only thread: the shard's writer.

#include "ledger/cell.h"
#include "ledger/fold.h"

struct cells;

struct cells *cells_open(void);
void cells_close(struct cells *cells);
void cells_add(struct cells *cells, const struct fold_step *step);
size_t cells_count(const struct cells *cells);
size_t cells_bytes(const struct cells *cells);
void cells_clear(struct cells *cells);

struct cell_view {
    struct cell_key key;
    const struct cell_group *group;
    const struct cell_state *state;
};
// False stops.
typedef bool (*cell_view_fn)(void *context, const struct cell_view *cell);

// Cells of one subject with from <= window < to, in no particular order.
void cells_each_of(
    const struct cells *cells,
    uint32_t meter_id,
    struct bytes subject,
    int64_t from_window,
    int64_t to_window,
    cell_view_fn use,
    void *context);
// Cells of all subjects of a meter.
void cells_each_meter(
    const struct cells *cells,
    uint32_t meter_id,
    int64_t from_window,
    int64_t to_window,
    cell_view_fn use,
    void *context);
// Every cell in the order of its key on disk.
void cells_each_sorted(const struct cells *cells, cell_view_fn use, void *context);
