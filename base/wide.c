#include "base/wide.h"

#include "base/assert.h"

bool
wide_is_negative(const struct wide *value)
{
    return value->limbs[3] >> 63 != 0;
}

bool
wide_is_zero(const struct wide *value)
{
    return (value->limbs[0] | value->limbs[1] | value->limbs[2] | value->limbs[3]) == 0;
}

struct wide
wide_negate(struct wide value)
{
    uint128 carry = 1;
    for (int i = 0; i < 4; i++) {
        carry += ~value.limbs[i];
        value.limbs[i] = (uint64_t)carry;
        carry >>= 64;
    }
    return value;
}

static uint64_t
magnitude(int64_t value)
{
    return value < 0 ? 0 - (uint64_t)value : (uint64_t)value;
}

// Unsigned; returns what does not fit.
static uint64_t
multiply_by(struct wide *value, uint64_t by)
{
    uint128 carry = 0;
    for (int i = 0; i < 4; i++) {
        carry += (uint128)value->limbs[i] * by;
        value->limbs[i] = (uint64_t)carry;
        carry >>= 64;
    }
    return (uint64_t)carry;
}

struct wide
wide_scale(struct wide value, int64_t by)
{
    bool is_negative = wide_is_negative(&value);
    if (is_negative)
        value = wide_negate(value);
    (void)multiply_by(&value, magnitude(by));
    return is_negative != (by < 0) ? wide_negate(value) : value;
}

struct wide
wide_multiply(int128 value, int64_t by)
{
    return wide_scale(wide_from_int128(value), by);
}

int
wide_compare(const struct wide *a, const struct wide *b)
{
    bool is_negative = wide_is_negative(a);
    if (is_negative != wide_is_negative(b))
        return is_negative ? -1 : 1;
    for (int i = 3; i >= 0; i--) {
        if (a->limbs[i] != b->limbs[i])
            return a->limbs[i] < b->limbs[i] ? -1 : 1;
    }
    return 0;
}

bool
wide_to_int128(const struct wide *value, int128 *out)
{
    int128 low = (int128)((uint128)value->limbs[1] << 64 | value->limbs[0]);
    struct wide back = wide_from_int128(low);
    if (wide_compare(value, &back) != 0)
        return false;
    *out = low;
    return true;
}

size_t
wide_write(const struct wide *value, uint8_t out[WIDE_SIZE])
{
    memcpy(out, value->limbs, WIDE_SIZE);
    uint8_t sign = wide_is_negative(value) ? UINT8_MAX : 0;
    size_t size = WIDE_SIZE;
    // A byte may go when the one below it has the same sign; of zero nothing stays.
    while (size > 0 && out[size - 1] == sign &&
           (size == 1 ? sign == 0 : out[size - 2] >> 7 == sign >> 7))
        size--;
    return size;
}

struct wide
wide_read(struct bytes bytes)
{
    struct wide value;
    must(bytes.size <= WIDE_SIZE);
    bool is_negative = bytes.size > 0 && bytes.data[bytes.size - 1] >> 7 != 0;
    memset(&value, is_negative ? UINT8_MAX : 0, sizeof value);
    if (bytes.size > 0)
        memcpy(&value, bytes.data, bytes.size);
    return value;
}

// Divides in place; the remainder comes back.
static uint64_t
divide_by(struct wide *value, uint64_t by)
{
    uint128 rest = 0;
    for (int i = 3; i >= 0; i--) {
        uint128 part = rest << 64 | value->limbs[i];
        value->limbs[i] = (uint64_t)(part / by);
        rest = part % by;
    }
    return (uint64_t)rest;
}

static const uint64_t UNITS_PER_ONE = 1000000000000000000ULL;

// rest / (denominator * 10^18) as digits after the point, the last one rounded half-even; returns
// the carry into the whole part. rest is less than denominator * 10^18, which has 124 bits.
static bool
fraction_digits(uint128 rest, uint128 divisor, uint32_t places, bool is_odd, char *digits)
{
    for (uint32_t i = 0; i < places; i++) {
        rest *= 10;
        digits[i] = (char)('0' + (int)(rest / divisor));
        rest %= divisor;
        is_odd = (digits[i] - '0') % 2 != 0;
    }
    bool rounds_up = rest * 2 > divisor || (rest * 2 == divisor && is_odd);
    for (uint32_t i = places; rounds_up && i > 0; i--) {
        rounds_up = digits[i - 1] == '9';
        digits[i - 1] = rounds_up ? '0' : (char)(digits[i - 1] + 1);
    }
    return rounds_up;
}

static size_t
print_whole(struct wide value, char *out)
{
    char digits[WIDE_TEXT_MAX];
    size_t count = 0;
    do {
        digits[count++] = (char)('0' + (int)divide_by(&value, 10));
    } while (!wide_is_zero(&value));
    for (size_t i = 0; i < count; i++)
        out[i] = digits[count - 1 - i];
    return count;
}

size_t
wide_divide_print(
    struct wide numerator, uint64_t denominator, uint32_t places, char out[WIDE_TEXT_MAX])
{
    must(denominator > 0 && denominator <= INT64_MAX);
    must(places <= 38);
    char digits[40];
    bool is_negative = wide_is_negative(&numerator);
    struct wide whole = is_negative ? wide_negate(numerator) : numerator;
    uint64_t of_denominator = divide_by(&whole, denominator);
    uint64_t of_units = divide_by(&whole, UNITS_PER_ONE);
    // numerator = (whole * 10^18 + of_units) * denominator + of_denominator
    uint128 rest = (uint128)of_units * denominator + of_denominator;
    uint128 divisor = (uint128)UNITS_PER_ONE * denominator;
    if (fraction_digits(rest, divisor, places, whole.limbs[0] % 2 != 0, digits)) {
        const struct wide one = {{1}};
        wide_add(&whole, &one);
    }
    while (places > 0 && digits[places - 1] == '0')
        places--;
    size_t size = 0;
    if (is_negative && (places > 0 || !wide_is_zero(&whole)))
        out[size++] = '-';
    size += print_whole(whole, out + size);
    if (places > 0) {
        out[size++] = '.';
        memcpy(out + size, digits, places);
        size += places;
    }
    must(size < WIDE_TEXT_MAX);
    out[size] = '\0';
    return size;
}
