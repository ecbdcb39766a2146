#pragma once
// Three meters on the load's type, and whether what they say in the end is what was sent.
//
//     check_prepare(data, shards, map_size, &error)    // before: the ledger and its meters
//     check_usage(data, &expected, &usage, &error)     // afterwards, tallyd running or not
//
// The question goes to `tally usage` in a process of its own, as a user would ask. Thread: main.

#include "base/decimal.h"
#include "bench/generate.h"

enum { CHECK_METERS = 3 };

struct check_usage {
    struct decimal expected[CHECK_METERS];
    struct decimal found[CHECK_METERS];
    bool matches;
};

extern const char *const CHECK_METER_KEYS[CHECK_METERS];

enum status
check_prepare(const char *data, uint32_t shards, uint64_t map_size, struct error *error) CHECKED;
enum status check_usage(
    const char *data,
    const struct generate_totals *expected,
    struct check_usage *out,
    struct error *error) CHECKED;
