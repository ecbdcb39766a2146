// decimal_parse over any bytes, and the same bytes as a double and a float: no crash, nothing out
// of range, and what is printed reads back as the same number.

#include "base/decimal.h"

#include "base/assert.h"

#include <stddef.h>
#include <stdint.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void
must_print_and_read_back(struct decimal value)
{
    int128 end = DECIMAL_ONE.units * DECIMAL_ONE.units * 10;
    must(value.units < end && value.units > -end);
    char text[DECIMAL_TEXT_MAX];
    size_t size = decimal_print(value, text);
    must(size < sizeof text && text[size] == '\0');
    struct decimal again = {0};
    bool is_rounded = false;
    must(decimal_parse(bytes_of(text, size), &again, &is_rounded) == STATUS_OK);
    must(again.units == value.units && !is_rounded);
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct decimal value = {0};
    bool is_rounded = false;
    if (decimal_parse(bytes_of(data, size), &value, &is_rounded) == STATUS_OK)
        must_print_and_read_back(value);
    double wide;
    float narrow;
    if (size == sizeof wide) {
        memcpy(&wide, data, sizeof wide);
        if (decimal_from_double(wide, &value, &is_rounded) == STATUS_OK)
            must_print_and_read_back(value);
    }
    if (size == sizeof narrow) {
        memcpy(&narrow, data, sizeof narrow);
        if (decimal_from_float(narrow, &value, &is_rounded) == STATUS_OK)
            must_print_and_read_back(value);
    }
    return 0;
}
