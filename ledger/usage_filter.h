#pragma once
// Filters of usage queries: an expression over the dimensions' values and the subject.
//
//     usage_filter_parse(json, &arena, &filter, &error);     // {"model": {"$like": "gpt-%"}}
//     usage_filter_bind(filter, &meter, &arena, &bound, &error);
//     if (usage_filter_accepts(bound, subject, &group)) ...
//
// Values are compared as bytes. A dimension that an event lacks is the empty string, so that
// {"$ne": "eu"} takes it. In $like, % stands for any text and _ for one character (of UTF-8; one
// byte where the text is none); a backslash before %, _ or a backslash makes it an ordinary one,
// before anything else it is itself. $ilike and $nilike take ASCII letters of either case as equal.
// Owner: values; what they point to is in the arena, or the caller's. Thread: any.

#include "base/arena.h"
#include "ledger/cell.h"

enum usage_operator {
    USAGE_EQ,
    USAGE_NE,
    USAGE_IN,
    USAGE_NIN,
    USAGE_LIKE,
    USAGE_NLIKE,
    USAGE_ILIKE,
    USAGE_NILIKE,
    USAGE_GT,
    USAGE_GTE,
    USAGE_LT,
    USAGE_LTE,
    USAGE_AND,
    USAGE_OR,
};

enum {
    USAGE_FILTER_DEPTH_MAX = 8,  // of $and and $or
    USAGE_FILTER_NODES_MAX = 1000,
    USAGE_FILTER_VALUES_MAX = 10000,     // of one $in or $nin
    USAGE_FILTER_TEXT_MAX = 256 * 1024,  // bytes of JSON
};

#define USAGE_FILTER_SUBJECT "subject"

struct usage_filter {
    enum usage_operator kind;
    const char *dimension;       // or USAGE_FILTER_SUBJECT; NULL for USAGE_AND and USAGE_OR
    const struct bytes *values;  // one, but for USAGE_IN and USAGE_NIN
    uint32_t values_count;
    const struct usage_filter *parts;  // of USAGE_AND and USAGE_OR: at least one
    uint32_t parts_count;
};

// OpenMeter's advancedMeterGroupByFilters: {DIMENSION: {OPERATOR: text, list of texts, or list of
// operator objects}, ...}, all of which must hold. An object holds one operator, as there; null is
// the same as nothing, and a dimension of which nothing is asked is passed over. No filter at all
// is NULL. STATUS_INVALID names the place in the JSON.
enum status usage_filter_parse(
    struct bytes json,
    struct arena *arena,
    const struct usage_filter **out,
    struct error *error) CHECKED;

// A dimension and one of its wanted values; of several values of one dimension any will do.
struct usage_pair {
    const char *dimension;
    struct bytes value;
};
// NULL when count is 0. Borrows the pairs' texts.
const struct usage_filter *
usage_filter_of_pairs(const struct usage_pair *pairs, uint32_t count, struct arena *arena);

// A filter whose names are places of a meter's dimensions.
struct usage_bound;

// NULL in *out when filter is NULL. STATUS_INVALID: the meter lacks a dimension, a bound above is
// passed, or a pattern ends in a lone backslash.
enum status usage_filter_bind(
    const struct usage_filter *filter,
    const struct meter *meter,
    struct arena *arena,
    const struct usage_bound **out,
    struct error *error) CHECKED;
// bound may be NULL: everything is accepted.
bool usage_filter_accepts(
    const struct usage_bound *bound, struct bytes subject, const struct cell_group *group);
// Whether the answer depends on a dimension's value.
bool usage_filter_needs_group(const struct usage_bound *bound);

bool usage_like(struct bytes pattern, struct bytes text, bool ignores_case);

// STATUS_INVALID names what the meter lacks, and what it has.
enum status usage_dimension_find(
    const struct meter *meter, const char *name, uint32_t *out_index, struct error *error) CHECKED;
