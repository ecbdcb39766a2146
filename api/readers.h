#pragma once
// Readers of the ledger, lent to workers one at a time.
//
//     scoped(readers_return) struct readers_loan loan = {0};
//     status = readers_take(readers, &loan, &error);
//     status = usage_query(loan.reader, ...);
//
// A reader is opened when none is free, so there are at most as many as workers. Owner: main.
// Thread: any.

#include "ledger/usage.h"

struct readers;

struct readers_loan {
    struct readers *readers;
    struct reader *reader;
};

// data_dir must live as long; readers_max: that may be lent at a time.
enum status readers_open(
    const char *data_dir, uint32_t readers_max, struct readers **out, struct error *error) CHECKED;
// All loans are back. NULL is accepted.
void readers_close(struct readers *readers);
// STATUS_NOT_FOUND: there is no ledger.
enum status
readers_take(struct readers *readers, struct readers_loan *out, struct error *error) CHECKED;
void readers_return(struct readers_loan *loan);
