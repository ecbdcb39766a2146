#pragma once
// Where the pages of a run are: a lookup in it goes straight to its page, without a search in the
// tree of LMDB, which was the larger half of what it cost.
//
//     struct run_index *index = run_index_open(pages_max);       // NULL: no memory
//     run_index_add(index, last_low, at);                        // in their order
//     at = run_index_find(index, low);                           // NULL: it does not know
//     run_index_close(index);
//
// 16 bytes a page of 253 identities. It is a hint: what is found by it is checked as every page is,
// and the tree has the last word. Identities are hashes, so that a page's place among the others
// can nearly be told from where its identities lie among all.
// Owner: who made it; the generations', as long as a view names the run. Thread: once made nobody
// changes it, and any thread may read.

#include <stddef.h>
#include <stdint.h>

struct run_index;

struct run_index *run_index_open(uint32_t pages_max);
// NULL is accepted.
void run_index_close(struct run_index *index);
// last_low: of the page's last identity, not less than that of the page before. at: where its value
// is, NULL: not to be told.
void run_index_add(struct run_index *index, uint64_t last_low, const uint8_t *at);
const uint8_t *run_index_find(const struct run_index *index, uint64_t low);
size_t run_index_bytes(const struct run_index *index);
