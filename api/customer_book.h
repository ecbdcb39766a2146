#pragma once
// Whose usage a customer's is: the subjects of each customer that was asked for lately, kept in
// memory so that a request seldom waits for the database.
//
//     customer_book_open(database, &book, &error);
//     customer_book_find(book, "acme", &arena, &subjects, &count, &error);
//     customer_book_forget(book, "acme");              // his subjects were changed just now
//     customer_book_close(book);
//
// An id that is no customer is a subject. A thread looks anew at those that were asked for, every
// CUSTOMER_BOOK_POLL_MS; what was not asked for longer than CUSTOMER_BOOK_OLD_MS is looked up by
// who asks. While the database is away what is known serves. Beyond CUSTOMER_BOOK_MAX entries, or
// too many bytes of them, all are dropped, and come again with the next questions.
// Owner: main. Thread: any.

#include "api/database.h"

enum {
    CUSTOMER_BOOK_LOOK_MAX = 1000,  // ids that are looked up together
    CUSTOMER_BOOK_MAX = 65536,
    CUSTOMER_BOOK_BYTES_MAX = 64 * 1024 * 1024,
    CUSTOMER_BOOK_POLL_MS = 2000,
    CUSTOMER_BOOK_OLD_MS = 10000,
};

struct customer_book;

enum status customer_book_open(
    struct database *database, struct customer_book **out, struct error *error) CHECKED;
// Before the database. NULL is accepted.
void customer_book_close(struct customer_book *book);
// In the arena; at least one. STATUS_CLOSED and others: it is not known, and the database cannot be
// asked.
enum status customer_book_find(
    struct customer_book *book,
    const char *id,
    struct arena *arena,
    struct bytes **out_subjects,
    uint32_t *out_count,
    struct error *error) CHECKED;
// Looks up those of many ids that are not known, with one question to the database, so that finding
// each asks no more. What fails here fails again when it is looked for.
void customer_book_prepare(struct customer_book *book, const char *const *ids, uint32_t count);
void customer_book_forget(struct customer_book *book, const char *id);
