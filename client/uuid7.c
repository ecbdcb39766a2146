#include "client/uuid7.h"

#include "base/assert.h"

#include <errno.h>
#include <sys/random.h>

static bool
pool_fill(struct uuid7_source *source)
{
    ssize_t got;
    do
        got = getrandom(source->pool, sizeof source->pool, 0);
    while (got < 0 && errno == EINTR);
    if (got != (ssize_t)sizeof source->pool)
        return false;
    source->pool_left = UUID7_POOL_COUNT;
    return true;
}

enum status
uuid7_init(struct uuid7_source *source, struct error *error)
{
    *source = (struct uuid7_source){0};
    if (!pool_fill(source))
        return error_set_errno(error, "cannot read random bytes");
    return STATUS_OK;
}

// 1/4096 ms is the finest step that the 12 bits behind the milliseconds hold (RFC 9562, 6.2
// method 3).
static uint64_t
time_steps(int64_t now_ns)
{
    uint64_t ns = now_ns > 0 ? (uint64_t)now_ns : 0;
    uint64_t ms = ns / 1000000;
    uint64_t fraction = ns % 1000000 * 4096 / 1000000;
    return ms << 12 | fraction;
}

static void
hex_write(char *out, uint64_t value, uint32_t digits)
{
    static const char hex[] = "0123456789abcdef";
    for (uint32_t i = digits; i > 0; i--) {
        out[i - 1] = hex[value & 15];
        value >>= 4;
    }
}

void
uuid7_next(struct uuid7_source *source, int64_t now_ns, char out[UUID7_TEXT_SIZE])
{
    // getrandom was seeded at init, and a read of 256 bytes can neither fail nor be cut short
    // after that.
    if (source->pool_left == 0)
        must(pool_fill(source));
    uint64_t random = source->pool[--source->pool_left];
    uint64_t steps = time_steps(now_ns);
    if (steps <= source->last)
        steps = source->last + 1;
    source->last = steps;
    hex_write(out, steps >> 28, 8);
    out[8] = '-';
    hex_write(out + 9, steps >> 12, 4);
    out[13] = '-';
    hex_write(out + 14, 0x7000 | (steps & 0xfff), 4);
    out[18] = '-';
    hex_write(out + 19, 0x8000 | (random >> 48 & 0x3fff), 4);
    out[23] = '-';
    hex_write(out + 24, random, 12);
}
