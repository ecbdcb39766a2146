#include "base/control.h"

#include "base/assert.h"

#include <netinet/in.h>
#include <string.h>
#include <sys/socket.h>

_Static_assert(
    CONTROL_SIZE >= CMSG_SPACE(sizeof(uint32_t)) + CMSG_SPACE(sizeof(struct in6_pktinfo)),
    "both messages fit");
_Static_assert(CONTROL_SIZE % 8 == 0, "what follows is aligned");
_Static_assert(CONTROL_SOURCE_SIZE >= CMSG_SPACE(sizeof(struct in6_pktinfo)), "an address fits");
_Static_assert(CONTROL_SOURCE_SIZE >= CMSG_SPACE(sizeof(struct in_pktinfo)), "an address fits");

enum status
control_ask(int fd, int family, struct error *error)
{
    int one = 1;
    must(family == AF_INET || family == AF_INET6);
    int rc = family == AF_INET6 ? setsockopt(fd, IPPROTO_IPV6, IPV6_RECVPKTINFO, &one, sizeof one)
                                : setsockopt(fd, IPPROTO_IP, IP_PKTINFO, &one, sizeof one);
    if (rc < 0 || setsockopt(fd, SOL_SOCKET, SO_RXQ_OVFL, &one, sizeof one) < 0)
        return error_set_errno(error, "cannot ask the kernel where datagrams come to");
    return STATUS_OK;
}

static void
source_set(struct control *out, int level, int type, const void *info, size_t info_size)
{
    struct cmsghdr head = {.cmsg_len = CMSG_LEN(info_size), .cmsg_level = level, .cmsg_type = type};
    memcpy(out->source, &head, sizeof head);
    memcpy(out->source + CMSG_LEN(0), info, info_size);
    out->source_size = (uint32_t)CMSG_SPACE(info_size);
}

// The route back decides about the interface; only the address is kept.
static void
source4_read(const uint8_t *data, struct control *out)
{
    struct in_pktinfo came;
    memcpy(&came, data, sizeof came);
    struct in_pktinfo info = {.ipi_spec_dst = came.ipi_spec_dst};
    source_set(out, IPPROTO_IP, IP_PKTINFO, &info, sizeof info);
}

static void
source6_read(const uint8_t *data, struct control *out)
{
    struct in6_pktinfo came;
    memcpy(&came, data, sizeof came);
    if (IN6_IS_ADDR_MULTICAST(&came.ipi6_addr))
        return;
    // A link-local address means something only together with its interface.
    struct in6_pktinfo info = {
        .ipi6_addr = came.ipi6_addr,
        .ipi6_ifindex = IN6_IS_ADDR_LINKLOCAL(&came.ipi6_addr) ? came.ipi6_ifindex : 0,
    };
    source_set(out, IPPROTO_IPV6, IPV6_PKTINFO, &info, sizeof info);
}

static void
message_read(const struct cmsghdr *head, const uint8_t *data, struct control *out)
{
    size_t size = head->cmsg_len - CMSG_LEN(0);
    int level = head->cmsg_level;
    int type = head->cmsg_type;
    if (level == SOL_SOCKET && type == SO_RXQ_OVFL && size >= sizeof out->dropped)
        memcpy(&out->dropped, data, sizeof out->dropped);
    else if (level == IPPROTO_IP && type == IP_PKTINFO && size >= sizeof(struct in_pktinfo))
        source4_read(data, out);
    else if (level == IPPROTO_IPV6 && type == IPV6_PKTINFO && size >= sizeof(struct in6_pktinfo))
        source6_read(data, out);
}

void
control_read(const void *control, size_t size, struct control *out)
{
    const uint8_t *at = control;
    struct control told = {0};
    while (size >= sizeof(struct cmsghdr)) {
        struct cmsghdr head;
        memcpy(&head, at, sizeof head);
        if (head.cmsg_len < CMSG_LEN(0) || head.cmsg_len > size)
            break;
        message_read(&head, at + CMSG_LEN(0), &told);
        size_t step = CMSG_ALIGN(head.cmsg_len);
        if (step >= size)
            break;
        at += step;
        size -= step;
    }
    *out = told;
}
