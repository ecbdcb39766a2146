#include "api/coding.h"

#include "api/api.h"
#include "base/assert.h"
#include "base/gzip.h"

#include <inttypes.h>
#include <string.h>
#include <strings.h>

// --- Accept-Encoding ---

static bool
name_is(struct bytes name, const char *text)
{
    return name.size == strlen(text) && strncasecmp((const char *)name.data, text, name.size) == 0;
}

// "0", "0.0" and the like; what is no weight is one.
static bool
weight_is_zero(struct bytes weight)
{
    size_t i = 0;
    if (weight.size == 0 || weight.data[i++] != '0')
        return false;
    if (i < weight.size && weight.data[i] == '.')
        i++;
    while (i < weight.size && weight.data[i] == '0')
        i++;
    return i == weight.size || weight.data[i] == ' ' || weight.data[i] == '\t';
}

// "gzip ; q=0.5": its name, and whether it has a weight of zero.
static struct bytes
item_name(struct bytes item, bool *out_is_refused)
{
    const uint8_t *mark = memchr(item.data, ';', item.size);
    size_t size = mark != NULL ? (size_t)(mark - item.data) : item.size;
    const uint8_t *q = mark != NULL ? memmem(mark, item.size - size, "q=", 2) : NULL;
    if (mark != NULL && q == NULL)
        q = memmem(mark, item.size - size, "Q=", 2);
    size_t begin = 0;
    *out_is_refused =
        q != NULL && weight_is_zero(bytes_of(q + 2, (size_t)(item.data + item.size - q) - 2));
    while (begin < size && (item.data[begin] == ' ' || item.data[begin] == '\t'))
        begin++;
    while (size > begin && (item.data[size - 1] == ' ' || item.data[size - 1] == '\t'))
        size--;
    return bytes_of(item.data + begin, size - begin);
}

bool
coding_takes_gzip(const char *accept)
{
    bool is_any = false;
    while (accept != NULL && *accept != '\0') {
        size_t size = strcspn(accept, ",");
        bool is_refused = false;
        struct bytes name = item_name(bytes_of(accept, size), &is_refused);
        if (name_is(name, "gzip") || name_is(name, "x-gzip"))
            return !is_refused;
        if (name_is(name, "*"))
            is_any = !is_refused;
        accept += size + (accept[size] == ',');
    }
    return is_any;
}

// --- bodies ---

// False: it is none of ours, and was answered.
static bool
is_coded(struct call *call, bool *out_is_gzip)
{
    const char *coding = http_field(call->request, "Content-Encoding");
    *out_is_gzip = false;
    if (coding == NULL || coding[0] == '\0' || strcasecmp(coding, "identity") == 0)
        return true;
    *out_is_gzip = strcasecmp(coding, "gzip") == 0 || strcasecmp(coding, "x-gzip") == 0;
    if (!*out_is_gzip) {
        call_problem(call, 415, "Content-Encoding %s is not taken; send gzip or none.", coding);
        http_add(call->response, "Accept-Encoding", "gzip");
    }
    return *out_is_gzip;
}

static enum gzip_result
body_inflate(struct call *call, const struct gzip_limits *limits)
{
    struct gzip *gzip = NULL;
    struct error error;
    if (gzip_open(&gzip, &error))
        return GZIP_NO_MEMORY;
    enum gzip_result result = gzip_inflate(gzip, call->request->body, limits, &call->inflated);
    gzip_close(gzip);
    return result;
}

static void
inflate_refuse(struct call *call, enum gzip_result result, int64_t body_max)
{
    switch (result) {
    case GZIP_BROKEN:
    case GZIP_FINE:
    case GZIP_MORE:
        call_problem(call, 400, "The body is no gzip, though Content-Encoding says so.");
        return;
    case GZIP_TOO_LARGE:
        call_problem(
            call,
            413,
            "The body is larger than %" PRId64 " bytes when it is inflated; send less at a time.",
            body_max);
        return;
    case GZIP_RATIO:
        call_problem(
            call,
            413,
            "The body grows more than %d times when it is inflated; send it as it is.",
            CODING_RATIO_MAX);
        return;
    case GZIP_NO_MEMORY: call_away(call, "There is no memory for the body; try again."); return;
    }
}

bool
coding_inflate(struct call *call)
{
    bool is_gzip;
    int64_t body_max = call->api->settings->body_max;
    struct bytes packed = call->request->body;
    struct gzip_limits limits = {.size_max = (size_t)body_max, .ratio_max = CODING_RATIO_MAX};
    if (packed.size == 0)
        return true;
    if (!is_coded(call, &is_gzip) || !is_gzip)
        return call->response->status == 0;
    int64_t held = (int64_t)gzip_size_max(packed.size, &limits);
    if (!http_hold(call->request, held)) {
        call_away(call, "Too many large requests at a time; try again.");
        return false;
    }
    enum gzip_result result = body_inflate(call, &limits);
    // Nothing is given to what was held beyond the inflated body.
    bool is_held = http_hold(call->request, (int64_t)call->inflated.size - held);
    must(is_held);
    if (result != GZIP_FINE) {
        inflate_refuse(call, result, body_max);
        return false;
    }
    call->inflated_request = *call->request;
    call->inflated_request.body = buffer_view(&call->inflated);
    call->request = &call->inflated_request;
    return true;
}

// --- answers ---

void
coding_deflate(struct call *call)
{
    struct http_response *response = call->response;
    if (response->body.size < CODING_SIZE_MIN || response->body.size > INT32_MAX)
        return;
    http_add(response, "Vary", "Accept-Encoding");
    if (!coding_takes_gzip(http_field(call->request, "Accept-Encoding")))
        return;
    struct buffer packed = {0};
    if (gzip_pack(buffer_view(&response->body), &packed) != STATUS_OK ||
        packed.size >= response->body.size) {
        buffer_done(&packed);
        return;
    }
    buffer_done(&response->body);
    response->body = packed;
    http_add(response, "Content-Encoding", "gzip");
}
