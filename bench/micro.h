#pragma once
// `tally-bench micro`: single parts of tally by themselves, in one process, on made data.
//
//     return micro_main(argc, argv);        // argv[0] is "micro"; the exit code
//
// Each part is a function of its own that fills in figures. Thread: main.

#include "base/status.h"

#include <stdint.h>

enum { MICRO_FIGURES_MAX = 32 };

struct micro_options {
    const char *dir;  // where data may be made
    int64_t subjects;
    int64_t cells;
    int64_t identities;
    int64_t events;
    int64_t questions;
    int64_t prices;
    int64_t connections;
    int64_t seconds;
    int64_t runs;
    int64_t seed;
};

struct micro_figure {
    const char *name;  // of the JSON member
    double value;      // not a number: unknown, in JSON null
    int decimals;
    const char *unit;
};

struct micro_figures {
    struct micro_figure list[MICRO_FIGURES_MAX];
    uint32_t count;
};

void micro_add(
    struct micro_figures *figures, const char *name, double value, int decimals, const char *unit);
// Sorts the values. Of an even number: the lower one in the middle.
double micro_median(double *values, int64_t count);

// Usage queries: a month of events is put into a ledger, the month closes, and questions are asked
// as programs beside tallyd ask them. STATUS_CORRUPT: an answer was wrong.
enum status micro_usage(
    const struct micro_options *options, struct micro_figures *out, struct error *error) CHECKED;

// The identities of one shard: what it costs to put and to find them. STATUS_CORRUPT as above.
enum status micro_dedup(
    const struct micro_options *options, struct micro_figures *out, struct error *error) CHECKED;

// Quotas of thresholds, asked on the read socket. STATUS_CORRUPT as above.
enum status micro_quota(
    const struct micro_options *options, struct micro_figures *out, struct error *error) CHECKED;

// A front and a shard's writer: events are decoded and put into groups, judged, stored and folded.
// STATUS_CORRUPT as above.
enum status micro_writer(
    const struct micro_options *options, struct micro_figures *out, struct error *error) CHECKED;

// Prices by the functions of billing. STATUS_CORRUPT as above.
enum status micro_price(
    const struct micro_options *options, struct micro_figures *out, struct error *error) CHECKED;

// What no ingest on this machine can beat: receiving, counting in memory, appending, writing.
enum status micro_limits(
    const struct micro_options *options, struct micro_figures *out, struct error *error) CHECKED;

// A tallyd that nobody sends anything to, alone and with idle connections.
enum status micro_idle(
    const struct micro_options *options, struct micro_figures *out, struct error *error) CHECKED;

// What the machine keeps from everybody, while nothing else is measured.
enum status micro_pauses(
    const struct micro_options *options, struct micro_figures *out, struct error *error) CHECKED;

int micro_main(int argc, char **argv);
