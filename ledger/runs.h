#pragma once
// Sorted runs of identities in a shard's state/, and the filters that belong to them.
//
//     struct run_writer out = run_writer_begin(number, ids_max);
//     run_put(&out, &tx, fingerprint);                       // ascending
//     run_end(&out, &tx, &run);                              // the last page, and what it became
//     run_learn(&tx, &run, &error);                          // where its pages are
//     run_find(&tx, &run, fingerprint, &payload, &error);    // one page is read and checked
//     struct run_reader in; run_reader_open(&in, &tx, &run, after, &error);
//     while (run_next(&in, &fingerprint, &error)) ...
//
//   STATE_DB_RUNS     key    u32be run  u64be low  u32be high (of the page's last identity)
//                     value  u64 checksum (of the key and what follows)
//                            u64 low  u32 high of the page before's last identity (0: the first)
//                            u32 count   count x (u64 low  u32 high  u32 payload)
//   STATE_DB_FILTERS  key    u32be run  u32be part
//                     value  u64 checksum (likewise)  blocks of 64 bytes, 16,383 in all but the
//                            last part
//
// A full page is 4,072 bytes: with its header one page of LMDB. Since a page says which stretch of
// the order it covers, and the run its last identity, a page that is missing is seen, not taken for
// "unknown". Every page is checked against its checksum whenever it is read. Thread: whose
// transaction it is.

#include "ledger/filter.h"
#include "ledger/lmdb_env.h"
#include "ledger/run_index.h"

enum { RUN_PAGE_IDS = 253, RUN_KEY_SIZE = 16, FILTER_PART_BLOCKS = 16383 };

struct run {
    uint32_t number;  // from 1, never used twice while anything of it is there
    uint32_t pages;
    uint64_t count;
    struct fingerprint last;
    struct run_index *index;  // NULL: its pages are found by the tree
};

struct run_writer {
    struct run run;
    uint32_t page_count;
    struct fingerprint before;  // the last one of the page before
    struct fingerprint page[RUN_PAGE_IDS];
};

struct run_writer run_writer_begin(uint32_t number);
void run_put(struct run_writer *writer, struct tx *tx, struct fingerprint fingerprint);
void run_end(struct run_writer *writer, struct tx *tx, struct run *out);

// out_payload 0 (PAYLOAD_FREED): known as freed. STATUS_NOT_FOUND (error untouched): it is not in
// this run. STATUS_CORRUPT: a page is damaged or missing, by name.
enum status run_find(
    struct tx *tx,
    const struct run *run,
    struct fingerprint fingerprint,
    uint32_t *out_payload,
    struct error *error) CHECKED;

// Learns where the pages are, which are all there: run->index, NULL when there is no memory for it.
enum status run_learn(struct tx *tx, struct run *run, struct error *error) CHECKED;

struct run_reader {
    struct run run;
    struct walk walk;
    const uint8_t *page;  // its entries
    uint32_t page_count, page_index;
    uint64_t seen;
    struct fingerprint last;
    bool has_page;
    bool is_open;
    enum status status;
};

// after: the last identity that was read already, NULL: from the start. Views end with the
// transaction, which must not write.
void run_reader_open(
    struct run_reader *reader,
    struct tx *tx,
    const struct run *run,
    const struct fingerprint *after,
    struct error *error);
void run_reader_done(struct run_reader *reader);
// False: the end, or reader->status says what is damaged.
bool run_next(struct run_reader *reader, struct fingerprint *out, struct error *error);
// By pages, beside run_next or instead of it. False: as run_next; else there are entries up to
// out_last that were not read yet.
bool run_page(struct run_reader *reader, struct fingerprint *out_last, struct error *error);
// Those of them that are not beyond the limit. Returns how many, at most RUN_PAGE_IDS.
uint32_t run_take(
    struct run_reader *reader,
    struct fingerprint limit,
    struct fingerprint *out,
    struct error *error);

// Deletes at most pages_max pages (and as many parts of the filter) of the run. True: nothing is
// left.
bool run_delete(struct tx *tx, uint32_t number, uint32_t pages_max);
// The first run from number on of which a page or a part is there; 0: none.
uint32_t run_seek(struct tx *tx, uint32_t number);

void filter_part_put(
    struct tx *tx, uint32_t run, uint32_t part, const void *blocks, uint64_t blocks_count);
// A filter as it was stored. STATUS_CORRUPT: by name.
enum status filter_read(
    struct tx *tx,
    uint32_t run,
    uint64_t blocks_count,
    struct filter **out,
    struct error *error) CHECKED;
