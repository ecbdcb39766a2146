#pragma once
// Cells of meters that are gone, deleted in slices.
//
//     purge_begin(&purge);                       // after a flush, which drops records of meters
//     while (purge.is_due)
//         purge_slice(&purge, state, &deleted, &error);      // one bounded transaction, or a look
//
// A meter is gone when state/ has no record of it (ledger/flush drops that of a meter that left the
// registry, and writes no cell of it from then on). Ids are never given twice, so what has no
// record is garbage: of a removed meter, of a former version of one, or of a purge that a crash cut
// short.
// All widths and zones; the distinct values that are kept beside a cell go with it.
// Thread: the one that writes the shard's state/.

#include "ledger/cell.h"
#include "ledger/lmdb_env.h"

struct purge {
    bool is_due;
    // The next place to look at.
    uint8_t width;
    uint16_t zone;
    uint32_t meter_id;
};

void purge_begin(struct purge *purge);
// STATUS_CORRUPT: a key is none of a cell.
enum status purge_slice(
    struct purge *purge, struct env *state, uint64_t *out_deleted, struct error *error) CHECKED;
