#pragma once
// What a customer used in a time, meter by meter, and what that costs at the prices of its plans.
//
//     struct usage_cost_question question = {.customer = "acme", .from_ns = from, .to_ns = to};
//     status = usage_costs(sql, reader, &question, &arena, &costs, &error);
//
// A look at any moment, not an invoice: the meters are those of the catalogue now, each priced by
// the charge of the customer's latest subscription in that time that has one, with the same
// functions as a run (billing/charge.h), exact and not rounded. Thread: that of connection and
// reader.

#include "base/sql.h"
#include "ledger/usage.h"

struct usage_cost_question {
    const char *customer;
    int64_t from_ns, to_ns;  // half-open, from UTC midnight to UTC midnight
};

// The exact amount is NULL where no subscription charges the meter, and where only a run says it:
// of charges that price single events or a level that lasts, or in a second currency.
struct usage_cost {
    const char *meter;
    const char *units;   // a decimal
    const char *amount;  // in major units
    bool is_charged;
};

struct usage_costs {
    struct usage_cost *items;  // by meter
    size_t count;
    const char *total;     // of the amounts that are known
    const char *currency;  // NULL: nothing is charged
};

// STATUS_NOT_FOUND: no such customer. STATUS_EXISTS: it has no subject. STATUS_OVERFLOW names a
// meter whose sum left its range.
enum status usage_costs(
    struct sql *sql,
    struct reader *reader,
    const struct usage_cost_question *question,
    struct arena *arena,
    struct usage_costs *out,
    struct error *error) CHECKED;
