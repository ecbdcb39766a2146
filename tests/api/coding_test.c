// Who takes gzip, by the header that says so.

#include "api/coding.h"

#include <criterion/criterion.h>

Test(coding, reads_what_a_client_takes)
{
    static const struct {
        const char *accept;
        bool takes;
    } rows[] = {
        {NULL,                            false},
        {"",                              false},
        {"gzip",                          true },
        {"GZip",                          true },
        {"x-gzip",                        true },
        {"deflate, gzip, br",             true },
        {"gzip;q=0",                      false},
        {"gzip ; q=0.000",                false},
        {"gzip; Q=0",                     false},
        {"gzip;q=0.001",                  true },
        {"gzip;q=1",                      true },
        {"br , gzip\t",                   true },
        {"*",                             true },
        {"*;q=0",                         false},
        {"*, gzip;q=0",                   false},
        {"*;q=0, gzip",                   true },
        {"gzip;q=0, *",                   false},
        {"identity",                      false},
        {"gzipped",                       false},
        {"gzi",                           false},
        {",,,",                           false},
        {";q=0",                          false},
        {"br;q=1.0, gzip;q=0.8, *;q=0.1", true },
        {"gzip;q",                        true },
        {"gzip;q=",                       true },
    };
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++)
        cr_assert_eq(
            coding_takes_gzip(rows[i].accept),
            rows[i].takes,
            "%s",
            rows[i].accept != NULL ? rows[i].accept : "(none)");
}
