#include "base/control.h"

#include <criterion/criterion.h>

#include <arpa/inet.h>
#include <netinet/in.h>
#include <string.h>
#include <sys/socket.h>

struct message {
    int level;
    int type;
    size_t size;
    uint8_t data[24];
};

// The messages as the kernel writes them, one behind the other.
static size_t
messages_write(const struct message *messages, size_t count, uint8_t out[CONTROL_SIZE])
{
    size_t size = 0;
    memset(out, 0, CONTROL_SIZE);
    for (size_t i = 0; i < count; i++) {
        struct cmsghdr head = {
            .cmsg_len = CMSG_LEN(messages[i].size),
            .cmsg_level = messages[i].level,
            .cmsg_type = messages[i].type,
        };
        cr_assert_leq(size + CMSG_SPACE(messages[i].size), CONTROL_SIZE);
        memcpy(out + size, &head, sizeof head);
        memcpy(out + size + CMSG_LEN(0), messages[i].data, messages[i].size);
        size += CMSG_SPACE(messages[i].size);
    }
    return size;
}

static struct message
drops_message(uint32_t drops)
{
    struct message message = {SOL_SOCKET, SO_RXQ_OVFL, sizeof drops, {0}};
    memcpy(message.data, &drops, sizeof drops);
    return message;
}

static struct message
address4_message(const char *local, const char *header)
{
    struct message message = {IPPROTO_IP, IP_PKTINFO, sizeof(struct in_pktinfo), {0}};
    struct in_pktinfo info = {.ipi_ifindex = 7};
    cr_assert_eq(inet_pton(AF_INET, local, &info.ipi_spec_dst), 1);
    cr_assert_eq(inet_pton(AF_INET, header, &info.ipi_addr), 1);
    memcpy(message.data, &info, sizeof info);
    return message;
}

static struct message
address6_message(const char *address)
{
    struct message message = {IPPROTO_IPV6, IPV6_PKTINFO, sizeof(struct in6_pktinfo), {0}};
    struct in6_pktinfo info = {.ipi6_ifindex = 7};
    cr_assert_eq(inet_pton(AF_INET6, address, &info.ipi6_addr), 1);
    memcpy(message.data, &info, sizeof info);
    return message;
}

static struct control
control_of(const struct message *messages, size_t count)
{
    _Alignas(8) uint8_t bytes[CONTROL_SIZE];
    struct control out = {.dropped = 99, .source_size = 99};
    size_t size = messages_write(messages, count, bytes);
    control_read(bytes, size, &out);
    return out;
}

Test(control, reads_nothing_from_nothing)
{
    struct control out = {.dropped = 1, .source_size = 1};
    control_read(NULL, 0, &out);
    cr_assert_eq(out.dropped, 0);
    cr_assert_eq(out.source_size, 0);
}

// The answer's source is the local address, which for a broadcast is not the header's, and no
// interface is forced upon the route back.
Test(control, keeps_the_local_address_of_ipv4)
{
    struct message messages[] = {drops_message(5), address4_message("192.0.2.7", "192.0.2.255")};
    struct control out = control_of(messages, 2);
    struct cmsghdr head;
    struct in_pktinfo info;
    cr_assert_eq(out.dropped, 5);
    cr_assert_eq(out.source_size, CMSG_SPACE(sizeof info));
    memcpy(&head, out.source, sizeof head);
    memcpy(&info, out.source + CMSG_LEN(0), sizeof info);
    cr_assert_eq(head.cmsg_len, CMSG_LEN(sizeof info));
    cr_assert_eq(head.cmsg_level, IPPROTO_IP);
    cr_assert_eq(head.cmsg_type, IP_PKTINFO);
    cr_assert_eq(info.ipi_ifindex, 0);
    cr_assert_eq(ntohl(info.ipi_spec_dst.s_addr), 0xc0000207);
    cr_assert_eq(info.ipi_addr.s_addr, 0);
}

Test(control, keeps_the_address_of_ipv6)
{
    static const struct {
        const char *address;
        bool is_kept;
        unsigned interface;
    } rows[] = {
        {"2001:db8::1",      true,  0},
        {"::ffff:192.0.2.7", true,  0},
        {"fe80::1",          true,  7},
        {"ff02::1",          false, 0},
    };
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        struct message messages[] = {address6_message(rows[i].address), drops_message(3)};
        struct control out = control_of(messages, 2);
        struct in6_pktinfo info;
        cr_assert_eq(out.dropped, 3);
        cr_assert_eq(out.source_size > 0, rows[i].is_kept, "%s", rows[i].address);
        if (!rows[i].is_kept)
            continue;
        memcpy(&info, out.source + CMSG_LEN(0), sizeof info);
        cr_assert_eq(info.ipi6_ifindex, rows[i].interface, "%s", rows[i].address);
        cr_assert_eq(
            memcmp(&info.ipi6_addr, messages[0].data, sizeof info.ipi6_addr),
            0,
            "%s",
            rows[i].address);
    }
}

Test(control, steps_over_what_it_does_not_know)
{
    struct message messages[] = {
        {SOL_SOCKET, SO_TIMESTAMP, 16, {1}},
        drops_message(8)
    };
    cr_assert_eq(control_of(messages, 2).dropped, 8);
}

// Every truncation of two messages: what is whole is read, nothing beyond the end.
Test(control, reads_whole_messages_only)
{
    _Alignas(8) uint8_t bytes[CONTROL_SIZE];
    struct message messages[] = {drops_message(5), address4_message("192.0.2.7", "192.0.2.7")};
    size_t whole = messages_write(messages, 2, bytes);
    for (size_t size = 0; size <= whole; size++) {
        struct control out;
        control_read(bytes, size, &out);
        cr_assert_eq(out.dropped, size >= CMSG_LEN(sizeof(uint32_t)) ? 5 : 0, "%zu", size);
        bool has_address =
            size >= CMSG_SPACE(sizeof(uint32_t)) + CMSG_LEN(sizeof(struct in_pktinfo));
        cr_assert_eq(out.source_size > 0, has_address, "%zu", size);
    }
}

// Sizes that lie: shorter than a header, longer than what is there, and too short for their kind.
Test(control, believes_no_size)
{
    static const size_t lengths[] = {0, 1, sizeof(struct cmsghdr) - 1, CMSG_LEN(4) + 1, SIZE_MAX};
    for (size_t i = 0; i < sizeof lengths / sizeof lengths[0]; i++) {
        _Alignas(8) uint8_t bytes[CONTROL_SIZE];
        struct message message = drops_message(5);
        struct control out;
        (void)messages_write(&message, 1, bytes);
        memcpy(bytes, &lengths[i], sizeof lengths[i]);
        control_read(bytes, CMSG_LEN(4), &out);
        cr_assert_eq(out.dropped, 0, "%zu", lengths[i]);
    }
    struct message cut = {IPPROTO_IPV6, IPV6_PKTINFO, sizeof(struct in6_pktinfo) - 1, {0}};
    cr_assert_eq(control_of(&cut, 1).source_size, 0);
}
