#include "api/route.h"

#include "base/assert.h"

#include <stdio.h>
#include <string.h>

// One part of a pattern against one of a path. False: it does not fit.
static bool
part_fits(
    const char *part, size_t size, const char *segment, const char *params[], size_t *params_count)
{
    if (part[0] != '{')
        return strlen(segment) == size && strncmp(part, segment, size) == 0;
    if (segment[0] == '\0')
        return false;
    must(*params_count < CALL_PARAMS_MAX);
    params[(*params_count)++] = segment;
    return true;
}

static bool
path_fits(const char *pattern, const struct target *target, const char *params[CALL_PARAMS_MAX])
{
    size_t params_count = 0;
    size_t index = 0;
    for (const char *part = pattern + 1;; part++) {
        const char *end = strchrnul(part, '/');
        if (index == target->segments_count)
            return false;
        const char *segment = target->segments[index++];
        if (!part_fits(part, (size_t)(end - part), segment, params, &params_count))
            return false;
        part = end;
        if (*part == '\0')
            return index == target->segments_count;
    }
}

static void
allowed_add(char out[ROUTE_ALLOWED_MAX], const char *method)
{
    size_t size = strlen(out);
    (void)snprintf(out + size, ROUTE_ALLOWED_MAX - size, "%s%s", size > 0 ? ", " : "", method);
}

const struct route *
route_find(
    const char *method,
    const struct target *target,
    const char *params[CALL_PARAMS_MAX],
    char out_allowed[ROUTE_ALLOWED_MAX])
{
    const char *wanted = strcmp(method, "HEAD") == 0 ? "GET" : method;
    const struct route *found = NULL;
    out_allowed[0] = '\0';
    for (const struct route *route = ROUTES; route->method != NULL; route++) {
        const char *here[CALL_PARAMS_MAX] = {0};
        if (!path_fits(route->path, target, here))
            continue;
        allowed_add(out_allowed, route->method);
        if (strcmp(route->method, "GET") == 0)
            allowed_add(out_allowed, "HEAD");
        if (found == NULL && strcmp(route->method, wanted) == 0) {
            found = route;
            memcpy(params, here, sizeof here);
        }
    }
    if (out_allowed[0] != '\0')
        allowed_add(out_allowed, "OPTIONS");
    return found;
}

size_t
routes_count(void)
{
    size_t count = 0;
    while (ROUTES[count].method != NULL)
        count++;
    return count;
}
