#pragma once
// Walks over stored cells that see when a damaged key hides a cell.
//
//     status = cells_seek(&walk, place, &more);
//     while (!status && more && is of the range)
//         cell_value_read(walk.key, walk.value, ...), more = walk_next(&walk);
//     if (more && !cell_is_whole(&walk)) it is damaged
//
// A cell whose key lost a bit lies where it lay before, under a name of something else: who looks
// for it finds the cell behind it and takes it for absent. But then the damaged one stands beside
// the place that was looked for, or where the walk ends, and its checksum covers its key. So it is
// enough to check, beside the cells that are used, the two between which a seek ends, and the one
// at which a walk ends. A seek that a damaged key led astray ends between two that the place is not
// between.
//
// Thread: the walk's.

#include "base/status.h"
#include "ledger/lmdb_env.h"

// Puts the walk on the first cell at or after the key; *out_more false: there is none.
// STATUS_CORRUPT: a cell may be hidden there; the walk's key is that of the damaged one, or, when a
// page is damaged, what was looked for.
enum status cells_seek(struct walk *walk, struct bytes key, bool *out_more) CHECKED;
// Whether the cell that the walk stands on is what was written.
bool cell_is_whole(const struct walk *walk);
