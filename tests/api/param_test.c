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
        int value;  // -1: refused
    } rows[] = {
        {"",                      7  },
        {"m=3",                   7  },
        {"n=1",                   1  },
        {"n=100",                 100},
        {"n=007",                 7  },
        {"n=5&n=5",               -1 },
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
        uint32_t value = 7;
        enum status status = param_number(&target, "n", 1, 100, &value, &error);
        cr_assert_eq(status == STATUS_OK, rows[i].value >= 0, "%s", rows[i].query);
        int kept = rows[i].value >= 0 ? rows[i].value : 7;
        cr_assert_eq((int)value, kept, "%s", rows[i].query);
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

Test(param, what_is_given_twice_is_refused)
{
    scoped(arena_done) struct arena arena = {0};
    const char *const names[] = {"a", "b", NULL};
    struct target target = target_of("a=1&b=2&b=3", &arena);
    struct error error = {0};
    const char *text = "as it was";
    size_t index = 0;
    int64_t time_ns = 0;
    cr_assert_eq(param_once(&target, "a", &text, &error), STATUS_OK);
    cr_assert_str_eq(text, "1");
    cr_assert_eq(param_once(&target, "b", &text, &error), STATUS_INVALID);
    cr_assert_str_eq(text, "1");
    cr_assert_str_eq(error.text, "b is given more than once");
    cr_assert_eq(param_text(&target, "b", 9, &text, &error), STATUS_INVALID);
    cr_assert_eq(param_time(&target, "b", &time_ns, &error), STATUS_INVALID);
    cr_assert_eq(param_word(&target, "b", names, &index, &error), STATUS_INVALID);
    cr_assert_eq(param_check(&target, names, &error), STATUS_INVALID);
    target = target_of("b=2", &arena);
    cr_assert_eq(param_check(&target, names, &error), STATUS_OK);
    target = target_of("b=2&c=1", &arena);
    cr_assert_eq(param_check(&target, names, &error), STATUS_INVALID);
    cr_assert_str_eq(error.text, "there is no parameter c for this path");
}

Test(param, texts_have_bounds)
{
    scoped(arena_done) struct arena arena = {0};
    struct target target = target_of("a=xyz&b=", &arena);
    struct error error = {0};
    const char *text = NULL;
    cr_assert_eq(param_text(&target, "a", 3, &text, &error), STATUS_OK);
    cr_assert_str_eq(text, "xyz");
    cr_assert_eq(param_text(&target, "a", 2, &text, &error), STATUS_INVALID);
    cr_assert_eq(param_text(&target, "b", 2, &text, &error), STATUS_INVALID);
    cr_assert_str_eq(error.text, "b must have 1 to 2 bytes");
}

Test(param, a_plus_that_became_a_space_is_told)
{
    scoped(arena_done) struct arena arena = {0};
    struct target target = target_of("t=2026-11-22T10:00:00+01:00", &arena);
    struct error error = {0};
    int64_t time_ns = 0;
    cr_assert_eq(param_time(&target, "t", &time_ns, &error), STATUS_INVALID);
    cr_assert(strstr(error.text, "%2B") != NULL, "%s", error.text);
}

Test(param, dashed_numbers_are_all_there)
{
    static const struct {
        const char *text;
        bool is_good;
    } rows[] = {
        {"12-0-3",                   true },
        {"18446744073709551615-0-3", true },
        {"18446744073709551616-0-3", false},
        {"12-0",                     false},
        {"12-0-3-4",                 false},
        {"12-0-",                    false},
        {"-1-0-3",                   false},
        {"12 -0-3",                  false},
        {"",                         false},
    };
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        uint64_t numbers[3];
        cr_assert_eq(param_dashed(rows[i].text, numbers, 3), rows[i].is_good, "%s", rows[i].text);
    }
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

Test(param, a_sort_is_a_field_and_a_direction)
{
    static const char *const fields[] = {"key", "created_at", NULL};
    static const struct {
        const char *query;
        int field;  // -1: refused
        bool is_descending;
    } rows[] = {
        {"",                       7,  true },
        {"sort=key",               0,  true },
        {"sort=created_at+asc",    1,  false},
        {"sort=created_at%20desc", 1,  true },
        {"sort=",                  -1, true },
        {"sort=ke",                -1, true },
        {"sort=keys",              -1, true },
        {"sort=key+",              -1, true },
        {"sort=key+up",            -1, true },
        {"sort=key+asc+asc",       -1, true },
        {"sort=+asc",              -1, true },
        {"sort=key&sort=key",      -1, true },
    };
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        scoped(arena_done) struct arena arena = {0};
        struct target target = target_of(rows[i].query, &arena);
        struct error error = {0};
        size_t field = 7;
        bool is_descending = true;
        enum status status = param_sort(&target, fields, &field, &is_descending, &error);
        cr_assert_eq(status == STATUS_OK, rows[i].field >= 0, "%s", rows[i].query);
        if (status)
            continue;
        cr_assert_eq((int)field, rows[i].field, "%s", rows[i].query);
        cr_assert_eq(is_descending, rows[i].is_descending, "%s", rows[i].query);
    }
}
