#include "client/uuid7.h"

#include <criterion/criterion.h>

#include <stdlib.h>
#include <string.h>

static const int64_t WALL_NS = 1763809200123456789;

static struct uuid7_source
source_new(void)
{
    struct uuid7_source source;
    cr_assert_eq(uuid7_init(&source, NULL), STATUS_OK);
    return source;
}

// The milliseconds in the first 48 bits.
static uint64_t
text_ms(const char text[UUID7_TEXT_SIZE])
{
    char hex[13] = {0};
    memcpy(hex, text, 8);
    memcpy(hex + 8, text + 9, 4);
    return strtoull(hex, NULL, 16);
}

Test(uuid7, has_the_form_of_rfc_9562)
{
    struct uuid7_source source = source_new();
    char text[UUID7_TEXT_SIZE];
    uuid7_next(&source, WALL_NS, text);
    for (size_t i = 0; i < sizeof text; i++) {
        bool is_dash = i == 8 || i == 13 || i == 18 || i == 23;
        if (is_dash)
            cr_assert_eq(text[i], '-', "at %zu", i);
        else
            cr_assert_not_null(strchr("0123456789abcdef", text[i]), "at %zu", i);
    }
    cr_assert_eq(text[14], '7', "the version");
    cr_assert_not_null(strchr("89ab", text[19]), "the variant");
    cr_assert_eq(text_ms(text), (uint64_t)WALL_NS / 1000000);
}

Test(uuid7, rises_while_the_clock_stands_or_goes_back)
{
    struct uuid7_source source = source_new();
    char before[UUID7_TEXT_SIZE], text[UUID7_TEXT_SIZE];
    uuid7_next(&source, WALL_NS, before);
    for (int64_t i = 0; i < 20000; i++) {
        uuid7_next(&source, i % 2 == 0 ? WALL_NS : WALL_NS - i * 1000000, text);
        cr_assert_lt(memcmp(before, text, sizeof text), 0, "at %ld", (long)i);
        memcpy(before, text, sizeof text);
    }
}

Test(uuid7, follows_the_clock_forward)
{
    struct uuid7_source source = source_new();
    char text[UUID7_TEXT_SIZE];
    uuid7_next(&source, WALL_NS, text);
    uuid7_next(&source, WALL_NS + 5000000000, text);
    cr_assert_eq(text_ms(text), (uint64_t)(WALL_NS + 5000000000) / 1000000);
    uuid7_next(&source, -1, text);
    cr_assert_eq(text_ms(text), (uint64_t)(WALL_NS + 5000000000) / 1000000);
}

Test(uuid7, differs_between_sources_at_one_moment)
{
    struct uuid7_source one = source_new(), other = source_new();
    char a[UUID7_TEXT_SIZE], b[UUID7_TEXT_SIZE];
    for (int i = 0; i < 100; i++) {
        uuid7_next(&one, WALL_NS, a);
        uuid7_next(&other, WALL_NS, b);
        cr_assert_neq(memcmp(a, b, sizeof a), 0);
    }
}
