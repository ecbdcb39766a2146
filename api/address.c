#include "api/address.h"

#include <arpa/inet.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

enum { V4_AT = 12, V4_BITS = 96, ALL_BITS = 128, GROUP_SIZE = 8 };

static const uint8_t V4_PREFIX[V4_AT] = {[10] = 0xff, [11] = 0xff};

bool
address_parse(const char *text, struct address *out)
{
    char plain[INET6_ADDRSTRLEN];
    size_t size = strcspn(text, "%");
    struct address address = {{0}};
    if (size >= sizeof plain)
        return false;
    memcpy(plain, text, size);
    plain[size] = '\0';
    if (inet_pton(AF_INET6, plain, address.bytes) == 1) {
        *out = address;
        return true;
    }
    memcpy(address.bytes, V4_PREFIX, V4_AT);
    if (inet_pton(AF_INET, plain, address.bytes + V4_AT) != 1)
        return false;
    *out = address;
    return true;
}

static bool
is_v4(const struct address *address)
{
    return memcmp(address->bytes, V4_PREFIX, V4_AT) == 0;
}

bool
address_net_parse(const char *text, struct address_net *out)
{
    char plain[INET6_ADDRSTRLEN];
    struct address_net net = {.bits = ALL_BITS};
    size_t size = strcspn(text, "/");
    if (size >= sizeof plain)
        return false;
    memcpy(plain, text, size);
    plain[size] = '\0';
    if (!address_parse(plain, &net.address))
        return false;
    uint32_t before = strchr(plain, ':') == NULL ? V4_BITS : 0;
    if (text[size] == '/') {
        const char *digits = text + size + 1;
        size_t count = strspn(digits, "0123456789");
        if (count == 0 || count > 3 || digits[count] != '\0')
            return false;
        net.bits = before + (uint32_t)strtoul(digits, NULL, 10);
    }
    if (net.bits > ALL_BITS)
        return false;
    *out = net;
    return true;
}

bool
address_is_in(const struct address *address, const struct address_net *net)
{
    size_t whole = net->bits / 8;
    uint32_t rest = net->bits % 8;
    if (memcmp(address->bytes, net->address.bytes, whole) != 0)
        return false;
    uint32_t differ = rest > 0 ? address->bytes[whole] ^ net->address.bytes[whole] : 0U;
    return differ >> (8 - rest) == 0;
}

struct address
address_group(struct address address)
{
    if (!is_v4(&address))
        memset(address.bytes + GROUP_SIZE, 0, ADDRESS_SIZE - GROUP_SIZE);
    return address;
}

static bool
is_ours(const char *text, const struct address_net *nets, size_t count)
{
    struct address address;
    if (!address_parse(text, &address))
        return false;
    for (size_t i = 0; i < count; i++)
        if (address_is_in(&address, &nets[i]))
            return true;
    return false;
}

// Takes the last of a list's items off it, trimmed. NULL: it is empty.
static const char *
last_take(struct bytes *list, struct arena *arena)
{
    if (list->size == 0)
        return NULL;
    const uint8_t *comma = memrchr(list->data, ',', list->size);
    size_t begin = comma != NULL ? (size_t)(comma - list->data) + 1 : 0;
    size_t end = list->size;
    list->size = comma != NULL ? begin - 1 : 0;
    while (begin < end && (list->data[begin] == ' ' || list->data[begin] == '\t'))
        begin++;
    while (end > begin && (list->data[end - 1] == ' ' || list->data[end - 1] == '\t'))
        end--;
    return arena_text_of(arena, bytes_of(list->data + begin, end - begin));
}

// A proxy appends to the field, or adds one of its own behind the others.
const char *
address_client(const struct http_request *request, const struct address_net *nets, size_t count)
{
    const char *client = request->remote;
    for (size_t i = request->fields_count; i > 0; i--) {
        const struct http_field *field = &request->fields[i - 1];
        if (strcasecmp(field->name, "X-Forwarded-For") != 0)
            continue;
        struct bytes list = bytes_text(field->value);
        while (is_ours(client, nets, count)) {
            struct address address;
            const char *before = last_take(&list, request->arena);
            if (before == NULL)
                break;
            if (!address_parse(before, &address))
                return client;
            client = before;
        }
    }
    return client;
}
