#pragma once
// One line of `tally-billing price`: a JSON object that asks for a price, and the answer.
//
//     {"model": "standard", "params": {"amount": "5.12345"}, "units": "10"}
//     {"exact": "51.2345", "rounded": "51.23"}
//
//     price_line(text, &options, &arena, &buffer);      // writes the answer, with its newline
//
// The answer is always one line of JSON: {"error": "..."} says which member is wrong and why.
// docs/pricing.md lists models and parameters. Pure: no clock, no files. Thread: any.

#include "base/buffer.h"
#include "billing/money.h"

enum { PRICE_LINE_MAX = 1 << 20 };

struct price_options {
    const struct currency *currency;
    bool wants_steps;
};

// Whether there was a price.
bool price_line(
    struct bytes text,
    const struct price_options *options,
    struct arena *arena,
    struct buffer *out);
