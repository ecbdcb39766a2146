#include "api/param.h"

#include "api/ulid.h"
#include "base/clock.h"

#include <criterion/criterion.h>

#include <string.h>

static struct target
target_of(const char *query, struct arena *arena)
{
    struct target target;
    const char *fault = NULL;
    const char *text = arena_format(arena, "/x?%s", query);
    cr_assert(target_parse(text, arena, &target, &fault), "%s", fault);
    return target;
}

Test(param, numbers_are_taken_within_their_bounds)
{
    static const struct {
        const char *query;
        int64_t value;  // -1: refused
    } rows[] = {
        {"",                      7  },
        {"m=3",                   7  },
        {"n=1",                   1  },
        {"n=100",                 100},
        {"n=007",                 7  },
        {"n=5&n=x",               5  },
        {"n=0",                   -1 },
        {"n=101",                 -1 },
        {"n=",                    -1 },
        {"n=x",                   -1 },
        {"n=5x",                  -1 },
        {"n=+5",                  -1 },
        {"n=-5",                  -1 },
        {"n=%205",                -1 },
        {"n=5.0",                 -1 },
        {"n=9999999999999999999", -1 },
    };
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        scoped(arena_done) struct arena arena = {0};
        struct target target = target_of(rows[i].query, &arena);
        struct error error = {0};
        int64_t value = 7;
        enum status status = param_int(&target, "n", 1, 100, &value, &error);
        cr_assert_eq(status == STATUS_OK, rows[i].value >= 0, "%s", rows[i].query);
        cr_assert_eq(value, rows[i].value >= 0 ? rows[i].value : 7, "%s", rows[i].query);
    }
}

Test(param, times_have_a_date_and_a_time)
{
    static const struct {
        const char *text;
        bool is_good;
    } rows[] = {
        {"2026-11-22T10:00:00Z",          true },
        {"2026-11-22T10:00:00.5%2B02:00", true },
        {"2026-11-22t10:00:00z",          true },
        {"2026-11-22",                    false},
        {"2026-11-22 10:00:00Z",          false},
        {"T",                             false},
        {"",                              false},
        {"1732269600",                    false},
    };
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        scoped(arena_done) struct arena arena = {0};
        struct target target = target_of(arena_format(&arena, "t=%s", rows[i].text), &arena);
        struct error error = {0};
        int64_t time_ns = 0;
        enum status status = param_time(&target, "t", &time_ns, &error);
        cr_assert_eq(status == STATUS_OK, rows[i].is_good, "%s", rows[i].text);
    }
}

Test(param, words_are_those_of_the_list)
{
    static const char *const words[] = {"ASC", "DESC", NULL};
    scoped(arena_done) struct arena arena = {0};
    struct error error = {0};
    size_t index = 9;
    struct target target = target_of("a=DESC&b=desc", &arena);
    cr_assert_eq(param_word(&target, "c", words, &index, &error), STATUS_OK);
    cr_assert_eq(index, 9);
    cr_assert_eq(param_word(&target, "a", words, &index, &error), STATUS_OK);
    cr_assert_eq(index, 1);
    cr_assert_eq(param_word(&target, "b", words, &index, &error), STATUS_INVALID);
    cr_assert_str_eq(error.text, "b must be one of ASC, DESC");
}

Test(ulid, sorts_by_time_and_is_another_each_time)
{
    char first[ULID_SIZE + 1], second[ULID_SIZE + 1], later[ULID_SIZE + 1];
    ulid_make(SECOND_NS, first);
    ulid_make(SECOND_NS, second);
    ulid_make(SECOND_NS + SECOND_NS / 1000, later);
    cr_assert_eq(strlen(first), ULID_SIZE);
    cr_assert_eq(strspn(first, "0123456789ABCDEFGHJKMNPQRSTVWXYZ"), ULID_SIZE);
    cr_assert_str_neq(first, second);
    cr_assert_eq(strncmp(first, second, 10), 0);
    cr_assert_lt(strcmp(first, later), 0);
    // 1000 ms in the ULIDs' base 32.
    cr_assert_eq(strncmp(first, "00000000Z8", 10), 0, "%s", first);
}
