#include "api/target.h"

#include <string.h>
#include <strings.h>

static int
digit_of(char letter)
{
    if (letter >= '0' && letter <= '9')
        return letter - '0';
    if (letter >= 'a' && letter <= 'f')
        return letter - 'a' + 10;
    if (letter >= 'A' && letter <= 'F')
        return letter - 'A' + 10;
    return -1;
}

// NULL: a percent sign without two digits, a NUL, or no UTF-8.
static const char *
decoded(struct bytes text, bool plus_is_space, struct arena *arena)
{
    char *out = arena_array(arena, text.size + 1, char);
    size_t size = 0;
    for (size_t i = 0; i < text.size; i++) {
        char letter = (char)text.data[i];
        if (letter == '%') {
            bool is_whole = text.size - i > 2;
            int high = is_whole ? digit_of((char)text.data[i + 1]) : -1;
            int low = is_whole ? digit_of((char)text.data[i + 2]) : -1;
            if (high < 0 || low < 0)
                return NULL;
            letter = (char)(high * 16 + low);
            i += 2;
        } else if (letter == '+' && plus_is_space) {
            letter = ' ';
        }
        if (letter == '\0')
            return NULL;
        out[size++] = letter;
    }
    return bytes_is_utf8(bytes_of(out, size)) ? out : NULL;
}

static bool
path_parse(struct bytes path, struct arena *arena, struct target *out, const char **out_fault)
{
    *out_fault = "the path does not begin with a slash";
    if (path.size == 0 || path.data[0] != '/')
        return false;
    size_t at = 1;
    while (at <= path.size) {
        const uint8_t *slash = memchr(path.data + at, '/', path.size - at);
        size_t end = slash != NULL ? (size_t)(slash - path.data) : path.size;
        *out_fault = "the path has too many parts";
        if (out->segments_count == TARGET_SEGMENTS_MAX)
            return false;
        const char *segment = decoded(bytes_of(path.data + at, end - at), false, arena);
        *out_fault = "the path is no percent-encoded UTF-8";
        if (segment == NULL)
            return false;
        out->segments[out->segments_count++] = segment;
        at = end + 1;
    }
    return true;
}

static bool
query_parse(struct bytes query, struct arena *arena, struct target *out, const char **out_fault)
{
    size_t count = 1;
    for (size_t i = 0; i < query.size; i++)
        count += query.data[i] == '&';
    *out_fault = "the query has more than 1000 parameters";
    if (count > TARGET_PAIRS_MAX)
        return false;
    struct target_pair *pairs = arena_array(arena, count, struct target_pair);
    *out_fault = "the query is no percent-encoded UTF-8";
    for (size_t at = 0; at < query.size;) {
        const uint8_t *from = query.data + at;
        const uint8_t *stop = memchr(from, '&', query.size - at);
        size_t size = stop != NULL ? (size_t)(stop - from) : query.size - at;
        const uint8_t *equals = memchr(from, '=', size);
        size_t name_size = equals != NULL ? (size_t)(equals - from) : size;
        size_t skip = equals != NULL ? name_size + 1 : size;
        struct target_pair *pair = &pairs[out->pairs_count];
        pair->name = decoded(bytes_of(from, name_size), true, arena);
        pair->value = decoded(bytes_of(from + skip, size - skip), true, arena);
        if (pair->name == NULL || pair->value == NULL)
            return false;
        out->pairs_count += size > 0;
        at += size + 1;
    }
    out->pairs = pairs;
    return true;
}

// Behind "http://host" of an absolute form, which is for proxies and must be taken all the same.
static const char *
path_begin(const char *text)
{
    size_t size = strncasecmp(text, "http://", 7) == 0    ? 7
                  : strncasecmp(text, "https://", 8) == 0 ? 8
                                                          : 0;
    if (size == 0)
        return text;
    text += size + strcspn(text + size, "/?");
    return *text == '/' ? text : "/";
}

bool
target_parse(const char *text, struct arena *arena, struct target *out, const char **out_fault)
{
    text = path_begin(text);
    const char *mark = strchrnul(text, '?');
    struct bytes path = bytes_of(text, (size_t)(mark - text));
    *out = (struct target){.path = arena_text_of(arena, path)};
    return path_parse(path, arena, out, out_fault) &&
           query_parse(
               *mark == '?' ? bytes_text(mark + 1) : bytes_of(NULL, 0), arena, out, out_fault);
}

const char *
target_next(const struct target *target, const char *name, size_t *at)
{
    while (*at < target->pairs_count) {
        const struct target_pair *pair = &target->pairs[(*at)++];
        if (strcmp(pair->name, name) == 0)
            return pair->value;
    }
    return NULL;
}

const char *
target_value(const struct target *target, const char *name)
{
    size_t at = 0;
    return target_next(target, name, &at);
}
