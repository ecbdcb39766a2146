#pragma once
// What the tests of runs share: a database with the tables, a ledger with usage, and short ways to
// fill both.
//
//     struct fixture f;
//     if (!fixture_begin(&f)) return;              // no PostgreSQL: skipped, and said
//     fixture_catalog(&f, text);
//     fixture_customer(&f, "acme");
//     fixture_subscribe(&f, "acme", "llm", "2023-11-01");
//     fixture_usage(&f, rows, count);
//     fixture_end(&f);
//
// Everything has the same clock, FIXTURE_NOW, so that two fixtures filled alike hold the same rows.

#include "billing/catalog_apply.h"
#include "billing/run.h"
#include "billing/subscribe.h"
#include "tests/support/postgres.h"

#define FIXTURE_NOW "2024-01-20T12:00:00Z"

struct fixture {
    char dir[64];  // the ledger's
    char url[POSTGRES_URL_MAX];
    struct sql *sql;
    struct arena arena;
    uint64_t serial;
};

struct fixture_usage {
    const char *subject;
    const char *type;
    const char *time;
    const char *value;
};

bool fixture_begin(struct fixture *fixture);
// Another database with the tables; the ledger stays the first one's.
bool fixture_begin_beside(struct fixture *fixture, const struct fixture *first);
void fixture_end(struct fixture *fixture);
void fixture_end_beside(struct fixture *fixture);

int64_t fixture_time(const char *text);
struct decimal fixture_decimal(const char *text);
enum status fixture_catalog_try(
    struct fixture *fixture,
    const char *text,
    bool is_dry,
    struct catalog_changes *out,
    struct error *error);
void fixture_catalog(struct fixture *fixture, const char *text);
void fixture_customer(struct fixture *fixture, const char *id);
void fixture_subject(struct fixture *fixture, const char *customer, const char *subject);
enum status fixture_subscribe_try(
    struct fixture *fixture,
    const char *customer,
    const char *plan,
    enum billing_cycle cycle,
    const char *from,
    const char *until,  // or NULL
    enum store_change *out,
    struct error *error);
void fixture_subscribe(
    struct fixture *fixture, const char *customer, const char *plan, const char *from);
void fixture_usage(struct fixture *fixture, const struct fixture_usage *rows, size_t count);
// With a property "region" each; NULL: without.
void fixture_usage_regions(
    struct fixture *fixture,
    const struct fixture_usage *rows,
    const char *const *regions,
    size_t count);

struct run_settings fixture_settings(const struct fixture *fixture, const char *as_of);
// Runs and demands success; the report is in the fixture's arena.
struct run_report fixture_run(struct fixture *fixture, const struct run_settings *settings);
// Every column of invoices, lines, runs, the counter and what fees left, as one text.
const char *fixture_rows(struct fixture *fixture);
int64_t fixture_count(struct fixture *fixture, const char *table);
