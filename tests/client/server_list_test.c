#include "client/server_list.h"

#include <criterion/criterion.h>

#include <stdio.h>
#include <string.h>

Test(server_list, reads_names_in_their_order)
{
    static const struct {
        const char *text;
        uint32_t count;
        const char *printed[3];
    } rows[] = {
        {"127.0.0.1:24224",          1, {"127.0.0.1:24224"}               },
        {"a:1,b:2",                  2, {"a:1", "b:2"}                    },
        {"a:1,b:2,unix:/run/t.sock", 3, {"a:1", "b:2", "unix:/run/t.sock"}},
        {" a:1 ,  [::1]:2 ",         2, {"a:1", "[::1]:2"}                },
        {"a:1,a:1",                  2, {"a:1", "a:1"}                    },
    };
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        struct server_list list;
        struct error error = {0};
        char text[SERVER_TEXT_MAX];
        cr_assert_eq(server_list_parse(rows[i].text, &list, &error), STATUS_OK, "%s", error.text);
        cr_assert_eq(list.count, rows[i].count);
        for (uint32_t at = 0; at < list.count; at++) {
            server_list_print(&list, at, text);
            cr_assert_str_eq(text, rows[i].printed[at]);
        }
    }
}

Test(server_list, refuses_what_names_no_server)
{
    static const struct {
        const char *text, *named;
    } rows[] = {
        {"",                                    "HOST:PORT"  },
        {"a:1,",                                "HOST:PORT"  },
        {",a:1",                                "HOST:PORT"  },
        {"a:1,,b:2",                            "HOST:PORT"  },
        {"a:1, ,b:2",                           "HOST:PORT"  },
        {"a:1,nowhere",                         "nowhere"    },
        {"a:1,b:99999",                         "b:99999"    },
        {"a:1;b:2,c",                           "\"c\""      },
        {"a:1,b:1,c:1,d:1,e:1,f:1,g:1,h:1,i:1", "more than 8"},
    };
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        struct server_list list;
        struct error error = {0};
        cr_assert_eq(server_list_parse(rows[i].text, &list, &error), STATUS_INVALID, "row %zu", i);
        cr_assert_not_null(strstr(error.text, rows[i].named), "row %zu: %s", i, error.text);
    }
}

Test(server_list, refuses_a_name_longer_than_any)
{
    static char text[SERVER_TEXT_MAX + 20];
    struct server_list list;
    struct error error = {0};
    memset(text, 'x', sizeof text - 1);
    memcpy(text, "a:1,", 4);
    cr_assert_eq(server_list_parse(text, &list, &error), STATUS_INVALID);
    cr_assert_not_null(strstr(error.text, "server 2 is too long"), "%s", error.text);
}
