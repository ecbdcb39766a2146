#pragma once
// The batch: bills every period that is over and has no invoice.
//
//     struct run_settings settings = {.url = url, .data_dir = dir, .as_of_ns = now, ...};
//     billing_run(&settings, &arena, &report, &error);
//
// What survives a crash in each state is drawn in run.c. Time is an argument. Owner: report and its
// lists are in the arena. Thread: main; it starts settings.workers threads and waits for them.

#include "billing/store.h"

enum { RUN_WORKERS_MAX = 16 };

struct run_settings {
    const char *url;
    const char *data_dir;
    int64_t now_ns;  // of created_at and finalized_at
    int64_t as_of_ns;
    int64_t grace_ns;
    const char *period;    // "2023-11", or NULL
    const char *customer;  // or NULL: all
    bool is_dry;
    int64_t workers;
    int64_t chunk_size;  // customers
};

struct currency_total {
    const struct currency *currency;
    int64_t total_minor;
};

enum { RUN_CURRENCIES_MAX = 64 };

// Usage that no subscription of the subject's customer charges.
struct unsubscribed {
    const char *subject;
    const char *customer;  // NULL: nobody pays for this subject
    const char *meter;
    struct decimal quantity;
    int64_t from_ns, to_ns;  // INT64_MIN: since the first event
};

// An invoice that could not be made, and why; the others were. Without a customer: meters that are
// missing from the usage without a subscription.
struct run_refusal {
    const char *customer;
    const char *subscription;
    const char *text;
};

// What is kept of each invoice with lines that this run made. A dry run keeps it whole.
struct run_made {
    char id[INVOICE_ID_MAX];
    const char *customer;
    const char *subscription;
    enum invoice_kind kind;
    int64_t from_ns, to_ns;
    const struct invoice *invoice;  // NULL: in the database
};

struct run_report {
    struct run_made *made;  // in the order of their numbers
    size_t made_count;
    int64_t empty_count;     // periods in which nothing was due
    int64_t existing_count;  // due periods that had an invoice
    int64_t waiting_count;   // periods that are over, but not past the grace
    int64_t numbered_count;  // also of drafts that a killed run had left
    struct currency_total totals[RUN_CURRENCIES_MAX];
    size_t totals_count;
    struct run_refusal *refusals;
    size_t refusals_count;
    struct unsubscribed *unsubscribed;
    size_t unsubscribed_count;
};

// STATUS_INVALID: as_of_ns is after now_ns, and this is not a dry run.
enum status billing_run(
    const struct run_settings *settings,
    struct arena *arena,
    struct run_report *out,
    struct error *error) CHECKED;
