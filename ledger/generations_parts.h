#pragma once
// Inside the generations: what ledger/generations.c (records, views, appending) and
// ledger/generations_step.c (merging, expiring, deleting) share.
//
//     generations_retire(generations, (struct retired){.run = number});
//     generations_fit_filters(generations, &error);
//     generations_publish(generations, &error);
//
// Owner and thread: as ledger/generations.h.

#include "base/buffer.h"
#include "ledger/generations.h"
#include "ledger/merge.h"

// Something that a view before this number may still need.
struct retired {
    uint64_t view;
    uint32_t run;  // to be deleted from the disk; 0: none
    struct run_index *index;
    struct filter *filter;
    struct id_table *table;
    struct slot *spare;  // of the table's seal
};

struct generations {
    struct generations_options options;
    uint64_t position;
    uint64_t expired;
    uint64_t adopted;
    uint32_t run_next;
    uint32_t generation_next;
    uint32_t count;
    struct generation list[GENERATIONS_MAX];  // oldest first
    struct generations_view *view;            // the newest; older ones behind it
    struct buffer retired;                    // of struct retired
    struct merge *merge;                      // NULL: none is running
    uint32_t merge_first, merge_last;         // numbers of the generations it takes
    uint32_t merge_from, merge_to;            // of the last of these: its runs [from, to)
    uint64_t merge_blocks;
};

void generation_put(struct tx *tx, const struct generation *generation);
void generation_delete(struct tx *tx, uint32_t number);
bool generation_is_full(const struct generation *generation);
enum status generations_publish(struct generations *generations, struct error *error) CHECKED;
enum status generations_fit_filters(struct generations *generations, struct error *error) CHECKED;
void generations_retire(struct generations *generations, struct retired retired);
