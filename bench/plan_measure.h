#pragma once
// The runs of a profile, by `tally-bench load` in processes of their own.
//
//     plan_measure(&options, &profile, &error);
//
// Thread: main.

#include "bench/plan_model.h"

struct plan_measure_options {
    const char *dir;     // where the private tallyds keep their data
    int64_t seconds;     // of each run
    int64_t identities;  // in the window of the run with one
};

enum status plan_measure(
    const struct plan_measure_options *options,
    struct plan_profile *out,
    struct error *error) CHECKED;
