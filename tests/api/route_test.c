#include "api/route.h"

#include "billing/api_key.h"

#include <criterion/criterion.h>

#include <string.h>

static const struct route *
found(const char *method, const char *path, const char *params[CALL_PARAMS_MAX], char *allowed)
{
    static struct arena arena;
    struct target target;
    const char *fault;
    arena_reset(&arena);
    cr_assert(target_parse(path, &arena, &target, &fault));
    return route_find(method, &target, params, allowed);
}

Test(route, finds_by_method_and_path)
{
    const char *params[CALL_PARAMS_MAX] = {0};
    char allowed[ROUTE_ALLOWED_MAX];
    const struct route *route = found("GET", "/health", params, allowed);
    cr_assert_str_eq(route->path, "/health");
    cr_assert_eq(found("HEAD", "/health", params, allowed), route);
    cr_assert_null(found("POST", "/health", params, allowed));
    cr_assert_str_eq(allowed, "GET, HEAD, OPTIONS");
    cr_assert_null(found("get", "/health", params, allowed));
}

Test(route, refuses_paths_that_are_nearly_right)
{
    static const char *const paths[] = {
        "/",
        "/health/",
        "//health",
        "/Health",
        "/healt",
        "/health/x",
        "/api",
        "/api/health",
        "/api/health/",
        "/api//health/db",
        "/./health",
        "/api/../health"};
    const char *params[CALL_PARAMS_MAX] = {0};
    char allowed[ROUTE_ALLOWED_MAX];
    for (size_t i = 0; i < sizeof paths / sizeof paths[0]; i++) {
        cr_assert_null(found("GET", paths[i], params, allowed), "%s", paths[i]);
        cr_assert_str_eq(allowed, "", "%s", paths[i]);
    }
}

Test(route, every_row_is_found_by_its_own_path_and_nothing_before_it)
{
    const char *params[CALL_PARAMS_MAX] = {0};
    char allowed[ROUTE_ALLOWED_MAX];
    for (const struct route *route = ROUTES; route->method != NULL; route++) {
        cr_assert_not_null(route->handle);
        cr_assert_eq(found(route->method, route->path, params, allowed), route, "%s", route->path);
        cr_assert_null(found("OPTIONS", route->path, params, allowed));
        cr_assert_not_null(strstr(allowed, route->method));
    }
    cr_assert_gt(routes_count(), 0);
}

Test(route, only_health_and_descriptions_are_for_anybody)
{
    for (const struct route *route = ROUTES; route->method != NULL; route++)
        cr_assert_eq(
            (route->scopes & ~(unsigned)ROUTE_FLAGS) == 0,
            strstr(route->path, "/health") != NULL || strstr(route->path, "/openapi.") != NULL ||
                strcmp(route->path, "/api/docs") == 0,
            "%s %s",
            route->method,
            route->path);
}

// A slash that came encoded is part of a segment, and none of the pattern's.
Test(route, takes_an_encoded_slash_for_no_slash)
{
    const char *params[CALL_PARAMS_MAX] = {0};
    char allowed[ROUTE_ALLOWED_MAX];
    cr_assert_null(found("GET", "/api%2Fv1/meters", params, allowed));
    cr_assert_null(found("GET", "/api/v1%2Fmeters", params, allowed));
    const struct route *route = found("GET", "/api/v1/meters/a%2Fb", params, allowed);
    cr_assert_str_eq(route->path, "/api/v1/meters/{meter}");
    cr_assert_str_eq(params[0], "a/b");
}
