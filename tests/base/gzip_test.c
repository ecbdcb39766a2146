#include "base/gzip.h"

#include "base/clock.h"
#include "tests/ingest/squeeze.h"

#include <criterion/criterion.h>

#include <stdlib.h>

static const struct gzip_limits LIMITS = {.size_max = 1 << 20, .ratio_max = 200};

struct bench {
    struct gzip *gzip;
    struct buffer packed;
    struct buffer out;
};

static void
bench_open(struct bench *bench)
{
    struct error error = {0};
    *bench = (struct bench){0};
    cr_assert_eq(gzip_open(&bench->gzip, &error), STATUS_OK, "%s", error.text);
}

static void
bench_close(struct bench *bench)
{
    gzip_close(bench->gzip);
    buffer_done(&bench->packed);
    buffer_done(&bench->out);
}

static enum gzip_result
inflated(struct bench *bench, struct bytes packed, const struct gzip_limits *limits)
{
    buffer_reset(&bench->out);
    return gzip_inflate(bench->gzip, packed, limits, &bench->out);
}

// Bytes that do not compress.
static void
noise_put(struct buffer *out, size_t size)
{
    uint64_t state = 88172645463325252U;
    for (size_t i = 0; i < size; i++) {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        buffer_u8(out, (uint8_t)(state >> 32));
    }
}

static void
zeros_put(struct buffer *out, size_t size)
{
    for (size_t i = 0; i < size; i++)
        buffer_u8(out, 0);
}

Test(gzip, reads_one_member_and_many)
{
    struct bench bench;
    bench_open(&bench);
    scoped(buffer_done) struct buffer wanted = {0};
    for (size_t members = 1; members <= 40; members++) {
        char text[64];
        (void)snprintf(text, sizeof text, "member %zu of them", members);
        squeeze(&bench.packed, bytes_text(text));
        buffer_text(&wanted, text);
        cr_assert_eq(inflated(&bench, buffer_view(&bench.packed), &LIMITS), GZIP_FINE);
        cr_assert(bytes_equal(buffer_view(&bench.out), buffer_view(&wanted)));
    }
    bench_close(&bench);
}

// In pieces of any size, from bytes that move in between, comes what comes in one.
Test(gzip, inflates_in_pieces)
{
    struct bench bench;
    bench_open(&bench);
    scoped(buffer_done) struct buffer wanted = {0};
    scoped(buffer_done) struct buffer moved = {0};
    noise_put(&wanted, 300 * 1000);
    zeros_put(&wanted, 300 * 1000);
    for (size_t i = 0; i < 6; i++)
        squeeze(&bench.packed, bytes_of(wanted.data + i * 100 * 1000, 100 * 1000));
    for (size_t work = 1; work <= 1 << 20; work *= 4) {
        uint32_t pieces = 1;
        enum gzip_result result;
        buffer_reset(&bench.out);
        gzip_begin(bench.gzip, bench.packed.size, &LIMITS, &bench.out);
        while ((result = gzip_some(
                    bench.gzip,
                    buffer_view(pieces % 2 == 0 ? &moved : &bench.packed),
                    work,
                    &bench.out)) == GZIP_MORE) {
            pieces++;
            buffer_done(&moved);
            moved = (struct buffer){0};
            buffer_bytes(&moved, buffer_view(&bench.packed));
        }
        cr_assert_eq(result, GZIP_FINE);
        cr_assert(bytes_equal(buffer_view(&bench.out), buffer_view(&wanted)));
        cr_assert_geq(pieces, work == 1 ? 6 : 1, "%u pieces", pieces);
        cr_assert_eq(pieces > 1, work < 1 << 20, "%u pieces of %zu", pieces, work);
    }
    bench_close(&bench);
}

Test(gzip, reads_empty_members)
{
    struct bench bench;
    bench_open(&bench);
    squeeze(&bench.packed, bytes_of(NULL, 0));
    cr_assert_eq(inflated(&bench, buffer_view(&bench.packed), &LIMITS), GZIP_FINE);
    cr_assert_eq(bench.out.size, 0);
    squeeze(&bench.packed, bytes_text("x"));
    squeeze(&bench.packed, bytes_of(NULL, 0));
    cr_assert_eq(inflated(&bench, buffer_view(&bench.packed), &LIMITS), GZIP_FINE);
    cr_assert(bytes_equal(buffer_view(&bench.out), bytes_text("x")));
    bench_close(&bench);
}

// Larger than a step, a window and the floor of the ratio.
Test(gzip, reads_what_does_not_compress)
{
    struct bench bench;
    bench_open(&bench);
    scoped(buffer_done) struct buffer noise = {0};
    noise_put(&noise, 700001);
    squeeze(&bench.packed, buffer_view(&noise));
    cr_assert_eq(inflated(&bench, buffer_view(&bench.packed), &LIMITS), GZIP_FINE);
    cr_assert(bytes_equal(buffer_view(&bench.out), buffer_view(&noise)));
    bench_close(&bench);
}

// A member with every optional header field: extra, name, comment and header checksum.
Test(gzip, reads_a_header_with_all_fields)
{
    struct bench bench;
    bench_open(&bench);
    squeeze(&bench.packed, bytes_text("entries"));
    scoped(buffer_done) struct buffer full = {0};
    static const uint8_t HEADER[] = {
        0x1f, 0x8b, 8, 0x1e, 1, 2, 3, 4, 0, 3, 2, 0, 'e', 'x', 'n', 0, 'c', 0};
    buffer_put(&full, HEADER, sizeof HEADER);
    uint32_t checksum = (uint32_t)crc32(0, HEADER, sizeof HEADER);
    buffer_u16le(&full, (uint16_t)checksum);
    buffer_put(&full, bench.packed.data + 10, bench.packed.size - 10);
    cr_assert_eq(inflated(&bench, buffer_view(&full), &LIMITS), GZIP_FINE);
    cr_assert(bytes_equal(buffer_view(&bench.out), bytes_text("entries")));
    full.data[sizeof HEADER] ^= 1;
    cr_assert_eq(inflated(&bench, buffer_view(&full), &LIMITS), GZIP_BROKEN);
    bench_close(&bench);
}

// Of two members: cut anywhere but between them, it is broken, and nothing is left in the buffer.
Test(gzip, refuses_every_truncation)
{
    struct bench bench;
    bench_open(&bench);
    squeeze(&bench.packed, bytes_text("the first member"));
    size_t first = bench.packed.size;
    squeeze(&bench.packed, bytes_text("the second member, the second member"));
    for (size_t size = 0; size < bench.packed.size; size++) {
        uint8_t *copy = malloc(size > 0 ? size : 1);
        memcpy(copy, bench.packed.data, size);
        enum gzip_result result = inflated(&bench, bytes_of(copy, size), &LIMITS);
        cr_assert_eq(result, size == first ? GZIP_FINE : GZIP_BROKEN, "%zu bytes", size);
        if (size != first)
            cr_assert_eq(bench.out.size, 0);
        free(copy);
    }
    bench_close(&bench);
}

Test(gzip, refuses_every_flipped_bit_that_matters)
{
    struct bench bench;
    bench_open(&bench);
    struct bytes text = bytes_text("entries, entries, entries, and some more of them");
    squeeze(&bench.packed, text);
    for (size_t i = 0; i < bench.packed.size * 8; i++) {
        bench.packed.data[i / 8] ^= (uint8_t)(1 << i % 8);
        enum gzip_result result = inflated(&bench, buffer_view(&bench.packed), &LIMITS);
        // Time, system and the padding behind the last block are nobody's business; but what comes
        // out is what went in.
        if (result == GZIP_FINE)
            cr_assert(bytes_equal(buffer_view(&bench.out), text), "bit %zu", i);
        bool is_checked = i / 8 < 3 || i / 8 >= bench.packed.size - 8;
        if (is_checked)
            cr_assert_eq(result, GZIP_BROKEN, "bit %zu", i);
        bench.packed.data[i / 8] ^= (uint8_t)(1 << i % 8);
    }
    bench_close(&bench);
}

Test(gzip, refuses_what_is_no_member)
{
    static const struct {
        const char *name;
        struct bytes bytes;
    } ROWS[] = {
        {"nothing",              {0}                                           },
        {"text",                 {(const uint8_t *)"hello, this is text", 19}  },
        {"a zlib stream",        {(const uint8_t *)"\x78\x9c\x03\0\0\0\0\1", 8}},
        {"another compression",  {(const uint8_t *)"\x1f\x8b\7\0\0\0\0\0\0", 9}},
        {"reserved header bits", {(const uint8_t *)"\x1f\x8b\x08\x80\0\0", 6}  },
    };
    struct bench bench;
    bench_open(&bench);
    for (size_t i = 0; i < sizeof ROWS / sizeof ROWS[0]; i++)
        cr_assert_eq(inflated(&bench, ROWS[i].bytes, &LIMITS), GZIP_BROKEN, "%s", ROWS[i].name);
    bench_close(&bench);
}

Test(gzip, refuses_anything_behind_the_last_member)
{
    static const char *const TAILS[] = {"x", "\x1f", "\x1f\x8b", "garbage behind it"};
    struct bench bench;
    bench_open(&bench);
    squeeze(&bench.packed, bytes_text("entries"));
    size_t whole = bench.packed.size;
    for (size_t i = 0; i < sizeof TAILS / sizeof TAILS[0]; i++) {
        bench.packed.size = whole;
        buffer_text(&bench.packed, TAILS[i]);
        cr_assert_eq(inflated(&bench, buffer_view(&bench.packed), &LIMITS), GZIP_BROKEN);
    }
    bench.packed.size = whole;
    zeros_put(&bench.packed, 512);
    cr_assert_eq(inflated(&bench, buffer_view(&bench.packed), &LIMITS), GZIP_BROKEN);
    bench_close(&bench);
}

// Each limit from both sides.
Test(gzip, stops_at_the_limits)
{
    struct bench bench;
    bench_open(&bench);
    scoped(buffer_done) struct buffer noise = {0};
    noise_put(&noise, 100000);
    squeeze(&bench.packed, buffer_view(&noise));
    struct bytes packed = buffer_view(&bench.packed);
    struct gzip_limits limits = {.size_max = 100000, .ratio_max = 200};
    cr_assert_eq(inflated(&bench, packed, &limits), GZIP_FINE);
    limits.size_max = 99999;
    cr_assert_eq(inflated(&bench, packed, &limits), GZIP_TOO_LARGE);
    cr_assert_eq(bench.out.size, 0);
    limits.size_max = 0;
    cr_assert_eq(inflated(&bench, packed, &limits), GZIP_TOO_LARGE);

    scoped(buffer_done) struct buffer zeros = {0};
    zeros_put(&zeros, 500000);
    buffer_reset(&bench.packed);
    squeeze(&bench.packed, buffer_view(&zeros));
    packed = buffer_view(&bench.packed);
    cr_assert_gt(500000 / packed.size, 500, "zeros compress well");
    limits = (struct gzip_limits){.size_max = 1 << 20, .ratio_max = 500000 / packed.size + 1};
    cr_assert_eq(inflated(&bench, packed, &limits), GZIP_FINE);
    limits.ratio_max = 500000 / packed.size - 1;
    cr_assert_eq(inflated(&bench, packed, &limits), GZIP_RATIO);
    limits.ratio_max = SIZE_MAX;
    cr_assert_eq(inflated(&bench, packed, &limits), GZIP_FINE, "no overflow");
    bench_close(&bench);
}

// The ratio says nothing about little messages.
Test(gzip, has_a_floor_below_the_ratio)
{
    struct bench bench;
    bench_open(&bench);
    scoped(buffer_done) struct buffer zeros = {0};
    const struct gzip_limits limits = {.size_max = 1 << 20, .ratio_max = 1};
    zeros_put(&zeros, GZIP_RATIO_FLOOR);
    squeeze(&bench.packed, buffer_view(&zeros));
    cr_assert_eq(inflated(&bench, buffer_view(&bench.packed), &limits), GZIP_FINE);
    zeros_put(&zeros, 1);
    buffer_reset(&bench.packed);
    squeeze(&bench.packed, buffer_view(&zeros));
    cr_assert_eq(inflated(&bench, buffer_view(&bench.packed), &limits), GZIP_RATIO);
    bench_close(&bench);
}

// A gigabyte in a megabyte, and the same cut into members: refused with no more memory than the
// limit, and at once.
Test(gzip, is_not_blown_up_by_a_bomb)
{
    enum { MEMBERS = 64, MEMBER_SIZE = 16 << 20 };
    struct bench bench;
    bench_open(&bench);
    scoped(buffer_done) struct buffer zeros = {0};
    zeros_put(&zeros, MEMBER_SIZE);
    scoped(buffer_done) struct buffer member = {0};
    squeeze(&member, buffer_view(&zeros));
    for (size_t i = 0; i < MEMBERS; i++)
        buffer_bytes(&bench.packed, buffer_view(&member));
    struct gzip_limits limits = {.size_max = 64 << 20, .ratio_max = 200};
    cr_assert_eq(inflated(&bench, buffer_view(&member), &limits), GZIP_RATIO);
    cr_assert_leq(bench.out.capacity, member.size * 200 * 2 + (256 << 10));
    cr_assert_eq(inflated(&bench, buffer_view(&bench.packed), &limits), GZIP_TOO_LARGE);
    cr_assert_leq(bench.out.capacity, limits.size_max + 1);
    bench_close(&bench);
}

// Members without content cost by their bytes: a megabyte of them stays far below a second.
Test(gzip, does_bounded_work_for_many_tiny_members)
{
    struct bench bench;
    bench_open(&bench);
    scoped(buffer_done) struct buffer member = {0};
    squeeze(&member, bytes_of(NULL, 0));
    while (bench.packed.size < 1 << 20)
        buffer_bytes(&bench.packed, buffer_view(&member));
    int64_t started_ns = clock_monotonic_ns();
    cr_assert_eq(inflated(&bench, buffer_view(&bench.packed), &LIMITS), GZIP_FINE);
    int64_t taken_ns = clock_monotonic_ns() - started_ns;
    cr_assert_eq(bench.out.size, 0);
    cr_assert_lt(taken_ns, 5 * SECOND_NS);
    printf(
        "%lld ns a member\n", (long long)(taken_ns / (int64_t)(bench.packed.size / member.size)));
    bench_close(&bench);
}

// From nothing to more than a window, text that repeats and bytes that do not.
Test(gzip, packs_what_it_inflates_again)
{
    static const size_t sizes[] = {0, 1, 511, 512, 513, 5000, 32767, 32768, 40000, 600000};
    struct bench bench;
    bench_open(&bench);
    uint8_t *plain = malloc(600000);
    cr_assert_not_null(plain);
    for (int kind = 0; kind < 2; kind++) {
        uint64_t state = 1;
        for (size_t i = 0; i < 600000; i++) {
            state = state * 6364136223846793005u + 1442695040888963407u;
            plain[i] = kind == 0 ? (uint8_t)("event,"[i % 6]) : (uint8_t)(state >> 56);
        }
        for (size_t i = 0; i < sizeof sizes / sizeof sizes[0]; i++) {
            struct bytes text = bytes_of(plain, sizes[i]);
            buffer_reset(&bench.packed);
            buffer_text(&bench.packed, "before");
            cr_assert_eq(gzip_pack(text, &bench.packed), STATUS_OK);
            struct bytes member = bytes_of(bench.packed.data + 6, bench.packed.size - 6);
            struct gzip_limits limits = {.size_max = 1 << 20, .ratio_max = 2000};
            cr_assert_eq(inflated(&bench, member, &limits), GZIP_FINE);
            cr_assert(bytes_equal(buffer_view(&bench.out), text), "%d %zu", kind, sizes[i]);
            if (kind == 0 && sizes[i] >= 5000)
                cr_assert_lt(member.size, sizes[i] / 10);
        }
    }
    free(plain);
    bench_close(&bench);
}
