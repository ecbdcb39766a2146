#include "bench/endpoint.h"

#include <criterion/criterion.h>

#include <netinet/in.h>
#include <string.h>
#include <sys/un.h>

Test(endpoint, is_an_address_and_a_port)
{
    static const enum transport transports[] = {TRANSPORT_TCP, TRANSPORT_UDP};
    for (size_t i = 0; i < 2; i++) {
        struct endpoint endpoint;
        struct sockaddr_in address;
        struct error error = {0};
        enum status status = endpoint_resolve(transports[i], "127.0.0.1:24224", &endpoint, &error);
        cr_assert_eq(status, STATUS_OK, "%s", error.text);
        cr_assert_eq(endpoint.transport, transports[i]);
        cr_assert_eq(endpoint.address_size, sizeof address);
        memcpy(&address, &endpoint.address, sizeof address);
        cr_assert_eq(address.sin_family, AF_INET);
        cr_assert_eq(address.sin_port, htons(24224));
        cr_assert_eq(address.sin_addr.s_addr, htonl(INADDR_LOOPBACK));
    }
}

Test(endpoint, is_the_path_of_a_socket)
{
    struct endpoint endpoint;
    struct sockaddr_un address;
    struct error error = {0};
    cr_assert_eq(endpoint_resolve(TRANSPORT_UNIX, "a/b.sock", &endpoint, &error), STATUS_OK);
    memcpy(&address, &endpoint.address, sizeof address);
    cr_assert_eq(address.sun_family, AF_UNIX);
    cr_assert_str_eq(address.sun_path, "a/b.sock");
}

Test(endpoint, refuses_what_is_none)
{
    char long_path[200], longest[108];
    struct endpoint endpoint;
    struct error error = {0};
    static const char *const texts[] = {"", "127.0.0.1", ":24224"};
    for (size_t i = 0; i < 3; i++)
        cr_assert_neq(
            endpoint_resolve(TRANSPORT_TCP, texts[i], &endpoint, &error),
            STATUS_OK,
            "%s",
            texts[i]);
    memset(long_path, 'x', sizeof long_path);
    memcpy(longest, long_path, sizeof longest);
    longest[107] = '\0';
    cr_assert_eq(endpoint_resolve(TRANSPORT_UNIX, longest, &endpoint, &error), STATUS_OK);
    long_path[108] = '\0';
    cr_assert_eq(endpoint_resolve(TRANSPORT_UNIX, long_path, &endpoint, &error), STATUS_INVALID);
    cr_assert_eq(endpoint_resolve(TRANSPORT_UNIX, "", &endpoint, &error), STATUS_INVALID);
}

Test(endpoint, says_that_nobody_listens)
{
    struct endpoint endpoint;
    struct error error = {0};
    int fd = -1;
    cr_assert_eq(endpoint_resolve(TRANSPORT_UNIX, "no/such.sock", &endpoint, &error), STATUS_OK);
    cr_assert_neq(endpoint_connect(&endpoint, &fd, &error), STATUS_OK);
    cr_assert_eq(fd, -1);
}
