#include "api/route.h"

#include "base/assert.h"

#include <string.h>

// One part of a pattern against one of a path: how far the pattern was read, or NULL when it does
// not fit.
static const char *
part_fit(const char *pattern, const char *segment)
{
    if (*pattern == '{')
        return segment[0] != '\0' ? strchr(pattern, '}') + 1 : NULL;
    // A decoded segment may hold a slash, which is none of the pattern's.
    while (*pattern == *segment && *pattern != '/' && *pattern != '\0') {
        pattern++;
        segment++;
    }
    return *segment == '\0' && (*pattern == '/' || *pattern == '\0') ? pattern : NULL;
}

static bool
path_fits(const char *pattern, const struct target *target, const char *params[CALL_PARAMS_MAX])
{
    size_t params_count = 0;
    for (size_t i = 0; i < target->segments_count; i++) {
        if (*pattern++ != '/')
            return false;
        bool is_param = *pattern == '{';
        pattern = part_fit(pattern, target->segments[i]);
        if (pattern == NULL)
            return false;
        must(params_count < CALL_PARAMS_MAX || !is_param);
        if (is_param)
            params[params_count++] = target->segments[i];
    }
    return *pattern == '\0';
}

static void
allowed_add(char out[ROUTE_ALLOWED_MAX], const char *method)
{
    size_t size = strlen(out), more = strlen(method);
    const char *comma = size > 0 ? ", " : "";
    must(size + 2 + more < ROUTE_ALLOWED_MAX);
    memcpy(out + size, comma, strlen(comma));
    memcpy(out + size + strlen(comma), method, more + 1);
}

static void
allowed_find(const struct target *target, char out[ROUTE_ALLOWED_MAX])
{
    out[0] = '\0';
    for (const struct route *route = ROUTES; route->method != NULL; route++) {
        const char *params[CALL_PARAMS_MAX];
        if (!path_fits(route->path, target, params))
            continue;
        allowed_add(out, route->method);
        if (strcmp(route->method, "GET") == 0)
            allowed_add(out, "HEAD");
    }
    if (out[0] != '\0')
        allowed_add(out, "OPTIONS");
}

const struct route *
route_find(
    const char *method,
    const struct target *target,
    const char *params[CALL_PARAMS_MAX],
    char out_allowed[ROUTE_ALLOWED_MAX])
{
    const char *wanted = strcmp(method, "HEAD") == 0 ? "GET" : method;
    for (const struct route *route = ROUTES; route->method != NULL; route++) {
        const char *here[CALL_PARAMS_MAX] = {0};
        if (strcmp(route->method, wanted) != 0 || !path_fits(route->path, target, here))
            continue;
        memcpy(params, here, sizeof here);
        return route;
    }
    allowed_find(target, out_allowed);
    return NULL;
}

size_t
routes_count(void)
{
    size_t count = 0;
    while (ROUTES[count].method != NULL)
        count++;
    return count;
}
