#pragma once
// Subjects: what is said of those whose usage is counted, and who pays for them.
//
//     subject_put(sql, &subject, SUBJECT_NAME | SUBJECT_METADATA, now_ns, &error);
//     subjects_read(sql, &arena, &list, &error);
//     subject_facts(sql, subjects, count, &arena, &facts, &error);
//
// A subject is known when something was said of it, or when a customer lists it. Thread: the
// connection's.

#include "base/sql.h"

struct subject {
    const char *key;
    const char *display_name;  // or NULL, as the others
    const char *stripe_customer_id;
    const char *metadata;  // a JSON object
    int64_t created_ns, updated_ns;
};

struct subject_list {
    struct subject *items;  // by key
    size_t count;
};

// Which members of a subject are to be set; what is NULL is cleared. Others stay.
enum { SUBJECT_NAME = 1, SUBJECT_STRIPE = 2, SUBJECT_METADATA = 4 };

enum status subject_put(
    struct sql *sql,
    const struct subject *subject,
    unsigned members,
    int64_t now_ns,
    struct error *error) CHECKED;
// STATUS_NOT_FOUND: not known.
enum status subject_find(
    struct sql *sql,
    const char *key,
    struct arena *arena,
    struct subject *out,
    struct error *error) CHECKED;
enum status subjects_read(
    struct sql *sql, struct arena *arena, struct subject_list *out, struct error *error) CHECKED;
// STATUS_NOT_FOUND: not known. STATUS_EXISTS names the customer who lists it.
enum status subject_remove(struct sql *sql, const char *key, struct error *error) CHECKED;

// For each of the subjects who pays for it and what it is called; NULL: nobody, nothing. A subject
// that is no UTF-8 has neither.
struct subject_facts {
    const char *customer;
    const char *display_name;
};

enum status subject_facts(
    struct sql *sql,
    const struct bytes *subjects,
    size_t count,
    struct arena *arena,
    struct subject_facts **out,
    struct error *error) CHECKED;
