#pragma once
// The corrections of events, newest first, a page at a time: who changed what, and why.
//
//     struct audit_query query = AUDIT_ALL;
//     do {
//         audit_list(reader, &query, &arena, &page, &error);
//         for (i = 0; i < page.count; i++) use(&page.rows[i]);
//     } while (page.has_more && (query.has_after = true, query.after = page.rows[i - 1].place, 1));
//
// Order: by when they were made, the latest first; of the same moment by shard, block and index,
// the greatest first. So a page does not change when others are made. What a revert of a backfill
// takes out is not listed (ledger/backfill_list.h has the backfill). Every header of the log is
// looked at, and the blocks that have corrections are read. Owner: reader by who opened it; rows in
// the arena. Thread: the reader's.

#include "ledger/entry.h"
#include "ledger/usage.h"

enum { AUDIT_LIMIT_MAX = 1000 };

struct audit_place {
    int64_t made_ns;  // when its block was written
    uint32_t shard;
    uint64_t block;
    uint32_t index;
};

struct audit_query {
    struct bytes subject;    // size 0: all
    int64_t from_ns, to_ns;  // when they were made, half-open; INT64_MAX has no end
    uint32_t limit;          // 1 to AUDIT_LIMIT_MAX
    bool has_after;
    struct audit_place after;  // the last one of the page before
};

#define AUDIT_ALL                                                                                  \
    (struct audit_query)                                                                           \
    {                                                                                              \
        .from_ns = INT64_MIN, .to_ns = INT64_MAX, .limit = 100                                     \
    }

struct audit_row {
    struct audit_place place;
    struct entry entry;  // ENTRY_CANCEL or ENTRY_AMEND
};

struct audit_page {
    struct audit_row *rows;
    uint32_t count;
    bool has_more;
};

enum status audit_list(
    struct reader *reader,
    const struct audit_query *query,
    struct arena *arena,
    struct audit_page *out,
    struct error *error) CHECKED;
// The one at this place, whose made_ns is filled in. STATUS_NOT_FOUND: there is no correction.
enum status audit_get(
    struct reader *reader,
    struct audit_place place,
    struct arena *arena,
    struct audit_row *out,
    struct error *error) CHECKED;
