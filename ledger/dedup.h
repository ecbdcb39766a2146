#pragma once
// The identities of a shard's log, and what each one's payload was: who is known is a duplicate or
// a conflict.
//
//     dedup_prefetch(dedup, identity);                    // some events ahead
//     switch (dedup_find(dedup, identity, payload)) ...
//     case DEDUP_NEW: dedup_add(dedup, identity, payload);
//
// 96 bits of the identity and the 32-bit payload hash per entry. Nothing is ever removed: the table
// holds every identity of the log (rebuilt from it at start), so "known" has no expiry. It is cut
// into many small tables by the identity's top bits, each of which doubles on its own, so that
// growth never stops the writer for long. Running out of memory stops the process with a message.
// Owner and only thread: the shard's writer (at start, the thread that recovers the shard).

#include "base/hash.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct dedup;

enum dedup_result { DEDUP_NEW, DEDUP_SAME, DEDUP_DIFFERENT };

// 2^tables_bits tables: 10 stops the writer for about a millisecond at 100 million identities; each
// table takes at least a page and a mapping of its own (the kernel allows 65,530 mappings per
// process). At most 16. NULL: no memory.
struct dedup *dedup_open(uint32_t tables_bits);
void dedup_close(struct dedup *dedup);
void dedup_prefetch(const struct dedup *dedup, struct hash128 identity);
enum dedup_result dedup_find(const struct dedup *dedup, struct hash128 identity, uint32_t payload);
// The identity must be new.
void dedup_add(struct dedup *dedup, struct hash128 identity, uint32_t payload);
uint64_t dedup_count(const struct dedup *dedup);
uint64_t dedup_bytes(const struct dedup *dedup);
