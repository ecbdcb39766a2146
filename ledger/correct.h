#pragma once
// Takes an event out, or gives it another payload: who asks names it by its identity.
//
//     const struct correction correction = {.kind = ENTRY_CANCEL, .subject = s, .id = id,
//                                           .who = w, .why = y};
//     ledger_correct(ledger, &correction, &block, &error);
//
// What counts now is looked for in the log from its end back, on the caller's thread, beside the
// writer: the last entry of the identity is the event, or its last amend, or a cancel. Nothing can
// come between that and the order to the writer, since an identity is stored once and changes come
// one at a time. With the event's time only blocks that may hold it are read.
//
// The correction repeats what it takes out, so that it can be folded wherever it is met. An
// identity stays known: a resend of a cancelled event is a duplicate.
// Owner: values. Thread: ledger_correct on any; it waits.

#include "base/decimal.h"
#include "ledger/entry.h"

struct ledger;

struct correction {
    enum entry_kind kind;              // ENTRY_CANCEL or ENTRY_AMEND
    struct bytes subject, source, id;  // the event's; subject and id not empty
    bool has_time;
    int64_t time_ns;        // the event's
    struct bytes who, why;  // both required: at most ENTRY_WHO_MAX and ENTRY_WHY_MAX bytes
    // An amend changes one or both, and keeps the rest.
    bool has_value;
    struct decimal value;
    bool has_properties;
    uint32_t properties_count;
    struct bytes properties;  // msgpack pairs
};

// Why it is no correction that anybody could make; NULL: it is one.
const char *correction_fault(const struct correction *correction);
// Durable when it returns STATUS_OK; *out_block is where it lies in its shard's log.
// STATUS_NOT_FOUND: no such event. STATUS_EXISTS: it is cancelled already. STATUS_INVALID: a fault.
// What a failed writer says.
enum status ledger_correct(
    struct ledger *ledger,
    const struct correction *correction,
    uint64_t *out_block,
    struct error *error) CHECKED;
