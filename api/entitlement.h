#pragma once
// Whether somebody may use more of a meter: his usage against the thresholds that limit him.
//
//     const struct entitlement_sources sources = {reader, api->quotas, api->customers, now_ns};
//     entitlement_find(&sources, "acme", "tokens", &arena, &found, &error);
//     if (found.is_allowed) ...
//     entitlement_write(&found, out);
//
// A threshold is used up when usage is at its limit. Of one subject tallyd answers from memory, in
// well under a millisecond; of several together the ledger is asked. Nothing waits for PostgreSQL
// but the first question about an id (api/customer_book.h). Thread: the reader's.

#include "api/customer_book.h"
#include "api/quotas.h"
#include "base/json.h"
#include "ledger/watch.h"

enum { ENTITLEMENT_ID_MAX = 255 };

struct entitlement_sources {
    struct reader *reader;
    struct quotas *quotas;
    struct customer_book *customers;
    int64_t now_ns;
};

struct entitlement_limit {
    struct threshold threshold;
    struct quota quota;
    struct wide left;  // 0 when nothing is
};

struct entitlement {
    const char *customer;  // as he was asked for
    const char *meter;     // its key
    bool is_allowed;
    struct entitlement_limit limits[QUOTAS_PERIODS];
    uint32_t limits_count;  // 0: nothing limits him
    uint32_t least;         // of which the least is left
};

// STATUS_INVALID: no id can be like this. STATUS_NOT_FOUND: no such meter. STATUS_CLOSED: tallyd or
// the database is away.
enum status entitlement_find(
    const struct entitlement_sources *sources,
    const char *customer,
    const char *meter,
    struct arena *arena,
    struct entitlement *out,
    struct error *error) CHECKED;
void entitlement_write(const struct entitlement *found, struct json_out *out);
