// Numbers as people and documents write them: read without losing a digit, printed in full.

#include "base/assert.h"
#include "billing/rational.h"
#include "billing/rational_parts.h"

#include <string.h>

// What a number's text consists of.
struct number_text {
    char digits[2 * RATIONAL_DIGITS_MAX + 2];  // without leading zeros
    uint32_t count;
    int32_t point;  // digits behind the point; negative: zeros are missing
    bool is_negative;
};

static bool
is_digit(struct bytes text, size_t at)
{
    return at < text.size && text.data[at] >= '0' && text.data[at] <= '9';
}

// The exponent from text[at] on; a value beyond 1000 is all the same.
static bool
exponent_read(struct bytes text, size_t at, int32_t *out)
{
    bool is_negative = at < text.size && text.data[at] == '-';
    if (at < text.size && (text.data[at] == '-' || text.data[at] == '+'))
        at++;
    if (!is_digit(text, at))
        return false;
    int32_t value = 0;
    for (; is_digit(text, at); at++)
        if (value < 10000)
            value = value * 10 + (text.data[at] - '0');
    *out = is_negative ? -value : value;
    return at == text.size;
}

static enum status
digits_read(struct bytes text, struct number_text *out)
{
    size_t at = 0;
    bool is_behind = false, has_digit = false;
    int32_t zeros = 0;  // that may turn out to be trailing
    out->is_negative = text.size > 0 && text.data[0] == '-';
    if (text.size > 0 && (text.data[0] == '-' || text.data[0] == '+'))
        at++;
    for (; at < text.size; at++) {
        if (text.data[at] == '.' && !is_behind && is_digit(text, at + 1)) {
            is_behind = true;
            continue;
        }
        if (!is_digit(text, at))
            break;
        has_digit = true;
        if (text.size > 10000)
            return STATUS_OVERFLOW;
        out->point += is_behind;
        if (text.data[at] == '0') {
            zeros++;
            continue;
        }
        if (out->count == 0)
            zeros = 0;
        if (out->count + (uint32_t)zeros + 1 > 2 * RATIONAL_DIGITS_MAX)
            return STATUS_OVERFLOW;
        for (; zeros > 0; zeros--)
            out->digits[out->count++] = '0';
        out->digits[out->count++] = (char)text.data[at];
    }
    out->point -= zeros;
    if (!has_digit)
        return STATUS_INVALID;
    if (at == text.size)
        return STATUS_OK;
    int32_t exponent = 0;
    if ((text.data[at] != 'e' && text.data[at] != 'E') || !exponent_read(text, at + 1, &exponent))
        return STATUS_INVALID;
    out->point -= exponent;
    return STATUS_OK;
}

// digits[0..count) as a small value of scale 0.
static struct rational
digits_value(const char *digits, uint32_t count)
{
    int128 whole = 0;
    must(count <= SCALE_MAX);
    for (uint32_t i = 0; i < count; i++)
        whole = whole * 10 + (digits[i] - '0');
    return (struct rational){
        .as.small = {whole, 0}
    };
}

enum status
rational_parse(struct bytes text, struct rational *out)
{
    struct number_text number = {0};
    enum status status = digits_read(text, &number);
    if (status)
        return status;
    *out = (struct rational){0};
    if (number.count == 0)
        return STATUS_OK;
    if (number.point > RATIONAL_DIGITS_MAX ||
        (int32_t)number.count - number.point > RATIONAL_DIGITS_MAX)
        return STATUS_OVERFLOW;
    // In pieces that are small each.
    for (uint32_t at = 0; at < number.count; at += SCALE_MAX) {
        uint32_t size = number.count - at < SCALE_MAX ? number.count - at : SCALE_MAX;
        struct rational piece = digits_value(number.digits + at, size);
        if (at > 0)
            rational_shift(out, out, -(int32_t)size);
        rational_add(out, out, &piece);
    }
    if (number.point != 0)
        rational_shift(out, out, number.point);
    if (number.is_negative)
        rational_subtract(out, &(struct rational){0}, out);
    return STATUS_OK;
}

// Puts the point before the last places digits, and a sign before what is not zero.
static char *
digits_point(const char *digits, uint32_t places, bool is_negative, struct arena *arena)
{
    size_t size = strlen(digits);
    // At least one digit stands before the point.
    size_t zeros = size <= places ? places + 1 - size : 0;
    char *text = arena_array(arena, size + zeros + 3, char);
    size_t at = 0;
    if (is_negative && strspn(digits, "0") < size)
        text[at++] = '-';
    for (size_t i = 0; i < size + zeros; i++) {
        if (i + places == size + zeros && places > 0)
            text[at++] = '.';
        text[at] = '0';
        if (i >= zeros)
            text[at] = digits[i - zeros];
        at++;
    }
    return text;
}

static void
zeros_trim(char *text)
{
    size_t at = strlen(text);
    while (text[at - 1] == '0')
        at--;
    if (text[at - 1] == '.')
        at--;
    text[at] = '\0';
}

const char *
rational_text(const struct rational *value, struct arena *arena)
{
    int64_t exact = rational_places(value);
    uint32_t places = exact < 0 ? RATIONAL_PLACES_MAX : (uint32_t)exact;
    const char *digits = rational_digits(value, places, ROUND_HALF_EVEN, arena);
    char *text = digits_point(digits, places, rational_sign(value) < 0, arena);
    if (places > 0)
        zeros_trim(text);
    return text;
}

const char *
rational_text_places(const struct rational *value, uint32_t places, struct arena *arena)
{
    const char *digits = rational_digits(value, places, ROUND_HALF_UP, arena);
    return digits_point(digits, places, rational_sign(value) < 0, arena);
}
