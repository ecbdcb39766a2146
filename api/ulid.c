#include "api/ulid.h"

#include "base/clock.h"

void
ulid_write(int64_t time_ns, struct hash128 bits, char out[ULID_SIZE + 1])
{
    static const char digits[] = "0123456789ABCDEFGHJKMNPQRSTVWXYZ";
    uint64_t ms = (uint64_t)(time_ns / (SECOND_NS / 1000));
    for (int i = 9; i >= 0; i--, ms >>= 5)
        out[i] = digits[ms & 31];
    for (int i = 0; i < 8; i++) {
        out[10 + i] = digits[(bits.low >> (5 * i)) & 31];
        out[18 + i] = digits[(bits.high >> (5 * i)) & 31];
    }
    out[ULID_SIZE] = '\0';
}

void
ulid_make(int64_t time_ns, char out[ULID_SIZE + 1])
{
    struct hash128 bits;
    random_fill(&bits, sizeof bits);
    ulid_write(time_ns, bits, out);
}
