#pragma once
// What the store's files share: the condition of a customer_range, with its parameters $1 to $3.

#include "billing/store.h"

#define CUSTOMER_RANGE                                                                             \
    "($1::text IS NULL OR customer_id > $1) AND ($2::text IS NULL OR customer_id <= $2)"           \
    " AND ($3::text IS NULL OR customer_id = $3)"
#define CUSTOMER_RANGE_PARAMS(range) SQL_PARAMS((range)->after, (range)->upto, (range)->only)
