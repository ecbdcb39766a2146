// A request's head as a client may write it: the first line is the target, the others are fields.
// No crash, no text that is not UTF-8, and no address that was not there.

#include "api/address.h"
#include "api/coding.h"
#include "api/http_head.h"
#include "api/target.h"
#include "base/assert.h"

#include <stddef.h>
#include <stdint.h>
#include <string.h>

enum { FIELDS_MAX = 32 };

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void
target_check(const char *text, struct arena *arena)
{
    struct target target;
    const char *fault = NULL;
    bool is_good = target_parse(text, arena, &target, &fault);
    must(target.path != NULL);
    must(is_good || fault != NULL);
    if (!is_good)
        return;
    must(target.segments_count > 0 && target.segments_count <= TARGET_SEGMENTS_MAX);
    must(target.pairs_count <= TARGET_PAIRS_MAX);
    for (size_t i = 0; i < target.segments_count; i++)
        must(bytes_is_utf8(bytes_text(target.segments[i])));
    for (size_t i = 0; i < target.pairs_count; i++) {
        must(bytes_is_utf8(bytes_text(target.pairs[i].name)));
        must(bytes_is_utf8(bytes_text(target.pairs[i].value)));
        must(target_value(&target, target.pairs[i].name) != NULL);
    }
}

// "name: value" lines.
static size_t
fields_cut(char *text, struct http_field *fields)
{
    size_t count = 0;
    for (char *line = text; line != NULL && count < FIELDS_MAX;) {
        char *end = strchr(line, '\n');
        if (end != NULL)
            *end++ = '\0';
        char *colon = strstr(line, ": ");
        if (colon != NULL) {
            *colon = '\0';
            fields[count++] = (struct http_field){line, colon + 2};
        }
        line = end;
    }
    return count;
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    scoped(arena_done) struct arena arena = {0};
    struct http_field fields[FIELDS_MAX];
    char *text = arena_text_of(&arena, bytes_of(data, size));
    char *rest = strchr(text, '\n');
    if (rest != NULL)
        *rest++ = '\0';
    target_check(text, &arena);
    struct http_request request = {
        .method = "GET", .remote = "127.0.0.1", .fields = fields, .arena = &arena};
    request.fields_count = rest != NULL ? fields_cut(rest, fields) : 0;
    const char *fault = http_head_fault(&request);
    must(fault == NULL || fault[0] != '\0');
    const char *accept = http_field(&request, "Accept-Encoding");
    if (coding_takes_gzip(accept))
        must(strcasestr(accept, "gzip") != NULL || strchr(accept, '*') != NULL);
    struct address_net nets[2];
    struct address address;
    bool is_net = address_net_parse("127.0.0.0/8", &nets[0]);
    must(is_net && address_net_parse("10.0.0.0/8", &nets[1]));
    const char *client = address_client(&request, nets, 2);
    must(address_parse(client, &address));
    (void)address_group(address);
    for (size_t i = 0; i < request.fields_count; i++)
        if (address_net_parse(fields[i].value, &nets[0]))
            (void)address_is_in(&address, &nets[0]);
    return 0;
}
