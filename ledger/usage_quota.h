#pragma once
// How much of a threshold a subject has used, asked of tallyd on a reader's connection, which stays
// open: what a request can wait for.
//
//     status = usage_quota(reader, &threshold, subject, now_s, &quota, &error);
//
// Thread: the reader's.

#include "ledger/threshold.h"
#include "ledger/usage.h"
#include "ledger/watch.h"

// Of the period that holds the moment. STATUS_NOT_FOUND: tallyd does not know the threshold (yet),
// or it is not this subject's. STATUS_CLOSED: tallyd is away. STATUS_TIMEOUT: it does not answer.
// STATUS_CORRUPT: a cell is damaged.
enum status usage_quota(
    struct reader *reader,
    const struct threshold *threshold,
    struct bytes subject,
    int64_t time_s,
    struct quota *out,
    struct error *error) CHECKED;
