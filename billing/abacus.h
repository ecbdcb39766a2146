#pragma once
// Exact arithmetic as expressions: every number is a constant that lives until abacus_done.
//
//     struct abacus abacus = {.arena = &arena};
//     fee = abacus_multiply(&abacus, units, price);
//     abacus_step(&abacus, "%s x %s = %s", abacus_text(&abacus, units), ...);   // for --explain
//     abacus_done(&abacus);
//
// What comes out of one is usable until abacus_done, which must come before the arena's end. A
// number whose exact form outgrows ABACUS_BITS_MAX turns is_too_long on and counts as zero: who
// shows results asks once at the end. Owner: the caller. Thread: one at a time.

#include "billing/rational.h"

enum {
    ABACUS_BITS_MAX = 65536,  // about 20,000 digits: no price, but what a hostile input makes
    ABACUS_STEPS_MAX = 100000,
};

struct abacus_step {
    const char *text;
    struct abacus_step *next;
};

struct abacus {
    struct arena *arena;
    struct abacus_number *bigs;  // those that hold memory of GMP
    bool is_too_long;
    bool wants_steps;
    uint32_t steps_count;
    struct abacus_step *first, *last;
};

void abacus_done(struct abacus *abacus);

const struct rational *abacus_decimal(struct abacus *abacus, struct decimal value);
const struct rational *abacus_int(struct abacus *abacus, int64_t value);
// As rational_parse.
enum status
abacus_parse(struct abacus *abacus, struct bytes text, const struct rational **out) CHECKED;

const struct rational *
abacus_add(struct abacus *abacus, const struct rational *a, const struct rational *b);
const struct rational *
abacus_subtract(struct abacus *abacus, const struct rational *a, const struct rational *b);
const struct rational *
abacus_multiply(struct abacus *abacus, const struct rational *a, const struct rational *b);
// b is not 0.
const struct rational *
abacus_divide(struct abacus *abacus, const struct rational *a, const struct rational *b);
const struct rational *abacus_divide_whole(
    struct abacus *abacus,
    const struct rational *a,
    const struct rational *b,
    enum rounding rounding);
const struct rational *abacus_round(
    struct abacus *abacus, const struct rational *value, int32_t places, enum rounding rounding);
// value / 10^places.
const struct rational *
abacus_shift(struct abacus *abacus, const struct rational *value, int32_t places);
// value * rate / 100.
const struct rational *
abacus_percent(struct abacus *abacus, const struct rational *value, const struct rational *rate);

// One of the two, not a copy.
const struct rational *rational_min(const struct rational *a, const struct rational *b);
const struct rational *rational_max(const struct rational *a, const struct rational *b);
// The zero that needs no abacus.
extern const struct rational RATIONAL_ZERO;

// How the result came about, a line at a time; nothing without wants_steps.
void abacus_step(struct abacus *abacus, const char *format, ...) PRINTF_LIKE(2, 3);
// The number for a step, "" without wants_steps.
const char *abacus_text(struct abacus *abacus, const struct rational *value);
