#pragma once
// A usage query as OpenMeter's v1 asks it, from a query string or from a body.
//
//     question_from_target(&call->target, &arena, &question, &error);
//     question_from_body(body, &arena, &question, &error);
//     question_ask(&sources, &question, &arena, &rows, &error);
//
// subject and filterCustomerId filter and group, groupBy groups (subject, customer_id and the
// meter's own), filterGroupBy or advancedMeterGroupByFilters filter. Thread: that of reader and
// database.

#include "api/database.h"
#include "api/progress.h"
#include "api/target.h"
#include "ledger/usage.h"

enum { QUESTION_CUSTOMERS_MAX = 100, QUESTION_LIST_MAX = 1000 };

struct question_list {
    const char **items;
    size_t count;
};

struct question {
    bool has_from, has_to;
    int64_t from_ns, to_ns;
    enum usage_window window;
    const char *window_text;  // "DAY"; NULL: none
    const char *zone;         // NULL: UTC
    uint32_t at_cut;          // 0: what is there now
    struct question_list subjects;
    struct question_list customers;
    struct question_list group_by;  // of dimensions only
    bool is_by_subject;
    bool is_by_customer;
    const struct usage_filter *filter;
    const char *client_id;  // under which its progress is known; NULL: none
};

enum status question_from_target(
    const struct target *target,
    struct arena *arena,
    struct question *out,
    struct error *error) CHECKED;
enum status question_from_body(
    struct bytes body, struct arena *arena, struct question *out, struct error *error) CHECKED;

// For those who read other forms (api/question_v3.h): an empty question, a text in one of its
// lists, and what belongs together at the end.
void question_begin(struct arena *arena, struct question *out);
enum status question_list_add(
    const char *name,
    const char *text,
    size_t max,
    struct question_list *out,
    struct error *error) CHECKED;
enum status
question_group_by_add(const char *text, struct question *out, struct error *error) CHECKED;
enum status question_check(
    struct question *out, bool has_simple, bool has_advanced, struct error *error) CHECKED;

struct answer_row {
    const struct usage_row *usage;
    const char *customer;       // NULL: not by customers
    const char *customer_name;  // where it was asked for
    const char *display_name;   // of the subject, where it was asked for; NULL: none
    int64_t from_ns, to_ns;
    size_t order;
};

struct answer {
    struct meter meter;
    struct answer_row *rows;  // by their windows' beginnings
    size_t count;
    bool has_display_names;  // at least one row's subject has one
};

// Whom a question is asked.
struct question_sources {
    struct reader *reader;
    struct database *database;  // for customers only
    const char *meter;          // key or ULID
    int64_t now_ns;
    struct progress *progress;
};

// The ledger's question for it, of the meter with this key; without its customers.
struct usage_query
question_query(const struct question *question, const char *meter, struct arena *arena);
// STATUS_NOT_FOUND: no such meter, or no such customer.
enum status question_ask(
    const struct question_sources *sources,
    const struct question *question,
    struct arena *arena,
    struct answer *out,
    struct error *error) CHECKED;
