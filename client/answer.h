#pragma once
// The server's answer to a chunk: {"ack": chunk, "duplicates": n, "rejected": [[index, reason],
// ...], "conflicts": [index, ...]} (DESIGN section 5), and "rejected_count" or "conflicts_count"
// when that list was cut. Every key but ack may be absent; unknown keys are passed over.
//
//     struct answer answer;
//     if (answer_read(message, &answer)) while (answer_next_rejected(&answer, &index, &reason)) ...
//
// The bytes are untrusted; views point into them. Values. Thread: any.

#include "base/bytes.h"

struct answer {
    struct bytes chunk;
    uint64_t duplicates;
    uint64_t rejected_count;  // all of them, when the list was cut; else 0
    uint64_t conflicts_count;
    struct cursor rejected;
    uint32_t rejected_left;
    struct cursor conflicts;
    uint32_t conflicts_left;
};

// False: no map with an ack, or a known key with a value of another form.
bool answer_read(struct bytes message, struct answer *out);
// Each gives the next one, and false after the last.
bool answer_next_rejected(struct answer *answer, uint64_t *out_index, struct bytes *out_reason);
bool answer_next_conflict(struct answer *answer, uint64_t *out_index);
