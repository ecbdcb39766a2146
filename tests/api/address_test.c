// Addresses, networks, and whom a request came from.

#include "api/address.h"

#include <criterion/criterion.h>

static struct address
parsed(const char *text)
{
    struct address address;
    cr_assert(address_parse(text, &address), "%s", text);
    return address;
}

static bool
is_same(struct address a, struct address b)
{
    return memcmp(&a, &b, sizeof a) == 0;
}

Test(address, reads_both_families_as_one)
{
    cr_assert(is_same(parsed("192.0.2.1"), parsed("::ffff:192.0.2.1")));
    cr_assert(is_same(parsed("fe80::1%eth0"), parsed("fe80::1")));
    static const char *const broken[] = {
        "",
        "%",
        "1.2.3",
        "1.2.3.256",
        "::g",
        "1.2.3.4:80",
        "[::1]",
        "localhost",
        "1::2::3",
        "11111111111111111111111111111111111111111111111111"};
    for (size_t i = 0; i < sizeof broken / sizeof broken[0]; i++) {
        struct address address;
        cr_assert_not(address_parse(broken[i], &address), "%s", broken[i]);
    }
}

Test(address, takes_a_64_of_v6_for_one)
{
    struct address first = address_group(parsed("2001:db8:1:2::1"));
    cr_assert(is_same(first, address_group(parsed("2001:db8:1:2:ffff:ffff:ffff:ffff"))));
    cr_assert_not(is_same(first, address_group(parsed("2001:db8:1:3::1"))));
    cr_assert_not(is_same(address_group(parsed("192.0.2.1")), address_group(parsed("192.0.2.2"))));
}

Test(address, knows_networks)
{
    static const struct {
        const char *net, *address;
        bool is_in;
    } rows[] = {
        {"10.0.0.0/8",     "10.255.1.2",       true },
        {"10.0.0.0/8",     "11.0.0.0",         false},
        {"10.0.0.0/8",     "::a00:1",          false},
        {"192.0.2.128/25", "192.0.2.127",      false},
        {"192.0.2.128/25", "192.0.2.128",      true },
        {"192.0.2.1",      "192.0.2.1",        true },
        {"192.0.2.1",      "192.0.2.0",        false},
        {"0.0.0.0/0",      "8.8.8.8",          true },
        {"0.0.0.0/0",      "2001:db8::1",      false},
        {"::/0",           "8.8.8.8",          true },
        {"2001:db8::/33",  "2001:db8:7fff::1", true },
        {"2001:db8::/33",  "2001:db8:8000::1", false},
        {"::1",            "::1",              true },
    };
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        struct address_net net;
        struct address address = parsed(rows[i].address);
        cr_assert(address_net_parse(rows[i].net, &net), "%s", rows[i].net);
        cr_assert_eq(address_is_in(&address, &net), rows[i].is_in, "row %zu", i);
    }
    static const char *const broken[] = {
        "",
        "/8",
        "10.0.0.0/",
        "10.0.0.0/33",
        "::/129",
        "10.0.0.0/8x",
        "10.0.0.0/-1",
        "10.0.0.0/0008",
        "host/8"};
    for (size_t i = 0; i < sizeof broken / sizeof broken[0]; i++) {
        struct address_net net;
        cr_assert_not(address_net_parse(broken[i], &net), "%s", broken[i]);
    }
}

Test(address, believes_proxies_of_ours_only)
{
    static const struct {
        const char *remote, *first, *second, *client;
    } rows[] = {
        {"192.0.2.9", NULL,                      NULL,          "192.0.2.9"  },
        {"192.0.2.9", "203.0.113.1",             NULL,          "192.0.2.9"  },
        {"10.0.0.1",  NULL,                      NULL,          "10.0.0.1"   },
        {"10.0.0.1",  "203.0.113.1",             NULL,          "203.0.113.1"},
        {"10.0.0.1",  "6.6.6.6, 203.0.113.1",    NULL,          "203.0.113.1"},
        {"10.0.0.1",  "203.0.113.1 ,\t10.0.0.2", NULL,          "203.0.113.1"},
        {"10.0.0.1",  "10.0.0.3",                NULL,          "10.0.0.3"   },
        {"10.0.0.1",  "6.6.6.6",                 "203.0.113.1", "203.0.113.1"},
        {"10.0.0.1",  "203.0.113.1",             "10.0.0.2",    "203.0.113.1"},
        {"10.0.0.1",  "6.6.6.6, unknown",        NULL,          "10.0.0.1"   },
        {"10.0.0.1",  "",                        NULL,          "10.0.0.1"   },
        {"10.0.0.1",  "6.6.6.6,",                NULL,          "10.0.0.1"   },
        {"::1",       "2001:db8::7",             NULL,          "2001:db8::7"},
    };
    struct address_net nets[2];
    cr_assert(address_net_parse("10.0.0.0/8", &nets[0]) && address_net_parse("::1", &nets[1]));
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        scoped(arena_done) struct arena arena = {0};
        struct http_field fields[] = {
            {"x-forwarded-for", rows[i].first },
            {"Accept",          "1.1.1.1"     },
            {"X-Forwarded-For", rows[i].second},
        };
        struct http_request request = {
            .remote = rows[i].remote,
            .fields = rows[i].first != NULL ? fields : fields + 1,
            .fields_count =
                (size_t)(rows[i].second != NULL ? 3 : rows[i].first != NULL ? 2 : 1),
            .arena = &arena,
        };
        cr_assert_str_eq(address_client(&request, nets, 2), rows[i].client, "row %zu", i);
        cr_assert_str_eq(address_client(&request, nets, 0), rows[i].remote, "row %zu", i);
    }
}
