#pragma once
// What billing keeps in PostgreSQL: one function per question, every statement in store*.c.
//
//     store_customer_add(sql, &customer, now_ns, &change, &error);
//     customer_subjects(sql, "acme", &arena, &subjects, &count, &error);
//     store_subscriptions(sql, &range, &arena, &list, &error);
//     store_invoices_insert(sql, invoices, count, &arena, &made, &error);
//
// The caller holds the transaction where several calls belong together (sql_begin and sql_commit);
// what a function needs of it is said there. Results are in the arena. Retry a transaction that
// ended with STATUS_BUSY. Thread: that of the connection.

#include "base/sql.h"
#include "billing/invoice.h"

// ---- customers (store.c)

struct customer {
    const char *id;
    const char *email;         // NULL when adding: ID@customers.invalid
    const char *company_name;  // or NULL
    const char *const *subjects;
    size_t subjects_count;  // 0 when adding a new one: its only subject is its id
    int64_t created_ns;
};

struct customers {
    struct customer *items;
    size_t count;
};

enum store_change { STORE_UNCHANGED, STORE_CREATED, STORE_CHANGED };

// Adds the customer, or the subjects that an existing one does not have yet. STATUS_EXISTS: it is
// there with another email or company, its email is another's, or a subject is another's; the error
// names it. A transaction of its own.
enum status store_customer_add(
    struct sql *sql,
    const struct customer *customer,
    int64_t now_ns,
    enum store_change *out_change,
    struct error *error) CHECKED;
enum status store_customer_find(
    struct sql *sql,
    const char *id,
    struct arena *arena,
    struct customer *out,
    struct error *error) CHECKED;
// Ordered by id, those after `after` ("" for all), at most limit.
enum status store_customers(
    struct sql *sql,
    const char *after,
    int64_t limit,
    struct arena *arena,
    struct customers *out,
    struct error *error) CHECKED;
// The subjects whose usage this customer pays, ordered. STATUS_NOT_FOUND: no such customer.
enum status customer_subjects(
    struct sql *sql,
    const char *customer_id,
    struct arena *arena,
    const char *const **out_subjects,
    size_t *out_count,
    struct error *error) CHECKED;

// ---- the catalogue (store_catalog.c)

// The plans as they are now, by key; the meters' stored definitions as canonical JSON.
struct stored_meter {
    const char *key;
    const char *definition;
};

struct stored_catalog {
    int64_t version;  // the greatest one; 0: nothing was ever applied
    struct plan *plans;
    size_t plans_count;
    struct stored_meter *meters;
    size_t meters_count;
};

enum status store_catalog(
    struct sql *sql, struct arena *arena, struct stored_catalog *out, struct error *error) CHECKED;
const struct plan *stored_catalog_plan(const struct stored_catalog *catalog, const char *key);

// In a transaction: waits for whoever is applying another catalogue.
enum status store_catalog_lock(struct sql *sql, struct error *error) CHECKED;
// In a transaction: keeps the catalogue as it is until the transaction ends.
enum status store_catalog_lock_shared(struct sql *sql, struct error *error) CHECKED;
// STATUS_EXISTS names a customer with two subscriptions at the same time of whose plans one charges
// a meter now that the other charges too, or did at version_before: where only one of them is
// billed, the usage would be billed twice, or never.
enum status
store_catalog_charges_check(struct sql *sql, int64_t version_before, struct error *error) CHECKED;
// STATUS_EXISTS names a customer who would pay no fee any more, or in another currency: the plan
// lost the price or the currency of a subscription that is not billed to its end.
enum status store_catalog_prices_check(struct sql *sql, struct error *error) CHECKED;
enum status store_catalog_version_add(
    struct sql *sql, int64_t version, int64_t now_ns, struct error *error) CHECKED;
enum status store_catalog_meter_add(
    struct sql *sql, int64_t version, const struct meter *meter, struct error *error) CHECKED;
// The plan's terms and all its charges as rows of this version.
enum status store_catalog_plan_add(
    struct sql *sql, int64_t version, const struct plan *plan, struct error *error) CHECKED;

// ---- subscriptions (store_subscription.c)

struct subscription {
    const char *id;
    const char *customer;
    const char *plan;
    enum plan_kind plan_kind;
    enum billing_cycle cycle;
    struct period_terms terms;
    const char *status;
};

struct subscriptions {
    struct subscription *items;
    size_t count;
};

// Which customers: after < id <= upto, or `only` one. NULL: no bound.
struct customer_range {
    const char *after;
    const char *upto;
    const char *only;
};

// Ordered by customer, start, id.
enum status store_subscriptions(
    struct sql *sql,
    const struct customer_range *range,
    struct arena *arena,
    struct subscriptions *out,
    struct error *error) CHECKED;
// In a transaction: those of one customer, whose row stays locked until it ends. STATUS_NOT_FOUND:
// no such customer.
enum status store_subscriptions_lock(
    struct sql *sql,
    const char *customer_id,
    struct arena *arena,
    struct subscriptions *out,
    struct error *error) CHECKED;
// STATUS_EXISTS: one of the plan's meters was billed by whatever version of a plan, in a period
// that overlaps with these terms.
enum status store_billed_meter_check(
    struct sql *sql,
    const char *customer_id,
    const struct plan *plan,
    const struct period_terms *terms,
    struct error *error) CHECKED;
enum status store_subscription_add(
    struct sql *sql,
    const struct subscription *subscription,
    int64_t monthly_price_minor,
    const struct currency *currency,
    int64_t now_ns,
    struct error *error) CHECKED;

// ---- runs (store_run.c)

struct billing_run {
    const char *id;
    int64_t as_of_ns;
    int64_t grace_ns;
    const char *period;    // or NULL
    const char *customer;  // or NULL
};

// Notes that a run with this command line started; a second call changes nothing.
enum status store_run_begin(
    struct sql *sql, const struct billing_run *run, int64_t now_ns, struct error *error) CHECKED;
enum status store_run_finish(
    struct sql *sql, const struct billing_run *run, int64_t now_ns, struct error *error) CHECKED;

// Cuts all customers with a subscription into ranges of at most chunk_size, in order. customer:
// only this one; NULL: all.
enum status store_chunks(
    struct sql *sql,
    const char *customer,
    int64_t chunk_size,
    struct arena *arena,
    struct customer_range **out,
    size_t *out_count,
    struct error *error) CHECKED;

// The subjects of the range's customers, ordered by customer and subject.
struct subject_row {
    const char *subject;
    const char *customer;
};

enum status store_subjects(
    struct sql *sql,
    const struct customer_range *range,
    struct arena *arena,
    struct subject_row **out,
    size_t *out_count,
    struct error *error) CHECKED;

// Who pays for each of the subjects, and by which subscriptions: a row per subscription, ordered as
// asked, then by start. A subject without a customer, or a customer without a subscription, has one
// row with NULL for what is missing.
struct subject_terms {
    const char *subject;
    const char *customer;
    const char *plan;
    struct period_terms terms;
};

struct subject_terms_list {
    struct subject_terms *items;
    size_t count;
};

enum status store_subject_terms(
    struct sql *sql,
    const char *const *subjects,
    size_t count,
    struct arena *arena,
    struct subject_terms_list *out,
    struct error *error) CHECKED;

// When the first of all subscriptions (of one customer, if not NULL) starts; INT64_MIN: there is
// none.
enum status store_first_start(
    struct sql *sql, const char *customer, int64_t *out_ns, struct error *error) CHECKED;

// The periods that have an invoice (of any generation and state), ordered by subscription, kind and
// start.
struct billed_period {
    const char *subscription;
    enum invoice_kind kind;
    int64_t from_ns, to_ns;
};

enum status store_billed_periods(
    struct sql *sql,
    const struct customer_range *range,
    struct arena *arena,
    struct billed_period **out,
    size_t *out_count,
    struct error *error) CHECKED;

// What the newest line of each charge that is paid in advance left, ordered by subscription and
// charge.
struct remainder {
    const char *subscription;
    const char *charge;
    int64_t sequence;    // of the line, from 1
    const char *amount;  // of a minor unit
};

struct remainders {
    struct remainder *items;
    size_t count;
};

enum status store_remainders(
    struct sql *sql,
    const struct customer_range *range,
    struct arena *arena,
    struct remainders *out,
    struct error *error) CHECKED;

// ---- invoices (store_invoice.c)

// Inserts drafts with their lines, and the records without lines as finalized, by one statement;
// what exists already is left alone. out_made[i]: whether this call inserted invoices[i].
// STATUS_BUSY: another call inserted a line of a charge that is paid in advance, so what these
// carry is carried already; nothing was inserted.
enum status store_invoices_insert(
    struct sql *sql,
    const struct invoice *invoices,
    size_t count,
    bool *out_made,
    struct error *error) CHECKED;
// Gives every draft its number, in the order of period end and key, and finalizes it. A transaction
// of its own.
enum status store_invoices_finalize(
    struct sql *sql, int64_t now_ns, int64_t *out_count, struct error *error) CHECKED;
// With lines and input, by id or number. STATUS_NOT_FOUND.
enum status store_invoice_find(
    struct sql *sql,
    const char *id_or_number,
    struct arena *arena,
    struct invoice *out,
    struct error *error) CHECKED;
// With lines, without input; in the order of ids.
enum status store_invoices_find(
    struct sql *sql,
    const char *const *ids,
    size_t count,
    struct arena *arena,
    struct invoice **out,
    struct error *error) CHECKED;

struct invoice_filter {
    const char *customer;  // or NULL
    int64_t limit;
    bool with_empty;  // also the records of periods in which nothing was due
};

// Newest period first, without lines and input.
enum status store_invoices(
    struct sql *sql,
    const struct invoice_filter *filter,
    struct arena *arena,
    struct invoice **out,
    size_t *out_count,
    struct error *error) CHECKED;
