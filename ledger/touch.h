#pragma once
// Memory of identities that is touched ahead of its use, on another thread: who writes it first
// waits until the kernel has found and cleared it (2.6 ns a byte on a virtual machine whose host
// has to find it, too), which came to 150 ms in one group when a table of 4 Mi identities was new.
//
//     writer:  touch = dedup_touch(dedup);
//              if (touch != NULL && keeper_offer_touch(&keeper, touch)) dedup_touched(dedup);
//     keeper:  touch_do(touch);
//
// Owner: dedup. Thread: the writer's until it is offered, the keeper's from then on.

#include "base/ring.h"
#include "ledger/id_table.h"

struct touch {
    struct id_table *table;
    uint32_t entries;
    bool has_buckets;
    struct slot *spare;  // where a new table goes then; NULL: it is used already
};

void touch_do(const struct touch *touch);
// Of what is not to be done any more.
void touch_drop(const struct touch *touch);
