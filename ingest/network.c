#include "ingest/network.h"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <string.h>
#include <sys/socket.h>

enum { ADDRESS_SIZE = 16, MAPPED_SIZE = 12, MAPPED_BITS = 8 * MAPPED_SIZE };

static const uint8_t MAPPED[MAPPED_SIZE] = {0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff};

static enum status
network_invalid(const char *text, struct error *error)
{
    return error_set(
        error,
        STATUS_INVALID,
        "%s is no network: ADDRESS or ADDRESS/BITS is wanted, as 10.0.0.0/8 or fd00::/8",
        text);
}

// The bits behind the slash, at most bits_max of them. False: no such number.
static bool
bits_parse(const char *text, uint32_t bits_max, uint32_t *out)
{
    uint32_t bits = 0;
    size_t size = strlen(text);
    if (size == 0 || size > 3 || strspn(text, "0123456789") != size)
        return false;
    for (size_t i = 0; i < size; i++)
        bits = bits * 10 + (uint32_t)(text[i] - '0');
    if (bits > bits_max)
        return false;
    *out = bits;
    return true;
}

enum status
network_parse(const char *text, struct network *out, struct error *error)
{
    char address[INET6_ADDRSTRLEN];
    struct network network = {0};
    const char *slash = strchr(text, '/');
    size_t size = slash != NULL ? (size_t)(slash - text) : strlen(text);
    if (size >= sizeof address)
        return network_invalid(text, error);
    memcpy(address, text, size);
    address[size] = '\0';
    uint32_t bits_before = 0;
    if (inet_pton(AF_INET, address, network.address + MAPPED_SIZE) == 1) {
        memcpy(network.address, MAPPED, sizeof MAPPED);
        bits_before = MAPPED_BITS;
    } else if (inet_pton(AF_INET6, address, network.address) != 1) {
        return network_invalid(text, error);
    }
    uint32_t bits_max = 8 * ADDRESS_SIZE - bits_before;
    network.bits = bits_max;
    if (slash != NULL && !bits_parse(slash + 1, bits_max, &network.bits))
        return network_invalid(text, error);
    network.bits += bits_before;
    *out = network;
    return STATUS_OK;
}

static bool
address_read(const struct sockaddr *address, uint8_t out[ADDRESS_SIZE])
{
    if (address->sa_family == AF_INET) {
        struct sockaddr_in in;
        memcpy(&in, address, sizeof in);
        memcpy(out, MAPPED, sizeof MAPPED);
        memcpy(out + MAPPED_SIZE, &in.sin_addr, sizeof in.sin_addr);
        return true;
    }
    if (address->sa_family != AF_INET6)
        return false;
    struct sockaddr_in6 in6;
    memcpy(&in6, address, sizeof in6);
    memcpy(out, &in6.sin6_addr, ADDRESS_SIZE);
    return true;
}

bool
network_has(const struct network *network, const struct sockaddr *address)
{
    uint8_t bytes[ADDRESS_SIZE];
    if (!address_read(address, bytes))
        return false;
    size_t whole = network->bits / 8;
    if (memcmp(bytes, network->address, whole) != 0)
        return false;
    uint32_t rest = network->bits % 8;
    uint32_t mask = 0xffU << (8 - rest);
    return rest == 0 || ((bytes[whole] ^ network->address[whole]) & mask & 0xff) == 0;
}
