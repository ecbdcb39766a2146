#pragma once
// Usage that nobody is billed for: what a subject used of a meter while no subscription of its
// customer charged that meter.
//
//     struct unsubscribed_question question = {sql, reader, &catalog, NULL, from_ns, to_ns};
//     unsubscribed_find(&question, &arena, &list, &count, &missing, &error);
//
// Every meter of the registry is looked at. The list is ordered by meter and subject, those that
// are no text last. A meter of which a subject's sum left its range may be listed in part: *missing
// (NULL before) names it then. Thread: the connection's.

#include "billing/run.h"
#include "ledger/usage.h"

struct unsubscribed_question {
    struct sql *sql;
    struct reader *reader;
    const struct stored_catalog *catalog;
    const char *customer;  // only the subjects of this one; NULL: every subject that was ever seen
    int64_t from_ns, to_ns;
};

enum status unsubscribed_find(
    const struct unsubscribed_question *question,
    struct arena *arena,
    struct unsubscribed **out,
    size_t *out_count,
    const char **out_missing,
    struct error *error) CHECKED;
