#pragma once
// What is certainly not among many identities: one bit in each of eight words of one cache line.
//
//     struct filter *filter = filter_open(filter_blocks(ids));
//     filter_add(filter, fingerprint);
//     filter_prefetch(filter, fingerprint);              // some events ahead
//     if (filter_has(filter, fingerprint)) look it up    // one in two hundred for nothing
//
// 12 bits an identity. The block follows from the upper half of the fingerprint's low word, so in
// the order of a sorted run blocks come one after another: a merge makes a filter as it goes
// (filter_mark), and a filter is stored in parts. Threads: one adds while another asks; a filter
// may say no to what is just being added, never to what was added before the two last met.

#include "ledger/id_table.h"

enum { FILTER_WORDS = 8, FILTER_BLOCK_SIZE = 64, FILTER_BITS_PER_ID = 12 };

struct filter;

uint64_t filter_blocks(uint64_t ids);
uint64_t filter_block_of(uint64_t blocks, struct fingerprint fingerprint);
// Into a block that only one thread knows.
void filter_mark(uint64_t words[FILTER_WORDS], struct fingerprint fingerprint);

// NULL: no memory.
struct filter *filter_open(uint64_t blocks);
void filter_close(struct filter *filter);
void filter_add(struct filter *filter, struct fingerprint fingerprint);
// Before anybody asks it: count blocks from first on.
void filter_load(struct filter *filter, uint64_t first, const void *blocks, uint64_t count);
void filter_prefetch(const struct filter *filter, struct fingerprint fingerprint);
bool filter_has(const struct filter *filter, struct fingerprint fingerprint);
uint64_t filter_bytes(const struct filter *filter);
