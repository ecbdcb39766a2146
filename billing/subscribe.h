#pragma once
// Subscribing a customer to a plan, with the rules that keep usage from being charged twice.
//
//     struct subscribe_request request = {"acme", "growth", CYCLE_MONTHLY, from_ns, PERIOD_NO_END};
//     subscribe(sql, &request, now_ns, &change, &error);
//
// Refused, naming what is in the way: an unknown customer or plan, a cycle that the plan is not
// sold with, a second tier at the same time, a meter that another subscription of the customer
// charges at the same time, other terms of the same plan from the same day. The same request again
// changes nothing. The customer's row is locked meanwhile, so two requests cannot pass each other.
// Thread: the connection's.

#include "billing/store.h"

struct subscribe_request {
    const char *customer;
    const char *plan;
    enum billing_cycle cycle;
    struct period_terms terms;  // midnights UTC
};

enum status subscribe(
    struct sql *sql,
    const struct subscribe_request *request,
    int64_t now_ns,
    enum store_change *out_change,
    struct error *error) CHECKED;
