// Heads that two servers might read differently.

#include "api/http_head.h"

#include <criterion/criterion.h>

enum { FIELDS_MAX = 3 };

Test(http_head, refuses_what_can_be_read_in_two_ways)
{
    // clang-format off
    static const struct {
        const char *word;  // of the fault; NULL: there is none
        const char *method;
        struct http_field fields[FIELDS_MAX];
    } rows[] = {
        {NULL, "GET", {{"Host", "x"}}},
        {NULL, "POST", {{"Host", "x"}, {"Content-Length", "2"}}},
        {NULL, "POST", {{"Host", "x"}, {"Transfer-Encoding", "Chunked"}}},
        {NULL, "GET", {{"Accept", "a"}, {"Accept", "b"}}},
        {NULL, "GET", {{"X!#$%&'*+-.^_`|~1", ""}}},
        {"method", "G\x01T", {{"Host", "x"}}},
        {"method", "", {{"Host", "x"}}},
        {"space", "GET", {{"X ", "a"}}},
        {"word", "GET", {{"", "a"}}},
        {"word", "GET", {{"X\xc3\xbc", "a"}}},
        {"word", "GET", {{"X(y)", "a"}}},
        {"Host", "GET", {{"Host", "x"}, {"host", "x"}}},
        {"Content-Length", "POST", {{"Content-Length", "2"}, {"content-length", "2"}}},
        {"both", "POST", {{"Content-Length", "2"}, {"Transfer-Encoding", "chunked"}}},
        {"not chunked", "POST", {{"Transfer-Encoding", "gzip, chunked"}}},
        {"not chunked", "POST", {{"Transfer-Encoding", "identity"}}},
        {"not chunked", "POST", {{"Transfer-Encoding", ""}}},
        {"more than once", "POST", {{"Transfer-Encoding", "chunked"}, {"Transfer-Encoding", "x"}}},
        {"Authorization", "GET", {{"Authorization", "a"}, {"Authorization", "b"}}},
        {"Content-Type", "GET", {{"Content-Type", "a"}, {"Content-Type", "a"}}},
    };
    // clang-format on
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        struct http_request request = {.method = rows[i].method, .fields = rows[i].fields};
        while (request.fields_count < FIELDS_MAX &&
               rows[i].fields[request.fields_count].name != NULL)
            request.fields_count++;
        const char *fault = http_head_fault(&request);
        cr_assert_eq(fault == NULL, rows[i].word == NULL, "row %zu", i);
        if (fault != NULL)
            cr_assert_not_null(strstr(fault, rows[i].word), "row %zu: %s", i, fault);
    }
}
