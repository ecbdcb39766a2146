#pragma once
// Customers as an API shows and changes them: all that is known of one, by one statement each.
//
//     struct customer_profile profile = {.id = "acme", .name = "Acme", .subjects = keys, ...};
//     customer_profile_add(sql, &profile, now_ns, &error);
//     customer_profile_find(sql, "acme", &arena, &profile, &error);
//     customer_profiles(sql, &filter, &arena, &page, &error);
//
// The same rows as `tally customer` has (billing/store.h). A customer's id is one of its subjects
// without being listed, unless another customer pays for it. Thread: the connection's.

#include "base/sql.h"

struct customer_profile {
    const char *id;
    const char *name;   // or NULL
    const char *email;  // NULL: none was given (ID@customers.invalid)
    const char *description;
    const char *currency;         // "USD"
    const char *billing_address;  // a JSON object
    const char *metadata;         // a JSON object
    const char *const *subjects;  // to write: those listed
    size_t subjects_count;
    const char *subjects_json;  // as read: a JSON array of those listed, as they were
    int64_t created_ns, updated_ns;
};

// A transaction of its own. STATUS_EXISTS: the id, the email or a subject is another's; the error
// names it.
enum status customer_profile_add(
    struct sql *sql,
    const struct customer_profile *profile,
    int64_t now_ns,
    struct error *error) CHECKED;
// Everything of the profile replaces what was there; what is NULL is no more. STATUS_NOT_FOUND: no
// such customer. STATUS_EXISTS as above. A transaction of its own.
enum status customer_profile_change(
    struct sql *sql,
    const struct customer_profile *profile,
    int64_t now_ns,
    struct error *error) CHECKED;
enum status customer_profile_find(
    struct sql *sql,
    const char *id,
    struct arena *arena,
    struct customer_profile *out,
    struct error *error) CHECKED;
// STATUS_EXISTS: it was subscribed or billed, so it stays. A transaction of its own.
enum status customer_remove(struct sql *sql, const char *id, struct error *error) CHECKED;

enum customer_order { CUSTOMER_BY_ID, CUSTOMER_BY_NAME, CUSTOMER_BY_CREATION };

struct customer_filter {
    const char *id, *name, *email, *subject;  // a part of it, in any case; NULL: any
    const char *plan;                         // exactly, of a subscription that lasts; NULL: any
    const char *exact_id;                     // NULL: any
    enum customer_order order;
    bool is_descending;
    int64_t offset, limit;
};

struct customer_page {
    struct customer_profile *items;
    size_t count;
    int64_t total;  // of all pages
};

enum status customer_profiles(
    struct sql *sql,
    const struct customer_filter *filter,
    struct arena *arena,
    struct customer_page *out,
    struct error *error) CHECKED;
