#pragma once
// What the store's files share: the condition of a customer_range, with its parameters $1 to $3,
// and who pays for a subject.

#include "billing/store.h"

#define CUSTOMER_RANGE                                                                             \
    "($1::text IS NULL OR customer_id > $1) AND ($2::text IS NULL OR customer_id <= $2)"           \
    " AND ($3::text IS NULL OR customer_id = $3)"
#define CUSTOMER_RANGE_PARAMS(range) SQL_PARAMS((range)->after, (range)->upto, (range)->only)

// STATUS_EXISTS: one of the subjects (an array parameter) is another customer's; the error names
// both.
enum status store_subject_owner_check(
    struct sql *sql, const char *customer_id, const char *subjects, struct error *error) CHECKED;
