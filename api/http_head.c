#include "api/http_head.h"

#include <string.h>
#include <strings.h>

// What tokens of RFC 9110 are made of: methods and names of fields.
static bool
is_tchar(unsigned char letter)
{
    bool is_letter = (letter | 0x20) >= 'a' && (letter | 0x20) <= 'z';
    bool is_other = letter != '\0' && strchr("!#$%&'*+-.^_`|~", letter) != NULL;
    return is_letter || letter == '-' || (letter >= '0' && letter <= '9') || is_other;
}

static bool
is_token(const char *text)
{
    const char *at = text;
    while (is_tchar((unsigned char)*at))
        at++;
    return at > text && *at == '\0';
}

static size_t
count_of(const struct http_request *request, const char *name)
{
    size_t count = 0;
    for (size_t i = 0; i < request->fields_count; i++)
        count += http_name_is(request->fields[i].name, name);
    return count;
}

// Which one counts would be anybody's guess.
static const char *
twice_fault(const struct http_request *request)
{
    static const struct {
        const char *name, *fault;
    } rows[] = {
        {"Host",              "Host comes more than once"             },
        {"Content-Length",    "Content-Length comes more than once"   },
        {"Transfer-Encoding", "Transfer-Encoding comes more than once"},
        {"Content-Type",      "Content-Type comes more than once"     },
        {"Content-Encoding",  "Content-Encoding comes more than once" },
        {"Authorization",     "Authorization comes more than once"    },
        {"Idempotency-Key",   "Idempotency-Key comes more than once"  },
    };
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++)
        if (count_of(request, rows[i].name) > 1)
            return rows[i].fault;
    return NULL;
}

const char *
http_head_fault(const struct http_request *request)
{
    const char *coding = http_field(request, "Transfer-Encoding");
    if (!is_token(request->method))
        return "the method is no word";
    for (size_t i = 0; i < request->fields_count; i++)
        if (!is_token(request->fields[i].name))
            return "a header's name is no word, or has a space before its colon";
    if (coding != NULL && strcasecmp(coding, "chunked") != 0)
        return "Transfer-Encoding is not chunked";
    if (coding != NULL && http_field(request, "Content-Length") != NULL)
        return "it has both Content-Length and Transfer-Encoding";
    return twice_fault(request);
}
