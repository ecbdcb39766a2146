#pragma once
// The bound on dimension groups: a window of a subject and a meter with more of them keeps one
// total instead, with CELL_CAPPED, of which the groups are in the log.
//
//     struct crowd crowd = {.tx = &tx, .groups_max = 1000, .error = &error};
//     // ...groups of the window that were not there were written...
//     crowd_settle(&crowd, AGGREGATION_SUM, &key);     // any cell's key of window and subject
//     crowd_done(&crowd);
//
// The rule: a derived window (an hour, a day, a month, those of zones) is capped when the cells
// folded into it, of all epochs, have more than groups_max different groups. A group that was seen
// stays, whatever is cancelled of it, and a window has all groups of the finer ones in it: so what
// is capped stays capped, the days and months of a capped hour are capped too, and neither the
// order of events nor the moments of flushes matter. Quarter hours keep all groups as long as they
// are kept.
//
// The total lies where the group of no dimensions would: its group hash is zero, so it is the first
// of the subject's cells. Groups that come later are written beside it, and settled again, in the
// same transaction. Owner: the caller. Thread: the one that writes the shard's state/.

#include "ledger/sources.h"

struct crowd {
    struct tx *tx;
    uint32_t groups_max;  // 0: no bound
    uint64_t capped;      // windows of a subject that lost their groups
    struct error *error;
    struct sources sources;
    struct buffer keys;  // of the cells that go: u16 size, bytes
};

// Whether the hash is that of a total, in a meter with dimensions.
static inline bool
crowd_is_total(struct hash128 group)
{
    return group.low == 0 && group.high == 0;
}

// Whether the window has a total of the key's subject in this transaction. The meter has
// dimensions.
bool crowd_is_capped(struct tx *state, const struct cell_key *key);
// STATUS_CORRUPT: a cell of the window is damaged, by name.
enum status
crowd_settle(struct crowd *crowd, enum aggregation aggregation, const struct cell_key *key) CHECKED;
void crowd_done(struct crowd *crowd);
