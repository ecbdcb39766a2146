// The msgpack cursor and the scan over any bytes: both find the same end of the first value,
// however the bytes arrive, and every view lies inside the input.

#include "base/unpack.h"

#include "base/assert.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void
items_walk(struct bytes bytes)
{
    struct cursor in = cursor_over(bytes);
    struct unpack_item item;
    while (unpack_next(&in, &item)) {
        bool has_text =
            item.type == UNPACK_STR || item.type == UNPACK_BIN || item.type == UNPACK_EXT;
        if (has_text && item.text.size > 0) {
            must(item.text.data >= bytes.data);
            must(item.text.data + item.text.size <= bytes.data + bytes.size);
        }
        must(item.count <= bytes.size);
    }
    must(cursor_failed(&in));
}

// The scan, fed `step` bytes more at a time.
static enum unpack_result
scan_in_steps(struct bytes bytes, size_t step, size_t *out_size)
{
    struct unpack_scan scan = {0};
    size_t arrived = 0;
    enum unpack_result result;
    do {
        arrived = arrived + step < bytes.size ? arrived + step : bytes.size;
        result = unpack_scan(&scan, bytes_of(bytes.data, arrived), bytes.size + 1);
    } while (result == UNPACK_INCOMPLETE && arrived < bytes.size);
    *out_size = scan.size;
    return result;
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct bytes bytes = bytes_of(data, size);
    if (size == 0)
        return 0;
    items_walk(bytes);
    struct cursor in = cursor_over(bytes);
    bool is_whole = unpack_skip(&in, UNPACK_DEPTH_MAX);
    size_t length = (size_t)(in.at - data);
    for (size_t step = 1; step <= 7; step += 3) {
        size_t scanned;
        enum unpack_result result = scan_in_steps(bytes, step, &scanned);
        must((result == UNPACK_COMPLETE) == is_whole);
        must(!is_whole || scanned == length);
    }
    return 0;
}
