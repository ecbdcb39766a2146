#pragma once
// The identities of a shard that left memory: sorted runs on disk, gathered into generations, each
// with one filter.
//
//     generations_open(&options, &generations, &error);           // records, and filters
//     generations_append(generations, &seal, &error);             // a full table becomes a run
//     generations_step(generations, now_ns, &has_worked, &error); // merges, expires, deletes
//     view = generations_view(generations);       // what a writer may look up in
//     generations_adopted(generations, view->number);  // no older view is looked at any more
//
//   table -> run -> run -> ...   the youngest generation: runs are added to it, sixteen of about
//                                one size become one; its filter is in memory only
//   full: its runs are merged into one, whose filter is stored beside it
//   more than three full ones: the two neighbours that are smallest together become one
//   newest arrival before now - window: gone as a whole, oldest first
//
// The first takes sixteen tables (or what half of the budget has a filter for), the youngest a
// quarter of what the others hold (at least four tables), so that four filters answer and take two
// bytes an identity, about: twelve bits of what is full, sixteen of what there is room for.
// Filters are held newest first as long as they fit their budget; for the others every lookup goes
// to the disk: slower, never wrong.
//
//   STATE_DB_GENERATIONS  key    u32be number (ascending: older first)
//                         value  u64 checksum (of the key and what follows)  u64 capacity
//                                u64 to (last block of it)  i64 newest arrival
//                                u64 blocks of the stored filter (0: none)  u32 runs  u32 zero
//                                runs, oldest first: u32 run  u32 pages  u64 count  u64 last low
//                                u32 last high  u32 zero
//   STATE_DB_META         "dedup", "dedup_expired"
//
// Invariants: runs that no record names are nobody's, and are deleted. Every step is one
// transaction: a crash leaves what was before it or what was after it. Owner and only thread: the
// keeper (at start, who recovers the shard); views are read by the shard's writer.

#include "base/ring.h"
#include "ledger/id_table.h"
#include "ledger/runs.h"

enum { GENERATIONS_MAX = 16, GENERATION_RUNS_MAX = 32 };

struct generations;

struct generations_options {
    struct env *state;
    uint32_t hot_max;           // identities of a table, about
    uint64_t filter_bytes_max;  // the budget
    int64_t window_ns;
};

// A table that nobody adds to any more.
struct seal {
    struct id_table *table;
    uint64_t position;  // the last block whose identities are in it or before
    int64_t newest_arrival_ns;
    // Where the table goes, cleared, when nobody asks it any more: its owner is there as long as
    // views are adopted. NULL: it is closed.
    struct slot *spare;
};

struct generation {
    uint32_t number;
    uint32_t runs_count;
    uint64_t capacity;
    uint64_t to;
    int64_t newest_arrival_ns;
    uint64_t filter_blocks;                // stored with its only run; 0: none
    struct run runs[GENERATION_RUNS_MAX];  // oldest first
    struct filter *filter;                 // NULL: not held
};

// Immutable, but for what filters learn.
struct generations_view {
    uint64_t number;    // rises from 1
    uint64_t position;  // the runs hold the identities of the blocks up to here...
    uint64_t expired;   // ...but of the blocks up to here some may be gone
    uint64_t ids;
    uint64_t filter_bytes;
    uint64_t index_bytes;  // of where pages are
    uint32_t count;
    struct generation list[GENERATIONS_MAX];  // oldest first
    struct generations_view *older;
};

enum status generations_open(
    const struct generations_options *options,
    struct generations **out,
    struct error *error) CHECKED;
void generations_close(struct generations *generations);
// Owns the table from here on, and closes it when no view needs it. STATUS_BUSY: merges are behind;
// steps are needed first.
enum status generations_append(
    struct generations *generations, const struct seal *seal, struct error *error) CHECKED;
// One step of what there is to do. out_has_worked false: nothing, until time passes or a run comes.
enum status generations_step(
    struct generations *generations,
    int64_t now_ns,
    bool *out_has_worked,
    struct error *error) CHECKED;
// The newest. Valid until a newer one is adopted.
struct generations_view *generations_view(const struct generations *generations);
void generations_adopted(struct generations *generations, uint64_t number);

// A record as it is stored, for readers too. False: it is damaged.
bool generation_read(struct bytes key, struct bytes value, struct generation *out) CHECKED;
uint64_t generation_count(const struct generation *generation);
