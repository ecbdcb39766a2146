#include "base/status.h"

#include <criterion/criterion.h>

#include <errno.h>
#include <signal.h>
#include <string.h>

Test(status, error_set_fills_the_line_and_returns_the_status)
{
    struct error error = {0};
    cr_assert_eq(error_set(&error, STATUS_FULL, "ring %s has %d", "a", 7), STATUS_FULL);
    cr_assert_eq(error.status, STATUS_FULL);
    cr_assert_str_eq(error.text, "ring a has 7");
}

Test(status, accepts_no_error_struct)
{
    errno = ENOENT;
    cr_assert_eq(error_set(NULL, STATUS_BUSY, "x"), STATUS_BUSY);
    cr_assert_eq(error_set_errno(NULL, "x"), STATUS_IO);
}

Test(status, error_set_errno_names_the_cause)
{
    struct error error = {0};
    errno = ENOENT;
    cr_assert_eq(error_set_errno(&error, "cannot open %s", "f"), STATUS_IO);
    cr_assert_str_eq(error.text, "cannot open f: No such file or directory");
    errno = 99999;
    cr_assert_eq(error_set_errno(&error, "odd"), STATUS_IO);
    cr_assert_str_eq(error.text, "odd: unknown error");
}

Test(status, error_prefix_puts_a_place_before_the_text)
{
    struct error error = {0};
    cr_assert_eq(error_set(&error, STATUS_INVALID, "no key"), STATUS_INVALID);
    cr_assert_eq(error_prefix(&error, "line %d", 3), STATUS_INVALID);
    cr_assert_str_eq(error.text, "line 3: no key");
}

Test(status, an_error_may_be_made_from_its_own_text)
{
    struct error error = {0};
    cr_assert_eq(error_set(&error, STATUS_IO, "inner"), STATUS_IO);
    cr_assert_eq(error_set(&error, STATUS_IO, "outer (%s)", error.text), STATUS_IO);
    cr_assert_str_eq(error.text, "outer (inner)");
    cr_assert_eq(error_prefix(&error, "%s", error.text), STATUS_IO);
    cr_assert_str_eq(error.text, "outer (inner): outer (inner)");
}

Test(status, an_error_stays_one_line)
{
    struct error error = {0};
    cr_assert_eq(error_set(&error, STATUS_IO, "%s", "ERROR:  gone\nDETAIL: why\r\n\n"), STATUS_IO);
    cr_assert_str_eq(error.text, "ERROR:  gone DETAIL: why ");
}

Test(status, long_text_is_cut_and_terminated)
{
    struct error error = {0};
    char text[3 * sizeof error.text];
    memset(text, 'a', sizeof text - 1);
    text[sizeof text - 1] = '\0';
    for (size_t size = sizeof error.text - 4; size < sizeof error.text + 4; size++) {
        cr_assert_eq(error_set(&error, STATUS_IO, "%.*s", (int)size, text), STATUS_IO);
        size_t expected = size < sizeof error.text - 1 ? size : sizeof error.text - 1;
        cr_assert_eq(strlen(error.text), expected, "at %zu", size);
        errno = EIO;
        cr_assert_eq(error_set_errno(&error, "%.*s", (int)size, text), STATUS_IO);
        cr_assert_eq(strlen(error.text), sizeof error.text - 1);
        cr_assert_eq(error_prefix(&error, "%s", text), STATUS_IO);
        cr_assert_eq(strlen(error.text), sizeof error.text - 1);
    }
}

Test(status, every_status_has_a_name_of_its_own)
{
    for (int a = STATUS_OK; a <= STATUS_IO; a++) {
        cr_assert_str_neq(status_name((enum status)a), "unknown");
        for (int b = STATUS_OK; b < a; b++)
            cr_assert_str_neq(status_name((enum status)a), status_name((enum status)b));
    }
    cr_assert_str_eq(status_name((enum status)99), "unknown");
}

Test(status, an_error_must_not_say_ok, .signal = SIGABRT)
{
    struct error error;
    cr_assert_eq(error_set(&error, STATUS_OK, "fine"), STATUS_OK);
}
