#include "api/json_pack.h"

#include "base/decimal.h"
#include "base/pack.h"

#include <stdlib.h>

enum { NUMBER_TEXT_MAX = 63 };

// A double's 17 digits and its exponent fit into less than NUMBER_TEXT_MAX.
static bool
double_is(struct bytes text, double *out)
{
    char copy[NUMBER_TEXT_MAX + 1];
    struct decimal exact, shortest;
    bool is_rounded = false;
    if (text.size > NUMBER_TEXT_MAX)
        return false;
    memcpy(copy, text.data, text.size);
    copy[text.size] = '\0';
    double value = strtod(copy, NULL);
    if (decimal_parse(text, &exact, &is_rounded) != STATUS_OK ||
        decimal_from_double(value, &shortest, &is_rounded) != STATUS_OK)
        return false;
    *out = value;
    return !is_rounded && exact.units == shortest.units;
}

static bool
whole_is(struct bytes text, uint64_t *out, bool *out_is_negative)
{
    uint64_t value = 0;
    size_t at = text.data[0] == '-';
    for (size_t i = at; i < text.size; i++) {
        uint8_t digit = (uint8_t)(text.data[i] - '0');
        if (digit > 9 || __builtin_mul_overflow(value, 10, &value) ||
            __builtin_add_overflow(value, digit, &value))
            return false;
    }
    *out_is_negative = at == 1;
    *out = value;
    return at == 0 || value <= (uint64_t)INT64_MAX + 1;
}

static void
number_pack(struct bytes text, struct buffer *out)
{
    uint64_t whole;
    bool is_negative;
    double real;
    if (whole_is(text, &whole, &is_negative)) {
        if (is_negative)
            pack_int(out, (int64_t)(0 - whole));
        else
            pack_uint(out, whole);
    } else if (double_is(text, &real)) {
        pack_double(out, real);
    } else {
        pack_str(out, text);
    }
}

bool
json_pack(const struct json *value, uint32_t depth_max, struct buffer *out)
{
    switch (value->type) {
    case JSON_NULL: pack_nil(out); return true;
    case JSON_BOOL: pack_bool(out, value->boolean); return true;
    case JSON_NUMBER: number_pack(value->text, out); return true;
    case JSON_STRING: pack_str(out, value->text); return true;
    case JSON_ARRAY: pack_array(out, value->count); break;
    case JSON_OBJECT: pack_map(out, value->count); break;
    }
    for (const struct json *item = value->first; item != NULL; item = item->next) {
        bool is_container = item->type == JSON_ARRAY || item->type == JSON_OBJECT;
        if (is_container && depth_max == 0)
            return false;
        if (value->type == JSON_OBJECT)
            pack_str(out, item->key);
        if (!json_pack(item, depth_max - is_container, out))
            return false;
    }
    return true;
}
