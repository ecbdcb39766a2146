// clock_parse over any bytes, and eight bytes as an instant: no crash, and what is printed reads
// back.

#include "base/clock.h"

#include "base/assert.h"

#include <stddef.h>
#include <stdint.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static size_t
must_print(int64_t time_ns, char text[CLOCK_TEXT_MAX])
{
    size_t size = clock_print(time_ns, text);
    must(size < CLOCK_TEXT_MAX && text[size] == '\0' && text[size - 1] == 'Z');
    return size;
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    char text[CLOCK_TEXT_MAX];
    int64_t time_ns = 0;
    if (clock_parse(bytes_of(data, size), &time_ns) == STATUS_OK) {
        int64_t again_ns = 0;
        must(clock_parse(bytes_of(text, must_print(time_ns, text)), &again_ns) == STATUS_OK);
        must(again_ns == time_ns);
        must(civil_to_ns(civil_from_ns(time_ns)) <= time_ns);
    }
    if (size == sizeof time_ns) {
        memcpy(&time_ns, data, sizeof time_ns);
        (void)must_print(time_ns, text);
    }
    return 0;
}
