#include "ingest/network.h"

#include <criterion/criterion.h>

#include <arpa/inet.h>
#include <netinet/in.h>
#include <string.h>
#include <sys/socket.h>

static struct sockaddr_storage
address_of(const char *text)
{
    struct sockaddr_storage out = {0};
    struct sockaddr_in in = {.sin_family = AF_INET};
    struct sockaddr_in6 in6 = {.sin6_family = AF_INET6};
    if (inet_pton(AF_INET, text, &in.sin_addr) == 1)
        memcpy(&out, &in, sizeof in);
    else if (inet_pton(AF_INET6, text, &in6.sin6_addr) == 1)
        memcpy(&out, &in6, sizeof in6);
    else
        cr_assert_fail("%s", text);
    return out;
}

static const struct {
    const char *network;
    const char *address;
    bool has;
} ROWS[] = {
    {"10.0.0.0/8",      "10.0.0.0",        true },
    {"10.0.0.0/8",      "10.255.255.255",  true },
    {"10.0.0.0/8",      "11.0.0.0",        false},
    {"10.0.0.0/8",      "9.255.255.255",   false},
    {"10.9.9.9/8",      "10.1.1.1",        true },
    {"192.0.2.128/25",  "192.0.2.128",     true },
    {"192.0.2.128/25",  "192.0.2.255",     true },
    {"192.0.2.128/25",  "192.0.2.127",     false},
    {"192.0.2.7",       "192.0.2.7",       true },
    {"192.0.2.7",       "192.0.2.6",       false},
    {"192.0.2.7/32",    "192.0.2.7",       true },
    {"192.0.2.6/31",    "192.0.2.7",       true },
    {"192.0.2.6/31",    "192.0.2.8",       false},
    {"0.0.0.0/0",       "203.0.113.9",     true },
    {"0.0.0.0/0",       "2001:db8::1",     false},
    {"::/0",            "2001:db8::1",     true },
    {"::/0",            "10.0.0.1",        true },
    {"10.0.0.0/8",      "::ffff:10.1.2.3", true },
    {"::ffff:0:0/96",   "10.1.2.3",        true },
    {"fd00::/8",        "fd12:3456::1",    true },
    {"fd00::/8",        "fe80::1",         false},
    {"2001:db8::/33",   "2001:db8:7fff::", true },
    {"2001:db8::/33",   "2001:db8:8000::", false},
    {"2001:db8::1",     "2001:db8::1",     true },
    {"2001:db8::1",     "2001:db8::2",     false},
    {"2001:db8::1/128", "2001:db8::1",     true },
};

Test(network, has_the_addresses_of_its_range)
{
    for (size_t i = 0; i < sizeof ROWS / sizeof ROWS[0]; i++) {
        struct network network;
        struct error error = {0};
        struct sockaddr_storage address = address_of(ROWS[i].address);
        cr_assert_eq(network_parse(ROWS[i].network, &network, &error), STATUS_OK, "%s", error.text);
        cr_assert_eq(
            network_has(&network, (const struct sockaddr *)&address),
            ROWS[i].has,
            "%s, %s",
            ROWS[i].network,
            ROWS[i].address);
    }
}

Test(network, has_no_address_of_another_family)
{
    struct network network;
    struct error error = {0};
    struct sockaddr_storage address = {.ss_family = AF_UNIX};
    cr_assert_eq(network_parse("::/0", &network, &error), STATUS_OK);
    cr_assert_not(network_has(&network, (const struct sockaddr *)&address));
}

static const char *const NO_NETWORKS[] = {
    "",
    "/",
    "/8",
    "10.0.0.0/",
    "10.0.0.0/33",
    "10.0.0.0/-1",
    "10.0.0.0/8x",
    "10.0.0.0/ 8",
    "10.0.0/8",
    "10.0.0.0.0",
    "256.0.0.0/8",
    "localhost",
    "::/129",
    "::/1000",
    "[::1]",
    "fd00::/8/8",
    "10.0.0.0/4294967304",
    "1111:2222:3333:4444:5555:6666:7777:8888:9999:aaaa:bbbb:cccc",
};

Test(network, refuses_what_is_none)
{
    for (size_t i = 0; i < sizeof NO_NETWORKS / sizeof NO_NETWORKS[0]; i++) {
        struct network network;
        struct error error = {0};
        cr_assert_eq(
            network_parse(NO_NETWORKS[i], &network, &error), STATUS_INVALID, "%s", NO_NETWORKS[i]);
        cr_assert_not_null(strstr(error.text, "is no network"));
    }
}
