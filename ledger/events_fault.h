#pragma once
// What the meters say against an event.
//
//     text = events_fault(set, &entry, &arena);     // NULL: nothing
//
// Thread: any.

#include "ledger/fold.h"

const char *
events_fault(const struct meter_set *set, const struct entry *entry, struct arena *arena);
