#include "billing/abacus.h"

#include "base/assert.h"

#include <stdarg.h>
#include <stdio.h>

enum { ABACUS_STEP_TEXT_MAX = 1024 };

// The number comes first, so that a pointer to it is one to the whole.
struct abacus_number {
    struct rational value;
    struct abacus_number *next;
};

const struct rational RATIONAL_ZERO = {0};

void
abacus_done(struct abacus *abacus)
{
    for (struct abacus_number *number = abacus->bigs; number != NULL; number = number->next)
        rational_done(&number->value);
    abacus->bigs = NULL;
}

static struct abacus_number *
number_new(struct abacus *abacus)
{
    return arena_new(abacus->arena, struct abacus_number);
}

// Only what GMP holds needs an end.
static const struct rational *
number_keep(struct abacus *abacus, struct abacus_number *number)
{
    if (!number->value.is_big)
        return &number->value;
    if (rational_bits(&number->value) > ABACUS_BITS_MAX) {
        abacus->is_too_long = true;
        rational_done(&number->value);
        return &number->value;
    }
    number->next = abacus->bigs;
    abacus->bigs = number;
    return &number->value;
}

const struct rational *
abacus_decimal(struct abacus *abacus, struct decimal value)
{
    struct abacus_number *number = number_new(abacus);
    number->value = rational_of(value);
    return number_keep(abacus, number);
}

const struct rational *
abacus_int(struct abacus *abacus, int64_t value)
{
    struct abacus_number *number = number_new(abacus);
    number->value = rational_of_int(value);
    return number_keep(abacus, number);
}

enum status
abacus_parse(struct abacus *abacus, struct bytes text, const struct rational **out)
{
    struct abacus_number *number = number_new(abacus);
    enum status status = rational_parse(text, &number->value);
    if (status)
        return status;
    *out = number_keep(abacus, number);
    return STATUS_OK;
}

const struct rational *
abacus_add(struct abacus *abacus, const struct rational *a, const struct rational *b)
{
    struct abacus_number *number = number_new(abacus);
    rational_add(&number->value, a, b);
    return number_keep(abacus, number);
}

const struct rational *
abacus_subtract(struct abacus *abacus, const struct rational *a, const struct rational *b)
{
    struct abacus_number *number = number_new(abacus);
    rational_subtract(&number->value, a, b);
    return number_keep(abacus, number);
}

const struct rational *
abacus_multiply(struct abacus *abacus, const struct rational *a, const struct rational *b)
{
    struct abacus_number *number = number_new(abacus);
    rational_multiply(&number->value, a, b);
    return number_keep(abacus, number);
}

const struct rational *
abacus_divide(struct abacus *abacus, const struct rational *a, const struct rational *b)
{
    struct abacus_number *number = number_new(abacus);
    rational_divide(&number->value, a, b);
    return number_keep(abacus, number);
}

const struct rational *
abacus_divide_whole(
    struct abacus *abacus,
    const struct rational *a,
    const struct rational *b,
    enum rounding rounding)
{
    struct abacus_number *number = number_new(abacus);
    rational_divide_whole(&number->value, a, b, rounding);
    return number_keep(abacus, number);
}

const struct rational *
abacus_round(
    struct abacus *abacus, const struct rational *value, int32_t places, enum rounding rounding)
{
    struct abacus_number *number = number_new(abacus);
    rational_round(&number->value, value, places, rounding);
    return number_keep(abacus, number);
}

const struct rational *
abacus_shift(struct abacus *abacus, const struct rational *value, int32_t places)
{
    struct abacus_number *number = number_new(abacus);
    rational_shift(&number->value, value, places);
    return number_keep(abacus, number);
}

const struct rational *
abacus_percent(struct abacus *abacus, const struct rational *value, const struct rational *rate)
{
    return abacus_shift(abacus, abacus_multiply(abacus, value, rate), 2);
}

const struct rational *
rational_min(const struct rational *a, const struct rational *b)
{
    return rational_compare(a, b) <= 0 ? a : b;
}

const struct rational *
rational_max(const struct rational *a, const struct rational *b)
{
    return rational_compare(a, b) >= 0 ? a : b;
}

void
abacus_step(struct abacus *abacus, const char *format, ...)
{
    if (!abacus->wants_steps || abacus->steps_count >= ABACUS_STEPS_MAX)
        return;
    char text[ABACUS_STEP_TEXT_MAX];
    va_list args;
    va_start(args, format);
    vsnprintf(text, sizeof text, format, args);
    va_end(args);
    struct abacus_step *step = arena_new(abacus->arena, struct abacus_step);
    step->text = arena_text(abacus->arena, text);
    if (abacus->last != NULL)
        abacus->last->next = step;
    else
        abacus->first = step;
    abacus->last = step;
    abacus->steps_count++;
}

const char *
abacus_text(struct abacus *abacus, const struct rational *value)
{
    return abacus->wants_steps ? rational_text(value, abacus->arena) : "";
}
