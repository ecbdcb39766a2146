#pragma once
// Which subject comes next when some come more often than others: Zipf's law, and one subject that
// has a share of its own.
//
//     weights_open(&options, &weights, &error);     // NULL: all alike, no table is needed
//     subject = weights_pick(weights, random);      // random: 64 uniform bits
//     weights_close(weights);
//
// Walker's alias table (1977) as Vose fills it: one access of 8 bytes a pick, exact to 2^-32,
// whatever the shape. It is made once for a run and shared by all generators. Owner: who opened it.
// Thread: any, once it is open.

#include "base/status.h"

#include <stdint.h>

struct weights;

struct weights_options {
    uint32_t subjects;  // 1 or more
    double zipf;        // the exponent: the subject of rank k comes as often as k^-zipf; 0: alike
    uint32_t hot_percent;  // of all events are the first subject's; 0: what the exponent says
};

// STATUS_INVALID: an exponent beyond 0-10, a share beyond 0-99, or a hot subject without others.
enum status weights_open(
    const struct weights_options *options, struct weights **out, struct error *error) CHECKED;
void weights_close(struct weights *weights);
uint32_t weights_pick(const struct weights *weights, uint64_t random);
