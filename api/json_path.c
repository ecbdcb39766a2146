#include "api/json_path.h"

#include <string.h>

// Behind the step ['name'] or ["name"] that begins here; NULL: it is something else.
static const char *
step_end(const char *at)
{
    char quote = at[1];
    if (quote != '\'' && quote != '"')
        return NULL;
    const char *end = strchr(at + 2, quote);
    if (end == NULL || end == at + 2 || end[1] != ']')
        return NULL;
    return end[2] == '\0' || end[2] == '.' || end[2] == '[' ? end + 2 : NULL;
}

const char *
json_path_plain(const char *path, struct arena *arena)
{
    // No longer than before: .name for ['name'].
    char *plain = arena_array(arena, strlen(path) + 1, char);
    size_t size = 0;
    for (const char *at = path; *at != '\0';) {
        if (*at != '[') {
            plain[size++] = *at++;
            continue;
        }
        const char *end = step_end(at);
        if (end == NULL || memchr(at, '.', (size_t)(end - at)) != NULL)
            return path;
        size_t name_size = (size_t)(end - at) - strlen("['']");
        plain[size++] = '.';
        memcpy(plain + size, at + 2, name_size);
        size += name_size;
        at = end;
    }
    plain[size] = '\0';
    return plain;
}
